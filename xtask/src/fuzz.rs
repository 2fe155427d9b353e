//! `cargo xtask fuzz`: hands over to the fuzz driver in `tests/fuzz`.

use crate::Failure;
use crate::sh::{cargo, run as run_command};

/// Runs the driver with `args`.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    run_command(cargo().args(["run", "--quiet", "--package", "leafseal-fuzz", "--"]).args(args))
}
