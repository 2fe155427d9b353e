//! Which workloads restart now, and which wait: for a place, where it is limited how many restart at once; for the
//! rest of their wave, where what they restart for is brought to many; and for those that they depend on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Api;
use kube::api::DynamicObject;
use tokio::time::Instant;

use super::{Reload, index, pods};
use crate::engine::lock::lock;
use crate::reload::{Consumer, Source};
use crate::rollout::{Progress, progress};
use crate::store::Part;

/// How often those that restart are looked at.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// How long a restart may take that no controller gives up on: what Deployments have for that by themselves.
const LONGEST: Duration = Duration::from_secs(600);

/// How many workloads are asked at once at the start.
const AT_ONCE: usize = 16;

/// Who restarts, and who waits for that.
#[derive(Debug)]
pub(super) struct Waves {
    /// 0: as many as there are.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    restarting: BTreeMap<Part, Restart>,
    /// Those that a source was brought to in its wave, which is over when all of them have their pods again.
    waves: BTreeMap<Part, BTreeSet<Part>>,
    /// With what each waits to restart for.
    line: VecDeque<(Part, Vec<Part>)>,
    /// Who waits for those on the left, which have to be done first.
    behind: BTreeMap<Part, BTreeSet<Part>>,
}

#[derive(Debug)]
struct Restart {
    stage: Stage,
    /// What it restarts for.
    sources: Vec<Part>,
    since: Instant,
}

/// How far one is that restarts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It may, and is not told yet.
    Begins,
    /// It was told.
    Goes,
    /// It does not come back, which was said.
    Stuck,
}

impl Waves {
    /// At most `most` restart at once; 0: as many as there are.
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// True if `who` may restart now for `sources`. Else it stands in line. Whether its pods come back is looked
    /// after if it is limited how many restart at once, or somebody depends on it.
    pub(super) fn enter(&self, who: &Part, sources: Vec<Part>, is_needed: bool) -> bool {
        if self.most == 0 && !is_needed {
            return true;
        }
        let mut state = lock(&self.state);
        if state.restarting.contains_key(who) {
            return true;
        }
        if self.most > 0 && (state.restarting.len() >= self.most || state.is_over_full(who, &sources, self.most)) {
            match state.line.iter_mut().find(|it| it.0 == *who) {
                Some(place) => place.1 = sources,
                None => state.line.push_back((who.clone(), sources)),
            }
            return false;
        }
        state.line.retain(|it| it.0 != *who);
        for source in &sources {
            state.waves.entry(source.clone()).or_default().insert(who.clone());
        }
        state.restarting.insert(who.clone(), Restart { stage: Stage::Begins, sources, since: Instant::now() });
        true
    }

    /// `who` restarts from now on: what is reported about it counts.
    pub(super) fn begin(&self, who: &Part) {
        if let Some(it) = lock(&self.state).restarting.get_mut(who) {
            (it.stage, it.since) = (Stage::Goes, Instant::now());
        }
    }

    /// `who` was told to restart for `sources` by an operator that has ended.
    fn adopt(&self, who: Part, sources: Vec<Part>) {
        let mut state = lock(&self.state);
        for source in &sources {
            state.waves.entry(source.clone()).or_default().insert(who.clone());
        }
        state.restarting.insert(who, Restart { stage: Stage::Goes, sources, since: Instant::now() });
    }

    /// `who` does not restart any more, or never did.
    pub(super) fn leave(&self, who: &Part) {
        let mut state = lock(&self.state);
        state.line.retain(|it| it.0 != *who);
        let Some(left) = state.restarting.remove(who) else { return };
        for source in left.sources {
            let others = state.restarting.values().any(|it| it.sources.contains(&source));
            if !others {
                state.waves.remove(&source);
            }
        }
    }

    /// True if `who` does not have its pods again.
    pub(super) fn is_restarting(&self, who: &Part) -> bool {
        lock(&self.state).restarting.contains_key(who)
    }

    /// `who` does not wait for `first` any more.
    pub(super) fn wait_no_more(&self, who: &Part, first: &Part) {
        let mut state = lock(&self.state);
        if let Some(behind) = state.behind.get_mut(first) {
            behind.remove(who);
            if behind.is_empty() {
                state.behind.remove(first);
            }
        }
    }

    /// `who` waits for what becomes of `first`.
    pub(super) fn wait(&self, who: &Part, first: &Part) {
        lock(&self.state).behind.entry(first.clone()).or_default().insert(who.clone());
    }

    /// Takes those that wait for `first`, if it does not restart.
    pub(super) fn waiting(&self, first: &Part) -> BTreeSet<Part> {
        let mut state = lock(&self.state);
        if state.restarting.contains_key(first) {
            BTreeSet::new()
        } else {
            state.behind.remove(first).unwrap_or_default()
        }
    }

    /// How many wait for others, and how many of those do not come back.
    pub(super) fn count(&self) -> (usize, usize) {
        let state = lock(&self.state);
        let line = state.line.iter().map(|it| &it.0);
        let behind: BTreeSet<&Part> = state.behind.values().flatten().chain(line).collect();
        (behind.len(), state.restarting.values().filter(|it| it.stage == Stage::Stuck).count())
    }

    /// Those that restart, and since when.
    fn restarting(&self) -> Vec<(Part, Instant)> {
        let state = lock(&self.state);
        let told = state.restarting.iter().filter(|it| it.1.stage != Stage::Begins);
        told.map(|(who, it)| (who.clone(), it.since)).collect()
    }

    /// True once for one that does not come back.
    fn is_news(&self, who: &Part) -> bool {
        let mut state = lock(&self.state);
        let told = state.restarting.get_mut(who).map(|it| std::mem::replace(&mut it.stage, Stage::Stuck));
        told.is_some_and(|it| it != Stage::Stuck)
    }

    /// Takes those out of the line for which there may be room.
    fn called(&self) -> Vec<Part> {
        let mut state = lock(&self.state);
        let mut room = self.most.saturating_sub(state.restarting.len());
        let (mut called, mut line) = (Vec::new(), std::mem::take(&mut state.line));
        line.retain(|(who, sources)| {
            let may = room > 0 && !state.is_over_full(who, sources, self.most);
            if may {
                room -= 1;
                called.push(who.clone());
            }
            !may
        });
        state.line = line;
        called
    }
}

impl State {
    /// True if there is no place for `who` in the wave of one of these sources.
    fn is_over_full(&self, who: &Part, sources: &[Part], most: usize) -> bool {
        let waves = sources.iter().filter_map(|it| self.waves.get(it));
        waves.into_iter().any(|wave| wave.len() >= most && !wave.contains(who))
    }
}

/// Looks after those that restart, as long as this is polled.
pub(super) async fn look_after(world: Arc<Reload>) {
    loop {
        tokio::time::sleep(LOOKED_AT).await;
        for (who, since) in world.waves.restarting() {
            look(&world, &who, since).await;
        }
        for who in world.waves.called() {
            world.queue.push(who);
        }
        let (n_waiting, n_stuck) = world.waves.count();
        world.context.metrics.reload().held(n_waiting, n_stuck);
    }
}

/// Learns, where it is limited how many restart at once, which do already: an operator that has ended may have told
/// them to, in a wave that is not over.
pub(super) async fn adopt(world: &Reload) {
    if world.waves.most == 0 {
        return;
    }
    let marked = world.index.list(None, Consumer::is_marked);
    let each = futures::stream::iter(marked).map(async |who| {
        let sources = unfinished(world, &who).await;
        if !sources.is_empty() {
            world.waves.adopt(who, sources);
        }
    });
    each.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// What a workload was restarted for lately, if it does not have its pods again. What cannot be read counts as nothing.
async fn unfinished(world: &Reload, who: &Part) -> Vec<Part> {
    let Some(entry) = world.index.find(who) else { return Vec::new() };
    let consumer = &entry.consumer;
    let api: Api<DynamicObject> = world.context.api_in(Some(&who.namespace), &consumer.kind.resource());
    let held = api.get_opt(&who.name).await.ok().flatten().and_then(|it| serde_json::to_value(it).ok());
    if held.is_none_or(|it| progress(consumer.kind, &it) == Progress::Done) {
        return Vec::new();
    }
    let since = Timestamp::now() - LONGEST;
    if !pods::born(world, &entry).await.is_ok_and(|born| born.is_some_and(|it| it > since)) {
        return Vec::new();
    }
    let mut sources = Vec::new();
    for source in Source::ALL.into_iter().filter(|it| world.rules.follows(*it)) {
        for name in consumer.names(&world.rules, source) {
            let Some(marker) = consumer.marker(source, name) else { continue };
            let at = index::of(source, &who.namespace, name);
            let seen = world.contents.see(source, &at, Instant::now()).await.ok().flatten();
            let content = seen.as_ref().and_then(|it| it.content());
            if content.is_some_and(|it| it.marker == marker || it.digest == marker) {
                sources.push(at);
            }
        }
    }
    sources
}

async fn look(world: &Reload, who: &Part, since: Instant) {
    let Some(entry) = world.index.find(who) else {
        world.leave(who);
        return;
    };
    let consumer = &entry.consumer;
    let api: Api<DynamicObject> = world.context.api_in(Some(&who.namespace), &consumer.kind.resource());
    let held = match api.get_opt(&who.name).await {
        Ok(Some(held)) => serde_json::to_value(held).unwrap_or_default(),
        Ok(None) => {
            world.leave(who);
            return;
        }
        // It is asked again.
        Err(_) => return,
    };
    match progress(consumer.kind, &held) {
        Progress::Done => world.leave(who),
        Progress::Goes if since.elapsed() < LONGEST => {}
        Progress::Stuck | Progress::Goes => {
            if world.waves.is_news(who) {
                world.context.metrics.reload().failed("rollout");
                super::look::warn(world, consumer, "its new pods do not become ready: other workloads wait for it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Part {
        Part { kind: "Deployment", namespace: "apps".to_owned(), name: name.to_owned() }
    }

    fn source(name: &str) -> Vec<Part> {
        vec![Part { kind: "Secret", namespace: "apps".to_owned(), name: name.to_owned() }]
    }

    fn restarting(waves: &Waves) -> Vec<Part> {
        waves.restarting().into_iter().map(|it| it.0).collect()
    }

    #[test]
    fn there_are_only_so_many_places() {
        let waves = Waves::new(2);
        let enter = |name: &str| waves.enter(&who(name), source(name), false);
        assert!(enter("a") && enter("b") && enter("a"));
        assert!(!enter("c") && !enter("d") && !enter("c"));
        assert_eq!(waves.called(), []);
        assert!(restarting(&waves).is_empty(), "what is reported about them is from before");
        ["a", "b"].iter().for_each(|it| waves.begin(&who(it)));
        assert!(waves.is_news(&who("a")) && !waves.is_news(&who("a")));
        assert_eq!(waves.count(), (2, 1));
        waves.leave(&who("a"));
        assert_eq!(waves.called(), [who("c")]);
        assert!(enter("c") && !enter("d"));
        waves.begin(&who("c"));
        assert_eq!(restarting(&waves), [who("b"), who("c")]);
        waves.leave(&who("d"));
        waves.leave(&who("b"));
        assert_eq!(waves.called(), []);
        let unlimited = Waves::new(0);
        assert!((0..100).all(|it| unlimited.enter(&who(&it.to_string()), source("s"), false)));
        assert!(restarting(&unlimited).is_empty());
    }

    #[test]
    fn a_wave_of_one_source_ends_when_all_of_it_are_done() {
        let waves = Waves::new(2);
        let enter = |name: &str| waves.enter(&who(name), source("s"), false);
        assert!(enter("a") && enter("b") && !enter("c"));
        ["a", "b"].iter().for_each(|it| waves.begin(&who(it)));
        waves.leave(&who("a"));
        assert_eq!(waves.called(), []);
        assert!(!enter("c"), "there is a place, and its wave is not over");
        assert!(waves.enter(&who("x"), source("other"), false), "that is no wave of it");
        waves.leave(&who("x"));
        assert!(enter("a"), "one of the wave may restart once more");
        waves.leave(&who("a"));
        waves.leave(&who("b"));
        assert_eq!(waves.called(), [who("c")]);
        assert!(enter("c") && enter("d") && !enter("e"));
    }

    #[test]
    fn whom_somebody_depends_on_is_looked_after() {
        let waves = Waves::new(0);
        assert!(waves.enter(&who("db"), source("s"), true));
        waves.begin(&who("db"));
        waves.wait(&who("api"), &who("db"));
        assert!(waves.is_restarting(&who("db")) && waves.waiting(&who("db")).is_empty());
        assert_eq!(waves.count(), (1, 0));
        waves.leave(&who("db"));
        assert_eq!(waves.waiting(&who("db")), BTreeSet::from([who("api")]));
        assert!(waves.waiting(&who("db")).is_empty());
    }
}
