//! GnuPG's home directory: where it is, and the keyrings in it, read without starting GnuPG.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use leafseal::keyservice::pgp::{Certificates, KEY_FILE_LIMIT, RING_LIMIT, SecretKeys};

use crate::error::reason;
use crate::files;

/// More homes beside the one that GnuPG uses.
const MORE: &str = "LEAFSEAL_GNUPG_HOMES";

/// GnuPG's home directory. It may not be there.
#[derive(Clone, Debug)]
pub(crate) struct GnupgHome {
    path: PathBuf,
    is_standard: bool,
}

impl GnupgHome {
    /// Returns the home directories: the one that GnuPG uses, then those that are named for us.
    /// `lookup` reads a variable.
    pub(crate) fn all(lookup: &dyn Fn(&str) -> Option<OsString>) -> Vec<Self> {
        let named = lookup(MORE).unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|it| !it.as_os_str().is_empty());
        let mut homes: Vec<Self> = Self::find(lookup).into_iter().collect();
        for home in named.map(|it| Self::named(&it, lookup)) {
            if homes.iter().all(|it| it.path != home.path) {
                homes.push(home);
            }
        }
        homes
    }

    /// Returns the home directory as GnuPG finds it: `GNUPGHOME`, else `.gnupg` in the user's home.
    pub(crate) fn find(lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        match lookup("GNUPGHOME").filter(|it| !it.is_empty()) {
            Some(it) => Some(Self::named(Path::new(&it), lookup)),
            None => standard(lookup).map(|path| Self { path, is_standard: true }),
        }
    }

    /// Returns the home directory that GnuPG uses if nobody names one.
    #[cfg(unix)]
    pub(super) fn standard(lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        standard(lookup).map(|path| Self { path, is_standard: true })
    }

    /// As GnuPG names it: absolute, without slashes at its end, and otherwise as it is spelt.
    fn named(path: &Path, lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let path = absolute(&here, path);
        Self { is_standard: standard(lookup).is_some_and(|it| absolute(&here, &it) == path), path }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True if GnuPG uses it when nobody names one: its sockets lie in another place.
    #[cfg(unix)]
    pub(super) fn is_standard(&self) -> bool {
        self.is_standard
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
            true => into.not_at(self.path.join("public-keys.d").to_string_lossy()),
            false => self.read_ring("pubring.kbx", into),
        }
    }

    /// Adds the secret keys of GnuPG before 2.1, `secring.gpg`. Where a later GnuPG has taken them
    /// over, its agent has them, and what lies in the file is out of date.
    pub(crate) fn read_old_secret_keys(&self, into: &mut SecretKeys) {
        let path = self.path.join("secring.gpg");
        if self.path.join(".gpg-v21-migrated").exists() {
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
        let folders = [self.path.as_path(), Path::new("/etc/gnupg")];
        folders.iter().any(|it| {
            let text = files::read_keys(&it.join("common.conf"), 1 << 16).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().any(|line| line.trim().trim_start_matches("--") == "use-keyboxd")
        })
    }

    fn read_ring(&self, name: &str, into: &mut Certificates) {
        let path = self.path.join(name);
        match files::read_keys(&path, RING_LIMIT) {
            Ok(mut bytes) => into.read(&path.to_string_lossy(), std::mem::take(&mut *bytes)),
            Err(it) if it.kind() == io::ErrorKind::NotFound => into.not_at(path.to_string_lossy()),
            Err(it) => into.fault(format!("open {}: {}", path.display(), reason(&it))),
        }
    }
}

/// The home that GnuPG uses if nobody names one.
fn standard(lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| lookup(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    match cfg!(windows) {
        true => set("APPDATA").map(|it| it.join("gnupg")),
        false => set("HOME").or_else(std::env::home_dir).map(|it| it.join(".gnupg")),
    }
}

/// Joins as GnuPG does, byte by byte: its sockets are called by a hash of this.
fn absolute(here: &Path, path: &Path) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut bytes = path.as_os_str().as_bytes();
        while let [rest @ .., b'/'] = bytes
            && !rest.is_empty()
        {
            bytes = rest;
        }
        let prefix = match bytes {
            [b'/', ..] => Vec::new(),
            b"." => return here.to_owned(),
            _ => [here.as_os_str().as_bytes(), b"/"].concat(),
        };
        PathBuf::from(OsString::from_vec([&prefix, bytes].concat()))
    }
    #[cfg(not(unix))]
    here.join(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// From `gpgconf --list-dirs homedir` of GnuPG 2.2.40, in `/tmp`.
    #[test]
    fn a_home_is_spelt_as_gnupg_spells_it() {
        for (path, expected) in [
            ("/tmp/gq", "/tmp/gq"),
            ("/tmp/gq//", "/tmp/gq"),
            ("./gq", "/tmp/./gq"),
            ("../tmp/gq/", "/tmp/../tmp/gq"),
            ("//tmp//gq", "//tmp//gq"),
            (".", "/tmp"),
            ("./", "/tmp"),
            ("/", "/"),
        ] {
            assert_eq!(absolute(Path::new("/tmp"), Path::new(path)).as_os_str(), expected, "{path}");
        }
    }

    #[test]
    fn homes_come_in_their_order_and_once() {
        let all = |variables: &[(&str, &str)]| {
            let lookup = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, it)| OsString::from(it));
            GnupgHome::all(&lookup).iter().map(|it| (it.path.display().to_string(), it.is_standard)).collect::<Vec<_>>()
        };
        let home = ("HOME", "/h");
        assert_eq!(all(&[home]), [("/h/.gnupg".to_owned(), true)]);
        assert_eq!(all(&[home, ("GNUPGHOME", "")]), [("/h/.gnupg".to_owned(), true)]);
        assert_eq!(all(&[home, ("GNUPGHOME", "/h/.gnupg/")]), [("/h/.gnupg".to_owned(), true)]);
        assert_eq!(
            all(&[home, ("GNUPGHOME", "/g"), (MORE, "/m::/g/:/h/.gnupg")]),
            [("/g".to_owned(), false), ("/m".to_owned(), false), ("/h/.gnupg".to_owned(), true)]
        );
    }
}
