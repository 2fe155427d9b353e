//! `leafseal-plane`: a control plane and OpenBao to try things out with, until a signal ends it;
//! `leafseal-plane bench`: what operators take on one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command is for")]

use std::process::ExitCode;

use leafseal_plane::{ControlPlane, OpenBao, bench};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("bench") => measure(args).await,
        Some(other) => {
            eprintln!("error: `{other}` is no command: say `bench` or nothing");
            ExitCode::FAILURE
        }
        None => serve().await,
    }
}

async fn measure(args: impl Iterator<Item = String>) -> ExitCode {
    let options = match bench::Options::parse(args) {
        Ok(it) => it,
        Err(why) => {
            eprint!("error: {why}\n\n{}", bench::USAGE);
            return ExitCode::FAILURE;
        }
    };
    match bench::run(&options).await {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("error: programs are missing: see above");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> ExitCode {
    let (Some(plane), Some(bao)) = (ControlPlane::start_own().await, OpenBao::start()) else {
        eprintln!("error: programs are missing: see above");
        return ExitCode::FAILURE;
    };
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    println!("export VAULT_ADDR={} VAULT_TOKEN={}", bao.address(), OpenBao::ROOT);
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut it) => it.recv().await.map_or(Ok(()), Ok),
            Err(it) => Err(it),
        }
    };
    let ended = tokio::select! {
        it = terminated => it,
        it = ctrl_c() => it,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
