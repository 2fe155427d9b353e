//! The hybrid post-quantum keys of age, ML-KEM-768 with X25519: `age1pq1…`, `AGE-SECRET-KEY-PQ-1…`.
//!
//! The key encapsulation is X-Wing (draft-connolly-cfrg-xwing-kem), the rest is HPKE in base mode
//! (RFC 9180) with HKDF-SHA-256 and ChaCha20-Poly1305, as age 1.3 has it.

use std::collections::HashSet;

use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::bech32_decode;
use age_core::secrecy::ExposeSecret;
use base64_simd::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hkdf::Hkdf;
use ml_kem::kem::{Decapsulate, DecapsulationKey, Encapsulate, EncapsulationKey};
use ml_kem::{EncodedSizeUser, KemCore, MlKem768, MlKem768Params};
use rand_core::OsRng;
use sha2::Sha256;
use sha3::digest::{ExtendableOutput, Update, XofReader};
use sha3::{Digest, Sha3_256, Shake256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// The type of the stanza, and what the HPKE `info` ends in.
pub(super) const STANZA: &str = "mlkem768x25519";

const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// KEM 0x647a (X-Wing), KDF 1 (HKDF-SHA-256), AEAD 3 (ChaCha20-Poly1305).
const SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";
const XWING_LABEL: &[u8] = br"\.//^\";

const PQ_KEY: usize = 1184;
const PQ_CIPHERTEXT: usize = 1088;
const POINT: usize = 32;

/// A public key.
#[derive(Debug)]
pub(super) struct Recipient {
    pq: EncapsulationKey<MlKem768Params>,
    point: PublicKey,
}

/// A private key, expanded from its seed.
pub(super) struct Identity {
    pq: DecapsulationKey<MlKem768Params>,
    scalar: StaticSecret,
    point: PublicKey,
}

impl Recipient {
    /// Reads `age1pq1…`; the checksum must be right and the key a valid one (FIPS 203, 7.2).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = payload(text, "age1pq")?;
        let (pq, point) = (bytes.get(..PQ_KEY)?, <[u8; POINT]>::try_from(bytes.get(PQ_KEY..)?).ok()?);
        let key = EncapsulationKey::from_bytes(&pq.try_into().ok()?);
        (key.as_bytes()[..] == *pq).then(|| Self { pq: key, point: point.into() })
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let refused = |what: &str| age::EncryptError::Io(std::io::Error::other(what.to_owned()));
        let (ciphertext, secret) = self.pq.encapsulate(&mut OsRng).map_err(|()| refused("cannot encapsulate"))?;
        let ephemeral = StaticSecret::random_from_rng(OsRng);
        let ours = PublicKey::from(&ephemeral);
        let shared = ephemeral.diffie_hellman(&self.point);
        if !shared.was_contributory() {
            return Err(refused("invalid MLKEM768-X25519 public key"));
        }
        let secret = combine(&secret, shared.as_bytes(), &ours, &self.point);
        let (aead, nonce) = schedule(&secret);
        let body = aead.encrypt(&nonce, &file_key.expose_secret()[..]).map_err(|_| refused("cannot encrypt"))?;
        let share = [&ciphertext[..], ours.as_bytes()].concat();
        let stanza = Stanza { tag: STANZA.to_owned(), args: vec![BASE64.encode_to_string(share)], body };
        Ok((vec![stanza], HashSet::from(["postquantum".to_owned()])))
    }
}

impl Identity {
    /// Reads `AGE-SECRET-KEY-PQ-1…`; the checksum must be right.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let seed = payload(text, "AGE-SECRET-KEY-PQ-")?;
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed[..].try_into().ok()?);
        let mut long = Zeroizing::new([0; 96]);
        let mut reader = Shake256::default().chain(&seed[..]).finalize_xof();
        XofReader::read(&mut reader, &mut long[..]);
        let part = |at: usize| -> [u8; 32] { long[at..at + 32].try_into().expect("32 bytes of 96") };
        let (mut d, mut z) = (part(0), part(32));
        let (pq, _) = MlKem768::generate_deterministic(&d.into(), &z.into());
        d.zeroize();
        z.zeroize();
        let scalar = StaticSecret::from(part(64));
        let point = PublicKey::from(&scalar);
        Some(Self { pq, scalar, point })
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if stanza.tag != STANZA {
            return None;
        }
        let invalid = Some(Err(age::DecryptError::InvalidHeader));
        let [share] = &stanza.args[..] else { return invalid };
        let Ok(share) = BASE64.decode_to_vec(share) else { return invalid };
        if share.len() != PQ_CIPHERTEXT + POINT || stanza.body.len() != FILE_KEY_BYTES + 16 {
            return invalid;
        }
        let (ciphertext, theirs) = share.split_at(PQ_CIPHERTEXT);
        let ciphertext = ciphertext.try_into().expect("the length was checked");
        let theirs: [u8; POINT] = theirs.try_into().expect("the length was checked");
        let (Ok(secret), theirs) = (self.pq.decapsulate(&ciphertext), PublicKey::from(theirs)) else { return invalid };
        let shared = self.scalar.diffie_hellman(&theirs);
        if !shared.was_contributory() {
            return invalid;
        }
        let (aead, nonce) = schedule(&combine(&secret, shared.as_bytes(), &theirs, &self.point));
        // ML-KEM rejects implicitly: a key that is not ours shows here and nowhere else.
        let opened = Zeroizing::new(aead.decrypt(&nonce, &stanza.body[..]).ok()?);
        Some(Ok(FileKey::init_with_mut(|key| key.copy_from_slice(&opened))))
    }
}

/// The bytes in a Bech32 text with exactly this prefix.
fn payload(text: &str, prefix: &str) -> Option<Zeroizing<Vec<u8>>> {
    let of_kind = |found: &str| found == prefix;
    bech32_decode(
        text,
        |_| (),
        |hrp| of_kind(hrp.as_str()).then_some(()).ok_or(()),
        |_, bytes| {
            // Reserved first: a vector that grows leaves copies behind.
            let mut all = Zeroizing::new(Vec::with_capacity(PQ_KEY + POINT));
            all.extend(bytes.take(PQ_KEY + POINT + 1));
            Ok(all)
        },
    )
    .ok()
}

/// X-Wing's combiner.
fn combine(pq: &[u8], x25519: &[u8], ephemeral: &PublicKey, recipient: &PublicKey) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha3_256::new();
    for part in [pq, x25519, ephemeral.as_bytes(), recipient.as_bytes(), XWING_LABEL] {
        Digest::update(&mut hash, part);
    }
    Zeroizing::new(hash.finalize().into())
}

/// HPKE's key schedule in base mode (RFC 9180, 5.1), for the one message that is sent.
fn schedule(secret: &[u8; 32]) -> (ChaCha20Poly1305, Nonce) {
    let extract = |salt: &[u8], label: &[u8], input: &[u8]| {
        Hkdf::<Sha256>::extract(Some(salt), &[b"HPKE-v1", SUITE, label, input].concat())
    };
    let context = [&[0][..], &extract(&[], b"psk_id_hash", &[]).0, &extract(&[], b"info_hash", INFO).0].concat();
    let (_, secret) = extract(secret, b"secret", &[]);
    let expand = |label: &[u8], out: &mut [u8]| {
        let length = [0, out.len() as u8];
        let info = [&length, &b"HPKE-v1"[..], SUITE, label, &context];
        secret.expand_multi_info(&info, out).expect("a key is short");
    };
    let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
    expand(b"key", &mut key[..]);
    expand(b"base_nonce", &mut nonce);
    (ChaCha20Poly1305::new(Key::from_slice(&key[..])), nonce.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use age::{DecryptError as Wrong, Identity as _};

    use super::*;

    macro_rules! vectors {
        ($($name:literal)*) => {
            [$(($name, &include_bytes!(concat!("../../../testdata/cctv-age/", $name))[..])),*]
        };
    }

    #[test]
    fn the_vectors_of_cctv_hold() {
        let vectors = vectors! {
            "armor_hybrid" "hybrid" "hybrid_and_x25519" "hybrid_bad_tag" "hybrid_currupted_enc_mlkem"
            "hybrid_currupted_enc_x25519" "hybrid_extra_argument" "hybrid_grease" "hybrid_identity"
            "hybrid_long_file_key" "hybrid_long_share" "hybrid_low_order" "hybrid_multiple_recipients"
            "hybrid_no_match" "hybrid_not_canonical_body" "hybrid_not_canonical_enc" "hybrid_short_share"
            "hybrid_uppercase" "hybrid_x25519_arg"
        };
        for (name, vector) in vectors {
            let end = vector.windows(2).position(|it| it == b"\n\n").expect("a header and a body");
            let (header, file) = (std::str::from_utf8(&vector[..end]).expect("UTF-8"), &vector[end + 2..]);
            let field = |key: &str| header.lines().filter_map(|it| it.strip_prefix(key)).collect::<Vec<_>>();
            let identities: Vec<Box<dyn age::Identity>> = field("identity: ")
                .into_iter()
                .map(|it| -> Box<dyn age::Identity> {
                    match Identity::parse(it) {
                        Some(it) => Box::new(it),
                        None => Box::new(it.parse::<age::x25519::Identity>().expect("an identity")),
                    }
                })
                .collect();
            let outcome = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(file))
                .and_then(|it| it.decrypt(identities.iter().map(|it| &**it)))
                .and_then(|mut reader| {
                    let mut payload = Vec::new();
                    reader.read_to_end(&mut payload)?;
                    let digest = <Sha256 as sha2::Digest>::digest(payload);
                    Ok(digest.iter().map(|it| format!("{it:02x}")).collect::<String>())
                });
            match (field("expect: ")[0], outcome) {
                ("success", Ok(digest)) => assert_eq!(digest, field("payload: ")[0], "{name}"),
                ("no match", Err(Wrong::NoMatchingKeys)) => (),
                ("header failure", Err(Wrong::InvalidHeader | Wrong::UnknownFormat)) => (),
                (expected, outcome) => panic!("{name}: expected {expected}, got {:?}", outcome.err()),
            }
        }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped_by_its_key_only() {
        let vector = include_str!("../../../testdata/cctv-age/armor_hybrid");
        let ours = vector.lines().find_map(|it| it.strip_prefix("identity: ")).expect("an identity");
        let ours = Identity::parse(ours).expect("a hybrid identity");
        let recipient = Recipient { pq: ours.pq.encapsulation_key().clone(), point: ours.point };
        let file_key = FileKey::new(Box::new([7; FILE_KEY_BYTES]));
        let (mut stanzas, labels) = age::Recipient::wrap_file_key(&recipient, &file_key).expect("wraps");
        assert!(labels.contains("postquantum"));
        let unwrapped = ours.unwrap_stanzas(&stanzas).expect("ours").expect("valid");
        assert_eq!(unwrapped.expose_secret(), file_key.expose_secret());
        stanzas[0].body[0] ^= 1;
        assert!(ours.unwrap_stanzas(&stanzas).is_none());
    }
}
