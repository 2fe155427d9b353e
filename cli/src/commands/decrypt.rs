//! `decrypt`: shows a file as it is read, or one value of it.

use leafseal::key_path::KeyPath;
use zeroize::Zeroizing;

use crate::args::Decrypt;
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

    let before = source.read_encrypted()?;
    let document = document::open(session, &source, input, before, &keys, ignore_mac)?;
    let layout = || config::layout(session, &name, format.name());
    let printed: Zeroizing<String>;
    let encoded: Zeroizing<Vec<u8>>;
    let result = if !at.0.is_empty() {
        printed = document
            .plain
            .extract(&at, format, &layout())
            .map_err(|it| error::extract(&it, "Error dumping tree").at(source.label()))?;
        printed.as_bytes()
    } else if format.name() != input.name() || session.indent.is_some() {
        let print = document.plain.print_as(format, &layout());
        printed = print.map_err(|it| error::extract(&it, "Error dumping file").at(source.label()))?;
        printed.as_bytes()
    } else if let Some(it) = document.plain.utf16() {
        encoded = it;
        encoded.as_slice()
    } else {
        document.plain.text().as_bytes()
    };
    document::deliver(session, &output, &source, document.stored(), result, &|_| Ok(()))
}
