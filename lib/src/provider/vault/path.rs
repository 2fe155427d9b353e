//! Where in a Vault a secret lies: what External Secrets makes of a store's path and a key (spec
//! section 3.4), and what Vault Secrets makes of a mount and a path (spec section A.4.3).

use super::super::ProviderError;
use super::{KvVersion, Place};

/// Where the things of one secret, or of one folder of them, lie. Paths are below `/v1/`, parts
/// divided by single slashes, not yet percent-encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KvPath {
    /// The secret itself.
    pub(super) data: String,
    /// What is told about it; on version 1 that is the secret.
    pub(super) metadata: String,
}

/// What a key is taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keys {
    /// It may begin with the mount, and with `data` after that (External Secrets).
    Forgiving,
    /// It is a path inside the mount (Vault Secrets).
    Literal,
}

/// Where the secret that `key` names lies.
///
/// # Errors
///
/// If the key leaves the mount (`.` or `..`), has characters that are not sent as they are, or names
/// nothing.
pub(super) fn secret(place: &Place, key: &str, keys: Keys) -> Result<KvPath, ProviderError> {
    let key = parts(key)?.join("/");
    if key.is_empty() {
        return Err(ProviderError::invalid("the key is empty"));
    }
    let Some(mount) = mount(place)? else { return whole(place.version, &key) };
    let inside = match (key.strip_prefix(&mount).and_then(|it| it.strip_prefix('/')), keys) {
        (Some(rest), Keys::Forgiving) => match place.version {
            KvVersion::V1 => rest,
            KvVersion::V2 => rest.strip_prefix("data/").unwrap_or(rest),
        },
        _ => &key,
    };
    Ok(join(place.version, &mount, inside))
}

/// Where the folder `path` lies: an empty one is the mount itself.
///
/// # Errors
///
/// As for [`secret`], and if neither the store nor the path names a mount.
pub(super) fn folder(place: &Place, path: &str) -> Result<KvPath, ProviderError> {
    let path = parts(path)?.join("/");
    if let Some(mount) = mount(place)? {
        return Ok(join(place.version, &mount, &path));
    }
    match path.split_once('/') {
        Some((mount, inside)) => Ok(join(place.version, mount, inside)),
        None if path.is_empty() => Err(ProviderError::invalid("neither the store nor the query names a path")),
        None => Ok(join(place.version, &path, "")),
    }
}

/// The path of the secrets engine, if the store says it.
fn mount(place: &Place) -> Result<Option<String>, ProviderError> {
    let mount = parts(place.mount.as_deref().unwrap_or_default())?.join("/");
    Ok(Some(mount).filter(|it| !it.is_empty()))
}

/// A key that begins with the mount, which is its first part unless it says `/data/` itself.
fn whole(version: KvVersion, key: &str) -> Result<KvPath, ProviderError> {
    match (version, key.split_once("/data/"), key.split_once('/')) {
        (KvVersion::V1, ..) => Ok(KvPath { data: key.to_owned(), metadata: key.to_owned() }),
        (KvVersion::V2, Some((mount, inside)), _) => Ok(join(version, mount, inside)),
        (KvVersion::V2, None, Some((mount, inside))) => Ok(join(version, mount, inside)),
        (KvVersion::V2, None, None) => {
            Err(ProviderError::invalid("the store has no path, so the key has to begin with that of the engine"))
        }
    }
}

fn join(version: KvVersion, mount: &str, inside: &str) -> KvPath {
    let slash = if inside.is_empty() { "" } else { "/" };
    match version {
        KvVersion::V1 => {
            let path = format!("{mount}{slash}{inside}");
            KvPath { data: path.clone(), metadata: path }
        }
        KvVersion::V2 => KvPath {
            data: format!("{mount}/data{slash}{inside}"),
            metadata: format!("{mount}/metadata{slash}{inside}"),
        },
    }
}

/// The parts of a path; doubled slashes and those at the ends mean nothing.
fn parts(path: &str) -> Result<Vec<&str>, ProviderError> {
    let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    if parts.iter().any(|it| matches!(*it, "." | "..")) {
        return Err(ProviderError::invalid(format!("{path:?} has a part `.` or `..`, which could leave the store")));
    }
    match path.chars().any(char::is_control) {
        true => Err(ProviderError::invalid(format!("{path:?} has control characters"))),
        false => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(mount: &str, version: KvVersion) -> Place {
        Place { namespace: None, mount: Some(mount.to_owned()).filter(|it| !it.is_empty()), version }
    }

    #[test]
    fn keys_of_external_secrets_are_forgiving() {
        for (mount, key, engine, inside) in [
            ("secret", "foo", "secret", "foo"),
            ("secret", "secret/foo", "secret", "foo"),
            ("secret", "secret/data/foo", "secret", "foo"),
            ("secret", "data/foo", "secret", "data/foo"),
            ("secret", "/foo", "secret", "foo"),
            ("secret", "/secret/foo/", "secret", "foo"),
            ("secret", "secret//data//foo", "secret", "foo"),
            ("secret", "secret/secret/foo", "secret", "secret/foo"),
            ("secret", "secretive/foo", "secret", "secretive/foo"),
            ("/secret/", "foo", "secret", "foo"),
            ("team/kv", "foo", "team/kv", "foo"),
            ("team/kv", "team/kv/foo", "team/kv", "foo"),
            ("kv/data", "foo", "kv/data", "foo"),
            ("", "secret/foo", "secret", "foo"),
            ("", "secret/data/foo", "secret", "foo"),
            ("", "secret/path/data/foo", "secret/path", "foo"),
            ("", "team/kv/foo", "team", "kv/foo"),
        ] {
            let path = secret(&place(mount, KvVersion::V2), key, Keys::Forgiving).expect("the key is fine");
            let [data, metadata] = ["data", "metadata"].map(|it| format!("{engine}/{it}/{inside}"));
            assert_eq!(path, KvPath { data, metadata }, "{mount:?} {key:?}");
        }
        for (mount, key, data) in [
            ("kv", "foo", "kv/foo"),
            ("kv", "kv/foo", "kv/foo"),
            ("kv", "kv/data/foo", "kv/data/foo"),
            ("", "kv/foo", "kv/foo"),
            ("", "kv/data/foo", "kv/data/foo"),
        ] {
            let path = secret(&place(mount, KvVersion::V1), key, Keys::Forgiving).expect("the key is fine");
            assert_eq!(path.data, data, "{mount:?} {key:?}");
        }
    }

    #[test]
    fn keys_of_vault_secrets_are_literal() {
        for (version, key, data) in [
            (KvVersion::V2, "kv/data/foo", "kv/data/kv/data/foo"),
            (KvVersion::V2, "/foo/", "kv/data/foo"),
            (KvVersion::V1, "kv/foo", "kv/kv/foo"),
        ] {
            let path = secret(&place("kv", version), key, Keys::Literal).expect("the key is fine");
            assert_eq!(path.data, data, "{key:?}");
        }
    }

    #[test]
    fn folders_are_listed_where_metadata_lies() {
        for (mount, version, path, metadata) in [
            ("secret", KvVersion::V2, "", "secret/metadata"),
            ("secret", KvVersion::V2, "app/", "secret/metadata/app"),
            ("kv", KvVersion::V1, "app", "kv/app"),
            ("", KvVersion::V2, "secret", "secret/metadata"),
            ("", KvVersion::V2, "secret/app", "secret/metadata/app"),
        ] {
            assert_eq!(folder(&place(mount, version), path).expect("the path is fine").metadata, metadata);
        }
        assert!(folder(&place("", KvVersion::V2), "/").is_err());
    }

    #[test]
    fn keys_stay_in_the_store() {
        for key in ["", "/", "..", "../../sys/mounts", "a/../b", "a/.", "./a", "a\nb", "a\0b", "tab\t"] {
            assert!(secret(&place("secret", KvVersion::V2), key, Keys::Forgiving).is_err(), "{key:?}");
        }
        assert!(secret(&place("secret/..", KvVersion::V2), "a", Keys::Literal).is_err());
        assert!(secret(&place("", KvVersion::V2), "alone", Keys::Forgiving).is_err());
        assert!(secret(&place("secret", KvVersion::V2), "a..b/.c", Keys::Forgiving).is_ok());
    }
}
