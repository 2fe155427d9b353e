//! Three-way merge of texts by lines, for a file that somebody else has changed while it was edited.

use std::collections::HashMap;

use diffy::{ConflictStyle, MergeOptions};
use zeroize::Zeroizing;

/// The lines around a conflict.
const OURS: &[u8] = b"<<<<<<< yours";
const BETWEEN: &[u8] = b"=======";
const THEIRS: &[u8] = b">>>>>>> theirs";

/// Both changes in one text.
pub(crate) struct Merged {
    /// The text.
    pub text: Zeroizing<Vec<u8>>,
    /// True if some lines stand there in both versions, with markers around them.
    pub has_conflicts: bool,
}

/// Merges what became of `base` in two places.
pub(crate) fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Merged {
    // The library merges the numbers of lines: it keeps copies of what it works on and cannot wipe them.
    let mut lines = Vec::new();
    let mut numbers = HashMap::new();
    let [base, our, their] = [base, ours, theirs].map(|text| {
        text.split_inclusive(|it| *it == b'\n').fold(String::new(), |spelt, line| {
            let number = *numbers.entry(line).or_insert_with(|| {
                lines.push(line);
                lines.len() - 1
            });
            spelt + &format!("{number}\n")
        })
    });
    let merged = MergeOptions::new().set_conflict_style(ConflictStyle::Merge).merge(&base, &our, &their);
    let (has_conflicts, merged) = match merged {
        Ok(merged) => (false, merged),
        Err(marked) => (true, marked),
    };
    let end: &[u8] =
        if ours.split_inclusive(|it| *it == b'\n').any(|it| it.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
    let parts: Vec<&[u8]> = merged
        .lines()
        .map(|it| match (it.parse::<usize>(), it.as_bytes()[0]) {
            (Ok(number), _) => lines[number],
            (_, b'<') => OURS,
            (_, b'>') => THEIRS,
            _ => BETWEEN,
        })
        .collect();
    // Of its full size from the start: a vector that grows leaves its old bytes behind in memory.
    let size = parts.iter().map(|it| it.len() + 2 * end.len()).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    for part in parts {
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.extend_from_slice(end);
        }
        text.extend_from_slice(part);
        if has_conflicts && is_marker(part) {
            text.extend_from_slice(end);
        }
    }
    Merged { text, has_conflicts }
}

/// The line, counted from one, in which a marker of a conflict is left.
pub(crate) fn marker(text: &[u8]) -> Option<usize> {
    text.split(|it| *it == b'\n').position(|it| is_marker(it.strip_suffix(b"\r").unwrap_or(it))).map(|it| it + 1)
}

fn is_marker(line: &[u8]) -> bool {
    [OURS, BETWEEN, THEIRS].contains(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str, ours: &str, theirs: &str, expected: &str, conflicts: bool) {
        let Merged { text, has_conflicts } = merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
        assert_eq!((String::from_utf8_lossy(&text).as_ref(), has_conflicts), (expected, conflicts));
        assert_eq!(marker(&text).is_some(), conflicts);
    }

    #[test]
    fn changes_in_different_places_are_both_made() {
        check("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n", false);
        check("a\nb\nc\n", "b\nc\n", "a\nb\nc\nd\n", "b\nc\nd\n", false);
        check("a\n", "b\n", "b\n", "b\n", false);
        check("a\r\nb\r\nc", "A\r\nb\r\nc", "a\r\nb\r\nc", "A\r\nb\r\nc", false);
        check("", "a\n", "", "a\n", false);
        check("1\n2\n3\n", "3\n2\n3\n", "1\n2\n1\n", "3\n2\n1\n", false);
    }

    #[test]
    fn changes_in_one_place_stand_side_by_side() {
        let marked = "<<<<<<< yours\nb\n=======\nc\n>>>>>>> theirs\n";
        check("a\n", "b\n", "c\n", marked, true);
        check("a", "b", "c", marked, true);
        check("a\n", "b\n", "", "<<<<<<< yours\nb\n=======\n>>>>>>> theirs\n", true);
        let dos = "<<<<<<< yours\r\nb\r\n=======\r\nc\r\n>>>>>>> theirs\r\nx\r\n";
        check("a\r\nx\r\n", "b\r\nx\r\n", "c\r\nx\r\n", dos, true);
    }

    #[test]
    fn a_marker_is_a_line_of_its_own() {
        assert_eq!(marker(b"a: 1\n=======\r\nb: 2\n"), Some(2));
        assert_eq!(marker(b"a: =======\n  =======\n<<<<<<< HEAD\n"), None);
    }
}
