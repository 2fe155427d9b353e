//! What can be wrong with a file, on the way in and on the way out.

use super::walk::NotAString;
use crate::format::{ParseError, PrintError};
use crate::metadata::MetadataError;

/// A text that is not a SOPS file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// There is no metadata in it: most likely it is not encrypted.
    #[error("sops metadata not found")]
    NotEncrypted,
    /// Its metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It is not in the format it was said to be in.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// A file that does not open with this data key.
///
/// No variant holds a value: these texts end up in logs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// A leaf does not decrypt: its place and why (exit 25).
    #[error("{at}: {reason}")]
    Leaf {
        /// The path of keys.
        at: String,
        /// What is wrong, in SOPS's words.
        reason: String,
    },
    /// The file has no MAC (exit 51).
    #[error("the file has no MAC")]
    NoMac,
    /// The stored MAC does not decrypt (exit 51).
    #[error("cannot decrypt the MAC: {0}")]
    MacUnreadable(String),
    /// The leaves are not the ones that were sealed (exit 51).
    #[error("the file has been changed since it was sealed")]
    MacMismatch,
    /// The document is readable and cannot be walked.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// A document that cannot be sealed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealError {
    /// A key that is not a string, an integer that does not fit: place and reason (exit 23).
    #[error("{at}: {reason}")]
    Leaf {
        /// The path of keys.
        at: String,
        /// What is wrong.
        reason: String,
    },
    /// It has a `sops` entry already (exit 203).
    #[error("the file has a top-level entry called `sops` already")]
    AlreadyEncrypted,
    /// The document cannot be walked.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// A path at which nothing can be extracted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExtractError {
    /// See the text (exit 1).
    #[error("{0}")]
    Path(String),
    /// The value cannot be printed in that format (exit 4).
    #[error(transparent)]
    Print(#[from] PrintError),
    /// The document cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl From<NotAString> for SealError {
    fn from(it: NotAString) -> Self {
        let reason = format!("Tree contains a non-string key (type {}). Only string keys are supported", it.type_name);
        Self::Leaf { at: it.place, reason }
    }
}

impl From<NotAString> for OpenError {
    fn from(it: NotAString) -> Self {
        let reason = format!("Tree contains a non-string key (type {}). Only string keys are supported", it.type_name);
        Self::Leaf { at: it.place, reason }
    }
}
