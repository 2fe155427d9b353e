//! What is counted, under the names that dashboards and alerts of the original operators use, and under
//! our own (External Secrets, spec section 4.4; Vault Secrets, spec section A.12).
//!
//! All series of an object vanish with it.

mod reload;
mod requests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::families;
use crate::intent::Family;

pub use reload::{Happened, Reloads};
pub use requests::Requests;

/// What is served to scrapers.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Kinds of External Secrets, and what the names of their metrics begin with.
const PREFIXES: &[(&str, &str)] = &[
    ("ExternalSecret", "externalsecret"),
    ("SecretStore", "secretstore"),
    ("ClusterSecretStore", "clustersecretstore"),
    ("ClusterExternalSecret", "clusterexternalsecret"),
];

/// An object, as metrics name it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// One call of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The provider, as External Secrets calls it: `HashiCorp/Vault`.
    pub provider: &'static str,
    /// What was called: `ReadSecretData`, `Login`.
    pub call: &'static str,
    /// True if it worked.
    pub worked: bool,
}

/// All that is counted. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Metrics(..)")
    }
}

struct Inner {
    registry: Registry,
    kinds: Vec<OfKind>,
    conditions: Mutex<BTreeSet<String>>,
    sync_calls: Series<Object, Counter>,
    sync_errors: Series<Object, Exact>,
    provider_calls: Series<ProviderCall, Exact>,
    resource_status: Series<ResourceStatus, Gauge>,
    client_operations: Series<ClientOperation, Counter>,
    client_errors: Series<ClientOperation, Counter>,
    reconciles: Series<Reconcile, Counter>,
    seconds: Series<OfFamily, Histogram>,
    retries: Series<Reason, Counter>,
    overdue: Series<OfFamily, Gauge>,
    leader: Series<OfFamily, Gauge>,
    serving: Series<OfFamily, Gauge>,
    restarts: Series<Restart, Counter>,
    events: Series<EventResult, Counter>,
    reloads: Reloads,
}

/// The gauges of one kind of External Secrets.
struct OfKind {
    kind: &'static str,
    condition: Series<Condition, Gauge>,
    duration: Series<Object, Gauge>,
}

/// A number that only grows, written under exactly the name it is registered with: the library would add
/// `_total`, and the original's names have none. Declared as a gauge, since a counter without `_total` is
/// none in this format; `rate()` asks for no type.
#[derive(Clone, Debug, Default)]
struct Exact(Arc<AtomicU64>);

impl Exact {
    fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl TypedMetric for Exact {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Exact {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

macro_rules! label_sets {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {
        $($(#[$doc])* #[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
        struct $name { $($field: $type),* })*
    };
}

label_sets! {
    Object { name: String, namespace: String }
    Condition { name: String, namespace: String, condition: String, status: &'static str }
    ProviderCall { provider: &'static str, call: &'static str, status: &'static str }
    ResourceStatus { controller: &'static str, name: String, namespace: String }
    ClientOperation { operation: &'static str }
    Reconcile { family: &'static str, kind: &'static str, result: &'static str }
    OfFamily { family: &'static str }
    Reason { family: &'static str, reason: &'static str }
    Restart { kind: String, result: &'static str }
    EventResult { result: &'static str }
    Build { version: &'static str }
}

impl Object {
    fn of(named: Named<'_>) -> Self {
        Self { name: named.name.to_owned(), namespace: named.namespace.to_owned() }
    }
}

fn buckets() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

fn seconds<S: Clone + std::hash::Hash + Eq>() -> Series<S, Histogram> {
    Series::new_with_constructor(buckets as fn() -> Histogram)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::with_requests(&Requests::default())
    }

    /// Nothing counted yet but requests.
    pub fn with_requests(requests: &Requests) -> Self {
        let mut registry = Registry::default();
        let to = &mut registry;
        requests.register(to);
        let build = Series::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        to.register("vso_build_info", "The version that runs", build.clone());
        to.register("leafseal_build_info", "The version that runs", build);
        let kinds = PREFIXES
            .iter()
            .map(|(kind, prefix)| OfKind {
                kind,
                condition: with(to, format!("{prefix}_status_condition"), "1 for the status that a condition has"),
                duration: with(to, format!("{prefix}_reconcile_duration"), "Nanoseconds that the last attempt took"),
            })
            .collect();
        let sync_calls = with(to, "externalsecret_sync_calls", "Attempts to sync");
        let sync_errors = with(to, "externalsecret_sync_calls_error", "Attempts to sync that failed");
        let provider_calls = with(to, "externalsecret_provider_api_calls_count", "Calls of providers");
        let resource_status = with(to, "controller_resource_status", "1 for an object that is as it should be, else 0");
        let client_operations = with(to, "vso_client_operations", "Requests to Vault");
        let client_errors = with(to, "vso_client_operations_errors", "Requests to Vault that failed");
        let reconciles = with(to, "leafseal_reconciles", "Attempts, by kind and result");
        let durations = seconds();
        to.register("leafseal_reconcile_seconds", "How long attempts took", durations.clone());
        let retries = with(to, "leafseal_retries", "Failures that are tried again, by reason");
        let overdue = with(to, "leafseal_overdue", "Objects that should have been looked at and were not yet");
        let leader = with(to, "leafseal_leader", "1 while the Lease of the family is held here");
        let serving = with(to, "leafseal_serving", "1 while the family is served here");
        let restarts = with(to, "leafseal_restarts", "Restarts of workloads");
        let events = with(to, "leafseal_events", "Events, by what became of them");
        let reloads = Reloads::new(to);
        Self(Arc::new(Inner {
            kinds,
            conditions: Mutex::default(),
            sync_calls,
            sync_errors,
            provider_calls,
            resource_status,
            client_operations,
            client_errors,
            reconciles,
            seconds: durations,
            retries,
            overdue,
            leader,
            serving,
            restarts,
            events,
            reloads,
            registry,
        }))
    }

    /// What is counted of reloads.
    pub fn reload(&self) -> &Reloads {
        &self.0.reloads
    }

    /// An attempt at an object ended.
    pub fn synced(&self, family: Family, named: Named<'_>, worked: bool, took: Duration) {
        let it = &self.0;
        let row = families::row(family);
        let result = if worked { "success" } else { "error" };
        it.reconciles.get_or_create(&Reconcile { family: row.name, kind: named.kind, result }).inc();
        it.seconds.get_or_create(&OfFamily { family: row.name }).observe(took.as_secs_f64());
        let object = Object::of(named);
        if let Some(kind) = it.kinds.iter().find(|it| it.kind == named.kind) {
            let nanoseconds = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
            kind.duration.get_or_create(&object).set(nanoseconds);
        }
        match family {
            Family::ExternalSecrets if named.kind == "ExternalSecret" => {
                it.sync_calls.get_or_create(&object).inc();
                // Both series are there from the first attempt on, so that rates see the first error.
                let errors = it.sync_errors.get_or_create_owned(&object);
                if !worked {
                    errors.inc();
                }
            }
            Family::ExternalSecrets | Family::Reload => (),
            Family::VaultSecrets => {
                it.resource_status.get_or_create(&resource_status(named)).set(i64::from(worked));
            }
        }
    }

    /// The status that a condition of an object of External Secrets has; of other kinds nothing is kept.
    pub fn condition(&self, named: Named<'_>, condition: &str, is_true: bool) {
        let Some(kind) = self.0.kinds.iter().find(|it| it.kind == named.kind) else { return };
        let mut known = self.0.conditions.lock().expect("nobody panics with it");
        if !known.contains(condition) {
            known.insert(condition.to_owned());
        }
        for (status, now) in [("True", is_true), ("False", !is_true)] {
            kind.condition.get_or_create(&labels(named, condition, status)).set(i64::from(now));
        }
    }

    /// An object is gone: so are all its series.
    pub fn forget(&self, named: Named<'_>) {
        let it = &self.0;
        let object = Object::of(named);
        if let Some(kind) = it.kinds.iter().find(|it| it.kind == named.kind) {
            kind.duration.remove(&object);
            for condition in it.conditions.lock().expect("nobody panics with it").iter() {
                for status in ["True", "False"] {
                    kind.condition.remove(&labels(named, condition, status));
                }
            }
        }
        if named.kind == "ExternalSecret" {
            it.sync_calls.remove(&object);
            it.sync_errors.remove(&object);
        }
        it.resource_status.remove(&resource_status(named));
    }

    /// A provider was called.
    pub fn provider_call(&self, family: Family, call: Call) {
        let it = &self.0;
        match family {
            Family::ExternalSecrets => {
                let status = if call.worked { "success" } else { "error" };
                let labels = ProviderCall { provider: call.provider, call: call.call, status };
                it.provider_calls.get_or_create(&labels).inc();
            }
            Family::VaultSecrets => {
                let labels = ClientOperation { operation: call.call };
                it.client_operations.get_or_create(&labels).inc();
                if !call.worked {
                    it.client_errors.get_or_create(&labels).inc();
                }
            }
            // It calls no provider.
            Family::Reload => (),
        }
    }

    /// Something failed and is tried again.
    pub fn retried(&self, family: Family, reason: &'static str) {
        self.0.retries.get_or_create(&Reason { family: families::row(family).name, reason }).inc();
    }

    /// How many objects should have been looked at by now.
    pub fn overdue(&self, family: Family, objects: usize) {
        gauge(&self.0.overdue, family).set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// Whether the Lease of a family is held here.
    pub fn leader(&self, family: Family, held: bool) {
        gauge(&self.0.leader, family).set(i64::from(held));
    }

    /// Whether a family is served here.
    pub fn serving(&self, family: Family, is_served: bool) {
        gauge(&self.0.serving, family).set(i64::from(is_served));
    }

    /// A workload was restarted, or could not be.
    pub fn restarted(&self, kind: &str, worked: bool) {
        let result = if worked { "success" } else { "error" };
        self.0.restarts.get_or_create(&Restart { kind: kind.to_owned(), result }).inc();
    }

    /// What became of an event: `written`, `counted`, `dropped`, `failed`.
    pub fn event(&self, result: &'static str) {
        self.0.events.get_or_create(&EventResult { result }).inc();
    }

    /// All of it, as scrapers read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry).expect("text grows");
        text
    }
}

fn with<M>(registry: &mut Registry, name: impl Into<String>, help: &str) -> M
where
    M: EncodeMetric + Default + Clone + fmt::Debug + Send + Sync + 'static,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn gauge(series: &Series<OfFamily, Gauge>, family: Family) -> Gauge<i64, AtomicI64> {
    series.get_or_create_owned(&OfFamily { family: families::row(family).name })
}

fn labels(named: Named<'_>, condition: &str, status: &'static str) -> Condition {
    let Object { name, namespace } = Object::of(named);
    Condition { name, namespace, condition: condition.to_owned(), status }
}

fn resource_status(named: Named<'_>) -> ResourceStatus {
    let Object { name, namespace } = Object::of(named);
    ResourceStatus { controller: named.kind, name, namespace }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: Named<'_> = Named { kind: "ExternalSecret", namespace: "shop", name: "db" };

    #[track_caller]
    fn has(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.text();
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn names_are_those_of_external_secrets() {
        let metrics = Metrics::new();
        metrics.synced(Family::ExternalSecrets, SHOP, true, Duration::from_micros(7));
        metrics.condition(SHOP, "Ready", true);
        has(
            &metrics,
            &[
                r#"externalsecret_sync_calls_total{name="db",namespace="shop"} 1"#,
                r#"externalsecret_sync_calls_error{name="db",namespace="shop"} 0"#,
                r#"externalsecret_reconcile_duration{name="db",namespace="shop"} 7000"#,
                r#"externalsecret_status_condition{name="db",namespace="shop",condition="Ready",status="True"} 1"#,
                r#"externalsecret_status_condition{name="db",namespace="shop",condition="Ready",status="False"} 0"#,
            ],
        );
        metrics.synced(Family::ExternalSecrets, SHOP, false, Duration::ZERO);
        metrics.condition(SHOP, "Ready", false);
        let vault = Call { provider: "HashiCorp/Vault", call: "ReadSecretData", worked: false };
        metrics.provider_call(Family::ExternalSecrets, vault);
        let store = Named { kind: "ClusterSecretStore", namespace: "", name: "vault" };
        metrics.condition(store, "Ready", true);
        has(
            &metrics,
            &[
                r#"externalsecret_sync_calls_total{name="db",namespace="shop"} 2"#,
                r#"externalsecret_sync_calls_error{name="db",namespace="shop"} 1"#,
                r#"externalsecret_status_condition{name="db",namespace="shop",condition="Ready",status="False"} 1"#,
                r#"externalsecret_provider_api_calls_count{provider="HashiCorp/Vault",call="ReadSecretData",status="error"} 1"#,
                r#"clustersecretstore_status_condition{name="vault",namespace="",condition="Ready",status="True"} 1"#,
            ],
        );
    }

    #[test]
    fn names_are_those_of_vault_secrets() {
        let metrics = Metrics::new();
        let named = Named { kind: "VaultStaticSecret", namespace: "shop", name: "db" };
        metrics.synced(Family::VaultSecrets, named, true, Duration::ZERO);
        let call = Call { provider: "HashiCorp/Vault", call: "Read", worked: false };
        metrics.provider_call(Family::VaultSecrets, call);
        has(
            &metrics,
            &[
                r#"controller_resource_status{controller="VaultStaticSecret",name="db",namespace="shop"} 1"#,
                r#"vso_client_operations_total{operation="Read"} 1"#,
                r#"vso_client_operations_errors_total{operation="Read"} 1"#,
                concat!(r#"vso_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            ],
        );
        metrics.forget(named);
        assert!(!metrics.text().contains("controller_resource_status{"));
    }

    #[test]
    fn names_of_our_own() {
        let metrics = Metrics::new();
        metrics.leader(Family::VaultSecrets, true);
        metrics.serving(Family::VaultSecrets, false);
        metrics.overdue(Family::VaultSecrets, 3);
        metrics.retried(Family::VaultSecrets, "VaultClientError");
        metrics.restarted("Deployment", true);
        metrics.event("dropped");
        metrics.synced(Family::ExternalSecrets, SHOP, true, Duration::ZERO);
        has(
            &metrics,
            &[
                r#"leafseal_leader{family="vault-secrets"} 1"#,
                r#"leafseal_serving{family="vault-secrets"} 0"#,
                r#"leafseal_overdue{family="vault-secrets"} 3"#,
                r#"leafseal_retries_total{family="vault-secrets",reason="VaultClientError"} 1"#,
                r#"leafseal_restarts_total{kind="Deployment",result="success"} 1"#,
                r#"leafseal_events_total{result="dropped"} 1"#,
                r#"leafseal_reconciles_total{family="external-secrets",kind="ExternalSecret",result="success"} 1"#,
            ],
        );
    }

    #[test]
    fn series_vanish_with_their_object() {
        let metrics = Metrics::new();
        let other = Named { name: "other", ..SHOP };
        for named in [SHOP, other] {
            metrics.synced(Family::ExternalSecrets, named, false, Duration::ZERO);
            metrics.condition(named, "Ready", false);
            metrics.condition(named, "Deleted", false);
        }
        metrics.forget(SHOP);
        let text = metrics.text();
        assert!(!text.contains(r#"name="db""#) && text.contains(r#"name="other""#), "{text}");
    }
}
