//! Where a webhook is told of changes: every change of what a Secret or ConfigMap holds, and nothing is reloaded
//! (spec section B.9).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::api::{ObjectMeta, PartialObjectMeta};
use tokio::task::JoinSet;

use super::index::of;
use super::namespaces::Namespaces;
use super::{follow, whole};
use crate::engine::Context;
use crate::engine::lock::lock;
use crate::engine::queue::{Job, Queue};
use crate::engine::tries::Tries;
use crate::engine::turns::{Turn, Turns};
use crate::engine::watch::{self, Follow, Place, Scope, place};
use crate::engine::work::{Again, Work, work};
use crate::error::Trouble;
use crate::reload::{Rules, Source};
use crate::store::Part;
use crate::written::content_fields;

/// What all who tell the webhook share.
struct Telling {
    context: Context,
    rules: Rules,
    namespaces: Namespaces,
    /// What every source was like when it was last seen, as digests.
    seen: Mutex<HashMap<u64, Looks>>,
    hasher: RandomState,
    queue: Queue<Part>,
    turns: Turns,
    tries: Tries,
    n_whole: tokio::sync::watch::Sender<usize>,
}

/// What a source is like, as digests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Looks {
    source: Source,
    /// The namespace.
    namespace: u64,
    /// Who wrote its content, and when.
    content: u64,
    /// What else is said of it.
    rest: u64,
}

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
    let sources: Vec<_> = follow::followed(&world.rules).collect();
    let n_sources = sources.len();
    for source in sources {
        let world = world.clone();
        watches.spawn(async move {
            let watches = follow::of_sources(&world.context, source);
            let whole = || world.n_whole.send_modify(|it| *it += 1);
            watch::follow(watches, &Changes { world: &world, source }, whole).await;
        });
    }
    work(&world, watches, whole(&world.n_whole, n_sources)).await
}

impl Telling {
    fn is_whole(&self) -> bool {
        *self.n_whole.borrow() > 0
    }

    fn looks(&self, source: Source, metadata: &ObjectMeta) -> Looks {
        let hash = |it: &ObjectMeta| {
            let owners: Vec<_> = it.owner_references.iter().flatten().map(|it| &it.uid).collect();
            self.hasher.hash_one((&it.labels, &it.annotations, &it.finalizers, owners))
        };
        let fields = content_fields(metadata);
        let content = fields
            .map(|it| (&it.manager, it.time.as_ref().map(|it| it.0), it.fields_v1.as_ref().map(|it| it.0.to_string())));
        Looks {
            source,
            namespace: self.hasher.hash_one(metadata.namespace.as_deref()),
            content: self.hasher.hash_one((&metadata.uid, content.collect::<Vec<_>>())),
            rest: hash(metadata),
        }
    }
}

struct Changes<'a> {
    world: &'a Telling,
    source: Source,
}

impl Follow<PartialObjectMeta> for Changes<'_> {
    fn apply(&self, object: PartialObjectMeta, is_listed: bool) -> bool {
        let Self { world, source } = *self;
        let at = place(&object);
        let looks = world.looks(source, &object.metadata);
        let before = lock(&world.seen).insert(world.hasher.hash_one((source, &at)), looks);
        let is_told = match before {
            // Where nothing else explains a new version, two writes in one second are recorded as one.
            Some(before) => before.content != looks.content || (before.rest == looks.rest && !is_listed),
            None => world.rules.on_create && (world.is_whole() || world.rules.sync_after_restart),
        };
        if is_told && world.namespaces.serve(&at.0) {
            world.queue.push(of(source, &at.0, &at.1));
        }
        true
    }

    fn delete(&self, object: PartialObjectMeta) {
        let Self { world, source } = *self;
        let at = place(&object);
        let was_there = lock(&world.seen).remove(&world.hasher.hash_one((source, &at))).is_some();
        if was_there && world.rules.on_delete && world.namespaces.serve(&at.0) {
            world.queue.push(of(source, &at.0, &at.1));
        }
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        let Self { world, source } = *self;
        let there: HashSet<u64> = there.iter().map(|at| world.hasher.hash_one((source, at))).collect();
        let namespace = scope.as_deref().map(|it| world.hasher.hash_one(Some(it)));
        lock(&world.seen).retain(|at, it| {
            it.source != source || namespace.is_some_and(|namespace| namespace != it.namespace) || there.contains(at)
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
