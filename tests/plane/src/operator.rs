//! The built operator, running beside a control plane with the rights that its manifests give it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use leafseal_tests::{operator, workspace};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{self, Right};
use crate::control_plane::ControlPlane;
use crate::ports;
use crate::process::Process;

/// The manifests of the operator, and the kinds of them that matter where no container runs.
const MANIFESTS: &str = "operator/deploy/manifests/leafseal-operator.yaml";
const RIGHTS: &[&str] = &["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
const DEFINITIONS: &str = "operator/deploy/crds";

const PATIENCE: Duration = Duration::from_secs(180);

/// A running operator. Dropping it ends it, as a pod is ended.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    agent: ureq::Agent,
    metrics: String,
}

impl Operator {
    /// The namespace that the manifests put it in.
    pub const NAMESPACE: &str = "leafseal-system";

    /// Its ServiceAccount.
    pub const ACCOUNT: &str = "leafseal-operator";

    /// Gives the plane the definitions of the custom resources and the operator's rights, and waits until the
    /// definitions are served and the rights are heeded.
    ///
    /// # Panics
    ///
    /// If the API server refuses one of them.
    pub async fn install(plane: &ControlPlane) {
        let client = plane.client().await;
        let mut files: Vec<PathBuf> = fs::read_dir(workspace().join(DEFINITIONS))
            .expect("the definitions are there")
            .flatten()
            .map(|it| it.path())
            .collect();
        files.sort();
        let definitions: Vec<Value> = files.iter().flat_map(|it| documents(it)).collect();
        for object in &definitions {
            apply(&client, object).await;
        }
        let mut rights = documents(&workspace().join(MANIFESTS));
        rights.retain(|object| RIGHTS.iter().any(|it| object["kind"] == *it));
        for object in &rights {
            apply(&client, object).await;
        }
        for object in &definitions {
            cluster::is_served(&client, object).await;
        }
        are_heeded(&client, &rights).await;
    }

    /// Gives its ServiceAccount in a namespace the rights that it has in its own: to Leases, keys and memories.
    ///
    /// # Panics
    ///
    /// If the API server refuses.
    pub async fn allow(client: &Client, namespace: &str) {
        let mut rights = documents(&workspace().join(MANIFESTS));
        rights.retain(|object| {
            let is_own = object["metadata"]["namespace"] == Self::NAMESPACE;
            is_own && ["Role", "RoleBinding"].iter().any(|it| object["kind"] == *it)
        });
        for object in &mut rights {
            object["metadata"]["namespace"] = namespace.into();
            apply(client, object).await;
        }
        are_heeded(client, &rights).await;
    }

    /// Starts the operator on a plane where it is installed, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not come up, with the last lines of its log.
    pub async fn start(plane: &ControlPlane, args: &[String]) -> Self {
        Self::start_as(plane, "leafseal-operator", args).await
    }

    /// The same beside another one; its log has its name.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_as(plane: &ControlPlane, name: &str, args: &[String]) -> Self {
        Self::start_in(plane, name, Self::NAMESPACE, args).await
    }

    /// The same as if it were installed in another namespace, where it was [allowed](Self::allow) to be.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_in(plane: &ControlPlane, name: &str, namespace: &str, args: &[String]) -> Self {
        let pod = format!("{name}-0");
        let kubeconfig = plane.kubeconfig_of(Self::NAMESPACE, Self::ACCOUNT).await;
        let [metrics, health] = ports::free();
        let mut all = vec![
            format!("--metrics-address=127.0.0.1:{metrics}"),
            format!("--health-address=127.0.0.1:{health}"),
            "--log-level=info".to_owned(),
        ];
        all.extend_from_slice(args);
        let env = [
            ("KUBECONFIG", kubeconfig.to_str().expect("temporary folders have plain names")),
            ("OPERATOR_NAMESPACE", namespace),
            ("OPERATOR_POD_NAME", pod.as_str()),
            // What stores say holds, not what the operator's surroundings say (external-secrets.md, G25).
            ("VAULT_TOKEN", "of-nobody"),
            ("VAULT_ADDR", "http://127.0.0.1:9"),
            ("VAULT_NAMESPACE", "nowhere"),
        ];
        let process = Process::start(plane.folder(), name, operator(), &all, &env);
        let mut process = process.expect("the program can be started");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = ureq::Agent::new_with_config(config.build());
        let begun = Instant::now();
        let ready = format!("http://127.0.0.1:{health}/readyz");
        while !agent.get(&ready).call().is_ok_and(|it| it.status().is_success()) {
            let fine = process.is_running() && begun.elapsed() < PATIENCE;
            assert!(fine, "the operator does not come up\n{}", process.last_lines());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { process, agent, metrics: format!("http://127.0.0.1:{metrics}/metrics") }
    }

    /// Ends it as a crash does.
    pub fn kill(self) {
        self.process.kill();
    }

    /// Its metrics, as they are served.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn metrics(&self) -> String {
        let mut answer = self.agent.get(&self.metrics).call().expect("the operator answers");
        answer.body_mut().read_to_string().expect("metrics are text")
    }

    /// How much memory it has, in kB.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn resident(&self) -> u64 {
        let pid = self.process.pid().expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("Linux says how much");
        line.trim().trim_end_matches("kB").trim().parse().expect("it is a number")
    }

    /// Where its log is.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The last lines of its log.
    pub fn last_lines(&self) -> String {
        self.process.last_lines()
    }
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    let read: Result<Vec<Value>, _> = documents.collect();
    let mut read = read.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    read.retain(Value::is_object);
    read
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a manifest has a name")
}

fn resource_of(object: &Value) -> ApiResource {
    let text = |field: &str| object[field].as_str().expect("a manifest has a kind and a version");
    let (group, version) = text("apiVersion").rsplit_once('/').unwrap_or(("", text("apiVersion")));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")))
}

async fn apply(client: &Client, object: &Value) {
    let resource = resource_of(object);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("leafseal-plane").force();
    let applied = api.patch(name_of(object), &params, &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{} {}: {error}", object["kind"], name_of(object)));
}

/// Waits until the API server grants the operator the first thing of each rule of the roles that it is bound to.
async fn are_heeded(client: &Client, rights: &[Value]) {
    let user = cluster::user_of(Operator::NAMESPACE, Operator::ACCOUNT);
    let first = |it: &'_ Value| it[0].as_str().unwrap_or_default().to_owned();
    // Roles that only add to those of people are bound to nobody here.
    let is_bound = |role: &Value| {
        rights.iter().any(|it| it["roleRef"]["kind"] == role["kind"] && it["roleRef"]["name"] == name_of(role))
    };
    for role in rights.iter().filter(|it| it["rules"].is_array() && is_bound(it)) {
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
        for rule in role["rules"].as_array().into_iter().flatten().filter(|it| it["resources"].is_array()) {
            let [group, resource, name, verb] =
                ["apiGroups", "resources", "resourceNames", "verbs"].map(|it| first(&rule[it]));
            let right = Right { user: &user, namespace, group: &group, resource: &resource, name: &name, verb: &verb };
            cluster::heeds(client, right, true).await;
        }
    }
}
