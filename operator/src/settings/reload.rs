//! What the family of reloads was told, under the names that its original has for it (Reloader, spec section
//! B.8), and what only we have.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum};
use leafseal::pattern::Pattern;
use zeroize::Zeroizing;

use super::read_duration;
use crate::reload::{Keys, Marker, Rules, Source, Strategy};

/// Settings of reloads.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reload")]
pub struct Reload {
    /// How long a workload waits for further changes before it is restarted for all of them; 0: not at all
    #[arg(long = "reload-window", env = "LEAFSEAL_OPERATOR_RELOAD_WINDOW", default_value = "2s")]
    #[arg(value_parser = read_duration, value_name = "DURATION")]
    pub window: Duration,

    /// The longest that a workload waits for changes that do not end
    #[arg(long = "reload-window-limit", env = "LEAFSEAL_OPERATOR_RELOAD_WINDOW_LIMIT", default_value = "60s")]
    #[arg(value_parser = read_duration, value_name = "DURATION")]
    pub window_limit: Duration,

    /// How many workloads may be restarting at once, and how many that restart for the same begin before all of them
    /// have their pods again; 0: as many as there are
    #[arg(long, env = "LEAFSEAL_OPERATOR_MAX_PARALLEL_RESTARTS", default_value = "0", value_name = "N")]
    pub max_parallel_restarts: usize,

    /// How often one source restarts one workload within --reload-breaker-window; after that once in
    /// --reload-breaker-wait, as long as it goes on. 0: as often as it changes
    #[arg(long = "reload-breaker-limit", env = "LEAFSEAL_OPERATOR_RELOAD_BREAKER_LIMIT", default_value = "30")]
    #[arg(value_name = "N")]
    pub breaker_limit: usize,

    /// For how long restarts are counted
    #[arg(long = "reload-breaker-window", env = "LEAFSEAL_OPERATOR_RELOAD_BREAKER_WINDOW", default_value = "10m")]
    #[arg(value_parser = read_duration, value_name = "DURATION")]
    pub breaker_window: Duration,

    /// How long a workload rests from a source that restarted it too often
    #[arg(long = "reload-breaker-wait", env = "LEAFSEAL_OPERATOR_RELOAD_BREAKER_WAIT", default_value = "1m")]
    #[arg(value_parser = read_duration, value_name = "DURATION")]
    pub breaker_wait: Duration,

    /// Change no workload for a source: only tell it, by an event, that it would be restarted
    #[arg(long, env = "LEAFSEAL_OPERATOR_DRY_RUN", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub dry_run: bool,

    /// What the marks on pods are made of
    #[arg(long = "reload-marker", env = "LEAFSEAL_OPERATOR_RELOAD_MARKER", default_value = "sha1", value_enum)]
    pub marker: Marker,

    /// How a reload shows on pods
    #[arg(long = "reload-strategy", env = "LEAFSEAL_OPERATOR_RELOAD_STRATEGY", default_value = "env-vars")]
    #[arg(value_enum)]
    pub strategy: Strategy,

    /// Workloads that say nothing reload for all that they refer to
    #[arg(long, env = "LEAFSEAL_OPERATOR_AUTO_RELOAD_ALL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub auto_reload_all: bool,

    /// A Secret or ConfigMap that comes reloads who never saw it: `true`, all else is false
    #[arg(long, env = "LEAFSEAL_OPERATOR_RELOAD_ON_CREATE", default_value = "false", value_parser = is_true)]
    #[arg(action = ArgAction::Set, value_name = "TEXT")]
    pub reload_on_create: bool,

    /// A Secret or ConfigMap that goes reloads who saw it: `true`, all else is false
    #[arg(long, env = "LEAFSEAL_OPERATOR_RELOAD_ON_DELETE", default_value = "false", value_parser = is_true)]
    #[arg(action = ArgAction::Set, value_name = "TEXT")]
    pub reload_on_delete: bool,

    /// With --reload-on-create: what is there at the start has just come
    #[arg(long, env = "LEAFSEAL_OPERATOR_SYNC_AFTER_RESTART", default_value = "false")]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(value_name = "BOOL")]
    pub sync_after_restart: bool,

    /// Leave these alone: `secrets` or `configmaps`
    #[arg(long, env = "LEAFSEAL_OPERATOR_RESOURCES_TO_IGNORE", value_name = "LIST")]
    pub resources_to_ignore: Vec<List>,

    /// Leave these workloads alone: `jobs`, `cronjobs`
    #[arg(long, env = "LEAFSEAL_OPERATOR_IGNORED_WORKLOAD_TYPES", value_name = "LIST")]
    pub ignored_workload_types: Vec<List>,

    /// Leave these namespaces alone, where all are served
    #[arg(long, env = "LEAFSEAL_OPERATOR_NAMESPACES_TO_IGNORE", value_name = "LIST")]
    pub namespaces_to_ignore: Vec<List>,

    /// Only namespaces with these labels
    #[arg(long, env = "LEAFSEAL_OPERATOR_NAMESPACE_SELECTOR", value_name = "LABELS")]
    pub namespace_selector: Vec<List>,

    /// Only Secrets and ConfigMaps with these labels
    #[arg(long, env = "LEAFSEAL_OPERATOR_RESOURCE_LABEL_SELECTOR", value_name = "LABELS")]
    pub resource_label_selector: Vec<List>,

    /// What pods mount by the CSI driver for secrets reloads, too, when the driver brings them other versions
    #[arg(long = "enable-csi-integration", env = "LEAFSEAL_OPERATOR_ENABLE_CSI_INTEGRATION", default_value = "false")]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(value_name = "BOOL")]
    pub csi_integration: bool,

    /// Rollouts of Argo are served too, where the cluster has them
    #[arg(long, env = "LEAFSEAL_OPERATOR_ARGO_ROLLOUTS", default_value = "true", value_parser = is_true)]
    #[arg(action = ArgAction::Set, value_name = "TEXT")]
    pub argo_rollouts: bool,

    /// Where every change of a Secret or ConfigMap is told to; then nothing is restarted
    #[arg(long, env = "LEAFSEAL_OPERATOR_WEBHOOK_URL", default_value = "", hide_default_value = true)]
    #[arg(hide_env_values = true, value_name = "URL")]
    pub webhook_url: Address,

    /// Every reload is told to --alert-url: `true`, all else is false
    #[arg(long = "alert-on-reload", env = "ALERT_ON_RELOAD", default_value = "false", value_parser = is_true)]
    #[arg(action = ArgAction::Set, value_name = "TEXT")]
    pub alerts: bool,

    /// Where alerts are told to
    #[arg(long, env = "ALERT_WEBHOOK_URL", default_value = "", hide_default_value = true, hide_env_values = true)]
    #[arg(value_name = "URL")]
    pub alert_url: Address,

    /// Who reads alerts: slack, teams, gchat; all else is raw text
    #[arg(long, env = "ALERT_SINK", default_value = "", hide_default_value = true, value_name = "SINK")]
    pub alert_sink: String,

    /// The proxy on the way to --alert-url
    #[arg(long, env = "ALERT_WEBHOOK_PROXY", default_value = "", hide_default_value = true, hide_env_values = true)]
    #[arg(value_name = "URL")]
    pub alert_proxy: Address,

    /// What alerts begin with
    #[arg(long, env = "ALERT_ADDITIONAL_INFO", default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub alert_info: String,

    /// Reloads are counted by namespace too
    #[arg(long, env = "LEAFSEAL_OPERATOR_COUNT_RELOADS_BY_NAMESPACE", default_value = "false")]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(value_name = "BOOL")]
    pub count_reloads_by_namespace: bool,

    /// The Deployment that the original's chart made of us; --operator-namespace gets a ConfigMap that says
    /// what runs
    #[arg(long, env = "RELOADER_DEPLOYMENT_NAME", default_value = "", hide_default_value = true)]
    #[arg(value_name = "NAME")]
    pub deployment_name: String,

    /// What the annotations are called. Last: the heading of its help would hold for what follows.
    #[command(flatten)]
    pub annotations: Annotations,
}

/// What the annotations are called (spec section B.1).
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Names of annotations")]
pub struct Annotations {
    /// On workloads: reload for all that they refer to
    #[arg(
        long = "auto-annotation",
        env = "LEAFSEAL_OPERATOR_AUTO_ANNOTATION",
        default_value = "reloader.stakater.com/auto",
        value_name = "KEY"
    )]
    pub auto: String,
    /// On workloads: reload for the ConfigMaps that they refer to
    #[arg(
        long = "configmap-auto-annotation",
        env = "LEAFSEAL_OPERATOR_CONFIGMAP_AUTO_ANNOTATION",
        default_value = "configmap.reloader.stakater.com/auto"
    )]
    #[arg(value_name = "KEY")]
    pub config_map_auto: String,
    /// On workloads: reload for the Secrets that they refer to
    #[arg(
        long = "secret-auto-annotation",
        env = "LEAFSEAL_OPERATOR_SECRET_AUTO_ANNOTATION",
        default_value = "secret.reloader.stakater.com/auto",
        value_name = "KEY"
    )]
    pub secret_auto: String,
    /// On workloads: reload for these ConfigMaps
    #[arg(
        long = "configmap-annotation",
        env = "LEAFSEAL_OPERATOR_CONFIGMAP_ANNOTATION",
        default_value = "configmap.reloader.stakater.com/reload"
    )]
    #[arg(value_name = "KEY")]
    pub config_map: String,
    /// On workloads: reload for these Secrets
    #[arg(
        long = "secret-annotation",
        env = "LEAFSEAL_OPERATOR_SECRET_ANNOTATION",
        default_value = "secret.reloader.stakater.com/reload",
        value_name = "KEY"
    )]
    pub secret: String,
    /// On workloads: reload for what they refer to and carries the next one
    #[arg(
        long = "auto-search-annotation",
        env = "LEAFSEAL_OPERATOR_AUTO_SEARCH_ANNOTATION",
        default_value = "reloader.stakater.com/search",
        value_name = "KEY"
    )]
    pub search: String,
    /// On Secrets and ConfigMaps: reload who searches for them
    #[arg(
        long = "search-match-annotation",
        env = "LEAFSEAL_OPERATOR_SEARCH_MATCH_ANNOTATION",
        default_value = "reloader.stakater.com/match",
        value_name = "KEY"
    )]
    pub matches: String,
    /// On Secrets and ConfigMaps: reload nobody
    #[arg(
        long = "ignore-annotation",
        env = "LEAFSEAL_OPERATOR_IGNORE_ANNOTATION",
        default_value = "reloader.stakater.com/ignore",
        value_name = "KEY"
    )]
    pub ignore: String,
    /// On Deployments: how long a reload pauses them
    #[arg(
        long = "pause-deployment-annotation",
        env = "LEAFSEAL_OPERATOR_PAUSE_DEPLOYMENT_ANNOTATION",
        default_value = "deployment.reloader.stakater.com/pause-period"
    )]
    #[arg(value_name = "KEY")]
    pub pause_period: String,
    /// On Deployments: since when they are paused
    #[arg(
        long = "pause-deployment-time-annotation",
        env = "LEAFSEAL_OPERATOR_PAUSE_DEPLOYMENT_TIME_ANNOTATION",
        default_value = "deployment.reloader.stakater.com/paused-at"
    )]
    #[arg(value_name = "KEY")]
    pub paused_at: String,
}

impl ValueEnum for Strategy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::EnvVars, Self::Annotations]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            // `default` is what the original's chart writes when nothing was chosen.
            Self::EnvVars => PossibleValue::new("env-vars").alias("default").help("A variable for each source"),
            Self::Annotations => PossibleValue::new("annotations").help("An annotation that names the last source"),
        })
    }
}

impl ValueEnum for Marker {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Sha1, Self::Keyed]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Sha1 => PossibleValue::new("sha1").help("As the original writes them"),
            Self::Keyed => PossibleValue::new("keyed").help("With a key of our own: they tell nobody what was hashed"),
        })
    }
}

/// A list as the original reads it: one line of CSV, so that `"a=b,c=d"` in quotes is one element.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut all, mut rest) = (Vec::new(), text);
        loop {
            let element;
            (element, rest) = match rest.trim_start().strip_prefix('"') {
                Some(quoted) => read_quoted(quoted).ok_or("a quote has no end")?,
                None => {
                    let end = rest.find(',').unwrap_or(rest.len());
                    (rest[..end].to_owned(), &rest[end..])
                }
            };
            all.push(element.trim().to_owned());
            match rest.trim_start().strip_prefix(',') {
                Some(next) => rest = next,
                None if rest.trim().is_empty() => break,
                None => return Err("after a quote comes a comma"),
            }
        }
        all.retain(|it| !it.is_empty());
        Ok(Self(all))
    }
}

/// What stands before the closing quote, and what comes after it. Two quotes are one of the text.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let (mut read, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('"')?;
        read.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                read.push('"');
                rest = next;
            }
            None => return Some((read, after)),
        }
    }
}

/// An address that may hold a secret, such as that of a webhook; or none. Never shown.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Address(Zeroizing<String>);

impl Address {
    /// The address; `None` if there is none.
    pub fn expose(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|it| !it.is_empty())
    }

    fn is_none_or_url(&self) -> bool {
        self.expose().is_none_or(|it| it.starts_with("http://") || it.starts_with("https://"))
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.trim().to_owned())))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(if self.0.is_empty() { "Address(none)" } else { "Address(..)" })
    }
}

/// As the original: `true`, and nothing else, is true.
#[expect(clippy::unnecessary_wraps, reason = "this is what reads arguments")]
fn is_true(text: &str) -> Result<bool, Infallible> {
    Ok(text == "true")
}

fn all(lists: &[List]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|it| &it.0).map(String::as_str)
}

impl Reload {
    /// True if nothing of ConfigMaps is asked for.
    pub fn ignores_config_maps(&self) -> bool {
        all(&self.resources_to_ignore).any(|it| it.eq_ignore_ascii_case("configmaps"))
    }

    /// True if nothing of Secrets is asked for.
    pub fn ignores_secrets(&self) -> bool {
        all(&self.resources_to_ignore).any(|it| it.eq_ignore_ascii_case("secrets"))
    }

    /// The kinds of workloads that are left alone. As the original: a list with a wrong word is none.
    pub fn ignored_kinds(&self) -> Vec<&'static str> {
        let kind = |it: &str| match it.to_lowercase().as_str() {
            "jobs" => Some("Job"),
            "cronjobs" => Some("CronJob"),
            _ => None,
        };
        all(&self.ignored_workload_types).map(kind).collect::<Option<_>>().unwrap_or_default()
    }

    /// The namespaces that are left alone, where all are served.
    pub fn ignored_namespaces(&self) -> Vec<&str> {
        all(&self.namespaces_to_ignore).collect()
    }

    /// Which labels namespaces need, as the API server reads it; `None`: none.
    pub fn namespace_labels(&self) -> Option<String> {
        labels(&self.namespace_selector)
    }

    /// Which labels Secrets and ConfigMaps need, as the API server reads it; `None`: none.
    pub fn resource_labels(&self) -> Option<String> {
        labels(&self.resource_label_selector)
    }

    /// How a reload shows, as it is spelt.
    pub fn strategy_name(&self) -> String {
        let value = self.strategy.to_possible_value().expect("no strategy is hidden");
        value.get_name().to_owned()
    }

    /// What holds for every workload.
    pub(super) fn rules(&self) -> Rules {
        let ignored = [
            (Source::ConfigMap, self.ignores_config_maps()),
            (Source::Secret, self.ignores_secrets()),
            (Source::SecretProviderClass, !self.csi_integration),
        ];
        Rules {
            keys: self.annotations.keys(),
            auto_all: self.auto_reload_all,
            ignored_kinds: self.ignored_kinds(),
            ignored_sources: ignored.into_iter().filter(|it| it.1).map(|it| it.0).collect(),
            strategy: self.strategy,
            marker: self.marker,
            on_create: self.reload_on_create,
            on_delete: self.reload_on_delete,
            sync_after_restart: self.sync_after_restart,
        }
    }

    /// What is wrong, in words that name no address.
    pub(super) fn check(&self) -> Result<(), String> {
        let words = || all(&self.resources_to_ignore);
        let is_known = |it: &str| ["configmaps", "secrets"].iter().any(|known| it.eq_ignore_ascii_case(known));
        if !words().all(is_known) || (self.ignores_secrets() && self.ignores_config_maps()) {
            return Err("--resources-to-ignore takes either `secrets` or `configmaps`".to_owned());
        }
        for (flag, labels) in
            [("--namespace-selector", self.namespace_labels()), ("--resource-label-selector", self.resource_labels())]
        {
            if let Some(wrong) = labels.as_deref().and_then(wrong_requirement) {
                return Err(format!("{flag}: {wrong:?} says nothing about a label: write `key=value` or `key`"));
            }
        }
        for (flag, address) in [
            ("--webhook-url", &self.webhook_url),
            ("--alert-url", &self.alert_url),
            ("--alert-proxy", &self.alert_proxy),
        ] {
            if !address.is_none_or_url() {
                return Err(format!("{flag} takes an address that begins with http:// or https://"));
            }
        }
        if self.window > self.window_limit {
            return Err("--reload-window cannot be longer than --reload-window-limit".to_owned());
        }
        Ok(())
    }

    /// What is accepted and has no effect: one line each.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if all(&self.ignored_workload_types).next().is_some() && self.ignored_kinds().is_empty() {
            lines.push("--ignored-workload-types is ignored: it takes `jobs` and `cronjobs`".to_owned());
        }
        if self.alerts && self.alert_url.expose().is_none() {
            lines.push("ALERT_ON_RELOAD is ignored: ALERT_WEBHOOK_URL says nothing".to_owned());
        }
        lines
    }
}

impl Annotations {
    /// Those that have a flag; the others are as they are.
    fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        let of = self.clone();
        (keys.auto, keys.search, keys.matches, keys.ignore) = (of.auto, of.search, of.matches, of.ignore);
        (keys.pause_period, keys.paused_at) = (of.pause_period, of.paused_at);
        (keys.config_map.auto, keys.config_map.reload) = (of.config_map_auto, of.config_map);
        (keys.secret.auto, keys.secret.reload) = (of.secret_auto, of.secret);
        keys
    }
}

/// Requirements of labels, as the original and older versions of it spell them, joined.
fn labels(lists: &[List]) -> Option<String> {
    let read = |it: &str| {
        let split = it.split_once(':').or_else(|| it.split_once('=').filter(|(_, value)| *value == "*"));
        match split {
            Some((key, "*")) => key.to_owned(),
            Some((key, value)) => format!("{key}={value}"),
            None => it.to_owned(),
        }
    };
    let all: Vec<String> = all(lists).map(read).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// The first requirement that the API server would not read.
fn wrong_requirement(labels: &str) -> Option<&str> {
    const KEY: &str = "[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?";
    const VALUE: &str = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?";
    let text = format!(r"^\s*(!?\s*{KEY}|{KEY}\s*(=|==|!=)\s*{VALUE}|{KEY}\s+(in|notin)\s*\([^()]*\))\s*$");
    let pattern = Pattern::new(&text).expect("this is a pattern");
    let mut depth = 0_i32;
    let is_end = |it: char| {
        depth += i32::from(it == '(') - i32::from(it == ')');
        it == ',' && depth <= 0
    };
    labels.split(is_end).find(|it| !pattern.is_match(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.parse::<List>().unwrap_or_else(|why| panic!("{text}: {why}")).0
    }

    #[test]
    fn lists_are_lines_of_csv() {
        for (text, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a,,b,", &["a", "b"]),
            (r#""a=b,c=d""#, &["a=b,c=d"]),
            (r#""a=b","c=d""#, &["a=b", "c=d"]),
            (r#"x,"a ""b""",y"#, &["x", r#"a "b""#, "y"]),
            (r#""env=test""#, &["env=test"]),
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
        for text in [r#""a"#, r#""a"b"#] {
            assert!(text.parse::<List>().is_err(), "{text}");
        }
    }

    #[test]
    fn labels_are_read_as_older_versions_wrote_them() {
        for (text, expected) in [
            ("k:v", "k=v"),
            ("k:*", "k"),
            ("k=*", "k"),
            ("k=v", "k=v"),
            ("a=b,c:*", "a=b,c"),
            (r#""a=b,c=d""#, "a=b,c=d"),
            (r#""k in (a,b)",!x"#, "k in (a,b),!x"),
            ("team/env!=prod", "team/env!=prod"),
        ] {
            let read = labels(&[List(list(text))]).expect("there are some");
            assert_eq!(read, expected);
            assert_eq!(wrong_requirement(&read), None, "{text}");
        }
        assert_eq!(labels(&[List(vec![])]), None);
        for text in ["=v", "k=a b", "k in a", "k=v,,c", "$"] {
            assert!(wrong_requirement(text).is_some(), "{text}");
        }
    }

    #[test]
    fn rules_are_made_of_settings() {
        let rules = |args: &[&str]| {
            let args = std::iter::once(&"o").chain(args).map(|it| (*it).to_owned()).collect();
            super::super::Settings::read(args, Vec::new()).expect("these are settings").settings.reload_rules()
        };
        let plain = rules(&[]);
        assert_eq!((&plain.keys, plain.strategy, plain.marker), (&Keys::default(), Strategy::EnvVars, Marker::Sha1));
        assert_eq!(plain.ignored_sources, [Source::SecretProviderClass]);
        let set = rules(&[
            "--auto-annotation=my/auto",
            "--secret-annotation=my/secret",
            "--reload-strategy=annotations",
            "--resources-to-ignore=configMaps",
            "--ignored-workload-types=jobs,cronjobs",
            "--reload-on-create=true",
            "--reload-on-delete=1",
            "--enable-csi-integration",
        ]);
        assert_eq!((set.keys.auto.as_str(), set.keys.secret.reload.as_str()), ("my/auto", "my/secret"));
        assert_eq!((set.strategy, set.on_create, set.on_delete), (Strategy::Annotations, true, false));
        assert_eq!((set.ignored_sources, set.ignored_kinds), (vec![Source::ConfigMap], vec!["Job", "CronJob"]));
        assert!(rules(&["--ignored-workload-types=jobs,pods"]).ignored_kinds.is_empty());
    }

    #[test]
    fn what_restarts_too_often_is_told_from_ordinary_use() {
        let read = |args: &[&str]| {
            let args = std::iter::once(&"o").chain(args).map(|it| (*it).to_owned()).collect();
            let it = super::super::Settings::read(args, Vec::new()).expect("these are settings").settings.reload;
            (it.breaker_limit, it.breaker_window.as_secs(), it.breaker_wait.as_secs())
        };
        assert_eq!(read(&[]), (30, 600, 60));
        assert_eq!(read(&["--reload-breaker-limit=0", "--reload-breaker-wait=5s"]), (0, 600, 5));
    }

    #[test]
    fn addresses_are_not_shown() {
        let address: Address = "https://hooks.example.com/T0/secret".parse().expect("any text is read");
        assert_eq!(format!("{address:?}"), "Address(..)");
        assert_eq!(address.expose(), Some("https://hooks.example.com/T0/secret"));
    }
}
