//! Which workloads use what: the index from Secrets and ConfigMaps to those who reload for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use crate::engine::interests::Interests;
use crate::engine::watch::{Place, is_later, place};
use crate::reload::{CONSUMED, Consumer, Held, Marks, Neighbour, Rules, Source};
use crate::rollout::{WORKLOADS, Workload};
use crate::store::Part;

/// All workloads that ask for reloads.
#[derive(Debug, Default)]
pub(super) struct Index {
    state: RwLock<State>,
    /// Who may reload for what, by name.
    named: Interests,
    /// Who depends on whom.
    needed: Interests,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Part, Arc<Entry>>,
    /// Those with patterns: every name in their namespace may be one.
    patterned: HashMap<(Source, String), BTreeSet<Part>>,
    hasher: RandomState,
}

/// A workload that asks for reloads.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is kept of it.
    pub consumer: Consumer,
    /// Since when it is known to ask for what it asks.
    pub seen: Instant,
    /// Since when it has its template of pods.
    pub shaped: Shaped,
    /// Its `resourceVersion` when it last changed in a way that matters.
    version: String,
    /// What tells a change of its spec or its annotations from one of its status.
    digest: u64,
    /// What of it says which patterns it has, as a digest.
    wish: u64,
    /// All that its patterns match is known.
    is_surveyed: AtomicBool,
    /// All that it asks for was compared with what it remembers, and is remembered.
    is_settled: AtomicBool,
}

/// Since when a workload has its template of pods.
#[derive(Clone, Debug)]
pub(super) struct Shaped {
    /// When it was seen first.
    pub at: Instant,
    /// The `resourceVersion` of the write that brought it; from a list, of a later one.
    pub version: String,
    /// That was a list.
    pub is_listed: bool,
}

impl Entry {
    /// True if all that its patterns match is known, or is from now on.
    pub(super) fn is_surveyed(&self) -> bool {
        self.is_surveyed.load(Ordering::Relaxed)
    }

    /// Now all that its patterns match is known; what comes is told.
    pub(super) fn survey(&self) {
        self.is_surveyed.store(true, Ordering::Relaxed);
    }

    /// True if it was once found to remember all that it asks for.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    /// It remembers all that it asks for.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }
}

/// What became known of a workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum News {
    /// Nothing that matters.
    Nothing,
    /// Something about one that asks for reloads.
    Changed,
    /// It asks for none any more, or is gone.
    Gone,
}

/// The name of a workload, in the queue and elsewhere.
pub(super) fn part(kind: &Workload, place: &Place) -> Part {
    Part { kind: kind.kind, namespace: place.0.clone(), name: place.1.clone() }
}

impl Index {
    /// A workload that asks for reloads.
    pub(super) fn find(&self, who: &Part) -> Option<Arc<Entry>> {
        self.read().entries.get(who).cloned()
    }

    /// Learns of a workload, from a list or by what just happened to it.
    pub(super) fn apply(&self, kind: &'static Workload, held: Held, is_listed: bool, rules: &Rules) -> News {
        let metadata = &held.metadata;
        let who = part(kind, &place(&held));
        let before = self.find(&who);
        let version = metadata.resource_version.clone().unwrap_or_default();
        // The answer to a write is often here before the watch tells of what was before it.
        if before.as_ref().is_some_and(|it| !is_later(&version, &it.version)) {
            return News::Nothing;
        }
        if metadata.deletion_timestamp.is_some() {
            return self.remove(&who);
        }
        let digest = self.read().hasher.hash_one((&metadata.uid, metadata.generation, &metadata.annotations));
        if before.as_ref().is_some_and(|it| it.digest == digest) {
            return News::Nothing;
        }
        let own = metadata.annotations.iter().flatten().filter(|it| it.0 != CONSUMED);
        let wish = self.read().hasher.hash_one((metadata.generation, own.collect::<Vec<_>>()));
        let Some(consumer) = Consumer::of(kind, held, rules) else {
            return if before.is_some() { self.remove(&who) } else { News::Nothing };
        };
        let now = Instant::now();
        let is_same = before.as_ref().is_some_and(|it| it.consumer == consumer);
        // One that was made anew is another one.
        let before = before.filter(|it| it.consumer.uid == consumer.uid);
        let asked = before.as_ref().filter(|it| it.consumer.asks_as(&consumer));
        let (seen, is_settled) = asked.map_or((now, false), |it| (it.seen, it.is_settled()));
        let is_surveyed = before.as_ref().is_some_and(|it| it.wish == wish && it.is_surveyed()).into();
        let shaped = match before {
            Some(before) if before.consumer.shape == consumer.shape => before.shaped.clone(),
            _ => Shaped { at: now, version: version.clone(), is_listed },
        };
        let entry = Entry { consumer, seen, shaped, version, digest, wish, is_surveyed, is_settled: is_settled.into() };
        self.put(who, entry, rules);
        if is_same { News::Nothing } else { News::Changed }
    }

    /// Learns that a workload went; another of its name may have come since.
    pub(super) fn delete(&self, kind: &'static Workload, held: &Held) -> News {
        let who = part(kind, &place(held));
        let version = held.metadata.resource_version.as_deref().unwrap_or_default();
        let is_past =
            |it: &Entry| held.metadata.uid.as_ref() != Some(&it.consumer.uid) && !is_later(version, &it.version);
        match self.find(&who) {
            Some(held) if is_past(&held) => News::Nothing,
            _ => self.remove(&who),
        }
    }

    fn put(&self, who: Part, entry: Entry, rules: &Rules) {
        let consumer = &entry.consumer;
        let mut parts = Vec::new();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.forget_patterns(&who);
        for source in Source::ALL.into_iter().filter(|it| rules.follows(*it)) {
            let named = consumer.names(rules, source).into_iter();
            parts.extend(named.map(|name| of(source, &who.namespace, name)));
            if consumer.has_patterns(source) {
                state.patterned.entry((source, who.namespace.clone())).or_default().insert(who.clone());
            }
        }
        self.named.set(&who, parts);
        self.needed.set(&who, consumer.after.iter().map(|it| neighbour(&who, it)).collect());
        state.entries.insert(who, Arc::new(entry));
    }

    /// Forgets a workload.
    pub(super) fn remove(&self, who: &Part) -> News {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.forget_patterns(who);
        self.named.remove(who);
        self.needed.remove(who);
        if state.entries.remove(who).is_some() { News::Gone } else { News::Nothing }
    }

    /// The workloads that one names to come before it, as far as they ask for reloads themselves.
    pub(super) fn before(&self, who: &Part) -> Vec<Part> {
        let state = self.read();
        let named = state.entries.get(who).into_iter().flat_map(|it| &it.consumer.after);
        named.map(|it| neighbour(who, it)).filter(|it| state.entries.contains_key(it)).collect()
    }

    /// True if a workload names this one to come before it.
    pub(super) fn is_needed(&self, who: &Part) -> bool {
        self.needed.is_wanted(who)
    }

    /// The workloads that may reload for a source.
    pub(super) fn users(&self, source: Source, at: &Place, rules: &Rules) -> Vec<Part> {
        let mut users = self.named.of(&of(source, &at.0, &at.1));
        for who in self.matching(source, at, rules) {
            if !users.contains(&who) {
                users.push(who);
            }
        }
        users
    }

    /// True if any workload may reload for a source.
    pub(super) fn is_wanted(&self, source: Source, at: &Place, rules: &Rules) -> bool {
        self.named.is_wanted(&of(source, &at.0, &at.1)) || !self.matching(source, at, rules).is_empty()
    }

    /// Those of whose patterns one matches.
    fn matching(&self, source: Source, at: &Place, rules: &Rules) -> Vec<Part> {
        let state = self.read();
        let patterned = state.patterned.get(&(source, at.0.clone())).into_iter().flatten();
        let matches = |who: &&Part| {
            let consumer = state.entries.get(*who).map(|it| &it.consumer);
            consumer.is_some_and(|it| it.wants(rules, source, &at.1, Marks::default()).is_ok())
        };
        patterned.filter(matches).cloned().collect()
    }

    /// The workloads in a namespace, or everywhere, of the kinds that are asked for.
    pub(super) fn list(&self, namespace: Option<&str>, is_asked: impl Fn(&Consumer) -> bool) -> Vec<Part> {
        let state = self.read();
        let those = state
            .entries
            .iter()
            .filter(|(who, it)| namespace.is_none_or(|namespace| who.namespace == namespace) && is_asked(&it.consumer));
        those.map(|it| it.0.clone()).collect()
    }

    /// All that the patterns of those that are known match is known.
    pub(super) fn survey(&self) {
        self.read().entries.values().for_each(|it| it.survey());
    }

    /// How many there are of each kind.
    pub(super) fn count(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<_, _> = WORKLOADS.iter().map(|it| (it.kind, 0)).collect();
        for who in self.read().entries.keys() {
            *counts.entry(who.kind).or_default() += 1;
        }
        counts
    }

    /// Of the workloads of a kind in a namespace, or everywhere, only `there` are there. Returns the others,
    /// which are forgotten.
    pub(super) fn keep(&self, kind: &Workload, namespace: Option<&str>, there: &HashSet<Place>) -> Vec<Part> {
        let mut gone = self.list(namespace, |it| it.kind.kind == kind.kind);
        gone.retain(|it| !there.contains(&(it.namespace.clone(), it.name.clone())));
        gone.retain(|it| self.remove(it) == News::Gone);
        gone
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_patterns(&mut self, who: &Part) {
        for source in Source::ALL {
            let at = (source, who.namespace.clone());
            if let Some(those) = self.patterned.get_mut(&at) {
                those.remove(who);
                if those.is_empty() {
                    self.patterned.remove(&at);
                }
            }
        }
    }
}

fn neighbour(who: &Part, (kind, name): &Neighbour) -> Part {
    Part { kind, namespace: who.namespace.clone(), name: name.clone() }
}

/// The name of a source.
pub(super) fn of(source: Source, namespace: &str, name: &str) -> Part {
    Part { kind: source.kind(), namespace: namespace.to_owned(), name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::of_target;

    fn held(name: &str, version: &str, generation: i64, annotations: Value, secret: &str) -> Held {
        let container = json!({ "name": "c", "envFrom": [{ "secretRef": { "name": secret } }] });
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "apps", "name": name, "uid": "1", "resourceVersion": version, "generation": generation,
                "annotations": annotations,
            },
            "spec": { "template": { "spec": { "containers": [container] } } },
        }))
        .expect("it is a workload")
    }

    fn at(name: &str) -> Place {
        ("apps".to_owned(), name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn who_uses_what_is_known() {
        let (index, rules) = (Index::default(), Rules::default());
        let kind = of_target("Deployment").expect("it is in the table");
        let apply = |held| index.apply(kind, held, false, &rules);
        let auto = json!({ "reloader.stakater.com/auto": "true" });
        assert_eq!(apply(held("quiet", "5", 1, json!({}), "db")), News::Nothing);
        assert_eq!(apply(held("web", "10", 1, auto.clone(), "db")), News::Changed);
        assert_eq!(apply(held("web", "11", 1, auto.clone(), "db")), News::Nothing, "a status");
        let web = part(kind, &at("web"));
        assert_eq!(index.users(Source::Secret, &at("db"), &rules), std::slice::from_ref(&web));
        assert!(!index.is_wanted(Source::ConfigMap, &at("db"), &rules));
        assert!(!index.is_wanted(Source::Secret, &("other".to_owned(), "db".to_owned()), &rules));

        let began = index.find(&web).expect("it is there").shaped.at;
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let noted = json!({ "reloader.stakater.com/auto": "true", "note": "1" });
        assert_eq!(apply(held("web", "12", 1, noted, "db")), News::Nothing, "a note");
        let searching = json!({ "reloader.stakater.com/auto": "true", "reloader.stakater.com/search": "true" });
        assert_eq!(apply(held("web", "13", 1, searching, "db")), News::Changed);
        assert_eq!(index.find(&web).expect("it is there").shaped.at, began, "its template did not change");
        assert_eq!(apply(held("web", "14", 2, auto.clone(), "cache")), News::Changed);
        let shaped = index.find(&web).expect("it is there").shaped.clone();
        assert!(shaped.at > began && shaped.version == "14" && !shaped.is_listed);
        assert_eq!(apply(held("web", "16", 3, auto.clone(), "cache")), News::Changed, "it was scaled");
        assert_eq!(index.find(&web).expect("it is there").shaped.at, shaped.at);
        assert!(!index.is_wanted(Source::Secret, &at("db"), &rules));

        assert_eq!(apply(held("web", "13", 1, auto.clone(), "db")), News::Nothing, "a watch that lags");

        assert_eq!(apply(held("web", "17", 3, json!({}), "cache")), News::Gone);
        assert!(!index.is_wanted(Source::Secret, &at("cache"), &rules));

        index.apply(kind, held("web", "20", 1, auto, "db"), true, &rules);
        assert!(index.find(&web).expect("it is there").shaped.is_listed, "a list tells no single write");
    }

    #[test]
    fn patterns_are_asked_about_every_name() {
        let (index, rules) = (Index::default(), Rules::default());
        let kind = of_target("Deployment").expect("it is in the table");
        let list = json!({ "secret.reloader.stakater.com/reload": "app-.*, db" });
        index.apply(kind, held("web", "10", 1, list, "other"), false, &rules);
        let web = part(kind, &at("web"));
        for (name, is_used) in [("app-1", true), ("db", true), ("my-app-1", false), ("other", false)] {
            assert_eq!(index.is_wanted(Source::Secret, &at(name), &rules), is_used, "{name}");
            assert_eq!(index.users(Source::Secret, &at(name), &rules).len(), usize::from(is_used), "{name}");
        }
        assert_eq!(index.keep(kind, Some("other"), &HashSet::new()), []);
        assert_eq!(index.keep(kind, Some("apps"), &HashSet::from([at("web")])), []);
        assert_eq!(index.keep(kind, None, &HashSet::new()), [web]);
        assert!(!index.is_wanted(Source::Secret, &at("app-1"), &rules));
    }
}
