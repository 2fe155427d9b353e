//! The JSON that `recipients` prints; `docs/recipients.md` says what stands in it.

use leafseal::format::{self, Layout};
use leafseal::metadata::MasterKey;
use leafseal::tree::{Entry, Wire};
use leafseal::value::Value;

use crate::error::Failure;
use crate::names::Names;
use crate::session::Mode;
use crate::ui;

/// The version of the layout. It grows when something that was there changes its meaning or goes.
const VERSION: usize = 1;

pub(super) fn object<const N: usize>(entries: [(&str, Wire); N]) -> Wire {
    Wire::Map(entries.into_iter().map(|(name, it)| Entry::Pair(name.to_owned(), it)).collect())
}

pub(super) fn list(items: impl IntoIterator<Item = Wire>) -> Wire {
    Wire::List(items.into_iter().collect())
}

pub(super) fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Wire {
    list(items.into_iter().map(|it| Wire::text(it.as_ref())))
}

pub(super) fn number(it: usize) -> Wire {
    Wire::Leaf(Value::Int(i64::try_from(it).unwrap_or(i64::MAX)))
}

pub(super) fn truth(it: bool) -> Wire {
    Wire::Leaf(Value::Bool(it))
}

/// A text, or `null`.
pub(super) fn maybe(it: Option<&str>) -> Wire {
    it.map_or(Wire::Leaf(Value::Null), Wire::text)
}

/// What identifies a key, and its names; then what else there is to say about it.
pub(super) fn key<const N: usize>(names: &Names, key: &MasterKey, more: [(&str, Wire); N]) -> Wire {
    let mut entries = vec![
        Entry::Pair("kind".to_owned(), Wire::text(&key.kind)),
        Entry::Pair("id".to_owned(), Wire::text(&key.id())),
        Entry::Pair("names".to_owned(), texts(names.of(key))),
    ];
    entries.extend(more.into_iter().map(|(name, it)| Entry::Pair(name.to_owned(), it)));
    Wire::Map(entries)
}

/// What could not be looked at or changed.
pub(super) fn failures<'f>(failures: impl IntoIterator<Item = &'f Failure>) -> Wire {
    list(
        failures
            .into_iter()
            .map(|it| object([("place", maybe(it.place())), ("reason", Wire::text(it.reason(Mode::Leafseal)))])),
    )
}

/// Prints a whole answer.
///
/// # Errors
///
/// If stdout cannot be written.
pub(super) fn print<const N: usize>(entries: [(&str, Wire); N]) -> Result<(), Failure> {
    let Wire::Map(entries) = object(entries) else { unreachable!("an object is a mapping") };
    let version = Entry::Pair("version".to_owned(), number(VERSION));
    let answer = Wire::Map(std::iter::once(version).chain(entries).collect());
    let json = format::named("json").expect("JSON is one of the formats");
    let layout = Layout { indent: Some(2) };
    let text = json.print(&[answer], &layout).expect("JSON has a way to say objects, lists, texts and numbers");
    ui::out(text.as_bytes())
}
