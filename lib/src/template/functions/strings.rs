//! Texts cut, joined, trimmed and quoted.

use super::{Answer, Call, Fault, Function, at_least, exactly};
use crate::template::print;
use crate::template::value::{Element, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    at_least("cat", 0, cat),
    exactly("contains", 2, |call| Ok(Value::Bool(find(&call.text(1)?, &call.text(0)?).is_some()))),
    exactly("hasPrefix", 2, |call| Ok(Value::Bool(call.text(1)?.starts_with(&call.text(0)?)))),
    exactly("hasSuffix", 2, |call| Ok(Value::Bool(call.text(1)?.ends_with(&call.text(0)?)))),
    exactly("hello", 0, |_| Ok(Value::text("Hello!"))),
    exactly("indent", 2, |call| indent(call, b"")),
    exactly("join", 2, |call| {
        let separator = call.text(0)?;
        let texts = to_texts(&call.arguments[1])?;
        call.allocate(texts.iter().map(|it| it.len() + separator.len()).sum())?;
        Ok(Value::bytes(texts.iter().map(|it| &**it).collect::<Vec<_>>().join(&*separator)))
    }),
    exactly("nindent", 2, |call| indent(call, b"\n")),
    exactly("plural", 3, |call| {
        let (one, many) = (call.text(0)?, call.text(1)?);
        Ok(Value::Text(if call.int(2)? == 1 { one } else { many }))
    }),
    at_least("quote", 0, |call| {
        let mut out = Vec::new();
        for value in call.arguments.iter().filter(|it| !it.is_nil()) {
            out.push(print::quote(&to_text(value)?, false));
        }
        Ok(Value::text(out.join(" ")))
    }),
    exactly("repeat", 2, |call| {
        let (count, text) = (call.int(0)?, call.text(1)?);
        let count = usize::try_from(count).map_err(|_| Fault::new("a negative count"))?;
        call.allocate(count.checked_mul(text.len().max(1)).ok_or(Fault::Exhausted("compute"))?)?;
        Ok(Value::bytes(text.repeat(count)))
    }),
    exactly("replace", 3, |call| {
        let (old, new, text) = (call.text(0)?, call.text(1)?, call.text(2)?);
        replace(call, &text, &old, &new)
    }),
    exactly("split", 2, |call| {
        let (separator, text) = (call.text(0)?, call.text(1)?);
        numbered(call, split(&text, &separator, None))
    }),
    exactly("splitList", 2, |call| {
        let (separator, text) = (call.text(0)?, call.text(1)?);
        call.allocate(text.len() * 24)?;
        Ok(Value::texts(split(&text, &separator, None).into_iter().map(Text::new)))
    }),
    exactly("splitn", 3, |call| {
        let (separator, n, text) = (call.text(0)?, call.int(1)?, call.text(2)?);
        match usize::try_from(n) {
            Ok(0) => numbered(call, vec![]),
            Ok(n) => numbered(call, split(&text, &separator, Some(n))),
            Err(_) => numbered(call, split(&text, &separator, None)),
        }
    }),
    at_least("squote", 0, |call| {
        let mut out = Vec::new();
        for value in call.arguments.iter().filter(|it| !it.is_nil()) {
            out.push([b"'", &*print::print(value)?, b"'"].concat());
        }
        Ok(Value::bytes(out.join(&b' ')))
    }),
    exactly("substr", 3, |call| {
        let (start, end, text) = (call.int(0)?, call.int(1)?, call.text(2)?);
        let len = text.len() as i64;
        let (start, end) = match (start, end) {
            (..0, end) => (0, end),
            (start, end) if end < 0 || end > len => (start, len),
            both => both,
        };
        match usize::try_from(start).ok().zip(usize::try_from(end).ok()).and_then(|(a, b)| text.get(a..b)) {
            Some(part) => Ok(Value::bytes(part)),
            None => Err(Fault::new("slice bounds out of range")),
        }
    }),
    exactly("toString", 1, |call| Ok(Value::Text(to_text(&call.arguments[0])?))),
    exactly("toStrings", 1, |call| Ok(Value::texts(to_texts(&call.arguments[0])?))),
    exactly("trim", 1, |call| Ok(Value::bytes(trim_space(&call.text(0)?)))),
    exactly("trimAll", 2, trim_all),
    exactly("trimPrefix", 2, |call| {
        let (prefix, text) = (call.text(0)?, call.text(1)?);
        Ok(text.strip_prefix(&*prefix).map_or_else(|| Value::Text(text.clone()), Value::bytes))
    }),
    exactly("trimSuffix", 2, |call| {
        let (suffix, text) = (call.text(0)?, call.text(1)?);
        Ok(text.strip_suffix(&*suffix).map_or_else(|| Value::Text(text.clone()), Value::bytes))
    }),
    exactly("trimall", 2, trim_all),
    exactly("trunc", 2, |call| {
        let (n, text) = (call.int(0)?, call.text(1)?);
        let len = text.len() as i64;
        Ok(match n {
            ..0 if len.saturating_add(n) > 0 => Value::bytes(&text[(len + n) as usize..]),
            0.. if len > n => Value::bytes(&text[..n as usize]),
            _ => Value::Text(text),
        })
    }),
];

/// As sprig's `strval`.
pub(super) fn to_text(value: &Value) -> Result<Text, Fault> {
    print::print(value)
}

/// As sprig's `strslice`.
pub(super) fn to_texts(value: &Value) -> Result<Vec<Text>, Fault> {
    match value {
        Value::Missing | Value::Nil => Ok(Vec::new()),
        Value::List(list) => list.items.iter().filter(|it| !it.is_nil()).map(to_text).collect(),
        other => Ok(vec![to_text(other)?]),
    }
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}

fn cat(call: &mut Call<'_, '_>) -> Answer {
    let mut parts = Vec::new();
    for value in call.arguments.iter().filter(|it| !it.is_nil()) {
        parts.push(print::print(value)?.to_vec());
    }
    Ok(Value::bytes(parts.join(&b' ')))
}

fn indent(call: &mut Call<'_, '_>, before: &[u8]) -> Answer {
    let (spaces, text) = (call.int(0)?, call.text(1)?);
    let spaces = usize::try_from(spaces).map_err(|_| Fault::new("a negative count"))?;
    let lines = memchr::memchr_iter(b'\n', &text).count() + 1;
    call.allocate(spaces.checked_mul(lines).ok_or(Fault::Exhausted("compute"))? + text.len())?;
    let padding = vec![b' '; spaces];
    let mut out = before.to_vec();
    for (n, line) in text.split(|it| *it == b'\n').enumerate() {
        if n > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(&padding);
        out.extend_from_slice(line);
    }
    Ok(Value::bytes(out))
}

fn replace(call: &mut Call<'_, '_>, text: &[u8], old: &[u8], new: &[u8]) -> Answer {
    let places: Vec<usize> = if old.is_empty() {
        let mut at = 0;
        let mut all = vec![0];
        while at < text.len() {
            at += print::first_char(&text[at..]);
            all.push(at);
        }
        all
    } else {
        memchr::memmem::find_iter(text, old).collect()
    };
    call.allocate(places.len().checked_mul(new.len()).ok_or(Fault::Exhausted("compute"))? + text.len())?;
    let mut out = Vec::new();
    let mut from = 0;
    for place in places {
        out.extend_from_slice(&text[from..place]);
        out.extend_from_slice(new);
        from = place + old.len();
    }
    out.extend_from_slice(&text[from..]);
    Ok(Value::bytes(out))
}

/// As Go's `strings.SplitN`, at most `most` parts.
fn split<'a>(text: &'a [u8], separator: &[u8], most: Option<usize>) -> Vec<&'a [u8]> {
    let most = most.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() && parts.len() + 1 < most {
            let (first, after) = rest.split_at(print::first_char(rest));
            parts.push(first);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    while parts.len() + 1 < most {
        let Some(at) = find(rest, separator) else { break };
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

fn numbered(call: &mut Call<'_, '_>, parts: Vec<&[u8]>) -> Answer {
    call.allocate(parts.len() * 64)?;
    let items = parts.into_iter().enumerate().map(|(n, part)| (Text::from(format!("_{n}")), Value::bytes(part)));
    Ok(Value::map_of(Element::Text, items.collect()))
}

fn trim_space(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => text.trim_ascii(),
    }
}

fn trim_all(call: &mut Call<'_, '_>) -> Answer {
    let (set, text) = (call.text(0)?, call.text(1)?);
    call.budget.step((set.len() as u64).saturating_mul(text.len() as u64) / 256)?;
    Ok(match (std::str::from_utf8(&set), std::str::from_utf8(&text)) {
        (Ok(set), Ok(text)) => Value::text(text.trim_matches(|c| set.contains(c))),
        _ => {
            let start = text.iter().position(|it| !set.contains(it)).unwrap_or(text.len());
            let end = text.iter().rposition(|it| !set.contains(it)).map_or(start, |it| it + 1);
            Value::bytes(&text[start..end])
        }
    })
}
