//! YAML text → tokens and comments, with the reach and the reading of go-yaml v3.
//!
//! What a file means to SOPS is what go-yaml makes of it, also where the YAML specification says
//! otherwise, and go-yaml's attachment of comments depends on how far its scanner looks ahead. So
//! the order of tokens, the lookahead and the comment bookkeeping follow that scanner; the text is
//! read by line and by run of bytes instead of by character, and no scalar is copied.

mod comments;
mod pair;
mod properties;
mod reader;
mod scalars;
mod structure;

use std::collections::VecDeque;

pub(super) use self::pair::is_plainest;
pub(super) use self::reader::{breaks_by_line_feed, is_blank};
use crate::tree::{Span, Style};

/// How far a simple key may be from its colon, in characters.
const MAX_SIMPLE_KEY: usize = 1024;

/// A place: byte offset, line and column in characters, all from zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenKind {
    StreamStart,
    StreamEnd,
    VersionDirective,
    TagDirective,
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias,
    Anchor,
    Tag,
    Scalar(Style),
}

/// One token: its kind and its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: Mark,
    /// The byte after the token.
    pub(super) end: usize,
}

impl Token {
    /// The text of the token.
    pub(super) fn span(&self) -> Span {
        Span::new(self.start.index, self.end)
    }
}

/// The lines of a comment, each with its sign. An empty span is an empty line.
pub(super) type Lines = Vec<Span>;

/// On which side of a token a comment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Head,
    Line,
    Foot,
}

/// A comment, waiting for its token.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// Where the search that found it began.
    scan: usize,
    /// It belongs to the first token that starts here or later.
    pub(super) token: usize,
    /// Where it starts; the column counts from one, but for comments at the end of a line.
    start: Mark,
    end: usize,
    pub(super) side: Side,
    pub(super) lines: Lines,
}

/// Text that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct ScanError {
    pub(super) problem: &'static str,
    /// Where the construct began.
    pub(super) context: Option<Mark>,
    /// Where reading stopped.
    pub(super) at: Mark,
}

type Scan<T> = Result<T, ScanError>;

#[derive(Clone, Copy, Debug, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    /// The number of the token that would be the key.
    token: usize,
    mark: Mark,
}

/// Reads tokens off a text.
pub(super) struct Scanner<'s> {
    source: &'s [u8],
    pos: usize,
    line: usize,
    line_start: usize,
    /// A place on this line whose column is known, so that columns cost nothing on long lines.
    known: (usize, usize),
    /// The number of line breaks since the last character that is no blank.
    newlines: usize,
    /// The queue, and the number of its first token.
    tokens: VecDeque<Token>,
    parsed: usize,
    available: bool,
    /// The column of the innermost block collection; -1 outside of all.
    indent: isize,
    indents: Vec<isize>,
    flow_level: usize,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    /// Comments that no token has taken yet.
    pub(super) comments: VecDeque<Comment>,
    /// Comments on the lines of directives, which belong to nothing.
    pub(super) stray: Lines,
    /// The last two tokens that were taken, for looking back.
    behind: [Option<Token>; 2],
    /// Where the next comment sign is, and up to where nothing else matters for the token before it.
    next_sign: usize,
    near: (usize, usize),
    /// Only `\n` breaks lines in this text, so runs may be searched for it.
    only_lf: bool,
    stream_started: bool,
}

impl<'s> Scanner<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let source = source.as_bytes();
        let start = if source.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        Self {
            source,
            pos: start,
            line: 0,
            line_start: start,
            known: (start, 0),
            newlines: 0,
            tokens: VecDeque::new(),
            parsed: 0,
            available: false,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            comments: VecDeque::new(),
            stray: Lines::new(),
            behind: [None; 2],
            next_sign: memchr::memchr(b'#', source).unwrap_or(usize::MAX),
            near: (usize::MAX, 0),
            only_lf: breaks_by_line_feed(source),
            stream_started: false,
        }
    }

    /// The next token, without taking it.
    pub(super) fn peek(&mut self) -> Scan<Token> {
        if !self.available {
            self.fetch_more()?;
        }
        Ok(self.tokens[0])
    }

    /// Takes the next token, which was peeked at.
    pub(super) fn take(&mut self) {
        self.available = false;
        self.parsed += 1;
        let token = self.tokens.pop_front();
        self.behind = [self.behind[1], token];
    }

    /// The end of the token that was taken last.
    pub(super) fn taken(&self) -> usize {
        self.behind[1].map_or(0, |it| it.end)
    }

    /// The `n`th last token that was queued, taken or not.
    fn last(&self, n: usize) -> Option<Token> {
        match self.tokens.len().checked_sub(n) {
            Some(index) => Some(self.tokens[index]),
            None => self.behind[2 - (n - self.tokens.len())],
        }
    }

    fn insert(&mut self, token: usize, kind: TokenKind, mark: Mark) {
        self.tokens.insert(token - self.parsed, Token { kind, start: mark, end: mark.index });
    }

    fn push(&mut self, kind: TokenKind, start: Mark) {
        self.tokens.push_back(Token { kind, start, end: self.pos });
    }

    /// True if a comment sign stands on this line or the next one: further away, a comment has
    /// nothing to say about the tokens that are queued.
    fn is_sign_near(&mut self) -> bool {
        if self.next_sign < self.pos {
            let rest = &self.source[self.pos..];
            self.next_sign = memchr::memchr(b'#', rest).map_or(usize::MAX, |it| self.pos + it);
        }
        if self.next_sign == usize::MAX || !self.only_lf {
            return self.next_sign != usize::MAX;
        }
        if self.near.0 != self.line {
            let end = self.line_end(self.pos);
            self.near = (self.line, self.line_end((end + 1).min(self.source.len())));
        }
        self.next_sign < self.near.1
    }

    /// Queues tokens until the first one cannot change any more. Comments need two more: a foot
    /// must be known before its token is used, and a line comment may turn out to be a head.
    fn fetch_more(&mut self) -> Scan<()> {
        loop {
            if self.tokens.len() > 2 || (!self.tokens.is_empty() && !self.is_sign_near()) {
                let head = self.parsed;
                // Deeper levels have later keys, so the search ends soon.
                let keys = self.simple_keys.iter().enumerate().rev().take_while(|(_, it)| it.token >= head);
                let Some(index) = keys.filter(|(_, it)| it.possible && it.token == head).map(|(index, _)| index).next()
                else {
                    break;
                };
                if !self.check_simple_key(index)? {
                    break;
                }
            }
            if self.tokens.back().is_some_and(|it| it.kind == TokenKind::StreamEnd) {
                break;
            }
            self.fetch_next()?;
        }
        self.available = true;
        Ok(())
    }

    fn fetch_next(&mut self) -> Scan<()> {
        if !self.stream_started {
            self.stream_started = true;
            let mark = self.mark();
            self.push(TokenKind::StreamStart, mark);
            return Ok(());
        }
        let scan_index = self.pos;
        self.scan_to_next_token()?;
        let column = self.column();
        self.unroll_indent(column as isize, scan_index)?;
        if self.is_z(self.pos) {
            return self.fetch_stream_end();
        }
        let byte = self.byte();
        if column == 0 {
            if byte == b'%' {
                return self.fetch_directive();
            }
            if matches!(byte, b'-' | b'.') && self.is_document_indicator(byte) {
                let kind = if byte == b'-' { TokenKind::DocumentStart } else { TokenKind::DocumentEnd };
                self.unroll_indent(-1, self.pos)?;
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                let mark = self.mark();
                self.skip(3);
                self.push(kind, mark);
                return Ok(());
            }
        }
        let mut comment_token = self.pos;
        if (self.flow_level == 0 && byte == b':') || (self.flow_level > 0 && byte == b',') {
            // What follows on the line is about the token before.
            if let Some(token) = self.last(1) {
                comment_token = token.start.index;
            }
        }
        self.fetch_content(byte)?;
        // A lone `-` has no comment of its own: it is the head of what follows.
        if self.next_sign != usize::MAX && self.last(1).is_some_and(|it| it.kind != TokenKind::BlockEntry) {
            self.scan_line_comment(comment_token);
        }
        Ok(())
    }

    fn fetch_content(&mut self, byte: u8) -> Scan<()> {
        let in_flow = self.flow_level > 0;
        let blank_follows = self.is_blankz(self.pos + 1);
        match byte {
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.fetch_indicator(TokenKind::FlowEntry)
            }
            b'-' if blank_follows => self.fetch_block_entry(),
            b'?' if in_flow || blank_follows => self.fetch_key(),
            b':' if in_flow || blank_follows => self.fetch_value(),
            b'*' => self.fetch_anchor(TokenKind::Alias),
            b'&' => self.fetch_anchor(TokenKind::Anchor),
            b'!' => self.fetch_tag(),
            b'|' if !in_flow => self.fetch_block_scalar(Style::Literal),
            b'>' if !in_flow => self.fetch_block_scalar(Style::Folded),
            b'\'' => self.fetch_quoted(Style::Single),
            b'"' => self.fetch_quoted(Style::Double),
            b'-' if !is_blank(self.at(self.pos + 1)) => self.fetch_plain(),
            b'?' | b':' if !in_flow => self.fetch_plain(),
            b'\t' | b'-' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => {
                let mark = self.mark();
                self.error(Some(mark), "found character that cannot start any token")
            }
            _ => self.fetch_plain(),
        }
    }

    fn is_document_indicator(&self, byte: u8) -> bool {
        self.at(self.pos + 1) == byte && self.at(self.pos + 2) == byte && self.is_blankz(self.pos + 3)
    }
}
