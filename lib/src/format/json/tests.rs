//! What JSON promises: meaning, errors, and that nothing changes but what should.

use proptest::prelude::*;

use super::*;
use crate::tree::METADATA_KEY;

fn parsed(text: &str) -> Tree {
    Json.parse(text.as_bytes()).expect("this is JSON")
}

fn root(text: &str) -> Wire {
    let tree = parsed(text);
    Json.wire(&tree, tree.documents()[0].root).expect("it has been parsed")
}

fn map(pairs: &[(&str, Wire)]) -> Wire {
    Wire::Map(pairs.iter().map(|(key, value)| Entry::Pair((*key).to_owned(), value.clone())).collect())
}

fn metadata(mac: &str) -> Wire {
    map(&[
        ("age", Wire::List(vec![map(&[("enc", Wire::text("-----BEGIN\n")), ("recipient", Wire::text("age1"))])])),
        ("kms", Wire::List(vec![])),
        ("mac", Wire::text(mac)),
        ("mac_only_encrypted", Wire::Leaf(Value::Bool(true))),
        ("version", Wire::text("3.13.3")),
    ])
}

fn attached(text: &str, metadata: &Wire, before: Option<&str>) -> String {
    let (tree, before) = (parsed(text), before.map(parsed));
    let mut edits = Edits::default();
    Json.attach(&tree, metadata, before.as_ref(), &Layout::default(), &mut edits);
    edits.apply(text).to_string()
}

fn detached(text: &str) -> String {
    let mut edits = Edits::default();
    let tree = parsed(text);
    Json.detach(&tree, &tree.documents()[0], &mut edits);
    edits.apply(text).to_string()
}

#[test]
fn scalars_mean_what_sops_reads() {
    for (text, value) in [
        ("1", Value::Int(1)),
        ("-0", Value::Int(0)),
        ("9007199254740993", Value::Int(9_007_199_254_740_993)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        ("9223372036854775808", Value::Float(9_223_372_036_854_775_808.0)),
        ("1.0", Value::Float(1.0)),
        ("1e3", Value::Float(1000.0)),
        ("-1.5E-2", Value::Float(-0.015)),
        ("1e-400", Value::Float(0.0)),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("null", Value::Null),
        (r#""""#, Value::str("")),
        (r#""a\"\\\/\b\f\n\r\tz""#, Value::str("a\"\\/\u{8}\u{c}\n\r\tz")),
        (r#""\u00e9\u20AC\ud83d\ude00""#, Value::str("é€😀")),
        (r#""\ud83d""#, Value::str("\u{fffd}")),
        (r#""\ud83dx\ude00""#, Value::str("\u{fffd}x\u{fffd}")),
        (r#""\ud83d\ud83d\ude00\u0041""#, Value::str("\u{fffd}😀A")),
        (r#""\ud83d\n""#, Value::str("\u{fffd}\n")),
        (r#""\ud83d\u0041é""#, Value::str("\u{fffd}Aé")),
    ] {
        let wire = root(&format!("{{\"k\": {text}}}"));
        assert!(wire.get("k") == Some(&Wire::Leaf(value)), "{text}");
    }
}

#[test]
fn structure_and_spans() {
    let text = r#" {"a": [1, {"b\n": "c"}, []], "a": null} "#;
    let tree = parsed(text);
    let root = tree.documents()[0].root;
    assert_eq!(tree.text(tree.node(root).span), text.trim());
    let children: Vec<_> = tree.children(root).collect();
    assert_eq!(children.iter().map(|it| tree.key(*it)).collect::<Vec<_>>(), ["a", "a"]);
    let items: Vec<_> = tree.children(children[0]).map(|it| tree.text(tree.node(it).span)).collect();
    assert_eq!(items, ["1", r#"{"b\n": "c"}"#, "[]"]);
    let object = tree.children(children[0]).nth(1).expect("there are three");
    let inner = tree.first_child(object).expect("it has a member");
    assert_eq!((tree.key(inner), tree.text(tree.node(inner).span)), ("b\n", "\"c\""));
    assert_eq!(Json.str(&tree, inner).as_deref(), Some("c"));
    assert_eq!(Json.str(&tree, children[1]), None);
}

#[test]
fn errors_say_what_sops_says_and_where() {
    let refused = "SOPS only supports JSON files with a top-level object (starting with '{'), not";
    for (text, message, line, column) in [
        ("", "EOF", 1, 1),
        (" \n ", "EOF", 2, 2),
        ("{", "unexpected EOF", 1, 2),
        ("{\"a\"", "unexpected EOF", 1, 5),
        ("{\"a\":[1", "unexpected EOF", 1, 8),
        ("{\"a\":\"b", "unexpected EOF", 1, 8),
        ("{\"a\":\"b\\", "unexpected EOF", 1, 9),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string", 1, 8),
        ("{\"a\" 1}", "invalid character after object key", 1, 6),
        ("{a:1}", "invalid character looking for beginning of object key string", 1, 2),
        ("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')", 1, 9),
        ("{\"a\":[1 2]}", "invalid character after array element", 1, 9),
        ("{\"a\":[1,]}", "invalid character ']' looking for beginning of value", 1, 9),
        ("{\"a\":01}", "invalid character after object key:value pair", 1, 7),
        ("{\"a\":1]}", "invalid character ']' after object key:value pair", 1, 7),
        ("{\"a\":\"\\x\"}", "invalid character in string escape code", 1, 8),
        ("{\"a\":\"\\u12g4\"}", "invalid character in \\u hexadecimal character escape", 1, 11),
        ("{\n\"é\":\"b\nc\"}", "invalid character '\\n' in string literal", 2, 7),
        ("{\"a\":-}", "invalid character '}' in numeric literal", 1, 7),
        ("{\"a\":1.}", "invalid character '}' after decimal point in numeric literal", 1, 8),
        ("{\"a\":1e+}", "invalid character '}' in exponent of numeric literal", 1, 9),
        ("{\"a\":1E400}", "json: cannot unmarshal number into Go value of type float64", 1, 6),
        ("{\"a\":hunter2}", "invalid character looking for beginning of value", 1, 6),
        ("{} x", "invalid character after top-level value", 1, 4),
        ("{}{}", "invalid character '{' after top-level value", 1, 3),
        ("\u{feff}{}", "invalid character '\\u{feff}' looking for beginning of value", 1, 1),
        ("[1]", &format!("{refused} arrays or other types. Got delimiter ["), 1, 1),
        ("\"secret\"", &format!("{refused} other JSON types. Got a string instead"), 1, 1),
        ("12", &format!("{refused} other JSON types. Got a number instead"), 1, 1),
        ("null", &format!("{refused} other JSON types. Got null instead"), 1, 1),
    ] {
        let Err(error) = Json.parse(text.as_bytes()) else { panic!("{text} is accepted") };
        let start = format!("Could not unmarshal input data: {message}");
        assert!(error.message.starts_with(&start), "{text}: {}", error.message);
        assert_eq!((error.line, error.column), (line, column), "{text}: {}", error.message);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_with_a_warning() {
    let tree = Json.parse(b"{\"k\": \"a\xe2\x82b\xff\"}").expect("it is JSON otherwise");
    assert_eq!(tree.source(), "{\"k\": \"a\u{fffd}\u{fffd}b\u{fffd}\"}");
    assert_eq!(tree.warnings.len(), 1);
    assert!(parsed("{\"k\": \"\u{fffd}\"}").warnings.is_empty());
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("{{\"k\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let deep = parsed(&nested(9_999));
    assert_eq!(deep.len(), 10_000);
    let error = Json.parse(nested(10_000).as_bytes()).err().expect("it is too deep");
    assert!(error.message.ends_with("exceeded max depth"), "{}", error.message);
    assert!(Json.parse(nested(100_000).as_bytes()).is_err());
    assert!(Json.parse("[".repeat(100_000).as_bytes()).is_err());
    assert!(parse_value("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn deep_documents_change_form_without_recursion() {
    let text = format!("{{\"k\":{}{}}}", "[".repeat(9_999), "]".repeat(9_999));
    let tree = parsed(&text);
    // Dropping nested values is recursive, as the compiler writes it.
    let done = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let wire = Json.wire(&tree, NodeId(0)).expect("it has been parsed");
        let printed = Json.print(&[wire], &Layout { indent: Some(0) }).expect("it is JSON");
        assert_eq!(printed.matches('[').count(), 9_999);
    });
    done.expect("threads can be made").join().expect("nothing panics");
}

#[test]
fn values_are_spelt_as_go_spells_them() {
    let tree = parsed("{}");
    for (value, text) in [
        (Value::str("a\"\\/\u{8}\u{c}\n\r\tz"), r#""a\"\\/\b\f\n\r\tz""#),
        (
            Value::str("<&>\u{2028}\u{2029}—é😀\u{0}\u{1f}\u{7f}"),
            "\"\\u003c\\u0026\\u003e\\u2028\\u2029—é😀\\u0000\\u001f\u{7f}\"",
        ),
        (Value::Str(crate::secret::SecretText::new(b"a\xe2\x82z\xff".to_vec())), "\"a\\ufffd\\ufffdz\\ufffd\""),
        (Value::Bool(false), "false"),
        (Value::Null, "null"),
        (Value::Int(-5), "-5"),
        (Value::Float(1.0), "1"),
        (Value::Float(1e21), "1e+21"),
        (Value::Float(1e-7), "1e-7"),
        (Value::Float(1234.56789), "1234.56789"),
        (Value::Time("2001-12-14T00:00:00Z".to_owned()), "\"2001-12-14T00:00:00Z\""),
        (Value::Comment(" note".into()), "\" note\""),
        (Value::Float(f64::NAN), "NaN"),
    ] {
        assert_eq!(*Json.spell(&tree, NodeId(0), &value), text);
    }
    assert!(Json.parse(b"{\"k\": NaN}").is_err());
}

#[test]
fn documents_are_printed_as_sops_prints_them() {
    let what = Wire::Map(vec![
        Entry::Comment(" gone".into()),
        Entry::Pair(
            "a<".to_owned(),
            Wire::List(vec![Wire::Leaf(Value::Comment("x".into())), Wire::Leaf(Value::Int(1))]),
        ),
        Entry::Pair("b".to_owned(), map(&[])),
        Entry::Pair("c".to_owned(), Wire::List(vec![Wire::Leaf(Value::Comment("x".into()))])),
        Entry::Pair("d".to_owned(), map(&[("e", Wire::text("f"))])),
    ]);
    let indented = |unit: &str| {
        format!(
            "{{\n{u}\"a\\u003c\": [\n{u}{u}1\n{u}],\n{u}\"b\": {{}},\n{u}\"c\": [],\n{u}\"d\": {{\n{u}{u}\"e\": \"f\"\n{u}}}\n}}\n",
            u = unit
        )
    };
    for (indent, unit) in [(None, "\t"), (Some(-1), "\t"), (Some(0), ""), (Some(3), "   ")] {
        let printed = Json.print(&[what.clone(), map(&[])], &Layout { indent }).expect("it is JSON");
        assert_eq!(*printed, indented(unit));
    }
    let refused =
        |what: &Wire, indent| Json.print(std::slice::from_ref(what), &Layout { indent }).map_err(|it| it.0).err();
    assert_eq!(refused(&what, Some(-2)).as_deref(), Some("JSON Indentation parameter smaller than -1 is not accepted"));
    for float in [f64::NAN, f64::INFINITY] {
        assert!(refused(&map(&[("a", Wire::List(vec![Wire::Leaf(Value::Float(float))]))]), None).is_some());
    }
    for nothing in [&[][..], &[Wire::Leaf(Value::Null)], &[map(&[])]] {
        assert_eq!(*Json.print(nothing, &Layout::default()).expect("it is JSON"), "{}\n");
    }
    let list = Wire::List(vec![Wire::text("a"), Wire::Leaf(Value::Null)]);
    assert_eq!(*Json.print_value(&list).expect("it is JSON"), "[\n\t\"a\",\n\tnull\n]");
    assert_eq!(*Json.print_value(&Wire::Leaf(Value::Float(2.5))).expect("it is JSON"), "2.5");
    let example = root(Json.example());
    assert_eq!(*Json.print(&[example], &Layout::default()).expect("it is JSON"), Json.example());
}

#[test]
fn values_to_set_are_read_as_sops_reads_them() {
    for (text, value) in [
        ("1", Some(Wire::Leaf(Value::Float(1.0)))),
        (" 9007199254740993\n", Some(Wire::Leaf(Value::Float(9_007_199_254_740_992.0)))),
        ("\"x\"", Some(Wire::text("x"))),
        ("null", Some(Wire::Leaf(Value::Null))),
        ("[1]", Some(Wire::List(vec![Wire::Leaf(Value::Int(1))]))),
        ("{\"b\":1,\"a\":1.0}", Some(map(&[("b", Wire::Leaf(Value::Int(1))), ("a", Wire::Leaf(Value::Float(1.0)))]))),
        ("", None),
        ("x", None),
        ("1 2", None),
        ("1E400", None),
    ] {
        assert!(parse_value(text.as_bytes()).ok() == value, "{text}");
    }
}

#[test]
fn metadata_takes_the_look_of_the_file() {
    let short = map(&[("mac", Wire::text("M")), ("pgp", Wire::List(vec![]))]);
    for (text, expected) in [
        ("{\n\t\"a\": 1\n}\n", "{\n\t\"a\": 1,\n\t\"sops\": {\n\t\t\"mac\": \"M\",\n\t\t\"pgp\": []\n\t}\n}\n"),
        (
            "{\r\n  \"a\" : 1\r\n}",
            "{\r\n  \"a\" : 1,\r\n  \"sops\" : {\r\n    \"mac\" : \"M\",\r\n    \"pgp\" : []\r\n  }\r\n}",
        ),
        ("{\n\"a\": 1\n}", "{\n\"a\": 1,\n\"sops\": {\n\"mac\": \"M\",\n\"pgp\": []\n}\n}"),
        (
            "  {\n      \"a\": 1\n  }",
            "  {\n      \"a\": 1,\n      \"sops\": {\n          \"mac\": \"M\",\n          \"pgp\": []\n      }\n  }",
        ),
        ("{\"a\":1}", "{\"a\":1,\"sops\":{\"mac\":\"M\",\"pgp\":[]}}"),
        ("{\"a\": 1, \"b\": 2}\n", "{\"a\": 1, \"b\": 2, \"sops\": {\"mac\": \"M\", \"pgp\": []}}\n"),
        ("{\"a\": 1}\n", "{\"a\": 1, \"sops\": {\"mac\": \"M\", \"pgp\": []}}\n"),
        ("{ \"a\":1,\"b\":2 }", "{ \"a\":1,\"b\":2,\"sops\":{\"mac\":\"M\",\"pgp\":[]} }"),
        ("{}\n", "{\n\t\"sops\": {\n\t\t\"mac\": \"M\",\n\t\t\"pgp\": []\n\t}\n}\n"),
        ("{\n}", "{\"sops\": {\n\t\"mac\": \"M\",\n\t\"pgp\": []\n}\n}"),
    ] {
        let with = attached(text, &short, None);
        assert_eq!(with, expected);
        assert_eq!(detached(&with), text);
        assert_eq!(attached(text, &short, Some(&with)), with);
    }
}

#[test]
fn metadata_is_taken_out_wherever_it_stands() {
    for (text, expected) in [
        ("{\"sops\": {}, \"a\": 1}", "{\"a\": 1}"),
        ("{\n\t\"sops\": {},\n\t\"a\": 1\n}", "{\n\t\"a\": 1\n}"),
        ("{\"a\": 1, \"sops\": {} , \"b\": 2}", "{\"a\": 1 , \"b\": 2}"),
        ("{\"sops\": 1, \"sops\": 2, \"a\": 1, \"sops\": 3, \"sops\": 4}", "{\"a\": 1}"),
        ("{ \"sops\": 1, \"sops\": 2 }", "{}"),
        ("{\"sops\": 1, \"sops\": 2 }", "{ }"),
        ("{\n\t\"sops\": {}\n}\n", "{}\n"),
        ("{\"a\": {\"sops\": 1}}", "{\"a\": {\"sops\": 1}}"),
        ("{}", "{}"),
    ] {
        assert_eq!(detached(text), expected);
    }
}

#[test]
fn stored_metadata_keeps_its_text_and_place() {
    let stored = "{\"a\": 1,\n\n \"sops\" :{\"mac\":\"M\", \"zone\": [ ],\n \"kms\":[ ],\"version\":  \"3.13.3\"} }";
    let changed = map(&[
        ("age", Wire::List(vec![])),
        ("kms", Wire::List(vec![])),
        ("leafseal_layout", Wire::text("L")),
        ("mac", Wire::text("N")),
        ("version", Wire::text("3.13.3")),
    ]);
    let with = attached("{\"a\": 2 }", &changed, Some(stored));
    assert_eq!(
        with,
        "{\"a\": 2,\n\n \"sops\" :{\"age\":[], \"mac\":\"N\",\n \"kms\":[ ], \"leafseal_layout\":\"L\",\
         \"version\":  \"3.13.3\"} }"
    );
    // Without its old neighbours, at the end.
    assert_eq!(detached(&attached("{}", &changed, Some(stored))), "{}");
    // Where it stands already, in place.
    assert_eq!(attached(stored, &changed, Some(stored)), with.replacen('2', "1", 1));
}

#[test]
fn values_are_put_in_their_place() {
    let pretty = "{\n  \"a\": 1,\n  \"l\": [1, 2],\n  \"m\": {\n    \"n\": \"x\"\n  },\n  \"e\": {}\n}\n";
    let object = map(&[("x", Wire::List(vec![Wire::Leaf(Value::Int(1))])), ("y", map(&[]))]);
    for (text, at, what, expected) in [
        (pretty, r#"["a"]"#, Wire::text("<"), pretty.replace("\"a\": 1", "\"a\": \"\\u003c\"")),
        (pretty, r#"["m"]["n"]"#, Wire::Leaf(Value::Null), pretty.replace("\"x\"", "null")),
        (pretty, r#"["m"]["o"]"#, Wire::text("y"), pretty.replace("\"x\"", "\"x\",\n    \"o\": \"y\"")),
        (pretty, r#"["l"][1]"#, Wire::text("y"), pretty.replace("[1, 2]", "[1, \"y\"]")),
        (pretty, r#"["l"][9]"#, object.clone(), pretty.replace("[1, 2]", "[1, 2, {\"x\": [1], \"y\": {}}]")),
        (pretty, r#"["l"][9]["k"]"#, Wire::text("y"), pretty.replace("[1, 2]", "[1, 2, {\"k\": \"y\"}]")),
        (pretty, r#"["e"]["k"]"#, Wire::text("y"), pretty.replace("{}", "{\n    \"k\": \"y\"\n  }")),
        (
            pretty,
            r#"["a"]["b"][0]["c"]"#,
            Wire::text("y"),
            pretty.replace("\"a\": 1", "\"a\": {\n    \"b\": [\n      {\n        \"c\": \"y\"\n      }\n    ]\n  }"),
        ),
        (
            pretty,
            r#"["z"]["k"]"#,
            object.clone(),
            pretty.replace(
                "{}\n}",
                "{},\n  \"z\": {\n    \"k\": {\n      \"x\": [\n        1\n      ],\n      \"y\": {}\n    }\n  }\n}",
            ),
        ),
        ("{}", r#"["a"]"#, Wire::text("y"), "{\n\t\"a\": \"y\"\n}".to_owned()),
        ("{\"a\":1,\"a\":2}", r#"["a"]"#, Wire::text("y"), "{\"a\":\"y\",\"a\":2}".to_owned()),
        ("{\"a\":1}", r#"["b"]["c"]"#, Wire::text("y"), "{\"a\":1,\"b\":{\"c\":\"y\"}}".to_owned()),
    ] {
        let mut edits = Edits::default();
        let path = KeyPath::parse(at).expect("this is a path");
        Json.insert(&parsed(text), &path, &what, &mut edits).expect("it fits");
        assert_eq!(*edits.apply(text), expected, "{at}");
    }
}

#[test]
fn values_are_taken_out() {
    let pretty = "{\n  \"a\": 1,\n  \"l\": [1, 2],\n  \"m\": {\n    \"n\": \"x\"\n  }\n}\n";
    for (text, at, expected) in [
        (pretty, r#"["a"]"#, pretty.replace("\"a\": 1,\n  ", "")),
        (pretty, r#"["l"]"#, pretty.replace(",\n  \"l\": [1, 2]", "")),
        (pretty, r#"["l"][0]"#, pretty.replace("[1, 2]", "[2]")),
        (pretty, r#"["l"][1]"#, pretty.replace("[1, 2]", "[1]")),
        (pretty, r#"["m"]["n"]"#, pretty.replace("{\n    \"n\": \"x\"\n  }", "{}")),
        ("{\"a\":1,\"a\":2}", r#"["a"]"#, "{\"a\":2}".to_owned()),
    ] {
        let mut edits = Edits::default();
        let path = KeyPath::parse(at).expect("this is a path");
        Json.remove(&parsed(text), &path, &mut edits).expect("it is there");
        assert_eq!(*edits.apply(text), expected, "{at}");
    }
}

#[test]
fn paths_that_do_not_fit_are_refused() {
    let tree = parsed(r#"{"a": "s", "l": [1], "m": {}}"#);
    let wrong = |found, step: &str| EditError::WrongType { found, step: step.to_owned() };
    let missing = |key: &str| EditError::KeyNotFound(key.to_owned());
    for (at, insert, remove) in [
        ("", Some(EditError::Root), EditError::Root),
        (r#"["sops"]"#, Some(EditError::Reserved("sops".to_owned())), EditError::Reserved("sops".to_owned())),
        (r#"["sops"]["mac"]"#, Some(EditError::Reserved("sops".to_owned())), EditError::Reserved("sops".to_owned())),
        ("[0]", Some(wrong("mapping", "0")), missing("0")),
        (r#"["l"]["k"]"#, Some(wrong("list", "k")), wrong("list", "k")),
        (r#"["a"]["z"]"#, None, wrong("string", "z")),
        (r#"["l"][0][1]"#, None, wrong("int", "1")),
        (r#"["l"][9]"#, None, EditError::OutOfBounds(9)),
        (r#"["z"]"#, None, missing("z")),
        (r#"["m"]["sops"]"#, None, missing("sops")),
    ] {
        let path = KeyPath::parse(at).expect("this is a path");
        let mut edits = Edits::default();
        assert_eq!(Json.insert(&tree, &path, &Wire::text("x"), &mut edits).err(), insert, "{at}");
        assert_eq!(Json.remove(&tree, &path, &mut Edits::default()), Err(remove), "{at}");
    }
}

/// Objects with odd white space, repeated keys and escapes; no metadata at the top.
fn objects() -> impl Strategy<Value = String> {
    let space = || "[ \t\r\n]{0,3}|\n {0,4}|\r\n\t";
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "(0|-?[1-9][0-9]{0,20})(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,2})?",
        "\"([a-zé😀<]|\\\\n|\\\\u00e9|\\\\\"|\\\\ud83d){0,6}\"",
    ];
    let spaced = move |inner: String, (a, b): (String, String)| format!("{a}{inner}{b}");
    let value = scalar.prop_recursive(4, 24, 4, move |inner| {
        let spaces = (space(), space());
        let item = (inner.clone(), spaces).prop_map(move |(it, spaces)| spaced(it, spaces));
        let member = (key(), spaces, item.clone(), space())
            .prop_map(move |(key, spaces, it, more)| format!("{}:{it}{more}", spaced(key, spaces)));
        prop_oneof![
            (proptest::collection::vec(item, 0..4), space()).prop_map(|(it, space)| match it.is_empty() {
                true => format!("[{space}]"),
                false => format!("[{}]", it.join(",")),
            }),
            (proptest::collection::vec(member, 0..4), space()).prop_map(|(it, space)| match it.is_empty() {
                true => format!("{{{space}}}"),
                false => format!("{{{}}}", it.join(",")),
            }),
        ]
    });
    let member = (space(), key(), space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
    (space(), proptest::collection::vec(member, 0..4), space(), space()).prop_map(|(a, members, b, c)| {
        match members.is_empty() {
            true => format!("{a}{{{b}}}{c}"),
            false => format!("{a}{{{}}}{c}", members.join(",")),
        }
    })
}

fn key() -> impl Strategy<Value = String> {
    "\"([ab]|\\\\u0061|\\\\t){0,2}\""
}

proptest! {
    #[test]
    fn metadata_leaves_no_trace(text in objects(), mac in "[A-F]{0,3}", place in 0usize..4) {
        let with = attached(&text, &metadata("MAC"), None);
        prop_assert!(root(&with).get(METADATA_KEY) == Some(&metadata("MAC")));
        prop_assert_eq!(&detached(&with), &text);
        prop_assert_eq!(&attached(&text, &metadata("MAC"), Some(&with)), &with);

        let renewed = attached(&text, &metadata(&mac), Some(&with));
        prop_assert!(root(&renewed).get(METADATA_KEY) == Some(&metadata(&mac)));
        prop_assert_eq!(&detached(&renewed), &text);

        // Wherever it stood, it goes back there.
        let tree = parsed(&with);
        let members: Vec<_> = tree.children(NodeId(0)).map(|it| {
            let node = tree.node(it);
            let key = tree.key_of(it).expect("a member has a key").span;
            tree.source()[key.start as usize..node.span.end as usize].to_owned()
        }).collect();
        let mut moved = members;
        let metadata_member = moved.pop().expect("it has just been added");
        moved.insert(place.min(moved.len()), metadata_member);
        let moved = format!("{{ {} \n}}", moved.join(" ,\t"));
        let back = attached(&detached(&moved), &metadata("MAC"), Some(&moved));
        prop_assert_eq!(&back, &moved);
    }

    #[test]
    fn stored_metadata_comes_to_say_what_it_should(
        text in objects(),
        before in proptest::collection::btree_map("[a-f]", 0i64..3, 0..6).prop_map(Vec::from_iter).prop_shuffle(),
        after in proptest::collection::btree_map("[a-f]", 0i64..3, 0..6),
    ) {
        let wire = |pairs: Vec<(String, i64)>| {
            Wire::Map(pairs.into_iter().map(|(key, n)| Entry::Pair(key, Wire::Leaf(Value::Int(n)))).collect())
        };
        let stored = attached(&text, &wire(before), None);
        let renewed = attached(&text, &wire(Vec::from_iter(after.clone())), Some(&stored));
        let found = root(&renewed);
        let mut pairs: Vec<_> = found.get(METADATA_KEY).expect("it is there").pairs().collect();
        pairs.sort_by_key(|it| it.0);
        let expected: Vec<_> = after.iter().map(|(key, n)| (key.as_str(), Wire::Leaf(Value::Int(*n)))).collect();
        prop_assert!(pairs.into_iter().eq(expected.iter().map(|(key, n)| (*key, n))), "{renewed}");
        prop_assert_eq!(&detached(&renewed), &text);
    }

    #[test]
    fn what_is_spelt_is_read(text in any::<String>(), int in any::<i64>(), float in proptest::num::f64::NORMAL) {
        let tree = parsed("{}");
        for value in [Value::str(&text), Value::Int(int), Value::Float(float)] {
            let spelt = Json.spell(&tree, NodeId(0), &value);
            let read = root(&format!("{{\"k\": {}}}", *spelt));
            let same = match (read.get("k"), &value) {
                (Some(Wire::Leaf(Value::Int(it))), Value::Float(float)) => *it as f64 == *float,
                (read, value) => read == Some(&Wire::Leaf(value.clone())),
            };
            prop_assert!(same, "{}", *spelt);
        }
    }

    #[test]
    fn what_is_printed_is_read(text in objects(), indent in -1i32..4) {
        let wire = root(&text);
        let printed = Json.print(std::slice::from_ref(&wire), &Layout { indent: Some(indent) }).expect("it is JSON");
        let again = Json.print(&[root(&printed)], &Layout { indent: Some(indent) }).expect("it is JSON");
        prop_assert_eq!(&*printed, &*again);
    }

    #[test]
    fn every_edit_is_found_again(
        text in objects(),
        steps in proptest::collection::vec(prop_oneof![
            "[abc]".prop_map(crate::key_path::Step::Key),
            (0usize..4).prop_map(crate::key_path::Step::Index),
        ], 1..4),
    ) {
        let (tree, path, what) = (parsed(&text), KeyPath(steps), Wire::text("what"));
        let mut edits = Edits::default();
        if Json.insert(&tree, &path, &what, &mut edits).is_ok() {
            let edited = edits.apply(&text);
            prop_assert!(edited.contains("\"what\""));
            let tree = parsed(&edited);
            // A list takes what comes after its end as its next item, so ask for that one.
            let mut edits = Edits::default();
            if Json.remove(&tree, &path, &mut edits).is_ok() {
                let text = edits.apply(tree.source());
                prop_assert!(Json.parse(text.as_bytes()).is_ok() && !text.contains("\"what\""));
            }
        }
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}:,\"\\\\u0d8e1-9. \n]{0,32}") {
        let _ = Json.parse(&bytes);
        let _ = parse_value(&bytes);
        let _ = parse_value(text.as_bytes());
        if let Ok(tree) = Json.parse(text.as_bytes()) {
            prop_assert_eq!(tree.source(), &text);
            let _ = Json.wire(&tree, NodeId(0));
        }
    }
}
