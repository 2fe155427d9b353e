//! Whether it is the turn of a workload that is to restart.

use std::time::Duration;

use tokio::time::Instant;

use super::look::{find_verdict, warn_once};
use super::{Reload, breaker, index};
use crate::error::Trouble;
use crate::reload::{Cause, Consumer, Order};
use crate::store::Part;

/// Whether a workload may restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum May {
    /// Now.
    Now,
    /// When others are done: it is looked at then.
    Later,
    /// When this time is over.
    After(Duration),
}

/// The sources of causes.
pub(super) fn sources(consumer: &Consumer, causes: &[Cause]) -> Vec<Part> {
    causes.iter().map(|it| index::of(it.source, &consumer.namespace, &it.name)).collect()
}

/// Whether a workload may restart for these causes, or because somebody asked for it.
///
/// # Errors
///
/// If what it depends on cannot be told.
pub(super) async fn may(
    world: &Reload,
    who: &Part,
    consumer: &Consumer,
    causes: &[Cause],
    (is_asked, asked): (bool, Instant),
) -> Result<May, Trouble> {
    let sources = sources(consumer, causes);
    if let Some(held) = world.breaker.hold(who, &sources).filter(|_| !is_asked) {
        held.opened.iter().for_each(|source| open(world, consumer, source, &held));
        return Ok(May::After(held.left));
    }
    if waits(world, who, consumer, asked).await? {
        return Ok(May::Later);
    }
    let is_needed = world.index.is_needed(who);
    Ok(if world.waves.enter(who, sources, is_needed) { May::Now } else { May::Later })
}

/// Says that a source restarts a workload too often.
fn open(world: &Reload, consumer: &Consumer, source: &Part, held: &breaker::Held) {
    let settings = &world.context.settings.reload;
    world.context.metrics.reload().opened();
    let Part { kind, name, .. } = source;
    let text = format!(
        "{kind} {name} restarted it {} times within {:?}: what it holds by then is brought in {:?}, and once in {:?} as \
         long as that goes on (--reload-breaker-limit)",
        settings.breaker_limit,
        settings.breaker_window,
        Duration::from_secs(held.left.as_secs().max(1)),
        settings.breaker_wait,
    );
    super::look::warn_of(world, consumer, super::look::TOO_OFTEN, &text);
}

/// True if a workload waits for one that it depends on: that one tells when it is done.
async fn waits(world: &Reload, who: &Part, consumer: &Consumer, asked: Instant) -> Result<bool, Trouble> {
    if consumer.after.is_empty() {
        return Ok(false);
    }
    let order = Order::of(who, |it| world.index.before(it));
    if !order.circle.is_empty() {
        let names: Vec<_> = order.circle.iter().map(|it| format!("{}/{}", it.kind.to_lowercase(), it.name)).collect();
        let text = format!("it does not wait for {}, which depends on it", names.join(", "));
        warn_once(world, who, consumer, "circle", &text);
    }
    for first in &order.before {
        // Known before it is asked: what it does meanwhile is told.
        world.waves.wait(who, first);
        // One that begins while it is asked looks as if it had nothing to do.
        let goes = || world.waves.is_restarting(first);
        if goes() || is_due(world, first, asked).await? || goes() {
            tracing::debug!(kind = who.kind, namespace = who.namespace, name = who.name, first.name, "waits");
            return Ok(true);
        }
        world.waves.wait_no_more(who, first);
    }
    Ok(false)
}

/// True if a workload is to restart.
async fn is_due(world: &Reload, who: &Part, asked: Instant) -> Result<bool, Trouble> {
    let Some(entry) = world.index.find(who).filter(|_| world.namespaces.serve(&who.namespace)) else {
        return Ok(false);
    };
    if world.context.coordinator.is_asked(who) {
        return Ok(true);
    }
    // What cannot be read of it is its own trouble.
    let (verdict, _) = find_verdict(world, who, &entry, asked).await?;
    Ok(!verdict.causes.is_empty())
}
