//! The watches of reloads: workloads, sources, namespaces.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Resource;
use kube::api::{ApiResource, PartialObjectMeta};
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;

use super::namespaces::Namespaces;
use super::sources::By;
use super::{Reload, index, lists};
use crate::api;
use crate::engine::Context;
use crate::engine::watch::{self, Follow, News, Place, Scope, place};
use crate::metrics::Happened;
use crate::reload::{Held, Rules, Source};
use crate::rollout::Workload;

/// The watches of workloads, one for each kind that may be watched.
pub(super) fn workloads(world: &Arc<Reload>) -> Vec<BoxFuture<'static, ()>> {
    let mut watches = Vec::new();
    for (kind, resource) in lists::kinds(&world.context, &world.rules) {
        let watched = watchable::<Held>(&world.context, &resource);
        let world = world.clone();
        let watch = async move {
            let whole = || world.become_whole();
            watch::follow(watched, &Workloads { world: &world, kind }, &whole).await;
        };
        watches.push(watch.boxed());
    }
    watches
}

/// The watches of a kind, wherever it may be watched.
pub(super) fn watchable<K>(
    context: &Context,
    at: &ApiResource,
) -> Vec<(Scope, impl Stream<Item = News<K>> + Send + Unpin + use<K>)>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    K: Clone + DeserializeOwned + Debug + Send + 'static,
{
    let apis = context.apis::<K>(api::Scope::Namespaced, at).into_iter();
    let may =
        |verb, scope: &Scope| context.served.may(verb, &at.plural, &at.group, scope.as_deref().unwrap_or_default());
    let watched = apis.filter(|(scope, _)| may("list", scope) && may("watch", scope));
    watched.map(|(scope, api)| (scope, watch::events(api))).collect()
}

/// The sorts of sources that are watched themselves: of classes, what pods mount is.
pub(super) fn followed(rules: &Rules) -> impl Iterator<Item = Source> {
    [Source::Secret, Source::ConfigMap].into_iter().filter(|it| rules.follows(*it))
}

/// The address of a sort of sources that are watched.
pub(super) fn resource(source: Source) -> ApiResource {
    match source {
        Source::Secret => ApiResource::erase::<Secret>(&()),
        Source::ConfigMap | Source::SecretProviderClass => ApiResource::erase::<ConfigMap>(&()),
    }
}

/// The watches of a sort of sources, of which nothing but metadata is told.
fn of_sources(
    context: &Context,
    source: Source,
) -> Vec<(Scope, impl Stream<Item = News<PartialObjectMeta>> + Unpin + use<>)> {
    let labels = context.settings.reload.resource_labels();
    let apis = context.apis::<PartialObjectMeta>(api::Scope::Namespaced, &resource(source)).into_iter();
    apis.map(|(scope, api)| (scope, watch::selected(api, labels.as_deref()))).collect()
}

/// The watch of a sort of sources.
pub(super) async fn sources(world: Arc<Reload>, source: Source) {
    let whole = || world.become_whole();
    watch::follow(of_sources(&world.context, source), &Changes { world: &world, source }, &whole).await;
}

/// The watch of the namespaces that are served, if labels say which.
pub(super) fn namespaces(world: &Arc<Reload>) -> Option<BoxFuture<'static, ()>> {
    let labels = world.context.settings.reload.namespace_labels().filter(|_| world.namespaces.are_selected())?;
    let world = world.clone();
    let watch = async move {
        let learn = |namespace: &str, is_selected: bool| {
            if world.namespaces.select(namespace, is_selected) && is_selected && world.has_begun() {
                for who in world.index.list(Some(namespace), |_| true) {
                    world.queue.push(who);
                }
            }
        };
        selected(&world.context, &labels, &world.namespaces, learn, || world.become_whole()).await;
    };
    Some(watch.boxed())
}

/// Follows the namespaces that have `labels`: `learn` is told of each that has them, or has them no more.
pub(super) async fn selected(
    context: &Context,
    labels: &str,
    namespaces: &Namespaces,
    learn: impl Fn(&str, bool) + Sync,
    whole: impl Fn() + Sync,
) {
    let apis = context.apis::<PartialObjectMeta>(api::Scope::Cluster, &ApiResource::erase::<Namespace>(&()));
    let watches = apis.into_iter().map(|(scope, api)| (scope, watch::selected(api, Some(labels)))).collect();
    watch::follow(watches, &Selected { namespaces, learn }, &whole).await;
}

struct Workloads<'a> {
    world: &'a Reload,
    kind: &'static Workload,
}

impl Follow<Held> for Workloads<'_> {
    fn apply(&self, held: Held, is_listed: bool) -> bool {
        let who = index::part(self.kind, &place(&held));
        let news = self.world.index.apply(self.kind, held, is_listed, &self.world.rules);
        let is_kept = self.world.index.find(&who).is_some();
        self.world.heed(who, news);
        is_kept
    }

    fn delete(&self, held: Held) {
        let news = self.world.index.delete(self.kind, &held);
        self.world.heed(index::part(self.kind, &place(&held)), news);
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        for gone in self.world.index.keep(self.kind, scope.as_deref(), &there) {
            self.world.heed(gone, index::News::Gone);
        }
    }
}

struct Changes<'a> {
    world: &'a Reload,
    source: Source,
}

impl Changes<'_> {
    /// True if the first list is over: what comes then has just come.
    fn by(&self, is_listed: bool) -> By {
        match is_listed {
            false => By::Change,
            true if self.world.rules.sync_after_restart && !self.world.has_begun() => By::Coming,
            true => By::List,
        }
    }
}

impl Follow<PartialObjectMeta> for Changes<'_> {
    fn apply(&self, object: PartialObjectMeta, is_listed: bool) -> bool {
        let Self { world, source } = *self;
        let at = place(&object);
        let part = index::of(source, &at.0, &at.1);
        let is_wanted = world.index.is_wanted(source, &at, &world.rules);
        let was_known = is_wanted && world.sources.find(&part).is_some();
        let is_news = is_wanted && world.sources.apply(&part, &object.metadata, &world.rules.keys, self.by(is_listed));
        if is_news {
            world.tell(source, &part, if was_known { Happened::Update } else { Happened::Create });
        }
        // What a later list tells anew happened while the watch was away.
        if !is_listed || (is_news && world.has_begun()) {
            lists::remember(world, &part, |recent| recent.write(&part, &object.metadata));
            lists::stir(world, &part);
        }
        is_wanted
    }

    fn delete(&self, object: PartialObjectMeta) {
        let Self { world, source } = *self;
        let at = place(&object);
        let part = index::of(source, &at.0, &at.1);
        let is_wanted = world.index.is_wanted(source, &at, &world.rules);
        let is_news = is_wanted && world.sources.delete(&part, object.metadata.uid.as_deref());
        if is_news && world.rules.on_delete {
            world.tell(source, &part, Happened::Delete);
        }
        lists::remember(world, &part, |recent| recent.delete(&part, &object.metadata));
        if world.rules.on_delete {
            lists::stir(world, &part);
        }
    }

    fn keep(&self, scope: &Scope, there: HashSet<Place>) {
        for gone in self.world.sources.keep(self.source.kind(), scope, &there) {
            if self.world.rules.on_delete {
                self.world.tell(self.source, &gone, Happened::Delete);
                lists::stir(self.world, &gone);
            }
        }
    }
}

struct Selected<'a, L> {
    namespaces: &'a Namespaces,
    learn: L,
}

impl<L: Fn(&str, bool) + Sync> Follow<PartialObjectMeta> for Selected<'_, L> {
    fn apply(&self, object: PartialObjectMeta, _: bool) -> bool {
        (self.learn)(&place(&object).1, true);
        true
    }

    fn delete(&self, object: PartialObjectMeta) {
        (self.learn)(&place(&object).1, false);
    }

    fn keep(&self, _: &Scope, there: HashSet<Place>) {
        self.namespaces.keep(&there.into_iter().map(|it| it.1).collect());
    }
}
