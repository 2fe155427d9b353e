//! Since when the pods of a workload can be what they are: whether they have seen a source as it is now.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, ListParams, PartialObjectMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Error, ResourceExt as _};

use super::Reload;
use super::index::{Entry, Shaped};
use super::sources::{Changed, Seen};
use crate::engine::past::{self, Past};
use crate::engine::watch::is_later;
use crate::reload::Consumer;
use crate::rollout::How;

/// What the controllers of workloads make for each template of pods.
struct Revisions {
    /// The kinds whose templates they are.
    of: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
}

const REVISIONS: &[Revisions] = &[
    Revisions { of: &["Deployment", "Rollout"], kind: "ReplicaSet", plural: "replicasets" },
    Revisions { of: &["StatefulSet", "DaemonSet"], kind: "ControllerRevision", plural: "controllerrevisions" },
];

/// When the youngest template of the pods was made, by the API server's clock, in whole seconds; `None` if that
/// cannot be told.
///
/// # Errors
///
/// If the API server does not answer.
pub(super) async fn born(world: &Reload, entry: &Entry) -> Result<Option<Timestamp>, Error> {
    let Consumer { kind, namespace, uid, labels, .. } = &entry.consumer;
    if kind.how == How::Make {
        // It has no pods of its own.
        return Ok(None);
    }
    let Some(revisions) = REVISIONS.iter().find(|it| it.of.contains(&kind.kind)) else {
        return Ok(entry.consumer.made);
    };
    if !world.context.served.may("list", revisions.plural, "apps", namespace) {
        return Ok(entry.consumer.made);
    }
    let gvk = GroupVersionKind::gvk("apps", "v1", revisions.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, revisions.plural);
    let api = Api::<PartialObjectMeta>::namespaced_with(world.context.client.clone(), namespace, &resource);
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listed = match api.list_metadata(&ListParams::default().labels(&labels.join(","))).await {
        Err(Error::Api(status)) if status.code == 403 => return Ok(entry.consumer.made),
        listed => listed?,
    };
    let theirs = listed.items.iter().filter(|it| it.owner_references().iter().any(|owner| owner.uid == *uid));
    let born = theirs.filter_map(|it| it.metadata.creation_timestamp.as_ref().map(|time| time.0));
    Ok(born.chain(entry.consumer.made).max())
}

/// How much later one watch may tell of what happened than another.
const LAG: Duration = Duration::from_millis(500);

/// True if pods of a template that was `born` then have what the source holds.
pub(super) fn has_seen(entry: &Entry, source: &Seen, born: Option<Timestamp>) -> bool {
    let is_before = || is_before(source, &entry.shaped);
    match (source.written, born) {
        (Some(written), Some(born)) => born > written || (born == written && is_before()),
        // Nobody recorded when its last keys were taken away.
        (None, Some(_)) => is_before(),
        (_, None) => false,
    }
}

/// True if a source was written before a template of pods. Their times are cut to seconds, so this is told by their
/// versions, which count the writes of a cluster; where they do not, the watches must have told so too. In doubt it
/// was written later.
fn is_before(source: &Seen, template: &Shaped) -> bool {
    let is_before = |it: &Changed| is_later(&template.version, &it.version) && it.at <= template.at + LAG;
    !template.is_listed && source.changed.as_ref().is_some_and(is_before)
}

/// True if a workload was there when the cluster was at a version, or that is too long ago to be told.
///
/// # Errors
///
/// If the API server does not answer.
pub(super) async fn was_there(world: &Reload, entry: &Entry, version: &str) -> Result<bool, Error> {
    if is_later(version, &entry.shaped.version) {
        return Ok(true);
    }
    let Consumer { kind, namespace, name, uid, .. } = &entry.consumer;
    let api = world.context.api_in(Some(namespace), &kind.resource());
    Ok(match past::at(&api, name, version).await? {
        Past::Was(held) => held.is_some_and(|it| it.metadata.uid.as_ref() == Some(uid)),
        Past::Unknown => true,
    })
}

/// True if what a source holds was seen to change after all that is known to have happened to the template of the
/// pods: then none can have seen it.
pub(super) fn is_surely_new(entry: &Entry, source: &Seen) -> bool {
    let Shaped { at, version, .. } = &entry.shaped;
    source.changed.as_ref().is_some_and(|it| is_later(&it.version, version) && it.at > *at)
}
