//! What YAML files mean, as a table: spec 1.7 and appendix B.2, and what else was once read wrongly.

use crate::format::{Format, Layout, ParseErrorKind, named};
use crate::tree::{Edits, Entry, Kind, NodeId, Tree, Wire};
use crate::value::Value;

fn yaml() -> &'static dyn Format {
    named("yaml").expect("it is in the table")
}

/// A tree on one line: `{# comment, #~ comment behind a value, key: value}`.
fn dump(tree: &Tree) -> String {
    let documents: Vec<_> = tree.documents().iter().map(|it| dump_node(tree, it.root)).collect();
    documents.join(", ")
}

fn dump_node(tree: &Tree, id: NodeId) -> String {
    let node = tree.node(tree.resolve(id));
    let children = || tree.children(tree.resolve(id)).map(|it| dump_child(tree, it)).collect::<Vec<_>>().join(", ");
    match node.kind {
        Kind::Map => format!("{{{}}}", children()),
        Kind::List => format!("[{}]", children()),
        _ => match yaml().value(tree, id).expect("the tree says what it means") {
            Value::Str(it) => format!("{:?}", it.expose_str().unwrap_or("<bytes>")),
            Value::Float(it) => format!("{it:?}"),
            Value::Null => "null".to_owned(),
            it => String::from_utf8_lossy(&it.canonical()).to_lowercase(),
        },
    }
}

fn dump_child(tree: &Tree, id: NodeId) -> String {
    let node = tree.node(id);
    match (node.kind, tree.key_of(id)) {
        (Kind::Comment { inline }, _) => {
            format!("#{}{}", if inline { "~" } else { "" }, &tree.text(node.span)[1..])
        }
        (_, Some(key)) => match key.not_a_string {
            Some(it) => format!("<{it}>: {}", dump_node(tree, id)),
            None => format!("{}: {}", tree.key(id), dump_node(tree, id)),
        },
        _ => dump_node(tree, id),
    }
}

fn read(source: &str) -> String {
    match yaml().parse(source.as_bytes()) {
        Ok(tree) => dump(&tree),
        Err(problem) => format!("error: {}", problem.message),
    }
}

#[test]
fn files_mean_what_they_mean_to_sops() {
    let cases = include_str!("testdata/trees.txt").split("==== ").skip(1);
    for case in cases {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (source, wanted) = rest.split_once(">>>> ").expect("a tree");
        let (wanted, found) = (wanted.trim_end(), read(source));
        match wanted.strip_prefix("error: ") {
            Some(wanted) => assert!(found.starts_with("error: ") && found.contains(wanted), "{name}: {found}"),
            None => assert_eq!(found, wanted, "{name}"),
        }
    }
}

#[test]
fn breaks_marks_and_encodings_are_read_as_go_yaml_reads_them() {
    for (source, wanted) in [
        ("a: 1\r\nb: |\r\n  x\r\n", "{a: 1, b: \"x\\n\"}"),
        ("a: 1\rb: 2\r", "{a: 1, b: 2}"),
        ("\u{feff}a: 1\n", "{a: 1}"),
        // A mark inside is text.
        ("a: 1\n\u{feff}b: 2\n", "{a: 1, \u{feff}b: 2}"),
        ("\u{feff}\u{feff}a: 1\n", "error: yaml: the text starts with two byte order marks"),
        ("a: \u{e9}\u{2028}# \u{e9}\u{85}? b\u{85}", "{a: \"\u{e9}\", # \u{e9}, b: null}"),
        ("a: \u{7f}\n", "error: yaml: control characters are not allowed"),
    ] {
        assert_eq!(read(source), wanted, "{source:?}");
    }
    let utf_16: Vec<u8> = "\u{feff}a: \u{e9}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(dump(&yaml().parse(&utf_16).expect("it has its mark")), "{a: \"\u{e9}\"}");
    assert_eq!(yaml().parse(b"").map(|_| ()).map_err(|it| it.kind), Err(ParseErrorKind::Empty));
    assert!(yaml().parse(b"a: \xff\n").is_err());
}

fn metadata() -> Wire {
    let pair = |key: &str, value| Entry::Pair(key.to_owned(), value);
    let stanza = Wire::Map(vec![
        pair("enc", Wire::text("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n")),
        pair("recipient", Wire::text("age1x")),
    ]);
    Wire::Map(vec![pair("age", Wire::List(vec![stanza])), pair("mac", Wire::text("ENC[x]"))])
}

/// What `work` makes of `source`.
fn edited(source: &str, work: impl FnOnce(&Tree, &mut Edits)) -> String {
    let tree = yaml().parse(source.as_bytes()).expect("the source can be read");
    let mut edits = Edits::default();
    work(&tree, &mut edits);
    edits.apply(source).to_string()
}

fn detach_all(tree: &Tree, edits: &mut Edits) {
    for document in tree.documents() {
        yaml().detach(tree, document, edits);
    }
}

#[test]
fn what_is_attached_can_be_detached() {
    for source in [
        "a: 1\n",
        "a: 1",
        "a: 1\n# foot\n",
        "a: 1\n  ",
        "a: 1\r\nb: 2\r\n",
        "a: 1\r\nb: 2",
        "a: 1\r",
        "  a: 1\n",
        "\u{feff}a: 1\n",
        "---\na: 1\n---\nb: 1\n...\n# end\n",
        "{}\n",
        "{a: 1}",
        "{a: 1, # c\n}\n",
        "{a: 1 # c\n}\n",
        "{ # c\n}\n",
        "{\"a\":}\n",
        "{a: !!str }\n",
        "{a, b:}\n",
        "a: |+\n  x\n\n",
        "a: |\n  x\n  ",
    ] {
        let attached = edited(source, |tree, edits| yaml().attach(tree, &metadata(), None, &Layout::default(), edits));
        let tree = yaml().parse(attached.as_bytes()).unwrap_or_else(|it| panic!("{source:?}: {it}\n{attached}"));
        for document in tree.documents() {
            let last = tree.children(document.root).filter(|it| tree.key_of(*it).is_some()).last();
            assert_eq!(last.map(|it| tree.key(it)), Some("sops"), "{attached}");
        }
        assert_eq!(edited(&attached, detach_all), source, "{attached}");
        let again =
            edited(&attached, |it, edits| yaml().attach(it, &metadata(), Some(&tree), &Layout::default(), edits));
        assert_eq!(again, attached);
    }
}

#[test]
fn an_open_block_scalar_keeps_its_value_above_the_metadata() {
    for (source, wanted) in [("a: |\n  x", "{a: \"x\"}"), ("a: >+\n  x", "{a: \"x\"}"), ("a: |1\n  ", "{a: \" \"}")] {
        assert_eq!(read(source), wanted);
        let attached = edited(source, |tree, edits| yaml().attach(tree, &metadata(), None, &Layout::default(), edits));
        let detached = edited(&attached, detach_all);
        assert!(read(&attached).starts_with(wanted.trim_end_matches('}')), "{attached}");
        assert_eq!(read(&detached), wanted, "{detached}");
    }
}

#[test]
fn envelopes_stand_where_values_stood() {
    let sealed = |source: &str| {
        edited(source, |tree, edits| {
            for id in (0..tree.len() as u32).map(NodeId) {
                if yaml().value(tree, id).is_ok_and(|it| it != Value::Null) {
                    yaml().replace(tree, id, &yaml().sealed(tree, id, "ENC[x]"), edits);
                }
            }
        })
    };
    for (source, wanted) in [
        ("a: 1 # c\n", "a: ENC[x] #ENC[x]\n"),
        ("a: 'x'\nb: \"z\"\n", "a: 'ENC[x]'\nb: \"ENC[x]\"\n"),
        // SOPS would quote this word, so nothing needs saying.
        ("a: 'y'\nb: \"y\"\n", "a: 'ENC[x]'\nb: ENC[x]\n"),
        ("a: | # c\n  x\n  y\nb: 1\n", "a: ENC[x] #ENC[x]\nb: ENC[x]\n"),
        ("a: !!str 5\nb: !t &x y\n", "a: ENC[x]\nb: &x ENC[x]\n"),
        ("a: !r #c\n", "a: ENC[x] #ENC[x]\n"),
        ("a: [1, {b: c}]\n", "a: [\"ENC[x]\", {b: \"ENC[x]\"}]\n"),
        ("a: one\n  two\n", "a: ENC[x]\n"),
        ("a: ># c\n  x\n", "a: ENC[x] #ENC[x]\n"),
        ("a:\n|\n x\n", "a:\n ENC[x]\n"),
        ("a: &b:c\n", "a: &b ENC[x]\n"),
    ] {
        assert_eq!(sealed(source), wanted);
    }
}

#[test]
fn many_lines_do_not_disturb_what_stands_around_them() {
    let spelt = |source: &str, text: &str| {
        edited(source, |tree, edits| {
            let id = tree.child(tree.documents()[0].root, "a").expect("every case has it");
            yaml().replace(tree, id, &yaml().spell(tree, id, &Value::str(text)), edits);
        })
    };
    for source in [
        "a: x",
        "a: x  \nb: 1\n",
        "a: x\t# c\nb: 1\n",
        "a: x\n        # deep\nb: 1\n",
        "a: x\n\n      \nb: 1\n",
        "a: x\n\n\n",
        "a: x\r\nb: 1\r\n",
        "a: x\u{2028}b: 1\n",
        "a: | # c\n  x",
    ] {
        for text in ["two\nlines\n", "two\nlines", "two\nlines\n\n"] {
            let result = spelt(source, text);
            let tree = yaml().parse(result.as_bytes()).unwrap_or_else(|it| panic!("{source:?}: {it}\n{result}"));
            let id = tree.child(tree.documents()[0].root, "a").expect("it stays");
            assert_eq!(yaml().str(&tree, id).as_deref(), Some(text), "{source:?}: {result:?}");
        }
    }
}

#[test]
fn set_and_unset_change_the_lines_they_must() {
    let path = |it: &str| crate::key_path::KeyPath::parse(it).expect("a path");
    let text = Wire::text("x");
    for (source, at, wanted) in [
        ("a: 1 # c\n", "[\"a\"]", "a: x # c\n"),
        ("a: 1\n", "[\"b\"]", "a: 1\nb: x\n"),
        ("a: 1", "[\"b\"]", "a: 1\nb: x\n"),
        ("a: 1\n  # deep\n# c\n", "[\"b\"]", "a: 1\n  # deep\n# c\nb: x\n"),
        ("a: # c\n  - 1\n", "[\"a\"]", "a: # c\n  x\n"),
        ("a: &x 1\nb: *x\n", "[\"a\"]", "a: x\nb: 1\n"),
        ("a: {b}\n", "[\"a\"][\"b\"]", "a: {b: x}\n"),
        ("a: [1, # c\n 2]\n", "[\"a\"][9]", "a: [1, # c\n 2, x]\n"),
        ("a: [b: 1]\n", "[\"a\"][0][\"c\"]", "a: [{b: 1, c: x}]\n"),
        ("? a\n", "[\"a\"]", "? a\n: x\n"),
        ("{} # c\n", "[\"a\"]", "{a: x} # c\n"),
        ("a:\n  # c\n  - 1\n", "[\"a\"][0]", "a:\n  - x\n  - 1\n"),
    ] {
        let result = edited(source, |tree, edits| yaml().insert(tree, &path(at), &text, edits).expect("it fits"));
        assert_eq!(result.replace("{ ", "{"), wanted, "{source:?} {at}");
    }
    for (source, at, wanted) in [
        ("a: 1\nb: 2\n", "[\"a\"]", "b: 2\n"),
        ("a: 1\nb: 2", "[\"b\"]", "a: 1\n"),
        ("&x a: 1\n? b\n: 2\n", "[\"b\"]", "&x a: 1\n"),
        ("l:\n- a\n- b\n", "[\"l\"][1]", "l:\n- a\n"),
        ("l:\n- a: 1\n  # c\n  b: 2\n", "[\"l\"][0][\"a\"]", "l:\n- # c\n  b: 2\n"),
        ("a: {b: 1, # c\n c: 2}\n", "[\"a\"][\"b\"]", "a: {# c\n c: 2}\n"),
        ("a: [1, 2]\n", "[\"a\"][1]", "a: [1]\n"),
        ("a: |+\n  x\nb: 1\n\nc: 1\n", "[\"b\"]", "a: |+\n  x\nc: 1\n"),
        ("a:\n  b: 1\n", "[\"a\"][\"b\"]", "a: {}\n"),
        ("a: 1\n", "[\"a\"]", "{}\n"),
        ("a: 1 # x\nb: 2 # y\nc: 3\n", "[\"b\"]", "a: 1 # x\n# y\nc: 3\n"),
        ("a: 1\nb: 2 # y", "[\"b\"]", "a: 1\n# y"),
        (
            "m:\r\n  a: |+\r\n    x\r\n\r\n  b: 2 # y\r\n  c: 3\r\n",
            "[\"m\"][\"b\"]",
            "m:\r\n  a: |+\r\n    x\r\n\r\n  # y\r\n  c: 3\r\n",
        ),
        ("a: # x\n  k: 1 # gone\nb: 2\n", "[\"a\"]", "# x\nb: 2\n"),
        ("l:\n- a\n- b # y\n- c\n", "[\"l\"][2]", "l:\n- a\n# y\n- c\n"),
        ("l:\n- a: 1 # x\n  b: 2\n", "[\"l\"][0][\"a\"]", "l:\n- # x\n  b: 2\n"),
    ] {
        let result = edited(source, |tree, edits| yaml().remove(tree, &path(at), edits).expect("it is there"));
        assert_eq!(result, wanted, "{source:?} {at}");
    }
}

#[test]
fn lines_are_read_as_tokens_are() {
    let show = |tree: Tree| {
        let node = |id| format!("{:?} {:?}", tree.node(id), tree.key_of(id));
        let nodes: Vec<_> = (0..tree.len() as u32).map(|it| node(NodeId(it))).collect();
        (nodes, format!("{:?}", tree.documents()), tree.indent_unit)
    };
    for (source, is_simple) in [
        ("a: b\n", true),
        ("a: b c\nd: 'e: f'\ng: \"h: i\"\n", true),
        ("a: b:c\n.d: -1\n/e_f: (g)\n1: 2\n", true),
        ("a:\n    b:\n        c: ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]\n    d: e\nf: g\n", true),
        ("a:\n    - b\n    - c: d\n      e: f\n    - g\n", true),
        ("a:\n- b\n- c:\n  - d\n  e: f\ng: h\n", true),
        ("a:\n  - b:\n      c: d\n  - e\nf:\n  g: |\n    h\n     i: j\n  k: l\n", true),
        ("a: |-\n  b\n  c\n\nd: e\n", false),
        ("a: b\n\nc: d\n\n", true),
        ("a: é\nb: \u{1F600}\n", true),
        ("a: b\n  c\n", false),
        ("a: b # c\n", false),
        ("# c\na: b\n", false),
        ("a: b\n---\nc: d\n", false),
        ("a:\nb: c\n", false),
        ("a: b", false),
        ("a: &b c\nd: *b\n", false),
        ("a: [b]\n", false),
        ("a: \"b\\n\"\n", false),
        ("a: 'b''c'\n", false),
        ("a: b \n", false),
        ("a: b\r\nc: d\r\n", false),
        ("a: b\u{2028}c\n", false),
        ("a:  b\n", false),
        ("- a\n", false),
        (" a: b\n", false),
    ] {
        assert_eq!(super::lines::read(source).is_some(), is_simple, "{source:?}");
        let (lines, tokens) = (yaml().parse(source.as_bytes()), super::parse_tokens(source.as_bytes()));
        assert_eq!(lines.map(show), tokens.map(show), "{source:?}");
    }
    // Every short text, as a value, as an item and as a key.
    const SIGNS: &str = "-?:#&*!|>'\"%@{[,.~=a1 \t";
    let mut texts = vec![String::new()];
    for _ in 0..3 {
        let longer = texts.iter().flat_map(|it| SIGNS.chars().map(move |sign| format!("{it}{sign}")));
        texts = longer.chain([String::new()]).collect();
        for text in &texts {
            for source in [format!("k: {text}\nl: x\n"), format!("k:\n- {text}\n- x\n"), format!("{text}: x\nl: x\n")] {
                let (lines, tokens) = (yaml().parse(source.as_bytes()), super::parse_tokens(source.as_bytes()));
                assert_eq!(lines.map(show), tokens.map(show), "{source:?}");
            }
        }
    }
    for deep in [100, 300] {
        let source: String = (0..deep).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        let source = format!("{source}{}a: b\n", " ".repeat(deep));
        let (lines, tokens) = (yaml().parse(source.as_bytes()), super::parse_tokens(source.as_bytes()));
        assert_eq!(lines.map(show), tokens.map(show), "{deep}");
    }
}
