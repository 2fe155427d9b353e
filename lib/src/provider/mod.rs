//! Where secrets are read from besides files: one file for each kind of store.
//!
//! A provider reads whole secrets; which part of one is meant is picked afterwards, by [`Content`],
//! so that one read serves all who ask for parts of the same secret.

mod content;
pub mod fake;
pub mod go_json;
pub mod kubernetes;
pub mod sops;
pub mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use content::{Content, SelectError};

/// What a provider answers, in time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// Names one secret in a store.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address {
    /// The store's own name for it: a path in Vault, a Secret's name in a cluster.
    pub key: String,
    /// Which version; without one, the newest.
    pub version: Option<String>,
    /// True if what is told about the secret is wanted instead of the secret.
    pub metadata: bool,
}

/// Describes the secrets of a store that are wanted.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Query {
    /// Only below this path.
    pub path: Option<String>,
    /// Only those whose full name matches this pattern somewhere (RE2).
    pub name: Option<String>,
    /// Only those that carry all of these.
    pub tags: BTreeMap<String, String>,
}

/// What is known about a store after asking it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// It can be used.
    Ready,
    /// Whether it can be used shows only when it is used.
    Unknown,
}

/// Something that secrets can be read from, with one identity.
///
/// Implementations share logins and connections between calls and may be used by many at once.
pub trait SecretProvider: Send + Sync {
    /// The name that metrics and errors use (`HashiCorp/Vault`).
    fn name(&self) -> &'static str;

    /// Reads one whole secret.
    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content>;

    /// Reads all secrets that fit, by their full names, in the order of these.
    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>>;

    /// Asks whether the store would answer.
    fn check(&self) -> Answer<'_, Validity>;

    /// Gives back what was borrowed: tokens that were issued for this provider end.
    fn close(&self) -> Answer<'_, ()>;
}

/// Why a provider has no answer. Never holds a secret.
#[derive(Clone, Debug)]
pub struct ProviderError {
    /// What happened, in the terms that a caller acts on.
    pub kind: ProviderErrorKind,
    /// What happened, for people: one clause, lower case.
    pub message: String,
}

/// What a caller does differently for different failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProviderErrorKind {
    /// The store answered that there is no such secret: never existed, deleted, destroyed.
    Missing,
    /// The identity may not do this.
    Denied,
    /// The store cannot do what was asked, or the request makes no sense.
    Invalid,
    /// The store did not answer, not in time, not now, or nonsense.
    Unavailable {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
}

impl ProviderError {
    /// An error of a kind, said in `message`.
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// True if the store said that there is no such secret.
    pub fn is_missing(&self) -> bool {
        self.kind == ProviderErrorKind::Missing
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProviderError {}
