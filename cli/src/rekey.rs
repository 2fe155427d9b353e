//! One file is given other key groups, with the data key that it has or with a new one.

use leafseal::EncryptedFile;
use leafseal::recipients::{Change, Shift};

use crate::document;
use crate::edge::{SystemClock, SystemRng};
use crate::error::{self, Failure, code};
use crate::files::Expected;
use crate::keys::Keys;
use crate::session::Session;
use crate::source::Source;

/// What SOPS says before the reason.
const PREFIX: &str = "error updating one or more master keys";

/// Replaces the file at `source`, which was read as `encrypted` and whose bytes that has taken over or
/// `left`, by one with the groups of `change`. With `rotate` it gets a new data key; without, no leaf is
/// touched.
///
/// # Errors
///
/// If that cannot be done; the file is as it was.
pub(crate) fn rekey(
    session: &Session,
    keys: &Keys,
    source: &Source,
    left: &[u8],
    encrypted: &EncryptedFile,
    change: &Change<'_>,
    rotate: bool,
) -> Result<(), Failure> {
    let path = source.path().expect("only files are given other groups");
    let at = |it: Failure| it.at(source.label());
    let key = keys.unwrap(&source.label(), encrypted.metadata())?;
    let mut changed = encrypted.metadata().clone();
    changed.groups = change.groups_after().to_vec();
    changed.shamir_threshold = change.new_threshold;
    let expected = Expected::Bytes(document::stored(left, encrypted.text()));
    let mut rng = SystemRng::new();
    let result = if rotate {
        let rotation = encrypted.open_to_rotate(&key).map_err(|it| at(error::open(&it)))?;
        let key = keys.generate(&mut changed, &mut rng, PREFIX, code::GENERIC).map_err(at)?;
        let sealed = rotation.seal(encrypted, changed, &key, &SystemClock, &mut rng);
        let sealed = sealed.map_err(|it| at(error::seal(&it)))?;
        let verify = document::rotated(&rotation, &key, encrypted);
        document::put(session, source, path, expected, sealed.text().as_bytes(), &verify)
    } else {
        keys.wrap(&key, &mut changed, &mut rng, PREFIX, code::GENERIC).map_err(at)?;
        let rewrapped = encrypted.rewrap(changed).map_err(|it| at(error::seal(&it)))?;
        // The leaves are nobody's business here: they are the same bytes as before.
        let verify = document::same_leaves(encrypted);
        document::put(session, source, path, expected, rewrapped.text().as_bytes(), &verify)
    };
    result.map_err(|it| document::refused(source, &it))?;
    let gone: Vec<_> =
        change.shifts().into_iter().filter(|(_, it)| *it == Shift::Loses).map(|(it, _)| it.id()).collect();
    if !rotate {
        document::tell_of_removed(session, source, &gone);
    }
    Ok(())
}
