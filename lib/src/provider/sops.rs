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
        let format = format::for_name(name).or_else(|| format::named("binary")).expect("there is such a format");
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
        "binary" => Ok(Content::Text(SecretText::from(plain.text()))),
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
