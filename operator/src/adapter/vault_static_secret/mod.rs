//! VaultStaticSecret: a Secret made of one secret of a KV engine (Vault Secrets, spec section A.4).

mod chance;
mod compose;
mod intent;
mod status;
#[cfg(test)]
mod tests;
pub mod transformation;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use leafseal::provider::ProviderError;
use leafseal::template::Surroundings;
use serde_json::Value;

use super::{Adapter, Around, AroundRef, Found, Outcome, Terms};
use crate::api::Object;
use crate::api::vault_secrets::{StaticSecretSpec, VaultStaticSecret};
use crate::digest;
use crate::error::{Refused, Retry, Trouble};
use crate::identity;
use crate::intent::{Intent, Owner, Refresh, Target};
use crate::mac_key;
use crate::plan::{Composed, Note, data_of, exclusive};

/// How often a secret is read whose drift is looked for and that says nothing else.
const USUAL: Duration = Duration::from_secs(60);

/// How long it takes until a write that was refused is tried again (spec section A.4.2, step 9).
const SOON: Duration = Duration::from_millis(4250);

/// The adapter of VaultStaticSecrets.
#[derive(Clone, Copy, Debug)]
pub struct StaticSecret;

impl Adapter for StaticSecret {
    type Kind = VaultStaticSecret;

    const FINALIZER: &'static str = "vaultstaticsecret.secrets.hashicorp.com/finalizer";

    /// Never: a Secret that was made goes with its owner, another stays.
    fn needs_finalizer(_object: &Object<VaultStaticSecret>) -> bool {
        false
    }

    fn intent(object: &Object<VaultStaticSecret>, owner: Owner, terms: &Terms) -> Result<Intent, Trouble> {
        intent::intent(spec(object)?, owner, terms)
    }

    fn around(object: &Object<VaultStaticSecret>) -> Vec<AroundRef> {
        let Ok(spec) = &object.spec else { return Vec::new() };
        let refs = spec.destination.transformation.transformation_refs.iter();
        let mut around: Vec<_> = refs
            .map(|it| {
                let (namespace, name) = transformation::place(it, object.namespace());
                AroundRef::Transformation(namespace, name)
            })
            .collect();
        around.sort();
        around.dedup();
        around
    }

    /// Always: no status keeps a clock, so that nothing is written while nothing changes. Whoever waits
    /// for [`next`](Adapter::next) reads no oftener than is asked for.
    fn is_due(_object: &Object<VaultStaticSecret>, _intent: &Intent, _in_step: bool, _now: Timestamp) -> bool {
        true
    }

    /// 0.8 to 0.86 of what the object says, which with the twentieth that refreshes may come late makes
    /// 0.8 to 0.9 (spec section A.4.2, step 12); the same for an object each time and different between objects; after the first sync any part of it, so that objects made
    /// together part company.
    fn next(object: &Object<VaultStaticSecret>, intent: &Intent, _now: Timestamp) -> Option<Duration> {
        let Refresh::Every(period) = intent.refresh else { return None };
        // Two lots: with one, those who began last would be the fastest, and all would meet some time.
        let [first, usual] = shares(&intent.owner.uid);
        let part = if object.status.last_generation == 0 { 0.1 + 0.8 * first } else { 0.857 - 0.057 * usual };
        Some(period.mul_f64(part))
    }

    fn compose(
        object: &Object<VaultStaticSecret>,
        intent: &Intent,
        answers: Vec<Result<Found, ProviderError>>,
        around: &Around,
        terms: &Terms,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(Composed, Vec<Note>), Trouble> {
        let spec = spec(object)?;
        let desired = compose::compose(spec, intent, answers, around, terms, surroundings)?;
        Ok((Composed::Data(desired), unheard(object, spec, intent).into_iter().collect()))
    }

    fn status(
        object: &Object<VaultStaticSecret>,
        _intent: Option<&Intent>,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<Value> {
        status::status(object, outcome, now)
    }

    fn recorded_mac(object: &Object<VaultStaticSecret>) -> Option<String> {
        Some(object.status.secret_mac.clone()).filter(|it| !it.is_empty())
    }

    fn trusted_mac(object: &Object<VaultStaticSecret>, target: Option<&Secret>, terms: &Terms) -> Option<String> {
        mac_key::trusted(Self::recorded_mac(object).as_deref(), target, terms.mac_key.as_ref()?)
    }

    /// Half of what is drift shows without Vault: a target that does not fit what was recorded of it.
    fn is_in_step(
        object: &Object<VaultStaticSecret>,
        _intent: &Intent,
        target: Option<&Secret>,
        terms: &Terms,
    ) -> bool {
        let (Some(target), Some(key)) = (target, &terms.mac_key) else { return false };
        Self::recorded_mac(object) == Some(digest::secret_mac(&key.bytes, &data_of(target)))
    }

    /// Not at all if it was never synced as it is now, else its share of the time that it would wait
    /// anyway.
    fn first_look(object: &Object<VaultStaticSecret>, intent: &Intent) -> Duration {
        let is_synced = object.status.last_generation == object.generation() && status::is_ready(&object.status);
        match intent.refresh {
            Refresh::Every(period) if is_synced => period.mul_f64(0.9 * shares(&intent.owner.uid)[0]),
            _ => Duration::ZERO,
        }
    }

    fn manager(_owner: &Owner) -> String {
        exclusive::FIELD_MANAGER.to_owned()
    }

    fn owner_mark(owner: &Owner) -> String {
        owner.uid.clone()
    }

    fn is_former(secret: &ObjectMeta, owner: &Owner, target: &Target) -> bool {
        exclusive::is_former(secret, owner, target)
    }

    fn unreadable(trouble: Trouble) -> Trouble {
        trouble
    }

    fn unwritable(refused: Refused) -> Trouble {
        let retry = match refused.retry {
            Retry::BackOff => Retry::After(SOON),
            retry => retry,
        };
        Trouble::new("SecretSyncError", "the Secret could not be written", refused.said).retried(retry)
    }
}

fn spec(object: &Object<VaultStaticSecret>) -> Result<&StaticSecretSpec, Trouble> {
    object.spec.as_ref().map_err(|malformed| {
        Trouble::new("VaultStaticSecretError", "cannot be understood", malformed.to_string()).retried(Retry::OnChange)
    })
}

/// That changes are not told by Vault, for whoever asked for it: once for each generation, where the original
/// complains at every attempt (spec section A.4.6).
fn unheard(object: &Object<VaultStaticSecret>, spec: &StaticSecretSpec, intent: &Intent) -> Option<Note> {
    let is_news = spec.sync_config.instant_updates && object.status.last_generation != object.generation();
    let looks = match intent.refresh {
        Refresh::Every(period) => format!("it is read every {period:?}"),
        _ => "it is read when the object changes".to_owned(),
    };
    is_news.then(|| Note {
        warning: true,
        reason: "EventWatcherError",
        text: format!("syncConfig.instantUpdates: the events of a Vault are not followed; {looks}"),
    })
}

/// Two numbers between 0 and 1 that are always the same for an object.
fn shares(uid: &str) -> [f64; 2] {
    let digest = identity::blake2b(uid.as_bytes());
    [0, 8].map(|at| {
        let number = u32::from_str_radix(&digest[at..at + 8], 16).expect("a digest is hexadecimal");
        f64::from(number) / f64::from(u32::MAX)
    })
}
