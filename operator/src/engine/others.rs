//! Things that only matter because somebody's work depends on them: ConfigMaps, Namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use kube::Resource;
use kube::api::{ApiResource, PartialObjectMeta};

use super::lock::lock;
use super::watch::{self, Follow, Place, Scope};
use super::world::World;
use crate::api;
use crate::store::Part;

/// Everything of a kind, as somebody may depend on it.
pub(super) fn any(kind: &'static str) -> Part {
    // No object has this name.
    Part { kind, namespace: String::new(), name: "*".to_owned() }
}

/// Follows things of a kind: those that matter to somebody are told to have changed.
pub(super) async fn follow<K: Resource<DynamicType = ()>>(world: Arc<World>, kind: &'static str, scope: api::Scope) {
    let apis = world.context.apis::<PartialObjectMeta>(scope, &ApiResource::erase::<K>(&())).into_iter();
    let watches = apis.map(|(scope, api)| (scope, watch::events(api))).collect();
    watch::follow(watches, &Others { world: &world, kind, versions: Mutex::default() }, &|| {}).await;
}

/// Things of a kind, of which nothing is kept but the versions of those that matter to somebody: so a list that
/// comes after a gap tells what changed in it.
struct Others<'a> {
    world: &'a World,
    kind: &'static str,
    versions: Mutex<HashMap<Place, String>>,
}

impl Others<'_> {
    /// What matters to somebody: the thing itself, or all of its kind.
    fn parts(&self, (namespace, name): &Place) -> Vec<Part> {
        let part = Part { kind: self.kind, namespace: namespace.clone(), name: name.clone() };
        [part, any(self.kind)].into_iter().filter(|it| self.world.interests.is_wanted(it)).collect()
    }

    fn tell(&self, at: &Place) {
        for part in self.parts(at) {
            self.world.tell(&part);
        }
    }
}

impl Follow<PartialObjectMeta> for Others<'_> {
    fn apply(&self, object: PartialObjectMeta, _: bool) -> bool {
        let at = watch::place(&object);
        let is_wanted = !self.parts(&at).is_empty();
        let version = object.metadata.resource_version.filter(|_| is_wanted);
        let mut versions = lock(&self.versions);
        let before = match version.clone() {
            Some(version) => versions.insert(at.clone(), version),
            None => versions.remove(&at),
        };
        drop(versions);
        if before != version {
            self.tell(&at);
        }
        is_wanted
    }

    fn delete(&self, object: PartialObjectMeta) {
        let at = watch::place(&object);
        lock(&self.versions).remove(&at);
        self.tell(&at);
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        let is_gone = |at: &Place| scope.as_ref().is_none_or(|it| *it == at.0) && !there.contains(at);
        let gone: Vec<Place> = lock(&self.versions).extract_if(|at, _| is_gone(at)).map(|it| it.0).collect();
        gone.iter().for_each(|at| self.tell(at));
    }
}
