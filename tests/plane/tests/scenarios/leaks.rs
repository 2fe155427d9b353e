//! No secret value appears in conditions, events, logs or metrics: looked at after every scenario.

use std::collections::BTreeSet;

use serde_json::Value;

/// Shorter values stand in too many words by chance.
const SHORTEST: usize = 5;

/// Values that a scenario gave to Vault or had from it.
#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Remembers the texts in what is written at a path of Vault. How Vault itself is set up is no secret.
    pub(crate) fn remember_written(&mut self, path: &str, body: &Value) {
        // In a namespace of OpenBao they stand below its name.
        let is_setting = |it: &str| path.starts_with(it) || path.contains(&format!("/{it}"));
        if !["sys/", "auth/"].into_iter().any(is_setting) && !path.contains("/metadata/") {
            self.remember(body.get("data").unwrap_or(body));
        }
    }

    /// Remembers every text in a value.
    pub(crate) fn remember(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.len() >= SHORTEST => drop(self.0.insert(text.clone())),
            Value::Number(number) if number.to_string().len() >= SHORTEST => drop(self.0.insert(number.to_string())),
            Value::Array(list) => list.iter().for_each(|it| self.remember(it)),
            Value::Object(map) => map.values().for_each(|it| self.remember(it)),
            _ => (),
        }
    }

    /// Fails with where a value stands in `text`, plainly or as base64, and not with the value.
    pub(crate) fn check(&self, place: &str, text: &str) -> Result<(), String> {
        for secret in &self.0 {
            let spelt = [secret.clone(), base64_simd::STANDARD.encode_to_string(secret)];
            for spelling in spelt {
                if let Some(at) = text.find(spelling.trim_end_matches('=')) {
                    let line = text[..at].lines().count();
                    let hidden = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().replace(&spelling, "▮▮▮");
                    return Err(format!(
                        "a secret value stands in {place}: {}",
                        hidden.chars().take(400).collect::<String>()
                    ));
                }
            }
        }
        Ok(())
    }
}
