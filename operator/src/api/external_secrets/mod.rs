//! The kinds of `external-secrets.io` (External Secrets, spec section 1).
//!
//! Both versions are one type: a field that either has is read. Only enumerations and shapes are checked
//! here; what an object may ask for is checked where it is understood, so that each mistake is told
//! in words.

mod cluster_external_secret;
mod external_secret;
mod generator;
mod store;

pub use cluster_external_secret::{
    ChildMetadata, ClusterExternalSecretSpec, ClusterExternalSecretStatus, FailedNamespace,
};
pub use external_secret::{
    Binding, ConflictPolicy, ConversionStrategy, CreationPolicy, DataEntry, DataFromEntry, DecodingStrategy,
    DeletionPolicy, ExternalSecretSpec, ExternalSecretStatus, Extract, Find, FindName, GeneratorRef, MergeStrategy,
    MetadataPolicy, NullBytePolicy, PriorityPolicy, RefreshPolicy, RemoteRef, Rewrite, RewriteMerge, RewriteRegexp,
    RewriteTransform, SourceItem, SourceRef, StoreName, SyncWindow, SyncWindowKind, SyncWindows, TargetSpec,
    TargetTemplate, TemplateFrom, TemplateMergePolicy, TemplateMetadata, TemplateScope, TemplateSource, ValuesDecoding,
};
pub use generator::{
    ClusterGeneratorSpec, FakeGeneratorSpec, GENERATORS, GENERATORS_GROUP, GeneratorKind, PasswordSpec, SshKeySpec,
    VaultGeneratorSpec,
};
pub use store::{
    AppRoleAuth, CaProvider, CertAuth, DocumentFolder, DocumentItem, FakeItem, FakeProvider, FakeValidation, JwtAuth,
    KeySelector, KubernetesAuth, KubernetesCertAuth, KubernetesProvider, KubernetesServer, KubernetesTokenAuth,
    PasswordAuth, ProviderBlock, RetrySettings, SecretStoreSpec, SecretStoreStatus, SecretWord, ServiceAccountSelector,
    ServiceAccountToken, SopsDocument, SopsIdentity, SopsKeys, SopsProvider, StoreCondition, VaultAuthSpec,
    VaultKubernetesAuth, VaultProvider, VaultTls,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Kind, Scope};

/// The reason of events about failures: there is one for all of them (spec section 2.11).
pub const UPDATE_FAILED: &str = "UpdateFailed";
/// How the message begins when stores could not be read. Dashboards match on it.
pub const COULD_NOT_READ: &str = "could not get secret data from provider";
/// How the message begins when the Secret could not be made or written.
pub const COULD_NOT_UPDATE: &str = "could not update secret";

/// A Secret made of what stores hold.
#[derive(Clone, Debug)]
pub struct ExternalSecret;

impl Kind for ExternalSecret {
    const GROUP: &'static str = "external-secrets.io";
    const KIND: &'static str = "ExternalSecret";
    const PLURAL: &'static str = "externalsecrets";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const SCOPE: Scope = Scope::Namespaced;
    type Spec = ExternalSecretSpec;
    type Status = ExternalSecretStatus;
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
    type Spec = SecretStoreSpec;
    type Status = SecretStoreStatus;
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
    type Spec = SecretStoreSpec;
    type Status = SecretStoreStatus;
}

/// An ExternalSecret in every namespace that fits.
#[derive(Clone, Debug)]
pub struct ClusterExternalSecret;

impl Kind for ClusterExternalSecret {
    const GROUP: &'static str = "external-secrets.io";
    const KIND: &'static str = "ClusterExternalSecret";
    const PLURAL: &'static str = "clusterexternalsecrets";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const SCOPE: Scope = Scope::Cluster;
    type Spec = ClusterExternalSecretSpec;
    type Status = ClusterExternalSecretStatus;
}

/// One condition of a status. What it holds besides is kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// `Ready` is the only one that is written.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people; dashboards match on how it begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when `status` is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Whatever else stands there.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The condition `Ready` among `conditions`.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|it| it.kind == "Ready")
}

/// The conditions with `Ready` as it is now: the time changes only with `status`, others stay.
pub fn with_ready(
    conditions: &[Condition],
    is_ready: bool,
    reason: &str,
    message: String,
    now: Time,
) -> Vec<Condition> {
    let status = if is_ready { "True" } else { "False" };
    let before = ready(conditions);
    let since = before.filter(|it| it.status == status).and_then(|it| it.last_transition_time.clone());
    let new = Condition {
        kind: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(since.unwrap_or(now)),
        rest: before.map(|it| it.rest.clone()).unwrap_or_default(),
    };
    let mut conditions = conditions.to_vec();
    match conditions.iter_mut().find(|it| it.kind == "Ready") {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Object;

    #[test]
    fn what_either_version_has_is_read() {
        let object: Object<ExternalSecret> = serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1beta1",
            "metadata": { "name": "es" },
            "spec": {
                "secretStoreRef": { "name": "s", "kind": "" },
                "refreshInterval": "1h",
                "target": { "creationPolicy": "", "template": { "engineVersion": "v2", "unknown": 1 } },
                "data": [{
                    "secretKey": "a",
                    "remoteRef": {
                        "key": "k", "conversionStrategy": "Default", "decodingStrategy": "None", "metadataPolicy": "None",
                    },
                }],
                "dataFrom": [{ "extract": { "key": "k", "conversionStrategy": "Other", "decodingStrategy": "Base64URL" } }],
                "someday": {},
            },
            "status": { "refreshTime": null, "conditions": [{ "type": "Ready", "status": "True" }], "someday": 1 },
        }))
        .expect("every object can be read");
        let spec = object.spec.expect("this one can be understood");
        assert_eq!(spec.target.creation_policy, CreationPolicy::Owner);
        let extract = spec.data_from[0].extract.as_ref().expect("it is there");
        assert_eq!(
            (extract.conversion_strategy, extract.decoding_strategy),
            (ConversionStrategy::Other, DecodingStrategy::Base64Url)
        );
        assert!(ready(&object.status.conditions).is_some());
    }

    #[test]
    fn stores_do_not_show_what_they_hold() {
        let spec = json!({
            "provider": { "fake": { "data": [{ "key": "k", "value": "hunter2" }] } },
            "refreshInterval": "10s",
        });
        let object: Object<ClusterSecretStore> =
            serde_json::from_value(json!({ "spec": spec })).expect("every object can be read");
        let shown = format!("{object:?}");
        assert!(!shown.contains("hunter2") && shown.contains("fake"), "{shown}");
        let fake: FakeProvider = serde_json::from_value(spec["provider"]["fake"].clone()).expect("this can be read");
        assert!(!format!("{fake:?}").contains("hunter2"));
    }
}
