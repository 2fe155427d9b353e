//! The operator: what it was told, logs, the cluster, and then whatever the cluster has to serve.

use std::process::ExitCode;
use std::sync::Arc;

use leafseal_operator::settings::{Settings, Start, Task};
use leafseal_operator::{client, engine, explain, lease, shell, stop, telemetry};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that work: reconciliations wait for networks nearly all the time.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let start = match Settings::read(std::env::args().collect(), std::env::vars().collect()) {
        Ok(it) => it,
        // Help and versions come this way too.
        Err(it) => it.exit(),
    };
    match begin(start) {
        Ok(code) => code,
        Err(why) => {
            anstream::eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What `explain` ends with if a restart is due.
const DUE: u8 = 3;

fn begin(start: Start) -> Result<ExitCode, String> {
    let Start { task, settings, spelt, warnings } = start;
    match task {
        Task::Run => (),
        Task::Crds => {
            anstream::print!("{}", leafseal_operator::crds::print());
            return Ok(ExitCode::SUCCESS);
        }
        Task::Settings => {
            anstream::println!("{}", spelt.join("\n"));
            return Ok(ExitCode::SUCCESS);
        }
        Task::Explain { namespace, workload } => {
            let story = runtime()?.block_on(async {
                let clients = client::infer(None).await?;
                explain::explain(&clients.urgent, &settings, &namespace, &workload).await
            })?;
            anstream::print!("{story}");
            return Ok(if story.is_owed() { ExitCode::from(DUE) } else { ExitCode::SUCCESS });
        }
    }
    telemetry::start(settings.log_format, &settings.log_level)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(serve(settings)).map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<Runtime, String> {
    // Another crate may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_all();
    builder.build().map_err(|error| format!("threads cannot be started: {error}"))
}

async fn serve(settings: Settings) -> Result<(), String> {
    let (stopper, stop) = stop::pair();
    let mut ends = signal(SignalKind::terminate()).map_err(|error| format!("signals cannot be heard: {error}"))?;
    let mut interrupts =
        signal(SignalKind::interrupt()).map_err(|error| format!("signals cannot be heard: {error}"))?;
    let asked = Arc::new(stopper);
    tokio::spawn(async move {
        tokio::select! {
            _ = ends.recv() => (),
            _ = interrupts.recv() => (),
        }
        tracing::info!("ending: what runs is finished, Leases are given back");
        asked.stop();
        // Whoever asks twice does not want to wait.
        tokio::select! {
            _ = ends.recv() => (),
            _ = interrupts.recv() => (),
        }
        std::process::exit(1);
    });
    let rate = (settings.client_qps > 0)
        .then(|| (settings.client_qps, settings.client_burst.unwrap_or(settings.client_qps.saturating_mul(2))));
    let clients = client::infer(rate).await?;
    let identity = lease::identity(|name| std::env::var(name).ok());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity, "starting");
    shell::run(clients, settings, identity, stop, engine::run).await
}
