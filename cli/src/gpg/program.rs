//! The program `gpg`, or whatever `SOPS_GPG_EXEC` names: started here and nowhere else, as SOPS starts it.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use leafseal::secret::KeyPart;
use zeroize::Zeroizing;

/// The variable that names another program.
pub(super) const VARIABLE: &str = "SOPS_GPG_EXEC";

/// The most that is taken from the program: a message is some thousand bytes long.
const OUTPUT_LIMIT: usize = 1 << 16;

/// The most that a list of secret keys may hold: each takes half a thousand bytes.
const LIST_LIMIT: usize = 1 << 22;

/// The most of its complaints that is kept.
const COMPLAINT_LIMIT: usize = 1 << 11;

/// How long complaints may come after the program has ended, from a child that it left.
const GRACE: Duration = Duration::from_millis(500);

/// How to start the program.
#[derive(Clone)]
pub(super) struct Program {
    name: OsString,
    is_named: bool,
    patience: Duration,
    home: Option<PathBuf>,
}

/// Why the program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// There is none.
    #[error("gpg is not in PATH")]
    None,
    /// The one that was named does not start.
    #[error("{VARIABLE} names {name:?}, which cannot be run: {reason}")]
    Named {
        /// What the variable says.
        name: OsString,
        /// Why not.
        reason: String,
    },
    /// It is there and cannot be run, or not be talked to.
    #[error("gpg cannot be run: {0}")]
    Io(String),
    /// It has not ended in time, and was ended.
    #[error("{name:?} has not ended within {} s", patience.as_secs_f32())]
    Slow {
        /// Which program.
        name: OsString,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It prints without end.
    #[error("{0:?} prints more than any message holds")]
    Endless(OsString),
    /// It failed, and this is what it says: SOPS's words for it come before.
    #[error("{0}")]
    Failed(String),
}

impl Program {
    /// The program that the environment names, or else `gpg`.
    pub(super) fn new(named: Option<OsString>, patience: Duration) -> Self {
        let named = named.filter(|it| !it.is_empty());
        Self { is_named: named.is_some(), name: named.unwrap_or_else(|| "gpg".into()), patience, home: None }
    }

    /// The same for a home that is not GnuPG's own.
    pub(super) fn in_home(&self, home: &Path) -> Self {
        Self { home: Some(home.to_owned()), ..self.clone() }
    }

    /// True if the environment names the program: then nothing else is to be used.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Decrypts a message.
    ///
    /// # Errors
    ///
    /// If the program says so, says nothing, or says it too late.
    pub(super) fn decrypt(&self, message: &str) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let output =
            self.run(&["-d".as_ref()], message.as_bytes(), OUTPUT_LIMIT, "failed to decrypt sops data key with pgp")?;
        match output.is_empty() {
            true => Err(ProgramError::Failed("zero bytes returned".to_owned())),
            false => Ok(output),
        }
    }

    /// Encrypts a data key to the key that is called `id`; the answer is an armoured message.
    ///
    /// # Errors
    ///
    /// As for [`decrypt`](Self::decrypt).
    pub(super) fn encrypt(&self, id: &str, part: &KeyPart) -> Result<String, ProgramError> {
        let args = [
            "--no-default-recipient",
            "--yes",
            "--encrypt",
            "-a",
            "-r",
            id,
            "--trusted-key",
            long_id(id),
            "--no-encrypt-to",
        ];
        let output =
            self.run(&args.map(OsStr::new), part.expose(), OUTPUT_LIMIT, "failed to encrypt sops data key with pgp")?;
        let text = std::str::from_utf8(&output).map(str::trim).unwrap_or_default();
        match text.starts_with("-----BEGIN PGP MESSAGE-----") {
            true => Ok(text.to_owned()),
            false => Err(ProgramError::Failed(format!("{:?} printed no message", self.name))),
        }
    }

    /// Asks which secret keys there are: their long key ids, in upper case.
    ///
    /// # Errors
    ///
    /// As for [`decrypt`](Self::decrypt).
    pub(super) fn secret_keys(&self) -> Result<Vec<String>, ProgramError> {
        let args = ["--batch", "--with-colons", "--list-secret-keys"].map(OsStr::new);
        let output = self.run(&args, b"", LIST_LIMIT, "failed to list the secret keys")?;
        Ok(key_ids(&String::from_utf8_lossy(&output)))
    }

    /// Runs the program to its end. `failure` is said before its complaints.
    fn run(
        &self,
        args: &[&OsStr],
        input: &[u8],
        limit: usize,
        failure: &str,
    ) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let mut child = Command::new(&self.name)
            .envs(self.home.iter().map(|it| ("GNUPGHOME", it)))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|it| self.not_started(&it))?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let (send_output, output) = channel();
        let (send_complaint, complaint) = channel();
        let input = Zeroizing::new(input.to_vec());
        // Three threads, because a program may write before it has read, and on both its outputs.
        thread::spawn(move || drop({ stdin }.write_all(&input)));
        thread::spawn(move || drop(send_output.send(read(stdout, limit))));
        thread::spawn(move || drop(send_complaint.send(read(stderr, COMPLAINT_LIMIT))));
        let (status, output) = self.finish(&mut child, &output, limit)?;
        if status.success() {
            return Ok(output);
        }
        let complaint = complaint.recv_timeout(GRACE).ok().and_then(Result::ok).unwrap_or_default();
        let complaint = one_line(&complaint);
        Err(ProgramError::Failed(match complaint.is_empty() {
            true => format!("{failure}: {:?} ended with {status} and said nothing", self.name),
            false => format!("{failure}: {complaint}"),
        }))
    }

    /// Waits for the output and the end, and ends the program if it is too late or prints too much.
    fn finish(
        &self,
        child: &mut Child,
        output: &Receiver<io::Result<Zeroizing<Vec<u8>>>>,
        limit: usize,
    ) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), ProgramError> {
        let until = Instant::now() + self.patience;
        let slow = || ProgramError::Slow { name: self.name.clone(), patience: self.patience };
        let printed = match output.recv_timeout(self.patience) {
            Ok(Ok(it)) if it.len() > limit => Err(ProgramError::Endless(self.name.clone())),
            Ok(Ok(it)) => Ok(it),
            Ok(Err(it)) => Err(ProgramError::Io(crate::error::reason(&it))),
            Err(_) => Err(slow()),
        };
        let result = printed.and_then(|printed| {
            loop {
                match child.try_wait() {
                    Ok(Some(status)) => return Ok((status, printed)),
                    Ok(None) if Instant::now() < until => thread::sleep(Duration::from_micros(200)),
                    Ok(None) => return Err(slow()),
                    Err(it) => return Err(ProgramError::Io(crate::error::reason(&it))),
                }
            }
        });
        if result.is_err() {
            // It may have ended in between: then there is nothing to end.
            drop(child.kill());
            drop(child.wait());
        }
        result
    }

    fn not_started(&self, error: &io::Error) -> ProgramError {
        match error.kind() {
            _ if self.is_named => ProgramError::Named { name: self.name.clone(), reason: crate::error::reason(error) },
            ErrorKind::NotFound => ProgramError::None,
            _ => ProgramError::Io(crate::error::reason(error)),
        }
    }
}

/// Reads to the end and keeps at most one byte more than `limit`. All room is reserved first: a
/// vector that grows leaves copies behind.
fn read(mut stream: impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(limit + 1));
    (&mut stream).take(limit as u64 + 1).read_to_end(&mut kept)?;
    // A program that cannot write its complaints would stop.
    if kept.len() > limit && limit == COMPLAINT_LIMIT {
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(kept)
}

/// The last 16 digits of a fingerprint, with its `!` if it has one, as SOPS shortens it.
fn long_id(id: &str) -> &str {
    let digits = 16 + usize::from(id.ends_with('!'));
    let at = id.len().saturating_sub(digits);
    id.get(at..).unwrap_or(id)
}

/// Complaints as one line, at most as many as are of use.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(COMPLAINT_LIMIT)]);
    let lines = text.lines().map(|line| line.chars().filter(|it| !it.is_control()).collect::<String>());
    let lines = lines.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

/// The key ids in a listing with colons (GnuPG: `doc/DETAILS`): field 5 of `sec` and `ssb`.
fn key_ids(listing: &str) -> Vec<String> {
    let key_id = |line: &str| {
        let mut fields = line.split(':');
        matches!(fields.next(), Some("sec" | "ssb")).then(|| fields.nth(3).unwrap_or_default().to_ascii_uppercase())
    };
    listing.lines().filter_map(key_id).filter(|it| !it.is_empty()).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that is this script.
    fn script(text: &str) -> (tempfile::TempDir, Program) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a gpg");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        (folder, Program::new(Some(path.into()), Duration::from_secs(120)))
    }

    fn decrypt(text: &str) -> Result<String, String> {
        decrypt_within(Duration::from_secs(120), text)
    }

    fn decrypt_within(patience: Duration, text: &str) -> Result<String, String> {
        let (folder, program) = script(text);
        let program = Program { patience, ..program };
        let result = program.decrypt("a message");
        let root = folder.path().to_str().expect("UTF-8");
        result.map(|it| String::from_utf8_lossy(&it).into_owned()).map_err(|it| it.to_string().replace(root, "~"))
    }

    #[test]
    fn what_the_program_prints_is_the_data_key_and_nothing_else_is() {
        assert_eq!(decrypt("test \"$*\" = -d && cat"), Ok("a message".to_owned()));
        assert_eq!(decrypt("echo key"), Ok("key\n".to_owned()), "what does not read its input");
        let failed = |it: &str| Err(format!("failed to decrypt sops data key with pgp: {it}"));
        assert_eq!(decrypt("echo half; echo 'gpg: a' >&2; echo ' gpg: b' >&2; exit 2"), failed("gpg: a; gpg: b"));
        assert_eq!(decrypt("exit 3"), failed("\"~/a gpg\" ended with exit status: 3 and said nothing"));
        assert_eq!(decrypt("exit 0"), Err("zero bytes returned".to_owned()));
        assert_eq!(decrypt("sleep 0.3 & echo key"), Ok("key\n".to_owned()), "what leaves a child");
        for hangs in ["exec >&-; exec sleep 600", "exec sleep 600"] {
            let late = Err("\"~/a gpg\" has not ended within 2 s".to_owned());
            assert_eq!(decrypt_within(Duration::from_secs(2), hangs), late);
        }
        assert_eq!(decrypt("exec cat /dev/zero"), Err("\"~/a gpg\" prints more than any message holds".to_owned()));
        let long = decrypt("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").expect_err("it fails");
        assert!(long.len() < COMPLAINT_LIMIT + 100, "{}", long.len());
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let program = |name: &str| Program::new(Some(name.into()), Duration::from_secs(1));
        for (name, reason) in [
            ("/nonexistent/gpg", "no such file or directory"),
            ("/", "permission denied"),
            ("/etc/passwd", "permission denied"),
        ] {
            let error = program(name).decrypt("").expect_err("it is no program").to_string();
            assert_eq!(error, format!("SOPS_GPG_EXEC names {name:?}, which cannot be run: {reason}"));
        }
        assert!(!program("").is_named());
    }

    #[test]
    fn a_message_is_asked_for_as_sops_asks() {
        let part = KeyPart::from_bytes(&[b'k'; 32]).expect("32 bytes");
        let args = "--no-default-recipient --yes --encrypt -a -r 0123456789ABCDEF0123456789ABCDEF! --trusted-key \
                    0123456789ABCDEF! --no-encrypt-to";
        let text = format!("test \"$*\" = '{args}' && echo '-----BEGIN PGP MESSAGE-----' && cat && echo && echo");
        let (_folder, program) = script(&text);
        let message = program.encrypt("0123456789ABCDEF0123456789ABCDEF!", &part).expect("it prints");
        assert_eq!(message, format!("-----BEGIN PGP MESSAGE-----\n{}", "k".repeat(32)));
        let (_folder, program) = script("echo hello");
        assert!(program.encrypt("x", &part).is_err_and(|it| it.to_string().ends_with("printed no message")));
        for (id, long) in [
            ("", ""),
            ("ABCD", "ABCD"),
            ("x0123456789ABCDEF", "0123456789ABCDEF"),
            ("ü".repeat(20).as_str(), "ü".repeat(8).as_str()),
        ] {
            assert_eq!(long_id(id), long);
        }
    }

    #[test]
    fn secret_keys_are_listed_by_their_ids() {
        let listing = "sec:u:255:22:93F56BAD610A1F5B:1795269193:::u:::scESC:::+::ed25519:::0:\nfpr:::::::::AA:\n\
                       grp:::::::::BB:\nuid:u::::1795269193::CC::Test:\nssb:u:255:18:6008082048581465:1795269193::::::e:\n";
        assert_eq!(key_ids(listing), ["93F56BAD610A1F5B", "6008082048581465"]);
        assert!(key_ids("").is_empty() && key_ids("sec\nsec:::").is_empty());
    }
}
