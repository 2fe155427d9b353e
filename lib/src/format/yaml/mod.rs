//! YAML as SOPS reads it: the text stays, values are replaced in it.
//!
//! ```text
//! scan (tokens, comments) ─▶ parse (events) ─▶ compose (tree) ◀─ lines, where each says all of one thing
//!                                                 │ decode, scalar: text ↔ value
//!                                                 ▼ edit: set and unset     print: new text
//! ```

mod compose;
mod decode;
mod edit;
mod lines;
mod metadata;
mod parse;
mod place;
mod print;
mod replace;
mod scalar;
mod scan;
mod source;
mod spelling;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use zeroize::Zeroizing;

use self::place::line_start;
use self::replace::{commented_header, replace_scalar, restore_span, without_tag};
use self::source::{check_characters, decode_source};
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

    fn read(&self, source: &mut Vec<u8>) -> Result<Tree, ParseError> {
        read(source, compose::compose)
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
        let text = spelling::comment(text, node.column as usize);
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
        let key = tree.key_of(at)?;
        let value = Value::str(tree.key(at));
        // In brackets a colon may follow that only quotes let be one.
        let quoted = || spelling::spell_quoted(&value, Style::Double).filter(|_| tree.node(at).in_flow);
        let spelt = || quoted().unwrap_or_else(|| spelling::spell_flow(&value).1);
        tree.text(key.span).starts_with('*').then(spelt)
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

    fn restore(&self, tree: &Tree, at: NodeId, text: &str, edits: &mut Edits) -> Span {
        let region = place::below_tag(tree, at, text).unwrap_or_else(|| self.region(tree, at));
        let after_properties = text.split_ascii_whitespace().find(|it| !it.starts_with(['&', '!']));
        match after_properties.is_some_and(|it| it.starts_with(['|', '>'])) {
            true => restore_span(tree, region, text, edits),
            // The comment was behind the last line.
            false => edits.replace(region, text),
        }
        region
    }

    fn is_plainly_laid_out(&self, tree: &Tree) -> bool {
        place::is_plainly_laid_out(tree)
    }

    fn attach(&self, tree: &Tree, metadata: &Wire, before: Option<&Tree>, layout: &Layout, edits: &mut Edits) {
        metadata::attach(tree, metadata, before, layout, edits);
    }

    fn detach(&self, tree: &Tree, document: &Document, edits: &mut Edits) {
        metadata::detach(tree, document, edits);
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
            let key = tree.key_of(child).map(|_| tree.key(child).to_owned());
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

/// As [`Format::parse`], from tokens also where lines would do: what is read of lines must be the same.
///
/// # Errors
///
/// As for [`Format::parse`].
pub fn parse_tokens(source: &[u8]) -> Result<Tree, ParseError> {
    read(&mut Zeroizing::new(source.to_vec()), compose::compose_tokens)
}

fn read(
    source: &mut Vec<u8>,
    compose: impl FnOnce(&mut Zeroizing<String>) -> Result<Tree, ParseError>,
) -> Result<Tree, ParseError> {
    if source.is_empty() {
        let message = "File cannot be completely empty, it must contain at least one document".to_owned();
        return Err(ParseError { message, line: 0, column: 0, kind: ParseErrorKind::Empty });
    }
    let mut text = decode_source(source)?;
    match check_characters(&text).and_then(|()| compose(&mut text)) {
        Ok(mut tree) => {
            tree.indent_unit = find_unit(&tree);
            Ok(tree)
        }
        Err(problem) => {
            if source.is_empty() {
                *source = std::mem::take(&mut *text).into_bytes();
            }
            Err(problem)
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
        return spelling::comment(text, node.column as usize);
    }
    if let Some(quoted) = spelling::spell_quoted(value, style) {
        return quoted;
    }
    if node.in_flow {
        return spelling::spell_flow(value).1;
    }
    let column = node.column as usize;
    let unit = tree.indent_unit;
    let inside = if tree.key_of(at).is_some() { unit * ((column + unit) / unit) } else { column + 2 };
    spelling::spell(value, column, inside).1
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
