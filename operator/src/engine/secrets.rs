//! What is known of the Secrets of the cluster: that they are there, and of those that matter which
//! version they have. Never what they hold.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::StreamExt as _;
use kube::Api;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::lock::lock;
use crate::engine::watch::{News, Place, Scope, events, is_later, place};

/// The labels that name the owner of a Secret, in each family.
const OWNER_LABELS: &[&str] = &["reconcile.external-secrets.io/created-by", "secrets.hashicorp.com/vso-ownerRefUID"];

/// All Secrets, each in a few bytes; those that matter with their version.
#[derive(Debug)]
pub struct Secrets {
    state: Mutex<State>,
    is_whole: watch::Sender<bool>,
}

/// A Secret that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Its UID.
    pub uid: String,
    /// Its `resourceVersion`.
    pub version: String,
}

/// What is known of one Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sight {
    /// It is not there.
    Absent,
    /// It may be there, in some version: it has to be read.
    Present,
    /// It is there, in this version.
    Marked(Mark),
}

#[derive(Debug, Default)]
struct State {
    hasher: RandomState,
    /// Digests of the names of all Secrets that are there.
    names: HashSet<u64>,
    /// Those that matter or carry the label of an owner.
    known: HashMap<Arc<Place>, Known>,
    /// By owner label: who has which Secrets.
    owned: HashMap<Arc<str>, Vec<Arc<Place>>>,
    /// Where Secrets may not be listed or watched: there, what is known may be out of date.
    blind: HashSet<Scope>,
    n_missing: usize,
}

#[derive(Debug)]
struct Known {
    uid: Box<str>,
    /// `None` if it does not matter.
    version: Option<Box<str>>,
    owner: Option<Arc<str>>,
}

impl Known {
    fn mark(&self) -> Option<Mark> {
        let version = self.version.as_deref()?.to_owned();
        Some(Mark { uid: self.uid.as_ref().to_owned(), version })
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self { state: Mutex::default(), is_whole: watch::Sender::new(false) }
    }
}

impl Secrets {
    /// Waits until all Secrets that there are have been told of, or cannot be: those that may not be listed
    /// are read where they are needed.
    pub async fn whole(&self) {
        // The sender lives as long as this does.
        drop(self.is_whole.subscribe().wait_for(|it| *it).await);
    }

    /// What is known of a Secret.
    pub fn sight(&self, at: &Place) -> Sight {
        let state = self.state();
        match state.known.get(at).and_then(Known::mark) {
            _ if state.is_blind(at) => Sight::Present,
            Some(mark) => Sight::Marked(mark),
            None if state.names.contains(&state.digest(at)) => Sight::Present,
            None => Sight::Absent,
        }
    }

    /// The Secrets that carry `owner` as the label of their owner, by name and UID.
    pub fn owned(&self, namespace: &str, owner: &str) -> Vec<(String, String)> {
        let state = self.state();
        let theirs = state.owned.get(owner).into_iter().flatten();
        let uid = |at: &Arc<Place>| state.known.get(at).map(|it| it.uid.as_ref().to_owned()).unwrap_or_default();
        theirs.filter(|at| at.0 == namespace).map(|at| (at.1.clone(), uid(at))).collect()
    }

    /// Learns a Secret from an answer of the API server.
    pub fn learn(&self, metadata: &ObjectMeta) {
        self.state().apply(metadata, true);
    }

    /// Learns from an answer of the API server that a Secret is gone.
    pub fn learn_gone(&self, at: &Place) {
        self.state().remove(at);
    }

    /// Doubts what is known of a Secret: it has to be read.
    pub fn doubt(&self, at: &Place) {
        let mut state = self.state();
        let digest = state.digest(at);
        state.names.insert(digest);
        if let Some(known) = state.known.get_mut(at) {
            known.version = None;
        }
    }

    /// Follows the Secrets of the cluster, or of some namespaces. `is_wanted` says of which the version
    /// matters; `changed` is told when one of these came, changed or went.
    ///
    /// Never ends.
    pub async fn follow(
        &self,
        apis: Vec<(Scope, Api<PartialObjectMeta>)>,
        is_wanted: impl Fn(&Place) -> bool + Sync,
        changed: impl Fn(&Place) + Sync,
    ) {
        self.state().n_missing = apis.len();
        let each = apis.into_iter().map(|(scope, api)| self.follow_one(scope, api, &is_wanted, &changed));
        futures::future::join_all(each).await;
    }

    async fn follow_one(
        &self,
        scope: Scope,
        api: Api<PartialObjectMeta>,
        is_wanted: &(impl Fn(&Place) -> bool + Sync),
        changed: &(impl Fn(&Place) + Sync),
    ) {
        let mut listed: HashSet<Place> = HashSet::new();
        let mut names = HashSet::new();
        let mut was_whole = false;
        let mut events = events(api);
        while let Some(news) = events.next().await {
            let News::Event(event) = news else {
                self.state().blind.insert(scope.clone());
                self.become_whole(&mut was_whole);
                continue;
            };
            match event {
                Event::Apply(secret) => {
                    self.state().blind.remove(&scope);
                    let at = place(&secret);
                    let wanted = is_wanted(&at);
                    if self.state().apply(&secret.metadata, wanted) && wanted {
                        changed(&at);
                    }
                }
                Event::Delete(secret) => {
                    let at = place(&secret);
                    if self.state().delete(&at, &secret.metadata) && is_wanted(&at) {
                        changed(&at);
                    }
                }
                Event::Init => {
                    listed.clear();
                    names.clear();
                }
                Event::InitApply(secret) => {
                    let at = place(&secret);
                    let wanted = is_wanted(&at);
                    let is_news = {
                        let mut state = self.state();
                        names.insert(state.digest(&at));
                        state.apply(&secret.metadata, wanted)
                    };
                    if is_news && wanted {
                        changed(&at);
                    }
                    if wanted {
                        listed.insert(at);
                    }
                }
                Event::InitDone => {
                    let gone = self.state().end_list(&scope, std::mem::take(&mut listed), std::mem::take(&mut names));
                    gone.iter().filter(|it| is_wanted(it)).for_each(changed);
                    self.state().blind.remove(&scope);
                    self.become_whole(&mut was_whole);
                }
            }
        }
    }

    /// One more watch has told all that it can at first.
    fn become_whole(&self, was_whole: &mut bool) {
        if std::mem::replace(was_whole, true) {
            return;
        }
        let n_missing = {
            let mut state = self.state();
            state.n_missing -= 1;
            state.n_missing
        };
        if n_missing == 0 {
            self.is_whole.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn digest(&self, at: &Place) -> u64 {
        self.hasher.hash_one(at)
    }

    fn is_blind(&self, at: &Place) -> bool {
        !self.blind.is_empty() && (self.blind.contains(&None) || self.blind.contains(&Some(at.0.clone())))
    }

    /// Learns of a Secret; `false` if that is no news.
    fn apply(&mut self, metadata: &ObjectMeta, is_wanted: bool) -> bool {
        let at = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let version = metadata.resource_version.as_deref().unwrap_or_default();
        let held = self.known.get(&at);
        // The answer to a write is often here before the watch tells of what was before it.
        let is_newer = |it: &str| is_later(version, it);
        if held.is_some_and(|it| &*it.uid == uid && it.version.as_deref().is_some_and(|it| !is_newer(it))) {
            return false;
        }
        self.names.insert(self.digest(&at));
        let labels = metadata.labels.as_ref();
        let owner = OWNER_LABELS.iter().find_map(|it| labels?.get(*it));
        self.forget(&at);
        if !is_wanted && owner.is_none() {
            return true;
        }
        let at = Arc::new(at);
        let owner: Option<Arc<str>> = owner.map(|it| match self.owned.get_key_value(it.as_str()) {
            Some((known, _)) => known.clone(),
            None => it.as_str().into(),
        });
        if let Some(owner) = &owner {
            self.owned.entry(owner.clone()).or_insert_with(|| Vec::with_capacity(1)).push(at.clone());
        }
        self.known.insert(at, Known { uid: uid.into(), version: is_wanted.then(|| version.into()), owner });
        true
    }

    /// A list ended that had `listed` of those that matter and `names` of all. Returns what is gone.
    fn end_list(&mut self, scope: &Scope, listed: HashSet<Place>, names: HashSet<u64>) -> Vec<Place> {
        let in_scope = |it: &&Place| scope.as_ref().is_none_or(|scope| it.0 == *scope);
        let marked = self.known.iter().filter(|(_, it)| it.version.is_some()).map(|(at, _)| &**at);
        let gone: Vec<Place> = marked.filter(in_scope).filter(|it| !listed.contains(*it)).cloned().collect();
        for at in &gone {
            self.remove(at);
        }
        // Names of one namespace cannot be told from those of others: what is gone is found out by reading.
        if scope.is_none() {
            self.names = names;
        }
        gone
    }

    /// Learns that a Secret was deleted; `false` if there is another of its name by now.
    fn delete(&mut self, at: &Place, metadata: &ObjectMeta) -> bool {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if self.known.get(at).is_some_and(|it| it.version.is_some() && &*it.uid != uid) {
            return false;
        }
        self.remove(at);
        true
    }

    fn remove(&mut self, at: &Place) {
        let digest = self.digest(at);
        self.names.remove(&digest);
        self.forget(at);
    }

    /// Forgets what is known of a Secret beyond its being there.
    fn forget(&mut self, at: &Place) {
        let Some(owner) = self.known.remove(at).and_then(|it| it.owner) else { return };
        if let Some(those) = self.owned.get_mut(&owner) {
            those.retain(|it| **it != *at);
            if those.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, uid: &str, version: &str, owner: Option<&str>) -> ObjectMeta {
        let labels = owner.map(|it| [(OWNER_LABELS[0].to_owned(), it.to_owned())].into());
        ObjectMeta {
            namespace: Some("apps".to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
            labels,
            ..ObjectMeta::default()
        }
    }

    fn at(name: &str) -> Place {
        ("apps".to_owned(), name.to_owned())
    }

    #[test]
    fn what_does_not_matter_is_only_there() {
        let mut state = State::default();
        assert!(state.apply(&secret("a", "1", "10", None), false));
        let secrets = Secrets { state: Mutex::new(state), ..Secrets::default() };
        assert_eq!(secrets.sight(&at("a")), Sight::Present);
        assert_eq!(secrets.sight(&at("b")), Sight::Absent);
        secrets.learn(&secret("a", "1", "10", None));
        assert!(matches!(secrets.sight(&at("a")), Sight::Marked(mark) if mark.version == "10"));
        secrets.learn_gone(&at("a"));
        assert_eq!(secrets.sight(&at("a")), Sight::Absent);
    }

    #[test]
    fn a_watch_that_lags_tells_no_news() {
        let mut state = State::default();
        assert!(state.apply(&secret("a", "1", "10", None), true));
        assert!(!state.apply(&secret("a", "1", "9", None), true));
        assert!(!state.apply(&secret("a", "1", "10", None), true));
        assert!(state.apply(&secret("a", "1", "11", None), true));
        // Deleted and made anew by us; the watch tells of the deletion later.
        assert!(state.apply(&secret("a", "2", "13", None), true));
        assert!(!state.delete(&at("a"), &secret("a", "1", "12", None)));
        assert!(state.delete(&at("a"), &secret("a", "2", "14", None)));
    }

    #[test]
    fn what_may_not_be_watched_is_read() {
        let secrets = Secrets::default();
        secrets.state().blind.insert(Some("apps".to_owned()));
        assert_eq!(secrets.sight(&at("a")), Sight::Present);
        secrets.learn(&secret("a", "1", "10", None));
        assert_eq!(secrets.sight(&at("a")), Sight::Present, "it may have changed since");
        assert_eq!(secrets.sight(&("other".to_owned(), "a".to_owned())), Sight::Absent);
        secrets.state().blind.remove(&Some("apps".to_owned()));
        assert!(matches!(secrets.sight(&at("a")), Sight::Marked(_)));
    }

    #[test]
    fn owners_have_what_carries_their_label() {
        let secrets = Secrets::default();
        secrets.learn(&secret("a", "1", "10", Some("x")));
        secrets.learn(&secret("b", "2", "11", Some("x")));
        assert_eq!(secrets.owned("apps", "x").len(), 2);
        assert!(secrets.owned("other", "x").is_empty());
        secrets.learn(&secret("a", "1", "12", Some("y")));
        secrets.learn_gone(&at("b"));
        assert!(secrets.owned("apps", "x").is_empty());
        assert_eq!(secrets.owned("apps", "y"), [("a".to_owned(), "1".to_owned())]);
    }
}
