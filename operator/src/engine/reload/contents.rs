//! What sources hold: read when it is asked for in a version that was not read yet, by one for all who wait.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client, Error};
use leafseal::secret::SecretText;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::classes::Classes;
use super::sources::{By, Seen, Sight, Sources};
use crate::engine::fetch::Readings;
use crate::error::Trouble;
use crate::reload::{Content, Key, Keys, Source};
use crate::store::Part;

/// How many sources are read at once: what bounds the memory that their contents take for a moment.
const AT_ONCE: usize = 16;

/// How often a source is read that changes while it is read.
const ATTEMPTS: usize = 5;

/// What sources hold. Clones share it.
#[derive(Clone)]
pub(super) struct Contents {
    inner: Arc<Inner>,
    readings: Arc<Readings<Part, Result<(), Trouble>>>,
}

struct Inner {
    client: Client,
    key: Key,
    keys: Keys,
    /// Only sources with these labels count.
    labels: Option<String>,
    sources: Arc<Sources>,
    classes: Arc<Classes>,
    permits: Semaphore,
}

impl Contents {
    /// Contents of those of `sources` that have `labels`, digested with `key`.
    pub(super) fn new(
        client: Client,
        key: Key,
        keys: Keys,
        labels: Option<String>,
        (sources, classes): (Arc<Sources>, Arc<Classes>),
    ) -> Self {
        let permits = Semaphore::new(AT_ONCE);
        let inner = Arc::new(Inner { client, key, keys, labels, sources, classes, permits });
        Self { inner, readings: Arc::default() }
    }

    /// Reads a source that changed while those who use it wait for further changes.
    pub(super) fn read_ahead(&self, source: Source, at: &Part) {
        let (contents, at, asked) = (self.clone(), at.clone(), Instant::now());
        // What cannot be read now is read by those who need it, and they say so.
        tokio::spawn(async move { drop(contents.see(source, &at, asked).await) });
    }

    /// A source with its content; `None` if it is not there. Who is to know of a change that happened before
    /// `asked` does.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) async fn see(&self, source: Source, at: &Part, asked: Instant) -> Result<Option<Box<Seen>>, Trouble> {
        if source == Source::SecretProviderClass {
            return Ok(self.inner.classes.find(at));
        }
        for _ in 0..ATTEMPTS {
            let since = match self.inner.sources.find(at) {
                Some(Sight::Absent) => return Ok(None),
                Some(Sight::There(seen)) if seen.content().is_some() => return Ok(Some(seen)),
                Some(Sight::There(seen)) => seen.noted,
                None => asked,
            };
            let (inner, of) = (self.inner.clone(), at.clone());
            let read = || async move { inner.read(source, &of).await.map_err(|error| unreadable(&of, &error)) };
            self.readings.read(at.clone(), since, read).await?;
        }
        Err(unready(at, "it changes faster than it can be read".to_owned()))
    }
}

impl Inner {
    /// Reads a source and remembers what it holds.
    async fn read(&self, source: Source, at: &Part) -> Result<(), Error> {
        let _permit = self.permits.acquire().await.expect("nobody closes the permits");
        let read = match source {
            Source::Secret => self.find::<Secret>(at).await?.map(|mut secret| {
                // Taken, not copied: it is wiped with what is made of it.
                let data = secret.data.take().into_iter().flatten();
                let data = data.map(|(name, value)| (name, SecretText::new(value.0))).collect();
                (secret.metadata, Content::of(data, &self.key))
            }),
            Source::ConfigMap => self.find::<ConfigMap>(at).await?.map(|map| {
                let content = Content::of_config_map(&map, &self.key);
                (map.metadata, content)
            }),
            // What it holds is told by the pods that mount it, and known.
            Source::SecretProviderClass => return Ok(()),
        };
        match read {
            Some((metadata, content)) => self.learn(at, &metadata, content),
            None => self.sources.miss(at),
        }
        Ok(())
    }

    fn learn(&self, at: &Part, metadata: &ObjectMeta, content: Content) {
        if self.sources.find(at).is_none() {
            self.sources.apply(at, metadata, &self.keys, By::List);
        }
        self.sources.put(at, metadata, &self.keys, content);
    }

    async fn find<K>(&self, at: &Part) -> Result<Option<K>, Error>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &at.namespace);
        match &self.labels {
            None => api.get_opt(&at.name).await,
            Some(labels) => {
                let one = ListParams::default().labels(labels).fields(&format!("metadata.name={}", at.name));
                Ok(api.list(&one).await?.items.pop())
            }
        }
    }
}

fn unreadable(at: &Part, error: &Error) -> Trouble {
    unready(at, error.to_string())
}

fn unready(at: &Part, why: String) -> Trouble {
    let Part { kind, namespace, name } = at;
    Trouble::new("ReloadFail", format!("could not read {kind} {namespace}/{name}"), why)
}
