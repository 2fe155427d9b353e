//! YAML of which every line says one thing by itself, read in one walk: what SOPS writes is hardly anything else.
//!
//! A line may be `key: value` or `- value` with a plain or a quoted scalar that ends with the line, `key:` above
//! something that is further in, `key: |` above its text, `- ` before one of these, or nothing. There is no comment,
//! anchor, alias, tag, bracket or escape, and one document. Whatever is anything else is left to the scanner, and
//! the tree is the scanner's: a test and a fuzz target hold both against each other.

use super::compose::plain_key_type;
use super::scan::{breaks_by_line_feed, is_blank, is_plainest};
use crate::tree::{Document, Key, Kind, Node, NodeId, Span, Style, Tree};

/// Nesting deeper than this is left to the scanner, which has a limit.
const MAX_DEPTH: usize = 200;

/// Longer keys are left to the scanner, which has a limit.
const MAX_KEY: usize = 200;

/// Reads `source`: the tree still has to be given its text. `None` if some line may mean more than it says.
pub(super) fn read(source: &str) -> Option<Tree> {
    let bytes = source.as_bytes();
    let is_sign = |at: usize| at == 0 || is_blank(bytes[at - 1]) || bytes[at - 1] == b'\n';
    if !bytes.ends_with(b"\n") || memchr::memchr_iter(b'#', bytes).any(is_sign) || !breaks_by_line_feed(bytes) {
        return None;
    }
    let mut lines = Lines { source, bytes, pos: 0, tree: Tree::default(), open: Vec::new(), key: None };
    while lines.pos < bytes.len() {
        lines.line()?;
    }
    lines.finish()
}

struct Lines<'s> {
    source: &'s str,
    bytes: &'s [u8],
    /// Where the next line starts.
    pos: usize,
    tree: Tree,
    open: Vec<Block>,
    /// The key of what the next line opens.
    key: Option<Span>,
}

/// A mapping or list that has not ended.
struct Block {
    node: NodeId,
    is_map: bool,
    column: usize,
    /// Where its last value ends.
    end: usize,
}

impl Lines<'_> {
    /// Takes a line, and the lines of a block scalar that begins there.
    fn line(&mut self) -> Option<()> {
        let line = self.pos;
        let column = self.indent(line);
        let start = line + column;
        if self.bytes[start] == b'\n' {
            self.pos = start + 1;
            return (column == 0).then_some(());
        }
        let end = start + memchr::memchr(b'\n', &self.bytes[start..])?;
        self.pos = end + 1;
        let is_item = self.bytes[start] == b'-' && self.bytes[start + 1] == b' ';
        match self.key.take() {
            Some(key) => {
                let above = self.open.last()?.column;
                if column < above || (column == above && !is_item) {
                    return None;
                }
                self.open(Some(key), start, column, !is_item)?;
            }
            None if self.open.is_empty() => {
                if column > 0 || is_item {
                    return None;
                }
                self.tree.push_document(Document { root: NodeId(0), span: Span::new(start, self.bytes.len()) });
                self.open(None, start, column, true)?;
            }
            None => {
                while self
                    .open
                    .last()
                    .is_some_and(|it| it.column > column || (it.column == column && !it.is_map && !is_item))
                {
                    self.close();
                }
            }
        }
        let top = self.open.last()?;
        if top.column != column || top.is_map == is_item {
            return None;
        }
        match (is_item, self.key_length(start + 2 * usize::from(is_item), end)) {
            (false, length) => self.entry(start, length?, end),
            (true, None) => self.value(None, start + 2, end),
            (true, Some(length)) => {
                self.open(None, start + 2, column + 2, true)?;
                self.entry(start + 2, length, end)
            }
        }
    }

    /// The number of blanks at the start of a line.
    fn indent(&self, line: usize) -> usize {
        self.bytes[line..].iter().take_while(|it| **it == b' ').count()
    }

    /// The length of the key that stands at `start`, if one does.
    fn key_length(&self, start: usize, end: usize) -> Option<usize> {
        let text = &self.bytes[start..end];
        let length = text.iter().take(MAX_KEY).take_while(|it| is_plainest(**it)).count();
        let is_key = length > 0
            && text.get(length) == Some(&b':')
            && text.get(length + 1).is_none_or(|it| *it == b' ')
            && text[0] != b'-'
            && (text[0] != b'.' || text[1] != b'.');
        is_key.then_some(length)
    }

    /// An entry of the innermost mapping.
    fn entry(&mut self, start: usize, length: usize, end: usize) -> Option<()> {
        let key = Span::new(start, start + length);
        if start + length + 1 == end {
            self.key = Some(key);
            return Some(());
        }
        self.value(Some(key), start + length + 2, end)
    }

    /// A scalar in the innermost mapping or list.
    fn value(&mut self, key: Option<Span>, start: usize, end: usize) -> Option<()> {
        let text = &self.bytes[start..end];
        let (style, end) = match text {
            b"|" | b"|-" => (Style::Literal, self.block(end)?),
            [b'"', inside @ .., b'"'] if memchr::memchr2(b'"', b'\\', inside).is_none() => (Style::Double, end),
            [b'\'', inside @ .., b'\''] if memchr::memchr(b'\'', inside).is_none() => (Style::Single, end),
            _ if is_plain(text) => (Style::Plain, end),
            _ => return None,
        };
        let top = self.open.last_mut()?;
        top.end = end;
        let (parent, column) = (top.node, top.column);
        self.add(Some(parent), key, Kind::Scalar, style, Span::new(start, end), column);
        Some(())
    }

    /// Takes the lines of a block scalar behind the line that ends at `end`; returns where they end.
    fn block(&mut self, mut end: usize) -> Option<usize> {
        let indent = self.indent(self.pos);
        if indent <= self.open.last()?.column || self.bytes.get(self.pos + indent) == Some(&b'\t') {
            return None;
        }
        while self.pos < self.bytes.len() {
            let found = self.indent(self.pos);
            if self.bytes[self.pos + found] == b'\n' {
                // Whether it belongs to the text is not for one line to say.
                return None;
            }
            if found < indent {
                break;
            }
            end = self.pos + memchr::memchr(b'\n', &self.bytes[self.pos..])?;
            self.pos = end + 1;
        }
        Some(end)
    }

    /// Begins a mapping or list.
    fn open(&mut self, key: Option<Span>, start: usize, column: usize, is_map: bool) -> Option<()> {
        let above = self.open.last().map(|it| (it.node, it.column));
        let kind = if is_map { Kind::Map } else { Kind::List };
        let parent = above.map(|it| it.0);
        let node = self.add(parent, key, kind, Style::Plain, Span::new(start, start), above.map_or(0, |it| it.1));
        self.open.push(Block { node, is_map, column, end: start });
        (self.open.len() <= MAX_DEPTH).then_some(())
    }

    /// Ends the innermost mapping or list.
    fn close(&mut self) {
        let Some(Block { node, end, .. }) = self.open.pop() else { return };
        self.tree.node_mut(node).span.end = end as u32;
        if let Some(above) = self.open.last_mut() {
            above.end = end;
        }
    }

    fn add(
        &mut self,
        parent: Option<NodeId>,
        key: Option<Span>,
        kind: Kind,
        style: Style,
        span: Span,
        column: usize,
    ) -> NodeId {
        let mut node = Node::new(kind, style, span);
        node.column = column as u32;
        let id = match parent {
            Some(parent) => self.tree.push(parent, node),
            None => self.tree.add(node),
        };
        if let Some(span) = key {
            let not_a_string = plain_key_type(&self.source[span.range()]);
            self.tree.set_key(id, Key { span, decoded: None, not_a_string });
        }
        id
    }

    fn finish(mut self) -> Option<Tree> {
        while !self.open.is_empty() {
            self.close();
        }
        (self.key.is_none() && !self.tree.is_empty()).then_some(self.tree)
    }
}

/// True if a text that is the rest of a line is a plain scalar, and all of it.
fn is_plain(text: &[u8]) -> bool {
    let starts = match text {
        [b'-', rest @ ..] => rest.first().is_some_and(|it| is_plainest(*it)),
        [b'!' | b'"' | b'#' | b'%' | b'&' | b'\'' | b'*' | b',' | b':' | b'>' | b'?' | b'@', ..] => false,
        [b'[' | b']' | b'`' | b'{' | b'|' | b'}', ..] => false,
        [first, ..] => first.is_ascii_graphic() || (*first >= 0xC3 && *first != 0xEF),
        [] => false,
    };
    let ends = text.last().is_some_and(|it| !is_blank(*it) && *it != b':');
    let is_key = |at: usize| text[at - 1] == b':';
    starts && ends && !memchr::memchr2_iter(b' ', b'\t', text).any(is_key)
}
