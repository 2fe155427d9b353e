//! JSON: one object, in which every byte that nobody asked to change stays as it is.

mod parse;
mod print;
mod splice;

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::format::{EditError, Format, Layout, ParseError, PrintError};
use crate::key_path::KeyPath;
use crate::tree::{Document, Edits, Entry, Kind, NodeId, Style, Tree, Wire};
use crate::value::Value;
use parse::Root;
use print::{Look, Text};

/// The format `json`, as SOPS 3.13 reads and prints it (spec sections 1.6, 1.7, 4.7). Refuses what
/// follows the document, where SOPS drops it.
pub struct Json;

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn suffixes(&self) -> &'static [&'static str] {
        &[".json"]
    }

    fn read(&self, source: &mut Vec<u8>) -> Result<Tree, ParseError> {
        parse::read(source, Root::Object)
    }

    fn value(&self, tree: &Tree, id: NodeId) -> Result<Value, ParseError> {
        parse::scalar(tree, id)
    }

    fn str<'t>(&self, tree: &'t Tree, id: NodeId) -> Option<Cow<'t, str>> {
        let node = tree.node(id);
        (node.style == Style::Double).then(|| parse::unquote(tree.text(node.span)))
    }

    /// A NaN or an infinity, which JSON cannot say, becomes a text that does not parse.
    fn spell(&self, _tree: &Tree, _at: NodeId, value: &Value) -> Zeroizing<String> {
        let mut text = Text::default();
        let _is_json = print::scalar(&mut text, value);
        text.0
    }

    fn attach(&self, tree: &Tree, metadata: &Wire, before: Option<&Tree>, _layout: &Layout, edits: &mut Edits) {
        splice::attach(tree, metadata, before, edits);
    }

    fn detach(&self, tree: &Tree, _document: &Document, edits: &mut Edits) {
        splice::detach(tree, edits);
    }

    fn read_bare(&self, text: &str) -> Option<Value> {
        let tree = parse::parse(text.as_bytes(), Root::Anything).ok()?;
        parse::scalar(&tree, NodeId(0)).ok().filter(|it| !matches!(it, Value::Str(_)))
    }

    fn insert(&self, tree: &Tree, at: &KeyPath, what: &Wire, edits: &mut Edits) -> Result<(), EditError> {
        splice::insert(tree, at, what, edits)
    }

    fn remove(&self, tree: &Tree, at: &KeyPath, edits: &mut Edits) -> Result<(), EditError> {
        splice::remove(tree, at, edits)
    }

    /// Prints the first document; one that says nothing is an empty object.
    fn print(&self, documents: &[Wire], layout: &Layout) -> Result<Zeroizing<String>, PrintError> {
        let spaces;
        let unit = match layout.indent {
            None | Some(-1) => "\t",
            Some(n) => {
                let n = usize::try_from(n);
                let refused = "JSON Indentation parameter smaller than -1 is not accepted";
                spaces = " ".repeat(n.map_err(|_| PrintError(refused.to_owned()))?);
                &spaces
            }
        };
        let nothing = Wire::Map(Vec::new());
        let root = documents.first().filter(|it| **it != Wire::Leaf(Value::Null)).unwrap_or(&nothing);
        let mut text = print_with(root, &Look { unit, ..Look::SOPS })?;
        text.push("\n");
        Ok(text.0)
    }

    fn print_value(&self, value: &Wire) -> Result<Zeroizing<String>, PrintError> {
        Ok(print_with(value, &Look::SOPS)?.0)
    }

    fn entry_names(&self) -> [&'static str; 2] {
        ["Key", "Value"]
    }

    fn example(&self) -> &'static str {
        concat!(
            "{\n",
            "\t\"hello\": \"Welcome to SOPS! Edit this file as you please!\",\n",
            "\t\"example_key\": \"example_value\",\n",
            "\t\"example_array\": [\n\t\t\"example_value1\",\n\t\t\"example_value2\"\n\t],\n",
            "\t\"example_number\": 1234.56789,\n",
            "\t\"example_booleans\": [\n\t\ttrue,\n\t\tfalse\n\t]\n",
            "}\n",
        )
    }

    fn wire(&self, tree: &Tree, id: NodeId) -> Result<Wire, ParseError> {
        wire(tree, id)
    }
}

/// Reads a value to be set, which need not be an object (spec section 8.9). A number that stands
/// alone is a float, whatever it looks like; in objects and lists, integers are integers.
///
/// # Errors
///
/// If `text` is not JSON.
pub fn parse_value(text: &[u8]) -> Result<Wire, ParseError> {
    let tree = parse::parse(text, Root::Anything)?;
    Ok(match wire(&tree, NodeId(0))? {
        Wire::Leaf(Value::Int(_)) => {
            Wire::Leaf(Value::Float(tree.source().trim().parse().expect("every integer reads as a float")))
        }
        other => other,
    })
}

fn print_with(what: &Wire, look: &Look<'_>) -> Result<Text, PrintError> {
    let mut text = Text::default();
    match print::print(&mut text, what, look) {
        true => Ok(text),
        false => Err(PrintError("json: unsupported value: JSON knows neither NaN nor infinity".to_owned())),
    }
}

/// What stands below `id`. Without recursion: documents may be deeper than the stack.
fn wire(tree: &Tree, id: NodeId) -> Result<Wire, ParseError> {
    let mut open = Vec::new();
    let mut at = id;
    loop {
        let mut done = match tree.node(at).kind {
            Kind::Map => Wire::Map(Vec::new()),
            Kind::List => Wire::List(Vec::new()),
            _ => Wire::Leaf(parse::scalar(tree, at)?),
        };
        let mut child = tree.first_child(at);
        at = loop {
            if let Some(child) = child {
                open.push((at, done));
                break child;
            }
            let Some((parent, mut whole)) = open.pop() else { return Ok(done) };
            match &mut whole {
                Wire::Map(entries) => entries.push(Entry::Pair(tree.key(at).to_owned(), done)),
                Wire::List(items) => items.push(done),
                Wire::Leaf(_) => (),
            }
            child = tree.next_sibling(at);
            (at, done) = (parent, whole);
        };
    }
}

#[cfg(test)]
mod tests;
