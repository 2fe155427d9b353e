//! One text in the place of another, with what is around it kept as it is and out of it.

use super::decode;
use super::place::{has_comment_behind, is_block, last_leaf, line_break, line_end, line_start, next_line};
use crate::tree::{Edits, Node, NodeId, Span, Tree};

/// Puts `text` in place of a scalar without its tag and anchor. A comment on the line where it starts
/// stays on the line where `text` starts.
pub(super) fn replace_scalar(tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) {
    let node = tree.node(at);
    let before = &tree.source().as_bytes()[..node.span.range().start];
    let is_plainly_placed = before.ends_with(b": ") || before.ends_with(b"- ");
    let is_alone = !tree.source()[node.span.range().end..].starts_with('#');
    if is_plainly_placed && is_alone && !node.span.is_empty() && !is_block(node) && !decode::has_break(text) {
        edits.replace(node.span, text);
        return;
    }
    match commented_header(tree, node) {
        Some(header) => {
            let start = node.span.range().start;
            let rest = Span::new(start + header.line_end, node.span.range().end);
            replace_lines(tree, at, Span::new(start, start + header.len), rest, text, edits);
        }
        None => replace_span(tree, at, node.span, text, edits),
    }
}

/// Puts `text` in place of what is at `span`, of the value `id`. Blanks and a comment that follow
/// there stay on the first line.
pub(super) fn replace_span(tree: &Tree, id: NodeId, span: Span, text: &str, edits: &mut Edits) {
    let end = line_end(tree.source(), span.range().end);
    replace_lines(tree, id, span, Span::new(end, end), text, edits);
}

/// Puts the first line of `text` in place of what is at `first`, and the others in place of `rest`.
/// If no break follows them, or an odd one, they get one: the last of a block scalar needs it.
fn replace_lines(tree: &Tree, id: NodeId, first: Span, rest: Span, text: &str, edits: &mut Edits) {
    let (head, body) = text.split_at(line_end(text, 0));
    let node = tree.node(id);
    // go-yaml wants no blank between an anchor and a value that starts with a colon, nor before some
    // comments.
    let properties = tree.text(node.properties);
    let is_behind_anchor = node.properties.end == first.start
        && properties.rsplit(decode::is_blank_or_break).next().is_some_and(|it| it.starts_with('&'));
    let mut before = if is_behind_anchor { " ".to_owned() } else { String::new() };
    // Only the header of a block scalar may stand no further in than its key.
    let line = line_start(tree.source(), first.range().start);
    let blanks = &tree.source()[line..node.properties.range().start.min(first.range().start).max(line)];
    if is_block(node) && blanks.len() <= node.column as usize && blanks.trim().is_empty() {
        before.push_str(&" ".repeat(node.column as usize + 1 - blanks.len()));
    }
    let after = if tree.source()[first.range().end..].starts_with('#') { " " } else { "" };
    edits.replace(first, [&before, head, after].concat());
    if body.is_empty() {
        if !rest.is_empty() {
            edits.remove(rest);
        }
        return;
    }
    let end = rest.range().end;
    match decode::line_break(&tree.source()[end..]) {
        Some((_, "\n")) => edits.replace(rest, body),
        other => {
            let rest = Span::new(rest.range().start, end + other.map_or(0, |(n, _)| n));
            edits.replace(rest, format!("{body}{}", line_break(tree)));
        }
    }
    if text.contains('|') {
        let keeps = decode::keeps_empty_lines(text);
        let column = node.column as usize;
        keep_out(tree, end, column, decode::block_indent(text, column), keeps, edits);
    }
}

/// Keeps the lines behind the one that ends at `end` out of the block scalar that they now follow, up
/// to the one that ends it: empty lines lose their blanks, where these would be text, or, if the scalar `keeps` them, go; a
/// comment that is as far in as the scalar's lines, at `indent`, moves to `column`.
pub(super) fn keep_out(tree: &Tree, mut end: usize, column: usize, indent: usize, keeps: bool, edits: &mut Edits) {
    let source = tree.source();
    while let Some(line) = next_line(source, end) {
        let before = std::mem::replace(&mut end, line_end(source, line));
        let text = source[line..end].trim_start_matches([' ', '\t']);
        let start = end - text.len();
        if !text.is_empty() {
            if text.starts_with('#') && start >= line + indent {
                edits.replace(Span::new(line, start), " ".repeat(column));
            }
            return;
        }
        if keeps && end < source.len() {
            edits.remove(Span::new(before, end));
        } else if end - line > indent || source[line..end].contains('\t') {
            edits.remove(Span::new(line, end));
        }
    }
}

/// Puts back a text that stood at `span` before. Its first line comes before the comment there.
pub(super) fn restore_span(tree: &Tree, span: Span, text: &str, edits: &mut Edits) {
    let (head, body) = text.split_at(line_end(text, 0));
    match has_comment_behind(tree, span) && !body.is_empty() {
        true => {
            let end = line_end(tree.source(), span.range().end);
            edits.replace(span, head);
            edits.replace(Span::new(end, end), body);
        }
        false => edits.replace(span, text),
    }
}

/// The header of a block scalar that has a comment.
pub(super) fn commented_header<'t>(tree: &'t Tree, node: &Node) -> Option<decode::Header<'t>> {
    is_block(node).then(|| decode::header(tree.text(node.span))).filter(|it| it.comment.is_some())
}

/// The tag of a node and the blanks behind it.
pub(super) fn without_tag(tree: &Tree, node: &Node) -> Span {
    let text = tree.text(node.properties);
    let (start, len) = match text.find('!') {
        Some(start) => (start, text[start..].find(decode::is_blank_or_break).unwrap_or(text.len() - start)),
        None => (0, 0),
    };
    let mut end = node.properties.range().start + start + len;
    while end != node.span.range().start && tree.source()[end..].starts_with([' ', '\t']) {
        end += 1;
    }
    Span::new(node.properties.range().start + start, end)
}

/// Says of a block scalar whose last line is the text's, and open, that it ends without a break: with
/// the metadata behind it there will be one. A change that replaces the whole scalar sees to that
/// itself.
pub(super) fn close_block(tree: &Tree, root: NodeId, end: usize, edits: &mut Edits) {
    let node = tree.node(last_leaf(tree, root));
    if !is_block(node) || node.span.range().end != end || edits.touch(node.span) {
        return;
    }
    let header = decode::header(tree.text(node.span));
    if header.keep == Some(false) || node.span.len() <= header.line_end {
        return;
    }
    let start = node.span.range().start;
    match tree.text(node.span)[..header.len].find('+') {
        Some(at) => edits.replace(Span::new(start + at, start + at + 1), "-"),
        None => edits.replace(Span::new(start + 1, start + 1), "-"),
    }
}
