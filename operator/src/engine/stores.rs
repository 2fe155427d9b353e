//! Stores that are open: each opened once for everybody who may use the same identity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use leafseal::provider::vault::JwtSource;
use tokio::time::Instant;

use crate::store::{Cluster, Held, Opened, Part, Reading};
use crate::api::Object;
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::vault_secrets::{VaultAuth, VaultAuthGlobal, VaultConnection};
use crate::digest::Labels;
use crate::error::Trouble;
use crate::intent::StoreRef;

/// How long nobody tries again what did not open, unless something changes that matters to it.
const FAILED: Duration = Duration::from_secs(2);

/// How long those who read go on with a store that was opened anew meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// The stores that are open.
#[derive(Default)]
pub struct OpenStores {
    slots: Mutex<HashMap<StoreRef, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    state: Option<(Result<Opened, Trouble>, Instant)>,
    made_from: Vec<Part>,
}

impl OpenStores {
    /// The store `identity`, opened by `open` if it is not open yet. Also says what it was, or was to be,
    /// made from: a change of any of that is told to [`changed`](Self::changed).
    ///
    /// # Errors
    ///
    /// If it does not open. It is tried again after a change, or after two seconds.
    pub async fn open<'a>(
        &self,
        identity: StoreRef,
        cluster: &'a dyn Cluster,
        open: impl for<'b> FnOnce(&'b Recorder<'a>) -> Reading<'b, Opened>,
    ) -> (Result<Opened, Trouble>, Vec<Part>) {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(identity).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let is_stale = match &slot.state {
            None => true,
            Some((Err(_), at)) => at.elapsed() > FAILED,
            Some((Ok(_), _)) => false,
        };
        if is_stale {
            let recorder = Recorder { cluster, parts: Mutex::default() };
            let result = open(&recorder).await;
            slot.made_from = recorder.parts.into_inner().unwrap_or_else(PoisonError::into_inner);
            if let Ok(opened) = &result {
                slot.made_from.extend(opened.made_from.iter().cloned());
            }
            slot.made_from.sort();
            slot.made_from.dedup();
            slot.state = Some((result, Instant::now()));
        }
        let (result, _) = slot.state.as_ref().expect("it was just filled");
        (result.clone(), slot.made_from.clone())
    }

    /// Forgets the stores that were made from `part`, and gives back their tokens a while later.
    pub async fn changed(&self, part: &Part) {
        let slots: Vec<_> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        for slot in slots {
            let mut slot = slot.lock().await;
            if !slot.made_from.contains(part) {
                continue;
            }
            slot.made_from.clear();
            if let Some((Ok(opened), _)) = slot.state.take() {
                tokio::spawn(async move {
                    tokio::time::sleep(GRACE).await;
                    close(&opened).await;
                });
            }
        }
    }

    /// Closes every store: the tokens that were issued for them end.
    pub async fn close(&self) {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        let each = slots.into_values().map(async |slot| {
            if let Some((Ok(opened), _)) = slot.lock().await.state.take() {
                close(&opened).await;
            }
        });
        futures::future::join_all(each).await;
    }
}

async fn close(opened: &Opened) {
    if let Err(error) = opened.provider.close().await {
        tracing::debug!(provider = opened.provider.name(), %error, "a token could not be given back");
    }
}

/// A cluster, and what was asked of it.
pub struct Recorder<'a> {
    cluster: &'a dyn Cluster,
    parts: Mutex<Vec<Part>>,
}

impl Recorder<'_> {
    fn note(&self, kind: &'static str, namespace: &str, name: &str) {
        let part = Part { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }
}

impl Cluster for Recorder<'_> {
    fn secret_store(&self, namespace: &str, name: &str) -> Option<Arc<Object<SecretStore>>> {
        self.note("SecretStore", namespace, name);
        self.cluster.secret_store(namespace, name)
    }

    fn cluster_secret_store(&self, name: &str) -> Option<Arc<Object<ClusterSecretStore>>> {
        self.note("ClusterSecretStore", "", name);
        self.cluster.cluster_secret_store(name)
    }

    fn vault_auth(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuth>>> {
        self.note("VaultAuth", namespace, name);
        self.cluster.vault_auth(namespace, name)
    }

    fn vault_auth_global(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuthGlobal>>> {
        self.note("VaultAuthGlobal", namespace, name);
        self.cluster.vault_auth_global(namespace, name)
    }

    fn vault_connection(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultConnection>>> {
        self.note("VaultConnection", namespace, name);
        self.cluster.vault_connection(namespace, name)
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Reading<'a, Option<Labels>> {
        self.cluster.namespace(name)
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        self.note("Secret", namespace, name);
        self.cluster.secret(namespace, name)
    }

    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        self.note("ConfigMap", namespace, name);
        self.cluster.config_map(namespace, name)
    }

    fn service_account<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<String>> {
        self.note("ServiceAccount", namespace, name);
        self.cluster.service_account(namespace, name)
    }

    fn tokens(&self, account: (&str, &str), audiences: &[String], seconds: i64) -> Arc<dyn JwtSource> {
        self.cluster.tokens(account, audiences, seconds)
    }

    fn client(&self) -> Client {
        self.cluster.client()
    }
}
