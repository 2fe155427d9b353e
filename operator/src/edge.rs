//! The clock and the randomness of the system, as the library asks for them.

use leafseal::edge::{Clock, Rng, Timestamp};

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// The system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}
