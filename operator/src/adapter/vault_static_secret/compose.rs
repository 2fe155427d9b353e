//! What the Secret should hold, from what Vault answered (Vault Secrets, spec sections A.4.4, A.4.5 and
//! A.7).

use std::collections::BTreeMap;

use leafseal::provider::{Content, Object, ProviderError, ProviderErrorKind, go_json};
use leafseal::secret::SecretText;
use leafseal::template::{Field, Input, Surroundings};
use serde_json::value::RawValue;

use super::chance::Steady;
use super::transformation::{self, Recipe};
use crate::adapter::{Around, Found, Terms};
use crate::api::vault_secrets::StaticSecretSpec;
use crate::digest::{self, Data};
use crate::error::{Retry, Trouble};
use crate::intent::Intent;
use crate::plan::Desired;

/// Holds all that Vault answered.
const RAW: &str = "_raw";

pub(super) fn compose(
    spec: &StaticSecretSpec,
    intent: &Intent,
    answers: Vec<Result<Found, ProviderError>>,
    around: &Around,
    terms: &Terms,
    surroundings: &mut Surroundings<'_>,
) -> Result<Desired, Trouble> {
    let found = single(answers, spec)?;
    let destination = &spec.destination;
    let recipe = transformation::gather(&destination.transformation, &intent.owner, around, terms.exclude_raw)?;
    let data = make(&found, &recipe, intent, terms, surroundings)?;
    let mac = match (spec.hmac_secret_data, &terms.mac_key) {
        (false, _) => None,
        (true, Some(key)) => Some(digest::secret_mac(&key.bytes, &data)),
        (true, None) => {
            let detail = format!("the Secret {:?} of the operator cannot be used", crate::mac_key::SECRET);
            return Err(Trouble::new("HMACDataError", "no key for the MAC of the data", detail));
        }
    };
    Ok(Desired {
        data,
        kind: Some(if destination.kind.is_empty() { "Opaque" } else { &destination.kind }.to_owned()),
        labels: destination.labels.clone(),
        annotations: destination.annotations.clone(),
        finalizers: Vec::new(),
        mac,
    })
}

fn single(answers: Vec<Result<Found, ProviderError>>, spec: &StaticSecretSpec) -> Result<Object, Trouble> {
    let trouble = |message: &str, detail: String| Trouble::new("VaultClientError", message, detail);
    match answers.into_iter().next() {
        Some(Ok(Found::One(Content::Object(object)))) => Ok(object),
        Some(Err(error)) if error.is_missing() => {
            let at = format!("{:?} of {:?}", spec.path.trim_matches('/'), spec.mount.trim_matches('/'));
            let detail = format!("{at} does not exist or was deleted; the Secret stays as it is ({error})");
            Err(trouble("Vault has no such secret", detail))
        }
        Some(Err(error)) => {
            let retry = match error.kind {
                ProviderErrorKind::Unavailable { retry_after: Some(after) } => Retry::After(after),
                _ => Retry::BackOff,
            };
            Err(trouble("cannot read from Vault", error.to_string()).retried(retry))
        }
        _ => Err(trouble("cannot read from Vault", "the answer is no secret of a KV engine".into())),
    }
}

fn make(
    found: &Object,
    recipe: &Recipe,
    intent: &Intent,
    terms: &Terms,
    surroundings: &mut Surroundings<'_>,
) -> Result<Data, Trouble> {
    let broken = |detail: &str| Trouble::new("SecretDataBuilderError", "cannot make the data", detail);
    let fields = fields(found).ok_or_else(|| broken("the secret in Vault is no JSON object"))?;
    let mut data = Data::new();
    if !recipe.exclude_raw {
        if fields.contains_key(RAW) || recipe.keys.iter().any(|(key, _)| key == RAW) {
            return Err(broken("the key _raw is taken: transformation.excludeRaw makes it free"));
        }
        data.insert(RAW.into(), found.raw().map_err(|it| broken(&it.to_string()))?);
    }
    let mut steady = terms.mac_key.as_ref().map(|key| Steady::new(&key.bytes, &intent.owner.uid, found.data.expose()));
    let mut around =
        Surroundings { now: surroundings.now, rng: steady.as_mut().map_or(&mut *surroundings.rng, |it| it) };
    let input = [
        ("Secrets", Field::Json(found.data.expose_str().unwrap_or_default())),
        ("Metadata", found.metadata.as_ref().map_or(Field::Empty, |it| Field::Json(it.get()))),
        ("WrapData", Field::Empty),
        ("Annotations", Field::Texts(&intent.owner.annotations)),
        ("Labels", Field::Texts(&intent.owner.labels)),
    ];
    for (key, template) in &recipe.keys {
        let made = recipe.set.execute(template, Input::Fields(&input), &mut around);
        data.insert(key.clone(), made.map_err(|it| transformation::trouble(&it))?);
    }
    for (key, value) in fields {
        if recipe.keeps(&key) {
            data.entry(key).or_insert(value);
        }
    }
    Ok(data)
}

/// Texts as they are, everything else as JSON that Go writes (spec section A.7.2).
fn fields(found: &Object) -> Option<Data> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(found.data.expose_str()?).ok()?;
    let text = |value: &RawValue| match value.get().starts_with('"') {
        true => serde_json::from_str::<String>(value.get()).ok(),
        false => go_json::print(value).ok(),
    };
    members.into_iter().map(|(key, value)| Some((key, SecretText::new(text(value)?)))).collect()
}
