//! Structure in no format: metadata, values to be set, and everything that changes format.

use crate::secret::SecretText;
use crate::value::Value;

/// Structured data in no particular format, comments included.
#[derive(Clone, Debug, PartialEq)]
pub enum Wire {
    /// A mapping, in order.
    Map(Vec<Entry>),
    /// A list. A comment in it is a [`Wire::Leaf`] of [`Value::Comment`].
    List(Vec<Wire>),
    /// A scalar.
    Leaf(Value),
}

/// What a mapping is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A key and its value.
    Pair(String, Wire),
    /// A comment of its own line, without the comment sign.
    Comment(SecretText),
}

impl Wire {
    /// Makes a string.
    pub fn text(text: &str) -> Self {
        Self::Leaf(Value::str(text))
    }

    /// Returns the pairs of a mapping; none for anything else.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &Wire)> {
        let entries = match self {
            Self::Map(entries) => entries.as_slice(),
            Self::List(_) | Self::Leaf(_) => &[],
        };
        entries.iter().filter_map(|entry| match entry {
            Entry::Pair(key, value) => Some((key.as_str(), value)),
            Entry::Comment(_) => None,
        })
    }

    /// Returns the items of a list, comments left out; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = &Wire> {
        let items = match self {
            Self::List(items) => items.as_slice(),
            Self::Map(_) | Self::Leaf(_) => &[],
        };
        items.iter().filter(|it| !matches!(it, Self::Leaf(Value::Comment(_))))
    }

    /// Returns the value of `key` in a mapping.
    pub fn get(&self, key: &str) -> Option<&Wire> {
        self.pairs().find(|(it, _)| *it == key).map(|(_, it)| it)
    }

    /// Returns the text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Leaf(Value::Str(it)) => it.expose_str(),
            _ => None,
        }
    }
}
