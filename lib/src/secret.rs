//! The data key and decrypted text: no printing, no leftovers.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::edge::Rng;

/// Wipes a long text as fast as memory takes it: `Zeroize` writes it byte by byte, and behind its end too,
/// where there is nothing in a text that only grew.
pub(crate) fn wipe(text: impl Into<Vec<u8>>) {
    let mut bytes = text.into();
    bytes.fill(0);
    zeroize::optimization_barrier(bytes.as_slice());
}

/// The symmetric key that encrypts every leaf of one file: 32 bytes when made here, 16 or 24 in
/// some old files (spec section 1.1).
///
/// Wiped when dropped. Not `Clone`, so that each copy is visible where it is made.
pub struct DataKey(Zeroizing<Vec<u8>>);

impl DataKey {
    /// Generates a new key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut key = Zeroizing::new(vec![0; 32]);
        rng.fill(&mut key);
        Self(key)
    }

    /// Takes a key that a key service has unwrapped.
    ///
    /// Returns `None` if it is not 16, 24 or 32 bytes long.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), 16 | 24 | 32).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Returns the key itself. Every use of this is worth a reviewer's look.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// What the master keys of one key group are wrapped to: the data key itself in a file with one
/// group, else the group's part of it, which is a byte longer (see [`shamir`](crate::shamir)).
///
/// Wiped when dropped.
pub struct KeyPart(Zeroizing<Vec<u8>>);

impl KeyPart {
    /// Takes what a key service has unwrapped.
    ///
    /// Returns `None` if it is as long as neither a data key nor a part of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        matches!(bytes.len(), 16 | 24 | 32 | 17 | 25 | 33).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// All of a data key.
    pub fn whole(key: &DataKey) -> Self {
        Self(key.0.clone())
    }

    /// True if it is as long as a data key, and not a part of one.
    pub fn is_whole(&self) -> bool {
        self.0.len().is_multiple_of(8)
    }

    /// Returns the bytes. Every use of this is worth a reviewer's look.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPart(..)")
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Text that may be secret: wiped when dropped, never shown by `Debug`, compared in constant time.
///
/// Nearly always UTF-8; SOPS does not promise it (`!!binary`).
#[derive(Clone, Default)]
pub struct SecretText(Vec<u8>);

impl SecretText {
    /// Takes the bytes over; they are wiped with this value.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text, or `None` if it is not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// True if there is nothing in it to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretText {}

impl Borrow<[u8]> for SecretText {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Hash for SecretText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        // All that it has room for: what it was made of may have been longer.
        self.0.clear();
        self.0.resize(self.0.capacity(), 0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl AsRef<[u8]> for SecretText {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}
