//! What is reported on an ExternalSecret (spec section 2.11).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::refresh;
use crate::adapter::Outcome;
use crate::api::Object;
use crate::api::external_secrets::{ExternalSecret, ExternalSecretStatus, ready, with_ready};
use crate::intent::Intent;
use crate::plan::Verdict;

const DELETED: &str = "SecretDeleted";
const MISSING: &str = "SecretMissing";
const FAILED: &str = "SecretSyncedError";

/// How each verdict is told: whether it is a success, the reason, the message.
const VERDICTS: &[(Verdict, bool, &str, &str)] = &[
    (Verdict::Synced, true, "SecretSynced", "secret synced"),
    (Verdict::Retained, true, "SecretSynced", "secret retained due to DeletionPolicy=Retain"),
    (Verdict::Deleted, true, DELETED, "secret deleted due to DeletionPolicy=Delete"),
    (Verdict::TargetMissing, true, MISSING, "secret will not be created due to CreationPolicy=Merge"),
    (Verdict::Immutable, false, FAILED, "could not update secret, target is immutable"),
];

/// The members of the status that change.
pub(super) fn status(
    object: &Object<ExternalSecret>,
    intent: Option<&Intent>,
    outcome: &Outcome,
    now: Timestamp,
) -> Option<Value> {
    let before = &object.status;
    let (is_ready, reason, message) = match &outcome.result {
        Ok(done) => {
            let &(_, is_ready, reason, message) =
                VERDICTS.iter().find(|it| it.0 == done.verdict).expect("every verdict is in the table");
            (is_ready, reason, message.to_owned())
        }
        Err(trouble) if trouble.detail.is_empty() => (false, FAILED, trouble.message.clone()),
        Err(trouble) => (false, FAILED, trouble.to_string()),
    };
    let mut changes = Map::new();
    let conditions = with_ready(&before.conditions, is_ready, reason, message, Time(seconds(now)));
    if conditions[..] != before.conditions[..] {
        changes.insert("conditions".to_owned(), json!(conditions));
    }
    if is_ready {
        let refreshed = Time(seconds(outcome.began));
        if before.refresh_time.as_ref() != Some(&refreshed) {
            changes.insert("refreshTime".to_owned(), json!(refreshed));
        }
        let version = refresh::version(object);
        if before.synced_version != version {
            changes.insert("syncedResourceVersion".to_owned(), version.into());
        }
        let target = intent.map(|it| it.target.name.as_str()).filter(|it| *it != before.binding.name);
        if let Some(target) = target {
            changes.insert("binding".to_owned(), json!({ "name": target }));
        }
    }
    (!changes.is_empty()).then(|| changes.into())
}

/// True if the last sync left no target, and that is how it should be.
pub(super) fn leaves_no_target(status: &ExternalSecretStatus) -> bool {
    ready(&status.conditions).is_some_and(|it| it.status == "True" && matches!(it.reason.as_str(), DELETED | MISSING))
}

/// True if the last sync found nothing in the stores and said so.
pub(super) fn is_deleted(status: &ExternalSecretStatus) -> bool {
    ready(&status.conditions).is_some_and(|it| it.reason == DELETED)
}

/// The resolution that objects keep.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("it was a time before")
}
