//! The key services at hand, and the two awaits of the whole library.

mod report;
mod search;
#[cfg(test)]
mod tests;

use crate::edge::{Deadline, Rng};
use crate::keyservice::{KeyService, Reach};
use crate::metadata::{KeyGroup, MasterKey, Metadata};
use crate::secret::{DataKey, KeyPart};
use crate::shamir::{self, SplitError};
use search::Search;

pub use report::{Attempt, GroupReport, PartsError, UnwrapReport};

/// The kinds of keys that come first among those that keep nobody waiting, as in SOPS (spec section
/// 5.4).
pub const DEFAULT_ORDER: &[&str] = &["age", "pgp"];

/// The key services that may be asked, and in which order.
///
/// Those that keep nobody waiting come first. Services in the network are asked together, if that
/// was not enough, and only then, one at a time, those that may prompt somebody (see [`Reach`]).
/// Nobody waits for a key that is not needed.
pub struct Keyring<'a> {
    services: Vec<&'a dyn KeyService>,
    /// Empty if nobody says.
    order: Vec<String>,
    deadline: Option<&'a dyn Deadline>,
}

/// Why a data key could not be wrapped to every master key. Nothing may be written then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WrapError {
    /// There are no groups to wrap to.
    #[error("no key groups provided")]
    NoGroups,
    /// The group of this number, counted from 0, has no keys.
    #[error("empty key group provided")]
    EmptyGroup(usize),
    /// The threshold does not fit the number of groups.
    #[error("could not split data key into parts for Shamir: {error}")]
    Split {
        /// How many groups shall be needed.
        threshold: usize,
        /// How many there are.
        groups: usize,
        /// What is wrong with that.
        error: SplitError,
    },
    /// No service would wrap to these keys.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))]
    Keys(Vec<KeyFailure>),
}

/// A key that no service would wrap to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("failed to encrypt new data key with master key {id:?}: {reason}")]
pub struct KeyFailure {
    /// The list that the key stands in.
    pub kind: String,
    /// What identifies it.
    pub id: String,
    /// Why not.
    pub reason: String,
}

impl<'a> Keyring<'a> {
    /// A keyring that asks these services.
    pub fn new(services: Vec<&'a dyn KeyService>) -> Self {
        Self { services, order: Vec::new(), deadline: None }
    }

    /// Has keys of these kinds tried first, kind by kind in this order, whomever that keeps waiting.
    /// Unknown names are no error.
    #[must_use]
    pub fn with_order(mut self, order: Vec<String>) -> Self {
        self.order = order;
        self
    }

    /// Has services in the network asked until `deadline` has passed. Without it, until they answer.
    #[must_use]
    pub fn with_deadline(mut self, deadline: &'a dyn Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Gets the data key of a file: from whichever master key of its group answers first, or put
    /// together from the parts of as many groups as the file asks for.
    ///
    /// # Errors
    ///
    /// If they do not answer or do not go together; the report says what became of each.
    pub async fn unwrap(&self, metadata: &Metadata) -> Result<DataKey, UnwrapReport> {
        let mut search = Search::new(metadata, &self.order);
        // What stands in the order, kind by kind, and all other kinds together.
        for rank in 0..=self.order.len() {
            for reach in [Reach::Local, Reach::Network, Reach::Prompt] {
                // Every part at hand is taken, as in SOPS: one more costs nobody anything, and a file
                // that asks for fewer than it was split for still opens.
                let is_first = rank == 0 && reach == Reach::Local;
                if !is_first && (search.has_enough() || search.is_in_vain()) {
                    return search.finish();
                }
                let services: Vec<_> = self.services.iter().copied().filter(|it| it.reach() == reach).collect();
                let asks = search.asks(rank, &services);
                match reach {
                    Reach::Local => search.ask_each(asks, |_| false).await,
                    Reach::Network => search.ask_together(asks, self.deadline).await,
                    Reach::Prompt => search.ask_each(asks, Search::has_enough).await,
                }
            }
        }
        search.finish()
    }

    /// Wraps the data key to every master key of a file that is to be written: to those of one group
    /// the key itself, to those of several a part for each group. Without a threshold, all groups
    /// are needed from then on, and the metadata says so.
    ///
    /// `rng` is asked before anything is waited for.
    ///
    /// # Errors
    ///
    /// See [`WrapError`]. The metadata is as it was then.
    pub fn wrap<'f>(
        &'f self,
        data_key: &DataKey,
        metadata: &'f mut Metadata,
        rng: &mut dyn Rng,
    ) -> impl Future<Output = Result<(), WrapError>> + Send + use<'f, 'a> {
        let parts = parts(data_key, &metadata.groups, metadata.shamir_threshold, rng);
        async move {
            let parts = parts?;
            let (mut wrapped, mut failed) = (Vec::new(), Vec::new());
            for (group, part) in metadata.groups.iter().zip(&parts) {
                for key in &group.0 {
                    match self.wrap_to(key, part).await {
                        Ok(enc) => wrapped.push(enc),
                        Err(it) => failed.push(it),
                    }
                }
            }
            if !failed.is_empty() {
                return Err(WrapError::Keys(failed));
            }
            let keys = metadata.groups.iter_mut().flat_map(|it| &mut it.0);
            for (key, enc) in keys.zip(wrapped) {
                key.enc = Some(enc);
            }
            if metadata.groups.len() > 1 && metadata.shamir_threshold == 0 {
                metadata.shamir_threshold = metadata.groups.len();
            }
            Ok(())
        }
    }

    async fn wrap_to(&self, key: &MasterKey, part: &KeyPart) -> Result<String, KeyFailure> {
        let mut reasons = Vec::new();
        for service in &self.services {
            match service.wrap(key, part).await {
                Some(Ok(enc)) => return Ok(enc),
                Some(Err(it)) => reasons.push(it.to_string()),
                None => (),
            }
        }
        let reason = match &reasons[..] {
            [] => report::no_service(&key.kind),
            _ => reasons.join("; "),
        };
        Err(KeyFailure { kind: key.kind.clone(), id: key.id(), reason })
    }
}

/// What the keys of each group are to be wrapped to.
fn parts(
    data_key: &DataKey,
    groups: &[KeyGroup],
    threshold: usize,
    rng: &mut dyn Rng,
) -> Result<Vec<KeyPart>, WrapError> {
    if let Some(empty) = groups.iter().position(|it| it.0.is_empty()) {
        return Err(WrapError::EmptyGroup(empty));
    }
    let groups = groups.len();
    let threshold = if threshold == 0 { groups } else { threshold };
    match groups {
        0 => Err(WrapError::NoGroups),
        1 => Ok(vec![KeyPart::whole(data_key)]),
        _ => {
            let split = shamir::split(data_key.expose(), groups, threshold, rng);
            let split = split.map_err(|error| WrapError::Split { threshold, groups, error })?;
            let part = |it: &_| KeyPart::from_bytes(it).expect("a part is a byte longer than a data key");
            Ok(split.iter().map(|it| part(it)).collect())
        }
    }
}
