//! Workers: what is due is looked at, as many objects at once as there are turns, until the end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinSet;

use super::Context;
use super::queue::{Job, Queue};
use super::tries::Tries;
use super::turns::{Turn, Turns};
use crate::error::Trouble;
use crate::store::Part;

/// When an object is looked at again by itself; `None`: only when something changes.
pub(super) type Again = Option<Duration>;

/// What workers of a family share.
pub(super) trait Work: Send + Sync + 'static {
    /// What the engine was started with.
    fn context(&self) -> &Context;

    /// What is to be looked at.
    fn queue(&self) -> &Queue<Part>;

    /// How many objects are worked on at once.
    fn turns(&self) -> &Turns;

    /// Looks at one object and does what is to be done.
    fn look<'a>(&'a self, job: &'a Job<Part>, turn: &'a mut Turn) -> BoxFuture<'a, Again>;

    /// What could not be done at once.
    fn tries(&self) -> &Tries;

    /// Remembers that an object could not be served. Returns how long it waits.
    fn failed(&self, who: &Part) -> Duration {
        self.tries().failed(who, self.context().backoff())
    }

    /// Called every few seconds.
    fn tick(&self) {}
}

/// How often it is counted what waits, and [`Work::tick`] is called.
const COUNTED: Duration = Duration::from_secs(5);

/// How long an object waits while somebody else may be acting.
const CLOSED: Duration = Duration::from_secs(1);

/// Waits until it can `begin`, and works until the end is asked for and what was begun is finished.
///
/// # Errors
///
/// If one of the `watches`, which are all that the workers are told by, breaks.
pub(super) async fn work<W: Work>(
    world: &Arc<W>,
    mut watches: JoinSet<()>,
    begin: impl Future<Output = ()>,
) -> Result<(), Trouble> {
    let Context { stop, family, metrics, .. } = world.context();
    tokio::select! {
        () = begin => {}
        () = stop.asked() => return Ok(()),
    }
    let count = async {
        loop {
            tokio::time::sleep(COUNTED).await;
            metrics.overdue(*family, world.queue().overdue().0);
            world.tick();
        }
    };
    let broken = tokio::select! {
        // Returns when the end is asked for, and all that was begun is finished.
        () = look_at_what_is_due(world.clone()) => None,
        () = count => None,
        broken = broken(&mut watches) => Some(broken),
    };
    match broken {
        Some(broken) => Err(Trouble::new("WatchBroke", "what follows the cluster broke", broken)),
        None => Ok(()),
    }
}

/// Waits until something that follows the cluster breaks: the rest would serve what it is told no more.
async fn broken(watches: &mut JoinSet<()>) -> String {
    while let Some(ended) = watches.join_next().await {
        // What has nothing to follow ends.
        if let Err(broken) = ended {
            return broken.to_string();
        }
    }
    std::future::pending().await
}

async fn look_at_what_is_due<W: Work>(world: Arc<W>) {
    let Context { stop, gate, .. } = world.context();
    let mut looks = JoinSet::new();
    while let Some(turn) = world.turns().take().await {
        let job = tokio::select! {
            biased;
            () = stop.asked() => break,
            job = world.queue().next() => job,
        };
        if gate.held() {
            looks.spawn(look(world.clone(), job, turn));
        } else {
            // Whoever acts now is not us; if that changes, the engine is told, or nobody noticed.
            world.queue().done(&job.key, Some(CLOSED));
        }
        while looks.try_join_next().is_some() {}
    }
    while looks.join_next().await.is_some() {}
}

/// Looks at one object. Whatever comes of it, the object is looked at again when that is due.
async fn look<W: Work>(world: Arc<W>, job: Job<Part>, mut turn: Turn) {
    let looked = AssertUnwindSafe(world.look(&job, &mut turn)).catch_unwind().await;
    let again = looked.unwrap_or_else(|_| {
        let Part { kind, namespace, name } = &job.key;
        tracing::error!(kind, namespace, name, "looking at this object broke: this is a bug, please report it");
        Some(world.failed(&job.key))
    });
    world.queue().done(&job.key, again);
}
