//! The functions of Go's `text/template` itself.

use std::cmp::Ordering;

use super::{Answer, Call, Fault, Function, at_least, exactly};
use crate::template::print;
use crate::template::value::{Element, Text, Value, Width};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("call", 1, |_| Err(Fault::new("there are no functions to call"))),
    at_least("eq", 1, eq),
    exactly("ge", 2, |call| compare(call, Ordering::is_ge)),
    exactly("gt", 2, |call| compare(call, Ordering::is_gt)),
    at_least("html", 0, |call| escape(call, escape_html)),
    at_least("index", 1, index),
    at_least("js", 0, |call| escape(call, escape_js)),
    exactly("le", 2, |call| compare(call, Ordering::is_le)),
    exactly("len", 1, |call| match &call.arguments[0] {
        Value::Text(text) | Value::Number(text) => Ok(Value::int(text.len() as i64)),
        Value::List(list) => Ok(Value::int(list.items.len() as i64)),
        Value::Map(map) => Ok(Value::int(map.items.borrow().len() as i64)),
        other => Err(Fault::new(format!("len of type {}", other.type_name()))),
    }),
    exactly("lt", 2, |call| compare(call, Ordering::is_lt)),
    exactly("ne", 2, |call| Ok(Value::Bool(!equal(&call.arguments[0], &call.arguments[1])?))),
    exactly("not", 1, |call| Ok(Value::Bool(!call.arguments[0].is_true()))),
    at_least("print", 0, |call| Ok(Value::Text(print::print_all(&call.arguments)?))),
    at_least("printf", 1, |call| Ok(Value::Text(print::printf(&call.text(0)?, &call.arguments[1..])?))),
    at_least("println", 0, |call| Ok(Value::Text(print::print_line(&call.arguments)?))),
    at_least("urlquery", 0, |call| escape(call, escape_query)),
];

fn eq(call: &mut Call<'_, '_>) -> Answer {
    let [first, rest @ ..] = call.arguments.as_slice() else { return Err(Fault::new("missing argument")) };
    if rest.is_empty() {
        return Err(Fault::new("missing argument for comparison"));
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// What Go compares with what: numbers without a point, numbers with one, texts, truths.
fn basic_kind(value: &Value) -> Option<u8> {
    match value {
        Value::Bool(_) => Some(0),
        Value::Int(..) => Some(1),
        Value::Float(_) => Some(2),
        Value::Text(_) | Value::Number(_) => Some(3),
        _ => None,
    }
}

fn widen(width: Width, n: i64) -> i128 {
    if width.is_signed() { i128::from(n) } else { i128::from(n as u64) }
}

fn equal(a: &Value, b: &Value) -> Result<bool, Fault> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(v, a), Value::Int(w, b)) => Ok(widen(*v, *a) == widen(*w, *b)),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a) | Value::Number(a), Value::Text(b) | Value::Number(b)) => Ok(a == b),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Version(a), Value::Version(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => Ok(true),
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => Ok(false),
        _ if basic_kind(a) == basic_kind(b) => Err(Fault::new("non-comparable types")),
        _ => Err(Fault::new("incompatible types for comparison")),
    }
}

fn compare(call: &mut Call<'_, '_>, accept: fn(Ordering) -> bool) -> Answer {
    let order = match (&call.arguments[0], &call.arguments[1]) {
        (Value::Int(v, a), Value::Int(w, b)) => Some(widen(*v, *a).cmp(&widen(*w, *b))),
        // NaN is neither less nor more.
        (Value::Float(a), Value::Float(b)) => match a.partial_cmp(b) {
            Some(order) => Some(order),
            None => return Ok(Value::Bool(false)),
        },
        (Value::Text(a) | Value::Number(a), Value::Text(b) | Value::Number(b)) => Some(a.cmp(b)),
        _ => None,
    };
    Ok(Value::Bool(accept(order.ok_or_else(|| Fault::new("incompatible types for comparison"))?)))
}

fn index(call: &mut Call<'_, '_>) -> Answer {
    let [first, keys @ ..] = call.arguments.as_slice() else { return Err(Fault::new("missing argument")) };
    let mut value = first.clone();
    if value.is_nil() {
        return Err(Fault::new("index of untyped nil"));
    }
    for key in keys {
        value = match (&value, key) {
            (Value::List(list), _) => list.items[offset(key, list.items.len())?].clone(),
            (Value::Text(text) | Value::Number(text), _) => {
                Value::Int(Width::Byte, i64::from(text[offset(key, text.len())?]))
            }
            (Value::Map(map), Value::Text(key)) if map.element != Element::Field => {
                let found = map.items.borrow().get(key).cloned();
                found.unwrap_or_else(|| match map.element {
                    Element::Text => Value::Text(Text::default()),
                    _ => Value::Nil,
                })
            }
            (Value::Map(map), other) if map.element != Element::Field => {
                return Err(Fault::new(format!("value has type {}; should be string", other.type_name())));
            }
            (other, _) => return Err(Fault::new(format!("can't index item of type {}", other.type_name()))),
        };
    }
    Ok(value)
}

fn offset(key: &Value, len: usize) -> Result<usize, Fault> {
    match key {
        Value::Int(width, n) => {
            usize::try_from(widen(*width, *n)).ok().filter(|n| *n < len).ok_or_else(|| Fault::new("index out of range"))
        }
        other => Err(Fault::new(format!("cannot index slice/array with type {}", other.type_name()))),
    }
}

fn escape(call: &mut Call<'_, '_>, escape: fn(&[u8]) -> Vec<u8>) -> Answer {
    let text = match call.arguments.as_slice() {
        [Value::Text(text)] => text.clone(),
        values => {
            let shown: Vec<Value> =
                values.iter().map(|it| if it.is_nil() { Value::text("<no value>") } else { it.clone() }).collect();
            print::print_all(&shown)?
        }
    };
    call.allocate(text.len() * 6)?;
    Ok(Value::bytes(escape(&text)))
}

fn escape_html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

fn escape_js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(byte) = rest.first() {
        let n = print::first_char(rest);
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\'' => out.extend_from_slice(b"\\'"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'<' | b'>' | b'&' | b'=' | 0..=0x1f => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            0..0x80 => out.push(*byte),
            _ => match std::str::from_utf8(&rest[..n]).ok().and_then(|it| it.chars().next()) {
                Some(c) if print::is_printable(c) => out.extend_from_slice(&rest[..n]),
                Some(c) => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
                None => out.extend_from_slice("\u{fffd}".as_bytes()),
            },
        }
        rest = &rest[n..];
    }
    out
}

pub(super) fn escape_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
    out
}
