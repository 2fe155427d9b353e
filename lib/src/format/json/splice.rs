//! Changes to a JSON text that leave the rest of it as it is, in the look of what is around.

use crate::format::json::parse::scalar;
use crate::format::json::print::{Look, Text, print, quote};
use crate::format::json::wire;
use crate::format::{EditError, structure};
use crate::key_path::{KeyPath, Step};
use crate::tree::{Edits, Entry, Kind, METADATA_KEY, NodeId, Span, Tree, Wire};

/// Puts `what` at `at`, see [`Format::insert`](crate::format::Format::insert).
pub(super) fn insert(tree: &Tree, at: &KeyPath, what: &Wire, edits: &mut Edits) -> Result<(), EditError> {
    check(at)?;
    let mut node = root(tree);
    let mut look = Look::of(tree);
    for (n, step) in at.0.iter().enumerate() {
        let (found, key) = match (tree.node(node).kind, step) {
            (Kind::Map, Step::Key(key)) => (tree.child(node, key), Some(key.as_str())),
            (Kind::List, Step::Index(index)) => (tree.children(node).nth(*index), None),
            (kind @ (Kind::Map | Kind::List), _) => return Err(structure::misfit(kind, None, step)),
            _ => {
                edits.replace(tree.node(node).span, printed(&structure::nested(&at.0[n..], what), &look));
                return Ok(());
            }
        };
        match found {
            Some(child) => {
                look = look.inside(tree, node);
                node = child;
            }
            None => {
                append(tree, node, key, structure::nested(&at.0[n + 1..], what), &look, edits);
                return Ok(());
            }
        }
    }
    edits.replace(tree.node(node).span, printed(what, &look));
    Ok(())
}

/// Takes out what is at `at`, see [`Format::remove`](crate::format::Format::remove).
pub(super) fn remove(tree: &Tree, at: &KeyPath, edits: &mut Edits) -> Result<(), EditError> {
    check(at)?;
    let (mut parent, mut node) = (root(tree), root(tree));
    for step in &at.0 {
        let found = match (tree.node(node).kind, step) {
            (Kind::Map, Step::Key(key)) => tree.child(node, key).ok_or_else(|| EditError::KeyNotFound(key.clone())),
            // To SOPS, an index is a key that no mapping has.
            (Kind::Map, Step::Index(index)) => Err(EditError::KeyNotFound(index.to_string())),
            (Kind::List, Step::Index(index)) => tree.children(node).nth(*index).ok_or(EditError::OutOfBounds(*index)),
            (kind, _) => Err(structure::misfit(kind, scalar(tree, node).ok().as_ref(), step)),
        }?;
        (parent, node) = (node, found);
    }
    remove_entries(tree, parent, |it| it == node, edits);
    Ok(())
}

/// Takes out the metadata: the inverse of [`attach`], to the byte.
pub(super) fn detach(tree: &Tree, edits: &mut Edits) {
    remove_entries(tree, root(tree), |it| tree.key(it) == METADATA_KEY, edits);
}

/// Puts the metadata after the last member, or where it stands in `before`, or over what `tree`
/// itself has.
pub(super) fn attach(tree: &Tree, metadata: &Wire, before: Option<&Tree>, edits: &mut Edits) {
    let root = root(tree);
    let look = Look::of(tree);
    if let Some(own) = tree.child(root, METADATA_KEY) {
        return patch(tree, own, metadata, &look.inside(tree, root), edits);
    }
    let stored = before.and_then(|it| Some(Stored::new(it, it.child(self::root(it), METADATA_KEY)?, metadata)));
    if let Some((at, text)) = stored.as_ref().and_then(|it| it.back_in(tree)) {
        return edits.replace(Span::new(at, at), text);
    }
    let inner = inner(tree, root);
    let is_bare = inner.is_empty();
    let value = |look: &Look<'_>| stored.as_ref().map_or_else(|| printed(metadata, look), |it| it.value.clone());
    let member = |look: &Look<'_>| format!("\"{METADATA_KEY}\"{}{}", look.colon, value(look));
    let (at, text) = match tree.children(root).last() {
        Some(last) => {
            let look = look.inside(tree, root);
            (end(tree, last), format!(",{}{}", look.separator(), member(&look)))
        }
        // `remove_entries` tells these two apart by what stands before the member.
        None if is_bare => {
            let entry = Look { indent: look.unit, ..look };
            (inner.range().start, format!("{}{}{}", entry.separator(), member(&entry), look.separator()))
        }
        None => (inner.range().start, member(&look)),
    };
    edits.replace(Span::new(at, at), text);
}

/// The metadata as it is stored, brought up to date.
struct Stored<'t> {
    tree: &'t Tree,
    id: NodeId,
    value: String,
}

impl<'t> Stored<'t> {
    fn new(tree: &'t Tree, id: NodeId, metadata: &Wire) -> Self {
        let mut edits = Edits::default();
        patch(tree, id, metadata, &Look::of(tree).inside(tree, root(tree)), &mut edits);
        let whole = edits.apply(tree.source());
        let Span { start, .. } = tree.node(id).span;
        let after = tree.source().len() - end(tree, id);
        Self { tree, id, value: whole[start as usize..whole.len() - after].to_owned() }
    }

    /// Where and how it goes back into `tree` so that [`detach`] finds `tree` again. `None` if what
    /// stood next to it is no longer there.
    fn back_in(&self, tree: &Tree) -> Option<(usize, String)> {
        let (from, id) = (self.tree, self.id);
        let source = from.source();
        let text = |start: usize, stop: usize| {
            format!(
                "{}{}{}",
                &source[start..from.node(id).span.range().start],
                self.value,
                &source[end(from, id)..stop]
            )
        };
        let n = from.children(root(from)).take_while(|it| *it != id).count();
        let previous = from.children(root(from)).take(n).last();
        let members: Vec<NodeId> = tree.children(root(tree)).collect();
        match (previous, from.next_sibling(id), members.first()) {
            (Some(previous), _, Some(_)) => {
                // What was the last member stays the last one, whatever has been added.
                let place = if from.next_sibling(id).is_none() { members.len() } else { n.min(members.len()) };
                let neighbour = members[place - 1];
                Some((end(tree, neighbour), text(end(from, previous), end(from, id))))
            }
            (None, Some(next), Some(first)) => Some((start(tree, *first), text(start(from, id), start(from, next)))),
            (None, None, None) => {
                let (was, is) = (inner(from, root(from)), inner(tree, root(tree)));
                let at = is.range().start;
                let is_padded = start(from, id) > was.range().start;
                let same_end = tree.text(is) == &source[end(from, id)..was.range().end];
                match is_padded {
                    true if is.is_empty() => Some((at, text(was.range().start, was.range().end))),
                    false if same_end => Some((at, text(start(from, id), end(from, id)))),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Makes the mapping `id` say `what`, changing only the entries that say something else.
fn patch(tree: &Tree, id: NodeId, what: &Wire, look: &Look<'_>, edits: &mut Edits) {
    let mut kept: Vec<NodeId> = Vec::new();
    let children = tree.children(id).filter(|_| tree.node(id).kind == Kind::Map);
    for child in children {
        let is_repeated = kept.iter().any(|it| tree.key(*it) == tree.key(child));
        if !is_repeated && what.get(tree.key(child)).is_some() {
            kept.push(child);
        }
    }
    let Some(first) = kept.first() else {
        return edits.replace(tree.node(id).span, printed(what, look));
    };
    let entries = look.inside(tree, id);
    let mut previous = None;
    for (key, value) in what.pairs() {
        match kept.iter().find(|it| tree.key(**it) == key) {
            Some(&child) => {
                if wire(tree, child).as_ref() != Ok(value) {
                    edits.replace(tree.node(child).span, printed(value, &entries));
                }
                previous = Some(child);
            }
            None => {
                let separator = entries.separator();
                let (at, text) = match previous {
                    Some(it) => (end(tree, it), entry(&format!(",{separator}"), Some(key), value, &entries, "")),
                    None => (start(tree, *first), entry("", Some(key), value, &entries, &format!(",{separator}"))),
                };
                edits.replace(Span::new(at, at), text);
            }
        }
    }
    remove_entries(tree, id, |it| !kept.contains(&it), edits);
}

/// Adds an entry at the end of a container that is itself laid out as `look` says.
fn append(tree: &Tree, container: NodeId, key: Option<&str>, value: Wire, look: &Look<'_>, edits: &mut Edits) {
    match tree.children(container).last() {
        Some(last) => {
            let look = look.inside(tree, container);
            let text = entry(&format!(",{}", look.separator()), key, &value, &look, "");
            edits.replace(Span::new(end(tree, last), end(tree, last)), text);
        }
        None => {
            let whole = match key {
                Some(key) => Wire::Map(vec![Entry::Pair(key.to_owned(), value)]),
                None => Wire::List(vec![value]),
            };
            edits.replace(tree.node(container).span, printed(&whole, look));
        }
    }
}

/// Takes entries out of a container, each with one comma. A container that is left without entries
/// becomes `{}`, unless its first entry followed the bracket at once: then what was after the last
/// one stays.
fn remove_entries(tree: &Tree, container: NodeId, is_doomed: impl Fn(NodeId) -> bool, edits: &mut Edits) {
    let (mut kept, mut previous) = (None, None);
    for child in tree.children(container) {
        if is_doomed(child) {
            match (kept.and(previous), tree.next_sibling(child)) {
                (Some(previous), _) => edits.remove(Span::new(end(tree, previous), end(tree, child))),
                (None, Some(next)) => edits.remove(Span::new(start(tree, child), start(tree, next))),
                (None, None) => {
                    let inner = inner(tree, container).range();
                    let first = tree.first_child(container).unwrap_or(child);
                    match start(tree, first) > inner.start {
                        true if first == child => edits.remove(Span::new(inner.start, inner.end)),
                        true => {
                            edits.remove(Span::new(inner.start, start(tree, first)));
                            edits.remove(Span::new(start(tree, child), inner.end));
                        }
                        false => edits.remove(Span::new(start(tree, child), end(tree, child))),
                    }
                }
            }
        } else {
            kept = Some(child);
        }
        previous = Some(child);
    }
}

impl<'t> Look<'t> {
    /// How the file is laid out, for its root.
    fn of(tree: &'t Tree) -> Self {
        let (root, source) = (root(tree), tree.source());
        let is_crlf = memchr::memchr(b'\n', source.as_bytes()).is_some_and(|at| source[..at].ends_with('\r'));
        let sops = Look { line_break: Some(if is_crlf { "\r\n" } else { "\n" }), ..Look::SOPS };
        let entries = sops.inside(tree, root);
        let Some(last) = tree.children(root).last() else { return sops };
        let after = source[end(tree, last)..inner(tree, root).range().end].rsplit_once('\n');
        let unit = match entries.line_break {
            Some(_) => entries.indent.strip_prefix(after.map_or("", |it| it.1)).unwrap_or(entries.indent),
            None => sops.unit,
        };
        Look { unit, colon: entries.colon, gap: entries.gap, ..sops }
    }

    /// How the entries of `container` are laid out, which is itself laid out as `self` says.
    fn inside(&self, tree: &'t Tree, container: NodeId) -> Self {
        let Some(first) = tree.first_child(container) else { return *self };
        let source = tree.source();
        let one_line = |text: &'t str| Some(text).filter(|it| !it.contains(['\r', '\n']));
        let key = tree.key_of(first).map(|it| it.span.range());
        let colon = key.and_then(|it| one_line(&source[it.end..tree.node(first).span.range().start]));
        let gap = match tree.next_sibling(first) {
            Some(second) => source[end(tree, first)..start(tree, second)].split_once(',').and_then(|it| one_line(it.1)),
            None => colon.map(|it| if it.ends_with(' ') { " " } else { "" }),
        };
        let lead = &source[inner(tree, container).range().start..start(tree, first)];
        let (line_break, indent) = match lead.rsplit_once('\n') {
            Some((before, indent)) => (Some(if before.ends_with('\r') { "\r\n" } else { "\n" }), indent),
            None => (None, self.indent),
        };
        Look { line_break, indent, colon: colon.unwrap_or(self.colon), gap: gap.unwrap_or(self.gap), ..*self }
    }

    /// What stands before an entry, after the comma.
    fn separator(&self) -> String {
        self.line_break.map_or_else(|| self.gap.to_owned(), |it| format!("{it}{}", self.indent))
    }
}

fn check(at: &KeyPath) -> Result<(), EditError> {
    match at.0.first() {
        None => Err(EditError::Root),
        Some(Step::Key(key)) if key == METADATA_KEY => Err(EditError::Reserved(key.clone())),
        Some(_) => Ok(()),
    }
}

fn printed(value: &Wire, look: &Look<'_>) -> String {
    entry("", None, value, look, "")
}

/// Spells an entry between what stands before and after it, in text of which nothing is left behind.
fn entry(before: &str, key: Option<&str>, value: &Wire, look: &Look<'_>, after: &str) -> String {
    let mut text = Text::default();
    text.push(before);
    if let Some(key) = key {
        quote(&mut text, key.as_bytes());
        text.push(look.colon);
    }
    // What JSON cannot say becomes a text that does not parse, and so goes nowhere.
    let _is_json = print(&mut text, value, look);
    text.push(after);
    std::mem::take(&mut *text.0)
}

fn root(tree: &Tree) -> NodeId {
    tree.documents().first().map_or(NodeId(0), |it| it.root)
}

/// Where an entry begins: at its key, if it has one.
fn start(tree: &Tree, id: NodeId) -> usize {
    tree.key_of(id).map_or(tree.node(id).span, |it| it.span).range().start
}

fn end(tree: &Tree, id: NodeId) -> usize {
    tree.node(id).span.range().end
}

/// What is between the brackets.
fn inner(tree: &Tree, container: NodeId) -> Span {
    let span = tree.node(container).span.range();
    Span::new(span.start + 1, span.end - 1)
}
