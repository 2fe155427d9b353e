//! Identities: private keys as they stand in variables, files and the output of commands.

use std::borrow::Cow;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use age::Identity as _;
use age_core::format::{FileKey, Stanza};
use data_encoding::BASE32;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Ask, pq, reason};
use crate::keyservice::in_vain;

/// The most that an identity file may hold, as in age.
pub const FILE_LIMIT: usize = 1 << 24;

/// An OpenSSH key is far smaller; reading one takes time that grows with the square of its size.
const SSH_LIMIT: usize = 1 << 16;

/// The most work that a passphrase may cost, as a power of two; the same as in age.
const WORK_FACTOR_LIMIT: u8 = 22;

/// What was found where identities are looked for, what was wrong with it, and where nothing was.
///
/// Cheap to clone: the identities themselves are shared, and so is what it cost to unlock them.
#[derive(Clone, Default)]
pub struct Found {
    identities: Vec<Arc<Identity>>,
    places: Vec<String>,
    faults: Vec<String>,
    missing: Vec<String>,
}

/// How identities stand in a text (spec section 6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spacing {
    /// One on each line, nothing before or after it.
    Lines,
    /// Any number on each line, white space between them.
    Words,
}

/// One private key, or a file of them.
pub(super) enum Identity {
    X25519(age::x25519::Identity),
    Hybrid(Box<pq::Identity>),
    Plugin(Zeroizing<String>),
    Ssh(Box<Ssh>),
    Locked(LockedFile),
}

/// An OpenSSH key. Parsed when a stanza for such a key turns up: RSA keys take their time.
pub(super) struct Ssh {
    origin: Origin,
    pem: Zeroizing<Vec<u8>>,
    parsed: OnceLock<Result<age::ssh::Identity, String>>,
    unlocked: OnceLock<Result<age::ssh::Identity, String>>,
}

enum Origin {
    /// The path of a file. A passphrase may be asked for.
    File(String),
    /// The variable that names a command. No passphrase is asked for.
    Command(String),
}

/// An identity file behind a passphrase, which is asked for once, and only if nothing else fits.
pub(super) struct LockedFile {
    location: String,
    source: Zeroizing<Vec<u8>>,
    opened: OnceLock<Result<Vec<Identity>, String>>,
}

impl Found {
    /// Adds the identities in `source`: one a line, or a file that age has encrypted to a passphrase.
    /// `location` is where it comes from, for people.
    ///
    /// One bad line discards the source, as in SOPS. What is wrong becomes a fault.
    pub fn read(&mut self, location: &str, source: &[u8], spacing: Spacing) {
        let identities = if source.len() > FILE_LIMIT {
            Err(format!("failed to read '{location}': file too long"))
        } else if is_encrypted(source) {
            let source = Zeroizing::new(source.to_vec());
            let opened = OnceLock::new();
            Ok(vec![Identity::Locked(LockedFile { location: location.to_owned(), source, opened })])
        } else {
            parse(source, spacing).map_err(|it| format!("failed to parse '{location}' age identities: {it}"))
        };
        match identities {
            Ok(it) if it.is_empty() => self.not_at(location),
            Ok(it) => {
                self.places.push(location.to_owned());
                self.identities.extend(it.into_iter().map(Arc::new));
            }
            Err(it) => self.fault(it),
        }
    }

    /// Adds an OpenSSH key from the file `path`.
    pub fn read_ssh_file(&mut self, path: &str, pem: &[u8]) {
        self.add_ssh(Origin::File(path.to_owned()), pem);
    }

    /// Adds an OpenSSH key that the command in `variable` has printed. It must not be encrypted.
    pub fn read_ssh_output(&mut self, variable: &str, pem: &[u8]) {
        self.add_ssh(Origin::Command(variable.to_owned()), pem);
    }

    fn add_ssh(&mut self, origin: Origin, pem: &[u8]) {
        let (Origin::File(place) | Origin::Command(place)) = &origin;
        self.places.push(place.clone());
        let pem = Zeroizing::new(pem[..pem.len().min(SSH_LIMIT)].to_vec());
        let key = Ssh { origin, pem, parsed: OnceLock::new(), unlocked: OnceLock::new() };
        self.identities.push(Arc::new(Identity::Ssh(Box::new(key))));
    }

    /// Remembers that something went wrong; it is told if nothing else unwraps the key.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Remembers that nothing was found at `location`.
    pub fn not_at(&mut self, location: impl Into<String>) {
        self.missing.push(location.into());
    }

    /// True if there is nothing to try: no identities but those that turned out to be none.
    pub fn is_empty(&self) -> bool {
        self.usable().next().is_none()
    }

    /// Returns where something was found, whether it is of use or not.
    pub fn places(&self) -> &[String] {
        &self.places
    }

    /// Returns where nothing was found.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Returns what went wrong while identities were read.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        let broken = self.identities.iter().filter_map(|it| match &**it {
            Identity::Ssh(key) => key.parsed().as_ref().err(),
            _ => None,
        });
        self.faults.iter().chain(broken).map(String::as_str)
    }

    /// Returns the identities, those left out that turned out to be none.
    pub(super) fn usable(&self) -> impl Iterator<Item = &Identity> {
        self.identities.iter().map(|it| &**it).filter(|it| !matches!(it, Identity::Ssh(key) if key.parsed().is_err()))
    }

    /// Returns all identities, those that may have to ask somebody last.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Identity> {
        let (silent, asking): (Vec<&Identity>, Vec<&Identity>) = self
            .identities
            .iter()
            .map(|it| &**it)
            .partition(|it| !matches!(it, Identity::Plugin(_) | Identity::Locked(_)));
        silent.into_iter().chain(asking)
    }

    /// True if some of the identities may have to ask somebody.
    pub(super) fn asks(&self) -> bool {
        self.usable().any(|it| match it {
            Identity::Plugin(_) | Identity::Locked(_) => true,
            Identity::Ssh(key) => key.is_locked(),
            Identity::X25519(_) | Identity::Hybrid(_) => false,
        })
    }

    /// What SOPS adds to an error about identities, each on a line of its own.
    pub(super) fn remarks(&self) -> String {
        in_vain("age identities", self.faults(), &self.missing)
    }
}

impl Identity {
    /// Gets the file key out of a header: `None` if none of the stanzas is for this identity.
    pub(super) fn unwrap(&self, stanzas: &[Stanza], ask: &Ask<'_>) -> Option<Result<FileKey, String>> {
        match self {
            Self::X25519(it) => it.unwrap_stanzas(stanzas).map(|it| it.map_err(reason)),
            Self::Hybrid(it) => it.unwrap_stanzas(stanzas).map(|it| it.map_err(reason)),
            Self::Plugin(_) if ask.is_silent => None,
            Self::Plugin(it) => {
                let plugin = it.parse().map_err(str::to_owned).and_then(|it| ask.plugin_identity(&it));
                match plugin {
                    Ok(it) => it.unwrap_stanzas(stanzas).map(|it| it.map_err(reason)),
                    Err(it) => Some(Err(it)),
                }
            }
            Self::Ssh(it) => it.unwrap(stanzas, ask),
            Self::Locked(it) => it.unwrap(stanzas, ask),
        }
    }
}

impl Ssh {
    fn parsed(&self) -> &Result<age::ssh::Identity, String> {
        self.parsed.get_or_init(|| {
            use age::ssh::{Identity, UnsupportedKey as Wrong};
            // PEM allows text before the first block, age does not.
            let text = std::str::from_utf8(&self.pem).unwrap_or_default();
            let text = text.find("-----BEGIN ").map_or("", |at| &text[at..]);
            let malformed = |what: &str| match &self.origin {
                Origin::File(path) => format!("malformed SSH identity in {path:?}: {what}"),
                Origin::Command(name) => format!("malformed SSH identity returned by running {name}: {what:?}"),
            };
            match (Identity::from_buffer(text.as_bytes(), None), &self.origin) {
                (Ok(Identity::Encrypted(_)), Origin::Command(name)) => {
                    Err(format!("the SSH key returned by running {name} is password protected, which is unsupported"))
                }
                (Ok(Identity::Unsupported(Wrong::EncryptedPem)), _) => {
                    Err(malformed("this way of encrypting keys is not supported, `ssh-keygen -p -f` renews it"))
                }
                (Ok(Identity::Unsupported(Wrong::EncryptedSsh(it))), _) => {
                    Err(malformed(&format!("unsupported cipher {it}")))
                }
                (Ok(Identity::Unsupported(Wrong::Hardware(it) | Wrong::Type(it))), _) => {
                    Err(malformed(&format!("unsupported SSH identity type: {it}")))
                }
                (Ok(it), _) => Ok(it),
                (Err(_), _) => Err(malformed("ssh: no key found")),
            }
        })
    }

    fn unwrap(&self, stanzas: &[Stanza], ask: &Ask<'_>) -> Option<Result<FileKey, String>> {
        if !stanzas.iter().any(|it| it.tag.starts_with("ssh-")) {
            return None;
        }
        // What is wrong with the key is told with the other faults.
        let key = match self.parsed().as_ref().ok()? {
            age::ssh::Identity::Encrypted(locked) => {
                let tag = fingerprint(self.parsed().as_ref().ok()?.clone())?;
                if !stanzas.iter().any(|it| it.tag.starts_with("ssh-") && it.args.first() == Some(&tag)) {
                    return None;
                }
                if ask.is_silent && self.unlocked.get().is_none() {
                    return None;
                }
                match self.unlocked.get_or_init(|| self.unlock(locked, ask)) {
                    Ok(key) => key,
                    Err(it) => return Some(Err(it.clone())),
                }
            }
            key => key,
        };
        key.unwrap_stanzas(stanzas).map(|it| it.map_err(reason))
    }

    fn is_locked(&self) -> bool {
        matches!(self.parsed(), Ok(age::ssh::Identity::Encrypted(_)))
    }

    fn unlock(&self, locked: &age::ssh::EncryptedKey, ask: &Ask<'_>) -> Result<age::ssh::Identity, String> {
        let (Origin::File(path) | Origin::Command(path)) = &self.origin;
        let passphrase = ask.passphrase(&format!("Enter passphrase for {path:?}:"))?;
        let key = locked.decrypt(passphrase).map_err(|_| format!("failed to decrypt SSH key file {path:?}"))?;
        Ok(key.into())
    }
}

/// What the stanzas for an SSH key name it by: the first four bytes of its digest.
fn fingerprint(key: age::ssh::Identity) -> Option<String> {
    let (age::ssh::Recipient::SshRsa(key, _) | age::ssh::Recipient::SshEd25519(key, _)) =
        age::ssh::Recipient::try_from(key).ok()?;
    Some(base64_simd::STANDARD_NO_PAD.encode_to_string(&Sha256::digest(key)[..4]))
}

impl LockedFile {
    fn unwrap(&self, stanzas: &[Stanza], ask: &Ask<'_>) -> Option<Result<FileKey, String>> {
        // No passphrase is asked for in vain: SSH keys do not stand in such files, and some writers
        // add a stanza that is for nobody.
        if stanzas.iter().all(|it| it.tag.starts_with("ssh-") || it.tag.ends_with("-grease")) {
            return None;
        }
        if ask.is_silent && self.opened.get().is_none() {
            return None;
        }
        match self.opened.get_or_init(|| self.open(ask)) {
            Ok(identities) => identities.iter().find_map(|it| it.unwrap(stanzas, ask)),
            Err(it) => Some(Err(it.clone())),
        }
    }

    fn open(&self, ask: &Ask<'_>) -> Result<Vec<Identity>, String> {
        let failed = |it: age::DecryptError| match is_wrong_passphrase(&it) {
            true => "incorrect passphrase".to_owned(),
            false => format!("failed to decrypt identity file '{}': {}", self.location, reason(it)),
        };
        let file = match self.source.starts_with(b"-----BEGIN AGE") {
            true => {
                let mut file = Vec::with_capacity(self.source.len());
                let armour = age::armor::ArmoredReader::new(&self.source[..]);
                armour.take(FILE_LIMIT as u64).read_to_end(&mut file).map_err(|it| failed(it.into()))?;
                Cow::Owned(file)
            }
            false => Cow::Borrowed(&self.source[..]),
        };
        let decryptor = age::Decryptor::new_buffered(&file[..]).map_err(failed)?;
        if !decryptor.is_scrypt() {
            return Err(failed(age::DecryptError::InvalidHeader));
        }
        let id = cache_id(&file);
        let passphrase = ask.remembered(&format!("Enter passphrase for identity '{}':", self.location), &id)?;
        let mut key = age::scrypt::Identity::new(passphrase);
        key.set_max_work_factor(WORK_FACTOR_LIMIT);
        let reader = decryptor.decrypt(std::iter::once(&key as &dyn age::Identity)).map_err(|it| {
            if is_wrong_passphrase(&it) {
                ask.forget(&id);
            }
            failed(it)
        })?;
        // Reserved first: a vector that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.source.len() + 64));
        reader.take(FILE_LIMIT as u64).read_to_end(&mut text).map_err(|it| failed(it.into()))?;
        let identities = parse(&text, Spacing::Lines);
        identities.map_err(|it| format!("failed to parse '{}' age identities: {it}", self.location))
    }
}

/// What SOPS calls the passphrase of an identity file, without its armour, where it is remembered:
/// since its version 3.13.1 by what is in the file.
fn cache_id(file: &[u8]) -> String {
    format!("SopsAge{}", BASE32.encode(&Sha256::digest(file)[..25]))
}

fn is_wrong_passphrase(error: &age::DecryptError) -> bool {
    matches!(error, age::DecryptError::DecryptionFailed | age::DecryptError::NoMatchingKeys)
}

fn is_encrypted(source: &[u8]) -> bool {
    source.starts_with(b"age-encryption") || source.starts_with(b"-----BEGIN AGE")
}

/// Reads identities. Empty lines and lines that begin with `#` count as nothing.
fn parse(source: &[u8], spacing: Spacing) -> Result<Vec<Identity>, String> {
    let text = std::str::from_utf8(source).map_err(|_| "unknown identity type")?;
    let mut identities = Vec::new();
    for line in text.split('\n').map(|it| it.strip_suffix('\r').unwrap_or(it)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match spacing {
            Spacing::Lines => identities.push(parse_one(line)?),
            Spacing::Words => {
                for word in line.split_whitespace() {
                    identities.push(parse_one(word)?);
                }
            }
        }
    }
    Ok(identities)
}

/// Reads one identity. The errors say nothing of the text.
fn parse_one(text: &str) -> Result<Identity, String> {
    let malformed = || "malformed secret key".to_owned();
    if text.starts_with("AGE-PLUGIN-") {
        let valid = text.parse::<age::plugin::Identity>();
        valid.map(|_| Identity::Plugin(Zeroizing::new(text.to_owned()))).map_err(|_| "invalid identity encoding".into())
    } else if text.starts_with("AGE-SECRET-KEY-PQ-1") {
        pq::Identity::parse(text).map(|it| Identity::Hybrid(Box::new(it))).ok_or_else(malformed)
    } else if text.starts_with("AGE-SECRET-KEY-1") {
        text.parse().map(Identity::X25519).map_err(|_: &str| malformed())
    } else {
        Err("unknown identity type".to_owned())
    }
}
