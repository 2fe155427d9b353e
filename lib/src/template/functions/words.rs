//! Texts as words: case, wrapping, abbreviation.

use super::{Answer, Call, Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("abbrev", 2, |call| {
        let (width, text) = (call.int(0)?, call.text(1)?);
        Ok(Value::bytes(if width < 4 { text.to_vec() } else { abbreviate(&text, 0, width) }))
    }),
    exactly("abbrevboth", 3, |call| {
        let (left, right, text) = (call.int(0)?, call.int(1)?, call.text(2)?);
        if right < 4 || left > 0 && right < 7 {
            return Ok(Value::Text(text));
        }
        if left < 0 {
            return Err(super::Fault::new("a negative offset"));
        }
        Ok(Value::bytes(abbreviate(&text, left, right)))
    }),
    exactly("camelcase", 1, |call| Ok(Value::text(pascal(&call.text(0)?.lossy())))),
    exactly("initials", 1, |call| {
        // Bytes taken for characters, as goutils does.
        let mut after_gap = true;
        let mut out = String::new();
        for byte in call.text(0)?.iter() {
            let c = char::from(*byte);
            let gap = c.is_whitespace();
            if !gap && after_gap {
                out.push(c);
            }
            after_gap = gap;
        }
        Ok(Value::text(out))
    }),
    exactly("kebabcase", 1, |call| Ok(Value::text(separated(&call.text(0)?.lossy(), '-')))),
    exactly("lower", 1, |call| Ok(Value::text(map_chars(&call.text(0)?.lossy(), to_lower)))),
    exactly("nospace", 1, |call| {
        let text = call.text(0)?;
        let is_space = |byte: &u8| char::from(*byte).is_whitespace();
        Ok(match text.iter().any(is_space) {
            true => Value::text(text.iter().filter(|it| !is_space(it)).map(|it| char::from(*it)).collect::<String>()),
            false => Value::Text(text),
        })
    }),
    exactly("snakecase", 1, |call| Ok(Value::text(separated(&call.text(0)?.lossy(), '_')))),
    exactly("swapcase", 1, |call| {
        let mut after_space = true;
        Ok(Value::text(map_chars(&call.text(0)?.lossy(), |c| {
            if c.is_uppercase() || is_title(c) {
                after_space = false;
                to_lower(c)
            } else if c.is_lowercase() {
                after_space = false;
                to_upper(c)
            } else {
                after_space = c.is_whitespace();
                c
            }
        })))
    }),
    exactly("title", 1, |call| {
        let mut before = ' ';
        Ok(Value::text(map_chars(&call.text(0)?.lossy(), |c| {
            let starts = is_separator(before);
            before = c;
            if starts { to_upper(c) } else { c }
        })))
    }),
    exactly("untitle", 1, |call| {
        let mut starts = true;
        Ok(Value::text(map_chars(&call.text(0)?.lossy(), |c| {
            let was = std::mem::replace(&mut starts, c.is_whitespace());
            if was && !c.is_whitespace() { to_lower(c) } else { c }
        })))
    }),
    exactly("upper", 1, |call| Ok(Value::text(map_chars(&call.text(0)?.lossy(), to_upper)))),
    exactly("wrap", 2, |call| {
        let (width, text) = (call.int(0)?, call.text(1)?);
        wrap(call, &text, width, b"\n", false)
    }),
    exactly("wrapWith", 3, |call| {
        let (width, separator, text) = (call.int(0)?, call.text(1)?, call.text(2)?);
        wrap(call, &text, width, if separator.is_empty() { b"\n" } else { &separator }, true)
    }),
];

fn map_chars(text: &str, map: impl FnMut(char) -> char) -> String {
    text.chars().map(map).collect()
}

/// One character for one, as Go's `unicode.ToUpper`: what would become several stays.
fn to_upper(c: char) -> char {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

fn to_lower(c: char) -> char {
    let mut all = c.to_lowercase();
    match (all.next(), all.next()) {
        (Some(lower), None) => lower,
        // The one letter of this kind: U+0130, whose simple mapping is a plain i.
        _ => {
            if c == '\u{130}' {
                'i'
            } else {
                c
            }
        }
    }
}

fn is_title(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

/// As Go's `strings.isSeparator`.
fn is_separator(c: char) -> bool {
    match c {
        '_' => false,
        c if c.is_ascii() => !c.is_ascii_alphanumeric(),
        c if c.is_alphanumeric() => false,
        c => c.is_whitespace(),
    }
}

fn abbreviate(text: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let len = text.len() as i64;
    if text.is_empty() || len <= width {
        return text.to_vec();
    }
    let offset = offset.min(len).min(len - (width - 3)).max(0);
    let offset = if offset > len { len } else { offset };
    if offset <= 4 {
        return [&text[..(width - 3) as usize], b"..."].concat();
    }
    if offset + width - 3 < len {
        return [b"...".to_vec(), abbreviate(&text[offset as usize..], 0, width - 3)].concat();
    }
    [b"...", &text[(len - (width - 3)) as usize..]].concat()
}

fn wrap(call: &mut Call<'_, '_>, text: &[u8], width: i64, separator: &[u8], breaks_words: bool) -> Answer {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let mut out = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        call.budget.step(1)?;
        if rest[0] == b' ' {
            rest = &rest[1..];
            continue;
        }
        let space = match memchr::memrchr(b' ', &rest[..=width]) {
            None if !breaks_words => match memchr::memchr(b' ', &rest[width..]) {
                Some(at) => Some(width + at),
                None => break,
            },
            found => found,
        };
        let (line, skip) = space.map_or((width, width), |at| (at, at + 1));
        call.allocate(line + separator.len())?;
        out.extend_from_slice(&rest[..line]);
        out.extend_from_slice(separator);
        rest = &rest[skip..];
    }
    out.extend_from_slice(rest);
    Ok(Value::bytes(out))
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// As xstrings' `ToPascalCase`.
fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut current = None;
    let mut first_was_upper = false;
    for c in chars.by_ref() {
        if !is_connector(c) {
            first_was_upper = c.is_uppercase();
            current = Some(to_upper(c));
            break;
        }
        out.push(c);
        current = Some(c);
    }
    let Some(mut current) = current else { return out };
    if chars.peek().is_none() {
        // What xstrings does when nothing follows the first word's first letter: after connectors alone,
        // the last of them is written twice.
        out.push(current);
        return out;
    }
    for c in chars {
        let before = std::mem::replace(&mut current, c);
        if is_connector(c) && is_connector(before) {
            out.push(before);
        } else if is_connector(before) {
            first_was_upper = c.is_uppercase();
            current = to_upper(c);
        } else {
            if first_was_upper {
                if c.is_uppercase() {
                    current = to_lower(c);
                } else {
                    first_was_upper = false;
                }
            }
            out.push(before);
        }
    }
    out.push(current);
    out
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Word {
    Invalid,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// Go's `unicode.IsPunct` for ASCII, and the common marks beyond it.
fn is_punctuation(c: char) -> bool {
    match c {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        c if c.is_ascii() => c.is_ascii_punctuation(),
        '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{b6}' | '\u{b7}' | '\u{bb}' | '\u{bf}' => true,
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' => {
            !matches!(c, '\u{2044}' | '\u{2052}')
        }
        _ => false,
    }
}

/// As xstrings' `isAlphabet`: letters that have a case.
fn is_alphabet(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// As xstrings' `nextWord`.
fn next_word(text: &str) -> (Word, &str, &str) {
    let Some(first) = text.chars().next() else { return (Word::Invalid, "", "") };
    let first_len = first.len_utf8();
    let run = |from: usize, accept: &dyn Fn(char) -> bool| -> usize {
        from + text[from..].chars().take_while(|c| accept(*c)).map(char::len_utf8).sum::<usize>()
    };
    let lower = |c: char| is_alphabet(c) && !c.is_uppercase();
    let (kind, end) = if first == '\u{fffd}' {
        (Word::Invalid, first_len)
    } else if is_connector(first) {
        (Word::Connector, run(0, &is_connector))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(0, &is_punctuation))
    } else if first.is_uppercase() {
        let uppers = run(0, &char::is_uppercase);
        let next = text[uppers..].chars().next();
        let end = if uppers > first_len {
            match next {
                Some(c) if is_alphabet(c) => uppers - text[..uppers].chars().next_back().map_or(0, char::len_utf8),
                _ => uppers,
            }
        } else {
            run(first_len, &lower)
        };
        (Word::Upper, end)
    } else if is_alphabet(first) {
        (Word::Alphabet, run(0, &lower))
    } else if first.is_numeric() {
        (Word::Number, run(0, &char::is_numeric))
    } else {
        let other = |c: char| !(is_connector(c) || is_alphabet(c) || c.is_numeric() || is_punctuation(c));
        (Word::Other, run(0, &other))
    };
    (kind, &text[..end], &text[end..])
}

/// As xstrings' `camelCaseToLowerCase`.
fn separated(text: &str, connector: char) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let write = |out: &mut String, kind: Word, word: &str| match kind {
        Word::Upper => out.extend(word.chars().map(to_lower)),
        Word::Connector => out.extend(word.chars().map(|_| connector)),
        _ => out.push_str(word),
    };
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Word::Connector {
            write(&mut out, kind, word);
        }
        let (before, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match before {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    write(&mut out, kind, word);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::Invalid | Word::Punctuation | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => write(&mut out, before, last),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word, rest) = next_word(rest);
                if kind != Word::Alphabet {
                    write(&mut out, Word::Number, number);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                write(&mut out, Word::Number, number);
                while matches!(kind, Word::Alphabet | Word::Number) {
                    write(&mut out, kind, word);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::Invalid | Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
        }
    }
    write(&mut out, kind, word);
    out
}
