//! Blocks and brackets: simple keys, indentation, and the indicators that open, close and part collections.

use super::{MAX_SIMPLE_KEY, Mark, Scan, Scanner, Side, SimpleKey, Token, TokenKind};

/// Nesting deeper than this is refused, as go-yaml does.
const MAX_DEPTH: usize = 10_000;

impl Scanner<'_> {
    /// True if the key at `index` may still become one.
    pub(super) fn check_simple_key(&mut self, index: usize) -> Scan<bool> {
        let key = self.simple_keys[index];
        if !key.possible {
            return Ok(false);
        }
        let run = &self.source[key.mark.index..self.pos];
        let too_far = run.len() > MAX_SIMPLE_KEY
            && run.iter().filter(|it| **it & 0xC0 != 0x80).take(MAX_SIMPLE_KEY + 1).count() > MAX_SIMPLE_KEY;
        if key.mark.line < self.line || too_far {
            if key.required {
                return self.error(Some(key.mark), "could not find expected ':'");
            }
            self.simple_keys[index].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn save_simple_key(&mut self) -> Scan<()> {
        if self.simple_key_allowed {
            let mark = self.mark();
            let required = self.flow_level == 0 && self.indent == mark.column as isize;
            self.remove_simple_key()?;
            let token = self.parsed + self.tokens.len();
            *self.innermost_key() = SimpleKey { possible: true, required, token, mark };
        }
        Ok(())
    }

    pub(super) fn remove_simple_key(&mut self) -> Scan<()> {
        let key = *self.innermost_key();
        if key.possible && key.required {
            return self.error(Some(key.mark), "could not find expected ':'");
        }
        self.innermost_key().possible = false;
        Ok(())
    }

    pub(super) fn innermost_key(&mut self) -> &mut SimpleKey {
        self.simple_keys.last_mut().expect("there is one for the block context and one for each flow level")
    }

    /// Opens a block collection at `column` if that is further in.
    fn roll_indent(&mut self, mark: Mark, token: Option<usize>, kind: TokenKind) -> Scan<()> {
        if self.flow_level > 0 || self.indent >= mark.column as isize {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = mark.column as isize;
        if self.indents.len() > MAX_DEPTH {
            return self.error(Some(mark), "exceeded max depth of 10000");
        }
        let token = token.unwrap_or(self.parsed + self.tokens.len());
        self.insert(token, kind, mark);
        Ok(())
    }

    /// Closes the block collections that are further in than `column`. A comment in the column of
    /// the closing block stays with what encloses it, so the end is moved before it.
    pub(super) fn unroll_indent(&mut self, column: isize, scan_index: usize) -> Scan<()> {
        if self.flow_level > 0 || self.indent <= column {
            return Ok(());
        }
        let mut end = Mark { index: self.before(scan_index), line: self.line, column: 0 };
        while self.indent > column {
            let mut stop = end.index;
            for comment in self.comments.iter().rev() {
                if comment.side == Side::Line || comment.end < stop {
                    break;
                }
                if comment.start.column as isize == self.indent + 1 {
                    end = comment.start;
                }
                stop = comment.scan;
            }
            self.tokens.push_back(Token { kind: TokenKind::BlockEnd, start: end, end: end.index });
            self.indent = self.indents.pop().expect("an indent for every block");
        }
        Ok(())
    }

    pub(super) fn fetch_stream_end(&mut self) -> Scan<()> {
        if self.column() != 0 {
            self.line += 1;
            self.line_start = self.pos;
            self.known = (self.pos, 0);
        }
        self.unroll_indent(-1, self.pos)?;
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark();
        self.push(TokenKind::StreamEnd, mark);
        Ok(())
    }

    pub(super) fn fetch_indicator(&mut self, kind: TokenKind) -> Scan<()> {
        let mark = self.mark();
        self.skip(1);
        self.push(kind, mark);
        Ok(())
    }

    pub(super) fn fetch_flow_start(&mut self, kind: TokenKind) -> Scan<()> {
        self.save_simple_key()?;
        let token = self.parsed + self.tokens.len();
        self.simple_keys.push(SimpleKey { token, ..SimpleKey::default() });
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            let mark = self.mark();
            return self.error(Some(mark), "exceeded max depth of 10000");
        }
        self.simple_key_allowed = true;
        self.fetch_indicator(kind)
    }

    pub(super) fn fetch_flow_end(&mut self, kind: TokenKind) -> Scan<()> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.fetch_indicator(kind)
    }

    /// Opens the block collection that an indicator here belongs to, unless it is open already. Inside
    /// brackets there is none to open.
    fn open_block(&mut self, kind: TokenKind, problem: &'static str) -> Scan<()> {
        if self.flow_level > 0 {
            return Ok(());
        }
        if !self.simple_key_allowed {
            return self.error(None, problem);
        }
        let mark = self.mark();
        self.roll_indent(mark, None, kind)
    }

    pub(super) fn fetch_block_entry(&mut self) -> Scan<()> {
        self.open_block(TokenKind::BlockSequenceStart, "block sequence entries are not allowed in this context")?;
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.fetch_indicator(TokenKind::BlockEntry)
    }

    pub(super) fn fetch_key(&mut self) -> Scan<()> {
        self.open_block(TokenKind::BlockMappingStart, "mapping keys are not allowed in this context")?;
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.fetch_indicator(TokenKind::Key)
    }

    pub(super) fn fetch_value(&mut self) -> Scan<()> {
        let innermost = self.simple_keys.len() - 1;
        if self.check_simple_key(innermost)? {
            let key = self.simple_keys[innermost];
            self.insert(key.token, TokenKind::Key, key.mark);
            self.roll_indent(key.mark, Some(key.token), TokenKind::BlockMappingStart)?;
            self.simple_keys[innermost].possible = false;
            self.simple_key_allowed = false;
        } else {
            self.open_block(TokenKind::BlockMappingStart, "mapping values are not allowed in this context")?;
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.fetch_indicator(TokenKind::Value)
    }
}
