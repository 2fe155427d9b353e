//! What is to be looked at, and when: every key once, never by two at a time.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock::lock;

/// A queue of keys, each due at a time of its own.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// A key whose time has come. It is not given out again until it is [`done`](Queue::done).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job<K> {
    /// The key.
    pub key: K,
    /// When it was last asked for: what was read before that may be out of date.
    pub asked: Instant,
    /// True if nobody asked for more than a [glance](Queue::glance).
    pub is_glance: bool,
    /// When it was due, had nobody asked for a glance.
    pub otherwise: Option<Instant>,
}

#[derive(Debug)]
struct State<K> {
    /// By time, then in the order of asking.
    due: BTreeMap<(Instant, u64), K>,
    entries: HashMap<K, Entry>,
    n_asked: u64,
}

#[derive(Debug)]
struct Entry {
    /// Where the key stands in `due`, if it waits.
    at: Option<(Instant, u64)>,
    asked: Instant,
    is_running: bool,
    is_glance: bool,
    otherwise: Option<Instant>,
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { due: BTreeMap::new(), entries: HashMap::new(), n_asked: 0 }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Asks for `key` as soon as possible.
    pub fn push(&self, key: K) {
        self.push_after(key, Duration::ZERO);
    }

    /// Asks for `key` in a while, if it is not due earlier.
    pub fn push_after(&self, key: K, wait: Duration) {
        let now = Instant::now();
        self.state().ask(key, now, now + wait, false);
        self.changed.notify_one();
    }

    /// Asks for a glance at `key` as soon as possible: something was touched that it may have touched itself.
    /// If that is all there was, whoever gets the job goes on waiting until it is due [otherwise](Job::otherwise).
    pub fn glance(&self, key: K) {
        let now = Instant::now();
        self.state().ask(key, now, now, true);
        self.changed.notify_one();
    }

    /// Waits for the key that is due next.
    pub async fn next(&self) -> Job<K> {
        loop {
            let changed = self.changed.notified();
            let earliest = {
                let mut state = self.state();
                match state.take(Instant::now()) {
                    Ok(job) => {
                        // Whoever else waits looks for what is due after this one.
                        self.changed.notify_one();
                        return job;
                    }
                    Err(earliest) => earliest,
                }
            };
            match earliest {
                Some(at) => _ = tokio::time::timeout_at(at, changed).await,
                None => changed.await,
            }
        }
    }

    /// Gives a key back. It is due again after `again`, or at once if it was asked for meanwhile.
    pub fn done(&self, key: &K, again: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state();
        let was_asked = match state.entries.get_mut(key) {
            Some(entry) => {
                entry.is_running = false;
                entry.otherwise = again.map(|wait| now + wait).filter(|_| entry.is_glance);
                entry.at
            }
            None => None,
        };
        match (was_asked, again) {
            (Some(at), _) => {
                state.due.insert(at, key.clone());
            }
            (None, Some(wait)) => state.ask(key.clone(), now, now + wait, false),
            (None, None) => _ = state.entries.remove(key),
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets that `key` was asked for.
    pub fn forget(&self, key: &K) {
        let mut state = self.state();
        if let Some(at) = state.entries.get_mut(key).and_then(|it| it.at.take()) {
            state.due.remove(&at);
        }
        if state.entries.get(key).is_some_and(|it| !it.is_running) {
            state.entries.remove(key);
        }
    }

    /// How many keys are due and wait, and for how long the first of them.
    pub fn overdue(&self) -> (usize, Duration) {
        let now = Instant::now();
        let state = self.state();
        let waiting = state.due.range(..(now, u64::MAX));
        let first = waiting.clone().next().map_or(Duration::ZERO, |((at, _), _)| now - *at);
        (waiting.count(), first)
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        lock(&self.state)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn ask(&mut self, key: K, now: Instant, at: Instant, is_glance: bool) {
        self.n_asked += 1;
        let place = (at, self.n_asked);
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            at: None,
            asked: now,
            is_running: false,
            is_glance,
            otherwise: None,
        });
        if at <= now {
            entry.asked = now;
        }
        match entry.at {
            Some(earlier) if earlier <= place => {
                // Whoever looks in earnest says anew when it is due.
                entry.is_glance &= is_glance || at > now;
                return;
            }
            Some(later) => {
                self.due.remove(&later);
                entry.otherwise = Some(later.0).filter(|_| is_glance);
            }
            None => {}
        }
        entry.is_glance = is_glance;
        entry.at = Some(place);
        // What runs is put in line when it is done.
        if !entry.is_running {
            self.due.insert(place, key);
        }
    }

    /// The key that is due, or when the next one is.
    fn take(&mut self, now: Instant) -> Result<Job<K>, Option<Instant>> {
        match self.due.first_entry() {
            Some(first) if first.key().0 <= now => {
                let at = first.key().0;
                let key = first.remove();
                let entry = self.entries.get_mut(&key).expect("every key that waits has an entry");
                entry.at = None;
                entry.is_running = true;
                // A timer asks when it runs out.
                let asked = entry.asked.max(at);
                let (is_glance, otherwise) = (entry.is_glance, entry.otherwise.take());
                Ok(Job { key, asked, is_glance, otherwise })
            }
            Some(first) => Err(Some(first.key().0)),
            None => Err(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn next(queue: &Queue<&'static str>) -> Option<&'static str> {
        tokio::time::timeout(Duration::from_millis(1), queue.next()).await.ok().map(|it| it.key)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_once_and_in_order() {
        let queue = Queue::default();
        queue.push("a");
        queue.push("b");
        queue.push("a");
        assert_eq!(next(&queue).await, Some("a"));
        assert_eq!(next(&queue).await, Some("b"));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_waits_until_it_is_done() {
        let queue = Queue::default();
        queue.push("a");
        let job = queue.next().await;
        queue.push("a");
        assert_eq!(next(&queue).await, None);
        queue.done(&job.key, Some(60 * SECOND));
        let again = queue.next().await;
        assert!(again.asked >= job.asked);
        queue.done(&again.key, None);
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_time_counts() {
        let queue = Queue::default();
        queue.push_after("a", 60 * SECOND);
        queue.push_after("a", SECOND);
        queue.push_after("a", 30 * SECOND);
        let begun = Instant::now();
        let job = queue.next().await;
        assert_eq!(begun.elapsed().as_secs(), 1);
        assert!(job.asked >= begun + SECOND, "a timer asks when it runs out");
        queue.done(&"a", None);
        queue.push_after("b", 5 * SECOND);
        queue.forget(&"b");
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_glance_moves_nothing() {
        let queue = Queue::default();
        let begun = Instant::now();
        queue.push_after("a", 60 * SECOND);
        queue.glance("a");
        let job = queue.next().await;
        assert_eq!((job.is_glance, job.otherwise), (true, Some(begun + 60 * SECOND)));
        // Asked for while it runs; it says when it is due.
        queue.glance("a");
        queue.done(&"a", Some(30 * SECOND));
        let job = queue.next().await;
        assert_eq!((job.is_glance, job.otherwise), (true, Some(begun + 30 * SECOND)));
        queue.done(&"a", None);
        // Somebody asks for more, before or after.
        for asks in [[true, false], [false, true]] {
            asks.into_iter().for_each(|it| if it { queue.glance("a") } else { queue.push("a") });
            assert!(!queue.next().await.is_glance, "{asks:?}");
            queue.done(&"a", None);
        }
        // A timer that runs out asks for all of it.
        queue.push_after("a", SECOND);
        assert!(!queue.next().await.is_glance);
    }

    #[tokio::test(start_paused = true)]
    async fn the_overdue_are_counted() {
        let queue = Queue::default();
        queue.push("a");
        queue.push("b");
        queue.push_after("c", 60 * SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(queue.overdue(), (2, SECOND));
    }

    #[tokio::test]
    async fn many_workers_share_it() {
        let queue = std::sync::Arc::new(Queue::default());
        for n in 0..1000 {
            queue.push(n);
        }
        let workers = (0..8).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut n_done = 0;
                while let Ok(job) = tokio::time::timeout(Duration::from_millis(200), queue.next()).await {
                    tokio::task::yield_now().await;
                    queue.done(&job.key, None);
                    n_done += 1;
                }
                n_done
            })
        });
        let done: Vec<usize> = futures::future::try_join_all(workers).await.expect("no worker panics");
        assert_eq!(done.iter().sum::<usize>(), 1000);
    }
}
