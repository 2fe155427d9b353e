//! The engine of reloads: one rollout for all that changed of what a workload uses.
//!
//! ```text
//! follow ──▶ index (source → workloads), sources (versions)
//!    │
//!    ▼
//! windows, queue ──▶ look ──▶ contents (digests) ──▶ reload::judge ──▶ reload::roll ──▶ apply
//!    ▲                 ▲
//!    │                 └── pods: have they seen it?
//! coordinator (restarts that Vault Secrets ask for)
//! ```

mod breaker;
mod classes;
mod contents;
mod follow;
mod index;
mod lists;
mod look;
mod memories;
mod namespaces;
mod owed;
mod pods;
mod recent;
mod sources;
mod turn;
mod waves;
mod webhook;
mod windows;

pub use memories::{NAME as MEMORIES, key_of as memory_of};

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Error;
use kube::api::ObjectMeta;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::apply::Writer;
use super::queue::{Job, Queue};
use super::tries::Tries;
use super::turns::{Turn, Turns};
use super::watch::Place;
use super::work::{Again, Work, work};
use super::{Context, own_key};
use crate::error::Trouble;
use crate::metrics::Happened;
use crate::reload::{Key, Rules, Source};
use crate::store::Part;
use breaker::Breaker;
use classes::Classes;
use contents::Contents;
use index::{Index, News};
use memories::Memories;
use namespaces::Namespaces;
use owed::{OWED, Owed};
use recent::Recent;
use sources::Sources;
use waves::Waves;
use windows::Windows;

/// The Secret, in the operator's namespace, that holds the key of digests.
pub const KEY_SECRET: &str = "leafseal-reload-key";

/// Where the key stands in it, and how long it is.
pub const KEY: (&str, usize) = ("key", 32);

/// What a namespace is called in the queue, of which workloads are listed because they may not be watched.
const NAMESPACE: &str = "Namespace";

/// What all who reload share.
pub(super) struct Reload {
    context: Context,
    rules: Rules,
    key: Key,
    writer: Writer,
    index: Index,
    sources: Arc<Sources>,
    classes: Arc<Classes>,
    contents: Contents,
    namespaces: Namespaces,
    /// Kinds of workloads that may be listed and not watched, and where.
    unwatched: Vec<lists::Unwatched>,
    recent: Recent,
    windows: Windows,
    queue: Queue<Part>,
    turns: Turns,
    tries: Tries,
    /// How many workloads restart at once, and in which order.
    waves: Waves,
    /// How often one source restarts one workload.
    breaker: Breaker,
    /// What workloads remember that cannot be told to remember it themselves.
    memories: Memories,
    /// Jobs that are being made anew.
    owed: Owed,
    /// What was last told of workloads and is told once, by reason.
    told: Mutex<HashMap<(Part, &'static str), u64>>,
    /// How many watches have told all that they can at first.
    n_whole: watch::Sender<usize>,
    /// Everything that there was at the start is known.
    has_begun: AtomicBool,
    /// Something is known that nobody may need any more.
    is_stale: AtomicBool,
}

/// Serves reloads until it is told to stop.
///
/// # Errors
///
/// If they cannot be served; it is tried again.
pub(super) async fn run(context: Context) -> Result<(), Trouble> {
    if context.sinks.has_webhook() {
        return webhook::run(context).await;
    }
    let key = take_key(&context).await?;
    let world = Arc::new(Reload::new(context, key));
    world.memories.load(&world.context).await?;
    let owed = world.owed.load(&world).await?;
    let sources: Vec<_> = follow::followed(&world.rules).collect();

    // Dropped when the work ends: then nothing goes on.
    let mut watches = JoinSet::new();
    let mut n_first = 0;
    for watch in follow::workloads(&world) {
        watches.spawn(watch);
        n_first += 1;
    }
    if let Some(watch) = follow::namespaces(&world) {
        watches.spawn(watch);
        n_first += 1;
    }
    let sources = sources.into_iter().map(|it| follow::sources(world.clone(), it).boxed());
    let sources: Vec<_> = sources.chain(classes::watches(&world)).collect();
    let n_sources = sources.len();
    for source in sources {
        let world = world.clone();
        watches.spawn(async move {
            // Of those that nobody uses nothing is kept: first it must be known what is used.
            whole(&world.n_whole, n_first).await;
            lists::list_all(&world).await;
            source.await;
        });
    }
    watches.spawn(waves::look_after(world.clone()));
    let asked = Arc::downgrade(&world);
    let _attached =
        world.context.coordinator.attach(move |workload| asked.upgrade().is_some_and(|it| it.takes(workload)));
    let begin = async {
        whole(&world.n_whole, n_first + n_sources).await;
        world.index.survey();
        waves::adopt(&world).await;
        world.has_begun.store(true, Ordering::Release);
        for who in world.index.list(None, |_| true).into_iter().chain(owed) {
            world.queue.push(who);
        }
    };
    work(&world, watches, begin).await
}

impl Reload {
    fn new(context: Context, key: Key) -> Self {
        let (settings, rules) = (&context.settings.reload, context.settings.reload_rules());
        let (sources, classes) = (Arc::<Sources>::default(), Arc::new(Classes::new(key.clone())));
        let (client, keys, labels) = (context.client.clone(), rules.keys.clone(), settings.resource_labels());
        Self {
            contents: Contents::new(client, key.clone(), keys, labels, (sources.clone(), classes.clone())),
            key,
            writer: Writer::new(context.client.clone(), context.gate.clone()),
            index: Index::default(),
            sources,
            classes,
            namespaces: Namespaces::new(&context.settings),
            unwatched: lists::unwatched(&context, &rules),
            recent: Recent::default(),
            windows: Windows::new(settings.window, settings.window_limit),
            queue: Queue::default(),
            turns: Turns::new(context.settings.concurrency.get(), context.stop.clone()),
            tries: Tries::default(),
            waves: Waves::new(settings.max_parallel_restarts),
            breaker: Breaker::new(settings.breaker_limit, settings.breaker_window, settings.breaker_wait),
            memories: Memories::default(),
            owed: Owed::default(),
            told: Mutex::default(),
            n_whole: watch::Sender::new(0),
            has_begun: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
            rules,
            context,
        }
    }

    /// One more watch has told all that it can at first.
    fn become_whole(&self) {
        self.n_whole.send_modify(|it| *it += 1);
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Looks at `who` when nothing more happens.
    fn stir(&self, who: &Part) {
        if self.has_begun() {
            self.context.metrics.reload().queued();
            let wait = self.windows.touch(who);
            self.queue.push_after(who.clone(), wait);
        }
    }

    /// Something became known of a workload.
    fn heed(&self, who: Part, news: News) {
        match news {
            News::Nothing => return,
            News::Changed if self.has_begun() => self.queue.push(who),
            News::Changed => {}
            News::Gone => self.forget(&who),
        }
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Forgets a workload that asks for no reload any more.
    fn forget(&self, who: &Part) {
        self.windows.close(who);
        self.leave(who);
        self.breaker.forget(who);
        self.tries.worked(who);
        super::lock::lock(&self.told).retain(|told, _| told.0 != *who);
        // Who wanted it restarted does that alone.
        drop(self.context.coordinator.take(who));
    }

    /// A workload has its pods again, or does not restart after all.
    fn leave(&self, who: &Part) {
        self.waves.leave(who);
        self.release(who);
    }

    /// Those that wait for a workload are looked at, unless it restarts.
    fn release(&self, who: &Part) {
        self.waves.waiting(who).into_iter().for_each(|it| self.queue.push(it));
    }

    /// A source changed: those who reload for it are looked at.
    fn tell(&self, source: Source, at: &Part, what: Happened) {
        let metrics = self.context.metrics.reload();
        if self.has_begun() {
            metrics.received(source, what);
            if what != Happened::Delete && source != Source::SecretProviderClass {
                self.contents.read_ahead(source, at);
            }
        }
        let place = (at.namespace.clone(), at.name.clone());
        for who in self.index.users(source, &place, &self.rules) {
            if !self.is_unwatched(&who) {
                self.stir(&who);
            }
        }
    }

    /// Those who reload for a source are looked at, to remember what it holds.
    fn note(&self, source: Source, at: &Place) {
        if self.has_begun() {
            self.index.users(source, at, &self.rules).into_iter().for_each(|who| self.queue.push(who));
        }
    }

    /// True if a workload is known from lists alone.
    fn is_unwatched(&self, who: &Part) -> bool {
        self.unwatched.iter().any(|it| it.has(who.kind, &who.namespace))
    }

    /// True if a restart that somebody asks for is made here.
    fn takes(&self, workload: &Part) -> bool {
        let is_ours = self.has_begun()
            && !self.context.settings.reload.dry_run
            && self.namespaces.serve(&workload.namespace)
            && self.index.find(workload).is_some();
        if is_ours {
            self.stir(workload);
        }
        is_ours
    }
}

impl Work for Reload {
    fn context(&self) -> &Context {
        &self.context
    }

    fn queue(&self) -> &Queue<Part> {
        &self.queue
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn look<'a>(&'a self, job: &'a Job<Part>, _: &'a mut Turn) -> BoxFuture<'a, Again> {
        match job.key.kind {
            NAMESPACE => lists::look(self, &job.key).boxed(),
            OWED => owed::look(self, &job.key).boxed(),
            _ => look::look(self, job).boxed(),
        }
    }

    fn tries(&self) -> &Tries {
        &self.tries
    }

    /// Counts, and forgets sources that nobody uses any more.
    fn tick(&self) {
        let metrics = self.context.metrics.reload();
        metrics.waiting(self.queue.overdue().0);
        for (kind, n) in self.index.count() {
            metrics.followed(kind, n);
        }
        self.recent.tidy();
        metrics.open(self.breaker.tidy());
        if self.is_stale.swap(false, Ordering::Relaxed) {
            self.memories.retain(&self.index.list(None, |_| true));
            let source = |at: &Part| Source::ALL.into_iter().find(|it| it.kind() == at.kind);
            let place = |at: &Part| (at.namespace.clone(), at.name.clone());
            self.sources.retain(|at| source(at).is_some_and(|it| self.index.is_wanted(it, &place(at), &self.rules)));
        }
    }
}

/// Waits until so many watches have told all that they can at first.
async fn whole(n_whole: &watch::Sender<usize>, n: usize) {
    // The sender lives as long as who waits.
    drop(n_whole.subscribe().wait_for(|it| *it >= n).await);
}

/// Takes the key of digests from the operator's namespace, or makes it. Where that is not granted, the key is one
/// that everybody knows.
async fn take_key(context: &Context) -> Result<Key, Trouble> {
    let namespace = &context.settings.operator_namespace;
    let read = |secret: &Secret| {
        let bytes = &secret.data.as_ref()?.get(KEY.0)?.0;
        (bytes.len() == KEY.1).then(|| Key::new(Zeroizing::new(bytes.clone())))
    };
    let make = || Secret {
        metadata: ObjectMeta {
            name: Some(KEY_SECRET.to_owned()),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "leafseal-operator".to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.0.to_owned(), ByteString(own_key::make::<{ KEY.1 }>().to_vec()))])),
        immutable: Some(true),
        ..Secret::default()
    };
    let why = match own_key::find_or_make(context, KEY_SECRET, read, make).await {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => "it holds none".to_owned(),
        Err(Error::Api(status)) if matches!(status.code, 403 | 404) => status.message,
        Err(error) => {
            return Err(Trouble::new("ReloadFail", "could not read the key of digests", error.to_string()));
        }
    };
    tracing::info!(namespace, secret = KEY_SECRET, "digests of what workloads saw are made without a key: {why}");
    Ok(Key::shared())
}
