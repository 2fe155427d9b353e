//! The digests that the original operators leave on objects, bit for bit: what they wrote is
//! recognised, so that nothing is written again when this operator takes over.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use sha3::{Digest, Sha3_224};

use leafseal::secret::SecretText;

use crate::go::{Bytes, map_text};

/// The data of a Secret: what stands under its keys.
pub type Data = BTreeMap<String, SecretText>;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// The `reconcile.external-secrets.io/data-hash` of a Secret's whole data (External Secrets, spec
/// section 2.4).
pub fn data_hash(data: &Data) -> String {
    let printed: BTreeMap<String, Bytes<'_>> =
        data.iter().map(|(key, value)| (key.clone(), Bytes(value.expose()))).collect();
    sha3(&map_text(&printed))
}

/// The part of `status.syncedResourceVersion` that stands for an object's metadata (External
/// Secrets, spec section 2.3).
pub fn metadata_hash(annotations: &Labels, labels: &Labels) -> String {
    sha3(&format!("{{annotations:{} labels:{}}}", map_text(annotations), map_text(labels)))
}

/// The `reconcile.external-secrets.io/created-by` label of what an ExternalSecret owns.
pub fn owner_label(namespace: &str, name: &str) -> String {
    sha3(&format!("{namespace}/{name}"))
}

/// The field manager of an ExternalSecret's writes: at most 63 characters (External Secrets, spec
/// section 0).
pub fn field_manager(name: &str) -> String {
    let long = long_field_manager(name);
    match long.len() {
        ..=63 => long,
        _ => long_field_manager(&format!("sha3/{}", sha3(name))),
    }
}

/// The field manager of an ExternalSecret, however long: the form under which the original looked
/// for labels and annotations.
pub fn long_field_manager(name: &str) -> String {
    format!("externalsecrets.external-secrets.io/{name}")
}

/// The `status.secretMAC` of a Vault secret: over the whole data that is written, with the key of the
/// operator's namespace (Vault Secrets, spec section A.4.5).
pub fn secret_mac(key: &[u8], data: &Data) -> String {
    let members: Vec<String> = data
        .iter()
        .map(|(key, value)| format!("\"{key}\":\"{}\"", base64_simd::STANDARD.encode_to_string(value.expose())))
        .collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(format!("{{{}}}", members.join(",")).as_bytes());
    base64_simd::STANDARD.encode_to_string(mac.finalize().into_bytes())
}

/// The marker that a reload leaves on a workload: over what a Secret holds, or a ConfigMap with its
/// binary data in base64 (Reloader, spec section B.4).
pub fn reload_marker(data: &Data) -> String {
    // In the order of whole entries: that of keys alone puts `a` before `a-b`.
    let mut entries: Vec<[&[u8]; 3]> =
        data.iter().map(|(key, value)| [key.as_bytes(), &b"="[..], value.expose()]).collect();
    entries.sort_by(|a, b| a.iter().copied().flatten().cmp(b.iter().copied().flatten()));
    let mut sha = Sha1::new();
    for (n, entry) in entries.iter().enumerate() {
        sha.update(if n > 0 { ";" } else { "" });
        entry.iter().for_each(|part| sha.update(part));
    }
    hex(&sha.finalize())
}

fn sha3(text: &str) -> String {
    hex(&Sha3_224::digest(text.as_bytes()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |it: u8| char::from(b"0123456789abcdef"[usize::from(it)]);
    bytes.iter().flat_map(|it| [digit(it >> 4), digit(it & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|&(key, value)| (key.to_owned(), SecretText::from(value))).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_data_hash_is_that_of_external_secrets() {
        for (pairs, expected) in [
            (&[][..], "74a974446e359fb3e6baff9bd0058950e6edd0f040888d9989b0a11b"),
            (&[("k", "v")], "a5ed8ea1c1be40fdb1975cb0a6fd52a4803c7f13cc97721399013172"),
            (&[("password", "s3cr3t")], "32624ec2bbb01c19a38546e9e3c9996bce3ad67744c9550874b627b9"),
            (
                &[("username", "app"), ("password", "s3cr3t")],
                "be2fd95af3006e55985f48af0965cccd57e8ab151bb2832cdb879796",
            ),
            (&[("a", ""), ("b", "12")], "71665a876709673cff20c2f03b40d4ecea4a1b95d97804f7a8d58bcc"),
            (&[("database-password", "s3cr3t")], "ce9610bd57734004736815f71c1a8f689e4d7a5fb1e7abe81de0636a"),
            (&[("DB_PASSWORD", "hunter2")], "d5c2d321fdcb73554681fd4960f376134825eb34084ca7d5c033408e"),
            (&[("k", "é")], "b0fddbea631986e8869f717efca7bcece0b039a860c051bde91c96b1"),
        ] {
            assert_eq!(data_hash(&data(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_metadata_hash_is_that_of_external_secrets() {
        for (annotations, its_labels, expected) in [
            (&[][..], &[][..], "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"),
            (&[], &[("app", "x")], "c6c29f100d7d2c3dd0c4ec864ab8fc318823363d83e6a91b8b8ae786"),
            (&[("a", "1"), ("b", "2 x")], &[("l", "v")], "88b06e6706dbda51c4b0aee779db7a215684eab0a95922e1ba7a50fd"),
            (&[("force-sync", "1")], &[], "3cb9936e04320bcee317a9aaadf651af57f2be9c1e224eca5ace6f9f"),
            (&[("force-sync", "2")], &[], "7292ec2819a41be50f375cb03918d50f77385c7a8c94ec68da5d0be5"),
        ] {
            assert_eq!(metadata_hash(&labels(annotations), &labels(its_labels)), expected);
        }
    }

    #[test]
    fn owners_and_managers_are_named_as_external_secrets_names_them() {
        for (namespace, name, expected) in [
            ("default", "test-es", "a8e09351ea392b727f69f63683b28619fbed1174f572e728706a9ea8"),
            ("default", "my-es", "b8464376b5fe3535e690594280bfe59b60be2603cb6cbb6d6c8bcbb4"),
            ("apps", "my-application-secrets", "af2ba6218a0e42b2f75249520b0fcb8848d56eb911da3d2391848279"),
            ("apps", "myapp-secrets", "eef13730eeeee5eb791ac65cc188e98bae4da685fc9b6b91378b68c6"),
        ] {
            assert_eq!(owner_label(namespace, name), expected);
        }
        assert_eq!(field_manager(&"a".repeat(27)), format!("externalsecrets.external-secrets.io/{}", "a".repeat(27)));
        assert_eq!(
            field_manager(&"a".repeat(28)),
            "externalsecrets.external-secrets.io/sha3/52a6f48b37cd3535ef771a530c08d9cc4b78350ccdd33f2405e22ebb"
        );
    }

    #[test]
    fn the_mac_is_that_of_vault_secrets() {
        let key: Vec<u8> = (0..16).collect();
        for (pairs, expected) in [
            (&[][..], "lelnVOL5mYj+fUmp6Ots6CyyN1iKhGy6vqc+q6GjudU="),
            (&[("a", "")], "8jkBgQjE0NfSSlSZT7KG5YjHotVYIx03de9/NsIYq04="),
            (&[("username", "u1"), ("password", "p1")], "b+RRJd40BsYO/fbgOwqM6xaLiYGhZIBpjfUN3xa0Y0k="),
        ] {
            assert_eq!(secret_mac(&key, &data(pairs)), expected);
        }
    }

    #[test]
    fn the_marker_is_that_of_reloader() {
        for (pairs, expected) in [
            (&[][..], "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (&[("username", "u1"), ("password", "p1")], "1a418a08042e35c361ba3a636e58a79b575e021a"),
            (&[("a", "1;b=2")], "f83e99e324ba68ccc373a58ef1eb42f8ab88646a"),
            (&[("a", "1"), ("b", "2")], "f83e99e324ba68ccc373a58ef1eb42f8ab88646a"),
            (&[("k", "v"), ("bin", "AP8=")], "a52965cb888b938803e268dc84570cc376106ab0"),
            (&[("a", "x"), ("a-b", "y")], "78b1ba5bd35412d70fd482e5d30ee11350192157"),
            (
                &[
                    ("DB_HOST", "postgresql.database.svc.cluster.local"),
                    ("DB_PORT", "5432"),
                    ("DB_USER", "postgres"),
                    ("DB_PASSWORD", "secret"),
                ],
                "81c6968d63e44cc3da96160bcfbab4cb11919122",
            ),
        ] {
            assert_eq!(reload_marker(&data(pairs)), expected, "{pairs:?}");
        }
    }
}
