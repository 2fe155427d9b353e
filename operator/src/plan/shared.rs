//! Targets as External Secrets keeps them: marked by labels, annotations and field managers (External
//! Secrets, spec sections 2.4 and 2.7 to 2.9).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Action, Composed, Desired, Note, Observed, Plan, Verdict, data_of};
use crate::api::external_secrets::{COULD_NOT_UPDATE, UPDATE_FAILED};
use crate::digest::{self, Data, Labels};
use crate::error::{Retry, Trouble};
use crate::intent::{Intent, Owner, Ownership, Target, WhenMissing};

/// Stands on every Secret that is kept.
pub(crate) const MANAGED: &str = "reconcile.external-secrets.io/managed";
/// Stands on every Secret that is owned: a digest of its owner's name.
pub(crate) const CREATED_BY: &str = "reconcile.external-secrets.io/created-by";
/// A digest of all that a kept Secret holds.
pub(crate) const DATA_HASH: &str = "reconcile.external-secrets.io/data-hash";

/// The most that Kubernetes stores in one Secret, in bytes of its values.
const MAX_SIZE: usize = 1 << 20;
/// The longest key that Kubernetes stores.
const MAX_KEY: usize = 253;

const COULD_NOT_DELETE: &str = "could not delete secret";
const DELETED: &str = "secret deleted due to DeletionPolicy=Delete";

pub(super) fn plan(intent: &Intent, observed: &Observed, composed: Composed) -> Result<Plan, Trouble> {
    match (composed, intent.target.when_missing) {
        (Composed::Data(desired), _) => keep(intent, observed, desired),
        (Composed::Nothing, WhenMissing::Merge) => keep(intent, observed, Desired::default()),
        (Composed::Nothing, WhenMissing::Retain) => Ok(simply(Action::Keep, Verdict::Retained)),
        (Composed::Nothing, WhenMissing::Delete) => remove(intent, observed),
    }
}

/// True if the target is as a sync leaves it: nothing was changed since, neither its data nor the
/// marks on it (spec section 2.4). Nobody looks after a target that belongs to nobody, or where
/// nothing may be done.
pub fn is_in_step(target: &Target, observed: Option<&Secret>) -> bool {
    let Some(secret) = observed else { return matches!(target.ownership, Ownership::Orphan | Ownership::Nothing) };
    match target.ownership {
        Ownership::Orphan => true,
        Ownership::Nothing => is_managed(secret),
        _ => {
            let recorded = secret.metadata.annotations.as_ref().and_then(|it| it.get(DATA_HASH));
            is_managed(secret) && recorded == Some(&digest::data_hash(&data_of(secret)))
        }
    }
}

/// What is done to the target when its owner goes: it goes too if the owner asks for that with
/// `deletionPolicy: Delete` and it is that very owner's (spec section 2.2, step 2).
pub fn farewell(intent: &Intent, observed: &Observed) -> Action {
    let asked = intent.target.when_missing == WhenMissing::Delete;
    let own = observed.target.as_ref().filter(|it| {
        controller(it).is_some_and(|by| is_own(by, &intent.owner) && by.uid == intent.owner.uid && !by.uid.is_empty())
    });
    match own {
        Some(secret) if asked => deletion(secret),
        _ => Action::Keep,
    }
}

fn simply(action: Action, verdict: Verdict) -> Plan {
    Plan { action, prune: Vec::new(), verdict, notes: Vec::new(), restart: None }
}

/// The stores have nothing, and the policy is to delete.
fn remove(intent: &Intent, observed: &Observed) -> Result<Plan, Trouble> {
    let (owner, target) = (&intent.owner, &intent.target);
    let refused = |detail: String| Err(terminal(COULD_NOT_DELETE, detail));
    if target.ownership != Ownership::Owner {
        return refused("deletionPolicy Delete needs creationPolicy Owner".to_owned());
    }
    let Some(secret) = &observed.target else { return Ok(simply(Action::Keep, Verdict::Deleted)) };
    check_control(secret, owner, target)?;
    if controller(secret).is_none() && Own::of(secret, owner).data.is_empty() {
        return refused(format!(
            "the Secret {:?} was not made by this ExternalSecret: delete it, or choose another target.name",
            target.name
        ));
    }
    let notes = vec![note(false, "Deleted", DELETED.to_owned())];
    Ok(Plan { notes, ..simply(deletion(secret), Verdict::Deleted) })
}

fn deletion(secret: &Secret) -> Action {
    Action::Delete {
        uid: secret.metadata.uid.clone().unwrap_or_default(),
        resource_version: secret.metadata.resource_version.clone().unwrap_or_default(),
    }
}

fn keep(intent: &Intent, observed: &Observed, desired: Desired) -> Result<Plan, Trouble> {
    let (owner, target) = (&intent.owner, &intent.target);
    let plan = match (&observed.target, target.ownership) {
        (None, Ownership::Merge) => simply(Action::Keep, Verdict::TargetMissing),
        (None, Ownership::Nothing) => simply(Action::Keep, Verdict::Synced),
        (None, _) => create(owner, target, desired)?,
        (Some(secret), Ownership::Nothing) => mark(secret),
        (Some(secret), _) => update(owner, target, secret, desired)?,
    };
    Ok(with_orphans(plan, intent, observed))
}

/// Adds the deletion of what the owner kept under other names. Only owned Secrets are known to be
/// nobody else's.
fn with_orphans(mut plan: Plan, intent: &Intent, observed: &Observed) -> Plan {
    if intent.target.ownership == Ownership::Owner {
        plan.prune = observed.former.iter().filter(|(name, _)| *name != intent.target.name).cloned().collect();
        for _ in &plan.prune {
            plan.notes.push(note(false, "Deleted", "secret deleted because it was orphaned".to_owned()));
        }
    }
    plan
}

fn create(owner: &Owner, target: &Target, desired: Desired) -> Result<Plan, Trouble> {
    let mut secret = Secret {
        metadata: ObjectMeta {
            name: Some(target.name.clone()),
            namespace: Some(target.namespace.clone()),
            labels: Some(desired.labels),
            annotations: Some(desired.annotations),
            finalizers: (!desired.finalizers.is_empty()).then_some(desired.finalizers),
            ..ObjectMeta::default()
        },
        type_: desired.kind,
        immutable: target.immutable.then_some(true),
        ..Secret::default()
    };
    own(&mut secret, owner, target);
    finish(&mut secret, desired.data)?;
    let notes = vec![note(false, "Created", "secret created".to_owned())];
    Ok(Plan { notes, ..simply(Action::Create(Box::new(secret)), Verdict::Synced) })
}

/// With `creationPolicy: None` the Secret gets a mark, so that its changes are seen, and nothing else.
fn mark(secret: &Secret) -> Plan {
    if is_managed(secret) {
        return simply(Action::Keep, Verdict::Synced);
    }
    let mut marked = without_history(secret);
    marked.metadata.labels.get_or_insert_default().insert(MANAGED.to_owned(), "true".to_owned());
    simply(Action::Replace(Box::new(marked)), Verdict::Synced)
}

fn update(owner: &Owner, target: &Target, there: &Secret, desired: Desired) -> Result<Plan, Trouble> {
    check_control(there, owner, target)?;
    let mine = Own::of(there, owner);
    let before = data_of(there);
    let was_frozen = there.immutable == Some(true);
    let mut secret = without_history(there);
    let mut verdict = Verdict::Synced;
    let mut notes = Vec::new();

    let mut data = before.clone();
    if target.immutable {
        secret.immutable = Some(true);
        let differs = mine.merged(target.ownership, &before, &desired.data) != before;
        if differs && !was_frozen {
            notes.push(note(
                true,
                UPDATE_FAILED,
                format!("secret {:?} becomes immutable with what it holds", target.name),
            ));
        }
    } else {
        check_kind(there, target, desired.kind.as_deref())?;
        mine.relabel(&mut secret, &desired);
        let wanted = mine.merged(target.ownership, &before, &desired.data);
        if !was_frozen {
            notes.extend(mine.takeover_note(there, owner, target, &before, &wanted));
            data = wanted;
        } else if wanted != before {
            verdict = Verdict::Immutable;
            notes.push(note(
                true,
                UPDATE_FAILED,
                format!(
                    "could not update secret, target is immutable: delete the Secret {:?} or choose another \
                     target.name",
                    target.name
                ),
            ));
        }
    }
    own(&mut secret, owner, target);
    finish(&mut secret, data)?;

    if is_same(there, &secret, owner) {
        return Ok(Plan { notes, ..simply(Action::Keep, verdict) });
    }
    notes.push(note(false, "Updated", "secret updated".to_owned()));
    Ok(Plan { notes, ..simply(Action::Replace(Box::new(secret)), verdict) })
}

/// Whose the Secret is has a say in what may be done (spec section 2.7).
fn check_control(secret: &Secret, owner: &Owner, target: &Target) -> Result<(), Trouble> {
    match controller(secret) {
        Some(by) if is_own(by, owner) => Ok(()),
        Some(by) if is_sibling(by, owner) => Err(terminal(
            "target is owned by another ExternalSecret",
            format!("the Secret {:?} is owned by the ExternalSecret {:?}", target.name, by.name),
        )),
        Some(by) if target.ownership == Ownership::Owner => Err(terminal(
            "failed to take ownership of target secret",
            format!("the Secret {:?} is owned by the {} {:?}", target.name, by.kind, by.name),
        )),
        _ => Ok(()),
    }
}

fn check_kind(there: &Secret, target: &Target, wanted: Option<&str>) -> Result<(), Trouble> {
    let is = there.type_.as_deref().unwrap_or("Opaque");
    match wanted {
        Some(wanted) if wanted != is => Err(terminal(
            COULD_NOT_UPDATE,
            format!(
                "the Secret {:?} has the type {is:?} and template.type asks for {wanted:?}; the type of a Secret is \
                 immutable: delete the Secret or choose another target.name",
                target.name
            ),
        )),
        _ => Ok(()),
    }
}

/// Puts the data in, checks what Kubernetes would refuse, and adds the marks; that of the data last.
fn finish(secret: &mut Secret, data: Data) -> Result<(), Trouble> {
    let refused = |detail: String| Err(Trouble::new(UPDATE_FAILED, COULD_NOT_UPDATE, detail));
    if let Some(key) = data.keys().find(|it| !is_key(it)) {
        return refused(format!(
            "the key {key:?} is refused by Kubernetes: a key is made of letters a to z, digits, - . _"
        ));
    }
    let size: usize = data.values().map(|it| it.expose().len()).sum();
    if size > MAX_SIZE {
        return refused(format!(
            "the values take {size} bytes, and Kubernetes stores at most {MAX_SIZE} in one Secret"
        ));
    }
    let mark = digest::data_hash(&data);
    let bytes: BTreeMap<_, _> =
        data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect();
    secret.data = Some(bytes);
    secret.metadata.labels.get_or_insert_default().insert(MANAGED.to_owned(), "true".to_owned());
    secret.metadata.annotations.get_or_insert_default().insert(DATA_HASH.to_owned(), mark);
    Ok(())
}

/// True for what the API server takes as a key of a Secret.
fn is_key(key: &str) -> bool {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_');
    !key.is_empty() && key.len() <= MAX_KEY && key.chars().all(fits) && key != "." && !key.starts_with("..")
}

/// Makes the Secret the owner's, or nobody's.
fn own(secret: &mut Secret, owner: &Owner, target: &Target) {
    let owns = target.ownership == Ownership::Owner;
    let labels = secret.metadata.labels.get_or_insert_default();
    match owns {
        true => drop(labels.insert(CREATED_BY.to_owned(), digest::owner_label(&owner.namespace, &owner.name))),
        false => drop(labels.remove(CREATED_BY)),
    }
    let references = secret.metadata.owner_references.get_or_insert_default();
    let at = references.iter().position(|it| is_own(it, owner));
    references.retain(|it| !is_own(it, owner));
    if owns {
        references.insert(at.unwrap_or(references.len()), owner.controller());
    }
}

fn controller(secret: &Secret) -> Option<&OwnerReference> {
    secret.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true))
}

/// True if the reference names an object of the owner's kind, in whichever version.
fn is_sibling(reference: &OwnerReference, owner: &Owner) -> bool {
    let group = |it: &str| it.split_once('/').map(|(group, _)| group.to_owned());
    group(&reference.api_version) == group(&owner.api_version) && reference.kind == owner.kind
}

/// True if the reference names the owner. An owner that was deleted and made anew is the same.
fn is_own(reference: &OwnerReference, owner: &Owner) -> bool {
    is_sibling(reference, owner) && reference.name == owner.name
}

fn is_managed(secret: &Secret) -> bool {
    secret.metadata.labels.as_ref().and_then(|it| it.get(MANAGED)).is_some_and(|it| it == "true")
}

/// The Secret as it is sent back: the API server keeps the history of fields itself.
fn without_history(secret: &Secret) -> Secret {
    let mut secret = secret.clone();
    secret.metadata.managed_fields = None;
    secret
}

/// True if nothing would change. In which version the owner is named makes no difference: what an
/// earlier release wrote is right.
fn is_same(there: &Secret, result: &Secret, owner: &Owner) -> bool {
    let neutral = |secret: &Secret| {
        let mut secret = without_history(secret);
        for reference in secret.metadata.owner_references.iter_mut().flatten().filter(|it| is_own(it, owner)) {
            reference.api_version.clear();
        }
        let metadata = &mut secret.metadata;
        metadata.labels.get_or_insert_default();
        metadata.annotations.get_or_insert_default();
        metadata.owner_references.get_or_insert_default();
        metadata.finalizers.get_or_insert_default();
        secret.data.get_or_insert_default();
        secret
    };
    neutral(there) == neutral(result)
}

fn terminal(message: &str, detail: String) -> Trouble {
    Trouble::new(UPDATE_FAILED, message, detail).retried(Retry::OnChange)
}

fn note(warning: bool, reason: &'static str, text: String) -> Note {
    Note { warning, reason, text }
}

/// What of a Secret the owner wrote, as the field managers tell.
#[derive(Debug, Default, Eq, PartialEq)]
struct Own {
    data: BTreeSet<String>,
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Own {
    fn of(secret: &Secret, owner: &Owner) -> Self {
        // The long form is what the original looked metadata up with, so that it was left behind.
        let names = [digest::field_manager(&owner.name), digest::long_field_manager(&owner.name)];
        let mut own = Self::default();
        for entry in secret.metadata.managed_fields.iter().flatten() {
            let is_mine = entry.manager.as_ref().is_some_and(|it| names.contains(it));
            if !is_mine || entry.subresource.as_ref().is_some_and(|it| !it.is_empty()) {
                continue;
            }
            let Some(fields) = entry.fields_v1.as_ref().map(|it| &it.0) else { continue };
            let keys = |at: &str| {
                let members = fields.pointer(at).and_then(serde_json::Value::as_object).into_iter().flatten();
                members.filter_map(|(name, _)| name.strip_prefix("f:").map(str::to_owned)).collect::<Vec<_>>()
            };
            own.data.extend(keys("/f:data"));
            own.labels.extend(keys("/f:metadata/f:labels"));
            own.annotations.extend(keys("/f:metadata/f:annotations"));
        }
        own
    }

    /// What the Secret should hold.
    fn merged(&self, ownership: Ownership, there: &Data, desired: &Data) -> Data {
        let mut data = match ownership {
            Ownership::Merge | Ownership::CreateOrMerge => there.clone(),
            _ => Data::new(),
        };
        data.retain(|key, _| !self.data.contains(key));
        data.extend(desired.iter().map(|(key, value)| (key.clone(), value.clone())));
        data
    }

    /// Own labels, annotations and finalizers become what is desired; those of others stay.
    fn relabel(&self, secret: &mut Secret, desired: &Desired) {
        let renew = |there: &mut Option<Labels>, own: &BTreeSet<String>, desired: &Labels| {
            let labels = there.get_or_insert_default();
            labels.retain(|key, _| !own.contains(key));
            labels.extend(desired.iter().map(|(key, value)| (key.clone(), value.clone())));
        };
        let metadata = &mut secret.metadata;
        renew(&mut metadata.labels, &self.labels, &desired.labels);
        renew(&mut metadata.annotations, &self.annotations, &desired.annotations);
        if metadata.deletion_timestamp.is_none() {
            let finalizers = metadata.finalizers.get_or_insert_default();
            for finalizer in &desired.finalizers {
                if !finalizers.contains(finalizer) {
                    finalizers.push(finalizer.clone());
                }
            }
        }
    }

    /// Tells which keys are lost when a Secret is taken over that somebody else made.
    fn takeover_note(
        &self,
        there: &Secret,
        owner: &Owner,
        target: &Target,
        before: &Data,
        after: &Data,
    ) -> Option<Note> {
        let is_kept = !self.data.is_empty() || controller(there).is_some_and(|it| is_own(it, owner));
        let lost: Vec<&str> = before.keys().filter(|it| !after.contains_key(*it)).map(String::as_str).collect();
        (!is_kept && !lost.is_empty()).then(|| {
            let text = format!("secret {:?} is taken over; keys that are dropped: {}", target.name, lost.join(", "));
            note(true, "KeysDropped", text)
        })
    }
}

#[cfg(test)]
mod tests;
