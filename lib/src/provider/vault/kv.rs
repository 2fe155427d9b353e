//! Reading from KV secrets engines, version 1 and 2 (External Secrets, spec section 3.5; Vault
//! Secrets, spec section A.4.3).

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::connection::{Answer, Request};
use super::path::{self, Keys, KvPath};
use super::session::Session;
use super::{KvVersion, Place};
use crate::provider::{Address, Content, Object, ProviderError, Query, go_json, name_pattern};
use crate::secret::SecretText;

/// How many requests one search has under way.
const AT_ONCE: usize = 16;

/// How a list is asked for.
pub(super) const LIST: &[(&str, &str)] = &[("list", "true")];

/// How many folders and secrets a search may come upon.
const FIND_LIMIT: usize = 100_000;

/// The members of a secret's metadata that External Secrets shows, beside the custom ones.
const SHOWN: [&str; 3] = ["created_time", "current_version", "delete_version_after"];

/// Every answer of Vault. A member that is `null` is there, one that is not there is not.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// What KV version 2 answers with.
#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    keys: Vec<String>,
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

/// Reads one secret, or what is told about it.
pub(super) async fn read(session: &Session, place: &Place, keys: Keys, at: &Address) -> Result<Content, ProviderError> {
    if at.metadata && place.version == KvVersion::V1 {
        return Err(ProviderError::invalid("cannot perform metadata fetch operations with kv version v1"));
    }
    let path = path::secret(place, &at.key, keys)?;
    match at.metadata {
        true => metadata(session, place, &path).await,
        false => secret(session, place, &path, at.version.as_deref()).await,
    }
    .map_err(|it| hint(it, place))
}

async fn secret(
    session: &Session,
    place: &Place,
    path: &KvPath,
    version: Option<&str>,
) -> Result<Content, ProviderError> {
    let version: Vec<_> = version.filter(|it| !it.is_empty()).map(|it| ("version", it)).into_iter().collect();
    let namespace = place.namespace.as_deref();
    let request = Request { query: &version, namespace, ..Request::read("ReadSecretData", &path.data) };
    let answer = session.send(request).await.map_err(|it| failed("read secret data from Vault", it))?;
    understood(&answer, place.version).map(Content::Object)
}

/// What an answer to a read says. A 404 may say something too: that a version was deleted, or that
/// the path is not one of this version of the engine.
fn understood(answer: &Answer, version: KvVersion) -> Result<Object, ProviderError> {
    let envelope: Envelope<'_> = match answer.json() {
        Err(_) if answer.is_missing() => return Err(ProviderError::missing()),
        other => other?,
    };
    let data = envelope.data.filter(|it| !is_null(it));
    let has_warnings = envelope.warnings.is_some_and(|it| !it.is_empty());
    match (data, version) {
        (None, _) if !has_warnings => Err(ProviderError::missing()),
        (None, KvVersion::V1) => Err(ProviderError::missing()),
        (Some(data), KvVersion::V1) => Ok(Object { data: object(data)?, metadata: None }),
        (None, KvVersion::V2) => Err(no_data()),
        (Some(data), KvVersion::V2) => {
            let Versioned { data, metadata } = serde_json::from_str(data.get()).map_err(|_| no_data())?;
            let data = data.ok_or_else(no_data)?;
            match is_null(data) {
                true => Err(ProviderError::missing()),
                false => Ok(Object { data: object(data)?, metadata: metadata.map(ToOwned::to_owned) }),
            }
        }
    }
}

fn object(data: &RawValue) -> Result<SecretText, ProviderError> {
    match data.get().starts_with('{') {
        true => Ok(SecretText::from(data.get())),
        false => Err(ProviderError::invalid("the secret is not a JSON object")),
    }
}

fn no_data() -> ProviderError {
    ProviderError::invalid("failed to find data field: is the engine of this version?")
}

/// What is told about a secret: some members and all custom ones, of which the latter win.
async fn metadata(session: &Session, place: &Place, path: &KvPath) -> Result<Content, ProviderError> {
    let members = metadata_of(session, place, path).await?;
    let members = members.ok_or_else(|| ProviderError::invalid("secret not found"))?;
    let custom = custom(&members)?;
    let mut shown: BTreeMap<&str, String> = BTreeMap::new();
    for name in SHOWN {
        if let Some(value) = members.get(name).filter(|it| !is_null(it)) {
            shown.insert(name, serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned()));
        }
    }
    shown.extend(custom.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let texts = shown.iter().map(|(name, value)| (*name, value.as_bytes()));
    let data = SecretText::new(go_json::print_texts(texts, go_json::Html::Escaped));
    Ok(Content::Object(Object { data, metadata: None }))
}

type Members = BTreeMap<String, Box<RawValue>>;

/// The members of a secret's metadata; `None` if there is no such secret.
async fn metadata_of(session: &Session, place: &Place, path: &KvPath) -> Result<Option<Members>, ProviderError> {
    let request =
        Request { namespace: place.namespace.as_deref(), ..Request::read("ReadSecretMetadata", &path.metadata) };
    let answer = session.send(request).await.map_err(|it| failed("read secret metadata from Vault", it))?;
    if answer.is_missing() {
        return Ok(None);
    }
    let envelope: Envelope<'_> = answer.json()?;
    let members = envelope.data.map(|it| serde_json::from_str(it.get())).transpose();
    members.map_err(|_| ProviderError::invalid("the metadata is not a JSON object"))
}

fn custom(members: &Members) -> Result<BTreeMap<String, String>, ProviderError> {
    let custom = members.get("custom_metadata").filter(|it| !is_null(it));
    let custom = custom.map(|it| serde_json::from_str(it.get())).transpose();
    custom.map(Option::unwrap_or_default).map_err(|_| ProviderError::invalid("custom metadata is not made of texts"))
}

/// Reads all secrets that fit, below a path or anywhere in the mount.
///
/// # Errors
///
/// [`ProviderErrorKind::Missing`](crate::provider::ProviderErrorKind::Missing) if there is no such
/// path. What vanishes meanwhile is no error.
pub(super) async fn find(
    session: &Session,
    place: &Place,
    query: &Query,
) -> Result<Vec<(String, Content)>, ProviderError> {
    let pattern = name_pattern(query)?;
    if pattern.is_none() && !query.tags.is_empty() && place.version == KvVersion::V1 {
        return Err(ProviderError::invalid("cannot perform find by tag operations with kv version v1"));
    }
    let mut names = names(session, place, query.path.as_deref().unwrap_or_default()).await?;
    names.sort_unstable();
    if let Some(pattern) = &pattern {
        names.retain(|it| pattern.is_match(it));
    }
    let tags = if pattern.is_some() { &BTreeMap::new() } else { &query.tags };
    let reads = names.into_iter().map(async |name| {
        let path = path::folder(place, &name)?;
        if !tags.is_empty() && !has_tags(session, place, &path, tags).await? {
            return Ok(None);
        }
        match secret(session, place, &path, None).await {
            Ok(content) => Ok(Some((name, content))),
            Err(it) if it.is_missing() => Ok(None),
            Err(it) => Err(it),
        }
    });
    stream::iter(reads).buffered(AT_ONCE).try_filter_map(async |it| Ok(it)).try_collect().await
}

async fn has_tags(
    session: &Session,
    place: &Place,
    path: &KvPath,
    tags: &BTreeMap<String, String>,
) -> Result<bool, ProviderError> {
    let Some(members) = metadata_of(session, place, path).await? else { return Ok(false) };
    let custom = custom(&members)?;
    Ok(tags.iter().all(|(name, value)| custom.get(name) == Some(value)))
}

/// The full names of all secrets below a folder, one level after the other.
async fn names(session: &Session, place: &Place, top: &str) -> Result<Vec<String>, ProviderError> {
    let top: Vec<&str> = top.split('/').filter(|it| !it.is_empty()).collect();
    let mut level = vec![top.join("/")];
    let mut names = Vec::new();
    let mut is_top = true;
    let mut seen = 0;
    while !level.is_empty() {
        let lists = level.clone().into_iter().map(|folder| list(session, place, folder));
        let lists: Vec<Option<Vec<String>>> = stream::iter(lists).buffered(AT_ONCE).try_collect().await?;
        let mut below = Vec::new();
        for (folder, keys) in level.iter().zip(lists) {
            let keys = match keys {
                Some(keys) => keys,
                None if is_top => return Err(ProviderError::missing()),
                None => continue,
            };
            seen += keys.len();
            if seen > FIND_LIMIT {
                return Err(ProviderError::invalid(format!(
                    "more than {FIND_LIMIT} secrets would have to be looked at"
                )));
            }
            for key in keys {
                let (key, list) = match key.strip_suffix('/') {
                    Some(inner) => (inner, &mut below),
                    None => (key.as_str(), &mut names),
                };
                let slash = if folder.is_empty() { "" } else { "/" };
                list.push(format!("{folder}{slash}{key}"));
            }
        }
        level = below;
        is_top = false;
    }
    Ok(names)
}

/// What lies in a folder; `None` if there is no such folder.
async fn list(session: &Session, place: &Place, folder: String) -> Result<Option<Vec<String>>, ProviderError> {
    let path = path::folder(place, &folder)?;
    let request =
        Request { query: LIST, namespace: place.namespace.as_deref(), ..Request::read("ListSecrets", &path.metadata) };
    let answer = session.send(request).await.map_err(|it| failed("list secrets in Vault", it))?;
    if answer.is_missing() {
        return Ok(None);
    }
    let envelope: Envelope<'_> = answer.json()?;
    let Some(data) = envelope.data.filter(|it| !is_null(it)) else { return Ok(None) };
    let listed: Listed = serde_json::from_str(data.get())
        .map_err(|_| ProviderError::unavailable("the list of secrets is not what Vault answers"))?;
    Ok(Some(listed.keys))
}

pub(super) fn failed(what: &str, error: ProviderError) -> ProviderError {
    ProviderError { message: format!("cannot {what}: {}", error.message), ..error }
}

/// A mistake that many make: the store's path is that of the engine, and `data` comes by itself.
fn hint(error: ProviderError, place: &Place) -> ProviderError {
    let mount = place.mount.as_deref().unwrap_or_default().trim_end_matches('/');
    match error.is_missing() && place.version == KvVersion::V2 && mount.ends_with("/data") {
        true => ProviderError {
            message: format!(
                "{}: the store's path {mount:?} should be that of the engine, without `/data`",
                error.message
            ),
            ..error
        },
        false => error,
    }
}
