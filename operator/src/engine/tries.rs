//! What could not be done at once, and how long it waits.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::backoff::{BackOff, chance};
use super::lock::lock;
use crate::store::Part;

/// How long who lost a race to write waits: a moment, and longer if that goes on.
const RACE: BackOff = BackOff { first: Duration::from_millis(20), factor: 2.0, longest: Duration::from_secs(1) };

/// How many races in a row are lost before that is a failure like any other: by then the last wait was as long
/// as it gets.
const MOST_RACES: u32 = 8;

/// How often objects failed in a row.
#[derive(Debug, Default)]
pub struct Tries {
    failures: Mutex<HashMap<Part, u32>>,
    /// How often somebody else was faster to write what an object writes.
    races: Mutex<HashMap<Part, u32>>,
}

impl Tries {
    /// Remembers that `who` was served.
    pub fn worked(&self, who: &Part) {
        lock(&self.failures).remove(who);
        lock(&self.races).remove(who);
    }

    /// Remembers that `who` could not be served. Returns how long it waits.
    pub fn failed(&self, who: &Part, backoff: BackOff) -> Duration {
        let mut failures = lock(&self.failures);
        let n_failures = failures.entry(who.clone()).or_default();
        *n_failures += 1;
        backoff.wait(*n_failures, chance())
    }

    /// True if `who` could not be served when it was last tried.
    pub fn has_failed(&self, who: &Part) -> bool {
        lock(&self.failures).contains_key(who)
    }

    /// Remembers that somebody else was faster than `who`. Returns how long it waits, longer each time; `None`
    /// if that has been so often that it is a failure.
    pub fn outrun(&self, who: &Part) -> Option<Duration> {
        let mut races = lock(&self.races);
        let n_races = races.entry(who.clone()).or_default();
        *n_races += 1;
        if *n_races > MOST_RACES {
            races.remove(who);
            return None;
        }
        Some(RACE.wait(*n_races, chance()))
    }
}
