//! Objects of any kind, as YAML.

use std::fs;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use leafseal_plane::{ControlPlane, cluster};
use leafseal_tests::workspace;
use serde::Deserialize;
use serde_json::Value;

/// How long the plane may take for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A control plane that knows our definitions.
pub(crate) struct Plane {
    pub(crate) control: ControlPlane,
    pub(crate) client: Client,
    /// A namespace of the test's own.
    pub(crate) namespace: String,
    /// The definitions.
    pub(crate) definitions: Vec<Value>,
}

impl Plane {
    /// A control plane; `None`, and reported, if a program is not there.
    pub(crate) async fn start() -> Option<Self> {
        let control = ControlPlane::start().await?;
        let client = control.client().await;
        let namespace = cluster::namespace(client.clone(), "deploy").await;
        Some(Self { control, client, namespace, definitions: definitions() })
    }

    /// Applies the definitions as `kubectl apply --server-side` does, and waits until all are served.
    pub(crate) async fn define(&self) {
        for definition in &self.definitions {
            self.apply(definition).await.expect("the API server takes the definition");
        }
        self.wait_until_served().await;
    }

    /// Waits until every definition is established, and nothing is said against its schema.
    pub(crate) async fn wait_until_served(&self) {
        for definition in &self.definitions {
            let name = name(definition);
            let begun = Instant::now();
            loop {
                let found = self.api(definition).get(name).await.expect("it was applied");
                let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let is = |what: &str| conditions.iter().any(|it| it["type"] == what && it["status"] == "True");
                assert!(!is("NonStructuralSchema"), "{name}: {conditions:?}");
                if is("Established") && is("NamesAccepted") {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{name} is not served: {conditions:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            cluster::is_served(&self.client, definition).await;
        }
    }

    /// The resources of an object's kind: in the test's namespace, or in the one that the object names.
    pub(crate) fn api(&self, object: &Value) -> Api<DynamicObject> {
        let version = object["apiVersion"].as_str().expect("it has a version");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = object["kind"].as_str().expect("it has a kind");
        let definition =
            self.definitions.iter().find(|it| it["spec"]["group"] == group && it["spec"]["names"]["kind"] == kind);
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let Some(definition) = definition else {
            return match kind.starts_with("Cluster") || matches!(kind, "CustomResourceDefinition" | "Namespace") {
                true => Api::all_with(self.client.clone(), &resource),
                false => Api::namespaced_with(self.client.clone(), self.namespace_of(object), &resource),
            };
        };
        let plural = definition["spec"]["names"]["plural"].as_str().expect("it has a plural").to_owned();
        let resource = ApiResource { plural, ..resource };
        match definition["spec"]["scope"].as_str() {
            Some("Cluster") => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), self.namespace_of(object), &resource),
        }
    }

    fn namespace_of<'a>(&'a self, object: &'a Value) -> &'a str {
        object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace)
    }

    /// Applies an object on the server's side and returns what is there then.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Value, Error> {
        let params = PatchParams::apply("leafseal-tests").force();
        let made = self.api(object).patch(name(object), &params, &Patch::Apply(object)).await?;
        Ok(serde_json::to_value(made).expect("an object is JSON"))
    }

    /// Reads an object of that kind, version and name.
    pub(crate) async fn read(&self, version: &str, kind: &str, name: &str) -> Value {
        let kind = serde_json::json!({"apiVersion": version, "kind": kind});
        let found = self.api(&kind).get(name).await.expect("it is there");
        serde_json::to_value(found).expect("an object is JSON")
    }
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("it has a name")
}

/// The documents of a stream of YAML, without empty ones.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|it| Value::deserialize(it).expect("it is YAML"))
        .filter(|it| !it.is_null())
        .collect()
}

/// The definitions of `operator/deploy/crds/`, by name.
pub(crate) fn definitions() -> Vec<Value> {
    let folder = workspace().join("operator/deploy/crds");
    let mut files: Vec<_> = fs::read_dir(folder).expect("the folder is there").flatten().map(|it| it.path()).collect();
    files.sort();
    files.iter().flat_map(|it| documents(&fs::read_to_string(it).expect("it is text"))).collect()
}
