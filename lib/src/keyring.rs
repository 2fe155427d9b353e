//! The key services at hand, and the two awaits of the whole library.

use crate::keyservice::{KeyError, KeyService};
use crate::metadata::{KeyGroup, MasterKey, Metadata};
use crate::secret::DataKey;

/// The key services that may be asked, in the order in which they are asked.
pub struct Keyring<'a>(pub Vec<&'a dyn KeyService>);

/// What became of every master key, when no data key came together.
#[derive(Clone, Debug)]
pub struct UnwrapReport {
    /// One entry for each key group.
    pub groups: Vec<Vec<Attempt>>,
}

/// One master key and every service's answer about it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key.
    pub key: MasterKey,
    /// The services that tried, with what went wrong. Empty if none could do anything with it.
    pub answers: Vec<(String, KeyError)>,
}

/// Why a data key could not be wrapped to every master key. Nothing may be written then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WrapError {
    /// There are no groups to wrap to.
    #[error("no key groups provided")]
    NoGroups,
    /// A group has no keys.
    #[error("empty key group provided")]
    EmptyGroup,
    /// Several groups: their part of the data key cannot be made yet.
    #[error("files with several key groups are not supported yet")]
    SeveralGroups,
    /// No service would wrap to this key.
    #[error("failed to encrypt new data key with master key {id:?}: {reason}")]
    Key {
        /// The list that the key stands in.
        kind: String,
        /// What identifies it.
        id: String,
        /// Why not.
        reason: String,
    },
}

impl Keyring<'_> {
    /// Gets the data key of a file from whichever master key answers first.
    pub async fn unwrap(&self, _metadata: &Metadata) -> Result<DataKey, UnwrapReport> {
        todo!()
    }

    /// Wraps the data key to every master key of `groups`.
    pub async fn wrap(&self, _data_key: &DataKey, _groups: &mut [KeyGroup]) -> Result<(), WrapError> {
        todo!()
    }
}
