//! age: data keys wrapped to X25519, post-quantum, SSH and plugin recipients.
//!
//! Nothing here starts a process, reads a file or asks anybody: identities come from a [`Finder`],
//! passphrases from a [`Prompt`], plugins from a [`PluginHost`].

mod identity;
mod pq;
mod recipient;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Arc;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::SecretString;
use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

pub use identity::{FILE_LIMIT, Found, Spacing};
use recipient::Recipient;

use super::{Answer, KeyError, KeyKind, KeyService};
use crate::metadata::MasterKey;
use crate::secret::{DataKey, SecretText};

/// How age recipients are named (spec section 6.1).
pub const KIND: KeyKind =
    KeyKind { name: "age", id_field: "recipient", rule: "age", flag: "age", env: "SOPS_AGE_RECIPIENTS", check };

/// The most that the `enc` of one key may hold. SOPS writes one to two thousand bytes.
const ENC_LIMIT: usize = 1 << 16;

/// Finds identities. Asked once for each master key, and only when a data key has to be unwrapped.
pub trait Finder: Send + Sync {
    /// Returns all identities that there are, whether they fit `recipient` or not.
    fn find(&self, recipient: &str) -> Arc<Found>;
}

/// Asks a person for passphrases.
pub trait Prompt: Send + Sync {
    /// Shows `what` and returns the answer, or `None` if there is nobody to ask.
    fn passphrase(&self, what: &str) -> Option<SecretText>;
}

/// Starts age plugins.
pub trait PluginHost: Send + Sync {
    /// Returns what wraps to a recipient of a plugin.
    ///
    /// # Errors
    ///
    /// If there is no such plugin.
    fn recipient(&self, recipient: &age::plugin::Recipient) -> Result<Box<dyn age::Recipient>, String>;

    /// Returns what unwraps with an identity of a plugin.
    ///
    /// # Errors
    ///
    /// If there is no such plugin.
    fn identity(&self, identity: &age::plugin::Identity) -> Result<Box<dyn age::Identity>, String>;
}

/// The key service for age.
pub struct Age {
    finder: Box<dyn Finder>,
    prompt: Option<Box<dyn Prompt>>,
    plugins: Option<Box<dyn PluginHost>>,
}

/// Who may be asked while a data key is unwrapped.
struct Ask<'a> {
    prompt: Option<&'a dyn Prompt>,
    plugins: Option<&'a dyn PluginHost>,
}

impl Finder for Found {
    fn find(&self, _recipient: &str) -> Arc<Found> {
        Arc::new(self.clone())
    }
}

impl<F: Finder> Finder for Arc<F> {
    fn find(&self, recipient: &str) -> Arc<Found> {
        (**self).find(recipient)
    }
}

impl Age {
    /// A key service that unwraps with what `finder` finds, asks nobody and starts nothing.
    pub fn new(finder: impl Finder + 'static) -> Self {
        Self { finder: Box::new(finder), prompt: None, plugins: None }
    }

    /// A key service that unwraps with the identities in `text`, one a line, or several with white
    /// space between them.
    pub fn with_identities(text: &str) -> Self {
        let mut found = Found::default();
        found.read("the given identities", text.as_bytes(), Spacing::Words);
        Self::new(found)
    }

    /// Has passphrases asked for by `prompt`.
    #[must_use]
    pub fn with_prompt(mut self, prompt: impl Prompt + 'static) -> Self {
        self.prompt = Some(Box::new(prompt));
        self
    }

    /// Has plugins started by `plugins`.
    #[must_use]
    pub fn with_plugins(mut self, plugins: impl PluginHost + 'static) -> Self {
        self.plugins = Some(Box::new(plugins));
        self
    }

    fn wrap_now(&self, recipient: &str, data_key: &DataKey) -> Result<String, String> {
        let boxed: Box<dyn age::Recipient> = match Recipient::parse(recipient.trim())? {
            Recipient::X25519(it) => Box::new(it),
            Recipient::Hybrid(it) => it,
            Recipient::Ssh(it) => Box::new(it),
            Recipient::Plugin(it) => match &self.plugins {
                Some(plugins) => plugins.recipient(&it)?,
                None => return Err(format!("the age plugin {} cannot be started here", it.plugin())),
            },
        };
        let seal = || -> Result<Vec<u8>, String> {
            let encryptor = age::Encryptor::with_recipients(std::iter::once(&*boxed)).map_err(|it| one_line(&it))?;
            let mut text = Vec::new();
            let armor = ArmoredWriter::wrap_output(&mut text, Format::AsciiArmor).map_err(|it| one_line(&it))?;
            let mut writer = encryptor.wrap_output(armor).map_err(|it| one_line(&it))?;
            writer.write_all(data_key.expose()).map_err(|it| one_line(&it))?;
            writer.finish().and_then(ArmoredWriter::finish).map_err(|it| one_line(&it))?;
            Ok(text)
        };
        let text = seal().map_err(|it| format!("failed to encrypt sops data key with age: {it}"))?;
        // SOPS ends lines with LF everywhere, the armour of age as the platform does.
        Ok(String::from_utf8(text).expect("armour is ASCII").replace('\r', ""))
    }

    fn unwrap_now(&self, recipient: &str, enc: &str) -> Result<DataKey, String> {
        let found = self.finder.find(recipient);
        let ask = Ask { prompt: self.prompt.as_deref(), plugins: self.plugins.as_deref() };
        let key = unwrap(enc, &found, &ask).map_err(|it| {
            let it = match found.is_empty() {
                true => "failed to load age identities".to_owned(),
                false => format!("failed to create reader for decrypting sops data key with age: {it}"),
            };
            it + &found.suffix()
        })?;
        let wrong = || format!("the data key is {} bytes long, which no file is encrypted with", key.len());
        DataKey::from_bytes(&key).ok_or_else(wrong)
    }
}

impl KeyService for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, data_key: &'a DataKey) -> Answer<'a, String> {
        Box::pin(async move {
            (key.kind == KIND.name).then(|| self.wrap_now(key.field(KIND.id_field), data_key).map_err(KeyError))
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, DataKey> {
        Box::pin(async move {
            let enc = key.enc.as_deref().unwrap_or_default();
            (key.kind == KIND.name).then(|| self.unwrap_now(key.field(KIND.id_field), enc).map_err(KeyError))
        })
    }
}

fn check(recipient: &str) -> Result<String, String> {
    let recipient = recipient.trim();
    Recipient::parse(recipient).map(|_| recipient.to_owned())
}

/// Decrypts an armoured age file that holds a data key.
fn unwrap(enc: &str, found: &Found, ask: &Ask<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
    // Go's reader skips leading white space, this one does not.
    let enc = enc.trim_start();
    if enc.len() > ENC_LIMIT {
        return Err(format!("failed to read header: more than {ENC_LIMIT} bytes"));
    }
    if !enc.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") {
        return Err("failed to read header: invalid armor".to_owned());
    }
    let header = |it: age::DecryptError| format!("failed to read header: {}", reason(it));
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(enc.as_bytes())).map_err(header)?;
    let all = Everything { found, ask, faults: RefCell::default() };
    let result = decryptor.decrypt(std::iter::once(&all as &dyn age::Identity));
    let fault = all.faults.into_inner().into_iter().next();
    let reader = result.map_err(|it| match (it, fault) {
        (age::DecryptError::NoMatchingKeys, Some(fault)) => fault,
        (age::DecryptError::NoMatchingKeys, None) if found.usable().nth(1).is_some() => {
            "no identity matched any of the recipients".to_owned()
        }
        (it, _) => reason(it),
    })?;
    // Room for more than is read: a vector that grows leaves copies behind.
    let mut key = Zeroizing::new(Vec::with_capacity(128));
    reader.take(64).read_to_end(&mut key).map_err(|_| "failed to decrypt and authenticate payload chunk")?;
    Ok(key)
}

/// All identities at once: age shows the stanzas to this, and this decides who is asked.
struct Everything<'a> {
    found: &'a Found,
    ask: &'a Ask<'a>,
    faults: RefCell<Vec<String>>,
}

impl age::Identity for Everything<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        self.found.in_order().find_map(|it| match it.unwrap(stanzas, self.ask)? {
            Ok(key) => Some(Ok(key)),
            Err(it) => {
                self.faults.borrow_mut().push(it);
                None
            }
        })
    }
}

impl Ask<'_> {
    fn passphrase(&self, what: &str) -> Result<SecretString, String> {
        let answer = self.prompt.and_then(|it| it.passphrase(what));
        let answer = answer.ok_or("could not read passphrase: there is nobody to ask")?;
        let text = answer.expose_str().ok_or("could not read passphrase: it is not UTF-8")?;
        Ok(SecretString::from(text))
    }

    fn plugin_identity(&self, identity: &age::plugin::Identity) -> Result<Box<dyn age::Identity>, String> {
        match self.plugins {
            Some(plugins) => plugins.identity(identity),
            None => Err(format!("the age plugin {} cannot be started here", identity.plugin())),
        }
    }
}

/// What went wrong, in the words of the program that SOPS users know.
fn reason(error: age::DecryptError) -> String {
    use age::DecryptError as Wrong;
    match error {
        Wrong::DecryptionFailed => "failed to decrypt file key".to_owned(),
        Wrong::ExcessiveWork { required, .. } => format!("scrypt work factor too large: {required}"),
        Wrong::InvalidHeader | Wrong::UnknownFormat => "invalid age header".to_owned(),
        Wrong::InvalidMac => "bad header MAC".to_owned(),
        Wrong::KeyDecryptionFailed => "incorrect passphrase".to_owned(),
        Wrong::NoMatchingKeys => {
            "identity did not match any of the recipients: incorrect identity for recipient block".to_owned()
        }
        it => one_line(&it),
    }
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
