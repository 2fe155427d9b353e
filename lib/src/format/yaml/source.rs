//! The bytes of a file as text.

use zeroize::Zeroizing;

use super::error;
use crate::format::ParseError;
use crate::tree::Encoding;

/// The text of a file: UTF-8, whose bytes are taken over, or UTF-16 with its mark.
pub(super) fn decode_source(source: &mut Vec<u8>) -> Result<Zeroizing<String>, ParseError> {
    if source.len() >= u32::MAX as usize {
        return Err(error("the file is larger than 4 GiB".to_owned(), 0, 0));
    }
    match Encoding::of(source) {
        Encoding::Utf16Le => decode_utf16(&source[2..], u16::from_le_bytes),
        Encoding::Utf16Be => decode_utf16(&source[2..], u16::from_be_bytes),
        Encoding::Utf8 => match String::from_utf8(std::mem::take(source)) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(it) => {
                let problem = it.utf8_error();
                *source = it.into_bytes();
                let (line, column) = end_of(&source[..problem.valid_up_to()]);
                let what = match source[problem.valid_up_to()] {
                    0x80..=0xBF | 0xF8.. => "invalid leading UTF-8 octet",
                    _ if problem.error_len().is_none() => "incomplete UTF-8 octet sequence",
                    _ => "invalid trailing UTF-8 octet",
                };
                Err(error(format!("yaml: {what}"), line, column))
            }
        },
    }
}

/// Refuses control characters, as go-yaml does.
pub(super) fn check_characters(text: &str) -> Result<(), ParseError> {
    let is_control = |byte: u8| (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    let is_odd = |byte: u8| is_control(byte) | (byte >= 0x7F);
    // A chunk at a time, without a way out in between, is what the machine does fastest.
    let has_odd = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | is_odd(*byte));
    let may_be_refused = text.as_bytes().chunks(256).any(has_odd);
    let is_refused = |c: char| {
        matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
            | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.starts_with("\u{feff}\u{feff}") {
        // go-yaml loses the first character of the lines after this.
        return Err(error("yaml: the text starts with two byte order marks".to_owned(), 1, 1));
    }
    if may_be_refused && let Some(at) = text.find(is_refused) {
        let (line, column) = end_of(&text.as_bytes()[..at]);
        return Err(error("yaml: control characters are not allowed".to_owned(), line, column));
    }
    Ok(())
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, ParseError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(error("yaml: incomplete UTF-16 character".to_owned(), 0, 0));
    }
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 3 / 2));
    for c in char::decode_utf16(pairs.iter().map(|it| unit(*it))) {
        text.push(c.map_err(|_| error("yaml: expected low surrogate area".to_owned(), 0, 0))?);
    }
    Ok(text)
}

/// Line and column of what comes after `before`.
fn end_of(before: &[u8]) -> (usize, usize) {
    let line = memchr::memrchr(b'\n', before).map_or(0, |it| it + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, String::from_utf8_lossy(&before[line..]).chars().count() + 1)
}
