//! What is reported on a store, and how often it is checked (spec section 2.10).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use leafseal::provider::{ProviderError, ProviderErrorKind, Validity};
use serde_json::{Map, Value, json};

use super::kind_of;
use crate::api::external_secrets::{SecretStoreSpec, SecretStoreStatus, ready, with_ready};
use crate::error::Trouble;
use crate::go::GoDuration;
use crate::plan::Note;

/// Stores are asked no oftener.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

const INVALID: &str = "InvalidProviderConfig";

/// What came of checking a store.
#[derive(Clone, Debug)]
pub enum Checked {
    /// It cannot be opened.
    NotOpened(Trouble),
    /// It was asked, and refused or did not answer.
    Failed(ProviderError),
    /// It was asked. A store with an identity for each reader counts as usable without being asked.
    Answered(Validity),
}

/// The members of the status that change, and what is told when that is news. A store that could be used
/// and does not answer just now stays usable: who reads from it is told more exactly.
pub fn status(
    spec: Option<&SecretStoreSpec>,
    before: &SecretStoreStatus,
    checked: &Checked,
    now: Timestamp,
) -> (Option<Value>, Vec<Note>) {
    let was = ready(&before.conditions);
    let was_usable = was.is_some_and(|it| it.status == "True");
    let (is_ready, reason, message, detail) = match checked {
        Checked::NotOpened(trouble) => (false, INVALID, "unable to create client", trouble.detail.as_str()),
        Checked::Failed(ProviderError { kind: ProviderErrorKind::Unavailable { .. }, message }) if was_usable => {
            (true, "ValidationUnknown", "could not determine validation status", message.as_str())
        }
        Checked::Failed(error) => (false, INVALID, "unable to validate store", error.message.as_str()),
        // Where it cannot be told, without a failure, the store counts as usable.
        Checked::Answered(Validity::Ready | Validity::Unknown) => (true, "Valid", "store validated", ""),
    };
    let message = if detail.is_empty() { message.to_owned() } else { format!("{message}: {detail}") };
    let is_news = was.is_none_or(|it| (it.status == "True", it.reason.as_str()) != (is_ready, reason));
    let text = if detail.is_empty() { message.clone() } else { detail.to_owned() };
    let note = is_news.then(|| Note { warning: reason != "Valid", reason, text });

    let mut changes = Map::new();
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let conditions = with_ready(&before.conditions, is_ready, reason, message, now);
    if conditions != before.conditions {
        changes.insert("conditions".to_owned(), json!(conditions));
    }
    let capabilities = spec.filter(|_| reason == "Valid").and_then(|it| kind_of(it).ok()).map(|it| it.0.capabilities);
    if let Some(capabilities) = capabilities.filter(|it| *it != before.capabilities) {
        changes.insert("capabilities".to_owned(), capabilities.into());
    }
    ((!changes.is_empty()).then(|| changes.into()), note.into_iter().collect())
}

/// How long until a store is checked again; `usual` where it does not say.
///
/// # Errors
///
/// If what it says is no duration, or less than none.
pub fn check_interval(spec: &SecretStoreSpec, usual: Duration) -> Result<Duration, String> {
    let place = "spec.refreshInterval";
    let nanoseconds = match &spec.refresh_interval {
        None => 0,
        Some(IntOrString::Int(seconds)) => i64::from(*seconds) * 1_000_000_000,
        Some(IntOrString::String(text)) if text.is_empty() => 0,
        Some(IntOrString::String(text)) => {
            text.parse::<GoDuration>().map_err(|it| format!("{place}: {it}"))?.nanoseconds
        }
    };
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(usual),
        Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds).max(SHORTEST_INTERVAL)),
        Err(_) => Err(format!("{place}: is less than nothing")),
    }
}
