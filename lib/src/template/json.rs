//! JSON to values and back, as Go's `encoding/json`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::functions::Fault;
use super::print::first_char;
use super::value::{DEEPEST, Text, Value};
use crate::value::float;

/// What numbers become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Numbers {
    /// `json.Number`.
    AsSpelt,
    /// `float64`, as in an `interface {}`.
    Floats,
}

/// JSON that cannot be read, or a value that JSON cannot say.
#[derive(Debug)]
pub(super) struct Unspeakable;

/// Reads one JSON value.
///
/// # Errors
///
/// If it is none, is nested deeper than the JSON library reads, or holds a number beyond a float.
pub(super) fn read(text: &[u8], numbers: Numbers) -> Result<Value, Unspeakable> {
    let raw: &RawValue = serde_json::from_slice(text).map_err(|_| Unspeakable)?;
    build(raw, numbers)
}

fn build(raw: &RawValue, numbers: Numbers) -> Result<Value, Unspeakable> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| Unspeakable)?;
            let items: Result<_, _> =
                members.into_iter().map(|(k, v)| Ok((Text::from(k), build(v, numbers)?))).collect();
            Value::map(items?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Unspeakable)?;
            Value::list(items.into_iter().map(|it| build(it, numbers)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::text(serde_json::from_str::<String>(text).map_err(|_| Unspeakable)?),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Nil,
        _ => match numbers {
            Numbers::AsSpelt => Value::Number(text.into()),
            Numbers::Floats => {
                let number: f64 = text.parse().map_err(|_| Unspeakable)?;
                match number.is_finite() {
                    true => Value::Float(number),
                    false => return Err(Unspeakable),
                }
            }
        },
    })
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// `<`, `>` and `&` are escaped.
    pub(super) escapes_html: bool,
    /// Two spaces for each level, each member on its own line.
    pub(super) is_pretty: bool,
}

/// Writes `value` as one JSON value; `None` within if JSON cannot say it.
pub(super) fn write(value: &Value, layout: Layout) -> Result<Result<Vec<u8>, Unspeakable>, Fault> {
    let mut out = Vec::new();
    Ok(put(value, layout, 0, &mut out)?.map(|()| out))
}

fn put(value: &Value, layout: Layout, depth: usize, out: &mut Vec<u8>) -> Result<Result<(), Unspeakable>, Fault> {
    if depth > DEEPEST {
        return Err(Fault::Exhausted("nest"));
    }
    match value {
        Value::Missing | Value::Nil => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(width, n) if width.is_signed() => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Int(_, n) => out.extend_from_slice((*n as u64).to_string().as_bytes()),
        Value::Float(f) if f.is_finite() => out.extend_from_slice(float::shortest(*f, -6, 21, 1, 'e').as_bytes()),
        Value::Float(_) => return Ok(Err(Unspeakable)),
        Value::Text(text) => put_text(text, layout.escapes_html, out),
        // Go spells an empty one as zero.
        Value::Number(text) if text.is_empty() => out.push(b'0'),
        Value::Number(text) => out.extend_from_slice(text),
        Value::Time(time) => put_text(time.rfc3339().as_bytes(), layout.escapes_html, out),
        Value::Version(version) => put_text(version.to_string().as_bytes(), layout.escapes_html, out),
        Value::List(list) if list.is_nil => out.extend_from_slice(b"null"),
        Value::List(list) => {
            out.push(b'[');
            for (n, item) in list.items.iter().enumerate() {
                begin(layout, n, depth + 1, out);
                if let Err(it) = put(item, layout, depth + 1, out)? {
                    return Ok(Err(it));
                }
            }
            end(layout, list.items.len(), depth, out);
            out.push(b']');
        }
        Value::Map(map) => {
            let items = map.items.borrow();
            out.push(b'{');
            for (n, (key, item)) in items.iter().enumerate() {
                begin(layout, n, depth + 1, out);
                put_text(key, layout.escapes_html, out);
                out.extend_from_slice(if layout.is_pretty { b": " } else { b":" });
                if let Err(it) = put(item, layout, depth + 1, out)? {
                    return Ok(Err(it));
                }
            }
            end(layout, items.len(), depth, out);
            out.push(b'}');
        }
    }
    if out.len() > LONGEST {
        return Err(Fault::Exhausted("write"));
    }
    Ok(Ok(()))
}

/// More than a template may write.
const LONGEST: usize = 8 << 20;

fn begin(layout: Layout, n: usize, depth: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
    new_line(layout, depth, out);
}

fn end(layout: Layout, n: usize, depth: usize, out: &mut Vec<u8>) {
    if n > 0 {
        new_line(layout, depth, out);
    }
}

fn new_line(layout: Layout, depth: usize, out: &mut Vec<u8>) {
    if layout.is_pretty {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    }
}

fn put_text(text: &[u8], escapes_html: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(byte) = rest.first() {
        let n = first_char(rest);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            b'<' | b'>' | b'&' if escapes_html => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            0..0x80 => out.push(*byte),
            _ if n == 1 => out.extend_from_slice(b"\\ufffd"),
            _ => match &rest[..n] {
                [0xe2, 0x80, last @ (0xa8 | 0xa9)] => {
                    out.extend_from_slice(format!("\\u20{:02x}", last - 0x80).as_bytes())
                }
                other => out.extend_from_slice(other),
            },
        }
        rest = &rest[n..];
    }
    out.push(b'"');
}
