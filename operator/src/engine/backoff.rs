//! How long what failed waits: longer with each failure, never in step with others.

use std::time::Duration;

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackOff {
    /// The first wait.
    pub first: Duration,
    /// What each wait is to the one before.
    pub factor: f64,
    /// The longest wait.
    pub longest: Duration,
}

impl BackOff {
    /// The wait after `n_failures` in a row, `chance` (0 to 1) between half of it and all of it.
    pub fn wait(&self, n_failures: u32, chance: f64) -> Duration {
        let exponent = f64::from(n_failures.saturating_sub(1).min(64));
        let whole = (self.first.as_secs_f64() * self.factor.powf(exponent)).min(self.longest.as_secs_f64());
        Duration::from_secs_f64(whole * (0.5 + chance.clamp(0.0, 1.0) / 2.0))
    }
}

/// A number between 0 and 1, another one each time.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without chance all wait equally long, which is still right.
    _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// `wait`, and up to a twentieth more: refreshes that fell due in the same moment drift apart, and none
/// comes early.
pub fn late(wait: Duration, chance: f64) -> Duration {
    wait + wait.mul_f64(chance.clamp(0.0, 1.0) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let backoff = BackOff { first: Duration::from_secs(1), factor: 2.0, longest: Duration::from_secs(60) };
        for (n_failures, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (7, 60), (1_000_000, 60)] {
            assert_eq!(backoff.wait(n_failures, 1.0), Duration::from_secs(seconds), "{n_failures}");
            assert_eq!(backoff.wait(n_failures, 0.0), Duration::from_secs(seconds) / 2, "{n_failures}");
        }
    }

    #[test]
    fn refreshes_come_late_and_never_early() {
        let hour = Duration::from_secs(3600);
        assert_eq!(late(hour, 0.0), hour);
        assert_eq!(late(hour, 1.0), hour + Duration::from_secs(180));
        assert!((0.0..=1.0).contains(&chance()));
    }
}
