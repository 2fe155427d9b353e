//! `updatekeys`: gives files the readers that the creation rule names.

use std::fmt::Write as _;
use std::path::Path;

use leafseal::recipients::{Change, GroupChange, kept_threshold, wanted_threshold};

use crate::args::Updatekeys;
use crate::config;
use crate::document;
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::rekey::rekey;
use crate::session::{Mode, Session};
use crate::source::{Source, format_for};
use crate::ui;

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
    let mut bytes = source.read_encrypted()?;
    let encrypted = document::load(&source, format, &mut bytes)?;
    let rule = config.rule_for(path)?.ok_or_else(|| {
        let what = format!("The config file {} does not contain any creation rule", config.path.display());
        Failure::new(code::GENERIC, "it has no creation rules").at_path(&config.path).sops(what)
    })?;

    let metadata = encrypted.metadata();
    let (of_file, groups) = (metadata.shamir_threshold, rule.groups.len());
    // SOPS goes by the file alone; in our own mode the rule has a say.
    let threshold = match session.mode {
        Mode::DropIn => kept_threshold(of_file, groups),
        Mode::Leafseal => wanted_threshold(of_file, rule.shamir_threshold, groups),
    };
    let change = Change::between(&metadata.groups, of_file, &rule.groups, threshold);
    if change.is_empty() {
        let ours = format!("{}: up to date", source.label());
        progress(session, &format!("File {} already up to date", path.display()), Some(&ours));
        return Ok(());
    }
    ui::out(describe(&change).as_bytes())?;
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

    rekey(session, keys, &source, &bytes, &encrypted, &change, args.rotate)?;
    let ours = format!("{}: has the readers of {} now", source.label(), config.path.display());
    progress(session, &format!("File {} synced with new keys", path.display()), Some(&ours));
    Ok(())
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

fn describe(change: &Change<'_>) -> String {
    let (threshold, new_threshold) = (change.threshold, change.new_threshold);
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
    for (n, GroupChange { common, added, removed }) in change.groups.iter().enumerate() {
        _ = writeln!(text, "Group {}", n + 1);
        common.iter().for_each(|it| _ = writeln!(text, "    {}", ui::visible(&it.id())));
        added.iter().for_each(|it| _ = writeln!(text, "+++ {}", ui::visible(&it.id())));
        removed.iter().for_each(|it| _ = writeln!(text, "--- {}", ui::visible(&it.id())));
    }
    text
}

#[cfg(test)]
mod tests {
    use leafseal::metadata::{KeyGroup, MasterKey};
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
        let described = |ours: &[KeyGroup], threshold, theirs: &[KeyGroup]| {
            describe(&Change::between(ours, threshold, theirs, kept_threshold(threshold, theirs.len())))
        };
        let (ours, theirs) = ([group(&["a", "b"])], [group(&["b", "c"]), group(&["d"])]);
        let expected = "The following changes will be made to the file's groups:\n\
                        Group 1\n    b\n+++ c\n--- a\nGroup 2\n+++ d\n";
        assert_eq!(described(&ours, 0, &theirs), expected);
        let threshold = |text: String| text.lines().filter(|it| it.contains("threshold")).collect::<Vec<_>>().join("|");
        assert_eq!(threshold(described(&ours, 2, &ours)), "+++ shamir_threshold: 1|--- shamir_threshold: 2");
        assert_eq!(threshold(described(&theirs, 2, &theirs)), "shamir_threshold: 2");
    }
}
