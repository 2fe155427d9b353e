//! What an ExternalSecret says (External Secrets, spec section 1.2).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::Condition;
use crate::digest::Labels;

/// `spec`
///
/// There are as many as there are ExternalSecrets: what is seldom there is apart, and lists have no room left.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExternalSecretSpec {
    /// The store of entries that name none.
    pub secret_store_ref: Option<StoreName>,
    /// The Secret that is kept.
    pub target: TargetSpec,
    /// When it is read again.
    pub refresh_policy: RefreshPolicy,
    /// How long after; text here, so that text that is no duration is told on the object.
    pub refresh_interval: Option<String>,
    /// When reading again by time is allowed.
    pub sync_windows: Option<SyncWindows>,
    /// One value to one key.
    pub data: Box<[DataEntry]>,
    /// Many values to many keys.
    pub data_from: Box<[DataFromEntry]>,
}

/// Names a store.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct StoreName {
    /// Its name.
    pub name: String,
    /// `SecretStore`, which is also what nothing means, or `ClusterSecretStore`.
    pub kind: String,
}

/// `spec.target`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TargetSpec {
    /// The name of the Secret; without one, that of the object.
    pub name: String,
    /// What may be done to it.
    pub creation_policy: CreationPolicy,
    /// What happens when stores have nothing.
    pub deletion_policy: DeletionPolicy,
    /// True if the Secret is made immutable.
    pub immutable: bool,
    /// Something else than a Secret.
    pub manifest: Option<serde_json::Value>,
    /// What the Secret looks like.
    pub template: Option<Box<TargetTemplate>>,
}

/// `spec.target.creationPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum CreationPolicy {
    /// Made and owned.
    #[default]
    #[serde(alias = "")]
    Owner,
    /// Made and owned by nobody.
    Orphan,
    /// Own keys of what is there.
    Merge,
    /// Nothing.
    None,
    /// `Merge`, and made where it is not there.
    CreateOrMerge,
}

/// `spec.target.deletionPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum DeletionPolicy {
    /// The Secret stays.
    #[default]
    #[serde(alias = "")]
    Retain,
    /// The Secret goes.
    Delete,
    /// Own keys go.
    Merge,
}

/// `spec.refreshPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum RefreshPolicy {
    /// By time and when the object changes.
    #[default]
    #[serde(alias = "")]
    Periodic,
    /// Once.
    CreatedOnce,
    /// When the object changes.
    OnChange,
}

/// `spec.syncWindows`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SyncWindows {
    /// What windows mean.
    pub kind: SyncWindowKind,
    /// The windows.
    pub windows: Vec<SyncWindow>,
}

/// What windows mean.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SyncWindowKind {
    /// Only inside of them.
    #[default]
    #[serde(alias = "")]
    Allow,
    /// Only outside of them.
    Deny,
}

/// One window.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SyncWindow {
    /// When it opens: five fields of cron, `@hourly`, `@every 2h`.
    pub schedule: String,
    /// How long it stays open.
    pub duration: String,
}

/// `spec.data[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataEntry {
    /// The key in the Secret.
    pub secret_key: String,
    /// What is read.
    pub remote_ref: RemoteRef,
    /// From where, if not from the store of the whole object.
    pub source_ref: Option<Box<SourceRef>>,
}

/// Names a value in a store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RemoteRef {
    /// The store's name for the secret.
    pub key: String,
    /// Which part of it.
    pub property: String,
    /// Which version of it.
    pub version: String,
    /// The secret, or what is told about it.
    pub metadata_policy: MetadataPolicy,
    /// What becomes of names that are no keys. Without meaning in `data[]`.
    pub conversion_strategy: ConversionStrategy,
    /// What becomes of the value.
    pub decoding_strategy: DecodingStrategy,
    /// Whether the value may hold null bytes.
    pub null_byte_policy: NullBytePolicy,
}

/// `spec.dataFrom[].extract`
pub type Extract = RemoteRef;

/// `metadataPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum MetadataPolicy {
    /// The secret.
    #[default]
    #[serde(alias = "")]
    None,
    /// What is told about it.
    Fetch,
}

/// `conversionStrategy`: what becomes of characters that keys cannot have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum ConversionStrategy {
    /// `_`
    #[default]
    #[serde(alias = "")]
    Default,
    /// `_U0020_`
    Unicode,
    /// They stay.
    #[serde(other)]
    Other,
}

/// `decodingStrategy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum DecodingStrategy {
    /// As it is.
    #[default]
    #[serde(alias = "")]
    None,
    /// Whichever fits.
    Auto,
    /// Base64 with the standard alphabet.
    Base64,
    /// Base64 with the alphabet of URLs.
    #[serde(rename = "Base64URL")]
    Base64Url,
}

/// The same words, where templates use them.
pub type ValuesDecoding = DecodingStrategy;

/// `nullBytePolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum NullBytePolicy {
    /// Allowed.
    #[default]
    #[serde(alias = "")]
    Ignore,
    /// An error.
    Fail,
}

/// `sourceRef`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceRef {
    /// A store.
    pub store_ref: Option<StoreName>,
    /// A generator.
    pub generator_ref: Option<GeneratorRef>,
}

/// Names a generator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GeneratorRef {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `spec.dataFrom[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DataFromEntry {
    /// All keys of one secret.
    pub extract: Option<Extract>,
    /// All secrets that fit.
    pub find: Option<Find>,
    /// What becomes of the keys, in order.
    pub rewrite: Vec<Rewrite>,
    /// From where.
    pub source_ref: Option<Box<SourceRef>>,
}

/// `spec.dataFrom[].find`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Find {
    /// Only below this path.
    pub path: Option<String>,
    /// Only those of such a name.
    pub name: Option<FindName>,
    /// Only those that carry all of these.
    pub tags: BTreeMap<String, String>,
    /// What becomes of names that are no keys.
    pub conversion_strategy: ConversionStrategy,
    /// What becomes of values.
    pub decoding_strategy: DecodingStrategy,
    /// Whether values may hold null bytes.
    pub null_byte_policy: NullBytePolicy,
}

/// `find.name`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FindName {
    /// A pattern, which fits anywhere in the name.
    pub regexp: String,
}

/// `rewrite[]`: exactly one member is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// What fits is replaced.
    pub regexp: Option<RewriteRegexp>,
    /// A template makes the new key.
    pub transform: Option<RewriteTransform>,
    /// The values are objects, and become one.
    pub merge: Option<RewriteMerge>,
}

/// `rewrite[].regexp`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RewriteRegexp {
    /// The pattern.
    pub source: String,
    /// What stands there afterwards, with `$1` and `${name}`.
    pub target: String,
}

/// `rewrite[].transform`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RewriteTransform {
    /// The template; `.value` is the key.
    pub template: String,
}

/// `rewrite[].merge`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RewriteMerge {
    /// The key of the merged object, for [`MergeStrategy::Json`].
    pub into: String,
    /// Keys whose members win, the last one most.
    pub priority: Vec<String>,
    /// What happens when one of them is not there.
    pub priority_policy: PriorityPolicy,
    /// What happens when two objects have the same member.
    pub conflict_policy: ConflictPolicy,
    /// What comes out.
    pub strategy: MergeStrategy,
}

/// `priorityPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum PriorityPolicy {
    /// An error.
    #[default]
    #[serde(alias = "")]
    Strict,
    /// Nothing.
    IgnoreNotFound,
}

/// `conflictPolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum ConflictPolicy {
    /// An error.
    #[default]
    #[serde(alias = "")]
    Error,
    /// The later one wins.
    Ignore,
}

/// `rewrite[].merge.strategy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum MergeStrategy {
    /// The members alone.
    #[default]
    #[serde(alias = "")]
    Extract,
    /// The original keys and the merged object.
    #[serde(rename = "JSON")]
    Json,
}

/// `spec.target.template`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TargetTemplate {
    /// The type of the Secret.
    #[serde(rename = "type")]
    pub kind: String,
    /// The language: only `v2` exists.
    pub engine_version: String,
    /// Labels and annotations.
    pub metadata: TemplateMetadata,
    /// Whether keys without a template stay.
    pub merge_policy: TemplateMergePolicy,
    /// A template for each key.
    pub data: BTreeMap<String, String>,
    /// Templates that stand elsewhere.
    pub template_from: Vec<TemplateFrom>,
}

/// `spec.target.template.metadata`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TemplateMetadata {
    /// A template for each label.
    pub labels: Labels,
    /// A template for each annotation.
    pub annotations: Labels,
    /// Finalizers, which are no templates.
    pub finalizers: Vec<String>,
}

/// `spec.target.template.mergePolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum TemplateMergePolicy {
    /// They go.
    #[default]
    #[serde(alias = "")]
    Replace,
    /// They stay.
    Merge,
}

/// `spec.target.template.templateFrom[]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TemplateFrom {
    /// A ConfigMap that holds templates.
    pub config_map: Option<TemplateSource>,
    /// A Secret that holds templates.
    pub secret: Option<TemplateSource>,
    /// A template that makes a YAML mapping.
    pub literal: Option<String>,
    /// Where the results go: `Data`, `Labels`, `Annotations` in any case.
    pub target: String,
    /// How the results are decoded.
    pub values_decoding_strategy: ValuesDecoding,
}

/// An object of the same namespace that holds templates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TemplateSource {
    /// Its name.
    pub name: String,
    /// The keys that are used.
    pub items: Vec<SourceItem>,
}

/// One key that holds a template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SourceItem {
    /// The key.
    pub key: String,
    /// What comes out.
    pub template_as: TemplateScope,
}

/// `templateAs`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum TemplateScope {
    /// A value, under the template's own key.
    #[default]
    #[serde(alias = "")]
    Values,
    /// A YAML mapping.
    KeysAndValues,
}

/// `status`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct ExternalSecretStatus {
    /// When the last attempt that worked began.
    pub refresh_time: Option<Time>,
    /// Which state of the object it was made from.
    #[serde(rename = "syncedResourceVersion")]
    pub synced_version: String,
    /// Conditions.
    pub conditions: Box<[Condition]>,
    /// The target's name (servicebinding.io).
    pub binding: Binding,
}

/// `status.binding`
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Binding {
    /// The target's name.
    pub name: String,
}
