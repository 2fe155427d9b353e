//! What is said about nodes and documents beside their content: anchors, tags, directives.

use super::reader::{is_alpha, is_blank};
use super::{Mark, Scan, Scanner, TokenKind};
use crate::tree::Span;

impl Scanner<'_> {
    pub(super) fn fetch_anchor(&mut self, kind: TokenKind) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        self.skip(1);
        let name = self.pos;
        while is_alpha(self.byte()) {
            self.pos += 1;
        }
        let ends = self.is_blankz(self.pos) || b"?:,]}%@`".contains(&self.byte());
        if self.pos == name || !ends {
            return self.error(Some(start), "did not find expected alphabetic or numeric character");
        }
        self.push(kind, start);
        Ok(())
    }

    pub(super) fn fetch_tag(&mut self) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        if self.at(self.pos + 1) == b'<' {
            self.skip(2);
            self.scan_uri(start, false)?;
            if self.byte() != b'>' {
                return self.error(Some(start), "did not find the expected '>'");
            }
            self.skip(1);
        } else {
            self.skip(1);
            while is_alpha(self.byte()) {
                self.pos += 1;
            }
            let named = self.byte() == b'!';
            if named {
                self.pos += 1;
            }
            // `!!` and `!name!` need something after them; `!` and `!name` may stand alone.
            self.scan_uri(start, !named)?;
        }
        if !self.is_blankz(self.pos) {
            return self.error(Some(start), "did not find expected whitespace or line break");
        }
        self.push(TokenKind::Tag, start);
        Ok(())
    }

    fn scan_uri(&mut self, start: Mark, may_be_empty: bool) -> Scan<()> {
        let from = self.pos;
        while is_alpha(self.byte()) || b";/?:@&=+$,.!~*'()[]%".contains(&self.byte()) {
            if self.byte() == b'%' {
                let hex = self.at(self.pos + 1).is_ascii_hexdigit() && self.at(self.pos + 2).is_ascii_hexdigit();
                if !hex {
                    return self.error(Some(start), "did not find URI escaped octet");
                }
            }
            self.pos += 1;
        }
        if self.pos == from && !may_be_empty {
            return self.error(Some(start), "did not find expected tag URI");
        }
        Ok(())
    }

    pub(super) fn fetch_directive(&mut self) -> Scan<()> {
        self.unroll_indent(-1, self.pos)?;
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark();
        self.skip(1);
        let name = self.pos;
        while is_alpha(self.byte()) {
            self.pos += 1;
        }
        if self.pos == name {
            return self.error(Some(start), "could not find expected directive name");
        }
        if !self.is_blankz(self.pos) {
            return self.error(Some(start), "found unexpected non-alphabetical character");
        }
        let kind = match &self.source[name..self.pos] {
            b"YAML" => TokenKind::VersionDirective,
            b"TAG" => TokenKind::TagDirective,
            _ => return self.error(Some(start), "found unknown directive name"),
        };
        self.skip_blanks();
        match kind {
            TokenKind::VersionDirective => self.scan_version(start)?,
            _ => self.scan_tag_directive(start)?,
        }
        self.push(kind, start);
        self.skip_blanks();
        if self.byte() == b'#' {
            let end = self.line_end(self.pos);
            self.stray.push(Span::new(self.pos, end));
            self.skip(end - self.pos);
        }
        if !self.is_breakz(self.pos) {
            return self.error(Some(start), "did not find expected comment or line break");
        }
        if self.is_break(self.pos) {
            self.skip_line();
        }
        Ok(())
    }

    fn scan_version(&mut self, start: Mark) -> Scan<()> {
        for part in 0..2 {
            let from = self.pos;
            while self.byte().is_ascii_digit() && self.pos < from + 3 {
                self.pos += 1;
            }
            match self.pos - from {
                0 => return self.error(Some(start), "did not find expected version number"),
                3 => return self.error(Some(start), "found extremely long version number"),
                _ => (),
            }
            if part == 0 {
                if self.byte() != b'.' {
                    return self.error(Some(start), "did not find expected digit or '.' character");
                }
                self.pos += 1;
            }
        }
        Ok(())
    }

    fn scan_tag_directive(&mut self, start: Mark) -> Scan<()> {
        if self.byte() != b'!' {
            return self.error(Some(start), "did not find expected '!'");
        }
        self.pos += 1;
        let name = self.pos;
        while is_alpha(self.byte()) {
            self.pos += 1;
        }
        if self.byte() == b'!' {
            self.pos += 1;
        } else if self.pos != name {
            return self.error(Some(start), "did not find expected '!'");
        }
        if !is_blank(self.byte()) {
            return self.error(Some(start), "did not find expected whitespace");
        }
        self.skip_blanks();
        self.scan_uri(start, false)?;
        if !self.is_blankz(self.pos) {
            return self.error(Some(start), "did not find expected whitespace or line break");
        }
        Ok(())
    }
}
