//! What a store's description refers to, read under the rules of its kind: a SecretStore refers to its own
//! namespace and nothing else; a ClusterSecretStore to the namespace it names, or else to its
//! reader's (spec sections 1.3, 3.2).

use std::sync::Arc;

use leafseal::provider::vault::{JwtSource, Retries};
use leafseal::secret::SecretText;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{SHARED, Surroundings};
use crate::api::Malformed;
use crate::api::external_secrets::{CaProvider, KeySelector, ServiceAccountSelector};
use crate::error::{Retry, Trouble};
use crate::intent::StoreRef;
use crate::store::{Cluster, Held, Part};

/// Why a store cannot be opened, and when it is worth another attempt.
pub(super) struct Failure(pub(super) String, pub(super) Retry);

impl Failure {
    /// A failure that lasts until something is changed.
    pub(super) fn settled(detail: impl Into<String>) -> Self {
        Self(detail.into(), Retry::OnChange)
    }
}

impl From<String> for Failure {
    fn from(detail: String) -> Self {
        Self(detail, Retry::BackOff)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::settled(malformed.to_string())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let detail = if trouble.detail.is_empty() { trouble.message.clone() } else { trouble.to_string() };
        Self(detail, trouble.retry)
    }
}

impl From<leafseal::provider::ProviderError> for Failure {
    fn from(error: leafseal::provider::ProviderError) -> Self {
        Self(error.message, Retry::BackOff)
    }
}

/// A store on its way to be opened.
pub(super) struct Opening<'c> {
    pub(super) cluster: &'c dyn Cluster,
    pub(super) store: &'c StoreRef,
    pub(super) surroundings: &'c Surroundings,
    /// Where the description stands.
    pub(super) place: String,
    /// `spec.retrySettings`
    pub(super) retries: Retries,
    made_from: Vec<Part>,
}

impl<'c> Opening<'c> {
    pub(super) fn new(cluster: &'c dyn Cluster, store: &'c StoreRef, surroundings: &'c Surroundings) -> Self {
        let (kind, namespace, name) = (store.kind, store.namespace.clone(), store.name.clone());
        let made_from = vec![Part { kind, namespace, name }];
        let place = "spec.provider".to_owned();
        Self { cluster, store, surroundings, place, retries: Retries::default(), made_from }
    }

    /// Everything that was looked at, each once, the store itself too.
    pub(super) fn into_parts(mut self) -> Vec<Part> {
        self.made_from.sort();
        self.made_from.dedup();
        self.made_from
    }

    /// Remembers that something was looked at.
    pub(super) fn note(&mut self, kind: &'static str, namespace: &str, name: &str) {
        self.made_from.push(Part { kind, namespace: namespace.to_owned(), name: name.to_owned() });
    }

    /// True if references lead nowhere but to the reader's own namespace.
    pub(super) fn is_namespaced(&self) -> bool {
        self.store.kind != SHARED
    }

    /// The namespace that a reference leads to. What a SecretStore names is not heard.
    pub(super) fn namespace(&self, named: &str, place: &str) -> Result<String, Failure> {
        let namespace = match self.is_namespaced() {
            // A ClusterGenerator has no namespace, and lends no other.
            true if self.store.namespace.is_empty() => &self.store.reader,
            true => &self.store.namespace,
            false if named.is_empty() => &self.store.reader,
            false => named,
        };
        match namespace {
            "" => Err(Failure::settled(format!("{place}.namespace: is needed to check the store by itself"))),
            namespace => Ok(namespace.to_owned()),
        }
    }

    /// One value of a Secret. `usual` is the key where none is named.
    pub(super) async fn value(&mut self, at: &KeySelector, usual: &str, place: &str) -> Result<SecretText, Failure> {
        let key = if at.key.is_empty() { usual } else { &at.key };
        let held = self.secret(&at.name, &at.namespace, place).await?;
        let named = || format!("{place}: the Secret {:?}", at.name);
        match held.data.get(key) {
            _ if key.is_empty() => Err(Failure::settled(format!("{place}.key: is missing"))),
            Some(value) => Ok(value.clone()),
            None => Err(format!("{} has no key {key:?}", named()).into()),
        }
    }

    /// One value of a Secret that is text, without the white space around it.
    pub(super) async fn word(&mut self, at: &KeySelector, usual: &str, place: &str) -> Result<SecretText, Failure> {
        let value = self.value(at, usual, place).await?;
        let text = value.expose_str().ok_or_else(|| Failure::from(format!("{place}: the value is no text")))?;
        Ok(SecretText::from(text.trim()))
    }

    /// A whole Secret.
    pub(super) async fn secret(&mut self, name: &str, namespace: &str, place: &str) -> Result<Held, Failure> {
        self.held("Secret", name, namespace, place).await
    }

    /// A whole Secret or ConfigMap.
    pub(super) async fn held(
        &mut self,
        kind: &'static str,
        name: &str,
        namespace: &str,
        place: &str,
    ) -> Result<Held, Failure> {
        if name.is_empty() {
            return Err(Failure::settled(format!("{place}.name: is missing")));
        }
        let namespace = self.namespace(namespace, place)?;
        self.note(kind, &namespace, name);
        let held = match kind {
            "ConfigMap" => self.cluster.config_map(&namespace, name).await?,
            _ => self.cluster.secret(&namespace, name).await?,
        };
        held.ok_or_else(|| format!("{place}: there is no {kind} \"{namespace}/{name}\"").into())
    }

    /// Tokens of a ServiceAccount.
    pub(super) fn tokens(
        &mut self,
        account: &ServiceAccountSelector,
        audiences: &[String],
        seconds: i64,
        place: &str,
    ) -> Result<Arc<dyn JwtSource>, Failure> {
        if account.name.is_empty() {
            return Err(Failure::settled(format!("{place}.name: is missing")));
        }
        let namespace = self.namespace(&account.namespace, place)?;
        self.note("ServiceAccount", &namespace, &account.name);
        Ok(self.cluster.tokens((&namespace, &account.name), audiences, seconds))
    }

    /// The authorities that are trusted instead of those of the system: PEM.
    pub(super) async fn authorities(
        &mut self,
        bundle: &str,
        provider: Option<&CaProvider>,
        place: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let (pem, place) = if !bundle.is_empty() {
            let place = format!("{place}.caBundle");
            let pem = base64_simd::forgiving_decode_to_vec(bundle.as_bytes());
            (pem.map_err(|_| Failure::settled(format!("{place}: is no base64")))?, place)
        } else if let Some(provider) = provider {
            let place = format!("{place}.caProvider");
            (self.authority(provider, &place).await?, place)
        } else {
            return Ok(None);
        };
        let pem = match pem.starts_with(b"-----") {
            true => pem,
            // Some people encode what is encoded already.
            false => base64_simd::forgiving_decode_to_vec(&pem).unwrap_or(pem),
        };
        match CertificateDer::from_pem_slice(&pem) {
            Ok(_) => Ok(Some(pem)),
            Err(_) => Err(Failure::settled(format!("{place}: holds no certificate in PEM"))),
        }
    }

    async fn authority(&mut self, provider: &CaProvider, place: &str) -> Result<Vec<u8>, Failure> {
        let named = provider.namespace.clone().unwrap_or_default();
        if !self.is_namespaced() && named.is_empty() {
            return Err(Failure::settled(format!("{place}.namespace: a ClusterSecretStore has to name it")));
        }
        let kind = match provider.kind.as_str() {
            "Secret" => "Secret",
            "ConfigMap" => "ConfigMap",
            _ => return Err(Failure::settled(format!("{place}.type: expected Secret or ConfigMap"))),
        };
        let held = self.held(kind, &provider.name, &named, place).await?;
        let value = held.data.get(&provider.key);
        value
            .map(|it| it.expose().to_vec())
            .ok_or_else(|| format!("{place}: the {kind} {:?} has no key {:?}", provider.name, provider.key).into())
    }
}
