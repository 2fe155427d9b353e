//! Values as text: `print`, `println` and `printf` of Go, and what a template writes.

use super::functions::Fault;
use super::value::{DEEPEST, Text, Value};

/// As Go's `%v`.
pub(super) fn print(value: &Value) -> Result<Text, Fault> {
    if let Value::Text(text) | Value::Number(text) = value {
        return Ok(text.clone());
    }
    let mut out = Vec::new();
    write(value, &mut out, 0)?;
    Ok(Text::new(out))
}

/// As Go's `Sprint`: spaces between operands of which neither is text.
pub(super) fn print_all(values: &[Value]) -> Result<Text, Fault> {
    let mut out = Vec::new();
    for (n, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_) | Value::Number(_));
        if n > 0 && !is_text(value) && !is_text(&values[n - 1]) {
            out.push(b' ');
        }
        write(value, &mut out, 0)?;
    }
    Ok(Text::new(out))
}

/// As Go's `Sprintln`.
pub(super) fn print_line(values: &[Value]) -> Result<Text, Fault> {
    let mut out = Vec::new();
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        write(value, &mut out, 0)?;
    }
    out.push(b'\n');
    Ok(Text::new(out))
}

fn write(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), Fault> {
    walk(value, out, depth, &mut |value, out| write_scalar(value, out))
}

/// Writes lists and maps as Go does, and calls `scalar` for what is in them.
fn walk(
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
    scalar: &mut dyn FnMut(&Value, &mut Vec<u8>),
) -> Result<(), Fault> {
    if depth > DEEPEST {
        return Err(Fault::Exhausted("nest"));
    }
    match value {
        Value::List(list) => {
            out.push(b'[');
            for (n, item) in list.items.iter().enumerate() {
                if n > 0 {
                    out.push(b' ');
                }
                walk(item, out, depth + 1, scalar)?;
            }
            out.push(b']');
        }
        Value::Map(map) => {
            let is_struct = map.element == super::value::Element::Field;
            out.extend_from_slice(if is_struct { b"{" } else { b"map[" });
            for (n, (key, item)) in map.items.borrow().iter().enumerate() {
                if n > 0 {
                    out.push(b' ');
                }
                if !is_struct {
                    scalar(&Value::Text(key.clone()), out);
                    out.push(b':');
                }
                walk(item, out, depth + 1, scalar)?;
            }
            out.extend_from_slice(if is_struct { b"}" } else { b"]" });
        }
        other => scalar(other, out),
    }
    if out.len() > LONGEST {
        return Err(Fault::Exhausted("write"));
    }
    Ok(())
}

/// More than a template may write.
const LONGEST: usize = 8 << 20;

fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Missing | Value::Nil => out.extend_from_slice(b"<nil>"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(..) => out.extend_from_slice(integer(value).to_string().as_bytes()),
        Value::Float(f) => out.extend_from_slice(spell_float(*f, 'g', None).as_bytes()),
        Value::Text(text) | Value::Number(text) => out.extend_from_slice(text),
        Value::Time(time) => out.extend_from_slice(time.to_string().as_bytes()),
        Value::Version(version) => out.extend_from_slice(version.to_string().as_bytes()),
        Value::List(_) | Value::Map(_) => {}
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(width, n) if width.is_signed() => i128::from(*n),
        Value::Int(_, n) => i128::from(*n as u64),
        _ => 0,
    }
}

/// A float as Go's `strconv.FormatFloat` spells it; without a precision, the shortest that reads back.
pub(super) fn spell_float(f: f64, verb: char, precision: Option<usize>) -> String {
    if f.is_nan() {
        return "NaN".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let exponential = |text: String| -> String {
        let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
        let exponent: i32 = exponent.parse().expect("Rust writes a number there");
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    match (verb, precision) {
        ('e', None) => exponential(format!("{f:e}")),
        ('e', Some(n)) => exponential(format!("{f:.n$e}")),
        ('f', None) => format!("{f}"),
        ('f', Some(n)) => format!("{f:.n$}"),
        (_, precision) => {
            let digits = precision.map(|n| n.max(1));
            let text = match digits {
                None => format!("{f:e}"),
                Some(n) => {
                    let n = n - 1;
                    format!("{f:.n$e}")
                }
            };
            let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
            let exponent: i32 = exponent.parse().expect("Rust writes a number there");
            let mantissa = match mantissa.contains('.') {
                true => mantissa.trim_end_matches('0').trim_end_matches('.'),
                false => mantissa,
            };
            let n_digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
            // From this exponent on Go writes one.
            let limit = match digits {
                None => 6,
                Some(n) if n as i32 > n_digits && n_digits > exponent => n_digits.max(exponent + 1),
                Some(n) => n as i32,
            };
            if exponent < -4 || exponent >= limit {
                exponential(format!("{mantissa}e{exponent}"))
            } else {
                let decimals = (n_digits - 1 - exponent).max(0) as usize;
                format!("{f:.decimals$}")
            }
        }
    }
}

#[derive(Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// More digits than a float has.
const MOST_DIGITS: usize = 2000;

/// Go refuses widths from here on.
const WIDEST: i64 = 1_000_000;

/// As Go's `Sprintf`.
pub(super) fn printf(format: &[u8], values: &[Value]) -> Result<Text, Fault> {
    let mut out = Vec::new();
    let (mut at, mut next, mut reordered) = (0, 0, false);
    while at < format.len() {
        if out.len() > LONGEST {
            return Err(Fault::Exhausted("write"));
        }
        if format[at] != b'%' {
            let end = memchr::memchr(b'%', &format[at..]).map_or(format.len(), |n| at + n);
            out.extend_from_slice(&format[at..end]);
            at = end;
            continue;
        }
        at += 1;
        let mut flags = Flags::default();
        while let Some(flag) = format.get(at) {
            match flag {
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b'#' => flags.sharp = true,
                b' ' => flags.space = true,
                b'0' => flags.zero = true,
                _ => break,
            }
            at += 1;
        }
        let mut good_index = true;
        let mut after_index = argument_index(format, &mut at, &mut next, values.len(), &mut good_index, &mut reordered);
        if format.get(at) == Some(&b'*') {
            at += 1;
            match star(values, &mut next) {
                Some(n) if n < 0 => {
                    flags.minus = true;
                    flags.zero = false;
                    flags.width = Some(n.unsigned_abs() as usize);
                }
                Some(n) => flags.width = Some(n as usize),
                None => out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else if let Some(n) = number(format, &mut at)? {
            if after_index {
                good_index = false;
            }
            flags.width = Some(n);
        }
        if format.get(at) == Some(&b'.') {
            at += 1;
            if after_index {
                good_index = false;
            }
            after_index = argument_index(format, &mut at, &mut next, values.len(), &mut good_index, &mut reordered);
            if format.get(at) == Some(&b'*') {
                at += 1;
                match star(values, &mut next) {
                    Some(n) if n >= 0 => flags.precision = Some(n as usize),
                    Some(_) => {}
                    None => out.extend_from_slice(b"%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(number(format, &mut at)?.unwrap_or(0));
            }
        }
        if !after_index {
            argument_index(format, &mut at, &mut next, values.len(), &mut good_index, &mut reordered);
        }
        let Some(verb) = String::from_utf8_lossy(&format[at..]).chars().next() else {
            out.extend_from_slice(b"%!(NOVERB)");
            break;
        };
        at += if verb == '\u{fffd}' { 1 } else { verb.len_utf8() };
        if verb == '%' {
            out.push(b'%');
            continue;
        }
        if !good_index {
            out.extend_from_slice(format!("%!{verb}(BADINDEX)").as_bytes());
            continue;
        }
        let Some(value) = values.get(next) else {
            out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes());
            continue;
        };
        next += 1;
        verb_to(&mut out, verb, value, &flags, 0)?;
    }
    if !reordered && next < values.len() {
        out.extend_from_slice(b"%!(EXTRA ");
        for (n, value) in values[next..].iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            if !value.is_nil() {
                out.extend_from_slice(value.type_name().as_bytes());
                out.push(b'=');
            }
            write(value, &mut out, 0)?;
        }
        out.push(b')');
    }
    Ok(Text::new(out))
}

/// Reads `[n]`. True if there was one.
fn argument_index(
    format: &[u8],
    at: &mut usize,
    next: &mut usize,
    n_values: usize,
    good: &mut bool,
    reordered: &mut bool,
) -> bool {
    if format.get(*at) != Some(&b'[') {
        return false;
    }
    *reordered = true;
    let Some(end) = memchr::memchr(b']', &format[*at..]) else {
        *good = false;
        *at += 1;
        return false;
    };
    let digits = std::str::from_utf8(&format[*at + 1..*at + end]).ok().and_then(|it| it.parse::<usize>().ok());
    *at += end + 1;
    match digits {
        Some(n) if n >= 1 && n <= n_values => *next = n - 1,
        _ => *good = false,
    }
    true
}

fn number(format: &[u8], at: &mut usize) -> Result<Option<usize>, Fault> {
    let digits = format[*at..].iter().take_while(|it| it.is_ascii_digit()).count();
    if digits == 0 {
        return Ok(None);
    }
    let text = std::str::from_utf8(&format[*at..*at + digits]).expect("digits are ASCII");
    *at += digits;
    match text.parse::<i64>() {
        Ok(n) if n <= WIDEST => Ok(Some(n as usize)),
        _ => Err(Fault::new("a width or precision is too large")),
    }
}

fn star(values: &[Value], next: &mut usize) -> Option<i64> {
    let value = values.get(*next)?;
    *next += 1;
    match value {
        Value::Int(_, n) if n.abs() <= WIDEST => Some(*n),
        _ => None,
    }
}

fn pad(out: &mut Vec<u8>, text: &[u8], flags: &Flags) {
    let width = String::from_utf8_lossy(text).chars().count();
    let missing = flags.width.unwrap_or(0).saturating_sub(width);
    if flags.minus {
        out.extend_from_slice(text);
        out.resize(out.len() + missing, b' ');
    } else {
        out.resize(out.len() + missing, if flags.zero { b'0' } else { b' ' });
        out.extend_from_slice(text);
    }
}

fn verb_to(out: &mut Vec<u8>, verb: char, value: &Value, flags: &Flags, depth: usize) -> Result<(), Fault> {
    match verb {
        'T' => pad(out, value.type_name().as_bytes(), flags),
        'p' => bad(out, verb, value, depth)?,
        _ if value.is_nil() => match verb {
            'v' => pad(out, b"<nil>", flags),
            _ => out.extend_from_slice(format!("%!{verb}(<nil>)").as_bytes()),
        },
        'v' if flags.sharp => {
            return Err(Fault::new("%#v, Go's own syntax, is not known here"));
        }
        'x' | 'X' | 's' | 'q' if matches!(value, Value::List(it) if is_bytes(it)) => {
            let Value::List(list) = value else { unreachable!("just asked") };
            let bytes: Vec<u8> = list.items.iter().map(|it| integer(it) as u8).collect();
            text_to(out, verb, &bytes, flags, value, depth)?;
        }
        _ => match value {
            Value::List(_) | Value::Map(_) => {
                let mut result = Ok(());
                walk(value, out, depth, &mut |item, out| {
                    if result.is_ok() {
                        result = verb_to(out, verb, item, flags, depth + 1);
                    }
                })?;
                result?;
            }
            Value::Text(text) | Value::Number(text) => text_to(out, verb, text, flags, value, depth)?,
            Value::Time(_) | Value::Version(_) => {
                let text = print(value)?;
                text_to(out, verb, &text, flags, value, depth)?;
            }
            Value::Bool(b) if matches!(verb, 't' | 'v') => pad(out, b.to_string().as_bytes(), flags),
            Value::Int(..) => integer_to(out, verb, value, flags, depth)?,
            Value::Float(f) => float_to(out, verb, *f, value, flags, depth)?,
            _ => bad(out, verb, value, depth)?,
        },
    }
    Ok(())
}

fn is_bytes(list: &super::value::List) -> bool {
    !list.items.is_empty() && list.items.iter().all(|it| matches!(it, Value::Int(super::value::Width::Byte, _)))
}

fn bad(out: &mut Vec<u8>, verb: char, value: &Value, depth: usize) -> Result<(), Fault> {
    out.extend_from_slice(format!("%!{verb}({}=", value.type_name()).as_bytes());
    write(value, out, depth)?;
    out.push(b')');
    Ok(())
}

fn text_to(
    out: &mut Vec<u8>,
    verb: char,
    text: &[u8],
    flags: &Flags,
    value: &Value,
    depth: usize,
) -> Result<(), Fault> {
    let cut = || -> Vec<u8> {
        match flags.precision {
            None => text.to_vec(),
            Some(n) => {
                let mut rest = text;
                for _ in 0..n {
                    rest = &rest[first_char(rest)..];
                }
                text[..text.len() - rest.len()].to_vec()
            }
        }
    };
    match verb {
        's' | 'v' => pad(out, &cut(), flags),
        'q' if flags.sharp
            && !text.contains(&b'`')
            && std::str::from_utf8(text).is_ok_and(|it| !it.contains(|c: char| c.is_control() && c != '\t')) =>
        {
            pad(out, &[b"`", cut().as_slice(), b"`"].concat(), flags);
        }
        'q' => pad(out, quote(&cut(), flags.plus).as_bytes(), flags),
        'x' | 'X' => {
            let n = flags.precision.unwrap_or(text.len()).min(text.len());
            let mut hex = String::new();
            for (at, byte) in text[..n].iter().enumerate() {
                if flags.space && at > 0 {
                    hex.push(' ');
                }
                if flags.sharp && (flags.space || at == 0) {
                    hex.push_str(if verb == 'x' { "0x" } else { "0X" });
                }
                hex.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
            }
            pad(out, hex.as_bytes(), flags);
        }
        _ => bad(out, verb, value, depth)?,
    }
    Ok(())
}

/// How many bytes the first character of `text` takes; one that is no UTF-8 takes one.
pub(super) fn first_char(text: &[u8]) -> usize {
    let n = match text.first() {
        None => 0,
        Some(0..0x80) => 1,
        Some(0xc2..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..0xf5) => 4,
        Some(_) => 1,
    };
    if n > 1 && text.get(..n).is_none_or(|it| std::str::from_utf8(it).is_err()) { 1 } else { n }
}

/// Text in double quotes as Go's `strconv.Quote` spells it.
pub(super) fn quote(text: &[u8], ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while !rest.is_empty() {
        let n = first_char(rest);
        let Some(c) = std::str::from_utf8(&rest[..n]).ok().and_then(|it| it.chars().next()) else {
            out.push_str(&format!("\\x{:02x}", rest[0]));
            rest = &rest[n..];
            continue;
        };
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..=' ' | '\u{7f}' if c != ' ' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_printable(c) && (c.is_ascii() || !ascii) => out.push(c),
            c if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
        rest = &rest[n..];
    }
    out.push('"');
    out
}

/// As Go's `strconv.IsPrint`, by what Rust escapes: characters that show, and the space alone of all spaces.
pub(super) fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_whitespace()
            || c.is_control()
            || (c.escape_debug().len() > 1 && !matches!(c, '"' | '\'' | '\\') && !is_mark(c)))
}

/// Marks that combine with what stands before: Rust escapes those, Go prints them.
fn is_mark(c: char) -> bool {
    c.escape_debug().len() > 1 && format!("a{c}").escape_debug().count() == 2
}

fn integer_to(out: &mut Vec<u8>, verb: char, value: &Value, flags: &Flags, depth: usize) -> Result<(), Fault> {
    let n = integer(value);
    let magnitude = n.unsigned_abs();
    let (digits, prefix) = match verb {
        'd' | 'v' => (magnitude.to_string(), ""),
        'b' => (format!("{magnitude:b}"), if flags.sharp { "0b" } else { "" }),
        'o' => (format!("{magnitude:o}"), if flags.sharp { "0" } else { "" }),
        'O' => (format!("{magnitude:o}"), "0o"),
        'x' => (format!("{magnitude:x}"), if flags.sharp { "0x" } else { "" }),
        'X' => (format!("{magnitude:X}"), if flags.sharp { "0X" } else { "" }),
        'c' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            pad(out, c.to_string().as_bytes(), flags);
            return Ok(());
        }
        'q' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = match c {
                '\'' => "'\\''".to_owned(),
                '"' => "'\"'".to_owned(),
                c => format!("'{}'", quote(c.to_string().as_bytes(), flags.plus).trim_matches('"')),
            };
            pad(out, text.as_bytes(), flags);
            return Ok(());
        }
        'U' => {
            pad(
                out,
                format!("U+{magnitude:04X}").as_bytes(),
                &Flags { zero: false, width: flags.width, minus: flags.minus, ..Flags::default() },
            );
            return Ok(());
        }
        _ => return bad(out, verb, value, depth),
    };
    let sign = if n < 0 {
        "-"
    } else if flags.plus {
        "+"
    } else if flags.space {
        " "
    } else {
        ""
    };
    let mut digits = digits;
    match flags.precision {
        Some(0) if n == 0 => digits.clear(),
        Some(least) => digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len()))),
        None if flags.zero && !flags.minus => {
            let width = flags.width.unwrap_or(0).saturating_sub(sign.len());
            digits = format!("{}{digits}", "0".repeat(width.saturating_sub(digits.len())));
        }
        None => {}
    }
    pad(
        out,
        format!("{sign}{prefix}{digits}").as_bytes(),
        &Flags { zero: false, width: flags.width, minus: flags.minus, ..Flags::default() },
    );
    Ok(())
}

fn float_to(out: &mut Vec<u8>, verb: char, f: f64, value: &Value, flags: &Flags, depth: usize) -> Result<(), Fault> {
    if flags.precision.is_some_and(|it| it > MOST_DIGITS) {
        return Err(Fault::new("a precision is too large"));
    }
    let mut text = match verb {
        'v' | 'g' | 'G' => spell_float(f, 'g', flags.precision),
        'e' | 'E' => spell_float(f, 'e', Some(flags.precision.unwrap_or(6))),
        'f' | 'F' => spell_float(f, 'f', Some(flags.precision.unwrap_or(6))),
        _ => return bad(out, verb, value, depth),
    };
    if matches!(verb, 'G' | 'E') {
        text.make_ascii_uppercase();
    }
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("+", digits),
        None => ("", text.as_str()),
    };
    let sign = match sign {
        "-" => "-",
        _ if flags.plus => "+",
        _ if flags.space => " ",
        other if f.is_infinite() => other,
        _ => "",
    };
    let zeros = flags.zero && !flags.minus && f.is_finite();
    let missing = flags.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
    let digits = if zeros { format!("{}{digits}", "0".repeat(missing)) } else { digits.to_owned() };
    pad(
        out,
        format!("{sign}{digits}").as_bytes(),
        &Flags { zero: false, width: flags.width, minus: flags.minus, ..Flags::default() },
    );
    Ok(())
}
