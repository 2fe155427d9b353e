//! Where a webhook is told of changes: every change of what a Secret or ConfigMap holds, and nothing is reloaded
//! (spec section B.9).

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::index::of;
use super::namespaces::Namespaces;
use super::{classes, follow, whole};
use crate::api;
use crate::engine::Context;
use crate::engine::lock::lock;
use crate::engine::queue::{Job, Queue};
use crate::engine::tries::Tries;
use crate::engine::turns::{Turn, Turns};
use crate::engine::watch::{self, Follow, Place, Scope, place};
use crate::engine::work::{Again, Work, work};
use crate::error::Trouble;
use crate::reload::{Holding, PodStatus, Rules, Source, digest_of};
use crate::store::Part;

/// What all who tell the webhook share.
struct Telling {
    context: Context,
    rules: Rules,
    namespaces: Namespaces,
    /// What every source held when it was last seen, as digests.
    seen: Mutex<HashMap<u64, Looks>>,
    hasher: RandomState,
    queue: Queue<Part>,
    turns: Turns,
    tries: Tries,
    n_whole: tokio::sync::watch::Sender<usize>,
}

/// What is remembered of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Looks {
    source: Source,
    /// The namespace, as a digest.
    namespace: u64,
    holds: u64,
}

/// How many objects one page of a list has: they are read with all that they hold.
const PAGE: u32 = 50;

/// Tells the webhook until the end is asked for.
///
/// # Errors
///
/// If what follows the cluster breaks; it is tried again.
pub(super) async fn run(context: Context) -> Result<(), Trouble> {
    tracing::info!("changes are told to the webhook: nothing is reloaded");
    let world = Arc::new(Telling {
        rules: context.settings.reload_rules(),
        namespaces: Namespaces::new(&context.settings),
        seen: Mutex::default(),
        hasher: RandomState::new(),
        queue: Queue::default(),
        turns: Turns::new(context.settings.concurrency.get(), context.stop.clone()),
        tries: Tries::default(),
        n_whole: tokio::sync::watch::Sender::new(0),
        context,
    });
    let mut watches = JoinSet::new();
    let labels = world.context.settings.reload.namespace_labels();
    if let Some(labels) = labels.filter(|_| world.namespaces.are_selected()) {
        let world = world.clone();
        watches.spawn(async move {
            let learn = |namespace: &str, is_selected: bool| _ = world.namespaces.select(namespace, is_selected);
            follow::selected(&world.context, &labels, &world.namespaces, learn, || {}).await;
        });
    }
    let sources = follow::followed(&world.rules).map(|it| (it, follow::resource(it)));
    let mut watched: Vec<_> = sources.map(|(source, at)| follow_all::<Holding>(&world, source, at)).collect();
    if let Some((statuses, _)) = classes::resources(&world.context) {
        watched.push(follow_all::<PodStatus>(&world, Source::SecretProviderClass, statuses));
    }
    let n_watched = watched.len();
    for watch in watched {
        watches.spawn(watch);
    }
    let seen = async {
        whole(&world.n_whole, n_watched).await;
        tracing::info!("all that there is has been seen: the webhook is told of what changes from now on");
    };
    work(&world, watches, seen).await
}

/// Something of which every change of what it holds is told.
trait Holds: Clone + Debug + DeserializeOwned + Send + 'static
where
    Self: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    /// A digest of what it holds.
    fn holds(&self) -> u64;
}

impl Holds for Holding {
    fn holds(&self) -> u64 {
        digest_of((self.data.0, self.binary_data.0))
    }
}

impl Holds for PodStatus {
    fn holds(&self) -> u64 {
        digest_of(self.objects())
    }
}

/// Tells of one sort of sources, as long as this is polled.
fn follow_all<K: Holds>(world: &Arc<Telling>, source: Source, at: ApiResource) -> BoxFuture<'static, ()> {
    let world = world.clone();
    let watch = async move {
        let labels = world.context.settings.reload.resource_labels().filter(|_| source != Source::SecretProviderClass);
        let apis = world.context.apis::<K>(api::Scope::Namespaced, &at).into_iter();
        let watches = apis.map(|(scope, api)| (scope, watch::paged(api, labels.as_deref(), PAGE))).collect();
        let changes = Changes { world: &world, source, is_whole: AtomicBool::new(false) };
        let whole = || {
            changes.is_whole.store(true, Ordering::Relaxed);
            world.n_whole.send_modify(|it| *it += 1);
        };
        watch::follow(watches, &changes, &whole).await;
    };
    watch.boxed()
}

struct Changes<'a> {
    world: &'a Telling,
    source: Source,
    /// Whether all sources of this sort that there were have been seen: what is new after that was made since.
    is_whole: AtomicBool,
}

impl Changes<'_> {
    fn digest(&self, at: &Place) -> u64 {
        self.world.hasher.hash_one((self.source, at))
    }

    fn namespace(&self, namespace: &str) -> u64 {
        self.world.hasher.hash_one(namespace)
    }

    fn tell(&self, at: &Place) {
        if self.world.namespaces.serve(&at.0) {
            self.world.queue.push(of(self.source, &at.0, &at.1));
        }
    }

    /// True if it counts that a source comes or goes: what pods have mounted comes and goes with them.
    fn may_come_and_go(&self) -> bool {
        self.source != Source::SecretProviderClass
    }
}

impl<K: Holds> Follow<K> for Changes<'_> {
    fn apply(&self, object: K, _: bool) -> bool {
        let Self { world, source, ref is_whole } = *self;
        let (at, holds) = (place(&object), object.holds());
        let looks = Looks { source, namespace: self.namespace(&at.0), holds };
        let before = lock(&world.seen).insert(self.digest(&at), looks);
        let is_whole = is_whole.load(Ordering::Relaxed);
        let is_told = match before {
            Some(before) => before.holds != holds,
            None => self.may_come_and_go() && world.rules.on_create && (is_whole || world.rules.sync_after_restart),
        };
        if is_told {
            self.tell(&at);
        }
        true
    }

    fn delete(&self, object: K) {
        let at = place(&object);
        let was_there = lock(&self.world.seen).remove(&self.digest(&at)).is_some();
        if was_there && self.may_come_and_go() && self.world.rules.on_delete {
            self.tell(&at);
        }
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        let there: HashSet<u64> = there.iter().map(|at| self.digest(at)).collect();
        let namespace = scope.as_deref().map(|it| self.namespace(it));
        lock(&self.world.seen).retain(|at, it| {
            it.source != self.source
                || namespace.is_some_and(|namespace| namespace != it.namespace)
                || there.contains(at)
        });
    }
}

impl Work for Telling {
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
        async {
            let Part { kind, namespace, name } = &job.key;
            match self.context.sinks.changed().await {
                Ok(()) => {
                    tracing::info!(kind, namespace, name, "the webhook was told of a change");
                    self.tries.worked(&job.key);
                    None
                }
                Err(why) => {
                    tracing::warn!(kind, namespace, name, "the webhook could not be told of a change: {why}");
                    self.context.metrics.reload().failed("webhook");
                    Some(self.failed(&job.key))
                }
            }
        }
        .boxed()
    }

    fn tries(&self) -> &Tries {
        &self.tries
    }
}
