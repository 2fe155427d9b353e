//! The kinds of workloads.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind of workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Workload {
    /// What `rolloutRestartTargets` call it; `None` if they cannot name it.
    pub target: Option<&'static str>,
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
    /// It has none of its own: a run of it is made.
    Make,
    /// Its pods never change: it is deleted and made anew.
    Remake,
}

impl Workload {
    /// Its address.
    pub fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// All kinds.
pub const WORKLOADS: &[Workload] = &[
    Workload { pauses: true, ..apps("Deployment", "deployments") },
    batch("CronJob", "cronjobs", How::Make),
    batch("Job", "jobs", How::Remake),
    apps("DaemonSet", "daemonsets"),
    apps("StatefulSet", "statefulsets"),
    Workload {
        target: Some("argo.Rollout"),
        group: "argoproj.io",
        version: "v1alpha1",
        kind: "Rollout",
        plural: "rollouts",
        how: How::RestartAt,
        pauses: false,
    },
];

const fn apps(kind: &'static str, plural: &'static str) -> Workload {
    let how = How::Template;
    Workload { target: Some(kind), group: "apps", version: "v1", kind, plural, how, pauses: false }
}

const fn batch(kind: &'static str, plural: &'static str, how: How) -> Workload {
    Workload { target: None, group: "batch", version: "v1", kind, plural, how, pauses: false }
}

/// The kind that `rolloutRestartTargets` call so.
pub fn of_target(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|it| it.target == Some(name))
}
