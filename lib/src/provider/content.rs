//! What one secret of a store holds, and how a part of it is picked.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use crate::secret::SecretText;

/// One whole secret, as its store holds it.
#[derive(Clone, Debug)]
pub enum Content {
    /// A JSON object (Vault, SOPS): picked from by the exact name of a member, then by a gjson path.
    Object(Object),
    /// Bytes under keys (a Secret of a cluster): picked from by key, then `key.path` into JSON there.
    Fields(BTreeMap<String, SecretText>),
    /// One text (a fake store): picked from by a gjson path.
    Text(SecretText),
}

/// A JSON object of a store, with what the store tells about it.
#[derive(Clone)]
pub struct Object {
    /// The object itself: the exact text that the store sent, numbers as they were spelt.
    pub data: SecretText,
    /// What the store keeps beside it (KV version 2: `metadata`), as text of a JSON object.
    pub metadata: Option<Box<RawValue>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(..)")
    }
}

/// Why a part of a secret cannot be picked. Never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// There is no such part.
    #[error("cannot find secret data for key: {0:?}")]
    NoProperty(String),
    /// Members are wanted of something that has none.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// The text is not the JSON that it should be.
    #[error("the value is not JSON")]
    NotJson,
}
