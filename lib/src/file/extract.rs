//! `decrypt --extract`: one value of a file, as SOPS prints it.

use zeroize::Zeroizing;

use super::{ExtractError, PlainFile};
use crate::format::{Format, Layout};
use crate::key_path::{KeyPath, Step};
use crate::secret::SecretText;
use crate::tree::{Entry, Kind, NodeId, Tree, Wire};
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
