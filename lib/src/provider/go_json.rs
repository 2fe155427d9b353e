//! JSON as Go's `encoding/json` writes it, which is how the original operators store what is no string.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// JSON as `encoding/json` writes it: no spaces, keys in order of their bytes, `<`, `>`, `&`, U+2028
/// and U+2029 escaped, numbers as they were received.
///
/// # Errors
///
/// If `json` is nested deeper than the JSON library reads.
pub fn print(json: &RawValue) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(json.get().len());
    write_json(json, &mut out)?;
    Ok(out)
}

fn write_json(json: &RawValue, out: &mut String) -> Result<(), serde_json::Error> {
    match json.get().as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json.get())?;
            write_list(out, ['{', '}'], members, |(key, value), out| {
                write_text(&key, out);
                out.push(':');
                write_json(value, out)
            })
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json.get())?;
            write_list(out, ['[', ']'], items, write_json)
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(json.get())?;
            write_text(&text, out);
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

fn write_text(text: &str, out: &mut String) {
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
