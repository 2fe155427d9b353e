//! `set` and `unset` in the text: what is not named stays as it is (spec section 8.9).

use super::place::{
    before_break, comma, comma_behind, end_of_value, ends_line, entry_start, has_comment_behind, is_block, last_leaf,
    line_break, line_start, next_line, skip_comments,
};
use super::print::{self, Parent};
use super::replace::{close_block, keep_out, replace_scalar, replace_span};
use super::{Yaml, decode};
use zeroize::Zeroizing;

use crate::format::{EditError, Format, structure};
use crate::key_path::{KeyPath, Step};
use crate::tree::{Edits, Entry, Kind, METADATA_KEY, NodeId, Span, Style, Tree, Wire};

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
            structure::set(&mut wire, &at.0[n..], what)?;
            expand_aliases(format, tree, value_span(tree, id), edits)?;
            put(tree, id, &wire, edits);
            return Ok(());
        }
        match find(tree, id, step)? {
            Some(child) if rest.is_empty() => {
                expand_aliases(format, tree, value_span(tree, child), edits)?;
                put_at(tree, child, with_comments(tree, child), what, edits);
                return Ok(());
            }
            Some(child) if is_container(tree, tree.resolve(child)) => id = child,
            Some(child) => {
                // A scalar in the way makes room.
                expand_aliases(format, tree, value_span(tree, child), edits)?;
                put(tree, child, &structure::nested(rest, what), edits);
                return Ok(());
            }
            None => {
                expand_aliases(format, tree, value_span(tree, id), edits)?;
                append(tree, id, step, &structure::nested(rest, what), edits);
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
            structure::unset(&mut wire, &at.0[n..])?;
            expand_aliases(format, tree, value_span(tree, id), edits)?;
            put(tree, id, &wire, edits);
            return Ok(());
        }
        if !is_container(tree, id) {
            return Err(structure::misfit(tree.node(id).kind, format.value(tree, id).ok().as_ref(), step));
        }
        parent = id;
        id = match (tree.node(id).kind, step) {
            // To SOPS, an index is a key that no mapping has.
            (Kind::Map, Step::Index(index)) => return Err(EditError::KeyNotFound(index.to_string())),
            _ => find(tree, id, step)?.ok_or_else(|| structure::missing(step))?,
        };
    }
    expand_aliases(format, tree, entry_span(tree, id), edits)?;
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

fn is_container(tree: &Tree, id: NodeId) -> bool {
    matches!(tree.node(tree.resolve(id)).kind, Kind::Map | Kind::List)
}

/// The child that a step leads to. Comments count as items of lists, as for SOPS.
fn find(tree: &Tree, id: NodeId, step: &Step) -> Result<Option<NodeId>, EditError> {
    match (tree.node(id).kind, step) {
        (Kind::Map, Step::Key(key)) => Ok(tree.child(id, key)),
        (Kind::List, Step::Index(index)) => Ok(tree.children(id).nth(*index)),
        (kind @ (Kind::Map | Kind::List), _) => Err(structure::misfit(kind, None, step)),
        _ => Ok(None),
    }
}

fn wire_of(format: &Yaml, tree: &Tree, id: NodeId) -> Result<Wire, EditError> {
    format
        .wire(tree, id)
        .map_err(|_| EditError::WrongType { found: "value that cannot be copied", step: String::new() })
}

// ── aliases ──────────────────────────────────────────────────────────────────────────────────

/// Writes out every alias that stands for something that a change of the text at `region` touches,
/// or for something around that: the change is meant for one place only.
fn expand_aliases(format: &Yaml, tree: &Tree, region: Span, edits: &mut Edits) -> Result<(), EditError> {
    let inside = |it: Span| region.start <= it.start && it.end <= region.end;
    let around = |it: Span| it.start <= region.start && region.end <= it.end;
    let mut stack: Vec<NodeId> = tree.documents().iter().map(|it| it.root).collect();
    while let Some(id) = stack.pop() {
        let span = tree.node(id).span;
        match tree.node(id).kind {
            Kind::Alias(target) if !inside(span) => {
                let target_span = tree.node(target).span;
                if inside(target_span) || around(target_span) {
                    let wire = wire_of(format, tree, target)?;
                    put(tree, id, &wire, edits);
                }
            }
            _ => stack.extend(tree.children(id)),
        }
    }
    Ok(())
}

/// The text of a value, with its tag and anchor.
fn value_span(tree: &Tree, id: NodeId) -> Span {
    let node = tree.node(id);
    let start = match node.properties.is_empty() {
        true => node.span.range().start,
        false => node.properties.range().start,
    };
    Span::new(start, end_of_value(tree, id))
}

/// The text of a value, with its tag and anchor, and of its key.
fn entry_span(tree: &Tree, id: NodeId) -> Span {
    let value = value_span(tree, id);
    let start = tree.key_of(id).map_or(value.start, |it| it.span.start);
    Span { start, ..value }
}

// ── the text ─────────────────────────────────────────────────────────────────────────────────

/// The text of a value, and of those of its comments that stand before and behind it.
fn with_comments(tree: &Tree, id: NodeId) -> Span {
    let span = value_span(tree, id);
    let node = tree.node(id);
    if node.in_flow || !matches!(node.kind, Kind::Map | Kind::List) {
        return span;
    }
    let outside = |it: &NodeId| {
        let at = tree.node(*it).span;
        matches!(tree.node(*it).kind, Kind::Comment { .. }) && (at.end <= span.start || span.end <= at.start)
    };
    let own: Vec<Span> = below(tree, id).filter(outside).map(|it| tree.node(it).span).collect();
    let start = own.iter().map(|it| it.start).fold(span.start, u32::min);
    let end = own.iter().map(|it| it.end).fold(span.end, u32::max);
    // Where others stand among them, they stay.
    let all = tree.documents().iter().flat_map(|it| below(tree, it.root)).filter(outside).map(|it| tree.node(it).span);
    match all.filter(|it| start <= it.start && it.end <= end).count() == own.len() {
        true => Span { start, end },
        false => span,
    }
}

/// A node and everything below it, aliases not followed.
fn below(tree: &Tree, id: NodeId) -> impl Iterator<Item = NodeId> {
    let mut stack = vec![id];
    std::iter::from_fn(move || {
        let id = stack.pop()?;
        stack.extend(tree.children(id));
        Some(id)
    })
}

/// Puts `what` in place of the value `id`.
fn put(tree: &Tree, id: NodeId, what: &Wire, edits: &mut Edits) {
    put_at(tree, id, value_span(tree, id), what, edits);
}

/// Puts `what` in place of the value `id`, whose text is at `span`.
fn put_at(tree: &Tree, id: NodeId, span: Span, what: &Wire, edits: &mut Edits) {
    let node = tree.node(id);
    let source = tree.source();
    let column = node.column as usize;
    let (start, end) = (span.range().start, span.range().end);
    if matches!(node.kind, Kind::Comment { .. }) {
        return put_for_comment(tree, id, what, edits);
    }
    // A key in brackets, or behind a `?`, may have no colon.
    let key_end = tree.key_of(id).map(|it| it.span.range().end);
    let has_colon = span.is_empty() && key_end.is_some_and(|it| source[it..start].ends_with(':'));
    let lacks_colon = span.is_empty() && key_end.is_some() && !has_colon;
    if node.in_flow {
        let gap = if lacks_colon {
            ": "
        } else if span.is_empty() {
            " "
        } else {
            ""
        };
        edits.replace(span, format!("{gap}{}", *print::print_flow(what)));
        return;
    }
    if let (Wire::Leaf(value), Kind::Scalar | Kind::Alias(_), false) = (what, node.kind, span.is_empty()) {
        if !node.properties.is_empty() {
            edits.remove(Span::new(start, node.span.range().start));
        }
        replace_scalar(tree, id, &Yaml.spell(tree, id, value), edits);
        return;
    }
    let parent = match tree.key_of(id) {
        Some(_) => Parent::Map(column),
        None => Parent::List(column),
    };
    let text = with_breaks(tree, &print::print_subtree(what, tree.indent_unit, parent));
    let newline = line_break(tree);
    if lacks_colon {
        let gap = if text.starts_with(' ') { " " } else { "" };
        let text = format!("{newline}{}:{gap}{}", " ".repeat(column), text.trim_start_matches(' '));
        replace_span(tree, id, span, &text, edits);
        return;
    }
    // From behind the colon or the dash on: the blank or break before the value is made anew. A
    // comment there stays.
    let gap = source[..start].trim_end_matches(decode::is_blank_or_break).len();
    let indicator = match key_end {
        _ if span.is_empty() => start,
        Some(end) => skip_comments(source, end) + 1,
        None => entry_start(tree, id) + 1,
    };
    if gap <= indicator {
        replace_span(tree, id, Span::new(indicator, end), &text, edits);
    } else if text.starts_with(' ') {
        let blanks = &source[line_start(source, start)..start];
        let indent = " ".repeat(blanks.len().max(column + 1));
        let text = format!("{newline}{indent}{}", text.trim_start_matches(' '));
        replace_span(tree, id, Span::new(gap, end), &text, edits);
    } else {
        replace_span(tree, id, Span::new(gap, end), &text, edits);
    }
}

/// A comment that is an item of a list, by SOPS's count, makes room for another item. One that stands
/// behind something else cannot: nothing is changed, so that the document is laid out anew.
fn put_for_comment(tree: &Tree, id: NodeId, what: &Wire, edits: &mut Edits) {
    let node = tree.node(id);
    let source = tree.source();
    let line = line_start(source, node.span.range().start);
    let list = parent_of(tree, id).filter(|it| tree.node(*it).style == Style::Plain);
    let item = list.and_then(|it| tree.entries(it).next());
    let place = node.span.range().start;
    let is_between = |list: NodeId| {
        let before = match tree.key_of(list) {
            Some(key) => skip_comments(source, key.span.range().end),
            None => entry_start(tree, list),
        };
        let (mut is_behind, mut in_order) = (false, before < place);
        for child in tree.children(list) {
            is_behind |= child == id;
            if !matches!(tree.node(child).kind, Kind::Comment { .. }) {
                in_order &= match is_behind {
                    true => place < entry_start(tree, child),
                    false => end_of_value(tree, child) <= place,
                };
            }
        }
        in_order && source[line..place].trim().is_empty()
    };
    if let Some(item) = item.filter(|_| list.is_some_and(is_between)) {
        let column = tree.node(item).column as usize;
        let text = print::print_list_items(std::slice::from_ref(what), tree.indent_unit, column);
        let text = with_breaks(tree, text.trim_end_matches('\n'));
        replace_span(tree, id, Span::new(line, node.span.range().end), &text, edits);
    }
}

fn parent_of(tree: &Tree, id: NodeId) -> Option<NodeId> {
    let mut all = tree.documents().iter().flat_map(|it| below(tree, it.root));
    all.find(|parent| tree.children(*parent).any(|it| it == id))
}

fn with_breaks(tree: &Tree, text: &str) -> String {
    match line_break(tree) {
        "\n" => text.to_owned(),
        other => text.replace('\n', other),
    }
}

/// Adds an entry to the end of a container.
fn append(tree: &Tree, id: NodeId, step: &Step, what: &Wire, edits: &mut Edits) {
    let node = tree.node(id);
    let source = tree.source();
    let newline = line_break(tree);
    let entry = match step {
        Step::Key(key) => Wire::Map(vec![Entry::Pair(key.clone(), what.clone())]),
        Step::Index(_) => Wire::List(vec![what.clone()]),
    };
    let last = tree.entries(id).last();
    let has_comments = tree.first_child(id).is_some() || has_comment_behind(tree, node.span);
    if node.style == Style::Flow && (last.is_some() || has_comments) {
        append_in_flow(tree, id, last, &entry, edits);
        return;
    }
    let Some(last) = last else {
        // Empty: `{}`, `[]`, or a document without content.
        if tree.documents().iter().all(|it| it.root != id) {
            put(tree, id, &entry, edits);
            return;
        }
        let text = with_breaks(tree, &print::print_value(&entry, tree.indent_unit));
        if node.span.is_empty() {
            let end = tree.documents()[0].span.range().end;
            let gap = if ends_line(&source[..end]) { "" } else { newline };
            edits.replace(Span::new(end, end), format!("{gap}{text}"));
        } else {
            let gap = if ends_line(&source[..node.span.range().start]) { "" } else { newline };
            replace_span(tree, id, node.span, &format!("{gap}{}", text.trim_end_matches(['\r', '\n'])), edits);
        }
        return;
    };
    let column = tree.node(last).column as usize;
    let text = match &entry {
        Wire::Map(entries) => print::print_map_entries(entries, tree.indent_unit, column),
        Wire::List(items) => print::print_list_items(items, tree.indent_unit, column),
        Wire::Leaf(_) => unreachable!("an entry is made in a container"),
    };
    let text = with_breaks(tree, &text);
    match next_line(source, end_of_value(tree, last)) {
        Some(line) => {
            let line = behind_comments(source, line, column).max(behind_own_comments(tree, id, last));
            let gap = if ends_line(&source[..line]) { "" } else { newline };
            let text = format!("{gap}{text}");
            if text.contains('|') {
                // Empty lines must not become the end of a block scalar.
                let blank = source[line..].len() - source[line..].trim_start_matches(decode::is_blank_or_break).len();
                let line_after = line_start(source, line + blank).max(line);
                let keeps = decode::keeps_empty_lines(&text) || source[line..line_after].contains([' ', '\t']);
                edits.replace(Span::new(line, if keeps { line_after } else { line }), text);
            } else {
                edits.replace(Span::new(line, line), text);
            }
        }
        None => {
            let end = source.len();
            close_block(tree, last, end, edits);
            edits.replace(Span::new(end, end), format!("{newline}{text}"));
        }
    }
}

/// The line behind the comments that stand behind the last entry of a container and belong to it:
/// what is added comes after them, as for SOPS.
fn behind_own_comments(tree: &Tree, id: NodeId, last: NodeId) -> usize {
    let source = tree.source();
    let from = next_line(source, end_of_value(tree, last)).unwrap_or(source.len());
    let comments = tree.children(id).filter(|it| matches!(tree.node(*it).kind, Kind::Comment { .. }));
    let ends = comments.map(|it| tree.node(it).span.range()).filter(|it| it.start >= from);
    ends.map(|it| next_line(source, it.end).unwrap_or(source.len())).max().unwrap_or(0)
}

/// Skips the comments from `line` on that are further in than `column`: they say something about the
/// entry above.
fn behind_comments(source: &str, line: usize, column: usize) -> usize {
    let (mut at, mut behind) = (line, line);
    while at < source.len() {
        let next = next_line(source, at).unwrap_or(source.len());
        let text = source[at..next].trim_start_matches(' ');
        let indent = next - at - text.len();
        at = next;
        match text.starts_with('#') {
            true if indent > column => behind = next,
            false if text.trim().is_empty() => (),
            _ => break,
        }
    }
    behind
}

/// Adds an entry before the closing bracket.
fn append_in_flow(tree: &Tree, id: NodeId, last: Option<NodeId>, entry: &Wire, edits: &mut Edits) {
    let span = tree.node(id).span;
    let text = print::print_flow(entry);
    let text = &text[1..text.len() - 1];
    let (start, end) = (span.range().start, span.range().end);
    if let Some(last) = last {
        let end = end_of_value(tree, last);
        if comma_behind(tree, end).is_none() || is_bare_pair(tree, id) {
            edits.replace(Span::new(end, end), comma(tree, last));
        }
    }
    if is_bare_pair(tree, id) {
        edits.replace(Span::new(start, start), "{");
        edits.replace(Span::new(end, end), format!(" {text}}}"));
    } else {
        edits.replace(Span::new(end - 1, end - 1), format!(" {text}"));
    }
}

/// True for the mapping in `[a: 1]`, which has no brackets of its own.
fn is_bare_pair(tree: &Tree, id: NodeId) -> bool {
    let node = tree.node(id);
    node.kind == Kind::Map && node.style == Style::Flow && !tree.text(node.span).starts_with('{')
}

/// Takes an entry out of its container.
fn take_out(tree: &Tree, parent: NodeId, id: NodeId, edits: &mut Edits) {
    let source = tree.source();
    if matches!(tree.node(id).kind, Kind::Comment { .. }) {
        take_out_comment(tree, id, edits);
        return;
    }
    let container = tree.node(parent);
    let entries: Vec<NodeId> = tree.entries(parent).collect();
    let at = entries.iter().position(|it| *it == id).unwrap_or(0);
    if container.style == Style::Flow && !is_bare_pair(tree, parent) {
        take_out_of_flow(tree, parent, &entries, at, edits);
        return;
    }
    if entries.len() == 1 {
        // What is left is empty, and says so: a missing value would be null.
        let empty = if container.kind == Kind::Map { Wire::Map(vec![]) } else { Wire::List(vec![]) };
        if tree.documents().iter().all(|it| it.root != parent) {
            put(tree, parent, &empty, edits);
            return;
        }
        edits.replace(Span::new(entry_start(tree, id), end_of_value(tree, id)), "{}");
        return;
    }
    let start = entry_start(tree, id);
    let line = line_start(source, start);
    let line = if source[line..start].starts_with('\u{feff}') { line + '\u{feff}'.len_utf8() } else { line };
    let next = next_line(source, end_of_value(tree, id)).unwrap_or(source.len());
    if source[line..start].trim_matches(' ').is_empty() {
        let said = said_behind(tree, parent, Span::new(start, next));
        if !said.is_empty() {
            let said = said.join(&format!("{}{}", line_break(tree), &source[line..start]));
            edits.replace(Span::new(start, before_break(source, next)), said);
            return;
        }
        let before = at.checked_sub(1).map(|it| tree.node(last_leaf(tree, entries[it])));
        let end = before_break(source, next);
        let ends_plainly = decode::line_break(&source[end..]).is_some_and(|(_, it)| it == "\n");
        match before.filter(|it| is_block(it) && ends_plainly) {
            Some(block) => {
                edits.remove(Span::new(before_break(source, line), end));
                let keeps = decode::header(tree.text(block.span)).keep == Some(true);
                let indent = decode::block_indent(tree.text(block.span), block.column as usize);
                keep_out(tree, end, tree.node(id).column as usize, indent, keeps, edits);
            }
            None => edits.remove(Span::new(line, next)),
        }
        return;
    }
    // Behind the `-` of what encloses it: the next entry takes its place, or the comment before that.
    let to = match entries.get(at + 1).map(|it| entry_start(tree, *it)) {
        Some(entry) => {
            let from = if said_behind(tree, parent, Span::new(start, next)).is_empty() {
                next
            } else {
                end_of_value(tree, id)
            };
            source[from.min(entry)..entry].find('#').map_or(entry, |it| from + it)
        }
        None => end_of_value(tree, id),
    };
    edits.remove(Span::new(start, to));
}

/// The comments in the lines of an entry that are its container's, as for SOPS: they outlive it.
fn said_behind(tree: &Tree, parent: NodeId, lines: Span) -> Vec<&str> {
    let comments = tree.children(parent).map(|it| tree.node(it)).filter(|it| matches!(it.kind, Kind::Comment { .. }));
    let within = comments.filter(|it| lines.start <= it.span.start && it.span.end <= lines.end);
    within.map(|it| tree.text(it.span)).collect()
}

fn take_out_of_flow(tree: &Tree, parent: NodeId, entries: &[NodeId], at: usize, edits: &mut Edits) {
    let source = tree.source();
    let before = match at.checked_sub(1) {
        Some(before) => comma_behind(tree, end_of_value(tree, entries[before])),
        None => None,
    };
    let from = before.unwrap_or(tree.node(parent).span.range().start) + 1;
    let start = skip_comments(source, from);
    let end = end_of_value(tree, entries[at]);
    match (comma_behind(tree, end), before) {
        (Some(comma), _) => {
            let end = comma + 1;
            let blanks = source[end..].len() - source[end..].trim_start_matches(' ').len();
            edits.remove(Span::new(start, end + blanks));
        }
        // `a:` is a key in `[a:,` and none without the comma.
        (None, Some(comma)) if source[..comma].ends_with(':') => edits.remove(Span::new(comma + 1, end)),
        (None, Some(comma)) if source[from..start].trim().is_empty() => edits.remove(Span::new(comma, end)),
        (None, Some(comma)) => {
            edits.remove(Span::new(comma, comma + 1));
            edits.remove(Span::new(start, end));
        }
        (None, None) => edits.remove(Span::new(start, end)),
    }
}

fn take_out_comment(tree: &Tree, id: NodeId, edits: &mut Edits) {
    let source = tree.source();
    let span = tree.node(id).span;
    let line = line_start(source, span.range().start);
    let own_line = source[line..span.range().start].trim().is_empty();
    if own_line {
        edits.remove(Span::new(line, next_line(source, span.range().end).unwrap_or(source.len())));
    } else {
        let start = source[..span.range().start].trim_end_matches([' ', '\t']).len();
        edits.remove(Span::new(start, span.range().end));
    }
}

/// Writes structure out in place of an alias, and returns the new text without the blanks around it.
pub(super) fn expand(tree: &Tree, alias: NodeId, what: &Wire, edits: &mut Edits) -> Zeroizing<String> {
    let node = tree.node(alias);
    let text = match what {
        _ if node.in_flow => print::print_flow(what),
        Wire::Leaf(value) => Yaml.spell(tree, alias, value),
        Wire::Map(_) | Wire::List(_) => {
            let column = node.column as usize;
            let parent = if tree.key_of(alias).is_some() { Parent::Map(column) } else { Parent::List(column) };
            let text = print::print_subtree(what, tree.indent_unit, parent);
            // The blanks between the colon or dash and the value are made anew.
            let gap = tree.source()[..node.span.range().start].trim_end_matches(decode::is_blank_or_break).len();
            edits.replace(Span::new(gap, node.span.range().end), with_breaks(tree, &text));
            return Zeroizing::new(with_breaks(tree, text.trim()));
        }
    };
    edits.replace(node.span, &*text);
    text
}
