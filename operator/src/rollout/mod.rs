//! Restarting workloads: which kinds there are, and the patch that makes their pods new (Vault Secrets,
//! spec section A.8).

mod progress;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use progress::{Progress, progress};
pub use workload::{How, WORKLOADS, Workload, of_target};

/// Stands on the pods' template of what was restarted: when.
pub const RESTARTED_AT: &str = "vso.secrets.hashicorp.com/restartedAt";

/// The reason of the event of a restart.
pub const TRIGGERED: &str = "RolloutRestartTriggered";
/// The reason of the event of one that failed.
pub const FAILED: &str = "RolloutRestartFailed";

/// A change of a workload that makes its pods new.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Patch {
    /// A strategic merge patch.
    Strategic(Value),
    /// A merge patch.
    Merge(Value),
}

/// Why a workload is not restarted now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotNow {
    /// Somebody holds its rollouts: it is owed one.
    #[error("it is paused")]
    Paused,
    /// Its pods end by themselves.
    #[error("workloads of this kind are not restarted")]
    Runs,
}

/// What restarts `held` at `now`. Never the same change twice, however close together.
///
/// # Errors
///
/// If it is paused.
pub fn restart(workload: &Workload, held: &Value, now: Timestamp) -> Result<Patch, NotNow> {
    if workload.pauses && held["spec"]["paused"] == json!(true) {
        return Err(NotNow::Paused);
    }
    Ok(match workload.how {
        How::Template => {
            // The original wrote whole seconds: two restarts in one were one.
            let later = restarted_at(workload, held).filter(|last| *last >= now).map(|last| last + step(1));
            let at = format!("{:.9}", later.unwrap_or(now));
            Patch::Strategic(json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: at } } } } }))
        }
        How::RestartAt => {
            let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
            let later = restarted_at(workload, held).filter(|last| *last >= now).map(|last| last + step(1_000_000_000));
            Patch::Merge(json!({ "spec": { "restartAt": format!("{:.0}", later.unwrap_or(now)) } }))
        }
        How::Make | How::Remake => return Err(NotNow::Runs),
    })
}

/// True if the pods of `held` are younger than `written`, by what it says itself: it was made, or
/// restarted for a Secret, after that.
pub fn is_up_to_date(workload: &Workload, held: &Value, written: Timestamp) -> bool {
    let made = held["metadata"]["creationTimestamp"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
    // Both times are cut to seconds somewhere: in doubt it is older.
    let is_after = |it: Timestamp| it.as_second() > written.as_second();
    made.is_some_and(is_after) || restarted_at(workload, held).is_some_and(is_after)
}

/// When a workload was last restarted for a Secret.
pub fn restarted_at(workload: &Workload, held: &Value) -> Option<Timestamp> {
    let at = match workload.how {
        How::Template => &held["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT],
        How::RestartAt => &held["spec"]["restartAt"],
        How::Make | How::Remake => return None,
    };
    at.as_str()?.parse().ok()
}

fn step(nanoseconds: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn kind(name: &str) -> &'static Workload {
        of_target(name).expect("it is in the table")
    }

    const NOW: &str = "2026-01-02T03:04:05.000000007Z";

    #[test]
    fn every_kind_has_a_patch_that_changes_one_thing() {
        for workload in WORKLOADS.iter().filter(|it| it.target.is_some()) {
            let patch = restart(workload, &json!({}), at(NOW)).expect("nobody holds it");
            match (workload.how, patch) {
                (How::Template, Patch::Strategic(it)) => {
                    assert_eq!(it["spec"]["template"]["metadata"]["annotations"], json!({ RESTARTED_AT: NOW }));
                    assert_eq!(it["spec"].as_object().map(serde_json::Map::len), Some(1));
                }
                (How::RestartAt, Patch::Merge(it)) => {
                    assert_eq!(it, json!({ "spec": { "restartAt": "2026-01-02T03:04:05Z" } }));
                }
                other => panic!("{}: {other:?}", workload.kind),
            }
        }
    }

    #[test]
    fn kinds_are_named_as_targets_name_them() {
        let names: Vec<_> = WORKLOADS.iter().filter_map(|it| it.target).collect();
        assert_eq!(names, ["Deployment", "DaemonSet", "StatefulSet", "argo.Rollout"]);
        assert!(of_target("Foo").is_none() && of_target("Job").is_none());
    }

    #[test]
    fn two_restarts_are_two_changes() {
        let held = json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: NOW } } } } });
        let patch = restart(kind("Deployment"), &held, at(NOW)).expect("nobody holds it");
        let Patch::Strategic(it) = patch else { panic!("{patch:?}") };
        let value = &it["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT];
        assert_eq!(value, "2026-01-02T03:04:05.000000008Z");
        let held = json!({ "spec": { "restartAt": "2026-01-02T03:04:05Z" } });
        let patch = restart(kind("argo.Rollout"), &held, at(NOW)).expect("nobody holds it");
        assert_eq!(patch, Patch::Merge(json!({ "spec": { "restartAt": "2026-01-02T03:04:06Z" } })));
    }

    #[test]
    fn a_paused_deployment_is_owed_its_restart() {
        let held = json!({ "spec": { "paused": true } });
        assert_eq!(restart(kind("Deployment"), &held, at(NOW)), Err(NotNow::Paused));
        assert!(restart(kind("Deployment"), &json!({ "spec": { "paused": false } }), at(NOW)).is_ok());
    }

    #[test]
    fn what_is_younger_than_the_secret_has_seen_it() {
        let written = at("2026-01-02T03:04:05Z");
        let made = |it: &str| json!({ "metadata": { "creationTimestamp": it } });
        let restarted = |it: &str| {
            json!({
                "metadata": { "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: it } } } },
            })
        };
        for (held, expected) in [
            (made("2026-01-02T03:04:05Z"), false),
            (made("2026-01-02T03:04:06Z"), true),
            (restarted("2026-01-02T03:04:05.9Z"), false),
            (restarted("2026-01-02T03:04:06.000000001Z"), true),
            (restarted("2026-01-02T05:04:06+02:00"), true),
            (restarted("soon"), false),
            (json!({}), false),
        ] {
            assert_eq!(is_up_to_date(kind("Deployment"), &held, written), expected, "{held}");
        }
    }
}
