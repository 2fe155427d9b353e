//! What happened lately to sources where not all workloads are watched: one of those becomes known after what happened.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use kube::Error;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::index::Entry;
use super::sources::Seen;
use super::{Reload, pods};
use crate::engine::lock::lock;
use crate::store::Part;
use crate::written::{content_written, is_content_last};

/// For how long something is recent: longer than any window.
const RECENT: Duration = Duration::from_secs(300);

/// The last thing that happened to each source.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<Part, Happening>>);

#[derive(Clone, Debug)]
struct Happening {
    what: What,
    uid: String,
    /// The `resourceVersion` of its write.
    version: String,
    /// The time of that by the API server's clock, in whole seconds.
    written: Option<Timestamp>,
    at: Instant,
}

/// What happened to a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    Came,
    Changed,
    Went,
}

impl Recent {
    /// Remembers that a source came or was written. What is not its content does not count.
    pub(super) fn write(&self, source: &Part, metadata: &ObjectMeta) {
        if !is_content_last(metadata) {
            return;
        }
        let written = content_written(metadata);
        let is_new = written.is_some() && written == metadata.creation_timestamp.as_ref().map(|it| it.0);
        let mut state = lock(&self.0);
        // Times are cut to seconds, so what came and changed within one is known by having been told of before.
        let was_there = state.get(source).is_some_and(|it| Some(&it.uid) == metadata.uid.as_ref());
        let what = if is_new && !was_there { What::Came } else { What::Changed };
        state.insert(source.clone(), Happening::new(what, metadata, written));
    }

    /// Remembers that a source changed as it was seen to.
    pub(super) fn change(&self, source: &Part, seen: &Seen) {
        let Some(changed) = &seen.changed else { return };
        let (uid, version, written) = (String::new(), changed.version.to_string(), seen.written);
        let happening = Happening { what: What::Changed, uid, version, written, at: Instant::now() };
        lock(&self.0).insert(source.clone(), happening);
    }

    /// Remembers that a source went.
    pub(super) fn delete(&self, source: &Part, metadata: &ObjectMeta) {
        lock(&self.0).insert(source.clone(), Happening::new(What::Went, metadata, None));
    }

    /// What happened to a source since a workload was made.
    ///
    /// # Errors
    ///
    /// If the API server does not answer.
    pub(super) async fn since(&self, world: &Reload, entry: &Entry, source: &Part) -> Result<Option<What>, Error> {
        let Some(it) = lock(&self.0).get(source).cloned() else { return Ok(None) };
        let is_since = match (it.written, entry.consumer.made) {
            (Some(written), Some(made)) if written != made => written > made,
            _ => pods::was_there(world, entry, &it.version).await?,
        };
        Ok(is_since.then_some(it.what))
    }

    /// Forgets what is not recent any more.
    pub(super) fn tidy(&self) {
        lock(&self.0).retain(|_, it| it.at.elapsed() < RECENT);
    }
}

impl Happening {
    fn new(what: What, metadata: &ObjectMeta, written: Option<Timestamp>) -> Self {
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let (uid, version) = (text(&metadata.uid), text(&metadata.resource_version));
        Self { what, uid, version, written, at: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_changes_within_a_second_changed() {
        let recent = Recent::default();
        let at = Part { kind: "Secret", namespace: "apps".to_owned(), name: "db".to_owned() };
        let written = |uid: &str, version: &str, field: &str, second: u32| {
            let time = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
            let writes = json!([{ "fieldsV1": { "f:data": {} }, "time": time(1) }, { "fieldsV1": { field: {} }, "time": time(second) }]);
            let metadata = json!({ "uid": uid, "resourceVersion": version, "creationTimestamp": time(1), "managedFields": writes });
            recent.write(&at, &serde_json::from_value(metadata).expect("it is metadata"));
            let what = lock(&recent.0).get(&at).map(|it| (it.what, it.version.clone()));
            what.expect("it is there")
        };
        assert_eq!(written("1", "10", "f:data", 1), (What::Came, "10".to_owned()));
        assert_eq!(written("1", "11", "f:data", 1), (What::Changed, "11".to_owned()));
        assert_eq!(written("1", "12", "f:metadata", 2), (What::Changed, "11".to_owned()), "a label");
        assert_eq!(written("2", "13", "f:data", 1), (What::Came, "13".to_owned()), "another of its name");
        assert_eq!(written("3", "14", "f:data", 5), (What::Changed, "14".to_owned()));
        tokio::time::advance(RECENT).await;
        recent.tidy();
        assert!(lock(&recent.0).is_empty());
    }
}
