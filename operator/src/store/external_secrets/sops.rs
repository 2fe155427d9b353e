//! Stores made of SOPS documents: not a kind that the original has.
//!
//! ```yaml
//! spec:
//!   provider:
//!     sops:
//!       documents:                 # the name of a document is what remoteRef.key says
//!       - configMap: {name: app, key: app.yaml}      # without a key: every key
//!       - secret: {name: app, key: app.env}
//!       - folder: team             # every file below it, by its path from there
//!       keys:
//!         age: [{secretRef: {name: age, key: keys.txt}}]
//!         pgp: [{secretRef: {name: pgp, key: secring.asc}}]
//! ```
//!
//! `namespace` of an object is heard where a ClusterSecretStore says it. Folders lie below the one that
//! the operator was given: a ClusterSecretStore names any of them, a SecretStore only what lies below a
//! folder that has its namespace's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use leafseal::provider::SecretProvider;
use leafseal::provider::sops::{Settings, Sops};
use leafseal::secret::SecretText;
use serde::Deserialize;
use serde_json::Value;

use super::Opens;
use super::opening::{Failure, Opening};
use crate::api::external_secrets::{DocumentItem, SopsDocument, SopsIdentity, SopsProvider};
use crate::api::read;

type Documents = BTreeMap<String, Vec<u8>>;

pub(super) fn open<'a>(opening: &'a mut Opening<'_>, block: &'a Value) -> Opens<'a> {
    Box::pin(async move {
        let place = opening.place.clone();
        let block: SopsProvider = read(block.clone(), &place)?;
        if block.documents.is_empty() {
            return Err(Failure::settled(format!("{place}.documents: is missing")));
        }
        let mut documents = Documents::new();
        for (n, document) in block.documents.iter().enumerate() {
            let place = format!("{place}.documents[{n}]");
            for (name, bytes) in document_at(opening, document, &place).await? {
                if documents.insert(name.clone(), bytes).is_some() {
                    return Err(Failure::settled(format!("{place}: another document is called {name:?}")));
                }
            }
        }
        let age = keys(opening, &block.keys.age, "age").await?;
        let pgp = keys(opening, &block.keys.pgp, "pgp").await?;
        let clock = Arc::clone(&opening.surroundings.clock);
        Ok(Arc::new(Sops::new(Settings { documents, age, pgp, clock })) as Arc<dyn SecretProvider>)
    })
}

/// True if an object is named without its namespace.
pub(super) fn is_referent(block: &Value) -> bool {
    let Ok(block) = SopsProvider::deserialize(block) else { return false };
    let objects = block.documents.iter().flat_map(|it| [&it.config_map, &it.secret]).flatten();
    let keys = block.keys.age.iter().chain(&block.keys.pgp);
    objects.map(|it| &it.namespace).chain(keys.map(|it| &it.secret_ref.namespace)).any(String::is_empty)
}

async fn document_at(opening: &mut Opening<'_>, document: &SopsDocument, place: &str) -> Result<Documents, Failure> {
    match (&document.config_map, &document.secret, &document.folder) {
        (Some(item), None, None) => in_object(opening, "ConfigMap", item, &format!("{place}.configMap")).await,
        (None, Some(item), None) => in_object(opening, "Secret", item, &format!("{place}.secret")).await,
        (None, None, Some(folder)) => in_folder(opening, &folder.0, &format!("{place}.folder")).await,
        _ => Err(Failure::settled(format!("{place}: exactly one of configMap, secret and folder is needed"))),
    }
}

async fn in_object(
    opening: &mut Opening<'_>,
    kind: &'static str,
    item: &DocumentItem,
    place: &str,
) -> Result<Documents, Failure> {
    let held = opening.held(kind, &item.name, &item.namespace, place).await?;
    let wanted = held.data.into_iter().filter(|(key, _)| item.key.is_empty() || *key == item.key);
    let documents: Documents = wanted.map(|(key, value)| (key, value.expose().to_vec())).collect();
    match documents.is_empty() && !item.key.is_empty() {
        true => Err(format!("{place}: the {kind} {:?} has no key {:?}", item.name, item.key).into()),
        false => Ok(documents),
    }
}

async fn in_folder(opening: &mut Opening<'_>, folder: &str, place: &str) -> Result<Documents, Failure> {
    let is_plain = |it: &str| !matches!(it, "" | "." | "..") && !it.contains(['\\', '\0']);
    let parts: Vec<&str> = folder.trim_matches('/').split('/').collect();
    let own = opening.store.namespace.as_str();
    if !folder.is_empty() && !parts.iter().all(|it| is_plain(it)) {
        return Err(Failure::settled(format!("{place}: is no path below the folder of documents")));
    }
    if opening.is_namespaced() && parts.first() != Some(&own) {
        return Err(Failure::settled(format!("{place}: a SecretStore reads below the folder {own:?} alone")));
    }
    opening.note("Folder", "", folder);
    Ok(opening.cluster.folder(folder.trim_matches('/')).await?)
}

async fn keys(opening: &mut Opening<'_>, named: &[SopsIdentity], kind: &str) -> Result<Vec<SecretText>, Failure> {
    let mut keys = Vec::new();
    for (n, SopsIdentity { secret_ref: at }) in named.iter().enumerate() {
        let place = format!("{}.keys.{kind}[{n}].secretRef", opening.place);
        match at.key.as_str() {
            "" => keys.extend(opening.secret(&at.name, &at.namespace, &place).await?.data.into_values()),
            _ => keys.push(opening.value(at, "", &place).await?),
        }
    }
    Ok(keys)
}
