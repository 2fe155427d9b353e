//! Whether a restart is over, by what the controller of a workload reports.

use serde_json::Value;

use super::Workload;

/// How far a restart has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All pods are new and ready.
    Done,
    /// It goes on.
    Goes,
    /// Its controller gave up, and its pods do not become ready.
    Stuck,
}

/// How far the last change of `held` has come.
pub fn progress(workload: &Workload, held: &Value) -> Progress {
    let (spec, status) = (&held["spec"], &held["status"]);
    let count = |it: &Value| it.as_i64().unwrap_or(0);
    // Argo writes it as text.
    let observed = &status["observedGeneration"];
    let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok()).unwrap_or(0);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let is_seen = observed >= count(&held["metadata"]["generation"]);
    let is_done = match workload.kind {
        "Deployment" => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut gave_up = conditions.filter(|it| it["reason"] == "ProgressDeadlineExceeded");
            if is_seen && gave_up.next().is_some() {
                return Progress::Stuck;
            }
            // While it is paused nothing of it restarts.
            spec["paused"] == true
                || [&status["updatedReplicas"], &status["replicas"], &status["availableReplicas"]]
                    .iter()
                    .all(|it| count(it) == wanted)
        }
        "StatefulSet" => {
            spec["updateStrategy"]["type"] == "OnDelete"
                || (status["updateRevision"] == status["currentRevision"] && count(&status["readyReplicas"]) == wanted)
        }
        "DaemonSet" => {
            let wanted = count(&status["desiredNumberScheduled"]);
            spec["updateStrategy"]["type"] == "OnDelete"
                || (count(&status["updatedNumberScheduled"]) == wanted && count(&status["numberAvailable"]) == wanted)
        }
        "Rollout" => match status["phase"].as_str() {
            Some("Degraded") => return Progress::Stuck,
            phase => phase == Some("Healthy"),
        },
        // They run once.
        _ => true,
    };
    if is_done && is_seen { Progress::Done } else { Progress::Goes }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::of_target;

    #[test]
    fn a_restart_is_over_when_all_pods_are_new_and_ready() {
        let deployment = |observed: i64, updated: i64, available: i64| {
            json!({
                "metadata": { "generation": 2 }, "spec": { "replicas": 2 },
                "status": {
                    "observedGeneration": observed, "replicas": 2, "updatedReplicas": updated,
                    "availableReplicas": available,
                },
            })
        };
        let mut stuck = deployment(2, 1, 2);
        stuck["status"]["conditions"] = json!([{ "reason": "ProgressDeadlineExceeded" }]);
        let set = |current: &str, ready: i64| {
            json!({
                "metadata": { "generation": 2 }, "spec": {},
                "status": {
                    "observedGeneration": 2, "updateRevision": "b", "currentRevision": current, "readyReplicas": ready,
                },
            })
        };
        let daemons = |updated: i64| {
            json!({ "metadata": {}, "status": {
                "desiredNumberScheduled": 2, "updatedNumberScheduled": updated, "numberAvailable": 2,
            }})
        };
        let rollout = |phase: &str| {
            json!({ "metadata": { "generation": 2 }, "status": {
                "observedGeneration": "2", "phase": phase,
            }})
        };
        for (kind, held, expected) in [
            ("Deployment", deployment(2, 2, 2), Progress::Done),
            ("Deployment", deployment(1, 2, 2), Progress::Goes),
            ("Deployment", deployment(2, 1, 2), Progress::Goes),
            ("Deployment", deployment(2, 2, 1), Progress::Goes),
            ("Deployment", stuck, Progress::Stuck),
            ("StatefulSet", set("b", 1), Progress::Done),
            ("StatefulSet", set("a", 1), Progress::Goes),
            ("StatefulSet", set("b", 0), Progress::Goes),
            ("DaemonSet", daemons(2), Progress::Done),
            ("DaemonSet", daemons(1), Progress::Goes),
            ("argo.Rollout", rollout("Healthy"), Progress::Done),
            ("argo.Rollout", rollout("Progressing"), Progress::Goes),
            ("argo.Rollout", rollout("Degraded"), Progress::Stuck),
        ] {
            let workload = of_target(kind).expect("it is in the table");
            assert_eq!(progress(workload, &held), expected, "{kind}: {held}");
        }
    }
}
