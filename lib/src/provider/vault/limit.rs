//! How many requests one server is asked at once: fewer when it says that it is too many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How many requests are under way at most.
const MOST: usize = 64;

/// How long after it was lowered a limit is not lowered again: what comes back meanwhile was asked
/// under the old one.
const SETTLING: Duration = Duration::from_secs(1);

/// The limit of one server: halved when it is overloaded, raised by one when as many answers as the
/// limit were fine.
#[derive(Debug)]
pub(super) struct Limit {
    slots: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    now: usize,
    /// Slots that are taken and will not be given back.
    owed: usize,
    /// Good answers since the last change.
    calm: usize,
    lowered: Option<Instant>,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    limit: &'a Limit,
    permit: Option<SemaphorePermit<'a>>,
}

impl Limit {
    /// The limit of the server at `address`. One server has one limit, however many stores name it.
    pub(super) fn of(address: &str) -> Arc<Self> {
        static SERVERS: OnceLock<Mutex<BTreeMap<String, Weak<Limit>>>> = OnceLock::new();
        let servers = SERVERS.get_or_init(Mutex::default);
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = servers.get(address).and_then(Weak::upgrade) {
            return limit;
        }
        servers.retain(|_, it| it.strong_count() > 0);
        let limit = Arc::new(Self::new());
        servers.insert(address.to_owned(), Arc::downgrade(&limit));
        limit
    }

    fn new() -> Self {
        let size = Size { now: MOST, owed: 0, calm: 0, lowered: None };
        Self { slots: Semaphore::new(MOST), size: Mutex::new(size) }
    }

    /// Waits until one more request may be made.
    pub(super) async fn slot(&self) -> Slot<'_> {
        let permit = self.slots.acquire().await.expect("nobody closes the slots");
        Slot { limit: self, permit: Some(permit) }
    }

    fn settle(&self, permit: SemaphorePermit<'_>, is_overloaded: Option<bool>) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        match is_overloaded {
            Some(true) if size.lowered.is_none_or(|it| it.elapsed() >= SETTLING) => {
                let lower = (size.now / 2).max(1);
                size.owed += size.now - lower;
                *size = Size { now: lower, calm: 0, lowered: Some(Instant::now()), ..*size };
            }
            Some(false) if size.now < MOST => {
                size.calm += 1;
                if size.calm >= size.now {
                    size.now += 1;
                    size.calm = 0;
                    match size.owed {
                        0 => self.slots.add_permits(1),
                        _ => size.owed -= 1,
                    }
                }
            }
            _ => (),
        }
        match size.owed {
            0 => drop(permit),
            _ => {
                permit.forget();
                size.owed -= 1;
                size.owed -= self.slots.forget_permits(size.owed);
            }
        }
    }
}

impl Slot<'_> {
    /// The request has been answered; the answer may be that the server is overloaded.
    pub(super) fn answered(mut self, is_overloaded: bool) {
        self.end(Some(is_overloaded));
    }

    fn end(&mut self, is_overloaded: Option<bool>) {
        if let Some(permit) = self.permit.take() {
            self.limit.settle(permit, is_overloaded);
        }
    }
}

impl Drop for Slot<'_> {
    /// A request that nobody waited for, or that was not answered, says nothing about the server.
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_falls_fast_and_rises_slowly() {
        let limit = Limit::new();
        let size = |limit: &Limit| limit.size.lock().expect("nobody panicked").now;
        let mut slots = Vec::new();
        for _ in 0..MOST {
            slots.push(limit.slot().await);
        }
        for slot in slots.drain(..) {
            slot.answered(true);
        }
        assert_eq!((size(&limit), limit.slots.available_permits()), (MOST / 2, MOST / 2), "once for one burst");
        for n in 2..=20 {
            tokio::time::advance(SETTLING).await;
            limit.slot().await.answered(true);
            let expected = (MOST >> n).max(1);
            assert_eq!((size(&limit), limit.slots.available_permits()), (expected, expected));
        }
        drop(limit.slot().await);
        assert_eq!(limit.slots.available_permits(), 1);
        for _ in 0..MOST * MOST {
            limit.slot().await.answered(false);
        }
        assert_eq!((size(&limit), limit.slots.available_permits()), (MOST, MOST));
    }

    #[test]
    fn a_server_has_one_limit() {
        let (one, same, other) = (Limit::of("http://one"), Limit::of("http://one"), Limit::of("http://other"));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    }
}
