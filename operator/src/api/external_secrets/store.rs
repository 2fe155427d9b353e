//! What a SecretStore and a ClusterSecretStore say (External Secrets, spec sections 1.3, 3.1, 3.2, 3.6).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use leafseal::secret::SecretText;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Condition;

/// `spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretStoreSpec {
    /// The class of operators that serve it; empty for all.
    pub controller: String,
    /// What kind of store it is.
    pub provider: ProviderBlock,
    /// How often requests are repeated.
    pub retry_settings: Option<RetrySettings>,
    /// How often the store is checked: seconds, or a duration.
    pub refresh_interval: Option<IntOrString>,
    /// Which namespaces may read; ClusterSecretStores only.
    pub conditions: Vec<StoreCondition>,
}

/// `spec.provider`: one member, by the name of a kind of store. Kept as it was written, since it may be
/// a kind that is not known here; not shown, since it may hold a secret.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct ProviderBlock(pub Map<String, Value>);

impl fmt::Debug for ProviderBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `spec.retrySettings`
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct RetrySettings {
    /// How often at most.
    pub max_retries: Option<i32>,
    /// How long to wait between.
    pub retry_interval: Option<String>,
}

/// `spec.conditions[]`: namespaces that fit any of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StoreCondition {
    /// By their labels.
    pub namespace_selector: Option<LabelSelector>,
    /// By name.
    pub namespaces: Vec<String>,
    /// By patterns of names.
    pub namespace_regexes: Vec<String>,
}

/// `status`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct SecretStoreStatus {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// `ReadOnly`, `WriteOnly` or `ReadWrite`.
    pub capabilities: String,
}

/// Names one key of a Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct KeySelector {
    /// The Secret.
    pub name: String,
    /// Its namespace: heard where a ClusterSecretStore says it, and nowhere else.
    pub namespace: String,
    /// The key.
    pub key: String,
}

/// Names a ServiceAccount.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct ServiceAccountSelector {
    /// Its name.
    pub name: String,
    /// Its namespace: heard where a ClusterSecretStore says it, and nowhere else.
    pub namespace: String,
    /// For whom its tokens are meant.
    pub audiences: Vec<String>,
}

/// `caProvider`
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct CaProvider {
    /// `Secret` or `ConfigMap`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The key that holds the certificates.
    pub key: String,
    /// Its namespace, which a ClusterSecretStore has to say.
    pub namespace: Option<String>,
}

/// `spec.provider.vault`, and `openBao`, which has some of its fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultProvider {
    /// The address.
    pub server: String,
    /// The path of the secrets engine.
    pub path: Option<String>,
    /// The version of the engine: `v1` or `v2`.
    pub version: String,
    /// The Vault namespace.
    pub namespace: String,
    /// Certificates that are trusted: PEM in base64, or that in base64 once more.
    pub ca_bundle: String,
    /// Where such certificates lie.
    pub ca_provider: Option<CaProvider>,
    /// The certificate of the client.
    pub tls: VaultTls,
    /// Whether reads see own writes.
    pub read_your_writes: bool,
    /// Whether standbys hand requests on.
    pub forward_inconsistent: bool,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// With which identity; without one, somebody on the way adds it.
    pub auth: Option<VaultAuthSpec>,
}

/// `vault.tls`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultTls {
    /// The certificate; key `tls.crt`.
    pub cert_secret_ref: Option<KeySelector>,
    /// Its private key; key `tls.key`.
    pub key_secret_ref: Option<KeySelector>,
}

/// `vault.auth`: of several methods the first counts, in the order of the fields here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultAuthSpec {
    /// The Vault namespace of the login.
    pub namespace: String,
    /// A token.
    pub token_secret_ref: Option<KeySelector>,
    /// AppRole.
    pub app_role: Option<AppRoleAuth>,
    /// Kubernetes.
    pub kubernetes: Option<VaultKubernetesAuth>,
    /// LDAP.
    pub ldap: Option<PasswordAuth>,
    /// Name and password.
    pub user_pass: Option<PasswordAuth>,
    /// A signed token.
    pub jwt: Option<JwtAuth>,
    /// The certificate of the connection.
    pub cert: Option<CertAuth>,
    /// AWS.
    pub iam: Option<Value>,
    /// Google.
    pub gcp: Option<Value>,
}

/// `auth.appRole`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppRoleAuth {
    /// The path of the method: `approle`.
    pub path: String,
    /// The role.
    pub role_id: SecretWord,
    /// Where the role stands instead.
    pub role_ref: Option<KeySelector>,
    /// Its secret.
    pub secret_ref: KeySelector,
}

/// `auth.kubernetes`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultKubernetesAuth {
    /// The path of the method: `kubernetes`.
    pub mount_path: String,
    /// The role.
    pub role: String,
    /// Whose tokens.
    pub service_account_ref: Option<ServiceAccountSelector>,
    /// Where a token lies; key `token`.
    pub secret_ref: Option<KeySelector>,
}

/// `auth.ldap` and `auth.userPass`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PasswordAuth {
    /// The path of the method.
    pub path: String,
    /// Who.
    pub username: String,
    /// The password.
    pub secret_ref: KeySelector,
}

/// `auth.jwt`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtAuth {
    /// The path of the method: `jwt`.
    pub path: String,
    /// The role; the method may have one of its own.
    pub role: String,
    /// Where a token lies.
    pub secret_ref: Option<KeySelector>,
    /// Whose tokens.
    pub kubernetes_service_account_token: Option<ServiceAccountToken>,
}

/// `auth.jwt.kubernetesServiceAccountToken`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceAccountToken {
    /// Whose.
    pub service_account_ref: ServiceAccountSelector,
    /// For whom: `vault`.
    pub audiences: Option<Vec<String>>,
    /// How long they are good: 600 s.
    pub expiration_seconds: Option<i64>,
}

/// `auth.cert`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CertAuth {
    /// The path of the method: `cert`.
    pub path: String,
    /// The role; Vault finds one without.
    pub vault_role: String,
    /// The certificate.
    pub client_cert: KeySelector,
    /// Its private key.
    pub secret_ref: KeySelector,
}

/// `spec.provider.kubernetes`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesProvider {
    /// Which API server.
    pub server: KubernetesServer,
    /// With which identity.
    pub auth: Option<KubernetesAuth>,
    /// A Secret that holds a kubeconfig with all of that instead.
    pub auth_ref: Option<KeySelector>,
    /// The namespace of the Secrets: `default`.
    pub remote_namespace: String,
}

/// `kubernetes.server`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesServer {
    /// Its address: `kubernetes.default`.
    pub url: String,
    /// Certificates that are trusted.
    pub ca_bundle: String,
    /// Where such certificates lie.
    pub ca_provider: Option<CaProvider>,
}

/// `kubernetes.auth`: exactly one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// A certificate.
    pub cert: Option<KubernetesCertAuth>,
    /// A token.
    pub token: Option<KubernetesTokenAuth>,
    /// Tokens of a ServiceAccount.
    pub service_account: Option<ServiceAccountSelector>,
}

/// `kubernetes.auth.cert`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesCertAuth {
    /// The certificate.
    pub client_cert: KeySelector,
    /// Its private key.
    pub client_key: KeySelector,
}

/// `kubernetes.auth.token`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubernetesTokenAuth {
    /// The token.
    pub bearer_token: KeySelector,
}

/// `spec.provider.fake`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FakeProvider {
    /// What it holds.
    pub data: Vec<FakeItem>,
    /// What it says when it is checked.
    pub validation_result: FakeValidation,
}

/// `fake.data[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FakeItem {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: SecretWord,
    /// Its version.
    pub version: String,
}

/// `fake.validationResult`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "u8")]
pub enum FakeValidation {
    /// 0: it can be used.
    #[default]
    Ready,
    /// 1: who knows.
    Unknown,
    /// 2: it cannot be used.
    Error,
}

impl From<u8> for FakeValidation {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Ready,
            1 => Self::Unknown,
            _ => Self::Error,
        }
    }
}

/// `spec.provider.sops`: SOPS documents that lie in the cluster, or in folders that are mounted. Not a
/// kind of store that the original has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SopsProvider {
    /// The documents. `remoteRef.key` is the name of one.
    pub documents: Vec<SopsDocument>,
    /// What opens them.
    pub keys: SopsKeys,
}

/// `sops.documents[]`: exactly one member is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SopsDocument {
    /// In a ConfigMap.
    pub config_map: Option<DocumentItem>,
    /// In a Secret.
    pub secret: Option<DocumentItem>,
    /// In a folder.
    pub folder: Option<DocumentFolder>,
}

/// One document in an object of the cluster, named by its key there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DocumentItem {
    /// The object.
    pub name: String,
    /// Its namespace: heard where a ClusterSecretStore says it, and nowhere else.
    pub namespace: String,
    /// The key, which is also the document's name; without one, all keys.
    pub key: String,
}

/// All documents below a folder, named by their paths there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct DocumentFolder(pub String);

/// `sops.keys`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SopsKeys {
    /// age identities.
    pub age: Vec<SopsIdentity>,
    /// OpenPGP secret keys.
    pub pgp: Vec<SopsIdentity>,
}

/// Where an identity lies.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SopsIdentity {
    /// A Secret; without a key, all of its keys.
    pub secret_ref: KeySelector,
}

/// A word of a description that may be secret.
#[derive(Clone, Debug, Default)]
pub struct SecretWord(pub SecretText);

impl<'de> Deserialize<'de> for SecretWord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|it| Self(SecretText::new(it.into_bytes())))
    }
}
