//! A SOPS file, encrypted and plain, and the ways between the two.

mod compare;
mod layout;
mod open;
mod seal;
mod stash;
mod walk;

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use zeroize::{Zeroize, Zeroizing};

use self::compare::same_values;
use self::layout::Layout;
use self::open::Opening;
use self::seal::Sealing;
use self::stash::Stash;
use self::walk::{NotAString, Place, Sort, walk};
use crate::cipher::{Cipher, Nonces, OpenedLeaf};
use crate::edge::{Clock, Rng};
use crate::format::{EditError, Format, Layout as Indent, ParseError, PrintError, structure};
use crate::key_path::{KeyPath, Step};
use crate::mac::{self, Mac};
use crate::metadata::{Metadata, MetadataError};
use crate::scope::Scope;
use crate::secret::DataKey;
use crate::tree::{Edits, Encoding, Entry, Kind, METADATA_KEY, NodeId, Tree, Wire};
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
}

impl Drop for Text {
    fn drop(&mut self) {
        if !self.is_public {
            self.text.zeroize();
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

impl PlainFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`ParseError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, ParseError> {
        let text = Text::parsed(format.parse(source)?);
        Ok(Self { format, text, drift: Drifts::new(), layout: Indent::default(), encoding: Encoding::of(source) })
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
            let mut seen: HashMap<&str, NodeId> = HashMap::new();
            for child in tree.children(id) {
                stack.push(child);
                let Some(key) = &tree.node(child).key else { continue };
                if let Some(first) = seen.insert(tree.key(child), child) {
                    let line = |at| tree.line_and_column(at).0;
                    let first = tree.node(first).key.as_ref().map_or(0, |it| line(it.span.start));
                    found.push(format!("{:?} in lines {first} and {}", tree.key(child), line(key.span.start)));
                }
            }
        }
        found
    }

    /// Counts what `scope` covers.
    ///
    /// # Errors
    ///
    /// If the document cannot be walked.
    pub fn census(&self, scope: &Scope) -> Result<Census, SealError> {
        let tree = self.tree()?;
        let mut census = Census { leaves: 0, covered: 0, keys: Vec::new() };
        walk(self.format, tree, scope, |visit| {
            if visit.sort == Sort::Scalar && !self.format.value(tree, visit.id)?.is_empty() {
                census.leaves += 1;
                census.covered += usize::from(visit.covered);
            }
            Ok::<(), SealError>(())
        })?;
        let mut seen = HashSet::new();
        let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
        while let Some(id) = stack.pop() {
            for child in tree.children(id) {
                stack.push(child);
                if tree.node(child).key.is_some() && seen.insert(tree.key(child)) {
                    census.keys.push(tree.key(child).to_owned());
                }
            }
        }
        Ok(census)
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
            stash: Stash::default(),
            before: None,
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

    fn wires(&self) -> Result<Vec<Wire>, ParseError> {
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

    /// What `decrypt --extract` prints (spec section 8.8).
    ///
    /// # Errors
    ///
    /// See [`ExtractError`].
    pub fn extract(
        &self,
        at: &KeyPath,
        format: &dyn Format,
        layout: &Indent,
    ) -> Result<Zeroizing<String>, ExtractError> {
        let tree = self.tree()?;
        let mut wires = tree.documents().iter();
        let first = wires.next().ok_or_else(|| ExtractError::Path("the file has no document".to_owned()))?;
        let mut id = first.root;
        for (n, step) in at.0.iter().enumerate() {
            id = tree.resolve(id);
            let node = tree.node(id);
            let found = match (node.kind, step) {
                (Kind::Map, Step::Key(key)) => tree.child(id, key),
                (Kind::List, Step::Index(index)) => tree.children(id).nth(*index),
                (Kind::Map, Step::Index(index)) => {
                    // SOPS shows the entry itself, key and value.
                    let entry = tree.children(id).nth(*index);
                    let entry = entry.ok_or_else(|| ExtractError::Path(out_of_bounds(*index)))?;
                    if n + 1 < at.0.len() {
                        return Err(ExtractError::Path(format!("component [{index}] is an entry of a mapping")));
                    }
                    let pair = Wire::Map(vec![
                        Entry::Pair("key".to_owned(), Wire::text(tree.key(entry))),
                        Entry::Pair("value".to_owned(), self.format.wire(tree, entry)?),
                    ]);
                    return Ok(format.print_value(&pair)?);
                }
                (_, Step::Index(index)) => {
                    let reason = format!("component [{index}] is integer, but tree part is not a slice");
                    return Err(ExtractError::Path(reason));
                }
                (_, Step::Key(_)) => None,
            };
            id = found.ok_or_else(|| {
                ExtractError::Path(match step {
                    Step::Key(key) => format!("component ['{key}'] not found"),
                    Step::Index(index) => out_of_bounds(*index),
                })
            })?;
        }
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
                for document in wires {
                    documents.push(self.format.wire(tree, document.root)?);
                }
                Ok(format.print(&documents, layout)?)
            }
            wire => Ok(format.print_value(&wire)?),
        }
    }

    /// The file with `what` at `at`, or `None` if that is what it says already.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn set(&self, at: &KeyPath, what: &Wire) -> Result<Option<Self>, EditError> {
        let tree = self.tree()?;
        if let Some(id) = find(tree, at)
            && self.format.wire(tree, id)? == *what
        {
            return Ok(None);
        }
        let mut edits = Edits::default();
        self.format.insert(tree, at, what, &mut edits)?;
        self.edited(edits, |document| structure::set(document, &at.0, what)).map(Some)
    }

    /// The file without what is at `at`.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn unset(&self, at: &KeyPath) -> Result<Self, EditError> {
        let mut edits = Edits::default();
        self.format.remove(self.tree()?, at, &mut edits)?;
        self.edited(edits, |document| structure::unset(document, &at.0))
    }

    /// The file after a change of its text, which must amount to `change`. Where a text is too
    /// tangled for that, it is laid out anew as SOPS does: what it says comes before how.
    fn edited(&self, edits: Edits, change: impl Fn(&mut Wire) -> Result<(), EditError>) -> Result<Self, EditError> {
        let mut meant = self.wires()?;
        if let Some(first) = meant.first_mut() {
            change(first)?;
        }
        let file = |text| Self { text: Text::secret(text), drift: Drifts::new(), ..*self };
        let edited = file(edits.apply(self.text()));
        let says = |file: &Self| {
            let is_meant =
                |it: Vec<Wire>| it.len() == meant.len() && it.iter().zip(&meant).all(|(a, b)| same_values(a, b));
            file.wires().is_ok_and(is_meant)
        };
        if says(&edited) {
            return Ok(edited);
        }
        let printed = file(self.format.print(&meant, &self.layout)?);
        match says(&printed) {
            true => Ok(printed),
            false => Err(EditError::Tangled),
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

fn out_of_bounds(index: usize) -> String {
    format!("component [{index}] accesses out of bounds")
}

fn find(tree: &Tree, at: &KeyPath) -> Option<NodeId> {
    let mut id = tree.documents().first()?.root;
    for step in &at.0 {
        id = tree.resolve(id);
        id = match step {
            Step::Key(key) => tree.child(id, key)?,
            Step::Index(index) if tree.node(id).kind == Kind::List => tree.children(id).nth(*index)?,
            Step::Index(_) => return None,
        };
    }
    Some(id)
}

impl EncryptedFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, LoadError> {
        let mut tree = format.parse(source)?;
        tree.set_public();
        let document = tree.documents().first().ok_or(LoadError::NotEncrypted)?;
        let block = tree.child(document.root, METADATA_KEY).ok_or(LoadError::NotEncrypted)?;
        let metadata = Metadata::from_wire(&format.wire(&tree, block)?)?;
        Ok(Self { format, text: Text::parsed(tree), metadata })
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
        self.text.as_str()
    }

    fn tree(&self) -> Result<&Tree, ParseError> {
        self.text.tree(self.format)
    }

    /// Decrypts every leaf and checks the MAC over them.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&self, key: &DataKey) -> Result<Opened, OpenError> {
        self.open_with(key, true)
    }

    /// Decrypts every leaf, whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_ignoring_mac(&self, key: &DataKey) -> Result<Opened, OpenError> {
        self.open_with(key, false)
    }

    fn open_with(&self, key: &DataKey, check_mac: bool) -> Result<Opened, OpenError> {
        let tree = self.tree()?;
        let cipher = Cipher::new(key);
        let layout = match &self.metadata.layout {
            Some(sealed) => match cipher.open(sealed, layout::AAD) {
                Ok(OpenedLeaf { value: Value::Str(text), .. }) => Layout::parse(text.expose_str().unwrap_or("")),
                _ => Layout::default(),
            },
            None => Layout::default(),
        };
        let opening = Opening { format: self.format, tree, metadata: &self.metadata, cipher: &cipher };
        let plain = opening.open(&layout)?;
        if check_mac {
            self.check_mac(&cipher, &plain.mac)?;
        }
        let encoding = layout.get(layout::FILE, "").and_then(Encoding::named).unwrap_or_default();
        let file = |text, drift| PlainFile {
            format: self.format,
            text: Text::secret(text),
            drift,
            layout: Indent::default(),
            encoding,
        };
        let opened = Opened { file: file(plain.text, plain.drift), warnings: plain.warnings };
        if layout.is_empty() || opening.says_the_same(&opened.file, &plain.mac) {
            return Ok(opened);
        }
        // A spelling no longer fits what others made of the file: the canonical ones do.
        let plain = opening.open(&Layout::default())?;
        Ok(Opened { file: file(plain.text, plain.drift), warnings: plain.warnings })
    }

    fn check_mac(&self, cipher: &Cipher, computed: &str) -> Result<(), OpenError> {
        let Some(stored) = self.metadata.mac.as_deref().filter(|it| !it.is_empty()) else {
            return Err(OpenError::NoMac);
        };
        let opened = cipher.open(stored, self.metadata.last_modified.as_str());
        let opened = opened.map_err(|reason| OpenError::MacUnreadable(reason.to_string()))?;
        match mac::same(&opened.value.canonical(), computed.as_bytes()) {
            true => Ok(()),
            false => Err(OpenError::MacMismatch),
        }
    }

    /// Seals `edited` under the key of this file. A leaf that has not changed keeps its ciphertext,
    /// the metadata keeps its text but for what changes, so a review shows what was edited.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn reseal(
        &self,
        edited: &PlainFile,
        metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Self, SealError> {
        if edited.has_metadata() {
            return Err(SealError::AlreadyEncrypted);
        }
        let tree = self.tree()?;
        let cipher = Cipher::new(key);
        let mut stash = Stash::of(self.format, tree, &self.metadata.scope, &cipher)?;
        if let Some(sealed) = &self.metadata.layout {
            stash.keep(sealed, layout::AAD, &cipher);
        }
        let sealing = Sealing {
            format: self.format,
            cipher: &cipher,
            nonces: Nonces::new(rng),
            stash,
            before: Some(tree),
            drift: &Drifts::new(),
            layout: edited.layout,
            encoding: edited.encoding,
        };
        sealing.seal(edited.tree()?, metadata, clock)
    }

    /// The same values under a new data key: nothing that was sealed stays.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rotate(
        &self,
        opened: &PlainFile,
        metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Self, SealError> {
        let sealing = Sealing {
            format: self.format,
            cipher: &Cipher::new(key),
            nonces: Nonces::new(rng),
            stash: Stash::default(),
            before: Some(self.tree()?),
            drift: &opened.drift,
            layout: opened.layout,
            encoding: opened.encoding,
        };
        sealing.seal(opened.tree()?, metadata, clock)
    }

    /// True if both have the same text but for their metadata: then both hold the same ciphertexts.
    pub fn same_leaves(&self, other: &Self) -> bool {
        let bare = |file: &Self| {
            let tree = file.tree().ok()?;
            let mut edits = Edits::public();
            for document in tree.documents() {
                file.format.detach(tree, document, &mut edits);
            }
            Some(edits.apply(tree.source()))
        };
        bare(self).is_some_and(|it| bare(other).is_some_and(|other| *it == *other))
    }

    /// The same leaves with other key groups: neither MAC nor time change.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rewrap(&self, metadata: Metadata) -> Result<Self, SealError> {
        let tree = self.tree()?;
        let mut edits = Edits::public();
        self.format.attach(tree, &metadata.to_wire(), Some(tree), &Indent::default(), &mut edits);
        let text = Text::public(edits.apply(tree.source()));
        Ok(Self { format: self.format, text, metadata })
    }
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
