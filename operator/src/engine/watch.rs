//! What the cluster holds, followed by watches, so that it need not be asked.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::{join_all, ready};
use futures::{Stream, StreamExt as _};
use kube::api::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Error, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api::{Kind, Object, Unread};

/// Namespace and name; the namespace is empty for objects of the whole cluster.
pub type Place = (String, String);

/// How many objects one page of a list has: what bounds memory when a watch begins.
pub(super) const PAGE: u32 = 250;

/// The objects of one kind, as a watch last told.
#[derive(Debug)]
pub struct Mirror<T> {
    objects: RwLock<HashMap<Place, Arc<T>>>,
    is_whole: watch::Sender<bool>,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { objects: RwLock::default(), is_whole: watch::Sender::new(false) }
    }
}

impl<T> Mirror<T> {
    /// One object.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all objects that there are have been told of, or cannot be: those that may not be listed
    /// count as not there, until they may.
    pub async fn whole(&self) {
        // The sender lives as long as this mirror does.
        drop(self.is_whole.subscribe().wait_for(|it| *it).await);
    }

    /// Where there are objects, as far as a watch with this scope tells.
    fn places(&self, scope: &Scope) -> Vec<Place> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.keys().filter(|it| scope.as_ref().is_none_or(|scope| it.0 == *scope)).cloned().collect()
    }

    fn put(&self, place: Place, object: Arc<T>) -> Option<Arc<T>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(place, object)
    }

    fn take(&self, place: &Place) -> Option<Arc<T>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(place)
    }
}

impl<K: Kind> Mirror<Object<K>> {
    /// Learns from the answer to a report what the status of an object is by now, before the watch tells of
    /// it. What else has changed meanwhile is left to the watch: it tells those whom it concerns.
    pub fn learn(&self, told: Unread) -> Arc<Object<K>> {
        if let Some(known) = self.known(&told) {
            return known;
        }
        let object = Arc::new(Object::from(told));
        // One that is gone stays gone.
        if let Some(held) = self.objects.write().unwrap_or_else(PoisonError::into_inner).get_mut(&place(&*object)) {
            let (new, old) = (object.meta(), held.meta());
            let version = |it: &ObjectMeta| it.resource_version.clone().unwrap_or_default();
            if is_same(new, old) && is_later(&version(new), &version(old)) {
                held.clone_from(&object);
            }
        }
        object
    }

    /// The object that is told of, if it is known as it is told: a report and the watch tell of the same write,
    /// and the second is not worth reading.
    fn known(&self, told: &Unread) -> Option<Arc<Object<K>>> {
        let (namespace, name) = (told.metadata.namespace.as_deref(), told.metadata.name.as_deref());
        let held = self.find(namespace.unwrap_or_default(), name.unwrap_or_default())?;
        let (now, then) = (&told.metadata, &held.metadata);
        (now.uid == then.uid && now.resource_version == then.resource_version).then_some(held)
    }
}

/// Where a watch looks: in the whole cluster, or in one namespace.
pub type Scope = Option<String>;

/// What keeps in step with what the cluster holds.
pub trait Follow<K>: Sync {
    /// An object is there, as a list says or because it just changed. True if it is to be said when a later list
    /// does not have it any more.
    fn apply(&self, object: K, is_listed: bool) -> bool;

    /// An object went.
    fn delete(&self, object: K);

    /// A list ended: of what was to be said, only `there` is there as far as a watch with this scope tells.
    fn keep(&self, scope: &Scope, there: HashSet<Place>);
}

/// Keeps `follower` in step with the objects that `news` tell of, one watch for each scope. `whole` is called
/// once, when all that there is has been told of, or cannot be: what may not be listed counts as not there, until
/// it may.
///
/// Never ends: a watch that breaks, or is refused, is begun anew, after a while that grows.
pub async fn follow<K: Resource>(
    watches: Vec<(Scope, impl Stream<Item = News<K>> + Unpin)>,
    follower: &dyn Follow<K>,
    whole: &(dyn Fn() + Sync),
) {
    let n_missing = AtomicUsize::new(watches.len());
    if watches.is_empty() {
        whole();
    }
    let each = watches.into_iter().map(|(scope, mut news)| {
        let n_missing = &n_missing;
        async move {
            let mut there = HashSet::new();
            let mut was_whole = false;
            let mut become_whole = || {
                let is_first = !std::mem::replace(&mut was_whole, true);
                if is_first && n_missing.fetch_sub(1, Ordering::Relaxed) == 1 {
                    whole();
                }
            };
            while let Some(news) = news.next().await {
                let event = match news {
                    News::Event(event) => event,
                    News::Refused => {
                        become_whole();
                        continue;
                    }
                };
                match event {
                    Event::Apply(object) => _ = follower.apply(object, false),
                    Event::Delete(object) => follower.delete(object),
                    Event::Init => there.clear(),
                    Event::InitApply(object) => {
                        let place = place(&object);
                        if follower.apply(object, true) {
                            there.insert(place);
                        }
                    }
                    Event::InitDone => {
                        follower.keep(&scope, std::mem::take(&mut there));
                        become_whole();
                    }
                }
            }
        }
    });
    join_all(each).await;
}

/// Follows the objects of one kind and keeps `mirror` in step. `changed` is told of every object that
/// came, changed or went: where, what was known, what is known.
///
/// Never ends.
pub async fn mirror<K, C>(apis: Vec<(Scope, Api<Unread>)>, mirror: &Mirror<Object<K>>, changed: C)
where
    K: Kind,
    C: Fn(&Place, Option<&Object<K>>, Option<&Object<K>>) + Sync,
{
    let watches = apis.into_iter().map(|(scope, api)| (scope, events(api))).collect();
    let whole = || _ = mirror.is_whole.send_replace(true);
    follow(watches, &Mirroring { mirror, changed }, &whole).await;
}

struct Mirroring<'a, K: Kind, C> {
    mirror: &'a Mirror<Object<K>>,
    changed: C,
}

impl<K, C> Follow<Unread> for Mirroring<'_, K, C>
where
    K: Kind,
    C: Fn(&Place, Option<&Object<K>>, Option<&Object<K>>) + Sync,
{
    fn apply(&self, object: Unread, _: bool) -> bool {
        if self.mirror.known(&object).is_some() {
            return true;
        }
        let place = place(&object);
        let object = Arc::new(Object::from(object));
        let before = self.mirror.put(place.clone(), object.clone());
        (self.changed)(&place, before.as_deref(), Some(&object));
        true
    }

    fn delete(&self, object: Unread) {
        self.remove(&place(&object));
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        for gone in self.mirror.places(scope).into_iter().filter(|it| !there.contains(it)) {
            self.remove(&gone);
        }
    }
}

impl<K: Kind, C: Fn(&Place, Option<&Object<K>>, Option<&Object<K>>)> Mirroring<'_, K, C> {
    fn remove(&self, place: &Place) {
        if let Some(before) = self.mirror.take(place) {
            (self.changed)(place, Some(&before), None);
        }
    }
}

/// What a watch tells.
#[derive(Debug)]
pub enum News<K> {
    /// Something about objects.
    Event(Event<K>),
    /// That it is refused: the right to list or to watch is missing, or the kind is. It is tried again.
    Refused,
}

/// What a watch tells, in order. Errors are logged, and the watch goes on: it never ends.
pub fn events<K>(api: Api<K>) -> impl Stream<Item = News<K>> + Send + Unpin + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    selected(api, None)
}

/// As [`events`], of the objects with certain labels alone.
pub fn selected<K>(api: Api<K>, labels: Option<&str>) -> impl Stream<Item = News<K>> + Send + Unpin + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    paged(api, labels, PAGE)
}

/// As [`selected`], with `page` objects in one page of a list.
pub fn paged<K>(api: Api<K>, labels: Option<&str>, page: u32) -> impl Stream<Item = News<K>> + Send + Unpin + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let url = api.resource_url().to_owned();
    let config = watcher::Config { label_selector: labels.map(str::to_owned), ..watcher::Config::default() };
    let config = config.page_size(page);
    let mut said = String::new();
    let news = watcher(api, config).default_backoff().filter_map(move |event| {
        let news = match event {
            Ok(event) => {
                said.clear();
                Some(News::Event(event))
            }
            Err(error) => {
                // The same trouble is told once: a right that is missing is missing for long.
                let told = std::mem::replace(&mut said, error.to_string());
                if told != said {
                    tracing::warn!(url, %error, "a watch broke and is begun anew");
                }
                is_refusal(&error).then_some(News::Refused)
            }
        };
        ready(news)
    });
    Box::pin(news)
}

fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status)) => {
            matches!(status.code, 403 | 404)
        }
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// True if nothing but the status of an object differs.
pub fn is_same(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.uid == b.uid
        && a.generation == b.generation
        && a.labels == b.labels
        && a.annotations == b.annotations
        && a.finalizers == b.finalizers
        && a.deletion_timestamp == b.deletion_timestamp
}

/// True if version `a` came after version `b`, as far as can be told (Kubernetes compares versions of
/// one kind as numbers since 1.35, and they were numbers before).
pub fn is_later(a: &str, b: &str) -> bool {
    match (a.parse::<u128>(), b.parse::<u128>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => a != b,
    }
}

/// Where an object is.
pub fn place<K: Resource>(object: &K) -> Place {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::api::external_secrets::ExternalSecret;

    fn object(generation: i64, version: &str) -> Unread {
        let metadata = json!({ "name": "a", "uid": "u", "generation": generation, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata })).expect("every object can be read")
    }

    #[test]
    fn what_changes_while_it_is_reported_on_is_told_by_the_watch() {
        let mirror = Mirror::<Object<ExternalSecret>>::default();
        let version = || mirror.find("", "a").and_then(|it| it.metadata.resource_version.clone());
        mirror.learn(object(1, "1"));
        assert_eq!(version(), None, "it is gone");
        let told = Mutex::new(Vec::new());
        let changed = |_: &Place, before: Option<&Object<ExternalSecret>>, now: Option<&Object<ExternalSecret>>| {
            let versions = [before, now].map(|it| it.and_then(|it| it.metadata.resource_version.clone()));
            told.lock().expect("nobody panics with it").push(versions.map(Option::unwrap_or_default).join(" "));
        };
        let watch = Mirroring { mirror: &mirror, changed };
        watch.apply(object(1, "1"), false);
        mirror.learn(object(1, "3"));
        assert_eq!(version().as_deref(), Some("3"));
        watch.apply(object(1, "3"), false);
        mirror.learn(object(1, "2"));
        assert_eq!(version().as_deref(), Some("3"), "the watch was faster");
        mirror.learn(object(2, "4"));
        assert_eq!(version().as_deref(), Some("3"), "whoever asked for something else is not told yet");
        watch.apply(object(2, "4"), false);
        assert_eq!(*told.lock().expect("nobody panics with it"), [" 1", "3 4"], "what is known is not told again");
    }
}
