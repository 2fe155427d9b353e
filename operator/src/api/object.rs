//! One custom resource of any kind, whatever its spec says.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// A kind of custom resource.
pub trait Kind: Clone + Debug + Send + Sync + 'static {
    /// The API group.
    const GROUP: &'static str;
    /// The kind, as manifests spell it.
    const KIND: &'static str;
    /// The name in URLs.
    const PLURAL: &'static str;
    /// The versions that can be read, the preferred one first. They differ in name only.
    const VERSIONS: &'static [&'static str];
    /// Where its objects live.
    const SCOPE: Scope;
    /// What its objects ask for.
    type Spec: DeserializeOwned + Clone + Debug + Send + Sync;
    /// What was reported about them. What cannot be read counts as nothing reported.
    type Status: DeserializeOwned + Default + Clone + Debug + PartialEq + Send + Sync;
}

/// One object of any kind, as the API server tells of it: parts stay text until it is known what they should
/// say, and one that cannot be read hides no other. So whatever asks the API server is there once, and not for
/// each kind.
#[derive(Clone, Deserialize)]
pub struct Unread {
    /// Name, labels and so on.
    #[serde(default, deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    // Either may be `null`.
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// One object of kind `K`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Unread", bound = "")]
pub struct Object<K: Kind> {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What it asks for, or why that cannot be told.
    pub spec: Result<K::Spec, Malformed>,
    /// What was last reported about it.
    pub status: K::Status,
}

/// Why a spec cannot be understood: the place and what should stand there, never what stands there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{place}: {expected}")]
pub struct Malformed {
    /// The field: `spec.data[0].remoteRef.key`.
    pub place: String,
    /// What is wrong with it.
    pub expected: String,
}

impl Unread {
    /// What was reported about it. What cannot be read counts as nothing reported.
    pub fn status<T: DeserializeOwned + Default>(&self) -> T {
        self.status.as_deref().and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default()
    }
}

impl Debug for Unread {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Unread").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

impl<K: Kind> From<Unread> for Object<K> {
    fn from(it: Unread) -> Self {
        let status = it.status();
        // A spec may be missing (Vault Secrets, spec section A.1); then all its fields are.
        let spec = it.spec.as_deref().map_or("{}", RawValue::get);
        let spec = read_from(&mut serde_json::Deserializer::from_str(spec), "spec");
        Self { metadata: it.metadata, spec, status }
    }
}

impl<K: Kind> Object<K> {
    /// The namespace; empty for objects of the whole cluster.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The `generation`, which counts changes of the spec.
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }
}

/// Makes a type with `metadata` one of which the address is known only when it runs.
macro_rules! dynamic_resource {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> kube::Resource for $type {
            type DynamicType = kube::api::ApiResource;
            type Scope = kube::core::DynamicResourceScope;

            fn group(at: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                at.group.as_str().into()
            }

            fn version(at: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                at.version.as_str().into()
            }

            fn kind(at: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                at.kind.as_str().into()
            }

            fn api_version(at: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                at.api_version.as_str().into()
            }

            fn plural(at: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                at.plural.as_str().into()
            }

            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use dynamic_resource;

dynamic_resource!([] Unread);
dynamic_resource!([K: Kind] Object<K>);

macro_rules! metadata {
    ($($field:ident: $type:ty),* $(,)?) => {
        /// What of metadata is looked at. Who wrote which field is most of the rest, and is not kept.
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Metadata {
            $($field: Option<$type>,)*
        }

        fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
            let read = Metadata::deserialize(from)?;
            Ok(ObjectMeta { $($field: read.$field,)* ..ObjectMeta::default() })
        }
    };
}

metadata! {
    annotations: BTreeMap<String, String>,
    creation_timestamp: Time,
    deletion_timestamp: Time,
    finalizers: Vec<String>,
    generation: i64,
    labels: BTreeMap<String, String>,
    name: String,
    namespace: String,
    owner_references: Vec<OwnerReference>,
    resource_version: String,
    uid: String,
}

/// Reads the part of an object that stands at `place`.
///
/// # Errors
///
/// If it is not what should stand there.
pub fn read<T: DeserializeOwned>(part: Value, place: &str) -> Result<T, Malformed> {
    read_from(part, place)
}

fn read_from<'de, T, D>(part: D, place: &str) -> Result<T, Malformed>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(part).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." => place.to_owned(),
            path => format!("{place}.{path}"),
        };
        let said = error.inner().to_string();
        // Text has lines, which nobody sees who wrote the object.
        let said = match error.inner().line() {
            0 => said.as_str(),
            _ => said.rsplit_once(" at line ").map_or(said.as_str(), |it| it.0),
        };
        // "invalid type: string \"…\", expected u32" shows the value; "missing field `key`" does not.
        let expected = match said.rsplit_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None if said.starts_with("missing field") || said.starts_with("duplicate field") => said.to_owned(),
            None => "cannot be read".to_owned(),
        };
        Malformed { place, expected }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::external_secrets::ExternalSecret;

    #[test]
    fn what_cannot_be_read_hides_nothing_else() {
        let read = |spec: &str| -> Object<ExternalSecret> {
            let metadata = r#"{"name":"a","labels":{"l":"1"},"managedFields":[{"manager":"m","fieldsV1":{"f:a":{}}}]}"#;
            let text = format!(
                r#"{{"kind":"K","metadata":{metadata},"spec":{spec},"status":{{"refreshTime":"2026-01-01T00:00:00Z"}}}}"#
            );
            serde_json::from_str(&text).expect("every object can be read")
        };
        for (spec, expected) in [
            (
                r#"{"data":[{"secretKey":"hunter2"},{"secretKey":["hunter2"]}]}"#,
                "spec.data[1].secretKey: expected a string",
            ),
            (r#"{"refreshInterval":{"hunter2":1}}"#, "spec.refreshInterval: expected a string"),
            (r#""hunter2""#, "spec: expected struct ExternalSecretSpec"),
        ] {
            let object = read(spec);
            assert_eq!(object.spec.map(drop).map_err(|it| it.to_string()), Err(expected.to_owned()));
            assert!(object.status.refresh_time.is_some(), "{spec}");
            assert_eq!((object.metadata.name.as_deref(), object.metadata.managed_fields), (Some("a"), None));
        }
        for spec in ["null", "{}"] {
            assert!(read(spec).spec.is_ok_and(|it| it.data.is_empty()), "{spec}");
        }
    }
}
