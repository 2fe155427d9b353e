//! Whether two documents say the same values at the same places.

use crate::format::{Format, structure};
use crate::key_path::Step;
use crate::mac;
use crate::tree::{Kind, NodeId, Style, Tree, Wire};
use crate::value::Value;

/// True if all documents say the same.
pub(super) fn documents(one: &[Wire], other: &[Wire]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_wire(one, other))
}

/// True if `after` plainly says what `before` does, but for `what` at `at` in the first document;
/// with nothing as `what`, that is gone. False says nothing: [`structure`] knows more ways.
pub(super) fn but_for(format: &dyn Format, before: &Tree, after: &Tree, at: &[Step], what: Option<&Wire>) -> bool {
    let pair = Pair { format, before, after };
    let roots: Vec<_> = before.documents().iter().zip(after.documents()).map(|(a, b)| (a.root, b.root)).collect();
    let Some(((a, b), rest)) = roots.split_first() else { return false };
    before.documents().len() == after.documents().len()
        && rest.iter().all(|(a, b)| pair.same(*a, *b))
        && pair.same_but_for(*a, *b, at, what)
}

/// Two trees of one format.
struct Pair<'t> {
    format: &'t dyn Format,
    before: &'t Tree,
    after: &'t Tree,
}

impl Pair<'_> {
    fn same_but_for(&self, mut a: NodeId, mut b: NodeId, at: &[Step], what: Option<&Wire>) -> bool {
        for (n, step) in at.iter().enumerate() {
            (a, b) = (self.before.resolve(a), self.after.resolve(b));
            let kind = self.before.node(a).kind;
            let found = match (kind, step) {
                (Kind::Map, Step::Key(key)) => self.before.child(a, key),
                (Kind::List, Step::Index(index)) => self.before.children(a).nth(*index),
                _ => return false,
            };
            if kind != self.after.node(b).kind || found.is_some_and(|it| is_comment(self.before, it)) {
                return false;
            }
            let mut others = self.after.entries(b);
            let mut counterpart = None;
            for entry in self.before.entries(a) {
                if Some(entry) == found {
                    if what.is_none() && n + 1 == at.len() {
                        continue;
                    }
                    counterpart = others.next();
                    match counterpart {
                        Some(other) if self.before.key(entry) == self.after.key(other) => (),
                        _ => return false,
                    }
                } else if !others.next().is_some_and(|other| self.same_entry(entry, other)) {
                    return false;
                }
            }
            match (found, counterpart, others.next(), what) {
                (Some(entry), Some(other), None, _) => (a, b) = (entry, other),
                (Some(_), None, None, None) => return true,
                // A new entry is the last one.
                (None, None, Some(new), Some(what)) => {
                    let key = if let Step::Key(key) = step { key.as_str() } else { "" };
                    return others.next().is_none()
                        && self.after.key(new) == key
                        && self.says(new, &structure::nested(&at[n + 1..], what));
                }
                _ => return false,
            }
        }
        what.is_some_and(|it| self.says(b, it))
    }

    fn says(&self, b: NodeId, what: &Wire) -> bool {
        self.format.wire(self.after, b).is_ok_and(|it| same_wire(&it, what))
    }

    fn same_entry(&self, a: NodeId, b: NodeId) -> bool {
        self.before.key(a) == self.after.key(b) && self.same(a, b)
    }

    /// Iterative: files may nest deeper than threads do.
    fn same(&self, a: NodeId, b: NodeId) -> bool {
        let mut stack = vec![(a, b)];
        while let Some((a, b)) = stack.pop() {
            let (a, b) = (self.before.resolve(a), self.after.resolve(b));
            let (one, other) = (self.before.node(a).kind, self.after.node(b).kind);
            if !matches!(one, Kind::Map | Kind::List) || one != other {
                if matches!(other, Kind::Map | Kind::List) || !self.same_leaf(a, b) {
                    return false;
                }
                continue;
            }
            let mut others = self.after.entries(b);
            for entry in self.before.entries(a) {
                match others.next() {
                    Some(other) if self.before.key(entry) == self.after.key(other) => stack.push((entry, other)),
                    _ => return false,
                }
            }
            if others.next().is_some() {
                return false;
            }
        }
        true
    }

    fn same_leaf(&self, a: NodeId, b: NodeId) -> bool {
        let (one, other) = (self.before.node(a), self.after.node(b));
        let text = self.before.text(one.span);
        let is_same_text = text == self.after.text(other.span)
            && one.style == other.style
            && !matches!(one.style, Style::Literal | Style::Folded)
            && !text.contains(['\n', '\r'])
            && self.before.tag(a).or(self.after.tag(b)).is_none();
        is_same_text
            || match (self.format.value(self.before, a), self.format.value(self.after, b)) {
                (Ok(one), Ok(other)) => same_value(&one, &other),
                _ => false,
            }
    }
}

fn is_comment(tree: &Tree, id: NodeId) -> bool {
    matches!(tree.node(id).kind, Kind::Comment { .. })
}

fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // SOPS spells the float 1 as `1`, which reads as an integer.
        (Value::Int(int), Value::Float(float)) | (Value::Float(float), Value::Int(int)) => *int as f64 == *float,
        _ => one.type_name() == other.type_name() && mac::same(&one.canonical(), &other.canonical()),
    }
}

pub(super) fn same_wire(one: &Wire, other: &Wire) -> bool {
    match (one, other) {
        (Wire::Leaf(one), Wire::Leaf(other)) => same_value(one, other),
        (Wire::List(_), Wire::List(_)) => {
            one.items().count() == other.items().count()
                && one.items().zip(other.items()).all(|(one, other)| same_wire(one, other))
        }
        (Wire::Map(_), Wire::Map(_)) => {
            one.pairs().count() == other.pairs().count()
                && one.pairs().zip(other.pairs()).all(|(one, other)| one.0 == other.0 && same_wire(one.1, other.1))
        }
        _ => false,
    }
}
