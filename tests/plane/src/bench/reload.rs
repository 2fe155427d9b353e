//! Workloads that are reloaded: how soon, how often, and what is asked for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::site::{AT_ONCE, Site, name, resource};

const DEPLOYMENTS: &str = "apps/v1";

/// How long a change may take to be rolled out, or all workloads to be known, before something is wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// Secrets in a namespace, and for each a Deployment that reloads for it.
pub(super) struct Reloads {
    namespace: &'static str,
    client: Client,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    follows: JoinHandle<()>,
}

/// The templates that a workload had: when which generation came.
#[derive(Default)]
struct Seen {
    generations: BTreeMap<i64, Instant>,
    is_known: bool,
}

#[derive(Clone, Deserialize)]
struct Held {
    metadata: Metadata,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    generation: i64,
    annotations: BTreeMap<String, String>,
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

impl Reloads {
    /// Makes `n` of them. The Deployments have no pods: what their controllers do is not measured.
    pub(super) async fn furnish(site: &Site, namespace: &'static str, n: usize) -> Self {
        let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        site.create(None, vec![home]).await;
        let secret = |n| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name(n)}, "stringData": {"password": "one"}});
        site.create(Some(namespace), (0..n).map(secret)).await;
        site.create(Some(namespace), (0..n).map(deployment)).await;
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let client = site.client.clone();
        let follows = tokio::spawn(follow(client.clone(), namespace, seen.clone()));
        Self { namespace, client, seen, follows }
    }

    fn with<T>(&self, n: usize, look: impl FnOnce(&Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        look(seen.entry(name(n)).or_default())
    }

    /// Waits until an operator of ours has written down what the first `n` have; others write nothing down.
    pub(super) async fn wait_until_known(&self, n: usize) {
        until("all are known", || (0..n).all(|n| self.with(n, |it| it.is_known))).await;
    }

    /// The newest template of a workload.
    pub(super) fn generation(&self, n: usize) -> i64 {
        self.with(n, |it| it.generations.last_key_value().map_or(0, |it| *it.0))
    }

    /// Changes a Secret. Returns when the API server had done it.
    pub(super) async fn change(&self, n: usize, value: &str) -> Instant {
        let secrets: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), self.namespace, &resource("v1", "Secret"));
        let patch = Patch::Merge(json!({"stringData": {"password": value}}));
        secrets.patch(&name(n), &PatchParams::default(), &patch).await.expect("the plane takes it");
        Instant::now()
    }

    /// How long it takes from a change to a new template.
    async fn one(&self, n: usize, value: &str) -> Duration {
        let before = self.generation(n);
        let begun = self.change(n, value).await;
        until("it is reloaded", || self.generation(n) > before).await;
        let at = self.with(n, |it| it.generations.range(before + 1..).next().map(|it| *it.1)).expect("it was seen");
        at.saturating_duration_since(begun)
    }

    /// How long it takes from a change to a new template, in milliseconds: the median of `n_rounds`, one after the
    /// other, among the first `n`, and the longest.
    pub(super) async fn singly(&self, n: usize, n_rounds: usize) -> (f64, f64) {
        let mut each = Vec::new();
        for round in 0..n_rounds {
            each.push(self.one(round % n, &format!("single-{round}")).await.as_secs_f64() * 1000.0);
        }
        each.sort_by(f64::total_cmp);
        (each[each.len() / 2], each[each.len() - 1])
    }

    /// How long it takes from the first of `n` changes, made as fast as they can be, to the last new template.
    pub(super) async fn many(&self, n: usize, value: &str) -> Duration {
        let before: Vec<i64> = (0..n).map(|it| self.generation(it)).collect();
        let begun = Instant::now();
        let each = (0..n).map(|it| self.change(it, value));
        futures::stream::iter(each).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        until("all are reloaded", || (0..n).all(|it| self.generation(it) > before[it])).await;
        begun.elapsed()
    }
}

fn deployment(n: usize) -> Value {
    let name = name(n);
    json!({
        "apiVersion": DEPLOYMENTS, "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"reloader.stakater.com/auto": "true"}},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "web", "envFrom": [{"secretRef": {"name": name}}]}]},
            },
        },
    })
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Notes when which templates come.
async fn follow(client: Client, namespace: &str, seen: Arc<Mutex<HashMap<String, Seen>>>) {
    let url = format!("/apis/{DEPLOYMENTS}/namespaces/{namespace}/deployments");
    loop {
        let request =
            Request::new(url.clone()).watch(&WatchParams::default().timeout(290), "0").expect("this is a path");
        let events = client.request_events::<Held>(request).await.expect("the plane can be watched");
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Added(Held { metadata }) | WatchEvent::Modified(Held { metadata }) = event {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let seen = seen.entry(metadata.name).or_default();
                seen.generations.entry(metadata.generation).or_insert_with(Instant::now);
                seen.is_known |= metadata.annotations.contains_key("reload.leafseal.io/consumed");
            }
        }
    }
}
