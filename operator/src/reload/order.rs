//! In which order workloads restart that are due together: those first that others name in an annotation.

use std::collections::BTreeSet;

use super::annotations::{Annotations, cut, items};
use crate::rollout::WORKLOADS;

/// The annotation: workloads of the same namespace, as `kind/name`, with commas between them. Where they restart too,
/// they do so before this one, and have all their pods again.
pub const DEPENDS_ON: &str = "reload.leafseal.io/depends-on";

/// A workload of the same namespace: its kind, and its name.
pub type Neighbour = (&'static str, String);

/// The workloads that one depends on. What cannot be read is left out and said.
pub(super) fn read(own: &Annotations, complaints: &mut Vec<String>) -> BTreeSet<Neighbour> {
    let mut all = BTreeSet::new();
    for item in items(own.get(DEPENDS_ON)) {
        let named = item.split_once('/').and_then(|(kind, name)| {
            let is_it = |it: &str| it.eq_ignore_ascii_case(kind);
            let workload = WORKLOADS.iter().find(|it| is_it(it.kind) || is_it(it.plural))?;
            Some((workload.kind, name.to_owned())).filter(|_| !name.is_empty())
        });
        match named {
            Some(named) => _ = all.insert(named),
            None => complaints.push(format!("{DEPENDS_ON}: {} is no workload: write kind/name", cut(item))),
        }
    }
    all
}

/// Whom a workload waits for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Order<T> {
    /// Those that come before it.
    pub before: Vec<T>,
    /// Those that it names and that depend on it themselves: nobody could be first, so it does not wait for them.
    pub circle: Vec<T>,
}

impl<T: Clone + Ord> Order<T> {
    /// Whom `who` waits for, where `named` says whom each depends on.
    pub fn of(who: &T, named: impl Fn(&T) -> Vec<T>) -> Self {
        let (circle, before) = named(who).into_iter().partition(|it| leads_to(it, who, &named));
        Self { before, circle }
    }
}

/// True if `from` depends on `to`, by whatever others.
fn leads_to<T: Clone + Ord>(from: &T, to: &T, named: &impl Fn(&T) -> Vec<T>) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(one) = next.pop() {
        if one == *to {
            return true;
        }
        if seen.insert(one.clone()) {
            next.extend(named(&one));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_by_kind() {
        let own =
            Annotations::from([(DEPENDS_ON.to_owned(), "deployment/db, StatefulSets/queue,web,x/y,Job/".to_owned())]);
        let mut complaints = Vec::new();
        let read = read(&own, &mut complaints);
        assert_eq!(read, BTreeSet::from([("Deployment", "db".to_owned()), ("StatefulSet", "queue".to_owned())]));
        assert_eq!(complaints.len(), 3, "{complaints:?}");
    }

    #[test]
    fn a_circle_keeps_nobody_waiting() {
        let named = |it: &&str| match *it {
            "web" => vec!["api", "cache"],
            "api" => vec!["db"],
            "a" => vec!["b", "db"],
            "b" => vec!["c"],
            "c" => vec!["a"],
            "after" => vec!["a"],
            "self" => vec!["self"],
            _ => vec![],
        };
        for (who, before, circle) in [
            ("web", &["api", "cache"][..], &[][..]),
            ("db", &[], &[]),
            ("a", &["db"], &["b"]),
            ("c", &[], &["a"]),
            ("after", &["a"], &[]),
            ("self", &[], &["self"]),
        ] {
            let expected = Order { before: before.to_vec(), circle: circle.to_vec() };
            assert_eq!(Order::of(&who, named), expected, "{who}");
        }
    }
}
