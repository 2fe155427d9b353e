//! What a file says once it is opened: every leaf decrypted in its place, every spelling as it was.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::layout::{self, Layout};
use super::open::Taker;
use super::walk::{Place, places};
use super::{Drift, Drifts};
use crate::cipher::OpenedLeaf;
use crate::format::Format;
use crate::secret::SecretText;
use crate::tree::{Edits, Kind, NodeId, Span, Tree};
use crate::value::Value;

/// The decrypted text in the making.
pub(super) struct Rewriting<'r> {
    format: &'static dyn Format,
    tree: &'r Tree,
    layout: &'r Layout,
    edits: Edits,
    drift: Drifts,
    replaced: Replaced,
    comment_items: HashSet<NodeId>,
    /// Comments that may stand inside of what is restored behind them.
    comments: Vec<(NodeId, Zeroizing<String>)>,
    restored: Replaced,
}

impl<'r> Rewriting<'r> {
    pub(super) fn new(format: &'static dyn Format, tree: &'r Tree, layout: &'r Layout) -> Self {
        let (edits, drift, replaced) = (Edits::default(), Drifts::new(), Replaced::default());
        let (comment_items, comments, restored) = (HashSet::new(), Vec::new(), Replaced::default());
        let mut this = Self { format, tree, layout, edits, drift, replaced, comment_items, comments, restored };
        if !layout.is_empty() {
            this.restore_containers();
        }
        this
    }

    /// The text, and the values that their spelling alone does not tell.
    pub(super) fn finish(mut self) -> (Zeroizing<String>, Drifts) {
        self.spell_empty_lists();
        self.spell_comments();
        for (n, document) in self.tree.documents().iter().enumerate() {
            if !self.replaced.documents.contains(&n) {
                self.format.detach(self.tree, document, &mut self.edits);
            }
        }
        (self.edits.apply(self.tree.source()), self.drift)
    }

    /// Spells a value as it was spelt, if `spelt` is how the layout knows it.
    fn restore(&mut self, id: NodeId, spelt: &str, place: Place<'_>) -> bool {
        if self.layout.is_empty() {
            return false;
        }
        let Some(was) = self.layout.get(&place.text(), spelt) else { return false };
        self.restored.spans.push(self.format.restore(self.tree, id, was, &mut self.edits));
        true
    }

    /// Spells the comments that have waited, but for those that were restored with the value that they stand before.
    fn spell_comments(&mut self) {
        self.restored.spans.sort_by_key(|it| it.start);
        for (id, text) in std::mem::take(&mut self.comments) {
            if !self.restored.covers(self.tree, id) {
                self.format.replace(self.tree, id, &text, &mut self.edits);
            }
        }
    }

    /// Puts back what was written out: aliases of mappings and lists, aliases as keys, and documents
    /// that hold nothing but comments.
    fn restore_containers(&mut self) {
        let Self { format, tree, layout, edits, replaced, .. } = self;
        for (n, document) in tree.documents().iter().enumerate() {
            let is_bare = tree.entries(document.root).count() <= 1;
            if is_bare && let Some(text) = layout.get(&n.to_string(), "") {
                let whole = layout::whole(n, document);
                edits.replace(whole, text);
                replaced.documents.insert(n);
                replaced.spans.push(whole);
                continue;
            }
            places(tree, n, |id, place| {
                let node = tree.node(id);
                if let Some(key) = tree.key_of(id)
                    && let Some(text) = layout.get(&layout::key(place), "")
                {
                    edits.replace(key.span, text);
                }
                if !matches!(node.kind, Kind::Map | Kind::List) {
                    return false;
                }
                let region = format.region(tree, id);
                let was = layout.get(place, tree.text(region).trim());
                if let Some(text) = was {
                    edits.replace(region, text);
                    replaced.spans.push(region);
                }
                was.is_none()
            });
        }
        replaced.spans.sort_by_key(|it| it.start);
    }

    /// A list whose items were all comments is an empty list.
    fn spell_empty_lists(&mut self) {
        let Self { tree, edits, comment_items, .. } = self;
        if comment_items.is_empty() {
            return;
        }
        for id in (0..tree.len() as u32).map(NodeId) {
            let is_comment =
                |it: NodeId| comment_items.contains(&it) || matches!(tree.node(it).kind, Kind::Comment { .. });
            let node = tree.node(id);
            if node.kind == Kind::List && tree.first_child(id).is_some() && tree.children(id).all(is_comment) {
                self.format.spell_empty(tree, id, edits);
            }
        }
    }
}

impl Taker for Rewriting<'_> {
    fn has(&self, id: NodeId) -> bool {
        self.replaced.covers(self.tree, id)
    }

    fn take_comment(&mut self, id: NodeId, value: Value) {
        if let Value::Comment(_) = &value {
            let text = self.format.spell(self.tree, id, &value);
            match self.layout.is_empty() {
                true => self.format.replace(self.tree, id, &text, &mut self.edits),
                false => self.comments.push((id, text)),
            }
        }
    }

    fn take_comment_item(&mut self, id: NodeId, value: Value) {
        if let Value::Comment(text) = &value {
            self.format.uncomment(self.tree, id, text, &mut self.edits);
            self.comment_items.insert(id);
        }
    }

    fn take_plain(&mut self, id: NodeId, value: Value, place: Place<'_>) {
        // An alias of something that is encrypted where it stands.
        if !self.layout.is_empty() && !self.has(id) {
            self.restore(id, &String::from_utf8_lossy(&value.canonical()), place);
        }
    }

    fn take(&mut self, id: NodeId, sealed: &str, opened: OpenedLeaf, place: Place<'_>) {
        if self.has(id) || self.restore(id, sealed, place) {
            return;
        }
        let Self { format, tree, edits, .. } = self;
        let OpenedLeaf { value, spelling } = opened;
        let carried = spelling.as_ref().filter(|_| matches!(value, Value::Float(_) | Value::Bool(_)));
        let carried = carried.and_then(SecretText::expose_str);
        if let Some(text) = carried.filter(|it| format.read_bare(it).as_ref() == Some(&value)) {
            return format.replace(tree, id, text, edits);
        }
        let text = format.spell(tree, id, &value);
        format.replace(tree, id, &text, edits);
        if matches!(value, Value::Float(_)) && format.read_bare(&text).as_ref() != Some(&value) {
            let (document, path) = place.steps();
            self.drift.insert(place.text(), Drift { document, path, value });
        }
    }
}

/// What has been replaced as a whole.
#[derive(Default)]
struct Replaced {
    spans: Vec<Span>,
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
