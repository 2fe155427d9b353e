//! What is to be done to a target, decided from values alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use leafseal::secret::SecretText;

use crate::digest::{Data, Labels};
use crate::error::Trouble;
use crate::intent::{Intent, Ownership};

pub mod exclusive;
mod shared;

pub use shared::{farewell, is_in_step};

/// What the Secret should hold, before what is there is considered.
#[derive(Clone, Debug, Default, Hash)]
pub struct Desired {
    /// Its own keys.
    pub data: Data,
    /// Its type; without one `Opaque`, or what is there.
    pub kind: Option<String>,
    /// Own labels.
    pub labels: Labels,
    /// Own annotations.
    pub annotations: Labels,
    /// Finalizers that are added where they are missing.
    pub finalizers: Vec<String>,
    /// Vault Secrets: the MAC of the data, which the status remembers.
    pub mac: Option<String>,
}

/// What the stores had for an object.
#[derive(Clone, Debug, Hash)]
pub enum Composed {
    /// This.
    Data(Desired),
    /// Nothing: what happens then is the target's [`WhenMissing`](crate::intent::WhenMissing).
    Nothing,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The target.
    pub target: Option<Secret>,
    /// Other Secrets of the same owner, by name and UID: targets of former times.
    pub former: Vec<(String, String)>,
    /// The MAC that the status remembers; `None` if nothing was ever synced.
    pub mac: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To the target.
    pub action: Action,
    /// Secrets of former times that are deleted, by name and UID.
    pub prune: Vec<(String, String)>,
    /// What the object is told when all of it worked.
    pub verdict: Verdict,
    /// What is told in events when it worked.
    pub notes: Vec<Note>,
    /// Why the workloads restart; `None` if they do not.
    pub restart: Option<Cause>,
}

/// What is done to the target.
#[derive(Clone, Debug)]
pub enum Action {
    /// Nothing: it is as it should be.
    Keep,
    /// It is made.
    Create(Box<Secret>),
    /// It is replaced; holds the `resourceVersion` that was observed.
    Replace(Box<Secret>),
    /// It is deleted if it is still the one that was observed.
    Delete {
        /// Its UID.
        uid: String,
        /// Its `resourceVersion`.
        resource_version: String,
    },
    /// It is deleted and made anew: its type changes.
    Recreate {
        /// The UID of what is deleted.
        uid: String,
        /// What is made.
        secret: Box<Secret>,
    },
}

/// What became of an object that could be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The target is in step.
    Synced,
    /// The stores have nothing and the target stays as it is.
    Retained,
    /// The stores have nothing and the target is gone.
    Deleted,
    /// There is no target, and it is not for us to make it.
    TargetMissing,
    /// The target is immutable and holds something else.
    Immutable,
}

/// One thing that is told in an event on the object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// True if it is a warning.
    pub warning: bool,
    /// The reason: one word.
    pub reason: &'static str,
    /// The text.
    pub text: String,
}

/// Why workloads restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The store has other content.
    Changed,
    /// Somebody changed or deleted the target.
    Repaired,
}

/// Plans what is to be done so that the target holds what `composed` says.
///
/// # Errors
///
/// If the target belongs to somebody else, or cannot be changed as it would have to be.
pub fn plan(intent: &Intent, observed: &Observed, composed: Composed) -> Result<Plan, Trouble> {
    match intent.target.ownership {
        Ownership::Owner | Ownership::Orphan | Ownership::Merge | Ownership::CreateOrMerge | Ownership::Nothing => {
            shared::plan(intent, observed, composed)
        }
        Ownership::Exclusive { overwrite } => exclusive::plan(intent, observed, composed, overwrite),
        Ownership::DataOnly => exclusive::plan_data(intent, observed, composed),
    }
}

/// The data of a Secret as it lies in the cluster.
pub fn data_of(secret: &Secret) -> Data {
    let held: BTreeMap<_, _> = secret.data.clone().unwrap_or_default();
    held.into_iter().map(|(key, value)| (key, SecretText::new(value.0))).collect()
}
