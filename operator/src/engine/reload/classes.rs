//! SecretProviderClasses: what pods have mounted of them, as far as the CSI driver for secrets tells, and what they
//! say of themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::api::{ApiResource, PartialObjectMeta};
use tokio::time::Instant;

use super::sources::Seen;
use super::{Reload, follow, index, lists};
use crate::engine::Context;
use crate::engine::lock::lock;
use crate::engine::watch::{self, Follow, Place, Scope, is_later, place};
use crate::families::CSI;
use crate::metrics::Happened;
use crate::reload::{Key, Marks, Mount, PodStatus, Source};
use crate::store::Part;

/// What is known of classes.
#[derive(Debug)]
pub(super) struct Classes {
    key: Key,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    classes: HashMap<Place, Class>,
    /// The class of each status, by the status' place.
    of: HashMap<Place, Box<str>>,
    /// What classes say that say something.
    marks: HashMap<Place, Marks>,
}

/// What is known of one that somebody mounts.
#[derive(Debug)]
struct Class {
    /// By the name of the status.
    mounts: BTreeMap<Box<str>, (Box<str>, Mount)>,
    /// When it was seen to change.
    changed: Option<Instant>,
    /// Since when what it holds is known.
    noted: Instant,
}

/// What became known of a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    /// Nothing that matters.
    Nothing,
    /// What all pods have that mount it.
    Began,
    /// What came to a pod that runs.
    Changed,
}

impl Class {
    fn latest(&self) -> Option<&Mount> {
        Mount::latest(self.mounts.values().map(|it| &it.1))
    }
}

impl Classes {
    /// Nothing is known yet; what pods mount is digested with `key`.
    pub(super) fn new(key: Key) -> Self {
        Self { key, state: Mutex::default() }
    }

    /// What is known of a class; `None` if no pods have mounted it, or all that they have differs from the start.
    pub(super) fn find(&self, at: &Part) -> Option<Box<Seen>> {
        let state = self.state();
        let place = (at.namespace.clone(), at.name.clone());
        let class = state.classes.get(&place)?;
        let mount = class.latest()?;
        let marks = state.marks.get(&place).copied().unwrap_or_default();
        Some(Box::new(Seen::mounted(mount, marks, class.changed, class.noted)))
    }

    /// The names of those that pods have mounted in a namespace.
    pub(super) fn names(&self, namespace: &str) -> Vec<String> {
        self.state().classes.keys().filter(|it| it.0 == namespace).map(|it| it.1.clone()).collect()
    }

    /// Learns what a pod has mounted. Returns the class, and what that means for it.
    fn apply(&self, status: &PodStatus, is_listed: bool) -> Option<(Place, News)> {
        let (namespace, name) = place(status);
        let class_name = status.class()?;
        let version = status.metadata.resource_version.as_deref().unwrap_or_default();
        let mut state = self.state();
        let before = state.of.insert((namespace.clone(), name.clone()), class_name.into());
        if let Some(other) = before.filter(|it| **it != *class_name) {
            state.remove(&(namespace.clone(), other.into_string()), &name);
        }
        let at = (namespace, class_name.to_owned());
        let now = Instant::now();
        let class =
            state.classes.entry(at.clone()).or_insert(Class { mounts: BTreeMap::new(), changed: None, noted: now });
        let known = class.mounts.get(&*name);
        if known.is_some_and(|it| !is_later(version, &it.0)) {
            return None;
        }
        let digest = |it: &Class| it.latest().map(|it| it.content.digest.clone());
        let held = digest(class);
        let mount = Mount::read(status, class_name, &self.key, known.map(|it| &it.1));
        class.mounts.insert(name.into(), (version.into(), mount));
        let news = match class.latest() {
            None => News::Nothing,
            Some(it) if held.as_deref() == Some(&*it.content.digest) => News::Nothing,
            Some(it) if it.change.is_none() => News::Began,
            Some(_) => News::Changed,
        };
        if news != News::Nothing {
            (class.noted, class.changed) = (now, (news == News::Changed && !is_listed).then_some(now));
        }
        Some((at, news))
    }

    /// Learns that a pod went. Returns the class, if all that mount it began with something else than was known.
    fn delete(&self, status: &Place) -> Option<Place> {
        let mut state = self.state();
        let at = (status.0.clone(), state.of.remove(status)?.into_string());
        state.remove(&at, &status.1).then_some(at)
    }

    /// The statuses that are known, as far as a watch with this scope tells.
    fn statuses(&self, scope: &Scope) -> Vec<Place> {
        let state = self.state();
        state.of.keys().filter(|it| scope.as_ref().is_none_or(|scope| it.0 == *scope)).cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Forgets one status of a class. True if what the class holds is another for that.
    fn remove(&mut self, at: &Place, status: &str) -> bool {
        let Some(class) = self.classes.get_mut(at) else { return false };
        let digest = |it: &Class| it.latest().map(|it| it.content.digest.clone());
        let before = digest(class);
        class.mounts.remove(status);
        let now = digest(class);
        if class.mounts.is_empty() {
            self.classes.remove(at);
        }
        now.is_some() && now != before
    }
}

/// The watches of classes and of what pods have mounted, if that is asked for; where the cluster has no such kinds,
/// that is said, and as soon as it has them the engine is started anew.
pub(super) fn watches(world: &Arc<Reload>) -> Vec<BoxFuture<'static, ()>> {
    if !world.rules.follows(Source::SecretProviderClass) {
        return Vec::new();
    }
    let Some((statuses, classes)) = resources(&world.context) else {
        tracing::info!(
            "the cluster has no {} of {CSI}: --enable-csi-integration waits for the driver",
            PodStatus::KIND
        );
        return Vec::new();
    };
    let (of_statuses, of_classes) = (world.clone(), world.clone());
    let statuses = async move {
        let world = of_statuses;
        let follower = Statuses { world: &world };
        watch::follow(follow::watchable(&world.context, &statuses), &follower, &|| world.become_whole()).await;
    };
    let classes = async move {
        let world = of_classes;
        let follower = Marked { world: &world };
        watch::follow(follow::watchable(&world.context, &classes), &follower, &|| world.become_whole()).await;
    };
    vec![statuses.boxed(), classes.boxed()]
}

/// The addresses of statuses and of classes; `None` if nobody asks for them, or the cluster does not have both.
pub(super) fn resources(context: &Context) -> Option<(ApiResource, ApiResource)> {
    let of = |kind: &str| context.served.other(kind).cloned();
    Some((of(PodStatus::KIND)?, of(Source::SecretProviderClass.kind())?))
}

/// Follows what pods have mounted.
struct Statuses<'a> {
    world: &'a Reload,
}

impl Statuses<'_> {
    /// Who reloads for a class is looked at: at once, where only something is to be remembered.
    fn tell(&self, at: &Place, news: News, is_listed: bool) {
        let (world, source) = (self.world, Source::SecretProviderClass);
        let part = index::of(source, &at.0, &at.1);
        match news {
            News::Nothing => {}
            News::Began => world.note(source, at),
            News::Changed => {
                world.tell(source, &part, Happened::Update);
                if !is_listed && let Some(seen) = world.classes.find(&part) {
                    lists::remember(world, &part, |recent| recent.change(&part, &seen));
                    lists::stir(world, &part);
                }
            }
        }
    }
}

impl Follow<PodStatus> for Statuses<'_> {
    fn apply(&self, status: PodStatus, is_listed: bool) -> bool {
        if let Some((at, news)) = self.world.classes.apply(&status, is_listed) {
            self.tell(&at, news, is_listed);
        }
        true
    }

    fn delete(&self, status: PodStatus) {
        if let Some(at) = self.world.classes.delete(&place(&status)) {
            self.tell(&at, News::Began, false);
        }
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        for gone in self.world.classes.statuses(scope).into_iter().filter(|it| !there.contains(it)) {
            self.world.classes.delete(&gone);
        }
    }
}

/// Follows what classes say of themselves.
struct Marked<'a> {
    world: &'a Reload,
}

impl Marked<'_> {
    /// Who reloads for a class that says something else is looked at: more may be to remember.
    fn learn(&self, at: &Place, marks: Marks) {
        let before = match marks == Marks::default() {
            true => self.world.classes.state().marks.remove(at),
            false => self.world.classes.state().marks.insert(at.clone(), marks),
        };
        if before.unwrap_or_default() != marks {
            self.world.note(Source::SecretProviderClass, at);
        }
    }
}

impl Follow<PartialObjectMeta> for Marked<'_> {
    fn apply(&self, class: PartialObjectMeta, _: bool) -> bool {
        let marks = Marks::of(&class.metadata, &self.world.rules.keys);
        self.learn(&place(&class), marks);
        marks != Marks::default()
    }

    fn delete(&self, class: PartialObjectMeta) {
        self.learn(&place(&class), Marks::default());
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        let is_in_scope = |at: &Place| scope.as_ref().is_none_or(|scope| at.0 == *scope);
        self.world.classes.state().marks.retain(|at, _| !is_in_scope(at) || there.contains(at));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(pod: &str, version: &str, class: &str, holds: &str) -> PodStatus {
        serde_json::from_value(json!({
            "metadata": { "namespace": "apps", "name": pod, "resourceVersion": version, "generation": 1 },
            "status": { "secretProviderClassName": class, "objects": [{ "id": "db", "version": holds }] },
        }))
        .expect("it is a status")
    }

    fn at(name: &str) -> Place {
        ("apps".to_owned(), name.to_owned())
    }

    #[test]
    fn pods_that_change_one_after_another_are_one_change() {
        let classes = Classes::new(Key::shared());
        let apply = |pod, version, holds| classes.apply(&status(pod, version, "db", holds), false).map(|it| it.1);
        assert_eq!(apply("a", "10", "1"), Some(News::Began));
        assert_eq!(apply("b", "11", "1"), Some(News::Nothing));
        assert_eq!(apply("b", "11", "1"), None, "it is told twice");
        assert_eq!(apply("a", "12", "2"), Some(News::Changed));
        assert_eq!(apply("c", "13", "2"), Some(News::Nothing), "a new pod has it");
        assert_eq!(apply("b", "14", "2"), Some(News::Nothing), "the next one");
        let part = index::of(Source::SecretProviderClass, "apps", "db");
        let seen = classes.find(&part).expect("pods have it");
        assert!(!seen.is_first && seen.changed.is_some() && seen.before().is_some());
        assert_eq!(classes.names("apps"), ["db"]);

        // The pods are made anew, and the old ones go.
        assert_eq!(apply("d", "20", "2"), Some(News::Nothing));
        for pod in ["a", "b", "c"] {
            assert_eq!(classes.delete(&at(pod)), None);
        }
        assert!(classes.find(&part).expect("one has it").is_first);
        assert_eq!(classes.delete(&at("d")), None);
        assert!(classes.find(&part).is_none() && classes.names("apps").is_empty());
    }

    #[test]
    fn what_is_left_may_be_what_is_to_be_remembered() {
        let classes = Classes::new(Key::shared());
        let apply = |pod, version, class, holds| classes.apply(&status(pod, version, class, holds), true);
        assert_eq!(apply("a", "10", "db", "1"), Some((at("db"), News::Began)));
        assert_eq!(apply("b", "11", "db", "2"), Some((at("db"), News::Nothing)));
        assert_eq!(classes.delete(&at("a")), Some(at("db")));
        assert_eq!(apply("b", "12", "cache", "2"), Some((at("cache"), News::Began)), "it mounts another");
        assert_eq!(classes.names("apps"), ["cache"]);
        assert_eq!(classes.statuses(&None), [at("b")]);
        assert_eq!(classes.statuses(&Some("other".to_owned())), []);
    }
}
