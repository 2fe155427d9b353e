//! `updatekeys`: gives files the readers that the creation rule names.

use std::fmt::Write as _;
use std::path::Path;

use leafseal::EncryptedFile;
use leafseal::metadata::{KeyGroup, MasterKey};

use crate::args::Updatekeys;
use crate::config;
use crate::document;
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::files::{Expected, ReplaceError};
use crate::keys::Keys;
use crate::session::{Mode, Session};
use crate::source::{Source, format_for};
use crate::ui;

/// What changes in one group.
#[derive(Debug, Default)]
struct Difference<'k> {
    common: Vec<&'k MasterKey>,
    added: Vec<&'k MasterKey>,
    removed: Vec<&'k MasterKey>,
}

/// Runs it. After a file that fails, the others are still done.
///
/// # Errors
///
/// If a file cannot be given its readers; that file is as it was.
pub(crate) fn run(session: &Session, args: Updatekeys) -> Result<(), Failure> {
    if session.is_drop_in() && config::find(session, Path::new("/nonexistent"))?.is_none() {
        return Err(no_config());
    }
    let keys = Keys::new(&args.unwrap)?;
    match args.files.as_slice() {
        [] => Err(Failure::new(code::NO_FILE, "no file specified").sops("Error: no file specified")),
        [file] => update(session, &args, &keys, file),
        files => {
            let mut failed = 0;
            for file in files {
                if let Err(failure) = update(session, &args, &keys, file) {
                    failed += 1;
                    match session.mode {
                        Mode::Leafseal => ui::failure(&failure, session.mode),
                        Mode::DropIn => ui::log_error(session.mode, failure.reason(session.mode)),
                    }
                }
            }
            match failed {
                0 => Ok(()),
                n => Err(Failure::new(code::GENERIC, format!("failed updating {n} key(s)"))),
            }
        }
    }
}

fn no_config() -> Failure {
    Failure::new(code::GENERIC, "no .sops.yaml was found")
        .sops("config file not found")
        .hint("`leafseal init` makes a first one")
}

fn update(session: &Session, args: &Updatekeys, keys: &Keys, file: &Path) -> Result<(), Failure> {
    let source = Source::new(Some(file))?;
    let path = source.path().expect("a file was named");
    if path.is_dir() {
        return Err(Failure::new(code::GENERIC, "can't operate on a directory").at(source.label()));
    }
    if let Err(reason) = std::fs::metadata(path) {
        let what = format!("stat {}: {}", path.display(), error::reason(&reason));
        return Err(Failure::new(code::GENERIC, error::reason(&reason)).at(source.label()).sops(what));
    }
    let config = config::load(session, path)?.ok_or_else(no_config)?;
    let format = format_for(session, "--input-type", args.input_type.as_deref(), path)?;
    progress(session, &format!("Syncing keys for file {}", path.display()), None);
    let before = source.read_encrypted()?;
    let encrypted = EncryptedFile::parse(format, &before)
        .map_err(|it| error::explain(error::load(&it).at(source.label()), &before))?;
    let rule = config.rule_for(path)?.ok_or_else(|| {
        let what = format!("The config file {} does not contain any creation rule", config.path.display());
        Failure::new(code::GENERIC, "it has no creation rules").at_path(&config.path).sops(what)
    })?;

    let metadata = encrypted.metadata();
    let differences = compare(&metadata.groups, &rule.groups);
    let threshold = metadata.shamir_threshold.min(rule.groups.len());
    let same_keys = differences.iter().all(|it| it.added.is_empty() && it.removed.is_empty());
    if same_keys && threshold == metadata.shamir_threshold {
        let ours = format!("{}: up to date", source.label());
        progress(session, &format!("File {} already up to date", path.display()), Some(&ours));
        return Ok(());
    }
    ui::out(describe(&differences, metadata.shamir_threshold, threshold).as_bytes())?;
    if !args.yes {
        match ui::confirm("Is this okay? (y/n):")? {
            Some(true) => {}
            Some(false) => {
                let ours = format!("{}: left as it was", source.label());
                progress(session, &format!("File {} left unchanged", path.display()), Some(&ours));
                return Ok(());
            }
            None => {
                return Err(Failure::new(code::GENERIC, "nobody answered")
                    .at(source.label())
                    .sops("EOF")
                    .hint("--yes does it without asking"));
            }
        }
    }

    let key = keys.unwrap(&source.label(), metadata)?;
    let mut changed = metadata.clone();
    changed.groups.clone_from(&rule.groups);
    changed.shamir_threshold = threshold;
    let prefix = "error updating one or more master keys";
    let result = if args.rotate {
        let opened = encrypted.open(&key).map_err(|it| error::open(&it).at(source.label()))?;
        let mut rng = SystemRng::new();
        let key = keys.generate(&mut changed.groups, &mut rng, prefix, code::GENERIC)?;
        let sealed = encrypted.rotate(&opened.file, changed, &key, &SystemClock, &mut rng);
        let sealed = sealed.map_err(|it| error::seal(&it).at(source.label()))?;
        let verify = document::verifier(&opened.file, &key, None);
        put(session, &source, path, &before, &sealed, &verify)
    } else {
        keys.wrap(&key, &mut changed.groups, prefix, code::GENERIC)?;
        let rewrapped = encrypted.rewrap(changed).map_err(|it| error::seal(&it).at(source.label()))?;
        // The leaves are not this command's business: they are the same bytes as before.
        let verify = |bytes: &[u8]| {
            let wrong = |why: String| format!("the result was not written, because it does not read back: {why}");
            let file = EncryptedFile::parse(format, bytes).map_err(|it| wrong(it.to_string()))?;
            if file.same_leaves(&encrypted) { Ok(()) } else { Err(wrong("a value differs".to_owned())) }
        };
        put(session, &source, path, &before, &rewrapped, &verify)
    };
    result.map_err(|it| document::refused(&source, &it))?;
    let ours = format!("{}: has the readers of {} now", source.label(), config.path.display());
    progress(session, &format!("File {} synced with new keys", path.display()), Some(&ours));
    let gone: Vec<_> = differences.iter().flat_map(|it| &it.removed).map(|it| it.id()).collect();
    if !gone.is_empty() && !args.rotate {
        session.warn(&format!(
            "{} can no longer read {}, but may know its data key: `rotate`, or `updatekeys --rotate`, shuts them out",
            gone.join(", "),
            source.label()
        ));
    }
    Ok(())
}

fn put(
    session: &Session,
    source: &Source,
    path: &Path,
    before: &[u8],
    result: &EncryptedFile,
    verify: &dyn Fn(&[u8]) -> Result<(), String>,
) -> Result<(), ReplaceError> {
    document::put(session, source, path, Expected::Bytes(before), result.text().as_bytes(), verify)
}

/// Shows where it is: in drop-in mode as Go's logger does, in our own mode only what is worth it.
fn progress(session: &Session, sops: &str, ours: Option<&str>) {
    match (session.mode, ours) {
        (Mode::DropIn, _) => {
            ui::note(&format!("{} {sops}", jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S")));
        }
        (Mode::Leafseal, Some(text)) => ui::note(text),
        (Mode::Leafseal, None) => {}
    }
}

/// Compares groups by position and keys by what identifies them, as SOPS does.
fn compare<'k>(ours: &'k [KeyGroup], theirs: &'k [KeyGroup]) -> Vec<Difference<'k>> {
    (0..ours.len().max(theirs.len()))
        .map(|n| {
            let of = |groups: &'k [KeyGroup]| groups.get(n).map_or(&[] as &'k [MasterKey], |it| it.0.as_slice());
            let (ours, theirs) = (of(ours), of(theirs));
            let is_in = |key: &MasterKey, keys: &[MasterKey]| keys.iter().any(|it| it.same_key(key));
            let (common, added) = theirs.iter().partition(|it| is_in(it, ours));
            Difference { common, added, removed: ours.iter().filter(|it| !is_in(it, theirs)).collect() }
        })
        .collect()
}

fn describe(differences: &[Difference<'_>], threshold: usize, new_threshold: usize) -> String {
    let mut text = "The following changes will be made to the file's groups:\n".to_owned();
    if threshold > 0 && threshold == new_threshold {
        _ = writeln!(text, "shamir_threshold: {threshold}");
    } else {
        if new_threshold > 0 {
            _ = writeln!(text, "+++ shamir_threshold: {new_threshold}");
        }
        if threshold > 0 {
            _ = writeln!(text, "--- shamir_threshold: {threshold}");
        }
    }
    for (n, Difference { common, added, removed }) in differences.iter().enumerate() {
        _ = writeln!(text, "Group {}", n + 1);
        common.iter().for_each(|it| _ = writeln!(text, "    {}", it.id()));
        added.iter().for_each(|it| _ = writeln!(text, "+++ {}", it.id()));
        removed.iter().for_each(|it| _ = writeln!(text, "--- {}", it.id()));
    }
    text
}

#[cfg(test)]
mod tests {
    use leafseal::tree::Wire;

    use super::*;

    #[test]
    fn changes_are_shown_as_sops_shows_them() {
        let group = |ids: &[&str]| {
            let key = |id: &&str| MasterKey {
                kind: "age".to_owned(),
                fields: vec![("recipient".to_owned(), Wire::text(id))],
                enc: None,
            };
            KeyGroup(ids.iter().map(key).collect())
        };
        let (ours, theirs) = ([group(&["a", "b"])], [group(&["b", "c"]), group(&["d"])]);
        let text = describe(&compare(&ours, &theirs), 0, 0);
        let expected = "The following changes will be made to the file's groups:\n\
                        Group 1\n    b\n+++ c\n--- a\nGroup 2\n+++ d\n";
        assert_eq!(text, expected);
        assert!(describe(&[], 2, 1).ends_with("+++ shamir_threshold: 1\n--- shamir_threshold: 2\n"));
        assert!(describe(&[], 2, 2).ends_with("\nshamir_threshold: 2\n"));
    }
}
