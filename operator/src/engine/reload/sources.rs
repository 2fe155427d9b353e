//! What is known of Secrets and ConfigMaps: of those that somebody reloads for, which version they have and what
//! they hold, as a digest. Nothing is kept of the others.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use crate::engine::lock::lock;
use crate::engine::watch::{Place, Scope, is_later};
use crate::reload::{Content, Keys, Marks, Mount};
use crate::store::Part;
use crate::written::{Trace, is_content_last};

/// The sources that matter.
#[derive(Debug, Default)]
pub(super) struct Sources(Mutex<HashMap<Part, Sight>>);

/// What is known of one.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// It is not there.
    Absent,
    /// It is.
    There(Box<Seen>),
}

/// One that is there.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    uid: Box<str>,
    /// Its `resourceVersion`.
    version: Box<str>,
    /// What it says of itself.
    pub marks: Marks,
    /// When what it holds was last written, by the API server's clock, in whole seconds; `None` if nobody recorded that.
    pub written: Option<Timestamp>,
    /// What is recorded of its writes.
    trace: Trace,
    /// When it was seen to come.
    pub came: Option<Instant>,
    /// It is what pods began with: no change for them.
    pub is_first: bool,
    /// When what it holds was last seen to change, if that is known of what it holds now.
    pub changed: Option<Changed>,
    /// Since when this version is known.
    pub noted: Instant,
    /// What it held in some version, which may be a later one than watches told of.
    content: Option<(Box<str>, Arc<Content>)>,
    /// What it held before.
    before: Option<Arc<Content>>,
}

/// A change of what a source holds.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    /// When it was seen.
    pub at: Instant,
    /// The `resourceVersion` of its write.
    pub version: Box<str>,
    /// The source came with it.
    pub is_coming: bool,
}

impl Seen {
    /// What pods have mounted of a class that says `marks`.
    pub(super) fn mounted(mount: &Mount, marks: Marks, changed: Option<Instant>, noted: Instant) -> Self {
        let change = mount.change.as_ref();
        let version: Box<str> = change.map_or("", |it| &it.version).into();
        Self {
            uid: Box::default(),
            marks,
            written: change.and_then(|it| it.written),
            trace: Trace::default(),
            came: None,
            is_first: change.is_none(),
            changed: changed.map(|at| Changed { at, version: version.clone(), is_coming: false }),
            noted,
            content: Some((version.clone(), mount.content.clone())),
            before: change.and_then(|it| it.before.clone()),
            version,
        }
    }

    /// What it holds now, if that was read.
    pub(super) fn content(&self) -> Option<&Arc<Content>> {
        self.content.as_ref().filter(|it| !is_later(&self.version, &it.0)).map(|it| &it.1)
    }

    /// Learns what is recorded of its writes now. True if that shows a write of which nobody recorded when it was.
    fn trace(&mut self, trace: Trace) -> bool {
        let is_untimed = trace.has_lost_keys(&self.trace);
        if is_untimed {
            self.written = None;
        } else if trace.written != self.trace.written {
            self.written = trace.written;
        }
        self.trace = trace;
        is_untimed
    }

    /// What it held before that, if it was read.
    pub(super) fn before(&self) -> Option<&Arc<Content>> {
        self.before.as_ref()
    }
}

/// How it was learned that a source is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    /// It just changed, or came.
    Change,
    /// A list had it: when it changed is not known.
    List,
    /// The first list had it, and that counts as coming.
    Coming,
}

impl Sources {
    /// What is known of a source; `None` if nothing is.
    pub(super) fn find(&self, at: &Part) -> Option<Sight> {
        self.state().get(at).cloned()
    }

    /// Learns that a source is there. False if that is no news.
    pub(super) fn apply(&self, at: &Part, metadata: &ObjectMeta, keys: &Keys, by: By) -> bool {
        let now = Instant::now();
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let version: Box<str> = metadata.resource_version.as_deref().unwrap_or_default().into();
        let mut state = self.state();
        let (marks, trace) = (Marks::of(metadata, keys), Trace::of(metadata, state.hasher()));
        let is_coming = trace.written.is_some() && trace.written == metadata.creation_timestamp.as_ref().map(|it| it.0);
        let changed = || Changed { at: now, version: version.clone(), is_coming };
        let is_change = |is_untimed| by == By::Change && (is_untimed || is_content_last(metadata));
        let before = match state.get_mut(at) {
            Some(Sight::There(held)) if *held.uid == *uid => {
                if !is_later(&version, &held.version) {
                    return false;
                }
                let changed = is_change(held.trace(trace)).then(changed);
                if by != By::Change || changed.is_some() {
                    held.changed = changed;
                }
                (held.version, held.marks, held.noted) = (version, marks, now);
                return true;
            }
            // Another of the same name came after it.
            Some(Sight::There(held)) if !is_later(&version, &held.version) => return false,
            Some(Sight::There(held)) => held.content.take().map(|it| it.1),
            Some(Sight::Absent) | None => None,
        };
        let (came, changed) = ((by != By::List).then_some(now), is_change(false).then(changed));
        let (uid, written, noted, is_first) = (uid.into(), trace.written, now, false);
        let seen = Seen { uid, version, marks, written, trace, came, is_first, changed, noted, content: None, before };
        state.insert(at.clone(), Sight::There(Box::new(seen)));
        true
    }

    /// Learns that a source is gone: the one of this UID, where it is known which. False if that is no news.
    pub(super) fn delete(&self, at: &Part, uid: Option<&str>) -> bool {
        let mut state = self.state();
        match state.get(at) {
            Some(Sight::Absent) => return false,
            Some(Sight::There(held)) if uid.is_some_and(|uid| uid != &*held.uid) => return false,
            _ => {}
        }
        state.insert(at.clone(), Sight::Absent).is_some()
    }

    /// Learns that a source of which nothing was known is not there.
    pub(super) fn miss(&self, at: &Part) {
        self.state().entry(at.clone()).or_insert(Sight::Absent);
    }

    /// Of the sources of a kind in a namespace, or everywhere, only `there` were in a list. Returns the others, which
    /// are doubted: they may have come since.
    pub(super) fn keep(&self, kind: &str, scope: &Scope, there: &HashSet<Place>) -> Vec<Part> {
        let is_gone = |at: &Part| {
            let is_in_scope = at.kind == kind && scope.as_ref().is_none_or(|scope| at.namespace == *scope);
            is_in_scope && !there.contains(&(at.namespace.clone(), at.name.clone()))
        };
        self.state().extract_if(|at, it| matches!(it, Sight::There(_)) && is_gone(at)).map(|it| it.0).collect()
    }

    /// Remembers what a source held when it was read, in a version that watches may not have told of yet.
    pub(super) fn put(&self, at: &Part, metadata: &ObjectMeta, keys: &Keys, content: Content) {
        let version = metadata.resource_version.as_deref().unwrap_or_default();
        let mut state = self.state();
        let trace = Trace::of(metadata, state.hasher());
        let Some(Sight::There(held)) = state.get_mut(at) else { return };
        if is_later(version, &held.version) {
            held.trace(trace);
            (held.marks, held.changed) = (Marks::of(metadata, keys), None);
        }
        if let Some((_, old)) = held.content.take()
            && old.digest != content.digest
        {
            held.before = Some(old);
        }
        held.content = Some((version.into(), Arc::new(content)));
    }

    /// The names of those that are known in a namespace.
    pub(super) fn names(&self, kind: &str, namespace: &str) -> Vec<String> {
        let state = self.state();
        state.keys().filter(|it| it.kind == kind && it.namespace == namespace).map(|it| it.name.clone()).collect()
    }

    /// Forgets what nobody reloads for any more.
    pub(super) fn retain(&self, is_wanted: impl Fn(&Part) -> bool) {
        self.state().retain(|at, _| is_wanted(at));
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Part, Sight>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::*;
    use crate::reload::Key;

    fn at(name: &str) -> Part {
        Part { kind: "Secret", namespace: "apps".to_owned(), name: name.to_owned() }
    }

    fn metadata(uid: &str, version: &str) -> ObjectMeta {
        let text = |it: &str| Some(it.to_owned());
        ObjectMeta { uid: text(uid), resource_version: text(version), ..ObjectMeta::default() }
    }

    fn content(value: &str) -> Content {
        let data = [("a", "same"), ("b", value)].map(|(key, value)| (key.to_owned(), ByteString(value.into())));
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        Content::of_secret(&secret, &Key::new(Zeroizing::new(vec![1])))
    }

    fn seen(sources: &Sources) -> Box<Seen> {
        match sources.find(&at("a")) {
            Some(Sight::There(seen)) => seen,
            other => panic!("{other:?}"),
        }
    }

    fn changed_keys(sources: &Sources) -> Vec<String> {
        let seen = seen(sources);
        seen.content().zip(seen.before()).map_or(Vec::new(), |(now, before)| now.changed_keys(before))
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_counts_for_the_version_that_was_read() {
        let (sources, keys) = (Sources::default(), Keys::default());
        assert!(sources.apply(&at("a"), &metadata("1", "10"), &keys, By::List));
        assert!(seen(&sources).came.is_none() && seen(&sources).changed.is_none());
        sources.put(&at("a"), &metadata("1", "10"), &keys, content("1"));
        assert!(seen(&sources).content().is_some());
        assert!(!sources.apply(&at("a"), &metadata("1", "9"), &keys, By::Change), "a watch that lags");
        assert!(sources.apply(&at("a"), &metadata("1", "11"), &keys, By::Change));
        assert!(seen(&sources).content().is_none() && seen(&sources).changed.is_some());
        sources.put(&at("a"), &metadata("1", "11"), &keys, content("2"));
        assert_eq!(changed_keys(&sources), ["b"]);
    }

    /// Metadata of an object whose data and whose labels were written at a second each.
    fn written(version: &str, data: i64, labels: i64) -> ObjectMeta {
        let entry = |fields: Value, second: i64| ManagedFieldsEntry {
            fields_v1: Some(FieldsV1(fields)),
            time: Timestamp::from_second(second).ok().map(Time),
            ..ManagedFieldsEntry::default()
        };
        let (data, labels) = (entry(json!({ "f:data": {} }), data), entry(json!({ "f:metadata": {} }), labels));
        ObjectMeta { managed_fields: Some(vec![data, labels]), ..metadata("1", version) }
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_was_written_belongs_to_what_was_read() {
        let (sources, keys) = (Sources::default(), Keys::default());
        let change = |sources: &Sources| seen(sources).changed.map(|it| it.version.to_string());
        sources.apply(&at("a"), &written("10", 5, 5), &keys, By::Change);
        sources.put(&at("a"), &written("10", 5, 5), &keys, content("1"));
        assert_eq!(change(&sources).as_deref(), Some("10"));
        sources.apply(&at("a"), &written("11", 5, 6), &keys, By::Change);
        assert_eq!(change(&sources).as_deref(), Some("10"), "a label");

        sources.put(&at("a"), &written("12", 9, 6), &keys, content("2"));
        assert_eq!(seen(&sources).written.map(Timestamp::as_second), Some(9), "read before the watch told of it");
        assert_eq!(change(&sources), None);
        assert!(sources.apply(&at("a"), &written("12", 9, 6), &keys, By::Change), "others are to know");
        assert_eq!(change(&sources).as_deref(), Some("12"));
        assert!(seen(&sources).content().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_taken_away_are_a_change_of_no_known_time() {
        let (sources, keys) = (Sources::default(), Keys::default());
        let state = |sources: &Sources| {
            let seen = seen(sources);
            (seen.written.map(Timestamp::as_second), seen.changed.map(|it| it.version.to_string()))
        };
        let owning = |version: &str, owned: &[&str], data: i64, labels: i64| {
            let mut metadata = written(version, data, labels);
            let all: serde_json::Map<_, _> = owned.iter().map(|it| ((*it).to_owned(), json!({}))).collect();
            metadata.managed_fields.as_mut().expect("they are there")[0].fields_v1 =
                Some(FieldsV1(json!({ "f:data": all })));
            metadata
        };
        let at_10 = Some("10".to_owned());
        sources.apply(&at("a"), &owning("10", &["f:a", "f:b", "f:c"], 5, 5), &keys, By::Change);
        sources.apply(&at("a"), &owning("11", &["f:a", "f:b", "f:c"], 5, 6), &keys, By::Change);
        assert_eq!(state(&sources), (Some(5), at_10), "a label");
        sources.apply(&at("a"), &owning("12", &["f:a", "f:b"], 5, 6), &keys, By::Change);
        assert_eq!(state(&sources), (None, Some("12".to_owned())));
        sources.apply(&at("a"), &owning("13", &["f:a", "f:b"], 5, 7), &keys, By::Change);
        assert_eq!(state(&sources), (None, Some("12".to_owned())), "a label");
        sources.apply(&at("a"), &owning("14", &["f:a", "f:b", "f:d"], 8, 7), &keys, By::Change);
        assert_eq!(state(&sources), (Some(8), Some("14".to_owned())));
        sources.put(&at("a"), &owning("15", &["f:a"], 8, 7), &keys, content("1"));
        assert_eq!(state(&sources), (None, None), "read before the watch told of it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_again_is_compared_with_what_went() {
        let (sources, keys) = (Sources::default(), Keys::default());
        sources.apply(&at("a"), &metadata("1", "10"), &keys, By::List);
        sources.put(&at("a"), &metadata("1", "10"), &keys, content("1"));
        assert!(sources.apply(&at("a"), &metadata("2", "12"), &keys, By::Change));
        assert!(!sources.delete(&at("a"), Some("1")), "the deletion is told later");
        sources.put(&at("a"), &metadata("2", "12"), &keys, content("2"));
        assert!(seen(&sources).came.is_some());
        assert_eq!(changed_keys(&sources), ["b"]);
        assert!(sources.delete(&at("a"), Some("2")));
        assert!(!sources.delete(&at("a"), None));
        assert!(matches!(sources.find(&at("a")), Some(Sight::Absent)));
        sources.retain(|_| false);
        assert!(sources.find(&at("a")).is_none());
    }

    #[test]
    fn what_a_list_does_not_have_is_gone() {
        let (sources, keys) = (Sources::default(), Keys::default());
        for name in ["a", "b"] {
            sources.apply(&at(name), &metadata(name, "10"), &keys, By::List);
        }
        let there = HashSet::from([("apps".to_owned(), "b".to_owned())]);
        assert_eq!(sources.keep("Secret", &Some("other".to_owned()), &there), []);
        assert_eq!(sources.keep("ConfigMap", &None, &there), []);
        assert_eq!(sources.keep("Secret", &None, &there), [at("a")]);
        assert_eq!(sources.keep("Secret", &None, &there), []);
    }
}
