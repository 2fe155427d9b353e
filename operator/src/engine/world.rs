//! What all who serve one family share: the queue, what is known of the cluster, what is open.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kube::Api;
use kube::api::ApiResource;
use leafseal::provider::{Observer, ProviderError};
use tokio::sync::mpsc;

use super::Context;
use super::apply::Writer;
use super::backoff::{BackOff, chance};
use super::cluster::Live;
use super::fetch::Readings;
use super::interests::Interests;
use super::mirrors::Mirrors;
use super::queue::Queue;
use super::secrets::Secrets;
use super::stores::OpenStores;
use super::watch::{Place, Scope};
use crate::adapter::{Found, Terms};
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::{self, Kind, Object};
use crate::edge::SystemClock;
use crate::error::Trouble;
use crate::intent::{Ask, Family, StoreRef};
use crate::mac_key::MacKey;
use crate::metrics::{Call, Metrics, Named};
use crate::store::external_secrets::{self, Surroundings};
use crate::store::vault_secrets::{Defaults, Unopened, Vaults};
use crate::store::{Attempt, Part};

/// The answers of stores, shared.
type Answers = Readings<(StoreRef, Ask), Arc<Result<Found, ProviderError>>>;

/// What all who serve a family share.
pub struct World {
    /// What the engine was started with.
    pub context: Context,
    /// What of that adapters know.
    pub terms: RwLock<Terms>,
    /// The one who writes to the API server.
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
    /// External Secrets: what opening takes.
    surroundings: Surroundings,
    /// Vault Secrets: the logins.
    pub vaults: Vaults,
    /// What is being read from them.
    pub answers: Answers,
    /// The state that targets were left in.
    pub kept: Ledger,
    /// How often each object failed in a row.
    failures: Mutex<HashMap<Part, u32>>,
    /// Who was looked at since the start.
    looked_at: Mutex<HashSet<Part>>,
    changes: mpsc::UnboundedSender<Part>,
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

    /// Remembers which Secret is the target of `who`, whatever state it is in.
    pub fn expect(&self, who: &Part, at: &Place) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(who).is_none_or(|it| it.at != *at) {
            // No Secret has this version.
            entries.insert(who.clone(), Kept { at: at.clone(), version: String::new(), wanted: None });
        }
    }

    /// True if `part` is the target of `who`.
    pub fn is_target(&self, who: &Part, part: &Part) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.get(who).map(|it| &it.at);
        part.kind == "Secret" && at.is_some_and(|(namespace, name)| (namespace, name) == (&part.namespace, &part.name))
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
    pub fn digest(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }
}

impl World {
    /// A world of which nothing is known yet, and the things in it that are told to have
    /// [changed](Self::tell).
    pub fn new(context: Context) -> (Self, mpsc::UnboundedReceiver<Part>) {
        let (changes, changed) = mpsc::unbounded_channel();
        let mirrors = Arc::<Mirrors>::default();
        let counter = Arc::new(Counter { metrics: context.metrics.clone(), family: context.family });
        let world = Self {
            terms: RwLock::new(context.settings.terms()),
            writer: Writer::new(context.client.clone(), context.gate.clone()),
            cluster: Live::new(context.client.clone(), mirrors.clone(), context.settings.documents.clone()),
            vaults: Vaults::observed_by(counter.clone()),
            surroundings: Surroundings {
                controller_class: context.settings.controller_class.clone(),
                observer: counter,
                clock: Arc::new(SystemClock),
            },
            mirrors,
            secrets: Secrets::default(),
            interests: Interests::default(),
            queue: Queue::default(),
            stores: OpenStores::default(),
            answers: Readings::default(),
            kept: Ledger::default(),
            failures: Mutex::default(),
            looked_at: Mutex::default(),
            changes,
            context,
        };
        (world, changed)
    }

    /// What adapters know.
    pub fn terms(&self) -> Terms {
        self.terms.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the key of MACs.
    pub fn set_mac_key(&self, key: Option<MacKey>) {
        self.terms.write().unwrap_or_else(PoisonError::into_inner).mac_key = key;
    }

    /// Where the defaults of Vault Secrets lie.
    pub fn vault_defaults(&self) -> Defaults {
        let settings = &self.context.settings;
        Defaults { namespace: settings.operator_namespace.clone(), globals: settings.allow_default_globals }
    }

    /// A store, opened if it is not open yet.
    pub async fn open(&self, at: &StoreRef) -> Attempt {
        let open = async {
            match at.family {
                Family::ExternalSecrets => external_secrets::open(&self.cluster, at, &self.surroundings).await,
                Family::VaultSecrets => match self.vaults.open(&self.cluster, at, &self.vault_defaults()).await {
                    Ok(opened) => Attempt { made_from: opened.made_from.clone(), opened: Ok(opened) },
                    Err(Unopened { trouble, looked_at }) => Attempt { made_from: looked_at, opened: Err(trouble) },
                },
            }
        };
        self.stores.open(at, open).await
    }

    /// The objects of a kind in one namespace; `None` if the cluster does not have the kind.
    pub fn api<K: Kind>(&self, namespace: &str) -> Option<(Api<Object<K>>, &ApiResource)> {
        let at = self.context.served.resource::<K>()?;
        let client = self.context.client.clone();
        let api = match K::SCOPE {
            api::Scope::Namespaced => Api::namespaced_with(client, namespace, at),
            api::Scope::Cluster => Api::all_with(client, at),
        };
        Some((api, at))
    }

    /// Where watches look: in the whole cluster, or in each namespace that is served.
    pub fn scopes(&self) -> Vec<Scope> {
        match self.context.settings.namespaces.as_slice() {
            [] => vec![None],
            namespaces => namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// Tells that `part` changed: all who depend on it look again, and stores that were made from it are
    /// opened anew.
    pub fn tell(&self, part: Part) {
        // Nobody listens any more when the engine ends.
        drop(self.changes.send(part));
    }

    /// Asks all others who depend on `part` to look again. Those who keep it may have touched it themselves:
    /// watches often tell of a write before its answer is there.
    pub fn wake(&self, part: &Part) {
        for who in self.interests.of(part).into_iter().filter(|it| it != part) {
            match self.kept.is_target(&who, part) {
                true => self.queue.glance(who),
                false => self.queue.push(who),
            }
        }
    }

    /// Asks those to look again who go by what is reported about `part`: a store of External Secrets is read
    /// from when it was found to be usable. Nobody else reads the status of another object.
    pub fn wake_by_status(&self, part: &Part) {
        if matches!(part.kind, SecretStore::KIND | ClusterSecretStore::KIND) {
            self.wake(part);
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, who: &Part) {
        self.interests.remove(who);
        self.kept.forget(who);
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
        self.worked(who);
        self.context.metrics.forget(named(who));
    }

    /// True once for each object.
    pub fn is_first_look(&self, who: &Part) -> bool {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(who.clone())
    }

    /// Remembers that `who` was served.
    pub fn worked(&self, who: &Part) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Remembers that `who` could not be served. Returns how long it waits.
    pub fn failed(&self, who: &Part) -> Duration {
        let n_failures = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let n_failures = failures.entry(who.clone()).or_default();
            *n_failures += 1;
            *n_failures
        };
        self.backoff().wait(n_failures, chance())
    }

    fn backoff(&self) -> BackOff {
        let settings = &self.context.settings;
        match self.context.family {
            // Spec section 2.11: doubled each time.
            Family::ExternalSecrets => {
                BackOff { first: settings.backoff, factor: 2.0, longest: settings.backoff_limit }
            }
            // Spec section A.4.2, step 6.
            Family::VaultSecrets => {
                BackOff { first: Duration::from_secs(5), factor: 1.5, longest: Duration::from_secs(60) }
            }
        }
    }
}

/// The name of an object as a part of the world.
pub fn part<K: Kind>(object: &Object<K>) -> Part {
    Part { kind: K::KIND, namespace: object.namespace().to_owned(), name: object.name().to_owned() }
}

/// The name of an object as metrics use it.
pub fn named(who: &Part) -> Named<'_> {
    Named { kind: who.kind, namespace: &who.namespace, name: &who.name }
}

/// Logs that an object could not be served.
pub fn log(who: &Part, trouble: &Trouble) {
    let Part { kind, namespace, name } = who;
    tracing::warn!(kind, namespace, name, reason = trouble.reason, "{trouble}");
}

/// Counts the calls of providers.
struct Counter {
    metrics: Metrics,
    family: Family,
}

impl Observer for Counter {
    fn called(&self, provider: &'static str, call: &'static str, is_ok: bool) {
        self.metrics.provider_call(self.family, Call { provider, call, worked: is_ok });
    }
}
