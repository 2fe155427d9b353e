//! Jobs that are made anew: what is to be made is written down before the old one is deleted, so that it is made
//! even if the operator ends between the two.
//!
//! It lies in a Secret of the operator's namespace: whoever may read that one's ConfigMaps need not be allowed to see
//! the Jobs of others.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ObjectMeta};
use kube::{Api, Error};
use serde_json::Value;

use super::Reload;
use crate::engine::lock::lock;
use crate::engine::work::{Again, Work as _};
use crate::error::Trouble;
use crate::rollout::{How, WORKLOADS, Workload};
use crate::store::Part;

/// The Secret, in the operator's namespace.
const NAME: &str = "leafseal-reload-owed";

/// What a Job that is owed is called in the queue.
pub(super) const OWED: &str = "OwedJob";

/// How often it is tried to write what somebody else writes too.
const ATTEMPTS: usize = 5;

/// How long a Job that is being deleted is waited for.
const GOING: Duration = Duration::from_secs(1);

/// Jobs that are owed, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Owed {
    held: Mutex<BTreeMap<String, Value>>,
    /// One writes at a time.
    writing: tokio::sync::Mutex<()>,
}

/// What a Job is called there: namespaces have no dots.
fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

fn kind() -> &'static Workload {
    WORKLOADS.iter().find(|it| it.how == How::Remake).expect("Jobs are in the table")
}

impl Owed {
    /// Learns what was owed when the last operator ended. Returns whom that concerns.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub(super) async fn load(&self, world: &Reload) -> Result<Vec<Part>, Trouble> {
        let secret = match api(world).get_opt(NAME).await {
            Ok(secret) => secret,
            Err(Error::Api(status)) if status.code == 403 => None,
            Err(error) => {
                return Err(Trouble::new("ReloadFail", "could not read which Jobs are owed", error.to_string()));
            }
        };
        let mut held = lock(&self.held);
        for (key, text) in secret.and_then(|it| it.data).unwrap_or_default() {
            match serde_json::from_slice(&text.0) {
                Ok(job) => _ = held.insert(key, job),
                Err(error) => tracing::warn!(key, %error, "what is owed cannot be read"),
            }
        }
        let part = |key: &String| {
            let (namespace, name) = key.split_once('.')?;
            Some(Part { kind: OWED, namespace: namespace.to_owned(), name: name.to_owned() })
        };
        Ok(held.keys().filter_map(part).collect())
    }

    /// Writes down that `job` is made when the one of its name is gone. Where that is not granted the Job is made all
    /// the same, as long as nobody ends the operator.
    pub(super) async fn owe(&self, world: &Reload, (namespace, name): (&str, &str), job: &Value) {
        lock(&self.held).insert(key(namespace, name), job.clone());
        if let Err(error) = self.write(world).await {
            tracing::info!(namespace, name, "a Job is made anew that could not be written down before: {error}");
        }
    }

    /// A Job was made, or is not owed any more.
    pub(super) async fn settle(&self, world: &Reload, (namespace, name): (&str, &str)) {
        if lock(&self.held).remove(&key(namespace, name)).is_some()
            && let Err(error) = self.write(world).await
        {
            tracing::debug!(namespace, name, "it could not be written down that a Job was made: {error}");
        }
    }

    async fn write(&self, world: &Reload) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let api = api(world);
        for attempt in 1.. {
            let mut secret = match api.get_opt(NAME).await? {
                Some(it) => it,
                None => Secret { metadata: metadata(), ..Secret::default() },
            };
            let text = |it: &Value| ByteString(it.to_string().into_bytes());
            let held: BTreeMap<_, _> = lock(&self.held).iter().map(|(key, it)| (key.clone(), text(it))).collect();
            if secret.data.clone().unwrap_or_default() == held {
                return Ok(());
            }
            secret.data = Some(held);
            match world.writer.keep(&api, &secret).await {
                Err(Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {}
                written => return written,
            }
        }
        Ok(())
    }
}

/// Makes a Job that is owed, when the one that it follows is gone.
pub(super) async fn look(world: &Reload, who: &Part) -> Again {
    let at = (who.namespace.as_str(), who.name.as_str());
    let owed = lock(&world.owed.held).get(&key(at.0, at.1)).cloned()?;
    let made = async {
        let api: Api<DynamicObject> = world.context.api_in(Some(at.0), &kind().resource());
        match api.get_opt(at.1).await.map_err(|error| error.to_string())? {
            Some(old) if old.metadata.deletion_timestamp.is_some() => return Ok(Some(GOING)),
            // It was never deleted, or somebody made another: that one is looked at as all are.
            Some(_) => {}
            None => {
                world.writer.make_owed(owed).await.map_err(|error| error.said)?;
                tracing::info!(namespace = at.0, name = at.1, "a Job was made that was owed");
            }
        }
        world.owed.settle(world, at).await;
        Ok(None)
    };
    let made: Result<Again, String> = made.await;
    made.unwrap_or_else(|why| {
        tracing::warn!(namespace = at.0, name = at.1, "a Job is owed and cannot be made: {why}");
        world.context.metrics.reload().failed("patch");
        Some(world.failed(who))
    })
}

fn metadata() -> ObjectMeta {
    let label = ("app.kubernetes.io/managed-by".to_owned(), "leafseal-operator".to_owned());
    ObjectMeta { name: Some(NAME.to_owned()), labels: Some(BTreeMap::from([label])), ..ObjectMeta::default() }
}

fn api(world: &Reload) -> Api<Secret> {
    Api::namespaced(world.context.client.clone(), &world.context.settings.operator_namespace)
}
