//! How many workloads restart at once, where that is limited: the next one begins when one before it has all its
//! pods again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Api;
use kube::api::DynamicObject;

use super::Reload;
use crate::engine::lock::lock;
use crate::rollout::{Progress, progress};
use crate::store::Part;

/// How often those that restart are looked at.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// Who restarts, and who waits for that.
#[derive(Debug)]
pub(super) struct Waves {
    /// 0: as many as there are.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    restarting: BTreeMap<Part, Stage>,
    line: VecDeque<Part>,
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

    /// True if anybody ever waits.
    pub(super) fn are_limited(&self) -> bool {
        self.most > 0
    }

    /// True if `who` may restart now. Else it stands in line.
    pub(super) fn enter(&self, who: &Part) -> bool {
        if self.most == 0 {
            return true;
        }
        let mut state = lock(&self.state);
        if state.restarting.contains_key(who) {
            return true;
        }
        if state.restarting.len() < self.most {
            state.restarting.insert(who.clone(), Stage::Begins);
            state.line.retain(|it| it != who);
            return true;
        }
        if !state.line.contains(who) {
            state.line.push_back(who.clone());
        }
        false
    }

    /// `who` restarts from now on: what is reported about it counts.
    pub(super) fn begin(&self, who: &Part) {
        if let Some(stage) = lock(&self.state).restarting.get_mut(who) {
            *stage = Stage::Goes;
        }
    }

    /// `who` does not restart any more, or never did.
    pub(super) fn leave(&self, who: &Part) {
        if self.most > 0 {
            let mut state = lock(&self.state);
            state.restarting.remove(who);
            state.line.retain(|it| it != who);
        }
    }

    /// Those that restart.
    fn restarting(&self) -> Vec<Part> {
        let state = lock(&self.state);
        state.restarting.iter().filter(|it| *it.1 != Stage::Begins).map(|it| it.0.clone()).collect()
    }

    /// True once for one that does not come back.
    fn is_news(&self, who: &Part) -> bool {
        lock(&self.state).restarting.get_mut(who).is_some_and(|it| std::mem::replace(it, Stage::Stuck) != Stage::Stuck)
    }

    /// Takes as many out of the line as there is room for.
    fn called(&self) -> Vec<Part> {
        let mut state = lock(&self.state);
        let room = self.most.saturating_sub(state.restarting.len()).min(state.line.len());
        state.line.drain(..room).collect()
    }
}

/// Looks after those that restart, as long as this is polled.
pub(super) async fn look_after(world: Arc<Reload>) {
    loop {
        tokio::time::sleep(LOOKED_AT).await;
        for who in world.waves.restarting() {
            look(&world, &who).await;
        }
        for who in world.waves.called() {
            world.queue.push(who);
        }
    }
}

async fn look(world: &Reload, who: &Part) {
    let Some(entry) = world.index.find(who) else {
        world.waves.leave(who);
        return;
    };
    let consumer = &entry.consumer;
    let api: Api<DynamicObject> = world.context.api_in(Some(&who.namespace), &consumer.kind.resource());
    let held = match api.get_opt(&who.name).await {
        Ok(Some(held)) => serde_json::to_value(held).unwrap_or_default(),
        Ok(None) => {
            world.waves.leave(who);
            return;
        }
        // It is asked again.
        Err(_) => return,
    };
    match progress(consumer.kind, &held) {
        Progress::Done => world.waves.leave(who),
        Progress::Stuck if world.waves.is_news(who) => {
            let text = "its new pods do not become ready: other workloads wait for it (--max-parallel-restarts)";
            super::look::warn(world, consumer, text);
        }
        Progress::Stuck | Progress::Goes => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Part {
        Part { kind: "Deployment", namespace: "apps".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_next_begins_when_one_is_done() {
        let waves = Waves::new(2);
        assert!(waves.enter(&who("a")) && waves.enter(&who("b")) && waves.enter(&who("a")));
        assert!(!waves.enter(&who("c")) && !waves.enter(&who("d")) && !waves.enter(&who("c")));
        assert_eq!(waves.called(), []);
        assert!(waves.restarting().is_empty(), "what is reported about them is from before");
        ["a", "b"].iter().for_each(|it| waves.begin(&who(it)));
        assert!(waves.is_news(&who("a")) && !waves.is_news(&who("a")));
        waves.leave(&who("a"));
        assert_eq!(waves.called(), [who("c")]);
        assert!(waves.enter(&who("c")));
        waves.begin(&who("c"));
        assert_eq!(waves.restarting(), [who("b"), who("c")]);
        waves.leave(&who("d"));
        waves.leave(&who("b"));
        assert_eq!(waves.called(), []);
        let unlimited = Waves::new(0);
        assert!((0..100).all(|it| unlimited.enter(&who(&it.to_string()))));
        assert!(unlimited.restarting().is_empty());
    }
}
