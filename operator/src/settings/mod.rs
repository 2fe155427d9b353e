//! What the operator was told: flags, and `LEAFSEAL_OPERATOR_…` for each of them. Read once, passed on.

mod legacy;
pub mod reload;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::adapter::Terms;
use crate::families;
use crate::go::GoDuration;
use crate::intent::Family;
use crate::reload::Rules;

pub use legacy::{Translated, translate};
use reload::Reload;

/// Where a pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What a start was asked for.
#[derive(Debug)]
pub struct Start {
    /// What to do.
    pub task: Task,
    /// With which settings.
    pub settings: Settings,
    /// The settings as arguments, one for each.
    pub spelt: Vec<String>,
    /// What was asked for in words of the original operators and has no meaning here: one line each.
    pub warnings: Vec<String>,
}

/// What a process is started for.
#[derive(Clone, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Task {
    /// Serve the custom resources of the cluster: what happens without a command
    #[default]
    Run,
    /// Print the custom resource definitions of all families
    Crds,
    /// Print the settings that a start with the same flags would have
    Settings,
    /// Tell what a workload reloads for, what it has seen, and why it was last restarted
    #[command(after_help = "Give the flags that the operator has, if they change what is reloaded. Ends with 3 if a \
                            restart is due, and with 1 if the cluster does not say.")]
    Explain {
        /// Its namespace
        namespace: String,
        /// Its name: `web` or `deployment/web`
        workload: String,
    },
}

#[derive(Debug, Parser)]
#[command(
    name = "leafseal-operator",
    version,
    about = "Keeps Secrets in step with Vault and restarts what uses them, for custom resources that clusters \
             have already.",
    after_help = "Without a flag it serves every family whose custom resources the cluster has, in all namespaces. \
                  Flags and variables of the original operators are understood where they have a meaning.",
    args_override_self = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    task: Option<Task>,
}

/// All settings.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The families to serve, of: external-secrets, vault-secrets, reload [default: all that the cluster has]
    #[arg(long, env = "LEAFSEAL_OPERATOR_FAMILIES", value_delimiter = ',', value_parser = read_family)]
    #[arg(value_name = "FAMILY", help_heading = "What is served")]
    pub families: Vec<Family>,

    /// The namespaces to serve [default: all]; then rights in these are enough
    #[arg(long, env = "LEAFSEAL_OPERATOR_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    #[arg(help_heading = "What is served")]
    pub namespaces: Vec<String>,

    /// Stores of this class are served; those that name none belong to every class
    #[arg(long, env = "LEAFSEAL_OPERATOR_CONTROLLER_CLASS", default_value = "default", value_name = "CLASS")]
    #[arg(help_heading = "What is served")]
    pub controller_class: String,

    /// ClusterSecretStores are served, and ExternalSecrets that read from one
    #[arg(
        long,
        env = "LEAFSEAL_OPERATOR_CLUSTER_SECRET_STORES",
        default_value = "true",
        default_missing_value = "true"
    )]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[arg(help_heading = "What is served")]
    pub cluster_secret_stores: bool,

    /// ClusterExternalSecrets are served
    #[arg(long, env = "LEAFSEAL_OPERATOR_CLUSTER_EXTERNAL_SECRETS")]
    #[arg(default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    #[arg(action = ArgAction::Set, value_name = "BOOL", help_heading = "What is served")]
    pub cluster_external_secrets: bool,

    /// The namespace the operator runs in: its Leases and the defaults of Vault Secrets lie there [default:
    /// that of its ServiceAccount, else `default`]
    #[arg(long, env = "OPERATOR_NAMESPACE", default_value_t = own_namespace(Path::new(POD_NAMESPACE)))]
    #[arg(hide_default_value = true, value_name = "NAMESPACE", help_heading = "What is served")]
    pub operator_namespace: String,

    /// How many objects of a family are worked on at once
    #[arg(long, env = "LEAFSEAL_OPERATOR_CONCURRENCY", default_value = "32", value_name = "N")]
    #[arg(help_heading = "Limits")]
    pub concurrency: NonZeroUsize,

    /// How many objects read from one store at once
    #[arg(long, env = "LEAFSEAL_OPERATOR_VAULT_CONCURRENCY", default_value = "16", value_name = "N")]
    #[arg(help_heading = "Limits")]
    pub vault_concurrency: NonZeroUsize,

    /// The most requests to the API server in a second; 0: as many as it takes, slower when it asks for that
    #[arg(long, env = "LEAFSEAL_OPERATOR_CLIENT_QPS", default_value = "0", value_name = "N")]
    #[arg(help_heading = "Limits")]
    pub client_qps: u32,

    /// How many requests may run ahead of --client-qps [default: twice as many]
    #[arg(long, env = "LEAFSEAL_OPERATOR_CLIENT_BURST", value_name = "N", help_heading = "Limits")]
    pub client_burst: Option<u32>,

    /// How long a failed object waits the first time; doubled with each failure
    #[arg(long, env = "LEAFSEAL_OPERATOR_BACKOFF", default_value = "1s", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Limits")]
    pub backoff: Duration,

    /// The longest that a failed object waits
    #[arg(long, env = "LEAFSEAL_OPERATOR_BACKOFF_LIMIT", default_value = "5m", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Limits")]
    pub backoff_limit: Duration,

    /// How often stores are checked; 0: only when they change
    #[arg(long, env = "LEAFSEAL_OPERATOR_STORE_CHECK_INTERVAL", default_value = "5m")]
    #[arg(value_parser = read_duration, value_name = "DURATION", help_heading = "Limits")]
    pub store_check_interval: Duration,

    /// How long what runs may go on after SIGTERM
    #[arg(long, env = "LEAFSEAL_OPERATOR_DRAIN", default_value = "20s", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Limits")]
    pub drain: Duration,

    /// Where /metrics is served; 0: nowhere
    #[arg(long, env = "LEAFSEAL_OPERATOR_METRICS_ADDRESS", default_value = ":8080", value_name = "[HOST]:PORT")]
    #[arg(help_heading = "Ports and logs")]
    pub metrics_address: Listen,

    /// Where /healthz and /readyz are served; 0: nowhere
    #[arg(long, env = "LEAFSEAL_OPERATOR_HEALTH_ADDRESS", default_value = ":8081", value_name = "[HOST]:PORT")]
    #[arg(help_heading = "Ports and logs")]
    pub health_address: Listen,

    /// How logs look
    #[arg(long, env = "LEAFSEAL_OPERATOR_LOG_FORMAT", default_value = "text", value_enum)]
    #[arg(help_heading = "Ports and logs")]
    pub log_format: LogFormat,

    /// Which logs there are: error, warn, info, debug, trace, or a list such as `kube=debug,warn`
    #[arg(long, env = "LEAFSEAL_OPERATOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    #[arg(help_heading = "Ports and logs")]
    pub log_level: String,

    /// Act on a family only while holding the Lease that its original operator uses
    #[arg(long, env = "LEAFSEAL_OPERATOR_LEADER_ELECT", default_value = "true", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[arg(help_heading = "Leader election")]
    pub leader_elect: bool,

    /// How long others wait for a holder that is silent
    #[arg(long, env = "LEAFSEAL_OPERATOR_LEASE_DURATION", default_value = "15s", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Leader election")]
    pub lease_duration: Duration,

    /// How long the holder acts without having renewed the Lease
    #[arg(long, env = "LEAFSEAL_OPERATOR_RENEW_DEADLINE", default_value = "10s", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Leader election")]
    pub renew_deadline: Duration,

    /// How often the Lease is looked at and renewed
    #[arg(long, env = "LEAFSEAL_OPERATOR_RETRY_PERIOD", default_value = "2s", value_parser = read_duration)]
    #[arg(value_name = "DURATION", help_heading = "Leader election")]
    pub retry_period: Duration,

    /// The folder where encrypted documents are mounted, for stores of the SOPS provider that name folders
    #[arg(long, env = "LEAFSEAL_OPERATOR_DOCUMENTS", value_name = "FOLDER", help_heading = "Content")]
    pub documents: Option<PathBuf>,

    /// The mark where actions of templates begin
    #[arg(long, env = "LEAFSEAL_OPERATOR_TEMPLATE_LEFT_DELIMITER", default_value = "{{", value_name = "TEXT")]
    #[arg(help_heading = "Content")]
    pub template_left_delimiter: String,

    /// The mark where actions of templates end
    #[arg(long, env = "LEAFSEAL_OPERATOR_TEMPLATE_RIGHT_DELIMITER", default_value = "}}", value_name = "TEXT")]
    #[arg(help_heading = "Content")]
    pub template_right_delimiter: String,

    /// No `_raw` in Secrets of Vault Secrets unless an object asks for it
    #[arg(long, env = "LEAFSEAL_OPERATOR_EXCLUDE_RAW", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[arg(help_heading = "Content")]
    pub exclude_raw: bool,

    /// A VaultAuth without vaultAuthGlobalRef may follow the VaultAuthGlobal called `default`
    #[arg(long, env = "LEAFSEAL_OPERATOR_ALLOW_DEFAULT_GLOBALS", default_value = "true")]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set)]
    #[arg(value_name = "BOOL", help_heading = "Content")]
    pub allow_default_globals: bool,

    /// Of reloads
    #[command(flatten)]
    pub reload: Reload,
}

/// How logs look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Where a server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The addresses that are tried, in order; the first that the machine has is used. None: nowhere.
    pub tried: Vec<SocketAddr>,
}

/// Text that names no place to listen at.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is no address: write `:8080`, `127.0.0.1:8080` or `[::1]:8080`, or `0` to serve nothing")]
pub struct NoListen(String);

impl FromStr for Listen {
    type Err = NoListen;

    fn from_str(text: &str) -> Result<Self, NoListen> {
        if matches!(text, "0" | "") {
            return Ok(Self { tried: Vec::new() });
        }
        let no = || NoListen(text.to_owned());
        let tried = match text.strip_prefix(':') {
            Some(port) => {
                let port: u16 = port.parse().map_err(|_| no())?;
                // As in Go: all addresses of both families, where the machine has both.
                vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
            }
            None => vec![text.replace("localhost:", "127.0.0.1:").parse().map_err(|_| no())?],
        };
        Ok(Self { tried })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tried.first() {
            None => to.write_str("nowhere"),
            Some(it) if it.ip().is_unspecified() => write!(to, ":{}", it.port()),
            Some(it) => it.fmt(to),
        }
    }
}

impl Settings {
    /// Reads what the process was started with: its arguments, the first of which names the program,
    /// and those of its environment variables that belong to the original operators. Our own
    /// variables are read where no argument says otherwise.
    ///
    /// # Errors
    ///
    /// If an argument is wrong, or help or the version was asked for.
    pub fn read(mut args: Vec<String>, variables: Vec<(String, String)>) -> Result<Start, clap::Error> {
        // Flags may stand after the command too.
        let n_words = args.iter().skip(1).take_while(|it| !it.starts_with('-')).count();
        if n_words > 0 && args.len() > 1 + n_words {
            args[1..].rotate_left(n_words);
        }
        let Translated { args, mut warnings } = translate(args, &variables);
        let matches = Cli::command().try_get_matches_from(args)?;
        let Cli { mut settings, task } = Cli::from_arg_matches(&matches)?;
        // The original of reloads reads a list as CSV; and a variable that is set to nothing chooses nothing.
        for namespace in &mut settings.namespaces {
            *namespace = namespace.trim_matches([' ', '"']).to_owned();
        }
        settings.namespaces.retain(|it| !it.is_empty());
        settings.check().map_err(|why| Cli::command().error(clap::error::ErrorKind::ValueValidation, why))?;
        warnings.extend(settings.reload.warnings());
        Ok(Start { task: task.unwrap_or_default(), settings, spelt: spell(&matches), warnings })
    }

    /// The families that are to be served, if the cluster has them.
    pub fn asked_families(&self) -> Vec<Family> {
        families::FAMILIES
            .iter()
            .map(|it| it.family)
            .filter(|it| self.families.is_empty() || self.families.contains(it))
            .collect()
    }

    /// What adapters must know.
    pub fn terms(&self) -> Terms {
        Terms {
            operator_namespace: self.operator_namespace.clone(),
            controller_class: self.controller_class.clone(),
            delimiters: (self.template_left_delimiter.clone(), self.template_right_delimiter.clone()),
            exclude_raw: self.exclude_raw,
            mac_key: None,
        }
    }

    /// What holds for every workload that reloads.
    pub fn reload_rules(&self) -> Rules {
        self.reload.rules()
    }

    fn check(&self) -> Result<(), String> {
        let Self { lease_duration, renew_deadline, retry_period, .. } = self;
        // As the original does: else a holder acts on while the next one begins.
        if renew_deadline >= lease_duration || retry_period >= renew_deadline || retry_period.is_zero() {
            return Err(format!(
                "the Lease needs --retry-period ({retry_period:?}) < --renew-deadline ({renew_deadline:?}) < \
                 --lease-duration ({lease_duration:?})"
            ));
        }
        if lease_duration.as_secs() < 1 {
            return Err("--lease-duration is counted in whole seconds".to_owned());
        }
        if self.template_left_delimiter.is_empty() || self.template_right_delimiter.is_empty() {
            return Err("the marks of templates cannot be empty".to_owned());
        }
        self.reload.check()
    }
}

fn spell(matches: &ArgMatches) -> Vec<String> {
    let definition = Cli::command();
    let spell = |it: &clap::Arg| {
        let long = it.get_long()?;
        let values = matches.try_get_raw(it.get_id().as_str()).ok()??;
        let values: Vec<_> = values.map(|it| it.to_string_lossy()).collect();
        let value = values.join(",");
        // What is not to be seen in variables is not to be seen here.
        let is_secret = it.is_hide_env_values_set() && !value.is_empty();
        Some(format!("--{long}={}", if is_secret { "(not shown)" } else { &value }))
    };
    definition.get_arguments().filter_map(spell).collect()
}

fn read_family(text: &str) -> Result<Family, String> {
    let names: Vec<_> = families::FAMILIES.iter().map(|it| it.name).collect();
    let row = families::FAMILIES.iter().find(|it| it.name == text);
    row.map(|it| it.family).ok_or_else(|| format!("there is no family {text:?}: use {}", names.join(" or ")))
}

fn read_duration(text: &str) -> Result<Duration, String> {
    let read: GoDuration = text.parse().map_err(|it: crate::go::NoDuration| it.to_string())?;
    let nanoseconds = u64::try_from(read.nanoseconds).map_err(|_| format!("{text:?} is less than nothing"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn own_namespace(file: &Path) -> String {
    let read = std::fs::read_to_string(file).unwrap_or_default();
    match read.trim() {
        "" => "default".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Start {
        let args = std::iter::once("leafseal-operator").chain(args.iter().copied()).map(str::to_owned).collect();
        Settings::read(args, Vec::new()).expect("these are settings")
    }

    #[test]
    fn the_definition_is_whole() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_serves_everything() {
        let Start { task, settings, warnings, spelt } = read(&[]);
        assert!(spelt.contains(&"--lease-duration=15s".to_owned()), "{spelt:?}");
        assert_eq!((task, warnings), (Task::Run, vec![]));
        assert_eq!(settings.asked_families(), [Family::ExternalSecrets, Family::VaultSecrets, Family::Reload]);
        assert!(settings.namespaces.is_empty() && settings.leader_elect);
        assert_eq!(settings.metrics_address.to_string(), ":8080");
        assert_eq!(settings.health_address.to_string(), ":8081");
        assert_eq!(settings.concurrency.get(), 32);
        assert_eq!(settings.lease_duration, Duration::from_secs(15));
        assert_eq!(settings.store_check_interval, Duration::from_secs(300));
    }

    #[test]
    fn settings_are_read() {
        let args =
            ["--families=vault-secrets", "--namespaces=a,b", "--leader-elect=false", "--exclude-raw", "settings"];
        let Start { task, settings, .. } = read(&args);
        assert_eq!(task, Task::Settings);
        assert_eq!(settings.asked_families(), [Family::VaultSecrets]);
        assert_eq!(settings.namespaces, ["a", "b"]);
        assert!(!settings.leader_elect && settings.exclude_raw);
        let explain = Task::Explain { namespace: "shop".to_owned(), workload: "deployment/web".to_owned() };
        assert_eq!(read(&["explain", "shop", "deployment/web", "--auto-reload-all"]).task, explain);
        assert_eq!(read(&["settings", "--concurrent", "5"]).settings.concurrency.get(), 5);
        assert_eq!(read(&["--concurrency=4", "--concurrency=8"]).settings.concurrency.get(), 8);
    }

    #[test]
    fn settings_are_shown_without_secrets() {
        let url = "https://hooks.example.com/secret";
        let Start { settings, spelt, .. } = read(&[&format!("--webhook-url={url}")]);
        assert_eq!(settings.reload.webhook_url.expose(), Some(url));
        assert!(!format!("{settings:?} {spelt:?}").contains("hooks.example.com"));
        assert!(spelt.contains(&"--webhook-url=(not shown)".to_owned()), "{spelt:?}");
        let args = ["o", "--webhook-url=hooks.example.com/secret"].map(str::to_owned).to_vec();
        let said = Settings::read(args, Vec::new()).expect_err("this is wrong").to_string();
        assert!(said.contains("--webhook-url") && !said.contains("hooks"), "{said}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (args, part) in [
            (&["--resources-to-ignore=secrets,configMaps"][..], "either `secrets` or `configmaps`"),
            (&["--reload-strategy=restart"], "--reload-strategy"),
            (&["--namespace-selector==x"], "says nothing about a label"),
            (&["--reload-window=2m"], "--reload-window-limit"),
            (&["--families=reloader"], "external-secrets or vault-secrets or reload"),
            (&["--metrics-address=http"], "is no address"),
            (&["--lease-duration=5s"], "--renew-deadline"),
            (&["--drain=soon"], "is no duration"),
            (&["--concurrency=0"], "zero"),
            (&["--no-such-flag"], "--no-such-flag"),
        ] {
            let args = std::iter::once("leafseal-operator").chain(args.iter().copied()).map(str::to_owned).collect();
            let said = Settings::read(args, Vec::new()).expect_err("this is wrong").to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        let both = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))];
        for (text, tried) in [
            (":80", &both[..]),
            ("0", &[]),
            ("127.0.0.1:80", &[SocketAddr::from((Ipv4Addr::LOCALHOST, 80))]),
            ("localhost:80", &[SocketAddr::from((Ipv4Addr::LOCALHOST, 80))]),
            ("[::1]:80", &[SocketAddr::from((Ipv6Addr::LOCALHOST, 80))]),
        ] {
            assert_eq!(text.parse::<Listen>().expect("it is an address").tried, tried, "{text}");
        }
    }
}
