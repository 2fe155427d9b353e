//! The clock, the randomness and the patience of the system.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use leafseal::edge::{Clock, Deadline, Rng, Timestamp};
use zeroize::{Zeroize as _, Zeroizing};

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// The system's randomness, fetched a page at a time: a file has thousands of nonces.
pub(crate) struct SystemRng {
    buffer: Zeroizing<[u8; 4096]>,
    used: usize,
}

impl SystemRng {
    /// Fetches nothing before it is needed.
    pub(crate) fn new() -> Self {
        Self { buffer: Zeroizing::new([0; 4096]), used: 4096 }
    }
}

impl Rng for SystemRng {
    fn fill(&mut self, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            if self.used == self.buffer.len() {
                getrandom::fill(&mut *self.buffer).expect("the operating system has randomness");
                self.used = 0;
            }
            let fresh = &mut self.buffer[self.used..];
            let n = fresh.len().min(buf.len());
            let (filled, rest) = buf.split_at_mut(n);
            filled.copy_from_slice(&fresh[..n]);
            // What has been handed out is not kept: it may be a key.
            fresh[..n].zeroize();
            self.used += n;
            buf = rest;
        }
    }
}

/// Waits so long for others, and no longer.
pub(crate) struct Patience(pub Duration);

impl Deadline for Patience {
    fn passed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        /// Over, and who wants to know.
        type State = (bool, Option<Waker>);
        let state = Arc::new(Mutex::new(State::default()));
        let (sleeper, duration) = (Arc::clone(&state), self.0);
        thread::spawn(move || {
            thread::sleep(duration);
            let mut state = sleeper.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        Box::pin(std::future::poll_fn(move |cx| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 = Some(cx.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let begun = std::time::Instant::now();
        pollster::block_on(Patience(Duration::from_millis(20)).passed());
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn time_is_spelt_as_sops_spells_it() {
        let now = SystemClock.now();
        assert_eq!(Timestamp::parse(now.as_str()), Some(now));
    }

    #[test]
    fn no_random_byte_is_handed_out_twice() {
        let (mut rng, mut first, mut second) = (SystemRng::new(), [0; 5000], [0; 5000]);
        rng.fill(&mut first);
        rng.fill(&mut second);
        assert!(first[..4096] != second[..4096] && first != [0; 5000]);
    }
}
