//! Whole lines `key: value` at once: most of most files.

use super::reader::is_blank;
use super::{MAX_SIMPLE_KEY, Mark, Scanner, Token, TokenKind};
use crate::tree::{Span, Style};

/// True for characters that mean nothing but themselves wherever a plain scalar may have them.
pub(in crate::format::yaml) fn is_plainest(byte: u8) -> bool {
    PLAINEST[usize::from(byte)]
}

const PLAINEST: [bool; 256] = {
    let mut plainest = [false; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        plainest[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
        byte += 1;
    }
    plainest
};

impl Scanner<'_> {
    /// Takes a whole entry of the innermost block mapping at once, if it is of the plainest kind:
    /// `key: value` on one line, with no comment near. Returns key and value.
    ///
    /// Files are made of such lines, and this costs a fraction of what four tokens do.
    pub(in crate::format::yaml) fn take_plain_pair(&mut self) -> Option<(Span, Span)> {
        let column = usize::try_from(self.indent).ok()?;
        let at_entry = self.flow_level == 0
            && self.only_lf
            && self.tokens.is_empty()
            && self.comments.is_empty()
            && self.simple_key_allowed
            && self.pos == self.line_start + column
            && self.newlines > 0;
        if !at_entry || self.is_sign_near() {
            return None;
        }
        let rest = &self.source[self.pos..];
        let key = rest.iter().take(MAX_SIMPLE_KEY).take_while(|it| is_plainest(**it)).count();
        if key == 0 || rest.get(key) != Some(&b':') || rest.get(key + 1) != Some(&b' ') || rest[0] == b'-' {
            return None;
        }
        let value = key + 2;
        if !rest.get(value).is_some_and(|it| is_plainest(*it) && *it != b'-') {
            return None;
        }
        let line_end = value + memchr::memchr(b'\n', &rest[value..])?;
        let line = &rest[value..line_end];
        // Looking at every byte, without a way out in between, is faster than looking for the few colons.
        let ends_key = |found, (byte, next): (&u8, &u8)| found | ((*byte == b':') & is_blank(*next));
        let is_odd_at_end = line.last().is_some_and(|it| is_blank(*it) || *it == b':');
        if is_odd_at_end || line.iter().zip(&line[1..]).fold(false, ends_key) {
            return None;
        }
        // What follows must not go on with the value.
        let next = line_end + 1;
        let indent = rest[next..].iter().take(column + 1).take_while(|it| **it == b' ').count();
        if indent > column || rest.get(next + indent).is_none_or(|it| matches!(it, b'\n' | b'\t' | b'-' | b'.' | b'%'))
        {
            return None;
        }
        self.innermost_key().possible = false;
        let mark = |offset: usize| Mark { index: self.pos + offset, line: self.line, column: column + offset };
        let key = Span::new(self.pos, self.pos + key);
        let colon = Token { kind: TokenKind::Value, start: mark(value - 2), end: self.pos + value - 1 };
        let value = Token { kind: TokenKind::Scalar(Style::Plain), start: mark(value), end: self.pos + line_end };
        self.behind = [Some(colon), Some(value)];
        self.line += 1;
        self.line_start = self.pos + next;
        self.pos = self.line_start + indent;
        self.known = (self.pos, indent);
        self.newlines = 1;
        Some((key, value.span()))
    }
}
