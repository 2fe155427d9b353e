//! `edit`: a file in somebody's editor, until it can be sealed.

use std::path::Path;

use leafseal::edge::Clock as _;
use leafseal::format::{Format, Layout};
use leafseal::metadata::{MasterKey, Metadata};
use leafseal::rules::Recipe;
use leafseal::tree::{Edits, METADATA_KEY};
use leafseal::{DataKey, EncryptedFile, PlainFile};
use zeroize::Zeroizing;

use crate::args::Edit;
use crate::config;
use crate::document::{self, Before};
use crate::edge::{SystemClock, SystemRng};
use crate::editor::{self, Answer, Scratch};
use crate::error::{self, Failure, code};
use crate::files::{Expected, ReplaceError};
use crate::keys::Keys;
use crate::session::Session;
use crate::signals::Held;
use crate::source::{Source, exists, format_for};
use crate::ui;

/// What the editor's text is made of, and what it must become.
struct Task<'a> {
    session: &'a Session,
    source: &'a Source,
    format: &'static dyn Format,
    keys: &'a Keys,
    shows_metadata: bool,
    allow_plaintext: bool,
    /// The file as it was; a new one has none.
    before: Option<Before>,
    /// What a new file is sealed with.
    fresh: Option<(Metadata, DataKey)>,
}

/// What is to be written.
struct Edited {
    sealed: EncryptedFile,
    plain: PlainFile,
}

/// Why a text cannot be sealed yet: SOPS's words, and the reason.
struct Again {
    sops: &'static str,
    failure: Failure,
}

/// Runs it.
///
/// # Errors
///
/// If the file cannot be opened or sealed, or the editor failed or changed nothing.
pub(crate) fn run(session: &Session, args: Edit) -> Result<(), Failure> {
    let Edit { file, show_master_keys, ignore_mac, types, seal, unwrap } = args;
    let source = Source::required(file.as_deref())?;
    let path = source.path().expect("a file was named");
    config::must_be_readable(session, path)?;
    let format = format_for(session, "--input-type", types.input_type.as_deref(), path)?;
    if let Some(output) = types.output_type.as_deref()
        && format_for(session, "--output-type", Some(output), path)?.name() != format.name()
    {
        return Err(Failure::new(code::CONFLICT, "a file is edited as what it is")
            .at("--output-type")
            .hint("to change the type, decrypt it with --output-type and encrypt that"));
    }
    let keys = Keys::new(&unwrap)?;
    let is_new = !exists(path);
    if !is_new {
        document::check_legacy_rule(session, path)?;
    }
    let recipe = if is_new { Some(config::recipe(session, path, format.name(), &seal)?) } else { None };
    let bytes = if is_new { None } else { Some(source.read()?) };
    let before = match &bytes {
        Some(bytes) => Some(document::open_to_change(session, &source, format, bytes, &keys, ignore_mac)?),
        None => None,
    };
    let fresh = match recipe {
        Some(Recipe { groups, shamir_threshold, scope, ignored: _ }) => {
            let prefix = "Error encrypting the data key with one or more master keys";
            let mut metadata = Metadata::new(groups, shamir_threshold, scope, SystemClock.now());
            let key = keys.generate(&mut metadata, &mut SystemRng::new(), prefix, code::NO_KEY)?;
            Some((metadata, key))
        }
        None => None,
    };
    let allow_plaintext = seal.allow_plaintext;
    let task = Task {
        session,
        source: &source,
        format,
        keys: &keys,
        shows_metadata: show_master_keys,
        allow_plaintext,
        before,
        fresh,
    };
    task.run(path, bytes.as_deref().map(Vec::as_slice))
}

impl Task<'_> {
    fn run(&self, path: &Path, before: Option<&[u8]>) -> Result<(), Failure> {
        let shown = self.shown()?;
        let editor = editor::find()?;
        // Before the text is anywhere, so that no signal can leave it behind.
        let held = Held::new();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let cannot = |it: std::io::Error| {
            Failure::new(code::WRITE, format!("no place for the text: {}", error::reason(&it)))
                .sops(format!("Could not create temporary file: {}", error::reason(&it)))
        };
        let scratch = Scratch::new(&name).map_err(cannot)?;
        if !scratch.in_memory {
            self.session.warn("the text is edited on a disk: there is no place for it in memory");
        }
        scratch.write(&shown).map_err(cannot)?;
        let edited = loop {
            if editor::run(&editor, scratch.file(), &held)?.is_none() {
                held.forget();
                return Err(canceled());
            }
            let text = scratch.read().map_err(|it| {
                Failure::new(code::READ, format!("cannot read what was edited: {}", error::reason(&it)))
                    .sops(format!("Could not read edited file: {}", error::reason(&it)))
            })?;
            if text.as_slice() == shown.as_bytes() {
                return Err(Failure::new(code::UNCHANGED, "the file has not changed")
                    .at(self.source.label())
                    .sops("File has not changed, exiting."));
            }
            match self.seal(&text) {
                Ok(it) => break it,
                Err(again) => {
                    self.tell(&again);
                    match editor::wait_for_enter(&held) {
                        Answer::Enter => {}
                        Answer::Signal => {
                            held.forget();
                            return Err(canceled());
                        }
                        Answer::EndOfInput => return Err(kept(again.failure, scratch)),
                    }
                }
            }
        };
        let Some(Edited { sealed, plain }) = edited else { return Ok(()) };
        let key = self.key();
        let expected = before.map_or(Expected::Nothing, Expected::Bytes);
        let known = self.before.as_ref().map(|it| (&it.document.encrypted, &it.leaves));
        let verify = document::verifier(&plain, key, known);
        match document::put(self.session, self.source, path, expected, sealed.text().as_bytes(), &verify) {
            Ok(()) => Ok(()),
            Err(it @ (ReplaceError::Changed | ReplaceError::Io { .. } | ReplaceError::Unsafe(_))) => {
                Err(kept(document::refused(self.source, &it), scratch))
            }
            Err(it @ ReplaceError::Unverified(_)) => Err(kept(document::refused(self.source, &it), scratch)),
        }
    }

    fn key(&self) -> &DataKey {
        match (&self.before, &self.fresh) {
            (Some(Before { document, .. }), _) => &document.key,
            (None, Some((_, key))) => key,
            (None, None) => unreachable!("a file is there or new"),
        }
    }

    /// The text that the editor shows.
    fn shown(&self) -> Result<Zeroizing<String>, Failure> {
        let (plain, metadata) = match (&self.before, &self.fresh) {
            (Some(Before { document, .. }), _) => {
                (Zeroizing::new(document.plain.text().to_owned()), Some(document.encrypted.metadata()))
            }
            (None, fresh) => {
                (Zeroizing::new(self.format.example().to_owned()), fresh.as_ref().map(|(metadata, _)| metadata))
            }
        };
        let Some(metadata) = metadata.filter(|_| self.shows_metadata) else { return Ok(plain) };
        let tree = self.format.parse(plain.as_bytes()).map_err(|it| error::parse(&it))?;
        let mut edits = Edits::default();
        self.format.attach(&tree, &metadata.to_wire(), None, &Layout::default(), &mut edits);
        Ok(edits.apply(tree.source()))
    }

    /// Seals what was edited. `Ok(None)` if it says what the file says already.
    fn seal(&self, text: &[u8]) -> Result<Option<Edited>, Again> {
        let syntax = "Could not load tree, probably due to invalid syntax.";
        let invalid = "Tree not valid for encryption.";
        let again = |sops: &'static str| move |failure: Failure| Again { sops, failure };
        let parse = |text: &[u8]| PlainFile::parse(self.format, text).map_err(|it| again(syntax)(error::parse(&it)));
        let label = self.source.label();
        let mut plain = document::parse_plain(self.session, &label, self.format, text).map_err(again(syntax))?;
        let mut metadata = match (&self.before, &self.fresh) {
            (Some(Before { document, .. }), _) => document.encrypted.metadata().clone(),
            (None, Some((metadata, _))) => metadata.clone(),
            (None, None) => unreachable!("a file is there or new"),
        };
        let mut same_metadata = true;
        if self.shows_metadata {
            let unusable = again("SOPS metadata is invalid.");
            let given = self.metadata_of(&plain).map_err(&unusable)?;
            same_metadata = given.to_wire() == metadata.to_wire();
            let mut edits = Edits::default();
            let tree = plain.tree().map_err(|it| again(syntax)(error::parse(&it)))?;
            for document in tree.documents() {
                self.format.detach(tree, document, &mut edits);
            }
            plain = parse(edits.apply(plain.text()).as_bytes())?;
            if !same_metadata {
                metadata = self.rewrapped(&metadata, given).map_err(unusable)?;
            }
        }
        if plain.tree().is_ok_and(|it| it.documents().is_empty()) {
            let empty = Failure::new(code::EMPTY, "the file must have at least one document");
            return Err(again(invalid)(empty));
        }
        if plain.has_metadata() {
            return Err(again(invalid)(error::already_encrypted()));
        }
        document::refuse_duplicates(self.session, &label, &plain).map_err(again(invalid))?;
        let mut rng = SystemRng::new();
        let sealed = match &self.before {
            Some(Before { document, leaves }) => {
                if same_metadata && document.plain.text() == plain.text() {
                    return Ok(None);
                }
                document.encrypted.reseal(leaves, &plain, metadata, &document.key, &SystemClock, &mut rng)
            }
            None => {
                document::refuse_plaintext(self.session, &label, &plain, &metadata.scope, self.allow_plaintext)
                    .map_err(again(invalid))?;
                plain.seal(metadata, self.key(), &SystemClock, &mut rng)
            }
        };
        let sealed = sealed.map_err(|it| again(invalid)(error::seal(&it)))?;
        Ok(Some(Edited { sealed, plain }))
    }

    /// The metadata in an edited text that shows it.
    fn metadata_of(&self, plain: &PlainFile) -> Result<Metadata, Failure> {
        let tree = plain.tree().map_err(|it| error::parse(&it))?;
        let unusable = |what: String| Failure::new(code::GENERIC, what);
        let root = tree.documents().first().map(|it| it.root);
        let node = root.and_then(|it| tree.child(it, METADATA_KEY));
        let node = node.ok_or_else(|| unusable("sops metadata not found".to_owned()))?;
        let wire = self.format.wire(tree, node).map_err(|it| error::parse(&it))?;
        Metadata::from_wire(&wire).map_err(|it| unusable(it.to_string()))
    }

    /// Wraps the data key anew if keys were added by hand, or groups changed: then every part of the
    /// data key is another one.
    fn rewrapped(&self, was: &Metadata, mut metadata: Metadata) -> Result<Metadata, Failure> {
        let groups = |it: &Metadata| -> Vec<Vec<String>> {
            it.groups.iter().map(|it| it.0.iter().map(|key| format!("{} {}", key.kind, key.id())).collect()).collect()
        };
        let is_missing = |key: &MasterKey| key.enc.as_ref().is_none_or(String::is_empty);
        let is_split = was.groups.len() > 1 || metadata.groups.len() > 1;
        let is_other = was.shamir_threshold != metadata.shamir_threshold || groups(was) != groups(&metadata);
        if metadata.groups.iter().flat_map(|it| &it.0).any(is_missing) || (is_split && is_other) {
            let prefix = "error updating one or more master keys";
            self.keys.wrap(self.key(), &mut metadata, &mut SystemRng::new(), prefix, code::GENERIC)?;
        }
        Ok(metadata)
    }

    fn tell(&self, again: &Again) {
        let Again { sops, failure } = again;
        let next = "Press enter to return to the editor, or Ctrl+C to exit.";
        if self.session.is_drop_in() {
            ui::log_error(self.session.mode, &format!("{sops} {next}"));
            ui::note(failure.reason(self.session.mode));
        } else {
            ui::failure(failure, self.session.mode);
            ui::note(next);
        }
    }
}

fn canceled() -> Failure {
    Failure::new(code::GENERIC, "stopped before anything was written").sops("User canceled operation")
}

/// The text is worth more than tidiness: it stays where it is.
fn kept(failure: Failure, scratch: Scratch) -> Failure {
    let place = scratch.keep();
    failure.hint(format!("what you wrote is kept, in plain text, in {}: remove it when you are done", place.display()))
}
