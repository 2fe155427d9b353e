//! What a template renders as keys and values: one YAML mapping, taken for texts.

use std::collections::BTreeMap;

use super::exec::Budget;
use super::functions::Fault;
use super::print;
use super::value::Value;
use super::yaml;
use crate::secret::SecretText;

/// Why a rendered text is no mapping of texts. Never holds the text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyValuesError {
    /// It is not YAML, or not a mapping.
    #[error("the rendered text is not a YAML mapping")]
    NotAMapping,
    /// A value is a list or a mapping.
    #[error("the value of {0:?} in the rendered text is a list or a mapping, not a text")]
    Nested(String),
    /// It is larger or deeper than what is read.
    #[error("the rendered text is too large or nested too deep")]
    TooLarge,
}

/// Reads a rendered mapping as Kubernetes' YAML library reads one into `map[string]string`: numbers and
/// truths as they mean (`1.50` is `1.5`, `yes` is `true`, `0755` is `493`), nothing for null, the last of
/// several values of one key (spec external-secrets 2.14).
///
/// # Errors
///
/// See [`KeyValuesError`].
pub fn parse_key_values(text: &[u8]) -> Result<BTreeMap<String, SecretText>, KeyValuesError> {
    let mut budget = Budget::new();
    let read = yaml::read(text, &mut budget).map_err(|_| KeyValuesError::TooLarge)?;
    let Ok(Value::Map(map)) = read else { return Err(KeyValuesError::NotAMapping) };
    let mut texts = BTreeMap::new();
    for (key, value) in map.items.borrow().iter() {
        let key = key.lossy().into_owned();
        let text = match value {
            Value::Nil | Value::Missing => SecretText::default(),
            Value::List(_) | Value::Map(_) => return Err(KeyValuesError::Nested(key)),
            // Kubernetes spells floats as if they had 32 bits.
            Value::Float(f) => {
                let short = format!("{:e}", *f as f32).parse().unwrap_or(*f);
                SecretText::from(print::spell_float(short, 'g', None).as_str())
            }
            other => match print::print(other) {
                Ok(text) => SecretText::new(&*text),
                Err(Fault::Message(_) | Fault::Exhausted(_) | Fault::Break | Fault::Continue) => {
                    return Err(KeyValuesError::TooLarge);
                }
            },
        };
        texts.insert(key, text);
    }
    Ok(texts)
}
