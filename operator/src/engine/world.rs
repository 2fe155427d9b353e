//! What all who serve one family share: the queue, what is known of the cluster, what is open.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Api;
use kube::api::ApiResource;
use leafseal::provider::{Observer, ProviderError};

use super::Context;
use super::apply::Writer;
use super::backoff::chance;
use super::cluster::Live;
use super::fetch::Readings;
use super::interests::Interests;
use super::lock::lock;
use super::mirrors::Mirrors;
use super::queue::Queue;
use super::secrets::Secrets;
use super::stores::OpenStores;
use super::tries::Tries;
use super::turns::{Lanes, Turns};
use super::watch::Place;
use crate::adapter::{Found, Terms};
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::{self, Kind, Object, Unread};
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

/// Over which time those who failed are asked for when their store has an answer again: so long for each…
const WAKING: Duration = Duration::from_millis(20);

/// …and so long for all of them.
const LONGEST_WAKING: Duration = Duration::from_secs(30);

/// What all who serve a family share.
pub struct World {
    /// What the engine was started with.
    pub context: Context,
    /// What of that adapters know.
    pub terms: Terms,
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
    /// Whose content is made of what: of the sources of templates, of the documents that a store holds.
    pub contents: Interests,
    due: Mutex<HashSet<Part>>,
    /// What is to be looked at.
    pub queue: Queue<Part>,
    /// How many objects are worked on at once.
    pub turns: Turns,
    /// How many of them wait for one store.
    pub lanes: Lanes,
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
    /// What could not be done at once.
    pub tries: Tries,
    /// The stores that had no answer when they were last asked.
    silent: Mutex<HashSet<Part>>,
    /// Who was looked at since the start.
    looked_at: Mutex<HashSet<Part>>,
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
        lock(&self.entries).get(who).cloned()
    }

    /// Remembers which Secret is the target of `who`, whatever state it is in.
    pub fn expect(&self, who: &Part, at: &Place) {
        let mut entries = lock(&self.entries);
        if entries.get(who).is_none_or(|it| it.at != *at) {
            // No Secret has this version.
            entries.insert(who.clone(), Kept { at: at.clone(), version: String::new(), wanted: None });
        }
    }

    /// True if `part` is the target of `who`.
    pub fn is_target(&self, who: &Part, part: &Part) -> bool {
        let entries = lock(&self.entries);
        let at = entries.get(who).map(|it| &it.at);
        part.kind == "Secret" && at.is_some_and(|(namespace, name)| (namespace, name) == (&part.namespace, &part.name))
    }

    /// Remembers it.
    pub fn keep(&self, who: &Part, kept: Kept) {
        lock(&self.entries).insert(who.clone(), kept);
    }

    /// Forgets it.
    pub fn forget(&self, who: &Part) {
        lock(&self.entries).remove(who);
    }

    /// A digest that only this process can make.
    pub fn digest(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }
}

impl World {
    /// A world of which nothing is known yet. `mac_key` is the key of MACs, for the family that has one.
    pub fn new(context: Context, mac_key: Option<MacKey>) -> Self {
        let mirrors = Arc::<Mirrors>::default();
        let counter = Arc::new(Counter { metrics: context.metrics.clone(), family: context.family });
        Self {
            terms: Terms { mac_key, ..context.settings.terms() },
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
            contents: Interests::default(),
            due: Mutex::default(),
            queue: Queue::default(),
            turns: Turns::new(context.settings.concurrency.get(), context.stop.clone()),
            lanes: Lanes::new(context.settings.vault_concurrency.get()),
            stores: OpenStores::default(),
            answers: Readings::default(),
            kept: Ledger::default(),
            tries: Tries::default(),
            silent: Mutex::default(),
            looked_at: Mutex::default(),
            context,
        }
    }

    /// Where the defaults of Vault Secrets lie.
    pub fn vault_defaults(&self) -> Defaults {
        let settings = &self.context.settings;
        Defaults { namespace: settings.operator_namespace.clone(), globals: settings.allow_default_globals }
    }

    /// A store, opened if it is not open yet.
    pub async fn open(&self, at: &StoreRef) -> Attempt {
        let (cluster, surroundings) = (&self.cluster, &self.surroundings);
        match (at.family, external_secrets::shared(cluster, at)) {
            (Family::ExternalSecrets, None) if external_secrets::is_generator(at) => {
                external_secrets::open(cluster, at, surroundings).await
            }
            (Family::ExternalSecrets, None) => {
                self.stores.open(at, external_secrets::open(cluster, at, surroundings)).await
            }
            (Family::ExternalSecrets, Some(shared)) => {
                let lend = async {
                    let (mut made_from, admitted) = external_secrets::admit(cluster, at, surroundings).await;
                    if let Err(trouble) = admitted {
                        return Attempt { made_from, opened: Err(trouble) };
                    }
                    let open = external_secrets::open(cluster, &shared, surroundings);
                    let attempt = self.stores.open(&shared, open).await;
                    made_from.extend(attempt.made_from);
                    Attempt { made_from, opened: attempt.opened }
                };
                self.stores.lend(at, lend).await
            }
            (Family::VaultSecrets, _) => {
                let defaults = self.vault_defaults();
                let open = async {
                    match self.vaults.open(cluster, at, &defaults).await {
                        Ok(opened) => Attempt { made_from: opened.made_from.clone(), opened: Ok(opened) },
                        Err(Unopened { trouble, looked_at }) => Attempt { made_from: looked_at, opened: Err(trouble) },
                    }
                };
                self.stores.open(at, open).await
            }
            (Family::Reload, _) => unreachable!("workloads that reload read no store"),
        }
    }

    /// The objects of a kind in one namespace; `None` if the cluster does not have the kind.
    pub fn api<K: Kind>(&self, namespace: &str) -> Option<(Api<Unread>, &ApiResource)> {
        let at = self.context.served.resource::<K>()?;
        let api = self.context.api_in((K::SCOPE == api::Scope::Namespaced).then_some(namespace), at);
        Some((api, at))
    }

    /// Tells that `part` changed: stores that were made from it are opened anew, and all who depend on it
    /// look again.
    pub fn tell(&self, part: &Part) {
        self.stores.changed(part);
        for who in self.contents.of(part) {
            // Who reads from a store that holds it, or has it in the content itself.
            let readers = self.interests.of(&who);
            let mut due = lock(&self.due);
            for reader in readers.into_iter().chain([who]) {
                due.insert(reader.clone());
                self.queue.push(reader);
            }
        }
        self.wake(part);
    }

    /// True once after something changed that the content of `who` is made of: no time and no store tells
    /// that it is due.
    pub fn take_due(&self, who: &Part) -> bool {
        lock(&self.due).remove(who)
    }

    /// Puts back what was [taken](Self::take_due) and could not be done.
    pub fn put_due(&self, who: &Part) {
        lock(&self.due).insert(who.clone());
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
        self.contents.remove(who);
        self.take_due(who);
        self.kept.forget(who);
        lock(&self.looked_at).remove(who);
        self.tries.worked(who);
        self.context.metrics.forget(named(who));
    }

    /// True once for each object.
    pub fn is_first_look(&self, who: &Part) -> bool {
        let mut looked_at = lock(&self.looked_at);
        !looked_at.contains(who) && looked_at.insert(who.clone())
    }

    /// Remembers whether `store` had an answer. When it has one again, those who failed meanwhile are asked
    /// for, not all in one moment.
    pub fn answered(&self, store: &Part, has_answer: bool) {
        {
            let mut silent = lock(&self.silent);
            if !has_answer {
                silent.insert(store.clone());
                return;
            }
            if !silent.remove(store) {
                return;
            }
        }
        let failed: Vec<Part> = self.interests.of(store).into_iter().filter(|it| self.tries.has_failed(it)).collect();
        let span = WAKING.saturating_mul(u32::try_from(failed.len()).unwrap_or(u32::MAX)).min(LONGEST_WAKING);
        for who in failed {
            self.queue.push_after(who, span.mul_f64(chance()));
        }
    }

    /// Asks for those who stood in line for a store and have a place by now.
    pub fn call(&self) {
        for who in self.lanes.called() {
            self.queue.push(who);
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
