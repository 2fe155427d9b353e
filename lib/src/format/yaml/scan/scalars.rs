//! Scalars: plain, in quotes, in blocks. Where they end is found out here, not what they mean.

use super::reader::is_blank;
use super::{Mark, Scan, Scanner, Token, TokenKind};
use crate::tree::Style;

impl Scanner<'_> {
    pub(super) fn fetch_plain(&mut self) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        let indent = self.indent + 1;
        let mut end = self.pos;
        let mut broke = false;
        loop {
            if self.pos == self.line_start
                && matches!(self.byte(), b'-' | b'.')
                && self.is_document_indicator(self.byte())
            {
                break;
            }
            if self.byte() == b'#' {
                break;
            }
            let run = self.plain_run();
            if run > self.pos {
                self.skip(0);
                self.pos = run;
                end = run;
                broke = false;
            }
            if !(is_blank(self.byte()) || self.is_break(self.pos)) {
                break;
            }
            // Blanks and breaks: they belong to the scalar only if more of it follows.
            loop {
                if is_blank(self.byte()) {
                    if broke && self.byte() == b'\t' && (self.column() as isize) < indent {
                        return self.error(Some(start), "found a tab character that violates indentation");
                    }
                    self.pos += 1;
                } else if self.is_break(self.pos) {
                    self.skip_line();
                    broke = true;
                } else {
                    break;
                }
            }
            if self.flow_level == 0 && (self.column() as isize) < indent {
                break;
            }
        }
        self.tokens.push_back(Token { kind: TokenKind::Scalar(Style::Plain), start, end });
        if broke {
            self.simple_key_allowed = true;
        }
        Ok(())
    }

    /// The end of the run of plain characters that starts here: it may hold single blanks, none at
    /// its end.
    fn plain_run(&self) -> usize {
        if self.flow_level == 0 && self.only_lf {
            return self.plain_run_in_block();
        }
        let mut pos = self.pos;
        while !self.is_blankz(pos) {
            let byte = self.at(pos);
            let ends = (byte == b':' && self.is_blankz(pos + 1))
                || (self.flow_level > 0 && matches!(byte, b',' | b'?' | b'[' | b']' | b'{' | b'}'));
            if ends {
                break;
            }
            pos += 1;
        }
        pos
    }

    /// As [`plain_run`](Self::plain_run), a line at a time.
    fn plain_run_in_block(&self) -> usize {
        let rest = &self.source[self.pos..];
        let mut end = rest.len();
        for at in memchr::memchr3_iter(b':', b'#', b'\n', rest) {
            let stops = match rest[at] {
                b'\n' => true,
                b':' => rest.get(at + 1).is_none_or(|it| matches!(it, b' ' | b'\t' | b'\n')),
                _ => at > 0 && is_blank(rest[at - 1]),
            };
            if stops {
                end = at;
                break;
            }
        }
        while end > 0 && is_blank(rest[end - 1]) {
            end -= 1;
        }
        self.pos + end
    }

    pub(super) fn fetch_quoted(&mut self, style: Style) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        let quote = if style == Style::Single { b'\'' } else { b'"' };
        self.skip(1);
        loop {
            if self.pos == self.line_start
                && matches!(self.byte(), b'-' | b'.')
                && self.is_document_indicator(self.byte())
            {
                return self.error(Some(start), "found unexpected document indicator");
            }
            let from = self.pos;
            self.pos = self.quoted_run(quote);
            if self.pos > from {
                self.newlines = 0;
            }
            if self.is_z(self.pos) {
                return self.error(Some(start), "found unexpected end of stream");
            }
            match self.byte() {
                it if it == quote && quote == b'\'' && self.at(self.pos + 1) == b'\'' => self.skip(2),
                it if it == quote => break,
                b'\\' if quote == b'"' => self.scan_escape(start)?,
                _ => self.skip_line(),
            }
        }
        self.skip(1);
        self.push(TokenKind::Scalar(style), start);
        Ok(())
    }

    /// The next place in a quoted scalar where something happens: a quote, an escape, a break.
    fn quoted_run(&self, quote: u8) -> usize {
        let rest = &self.source[self.pos..];
        let found = match (self.only_lf, quote) {
            (true, b'\'') => memchr::memchr2(b'\'', b'\n', rest),
            (true, _) => memchr::memchr3(b'"', b'\\', b'\n', rest),
            (false, _) => (0..rest.len())
                .find(|it| rest[*it] == quote || (quote == b'"' && rest[*it] == b'\\') || self.is_break(self.pos + it)),
        };
        self.pos + found.unwrap_or(rest.len())
    }

    fn scan_escape(&mut self, start: Mark) -> Scan<()> {
        if self.is_break(self.pos + 1) {
            self.skip(1);
            self.skip_line();
            return Ok(());
        }
        let digits = match self.at(self.pos + 1) {
            b'0' | b'a' | b'b' | b't' | b'\t' | b'n' | b'v' | b'f' | b'r' | b'e' | b' ' | b'"' | b'\'' | b'\\'
            | b'N' | b'_' | b'L' | b'P' => 0,
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => return self.error(Some(start), "found unknown escape character"),
        };
        self.skip(2);
        let mut code = 0u32;
        for _ in 0..digits {
            let Some(digit) = char::from(self.byte()).to_digit(16) else {
                return self.error(Some(start), "did not find expected hexdecimal number");
            };
            code = (code << 4) | digit;
            self.pos += 1;
        }
        if digits > 0 && char::from_u32(code).is_none() {
            return self.error(Some(start), "found invalid Unicode character escape code");
        }
        Ok(())
    }

    pub(super) fn fetch_block_scalar(&mut self, style: Style) -> Scan<()> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        let start = self.mark();
        self.skip(1);
        let mut keep = None;
        let mut increment = 0;
        for _ in 0..2 {
            match self.byte() {
                it @ (b'+' | b'-') if keep.is_none() => keep = Some(it == b'+'),
                b'0' => return self.error(Some(start), "found an indentation indicator equal to 0"),
                it @ b'1'..=b'9' if increment == 0 => increment = usize::from(it - b'0'),
                _ => break,
            }
            self.pos += 1;
        }
        let mut end = self.pos;
        self.skip_blanks();
        if self.byte() == b'#' {
            self.scan_line_comment(start.index);
            self.pos = self.line_end(self.pos);
            end = self.pos;
        }
        if !self.is_breakz(self.pos) {
            return self.error(Some(start), "did not find expected comment or line break");
        }
        if self.is_break(self.pos) {
            self.skip_line();
        }
        let mut indent = match increment {
            0 => 0,
            _ => self.indent.max(0) as usize + increment,
        };
        // The blank lines before the text, and between its lines, are its own; those after it are
        // only if it keeps them.
        let mut after = self.scan_block_breaks(&mut indent, start)?;
        while self.pos - self.line_start == indent && !self.is_z(self.pos) {
            end = self.line_end(self.pos);
            self.skip_blanks();
            if self.pos < end {
                self.skip(end - self.pos);
            }
            if self.is_break(self.pos) {
                self.skip_line();
            }
            after = self.scan_block_breaks(&mut indent, start)?;
        }
        if keep == Some(true) && after > end {
            end = after;
        }
        self.tokens.push_back(Token { kind: TokenKind::Scalar(style), start, end });
        Ok(())
    }

    /// Steps over indentation and empty lines; finds out the indentation if it is not known.
    /// Returns where the last of the empty lines ends, before its break.
    fn scan_block_breaks(&mut self, indent: &mut usize, start: Mark) -> Scan<usize> {
        let mut widest = 0;
        let mut last = 0;
        loop {
            while (*indent == 0 || self.pos - self.line_start < *indent) && self.byte() == b' ' {
                self.pos += 1;
            }
            let column = self.pos - self.line_start;
            widest = widest.max(column);
            if (*indent == 0 || column < *indent) && self.byte() == b'\t' {
                return self.error(Some(start), "found a tab character where an indentation space is expected");
            }
            if !self.is_break(self.pos) {
                break;
            }
            last = self.pos;
            self.skip_line();
        }
        if *indent == 0 {
            *indent = widest.max((self.indent + 1) as usize).max(1);
        }
        Ok(last)
    }
}
