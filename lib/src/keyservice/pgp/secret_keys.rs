//! Exported secret keys: what `gpg --export-secret-keys` prints, with or without a passphrase.

use std::sync::{Arc, OnceLock};

use sequoia_openpgp::KeyID;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::raw::{RawCert, RawCertParser};
use sequoia_openpgp::crypto::{Decryptor, KeyPair, Password, S2K, mpi};
use sequoia_openpgp::packet::key::{SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::packet::{Key, Tag};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::SymmetricAlgorithm;
use zeroize::Zeroizing;

use super::message::{Block, Opener};
use super::{PublicKey, armour, elgamal};
use crate::keyservice::{Prompt, in_vain, one_line};

/// The most that a file of secret keys may hold.
pub const KEY_FILE_LIMIT: usize = 1 << 24;

/// The most memory that a passphrase may cost, as a power of two in KiB: what RFC 9106 recommends
/// first. GnuPG does not write such keys.
const ARGON2_MEMORY: u8 = 21;

/// The secret keys that were found, what was wrong with them, and where none were.
///
/// Cheap to clone: the keys themselves are shared, and so is what it cost to unlock them.
#[derive(Clone, Default)]
pub struct SecretKeys {
    keys: Vec<Arc<SecretKey>>,
    public: Vec<u8>,
    faults: Vec<String>,
    missing: Vec<String>,
}

/// A secret key. It is unlocked once, and only if a message is for it.
struct SecretKey {
    location: String,
    public: PublicKey,
    secret: Key<SecretParts, UnspecifiedRole>,
    unlocked: OnceLock<Result<KeyPair, String>>,
}

/// The keys, and who is asked for their passphrases.
pub(super) struct Local<'a> {
    pub(super) keys: &'a SecretKeys,
    pub(super) prompt: Option<&'a dyn Prompt>,
}

impl SecretKeys {
    /// Adds the secret keys in `source`, in armour or not. `location` is where it comes from, for
    /// people.
    ///
    /// What is damaged in it is passed over; if there is no secret key in it, that is a fault.
    pub fn read(&mut self, location: &str, source: &[u8]) {
        let fault = |it: &str| format!("failed to read OpenPGP keys in '{location}': {it}");
        if source.len() > KEY_FILE_LIMIT {
            self.fault(fault("file too long"));
            return;
        }
        if source.trim_ascii().is_empty() {
            self.not_at(location);
            return;
        }
        let before = self.keys.len();
        let blocks = armour::blocks(source);
        for raw in blocks.iter().filter_map(|it| RawCertParser::from_bytes(&it[..]).ok()).flatten().flatten() {
            self.keys.extend(secrets(&raw).map(|secret| {
                let public = PublicKey(secret.clone().parts_into_public());
                let unlocked = OnceLock::new();
                Arc::new(SecretKey { location: location.to_owned(), public, secret, unlocked })
            }));
            let cert = Cert::from_bytes(raw.as_bytes()).map(Cert::strip_secret_key_material);
            self.public.extend(cert.and_then(|it| it.to_vec()).unwrap_or_default());
        }
        if self.keys.len() == before {
            self.fault(fault("there is no secret key in it"));
        }
    }

    /// Remembers that something went wrong; it is told if nothing else unwraps the key.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Remembers that nothing was found at `location`.
    pub fn not_at(&mut self, location: impl Into<String>) {
        self.missing.push(location.into());
    }

    /// True if there is no key, whether or not there should be.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the public halves as a keyring: who has the secret key can encrypt to it.
    pub fn certificates(&self) -> &[u8] {
        &self.public
    }

    /// What is added to an error about secret keys.
    pub(super) fn remarks(&self) -> String {
        in_vain("OpenPGP secret keys", self.faults.iter().map(String::as_str), &self.missing)
    }

    fn find(&self, key: &PublicKey) -> Option<&SecretKey> {
        let keys = self.keys.iter().filter(|it| it.public.0.fingerprint() == key.0.fingerprint());
        // The same key may be there as a stub, or behind a passphrase and without one.
        keys.min_by_key(|it| (it.is_stub(), it.is_locked())).map(|it| &**it)
    }
}

impl SecretKey {
    /// Whether the secret half is not in the file, as with `--export-secret-subkeys` or on a card.
    fn is_stub(&self) -> bool {
        matches!(self.secret.secret(), SecretKeyMaterial::Encrypted(it) if !it.s2k().is_supported())
    }

    fn is_locked(&self) -> bool {
        self.unlocked.get().is_none() && self.secret.secret().is_encrypted() && !self.is_stub()
    }

    fn unlocked(&self, prompt: Option<&dyn Prompt>) -> &Result<KeyPair, String> {
        self.unlocked.get_or_init(|| {
            let id = self.public.id();
            let wrong = |what: &str| format!("the OpenPGP key {id} in '{}' {what}", self.location);
            if self.is_stub() {
                return Err(wrong("has no secret half there"));
            }
            let secret = self.secret.clone();
            let SecretKeyMaterial::Encrypted(locked) = self.secret.secret() else {
                return secret.into_keypair().map_err(|it| wrong(&one_line(&it)));
            };
            if matches!(locked.s2k(), S2K::Argon2 { t, m, .. } if *m > ARGON2_MEMORY || *t > 8) {
                return Err(wrong("takes too much work to unlock"));
            }
            if locked.algo() == SymmetricAlgorithm::Blowfish {
                return Err(wrong("is locked with Blowfish, which is left to gpg"));
            }
            let question = format!("Enter passphrase for the OpenPGP key {id} in '{}':", self.location);
            // SOPS calls the passphrase by the last eight digits of the key.
            let remembered = &id[id.len().saturating_sub(8)..];
            let answer = prompt.map_or(Ok(None), |it| it.remembered(&question, remembered));
            let answer = answer.map_err(|it| wrong(&format!("needs a passphrase: {it}")))?;
            let answer = answer.ok_or_else(|| wrong("needs a passphrase: there is nobody to ask"))?;
            let opened = secret.decrypt_secret(&Password::from(answer.expose()));
            opened.and_then(Key::into_keypair).map_err(|_| {
                if let Some(it) = prompt {
                    it.forget(remembered);
                }
                wrong("does not open with this passphrase")
            })
        })
    }
}

impl Opener for Local<'_> {
    fn keys(&self, id: Option<&KeyID>) -> Vec<PublicKey> {
        let keys = self.keys.keys.iter().map(|it| &it.public).filter(|it| id.is_none_or(|id| *id == it.0.keyid()));
        let mut found: Vec<PublicKey> = Vec::new();
        for key in keys {
            if !found.iter().any(|it| it.0.fingerprint() == key.0.fingerprint()) {
                found.push(key.clone());
            }
        }
        found
    }

    fn asks(&self, key: &PublicKey) -> bool {
        self.keys.find(key).is_some_and(SecretKey::is_locked)
    }

    fn block(&self, key: &PublicKey, esk: &mpi::Ciphertext) -> Option<Result<Block, String>> {
        let pair = match self.keys.find(key)?.unlocked(self.prompt) {
            Ok(it) => it,
            Err(it) => return Some(Err(it.clone())),
        };
        let wrong = || "the key decrypts it to something else than a session key".to_owned();
        if let mpi::Ciphertext::ElGamal { e, c } = esk {
            let block = pair.secret().map(|it| elgamal::decrypt(key.0.mpis(), it, e, c));
            return Some(block.ok_or_else(wrong));
        }
        // The error says what kind of key it is at most; with RSA it is not to be told.
        let block = pair.clone().decrypt(esk, None);
        Some(block.map(|it| Zeroizing::new(it.to_vec())).map_err(|it| match it.downcast_ref() {
            Some(sequoia_openpgp::Error::UnsupportedEllipticCurve(curve)) => {
                format!("keys for {curve} are left to gpg")
            }
            _ => wrong(),
        }))
    }
}

/// The secret keys of a certificate that messages can be for.
fn secrets<'a>(raw: &'a RawCert<'_>) -> impl Iterator<Item = Key<SecretParts, UnspecifiedRole>> + 'a {
    let packets = raw.packets().filter(|it| matches!(it.tag(), Tag::SecretKey | Tag::SecretSubkey));
    let keys = packets.filter_map(|it| Key::from_bytes(it.body()).ok());
    keys.filter(|it| it.pk_algo().for_encryption()).filter_map(|it| it.parts_into_secret().ok())
}
