//! ExternalSecret (External Secrets, spec section 2).

mod decode;
mod gather;
mod intent;
mod keys;
mod refresh;
mod rewrite;
mod shape;
mod status;
mod validate;
mod windows;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use leafseal::provider::ProviderError;
use leafseal::template::Surroundings;
use serde_json::Value;

use super::{Adapter, Around, AroundRef, Found, Outcome, Terms};
use crate::api::Object;
use crate::api::external_secrets::{
    COULD_NOT_READ, COULD_NOT_UPDATE, CreationPolicy, DeletionPolicy, ExternalSecret, ExternalSecretSpec, UPDATE_FAILED,
};
use crate::digest;
use crate::error::{Refused, Retry, Trouble};
use crate::intent::{Intent, Owner, StoreRef, WhenMissing};
use crate::plan::{self, Composed, Note};

impl Adapter for ExternalSecret {
    type Kind = Self;

    const FINALIZER: &'static str = "externalsecrets.external-secrets.io/externalsecret-cleanup";

    fn needs_finalizer(object: &Object<Self>) -> bool {
        object.spec.as_ref().is_ok_and(|it| {
            it.target.deletion_policy == DeletionPolicy::Delete && it.target.creation_policy == CreationPolicy::Owner
        })
    }

    fn intent(object: &Object<Self>, owner: Owner, _settings: &Terms) -> Result<Intent, Trouble> {
        intent::intent(object, owner)
    }

    fn stores(object: &Object<Self>) -> Vec<StoreRef> {
        object.spec.as_ref().map(|it| intent::stores(it, object.namespace())).unwrap_or_default()
    }

    fn around(object: &Object<Self>) -> Vec<AroundRef> {
        object.spec.as_ref().map(|it| shape::sources(it, object.namespace())).unwrap_or_default()
    }

    fn is_due(object: &Object<Self>, intent: &Intent, in_step: bool, now: Timestamp) -> bool {
        refresh::is_due(object, intent, in_step, now)
    }

    fn next(object: &Object<Self>, intent: &Intent, now: Timestamp) -> Option<Duration> {
        refresh::next(object, intent, now)
    }

    fn leaves_no_target(object: &Object<Self>) -> bool {
        status::leaves_no_target(&object.status)
    }

    fn compose(
        object: &Object<Self>,
        intent: &Intent,
        answers: Vec<Result<Found, ProviderError>>,
        around: &Around,
        terms: &Terms,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(Composed, Vec<Note>), Trouble> {
        let spec = readable(object)?;
        let (data, mut notes) = gather::gather(spec, intent, answers, surroundings)?;
        if data.is_empty() && intent.target.when_missing != WhenMissing::Merge {
            if status::is_deleted(&object.status) {
                notes.clear();
            }
            return Ok((Composed::Nothing, notes));
        }
        let desired = shape::shape(object, spec, data, around, terms, surroundings)?;
        Ok((Composed::Data(desired), notes))
    }

    fn status(object: &Object<Self>, intent: Option<&Intent>, outcome: &Outcome, now: Timestamp) -> Option<Value> {
        status::status(object, intent, outcome, now)
    }

    fn recorded_mac(_object: &Object<Self>) -> Option<String> {
        None
    }

    fn is_in_step(object: &Object<Self>, intent: &Intent, target: Option<&Secret>, _terms: &Terms) -> bool {
        plan::is_in_step(&intent.target, target) || (target.is_none() && Self::leaves_no_target(object))
    }

    fn manager(owner: &Owner) -> String {
        digest::field_manager(&owner.name)
    }

    fn owner_mark(owner: &Owner) -> String {
        digest::owner_label(&owner.namespace, &owner.name)
    }

    fn unreadable(trouble: Trouble) -> Trouble {
        Trouble { reason: UPDATE_FAILED, message: COULD_NOT_READ.to_owned(), ..trouble }
    }

    fn unwritable(refused: Refused) -> Trouble {
        Trouble::new(UPDATE_FAILED, COULD_NOT_UPDATE, refused.said).retried(refused.retry)
    }
}

fn readable(object: &Object<ExternalSecret>) -> Result<&ExternalSecretSpec, Trouble> {
    object.spec.as_ref().map_err(|it| invalid(it.to_string()))
}

/// The object asks for something that makes no sense: only a change of it helps.
fn invalid(detail: impl Into<String>) -> Trouble {
    Trouble::new(UPDATE_FAILED, "invalid ExternalSecret", detail).retried(Retry::OnChange)
}
