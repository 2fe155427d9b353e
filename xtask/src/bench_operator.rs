//! `cargo xtask bench operator`: the release build of the operator on a plane of its own, beside the least
//! that its work takes and beside any other operator.

use std::process::Command;

use crate::sh::{cargo, run as run_command, step, target};
use crate::{Failure, peers};

/// Builds the release and measures it; all arguments go to the benchmark.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let peers = peers::set_up()?;
    step("building the release");
    run_command(cargo().args(["build", "--release", "--package", "leafseal-operator", "--package", "leafseal-plane"]))?;
    let programs = target().join("release");
    let ours = programs.join("leafseal-operator");
    run_command(
        Command::new(programs.join("leafseal-plane"))
            .args(["bench", "--operator", &ours.display().to_string()])
            .args(args)
            .env("LEAFSEAL_PEERS", peers),
    )
}
