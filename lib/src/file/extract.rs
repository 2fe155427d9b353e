//! `decrypt --extract`: one value of a file, as SOPS prints it.

use zeroize::Zeroizing;

use super::{ExtractError, PlainFile};
use crate::format::{Format, Layout};
use crate::key_path::{KeyPath, Step};
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
        if let Some((Step::Index(index), above)) = at.0.split_last()
            && let Ok(map) = find(tree, above).map(|it| tree.resolve(it))
            && tree.node(map).kind == Kind::Map
        {
            // SOPS shows the entry itself, key and value.
            let entry = tree.children(map).nth(*index).ok_or_else(|| out_of_bounds(*index))?;
            let pair = Wire::Map(vec![
                Entry::Pair("key".to_owned(), Wire::text(tree.key(entry))),
                Entry::Pair("value".to_owned(), self.format.wire(tree, entry)?),
            ]);
            return Ok(format.print_value(&pair)?);
        }
        let id = find(tree, &at.0)?;
        match self.format.wire(tree, id)? {
            Wire::Leaf(Value::Str(text)) => match text.expose_str() {
                Some(text) => Ok(Zeroizing::new(text.to_owned())),
                None => Ok(Zeroizing::new(String::from_utf8_lossy(text.expose()).into_owned())),
            },
            Wire::Leaf(Value::Comment(text)) => {
                let value = Entry::Pair("value".to_owned(), Wire::Leaf(Value::Str(text)));
                Ok(format.print_value(&Wire::Map(vec![value]))?)
            }
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
