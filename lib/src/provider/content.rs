//! What one secret of a store holds, and how a part of it is picked.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};

use super::go_json::{self, Html};
use crate::secret::SecretText;

/// One whole secret, as its store holds it.
#[derive(Clone, Debug)]
pub enum Content {
    /// A JSON object (Vault, SOPS): picked from by the exact name of a member, then by a gjson path.
    Object(Object),
    /// Bytes under keys (a Secret of a cluster): picked from by key, then `key.path` into JSON there.
    Fields(BTreeMap<String, SecretText>),
    /// One text (a fake store): picked from by a gjson path.
    Text(SecretText),
}

/// A JSON object of a store, with what the store tells about it.
#[derive(Clone)]
pub struct Object {
    /// The object itself: the exact text that the store sent, numbers as they were spelt.
    pub data: SecretText,
    /// What the store keeps beside it (KV version 2: `metadata`), as text of a JSON object.
    pub metadata: Option<Box<RawValue>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(..)")
    }
}

/// Why a part of a secret cannot be picked. Never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// There is no such part.
    #[error("cannot find secret data for key: {0:?}")]
    NoProperty(String),
    /// There is no such part, and the store means by that that there is no such secret.
    #[error("Secret does not exist")]
    Missing,
    /// Members are wanted of something that has none.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// The text is not the JSON that it should be.
    #[error("the value is not JSON that can be read")]
    NotJson,
}

impl SelectError {
    /// True if this counts as "no such secret".
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl Content {
    /// The value that External Secrets takes for one key: the whole secret, or the part of it that
    /// `property` names (spec section 3.5, "GetSecret"; for clusters and fake stores 3.6).
    ///
    /// An empty property is none.
    ///
    /// # Errors
    ///
    /// If there is no such part, or what should be JSON is none.
    pub fn value(&self, property: Option<&str>) -> Result<SecretText, SelectError> {
        let property = property.filter(|it| !it.is_empty());
        match (self, property) {
            (Self::Object(object), None) => Ok(secret(object.print()?)),
            (Self::Object(object), Some(property)) => object.part(property),
            (Self::Fields(fields), None) => {
                let fields = fields.iter().map(|(key, value)| (key.as_str(), value.expose()));
                Ok(secret(go_json::print_texts(fields, Html::Plain)))
            }
            (Self::Fields(fields), Some(property)) => {
                if let Some(value) = fields.get(property) {
                    return Ok(value.clone());
                }
                let (key, path) = property.split_once('.').ok_or_else(|| no_property(property))?;
                let value = fields.get(key).ok_or_else(|| no_property(property))?;
                picked(value.expose_str().unwrap_or_default(), path).ok_or_else(|| no_property(property))
            }
            (Self::Text(text), None) => Ok(text.clone()),
            (Self::Text(text), Some(property)) => {
                picked(text.expose_str().unwrap_or_default(), property).ok_or(SelectError::Missing)
            }
        }
    }

    /// The members of the whole secret, or of the part of it that `property` names (spec section 3.5,
    /// "GetSecretMap"). That part may be an object or a string that holds one. Numbers stay as they
    /// are spelt, where the original rounds them.
    ///
    /// # Errors
    ///
    /// If there is no such part, or it is no JSON object.
    pub fn fields(&self, property: Option<&str>) -> Result<BTreeMap<String, SecretText>, SelectError> {
        let property = property.filter(|it| !it.is_empty());
        match (self, property) {
            (Self::Object(object), None) => members(object.text()?),
            (Self::Fields(fields), None) => Ok(fields.clone()),
            _ => members(self.value(property)?.expose_str().ok_or(SelectError::NotJson)?),
        }
    }
}

impl Object {
    /// The object as Go writes it: compact, keys in order, `<`, `>` and `&` escaped.
    ///
    /// # Errors
    ///
    /// If it is no JSON that can be read.
    pub fn print(&self) -> Result<String, SelectError> {
        print(self.text()?)
    }

    /// What Vault Secrets keeps as `_raw`: the whole `data` of Vault's answer as Go writes it (spec
    /// section A.4.5). That is `{"data":…,"metadata":…}` where the store keeps metadata beside the
    /// secret (KV version 2), else the object itself.
    ///
    /// # Errors
    ///
    /// If it is no JSON that can be read.
    pub fn raw(&self) -> Result<SecretText, SelectError> {
        let mut data = self.print()?;
        let Some(metadata) = &self.metadata else { return Ok(secret(data)) };
        let metadata = print(metadata.get())?;
        let mut whole = String::with_capacity(data.len() + metadata.len() + 22);
        for part in [r#"{"data":"#, &data, r#","metadata":"#, &metadata, "}"] {
            whole.push_str(part);
        }
        data.zeroize();
        Ok(secret(whole))
    }

    fn text(&self) -> Result<&str, SelectError> {
        self.data.expose_str().ok_or(SelectError::NotJson)
    }

    fn part(&self, property: &str) -> Result<SecretText, SelectError> {
        let exact = |members: &BTreeMap<String, &RawValue>, name: &str| members.get(name).map(|it| plain(it));
        let top = raw_members(self.text()?)?;
        if let Some(value) = exact(&top, property) {
            return value;
        }
        let whole = Zeroizing::new(self.print()?);
        if let Some(value) = picked(&whole, property) {
            return Ok(value);
        }
        // `labels.app.kubernetes.io/name`: the rest is a name and not a path.
        let inner = property.split_once('.').and_then(|(head, rest)| {
            let members = raw_members(top.get(head)?.get()).ok()?;
            exact(&members, rest)
        });
        inner.unwrap_or_else(|| Err(no_property(property)))
    }
}

fn no_property(property: &str) -> SelectError {
    SelectError::NoProperty(property.to_owned())
}

fn secret(text: String) -> SecretText {
    SecretText::new(text)
}

fn print(json: &str) -> Result<String, SelectError> {
    let raw: &RawValue = serde_json::from_str(json).map_err(|_| SelectError::NotJson)?;
    go_json::print(raw).map_err(|_| SelectError::NotJson)
}

fn raw_members(json: &str) -> Result<BTreeMap<String, &RawValue>, SelectError> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<&RawValue>(json) {
            Ok(_) => SelectError::NotAnObject,
            Err(_) => SelectError::NotJson,
        });
    }
    serde_json::from_str(json).map_err(|_| SelectError::NotJson)
}

fn members(json: &str) -> Result<BTreeMap<String, SecretText>, SelectError> {
    raw_members(json)?.into_iter().map(|(key, value)| Ok((key, plain(value)?))).collect()
}

/// A JSON value as the bytes of a Secret: strings as they are, null as nothing, numbers as they are
/// spelt, the rest as Go writes it.
fn plain(value: &RawValue) -> Result<SecretText, SelectError> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(value.get()).map(secret).map_err(|_| SelectError::NotJson),
        Some(b'n') => Ok(SecretText::default()),
        Some(b'{' | b'[') => print(value.get()).map(secret),
        _ => Ok(SecretText::from(value.get())),
    }
}

/// What a gjson path finds, as gjson's own `String()` says it; `None` if it finds nothing.
fn picked(json: &str, path: &str) -> Option<SecretText> {
    let found = gjson::get(json, path);
    if !found.exists() {
        return None;
    }
    Some(match found.kind() {
        gjson::Kind::Number => SecretText::new(number(found.json())),
        _ => SecretText::from(found.str()),
    })
}

/// Integers as they are spelt, other numbers without an exponent (gjson: `Result.String`).
fn number(spelt: &str) -> String {
    if spelt.strip_prefix('-').unwrap_or(spelt).bytes().all(|it| it.is_ascii_digit()) {
        return spelt.to_owned();
    }
    match spelt.parse::<f64>() {
        Ok(it) if it.is_finite() => it.to_string(),
        Ok(it) if it > 0.0 => "+Inf".to_owned(),
        Ok(_) => "-Inf".to_owned(),
        Err(_) => "0".to_owned(),
    }
}
