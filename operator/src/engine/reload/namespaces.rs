//! Which namespaces are served: all but those that are left alone, or those with certain labels.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::engine::lock::lock;
use crate::settings::Settings;

/// The namespaces that are served.
#[derive(Debug)]
pub(super) struct Namespaces {
    ignored: HashSet<String>,
    /// Those with the labels that are asked for, as a watch tells; `None` if none are asked for.
    selected: Option<Mutex<HashSet<String>>>,
}

impl Namespaces {
    /// Those that the settings ask for. Namespaces that are named are all served.
    pub(super) fn new(settings: &Settings) -> Self {
        let everywhere = settings.namespaces.is_empty();
        let ignored =
            settings.reload.ignored_namespaces().into_iter().filter(|_| everywhere).map(str::to_owned).collect();
        let selected = settings.reload.namespace_labels().filter(|_| everywhere).map(|_| Mutex::default());
        Self { ignored, selected }
    }

    /// True if a namespace is served.
    pub(super) fn serve(&self, namespace: &str) -> bool {
        let is_selected = self.selected.as_ref().is_none_or(|it| lock(it).contains(namespace));
        is_selected && !self.ignored.contains(namespace)
    }

    /// True if labels say which are served.
    pub(super) fn are_selected(&self) -> bool {
        self.selected.is_some()
    }

    /// Learns that a namespace has the labels, or has them no more. True if that is news.
    pub(super) fn select(&self, namespace: &str, is_selected: bool) -> bool {
        let Some(selected) = &self.selected else { return false };
        let mut selected = lock(selected);
        if is_selected { selected.insert(namespace.to_owned()) } else { selected.remove(namespace) }
    }

    /// Only these have the labels.
    pub(super) fn keep(&self, there: &HashSet<String>) {
        if let Some(selected) = &self.selected {
            lock(selected).retain(|it| there.contains(it));
        }
    }
}
