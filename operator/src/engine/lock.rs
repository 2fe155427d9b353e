//! Locks that a panic elsewhere leaves usable: what they guard is never left halfway.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for a lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
