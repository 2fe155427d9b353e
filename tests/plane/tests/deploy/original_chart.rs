//! The original's chart of reloads with nothing but the image changed: its command line, its environment, its
//! probes and its rights, against a real API server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, Patch, PatchParams};
use leafseal_plane::ports;
use leafseal_plane::process::Process;
use leafseal_tests::operator;
use serde_json::{Value, json};

use crate::objects::{PATIENCE, Plane, documents, name};

/// SHA-1 of `password=two`, which is how a mark on pods is made (spec section B.4).
const TWO: &str = "1c3c5946f4c05f3b1d0c1ec784d46b6e0d3ee8ec";

/// How long nothing may happen for it to count as nothing.
const QUIET: Duration = Duration::from_secs(6);

/// The program as the chart starts it, in a namespace of its own.
struct Installed {
    home: String,
    pod: String,
    process: Process,
    port: u16,
}

impl Installed {
    /// Applies the objects of a file and starts what its Deployment says, as pod `pod`.
    async fn start(plane: &Plane, file: &str, home: &str, pod: &str) -> Self {
        Self::start_with(plane, file, home, pod, &[]).await
    }

    /// The same with more arguments.
    async fn start_with(plane: &Plane, file: &str, home: &str, pod: &str, more: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/reloader").join(file);
        let text = fs::read_to_string(path).expect("the file is there");
        plane.apply(&namespace(home)).await.expect("it is taken");
        let mut container = Value::Null;
        for mut object in documents(&text) {
            object["metadata"]["namespace"] = json!(home);
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                subject["namespace"] = json!(home);
            }
            match object["kind"].as_str() {
                Some("Deployment") => container = object["spec"]["template"]["spec"]["containers"][0].take(),
                _ => drop(plane.apply(&object).await.expect("it is taken")),
            }
        }
        let args = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let args: Vec<&str> = args.chain(more.iter().copied()).collect();
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for it in container["env"].as_array().into_iter().flatten() {
            let value = match it["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.namespace") => home,
                Some("metadata.name") => pod,
                _ => it["value"].as_str().expect("it has a value"),
            };
            env.insert(it["name"].as_str().expect("it has a name").to_owned(), value.to_owned());
        }
        assert_eq!(container["ports"][0]["containerPort"], 9090);
        // Tests run side by side: each has a port of its own. That it is 9090 else is seen where settings are read.
        let [port] = ports::free();
        let address = format!("127.0.0.1:{port}");
        env.insert("LEAFSEAL_OPERATOR_METRICS_ADDRESS".to_owned(), address.clone());
        env.insert("LEAFSEAL_OPERATOR_HEALTH_ADDRESS".to_owned(), address);
        let kubeconfig = plane.control.kubeconfig_of(home, "reloader-reloader").await;
        env.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        let env: Vec<(&str, &str)> = env.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
        let process = Process::start(plane.control.folder(), &format!("{home}-{pod}"), operator(), &args, &env);
        let process = process.expect("the program can be started");
        let installed = Self { home: home.to_owned(), pod: pod.to_owned(), process, port };
        installed
            .until("the probes are answered", async || {
                (installed.ask("/live").await == Some(200) && installed.ask("/metrics").await == Some(200))
                    .then_some(())
            })
            .await;
        installed
    }

    /// The same for all namespaces; when it is back, what happens is not what it begins with.
    async fn start_beside_app(plane: &Plane, more: &[&str]) -> Self {
        install_app(plane, "app").await;
        let installed = Self::start_with(plane, "cluster.yaml", "reloader", "reloader-0", more).await;
        installed.remembers(plane, "app").await;
        installed
    }

    async fn ask(&self, path: &str) -> Option<u16> {
        self.get(path).await.map(|it| it.0)
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = ureq::Agent::new_with_config(config.build());
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = agent.get(&url).call().ok()?;
            let text = answer.body_mut().read_to_string().ok()?;
            Some((answer.status().as_u16(), text))
        });
        asked.await.expect("it ends")
    }

    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the Deployment in a namespace says what it saw: what changes after that is a change.
    async fn remembers(&self, plane: &Plane, at: &str) {
        self.until("what the workload saw is remembered", async || {
            let found = plane.api(&deployment(at)).get("web").await.expect("it is there");
            found.metadata.annotations.is_some_and(|it| it.contains_key("reload.leafseal.io/consumed")).then_some(())
        })
        .await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.process.log()).unwrap_or_default()
    }

    /// How often the log says this.
    fn said(&self, part: &str) -> usize {
        self.log().matches(part).count()
    }
}

/// What `explain` says to whoever may do everything, and how it ends.
async fn explain(plane: &Plane, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(operator());
    command.arg("explain").args(args).env("KUBECONFIG", plane.control.kubeconfig());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends");
    let output = output.expect("the program can be started");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("it is text");
    (output.status.code(), text)
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn secret(namespace: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": namespace},
        "stringData": {"password": password},
    })
}

/// A Deployment that uses the Secret and asks for reloads.
fn deployment(namespace: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": namespace, "annotations": {"reloader.stakater.com/auto": "true"},
        },
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [
                    {"name": "app", "image": "app", "envFrom": [{"secretRef": {"name": "db"}}]},
                ]},
            },
        },
    })
}

async fn install_app(plane: &Plane, at: &str) {
    for object in [namespace(at), secret(at, "one"), deployment(at)] {
        plane.apply(&object).await.expect("it is taken");
    }
}

async fn change(plane: &Plane, at: &str, password: &str) {
    let patch = Patch::Merge(json!({"stringData": {"password": password}}));
    let api = plane.api(&secret(at, ""));
    api.patch("db", &PatchParams::default(), &patch).await.expect("it is taken");
}

/// The mark on the pods of the Deployment.
async fn mark(plane: &Plane, at: &str) -> Option<String> {
    mark_of(plane, at, "STAKATER_DB_SECRET").await
}

async fn mark_of(plane: &Plane, at: &str, variable: &str) -> Option<String> {
    let object = deployment(at);
    let found = plane.api(&object).get(name(&object)).await.expect("it is there");
    let env = found.data["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let marks = env.into_iter().find(|it| it["name"] == variable)?;
    Some(marks["value"].as_str().expect("it is text").to_owned())
}

async fn generation(plane: &Plane, at: &str) -> i64 {
    let object = deployment(at);
    plane.api(&object).get(name(&object)).await.expect("it is there").metadata.generation.expect("it has one")
}

#[tokio::test]
async fn with_nothing_but_the_image_changed_it_does_its_work() {
    let Some(plane) = Plane::start().await else { return };
    install_app(&plane, "app").await;
    let reloader = Installed::start(&plane, "cluster.yaml", "reloader", "reloader-0").await;

    // Only this family is served, and what it cannot do there is said once.
    reloader.until("it serves", async || (reloader.said("reload is served") > 0).then_some(())).await;
    let line = reloader.log().lines().find(|it| it.contains("reload is served")).unwrap_or_default().to_owned();
    for part in ["watch deployments.apps, statefulsets.apps, daemonsets.apps in", "watch, patch cronjobs.batch"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!reloader.log().contains("external-secrets") && !reloader.log().contains("vault-secrets"));
    assert!(!reloader.log().contains("Lease"), "{}", reloader.log());

    // What runs is written down where tools look for it.
    let meta = reloader
        .until("what runs is written down", async || {
            let kind = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": reloader.home}});
            plane.api(&kind).get_opt("reloader-meta-info").await.expect("it is answered")
        })
        .await;
    assert_eq!(meta.metadata.labels.expect("it has labels")["reloader.stakater.com/meta-info"], "reloader");
    let keys: Vec<_> = meta.data["data"].as_object().expect("it says something").keys().cloned().collect();
    assert_eq!(keys, ["buildInfo", "deploymentInfo", "reloaderOptions"]);

    // What was there at the start.
    reloader.remembers(&plane, "app").await;
    let before = generation(&plane, "app").await;
    assert_eq!(mark(&plane, "app").await, None, "a start restarts nothing");
    change(&plane, "app", "two").await;
    let made = reloader.until("the change is rolled out", async || mark(&plane, "app").await).await;
    assert_eq!(made, TWO);
    tokio::time::sleep(QUIET).await;
    assert_eq!(generation(&plane, "app").await, before + 1, "once");

    // Its event, in the original's words, and its metric.
    let events = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "app"}});
    let text = "Changes detected in 'db' of type 'SECRET' in namespace 'app', Updated 'web' of type 'Deployment' in \
                namespace 'app'";
    reloader
        .until("the event", async || {
            let all = plane.api(&events).list(&Default::default()).await.expect("it is answered");
            all.items.into_iter().find(|it| {
                let said = it.data["message"].as_str().unwrap_or_default();
                it.data["reason"] == "Reloaded" && said.starts_with(text)
            })
        })
        .await;
    let metrics = reloader.get("/metrics").await.expect("it answers").1;
    assert!(metrics.contains(r#"reloader_reload_executed_total{success="true"} 1"#), "{metrics}");

    // Whoever may read the namespace is told why.
    let (code, told) = explain(&plane, &["app", "deployment/web"]).await;
    for part in [
        "Deployment app/web asks for reloads\n",
        "  decided by   reloader.stakater.com/auto: all that it refers to\n",
        "  last seen    as it is now, by its memory\n",
        "  on a change  restarts: variable STAKATER_DB_SECRET on container app\n",
        &format!("Z  Reloaded: {text}"),
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(code, Some(0));
    assert!(!told.contains("two") && !told.contains(TWO), "{told}");
    let (code, told) = explain(&plane, &["app", "nobody"]).await;
    assert_eq!((code, told.as_str()), (Some(1), "error: there is no workload nobody in namespace app\n"));

    // What came after the start, too: nobody tells us of workloads here.
    for object in [namespace("later"), secret("later", "one")] {
        plane.apply(&object).await.expect("it is taken");
    }
    tokio::time::sleep(QUIET).await;
    plane.apply(&deployment("later")).await.expect("it is taken");
    // Pods that are made after a change have seen it.
    reloader
        .until("its pods are there", async || {
            let found = plane.api(&deployment("later")).get("web").await.expect("it is there");
            (found.data["status"]["availableReplicas"] == 1).then_some(())
        })
        .await;
    tokio::time::sleep(QUIET).await;
    change(&plane, "later", "two").await;
    let made = reloader.until("the change is rolled out", async || mark(&plane, "later").await).await;
    assert_eq!(made, TWO);

    // Even if all of it happens in one second. What pods begin with is no change for them.
    for object in [namespace("after"), deployment("after"), secret("after", "one")] {
        plane.apply(&object).await.expect("it is taken");
    }
    // Nor is what is said of it then.
    let label = Patch::Merge(json!({"metadata": {"labels": {"any": "label"}}}));
    plane.api(&secret("after", "")).patch("db", &PatchParams::default(), &label).await.expect("it is taken");
    install_app(&plane, "at-once").await;
    change(&plane, "at-once", "two").await;
    let made = reloader.until("the change is rolled out", async || mark(&plane, "at-once").await).await;
    assert_eq!(made, TWO);
    tokio::time::sleep(QUIET).await;
    assert_eq!(generation(&plane, "at-once").await, 2, "once");
    assert_eq!(mark(&plane, "after").await, None);

    // One that is made anew has changed for whoever had the one before, though nobody knew of that workload.
    for object in [namespace("anew"), secret("anew", "one")] {
        plane.apply(&object).await.expect("it is taken");
    }
    tokio::time::sleep(QUIET).await;
    plane.apply(&deployment("anew")).await.expect("it is taken");
    tokio::time::sleep(Duration::from_secs(2)).await;
    plane.api(&secret("anew", "")).delete("db", &DeleteParams::default()).await.expect("it is taken");
    plane.apply(&secret("anew", "two")).await.expect("it is taken");
    let made = reloader.until("the change is rolled out", async || mark(&plane, "anew").await).await;
    assert_eq!(made, TWO);
    tokio::time::sleep(QUIET).await;
    assert_eq!(generation(&plane, "anew").await, 2, "once");
    assert_eq!(reloader.said("reload is served"), 1);
}

#[tokio::test]
async fn what_comes_and_goes_beside_workloads_that_nobody_watches() {
    let Some(plane) = Plane::start().await else { return };
    let more = ["--reload-on-create=true", "--reload-on-delete=true"];
    let reloader = Installed::start_beside_app(&plane, &more).await;
    for object in [namespace("comes"), deployment("comes"), secret("comes", "two")] {
        plane.apply(&object).await.expect("it is taken");
    }
    let made = reloader.until("what came is rolled out", async || mark(&plane, "comes").await).await;
    assert_eq!(made, TWO);
    install_app(&plane, "goes").await;
    change(&plane, "goes", "two").await;
    reloader.until("the change is rolled out", async || mark(&plane, "goes").await).await;
    let secrets = plane.api(&secret("goes", ""));
    secrets.delete("db", &DeleteParams::default()).await.expect("it is taken");
    reloader
        .until("what went is rolled out", async || {
            let is_gone = mark(&plane, "goes").await.is_none_or(|it| it != TWO);
            is_gone.then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_went_beside_a_workload_that_nobody_knew_is_served_once() {
    let Some(plane) = Plane::start().await else { return };
    let more = ["--reload-strategy=annotations", "--reload-on-delete=true"];
    let reloader = Installed::start_beside_app(&plane, &more).await;
    for object in [namespace("runs"), secret("runs", "one")] {
        plane.apply(&object).await.expect("it is taken");
    }
    tokio::time::sleep(QUIET).await;
    plane.apply(&cron_job("runs")).await.expect("it is taken");
    tokio::time::sleep(Duration::from_secs(2)).await;
    plane.api(&secret("runs", "")).delete("db", &DeleteParams::default()).await.expect("it is taken");
    let runs = async || {
        let kind = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "runs"}});
        plane.api(&kind).list(&Default::default()).await.expect("it is answered").items.len()
    };
    reloader.until("it runs", async || (runs().await > 0).then_some(())).await;
    // What is looked at again is not served again.
    for name in ["any", "another"] {
        let metadata = json!({"name": name, "namespace": "runs"});
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}});
        plane.apply(&other).await.expect("it is taken");
        tokio::time::sleep(QUIET).await;
    }
    assert_eq!(runs().await, 1, "once\n{}", reloader.log());
}

/// A CronJob that uses the Secret, asks for reloads, and never runs by itself.
fn cron_job(namespace: &str) -> Value {
    let container = json!({"name": "app", "image": "app", "envFrom": [{"secretRef": {"name": "db"}}]});
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {
            "name": "report", "namespace": namespace, "annotations": {"reloader.stakater.com/auto": "true"},
        },
        "spec": {
            "schedule": "0 0 29 2 *",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}},
        },
    })
}

/// A kind of the CSI driver for secrets.
fn definition(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.secrets-store.csi.x-k8s.io")},
        "spec": {
            "group": "secrets-store.csi.x-k8s.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// What the driver tells of one pod.
fn pod_status(namespace: &str, version: &str) -> Value {
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus",
        "metadata": {"name": "web-0", "namespace": namespace},
        "status": {
            "podName": "web-0", "secretProviderClassName": "db", "mounted": true,
            "objects": [{"id": "secret/db", "version": version}],
        },
    })
}

/// SHA-1 of `SecretProviderClassName=db;secret/db=2`.
const MOUNTED_TWO: &str = "14438b9198774ee23457e178436467ab4aceb9eb";

#[tokio::test]
async fn what_pods_mount_is_followed_with_the_rights_that_the_chart_grants() {
    let Some(plane) = Plane::start().await else { return };
    for (kind, plural) in [
        ("SecretProviderClass", "secretproviderclasses"),
        ("SecretProviderClassPodStatus", "secretproviderclasspodstatuses"),
    ] {
        plane.apply(&definition(kind, plural)).await.expect("it is taken");
    }
    install_app(&plane, "app").await;
    let mut web = deployment("app");
    let pod = &mut web["spec"]["template"]["spec"];
    pod["containers"][0]["volumeMounts"] = json!([{"name": "db", "mountPath": "/db"}]);
    pod["volumes"] = json!([{
        "name": "db", "csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "db"}},
    }]);
    plane.apply(&web).await.expect("it is taken");
    let begun = Instant::now();
    while plane.apply(&pod_status("app", "1")).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the definition is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reloader = Installed::start(&plane, "csi.yaml", "reloader-csi", "reloader-0").await;
    reloader
        .until("what the pods mounted is remembered", async || {
            let found = plane.api(&deployment("app")).get("web").await.expect("it is there");
            let consumed = found.metadata.annotations.and_then(|mut it| it.remove("reload.leafseal.io/consumed"));
            consumed.filter(|it| it.contains("SecretProviderClass"))
        })
        .await;
    plane.apply(&pod_status("app", "2")).await.expect("it is taken");
    let variable = "STAKATER_DB_SECRETPROVIDERCLASS";
    let made = reloader.until("the change is rolled out", async || mark_of(&plane, "app", variable).await).await;
    assert_eq!(made, MOUNTED_TWO);
    let (code, told) = explain(&plane, &["app", "web", "--enable-csi-integration"]).await;
    for part in ["SecretProviderClass db\n", &format!("restarts: variable {variable} on container app\n")] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(code, Some(0), "{told}");
}

#[tokio::test]
async fn of_two_replicas_one_works_and_a_lost_lease_ends_the_pod() {
    let Some(plane) = Plane::start().await else { return };
    install_app(&plane, "app").await;
    let first = Installed::start(&plane, "ha.yaml", "reloader-ha", "reloader-0").await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"namespace": first.home},
    });
    let holder = async || {
        let held = plane.api(&lease).get_opt("stakater-reloader-lock").await.expect("it is answered")?;
        held.data["spec"]["holderIdentity"].as_str().map(str::to_owned)
    };
    let held = first.until("the Lease is taken", async || holder().await.filter(|it| !it.is_empty())).await;
    assert!(held.starts_with(&first.pod), "{held}");
    let second = Installed::start(&plane, "ha.yaml", "reloader-ha", "reloader-1").await;
    second.until("the other stands by", async || (second.said("waiting") > 0).then_some(())).await;
    assert_eq!((first.ask("/live").await, second.ask("/live").await), (Some(200), Some(200)));

    // Somebody else has it: this pod is to be started anew.
    let stolen = Patch::Merge(json!({"spec": {"holderIdentity": "original"}}));
    plane.api(&lease).patch("stakater-reloader-lock", &PatchParams::default(), &stolen).await.expect("it is taken");
    first.until("the loss shows", async || (first.ask("/live").await == Some(500)).then_some(())).await;
    assert_eq!(second.ask("/live").await, Some(200));
}

#[tokio::test]
async fn with_rights_in_one_namespace_that_one_is_served() {
    let Some(plane) = Plane::start().await else { return };
    for at in ["reloader-one", "app"] {
        install_app(&plane, at).await;
    }
    let reloader = Installed::start(&plane, "scoped.yaml", "reloader-one", "reloader-0").await;
    reloader.until("it serves", async || (reloader.said("reload is served") > 0).then_some(())).await;
    reloader.remembers(&plane, "reloader-one").await;
    for at in ["app", "reloader-one"] {
        change(&plane, at, "two").await;
    }
    let made = reloader.until("the change is rolled out", async || mark(&plane, "reloader-one").await).await;
    assert_eq!(made, TWO);
    tokio::time::sleep(QUIET).await;
    assert_eq!(mark(&plane, "app").await, None);
}
