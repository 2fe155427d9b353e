//! JSON as Go's `encoding/json` writes it, which is how the original operators store what is no string.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::de::Error as _;
use serde_json::value::RawValue;
use zeroize::Zeroize;

/// How deep a document may be nested: printing one takes stack for each level, and a store may hold
/// anything.
const DEPTH_LIMIT: usize = 256;

/// Whether `<`, `>` and `&` are escaped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Html {
    /// They are, as Go does when nobody asks otherwise.
    Escaped,
    /// They stand as they are.
    Plain,
}

/// JSON as `encoding/json` writes it: no spaces, keys in order of their bytes, `<`, `>`, `&`, U+2028
/// and U+2029 escaped, numbers as they were received.
///
/// # Errors
///
/// If `json` is nested deeper than 256 levels.
pub fn print(json: &RawValue) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(json.get().len());
    match write_json(json, 0, &mut out) {
        Ok(()) => Ok(out),
        Err(it) => {
            out.zeroize();
            Err(it)
        }
    }
}

/// An object whose values are texts, written in the order in which they come. What is not UTF-8
/// becomes U+FFFD.
pub fn print_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a [u8])>, html: Html) -> String {
    let mut out = String::new();
    out.push('{');
    for (n, (key, value)) in texts.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write_text(key, html, &mut out);
        out.push(':');
        write_text(&String::from_utf8_lossy(value), html, &mut out);
    }
    out.push('}');
    out
}

fn write_json(json: &RawValue, depth: usize, out: &mut String) -> Result<(), serde_json::Error> {
    if depth > DEPTH_LIMIT {
        return Err(serde_json::Error::custom("nested too deep"));
    }
    match json.get().as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json.get())?;
            write_list(out, ['{', '}'], members, |(key, value), out| {
                write_text(&key, Html::Escaped, out);
                out.push(':');
                write_json(value, depth + 1, out)
            })
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json.get())?;
            write_list(out, ['[', ']'], items, |it, out| write_json(it, depth + 1, out))
        }
        Some(b'"') => {
            let mut text: String = serde_json::from_str(json.get())?;
            write_text(&text, Html::Escaped, out);
            text.zeroize();
            Ok(())
        }
        _ => {
            out.push_str(json.get());
            Ok(())
        }
    }
}

fn write_list<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    write: impl Fn(T, &mut String) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    out.push(open);
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(item, out)?;
    }
    out.push(close);
    Ok(())
}

fn write_text(text: &str, html: Html, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' if html == Html::Plain => out.push(c),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_go_writes_it() {
        for (json, expected) in [
            (r#"{"b":1,"a":[true,null]}"#, r#"{"a":[true,null],"b":1}"#),
            (r#"[ 1.0, 12345678901234567890, 1e5, 1.50E-07 ]"#, "[1.0,12345678901234567890,1e5,1.50E-07]"),
            (r#"{"z":"<a&b>","u":"é\u2028"}"#, r#"{"u":"é\u2028","z":"\u003ca\u0026b\u003e"}"#),
            (r#""\b\f\n\r\t\u0001\u007f\/""#, "\"\\b\\f\\n\\r\\t\\u0001\u{7f}/\""),
            ("{}", "{}"),
            ("[]", "[]"),
        ] {
            let raw: &RawValue = serde_json::from_str(json).expect("this is JSON");
            assert_eq!(print(raw).expect("it is not deep"), expected);
        }
    }
}
