//! What a ClusterExternalSecret asks for in which namespaces, and what is to be done about it; pure (External
//! Secrets, spec section 1.4).
//!
//! Its ExternalSecrets belong to it, so the cluster deletes them with it. Nothing is written on namespaces: what
//! the original left there is taken off.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use serde_json::{Value, json};

use crate::api::Object;
use crate::api::external_secrets::{
    ClusterExternalSecret, ClusterExternalSecretSpec, ClusterExternalSecretStatus, FailedNamespace,
};
use crate::intent::Owner;
use crate::store::external_secrets::selects;

/// The annotation that is handed on to the ExternalSecrets.
const FORCE_SYNC: &str = "external-secrets.io/force-sync";

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The namespaces that fit, in order.
    pub wanted: Vec<String>,
    /// The ExternalSecrets that are made, or replaced as they were observed.
    pub writes: Vec<DynamicObject>,
    /// Those that are deleted: namespace, name, UID.
    pub deletes: Vec<(String, String, String)>,
    /// Where there can be none, and why.
    pub failed: BTreeMap<String, String>,
}

/// What the ExternalSecrets of an object are called.
pub fn child_name<'a>(object: &'a Object<ClusterExternalSecret>, spec: &'a ClusterExternalSecretSpec) -> &'a str {
    if spec.external_secret_name.is_empty() { object.name() } else { &spec.external_secret_name }
}

/// The finalizer that the original puts on namespaces.
pub fn namespace_finalizer(name: &str) -> String {
    format!("externalsecrets.external-secrets.io/ces-{name}")
}

/// What is to be done, where these are the namespaces and these the ExternalSecrets of the name, and of the name
/// of former times.
///
/// # Errors
///
/// If a selector cannot be understood: then nothing is known of any namespace.
pub fn plan(
    owner: &Owner,
    (name, spec): (&str, &ClusterExternalSecretSpec),
    at: &ApiResource,
    namespaces: &[ObjectMeta],
    there: Vec<DynamicObject>,
) -> Result<Plan, String> {
    let mut plan = Plan::default();
    for namespace in namespaces.iter().filter(|it| it.deletion_timestamp.is_none()) {
        if fits(spec, namespace)? {
            plan.wanted.extend(namespace.name.clone());
        }
    }
    plan.wanted.sort();
    let wanted: BTreeSet<&str> = plan.wanted.iter().map(String::as_str).collect();
    let mut missing = wanted.clone();
    for mut child in there {
        let place = |child: &DynamicObject| child.metadata.namespace.clone().unwrap_or_default();
        let is_own = is_own(&child, owner);
        let is_wanted = wanted.contains(place(&child).as_str()) && child.metadata.name.as_deref() == Some(name);
        if is_wanted {
            missing.remove(place(&child).as_str());
        }
        match (is_own, is_wanted) {
            (true, true) => {
                if child.metadata.deletion_timestamp.is_none() && shape(&mut child, owner, spec) {
                    plan.writes.push(child);
                }
            }
            (true, false) => {
                let uid = child.metadata.uid.clone().unwrap_or_default();
                plan.deletes.push((place(&child), child.metadata.name.unwrap_or_default(), uid));
            }
            (false, true) => {
                plan.failed.insert(place(&child), "external secret already exists in namespace".to_owned());
            }
            (false, false) => {}
        }
    }
    plan.writes.extend(missing.into_iter().map(|namespace| {
        let mut child = DynamicObject::new(name, at).within(namespace);
        shape(&mut child, owner, spec);
        child
    }));
    Ok(plan)
}

fn fits(spec: &ClusterExternalSecretSpec, namespace: &ObjectMeta) -> Result<bool, String> {
    let labels = namespace.labels.clone().unwrap_or_default();
    for selector in spec.namespace_selector.iter().chain(&spec.namespace_selectors) {
        if selects(selector, &labels)? {
            return Ok(true);
        }
    }
    Ok(namespace.name.as_ref().is_some_and(|it| spec.namespaces.contains(it)))
}

/// As the original tells its own: by kind, group and name, not by UID.
fn is_own(child: &DynamicObject, owner: &Owner) -> bool {
    let group = |version: &str| version.split('/').next().map(str::to_owned);
    child.metadata.owner_references.iter().flatten().any(|it| {
        it.controller == Some(true)
            && it.kind == owner.kind
            && it.name == owner.name
            && group(&it.api_version) == group(&owner.api_version)
    })
}

/// Makes an ExternalSecret what it should be. True if it was not.
fn shape(child: &mut DynamicObject, owner: &Owner, spec: &ClusterExternalSecretSpec) -> bool {
    let before = child.clone();
    let metadata = &spec.external_secret_metadata;
    let mut annotations = metadata.annotations.clone();
    if let Some(value) = owner.annotations.get(FORCE_SYNC) {
        annotations.insert(FORCE_SYNC.to_owned(), value.clone());
    }
    let some = |it: BTreeMap<String, String>| Some(it).filter(|it| !it.is_empty());
    child.metadata.labels = some(metadata.labels.clone());
    child.metadata.annotations = some(annotations);
    let others = child.metadata.owner_references.take().unwrap_or_default().into_iter();
    let others = others.filter(|it| it.controller != Some(true));
    child.metadata.owner_references = Some(others.chain([owner.controller()]).collect());
    child.data["spec"] = spec.external_secret_spec.clone();
    let is_same = child.metadata == before.metadata && child.data["spec"] == before.data["spec"];
    !is_same
}

/// The change of the status; `None` if it says so already. `failed` is where there is none though there should be.
pub fn status(
    before: &ClusterExternalSecretStatus,
    name: &str,
    wanted: &[String],
    failed: &BTreeMap<String, String>,
    trouble: Option<&str>,
) -> Option<Value> {
    let failed_namespaces: Vec<FailedNamespace> = failed
        .iter()
        .map(|(namespace, reason)| FailedNamespace { namespace: namespace.clone(), reason: reason.clone() })
        .collect();
    let provisioned: Vec<&String> = wanted.iter().filter(|it| !failed.contains_key(*it)).collect();
    let message = match trouble {
        Some(trouble) => trouble,
        None if failed.is_empty() => "",
        None => "one or more namespaces failed",
    };
    let said = if message.is_empty() { "True" } else { "False" };
    let is_said =
        before.conditions.iter().any(|it| (it.kind.as_str(), &*it.status, &*it.message) == ("Ready", said, message));
    let is_same = is_said
        && before.external_secret_name == name
        && before.failed_namespaces == failed_namespaces
        && before.provisioned_namespaces.iter().eq(provisioned.iter().copied());
    let mut condition = json!({"type": "Ready", "status": said});
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    (!is_same).then(|| {
        json!({
            "externalSecretName": name,
            "failedNamespaces": if failed_namespaces.is_empty() { Value::Null } else { json!(failed_namespaces) },
            "provisionedNamespaces": if provisioned.is_empty() { Value::Null } else { json!(provisioned) },
            "conditions": [condition],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind as _;
    use crate::api::external_secrets::ExternalSecret;

    fn namespace(name: &str, team: &str) -> ObjectMeta {
        let labels = Some([("team".to_owned(), team.to_owned())].into());
        ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() }
    }

    fn owner() -> Owner {
        Owner {
            api_version: "external-secrets.io/v1".to_owned(),
            kind: ClusterExternalSecret::KIND,
            name: "ces".to_owned(),
            uid: "1".to_owned(),
            ..Owner::default()
        }
    }

    fn spec(of: Value) -> ClusterExternalSecretSpec {
        serde_json::from_value(of).expect("this can be read")
    }

    fn planned(owner: &Owner, spec: &ClusterExternalSecretSpec, there: Vec<DynamicObject>) -> Plan {
        let at = crate::api::external_secrets::GENERATORS[0].resource();
        let namespaces = [namespace("b", "blue"), namespace("a", "blue"), namespace("r", "red")];
        plan(owner, ("app", spec), &at, &namespaces, there).expect("this can be planned")
    }

    #[test]
    fn each_namespace_that_fits_has_one() {
        assert_eq!(ExternalSecret::KIND, "ExternalSecret");
        let (owner, blue) = (owner(), json!({"matchLabels": {"team": "blue"}}));
        let content = json!({"refreshInterval": "1h"});
        let blue = spec(json!({"externalSecretSpec": content, "namespaceSelectors": [blue]}));
        let first = planned(&owner, &blue, Vec::new());
        assert_eq!(first.wanted, ["a", "b"]);
        assert_eq!(first.writes.len(), 2);
        assert!(first.writes.iter().all(|it| it.data["spec"] == content));
        // What is there is left alone, and taken away where it does not fit any more.
        assert!(planned(&owner, &blue, first.writes.clone()).writes.is_empty());
        let red = spec(json!({"externalSecretSpec": content, "namespaces": ["r", "a"]}));
        let second = planned(&owner, &red, first.writes.clone());
        let places: Vec<_> = second.writes.iter().map(|it| it.metadata.namespace.clone().unwrap_or_default()).collect();
        assert_eq!(places, ["r"]);
        assert_eq!(second.deletes, [("b".to_owned(), "app".to_owned(), String::new())]);
        // What somebody else made is left alone.
        let mut foreign = first.writes[0].clone();
        foreign.metadata.owner_references = None;
        let third = planned(&owner, &blue, vec![foreign]);
        assert_eq!((third.writes.len(), third.failed.len()), (1, 1));
        // What was written by hand is put right, and a sync that is forced is handed on.
        let mut changed = first.writes.clone();
        changed[0].data["spec"]["refreshInterval"] = "2h".into();
        assert_eq!(planned(&owner, &blue, changed).writes.len(), 1);
        let forced = Owner { annotations: [(FORCE_SYNC.to_owned(), "1".to_owned())].into(), ..owner };
        let fourth = planned(&forced, &blue, first.writes);
        assert!(fourth.writes.iter().all(|it| it.metadata.annotations.as_ref() == Some(&forced.annotations)));
        assert_eq!(fourth.writes.len(), 2);
    }

    #[test]
    fn statuses_are_news_once() {
        let wanted = ["a".to_owned(), "b".to_owned()];
        let mut before = ClusterExternalSecretStatus::default();
        for failed in [BTreeMap::new(), BTreeMap::from([("b".to_owned(), "taken".to_owned())])] {
            let change = status(&before, "app", &wanted, &failed, None).expect("it is news");
            assert_eq!(change["conditions"][0]["status"], if failed.is_empty() { "True" } else { "False" });
            let mut now = change;
            now.as_object_mut().expect("it is one").retain(|_, it| !it.is_null());
            before = serde_json::from_value(now).expect("it can be read");
            assert_eq!(status(&before, "app", &wanted, &failed, None), None);
        }
        assert_eq!(before.provisioned_namespaces, ["a"]);
    }
}
