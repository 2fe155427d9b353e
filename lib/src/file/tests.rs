//! Files, there and back.

use super::*;
use crate::cipher::Cipher;
use crate::edge::Timestamp;
use crate::edge::{Clock, Rng};
use crate::format;
use crate::key_path::Step;
use crate::metadata::Metadata;
use crate::scope::Scope;
use crate::scope::Selector;
use crate::secret::DataKey;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2026-01-02T03:04:05Z")
    }
}

/// Counts. Good enough to tell nonces apart.
struct Counter(u8);

impl Rng for Counter {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self.0.wrapping_mul(31).wrapping_add(7);
            *byte = self.0;
        }
    }
}

fn metadata(field: &str, text: &str) -> Metadata {
    let selector = Selector::from_field(field, text).expect("a selector").expect("a pattern");
    let scope = Scope { selector, mac_only_encrypted: false };
    Metadata::new(vec![], 0, scope, Stopped.now())
}

fn round_trip(format: &str, text: &str, metadata: Metadata) -> String {
    let format = format::named(format).expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
    let sealed = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
    let tree = format.parse(sealed.text().as_bytes());
    let tree = tree.unwrap_or_else(|error| panic!("{error}\n{}", sealed.text()));
    let file = EncryptedFile { format, text: Text::parsed(tree), metadata: sealed.metadata.clone() };
    let (opened, leaves) = file.open_to_change(&key).unwrap_or_else(|error| panic!("{error}\n{}", sealed.text()));
    assert_eq!(opened.file.text(), text, "{}", sealed.text());
    assert_eq!(opened.warnings, Vec::<String>::new(), "{}", sealed.text());
    let same = file.reseal(&leaves, &opened.file, file.metadata.clone(), &key, &Stopped, &mut Counter(77));
    let same = same.expect("sealable");
    let masked = |text: &str| {
        text.lines().filter(|it| !it.contains(" mac: ") && !it.contains("\"mac\"")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(masked(same.text()), masked(sealed.text()), "nothing but the MAC changes");
    sealed.text().to_owned()
}

#[test]
fn what_is_sealed_opens_to_the_same_bytes() {
    for text in [
        "a: 1\n",
        "a: 1",
        "a: \"x\"\nb: 'y'\nc: |\n  one\n  two\nd: >-\n  folded\n  text\n\ne: yes\nf: 0x1F\ng: 1_000\nh: 2.50\ni: True\n",
        "# head\na: 1 # inline\n# foot\n\nb:\n  - 1 # x\n  # y\n  - {a: b, c: [1, 'two', \"three\"]}\n# end\n",
        "base: &base\n  x: 1\n  y: {z: 2}\nother:\n  <<: *base\n  k: *base\nlist: [*base, 1]\n",
        "s: &s text\nt: *s\nu_unencrypted: &u {a: 1}\nv_unencrypted: *u\n",
        "a: 1\n---\nb: 2\n...\n---\n# only a comment\n",
        "{\"a\": 1, \"b\": [1, 2.0, \"x\"]}\n",
        "{}\n",
        "---\n",
        "a:\r\n  b: x\r\n  c: |\r\n    y\r\n",
        "\u{feff}a: 1\n",
        "a: | # comment\n  text\nb: !!binary aGVsbG8=\nc: !!str 12\nd: &x !!str 3\ne: *x\nf: 2001-12-14\n",
        "a: &a # note\n  one\n  two\nb: c # d\n",
        "a: plain\n  over lines\nb: 'quoted\n  too'\nc: \"esc\\u00e9\"\n",
        "l:\n>-\n    - same\nm:\n  'x\n  y'\nn:\n   0x1F\n",
        "a_unencrypted: |\n  no break",
        "b: 1\na_unencrypted: >+\n  text\n\n",
        "  a: 1\n  b:\n    c: 2\n",
        "? complex key\n: value\n? |\n  block\n: - 1\n  - 2\n",
        "a: |+\n  keep\n\n\nb: |2-\n    indented\nc: \"\"\nd:\ne: ~\nf: []\n",
        "l:\n- a\n- - b\n  - c\n- k: v\n  w: x\n-\n  m: n\n",
        "a: !!str\n  12\nb: !!str # c\n  v # d\nc:\n  !!str\n  12\nd: !t\n  # e\n\n  \"two\n  lines\"\n",
        "a: &x !!str # c\n  12\nb: !!str &y # c\n  |\n  text\nc: *x\nx: *y\n",
        "l:\n- !!str # c\n  12\n- - !!str\n    v\n  -\n    !t v\n- k: !!str # c\n    v\n? k\n: !!str\n  12\n",
        "a: |-\n  b = 1 +\n  c |+\n\n\nd: |\n  e+\n  f\n\n",
        "m:\n  a: |\n    x\n  \n  b: |-\n    y\n   \n    \n  c: 1\n",
        "a: &a k\nb: {*a :~1, c: [*a]}\n",
        "a: [!!str\n   12, !!str\n   v]\nl: [b, !!str # c\n   12]\nb: {c: !!str # d\n   12, x: !t\n v}\n",
    ] {
        round_trip("yaml", text, metadata("unencrypted_suffix", "_unencrypted"));
        round_trip("yaml", text, metadata("encrypted_regex", "^(b|c|x|base|list)$"));
    }
    for text in [
        "{\"a\": 1}",
        "{\n  \"a\": 1.0,\n  \"b\": [true, null, \"\\u00e9\\/\", -0, 1e3, \"\"],\n  \"c\": {}\n}\n",
        "{}\n",
    ] {
        round_trip("json", text, metadata("unencrypted_suffix", "_unencrypted"));
    }
}

/// What stands at `at` in each of the two ways that there are to find it; the short one may give up.
fn extracted(file: &EncryptedFile, key: &DataKey, at: &str) -> (Option<String>, Result<String, String>) {
    let at = KeyPath::parse(at).expect("a path");
    let opened = file.open(key).expect("sealed with this key");
    let short = file.extract(key, &at, file.format).expect("sealed with this key");
    let short = short.map(|(text, warnings)| {
        assert_eq!(warnings, opened.warnings);
        text.to_string()
    });
    let long = opened.file.extract(&at, file.format, &Indent::default());
    (short, long.map(|it| it.to_string()).map_err(|it| it.to_string()))
}

#[test]
fn a_value_is_the_same_whichever_way_it_is_found() {
    let yaml = "s: text\nyes: 'yes'\nmany: |\n  two\n  lines\nodd: \"\\ttab \\u00e9 \\\\n\"\nspace: ' x '\nnumber: '12'\n\
                i: 12\nbig: 9223372036854775807\nt: true\nf: 1.5\nwhole: 1.0\nn:\ntime: 2001-12-14\ne: ''\n\
                m:\n  # c\n  k: in\n  deep: {x: [one, 2, {y: z}]}\nl:\n  - p\n  # c\n  - q\nclean: [p, q]\n\
                u_unencrypted: plain\nv_unencrypted: 7\nw_unencrypted: 7.0\nm_unencrypted: {x: &a 1, y: *a}\n\
                'it''s': quoted\n\"\": nameless\ndata: 'ENC[AES256_GCM]'\n---\ns: second\n";
    let paths = [
        "[\"s\"]",
        "[\"yes\"]",
        "[\"many\"]",
        "[\"odd\"]",
        "[\"space\"]",
        "[\"number\"]",
        "[\"i\"]",
        "[\"big\"]",
        "[\"t\"]",
        "[\"m\"][\"k\"]",
        "[\"m\"][\"deep\"][\"x\"][0]",
        "[\"m\"][\"deep\"][\"x\"][1]",
        "[\"m\"][\"deep\"][\"x\"][2][\"y\"]",
        "[\"clean\"][1]",
        "[\"u_unencrypted\"]",
        "[\"v_unencrypted\"]",
        "[\"m_unencrypted\"][\"x\"]",
        "[\"it's\"]",
        "[\"\"]",
        "[\"data\"]",
    ];
    let unclear = [
        "[\"f\"]",
        "[\"whole\"]",
        "[\"n\"]",
        "[\"time\"]",
        "[\"e\"]",
        "[\"m\"]",
        "[\"m\"][0]",
        "[\"m\"][1]",
        "[0]",
        "[99]",
        "[\"l\"]",
        "[\"l\"][0]",
        "[\"l\"][1]",
        "[\"l\"][2]",
        "[\"clean\"][2]",
        "[\"clean\"][\"x\"]",
        "[\"s\"][0]",
        "[\"zz\"]",
        "[\"w_unencrypted\"]",
        "[\"m_unencrypted\"]",
        "[\"m_unencrypted\"][\"y\"]",
        "[\"sops\"]",
        "[\"sops\"][\"mac\"]",
    ];
    let json =
        "{\"s\": \"te\\u00e9\\n\\/\", \"i\": 1, \"t\": false, \"m\": {\"l\": [\"x\", {\"k\": \"v\"}]}, \"n\": null}";
    let key = DataKey::generate(&mut Counter(1));
    let check = |format: &str, text: &str, at: &str, is_clear: Option<bool>| {
        let plain = PlainFile::parse(format::named(format).expect("a format"), text.as_bytes()).expect("readable");
        let metadata = metadata("unencrypted_suffix", "_unencrypted");
        let mut file = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
        // With a layout, only the whole file tells.
        assert!(file.metadata.layout.is_none() || extracted(&file, &key, at).0.is_none());
        file.metadata.layout = None;
        let (short, long) = extracted(&file, &key, at);
        assert!(is_clear.is_none_or(|it| it == short.is_some()), "{format} {at}: {short:?}");
        assert!(short.is_none_or(|it| Ok(it) == long), "{format} {at}: {long:?}");
    };
    paths.iter().for_each(|at| check("yaml", yaml, at, Some(true)));
    unclear.iter().for_each(|at| check("yaml", yaml, at, Some(false)));
    for at in ["[\"s\"]", "[\"t\"]", "[\"m\"][\"l\"][0]", "[\"m\"][\"l\"][1][\"k\"]"] {
        check("json", json, at, Some(true));
    }
    for at in ["[\"i\"]", "[\"n\"]", "[\"m\"]", "[1]", "[\"m\"][\"l\"]"] {
        check("json", json, at, None);
    }
}

#[test]
fn a_value_is_not_extracted_from_a_changed_file() {
    let yaml = format::named("yaml").expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(yaml, b"a: one\nb: two\nc_unencrypted: three\n").expect("readable");
    let metadata = metadata("unencrypted_suffix", "_unencrypted");
    let sealed = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
    let at = KeyPath::parse("[\"a\"]").expect("a path");
    let check = |text: String, mac_matters: bool| {
        let tree = yaml.parse(text.as_bytes()).expect("readable");
        let file = EncryptedFile { format: yaml, text: Text::parsed(tree), metadata: sealed.metadata.clone() };
        let want = file.open(&key).err().map(|it| it.to_string());
        assert!(want.is_some(), "{text}");
        assert_eq!(file.extract(&key, &at, yaml).err().map(|it| it.to_string()), want);
        let ignoring = file.extract_ignoring_mac(&key, &at, yaml);
        assert_eq!(ignoring.is_ok(), mac_matters);
        assert_eq!(file.open_ignoring_mac(&key).is_ok(), mac_matters);
    };
    check(sealed.text().replace("three", "tree"), true);
    let b = sealed.text().lines().find(|it| it.starts_with("b: ")).expect("a line").to_owned();
    check(sealed.text().replace(&b, "b: plain"), false);
    check(sealed.text().replace(&format!("{b}\n"), ""), true);
}

/// SOPS 3.13 writes a comment behind a last alias into the metadata's line.
#[test]
fn a_comment_in_the_line_of_the_metadata_stays() {
    let yaml = format::named("yaml").expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(yaml, b"a: 1\n# c\n").expect("readable");
    let metadata = metadata("unencrypted_suffix", "_unencrypted");
    let sealed = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
    let (data, rest) = sealed.text().split_once('#').expect("a comment");
    let (comment, block) = rest.split_once("\nsops:").expect("metadata");
    let text = format!("{data}sops: #{comment}{block}");
    let tree = yaml.parse(text.as_bytes()).expect("readable");
    let file = EncryptedFile { format: yaml, text: Text::parsed(tree), metadata: sealed.metadata.clone() };
    let (opened, leaves) = file.open_to_change(&key).expect("sealed with this key");
    assert_eq!(opened.file.text(), "a: 1\n# c\n");
    let again = file.reseal(&leaves, &opened.file, file.metadata.clone(), &key, &Stopped, &mut Counter(77));
    let again = again.expect("sealable");
    assert_eq!(again.text().matches('#').count(), 1, "{}", again.text());
}

/// The plaintext of `leafseal_layout` for a document: places and original texts.
fn layout_of(text: &str) -> Vec<(String, String)> {
    let format = format::named("yaml").expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
    let metadata = metadata("unencrypted_suffix", "_unencrypted");
    let sealed = plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable");
    let Some(layout) = sealed.metadata.layout else { return Vec::new() };
    let opened = Cipher::new(&key).open(&layout, "sops:leafseal_layout:").expect("sealed with this key");
    let json = format::named("json").expect("a format");
    let tree = json.parse(&opened.value.canonical()).expect("an object");
    let wire = json.wire(&tree, tree.documents()[0].root).expect("readable");
    let texts = |it: &Wire| it.items().filter_map(Wire::as_str).map(str::to_owned).collect::<Vec<_>>();
    wire.pairs().map(|(place, entry)| (place.to_owned(), texts(entry).swap_remove(1))).collect()
}

#[test]
fn layout_vectors() {
    for (text, entries) in [
        ("a: 1\nb: \"x\"\nc: 'y'\nd: 2.50\ne: TRUE\nf: |-\n    one\n    two\n", &[][..]),
        ("a: 0x1F\n", &[("0[\"a\"]", "0x1F")]),
        ("a: yes\n", &[("0[\"a\"]", "yes")]),
        ("a:\n  - b: >\n      one\n      two\n", &[("0[\"a\"][0][\"b\"]", ">\n      one\n      two")]),
        ("a: | # why\n  one\n", &[("0[\"a\"]", "|\n  one")]),
        ("a: !!str 1\n", &[("0[\"a\"]", "!!str 1")]),
        ("a: [x, y]\n", &[("0[\"a\"][0]", "x"), ("0[\"a\"][1]", "y")]),
        ("a: &a x\nb: *a\n", &[("0[\"b\"]", "*a")]),
        ("a: &a x\n*a : z\n", &[("0[\"x\"]*", "*a")]),
        ("a: \"1\"\nb: '@'\nc: &c \"\"\nd: *c\n", &[]),
        ("a: &a {x: 1}\nb: *a\n", &[("0[\"b\"]", " *a")]),
        ("a: x\n---\nb: \"\\x41\"\n", &[("1[\"b\"]", "\"\\x41\"")]),
        ("--- # nothing\n", &[("0", "--- # nothing\n")]),
    ] {
        let found = layout_of(text);
        let found: Vec<_> = found.iter().map(|(place, text)| (place.as_str(), text.as_str())).collect();
        assert_eq!(found, entries, "{text}");
    }
}

#[test]
fn a_comment_that_would_decide_about_something_else_is_refused() {
    let yaml = format::named("yaml").expect("a format");
    let plain = PlainFile::parse(yaml, b"a: &a\n  -\n    # note\n    b: v1\n    c: v2\nd: *a\n").expect("readable");
    let key = DataKey::generate(&mut Counter(1));
    let sealed = plain.seal(metadata("encrypted_comment_regex", "note"), &key, &Stopped, &mut Counter(9));
    assert!(matches!(sealed, Err(SealError::Leaf { .. })));
    round_trip("yaml", "a: 1\n# note\nb: x\nc: 2\n", metadata("encrypted_comment_regex", "note"));
    round_trip("yaml", "a: 1\n# note\nb: x\nc: 2\n", metadata("unencrypted_comment_regex", "note"));
}

#[test]
fn the_places_of_sealed_values_are_those_that_a_reader_can_read() {
    for (format, text, selector, expected) in [
        (
            "yaml",
            "a: 1\nb_unencrypted: 2\nc: ''\nd: null\ne: [x, {f: y}]\n",
            "_unencrypted",
            &["[\"a\"]", "[\"e\"][0]", "[\"e\"][1][\"f\"]"][..],
        ),
        ("yaml", "# a comment\na: 1\n---\n\"b\\nc\": 2\n", "_unencrypted", &["[\"a\"]", "document 2: [\"b\\nc\"]"]),
        ("json", "{\"a\": {\"b\": [1]}, \"c\": {}}", "_unencrypted", &["[\"a\"][\"b\"][0]"]),
        ("yaml", "a: 1\n", "a", &[]),
    ] {
        let format = format::named(format).expect("a format");
        let key = DataKey::generate(&mut Counter(1));
        let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
        let sealed = plain.seal(metadata("unencrypted_suffix", selector), &key, &Stopped, &mut Counter(9));
        let places = sealed.expect("sealable").sealed_places().expect("it can be walked");
        assert_eq!(places, expected, "{text}");
    }
}

/// A file of a few leaves, its key, and what its ciphertexts say.
fn opened(text: &str) -> (EncryptedFile, DataKey, PlainFile, Leaves) {
    let yaml = format::named("yaml").expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(yaml, text.as_bytes()).expect("readable");
    let sealed = plain.seal(metadata("unencrypted_suffix", "_unencrypted"), &key, &Stopped, &mut Counter(9));
    let sealed = sealed.expect("sealable");
    let mut tree = yaml.parse(sealed.text().as_bytes()).expect("readable");
    tree.set_public();
    let file = EncryptedFile { format: yaml, text: Text::parsed(tree), metadata: sealed.metadata.clone() };
    let (opened, leaves) = file.open_to_change(&key).expect("sealed with this key");
    (file, key, opened.file, leaves)
}

fn envelopes(text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|it| *it != "sops:");
    let mut found: Vec<_> = lines.filter_map(|it| Some(it[it.find("ENC[")?..].to_owned())).collect();
    found.sort();
    found
}

#[test]
fn what_moves_without_changing_keeps_its_ciphertext() {
    let lines: Vec<String> = (0..100).map(|it| format!("k{it}: v{it}")).collect();
    let (file, key, _, leaves) = opened(&(lines.join("\n") + "\n# comment\nf: 1.5\n"));
    let mut turned = lines.clone();
    turned.reverse();
    for lines in [turned, lines[40..].to_vec(), [&lines[70..], &lines[..70]].concat()] {
        let text = lines.join("\n") + "\nf: 1.5\n# comment\n";
        let edited = PlainFile::parse(file.format, text.as_bytes()).expect("readable");
        let again = file.reseal(&leaves, &edited, file.metadata.clone(), &key, &Stopped, &mut Counter(77));
        let again = again.expect("sealable");
        let (before, after) = (envelopes(file.text()), envelopes(again.text()));
        assert_eq!(after.len(), lines.len() + 2);
        assert!(after.iter().all(|it| before.contains(it)), "{}", again.text());
    }
}

#[test]
fn what_was_opened_before_is_not_believed_elsewhere() {
    let (file, key, _, leaves) = opened("a: one\nb: two\nc_unencrypted: 3\nd: four\n");
    let changed = |text: String| {
        let mut tree = file.format.parse(text.as_bytes()).expect("readable");
        tree.set_public();
        let changed = EncryptedFile { format: file.format, text: Text::parsed(tree), metadata: file.metadata.clone() };
        changed.open_changed(&key, &file, &leaves).map(|it| it.file.text().to_owned())
    };
    let text = file.text().to_owned();
    let envelope = |key: &str| {
        let line = text.lines().find(|it| it.starts_with(&format!("{key}: "))).expect("a leaf");
        line[3..].to_owned()
    };
    let (a, b) = (envelope("a"), envelope("b"));
    assert_eq!(changed(text.clone()).as_deref(), Ok("a: one\nb: two\nc_unencrypted: 3\nd: four\n"));
    let without = text.replacen(&format!("b: {b}\n"), "", 1);
    let swapped = text.replace(&a, "-").replace(&b, &a).replace('-', &b);
    let renamed = text.replacen("a: ", "z: ", 1);
    let other_type = text.replacen(&a, &a.replace("type:str", "type:comment"), 1);
    let is_leaf = |it: Result<String, OpenError>| matches!(it, Err(OpenError::Leaf { .. }));
    assert_eq!(changed(without), Err(OpenError::MacMismatch));
    assert_eq!(changed(text.replacen(": 3", ": 4", 1)), Err(OpenError::MacMismatch));
    assert!(is_leaf(changed(swapped)));
    assert!(is_leaf(changed(renamed)));
    assert_ne!(changed(other_type).as_deref(), Ok("a: one\nb: two\nc_unencrypted: 3\nd: four\n"));
}

/// What is plainly said must be what structure says; the other way round it may ask again.
#[test]
fn a_change_amounts_to_what_was_asked_for() {
    let yaml = format::named("yaml").expect("a format");
    let before = "a: 1\nm:\n  x: {y: z}\n  l: [1, two]\n---\nother: 1\n";
    let set = Wire::text("new");
    for (path, what, after, says) in [
        ("[\"a\"]", Some(&set), "a: new\nm:\n  x: {y: z}\n  l: [1, 'two']\n---\nother: 1\n", true),
        ("[\"a\"]", Some(&set), "a: old\nm:\n  x: {y: z}\n  l: [1, two]\n---\nother: 1\n", false),
        ("[\"a\"]", Some(&set), "a: new\nm:\n  x: {y: z}\n  l: [2, two]\n---\nother: 1\n", false),
        ("[\"a\"]", Some(&set), "a: new\nm:\n  x: {y: z}\n  l: [1, two]\n---\nother: 2\n", false),
        ("[\"a\"]", Some(&set), "a: new\nm:\n  x: {y: z}\n  l: [1, two]\n", false),
        ("[\"a\"]", Some(&set), "a: new\nm:\n  x: {y: z}\n  l: [1, two]\nn: 1\n---\nother: 1\n", false),
        ("[\"m\"][\"x\"][\"y\"]", Some(&set), "a: 1\nm:\n  x: {y: new}\n  l: [1, two]\n---\nother: 1\n", true),
        ("[\"m\"][\"l\"][1]", Some(&set), "a: 1\nm:\n  x: {y: z}\n  l: [1, new]\n---\nother: 1\n", true),
        (
            "[\"m\"][\"q\"][\"r\"]",
            Some(&set),
            "a: 1\nm:\n  x: {y: z}\n  l: [1, two]\n  q: {r: new}\n---\nother: 1\n",
            true,
        ),
        (
            "[\"m\"][\"q\"][\"r\"]",
            Some(&set),
            "a: 1\nm:\n  x: {y: z}\n  l: [1, two]\n  r: {q: new}\n---\nother: 1\n",
            false,
        ),
        ("[\"m\"][\"x\"]", None, "a: 1\nm:\n  l: [1, two]\n---\nother: 1\n", true),
        ("[\"m\"][\"l\"][0]", None, "a: 1\nm:\n  x: {y: z}\n  l: [two]\n---\nother: 1\n", true),
        ("[\"m\"][\"l\"][0]", None, "a: 1\nm:\n  x: {y: z}\n  l: [1]\n---\nother: 1\n", false),
        ("[\"m\"][\"x\"]", None, before, false),
    ] {
        let at = KeyPath::parse(path).expect("a path");
        let tree = |text: &str| yaml.parse(text.as_bytes()).expect("readable");
        assert_eq!(same::but_for(yaml, &tree(before), &tree(after), &at.0, what), says, "{path}: {after}");
    }
}

/// Never the same twice.
struct Numbers(u64);

impl Rng for Numbers {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[test]
fn of_many_leaves_each_has_a_nonce_and_the_first_that_is_damaged_is_named() {
    const SORTS: [&str; 9] =
        ["text", "'yes'", "\"\"", "12", "2.50", "1.0", "", "0x1F", "|\n  two\n  lines, which the layout keeps"];
    let line = |n: usize| match n % 11 {
        9 => format!("k{n}_unencrypted: plain\n"),
        10 => format!("k{n}:\n  - a\n  # c\n  - {{x: {n}}}\n"),
        sort => format!("k{n}: {}\n", SORTS[sort]),
    };
    let text: String = (0..6_000).map(line).collect();
    let format = format::named("yaml").expect("a format");
    let key = DataKey::generate(&mut Counter(1));
    let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
    let file = plain.seal(metadata("unencrypted_suffix", "_unencrypted"), &key, &Stopped, &mut Numbers(0));
    let file = file.expect("sealable");
    let opened = file.open(&key).expect("sealed with this key").file;
    assert_eq!(opened.text(), text);
    let new_key = DataKey::generate(&mut Counter(2));
    let rotated = file.rotate(&opened, file.metadata.clone(), &new_key, &Stopped, &mut Numbers(0)).expect("sealable");
    assert_eq!(rotated.open(&new_key).expect("sealed with this key").file.text(), text);
    let nonces: Vec<&str> = rotated.text().split(",iv:").skip(1).map(|it| &it[..44]).collect();
    let distinct: std::collections::HashSet<&str> = nonces.iter().copied().collect();
    assert!(nonces.len() > 4_000 && distinct.len() == nonces.len(), "{} of {}", distinct.len(), nonces.len());

    // Of several that are damaged, the first is named.
    let mut damaged = file.text().to_owned();
    for n in [5_984, 3_300] {
        let at = damaged.find(&format!("\nk{n}: ")).expect("it is there");
        let data = at + damaged[at..].find("data:").expect("it is sealed") + "data:".len();
        let other = if damaged[data..].starts_with('A') { "B" } else { "A" };
        damaged.replace_range(data..=data, other);
    }
    let damaged = EncryptedFile { format, text: Text::public(damaged.into()), metadata: file.metadata.clone() };
    assert!(matches!(damaged.open(&key), Err(OpenError::Leaf { at, .. }) if at == "[\"k3300\"]"));
}

/// The ways to all scalars of a file's first document.
fn paths(wire: &Wire, above: &KeyPath, found: &mut Vec<KeyPath>) {
    let below = |step| KeyPath(above.0.iter().cloned().chain([step]).collect());
    match wire {
        Wire::Leaf(_) => found.push(above.clone()),
        Wire::List(_) => wire.items().enumerate().for_each(|(n, it)| paths(it, &below(Step::Index(n)), found)),
        Wire::Map(_) => wire.pairs().for_each(|(key, it)| paths(it, &below(Step::Key(key.to_owned())), found)),
    }
}

#[test]
fn a_value_is_set_alike_with_and_without_the_plaintext() {
    let values = ["new", "12", "yes", "p", "a: b #c", "two\nlines\n", " x", "é", "", "<<", "in"].map(Wire::text);
    let others = [Value::Bool(true), Value::Int(5), Value::Float(1.5), Value::Null].map(Wire::Leaf);
    let what: Vec<Wire> = values.into_iter().chain(others).collect();
    let key = DataKey::generate(&mut Counter(1));
    let mut alike = 0;
    for text in [
        "a: one\nm:\n    k: in\n    deep:\n        x: in\nl:\n    - p\n    - q\n    - p\n    - k: p\nn: 12\nt: true\nf: 1.5\n",
        "a: \"yes\"\nb: \"12\"\nc: |\n    two\n    lines\nd: |-\n    two\n    lines\ne: \"\"\nf:\ng: []\nh: {}\ni: é\nj: ' x '\n",
        "a: one\nb: \"\\t\"\nlast: |\n    two\n    lines\n",
        "a: one\nlast: |-\n    two\n    lines\n",
        "a: one\nlast: |+\n    two\n\n",
        "a: one\nlast: |\n\n    two\n",
        "m:\n  k: one\n  l:\n    - a\n    - - b\n      - c\n  t: two\nx: one\n",
        "a: 1.0\nb: 1\nl:\n    - 1.0\n    - 1\n",
        "a: one\n# comment\nb: two # inline\nl:\n    - x\n    # in\n    - y\n",
        "a: &a one\nb: *a\nc: !!str 12\n",
        "a: 'one'\nb: \"two\"\nc: {k: one, l: [x]}\nd: 2001-12-14\ne: 0x1F\n",
        "---\na: one\nb: two\n",
        "a: one\nb: two",
        "a: one\r\nb: two\r\n",
        "a: one\n---\na: two\n",
        "a:\n    one\nb:\n- one\n-   two\n? c\n: one\nd:   one\n",
        "a: one\n\nb: two\n\n\n",
        "a_unencrypted: one\nb: one\nc_unencrypted: |\n    two\n    lines\n",
        "b: one\nc_unencrypted: 'x'\nl_unencrypted: [p, q]\n",
    ] {
        let format = format::named("yaml").expect("a format");
        let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
        for (field, selector) in [("unencrypted_suffix", "_unencrypted"), ("encrypted_regex", "^(a|l|m|last)$")] {
            for mac_only_encrypted in [false, true] {
                let mut metadata = metadata(field, selector);
                metadata.scope.mac_only_encrypted = mac_only_encrypted;
                let file = plain.seal(metadata, &key, &Stopped, &mut Numbers(0)).expect("sealable");
                let (opened, leaves) = file.open_to_change(&key).expect("sealed with this key");
                let mut found = Vec::new();
                let wires = opened.file.wires().expect("readable");
                paths(&wires[0], &KeyPath::default(), &mut found);
                for (at, what) in found.iter().flat_map(|at| what.iter().map(move |it| (at, it))) {
                    let short = file.replace(at, what, &key, &Stopped, &mut Numbers(9_000)).expect("it opens");
                    let Some(Replaced { file: short, leaves: known, warnings }) = short else { continue };
                    alike += 1;
                    let edited = opened.file.set(at, what).expect("there is a scalar");
                    let long = edited.map(|it| {
                        let metadata = file.metadata.clone();
                        let sealed = file.reseal(&leaves, &it, metadata, &key, &Stopped, &mut Numbers(9_000));
                        sealed.expect("sealable")
                    });
                    let texts = [&short, &long].map(|it| it.as_ref().map(|it| it.text().to_owned()));
                    assert_eq!(texts[0], texts[1], "{at} in {text}");
                    assert_eq!(warnings, opened.warnings);
                    let Some(short) = short else { continue };
                    let is = |what: &Wire| short.is_but_for(at, what, &key, &file, &known).expect("it opens");
                    assert!(is(what) && !is(&Wire::text("another")), "{at} in {text}");
                }
            }
        }
    }
    assert!(alike > 500, "{alike} cases say too little");
}

#[test]
fn the_metadata_may_stand_above_everything() {
    let text = "a: 0x1F\nb:\n  c: one\n  d: 0o17\n";
    let (file, key, ..) = opened(text);
    let at = file.text().find("sops:").expect("it is sealed");
    let (values, metadata) = file.text().split_at(at);
    let moved = format!("{metadata}{values}");
    let format = file.format;
    let open = |text: &str| {
        let tree = format.parse(text.as_bytes()).expect("readable");
        EncryptedFile { format, text: Text::parsed(tree), metadata: file.metadata.clone() }.open(&key)
    };
    assert_eq!(open(&moved).expect("sealed with this key").file.text(), text);
    let damaged = moved.replacen("  c: ENC[AES256_GCM,data:", "  c: ENC[AES256_GCM,data:AAAA", 1);
    let said = open(&damaged).err().expect("it is damaged").to_string();
    assert!(said.contains(r#"["b"]["c"]"#) && !said.contains("sops"), "{said}");
}

#[test]
fn a_comment_right_behind_quotes_stays_a_comment() {
    for text in ["a: \"\\tx\"# c\nb: 1\n", "a: 'x'# c\nb: 1\n", "a: '12'# c\nl:\n- '12'# c\n"] {
        let (file, _, plain, _) = opened(text);
        assert!(!file.text().contains("# c"), "{}", file.text());
        assert_eq!(plain.text().replace(" # c", "# c"), text);
    }
}
