//! A plane with a Vault, and in it what operators are measured with.

use std::fs;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use leafseal_tests::workspace;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ControlPlane, OpenBao};

/// How many requests prepare things at once.
pub(super) const AT_ONCE: usize = 32;

const PATIENCE: Duration = Duration::from_secs(60);

/// Both groups of custom resources.
const EXTERNAL: &str = "external-secrets.io/v1";
const VAULT: &str = "secrets.hashicorp.com/v1beta1";

/// A plane and a Vault whose Kubernetes login it backs.
pub(super) struct Site {
    pub(super) plane: ControlPlane,
    pub(super) bao: OpenBao,
    pub(super) client: Client,
}

/// A kind that asks for Secrets from Vault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asks {
    /// ExternalSecrets with two keys of one path.
    External,
    /// VaultStaticSecrets.
    Static,
}

impl Asks {
    fn version(self) -> &'static str {
        match self {
            Self::External => EXTERNAL,
            Self::Static => VAULT,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::External => "ExternalSecret",
            Self::Static => "VaultStaticSecret",
        }
    }

    /// The field of the spec that says how often.
    fn interval(self) -> &'static str {
        match self {
            Self::External => "refreshInterval",
            Self::Static => "refreshAfter",
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        resource(self.version(), self.kind())
    }

    /// One object, which refreshes once in `interval`.
    fn object(self, name: &str, interval: Duration) -> Value {
        let interval = format!("{}s", interval.as_secs());
        let spec = match self {
            Self::External => {
                let key = |key: &str| json!({"secretKey": key, "remoteRef": {"key": name, "property": key}});
                json!({
                    "refreshInterval": interval, "secretStoreRef": {"name": "vault"},
                    "data": [key("user"), key("password")],
                })
            }
            Self::Static => json!({
                "vaultAuthRef": "vault", "mount": "secret", "type": "kv-v2", "path": name,
                "refreshAfter": interval, "destination": {"name": name, "create": true},
            }),
        };
        json!({"apiVersion": self.version(), "kind": self.kind(), "metadata": {"name": name}, "spec": spec})
    }

    /// What the objects of a namespace read through.
    fn stores(self, vault: &str) -> Vec<Value> {
        let metadata = json!({"name": "vault"});
        match self {
            Self::External => {
                let auth =
                    json!({"mountPath": "kubernetes", "role": "reader", "serviceAccountRef": {"name": "reader"}});
                let auth = json!({"kubernetes": auth});
                let vault = json!({"server": vault, "path": "secret", "version": "v2", "auth": auth});
                let spec = json!({"provider": {"vault": vault}});
                vec![json!({"apiVersion": EXTERNAL, "kind": "SecretStore", "metadata": metadata, "spec": spec})]
            }
            Self::Static => {
                let connection = json!({"address": vault, "skipTLSVerify": false});
                let auth = json!({
                    "vaultConnectionRef": "vault", "method": "kubernetes", "mount": "kubernetes",
                    "kubernetes": {"role": "reader", "serviceAccount": "reader"},
                });
                vec![
                    json!({"apiVersion": VAULT, "kind": "VaultConnection", "metadata": metadata, "spec": connection}),
                    json!({"apiVersion": VAULT, "kind": "VaultAuth", "metadata": metadata, "spec": auth}),
                ]
            }
        }
    }
}

/// The name of one object, of its path in Vault and of its Secret.
pub(super) fn name(n: usize) -> String {
    format!("object-{n:05}")
}

impl Site {
    /// A plane that knows the kinds, and a Vault with something at as many paths as there are objects.
    /// `None` where the programs are missing.
    pub(super) async fn start(n_objects: usize) -> Option<Self> {
        let (plane, bao) = (ControlPlane::start_own().await?, OpenBao::start()?);
        let client = plane.client().await;
        let site = Self { plane, bao, client };
        site.define().await;
        site.let_in();
        for n in 0..n_objects {
            let data = json!({"user": format!("user-{n}"), "password": format!("a password of usual length {n}")});
            site.bao.write(&format!("secret/data/{}", name(n)), &json!({ "data": data }));
        }
        Some(site)
    }

    /// Gives the API server the definitions and waits until it serves them.
    async fn define(&self) {
        let folder = workspace().join("operator/deploy/crds");
        let files = fs::read_dir(folder).expect("the definitions are there").flatten();
        let definitions: Vec<Value> = files
            .map(|it| fs::read_to_string(it.path()).expect("a definition can be read"))
            .map(|it| serde_yaml::from_str(&it).expect("a definition is YAML"))
            .collect();
        let names: Vec<String> =
            definitions.iter().filter_map(|it| it["metadata"]["name"].as_str().map(str::to_owned)).collect();
        self.create(None, definitions).await;
        let api: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &resource("apiextensions.k8s.io/v1", "CustomResourceDefinition"));
        let begun = Instant::now();
        for name in names {
            while !is(&api.get(&name).await.expect("it was made").data["status"], "Established") {
                assert!(begun.elapsed() < PATIENCE, "{name} is not served");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Lets ServiceAccounts called `reader` log in at Vault and read.
    fn let_in(&self) {
        let read = |path| fs::read_to_string(path).expect("the plane has written it");
        let kubeconfig: Value = serde_json::from_str(&read(self.plane.kubeconfig())).expect("it is JSON");
        let policy = r#"path "secret/*" { capabilities = ["read"] }"#;
        self.bao.write("sys/policies/acl/reader", &json!({ "policy": policy }));
        self.bao.write("sys/auth/kubernetes", &json!({"type": "kubernetes"}));
        let config = json!({
            "kubernetes_host": self.plane.server(), "kubernetes_ca_cert": read(self.plane.authority()),
            "token_reviewer_jwt": kubeconfig["users"][0]["user"]["token"], "disable_iss_validation": true,
        });
        self.bao.write("auth/kubernetes/config", &config);
        let role = json!({
            "bound_service_account_names": "reader", "bound_service_account_namespaces": "*", "policies": "reader",
            "token_ttl": "1h",
        });
        self.bao.write("auth/kubernetes/role/reader", &role);
    }

    /// Makes a namespace, if it is not there, with `n` objects and what they read through.
    pub(super) async fn ask(&self, namespace: &str, asks: Asks, n: usize, interval: Duration) {
        let metadata = json!({ "name": namespace });
        let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}});
        self.create(None, vec![home]).await;
        let mut objects = vec![account];
        objects.extend(asks.stores(&self.bao.address()));
        objects.extend((0..n).map(|n| asks.object(&name(n), interval)));
        self.create(Some(namespace), objects).await;
    }

    /// Makes `n` Secrets that nobody asked for, of ten kilobytes each.
    pub(super) async fn fill(&self, n: usize) {
        const NAMESPACE: &str = "others";
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.create(None, vec![namespace]).await;
        let content = "x".repeat(10_000);
        let secret = |n| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name(n)}, "stringData": {"it": content}});
        self.create(Some(NAMESPACE), (0..n).map(secret)).await;
    }

    pub(super) async fn create(&self, namespace: Option<&str>, objects: impl IntoIterator<Item = Value>) {
        let each = objects.into_iter().map(|object| async move {
            let text = |field: &str| object[field].as_str().expect("it has one");
            let at = resource(text("apiVersion"), text("kind"));
            let api: Api<DynamicObject> = match namespace {
                Some(it) => Api::namespaced_with(self.client.clone(), it, &at),
                None => Api::all_with(self.client.clone(), &at),
            };
            let kind = text("kind").to_owned();
            let object = serde_json::from_value(object).expect("this is an object");
            match api.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                made => drop(made.unwrap_or_else(|error| panic!("the plane takes a {kind}: {error}"))),
            }
        });
        futures::stream::iter(each).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Asks for `n` objects to be refreshed once in an hour from now on.
    pub(super) async fn slow_down(&self, namespace: &str, asks: Asks, n: usize) {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &asks.resource());
        let patch = Patch::Merge(json!({"spec": {asks.interval(): "1h"}}));
        let each = (0..n).map(async |n| {
            api.patch(&name(n), &PatchParams::default(), &patch).await.expect("the plane takes it");
        });
        futures::stream::iter(each).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Removes the objects of a namespace and their Secrets, and waits until they are gone.
    pub(super) async fn clear(&self, namespace: &str, asks: Asks) {
        for at in [asks.resource(), resource("v1", "Secret")] {
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &at);
            let (all, how) = (ListParams::default(), DeleteParams::default());
            while !api.list(&all.clone().limit(1)).await.expect("the plane answers").items.is_empty() {
                api.delete_collection(&how, &all).await.expect("they can be deleted");
            }
        }
    }

    /// Waits until `n` objects of a namespace are Ready.
    pub(super) async fn wait_until_ready(&self, namespace: &str, asks: Asks, n: usize, patience: Duration) {
        #[derive(Clone, Deserialize)]
        struct Seen {
            metadata: Named,
            #[serde(default)]
            status: Value,
        }
        #[derive(Clone, Deserialize)]
        struct Named {
            #[serde(default)]
            name: String,
        }
        let url = format!("/apis/{}/namespaces/{namespace}/{}", asks.version(), asks.resource().plural);
        let look = async {
            let mut ready = std::collections::HashSet::new();
            while ready.len() < n {
                let params = kube::api::WatchParams::default().timeout(290);
                let request = kube::core::Request::new(url.clone()).watch(&params, "0").expect("this is a path");
                let events = self.client.request_events::<Seen>(request).await.expect("the plane can be watched");
                let mut events = std::pin::pin!(events);
                while let Ok(Some(event)) = events.try_next().await {
                    if let kube::api::WatchEvent::Added(it) | kube::api::WatchEvent::Modified(it) = event
                        && is(&it.status, "Ready")
                    {
                        ready.insert(it.metadata.name);
                        if ready.len() >= n {
                            break;
                        }
                    }
                }
            }
        };
        let fine = tokio::time::timeout(patience, look).await;
        assert!(fine.is_ok(), "not all of {n} objects in {namespace} are Ready after {patience:?}");
    }
}

/// True if a status has a condition that holds.
fn is(status: &Value, condition: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|it| it["type"] == condition && it["status"] == "True")
}

pub(super) fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
