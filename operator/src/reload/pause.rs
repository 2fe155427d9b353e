//! Deployments that are paused for a while when they are reloaded, so that many changes are one rollout
//! (spec section B.7).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::annotations::{Annotations, Keys};
use super::{Consumer, Rules};
use crate::go::GoDuration;
use crate::rollout::Workload;

/// How long a workload is paused when it is reloaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Period {
    /// Not at all.
    #[default]
    None,
    /// So long.
    For(Duration),
    /// What it says is no duration.
    Unreadable(String),
}

impl Period {
    pub(super) fn read(keys: &Keys, kind: &Workload, own: &Annotations) -> Self {
        let Some(text) = own.get(&keys.pause_period).filter(|_| kind.pauses) else { return Self::None };
        match text.parse::<GoDuration>() {
            Ok(read) => read.positive().map_or(Self::None, Self::For),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }

    /// What is wrong with it.
    pub(super) fn complaint(&self, keys: &Keys) -> Option<String> {
        let Self::Unreadable(error) = self else { return None };
        Some(format!("{}: {error}: reloads do not pause", keys.pause_period))
    }
}

/// The end of a pause.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// When it is due; in the past if it should have been.
    pub at: Timestamp,
    /// The merge patch that ends it.
    pub change: Value,
}

impl Consumer {
    /// True if a reload, and nobody else, holds its rollouts.
    pub fn is_paused_by_us(&self) -> bool {
        self.is_paused && self.paused_at.is_some()
    }

    /// When and how its pause ends; `None` if no reload paused it. One that says no longer how long ends at
    /// once.
    pub fn resume(&self, rules: &Rules) -> Option<Resume> {
        let since = self.paused_at.filter(|_| self.is_paused)?;
        let period = match self.period {
            Period::For(period) => SignedDuration::try_from(period).unwrap_or(SignedDuration::MAX),
            Period::None | Period::Unreadable(_) => SignedDuration::ZERO,
        };
        let change = json!({
            "metadata": { "uid": self.uid, "annotations": { rules.keys.paused_at.as_str(): null } },
            "spec": { "paused": false },
        });
        Some(Resume { at: since.saturating_add(period).unwrap_or(Timestamp::MAX), change })
    }

    /// True if a reload now begins a pause.
    pub(super) fn begins_pause(&self) -> bool {
        !self.is_paused && matches!(self.period, Period::For(_))
    }
}
