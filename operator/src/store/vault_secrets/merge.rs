//! What a VaultAuth says together with its VaultAuthGlobal (Vault Secrets, spec section A.3.3).

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::reference::DEFAULT;
use super::{Cluster, Defaults, Part, absent, credentials, may_refer, part, trouble};
use crate::api::Object;
use crate::api::vault_secrets::{
    GlobalRef, GlobalSpec, MergeStrategy, Method, Shared, Texts, VaultAuth, VaultAuthGlobal, VaultAuthSpec,
};
use crate::error::{Retry, Trouble};
use crate::identity;

/// A VaultAuth that lacks nothing.
#[derive(Clone, Debug)]
pub struct Merged {
    /// What it says, with what its global adds.
    pub spec: VaultAuthSpec,
    /// How it logs in.
    pub method: Method,
    /// A digest of `spec`.
    pub hash: String,
    /// The global, if one was used.
    pub global: Option<String>,
}

/// What a VaultAuth says, with what its global adds.
///
/// # Errors
///
/// If its global is missing or may not be used, or if it does not say how to log in.
pub fn merged(
    cluster: &dyn Cluster,
    auth: &Object<VaultAuth>,
    defaults: &Defaults,
    looked_at: &mut Vec<Part>,
) -> Result<Merged, Trouble> {
    let at = format!("VaultAuth {}/{}", auth.namespace(), auth.name());
    let wrong = |what: &str| trouble(format!("{at}: {what}")).retried(Retry::OnChange);
    let own = auth.spec.as_ref().map_err(|it| wrong(&it.to_string()))?;
    let global = match &own.vault_auth_global_ref {
        Some(at) => Some(find(cluster, auth, at, defaults, looked_at)?),
        None => None,
    };
    let mut spec = own.clone();
    if let (Some(global), Some(at)) = (&global, &own.vault_auth_global_ref) {
        let name = format!("{}/{}", global.namespace(), global.name());
        let says = global.spec.as_ref().map_err(|it| wrong(&format!("VaultAuthGlobal {name}: {it}")))?;
        fill(&mut spec, says, at);
    }
    let method = spec.method.ok_or_else(|| wrong("spec.method is empty"))?;
    spec.mount = spec.mount.trim_matches('/').to_owned();
    if spec.mount.is_empty() {
        return Err(wrong("spec.mount is empty"));
    }
    credentials::needs(&spec, method).map_err(|it| wrong(&it.detail))?;
    let text = serde_json::to_vec(&spec).expect("a spec was read from JSON");
    let global = global.map(|it| format!("{}/{}", it.namespace(), it.name()));
    Ok(Merged { spec, method, hash: identity::blake2b(&text), global })
}

/// The global that a VaultAuth names, or the one named `default` in its namespace or the operator's.
fn find(
    cluster: &dyn Cluster,
    auth: &Object<VaultAuth>,
    at: &GlobalRef,
    defaults: &Defaults,
    looked_at: &mut Vec<Part>,
) -> Result<Arc<Object<VaultAuthGlobal>>, Trouble> {
    let name = if at.name.is_empty() { DEFAULT } else { &at.name };
    let namespaces = match (at.namespace.as_str(), at.name.as_str()) {
        ("", "") => vec![auth.namespace(), &defaults.namespace],
        ("", _) => vec![auth.namespace()],
        (namespace, _) => vec![namespace],
    };
    if at.name.is_empty() && !(at.allow_default && defaults.globals) {
        let detail = match at.allow_default {
            true => "spec.vaultAuthGlobalRef.allowDefault: the operator does not allow default globals",
            false => "spec.vaultAuthGlobalRef names none, and allowDefault is false",
        };
        return Err(trouble(detail.into()));
    }
    let found = namespaces.iter().find_map(|namespace| {
        looked_at.push(part("VaultAuthGlobal", namespace, name));
        cluster.vault_auth_global(namespace, name)
    });
    let found = found.ok_or_else(|| absent("VaultAuthGlobal", namespaces[0], name))?;
    let allowed = found.spec.as_ref().map(|it| it.allowed_namespaces.as_slice()).unwrap_or_default();
    if may_refer(auth.namespace(), (found.namespace(), name), allowed, &defaults.namespace) {
        return Ok(found);
    }
    Err(trouble(format!(
        "the namespace {:?} may not use the VaultAuthGlobal {}/{name}: it is not in its allowedNamespaces",
        auth.namespace(),
        found.namespace()
    )))
}

/// Fills what is empty.
fn fill(spec: &mut VaultAuthSpec, global: &GlobalSpec, at: &GlobalRef) {
    spec.method = spec.method.or(global.default_auth_method);
    let common = match spec.method {
        Some(Method::Kubernetes) => filled(&mut spec.kubernetes, global.kubernetes.as_ref()),
        Some(Method::Jwt) => filled(&mut spec.jwt, global.jwt.as_ref()),
        Some(Method::AppRole) => filled(&mut spec.app_role, global.app_role.as_ref()),
        Some(Method::Aws) => filled(&mut spec.aws, global.aws.as_ref()),
        Some(Method::Gcp) => filled(&mut spec.gcp, global.gcp.as_ref()),
        None => Shared::default(),
    };
    let first = |texts: [&String; 3]| texts.into_iter().find(|it| !it.is_empty()).cloned().unwrap_or_default();
    spec.mount = first([&spec.mount, &common.mount, &global.default_mount]);
    spec.namespace = first([&spec.namespace, &common.namespace, &global.default_vault_namespace]);
    if spec.vault_connection_ref.is_empty() {
        spec.vault_connection_ref.clone_from(&global.vault_connection_ref);
    }
    let strategies = at.merge_strategy;
    spec.headers = joined(strategies.headers, [&spec.headers, &common.headers, &global.headers]);
    spec.params = joined(strategies.params, [&spec.params, &common.params, &global.params]);
}

/// Fills the block of a method field by field, and returns what the global says besides its fields.
fn filled<T: Clone + Default + Serialize + DeserializeOwned>(
    own: &mut Option<T>,
    global: Option<&Shared<T>>,
) -> Shared<()> {
    let Some(global) = global else { return Shared::default() };
    let fields = |block: &T| match serde_json::to_value(block) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let mut all = own.as_ref().map(fields).unwrap_or_default();
    for (name, value) in fields(&global.own) {
        if all.get(&name).is_none_or(is_empty) {
            all.insert(name, value);
        }
    }
    *own = Some(serde_json::from_value(Value::Object(all)).expect("fields of two such blocks make one"));
    Shared {
        namespace: global.namespace.clone(),
        mount: global.mount.clone(),
        params: global.params.clone(),
        headers: global.headers.clone(),
        own: (),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Number(it) => it.as_i64() == Some(0),
        Value::String(it) => it.is_empty(),
        Value::Array(it) => it.is_empty(),
        Value::Object(it) => it.is_empty(),
    }
}

/// One map of three: the VaultAuth's, that of the global's method, that of the global.
fn joined(strategy: MergeStrategy, maps: [&Texts; 3]) -> Texts {
    match strategy {
        MergeStrategy::None => maps[0].clone(),
        MergeStrategy::Replace => maps.into_iter().find(|it| !it.is_empty()).cloned().unwrap_or_default(),
        MergeStrategy::Union => maps.into_iter().rev().flat_map(Clone::clone).collect(),
    }
}
