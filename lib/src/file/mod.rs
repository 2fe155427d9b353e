//! A SOPS file, encrypted and plain, and the ways between the two.

mod differences;
mod encrypted;
mod error;
mod extract;
mod layout;
mod leaves;
mod open;
mod plain;
mod replace;
mod rewrite;
mod rotate;
mod same;
mod seal;
mod walk;

use std::cell::OnceCell;
use std::collections::HashMap;

use zeroize::Zeroizing;

pub use self::error::{ExtractError, LoadError, OpenError, SealError};
pub use self::leaves::Leaves;
pub use self::replace::Replaced;
pub use self::rotate::Rotation;
use self::walk::Place;
use crate::format::{Format, Layout as Indent, ParseError};
use crate::key_path::KeyPath;
use crate::mac::Mac;
use crate::metadata::Metadata;
use crate::secret::wipe;
use crate::tree::{Encoding, Tree, Wire};
use crate::value::Value;

/// A file as it is stored.
pub struct EncryptedFile {
    format: &'static dyn Format,
    text: Text,
    metadata: Metadata,
}

/// A file as it is read. From [`EncryptedFile::open`], its MAC was right.
pub struct PlainFile {
    format: &'static dyn Format,
    text: Text,
    drift: Drifts,
    layout: Indent,
    encoding: Encoding,
}

/// A value that its spelling alone does not tell: SOPS spells the float 1 as `1`, which reads as an
/// integer (spec section 1.5).
struct Drift {
    document: usize,
    path: KeyPath,
    value: Value,
}

/// Such values by their place.
type Drifts = HashMap<String, Drift>;

/// The value that was sealed at a place where `text` now reads as `value`.
fn undrifted(drifts: &Drifts, value: Value, text: &str, place: Place<'_>) -> Value {
    if drifts.is_empty() || !matches!(value, Value::Int(_)) {
        return value;
    }
    let was = drifts.get(&place.text()).map(|it| &it.value);
    was.filter(|it| *it.canonical() == *text.as_bytes()).cloned().unwrap_or(value)
}

/// A text that is parsed when somebody asks for its structure. Wiped when dropped, unless it is an
/// encrypted file's.
struct Text {
    text: String,
    is_public: bool,
    tree: OnceCell<Tree>,
}

impl Text {
    fn parsed(tree: Tree) -> Self {
        Self { text: String::new(), is_public: true, tree: OnceCell::from(tree) }
    }

    fn secret(mut text: Zeroizing<String>) -> Self {
        Self { text: std::mem::take(&mut *text), is_public: false, tree: OnceCell::new() }
    }

    fn public(mut text: Zeroizing<String>) -> Self {
        Self { text: std::mem::take(&mut *text), is_public: true, tree: OnceCell::new() }
    }

    fn as_str(&self) -> &str {
        self.tree.get().map_or(&self.text, |it| it.source())
    }

    fn tree(&self, format: &dyn Format) -> Result<&Tree, ParseError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let mut tree = match self.text.is_empty() {
            // What is left of a file that held nothing but its metadata.
            true => Tree::new(Zeroizing::new(String::new())),
            false => format.parse(self.text.as_bytes())?,
        };
        if self.is_public {
            tree.set_public();
        }
        Ok(self.tree.get_or_init(|| tree))
    }

    /// Forgets the tree and keeps the text.
    fn shed(&mut self) {
        if let Some(mut tree) = self.tree.take()
            && self.text.is_empty()
        {
            self.is_public = tree.is_public();
            self.text = tree.take_source();
        }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if !self.is_public {
            wipe(std::mem::take(&mut self.text));
        }
    }
}

/// What came out of opening a file.
pub struct Opened {
    /// The file.
    pub file: PlainFile,
    /// What people should know: comments that were not encrypted, keys that stand twice. Never a value.
    pub warnings: Vec<String>,
}

/// One value as it is printed, with warnings as in [`Opened`]; `None` if the file has to be opened for it.
pub type Extracted = Option<(Zeroizing<String>, Vec<String>)>;

/// A document of which a scope covers nothing, although it has values (guarantee A2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Uncovered {
    /// How many leaves could be encrypted: neither null, nor empty, nor comments.
    pub leaves: usize,
    /// The distinct keys in the document, in order, for a hint.
    pub keys: Vec<String>,
}

/// Adds the leaves of structure to a MAC.
fn absorb(wire: &Wire, mac: &mut Mac) {
    match wire {
        Wire::Leaf(value) => mac.absorb(&value.canonical()),
        Wire::List(_) => wire.items().for_each(|it| absorb(it, mac)),
        Wire::Map(_) => wire.pairs().for_each(|(_, it)| absorb(it, mac)),
    }
}

#[cfg(test)]
mod tests;
