//! What no ExternalSecret may ask for, with or without a webhook (spec section 2.13).

use std::collections::BTreeSet;

use leafseal::pattern::Pattern;
use leafseal::template::Set;

use super::{intent, rewrite, shape};
use crate::api::external_secrets::{
    CreationPolicy, DataFromEntry, DeletionPolicy, ExternalSecretSpec, MergeStrategy, Rewrite, SourceRef, StoreName,
};

/// Types of Secrets whose makers get tokens of others, or let others join the cluster.
const REFUSED_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Everything that is wrong, each with its place.
pub(super) fn complaints(spec: &ExternalSecretSpec) -> Vec<String> {
    let mut complaints = Vec::new();
    if spec.data.is_empty() && spec.data_from.is_empty() {
        complaints.push("spec: data or dataFrom is needed".to_owned());
    }
    complaints.extend(intent::interval(spec).err());
    complaints.extend(policies(spec));
    complaints.extend(spec.secret_store_ref.as_ref().and_then(|it| store(it, "spec.secretStoreRef")));
    data(spec, &mut complaints);
    for (n, entry) in spec.data_from.iter().enumerate() {
        data_from(entry, &format!("spec.dataFrom[{n}]"), &mut complaints);
    }
    template(spec, &mut complaints);
    complaints
}

fn policies(spec: &ExternalSecretSpec) -> Option<String> {
    let (creation, deletion) = (spec.target.creation_policy, spec.target.deletion_policy);
    let clash = match deletion {
        DeletionPolicy::Retain => false,
        DeletionPolicy::Delete => !matches!(creation, CreationPolicy::Owner | CreationPolicy::Orphan),
        DeletionPolicy::Merge => creation == CreationPolicy::None,
    };
    clash.then(|| format!("spec.target: deletionPolicy {deletion:?} does not go with creationPolicy {creation:?}"))
}

fn store(named: &StoreName, place: &str) -> Option<String> {
    match (named.name.is_empty(), intent::store(named, "").is_none()) {
        (true, _) => Some(format!("{place}.name: is missing")),
        (false, true) => Some(format!("{place}.kind: expected SecretStore or ClusterSecretStore")),
        (false, false) => None,
    }
}

fn source(source: &SourceRef, place: &str) -> Option<String> {
    match (&source.store_ref, &source.generator_ref) {
        (None, None) => Some(format!("{place}: storeRef or generatorRef is needed")),
        (Some(_), Some(_)) => Some(format!("{place}: storeRef and generatorRef exclude each other")),
        (Some(named), None) => store(named, &format!("{place}.storeRef")),
        (None, Some(_)) => None,
    }
}

fn data(spec: &ExternalSecretSpec, complaints: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (n, entry) in spec.data.iter().enumerate() {
        let place = format!("spec.data[{n}]");
        if entry.secret_key.is_empty() {
            complaints.push(format!("{place}.secretKey: is missing"));
        } else if !seen.insert(&entry.secret_key) && spec.target.deletion_policy == DeletionPolicy::Retain {
            complaints.push(format!("{place}.secretKey: {:?} is there twice", entry.secret_key));
        }
        if entry.remote_ref.key.is_empty() {
            complaints.push(format!("{place}.remoteRef.key: is missing"));
        }
        complaints.extend(entry.source_ref.as_ref().and_then(|it| source(it, &format!("{place}.sourceRef"))));
    }
}

fn data_from(entry: &DataFromEntry, place: &str, complaints: &mut Vec<String>) {
    let is_made = entry.source_ref.as_ref().is_some_and(|it| it.generator_ref.is_some());
    match (&entry.extract, &entry.find) {
        (None, None) if is_made => {}
        _ if is_made => {
            complaints.push(format!("{place}: extract, find and sourceRef.generatorRef exclude each other"));
        }
        (Some(_), Some(_)) => complaints.push(format!("{place}: extract and find exclude each other")),
        (None, None) => complaints.push(format!("{place}: extract, find or sourceRef.generatorRef is needed")),
        (Some(extract), None) if extract.key.is_empty() => complaints.push(format!("{place}.extract.key: is missing")),
        (None, Some(find)) => {
            let pattern = find.name.as_ref().map(|it| Pattern::new(&it.regexp)).transpose();
            complaints.extend(pattern.err().map(|it| format!("{place}.find.name.regexp: {it}")));
        }
        (Some(_), None) => {}
    }
    complaints.extend(entry.source_ref.as_ref().and_then(|it| source(it, &format!("{place}.sourceRef"))));
    for (n, step) in entry.rewrite.iter().enumerate() {
        complaints.extend(rewriting(step, &format!("{place}.rewrite[{n}]")));
    }
}

fn rewriting(step: &Rewrite, place: &str) -> Option<String> {
    match (&step.regexp, &step.transform, &step.merge) {
        (Some(it), None, None) => Pattern::new(&it.source).err().map(|error| format!("{place}.regexp.source: {error}")),
        (None, Some(it), None) => {
            let parsed = Set::new(&rewrite::DIALECT).add("transform", &it.template);
            parsed.err().map(|error| format!("{place}.transform.template: {error}"))
        }
        (None, None, Some(it)) => (it.strategy == MergeStrategy::Json && it.into.is_empty())
            .then(|| format!("{place}.merge.into: is needed with strategy JSON")),
        _ => Some(format!("{place}: exactly one of regexp, transform and merge is needed")),
    }
}

fn template(spec: &ExternalSecretSpec, complaints: &mut Vec<String>) {
    let Some(template) = &spec.target.template else { return };
    let place = "spec.target.template";
    if REFUSED_TYPES.contains(&template.kind.as_str()) {
        complaints.push(format!("{place}.type: Secrets of type {} are not made", template.kind));
    }
    if !matches!(template.engine_version.as_str(), "" | "v2") {
        complaints.push(format!("{place}.engineVersion: only v2 exists"));
    }
    for (n, from) in template.template_from.iter().enumerate() {
        if shape::Aim::of(&from.target).is_none() {
            complaints.push(format!("{place}.templateFrom[{n}].target: expected Data, Annotations or Labels"));
        }
        for (source, at) in [(&from.config_map, "configMap"), (&from.secret, "secret")] {
            if source.as_ref().is_some_and(|it| it.name.is_empty()) {
                complaints.push(format!("{place}.templateFrom[{n}].{at}.name: is missing"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about `spec`, written as YAML.
    fn complaints_about(spec: &str) -> String {
        let value: serde_json::Value = serde_yaml::from_str(spec).expect("this is YAML");
        complaints(&serde_json::from_value(value).expect("this can be read")).join("; ")
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let data = "data: [{secretKey: a, remoteRef: {key: k}}]";
        for (spec, expected) in [
            (data.to_owned(), ""),
            ("{}".to_owned(), "spec: data or dataFrom is needed"),
            (
                format!("{data}\nrefreshInterval: abc"),
                "spec.refreshInterval: \"abc\" is no duration: write it like 30s, 5m or 1h30m",
            ),
            (format!("{data}\nrefreshInterval: '0'"), ""),
            (
                format!("{data}\nsecretStoreRef: {{name: s, kind: Other}}"),
                "spec.secretStoreRef.kind: expected SecretStore or ClusterSecretStore",
            ),
            (format!("{data}\nsecretStoreRef: {{}}"), "spec.secretStoreRef.name: is missing"),
            (
                format!("{data}\ntarget: {{creationPolicy: Merge, deletionPolicy: Delete}}"),
                "spec.target: deletionPolicy Delete does not go with creationPolicy Merge",
            ),
            (
                format!("{data}\ntarget: {{creationPolicy: CreateOrMerge, deletionPolicy: Delete}}"),
                "spec.target: deletionPolicy Delete does not go with creationPolicy CreateOrMerge",
            ),
            (
                format!("{data}\ntarget: {{creationPolicy: None, deletionPolicy: Delete}}"),
                "spec.target: deletionPolicy Delete does not go with creationPolicy None",
            ),
            (
                format!("{data}\ntarget: {{creationPolicy: None, deletionPolicy: Merge}}"),
                "spec.target: deletionPolicy Merge does not go with creationPolicy None",
            ),
            (format!("{data}\ntarget: {{creationPolicy: Orphan, deletionPolicy: Delete}}"), ""),
            ("data: [{secretKey: a, remoteRef: {}}]".to_owned(), "spec.data[0].remoteRef.key: is missing"),
            ("data: [{remoteRef: {key: k}}]".to_owned(), "spec.data[0].secretKey: is missing"),
            (
                "data: [{secretKey: a, remoteRef: {key: k}}, {secretKey: a, remoteRef: {key: l}}]".to_owned(),
                "spec.data[1].secretKey: \"a\" is there twice",
            ),
            (
                "target: {deletionPolicy: Delete}\ndata: [{secretKey: a, remoteRef: {key: k}}, {secretKey: a, \
                 remoteRef: {key: l}}]"
                    .to_owned(),
                "",
            ),
            (
                "data: [{secretKey: a, remoteRef: {key: k}, sourceRef: {}}]".to_owned(),
                "spec.data[0].sourceRef: storeRef or generatorRef is needed",
            ),
            ("dataFrom: [{}]".to_owned(), "spec.dataFrom[0]: extract, find or sourceRef.generatorRef is needed"),
            (
                "dataFrom: [{extract: {key: k}, find: {}}]".to_owned(),
                "spec.dataFrom[0]: extract and find exclude each other",
            ),
            ("dataFrom: [{extract: {}}]".to_owned(), "spec.dataFrom[0].extract.key: is missing"),
            (
                "dataFrom: [{find: {name: {regexp: '('}}}]".to_owned(),
                "spec.dataFrom[0].find.name.regexp: error parsing regexp: missing closing ): `(` (character 1)",
            ),
            (
                "dataFrom: [{extract: {key: k}, rewrite: [{}]}]".to_owned(),
                "spec.dataFrom[0].rewrite[0]: exactly one of regexp, transform and merge is needed",
            ),
            (
                "dataFrom: [{extract: {key: k}, rewrite: [{regexp: {source: '['}}]}]".to_owned(),
                "spec.dataFrom[0].rewrite[0].regexp.source: error parsing regexp: missing closing ]: `[` \
                 (character 1)",
            ),
            (
                "dataFrom: [{extract: {key: k}, rewrite: [{merge: {strategy: JSON}}]}]".to_owned(),
                "spec.dataFrom[0].rewrite[0].merge.into: is needed with strategy JSON",
            ),
            (
                format!("{data}\ntarget: {{template: {{type: bootstrap.kubernetes.io/token}}}}"),
                "spec.target.template.type: Secrets of type bootstrap.kubernetes.io/token are not made",
            ),
            (
                format!(
                    "{data}\ntarget: {{template: {{type: kubernetes.io/service-account-token, metadata: \
                 {{annotations: {{kubernetes.io/service-account.name: x}}}}}}}}"
                ),
                "spec.target.template.type: Secrets of type kubernetes.io/service-account-token are not made",
            ),
            (
                format!("{data}\ntarget: {{template: {{engineVersion: v1}}}}"),
                "spec.target.template.engineVersion: only v2 exists",
            ),
            (
                format!(
                    "{data}\ntarget: {{template: {{templateFrom: [{{literal: x, target: \
                 metadata.ownerReferences}}, {{literal: x, target: labels}}]}}}}"
                ),
                "spec.target.template.templateFrom[0].target: expected Data, Annotations or Labels",
            ),
        ] {
            assert_eq!(complaints_about(&spec), expected, "{spec}");
        }
    }
}
