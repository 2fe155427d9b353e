//! `completion`: prints a completion script.

use clap::CommandFactory as _;

use crate::args::{Cli, Completion};
use crate::error::Failure;
use crate::session::Session;
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// If stdout cannot be written.
pub(crate) fn run(session: &Session, args: Completion) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = if session.is_drop_in() { "sops" } else { "leafseal" };
    clap_complete::generate(args.shell, &mut Cli::command(), name, &mut script);
    ui::out(&script)
}
