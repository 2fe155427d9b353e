//! What the text of a YAML scalar says: quotes, escapes, folding, block indentation.
//!
//! The scanner has found the text to be well-formed; nothing here can fail.

use zeroize::Zeroizing;

use crate::tree::{Span, Style};

/// Decodes a scalar. `column` is that of the entries of the container it stands in.
pub(super) fn scalar(source: &str, span: Span, style: Style, column: u32) -> Zeroizing<String> {
    let text = &source[span.range()];
    match style {
        Style::Single => quoted(&text[1..text.len() - 1], false),
        Style::Double => quoted(&text[1..text.len() - 1], true),
        Style::Literal | Style::Folded => {
            // The last line's break is part of what it says.
            let rest = &source[span.range().end..];
            let end = span.range().end + line_break(rest).map_or(0, |(n, _)| n);
            block(&source[span.range().start..end], style == Style::Folded, column as usize)
        }
        Style::Plain | Style::Flow => plain(text),
    }
}

/// The length of the line break that `text` starts with, and what it stands for.
pub(super) fn line_break(text: &str) -> Option<(usize, &'static str)> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'\n' => Some((1, "\n")),
        b'\r' => Some((1 + usize::from(bytes.get(1) == Some(&b'\n')), "\n")),
        0xC2 if text.starts_with('\u{85}') => Some((2, "\n")),
        0xE2 if text.starts_with('\u{2028}') => Some((3, "\u{2028}")),
        0xE2 if text.starts_with('\u{2029}') => Some((3, "\u{2029}")),
        _ => None,
    }
}

/// The characters that go-yaml ends a line at.
pub(super) const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

pub(super) fn has_break(text: &str) -> bool {
    let may_have = match text.len() {
        // Most are short, and done with before a search has begun.
        ..=1024 => text.bytes().fold(false, |found, it| found | (it == b'\n') | (it == b'\r') | (it >= 0x80)),
        _ => memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() || !text.is_ascii(),
    };
    may_have && text.contains(BREAKS)
}

fn plain(text: &str) -> Zeroizing<String> {
    let mut decoded = Zeroizing::new(String::with_capacity(text.len()));
    if !has_break(text) {
        decoded.push_str(text);
        return decoded;
    }
    let mut rest = text;
    while !rest.is_empty() {
        rest = fold(rest, &mut decoded);
        let end = rest.find(|c: char| is_blank_or_break(c)).unwrap_or(rest.len());
        decoded.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    decoded
}

pub(super) fn is_blank_or_break(c: char) -> bool {
    matches!(c, ' ' | '\t') || BREAKS.contains(&c)
}

/// Takes the blanks and breaks that `text` starts with: blanks alone stay, a single break becomes a
/// space, further breaks stay. Returns what follows.
fn fold<'t>(text: &'t str, decoded: &mut String) -> &'t str {
    let end = text.find(|c: char| !is_blank_or_break(c)).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    let mut breaks: Vec<&'static str> = Vec::new();
    let mut at = 0;
    while at < run.len() {
        match line_break(&run[at..]) {
            Some((n, stands_for)) => {
                breaks.push(stands_for);
                at += n;
            }
            None => at += 1,
        }
    }
    match breaks.split_first() {
        None => decoded.push_str(run),
        Some((&"\n", [])) => decoded.push(' '),
        Some((&"\n", more)) => more.iter().for_each(|it| decoded.push_str(it)),
        Some((first, more)) => {
            decoded.push_str(first);
            more.iter().for_each(|it| decoded.push_str(it));
        }
    }
    rest
}

fn quoted(text: &str, double: bool) -> Zeroizing<String> {
    let mut decoded = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| is_blank_or_break(c) || c == '\'' || c == '\\').unwrap_or(rest.len());
        decoded.push_str(&rest[..end]);
        rest = &rest[end..];
        match rest.as_bytes().first() {
            None => (),
            Some(b'\'') if !double => {
                decoded.push('\'');
                rest = &rest[2..];
            }
            Some(b'\\') if double => rest = escape(&rest[1..], &mut decoded),
            Some(it @ (b'\'' | b'\\')) => {
                decoded.push(char::from(*it));
                rest = &rest[1..];
            }
            Some(_) => rest = fold(rest, &mut decoded),
        }
    }
    decoded
}

/// Decodes the escape behind a backslash; returns what follows it.
fn escape<'t>(text: &'t str, decoded: &mut String) -> &'t str {
    if let Some((n, _)) = line_break(text) {
        // The line goes on: the break is nothing, nor are the blanks behind it; further breaks stay.
        let rest = &text[n..];
        let end = rest.find(|c: char| !is_blank_or_break(c)).unwrap_or(rest.len());
        let mut at = 0;
        while at < end {
            match line_break(&rest[at..]) {
                Some((n, stands_for)) => {
                    decoded.push_str(stands_for);
                    at += n;
                }
                None => at += 1,
            }
        }
        return &rest[end..];
    }
    let first = text.chars().next().unwrap_or('\\');
    let digits = match first {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let code = text.get(1..1 + digits).and_then(|it| u32::from_str_radix(it, 16).ok());
        decoded.push(code.and_then(char::from_u32).unwrap_or('\u{fffd}'));
        return &text[1 + digits..];
    }
    decoded.push(match first {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    });
    &text[first.len_utf8()..]
}

/// The header of a block scalar: what it says, and the text behind its line break.
pub(super) struct Header<'t> {
    /// `+`: true, `-`: false, neither: `None`.
    pub(super) keep: Option<bool>,
    /// The indentation indicator; zero if there is none.
    pub(super) increment: usize,
    /// The bytes of the indicators, from the `|` or `>` on.
    pub(super) len: usize,
    /// Where the comment on the header's line begins, if there is one.
    pub(super) comment: Option<usize>,
    /// Where the header's line ends, before its break.
    pub(super) line_end: usize,
    body: &'t str,
}

/// True if a block scalar in a text that was spelt here keeps the empty lines behind it. It may be the text itself.
pub(super) fn keeps_empty_lines(text: &str) -> bool {
    let keeps = |line: &str| {
        line.strip_suffix('+').is_some_and(|it| it.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with('|'))
    };
    if text.starts_with('|') { header(text).keep == Some(true) } else { text.lines().any(keeps) }
}

/// Reads the header of a block scalar.
pub(super) fn header(text: &str) -> Header<'_> {
    let line_end = text.find(BREAKS).unwrap_or(text.len());
    let mut header = Header { keep: None, increment: 0, len: 1, comment: None, line_end, body: "" };
    for byte in text.bytes().skip(1).take(2) {
        match byte {
            b'+' | b'-' => header.keep = Some(byte == b'+'),
            b'1'..=b'9' => header.increment = usize::from(byte - b'0'),
            _ => break,
        }
        header.len += 1;
    }
    header.comment = text[header.len..line_end].find('#').map(|it| it + header.len);
    header.body = match line_break(&text[line_end..]) {
        Some((n, _)) => &text[line_end + n..],
        None => "",
    };
    header
}

/// How far in the lines of a block scalar in an entry at `column` are, at the least: a comment that is
/// less far in ends it. `text` may be structure that ends with one.
pub(super) fn block_indent(text: &str, column: usize) -> usize {
    if !text.starts_with(['|', '>']) {
        return column + 1;
    }
    let Header { increment, body, .. } = header(text);
    let blanks = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let indent = body.split(BREAKS).find(|it| blanks(it) < it.len()).map_or(0, blanks);
    match increment {
        0 => indent.max(column + 1),
        increment => column + increment,
    }
}

fn block(text: &str, folded: bool, column: usize) -> Zeroizing<String> {
    let Header { keep, increment, body, .. } = header(text);
    let mut decoded = Zeroizing::new(String::with_capacity(body.len() + 1));
    let mut indent = if increment > 0 { column + increment } else { 0 };
    let mut rest = body;
    // The break before the line that is being read, and the empty lines before it.
    let mut leading = "";
    let mut empty: Vec<&'static str> = Vec::new();
    let mut after_blank = false;
    loop {
        // Indentation and empty lines.
        let mut widest = 0;
        let mut at_column;
        loop {
            let limit = if indent == 0 { usize::MAX } else { indent };
            at_column = rest.bytes().take(limit).take_while(|it| *it == b' ').count();
            widest = widest.max(at_column);
            match line_break(&rest[at_column..]) {
                Some((n, stands_for)) => {
                    empty.push(stands_for);
                    rest = &rest[at_column + n..];
                }
                None => break,
            }
        }
        if indent == 0 {
            indent = widest.max(column + 1);
        }
        rest = &rest[at_column..];
        if at_column != indent || rest.is_empty() {
            break;
        }
        let starts_blank = rest.starts_with([' ', '\t']);
        if folded && leading == "\n" && !after_blank && !starts_blank {
            if empty.is_empty() {
                decoded.push(' ');
            }
        } else {
            decoded.push_str(leading);
        }
        empty.drain(..).for_each(|it| decoded.push_str(it));
        after_blank = starts_blank;
        let end = rest.find(BREAKS).unwrap_or(rest.len());
        decoded.push_str(&rest[..end]);
        rest = &rest[end..];
        leading = "";
        if let Some((n, stands_for)) = line_break(rest) {
            leading = stands_for;
            rest = &rest[n..];
        }
    }
    if keep != Some(false) {
        decoded.push_str(leading);
    }
    if keep == Some(true) {
        empty.drain(..).for_each(|it| decoded.push_str(it));
    }
    decoded
}
