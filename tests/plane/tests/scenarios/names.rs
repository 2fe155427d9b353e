//! What stands for something else in a scenario: `$NS`, `$SHA1(…)`, `$SHA3(…)`, and values that were kept.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;
use sha1::Sha1;
use sha3::{Digest, Sha3_224};

static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{([A-Z][A-Z0-9_]*)\}|\$([A-Z][A-Z0-9_]*)").expect("this is an expression"));
static HASH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$(SHA1|SHA3)\(([^)]*)\)").expect("this is an expression"));

/// What names stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Value>);

impl Names {
    /// Gives `name` a meaning, or another one.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// What a name stands for, as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Puts what names stand for in their places; a text that is nothing but a name becomes the value.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => self.resolve_text(text)?,
            Value::Array(list) => Value::Array(list.iter().map(|it| self.resolve(it)).collect::<Result<_, _>>()?),
            Value::Object(map) => {
                let members = map.iter().map(|(key, value)| {
                    let key = self.resolve_text(key)?;
                    Ok((key.as_str().unwrap_or_default().to_owned(), self.resolve(value)?))
                });
                Value::Object(members.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    fn resolve_text(&self, text: &str) -> Result<Value, String> {
        if !text.contains('$') {
            return Ok(Value::String(text.to_owned()));
        }
        if let Some(name) =
            text.strip_prefix('$').filter(|it| NAME.find(text).is_some_and(|all| all.len() == it.len() + 1))
            && let Some(value) = self.0.get(name.trim_matches(['{', '}']))
        {
            return Ok(value.clone());
        }
        let mut unknown = None;
        let text = NAME.replace_all(text, |found: &Captures<'_>| {
            let name = found.get(1).or_else(|| found.get(2)).map(|it| it.as_str()).unwrap_or_default();
            match self.0.get(name) {
                Some(Value::String(it)) => it.clone(),
                Some(it) => it.to_string(),
                None if name == "SHA1" || name == "SHA3" => found[0].to_owned(),
                None => {
                    unknown = Some(name.to_owned());
                    String::new()
                }
            }
        });
        if let Some(name) = unknown {
            return Err(format!("nothing is called ${name}"));
        }
        let text = HASH.replace_all(&text, |found: &Captures<'_>| {
            let hash = match &found[1] {
                "SHA1" => Sha1::digest(&found[2]).to_vec(),
                _ => Sha3_224::digest(&found[2]).to_vec(),
            };
            hash.iter().map(|it| format!("{it:02x}")).collect::<String>()
        });
        Ok(Value::String(text.into_owned()))
    }
}

/// Lays `over` on `base`: maps are merged, everything else is replaced; `null` takes a member away.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over,
    }
}
