//! OpenPGP: data keys wrapped to the certificates that GnuPG has, and unwrapped with exported secret
//! keys or by whatever does the private-key operation elsewhere.
//!
//! Nothing here starts a process, reads a file or asks anybody: keyrings come from a [`Finder`],
//! passphrases from a [`Prompt`], and what an agent holds is used through [`Decrypts`].

mod armour;
mod certificates;
mod description;
mod elgamal;
mod keybox;
mod keygrip;
mod message;
mod remote;
mod seal;
mod secret_keys;

use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::packet::{Key, key};

pub use certificates::{Certificates, ChoiceError, RING_LIMIT};
pub use keygrip::sha1;
use message::Message;
pub use message::MessageError;
pub use remote::{Ciphertext, Decrypts, Recipient, open, recipients};
use secret_keys::Local;
pub use secret_keys::{KEY_FILE_LIMIT, SecretKeys};

use super::{Answer, KeyError, KeyKind, KeyService, Prompt, one_line};
use crate::edge::Clock;
use crate::metadata::MasterKey;
use crate::secret::KeyPart;

/// How OpenPGP keys are named (spec section 6.3).
pub const KIND: KeyKind = KeyKind { name: "pgp", id_field: "fp", rule: "pgp", flag: "pgp", env: "SOPS_PGP_FP", check };

/// Finds keys. Asked only when there is something to wrap or to unwrap.
pub trait Finder: Send + Sync {
    /// Returns the certificates that may be encrypted to.
    fn certificates(&self) -> Arc<Certificates>;

    /// Returns the secret keys that are at hand as they are.
    fn secret_keys(&self) -> Arc<SecretKeys>;
}

/// Says what does not stop anything, and should be known.
pub type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// The key service for OpenPGP keys that are at hand.
pub struct Pgp {
    finder: Box<dyn Finder>,
    clock: Box<dyn Clock>,
    prompt: Option<Box<dyn Prompt>>,
    warn: Option<Warn>,
}

/// Keys in memory.
impl Finder for (Arc<Certificates>, Arc<SecretKeys>) {
    fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.0)
    }

    fn secret_keys(&self) -> Arc<SecretKeys> {
        Arc::clone(&self.1)
    }
}

impl<F: Finder> Finder for Arc<F> {
    fn certificates(&self) -> Arc<Certificates> {
        (**self).certificates()
    }

    fn secret_keys(&self) -> Arc<SecretKeys> {
        (**self).secret_keys()
    }
}

impl Pgp {
    /// A key service that works with what `finder` finds and asks nobody. `clock` decides what has
    /// expired.
    pub fn new(finder: impl Finder + 'static, clock: impl Clock + 'static) -> Self {
        Self { finder: Box::new(finder), clock: Box::new(clock), prompt: None, warn: None }
    }

    /// Has passphrases asked for by `prompt`.
    #[must_use]
    pub fn with_prompt(mut self, prompt: impl Prompt + 'static) -> Self {
        self.prompt = Some(Box::new(prompt));
        self
    }

    /// Has `warn` told of keys that are used although they are weak.
    #[must_use]
    pub fn with_warnings(mut self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.warn = Some(Box::new(warn));
        self
    }

    fn wrap_now(&self, name: &str, part: &KeyPart) -> Result<String, String> {
        let failed = |it: &dyn std::fmt::Display| format!("could not encrypt data key with PGP key: {it}");
        let certificates = self.finder.certificates();
        let choice = certificates.choose(name, self.now()?).map_err(|it| match it {
            ChoiceError::Missing(_) => failed(&it) + &certificates.remarks(),
            it => failed(&it),
        })?;
        if let (Some(warn), Some(warning)) = (&self.warn, &choice.warning) {
            warn(warning);
        }
        seal::seal(&choice.key, part.expose()).map_err(|it| failed(&one_line(&it)))
    }

    fn unwrap_now(&self, enc: &str) -> Result<KeyPart, String> {
        let keys = self.finder.secret_keys();
        let local = Local { keys: &keys, prompt: self.prompt.as_deref() };
        let key = Message::parse(enc).and_then(|it| it.open(&local)).map_err(|it| {
            let remarks = if matches!(it, MessageError::NoKey(_)) { keys.remarks() } else { String::new() };
            format!("could not decrypt data key with PGP key: {it}{remarks}")
        })?;
        let wrong = || format!("the data key is {} bytes long, which no file is encrypted with", key.len());
        KeyPart::from_bytes(&key).ok_or_else(wrong)
    }

    fn now(&self) -> Result<SystemTime, String> {
        let now = self.clock.now();
        let now: jiff::Timestamp = now.as_str().parse().map_err(|_| format!("{now} is no time"))?;
        Ok(now.into())
    }
}

impl KeyService for Pgp {
    fn name(&self) -> &str {
        "pgp"
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String> {
        Box::pin(async move {
            (key.kind == KIND.name).then(|| self.wrap_now(key.field(KIND.id_field), part).map_err(KeyError))
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        Box::pin(async move {
            let enc = key.enc.as_deref().unwrap_or_default();
            (key.kind == KIND.name).then(|| self.unwrap_now(enc).map_err(KeyError))
        })
    }
}

/// Takes whatever GnuPG may know a key by; spaces do not count.
fn check(name: &str) -> Result<String, String> {
    let name: String = name.chars().filter(|it| *it != ' ').collect();
    if name.is_empty() { Err("an entry of `pgp` is empty".to_owned()) } else { Ok(name) }
}

/// The public half of a key that messages are encrypted to.
#[derive(Clone)]
pub struct PublicKey(Key<key::PublicParts, key::UnspecifiedRole>);

impl PublicKey {
    /// Returns the long key id: 16 hexadecimal digits in upper case.
    pub fn id(&self) -> String {
        self.0.keyid().to_hex()
    }

    /// Returns the fingerprint: 40 hexadecimal digits in upper case.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    /// Returns the name that GnuPG's agent has for the key, or `None` if it has none for such keys.
    pub fn keygrip(&self) -> Option<[u8; 20]> {
        keygrip::keygrip(self.0.mpis())
    }
}

#[cfg(test)]
mod tests;
