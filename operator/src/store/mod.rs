//! How the objects that describe stores become providers: one file for each family.
//!
//! A store is opened with what a [`Cluster`] says. Who opens keeps what was opened, and opens anew
//! when something changed that it was made [from](Opened::made_from).

pub mod external_secrets;
pub mod vault_secrets;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kube::api::ApiResource;
use leafseal::provider::SecretProvider;
use leafseal::provider::vault::JwtSource;
use leafseal::secret::SecretText;
use serde_json::Value;

use crate::api::Object;
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::vault_secrets::{VaultAuth, VaultAuthGlobal, VaultConnection};
use crate::digest::Labels;
use crate::error::Trouble;

/// What a cluster says, in time.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// What is asked of a cluster to open a store. Objects of our kinds are known from watches; the
/// rest is read where it is not known.
pub trait Cluster: Send + Sync {
    /// A SecretStore.
    fn secret_store(&self, namespace: &str, name: &str) -> Option<Arc<Object<SecretStore>>>;
    /// A ClusterSecretStore.
    fn cluster_secret_store(&self, name: &str) -> Option<Arc<Object<ClusterSecretStore>>>;
    /// A VaultAuth.
    fn vault_auth(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuth>>>;
    /// A VaultAuthGlobal.
    fn vault_auth_global(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuthGlobal>>>;
    /// A VaultConnection.
    fn vault_connection(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultConnection>>>;
    /// The labels of a namespace.
    fn namespace<'a>(&'a self, name: &'a str) -> Reading<'a, Option<Labels>>;
    /// A Secret.
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>>;
    /// A ConfigMap.
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>>;
    /// The UID of a ServiceAccount.
    fn service_account<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<String>>;
    /// Tokens of a ServiceAccount, each made when it is asked for, good for `seconds`. No audiences:
    /// those of the API server.
    fn tokens(&self, account: (&str, &str), audiences: &[String], seconds: i64) -> Arc<dyn JwtSource>;
    /// Tokens of the operator itself; `None` if it has none.
    fn own_token(&self) -> Option<Arc<dyn JwtSource>> {
        None
    }
    /// The files below a folder of mounted documents, by their paths from there. `path` is relative,
    /// without `.` and `..`; empty for all of them.
    fn folder<'a>(&'a self, path: &'a str) -> Reading<'a, BTreeMap<String, Vec<u8>>> {
        let refused = format!("no folder of documents is mounted, and {path:?} is asked for");
        Box::pin(async { Err(Trouble::new("InvalidProviderConfig", "unable to create client", refused)) })
    }
    /// The spec of a custom resource that no watch tells of; `None` if there is none of that name.
    fn custom<'a>(
        &'a self,
        at: &'a ApiResource,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> Reading<'a, Option<Value>> {
        let refused = format!("could not read {} {name:?} of {namespace:?}", at.kind);
        Box::pin(async { Err(Trouble::new("K8sClientError", "", refused)) })
    }
    /// A client for the API server that the operator itself uses.
    fn client(&self) -> kube::Client;
}

/// What a Secret or ConfigMap holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: Labels,
    /// Its data, binary data of ConfigMaps too.
    pub data: BTreeMap<String, SecretText>,
}

/// A store that can be read from.
#[derive(Clone)]
pub struct Opened {
    /// What reads from it.
    pub provider: Arc<dyn SecretProvider>,
    /// What it was made from: when one of these changes, it is opened anew.
    pub made_from: Vec<Part>,
    /// Vault Secrets: which configuration of which identity this is (spec section A.3.2).
    pub cache_key: Option<String>,
}

/// Something that a store was made from.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Part {
    /// Its kind: `Secret`, `ConfigMap`, `ServiceAccount`, `VaultAuth`…
    pub kind: &'static str,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What became of opening a store.
pub struct Attempt {
    /// What was looked at: when one of these changes, another attempt may end differently.
    pub made_from: Vec<Part>,
    /// The store, or why it cannot be opened.
    pub opened: Result<Opened, Trouble>,
}
