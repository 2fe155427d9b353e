//! Readers that only a file names: nobody wraps to them without being asked.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use leafseal::metadata::{MasterKey, Metadata};

use crate::config;
use crate::error::{Failure, code};
use crate::session::Session;
use crate::source::Source;
use crate::{prompt, ui};

/// Asks before a data key, or new parts of one, go to readers that only the file names: somebody may
/// have put them there (guarantee D3). The command line named `named`. Without a creation rule for
/// `name`, nobody says who should be there.
///
/// # Errors
///
/// In our own mode, if the answer is no or there is nobody to ask.
pub(crate) fn ask(
    session: &Session,
    source: &Source,
    name: &Path,
    metadata: &Metadata,
    named: &[MasterKey],
) -> Result<(), Failure> {
    if session.is_drop_in() {
        return Ok(());
    }
    let Some(rule) = config::load(session, name)?.and_then(|it| it.rule_for(name).ok().flatten()) else {
        return Ok(());
    };
    let named: Vec<_> = rule.groups.iter().flat_map(|it| &it.0).chain(named).collect();
    let readers = metadata.groups.iter().flat_map(|it| &it.0);
    let mut strangers: Vec<String> = Vec::new();
    for key in readers.filter(|key| !named.iter().any(|it| it.same_key(key))) {
        let stranger = ui::visible(&format!("{} {}", key.kind, key.id()));
        if !strangers.contains(&stranger) {
            strangers.push(stranger);
        }
    }
    if strangers.is_empty() {
        return Ok(());
    }
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        ui::note(&format!("{}: these readers are named by the file and not by .sops.yaml:", source.label()));
        strangers.iter().for_each(|it| ui::note(&format!("  {it}")));
        if prompt::line("Wrap the data key to them? (y/n)").is_some_and(|it| it == "y") {
            return Ok(());
        }
    }
    let failure = Failure::new(code::GENERIC, "readers that only the file names need your consent").at(source.label());
    let failure = strangers.into_iter().fold(failure, Failure::detail);
    Err(failure.hint("--keep-readers keeps them; `updatekeys --rotate` shuts them out"))
}
