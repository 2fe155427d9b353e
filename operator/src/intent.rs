//! What one custom resource asks for, in words that belong to no family.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use leafseal::provider::vault::Place;
use leafseal::provider::{Address, Query};

use crate::digest::Labels;

/// What one original operator served: a family of custom resources, or of annotations.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// `external-secrets.io`
    ExternalSecrets,
    /// `secrets.hashicorp.com`
    VaultSecrets,
    /// Annotations of workloads, without a custom resource.
    Reload,
}

/// The object that asks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Owner {
    /// Group and version under which the cluster serves it.
    pub api_version: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
}

impl Owner {
    /// How events name it.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.clone()),
            kind: Some(self.kind.to_owned()),
            namespace: (!self.namespace.is_empty()).then(|| self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }

    /// How what it controls names it.
    pub fn controller(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// What is asked for: read this, and keep that Secret so.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Who asks.
    pub owner: Owner,
    /// What is read, in order. The adapter that made the intent knows what to do with each answer.
    pub reads: Vec<Read>,
    /// The Secret that is kept.
    pub target: Target,
    /// When it is read again.
    pub refresh: Refresh,
    /// The workloads that restart when the content changes.
    pub restarts: Vec<WorkloadRef>,
}

/// One thing to read from one store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read {
    /// Where the object says so: `spec.data[0] (key: app)`.
    pub place: String,
    /// The store.
    pub store: StoreRef,
    /// What is read there.
    pub ask: Ask,
}

/// What is read from a store.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Ask {
    /// One secret.
    One(Address),
    /// All that fit.
    Many(Query),
}

/// Names an object that says how a store is reached and with which identity: a SecretStore, a
/// ClusterSecretStore, a VaultAuth.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoreRef {
    /// Its family.
    pub family: Family,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The namespace of who reads: some stores lend each namespace an identity of its own.
    pub reader: String,
    /// Where in Vault, when the reader says so and not the store (Vault Secrets).
    pub place: Option<Place>,
}

/// The Secret that is kept.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What may be done to it.
    pub ownership: Ownership,
    /// What happens when the store says that there is nothing.
    pub when_missing: WhenMissing,
    /// True if it is made immutable.
    pub immutable: bool,
}

/// What may be done to a Secret on behalf of an object.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ownership {
    /// External Secrets `Owner`: made, taken over where nobody owns it, deleted with its owner.
    Owner,
    /// External Secrets `Orphan`: made, changed, owned by nobody.
    Orphan,
    /// External Secrets `Merge`: only own keys of a Secret that is there.
    Merge,
    /// External Secrets `CreateOrMerge`: as `Merge`, and made where it is not there.
    CreateOrMerge,
    /// External Secrets `None`: nothing.
    Nothing,
    /// Vault Secrets `create: true`: made, and refused where another made it.
    Exclusive {
        /// A Secret that no object of this family owns is taken over.
        overwrite: bool,
    },
    /// Vault Secrets `create: false`: only the data of a Secret that is there.
    DataOnly,
}

/// External Secrets `deletionPolicy`; Vault Secrets always retains.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WhenMissing {
    /// The Secret stays as it is.
    Retain,
    /// The Secret is deleted.
    Delete,
    /// Own keys are taken out.
    Merge,
}

/// When a target is read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// Once, and again only when the target is gone or was changed.
    Once,
    /// When the object changes.
    OnChange,
    /// When the object changes, and this long after the last time. Earliest, latest.
    Every(Duration),
    /// After the first success never by time (External Secrets: `refreshInterval: 0`).
    AfterFirstNever,
}

/// Names a workload in the namespace of the object that asks.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkloadRef {
    /// Its kind, as `rolloutRestartTargets` spells it: `Deployment`, `argo.Rollout`.
    pub kind: String,
    /// Its name.
    pub name: String,
}
