//! A control plane, OpenBao and the operator, and what tests of faults do with them.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use leafseal_plane::{ControlPlane, OpenBao, Operator, cluster};
use serde_json::{Value, json};

/// How long anything may take that has no time of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// What tests of faults run in.
pub(crate) struct World {
    pub(crate) bao: OpenBao,
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    /// Values that must not be seen anywhere but in Secrets.
    secrets: Mutex<Vec<String>>,
}

impl World {
    /// Starts all but the operator. Without the programs, reports so and returns `None`.
    pub(crate) async fn start() -> Option<Self> {
        let (plane, bao) = (ControlPlane::start_own().await?, OpenBao::start()?);
        Operator::install(&plane).await;
        let client = plane.client().await;
        bao.write("sys/auth/approle", &json!({"type": "approle"}));
        let policy = "path \"secret/*\" { capabilities = [\"read\", \"list\"] }";
        bao.write("sys/policies/acl/reader", &json!({ "policy": policy }));
        bao.write("auth/approle/role/reader", &json!({"token_policies": ["reader"], "token_ttl": "1h"}));
        Some(Self { bao, plane, client, secrets: Mutex::default() })
    }

    /// A namespace with a SecretStore and a VaultAuth, both called `vault`, that read from `address`.
    pub(crate) async fn namespace(&self, prefix: &str, address: &str) -> String {
        let namespace = cluster::namespace(self.client.clone(), prefix).await;
        self.furnish(&namespace, address).await;
        namespace
    }

    /// The same in a namespace that is there.
    pub(crate) async fn furnish(&self, namespace: &str, address: &str) {
        let role = self.bao.read("auth/approle/role/reader/role-id").expect("the role is there");
        let secret = self.bao.write("auth/approle/role/reader/secret-id", &json!({}));
        for object in [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-token"},
                   "stringData": {"token": OpenBao::ROOT, "id": secret["data"]["secret_id"]}}),
            store("vault", address),
            json!({"apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection", "metadata": {"name": "vault"},
                   "spec": {"address": address}}),
            json!({"apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuth", "metadata": {"name": "vault"},
                   "spec": {"vaultConnectionRef": "vault", "method": "appRole", "mount": "approle",
                            "appRole": {"roleId": role["data"]["role_id"], "secretRef": "vault-token"}}}),
        ] {
            self.apply(namespace, object).await;
        }
    }

    /// Writes a secret, which nobody may see but in Secrets.
    pub(crate) fn write(&self, name: &str, password: &str) {
        self.bao.write(&format!("secret/data/{name}"), &json!({"data": {"password": password}}));
        self.secrets.lock().expect("nobody panics with it").push(password.to_owned());
    }

    /// As `kubectl apply --server-side`.
    pub(crate) async fn apply(&self, namespace: &str, object: Value) {
        if let Err(error) = self.try_apply(namespace, object.clone()).await {
            panic!("{} {}: {error}", object["kind"], object["metadata"]["name"]);
        }
    }

    pub(crate) async fn try_apply(&self, namespace: &str, object: Value) -> kube::Result<DynamicObject> {
        let text = |it: &Value| it.as_str().expect("a manifest has a kind, a version and a name").to_owned();
        let (kind, version) = (text(&object["kind"]), text(&object["apiVersion"]));
        let params = PatchParams::apply("somebody").force();
        self.api(namespace, &version, &kind)
            .patch(&text(&object["metadata"]["name"]), &params, &Patch::Apply(object))
            .await
    }

    /// The objects of a kind.
    pub(crate) fn api(&self, namespace: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// The Secrets of a namespace.
    pub(crate) fn secrets(&self, namespace: &str) -> Api<k8s_openapi::api::core::v1::Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The password that a Secret holds.
    pub(crate) async fn password(&self, namespace: &str, name: &str) -> Option<String> {
        let secret = self.secrets(namespace).get_opt(name).await.ok()??;
        let value = secret.data?.remove("password")?;
        Some(String::from_utf8_lossy(&value.0).into_owned())
    }

    /// Waits until a Secret holds a password.
    pub(crate) async fn arrives(&self, namespace: &str, name: &str, password: &str) {
        self.arrives_within(PATIENCE, namespace, name, password).await;
    }

    pub(crate) async fn arrives_within(&self, patience: Duration, namespace: &str, name: &str, password: &str) {
        let what = format!("Secret {namespace}/{name} holds its value");
        let is_there = async || self.password(namespace, name).await.as_deref() == Some(password);
        if !within(patience, is_there).await {
            panic!("{what}: not within {patience:?}\n{}\n{}", self.statuses(namespace).await, self.last_lines());
        }
    }

    /// The condition `Ready` of an object: whether, why, and what it says.
    pub(crate) async fn ready(&self, namespace: &str, version: &str, kind: &str, name: &str) -> Option<(bool, String)> {
        let object = self.api(namespace, version, kind).get_opt(name).await.ok()??;
        let conditions = object.data["status"]["conditions"].as_array()?.clone();
        let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
        Some((ready["status"] == "True", format!("{}: {}", ready["reason"], ready["message"])))
    }

    /// Waits until an object says that it is not well.
    pub(crate) async fn fails(&self, namespace: &str, version: &str, kind: &str, name: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some((false, why)) = self.ready(namespace, version, kind, name).await {
                return why;
            }
            if begun.elapsed() > PATIENCE {
                panic!("{kind} {name} does not fail\n{}\n{}", self.statuses(namespace).await, self.last_lines());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// All that is said in a namespace: statuses and events.
    pub(crate) async fn statuses(&self, namespace: &str) -> String {
        let mut said = String::new();
        for (version, kind) in [
            (ES, "ExternalSecret"),
            (ES, "SecretStore"),
            (VS, "VaultStaticSecret"),
            (VS, "VaultAuth"),
            (VS, "VaultConnection"),
        ] {
            // The kind may be gone.
            let Ok(list) = self.api(namespace, version, kind).list(&ListParams::default()).await else { continue };
            for it in list {
                said.push_str(&format!("{kind} {}: {}\n", it.metadata.name.unwrap_or_default(), it.data["status"]));
            }
        }
        if let Ok(list) = self.api(namespace, "v1", "Event").list(&ListParams::default()).await {
            said.extend(list.into_iter().map(|it| format!("event {} {}\n", it.data["reason"], it.data["message"])));
        }
        said
    }

    /// What operators said.
    pub(crate) fn log(&self) -> String {
        let files = fs::read_dir(self.plane.folder()).into_iter().flatten().flatten().map(|it| it.path());
        let logs = files.filter(|it| {
            it.to_string_lossy().contains("leafseal-operator") && it.extension().is_some_and(|it| it == "log")
        });
        logs.map(|it| String::from_utf8_lossy(&fs::read(it).unwrap_or_default()).into_owned()).collect()
    }

    /// The end of what operators said.
    pub(crate) fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Fails if a secret value is seen in a log, a status or an event, or if anything broke.
    pub(crate) async fn nothing_leaked(&self, namespaces: &[&str]) {
        let log = self.log();
        assert!(!log.contains("panicked at"), "something broke\n{}", self.last_lines());
        let mut said = vec![("the log".to_owned(), log)];
        for it in namespaces {
            said.push((format!("what is said in {it}"), self.statuses(it).await));
        }
        for secret in self.secrets.lock().expect("nobody panics with it").iter() {
            for (place, text) in &said {
                for spelling in [secret.clone(), base64_simd::STANDARD.encode_to_string(secret)] {
                    assert!(!text.contains(spelling.trim_end_matches('=')), "a secret value is seen in {place}");
                }
            }
        }
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, namespace: &str, version: &str, kind: &str, name: &str) {
        let deleted = self.api(namespace, version, kind).delete(name, &DeleteParams::default()).await;
        deleted.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }
}

pub(crate) const ES: &str = "external-secrets.io/v1";
pub(crate) const VS: &str = "secrets.hashicorp.com/v1beta1";

/// A SecretStore.
pub(crate) fn store(name: &str, address: &str) -> Value {
    json!({"apiVersion": ES, "kind": "SecretStore", "metadata": {"name": name}, "spec": {"provider": {"vault": {
        "server": address, "path": "secret", "version": "v2",
        "auth": {"tokenSecretRef": {"name": "vault-token", "key": "token"}},
    }}}})
}

/// An ExternalSecret that keeps a Secret of its own name, from the secret `key` of a store.
pub(crate) fn external_secret(name: &str, store: &str, key: &str, refresh: &str) -> Value {
    json!({"apiVersion": ES, "kind": "ExternalSecret", "metadata": {"name": name}, "spec": {
        "refreshInterval": refresh, "secretStoreRef": {"name": store},
        "data": [{"secretKey": "password", "remoteRef": {"key": key, "property": "password"}}],
    }})
}

/// A VaultStaticSecret that keeps a Secret of its own name, from the secret `key`.
pub(crate) fn static_secret(name: &str, key: &str, refresh: &str) -> Value {
    json!({"apiVersion": VS, "kind": "VaultStaticSecret", "metadata": {"name": name}, "spec": {
        "vaultAuthRef": "vault", "mount": "secret", "type": "kv-v2", "path": key, "refreshAfter": refresh,
        "destination": {"name": name, "create": true},
    }})
}

/// Returns whether something becomes true in time.
pub(crate) async fn within(patience: Duration, is_so: impl AsyncFn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if is_so().await {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
