//! Tokens → events: the structure of a YAML stream, with each node's comments.
//!
//! This is the interface that the rest reads YAML through. An event names places in the text and
//! copies nothing.

use super::scan::{Lines, ScanError, Scanner, Side, Token, TokenKind};
use crate::tree::{Span, Style};

/// What happens next in a stream.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    /// The token; empty where nothing is written (a missing value, the end of a block).
    pub(super) span: Span,
    /// Tag and anchor before the node.
    pub(super) properties: Properties,
    /// Line and column of the token, from zero.
    pub(super) line: usize,
    pub(super) column: usize,
    /// Comments above the node, on its line, below it.
    pub(super) head: Lines,
    pub(super) inline: Lines,
    pub(super) foot: Lines,
}

/// The kinds of event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EventKind {
    DocumentStart {
        /// It begins with `---`.
        explicit: bool,
    },
    DocumentEnd {
        /// It ends with `...`.
        explicit: bool,
    },
    Alias,
    Scalar(Style),
    SequenceStart(Style),
    SequenceEnd,
    MappingStart(Style),
    MappingEnd,
    StreamEnd,
}

/// What stands before a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Properties {
    /// From the first to the last of them; empty if there are none.
    pub(super) span: Span,
    /// The anchor with its sign.
    pub(super) anchor: Option<Span>,
    /// The tag with its sign.
    pub(super) tag: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceEntry { first: bool },
    IndentlessSequenceEntry,
    BlockMappingKey { first: bool },
    BlockMappingValue,
    FlowSequenceEntry { first: bool },
    FlowSequencePairKey,
    FlowSequencePairValue,
    FlowSequencePairEnd,
    FlowMappingKey { first: bool },
    FlowMappingValue { empty: bool },
    End,
}

/// Reads events off a text.
pub(super) struct Parser<'s> {
    source: &'s str,
    scanner: Scanner<'s>,
    state: State,
    states: Vec<State>,
    /// Comments that the next node takes.
    head: Lines,
    inline: Lines,
    foot: Lines,
    /// Comments above the `-` of an item that is a collection: they stay with the list.
    stem: Option<Lines>,
    /// Handles declared by `%TAG`, with their prefixes.
    handles: Vec<(&'s str, &'s str)>,
    /// Where the containers that are open began, for errors.
    opened: Vec<Token>,
}

type Parse<T> = Result<T, ScanError>;

impl<'s> Parser<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            scanner: Scanner::new(source),
            state: State::ImplicitDocumentStart,
            states: Vec::new(),
            head: Lines::new(),
            inline: Lines::new(),
            foot: Lines::new(),
            stem: None,
            handles: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// The next event; after the end of the stream, that again.
    pub(super) fn next(&mut self) -> Parse<Event> {
        match self.state {
            State::ImplicitDocumentStart => {
                // The stream's start is the first token.
                self.peek()?;
                self.scanner.take();
                self.document_start(true)
            }
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => {
                let token = self.peek()?;
                match token.kind {
                    TokenKind::VersionDirective
                    | TokenKind::TagDirective
                    | TokenKind::DocumentStart
                    | TokenKind::DocumentEnd
                    | TokenKind::StreamEnd => {
                        self.pop();
                        Ok(empty_scalar(token, token.start.index))
                    }
                    _ => self.node(true, false),
                }
            }
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceEntry { first } => self.block_sequence_entry(first),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingKey { first } => self.block_mapping_key(first),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceEntry { first } => self.flow_sequence_entry(first),
            State::FlowSequencePairKey => self.flow_sequence_pair_key(),
            State::FlowSequencePairValue => self.flow_sequence_pair_value(),
            State::FlowSequencePairEnd => {
                let token = self.peek()?;
                self.state = State::FlowSequenceEntry { first: false };
                let end = self.scanner.taken();
                Ok(bare(EventKind::MappingEnd, token, end..end))
            }
            State::FlowMappingKey { first } => self.flow_mapping_key(first),
            State::FlowMappingValue { empty } => self.flow_mapping_value(empty),
            State::End => {
                let token = self.peek()?;
                Ok(bare(EventKind::StreamEnd, token, token.start.index..token.end))
            }
        }
    }

    /// Takes the next entry of a block mapping whole, if it is of the plainest kind and no comment waits
    /// for it: key and value, instead of two events.
    pub(super) fn plain_pair(&mut self) -> Option<(Span, Span)> {
        let no_comments = self.head.is_empty() && self.inline.is_empty() && self.foot.is_empty();
        match self.state {
            State::BlockMappingKey { first: false } if no_comments => self.scanner.take_plain_pair(),
            _ => None,
        }
    }

    /// The full name of a tag, or an error if its handle was not declared.
    pub(super) fn resolve_tag(&self, tag: Span) -> Option<String> {
        const CORE: &str = "tag:yaml.org,2002:";
        let text = &self.source[tag.range()];
        if let Some(verbatim) = text.strip_prefix("!<") {
            return Some(unescape(verbatim.strip_suffix('>').unwrap_or(verbatim)));
        }
        if text == "!" {
            return Some("!".to_owned());
        }
        let handle = match text[1..].find('!') {
            Some(end) if text[1..1 + end].bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-')) => {
                &text[..end + 2]
            }
            _ => "!",
        };
        let declared = self.handles.iter().find(|(it, _)| *it == handle).map(|(_, prefix)| *prefix);
        let prefix = match (declared, handle) {
            (Some(prefix), _) => prefix,
            (None, "!") => "!",
            (None, "!!") => CORE,
            (None, _) => return None,
        };
        Some(unescape(&format!("{prefix}{}", &text[handle.len()..])))
    }

    /// Comments that no node has taken, at the end of the stream.
    pub(super) fn leftover(&mut self) -> Lines {
        let mut lines = std::mem::take(&mut self.scanner.stray);
        for pending in [&mut self.head, &mut self.inline, &mut self.foot] {
            lines.append(pending);
        }
        lines.extend(self.scanner.comments.drain(..).flat_map(|it| it.lines));
        lines
    }

    // ── comments ─────────────────────────────────────────────────────────────────────────────

    /// The next token; comments that belong to it or to what came before it are collected.
    fn peek(&mut self) -> Parse<Token> {
        let token = self.scanner.peek()?;
        while let Some(comment) = self.scanner.comments.front() {
            if token.start.index < comment.token {
                break;
            }
            if comment.side == Side::Head && token.kind == TokenKind::BlockEnd {
                // An end has no head: it waits for what follows.
                break;
            }
            let comment = self.scanner.comments.pop_front().expect("it was there");
            match comment.side {
                Side::Head => self.head.extend(comment.lines),
                Side::Line => self.inline.extend(comment.lines),
                Side::Foot => self.foot.extend(comment.lines),
            }
        }
        Ok(token)
    }

    fn give_comments(&mut self, event: &mut Event) {
        event.head = std::mem::take(&mut self.head);
        event.inline = std::mem::take(&mut self.inline);
        event.foot = std::mem::take(&mut self.foot);
        self.stem = None;
    }

    /// Comments above a `-` stay with the list if the item is a collection.
    fn split_stem(&mut self, n: usize) -> Parse<()> {
        if n == 0 {
            return Ok(());
        }
        let token = self.peek()?;
        if matches!(token.kind, TokenKind::BlockSequenceStart | TokenKind::BlockMappingStart) {
            let rest = self.head.split_off(n);
            self.stem = Some(std::mem::replace(&mut self.head, rest));
        }
        Ok(())
    }

    // ── documents ────────────────────────────────────────────────────────────────────────────

    fn document_start(&mut self, first: bool) -> Parse<Event> {
        let mut token = self.peek()?;
        if !first {
            while token.kind == TokenKind::DocumentEnd {
                self.scanner.take();
                token = self.peek()?;
            }
        }
        match token.kind {
            TokenKind::StreamEnd => {
                self.state = State::End;
                Ok(bare(EventKind::StreamEnd, token, token.start.index..token.end))
            }
            TokenKind::VersionDirective | TokenKind::TagDirective | TokenKind::DocumentStart => {
                self.explicit_document(token)
            }
            _ if first => {
                self.states.push(State::DocumentEnd);
                self.state = State::BlockNode;
                let start = token.start.index..token.start.index;
                let mut event = bare(EventKind::DocumentStart { explicit: false }, token, start);
                // What stands above the last empty line belongs to the document.
                if let Some(empty) = self.head.iter().rposition(|it| it.is_empty()).filter(|it| *it > 0) {
                    let rest = self.head.split_off(empty + 1);
                    self.head.pop();
                    event.head = std::mem::replace(&mut self.head, rest);
                }
                Ok(event)
            }
            _ => error("did not find expected <document start>", None, token),
        }
    }

    fn explicit_document(&mut self, start: Token) -> Parse<Event> {
        let mut token = start;
        let mut versions = 0;
        loop {
            match token.kind {
                TokenKind::VersionDirective => {
                    versions += 1;
                    if versions > 1 {
                        return error("found duplicate %YAML directive", None, token);
                    }
                    let text = &self.source[token.span().range()];
                    let mut number = text["%YAML".len()..].trim().split('.').map(str::parse::<u8>);
                    if (number.next(), number.next()) != (Some(Ok(1)), Some(Ok(1))) {
                        return error("found incompatible YAML document", None, token);
                    }
                }
                TokenKind::TagDirective => {
                    let text = &self.source[token.span().range()];
                    let mut words = text.split([' ', '\t']).filter(|it| !it.is_empty()).skip(1);
                    let (handle, prefix) = (words.next().unwrap_or("!"), words.next().unwrap_or("!"));
                    if self.handles.iter().any(|(it, _)| *it == handle) {
                        return error("found duplicate %TAG directive", None, token);
                    }
                    self.handles.push((handle, prefix));
                }
                _ => break,
            }
            self.scanner.take();
            token = self.peek()?;
        }
        if token.kind != TokenKind::DocumentStart {
            return error("did not find expected <document start>", None, token);
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        let event = bare(EventKind::DocumentStart { explicit: true }, token, start.start.index..token.end);
        self.scanner.take();
        Ok(event)
    }

    fn document_end(&mut self) -> Parse<Event> {
        let token = self.peek()?;
        let explicit = token.kind == TokenKind::DocumentEnd;
        let end = if explicit { token.end } else { token.start.index };
        if explicit {
            self.scanner.take();
        }
        self.handles.clear();
        self.state = State::DocumentStart;
        let mut event = bare(EventKind::DocumentEnd { explicit }, token, token.start.index..end);
        self.give_comments(&mut event);
        if event.foot.is_empty() {
            event.foot = std::mem::take(&mut event.head);
        }
        Ok(event)
    }

    // ── nodes ────────────────────────────────────────────────────────────────────────────────

    fn pop(&mut self) {
        self.state = self.states.pop().expect("every node was asked for by a state that waits");
    }

    fn node(&mut self, block: bool, indentless: bool) -> Parse<Event> {
        let mut token = self.peek()?;
        if token.kind == TokenKind::Alias {
            self.pop();
            let mut event = bare(EventKind::Alias, token, token.start.index..token.end);
            self.give_comments(&mut event);
            self.scanner.take();
            return Ok(event);
        }
        let first = token;
        let mut properties =
            Properties { span: Span::new(first.start.index, first.start.index), ..Properties::default() };
        loop {
            let slot = match token.kind {
                TokenKind::Anchor => &mut properties.anchor,
                TokenKind::Tag => &mut properties.tag,
                _ => break,
            };
            if slot.is_some() {
                break;
            }
            *slot = Some(token.span());
            properties.span = Span::new(first.start.index, token.end);
            self.scanner.take();
            token = self.peek()?;
        }
        let described = properties.anchor.is_some() || properties.tag.is_some();
        if let Some(tag) = properties.tag
            && self.resolve_tag(tag).is_none()
        {
            return error("found undefined tag handle", Some(first), token);
        }
        let text = token.start.index..token.end;
        let mut event = match token.kind {
            TokenKind::BlockEntry if indentless => {
                self.state = State::IndentlessSequenceEntry;
                bare(EventKind::SequenceStart(Style::Plain), token, text.start..text.start)
            }
            TokenKind::Scalar(style) => {
                self.pop();
                let mut event = bare(EventKind::Scalar(style), token, text);
                self.give_comments(&mut event);
                self.scanner.take();
                event
            }
            TokenKind::FlowSequenceStart => {
                self.state = State::FlowSequenceEntry { first: true };
                let mut event = bare(EventKind::SequenceStart(Style::Flow), token, text);
                self.give_comments(&mut event);
                event
            }
            TokenKind::FlowMappingStart => {
                self.state = State::FlowMappingKey { first: true };
                let mut event = bare(EventKind::MappingStart(Style::Flow), token, text);
                self.give_comments(&mut event);
                event
            }
            TokenKind::BlockSequenceStart if block => {
                self.state = State::BlockSequenceEntry { first: true };
                let mut event = bare(EventKind::SequenceStart(Style::Plain), token, text);
                event.head = self.stem.take().unwrap_or_default();
                event
            }
            TokenKind::BlockMappingStart if block => {
                self.state = State::BlockMappingKey { first: true };
                let mut event = bare(EventKind::MappingStart(Style::Plain), token, text);
                event.head = self.stem.take().unwrap_or_default();
                event
            }
            _ if described => {
                self.pop();
                empty_scalar(token, properties.span.end as usize)
            }
            _ => return error("did not find expected node content", Some(first), token),
        };
        event.properties = properties;
        if described {
            event.line = first.start.line;
        }
        Ok(event)
    }

    /// Takes the token that opens a container and remembers where that was.
    fn open(&mut self, first: bool) -> Parse<()> {
        if first {
            let token = self.peek()?;
            self.opened.push(token);
            self.scanner.take();
        }
        Ok(())
    }

    fn close(&mut self, kind: EventKind, token: Token) -> Event {
        self.pop();
        self.opened.pop();
        self.scanner.take();
        bare(kind, token, token.start.index..token.end)
    }

    fn block_sequence_entry(&mut self, first: bool) -> Parse<Event> {
        self.open(first)?;
        let token = self.peek()?;
        match token.kind {
            TokenKind::BlockEntry => {
                let next = self.after_block_entry()?;
                if matches!(next.kind, TokenKind::BlockEntry | TokenKind::BlockEnd) {
                    self.state = State::BlockSequenceEntry { first: false };
                    return Ok(self.nothing(token));
                }
                self.states.push(State::BlockSequenceEntry { first: false });
                self.node(true, false)
            }
            TokenKind::BlockEnd => Ok(self.close(EventKind::SequenceEnd, token)),
            _ => error("did not find expected '-' indicator", self.opened.last().copied(), token),
        }
    }

    /// A value that nothing spells: it stands behind the token that was taken last.
    fn nothing(&self, token: Token) -> Event {
        empty_scalar(token, self.scanner.taken())
    }

    fn after_block_entry(&mut self) -> Parse<Token> {
        let n = self.head.len();
        self.scanner.take();
        self.split_stem(n)?;
        self.peek()
    }

    fn indentless_sequence_entry(&mut self) -> Parse<Event> {
        let token = self.peek()?;
        if token.kind != TokenKind::BlockEntry {
            self.pop();
            return Ok(bare(EventKind::SequenceEnd, token, token.start.index..token.start.index));
        }
        let next = self.after_block_entry()?;
        match next.kind {
            TokenKind::BlockEntry | TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd => {
                self.state = State::IndentlessSequenceEntry;
                Ok(self.nothing(token))
            }
            _ => {
                self.states.push(State::IndentlessSequenceEntry);
                self.node(true, false)
            }
        }
    }

    fn block_mapping_key(&mut self, first: bool) -> Parse<Event> {
        self.open(first)?;
        let token = self.peek()?;
        match token.kind {
            TokenKind::Key => {
                self.scanner.take();
                let next = self.peek()?;
                if matches!(next.kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd) {
                    self.state = State::BlockMappingValue;
                    return Ok(self.nothing(token));
                }
                self.states.push(State::BlockMappingValue);
                self.node(true, true)
            }
            TokenKind::BlockEnd => {
                let mut event = self.close(EventKind::MappingEnd, token);
                self.give_comments(&mut event);
                Ok(event)
            }
            _ => error("did not find expected key", self.opened.last().copied(), token),
        }
    }

    fn block_mapping_value(&mut self) -> Parse<Event> {
        let token = self.peek()?;
        if token.kind == TokenKind::Value {
            self.scanner.take();
            let next = self.peek()?;
            if !matches!(next.kind, TokenKind::Key | TokenKind::Value | TokenKind::BlockEnd) {
                self.states.push(State::BlockMappingKey { first: false });
                return self.node(true, true);
            }
        }
        self.state = State::BlockMappingKey { first: false };
        Ok(self.nothing(token))
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Parse<Event> {
        self.open(first)?;
        let mut token = self.peek()?;
        if token.kind != TokenKind::FlowSequenceEnd {
            if !first {
                token = self.flow_entry(token, "did not find expected ',' or ']'")?;
            }
            if token.kind == TokenKind::Key {
                self.state = State::FlowSequencePairKey;
                let event = bare(EventKind::MappingStart(Style::Flow), token, token.start.index..token.end);
                self.scanner.take();
                return Ok(event);
            }
            if token.kind != TokenKind::FlowSequenceEnd {
                self.states.push(State::FlowSequenceEntry { first: false });
                return self.node(false, false);
            }
        }
        let mut event = self.close(EventKind::SequenceEnd, token);
        self.give_comments(&mut event);
        Ok(event)
    }

    fn flow_entry(&mut self, token: Token, problem: &'static str) -> Parse<Token> {
        if token.kind != TokenKind::FlowEntry {
            return error(problem, self.opened.last().copied(), token);
        }
        self.scanner.take();
        self.peek()
    }

    fn flow_sequence_pair_key(&mut self) -> Parse<Event> {
        let token = self.peek()?;
        match token.kind {
            // go-yaml takes the bracket for the key's and waits for another one: no text can be put into that.
            TokenKind::FlowSequenceEnd => error("did not find a key behind '?'", self.opened.last().copied(), token),
            TokenKind::Value | TokenKind::FlowEntry => {
                // go-yaml takes the token here, so `[? : a]` has no value.
                self.scanner.take();
                self.state = State::FlowSequencePairValue;
                Ok(empty_scalar(token, token.start.index))
            }
            _ => {
                self.states.push(State::FlowSequencePairValue);
                self.node(false, false)
            }
        }
    }

    fn flow_sequence_pair_value(&mut self) -> Parse<Event> {
        let token = self.peek()?;
        if token.kind == TokenKind::Value {
            self.scanner.take();
            let next = self.peek()?;
            if !matches!(next.kind, TokenKind::FlowEntry | TokenKind::FlowSequenceEnd) {
                self.states.push(State::FlowSequencePairEnd);
                return self.node(false, false);
            }
        }
        self.state = State::FlowSequencePairEnd;
        Ok(self.nothing(token))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Parse<Event> {
        self.open(first)?;
        let mut token = self.peek()?;
        if token.kind != TokenKind::FlowMappingEnd {
            if !first {
                token = self.flow_entry(token, "did not find expected ',' or '}'")?;
            }
            if token.kind == TokenKind::Key {
                self.scanner.take();
                let next = self.peek()?;
                if matches!(next.kind, TokenKind::Value | TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                    self.state = State::FlowMappingValue { empty: false };
                    return Ok(self.nothing(next));
                }
                self.states.push(State::FlowMappingValue { empty: false });
                return self.node(false, false);
            }
            if token.kind != TokenKind::FlowMappingEnd {
                self.states.push(State::FlowMappingValue { empty: true });
                return self.node(false, false);
            }
        }
        let mut event = self.close(EventKind::MappingEnd, token);
        self.give_comments(&mut event);
        Ok(event)
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Parse<Event> {
        let token = self.peek()?;
        if token.kind == TokenKind::Value && !empty {
            self.scanner.take();
            let next = self.peek()?;
            if !matches!(next.kind, TokenKind::FlowEntry | TokenKind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey { first: false });
                return self.node(false, false);
            }
        }
        self.state = State::FlowMappingKey { first: false };
        Ok(self.nothing(token))
    }
}

fn bare(kind: EventKind, token: Token, span: std::ops::Range<usize>) -> Event {
    Event {
        kind,
        span: Span::new(span.start, span.end),
        properties: Properties { span: Span::new(span.start, span.start), ..Properties::default() },
        line: token.start.line,
        column: token.start.column,
        head: Lines::new(),
        inline: Lines::new(),
        foot: Lines::new(),
    }
}

/// A value that nothing spells.
fn empty_scalar(token: Token, at: usize) -> Event {
    bare(EventKind::Scalar(Style::Plain), token, at..at)
}

fn error<T>(problem: &'static str, context: Option<Token>, token: Token) -> Parse<T> {
    Err(ScanError { problem, context: context.map(|it| it.start), at: token.start })
}

/// Decodes `%XX` in a tag.
fn unescape(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
