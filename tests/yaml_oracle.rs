//! The YAML reader against another one: the same structure wherever go-yaml and the specification
//! agree, and a list of where they do not.

use std::fmt::Write as _;

use granit_parser::{Event, Parser};
use leafseal::format::{self, Format};
use leafseal::tree::{Kind, NodeId, Style, Tree};
use proptest::prelude::*;

fn yaml() -> &'static dyn Format {
    format::named("yaml").expect("it is in the table")
}

/// The structure of every document, one event a line, without comments. `None` if it is refused.
fn ours(source: &str) -> Option<String> {
    let tree = yaml().parse(source.as_bytes()).ok()?;
    let mut events = String::new();
    for document in tree.documents() {
        events.push_str("---\n");
        describe(&tree, document.root, &mut events);
    }
    Some(events)
}

fn describe(tree: &Tree, id: NodeId, events: &mut String) {
    let node = tree.node(id);
    let (open, close) = match node.kind {
        Kind::Map => ("{\n", "}\n"),
        Kind::List => ("[\n", "]\n"),
        Kind::Alias(_) => return events.push_str("*\n"),
        Kind::Comment { .. } => return,
        Kind::Scalar => {
            let text = yaml().str(tree, id).unwrap_or_else(|| tree.text(node.span).into());
            return scalar(&text, node.style == Style::Plain, events);
        }
    };
    events.push_str(open);
    for child in tree.children(id) {
        if let Some(key) = tree.key_of(child) {
            let is_plain = !tree.text(key.span).starts_with(['\'', '"', '|', '>']);
            scalar(tree.key(child), is_plain, events);
        }
        describe(tree, child, events);
    }
    events.push_str(close);
}

fn scalar(text: &str, is_plain: bool, events: &mut String) {
    // A null that nothing spells is `~` for the other reader.
    let text = if is_plain && text == "~" { "" } else { text };
    writeln!(events, "{}{text:?}", if is_plain { "" } else { "quoted " }).expect("a string takes everything");
}

fn theirs(source: &str) -> Option<String> {
    let options = granit_parser::options! { emit_comments: false };
    let mut events = String::new();
    for event in Parser::new_from_str_with_options(source, options) {
        match event.ok()?.0 {
            Event::DocumentStart(..) => events.push_str("---\n"),
            Event::SequenceStart(..) => events.push_str("[\n"),
            Event::SequenceEnd => events.push_str("]\n"),
            Event::MappingStart(..) => events.push_str("{\n"),
            Event::MappingEnd => events.push_str("}\n"),
            Event::Alias(_) => events.push_str("*\n"),
            Event::Scalar(text, style, ..) => {
                scalar(&text, style == granit_parser::ScalarStyle::Plain, &mut events);
            }
            _ => (),
        }
    }
    Some(events)
}

#[test]
fn the_table_of_trees_has_the_same_structure() {
    let cases = include_str!("../lib/src/format/yaml/testdata/trees.txt").split("==== ").skip(1);
    let mut compared = 0;
    for case in cases {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (source, wanted) = rest.split_once(">>>> ").expect("a tree");
        // A document without a mapping at its root is a matter of SOPS, and so is what a tag makes of
        // a text.
        let is_empty = wanted.starts_with("{}") || wanted.starts_with("{# only}");
        if wanted.starts_with("error: ") || is_empty || source.contains("!!") {
            continue;
        }
        assert_eq!(ours(source), theirs(source), "{name}");
        compared += 1;
    }
    assert!(compared > 40, "{compared}");
}

/// Where go-yaml, and so SOPS, parts from the specification: the source, and whether we and whether
/// the other reader can read it.
const DIFFERENCES: &[(&str, bool, bool)] = &[
    // go-yaml is lax.
    ("a: \"value\"# c\n", true, false),
    ("a: [b]#c\n", true, false),
    ("a: [b,#c\n c]\n", true, false),
    ("a: \"\\'\"\n", true, false),
    ("a: \"b\nc\"\n", true, false),
    ("a: ># c\n  x\n", true, false),
    // go-yaml is strict.
    ("%YAML 1.2\n---\na: 1\n", false, true),
    ("a: *b\n", false, false),
    ("a: 1\na: 2\n", false, true),
    // SOPS wants a mapping.
    ("- a\n", false, true),
    ("? [a]\n: b\n", false, true),
    // Both read it, and not the same.
    ("a: {?b: x}\n", true, true),
    ("a: &b:c v\n", true, true),
    ("a: {b:, c}\n", true, true),
];

#[test]
fn the_differences_are_those_we_know() {
    for (source, we, they) in DIFFERENCES {
        let (ours, theirs) = (ours(source), theirs(source));
        assert_eq!((ours.is_some(), theirs.is_some()), (*we, *they), "{source:?}");
        assert!(ours != theirs || !we, "no difference any more: {source:?}");
    }
}

/// A document in the making.
#[derive(Clone, Debug)]
enum Value {
    Scalar(String),
    List(Vec<Value>),
    Map(Vec<Value>),
    FlowList(Vec<String>),
    FlowMap(Vec<String>),
    Lines { header: &'static str, lines: Vec<&'static str> },
    Null,
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        "[a-z]{1,3} [a-z:#]{1,3}x",
        "\"[ a-z#:,\\]}]{0,8}\"",
        "\"[a-z](\\\\n|\\\\t|\\\\x41|\\\\u00e9)[a-z]\"",
        "'([ a-z#:\"]|''){0,6}'",
        "-?[0-9]{1,4}",
        Just("http://x/y".to_owned()),
        Just("é".to_owned()),
    ]
}

fn flow_word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "\"[a-z,:\\[#]{0,6}\"", "'[a-z{}]{0,6}'", Just("[b, {c: d}]".to_owned())]
}

fn value() -> impl Strategy<Value = Value> {
    let header = prop_oneof![Just("|"), Just(">"), Just("|-"), Just(">-"), Just("|+"), Just(">+")];
    let line = prop_oneof![Just("x"), Just("# no comment"), Just("a: b"), Just(""), Just("  deep"), Just("é")];
    let lines = (header, prop::collection::vec(line, 1..4)).prop_map(|(header, mut lines)| {
        lines[0] = "first";
        Value::Lines { header, lines }
    });
    let leaf = prop_oneof![
        4 => word().prop_map(Value::Scalar),
        1 => Just(Value::Null),
        1 => prop::collection::vec(flow_word(), 0..4).prop_map(Value::FlowList),
        1 => prop::collection::vec(flow_word(), 0..4).prop_map(Value::FlowMap),
        1 => lines,
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::List),
            prop::collection::vec(inner, 1..4).prop_map(Value::Map),
        ]
    })
}

/// Writes values with comments and empty lines around them, where `noise` says so.
struct Writer<'n> {
    text: String,
    noise: std::iter::Cycle<std::slice::Iter<'n, u8>>,
}

impl Writer<'_> {
    fn next(&mut self) -> u8 {
        self.noise.next().copied().unwrap_or(0)
    }

    fn end_line(&mut self) {
        let end = match self.next() % 8 {
            0 => " # c\n",
            1 => "  \n",
            _ => "\n",
        };
        self.text.push_str(end);
        match self.next() % 10 {
            0 => self.text.push('\n'),
            1 => self.text.push_str("# c\n"),
            2 => self.text.push_str("    # c\n\n"),
            _ => (),
        }
    }

    fn value(&mut self, value: &Value, column: usize) {
        let inside = column + 1 + usize::from(self.next() % 4);
        match value {
            Value::Null => self.end_line(),
            Value::Scalar(text) => {
                write!(self.text, " {text}").expect("a string takes everything");
                self.end_line();
            }
            Value::FlowList(items) => {
                write!(self.text, " [{}]", items.join(", ")).expect("a string takes everything");
                self.end_line();
            }
            Value::FlowMap(items) => {
                let pairs: Vec<_> = items.iter().enumerate().map(|(n, it)| format!("k{n}: {it}")).collect();
                let separator = format!(",\n{:inside$}", "");
                write!(self.text, " {{{}}}", pairs.join(&separator)).expect("a string takes everything");
                self.end_line();
            }
            Value::Lines { header, lines } => {
                writeln!(self.text, " {header}").expect("a string takes everything");
                for line in lines {
                    match line.is_empty() {
                        true => self.text.push('\n'),
                        false => writeln!(self.text, "{:inside$}{line}", "").expect("a string takes everything"),
                    }
                }
            }
            Value::List(items) => {
                self.end_line();
                for item in items {
                    write!(self.text, "{:inside$}-", "").expect("a string takes everything");
                    self.value(item, inside);
                }
            }
            Value::Map(items) => {
                self.end_line();
                self.entries(items, inside);
            }
        }
    }

    fn entries(&mut self, items: &[Value], column: usize) {
        for (n, item) in items.iter().enumerate() {
            let key = match self.next() % 5 {
                0 => format!("\"k{n}\""),
                1 => format!("'k{n}'"),
                2 => format!("k {n}"),
                _ => format!("k{n}"),
            };
            write!(self.text, "{:column$}{key}:", "").expect("a string takes everything");
            self.value(item, column);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_have_the_same_structure(
        items in prop::collection::vec(value(), 1..5),
        noise in prop::collection::vec(any::<u8>(), 1..40),
        crlf in any::<bool>(),
    ) {
        let mut writer = Writer { text: String::new(), noise: noise.iter().cycle() };
        writer.entries(&items, 0);
        let text = if crlf { writer.text.replace('\n', "\r\n") } else { writer.text };
        let (ours, theirs) = (ours(&text), theirs(&text));
        prop_assert!(ours.is_some(), "refused:\n{text}");
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn nothing_is_too_odd_to_be_answered(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[-a:?#|>'\"{}\\[\\],&*!% \n\t\r\u{85}\u{2028}é]{0,80}") {
        let _ = yaml().parse(&bytes);
        if let Ok(tree) = yaml().parse(text.as_bytes()) {
            for document in tree.documents() {
                let _ = yaml().wire(&tree, document.root);
            }
        }
    }
}
