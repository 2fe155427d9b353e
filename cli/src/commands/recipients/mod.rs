//! `recipients`: who can read what over a tree, and how that becomes what the rules say.

mod apply;
mod json;
mod plan;
mod show;

use std::rc::Rc;

use leafseal::metadata::MasterKey;

use crate::args::{Recipients, RecipientsAction};
use crate::config::{Configuration, Configurations};
use crate::error::{Failure, code};
use crate::names::Names;
use crate::session::Session;
use crate::survey::Surveyed;
use crate::ui::{self, visible};

/// The most characters of a key that are shown to people: a post-quantum recipient has two thousand.
const SHOWN: usize = 80;

/// Runs it.
///
/// # Errors
///
/// If a file could not be looked at or changed, once all others are done.
pub(crate) fn run(session: &Session, args: Recipients) -> Result<(), Failure> {
    let Recipients { action, paths, by_file, json } = args;
    match action {
        None => show::run(session, &paths, by_file, json),
        Some(RecipientsAction::Plan(args)) => plan::run(session, &args),
        Some(RecipientsAction::Apply(args)) => apply::run(session, &args),
    }
}

/// The names that the configurations of these files give, each configuration asked once.
fn names(configurations: &mut Configurations<'_>, files: &[Surveyed]) -> Names {
    let mut all: Vec<Rc<Configuration>> = Vec::new();
    for path in files.iter().filter_map(|it| it.source.path()) {
        if let Some(configuration) = configurations.of(path)
            && !all.iter().any(|it| Rc::ptr_eq(it, &configuration))
        {
            all.push(configuration);
        }
    }
    Names::new(all.iter().map(|it| it.names()).collect())
}

/// A key as people see it: its name, if it has one, and what it is.
fn title(names: &Names, key: &MasterKey) -> String {
    let id = key.id();
    let id = match id.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &id[..at]),
        None => id,
    };
    let what = format!("{} {id}", key.kind);
    let names = names.of(key).join(", ");
    visible(&if names.is_empty() { what } else { format!("{names} ({what})") })
}

/// A key in a list of keys: its name, or else what it is.
fn short_title(names: &Names, key: &MasterKey) -> String {
    match names.of(key).join(", ") {
        none if none.is_empty() => title(names, key),
        names => visible(&names),
    }
}

/// So many of something: `1 file`, `2 files`.
fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Shows what stood in the way of looking, which did not keep the rest from being looked at.
fn report(session: &Session, failures: &[Failure]) -> Result<(), Failure> {
    /// Nobody reads two thousand lines; JSON has them all.
    const SHOWN: usize = 100;
    failures.iter().take(SHOWN).for_each(|it| ui::failure(it, session.mode));
    match failures.len() {
        0 => Ok(()),
        n @ 1..=SHOWN => Err(Failure::new(code::GENERIC, format!("{} in all: see above", count(n, "problem")))),
        n => Err(Failure::new(code::GENERIC, format!("and {} more", count(n - SHOWN, "problem")))),
    }
}
