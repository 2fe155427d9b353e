//! The engine of a family: watches, a queue, workers that look at one object at a time.
//!
//! ```text
//! watch ──▶ mirrors ──▶ queue ──▶ reconcile ──▶ apply
//!   │          ▲                    │    │
//!   └─▶ secrets, interests          │    └─▶ fetch ──▶ stores
//!                                   └─▶ status
//! ```

pub mod apply;
pub mod backoff;
mod check;
pub mod cluster;
pub mod coordinator;
pub mod fetch;
pub mod interests;
mod later;
mod lock;
pub mod mirrors;
mod others;
mod own_key;
mod past;
pub mod queue;
mod reconcile;
pub mod reload;
mod restart;
pub mod secrets;
mod spread;
pub mod stores;
mod tries;
pub mod turns;
pub mod watch;
mod work;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use tokio::task::JoinSet;

use crate::adapter::vault_static_secret::StaticSecret;
use crate::api::external_secrets::{ClusterExternalSecret, ClusterSecretStore, ExternalSecret, SecretStore};
use crate::api::vault_secrets::{SecretTransformation, VaultAuth, VaultAuthGlobal, VaultConnection, VaultStaticSecret};
use crate::api::{self, Kind, Object};
use crate::error::Trouble;
use crate::events::Events;
use crate::families::Served;
use crate::intent::Family;
use crate::lease::Gate;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::sinks::Sinks;
use crate::stop::Stop;
use crate::store::Part;
use backoff::BackOff;
use coordinator::Coordinator;
use mirrors::Mirrored;
use queue::{Job, Queue};
use tries::Tries;
use turns::{Turn, Turns};
use watch::Place;
use work::{Again, Work};
use world::World;

/// What an engine works with.
#[derive(Clone)]
pub struct Context {
    /// For all requests to the cluster; its pace is capped if that was asked for.
    pub client: Client,
    /// What the operator was told.
    pub settings: Arc<Settings>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where objects are told about.
    pub events: Events,
    /// Who is told outside the cluster.
    pub sinks: Sinks,
    /// The family that is served.
    pub family: Family,
    /// Its kinds, as the cluster has them. When that changes, the engine is stopped and run anew.
    pub served: Served,
    /// Where all who want a workload restarted meet: one for the process.
    pub coordinator: Coordinator,
    /// Whether we may write at this moment: ask before each write.
    pub gate: Gate,
    /// When this is asked, begin nothing, finish what runs, and return.
    pub stop: Stop,
}

/// A kind that is watched: how it is followed, and how one object of it is looked at.
struct Row {
    kind: &'static str,
    family: Family,
    follow: fn(Arc<World>) -> BoxFuture<'static, ()>,
    look: for<'a> fn(&'a World, &'a Job<Part>, &'a mut Turn) -> BoxFuture<'a, Again>,
}

/// The row of a kind, looked at by `$look`.
macro_rules! row {
    ($family:ident, $kind:ident, $look:expr) => {
        Row {
            kind: $kind::KIND,
            family: Family::$family,
            follow: |world| follow::<$kind>(world).boxed(),
            look: |world, job, turn| $look(world, job, turn).boxed(),
        }
    };
}

const KINDS: &[Row] = &[
    row!(ExternalSecrets, ExternalSecret, reconcile::sync::<ExternalSecret>),
    row!(ExternalSecrets, SecretStore, check::check::<SecretStore>),
    row!(ExternalSecrets, ClusterSecretStore, check::check::<ClusterSecretStore>),
    row!(ExternalSecrets, ClusterExternalSecret, spread::spread),
    row!(VaultSecrets, VaultStaticSecret, reconcile::sync::<StaticSecret>),
    row!(VaultSecrets, VaultConnection, check::check::<VaultConnection>),
    row!(VaultSecrets, VaultAuth, check::check::<VaultAuth>),
    row!(VaultSecrets, VaultAuthGlobal, check::check::<VaultAuthGlobal>),
    row!(VaultSecrets, SecretTransformation, check::check::<SecretTransformation>),
];

/// Serves a family until it is told to stop.
///
/// # Errors
///
/// If the family cannot be served; it is tried again.
pub async fn run(context: Context) -> Result<(), Trouble> {
    let mac_key = match context.family {
        Family::Reload => return reload::run(context).await,
        Family::ExternalSecrets => None,
        Family::VaultSecrets => restart::take_key(&context).await?,
    };
    let world = Arc::new(World::new(context, mac_key));
    let Context { settings, family, .. } = &world.context;

    // Dropped when the work ends: then nothing goes on.
    let mut watches = JoinSet::new();
    watches.spawn(follow_secrets(world.clone()));
    watches.spawn(later::tell(world.clone()));
    if *family == Family::ExternalSecrets {
        watches.spawn(others::follow::<ConfigMap>(world.clone(), "ConfigMap", api::Scope::Namespaced));
        // Rights in some namespaces are none to namespaces.
        if settings.namespaces.is_empty() {
            watches.spawn(others::follow::<Namespace>(world.clone(), "Namespace", api::Scope::Cluster));
        }
    }
    for row in KINDS.iter().filter(|it| it.family == *family && world.context.served.other(it.kind).is_some()) {
        watches.spawn((row.follow)(world.clone()));
    }
    let begin = async {
        world.secrets.whole().await;
        // Stores first: what reads from them would only wait.
        world.mirrors.whole(&world.context.served).await;
    };
    work::work(&world, watches, begin).await?;
    world.stores.close().await;
    Ok(())
}

impl Context {
    /// How long what failed waits in this family.
    fn backoff(&self) -> BackOff {
        match self.family {
            // External Secrets, spec section 2.11: doubled each time.
            Family::ExternalSecrets | Family::Reload => {
                BackOff { first: self.settings.backoff, factor: 2.0, longest: self.settings.backoff_limit }
            }
            // Vault Secrets, spec section A.4.2, step 6.
            Family::VaultSecrets => {
                BackOff { first: Duration::from_secs(5), factor: 1.5, longest: Duration::from_secs(60) }
            }
        }
    }

    /// The objects of a kind in one namespace, or in the whole cluster.
    pub fn api_in<K>(&self, namespace: Option<&str>, at: &ApiResource) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let client = self.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, at),
            None => Api::all_with(client, at),
        }
    }

    /// Where objects in namespaces are looked for: in the whole cluster, or in each namespace that is served.
    pub fn scopes(&self) -> Vec<watch::Scope> {
        match self.settings.namespaces.as_slice() {
            [] => vec![None],
            namespaces => namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// Where the objects of a kind are watched: in the whole cluster, or in each namespace that is served.
    pub fn apis<K>(&self, scope: api::Scope, at: &ApiResource) -> Vec<(watch::Scope, Api<K>)>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let scopes = match scope {
            api::Scope::Cluster => vec![None],
            api::Scope::Namespaced => self.scopes(),
        };
        scopes.into_iter().map(|it| (it.clone(), self.api_in(it.as_deref(), at))).collect()
    }
}

impl Work for World {
    fn context(&self) -> &Context {
        &self.context
    }

    fn queue(&self) -> &Queue<Part> {
        &self.queue
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn look<'a>(&'a self, job: &'a Job<Part>, turn: &'a mut Turn) -> BoxFuture<'a, Again> {
        let row = KINDS.iter().find(|it| it.kind == job.key.kind).expect("only what has a row is asked for");
        (row.look)(self, job, turn)
    }

    fn tries(&self) -> &Tries {
        &self.tries
    }

    /// Looks after those who stand in line for a store.
    fn tick(&self) {
        self.call();
    }
}

/// Follows the objects of a kind: those that change are looked at, and all who depend on them.
async fn follow<K: Mirrored>(world: Arc<World>) {
    let Some(resource) = world.context.served.resource::<K>() else { return };
    let changed = |at: &Place, before: Option<&Object<K>>, now: Option<&Object<K>>| {
        let part = Part { kind: K::KIND, namespace: at.0.clone(), name: at.1.clone() };
        let is_same =
            matches!((before, now), (Some(before), Some(now)) if watch::is_same(&before.metadata, &now.metadata));
        if !is_same {
            // First: whoever looks now opens stores as they are now.
            world.tell(&part);
            world.queue.push(part);
        } else if before.map(|it| &it.status) != now.map(|it| &it.status) {
            world.wake_by_status(&part);
        }
    };
    watch::mirror(world.context.apis(K::SCOPE, resource), K::of(&world.mirrors), changed).await;
}

async fn follow_secrets(world: Arc<World>) {
    let apis = world.context.apis(api::Scope::Namespaced, &ApiResource::erase::<Secret>(&()));
    let part = |at: &Place| Part { kind: "Secret", namespace: at.0.clone(), name: at.1.clone() };
    let is_wanted = |at: &Place| world.interests.is_wanted(&part(at));
    world.secrets.follow(apis, is_wanted, |at| world.tell(&part(at))).await;
}
