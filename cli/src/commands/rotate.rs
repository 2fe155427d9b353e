//! `rotate`: a new data key, and other readers if asked.

use std::path::Path;

use leafseal::file::{Opened, Rotation};
use leafseal::metadata::KeyGroup;
use leafseal::{EncryptedFile, PlainFile};

use crate::args::Rotate;
use crate::config;
use crate::consent;
use crate::document::{self, Document};
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, exists, format_for};

/// What becomes of a file.
enum Way {
    /// It stays in its format.
    Same(Rotation),
    /// It is written in another one.
    Other(Box<PlainFile>),
}

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

    let before = source.read_encrypted()?;
    let how = match args.ignore_mac {
        false => EncryptedFile::open_to_rotate,
        true => EncryptedFile::open_to_rotate_ignoring_mac,
    };
    let same = format.name() == input.name();
    let opened = document::open_as(session, &source, input, before, &keys, |file, key| {
        if !same {
            let how = if args.ignore_mac { EncryptedFile::open_ignoring_mac } else { EncryptedFile::open };
            let Opened { file, warnings } = how(file, key)?;
            return Ok((Way::Other(Box::new(file)), warnings));
        }
        let mut rotation = how(file, key)?;
        let warnings = std::mem::take(&mut rotation.warnings);
        Ok((Way::Same(rotation), warnings))
    })?;
    let mut metadata = opened.encrypted.metadata().clone();
    if !args.keep_readers {
        consent::ask(session, &source, &name, &metadata, &removed)?;
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
        .generate(&mut metadata, &mut rng, "Could not generate data key", code::GENERIC)
        .map_err(|it| it.at(source.label()))?;
    let Document { mut encrypted, bytes, plain, .. } = opened;
    let failed = |it| error::seal(&it).at(source.label());
    match plain {
        Way::Same(mut rotation) => {
            let sealed = rotation.seal(&encrypted, metadata, &key, &SystemClock, &mut rng).map_err(failed)?;
            rotation.shed(&mut encrypted);
            let verify = document::rotated(&rotation, &key, &encrypted);
            let before = document::stored(&bytes, encrypted.text());
            document::deliver(session, &args.output, &source, before, sealed.text().as_bytes(), &verify)
        }
        Way::Other(plain) => {
            let mut plain = document::convert(*plain, format, || config::layout(session, &name, format.name()))?;
            let sealed = plain.seal(metadata, &key, &SystemClock, &mut rng).map_err(failed)?;
            plain.shed();
            encrypted.shed();
            let verify = document::verifier(&plain, &key, None);
            let before = document::stored(&bytes, encrypted.text());
            document::deliver(session, &args.output, &source, before, sealed.text().as_bytes(), &verify)
        }
    }
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
