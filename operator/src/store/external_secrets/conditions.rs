//! Which namespaces may read from a ClusterSecretStore (spec section 2.10).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use leafseal::pattern::Pattern;

use super::opening::{Failure, Opening};
use crate::api::external_secrets::{SecretStoreSpec, StoreCondition};
use crate::digest::Labels;

/// Refuses a reader whose namespace fits none of the conditions. Without conditions all may read.
///
/// # Errors
///
/// If it is refused, or a condition cannot be understood.
pub(super) async fn check(opening: &mut Opening<'_>, spec: &SecretStoreSpec) -> Result<(), Failure> {
    let (store, reader) = (&opening.store.name, &opening.store.reader);
    if spec.conditions.is_empty() {
        return Ok(());
    }
    let labels = match spec.conditions.iter().any(|it| it.namespace_selector.is_some()) {
        true => {
            opening.note("Namespace", "", reader);
            opening.cluster.namespace(reader).await?
        }
        false => None,
    };
    for (n, condition) in spec.conditions.iter().enumerate() {
        let place = |it| Failure::settled(format!("spec.conditions[{n}]: {it}"));
        if fits(condition, reader, labels.as_ref()).map_err(place)? {
            return Ok(());
        }
    }
    let denied =
        format!("using cluster store {store:?} is not allowed from namespace {reader:?}: denied by spec.condition");
    Err(denied.into())
}

fn fits(condition: &StoreCondition, namespace: &str, labels: Option<&Labels>) -> Result<bool, String> {
    if let (Some(selector), Some(labels)) = (&condition.namespace_selector, labels)
        && selects(selector, labels)?
    {
        return Ok(true);
    }
    if condition.namespaces.iter().any(|it| it == namespace) {
        return Ok(true);
    }
    for pattern in &condition.namespace_regexes {
        if Pattern::new(pattern).map_err(|it| format!("namespaceRegexes: {it}"))?.is_match(namespace) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As Kubernetes selects by labels: all requirements have to fit, and none fits everything.
///
/// # Errors
///
/// If a requirement cannot be understood.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> Result<bool, String> {
    let mut pairs = selector.match_labels.iter().flatten();
    let named = pairs.all(|(key, value)| labels.get(key) == Some(value));
    for requirement in selector.match_expressions.iter().flatten() {
        if !requires(requirement, labels)? {
            return Ok(false);
        }
    }
    Ok(named)
}

fn requires(requirement: &LabelSelectorRequirement, labels: &Labels) -> Result<bool, String> {
    let is_in = |value: &String| requirement.values.iter().flatten().any(|it| it == value);
    let there = labels.get(&requirement.key);
    match requirement.operator.as_str() {
        "In" => Ok(there.is_some_and(is_in)),
        "NotIn" => Ok(!there.is_some_and(is_in)),
        "Exists" => Ok(there.is_some()),
        "DoesNotExist" => Ok(there.is_none()),
        _ => Err("namespaceSelector: expected the operator In, NotIn, Exists or DoesNotExist".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_fit_conditions() {
        let labels = Labels::from([("team".to_owned(), "blue".to_owned())]);
        for (condition, expected) in [
            ("{}", Ok(false)),
            ("namespaces: [apps]", Ok(true)),
            ("namespaces: [app]", Ok(false)),
            ("namespaceRegexes: [^a]", Ok(true)),
            ("namespaceRegexes: [pp]", Ok(true)),
            ("namespaceRegexes: [^b, s$]", Ok(true)),
            ("namespaceRegexes: [^b]", Ok(false)),
            ("namespaceSelector: {}", Ok(true)),
            ("namespaceSelector: {matchLabels: {team: blue}}", Ok(true)),
            ("namespaceSelector: {matchLabels: {team: red}}", Ok(false)),
            ("{namespaceSelector: {matchLabels: {team: red}}, namespaces: [apps]}", Ok(true)),
            ("namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [red, blue]}]}", Ok(true)),
            ("namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [blue]}]}", Ok(false)),
            ("namespaceSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [blue]}]}", Ok(true)),
            ("namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}", Ok(true)),
            ("namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}", Ok(false)),
            ("namespaceSelector: {matchExpressions: [{key: team, operator: Like}]}", Err(())),
            ("namespaceRegexes: ['(']", Err(())),
        ] {
            let read: StoreCondition = serde_yaml::from_str(condition).expect("this is a condition");
            assert_eq!(fits(&read, "apps", Some(&labels)).map_err(drop), expected, "{condition}");
        }
    }
}
