//! YAML to values and back, as Kubernetes' library does it: by way of JSON, with the words of YAML 1.1.

use std::collections::BTreeMap;

use super::exec::Budget;
use super::functions::Fault;
use super::print;
use super::value::{DEEPEST, Text, Value};
use crate::format;
use crate::tree::{Kind, NodeId, Style, Tree};
use crate::value::{Value as Scalar, float};

/// YAML that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unreadable;

const TRUE: &[&str] = &["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"];
const FALSE: &[&str] = &["n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// Reads the first document, which must be a mapping or empty. Integers are `int64`, or floats where
/// they do not fit.
pub(super) fn read(text: &[u8], budget: &mut Budget) -> Result<Result<Value, Unreadable>, Fault> {
    let yaml = format::named("yaml").expect("YAML is a format");
    let is_nothing = |line: &[u8]| matches!(line.trim_ascii().first(), None | Some(b'#'));
    if text.split(|it| *it == b'\n').all(is_nothing) {
        return Ok(Ok(Value::map(BTreeMap::new())));
    }
    let Ok(tree) = yaml.parse(text) else { return Ok(Err(Unreadable)) };
    match tree.documents().first() {
        None => Ok(Ok(Value::map(BTreeMap::new()))),
        Some(document) => match (Reader { yaml, tree: &tree, budget }).node(document.root, 0) {
            Ok(Value::Nil) => Ok(Ok(Value::map(BTreeMap::new()))),
            Ok(value @ Value::Map(_)) => Ok(Ok(value)),
            Ok(_) | Err(Fault::Message(_)) => Ok(Err(Unreadable)),
            Err(fault) => Err(fault),
        },
    }
}

/// What JSON would have made of it: all numbers are floats.
pub(super) fn as_json(value: Value) -> Value {
    match value {
        Value::Int(_, n) => Value::Float(n as f64),
        Value::List(list) => Value::list(list.items.iter().cloned().map(as_json).collect()),
        Value::Map(map) => {
            Value::map(map.items.borrow().iter().map(|(k, v)| (k.clone(), as_json(v.clone()))).collect())
        }
        other => other,
    }
}

struct Reader<'a> {
    yaml: &'static dyn format::Format,
    tree: &'a Tree,
    budget: &'a mut Budget,
}

impl Reader<'_> {
    fn node(&mut self, id: NodeId, depth: usize) -> Result<Value, Fault> {
        if depth > DEEPEST {
            return Err(Fault::Exhausted("nest"));
        }
        self.budget.step(1)?;
        let id = self.tree.resolve(id);
        match self.tree.node(id).kind {
            Kind::Map => self.map(id, depth),
            Kind::List => {
                let items: Vec<NodeId> = self.tree.entries(id).collect();
                Ok(Value::list(items.into_iter().map(|it| self.node(it, depth + 1)).collect::<Result<_, _>>()?))
            }
            _ => self.scalar(id),
        }
    }

    fn map(&mut self, id: NodeId, depth: usize) -> Result<Value, Fault> {
        let mut items: BTreeMap<Text, Value> = BTreeMap::new();
        let mut merged: Vec<Value> = Vec::new();
        let entries: Vec<NodeId> = self.tree.entries(id).collect();
        for entry in entries {
            let (key, is_merge) = self.key(entry)?;
            let value = self.node(entry, depth + 1)?;
            match is_merge {
                true => merged.push(value),
                false => drop(items.insert(key, value)),
            }
        }
        // What is merged in stands behind what is there, the first of several before the others.
        for value in merged {
            let maps = match &value {
                Value::List(list) => list.items.clone(),
                other => vec![other.clone()],
            };
            for map in maps {
                let Value::Map(map) = map else { return Err(Fault::new("map merge requires map or sequence of maps")) };
                for (key, value) in map.items.borrow().iter() {
                    items.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(Value::map(items))
    }

    fn key(&self, entry: NodeId) -> Result<(Text, bool), Fault> {
        let key = self.tree.key_of(entry).ok_or_else(|| Fault::new("a mapping's entry has no key"))?;
        let aliased = self.yaml.aliased_key(self.tree, entry);
        let text = aliased.as_ref().map_or_else(|| self.tree.key(entry), |it| it.as_str());
        let is_plain = self.tree.text(key.span) == text;
        let spelt = match key.not_a_string {
            None if is_plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") => {
                return Err(Fault::new("a key is null"));
            }
            None if is_plain && text == "<<" => return Ok(("<<".into(), true)),
            None if is_plain && TRUE.contains(&text) => "true".into(),
            None if is_plain && FALSE.contains(&text) => "false".into(),
            None => text.to_owned(),
            Some(_) => match self.yaml.read_bare(text) {
                Some(Scalar::Null) => return Err(Fault::new("a key is null")),
                Some(Scalar::Int(n)) => n.to_string(),
                Some(Scalar::Bool(b)) => b.to_string(),
                Some(Scalar::Float(f)) => print::spell_float(f, 'g', None),
                _ => text.to_owned(),
            },
        };
        Ok((spelt.into(), false))
    }

    fn scalar(&self, id: NodeId) -> Result<Value, Fault> {
        let node = self.tree.node(id);
        let text = self.tree.text(node.span);
        let is_bare = node.style == Style::Plain && node.properties.is_empty();
        Ok(match self.yaml.value(self.tree, id) {
            Ok(Scalar::Str(_)) if is_bare && TRUE.contains(&text) => Value::Bool(true),
            Ok(Scalar::Str(_)) if is_bare && FALSE.contains(&text) => Value::Bool(false),
            Ok(Scalar::Str(text)) => Value::bytes(text.expose()),
            Ok(Scalar::Bool(b)) => Value::Bool(b),
            Ok(Scalar::Int(n)) => Value::int64(n),
            Ok(Scalar::Float(f)) => Value::Float(f),
            Ok(Scalar::Null) => Value::Nil,
            // What looks like a time stays the text that it is.
            Ok(Scalar::Time(_)) => Value::text(text),
            Ok(Scalar::Comment(_)) => Value::Nil,
            Err(_) if is_bare => match text.replace('_', "").parse::<u64>() {
                Ok(n) => Value::Int(super::value::Width::Uint64, n as i64),
                Err(_) => return Err(Fault::new("a scalar cannot be read")),
            },
            Err(_) => return Err(Fault::new("a scalar cannot be read")),
        })
    }
}

/// Writes `value` in block style, without the line break at the end.
pub(super) fn write(value: &Value, budget: &mut Budget) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    put(value, 0, Place::Root, budget, &mut out, 0)?;
    while out.last() == Some(&b'\n') {
        out.pop();
    }
    Ok(out)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    AfterKey,
    AfterDash,
}

fn put(
    value: &Value,
    column: usize,
    place: Place,
    budget: &mut Budget,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Fault> {
    if depth > DEEPEST {
        return Err(Fault::Exhausted("nest"));
    }
    let before = out.len();
    match value {
        Value::Map(map) if !map.items.borrow().is_empty() => {
            if place == Place::AfterKey {
                out.push(b'\n');
            }
            let items = map.items.borrow();
            let mut keys: Vec<&Text> = items.keys().collect();
            keys.sort_by(|a, b| natural_order(&a.lossy(), &b.lossy()));
            for (n, key) in keys.into_iter().enumerate() {
                if n > 0 || place == Place::AfterKey {
                    out.extend(std::iter::repeat_n(b' ', column));
                }
                put_text(key, column, out);
                out.push(b':');
                let value = &items[key];
                if !is_block(value) {
                    out.push(b' ');
                }
                let deeper = if matches!(value, Value::List(_)) { column } else { column + 2 };
                put(value, deeper, Place::AfterKey, budget, out, depth + 1)?;
            }
        }
        Value::List(list) if !list.items.is_empty() => {
            if place == Place::AfterKey {
                out.push(b'\n');
            }
            for (n, item) in list.items.iter().enumerate() {
                if n > 0 || place == Place::AfterKey {
                    out.extend(std::iter::repeat_n(b' ', column));
                }
                out.extend_from_slice(b"- ");
                put(item, column + 2, Place::AfterDash, budget, out, depth + 1)?;
            }
        }
        Value::Map(_) => out.extend_from_slice(b"{}\n"),
        Value::List(list) => out.extend_from_slice(if list.is_nil { b"null\n" } else { b"[]\n" }),
        Value::Text(text) => {
            put_text(text, column, out);
            out.push(b'\n');
        }
        Value::Float(f) if !f.is_finite() => return Err(Fault::new("YAML by way of JSON has no word for the value")),
        Value::Float(f) => {
            // JSON's spelling, read back: a whole number is an integer then.
            let json = float::shortest(*f, -6, 21, 1, 'e');
            let spelt = if json.contains(['.', 'e']) { print::spell_float(*f, 'g', None) } else { json };
            out.extend_from_slice(spelt.as_bytes());
            out.push(b'\n');
        }
        Value::Missing | Value::Nil => out.extend_from_slice(b"null\n"),
        Value::Time(time) => {
            out.extend_from_slice(format!("\"{}\"\n", time.rfc3339()).as_bytes());
        }
        other => {
            out.extend_from_slice(&print::print(other)?);
            out.push(b'\n');
        }
    }
    budget.allocate(out.len() - before)
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Map(map) => !map.items.borrow().is_empty(),
        Value::List(list) => !list.items.is_empty(),
        _ => false,
    }
}

/// As go-yaml's `keyList`: letters before digits' values, numbers in keys by their value.
fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    let (x, y): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut in_digits = false;
    for at in 0..x.len().min(y.len()) {
        let (c, d) = (x[at], y[at]);
        if c == d {
            in_digits = c.is_numeric();
            continue;
        }
        let (c_letter, d_letter) = (c.is_alphabetic(), d.is_alphabetic());
        if c_letter && d_letter {
            return c.cmp(&d);
        }
        if c_letter || d_letter {
            return match in_digits {
                true => d_letter.cmp(&c_letter),
                false => c_letter.cmp(&d_letter),
            };
        }
        // Zeros behind other digits count as digits do, zeros in front do not.
        let follows = |it: &&char| it.is_ascii_digit();
        let is_inner = x[..at].iter().rev().take_while(follows).any(|it| *it != '0');
        let start = u64::from((c == '0' || d == '0') && is_inner);
        let number = |from: &[char]| -> (usize, u64) {
            let digits = from.iter().map_while(|it| it.to_digit(10));
            digits.fold((0, start), |(n, sum), it| (n + 1, sum.wrapping_mul(10).wrapping_add(u64::from(it))))
        };
        let ((m_len, m), (n_len, n)) = (number(&x[at..]), number(&y[at..]));
        return m.cmp(&n).then(m_len.cmp(&n_len)).then(c.cmp(&d));
    }
    x.len().cmp(&y.len())
}

fn put_text(text: &[u8], column: usize, out: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(text) else {
        out.extend_from_slice(print::quote(text, false).as_bytes());
        return;
    };
    let yaml = format::named("yaml").expect("YAML is a format");
    let means_itself = matches!(yaml.read_bare(text), None | Some(Scalar::Str(_)));
    let is_word = TRUE.contains(&text) || FALSE.contains(&text) || text == "<<" || text.is_empty();
    if text.contains('\n') && text.chars().all(|c| c == '\n' || print::is_printable(c)) {
        put_literal(text, column, out);
    } else if text.chars().any(|c| !print::is_printable(c)) {
        out.extend_from_slice(print::quote(text.as_bytes(), false).as_bytes());
    } else if is_word || (!means_itself && is_plain_shaped(text)) {
        out.extend_from_slice(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).as_bytes());
    } else if is_plain_shaped(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(format!("'{}'", text.replace('\'', "''")).as_bytes());
    }
}

/// True if nothing in the text would end or begin anything.
fn is_plain_shaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts_badly = match bytes.first() {
        None => true,
        Some(b'-' | b'?' | b':') => bytes.get(1).is_none_or(|it| *it == b' '),
        Some(first) => b"#,[]{}&*!|>'\"%@` ".contains(first),
    };
    !(starts_badly
        || text.starts_with("---")
        || text.starts_with("...")
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #"))
}

fn put_literal(text: &str, column: usize, out: &mut Vec<u8>) {
    out.push(b'|');
    if text.starts_with([' ', '\n']) {
        out.push(b'2');
    }
    let body = match text.strip_suffix('\n') {
        None => {
            out.push(b'-');
            text
        }
        Some(body) if body.ends_with('\n') || body.is_empty() => {
            out.push(b'+');
            body
        }
        Some(body) => body,
    };
    for line in body.split('\n') {
        out.push(b'\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(b' ', column.max(2)));
            out.extend_from_slice(line.as_bytes());
        }
    }
}
