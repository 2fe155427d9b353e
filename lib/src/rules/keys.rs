//! Master keys of every kind that SOPS knows, made from what rules and flags call them.
//!
//! Whether anybody can wrap to such a key is a matter of the key services at hand.

use crate::edge::Clock;
use crate::keyservice::KINDS;
use crate::metadata::MasterKey;
use crate::tree::{Entry, Wire};

/// What a new key is given besides its name.
pub struct Naming<'a> {
    /// When keys are made.
    pub clock: &'a dyn Clock,
    /// The encryption context of AWS keys that bring none of their own.
    pub kms_context: &'a [(String, String)],
    /// The AWS profile of such keys; mostly empty.
    pub aws_profile: &'a str,
}

/// How a creation rule names the keys of one kind.
#[derive(Debug)]
pub(super) struct RuleKind {
    /// The list in the metadata.
    pub(super) kind: &'static str,
    /// The field of a rule.
    pub(super) flat: &'static str,
    /// The list of a key group.
    pub(super) group: &'static str,
    /// The name in a message about the field.
    pub(super) said: &'static str,
}

/// Every kind, in the order in which a rule's keys come.
pub(super) const RULE_KINDS: [RuleKind; 7] = [
    RuleKind { kind: "age", flat: "age", group: "age", said: "age" },
    RuleKind { kind: "pgp", flat: "pgp", group: "pgp", said: "pgp" },
    RuleKind { kind: "kms", flat: "kms", group: "kms", said: "kms" },
    RuleKind { kind: "gcp_kms", flat: "gcp_kms", group: "gcp_kms", said: "gcpkms" },
    RuleKind { kind: "hckms", flat: "hckms", group: "hckms", said: "hckms" },
    RuleKind { kind: "azure_kv", flat: "azure_keyvault", group: "azure_keyvault", said: "azure_keyvault" },
    RuleKind { kind: "hc_vault", flat: "hc_vault_transit_uri", group: "hc_vault", said: "vault" },
];

/// Makes the keys that a list with commas names.
///
/// # Errors
///
/// If a name cannot be that of a key of this kind; in SOPS's words.
pub fn named(kind: &str, names: &str, naming: &Naming<'_>) -> Result<Vec<MasterKey>, String> {
    // SOPS passes over empty names of these two only.
    let lax = matches!(kind, "hckms" | "hc_vault");
    let names = names.split(',').map(str::trim).filter(|it| !(lax && it.is_empty()));
    names.map(|it| key(kind, it, naming)).collect()
}

/// Makes the key that `name` names.
pub(super) fn key(kind: &str, name: &str, naming: &Naming<'_>) -> Result<MasterKey, String> {
    let bare: String = name.chars().filter(|it| *it != ' ').collect();
    match kind {
        "pgp" => made(kind, &[("fp", &bare)], naming),
        "gcp_kms" => made(kind, &[("resource_id", &bare)], naming),
        "kms" => {
            // Paths of ARNs may hold a plus, but no colon: this one joins two ARNs.
            let (arn, role) = match bare.find("+arn:") {
                Some(at @ 1..) => (&bare[..at], &bare[at + 1..]),
                _ => (bare.as_str(), ""),
            };
            kms(arn, role, naming.kms_context, naming.aws_profile, naming)
        }
        "hckms" => {
            let (region, id) = name
                .split_once(':')
                .ok_or_else(|| format!("invalid key ID format: expected 'region:key-uuid', got {name:?}"))?;
            match (region.trim(), id.trim()) {
                ("", _) => Err(format!("region cannot be empty in key ID: {name:?}")),
                (_, "") => Err(format!("key UUID cannot be empty in key ID: {name:?}")),
                _ => made(kind, &[("key_id", name)], naming),
            }
        }
        "azure_kv" => {
            let (url, name, version) = azure_url(name)
                .ok_or_else(|| format!("could not parse {name:?} into a valid Azure Key Vault MasterKey []"))?;
            azure(url, name, version, naming)
        }
        "hc_vault" => {
            let (address, engine, name) = vault_uri(name)?;
            made(kind, &[("vault_address", address), ("engine_path", &engine), ("key_name", name)], naming)
        }
        _ => match KINDS.iter().find(|it| it.name == kind) {
            Some(it) => it.master_key(name),
            None => Err(format!("no key service for {kind}")),
        },
    }
}

/// Makes an AWS key.
pub(super) fn kms(
    arn: &str,
    role: &str,
    context: &[(String, String)],
    profile: &str,
    naming: &Naming<'_>,
) -> Result<MasterKey, String> {
    let mut key = made("kms", &[("arn", arn), ("role", role)], naming)?;
    if !context.is_empty() {
        let pairs = context.iter().map(|(name, it)| Entry::Pair(name.clone(), Wire::text(it)));
        key.fields.push(("context".to_owned(), Wire::Map(pairs.collect())));
    }
    // SOPS always writes the profile.
    key.fields.push(("aws_profile".to_owned(), Wire::text(profile)));
    key.fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(key)
}

/// Makes an Azure key. Without a version, SOPS asks Azure for the newest one; that is for the key
/// service to do.
pub(super) fn azure(url: &str, name: &str, version: &str, naming: &Naming<'_>) -> Result<MasterKey, String> {
    let mut key = made("azure_kv", &[("vault_url", url), ("name", name)], naming)?;
    key.fields.push(("version".to_owned(), Wire::text(version)));
    Ok(key)
}

/// A key with these fields, the empty ones left out, and the time. The first must not be empty.
fn made(kind: &str, fields: &[(&str, &str)], naming: &Naming<'_>) -> Result<MasterKey, String> {
    if fields.iter().take(1).any(|(_, it)| it.is_empty()) {
        return Err(format!("an entry of `{kind}` is empty"));
    }
    let now = naming.clock.now();
    let fields = fields.iter().copied().filter(|(_, it)| !it.is_empty()).chain([("created_at", now.as_str())]);
    let mut fields: Vec<_> = fields.map(|(name, it)| (name.to_owned(), Wire::text(it))).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(MasterKey { kind: kind.to_owned(), fields, enc: None })
}

/// Splits `https://vault/keys/name/version`, the version being optional.
fn azure_url(text: &str) -> Option<(&str, &str, &str)> {
    let host = text.strip_prefix("https://")?.find('/')? + "https://".len();
    let (name, version) = match text[host..].strip_prefix("/keys/")?.split_once('/') {
        Some((name, version)) => (name, version),
        None => (&text[host + "/keys/".len()..], ""),
    };
    let valid = host > "https://".len() && !name.is_empty() && !version.contains('/');
    valid.then_some((&text[..host], name, version))
}

/// Splits `https://vault/v1/engine/path/keys/name` into address, path of the engine, and name. The
/// part before the name is not looked at (spec section 5.3).
fn vault_uri(text: &str) -> Result<(&str, String, &str), String> {
    let scheme = text.find("://").filter(|it| *it > 0).ok_or_else(|| {
        format!(
            "missing scheme in Vault URL (should be like this: \
             +https://vault.example.com:8200/v1/transit/keys/keyName), got: {text}"
        )
    })?;
    let host = scheme + "://".len();
    let path = text[host..].find('/').map_or(text.len(), |it| host + it);
    let parts: Vec<_> = text[path..].trim_start_matches('/').split('/').collect();
    let version = |it: &str| it.len() > 1 && it.starts_with('v') && it[1..].bytes().all(|b| b.is_ascii_digit());
    let versions = parts.windows(4).enumerate();
    let versions = versions.filter(|(_, it)| version(it[0]) && it[1..].iter().all(|it| !it.is_empty()));
    let places: Vec<_> = versions.map(|(at, _)| at).collect();
    let example = "https://vault.example.com:8200/v1/transit/keys/keyName";
    if places.iter().any(|at| *at > 0 && !parts[at - 1].is_empty()) {
        return Err(format!("running Vault with a prefixed URL is not supported! (Format has to be like {example})"));
    }
    if places.is_empty() {
        return Err(format!("vault path does not seem to be formatted correctly: (eg. {example})"));
    }
    let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    let [_, engine @ .., _, name] = parts.as_slice() else {
        return Err(format!("vault path does not seem to be formatted correctly: (eg. {example})"));
    };
    Ok((&text[..path], engine.join("/"), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Timestamp;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_utc_seconds("2026-01-02T12:00:00Z")
        }
    }

    fn spelt(kind: &str, names: &str) -> Result<Vec<String>, String> {
        let context = [("a".to_owned(), "1".to_owned())];
        let naming = Naming { clock: &Noon, kms_context: &context, aws_profile: "p" };
        let fields = |key: &MasterKey| {
            let fields = key.fields.iter().filter(|(name, _)| name != "context");
            fields.map(|(name, it)| format!("{name}={}", it.as_str().unwrap_or("?"))).collect::<Vec<_>>().join(" ")
        };
        Ok(named(kind, names, &naming)?.iter().map(|key| format!("{} {}", key.id(), fields(key))).collect())
    }

    #[test]
    fn names_become_the_fields_of_the_metadata() {
        let at = "created_at=2026-01-02T12:00:00Z";
        for (kind, names, expected) in [
            ("pgp", "85D7 7543, abc!", vec![format!("85D77543 {at} fp=85D77543"), format!("abc! {at} fp=abc!")]),
            ("gcp_kms", "projects/p", vec![format!("projects/p {at} resource_id=projects/p")]),
            ("hckms", "r:u,,", vec![format!("r:u {at} key_id=r:u")]),
            (
                "kms",
                "arn:aws:kms:r:1:key/k+arn:aws:iam::1:role/x",
                vec![format!(
                    "arn:aws:kms:r:1:key/k+arn:aws:iam::1:role/x|a:1|p arn=arn:aws:kms:r:1:key/k aws_profile=p {at} \
                     role=arn:aws:iam::1:role/x"
                )],
            ),
            (
                "azure_kv",
                "https://v.net/keys/k/1 , https://v.net/keys/k",
                vec![
                    format!("https://v.net/keys/k/1 {at} name=k vault_url=https://v.net version=1"),
                    format!("https://v.net/keys/k/ {at} name=k vault_url=https://v.net version="),
                ],
            ),
            (
                "hc_vault",
                "https://v:8200/v1/a/b/keys/k",
                vec![format!(
                    "https://v:8200/v1/a/b/keys/k {at} engine_path=a/b key_name=k vault_address=https://v:8200"
                )],
            ),
        ] {
            assert_eq!(spelt(kind, names), Ok(expected), "{names}");
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused_in_the_words_of_sops() {
        let vault = "https://vault.example.com:8200/v1/transit/keys/keyName";
        for (kind, names, expected) in [
            ("pgp", "a,,b", "an entry of `pgp` is empty".to_owned()),
            ("hckms", "x", "invalid key ID format: expected 'region:key-uuid', got \"x\"".to_owned()),
            ("hckms", ":u", "region cannot be empty in key ID: \":u\"".to_owned()),
            ("azure_kv", "x", "could not parse \"x\" into a valid Azure Key Vault MasterKey []".to_owned()),
            (
                "azure_kv",
                "https://v/keys/a/b/c",
                "could not parse \"https://v/keys/a/b/c\" into a valid Azure Key Vault MasterKey []".to_owned(),
            ),
            (
                "hc_vault",
                "v.net/v1/t/keys/k",
                format!("missing scheme in Vault URL (should be like this: +{vault}), got: v.net/v1/t/keys/k"),
            ),
            (
                "hc_vault",
                "https://v.net/t/keys/k",
                format!("vault path does not seem to be formatted correctly: (eg. {vault})"),
            ),
            (
                "hc_vault",
                "https://v.net/x/v1/t/keys/k",
                format!("running Vault with a prefixed URL is not supported! (Format has to be like {vault})"),
            ),
        ] {
            assert_eq!(spelt(kind, names), Err(expected), "{names}");
        }
    }
}
