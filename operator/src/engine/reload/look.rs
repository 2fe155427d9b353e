//! One workload: what it has not seen yet of what it uses, and the one change that brings it.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hash};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::index::{self, Entry};
use super::owed::OWED;
use super::recent::What;
use super::sources::Seen;
use super::turn::{self, May};
use super::{Reload, lists, pods};
use crate::digest::Data;
use crate::engine::coordinator::Ask;
use crate::engine::lock::lock;
use crate::engine::queue::Job;
use crate::engine::work::{Again, Work as _};
use crate::error::{Refused, Retry, Trouble};
use crate::plan::Note;
use crate::reload::{self, Cause, Change, Consumer, Content, Held, Marks, Memory, Roll, Source, Verdict, judge, roll};
use crate::sinks::Reloaded;
use crate::store::Part;

/// The reasons of events: what was done, what would have been, what could not be.
const RELOADED: &str = "Reloaded";
const WOULD: &str = "WouldRestart";
const FAILED: &str = "ReloadFail";

/// The reason of the event that tells that a source restarts a workload too often.
pub(super) const TOO_OFTEN: &str = "TooManyReloads";

/// Who reports what is no source's doing.
const COMPONENT: &str = "reloader";

/// Looks at one workload.
pub(super) async fn look(world: &Reload, job: &Job<Part>) -> Again {
    let who = &job.key;
    let is_served = world.namespaces.serve(&who.namespace);
    let Some(entry) = world.index.find(who).filter(|_| is_served) else {
        world.forget(who);
        return None;
    };
    let metrics = world.context.metrics.reload();
    let timer = Instant::now();
    let mut asks = Vec::new();
    let looked = async {
        let resumes = end_pause(world, &entry).await?;
        if let Some(left) = world.windows.left(who) {
            return Ok(Some(resumes.map_or(left, |it| it.min(left))));
        }
        metrics.taken(job.asked.elapsed());
        asks = world.context.coordinator.take(who);
        let may = reload(world, who, &entry, &mut asks, job.asked).await?;
        if may != May::Now {
            world.context.coordinator.put_back(who, std::mem::take(&mut asks));
        }
        Ok(match may {
            May::After(left) => Some(resumes.map_or(left, |it| it.min(left))),
            May::Now | May::Later => resumes,
        })
    };
    let looked: Result<Again, Trouble> = looked.await;
    world.release(who);
    metrics.looked(looked.is_ok(), timer.elapsed());
    match looked {
        Ok(again) => {
            world.tries.worked(who);
            again
        }
        Err(trouble) => {
            let wait = (trouble.retry == Retry::Now).then(|| world.tries.outrun(who)).flatten();
            if wait.is_some() {
                world.context.coordinator.put_back(who, asks);
                return wait;
            }
            fail(world, &entry.consumer, &trouble);
            asks.into_iter().for_each(|ask| ask.answer(Err(trouble.detail.clone())));
            Some(world.failed(who))
        }
    }
}

/// Says that a workload could not be reloaded, and why.
fn fail(world: &Reload, consumer: &Consumer, trouble: &Trouble) {
    world.context.metrics.reload().retried();
    warn(world, consumer, &trouble.to_string());
}

/// Ends the pause that a reload began, if it is over. Returns how long it goes on.
async fn end_pause(world: &Reload, entry: &Entry) -> Result<Option<Duration>, Trouble> {
    let Some(resume) = entry.consumer.resume(&world.rules) else { return Ok(None) };
    let left = resume.at.duration_since(Timestamp::now());
    if let Some(left) = Duration::try_from(left).ok().filter(|it| !it.is_zero()) {
        return Ok(Some(left));
    }
    if !world.context.settings.reload.dry_run {
        write(world, &entry.consumer, Change::Merge(resume.change)).await?;
    }
    Ok(None)
}

/// A source that a workload may reload for, as it is now.
struct Used {
    source: Source,
    name: String,
    /// `None` if it is not there.
    seen: Option<Box<Seen>>,
    /// What happened to it since the workload was made, which nobody watched.
    missed: Option<What>,
}

impl Used {
    fn as_judged(&self, entry: &Entry) -> reload::Seen<'_> {
        let seen = self.seen.as_ref();
        reload::Seen {
            source: self.source,
            name: &self.name,
            marks: seen.map_or(Marks::default(), |it| it.marks),
            content: seen.and_then(|it| it.content()).cloned(),
            // What pods have mounted is written for each of them.
            written: seen.filter(|_| self.source != Source::SecretProviderClass).and_then(|it| it.written),
            before: seen.and_then(|it| it.before()).cloned(),
            is_new: self.missed == Some(What::Came)
                || seen.and_then(|it| it.came).is_some_and(|came| came >= entry.seen),
            is_first: seen.is_some_and(|it| it.is_first),
        }
    }
}

/// Brings a workload what it has not seen yet, and answers those who asked for a restart, if it is its turn.
async fn reload(
    world: &Reload,
    who: &Part,
    entry: &Entry,
    asks: &mut Vec<Ask>,
    asked: Instant,
) -> Result<May, Trouble> {
    complain(world, who, &entry.consumer);
    let (verdict, unread) = find_verdict(world, who, entry, asked).await?;
    let may = act(world, who, &entry.consumer, &verdict, asks, asked).await?;
    if may == May::Now
        && unread.is_none()
        && let Some(entry) = world.index.find(who)
    {
        entry.settle();
    }
    // What could be read was served; for the rest it is tried again.
    unread.map_or(Ok(may), Err)
}

/// What is to be done about a workload, and what of its sources could not be read. Who is to know of a change that
/// happened before `asked` does.
///
/// # Errors
///
/// If it cannot be told since when its pods are as they are.
pub(super) async fn find_verdict(
    world: &Reload,
    who: &Part,
    entry: &Entry,
    asked: Instant,
) -> Result<(Verdict, Option<Trouble>), Trouble> {
    let (mut used, unread) = gather(world, entry, asked).await;
    let missed = find_missed(world, who, entry, &mut used).await;
    missed.map_err(|error| Trouble::new(FAILED, "could not find what it missed", error.to_string()))?;
    let seen: Vec<_> = used.iter().map(|it| it.as_judged(entry)).collect();
    let mut verdict = judge(&remembering(world, entry, &used), &world.rules, &world.key, &seen);
    drop(seen);
    // It had one: what comes in its place is a change.
    verdict.is_recording |= used.iter().any(|it| it.missed == Some(What::Went));
    forgive(world, entry, &used, &mut verdict).await?;
    Ok((verdict, unread))
}

/// What a workload remembers, wherever that lies.
fn recall(world: &Reload, consumer: &Consumer) -> Option<String> {
    let kept = if may_write(world, consumer) { None } else { world.memories.find(consumer) };
    kept.or_else(|| consumer.consumed.clone())
}

/// A workload with what it remembers. Of what it missed it is taken to remember something that nothing is like.
fn remembering<'a>(world: &Reload, entry: &'a Entry, used: &[Used]) -> Cow<'a, Consumer> {
    let consumer = &entry.consumer;
    let mut consumed = recall(world, consumer);
    let mut memory = Memory::read(consumed.as_ref(), &world.key);
    for it in used.iter().filter(|it| matches!(it.missed, Some(What::Changed | What::Went))) {
        memory.put(it.source, &it.name, &Content::of(Data::default(), &world.key), None);
        consumed = Some(memory.print());
    }
    if consumed == consumer.consumed {
        return Cow::Borrowed(consumer);
    }
    let mut remembering = consumer.clone();
    remembering.consumed = consumed;
    Cow::Owned(remembering)
}

/// Finds what happened to sources of which a workload remembers nothing, after it got its pods and before it was
/// first looked at. One that is not watched becomes known when something that it uses changes.
async fn find_missed(world: &Reload, who: &Part, entry: &Entry, used: &mut [Used]) -> Result<(), kube::Error> {
    // What was compared once is remembered.
    if entry.is_settled() {
        return Ok(());
    }
    let consumer = &entry.consumer;
    let memory = Memory::read(recall(world, consumer).as_ref(), &world.key);
    let since = world.namespaces.served_since(&who.namespace).map_or(entry.seen, |it| it.max(entry.seen));
    let is_meanwhile = |it: &Seen| {
        let is_change = it.changed.as_ref().is_some_and(|it| !it.is_coming && it.at >= since);
        is_change && pods::is_surely_new(entry, it)
    };
    for it in used {
        if memory.digest(it.source, &it.name).is_some() || consumer.marker(it.source, &it.name).is_some() {
            continue;
        }
        it.missed = match &it.seen {
            Some(seen) if is_meanwhile(seen) => Some(What::Changed),
            _ if world.is_unwatched(who) => {
                world.recent.since(world, entry, &index::of(it.source, &who.namespace, &it.name)).await?
            }
            _ => None,
        };
    }
    Ok(())
}

/// True if a workload can be told what it is to remember.
fn may_write(world: &Reload, Consumer { kind, namespace, .. }: &Consumer) -> bool {
    world.context.served.may("patch", kind.plural, kind.group, namespace)
}

/// Remembers what a workload has seen.
async fn remember(world: &Reload, consumer: &Consumer, memory: &Memory) -> Result<(), Trouble> {
    if may_write(world, consumer) {
        return write(world, consumer, Change::Merge(consumer.record(memory))).await;
    }
    let kept = world.memories.put(world, consumer, memory).await;
    kept.map_err(|error| Trouble::new(FAILED, "could not remember what it saw", error.to_string()))
}

/// Reads what a workload may reload for. What cannot be read keeps nothing else from being served.
async fn gather(world: &Reload, entry: &Entry, asked: Instant) -> (Vec<Used>, Option<Trouble>) {
    let consumer = &entry.consumer;
    let mut names = Vec::new();
    let surveyed = lists::survey(world, entry).await;
    let mut unread =
        surveyed.err().map(|error| Trouble::new(FAILED, "could not list what its patterns match", error.to_string()));
    for source in Source::ALL.into_iter().filter(|it| world.rules.follows(*it)) {
        names.extend(consumer.names(&world.rules, source).into_iter().map(|it| (source, it.to_owned())));
        if !consumer.has_patterns(source) {
            continue;
        }
        let matches = |name: &String| consumer.wants(&world.rules, source, name, Marks::default()).is_ok();
        let known = match source {
            Source::SecretProviderClass => world.classes.names(&consumer.namespace),
            Source::Secret | Source::ConfigMap => world.sources.names(source.kind(), &consumer.namespace),
        };
        for name in known.into_iter().filter(matches) {
            if !names.contains(&(source, name.clone())) {
                names.push((source, name));
            }
        }
    }
    let each = names.into_iter().map(async |(source, name)| {
        let at = index::of(source, &consumer.namespace, &name);
        world.contents.see(source, &at, asked).await.map(|seen| Used { source, name, seen, missed: None })
    });
    let mut used = Vec::new();
    for read in join_all(each).await {
        match read {
            Ok(it) => used.push(it),
            Err(trouble) => {
                world.context.metrics.reload().failed("read");
                unread = Some(trouble);
            }
        }
    }
    (used, unread)
}

/// Takes away the causes that its pods have seen: they are younger than what changed.
async fn forgive(world: &Reload, entry: &Entry, used: &[Used], verdict: &mut Verdict) -> Result<(), Trouble> {
    if entry.consumer.is_suspended {
        // Its next run is made when somebody wants one again.
        verdict.forgive(|_| true);
        return Ok(());
    }
    let memory = Memory::read(recall(world, &entry.consumer).as_ref(), &world.key);
    let doubtful = |cause: &Cause| {
        let it = used.iter().find(|it| it.source == cause.source && it.name == cause.name)?;
        // What is not what was written then is younger than that.
        let is_younger = |it: &Seen| it.written.is_some_and(|it| memory.is_written(cause.source, &cause.name, it));
        it.seen.as_ref().filter(|it| !pods::is_surely_new(entry, it) && !is_younger(it))
    };
    if verdict.causes.iter().any(|it| doubtful(it).is_some()) {
        let born = pods::born(world, entry).await;
        let born = born.map_err(|error| Trouble::new(FAILED, "could not find its pods' age", error.to_string()))?;
        verdict.forgive(|it| doubtful(it).is_some_and(|it| pods::has_seen(entry, it, born)));
    }
    Ok(())
}

/// Does what was found to be due, if it is the workload's turn.
async fn act(
    world: &Reload,
    who: &Part,
    consumer: &Consumer,
    verdict: &Verdict,
    asks: &mut Vec<Ask>,
    asked: Instant,
) -> Result<May, Trouble> {
    let is_dry = world.context.settings.reload.dry_run;
    if verdict.causes.is_empty() && asks.is_empty() {
        if verdict.is_recording && !is_dry {
            remember(world, consumer, &verdict.memory).await?;
        }
        return Ok(May::Now);
    }
    if is_dry {
        would(world, who, consumer, &verdict.causes);
        return Ok(May::Now);
    }
    // Whoever holds its rollouts holds those that Vault Secrets want too: they are owed.
    let is_held = consumer.is_paused && !consumer.is_paused_by_us();
    if is_held {
        asks.drain(..).for_each(|ask| ask.answer(Err("it is paused".to_owned())));
        if verdict.causes.is_empty() {
            return Ok(May::Now);
        }
    }
    match turn::may(world, who, consumer, &verdict.causes, (!asks.is_empty(), asked)).await? {
        May::Now => {}
        waits => return Ok(waits),
    }
    let timer = Instant::now();
    let made = make(world, consumer, verdict, !asks.is_empty()).await;
    match made {
        Ok(()) => {
            world.waves.begin(who);
            world.breaker.count(who, &turn::sources(consumer, &verdict.causes));
        }
        Err(_) => world.waves.leave(who),
    }
    if made.as_ref().is_err_and(|it| it.retry == Retry::Now) {
        return made.map(|()| May::Now);
    }
    let metrics = &world.context.metrics;
    metrics.reload().reloaded(consumer.kind.kind, &consumer.namespace, made.is_ok(), timer.elapsed());
    if made.is_err() {
        metrics.reload().failed("patch");
        return made.map(|()| May::Now);
    }
    report(world, consumer, &verdict.causes, asks);
    asks.drain(..).for_each(|ask| ask.answer(Ok(())));
    Ok(May::Now)
}

/// Makes the one change that brings all that was found.
async fn make(world: &Reload, consumer: &Consumer, verdict: &Verdict, is_asked: bool) -> Result<(), Trouble> {
    let whole = if consumer.needs_whole() { Some(read(world, consumer).await?) } else { None };
    let now = Timestamp::now();
    let rolled = roll(consumer, &world.rules, verdict, is_asked.then_some(now), whole.as_ref(), now);
    let Roll { change, record } = rolled.ok_or_else(|| could_not("it has no pods that could be made anew"))?;
    match change {
        Change::Remake(job) => remake(world, consumer, job).await?,
        change => write(world, consumer, change).await?,
    }
    // Where that was no part of the change.
    if (record.is_some() || !may_write(world, consumer))
        && let Err(trouble) = remember(world, consumer, &verdict.memory).await
    {
        // What was made is not made once more for that.
        warn(world, consumer, &trouble.to_string());
    }
    Ok(())
}

/// Deletes a Job and makes it anew, even if that takes another operator.
async fn remake(world: &Reload, consumer: &Consumer, job: Value) -> Result<(), Trouble> {
    let at = (consumer.namespace.as_str(), consumer.name.as_str());
    world.owed.owe(world, at, &job).await;
    let made = write(world, consumer, Change::Remake(job)).await;
    match &made {
        Ok(()) => world.owed.settle(world, at).await,
        Err(_) => world.queue.push(Part { kind: OWED, namespace: at.0.to_owned(), name: at.1.to_owned() }),
    }
    made
}

/// The whole workload.
async fn read(world: &Reload, consumer: &Consumer) -> Result<Value, Trouble> {
    let api: Api<DynamicObject> = world.context.api_in(Some(&consumer.namespace), &consumer.kind.resource());
    let held = api.get_opt(&consumer.name).await.map_err(|error| could_not(error.to_string()))?;
    let held = held.ok_or_else(|| could_not("it is gone"))?;
    serde_json::to_value(held).map_err(|error| could_not(error.to_string()))
}

/// Writes a change, and learns from the answer what the workload is then.
async fn write(world: &Reload, consumer: &Consumer, change: Change) -> Result<(), Trouble> {
    let Consumer { kind, namespace, name, uid, .. } = consumer;
    let is_own = !matches!(change, Change::Make(_));
    let api: Api<Held> = world.context.api_in(Some(namespace), &kind.resource());
    let held = world.writer.roll(&api, name, uid, change).await.map_err(refused)?;
    if is_own {
        let who = Part { kind: kind.kind, namespace: namespace.clone(), name: name.clone() };
        world.heed(who, world.index.apply(kind, held, false, &world.rules));
    }
    Ok(())
}

fn refused(refused: Refused) -> Trouble {
    could_not(refused.said).retried(refused.retry)
}

fn could_not(why: impl Into<String>) -> Trouble {
    Trouble::new(FAILED, "could not reload", why)
}

/// Says everywhere that a workload was reloaded, and why.
fn report(world: &Reload, consumer: &Consumer, causes: &[Cause], asks: &[Ask]) {
    let Consumer { kind, namespace, name, is_on_delete, .. } = consumer;
    let but = if *is_on_delete { "; it makes pods anew when they are deleted (OnDelete)" } else { "" };
    for cause in causes {
        let text = format!("{}{but}", cause.message(consumer));
        tell(world, component(cause.source), consumer, false, RELOADED, text);
        let (source, kind) = (cause.source, kind.kind);
        world.context.sinks.reloaded(&Reloaded { source, name: &cause.name, namespace, kind, workload: name });
    }
    for ask in asks {
        tell(world, COMPONENT, consumer, false, RELOADED, format!("Restarted because {}{but}", ask.why));
    }
    world.context.metrics.restarted(kind.kind, true);
    let why: Vec<_> =
        causes.iter().map(|it| it.message(consumer)).chain(asks.iter().map(|it| it.why.clone())).collect();
    tracing::info!(kind = kind.kind, namespace, name, why = why.join("; "), "restarted");
}

/// Says, once for each change, that a workload would be restarted if it were not for the settings.
fn would(world: &Reload, who: &Part, consumer: &Consumer, causes: &[Cause]) {
    let is_news =
        is_news(world, who, WOULD, causes.iter().map(|it| (it.source, &it.name, &it.marker)).collect::<Vec<_>>());
    for cause in causes.iter().filter(|_| is_news) {
        tell(world, component(cause.source), consumer, false, WOULD, cause.message(consumer));
        let Part { kind, namespace, name } = who;
        tracing::info!(kind, namespace, name, why = cause.message(consumer), "would be restarted");
    }
}

/// Says, once, what of the annotations of a workload cannot be read.
fn complain(world: &Reload, who: &Part, consumer: &Consumer) {
    if consumer.complaints.is_empty() || !is_news(world, who, FAILED, &consumer.complaints) {
        return;
    }
    consumer.complaints.iter().for_each(|it| warn(world, consumer, it));
}

/// Tells a workload something that is no good.
pub(super) fn warn(world: &Reload, consumer: &Consumer, text: &str) {
    warn_of(world, consumer, FAILED, text);
}

/// The same, for another reason.
pub(super) fn warn_of(world: &Reload, consumer: &Consumer, reason: &'static str, text: &str) {
    let Consumer { kind, namespace, name, .. } = consumer;
    tracing::warn!(kind = kind.kind, namespace, name, "{text}");
    tell(world, COMPONENT, consumer, true, reason, text.to_owned());
}

/// Tells a workload something that is no good, once as long as it is the same: `about` is what.
pub(super) fn warn_once(world: &Reload, who: &Part, consumer: &Consumer, about: &'static str, text: &str) {
    if is_news(world, who, about, text) {
        warn(world, consumer, text);
    }
}

/// True once for the same of one workload, told for the same reason.
fn is_news(world: &Reload, who: &Part, reason: &'static str, what: impl Hash) -> bool {
    let mut told = lock(&world.told);
    let digest = told.hasher().hash_one(what);
    told.insert((who.clone(), reason), digest) != Some(digest)
}

fn tell(world: &Reload, component: &str, consumer: &Consumer, warning: bool, reason: &'static str, text: String) {
    let Consumer { kind, namespace, name, uid, .. } = consumer;
    let about = ObjectReference {
        api_version: Some(kind.resource().api_version),
        kind: Some(kind.kind.to_owned()),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    };
    world.context.events.tell_as(component, &about, &Note { warning, reason, text });
}

/// Who reports what changes of a source led to.
fn component(source: Source) -> &'static str {
    match source {
        Source::Secret => "reloader-secrets",
        Source::ConfigMap => "reloader-configMaps",
        Source::SecretProviderClass => "reloader-secretproviderclasspodstatuses",
    }
}
