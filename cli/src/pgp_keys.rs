//! Where OpenPGP keys are looked for: files that are named, variables, GnuPG's keyrings.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use leafseal::keyservice::Prompt;
use leafseal::keyservice::pgp::{Certificates, Finder, KEY_FILE_LIMIT, RING_LIMIT, SecretKeys};
use leafseal::secret::SecretText;
use zeroize::Zeroizing;

use crate::error::reason;
use crate::files;
use crate::gpg::home::GnupgHome;

const CERT_FILE: &str = "LEAFSEAL_PGP_CERT_FILE";
const KEY: &str = "LEAFSEAL_PGP_KEY";
const KEY_FILE: &str = "LEAFSEAL_PGP_KEY_FILE";
const PASSPHRASE_FILE: &str = "LEAFSEAL_PGP_PASSPHRASE_FILE";

/// The program that users of SOPS put in the place of gpg. Who names one wants it to be asked.
const GPG: &str = "SOPS_GPG_EXEC";

/// Reads an environment variable.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The places where OpenPGP keys lie. Nothing is read until somebody asks, and nothing twice.
pub(crate) struct PgpKeys {
    lookup: Lookup,
    certificates: OnceLock<Arc<Certificates>>,
    secret_keys: OnceLock<Arc<SecretKeys>>,
}

/// Answers with the passphrase in a file if one is named, else asks others.
pub(crate) struct Passphrase {
    lookup: Lookup,
    read: OnceLock<Option<SecretText>>,
    others: Box<dyn Prompt>,
}

impl PgpKeys {
    /// The places that the environment names; `lookup` reads a variable.
    pub(crate) fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), certificates: OnceLock::new(), secret_keys: OnceLock::new() }
    }

    fn var(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|it| !it.is_empty())
    }

    /// Named files come first, then the public halves of secret keys that are named, then what
    /// GnuPG has.
    fn read_certificates(&self) -> Certificates {
        let mut found = Certificates::default();
        match self.var(CERT_FILE) {
            Some(paths) => std::env::split_paths(&paths).for_each(|path| match files::read_keys(&path, RING_LIMIT) {
                Ok(mut bytes) => found.read(&path.to_string_lossy(), std::mem::take(&mut *bytes)),
                Err(it) => found.fault(format!("open {}: {}", path.display(), reason(&it))),
            }),
            None => found.not_at(CERT_FILE),
        }
        let secret_keys = self.secret_keys();
        if !secret_keys.is_empty() {
            found.read(KEY_FILE, secret_keys.certificates().to_vec());
        }
        for home in GnupgHome::all(&*self.lookup) {
            home.read_old_keyring(&mut found);
            if self.var(GPG).is_none() {
                home.read_keybox(&mut found);
            }
        }
        found
    }

    fn read_secret_keys(&self) -> SecretKeys {
        let mut found = SecretKeys::default();
        match self.var(KEY) {
            Some(text) => found.read(KEY, &Zeroizing::new(text.into_encoded_bytes())),
            None => found.not_at(KEY),
        }
        match self.var(KEY_FILE) {
            Some(paths) => {
                std::env::split_paths(&paths).for_each(|path| match files::read_keys(&path, KEY_FILE_LIMIT) {
                    Ok(bytes) => found.read(&path.to_string_lossy(), &bytes),
                    Err(it) => found.fault(format!("open {}: {}", path.display(), reason(&it))),
                })
            }
            None => found.not_at(KEY_FILE),
        }
        for home in GnupgHome::all(&*self.lookup) {
            home.read_old_secret_keys(&mut found);
        }
        found
    }
}

impl Finder for PgpKeys {
    fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(self.certificates.get_or_init(|| Arc::new(self.read_certificates())))
    }

    fn secret_keys(&self) -> Arc<SecretKeys> {
        Arc::clone(self.secret_keys.get_or_init(|| Arc::new(self.read_secret_keys())))
    }
}

impl Passphrase {
    /// `lookup` reads a variable; `others` are asked if it names no file.
    pub(crate) fn new(
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
        others: impl Prompt + 'static,
    ) -> Self {
        Self { lookup: Box::new(lookup), read: OnceLock::new(), others: Box::new(others) }
    }

    fn file(&self) -> Option<PathBuf> {
        (self.lookup)(PASSPHRASE_FILE).filter(|it| !it.is_empty()).map(PathBuf::from)
    }
}

impl Prompt for Passphrase {
    fn passphrase(&self, what: &str) -> Option<SecretText> {
        const LIMIT: usize = 1 << 16;
        let Some(path) = self.file() else {
            return self.others.passphrase(what);
        };
        // A pipe can be read once only.
        let first_line = || {
            let text = files::read_keys(&path, LIMIT).ok().filter(|it| it.len() <= LIMIT)?;
            let line = text.split(|it| *it == b'\n').next()?;
            Some(SecretText::new(line.strip_suffix(b"\r").unwrap_or(line)))
        };
        self.read.get_or_init(first_line).clone()
    }

    fn remembered(&self, what: &str, id: &str) -> Result<Option<SecretText>, String> {
        match self.file() {
            Some(_) => Ok(self.passphrase(what)),
            None => self.others.remembered(what, id),
        }
    }

    fn forget(&self, id: &str) {
        if self.file().is_none() {
            self.others.forget(id);
        }
    }
}
