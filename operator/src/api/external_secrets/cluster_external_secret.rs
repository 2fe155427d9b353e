//! ClusterExternalSecret: an ExternalSecret in every namespace that fits (External Secrets, spec section 1.4).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Condition;
use crate::digest::Labels;

/// `spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterExternalSecretSpec {
    /// What the ExternalSecrets ask for, as it was written: it is handed on, not understood.
    pub external_secret_spec: Value,
    /// What they are called; empty: as the object itself.
    pub external_secret_name: String,
    /// Their labels and annotations.
    pub external_secret_metadata: ChildMetadata,
    /// Which namespaces: those that fit.
    pub namespace_selector: Option<LabelSelector>,
    /// Which namespaces: those that fit any of these.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Which namespaces, by name.
    pub namespaces: Vec<String>,
    /// How often it is looked at though nothing changed: 1h.
    pub refresh_time: Option<String>,
}

/// `spec.externalSecretMetadata`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChildMetadata {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
}

/// `status`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterExternalSecretStatus {
    /// What the ExternalSecrets were called when they were last made.
    pub external_secret_name: String,
    /// Where there is none though there should be.
    pub failed_namespaces: Vec<FailedNamespace>,
    /// Where there is one.
    pub provisioned_namespaces: Vec<String>,
    /// `Ready`
    pub conditions: Vec<Condition>,
}

/// `status.failedNamespaces[]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct FailedNamespace {
    /// The namespace.
    pub namespace: String,
    /// Why.
    pub reason: String,
}
