//! `unset`: removes one value from an encrypted file.

use leafseal::format::EditError;
use leafseal::key_path::KeyPath;

use crate::args::Unset;
use crate::config;
use crate::document;
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, format_for};

/// Runs it.
///
/// # Errors
///
/// If nothing is there to remove; the file is as it was then.
pub(crate) fn run(session: &Session, args: Unset) -> Result<(), Failure> {
    let (Some(file), Some(index), true) = (&args.file, &args.index, args.ignored.is_empty()) else {
        return Err(Failure::new(code::NO_FILE, "a file and a path are needed")
            .sops("Error: no file specified, or index is missing")
            .hint("as in: unset secrets.yaml '[\"database\"][\"password\"]'"));
    };
    let source = Source::new(Some(file))?;
    let path = source.path().expect("a file was named");
    config::must_be_readable(session, path)?;
    let input = format_for(session, "--input-type", args.change.types.input_type.as_deref(), path)?;
    let at = KeyPath::parse(index).map_err(|it| error::path(&it, "unset"))?;
    let keys = Keys::new(&args.change.unwrap)?;
    document::update(session, &source, |before| {
        let opened = document::open_to_change(session, &source, input, before, &keys, args.change.ignore_mac)?;
        let edited = match opened.document.plain.unset(&at) {
            Ok(it) => it,
            Err(EditError::KeyNotFound(_) | EditError::OutOfBounds(_)) if args.idempotent => return Ok(None),
            Err(it) => return Err(error::edit(&it, &at).at(source.label())),
        };
        document::reseal(&source, opened, edited).map(Some)
    })
}
