//! When an ExternalSecret is refreshed (spec section 2.3).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::windows::{self, Gate};
use crate::api::Object;
use crate::api::external_secrets::ExternalSecret;
use crate::digest;
use crate::intent::{Intent, Refresh};

/// Which state of the object a sync is made from: `status.syncedResourceVersion`.
pub(super) fn version(object: &Object<ExternalSecret>) -> String {
    let (annotations, labels) = (&object.metadata.annotations, &object.metadata.labels);
    let empty = digest::Labels::new();
    let hash = digest::metadata_hash(annotations.as_ref().unwrap_or(&empty), labels.as_ref().unwrap_or(&empty));
    format!("{}-{hash}", object.generation())
}

pub(super) fn is_due(object: &Object<ExternalSecret>, intent: &Intent, in_step: bool, now: Timestamp) -> bool {
    let status = &object.status;
    let is_first = status.synced_version.is_empty() || status.refresh_time.is_none();
    let is_changed = status.synced_version != version(object);
    !in_step
        || match intent.refresh {
            Refresh::Once => is_first,
            Refresh::OnChange => is_first || is_changed,
            Refresh::AfterFirstNever => status.synced_version.is_empty(),
            Refresh::Every(interval) => is_first || is_changed || is_due_by_time(object, interval, now),
        }
}

fn is_due_by_time(object: &Object<ExternalSecret>, interval: Duration, now: Timestamp) -> bool {
    let Some(last) = object.status.refresh_time.as_ref().map(|it| it.0) else { return true };
    if last > now {
        return true;
    }
    remaining(last, interval, now).is_none() && gate(object, now) == Gate::Open
}

pub(super) fn next(object: &Object<ExternalSecret>, intent: &Intent, now: Timestamp) -> Option<Duration> {
    let Refresh::Every(interval) = intent.refresh else { return None };
    let last = object.status.refresh_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |it| it.0);
    match (remaining(last, interval, now), gate(object, now)) {
        (Some(remaining), _) => Some(remaining),
        (None, Gate::Open) => Some(Duration::ZERO),
        (None, Gate::Closed(until)) => until,
    }
}

/// How long until the interval is over; `None` if it is.
fn remaining(last: Timestamp, interval: Duration, now: Timestamp) -> Option<Duration> {
    let interval = SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX);
    let left = last.checked_add(interval).unwrap_or(Timestamp::MAX).duration_since(now);
    (!left.is_negative()).then(|| left.unsigned_abs())
}

fn gate(object: &Object<ExternalSecret>, now: Timestamp) -> Gate {
    windows::gate(object.spec.as_ref().ok().and_then(|it| it.sync_windows.as_ref()), now)
}
