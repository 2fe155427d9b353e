//! Signals that would end the program in the middle of something, held back until it is done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

/// While one lives, interrupt, quit, termination and hang-up are noted instead of obeyed. What they ask
/// for is done when the last one goes.
pub(crate) struct Held(());

struct Watch {
    arrived: [(i32, Arc<AtomicBool>); 4],
    /// True while nobody holds: the signal then does what it always does.
    obey: Arc<AtomicBool>,
    holders: AtomicUsize,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

impl Watch {
    fn start() -> Self {
        let arrived = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].map(|signal| (signal, Arc::new(AtomicBool::new(false))));
        let obey = Arc::new(AtomicBool::new(true));
        for (signal, noted) in &arrived {
            // One that cannot be held back keeps its effect.
            _ = flag::register_conditional_default(*signal, obey.clone());
            _ = flag::register(*signal, noted.clone());
        }
        Self { arrived, obey, holders: AtomicUsize::new(0) }
    }

    fn arrived(&self) -> Option<i32> {
        self.arrived.iter().find(|(_, noted)| noted.load(Ordering::SeqCst)).map(|(signal, _)| *signal)
    }
}

impl Held {
    /// Begins to hold signals back.
    pub(crate) fn new() -> Self {
        let watch = WATCH.get_or_init(Watch::start);
        watch.holders.fetch_add(1, Ordering::SeqCst);
        watch.obey.store(false, Ordering::SeqCst);
        Self(())
    }

    /// The first signal that has arrived.
    pub(crate) fn arrived(&self) -> Option<i32> {
        WATCH.get().and_then(Watch::arrived)
    }

    /// Forgets what has arrived: the caller has done what it asked for.
    pub(crate) fn forget(&self) {
        for (_, noted) in WATCH.get().iter().flat_map(|it| &it.arrived) {
            noted.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let watch = WATCH.get_or_init(Watch::start);
        if watch.holders.fetch_sub(1, Ordering::SeqCst) == 1 {
            watch.obey.store(true, Ordering::SeqCst);
            if let Some(signal) = watch.arrived() {
                _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    }
}

/// Makes a write beyond the file-size limit an error instead of the end of the program.
pub(crate) fn survive_file_size_limit() {
    #[cfg(unix)]
    {
        _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_noted_and_stops_nothing() {
        let held = Held::new();
        signal_hook::low_level::raise(SIGHUP).expect("a process may signal itself");
        assert_eq!(held.arrived(), Some(SIGHUP));
        held.forget();
        assert_eq!(held.arrived(), None);
    }
}
