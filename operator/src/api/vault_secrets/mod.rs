//! The kinds of `secrets.hashicorp.com` (Vault Secrets, spec section A.1).

mod auth;
mod secret;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Kind, Scope};

pub use auth::{
    AppRoleOf, AuthStatus, GlobalRef, GlobalSpec, JwtOf, KubernetesOf, MergeStrategies, MergeStrategy, Method, Shared,
    TokenOf, UnservedOf, VaultAuthSpec,
};
pub use secret::{
    ClientMeta, Destination, RestartTarget, SecretTransformationSpec, StaticSecretSpec, StaticSecretStatus, SyncConfig,
    Template, TemplateRef, Transformation, TransformationRef,
};

/// Texts by name: headers, parameters, labels.
pub type Texts = BTreeMap<String, String>;

/// The API group.
pub const GROUP: &str = "secrets.hashicorp.com";
/// The group and the version that is served.
pub const API_VERSION: &str = "secrets.hashicorp.com/v1beta1";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $plural:literal, $spec:ty, $status:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name;

        impl Kind for $name {
            const GROUP: &'static str = GROUP;
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;
            const VERSIONS: &'static [&'static str] = &["v1beta1"];
            const SCOPE: Scope = Scope::Namespaced;
            type Spec = $spec;
            type Status = $status;
        }
    )*};
}

kinds! {
    /// How a Vault is reached.
    VaultConnection, "vaultconnections", ConnectionSpec, Checked;
    /// With which identity.
    VaultAuth, "vaultauths", VaultAuthSpec, AuthStatus;
    /// What several VaultAuths share.
    VaultAuthGlobal, "vaultauthglobals", GlobalSpec, Checked;
    /// A Secret made of one secret of a KV engine.
    VaultStaticSecret, "vaultstaticsecrets", StaticSecretSpec, StaticSecretStatus;
    /// Templates and filters that several secrets share.
    SecretTransformation, "secrettransformations", SecretTransformationSpec, Checked;
}

/// `VaultConnection.spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionSpec {
    /// The base URL of Vault.
    pub address: String,
    /// Headers of every request.
    pub headers: Texts,
    /// The name that the server has to prove.
    pub tls_server_name: String,
    /// A Secret in the connection's namespace with the authorities under `ca.crt`.
    pub ca_cert_secret_ref: String,
    /// A file of the operator with the authorities.
    pub ca_cert_path: String,
    /// The server has to prove nothing.
    #[serde(rename = "skipTLSVerify")]
    pub skip_tls_verify: bool,
    /// How long a request may take.
    pub timeout: String,
}

/// The status of what is only checked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Checked {
    /// True if it can be used.
    pub valid: Option<bool>,
    /// Why it cannot.
    pub error: Option<String>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// One entry of `status.conditions`, as `metav1.Condition`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The generation that it is about.
    pub observed_generation: i64,
    /// When `status` last became another.
    pub last_transition_time: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}
