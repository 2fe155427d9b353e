//! Vault and OpenBao: KV version 1 and 2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Answer;
use crate::secret::SecretText;

/// How a Vault is reached, with which identity, and where its secrets lie.
#[derive(Clone, Debug)]
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
