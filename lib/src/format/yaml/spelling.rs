//! How a value is spelt as a YAML scalar, as go-yaml v3 has it (spec section 1.5, appendix C.2).

use base64_simd::STANDARD;
use zeroize::Zeroizing;

use super::scalar::is_str;
use crate::secret::SecretText;
use crate::tree::Style;
use crate::value::{Value, float};

/// Spells `value` for block context as SOPS does, without the line's break: the style and all that
/// stands after `key: ` or `- `, tag included. The lines of a literal block start at `column`; the
/// mapping or list around it starts at `parent`.
///
/// Differs from SOPS only where SOPS's own spelling reads back as something else, in go-yaml or in
/// YAML 1.2: such strings are double-quoted (spec section 9.1.7; U+2028 and U+2029).
pub(super) fn spell(value: &Value, parent: usize, column: usize) -> (Style, Zeroizing<String>) {
    let text = match value {
        Value::Str(it) => match it.expose_str() {
            Some(text) => text,
            None => return spell_binary(it.expose(), parent, column),
        },
        Value::Comment(it) => return (Style::Plain, comment(it, column)),
        other => return (Style::Plain, Zeroizing::new(spell_other(other))),
    };
    let form = Form::of(text);
    if form.line_feed
        && form.block
        && let Some(block) = literal(text, parent, column)
    {
        return (Style::Literal, block);
    }
    spell_line(text, &form, form.plain)
}

/// As [`spell`], on one line and fit to stand in `[…]` or `{…}`.
pub(super) fn spell_flow(value: &Value) -> (Style, Zeroizing<String>) {
    match value {
        Value::Comment(_) => (Style::Plain, Zeroizing::new("null".to_owned())),
        Value::Str(it) => match it.expose_str() {
            Some(text) => {
                let form = Form::of(text);
                spell_line(text, &form, form.flow_plain)
            }
            None => {
                let tagged = format!("!!binary \"{}\"", *base64(it.expose()));
                (Style::Double, Zeroizing::new(tagged))
            }
        },
        other => (Style::Plain, Zeroizing::new(spell_other(other))),
    }
}

/// Spells a string in the quotes that are wanted. `None` if `value` is not a string, or if those
/// quotes cannot say it on one line.
pub(super) fn spell_quoted(value: &Value, style: Style) -> Option<Zeroizing<String>> {
    let Value::Str(it) = value else { return None };
    let text = it.expose_str()?;
    match style {
        Style::Single => Form::of(text).single.then(|| single_quoted(text)),
        Style::Double => Some(double_quoted(text)),
        _ => None,
    }
}

/// Spells `text` as a literal block, without the last line's break: the header, then the lines from
/// `column` on. `parent` is where the mapping or list around it starts.
///
/// Returns `None` if a literal block there cannot say `text`.
pub(super) fn literal(text: &str, parent: usize, column: usize) -> Option<Zeroizing<String>> {
    let form = Form::of(text);
    // A tab there is taken for indentation by go-yaml, and an empty text has no line.
    if !form.block || text.is_empty() || text.starts_with('\t') {
        return None;
    }
    let lines = text.strip_suffix('\n').unwrap_or(text);
    let n_lines = lines.bytes().filter(|b| *b == b'\n').count() + 1;
    let mut block = Zeroizing::new(String::with_capacity(8 + text.len() + n_lines * (column + 1)));
    block.push('|');
    if text.starts_with([' ', '\n']) {
        match column.checked_sub(parent) {
            Some(it @ 1..=9) => block.push(char::from(b'0' + it as u8)),
            _ => return None,
        }
    }
    match text.strip_suffix('\n') {
        None => block.push('-'),
        Some("") => block.push('+'),
        Some(rest) if rest.ends_with('\n') => block.push('+'),
        Some(_) => (),
    }
    for line in lines.split('\n') {
        block.push('\n');
        if !line.is_empty() {
            block.extend(std::iter::repeat_n(' ', column));
            block.push_str(line);
        }
    }
    Some(block)
}

/// Spells a comment with its sign. Further lines, which a comment from another format may have,
/// start at `column` with a sign of their own.
pub(super) fn comment(text: &SecretText, column: usize) -> Zeroizing<String> {
    let text = Zeroizing::new(String::from_utf8_lossy(text.expose()).into_owned());
    let mut spelling = Zeroizing::new(String::with_capacity(text.len() + 1));
    spelling.push('#');
    for (n, line) in text.split(is_break).enumerate() {
        if n > 0 {
            spelling.push('\n');
            spelling.extend(std::iter::repeat_n(' ', column));
            spelling.push_str(if line.starts_with('#') { "" } else { "# " });
        }
        spelling.push_str(line);
    }
    spelling
}

/// True if go-yaml ends a line at `c`.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// True if a key can stand before a colon on its own line.
pub(super) fn is_simple_key(key: &str) -> bool {
    key.len() <= 128 && !key.contains(is_break)
}

/// Everything but strings and comments.
fn spell_other(value: &Value) -> String {
    match value {
        Value::Bool(it) => it.to_string(),
        Value::Int(it) => it.to_string(),
        Value::Float(it) if it.is_nan() => ".nan".to_owned(),
        Value::Float(it) if it.is_infinite() => if *it > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
        Value::Float(it) => float::shortest(*it, -4, 6, 2, 'e'),
        Value::Time(it) => it.clone(),
        Value::Null | Value::Comment(_) | Value::Str(_) => "null".to_owned(),
    }
}

fn spell_line(text: &str, form: &Form, plain: bool) -> (Style, Zeroizing<String>) {
    if form.line_feed || !reads_as_str(text) {
        return (Style::Double, double_quoted(text));
    }
    if plain {
        // go-yaml tags this word wherever it stands.
        let tag = if text == "<<" { "!!merge " } else { "" };
        return (Style::Plain, Zeroizing::new([tag, text].concat()));
    }
    match form.single {
        true => (Style::Single, single_quoted(text)),
        false => (Style::Double, double_quoted(text)),
    }
}

/// True if `text` without quotes is a string in YAML 1.2 and in YAML 1.1.
fn reads_as_str(text: &str) -> bool {
    is_str(text) && !is_old_bool(text) && !is_base_60(text)
}

fn is_old_bool(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    )
}

/// `^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`.
fn is_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !body.starts_with(|c: char| c.is_ascii_digit()) || !body.contains(':') {
        return false;
    }
    let is_run = |it: &str| it.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let (body, fraction) = body.split_once('.').unwrap_or((body, ""));
    let mut parts = body.split(':');
    let is_sixtieth = |it: &str| match it.as_bytes() {
        [b] => b.is_ascii_digit(),
        [b'0'..=b'5', b] => b.is_ascii_digit(),
        _ => false,
    };
    is_run(fraction) && parts.next().is_some_and(is_run) && parts.all(is_sixtieth)
}

fn base64(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode_to_string(bytes))
}

/// `!!binary`, folded at 70 characters as soon as there are that many.
fn spell_binary(bytes: &[u8], parent: usize, column: usize) -> (Style, Zeroizing<String>) {
    const LINE: usize = 70;
    let dense = base64(bytes);
    if dense.len() < LINE {
        return (Style::Plain, Zeroizing::new(["!!binary ", &dense].concat()));
    }
    let mut folded = Zeroizing::new(String::with_capacity(dense.len() + dense.len() / LINE + 1));
    let mut rest = dense.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE.min(rest.len()));
        folded.push_str(line);
        folded.push('\n');
        rest = after;
    }
    let block = literal(&folded, parent, column).expect("base64 fits a literal block");
    (Style::Literal, Zeroizing::new(["!!binary ", &block].concat()))
}

fn single_quoted(text: &str) -> Zeroizing<String> {
    let quotes = text.bytes().filter(|b| *b == b'\'').count();
    let mut quoted = Zeroizing::new(String::with_capacity(text.len() + quotes + 2));
    quoted.push('\'');
    for c in text.chars() {
        if c == '\'' {
            quoted.push('\'');
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

fn double_quoted(text: &str) -> Zeroizing<String> {
    // go-yaml looks for the byte order mark at the start of the text instead of at the character.
    let all = text.starts_with('\u{feff}');
    let escaped = |c: char| all || matches!(c, '"' | '\\') || is_break(c) || !is_printable(c);
    let size: usize = text.chars().map(|c| if escaped(c) { 10 } else { c.len_utf8() }).sum();
    let mut quoted = Zeroizing::new(String::with_capacity(size + 2));
    quoted.push('"');
    for c in text.chars() {
        if !escaped(c) {
            quoted.push(c);
            continue;
        }
        quoted.push('\\');
        match c {
            '\0' => quoted.push('0'),
            '\x07' => quoted.push('a'),
            '\x08' => quoted.push('b'),
            '\t' => quoted.push('t'),
            '\n' => quoted.push('n'),
            '\x0b' => quoted.push('v'),
            '\x0c' => quoted.push('f'),
            '\r' => quoted.push('r'),
            '\x1b' => quoted.push('e'),
            '"' | '\\' => quoted.push(c),
            '\u{85}' => quoted.push('N'),
            '\u{a0}' => quoted.push('_'),
            '\u{2028}' => quoted.push('L'),
            '\u{2029}' => quoted.push('P'),
            _ => {
                let (sign, digits) = match u32::from(c) {
                    ..=0xFF => ('x', 2),
                    0x100..=0xFFFF => ('u', 4),
                    _ => ('U', 8),
                };
                quoted.push(sign);
                let code = u32::from(c);
                let digit = |n: u32| char::from_digit(code >> (4 * n) & 0xF, 16).expect("four bits are one digit");
                quoted.extend((0..digits).rev().map(|n| digit(n).to_ascii_uppercase()));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// True for what go-yaml writes as it is. It takes everything above U+FFFF for unprintable.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// In which styles a text can be written, whatever it would mean.
#[derive(Debug)]
struct Form {
    /// It has a line feed.
    line_feed: bool,
    /// Without quotes, in block context.
    plain: bool,
    /// Without quotes, also in flow context.
    flow_plain: bool,
    /// In single quotes, on one line.
    single: bool,
    /// As a literal block, which may still need a hint for its indentation.
    block: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let Some(last) = bytes.last() else {
            return Self { line_feed: false, plain: false, flow_plain: false, single: true, block: false };
        };
        let is_blank = |at: usize| matches!(bytes.get(at), None | Some(b' ' | b'\t'));
        let mut form = Self { line_feed: false, plain: true, flow_plain: true, single: true, block: *last != b' ' };
        match bytes[0] {
            b' ' | b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%'
            | b'@' | b'`' => form.plain = false,
            b'-' | b'?' | b':' if is_blank(1) => form.plain = false,
            _ => (),
        }
        if *last == b' ' || text.starts_with("---") || text.starts_with("...") {
            form.plain = false;
        }
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii_alphanumeric() {
                at += 1;
                continue;
            }
            let c = text[at..].chars().next().expect("this is where a character starts");
            match c {
                ',' | '?' | '[' | ']' | '{' | '}' => form.flow_plain = false,
                ':' => {
                    form.flow_plain = false;
                    form.plain &= !is_blank(at + 1);
                }
                '#' => form.plain &= at == 0 || bytes[at - 1] != b' ',
                '\n' => {
                    (form.line_feed, form.plain, form.single) = (true, false, false);
                    form.block &= at == 0 || bytes[at - 1] != b' ';
                }
                '\t' => (form.plain, form.single) = (false, false),
                // U+2028 and U+2029 end a line in YAML 1.1 and do not in YAML 1.2; at the end of a text
                // that makes no difference.
                '\u{2028}' | '\u{2029}' if text[at..].chars().all(|it| matches!(it, '\u{2028}' | '\u{2029}')) => {
                    (form.plain, form.block) = (false, false);
                    form.single &= at == 0 || bytes[at - 1] != b' ';
                }
                _ if is_break(c) || !is_printable(c) => {
                    (form.plain, form.single, form.block) = (false, false, false);
                }
                _ => (),
            }
            at += c.len_utf8();
        }
        form.flow_plain &= form.plain;
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::yaml::print::print_map_entries;
    use crate::tree::{Entry, Wire};

    /// True if `text` without quotes is the string `text`, here and in YAML 1.1: also inside `[…]` and
    /// `{…}` if `in_flow`.
    fn can_be_plain(text: &str, in_flow: bool) -> bool {
        let form = Form::of(text);
        (if in_flow { form.flow_plain } else { form.plain }) && reads_as_str(text) && text != "<<"
    }

    #[test]
    fn strings_are_spelt_as_sops_spells_them() {
        for line in include_str!("testdata/spell.txt").lines().skip(2) {
            let mut fields = line.split('\t').map(unescape);
            let mut next = || fields.next().expect("text, as a value, as an item");
            let (text, value, item) = (next(), next(), next());
            let entries = [
                Entry::Pair("v".to_owned(), Wire::text(&text)),
                Entry::Pair("i".to_owned(), Wire::List(vec![Wire::text(&text)])),
            ];
            let printed = print_map_entries(&entries, 4, 0);
            assert_eq!(*printed, format!("v: {value}\ni:\n    - {item}\n"), "{text:?}");
            if let Some(quoted) = spell_quoted(&Value::str(&text), Style::Single) {
                let inner =
                    quoted.strip_prefix('\'').and_then(|it| it.strip_suffix('\'')).map(|it| it.replace("''", "'"));
                assert_eq!(inner.as_deref(), Some(text.as_str()));
            }
        }
    }

    fn unescape(field: &str) -> String {
        let mut text = String::new();
        let mut parts = field.split('⟨');
        text.push_str(parts.next().unwrap_or(""));
        for part in parts {
            let (code, rest) = part.split_once('⟩').expect("brackets in pairs");
            let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
            text.push(code.expect("a code point in hexadecimal"));
            text.push_str(rest);
        }
        text
    }

    #[test]
    fn other_values_are_spelt_as_sops_spells_them() {
        for (value, text) in [
            (Value::Bool(true), "true"),
            (Value::Int(-5), "-5"),
            (Value::Null, "null"),
            (Value::Float(1e6), "1e+06"),
            (Value::Float(100000.0), "100000"),
            (Value::Float(1234567.5), "1.2345675e+06"),
            (Value::Float(0.00001), "1e-05"),
            (Value::Float(-0.0), "-0"),
            (Value::Float(f64::INFINITY), ".inf"),
            (Value::Float(f64::NEG_INFINITY), "-.inf"),
            (Value::Float(f64::NAN), ".nan"),
            (Value::Time("2001-12-14T21:59:43.1-05:00".to_owned()), "2001-12-14T21:59:43.1-05:00"),
            (Value::Comment(" a".into()), "# a"),
            (Value::Comment(" a\nb\r#c".into()), "# a\n    # b\n    #c"),
            (Value::Str(SecretText::new(b"\xff".to_vec())), "!!binary /w=="),
        ] {
            assert_eq!(*spell(&value, 0, 4).1, text);
        }
        let long = Value::Str(SecretText::new([0xff; 52]));
        let text = spell(&long, 0, 2).1;
        assert_eq!(*text, format!("!!binary |\n  {}\n  {}", "/".repeat(69) + "w", "=="));
    }

    #[test]
    fn a_wanted_style_is_taken_where_it_can_say_the_text() {
        for (text, single, double) in [
            ("it's", Some("'it''s'"), "\"it's\""),
            ("a\tb", None, "\"a\\tb\""),
            ("a\nb", None, "\"a\\nb\""),
            ("é\u{7f}", None, "\"é\\x7F\""),
            ("", Some("''"), "\"\""),
        ] {
            let value = Value::str(text);
            assert_eq!(spell_quoted(&value, Style::Single).as_deref().map(String::as_str), single);
            assert_eq!(spell_quoted(&value, Style::Double).as_deref().map(String::as_str), Some(double));
        }
        assert!(spell_quoted(&Value::Int(1), Style::Double).is_none());
        for (text, block, flow) in [
            ("abc", true, true),
            ("a b", true, true),
            ("ENC[AES256_GCM,data:AA==]", true, false),
            ("a:b", true, false),
            ("a: b", false, false),
            ("a #b", false, false),
            ("-x", true, true),
            ("?x", true, false),
            ("yes", false, false),
            ("12:30", false, false),
            ("1.5", false, false),
            ("<<", false, false),
            ("", false, false),
            ("---x", false, false),
        ] {
            assert_eq!((can_be_plain(text, false), can_be_plain(text, true)), (block, flow), "{text}");
        }
        for (text, parent, block) in [
            ("a", 0, Some("|-\n   a")),
            ("a\n", 0, Some("|\n   a")),
            (" a\n\nb\n\n", 2, Some("|1+\n    a\n\n   b\n")),
            ("\n", 0, Some("|3+\n")),
            ("\ta\n", 0, None),
            ("a \nb", 0, None),
            ("a\u{1}\n", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(literal(text, parent, 3).as_deref().map(String::as_str), block, "{text:?}");
        }
    }
}
