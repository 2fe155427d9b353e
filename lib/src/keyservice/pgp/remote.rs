//! Messages opened by somebody else's private key: gpg-agent, a smartcard.

use sequoia_openpgp::KeyID;
use sequoia_openpgp::crypto::ecdh;
use sequoia_openpgp::crypto::mem::Protected;
use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::types::Curve;
use zeroize::Zeroizing;

use super::message::{Block, Message, MessageError, Opener};
use super::{Certificates, PublicKey};

/// Does the private-key operation with keys whose secret half lies elsewhere.
pub trait Decrypts {
    /// Whether the secret half of `key` is there. Asked before anything else, for every key that
    /// the message may be for.
    fn has(&self, key: &PublicKey) -> bool;

    /// Undoes the public-key operation and nothing else. Returns
    /// - for RSA and ElGamal the decrypted number, with or without its padding (PKCS #1, 1.5),
    /// - for ECDH the shared point, with or without the byte that tells its form.
    ///
    /// # Errors
    ///
    /// If it cannot be done now: no passphrase, no card.
    fn decrypt(&self, key: &PublicKey, ciphertext: Ciphertext<'_>) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// What a message holds for one key: big-endian numbers without leading zeros, points with the byte
/// that tells their form, as they stand in the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ciphertext<'a> {
    /// One number.
    Rsa {
        /// The encrypted block.
        c: &'a [u8],
    },
    /// Two numbers.
    Elgamal {
        /// What the sender's ephemeral secret makes of the generator; `a` in libgcrypt.
        e: &'a [u8],
        /// The encrypted block; `b` in libgcrypt.
        c: &'a [u8],
    },
    /// A point, and a session key wrapped with what both sides can compute from it.
    Ecdh {
        /// The sender's ephemeral point.
        e: &'a [u8],
        /// The wrapped session key, without the byte that tells its length.
        wrapped: &'a [u8],
    },
}

/// Whom a message is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// The long key id of the (sub)key: 16 hexadecimal digits in upper case. `None` if the message
    /// does not say.
    pub id: Option<String>,
}

/// Returns whom the message in `enc` is for, in its order, whether it can be opened here or not.
///
/// # Errors
///
/// If it is no message.
pub fn recipients(enc: &str) -> Result<Vec<Recipient>, MessageError> {
    let id = |it: &super::message::Recipient| Recipient { id: it.id.as_ref().map(KeyID::to_hex) };
    Ok(Message::parse(enc)?.recipients().iter().map(id).collect())
}

/// Opens the message in `enc` for keys that stand in `certificates` and that `keys` can work with.
///
/// # Errors
///
/// If there is no such key, or the message does not open, or nothing in it can be a data key.
pub fn open(enc: &str, certificates: &Certificates, keys: &dyn Decrypts) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    Message::parse(enc)?.open(&Elsewhere { certificates, keys })
}

struct Elsewhere<'a> {
    certificates: &'a Certificates,
    keys: &'a dyn Decrypts,
}

impl Opener for Elsewhere<'_> {
    fn keys(&self, id: Option<&KeyID>) -> Vec<PublicKey> {
        self.certificates.encryption_keys(id).into_iter().filter(|it| self.keys.has(it)).collect()
    }

    fn asks(&self, _: &PublicKey) -> bool {
        false
    }

    fn block(&self, key: &PublicKey, esk: &mpi::Ciphertext) -> Option<Result<Block, String>> {
        let ciphertext = match esk {
            mpi::Ciphertext::RSA { c } => Ciphertext::Rsa { c: c.value() },
            mpi::Ciphertext::ElGamal { e, c } => Ciphertext::Elgamal { e: e.value(), c: c.value() },
            mpi::Ciphertext::ECDH { e, key } => Ciphertext::Ecdh { e: e.value(), wrapped: key },
            _ => return None,
        };
        let raw = match self.keys.decrypt(key, ciphertext) {
            Ok(it) => it,
            Err(it) => return Some(Err(it)),
        };
        let block = match key.0.mpis() {
            mpi::PublicKey::RSA { n: size, .. } | mpi::PublicKey::ElGamal { p: size, .. } => unpadded(&raw, size),
            mpi::PublicKey::ECDH { curve, .. } => unwrapped(key, curve, &raw, esk),
            _ => None,
        };
        Some(block.ok_or_else(|| "the key decrypts it to something else than a session key".to_owned()))
    }
}

/// Takes the padding off a decrypted number, if there is any: only then is it as long as the
/// modulus (RFC 4880, 13.1.1).
pub(super) fn unpadded(number: &[u8], modulus: &MPI) -> Option<Block> {
    let number = &number[number.iter().take_while(|it| **it == 0).count()..];
    if number.len() + 1 < modulus.value().len() {
        return Some(Zeroizing::new(number.to_vec()));
    }
    let padded = number.strip_prefix(&[2])?;
    let end = padded.iter().position(|it| *it == 0).filter(|it| *it >= 8)?;
    Some(Zeroizing::new(padded[end + 1..].to_vec()))
}

/// Takes a session key out of its wrapping with a shared point (RFC 6637, 8).
fn unwrapped(key: &PublicKey, curve: &Curve, point: &[u8], esk: &mpi::Ciphertext) -> Option<Block> {
    let size = curve.field_size().ok()?;
    let x = match point {
        [0x40, x @ ..] if x.len() == size => x,
        [0x04, xy @ ..] if xy.len() == 2 * size => &xy[..size],
        x if x.len() == size => x,
        _ => return None,
    };
    let block = ecdh::decrypt_unwrap(&key.0, &Protected::from(x), esk, None).ok()?;
    Some(Zeroizing::new(block.to_vec()))
}
