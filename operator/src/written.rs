//! When the content of a Secret or ConfigMap was last written, by what the API server recorded.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;

/// What a write of content owns.
const CONTENT: &[&str] = &["f:data", "f:stringData", "f:binaryData"];

/// When the content was last written, in whole seconds; `None` if nobody recorded that.
pub fn content_written(metadata: &ObjectMeta) -> Option<Timestamp> {
    content_fields(metadata).filter_map(|it| it.time.as_ref().map(|time| time.0)).max()
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
