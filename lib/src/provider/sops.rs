//! SOPS files as a store: the keys are documents, the properties are paths into them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{
    Address, Answer, Content, Object, ProviderError, ProviderKind, Query, SecretProvider, Validity, name_pattern,
};
use crate::edge::{Clock, Timestamp};
use crate::format::{self, Layout};
use crate::keyservice::KeyService;
use crate::keyservice::age::{Age, Found, Spacing};
use crate::keyservice::pgp::{Certificates, Finder, Pgp, SecretKeys};
use crate::secret::SecretText;
use crate::{EncryptedFile, Keyring, PlainFile};

/// SOPS files.
pub const KIND: ProviderKind =
    ProviderKind { field: "sops", aliases: &[], name: "SOPS", finds: true, has_versions: false };

/// Documents, and the keys that open them.
#[derive(Clone)]
pub struct Settings {
    /// The documents by their names, whose ends tell the format (`app.yaml`, `db.json`, `.env`).
    pub documents: BTreeMap<String, Vec<u8>>,
    /// age identities: one a line, or several with white space between them.
    pub age: Vec<SecretText>,
    /// OpenPGP secret keys, armoured or not, without a passphrase.
    pub pgp: Vec<SecretText>,
    /// What says whether an OpenPGP key has expired.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("documents", &self.documents.keys()).finish_non_exhaustive()
    }
}

/// SOPS files that are opened when they are read, whose MAC is right.
pub struct Sops {
    documents: BTreeMap<String, Vec<u8>>,
    age: Age,
    pgp: Pgp,
}

/// The OpenPGP keys that were given.
struct Given {
    certificates: Arc<Certificates>,
    secret_keys: Arc<SecretKeys>,
}

impl Finder for Given {
    fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    fn secret_keys(&self) -> Arc<SecretKeys> {
        Arc::clone(&self.secret_keys)
    }
}

/// Whose clock it is does not matter to OpenPGP.
struct Shared(Arc<dyn Clock>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Sops {
    /// Takes documents and keys over. What is wrong with them is told when they are needed.
    pub fn new(settings: Settings) -> Self {
        let Settings { documents, age, pgp, clock } = settings;
        let mut identities = Found::default();
        for (n, text) in age.iter().enumerate() {
            let location = format!("age identities {}", n + 1);
            match text.expose().trim_ascii_start().starts_with(b"-----BEGIN OPENSSH") {
                true => identities.read_ssh_file(&location, text.expose()),
                false => identities.read(&location, text.expose(), Spacing::Words),
            }
        }
        let mut secret_keys = SecretKeys::default();
        for (n, text) in pgp.iter().enumerate() {
            secret_keys.read(&format!("OpenPGP keys {}", n + 1), text.expose());
        }
        let given = Given { certificates: Arc::default(), secret_keys: Arc::new(secret_keys) };
        Self { documents, age: Age::new(identities), pgp: Pgp::new(given, Shared(clock)) }
    }

    async fn open(&self, name: &str) -> Result<Content, ProviderError> {
        let document = self.documents.get(name).ok_or_else(ProviderError::missing)?;
        let format = format::for_name(name).ok_or_else(|| {
            ProviderError::invalid(format!("the name of the document {name:?} does not end as a format that is read"))
        })?;
        let failed =
            |why: &dyn fmt::Display| ProviderError::invalid(format!("cannot open the document {name:?}: {why}"));
        let file = EncryptedFile::parse(format, document).map_err(|it| failed(&it))?;
        let metadata = file.metadata().clone();
        let services: Vec<&dyn KeyService> = vec![&self.age, &self.pgp];
        let key = Keyring::new(services)
            .unwrap(&metadata)
            .await
            .map_err(|it| ProviderError::denied(format!("cannot open the document {name:?}: {}", it.summary())))?;
        let plain = file.open(&key).map_err(|it| failed(&it))?.file;
        content(&plain).map_err(|it| failed(&it))
    }
}

/// What a document says. A key that stands twice says nothing certain, and of several documents in
/// one file nobody says which is meant: both are refused.
fn content(plain: &PlainFile) -> Result<Content, String> {
    if let Some(twice) = plain.duplicate_keys().first() {
        return Err(format!("a key stands twice: {twice}"));
    }
    let documents = plain.tree().map_err(|it| it.to_string())?.documents().len();
    if documents > 1 {
        return Err(format!("it holds {documents} documents, and one is wanted"));
    }
    let json = format::named("json").expect("there is such a format");
    match plain.format().name() {
        // The text itself keeps the spelling of numbers.
        "json" => Ok(object(plain.text())),
        _ => plain.print_as(json, &Layout::default()).map(|it| object(&it)).map_err(|it| it.to_string()),
    }
}

fn object(json: &str) -> Content {
    Content::Object(Object { data: SecretText::from(json), metadata: None })
}

impl SecretProvider for Sops {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content> {
        Box::pin(async move {
            match (at.metadata, &at.version) {
                (true, _) => Err(ProviderError::invalid("SOPS files keep no metadata to be fetched")),
                (_, Some(version)) => Err(ProviderError::invalid(format!("SOPS files have no version {version:?}"))),
                _ => self.open(&at.key).await,
            }
        })
    }

    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(async move {
            if !query.tags.is_empty() {
                return Err(ProviderError::invalid("SOPS files have no tags to be found by"));
            }
            let pattern = name_pattern(query)?;
            let prefix = query.path.as_deref().unwrap_or_default();
            let mut found = Vec::new();
            for name in self.documents.keys().filter(|it| it.starts_with(prefix)) {
                if pattern.as_ref().is_none_or(|it| it.is_match(name)) {
                    found.push((name.clone(), self.open(name).await?));
                }
            }
            Ok(found)
        })
    }

    /// Opens every document.
    fn check(&self) -> Answer<'_, Validity> {
        Box::pin(async move {
            for name in self.documents.keys() {
                self.open(name).await?;
            }
            Ok(Validity::Ready)
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::DataKey;
    use crate::edge::Rng;
    use crate::keyservice::age::KIND as AGE;
    use crate::keyservice::pgp::KIND as PGP;
    use crate::metadata::{KeyGroup, MasterKey, Metadata};
    use crate::provider::ProviderErrorKind;
    use crate::scope::Scope;

    const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const OTHER: &str = "AGE-SECRET-KEY-1PGVRSPVDYJ3MJ2306REQANH8NEXFR44L8XWANYRMRVNVST84X32SGU3AH6";

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_utc_seconds("2030-01-02T03:04:05Z")
        }
    }

    struct Counter(u8);

    impl Rng for Counter {
        fn fill(&mut self, buf: &mut [u8]) {
            for byte in buf {
                self.0 = self.0.wrapping_mul(31).wrapping_add(7);
                *byte = self.0;
            }
        }
    }

    fn sealed(name: &str, text: &str) -> Vec<u8> {
        let age = Age::with_identities(SECRET);
        sealed_to(AGE.master_key(RECIPIENT).expect("a recipient"), &age, name, text)
    }

    fn sealed_to(reader: MasterKey, service: &dyn KeyService, name: &str, text: &str) -> Vec<u8> {
        let key = DataKey::generate(&mut Counter(1));
        let group = KeyGroup(vec![reader]);
        let mut metadata = Metadata::new(vec![group], 0, Scope::default(), Stopped.now());
        let ring = Keyring::new(vec![service]);
        block_on(ring.wrap(&key, &mut metadata, &mut Counter(3))).expect("wraps");
        let format = format::for_name(name).expect("there is one");
        let plain = PlainFile::parse(format, text.as_bytes()).expect("readable");
        plain.seal(metadata, &key, &Stopped, &mut Counter(9)).expect("sealable").text().as_bytes().to_vec()
    }

    fn store(documents: &[(&str, Vec<u8>)], identity: &str) -> Sops {
        let documents = documents.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        let clock = Arc::new(Stopped);
        Sops::new(Settings { documents, age: vec![identity.into()], pgp: Vec::new(), clock })
    }

    fn key(key: &str) -> Address {
        Address { key: key.to_owned(), ..Address::default() }
    }

    #[test]
    fn documents_of_every_format_are_read() {
        let store = store(
            &[
                (
                    "app.yaml",
                    sealed("app.yaml", "# why\ndb:\n  user: app\n  ports: [1, 2]\non: true\nn: 5432\nz: null\n"),
                ),
                ("db.json", sealed("db.json", r#"{"f": 1.50, "big": 12345678901234567890, "a": {"b": "c"}}"#)),
            ],
            SECRET,
        );
        for (name, property, expected) in [
            ("app.yaml", "db.user", "app"),
            ("app.yaml", "db.ports.1", "2"),
            ("app.yaml", "on", "true"),
            ("app.yaml", "n", "5432"),
            ("app.yaml", "z", ""),
            ("app.yaml", "db", r#"{"ports":[1,2],"user":"app"}"#),
            ("db.json", "f", "1.50"),
            ("db.json", "a.b", "c"),
        ] {
            let content = block_on(store.read(&key(name))).expect(name);
            let value = content.value(Some(property)).expect(property);
            assert_eq!(value.expose_str(), Some(expected), "{name} {property}");
        }
        assert_eq!(block_on(store.check()).expect("all open"), Validity::Ready);
        let query = Query { name: Some("^(app|db)".to_owned()), ..Query::default() };
        let found = block_on(store.find(&query)).expect("they open");
        assert_eq!(found.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["app.yaml", "db.json"]);
        assert!(block_on(store.read(&key("nothing.yaml"))).expect_err("there is none").is_missing());
    }

    #[test]
    fn openpgp_keys_open_documents_too() {
        let exported = include_bytes!("../../testdata/pgp/cv25519.sec.asc");
        let mut secret_keys = SecretKeys::default();
        secret_keys.read("a file", exported);
        let mut certificates = Certificates::default();
        certificates.read("a file", secret_keys.certificates().to_vec());
        let given = Given { certificates: Arc::new(certificates), secret_keys: Arc::new(secret_keys) };
        let mut reader = PGP.master_key("338EBA157FBDFBFEF2394B9687AAB04E6C424C8B").expect("a fingerprint");
        reader.fields.insert(0, ("created_at".to_owned(), crate::tree::Wire::text("2030-01-02T03:04:05Z")));
        let document = sealed_to(reader, &Pgp::new(given, Stopped), "a.yaml", "user: app\n");
        let documents: BTreeMap<String, Vec<u8>> = [("a.yaml".to_owned(), document)].into();
        let open = |pgp: Vec<SecretText>| {
            let clock = Arc::new(Stopped);
            let store = Sops::new(Settings { documents: documents.clone(), age: Vec::new(), pgp, clock });
            block_on(store.read(&key("a.yaml")))
        };
        let content = open(vec![SecretText::new(&exported[..])]).expect("it opens");
        assert_eq!(content.value(Some("user")).expect("it is there").expose(), b"app");
        assert_eq!(open(Vec::new()).expect_err("there is no key").kind, ProviderErrorKind::Denied);
    }

    #[test]
    fn what_is_not_certain_is_refused() {
        let good = String::from_utf8(sealed("a.yaml", "user: visible-name\nother: visible-name\n")).expect("UTF-8");
        let broken = good.replacen("user:", "user2:", 1);
        let kind = |name: &str, text: &str, identity: &str| {
            let error = block_on(store(&[(name, text.as_bytes().to_vec())], identity).read(&key(name)));
            let error = error.expect_err("it is refused");
            assert!(!error.message.contains("visible") && !error.message.contains("AGE-SECRET"), "{error}");
            error.kind
        };
        assert_eq!(kind("a.yaml", &good, OTHER), ProviderErrorKind::Denied);
        assert_eq!(kind("a.yaml", &good, "nonsense"), ProviderErrorKind::Denied);
        assert_eq!(kind("a.yaml", &broken, SECRET), ProviderErrorKind::Invalid);
        assert_eq!(kind("a.yaml", "user: visible\n", SECRET), ProviderErrorKind::Invalid);
        assert_eq!(kind("a.yaml", "][", SECRET), ProviderErrorKind::Invalid);
        for (name, text) in
            [("a.json", r#"{"a":"visible1","a":"visible2"}"#), ("a.yaml", "a: visible1\n---\nb: visible2\n")]
        {
            let text = String::from_utf8(sealed(name, text)).expect("UTF-8");
            assert_eq!(kind(name, &text, SECRET), ProviderErrorKind::Invalid);
        }
        assert_eq!(kind("note.txt", "visible", SECRET), ProviderErrorKind::Invalid);
    }
}
