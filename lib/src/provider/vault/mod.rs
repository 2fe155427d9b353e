//! Vault and OpenBao: KV version 1 and 2 (External Secrets, spec sections 3.1 to 3.5; Vault Secrets,
//! spec sections A.3, A.4).
//!
//! ```text
//!  Vault ──▶ kv: what is read and how answers are understood ──▶ path: where it lies
//!    │
//!    └─────▶ session: one identity, one token ──▶ login: how it is got
//!               │
//!               └──▶ connection: one server, retries ──▶ limit: how much it is asked at once
//! ```

mod connection;
mod dynamic;
mod kv;
mod limit;
mod login;
mod path;
mod session;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::path::Keys;
use self::session::Session;
use super::{Address, Answer, Content, Observer, ProviderError, ProviderKind, Query, SecretProvider, Validity};
use crate::secret::SecretText;

pub use dynamic::{Dynamic, Method, Part, Request};

/// Vault and OpenBao.
pub const KIND: ProviderKind =
    ProviderKind { field: "vault", aliases: &["openBao"], name: "HashiCorp/Vault", finds: true, has_versions: true };

/// A place in a Vault, read with one identity.
///
/// Clones and what [`at`](Self::at) gives share the identity's token and connections.
#[derive(Clone)]
pub struct Vault {
    session: Arc<Session>,
    place: Place,
    keys: Keys,
}

impl Vault {
    /// Prepares to read where `settings` says. Nothing is asked yet, and no runtime is needed.
    ///
    /// # Errors
    ///
    /// If the settings make no sense: an address that is none, certificates that are none.
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        let place = settings.place.clone();
        Ok(Self { session: Arc::new(Session::new(settings)?), place, keys: Keys::Forgiving })
    }

    /// Tells `observer` of every request from now on. Only the first observer of a session counts.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.session.observe(observer);
        self
    }

    /// Another place in the same Vault, read with the same identity.
    #[must_use]
    pub fn at(&self, place: Place) -> Self {
        Self { session: Arc::clone(&self.session), place, keys: self.keys }
    }

    /// The same place, of which every key is a path inside the mount, whatever it begins with: so
    /// Vault Secrets means them. External Secrets lets keys begin with the mount and with `data`.
    #[must_use]
    pub fn with_literal_keys(self) -> Self {
        Self { keys: Keys::Literal, ..self }
    }

    /// What is made when something is asked of this Vault.
    #[must_use]
    pub fn dynamic(self, request: Request) -> Dynamic {
        Dynamic::new(self.session, self.place, request)
    }

    /// The accessor of the token that is used, which names it without being it. Logs in if that has
    /// not been done. `None` if there is no token, or one without accessor (batch tokens).
    ///
    /// # Errors
    ///
    /// If there is no logging in.
    pub fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(self.session.accessor())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.session.address()).field("place", &self.place).finish()
    }
}

impl SecretProvider for Vault {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content> {
        Box::pin(kv::read(&self.session, &self.place, self.keys, at))
    }

    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(kv::find(&self.session, &self.place, query))
    }

    fn check(&self) -> Answer<'_, Validity> {
        Box::pin(self.session.check())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.session.close())
    }
}

/// How a Vault is reached, with which identity, and where its secrets lie.
#[derive(Clone)]
pub struct Settings {
    /// The address, without `/v1`.
    pub address: String,
    /// The Vault namespace of logins; without one, that of [`Place`].
    pub login_namespace: Option<String>,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// Headers of login requests alone.
    pub login_headers: BTreeMap<String, String>,
    /// How the connection is secured.
    pub tls: Tls,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a request is repeated that failed for a reason that passes.
    pub retries: Retries,
    /// With which identity.
    pub auth: Auth,
    /// Where secrets lie.
    pub place: Place,
    /// Every answer tells a state, and every request asks for at least that state.
    pub read_your_writes: bool,
    /// A standby that is behind hands the request on. Only together with `read_your_writes`.
    pub forward_inconsistent: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, login_namespace, headers, login_headers, tls, timeout, retries, auth, place, .. } = self;
        f.debug_struct("Settings")
            .field("address", address)
            .field("login_namespace", login_namespace)
            // Proxies are let in by headers, so their values are secrets.
            .field("headers", &headers.keys())
            .field("login_headers", &login_headers.keys())
            .field("tls", tls)
            .field("timeout", timeout)
            .field("retries", retries)
            .field("auth", auth)
            .field("place", place)
            .field("read_your_writes", &self.read_your_writes)
            .field("forward_inconsistent", &self.forward_inconsistent)
            .finish()
    }
}

/// How a connection is secured.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM of the authorities that are trusted instead of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// PEM of the client's certificate and key.
    pub identity: Option<(Vec<u8>, SecretText)>,
    /// The name that the server has to prove.
    pub server_name: Option<String>,
    /// The server has to prove nothing.
    pub skip_verify: bool,
}

/// How often a request is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retries {
    /// How often at most.
    pub max: u32,
    /// How long to wait between; without one, 1 to 1.5 s.
    pub wait: Option<Duration>,
}

impl Default for Retries {
    /// What the original operators do when nobody says otherwise.
    fn default() -> Self {
        Self { max: 2, wait: None }
    }
}

/// How long one request may take when nobody says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Where secrets lie in a Vault.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The Vault namespace.
    pub namespace: Option<String>,
    /// The path of the secrets engine; without one, the first part of each key.
    pub mount: Option<String>,
    /// The version of the engine.
    pub version: KvVersion,
}

/// The version of a KV secrets engine.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KvVersion {
    /// Without versions of secrets.
    V1,
    /// With versions of secrets.
    #[default]
    V2,
}

/// An identity at Vault.
#[derive(Clone, Debug)]
pub enum Auth {
    /// None: somebody on the way adds a token.
    None,
    /// A token that somebody else made.
    Token(SecretText),
    /// `auth/<mount>/login` with a role and its secret.
    AppRole {
        /// The path of the method.
        mount: String,
        /// The role.
        role_id: SecretText,
        /// Its secret.
        secret_id: SecretText,
    },
    /// `auth/<mount>/login` with a signed token: the methods `kubernetes` and `jwt`.
    Jwt {
        /// The path of the method.
        mount: String,
        /// The role; `jwt` has a default one.
        role: Option<String>,
        /// Where the token comes from.
        jwt: Arc<dyn JwtSource>,
    },
    /// `auth/<mount>/login/<user>` with a password: the methods `userpass` and `ldap`.
    Password {
        /// The path of the method.
        mount: String,
        /// Who.
        user: String,
        /// The password.
        password: SecretText,
    },
    /// `auth/<mount>/login` with the certificate of the connection.
    Certificate {
        /// The path of the method.
        mount: String,
        /// The role; without one, Vault tries all.
        role: Option<String>,
    },
}

/// Where a fresh signed token comes from for each login.
pub trait JwtSource: std::fmt::Debug + Send + Sync {
    /// Makes or reads one.
    fn token(&self) -> Answer<'_, SecretText>;
}

#[cfg(test)]
mod tests;
