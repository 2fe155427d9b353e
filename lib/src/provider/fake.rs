//! A store whose secrets stand in its description, for trying things out (External Secrets, spec
//! section 3.6).

use super::{Address, Answer, Content, ProviderError, ProviderKind, Query, SecretProvider, Validity, name_pattern};
use crate::secret::SecretText;

/// Fake stores.
pub const KIND: ProviderKind =
    ProviderKind { field: "fake", aliases: &[], name: "Fake", finds: true, has_versions: true };

/// What a fake store holds, and what it says when it is checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its secrets. Of several with the same key and version the last one counts.
    pub secrets: Vec<Secret>,
    /// Whether it can be used; `None`: it cannot.
    pub validity: Option<Validity>,
}

/// One secret of a fake store.
#[derive(Clone, Debug, Default)]
pub struct Secret {
    /// Its name.
    pub key: String,
    /// Its version; empty where the description gives none.
    pub version: String,
    /// Its value.
    pub value: SecretText,
}

/// A store whose secrets are known.
#[derive(Clone, Debug)]
pub struct Fake {
    settings: Settings,
}

impl Fake {
    /// A store that holds what `settings` says.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn secret(&self, at: &Address) -> Result<Content, ProviderError> {
        let version = at.version.as_deref().unwrap_or_default();
        let found = self.settings.secrets.iter().rev().find(|it| it.key == at.key && it.version == version);
        match (found, at.metadata) {
            (_, true) => Err(ProviderError::invalid("a fake store keeps no metadata")),
            (Some(secret), false) => Ok(Content::Text(secret.value.clone())),
            (None, false) => Err(ProviderError::missing()),
        }
    }

    /// Of each name the newest version, which is the one whose text comes last.
    fn matching(&self, query: &Query) -> Result<Vec<(String, Content)>, ProviderError> {
        let Some(pattern) = name_pattern(query)? else {
            return Err(ProviderError::invalid("a fake store finds secrets by name only: give find.name"));
        };
        let mut found: Vec<&Secret> = self.settings.secrets.iter().filter(|it| pattern.is_match(&it.key)).collect();
        found.sort_by(|one, other| (&one.key, &one.version).cmp(&(&other.key, &other.version)));
        let mut secrets: Vec<(String, Content)> = Vec::new();
        for secret in found {
            secrets.retain(|(key, _)| *key != secret.key);
            secrets.push((secret.key.clone(), Content::Text(secret.value.clone())));
        }
        Ok(secrets)
    }
}

impl SecretProvider for Fake {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content> {
        Box::pin(async move { self.secret(at) })
    }

    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(async move { self.matching(query) })
    }

    fn check(&self) -> Answer<'_, Validity> {
        let validity = self.settings.validity;
        Box::pin(async move { validity.ok_or_else(|| ProviderError::invalid("the store says that it cannot be used")) })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
