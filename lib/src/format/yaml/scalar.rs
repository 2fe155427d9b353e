//! What a YAML scalar means, as go-yaml v3 has it (spec section 1.5).

use zeroize::Zeroizing;

use crate::secret::SecretText;
use crate::value::{Value, float, time};

/// What a scalar means.
pub(super) type Scalar = Result<Value, ScalarError>;

/// A scalar that means nothing that SOPS can hold. Never shows its text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ScalarError {
    /// A positive integer that fits 64 bits without a sign and not with one: readable, and not
    /// encryptable.
    #[error("Cannot walk value, unknown type: uint64")]
    Unsigned,
    /// The text does not mean what its tag says.
    #[error("cannot decode {found} as a {tag}")]
    Mismatch {
        /// The tag that the text would have by itself.
        found: &'static str,
        /// The tag that stands before it.
        tag: &'static str,
    },
    /// `!!binary` without base64.
    #[error("!!binary value contains invalid base64 data")]
    Base64,
}

/// What a plain scalar without a tag means.
pub(super) fn resolve(text: &str) -> Scalar {
    match sort(text) {
        Sort::Text => Ok(Value::str(text)),
        Sort::Word => Ok(word(text).unwrap_or_else(|| Value::str(text))),
        Sort::Point => Ok(word(text).or_else(|| point(text)).unwrap_or_else(|| Value::str(text))),
        Sort::Number => match word(text).or_else(|| timestamp(text).map(Value::Time)) {
            Some(it) => Ok(it),
            None => number(text).unwrap_or_else(|| Ok(Value::str(text))),
        },
    }
}

/// True if a plain scalar without a tag is a string, which most are: the first byte tells.
pub(super) fn is_str(text: &str) -> bool {
    match sort(text) {
        Sort::Text => true,
        Sort::Word => word(text).is_none(),
        Sort::Point | Sort::Number => matches!(resolve(text), Ok(Value::Str(_))),
    }
}

/// What a scalar with a tag means: the tag as written (`!!int`, `!<tag:yaml.org,2002:int>`, `!`) or
/// as resolved (`tag:yaml.org,2002:int`), the text without its quotes. `plain` says that it had
/// none. A tag that go-yaml does not know makes a string.
///
/// # Errors
///
/// If the text does not fit the tag.
pub(super) fn resolve_tagged(tag: &str, text: &str, plain: bool) -> Scalar {
    let tag = tag.strip_prefix("!<").and_then(|it| it.strip_suffix('>')).unwrap_or(tag);
    let (name, known) = match tag.strip_prefix("tag:yaml.org,2002:").or_else(|| tag.strip_prefix("!!")) {
        Some(it) => (it, true),
        None => (tag, false),
    };
    let tag = match name {
        "" | "!" if !known && plain => return resolve(text),
        "bool" if known => "!!bool",
        "int" if known => "!!int",
        "float" if known => "!!float",
        "null" if known => "!!null",
        "timestamp" if known => "!!timestamp",
        "binary" if known => return binary(text),
        _ => return Ok(Value::str(text)),
    };
    let value = match sort(text) {
        // Other tags than its own keep a date from being read as one.
        Sort::Number if tag != "!!timestamp" => match word(text) {
            Some(it) => it,
            None => match number(text).unwrap_or_else(|| Ok(Value::str(text))) {
                Err(ScalarError::Unsigned) if tag != "!!int" => {
                    return Err(ScalarError::Mismatch { found: "!!int", tag });
                }
                other => other?,
            },
        },
        _ => resolve(text).map_err(|_| ScalarError::Mismatch { found: "!!int", tag })?,
    };
    match value {
        Value::Int(it) if tag == "!!float" => Ok(Value::Float(it as f64)),
        value if tag_of(&value) == tag => Ok(value),
        value => Err(ScalarError::Mismatch { found: tag_of(&value), tag }),
    }
}

fn tag_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "!!bool",
        Value::Float(_) => "!!float",
        Value::Int(_) => "!!int",
        Value::Null => "!!null",
        Value::Comment(_) | Value::Str(_) => "!!str",
        Value::Time(_) => "!!timestamp",
    }
}

fn binary(text: &str) -> Scalar {
    // Go's decoder steps over line breaks, wants padding and lets the last bits be anything.
    let mut dense = Zeroizing::new(Vec::with_capacity(text.len()));
    dense.extend(text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')));
    if dense.len() % 4 != 0 || dense.iter().any(u8::is_ascii_whitespace) {
        return Err(ScalarError::Base64);
    }
    let decoded = base64_simd::forgiving_decode_to_vec(&dense).map_err(|_| ScalarError::Base64)?;
    Ok(Value::Str(SecretText::new(decoded)))
}

/// What the first byte says about a plain scalar.
enum Sort {
    /// It is a string.
    Text,
    /// It is one of the fixed words or a string.
    Word,
    /// As `Word`, or a float.
    Point,
    /// As `Word`, or a number or a time.
    Number,
}

fn sort(text: &str) -> Sort {
    match text.as_bytes().first() {
        None | Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'~') => Sort::Word,
        Some(b'.') => Sort::Point,
        Some(b'0'..=b'9' | b'+' | b'-') => Sort::Number,
        Some(_) => Sort::Text,
    }
}

fn word(text: &str) -> Option<Value> {
    Some(match text {
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// Reads what Go's `ParseFloat` reads: underscores only between digits.
fn point(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let between = bytes.iter().enumerate().all(|(at, b)| *b != b'_' || is_digit(at - 1) && is_digit(at + 1));
    let dense = without_underscores(text);
    between.then(|| float::parse_go(&dense)).flatten().map(Value::Float)
}

fn without_underscores(text: &str) -> Zeroizing<String> {
    let mut dense = Zeroizing::new(String::with_capacity(text.len()));
    dense.extend(text.split('_'));
    dense
}

/// Reads an integer or a float. `None` if it is neither.
fn number(text: &str) -> Option<Scalar> {
    let text = without_underscores(text);
    let text = text.as_str();
    integer(text)
        .or_else(|| is_float(text).then(|| float::parse_go(text)).flatten().map(|it| Ok(Value::Float(it))))
        .or_else(|| signed_after_prefix(text).map(|it| Ok(Value::Int(it))))
}

/// Go's `ParseInt` and `ParseUint` with base 0, after the underscores are gone.
fn integer(text: &str) -> Option<Scalar> {
    let (signed, negative, body) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (true, false, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match body.as_bytes() {
        [b'0'] => (10, body),
        [b'0', b'b' | b'B', _, ..] => (2, &body[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &body[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &body[2..]),
        [b'0', ..] => (8, &body[1..]),
        _ => (10, body),
    };
    let magnitude = magnitude(digits, radix)?;
    match (i64::try_from(magnitude), negative) {
        (Ok(it), false) => Some(Ok(Value::Int(it))),
        (Ok(it), true) => Some(Ok(Value::Int(-it))),
        (Err(_), true) => (magnitude == i64::MIN.unsigned_abs()).then_some(Ok(Value::Int(i64::MIN))),
        // Go's unsigned integers have no sign, not even a plus.
        (Err(_), false) => (!signed).then_some(Err(ScalarError::Unsigned)),
    }
}

fn magnitude(digits: &str, radix: u32) -> Option<u64> {
    let well_formed = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    well_formed.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// `0b-1` and `0o+7`: go-yaml hands what follows the prefix to a parser that takes signs.
fn signed_after_prefix(text: &str) -> Option<i64> {
    let (radix, rest) = match text.get(..2)? {
        "0b" => (2, &text[2..]),
        "0o" => (8, &text[2..]),
        _ => return None,
    };
    let negative = rest.starts_with('-');
    let magnitude = i128::from(magnitude(rest.strip_prefix(['-', '+'])?, radix)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let Some(after) = rest.strip_prefix('.') {
        let fraction = digits(after);
        if whole + fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        None => rest.is_empty(),
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
    }
}

/// Reads what Go reads with the layouts `2006-1-2T15:4:5.999999999Z07:00` (or `t`),
/// `2006-1-2 15:4:5.999999999` and `2006-1-2`, and spells it in RFC 3339.
fn timestamp(text: &str) -> Option<String> {
    let year = text.get(..4).filter(|it| it.bytes().all(|b| b.is_ascii_digit()))?;
    let mut rest = text[4..].strip_prefix('-')?;
    let month = field(&mut rest, 12)?;
    rest = rest.strip_prefix('-')?;
    let day = field(&mut rest, 31)?;
    jiff::civil::Date::new(year.parse().ok()?, month as i8, day as i8).ok()?;
    let date = format!("{year}-{month:02}-{day:02}");
    let zoned = match rest.as_bytes().first() {
        None => return Some(format!("{date}T00:00:00Z")),
        Some(b'T' | b't') => true,
        Some(b' ') => false,
        Some(_) => return None,
    };
    // A space in a Go layout stands for any number of them.
    rest = if zoned { &rest[1..] } else { rest.trim_start_matches(' ') };
    let hour = field(&mut rest, 23)?;
    rest = rest.strip_prefix(':')?;
    let minute = field(&mut rest, 59)?;
    rest = rest.strip_prefix(':')?;
    let second = field(&mut rest, 59)?;
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix(['.', ',']) {
        let n = after.bytes().take_while(u8::is_ascii_digit).count();
        if n > 0 {
            (fraction, rest) = after.split_at(n);
        }
    }
    let zone = if zoned { zone(rest)? } else { rest.is_empty().then(|| "Z".to_owned())? };
    Some(time::spell(&format!("{date}T{hour:02}:{minute:02}:{second:02}{zone}"), fraction))
}

/// Reads one or two digits of at most `max`.
fn field(rest: &mut &str, max: u8) -> Option<u8> {
    let n = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let it = rest[..n].parse().ok().filter(|it| *it <= max)?;
    *rest = &rest[n..];
    Some(it)
}

fn zone(text: &str) -> Option<String> {
    if text == "Z" {
        return Some("Z".to_owned());
    }
    let bytes = text.as_bytes();
    let two = |at: usize| match bytes.get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    };
    if bytes.len() != 6 || !matches!(bytes[0], b'+' | b'-') || bytes[3] != b':' {
        return None;
    }
    // Go: some people write offsets of 24 hours or 60 minutes.
    let (hours, minutes) = (two(1).filter(|it| *it <= 24)?, two(4).filter(|it| *it <= 60)?);
    Some(match hours * 60 + minutes {
        0 => "Z".to_owned(),
        it => format!("{}{:02}:{:02}", char::from(bytes[0]), it / 60, it % 60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as the tables below show it.
    fn show(scalar: Scalar) -> String {
        match scalar {
            Ok(Value::Bool(it)) => format!("bool {it}"),
            Ok(Value::Float(it)) => format!("float {}", float::plain(it)),
            Ok(Value::Int(it)) => format!("int {it}"),
            Ok(Value::Null) => "null".to_owned(),
            Ok(Value::Time(it)) => format!("time {it}"),
            Ok(Value::Str(it) | Value::Comment(it)) => {
                format!("str {}", String::from_utf8_lossy(it.expose()))
            }
            Err(it) => format!("error {it}"),
        }
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_go_yaml() {
        for line in include_str!("testdata/resolve.txt").lines().filter(|it| !it.starts_with('#')) {
            let (text, meaning) = line.split_once('\t').expect("text, tab, meaning");
            let text = if text == "(empty)" { "" } else { text };
            assert_eq!(show(resolve(text)), meaning, "{text}");
            assert_eq!(is_str(text), meaning.starts_with("str "), "{text}");
        }
    }

    #[test]
    fn tags_force_or_refuse() {
        for (tag, text, meaning) in [
            ("!!str", "123", "str 123"),
            ("!!str", "", "str "),
            ("!!int", "5", "int 5"),
            ("!<tag:yaml.org,2002:int>", "0x1F", "int 31"),
            ("tag:yaml.org,2002:int", "5", "int 5"),
            ("!!int", "2001-01-01", "error cannot decode !!str as a !!int"),
            ("!!int", "1.5", "error cannot decode !!float as a !!int"),
            ("!!int", "", "error cannot decode !!null as a !!int"),
            ("!!int", "9223372036854775808", "error Cannot walk value, unknown type: uint64"),
            ("!!float", "3", "float 3"),
            ("!!float", ".5", "float 0.5"),
            ("!!float", "9223372036854775808", "error cannot decode !!int as a !!float"),
            ("!!bool", "true", "bool true"),
            ("!!bool", "yes", "error cannot decode !!str as a !!bool"),
            ("!!null", "", "null"),
            ("!!null", "x", "error cannot decode !!str as a !!null"),
            ("!!timestamp", "2020-01-01", "time 2020-01-01T00:00:00Z"),
            ("!!timestamp", "20200101", "error cannot decode !!int as a !!timestamp"),
            ("!!binary", "aGVs\nbG8=", "str hello"),
            ("!!binary", "aGVsbG9=", "str hello"),
            ("!!binary", "aGVs bG8=", "error !!binary value contains invalid base64 data"),
            ("!!binary", "aGVsbG8", "error !!binary value contains invalid base64 data"),
            ("!!merge", "<<", "str <<"),
            ("!!unheard", "1", "str 1"),
            ("!custom", "1", "str 1"),
            ("!int", "1", "str 1"),
            ("!", "12", "int 12"),
        ] {
            assert_eq!(show(resolve_tagged(tag, text, true)), meaning, "{tag} {text}");
        }
        assert_eq!(show(resolve_tagged("!", "12", false)), "str 12");
    }
}
