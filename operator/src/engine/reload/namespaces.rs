//! Which namespaces are served: all but those that are left alone, or those with certain labels.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use tokio::time::Instant;

use crate::engine::lock::lock;
use crate::settings::Settings;

/// The namespaces that are served.
#[derive(Debug)]
pub(super) struct Namespaces {
    began: Instant,
    ignored: HashSet<String>,
    /// Those with the labels that are asked for, as a watch tells, and since when; `None` if none are asked for.
    selected: Option<Mutex<HashMap<String, Instant>>>,
}

impl Namespaces {
    /// Those that the settings ask for. Namespaces that are named are all served.
    pub(super) fn new(settings: &Settings) -> Self {
        let everywhere = settings.namespaces.is_empty();
        let ignored =
            settings.reload.ignored_namespaces().into_iter().filter(|_| everywhere).map(str::to_owned).collect();
        let selected = settings.reload.namespace_labels().filter(|_| everywhere).map(|_| Mutex::default());
        Self { began: Instant::now(), ignored, selected }
    }

    /// True if a namespace is served.
    pub(super) fn serve(&self, namespace: &str) -> bool {
        self.served_since(namespace).is_some()
    }

    /// Since when a namespace is served, if it is.
    pub(super) fn served_since(&self, namespace: &str) -> Option<Instant> {
        let since = match &self.selected {
            Some(selected) => lock(selected).get(namespace).copied(),
            None => Some(self.began),
        };
        since.filter(|_| !self.ignored.contains(namespace))
    }

    /// True if labels say which are served.
    pub(super) fn are_selected(&self) -> bool {
        self.selected.is_some()
    }

    /// Learns that a namespace has the labels, or has them no more. True if that is news.
    pub(super) fn select(&self, namespace: &str, is_selected: bool) -> bool {
        let Some(selected) = &self.selected else { return false };
        match (lock(selected).entry(namespace.to_owned()), is_selected) {
            (Entry::Vacant(it), true) => _ = it.insert(Instant::now()),
            (Entry::Occupied(it), false) => _ = it.remove(),
            _ => return false,
        }
        true
    }

    /// Only these have the labels.
    pub(super) fn keep(&self, there: &HashSet<String>) {
        if let Some(selected) = &self.selected {
            lock(selected).retain(|it, _| there.contains(it));
        }
    }
}
