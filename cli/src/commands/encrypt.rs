//! `encrypt`: seals a file for the first time.

use leafseal::edge::Clock as _;
use leafseal::format::Layout;
use leafseal::metadata::Metadata;
use leafseal::rules::Recipe;

use crate::args::Encrypt;
use crate::config;
use crate::document;
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, format_for};

/// Runs it.
///
/// # Errors
///
/// If the file cannot be sealed as asked for; nothing is written then.
pub(crate) fn run(session: &Session, args: Encrypt) -> Result<(), Failure> {
    let Encrypt { file, output, types, seal, unwrap } = args;
    let source = match session.legacy {
        true => Source::required(file.as_deref())?,
        false => Source::new(file.as_deref())?,
    };
    if source == Source::Stdin && !output.in_place && output.filename_override.is_none() {
        let failure = Failure::new(code::CONFLICT, "stdin has no name, and types and rules go by names")
            .sops("Error: must specify --filename-override when reading from stdin");
        return Err(failure.hint("give it one with --filename-override NAME"));
    }
    document::check_output(&output, &source)?;
    source.must_exist()?;
    let name = document::name_for_rules(&output, &source)?;
    let input = format_for(session, "--input-type", types.input_type.as_deref(), &name)?;
    let wanted = types.output_type.as_deref();
    let wanted = if session.is_drop_in() { wanted } else { wanted.or(types.input_type.as_deref()) };
    let format = format_for(session, "--output-type", wanted, &name)?;
    let keys = Keys::new(&unwrap)?;
    let config = config::load(session, &name)?;
    let Recipe { groups, shamir_threshold, scope, ignored: _ } =
        config::recipe(session, config.as_ref(), &name, input.name(), &seal)?;

    let mut bytes = source.read()?;
    let plain = match format.name() == input.name() {
        true => document::parse_plain(session, &source.label(), input, &mut bytes)?,
        // What is sealed is another text then.
        false => document::parse_plain(session, &source.label(), input, &mut bytes.clone())?,
    };
    let layout = match config {
        Some(it) => it.layout(session, format.name()),
        None => Layout { indent: session.indent },
    };
    let mut plain = document::convert(plain, format, || layout)?.laid_out(layout);
    if plain.has_metadata() {
        return Err(error::already_encrypted().at(source.label()));
    }
    document::refuse_duplicates(session, &source.label(), &plain)?;
    document::refuse_plaintext(session, &source.label(), &plain, &scope, seal.allow_plaintext)?;

    let mut rng = SystemRng::new();
    let mut metadata = Metadata::new(groups, shamir_threshold, scope, SystemClock.now());
    let key = keys.generate(&mut metadata, &mut rng, "Could not generate data key", code::GENERIC)?;
    let sealed = plain.seal(metadata, &key, &SystemClock, &mut rng);
    let sealed = sealed.map_err(|it| error::seal(&it).at(source.label()))?;
    plain.shed();
    let verify = document::verifier(&plain, &key, None);
    let before = document::stored(&bytes, plain.text());
    document::deliver(session, &output, &source, before, sealed.text().as_bytes(), &verify)
}
