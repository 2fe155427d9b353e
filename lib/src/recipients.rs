//! Who can read a file, and what other key groups would change about that.

use std::collections::{HashMap, HashSet};

use crate::metadata::{KeyGroup, MasterKey};

/// A key and how far it gets by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader<'k> {
    /// The key.
    pub key: &'k MasterKey,
    /// The groups that it stands in, from zero.
    pub groups: Vec<usize>,
    /// True if it opens as many groups as are needed: it reads the file without anybody else.
    pub alone: bool,
}

/// What becomes of somebody's access.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Shift {
    /// Could not read, and can.
    Gains,
    /// Could read with others, and can without them, or with fewer.
    Widens,
    /// Could read, and can only together with others, or with more of them.
    Narrows,
    /// Could read, and cannot.
    Loses,
}

/// What changes in one group. Groups are compared by position and keys by what identifies them, as
/// SOPS does (spec section 8.12).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupChange<'k> {
    /// The keys in both.
    pub common: Vec<&'k MasterKey>,
    /// The keys that are new.
    pub added: Vec<&'k MasterKey>,
    /// The keys that go.
    pub removed: Vec<&'k MasterKey>,
}

/// The way from the key groups that a file has to others.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'k> {
    /// One for each position.
    pub groups: Vec<GroupChange<'k>>,
    /// The threshold that the file has; zero if it does not say.
    pub threshold: usize,
    /// The one it gets.
    pub new_threshold: usize,
    before: &'k [KeyGroup],
    after: &'k [KeyGroup],
}

/// How many of so many groups must open. Without a threshold all of several must, and there is no
/// threshold below two: a single part of a data key does not open anything (spec section 5.2).
pub fn needed(groups: usize, threshold: usize) -> usize {
    match (groups, threshold) {
        (0 | 1, _) => 1,
        (_, 0) => groups,
        (_, threshold) => threshold.max(2),
    }
}

/// The threshold of a file that gets so many groups, by the file alone: its own, as far as there are
/// groups for it (spec section 8.12).
pub fn kept_threshold(of_file: usize, groups: usize) -> usize {
    of_file.min(groups)
}

/// The threshold of a file that gets so many groups, by the rule first. Where neither says what can be
/// meant, all groups are needed.
pub fn wanted_threshold(of_file: usize, of_rule: usize, groups: usize) -> usize {
    match (groups, of_rule) {
        // Where there is one group, what stands there means nothing and is left as it is.
        (..2, _) => of_file,
        (_, 1..) => of_rule,
        // One group of several cannot be meant.
        _ if of_file < 2 => 0,
        _ => kept_threshold(of_file, groups),
    }
}

/// Everybody who is named in these groups, each once, in order.
pub fn readers(groups: &[KeyGroup], threshold: usize) -> Vec<Reader<'_>> {
    let needed = needed(groups.len(), threshold);
    let mut readers: Vec<Reader<'_>> = Vec::new();
    let mut places = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        for key in &group.0 {
            let place = *places.entry(identity(key)).or_insert(readers.len());
            if place == readers.len() {
                readers.push(Reader { key, groups: Vec::new(), alone: false });
            }
            if readers[place].groups.last() != Some(&at) {
                readers[place].groups.push(at);
            }
        }
    }
    for reader in &mut readers {
        reader.alone = reader.groups.len() >= needed;
    }
    readers
}

/// What makes two keys the same: see [`MasterKey::same_key`].
fn identity(key: &MasterKey) -> (&str, String) {
    (&key.kind, key.id())
}

impl<'k> Change<'k> {
    /// Compares the groups and the threshold of a file with others.
    pub fn between(before: &'k [KeyGroup], threshold: usize, after: &'k [KeyGroup], new_threshold: usize) -> Self {
        let groups = (0..before.len().max(after.len())).map(|at| {
            let of = |groups: &'k [KeyGroup]| groups.get(at).map_or(&[] as &'k [MasterKey], |it| it.0.as_slice());
            let (ours, theirs) = (of(before), of(after));
            let all = |keys: &'k [MasterKey]| keys.iter().map(identity).collect::<HashSet<_>>();
            let (known, wanted) = (all(ours), all(theirs));
            let (common, added) = theirs.iter().partition(|it| known.contains(&identity(it)));
            GroupChange { common, added, removed: ours.iter().filter(|it| !wanted.contains(&identity(it))).collect() }
        });
        Self { groups: groups.collect(), threshold, new_threshold, before, after }
    }

    /// The groups that the file gets.
    pub fn groups_after(&self) -> &'k [KeyGroup] {
        self.after
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let is_same = |it: &GroupChange<'_>| it.added.is_empty() && it.removed.is_empty();
        self.groups.iter().all(is_same) && self.threshold == self.new_threshold
    }

    /// Whose access changes, in the order of the groups: those there are first, then the new ones.
    pub fn shifts(&self) -> Vec<(&'k MasterKey, Shift)> {
        let before = readers(self.before, self.threshold);
        let after = readers(self.after, self.new_threshold);
        let all =
            |readers: &[Reader<'k>]| readers.iter().map(|it| (identity(it.key), it.alone)).collect::<HashMap<_, _>>();
        let (was, is) = (all(&before), all(&after));
        let (needed, needed_now) =
            (needed(self.before.len(), self.threshold), needed(self.after.len(), self.new_threshold));
        let shift = |reader: &Reader<'k>| match (reader.alone, is.get(&identity(reader.key))) {
            (_, None) => Some(Shift::Loses),
            (true, Some(false)) => Some(Shift::Narrows),
            (false, Some(true)) => Some(Shift::Widens),
            (false, Some(false)) if needed_now > needed => Some(Shift::Narrows),
            (false, Some(false)) if needed_now < needed => Some(Shift::Widens),
            _ => None,
        };
        let mut shifts: Vec<_> = before.iter().filter_map(|it| Some((it.key, shift(it)?))).collect();
        let new = after.iter().filter(|it| !was.contains_key(&identity(it.key)));
        shifts.extend(new.map(|it| (it.key, Shift::Gains)));
        shifts
    }

    /// True if somebody is to be shut out, or kept from reading alone: who may know the data key.
    pub fn shuts_out(&self) -> bool {
        self.shifts().iter().any(|(_, it)| matches!(it, Shift::Narrows | Shift::Loses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Wire;

    /// Groups as text: `ab c` is a group of a and b, and one of c.
    fn groups(text: &str) -> Vec<KeyGroup> {
        let key = |id: char| MasterKey {
            kind: "age".to_owned(),
            fields: vec![("recipient".to_owned(), Wire::text(&id.to_string()))],
            enc: None,
        };
        text.split_whitespace().map(|it| KeyGroup(it.chars().map(key).collect())).collect()
    }

    #[test]
    fn who_can_read_alone_depends_on_the_threshold() {
        for (text, threshold, needs, expected) in [
            ("", 0, 1, ""),
            ("ab", 0, 1, "a! b!"),
            ("aab", 5, 1, "a! b!"),
            ("ab c", 0, 2, "a b c"),
            ("ab ac", 0, 2, "a! b c"),
            ("ab ac d", 2, 2, "a! b c d"),
            ("ab ac d", 0, 3, "a b c d"),
            ("a b", 1, 2, "a b"),
            ("a b", 3, 3, "a b"),
        ] {
            let groups = groups(text);
            let readers = readers(&groups, threshold);
            let shown = readers.iter().map(|it| format!("{}{}", it.key.id(), if it.alone { "!" } else { "" }));
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{text} {threshold}");
            assert_eq!(needed(groups.len(), threshold), needs, "{text} {threshold}");
        }
    }

    #[test]
    fn a_rule_has_a_say_about_the_threshold() {
        for (of_file, of_rule, groups, kept, wanted) in [
            (0, 0, 1, 0, 0),
            (2, 0, 1, 1, 2),
            (0, 2, 1, 0, 0),
            (0, 0, 3, 0, 0),
            (1, 0, 3, 1, 0),
            (2, 0, 3, 2, 2),
            (2, 3, 3, 2, 3),
            (5, 0, 3, 3, 3),
            (5, 2, 3, 3, 2),
        ] {
            let got = (kept_threshold(of_file, groups), wanted_threshold(of_file, of_rule, groups));
            assert_eq!(got, (kept, wanted), "{of_file} {of_rule} {groups}");
        }
    }

    #[test]
    fn a_change_says_who_gains_and_who_loses() {
        // Before, its threshold, after: whose access shifts, whether somebody is shut out, whether all is right.
        for (before, threshold, after, expected, shuts_out, is_empty) in [
            ("ab", 0, "ab", "", false, true),
            ("ab", 0, "ba", "", false, true),
            ("ab", 0, "abc", "+c", false, false),
            ("ab", 0, "bc", "-a +c", true, false),
            ("ab", 2, "ab", "", false, false),
            ("ab", 0, "a b", "<a <b", true, false),
            ("a b", 2, "ab", ">a >b", false, false),
            ("a b c", 2, "a b c", "", false, true),
            ("a b c", 3, "a b", ">a >b -c", true, false),
            ("a b", 2, "a b c", "+c", false, false),
            ("a b", 0, "a b c", "<a <b +c", true, false),
            ("a b c", 2, "b a c", "", false, false),
            ("a b c", 2, "ac b c", ">c", false, false),
        ] {
            let (ours, theirs) = (groups(before), groups(after));
            let change = Change::between(&ours, threshold, &theirs, kept_threshold(threshold, theirs.len()));
            let sign = |it| match it {
                Shift::Gains => '+',
                Shift::Widens => '>',
                Shift::Narrows => '<',
                Shift::Loses => '-',
            };
            let shifts: Vec<_> = change.shifts().iter().map(|(key, it)| format!("{}{}", sign(*it), key.id())).collect();
            let case = format!("{before} ({threshold}) to {after}");
            assert_eq!(shifts.join(" "), expected, "{case}");
            assert_eq!((change.shuts_out(), change.is_empty()), (shuts_out, is_empty), "{case}");
        }
    }

    #[test]
    fn groups_are_compared_by_position() {
        let (ours, theirs) = (groups("ab"), groups("bc d"));
        let change = Change::between(&ours, 0, &theirs, 0);
        let ids = |keys: &[&MasterKey]| keys.iter().map(|it| it.id()).collect::<String>();
        let shown: Vec<_> =
            change.groups.iter().map(|it| (ids(&it.common), ids(&it.added), ids(&it.removed))).collect();
        let own = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(shown, [own("b", "c", "a"), own("", "d", "")]);
    }
}
