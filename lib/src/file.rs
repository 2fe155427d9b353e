//! A SOPS file, encrypted and plain, and the ways between the two.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet, VecDeque};

use zeroize::Zeroizing;

use crate::cipher::{Cipher, Nonces, OpenedLeaf};
use crate::edge::{Clock, Rng};
use crate::format::{EditError, Format, Layout as Indent, ParseError, ParseErrorKind, PrintError};
use crate::key_path::{KeyPath, Step};
use crate::layout::{self, Layout};
use crate::mac::{self, Mac};
use crate::metadata::{Metadata, MetadataError};
use crate::scope::{Coverage, Scope, Selector};
use crate::secret::{DataKey, SecretText};
use crate::tree::{Edits, Entry, Kind, METADATA_KEY, NodeId, Style, Tree, Wire};
use crate::value::Value;
use crate::walk::{NotAString, Sort, Visit, walk};

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
}

/// A text that is parsed when somebody asks for its structure.
struct Text {
    text: Zeroizing<String>,
    tree: OnceCell<Tree>,
}

impl Text {
    fn parsed(tree: Tree) -> Self {
        Self { text: Zeroizing::new(String::new()), tree: OnceCell::from(tree) }
    }

    fn unparsed(text: Zeroizing<String>) -> Self {
        Self { text, tree: OnceCell::new() }
    }

    fn as_str(&self) -> &str {
        self.tree.get().map_or(&self.text, |it| it.source())
    }

    fn tree(&self, format: &dyn Format) -> Result<&Tree, ParseError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = match self.text.is_empty() {
            // What is left of a file that held nothing but its metadata.
            true => Tree::new(Zeroizing::new(String::new())),
            false => format.parse(self.text.as_bytes())?,
        };
        Ok(self.tree.get_or_init(|| tree))
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
        Ok(Self { format, text: Text::parsed(format.parse(source)?) })
    }

    /// The format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.text.as_str()
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
        tree.documents().iter().map(|it| self.format.wire(tree, it.root)).collect()
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
        self.edited(edits).map(Some)
    }

    /// The file without what is at `at`.
    ///
    /// # Errors
    ///
    /// See [`EditError`].
    pub fn unset(&self, at: &KeyPath) -> Result<Self, EditError> {
        let mut edits = Edits::default();
        self.format.remove(self.tree()?, at, &mut edits)?;
        self.edited(edits)
    }

    fn edited(&self, edits: Edits) -> Result<Self, EditError> {
        let file = Self { format: self.format, text: Text::unparsed(edits.apply(self.text())) };
        file.tree()?;
        Ok(file)
    }

    /// True if both say the same values at the same places, whatever their spelling and comments.
    pub fn same_values(&self, other: &Self) -> bool {
        match (self.wires(), other.wires()) {
            (Ok(one), Ok(other)) => {
                one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| same_values(one, other))
            }
            _ => false,
        }
    }
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

fn same_values(one: &Wire, other: &Wire) -> bool {
    match (one, other) {
        (Wire::Leaf(one), Wire::Leaf(other)) => {
            one.type_name() == other.type_name() && mac::same(&one.canonical(), &other.canonical())
        }
        (Wire::List(_), Wire::List(_)) => {
            one.items().count() == other.items().count()
                && one.items().zip(other.items()).all(|(one, other)| same_values(one, other))
        }
        (Wire::Map(_), Wire::Map(_)) => {
            one.pairs().count() == other.pairs().count()
                && one.pairs().zip(other.pairs()).all(|(one, other)| one.0 == other.0 && same_values(one.1, other.1))
        }
        _ => false,
    }
}

impl EncryptedFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, LoadError> {
        let tree = format.parse(source)?;
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
        let (text, computed, warnings) = opening.open(&layout)?;
        if check_mac {
            self.check_mac(&cipher, &computed)?;
        }
        let mut file = PlainFile { format: self.format, text: Text::unparsed(text) };
        if !layout.is_empty() && !opening.says_the_same(&file, &computed) {
            // A spelling no longer fits what others made of the file: the canonical ones do.
            let (text, _, _) = opening.open(&Layout::default())?;
            file = PlainFile { format: self.format, text: Text::unparsed(text) };
        }
        Ok(Opened { file, warnings })
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
        let sealing =
            Sealing { format: self.format, cipher: &cipher, nonces: Nonces::new(rng), stash, before: Some(tree) };
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
        };
        sealing.seal(opened.tree()?, metadata, clock)
    }

    /// The same leaves with other key groups: neither MAC nor time change.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rewrap(&self, metadata: Metadata) -> Result<Self, SealError> {
        let tree = self.tree()?;
        let mut edits = Edits::default();
        self.format.attach(tree, &metadata.to_wire(), Some(tree), &mut edits);
        let text = Text::unparsed(edits.apply(tree.source()));
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

// ── opening ──────────────────────────────────────────────────────────────────────────────────

struct Opening<'o> {
    format: &'static dyn Format,
    tree: &'o Tree,
    metadata: &'o Metadata,
    cipher: &'o Cipher,
}

impl Opening<'_> {
    /// The decrypted text, the MAC over it, and what people should know.
    fn open(&self, layout: &Layout) -> Result<(Zeroizing<String>, String, Vec<String>), OpenError> {
        let Self { format, tree, metadata, cipher } = *self;
        let mac_only_encrypted = metadata.scope.mac_only_encrypted;
        let mut mac = Mac::new(mac_only_encrypted);
        let mut edits = Edits::default();
        let mut warnings = tree.warnings.clone();
        let mut replaced = Replaced::default();
        if !layout.is_empty() {
            replaced = self.restore_containers(layout, &mut edits);
        }
        let mut comments = LostComments::default();
        let mut comment_items = HashSet::new();
        walk(format, tree, &metadata.scope, |Visit { id, sort, covered, aad, place, .. }| {
            let failed = |reason: String| OpenError::Leaf { at: place.path(), reason };
            match sort {
                Sort::Comment => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered && !text.is_empty() && !replaced.covers(tree, id) {
                        match cipher.open(&text, aad) {
                            Ok(opened) => self.replace_comment(id, opened.value, &mut edits),
                            Err(_) => comments.lost(id, aad),
                        }
                    }
                    return Ok(());
                }
                Sort::CommentItem => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered {
                        let opened = cipher.open(&text, aad).map_err(|it| failed(it.to_string()))?;
                        if let Value::Comment(text) = &opened.value {
                            format.uncomment(tree, id, text, &mut edits);
                            comment_items.insert(id);
                        }
                    }
                    return Ok(());
                }
                Sort::Alias => return self.absorb_alias(id, covered, &mut mac).map_err(failed),
                Sort::Scalar => (),
            }
            comments.find(aad, |id, aad| self.reopen_comment(id, aad, &mut edits));
            if !covered {
                let value = format.value(tree, id)?;
                if !mac_only_encrypted {
                    mac.absorb(&value.canonical());
                }
                return Ok(());
            }
            let Some(text) = format.str(tree, id) else {
                return match format.value(tree, id)? {
                    Value::Null => Ok(()),
                    other => Err(failed(format!("Expected encrypted value as string, but got {}", other.type_name()))),
                };
            };
            if text.is_empty() {
                return Ok(());
            }
            let OpenedLeaf { value, spelling } = cipher.open(&text, aad).map_err(|it| failed(it.to_string()))?;
            mac.absorb(&value.canonical());
            if replaced.covers(tree, id) {
                return Ok(());
            }
            if !layout.is_empty()
                && let Some(was) = layout.get(&place.text(), &text)
            {
                format.restore(tree, id, was, &mut edits);
                return Ok(());
            }
            let carried = spelling.as_ref().and_then(SecretText::expose_str);
            match carried.filter(|it| format.read_bare(it).as_ref() == Some(&value)) {
                Some(text) => format.replace(tree, id, text, &mut edits),
                None => format.replace(tree, id, &format.spell(tree, id, &value), &mut edits),
            }
            Ok::<(), OpenError>(())
        })?;
        for id in comments.never_found() {
            let (line, _) = tree.line_and_column(tree.node(id).span.start);
            warnings.push(format!("line {line}: Found possibly unencrypted comment in file"));
        }
        self.spell_empty_lists(&comment_items, &mut edits);
        for (n, document) in tree.documents().iter().enumerate() {
            if !replaced.documents.contains(&n) {
                format.detach(tree, document, &mut edits);
            }
        }
        Ok((edits.apply(tree.source()), mac.finish(), warnings))
    }

    fn replace_comment(&self, id: NodeId, value: Value, edits: &mut Edits) {
        if let Value::Comment(_) = &value {
            self.format.replace(self.tree, id, &self.format.spell(self.tree, id, &value), edits);
        }
    }

    fn reopen_comment(&self, id: NodeId, aad: &str, edits: &mut Edits) -> bool {
        let text = self.format.str(self.tree, id).unwrap_or_default();
        match self.cipher.open(&text, aad) {
            Ok(opened) => {
                self.replace_comment(id, opened.value, edits);
                true
            }
            Err(_) => false,
        }
    }

    /// Adds what an alias stands for to the MAC. Only what is not encrypted can be shared.
    fn absorb_alias(&self, id: NodeId, covered: bool, mac: &mut Mac) -> Result<(), String> {
        let wire = self.format.wire(self.tree, id).map_err(|it| it.to_string())?;
        if covered && has_leaf(&wire) {
            return Err("an alias stands where an encrypted value is expected".to_owned());
        }
        if !self.metadata.scope.mac_only_encrypted {
            absorb(&wire, mac);
        }
        Ok(())
    }

    /// Puts back what was written out: aliases of mappings and lists, and documents that hold
    /// nothing but comments.
    fn restore_containers(&self, layout: &Layout, edits: &mut Edits) -> Replaced {
        let mut replaced = Replaced::default();
        for (n, document) in self.tree.documents().iter().enumerate() {
            let is_bare = self.tree.children(document.root).filter(|it| self.tree.node(*it).key.is_some()).count() <= 1;
            if is_bare && let Some(text) = layout.get(&n.to_string(), "") {
                edits.replace(document.span, text);
                replaced.documents.insert(n);
                replaced.spans.push(document.span);
                continue;
            }
            let mut stack = vec![(document.root, n.to_string())];
            while let Some((id, place)) = stack.pop() {
                let mut index = 0;
                for child in self.tree.children(id) {
                    let node = self.tree.node(child);
                    if let Kind::Comment { .. } = node.kind {
                        continue;
                    }
                    let place = match node.key {
                        Some(_) => format!("{place}[{:?}]", self.tree.key(child)),
                        None => format!("{place}[{index}]"),
                    };
                    index += 1;
                    if !matches!(node.kind, Kind::Map | Kind::List) {
                        continue;
                    }
                    let region = self.format.region(self.tree, child);
                    match layout.get(&place, self.tree.text(region).trim()) {
                        Some(text) => {
                            edits.replace(region, text);
                            replaced.spans.push(region);
                        }
                        None => stack.push((child, place)),
                    }
                }
            }
        }
        replaced.spans.sort_by_key(|it| it.start);
        replaced
    }

    /// A list whose items were all comments is an empty list.
    fn spell_empty_lists(&self, comment_items: &HashSet<NodeId>, edits: &mut Edits) {
        if comment_items.is_empty() {
            return;
        }
        for id in (0..self.tree.len() as u32).map(NodeId) {
            let is_comment =
                |it: NodeId| comment_items.contains(&it) || matches!(self.tree.node(it).kind, Kind::Comment { .. });
            let node = self.tree.node(id);
            if node.kind == Kind::List && self.tree.first_child(id).is_some() && self.tree.children(id).all(is_comment)
            {
                self.format.spell_empty(self.tree, id, edits);
            }
        }
    }

    /// True if a decrypted text says what was decrypted.
    fn says_the_same(&self, file: &PlainFile, computed: &str) -> bool {
        let Ok(tree) = file.tree() else { return false };
        let scope = &self.metadata.scope;
        let mut mac = Mac::new(scope.mac_only_encrypted);
        let walked = walk(self.format, tree, scope, |visit| {
            if visit.covered || !scope.mac_only_encrypted {
                match visit.sort {
                    Sort::Scalar => mac.absorb(&self.format.value(tree, visit.id)?.canonical()),
                    Sort::Alias => absorb(&self.format.wire(tree, visit.id)?, &mut mac),
                    Sort::Comment | Sort::CommentItem => (),
                }
            }
            Ok::<(), OpenError>(())
        });
        walked.is_ok() && mac.finish() == computed
    }
}

/// What has been replaced as a whole.
#[derive(Default)]
struct Replaced {
    spans: Vec<crate::tree::Span>,
    documents: HashSet<usize>,
}

impl Replaced {
    fn covers(&self, tree: &Tree, id: NodeId) -> bool {
        if self.spans.is_empty() {
            return false;
        }
        let span = tree.node(id).span;
        let after = self.spans.partition_point(|it| it.start <= span.start);
        after > 0 && span.end <= self.spans[after - 1].end
    }
}

/// Comments that do not open where they stand. A comment can come to stand in another container
/// when a file is written in another layout (spec section 2.5), so those nearby are tried.
#[derive(Default)]
struct LostComments {
    waiting: Vec<NodeId>,
    lost: Vec<NodeId>,
    last_aad: String,
}

impl LostComments {
    fn lost(&mut self, id: NodeId, _aad: &str) {
        self.waiting.push(id);
    }

    /// Tries the containers of the leaf before and of the leaf after.
    fn find(&mut self, aad: &str, mut open: impl FnMut(NodeId, &str) -> bool) {
        if !self.waiting.is_empty() {
            for id in std::mem::take(&mut self.waiting) {
                let nearby = [self.last_aad.as_str(), aad];
                let found = nearby
                    .iter()
                    .any(|aad| open(id, ":") || aad.match_indices(':').any(|(end, _)| open(id, &aad[..=end])));
                if !found {
                    self.lost.push(id);
                }
            }
        }
        self.last_aad.clear();
        self.last_aad.push_str(aad);
    }

    fn never_found(self) -> impl Iterator<Item = NodeId> {
        self.lost.into_iter().chain(self.waiting)
    }
}

fn has_leaf(wire: &Wire) -> bool {
    match wire {
        Wire::Leaf(value) => !value.is_empty(),
        Wire::List(_) => wire.items().any(has_leaf),
        Wire::Map(_) => wire.pairs().any(|(_, it)| has_leaf(it)),
    }
}

fn absorb(wire: &Wire, mac: &mut Mac) {
    match wire {
        Wire::Leaf(value) => mac.absorb(&value.canonical()),
        Wire::List(_) => wire.items().for_each(|it| absorb(it, mac)),
        Wire::Map(_) => wire.pairs().for_each(|(_, it)| absorb(it, mac)),
    }
}

// ── sealing ──────────────────────────────────────────────────────────────────────────────────

/// The ciphertexts of a file by what they say and where: what has not changed is not sealed again.
#[derive(Default)]
struct Stash(HashMap<(String, &'static str, SecretText), VecDeque<String>>);

impl Stash {
    fn of(format: &dyn Format, tree: &Tree, scope: &Scope, cipher: &Cipher) -> Result<Self, ParseError> {
        let mut stash = Self::default();
        let walked = walk(format, tree, scope, |visit| {
            if let Some(text) = format.str(tree, visit.id).filter(|it| visit.covered && !it.is_empty()) {
                stash.keep(&text, visit.aad, cipher);
            }
            Ok::<(), OpenError>(())
        });
        match walked {
            Err(OpenError::Parse(problem)) => Err(problem),
            _ => Ok(stash),
        }
    }

    fn keep(&mut self, sealed: &str, aad: &str, cipher: &Cipher) {
        if let Ok(OpenedLeaf { value, spelling }) = cipher.open(sealed, aad) {
            let plaintext = spelling.unwrap_or_else(|| SecretText::new(value.canonical().into_owned()));
            let key = (aad.to_owned(), value.type_name(), plaintext);
            self.0.entry(key).or_default().push_back(sealed.to_owned());
        }
    }

    /// Takes the ciphertext of this value at this place; of several, the first that is left.
    fn take(&mut self, aad: &str, type_name: &'static str, plaintext: &[u8]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let key = (aad.to_owned(), type_name, SecretText::new(plaintext));
        self.0.get_mut(&key)?.pop_front()
    }
}

struct Sealing<'s> {
    format: &'static dyn Format,
    cipher: &'s Cipher,
    nonces: Nonces<'s>,
    stash: Stash,
    /// The file that this one takes the place of.
    before: Option<&'s Tree>,
}

impl Sealing<'_> {
    fn seal(mut self, tree: &Tree, mut metadata: Metadata, clock: &dyn Clock) -> Result<EncryptedFile, SealError> {
        let format = self.format;
        let mut mac = Mac::new(metadata.scope.mac_only_encrypted);
        let mut edits = Edits::default();
        let mut layout = Layout::default();
        let expanded = aliases_to_expand(format, tree, &metadata.scope)?;
        let mut covers_comments = false;
        walk(format, tree, &metadata.scope, |visit| {
            match visit.sort {
                Sort::Comment | Sort::CommentItem => covers_comments |= visit.covered,
                Sort::Alias => {
                    self.seal_alias(tree, visit, &metadata.scope, &expanded, &mut mac, &mut edits, &mut layout)?;
                }
                Sort::Scalar => self.seal_scalar(tree, visit, &metadata.scope, &mut mac, &mut edits, &mut layout)?,
            }
            Ok::<(), SealError>(())
        })?;
        for (n, document) in tree.documents().iter().enumerate() {
            let bare = tree.children(document.root).all(|it| tree.node(it).key.is_none());
            if bare && tree.node(document.root).style != Style::Flow {
                // What has no content cannot show that it had none but for its spelling.
                layout.note(n.to_string(), "", tree.text(document.span));
            }
        }
        metadata.last_modified = clock.now();
        let computed = Value::str(&mac.finish());
        let aad = metadata.last_modified.as_str();
        metadata.mac = Some(self.cipher.seal(&computed, &computed.canonical(), aad, &mut self.nonces));
        metadata.layout = layout.print().map(|text| {
            let value = Value::str(&text);
            let kept = self.stash.take(layout::AAD, "str", text.as_bytes());
            kept.unwrap_or_else(|| self.cipher.seal(&value, text.as_bytes(), layout::AAD, &mut self.nonces))
        });
        format.attach(tree, &metadata.to_wire(), self.before, &mut edits);
        let mut text = edits.apply(tree.source());
        if covers_comments {
            text = self.seal_comments(text, &metadata.scope)?;
        }
        Ok(EncryptedFile { format, text: Text::unparsed(text), metadata })
    }

    fn seal_scalar(
        &mut self,
        tree: &Tree,
        visit: Visit<'_, '_>,
        scope: &Scope,
        mac: &mut Mac,
        edits: &mut Edits,
        layout: &mut Layout,
    ) -> Result<(), SealError> {
        let Visit { id, covered, aad, place, .. } = visit;
        let format = self.format;
        let value = format.value(tree, id).map_err(|problem| at_place(problem, &place.path()))?;
        if covered || !scope.mac_only_encrypted {
            mac.absorb(&value.canonical());
        }
        if !covered || value.is_empty() {
            return Ok(());
        }
        let original = tree.text(tree.node(id).span);
        // Numbers and booleans carry their own spelling, where SOPS reads it as the same value.
        let canonical = value.canonical();
        let carried = !matches!(value, Value::Str(_) | Value::Time(_))
            && tree.tag(id).is_none()
            && *original.as_bytes() != *canonical
            && format.read_bare(original).as_ref() == Some(&value)
            && Value::from_canonical(value.type_name(), original.as_bytes().to_vec()).as_ref() == Ok(&value);
        let spelt = match carried {
            true => None,
            false => Some(format.spell_again(tree, id, &value)),
        };
        // The canonical spelling needs no carrying even if it differs from the canonical bytes.
        let canonical_spelling = format.spell_again(tree, id, &value);
        let plaintext = match carried && *canonical_spelling != *original {
            true => original.as_bytes(),
            false => &canonical,
        };
        let envelope = self.envelope(&value, plaintext, aad);
        let is_kept = spelt.as_ref().is_none_or(|it| it.as_str() == original) && tree.tag(id).is_none();
        if !is_kept {
            layout.note(place.text(), &envelope, &format.original(tree, id));
        }
        format.replace(tree, id, &format.sealed(tree, id, &envelope), edits);
        Ok(())
    }

    fn envelope(&mut self, value: &Value, plaintext: &[u8], aad: &str) -> String {
        self.stash
            .take(aad, value.type_name(), plaintext)
            .unwrap_or_else(|| self.cipher.seal(value, plaintext, aad, &mut self.nonces))
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one walk")]
    fn seal_alias(
        &mut self,
        tree: &Tree,
        visit: Visit<'_, '_>,
        scope: &Scope,
        expanded: &HashSet<NodeId>,
        mac: &mut Mac,
        edits: &mut Edits,
        layout: &mut Layout,
    ) -> Result<(), SealError> {
        let Visit { id, aad, place, coverage, .. } = visit;
        let mut wire = without_comments(self.format.wire(tree, id)?);
        if !expanded.contains(&id) {
            if !scope.mac_only_encrypted {
                absorb(&wire, mac);
            }
            return Ok(());
        }
        self.seal_wire(&mut wire, aad, coverage, scope, mac);
        let is_container = !matches!(wire, Wire::Leaf(_));
        let text = self.format.expand(tree, id, &wire, edits);
        let sealed = match &wire {
            Wire::Leaf(value) => String::from_utf8_lossy(&value.canonical()).into_owned(),
            _ => text.as_str().to_owned(),
        };
        let region = self.format.region(tree, id);
        let gap = match is_container {
            true => {
                let before = &tree.source()[..region.range().start];
                &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..]
            }
            false => "",
        };
        layout.note(place.text(), &sealed, &format!("{gap}{}", tree.text(region)));
        Ok(())
    }

    /// Seals structure that is about to be written out in place of an alias.
    fn seal_wire(&mut self, wire: &mut Wire, aad: &str, coverage: &mut Coverage<'_>, scope: &Scope, mac: &mut Mac) {
        match wire {
            Wire::Leaf(value) => {
                let covered = coverage.value();
                if covered || !scope.mac_only_encrypted {
                    mac.absorb(&value.canonical());
                }
                if covered && !value.is_empty() {
                    let canonical = value.canonical().into_owned();
                    *value = Value::str(&self.envelope(value, &canonical, aad));
                }
            }
            Wire::List(items) => {
                coverage.enter();
                for item in items {
                    self.seal_wire(item, aad, coverage, scope, mac);
                    coverage.item_done();
                }
                coverage.leave();
            }
            Wire::Map(entries) => {
                coverage.enter();
                for entry in entries {
                    if let Entry::Pair(key, value) = entry {
                        coverage.key(key);
                        self.seal_wire(value, &format!("{aad}{key}:"), coverage, scope, mac);
                        coverage.pop_key();
                        coverage.item_done();
                    }
                }
                coverage.leave();
            }
        }
    }

    /// Seals the comments of a text whose values are sealed already: the container that a comment
    /// belongs to is the one that readers of this text see.
    fn seal_comments(&mut self, text: Zeroizing<String>, scope: &Scope) -> Result<Zeroizing<String>, SealError> {
        let format = self.format;
        let tree = format.parse(text.as_bytes())?;
        let mut edits = Edits::default();
        walk(format, &tree, scope, |Visit { id, sort, covered, aad, place, .. }| {
            if sort != Sort::Comment || !covered {
                return Ok(());
            }
            let value = format.value(&tree, id)?;
            if value.is_empty() {
                return Ok(());
            }
            let envelope = self.envelope(&value, &value.canonical(), aad);
            if let Selector::UnencryptedCommentRegex(_) = &scope.selector
                && scope.selector.mistakes_for_comment(&envelope)
            {
                let reason = "Encrypted comment matches UnencryptedCommentRegex! Make sure that \
                              UnencryptedCommentRegex cannot match an encrypted comment."
                    .to_owned();
                return Err(SealError::Leaf { at: place.path(), reason });
            }
            format.replace(&tree, id, &format.sealed(&tree, id, &envelope), &mut edits);
            Ok::<(), SealError>(())
        })?;
        Ok(edits.apply(tree.source()))
    }
}

/// A problem of one leaf, with its place.
fn at_place(problem: ParseError, at: &str) -> SealError {
    match problem.kind {
        ParseErrorKind::NotEncryptable => SealError::Leaf { at: at.to_owned(), reason: problem.message },
        _ => SealError::Parse(problem),
    }
}

fn without_comments(wire: Wire) -> Wire {
    match wire {
        Wire::Leaf(value) => Wire::Leaf(value),
        Wire::List(items) => Wire::List(
            items.into_iter().filter(|it| !matches!(it, Wire::Leaf(Value::Comment(_)))).map(without_comments).collect(),
        ),
        Wire::Map(entries) => Wire::Map(
            entries
                .into_iter()
                .filter_map(|it| match it {
                    Entry::Pair(key, value) => Some(Entry::Pair(key, without_comments(value))),
                    Entry::Comment(_) => None,
                })
                .collect(),
        ),
    }
}

/// The aliases that cannot stay: something that they stand for is encrypted, there or here.
fn aliases_to_expand(format: &dyn Format, tree: &Tree, scope: &Scope) -> Result<HashSet<NodeId>, SealError> {
    let mut expanded = HashSet::new();
    let mut sealed: HashSet<NodeId> = HashSet::new();
    let mut aliases = Vec::new();
    walk(format, tree, scope, |Visit { id, sort, covered, coverage, .. }| {
        match sort {
            Sort::Scalar if covered => {
                sealed.insert(id);
            }
            Sort::Alias => {
                let wire = format.wire(tree, id)?;
                if covers(&wire, coverage) {
                    expanded.insert(id);
                }
                aliases.push(id);
            }
            _ => (),
        }
        Ok::<(), SealError>(())
    })?;
    if aliases.is_empty() {
        return Ok(expanded);
    }
    loop {
        let n = expanded.len();
        for id in &aliases {
            let mut stack = vec![tree.resolve(*id)];
            while let Some(below) = stack.pop() {
                if sealed.contains(&below) || expanded.contains(&below) {
                    expanded.insert(*id);
                    break;
                }
                stack.extend(tree.children(below));
            }
        }
        if expanded.len() == n {
            return Ok(expanded);
        }
    }
}

/// True if the scope picks a leaf of `wire`, were it to stand where `coverage` is.
fn covers(wire: &Wire, coverage: &mut Coverage<'_>) -> bool {
    match wire {
        Wire::Leaf(value) => coverage.value() && !value.is_empty(),
        Wire::List(items) => {
            coverage.enter();
            let found = items.iter().any(|it| covers(it, coverage));
            coverage.leave();
            found
        }
        Wire::Map(_) => {
            coverage.enter();
            let mut found = false;
            for (key, value) in wire.pairs() {
                coverage.key(key);
                found |= covers(value, coverage);
                coverage.pop_key();
            }
            coverage.leave();
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Timestamp;
    use crate::format;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_utc_seconds("2026-01-02T03:04:05Z")
        }
    }

    /// Counts. Good enough to tell nonces apart.
    struct Counter(u8);

    impl Rng for Counter {
        fn fill(&mut self, buf: &mut [u8]) {
            for byte in buf {
                self.0 = self.0.wrapping_mul(31).wrapping_add(7);
                *byte = self.0;
            }
        }
    }

    fn metadata(field: &str, text: &str) -> Metadata {
        let selector = Selector::from_field(field, text).expect("a selector").expect("a pattern");
        let scope = Scope { selector, mac_only_encrypted: false };
        Metadata::new(vec![], 0, scope, Stopped.now())
    }

    fn round_trip(format: &str, text: &str, metadata: Metadata) -> String {
        let format = format::named(format).expect("a format");
        let key = DataKey::generate(&mut Counter(1));
        let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
        let sealed = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
        let tree = format.parse(sealed.text().as_bytes());
        let tree = tree.unwrap_or_else(|error| panic!("{error}\n{}", sealed.text()));
        let file = EncryptedFile { format, text: Text::parsed(tree), metadata: sealed.metadata.clone() };
        let opened = file.open(&key).unwrap_or_else(|error| panic!("{error}\n{}", sealed.text()));
        assert_eq!(opened.file.text(), text, "{}", sealed.text());
        assert_eq!(opened.warnings, Vec::<String>::new(), "{}", sealed.text());
        let same =
            file.reseal(&opened.file, file.metadata.clone(), &key, &Stopped, &mut Counter(77)).expect("sealable");
        let masked = |text: &str| {
            text.lines().filter(|it| !it.contains(" mac: ") && !it.contains("\"mac\"")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(masked(same.text()), masked(sealed.text()), "nothing but the MAC changes");
        sealed.text().to_owned()
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_bytes() {
        for text in [
            "a: 1\n",
            "a: 1",
            "a: \"x\"\nb: 'y'\nc: |\n  one\n  two\nd: >-\n  folded\n  text\n\ne: yes\nf: 0x1F\ng: 1_000\nh: 2.50\ni: True\n",
            "# head\na: 1 # inline\n# foot\n\nb:\n  - 1 # x\n  # y\n  - {a: b, c: [1, 'two', \"three\"]}\n# end\n",
            "base: &base\n  x: 1\n  y: {z: 2}\nother:\n  <<: *base\n  k: *base\nlist: [*base, 1]\n",
            "s: &s text\nt: *s\nu_unencrypted: &u {a: 1}\nv_unencrypted: *u\n",
            "a: 1\n---\nb: 2\n...\n---\n# only a comment\n",
            "{\"a\": 1, \"b\": [1, 2.0, \"x\"]}\n",
            "{}\n",
            "---\n",
            "a:\r\n  b: x\r\n  c: |\r\n    y\r\n",
            "\u{feff}a: 1\n",
            "a: | # comment\n  text\nb: !!binary aGVsbG8=\nc: !!str 12\nd: &x !!str 3\ne: *x\nf: 2001-12-14\n",
            "a: plain\n  over lines\nb: 'quoted\n  too'\nc: \"esc\\u00e9\"\n",
            "  a: 1\n  b:\n    c: 2\n",
            "? complex key\n: value\n? |\n  block\n: - 1\n  - 2\n",
            "a: |+\n  keep\n\n\nb: |2-\n    indented\nc: \"\"\nd:\ne: ~\nf: []\n",
            "l:\n- a\n- - b\n  - c\n- k: v\n  w: x\n-\n  m: n\n",
        ] {
            round_trip("yaml", text, metadata("unencrypted_suffix", "_unencrypted"));
            round_trip("yaml", text, metadata("encrypted_regex", "^(b|c|x|base|list)$"));
        }
        for text in [
            "{\"a\": 1}",
            "{\n  \"a\": 1.0,\n  \"b\": [true, null, \"\\u00e9\\/\", -0, 1e3, \"\"],\n  \"c\": {}\n}\n",
            "{}\n",
        ] {
            round_trip("json", text, metadata("unencrypted_suffix", "_unencrypted"));
        }
    }
}
