//! `filestatus`: says whether a file is encrypted.

use leafseal::EncryptedFile;
use leafseal::file::LoadError;

use crate::args::Filestatus;
use crate::config;
use crate::error::{Failure, code};
use crate::session::Session;
use crate::source::{Source, format_for};
use crate::ui;

/// Runs it. No key is needed.
///
/// # Errors
///
/// If the file cannot be read.
pub(crate) fn run(session: &Session, args: Filestatus) -> Result<(), Failure> {
    let source = Source::required(args.file.as_deref())?;
    let path = source.path().expect("a file was named");
    config::must_be_readable(session, path)?;
    let format = format_for(session, "--input-type", args.input_type.as_deref(), path)?;
    let cannot = |what: &str| {
        let sops = format!("cannot check file status: cannot load encrypted file: {what}");
        Failure::new(code::GENERIC, what.to_owned()).at(source.label()).sops(sops).fatal_log()
    };
    let mut bytes = source.read().map_err(|it| cannot(it.reason(session.mode)))?;
    let encrypted = match EncryptedFile::read(format, &mut bytes) {
        Ok(file) => {
            let metadata = file.metadata();
            !metadata.version.is_empty() && metadata.mac.as_ref().is_some_and(|it| !it.is_empty())
        }
        Err(LoadError::NotEncrypted) => false,
        Err(it) => return Err(cannot(&it.to_string())),
    };
    ui::out(format!("{{\"encrypted\":{encrypted}}}\n").as_bytes())
}
