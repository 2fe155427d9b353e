//! Objects that keep no Secret: whether they can be used is found out and reported.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Api;
use kube::api::ObjectMeta;
use leafseal::provider::{ProviderError, Validity, sops};
use serde_json::Value;

use super::backoff::{chance, late};
use super::mirrors::Mirrored;
use super::queue::Job;
use super::reconcile::owner_of;
use super::turns::Turn;
use super::work::{Again, Work as _};
use super::world::{World, named, part};
use crate::api::external_secrets::{ClusterSecretStore, SecretStore, SecretStoreSpec, SecretStoreStatus};
use crate::api::vault_secrets::{SecretTransformation, VaultAuth, VaultAuthGlobal, VaultConnection};
use crate::api::{Malformed, Object, Unread};
use crate::check::{self, Report};
use crate::error::Trouble;
use crate::intent::{Family, Owner, StoreRef};
use crate::plan::Note;
use crate::store::external_secrets::{self, Checked, Readiness};
use crate::store::{Attempt, Part};

/// How long a server may take to answer a check.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind that is checked.
pub(super) trait Checks: Mirrored {
    /// The finalizer of the original, which nothing needs: it is taken off.
    const FINALIZER: Option<&'static str>;

    /// Checks one object; `None` if others serve it.
    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>>;
}

/// What a check found.
pub(super) struct Finding {
    /// The change of the status.
    change: Option<Value>,
    /// What is told about it.
    notes: Vec<Note>,
    /// True if the object can be used.
    is_valid: bool,
    /// What was looked at: a change of it is worth another check.
    looked_at: Vec<Part>,
    /// How long it stays true; `None`: until something changes.
    holds: Option<Duration>,
}

/// Checks one object.
pub(super) async fn check<K: Checks>(world: &World, job: &Job<Part>, turn: &mut Turn) -> Again {
    let who = &job.key;
    let Some(object) = K::of(&world.mirrors).find(&who.namespace, &who.name) else {
        world.forget(who);
        return None;
    };
    let (api, resource) = world.api::<K>(&who.namespace)?;
    let subject = Subject {
        who,
        owner: owner_of(&object, &resource.api_version),
        metadata: &object.metadata,
        finalizer: K::FINALIZER,
        finding: K::check(world, &object),
        learn: &|it| drop(K::of(&world.mirrors).learn(it)),
    };
    report(world, &api, subject, turn).await
}

/// An object of any kind that is checked.
struct Subject<'a> {
    who: &'a Part,
    owner: Owner,
    metadata: &'a ObjectMeta,
    finalizer: Option<&'static str>,
    /// The check, which nobody waited for yet.
    finding: BoxFuture<'a, Option<Finding>>,
    /// Told of the object as it is after the report.
    learn: &'a (dyn Fn(Unread) + Sync),
}

async fn report(world: &World, api: &Api<Unread>, subject: Subject<'_>, turn: &mut Turn) -> Again {
    let Subject { who, owner, metadata, finalizer, finding, learn } = subject;
    if let Some(finalizer) = finalizer
        && let Err(refused) = world.writer.set_finalizer(api, metadata, finalizer, false).await
    {
        tracing::debug!(kind = who.kind, name = who.name, %refused, "a finalizer could not be taken off");
    }
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let began = tokio::time::Instant::now();
    let Finding { change, notes, is_valid, looked_at, holds } = turn.lend(finding).await??;
    world.interests.set(who, looked_at);
    for note in &notes {
        world.context.events.tell(world.context.family, &owner.reference(), note);
    }
    if let Some(change) = change {
        match world.writer.report(api, &who.name, change).await {
            Ok(reported) => {
                reported.map(learn);
                // The watch tells nothing that is known by then.
                world.wake_by_status(who);
            }
            Err(refused) => {
                tracing::warn!(kind = who.kind, namespace = who.namespace, name = who.name, %refused, "no status");
                return Some(world.failed(who));
            }
        }
    }
    world.context.metrics.synced(world.context.family, named(who), is_valid, began.elapsed());
    world.context.metrics.condition(named(who), "Ready", is_valid);
    if !is_valid {
        return Some(world.failed(who));
    }
    world.tries.worked(who);
    holds.map(|it| late(it, chance()))
}

impl Checks for SecretStore {
    const FINALIZER: Option<&'static str> = None;

    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        check_store(world, part(object), &object.spec, &object.status).boxed()
    }
}

impl Checks for ClusterSecretStore {
    const FINALIZER: Option<&'static str> = None;

    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        check_store(world, part(object), &object.spec, &object.status).boxed()
    }
}

async fn check_store(
    world: &World,
    who: Part,
    spec: &Result<SecretStoreSpec, Malformed>,
    status: &SecretStoreStatus,
) -> Option<Finding> {
    let settings = &world.context.settings;
    if external_secrets::readiness(spec, status, &settings.controller_class) == Readiness::Foreign {
        return None;
    }
    let mut looked_at = vec![who.clone()];
    let checked = match spec {
        Err(malformed) => Checked::NotOpened(Trouble::new("InvalidProviderConfig", "", malformed.to_string())),
        Ok(spec) if who.namespace.is_empty() && external_secrets::is_referent(spec) => {
            Checked::Answered(Validity::Ready)
        }
        Ok(_) => {
            let at = StoreRef {
                family: Family::ExternalSecrets,
                kind: who.kind,
                reader: who.namespace.clone(),
                namespace: who.namespace.clone(),
                name: who.name.clone(),
                place: None,
            };
            let Attempt { made_from, opened } = world.open(&at).await;
            // What this one holds lies in the cluster itself: its changes are told.
            if opened.as_ref().is_ok_and(|it| it.provider.name() == sops::KIND.name) {
                let documents = made_from.iter().filter(|it| **it != who).cloned();
                world.contents.set(&who, documents.collect());
            }
            looked_at.extend(made_from);
            match opened {
                Err(trouble) => Checked::NotOpened(trouble),
                Ok(store) => match tokio::time::timeout(PATIENCE, store.provider.check()).await {
                    Ok(Ok(validity)) => Checked::Answered(validity),
                    Ok(Err(error)) => Checked::Failed(error),
                    Err(_) => Checked::Failed(ProviderError::unavailable("the store does not answer in time")),
                },
            }
        }
    };
    let usual = settings.store_check_interval;
    let holds = match spec.as_ref().map(|it| external_secrets::check_interval(it, usual)) {
        Ok(Ok(interval)) => interval,
        _ => usual,
    };
    let is_valid = matches!(checked, Checked::Answered(_));
    let (change, notes) = external_secrets::status(spec.as_ref().ok(), status, &checked, Timestamp::now());
    Some(Finding { change, notes, is_valid, looked_at, holds: (!holds.is_zero()).then_some(holds) })
}

impl Checks for VaultConnection {
    const FINALIZER: Option<&'static str> = Some("vaultconnection.secrets.hashicorp.com/finalizer");

    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        async move {
            let mut looked_at = Vec::new();
            let reached = check::reach(&world.cluster, object, &mut looked_at).await;
            Some(found(world, check::vault_connection(object, reached, Timestamp::now()), looked_at))
        }
        .boxed()
    }
}

impl Checks for VaultAuth {
    const FINALIZER: Option<&'static str> = Some("vaultauth.secrets.hashicorp.com/finalizer");

    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        async move {
            let mut looked_at = Vec::new();
            let defaults = world.vault_defaults();
            let report = check::vault_auth(&world.cluster, object, &defaults, &mut looked_at, Timestamp::now());
            Some(Finding { holds: None, ..found(world, report, looked_at) })
        }
        .boxed()
    }
}

impl Checks for VaultAuthGlobal {
    const FINALIZER: Option<&'static str> = None;

    /// It is looked at with the VaultAuths that follow it.
    fn check<'a>(_world: &'a World, _object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        std::future::ready(None).boxed()
    }
}

impl Checks for SecretTransformation {
    const FINALIZER: Option<&'static str> = None;

    fn check<'a>(world: &'a World, object: &'a Object<Self>) -> BoxFuture<'a, Option<Finding>> {
        let report = check::secret_transformation(object, Timestamp::now());
        std::future::ready(Some(Finding { holds: None, ..found(world, report, Vec::new()) })).boxed()
    }
}

fn found(world: &World, report: Report, looked_at: Vec<Part>) -> Finding {
    let Report { change, note, is_valid } = report;
    let holds = world.context.settings.store_check_interval;
    Finding { change, notes: note.into_iter().collect(), is_valid, looked_at, holds: Some(holds) }
}
