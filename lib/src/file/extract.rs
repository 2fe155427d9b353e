//! `decrypt --extract`: one value of a file, as SOPS prints it.

use zeroize::Zeroizing;

use super::open::Taker;
use super::walk::{Place, comment_item};
use super::{ExtractError, PlainFile};
use crate::cipher::OpenedLeaf;
use crate::envelope::Envelope;
use crate::format::{Format, Layout};
use crate::key_path::{KeyPath, Step};
use crate::secret::SecretText;
use crate::tree::{Entry, Kind, METADATA_KEY, NodeId, Tree, Wire};
use crate::value::Value;

impl PlainFile {
    /// What `decrypt --extract` prints (spec section 8.8).
    ///
    /// # Errors
    ///
    /// See [`ExtractError`].
    pub fn extract(
        &self,
        at: &KeyPath,
        format: &dyn Format,
        layout: &Layout,
    ) -> Result<Zeroizing<String>, ExtractError> {
        let tree = self.tree()?;
        let names = format.entry_names();
        if let Some((Step::Index(index), above)) = at.0.split_last()
            && let Ok(map) = find(tree, above).map(|it| tree.resolve(it))
            && tree.node(map).kind == Kind::Map
        {
            let entry = tree.children(map).nth(*index).ok_or_else(|| out_of_bounds(*index))?;
            let entry = match (tree.key_of(entry), self.format.wire(tree, entry)?) {
                (None, Wire::Leaf(Value::Comment(text))) => Entry::Comment(text),
                (_, value) => Entry::Pair(tree.key(entry).to_owned(), value),
            };
            return Ok(format.print_value(&bare_entry(entry, names))?);
        }
        let id = find(tree, &at.0)?;
        match self.format.wire(tree, id)? {
            Wire::Leaf(Value::Str(text)) => Ok(match text.expose_str() {
                Some(text) => Zeroizing::new(text.to_owned()),
                None => Zeroizing::new(String::from_utf8_lossy(text.expose()).into_owned()),
            }),
            Wire::Leaf(Value::Comment(text)) => Ok(format.print_value(&bare_comment(text, names))?),
            wire @ Wire::Map(_) => {
                let mut documents = vec![wire];
                for document in tree.documents().iter().skip(1) {
                    documents.push(self.format.wire(tree, document.root)?);
                }
                Ok(format.print(&documents, layout)?)
            }
            wire => Ok(format.print_value(&wire)?),
        }
    }
}

/// An entry that was asked for by its number: SOPS prints the structures that it keeps entries in, all
/// the way down.
fn bare_entry(entry: Entry, names: [&str; 2]) -> Wire {
    let (key, value) = match entry {
        Entry::Pair(key, value) => (Wire::text(&key), bare(value, names)),
        Entry::Comment(text) => (bare_comment(text, names), Wire::Leaf(Value::Null)),
    };
    Wire::Map(vec![Entry::Pair(names[0].to_owned(), key), Entry::Pair(names[1].to_owned(), value)])
}

fn bare_comment(text: SecretText, [_, value]: [&str; 2]) -> Wire {
    Wire::Map(vec![Entry::Pair(value.to_owned(), Wire::Leaf(Value::Str(text)))])
}

fn bare(wire: Wire, names: [&str; 2]) -> Wire {
    match wire {
        Wire::Map(entries) => Wire::List(entries.into_iter().map(|it| bare_entry(it, names)).collect()),
        Wire::List(items) => Wire::List(items.into_iter().map(|it| bare(it, names)).collect()),
        Wire::Leaf(Value::Comment(text)) => bare_comment(text, names),
        leaf @ Wire::Leaf(_) => leaf,
    }
}

/// One scalar, picked from a file as it is opened. What it prints is what [`PlainFile::extract`] prints
/// of the file's whole plaintext.
pub(super) struct Picking {
    format: &'static dyn Format,
    pub(super) wanted: NodeId,
    pub(super) found: Option<Value>,
}

impl Picking {
    /// Finds the scalar at `at` in an encrypted file. `None` where only the plaintext tells what stands
    /// there, or how it reads: a float may be spelt as an integer, and comments count in lists.
    pub(super) fn new(format: &'static dyn Format, tree: &Tree, at: &KeyPath) -> Option<Self> {
        // Elsewhere, not every text reads as the value that it was spelt for.
        if !matches!(format.name(), "yaml" | "json") || at.0.first()? == &Step::Key(METADATA_KEY.to_owned()) {
            return None;
        }
        let is_comment =
            |it: NodeId| matches!(tree.node(it).kind, Kind::Comment { .. }) || comment_item(format, tree, it).is_some();
        let root = tree.documents().first()?.root;
        let wanted = at.0.iter().try_fold(root, |id, step| match (tree.node(id).kind, step) {
            (Kind::Map, Step::Key(key)) => tree.child(id, key),
            (Kind::List, Step::Index(index)) if !tree.children(id).any(is_comment) => tree.children(id).nth(*index),
            _ => None,
        })?;
        if tree.node(wanted).kind != Kind::Scalar || tree.tag(wanted).is_some() {
            return None;
        }
        let sealed = format.str(tree, wanted);
        let envelope = sealed.as_deref().and_then(Envelope::parse);
        let is_simple = envelope.is_none_or(|it| matches!(it.type_name, "str" | "int" | "bool"));
        is_simple.then_some(Self { format, wanted, found: None })
    }

    /// What is printed in `format`. `None` if that takes the whole plaintext after all.
    pub(super) fn finish(self, tree: &Tree, format: &dyn Format) -> Option<Zeroizing<String>> {
        let value = self.found?;
        match &value {
            Value::Str(text) => text.expose_str().map(|it| Zeroizing::new(it.to_owned())),
            Value::Int(_) | Value::Bool(_) => {
                let text = self.format.spell(tree, self.wanted, &value);
                let reads_back = self.format.read_bare(&text).as_ref() == Some(&value);
                format.print_value(&Wire::Leaf(value)).ok().filter(|_| reads_back)
            }
            _ => None,
        }
    }
}

impl Taker for Picking {
    fn take_comment(&mut self, _id: NodeId, _value: Value) {}

    fn take_comment_item(&mut self, _id: NodeId, _value: Value) {}

    fn take_plain(&mut self, id: NodeId, value: Value, _place: Place<'_>) {
        if id == self.wanted {
            self.found = Some(value);
        }
    }

    fn take(&mut self, id: NodeId, _sealed: &str, opened: OpenedLeaf, _place: Place<'_>) {
        if id == self.wanted {
            self.found = Some(opened.value);
        }
    }
}

/// The node at the end of a way down the first document, comments counted.
///
/// # Errors
///
/// If there is none, in SOPS's words.
pub(super) fn find(tree: &Tree, at: &[Step]) -> Result<NodeId, ExtractError> {
    let first = tree.documents().first().ok_or_else(|| ExtractError::Path("the file has no document".to_owned()))?;
    at.iter().try_fold(first.root, |id, step| {
        let id = tree.resolve(id);
        match (tree.node(id).kind, step) {
            (Kind::Map, Step::Key(key)) => tree.child(id, key).ok_or_else(|| missing(key)),
            (Kind::List, Step::Index(index)) => tree.children(id).nth(*index).ok_or_else(|| out_of_bounds(*index)),
            (Kind::Map, Step::Index(index)) => Err(match tree.children(id).nth(*index) {
                Some(_) => ExtractError::Path(format!("component [{index}] is an entry of a mapping")),
                None => out_of_bounds(*index),
            }),
            (_, Step::Index(index)) => {
                let reason = format!("component [{index}] is integer, but tree part is not a slice");
                Err(ExtractError::Path(reason))
            }
            (_, Step::Key(key)) => Err(missing(key)),
        }
    })
}

fn missing(key: &str) -> ExtractError {
    ExtractError::Path(format!("component ['{key}'] not found"))
}

fn out_of_bounds(index: usize) -> ExtractError {
    ExtractError::Path(format!("component [{index}] accesses out of bounds"))
}
