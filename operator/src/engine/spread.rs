//! One ClusterExternalSecret: its ExternalSecrets are brought into step with the namespaces there are.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::Resource as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DynamicObject, ListParams, ObjectMeta, PartialObjectMeta};

use super::backoff::{chance, late};
use super::cluster::unreadable;
use super::mirrors::Mirrored as _;
use super::others;
use super::queue::Job;
use super::reconcile::owner_of;
use super::turns::Turn;
use super::work::{Again, Work as _};
use super::world::{World, log, named};
use crate::api::external_secrets::{ClusterExternalSecret, ClusterExternalSecretSpec, ExternalSecret};
use crate::api::{Kind as _, Object};
use crate::error::Trouble;
use crate::go::GoDuration;
use crate::intent::Owner;
use crate::plan::Note;
use crate::spread;
use crate::store::Part;

/// The finalizer of the original, which nothing needs: what belongs to an object goes with it.
const FINALIZER: &str = "externalsecrets.external-secrets.io/clusterexternalsecret-cleanup";

/// How often it is looked at though nothing changed, where nothing says so.
const USUAL: Duration = Duration::from_secs(3600);

/// Looks at one ClusterExternalSecret.
pub(super) async fn spread(world: &World, job: &Job<Part>, turn: &mut Turn) -> Again {
    let who = &job.key;
    // Who serves some namespaces has no say in the others.
    if !world.context.settings.namespaces.is_empty() {
        return None;
    }
    let Some(object) = ClusterExternalSecret::of(&world.mirrors).find("", &who.name) else {
        world.forget(who);
        return None;
    };
    let (api, resource) = world.api::<ClusterExternalSecret>("")?;
    let owner = owner_of(&object, &resource.api_version);
    let namespaces = match turn.lend(namespaces(world)).await? {
        Ok(it) => it,
        Err(trouble) => {
            log(who, &trouble);
            return Some(world.failed(who));
        }
    };
    let released = release(world, who, &namespaces).await;
    let is_going = object.metadata.deletion_timestamp.is_some();
    if let Err(refused) = released.and(world.writer.set_finalizer(&api, &object.metadata, FINALIZER, false).await) {
        tracing::warn!(kind = who.kind, name = who.name, %refused, "finalizers of the original could not be taken off");
        if is_going {
            return Some(world.failed(who));
        }
    }
    if is_going {
        return None;
    }
    let begun = tokio::time::Instant::now();
    let (name, wanted, failed, trouble) = match &object.spec {
        Err(malformed) => (object.name(), Vec::new(), BTreeMap::new(), Some(malformed.to_string())),
        Ok(spec) => {
            let name = spread::child_name(&object, spec);
            match turn.lend(bring(world, &object, &owner, spec, &namespaces)).await? {
                Ok((wanted, failed)) => (name, wanted, failed, None),
                Err(trouble) => (name, object.status.provisioned_namespaces.clone(), BTreeMap::new(), Some(trouble)),
            }
        }
    };
    let children =
        wanted.iter().map(|it| Part { kind: ExternalSecret::KIND, namespace: it.clone(), name: name.into() });
    world.interests.set(who, children.chain([others::any(Namespace::KIND)]).collect());
    let is_ok = failed.is_empty() && trouble.is_none();
    if let Some(change) = spread::status(&object.status, name, &wanted, &failed, trouble.as_deref()) {
        if !is_ok {
            let each = failed.iter().map(|(namespace, reason)| format!("{namespace}: {reason}"));
            let text = trouble.iter().cloned().chain(each).take(10).collect::<Vec<_>>().join("; ");
            let note = Note { warning: true, reason: "UpdateFailed", text };
            world.context.events.tell(world.context.family, &owner.reference(), &note);
        }
        match world.writer.report(&api, &who.name, change).await {
            Ok(reported) => drop(reported.map(|it| ClusterExternalSecret::of(&world.mirrors).learn(it))),
            Err(refused) => {
                tracing::warn!(kind = who.kind, name = who.name, %refused, "no status");
                return Some(world.failed(who));
            }
        }
    }
    world.context.metrics.synced(world.context.family, named(who), is_ok, begun.elapsed());
    world.context.metrics.condition(named(who), "Ready", is_ok);
    if !is_ok {
        return Some(world.failed(who));
    }
    world.tries.worked(who);
    let refresh = object.spec.as_ref().ok().and_then(|it| it.refresh_time.as_deref()?.parse::<GoDuration>().ok());
    Some(late(refresh.and_then(GoDuration::positive).unwrap_or(USUAL), chance()))
}

async fn namespaces(world: &World) -> Result<Vec<ObjectMeta>, Trouble> {
    let api = Api::<PartialObjectMeta<Namespace>>::all(world.context.client.clone());
    let list = api.list_metadata(&ListParams::default()).await.map_err(|it| unreadable("Namespace", "*", &it))?;
    Ok(list.items.into_iter().map(|it| it.metadata).collect())
}

/// Takes off namespaces what keeps them from going.
async fn release(world: &World, who: &Part, namespaces: &[ObjectMeta]) -> Result<(), crate::error::Refused> {
    let finalizer = spread::namespace_finalizer(&who.name);
    let api = Api::<Namespace>::all(world.context.client.clone());
    for namespace in namespaces {
        world.writer.set_finalizer(&api, namespace, &finalizer, false).await?;
    }
    Ok(())
}

/// Makes, changes and deletes ExternalSecrets. Returns which namespaces fit, and which of them have none and why.
async fn bring(
    world: &World,
    object: &Object<ClusterExternalSecret>,
    owner: &Owner,
    spec: &ClusterExternalSecretSpec,
    namespaces: &[ObjectMeta],
) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
    let name = spread::child_name(object, spec);
    let at = world.context.served.resource::<ExternalSecret>().ok_or("the cluster has no ExternalSecrets")?;
    let all = Api::<DynamicObject>::all_with(world.context.client.clone(), at);
    let mut there = Vec::new();
    for name in [name, &object.status.external_secret_name].into_iter().filter(|it| !it.is_empty()) {
        if there.iter().any(|it: &DynamicObject| it.metadata.name.as_deref() == Some(name)) {
            continue;
        }
        let list = all.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await;
        there.extend(list.map_err(|it| unreadable(ExternalSecret::KIND, name, &it).to_string())?.items);
    }
    let plan = spread::plan(owner, (name, spec), at, namespaces, there)?;
    let mut failed = plan.failed;
    let api = |namespace: &str| Api::<DynamicObject>::namespaced_with(world.context.client.clone(), namespace, at);
    for child in plan.writes {
        let namespace = child.metadata.namespace.clone().unwrap_or_default();
        if let Err(refused) = world.writer.put(&api(&namespace), &child).await {
            failed.insert(namespace, refused.said);
        }
    }
    for (namespace, name, uid) in plan.deletes {
        world.writer.delete(&api(&namespace), &name, uid, None).await.map_err(|it| it.said)?;
    }
    Ok((plan.wanted, failed))
}
