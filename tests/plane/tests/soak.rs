//! Operators that are killed at random, and a cluster that stands still at times, while Secrets change: at the end
//! every last value has reached every workload, none was restarted more often than its values changed, and memory is
//! flat.
//!
//! It takes a minute, or `LEAFSEAL_SOAK_MINUTES`; with `--nocapture` it says what it saw. `LEAFSEAL_SOAK_LOG` names
//! a file that gets the operators' log.
#![expect(clippy::print_stderr, reason = "figures for people")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use leafseal_plane::{ControlPlane, Operator, cluster};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

const N_WORKLOADS: usize = 40;
const N_CONFIGS: usize = 5;

/// How long the last values may take to arrive when nobody is killed any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// Leases that are taken over soon, and sources that may change as often as they do.
const QUICK: [&str; 4] =
    ["--lease-duration=3s", "--renew-deadline=2s", "--retry-period=400ms", "--reload-breaker-limit=0"];

/// Growth of the last operator that counts as none: allocators keep what they had at a peak.
const FLAT: f64 = 1.25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_while_secrets_change() {
    let Some(plane) = ControlPlane::start().await else { return };
    Operator::install(&plane).await;
    let minutes = std::env::var("LEAFSEAL_SOAK_MINUTES").ok().and_then(|it| it.parse().ok()).unwrap_or(1.0);
    let whole = Duration::from_secs_f64(60.0 * minutes);
    let seed = Timestamp::now().as_nanosecond() as u64;
    eprintln!("soak: {minutes} minutes, seed {seed}");
    let mut random = Random(seed);
    let client = plane.client().await;
    let mut site = Site::furnish(&client).await;
    let mut operator = Some(start(&plane).await);
    site.wait_until_known().await;

    // Two thirds with kills, one third without: what grows then grows in one process.
    let begun = Instant::now();
    let (mut n_kills, mut n_pauses, mut resident) = (0, 0, Vec::new());
    let mut next_kill = Duration::from_secs(random.below(10));
    while begun.elapsed() < whole * 2 / 3 {
        site.change(&mut random).await;
        tokio::time::sleep(Duration::from_millis(20 + random.below(400))).await;
        if begun.elapsed() >= next_kill {
            if let Some(it) = operator.take() {
                n_kills += 1;
                eprintln!("soak: {:>4} s: {} kB", begun.elapsed().as_secs(), it.resident());
                if random.below(3) == 0 {
                    drop(it)
                } else {
                    it.kill()
                }
                // It may be gone for a while, with changes meanwhile.
                next_kill = begun.elapsed() + Duration::from_millis(random.below(4_000));
            } else {
                operator = Some(start(&plane).await);
                next_kill = begun.elapsed() + Duration::from_millis(1_000 + random.below(14_000));
            }
        }
        if !plane.is_given() && random.below(40) == 0 {
            // Longer than a Lease lasts, or not.
            n_pauses += 1;
            plane.pause_etcd(true);
            tokio::time::sleep(Duration::from_millis(500 + random.below(5_000))).await;
            plane.pause_etcd(false);
        }
    }
    if operator.is_none() {
        operator = Some(start(&plane).await);
    }
    // How much it has is looked at from when it has seen everything once, however long that takes it.
    site.arrives(&operator).await;
    let calm = Instant::now();
    while calm.elapsed() < whole / 3 {
        site.change(&mut random).await;
        tokio::time::sleep(Duration::from_millis(20 + random.below(400))).await;
        resident.push((begun.elapsed(), operator.as_ref().map_or(0, Operator::resident)));
    }
    let begun = Instant::now();
    site.arrives(&operator).await;
    let (n_changes, arrived) = (site.n_changes(), begun.elapsed());
    eprintln!("soak: {n_kills} kills, {n_pauses} pauses, {n_changes} changes, all arrived after {arrived:?}");
    let log = operator.as_ref().map(|it| fs::read_to_string(it.log()).unwrap_or_default()).unwrap_or_default();
    site.restarted_no_more_than_changed().await;

    let settled = resident.len() / 3;
    let (first, last) = (resident.get(settled).copied(), resident.last().copied());
    if let (Some((since, first)), Some((until, last))) = (first, last) {
        eprintln!("soak: {first} kB at {} s, {last} kB at {} s", since.as_secs(), until.as_secs());
        assert!(last as f64 <= first as f64 * FLAT, "memory grows: {first} kB, then {last} kB");
    }
    assert!(!log.contains("panicked at"), "something broke\n{}", log_of(&operator));
    site.nothing_leaked(&log);
}

async fn start(plane: &ControlPlane) -> Operator {
    Operator::start(plane, &QUICK.map(str::to_owned)).await
}

/// All that operators said so far.
fn keep_log(operator: &Option<Operator>) {
    if let (Some(file), Some(operator)) = (std::env::var_os("LEAFSEAL_SOAK_LOG"), operator) {
        fs::copy(operator.log(), file).expect("the log can be kept");
    }
}

fn log_of(operator: &Option<Operator>) -> String {
    operator.as_ref().map(Operator::last_lines).unwrap_or_default()
}

/// Numbers without an order, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % n
    }
}

/// A Secret or a ConfigMap: what it holds, since when, what it held before, and how often that has changed.
struct Source {
    value: String,
    since: Timestamp,
    /// The version of the object then.
    version: u64,
    before: Vec<(Timestamp, String)>,
    n_changes: u64,
}

type Templates = BTreeMap<String, BTreeMap<i64, Template>>;

/// A template of pods: since when, the version of the workload then, its marks.
#[derive(Clone)]
struct Template {
    since: Timestamp,
    version: u64,
    env: Value,
}

/// Workloads, each with a Secret of its own and every second one with a ConfigMap that others use too.
struct Site {
    namespace: String,
    secrets: Api<Secret>,
    configs: Api<ConfigMap>,
    workloads: Api<Deployment>,
    revisions: Api<ReplicaSet>,
    /// By the name of the marker.
    sources: BTreeMap<String, Source>,
    /// By the name of the workload and its generation, every template that it had.
    templates: Arc<Mutex<Templates>>,
    n_values: u64,
}

fn secret_marker(n: usize) -> String {
    format!("STAKATER_S_{n}_SECRET")
}

fn config_marker(n: usize) -> String {
    format!("STAKATER_M_{n}_CONFIGMAP")
}

impl Site {
    async fn furnish(client: &Client) -> Self {
        let namespace = cluster::namespace(client.clone(), "soak").await;
        let mut site = Self {
            secrets: Api::namespaced(client.clone(), &namespace),
            configs: Api::namespaced(client.clone(), &namespace),
            workloads: Api::namespaced(client.clone(), &namespace),
            revisions: Api::namespaced(client.clone(), &namespace),
            namespace,
            sources: BTreeMap::new(),
            templates: Arc::default(),
            n_values: 0,
        };
        for n in 0..N_CONFIGS {
            site.set_config(n).await;
        }
        for n in 0..N_WORKLOADS {
            site.set_secret(n).await;
            let mut from = vec![json!({"secretRef": {"name": format!("s-{n}")}})];
            if n.is_multiple_of(2) {
                from.push(json!({"configMapRef": {"name": format!("m-{}", n % N_CONFIGS)}}));
            }
            let name = format!("w-{n}");
            let workload = json!({
                "metadata": {"name": name, "annotations": {"reloader.stakater.com/auto": "true"}},
                "spec": {
                    "replicas": 1, "revisionHistoryLimit": 30, "selector": {"matchLabels": {"app": name}},
                    "template": {
                        "metadata": {"labels": {"app": name}},
                        "spec": {"containers": [{"name": "c", "image": "web", "envFrom": from}]},
                    },
                },
            });
            let workload: Deployment = serde_json::from_value(workload).expect("this is a Deployment");
            site.workloads.create(&PostParams::default(), &workload).await.expect("the plane takes it");
        }
        for source in site.sources.values_mut() {
            source.n_changes = 0;
        }
        tokio::spawn(follow(site.workloads.clone(), site.templates.clone()));
        site
    }

    /// Waits until the operator has written down what every workload has.
    async fn wait_until_known(&self) {
        let begun = Instant::now();
        loop {
            let all = self.workloads.list(&ListParams::default()).await.expect("the plane answers").items;
            let is_known = |it: &Deployment| {
                let annotations = it.metadata.annotations.iter().flatten();
                annotations.into_iter().any(|it| it.0 == "reload.leafseal.io/consumed")
            };
            if all.iter().all(is_known) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "workloads are not taken up");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// One of them, or a few at once, get new values.
    async fn change(&mut self, random: &mut Random) {
        for _ in 0..[1, 1, 1, 5][random.below(4) as usize] {
            if random.below(8) == 0 {
                self.set_config(random.below(N_CONFIGS as u64) as usize).await;
            } else {
                self.set_secret(random.below(N_WORKLOADS as u64) as usize).await;
            }
        }
    }

    async fn set_secret(&mut self, n: usize) {
        let value = self.new_value();
        let (name, data) = (format!("s-{n}"), json!({"password": value}));
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let done = self.secrets.patch(&name, &PatchParams::apply("soak").force(), &Patch::Apply(object)).await;
        self.note(secret_marker(n), value, version(&done.expect("the plane takes it").metadata));
    }

    async fn set_config(&mut self, n: usize) {
        let value = self.new_value();
        let (name, data) = (format!("m-{n}"), json!({"password": value}));
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let done = self.configs.patch(&name, &PatchParams::apply("soak").force(), &Patch::Apply(object)).await;
        self.note(config_marker(n), value, version(&done.expect("the plane takes it").metadata));
    }

    fn new_value(&mut self) -> String {
        self.n_values += 1;
        format!("value-{}-of-the-soak", self.n_values)
    }

    fn note(&mut self, marker: String, value: String, version: u64) {
        let since = Timestamp::now();
        let new = Source { value: value.clone(), since, version, before: Vec::new(), n_changes: 0 };
        let source = self.sources.entry(marker).or_insert(new);
        source.version = version;
        let before = std::mem::replace(&mut source.value, value);
        source.before.push((std::mem::replace(&mut source.since, since), before));
        source.n_changes += 1;
    }

    fn n_changes(&self) -> u64 {
        self.sources.values().map(|it| it.n_changes).sum()
    }

    fn markers_of(n: usize) -> Vec<String> {
        let config = n.is_multiple_of(2).then(|| config_marker(n % N_CONFIGS));
        std::iter::once(secret_marker(n)).chain(config).collect()
    }

    /// Which workloads do not have which last values: neither do their pods say so, nor are they younger, nor was
    /// their template written later.
    async fn what_is_missing(&self) -> Vec<String> {
        let workloads = self.workloads.list(&ListParams::default()).await.expect("the plane answers").items;
        let revisions = self.revisions.list(&ListParams::default()).await.expect("the plane answers").items;
        let mut missing = Vec::new();
        for workload in workloads {
            let name = workload.metadata.name.clone().unwrap_or_default();
            let n: usize = name.trim_start_matches("w-").parse().expect("they are numbered");
            let of_it = revisions
                .iter()
                .filter(|it| it.metadata.name.as_ref().is_some_and(|it| it.starts_with(&format!("{name}-"))));
            let born = of_it.filter_map(|it| it.metadata.creation_timestamp.as_ref()).map(|it| it.0.as_second()).max();
            let workload = serde_json::to_value(&workload).expect("an object is JSON");
            if !is_finished(&workload) {
                missing.push(format!("{name} is being rolled"));
            }
            for marker in Self::markers_of(n) {
                let source = &self.sources[&marker];
                let is_younger = born.is_some_and(|it| it > source.since.as_second())
                    || self.last_template(&name).is_some_and(|it| it.version > source.version);
                if source.n_changes > 0 && !is_younger && mark(&workload, &marker) != Some(&*hash(&source.value)) {
                    missing.push(format!("{name} has another {marker}\n{}", self.story(&name, n)));
                }
            }
        }
        missing
    }

    /// Waits until every workload has the last values.
    async fn arrives(&self, operator: &Option<Operator>) {
        let begun = Instant::now();
        loop {
            let missing = self.what_is_missing().await;
            keep_log(operator);
            if missing.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not everywhere: {}\n{}", missing.join("\n"), log_of(operator));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The templates that a workload had, one after the other. Its generation tells of annotations too.
    fn templates_of(&self, name: &str) -> Vec<Template> {
        let templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Template> = templates.get(name).into_iter().flat_map(BTreeMap::values).cloned().collect();
        all.dedup_by(|next, it| next.env == it.env);
        all
    }

    fn last_template(&self, name: &str) -> Option<Template> {
        self.templates_of(name).pop()
    }

    /// How often a workload got another template.
    fn restarts(&self, name: &str) -> u64 {
        self.templates_of(name).len().saturating_sub(1) as u64
    }

    async fn restarted_no_more_than_changed(&self) {
        let workloads = self.workloads.list(&ListParams::default()).await.expect("the plane answers").items;
        let (mut n_restarts, mut most) = (0_u64, 0_u64);
        for workload in workloads {
            let name = workload.metadata.name.clone().unwrap_or_default();
            let n: usize = name.trim_start_matches("w-").parse().expect("they are numbered");
            let n_changes: u64 = Self::markers_of(n).iter().map(|it| self.sources[it].n_changes).sum();
            let restarts = self.restarts(&name);
            n_restarts += restarts;
            most = most.max(restarts);
            if restarts > n_changes {
                panic!("{name}: {restarts} restarts for {n_changes} changes\n{}", self.story(&name, n));
            }
        }
        eprintln!("soak: {n_restarts} restarts of {N_WORKLOADS} workloads, {most} of one at most");
    }

    /// When its sources changed, and when it was rolled with which of their values.
    fn story(&self, name: &str, n: usize) -> String {
        let mut story = Vec::new();
        let mut values = BTreeMap::new();
        for marker in Self::markers_of(n) {
            let source = &self.sources[&marker];
            for (since, value) in source.before.iter().chain([&(source.since, source.value.clone())]) {
                values.insert(hash(value), value.clone());
                story.push((*since, format!("{marker} is {value}")));
            }
        }
        let templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        for (generation, Template { since, env, .. }) in templates.get(name).into_iter().flatten() {
            let marks = env.as_array().into_iter().flatten().map(|it| {
                let hash = it["value"].as_str().unwrap_or_default();
                format!("{} {}", it["name"], values.get(hash).map_or(hash, String::as_str))
            });
            story.push((*since, format!("generation {generation} with {:?}", marks.collect::<Vec<_>>())));
        }
        story.sort();
        story.into_iter().map(|(at, what)| format!("{at} {what}")).collect::<Vec<_>>().join("\n")
    }

    fn nothing_leaked(&self, log: &str) {
        assert!(!log.contains("-of-the-soak"), "a value of {} stands in the log", self.namespace);
    }
}

/// Notes every template that a workload comes to have.
async fn follow(workloads: Api<Deployment>, templates: Arc<Mutex<Templates>>) {
    let mut events = std::pin::pin!(watcher(workloads, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(it) | Event::InitApply(it)) = event {
            let workload = serde_json::to_value(&it).expect("an object is JSON");
            let env = workload["spec"]["template"]["spec"]["containers"][0]["env"].clone();
            let version = version(&it.metadata);
            let (name, generation) = (it.metadata.name.unwrap_or_default(), it.metadata.generation.unwrap_or(0));
            let mut templates = templates.lock().unwrap_or_else(PoisonError::into_inner);
            templates.entry(name).or_default().entry(generation).or_insert(Template {
                since: Timestamp::now(),
                version,
                env,
            });
        }
    }
}

/// The number of the write that made an object what it is.
fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|it| it.parse().ok()).expect("versions are numbers")
}

fn is_finished(workload: &Value) -> bool {
    let status = |field: &str| workload["status"][field].as_i64().unwrap_or(0);
    status("observedGeneration") >= workload["metadata"]["generation"].as_i64().unwrap_or(0)
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|it| status(it) == 1)
}

fn mark<'a>(workload: &'a Value, marker: &str) -> Option<&'a str> {
    let all = workload["spec"]["template"]["spec"]["containers"][0]["env"].as_array()?;
    all.iter().find(|it| it["name"] == marker)?["value"].as_str()
}

fn hash(value: &str) -> String {
    Sha1::digest(format!("password={value}")).iter().map(|it| format!("{it:02x}")).collect()
}
