//! The one way over a document: every leaf in SOPS's order, with its additional data and whether the
//! scope picks it. Sealing, opening and the MAC all go this way.

use std::borrow::Cow;
use std::fmt::Write;

use crate::envelope::Envelope;
use crate::format::Format;
use crate::key_path::{KeyPath, Step};
use crate::scope::{Coverage, Scope};
use crate::secret::SecretText;
use crate::tree::{Entry, Kind, METADATA_KEY, NodeId, Tree, Wire};
use crate::value::Value;

/// Where a walk stands when it meets a leaf.
pub(super) struct Visit<'v, 's> {
    /// The leaf: a scalar, a comment or an alias.
    pub(super) id: NodeId,
    /// What it is to SOPS.
    pub(super) sort: Sort,
    /// True if the scope picks it. For an alias, see `coverage`.
    pub(super) covered: bool,
    /// Its additional data (spec section 1.2).
    pub(super) aad: &'v str,
    /// Where it stands.
    pub(super) place: Place<'v>,
    /// The state of the scope, to go on with below an alias.
    pub(super) coverage: &'v mut Coverage<'s>,
}

/// A place in a file: the document, and the way down with list indexes.
#[derive(Clone, Copy)]
pub(super) struct Place<'v> {
    tree: &'v Tree,
    document: usize,
    steps: &'v [(NodeId, usize)],
}

impl Place<'_> {
    /// The place in a form that no two places of a file share: `0["key"][2]`.
    pub(super) fn text(self) -> String {
        let mut text = format!("{}{}", self.document, self.path());
        text.shrink_to_fit();
        text
    }

    /// The document, and the way down in it.
    pub(super) fn steps(self) -> (usize, KeyPath) {
        let step = |(id, index): &(NodeId, usize)| match self.tree.key_of(*id) {
            Some(_) => Step::Key(self.tree.key(*id).to_owned()),
            None => Step::Index(*index),
        };
        (self.document, KeyPath(self.steps.iter().map(step).collect()))
    }

    /// The way down, for people.
    pub(super) fn path(self) -> String {
        self.steps.iter().fold(String::new(), |mut text, (id, index)| {
            match self.tree.key_of(*id) {
                Some(_) => write!(text, "[{:?}]", self.tree.key(*id)),
                None => write!(text, "[{index}]"),
            }
            .expect("a string takes everything");
            text
        })
    }
}

/// What a leaf is to SOPS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sort {
    Scalar,
    Comment,
    /// A comment that SOPS has written as an item of a list (spec section 2.2).
    CommentItem,
    Alias,
}

/// A key that is not a string.
pub(super) struct NotAString {
    pub(super) place: String,
    pub(super) type_name: &'static str,
}

/// Walks all documents. `visit` may stop the walk with an error.
pub(super) fn walk<E: From<NotAString>>(
    format: &dyn Format,
    tree: &Tree,
    scope: &Scope,
    mut visit: impl FnMut(Visit<'_, '_>) -> Result<(), E>,
) -> Result<(), E> {
    struct Open {
        next: Option<NodeId>,
        is_map: bool,
        index: usize,
        /// How long the additional data is without what is below.
        aad: usize,
    }
    let mut aad = String::new();
    let mut steps: Vec<(NodeId, usize)> = Vec::new();
    for (n, document) in tree.documents().iter().enumerate() {
        let mut coverage = scope.start();
        aad.clear();
        coverage.enter();
        let first = tree.first_child(document.root);
        let mut stack = vec![Open { next: first, is_map: true, index: 0, aad: 0 }];
        while let Some(top) = stack.last_mut() {
            let Some(id) = top.next else {
                coverage.leave();
                stack.pop();
                steps.pop();
                if let Some(parent) = stack.last() {
                    aad.truncate(parent.aad);
                    if parent.is_map {
                        coverage.pop_key();
                    }
                    coverage.item_done();
                }
                continue;
            };
            top.next = tree.next_sibling(id);
            let node = tree.node(id);
            let (is_map, depth) = (top.is_map, stack.len());
            if let Kind::Comment { .. } = node.kind {
                let text = format.str(tree, id).unwrap_or_default();
                let covered = coverage.comment(&text);
                let aad = if aad.is_empty() { ":" } else { &aad };
                let place = Place { tree, document: n, steps: &steps };
                visit(Visit { id, sort: Sort::Comment, covered, aad, place, coverage: &mut coverage })?;
                continue;
            }
            let top = stack.last_mut().expect("still there");
            let index = top.index;
            top.index += 1;
            steps.push((id, index));
            if is_map {
                let key = tree.key(id);
                if depth == 1 && key == METADATA_KEY {
                    steps.pop();
                    continue;
                }
                if let Some(type_name) = tree.key_of(id).and_then(|it| it.not_a_string) {
                    let place = Place { tree, document: n, steps: &steps }.path();
                    return Err(NotAString { place, type_name }.into());
                }
                aad.push_str(key);
                aad.push(':');
                coverage.key(key);
            }
            match node.kind {
                Kind::Map | Kind::List => {
                    coverage.enter();
                    stack.push(Open {
                        next: tree.first_child(id),
                        is_map: node.kind == Kind::Map,
                        index: 0,
                        aad: aad.len(),
                    });
                    continue;
                }
                _ => {
                    let comment = if is_map { None } else { comment_item(format, tree, id) };
                    let (sort, covered) = match (&comment, node.kind) {
                        (Some(text), _) => (Sort::CommentItem, coverage.comment(text)),
                        (None, Kind::Alias(_)) => (Sort::Alias, coverage.value()),
                        (None, _) => (Sort::Scalar, coverage.value()),
                    };
                    let place = Place { tree, document: n, steps: &steps };
                    visit(Visit { id, sort, covered, aad: &aad, place, coverage: &mut coverage })?;
                    steps.pop();
                    aad.truncate(stack.last().expect("still there").aad);
                    if is_map {
                        coverage.pop_key();
                    }
                    if sort != Sort::CommentItem {
                        coverage.item_done();
                    }
                }
            }
        }
    }
    Ok(())
}

/// Goes over the entries of a document, comments left out, each with its place as
/// [`Place::text`] says it. What is below an entry is left out where `enter` says false.
pub(super) fn places(tree: &Tree, document: usize, mut enter: impl FnMut(NodeId, &str) -> bool) {
    let mut stack = vec![(tree.documents()[document].root, document.to_string())];
    while let Some((id, place)) = stack.pop() {
        let entries = tree.children(id).filter(|it| !matches!(tree.node(*it).kind, Kind::Comment { .. }));
        for (index, child) in entries.enumerate() {
            let place = match tree.key_of(child) {
                Some(_) => format!("{place}[{:?}]", tree.key(child)),
                None => format!("{place}[{index}]"),
            };
            if enter(child, &place) {
                stack.push((child, place));
            }
        }
    }
}

/// The same way over structure, were it to stand where `aad` and `coverage` are. `visit` is given each
/// value, its additional data and whether the scope picks it.
pub(super) fn walk_wire(
    wire: &mut Wire,
    aad: &str,
    coverage: &mut Coverage<'_>,
    visit: &mut dyn FnMut(&mut Value, &str, bool),
) {
    let comment = |coverage: &mut Coverage<'_>, text: &SecretText| {
        coverage.comment(text.expose_str().unwrap_or_default());
    };
    match wire {
        Wire::Leaf(value) => visit(value, aad, coverage.value()),
        Wire::List(items) => {
            coverage.enter();
            for item in items {
                match item {
                    Wire::Leaf(Value::Comment(text)) => comment(coverage, text),
                    item => {
                        walk_wire(item, aad, coverage, visit);
                        coverage.item_done();
                    }
                }
            }
            coverage.leave();
        }
        Wire::Map(entries) => {
            coverage.enter();
            for entry in entries {
                match entry {
                    Entry::Comment(text) => comment(coverage, text),
                    Entry::Pair(key, value) => {
                        coverage.key(key);
                        walk_wire(value, &format!("{aad}{key}:"), coverage, visit);
                        coverage.pop_key();
                        coverage.item_done();
                    }
                }
            }
            coverage.leave();
        }
    }
}

/// The text of a list's item that is an encrypted comment.
pub(super) fn comment_item<'t>(format: &dyn Format, tree: &'t Tree, id: NodeId) -> Option<Cow<'t, str>> {
    if !tree.text(tree.node(id).span).contains("type:comment]") {
        return None;
    }
    let text = format.str(tree, id)?;
    (Envelope::parse(&text)?.type_name == "comment").then_some(text)
}
