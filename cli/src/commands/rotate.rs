//! `rotate`: a new data key, and other readers if asked.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use leafseal::metadata::{KeyGroup, MasterKey, Metadata};

use crate::args::Rotate;
use crate::config;
use crate::document::{self, Document};
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, exists, format_for};
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// If the file cannot be opened and sealed again; nothing is written then.
pub(crate) fn run(session: &Session, args: Rotate) -> Result<(), Failure> {
    let source = Source::required(args.file.as_deref())?;
    document::check_output(&args.output, &source)?;
    let path = source.path().expect("a file was named");
    let (added, removed) = (args.add.keys()?, args.remove.keys()?);
    check_missing(session, &source, path, !added.is_empty() || !removed.is_empty())?;
    let name = document::name_for_rules(&args.output, &source)?;
    config::must_be_readable(session, &name)?;
    document::check_legacy_rule(session, &name)?;
    let input = format_for(session, "--input-type", args.types.input_type.as_deref(), &name)?;
    let wanted = args.types.output_type.as_deref();
    let wanted = if session.is_drop_in() { wanted } else { wanted.or(args.types.input_type.as_deref()) };
    let format = format_for(session, "--output-type", wanted, &name)?;
    let keys = Keys::new(&args.unwrap)?;

    let before = source.read()?;
    let opened = document::open(session, &source, input, &before, &keys, args.ignore_mac)?;
    let mut metadata = opened.encrypted.metadata().clone();
    if !args.keep_readers {
        consent(session, &source, &name, &removed, &metadata)?;
    }
    // SOPS adds to the first group and takes away from all (spec section 8.11).
    match metadata.groups.first_mut() {
        Some(group) => group.0.extend(added),
        None => metadata.groups.push(KeyGroup(added)),
    }
    for group in &mut metadata.groups {
        group.0.retain(|key| !removed.iter().any(|it| it.same_key(key)));
    }
    let mut rng = SystemRng::new();
    let key = keys
        .generate(&mut metadata.groups, &mut rng, "Could not generate data key", code::GENERIC)
        .map_err(|it| it.at(source.label()))?;
    let Document { encrypted, plain, .. } = opened;
    let same = format.name() == input.name();
    let plain = document::convert(plain, format, || config::layout(session, &name, format.name()))?;
    let sealed = match same {
        true => encrypted.rotate(&plain, metadata, &key, &SystemClock, &mut rng),
        false => plain.seal(metadata, &key, &SystemClock, &mut rng),
    };
    let sealed = sealed.map_err(|it| error::seal(&it).at(source.label()))?;
    let verify = document::verifier(&plain, &key);
    document::deliver(session, &args.output, &source, &before, sealed.text().as_bytes(), &verify)
}

fn check_missing(session: &Session, source: &Source, path: &Path, changes_keys: bool) -> Result<(), Failure> {
    if exists(path) {
        return Ok(());
    }
    if !changes_keys {
        // The subcommand of SOPS finds out when it reads.
        return if session.legacy || !session.is_drop_in() { source.must_exist() } else { Ok(()) };
    }
    let instead = if session.legacy { "`--kms` and `--pgp`" } else { "the `edit` subcommand" };
    Err(Failure::new(code::KEYS_OF_NO_FILE, "no such file").at(source.label()).sops(format!(
        "Error: cannot add or remove keys on non-existent file {:?}, use {} instead.",
        path.display().to_string(),
        instead
    )))
}

/// Asks before the new data key goes to readers that only the file names: somebody may have put them
/// there (guarantee D3). Without a creation rule, nobody says who should be there.
fn consent(
    session: &Session,
    source: &Source,
    name: &Path,
    removed: &[MasterKey],
    metadata: &Metadata,
) -> Result<(), Failure> {
    if session.is_drop_in() {
        return Ok(());
    }
    let Some(rule) = config::load(session, name)?.and_then(|it| it.rule_for(name).ok().flatten()) else {
        return Ok(());
    };
    let named: Vec<_> = rule.groups.iter().flat_map(|it| &it.0).chain(removed).collect();
    let strangers: Vec<_> = metadata
        .groups
        .iter()
        .flat_map(|it| &it.0)
        .filter(|key| !named.iter().any(|it| it.same_key(key)))
        .map(|it| format!("{} {}", it.kind, it.id()))
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        ui::note(&format!("{}: these readers are named by the file and not by .sops.yaml:", source.label()));
        strangers.iter().for_each(|it| ui::note(&format!("  {it}")));
        if crate::prompt::line("Wrap the new data key to them? (y/n)").is_some_and(|it| it == "y") {
            return Ok(());
        }
    }
    let failure = Failure::new(code::GENERIC, "readers that only the file names need your consent").at(source.label());
    let failure = strangers.into_iter().fold(failure, Failure::detail);
    Err(failure.hint("--keep-readers keeps them; `updatekeys --rotate` shuts them out"))
}
