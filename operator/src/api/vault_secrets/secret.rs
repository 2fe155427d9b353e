//! What VaultStaticSecret and SecretTransformation say (Vault Secrets, spec sections A.1.4, A.1.7 and
//! A.1.8).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Condition, Texts};

/// `VaultStaticSecret.spec`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StaticSecretSpec {
    /// The VaultAuth.
    pub vault_auth_ref: String,
    /// The Vault namespace; empty for that of the VaultAuth.
    pub namespace: String,
    /// The path of the engine.
    pub mount: String,
    /// The path of the secret in it.
    pub path: String,
    /// `kv-v1` or `kv-v2`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which version; 0 for the newest.
    pub version: i64,
    /// How often it is read.
    pub refresh_after: String,
    /// True if a MAC is kept, and with it drift is found and workloads are restarted.
    pub hmac_secret_data: bool,
    /// The workloads that restart when the content changes.
    pub rollout_restart_targets: Vec<RestartTarget>,
    /// The Secret.
    pub destination: Destination,
    /// How changes are heard of.
    pub sync_config: SyncConfig,
}

impl Default for StaticSecretSpec {
    fn default() -> Self {
        Self {
            vault_auth_ref: String::new(),
            namespace: String::new(),
            mount: String::new(),
            path: String::new(),
            kind: String::new(),
            version: 0,
            refresh_after: String::new(),
            hmac_secret_data: true,
            rollout_restart_targets: Vec::new(),
            destination: Destination::default(),
            sync_config: SyncConfig::default(),
        }
    }
}

/// `rolloutRestartTargets[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestartTarget {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `syncConfig`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SyncConfig {
    /// Vault tells of changes. Not followed: changes are seen when the secret is read again.
    pub instant_updates: bool,
}

/// `destination`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// The name of the Secret.
    pub name: String,
    /// True if it is made and owned, false if only its data is kept.
    pub create: bool,
    /// True if a Secret that nobody here made is taken over.
    pub overwrite: bool,
    /// Its labels.
    pub labels: Texts,
    /// Its annotations.
    pub annotations: Texts,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its data is made into.
    pub transformation: Transformation,
}

/// `transformation`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Transformation {
    /// Templates, by the key that they make.
    pub templates: BTreeMap<String, Template>,
    /// SecretTransformations that have a say.
    pub transformation_refs: Vec<TransformationRef>,
    /// Patterns of fields that are kept.
    pub includes: Vec<String>,
    /// Patterns of fields that are left out.
    pub excludes: Vec<String>,
    /// No `_raw`.
    pub exclude_raw: bool,
}

/// A template of a key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Template {
    /// Its name for other templates.
    pub name: String,
    /// The template.
    pub text: String,
}

/// `transformationRefs[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TransformationRef {
    /// Its name.
    pub name: String,
    /// Its namespace; empty for that of the secret.
    pub namespace: String,
    /// Which of its templates; none for all.
    pub template_refs: Vec<TemplateRef>,
    /// Its includes do not count.
    pub ignore_includes: bool,
    /// Its excludes do not count.
    pub ignore_excludes: bool,
}

/// `templateRefs[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateRef {
    /// The key of the template.
    pub name: String,
    /// The key that it makes here.
    pub key_override: String,
}

/// `SecretTransformation.spec`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretTransformationSpec {
    /// Templates, by the key that they make.
    pub templates: BTreeMap<String, Template>,
    /// Templates that only others use.
    pub source_templates: Vec<Template>,
    /// Patterns of fields that are kept.
    pub includes: Vec<String>,
    /// Patterns of fields that are left out.
    pub excludes: Vec<String>,
}

/// `VaultStaticSecret.status`
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct StaticSecretStatus {
    /// The generation that was last synced; 0 for none.
    pub last_generation: i64,
    /// The MAC of what was last synced.
    #[serde(rename = "secretMAC", deserialize_with = "or_default")]
    pub secret_mac: String,
    /// With which identity it was read.
    pub vault_client_meta: ClientMeta,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// `vaultClientMeta`
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientMeta {
    /// Which configuration of which identity (spec section A.3.2).
    pub cache_key: String,
    /// A digest of the token's accessor.
    pub id: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
