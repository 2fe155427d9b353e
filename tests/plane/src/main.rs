//! `leafseal-plane`: a control plane and OpenBao to try things out with, until a signal ends it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the command is for")]

use std::process::ExitCode;

use leafseal_plane::{ControlPlane, OpenBao};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let (Some(plane), Some(bao)) = (ControlPlane::start().await, OpenBao::start()) else {
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
