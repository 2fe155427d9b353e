//! The reader: bytes, line breaks and columns of the text, and where in it the scanner is.

use super::{Mark, Scan, ScanError, Scanner};

/// True if nothing but line feeds breaks lines in a text.
pub(in crate::format::yaml) fn breaks_by_line_feed(source: &[u8]) -> bool {
    let is_in = |text: &str| memchr::memmem::find(source, text.as_bytes()).is_some();
    // Once over a text that has none, instead of once for each.
    let may_break = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | (*byte == b'\r') | (*byte >= 0x80));
    !source.chunks(256).any(may_break) || !["\r", "\u{85}", "\u{2028}", "\u{2029}"].into_iter().any(is_in)
}

pub(in crate::format::yaml) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn is_alpha(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

impl Scanner<'_> {
    pub(super) fn at(&self, pos: usize) -> u8 {
        self.source.get(pos).copied().unwrap_or(0)
    }

    pub(super) fn byte(&self) -> u8 {
        self.at(self.pos)
    }

    pub(super) fn is_z(&self, pos: usize) -> bool {
        pos >= self.source.len()
    }

    /// The length of the line break at `pos`; zero if there is none.
    fn break_len(&self, pos: usize) -> usize {
        match self.at(pos) {
            b'\n' => 1,
            b'\r' => 1 + usize::from(self.at(pos + 1) == b'\n'),
            0xC2 if self.at(pos + 1) == 0x85 => 2,
            0xE2 if self.at(pos + 1) == 0x80 && matches!(self.at(pos + 2), 0xA8 | 0xA9) => 3,
            _ => 0,
        }
    }

    pub(super) fn is_break(&self, pos: usize) -> bool {
        self.break_len(pos) > 0
    }

    pub(super) fn is_breakz(&self, pos: usize) -> bool {
        self.is_break(pos) || self.is_z(pos)
    }

    pub(super) fn is_blankz(&self, pos: usize) -> bool {
        is_blank(self.at(pos)) || self.is_breakz(pos)
    }

    /// The end of the line that `pos` is on.
    pub(super) fn line_end(&self, pos: usize) -> usize {
        if self.only_lf {
            return memchr::memchr(b'\n', &self.source[pos..]).map_or(self.source.len(), |it| pos + it);
        }
        let mut end = pos;
        while !self.is_breakz(end) {
            end += 1;
        }
        end
    }

    /// The place one character before `pos`.
    pub(super) fn before(&self, pos: usize) -> usize {
        let mut before = pos.saturating_sub(1);
        while self.at(before) & 0xC0 == 0x80 {
            before -= 1;
        }
        before
    }

    pub(super) fn column(&mut self) -> usize {
        let (pos, column) = self.known;
        let run = &self.source[pos..self.pos];
        let column = column + run.iter().filter(|it| **it & 0xC0 != 0x80).count();
        self.known = (self.pos, column);
        column
    }

    pub(super) fn mark(&mut self) -> Mark {
        Mark { index: self.pos, line: self.line, column: self.column() }
    }

    /// Steps over `n` bytes that are neither blank nor break.
    pub(super) fn skip(&mut self, n: usize) {
        self.newlines = 0;
        self.pos += n;
    }

    pub(super) fn skip_blanks(&mut self) {
        while is_blank(self.byte()) {
            self.pos += 1;
        }
    }

    /// Steps over the line break that is here.
    pub(super) fn skip_line(&mut self) {
        self.pos += self.break_len(self.pos);
        self.line += 1;
        self.line_start = self.pos;
        self.known = (self.pos, 0);
        self.newlines += 1;
    }

    pub(super) fn error<T>(&mut self, context: Option<Mark>, problem: &'static str) -> Scan<T> {
        Err(ScanError { problem, context, at: self.mark() })
    }
}
