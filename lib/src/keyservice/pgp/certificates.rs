//! Certificates: public keys as keyrings hold them, and which of a certificate's keys to encrypt to.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::cert::amalgamation::key::ValidKeyAmalgamation;
use sequoia_openpgp::cert::raw::{RawCert, RawCertParser};
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::{Key, key};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::{AsymmetricAlgorithm, StandardPolicy};
use sequoia_openpgp::types::{HashAlgorithm, RevocationStatus};
use sequoia_openpgp::{KeyHandle, KeyID};

use super::{PublicKey, armour, keybox};
use crate::keyservice::in_vain;

/// The most that a keyring may hold. That of all Debian developers has 30 MB.
pub const RING_LIMIT: usize = 1 << 27;

/// The certificates that were found where keyrings are looked for, what was wrong, and where
/// nothing was.
///
/// Cheap to clone: what was read is shared, and so is what it costs to look through it.
#[derive(Clone, Default)]
pub struct Certificates {
    rings: Vec<Arc<Ring>>,
    faults: Vec<String>,
    missing: Vec<String>,
}

/// One keyring, looked through when somebody first asks for a key.
struct Ring {
    bytes: Vec<u8>,
    read: OnceLock<Read>,
}

/// What is in a keyring.
struct Read {
    certs: Vec<RawCert<'static>>,
    /// Which of them have a key with this id.
    places: HashMap<KeyID, Vec<usize>>,
    /// All keys in it that can be encrypted to.
    keys: Vec<PublicKey>,
}

type Public = Key<key::PublicParts, key::UnspecifiedRole>;
type Valid<'a> = ValidKeyAmalgamation<'a, key::PublicParts, key::UnspecifiedRole, bool>;

/// Why there is nothing to encrypt to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// The name is no key id and no fingerprint.
    #[error("{0:?} is no fingerprint and no key id of 16 digits")]
    Name(String),
    /// No keyring has it.
    #[error("key with fingerprint '{0}' is not available in keyring")]
    Missing(String),
    /// The certificate may not be used any more.
    #[error("the OpenPGP key {0} {1}")]
    Unusable(String, &'static str),
    /// The key is of a kind that only other programs encrypt to.
    #[error("the OpenPGP key {0} is a key for {1}, which is left to gpg")]
    Unsupported(String, String),
}

/// The key that a message is encrypted to.
pub(super) struct Choice {
    pub(super) key: PublicKey,
    /// What is questionable about it.
    pub(super) warning: Option<String>,
}

/// What people call a key.
struct Name {
    handle: KeyHandle,
    /// This key and no other: the name ends with an exclamation mark.
    exact: bool,
}

impl Certificates {
    /// Adds the certificates in a keyring: in armour or not, or in a keybox. `location` is where it
    /// comes from, for people.
    ///
    /// What is damaged in it is passed over.
    pub fn read(&mut self, location: &str, bytes: Vec<u8>) {
        match bytes.len() {
            0 => self.not_at(location),
            1..=RING_LIMIT => self.rings.push(Arc::new(Ring { bytes, read: OnceLock::new() })),
            _ => self.fault(format!("failed to read '{location}': file too long")),
        }
    }

    /// Remembers that something went wrong; it is told if no certificate is found.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Whether something went wrong: then there may be certificates that are not here.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Remembers that nothing was found at `location`.
    pub fn not_at(&mut self, location: impl Into<String>) {
        self.missing.push(location.into());
    }

    /// What is added to an error about a certificate.
    pub(super) fn remarks(&self) -> String {
        in_vain("OpenPGP certificates", self.faults.iter().map(String::as_str), &self.missing)
    }

    /// Returns the keys with this id; without one, all that can be encrypted to. Whether they have
    /// expired does not matter: old messages stay readable.
    pub(super) fn encryption_keys(&self, id: Option<&KeyID>) -> Vec<PublicKey> {
        let keys = self.rings.iter().flat_map(|it| &it.read().keys);
        let mut found: Vec<PublicKey> = Vec::new();
        let mut seen = HashSet::new();
        for key in keys.filter(|key| id.is_none_or(|it| *it == key.0.keyid())) {
            if seen.insert(key.0.fingerprint()) {
                found.push(key.clone());
            }
        }
        found
    }

    /// Chooses the key that GnuPG would encrypt to: of the first certificate that fits the name and
    /// may be used, the newest subkey for encryption, else the primary key if it can encrypt
    /// (`finish_lookup` in GnuPG's `g10/getkey.c`).
    pub(super) fn choose(&self, name: &str, now: SystemTime) -> Result<Choice, ChoiceError> {
        let wanted = Name::parse(name).ok_or_else(|| ChoiceError::Name(name.to_owned()))?;
        let mut certs: Vec<(Cert, Vec<Public>)> = Vec::new();
        for raw in self.with_key(&wanted.handle) {
            let Ok(cert) = Cert::from_bytes(raw.as_bytes()) else { continue };
            // The same certificate may stand in several keyrings, in different states.
            match certs.iter_mut().find(|(it, _)| it.fingerprint() == cert.fingerprint()) {
                Some((it, _)) => *it = it.clone().merge_public(cert).unwrap_or_else(|_| it.clone()),
                None => certs.push((cert, raw.keys().collect())),
            }
        }
        let mut error = ChoiceError::Missing(name.to_owned());
        let several = certs.len() > 1;
        for (n, (cert, order)) in certs.iter().enumerate() {
            match wanted.choose(cert, order, now) {
                Ok(mut choice) => {
                    if several {
                        let note = format!("several OpenPGP keys are called {name}; {} is used", cert.fingerprint());
                        choice.warning = Some(choice.warning.map_or(note.clone(), |it| format!("{note}; {it}")));
                    }
                    return Ok(choice);
                }
                Err(it) if n == 0 => error = it,
                Err(_) => (),
            }
        }
        Err(error)
    }

    /// The first certificate that fits a name.
    pub(super) fn named(&self, name: &str) -> Option<&RawCert<'static>> {
        self.with_key(&Name::parse(name)?.handle).next()
    }

    /// The certificates that have this key.
    pub(super) fn with_key(&self, handle: &KeyHandle) -> impl Iterator<Item = &RawCert<'static>> {
        let id = KeyID::from(handle);
        let found = self.rings.iter().flat_map(move |ring| {
            let Read { certs, places, .. } = ring.read();
            places.get(&id).into_iter().flatten().map(|it| &certs[*it])
        });
        found.filter(move |raw| raw.keys().any(|it| handle.aliases(it.key_handle())))
    }
}

impl Ring {
    fn read(&self) -> &Read {
        self.read.get_or_init(|| {
            let certs = |it: &[u8]| -> Vec<_> {
                RawCertParser::from_bytes(it).into_iter().flatten().flatten().map(RawCert::into_owned).collect()
            };
            let certs: Vec<_> = match keybox::is_keybox(&self.bytes) {
                true => keybox::keys(&self.bytes).into_iter().flat_map(certs).collect(),
                false => armour::blocks(&self.bytes).iter().flat_map(|it| certs(it)).collect(),
            };
            let (mut keys, mut places) = (Vec::new(), HashMap::<KeyID, Vec<usize>>::new());
            for (n, key) in certs.iter().enumerate().flat_map(|(n, it)| it.keys().map(move |key| (n, key))) {
                places.entry(key.keyid()).or_default().push(n);
                if key.pk_algo().for_encryption() {
                    keys.push(PublicKey(key));
                }
            }
            Read { certs, places, keys }
        })
    }
}

impl Name {
    /// Reads a fingerprint or a key id as GnuPG does (`classify_user_id` in `common/userids.c`), but for
    /// ids of 8 digits: anybody can make another key with such an id, and SOPS takes none.
    fn parse(name: &str) -> Option<Self> {
        let name: String = name.split_whitespace().collect();
        let (name, exact) = match name.strip_suffix('!') {
            Some(it) => (it, true),
            None => (&name[..], false),
        };
        let prefixed = name.strip_prefix("0x").or_else(|| name.strip_prefix("0X"));
        let digits = prefixed.unwrap_or(name);
        // One zero may stand before what has as many digits as it should.
        let digits = match digits.len() {
            17 | 41 if prefixed.is_none() => digits.strip_prefix('0')?,
            _ => digits,
        };
        let handle = match digits.len() {
            16 | 40 | 64 => digits.parse().ok()?,
            _ => return None,
        };
        Some(Self { handle, exact })
    }

    /// `order` is how the keys stand in the keyring: of two that are as new, GnuPG takes the first.
    fn choose(&self, cert: &Cert, order: &[Public], now: SystemTime) -> Result<Choice, ChoiceError> {
        let id = || cert.fingerprint().to_hex();
        let lenient = lenient(now);
        let unusable = |what| ChoiceError::Unusable(id(), what);
        if let Some(kind) = unsupported(cert.primary_key().key().role_as_unspecified()) {
            return Err(ChoiceError::Unsupported(id(), kind));
        }
        let valid = cert.with_policy(&lenient, now).map_err(|_| unusable("has no valid signature of its own"))?;
        match valid.revocation_status() {
            RevocationStatus::Revoked(_) => return Err(unusable("was revoked")),
            _ if valid.alive().is_err() => return Err(unusable("has expired")),
            _ => (),
        }
        let primary = valid.primary_key().key().fingerprint();
        let named = |it: &Public| !self.exact || self.handle.aliases(it.key_handle());
        let keys: Vec<_> = valid.keys().filter(|it| encrypts(it) && named(it.key())).collect();
        let usable =
            |it: &Valid<'_>| it.alive().is_ok() && !matches!(it.revocation_status(), RevocationStatus::Revoked(_));
        let rank = |it: &Valid<'_>| {
            let fingerprint = it.key().fingerprint();
            let place = order.iter().position(|it| it.fingerprint() == fingerprint).unwrap_or(order.len());
            (fingerprint != primary, it.key().creation_time(), Reverse(place))
        };
        let newest = keys.iter().filter(|it| usable(it)).max_by_key(|it| rank(it));
        // A subkey that may sign as well has signed that it belongs here, which is not to be checked with
        // every kind of key: GnuPG may take it.
        let newer =
            |it: &Public| newest.is_none_or(|newest| (true, it.creation_time()) >= (rank(newest).0, rank(newest).1));
        let unchecked = |it: &Public| valid.keys().all(|key| key.key().fingerprint() != it.fingerprint());
        let mut others =
            order.iter().filter(|it| it.pk_algo().for_encryption() && named(it) && newer(it) && unchecked(it));
        if let Some(kind) = others.find_map(unsupported) {
            return Err(ChoiceError::Unsupported(id(), kind));
        }
        let Some(chosen) = newest else {
            return Err(match keys.last() {
                None if self.exact => ChoiceError::Unusable(id(), "has no such key for encryption"),
                None => unusable("has no key for encryption"),
                Some(it) if it.alive().is_err() => unusable("has a key for encryption, but it has expired"),
                Some(_) => unusable("has a key for encryption, but it was revoked"),
            });
        };
        let key = chosen.key();
        if let Some(kind) = unsupported(key) {
            return Err(ChoiceError::Unsupported(id(), kind));
        }
        let warning = weakness(cert, key, now);
        Ok(Choice { key: PublicKey(key.clone()), warning })
    }
}

/// Whether a key is meant to encrypt; where it does not say, whether it can (RFC 4880, 5.2.3.21).
fn encrypts(key: &Valid<'_>) -> bool {
    let able = key.key().pk_algo().for_encryption();
    let meant = |it: sequoia_openpgp::types::KeyFlags| it.for_storage_encryption() || it.for_transport_encryption();
    able && key.binding_signature().key_flags().is_none_or(meant)
}

/// What GnuPG 2.2 accepts.
pub(super) fn lenient(now: SystemTime) -> StandardPolicy<'static> {
    let mut policy = any_kind(now);
    for hash in [HashAlgorithm::SHA1, HashAlgorithm::RipeMD] {
        policy.accept_hash(hash);
    }
    policy
}

/// Today's rules, but that keys may be of any kind and size.
fn any_kind(now: SystemTime) -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::at(now);
    AsymmetricAlgorithm::variants().for_each(|it| policy.accept_asymmetric_algo(it));
    policy
}

/// What today's rules say against a key that is used all the same.
fn weakness(cert: &Cert, key: &Public, now: SystemTime) -> Option<String> {
    let passes = |policy: &StandardPolicy<'_>| {
        let valid = cert.with_policy(policy, now).ok();
        valid.is_some_and(|it| it.keys().any(|it| it.key().fingerprint() == key.fingerprint()))
    };
    if passes(&StandardPolicy::at(now)) {
        return None;
    }
    let why = if !passes(&any_kind(now)) {
        "is held together by outdated signatures (SHA-1)".to_owned()
    } else if let Some(bits) = key.mpis().bits().filter(|it| *it < 2048) {
        format!("has only {bits} bits")
    } else {
        "is of a kind that goes out of use".to_owned()
    };
    Some(format!("the OpenPGP key {} {why}", key.keyid()))
}

/// Why nothing here works with a key: the name of its kind.
fn unsupported(key: &Public) -> Option<String> {
    /// The most bits that the RSA of the backend encrypts to.
    const RSA_LIMIT: usize = 4096;
    match key.mpis() {
        mpi::PublicKey::RSA { .. } => {
            key.mpis().bits().filter(|it| *it > RSA_LIMIT).map(|it| format!("RSA with {it} bits"))
        }
        mpi::PublicKey::ECDH { curve, .. } | mpi::PublicKey::ECDSA { curve, .. } if !curve.is_supported() => {
            Some(curve.to_string())
        }
        mpi::PublicKey::ElGamal { .. } => None,
        _ if !key.pk_algo().is_supported() => Some(key.pk_algo().to_string()),
        _ => None,
    }
}
