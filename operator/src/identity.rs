//! Who logs in at Vault, as the original named it: cache keys and digests that stand in statuses
//! (Vault Secrets, spec section A.3.2).

use blake2::Blake2bVar;
use blake2::digest::{Update as _, VariableOutput as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::digest::hex;

/// The length of a UID.
const UID: usize = 36;

/// An object and its generation: when either changes, it is another identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version<'a> {
    /// The UID.
    pub uid: &'a str,
    /// The generation.
    pub generation: i64,
}

/// The name of a login: which method, by which VaultAuth over which VaultConnection, with whose
/// credentials.
///
/// Returns `None` if these are not three objects that a cluster has made.
pub fn cache_key(method: &str, auth: Version<'_>, connection: Version<'_>, provider: &str) -> Option<String> {
    let uids = [auth.uid, connection.uid, provider];
    let are_distinct = uids[0] != uids[1] && uids[1] != uids[2] && uids[0] != uids[2];
    if !are_distinct || uids.iter().any(|it| it.len() != UID) {
        return None;
    }
    let named = format!("{}-{}.{}-{}.{provider}", auth.uid, auth.generation, connection.uid, connection.generation);
    let hash = Sha256::digest(named.as_bytes());
    let ends: Vec<u8> = [&hash[..7], &hash[hash.len() - 4..]].concat();
    Some(format!("{}-{}", method.to_lowercase(), hex(&ends)))
}

/// `status.vaultClientMeta.id`: a digest of the token's accessor.
pub fn client_id(accessor: &str) -> String {
    blake2b(accessor.as_bytes())
}

/// BLAKE2b-256 in hexadecimal digits.
pub fn blake2b(bytes: &[u8]) -> String {
    hashed([bytes])
}

/// BLAKE2b-256 of several parts, each with its length, in hexadecimal digits.
pub fn blake2b_of(parts: &[&[u8]]) -> String {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|it| (it.len() as u64).to_be_bytes()).collect();
    hashed(lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]))
}

fn hashed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Blake2bVar::new(32).expect("BLAKE2b makes 32 bytes");
    pieces.into_iter().for_each(|it| hash.update(it));
    let mut out = [0; 32];
    hash.finalize_variable(&mut out).expect("32 bytes were asked for");
    hex(&out)
}

/// The UID that stands for a file: RFC 9562 version 5 in the namespace for URLs. The original drew lots
/// for it each time, and logged in each time.
pub fn file_uid(path: &str) -> String {
    const URL: [u8; 16] =
        [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
    let hash = <Sha1 as sha1::Digest>::new_with_prefix(URL);
    let hash = sha1::Digest::finalize(sha1::Digest::chain_update(hash, format!("file://{path}")));
    let mut bytes: [u8; 16] = hash[..16].try_into().expect("SHA-1 makes 20 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_keys_are_those_of_the_original() {
        let [auth, connection, provider] = ["1", "2", "3"].map(|it| {
            let run = |n| it.repeat(n);
            [run(8), run(4), run(4), run(4), run(12)].join("-")
        });
        let auth = Version { uid: &auth, generation: 1 };
        let connection = Version { uid: &connection, generation: 3 };
        let key = |method| cache_key(method, auth, connection, &provider);
        assert_eq!(key("kubernetes").as_deref(), Some("kubernetes-958ddb6e1a6e498b788d0a"));
        assert_eq!(key("appRole").as_deref(), Some("approle-958ddb6e1a6e498b788d0a"));
        assert_eq!(cache_key("jwt", auth, connection, auth.uid), None);
        assert_eq!(cache_key("jwt", auth, connection, "short"), None);
    }

    #[test]
    fn a_file_has_one_uid() {
        // python3: uuid.uuid5(uuid.NAMESPACE_URL, "file:///etc/role")
        assert_eq!(file_uid("/etc/role"), "1b1244bf-936d-50ff-a5f2-bb38ea25bd51");
        assert_eq!(file_uid("/etc/role").len(), UID);
    }

    #[test]
    fn digests_are_blake2b() {
        // python3: hashlib.blake2b(b"abc", digest_size=32)
        assert_eq!(client_id("abc"), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
        assert_ne!(blake2b_of(&[b"ab", b"c"]), blake2b_of(&[b"a", b"bc"]));
    }
}
