//! OpenPGP: messages, keyrings and exported keys, damaged in every way.

use std::sync::{Arc, LazyLock};

use base64_simd::STANDARD;
use leafseal::edge::{Clock, Timestamp};
use leafseal::keyservice::KeyService;
use leafseal::keyservice::pgp::{self, Certificates, Pgp, SecretKeys};
use leafseal::metadata::MasterKey;
use leafseal::secret::KeyPart;
use leafseal::tree::Wire;
use pollster::block_on;

macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!("../../../lib/testdata/pgp/", $name))
    };
}

/// The keys that the messages of the corpus are for.
const KEYS: [&[u8]; 3] = [key!("cv25519.sec.asc"), key!("rsa2048.sec.asc"), key!("elgamal.sec.asc")];

/// Names of keys that stand in the keyrings of the corpus.
const NAMES: [&str; 4] = [
    "00C4811EC3D5DCACE9140562793EAD3B64A816F6!",
    "338EBA157FBDFBFEF2394B9687AAB04E6C424C8B",
    "BA4403E8BBC52CB7",
    "C95E6CAE",
];

/// A message to the first of the keys.
const MESSAGE: &str = include_str!("../corpus/pgp_message/cv25519.asc");

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2030-01-02T03:04:05Z")
    }
}

fn service(certificates: Certificates, secret_keys: SecretKeys) -> Pgp {
    Pgp::new((Arc::new(certificates), Arc::new(secret_keys)), Stopped)
}

fn unwrap(pgp: &Pgp, enc: &str) -> bool {
    let key = MasterKey { kind: "pgp".to_owned(), fields: Vec::new(), enc: Some(enc.to_owned()) };
    block_on(pgp.unwrap(&key)).expect("it is an OpenPGP key").is_ok()
}

/// A text in armour opens or does not.
pub(crate) fn message(input: &[u8]) {
    static SERVICE: LazyLock<Pgp> = LazyLock::new(|| {
        let mut keys = SecretKeys::default();
        KEYS.iter().for_each(|it| keys.read("a file", it));
        service(Certificates::default(), keys)
    });
    let Ok(enc) = std::str::from_utf8(input) else { return };
    let opened = unwrap(&SERVICE, enc);
    assert!(!opened || !pgp::recipients(enc).expect("it opened").is_empty(), "it opened for nobody");
}

/// As for [`message`], but what is inside the armour is damaged.
pub(crate) fn packets(input: &[u8]) {
    let body = STANDARD.encode_to_string(input);
    message(format!("-----BEGIN PGP MESSAGE-----\n\n{body}\n-----END PGP MESSAGE-----\n").as_bytes());
}

/// What is wrapped to a certificate of a keyring is a message.
pub(crate) fn certificates(input: &[u8]) {
    let mut certificates = Certificates::default();
    certificates.read("a file", input.to_vec());
    let pgp = service(certificates, SecretKeys::default());
    let data_key = KeyPart::from_bytes(&[7; 32]).expect("it is 32 bytes long");
    for name in NAMES {
        let fields = vec![("fp".to_owned(), Wire::text(name))];
        let key = MasterKey { kind: "pgp".to_owned(), fields, enc: None };
        if let Ok(enc) = block_on(pgp.wrap(&key, &data_key)).expect("it is an OpenPGP key") {
            assert_eq!(pgp::recipients(&enc).expect("we read what we write").len(), 1);
        }
    }
}

/// Secret keys open a message or do not, and their public halves are certificates.
pub(crate) fn secret_keys(input: &[u8]) {
    let mut keys = SecretKeys::default();
    keys.read("a file", input);
    let public = keys.certificates().to_vec();
    unwrap(&service(Certificates::default(), keys), MESSAGE);
    if !public.is_empty() {
        certificates(&public);
    }
}

pub(crate) fn rings() -> Vec<Vec<u8>> {
    let mut seeds = secret_rings();
    seeds.push(key!("keygrips.asc").to_vec());
    seeds
}

pub(crate) fn secret_rings() -> Vec<Vec<u8>> {
    KEYS.iter().map(|it| it.to_vec()).chain([key!("locked.sec.asc").to_vec()]).collect()
}
