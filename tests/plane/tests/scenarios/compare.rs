//! How what is there is compared with what a scenario wants. Pure.

use regex::Regex;
use serde_json::{Map, Value};

use crate::scenario::{Condition, Expect};

/// Says how an object differs from what is expected, or nothing.
pub(crate) fn difference(want: &Expect, got: Option<&Value>) -> Result<(), String> {
    let Some(got) = got else {
        return if want.absent { Ok(()) } else { Err("it is not there".to_owned()) };
    };
    if want.absent {
        return Err("it is there".to_owned());
    }
    if let Some(data) = &want.data {
        let (want, got) = (Value::Object(data.clone()), decoded(got));
        exact(&want, &Value::Object(got)).map_err(|error| format!("data: {error}"))?;
    }
    if let Some(like) = &want.like {
        contains(like, got, "")?;
    }
    for (pointer, want) in &want.is {
        let found = got.pointer(pointer).unwrap_or(&Value::Null);
        exact(want, found).map_err(|error| format!("{pointer}: {error}"))?;
    }
    for (pointer, want) in &want.differs {
        if got.pointer(pointer).unwrap_or(&Value::Null) == want {
            return Err(format!("{pointer} is still {want}"));
        }
    }
    want.condition.as_ref().map_or(Ok(()), |it| condition(it, got))
}

/// Says what of `want` is not in `got`: maps may have more members, lists must have the same length, `null`
/// stands for nothing, and a text that begins with `~` is a regular expression.
pub(crate) fn contains(want: &Value, got: &Value, place: &str) -> Result<(), String> {
    match (want, got) {
        (Value::Null, Value::Null) => Ok(()),
        (Value::Object(want), Value::Object(got)) => want.iter().try_for_each(|(key, want)| {
            contains(want, got.get(key).unwrap_or(&Value::Null), &format!("{place}/{key}"))
        }),
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => want
            .iter()
            .zip(got)
            .enumerate()
            .try_for_each(|(n, (want, got))| contains(want, got, &format!("{place}/{n}"))),
        (want, got) => scalar(want, got).map_err(|error| format!("{place}: {error}")),
    }
}

/// Says how two values differ; texts of `want` may be regular expressions.
fn exact(want: &Value, got: &Value) -> Result<(), String> {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            if let Some(extra) = got.keys().find(|it| !want.contains_key(*it)) {
                return Err(format!("`{extra}` is there"));
            }
            want.iter().try_for_each(|(key, want)| {
                exact(want, got.get(key).unwrap_or(&Value::Null)).map_err(|error| format!("{key}: {error}"))
            })
        }
        (want, got) => scalar(want, got),
    }
}

fn scalar(want: &Value, got: &Value) -> Result<(), String> {
    let fits = match (want.as_str().and_then(|it| it.strip_prefix('~')), got.as_str()) {
        (Some(pattern), Some(got)) => Regex::new(pattern).map_err(|error| error.to_string())?.is_match(got),
        _ => want == got,
    };
    if fits { Ok(()) } else { Err(format!("want {want}, got {got}")) }
}

/// A Secret's data: texts, and `{base64: …}` of what is none.
pub(crate) fn decoded(secret: &Value) -> Map<String, Value> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(key, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = base64_simd::STANDARD.decode_to_vec(text).expect("the API server spells base64");
        let value = String::from_utf8(bytes).map_or_else(|_| serde_json::json!({"base64": text}), Value::String);
        (key.clone(), value)
    })
    .collect()
}

fn condition(want: &Condition, got: &Value) -> Result<(), String> {
    let all = got.pointer("/status/conditions").and_then(Value::as_array);
    let found = all.into_iter().flatten().filter(|it| it["type"] == *want.kind).collect::<Vec<_>>();
    let fits = |it: &Value| {
        let message = it["message"].as_str().unwrap_or_default();
        it["status"] == *want.status
            && want.reason.as_ref().is_none_or(|want| it["reason"] == **want)
            && want.message.as_ref().is_none_or(|want| message.starts_with(want))
            && want.saying.as_ref().is_none_or(|want| message.contains(want))
    };
    match found.as_slice() {
        [one] if fits(one) => Ok(()),
        _ => Err(format!("want {want:?}, got {found:?}")),
    }
}
