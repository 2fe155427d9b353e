//! What all controllers of one process share: the queue, what is known of the cluster, what is open.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use leafseal::provider::ProviderError;

use crate::adapter::{Found, Terms};
use crate::api::{Kind, Object, Scope};
use crate::apply::Writer;
use crate::backoff::{BackOff, chance};
use crate::cluster::Live;
use crate::error::Trouble;
use crate::events::Events;
use crate::fetch::Readings;
use crate::intent::{Ask, Family, StoreRef};
use crate::interests::Interests;
use crate::lease::Gate;
use crate::metrics::Metrics;
use crate::mirrors::Mirrors;
use crate::queue::Queue;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::store::Part;
use crate::store::opened::OpenStores;
use crate::watch::Place;

/// The answers of stores, shared.
type Answers = Readings<(StoreRef, Ask), Arc<Result<Found, ProviderError>>>;

/// What all controllers share.
pub struct World {
    /// What the operator was told.
    pub settings: Arc<Settings>,
    /// What of that adapters know.
    pub terms: RwLock<Terms>,
    /// The API server.
    pub client: Client,
    /// The one who writes to it.
    pub writer: Writer,
    /// What stores are opened with.
    pub cluster: Live,
    /// The objects that are served.
    pub mirrors: Arc<Mirrors>,
    /// What is known of Secrets.
    pub secrets: Secrets,
    /// Who depends on what.
    pub interests: Interests,
    /// What is to be looked at.
    pub queue: Queue<Part>,
    /// The stores that are open.
    pub stores: OpenStores,
    /// What is being read from them.
    pub answers: Answers,
    /// The state that targets were left in.
    pub kept: Ledger,
    /// What is counted.
    pub metrics: Metrics,
    /// What is told on objects.
    pub events: Events,
    /// How often each object failed in a row.
    failures: Mutex<HashMap<Part, u32>>,
    families: RwLock<HashMap<Family, Serving>>,
}

/// How a family is served.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Whether we may act.
    pub gate: Gate,
    /// The kinds that the cluster has, by their names.
    pub kinds: HashMap<String, ApiResource>,
}

/// The state that targets were left in, by who keeps them.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<HashMap<Part, Kept>>,
    hasher: RandomState,
}

/// The state that a target was left in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Which Secret.
    pub at: Place,
    /// Its `resourceVersion` then.
    pub version: String,
    /// A digest of what was wanted; `None` if it was only looked at.
    pub wanted: Option<u64>,
}

impl Ledger {
    /// The state that the target of `who` was left in.
    pub fn find(&self, who: &Part) -> Option<Kept> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(who).cloned()
    }

    /// Remembers it.
    pub fn keep(&self, who: &Part, kept: Kept) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(who.clone(), kept);
    }

    /// Forgets it.
    pub fn forget(&self, who: &Part) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// A digest that only this process can make.
    pub fn digest(&self, of: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(of)
    }
}

impl World {
    /// A world in which nothing is served yet.
    pub fn new(settings: Arc<Settings>, client: Client, metrics: Metrics, events: Events) -> Self {
        let mirrors = Arc::<Mirrors>::default();
        Self {
            terms: RwLock::new(settings.terms()),
            settings,
            writer: Writer::new(client.clone()),
            cluster: Live::new(client.clone(), mirrors.clone()),
            client,
            mirrors,
            secrets: Secrets::default(),
            interests: Interests::default(),
            queue: Queue::default(),
            stores: OpenStores::default(),
            answers: Readings::default(),
            kept: Ledger::default(),
            metrics,
            events,
            failures: Mutex::default(),
            families: RwLock::default(),
        }
    }

    /// What adapters know.
    pub fn terms(&self) -> Terms {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a family is served; `None` if it is not.
    pub fn serving(&self, family: Family) -> Option<Serving> {
        self.families.read().unwrap_or_else(PoisonError::into_inner).get(&family).cloned()
    }

    /// Serves a family from now on, or not any more.
    pub fn serve(&self, family: Family, serving: Option<Serving>) {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        match serving {
            Some(it) => _ = families.insert(family, it),
            None => _ = families.remove(&family),
        }
    }

    /// Where objects of a kind lie; `None` if the kind is not served.
    pub fn resource<K: Kind>(&self, family: Family) -> Option<ApiResource> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.get(&family)?.kinds.get(K::KIND).cloned()
    }

    /// The objects of a kind in one namespace.
    pub fn api<K: Kind>(&self, at: &ApiResource, namespace: &str) -> Api<Object<K>> {
        match K::SCOPE {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, at),
            Scope::Cluster => Api::all_with(self.client.clone(), at),
        }
    }

    /// The objects of a kind that no part of this program knows by a type.
    pub fn untyped(&self, at: &ApiResource, scope: Scope, namespace: &str) -> Api<DynamicObject> {
        match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, at),
            Scope::Cluster => Api::all_with(self.client.clone(), at),
        }
    }

    /// Asks for a look at all who depend on `part`, with stores opened anew that were made from it.
    pub async fn changed(&self, part: &Part) {
        self.stores.changed(part).await;
        for who in self.interests.of(part) {
            self.queue.push(who);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, who: &Part) {
        self.interests.remove(who);
        self.kept.forget(who);
        self.worked(who);
        self.queue.forget(who);
    }

    /// Remembers that `who` was served.
    pub fn worked(&self, who: &Part) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Remembers that `who` could not be served. Returns how long it waits.
    pub fn failed(&self, who: &Part, family: Family) -> std::time::Duration {
        let n_failures = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let n_failures = failures.entry(who.clone()).or_default();
            *n_failures += 1;
            *n_failures
        };
        self.backoff(family).wait(n_failures, chance())
    }

    fn backoff(&self, family: Family) -> BackOff {
        let seconds = std::time::Duration::from_secs;
        match family {
            // Spec section 2.11: doubled, up to minutes.
            Family::ExternalSecrets => {
                BackOff { first: self.settings.backoff, factor: 2.0, longest: self.settings.backoff_limit }
            }
            // Spec section A.4.2, step 6.
            Family::VaultSecrets => BackOff { first: seconds(5), factor: 1.5, longest: seconds(60) },
        }
    }
}

/// The name of an object as a part of the world.
pub fn part<K: Kind>(object: &Object<K>) -> Part {
    Part { kind: K::KIND, namespace: object.namespace().to_owned(), name: object.name().to_owned() }
}

/// What stands for a refusal that nobody can do anything about in a log.
pub fn log(who: &Part, trouble: &Trouble) {
    let Part { kind, namespace, name } = who;
    tracing::warn!(kind, namespace, name, reason = trouble.reason, "{trouble}");
}
