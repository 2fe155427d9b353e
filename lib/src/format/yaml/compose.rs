//! Events → tree: nodes in SOPS's order, each comment in the container where SOPS sees it.
//!
//! Spec appendix B. SOPS loads a YAML file twice: once strictly (the first document only), to find
//! keys that stand twice, and once as nodes. Both readings are made here.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::decode;
use super::lines;
use super::parse::{Event, EventKind, Parser};
use super::scalar;
use super::scan::{Lines, ScanError};
use crate::format::{ParseError, ParseErrorKind};
use crate::tree::{Document, Key, Kind, Node, NodeId, Span, Style, Tree};
use crate::value::Value;

/// Reads a YAML stream, which the tree takes over.
///
/// # Errors
///
/// If it is none; the text is left then.
pub(super) fn compose(text: &mut Zeroizing<String>) -> Result<Tree, ParseError> {
    match lines::read(text) {
        Some(tree) => complete(tree, text),
        None => compose_tokens(text),
    }
}

/// As [`compose`], from tokens whatever the text is.
///
/// # Errors
///
/// As for [`compose`].
pub(super) fn compose_tokens(text: &mut Zeroizing<String>) -> Result<Tree, ParseError> {
    let mut composer =
        Composer { tree: Tree::default(), open: Vec::new(), anchors: HashMap::new(), aliases: 0, document: None };
    let source = text.as_str();
    let mut parser = Parser::new(source);
    loop {
        while let Some((key, value)) = parser.plain_pair() {
            composer.plain_pair(source, key, value);
        }
        let event = parser.next().map_err(|error| scan_error(&error))?;
        if event.kind == EventKind::StreamEnd {
            composer.stray(&parser.leftover());
            break;
        }
        composer.event(source, &parser, event)?;
    }
    let Composer { tree, aliases, .. } = composer;
    if tree.documents().is_empty() {
        return Err(ParseError { message: "EOF".to_owned(), line: 0, column: 0, kind: ParseErrorKind::Syntax });
    }
    if aliases > 0 {
        check_aliases(&tree)?;
    }
    complete(tree, text)
}

/// Hands the text to its tree, unless its keys are refused.
fn complete(mut tree: Tree, text: &mut Zeroizing<String>) -> Result<Tree, ParseError> {
    tree.set_source(std::mem::take(text));
    match check_keys(&mut tree) {
        Ok(()) => Ok(tree),
        Err(problem) => {
            **text = tree.take_source();
            Err(problem)
        }
    }
}

struct Composer<'s> {
    tree: Tree,
    open: Vec<Frame>,
    anchors: HashMap<&'s str, NodeId>,
    aliases: usize,
    /// Where the document that is being read begins, and the comments above it.
    document: Option<(u32, Lines)>,
}

/// A container whose end has not been reached.
struct Frame {
    node: NodeId,
    is_map: bool,
    style: Style,
    /// The key whose value comes next.
    key: Option<PendingKey>,
    place: Place,
    /// The last of the comments that come before everything in the container.
    after_head: Option<NodeId>,
    column: u32,
    end: u32,
    has_items: bool,
}

/// How a container stands in what encloses it.
enum Place {
    Root,
    /// In a list, after this sibling.
    Item(Option<NodeId>),
    /// In a mapping, under a key with these comments below it.
    Value(Lines),
}

struct PendingKey {
    key: Key,
    head: Lines,
    inline: Lines,
    foot: Lines,
}

impl<'s> Composer<'s> {
    fn event(&mut self, source: &'s str, parser: &Parser<'s>, event: Event) -> Result<(), ParseError> {
        match event.kind {
            EventKind::DocumentStart { .. } => {
                self.document = Some((event.span.end, event.head));
                Ok(())
            }
            EventKind::DocumentEnd { .. } => {
                self.end_document(&event);
                Ok(())
            }
            EventKind::SequenceEnd | EventKind::MappingEnd => {
                self.close(&event);
                Ok(())
            }
            EventKind::StreamEnd => Ok(()),
            EventKind::Alias | EventKind::Scalar(_) | EventKind::SequenceStart(_) | EventKind::MappingStart(_) => {
                match self.open.last_mut() {
                    Some(frame) if frame.is_map && frame.key.is_none() => self.key(source, parser, event),
                    _ => self.node(source, parser, event),
                }
            }
        }
    }

    /// An entry of a block mapping, on one line, that nothing stands beside.
    fn plain_pair(&mut self, source: &str, key: Span, value: Span) {
        let frame = self.open.last_mut().expect("an entry is inside a mapping");
        frame.has_items = true;
        frame.end = frame.end.max(value.end);
        let parent = frame.node;
        let mut node = Node::new(Kind::Scalar, Style::Plain, value);
        node.column = frame.column;
        let id = self.tree.push(parent, node);
        let not_a_string = plain_key_type(&source[key.range()]);
        self.tree.set_key(id, Key { span: key, decoded: None, not_a_string });
    }

    fn key(&mut self, source: &'s str, parser: &Parser<'s>, event: Event) -> Result<(), ParseError> {
        let frame = self.open.last_mut().expect("a key is inside a mapping");
        let (decoded, not_a_string) = match event.kind {
            EventKind::Scalar(style) => {
                let text = &source[event.span.range()];
                let decoded = match style {
                    Style::Plain if !decode::has_break(text) => None,
                    _ => Some(decode::scalar(source, event.span, style, frame.column)),
                };
                let meaning = decoded.as_deref().map_or(text, String::as_str);
                let tag = event.properties.tag.and_then(|it| parser.resolve_tag(it));
                let kind = match (&tag, style) {
                    (None, Style::Plain) => plain_key_type(meaning),
                    (None, _) => None,
                    (Some(tag), _) => key_type(scalar::resolve_tagged(tag, meaning, style == Style::Plain)),
                };
                if let Some(tag) = &tag {
                    check_tag(&event, tag, meaning, style == Style::Plain)?;
                }
                // Only a key without a tag of its own can mean that mappings are to be merged.
                let is_tagged = tag.is_some_and(|it| it != "!");
                let decoded = decoded.or_else(|| is_tagged.then(|| Zeroizing::new(text.to_owned())));
                if let Some(anchor) = event.properties.anchor {
                    // A key can carry an anchor; what stands for it needs a node of its own.
                    let mut node = Node::new(Kind::Scalar, style, event.span);
                    node.properties = event.properties.span;
                    node.column = frame.column;
                    let id = self.tree.add(node);
                    self.anchors.insert(&source[anchor.range()][1..], id);
                }
                (decoded.map(|it| it.as_str().into()), kind)
            }
            EventKind::Alias => {
                let target = self.target(source, &event)?;
                let node = self.tree.node(target);
                if node.kind != Kind::Scalar {
                    return Err(fail(&event, "invalid map key"));
                }
                let text = decode::scalar(source, node.span, node.style, node.column);
                let kind = if node.style == Style::Plain { plain_key_type(&text) } else { None };
                (Some(text.as_str().into()), kind)
            }
            _ => return Err(fail(&event, "invalid map key: a list or a mapping cannot be a key")),
        };
        let frame = self.open.last_mut().expect("a key is inside a mapping");
        let mut foot = event.foot;
        let (id, block, has_items) = (frame.node, frame.style == Style::Plain, frame.has_items);
        if block && has_items {
            // Below the value before, now that the mapping goes on.
            comments(&mut self.tree, id, &std::mem::take(&mut foot), false);
        }
        let frame = self.open.last_mut().expect("a key is inside a mapping");
        frame.key = Some(PendingKey {
            key: Key { span: event.span, decoded, not_a_string },
            head: event.head,
            inline: event.inline,
            foot,
        });
        frame.has_items = true;
        Ok(())
    }

    fn node(&mut self, source: &'s str, parser: &Parser<'s>, event: Event) -> Result<(), ParseError> {
        let (kind, style) = match event.kind {
            EventKind::Alias => {
                self.aliases += 1;
                (Kind::Alias(self.target(source, &event)?), Style::Plain)
            }
            EventKind::Scalar(style) => (Kind::Scalar, style),
            EventKind::SequenceStart(style) => (Kind::List, style),
            _ => match event.kind {
                EventKind::MappingStart(style) => (Kind::Map, style),
                _ => unreachable!("only nodes come here"),
            },
        };
        let is_leaf = matches!(kind, Kind::Scalar | Kind::Alias(_));
        let mut node = Node::new(kind, style, event.span);
        node.properties = event.properties.span;
        let tag = event.properties.tag.and_then(|it| parser.resolve_tag(it)).filter(|_| kind == Kind::Scalar);
        if let Some(tag) = &tag {
            let meaning = decode::scalar(source, event.span, style, self.open.last().map_or(0, |it| it.column));
            check_tag(&event, tag, &meaning, style == Style::Plain)?;
        }
        let mut key = None;
        let place = match self.open.last_mut() {
            None => return self.root(source, parser, event, node, is_leaf),
            Some(frame) => {
                node.in_flow = frame.style == Style::Flow;
                node.column = frame.column;
                let parent = frame.node;
                match frame.key.take() {
                    Some(pending) => {
                        key = Some(pending.key);
                        comments(&mut self.tree, parent, &pending.head, false);
                        comments(&mut self.tree, parent, &pending.inline, false);
                        if is_leaf {
                            comments(&mut self.tree, parent, &event.head, false);
                            comments(&mut self.tree, parent, &event.inline, true);
                        }
                        Place::Value(pending.foot)
                    }
                    None => {
                        frame.has_items = true;
                        comments(&mut self.tree, parent, &event.head, false);
                        comments(&mut self.tree, parent, &event.inline, true);
                        Place::Item(self.tree.last_child(parent))
                    }
                }
            }
        };
        let parent = self.open.last().expect("checked above").node;
        let id = self.tree.push(parent, node);
        if let Some(key) = key {
            self.tree.set_key(id, key);
        }
        if let Some(tag) = tag {
            self.tree.set_tag(id, tag);
        }
        if let Some(anchor) = event.properties.anchor {
            self.anchors.insert(&source[anchor.range()][1..], id);
        }
        if is_leaf {
            comments(&mut self.tree, parent, &event.foot, false);
            if let Place::Value(foot) = place {
                comments(&mut self.tree, parent, &foot, false);
            }
            self.reached(event.span.end.max(event.properties.span.end));
            return Ok(());
        }
        self.enter(id, event, place);
        Ok(())
    }

    /// The root of a document: a mapping, or nothing at all.
    fn root(
        &mut self,
        source: &'s str,
        parser: &Parser<'s>,
        event: Event,
        mut node: Node,
        is_leaf: bool,
    ) -> Result<(), ParseError> {
        let is_null = node.kind == Kind::Scalar && {
            let text = decode::scalar(source, event.span, node.style, 0);
            let is_plain = node.style == Style::Plain;
            let meaning = match event.properties.tag.and_then(|it| parser.resolve_tag(it)) {
                Some(tag) => scalar::resolve_tagged(&tag, &text, is_plain),
                None if is_plain => scalar::resolve(&text),
                None => Ok(Value::str("")),
            };
            meaning == Ok(Value::Null)
        };
        if node.kind != Kind::Map && !is_null {
            let tag = match node.kind {
                Kind::List => "!!seq",
                _ => "!!str",
            };
            let problem = format!(
                "unmarshal errors:\n  line {}: cannot unmarshal {tag} into map[string]interface {{}}",
                event.line + 1
            );
            return Err(ParseError {
                message: format!("yaml: {problem}"),
                line: event.line + 1,
                column: event.column + 1,
                kind: ParseErrorKind::Syntax,
            });
        }
        node.kind = Kind::Map;
        let id = self.tree.add(node);
        if let Some(anchor) = event.properties.anchor {
            self.anchors.insert(&source[anchor.range()][1..], id);
        }
        let (start, head) = self.document.take().unwrap_or_default();
        comments(&mut self.tree, id, &head, false);
        self.tree.push_document(Document { root: id, span: Span { start, end: start } });
        if is_leaf {
            for lines in [&event.head, &event.inline, &event.foot] {
                comments(&mut self.tree, id, lines, false);
            }
            return Ok(());
        }
        self.enter(id, event, Place::Root);
        Ok(())
    }

    fn enter(&mut self, id: NodeId, event: Event, place: Place) {
        if !matches!(place, Place::Item(_)) {
            comments(&mut self.tree, id, &event.head, false);
            comments(&mut self.tree, id, &event.inline, false);
        }
        // Below an opening bracket: go-yaml drops them.
        comments(&mut self.tree, id, &event.foot, false);
        let (is_map, style) = match event.kind {
            EventKind::MappingStart(style) => (true, style),
            EventKind::SequenceStart(style) => (false, style),
            _ => unreachable!("only containers are entered"),
        };
        self.open.push(Frame {
            node: id,
            is_map,
            style,
            key: None,
            place,
            after_head: self.tree.last_child(id),
            column: event.column as u32,
            end: event.span.end.max(event.span.start),
            has_items: false,
        });
    }

    fn close(&mut self, event: &Event) {
        let frame = self.open.pop().expect("an end for every start");
        let id = frame.node;
        let end = if frame.style == Style::Flow { event.span.end.max(frame.end) } else { frame.end };
        self.tree.node_mut(id).span.end = end;
        comments(&mut self.tree, id, &event.head, false);
        let stays = frame.is_map && frame.style == Style::Plain && frame.has_items;
        if stays {
            comments(&mut self.tree, id, &event.foot, false);
        }
        let foot = if stays { &[][..] } else { &event.foot[..] };
        match frame.place {
            Place::Root => {
                insert_comments(&mut self.tree, id, frame.after_head, &event.inline, false);
                comments(&mut self.tree, id, foot, false);
            }
            Place::Item(after) => {
                let parent = self.open.last().expect("an item has a list").node;
                insert_comments(&mut self.tree, parent, after, &event.inline, true);
                comments(&mut self.tree, parent, foot, false);
            }
            Place::Value(key_foot) => {
                let parent = self.open.last().expect("a value has a mapping").node;
                insert_comments(&mut self.tree, id, frame.after_head, &event.inline, false);
                let inside = if key_foot.is_empty() { parent } else { id };
                comments(&mut self.tree, inside, foot, false);
                comments(&mut self.tree, parent, &key_foot, false);
            }
        }
        self.reached(end);
    }

    fn reached(&mut self, end: u32) {
        if let Some(frame) = self.open.last_mut() {
            frame.end = frame.end.max(end);
        }
    }

    fn end_document(&mut self, event: &Event) {
        let document = self.tree.last_document_mut().expect("a document has begun");
        document.span.end = event.span.start;
        let root = document.root;
        for lines in [&event.head, &event.inline, &event.foot] {
            comments(&mut self.tree, root, lines, false);
        }
    }

    /// Comments that go-yaml drops are comments all the same: nothing may stay in plaintext because
    /// nobody looked at it.
    fn stray(&mut self, lines: &Lines) {
        if let Some(document) = self.tree.last_document_mut() {
            let root = document.root;
            comments(&mut self.tree, root, lines, false);
        }
    }

    fn target(&self, source: &str, event: &Event) -> Result<NodeId, ParseError> {
        let name = &source[event.span.range()][1..];
        let Some(target) = self.anchors.get(name).copied() else {
            return Err(fail(event, &format!("unknown anchor '{name}' referenced")));
        };
        if self.open.iter().any(|it| it.node == target) {
            return Err(fail(event, &format!("anchor '{name}' value contains itself")));
        }
        Ok(target)
    }
}

/// Refuses text that does not mean what its tag says.
fn check_tag(event: &Event, tag: &str, text: &str, plain: bool) -> Result<(), ParseError> {
    match scalar::resolve_tagged(tag, text, plain) {
        Ok(_) | Err(scalar::ScalarError::Unsigned) => Ok(()),
        Err(problem) => Err(fail(event, &problem.to_string())),
    }
}

/// As [`key_type`], of a key without quotes and tag.
pub(super) fn plain_key_type(text: &str) -> Option<&'static str> {
    if scalar::is_str(text) { None } else { key_type(scalar::resolve(text)) }
}

/// What Go calls the type of a key that is not a string.
fn key_type(scalar: scalar::Scalar) -> Option<&'static str> {
    Some(match scalar {
        Ok(Value::Str(_) | Value::Comment(_)) => return None,
        Ok(Value::Int(_)) => "int",
        Ok(Value::Float(_)) => "float64",
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Time(_)) => "time.Time",
        Ok(Value::Null) => "<nil>",
        Err(_) => "uint64",
    })
}

fn comment_node(span: Span, inline: bool) -> Node {
    Node::new(Kind::Comment { inline }, Style::Plain, span)
}

fn comments(tree: &mut Tree, parent: NodeId, lines: &[Span], inline: bool) {
    for span in lines.iter().filter(|it| !it.is_empty()) {
        tree.push(parent, comment_node(*span, inline));
    }
}

fn insert_comments(tree: &mut Tree, parent: NodeId, mut after: Option<NodeId>, lines: &[Span], inline: bool) {
    for span in lines.iter().filter(|it| !it.is_empty()) {
        after = Some(tree.insert(parent, after, comment_node(*span, inline)));
    }
}

/// Refuses documents that aliases blow up, by go-yaml's measure: of a small document nearly all may
/// come from aliases, of a large one a tenth.
fn check_aliases(tree: &Tree) -> Result<(), ParseError> {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    let mut sizes: Vec<f64> = vec![0.0; tree.len()];
    for document in tree.documents() {
        let mut written = 0.0;
        // Children first; a target always comes before its aliases.
        let mut stack = vec![(document.root, false)];
        while let Some((id, done)) = stack.pop() {
            if done {
                let below: f64 = tree.children(id).map(|it| sizes[it.0 as usize]).sum();
                sizes[id.0 as usize] = 1.0 + below;
                continue;
            }
            written += 1.0;
            match tree.node(id).kind {
                Kind::Alias(target) => sizes[id.0 as usize] = 1.0 + sizes[target.0 as usize].max(1.0),
                Kind::Map | Kind::List => {
                    stack.push((id, true));
                    let first = stack.len();
                    stack.extend(tree.children(id).map(|it| (it, false)));
                    stack[first..].reverse();
                }
                Kind::Scalar | Kind::Comment { .. } => sizes[id.0 as usize] = 1.0,
            }
        }
        let total = sizes[document.root.0 as usize];
        let from_aliases = total - written;
        let allowed = match total {
            it if it <= LOW => 0.99,
            it if it >= HIGH => 0.10,
            it => 0.99 - 0.89 * ((it - LOW) / (HIGH - LOW)),
        };
        if from_aliases > 100.0 && total > 1000.0 && from_aliases / total > allowed {
            return Err(plain_error("document contains excessive aliasing"));
        }
    }
    Ok(())
}

/// Finds keys that stand twice and merges of what is no mapping: errors in the first document, as
/// for SOPS, and warnings in the others.
fn check_keys(tree: &mut Tree) -> Result<(), ParseError> {
    let mut warnings = Vec::new();
    for (n, document) in tree.documents().iter().enumerate() {
        let mut problems = Vec::new();
        let mut stack = vec![document.root];
        while let Some(id) = stack.pop() {
            if tree.node(id).kind == Kind::Map {
                duplicate_keys(tree, id, &mut problems);
            }
            for child in tree.children(id) {
                match tree.node(child).kind {
                    Kind::Map | Kind::List => stack.push(child),
                    _ => (),
                }
                if is_merge(tree, child) && !merges_mappings(tree, child) {
                    let problem = "map merge requires map or sequence of maps as the value";
                    if n == 0 {
                        return Err(plain_error(problem));
                    }
                    warnings.push(problem.to_owned());
                }
            }
        }
        match (problems.is_empty(), n) {
            (true, _) => (),
            (false, 0) => {
                let (line, column) = (problems[0].0, 1);
                let texts: Vec<_> = problems.iter().map(|(_, text)| format!("  {text}")).collect();
                return Err(ParseError {
                    message: format!("yaml: unmarshal errors:\n{}", texts.join("\n")),
                    line,
                    column,
                    kind: ParseErrorKind::Syntax,
                });
            }
            (false, _) => warnings.extend(problems.into_iter().map(|(_, text)| text)),
        }
    }
    tree.warnings.extend(warnings);
    Ok(())
}

/// As many places are named at most.
const MAX_PROBLEMS: usize = 20;

fn duplicate_keys(tree: &Tree, map: NodeId, problems: &mut Vec<(usize, String)>) {
    for (first, again) in tree.repeated_keys(map).into_iter().take(MAX_PROBLEMS) {
        let (line, key, first) = (tree.line_of_key(again), tree.key(again), tree.line_of_key(first));
        problems.push((line, format!("line {line}: mapping key {key:?} already defined at line {first}")));
    }
}

fn is_merge(tree: &Tree, id: NodeId) -> bool {
    tree.key_of(id).is_some_and(|key| key.decoded.is_none() && tree.text(key.span) == "<<")
}

fn merges_mappings(tree: &Tree, id: NodeId) -> bool {
    let is_map = |id: NodeId| tree.node(tree.resolve(id)).kind == Kind::Map;
    match tree.node(id).kind {
        Kind::List => tree.children(id).all(|it| matches!(tree.node(it).kind, Kind::Comment { .. }) || is_map(it)),
        _ => is_map(id),
    }
}

fn plain_error(problem: &str) -> ParseError {
    ParseError { message: format!("yaml: {problem}"), line: 0, column: 0, kind: ParseErrorKind::Syntax }
}

fn fail(event: &Event, problem: &str) -> ParseError {
    ParseError {
        message: format!("yaml: line {}: {problem}", event.line + 1),
        line: event.line + 1,
        column: event.column + 1,
        kind: ParseErrorKind::Syntax,
    }
}

fn scan_error(error: &ScanError) -> ParseError {
    let line = error.context.map_or(error.at.line, |it| it.line) + 1;
    ParseError {
        message: format!("yaml: line {line}: {}", error.problem),
        line: error.at.line + 1,
        column: error.at.column + 1,
        kind: ParseErrorKind::Syntax,
    }
}
