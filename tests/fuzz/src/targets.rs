//! What is fuzzed, and what must hold for every input.

use leafseal::edge::{Clock, Rng, Timestamp};
use leafseal::format::{FORMATS, Format, Layout, named, yaml};
use leafseal::rules::{KeyNames, Naming, Rules};
use leafseal::shamir;
use leafseal::tree::{Edits, Entry, Kind, METADATA_KEY, NodeId, Style, Tree, Wire};
use leafseal::value::Value;
use leafseal::{DataKey, EncryptedFile};
use leafseal_tests::documents;

use crate::{Target, pgp, sealed};

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "parse_yaml", run: |it| parse("yaml", it), seeds: || plain("yaml"), words: YAML },
    Target { name: "parse_json", run: |it| parse("json", it), seeds: || plain("json"), words: JSON },
    Target { name: "lines", run: lines, seeds: sealed::sealed_seeds, words: LINES },
    Target { name: "edits", run: edits, seeds: || [plain("yaml"), plain("json")].concat(), words: YAML },
    Target { name: "seal_and_open", run: sealed::seal_and_open, seeds: || plain("yaml"), words: YAML },
    Target { name: "set", run: sealed::set, seeds: || plain("yaml"), words: YAML },
    Target { name: "rotate", run: sealed::rotate, seeds: || plain("yaml"), words: YAML },
    Target { name: "envelope", run: envelope, seeds: envelopes, words: ENVELOPE },
    Target { name: "metadata", run: metadata, seeds: Vec::new, words: METADATA },
    Target { name: "rules", run: rules, seeds: Vec::new, words: RULES },
    Target { name: "combine", run: combine, seeds: parts, words: &[] },
    Target { name: "pgp_message", run: pgp::message, seeds: Vec::new, words: ARMOUR },
    Target { name: "pgp_packets", run: pgp::packets, seeds: Vec::new, words: &[] },
    Target { name: "pgp_certificates", run: pgp::certificates, seeds: pgp::rings, words: ARMOUR },
    Target { name: "pgp_secret_keys", run: pgp::secret_keys, seeds: pgp::secret_rings, words: ARMOUR },
];

const YAML: &[&str] = &[
    "---\n",
    "...\n",
    "- ",
    "? ",
    ": ",
    "|\n",
    ">-\n",
    "|2+\n",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "!!binary ",
    "# c\n",
    " #",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "''",
    "\"\"",
    "\\u0000",
    "~",
    "0x1F",
    "1e400",
    "2001-12-14",
    ".inf",
    "\u{feff}",
    "\u{85}",
    "\r\n",
    "sops:\n    mac: x\n",
    "%YAML 1.1\n",
    "<<",
    "😀",
];
const LINES: &[&str] = &[
    "\n",
    " ",
    "    ",
    "\n    ",
    "k:\n",
    "k: v\n",
    "\nk: ",
    "- ",
    "- k: v\n",
    "\n- ",
    "\n  - ",
    ": ",
    ":",
    "|\n",
    "|-\n    ",
    "\"",
    "'",
    "#",
    "-",
    "1",
    "~",
    "...",
    "\t",
    "é",
    "\u{2028}",
    "k: ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]\n",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"\"",
    "\\ud800",
    "\\u0041",
    "1e400",
    "-0",
    "null",
    "true",
    "\"sops\": {}",
    "\u{feff}",
    "\r\n",
];
const ENVELOPE: &[&str] = &[
    "ENC[AES256_GCM,",
    "data:",
    ",iv:",
    ",tag:",
    ",type:",
    "str]",
    "int]",
    "bytes]",
    "=",
    "AAAA",
    "]",
    "\\r",
    "-",
    "_",
];
const METADATA: &[&str] = &[
    "kms: []\n",
    "pgp: null\n",
    "key_groups:\n",
    "shamir_threshold: 2\n",
    "lastmodified: ",
    "mac: ",
    "version: ",
    "encrypted_regex: (\n",
    "unencrypted_suffix: ",
    "leafseal_layout: ",
    "2001-01-01T00:00:00Z",
    "3.13.3",
    "~",
    "{}",
    "[]",
];
const RULES: &[&str] = &[
    "creation_rules:\n",
    "  - path_regex: ",
    "    age: ",
    "    - &name age1a # name\n",
    "    key_groups:\n",
    "      - merge:\n",
    "    shamir_threshold: 99\n",
    "stores:\n",
    "\\Q",
    "\\z",
    "(?i)",
    "[[:alpha:]]",
    "{1,1000}",
    "(a*)*",
    "encrypted_regex: ",
    "[]",
    "{}",
    "&a",
    "*a",
];

const ARMOUR: &[&str] = &[
    "-----BEGIN PGP MESSAGE-----\n\n",
    "-----END PGP MESSAGE-----\n",
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
    "Version: x\n",
    "=aaaa\n",
    "\r\n",
    "AAAA",
    "KBXf",
];

pub(crate) fn plain(extension: &str) -> Vec<Vec<u8>> {
    let documents = documents::all().into_iter().filter(|it| it.extension == extension);
    let refused = documents::REFUSED.iter().filter(|it| it.extension == extension);
    documents.map(|it| it.text.into_owned().into_bytes()).chain(refused.map(|it| it.text.as_bytes().to_vec())).collect()
}

fn envelopes() -> Vec<Vec<u8>> {
    let whole = "ENC[AES256_GCM,data:f6SdJOI=,iv:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,tag:TEFu+ejkdT0ijPtelDWwfg==,type:str]";
    vec![whole.as_bytes().to_vec(), b"ENC[AES256_GCM,data:,iv:,tag:,type:]".to_vec(), b"plain".to_vec()]
}

/// A text that parses is kept to the byte, and every node of it can be asked what it means.
fn parse(format: &str, input: &[u8]) {
    let Some(format) = named(format) else { return };
    let Ok(tree) = format.parse(input) else { return };
    if std::str::from_utf8(input).is_ok() {
        assert_eq!(tree.source().as_bytes(), input, "the tree has another text");
    }
    assert_eq!(*Edits::default().apply(tree.source()), *tree.source(), "no edits change the text");
    for document in tree.documents() {
        let _ = tree.text(document.span);
        let _ = format.wire(&tree, document.root);
        walk(&tree, document.root, &mut |id| {
            let node = tree.node(id);
            let (_, _, _) = (tree.text(node.span), tree.text(node.properties), tree.key(id));
            if matches!(node.kind, Kind::Scalar | Kind::Comment { .. }) {
                let _ = (format.value(&tree, id), format.str(&tree, id));
            }
        });
    }
}

/// What is read of lines is what is read of tokens.
fn lines(input: &[u8]) {
    let Some(format) = named("yaml") else { return };
    match (format.parse(input), yaml::parse_tokens(input)) {
        (Ok(one), Ok(other)) => {
            let nodes = |tree: &Tree| (0..tree.len() as u32).map(|it| show(tree, NodeId(it))).collect::<Vec<_>>();
            assert_eq!(nodes(&one), nodes(&other), "the nodes differ");
            let rest = |tree: &Tree| format!("{:?} {} {:?}", tree.documents(), tree.indent_unit, tree.warnings);
            assert_eq!(rest(&one), rest(&other), "the trees differ");
        }
        (one, other) => assert_eq!(one.err(), other.err(), "the errors differ"),
    }
}

fn show(tree: &Tree, id: NodeId) -> String {
    format!("{:?} {:?} {:?}", tree.node(id), tree.key_of(id), tree.tag(id))
}

/// Visits a node and all below it, children after parents. Not recursive: inputs may be deep.
fn walk(tree: &Tree, root: NodeId, visit: &mut dyn FnMut(NodeId)) {
    let mut todo = vec![root];
    while let Some(id) = todo.pop() {
        visit(id);
        todo.extend(tree.children(id));
    }
}

/// Metadata that is attached and detached leaves the text as it was, and a scalar that is spelt anew
/// means what it meant.
fn edits(input: &[u8]) {
    for format in FORMATS {
        let Ok(tree) = format.parse(input) else { continue };
        let has_metadata = |id| tree.child(id, METADATA_KEY).is_some();
        if tree.documents().is_empty() || tree.documents().iter().any(|it| has_metadata(it.root)) {
            continue;
        }
        attach_and_detach(*format, &tree);
        // For go-yaml, a comment behind a tab may follow a plain scalar and nothing else.
        let is_behind_tab =
            |it: &str| it.split_once('#').is_some_and(|(before, _)| before.trim().is_empty() && before.contains('\t'));
        if !tree.source().lines().any(is_behind_tab) {
            spell(*format, &tree);
        }
    }
}

fn attach_and_detach(format: &dyn Format, tree: &Tree) {
    // A block scalar that the end of the file ends gets another header, which the layout remembers.
    let ends_in_block = (0..tree.len() as u32)
        .map(|it| tree.node(NodeId(it)))
        .any(|it| matches!(it.style, Style::Literal | Style::Folded) && it.span.range().end == tree.source().len());
    if ends_in_block {
        return;
    }
    // A document without content becomes an empty mapping, unless the layout says what it was.
    let is_bare = |root: NodeId| tree.children(root).all(|it| tree.key_of(it).is_none());
    if format.name() == "yaml" && tree.documents().iter().any(|it| is_bare(it.root)) {
        return;
    }
    let metadata = Wire::Map(vec![
        Entry::Pair(
            "age".to_owned(),
            Wire::List(vec![Wire::Map(vec![Entry::Pair("enc".to_owned(), Wire::text("a\nb\n"))])]),
        ),
        Entry::Pair("mac".to_owned(), Wire::text("x")),
    ]);
    let mut edits = Edits::default();
    format.attach(tree, &metadata, None, &Layout::default(), &mut edits);
    let sealed = edits.apply(tree.source());
    let again = format.parse(sealed.as_bytes()).expect("a text with metadata parses");
    let mut edits = Edits::default();
    for document in again.documents() {
        format.detach(&again, document, &mut edits);
    }
    let back = edits.apply(&sealed);
    // Only the metadata can say that there was no line break at the end.
    let ends = ['\n', '\r'];
    assert_eq!(back.trim_end_matches(ends), tree.source().trim_end_matches(ends), "detach does not undo attach");
}

fn spell(format: &dyn Format, tree: &Tree) {
    let mut edits = Edits::default();
    let mut values = Vec::new();
    for document in tree.documents() {
        walk(tree, document.root, &mut |id| {
            let node = tree.node(id);
            let is_bare = node.kind == Kind::Scalar && node.properties.is_empty() && !node.span.is_empty();
            if is_bare
                && let Ok(value) = format.value(tree, id)
                && !is_merge_key(&value)
            {
                format.replace(tree, id, &format.spell(tree, id, &value), &mut edits);
                values.push(value);
            }
        });
    }
    let spelt = edits.apply(tree.source());
    let again = format.parse(spelt.as_bytes()).expect("what a format spells parses");
    let mut read = Vec::new();
    for document in again.documents() {
        walk(&again, document.root, &mut |id| {
            let node = again.node(id);
            let is_bare = node.kind == Kind::Scalar && node.properties.is_empty() && !node.span.is_empty();
            if is_bare {
                read.extend(format.value(&again, id).ok().filter(|it| !is_merge_key(it)));
            }
        });
    }
    let same = values.len() == read.len() && values.iter().zip(&read).all(|(a, b)| is_same(a, b));
    assert!(same, "a value is not what it was after it was spelt");
}

/// This word is spelt with a tag.
fn is_merge_key(value: &Value) -> bool {
    *value.canonical() == *b"<<"
}

/// As SOPS does, a float that is a whole number is spelt without a point, and reads as an integer.
fn is_same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Float(float), Value::Int(int)) => *float == *int as f64,
        _ => before.type_name() == after.type_name() && before.canonical() == after.canonical(),
    }
}

/// Any text can stand where a sealed value stands.
fn envelope(input: &[u8]) {
    let Some(format) = named("json") else { return };
    let text = String::from_utf8_lossy(input);
    let quoted: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
    let file = format!(
        "{{\"a\": \"{quoted}\", \"sops\": {{\"age\": [{{\"recipient\": \"x\", \"enc\": \"y\"}}], \
         \"lastmodified\": \"2026-01-02T03:04:05Z\", \"mac\": \"{quoted}\", \"version\": \"3.13.3\"}}}}"
    );
    let Ok(file) = EncryptedFile::parse(format, file.as_bytes()) else { return };
    let key = DataKey::from_bytes(&(0..32).collect::<Vec<u8>>()).expect("it is 32 bytes long");
    let _ = file.open(&key).is_ok();
    let _ = file.open_ignoring_mac(&key).is_ok();
}

/// A damaged encrypted file is refused or kept: what is kept can be wrapped anew without a change.
fn metadata(input: &[u8]) {
    for format in FORMATS {
        let Ok(file) = EncryptedFile::parse(*format, input) else { continue };
        let key = DataKey::from_bytes(&[7; 32]).expect("it is 32 bytes long");
        let _ = file.open(&key).is_ok();
        if let Ok(rewrapped) = file.rewrap(file.metadata().clone()) {
            let again = EncryptedFile::parse(*format, rewrapped.text().as_bytes());
            let again = again.expect("what is written with metadata is read");
            assert_eq!(again.metadata().mac, file.metadata().mac, "wrapping anew has changed the MAC");
        }
    }
}

/// Parts of three bytes each, the last of which is their place.
fn parts() -> Vec<Vec<u8>> {
    vec![b"\x03ab\x01cd\x02ef\x03".to_vec(), b"\x02a\x01b\x01".to_vec(), vec![33; 100], b"\x00".to_vec()]
}

/// Hands out what was fuzzed, over and over.
struct Fuzzed<'i>(std::iter::Cycle<std::slice::Iter<'i, u8>>);

impl Rng for Fuzzed<'_> {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.iter_mut().for_each(|it| *it = self.0.next().copied().unwrap_or(0));
    }
}

/// Any bytes can be taken for parts of a secret, and what was split comes together from enough parts,
/// whatever the randomness.
fn combine(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let given: Vec<&[u8]> = rest.chunks(usize::from(first).max(1)).collect();
    if let Ok(secret) = shamir::combine(&given) {
        assert_eq!(secret.len() + 1, given[0].len(), "a part is a byte longer than the secret");
    }
    let secret = &rest[..rest.len().min(32)];
    let (threshold, groups) = (usize::from(first % 16), usize::from(first >> 4));
    if let Ok(parts) = shamir::split(secret, groups, threshold, &mut Fuzzed(rest.iter().cycle())) {
        let parts: Vec<&[u8]> = parts.iter().map(|it| it.as_slice()).collect();
        for some in parts.windows(threshold).chain([parts.as_slice()]) {
            assert_eq!(&**shamir::combine(some).expect("they go together"), secret, "enough parts give the secret");
        }
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2026-01-02T03:04:05Z")
    }
}

/// A configuration is refused or can be asked for any path.
fn rules(input: &[u8]) {
    if let Ok(rules) = Rules::parse(input) {
        let naming = Naming { clock: &Stopped, kms_context: &[], aws_profile: "" };
        for path in ["a.yaml", "secrets/prod/b.json", "/abs/c", ""] {
            let _ = rules.rule_for(path, &naming);
            let _ = rules.place_of_rule(path);
        }
        let _ = rules.stores();
    }
    let _ = KeyNames::parse(input);
}
