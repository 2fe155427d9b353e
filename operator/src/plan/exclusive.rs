//! Targets as Vault Secrets keeps them: made and owned by one object, or the data alone (Vault Secrets,
//! spec sections A.4.2 and A.7.3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Action, Cause, Composed, Desired, Note, Observed, Plan, Verdict, data_of};
use crate::digest::{Data, Labels};
use crate::error::{Retry, Trouble};
use crate::intent::{Intent, Owner, Ownership, Target};

/// Who writes, as the original is named in `managedFields`: what it set counts as set by us.
pub const FIELD_MANAGER: &str = "vault-secrets-operator";

/// Stands on every Secret that is owned.
pub const OWNED: [(&str, &str); 3] = [
    ("app.kubernetes.io/component", "secret-sync"),
    ("app.kubernetes.io/managed-by", "hashicorp-vso"),
    ("app.kubernetes.io/name", "vault-secrets-operator"),
];

/// Holds the UID of the owner of a Secret.
pub const OWNER_UID: &str = "secrets.hashicorp.com/vso-ownerRefUID";

const OPAQUE: &str = "Opaque";
const SYNC_ERROR: &str = "SecretSyncError";
const SYNCED: &str = "SecretSynced";

/// How long a target that somebody else makes is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// True if a Secret was made for `owner`, and not as the target that it has now: it is deleted with the
/// next sync.
pub fn is_former(secret: &ObjectMeta, owner: &Owner, target: &Target) -> bool {
    let labels = secret.labels.as_ref();
    target.ownership != Ownership::DataOnly
        && secret.namespace.as_deref() == Some(&owner.namespace)
        && secret.name.as_deref() != Some(&target.name)
        && is_marked(secret)
        && labels.and_then(|it| it.get(OWNER_UID)) == Some(&owner.uid)
        && is_owned(secret, owner)
}

/// Why nothing can be done as long as the target is not there; stores need not be asked then.
pub fn awaits_target(target: &Target, observed: Option<&Secret>) -> Option<Trouble> {
    let is_awaited = target.ownership == Ownership::DataOnly && observed.is_none();
    is_awaited.then(|| {
        let detail = format!("there is no Secret {:?}, and destination.create is false", target.name);
        Trouble::new(SYNC_ERROR, "destination does not exist", detail).retried(Retry::After(WAIT))
    })
}

pub(super) fn plan(intent: &Intent, observed: &Observed, composed: Composed, overwrite: bool) -> Result<Plan, Trouble> {
    let Composed::Data(desired) = composed else { return Ok(retained()) };
    let restart = cause(intent, observed, &desired);
    let action = match &observed.target {
        None => Action::Create(Box::new(fresh(intent, &desired))),
        Some(held) => {
            may_write(held, &intent.owner, overwrite)?;
            rewrite(intent, held, &desired)?
        }
    };
    Ok(Plan { prune: observed.former.clone(), ..synced(action, restart) })
}

pub(super) fn plan_data(intent: &Intent, observed: &Observed, composed: Composed) -> Result<Plan, Trouble> {
    let Composed::Data(desired) = composed else { return Ok(retained()) };
    if let Some(trouble) = awaits_target(&intent.target, observed.target.as_ref()) {
        return Err(trouble);
    }
    let held = observed.target.as_ref().expect("a target that is awaited is trouble");
    let restart = cause(intent, observed, &desired);
    if data_of(held) == desired.data {
        return Ok(synced(Action::Keep, restart));
    }
    may_change(held)?;
    let mut secret = held.clone();
    secret.data = stored(&desired.data);
    secret.metadata.managed_fields = None;
    Ok(synced(Action::Replace(Box::new(secret)), restart))
}

/// Why workloads restart (spec section A.4.2): not at the first sync, not when the object alone
/// changed, but for every change of the data that they have not seen.
fn cause(intent: &Intent, observed: &Observed, desired: &Desired) -> Option<Cause> {
    let (recorded, mac) = (observed.mac.as_ref()?, desired.mac.as_ref()?);
    let is_held = observed.target.as_ref().is_some_and(|it| data_of(it) == desired.data);
    let cause = match (recorded == mac, is_held) {
        (true, true) => None,
        (true, false) => Some(Cause::Repaired),
        // Also where the target holds it already: the write was ours, and what should have followed it
        // did not come about.
        (false, _) => Some(Cause::Changed),
    };
    cause.filter(|_| !intent.restarts.is_empty())
}

fn retained() -> Plan {
    Plan { action: Action::Keep, prune: Vec::new(), verdict: Verdict::Retained, notes: Vec::new(), restart: None }
}

fn synced(action: Action, restart: Option<Cause>) -> Plan {
    let note = Note { warning: false, reason: SYNCED, text: "Secret synced".into() };
    let notes = if matches!(action, Action::Keep) { Vec::new() } else { vec![note] };
    Plan { action, prune: Vec::new(), verdict: Verdict::Synced, notes, restart }
}

/// Never taken from another object of this family, and from strangers only when asked.
fn may_write(held: &Secret, owner: &Owner, overwrite: bool) -> Result<(), Trouble> {
    let held = &held.metadata;
    if is_marked(held) && is_owned(held, owner) || overwrite && !is_marked(held) {
        return Ok(());
    }
    let name = held.name.as_deref().unwrap_or_default();
    let detail = match (is_marked(held), held.owner_references.iter().flatten().next()) {
        (true, Some(other)) => format!("the Secret {name:?} belongs to the {} {:?}", other.kind, other.name),
        (true, None) => format!("the Secret {name:?} belongs to another object"),
        (false, _) => {
            format!("the Secret {name:?} was made by somebody else: destination.overwrite takes it over")
        }
    };
    Err(Trouble::new(SYNC_ERROR, "not the owner of the destination Secret", detail))
}

fn may_change(held: &Secret) -> Result<(), Trouble> {
    if held.immutable != Some(true) {
        return Ok(());
    }
    let name = held.metadata.name.as_deref().unwrap_or_default();
    let detail = format!("the Secret {name:?} is immutable and holds something else: delete it");
    Err(Trouble::new(SYNC_ERROR, "cannot change the destination Secret", detail))
}

fn is_marked(secret: &ObjectMeta) -> bool {
    let labels = secret.labels.as_ref();
    OWNED.iter().all(|(name, value)| labels.and_then(|it| it.get(*name)).is_some_and(|it| it == value))
}

fn is_owned(secret: &ObjectMeta, owner: &Owner) -> bool {
    secret.owner_references.as_deref() == Some(&[reference(owner)])
}

fn reference(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.into(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: None,
        block_owner_deletion: None,
    }
}

fn fresh(intent: &Intent, desired: &Desired) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(intent.target.name.clone()),
            namespace: Some(intent.target.namespace.clone()),
            labels: Some(labels(intent, desired)),
            annotations: filled(desired.annotations.clone()),
            owner_references: Some(vec![reference(&intent.owner)]),
            ..ObjectMeta::default()
        },
        data: stored(&desired.data),
        type_: Some(kind(desired).into()),
        ..Secret::default()
    }
}

/// What makes `held` as it should be. What others put on it stays, what was put on it for this object
/// and is not asked for any more goes.
fn rewrite(intent: &Intent, held: &Secret, desired: &Desired) -> Result<Action, Trouble> {
    let own = |field: &str, there: Option<&Labels>, wanted: Labels| {
        let set_by_us = set_by_us(&held.metadata, field);
        let mut all = there.cloned().unwrap_or_default();
        all.retain(|name, _| !set_by_us.contains(name));
        all.extend(wanted);
        filled(all)
    };
    let there = &held.metadata;
    let mut metadata = there.clone();
    metadata.labels = own("f:labels", there.labels.as_ref(), labels(intent, desired));
    metadata.annotations = own("f:annotations", there.annotations.as_ref(), desired.annotations.clone());
    metadata.owner_references = Some(vec![reference(&intent.owner)]);
    let holds = data_of(held) == desired.data;
    if held.type_.as_deref().unwrap_or(OPAQUE) != kind(desired) {
        let mut secret = fresh(intent, desired);
        secret.metadata.labels = metadata.labels;
        secret.metadata.annotations = metadata.annotations;
        return Ok(Action::Recreate { uid: there.uid.clone().unwrap_or_default(), secret: Box::new(secret) });
    }
    let is_same = |one: &Option<Labels>, other: &Option<Labels>| {
        one.as_ref().filter(|it| !it.is_empty()) == other.as_ref().filter(|it| !it.is_empty())
    };
    let is_dressed = is_same(&metadata.labels, &there.labels)
        && is_same(&metadata.annotations, &there.annotations)
        && metadata.owner_references == there.owner_references;
    if holds && is_dressed {
        return Ok(Action::Keep);
    }
    if !holds {
        may_change(held)?;
    }
    metadata.managed_fields = None;
    Ok(Action::Replace(Box::new(Secret { metadata, data: stored(&desired.data), ..held.clone() })))
}

/// The labels or annotations that nobody but we, or the original before us, has set.
fn set_by_us(held: &ObjectMeta, field: &str) -> BTreeSet<String> {
    let of = |ours: bool| {
        let entries = held.managed_fields.iter().flatten();
        let entries = entries.filter(move |it| (it.manager.as_deref() == Some(FIELD_MANAGER)) == ours);
        let fields = entries.filter_map(|it| it.fields_v1.as_ref()?.0.get("f:metadata")?.get(field)?.as_object());
        let names = fields.flat_map(serde_json::Map::keys).filter_map(|it| it.strip_prefix("f:"));
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    &of(true) - &of(false)
}

fn labels(intent: &Intent, desired: &Desired) -> Labels {
    let marks = OWNED.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let owner = (OWNER_UID.to_owned(), intent.owner.uid.clone());
    desired.labels.clone().into_iter().chain(marks).chain([owner]).collect()
}

fn kind(desired: &Desired) -> &str {
    desired.kind.as_deref().filter(|it| !it.is_empty()).unwrap_or(OPAQUE)
}

fn stored(data: &Data) -> Option<BTreeMap<String, ByteString>> {
    let stored = data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec())));
    Some(stored.collect())
}

fn filled(labels: Labels) -> Option<Labels> {
    Some(labels).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests;
