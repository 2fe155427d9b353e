//! Keys that are rewritten before anything else is done with them (spec section 2.6).

use std::collections::{BTreeMap, BTreeSet};

use leafseal::pattern::Pattern;
use leafseal::provider::{Content, Object, go_json};
use leafseal::secret::SecretText;
use leafseal::template::{Dialect, EXTERNAL_SECRETS, Input, Missing, Set, Surroundings};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::api::external_secrets::{
    ConflictPolicy, MergeStrategy, PriorityPolicy, Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform,
};

/// The language of `transform`: that of templates, where a missing key is no error.
pub(super) static DIALECT: Dialect = Dialect { functions: EXTERNAL_SECRETS.functions, missing: Missing::NoValue };

type Values = BTreeMap<String, SecretText>;

/// The values after `step`. Of keys that become one, the value of the last in order stays.
///
/// # Errors
///
/// Names keys, never values.
pub(super) fn rewrite(found: Values, step: &Rewrite, surroundings: &mut Surroundings<'_>) -> Result<Values, String> {
    match step {
        Rewrite { regexp: Some(it), .. } => replace(found, it),
        Rewrite { transform: Some(it), .. } => transform(found, it, surroundings),
        Rewrite { merge: Some(it), .. } => merge(found, it),
        _ => Ok(found),
    }
}

fn replace(found: Values, step: &RewriteRegexp) -> Result<Values, String> {
    let pattern = Pattern::new(&step.source).map_err(|it| it.to_string())?;
    Ok(found.into_iter().map(|(key, value)| (pattern.replace_all(&key, &step.target), value)).collect())
}

fn transform(found: Values, step: &RewriteTransform, surroundings: &mut Surroundings<'_>) -> Result<Values, String> {
    let mut set = Set::new(&DIALECT);
    set.add("transform", &step.template).map_err(|it| it.to_string())?;
    let mut renamed = Values::new();
    for (key, value) in found {
        let input = BTreeMap::from([("value".to_owned(), SecretText::from(key.as_str()))]);
        let made =
            set.execute("transform", Input::Texts(&input), surroundings).map_err(|it| format!("{it} (key {key:?})"))?;
        let made = made.expose_str().ok_or_else(|| format!("the template makes no text of the key {key:?}"))?;
        renamed.insert(made.to_owned(), value);
    }
    Ok(renamed)
}

fn merge(mut found: Values, step: &RewriteMerge) -> Result<Values, String> {
    let order = order(&found, step)?;
    let mut merged = Values::new();
    let mut conflicts = BTreeSet::new();
    for key in &order {
        for (member, value) in members(key, &found[key], step.strategy)? {
            if merged.insert(member.clone(), value).is_some() {
                conflicts.insert(member);
            }
        }
    }
    if step.conflict_policy == ConflictPolicy::Error && !conflicts.is_empty() {
        let names: Vec<&str> = conflicts.iter().map(String::as_str).collect();
        return Err(format!("merge failed with conflicts: {}", names.join(", ")));
    }
    match step.strategy {
        MergeStrategy::Extract => Ok(merged),
        MergeStrategy::Json => {
            found.insert(step.into.clone(), object(&merged)?);
            Ok(found)
        }
    }
}

/// In which order the keys are merged: what wins comes last.
fn order(found: &Values, step: &RewriteMerge) -> Result<Vec<String>, String> {
    let missing = step.priority.iter().find(|it| !found.contains_key(*it));
    if let (Some(key), PriorityPolicy::Strict) = (missing, step.priority_policy) {
        return Err(format!("merge failed: the key {key:?} of priority is not there"));
    }
    let first = found.keys().filter(|it| !step.priority.contains(it));
    let last = step.priority.iter().filter(|it| found.contains_key(*it));
    Ok(first.chain(last).cloned().collect())
}

/// The members of an object: as values of keys, or as they are spelt in JSON.
fn members(key: &str, value: &SecretText, strategy: MergeStrategy) -> Result<Values, String> {
    let no_object = || format!("merge failed: the value of {key:?} is no JSON object");
    match strategy {
        MergeStrategy::Extract => {
            let content = Content::Object(Object { data: value.clone(), metadata: None });
            content.fields(None).map_err(|_| no_object())
        }
        MergeStrategy::Json => {
            let members: BTreeMap<String, &RawValue> =
                value.expose_str().and_then(|it| serde_json::from_str(it).ok()).ok_or_else(no_object)?;
            Ok(members.into_iter().map(|(name, json)| (name, SecretText::from(json.get()))).collect())
        }
    }
}

/// An object of members that are spelt in JSON.
fn object(members: &Values) -> Result<SecretText, String> {
    let not_text = "merge failed: the merged object is nested too deep".to_owned();
    let parts: BTreeMap<&str, &RawValue> = members
        .iter()
        .filter_map(|(name, json)| Some((name.as_str(), serde_json::from_str(json.expose_str()?).ok()?)))
        .collect();
    let text = Zeroizing::new(serde_json::to_string(&parts).map_err(|_| not_text.clone())?);
    let raw: &RawValue = serde_json::from_str(&text).map_err(|_| not_text.clone())?;
    go_json::print(raw).map(|it| SecretText::new(it.into_bytes())).map_err(|_| not_text)
}

#[cfg(test)]
mod tests {
    use leafseal::edge::Rng;

    use super::*;

    struct Zeros;

    impl Rng for Zeros {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    /// What `step` (YAML) makes of `found`, as `key=value` separated by spaces.
    fn rewritten(found: &[(&str, &str)], step: &str) -> Result<String, String> {
        let found = found.iter().map(|&(key, value)| (key.to_owned(), SecretText::from(value))).collect();
        let step: Rewrite = serde_yaml::from_str(step).expect("this is a step");
        let mut rng = Zeros;
        let after = rewrite(found, &step, &mut Surroundings { now: 0, rng: &mut rng })?;
        let parts = after.iter().map(|(key, value)| format!("{key}={}", value.expose_str().unwrap_or("?")));
        Ok(parts.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn keys_are_rewritten() {
        let two = &[("app/a", "1"), ("app/b", "2")][..];
        let objects = &[("x", r#"{"k":"x","n":1.50,"o":{"b":"<"}}"#), ("y", r#"{"k":"y","z":null}"#)][..];
        for (found, step, expected) in [
            (two, "regexp: {source: 'app/(.*)', target: $1}", Ok("a=1 b=2")),
            (two, "regexp: {source: 'app/(.*)', target: $1x}", Ok("=2")),
            (two, "regexp: {source: 'app/(.*)', target: '${1}x'}", Ok("ax=1 bx=2")),
            (two, "regexp: {source: 'app/(?P<n>.*)', target: '$n-${n}'}", Ok("a-a=1 b-b=2")),
            (two, "regexp: {source: /, target: _}", Ok("app_a=1 app_b=2")),
            (two, "transform: {template: '{{ .value | upper }}'}", Ok("APP/A=1 APP/B=2")),
            (objects, "merge: {}", Err("merge failed with conflicts: k")),
            (objects, "merge: {conflictPolicy: Ignore}", Ok(r#"k=y n=1.50 o={"b":"\u003c"} z="#)),
            (objects, "merge: {conflictPolicy: Ignore, priority: [x]}", Ok(r#"k=x n=1.50 o={"b":"\u003c"} z="#)),
            (objects, "merge: {priority: [w]}", Err("merge failed: the key \"w\" of priority is not there")),
            (
                objects,
                "merge: {conflictPolicy: Ignore, priority: [w], priorityPolicy: IgnoreNotFound}",
                Ok(r#"k=y n=1.50 o={"b":"\u003c"} z="#),
            ),
            (
                &[("x", r#"{"b":1}"#), ("y", r#"{"a":"<"}"#)],
                "merge: {strategy: JSON, into: all}",
                Ok(r#"all={"a":"\u003c","b":1} x={"b":1} y={"a":"<"}"#),
            ),
            (&[("x", "[1]")], "merge: {}", Err("merge failed: the value of \"x\" is no JSON object")),
            (two, "{}", Ok("app/a=1 app/b=2")),
        ] {
            let got = rewritten(found, step);
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{step}");
        }
    }
}
