//! What is sealed opens to the same bytes; a value is set, and the data key rotated, to the same bytes with and without
//! the plaintext of the file.

use leafseal::edge::{Clock, Rng, Timestamp};
use leafseal::format::named;
use leafseal::key_path::{KeyPath, Step};
use leafseal::metadata::Metadata;
use leafseal::scope::Scope;
use leafseal::tree::Wire;
use leafseal::value::Value;
use leafseal::{DataKey, EncryptedFile, PlainFile};

use crate::targets::plain;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2026-01-02T03:04:05Z")
    }
}

/// Never the same twice.
struct Numbers(u64);

impl Rng for Numbers {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// The ways to all scalars.
fn paths(wire: &Wire, above: &[Step], found: &mut Vec<KeyPath>) {
    let below = |step| [above, &[step]].concat();
    match wire {
        Wire::Leaf(_) => found.push(KeyPath(above.to_vec())),
        Wire::List(_) => wire.items().enumerate().for_each(|(n, it)| paths(it, &below(Step::Index(n)), found)),
        Wire::Map(_) => wire.pairs().for_each(|(key, it)| paths(it, &below(Step::Key(key.to_owned())), found)),
    }
}

/// Files, plain and sealed.
pub(crate) fn sealed_seeds() -> Vec<Vec<u8>> {
    let mut seeds = plain("yaml");
    let sealed = seeds.iter().filter_map(|it| Some(seal(it)?.2.text().as_bytes().to_vec())).collect::<Vec<_>>();
    seeds.extend(sealed);
    seeds
}

/// The file that `input` is when it is plain, sealed.
fn seal(input: &[u8]) -> Option<(PlainFile, DataKey, EncryptedFile)> {
    let plain = PlainFile::parse(named("yaml").expect("YAML is always there"), input).ok()?;
    let key = DataKey::from_bytes(&[7; 32]).expect("32 bytes are a data key");
    let metadata = Metadata::new(vec![], 0, Scope::default(), Stopped.now());
    let file = plain.seal(metadata, &key, &Stopped, &mut Numbers(0)).ok()?;
    Some((plain, key, file))
}

/// Seals a plain file and opens it again. Blanks that YAML wants where somebody left them out do not count.
pub(crate) fn seal_and_open(input: &[u8]) {
    let Some((plain, key, file)) = seal(input) else { return };
    let opened = file.open(&key).unwrap_or_else(|error| panic!("what was sealed does not open: {error}"));
    if !plain.duplicate_keys().is_empty() {
        // What the second of a name was cannot be told by its place.
        return;
    }
    let said = |text: &str| text.split_whitespace().collect::<String>();
    let lines = |text: &str| text.matches('\n').count();
    let (was, is) = (plain.text(), opened.file.text());
    assert!(said(was) == said(is) && lines(was) == lines(is), "what was sealed opens to another text");
}

/// Sets some values of a plain file, once it is sealed, in both ways.
pub(crate) fn set(input: &[u8]) {
    const PATHS: usize = 12;
    let format = named("yaml").expect("YAML is always there");
    let Some((_, key, file)) = seal(input) else { return };
    let Ok((opened, leaves)) = file.open_to_change(&key) else { return };
    let first = opened.file.tree().ok().and_then(|it| format.wire(it, it.documents().first()?.root).ok());
    let mut found = Vec::new();
    first.inspect(|it| paths(it, &[], &mut found));
    let what = [Wire::text("new"), Wire::text("12"), Wire::text("two\nlines"), Wire::Leaf(Value::Bool(true))];
    for (at, what) in found.iter().take(PATHS).flat_map(|at| what.iter().map(move |it| (at, it))) {
        let Ok(Some(short)) = file.replace(at, what, &key, &Stopped, &mut Numbers(9_000)) else { continue };
        let edited = opened.file.set(at, what).expect("what is replaced can be set");
        let long = edited.map(|it| {
            let sealed = file.reseal(&leaves, &it, file.metadata().clone(), &key, &Stopped, &mut Numbers(9_000));
            sealed.expect("what is replaced can be sealed")
        });
        let [one, other] = [&short.file, &long].map(|it| it.as_ref().map(|it| it.text()));
        assert!(one == other, "a value is set in two ways");
        if let Some(changed) = &short.file {
            let is = changed.is_but_for(at, what, &key, &file, &leaves);
            assert!(matches!(is, Ok(true)), "what was set does not read back");
        }
    }
}

/// Seals a plain file under another key, in both ways.
pub(crate) fn rotate(input: &[u8]) {
    let Some((_, old, file)) = seal(input) else { return };
    let (Ok(rotation), Ok(opened)) = (file.open_to_rotate(&old), file.open(&old)) else { return };
    let key = DataKey::from_bytes(&[8; 32]).expect("32 bytes are a data key");
    let metadata = || file.metadata().clone();
    let short = rotation.seal(&file, metadata(), &key, &Stopped, &mut Numbers(9_000));
    let long = file.rotate(&opened.file, metadata(), &key, &Stopped, &mut Numbers(9_000));
    let (Ok(short), Ok(long)) = (short, long) else { panic!("what was sealed can be sealed again") };
    assert!(short.text() == long.text(), "a file is sealed again in two ways");
    let is = rotation.is_said_by(&short, &key, &file);
    assert!(matches!(is, Ok(true)), "what was sealed again does not read back");
    let is = rotation.is_said_by(&file, &old, &file);
    assert!(matches!(is, Ok(true)), "a file does not say what it says");
}
