//! The steps that commands share: open a file, look at a document before it is sealed, put a result
//! where it belongs.

use std::path::Path;

use leafseal::file::{Leaves, OpenError, Opened, Rotation};
use leafseal::format::{Format, Layout};
use leafseal::key_path::KeyPath;
use leafseal::scope::{Scope, Selector};
use leafseal::tree::Wire;
use leafseal::{DataKey, EncryptedFile, PlainFile};
use zeroize::Zeroizing;

use crate::args::OutputFlags;
use crate::config;
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::files::{self, Expected, ReplaceError};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, absolute};
use crate::ui;

/// A file that has been opened, with what sealed it.
pub(crate) struct Document<P = PlainFile> {
    /// As it is stored.
    pub encrypted: EncryptedFile,
    /// The bytes that it was read from, where they are not its text.
    pub bytes: Vec<u8>,
    /// As it is read.
    pub plain: P,
    /// What opens it.
    pub key: DataKey,
}

impl<P> Document<P> {
    /// The bytes that it was read from.
    pub(crate) fn stored(&self) -> &[u8] {
        stored(&self.bytes, self.encrypted.text())
    }
}

/// The bytes that a file was read from, which it has taken over as its `text` or `left`.
pub(crate) fn stored<'a>(left: &'a [u8], text: &'a str) -> &'a [u8] {
    if left.is_empty() { text.as_bytes() } else { left }
}

/// A file that has been opened to be changed.
pub(crate) struct Before {
    /// The file.
    pub document: Document,
    /// What its ciphertexts say.
    pub leaves: Leaves,
}

/// A file that has been changed.
pub(crate) struct Changed {
    /// As it is to be stored.
    sealed: EncryptedFile,
    meant: Meant,
    key: DataKey,
    /// As it was stored: the file, its bytes where they are not its text, what its ciphertexts said.
    before: (EncryptedFile, Vec<u8>, Leaves),
}

/// How a file that has been changed is to be read.
enum Meant {
    /// Like this.
    Plain(Box<PlainFile>),
    /// As before, but for a value.
    Value(KeyPath, Wire),
}

/// Reads an encrypted file. The bytes are taken over if they are its text.
///
/// # Errors
///
/// If they are no encrypted file.
pub(crate) fn load(
    source: &Source,
    format: &'static dyn Format,
    bytes: &mut Vec<u8>,
) -> Result<EncryptedFile, Failure> {
    EncryptedFile::read(format, bytes).map_err(|it| error::explain(error::load(&it).at(source.label()), bytes))
}

/// As [`open_as`], for a change.
///
/// # Errors
///
/// As for [`open_as`].
pub(crate) fn open_to_change(
    session: &Session,
    source: &Source,
    format: &'static dyn Format,
    bytes: Vec<u8>,
    keys: &Keys,
    ignore_mac: bool,
) -> Result<Before, Failure> {
    let how = if ignore_mac { EncryptedFile::open_to_change_ignoring_mac } else { EncryptedFile::open_to_change };
    let opened = open_as(session, source, format, bytes, keys, |file, key| {
        let (Opened { file, warnings }, leaves) = how(file, key)?;
        Ok(((file, leaves), warnings))
    })?;
    let Document { encrypted, bytes, plain: (plain, leaves), key } = opened;
    Ok(Before { document: Document { encrypted, bytes, plain, key }, leaves })
}

/// Opens `bytes`, which came from `source`. `how` says what is made of the file and what people should know of it.
///
/// # Errors
///
/// If they are no encrypted file, no key opens them, or they have been changed.
pub(crate) fn open_as<P>(
    session: &Session,
    source: &Source,
    format: &'static dyn Format,
    bytes: Vec<u8>,
    keys: &Keys,
    how: impl Fn(&EncryptedFile, &DataKey) -> Result<(P, Vec<String>), OpenError>,
) -> Result<Document<P>, Failure> {
    // It may turn out not to be encrypted.
    let mut bytes = Zeroizing::new(bytes);
    let encrypted = load(source, format, &mut bytes)?;
    let key = keys.unwrap(&source.label(), encrypted.metadata())?;
    let (plain, warnings) = how(&encrypted, &key).map_err(|it| {
        let failure = error::open(&it).at(source.label());
        match it {
            OpenError::Leaf { .. } | OpenError::MacUnreadable(_) if encrypted.metadata().groups.len() > 1 => {
                failure.hint("or the parts of the data key that its groups hold do not belong together")
            }
            _ => failure,
        }
    })?;
    for warning in &warnings {
        session.warn(&format!("{}: {warning}", source.label()));
    }
    Ok(Document { encrypted, bytes: std::mem::take(&mut *bytes), plain, key })
}

/// Reads a document that is to be sealed. The bytes are taken over if they are its text.
///
/// # Errors
///
/// If it is not in its format, or, in our own mode, holds bytes that are no text and would not come back
/// (guarantee B5).
pub(crate) fn parse_plain(
    session: &Session,
    label: &str,
    format: &'static dyn Format,
    bytes: &mut Vec<u8>,
) -> Result<PlainFile, Failure> {
    let is_utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    let plain = PlainFile::read(format, bytes).map_err(|it| error::explain(error::parse(&it).at(label), bytes))?;
    if !session.is_drop_in()
        && !is_utf16
        && let Err(problem) = std::str::from_utf8(bytes)
    {
        let line = bytes[..problem.valid_up_to()].iter().filter(|it| **it == b'\n').count() + 1;
        let failure = Failure::new(code::READ, format!("line {line} is not UTF-8, and would be changed")).at(label);
        return Err(error::explain(failure, bytes));
    }
    for warning in plain.tree().iter().flat_map(|it| &it.warnings) {
        session.warn(&format!("{label}: {warning}"));
    }
    Ok(plain)
}

/// A key that stands twice is refused in our own mode and told of in drop-in mode (file-decisions:
/// row 5).
///
/// # Errors
///
/// In our own mode.
pub(crate) fn refuse_duplicates(session: &Session, label: &str, plain: &PlainFile) -> Result<(), Failure> {
    let duplicates = plain.duplicate_keys();
    if duplicates.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(code::READ, "a key stands twice, and only one of its values would be read")
        .at(label)
        .hint("give one of them another name, or remove it");
    if session.is_drop_in() {
        for it in &duplicates {
            session.warn(&format!("{label}: a key stands twice: {it}"));
        }
        return Ok(());
    }
    for it in duplicates {
        failure = failure.detail(it);
    }
    Err(failure)
}

/// Refuses a document of which nothing would be encrypted although it has values (guarantee A2).
/// Drop-in mode warns, because scripts rely on the exit code.
///
/// # Errors
///
/// In our own mode, unless `allowed`.
pub(crate) fn refuse_plaintext(
    session: &Session,
    label: &str,
    plain: &PlainFile,
    scope: &Scope,
    allowed: bool,
) -> Result<(), Failure> {
    if allowed {
        return Ok(());
    }
    let Some(uncovered) = plain.uncovered(scope).map_err(|it| error::seal(&it).at(label))? else { return Ok(()) };
    let mut failure =
        Failure::new(code::GENERIC, format!("0 of {} values would be encrypted", uncovered.leaves)).at(label);
    if let Some((field, text)) = scope.selector.field() {
        failure = failure.detail(format!("{field}: {text}"));
    }
    if let Some(near) = nearest(&scope.selector, &uncovered.keys) {
        failure = failure.hint(format!("the document has a key called {near:?}: is that the one?"));
    }
    session.refuse_or_warn(failure.hint("--allow-plaintext writes it all the same"))
}

/// The key that is most like a word of the selector, if one is like it at all.
fn nearest<'k>(selector: &Selector, keys: &'k [String]) -> Option<&'k str> {
    let (_, text) = selector.field()?;
    let words = text.split(|it: char| !it.is_alphanumeric() && !matches!(it, '_' | '-')).filter(|it| it.len() > 1);
    let pairs = words.flat_map(|word| keys.iter().map(move |key| (distance(word, key), key.as_str())));
    let (distance, key) = pairs.min()?;
    (distance <= 1 + key.chars().count() / 4).then_some(key)
}

/// How many characters must change for `a` to be `b`, letter case apart.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let best = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

/// The same document in another format, ready to be sealed; the same one if there is no other.
///
/// # Errors
///
/// If the other format cannot say it (exit 4).
pub(crate) fn convert(
    plain: PlainFile,
    format: &'static dyn Format,
    layout: impl FnOnce() -> Layout,
) -> Result<PlainFile, Failure> {
    if plain.format().name() == format.name() {
        return Ok(plain);
    }
    let text = plain.print_as(format, &layout()).map_err(|it| error::extract(&it, "Could not marshal tree"))?;
    PlainFile::parse(format, text.as_bytes()).map_err(|it| error::parse(&it))
}

/// Checks bytes that are about to replace a file: they parse, they open with the key, they say what
/// was meant (guarantee B1). What stands as it stood `before` has been opened already.
pub(crate) fn verifier<'a>(
    meant: &'a PlainFile,
    key: &'a DataKey,
    before: Option<(&'a EncryptedFile, &'a Leaves)>,
) -> impl Fn(&mut Vec<u8>) -> Result<(), String> + 'a {
    move |bytes| {
        let file = EncryptedFile::read(meant.format(), bytes).map_err(|it| not_as_meant(&it.to_string()))?;
        let opened = match before {
            Some((before, leaves)) => file.open_changed(key, before, leaves),
            None => file.open(key),
        };
        let opened = opened.map_err(|it| not_as_meant(&it.to_string()))?;
        if opened.file.same_values(meant) { Ok(()) } else { Err(not_as_meant("a value differs")) }
    }
}

/// As [`verifier`], where every value is as it was.
pub(crate) fn rotated<'a>(
    rotation: &'a Rotation,
    key: &'a DataKey,
    before: &'a EncryptedFile,
) -> impl Fn(&mut Vec<u8>) -> Result<(), String> + 'a {
    |bytes| {
        let file = EncryptedFile::read(before.format(), bytes).map_err(|it| not_as_meant(&it.to_string()))?;
        match rotation.is_said_by(&file, key, before).map_err(|it| not_as_meant(&it.to_string()))? {
            true => Ok(()),
            false => Err(not_as_meant("a value differs")),
        }
    }
}

/// As [`verifier`], where all but one value is as it was.
fn verify_value(
    bytes: &mut Vec<u8>,
    at: &KeyPath,
    what: &Wire,
    key: &DataKey,
    before: &EncryptedFile,
    leaves: &Leaves,
) -> Result<(), String> {
    let file = EncryptedFile::read(before.format(), bytes).map_err(|it| not_as_meant(&it.to_string()))?;
    match file.is_but_for(at, what, key, before, leaves).map_err(|it| not_as_meant(&it.to_string()))? {
        true => Ok(()),
        false => Err(not_as_meant("a value differs")),
    }
}

fn not_as_meant(why: &str) -> String {
    format!("the result was not written, because it does not read back as meant: {why}")
}

/// Checks bytes that are about to replace a file of which only the keys change: the leaves are the same
/// bytes as before.
pub(crate) fn same_leaves(before: &EncryptedFile) -> impl Fn(&mut Vec<u8>) -> Result<(), String> + '_ {
    |bytes| {
        let wrong = |why: String| format!("the result was not written, because it does not read back: {why}");
        let file = EncryptedFile::read(before.format(), bytes).map_err(|it| wrong(it.to_string()))?;
        if file.same_leaves(before) { Ok(()) } else { Err(wrong("a value differs".to_owned())) }
    }
}

/// Seals an edited file again, under the key that it has.
///
/// # Errors
///
/// If it cannot be sealed.
pub(crate) fn reseal(source: &Source, opened: Before, mut edited: PlainFile) -> Result<Changed, Failure> {
    let Before { document: Document { encrypted, bytes, plain, key }, leaves } = opened;
    drop(plain);
    let metadata = encrypted.metadata().clone();
    let sealed = encrypted.reseal(&leaves, &edited, metadata, &key, &SystemClock, &mut SystemRng::new());
    let sealed = sealed.map_err(|it| error::seal(&it).at(source.label()))?;
    edited.shed();
    Ok(Changed { sealed, meant: Meant::Plain(Box::new(edited)), key, before: (encrypted, bytes, leaves) })
}

/// Gives one value of a file that is there.
///
/// # Errors
///
/// If it cannot be opened, or the value does not fit.
pub(crate) fn set(
    session: &Session,
    source: &Source,
    format: &'static dyn Format,
    bytes: Vec<u8>,
    keys: &Keys,
    ignore_mac: bool,
    (at, what): (&KeyPath, &Wire),
) -> Result<Option<Changed>, Failure> {
    /// What is made of the file: the one that is wanted, if it differs, or the plaintext.
    enum Way {
        Short(Option<EncryptedFile>, Leaves),
        Long(PlainFile, Leaves),
    }
    let how = if ignore_mac { EncryptedFile::open_to_change_ignoring_mac } else { EncryptedFile::open_to_change };
    let opened = open_as(session, source, format, bytes, keys, |file, key| {
        if !ignore_mac && let Some(it) = file.replace(at, what, key, &SystemClock, &mut SystemRng::new())? {
            return Ok((Way::Short(it.file, it.leaves), it.warnings));
        }
        let (Opened { file, warnings }, leaves) = how(file, key)?;
        Ok((Way::Long(file, leaves), warnings))
    })?;
    let Document { encrypted, bytes, plain, key } = opened;
    match plain {
        Way::Short(sealed, leaves) => Ok(sealed.map(|sealed| {
            let meant = Meant::Value(at.clone(), what.clone());
            Changed { sealed, meant, key, before: (encrypted, bytes, leaves) }
        })),
        Way::Long(plain, leaves) => {
            refuse_duplicates(session, &source.label(), &plain)?;
            let edited = plain.set(at, what).map_err(|it| error::edit(&it, at).at(source.label()))?;
            let before = Before { document: Document { encrypted, bytes, plain, key }, leaves };
            edited.map(|it| reseal(source, before, it)).transpose()
        }
    }
}

/// Refuses flags that exclude each other.
///
/// # Errors
///
/// Exit 8.
pub(crate) fn check_output(output: &OutputFlags, source: &Source) -> Result<(), Failure> {
    if output.in_place && *source == Source::Stdin {
        return Err(Failure::new(code::CONFLICT, "stdin cannot be replaced: --in-place needs a file")
            .sops("Error: cannot use --in-place when reading from stdin"));
    }
    if output.in_place && output.output.is_some() {
        return Err(Failure::new(code::CONFLICT, "--output and --in-place exclude each other")
            .sops("Error: cannot operate on both --output and --in-place"));
    }
    Ok(())
}

/// The name that decides about types and rules: `--filename-override`, else the file's own.
///
/// # Errors
///
/// If there is no working directory.
pub(crate) fn name_for_rules(output: &OutputFlags, source: &Source) -> Result<std::path::PathBuf, Failure> {
    match (&output.filename_override, source.path()) {
        (Some(name), _) if !name.as_os_str().is_empty() => absolute(name),
        (_, Some(path)) => Ok(path.to_owned()),
        (_, None) => absolute(Path::new("stdin")),
    }
}

/// Puts the result where the flags say: in the place of what was read, in a file, on stdout.
///
/// # Errors
///
/// If it cannot be written (exit 3); what was there is there still.
pub(crate) fn deliver(
    session: &Session,
    output: &OutputFlags,
    source: &Source,
    before: &[u8],
    result: &[u8],
    verify: &dyn Fn(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), Failure> {
    if let (true, Some(path)) = (output.in_place, source.path()) {
        return put(session, source, path, Expected::Bytes(before), result, verify).map_err(|it| refused(source, &it));
    }
    match output.output.as_deref().filter(|it| !it.as_os_str().is_empty()) {
        Some(path) => match files::write_output(path, result) {
            Ok(warnings) => {
                warnings.iter().for_each(|it| session.warn(&format!("{}: {it}", path.display())));
                Ok(())
            }
            Err(it) => {
                let sops = format!("Could not open output file for writing: open {}: {}", path.display(), why(&it));
                let failure = Failure::new(code::WRITE, it.to_string()).at_path(path).sops(sops);
                Err(match it {
                    ReplaceError::Linked(_) => failure.hint(own_file(&path.display().to_string())),
                    _ => failure,
                })
            }
        },
        None => ui::out(result),
    }
}

/// Replaces a file, and warns of what could not be kept.
///
/// # Errors
///
/// See [`ReplaceError`].
pub(crate) fn put(
    session: &Session,
    source: &Source,
    path: &Path,
    expected: Expected<'_>,
    result: &[u8],
    verify: &dyn Fn(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), ReplaceError> {
    for warning in files::replace(path, expected, result, verify)? {
        session.warn(&format!("{}: {warning}", source.label()));
    }
    Ok(())
}

/// Says that readers who were removed may know the data key, which has stayed (file-decisions: row 4).
pub(crate) fn tell_of_removed(session: &Session, source: &Source, gone: &[String]) {
    if !gone.is_empty() {
        session.warn(&format!(
            "{} can no longer read {}, but may know its data key: `rotate`, or `updatekeys --rotate`, shuts them out",
            ui::visible(&gone.join(", ")),
            source.label()
        ));
    }
}

/// A file that could not be replaced.
pub(crate) fn refused(source: &Source, error: &ReplaceError) -> Failure {
    let failure = Failure::new(code::WRITE, error.to_string()).at(source.label());
    let path = source.label();
    match error {
        ReplaceError::Io { .. } | ReplaceError::Unsafe(_) => {
            failure.sops(format!("Could not open in-place file for writing: open {path}: {}", why(error)))
        }
        ReplaceError::Linked(_) => {
            let failure =
                failure.sops(format!("Could not open in-place file for writing: open {path}: {}", why(error)));
            failure.hint(own_file(&path))
        }
        ReplaceError::Changed => failure.hint("nothing was written; run the command again"),
        ReplaceError::Unverified(_) => failure.hint("the file is as it was; please report this, without the secrets"),
    }
}

fn why(error: &ReplaceError) -> String {
    match error {
        ReplaceError::Io { reason, .. } => error::reason(reason),
        ReplaceError::Changed | ReplaceError::Unverified(_) | ReplaceError::Unsafe(_) | ReplaceError::Linked(_) => {
            error.to_string()
        }
    }
}

/// What to do about a file with several names.
fn own_file(path: &str) -> String {
    format!(
        "to give this name a file of its own: cp -p {path:?} {:?} && mv {:?} {path:?}",
        format!("{path}.own"),
        format!("{path}.own")
    )
}

/// Reads a file, has `change` say what becomes of it, and replaces it; once more from the start if
/// somebody else wrote it meanwhile (guarantee B3). `change` returns the file that is to be there,
/// or `None` to write nothing.
///
/// # Errors
///
/// Those of `change`, and if the file cannot be read or written.
pub(crate) fn update(
    session: &Session,
    source: &Source,
    change: impl Fn(Vec<u8>) -> Result<Option<Changed>, Failure>,
) -> Result<(), Failure> {
    /// Somebody who writes more often than this does so in a loop.
    const ATTEMPTS: usize = 100;
    let path = source.path().expect("only files are updated");
    for attempt in 1.. {
        let before = source.read_encrypted()?;
        let Some(changed) = change(before)? else { return Ok(()) };
        let Changed { sealed, meant, key, before: (file, bytes, leaves) } = &changed;
        let verify = |new: &mut Vec<u8>| match meant {
            Meant::Plain(plain) => verifier(plain, key, Some((file, leaves)))(new),
            Meant::Value(at, what) => verify_value(new, at, what, key, file, leaves),
        };
        let expected = Expected::Bytes(stored(bytes, file.text()));
        let result = put(session, source, path, expected, sealed.text().as_bytes(), &verify);
        match result {
            Ok(()) => break,
            Err(ReplaceError::Changed) if attempt < ATTEMPTS => {}
            Err(it) => return Err(refused(source, &it)),
        }
    }
    Ok(())
}

/// The commands that are spelt as flags ask for a creation rule even where they have no use for it,
/// and fail without one (spec section 7.2).
///
/// # Errors
///
/// In drop-in mode, if there is a configuration and no rule in it fits.
pub(crate) fn check_legacy_rule(session: &Session, file: &Path) -> Result<(), Failure> {
    if session.is_drop_in()
        && session.legacy
        && let Some(config) = config::load(session, file)?
    {
        config.rule_for(file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        let owned = |keys: &[&str]| keys.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        let selector =
            |text| Selector::from_field("encrypted_regex", text).expect("it is a selector").expect("it is a pattern");
        for (pattern, keys, near) in [
            ("^(data|stringData)$", &["stringdata", "kind"][..], Some("stringdata")),
            ("^passwrod$", &["password", "user"][..], Some("password")),
            ("^secret$", &["kind", "metadata"][..], None),
            ("^x$", &[][..], None),
        ] {
            assert_eq!(nearest(&selector(pattern), &owned(keys)), near, "{pattern}");
        }
    }

    #[test]
    fn distances_count_changes() {
        for (a, b, n) in [("", "", 0), ("abc", "abc", 0), ("abc", "ABd", 1), ("abc", "", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
