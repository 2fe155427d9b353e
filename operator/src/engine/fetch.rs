//! Reads of stores, each shared by all who asked for it before it began.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::lock::lock;

/// How long an answer is kept for those who asked before its reading began: about as long as it takes
/// until their turn comes.
const KEPT: Duration = Duration::from_secs(2);

/// Readings under way, and those that have just ended.
///
/// Who asked at some moment gets an answer whose reading began later: a change that somebody was told
/// of is never missed.
#[derive(Debug)]
pub struct Readings<K, T: Clone> {
    readings: Arc<Mutex<HashMap<K, Reading<T>>>>,
}

#[derive(Debug)]
struct Reading<T: Clone> {
    began: Instant,
    answer: Shared<BoxFuture<'static, T>>,
}

impl<K, T: Clone> Default for Readings<K, T> {
    fn default() -> Self {
        Self { readings: Arc::default() }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + Sync + 'static> Readings<K, T> {
    /// The answer for `key`: that of a reading which began after `asked`, or of `read`.
    ///
    /// A reading goes on when who began it does not wait any more.
    pub async fn read<F>(&self, key: K, asked: Instant, read: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let answer = {
            let mut readings = lock(&self.readings);
            match readings.get(&key) {
                Some(reading) if reading.began >= asked => reading.answer.clone(),
                _ => {
                    let began = Instant::now();
                    let answer = read().boxed().shared();
                    readings.insert(key.clone(), Reading { began, answer: answer.clone() });
                    tokio::spawn(Self::keep(self.readings.clone(), key, began, answer.clone()));
                    answer
                }
            }
        };
        answer.await
    }

    /// Carries a reading through and forgets it a while later.
    async fn keep(
        readings: Arc<Mutex<HashMap<K, Reading<T>>>>,
        key: K,
        began: Instant,
        answer: Shared<BoxFuture<'static, T>>,
    ) {
        // Who waits for it learns of a panic; the next one asks anew.
        let is_done = AssertUnwindSafe(answer).catch_unwind().await.is_ok();
        if is_done {
            tokio::time::sleep(KEPT).await;
        }
        let mut readings = lock(&readings);
        if readings.get(&key).is_some_and(|it| it.began == began) {
            readings.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A store that counts how often it is read and answers after a second.
    #[derive(Default)]
    struct Store(Arc<AtomicUsize>);

    impl Store {
        fn read(&self) -> impl FnOnce() -> BoxFuture<'static, usize> {
            let n_reads = self.0.clone();
            move || {
                async move {
                    let n = n_reads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(SECOND).await;
                    n
                }
                .boxed()
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_asked_before_share() {
        let (readings, store) = (Readings::default(), Store::default());
        let asked = Instant::now();
        let first = readings.read("a", asked, store.read());
        let second = readings.read("a", asked, store.read());
        let other = readings.read("b", asked, store.read());
        assert_eq!(tokio::join!(first, second, other), (0, 0, 1));
        // The answer is still there for who asked before it was read.
        assert_eq!(readings.read("a", asked, store.read()).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_later_gets_a_later_answer() {
        let (readings, store) = (Readings::default(), Store::default());
        let first = readings.read("a", Instant::now(), store.read());
        let later = async {
            tokio::time::sleep(SECOND / 2).await;
            readings.read("a", Instant::now(), store.read()).await
        };
        assert_eq!(tokio::join!(first, later), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_for_long() {
        let (readings, store) = (Readings::default(), Store::default());
        let asked = Instant::now();
        readings.read("a", asked, store.read()).await;
        tokio::time::sleep(KEPT + SECOND).await;
        assert!(readings.readings.lock().is_ok_and(|it| it.is_empty()));
    }
}
