//! What can go wrong with one object, and when it is tried again.

use std::time::Duration;

/// One object cannot be served. Never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}: {detail}")]
pub struct Trouble {
    /// The reason of the event: one word (`UpdateFailed`, `VaultClientError`).
    pub reason: &'static str,
    /// What the condition says: text that dashboards match on.
    pub message: String,
    /// What exactly happened, for people.
    pub detail: String,
    /// When it is tried again.
    pub retry: Retry,
}

/// When something that failed is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// At once: the world moved meanwhile.
    Now,
    /// After a while that grows with each failure.
    BackOff,
    /// After this long.
    After(Duration),
    /// When the object, its target or what it refers to changes: trying again would change nothing.
    OnChange,
}

/// A write that the API server did not take. Never holds a value.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub struct Refused {
    /// What the API server said.
    pub said: String,
    /// When it is tried again: at once if somebody else was faster, never for what is invalid.
    pub retry: Retry,
    /// True if the operator lacks a right.
    pub is_forbidden: bool,
}

impl Trouble {
    /// Something that is tried again after a growing while.
    pub fn new(reason: &'static str, message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason, message: message.into(), detail: detail.into(), retry: Retry::BackOff }
    }

    /// The same, with the place in the object where it comes from.
    pub fn at(self, place: &str) -> Self {
        Self { detail: format!("error processing {place}, err: {}", self.detail), ..self }
    }

    /// The same, tried again at another time.
    pub fn retried(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}
