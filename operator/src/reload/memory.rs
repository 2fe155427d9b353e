//! What a workload last saw of its sources, in an annotation of the workload itself: it outlives the
//! operator, and shows on no pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Content, Key, Source};

/// The annotation.
pub const CONSUMED: &str = "reload.leafseal.io/consumed";

/// Digests of what was last seen, by source and name, all made with one key.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    key: String,
    #[serde(default, rename = "ConfigMap", skip_serializing_if = "BTreeMap::is_empty")]
    config_maps: BTreeMap<String, String>,
    #[serde(default, rename = "Secret", skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, String>,
    #[serde(default, rename = "SecretProviderClass", skip_serializing_if = "BTreeMap::is_empty")]
    provider_classes: BTreeMap<String, String>,
    /// When what was seen had been written, where that is recorded, in seconds since 1970: by `Secret/name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    written: BTreeMap<String, i64>,
}

impl Memory {
    /// One of nothing, for digests made with `key`.
    pub fn new(key: &Key) -> Self {
        Self { key: key.id().to_owned(), ..Self::default() }
    }

    /// What an annotation says. One that cannot be read, or was made with another key, remembers nothing.
    pub fn read(annotation: Option<&String>, key: &Key) -> Self {
        let read = annotation.and_then(|it| serde_json::from_str::<Self>(it).ok());
        read.filter(|it| it.key == key.id()).unwrap_or_else(|| Self::new(key))
    }

    /// The annotation.
    pub fn print(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }

    /// The digest of what was last seen of a source.
    pub fn digest(&self, source: Source, name: &str) -> Option<&str> {
        let all = match source {
            Source::ConfigMap => &self.config_maps,
            Source::Secret => &self.secrets,
            Source::SecretProviderClass => &self.provider_classes,
        };
        all.get(name).map(String::as_str)
    }

    /// True if what was last seen of a source had been written in this second.
    pub fn is_written(&self, source: Source, name: &str, at: Timestamp) -> bool {
        self.written.get(&place(source, name)) == Some(&at.as_second())
    }

    /// Remembers what is seen, and when that had been written.
    pub fn put(&mut self, source: Source, name: &str, content: &Content, written: Option<Timestamp>) {
        self.forget(source, name);
        self.of(source).insert(name.to_owned(), content.digest.clone());
        self.written.extend(written.map(|it| (place(source, name), it.as_second())));
    }

    /// Forgets a source.
    pub fn forget(&mut self, source: Source, name: &str) {
        self.of(source).remove(name);
        self.written.remove(&place(source, name));
    }

    /// Remembers only what `is_kept` names.
    pub fn retain(&mut self, is_kept: impl Fn(Source, &str) -> bool) {
        for source in Source::ALL {
            let names: Vec<_> = self.of(source).keys().filter(|name| !is_kept(source, name)).cloned().collect();
            names.iter().for_each(|name| self.forget(source, name));
        }
    }

    fn of(&mut self, source: Source) -> &mut BTreeMap<String, String> {
        match source {
            Source::ConfigMap => &mut self.config_maps,
            Source::Secret => &mut self.secrets,
            Source::SecretProviderClass => &mut self.provider_classes,
        }
    }
}

fn place(source: Source, name: &str) -> String {
    format!("{}/{name}", source.kind())
}
