//! What a source holds, as digests: nothing else of it is kept.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use leafseal::secret::SecretText;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Source;
use crate::digest::{self, Data, hex};

/// The key that digests are made with: without it a digest says nothing about what was digested.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<Vec<u8>>,
    id: String,
}

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        let id = hex(&Sha256::digest([b"leafseal reload key id\0", bytes.as_slice()].concat())[..4]);
        Self { bytes, id }
    }

    /// The key where the operator may keep none: whoever can guess a content can find out that it was
    /// right, as with the original's markers.
    pub fn shared() -> Self {
        Self::new(Zeroizing::new(b"leafseal".to_vec()))
    }

    /// What tells it from other keys.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a source holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    /// The original's marker: SHA-1, in hexadecimal (spec section B.4).
    pub marker: String,
    /// A digest with a [`Key`]; two contents that differ never have the same.
    pub digest: String,
    /// A short digest for each of its keys, in their order.
    keys: Box<[(Box<str>, u32)]>,
}

impl Content {
    /// That of a Secret.
    pub fn of_secret(secret: &Secret, key: &Key) -> Self {
        let data = secret.data.iter().flatten();
        Self::of(data.map(|(name, value)| (name.clone(), SecretText::new(value.0.clone()))).collect(), key)
    }

    /// That of a ConfigMap, with its binary data in base64.
    pub fn of_config_map(map: &ConfigMap, key: &Key) -> Self {
        let text = map.data.iter().flatten().map(|(name, value)| (name.clone(), value.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten();
        let coded = binary.map(|(name, value)| (name.clone(), base64_simd::STANDARD.encode_to_string(&value.0)));
        let all = text.chain(coded.map(|(name, value)| (name, value.into_bytes())));
        Self::of(all.map(|(name, value)| (name, SecretText::new(value))).collect(), key)
    }

    /// That of data.
    pub fn of(data: Data, key: &Key) -> Self {
        let mac = || Hmac::<Sha256>::new_from_slice(&key.bytes).expect("HMAC takes keys of every length");
        let mut whole = mac();
        let mut keys = Vec::with_capacity(data.len());
        for (name, value) in &data {
            let mut one = mac();
            for part in [name.as_bytes(), value.expose()] {
                whole.update(&(part.len() as u64).to_be_bytes());
                whole.update(part);
                one.update(&(part.len() as u64).to_be_bytes());
                one.update(part);
            }
            let short = one.finalize().into_bytes();
            keys.push((name.as_str().into(), u32::from_be_bytes([short[0], short[1], short[2], short[3]])));
        }
        let digest = hex(&whole.finalize().into_bytes()[..16]);
        Self { marker: digest::reload_marker(&data), digest, keys: keys.into() }
    }

    /// The names of the keys that came, went or changed since `before`.
    pub fn changed_keys(&self, before: &Self) -> Vec<String> {
        let differs = |one: &Self, other: &Self| {
            let differing = one.keys.iter().filter(|it| other.keys.binary_search(it).is_err());
            differing.map(|it| it.0.to_string()).collect::<Vec<_>>()
        };
        let mut names = differs(self, before);
        names.extend(differs(before, self));
        names.sort();
        names.dedup();
        names
    }
}

/// What a marker says of a source that is gone: the SHA-1 of nothing.
pub(super) const GONE: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

impl Source {
    /// What a pod's status of the CSI driver says that it holds (spec section B.4): objects with their
    /// versions.
    pub fn provider_class_data(class: &str, objects: BTreeMap<String, String>) -> Data {
        let named = ("SecretProviderClassName".to_owned(), SecretText::new(class.as_bytes().to_vec()));
        let objects = objects.into_iter().map(|(id, version)| (id, SecretText::new(version.into_bytes())));
        objects.chain([named]).collect()
    }
}
