//! How many objects are worked on at once, and how many of them wait for one store.
//!
//! Who waits for a store lends its turn to others: a store that does not answer holds up nobody who does
//! not read from it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock::lock;
use crate::stop::Stop;
use crate::store::Part;

/// The turns of one engine.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    stop: Stop,
}

/// The right to work on an object now.
#[derive(Debug)]
pub struct Turn {
    free: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    stop: Stop,
}

impl Turns {
    /// `n` turns, until `stop` is asked.
    pub fn new(n: usize, stop: Stop) -> Self {
        Self { free: Arc::new(Semaphore::new(n)), stop }
    }

    /// Waits for a turn; `None` when the end was asked for.
    pub async fn take(&self) -> Option<Turn> {
        let held = tokio::select! {
            biased;
            () = self.stop.asked() => return None,
            held = self.free.clone().acquire_owned() => held.expect("nobody closes the turns"),
        };
        Some(Turn { free: self.free.clone(), held: Some(held), stop: self.stop.clone() })
    }
}

impl Turn {
    /// Waits for something that others answer, while somebody else has the turn; `None` when the end was
    /// asked for. Nothing may be under way that must not be left halfway.
    pub async fn lend<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        drop(self.held.take());
        let free = self.free.clone();
        let waited = async {
            let answer = wait.await;
            (answer, free.acquire_owned().await)
        };
        let (answer, held) = tokio::select! {
            biased;
            () = self.stop.asked() => return None,
            waited = waited => waited,
        };
        self.held = Some(held.expect("nobody closes the turns"));
        Some(answer)
    }

    /// As [`lend`](Self::lend), for what must not be left halfway: it is waited for to the end.
    pub async fn lend_to_the_end<T>(&mut self, wait: impl Future<Output = T>) -> T {
        drop(self.held.take());
        let answer = wait.await;
        let held = self.free.clone().acquire_owned().await;
        self.held = Some(held.expect("nobody closes the turns"));
        answer
    }
}

/// How many objects wait for each store. Those that would be too many stand in line.
#[derive(Debug)]
pub struct Lanes {
    most: usize,
    lanes: Mutex<HashMap<Part, Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    n_waiting: usize,
    line: VecDeque<Part>,
}

/// A place among those who wait for some stores, which dropping it gives to others.
#[derive(Debug)]
pub struct Places<'a> {
    lanes: &'a Lanes,
    stores: Vec<Part>,
}

impl Lanes {
    /// At most `most` objects wait for one store.
    pub fn new(most: usize) -> Self {
        Self { most, lanes: Mutex::default() }
    }

    /// A place for `who` among those who wait for `stores`. Without one, `who` stands in line until it is
    /// [called](Self::called).
    pub fn enter(&self, who: &Part, mut stores: Vec<Part>) -> Option<Places<'_>> {
        stores.sort();
        stores.dedup();
        let mut lanes = self.lanes();
        let full = stores.iter().find(|it| lanes.get(it).is_some_and(|it| it.n_waiting >= self.most));
        if let Some(full) = full {
            lanes.entry(full.clone()).or_default().line.push_back(who.clone());
            return None;
        }
        for store in &stores {
            lanes.entry(store.clone()).or_default().n_waiting += 1;
        }
        Some(Places { lanes: self, stores })
    }

    /// Calls those who stand in line where there is room again.
    pub fn called(&self) -> Vec<Part> {
        let mut called = Vec::new();
        self.lanes().retain(|_, lane| {
            let room = self.most.saturating_sub(lane.n_waiting).min(lane.line.len());
            called.extend(lane.line.drain(..room));
            lane.n_waiting > 0 || !lane.line.is_empty()
        });
        called
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Part, Lane>> {
        lock(&self.lanes)
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lanes();
        for store in &self.stores {
            if let Some(lane) = lanes.get_mut(store) {
                lane.n_waiting -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stop;

    fn part(kind: &'static str, name: &str) -> Part {
        Part { kind, namespace: "apps".to_owned(), name: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_waits_is_anothers() {
        let (stopper, stop) = stop::pair();
        let turns = Turns::new(1, stop);
        let mut first = turns.take().await.expect("nobody stops");
        let waits = tokio::spawn(async move { first.lend(tokio::time::sleep(Duration::from_secs(60))).await });
        let second = tokio::time::timeout(Duration::from_secs(1), turns.take()).await;
        let mut second = second.expect("it was lent").expect("nobody stops");
        assert!(tokio::time::timeout(Duration::from_secs(600), turns.take()).await.is_err(), "there is only one");
        assert!(!waits.is_finished(), "the answer is there, and the turn is not");
        assert_eq!(second.lend(std::future::ready(7)).await, Some(7));
        drop(second);
        assert_eq!(waits.await.expect("it ends"), Some(()));
        let mut second = turns.take().await.expect("nobody stops");
        assert_eq!(second.lend_to_the_end(std::future::ready(7)).await, 7);

        let waits = tokio::spawn(async move { second.lend(std::future::pending::<()>()).await });
        stopper.stop();
        assert_eq!(waits.await.expect("it ends"), None);
        assert!(turns.take().await.is_none());
    }

    #[test]
    fn a_store_has_so_many_who_wait() {
        let lanes = Lanes::new(2);
        let (a, b) = (part("SecretStore", "a"), part("SecretStore", "b"));
        let who = |name| part("ExternalSecret", name);
        let first = lanes.enter(&who("1"), vec![a.clone(), a.clone()]);
        let second = lanes.enter(&who("2"), vec![a.clone(), b.clone()]);
        assert!(first.is_some() && second.is_some());
        assert!(lanes.enter(&who("3"), vec![a.clone()]).is_none());
        assert!(lanes.enter(&who("4"), vec![b.clone(), a.clone()]).is_none());
        let other = lanes.enter(&who("5"), vec![b]);
        assert!(other.is_some(), "another store");
        assert!(lanes.called().is_empty());
        drop(first);
        assert_eq!(lanes.called(), [who("3")]);
        drop((second, other));
        assert_eq!(lanes.called(), [who("4")]);
        assert!(lanes.lanes().is_empty(), "nothing is kept of who does not wait");
    }
}
