//! Stores that are open: each opened once for everybody who may use the same identity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::lock::lock;
use crate::error::Trouble;
use crate::intent::StoreRef;
use crate::store::{Attempt, Opened, Part};

/// How long nobody tries again what did not open, unless something changes that matters to it.
const FAILED: Duration = Duration::from_secs(2);

/// How long those who read go on with a store that was opened anew meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// The stores that are open.
#[derive(Default)]
pub struct OpenStores {
    slots: Mutex<HashMap<StoreRef, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// Held by the one who opens.
    opening: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    state: Option<(Result<Opened, Trouble>, Instant)>,
    made_from: Vec<Part>,
    /// True if what is open belongs to another slot, and is closed with that.
    is_lent: bool,
    /// What changed while the store was being opened: it may have been made from it.
    changed: Option<Vec<Part>>,
}

impl OpenStores {
    /// The store `at`, opened by `open` if it is not open yet. A change of anything that it was made
    /// from is told to [`changed`](Self::changed).
    ///
    /// One that does not open is tried again after a change, or after two seconds.
    pub async fn open(&self, at: &StoreRef, open: impl Future<Output = Attempt>) -> Attempt {
        self.fill(at, false, open).await
    }

    /// As [`open`](Self::open), for a store that `open` took from here itself.
    pub async fn lend(&self, at: &StoreRef, open: impl Future<Output = Attempt>) -> Attempt {
        self.fill(at, true, open).await
    }

    async fn fill(&self, at: &StoreRef, is_lent: bool, open: impl Future<Output = Attempt>) -> Attempt {
        let slot = lock(&self.slots).entry(at.clone()).or_default().clone();
        if let Some(attempt) = lock(&slot.known).attempt() {
            return attempt;
        }
        let _opening = slot.opening.lock().await;
        {
            let mut known = lock(&slot.known);
            if let Some(attempt) = known.attempt() {
                return attempt;
            }
            known.changed = Some(Vec::new());
        }
        let Attempt { made_from, opened } = open.await;
        let mut known = lock(&slot.known);
        let changed = known.changed.take().unwrap_or_default();
        *known = Known { state: None, made_from: made_from.clone(), is_lent, changed: None };
        if changed.iter().any(|it| made_from.contains(it)) {
            // It serves who asked before the change, and nobody after.
            close_later(opened.as_ref().ok().filter(|_| !is_lent));
        } else {
            known.state = Some((opened.clone(), Instant::now()));
        }
        Attempt { made_from, opened }
    }

    /// Forgets the stores that were made from `part`, and gives back their tokens a while later.
    pub fn changed(&self, part: &Part) {
        for slot in lock(&self.slots).values() {
            let mut known = lock(&slot.known);
            if let Some(changed) = &mut known.changed {
                changed.push(part.clone());
            }
            if known.made_from.contains(part) {
                close_later(known.take().as_ref());
            }
        }
    }

    /// Closes every store: the tokens that were issued for them end.
    pub async fn close(&self) {
        let slots = std::mem::take(&mut *lock(&self.slots));
        let open: Vec<_> = slots.values().filter_map(|slot| lock(&slot.known).take()).collect();
        futures::future::join_all(open.iter().map(close)).await;
    }
}

impl Known {
    /// What became of opening, as long as that counts.
    fn attempt(&self) -> Option<Attempt> {
        let opened = match self.state.as_ref()? {
            (Ok(opened), _) => Ok(opened.clone()),
            (Err(trouble), since) if since.elapsed() < FAILED => Err(trouble.clone()),
            _ => return None,
        };
        Some(Attempt { made_from: self.made_from.clone(), opened })
    }

    /// Forgets what is open, and returns it if it is to be closed.
    fn take(&mut self) -> Option<Opened> {
        let opened = self.state.take()?.0.ok()?;
        (!self.is_lent).then_some(opened)
    }
}

fn close_later(opened: Option<&Opened>) {
    if let Some(opened) = opened.cloned() {
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            close(&opened).await;
        });
    }
}

async fn close(opened: &Opened) {
    if let Err(error) = opened.provider.close().await {
        tracing::debug!(provider = opened.provider.name(), %error, "a token could not be given back");
    }
}
