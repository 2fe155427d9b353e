//! What is particular to each kind that keeps a Secret: one file for each kind, nothing but pure
//! functions.

pub mod external_secret;
pub mod vault_static_secret;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use leafseal::provider::{Content, ProviderError};
use leafseal::secret::SecretText;
use leafseal::template::Surroundings;
use serde_json::Value;

use crate::api::{Kind, Object};
use crate::digest::Data;
use crate::error::{Refused, Trouble};
use crate::intent::{Intent, Owner, StoreRef, Target};
use crate::mac_key::MacKey;
use crate::plan::{Composed, Note, Verdict};

/// A kind that keeps a Secret.
pub trait Adapter: Send + Sync + 'static {
    /// The kind.
    type Kind: Kind;

    /// The finalizer of the original, which is set only where [`needs_finalizer`](Self::needs_finalizer)
    /// says so and removed where it is not needed.
    const FINALIZER: &'static str;

    /// True if the object may not go before something is done.
    fn needs_finalizer(object: &Object<Self::Kind>) -> bool;

    /// What an object asks for.
    ///
    /// # Errors
    ///
    /// If it cannot be understood or is not allowed to ask for it.
    fn intent(object: &Object<Self::Kind>, owner: Owner, settings: &Terms) -> Result<Intent, Trouble>;

    /// Every store that an object names, also when [`intent`](Self::intent) fails: whose class they are
    /// decides whether the object is looked at.
    fn stores(_object: &Object<Self::Kind>) -> Vec<StoreRef> {
        Vec::new()
    }

    /// What else in the cluster has a say in the content: template sources, transformations.
    fn around(object: &Object<Self::Kind>) -> Vec<AroundRef>;

    /// True if the stores have to be asked now. `in_step` tells whether the target is as the last sync
    /// left it.
    fn is_due(object: &Object<Self::Kind>, intent: &Intent, in_step: bool, now: Timestamp) -> bool;

    /// How long an object that is served and not due waits; `None` for ever.
    fn next(object: &Object<Self::Kind>, intent: &Intent, now: Timestamp) -> Option<Duration>;

    /// True if the last sync left no target, and that is how it should be: its absence is then no
    /// reason to ask the stores.
    fn leaves_no_target(_object: &Object<Self::Kind>) -> bool {
        false
    }

    /// What the target should hold, from what the stores answered: one answer for each of
    /// [`Intent::reads`].
    ///
    /// # Errors
    ///
    /// If an answer is an error that matters, or the answers do not fit the object.
    fn compose(
        object: &Object<Self::Kind>,
        intent: &Intent,
        answers: Vec<Result<Found, ProviderError>>,
        around: &Around,
        terms: &Terms,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<(Composed, Vec<Note>), Trouble>;

    /// The change of the status that reports `outcome`; `None` if the status says so already.
    fn status(object: &Object<Self::Kind>, intent: Option<&Intent>, outcome: &Outcome, now: Timestamp)
    -> Option<Value>;

    /// The MAC that the status remembers, for kinds that keep one.
    fn recorded_mac(object: &Object<Self::Kind>) -> Option<String>;

    /// What of the [recorded MAC](Self::recorded_mac) can be compared with.
    fn trusted_mac(object: &Object<Self::Kind>, _target: Option<&Secret>, _terms: &Terms) -> Option<String> {
        Self::recorded_mac(object)
    }

    /// How long an object that is in step waits for its first reading after a start.
    fn first_look(_object: &Object<Self::Kind>, _intent: &Intent) -> Duration {
        Duration::ZERO
    }

    /// True if the target is as the last sync left it, so that nothing but time or a change of the object
    /// is a reason to ask the stores.
    fn is_in_step(object: &Object<Self::Kind>, intent: &Intent, target: Option<&Secret>, terms: &Terms) -> bool;

    /// In whose name the target is written: the field manager.
    fn manager(owner: &Owner) -> String;

    /// The value of the label that marks what an object owns.
    fn owner_mark(owner: &Owner) -> String;

    /// True if a Secret that carries the mark of `owner` was a target of its in former times.
    fn is_former(_secret: &ObjectMeta, _owner: &Owner, _target: &Target) -> bool {
        true
    }

    /// How trouble with reading is told on an object of this kind.
    fn unreadable(trouble: Trouble) -> Trouble;

    /// How it is told that the API server refused a write.
    fn unwritable(refused: Refused) -> Trouble;
}

/// What the whole operator was told, as far as an adapter must know it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The namespace that the operator runs in: where Vault Secrets' defaults lie.
    pub operator_namespace: String,
    /// The class of SecretStores that are served.
    pub controller_class: String,
    /// The marks around actions of templates.
    pub delimiters: (String, String),
    /// Vault Secrets: no `_raw` unless an object asks for it.
    pub exclude_raw: bool,
    /// Vault Secrets: the key of MACs.
    pub mac_key: Option<MacKey>,
}

/// What a store had.
#[derive(Clone, Debug)]
pub enum Found {
    /// For [`Ask::One`](crate::intent::Ask::One).
    One(Content),
    /// For [`Ask::Many`](crate::intent::Ask::Many): by full name.
    Many(Vec<(String, Content)>),
}

/// Names something in the cluster that has a say in the content of a target.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AroundRef {
    /// A ConfigMap, by namespace and name.
    ConfigMap(String, String),
    /// A Secret, by namespace and name.
    Secret(String, String),
    /// A SecretTransformation, by namespace and name.
    Transformation(String, String),
}

/// What was found of the things that have a say; what is not there is left out.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The data of ConfigMaps, binary data too.
    pub config_maps: BTreeMap<(String, String), BTreeMap<String, SecretText>>,
    /// The data of Secrets.
    pub secrets: BTreeMap<(String, String), Data>,
    /// Transformations.
    pub transformations: BTreeMap<(String, String), Object<crate::api::vault_secrets::SecretTransformation>>,
}

/// What became of one attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it began.
    pub began: Timestamp,
    /// How it ended.
    pub result: Result<Done, Trouble>,
}

/// An attempt that worked.
#[derive(Clone, Debug)]
pub struct Done {
    /// What became of the object.
    pub verdict: Verdict,
    /// The MAC of what the target holds, for kinds that keep one.
    pub mac: Option<String>,
    /// With which identity stores were read: Vault Secrets reports it.
    pub identity: Option<Identity>,
    /// What became of the restarts that were due: empty if none was.
    pub restarts: Vec<Result<String, String>>,
}

/// An identity at Vault, as Vault Secrets reports it (`status.vaultClientMeta`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// Which configuration of which identity (spec section A.3.2).
    pub cache_key: String,
    /// A digest of the token's accessor.
    pub id: String,
}
