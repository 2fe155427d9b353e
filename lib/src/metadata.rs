//! What a SOPS file says about itself.

use crate::edge::Timestamp;
use crate::scope::Scope;
use crate::tree::Wire;

/// Master keys of which any one opens the group's part of the data key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyGroup(pub Vec<MasterKey>);

/// A master key as data: what kind it is, what identifies it, and the data key wrapped to it.
///
/// What can be done with it lives in a [`KeyService`](crate::keyservice::KeyService). So a file
/// with a kind of key that nobody here has heard of still parses, edits and keeps that key.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterKey {
    /// The name of the list it stands in: `age`, `pgp`, `hc_vault`…
    pub kind: String,
    /// Its entries other than `enc`, in order.
    pub fields: Vec<(String, Wire)>,
    /// The wrapped data key.
    pub enc: Option<String>,
}

impl MasterKey {
    /// Returns the entry `name`, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(it, _)| it == name).and_then(|(_, it)| it.as_str()).unwrap_or("")
    }
}

/// The `sops` block of a file.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The groups of which enough must open for the data key to come together.
    pub groups: Vec<KeyGroup>,
    /// How many groups that is; zero if the file does not say.
    pub shamir_threshold: usize,
    /// When the file was last sealed. Also the additional data of the MAC.
    pub last_modified: Timestamp,
    /// The encrypted MAC.
    pub mac: Option<String>,
    /// Which leaves are encrypted.
    pub scope: Scope,
    /// The version of SOPS that the file says made it.
    pub version: String,
    /// The spellings that ciphertexts cannot carry, sealed: `leafseal_layout`.
    pub layout: Option<String>,
    /// Entries that this version does not know, kept as they came.
    pub unknown: Vec<(String, Wire)>,
}
