//! `edit`: a file in somebody's editor, until it can be sealed.

use std::io::{self, IsTerminal as _};
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
use crate::document::{self, Before, Document};
use crate::edge::{SystemClock, SystemRng};
use crate::editor::{self, Answer, Scratch};
use crate::error::{self, Failure, code};
use crate::files::{self, Expected, ReplaceError};
use crate::keys::Keys;
use crate::merge::{self, Merged};
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
    ignore_mac: bool,
    /// The file as it was; a new one has none.
    before: Option<Before>,
    /// True once the text is merged with what somebody else has written.
    is_merging: bool,
    /// What a new file is sealed with.
    fresh: Option<(Metadata, DataKey)>,
}

/// What is to be written.
struct Edited {
    sealed: EncryptedFile,
    plain: PlainFile,
}

/// What is to be done with the text.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Next {
    /// It is edited.
    Edit,
    /// It is sealed and saved.
    Save,
    /// It stays where it is for later.
    Keep,
    /// It goes: a signal asks to stop.
    Stop,
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
    files::check_replaceable(path).map_err(|it| document::refused(&source, &it))?;
    let keys = Keys::new(&unwrap)?;
    let is_new = !exists(path);
    if !is_new {
        document::check_legacy_rule(session, path)?;
    }
    let recipe = match is_new {
        true => {
            let config = config::load(session, path)?;
            Some(config::recipe(session, config.as_ref(), path, format.name(), &seal)?)
        }
        false => None,
    };
    let before = match is_new {
        true => None,
        false => {
            let bytes = source.read_encrypted()?;
            Some(document::open_to_change(session, &source, format, bytes, &keys, ignore_mac)?)
        }
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
        ignore_mac,
        before,
        is_merging: false,
        fresh,
    };
    task.run(path)
}

impl Task<'_> {
    fn run(mut self, path: &Path) -> Result<(), Failure> {
        let mut shown = self.shown(self.before.as_ref().map(|it| &it.document))?;
        let editor = editor::find()?;
        // Before the text is anywhere, so that no signal can leave it behind.
        let held = Held::new();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let scratch = Scratch::new(&name).map_err(|it| no_place(&it))?;
        if !scratch.in_memory {
            self.session.warn("the text is edited on a disk: there is no place for it in memory");
        }
        scratch.write(&shown).map_err(|it| no_place(&it))?;
        let mut next = Next::Edit;
        loop {
            if next == Next::Edit {
                match editor::run(&editor, scratch.file(), &held) {
                    Ok(Some(())) => {}
                    Ok(None) => {
                        held.forget();
                        return Err(canceled());
                    }
                    // What was written before the merge is not given up with it.
                    Err(it) if self.is_merging => return Err(kept(it, scratch)),
                    Err(it) => return Err(it),
                }
            }
            let text = scratch.read().map_err(|it| {
                Failure::new(code::READ, format!("cannot read what was edited: {}", error::reason(&it)))
                    .sops(format!("Could not read edited file: {}", error::reason(&it)))
            })?;
            if text.as_slice() == shown.as_bytes() {
                if self.is_merging {
                    return Ok(());
                }
                return Err(Failure::new(code::UNCHANGED, "the file has not changed")
                    .at(self.source.label())
                    .sops("File has not changed, exiting."));
            }
            let again = match self.seal(text.clone()) {
                Ok(None) => return Ok(()),
                Ok(Some(edited)) => match self.put(path, &edited) {
                    Ok(()) => return Ok(()),
                    Err(it @ ReplaceError::Changed) => {
                        let refused = document::refused(self.source, &it);
                        match self.merge(&mut shown, &text, &scratch, &held) {
                            Ok(it @ (Next::Edit | Next::Save)) => next = it,
                            Ok(Next::Keep) => {
                                return Err(kept(
                                    refused.hint("at a terminal, edit offers to merge both changes"),
                                    scratch,
                                ));
                            }
                            Ok(Next::Stop) => {
                                held.forget();
                                return Err(canceled());
                            }
                            Err(it) => return Err(kept(refused.hint(it.reason(self.session.mode)), scratch)),
                        }
                        continue;
                    }
                    Err(it) => return Err(kept(document::refused(self.source, &it), scratch)),
                },
                Err(again) => again,
            };
            self.tell(&again);
            match editor::wait_for_line(&held) {
                Answer::Line(_) => next = Next::Edit,
                Answer::Signal => {
                    held.forget();
                    return Err(canceled());
                }
                Answer::EndOfInput => return Err(kept(again.failure, scratch)),
            }
        }
    }

    fn put(&self, path: &Path, edited: &Edited) -> Result<(), ReplaceError> {
        let expected = self.before.as_ref().map_or(Expected::Nothing, |it| Expected::Bytes(it.document.stored()));
        let known = self.before.as_ref().map(|it| (&it.document.encrypted, &it.leaves));
        let verify = document::verifier(&edited.plain, self.key(), known);
        document::put(self.session, self.source, path, expected, edited.sealed.text().as_bytes(), &verify)
    }

    /// Merges what was edited with what somebody else has made of the file meanwhile, which is then what
    /// there was before (guarantee B3). The scratch file holds the merged text unless it is to be kept.
    fn merge(
        &mut self,
        shown: &mut Zeroizing<String>,
        ours: &[u8],
        scratch: &Scratch,
        held: &Held,
    ) -> Result<Next, Failure> {
        let bytes = self.source.read_encrypted()?;
        let Self { session, source, format, keys, ignore_mac, .. } = *self;
        let before = document::open_to_change(session, source, format, bytes, keys, ignore_mac)?;
        let theirs = self.shown(Some(&before.document))?;
        let merged = merge::merge(shown.as_bytes(), ours, theirs.as_bytes());
        // If only keys and readers have changed, the text is what it would have been.
        let next = if theirs == *shown {
            Next::Save
        } else {
            ui::note(&format!("{}: somebody else has changed the file meanwhile", self.source.label()));
            self.tell_changes("you changed", shown.as_bytes(), ours);
            self.tell_changes("they changed", shown.as_bytes(), theirs.as_bytes());
            self.ask(&merged, held)
        };
        if matches!(next, Next::Keep | Next::Stop) {
            return Ok(next);
        }
        scratch.rewrite(&merged.text).map_err(|it| no_place(&it))?;
        *shown = theirs;
        self.before = Some(before);
        self.is_merging = true;
        Ok(next)
    }

    /// Asks what is to be done with the merged text. Nobody is asked without a terminal.
    fn ask(&self, merged: &Merged, held: &Held) -> Next {
        if !io::stdin().is_terminal() {
            return Next::Keep;
        }
        loop {
            ui::note(match merged.has_conflicts {
                true => "Some lines are changed in both. [e]dit them side by side, [k]eep your text for later?",
                false => "The changes fit together. [s]ave both, [e]dit the result first, [k]eep your text for later?",
            });
            match editor::wait_for_line(held) {
                Answer::Line(it) if it == "s" && !merged.has_conflicts => return Next::Save,
                Answer::Line(it) if it == "e" => return Next::Edit,
                Answer::Line(it) if it == "k" => return Next::Keep,
                Answer::Line(_) => {}
                Answer::EndOfInput => return Next::Keep,
                Answer::Signal => return Next::Stop,
            }
        }
    }

    /// Says where two texts differ, not in what.
    fn tell_changes(&self, who: &str, before: &[u8], after: &[u8]) {
        let parsed = |text: &[u8]| PlainFile::parse(self.format, text).ok();
        let (Some(before), Some(after)) = (parsed(before), parsed(after)) else { return };
        let places = before.differences(&after);
        let places = if places.is_empty() { "comments or layout".to_owned() } else { places.join(", ") };
        ui::note(&format!("  {who}: {places}"));
    }

    fn key(&self) -> &DataKey {
        match (&self.before, &self.fresh) {
            (Some(Before { document, .. }), _) => &document.key,
            (None, Some((_, key))) => key,
            (None, None) => unreachable!("a file is there or new"),
        }
    }

    /// The text that the editor shows of a document, or of a new file.
    fn shown(&self, document: Option<&Document>) -> Result<Zeroizing<String>, Failure> {
        let (plain, metadata) = match (document, &self.fresh) {
            (Some(document), _) => {
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
    fn seal(&self, mut text: Zeroizing<Vec<u8>>) -> Result<Option<Edited>, Again> {
        let syntax = "Could not load tree, probably due to invalid syntax.";
        let invalid = "Tree not valid for encryption.";
        let again = |sops: &'static str| move |failure: Failure| Again { sops, failure };
        if self.is_merging
            && let Some(line) = merge::marker(&text)
        {
            let left = Failure::new(code::READ, format!("line {line} is a marker of a conflict"));
            return Err(again(syntax)(
                left.hint("choose between the two versions, or combine them; then remove the markers"),
            ));
        }
        let parse = |text: &[u8]| PlainFile::parse(self.format, text).map_err(|it| again(syntax)(error::parse(&it)));
        let label = self.source.label();
        let mut plain = document::parse_plain(self.session, &label, self.format, &mut text).map_err(again(syntax))?;
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
                plain = plain.stored_as(&document.plain);
                document.encrypted.reseal(leaves, &plain, metadata, &document.key, &SystemClock, &mut rng)
            }
            None => {
                document::refuse_plaintext(self.session, &label, &plain, &metadata.scope, self.allow_plaintext)
                    .map_err(again(invalid))?;
                plain.seal(metadata, self.key(), &SystemClock, &mut rng)
            }
        };
        let sealed = sealed.map_err(|it| again(invalid)(error::seal(&it)))?;
        plain.shed();
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

fn no_place(error: &io::Error) -> Failure {
    let reason = error::reason(error);
    Failure::new(code::WRITE, format!("no place for the text: {reason}"))
        .sops(format!("Could not create temporary file: {reason}"))
}

fn canceled() -> Failure {
    Failure::new(code::GENERIC, "stopped before anything was written").sops("User canceled operation")
}

/// The text is worth more than tidiness: it stays where it is.
fn kept(failure: Failure, scratch: Scratch) -> Failure {
    let place = scratch.keep();
    failure.hint(format!("what you wrote is kept, in plain text, in {}: remove it when you are done", place.display()))
}
