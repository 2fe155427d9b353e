//! A GnuPG home of its own for one test: keys made on the spot, the agent ended with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Outcome, Place};

/// A home directory of GnuPG. Its path is short: sockets lie in it.
pub struct Gnupg {
    program: PathBuf,
    dir: TempDir,
    /// The home itself, which may lie deeper.
    path: PathBuf,
}

impl Gnupg {
    /// Makes an empty one, for `program`.
    ///
    /// # Panics
    ///
    /// If there is no folder for it.
    pub fn new(program: &Path) -> Self {
        Self::called(program, "")
    }

    /// Makes one that is called `name`, in a folder of its own.
    ///
    /// # Panics
    ///
    /// If there is no folder for it.
    pub fn called(program: &Path, name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("lg").tempdir_in("/tmp").expect("/tmp is writable");
        let path = if name.is_empty() { dir.path().to_owned() } else { dir.path().join(name) };
        fs::create_dir_all(&path).expect("a new folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Self { program: program.to_owned(), dir, path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder that is there as long as the home, and may be the same.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the home.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).expect("a new folder is writable");
    }

    /// Writes a program for `/bin/sh` into the folder.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a new folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// A command for a program of GnuPG that works on this home.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("GNUPGHOME", self.path())
            .env("LANG", "C.UTF-8")
            .current_dir(self.path());
        command
    }

    /// Runs gpg, which asks nobody and trusts every key.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Outcome {
        let always = ["--batch", "--quiet", "--no-tty", "--trust-model", "always", "--pinentry-mode", "loopback"];
        Place::finish(self.command(&self.program).args(always).args(args), input)
    }

    /// Runs another program of GnuPG, which must succeed, and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn tool(&self, program: &str, args: &[&str]) -> Vec<u8> {
        let outcome = Place::finish(self.command(program).args(args), b"");
        outcome.ok().unwrap_or_else(|error| panic!("{program} {args:?}: {error}"))
    }

    /// Ends the agent. The next one reads its configuration anew, and remembers nothing.
    pub fn end_agent(&self) {
        self.tool("gpgconf", &["--kill", "gpg-agent"]);
        // It answers before it ends, and until then it lets others in.
        let socket = self.path().join("S.gpg-agent");
        for _ in 0..200 {
            if UnixStream::connect(&socket).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs gpg, which must succeed, and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn ok(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        self.run(args, input).ok().unwrap_or_else(|error| panic!("gpg {args:?}: {error}"))
    }

    /// Makes a certificate for `user` and returns its fingerprint. `kind`, `usage` and `expires` are as
    /// for `--quick-generate-key`; with an empty passphrase there is none.
    pub fn generate(&self, options: &[&str], user: &str, kind: [&str; 3], passphrase: &str) -> String {
        let [algorithm, usage, expires] = kind;
        let args = ["--passphrase", passphrase, "--quick-generate-key", user, algorithm, usage, expires];
        self.ok(&[options, &args].concat(), b"");
        self.fingerprints(user).swap_remove(0)
    }

    /// Adds a subkey.
    pub fn add(&self, options: &[&str], fingerprint: &str, kind: [&str; 3], passphrase: &str) {
        let [algorithm, usage, expires] = kind;
        let args = ["--passphrase", passphrase, "--quick-add-key", fingerprint, algorithm, usage, expires];
        self.ok(&[options, &args].concat(), b"");
    }

    /// Makes what `--generate-key` makes of these lines, without a passphrase.
    pub fn generate_from(&self, user: &str, lines: &str) -> String {
        let text = format!("%no-protection\n{lines}\nName-Real: {user}\n%commit\n");
        self.ok(&["--generate-key"], text.as_bytes());
        self.fingerprints(user).swap_remove(0)
    }

    /// Makes a certificate whose subkey is of this kind, as `--quick-add-key` names it; ElGamal is made
    /// from parameters, and without a passphrase. Its user id is the kind.
    pub fn encryption_key(&self, kind: &str, passphrase: &str) -> String {
        if kind == "elgamal" {
            return self
                .generate_from(kind, "Key-Type: DSA\nKey-Length: 1024\nSubkey-Type: ELG-E\nSubkey-Length: 1024");
        }
        let fingerprint = self.generate(&[], kind, ["ed25519", "cert", "never"], passphrase);
        self.add(&[], &fingerprint, [kind, "encr", "never"], passphrase);
        fingerprint
    }

    /// The name that the agent has for the last subkey.
    ///
    /// # Panics
    ///
    /// If there is no such certificate.
    pub fn grip(&self, fingerprint: &str) -> String {
        let listing = self.ok(&["--with-colons", "--with-keygrip", "--list-keys", fingerprint], b"");
        let listing = String::from_utf8_lossy(&listing).into_owned();
        let grip =
            listing.lines().filter(|it| it.starts_with("grp:")).filter_map(|it| it.split(':').nth(9)).next_back();
        grip.expect("there is a subkey").to_owned()
    }

    /// Returns the fingerprints of a certificate: the primary key's, then the subkeys'.
    pub fn fingerprints(&self, user: &str) -> Vec<String> {
        let listing = self.ok(&["--with-colons", "--list-keys", user], b"");
        let listing = String::from_utf8_lossy(&listing).into_owned();
        let lines = listing.lines().filter(|it| it.starts_with("fpr:"));
        lines.filter_map(|it| it.split(':').nth(9)).map(str::to_owned).collect()
    }

    /// Returns a certificate in binary form.
    pub fn certificate(&self, user: &str) -> Vec<u8> {
        self.ok(&["--export", user], b"")
    }

    /// Returns a certificate with its secret keys in binary form.
    pub fn secret(&self, user: &str, passphrase: &str) -> Vec<u8> {
        self.ok(&["--passphrase", passphrase, "--export-secret-keys", user], b"")
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        // The agent would end by itself when its folder is gone, but only after a while. A stopped one
        // would not hear of its end.
        _ = self.command("timeout").args(["10", "gpgconf", "--kill", "all"]).current_dir("/").status();
    }
}
