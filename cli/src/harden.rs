//! Keeps what is in memory out of core dumps and away from other processes.

/// Forbids core dumps and attaching. A system that does not allow this is no reason to stop.
#[cfg(target_os = "linux")]
pub(crate) fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Elsewhere only core dumps can be forbidden.
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn harden() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Nothing to be done.
#[cfg(not(unix))]
pub(crate) fn harden() {}
