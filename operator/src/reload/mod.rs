//! Which workloads are reloaded when a Secret or a ConfigMap changes, and how (Reloader, spec part B). Pure:
//! what was seen goes in, what is to be changed comes out.
//!
//! ```text
//! Held ─▶ Consumer ──┐
//!                    ├─▶ judge ─▶ Verdict ─▶ roll ─▶ Change
//! Content, Marks ────┘
//! ```

mod annotations;
mod consumer;
mod content;
mod holding;
mod judge;
mod memory;
mod mounted;
mod order;
mod pause;
mod pods;
mod roll;

pub use annotations::{Keys, Marks};
pub use consumer::{By, Consumer, Held, Hit, No};
pub use content::{Content, Key};
pub use holding::{Holding, digest_of};
pub use judge::{Cause, Seen, Verdict, judge};
pub use memory::{CONSUMED, Memory};
pub use mounted::{Mount, PodStatus};
pub use order::{DEPENDS_ON, Neighbour, Order};
pub use pause::Resume;
pub use roll::{Change, LAST_RELOADED_FROM, Roll, marker_name, roll};

/// What workloads take values from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// A SecretProviderClass of the CSI driver for secrets.
    SecretProviderClass,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ConfigMap, Self::Secret, Self::SecretProviderClass];

    /// Its kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::SecretProviderClass => "SecretProviderClass",
        }
    }

    /// What markers, events and alerts call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "CONFIGMAP",
            Self::Secret => "SECRET",
            Self::SecretProviderClass => "SECRETPROVIDERCLASS",
        }
    }
}

/// How a reload shows on the pods' template.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strategy {
    /// An environment variable for each source.
    #[default]
    EnvVars,
    /// One annotation that names the last source.
    Annotations,
}

/// What a marker is made of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Marker {
    /// The SHA-1 of the content, as the original writes it.
    #[default]
    Sha1,
    /// The digest with the operator's own key: it tells nobody anything about the content.
    Keyed,
}

/// What holds for every workload.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What annotations are called.
    pub keys: Keys,
    /// Workloads that say nothing reload for all that they refer to.
    pub auto_all: bool,
    /// Kinds of workloads that are left alone: `Job`, `CronJob`.
    pub ignored_kinds: Vec<&'static str>,
    /// Sources that nobody reloads for.
    pub ignored_sources: Vec<Source>,
    /// How a reload shows.
    pub strategy: Strategy,
    /// What markers are made of.
    pub marker: Marker,
    /// A source that comes reloads workloads that never saw it.
    pub on_create: bool,
    /// A source that goes reloads workloads that saw it.
    pub on_delete: bool,
    /// Sources that are there at the start have just come.
    pub sync_after_restart: bool,
}

impl Rules {
    /// True if sources of this sort are followed at all.
    pub fn follows(&self, source: Source) -> bool {
        !self.ignored_sources.contains(&source)
    }
}

#[cfg(test)]
mod tests;
