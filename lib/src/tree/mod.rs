//! A document as its own text plus the places in it that matter.
//!
//! A [`Tree`] never prints itself: changing a document means replacing spans of the text it was
//! read from, so whatever nobody asked to change stays as its author wrote it.
//!
//! Nodes stand in SOPS's order, which is that of the text but for comments: one at the end of a
//! line comes before the value on that line (spec appendix B).

mod edits;
mod encoding;
mod wire;

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroizing;

pub use edits::Edits;
pub use encoding::Encoding;
pub use wire::{Entry, Wire};

use crate::secret::wipe;

/// A place in a text, in bytes. Texts are smaller than 4 GiB.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl Span {
    /// A place between two offsets that are known to fit.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// For indexing.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True for a place between two bytes.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Names a node of one tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct NodeId(pub u32);

/// What a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A mapping; its children have keys.
    Map,
    /// A list.
    List,
    /// A scalar.
    Scalar,
    /// Stands for the node that carries the anchor.
    Alias(NodeId),
    /// A comment: a child without a key, also in a mapping. `inline` says that it follows a value
    /// on its line.
    Comment {
        /// It follows a value on its line.
        inline: bool,
    },
}

/// How a scalar or a collection is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// A scalar without quotes; a collection in block style; anything in a format without styles.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
    /// `[…]` or `{…}`.
    Flow,
}

/// The key of a mapping's child.
#[derive(Clone, Debug)]
pub struct Key {
    /// The text that spells it.
    pub span: Span,
    /// What it means, where that is not the text itself or what stands in its quotes.
    pub decoded: Option<Box<str>>,
    /// The type of a key that is not a string, as SOPS names it (`int`, `bool`…): such a document
    /// can be read and not encrypted (spec section 1.7).
    pub not_a_string: Option<&'static str>,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// How it is written.
    pub style: Style,
    /// True inside `[…]` or `{…}`, where some characters need quotes.
    pub in_flow: bool,
    /// The text that spells it: a scalar with its quotes or block header, a comment with its sign,
    /// a collection from its first to its last byte. Empty for a null that nothing spells.
    pub span: Span,
    /// The tag and the anchor before it; empty if there are none.
    pub properties: Span,
    /// The column of the container's entries: of the key in a mapping, of the `-` in a list, in
    /// characters. Zero where columns mean nothing.
    pub column: u32,
    /// Where its key is in [`Tree::keys`].
    key: u32,
    first_child: u32,
    last_child: u32,
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Node {
    /// A node without children.
    pub fn new(kind: Kind, style: Style, span: Span) -> Self {
        Self {
            kind,
            style,
            in_flow: false,
            span,
            properties: Span::new(span.start as usize, span.start as usize),
            column: 0,
            key: NONE,
            first_child: NONE,
            last_child: NONE,
            next: NONE,
        }
    }
}

/// One document of a file: formats other than YAML have exactly one.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    /// Its root: a mapping, or a null for a document without content.
    pub root: NodeId,
    /// The text that belongs to it, without the markers between documents.
    pub span: Span,
}

/// A parsed file: its text, its nodes, its documents. Wiped when dropped, unless it is an encrypted
/// file's.
#[derive(Default)]
pub struct Tree {
    source: String,
    is_public: bool,
    nodes: Vec<Node>,
    /// Beside the nodes: those of long lists have none.
    keys: Vec<Key>,
    documents: Vec<Document>,
    /// The full names of tags, of the few nodes that have one.
    tags: HashMap<NodeId, String>,
    /// The number of columns that the text indents by, for formats that lay text out by columns.
    pub indent_unit: usize,
    /// What is odd about the text and yet accepted, for people to see; never with a value.
    pub warnings: Vec<String>,
}

impl Tree {
    /// A tree over `source`, still without nodes.
    pub fn new(source: Zeroizing<String>) -> Self {
        let mut tree = Self::default();
        tree.set_source(source);
        tree
    }

    /// The text that every span points into.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text at `span`.
    pub fn text(&self, span: Span) -> &str {
        &self.source[span.range()]
    }

    /// The node named `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node named `id`, to be completed by the format that makes the tree.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True if nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a node that has no parent yet.
    pub fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId((self.nodes.len() - 1) as u32)
    }

    /// Says that `id` is a mapping's child, under `key`.
    pub fn set_key(&mut self, id: NodeId, key: Key) {
        self.node_mut(id).key = self.keys.len() as u32;
        self.keys.push(key);
    }

    /// The key of a mapping's child.
    pub fn key_of(&self, id: NodeId) -> Option<&Key> {
        self.keys.get(self.node(id).key as usize)
    }

    /// Makes `child` the last child of `parent`.
    pub fn append(&mut self, parent: NodeId, child: NodeId) {
        let last = std::mem::replace(&mut self.node_mut(parent).last_child, child.0);
        match last {
            NONE => self.node_mut(parent).first_child = child.0,
            _ => self.node_mut(NodeId(last)).next = child.0,
        }
    }

    /// Adds a node as the last child of `parent`.
    pub fn push(&mut self, parent: NodeId, node: Node) -> NodeId {
        let id = self.add(node);
        self.append(parent, id);
        id
    }

    /// Adds a node as a child of `parent`: right after `after`, or as its first child.
    pub fn insert(&mut self, parent: NodeId, after: Option<NodeId>, node: Node) -> NodeId {
        let id = self.add(node);
        let next = match after {
            Some(after) => std::mem::replace(&mut self.node_mut(after).next, id.0),
            None => std::mem::replace(&mut self.node_mut(parent).first_child, id.0),
        };
        self.node_mut(id).next = next;
        if next == NONE {
            self.node_mut(parent).last_child = id.0;
        }
        id
    }

    /// The last child of a mapping or list.
    pub fn last_child(&self, id: NodeId) -> Option<NodeId> {
        let it = self.node(id).last_child;
        (it != NONE).then_some(NodeId(it))
    }

    /// Line and column of a place, both from one, the column in characters.
    pub fn line_and_column(&self, at: u32) -> (usize, usize) {
        let before = &self.source.as_bytes()[..at as usize];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |it| it + 1);
        let column = before[line_start..].iter().filter(|it| **it & 0xC0 != 0x80).count();
        (memchr::memchr_iter(b'\n', before).count() + 1, column + 1)
    }

    /// Notes the full name of a node's tag.
    pub fn set_tag(&mut self, id: NodeId, tag: String) {
        self.tags.insert(id, tag);
    }

    /// The full name of a node's tag.
    pub fn tag(&self, id: NodeId) -> Option<&str> {
        self.tags.get(&id).map(String::as_str)
    }

    /// Adds a document.
    pub fn push_document(&mut self, document: Document) {
        self.documents.push(document);
    }

    /// The document that was added last, for the format that makes the tree.
    pub fn last_document_mut(&mut self) -> Option<&mut Document> {
        self.documents.last_mut()
    }

    /// Hands the text over, once the format that makes the tree has read it.
    pub fn set_source(&mut self, mut source: Zeroizing<String>) {
        self.source = std::mem::take(&mut *source);
    }

    /// Takes the text back. Nothing else can be asked of the tree then.
    pub fn take_source(&mut self) -> String {
        std::mem::take(&mut self.source)
    }

    /// Says that the text is that of an encrypted file, in which nothing is secret.
    pub fn set_public(&mut self) {
        self.is_public = true;
    }

    /// True for the text of an encrypted file.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// The documents, in order.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The children of a mapping or list, comments among them, in SOPS's order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let mut next = self.node(id).first_child;
        std::iter::from_fn(move || {
            (next != NONE).then(|| {
                let id = NodeId(next);
                next = self.node(id).next;
                id
            })
        })
    }

    /// The children of a mapping or list that are not comments.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.children(id).filter(|it| !matches!(self.node(*it).kind, Kind::Comment { .. }))
    }

    /// The first child of a mapping or list.
    pub fn first_child(&self, id: NodeId) -> Option<NodeId> {
        let it = self.node(id).first_child;
        (it != NONE).then_some(NodeId(it))
    }

    /// The child after this one.
    pub fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        let it = self.node(id).next;
        (it != NONE).then_some(NodeId(it))
    }

    /// The key of a mapping's child; empty for anything else.
    pub fn key(&self, id: NodeId) -> &str {
        match self.key_of(id) {
            Some(Key { decoded: Some(it), .. }) => it,
            Some(Key { span, .. }) => match self.text(*span) {
                text if text.starts_with(['"', '\'']) => &text[1..text.len() - 1],
                text => text,
            },
            None => "",
        }
    }

    /// The first child of a mapping whose key is `key`.
    pub fn child(&self, map: NodeId, key: &str) -> Option<NodeId> {
        self.children(map).find(|it| self.key_of(*it).is_some() && self.key(*it) == key)
    }

    /// The entries of a mapping whose key stands before, each with the first that has it.
    pub fn repeated_keys(&self, map: NodeId) -> Vec<(NodeId, NodeId)> {
        /// Comparing each with each is cheaper up to here.
        const FEW: usize = 12;
        if !self.may_repeat_keys(map) {
            return Vec::new();
        }
        let entries = self.entries(map).filter(|it| self.key_of(*it).is_some());
        let entries: Vec<(NodeId, &str)> = entries.map(|it| (it, self.key(it))).collect();
        if entries.len() <= FEW {
            let first = |at: usize| entries[..at].iter().find(|it| it.1 == entries[at].1);
            return (1..entries.len()).filter_map(|at| Some((first(at)?.0, entries[at].0))).collect();
        }
        let mut seen = HashMap::with_capacity(entries.len());
        let first = entries.iter().map(|(id, key)| (*seen.entry(*key).or_insert(*id), *id));
        first.filter(|(first, it)| first != it).collect()
    }

    /// True unless the keys of a mapping differ at a glance: by how long they are, how they begin and how they end.
    fn may_repeat_keys(&self, map: NodeId) -> bool {
        let mut seen = [false; 1024];
        let mut keys = self.entries(map).filter(|it| self.key_of(*it).is_some()).map(|it| self.key(it).as_bytes());
        keys.any(|key| {
            let at = |at: usize| key.get(at).copied().map_or(0, usize::from);
            let glance = ((key.len() * 31 + at(0)) * 31 + at(key.len() / 2)) * 31 + at(key.len().wrapping_sub(1));
            std::mem::replace(&mut seen[glance % 1024], true)
        })
    }

    /// The line of an entry's key, from one.
    pub fn line_of_key(&self, id: NodeId) -> usize {
        self.key_of(id).map_or(0, |it| self.line_and_column(it.span.start).0)
    }

    /// The node itself, or the node that an alias stands for.
    pub fn resolve(&self, id: NodeId) -> NodeId {
        match self.node(id).kind {
            Kind::Alias(target) => target,
            _ => id,
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.is_public {
            wipe(std::mem::take(&mut self.source));
        }
    }
}

/// The key of the metadata, in every format with structure.
pub const METADATA_KEY: &str = "sops";
