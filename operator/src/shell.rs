//! The life of the process: what is found is served while its Lease is held, and everything ends in order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Clients;
use crate::engine::Context;
use crate::engine::coordinator::Coordinator;
use crate::error::Trouble;
use crate::events::{self, Events};
use crate::families::{self, Finding};
use crate::http::{self, Health};
use crate::intent::Family;
use crate::lease::{self, Gate, State};
use crate::meta_info;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sinks::{self, Sinks};
use crate::stop::{self, Stop};

/// How often a cluster is asked again for a family that cannot be served yet.
const SOON: Duration = Duration::from_secs(10);
/// How often a family that is served is looked at again.
const LATER: Duration = Duration::from_secs(60);
/// How long an engine that failed waits.
const AGAIN: Duration = Duration::from_secs(5);
/// How long what is left of events may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all families share.
#[derive(Clone)]
struct Shared {
    clients: Clients,
    settings: Arc<Settings>,
    metrics: Metrics,
    events: Events,
    sinks: Sinks,
    health: Health,
    identity: String,
    coordinator: Coordinator,
    stop: Stop,
}

/// Serves a cluster until `stop` is asked: each family that is asked for and that the cluster has, by an
/// `engine` of its own, while its Lease is held.
///
/// # Errors
///
/// If a port cannot be listened at, or an address to tell of reloads is none.
pub async fn run<E, F>(
    clients: Clients,
    settings: Settings,
    identity: String,
    stop: Stop,
    engine: E,
) -> Result<(), String>
where
    E: Fn(Context) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let metrics = Metrics::with_requests(&clients.requests);
    let health = Health::default();
    if settings.reload.count_reloads_by_namespace {
        metrics.reload().count_by_namespace();
    }
    let (sinks, sender) = sinks::start(&settings.reload)?;
    // Servers are the last to go.
    let (servers_stopper, servers_stop) = stop::pair();
    let mut servers = Vec::new();
    let (for_scrapers, for_probes) = (http::for_scrapers(metrics.clone()), http::for_probes(health.clone()));
    let ports = match settings.metrics_address == settings.health_address {
        true => vec![(&settings.health_address, http::for_both(for_scrapers, for_probes))],
        false => vec![(&settings.metrics_address, for_scrapers), (&settings.health_address, for_probes)],
    };
    for (listen, answers) in ports {
        let server = http::serve(listen, answers, servers_stop.clone()).await;
        let server = server.map_err(|error| format!("cannot listen: {error}"))?;
        servers.extend(server);
    }
    for server in &servers {
        tracing::info!(address = %server.address, "listening");
    }
    let (events, writer) = events::start(clients.urgent.clone(), identity.clone(), metrics.clone());
    let families = settings.asked_families();
    let (settings, coordinator, stops) = (Arc::new(settings), Coordinator::default(), stop.clone());
    let shared = Shared {
        clients,
        settings,
        metrics,
        events,
        sinks,
        health: health.clone(),
        identity,
        coordinator,
        stop: stops,
    };

    let mut running = JoinSet::new();
    let (client, told) = (shared.clients.urgent.clone(), shared.settings.clone());
    let tells = tokio::spawn(async move { meta_info::keep(client, &told).await });
    let (surveyed, mut n_surveyed) = watch::channel(0_usize);
    let n_families = families.len();
    for family in families {
        let (shared, engine, surveyed) = (shared.clone(), engine.clone(), surveyed.clone());
        running.spawn(async move { serve_family(shared, family, engine, surveyed).await });
    }
    drop((surveyed, shared));
    let becomes_ready = async {
        if n_surveyed.wait_for(|it| *it >= n_families).await.is_ok() {
            health.set_ready(true);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.asked() => (),
        () = becomes_ready => (),
        // No family ends before it is told to; a panic ends its task.
        _ = running.join_next() => health.fail(),
    }
    health.set_ready(false);
    while running.join_next().await.is_some() {}
    tells.abort();
    writer.finish(LAST_WORDS).await;
    sender.finish(LAST_WORDS).await;
    servers_stopper.stop();
    for server in servers {
        drop(server.task.await);
    }
    if stop.is_asked() { Ok(()) } else { Err("what serves a family ended before it was told to".to_owned()) }
}

/// Serves one family whenever it can be served, until the end.
async fn serve_family<E, F>(shared: Shared, family: Family, engine: E, surveyed: watch::Sender<usize>)
where
    E: Fn(Context) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let stop = shared.stop.clone();
    let (tells, mut findings) = watch::channel(None);
    shared.metrics.serving(family, false);
    shared.metrics.leader(family, false);
    let surveys = tokio::spawn(keep_surveying(shared.clone(), family, tells, surveyed));
    loop {
        let servable = findings.wait_for(|it: &Option<Finding>| it.as_ref().is_some_and(Finding::is_servable));
        tokio::select! {
            () = stop.asked() => break,
            found = servable => if found.is_err() { break },
        }
        serve_while_led(&shared, family, &engine, &mut findings).await;
        if stop.is_asked() {
            break;
        }
    }
    surveys.abort();
}

/// Looks again and again whether a family can be served, and says in the log when that changes.
async fn keep_surveying(
    shared: Shared,
    family: Family,
    tells: watch::Sender<Option<Finding>>,
    surveyed: watch::Sender<usize>,
) {
    let name = families::row(family).name;
    let mut is_first = true;
    loop {
        let pause = match families::survey(&shared.clients.urgent, family, &shared.settings).await {
            Ok(finding) => {
                let is_whole = finding.is_servable() && finding.namespaces.len() == shared.settings.namespaces.len();
                let pause = if is_whole { LATER } else { SOON };
                tells.send_if_modified(|held| {
                    let is_new = held.as_ref() != Some(&finding);
                    if is_new {
                        tracing::info!(family = name, "{finding}");
                        *held = Some(finding);
                    }
                    is_new
                });
                if std::mem::take(&mut is_first) {
                    surveyed.send_modify(|it| *it += 1);
                }
                pause
            }
            // What was known still holds.
            Err(error) => {
                tracing::warn!(family = name, "the cluster cannot be asked what it serves: {error}");
                AGAIN
            }
        };
        tokio::select! {
            () = shared.stop.asked() => return,
            () = tokio::time::sleep(pause) => (),
        }
    }
}

/// Fights for the Lease of a family and serves it while it is held, until the family can no longer be served
/// or the end is asked for.
async fn serve_while_led<E, F>(
    shared: &Shared,
    family: Family,
    engine: &E,
    findings: &mut watch::Receiver<Option<Finding>>,
) where
    E: Fn(Context) -> F,
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let row = families::row(family);
    if !shared.settings.leader_elect {
        let (_always, mut states) = watch::channel(State::Held);
        serve_by_states(shared, family, engine, findings, &Gate::open(), &mut states).await;
        return;
    }
    let terms = lease::Terms {
        namespace: shared.settings.operator_namespace.clone(),
        name: row.lease.to_owned(),
        identity: shared.identity.clone(),
        duration: shared.settings.lease_duration,
        deadline: shared.settings.renew_deadline,
        retry: shared.settings.retry_period,
    };
    // The Lease is given back after the last write, not when the end is asked for.
    let (stopper, stop) = stop::pair();
    let mut campaign = lease::campaign(shared.clients.urgent.clone(), terms, stop);
    serve_by_states(shared, family, engine, findings, &campaign.gate.clone(), &mut campaign.states).await;
    stopper.stop();
    drop(campaign.task.await);
    shared.metrics.leader(family, false);
}

async fn serve_by_states<E, F>(
    shared: &Shared,
    family: Family,
    engine: &E,
    findings: &mut watch::Receiver<Option<Finding>>,
    gate: &Gate,
    states: &mut watch::Receiver<State>,
) where
    E: Fn(Context) -> F,
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let name = families::row(family).name;
    let mut was_led = false;
    loop {
        let state = states.borrow_and_update().clone();
        let is_led = state == State::Held;
        was_led |= is_led;
        shared.health.set_lost(was_led && !is_led && !shared.stop.is_asked());
        shared.metrics.leader(family, is_led && shared.settings.leader_elect);
        match &state {
            State::Held => (),
            State::Standby { holder: Some(holder) } => {
                tracing::info!(family = name, holder, "another acts on this family: waiting");
            }
            State::Standby { holder: None } => tracing::info!(family = name, "waiting for the Lease"),
            State::Refused(why) => tracing::error!(family = name, "not served: {why}"),
        }
        let finding = findings.borrow_and_update().clone();
        let Some(finding) = finding.filter(Finding::is_servable) else { return };
        if is_led {
            tracing::info!(family = name, "serving");
            run_engine(shared, family, engine, finding, gate, findings, states).await;
        } else {
            tokio::select! {
                () = shared.stop.asked() => (),
                changed = states.changed() => if changed.is_err() { return },
                changed = findings.changed() => if changed.is_err() { return },
            }
        }
        if shared.stop.is_asked() {
            return;
        }
    }
}

/// Runs an engine until the Lease is lost, what the cluster serves changes, or the end is asked for; then
/// lets it finish what it began.
async fn run_engine<E, F>(
    shared: &Shared,
    family: Family,
    engine: &E,
    finding: Finding,
    gate: &Gate,
    findings: &mut watch::Receiver<Option<Finding>>,
    states: &mut watch::Receiver<State>,
) where
    E: Fn(Context) -> F,
    F: Future<Output = Result<(), Trouble>> + Send + 'static,
{
    let name = families::row(family).name;
    let (stopper, stop) = stop::pair();
    // Without the rights to one of several namespaces the others are served.
    let settings = Settings { namespaces: finding.namespaces, ..Settings::clone(&shared.settings) };
    let context = Context {
        client: shared.clients.work.clone(),
        settings: Arc::new(settings),
        metrics: shared.metrics.clone(),
        events: shared.events.clone(),
        sinks: shared.sinks.clone(),
        family,
        served: finding.served,
        coordinator: shared.coordinator.clone(),
        gate: gate.clone(),
        stop,
    };
    let mut runs = JoinSet::new();
    runs.spawn(engine(context));
    shared.metrics.serving(family, true);
    let ended = tokio::select! {
        ended = runs.join_next() => ended,
        () = shared.stop.asked() => None,
        _ = states.wait_for(|it| *it != State::Held) => None,
        _ = findings.changed() => None,
    };
    shared.metrics.serving(family, false);
    stopper.stop();
    match ended {
        Some(Ok(Ok(()))) => tracing::warn!(family = name, "the engine ended by itself: it is started again"),
        Some(Ok(Err(trouble))) => tracing::error!(family = name, "{trouble}"),
        Some(Err(_)) => tracing::error!(family = name, "the engine broke: it is started again"),
        None => {
            // Without the Lease another may act any moment: nothing may go on as long as at an end.
            let patience = if gate.held() { shared.settings.drain } else { Duration::ZERO };
            if tokio::time::timeout(patience, runs.join_next()).await.is_err() {
                tracing::warn!(family = name, "what was still running is cut off");
                runs.shutdown().await;
            }
            return;
        }
    }
    tokio::select! {
        () = tokio::time::sleep(AGAIN) => (),
        () = shared.stop.asked() => (),
    }
}
