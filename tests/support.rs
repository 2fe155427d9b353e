//! What the tests share.
#![expect(clippy::print_stderr, reason = "a test that is not run says so")]

use std::path::PathBuf;

/// Returns the real program called `name` in the folder of peers, `LEAFSEAL_PEERS`; without it, says
/// that the running test is not run.
pub fn peer(name: &str) -> Option<PathBuf> {
    let program = std::env::var_os("LEAFSEAL_PEERS").map(|it| PathBuf::from(it).join(name));
    let program = program.filter(|it| it.exists());
    if program.is_none() {
        eprintln!("not run: {name} is not in LEAFSEAL_PEERS");
    }
    program
}
