//! What a workload has not seen yet, by what it remembers.

use std::sync::Arc;

use jiff::Timestamp;

use super::content::GONE;
use super::roll::{LastReload, marker_name};
use super::{Consumer, Content, Hit, Key, Marker, Marks, Memory, Rules, Source, Strategy};

/// A source as it is now.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// What it is.
    pub source: Source,
    /// Its name.
    pub name: &'a str,
    /// What it says of itself.
    pub marks: Marks,
    /// What it holds; `None` if it is not there.
    pub content: Option<Arc<Content>>,
    /// When that was written, if that is known.
    pub written: Option<Timestamp>,
    /// What it held before, if that is known.
    pub before: Option<Arc<Content>>,
    /// It came while it was watched for.
    pub is_new: bool,
    /// Pods have it since they were made: it is no change for them.
    pub is_first: bool,
}

/// A source that a workload has not seen as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// What it is.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// What says that the workload reloads for it, and where its marker belongs.
    pub hit: Hit,
    /// The marker of what it holds now; `None` if it is gone.
    pub marker: Option<String>,
    /// The names of its keys that changed, as far as that is known.
    pub changed_keys: Vec<String>,
}

impl Cause {
    /// What events and alerts say of it, in the original's words (spec section B.10), and which keys changed.
    pub fn message(&self, consumer: &Consumer) -> String {
        /// How many keys are named.
        const NAMED: usize = 10;
        let Self { source, name, changed_keys, .. } = self;
        let Consumer { kind, namespace, name: workload, .. } = consumer;
        let keys = match changed_keys.as_slice() {
            [] => String::new(),
            keys if keys.len() > NAMED => format!(" (keys {}, …)", keys[..NAMED].join(", ")),
            keys => format!(" (keys {})", keys.join(", ")),
        };
        format!(
            "Changes detected in '{name}' of type '{}' in namespace '{namespace}', Updated '{workload}' of type \
             '{}' in namespace '{namespace}'{keys}",
            source.word(),
            kind.kind
        )
    }
}

/// What is to be done about a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Why it reloads; nothing if it does not.
    pub causes: Vec<Cause>,
    /// What it remembers then.
    pub memory: Memory,
    /// True if it has to remember something even if it does not reload.
    pub is_recording: bool,
}

impl Verdict {
    /// Takes away the causes of which the pods have seen the source as it is now: that is only remembered.
    pub fn forgive(&mut self, is_seen: impl Fn(&Cause) -> bool) {
        let n_before = self.causes.len();
        self.causes.retain(|it| !is_seen(it));
        self.is_recording |= self.causes.len() < n_before;
    }
}

/// Compares what a workload remembers with what there is: by its memory, else by the markers on its
/// template. What it never saw is remembered, and no reason to reload, unless the rules say so.
pub fn judge(consumer: &Consumer, rules: &Rules, key: &Key, seen: &[Seen<'_>]) -> Verdict {
    let mut memory = Memory::read(consumer.consumed.as_ref(), key);
    memory.retain(|source, name| consumer.knows(rules, source, name));
    let (mut causes, mut is_recording) = (Vec::new(), false);
    for Seen { source, name, marks, content, written, before, is_new, is_first } in seen {
        let (source, name) = (*source, *name);
        let Ok(hit) = consumer.wants(rules, source, name, *marks) else { continue };
        let marker = consumer.marker(source, name);
        let cause = |marker: Option<&str>| Cause {
            source,
            name: name.to_owned(),
            hit: hit.clone(),
            marker: marker.map(str::to_owned),
            changed_keys: content.as_ref().zip(before.as_ref()).map_or(Vec::new(), |(now, it)| now.changed_keys(it)),
        };
        let Some(content) = content else {
            let saw = match rules.strategy {
                Strategy::EnvVars => marker.is_some(),
                Strategy::Annotations => {
                    marker.as_deref() != Some(GONE) && (marker.is_some() || memory.digest(source, name).is_some())
                }
            };
            // What no pod has mounted is not gone for that.
            if rules.on_delete && saw && source != Source::SecretProviderClass {
                causes.push(cause(None));
                memory.forget(source, name);
            }
            continue;
        };
        let is_known = match (memory.digest(source, name), &marker) {
            (Some(digest), _) => Some(digest == content.digest),
            (None, Some(marker)) => Some(*marker == content.marker || *marker == content.digest),
            (None, None) => None,
        };
        match is_known {
            Some(true) => continue,
            Some(false) if *is_first => is_recording = true,
            None if !(rules.on_create && *is_new) => is_recording = true,
            Some(false) | None => causes.push(cause(Some(match rules.marker {
                Marker::Sha1 => &content.marker,
                Marker::Keyed => &content.digest,
            }))),
        }
        memory.put(source, name, content, *written);
    }
    Verdict { causes, memory, is_recording }
}

impl Consumer {
    /// True if it can still be asked about a source.
    fn knows(&self, rules: &Rules, source: Source, name: &str) -> bool {
        self.uses.contains_key(&(source, name.to_owned()))
            || self.names(rules, source).contains(name)
            || self.has_patterns(source)
    }

    /// What the markers on its template say of a source; `None` if there is none, or it may be another's.
    pub fn marker(&self, source: Source, name: &str) -> Option<String> {
        let variable = marker_name(source, name);
        let mut used = self.uses.keys().filter(|it| it.0 == source && marker_name(source, &it.1) == variable);
        let is_shared = used.any(|it| it.1 != name);
        let valued = self.markers.iter().find(|it| it.1 == variable && !is_shared);
        let told = || self.last_reloaded_from.as_deref().and_then(LastReload::read);
        valued
            .map(|it| it.2.clone())
            .or_else(|| told().filter(|it| it.is_of(source, name)).map(|it| it.hash))
            .filter(|it| !it.is_empty())
    }
}
