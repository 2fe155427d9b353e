//! What is counted of reloads, under the names of the original (Reloader, spec section B.10).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Exact, buckets, seconds, with};
use crate::reload::Source;

/// What becomes of a source, as the original calls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happened {
    /// It came.
    Create,
    /// It changed.
    Update,
    /// It went.
    Delete,
}

impl Happened {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// All that is counted of reloads.
pub struct Reloads {
    executed: Series<Success, Counter>,
    executed_by_namespace: Series<SuccessIn, Exact>,
    is_by_namespace: AtomicBool,
    looks: Series<OfResult, Counter>,
    look_seconds: Series<OfResult, Histogram>,
    actions: Series<Action, Counter>,
    action_seconds: Series<OfWorkload, Histogram>,
    skipped: Series<OfReason, Counter>,
    depth: Gauge,
    queued: Counter,
    queue_seconds: Histogram,
    errors: Series<OfType, Counter>,
    retries: Counter,
    received: Series<OfEvent, Counter>,
    processed: Series<Processed, Counter>,
    scanned: Series<OfKind, Counter>,
    matched: Series<OfKind, Counter>,
    followed: Series<OfKind, Gauge>,
    held: Gauge,
    stuck: Gauge,
    opened: Counter,
    open: Gauge,
}

macro_rules! label_sets {
    ($($name:ident { $($field:ident: $type:ty),* })*) => {
        $(#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
        struct $name { $($field: $type),* })*
    };
}

label_sets! {
    Success { success: &'static str }
    SuccessIn { success: &'static str, namespace: String }
    OfResult { result: &'static str }
    Action { workload_kind: &'static str, result: &'static str }
    OfWorkload { workload_kind: &'static str }
    OfReason { reason: &'static str }
    OfType { r#type: &'static str }
    OfEvent { event_type: &'static str, resource_type: &'static str }
    Processed { event_type: &'static str, resource_type: &'static str, result: &'static str }
    OfKind { kind: &'static str }
}

fn result(worked: bool) -> &'static str {
    if worked { "success" } else { "error" }
}

fn event(source: Source, what: Happened) -> OfEvent {
    OfEvent { event_type: what.word(), resource_type: source.kind() }
}

impl Reloads {
    pub(super) fn new(to: &mut Registry) -> Self {
        let (look_seconds, action_seconds, queue_seconds) = (seconds(), seconds(), buckets());
        let all = Self {
            executed: with(to, "reloader_reload_executed", "Reloads, by whether they worked"),
            executed_by_namespace: with(to, "reloader_reload_executed_total_by_namespace", "Reloads, by namespace"),
            is_by_namespace: AtomicBool::new(false),
            looks: with(to, "reloader_reconcile", "Looks at workloads that something changed for"),
            look_seconds,
            actions: with(to, "reloader_action", "Reloads, by kind of workload"),
            action_seconds,
            skipped: with(to, "reloader_skipped", "Changes that reload nothing, by reason"),
            depth: with(to, "reloader_workqueue_depth", "Workloads that wait to be looked at"),
            queued: with(to, "reloader_workqueue_adds", "Times that a workload had to be looked at"),
            queue_seconds,
            errors: with(to, "reloader_errors", "Failures, by what failed"),
            retries: with(to, "reloader_retries", "Failures that are tried again"),
            received: with(to, "reloader_events_received", "Changes of sources that were seen"),
            processed: with(to, "reloader_events_processed", "Changes of sources that were dealt with"),
            scanned: with(to, "reloader_workloads_scanned", "Workloads that were asked about a change"),
            matched: with(to, "reloader_workloads_matched", "Workloads that a change matters to"),
            followed: with(to, "leafseal_reload_workloads", "Workloads that ask for reloads"),
            held: with(to, "leafseal_reload_held", "Workloads that wait until others have their pods again"),
            stuck: with(to, "leafseal_reload_stuck", "Workloads whose new pods do not become ready"),
            opened: with(to, "leafseal_reload_breaker_opened", "Times that a source restarted a workload too often"),
            open: with(to, "leafseal_reload_breaker_open", "Sources that restart a workload only once in a while"),
        };
        to.register("reloader_reconcile_duration_seconds", "How long looks took", all.look_seconds.clone());
        to.register("reloader_action_latency_seconds", "How long reloads took", all.action_seconds.clone());
        to.register("reloader_workqueue_latency_seconds", "How long workloads waited", all.queue_seconds.clone());
        // Both are there from the start, so that rates see the first.
        for success in ["true", "false"] {
            drop(all.executed.get_or_create(&Success { success }));
        }
        all
    }

    /// Counts reloads by namespace too.
    pub fn count_by_namespace(&self) {
        self.is_by_namespace.store(true, Ordering::Relaxed);
    }

    /// A source was seen to change.
    pub fn received(&self, source: Source, what: Happened) {
        self.received.get_or_create(&event(source, what)).inc();
    }

    /// All who use a source that changed were told, or could not be.
    pub fn processed(&self, source: Source, what: Happened, worked: bool) {
        let OfEvent { event_type, resource_type } = event(source, what);
        self.processed.get_or_create(&Processed { event_type, resource_type, result: result(worked) }).inc();
    }

    /// This many workloads of a kind were asked about a change, and to so many of them it matters.
    pub fn scanned(&self, kind: &'static str, all: u64, matched: u64) {
        self.scanned.get_or_create(&OfKind { kind }).inc_by(all);
        self.matched.get_or_create(&OfKind { kind }).inc_by(matched);
    }

    /// A change reloads nothing: `no_data_change`, `strategy_not_updated`, and the like.
    pub fn skipped(&self, reason: &'static str) {
        self.skipped.get_or_create(&OfReason { reason }).inc();
    }

    /// This many workloads wait to be looked at.
    pub fn waiting(&self, workloads: usize) {
        self.depth.set(i64::try_from(workloads).unwrap_or(i64::MAX));
    }

    /// A workload has to be looked at.
    pub fn queued(&self) {
        self.queued.inc();
    }

    /// A workload is looked at, after it waited that long.
    pub fn taken(&self, waited: Duration) {
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// A look at a workload ended.
    pub fn looked(&self, worked: bool, took: Duration) {
        let result = OfResult { result: result(worked) };
        self.looks.get_or_create(&result).inc();
        self.look_seconds.get_or_create(&result).observe(took.as_secs_f64());
    }

    /// A workload was reloaded, or could not be.
    pub fn reloaded(&self, kind: &'static str, namespace: &str, worked: bool, took: Duration) {
        let success = if worked { "true" } else { "false" };
        self.executed.get_or_create(&Success { success }).inc();
        if self.is_by_namespace.load(Ordering::Relaxed) {
            let labels = SuccessIn { success, namespace: namespace.to_owned() };
            self.executed_by_namespace.get_or_create(&labels).inc();
        }
        self.actions.get_or_create(&Action { workload_kind: kind, result: result(worked) }).inc();
        self.action_seconds.get_or_create(&OfWorkload { workload_kind: kind }).observe(took.as_secs_f64());
    }

    /// Something failed: `read`, `patch`, `webhook`, and the like.
    pub fn failed(&self, what: &'static str) {
        self.errors.get_or_create(&OfType { r#type: what }).inc();
    }

    /// Something that failed is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// This many workloads wait for others, and so many of those have no ready pods.
    pub fn held(&self, waiting: usize, stuck: usize) {
        self.held.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.stuck.set(i64::try_from(stuck).unwrap_or(i64::MAX));
    }

    /// A source restarted a workload too often.
    pub fn opened(&self) {
        self.opened.inc();
    }

    /// So many sources restart a workload only once in a while.
    pub fn open(&self, sources: usize) {
        self.open.set(i64::try_from(sources).unwrap_or(i64::MAX));
    }

    /// This many workloads of a kind ask for reloads.
    pub fn followed(&self, kind: &'static str, workloads: usize) {
        self.followed.get_or_create(&OfKind { kind }).set(i64::try_from(workloads).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Metrics;
    use super::{Happened, Source};

    #[test]
    fn names_are_those_of_the_original() {
        let metrics = Metrics::new();
        let it = metrics.reload();
        it.reloaded("Deployment", "shop", true, Duration::from_millis(20));
        it.count_by_namespace();
        it.reloaded("Deployment", "shop", false, Duration::from_millis(20));
        it.received(Source::Secret, Happened::Update);
        it.processed(Source::Secret, Happened::Update, true);
        it.scanned("Deployment", 3, 1);
        it.skipped("no_data_change");
        it.waiting(2);
        it.queued();
        it.taken(Duration::from_secs(2));
        it.looked(true, Duration::from_millis(3));
        it.failed("patch");
        it.retried();
        it.followed("Deployment", 7);
        let text = metrics.text();
        for line in [
            r#"reloader_reload_executed_total{success="true"} 1"#,
            r#"reloader_reload_executed_total{success="false"} 1"#,
            r#"reloader_reload_executed_total_by_namespace{success="false",namespace="shop"} 1"#,
            r#"reloader_reconcile_total{result="success"} 1"#,
            r#"reloader_reconcile_duration_seconds_count{result="success"} 1"#,
            r#"reloader_action_total{workload_kind="Deployment",result="error"} 1"#,
            r#"reloader_action_latency_seconds_count{workload_kind="Deployment"} 2"#,
            r#"reloader_skipped_total{reason="no_data_change"} 1"#,
            "reloader_workqueue_depth 2",
            "reloader_workqueue_adds_total 1",
            "reloader_workqueue_latency_seconds_count 1",
            r#"reloader_errors_total{type="patch"} 1"#,
            "reloader_retries_total 1",
            r#"reloader_events_received_total{event_type="update",resource_type="Secret"} 1"#,
            r#"reloader_events_processed_total{event_type="update",resource_type="Secret",result="success"} 1"#,
            r#"reloader_workloads_scanned_total{kind="Deployment"} 3"#,
            r#"reloader_workloads_matched_total{kind="Deployment"} 1"#,
            r#"leafseal_reload_workloads{kind="Deployment"} 7"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"success="true",namespace"#), "{text}");
    }
}
