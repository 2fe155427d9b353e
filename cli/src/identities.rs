//! Where age identities are looked for, in SOPS's order, and where in vain (spec section 6.2).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use leafseal::keyservice::age::{FILE_LIMIT, Finder, Found, Spacing};
use zeroize::Zeroizing;

use crate::files;

const KEY: &str = "SOPS_AGE_KEY";
const KEY_CMD: &str = "SOPS_AGE_KEY_CMD";
const KEY_FILE: &str = "SOPS_AGE_KEY_FILE";
const SSH_CMD: &str = "SOPS_AGE_SSH_PRIVATE_KEY_CMD";
const SSH_FILE: &str = "SOPS_AGE_SSH_PRIVATE_KEY_FILE";

/// Reads an environment variable.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The places where identities lie. Nothing is read and no command runs until somebody asks; after
/// that, files are read once and commands run once for each recipient.
pub(crate) struct Identities {
    lookup: Lookup,
    fixed: OnceLock<(Found, bool)>,
    at_hand: OnceLock<Arc<Found>>,
    fetched: Mutex<HashMap<String, Arc<Found>>>,
}

impl Identities {
    /// The places that the environment names; `lookup` reads a variable.
    pub(crate) fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), fixed: OnceLock::new(), at_hand: OnceLock::new(), fetched: Mutex::default() }
    }

    /// Says where was looked so far, in one clause. `None` if nobody has asked.
    pub(crate) fn looked(&self) -> Option<String> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fetched.values().next().or(self.at_hand.get())?;
        let (places, missing) = (found.places().join(", "), found.missing().join(", "));
        Some(match (places.is_empty(), missing.is_empty()) {
            (true, _) => format!("looked in vain for age identities in {missing}"),
            (false, true) => format!("looked for age identities in {places}"),
            (false, false) => format!("looked for age identities in {places}, and in vain in {missing}"),
        })
    }

    fn var(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name)
    }

    /// What is at hand and, for a recipient, what the commands print.
    fn look(&self, recipient: Option<&str>) -> Found {
        let (mut found, mut opened) = self.fixed.get_or_init(|| self.read_fixed()).clone();
        if let (Some(recipient), Some(command)) = (recipient, self.var(SSH_CMD)) {
            match run(SSH_CMD, &command, recipient) {
                Ok(pem) => found.read_ssh_output(SSH_CMD, &pem),
                Err(it) => found.fault(it),
            }
        }
        if let (Some(recipient), Some(command)) = (recipient, self.var(KEY_CMD)) {
            match run(KEY_CMD, &command, recipient) {
                Ok(text) => {
                    opened = true;
                    found.read(KEY_CMD, &text, Spacing::Lines);
                }
                Err(it) => found.fault(it),
            }
        }
        // The user's own file counts as missing only if nothing else is there either.
        if !opened && found.is_empty() {
            match self.keys_file() {
                Ok(path) if !path.exists() => found.not_at(path.to_string_lossy()),
                Ok(_) => (),
                Err(it) => found.fault(format!("user config directory could not be determined: {it}")),
            }
        }
        found
    }

    /// Everything that is the same for all recipients, and whether there was a text to read.
    fn read_fixed(&self) -> (Found, bool) {
        let mut found = Found::default();
        match self.var(SSH_FILE) {
            Some(path) => read_ssh(Path::new(&path), &mut found),
            None => found.not_at(SSH_FILE),
        }
        if self.var(SSH_CMD).is_none() {
            found.not_at(SSH_CMD);
        }
        match home(std::env::consts::OS, &*self.lookup) {
            Ok(home) => {
                for name in ["id_ed25519", "id_rsa"] {
                    let path = home.join(".ssh").join(name);
                    match path.exists() {
                        true => read_ssh(&path, &mut found),
                        false => found.not_at(path.to_string_lossy()),
                    }
                }
            }
            Err(it) => found.fault(it),
        }
        let mut texts = Vec::new();
        match self.var(KEY) {
            Some(text) => texts.push((KEY.to_owned(), Zeroizing::new(text.into_encoded_bytes()), Spacing::Words)),
            None => found.not_at(KEY),
        }
        match self.var(KEY_FILE) {
            Some(path) => match read(Path::new(&path)) {
                Ok(text) => texts.push((KEY_FILE.to_owned(), text, Spacing::Lines)),
                Err(it) => found.fault(format!("failed to open {KEY_FILE} file: {it}")),
            },
            None => found.not_at(KEY_FILE),
        }
        if self.var(KEY_CMD).is_none() {
            found.not_at(KEY_CMD);
        }
        if let Ok(path) = self.keys_file()
            && path.exists()
        {
            match read(&path) {
                Ok(text) => texts.push((path.to_string_lossy().into_owned(), text, Spacing::Lines)),
                Err(it) => found.fault(format!("failed to open file: {it}")),
            }
        }
        for (location, text, spacing) in &texts {
            found.read(location, text, *spacing);
        }
        (found, !texts.is_empty())
    }

    /// Returns the user's own file of identities, whether it is there or not.
    pub(crate) fn keys_file(&self) -> Result<PathBuf, &'static str> {
        Ok(config_dir(std::env::consts::OS, &*self.lookup)?.join("sops").join("age").join("keys.txt"))
    }
}

impl Finder for Identities {
    fn find(&self, _recipient: &str) -> Arc<Found> {
        Arc::clone(self.at_hand.get_or_init(|| Arc::new(self.look(None))))
    }

    /// A command may unlock a password store, or ask another machine.
    fn fetch(&self, recipient: &str) -> Option<Arc<Found>> {
        if self.var(SSH_CMD).is_none() && self.var(KEY_CMD).is_none() {
            return None;
        }
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = fetched.get(recipient) {
            return Some(Arc::clone(found));
        }
        let found = Arc::new(self.look(Some(recipient)));
        fetched.insert(recipient.to_owned(), Arc::clone(&found));
        Some(found)
    }
}

/// The home directory on an operating system, as Go's `os.UserHomeDir` finds it.
fn home(os: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, &'static str> {
    let (name, error) = match os {
        "windows" => ("USERPROFILE", "%userprofile% is not defined"),
        _ => ("HOME", "$HOME is not defined"),
    };
    lookup(name).filter(|it| !it.is_empty()).map(PathBuf::from).ok_or(error)
}

/// The folder for users' configuration on an operating system, as Go's `os.UserConfigDir` finds it,
/// but that macOS minds `XDG_CONFIG_HOME` too.
fn config_dir(os: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, &'static str> {
    let xdg = lookup("XDG_CONFIG_HOME").filter(|it| !it.is_empty()).map(PathBuf::from);
    match (os, xdg) {
        ("windows", _) => {
            lookup("APPDATA").filter(|it| !it.is_empty()).map(PathBuf::from).ok_or("%AppData% is not defined")
        }
        ("macos", Some(folder)) => Ok(folder),
        ("macos", None) => Ok(home(os, lookup)?.join("Library").join("Application Support")),
        (_, Some(folder)) if folder.is_absolute() => Ok(folder),
        (_, Some(_)) => Err("path in $XDG_CONFIG_HOME is relative"),
        (_, None) => match home(os, lookup) {
            Ok(home) => Ok(home.join(".config")),
            Err(_) => Err("neither $XDG_CONFIG_HOME nor $HOME are defined"),
        },
    }
}

fn read_ssh(path: &Path, found: &mut Found) {
    match read(path) {
        Ok(pem) => found.read_ssh_file(&path.to_string_lossy(), &pem),
        Err(it) => found.fault(format!("failed to open file: {it}")),
    }
}

/// Reads a file that is not too large; the error names it.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = files::read_keys(path, FILE_LIMIT);
    bytes.map_err(|it| format!("open {}: {}", path.display(), reason(&it)))
}

/// Runs the command in a variable, without a shell, and returns what it prints. The error does not
/// repeat the command: there may be a secret in it.
fn run(variable: &str, command: &OsStr, recipient: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let parse = |why: &str| format!("failed to parse command in {variable}: {why}");
    let words = command.to_str().ok_or_else(|| parse("it is not UTF-8"))?;
    let words = shlex::split(words).ok_or_else(|| parse("EOF found when expecting closing quote"))?;
    let (program, arguments) = words.split_first().ok_or_else(|| parse("it is empty"))?;
    let execute = || -> io::Result<Zeroizing<Vec<u8>>> {
        let mut child = Command::new(program)
            .args(arguments)
            .env("SOPS_AGE_RECIPIENT", recipient)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().expect("the output was asked for");
        let output = files::read_some(output, 1 << 14, FILE_LIMIT);
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(status.to_string().replace("status: ", "status ")));
        }
        output
    };
    execute().map_err(|it| format!("failed to execute command in {variable}: {}", reason(&it)))
}

/// What went wrong, without the number that nobody knows.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use leafseal::keyservice::age::{Age, KIND};
    use leafseal::keyservice::{KeyService, age};
    use leafseal::secret::KeyPart;
    use pollster::block_on;

    use super::*;

    const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const OTHER: &str = "AGE-SECRET-KEY-1PGVRSPVDYJ3MJ2306REQANH8NEXFR44L8XWANYRMRVNVST84X32SGU3AH6";

    const NO_MATCH: &str = "failed to create reader for decrypting sops data key with age: identity did not match any \
                            of the recipients: incorrect identity for recipient block";

    /// A home directory, and what unwrapping says with these variables in it: nothing if it works.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary folder"))
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_str().expect("UTF-8").to_owned()
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("writable");
            std::fs::write(&path, text).expect("writable");
            self.path(name)
        }

        fn identities(&self, variables: &[(&str, &str)]) -> Identities {
            let mut all: HashMap<String, OsString> =
                variables.iter().map(|(name, it)| ((*name).to_owned(), it.into())).collect();
            all.entry("HOME".to_owned()).or_insert_with(|| self.path("").into());
            Identities::new(move |name| all.get(name).cloned())
        }

        fn unwrap(&self, variables: &[(&str, &str)]) -> String {
            let age = Age::new(self.identities(variables));
            let data_key = KeyPart::from_bytes(&[5; 32]).expect("32 bytes");
            let mut key = KIND.master_key(RECIPIENT).expect("a recipient");
            key.enc = Some(block_on(age.wrap(&key, &data_key)).expect("an age key").expect("wraps"));
            match block_on(age.unwrap(&key)).expect("an age key") {
                Ok(it) => {
                    assert_eq!(it.expose(), data_key.expose());
                    String::new()
                }
                Err(it) => it.to_string().replace(self.0.path().to_str().expect("UTF-8"), "~"),
            }
        }
    }

    #[test]
    fn every_source_is_found() {
        let home = Home::new();
        let file = home.write("keys", &format!("# a comment\r\n\r\n{SECRET}\r\n"));
        let cat = format!("cat '{file}'");
        let print = format!("sh -c 'test \"$SOPS_AGE_RECIPIENT\" = {RECIPIENT} && echo {SECRET}'");
        let config = home.path("config");
        home.write("config/sops/age/keys.txt", SECRET);
        for variables in [
            &[("SOPS_AGE_KEY", SECRET)][..],
            &[("SOPS_AGE_KEY", &format!("#\n{OTHER}  {SECRET}\n"))],
            &[("SOPS_AGE_KEY_FILE", &file)],
            &[("SOPS_AGE_KEY_CMD", &cat)],
            &[("SOPS_AGE_KEY_CMD", &print)],
            &[("XDG_CONFIG_HOME", &config)],
            &[("SOPS_AGE_KEY", "bad"), ("SOPS_AGE_KEY_FILE", &file)],
            &[("SOPS_AGE_KEY", OTHER), ("SOPS_AGE_KEY_CMD", "false"), ("SOPS_AGE_KEY_FILE", &file)],
        ] {
            assert_eq!(home.unwrap(variables), "", "{variables:?}");
        }
        home.write(".config/sops/age/keys.txt", SECRET);
        assert_eq!(home.unwrap(&[]), "");
    }

    /// The texts are those of SOPS 3.13.3, but that commands are named by their variable.
    #[test]
    fn what_was_looked_for_in_vain_is_told() {
        let home = Home::new();
        let other = home.write("other", OTHER);
        let cat = format!("cat '{other}'");
        let all = [
            "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
            "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
            "~/.ssh/id_ed25519",
            "~/.ssh/id_rsa",
            "SOPS_AGE_KEY",
            "SOPS_AGE_KEY_FILE",
            "SOPS_AGE_KEY_CMD",
            "~/.config/sops/age/keys.txt",
        ];
        let none = "failed to load age identities";
        let config = "~/.config/sops/age/keys.txt";
        let fault = |text: &str| format!("{none}. Errors while loading age identities: {text}");
        for (variables, start, but) in [
            (&[][..], none.to_owned(), &[][..]),
            (&[("SOPS_AGE_KEY", "foo")], fault("failed to parse 'SOPS_AGE_KEY' age identities: unknown identity type"), &["SOPS_AGE_KEY", config]),
            (
                &[("SOPS_AGE_KEY_FILE", "/nope")],
                fault("failed to open SOPS_AGE_KEY_FILE file: open /nope: no such file or directory"),
                &["SOPS_AGE_KEY_FILE"],
            ),
            (&[("SOPS_AGE_KEY_FILE", &other)], NO_MATCH.to_owned(), &["SOPS_AGE_KEY_FILE", config]),
            (
                &[("SOPS_AGE_KEY_CMD", "false")],
                fault("failed to execute command in SOPS_AGE_KEY_CMD: exit status 1"),
                &["SOPS_AGE_KEY_CMD"],
            ),
            (
                &[("SOPS_AGE_KEY_CMD", "echo 'x")],
                fault("failed to parse command in SOPS_AGE_KEY_CMD: EOF found when expecting closing quote"),
                &["SOPS_AGE_KEY_CMD"],
            ),
            (&[("SOPS_AGE_KEY_CMD", "")], fault("failed to parse command in SOPS_AGE_KEY_CMD: it is empty"), &["SOPS_AGE_KEY_CMD"]),
            (
                &[("XDG_CONFIG_HOME", "relative")],
                fault("user config directory could not be determined: path in $XDG_CONFIG_HOME is relative"),
                &[config],
            ),
            (
                &[("SOPS_AGE_SSH_PRIVATE_KEY_FILE", &other)],
                fault("malformed SSH identity in \"~/other\": ssh: no key found"),
                &["SOPS_AGE_SSH_PRIVATE_KEY_FILE"],
            ),
            (
                &[("SOPS_AGE_SSH_PRIVATE_KEY_CMD", &cat)],
                fault("malformed SSH identity returned by running SOPS_AGE_SSH_PRIVATE_KEY_CMD: \"ssh: no key found\""),
                &["SOPS_AGE_SSH_PRIVATE_KEY_CMD"],
            ),
            (
                &[("SOPS_AGE_KEY_FILE", &other), ("SOPS_AGE_KEY", "foo")],
                format!("{NO_MATCH}. Errors while loading age identities: failed to parse 'SOPS_AGE_KEY' age identities: unknown identity type"),
                &["SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", config],
            ),
            (
                &[("SOPS_AGE_KEY_FILE", &other), ("SOPS_AGE_KEY_CMD", &cat)],
                "failed to create reader for decrypting sops data key with age: no identity matched any of the recipients".to_owned(),
                &["SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", config],
            ),
        ] {
            let places: Vec<&str> = all.into_iter().filter(|it| !but.contains(it)).collect();
            let (last, most) = places.split_last().expect("there are more than two");
            let text = format!("{start}. Did not find keys in locations '{}', and '{last}'.", most.join("', '"));
            assert_eq!(home.unwrap(variables), text, "{variables:?}");
        }
        let empty = home.unwrap(&[("SOPS_AGE_KEY", "")]);
        assert!(empty.ends_with("'SOPS_AGE_KEY_CMD', and 'SOPS_AGE_KEY'."), "{empty}");
    }

    #[test]
    fn nothing_is_read_before_it_is_needed_and_nothing_twice() {
        let home = Home::new();
        let command = format!("sh -c 'echo x >> \"{}\"; echo {OTHER}'", home.path("ran"));
        let identities = Arc::new(home.identities(&[("SOPS_AGE_KEY_CMD", &command)]));
        let age = Age::new(Arc::clone(&identities));
        assert!(!Path::new(&home.path("ran")).exists() && identities.looked().is_none());
        let mut key = age::KIND.master_key(RECIPIENT).expect("a recipient");
        key.enc = Some("nonsense".to_owned());
        for _ in 0..3 {
            block_on(age.unwrap(&key)).expect("an age key").expect_err("nonsense");
        }
        assert_eq!(std::fs::read_to_string(home.path("ran")).expect("it ran"), "x\n");
        let looked = identities.looked().expect("somebody has asked");
        assert!(looked.starts_with("looked for age identities in SOPS_AGE_KEY_CMD, and in vain in SOPS_"), "{looked}");
        assert_eq!(looked.matches(", ").count(), 6);
    }

    #[test]
    fn the_config_folder_is_where_the_system_has_it() {
        for (os, variables, expected) in [
            ("linux", &[("HOME", "/h")][..], Ok("/h/.config")),
            ("linux", &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], Ok("/x")),
            ("linux", &[("HOME", "/h"), ("XDG_CONFIG_HOME", "x")], Err("path in $XDG_CONFIG_HOME is relative")),
            ("linux", &[("HOME", "/h"), ("XDG_CONFIG_HOME", "")], Ok("/h/.config")),
            ("linux", &[], Err("neither $XDG_CONFIG_HOME nor $HOME are defined")),
            ("macos", &[("HOME", "/h")], Ok("/h/Library/Application Support")),
            ("macos", &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], Ok("/x")),
            ("macos", &[], Err("$HOME is not defined")),
            ("windows", &[("APPDATA", "C:/u"), ("XDG_CONFIG_HOME", "/x")], Ok("C:/u")),
            ("windows", &[], Err("%AppData% is not defined")),
        ] {
            let lookup = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, it)| it.into());
            assert_eq!(config_dir(os, &lookup), expected.map(PathBuf::from), "{os} {variables:?}");
        }
    }
}
