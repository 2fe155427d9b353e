//! `set` and `unset` in the text: what is not named stays as it is (spec section 8.9).

use std::collections::HashSet;

use super::print::{self, Parent};
use super::{Yaml, end_of_value, entry_lines, line_break, line_start, next_line, unit};
use zeroize::Zeroizing;

use crate::format::{EditError, Format};
use crate::key_path::{KeyPath, Step};
use crate::tree::{Edits, Entry, Kind, METADATA_KEY, NodeId, Span, Style, Tree, Wire};
use crate::value::Value;

/// Puts `what` at `at`.
pub(super) fn insert(
    format: &Yaml,
    tree: &Tree,
    at: &KeyPath,
    what: &Wire,
    edits: &mut Edits,
) -> Result<(), EditError> {
    check(at)?;
    let root = tree.documents().first().ok_or(EditError::Root)?.root;
    let mut id = root;
    for (n, step) in at.0.iter().enumerate() {
        let rest = &at.0[n + 1..];
        if let Kind::Alias(target) = tree.node(id).kind {
            // Only this place changes, not what the alias stands for.
            let mut wire = wire_of(format, tree, target)?;
            set_in_wire(&mut wire, &at.0[n..], what)?;
            expand_aliases(format, tree, &touched(tree, id), edits)?;
            put(tree, id, &wire, edits);
            return Ok(());
        }
        match find(tree, id, step)? {
            Some(child) if rest.is_empty() => {
                expand_aliases(format, tree, &touched(tree, child), edits)?;
                put(tree, child, what, edits);
                return Ok(());
            }
            Some(child) if is_container(tree, tree.resolve(child)) => id = child,
            Some(child) => {
                // A scalar in the way makes room.
                expand_aliases(format, tree, &touched(tree, child), edits)?;
                put(tree, child, &nested(rest, what), edits);
                return Ok(());
            }
            None => {
                expand_aliases(format, tree, &touched(tree, id), edits)?;
                append(format, tree, id, step, &nested(rest, what), edits)?;
                return Ok(());
            }
        }
    }
    Err(EditError::Root)
}

/// Takes out what is at `at`.
pub(super) fn remove(format: &Yaml, tree: &Tree, at: &KeyPath, edits: &mut Edits) -> Result<(), EditError> {
    check(at)?;
    let mut id = tree.documents().first().ok_or(EditError::Root)?.root;
    let mut parent = id;
    for (n, step) in at.0.iter().enumerate() {
        if let Kind::Alias(target) = tree.node(id).kind {
            let mut wire = wire_of(format, tree, target)?;
            unset_in_wire(&mut wire, &at.0[n..])?;
            expand_aliases(format, tree, &touched(tree, id), edits)?;
            put(tree, id, &wire, edits);
            return Ok(());
        }
        if !is_container(tree, id) {
            let step = step_text(step);
            return Err(EditError::WrongType { found: type_name(format, tree, id), step });
        }
        parent = id;
        id = find(tree, id, step)?.ok_or_else(|| missing(step))?;
    }
    expand_aliases(format, tree, &touched(tree, id), edits)?;
    take_out(tree, parent, id, edits);
    Ok(())
}

fn check(at: &KeyPath) -> Result<(), EditError> {
    match at.0.first() {
        None => Err(EditError::Root),
        Some(Step::Key(key)) if key == METADATA_KEY => Err(EditError::Reserved(key.clone())),
        Some(_) => Ok(()),
    }
}

fn missing(step: &Step) -> EditError {
    match step {
        Step::Key(key) => EditError::KeyNotFound(key.clone()),
        Step::Index(index) => EditError::OutOfBounds(*index),
    }
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    }
}

fn type_name(format: &Yaml, tree: &Tree, id: NodeId) -> &'static str {
    match tree.node(tree.resolve(id)).kind {
        Kind::Map => "mapping",
        Kind::List => "list",
        _ => match format.value(tree, id) {
            Ok(Value::Str(_)) => "string",
            Ok(Value::Int(_)) => "int",
            Ok(Value::Float(_)) => "float64",
            Ok(Value::Bool(_)) => "bool",
            Ok(Value::Time(_)) => "time",
            Ok(Value::Comment(_)) => "comment",
            Ok(Value::Null) | Err(_) => "null",
        },
    }
}

fn is_container(tree: &Tree, id: NodeId) -> bool {
    matches!(tree.node(tree.resolve(id)).kind, Kind::Map | Kind::List)
}

/// The child that a step leads to. Comments count as items of lists, as for SOPS.
fn find(tree: &Tree, id: NodeId, step: &Step) -> Result<Option<NodeId>, EditError> {
    match (tree.node(id).kind, step) {
        (Kind::Map, Step::Key(key)) => Ok(tree.child(id, key)),
        (Kind::List, Step::Index(index)) => Ok(tree.children(id).nth(*index)),
        (Kind::Map, Step::Index(_)) => Err(EditError::WrongType { found: "mapping", step: step_text(step) }),
        (Kind::List, Step::Key(_)) => Err(EditError::WrongType { found: "list", step: step_text(step) }),
        _ => Ok(None),
    }
}

fn nested(rest: &[Step], what: &Wire) -> Wire {
    rest.iter().rev().fold(what.clone(), |wire, step| match step {
        Step::Key(key) => Wire::Map(vec![Entry::Pair(key.clone(), wire)]),
        Step::Index(_) => Wire::List(vec![wire]),
    })
}

fn wire_of(format: &Yaml, tree: &Tree, id: NodeId) -> Result<Wire, EditError> {
    format
        .wire(tree, id)
        .map_err(|_| EditError::WrongType { found: "value that cannot be copied", step: String::new() })
}

fn set_in_wire(wire: &mut Wire, at: &[Step], what: &Wire) -> Result<(), EditError> {
    let Some((step, rest)) = at.split_first() else {
        *wire = what.clone();
        return Ok(());
    };
    match (wire, step) {
        (Wire::Map(entries), Step::Key(key)) => {
            let found = entries.iter_mut().find_map(|it| match it {
                Entry::Pair(name, value) if name == key => Some(value),
                _ => None,
            });
            match found {
                Some(value) => set_in_wire(value, rest, what),
                None => {
                    entries.push(Entry::Pair(key.clone(), nested(rest, what)));
                    Ok(())
                }
            }
        }
        (Wire::List(items), Step::Index(index)) => match items.get_mut(*index) {
            Some(item) => set_in_wire(item, rest, what),
            None => {
                items.push(nested(rest, what));
                Ok(())
            }
        },
        (wire @ Wire::Leaf(_), _) => {
            *wire = nested(at, what);
            Ok(())
        }
        (Wire::Map(_), _) => Err(EditError::WrongType { found: "mapping", step: step_text(step) }),
        (Wire::List(_), _) => Err(EditError::WrongType { found: "list", step: step_text(step) }),
    }
}

fn unset_in_wire(wire: &mut Wire, at: &[Step]) -> Result<(), EditError> {
    let Some((step, rest)) = at.split_first() else { return Err(EditError::Root) };
    match (wire, step) {
        (Wire::Map(entries), Step::Key(key)) => {
            let place = entries.iter().position(|it| matches!(it, Entry::Pair(name, _) if name == key));
            let place = place.ok_or_else(|| missing(step))?;
            match &mut entries[place] {
                Entry::Pair(_, value) if !rest.is_empty() => unset_in_wire(value, rest),
                _ => {
                    entries.remove(place);
                    Ok(())
                }
            }
        }
        (Wire::List(items), Step::Index(index)) if *index < items.len() => match rest {
            [] => {
                items.remove(*index);
                Ok(())
            }
            _ => unset_in_wire(&mut items[*index], rest),
        },
        (Wire::List(_), Step::Index(_)) => Err(missing(step)),
        (Wire::Map(_), _) => Err(EditError::WrongType { found: "mapping", step: step_text(step) }),
        (Wire::List(_), _) => Err(EditError::WrongType { found: "list", step: step_text(step) }),
        (Wire::Leaf(_), _) => Err(EditError::WrongType { found: "value", step: step_text(step) }),
    }
}

// ── aliases ──────────────────────────────────────────────────────────────────────────────────

/// What a change at `id` touches: the node, what is below it, and what it is below.
fn touched(tree: &Tree, id: NodeId) -> HashSet<NodeId> {
    let mut touched = HashSet::new();
    let span = tree.node(id).span;
    // Below: everything whose text lies inside. Above: everything whose text lies around.
    let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
    while let Some(node) = stack.pop() {
        let its = tree.node(node).span;
        let inside = span.start <= its.start && its.end <= span.end;
        let around = its.start <= span.start && span.end <= its.end;
        if inside || around {
            touched.insert(node);
        }
        stack.extend(tree.children(node));
    }
    touched.insert(id);
    touched
}

/// Writes out every alias that stands for something in `touched`, unless it is touched itself: the
/// change is meant for one place only.
fn expand_aliases(format: &Yaml, tree: &Tree, touched: &HashSet<NodeId>, edits: &mut Edits) -> Result<(), EditError> {
    let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
    while let Some(id) = stack.pop() {
        match tree.node(id).kind {
            Kind::Alias(target) if touched.contains(&target) && !touched.contains(&id) => {
                let wire = wire_of(format, tree, target)?;
                put(tree, id, &wire, edits);
            }
            _ => stack.extend(tree.children(id)),
        }
    }
    Ok(())
}

// ── the text ─────────────────────────────────────────────────────────────────────────────────

/// Puts `what` in place of the value `id`, and returns the new text without the blanks around it.
pub(super) fn put(tree: &Tree, id: NodeId, what: &Wire, edits: &mut Edits) -> Zeroizing<String> {
    let node = tree.node(id);
    let start = match node.properties.is_empty() {
        true => node.span.range().start,
        false => node.properties.range().start,
    };
    let end = node.span.range().end.max(node.properties.range().end);
    let is_leaf = !matches!(node.kind, Kind::Map | Kind::List);
    let (place, text) = match what {
        _ if node.key.is_none() && matches!(node.kind, Kind::Comment { .. }) => {
            // A comment that is an item of a list, by SOPS's count.
            let item = print::print_list_items(std::slice::from_ref(what), unit(tree), node.column as usize);
            (node.span, Zeroizing::new(item.trim().to_owned()))
        }
        _ if node.in_flow => (Span::new(start, end), print::print_flow(what)),
        Wire::Leaf(value) if is_leaf && start < end => {
            let text = Yaml.spell(tree, id, value);
            if node.properties.is_empty() {
                // A comment behind the header of a block scalar stays.
                Yaml.replace(tree, id, &text, edits);
                return text;
            }
            (Span::new(start, end), text)
        }
        _ => {
            let column = node.column as usize;
            let parent = if node.key.is_some() { Parent::Map(column) } else { Parent::List(column) };
            let text = print::print_subtree(what, unit(tree), parent);
            // The blanks or the break between the colon or dash and the value are made anew.
            let gap = tree.source()[..start].trim_end_matches([' ', '\t', '\n', '\r']).len();
            (Span::new(gap, end), with_breaks(tree, text))
        }
    };
    let needs_gap = place.is_empty() && !text.starts_with([' ', '\n', '\r']);
    edits.replace(place, format!("{}{}", if needs_gap { " " } else { "" }, *text));
    Zeroizing::new(text.trim().to_owned())
}

fn with_breaks(tree: &Tree, text: Zeroizing<String>) -> Zeroizing<String> {
    match line_break(tree) {
        "\n" => text,
        other => Zeroizing::new(text.replace('\n', other)),
    }
}

/// Adds an entry to the end of a container.
fn append(
    format: &Yaml,
    tree: &Tree,
    id: NodeId,
    step: &Step,
    what: &Wire,
    edits: &mut Edits,
) -> Result<(), EditError> {
    let node = tree.node(id);
    let last = tree.children(id).filter(|it| !matches!(tree.node(*it).kind, Kind::Comment { .. })).last();
    let entry = match step {
        Step::Key(key) => Wire::Map(vec![Entry::Pair(key.clone(), what.clone())]),
        Step::Index(_) => Wire::List(vec![what.clone()]),
    };
    let Some(last) = last else {
        // Empty: `{}`, `[]`, or a document without content.
        let is_root = tree.documents().iter().any(|it| it.root == id);
        if !is_root {
            put(tree, id, &entry, edits);
            return Ok(());
        }
        let text = with_breaks(tree, print::print_value(&entry, unit(tree)));
        if node.span.is_empty() {
            let end = tree.documents()[0].span.range().end;
            let gap = if super::ends_line(&tree.source()[..end]) { "" } else { line_break(tree) };
            edits.replace(Span::new(end, end), format!("{gap}{}", *text));
        } else {
            edits.replace(node.span, text.trim_end_matches(['\r', '\n']));
        }
        return Ok(());
    };
    if node.style == Style::Flow {
        let text = print::print_flow(&entry);
        let end = end_of_value(tree, last);
        edits.replace(Span::new(end, end), format!(", {}", &text[1..text.len() - 1]));
        return Ok(());
    }
    let column = tree.node(last).column as usize;
    let text = match &entry {
        Wire::Map(entries) => print::print_map_entries(entries, unit(tree), column),
        _ => match &entry {
            Wire::List(items) => print::print_list_items(items, unit(tree), column),
            _ => return Err(EditError::WrongType { found: type_name(format, tree, id), step: step_text(step) }),
        },
    };
    let text = with_breaks(tree, text);
    let end = entry_lines(tree, last).range().end;
    match super::ends_line(&tree.source()[..end]) {
        true => edits.replace(Span::new(end, end), text.as_str()),
        false => {
            let newline = line_break(tree);
            let text = text.strip_suffix(newline).unwrap_or(&text);
            edits.replace(Span::new(end, end), format!("{newline}{text}"));
        }
    }
    Ok(())
}

/// Takes an entry out of its container.
fn take_out(tree: &Tree, parent: NodeId, id: NodeId, edits: &mut Edits) {
    let source = tree.source();
    let is_comment = |id: NodeId| matches!(tree.node(id).kind, Kind::Comment { .. });
    if is_comment(id) {
        let span = tree.node(id).span;
        let line = line_start(source, span.range().start);
        let own_line = source[line..span.range().start].trim().is_empty();
        match (own_line, next_line(source, span.range().end)) {
            (true, Some(end)) => edits.remove(Span::new(line, end)),
            (true, None) => edits.remove(Span::new(line, span.range().end)),
            (false, _) => {
                let start = source[..span.range().start].trim_end_matches([' ', '\t']).len();
                edits.remove(Span::new(start, span.range().end));
            }
        }
        return;
    }
    let entries: Vec<NodeId> = tree.children(parent).filter(|it| !is_comment(*it)).collect();
    let container = tree.node(parent);
    let empty = if container.kind == Kind::Map { "{}" } else { "[]" };
    if entries.len() == 1 {
        // What is left is empty, and says so: a missing value would be null.
        let is_root = tree.documents().iter().any(|it| it.root == parent);
        match is_root || container.in_flow || container.style == Style::Flow {
            true => edits.replace(container.span, empty),
            false => {
                put(tree, parent, &if empty == "{}" { Wire::Map(vec![]) } else { Wire::List(vec![]) }, edits);
            }
        }
        return;
    }
    let at = entries.iter().position(|it| *it == id).unwrap_or(0);
    let start_of = |id: NodeId| {
        let node = tree.node(id);
        let first = if node.properties.is_empty() { node.span } else { node.properties };
        node.key.as_ref().map_or(first, |it| it.span).range().start
    };
    if container.style == Style::Flow {
        match entries.get(at + 1) {
            Some(next) => edits.remove(Span::new(start_of(id), start_of(*next))),
            None => edits.remove(Span::new(end_of_value(tree, entries[at - 1]), end_of_value(tree, id))),
        }
        return;
    }
    // Block entries have lines of their own, but for a first one behind a `-`.
    let start = match container.kind {
        Kind::Map => start_of(id),
        _ => source[..start_of(id)].trim_end_matches([' ', '\t', '\n', '\r']).trim_end_matches('-').len(),
    };
    let start = match container.kind {
        Kind::List if tree.node(id).span.is_empty() => source[..start_of(id)].rfind('-').unwrap_or(start),
        _ => start,
    };
    let line = line_start(source, start);
    let value_end = end_of_value(tree, id).max(start);
    let line_end = next_line(source, value_end);
    match source[line..start].trim_matches([' ', '\u{feff}']).is_empty() {
        true => {
            let (from, to) = match line_end {
                Some(end) => (line, end),
                // The last line is open: the one before becomes so.
                None => (line.saturating_sub(if source[..line].ends_with("\r\n") { 2 } else { 1 }), source.len()),
            };
            edits.remove(Span::new(from, to));
        }
        false => {
            // Up to the next entry, which takes the place behind the `-`.
            let to = entries.get(at + 1).map_or(value_end, |next| match container.kind {
                Kind::Map => start_of(*next),
                _ => source[..start_of(*next)].rfind('-').unwrap_or(value_end),
            });
            edits.remove(Span::new(start, to));
        }
    }
}
