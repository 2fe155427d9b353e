//! `decrypt`: shows a file as it is read, or one value of it.

use leafseal::file::{Extracted, OpenError, Opened};
use leafseal::format::Format;
use leafseal::key_path::KeyPath;
use leafseal::{DataKey, EncryptedFile, PlainFile};
use zeroize::Zeroizing;

use crate::args::Decrypt;
use crate::config;
use crate::document;
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, format_for};

/// What is read of a file.
enum Read {
    /// All of it.
    File(Box<PlainFile>),
    /// One value, as it is printed.
    Value(Zeroizing<String>),
}

type Open = fn(&EncryptedFile, &DataKey) -> Result<Opened, OpenError>;
type Extract<'f> = fn(&EncryptedFile, &DataKey, &KeyPath, &'f dyn Format) -> Result<Extracted, OpenError>;

/// Runs it.
///
/// # Errors
///
/// If the file cannot be opened; nothing is written then.
pub(crate) fn run(session: &Session, args: Decrypt) -> Result<(), Failure> {
    let Decrypt { file, extract, ignore_mac, output, types, unwrap } = args;
    let source = match session.legacy {
        true => Source::required(file.as_deref())?,
        false => Source::new(file.as_deref())?,
    };
    document::check_output(&output, &source)?;
    source.must_exist()?;
    let name = document::name_for_rules(&output, &source)?;
    config::must_be_readable(session, &name)?;
    let input = format_for(session, "--input-type", types.input_type.as_deref(), &name)?;
    let wanted = types.output_type.as_deref();
    let wanted = if session.is_drop_in() { wanted } else { wanted.or(types.input_type.as_deref()) };
    let format = format_for(session, "--output-type", wanted, &name)?;
    let keys = Keys::new(&unwrap)?;
    let at = KeyPath::parse(extract.as_deref().unwrap_or("")).map_err(|it| {
        Failure::new(code::EXTRACT, it.to_string())
            .at("--extract")
            .sops(format!("error parsing --extract path: {it}"))
            .hint("a path is written like this: '[\"key\"][0][\"other key\"]'")
    })?;

    let (open, extract): (Open, Extract<'_>) = match ignore_mac {
        false => (EncryptedFile::open, EncryptedFile::extract),
        true => (EncryptedFile::open_ignoring_mac, EncryptedFile::extract_ignoring_mac),
    };
    let before = source.read_encrypted()?;
    let document = document::open_as(session, &source, input, before, &keys, |file, key| {
        if let Some((value, warnings)) = extract(file, key, &at, format)? {
            return Ok((Read::Value(value), warnings));
        }
        let Opened { file, warnings } = open(file, key)?;
        Ok((Read::File(Box::new(file)), warnings))
    })?;
    let layout = || config::layout(session, &name, format.name());
    let printed: Zeroizing<String>;
    let encoded: Zeroizing<Vec<u8>>;
    let result = match &document.plain {
        Read::Value(value) => value.as_bytes(),
        Read::File(plain) if !at.0.is_empty() => {
            let value = plain.extract(&at, format, &layout());
            printed = value.map_err(|it| error::extract(&it, "Error dumping tree").at(source.label()))?;
            printed.as_bytes()
        }
        Read::File(plain) if format.name() != input.name() || session.indent.is_some() => {
            let print = plain.print_as(format, &layout());
            printed = print.map_err(|it| error::extract(&it, "Error dumping file").at(source.label()))?;
            printed.as_bytes()
        }
        Read::File(plain) => match plain.utf16() {
            Some(it) => {
                encoded = it;
                encoded.as_slice()
            }
            None => plain.text().as_bytes(),
        },
    };
    document::deliver(session, &output, &source, document.stored(), result, &|_| Ok(()))
}
