//! ElGamal encryption, which old GnuPG made beside every DSA key (RFC 4880, 5.1 and 13.1.1).

use crypto_bigint::modular::runtime_mod::{DynResidue, DynResidueParams};
use crypto_bigint::{Encoding, U1024, U2048, U3072, U4096, Uint};
use sequoia_openpgp::crypto::mpi::{Ciphertext, MPI, PublicKey as Numbers, SecretKeyMaterial};
use sequoia_openpgp::crypto::{SessionKey, random};
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Error, Result};
use zeroize::{Zeroize, Zeroizing};

use super::PublicKey;
use super::message::Block;
use super::remote::unpadded;

/// True for ElGamal keys.
pub(super) fn is_for(key: &Numbers) -> bool {
    matches!(key, Numbers::ElGamal { .. })
}

/// Decrypts a session key; `None` if there is none in it.
pub(super) fn decrypt(key: &Numbers, secret: &SecretKeyMaterial, e: &MPI, c: &MPI) -> Option<Block> {
    let (Numbers::ElGamal { p, .. }, SecretKeyMaterial::ElGamal { x }) = (key, secret) else { return None };
    let number = compute(p, e.value(), &Power::Inverse(x.value()), c.value())?;
    unpadded(&number, p)
}

/// Makes the packet that holds a session key.
pub(super) fn pkesk(key: &PublicKey, cipher: SymmetricAlgorithm, session_key: &SessionKey) -> Result<PKESK3> {
    let Numbers::ElGamal { p, g, y } = key.0.mpis() else {
        return Err(Error::InvalidArgument("an ElGamal key is needed".to_owned()).into());
    };
    let size = p.value().len();
    let sum = session_key.iter().fold(0_u16, |sum, it| sum.wrapping_add(u16::from(*it)));
    let block = [&[cipher.into()], &session_key[..], &sum.to_be_bytes()].concat();
    let padded = pad(Zeroizing::new(block), size)?;
    // Below p: one byte shorter.
    let mut secret = Zeroizing::new(vec![0; size.saturating_sub(1)]);
    random(&mut secret[..])?;
    let no_group = || Error::InvalidKey("its numbers make no group that is worked with".to_owned());
    let e = compute(p, g.value(), &Power::Plain(&secret), &[1]).ok_or_else(no_group)?;
    let c = compute(p, y.value(), &Power::Plain(&secret), &padded).ok_or_else(no_group)?;
    let esk = Ciphertext::ElGamal { e: MPI::new(&e), c: MPI::new(&c) };
    PKESK3::new(Some(key.0.keyid()), key.0.pk_algo(), esk)
}

/// Pads to `size` bytes with random ones that are not zero (RFC 4880, 13.1.1).
fn pad(block: Block, size: usize) -> Result<Block> {
    let short = || Error::InvalidKey("it has too few bits".to_owned());
    let n = size.checked_sub(block.len() + 3).filter(|it| *it >= 8).ok_or_else(short)?;
    let mut padded = Zeroizing::new(vec![0, 2]);
    padded.reserve_exact(size);
    while padded.len() < n + 2 {
        let mut byte = [0];
        random(&mut byte)?;
        padded.extend(byte.iter().filter(|it| **it != 0));
    }
    padded.push(0);
    padded.extend(block.iter());
    Ok(padded)
}

/// What a number is raised to.
enum Power<'a> {
    Plain(&'a [u8]),
    /// To p-1-x: what x makes, inverted.
    Inverse(&'a [u8]),
}

/// Computes `base` to the `power` times `factor` modulo `p`, in a time that depends on the size of
/// `p` alone. `None` if the numbers are none to compute with.
fn compute(p: &MPI, base: &[u8], power: &Power<'_>, factor: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let p_bytes = p.value();
    match p.bits() {
        512..=1024 => compute_in::<{ U1024::LIMBS }>(p_bytes, base, power, factor),
        1025..=2048 => compute_in::<{ U2048::LIMBS }>(p_bytes, base, power, factor),
        2049..=3072 => compute_in::<{ U3072::LIMBS }>(p_bytes, base, power, factor),
        3073..=4096 => compute_in::<{ U4096::LIMBS }>(p_bytes, base, power, factor),
        _ => None,
    }
}

fn compute_in<const LIMBS: usize>(p: &[u8], base: &[u8], power: &Power<'_>, factor: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    Uint<LIMBS>: Encoding,
{
    let number = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|it| **it == 0).count()..];
        let mut padded = Zeroizing::new(vec![0; Uint::<LIMBS>::BYTES]);
        let start = padded.len().checked_sub(bytes.len())?;
        padded[start..].copy_from_slice(bytes);
        Some(Uint::<LIMBS>::from_be_slice(&padded))
    };
    let (p, base, factor) = (number(p)?, number(base)?, number(factor)?);
    // A modulus must be odd to be worked with, and primes are.
    let odd = p.bitand(&Uint::ONE) == Uint::ONE;
    if !odd || base <= Uint::ONE || base >= p || factor == Uint::ZERO || factor >= p {
        return None;
    }
    let mut power = match power {
        Power::Plain(it) => number(it)?,
        Power::Inverse(it) => {
            Some(number(it)?).filter(|it| *it < p).map(|it| p.wrapping_sub(&Uint::ONE).wrapping_sub(&it))?
        }
    };
    let group = DynResidueParams::new(&p);
    let result = DynResidue::new(&base, group).pow(&power).mul(&DynResidue::new(&factor, group));
    power.zeroize();
    Some(Zeroizing::new(result.retrieve().to_be_bytes().as_ref().to_vec()))
}
