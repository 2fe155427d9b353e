//! `set`: gives one value of an encrypted file.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use leafseal::format;
use leafseal::key_path::KeyPath;
use leafseal::tree::Wire;
use leafseal::value::Value;
use zeroize::Zeroizing;

use crate::args::Set;
use crate::config;
use crate::document;
use crate::error::{self, Failure, code, reason};
use crate::files;
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, format_for};

/// Runs it.
///
/// # Errors
///
/// If the value does not fit; the file is as it was then.
pub(crate) fn run(session: &Session, args: Set) -> Result<(), Failure> {
    let Set { file, index, value, value_file, value_stdin, idempotent: _, .. } = &args;
    if *value_file && *value_stdin {
        return Err(Failure::new(code::GENERIC, "--value-file and --value-stdin exclude each other")
            .sops("Error: cannot use both --value-file and --value-stdin"));
    }
    let asks = !session.is_drop_in() && value.is_none() && !*value_file && io::stdin().is_terminal();
    let too_many = !args.ignored.is_empty() || (*value_stdin && value.is_some());
    let (Some(file), Some(index), false) = (file, index, too_many) else { return Err(miscounted(*value_stdin)) };
    if value.is_none() && !*value_stdin && !asks {
        return Err(miscounted(false));
    }
    let source = Source::new(Some(file))?;
    let path = source.path().expect("a file was named");
    document::check_legacy_rule(session, path)?;
    config::must_be_readable(session, path)?;
    let input = format_for(session, "--input-type", args.change.types.input_type.as_deref(), path)?;
    let at = KeyPath::parse(index).map_err(|it| error::path(&it, "set"))?;
    let what = match value {
        Some(value) if *value_file => parse_value(session, &read_value(Path::new(value))?)?,
        Some(value) => {
            session.hint("others can see a value in a command line: use --value-stdin, --value-file, or leave it out");
            parse_value(session, value.as_bytes())?
        }
        None if *value_stdin => {
            let bytes = files::read_all(io::stdin().lock(), 4096);
            parse_value(session, &bytes.map_err(|it| Failure::new(code::GENERIC, reason(&it)).at("stdin"))?)?
        }
        None => Wire::Leaf(Value::Str(ask(&at)?)),
    };
    let keys = Keys::new(&args.change.unwrap)?;
    document::update(session, &source, |before| {
        document::set(session, &source, input, before, &keys, args.change.ignore_mac, (&at, &what))
    })
}

fn miscounted(from_stdin: bool) -> Failure {
    let sops = match from_stdin {
        true => {
            "Error: file specified, or index and value are missing. Need precisely 2 positional arguments since \
             --value-stdin is used."
        }
        false => "Error: no file specified, or index and value are missing. Need precisely 3 positional arguments.",
    };
    Failure::new(code::NO_FILE, "a file, a path and a value are needed")
        .sops(sops)
        .hint("as in: set secrets.yaml '[\"database\"][\"password\"]' --value-stdin")
}

fn read_value(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    files::read(path).map_err(|it| {
        Failure::new(code::GENERIC, format!("cannot read the value: {}", reason(&it))).at_path(path).sops(format!(
            "open {}: {}",
            path.display(),
            reason(&it)
        ))
    })
}

fn ask(at: &KeyPath) -> Result<leafseal::secret::SecretText, Failure> {
    let answer = rpassword::prompt_password(format!("New text at {at} (not shown): "));
    answer.map(leafseal::secret::SecretText::new).map_err(|it| Failure::new(code::GENERIC, reason(&it)).at("terminal"))
}

/// Reads a value as JSON. A bare number is a float, as for SOPS, unless that would lose digits.
fn parse_value(session: &Session, text: &[u8]) -> Result<Wire, Failure> {
    /// Below this, every integer is a float of the same value.
    const EXACT: u64 = 1 << 53;
    let invalid = || {
        Failure::new(code::SET, "the value is not JSON")
            .sops("Value for --set is not valid JSON")
            .hint("text stands in double quotes, for JSON and for the shell: '\"text\"'")
    };
    let json = format::named("json").expect("JSON is always there");
    // The value stands in a document of its own, so that it is read as values in files are.
    let mut document = Zeroizing::new(Vec::with_capacity(text.len() + 16));
    document.extend_from_slice(b"{\"\":");
    document.extend_from_slice(text);
    document.extend_from_slice(b"\n}");
    let tree = json.parse(&document).map_err(|_| invalid())?;
    let root = tree.documents().first().ok_or_else(invalid)?.root;
    let mut children = tree.children(root);
    let (Some(child), None) = (children.next(), children.next()) else { return Err(invalid()) };
    match json.wire(&tree, child).map_err(|_| invalid())? {
        Wire::List(_) if session.is_drop_in() => Err(Failure::new(code::SET, "lists cannot be set as they are")
            .sops("Invalid --set value format")
            .hint("put the list into an object")),
        Wire::Leaf(Value::Int(it)) if session.is_drop_in() && it.unsigned_abs() <= EXACT => {
            Ok(Wire::Leaf(Value::Float(it as f64)))
        }
        it => Ok(it),
    }
}
