//! The wish to stop, as everything that runs hears it.

use tokio::sync::watch;

/// Asks for the end. Dropping it asks too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears that the end was asked for.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// One who asks, one who hears; the latter can be cloned.
pub fn pair() -> (Stopper, Stop) {
    let (asks, hears) = watch::channel(false);
    (Stopper(asks), Stop(hears))
}

impl Stopper {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// True once the end was asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the end is asked for. May be dropped and called again.
    pub async fn asked(&self) {
        // An error means that nobody is left who could ask: that is an end as well.
        drop(self.0.clone().wait_for(|it| *it).await);
    }
}
