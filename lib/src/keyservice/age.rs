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

pub use super::Prompt;
use super::{Answer, KeyError, KeyKind, KeyService, Reach, one_line};
use crate::metadata::MasterKey;
use crate::secret::{KeyPart, SecretText};

/// How age recipients are named (spec section 6.1).
pub const KIND: KeyKind =
    KeyKind { name: "age", id_field: "recipient", rule: "age", flag: "age", env: "SOPS_AGE_RECIPIENTS", check };

/// The most that the `enc` of one key may hold. SOPS writes one to two thousand bytes.
const ENC_LIMIT: usize = 1 << 16;

/// Finds identities. Asked for each master key, and only when a data key has to be unwrapped.
pub trait Finder: Send + Sync {
    /// Returns the identities at hand, whether they fit `recipient` or not.
    fn find(&self, recipient: &str) -> Arc<Found>;

    /// Returns those at hand and those that may keep somebody waiting, such as what a command
    /// prints. `None` if there are no such places.
    fn fetch(&self, _recipient: &str) -> Option<Arc<Found>> {
        None
    }
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

/// The key service for age: all identities, those that keep nobody waiting first.
pub struct Age {
    finder: Box<dyn Finder>,
    prompt: Option<Box<dyn Prompt>>,
    plugins: Option<Box<dyn PluginHost>>,
}

/// One half of [`Age`], for a keyring that asks others in between.
pub struct AgeHalf<'a> {
    age: &'a Age,
    reach: Reach,
}

/// Who may be asked while a data key is unwrapped.
struct Ask<'a> {
    /// Nobody: identities that would have to be unlocked first are passed over.
    is_silent: bool,
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

    fn fetch(&self, recipient: &str) -> Option<Arc<Found>> {
        (**self).fetch(recipient)
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

    /// The identities that keep nobody waiting, and those that may: what is locked with a passphrase,
    /// what a command prints, plugins.
    pub fn halves(&self) -> [AgeHalf<'_>; 2] {
        [Reach::Local, Reach::Prompt].map(|reach| AgeHalf { age: self, reach })
    }

    fn wrap_now(&self, recipient: &str, part: &KeyPart) -> Result<String, String> {
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
            writer.write_all(part.expose()).map_err(|it| one_line(&it))?;
            writer.finish().and_then(ArmoredWriter::finish).map_err(|it| one_line(&it))?;
            Ok(text)
        };
        let text = seal().map_err(|it| format!("failed to encrypt sops data key with age: {it}"))?;
        // SOPS ends lines with LF everywhere, the armour of age as the platform does.
        Ok(String::from_utf8(text).expect("armour is ASCII").replace('\r', ""))
    }

    fn unwrap_now(&self, key: &MasterKey, found: &Found, is_silent: bool) -> Result<KeyPart, String> {
        let ask = Ask { is_silent, prompt: self.prompt.as_deref(), plugins: self.plugins.as_deref() };
        let part = unwrap(key.enc.as_deref().unwrap_or_default(), found, &ask).map_err(|it| {
            let it = match found.is_empty() {
                true => "failed to load age identities".to_owned(),
                false => format!("failed to create reader for decrypting sops data key with age: {it}"),
            };
            it + &found.remarks()
        })?;
        let wrong = || format!("the data key is {} bytes long, which no file is encrypted with", part.len());
        KeyPart::from_bytes(&part).ok_or_else(wrong)
    }
}

impl KeyService for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn reach(&self) -> Reach {
        Reach::Prompt
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String> {
        Box::pin(async move {
            (key.kind == KIND.name).then(|| self.wrap_now(key.field(KIND.id_field), part).map_err(KeyError))
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        Box::pin(async move {
            let recipient = key.field(KIND.id_field);
            let found = || self.finder.fetch(recipient).unwrap_or_else(|| self.finder.find(recipient));
            (key.kind == KIND.name).then(|| self.unwrap_now(key, &found(), false).map_err(KeyError))
        })
    }
}

impl KeyService for AgeHalf<'_> {
    fn name(&self) -> &str {
        self.age.name()
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String> {
        match self.reach {
            Reach::Local => self.age.wrap(key, part),
            _ => Box::pin(async { None }),
        }
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        if self.reach != Reach::Local {
            let asks = || {
                let recipient = key.field(KIND.id_field);
                self.age.finder.find(recipient).asks() || self.age.finder.fetch(recipient).is_some()
            };
            return match key.kind == KIND.name && asks() {
                true => self.age.unwrap(key),
                false => Box::pin(async { None }),
            };
        }
        Box::pin(async move {
            let found = || self.age.finder.find(key.field(KIND.id_field));
            (key.kind == KIND.name).then(|| self.age.unwrap_now(key, &found(), true).map_err(KeyError))
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
        answered(self.prompt.and_then(|it| it.passphrase(what)))
    }

    /// The passphrase that may be remembered as `id`.
    fn remembered(&self, what: &str, id: &str) -> Result<SecretString, String> {
        let answer = self.prompt.map_or(Ok(None), |it| it.remembered(what, id));
        answered(answer.map_err(|it| format!("could not read passphrase: {it}"))?)
    }

    fn forget(&self, id: &str) {
        if let Some(it) = self.prompt {
            it.forget(id);
        }
    }

    fn plugin_identity(&self, identity: &age::plugin::Identity) -> Result<Box<dyn age::Identity>, String> {
        match self.plugins {
            Some(plugins) => plugins.identity(identity),
            None => Err(format!("the age plugin {} cannot be started here", identity.plugin())),
        }
    }
}

fn answered(answer: Option<SecretText>) -> Result<SecretString, String> {
    let answer = answer.ok_or("could not read passphrase: there is nobody to ask")?;
    let text = answer.expose_str().ok_or("could not read passphrase: it is not UTF-8")?;
    Ok(SecretString::from(text))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pollster::block_on;

    use super::*;

    macro_rules! key {
        ($name:literal) => {
            include_str!(concat!("../../testdata/age-keys/", $name))
        };
    }

    /// Answers every question with one passphrase, and counts them.
    struct Answers(&'static str, Arc<AtomicUsize>);

    impl Prompt for Answers {
        fn passphrase(&self, what: &str) -> Option<SecretText> {
            assert!(what.starts_with("Enter passphrase for "), "{what}");
            self.1.fetch_add(1, Ordering::Relaxed);
            Some(self.0.into())
        }
    }

    fn data_key() -> KeyPart {
        KeyPart::from_bytes(&[9; 32]).expect("32 bytes")
    }

    fn wrapped(recipient: &str) -> MasterKey {
        let mut key = KIND.master_key(recipient).expect("a recipient");
        let enc = block_on(Age::new(Found::default()).wrap(&key, &data_key())).expect("an age key");
        key.enc = Some(enc.expect("wraps"));
        key
    }

    /// An age file that holds these bytes, to the X25519 key of the tests.
    fn holding(bytes: &[u8]) -> MasterKey {
        let recipient: age::x25519::Recipient = key!("x25519.pub").trim().parse().expect("a recipient");
        let enc = age::encrypt_and_armor(&recipient, bytes).expect("encrypts");
        MasterKey { kind: "age".to_owned(), fields: Vec::new(), enc: Some(enc) }
    }

    /// What comes of unwrapping: nothing if it works.
    fn unwrap(age: &Age, key: &MasterKey) -> String {
        match block_on(age.unwrap(key)).expect("an age key") {
            Ok(it) => {
                assert_eq!(it.expose(), data_key().expose());
                String::new()
            }
            Err(it) => it.to_string(),
        }
    }

    fn ssh(name: &str, pem: &str) -> Found {
        let mut found = Found::default();
        found.read_ssh_file(name, pem.as_bytes());
        found
    }

    fn native(text: &str) -> Found {
        let mut found = Found::default();
        found.read("here", text.as_bytes(), Spacing::Lines);
        found
    }

    #[test]
    fn every_kind_of_recipient_is_unwrapped_by_its_identity_only() {
        let kinds = [
            (key!("x25519.pub"), native(key!("x25519.txt"))),
            (key!("pq.pub"), native(key!("pq.txt"))),
            (key!("id_ed25519.pub"), ssh("id_ed25519", key!("id_ed25519"))),
            (key!("id_rsa.pub"), ssh("id_rsa", &format!("a note\n{}", key!("id_rsa")))),
            (key!("id_rsa_pem.pub"), ssh("id_rsa_pem", &key!("id_rsa_pem").replace('\n', "\r\n"))),
        ];
        let services: Vec<Age> = kinds.iter().map(|(_, found)| Age::new(found.clone())).collect();
        for (n, (recipient, _)) in kinds.iter().enumerate() {
            let key = wrapped(recipient);
            assert_eq!(key.field("recipient"), recipient.trim());
            let enc = key.enc.as_deref().expect("wrapped");
            assert!(enc.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{enc}");
            assert!(enc.ends_with("\n-----END AGE ENCRYPTED FILE-----\n"), "{enc}");
            for (m, age) in services.iter().enumerate() {
                let expected = match n == m {
                    true => "",
                    false => {
                        "failed to create reader for decrypting sops data key with age: identity did not match any of \
                         the recipients: incorrect identity for recipient block"
                    }
                };
                assert_eq!(unwrap(age, &key), expected, "{recipient} {m}");
            }
        }
        let other = MasterKey { kind: "pgp".to_owned(), fields: Vec::new(), enc: None };
        assert!(block_on(services[0].unwrap(&other)).is_none());
        assert!(block_on(services[0].wrap(&other, &data_key())).is_none());
    }

    /// An identity file behind the passphrase `correct horse`.
    fn locked(work_factor: u8, text: &str) -> Vec<u8> {
        let mut recipient = age::scrypt::Recipient::new("correct horse".into());
        recipient.set_work_factor(work_factor);
        age::encrypt(&recipient, text.as_bytes()).expect("encrypts")
    }

    #[test]
    fn passphrases_are_asked_for_once_and_only_where_they_help() {
        let cheap = locked(2, key!("x25519.txt"));
        let locked_file = || {
            let mut found = Found::default();
            found.read("file", &cheap, Spacing::Lines);
            found
        };
        let locked_ssh = || ssh("id", key!("id_ed25519_locked"));
        let start = "failed to create reader for decrypting sops data key with age: ";
        let no_match = "identity did not match any of the recipients: incorrect identity for recipient block";
        for (found, recipient, passphrase, questions, expected) in [
            (locked_file(), key!("x25519.pub"), "correct horse", 1, ""),
            (locked_file(), key!("pq.pub"), "correct horse", 1, no_match),
            (locked_file(), key!("x25519.pub"), "battery staple", 1, "incorrect passphrase"),
            (locked_file(), key!("id_rsa.pub"), "correct horse", 0, no_match),
            (locked_ssh(), key!("id_ed25519_locked.pub"), "correct horse", 1, ""),
            (locked_ssh(), key!("id_ed25519_locked.pub"), "battery staple", 1, "failed to decrypt SSH key file \"id\""),
            (locked_ssh(), key!("id_ed25519.pub"), "correct horse", 0, no_match),
            (locked_ssh(), key!("x25519.pub"), "correct horse", 0, no_match),
        ] {
            let asked = Arc::new(AtomicUsize::new(0));
            let age = Age::new(found).with_prompt(Answers(passphrase, Arc::clone(&asked)));
            let key = wrapped(recipient);
            for _ in 0..2 {
                let expected = if expected.is_empty() { String::new() } else { format!("{start}{expected}") };
                assert_eq!(unwrap(&age, &key), expected, "{recipient}");
            }
            assert_eq!(asked.load(Ordering::Relaxed), questions, "{recipient}");
        }
        let nobody = unwrap(&Age::new(locked_file()), &wrapped(key!("x25519.pub")));
        assert_eq!(nobody, format!("{start}could not read passphrase: there is nobody to ask"));
    }

    /// Finds these identities, and fetches those.
    struct Fetches(Found, Found);

    impl Finder for Fetches {
        fn find(&self, recipient: &str) -> Arc<Found> {
            self.0.find(recipient)
        }

        fn fetch(&self, recipient: &str) -> Option<Arc<Found>> {
            Some(self.1.find(recipient))
        }
    }

    #[test]
    fn one_half_asks_nobody_and_the_other_only_if_there_is_somebody_to_ask() {
        let cheap = locked(2, key!("x25519.txt"));
        let both = |text: &str| {
            let mut found = native(text);
            found.read("file", &cheap, Spacing::Lines);
            found
        };
        let other = "AGE-SECRET-KEY-1PGVRSPVDYJ3MJ2306REQANH8NEXFR44L8XWANYRMRVNVST84X32SGU3AH6";
        let plugin = "AGE-PLUGIN-TEST-1W3JHXAQFP4L50";
        let (opens, fails) = (Some(true), Some(false));
        let check = |age: Age, recipient: &str, expected: [Option<bool>; 2], questions: usize| {
            let asked = Arc::new(AtomicUsize::new(0));
            let age = age.with_prompt(Answers("correct horse", Arc::clone(&asked)));
            let key = wrapped(recipient);
            let answers = age.halves().map(|it| block_on(it.unwrap(&key)).map(|it| it.is_ok()));
            assert_eq!((answers, asked.load(Ordering::Relaxed)), (expected, questions), "{recipient}");
            // What has been unlocked keeps nobody waiting any more.
            if questions == 1 && expected[1] == opens {
                assert!(matches!(block_on(age.halves()[0].unwrap(&key)), Some(Ok(_))));
            }
        };
        check(Age::new(native(key!("x25519.txt"))), key!("x25519.pub"), [opens, None], 0);
        check(Age::new(native(other)), key!("x25519.pub"), [fails, None], 0);
        check(Age::new(both(other)), key!("x25519.pub"), [fails, opens], 1);
        check(Age::new(both(other)), key!("id_rsa.pub"), [fails, fails], 0);
        check(Age::new(native(plugin)), key!("x25519.pub"), [fails, fails], 0);
        check(Age::new(ssh("id", key!("id_ed25519_locked"))), key!("id_ed25519_locked.pub"), [fails, opens], 1);
        check(Age::new(ssh("id", key!("id_ed25519"))), key!("x25519.pub"), [fails, None], 0);
        let fetches = || Age::new(Fetches(native(other), native(key!("x25519.txt"))));
        check(fetches(), key!("x25519.pub"), [fails, opens], 0);
        let age = fetches();
        let [silent, asking] = age.halves();
        assert_eq!([silent.reach(), asking.reach(), age.reach()], [Reach::Local, Reach::Prompt, Reach::Prompt]);
        let pgp = MasterKey { kind: "pgp".to_owned(), ..wrapped(key!("x25519.pub")) };
        assert!(block_on(silent.unwrap(&pgp)).is_none() && block_on(asking.unwrap(&pgp)).is_none());
        assert!(block_on(asking.wrap(&wrapped(key!("x25519.pub")), &data_key())).is_none());
    }

    #[test]
    fn identity_files_may_be_locked_and_their_cost_is_bounded() {
        let key = wrapped(key!("x25519.pub"));
        let check = |source: &[u8], expected: &str| {
            let mut found = Found::default();
            found.read("file", source, Spacing::Lines);
            let age = Age::new(found).with_prompt(Answers("correct horse", Arc::default()));
            let start = "failed to create reader for decrypting sops data key with age: ";
            assert_eq!(unwrap(&age, &key).trim_start_matches(start), expected);
        };
        check(&locked(2, key!("x25519.txt")), "");
        check(&locked(2, "nonsense"), "failed to parse 'file' age identities: unknown identity type");
        check(key!("x25519.txt.age").as_bytes(), "");
        // What the header says is too much work is not begun.
        let costly = format!("age-encryption.org/v1\n-> scrypt {} 23\n{1}\n--- {1}\n", "A".repeat(22), "A".repeat(43));
        let costly = [costly.as_bytes(), &[0; 32]].concat();
        check(&costly, "failed to decrypt identity file 'file': scrypt work factor too large: 23");
        check(
            &vec![b'#'; FILE_LIMIT + 1],
            "failed to load age identities. Errors while loading age identities: failed to read 'file': file too long",
        );
    }

    #[test]
    fn identities_that_are_none_are_told_without_what_they_say() {
        let check = |found: Found, fault: &str| {
            let text = unwrap(&Age::new(found), &wrapped(key!("x25519.pub")));
            assert_eq!(text, format!("failed to load age identities. Errors while loading age identities: {fault}"));
        };
        let parse = |reason: &str| format!("failed to parse 'here' age identities: {reason}");
        check(native("hunter2"), &parse("unknown identity type"));
        check(native(&format!(" {}", key!("x25519.txt"))), &parse("unknown identity type"));
        check(native("AGE-SECRET-KEY-1HUNTER2"), &parse("malformed secret key"));
        check(native("AGE-SECRET-KEY-PQ-1HUNTER2"), &parse("malformed secret key"));
        check(native("AGE-PLUGIN-HUNTER2"), &parse("invalid identity encoding"));
        let malformed = |reason: &str| format!("malformed SSH identity in \"id\": {reason}");
        check(ssh("id", "hunter2"), &malformed("ssh: no key found"));
        check(ssh("id", key!("id_ecdsa")), &malformed("unsupported SSH identity type: ecdsa-sha2-nistp256"));
        check(
            ssh("id", key!("id_rsa_pem_locked")),
            &malformed("this way of encrypting keys is not supported, `ssh-keygen -p -f` renews it"),
        );
        let mut output = Found::default();
        output.read_ssh_output("VARIABLE", key!("id_ed25519_locked").as_bytes());
        check(output, "the SSH key returned by running VARIABLE is password protected, which is unsupported");
    }

    #[test]
    fn armour_is_read_as_go_reads_it() {
        let age = Age::new(native(key!("x25519.txt")));
        let key = wrapped(key!("x25519.pub"));
        let with = |enc: String| MasterKey { enc: Some(enc), ..key.clone() };
        let enc = key.enc.clone().expect("wrapped");
        for enc in
            [format!("\n \n\r\n{enc}"), enc.replace('\n', "\r\n"), enc.trim_end().to_owned(), format!("{enc}\n\n")]
        {
            assert_eq!(unwrap(&age, &with(enc.clone())), "", "{enc:?}");
        }
        let start = "failed to create reader for decrypting sops data key with age: ";
        for (enc, reason) in [
            (String::new(), "failed to read header: invalid armor"),
            ("age-encryption.org/v1\n".to_owned(), "failed to read header: invalid armor"),
            (enc.replace("BEGIN", "BEGUN"), "failed to read header: invalid armor"),
            (enc.repeat(200), "failed to read header: more than 65536 bytes"),
        ] {
            assert_eq!(unwrap(&age, &with(enc.clone())), format!("{start}{reason}"), "{enc}");
        }
        // Every prefix and every changed character is refused, and nothing panics.
        for at in 0..enc.trim_end().len() {
            assert_ne!(unwrap(&age, &with(enc[..at].to_owned())), "", "{at}");
            let mut changed = enc.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_ne!(unwrap(&age, &with(String::from_utf8(changed).expect("ASCII"))), "", "{at}");
        }
    }

    #[test]
    fn what_is_wrapped_is_as_long_as_a_data_key_or_a_part_of_one() {
        let age = Age::new(native(key!("x25519.txt")));
        for (length, works) in [
            (0, false),
            (15, false),
            (16, true),
            (17, true),
            (24, true),
            (31, false),
            (32, true),
            (33, true),
            (34, false),
            (64, false),
            (65, false),
            (40000, false),
        ] {
            let answer = block_on(age.unwrap(&holding(&vec![1; length]))).expect("an age key");
            assert_eq!(answer.is_ok(), works, "{length}");
        }
    }

    #[test]
    fn two_thousand_keys_for_others_are_no_burden() {
        let age = Age::new(native(&format!("{}{}", key!("x25519.txt"), key!("pq.txt"))));
        let other = age::x25519::Identity::generate().to_public().to_string();
        let key = wrapped(&other);
        let start = std::time::Instant::now();
        for _ in 0..2000 {
            assert_ne!(unwrap(&age, &key), "");
        }
        // A tenth of this with optimisation.
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
