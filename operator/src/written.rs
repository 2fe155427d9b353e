//! When the content of a Secret or ConfigMap was last written, by what the API server recorded.

use std::hash::BuildHasher;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;

/// What a write of content owns.
const CONTENT: &[&str] = &["f:data", "f:stringData", "f:binaryData"];

/// When the content was last written, in whole seconds; `None` if nobody recorded that.
pub fn content_written(metadata: &ObjectMeta) -> Option<Timestamp> {
    content_fields(metadata).filter_map(|it| it.time.as_ref().map(|time| time.0)).max()
}

/// What is recorded of the writes of a content. Who only takes keys away leaves no time, but what is left of the
/// record differs then.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trace {
    /// As [`content_written`] says.
    pub written: Option<Timestamp>,
    /// A digest of the names of its keys, by who wrote them. Nothing outside of this process knows it.
    keys: u64,
}

impl Trace {
    /// That of an object. Those that are compared have the same `hasher`.
    pub fn of(metadata: &ObjectMeta, hasher: &impl BuildHasher) -> Self {
        let fields = content_fields(metadata).filter_map(|it| Some((&it.manager, &it.fields_v1.as_ref()?.0)));
        let owned = fields.map(|(manager, it)| (manager, CONTENT.iter().map(|part| it.get(part)).collect::<Vec<_>>()));
        Self { written: content_written(metadata), keys: hasher.hash_one(owned.collect::<Vec<_>>()) }
    }

    /// True if a write since `before` took keys away and did nothing else.
    pub fn has_lost_keys(&self, before: &Self) -> bool {
        self.written == before.written && self.keys != before.keys
    }
}

/// False if what was written last, as far as that is recorded, is something else than content.
pub fn is_content_last(metadata: &ObjectMeta) -> bool {
    let times = metadata.managed_fields.iter().flatten().filter_map(|it| it.time.as_ref().map(|time| time.0));
    content_written(metadata).is_none_or(|written| times.max() <= Some(written))
}

/// What is recorded of those who wrote content that is still there.
fn content_fields(metadata: &ObjectMeta) -> impl Iterator<Item = &ManagedFieldsEntry> {
    let entries = metadata.managed_fields.iter().flatten();
    entries.filter(|it| it.subresource.as_deref().unwrap_or_default().is_empty()).filter(|it| {
        let fields = it.fields_v1.as_ref();
        fields.is_some_and(|fields| CONTENT.iter().any(|it| fields.0.get(it).is_some()))
    })
}
