//! The key of the MACs of Vault Secrets: shared with the original, so that what it recorded still
//! counts (spec sections A.11 and A.15).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use zeroize::Zeroizing;

use crate::digest;
use crate::plan::data_of;
use crate::written::content_written;

/// The Secret, in the operator's namespace, that holds the key.
pub const SECRET: &str = "vso-cc-storage-hmac-key";
/// How long the key is.
pub const LENGTH: usize = 16;

const KEY: &str = "key";
const LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/component", "client-cache-storage-verification"),
    ("app.kubernetes.io/managed-by", "hashicorp-vso"),
    ("app.kubernetes.io/name", "vault-secrets-operator"),
];

/// The key, and since when it is the key.
#[derive(Clone)]
pub struct MacKey {
    /// The key itself.
    pub bytes: Zeroizing<Vec<u8>>,
    /// When its Secret was made.
    pub made: Option<Timestamp>,
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MacKey").field("made", &self.made).finish_non_exhaustive()
    }
}

/// The key that a Secret holds; `None` if it holds none of the right length.
pub fn read(secret: &Secret) -> Option<MacKey> {
    let bytes = &secret.data.as_ref()?.get(KEY)?.0;
    let made = secret.metadata.creation_timestamp.as_ref().map(|it| it.0);
    (bytes.len() == LENGTH).then(|| MacKey { bytes: Zeroizing::new(bytes.clone()), made })
}

/// The Secret that makes `key` the key.
pub fn secret(namespace: &str, key: &[u8; LENGTH]) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.into()),
            namespace: Some(namespace.into()),
            labels: Some(LABELS.map(|(name, value)| (name.into(), value.into())).into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.into(), ByteString(key.to_vec()))])),
        immutable: Some(true),
        ..Secret::default()
    }
}

/// A recorded MAC that stands for nothing but "the workloads have not seen this yet": whoever
/// compares it, the original too, finds it different and restarts them.
pub const OWED: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What of a recorded MAC can be compared with: `None` if it was made with a key that is lost.
///
/// A MAC of another key is told by its not fitting a target that was last written before the key was
/// made, or in the same second. Nothing restarts then: the object counts as never synced (spec section A.15, 2).
pub fn trusted(recorded: Option<&str>, target: Option<&Secret>, key: &MacKey) -> Option<String> {
    let recorded = recorded.filter(|it| !it.is_empty())?;
    let is_older = |target: &Secret| {
        let (Some(written), Some(made)) = (content_written(&target.metadata), key.made) else { return false };
        written <= made
    };
    let is_void = recorded != OWED
        && target.is_some_and(|it| is_older(it) && digest::secret_mac(&key.bytes, &data_of(it)) != recorded);
    (!is_void).then(|| recorded.to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn the_key_is_read_as_it_was_made() {
        let mut held = secret("vault", &[7; LENGTH]);
        held.metadata.creation_timestamp = Some(Time(at(5)));
        let key = read(&held).expect("it holds a key");
        assert_eq!((key.bytes.as_slice(), key.made), (&[7; LENGTH][..], Some(at(5))));
        assert_eq!(held.immutable, Some(true));
        held.data = Some(BTreeMap::from([("key".into(), ByteString(vec![1; 15]))]));
        assert!(read(&held).is_none());
    }

    #[test]
    fn macs_of_a_lost_key_do_not_count() {
        let key = MacKey { bytes: Zeroizing::new(vec![1; LENGTH]), made: Some(at(100)) };
        let target = |written: Option<i64>| {
            let entry = |second| ManagedFieldsEntry {
                fields_v1: Some(FieldsV1(json!({ "f:data": { "f:a": {} } }))),
                time: Some(Time(at(second))),
                ..ManagedFieldsEntry::default()
            };
            Secret {
                metadata: ObjectMeta { managed_fields: written.map(|it| vec![entry(it)]), ..ObjectMeta::default() },
                data: Some(BTreeMap::from([("a".into(), ByteString(b"1".to_vec()))])),
                ..Secret::default()
            }
        };
        let fits = digest::secret_mac(&key.bytes, &data_of(&target(None)));
        for (recorded, written, expected) in [
            (fits.as_str(), Some(50), true),
            (&fits, Some(150), true),
            ("b3RoZXI=", Some(50), false),
            ("b3RoZXI=", Some(100), false),
            ("b3RoZXI=", Some(150), true),
            ("b3RoZXI=", None, true),
            (OWED, Some(50), true),
            ("", Some(150), false),
        ] {
            let counts = trusted(Some(recorded), Some(&target(written)), &key).is_some();
            assert_eq!(counts, expected, "{recorded} {written:?}");
        }
        assert_eq!(trusted(Some("b3RoZXI="), None, &key), Some("b3RoZXI=".into()));
        assert_eq!(trusted(None, None, &key), None);
    }
}
