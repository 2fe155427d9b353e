//! How a VaultAuth and its VaultConnection become a Vault that can be read (Vault Secrets, spec sections
//! A.2 and A.3).

mod credentials;
mod merge;
mod reference;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leafseal::provider::vault::{self, Auth, Retries, Settings, Tls, Vault};
use leafseal::provider::{Address, Answer, Content, Observer, ProviderError, Query, SecretProvider, Validity};

use super::{Cluster, Opened, Part};
use crate::adapter::Identity;
use crate::api::Object;
use crate::api::vault_secrets::{VaultAuth, VaultConnection};
use crate::error::{Retry, Trouble};
use crate::go::GoDuration;
use crate::identity::{self, Version};
use crate::intent::StoreRef;

pub use merge::{Merged, merged};
pub use reference::{Reference, may_refer, named};

/// How long what is missing is waited for (spec section A.4.2, 4 to 4.5 s).
const SOON: Duration = Duration::from_millis(4250);

/// Where defaults lie, and whether they are used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// The namespace of the operator.
    pub namespace: String,
    /// VaultAuths may use VaultAuthGlobals that they do not name (`allow-default-globals`).
    pub globals: bool,
}

/// A store that cannot be opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unopened {
    /// Why.
    pub trouble: Trouble,
    /// What was looked at, whether it is there or not: when one of these changes, opening is worth
    /// another try.
    pub looked_at: Vec<Part>,
}

/// The Vaults that are logged in to: one login for each VaultAuth and namespace that reads.
#[derive(Default)]
pub struct Vaults {
    open: Mutex<HashMap<Login, Held>>,
    observer: Option<Arc<dyn Observer>>,
}

/// Which VaultAuth, and for which namespace.
type Login = (String, String, String);

#[derive(Clone, Debug)]
struct Held {
    /// A digest of all that it was made from.
    made_of: String,
    cache_key: String,
    namespace: String,
    vault: Vault,
}

impl Vaults {
    /// None yet; `observer` is told of all requests.
    pub fn observed_by(observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..Self::default() }
    }

    /// Opens `at`. What was opened before with the same VaultAuth for the same namespace is used again,
    /// with its token, unless something is different now. Files are read anew each time.
    ///
    /// # Errors
    ///
    /// If something that it takes is missing, wrong, not allowed or not served.
    pub async fn open(&self, cluster: &dyn Cluster, at: &StoreRef, defaults: &Defaults) -> Result<Opened, Unopened> {
        let mut looked_at = Vec::new();
        match self.try_open(cluster, at, defaults, &mut looked_at).await {
            Ok(held) => {
                let place = held.place(at);
                Ok(Opened {
                    cache_key: Some(held.key(at)),
                    provider: Arc::new(Lent(held.vault.at(place))),
                    made_from: listed(looked_at),
                })
            }
            Err(trouble) => Err(Unopened { trouble, looked_at: listed(looked_at) }),
        }
    }

    /// With which identity `at` is read; `None` before it was opened and as long as nobody has logged in.
    pub async fn identity(&self, at: &StoreRef) -> Option<Identity> {
        let held = self.held(&login(at))?;
        let accessor = held.vault.identity().await.ok().flatten()?;
        Some(Identity { cache_key: held.key(at), id: identity::client_id(&accessor) })
    }

    /// Forgets the logins of a VaultAuth that is gone. Their tokens end by themselves.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(its_namespace, its_name, _), _| its_namespace != namespace || its_name != name);
    }

    fn held(&self, login: &Login) -> Option<Held> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(login).cloned()
    }

    async fn try_open(
        &self,
        cluster: &dyn Cluster,
        at: &StoreRef,
        defaults: &Defaults,
        looked_at: &mut Vec<Part>,
    ) -> Result<Held, Trouble> {
        looked_at.push(part("VaultAuth", &at.namespace, &at.name));
        let auth = cluster.vault_auth(&at.namespace, &at.name);
        let auth = auth.ok_or_else(|| absent("VaultAuth", &at.namespace, &at.name))?;
        let listed = auth.spec.as_ref().map(|it| it.allowed_namespaces.as_slice()).unwrap_or_default();
        if !may_refer(&at.reader, (&at.namespace, &at.name), listed, &defaults.namespace) {
            return Err(trouble(format!(
                "the namespace {:?} may not use the VaultAuth {}/{}: it is not in its allowedNamespaces",
                at.reader, at.namespace, at.name
            )));
        }
        let usable = usable(cluster, &auth, defaults, looked_at)?;
        let credentials = credentials::of(cluster, &usable.merged, &at.reader, looked_at).await?;
        let connection = connected(cluster, &usable.connection, looked_at).await?;
        let cache_key = identity::cache_key(
            usable.merged.method.name(),
            version(&auth.metadata),
            version(&usable.connection.metadata),
            &credentials.provider,
        );
        let cache_key = cache_key.ok_or_else(|| trouble("an object that it takes has no UID of its own".into()))?;
        let authorities = connection.tls.authorities.as_deref().unwrap_or_default();
        let made_of = [cache_key.as_bytes(), usable.merged.hash.as_bytes(), authorities, credentials.secret.expose()];
        let made_of = identity::blake2b_of(&made_of);
        if let Some(held) = self.held(&login(at)).filter(|it| it.made_of == made_of) {
            return Ok(held);
        }
        let namespace = usable.merged.spec.namespace.trim_matches('/').to_owned();
        let settings = Settings {
            login_namespace: Some(namespace.clone()).filter(|it| !it.is_empty()),
            login_headers: usable.merged.spec.headers.clone(),
            auth: credentials.auth,
            ..connection
        };
        let mut vault = Vault::new(settings).map_err(|it| trouble(it.to_string()))?.with_literal_keys();
        if let Some(observer) = &self.observer {
            vault = vault.with_observer(Arc::clone(observer));
        }
        let held = Held { made_of, cache_key, namespace, vault };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(login(at), held.clone());
        Ok(held)
    }
}

impl Held {
    /// Where `at` reads: in the Vault namespace that it names, else in that of the VaultAuth.
    fn place(&self, at: &StoreRef) -> vault::Place {
        let mut place = at.place.clone().unwrap_or_default();
        place.namespace = place.namespace.or_else(|| Some(self.namespace.clone())).filter(|it| !it.is_empty());
        place
    }

    /// The original cloned its clients for other Vault namespaces (spec section A.3.2).
    fn key(&self, at: &StoreRef) -> String {
        match self.place(at).namespace {
            Some(other) if other != self.namespace => format!("{}-{other}", self.cache_key),
            _ => self.cache_key.clone(),
        }
    }
}

/// What a VaultAuth comes to.
#[derive(Clone, Debug)]
pub struct Usable {
    /// What it says, with what its global adds.
    pub merged: Merged,
    /// Over which connection.
    pub connection: Arc<Object<VaultConnection>>,
}

/// What a VaultAuth comes to, as far as it can be told without logging in.
///
/// # Errors
///
/// If it is wrong, or something that it refers to is missing or wrong.
pub fn usable(
    cluster: &dyn Cluster,
    auth: &Object<VaultAuth>,
    defaults: &Defaults,
    looked_at: &mut Vec<Part>,
) -> Result<Usable, Trouble> {
    let merged = merged(cluster, auth, defaults, looked_at)?;
    let text = merged.spec.vault_connection_ref.as_str();
    let (namespace, name) = named(Reference {
        field: "spec.vaultConnectionRef",
        text,
        namespace: auth.namespace(),
        operator: &defaults.namespace,
    })?;
    if text.is_empty() && auth.namespace() == defaults.namespace && auth.name() != reference::DEFAULT {
        let detail = "spec.vaultConnectionRef is empty: in the operator's namespace only the VaultAuth \"default\" may \
                      leave it so";
        return Err(trouble(detail.into()));
    }
    looked_at.push(part("VaultConnection", &namespace, &name));
    let connection = cluster.vault_connection(&namespace, &name);
    let connection = connection.ok_or_else(|| absent("VaultConnection", &namespace, &name))?;
    Ok(Usable { merged, connection })
}

/// How a VaultConnection says that its Vault is reached, with no identity.
///
/// # Errors
///
/// If it is wrong, or the authorities that it names cannot be had.
pub async fn connected(
    cluster: &dyn Cluster,
    connection: &Object<VaultConnection>,
    looked_at: &mut Vec<Part>,
) -> Result<Settings, Trouble> {
    let at = format!("VaultConnection {}/{}", connection.namespace(), connection.name());
    let wrong = |what: String| trouble(format!("{at}: {what}")).retried(Retry::OnChange);
    let spec = connection.spec.as_ref().map_err(|it| wrong(it.to_string()))?;
    if spec.address.trim().is_empty() {
        return Err(wrong("spec.address is empty".into()));
    }
    if let Some(name) = spec.headers.keys().find(|it| it.eq_ignore_ascii_case("X-Vault-Namespace")) {
        return Err(wrong(format!("spec.headers: {name} is not set here but by namespace of a VaultAuth or a secret")));
    }
    let timeout = match spec.timeout.as_str() {
        "" => vault::TIMEOUT,
        text => {
            let timeout = text.parse::<GoDuration>().map_err(|it| wrong(format!("spec.timeout: {it}")))?;
            timeout.positive().unwrap_or(vault::TIMEOUT)
        }
    };
    let authorities = match (spec.ca_cert_secret_ref.as_str(), spec.ca_cert_path.as_str()) {
        ("", "") => None,
        (name, "") => {
            let held = credentials::secret_key(cluster, connection.namespace(), name, "ca.crt", looked_at).await?;
            Some(held.value.expose().to_vec())
        }
        ("", path) if path.split('/').any(|it| it == "..") => {
            return Err(wrong("spec.caCertPath may not contain `..`".into()));
        }
        ("", path) => Some(credentials::file(path).map_err(|it| wrong(format!("spec.caCertPath: {it}")))?),
        _ => return Err(wrong("spec.caCertSecretRef and spec.caCertPath exclude each other".into())),
    };
    Ok(Settings {
        address: spec.address.trim().to_owned(),
        login_namespace: None,
        headers: spec.headers.clone(),
        login_headers: Default::default(),
        tls: Tls {
            authorities,
            identity: None,
            server_name: Some(spec.tls_server_name.clone()).filter(|it| !it.is_empty()),
            skip_verify: spec.skip_tls_verify,
        },
        timeout,
        retries: Retries::default(),
        auth: Auth::None,
        place: vault::Place::default(),
        read_your_writes: false,
        forward_inconsistent: false,
    })
}

/// A Vault that others read from too: nobody of them ends its session.
struct Lent(Vault);

impl SecretProvider for Lent {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content> {
        self.0.read(at)
    }

    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        self.0.find(query)
    }

    fn check(&self) -> Answer<'_, Validity> {
        self.0.check()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok::<_, ProviderError>(()) })
    }
}

fn login(at: &StoreRef) -> Login {
    (at.namespace.clone(), at.name.clone(), at.reader.clone())
}

fn listed(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort();
    parts.dedup();
    parts
}

fn part(kind: &'static str, namespace: &str, name: &str) -> Part {
    Part { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

fn version(metadata: &kube::api::ObjectMeta) -> Version<'_> {
    Version { uid: metadata.uid.as_deref().unwrap_or_default(), generation: metadata.generation.unwrap_or_default() }
}

fn absent(kind: &str, namespace: &str, name: &str) -> Trouble {
    trouble(format!("there is no {kind} {namespace}/{name}"))
}

fn trouble(detail: String) -> Trouble {
    Trouble::new("VaultClientConfigError", "cannot log in to Vault", detail).retried(Retry::After(SOON))
}
