//! What is reported about a VaultStaticSecret (Vault Secrets, spec section A.9).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::adapter::{Done, Outcome};
use crate::api::Object;
use crate::api::vault_secrets::{ClientMeta, StaticSecretStatus, VaultStaticSecret};
use crate::conditions::{self, Saying};
use crate::mac_key::OWED;
use crate::plan::Verdict;

const KIND: &str = "VaultStaticSecret";

/// The change of the status; `None` if it says all of it. Only a success moves the generation and the
/// MAC. With which identity it was read is written only together with something else.
pub(super) fn status(object: &Object<VaultStaticSecret>, outcome: &Outcome, now: Timestamp) -> Option<Value> {
    let held = &object.status;
    let mut members = json!({});
    let mut is_news = false;
    let mut sayings = Vec::new();
    let mut generation = held.last_generation;
    let problem = match &outcome.result {
        Err(trouble) => Some(trouble.to_string()),
        Ok(done) => {
            sayings.extend(restarted(done));
            problem(done.verdict).map(str::to_owned)
        }
    };
    if let (Ok(done), None) = (&outcome.result, &problem) {
        generation = object.generation();
        let is_owed = done.restarts.iter().any(Result::is_err);
        let mac = done.mac.as_deref().map(|it| if is_owed { OWED } else { it });
        is_news |= generation != held.last_generation || mac.unwrap_or_default() != held.secret_mac;
        members["secretMAC"] = json!(mac);
        if let Some(identity) = &done.identity {
            let meta = ClientMeta { cache_key: identity.cache_key.clone(), id: identity.id.clone() };
            members["vaultClientMeta"] = json!(meta);
        }
    }
    members["lastGeneration"] = json!(generation);
    let message = problem.clone().unwrap_or_else(|| "Secret synced".into());
    sayings.push(Saying::new("SecretSynced", problem.is_none(), "Synced", message));
    sayings.extend(conditions::health(KIND, problem.is_none()));
    let wanted = conditions::merged(&held.conditions, &sayings, object.generation(), now);
    conditions::change(&held.conditions, &wanted, is_news, members)
}

/// True if the status says that all is well.
pub(super) fn is_ready(status: &StaticSecretStatus) -> bool {
    status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True")
}

fn problem(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Synced => None,
        Verdict::TargetMissing => Some("destination does not exist, and destination.create is false"),
        _ => Some("Vault has no such secret; the Secret stays as it is"),
    }
}

fn restarted(done: &Done) -> Option<Saying> {
    let failed: Vec<&str> = done.restarts.iter().filter_map(|it| it.as_ref().err().map(String::as_str)).collect();
    let worked: Vec<&str> = done.restarts.iter().filter_map(|it| it.as_ref().ok().map(String::as_str)).collect();
    if !failed.is_empty() {
        let message = format!("Rollout restart failed: {}", failed.join("; "));
        return Some(Saying::new("RolloutRestart", false, "RolloutRestartTriggeredFailed", message));
    }
    let message = format!("Rollout restart triggered: {}", worked.join(", "));
    (!worked.is_empty()).then(|| Saying::new("RolloutRestart", true, "RolloutRestartTriggered", message))
}
