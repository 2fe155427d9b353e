//! The kinds of `secrets.hashicorp.com` (Vault Secrets, spec section A.1).

use super::{Kind, Scope};

/// How a Vault is reached.
#[derive(Clone, Debug)]
pub struct VaultConnection;

impl Kind for VaultConnection {
    const GROUP: &'static str = "secrets.hashicorp.com";
    const KIND: &'static str = "VaultConnection";
    const PLURAL: &'static str = "vaultconnections";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

/// With which identity.
#[derive(Clone, Debug)]
pub struct VaultAuth;

impl Kind for VaultAuth {
    const GROUP: &'static str = "secrets.hashicorp.com";
    const KIND: &'static str = "VaultAuth";
    const PLURAL: &'static str = "vaultauths";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

/// What several VaultAuths share.
#[derive(Clone, Debug)]
pub struct VaultAuthGlobal;

impl Kind for VaultAuthGlobal {
    const GROUP: &'static str = "secrets.hashicorp.com";
    const KIND: &'static str = "VaultAuthGlobal";
    const PLURAL: &'static str = "vaultauthglobals";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

/// A Secret made of one secret of a KV engine.
#[derive(Clone, Debug)]
pub struct VaultStaticSecret;

impl Kind for VaultStaticSecret {
    const GROUP: &'static str = "secrets.hashicorp.com";
    const KIND: &'static str = "VaultStaticSecret";
    const PLURAL: &'static str = "vaultstaticsecrets";
    const VERSIONS: &'static [&'static str] = &["v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

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
