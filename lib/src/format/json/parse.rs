//! Finds the nodes of a JSON text, without recursion, and reads what its scalars mean.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use zeroize::Zeroizing;

use crate::format::{ParseError, ParseErrorKind};
use crate::secret::SecretText;
use crate::tree::{Document, Key, Kind, Node, NodeId, Span, Style, Tree};
use crate::value::Value;

/// How deep objects and lists may stand in each other: as deep as Go's decoder allows.
const MAX_DEPTH: usize = 10_000;

/// What a text may be.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Root {
    /// A file: SOPS encrypts objects only.
    Object,
    /// A value that somebody wants to set.
    Anything,
}

/// As [`read`], of a copy.
///
/// # Errors
///
/// As for [`read`].
pub(super) fn parse(source: &[u8], root: Root) -> Result<Tree, ParseError> {
    read(&mut Zeroizing::new(source.to_vec()), root)
}

/// Parses `source`, one JSON value with nothing after it. The bytes are taken over if they are the text
/// of the tree.
///
/// # Errors
///
/// In Go's words, but without any part of the text that might be secret.
pub(super) fn read(source: &mut Vec<u8>, root: Root) -> Result<Tree, ParseError> {
    let text = take_utf8(source);
    let replaced = !source.is_empty();
    let mut parser = Parser { tree: Tree::new(text), at: 0, open: Vec::new(), root };
    if parser.tree.source().len() >= u32::MAX as usize {
        return Err(error(&parser.tree, 0, "the text is longer than 4 GiB"));
    }
    match parser.value() {
        Ok(()) => {
            let mut tree = parser.tree;
            tree.push_document(Document { root: NodeId(0), span: Span::new(0, tree.source().len()) });
            if replaced {
                tree.warnings.push("the text is not UTF-8: what could not be read is now U+FFFD".to_owned());
            }
            Ok(tree)
        }
        Err(Fault { at, message }) => {
            let problem = error(&parser.tree, at, &message);
            if !replaced {
                *source = parser.tree.take_source().into_bytes();
            }
            Err(problem)
        }
    }
}

/// The text, with U+FFFD in place of every byte that is not UTF-8, as Go reads it. If there is none, the
/// bytes are taken over.
fn take_utf8(source: &mut Vec<u8>) -> Zeroizing<String> {
    match String::from_utf8(std::mem::take(source)) {
        Ok(text) => return Zeroizing::new(text),
        Err(it) => *source = it.into_bytes(),
    }
    let invalid: usize = source.utf8_chunks().map(|it| it.invalid().len()).sum();
    let mut text = Zeroizing::new(String::with_capacity(source.len() + 2 * invalid));
    for chunk in source.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// An error at byte `at` of the tree's text.
fn error(tree: &Tree, at: usize, message: &str) -> ParseError {
    let before = &tree.source()[..at];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    ParseError {
        message: format!("Could not unmarshal input data: {message}"),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        kind: ParseErrorKind::Syntax,
    }
}

/// What a scalar means.
///
/// # Errors
///
/// If `id` is not a scalar.
pub(super) fn scalar(tree: &Tree, id: NodeId) -> Result<Value, ParseError> {
    let node = tree.node(id);
    let text = tree.text(node.span);
    match text.as_bytes() {
        b"true" => Ok(Value::Bool(true)),
        b"false" => Ok(Value::Bool(false)),
        b"null" => Ok(Value::Null),
        [b'"', ..] => Ok(Value::Str(SecretText::new(unquote(text).into_owned()))),
        _ => match text.parse() {
            // A number without point and exponent is an int where it fits (spec section 1.6).
            Ok(int) => Ok(Value::Int(int)),
            Err(_) => {
                let float = text.parse().map_err(|_| error(tree, node.span.range().start, "this is not a scalar"))?;
                Ok(Value::Float(float))
            }
        },
    }
}

/// What a string means, given with its quotes.
pub(super) fn unquote(text: &str) -> Cow<'_, str> {
    let mut rest = &text[1..text.len() - 1];
    let Some(mut escape) = memchr(b'\\', rest.as_bytes()) else { return Cow::Borrowed(rest) };
    // No escape is shorter than what it means, so this never grows and leaves no copy behind.
    let mut decoded = String::with_capacity(rest.len());
    loop {
        decoded.push_str(&rest[..escape]);
        let (meaning, length) = unescape(&rest[escape..]);
        decoded.push(meaning);
        rest = &rest[escape + length..];
        match memchr(b'\\', rest.as_bytes()) {
            Some(next) => escape = next,
            None => break,
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// What the escape at the beginning of `text` means, and its length.
fn unescape(text: &str) -> (char, usize) {
    match text.as_bytes()[1] {
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => {
            let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
            let units = [unit(text), text.get(6..).and_then(unit)];
            match char::decode_utf16(units.into_iter().flatten()).next() {
                Some(Ok(it)) => (it, 6 * it.len_utf16()),
                _ => (char::REPLACEMENT_CHARACTER, 6),
            }
        }
        it => (char::from(it), 2),
    }
}

/// What is wrong, and where.
struct Fault {
    at: usize,
    message: Cow<'static, str>,
}

type Step<T> = Result<T, Fault>;

/// What may come next.
enum Expect {
    Value,
    FirstItem,
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the container.
    Comma,
    Nothing,
}

struct Parser {
    tree: Tree,
    at: usize,
    open: Vec<NodeId>,
    root: Root,
}

impl Parser {
    fn value(&mut self) -> Step<()> {
        let mut expect = Expect::Value;
        let mut key = None;
        loop {
            self.at += self.rest().iter().take_while(|it| matches!(it, b' ' | b'\t' | b'\r' | b'\n')).count();
            let Some(&byte) = self.rest().first() else {
                return match expect {
                    Expect::Nothing => Ok(()),
                    _ if self.tree.is_empty() => Err(self.fault(self.at, "EOF")),
                    _ => Err(self.fault(self.at, "unexpected EOF")),
                };
            };
            expect = match (expect, byte) {
                (Expect::FirstKey | Expect::Key, b'"') => {
                    let span = self.string()?;
                    let decoded = match unquote(self.tree.text(span)) {
                        Cow::Owned(it) => Some(it.into()),
                        Cow::Borrowed(_) => None,
                    };
                    key = Some(Key { span, decoded, not_a_string: None });
                    Expect::Colon
                }
                (Expect::Colon, b':') => {
                    self.at += 1;
                    Expect::Value
                }
                (Expect::Comma, b',') => {
                    self.at += 1;
                    if self.in_map() { Expect::Key } else { Expect::Value }
                }
                (Expect::FirstKey, b'}') | (Expect::FirstItem, b']') => self.close(),
                (Expect::Comma, b'}') if self.in_map() => self.close(),
                (Expect::Comma, b']') if !self.in_map() => self.close(),
                (Expect::Value | Expect::FirstItem, byte) => self.element(byte, key.take())?,
                (Expect::FirstKey | Expect::Key, _) => {
                    return Err(self.invalid(self.at, "looking for beginning of object key string"));
                }
                (Expect::Colon, _) => return Err(self.invalid(self.at, "after object key")),
                (Expect::Comma, _) if self.in_map() => return Err(self.invalid(self.at, "after object key:value pair")),
                (Expect::Comma, _) => return Err(self.invalid(self.at, "after array element")),
                (Expect::Nothing, _) => return Err(self.invalid(self.at, "after top-level value")),
            };
        }
    }

    /// Reads a scalar, or opens a container.
    fn element(&mut self, byte: u8, key: Option<Key>) -> Step<Expect> {
        let start = self.at;
        let container = matches!(byte, b'{' | b'[');
        let (kind, style) = match byte {
            b'{' => (Kind::Map, Style::Plain),
            b'[' => (Kind::List, Style::Plain),
            b'"' => (Kind::Scalar, Style::Double),
            _ => (Kind::Scalar, Style::Plain),
        };
        let span = match byte {
            b'{' | b'[' => {
                self.at += 1;
                Span::new(start, self.at)
            }
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            _ => return Err(self.invalid(start, "looking for beginning of value")),
        };
        if self.tree.is_empty() && self.root == Root::Object && byte != b'{' {
            return Err(self.not_an_object(byte));
        }
        let id = self.tree.add(Node::new(kind, style, span));
        if let Some(key) = key {
            self.tree.set_key(id, key);
        }
        if let Some(parent) = self.open.last() {
            self.tree.append(*parent, id);
        }
        if !container {
            return Ok(self.after_value());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(self.fault(start, "exceeded max depth"));
        }
        self.open.push(id);
        Ok(if kind == Kind::Map { Expect::FirstKey } else { Expect::FirstItem })
    }

    fn not_an_object(&self, byte: u8) -> Fault {
        let what = match byte {
            b'[' => {
                return self.fault(
                    0,
                    "SOPS only supports JSON files with a top-level object (starting with '{'), not arrays or other \
                     types. Got delimiter [ instead. To encrypt this file, wrap it in an object, e.g., {\"data\": [...]}",
                );
            }
            b'"' => "a string",
            b't' | b'f' => "a bool",
            b'n' => "null",
            _ => "a number",
        };
        let message = format!(
            "SOPS only supports JSON files with a top-level object (starting with '{{'), not other JSON types. \
             Got {what} instead"
        );
        Fault { at: 0, message: message.into() }
    }

    fn close(&mut self) -> Expect {
        self.at += 1;
        if let Some(id) = self.open.pop() {
            self.tree.node_mut(id).span.end = self.at as u32;
        }
        self.after_value()
    }

    fn after_value(&self) -> Expect {
        if self.open.is_empty() { Expect::Nothing } else { Expect::Comma }
    }

    fn in_map(&self) -> bool {
        self.open.last().is_some_and(|it| self.tree.node(*it).kind == Kind::Map)
    }

    fn rest(&self) -> &[u8] {
        &self.tree.source().as_bytes()[self.at..]
    }

    /// Reads a string with its quotes.
    fn string(&mut self) -> Step<Span> {
        let bytes = self.tree.source().as_bytes();
        let mut at = self.at + 1;
        loop {
            let plain = memchr2(b'"', b'\\', &bytes[at..]);
            let stretch = &bytes[at..plain.map_or(bytes.len(), |n| at + n)];
            // Without an early end, this is a handful of vector instructions.
            if stretch.iter().fold(false, |any, it| any | (*it < b' ')) {
                let control = stretch.iter().take_while(|it| **it >= b' ').count();
                return Err(self.invalid(at + control, "in string literal"));
            }
            at += stretch.len();
            let length = match bytes.get(at..) {
                Some([b'"', ..]) => break,
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => 2,
                Some([b'\\', b'u', digits @ ..]) => {
                    let n = digits.iter().take(4).take_while(|it| it.is_ascii_hexdigit()).count();
                    if n < 4 {
                        return Err(self.invalid(at + 2 + n, "in \\u hexadecimal character escape"));
                    }
                    6
                }
                Some([b'\\', ..]) => return Err(self.invalid(at + 1, "in string escape code")),
                _ => return Err(self.fault(at, "unexpected EOF")),
            };
            at += length;
        }
        Ok(self.token(at + 1))
    }

    fn number(&mut self) -> Step<Span> {
        let text = self.rest();
        let digits = |at: usize| text[at..].iter().take_while(|it| it.is_ascii_digit()).count();
        let mut at = usize::from(text[0] == b'-');
        at += match text.get(at) {
            Some(b'0') => 1,
            Some(b'1'..=b'9') => digits(at),
            _ => return Err(self.invalid(self.at + at, "in numeric literal")),
        };
        let whole = at;
        if text.get(at) == Some(&b'.') {
            let n = digits(at + 1);
            if n == 0 {
                return Err(self.invalid(self.at + at + 1, "after decimal point in numeric literal"));
            }
            at += 1 + n;
        }
        if matches!(text.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
            let n = digits(at);
            if n == 0 {
                return Err(self.invalid(self.at + at, "in exponent of numeric literal"));
            }
            at += n;
        }
        // Only an exponent or more than 308 digits can leave the range of a float.
        let number = &self.tree.source()[self.at..self.at + at];
        if (at > whole || at > 300) && !number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(self.fault(self.at, "json: cannot unmarshal number into Go value of type float64"));
        }
        Ok(self.token(self.at + at))
    }

    fn literal(&mut self, word: &'static str) -> Step<Span> {
        let same = self.rest().iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        if same < word.len() {
            let context = format!("in literal {word} (expecting '{}')", &word[same..=same]);
            return Err(self.invalid(self.at + same, &context));
        }
        Ok(self.token(self.at + word.len()))
    }

    /// The text from here to `end`, which is then behind us.
    fn token(&mut self, end: usize) -> Span {
        let span = Span::new(self.at, end);
        self.at = end;
        span
    }

    fn fault(&self, at: usize, message: &'static str) -> Fault {
        Fault { at, message: message.into() }
    }

    /// The character at `at` may not stand there. It is named unless it may belong to a secret.
    fn invalid(&self, at: usize, context: &str) -> Fault {
        let Some(it) = self.tree.source()[at..].chars().next() else { return self.fault(at, "unexpected EOF") };
        let message = match it {
            '{' | '}' | '[' | ']' | ',' | ':' | '"' => format!("invalid character '{it}' {context}"),
            '\u{feff}' | '\0'..' ' => format!("invalid character '{}' {context}", it.escape_default()),
            _ => format!("invalid character {context}"),
        };
        Fault { at, message: message.into() }
    }
}
