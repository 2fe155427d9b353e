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
    /// The source that was written, if that has one.
    uid: Option<String>,
    /// The `resourceVersion` of its write.
    version: String,
    /// The time of that by the API server's clock, in whole seconds.
    written: Option<Timestamp>,
    /// The version that it came with, if that was within the same second.
    came: Option<String>,
    /// The version with which another of its name went before it.
    went: Option<String>,
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
        let mut it = Happening::new(if is_new { What::Came } else { What::Changed }, metadata, written);
        let mut state = lock(&self.0);
        if let Some(before) = state.get(source) {
            it.follow(before);
        }
        state.insert(source.clone(), it);
    }

    /// Remembers that a source changed as it was seen to.
    pub(super) fn change(&self, source: &Part, seen: &Seen) {
        let Some(changed) = &seen.changed else { return };
        let metadata = ObjectMeta { resource_version: Some(changed.version.to_string()), ..ObjectMeta::default() };
        lock(&self.0).insert(source.clone(), Happening::new(What::Changed, &metadata, seen.written));
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
        if !is_since {
            return Ok(None);
        }
        let was_there = async |version: &Option<String>| match version {
            Some(version) => pods::was_there(world, entry, version).await,
            None => Ok(false),
        };
        // Who had the one before it has a change; whoever waited for this one has none.
        Ok(Some(match it.what {
            What::Went => What::Went,
            _ if was_there(&it.went).await? => What::Changed,
            What::Changed if was_there(&it.came).await? => What::Came,
            what => what,
        }))
    }

    /// Forgets what is not recent any more.
    pub(super) fn tidy(&self) {
        lock(&self.0).retain(|_, it| it.at.elapsed() < RECENT);
    }
}

impl Happening {
    fn new(what: What, metadata: &ObjectMeta, written: Option<Timestamp>) -> Self {
        let (uid, version) = (metadata.uid.clone(), metadata.resource_version.clone().unwrap_or_default());
        Self { what, uid, version, written, came: None, went: None, at: Instant::now() }
    }

    /// Takes over what is still of use of what happened before it.
    fn follow(&mut self, before: &Self) {
        if before.uid != self.uid || before.what == What::Went {
            self.went = Some(before.version.clone());
            return;
        }
        // Times are cut to seconds, so what came and changed within one is known by having been told of before.
        let came = if before.what == What::Came { Some(&before.version) } else { before.came.as_ref() };
        self.came = came.filter(|_| before.written == self.written).cloned();
        self.went.clone_from(&before.went);
        self.what = What::Changed;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happened_last_knows_what_was_before_it() {
        let recent = Recent::default();
        let at = Part { kind: "Secret", namespace: "apps".to_owned(), name: "db".to_owned() };
        let metadata = |uid: &str, version: &str, field: &str, second: u32| -> ObjectMeta {
            let time = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
            let writes = json!([{ "fieldsV1": { "f:data": {} }, "time": time(1) }, { "fieldsV1": { field: {} }, "time": time(second) }]);
            let metadata = json!({ "uid": uid, "resourceVersion": version, "creationTimestamp": time(1), "managedFields": writes });
            serde_json::from_value(metadata).expect("it is metadata")
        };
        let last = || {
            let it = lock(&recent.0).get(&at).cloned().expect("it is there");
            [Some(format!("{:?} {}", it.what, it.version)), it.came, it.went].map(Option::unwrap_or_default)
        };
        let written = |uid: &str, version: &str, field: &str, second: u32| {
            recent.write(&at, &metadata(uid, version, field, second));
            last()
        };
        assert_eq!(written("1", "10", "f:data", 1), ["Came 10", "", ""]);
        assert_eq!(written("1", "11", "f:data", 1), ["Changed 11", "10", ""], "within a second");
        assert_eq!(written("1", "12", "f:data", 1), ["Changed 12", "10", ""]);
        assert_eq!(written("1", "13", "f:metadata", 2), ["Changed 12", "10", ""], "a label");
        assert_eq!(written("1", "14", "f:data", 2), ["Changed 14", "", ""]);
        assert_eq!(written("2", "15", "f:data", 1), ["Came 15", "", "14"], "another of its name");
        recent.delete(&at, &metadata("2", "16", "f:data", 1));
        assert_eq!(last(), ["Went 16", "", ""]);
        assert_eq!(written("3", "17", "f:data", 1), ["Came 17", "", "16"]);
        assert_eq!(written("3", "18", "f:data", 1), ["Changed 18", "17", "16"]);
        tokio::time::advance(RECENT).await;
        recent.tidy();
        assert!(lock(&recent.0).is_empty());
    }
}
