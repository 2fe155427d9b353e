//! What VaultAuth and VaultAuthGlobal say (Vault Secrets, spec sections A.1.2 and A.1.3).

use serde::{Deserialize, Serialize};

use super::{Condition, Texts};

/// `VaultAuth.spec`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultAuthSpec {
    /// The VaultConnection.
    pub vault_connection_ref: String,
    /// The VaultAuthGlobal that fills what is empty here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_auth_global_ref: Option<GlobalRef>,
    /// The Vault namespace.
    pub namespace: String,
    /// The namespaces that may refer to it, besides its own.
    pub allowed_namespaces: Vec<String>,
    /// How to log in; may come from the global.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The path of the method; may come from the global.
    pub mount: String,
    /// Read, merged and never sent, as with the original.
    pub params: Texts,
    /// Headers of login requests.
    pub headers: Texts,
    /// For [`Method::Kubernetes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesOf>,
    /// For [`Method::Jwt`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtOf>,
    /// For [`Method::AppRole`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleOf>,
    /// For [`Method::Aws`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<UnservedOf>,
    /// For [`Method::Gcp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcp: Option<UnservedOf>,
    /// The transit engine that the original kept its logins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_encryption: Option<UnservedOf>,
}

/// How a VaultAuth logs in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// With a token of a ServiceAccount.
    Kubernetes,
    /// With a signed token.
    Jwt,
    /// With a role and its secret.
    AppRole,
    /// With an identity of AWS.
    Aws,
    /// With an identity of Google.
    Gcp,
}

impl Method {
    /// The name, as specs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Jwt => "jwt",
            Self::AppRole => "appRole",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
        }
    }
}

/// `vaultAuthGlobalRef`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GlobalRef {
    /// Its name; without one, see `allow_default`.
    pub name: String,
    /// Its namespace; empty for that of the VaultAuth.
    pub namespace: String,
    /// One named `default` is looked for where none is named.
    pub allow_default: bool,
    /// How maps are merged.
    pub merge_strategy: MergeStrategies,
}

/// `mergeStrategy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MergeStrategies {
    /// Of headers.
    pub headers: MergeStrategy,
    /// Of parameters.
    pub params: MergeStrategy,
}

/// How a map of a VaultAuth is merged with those of its global.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeStrategy {
    /// Its own alone.
    #[default]
    #[serde(alias = "")]
    None,
    /// The first that is not empty: its own, that of the global's method, that of the global.
    Replace,
    /// All of them; where they disagree the first counts.
    Union,
}

/// `kubernetes`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesOf {
    /// The role at Vault.
    pub role: String,
    /// Whose tokens are made, and how.
    #[serde(flatten)]
    pub token: TokenOf,
}

/// How tokens of a ServiceAccount are made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TokenOf {
    /// The ServiceAccount, in the namespace of who reads.
    pub service_account: String,
    /// For whom they are.
    pub audiences: Vec<String>,
    /// How long they are good; 0 for the default.
    pub token_expiration_seconds: i64,
}

/// `jwt`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtOf {
    /// The role at Vault.
    pub role: String,
    /// A Secret, in the namespace of who reads, with the token under `jwt`.
    pub secret_ref: String,
    /// Whose tokens are made, and how.
    #[serde(flatten)]
    pub token: TokenOf,
}

/// `appRole`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppRoleOf {
    /// The role.
    pub role_id: String,
    /// A Secret, in the namespace of who reads, with the role's secret under `id`.
    pub secret_ref: String,
    /// A file of the operator with the role's secret.
    #[serde(rename = "secretIDPath")]
    pub secret_id_path: String,
}

/// A block that is kept and not acted on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct UnservedOf(pub serde_json::Map<String, serde_json::Value>);

/// `VaultAuthGlobal.spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GlobalSpec {
    /// The namespaces whose VaultAuths may refer to it, besides its own.
    pub allowed_namespaces: Vec<String>,
    /// The VaultConnection.
    pub vault_connection_ref: String,
    /// The Vault namespace.
    pub default_vault_namespace: String,
    /// How to log in.
    pub default_auth_method: Option<Method>,
    /// The path of the method.
    pub default_mount: String,
    /// See [`VaultAuthSpec::params`].
    pub params: Texts,
    /// Headers of login requests.
    pub headers: Texts,
    /// For [`Method::Kubernetes`].
    pub kubernetes: Option<Shared<KubernetesOf>>,
    /// For [`Method::Jwt`].
    pub jwt: Option<Shared<JwtOf>>,
    /// For [`Method::AppRole`].
    pub app_role: Option<Shared<AppRoleOf>>,
    /// For [`Method::Aws`].
    pub aws: Option<Shared<UnservedOf>>,
    /// For [`Method::Gcp`].
    pub gcp: Option<Shared<UnservedOf>>,
}

/// One method of a VaultAuthGlobal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Shared<T> {
    /// The Vault namespace.
    pub namespace: String,
    /// The path of the method.
    pub mount: String,
    /// See [`VaultAuthSpec::params`].
    pub params: Texts,
    /// Headers of login requests.
    pub headers: Texts,
    /// What the method itself has.
    #[serde(flatten)]
    pub own: T,
}

/// `VaultAuth.status`
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct AuthStatus {
    /// True if it can be used.
    pub valid: Option<bool>,
    /// Why it cannot.
    pub error: Option<String>,
    /// A digest of the merged spec.
    pub spec_hash: Option<String>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}
