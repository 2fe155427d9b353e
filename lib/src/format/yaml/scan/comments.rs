//! Blanks and comments between tokens, and which token a comment belongs to.

use super::reader::is_blank;
use super::{Comment, Lines, Mark, Scan, Scanner, Side, TokenKind};
use crate::tree::Span;

/// How far blanks are skipped in search of a comment, as go-yaml does.
const MAX_PEEK: usize = 512;

impl Scanner<'_> {
    pub(super) fn scan_to_next_token(&mut self) -> Scan<()> {
        let scan = self.mark();
        loop {
            while self.byte() == b' ' || (self.byte() == b'\t' && (self.flow_level > 0 || !self.simple_key_allowed)) {
                self.pos += 1;
            }
            self.turn_line_comment_into_head();
            if self.byte() == b'#' {
                self.scan_comments(scan);
            }
            if !self.is_break(self.pos) {
                return Ok(());
            }
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    /// A comment behind the first `-` of a list says something about what follows the `-`.
    fn turn_line_comment_into_head(&mut self) {
        if self.comments.is_empty() {
            return;
        }
        let kinds = (self.last(2).map(|it| it.kind), self.last(1).map(|it| it.kind));
        if kinds != (Some(TokenKind::BlockSequenceStart), Some(TokenKind::BlockEntry)) || self.is_break(self.pos) {
            return;
        }
        let mark = self.mark();
        if let Some(comment) = self.comments.back_mut().filter(|it| it.side == Side::Line) {
            comment.side = Side::Head;
            if comment.start.line + 1 == mark.line {
                comment.token = mark.index;
            }
        }
    }

    /// Takes a comment that follows on the line of a token.
    pub(super) fn scan_line_comment(&mut self, token: usize) {
        if self.newlines > 0 {
            return;
        }
        let blanks = self.source[self.pos..].iter().take(MAX_PEEK).take_while(|it| is_blank(**it)).count();
        if blanks == MAX_PEEK || self.at(self.pos + blanks) != b'#' {
            return;
        }
        self.pos += blanks;
        let start = self.mark();
        self.skip(0);
        self.pos = self.line_end(self.pos);
        let lines = vec![Span::new(start.index, self.pos)];
        self.comments.push_back(Comment { scan: 0, token, start, end: 0, side: Side::Line, lines });
    }

    fn push_foot(&mut self, scan: usize, token: usize, start: Mark, end: usize, lines: Lines) {
        self.comments.push_back(Comment { scan, token, start, end, side: Side::Foot, lines });
    }

    /// Takes the comments that stand on lines of their own from here on, and decides for each run
    /// of them whether it is the foot of what came or the head of what comes.
    fn scan_comments(&mut self, scan: Mark) {
        let mut token = self.last(1).expect("the stream has started");
        if token.kind == TokenKind::FlowEntry {
            token = self.last(2).unwrap_or(token);
        }
        let mut scan_index = scan.index;
        let mut token_index = token.start.index;
        let mut start = Mark::default();
        let next_indent = self.indent.max(0) as usize;

        let mut recent_empty = false;
        let mut first_empty = self.newlines <= 1;
        let mut line = self.line;
        let mut column = self.column();
        let mut lines: Lines = Vec::new();

        // Where a comment must start to be the foot of what came: the line below it.
        let mut foot_line = None;
        if scan.line > 0 {
            let below = self.line + 1 - self.newlines;
            foot_line = Some(below + usize::from(self.newlines == 0 && column > 1));
        }

        let mut peek = 0;
        while peek < MAX_PEEK {
            let at = self.pos + peek;
            column += 1;
            if is_blank(self.at(at)) {
                peek += 1;
                continue;
            }
            let byte = self.at(at);
            let closes = self.flow_level > 0 && matches!(byte, b']' | b'}');
            if closes || self.is_breakz(at) {
                if closes || !recent_empty {
                    let is_foot = Some(start.line) == foot_line && token.kind != TokenKind::Value;
                    let dedented = start.column < next_indent + 1;
                    if closes || (first_empty && (is_foot || dedented)) {
                        if !lines.is_empty() {
                            if dedented {
                                token_index = start.index;
                            }
                            self.push_foot(scan_index, token_index, start, at, std::mem::take(&mut lines));
                            (scan_index, token_index) = (at, at);
                        }
                    } else if !lines.is_empty() && !self.is_z(at) {
                        lines.push(Span::new(at, at));
                    }
                }
                if !self.is_break(at) {
                    break;
                }
                first_empty = false;
                recent_empty = true;
                column = 0;
                line += 1;
                peek += 1;
                continue;
            }
            if !lines.is_empty() && column < next_indent + 1 && column != start.column {
                self.push_foot(scan_index, token_index, start, at, std::mem::take(&mut lines));
                (scan_index, token_index) = (at, at);
            }
            if byte != b'#' {
                break;
            }
            if lines.is_empty() {
                start = Mark { index: at, line, column };
            }
            recent_empty = false;
            while self.pos < at {
                match self.is_break(self.pos) {
                    true => self.skip_line(),
                    false => self.pos += 1,
                }
            }
            self.skip(0);
            self.pos = self.line_end(at);
            lines.push(Span::new(at, self.pos));
            // The search goes on behind the first byte of the line break.
            peek = 1;
            column = 0;
            line = self.line;
        }
        if !lines.is_empty() {
            self.comments.push_back(Comment {
                scan: scan_index,
                token: start.index,
                start,
                end: self.pos + peek - 1,
                side: Side::Head,
                lines,
            });
        }
    }
}
