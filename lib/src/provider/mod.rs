//! Where secrets are read from besides files: one file for each kind of store.
//!
//! A provider reads whole secrets; which part of one is meant is picked afterwards, by [`Content`],
//! so that one read serves all who ask for parts of the same secret.

mod content;
pub mod fake;
pub mod generator;
pub mod go_json;
pub mod kubernetes;
pub mod sops;
pub mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::pattern::Pattern;

pub use content::{Content, Object, SelectError};

/// Every kind of store that secrets can be read from. A new one is one file here and one line.
pub const PROVIDERS: &[&ProviderKind] = &[&vault::KIND, &kubernetes::KIND, &fake::KIND, &sops::KIND];

/// How objects of a cluster name one kind of store, and what it can do.
#[derive(Debug)]
pub struct ProviderKind {
    /// The entry of `spec.provider` that describes such a store.
    pub field: &'static str,
    /// Other entries that mean the same.
    pub aliases: &'static [&'static str],
    /// The name in metrics.
    pub name: &'static str,
    /// True if secrets of it can be found by name.
    pub finds: bool,
    /// True if it keeps versions of secrets.
    pub has_versions: bool,
}

impl ProviderKind {
    /// The kind that an entry of `spec.provider` describes.
    pub fn of_field(field: &str) -> Option<&'static Self> {
        PROVIDERS.iter().copied().find(|it| it.field == field || it.aliases.contains(&field))
    }
}

/// Who is told of every request to a store, for metrics.
pub trait Observer: Send + Sync {
    /// A request has been answered: which provider, which kind of request (`ReadSecretData`, `Login`),
    /// and whether the answer is of use. A secret that is not there is an answer.
    fn called(&self, provider: &'static str, call: &'static str, is_ok: bool);
}

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

    /// The store answered that there is no such secret.
    pub fn missing() -> Self {
        Self::new(ProviderErrorKind::Missing, "Secret does not exist")
    }

    /// The identity may not do this.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ProviderErrorKind::Denied, message)
    }

    /// The store cannot do what was asked.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ProviderErrorKind::Invalid, message)
    }

    /// The store did not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ProviderErrorKind::Unavailable { retry_after: None }, message)
    }

    /// True if the store had no answer, or none for now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, ProviderErrorKind::Unavailable { .. })
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

impl From<SelectError> for ProviderError {
    fn from(error: SelectError) -> Self {
        let kind = if error.is_missing() { ProviderErrorKind::Missing } else { ProviderErrorKind::Invalid };
        Self::new(kind, error.to_string())
    }
}

/// The pattern of a query's names.
fn name_pattern(query: &Query) -> Result<Option<Pattern>, ProviderError> {
    let pattern = query.name.as_deref().map(Pattern::new).transpose();
    pattern.map_err(|it| ProviderError::invalid(format!("the pattern of names cannot be read: {it}")))
}
