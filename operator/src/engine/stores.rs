//! Stores that are open: each opened once for everybody who may use the same identity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

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
    slots: Mutex<HashMap<StoreRef, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Default)]
struct Slot {
    /// True if what is open belongs to another slot, and is closed with that.
    is_lent: bool,
    state: Option<(Result<Opened, Trouble>, Instant)>,
    made_from: Vec<Part>,
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
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(at.clone()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let opened = match &slot.state {
            Some((Ok(opened), _)) => Ok(opened.clone()),
            Some((Err(trouble), since)) if since.elapsed() < FAILED => Err(trouble.clone()),
            _ => {
                let Attempt { made_from, opened } = open.await;
                slot.is_lent = is_lent;
                slot.made_from = made_from;
                slot.state = Some((opened.clone(), Instant::now()));
                opened
            }
        };
        Attempt { made_from: slot.made_from.clone(), opened }
    }

    /// Forgets the stores that were made from `part`, and gives back their tokens a while later.
    pub async fn changed(&self, part: &Part) {
        let slots: Vec<_> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        for slot in slots {
            let mut slot = slot.lock().await;
            if !slot.made_from.contains(part) {
                continue;
            }
            let is_lent = slot.is_lent;
            if let (Some((Ok(opened), _)), false) = (slot.state.take(), is_lent) {
                tokio::spawn(async move {
                    tokio::time::sleep(GRACE).await;
                    close(&opened).await;
                });
            }
        }
    }

    /// Closes every store: the tokens that were issued for them end.
    pub async fn close(&self) {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        let each = slots.into_values().map(async |slot| {
            let mut slot = slot.lock().await;
            let is_lent = slot.is_lent;
            if let (Some((Ok(opened), _)), false) = (slot.state.take(), is_lent) {
                close(&opened).await;
            }
        });
        futures::future::join_all(each).await;
    }
}

async fn close(opened: &Opened) {
    if let Err(error) = opened.provider.close().await {
        tracing::debug!(provider = opened.provider.name(), %error, "a token could not be given back");
    }
}
