//! The kinds of `external-secrets.io` (External Secrets, spec section 1).

use super::{Kind, Scope};

/// A Secret made of what stores hold.
#[derive(Clone, Debug)]
pub struct ExternalSecret;

impl Kind for ExternalSecret {
    const GROUP: &'static str = "external-secrets.io";
    const KIND: &'static str = "ExternalSecret";
    const PLURAL: &'static str = "externalsecrets";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

/// How a store is reached, for one namespace.
#[derive(Clone, Debug)]
pub struct SecretStore;

impl Kind for SecretStore {
    const GROUP: &'static str = "external-secrets.io";
    const KIND: &'static str = "SecretStore";
    const PLURAL: &'static str = "secretstores";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}

/// How a store is reached, for all namespaces that it allows.
#[derive(Clone, Debug)]
pub struct ClusterSecretStore;

impl Kind for ClusterSecretStore {
    const GROUP: &'static str = "external-secrets.io";
    const KIND: &'static str = "ClusterSecretStore";
    const PLURAL: &'static str = "clustersecretstores";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const SCOPE: Scope = Scope::Cluster;
    type Spec = serde_json::Value;
    type Status = serde_json::Value;
}
