//! A file as it is read: what it says, and what it says after a change.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::extract::find;
use super::seal::Sealing;
use super::walk::{NotAString, Sort, walk};
use super::{Drift, Drifts, EncryptedFile, ExtractError, PlainFile, SealError, Text, Uncovered, same};
use crate::cipher::{Cipher, Nonces};
use crate::edge::{Clock, Rng};
use crate::format::{EditError, Format, Layout as Indent, ParseError, structure};
use crate::key_path::{KeyPath, Step};
use crate::metadata::Metadata;
use crate::scope::Scope;
use crate::secret::DataKey;
use crate::tree::{Edits, Encoding, Entry, METADATA_KEY, NodeId, Tree, Wire};
use crate::value::Value;

impl PlainFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`ParseError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, ParseError> {
        Self::read(format, &mut Zeroizing::new(source.to_vec()))
    }

    /// As [`parse`](Self::parse). The bytes are taken over if they are the [`text`](Self::text).
    ///
    /// # Errors
    ///
    /// See [`ParseError`].
    pub fn read(format: &'static dyn Format, source: &mut Vec<u8>) -> Result<Self, ParseError> {
        let encoding = Encoding::of(source);
        let text = Text::parsed(format.read(source)?);
        Ok(Self { format, text, drift: Drifts::new(), layout: Indent::default(), encoding })
    }

    /// Lets go of the structure, which takes several times the memory of the text. It is found again when
    /// somebody asks for it.
    pub fn shed(&mut self) {
        self.text.shed();
    }

    /// The same file, of which newly made text, its metadata, is laid out as `layout` asks.
    pub fn laid_out(self, layout: Indent) -> Self {
        Self { layout, ..self }
    }

    /// The same file, stored as `other` is.
    pub fn stored_as(self, other: &Self) -> Self {
        Self { encoding: other.encoding, ..self }
    }

    /// The format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// The bytes of a file that is stored in UTF-16. Those of any other are its text's.
    pub fn utf16(&self) -> Option<Zeroizing<Vec<u8>>> {
        (self.encoding != Encoding::Utf8).then(|| self.encoding.encode(self.text()))
    }

    /// The parsed text.
    ///
    /// # Errors
    ///
    /// If what was decrypted cannot be read in this format.
    pub fn tree(&self) -> Result<&Tree, ParseError> {
        self.text.tree(self.format)
    }

    /// True if a document has a top-level `sops` entry: most likely the file is encrypted already.
    pub fn has_metadata(&self) -> bool {
        self.tree().is_ok_and(|tree| tree.documents().iter().any(|it| tree.child(it.root, METADATA_KEY).is_some()))
    }

    /// The mapping keys that stand twice: path of keys and both lines.
    pub fn duplicate_keys(&self) -> Vec<String> {
        let Ok(tree) = self.tree() else { return Vec::new() };
        let mut found = Vec::new();
        let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
        while let Some(id) = stack.pop() {
            stack.extend(tree.children(id));
            for (first, again) in tree.repeated_keys(id) {
                let (key, first, again) = (tree.key(again), tree.line_of_key(first), tree.line_of_key(again));
                found.push(format!("{key:?} in lines {first} and {again}"));
            }
        }
        found
    }

    /// What is to be said of a document of which `scope` covers nothing; `None` if it covers a leaf,
    /// or if there is none.
    ///
    /// # Errors
    ///
    /// If the document cannot be walked.
    pub fn uncovered(&self, scope: &Scope) -> Result<Option<Uncovered>, SealError> {
        enum Stop {
            Covered,
            Failed(SealError),
        }
        impl From<NotAString> for Stop {
            fn from(it: NotAString) -> Self {
                Self::Failed(it.into())
            }
        }
        let tree = self.tree()?;
        let mut leaves = 0;
        let walked = walk(self.format, tree, scope, |visit| {
            if visit.sort == Sort::Scalar {
                match self.format.value(tree, visit.id) {
                    Err(problem) => return Err(Stop::Failed(problem.into())),
                    Ok(value) if value.is_empty() => (),
                    Ok(_) if visit.covered => return Err(Stop::Covered),
                    Ok(_) => leaves += 1,
                }
            }
            Ok(())
        });
        match walked {
            Err(Stop::Failed(problem)) => return Err(problem),
            Err(Stop::Covered) => return Ok(None),
            Ok(()) if leaves == 0 => return Ok(None),
            Ok(()) => (),
        }
        let mut keys = Vec::new();
        let mut seen = HashSet::new();
        let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
        while let Some(id) = stack.pop() {
            for child in tree.children(id) {
                stack.push(child);
                if tree.key_of(child).is_some() && seen.insert(tree.key(child)) {
                    keys.push(tree.key(child).to_owned());
                }
            }
        }
        Ok(Some(Uncovered { leaves, keys }))
    }

    /// Encrypts every leaf that the metadata's scope covers. The groups must already be wrapped to;
    /// MAC, time and layout are set here.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal(
        &self,
        metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<EncryptedFile, SealError> {
        if self.has_metadata() {
            return Err(SealError::AlreadyEncrypted);
        }
        let sealing = Sealing {
            format: self.format,
            cipher: &Cipher::new(key),
            nonces: Nonces::new(rng),
            before: None,
            unchanged: None,
            layout_before: None,
            drift: &self.drift,
            layout: self.layout,
            encoding: self.encoding,
        };
        sealing.seal(self.tree()?, metadata, clock)
    }

    /// The same values in another format, or in the same one with another layout, as SOPS prints
    /// them.
    ///
    /// # Errors
    ///
    /// See [`ExtractError`].
    pub fn print_as(&self, format: &dyn Format, layout: &Indent) -> Result<Zeroizing<String>, ExtractError> {
        Ok(format.print(&self.wires()?, layout)?)
    }

    pub(super) fn wires(&self) -> Result<Vec<Wire>, ParseError> {
        let tree = self.tree()?;
        let documents = tree.documents().iter();
        let mut wires: Vec<Wire> = documents.map(|it| self.format.wire(tree, it.root)).collect::<Result<_, _>>()?;
        for Drift { document, path, value } in self.drift.values() {
            let leaf = wires.get_mut(*document).and_then(|it| leaf(it, &path.0));
            // Of keys that stand twice, only one is found.
            if let (Some(leaf @ Value::Int(_)), Value::Float(float)) = (leaf, value)
                && matches!(leaf, Value::Int(int) if *int as f64 == *float)
            {
                *leaf = value.clone();
            }
        }
        Ok(wires)
    }

    /// The file with `what` at `at`, or `None` if that is what it says already.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set(&self, at: &KeyPath, what: &Wire) -> Result<Option<Self>, EditError> {
        let tree = self.tree()?;
        if let Ok(id) = find(tree, &at.0)
            && self.format.wire(tree, id)? == *what
        {
            return Ok(None);
        }
        let mut edits = Edits::default();
        self.format.insert(tree, at, what, &mut edits)?;
        self.edited(edits, at, Some(what)).map(Some)
    }

    /// The file without what is at `at`.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn unset(&self, at: &KeyPath) -> Result<Self, EditError> {
        let mut edits = Edits::default();
        self.format.remove(self.tree()?, at, &mut edits)?;
        self.edited(edits, at, None)
    }

    /// The file after a change of its text, which must amount to `what` at `at`. Where a text is too
    /// tangled for that, it is laid out anew as SOPS does: what it says comes before how.
    fn edited(&self, edits: Edits, at: &KeyPath, what: Option<&Wire>) -> Result<Self, EditError> {
        let file = |text| Self { text: Text::secret(text), drift: Drifts::new(), ..*self };
        let before = self.tree()?;
        let edited = file(edits.apply(self.text()));
        if edited.tree().is_ok_and(|it| same::but_for(self.format, before, it, &at.0, what)) {
            return Ok(edited);
        }
        let mut meant = self.wires()?;
        if let Some(first) = meant.first_mut() {
            match what {
                Some(what) => structure::set(first, &at.0, what)?,
                None => structure::unset(first, &at.0)?,
            }
        }
        let says = |file: &Self| file.wires().is_ok_and(|it| same::documents(&it, &meant));
        if says(&edited) {
            return Ok(edited);
        }
        let printed = file(self.format.print(&meant, &self.layout)?);
        match says(&printed) {
            true => Ok(printed),
            false => Err(EditError::Tangled),
        }
    }

    /// True if both say the same values at the same places, whatever their spelling and comments.
    pub fn same_values(&self, other: &Self) -> bool {
        if self.format.name() == other.format.name() && self.text() == other.text() {
            return true;
        }
        match (self.wires(), other.wires()) {
            (Ok(one), Ok(other)) => same::documents(&one, &other),
            _ => false,
        }
    }
}

/// The leaf at the end of a way down, comments not counted.
fn leaf<'w>(wire: &'w mut Wire, steps: &[Step]) -> Option<&'w mut Value> {
    steps
        .iter()
        .try_fold(wire, |wire, step| match (wire, step) {
            (Wire::Map(entries), Step::Key(key)) => entries.iter_mut().find_map(|it| match it {
                Entry::Pair(name, value) if name == key => Some(value),
                _ => None,
            }),
            (Wire::List(items), Step::Index(index)) => {
                items.iter_mut().filter(|it| !matches!(it, Wire::Leaf(Value::Comment(_)))).nth(*index)
            }
            _ => None,
        })
        .and_then(|wire| match wire {
            Wire::Leaf(value) => Some(value),
            _ => None,
        })
}
