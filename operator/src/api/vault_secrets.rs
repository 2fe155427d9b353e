//! The kinds of `secrets.hashicorp.com` (Vault Secrets, spec section A.1).

use super::{Kind, Scope};

/// Templates and filters that several secrets share.
#[derive(Clone, Debug)]
pub struct SecretTransformation;

impl Kind for SecretTransformation {
    const GROUP: &'static str = "secrets.hashicorp.com";
    const KIND: &'static str = "SecretTransformation";
    const PLURAL: &'static str = "secrettransformations";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}
