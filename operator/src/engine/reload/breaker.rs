//! What keeps one source from restarting one workload without end: after too many restarts for it there is only one
//! in a while, and that one brings what the source holds by then.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::lock::lock;
use crate::store::Part;

/// How often each source restarted each workload lately.
#[derive(Debug)]
pub(super) struct Breaker {
    /// 0: as often as it changes.
    limit: usize,
    within: Duration,
    wait: Duration,
    tallies: Mutex<HashMap<Part, Vec<Tally>>>,
}

#[derive(Debug)]
struct Tally {
    source: Part,
    /// When it restarted the workload, the last time last.
    restarts: VecDeque<Instant>,
    /// It restarted it too often, which was said.
    is_open: bool,
}

/// That a workload does not restart now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Held {
    /// For how long.
    pub left: Duration,
    /// The sources of which that is new.
    pub opened: Vec<Part>,
}

impl Breaker {
    /// After `limit` restarts `within` a time for one source, one in `wait`.
    pub(super) fn new(limit: usize, within: Duration, wait: Duration) -> Self {
        Self { limit, within, wait, tallies: Mutex::default() }
    }

    /// `None` if `who` may restart for these sources: if one of them may restart it, that brings what the others hold.
    pub(super) fn hold(&self, who: &Part, sources: &[Part]) -> Option<Held> {
        let mut tallies = lock(&self.tallies);
        let all = tallies.get_mut(who)?;
        let now = Instant::now();
        let (mut left, mut opened) = (Duration::MAX, Vec::new());
        for source in sources {
            let tally = all.iter_mut().find(|it| it.source == *source)?;
            tally.forget_before(now.checked_sub(self.within));
            if tally.restarts.len() < self.limit {
                tally.is_open = false;
                return None;
            }
            let until = *tally.restarts.back()? + self.wait;
            left = left.min(until.saturating_duration_since(now));
            if !std::mem::replace(&mut tally.is_open, true) {
                opened.push(source.clone());
            }
        }
        (!left.is_zero() && !sources.is_empty()).then_some(Held { left, opened })
    }

    /// `who` was restarted for these sources.
    pub(super) fn count(&self, who: &Part, sources: &[Part]) {
        if self.limit == 0 {
            return;
        }
        let mut tallies = lock(&self.tallies);
        let all = tallies.entry(who.clone()).or_default();
        for source in sources {
            let at = all.iter().position(|it| it.source == *source).unwrap_or_else(|| {
                all.push(Tally { source: source.clone(), restarts: VecDeque::new(), is_open: false });
                all.len() - 1
            });
            let restarts = &mut all[at].restarts;
            restarts.push_back(Instant::now());
            if restarts.len() > self.limit {
                restarts.pop_front();
            }
        }
    }

    /// Forgets a workload.
    pub(super) fn forget(&self, who: &Part) {
        lock(&self.tallies).remove(who);
    }

    /// Forgets what was long ago. Returns how many sources restart a workload only once in a while.
    pub(super) fn tidy(&self) -> usize {
        let mut tallies = lock(&self.tallies);
        let since = Instant::now().checked_sub(self.within);
        tallies.retain(|_, all| {
            all.iter_mut().for_each(|it| it.forget_before(since));
            all.retain(|it| !it.restarts.is_empty());
            !all.is_empty()
        });
        tallies.values().flatten().filter(|it| it.is_open && it.restarts.len() >= self.limit).count()
    }
}

impl Tally {
    fn forget_before(&mut self, since: Option<Instant>) {
        while since.is_some_and(|since| self.restarts.front().is_some_and(|it| *it < since)) {
            self.restarts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn part(name: &str) -> Part {
        Part { kind: "Secret", namespace: "apps".to_owned(), name: name.to_owned() }
    }

    async fn after(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_restarts_for_one_source_are_spaced() {
        let breaker = Breaker::new(3, 600 * SECOND, 60 * SECOND);
        let (who, flaps) = (part("web"), [part("flaps")]);
        for _ in 0..3 {
            assert_eq!(breaker.hold(&who, &flaps), None);
            breaker.count(&who, &flaps);
            after(SECOND).await;
        }
        let held = breaker.hold(&who, &flaps).expect("that was too often");
        assert_eq!(held, Held { left: 59 * SECOND, opened: flaps.to_vec() });
        assert_eq!(breaker.hold(&who, &flaps).expect("it still is").opened, []);
        assert_eq!(breaker.tidy(), 1);
        assert_eq!(breaker.hold(&part("other"), &flaps), None, "another workload");
        assert_eq!(breaker.hold(&who, &[part("flaps"), part("rests")]), None, "another reason");
        assert_eq!(breaker.hold(&who, &[]), None, "somebody asks");

        after(59 * SECOND).await;
        assert_eq!(breaker.hold(&who, &flaps), None, "one in a while");
        breaker.count(&who, &flaps);
        assert_eq!(breaker.hold(&who, &flaps).map(|it| it.left), Some(60 * SECOND));

        after(600 * SECOND).await;
        assert_eq!(breaker.hold(&who, &flaps), None);
        after(SECOND).await;
        assert_eq!(breaker.tidy(), 0);
        breaker.count(&who, &flaps);
        breaker.forget(&who);
        assert!(lock(&breaker.tallies).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_is_counted() {
        let breaker = Breaker::new(0, 600 * SECOND, 60 * SECOND);
        (0..100).for_each(|_| breaker.count(&part("web"), &[part("flaps")]));
        assert_eq!(breaker.hold(&part("web"), &[part("flaps")]), None);
        assert_eq!(breaker.tidy(), 0);
    }
}
