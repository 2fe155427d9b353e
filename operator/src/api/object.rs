//! One custom resource of any kind, whatever its spec says.

use std::fmt::Debug;

use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

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

/// One object of kind `K`.
#[derive(Clone, Debug)]
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

dynamic_resource!([K: Kind] Object<K>);

impl<'de, K: Kind> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            #[serde(default)]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Value,
        }
        let stored = Stored::deserialize(from)?;
        let mut metadata = stored.metadata;
        metadata.managed_fields = None;
        Ok(Self {
            metadata,
            spec: read_spec::<K>(stored.spec),
            status: serde_json::from_value(stored.status).unwrap_or_default(),
        })
    }
}

fn read_spec<K: Kind>(spec: Value) -> Result<K::Spec, Malformed> {
    // A spec may be missing (Vault Secrets, spec section A.1); then all its fields are.
    let spec = if spec.is_null() { Value::Object(serde_json::Map::new()) } else { spec };
    read(spec, "spec")
}

/// Reads the part of an object that stands at `place`.
///
/// # Errors
///
/// If it is not what should stand there.
pub fn read<T: DeserializeOwned>(part: Value, place: &str) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(part).map_err(|error| {
        let place = match error.path().to_string().as_str() {
            "." => place.to_owned(),
            path => format!("{place}.{path}"),
        };
        let said = error.inner().to_string();
        // "invalid type: string \"…\", expected u32" shows the value; "missing field `key`" does not.
        let expected = match said.rsplit_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None if said.starts_with("missing field") || said.starts_with("duplicate field") => said,
            None => "cannot be read".to_owned(),
        };
        Malformed { place, expected }
    })
}
