//! SecretStore and ClusterSecretStore (External Secrets, spec sections 1.3, 2.10, 3).

mod conditions;
mod generator;
mod kubernetes;
mod opening;
mod sops;
mod status;
mod vault;

use std::sync::Arc;

use leafseal::edge::Clock;
use leafseal::provider::fake::{self, Fake};
use leafseal::provider::{Observer, SecretProvider, Validity};
use serde_json::Value;

use self::opening::{Failure, Opening};
use super::{Attempt, Cluster, Opened, Part};
use crate::api::external_secrets::{
    COULD_NOT_READ, FakeProvider, FakeValidation, GeneratorKind, SecretStoreSpec, SecretStoreStatus, UPDATE_FAILED,
    ready,
};
use crate::api::{Malformed, read};
use crate::error::Trouble;
use crate::intent::StoreRef;

pub use conditions::selects;
pub use status::{Checked, check_interval, status};

/// The kind of stores that one namespace has.
pub(super) const NAMESPACED: &str = "SecretStore";

/// The kind of stores that several namespaces read from.
pub(super) const SHARED: &str = "ClusterSecretStore";

/// What opening takes besides the store.
#[derive(Clone)]
pub struct Surroundings {
    /// The class of stores that are served.
    pub controller_class: String,
    /// Who counts requests.
    pub observer: Arc<dyn Observer>,
    /// What says whether keys have expired.
    pub clock: Arc<dyn Clock>,
}

/// Whether a store may be read from, as far as its own object tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// It is not checked yet, or cannot be used.
    NotReady,
    /// Operators of another class serve it.
    Foreign,
}

/// A kind of store: how `spec.provider` names it, and how it is opened.
struct ProviderKind {
    name: &'static str,
    /// `status.capabilities`, as the original reports it.
    capabilities: &'static str,
    open: Open,
    /// True if the description leaves a namespace to the reader.
    is_referent: fn(&Value) -> bool,
}

type Open = for<'a, 'b> fn(&'a mut Opening<'b>, &'a Value) -> Opens<'a>;
type Opens<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Arc<dyn SecretProvider>, Failure>> + Send + 'a>>;

/// What is served: one line for each kind of store.
const PROVIDERS: &[ProviderKind] = &[
    ProviderKind { name: "vault", capabilities: "ReadWrite", open: vault::open, is_referent: vault::is_referent },
    ProviderKind { name: "openBao", capabilities: "ReadOnly", open: vault::open_bao, is_referent: vault::is_referent },
    ProviderKind {
        name: "kubernetes",
        capabilities: "ReadWrite",
        open: kubernetes::open,
        is_referent: kubernetes::is_referent,
    },
    ProviderKind { name: "fake", capabilities: "ReadWrite", open: open_fake, is_referent: |_| false },
    ProviderKind { name: "sops", capabilities: "ReadOnly", open: sops::open, is_referent: sops::is_referent },
];

/// Opens a store for the namespace of its reader; without a reader, to check it.
///
/// The class of the store and the conditions of a ClusterSecretStore are looked at; whether the store is
/// ready is not.
pub async fn open(cluster: &dyn Cluster, store: &StoreRef, surroundings: &Surroundings) -> Attempt {
    let mut opening = Opening::new(cluster, store, surroundings);
    let opened = match is_generator(store) {
        true => generator::open(&mut opening).await,
        false => open_store(&mut opening).await,
    };
    let made_from = opening.into_parts();
    Attempt {
        opened: match opened {
            Ok(provider) => Ok(Opened { provider, made_from: made_from.clone(), cache_key: None }),
            Err(Failure(detail, retry)) => Err(unreadable(detail).retried(retry)),
        },
        made_from,
    }
}

/// True if each reading of `store` makes something new, so that it is not kept open.
pub fn is_generator(store: &StoreRef) -> bool {
    GeneratorKind::find(store.kind).is_some()
}

/// The store that all readers of `store` share; `None` if each opens one of its own.
pub fn shared(cluster: &dyn Cluster, store: &StoreRef) -> Option<StoreRef> {
    let is_shared = store.kind == SHARED
        && !store.reader.is_empty()
        && look_at(cluster, store, |spec| spec.as_ref().is_ok_and(|it| !is_referent(it))) == Some(true);
    is_shared.then(|| StoreRef { reader: String::new(), ..store.clone() })
}

/// Whether the reader may use a store that it shares with others. Also says what was looked at.
///
/// # Errors
///
/// If the conditions of the store keep it out.
pub async fn admit(
    cluster: &dyn Cluster,
    store: &StoreRef,
    surroundings: &Surroundings,
) -> (Vec<Part>, Result<(), Trouble>) {
    let mut opening = Opening::new(cluster, store, surroundings);
    let admitted = match look_at(cluster, store, Clone::clone) {
        Some(Ok(spec)) => conditions::check(&mut opening, &spec).await,
        // Opening says what is wrong with it.
        _ => Ok(()),
    };
    (opening.into_parts(), admitted.map_err(|Failure(detail, retry)| unreadable(detail).retried(retry)))
}

/// Whether a store may be read from, as its object says. A store that is not ready is not asked, so
/// that it is not asked by everybody at once.
pub fn readiness(spec: &Result<SecretStoreSpec, Malformed>, status: &SecretStoreStatus, class: &str) -> Readiness {
    match spec {
        Ok(spec) if !is_of_class(spec, class) => Readiness::Foreign,
        Ok(_) if ready(&status.conditions).is_some_and(|it| it.status == "True") => Readiness::Ready,
        _ => Readiness::NotReady,
    }
}

/// What a reader is told of a store that is not ready.
pub fn not_ready(store: &StoreRef) -> Trouble {
    unreadable(format!("{} {:?} is not ready", store.kind, store.name))
}

/// True if one of the stores is served by operators of another class: whoever names it is left alone.
/// Stores that are not there have no class.
pub fn is_left_alone(cluster: &dyn Cluster, stores: &[StoreRef], class: &str) -> bool {
    let is_foreign = |spec: &Result<SecretStoreSpec, _>| spec.as_ref().is_ok_and(|it| !is_of_class(it, class));
    stores.iter().any(|it| look_at(cluster, it, is_foreign) == Some(true))
}

/// True if each namespace reads a ClusterSecretStore with an identity of its own, so that the store as such
/// cannot be checked and counts as usable.
pub fn is_referent(spec: &SecretStoreSpec) -> bool {
    kind_of(spec).is_ok_and(|(kind, block)| (kind.is_referent)(block))
}

fn is_of_class(spec: &SecretStoreSpec, class: &str) -> bool {
    spec.controller.is_empty() || spec.controller == class
}

fn unreadable(detail: String) -> Trouble {
    Trouble::new(UPDATE_FAILED, COULD_NOT_READ, detail)
}

/// What `look` says of the spec of a store; `None` if there is no such store.
fn look_at<T>(
    cluster: &dyn Cluster,
    store: &StoreRef,
    look: impl FnOnce(&Result<SecretStoreSpec, Malformed>) -> T,
) -> Option<T> {
    match store.kind {
        NAMESPACED => cluster.secret_store(&store.namespace, &store.name).map(|it| look(&it.spec)),
        SHARED => cluster.cluster_secret_store(&store.name).map(|it| look(&it.spec)),
        _ => None,
    }
}

/// The kind of store that is described, and the description.
fn kind_of(spec: &SecretStoreSpec) -> Result<(&'static ProviderKind, &Value), String> {
    let mut members = spec.provider.0.iter();
    let (Some((name, block)), None) = (members.next(), members.next()) else {
        return Err("spec.provider: exactly one provider is needed".to_owned());
    };
    let kind = PROVIDERS.iter().find(|it| it.name == name);
    let served = || PROVIDERS.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    kind.map(|it| (it, block))
        .ok_or_else(|| format!("spec.provider.{name}: this provider is not served; those that are: {}", served()))
}

async fn open_store(opening: &mut Opening<'_>) -> Result<Arc<dyn SecretProvider>, Failure> {
    let store = opening.store;
    let spec = look_at(opening.cluster, store, Clone::clone).ok_or_else(|| {
        Failure::from(format!("could not get {} {:?}, there is none of that name", store.kind, store.name))
    })?;
    let spec = spec.map_err(|it| Failure::settled(format!("{} {:?}: {it}", store.kind, store.name)))?;
    if !is_of_class(&spec, &opening.surroundings.controller_class) {
        return Err(Failure::settled("can not reference unmanaged store"));
    }
    if store.kind == SHARED && !store.reader.is_empty() {
        conditions::check(opening, &spec).await?;
    }
    let (kind, block) = kind_of(&spec).map_err(Failure::settled)?;
    opening.place = format!("spec.provider.{}", kind.name);
    opening.retries = vault::retries(spec.retry_settings.as_ref()).map_err(Failure::settled)?;
    (kind.open)(opening, block).await
}

fn open_fake<'a>(opening: &'a mut Opening<'_>, block: &'a Value) -> Opens<'a> {
    Box::pin(async move {
        let block: FakeProvider = read(block.clone(), &opening.place)?;
        let secrets = block.data.into_iter();
        let provider = Fake::new(fake::Settings {
            secrets: secrets.map(|it| fake::Secret { key: it.key, version: it.version, value: it.value.0 }).collect(),
            validity: match block.validation_result {
                FakeValidation::Ready => Some(Validity::Ready),
                FakeValidation::Unknown => Some(Validity::Unknown),
                FakeValidation::Error => None,
            },
        });
        Ok(Arc::new(provider) as Arc<dyn SecretProvider>)
    })
}

#[cfg(test)]
mod tests;
