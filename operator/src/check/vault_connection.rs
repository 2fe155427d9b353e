//! Whether the Vault of a VaultConnection answers.

use jiff::Timestamp;
use leafseal::provider::vault::{KvVersion, Place, Retries, Settings, Vault};
use leafseal::provider::{Address, SecretProvider as _};
use serde_json::json;

use super::{ACCEPTED, Findings, INVALID, Report, report};
use crate::api::Object;
use crate::api::vault_secrets::VaultConnection;
use crate::conditions::Saying;
use crate::store::vault_secrets::connected;
use crate::store::{Cluster, Part};

/// How far a check has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// What the object says makes sense, and what it refers to is there.
    Validation,
    /// A client can be made of it.
    Client,
    /// Vault answers.
    Ping,
}

/// The stages in order: the condition, and the reason when it does not hold.
const STAGES: [(Stage, &str, &str); 3] = [
    (Stage::Validation, "ResourceValidation", INVALID),
    (Stage::Client, "VaultClient", "VaultClientConfigError"),
    (Stage::Ping, "VaultPing", "VaultClientError"),
];

/// What is wrong with a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// At which stage.
    pub stage: Stage,
    /// What.
    pub detail: String,
}

/// Asks the Vault of a connection something that takes no identity. A Vault that is sealed does not
/// answer. `looked_at` tells what the answer depends on besides Vault.
///
/// # Errors
///
/// If the connection is wrong, or Vault does not answer.
pub async fn reach(
    cluster: &dyn Cluster,
    object: &Object<VaultConnection>,
    looked_at: &mut Vec<Part>,
) -> Result<(), Fault> {
    let at = |stage| move |detail| Fault { stage, detail };
    let settings =
        connected(cluster, object, looked_at).await.map_err(|it| it.detail).map_err(at(Stage::Validation))?;
    let retries = Retries { max: 0, ..settings.retries };
    let vault = Vault::new(Settings { retries, ..settings }).map_err(|it| it.message).map_err(at(Stage::Client))?;
    // The list of engines that everybody may see: empty for who has no token, as readings have none.
    let open_to_all = Place { namespace: None, mount: Some("sys/internal/ui".into()), version: KvVersion::V1 };
    let address = Address { key: "mounts".into(), ..Address::default() };
    vault.at(open_to_all).with_literal_keys().read(&address).await.map_err(|it| it.message).map_err(at(Stage::Ping))?;
    Ok(())
}

/// What is reported about a connection that was [reached](reach) or not.
pub fn check(object: &Object<VaultConnection>, reached: Result<(), Fault>, now: Timestamp) -> Report {
    let fault = reached.err();
    let sayings = STAGES.iter().map(|&(stage, condition, reason)| match &fault {
        Some(fault) if fault.stage == stage => Saying::new(condition, false, reason, &fault.detail),
        Some(fault) if fault.stage < stage => Saying::new(condition, false, reason, "not tried"),
        _ => Saying::new(condition, true, ACCEPTED, "it works"),
    });
    let findings = Findings {
        kind: "VaultConnection",
        generation: object.generation(),
        held: &object.status.conditions,
        sayings: sayings.collect(),
        members: vec![("valid", json!(object.status.valid), json!(fault.is_none()))],
        fault: fault.map(|it| {
            let at = STAGES.iter().find(|(stage, ..)| *stage == it.stage);
            (at.map_or(INVALID, |(_, _, reason)| *reason), it.detail)
        }),
    };
    report(findings, now)
}
