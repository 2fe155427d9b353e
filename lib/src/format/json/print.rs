//! Prints JSON as Go does, in any layout.

use std::slice;

use zeroize::Zeroizing;

use crate::tree::{Entry, Wire};
use crate::value::{Value, float};

/// How text is laid out: SOPS's way, or the way of the text around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Look<'t> {
    /// What separates lines, if each entry stands on its own.
    pub(super) line_break: Option<&'t str>,
    /// What stands before the value on its line.
    pub(super) indent: &'t str,
    /// What is added to the indent with each level.
    pub(super) unit: &'t str,
    /// Between key and value.
    pub(super) colon: &'t str,
    /// After the comma, where the next entry stands on the same line.
    pub(super) gap: &'t str,
}

impl Look<'_> {
    /// SOPS's layout.
    pub(super) const SOPS: Look<'static> =
        Look { line_break: Some("\n"), indent: "", unit: "\t", colon: ": ", gap: " " };
}

/// Text that may be secret and has no final size yet: whatever it outgrows is wiped.
#[derive(Default)]
pub(super) struct Text(pub(super) Zeroizing<String>);

impl Text {
    pub(super) fn push(&mut self, text: &str) {
        self.reserve(text.len());
        self.0.push_str(text);
    }

    fn reserve(&mut self, more: usize) {
        let length = self.0.len() + more;
        if length > self.0.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(length.max(2 * self.0.capacity())));
            larger.push_str(&self.0);
            self.0 = larger;
        }
    }
}

/// Prints `what` onto the end of `text`. Comments are left out: JSON has none. False if there is
/// something in it that JSON cannot say, see [`scalar`].
#[must_use]
pub(super) fn print(text: &mut Text, what: &Wire, look: &Look<'_>) -> bool {
    let mut is_json = true;
    let mut open: Vec<Container<'_>> = Vec::new();
    let mut what = what;
    loop {
        match what {
            Wire::Leaf(value) => is_json &= scalar(text, value),
            Wire::Map(entries) => open.push(Container::new(text, Rest::Map(entries.iter()))),
            Wire::List(items) => open.push(Container::new(text, Rest::List(items.iter()))),
        }
        loop {
            let depth = open.len();
            let Some(container) = open.last_mut() else { return is_json };
            match container.rest.next() {
                Some((key, value)) => {
                    if !container.is_empty {
                        text.push(",");
                    }
                    match look.line_break {
                        None if container.is_empty => (),
                        None => text.push(look.gap),
                        Some(_) => new_line(text, look, depth),
                    }
                    container.is_empty = false;
                    if let Some(key) = key {
                        quote(text, key.as_bytes());
                        text.push(look.colon);
                    }
                    what = value;
                    break;
                }
                None => {
                    if !container.is_empty {
                        new_line(text, look, depth - 1);
                    }
                    text.push(container.rest.signs().1);
                    open.pop();
                }
            }
        }
    }
}

struct Container<'w> {
    rest: Rest<'w>,
    is_empty: bool,
}

impl<'w> Container<'w> {
    fn new(text: &mut Text, rest: Rest<'w>) -> Self {
        text.push(rest.signs().0);
        Self { rest, is_empty: true }
    }
}

/// What is still to be printed of a container.
enum Rest<'w> {
    Map(slice::Iter<'w, Entry>),
    List(slice::Iter<'w, Wire>),
}

impl<'w> Rest<'w> {
    fn signs(&self) -> (&'static str, &'static str) {
        match self {
            Self::Map(_) => ("{", "}"),
            Self::List(_) => ("[", "]"),
        }
    }

    fn next(&mut self) -> Option<(Option<&'w str>, &'w Wire)> {
        match self {
            Self::Map(entries) => entries.find_map(|it| match it {
                Entry::Pair(key, value) => Some((Some(key.as_str()), value)),
                Entry::Comment(_) => None,
            }),
            Self::List(items) => items.find(|it| !matches!(it, Wire::Leaf(Value::Comment(_)))).map(|it| (None, it)),
        }
    }
}

fn new_line(text: &mut Text, look: &Look<'_>, depth: usize) {
    if let Some(line_break) = look.line_break {
        text.push(line_break);
        text.push(look.indent);
        text.push(&look.unit.repeat(depth));
    }
}

/// Prints a scalar. False if it is a NaN or an infinity, as which Go spells it then: no JSON.
#[must_use]
pub(super) fn scalar(text: &mut Text, value: &Value) -> bool {
    match value {
        Value::Bool(it) => text.push(if *it { "true" } else { "false" }),
        Value::Comment(it) | Value::Str(it) => quote(text, it.expose()),
        Value::Float(it) if !it.is_finite() => {
            text.push(&float::plain(*it));
            return false;
        }
        Value::Float(it) => text.push(&Zeroizing::new(float::shortest(*it, -6, 21, 1, 'e'))),
        Value::Int(it) => text.push(&Zeroizing::new(it.to_string())),
        Value::Null => text.push("null"),
        Value::Time(it) => quote(text, it.as_bytes()),
    }
    true
}

/// Quotes a string as Go does: what HTML and JavaScript would trip over is escaped too, and each
/// byte that is not UTF-8 becomes `\ufffd` (spec section 1.7).
pub(super) fn quote(text: &mut Text, string: &[u8]) {
    text.reserve(string.len() + 2);
    text.push("\"");
    for chunk in string.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.bytes().position(|it| SPECIAL[usize::from(it)]) {
            text.push(&rest[..at]);
            let length = rest[at..].chars().next().map_or(0, |it| {
                match escape(it) {
                    Some(Escape::Short(it)) => text.push(it),
                    Some(Escape::Unit(it)) => text.push(&format!("\\u{it:04x}")),
                    None => text.push(it.encode_utf8(&mut [0; 4])),
                }
                it.len_utf8()
            });
            rest = &rest[at + length..];
        }
        text.push(rest);
        chunk.invalid().iter().for_each(|_| text.push("\\ufffd"));
    }
    text.push("\"");
}

/// The bytes at which a character begins that may need an escape: U+2028 and U+2029 begin with 0xE2.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        special[byte] = matches!(byte as u8, 0..b' ' | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        byte += 1;
    }
    special
};

enum Escape {
    Short(&'static str),
    Unit(u32),
}

fn escape(it: char) -> Option<Escape> {
    Some(match it {
        '"' => Escape::Short("\\\""),
        '\\' => Escape::Short("\\\\"),
        '\u{8}' => Escape::Short("\\b"),
        '\u{c}' => Escape::Short("\\f"),
        '\n' => Escape::Short("\\n"),
        '\r' => Escape::Short("\\r"),
        '\t' => Escape::Short("\\t"),
        '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => Escape::Unit(it.into()),
        _ => return None,
    })
}
