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

/// Follows things of a kind: those that matter to somebody are told to have changed.
pub(super) async fn follow<K: Resource<DynamicType = ()>>(world: Arc<World>, kind: &'static str, scope: api::Scope) {
    let apis = world.context.apis::<PartialObjectMeta>(scope, &ApiResource::erase::<K>(&())).into_iter();
    let watches = apis.map(|(scope, api)| (scope, watch::events(api))).collect();
    watch::follow(watches, &Others { world: &world, kind, versions: Mutex::default() }, || {}).await;
}

/// Things of a kind, of which nothing is kept but the versions of those that matter to somebody: so a list that
/// comes after a gap tells what changed in it.
struct Others<'a> {
    world: &'a World,
    kind: &'static str,
    versions: Mutex<HashMap<Place, String>>,
}

impl Others<'_> {
    fn part(&self, (namespace, name): &Place) -> Option<Part> {
        let part = Part { kind: self.kind, namespace: namespace.clone(), name: name.clone() };
        Some(part).filter(|it| self.world.interests.is_wanted(it))
    }

    fn tell_gone(&self, at: &Place) {
        if let Some(part) = self.part(at) {
            self.world.tell(&part);
        }
    }
}

impl Follow<PartialObjectMeta> for Others<'_> {
    fn apply(&self, object: PartialObjectMeta, _: bool) -> bool {
        let at = watch::place(&object);
        let part = self.part(&at);
        let version = object.metadata.resource_version.filter(|_| part.is_some());
        let mut versions = lock(&self.versions);
        let before = match version.clone() {
            Some(version) => versions.insert(at, version),
            None => versions.remove(&at),
        };
        drop(versions);
        if let Some(part) = part.as_ref().filter(|_| before != version) {
            self.world.tell(part);
        }
        part.is_some()
    }

    fn delete(&self, object: PartialObjectMeta) {
        let at = watch::place(&object);
        lock(&self.versions).remove(&at);
        self.tell_gone(&at);
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        let is_gone = |at: &Place| scope.as_ref().is_none_or(|it| *it == at.0) && !there.contains(at);
        let gone: Vec<Place> = lock(&self.versions).extract_if(|at, _| is_gone(at)).map(|it| it.0).collect();
        gone.iter().for_each(|at| self.tell_gone(at));
    }
}
