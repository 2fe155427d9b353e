//! YAML text → tokens and comments, with the reach and the reading of go-yaml v3.
//!
//! What a file means to SOPS is what go-yaml makes of it, also where the YAML specification says
//! otherwise, and go-yaml's attachment of comments depends on how far its scanner looks ahead. So
//! the order of tokens, the lookahead and the comment bookkeeping follow that scanner; the text is
//! read by line and by run of bytes instead of by character, and no scalar is copied.

use std::collections::VecDeque;

use crate::tree::{Span, Style};

/// Nesting deeper than this is refused, as go-yaml does.
const MAX_DEPTH: usize = 10_000;

/// How far a simple key may be from its colon, in characters.
const MAX_SIMPLE_KEY: usize = 1024;

/// How far blanks are skipped in search of a comment, as go-yaml does.
const MAX_PEEK: usize = 512;

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
    /// The last two tokens that were queued, also when they have been taken.
    indent: isize,
    indents: Vec<isize>,
    flow_level: usize,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    /// Comments that no token has taken yet.
    pub(super) comments: VecDeque<Comment>,
    /// Comments on the lines of directives, which belong to nothing.
    pub(super) stray: Lines,
    /// The tokens taken from the queue since it was last compacted, for looking back.
    behind: [Option<Token>; 2],
    /// Where the next comment sign is, and up to where nothing else matters for the token before it.
    next_sign: usize,
    near: (usize, usize),
    /// Only `\n` breaks lines in this text, so runs may be searched for it.
    only_lf: bool,
    stream_started: bool,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_alpha(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Characters that mean nothing but themselves wherever a plain scalar may have them.
fn is_plainest(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/')
}

impl<'s> Scanner<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let source = source.as_bytes();
        let is_in = |text: &str| memchr::memmem::find(source, text.as_bytes()).is_some();
        let has_odd_breaks = !source.is_ascii() && ["\u{85}", "\u{2028}", "\u{2029}"].into_iter().any(is_in);
        let only_lf = !has_odd_breaks && memchr::memchr(b'\r', source).is_none();
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
            only_lf,
            stream_started: false,
        }
    }

    // ── the reader ───────────────────────────────────────────────────────────────────────────

    fn at(&self, pos: usize) -> u8 {
        self.source.get(pos).copied().unwrap_or(0)
    }

    fn byte(&self) -> u8 {
        self.at(self.pos)
    }

    fn is_z(&self, pos: usize) -> bool {
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

    fn is_break(&self, pos: usize) -> bool {
        self.break_len(pos) > 0
    }

    fn is_breakz(&self, pos: usize) -> bool {
        self.is_break(pos) || self.is_z(pos)
    }

    fn is_blankz(&self, pos: usize) -> bool {
        is_blank(self.at(pos)) || self.is_breakz(pos)
    }

    /// The end of the line that `pos` is on.
    fn line_end(&self, pos: usize) -> usize {
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
    fn before(&self, pos: usize) -> usize {
        let mut before = pos.saturating_sub(1);
        while self.at(before) & 0xC0 == 0x80 {
            before -= 1;
        }
        before
    }

    fn column(&mut self) -> usize {
        let (pos, column) = self.known;
        let run = &self.source[pos..self.pos];
        let column = column + run.iter().filter(|it| **it & 0xC0 != 0x80).count();
        self.known = (self.pos, column);
        column
    }

    fn mark(&mut self) -> Mark {
        Mark { index: self.pos, line: self.line, column: self.column() }
    }

    /// Steps over `n` bytes that are neither blank nor break.
    fn skip(&mut self, n: usize) {
        self.newlines = 0;
        self.pos += n;
    }

    fn skip_blanks(&mut self) {
        while is_blank(self.byte()) {
            self.pos += 1;
        }
    }

    /// Steps over the line break that is here.
    fn skip_line(&mut self) {
        self.pos += self.break_len(self.pos);
        self.line += 1;
        self.line_start = self.pos;
        self.known = (self.pos, 0);
        self.newlines += 1;
    }

    fn error<T>(&mut self, context: Option<Mark>, problem: &'static str) -> Scan<T> {
        Err(ScanError { problem, context, at: self.mark() })
    }

    // ── the queue ────────────────────────────────────────────────────────────────────────────

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

    /// Takes a whole entry of the innermost block mapping at once, if it is of the plainest kind:
    /// `key: value` on one line, with no comment near. Returns key and value.
    ///
    /// Files are made of such lines, and this costs a fraction of what four tokens do.
    pub(super) fn take_plain_pair(&mut self) -> Option<(Token, Token)> {
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
        let blank_at_end = line.last().is_some_and(|it| is_blank(*it));
        let ends_key = |at: usize| line.get(at + 1).is_none_or(|it| is_blank(*it));
        if blank_at_end || memchr::memchr_iter(b':', line).any(ends_key) {
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
        let key = Token { kind: TokenKind::Scalar(Style::Plain), start: mark(0), end: self.pos + key };
        let colon = Token { kind: TokenKind::Value, start: mark(value - 2), end: self.pos + value - 1 };
        let value = Token { kind: TokenKind::Scalar(Style::Plain), start: mark(value), end: self.pos + line_end };
        self.behind = [Some(colon), Some(value)];
        self.line += 1;
        self.line_start = self.pos + next;
        self.pos = self.line_start + indent;
        self.known = (self.pos, indent);
        self.newlines = 1;
        Some((key, value))
    }

    // ── simple keys and indentation ──────────────────────────────────────────────────────────

    /// True if the key at `index` may still become one.
    fn check_simple_key(&mut self, index: usize) -> Scan<bool> {
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

    fn save_simple_key(&mut self) -> Scan<()> {
        if self.simple_key_allowed {
            let mark = self.mark();
            let required = self.flow_level == 0 && self.indent == mark.column as isize;
            self.remove_simple_key()?;
            let token = self.parsed + self.tokens.len();
            *self.innermost_key() = SimpleKey { possible: true, required, token, mark };
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Scan<()> {
        let key = *self.innermost_key();
        if key.possible && key.required {
            return self.error(Some(key.mark), "could not find expected ':'");
        }
        self.innermost_key().possible = false;
        Ok(())
    }

    fn innermost_key(&mut self) -> &mut SimpleKey {
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
    fn unroll_indent(&mut self, column: isize, scan_index: usize) -> Scan<()> {
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

    // ── tokens ───────────────────────────────────────────────────────────────────────────────

    fn fetch_stream_end(&mut self) -> Scan<()> {
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

    fn fetch_indicator(&mut self, kind: TokenKind) -> Scan<()> {
        let mark = self.mark();
        self.skip(1);
        self.push(kind, mark);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Scan<()> {
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

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Scan<()> {
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

    fn fetch_block_entry(&mut self) -> Scan<()> {
        self.open_block(TokenKind::BlockSequenceStart, "block sequence entries are not allowed in this context")?;
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.fetch_indicator(TokenKind::BlockEntry)
    }

    fn fetch_key(&mut self) -> Scan<()> {
        self.open_block(TokenKind::BlockMappingStart, "mapping keys are not allowed in this context")?;
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.fetch_indicator(TokenKind::Key)
    }

    fn fetch_value(&mut self) -> Scan<()> {
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

    fn fetch_anchor(&mut self, kind: TokenKind) -> Scan<()> {
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

    fn fetch_tag(&mut self) -> Scan<()> {
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

    fn fetch_directive(&mut self) -> Scan<()> {
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

    // ── scalars ──────────────────────────────────────────────────────────────────────────────

    fn fetch_plain(&mut self) -> Scan<()> {
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

    fn fetch_quoted(&mut self, style: Style) -> Scan<()> {
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

    fn fetch_block_scalar(&mut self, style: Style) -> Scan<()> {
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

    // ── blanks and comments ──────────────────────────────────────────────────────────────────

    fn scan_to_next_token(&mut self) -> Scan<()> {
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
    fn scan_line_comment(&mut self, token: usize) {
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
