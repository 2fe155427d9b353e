//! Workloads that may be listed and not watched: listed at the start, and in a namespace when something changed
//! there.

use std::collections::HashSet;

use kube::api::{ApiResource, ListParams, PartialObjectMeta};
use kube::{Api, Error};

use super::index::{self, Entry};
use super::recent::Recent;
use super::sources::By;
use super::{NAMESPACE, Reload, follow};
use crate::engine::Context;
use crate::engine::watch::{PAGE, Scope, place};
use crate::engine::work::{Again, Work as _};
use crate::reload::{Held, Rules};
use crate::rollout::{WORKLOADS, Workload};
use crate::store::Part;

/// A kind that may be listed and not watched.
#[derive(Debug)]
pub(super) struct Unwatched {
    kind: &'static Workload,
    scope: Scope,
    resource: ApiResource,
}

impl Unwatched {
    /// True for workloads of this kind in this namespace.
    pub(super) fn has(&self, kind: &str, namespace: &str) -> bool {
        self.kind.kind == kind && self.covers(namespace)
    }

    fn covers(&self, namespace: &str) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope == namespace)
    }
}

/// The kinds of workloads that are asked for and that the cluster has.
pub(super) fn kinds(context: &Context, rules: &Rules) -> Vec<(&'static Workload, ApiResource)> {
    let resource = |it: &Workload| match it.group {
        "argoproj.io" if !context.settings.reload.argo_rollouts => None,
        "argoproj.io" => context.served.other(it.kind).cloned(),
        _ => Some(it.resource()),
    };
    let asked = WORKLOADS.iter().filter(|it| !rules.ignored_kinds.contains(&it.kind));
    asked.filter_map(|it| Some((it, resource(it)?))).collect()
}

/// Where workloads may be listed and not watched. Where they may not even be listed, they are left alone: the line
/// that says what is served says so.
pub(super) fn unwatched(context: &Context, rules: &Rules) -> Vec<Unwatched> {
    let mut all = Vec::new();
    for (kind, resource) in kinds(context, rules) {
        for scope in context.scopes() {
            let may = |verb| context.served.may(verb, kind.plural, kind.group, scope.as_deref().unwrap_or_default());
            if may("list") && !may("watch") {
                all.push(Unwatched { kind, scope, resource: resource.clone() });
            }
        }
    }
    if !all.is_empty() {
        let mut names: Vec<_> = all.iter().map(|it| it.kind.plural).collect();
        names.dedup();
        let kinds = names.join(", ");
        tracing::info!(kinds, "without the right to watch these they are listed whenever a source changes");
    }
    all
}

/// Lists everything that is not watched.
pub(super) async fn list_all(world: &Reload) {
    for it in &world.unwatched {
        if let Err(error) = list(world, it, it.scope.as_deref()).await {
            tracing::warn!(kind = it.kind.plural, %error, "workloads cannot be listed");
        }
    }
}

/// Looks at the workloads of a namespace that are not watched, when nothing happens there any more.
pub(super) async fn look(world: &Reload, who: &Part) -> Again {
    if let Some(left) = world.windows.left(who) {
        return Some(left);
    }
    for it in world.unwatched.iter().filter(|it| it.covers(&who.namespace)) {
        if let Err(error) = list(world, it, Some(&who.namespace)).await {
            tracing::warn!(kind = it.kind.plural, namespace = who.namespace, %error, "workloads cannot be listed");
            return Some(world.failed(who));
        }
    }
    world.tries.worked(who);
    for workload in world.index.list(Some(&who.namespace), |_| true) {
        if world.is_unwatched(&workload) {
            world.queue.push(workload);
        }
    }
    None
}

/// Something happened to a source: what is not watched in its namespace has to be looked at.
pub(super) fn stir(world: &Reload, source: &Part) {
    if has_unwatched(world, source) {
        let namespace = source.namespace.as_str();
        world.stir(&Part { kind: NAMESPACE, namespace: namespace.to_owned(), name: namespace.to_owned() });
    }
}

/// Remembers what happened to a source where not all workloads are watched.
pub(super) fn remember(world: &Reload, source: &Part, remember: impl FnOnce(&Recent)) {
    if has_unwatched(world, source) {
        remember(&world.recent);
    }
}

fn has_unwatched(world: &Reload, source: &Part) -> bool {
    let namespace = source.namespace.as_str();
    world.unwatched.iter().any(|it| it.covers(namespace)) && world.namespaces.serve(namespace)
}

async fn list(world: &Reload, what: &Unwatched, namespace: Option<&str>) -> Result<(), Error> {
    let api: Api<Held> = world.context.api_in(namespace, &what.resource);
    let (mut there, mut params) = (HashSet::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        for held in page.items {
            let at = place(&held);
            world.heed(index::part(what.kind, &at), world.index.apply(what.kind, held, true, &world.rules));
            there.insert(at);
        }
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => break,
        }
    }
    for gone in world.index.keep(what.kind, namespace, &there) {
        world.forget(&gone);
    }
    Ok(())
}

/// Finds out which sources of its namespace the patterns of a workload match, if it came or changed since the
/// watches began: they told of what matched somebody's then.
pub(super) async fn survey(world: &Reload, entry: &Entry) -> Result<(), Error> {
    if entry.is_surveyed() {
        return Ok(());
    }
    let namespace = entry.consumer.namespace.as_str();
    let labels = world.context.settings.reload.resource_labels();
    for source in follow::followed(&world.rules).filter(|it| entry.consumer.has_patterns(*it)) {
        let api: Api<PartialObjectMeta> = world.context.api_in(Some(namespace), &follow::resource(source));
        let mut params = ListParams { label_selector: labels.clone(), ..ListParams::default() }.limit(PAGE);
        loop {
            let page = api.list_metadata(&params).await?;
            for object in page.items {
                let at = place(&object);
                if world.index.is_wanted(source, &at, &world.rules) {
                    let part = index::of(source, &at.0, &at.1);
                    world.sources.apply(&part, &object.metadata, &world.rules.keys, By::List);
                }
            }
            match page.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break,
            }
        }
    }
    entry.survey();
    Ok(())
}
