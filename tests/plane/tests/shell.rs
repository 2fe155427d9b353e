//! The shell of the operator on a real control plane: who holds a Lease, what is found, who is told what,
//! who is answered, and how all of it ends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use leafseal_operator::client::{self, Clients};
use leafseal_operator::engine::Context;
use leafseal_operator::families::{self, Finding};
use leafseal_operator::intent::Family;
use leafseal_operator::lease::{self, Campaign, State, Terms};
use leafseal_operator::metrics::Metrics;
use leafseal_operator::plan::Note;
use leafseal_operator::settings::Settings;
use leafseal_operator::stop::{self, Stopper};
use leafseal_operator::{events, http, shell};
use leafseal_plane::cluster::{self, Right};
use leafseal_plane::{ControlPlane, ports};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long a Lease lasts here.
const DURATION: Duration = Duration::from_secs(24);

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn terms(namespace: &str, identity: &str) -> Terms {
    Terms {
        namespace: namespace.to_owned(),
        name: "b0d477c0.hashicorp.com".to_owned(),
        identity: identity.to_owned(),
        // A machine that stands still for a while is no change of leaders.
        duration: DURATION,
        deadline: DURATION / 2,
        retry: Duration::from_millis(400),
    }
}

fn run_for(client: &Client, namespace: &str, identity: &str) -> (Campaign, Stopper) {
    let (stopper, stop) = stop::pair();
    (lease::campaign(client.clone(), terms(namespace, identity), stop), stopper)
}

async fn held(campaign: &mut Campaign) {
    told(campaign, |it| *it == State::Held).await;
    assert!(campaign.gate.held());
}

/// Waits until a campaign is in such a state.
async fn told(campaign: &mut Campaign, is_meant: impl FnMut(&State) -> bool) -> State {
    let state = tokio::time::timeout(PATIENCE, campaign.states.wait_for(is_meant)).await;
    state.expect("it is told in time").expect("the campaign goes on").clone()
}

/// A client of somebody else, who may do what was granted to `user`.
async fn as_user(plane: &ControlPlane, user: &str) -> Client {
    let mut config = config(plane).await;
    config.auth_info.impersonate = Some(user.to_owned());
    Client::try_from(config).expect("the configuration is whole")
}

async fn config(plane: &ControlPlane) -> Config {
    let file = Kubeconfig::read_from(plane.kubeconfig()).expect("it is a kubeconfig");
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("it is whole")
}

/// Grants `rules` in a namespace to `user`, and waits until the API server heeds it.
async fn grant(client: &Client, namespace: &str, user: &str, rules: Value) {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({ "name": user });
    let role = json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": &rules});
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": user},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    });
    for (kind, object) in [("Role", role), ("RoleBinding", binding)] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let object: DynamicObject = serde_json::from_value(object).expect("this is an object");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        api.create(&PostParams::default(), &object).await.expect("it is taken");
    }
    for rule in rules.as_array().into_iter().flatten() {
        let [group, resource, verb] =
            ["apiGroups", "resources", "verbs"].map(|it| rule[it][0].as_str().expect("a rule is whole"));
        let right = Right { user, namespace, group, resource, name: "", verb };
        cluster::heeds(client, right, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acts_at_a_time() {
    let Some(mut plane) = ControlPlane::start_own().await else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "lease").await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let name = terms(&namespace, "").name;
    let spec = async || leases.get(&name).await.expect("it is there").spec.expect("it has a spec");

    // The first takes it; the second waits, and knows for whom.
    let (mut first, first_stopper) = run_for(&client, &namespace, "first");
    held(&mut first).await;
    let (mut second, second_stopper) = run_for(&client, &namespace, "second");
    let known = State::Standby { holder: Some("first".to_owned()) };
    told(&mut second, |it| *it == known).await;
    tokio::time::sleep(DURATION + Duration::from_secs(2)).await;
    assert!(first.gate.held() && !second.gate.held(), "a Lease that is renewed stays where it is");

    // It is handed over within a retry period, not after it expired.
    let begun = Instant::now();
    first_stopper.stop();
    first.task.await.expect("it ends");
    assert!(!first.gate.held());
    held(&mut second).await;
    assert!(begun.elapsed() < DURATION - Duration::from_secs(2), "{:?}", begun.elapsed());
    let now = spec().await;
    assert_eq!(now.holder_identity.as_deref(), Some("second"));
    // Given back is one change, taken another.
    assert!(now.lease_transitions >= Some(1), "{now:?}");

    // A holder that breaks off is waited for until the Lease expired.
    second.task.abort();
    let begun = Instant::now();
    let (mut third, _third_stopper) = run_for(&client, &namespace, "third");
    held(&mut third).await;
    assert!(begun.elapsed() >= DURATION, "{:?}", begun.elapsed());
    assert!(!second.gate.held(), "the gate closed before another could act");
    drop(second_stopper);

    // Somebody else takes it by force: the holder notices, and does not fight.
    let mut stolen = leases.get(&name).await.expect("it is there");
    loop {
        let spec = stolen.spec.as_mut().expect("it has a spec");
        spec.holder_identity = Some("original".to_owned());
        spec.lease_duration_seconds = Some(3600);
        match leases.replace(&name, &PostParams::default(), &stolen).await {
            Ok(_) => break,
            Err(_) => stolen = leases.get(&name).await.expect("it is there"),
        }
    }
    let known = State::Standby { holder: Some("original".to_owned()) };
    told(&mut third, |it| *it == known).await;
    assert!(!third.gate.held());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(spec().await.holder_identity.as_deref(), Some("original"), "it is left alone");

    // Where Leases are not granted, it is said what is missing.
    let (mut outsider, _outsider_stopper) = run_for(&as_user(&plane, "outsider").await, &namespace, "outsider");
    let refused = told(&mut outsider, |it| matches!(it, State::Refused(_))).await;
    let State::Refused(why) = refused else { unreachable!() };
    assert!(why.contains("grant get, create and update of leases") && !why.contains('\n'), "{why}");

    // Cut off from the API server, a holder stops before its Lease can have expired for others.
    leases.delete(&name, &kube::api::DeleteParams::default()).await.expect("it goes");
    held(&mut third).await;
    plane.stop_apiserver();
    let begun = Instant::now();
    told(&mut third, |it| *it != State::Held).await;
    assert!(!third.gate.held() && begun.elapsed() < DURATION, "{:?}", begun.elapsed());
    plane.restart_apiserver().await;
    held(&mut third).await;
}

/// The least that the API server takes for VaultStaticSecrets and what they need.
async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (plural, kind) in [
        ("vaultstaticsecrets", "VaultStaticSecret"),
        ("vaultconnections", "VaultConnection"),
        ("vaultauths", "VaultAuth"),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "metadata": {"name": format!("{plural}.secrets.hashicorp.com")},
            "spec": {
                "group": "secrets.hashicorp.com", "scope": "Namespaced",
                "names": {"plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
                "versions": [{
                    "name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }],
            },
        });
        let definition = serde_json::from_value(definition).expect("this is a definition");
        api.create(&PostParams::default(), &definition).await.expect("it is taken");
    }
}

fn settings(flags: &[&str]) -> Settings {
    let args = std::iter::once("o").chain(flags.iter().copied()).map(str::to_owned).collect();
    Settings::read(args, Vec::new()).expect("these are settings").settings
}

/// What is answered at a path: the status and the body.
fn ask(address: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(connection, "{request} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The value of one series.
fn value(text: &str, series: &str) -> Option<String> {
    text.lines().find_map(|it| it.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_is_served_once_the_cluster_has_it() {
    let Some(plane) = ControlPlane::start_own().await else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "shell").await;
    let [metrics, health, _] = ports::free();
    let flags = [
        format!("--operator-namespace={namespace}"),
        format!("--metrics-address=127.0.0.1:{metrics}"),
        format!("--health-address=127.0.0.1:{health}"),
        "--families=vault-secrets".to_owned(),
    ];
    let settings = settings(&flags.each_ref().map(String::as_str));
    let (tells, mut contexts) = mpsc::unbounded_channel::<Context>();
    // An engine that finishes what it began: it holds the Lease until then.
    let (finished, mut finishes) = mpsc::unbounded_channel::<bool>();
    let engine = move |context: Context| {
        let (tells, finished) = (tells.clone(), finished.clone());
        async move {
            drop(tells.send(context.clone()));
            context.stop.asked().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            _ = finished.send(context.gate.held());
            Ok(())
        }
    };
    let clients = client::make(config(&plane).await, Some((50, 100))).expect("the configuration is whole");
    let (stopper, stop) = stop::pair();
    let runs = tokio::spawn(shell::run(clients, settings, "me_1".to_owned(), stop, engine));

    // Without its kinds the family waits, and the process is well all the same.
    let ready = async || (ask(local(health), "GET /readyz")? == (200, "ok".to_owned())).then_some(());
    until("readiness", ready).await;
    assert_eq!(ask(local(health), "GET /healthz"), Some((200, "ok".to_owned())));
    assert_eq!(ask(local(health), "GET /metrics").map(|it| it.0), Some(404));
    assert_eq!(ask(local(metrics), "POST /metrics").map(|it| it.0), Some(405));
    let scrape = || ask(local(metrics), "GET /metrics").expect("it is answered").1;
    assert_eq!(value(&scrape(), r#"leafseal_serving{family="vault-secrets"}"#).as_deref(), Some("0"));
    assert!(contexts.try_recv().is_err());

    install(&client).await;
    let context = tokio::time::timeout(PATIENCE, contexts.recv()).await.expect("in time").expect("it is run");
    assert_eq!(context.family, Family::VaultSecrets);
    let resource = context.served.resource::<leafseal_operator::api::vault_secrets::VaultStaticSecret>();
    assert_eq!(resource.map(|it| it.api_version.as_str()), Some("secrets.hashicorp.com/v1beta1"));
    assert!(context.gate.held());
    context.client.apiserver_version().await.expect("the client works");
    assert_eq!(value(&scrape(), r#"leafseal_serving{family="vault-secrets"}"#).as_deref(), Some("1"));
    assert_eq!(value(&scrape(), r#"leafseal_leader{family="vault-secrets"}"#).as_deref(), Some("1"));
    let leases: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let holder = async || leases.get("b0d477c0.hashicorp.com").await.expect("it is there").spec?.holder_identity;
    assert_eq!(holder().await.as_deref(), Some("me_1"));

    // The end: what runs is finished under the Lease, which is given back after that.
    stopper.stop();
    assert_eq!(tokio::time::timeout(PATIENCE, finishes.recv()).await, Ok(Some(true)));
    tokio::time::timeout(PATIENCE, runs).await.expect("in time").expect("it ends").expect("in order");
    assert_eq!(holder().await.as_deref(), Some(""));
    assert_eq!(ask(local(health), "GET /healthz"), None);

    rights_are_found_out(&plane, &client).await;
    the_program_serves_without_arguments(&plane).await;
}

async fn rights_are_found_out(plane: &ControlPlane, client: &Client) {
    let namespace = cluster::namespace(client.clone(), "rights").await;
    let user = as_user(plane, "tenant").await;
    let find = async |flags: &[&str]| {
        families::survey(&user, Family::VaultSecrets, &settings(flags)).await.expect("it is answered")
    };
    let found = find(&[]).await;
    assert!(!found.is_servable());
    let line = found.to_string();
    assert!(line.contains("no right to get, list, watch, patch vaultstaticsecrets.secrets.hashicorp.com"), "{line}");

    let all = ["get", "list", "watch", "create", "update", "patch"];
    let rules = json!([
        {"apiGroups": ["secrets.hashicorp.com"], "resources": ["*"], "verbs": all},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": all},
    ]);
    grant(client, &namespace, "tenant", rules).await;
    assert!(!find(&[]).await.is_servable(), "rights in one namespace are none in all");
    let found: Finding = find(&[&format!("--namespaces={namespace}")]).await;
    assert!(found.is_servable(), "{found}");
    let line = found.to_string();
    assert!(line.contains("without the right to delete secrets in namespace"), "{line}");
    assert!(line.contains("patch deployments.apps, statefulsets.apps, daemonsets.apps"), "{line}");
    let absent = families::survey(&user, Family::ExternalSecrets, &settings(&[])).await.expect("it is answered");
    let line =
        "external-secrets is not served: the cluster has no externalsecrets.external-secrets.io in v1 or v1beta1";
    assert_eq!(absent.to_string(), line);
}

struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn the_program_serves_without_arguments(plane: &ControlPlane) {
    let [metrics, health, _] = ports::free();
    let log = plane.folder().join("operator.log");
    let out = std::fs::File::create(&log).expect("the folder can be written");
    let child = Command::new(leafseal_tests::operator())
        .env("KUBECONFIG", plane.kubeconfig())
        .env("LEAFSEAL_OPERATOR_METRICS_ADDRESS", format!(":{metrics}"))
        .env("LEAFSEAL_OPERATOR_HEALTH_ADDRESS", format!("127.0.0.1:{health}"))
        .env("LEAFSEAL_OPERATOR_LOG_FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .expect("it can be started");
    let mut operator = Operator(child);
    let ready = async || (ask(local(health), "GET /readyz")?.0 == 200).then_some(());
    until("readiness", ready).await;
    let serves = async || {
        let text = ask(local(metrics), "GET /metrics")?.1;
        (value(&text, r#"leafseal_serving{family="vault-secrets"}"#)? == "1").then_some(text)
    };
    let text = until("serving", serves).await;
    assert_eq!(value(&text, r#"leafseal_serving{family="external-secrets"}"#).as_deref(), Some("0"));

    let signalled = Command::new("kill").arg(operator.0.id().to_string()).status().expect("kill is there");
    assert!(signalled.success());
    let begun = Instant::now();
    let ended = until("the end", async || operator.0.try_wait().expect("it can be waited for")).await;
    assert!(ended.success() && begun.elapsed() < Duration::from_secs(100));
    let log = std::fs::read_to_string(&log).expect("it is text");
    let messages: Vec<String> = log
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).expect("each line is JSON"))
        .map(|it| it["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    for (part, count) in [
        ("external-secrets is not served: the cluster has no", 1),
        ("vault-secrets is served: ", 1),
        ("reload is served", 1),
        ("the Lease is given back", 2),
    ] {
        assert_eq!(messages.iter().filter(|it| it.contains(part)).count(), count, "{part}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_words_are_told_once() {
    let Some(plane) = ControlPlane::start_own().await else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "events").await;
    let Clients { urgent, .. } = client::make(config(&plane).await, None).expect("the configuration is whole");
    // The original operators are granted no more.
    let core = json!([{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]);
    grant(&client, &namespace, "core-only", core).await;
    let found: Api<Event> = Api::namespaced(client.clone(), &namespace);
    for (teller, name) in [(urgent, "by-events"), (as_user(&plane, "core-only").await, "by-core")] {
        let metrics = Metrics::new();
        let (events, writer) = events::start(teller, "me_1".to_owned(), metrics.clone());
        let about = ObjectReference {
            api_version: Some("external-secrets.io/v1".to_owned()),
            kind: Some("ExternalSecret".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.to_owned()),
            uid: Some("6f1".to_owned()),
            ..ObjectReference::default()
        };
        let note = |text: &str| Note { warning: true, reason: "UpdateFailed", text: text.to_owned() };
        let long = "ä".repeat(2000);
        let written = async |n: usize| {
            until("the events", async || {
                let list = found.list(&ListParams::default()).await.expect("they can be read");
                let list: Vec<_> =
                    list.items.into_iter().filter(|it| it.involved_object.name.as_deref() == Some(name)).collect();
                (list.len() >= n).then_some(list)
            })
            .await
        };
        events.tell(Family::ExternalSecrets, &about, &note("no such key"));
        written(1).await;
        for text in ["no such key", &long, "no such key"] {
            events.tell(Family::ExternalSecrets, &about, &note(text));
        }
        writer.finish(PATIENCE).await;
        let list = written(2).await;
        assert_eq!(list.len(), 2, "{list:#?}");
        let by_text: BTreeMap<_, _> = list.iter().map(|it| (it.message.clone().unwrap_or_default(), it)).collect();
        let event = by_text["no such key"];
        assert_eq!((event.reason.as_deref(), event.type_.as_deref()), (Some("UpdateFailed"), Some("Warning")));
        assert_eq!(event.reporting_component.as_deref(), Some("external-secrets"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("6f1"));
        let series = event.series.as_ref().and_then(|it| it.count);
        match name {
            "by-events" => assert_eq!(series, Some(3)),
            _ => {
                assert_eq!(event.count, Some(3));
                assert_eq!(event.source.as_ref().and_then(|it| it.component.as_deref()), Some("external-secrets"));
            }
        }
        assert!(by_text.keys().all(|it| it.len() <= 1024));
        assert!(!metrics.text().contains("dropped"), "{}", metrics.text());
    }

    // What nobody can write delays nobody: too much of it is dropped, and counted.
    let metrics = Metrics::new();
    let (events, writer) = events::start(as_user(&plane, "nobody").await, "me_1".to_owned(), metrics.clone());
    let begun = Instant::now();
    for n in 0..10_000 {
        let note = Note { warning: false, reason: "Updated", text: n.to_string() };
        events.tell(Family::VaultSecrets, &ObjectReference::default(), &note);
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(metrics.text().contains(r#"leafseal_events_total{result="dropped"}"#));
    writer.finish(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_holds_a_server_up() {
    let (stopper, stop) = stop::pair();
    let listen = "127.0.0.1:0".parse().expect("it is an address");
    let health = http::Health::default();
    let answers = http::for_probes(health.clone());
    let server = http::serve(&listen, answers, stop).await.expect("it can listen").expect("somewhere");
    let address = server.address;
    let ask = async move |path: &'static str| {
        tokio::task::spawn_blocking(move || ask(address, path)).await.expect("it ends").map(|it| it.0)
    };
    assert_eq!(ask("GET /readyz").await, Some(503));
    health.set_ready(true);
    assert_eq!(ask("GET /readyz?verbose").await, Some(200));
    assert_eq!(ask("HEAD /healthz").await, Some(200));
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(address).expect("it is taken")).collect();
    for (n, mut connection) in silent.iter().enumerate() {
        if n % 2 == 0 {
            drop(connection.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: "));
        }
    }
    assert_eq!(ask("GET /healthz").await, Some(200));
    // A lost Lease is fatal under the chart of one original operator alone.
    assert_eq!(ask("GET /live").await, Some(200));
    health.set_lost(true);
    assert_eq!((ask("GET /live").await, ask("GET /healthz").await), (Some(500), Some(200)));
    health.set_lost(false);
    assert_eq!(ask("GET /live").await, Some(200));
    health.fail();
    assert_eq!((ask("GET /live").await, ask("GET /healthz").await), (Some(500), Some(503)));
    stopper.stop();
    tokio::time::timeout(PATIENCE, server.task).await.expect("in time").expect("it ends");
    drop(silent);
    assert_eq!("0".parse().map(|it: leafseal_operator::settings::Listen| it.tried.len()).ok(), Some(0));
}
