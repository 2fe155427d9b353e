//! A SOPS file, encrypted and plain, and the ways between the two.

use zeroize::Zeroizing;

use crate::edge::{Clock, Rng};
use crate::format::{EditError, Format, Layout, ParseError, PrintError};
use crate::key_path::KeyPath;
use crate::metadata::Metadata;
use crate::scope::Scope;
use crate::secret::DataKey;
use crate::tree::{Tree, Wire};

/// A file as it is stored.
pub struct EncryptedFile {
    format: &'static dyn Format,
    tree: Tree,
    metadata: Metadata,
}

/// A file as it is read. From [`EncryptedFile::open`], its MAC was right.
pub struct PlainFile {
    format: &'static dyn Format,
    tree: Tree,
}

/// What came out of opening a file.
pub struct Opened {
    /// The file.
    pub file: PlainFile,
    /// What people should know: comments that were not encrypted, keys that stand twice. Never a value.
    pub warnings: Vec<String>,
}

/// How much of a document a scope covers (guarantee A2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Census {
    /// The leaves that could be encrypted: neither null, nor empty, nor comments.
    pub leaves: usize,
    /// Those that the scope picks.
    pub covered: usize,
    /// The distinct keys in the document, in order, for a hint.
    pub keys: Vec<String>,
}

/// A text that is not a SOPS file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// There is no metadata in it: most likely it is not encrypted.
    #[error("sops metadata not found")]
    NotEncrypted,
    /// Its metadata cannot be used; the text says what of it.
    #[error("{0}")]
    Metadata(String),
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
}

impl PlainFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`ParseError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, ParseError> {
        Ok(Self { format, tree: format.parse(source)? })
    }

    /// The format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.tree.source()
    }

    /// The parsed text.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// True if a document has a top-level `sops` entry: most likely the file is encrypted already.
    pub fn has_metadata(&self) -> bool {
        todo!()
    }

    /// The paths of mapping keys that stand twice, with both lines.
    pub fn duplicate_keys(&self) -> Vec<String> {
        todo!()
    }

    /// Counts what `scope` covers.
    ///
    /// # Errors
    ///
    /// If the document cannot be walked.
    pub fn census(&self, _scope: &Scope) -> Result<Census, ParseError> {
        todo!()
    }

    /// Encrypts every leaf that the metadata's scope covers. The groups must already be wrapped to;
    /// MAC, time and layout are set here.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal(
        &self,
        _metadata: Metadata,
        _key: &DataKey,
        _clock: &dyn Clock,
        _rng: &mut dyn Rng,
    ) -> Result<EncryptedFile, SealError> {
        todo!()
    }

    /// The same values in another format, or in the same one with another layout, as SOPS prints
    /// them.
    ///
    /// # Errors
    ///
    /// See [`PrintError`].
    pub fn print_as(&self, _format: &dyn Format, _layout: &Layout) -> Result<Zeroizing<String>, PrintError> {
        todo!()
    }

    /// What `decrypt --extract` prints (spec section 8.8).
    ///
    /// # Errors
    ///
    /// See [`ExtractError`].
    pub fn extract(
        &self,
        _at: &KeyPath,
        _format: &dyn Format,
        _layout: &Layout,
    ) -> Result<Zeroizing<String>, ExtractError> {
        todo!()
    }

    /// The file with `what` at `at`, or `None` if that is what it says already.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set(&self, _at: &KeyPath, _what: &Wire) -> Result<Option<Self>, EditError> {
        todo!()
    }

    /// The file without what is at `at`.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn unset(&self, _at: &KeyPath) -> Result<Self, EditError> {
        todo!()
    }

    /// True if both say the same values at the same places, whatever their spelling.
    pub fn same_values(&self, _other: &Self) -> bool {
        todo!()
    }
}

impl EncryptedFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn parse(_format: &'static dyn Format, _source: &[u8]) -> Result<Self, LoadError> {
        todo!()
    }

    /// The format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.tree.source()
    }

    /// Decrypts every leaf and checks the MAC over them.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&self, _key: &DataKey) -> Result<Opened, OpenError> {
        todo!()
    }

    /// Decrypts every leaf, whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_ignoring_mac(&self, _key: &DataKey) -> Result<Opened, OpenError> {
        todo!()
    }

    /// Seals `edited` under the key of this file. A leaf that has not changed keeps its ciphertext,
    /// the metadata keeps its text but for what changes, so a review shows what was edited.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn reseal(
        &self,
        _edited: &PlainFile,
        _metadata: Metadata,
        _key: &DataKey,
        _clock: &dyn Clock,
        _rng: &mut dyn Rng,
    ) -> Result<Self, SealError> {
        todo!()
    }

    /// The same leaves with other key groups: neither MAC nor time change.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rewrap(&self, _metadata: Metadata) -> Result<Self, SealError> {
        todo!()
    }
}
