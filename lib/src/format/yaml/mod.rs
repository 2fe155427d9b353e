//! YAML as SOPS reads it: the text stays, values are replaced in it.
//!
//! ```text
//! scan (tokens, comments) ─▶ parse (events) ─▶ compose (tree)
//!                                                 │ decode, scalar: text ↔ value
//!                                                 ▼ edit: set and unset     print: new text
//! ```

mod compose;
mod decode;
mod edit;
mod parse;
mod print;
mod scalar;
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{EditError, Format, Layout, ParseError, ParseErrorKind, PrintError};
use crate::key_path::KeyPath;
use crate::secret::SecretText;
use crate::tree::{Document, Edits, Entry, Kind, METADATA_KEY, Node, NodeId, Span, Style, Tree, Wire};
use crate::value::Value;

/// The format.
pub struct Yaml;

impl Format for Yaml {
    fn name(&self) -> &'static str {
        "yaml"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".yaml", ".yml"]
    }

    fn parse(&self, source: &[u8]) -> Result<Tree, ParseError> {
        if source.is_empty() {
            let message = "File cannot be completely empty, it must contain at least one document".to_owned();
            return Err(ParseError { message, line: 0, column: 0, kind: ParseErrorKind::Empty });
        }
        let mut tree = compose::compose(decode_source(source)?)?;
        tree.indent_unit = find_unit(&tree);
        if tree.documents().is_empty() {
            return Err(error("EOF".to_owned(), 0, 0));
        }
        Ok(tree)
    }

    fn value(&self, tree: &Tree, id: NodeId) -> Result<Value, ParseError> {
        let node = tree.node(id);
        let failed = |problem: scalar::ScalarError| {
            let (line, column) = tree.line_and_column(node.span.start);
            let kind = match problem {
                scalar::ScalarError::Unsigned => ParseErrorKind::NotEncryptable,
                _ => ParseErrorKind::Syntax,
            };
            ParseError { message: problem.to_string(), line, column, kind }
        };
        match node.kind {
            Kind::Alias(target) => self.value(tree, target),
            Kind::Comment { .. } => Ok(Value::Comment(tree.text(node.span)[1..].into())),
            Kind::Map | Kind::List => Ok(Value::Null),
            Kind::Scalar => match tree.tag(id) {
                Some(tag) => {
                    let text = decode_node(tree, node);
                    scalar::resolve_tagged(tag, &text, node.style == Style::Plain).map_err(failed)
                }
                None if node.style != Style::Plain => Ok(Value::str(&decode_node(tree, node))),
                None if decode::has_break(tree.text(node.span)) => {
                    scalar::resolve(&decode_node(tree, node)).map_err(failed)
                }
                None => scalar::resolve(tree.text(node.span)).map_err(failed),
            },
        }
    }

    fn str<'t>(&self, tree: &'t Tree, id: NodeId) -> Option<Cow<'t, str>> {
        let node = tree.node(id);
        let text = tree.text(node.span);
        match node.kind {
            Kind::Comment { .. } => Some(Cow::Borrowed(&text[1..])),
            Kind::Alias(target) => self.str(tree, target),
            Kind::Map | Kind::List => None,
            Kind::Scalar if tree.tag(id).is_some() => match self.value(tree, id) {
                Ok(Value::Str(it)) => it.expose_str().map(|it| Cow::Owned(it.to_owned())),
                _ => None,
            },
            Kind::Scalar => match node.style {
                Style::Plain if !decode::has_break(text) => scalar::is_str(text).then_some(Cow::Borrowed(text)),
                Style::Plain => match self.value(tree, id) {
                    Ok(Value::Str(it)) => it.expose_str().map(|it| Cow::Owned(it.to_owned())),
                    _ => None,
                },
                Style::Single | Style::Double
                    if memchr::memchr3(b'\\', b'\n', b'\'', &text.as_bytes()[1..text.len() - 1]).is_none()
                        && !decode::has_break(text) =>
                {
                    Some(Cow::Borrowed(&text[1..text.len() - 1]))
                }
                _ => Some(Cow::Owned(decode_node(tree, node).as_str().to_owned())),
            },
        }
    }

    fn spell(&self, tree: &Tree, at: NodeId, value: &Value) -> Zeroizing<String> {
        spell(tree, at, value, tree.node(at).style)
    }

    fn spell_again(&self, tree: &Tree, at: NodeId, value: &Value) -> Zeroizing<String> {
        let node = tree.node(at);
        let style = match node.style {
            Style::Single | Style::Double => node.style,
            _ if node.in_flow => Style::Double,
            _ => Style::Plain,
        };
        spell(tree, at, value, style)
    }

    fn read_bare(&self, text: &str) -> Option<Value> {
        match scalar::resolve(text) {
            Ok(Value::Str(_)) | Err(_) => None,
            Ok(value) => Some(value),
        }
    }

    fn uncomment(&self, tree: &Tree, at: NodeId, text: &SecretText, edits: &mut Edits) {
        let node = tree.node(at);
        let dash = tree.source()[..self.region(tree, at).range().start].rfind('-').unwrap_or(node.span.range().start);
        let text = scalar::comment(text, node.column as usize);
        edits.replace(Span::new(dash, node.span.range().end), text.as_str());
    }

    fn spell_empty(&self, tree: &Tree, list: NodeId, edits: &mut Edits) {
        let start = self.region(tree, list).start;
        edits.replace(Span { start, end: start }, " []");
    }

    fn expand(&self, tree: &Tree, at: NodeId, what: &Wire, edits: &mut Edits) -> Zeroizing<String> {
        edit::expand(tree, at, what, edits)
    }

    fn aliased_key(&self, tree: &Tree, at: NodeId) -> Option<Zeroizing<String>> {
        let key = tree.node(at).key.as_ref()?;
        tree.text(key.span).starts_with('*').then(|| scalar::spell_flow(&Value::str(tree.key(at))).1)
    }

    fn region(&self, tree: &Tree, at: NodeId) -> Span {
        let node = tree.node(at);
        let start = if node.properties.is_empty() { node.span.start } else { node.properties.start };
        match node.kind {
            Kind::Map | Kind::List => {
                let gap = tree.source()[..start as usize].trim_end_matches([' ', '\t', '\n', '\r']).len();
                Span { start: gap as u32, end: node.span.end }
            }
            _ => {
                // The blanks before a value on a line of its own may have to be others for a while.
                let line = line_start(tree.source(), start as usize);
                let is_alone = line > 0 && tree.source()[line..start as usize].trim_matches([' ', '\t']).is_empty();
                let start = if is_alone { line as u32 } else { start };
                Span { start, end: node.span.end.max(node.properties.end) }
            }
        }
    }

    fn sealed(&self, tree: &Tree, at: NodeId, envelope: &str) -> String {
        let node = tree.node(at);
        match (node.kind, node.style) {
            (Kind::Comment { .. }, _) => format!("#{envelope}"),
            // Quotes that SOPS would put there say nothing.
            (_, Style::Single | Style::Double) if !node.in_flow && is_spelt_by_sops(self, tree, at) => {
                envelope.to_owned()
            }
            (_, Style::Single) => format!("'{envelope}'"),
            (_, Style::Double) => format!("\"{envelope}\""),
            _ if node.in_flow => format!("\"{envelope}\""),
            _ => envelope.to_owned(),
        }
    }

    fn replace(&self, tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) {
        let node = tree.node(at);
        // A tag says what the text was; the anchor may be asked for by others.
        if tree.tag(at).is_some() {
            edits.remove(without_tag(tree, node));
        }
        replace_scalar(tree, at, text, edits);
    }

    fn original<'t>(&self, tree: &'t Tree, at: NodeId) -> Cow<'t, str> {
        let region = self.region(tree, at);
        let text = tree.text(region);
        match commented_header(tree, tree.node(at)) {
            Some(header) => {
                let start = (tree.node(at).span.start - region.start) as usize;
                Cow::Owned(format!("{}{}", &text[..start + header.len], &text[start + header.line_end..]))
            }
            None => Cow::Borrowed(text),
        }
    }

    fn restore(&self, tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) {
        let region = self.region(tree, at);
        let after_properties = text.split_ascii_whitespace().find(|it| !it.starts_with(['&', '!']));
        match after_properties.is_some_and(|it| it.starts_with(['|', '>'])) {
            true => restore_span(tree, region, text, edits),
            // The comment was behind the last line.
            false => edits.replace(region, text),
        }
    }

    fn attach(&self, tree: &Tree, metadata: &Wire, before: Option<&Tree>, layout: &Layout, edits: &mut Edits) {
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

    fn detach(&self, tree: &Tree, document: &Document, edits: &mut Edits) {
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

    fn insert(&self, tree: &Tree, at: &KeyPath, what: &Wire, edits: &mut Edits) -> Result<(), EditError> {
        edit::insert(self, tree, at, what, edits)
    }

    fn remove(&self, tree: &Tree, at: &KeyPath, edits: &mut Edits) -> Result<(), EditError> {
        edit::remove(self, tree, at, edits)
    }

    fn print(&self, documents: &[Wire], layout: &Layout) -> Result<Zeroizing<String>, PrintError> {
        let mut text = Zeroizing::new(String::new());
        print::print_documents(documents, print::indent_unit(layout.indent)?, &mut text);
        Ok(text)
    }

    fn print_value(&self, value: &Wire) -> Result<Zeroizing<String>, PrintError> {
        Ok(print::print_value(value, print::DEFAULT_INDENT))
    }

    fn example(&self) -> &'static str {
        "hello: Welcome to SOPS! Edit this file as you please!\n\
         example_key: example_value\n\
         # Example comment\n\
         example_array:\n    - example_value1\n    - example_value2\n\
         example_number: 1234.56789\n\
         example_booleans:\n    - true\n    - false\n"
    }

    fn wire(&self, tree: &Tree, id: NodeId) -> Result<Wire, ParseError> {
        self.wire_within(tree, id, true)
    }
}

impl Yaml {
    /// Iterative: files may nest deeper than threads do. `with_comments` false leaves comments out.
    fn wire_within(&self, tree: &Tree, root: NodeId, with_comments: bool) -> Result<Wire, ParseError> {
        struct Open {
            id: NodeId,
            key: Option<String>,
            next: Option<NodeId>,
            wire: Wire,
        }
        let open = |id: NodeId, key: Option<String>| {
            let target = tree.resolve(id);
            let wire = match tree.node(target).kind {
                Kind::Map => Wire::Map(Vec::new()),
                _ => Wire::List(Vec::new()),
            };
            Open { id: target, key, next: tree.first_child(target), wire }
        };
        let is_leaf = |id: NodeId| !matches!(tree.node(tree.resolve(id)).kind, Kind::Map | Kind::List);
        if is_leaf(root) {
            return Ok(Wire::Leaf(self.value(tree, root)?));
        }
        let mut stack = vec![open(root, None)];
        loop {
            let top = stack.last_mut().expect("the root is closed last");
            let Some(child) = top.next else {
                let done = stack.pop().expect("there is a top");
                let Some(parent) = stack.last_mut() else { return Ok(done.wire) };
                push(&mut parent.wire, done.key, done.wire);
                continue;
            };
            top.next = tree.next_sibling(child);
            let key = tree.node(child).key.as_ref().map(|_| tree.key(child).to_owned());
            if !is_leaf(child) {
                stack.push(open(child, key));
                continue;
            }
            match self.value(tree, child)? {
                Value::Comment(_) if !with_comments => (),
                Value::Comment(text) if tree.node(top.id).kind == Kind::Map => match &mut top.wire {
                    Wire::Map(entries) => entries.push(Entry::Comment(text)),
                    _ => unreachable!("a mapping makes a mapping"),
                },
                value => push(&mut top.wire, key, Wire::Leaf(value)),
            }
        }
    }
}

fn push(container: &mut Wire, key: Option<String>, wire: Wire) {
    match container {
        Wire::Map(entries) => entries.push(Entry::Pair(key.unwrap_or_default(), wire)),
        Wire::List(items) => items.push(wire),
        Wire::Leaf(_) => unreachable!("leaves hold nothing"),
    }
}

/// Spells `value` in place of a node as if that had the style `style`.
fn spell(tree: &Tree, at: NodeId, value: &Value, style: Style) -> Zeroizing<String> {
    let node = tree.node(at);
    if let Value::Comment(text) = value {
        return scalar::comment(text, node.column as usize);
    }
    if let Some(quoted) = scalar::spell_quoted(value, style) {
        return quoted;
    }
    if node.in_flow {
        return scalar::spell_flow(value).1;
    }
    let column = node.column as usize;
    let unit = tree.indent_unit;
    let inside = if node.key.is_some() { unit * ((column + unit) / unit) } else { column + 2 };
    scalar::spell(value, column, inside).1
}

/// True if a scalar stands there as SOPS spells what it means.
fn is_spelt_by_sops(format: &Yaml, tree: &Tree, at: NodeId) -> bool {
    let text = tree.text(tree.node(at).span);
    format.value(tree, at).is_ok_and(|it| spell(tree, at, &it, Style::Plain).as_str() == text)
}

fn decode_node(tree: &Tree, node: &Node) -> Zeroizing<String> {
    decode::scalar(tree.source(), node.span, node.style, node.column)
}

fn error(message: String, line: usize, column: usize) -> ParseError {
    ParseError { message, line, column, kind: ParseErrorKind::Syntax }
}

// ── the text as a whole ──────────────────────────────────────────────────────────────────────

/// Line and column of what comes after `before`.
fn end_of(before: &[u8]) -> (usize, usize) {
    let line = memchr::memrchr(b'\n', before).map_or(0, |it| it + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, String::from_utf8_lossy(&before[line..]).chars().count() + 1)
}

/// The text of a file: UTF-8, or UTF-16 with its mark. Control characters are refused, as by
/// go-yaml.
fn decode_source(source: &[u8]) -> Result<Zeroizing<String>, ParseError> {
    if source.len() >= u32::MAX as usize {
        return Err(error("the file is larger than 4 GiB".to_owned(), 0, 0));
    }
    let text = match source {
        [0xFF, 0xFE, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        _ => match std::str::from_utf8(source) {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(problem) => {
                let (line, column) = end_of(&source[..problem.valid_up_to()]);
                let what = match source[problem.valid_up_to()] {
                    0x80..=0xBF | 0xF8.. => "invalid leading UTF-8 octet",
                    _ if problem.error_len().is_none() => "incomplete UTF-8 octet sequence",
                    _ => "invalid trailing UTF-8 octet",
                };
                return Err(error(format!("yaml: {what}"), line, column));
            }
        },
    };
    let is_control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0x7F;
    // A chunk at a time, without a way out in between, is what the machine does fastest.
    let has_control = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | is_control(*byte));
    let plain = !text.as_bytes().chunks(256).any(has_control);
    let is_refused = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.starts_with("\u{feff}\u{feff}") {
        // go-yaml loses the first character of the lines after this.
        return Err(error("yaml: the text starts with two byte order marks".to_owned(), 1, 1));
    }
    if (!plain || !text.is_ascii())
        && let Some(at) = text.find(is_refused)
    {
        let (line, column) = end_of(&text.as_bytes()[..at]);
        return Err(error("yaml: control characters are not allowed".to_owned(), line, column));
    }
    Ok(text)
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, ParseError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(error("yaml: incomplete UTF-16 character".to_owned(), 0, 0));
    }
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 3 / 2));
    for c in char::decode_utf16(pairs.iter().map(|it| unit(*it))) {
        text.push(c.map_err(|_| error("yaml: expected low surrogate area".to_owned(), 0, 0))?);
    }
    Ok(text)
}

/// The line break that a text uses first.
fn line_break(tree: &Tree) -> &'static str {
    match memchr::memchr(b'\n', tree.source().as_bytes()) {
        Some(at) if at > 0 && tree.source().as_bytes()[at - 1] == b'\r' => "\r\n",
        _ => "\n",
    }
}

fn ends_line(text: &str) -> bool {
    text.is_empty() || text.ends_with(decode::BREAKS) || text == "\u{feff}"
}

/// Where the line that `at` is on starts.
fn line_start(source: &str, at: usize) -> usize {
    source[..at].trim_end_matches(|c| !decode::BREAKS.contains(&c)).len()
}

/// Where the line before the one that starts at `line` ends.
fn before_break(source: &str, line: usize) -> usize {
    let text = &source[..line];
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix(decode::BREAKS)).unwrap_or(text).len()
}

/// Where the line that `at` is on ends, before its break.
fn line_end(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    let line = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).map_or(rest, |it| &rest[..it]);
    at + if line.is_ascii() { line.len() } else { line.find(decode::BREAKS).unwrap_or(line.len()) }
}

/// Where the line after the one that `at` is on starts. `None` if that has no break.
fn next_line(source: &str, at: usize) -> Option<usize> {
    let end = line_end(source, at);
    decode::line_break(&source[end..]).map(|(n, _)| end + n)
}

/// The number of columns that a text indents by: what its first nested mapping shows, else SOPS's
/// default.
fn find_unit(tree: &Tree) -> usize {
    for document in tree.documents() {
        for child in tree.children(document.root) {
            let node = tree.node(child);
            if node.kind == Kind::Map
                && node.style == Style::Plain
                && tree.key(child) != METADATA_KEY
                && let Some(entry) = tree.entries(child).next()
                && let Some(step @ 1..) = tree.node(entry).column.checked_sub(node.column)
            {
                return step as usize;
            }
        }
    }
    print::DEFAULT_INDENT
}

/// The header of a block scalar that has a comment.
fn commented_header<'t>(tree: &'t Tree, node: &Node) -> Option<decode::Header<'t>> {
    is_block(node).then(|| decode::header(tree.text(node.span))).filter(|it| it.comment.is_some())
}

/// Puts back a text that stood at `span` before. Its first line comes before the comment there.
fn restore_span(tree: &Tree, span: Span, text: &str, edits: &mut Edits) {
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

/// Puts `text` in place of a scalar without its tag and anchor. A comment on the line where it starts
/// stays on the line where `text` starts.
fn replace_scalar(tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) {
    let node = tree.node(at);
    let before = &tree.source().as_bytes()[..node.span.range().start];
    let is_plainly_placed = before.ends_with(b": ") || before.ends_with(b"- ");
    if is_plainly_placed && !node.span.is_empty() && !is_block(node) && !decode::has_break(text) {
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
fn replace_span(tree: &Tree, id: NodeId, span: Span, text: &str, edits: &mut Edits) {
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
        let keeps = text.contains("+\n") || text.contains("+\r");
        keep_out(tree, end, tree.node(id).column as usize, keeps, edits);
    }
}

/// Keeps the lines behind the one that ends at `end`, up to the next that is neither empty nor a
/// comment, out of the block scalar that they now follow: comments that are further in move to
/// `column`, empty lines lose their blanks or, if the scalar `keeps` them, go.
fn keep_out(tree: &Tree, mut end: usize, column: usize, keeps: bool, edits: &mut Edits) {
    let source = tree.source();
    while let Some(line) = next_line(source, end) {
        let before = std::mem::replace(&mut end, line_end(source, line));
        let text = source[line..end].trim_start_matches([' ', '\t']);
        let start = end - text.len();
        if !text.is_empty() && !text.starts_with('#') {
            return;
        }
        if text.is_empty() && keeps && end < source.len() {
            edits.remove(Span::new(before, end));
        } else if text.is_empty() && line < end {
            edits.remove(Span::new(line, end));
        } else if !text.is_empty() && start > line + column {
            edits.replace(Span::new(line, start), " ".repeat(column));
        }
    }
}

/// True if a comment follows on the line where `span` ends.
fn has_comment_behind(tree: &Tree, span: Span) -> bool {
    tree.source()[span.range().end..].trim_start_matches([' ', '\t']).starts_with('#')
}

/// The tag of a node and the blanks behind it.
fn without_tag(tree: &Tree, node: &Node) -> Span {
    let text = tree.text(node.properties);
    let (start, len) = match text.find('!') {
        Some(start) => (start, text[start..].find(decode::is_blank_or_break).unwrap_or(text.len() - start)),
        None => (0, 0),
    };
    let mut end = node.properties.range_start() + start + len;
    while end != node.span.range_start() && tree.source()[end..].starts_with([' ', '\t']) {
        end += 1;
    }
    Span::new(node.properties.range_start() + start, end)
}

impl Span {
    fn range_start(self) -> usize {
        self.start as usize
    }
}

// ── the metadata ─────────────────────────────────────────────────────────────────────────────

/// Where an entry of a block mapping or list starts: with its indicator, or with the tag, the anchor
/// or the text of its key. That is where the line, or one before it, has something in the
/// container's column.
fn entry_start(tree: &Tree, id: NodeId) -> usize {
    let node = tree.node(id);
    let source = tree.source();
    let from = match &node.key {
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
fn entry_lines(tree: &Tree, id: NodeId) -> Span {
    let node = tree.node(id);
    let source = tree.source();
    let key = key_start(node);
    let line = line_start(source, key);
    let before = source[line..key].trim_start_matches('\u{feff}').trim();
    let start = if before.is_empty() || before == "?" { line } else { key };
    // A mark of the encoding stays where it is.
    let start = if source[start..].starts_with('\u{feff}') { start + '\u{feff}'.len_utf8() } else { start };
    let end = next_line(source, node.span.range().end).unwrap_or(source.len());
    Span::new(start, end)
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
    for child in before.children(id).filter(|it| before.node(*it).key.is_some()) {
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

/// The value that ends the text of a container.
fn last_leaf(tree: &Tree, mut id: NodeId) -> NodeId {
    while let Some(last) = tree.entries(id).last() {
        id = last;
    }
    id
}

fn is_block(node: &Node) -> bool {
    matches!(node.style, Style::Literal | Style::Folded)
}

/// Says of a block scalar whose last line is the text's, and open, that it ends without a break: with
/// the metadata behind it there will be one. A change that replaces the whole scalar sees to that
/// itself.
fn close_block(tree: &Tree, root: NodeId, end: usize, edits: &mut Edits) {
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

/// Puts the pair before the closing bracket, behind every comment. Where the last entry has a comma
/// behind it, so has the metadata; else it brings the comma before it.
fn attach_in_flow(tree: &Tree, root: NodeId, metadata: &Wire, edits: &mut Edits) {
    let text = print::print_flow(&Wire::Map(vec![Entry::Pair(METADATA_KEY.to_owned(), metadata.clone())]));
    let pair = &text[1..text.len() - 1];
    if let Some(old) = tree.child(root, METADATA_KEY) {
        let node = tree.node(old);
        edits.replace(Span::new(key_start(node), node.span.range().end), pair);
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
    let node = tree.node(id);
    let mut region = Span::new(key_start(node), end_of_value(tree, id));
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

fn key_start(node: &Node) -> usize {
    node.key.as_ref().map_or(node.span, |it| it.span).range().start
}

/// What separates an entry in brackets from the next one. Without the blank the comma would be part
/// of a tag, or the colon part of a key.
fn comma(tree: &Tree, id: NodeId) -> &'static str {
    let node = tree.node(id);
    let is_behind_key =
        node.properties.is_empty() && node.key.as_ref().is_some_and(|it| it.span.end == node.span.start);
    if node.span.is_empty() && !is_behind_key { " ," } else { "," }
}

/// Where the comma behind an entry in brackets stands, if there is one.
fn comma_behind(tree: &Tree, at: usize) -> Option<usize> {
    let at = skip_comments(tree.source(), at);
    tree.source()[at..].starts_with(',').then_some(at)
}

/// Where the next thing is that is neither blank nor break nor comment.
fn skip_comments(source: &str, mut at: usize) -> usize {
    loop {
        at = source.len() - source[at..].trim_start_matches(decode::is_blank_or_break).len();
        if !source[at..].starts_with('#') {
            return at;
        }
        at = line_end(source, at);
    }
}

/// Where an entry ends: behind its value, or behind what stands for it if nothing spells that.
fn end_of_value(tree: &Tree, id: NodeId) -> usize {
    let node = tree.node(id);
    node.span.range().end.max(node.properties.range().end)
}
