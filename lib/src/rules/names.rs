//! What the authors of a configuration call its keys: comments beside them, and anchors.

use std::collections::HashMap;

use crate::format::{self, Format};
use crate::metadata::MasterKey;
use crate::tree::{Kind, NodeId, Tree};

/// The most characters of a name: it is shown in a table.
const LONGEST: usize = 60;

/// A word of so many characters is a key that has been commented out.
const KEY_LENGTH: usize = 40;

/// Names of keys.
#[derive(Clone, Debug, Default)]
pub struct KeyNames(HashMap<String, (Rank, String)>);

/// Where a name was found: the first is the best.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    /// A comment on the line of the key.
    Beside,
    /// The anchor of the key.
    Anchor,
    /// A comment on the line before: above a list it may as well be a heading.
    Above,
}

impl KeyNames {
    /// Finds the names in a configuration. A text that is no YAML has none.
    pub fn parse(source: &[u8]) -> Self {
        let yaml = format::named("yaml").expect("YAML is one of the formats");
        let mut names = Self::default();
        if let Ok(tree) = yaml.parse(source) {
            Comments::of(yaml, &tree).name_keys(&mut names);
        }
        names
    }

    /// What a key is called.
    pub fn of(&self, key: &MasterKey) -> Option<&str> {
        let id = key.id();
        // A rule names an AWS key without its context, and an Azure key maybe without its version.
        let bare = id.split('|').next().unwrap_or_default();
        let without = |end: char| bare.rsplit_once(end).map(|(it, _)| it);
        let unversioned = if key.kind == "azure_kv" { without('/') } else { None };
        let found = [Some(bare), unversioned].into_iter().flatten().find_map(|it| self.0.get(&normal(it)));
        found.map(|(_, it)| it.as_str())
    }

    /// Notes a name, if there is no better one.
    fn note(&mut self, key: &str, rank: Rank, name: String) {
        let key = normal(key);
        if self.0.get(&key).is_none_or(|(known, _)| rank < *known) {
            self.0.insert(key, (rank, name));
        }
    }
}

/// A key without blanks: fingerprints are written with them and compared without.
fn normal(key: &str) -> String {
    key.chars().filter(|it| !it.is_whitespace()).collect()
}

/// The comments of a document by their lines.
struct Comments<'t> {
    yaml: &'static dyn Format,
    tree: &'t Tree,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The comments that follow something on their line.
    beside: HashMap<usize, &'t str>,
    /// The comments that have a line of their own.
    own: HashMap<usize, &'t str>,
    /// How many scalars begin on a line.
    scalars: HashMap<usize, usize>,
}

impl<'t> Comments<'t> {
    fn of(yaml: &'static dyn Format, tree: &'t Tree) -> Self {
        let source = tree.source();
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', source.as_bytes()).map(|it| it + 1)).collect();
        let (beside, own, scalars) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut comments = Self { yaml, tree, lines, beside, own, scalars };
        for id in comments.ids() {
            let node = tree.node(id);
            let line = comments.line(node.span.range().start);
            match node.kind {
                Kind::Comment { .. } => {
                    let start = node.span.range().start;
                    let is_own = source[comments.lines[line]..start].trim().is_empty();
                    // One node may hold the lines of several comments.
                    for (n, text) in tree.text(node.span).lines().enumerate() {
                        let among = if is_own || n > 0 { &mut comments.own } else { &mut comments.beside };
                        among.insert(line + n, text);
                    }
                }
                Kind::Scalar | Kind::Alias(_) => *comments.scalars.entry(line).or_default() += 1,
                Kind::Map | Kind::List => (),
            }
        }
        comments
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.tree.len() as u32).map(NodeId)
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|it| *it <= at) - 1
    }

    fn name_keys(&self, names: &mut KeyNames) {
        for id in self.ids() {
            let node = self.tree.node(id);
            if !matches!(node.kind, Kind::Scalar | Kind::Alias(_)) {
                continue;
            }
            let Some(text) = self.yaml.str(self.tree, self.tree.resolve(id)) else { continue };
            let keys: Vec<&str> = text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
            let span = node.span.range();
            let first = match node.properties.is_empty() {
                true => self.line(span.start),
                false => self.line(node.properties.range().start),
            };
            let last = self.line(span.end.max(span.start + 1) - 1);
            match keys.as_slice() {
                [] => (),
                [key] => {
                    let anchor = self.tree.text(node.properties).split_whitespace().find_map(|it| it.strip_prefix('&'));
                    if let Some(anchor) = anchor {
                        names.note(key, Rank::Anchor, shown(anchor));
                    }
                    // What stands beside or above several keys is about all of them.
                    if self.scalars.get(&first) == Some(&1) {
                        if let Some(name) = self.beside(first, last).and_then(name) {
                            names.note(key, Rank::Beside, name);
                        }
                        if let Some(name) = self.above(first, 1).first().and_then(|it| name(it)) {
                            names.note(key, Rank::Above, name);
                        }
                    }
                }
                keys => {
                    let (rank, found) = self.listed(first, last, keys.len());
                    for (key, name) in keys.iter().zip(found) {
                        names.note(key, rank, name);
                    }
                }
            }
        }
    }

    /// The comment behind something that goes from one line to another: behind its first line, as for a
    /// block scalar, or behind its last.
    fn beside(&self, first: usize, last: usize) -> Option<&'t str> {
        self.beside.get(&first).or_else(|| self.beside.get(&last)).copied()
    }

    /// The comments on the `n` lines before a line, as far as there are any; the first comes first.
    fn above(&self, line: usize, n: usize) -> Vec<&'t str> {
        let mut found: Vec<_> = (1..=n).map_while(|it| self.own.get(&line.checked_sub(it)?).copied()).collect();
        found.reverse();
        found
    }

    /// Names for a scalar that lists `n` keys, if there are as many: with commas, or one a line.
    fn listed(&self, first: usize, last: usize, n: usize) -> (Rank, Vec<String>) {
        let all = |parts: Vec<&str>| -> Option<Vec<String>> {
            (parts.len() == n).then(|| parts.into_iter().map(name).collect::<Option<_>>()).flatten()
        };
        let split = |text: &'t str| text.split(',').collect::<Vec<_>>();
        if let Some(names) = self.beside(first, last).map(split).and_then(all) {
            return (Rank::Beside, names);
        }
        let one = self.above(first, 1).first().map(|it| split(it)).and_then(all);
        let several = || all(self.above(first, n)).filter(|_| self.above(first, n + 1).len() == n);
        (Rank::Above, one.or_else(several).unwrap_or_default())
    }
}

/// The name that a comment is, unless it is a key that has been commented out.
fn name(comment: &str) -> Option<String> {
    let text = comment.trim().trim_start_matches('#').trim();
    let is_code = text.starts_with("- ") || text.split_whitespace().any(|it| it.chars().count() >= KEY_LENGTH);
    (!text.is_empty() && !is_code).then(|| shown(text))
}

fn shown(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", words[..at].trim_end()),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Wire;

    fn called(source: &str, kind: &str, field: &str, id: &str) -> Option<String> {
        let key = MasterKey { kind: kind.to_owned(), fields: vec![(field.to_owned(), Wire::text(id))], enc: None };
        KeyNames::parse(source.as_bytes()).of(&key).map(str::to_owned)
    }

    #[test]
    fn names_stand_beside_keys_or_above_them() {
        let long = "age1".to_owned() + &"q".repeat(58);
        // The configuration, and what the keys age1a, age1b and age1c are called in it.
        for (source, expected) in [
            ("keys:\n  - age1a # Alice\n  # Bob\n  - age1b\n  - age1c\n", ["Alice", "Bob", ""]),
            (
                "keys:\n  - &alice age1a\n  - &bob age1b # Bob's laptop\n  # Carol?\n  - &carol age1c\n",
                ["alice", "Bob's laptop", "carol"],
            ),
            (
                "keys:\n  # Admins\n  - &alice age1a\n  - &bob age1b\nr:\n  - age: *bob # on call\n",
                ["alice", "on call", ""],
            ),
            ("creation_rules:\n  - age: age1a # Alice\n", ["Alice", "", ""]),
            ("creation_rules:\n  - age: \"age1a\"   #Alice\n", ["Alice", "", ""]),
            ("creation_rules:\n  - path_regex: x\n    # Alice\n    age: age1a\n", ["Alice", "", ""]),
            ("creation_rules:\n  # About x\n  - path_regex: x\n    age: age1a\n", ["", "", ""]),
            ("r:\n  - age: age1a,age1b # Alice, Bob\n", ["Alice", "Bob", ""]),
            ("r:\n  - age: age1a,age1b # the team\n", ["", "", ""]),
            ("r:\n  - age: >- # Alice, Bob\n      age1a,\n      age1b\n", ["Alice", "Bob", ""]),
            ("r:\n  - x: 1\n    # Alice\n    # Bob\n    age: >-\n      age1a,\n      age1b\n", ["Alice", "Bob", ""]),
            ("r:\n  - x: 1\n    # Who:\n    # Alice\n    # Bob\n    age: age1a,age1b\n", ["", "", ""]),
            ("r:\n  - x: 1\n    # Alice, Bob and, Carol\n    age: age1a, age1b,age1c\n", ["Alice", "Bob and", "Carol"]),
            ("r:\n  - age: [age1a, age1b] # the team\n", ["", "", ""]),
            ("r:\n  - age: [\n      age1a, # Alice\n      age1b # Bob\n    ]\n", ["Alice", "Bob", ""]),
            ("r:\n  - age:\n      # - age1c\n      - age1a\n", ["", "", ""]),
            (&format!("r:\n  - age:\n      # {long}\n      - age1a\n"), ["", "", ""]),
            ("r:\n  - age: &alice\n      age1a\n", ["alice", "", ""]),
            ("x: &x\n  - age1a\ny: *x # all\n", ["", "", ""]),
            ("x: &x {y: age1a}\ny: *x # all\n", ["", "", ""]),
            ("keys:\n  - age1a # Alice\nr:\n  - age: age1a # somebody\n", ["Alice", "", ""]),
            ("a: [\n", ["", "", ""]),
            ("", ["", "", ""]),
        ] {
            let found =
                ["age1a", "age1b", "age1c"].map(|it| called(source, "age", "recipient", it).unwrap_or_default());
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn keys_of_every_kind_are_found_as_rules_write_them() {
        for (source, kind, field, id) in [
            ("pgp: 85D7 7543 B3D6 # x\n", "pgp", "fp", "85D77543B3D6"),
            ("age: ssh-ed25519 AAAA a@b # x\n", "age", "recipient", "ssh-ed25519 AAAA a@b"),
            ("kms:\n  - arn: arn:aws:kms:r:1:key/k # x\n", "kms", "arn", "arn:aws:kms:r:1:key/k"),
            ("gcp_kms:\n  # x\n  - resource_id: projects/p\n", "gcp_kms", "resource_id", "projects/p"),
        ] {
            assert_eq!(called(source, kind, field, id).as_deref(), Some("x"), "{source}");
        }
        let fields = [("vault_url", "https://v.net"), ("name", "k"), ("version", "1")];
        let fields = fields.map(|(name, it)| (name.to_owned(), Wire::text(it))).into();
        let key = MasterKey { kind: "azure_kv".to_owned(), fields, enc: None };
        for source in ["azure_keyvault: https://v.net/keys/k/1 # x\n", "azure_keyvault: https://v.net/keys/k # x\n"] {
            assert_eq!(KeyNames::parse(source.as_bytes()).of(&key), Some("x"), "{source}");
        }
    }

    #[test]
    fn a_long_comment_is_cut() {
        let source = format!("age: age1a # {}\n", "word ".repeat(50));
        let name = called(&source, "age", "recipient", "age1a").expect("it has one");
        assert!(name.ends_with("word…") && name.chars().count() <= LONGEST + 1, "{name}");
    }
}
