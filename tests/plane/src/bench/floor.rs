//! The floor: a bare client that does the least there is to do, with 32 workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::site::{Asks, Site, name};
use crate::OpenBao;

const WORKERS: usize = 32;

const NAMESPACE: &str = "floor";

/// How long it takes to read `n` paths of Vault, make a Secret of each and report it in a status.
pub(super) async fn measure(site: &Site, asks: Asks, n: usize) -> Duration {
    // Nobody serves these: no operator runs.
    site.ask(NAMESPACE, asks, n, Duration::from_secs(3600)).await;
    // A client of its own, as an operator has: nothing of it is warm.
    let client = site.plane.client().await;
    let floor = Arc::new(Floor {
        vault: reqwest::Client::new(),
        address: site.bao.address(),
        secrets: Api::namespaced(client.clone(), NAMESPACE),
        objects: Api::namespaced_with(client, NAMESPACE, &asks.resource()),
        next: AtomicUsize::new(0),
    });
    let begun = Instant::now();
    let workers: JoinSet<()> = (0..WORKERS).map(|_| floor.clone().work(n)).collect();
    let ready = site.wait_until_ready(NAMESPACE, asks, n, Duration::from_secs(600));
    tokio::join!(workers.join_all(), ready);
    let took = begun.elapsed();
    site.clear(NAMESPACE, asks).await;
    took
}

struct Floor {
    vault: reqwest::Client,
    address: String,
    secrets: Api<Secret>,
    objects: Api<DynamicObject>,
    next: AtomicUsize,
}

impl Floor {
    async fn work(self: Arc<Self>, n: usize) {
        loop {
            match self.next.fetch_add(1, Ordering::Relaxed) {
                next if next < n => self.serve(&name(next)).await,
                _ => return,
            }
        }
    }

    async fn serve(&self, name: &str) {
        let url = format!("{}/v1/secret/data/{name}", self.address);
        let answer = self.vault.get(url).header("X-Vault-Token", OpenBao::ROOT).send().await.expect("Vault answers");
        let answer = answer.bytes().await.expect("Vault answers");
        let answer: Value = serde_json::from_slice(&answer).expect("Vault answers JSON");
        let secret = json!({"metadata": {"name": name}, "stringData": answer["data"]["data"]});
        let secret: Secret = serde_json::from_value(secret).expect("this is a Secret");
        self.secrets.create(&PostParams::default(), &secret).await.expect("the plane takes a Secret");
        let time = "2026-01-01T00:00:00Z";
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Synced", "message": "Secret synced",
            "lastTransitionTime": time, "observedGeneration": 1,
        });
        let status = match self.objects.resource_url().contains("externalsecrets") {
            true => json!({"conditions": [condition], "refreshTime": time}),
            false => json!({"conditions": [condition], "lastGeneration": 1}),
        };
        let patch = Patch::Merge(json!({ "status": status }));
        self.objects.patch_status(name, &PatchParams::default(), &patch).await.expect("the plane takes a status");
    }
}
