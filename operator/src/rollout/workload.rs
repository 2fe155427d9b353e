//! The kinds of workloads that can be restarted.

/// A kind of workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Workload {
    /// What `rolloutRestartTargets` call it.
    pub name: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// How its pods are made new.
    pub how: How,
    /// True if `spec.paused` holds its rollouts.
    pub pauses: bool,
}

/// How the pods of a workload are made new.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// By an annotation on their template.
    Template,
    /// By `spec.restartAt`: the template stays.
    RestartAt,
}

/// All kinds.
pub const WORKLOADS: &[Workload] = &[
    Workload { pauses: true, ..apps("Deployment", "deployments") },
    apps("StatefulSet", "statefulsets"),
    apps("DaemonSet", "daemonsets"),
    Workload {
        name: "argo.Rollout",
        group: "argoproj.io",
        version: "v1alpha1",
        kind: "Rollout",
        plural: "rollouts",
        how: How::RestartAt,
        pauses: false,
    },
];

const fn apps(kind: &'static str, plural: &'static str) -> Workload {
    Workload { name: kind, group: "apps", version: "v1", kind, plural, how: How::Template, pauses: false }
}

/// The kind that `rolloutRestartTargets` call so.
pub fn of_kind(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|it| it.name == name)
}
