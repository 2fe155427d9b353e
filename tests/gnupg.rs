//! A GnuPG home of its own for one test: keys made on the spot, the agent ended with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Outcome, Place};

/// A home directory of GnuPG. Its path is short: sockets lie in it.
pub struct Gnupg {
    program: PathBuf,
    dir: TempDir,
}

impl Gnupg {
    /// Makes an empty one, for `program`.
    ///
    /// # Panics
    ///
    /// If there is no folder for it.
    pub fn new(program: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new().prefix("lsg-").tempdir_in("/tmp").expect("/tmp is writable");
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).expect("it is ours");
        Self { program: program.to_owned(), dir }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs gpg, which asks nobody.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("GNUPGHOME", self.path())
            .env("LANG", "C.UTF-8")
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--no-auto-check-trustdb"])
            .args(args)
            .current_dir(self.path());
        Place::finish(&mut command, input)
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
        // The agent would end by itself when its folder is gone, but only after a while.
        _ = Command::new("gpgconf").arg("--homedir").arg(self.path()).args(["--kill", "all"]).status();
    }
}
