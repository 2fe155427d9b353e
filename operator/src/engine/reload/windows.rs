//! How long changes of what a workload uses are waited for, so that all of them are one rollout.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::lock::lock;
use crate::store::Part;

/// The windows that are open: each ends when nothing happened for a while, and at a limit whatever happens.
#[derive(Debug)]
pub(super) struct Windows {
    quiet: Duration,
    limit: Duration,
    open: Mutex<HashMap<Part, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    first: Instant,
    last: Instant,
}

impl Windows {
    /// Windows that end after `quiet` without a change, at the latest after `limit`.
    pub(super) fn new(quiet: Duration, limit: Duration) -> Self {
        Self { quiet, limit: limit.max(quiet), open: Mutex::default() }
    }

    /// Something happened that concerns `who`. Returns when its window may end.
    pub(super) fn touch(&self, who: &Part) -> Duration {
        let now = Instant::now();
        let mut open = lock(&self.open);
        let window = open.entry(who.clone()).or_insert(Window { first: now, last: now });
        window.last = now;
        self.end(*window).saturating_duration_since(now)
    }

    /// How much longer `who` waits; `None` if it need not. Then its window is closed.
    pub(super) fn left(&self, who: &Part) -> Option<Duration> {
        let mut open = lock(&self.open);
        let left = self.end(*open.get(who)?).saturating_duration_since(Instant::now());
        if left.is_zero() {
            open.remove(who);
            return None;
        }
        Some(left)
    }

    /// Forgets `who`.
    pub(super) fn close(&self, who: &Part) {
        lock(&self.open).remove(who);
    }

    fn end(&self, Window { first, last }: Window) -> Instant {
        (last + self.quiet).min(first + self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn who() -> Part {
        Part { kind: "Deployment", namespace: "apps".to_owned(), name: "web".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_ends_when_it_is_quiet() {
        let windows = Windows::new(2 * SECOND, 60 * SECOND);
        assert_eq!(windows.left(&who()), None);
        assert_eq!(windows.touch(&who()), 2 * SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(windows.left(&who()), Some(SECOND));
        assert_eq!(windows.touch(&who()), 2 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(windows.left(&who()), None);
        assert_eq!(windows.touch(&who()), 2 * SECOND, "the next one");
        windows.close(&who());
        assert_eq!(windows.left(&who()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_rests_is_served_at_the_limit() {
        let windows = Windows::new(2 * SECOND, 60 * SECOND);
        for _ in 0..59 {
            windows.touch(&who());
            tokio::time::advance(SECOND).await;
            assert!(windows.left(&who()).is_some());
        }
        assert_eq!(windows.touch(&who()), SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(windows.left(&who()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_nothing_waits() {
        let windows = Windows::new(Duration::ZERO, 60 * SECOND);
        assert_eq!(windows.touch(&who()), Duration::ZERO);
        assert_eq!(windows.left(&who()), None);
    }
}
