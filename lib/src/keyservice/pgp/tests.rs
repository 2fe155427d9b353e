//! Messages that no honest program writes, and keys in every state, without a GnuPG beside them.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pollster::block_on;
use sequoia_openpgp::Packet;
use sequoia_openpgp::armor;
use sequoia_openpgp::cert::raw::RawCertParser;
use sequoia_openpgp::cert::{CertBuilder, Preferences};
use sequoia_openpgp::crypto::mpi::{SecretKeyChecksum, SecretKeyMaterial as Secret};
use sequoia_openpgp::crypto::symmetric::{BlockCipherMode, Encryptor, PaddingMode};
use sequoia_openpgp::crypto::{S2K, SessionKey};
use sequoia_openpgp::packet::key::{Encrypted, SecretKeyMaterial};
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::packet::{PKESK, Tag};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::MarshalInto;
use sequoia_openpgp::serialize::stream::{Compressor, Message as Stream};
use sequoia_openpgp::types::{CompressionAlgorithm, HashAlgorithm, SymmetricAlgorithm};
use zeroize::Zeroizing;

use super::message::Opener;
use super::*;
use crate::edge::Timestamp;
use crate::secret::SecretText;

macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!("../../../testdata/pgp/", $name))
    };
}

struct At(&'static str);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds(self.0)
    }
}

/// Answers with the right passphrase and counts.
struct Answers(Arc<AtomicUsize>);

impl Prompt for Answers {
    fn passphrase(&self, _: &str) -> Option<SecretText> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some("passphrase".into())
    }
}

fn secret_keys(source: &[u8]) -> SecretKeys {
    let mut keys = SecretKeys::default();
    keys.read("a file", source);
    keys
}

/// A service with the secret keys in `source` and their certificates, in the year 2030.
fn service(source: &[u8]) -> Pgp {
    let (mut certificates, keys) = (Certificates::default(), secret_keys(source));
    certificates.read("a file", keys.certificates().to_vec());
    Pgp::new((Arc::new(certificates), Arc::new(keys)), At("2030-01-01T00:00:00Z"))
}

/// The keys of a file that encrypt.
fn public(source: &[u8]) -> Vec<PublicKey> {
    Local { keys: &secret_keys(source), prompt: None }.keys(None)
}

fn open(source: &[u8], packets: &[u8]) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    Message::parse(&armoured(packets))?.open(&Local { keys: &secret_keys(source), prompt: None })
}

fn armoured(packets: &[u8]) -> String {
    let mut writer = armor::Writer::new(Vec::new(), armor::Kind::Message).expect("a vector takes it");
    writer.write_all(packets).expect("a vector takes it");
    String::from_utf8(writer.finalize().expect("a vector takes it")).expect("armour is ASCII")
}

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | tag, 0xff], &(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A session key packet for a key that hides these bytes, whatever they are.
fn wrapped(key: &PublicKey, hidden: bool, block: &[u8]) -> Vec<u8> {
    let esk = key.0.encrypt(&SessionKey::from(block)).expect("the key encrypts");
    let pkesk = PKESK3::new((!hidden).then(|| key.0.keyid()), key.0.pk_algo(), esk).expect("a packet");
    Packet::from(PKESK::from(pkesk)).to_vec().expect("a packet")
}

/// What stands in a session key packet for the key of [`sealed`].
fn block() -> Vec<u8> {
    let sum = 32_u16 * 5;
    [&[u8::from(SymmetricAlgorithm::AES256)], &[5; 32][..], &sum.to_be_bytes()].concat()
}

/// The body of a protected packet around other packets; `change` is what the content becomes after
/// it was digested.
fn sealed_as(content: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut plain = [&[9; 18][..], content, &[0xd3, 0x14]].concat();
    let mut hash = HashAlgorithm::SHA1.context().expect("it is known").for_digest();
    hash.update(&plain);
    plain.extend(hash.into_digest().expect("a digest"));
    change(&mut plain);
    let mut body = vec![1];
    let (mode, key) = (BlockCipherMode::CFB, SessionKey::from(&[5; 32][..]));
    let encryptor = Encryptor::new(SymmetricAlgorithm::AES256, mode, PaddingMode::None, &key, None, &mut body);
    let mut encryptor = encryptor.expect("the cipher is known");
    encryptor.write_all(&plain).expect("a vector takes it");
    encryptor.finalize().expect("a vector takes it");
    body
}

fn sealed(content: &[u8]) -> Vec<u8> {
    packet(18, &sealed_as(content, |_| ()))
}

fn literal(bytes: &[u8]) -> Vec<u8> {
    packet(11, &[b"b\0\0\0\0\0", bytes].concat())
}

fn compressed(algorithm: CompressionAlgorithm, write: impl FnOnce(&mut dyn Write)) -> Vec<u8> {
    let mut packets = Vec::new();
    let stream = Compressor::new(Stream::new(&mut packets)).algo(algorithm).build().expect("it is known");
    let mut stream = stream;
    write(&mut stream);
    stream.finalize().expect("a vector takes it");
    packets
}

#[test]
fn a_message_opens_or_says_why_not() {
    let file = key!("cv25519.sec.asc");
    let key = &public(file)[0];
    let to = wrapped(key, false, &block());
    let message = |content: &[u8]| [&to[..], &sealed(content)].concat();
    let share = [8; 33];
    let nested = |depth: usize| {
        (0..depth).fold(literal(&share), |inner, _| {
            compressed(CompressionAlgorithm::Zip, |it| it.write_all(&inner).expect("a vector takes it"))
        })
    };
    let bomb = |algorithm| {
        compressed(algorithm, |it| {
            // A literal without an end, in a chunk that claims to be huge.
            it.write_all(&[0xcb, 0xff, 0x10, 0, 0, 0, b'b', 0, 0, 0, 0, 0]).expect("a vector takes it");
            (0..64).for_each(|_| it.write_all(&vec![0; 1 << 20]).expect("a vector takes it"));
        })
    };
    let markers = packet(10, b"PGP").repeat(100_000);
    let marker_bomb = compressed(CompressionAlgorithm::Zlib, |it| it.write_all(&markers).expect("a vector takes it"));
    let partial = {
        let body = sealed_as(&[packet(10, b"PGP").repeat(60), literal(&share)].concat(), |_| ());
        let rest = ((body.len() - 512) as u32).to_be_bytes();
        [&to[..], &[0xd2, 0xe9], &body[..512], &[0xff], &rest, &body[512..]].concat()
    };
    let content = |what| Err(MessageError::Content(what));
    let aead = Err(MessageError::Unsupported("encrypted with AEAD".to_owned()));
    let id = key.id();
    let failed = |why: &str| Err(MessageError::Failed(format!("{id}: {why}")));
    let damaged = "the OpenPGP message was changed or damaged";
    let no_block = "the key decrypts it to something else than a session key";
    let cases: Vec<(&str, Vec<u8>, Result<(), MessageError>)> = vec![
        ("a share", message(&literal(&share)), Ok(())),
        (
            "with markers",
            [&packet(10, b"PGP"), &message(&[packet(10, b"PGP"), literal(&share)].concat())[..]].concat(),
            Ok(()),
        ),
        ("in parts", partial, Ok(())),
        ("compressed", message(&nested(1)), Ok(())),
        ("compressed four times", message(&nested(4)), Ok(())),
        ("compressed five times", message(&nested(5)), content("compressed data in compressed data")),
        ("a bomb", message(&bomb(CompressionAlgorithm::Zip)), content("more than a few bytes")),
        ("a bomb of zlib", message(&bomb(CompressionAlgorithm::Zlib)), content("more than a few bytes")),
        ("a bomb of bzip2", message(&bomb(CompressionAlgorithm::BZip2)), content("more than a few bytes")),
        ("a bomb of markers", message(&marker_bomb), content("no literal data")),
        (
            "a compression nobody knows",
            message(&packet(8, &[99, 1, 2])),
            Err(MessageError::Unsupported("compressed with Unknown compression algorithm 99".to_owned())),
        ),
        ("a long literal", message(&literal(&[8; 5000])), content("more than a few bytes")),
        ("nothing in it", message(&literal(b"")), content("nothing")),
        ("no literal", message(b""), content("no literal data")),
        ("junk", message(&[0x12; 40]), content("something damaged")),
        ("two literals", message(&literal(&share).repeat(2)), content("several parts")),
        ("signed", message(&packet(2, &[3; 40])), content("no literal data")),
        ("another key first", [wrapped(key, true, b"\x09\x01\x01"), message(&literal(&share))].concat(), Ok(())),
        (
            "a bad packet for the same key first",
            [wrapped(key, false, &[9; 35]), message(&literal(&share))].concat(),
            Ok(()),
        ),
        ("no session key", [wrapped(key, false, b"\x09\0"), sealed(&literal(&share))].concat(), failed(damaged)),
        ("an empty session key", [wrapped(key, false, b""), sealed(&literal(&share))].concat(), failed(damaged)),
        (
            "a session key of another length",
            [wrapped(key, false, b"\x09\x01\0\x01"), sealed(b"")].concat(),
            failed(damaged),
        ),
        (
            "an unwrappable session key",
            [&to[..to.len() - 1], &[to[to.len() - 1] ^ 1], &sealed(b"")].concat(),
            failed(no_block),
        ),
        (
            "a changed byte",
            [to.clone(), packet(18, &sealed_as(&literal(&share), |it| it[30] ^= 1))].concat(),
            failed(damaged),
        ),
        (
            "a changed digest",
            [to.clone(), packet(18, &sealed_as(&literal(&share), |it| *it.last_mut().expect("one") ^= 1))].concat(),
            failed(damaged),
        ),
        (
            "a changed start",
            [to.clone(), packet(18, &sealed_as(&literal(&share), |it| it[16] ^= 1))].concat(),
            failed(damaged),
        ),
        (
            "no digest",
            [to.clone(), packet(18, &sealed_as(&literal(&share), |it| it.truncate(it.len() - 22)))].concat(),
            failed(damaged),
        ),
        (
            "hardly anything",
            [to.clone(), packet(18, &[1, 2])].concat(),
            Err(MessageError::Malformed("there is no encrypted data in it".to_owned())),
        ),
        ("no integrity protection", [to.clone(), packet(9, &[7; 60])].concat(), Err(MessageError::Unprotected)),
        ("AEAD of GnuPG", [to.clone(), packet(20, &[1, 9, 2, 16, 0, 0])].concat(), aead.clone()),
        ("AEAD of the standard", [to.clone(), packet(18, &[&[2, 9, 2, 6][..], &[0; 60]].concat())].concat(), aead),
        ("nobody's", sealed(&literal(&share)), Err(MessageError::NoKey("a message without recipients".to_owned()))),
    ];
    for (name, packets, expected) in cases {
        let started = Instant::now();
        let result = open(file, &packets);
        assert!(started.elapsed().as_secs() < 120, "{name}");
        assert_eq!(result.as_ref().map(drop).map_err(Clone::clone), expected, "{name}");
        assert!(result.is_err() || *result.expect("it opened") == share, "{name}");
    }
    for (enc, error) in [
        ("", "it is not an OpenPGP message: there is no `-----BEGIN PGP MESSAGE-----`"),
        ("-----BEGIN PGP MESSAGE-----\n\n=aaaa\n", "it is not an OpenPGP message"),
        ("-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----", "it is not an OpenPGP message"),
    ] {
        let text = Message::parse(enc).err().expect("it is none").to_string();
        assert!(text.starts_with(error), "{text}");
    }
    let long = "-----BEGIN PGP MESSAGE-----\n\n".to_owned() + &"A".repeat(1 << 21);
    assert_eq!(Message::parse(&long).err(), Some(MessageError::TooLong));
}

/// What the sender sealed may be anything at all.
#[test]
fn no_content_is_too_odd() {
    let file = key!("cv25519.sec.asc");
    let to = wrapped(&public(file)[0], false, &block());
    let seeds = [
        literal(&[8; 33]),
        compressed(CompressionAlgorithm::Zip, |it| it.write_all(&literal(&[8; 33])).expect("a vector takes it")),
        compressed(CompressionAlgorithm::BZip2, |it| it.write_all(&literal(&[8; 33])).expect("a vector takes it")),
        [packet(10, b"PGP"), packet(2, &[3; 40]), packet(63, b"x"), literal(b"y")].concat(),
    ];
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for n in 0..1000 {
        let mut content = seeds[n % seeds.len()].clone();
        for _ in 0..=next(3) {
            let at = next(content.len());
            content[at] = next(256) as u8;
        }
        content.truncate(content.len() - next(4));
        if let Ok(opened) = open(file, &[&to[..], &sealed(&content)].concat()) {
            assert!(!opened.is_empty() && opened.len() <= 4096);
        }
    }
}

/// RSA hides blocks of any length, the empty one included.
#[test]
fn what_rsa_hides_is_not_trusted() {
    let file = key!("rsa2048.sec.asc");
    let key = &public(file)[0];
    for block in [&b""[..], b"\x09", b"\x09\0", b"\x09\0\0", &[0xff; 200]] {
        let result = open(file, &[wrapped(key, false, block), sealed(&literal(b"x"))].concat());
        assert!(matches!(result, Err(MessageError::Failed(_))), "{block:?}");
    }
    assert!(open(file, &[wrapped(key, false, &block()), sealed(&literal(b"x"))].concat()).is_ok());
}

#[test]
fn thousands_of_recipients_take_no_time() {
    let file = key!("cv25519.sec.asc");
    let key = &public(file)[0];
    let body = sealed(&literal(b"x"));
    let stranger = wrapped(&public(key!("rsa2048.sec.asc"))[0], false, &block());
    let hidden = wrapped(key, true, b"\x09\0\0");
    let mine = wrapped(key, false, &block());
    for (packets, expected) in [
        ([stranger.repeat(1000), body.clone()].concat(), Err("no secret key for 1CA687183D60ECC8")),
        ([stranger.repeat(1000), mine.clone(), body.clone()].concat(), Ok(())),
        ([hidden.repeat(2000), body.clone()].concat(), Err("gave up after 256 attempts")),
        ([hidden.repeat(2000), mine, body].concat(), Ok(())),
    ] {
        let started = Instant::now();
        let result = open(file, &packets).map(drop).map_err(|it| it.to_string());
        assert!(started.elapsed().as_secs() < 120);
        match (&result, expected) {
            (Err(text), Err(error)) => assert!(text.contains(error) || text.starts_with("no secret key"), "{text}"),
            _ => assert_eq!(result.is_ok(), expected.is_ok(), "{result:?}"),
        }
    }
}

#[test]
fn every_kind_of_key_opens_what_is_wrapped_to_it() {
    for (file, questions) in [
        (&key!("cv25519.sec.asc")[..], 0),
        (key!("rsa2048.sec.asc"), 0),
        (key!("elgamal.sec.asc"), 0),
        (key!("locked.sec.asc"), 1),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let pgp = service(file).with_prompt(Answers(Arc::clone(&asked)));
        let mut key = KIND.master_key(&public(file)[0].fingerprint()).expect("a fingerprint");
        let data_key = KeyPart::from_bytes(&[4; 32]).expect("32 bytes");
        key.enc = Some(block_on(pgp.wrap(&key, &data_key)).expect("an OpenPGP key").expect("wraps"));
        for _ in 0..2 {
            let opened = block_on(pgp.unwrap(&key)).expect("an OpenPGP key").expect("unwraps");
            assert_eq!(opened.expose(), data_key.expose());
        }
        assert_eq!(asked.load(Ordering::Relaxed), questions);
        let other = MasterKey { kind: "age".to_owned(), ..key };
        assert!(block_on(pgp.unwrap(&other)).is_none() && block_on(pgp.wrap(&other, &data_key)).is_none());
    }
}

/// What is written stays what GnuPG 2.2 reads, even to keys that say they understand newer forms: a
/// message in those would not open here.
#[test]
fn a_certificate_that_asks_for_newer_forms_gets_the_old_ones() {
    let builder = CertBuilder::general_purpose(Some("public test key")).set_validity_period(None);
    let (cert, _) = builder.generate().expect("a certificate");
    let features = cert.with_policy(&StandardPolicy::new(), None).expect("it is new").features();
    assert!(features.expect("it says so").supports_seipdv2());
    let pgp = service(&cert.as_tsk().to_vec().expect("packets"));
    let mut key = KIND.master_key(&cert.fingerprint().to_hex()).expect("a fingerprint");
    let data_key = KeyPart::from_bytes(&[4; 32]).expect("32 bytes");
    key.enc = Some(block_on(pgp.wrap(&key, &data_key)).expect("an OpenPGP key").expect("wraps"));
    let opened = block_on(pgp.unwrap(&key)).expect("an OpenPGP key").expect("it is protected by an MDC");
    assert_eq!(opened.expose(), data_key.expose());
}

#[test]
fn what_cannot_be_encrypted_to_is_named() {
    let file = key!("cv25519.sec.asc");
    let fingerprint = public(file)[0].fingerprint();
    let early = |name: &str| {
        let mut certificates = Certificates::default();
        certificates.read("a file", file.to_vec());
        certificates.not_at("there");
        let pgp = Pgp::new((Arc::new(certificates), Arc::default()), At("2020-01-01T00:00:00Z"));
        let key = MasterKey {
            kind: "pgp".to_owned(),
            fields: vec![("fp".to_owned(), crate::tree::Wire::text(name))],
            enc: None,
        };
        let data_key = KeyPart::from_bytes(&[4; 32]).expect("32 bytes");
        block_on(pgp.wrap(&key, &data_key)).expect("an OpenPGP key").expect_err("nothing to encrypt to").0
    };
    let start = "could not encrypt data key with PGP key";
    for (name, error) in [
        ("ABCDEF", "\"ABCDEF\" is no fingerprint and no key id of 16 digits".to_owned()),
        ("a@b", "\"a@b\" is no fingerprint and no key id of 16 digits".to_owned()),
        ("", "\"\" is no fingerprint and no key id of 16 digits".to_owned()),
        ("!", "\"!\" is no fingerprint and no key id of 16 digits".to_owned()),
        ("6C424C8B", "\"6C424C8B\" is no fingerprint and no key id of 16 digits".to_owned()),
        ("1123456789ABCDEF0", "\"1123456789ABCDEF0\" is no fingerprint and no key id of 16 digits".to_owned()),
        (
            "0123456789ABCDEF",
            "key with fingerprint '0123456789ABCDEF' is not available in keyring\nDid not find keys in location 'there'.".to_owned(),
        ),
        // Before it was made.
        (&fingerprint, "the OpenPGP key 338EBA157FBDFBFEF2394B9687AAB04E6C424C8B has no valid signature of its own".to_owned()),
    ] {
        assert_eq!(early(name), format!("{start}: {error}"));
    }
}

/// Its own signature is of a kind that is not checked here: no older key may take its place.
#[test]
fn a_subkey_that_signs_too_is_not_passed_over() {
    let mut certificates = Certificates::default();
    certificates.read("a file", include_bytes!("../../../testdata/pgp/rsa8192.asc").to_vec());
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_hours(24 * 365 * 60);
    for (name, chosen) in [
        ("FB2A648C847A21752F8B2915847458C55F17672B", Err("RSA with 8192 bits")),
        ("312BBC6644F8FA73!", Err("RSA with 8192 bits")),
        ("847458C55F17672B!", Ok("847458C55F17672B")),
    ] {
        let choice = certificates.choose(name, now).map(|it| it.key.id()).map_err(|it| it.to_string());
        match (choice, chosen) {
            (Ok(id), Ok(expected)) => assert_eq!(id, expected, "{name}"),
            (Err(error), Err(kind)) => assert!(error.contains(kind), "{error}"),
            (choice, _) => panic!("{name}: {choice:?}"),
        }
    }
}

#[test]
fn secret_keys_that_cannot_be_used_say_so() {
    let (primary, subkey) = parts(key!("cv25519.sec.asc"));
    let id = subkey.keyid();
    let locked = |s2k, cipher| {
        let secret = SecretKeyMaterial::Encrypted(Encrypted::new(
            s2k,
            cipher,
            Some(SecretKeyChecksum::SHA1),
            vec![0; 60].into(),
        ));
        let subkey = subkey.clone().parts_into_public().add_secret(secret).0;
        let subkey = Packet::SecretSubkey(subkey.role_into_subordinate()).to_vec().expect("a packet");
        [&primary[..], &subkey].concat()
    };
    let argon2 = |m, t| S2K::Argon2 { salt: [1; 16], t, p: 1, m };
    let gnu = |kind| S2K::Private { tag: 101, parameters: Some([b"\0GNU", &[kind][..]].concat().into()) };
    let iterated = S2K::Iterated { hash: HashAlgorithm::SHA512, salt: [1; 8], hash_bytes: 65_011_712 };
    let aes = SymmetricAlgorithm::AES256;
    for (file, error) in [
        (locked(argon2(22, 1), aes), "takes too much work to unlock"),
        (locked(argon2(10, 200), aes), "takes too much work to unlock"),
        (locked(argon2(10, 1), aes), "does not open with this passphrase"),
        (locked(iterated.clone(), aes), "does not open with this passphrase"),
        (locked(iterated, SymmetricAlgorithm::Blowfish), "is locked with Blowfish, which is left to gpg"),
        (locked(gnu(1), aes), "has no secret half there"),
        (locked(gnu(2), aes), "has no secret half there"),
    ] {
        let pgp = service(&file).with_prompt(Answers(Arc::default()));
        let enc = armoured(&[wrapped(&public(&file)[0], false, &block()), sealed(&literal(&[4; 32]))].concat());
        let key = MasterKey { kind: "pgp".to_owned(), fields: Vec::new(), enc: Some(enc) };
        let text = block_on(pgp.unwrap(&key)).expect("an OpenPGP key").expect_err("it is locked").0;
        assert_eq!(text, format!("could not decrypt data key with PGP key: {id}: the key in 'a file' {error}"));
    }
    for (source, error) in [
        (&b""[..], "\nDid not find keys in location 'a file'."),
        (b" \n", "\nDid not find keys in location 'a file'."),
        (b"nonsense", "'a file': there is no secret key in it"),
        (key!("keygrips.asc"), "'a file': there is no secret key in it"),
        (&vec![0; KEY_FILE_LIMIT + 1], "'a file': file too long"),
    ] {
        let keys = secret_keys(source);
        assert!(keys.is_empty() && keys.remarks().ends_with(error), "{}", keys.remarks());
    }
}

/// The packet of a primary key, and the subkey, of a file.
fn parts(source: &[u8]) -> (Vec<u8>, Key<key::SecretParts, key::UnspecifiedRole>) {
    let raw = RawCertParser::from_bytes(source).expect("keys").next().expect("a key").expect("a key");
    let subkey = raw.packets().find(|it| it.tag() == Tag::SecretSubkey).expect("it has one");
    let subkey = Key::from_bytes(subkey.body()).and_then(Key::parts_into_secret).expect("a secret key");
    (raw.packet(0).expect("the primary key").as_bytes().to_vec(), subkey)
}

/// The point that two keys share is all that a stranger has to compute.
#[test]
fn a_message_opens_with_a_key_that_lies_elsewhere() {
    struct Elsewhere {
        scalar: [u8; 32],
        prefix: &'static [u8],
        has: bool,
    }

    impl Decrypts for Elsewhere {
        fn has(&self, _: &PublicKey) -> bool {
            self.has
        }

        fn decrypt(&self, _: &PublicKey, ciphertext: Ciphertext<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
            let Ciphertext::Ecdh { e: [0x40, point @ ..], wrapped } = ciphertext else {
                return Err("no point".to_owned());
            };
            assert_eq!(wrapped.len(), 48);
            let point: [u8; 32] = point.try_into().map_err(|_| "no point")?;
            let shared = x25519_dalek::x25519(self.scalar, point);
            Ok(Zeroizing::new([self.prefix, &shared].concat()))
        }
    }

    let file = key!("cv25519.sec.asc");
    let key = &public(file)[0];
    let keys = secret_keys(file);
    let pair = parts(file).1.into_keypair().expect("no passphrase");
    let mut scalar = [0; 32];
    pair.secret().map(|it| match it {
        Secret::ECDH { scalar: it } => scalar.copy_from_slice(&it.value_padded(32)),
        _ => panic!("the file has a Curve25519 key"),
    });
    // OpenPGP writes it with the highest byte first.
    scalar.reverse();
    let mut certificates = Certificates::default();
    certificates.read("a file", keys.certificates().to_vec());
    let mine = armoured(&[wrapped(key, false, &block()), sealed(&literal(b"x"))].concat());
    let hidden = armoured(&[wrapped(key, true, &block()), sealed(&literal(b"x"))].concat());
    assert_eq!(recipients(&mine), Ok(vec![Recipient { id: Some(key.id()) }]));
    assert_eq!(recipients(&hidden), Ok(vec![Recipient { id: None }]));
    for (prefix, has, opens) in
        [(&b""[..], true, true), (b"\x40", true, true), (b"\x04", true, false), (b"", false, false)]
    {
        for enc in [&mine, &hidden] {
            let result = super::open(enc, &certificates, &Elsewhere { scalar, prefix, has });
            assert_eq!(result.is_ok(), opens, "{prefix:?} {has}");
            assert_eq!(matches!(result, Err(MessageError::NoKey(_))), !has || (!opens && *enc == hidden));
        }
    }
}
