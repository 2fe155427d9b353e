//! File formats. A new one is one file here and one line in [`FORMATS`].

pub mod json;
pub(crate) mod structure;
pub mod yaml;

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::key_path::KeyPath;
use crate::secret::SecretText;
use crate::tree::{Document, Edits, NodeId, Span, Tree, Wire};
use crate::value::Value;

/// Every format, in the order in which help shows them.
pub const FORMATS: &[&dyn Format] = &[&yaml::Yaml, &json::Json];

/// How one kind of file is read, and how a value is spelt in it.
///
/// A format never sees a key and never decides what is encrypted.
pub trait Format: Sync {
    /// The name for `--input-type`.
    fn name(&self) -> &'static str;

    /// The file name endings that mean this format, with their dot.
    fn suffixes(&self) -> &'static [&'static str];

    /// Finds the nodes of a file. The metadata is an ordinary child named `sops` of each document's
    /// root.
    ///
    /// # Errors
    ///
    /// If the text is not in this format; the error names line and column.
    fn parse(&self, source: &[u8]) -> Result<Tree, ParseError> {
        self.read(&mut Zeroizing::new(source.to_vec()))
    }

    /// As [`parse`](Format::parse). The bytes are taken over where they are the text of the tree; where they
    /// are not, because they are stored in another way or in no format, they are left.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Format::parse).
    fn read(&self, source: &mut Vec<u8>) -> Result<Tree, ParseError>;

    /// What a scalar or comment means.
    ///
    /// # Errors
    ///
    /// If its text does not fit its tag, or the number is out of every range.
    fn value(&self, tree: &Tree, id: NodeId) -> Result<Value, ParseError>;

    /// The text of a string scalar or comment: as [`value`](Format::value), without a copy where
    /// the text stands for itself. `None` if the scalar is not a string.
    fn str<'t>(&self, tree: &'t Tree, id: NodeId) -> Option<Cow<'t, str>>;

    /// Spells `value` to stand in place of the node `at`: in its style where the value allows that,
    /// else as SOPS would. For a comment node, with the comment sign.
    fn spell(&self, tree: &Tree, at: NodeId, value: &Value) -> Zeroizing<String>;

    /// As [`spell`](Format::spell), once an envelope has stood in place of the value: what of its
    /// style the envelope's quotes do not carry is gone.
    fn spell_again(&self, tree: &Tree, at: NodeId, value: &Value) -> Zeroizing<String> {
        self.spell(tree, at, value)
    }

    /// What `text` means as a scalar without quotes; `None` if it is no such scalar.
    fn read_bare(&self, text: &str) -> Option<Value>;

    /// Makes an item of a list, which SOPS has written in place of a comment, that comment again.
    fn uncomment(&self, _tree: &Tree, _at: NodeId, _text: &SecretText, _edits: &mut Edits) {}

    /// Spells out that a list is empty, now that all its items are comments.
    fn spell_empty(&self, _tree: &Tree, _list: NodeId, _edits: &mut Edits) {}

    /// Writes `what` out in place of the alias `at`, as SOPS would lay it out there. Returns the new
    /// text, without the blanks around it.
    fn expand(&self, _tree: &Tree, _at: NodeId, _what: &Wire, _edits: &mut Edits) -> Zeroizing<String> {
        Zeroizing::new(String::new())
    }

    /// What an alias that stands as the key of `at` says, spelt out. `None` if the key is no alias.
    fn aliased_key(&self, _tree: &Tree, _at: NodeId) -> Option<Zeroizing<String>> {
        None
    }

    /// The text of a value with everything that belongs to it: tag and anchor, and for a mapping or
    /// list the blanks before it.
    fn region(&self, tree: &Tree, at: NodeId) -> Span {
        tree.node(at).span
    }

    /// The text of a scalar with everything that belongs to it, but for a comment inside.
    fn original<'t>(&self, tree: &'t Tree, at: NodeId) -> Cow<'t, str> {
        Cow::Borrowed(tree.text(self.region(tree, at)))
    }

    /// Puts back what [`original`](Format::original) returned before the scalar was sealed. Returns where.
    fn restore(&self, tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) -> Span {
        let region = self.region(tree, at);
        edits.replace(region, text);
        region
    }

    /// Writes an envelope in place of the string that stands at `at`: quoted as the value was, where
    /// the place allows that.
    fn sealed(&self, _tree: &Tree, _at: NodeId, envelope: &str) -> String {
        format!("\"{envelope}\"")
    }

    /// Puts `text`, which [`spell`](Format::spell) or [`sealed`](Format::sealed) made, in place of
    /// the scalar or comment `at`.
    fn replace(&self, tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) {
        edits.replace(tree.node(at).span, text);
    }

    /// True if an encrypted file is laid out so plainly that whoever decrypts it and seals it again comes to the same
    /// text, as long as its values are plain too.
    fn is_plainly_laid_out(&self, _tree: &Tree) -> bool {
        false
    }

    /// Puts the metadata into every document, after the data. Where `before` (the same file, as it
    /// is stored) has it already, its text is kept but for the entries that differ.
    /// Text that is newly made is laid out as `layout` asks, or else as the file is.
    fn attach(&self, tree: &Tree, metadata: &Wire, before: Option<&Tree>, layout: &Layout, edits: &mut Edits);

    /// Takes the metadata out of a document.
    fn detach(&self, tree: &Tree, document: &Document, edits: &mut Edits);

    /// Puts `what` at `at` in the first document: replaces what is there, appends what is not,
    /// makes the containers on the way (spec section 8.9).
    ///
    /// # Errors
    ///
    /// If a step does not fit what is there.
    fn insert(&self, tree: &Tree, at: &KeyPath, what: &Wire, edits: &mut Edits) -> Result<(), EditError>;

    /// Takes out what is at `at` in the first document.
    ///
    /// # Errors
    ///
    /// If nothing is there.
    fn remove(&self, tree: &Tree, at: &KeyPath, edits: &mut Edits) -> Result<(), EditError>;

    /// Prints documents as SOPS prints them.
    ///
    /// # Errors
    ///
    /// If this format has no way to say them.
    fn print(&self, documents: &[Wire], layout: &Layout) -> Result<Zeroizing<String>, PrintError>;

    /// Prints what `extract` has found, if it is neither a mapping nor a string (spec section 8.8).
    ///
    /// # Errors
    ///
    /// If this format has no way to say it.
    fn print_value(&self, value: &Wire) -> Result<Zeroizing<String>, PrintError>;

    /// What SOPS calls the parts of an entry where it prints the entry itself.
    fn entry_names(&self) -> [&'static str; 2] {
        ["key", "value"]
    }

    /// The text that the editor shows for a new file.
    fn example(&self) -> &'static str;

    /// The encoding of the nodes below `id`, comments included, as structure in no format. Aliases
    /// are expanded.
    ///
    /// # Errors
    ///
    /// As for [`value`](Format::value).
    fn wire(&self, tree: &Tree, id: NodeId) -> Result<Wire, ParseError>;
}

/// How to lay out text that is newly made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Layout {
    /// What `--indent` or `stores:` say: a number of columns, or what the format makes of zero and
    /// of negative numbers. `None` is SOPS's default.
    pub indent: Option<i32>,
}

/// Returns the format for a file name.
pub fn for_name(file_name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.suffixes().iter().any(|it| file_name.ends_with(it)))
}

/// Returns the format called `name`.
pub fn named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|it| it.name() == name)
}

/// A text that is not in the format it was said to be in.
///
/// Holds no value, only places and the names of things.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong, with the line where SOPS names it: `yaml: line 2: …`.
    pub message: String,
    /// Line and column, both from one; zero if unknown.
    pub line: usize,
    /// See `line`.
    pub column: usize,
    /// What sort of failure it is.
    pub kind: ParseErrorKind,
}

/// The sorts of failure that callers tell apart, because SOPS's exit codes do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParseErrorKind {
    /// Not in the format, or in a part of it that SOPS has no use for.
    Syntax,
    /// A file of zero bytes where a document is needed (exit 92).
    Empty,
    /// Readable, and nothing that can be encrypted: keys that are not strings, integers that do not
    /// fit (exit 23).
    NotEncryptable,
}

/// A place in a document where an edit does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EditError {
    /// Nothing is there.
    #[error("Key not found: {0}")]
    KeyNotFound(String),
    /// The list is shorter.
    #[error("Index {0} out of bounds")]
    OutOfBounds(usize),
    /// The step is of the wrong sort for what is there.
    #[error("Unsupported type: {found} for item '{step}'")]
    WrongType {
        /// What is there.
        found: &'static str,
        /// The step that does not fit.
        step: String,
    },
    /// The place is reserved for the metadata.
    #[error("the key `{0}` is reserved for the metadata")]
    Reserved(String),
    /// The document cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The document has no way to say what the change asks for.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// Neither the file's own layout nor SOPS's can take the change.
    #[error("the change does not fit this document: edit the file instead")]
    Tangled,
    /// The path names the whole document.
    #[error("the path is empty: name the value to change, as in [\"key\"]")]
    Root,
}

/// A document that a format has no way to say.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PrintError(pub String);
