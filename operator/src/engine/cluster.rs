//! What the cluster that is served says: from watches where these tell, else asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta, PostParams};
use kube::{Api, Client};
use leafseal::provider::vault::JwtSource;
use leafseal::provider::{Answer, ProviderError, ProviderErrorKind};
use leafseal::secret::SecretText;
use serde_json::{Value, json};

use crate::api::Object;
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::vault_secrets::{VaultAuth, VaultAuthGlobal, VaultConnection};
use crate::digest::Labels;
use crate::engine::mirrors::Mirrors;
use crate::error::Trouble;
use crate::plan::data_of;
use crate::store::{Cluster, Held, Reading};

/// Where a pod finds the token of its ServiceAccount.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The largest encrypted document that is read from a folder, in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;

/// The cluster that is served.
pub struct Live {
    client: Client,
    mirrors: Arc<Mirrors>,
    documents: Option<PathBuf>,
}

impl Live {
    /// The cluster that `client` speaks to and `mirrors` follow. `documents` is the folder where encrypted
    /// documents are mounted.
    pub fn new(client: Client, mirrors: Arc<Mirrors>, documents: Option<PathBuf>) -> Self {
        Self { client, mirrors, documents }
    }
}

impl Cluster for Live {
    fn secret_store(&self, namespace: &str, name: &str) -> Option<Arc<Object<SecretStore>>> {
        self.mirrors.secret_stores.find(namespace, name)
    }

    fn cluster_secret_store(&self, name: &str) -> Option<Arc<Object<ClusterSecretStore>>> {
        self.mirrors.cluster_secret_stores.find("", name)
    }

    fn vault_auth(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuth>>> {
        self.mirrors.vault_auths.find(namespace, name)
    }

    fn vault_auth_global(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuthGlobal>>> {
        self.mirrors.vault_auth_globals.find(namespace, name)
    }

    fn vault_connection(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultConnection>>> {
        self.mirrors.vault_connections.find(namespace, name)
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Reading<'a, Option<Labels>> {
        Box::pin(async move {
            let api = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
            let found = api.get_metadata_opt(name).await.map_err(|error| unreadable("Namespace", name, &error))?;
            Ok(found.map(|it| it.metadata.labels.unwrap_or_default()))
        })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        Box::pin(async move {
            let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(|error| unreadable("Secret", name, &error))?;
            Ok(found.map(|it| held(&it.metadata, data_of(&it))))
        })
    }

    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        Box::pin(async move {
            let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(|error| unreadable("ConfigMap", name, &error))?;
            Ok(found.map(|it| {
                let texts = it.data.into_iter().flatten().map(|(key, text)| (key, SecretText::new(text)));
                let bytes = it.binary_data.into_iter().flatten().map(|(key, bytes)| (key, SecretText::new(bytes.0)));
                held(&it.metadata, texts.chain(bytes).collect())
            }))
        })
    }

    fn service_account<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<String>> {
        Box::pin(async move {
            let api = Api::<PartialObjectMeta<ServiceAccount>>::namespaced(self.client.clone(), namespace);
            let found = api.get_metadata_opt(name).await.map_err(|error| unreadable("ServiceAccount", name, &error))?;
            Ok(found.map(|it| it.metadata.uid.unwrap_or_default()))
        })
    }

    fn tokens(&self, (namespace, name): (&str, &str), audiences: &[String], seconds: i64) -> Arc<dyn JwtSource> {
        Arc::new(Tokens {
            accounts: Api::namespaced(self.client.clone(), namespace),
            name: name.to_owned(),
            audiences: audiences.to_vec(),
            seconds,
        })
    }

    fn own_token(&self) -> Option<Arc<dyn JwtSource>> {
        Path::new(OWN_TOKEN).exists().then(|| Arc::new(OwnToken) as Arc<dyn JwtSource>)
    }

    fn folder<'a>(&'a self, path: &'a str) -> Reading<'a, BTreeMap<String, Vec<u8>>> {
        Box::pin(async move {
            let no = |detail: String| Trouble::new("InvalidProviderConfig", "unable to create client", detail);
            let Some(root) = self.documents.clone() else {
                return Err(no(format!("no folder of documents is mounted (--documents), and {path:?} is asked for")));
            };
            let folder = root.join(path);
            let read = tokio::task::spawn_blocking(move || read_folder(&folder));
            let read = read.await.map_err(|error| no(error.to_string()))?;
            read.map_err(|error| no(format!("the folder {path:?} cannot be read: {error}")))
        })
    }

    fn custom<'a>(
        &'a self,
        at: &'a ApiResource,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> Reading<'a, Option<Value>> {
        Box::pin(async move {
            let client = self.client.clone();
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, at),
                None => Api::all_with(client, at),
            };
            let found = api.get_opt(name).await.map_err(|error| unreadable(&at.kind, name, &error))?;
            Ok(found.map(|mut it| it.data.get_mut("spec").map_or_else(|| json!({}), Value::take)))
        })
    }

    fn client(&self) -> Client {
        self.client.clone()
    }
}

/// The files below a folder, by their paths from there. A mounted ConfigMap or Secret is made of links to
/// a hidden folder, which is why links are followed and hidden names are left out.
fn read_folder(root: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let about = std::fs::metadata(&path)?;
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() && about.len() <= MAX_DOCUMENT {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// The token of the operator's own ServiceAccount, read anew each time: it is replaced before it ends.
#[derive(Debug)]
struct OwnToken;

impl JwtSource for OwnToken {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async {
            // A file in memory, of a kilobyte.
            let read = std::fs::read_to_string(OWN_TOKEN);
            let text = read.map_err(|error| {
                let said = format!("the operator's own token cannot be read: {error}");
                ProviderError::new(ProviderErrorKind::Invalid, said)
            })?;
            Ok(SecretText::from(text.trim()))
        })
    }
}

fn held(metadata: &ObjectMeta, data: BTreeMap<String, SecretText>) -> Held {
    Held { uid: metadata.uid.clone().unwrap_or_default(), labels: metadata.labels.clone().unwrap_or_default(), data }
}

/// The cluster did not say what an object of `kind` holds.
pub(super) fn unreadable(kind: &str, name: &str, error: &kube::Error) -> Trouble {
    Trouble::new("K8sClientError", format!("could not read {kind} {name:?}"), error.to_string())
}

/// Tokens of one ServiceAccount.
struct Tokens {
    accounts: Api<ServiceAccount>,
    name: String,
    audiences: Vec<String>,
    seconds: i64,
}

impl JwtSource for Tokens {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async move {
            let spec = TokenRequestSpec {
                audiences: self.audiences.clone(),
                expiration_seconds: Some(self.seconds),
                bound_object_ref: None,
            };
            let request = TokenRequest { spec, ..TokenRequest::default() };
            let made = self.accounts.create_token_request(&self.name, &PostParams::default(), &request).await;
            let answer = made.map_err(|error| {
                let kind = match &error {
                    kube::Error::Api(status) if status.code == 403 => ProviderErrorKind::Denied,
                    kube::Error::Api(status) if status.code < 500 => ProviderErrorKind::Invalid,
                    _ => ProviderErrorKind::Unavailable { retry_after: None },
                };
                ProviderError::new(kind, format!("no token for ServiceAccount {:?}: {error}", self.name))
            })?;
            Ok(SecretText::new(answer.status.map(|it| it.token).unwrap_or_default()))
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.name)
    }
}
