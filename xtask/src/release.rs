//! `cargo xtask release`: programs as they are released.

use std::path::PathBuf;
use std::process::Command;

use crate::Failure;
use crate::sh::{cargo, output, run as run_command, step, target};

/// Builds the command line and says where it is.
pub(crate) fn run() -> Result<(), Failure> {
    let program = build("leafseal-cli", "leafseal")?;
    println!("{}", program.display());
    Ok(())
}

/// Builds a program and returns where it is. On Linux it needs no shared libraries, and starts in two thirds of
/// the time.
///
/// # Errors
///
/// If it does not build.
pub(crate) fn build(package: &str, program: &str) -> Result<PathBuf, Failure> {
    step("building the release");
    let mut command = cargo();
    command.args(["rustc", "--locked", "--release", "--package", package, "--bin", program]);
    if has_static_libc()? {
        // For this crate alone: what runs while others are compiled is loaded, and cannot be static.
        command.args(["--", "-C", "target-feature=+crt-static"]);
    }
    run_command(&mut command)?;
    Ok(target().join("release").join(program))
}

/// True where the C library is linked into a program on demand only. musl's always is.
fn has_static_libc() -> Result<bool, Failure> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    Ok(version.lines().any(|it| it.starts_with("host: ") && it.ends_with("-linux-gnu")))
}
