//! GnuPG's home directory: where it is, and the keyrings in it, read without starting GnuPG.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use leafseal::keyservice::pgp::{Certificates, KEY_FILE_LIMIT, RING_LIMIT, SecretKeys};

use crate::error::reason;
use crate::files;

/// GnuPG's home directory. It may not be there.
#[derive(Clone, Debug)]
pub(crate) struct GnupgHome(pub(crate) PathBuf);

impl GnupgHome {
    /// Returns the home directory as GnuPG finds it: `GNUPGHOME`, else `.gnupg` in the user's home.
    /// `lookup` reads a variable.
    pub(crate) fn find(lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name| lookup(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        match set("GNUPGHOME") {
            Some(it) => Some(Self(it)),
            None if cfg!(windows) => set("APPDATA").map(|it| Self(it.join("gnupg"))),
            None => set("HOME").or_else(std::env::home_dir).map(|it| Self(it.join(".gnupg"))),
        }
    }

    /// Adds the certificates of the old keyring, `pubring.gpg`, which every GnuPG reads if it is
    /// there.
    pub(crate) fn read_old_keyring(&self, into: &mut Certificates) {
        self.read_ring("pubring.gpg", into);
    }

    /// Adds the certificates of the keybox, `pubring.kbx`, unless a keyboxd keeps the keys: what
    /// lies in the file is out of date then, and asking the daemon is left to gpg.
    pub(crate) fn read_keybox(&self, into: &mut Certificates) {
        match self.has_keyboxd() {
            true => into.not_at(self.0.join("public-keys.d").to_string_lossy()),
            false => self.read_ring("pubring.kbx", into),
        }
    }

    /// Adds the secret keys of GnuPG before 2.1, `secring.gpg`. Where a later GnuPG has taken them
    /// over, its agent has them, and what lies in the file is out of date.
    pub(crate) fn read_old_secret_keys(&self, into: &mut SecretKeys) {
        let path = self.0.join("secring.gpg");
        if self.0.join(".gpg-v21-migrated").exists() {
            return;
        }
        match files::read_keys(&path, KEY_FILE_LIMIT) {
            Ok(bytes) => into.read(&path.to_string_lossy(), &bytes),
            Err(it) if it.kind() == io::ErrorKind::NotFound => (),
            Err(it) => into.fault(format!("open {}: {}", path.display(), reason(&it))),
        }
    }

    /// Whether `common.conf` hands the keys to a keyboxd (GnuPG 2.3 and later).
    pub(crate) fn has_keyboxd(&self) -> bool {
        let folders = [self.0.as_path(), Path::new("/etc/gnupg")];
        folders.iter().any(|it| {
            let text = files::read_keys(&it.join("common.conf"), 1 << 16).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.trim().trim_start_matches("--") == "use-keyboxd")
        })
    }

    fn read_ring(&self, name: &str, into: &mut Certificates) {
        let path = self.0.join(name);
        match files::read_keys(&path, RING_LIMIT) {
            Ok(mut bytes) => into.read(&path.to_string_lossy(), std::mem::take(&mut *bytes)),
            Err(it) if it.kind() == io::ErrorKind::NotFound => into.not_at(path.to_string_lossy()),
            Err(it) => into.fault(format!("open {}: {}", path.display(), reason(&it))),
        }
    }
}
