//! `cargo xtask bench operator`: the operator as it ships on a plane of its own, beside the least
//! that its work takes and beside any other operator.

use std::process::Command;

use crate::sh::{cargo, run as run_command, step, target};
use crate::{Failure, peers};

/// Builds it and measures it; all arguments go to the benchmark.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let peers = peers::set_up()?;
    step("building what ships");
    let packages = ["--package", "leafseal-operator", "--package", "leafseal-plane"];
    run_command(cargo().args(["build", "--profile", "operator"]).args(packages))?;
    let programs = target().join("operator");
    let ours = programs.join("leafseal-operator");
    run_command(
        Command::new(programs.join("leafseal-plane"))
            .args(["bench", "--operator", &ours.display().to_string()])
            .args(args)
            .env("LEAFSEAL_PEERS", peers),
    )
}
