//! Where all who want a workload restarted meet: one patch serves them all.
//!
//! Vault Secrets ask here for restarts of the workloads that they name. Where Reload looks at such a workload
//! too, it is told, and its next patch brings what both want; elsewhere who asks within a moment shares one
//! restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::lock::lock;
use crate::store::Part;

/// How long a restart that nobody else has a hand in waits for others that want the same.
const WINDOW: Duration = Duration::from_millis(250);

/// How long a restart is waited for: then it is asked for again, and whoever waits says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of a restart: why there was none.
pub type Made = Result<(), String>;

/// The restarts of one process. Clones meet at the same place.
#[derive(Clone, Default)]
pub struct Coordinator(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Restarts that are about to be made by who asked. One serves all who ask before it is.
    pending: HashMap<Part, Shared<BoxFuture<'static, Made>>>,
    /// Who looks at workloads, while there is somebody.
    looks: Option<Looks>,
    /// What it has not taken yet.
    asks: HashMap<Part, Vec<Ask>>,
}

/// Says whether a workload will be looked at; if so, it is in a while.
type Looks = Arc<dyn Fn(&Part) -> bool + Send + Sync>;

/// Somebody wants a workload restarted. Dropped without an answer, it is restarted in another way.
#[derive(Debug)]
pub struct Ask {
    /// Who asks, and for what reason: text for people.
    pub why: String,
    answer: oneshot::Sender<Made>,
}

impl Ask {
    /// Tells who asked what became of it.
    pub fn answer(self, made: Made) {
        // Who asked may have lost patience.
        drop(self.answer.send(made));
    }
}

/// Somebody looks at workloads until this is dropped.
#[must_use = "dropping it ends it"]
pub struct Attached(Coordinator);

impl Coordinator {
    /// From now on `looks` is told of workloads that are to be restarted. It says whether it takes care of one;
    /// then it is to [`take`](Self::take) what was asked, and to answer.
    pub fn attach(&self, looks: impl Fn(&Part) -> bool + Send + Sync + 'static) -> Attached {
        lock(&self.0).looks = Some(Arc::new(looks));
        Attached(self.clone())
    }

    /// Who asked for a restart of `workload`, all of whom the next patch serves.
    pub fn take(&self, workload: &Part) -> Vec<Ask> {
        lock(&self.0).asks.remove(workload).unwrap_or_default()
    }

    /// True if somebody asked for a restart of `workload` and nobody has taken that.
    pub fn is_asked(&self, workload: &Part) -> bool {
        lock(&self.0).asks.contains_key(workload)
    }

    /// Puts back what was taken and could not be done yet: whoever looks at `workload` next takes it.
    pub fn put_back(&self, workload: &Part, asks: Vec<Ask>) {
        if asks.is_empty() {
            return;
        }
        let mut state = lock(&self.0);
        // Where nobody looks any more, dropping them is the answer.
        if state.looks.is_some() {
            state.asks.entry(workload.clone()).or_default().extend(asks);
        }
    }

    /// Restarts `workload` for the reason `why`: by who looks at it anyway, or by `alone`.
    ///
    /// # Errors
    ///
    /// Why it was not restarted.
    pub async fn restart<F>(&self, workload: Part, why: String, alone: impl FnOnce() -> F) -> Made
    where
        F: Future<Output = Made> + Send + 'static,
    {
        if let Some(answer) = self.ask(&workload, why) {
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(made)) => return made,
                // Whoever looked at it does not any more.
                Ok(Err(_)) => {}
                Err(_) => return Err("it is being waited for".to_owned()),
            }
        }
        self.join(workload, alone()).await
    }

    /// Asks who looks at `workload`, if anybody does.
    fn ask(&self, workload: &Part, why: String) -> Option<oneshot::Receiver<Made>> {
        let looks = lock(&self.0).looks.clone()?;
        let (answer, answered) = oneshot::channel();
        {
            let mut state = lock(&self.0);
            // First, so that a look that begins at once finds it.
            state.asks.entry(workload.clone()).or_default().push(Ask { why, answer });
        }
        if !looks(workload) {
            lock(&self.0).asks.remove(workload);
            return None;
        }
        Some(answered)
    }

    /// Joins the restart of `workload` that is about to be made, or makes `restart` that one.
    async fn join(&self, workload: Part, restart: impl Future<Output = Made> + Send + 'static) -> Made {
        let pending = {
            let mut state = lock(&self.0);
            let begin = || {
                let (all, workload) = (self.clone(), workload.clone());
                let made = async move {
                    tokio::time::sleep(WINDOW).await;
                    // Who asks from now on may have written something that this one does not bring.
                    lock(&all.0).pending.remove(&workload);
                    restart.await
                };
                made.boxed().shared()
            };
            state.pending.entry(workload.clone()).or_insert_with(begin).clone()
        };
        pending.await
    }
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Coordinator(..)")
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.looks = None;
        // Who waits restarts what it waits for by itself.
        state.asks.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn workload(name: &str) -> Part {
        Part { kind: "Deployment", namespace: "apps".to_owned(), name: name.to_owned() }
    }

    /// Restarts, and how many were made alone.
    #[derive(Clone, Default)]
    struct Tried(Coordinator, Arc<AtomicUsize>);

    impl Tried {
        async fn restart(&self, name: &str) -> Made {
            let n_alone = self.1.clone();
            let alone = || async move {
                n_alone.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            self.0.restart(workload(name), "a test".to_owned(), alone).await
        }

        fn n_alone(&self) -> usize {
            self.1.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_in_time_is_served_by_one_restart() {
        let it = Tried::default();
        let late = async {
            tokio::time::sleep(2 * WINDOW).await;
            it.restart("web").await
        };
        let all = tokio::join!(it.restart("web"), it.restart("web"), it.restart("worker"), late);
        assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
        assert_eq!(it.n_alone(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_at_a_workload_restarts_it_for_all() {
        let it = Tried::default();
        let attached = it.0.attach(|part| part.name == "web");
        let look = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let asks = it.0.take(&workload("web"));
            assert_eq!(asks.len(), 2);
            asks.into_iter().for_each(|ask| ask.answer(Err("it is paused".to_owned())));
        };
        let (a, b, other, ()) = tokio::join!(it.restart("web"), it.restart("web"), it.restart("worker"), look);
        assert_eq!((a, b, other), (Err("it is paused".to_owned()), Err("it is paused".to_owned()), Ok(())));
        assert_eq!(it.n_alone(), 1, "nobody else looks at the worker");
        drop(attached);
        assert_eq!(it.restart("web").await, Ok(()));
        assert_eq!(it.n_alone(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_restart_is_forgotten() {
        let it = Tried::default();
        let attached = it.0.attach(|_| true);
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // It asks for no reload any more.
            drop(it.0.take(&workload("web")));
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(attached);
        };
        let all = tokio::join!(it.restart("web"), it.restart("worker"), ends);
        assert_eq!(all, (Ok(()), Ok(()), ()));
        assert_eq!(it.n_alone(), 2);
        // Who looks, and does nothing.
        let _attached = it.0.attach(|_| true);
        assert!(it.restart("web").await.is_err());
        assert_eq!(it.n_alone(), 2);
    }
}
