//! Where things stand in a text: lines, entries, commas.

use super::decode;
use crate::tree::{Kind, METADATA_KEY, Node, NodeId, Span, Style, Tree};

/// The line break that a text uses first.
pub(super) fn line_break(tree: &Tree) -> &'static str {
    match memchr::memchr(b'\n', tree.source().as_bytes()) {
        Some(at) if at > 0 && tree.source().as_bytes()[at - 1] == b'\r' => "\r\n",
        _ => "\n",
    }
}

pub(super) fn ends_line(text: &str) -> bool {
    text.is_empty() || text.ends_with(decode::BREAKS) || text == "\u{feff}"
}

/// Where the line that `at` is on starts.
pub(super) fn line_start(source: &str, at: usize) -> usize {
    source[..at].trim_end_matches(|c| !decode::BREAKS.contains(&c)).len()
}

/// Where the line before the one that starts at `line` ends.
pub(super) fn before_break(source: &str, line: usize) -> usize {
    let text = &source[..line];
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix(decode::BREAKS)).unwrap_or(text).len()
}

/// Where the line that `at` is on ends, before its break.
pub(super) fn line_end(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    let line = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).map_or(rest, |it| &rest[..it]);
    at + if line.is_ascii() { line.len() } else { line.find(decode::BREAKS).unwrap_or(line.len()) }
}

/// Where the line after the one that `at` is on starts. `None` if that has no break.
pub(super) fn next_line(source: &str, at: usize) -> Option<usize> {
    let end = line_end(source, at);
    decode::line_break(&source[end..]).map(|(n, _)| end + n)
}

/// True if a comment follows on the line where `span` ends.
pub(super) fn has_comment_behind(tree: &Tree, span: Span) -> bool {
    tree.source()[span.range().end..].trim_start_matches([' ', '\t']).starts_with('#')
}

/// Where an entry of a block mapping or list starts: with its indicator, or with the tag, the anchor
/// or the text of its key. That is where the line, or one before it, has something in the
/// container's column.
pub(super) fn entry_start(tree: &Tree, id: NodeId) -> usize {
    let node = tree.node(id);
    let source = tree.source();
    let from = match tree.key_of(id) {
        Some(key) => key.span.range().start,
        None => node.span.range().start.min(node.properties.range().start),
    };
    let mut line = line_start(source, from);
    loop {
        let mark = usize::from(line == 0 && source.starts_with('\u{feff}'));
        let found = source[line..].char_indices().nth(mark + node.column as usize).map(|(at, c)| (line + at, c));
        match found {
            Some((at, c)) if at <= from && c != '#' && !decode::is_blank_or_break(c) => return at,
            _ if line == 0 => return from,
            _ => line = line_start(source, before_break(source, line)),
        }
    }
}

/// The lines of an entry of a block mapping: from the start of its key's line to the break behind
/// its value.
pub(super) fn entry_lines(tree: &Tree, id: NodeId) -> Span {
    let node = tree.node(id);
    let source = tree.source();
    let key = key_start(tree, id);
    let line = line_start(source, key);
    let before = source[line..key].trim_start_matches('\u{feff}').trim();
    let start = if before.is_empty() || before == "?" { line } else { key };
    // A mark of the encoding stays where it is.
    let start = if source[start..].starts_with('\u{feff}') { start + '\u{feff}'.len_utf8() } else { start };
    let end = next_line(source, node.span.range().end).unwrap_or(source.len());
    Span::new(start, end)
}

/// Where `was` stood, which began with a tag on a line before the value: tags are taken out of a text that is sealed,
/// and what is between them and the value is left. `None` if it began elsewhere.
pub(super) fn below_tag(tree: &Tree, at: NodeId, was: &str) -> Option<Span> {
    let (node, source) = (tree.node(at), tree.source());
    let lines = lines_above_value(was).filter(|it| *it > 0)?;
    let mut line = line_start(source, node.span.range().start);
    for _ in 0..lines {
        line = line_start(source, before_break(source, line));
    }
    let key = tree.key_of(at).map(|it| it.span.range().end).filter(|it| *it > line);
    let start = match (was.starts_with([' ', '\t']), key) {
        (true, _) => line,
        // Others may stand before it in its brackets.
        (false, None) if node.in_flow => comment_or_end(tree, line),
        (false, key) => behind_indicators(source, key.unwrap_or(line)),
    };
    (start <= node.span.range().start).then(|| Span::new(start, end_of_value(tree, at)))
}

/// Where the comment on a line starts, or the line ends.
fn comment_or_end(tree: &Tree, line: usize) -> usize {
    let end = line_end(tree.source(), line);
    let comments = (0..tree.len() as u32).map(|it| tree.node(NodeId(it)));
    let starts = comments.filter(|it| matches!(it.kind, Kind::Comment { .. })).map(|it| it.span.range().start);
    starts.filter(|it| (line..end).contains(it)).min().unwrap_or(end)
}

/// How many lines begin between the tag that a text begins with and the value; `None` if it begins otherwise.
fn lines_above_value(text: &str) -> Option<usize> {
    let mut rest = text.trim_start_matches([' ', '\t']);
    if !rest.starts_with('!') {
        return None;
    }
    let mut lines = 0;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some((length, _)) = decode::line_break(rest) {
            (rest, lines) = (&rest[length..], lines + 1);
        } else if rest.starts_with('#') {
            rest = &rest[line_end(rest, 0)..];
        } else if rest.starts_with(['!', '&']) {
            rest = &rest[rest.find(decode::is_blank_or_break).unwrap_or(rest.len())..];
        } else {
            return Some(lines);
        }
    }
}

/// Where what follows a key, a dash or a question mark starts, on its line.
fn behind_indicators(source: &str, mut at: usize) -> usize {
    loop {
        at = source.len() - source[at..].trim_start_matches([' ', '\t']).len();
        let ends = source[at..].chars().nth(1).is_none_or(decode::is_blank_or_break);
        if !(ends && source[at..].starts_with([':', '-', '?'])) {
            return at;
        }
        at += 1;
    }
}

/// True if there is nothing in a text but one document in block style, the metadata its last entry, every value on the
/// line of its key or dash, and no comment, alias, anchor or tag.
pub(super) fn is_plainly_laid_out(tree: &Tree) -> bool {
    let [document] = tree.documents() else { return false };
    let last = tree.last_child(document.root).filter(|it| tree.key(*it) == METADATA_KEY);
    let Some(metadata) = last else { return false };
    let source = tree.source();
    let is_last = entry_lines(tree, metadata).range().end == source.len() && source.ends_with('\n');
    let is_plainly_placed = |node: &Node| {
        let before = &source.as_bytes()[..node.span.range().start];
        let is_behind = before.ends_with(b": ") || before.ends_with(b"- ");
        node.span.is_empty() || (is_behind && !is_block(node) && !decode::has_break(tree.text(node.span)))
    };
    let is_plain = |id: NodeId| {
        let node = tree.node(id);
        let is_simple = match node.kind {
            Kind::Map | Kind::List => true,
            Kind::Scalar => is_plainly_placed(node),
            Kind::Comment { .. } | Kind::Alias(_) => false,
        };
        let has_plain_key = tree.key_of(id).is_none_or(|it| !tree.text(it.span).starts_with('*'));
        is_simple && has_plain_key && !node.in_flow && node.properties.is_empty()
    };
    let is_aside = |id| matches!(tree.node(NodeId(id)).kind, Kind::Comment { .. } | Kind::Alias(_));
    is_last
        && tree.node(document.root).style == Style::Plain
        && tree.node(metadata).column == 0
        && (0..metadata.0).all(|it| is_plain(NodeId(it)))
        && !(metadata.0..tree.len() as u32).any(is_aside)
}

/// The value that ends the text of a container.
pub(super) fn last_leaf(tree: &Tree, mut id: NodeId) -> NodeId {
    while let Some(last) = tree.entries(id).last() {
        id = last;
    }
    id
}

pub(super) fn is_block(node: &Node) -> bool {
    matches!(node.style, Style::Literal | Style::Folded)
}

pub(super) fn key_start(tree: &Tree, id: NodeId) -> usize {
    tree.key_of(id).map_or(tree.node(id).span, |it| it.span).range().start
}

/// Where an entry ends: behind its value, or behind what stands for it if nothing spells that.
pub(super) fn end_of_value(tree: &Tree, id: NodeId) -> usize {
    let node = tree.node(id);
    node.span.range().end.max(node.properties.range().end)
}

/// What separates an entry in brackets from the next one. Without the blank the comma would be part
/// of a tag, or the colon part of a key.
pub(super) fn comma(tree: &Tree, id: NodeId) -> &'static str {
    let node = tree.node(id);
    let is_behind_key = node.properties.is_empty() && tree.key_of(id).is_some_and(|it| it.span.end == node.span.start);
    let before = tree.source()[..node.span.range().start].rsplit(decode::is_blank_or_break).next();
    let is_behind_tag = before.is_some_and(|it| it.contains('!'));
    if node.span.is_empty() && (is_behind_tag || !is_behind_key) { " ," } else { "," }
}

/// Where the comma behind an entry in brackets stands, if there is one.
pub(super) fn comma_behind(tree: &Tree, at: usize) -> Option<usize> {
    let at = skip_comments(tree.source(), at);
    tree.source()[at..].starts_with(',').then_some(at)
}

/// Where the next thing is that is neither blank nor break nor comment.
pub(super) fn skip_comments(source: &str, mut at: usize) -> usize {
    loop {
        at = source.len() - source[at..].trim_start_matches(decode::is_blank_or_break).len();
        if !source[at..].starts_with('#') {
            return at;
        }
        at = line_end(source, at);
    }
}
