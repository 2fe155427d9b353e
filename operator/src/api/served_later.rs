//! Kinds that the original operators serve and this one does not serve yet: each object is told so, and
//! nothing else happens to it or to what it keeps.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::Scope;
use super::external_secrets::{Condition, GENERATORS_GROUP, with_ready};

/// A kind that is not served yet.
#[derive(Debug)]
pub struct ServedLater {
    /// The API group.
    pub group: &'static str,
    /// The versions, the preferred one first.
    pub versions: &'static [&'static str],
    /// The kind.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// Where its objects live.
    pub scope: Scope,
    /// Who is told.
    pub told: Told,
    /// The finalizer of the original.
    pub finalizer: Option<&'static str>,
    /// True if the finalizer is removed from objects that are deleted, because there is nothing left to be
    /// cleaned up. Elsewhere it stays: the original, or its user, knows what would be left behind.
    pub is_released: bool,
    /// What its status must have besides conditions, as JSON: written where it is not there.
    pub required: &'static [(&'static str, &'static str)],
    /// The reason of the condition `Ready`, which is false, and of the event.
    pub reason: &'static str,
    /// What condition and event say.
    pub message: &'static str,
}

/// Who is told that a kind is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// The object, by a condition and an event.
    Object,
    /// The object, by an event alone: it has no conditions.
    ObjectByEvent,
    /// Whoever uses the object: by itself it does nothing.
    User,
}

const EXTERNAL_SECRETS: &str = "external-secrets.io";
const VAULT_SECRETS: &str = "secrets.hashicorp.com";

const NOT_SERVED: &str = "NotServed";
const DISCONTINUED: &str = "Discontinued";

/// All of them. Generators do nothing by themselves: who uses one that is not served is told.
pub static SERVED_LATER: &[ServedLater] = &[
    ServedLater {
        group: EXTERNAL_SECRETS,
        versions: &["v1alpha1"],
        kind: "PushSecret",
        plural: "pushsecrets",
        scope: Scope::Namespaced,
        finalizer: Some("pushsecret.externalsecrets.io/finalizer"),
        told: Told::Object,
        is_released: false,
        required: &[],
        reason: NOT_SERVED,
        message: "PushSecret is not served yet: nothing is pushed",
    },
    ServedLater {
        group: EXTERNAL_SECRETS,
        versions: &["v1alpha1"],
        kind: "ClusterPushSecret",
        plural: "clusterpushsecrets",
        scope: Scope::Cluster,
        finalizer: None,
        told: Told::Object,
        is_released: false,
        required: &[],
        reason: NOT_SERVED,
        message: "ClusterPushSecret is not served yet: no PushSecret is made or changed",
    },
    ServedLater {
        group: VAULT_SECRETS,
        versions: &["v1beta1"],
        kind: "VaultDynamicSecret",
        plural: "vaultdynamicsecrets",
        scope: Scope::Namespaced,
        finalizer: Some("vaultdynamicsecret.secrets.hashicorp.com/finalizer"),
        told: Told::Object,
        is_released: false,
        required: &[
            ("lastGeneration", "0"),
            ("lastRenewalTime", "0"),
            ("secretLease", r#"{"duration":0,"id":"","renewable":false,"requestID":""}"#),
        ],
        reason: NOT_SERVED,
        message: "VaultDynamicSecret is not served yet: its credentials are neither made nor renewed",
    },
    ServedLater {
        group: VAULT_SECRETS,
        versions: &["v1beta1"],
        kind: "VaultPKISecret",
        plural: "vaultpkisecrets",
        scope: Scope::Namespaced,
        finalizer: Some("vaultpkisecrets.secrets.hashicorp.com/finalizer"),
        told: Told::Object,
        is_released: false,
        required: &[("lastGeneration", "0"), ("lastRotation", "0"), ("valid", "false"), ("error", r#""""#)],
        reason: NOT_SERVED,
        message: "VaultPKISecret is not served yet: its certificate is neither issued nor renewed",
    },
    ServedLater {
        group: VAULT_SECRETS,
        versions: &["v1beta1"],
        kind: "HCPAuth",
        plural: "hcpauths",
        scope: Scope::Namespaced,
        finalizer: None,
        told: Told::Object,
        is_released: false,
        required: &[("valid", "false"), ("error", r#""""#)],
        reason: DISCONTINUED,
        message: "HCP Vault Secrets was discontinued by its provider: there is nothing to log in to",
    },
    ServedLater {
        group: VAULT_SECRETS,
        versions: &["v1beta1"],
        kind: "HCPVaultSecretsApp",
        plural: "hcpvaultsecretsapps",
        scope: Scope::Namespaced,
        finalizer: Some("hcpvaultsecretsapp.secrets.hashicorp.com/finalizer"),
        told: Told::Object,
        is_released: true,
        required: &[("lastGeneration", "0")],
        reason: DISCONTINUED,
        message: "HCP Vault Secrets was discontinued by its provider: nothing can be read, and the Secret stays as it is",
    },
    ServedLater {
        group: VAULT_SECRETS,
        versions: &["v1beta1"],
        kind: "CSISecrets",
        plural: "csisecrets",
        scope: Scope::Namespaced,
        finalizer: None,
        told: Told::ObjectByEvent,
        is_released: false,
        required: &[],
        reason: NOT_SERVED,
        message: "CSISecrets is served by a CSI driver, which is not part of this operator",
    },
    generator("ACRAccessToken", "acraccesstokens"),
    generator("BeyondtrustWorkloadCredentialsDynamicSecret", "beyondtrustworkloadcredentialsdynamicsecrets"),
    generator("CloudsmithAccessToken", "cloudsmithaccesstokens"),
    generator("ECRAuthorizationToken", "ecrauthorizationtokens"),
    generator("GCRAccessToken", "gcraccesstokens"),
    generator("GithubAccessToken", "githubaccesstokens"),
    generator("GitlabDeployToken", "gitlabdeploytokens"),
    generator("Grafana", "grafanas"),
    generator("MFA", "mfas"),
    generator("QuayAccessToken", "quayaccesstokens"),
    generator("STSSessionToken", "stssessiontokens"),
    generator("Webhook", "webhooks"),
];

const fn generator(kind: &'static str, plural: &'static str) -> ServedLater {
    ServedLater {
        group: GENERATORS_GROUP,
        versions: &["v1alpha1"],
        kind,
        plural,
        scope: Scope::Namespaced,
        told: Told::User,
        finalizer: None,
        is_released: false,
        required: &[],
        reason: NOT_SERVED,
        message: "this kind of generator is not served yet",
    }
}

impl ServedLater {
    /// The members of the status that tell it; `None` if `before` tells it already.
    pub fn status(&self, before: &Value, now: Timestamp) -> Option<Value> {
        let old: Vec<Condition> =
            before.get("conditions").and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default();
        let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        let new = with_ready(&old, false, self.reason, self.message.to_owned(), now);
        if new == old || self.told != Told::Object {
            return None;
        }
        let missing = self.required.iter().filter(|(name, _)| before.get(name).is_none());
        let mut changes: Map<String, Value> = missing
            .map(|(name, json)| ((*name).to_owned(), serde_json::from_str(json).expect("the table holds JSON")))
            .collect();
        changes.insert("conditions".to_owned(), json!(new));
        Some(changes.into())
    }
}

/// The row of a kind, in whichever version.
pub fn find(group: &str, kind: &str) -> Option<&'static ServedLater> {
    SERVED_LATER.iter().find(|it| it.group == group && it.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_once() {
        let now: Timestamp = "2026-11-21T10:00:00.5Z".parse().expect("this is a time");
        for row in SERVED_LATER {
            let Some(mut told) = row.status(&json!({ "valid": true }), now) else {
                assert_ne!(row.told, Told::Object, "{}", row.kind);
                continue;
            };
            assert_eq!(told["conditions"][0]["status"], "False");
            assert_eq!(told["conditions"][0]["lastTransitionTime"], "2026-11-21T10:00:00Z");
            assert_eq!(told.get("valid"), None, "what is there stays");
            told["valid"] = true.into();
            assert_eq!(row.status(&told, now), None, "{}", row.kind);
        }
    }

    #[test]
    fn rows_are_unique_and_well_formed() {
        for row in SERVED_LATER {
            assert!(std::ptr::eq(find(row.group, row.kind).expect("it is there"), row), "{} is there twice", row.kind);
            assert_eq!(row.plural, format!("{}s", row.kind.to_lowercase()).replace("secretss", "secrets"));
            assert!(!row.versions.is_empty() && !row.message.is_empty());
            assert!(!row.is_released || row.finalizer.is_some());
        }
    }
}
