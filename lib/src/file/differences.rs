//! Where two files say something else.

use super::PlainFile;
use super::same::same_wire;
use crate::key_path::{KeyPath, Step};
use crate::tree::Wire;

impl PlainFile {
    /// The places at which only one of the two says a value, or each another one. Comments and spelling do
    /// not count, and a list of another length is one place. Later documents are told by their number.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (Ok(one), Ok(other)) = (self.wires(), other.wires()) else { return Vec::new() };
        let mut found = Vec::new();
        for n in 0..one.len().max(other.len()) {
            let mut places = Vec::new();
            match (one.get(n), other.get(n)) {
                (Some(one), Some(other)) => differences(one, other, &mut KeyPath::default(), &mut places),
                _ => places.push(String::new()),
            }
            found.extend(places.into_iter().map(|it| match (n, it.is_empty()) {
                (0, false) => it,
                (0, true) => "the whole document".to_owned(),
                (n, false) => format!("{it} in document {}", n + 1),
                (n, true) => format!("document {}", n + 1),
            }));
        }
        found
    }
}

fn differences(one: &Wire, other: &Wire, at: &mut KeyPath, found: &mut Vec<String>) {
    match (one, other) {
        (Wire::Map(_), Wire::Map(_)) => {
            for (key, value) in one.pairs() {
                at.0.push(Step::Key(key.to_owned()));
                match other.get(key) {
                    Some(other) => differences(value, other, at, found),
                    None => found.push(at.to_string()),
                }
                at.0.pop();
            }
            for (key, _) in other.pairs().filter(|(key, _)| one.get(key).is_none()) {
                at.0.push(Step::Key(key.to_owned()));
                found.push(at.to_string());
                at.0.pop();
            }
        }
        (Wire::List(_), Wire::List(_)) if one.items().count() == other.items().count() => {
            for (n, (one, other)) in one.items().zip(other.items()).enumerate() {
                at.0.push(Step::Index(n));
                differences(one, other, at, found);
                at.0.pop();
            }
        }
        _ if same_wire(one, other) => {}
        _ => found.push(at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::PlainFile;
    use crate::format::named;

    #[test]
    fn differences_are_places_and_never_values() {
        let file =
            |text: &str| PlainFile::parse(named("yaml").expect("it is there"), text.as_bytes()).expect("it is YAML");
        for (one, other, found) in [
            ("a: 1\n", "a:   1 # note\n", &[][..]),
            ("a: 1\nb: {c: x}\n", "a: 2\nb: {c: y, d: z}\n", &["[\"a\"]", "[\"b\"][\"c\"]", "[\"b\"][\"d\"]"]),
            ("a: 1\nb: 2\n", "b: 2\n", &["[\"a\"]"]),
            ("a: [x, y]\n", "a: [x, z]\n", &["[\"a\"][1]"]),
            ("a: [x, y]\n", "a: [x]\n", &["[\"a\"]"]),
            ("a: 1\n---\na: 1\n", "a: 1\n---\na: 2\n---\na: 3\n", &["[\"a\"] in document 2", "document 3"]),
        ] {
            assert_eq!(file(one).differences(&file(other)), found, "{one:?} {other:?}");
        }
    }
}
