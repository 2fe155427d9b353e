//! Secrets of a cluster as a store: this one or another (External Secrets, spec section 3.6).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1 as core;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::vault::JwtSource;
use super::{
    Address, Answer, Content, Object, Observer, ProviderError, ProviderErrorKind, ProviderKind, Query, SecretProvider,
    Validity, go_json, name_pattern,
};
use crate::secret::SecretText;

/// Clusters.
pub const KIND: ProviderKind =
    ProviderKind { field: "kubernetes", aliases: &[], name: "Kubernetes", finds: true, has_versions: false };

/// How a cluster is reached, and in which namespace its Secrets lie.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: String,
}

/// A cluster, and who we are there.
#[derive(Clone)]
pub enum Cluster {
    /// One that a client is connected to.
    Connected(kube::Client),
    /// One that is described by its parts.
    Server {
        /// The address of its API server.
        url: String,
        /// PEM of the authorities that are trusted; without them, those of the system.
        authorities: Option<Vec<u8>>,
        /// Who we are.
        auth: Auth,
    },
    /// One that the text of a kubeconfig describes. It must not name files or programs.
    Kubeconfig(SecretText),
}

/// Who we are in a cluster.
#[derive(Clone, Debug)]
pub enum Auth {
    /// The bearer of a token.
    Token(SecretText),
    /// The bearer of tokens that are made when they are needed.
    Tokens(Arc<dyn JwtSource>),
    /// Who holds a certificate and its key, both PEM.
    Certificate {
        /// The certificate.
        certificate: Vec<u8>,
        /// Its key.
        key: SecretText,
    },
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(_) => f.write_str("Connected(..)"),
            Self::Server { url, auth, .. } => f.debug_struct("Server").field("url", url).field("auth", auth).finish(),
            Self::Kubeconfig(_) => f.write_str("Kubeconfig(..)"),
        }
    }
}

/// How long a client is used whose token was made for it: tokens live an hour.
const FRESH: Duration = Duration::from_secs(30 * 60);

/// How many Secrets one answer to a list holds.
const PAGE: u32 = 250;

/// The Secrets of one namespace of a cluster.
pub struct Kubernetes {
    settings: Settings,
    observer: OnceLock<Arc<dyn Observer>>,
    client: Mutex<Option<(kube::Client, Instant)>>,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// Prepares to read; connects when something is read.
    pub fn new(settings: Settings) -> Self {
        Self { settings, observer: OnceLock::new(), client: Mutex::default() }
    }

    /// Tells `observer` of every request from now on.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        _ = self.observer.set(observer);
        self
    }

    async fn client(&self) -> Result<kube::Client, ProviderError> {
        if let Cluster::Connected(client) = &self.settings.cluster {
            return Ok(client.clone());
        }
        let mut held = self.client.lock().await;
        if let Some((client, since)) = &*held
            && since.elapsed() < FRESH
        {
            return Ok(client.clone());
        }
        let config = self.config().await?;
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = kube::Client::try_from(config)
            .map_err(|it| ProviderError::invalid(format!("the cluster cannot be connected to: {it}")))?;
        *held = Some((client.clone(), Instant::now()));
        Ok(client)
    }

    async fn config(&self) -> Result<kube::Config, ProviderError> {
        match &self.settings.cluster {
            Cluster::Connected(_) => Err(ProviderError::invalid("the cluster is connected to")),
            Cluster::Server { url, authorities, auth } => {
                let address = url.parse().map_err(|_| ProviderError::invalid(format!("{url:?} is not an address")))?;
                let mut config = kube::Config::new(address);
                config.root_cert = authorities.as_deref().map(certificates).transpose()?;
                config.auth_info = auth_info(auth).await?;
                Ok(config)
            }
            Cluster::Kubeconfig(text) => kubeconfig(text).await,
        }
    }

    async fn secrets(&self) -> Result<Api<core::Secret>, ProviderError> {
        Ok(Api::namespaced(self.client().await?, &self.settings.namespace))
    }

    /// Tells the observer what became of a request, and what that means.
    fn observed<T>(&self, call: &'static str, result: kube::Result<T>) -> Result<T, ProviderError> {
        let result = result.map_err(error);
        if let Some(observer) = self.observer.get() {
            observer.called(KIND.name, call, result.as_ref().map_or_else(ProviderError::is_missing, |_| true));
        }
        result
    }

    async fn secret(&self, at: &Address) -> Result<Content, ProviderError> {
        if at.version.is_some() {
            return Err(ProviderError::invalid("Secrets of a cluster have no versions"));
        }
        let secret = self.observed("GetSecret", self.secrets().await?.get(&at.key).await)?;
        match at.metadata {
            true => metadata(&secret),
            false => Ok(fields(secret)),
        }
    }

    async fn matching(&self, query: &Query) -> Result<Vec<(String, Content)>, ProviderError> {
        if query.path.as_deref().is_some_and(|it| !it.is_empty()) {
            return Err(ProviderError::invalid("Secrets of a cluster lie in no folders: leave find.path out"));
        }
        let pattern = name_pattern(query)?;
        let labels: Vec<String> = query.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let secrets = self.secrets().await?;
        let mut page = ListParams::default().limit(PAGE);
        if pattern.is_none() {
            page = page.labels(&labels.join(","));
        }
        let mut found = Vec::new();
        loop {
            let list = self.observed("ListSecrets", secrets.list(&page).await)?;
            for secret in list.items {
                let name = secret.metadata.name.clone().unwrap_or_default();
                if pattern.as_ref().is_none_or(|it| it.is_match(&name)) {
                    found.push((name, fields(secret)));
                }
            }
            match list.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Asks what we may do: in one question, and where the answer does not settle it, in another.
    async fn rights(&self) -> Result<Validity, ProviderError> {
        let client = self.client().await?;
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(self.settings.namespace.clone()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let reviews: Api<SelfSubjectRulesReview> = Api::all(client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = self.observed("CreateSelfSubjectRulesReview", answer)?;
        if answer.status.is_some_and(|it| it.resource_rules.iter().any(reads_secrets)) {
            return Ok(Validity::Ready);
        }
        let attributes = ResourceAttributes {
            namespace: Some(self.settings.namespace.clone()),
            resource: Some("secrets".to_owned()),
            verb: Some("get".to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = self.observed("CreateSelfSubjectAccessReview", answer)?;
        match answer.status.is_some_and(|it| it.allowed) {
            true => Ok(Validity::Ready),
            false => Err(ProviderError::denied("client is not allowed to get secrets")),
        }
    }
}

impl SecretProvider for Kubernetes {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn read<'a>(&'a self, at: &'a Address) -> Answer<'a, Content> {
        Box::pin(self.secret(at))
    }

    fn find<'a>(&'a self, query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(self.matching(query))
    }

    fn check(&self) -> Answer<'_, Validity> {
        Box::pin(self.rights())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.client.lock().await.take();
            Ok(())
        })
    }
}

fn fields(secret: core::Secret) -> Content {
    let data = secret.data.unwrap_or_default();
    Content::Fields(data.into_iter().map(|(key, value)| (key, SecretText::new(value.0))).collect())
}

/// Labels and annotations, as JSON.
fn metadata(secret: &core::Secret) -> Result<Content, ProviderError> {
    let part = |texts: &Option<BTreeMap<String, String>>| {
        let texts = texts.iter().flatten().map(|(name, value)| (name.as_str(), value.as_bytes()));
        go_json::print_texts(texts, go_json::Html::Plain)
    };
    let (annotations, labels) = (part(&secret.metadata.annotations), part(&secret.metadata.labels));
    let data = SecretText::new(format!(r#"{{"annotations":{annotations},"labels":{labels}}}"#));
    Ok(Content::Object(Object { data, metadata: None }))
}

fn reads_secrets(rule: &ResourceRule) -> bool {
    let has = |list: &[String], name: &str| list.iter().any(|it| it == "*" || it == name);
    let names_none = rule.resource_names.as_ref().is_none_or(Vec::is_empty);
    names_none
        && has(&rule.verbs, "get")
        && has(rule.resources.as_deref().unwrap_or_default(), "secrets")
        && has(rule.api_groups.as_deref().unwrap_or_default(), "")
}

fn error(error: kube::Error) -> ProviderError {
    let kube::Error::Api(status) = &error else {
        return match error {
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                ProviderError::unavailable("the answer is not what a cluster answers")
            }
            error => ProviderError::unavailable(reasons(&error)),
        };
    };
    let message = status.message.clone();
    match status.code {
        404 => ProviderError::new(ProviderErrorKind::Missing, message),
        401 | 403 => ProviderError::denied(message),
        429 | 500.. => {
            let seconds = status.details.as_ref().map(|it| it.retry_after_seconds).filter(|it| *it > 0);
            let retry_after = seconds.map(|it| Duration::from_secs(it.into()));
            let kind = ProviderErrorKind::Unavailable { retry_after };
            ProviderError::new(kind, message)
        }
        _ => ProviderError::invalid(message),
    }
}

/// What went wrong, and why, down to the last reason.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(it) = source {
        let reason = it.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = it.source();
    }
    text
}

/// The certificates of a bundle in PEM, as DER.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, ProviderError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(it) if !it.is_empty() => Ok(it.into_iter().map(|it| it.to_vec()).collect()),
        _ => Err(ProviderError::invalid("the bundle of authorities holds no certificate in PEM")),
    }
}

async fn auth_info(auth: &Auth) -> Result<AuthInfo, ProviderError> {
    let mut info = AuthInfo::default();
    let bearer = |token: &SecretText| {
        let token = token.expose_str().map(str::trim).filter(|it| !it.is_empty());
        token.map(|it| it.to_owned().into()).ok_or_else(|| ProviderError::invalid("the token is empty or not text"))
    };
    match auth {
        Auth::Token(token) => info.token = Some(bearer(token)?),
        Auth::Tokens(source) => info.token = Some(bearer(&source.token().await?)?),
        Auth::Certificate { certificate, key } => {
            info.client_certificate_data = Some(base64_simd::STANDARD.encode_to_string(certificate));
            info.client_key_data = Some(base64_simd::STANDARD.encode_to_string(key.expose()).into());
        }
    }
    Ok(info)
}

/// Reads the text of a kubeconfig, which may come from anybody who may write a store: one that has us
/// start programs or read files is refused.
async fn kubeconfig(text: &SecretText) -> Result<kube::Config, ProviderError> {
    let unreadable = || ProviderError::invalid("the kubeconfig cannot be read");
    let config = Kubeconfig::from_yaml(text.expose_str().ok_or_else(unreadable)?).map_err(|_| unreadable())?;
    let infos = config.auth_infos.iter().filter_map(|it| it.auth_info.as_ref());
    let reaches_out = infos.into_iter().any(|it| {
        it.exec.is_some()
            || it.auth_provider.is_some()
            || it.token_file.is_some()
            || it.client_certificate.is_some()
            || it.client_key.is_some()
    });
    let clusters = config.clusters.iter().filter_map(|it| it.cluster.as_ref());
    if reaches_out || clusters.into_iter().any(|it| it.certificate_authority.is_some()) {
        return Err(ProviderError::invalid("the kubeconfig names programs or files: it must hold everything itself"));
    }
    kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(|_| unreadable())
}
