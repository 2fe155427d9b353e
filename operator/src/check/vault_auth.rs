//! Whether a VaultAuth, with what it refers to, says how to log in.

use jiff::Timestamp;
use serde_json::json;

use super::{Findings, INVALID, Report, report, validation};
use crate::api::Object;
use crate::api::vault_secrets::VaultAuth;
use crate::conditions::Saying;
use crate::store::vault_secrets::{Defaults, merged, usable};
use crate::store::{Cluster, Part};

/// Checks a VaultAuth as far as that can be done without logging in. `looked_at` tells what the answer
/// depends on.
pub fn check(
    cluster: &dyn Cluster,
    object: &Object<VaultAuth>,
    defaults: &Defaults,
    looked_at: &mut Vec<Part>,
    now: Timestamp,
) -> Report {
    let merged = merged(cluster, object, defaults, looked_at);
    let fault = match &merged {
        Err(trouble) => Some((INVALID, trouble.detail.clone())),
        Ok(_) => usable(cluster, object, defaults, looked_at).err().map(|it| ("InvalidResourceRef", it.detail)),
    };
    let refers = object.spec.as_ref().is_ok_and(|it| it.vault_auth_global_ref.is_some());
    let available = refers.then(|| {
        let message = match &merged {
            Ok(it) => format!("merged with the VaultAuthGlobal {}", it.global.as_deref().unwrap_or_default()),
            Err(it) => it.detail.clone(),
        };
        Saying::new("Available", merged.is_ok(), "VaultAuthGlobalRef", message)
    });
    let held = &object.status;
    let text = fault.as_ref().map(|(_, it)| it.clone());
    let findings = Findings {
        kind: "VaultAuth",
        generation: object.generation(),
        held: &held.conditions,
        sayings: available.into_iter().chain([validation(text.as_deref())]).collect(),
        members: vec![
            ("valid", json!(held.valid), json!(fault.is_none())),
            ("error", json!(held.error.clone().unwrap_or_default()), json!(text.unwrap_or_default())),
            ("specHash", json!(held.spec_hash), json!(merged.ok().map(|it| it.hash))),
        ],
        fault,
    };
    report(findings, now)
}
