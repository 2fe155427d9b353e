//! What a Secret or ConfigMap holds as one number: taken while the object is read, so that no value is ever copied.

use std::fmt;
use std::hash::{BuildHasher as _, DefaultHasher, Hash, Hasher as _, RandomState};
use std::sync::LazyLock;

use kube::api::ObjectMeta;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::api::dynamic_resource;

/// Makes numbers that mean something in this process only.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A Secret or ConfigMap with digests of what it holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What stands under `data`.
    #[serde(default)]
    pub data: Held,
    /// What stands under `binaryData`.
    #[serde(default)]
    pub binary_data: Held,
}

dynamic_resource!([] Holding);

/// A digest of keys and values; nothing and no key are the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held(pub u64);

/// A digest that holds in this process.
pub fn digest_of(what: impl Hash) -> u64 {
    HASHER.hash_one(what)
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Held;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("keys with values")
    }

    fn visit_unit<E: Error>(self) -> Result<Held, E> {
        Ok(Held::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Held, A::Error> {
        let mut hasher = HASHER.build_hasher();
        let mut is_empty = true;
        while map.next_key_seed(Text(&mut hasher))?.is_some() {
            map.next_value_seed(Text(&mut hasher))?;
            is_empty = false;
        }
        Ok(if is_empty { Held::default() } else { Held(hasher.finish()) })
    }
}

/// Takes in one text.
struct Text<'a>(&'a mut DefaultHasher);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a text")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.visit_str("")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        text.hash(self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_and_nothing_else() {
        let read = |text: &str| {
            let it: Holding = serde_json::from_str(text).expect("it is an object");
            digest_of((it.data.0, it.binary_data.0))
        };
        let plain = read(r#"{"metadata": {"name": "a"}, "data": {"a": "MQ=="}}"#);
        for (text, is_same) in [
            (r#"{"metadata": {"name": "a", "labels": {"b": "c"}}, "data": {"a": "MQ=="}, "type": "Opaque"}"#, true),
            (r#"{"data": {"a": "MQ=="}, "binaryData": {}}"#, true),
            (r#"{"data": {"a": "Mg=="}}"#, false),
            (r#"{"data": {"b": "MQ=="}}"#, false),
            (r#"{"binaryData": {"a": "MQ=="}}"#, false),
            (r#"{"data": {"a": "MQ==", "b": null}}"#, false),
        ] {
            assert_eq!(read(text) == plain, is_same, "{text}");
        }
        assert_eq!(read("{}"), read(r#"{"data": null, "binaryData": {}}"#));
        let shown =
            format!("{:?}", serde_json::from_str::<Holding>(r#"{"data": {"key": "c2VjcmV0"}}"#).expect("it is one"));
        assert!(!shown.contains("c2VjcmV0"), "{shown}");
    }
}
