//! The metadata of a YAML file: put behind its documents, and taken out again without a trace.

use zeroize::Zeroizing;

use super::place::{before_break, comma, comma_behind, end_of_value, ends_line, entry_lines, key_start, line_break};
use super::replace::close_block;
use super::{Yaml, print};
use crate::format::Layout;
use crate::tree::{Document, Edits, Entry, Kind, METADATA_KEY, NodeId, Span, Style, Tree, Wire};

/// See [`Format::attach`].
pub(super) fn attach(tree: &Tree, metadata: &Wire, before: Option<&Tree>, layout: &Layout, edits: &mut Edits) {
    let kept = before.and_then(|it| kept_block(it, metadata));
    let unit = print::indent_unit(layout.indent).unwrap_or(print::DEFAULT_INDENT);
    for document in tree.documents() {
        let root = tree.node(document.root);
        let newline = line_break(tree);
        if root.style == Style::Flow {
            attach_in_flow(tree, document.root, metadata, edits);
            continue;
        }
        let column = tree.entries(document.root).next().map_or(0, |it| tree.node(it).column as usize);
        let block = match &kept {
            Some(it) if column == 0 => it.clone(),
            _ => {
                let entries = [Entry::Pair(METADATA_KEY.to_owned(), metadata.clone())];
                print::print_map_entries(&entries, unit, column)
            }
        };
        let block = match newline {
            "\n" => block,
            other => Zeroizing::new(block.replace("\r\n", "\n").replace('\n', other)),
        };
        if let Some(old) = tree.child(document.root, METADATA_KEY) {
            let region = entry_lines(tree, old);
            let block = match tree.text(region).ends_with('\n') {
                true => block.as_str(),
                false => block.trim_end_matches(['\r', '\n']),
            };
            edits.replace(region, block);
            continue;
        }
        if !root.span.is_empty() && tree.entries(document.root).next().is_none() {
            // The root is spelt `null`.
            edits.remove(root.span);
        }
        let end = document.span.range().end;
        // Blanks alone make no line: they stay the text's last.
        let end = match tree.source()[..end].trim_end_matches(' ') {
            it if ends_line(it) && it.len() >= root.span.range().end => it.len(),
            _ => end,
        };
        let is_open_line = !ends_line(&tree.source()[..end]);
        if is_open_line {
            close_block(tree, document.root, end, edits);
        }
        let is_after_start = end > 0 && end == document.span.range().start && tree.source()[..end].ends_with("---");
        match is_open_line || is_after_start {
            true if end == 0 => edits.replace(Span::new(end, end), block.as_str()),
            // The text's last line is left open as it was.
            true => {
                let block = block.strip_suffix(newline).unwrap_or(&block);
                edits.replace(Span::new(end, end), format!("{newline}{block}"));
            }
            false => edits.replace(Span::new(end, end), block.as_str()),
        }
    }
}

/// See [`Format::detach`].
pub(super) fn detach(tree: &Tree, document: &Document, edits: &mut Edits) {
    let Some(id) = tree.child(document.root, METADATA_KEY) else { return };
    if tree.node(document.root).style == Style::Flow {
        detach_in_flow(tree, document.root, id, edits);
        return;
    }
    let mut region = entry_lines(tree, id);
    let source = tree.source();
    let is_alone = tree.entries(document.root).count() == 1;
    if !ends_line(&source[..region.range().end]) {
        // The text's last line is open: so was the one before the metadata came.
        let before = &source[..region.range().start];
        let newline = if before.ends_with("\r\n") { 2 } else { 1 };
        region.start = region.start.saturating_sub(newline);
    }
    let mut start = region.start;
    for comment in strangers(tree, document.root, region) {
        edits.remove(Span { start, end: comment.start });
        start = comment.end;
    }
    let end = match start > region.start && ends_line(&source[..region.range().end]) {
        true => before_break(source, region.range().end) as u32,
        false => region.end,
    };
    edits.replace(Span { start, end }, if is_alone { "{}\n" } else { "" });
}

/// The comments of the document that stand on the lines of its metadata: SOPS 3.13 writes one that
/// was behind a last alias there.
fn strangers(tree: &Tree, root: NodeId, region: Span) -> Vec<Span> {
    let comments = tree.children(root).filter(|it| matches!(tree.node(*it).kind, Kind::Comment { .. }));
    comments.map(|it| tree.node(it).span).filter(|it| region.start <= it.start && it.end <= region.end).collect()
}

/// The metadata block as it stands in a file, but for the entries that differ from `metadata`.
/// `None` if there is none that could be kept.
fn kept_block(before: &Tree, metadata: &Wire) -> Option<Zeroizing<String>> {
    let document = before.documents().first()?;
    let id = before.child(document.root, METADATA_KEY)?;
    let block = before.node(id);
    if block.style != Style::Plain || block.column != 0 || block.kind != Kind::Map || !block.properties.is_empty() {
        return None;
    }
    let column = before.node(before.entries(id).next()?).column as usize;
    let old = Yaml.wire_within(before, id, false).ok()?;
    let mut edits = Edits::default();
    let print = |key: &str, value: &Wire| {
        print::print_map_entries(&[Entry::Pair(key.to_owned(), value.clone())], column.max(2), column)
    };
    for child in before.children(id).filter(|it| before.key_of(*it).is_some()) {
        let key = before.key(child);
        match metadata.get(key) {
            None => edits.remove(entry_lines(before, child)),
            Some(new) if old.get(key) == Some(new) => (),
            Some(new) => edits.replace(entry_lines(before, child), print(key, new).as_str()),
        }
    }
    // What is new stands where the order of `metadata` puts it.
    let mut anchor = Span::new(entry_lines(before, before.entries(id).next()?).range().start, 0);
    anchor.end = anchor.start;
    for (key, value) in metadata.pairs() {
        match before.child(id, key) {
            Some(child) => {
                let end = entry_lines(before, child).range().end;
                anchor = Span::new(end, end);
            }
            None => edits.replace(anchor, print(key, value).as_str()),
        }
    }
    let region = entry_lines(before, id);
    for comment in strangers(before, document.root, region) {
        let start = before.source()[..comment.range().start].trim_end_matches([' ', '\t']).len();
        edits.remove(Span::new(start, comment.range().end));
    }
    let all = edits.apply_within(before.source(), region);
    Some(if all.ends_with('\n') { all } else { Zeroizing::new(format!("{}\n", *all)) })
}

/// Puts the pair before the closing bracket, behind every comment. Where the last entry has a comma
/// behind it, so has the metadata; else it brings the comma before it.
fn attach_in_flow(tree: &Tree, root: NodeId, metadata: &Wire, edits: &mut Edits) {
    let text = print::print_flow(&Wire::Map(vec![Entry::Pair(METADATA_KEY.to_owned(), metadata.clone())]));
    let pair = &text[1..text.len() - 1];
    if let Some(old) = tree.child(root, METADATA_KEY) {
        let node = tree.node(old);
        edits.replace(Span::new(key_start(tree, old), node.span.range().end), pair);
        return;
    }
    let close = tree.node(root).span.range().end - 1;
    let Some(last) = tree.entries(root).last() else {
        edits.replace(Span::new(close, close), pair);
        return;
    };
    let end = end_of_value(tree, last);
    if comma_behind(tree, end).is_some() {
        edits.replace(Span::new(close, close), format!(" {pair},"));
        return;
    }
    edits.replace(Span::new(end, end), comma(tree, last));
    edits.replace(Span::new(close, close), format!(" {pair}"));
}

fn detach_in_flow(tree: &Tree, root: NodeId, id: NodeId, edits: &mut Edits) {
    let mut region = Span::new(key_start(tree, id), end_of_value(tree, id));
    let before = tree.entries(root).take_while(|it| *it != id).last();
    match (before, comma_behind(tree, region.range().end)) {
        (_, Some(comma)) => region.end = comma as u32 + 1,
        (Some(before), None) => {
            let end = end_of_value(tree, before);
            if let Some(comma) = comma_behind(tree, end) {
                let start = if comma > end && tree.source()[..comma].ends_with(' ') { comma - 1 } else { comma };
                edits.remove(Span::new(start, comma + 1));
            }
        }
        (None, None) => (),
    }
    if before.is_some() && tree.source()[..region.range().start].ends_with(' ') {
        region.start -= 1;
    }
    edits.remove(region);
}
