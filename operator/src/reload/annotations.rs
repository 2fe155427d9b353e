//! What workloads and sources say about reloads in their annotations (spec sections B.1 and B.2).

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;
use leafseal::pattern::Pattern;

use super::Source;

/// What annotations are called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// Reload for all that is referred to.
    pub auto: String,
    /// Reload for what is referred to and says [`matches`](Self::matches).
    pub search: String,
    /// On a source: the counterpart of [`search`](Self::search).
    pub matches: String,
    /// On a source: it reloads nothing.
    pub ignore: String,
    /// On a Deployment: how long it is paused when it is reloaded.
    pub pause_period: String,
    /// On a Deployment: since when it is paused.
    pub paused_at: String,
    /// Those of one sort of source.
    pub config_map: SourceKeys,
    /// Those of one sort of source.
    pub secret: SourceKeys,
    /// Those of one sort of source.
    pub provider_class: SourceKeys,
}

/// What the annotations for one sort of source are called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceKeys {
    /// Reload for those that are referred to.
    pub auto: String,
    /// Reload for those that this list names.
    pub reload: String,
    /// Never reload for those that this list names.
    pub exclude: String,
}

impl SourceKeys {
    /// Those that begin with `singular`; excluding takes the plural.
    fn of(singular: &str, plural: &str) -> Self {
        Self {
            auto: format!("{singular}.reloader.stakater.com/auto"),
            reload: format!("{singular}.reloader.stakater.com/reload"),
            exclude: format!("{plural}.exclude.reloader.stakater.com/reload"),
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            auto: "reloader.stakater.com/auto".to_owned(),
            search: "reloader.stakater.com/search".to_owned(),
            matches: "reloader.stakater.com/match".to_owned(),
            ignore: "reloader.stakater.com/ignore".to_owned(),
            pause_period: "deployment.reloader.stakater.com/pause-period".to_owned(),
            paused_at: "deployment.reloader.stakater.com/paused-at".to_owned(),
            config_map: SourceKeys::of("configmap", "configmaps"),
            secret: SourceKeys::of("secret", "secrets"),
            provider_class: SourceKeys::of("secretproviderclass", "secretproviderclasses"),
        }
    }
}

impl Keys {
    /// Those for one sort of source.
    pub fn of(&self, source: Source) -> &SourceKeys {
        match source {
            Source::ConfigMap => &self.config_map,
            Source::Secret => &self.secret,
            Source::SecretProviderClass => &self.provider_class,
        }
    }
}

/// What a source says.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Marks {
    /// It reloads nothing.
    pub is_ignored: bool,
    /// It reloads what searches for it.
    pub is_match: bool,
}

impl Marks {
    /// What the annotations of a source say.
    pub fn of(metadata: &ObjectMeta, keys: &Keys) -> Self {
        let says = |key: &str| metadata.annotations.as_ref().and_then(|it| it.get(key)).is_some_and(|it| it == "true");
        Self { is_ignored: says(&keys.ignore), is_match: says(&keys.matches) }
    }
}

/// Annotations.
pub(super) type Annotations = BTreeMap<String, String>;

/// An annotation that is a switch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Auto {
    /// It is not there, or empty.
    #[default]
    Unsaid,
    /// It says yes.
    Yes,
    /// It says anything else.
    No,
}

impl Auto {
    /// As `strconv.ParseBool` reads it; what that cannot read is no.
    fn read(text: Option<&String>) -> Self {
        match text.map_or("", String::as_str) {
            "" => Self::Unsaid,
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Self::Yes,
            _ => Self::No,
        }
    }
}

/// What a workload wants to be reloaded for, of one sort of source.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wish {
    pub auto: Auto,
    pub typed_auto: Auto,
    pub searches: bool,
    /// Names of the list.
    pub named: BTreeSet<String>,
    /// Items of the list that stand for several names.
    pub patterns: Vec<Pattern>,
    /// Names that it never reloads for.
    pub excluded: BTreeSet<String>,
}

/// The most patterns that one list may have: each takes memory as long as the workload is there.
const MOST_PATTERNS: usize = 200;

impl Wish {
    /// Reads the annotations of a workload and, where it has none of the four that decide, those of its
    /// pods' template. What cannot be read is left out and said.
    pub(super) fn read(
        keys: &Keys,
        source: Source,
        own: &Annotations,
        template: &Annotations,
        complaints: &mut Vec<String>,
    ) -> Self {
        let of = keys.of(source);
        let deciding = [&of.reload, &keys.search, &keys.auto, &of.auto];
        let from = if deciding.iter().any(|it| own.contains_key(*it)) { own } else { template };
        let mut wish = Self {
            auto: Auto::read(from.get(&keys.auto)),
            typed_auto: Auto::read(from.get(&of.auto)),
            searches: from.get(&keys.search).is_some_and(|it| it == "true"),
            excluded: items(own.get(&of.exclude)).map(str::to_owned).collect(),
            ..Self::default()
        };
        for item in items(from.get(&of.reload)) {
            if item.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
                wish.named.insert(item.to_owned());
            } else if wish.patterns.len() == MOST_PATTERNS {
                complaints.push(format!("{}: only the first {MOST_PATTERNS} patterns count", of.reload));
                break;
            } else {
                // Without a group, as the original: of `a|b` each half has one end open.
                match Pattern::new(&format!("^{item}$")) {
                    Ok(pattern) => wish.patterns.push(pattern),
                    Err(error) => complaints.push(format!("{}: {} is no pattern: {error}", of.reload, cut(item))),
                }
            }
        }
        wish
    }

    /// True if the list has this name.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.named.contains(name) || self.patterns.iter().any(|it| it.is_match(name))
    }
}

/// What stands between commas; what is empty names nothing.
pub(super) fn items(list: Option<&String>) -> impl Iterator<Item = &str> {
    list.map_or("", String::as_str).split(',').map(str::trim).filter(|it| !it.is_empty())
}

/// The beginning of a text, for people.
pub(super) fn cut(text: &str) -> String {
    const LONGEST: usize = 40;
    let shown: String = text.chars().take(LONGEST).collect();
    format!("{shown:?}")
}
