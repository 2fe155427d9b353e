//! Key services: what can wrap and unwrap a data key. A new one is one file here and one line in
//! [`KINDS`].

pub mod age;
pub mod pgp;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::metadata::MasterKey;
use crate::secret::{KeyPart, SecretText};
use crate::tree::Wire;

/// Every kind of master key that can be named on a command line or in a creation rule.
pub const KINDS: &[&KeyKind] = &[&age::KIND, &pgp::KIND];

/// How people and files name one kind of master key. The command line, the creation rules and the
/// environment are all generated from this.
#[derive(Debug)]
pub struct KeyKind {
    /// The list in the metadata: `age`, `pgp`, `hc_vault`…
    pub name: &'static str,
    /// The entry of the metadata that holds what identifies the key.
    pub id_field: &'static str,
    /// The name in a creation rule (`hc_vault_transit_uri`; mostly the same as `name`).
    pub rule: &'static str,
    /// The command line flag that names such keys, without dashes. `--add-` and `--rm-` go before.
    pub flag: &'static str,
    /// The environment variable that names such keys.
    pub env: &'static str,
    /// Checks what identifies a key before anything is encrypted to it, and returns it as the
    /// metadata stores it. The error says what is wrong, in SOPS's words.
    pub check: fn(&str) -> Result<String, String>,
}

impl KeyKind {
    /// Names a master key, not yet wrapped to.
    ///
    /// # Errors
    ///
    /// If `id` cannot identify a key of this kind.
    pub fn master_key(&self, id: &str) -> Result<MasterKey, String> {
        let id = (self.check)(id)?;
        Ok(MasterKey {
            kind: self.name.to_owned(),
            fields: vec![(self.id_field.to_owned(), Wire::text(&id))],
            enc: None,
        })
    }
}

/// Whom it keeps waiting when a key service is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reach {
    /// Nobody: the keys are at hand.
    Local,
    /// The network.
    Network,
    /// Somebody may have to type a passphrase or touch a device.
    Prompt,
}

/// The result of asking a key service.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Option<Result<T, KeyError>>> + Send + 'a>>;

/// Something that can wrap and unwrap data keys, or parts of them: a local identity, a cloud, another machine.
///
/// Both methods answer:
/// - `None` if the key is not one that this service can do anything with;
/// - `Some(Err(_))` if it should have worked and did not;
/// - `Some(Ok(_))` otherwise.
pub trait KeyService: Send + Sync {
    /// The name to show in reports.
    fn name(&self) -> &str;

    /// Whom an unwrapping may keep waiting.
    fn reach(&self) -> Reach {
        Reach::Local
    }

    /// Wraps `part` to `key`; the answer is the text of the `enc` entry.
    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String>;

    /// Unwraps what is wrapped to `key`.
    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart>;
}

/// Asks a person for passphrases.
pub trait Prompt: Send + Sync {
    /// Shows `what` and returns the answer, or `None` if there is nobody to ask.
    fn passphrase(&self, what: &str) -> Option<SecretText>;

    /// The same for a passphrase that may be remembered from one run to the next: by the name `id`,
    /// which SOPS uses too.
    ///
    /// # Errors
    ///
    /// If whoever was asked does not want to answer.
    fn remembered(&self, what: &str, _id: &str) -> Result<Option<SecretText>, String> {
        Ok(self.passphrase(what))
    }

    /// What is remembered by this name is wrong.
    fn forget(&self, _id: &str) {}
}

/// Why a key service could not do what was asked.
///
/// The text is for people. It never holds key material. Its first line is the reason; each further
/// line is a remark that explains it, such as where was looked for keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyError(pub String);

impl KeyError {
    /// Returns the reason alone.
    pub fn reason(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// Returns what explains it.
    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        self.0.lines().skip(1)
    }
}

impl std::error::Error for KeyError {}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace('\n', ". "))
    }
}

/// What SOPS adds to an error about keys that were looked for, each on a line of its own: what went
/// wrong, and where none were.
fn in_vain<'a>(what: &str, faults: impl Iterator<Item = &'a str>, missing: &[String]) -> String {
    let mut text = String::new();
    let faults: Vec<&str> = faults.collect();
    if !faults.is_empty() {
        text = format!("\nErrors while loading {what}: {}", faults.join("; ").replace('\n', " "));
    }
    match missing {
        [] => (),
        [one] => text += &format!("\nDid not find keys in location '{one}'."),
        [one, two] => text += &format!("\nDid not find keys in locations '{one}' and '{two}'."),
        [most @ .., last] => {
            text += &format!("\nDid not find keys in locations '{}', and '{last}'.", most.join("', '"));
        }
    }
    text
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
