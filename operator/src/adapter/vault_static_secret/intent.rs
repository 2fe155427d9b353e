//! What a VaultStaticSecret asks for.

use leafseal::provider::Address;
use leafseal::provider::vault::{KvVersion, Place};

use super::USUAL;
use crate::adapter::Terms;
use crate::api::vault_secrets::StaticSecretSpec;
use crate::error::{Retry, Trouble};
use crate::go::GoDuration;
use crate::intent::{Ask, Family, Intent, Owner, Ownership, Read, Refresh, StoreRef, Target, WhenMissing, WorkloadRef};
use crate::store::vault_secrets::{Reference, named};

/// Types of Secrets that give power over the cluster: nobody has them made from a store.
const PRIVILEGED: [&str; 2] = ["bootstrap.kubernetes.io/token", "kubernetes.io/service-account-token"];

pub(super) fn intent(spec: &StaticSecretSpec, owner: Owner, terms: &Terms) -> Result<Intent, Trouble> {
    let invalid = |detail: String| {
        Trouble::new("VaultStaticSecretError", "the spec cannot be served", detail).retried(Retry::OnChange)
    };
    let trimmed = |field: &str, text: &str| match text.trim_matches('/') {
        "" => Err(invalid(format!("spec.{field} is empty"))),
        it => Ok(it.to_owned()),
    };
    let version = match spec.kind.as_str() {
        "kv-v1" => KvVersion::V1,
        "kv-v2" => KvVersion::V2,
        other => return Err(invalid(format!("spec.type is kv-v1 or kv-v2, not {other:?}"))),
    };
    let (mount, path) = (trimmed("mount", &spec.mount)?, trimmed("path", &spec.path)?);
    let destination = &spec.destination;
    if destination.name.is_empty() {
        return Err(invalid("spec.destination.name is empty".into()));
    }
    if PRIVILEGED.contains(&destination.kind.as_str()) {
        return Err(invalid(format!("spec.destination.type {:?} is not made from a store", destination.kind)));
    }
    let refresh_after = match spec.refresh_after.as_str() {
        "" => None,
        text => text.parse::<GoDuration>().map_err(|it| invalid(format!("spec.refreshAfter: {it}")))?.positive(),
    };
    let auth = named(Reference {
        field: "spec.vaultAuthRef",
        text: &spec.vault_auth_ref,
        namespace: &owner.namespace,
        operator: &terms.operator_namespace,
    })?;
    let store = StoreRef {
        family: Family::VaultSecrets,
        kind: "VaultAuth",
        namespace: auth.0,
        name: auth.1,
        reader: owner.namespace.clone(),
        place: Some(Place {
            namespace: Some(spec.namespace.trim_matches('/').to_owned()).filter(|it| !it.is_empty()),
            mount: Some(mount),
            version,
        }),
    };
    let is_versioned = version == KvVersion::V2 && spec.version > 0;
    let address = Address { key: path, version: is_versioned.then(|| spec.version.to_string()), metadata: false };
    let restarts = spec.rollout_restart_targets.iter();
    Ok(Intent {
        reads: vec![Read { place: format!("spec.path ({})", address.key), store, ask: Ask::One(address) }],
        target: Target {
            namespace: owner.namespace.clone(),
            name: destination.name.clone(),
            ownership: match destination.create {
                true => Ownership::Exclusive { overwrite: destination.overwrite },
                false => Ownership::DataOnly,
            },
            when_missing: WhenMissing::Retain,
            immutable: false,
        },
        refresh: match (spec.hmac_secret_data, refresh_after) {
            (_, Some(period)) => Refresh::Every(period),
            (true, None) => Refresh::Every(USUAL),
            (false, None) => Refresh::OnChange,
        },
        restarts: restarts.map(|it| WorkloadRef { kind: it.kind.clone(), name: it.name.clone() }).collect(),
        owner,
    })
}
