//! Everything that can go wrong, as people see it: `error:` and `hint:` lines and an exit code.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use leafseal::file::{ExtractError, LoadError, OpenError, SealError};
use leafseal::format::{EditError, ParseError, ParseErrorKind};
use leafseal::key_path::{KeyPath, KeyPathError};
use leafseal::keyring::WrapError;

use crate::session::Mode;

/// The exit codes, which are SOPS's (spec section 8.19), because scripts depend on them.
pub(crate) mod code {
    /// Everything that has no number of its own.
    pub(crate) const GENERIC: u8 = 1;
    /// The input cannot be read.
    pub(crate) const READ: u8 = 2;
    /// The output cannot be written.
    pub(crate) const WRITE: u8 = 3;
    /// The document cannot be said in that format.
    pub(crate) const PRINT: u8 = 4;
    /// A path or value for `set` or `unset`.
    pub(crate) const SET: u8 = 7;
    /// Flags that exclude each other.
    pub(crate) const CONFLICT: u8 = 8;
    /// `recipients plan --check` found something to do. Not a code of SOPS.
    pub(crate) const TO_DO: u8 = 20;
    /// A document that cannot be encrypted.
    pub(crate) const ENCRYPT: u8 = 23;
    /// A value that does not decrypt.
    pub(crate) const DECRYPT: u8 = 25;
    /// Keys to be added to a file that is not there.
    pub(crate) const KEYS_OF_NO_FILE: u8 = 49;
    /// The MAC.
    pub(crate) const MAC: u8 = 51;
    /// A path for `--extract`.
    pub(crate) const EXTRACT: u8 = 91;
    /// No document at all.
    pub(crate) const EMPTY: u8 = 92;
    /// No file named, or none there.
    pub(crate) const NO_FILE: u8 = 100;
    /// `--decryption-order` names a kind twice.
    pub(crate) const ORDER: u8 = 112;
    /// No master key gave the data key.
    pub(crate) const NO_KEY: u8 = 128;
    /// Nobody reads what is printed any more: as a shell shows a program that SIGPIPE has ended.
    pub(crate) const CLOSED_PIPE: u8 = 128 + 13;
    /// The editor changed nothing.
    pub(crate) const UNCHANGED: u8 = 200;
    /// The editor could not be run.
    pub(crate) const EDITOR: u8 = 201;
    /// The file is encrypted already.
    pub(crate) const ENCRYPTED: u8 = 203;
}

/// The text of SOPS for a document with a `sops` entry of its own.
const ALREADY_ENCRYPTED: &str = "The file you have provided contains a top-level entry called 'sops', or for flat file \
    formats top-level entries starting with 'sops_'. This is generally due to the file already being encrypted. SOPS \
    uses a top-level entry called 'sops' to store the metadata required to decrypt the file. For this reason, SOPS can \
    not encrypt files that already contain such an entry.\n\nIf this is an unencrypted file, rename the 'sops' \
    entry.\n\nIf this is an encrypted file and you want to edit it, use the editor mode, for example: `sops edit \
    my_file.yaml`";

/// Why a command did not do what it was asked for.
///
/// None of its texts ever holds a value: places, names and reasons only.
#[derive(Debug)]
pub(crate) struct Failure(Box<Report>);

#[derive(Debug, Default)]
struct Report {
    code: u8,
    at: Option<String>,
    what: String,
    sops: Option<String>,
    fatal_log: bool,
    details: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure in our own words: one clause, lower case, no stop.
    pub(crate) fn new(code: u8, what: impl Into<String>) -> Self {
        Self(Box::new(Report { code, what: what.into(), ..Report::default() }))
    }

    /// A failure without words: what there was to say has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// What SOPS says, which drop-in mode shows first. Without it, the text is the same in both.
    #[must_use]
    pub(crate) fn sops(mut self, text: impl Into<String>) -> Self {
        self.0.sops = Some(text.into());
        self
    }

    /// In drop-in mode, the text is a log line of level `fatal`.
    #[must_use]
    pub(crate) fn fatal_log(mut self) -> Self {
        self.0.fatal_log = true;
        self
    }

    /// The file, or whatever else is to blame.
    #[must_use]
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.0.at = Some(place.into());
        self
    }

    /// The file to blame.
    #[must_use]
    pub(crate) fn at_path(self, path: &Path) -> Self {
        self.at(path.display().to_string())
    }

    /// A line below the first.
    #[must_use]
    pub(crate) fn detail(mut self, line: impl Into<String>) -> Self {
        self.0.details.push(line.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.0.hints.push(text.into());
        self
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.0.code
    }

    /// The file, or whatever else is to blame.
    pub(crate) fn place(&self) -> Option<&str> {
        self.0.at.as_deref()
    }

    /// The reason alone, for a line that says more around it.
    pub(crate) fn reason(&self, mode: Mode) -> &str {
        match (&self.0.sops, mode) {
            (Some(text), Mode::DropIn) => text,
            _ => &self.0.what,
        }
    }

    /// Everything there is to say, without colour, each line ended.
    pub(crate) fn render(&self, mode: Mode) -> String {
        let Report { code: _, at, what, sops, fatal_log, details, hints } = &*self.0;
        let mut text = String::new();
        let mut says_details = true;
        if what.is_empty() && sops.is_none() {
            return text;
        }
        let place = at.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
        match mode {
            Mode::Leafseal => _ = writeln!(text, "error: {place}{what}"),
            Mode::DropIn => {
                let first = self.reason(mode);
                // A report of several lines is complete.
                says_details = !first.contains("\n\n");
                match fatal_log {
                    true => text += &crate::ui::log_line("fatal", first),
                    false => _ = writeln!(text, "{first}"),
                }
                if sops.is_some() && !what.is_empty() && !first.contains(what.as_str()) {
                    _ = writeln!(text, "{place}{what}");
                } else if let Some(at) = at.as_ref().filter(|it| !first.contains(it.as_str())) {
                    _ = writeln!(text, "  in {at}");
                }
            }
        }
        for line in details.iter().filter(|_| says_details) {
            _ = writeln!(text, "  {line}");
        }
        for hint in hints {
            _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

/// Wraps `text` at `width` columns, between words only, as SOPS wraps its long messages.
pub(crate) fn wrap(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// What went wrong with a file, in Go's words: `no such file or directory`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// A file that should be encrypted cannot be used.
pub(crate) fn load(error: &LoadError) -> Failure {
    match error {
        LoadError::NotEncrypted => Failure::new(code::GENERIC, "the file is not encrypted: it has no sops metadata")
            .sops("sops metadata not found")
            .hint("`encrypt` encrypts a file for the first time; if it is not what its name says, use --input-type"),
        LoadError::Metadata(it) => Failure::new(code::GENERIC, it.to_string()),
        LoadError::Parse(it) => {
            // SOPS takes a file of no bytes for one that is not encrypted.
            let is_empty = it.kind == ParseErrorKind::Empty;
            let sops = if is_empty { "sops metadata not found".to_owned() } else { it.message.clone() };
            Failure::new(code::GENERIC, with_place(it)).sops(sops)
        }
    }
}

/// A plain document cannot be used.
pub(crate) fn parse(error: &ParseError) -> Failure {
    let code = match error.kind {
        ParseErrorKind::Syntax => code::READ,
        ParseErrorKind::Empty => code::EMPTY,
        ParseErrorKind::NotEncryptable => code::ENCRYPT,
    };
    let failure = Failure::new(code, with_place(error));
    match error.kind {
        ParseErrorKind::Syntax => failure.sops(format!("Error unmarshalling file: {error}")),
        ParseErrorKind::Empty => failure.sops("File cannot be completely empty, it must contain at least one document"),
        ParseErrorKind::NotEncryptable => failure.sops(format!("Error walking tree: {error}")),
    }
}

/// A file does not open.
pub(crate) fn open(error: &OpenError) -> Failure {
    match error {
        OpenError::Leaf { at, reason } => Failure::new(code::DECRYPT, format!("{at}: {}", plain_words(reason)))
            .sops(format!("Error decrypting tree: Error walking tree: Could not decrypt value: {reason}"))
            .hint("it was changed, moved or renamed without the key: compare the file with an earlier version"),
        OpenError::NoMac => Failure::new(code::MAC, error.to_string())
            .sops("MAC mismatch. File has no MAC, computed another")
            .hint("--ignore-mac reads it all the same; do that only if you know why the MAC is missing"),
        OpenError::MacUnreadable(_) => Failure::new(code::MAC, error.to_string())
            .sops("Cannot decrypt MAC")
            .hint("`mac` or `lastmodified` was changed by hand: compare the file with an earlier version")
            .hint("--ignore-mac reads it all the same"),
        OpenError::MacMismatch => Failure::new(code::MAC, error.to_string())
            .sops("MAC mismatch.")
            .hint("someone or something changed it without the key: compare it with an earlier version")
            .hint("--ignore-mac reads it all the same"),
        OpenError::Parse(it) => parse(it),
    }
}

/// A document cannot be sealed.
pub(crate) fn seal(error: &SealError) -> Failure {
    match error {
        SealError::Leaf { at, reason } => Failure::new(code::ENCRYPT, format!("{at}: {reason}"))
            .sops(format!("Error encrypting tree: Error walking tree: {reason}")),
        SealError::AlreadyEncrypted => already_encrypted(),
        SealError::Parse(it) => parse(it),
    }
}

/// A document says that it is encrypted already.
pub(crate) fn already_encrypted() -> Failure {
    Failure::new(code::ENCRYPTED, SealError::AlreadyEncrypted.to_string())
        .sops(wrap(ALREADY_ENCRYPTED, 75))
        .hint("to change an encrypted file use `edit` or `set`; to keep such an entry, rename it")
}

/// Something cannot be extracted or printed; `sops` is what SOPS says before the reason.
pub(crate) fn extract(error: &ExtractError, sops: &str) -> Failure {
    match error {
        ExtractError::Path(text) => {
            Failure::new(code::GENERIC, text.clone()).sops(format!("error truncating tree: {text}"))
        }
        ExtractError::Print(it) => Failure::new(code::PRINT, it.to_string())
            .sops(format!("{sops}: {it}"))
            .hint("choose another format with --output-type"),
        ExtractError::Parse(it) => parse(it),
    }
}

/// The path that `command`, `set` or `unset`, was given cannot be read.
pub(crate) fn path(error: &KeyPathError, command: &str) -> Failure {
    Failure::new(code::SET, error.to_string())
        .at(command)
        .sops(format!("Invalid {command} index format"))
        .hint("a path is written like this: '[\"key\"][0][\"other key\"]'")
}

/// An edit at `at` does not fit.
pub(crate) fn edit(error: &EditError, at: &KeyPath) -> Failure {
    let code = match error {
        EditError::KeyNotFound(_) | EditError::OutOfBounds(_) | EditError::WrongType { .. } => code::GENERIC,
        EditError::Reserved(_) => code::ENCRYPTED,
        EditError::Root => code::SET,
        EditError::Tangled => code::GENERIC,
        EditError::Print(_) => code::PRINT,
        EditError::Parse(it) => return parse(it),
    };
    let why = match error {
        EditError::KeyNotFound(key) => format!("there is no key {key:?}"),
        EditError::OutOfBounds(_) => "the list has no such item".to_owned(),
        EditError::WrongType { found: "mapping", step } => {
            format!("a mapping has no item {step}: its entries are named by their keys")
        }
        EditError::WrongType { found: "list", step } => {
            format!("a list has no key {step:?}: its items are numbered from 0, comments counted")
        }
        EditError::WrongType { step, .. } => format!("there is nothing inside a single value, so no {step:?}"),
        _ => return Failure::new(code, error.to_string()),
    };
    Failure::new(code, format!("{at}: {why}")).sops(error.to_string())
}

/// A data key was not wrapped to every key. `sops` is what SOPS says before the reason.
pub(crate) fn wrap_key(error: &WrapError, sops: &str, code: u8) -> Failure {
    let failure = Failure::new(code, error.to_string()).sops(format!("{sops}: [{error}]"));
    match error {
        WrapError::EmptyGroup(0) => failure.hint("name a recipient: with --age, or in a creation rule"),
        WrapError::EmptyGroup(n) => failure.hint(format!("group {n}, counted from 0, would be left without a key")),
        WrapError::Split { threshold, groups, .. } => {
            failure.hint(format!("shamir_threshold is {threshold} and there are {groups} key groups"))
        }
        WrapError::Keys(keys) if keys.len() > 1 => {
            let what = format!("the data key could not be wrapped to {} keys", keys.len());
            let failure = Failure::new(code, what).sops(format!("{sops}: [{error}]"));
            keys.iter().fold(failure, |failure, it| failure.detail(format!("{} {}: {}", it.kind, it.id, it.reason)))
        }
        WrapError::NoGroups => failure.hint("nobody could open a file without key groups: one has to stay"),
        WrapError::Keys(_) => failure,
    }
}

/// A parse error's text, with its place if the text does not say it.
pub(crate) fn with_place(error: &ParseError) -> String {
    let ParseError { message, line, column, .. } = error;
    let message = plain_words(message);
    match (line, column) {
        (0, _) => message,
        _ if message.contains("line ") => message,
        (line, 0) => format!("line {line}: {message}"),
        (line, column) => format!("line {line}, column {column}: {message}"),
    }
}

/// What SOPS says, without the names of its parts.
pub(crate) fn plain_words(message: &str) -> String {
    let mut words = message;
    for prefix in [
        "error loading config: ",
        "Could not unmarshal config file: ",
        "yaml: ",
        "unmarshal errors:\n  ",
        "Could not unmarshal input data: ",
    ] {
        words = words.strip_prefix(prefix).unwrap_or(words);
    }
    if words == "EOF" || words.starts_with("File cannot be completely empty") {
        return "there is no document in it".to_owned();
    }
    words
        .replace("cannot unmarshal !!seq into map[string]interface {}", "the document is a list and must be a mapping")
        .replace("cannot unmarshal !!str into map[string]interface {}", "the document is a text and must be a mapping")
        .replace(
            "Could not decrypt with AES_GCM: cipher: message authentication failed",
            "what is here was not encrypted with this key for this place, or has been changed",
        )
}

/// Adds what can be told from the bytes of a file that is not in its format.
pub(crate) fn explain(failure: Failure, bytes: &[u8]) -> Failure {
    let marker = |line: &[u8]| [b"<<<<<<< ".as_slice(), b"||||||| ", b">>>>>>> "].iter().any(|it| line.starts_with(it));
    let mut lines = bytes.split(|it| *it == b'\n');
    if let Some(line) = lines.position(marker) {
        let line = line + 1;
        return failure.hint(format!("line {line} looks like an unresolved merge: resolve it first"));
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => failure,
        Err(_) => failure.hint("text must be in UTF-8: convert it first, for example with `iconv -t UTF-8`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_its_mode_asks() {
        let failure = || {
            Failure::new(51, "the file has been changed")
                .at("a.yaml")
                .sops("MAC mismatch.")
                .detail("group 0")
                .hint("look")
        };
        let leafseal = "error: a.yaml: the file has been changed\n  group 0\nhint: look\n";
        assert_eq!(failure().render(Mode::Leafseal), leafseal);
        let drop_in = "MAC mismatch.\na.yaml: the file has been changed\n  group 0\nhint: look\n";
        assert_eq!(failure().render(Mode::DropIn), drop_in);
        let place = Failure::new(1, "nothing fits").at("a.yaml").render(Mode::DropIn);
        assert_eq!(place, "nothing fits\n  in a.yaml\n");
        assert!(failure().fatal_log().render(Mode::DropIn).starts_with("[CMD]\t time="));
        assert_eq!(Failure::silent(1).render(Mode::Leafseal), "");
    }

    #[test]
    fn a_file_that_is_encrypted_already_is_named_in_the_words_of_sops() {
        let text = already_encrypted().render(Mode::DropIn);
        let first: Vec<_> = text.lines().take(3).collect();
        assert_eq!(first[0], "The file you have provided contains a top-level entry called 'sops', or for");
        assert_eq!(first[1], "flat file formats top-level entries starting with 'sops_'. This is");
        assert!(first[2].starts_with("generally due to the file already being encrypted. SOPS u"));
    }

    #[test]
    fn parsers_speak_plainly() {
        let kind = ParseErrorKind::Syntax;
        let said =
            |message: &str, line, column| with_place(&ParseError { message: message.into(), line, column, kind });
        let list = "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into map[string]interface {}";
        assert_eq!(said(list, 1, 1), "line 1: the document is a list and must be a mapping");
        assert_eq!(said("yaml: line 2: found bad indentation", 2, 1), "line 2: found bad indentation");
        assert_eq!(said("Could not unmarshal input data: EOF", 3, 4), "line 3, column 4: there is no document in it");
    }

    #[test]
    fn what_a_text_shows_is_explained() {
        let hint = |bytes: &[u8]| explain(Failure::new(1, "x"), bytes).render(Mode::Leafseal);
        assert_eq!(hint(b"a: 1\n"), "error: x\n");
        assert!(hint(b"a: 1\n<<<<<<< HEAD\nb: 2\n").contains("line 2 looks like an unresolved merge"));
        assert!(hint(b"a: \xff\n").contains("UTF-8"));
    }

    #[test]
    fn reasons_are_spelt_as_go_spells_them() {
        let error = std::fs::read("/nonexistent/file").expect_err("there is no such file");
        assert_eq!(reason(&error), "no such file or directory");
    }
}
