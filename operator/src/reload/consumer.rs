//! A workload that asks for reloads: what is kept of it, and whether a source is one that it reloads for
//! (spec sections B.2 and B.3).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::annotations::{Auto, Wish};
use super::memory::CONSUMED;
use super::pause::Period;
use super::pods::{PodSpec, Template};
use super::roll::{LAST_RELOADED_FROM, ROLLOUT_STRATEGY, is_marker};
use super::{Marks, Neighbour, Rules, Source, order};
use crate::api::dynamic_resource;
use crate::rollout::{How, Workload};

/// A workload as the API server tells of it, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Held {
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: HeldSpec,
}

dynamic_resource!([] Held);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldSpec {
    template: Option<Whole>,
    job_template: Option<JobTemplate>,
    paused: Option<bool>,
    suspend: Option<bool>,
    update_strategy: Option<UpdateStrategy>,
    selector: Option<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobTemplate {
    #[serde(default)]
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobSpec {
    template: Option<Whole>,
}

/// A template of pods, with a digest of all of it.
#[derive(Clone, Debug, Default)]
struct Whole {
    digest: u64,
    template: Template,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(from)?;
        let mut hasher = DefaultHasher::new();
        text.get().hash(&mut hasher);
        let template = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { digest: hasher.finish(), template })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct UpdateStrategy {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
}

/// What is kept of a workload that asks for reloads. Two are equal if nothing that matters here differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Its kind.
    pub kind: &'static Workload,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// A digest of the template of its pods.
    pub shape: u64,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// The labels of its pods; empty if its selector says more than labels.
    pub labels: BTreeMap<String, String>,
    /// Its rollouts are held.
    pub is_paused: bool,
    /// It is a CronJob that starts nothing.
    pub is_suspended: bool,
    /// Its pods are only made anew when somebody deletes them.
    pub is_on_delete: bool,
    /// It restarts without a change of its template.
    pub restarts_at: bool,
    /// What of its annotations cannot be read, and where.
    pub complaints: Vec<String>,
    /// The workloads of its namespace that come before it, where they restart too.
    pub after: BTreeSet<Neighbour>,
    /// Its own [`CONSUMED`], as it is written.
    pub consumed: Option<String>,
    /// The container that a marker for what nothing refers to belongs to.
    pub(super) first: Option<String>,
    pub(super) wishes: [Wish; 3],
    pub(super) uses: BTreeMap<(Source, String), String>,
    /// The markers on its template: container, name, value.
    pub(super) markers: Vec<(String, String, String)>,
    pub(super) last_reloaded_from: Option<String>,
    pub(super) period: Period,
    pub(super) paused_at: Option<Timestamp>,
}

/// That a workload reloads for a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// What says so.
    pub by: By,
    /// The container that the marker belongs to.
    pub container: Option<String>,
}

/// What says that a workload reloads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// A list that names the source.
    List,
    /// A search that the source matches.
    Search,
    /// The switch for all that it refers to.
    Auto,
    /// The switch for sources of this sort.
    TypedAuto,
    /// The setting for workloads that say nothing.
    Setting,
}

/// Why a workload does not reload for a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum No {
    /// Sources of this sort, or workloads of this kind, are left alone.
    #[error("the settings leave it alone")]
    Settings,
    /// The source says so.
    #[error("the source says that it reloads nothing")]
    Ignored,
    /// The workload excludes it.
    #[error("the workload excludes it")]
    Excluded,
    /// The workload reloads for what it refers to, and does not refer to it.
    #[error("no container of the workload refers to it")]
    NotUsed,
    /// Nothing asks for it.
    #[error("no annotation asks for it")]
    NotAsked,
}

impl Consumer {
    /// What is kept of a workload; `None` if it reloads for nothing, whatever changes.
    pub fn of(kind: &'static Workload, held: Held, rules: &Rules) -> Option<Self> {
        let Held { metadata, spec } = held;
        // Jobs that a CronJob or another controller made are that one's.
        let is_made = metadata.owner_references.iter().flatten().any(|it| it.controller == Some(true));
        if rules.ignored_kinds.contains(&kind.kind) || (kind.how == How::Remake && is_made) {
            return None;
        }
        let template = spec.template.or(spec.job_template.and_then(|it| it.spec.template));
        let Whole { digest, template } = template.unwrap_or_default();
        let own = metadata.annotations.unwrap_or_default();
        let mut complaints = Vec::new();
        let wishes =
            Source::ALL.map(|it| Wish::read(&rules.keys, it, &own, &template.metadata.annotations, &mut complaints));
        complaints.dedup();
        let after = order::read(&own, &mut complaints);
        let period = Period::read(&rules.keys, kind, &own);
        complaints.extend(period.complaint(&rules.keys));
        let consumer = Self {
            kind,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            shape: digest,
            made: metadata.creation_timestamp.map(|it| it.0),
            labels: spec.selector.and_then(|it| it.match_labels).unwrap_or_default(),
            is_paused: spec.paused == Some(true),
            is_suspended: spec.suspend == Some(true),
            is_on_delete: spec.update_strategy.and_then(|it| it.kind).is_some_and(|it| it == "OnDelete"),
            restarts_at: kind.how == How::RestartAt && own.get(ROLLOUT_STRATEGY).is_some_and(|it| it == "restart"),
            complaints,
            after,
            consumed: own.get(CONSUMED).cloned(),
            first: template.spec.containers.first().map(|it| it.name.clone()),
            wishes,
            uses: template.spec.uses(),
            markers: markers(&template.spec),
            last_reloaded_from: template.metadata.annotations.get(LAST_RELOADED_FROM).cloned(),
            // One that cannot be read was long ago.
            paused_at: own.get(&rules.keys.paused_at).map(|it| it.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            period,
        };
        (consumer.asks(rules) || consumer.is_paused_by_us()).then_some(consumer)
    }

    fn asks(&self, rules: &Rules) -> bool {
        Source::ALL.iter().any(|&it| rules.follows(it) && (self.has_patterns(it) || !self.names(rules, it).is_empty()))
    }

    /// True if both ask for reloads for the same.
    pub fn asks_as(&self, other: &Self) -> bool {
        self.wishes == other.wishes && self.uses == other.uses
    }

    /// The names of the sources that it may reload for, without those that only [patterns](Self::has_patterns)
    /// have.
    pub fn names(&self, rules: &Rules, source: Source) -> BTreeSet<&str> {
        let wish = self.wish(source);
        let uses = self.uses.keys().filter(|it| it.0 == source).map(|it| it.1.as_str());
        let uses = uses.filter(|_| self.may_use(rules, source));
        let all = wish.named.iter().map(String::as_str).chain(uses);
        all.filter(|it| !wish.excluded.contains(*it)).collect()
    }

    /// True if every source of this sort in its namespace has to be asked about.
    pub fn has_patterns(&self, source: Source) -> bool {
        !self.wish(source).patterns.is_empty()
    }

    /// True if reloads have left marks on its template.
    pub fn is_marked(&self) -> bool {
        !self.markers.is_empty() || self.last_reloaded_from.is_some()
    }

    /// Everything that its containers refer to, with the container that a marker for it belongs to.
    pub fn uses(&self) -> impl Iterator<Item = (Source, &str, &str)> {
        self.uses.iter().map(|((source, name), container)| (*source, name.as_str(), container.as_str()))
    }

    /// True if it reloads for something that it refers to.
    fn may_use(&self, rules: &Rules, source: Source) -> bool {
        let wish = self.wish(source);
        wish.searches
            || wish.auto == Auto::Yes
            || wish.typed_auto == Auto::Yes
            || (rules.auto_all && wish.auto == Auto::Unsaid && wish.typed_auto == Auto::Unsaid)
    }

    /// Whether it reloads when a source changes that says `marks`.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn wants(&self, rules: &Rules, source: Source, name: &str, marks: Marks) -> Result<Hit, No> {
        let wish = self.wish(source);
        if !rules.follows(source) || rules.ignored_kinds.contains(&self.kind.kind) {
            return Err(No::Settings);
        }
        if marks.is_ignored {
            return Err(No::Ignored);
        }
        if wish.excluded.contains(name) {
            return Err(No::Excluded);
        }
        let container = self.uses.get(&(source, name.to_owned()));
        if wish.lists(name) {
            return Ok(Hit { by: By::List, container: container.or(self.first.as_ref()).cloned() });
        }
        let by = if wish.searches && marks.is_match {
            By::Search
        } else if wish.auto == Auto::Yes {
            By::Auto
        } else if wish.typed_auto == Auto::Yes {
            By::TypedAuto
        } else if rules.auto_all && wish.auto == Auto::Unsaid && wish.typed_auto == Auto::Unsaid {
            By::Setting
        } else {
            return Err(No::NotAsked);
        };
        let container = container.ok_or(No::NotUsed)?.clone();
        Ok(Hit { by, container: Some(container) })
    }

    fn wish(&self, source: Source) -> &Wish {
        &self.wishes[Source::ALL.iter().position(|it| *it == source).expect("all are there")]
    }
}

fn markers(spec: &PodSpec) -> Vec<(String, String, String)> {
    let all = spec.containers.iter().flat_map(|container| container.env.iter().map(move |it| (container, it)));
    let ours = all.filter(|(_, it)| is_marker(&it.name));
    let valued = ours.filter_map(|(container, it)| Some((container.name.clone(), it.name.clone(), it.value.clone()?)));
    valued.collect()
}
