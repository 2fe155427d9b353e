//! What workloads saw last that we may not write to: remembered in a ConfigMap of the operator's namespace.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use kube::{Api, Error};
use tokio::sync::Mutex;

use super::Reload;
use crate::engine::Context;
use crate::engine::lock::lock;
use crate::error::Trouble;
use crate::reload::{Consumer, Memory};
use crate::store::Part;

/// The ConfigMap, in the operator's namespace.
pub const NAME: &str = "leafseal-reload-memory";

/// How often it is tried to write what somebody else writes too.
const ATTEMPTS: usize = 5;

/// Memories by workload, as they stand in the ConfigMap.
#[derive(Debug, Default)]
pub(super) struct Memories {
    held: std::sync::Mutex<BTreeMap<String, String>>,
    /// One writes at a time.
    writing: Mutex<()>,
}

impl Memories {
    /// Reads what was remembered before.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub(super) async fn load(&self, context: &Context) -> Result<(), Trouble> {
        match api(context).get_opt(NAME).await {
            Ok(held) => *lock(&self.held) = held.and_then(|it| it.data).unwrap_or_default(),
            Err(Error::Api(status)) if status.code == 403 => {}
            Err(error) => {
                return Err(Trouble::new("ReloadFail", "could not read what workloads saw last", error.to_string()));
            }
        }
        Ok(())
    }

    /// What a workload remembers, if it may not be written to.
    pub(super) fn find(&self, consumer: &Consumer) -> Option<String> {
        lock(&self.held).get(&key(consumer)).cloned()
    }

    /// Remembers for a workload.
    ///
    /// # Errors
    ///
    /// If the API server refuses. Until the operator is started anew it is remembered all the same.
    pub(super) async fn put(&self, world: &Reload, consumer: &Consumer, memory: &Memory) -> Result<(), Error> {
        let (key, text) = (key(consumer), memory.print());
        if lock(&self.held).insert(key, text.clone()) == Some(text) {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let api = api(&world.context);
        for attempt in 1.. {
            let mut map = match api.get_opt(NAME).await? {
                Some(it) => it,
                None => ConfigMap { metadata: metadata(), ..ConfigMap::default() },
            };
            let held = lock(&self.held).clone();
            if map.data.as_ref() == Some(&held) {
                return Ok(());
            }
            map.data = Some(held);
            match world.writer.keep(&api, &map).await {
                Err(Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {}
                written => return written,
            }
        }
        Ok(())
    }

    /// Forgets all but those workloads that are still there.
    pub(super) fn retain(&self, there: &[Part]) {
        let there: HashSet<_> = there.iter().map(|it| key_of(it.kind, &it.namespace, &it.name)).collect();
        lock(&self.held).retain(|it, _| there.contains(it));
    }
}

/// What a workload is called there: kinds and namespaces have no dots.
fn key(consumer: &Consumer) -> String {
    key_of(consumer.kind.kind, &consumer.namespace, &consumer.name)
}

/// The same, of a workload that is only named.
pub fn key_of(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind}.{namespace}.{name}")
}

fn metadata() -> ObjectMeta {
    let label = ("app.kubernetes.io/managed-by".to_owned(), "leafseal-operator".to_owned());
    ObjectMeta { name: Some(NAME.to_owned()), labels: Some(BTreeMap::from([label])), ..ObjectMeta::default() }
}

fn api(context: &Context) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &context.settings.operator_namespace)
}
