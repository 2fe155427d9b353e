//! What pods have mounted of a SecretProviderClass, by the statuses that the CSI driver for secrets keeps of them,
//! one for each pod: a change is what came to a pod that runs, and never what a new pod began with (spec section B.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::{Content, Key, Source};
use crate::api::dynamic_resource;

/// A SecretProviderClassPodStatus as the API server tells of it, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodStatus {
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    status: Option<Mounts>,
}

dynamic_resource!([] PodStatus);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mounts {
    secret_provider_class_name: Option<String>,
    objects: Option<Vec<Object>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Object {
    id: Option<String>,
    version: Option<String>,
}

impl PodStatus {
    /// The kind.
    pub const KIND: &str = "SecretProviderClassPodStatus";

    /// The class that its pod mounts; `None` if it does not say yet.
    pub fn class(&self) -> Option<&str> {
        self.status.as_ref()?.secret_provider_class_name.as_deref().filter(|it| !it.is_empty())
    }

    /// The objects that its pod has mounted, with their versions, in no order that means anything.
    pub fn objects(&self) -> BTreeMap<String, String> {
        let objects = self.status.iter().flat_map(|it| it.objects.iter().flatten());
        objects.map(|it| (it.id.clone().unwrap_or_default(), it.version.clone().unwrap_or_default())).collect()
    }

    fn content(&self, class: &str, key: &Key) -> Content {
        Content::of(Source::provider_class_data(class, self.objects()), key)
    }

    /// The pod that it is of.
    fn pod(&self) -> Option<String> {
        self.metadata.owner_references.iter().flatten().next().map(|it| it.uid.clone())
    }

    fn written(&self) -> Option<Timestamp> {
        let entries = self.metadata.managed_fields.iter().flatten();
        let of_status =
            entries.filter(|it| it.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:status").is_some()));
        of_status.filter_map(|it| it.time.as_ref().map(|time| time.0)).max()
    }
}

/// What one pod has mounted.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The objects and their versions.
    pub content: Arc<Content>,
    /// How that came to it; `None` if it began with it.
    pub change: Option<Change>,
    pod: Option<String>,
}

/// How something came to a pod that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The `resourceVersion` that the status had when it was seen first.
    pub version: String,
    /// When it was written, by the API server's clock, in whole seconds.
    pub written: Option<Timestamp>,
    /// What the pod had before, if that is known.
    pub before: Option<Arc<Content>>,
}

impl Change {
    fn order(&self) -> (u128, Option<Timestamp>) {
        (self.version.parse().unwrap_or(0), self.written)
    }
}

impl Mount {
    /// What a status says about a pod that mounts `class`, of which `before` was known.
    pub fn read(status: &PodStatus, class: &str, key: &Key, before: Option<&Self>) -> Self {
        let (content, pod) = (status.content(class, key), status.pod());
        let version = || status.metadata.resource_version.clone().unwrap_or_default();
        let change = |before| Some(Change { version: version(), written: status.written(), before });
        // The set that makes a pod anew under its name may be faster than who cleans up after the old one.
        match before.filter(|it| it.pod == pod) {
            Some(before) if *before.content == content => Self { pod, ..before.clone() },
            Some(before) => Self { change: change(Some(before.content.clone())), content: Arc::new(content), pod },
            None => {
                // The API server counts what is written to it.
                let is_first = before.is_some() || status.metadata.generation.unwrap_or(1) <= 1;
                Self { change: if is_first { None } else { change(None) }, content: Arc::new(content), pod }
            }
        }
    }

    /// What a class holds, of which this is all that pods have mounted: what came last to one that runs; else what
    /// all of them began with; else nothing that could be told.
    pub fn latest<'a>(mounts: impl Iterator<Item = &'a Self> + Clone) -> Option<&'a Self> {
        let changed = mounts.clone().filter_map(|it| Some((it.change.as_ref()?.order(), it)));
        if let Some((_, latest)) = changed.max_by_key(|it| it.0) {
            return Some(latest);
        }
        let first = mounts.clone().next()?;
        mounts.clone().all(|it| it.content == first.content).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(pod: &str, version: &str, generation: i64, holds: &str) -> PodStatus {
        serde_json::from_value(json!({
            "metadata": {
                "name": pod, "resourceVersion": version, "generation": generation,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": pod, "uid": pod }],
                "managedFields": [{
                    "manager": "driver", "operation": "Update", "time": "2026-01-02T03:04:05Z",
                    "fieldsV1": { "f:status": {} },
                }],
            },
            "status": {
                "podName": pod, "secretProviderClassName": "db", "mounted": true,
                "objects": [{ "id": "secret/db", "version": holds }],
            },
        }))
        .expect("it is a status")
    }

    fn read(status: &PodStatus, before: Option<&Mount>) -> Mount {
        Mount::read(status, status.class().expect("it says so"), &Key::shared(), before)
    }

    fn latest(mounts: &[&Mount]) -> Option<(String, bool)> {
        let it = Mount::latest(mounts.iter().copied())?;
        Some((it.content.marker.clone(), it.change.is_some()))
    }

    #[test]
    fn a_change_is_what_comes_to_a_pod_that_runs() {
        let (one, other) = (read(&status("a", "10", 1, "1"), None), read(&status("b", "11", 1, "1"), None));
        assert_eq!(
            one.content.marker,
            crate::digest::reload_marker(&Source::provider_class_data(
                "db",
                BTreeMap::from([("secret/db".to_owned(), "1".to_owned())])
            ))
        );
        let (v1, v2) = (one.content.marker.clone(), read(&status("x", "1", 1, "2"), None).content.marker.clone());
        assert_eq!(latest(&[&one, &other]), Some((v1.clone(), false)), "all began with it");
        assert_eq!(latest(&[]), None);

        let new = read(&status("c", "12", 1, "2"), None);
        assert_eq!(latest(&[&one, &other, &new]), None, "nobody's pods have changed");
        let changed = read(&status("a", "13", 2, "2"), Some(&one));
        assert_eq!(latest(&[&changed, &other, &new]), Some((v2.clone(), true)));
        assert_eq!(changed.change.as_ref().and_then(|it| it.before.clone()), Some(one.content.clone()));
        let again = read(&status("a", "14", 2, "2"), Some(&changed));
        assert_eq!(again.change, changed.change, "a note on it");

        let back = read(&status("b", "15", 3, "1"), Some(&read(&status("b", "14", 2, "2"), Some(&other))));
        assert_eq!(latest(&[&changed, &back, &new]), Some((v1, true)), "the last one");
        assert_eq!(latest(&[&new]), Some((v2, false)), "the others are gone");
    }

    #[test]
    fn what_was_missed_shows_in_how_often_it_was_written() {
        assert!(read(&status("a", "10", 2, "2"), None).change.is_some());
        assert!(read(&status("a", "10", 1, "2"), None).change.is_none());
        let mut another = status("a", "12", 2, "2");
        another.metadata.owner_references.as_mut().expect("it has one")[0].uid = "b".to_owned();
        let made_anew = read(&another, Some(&read(&status("a", "10", 1, "1"), None)));
        assert!(made_anew.change.is_none(), "a pod of the same name");
    }

    #[test]
    fn a_status_may_say_nothing_yet() {
        for text in [json!({}), json!({ "status": {} }), json!({ "status": { "secretProviderClassName": "" } })] {
            assert_eq!(serde_json::from_value::<PodStatus>(text).expect("it is one").class(), None);
        }
        let bare = json!({ "status": { "secretProviderClassName": "db", "objects": null } });
        let bare: PodStatus = serde_json::from_value(bare).expect("it is one");
        assert_eq!((bare.class(), read(&bare, None).change.is_none()), (Some("db"), true));
    }
}
