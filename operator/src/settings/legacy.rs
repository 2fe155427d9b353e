//! Flags and variables of the original operators, as a table: what each is called here, or why it has
//! no meaning (External Secrets, spec section 4.3; Vault Secrets, spec section A.12; Reloader, spec section B.8).

use std::collections::BTreeSet;

use crate::intent::Family::{self, ExternalSecrets, Reload, VaultSecrets};

/// What a flag of an original operator means here.
#[derive(Clone, Copy, Debug)]
enum Means {
    /// The same as this flag.
    Flag(&'static str),
    /// The same as this flag, with a value.
    Value(&'static str),
    /// If the list that is its value contains the word: this flag with that value.
    Word(&'static str, &'static str),
    /// A family is switched off if it is false.
    Nothing(&'static str),
}

use Means::{Flag, Nothing, Value, Word};

/// One flag of an original operator.
struct Row {
    /// Its name.
    flag: &'static str,
    /// True if a value follows it when no `=` does.
    takes: bool,
    /// Whose it is: a start with it serves that family alone, if no other is asked for.
    of: Option<Family>,
    /// What it means.
    means: Means,
}

const fn row(of: Option<Family>, flag: &'static str, means: Means) -> Row {
    let takes = !matches!(means, Flag(_));
    Row { flag, takes, of, means }
}

/// A switch that is the same as this flag.
const fn on(of: Option<Family>, flag: &'static str, ours: &'static str) -> Row {
    Row { flag, takes: false, of, means: Value(ours) }
}

/// A switch without a meaning here.
const fn switch(of: Option<Family>, flag: &'static str, why: &'static str) -> Row {
    Row { flag, takes: false, of, means: Nothing(why) }
}

const ES: Option<Family> = Some(ExternalSecrets);
const VS: Option<Family> = Some(VaultSecrets);
const RL: Option<Family> = Some(Reload);

const CACHES: &str = "what is kept in memory is not a choice here";
const KINDS: &str = "which kinds are served follows from the cluster";
const GENERATED: &str = "generators keep no state";
const HTTPS: &str = "metrics are served without TLS and without a login: put a proxy before them";
const CLIENTS: &str = "clients of Vault are kept in memory only";
const PROFILES: &str = "there are no profiles";

/// The flags that are spelt otherwise here, or have no meaning here. Those not listed are our own, or wrong.
const ROWS: &[Row] = &[
    // Both.
    row(None, "metrics-addr", Value("--metrics-address")),
    row(None, "metrics-bind-address", Value("--metrics-address")),
    row(None, "zap-log-level", Value("--log-level")),
    row(None, "zap-encoder", Nothing("see --log-format")),
    row(None, "zap-time-encoding", Nothing("times are written as RFC 3339 says")),
    row(None, "zap-stacktrace-level", Nothing("there are no stack traces")),
    switch(None, "zap-devel", "see --log-format"),
    // External Secrets.
    row(ES, "concurrent", Value("--concurrency")),
    row(ES, "loglevel", Value("--log-level")),
    row(ES, "live-addr", Value("--health-address")),
    row(ES, "healthz-addr", Value("--health-address")),
    row(ES, "namespace", Value("--namespaces")),
    row(ES, "store-requeue-interval", Value("--store-check-interval")),
    row(ES, "enable-leader-election", Flag("--leader-elect")),
    row(ES, "leader-election-id", Nothing("each family has the Lease of its original operator")),
    row(ES, "leader-election-lease-duration", Value("--lease-duration")),
    row(ES, "leader-election-renew-deadline", Value("--renew-deadline")),
    row(ES, "leader-election-retry-period", Value("--retry-period")),
    row(ES, "vault-token-cache-size", Nothing(CLIENTS)),
    row(ES, "experimental-vault-token-cache-size", Nothing(CLIENTS)),
    row(ES, "generator-gc-grace-period", Nothing(GENERATED)),
    row(ES, "metrics-cert-dir", Nothing(HTTPS)),
    row(ES, "metrics-cert-name", Nothing(HTTPS)),
    row(ES, "metrics-key-name", Nothing(HTTPS)),
    switch(ES, "metrics-auth", HTTPS),
    switch(ES, "metrics-secure", HTTPS),
    switch(ES, "enable-http2", HTTPS),
    switch(ES, "enable-vault-token-cache", CLIENTS),
    switch(ES, "experimental-enable-vault-token-cache", CLIENTS),
    switch(ES, "experimental-enable-aws-session-cache", CLIENTS),
    on(ES, "enable-cluster-store-reconciler", "--cluster-secret-stores"),
    switch(ES, "enable-secret-store-reconciler", KINDS),
    switch(ES, "enable-push-secret-reconciler", KINDS),
    on(ES, "enable-cluster-external-secret-reconciler", "--cluster-external-secrets"),
    switch(ES, "enable-cluster-push-secret-reconciler", KINDS),
    switch(ES, "enable-generator-state", GENERATED),
    switch(ES, "enable-flood-gate", "objects of stores that are not ready wait for them"),
    switch(ES, "enable-secrets-caching", CACHES),
    switch(ES, "enable-configmaps-caching", CACHES),
    switch(ES, "enable-managed-secrets-caching", CACHES),
    switch(ES, "enable-secret-api-read-on-cache-mismatch", CACHES),
    switch(ES, "enable-extended-metric-labels", "metrics have the labels name and namespace"),
    switch(ES, "unsafe-allow-generic-targets", "targets are Secrets"),
    // Vault Secrets.
    row(VS, "health-probe-bind-address", Value("--health-address")),
    row(VS, "max-concurrent-reconciles", Value("--concurrency")),
    row(VS, "max-concurrent-reconciles-vds", Nothing("see --concurrency")),
    row(VS, "kube-client-qps", Value("--client-qps")),
    row(VS, "kube-client-burst", Value("--client-burst")),
    row(VS, "global-transformation-options", Word("exclude-raw", "--exclude-raw=true")),
    row(VS, "global-vault-auth-options", Word("allow-default-globals", "--allow-default-globals=true")),
    row(VS, "backoff-initial-interval", Value("--backoff")),
    row(VS, "backoff-max-interval", Value("--backoff-limit")),
    row(VS, "backoff-max-elapsed-time", Nothing("what failed is tried again for ever")),
    row(VS, "backoff-multiplier", Nothing("the wait doubles with each failure")),
    row(VS, "backoff-randomization-factor", Nothing("waits are always spread")),
    row(VS, "client-cache-size", Nothing(CLIENTS)),
    row(VS, "client-cache-num-locks", Nothing(CLIENTS)),
    row(VS, "client-cache-persistence-model", Nothing(CLIENTS)),
    row(VS, "min-refresh-after-hvsa", Nothing("HCPVaultSecretsApps are not served")),
    row(VS, "pre-delete-hook-timeout-seconds", Nothing("there is nothing to wait for before an uninstallation")),
    switch(VS, "uninstall", "there is nothing to clean up before an uninstallation"),
    // Reloads.
    row(RL, "is-Argo-Rollouts", Value("--argo-rollouts")),
    row(RL, "enable-ha", Flag("--leader-elect")),
    row(RL, "pprof-addr", Nothing(PROFILES)),
    switch(RL, "enable-pprof", PROFILES),
];

/// Flags of ours that one original operator has under the same name.
const SHARED: &[(&str, Family)] = &[
    ("controller-class", ExternalSecrets),
    ("template-left-delimiter", ExternalSecrets),
    ("template-right-delimiter", ExternalSecrets),
    ("auto-reload-all", Reload),
    ("enable-csi-integration", Reload),
    ("sync-after-restart", Reload),
    ("webhook-url", Reload),
    ("reload-strategy", Reload),
    ("reload-on-create", Reload),
    ("reload-on-delete", Reload),
    ("resources-to-ignore", Reload),
    ("ignored-workload-types", Reload),
    ("namespaces-to-ignore", Reload),
    ("namespace-selector", Reload),
    ("resource-label-selector", Reload),
    ("auto-annotation", Reload),
    ("configmap-auto-annotation", Reload),
    ("secret-auto-annotation", Reload),
    ("configmap-annotation", Reload),
    ("secret-annotation", Reload),
    ("auto-search-annotation", Reload),
    ("search-match-annotation", Reload),
    ("ignore-annotation", Reload),
    ("pause-deployment-annotation", Reload),
    ("pause-deployment-time-annotation", Reload),
];

/// Flags of ours that nobody's chart but that of one original operator makes empty, for the default.
const MAYBE_EMPTY: &[&str] = &["log-format", "log-level", "namespaces"];

/// Variables that the chart of reloads sets. By these names and no others: Kubernetes makes `RELOADER_PORT` and
/// the like for every pod beside a Service called reloader.
const OF_RELOADS: &[&str] = &["RELOADER_NAMESPACE", "RELOADER_DEPLOYMENT_NAME"];

/// Variables of Vault Secrets: all but the prefix is the flag (spec section A.12). These have no flag.
const OTHER_VARIABLES: &[(&str, Means)] =
    &[("VSO_OUTPUT_FORMAT", Nothing("see --log-format")), ("VSO_CLIENT_CACHE_PERSISTENCE_MODEL", Nothing(CLIENTS))];

/// Arguments in our own words.
#[derive(Debug, Eq, PartialEq)]
pub struct Translated {
    /// All arguments, the name of the program first.
    pub args: Vec<String>,
    /// What has no meaning here, one line each.
    pub warnings: Vec<String>,
}

/// Spells arguments and variables of the original operators in our own words. Arguments that are our own,
/// or that nobody knows, stay as they are.
pub fn translate(args: Vec<String>, variables: &[(String, String)]) -> Translated {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let mut own = Vec::new();
    let mut warnings = Vec::new();
    let mut met = BTreeSet::new();
    let mut say = |name: &str, why: &str| {
        let line = format!("{name} is ignored: {why}");
        if !warnings.contains(&line) {
            warnings.push(line);
        }
    };
    // Variables stand first, so that arguments win.
    for (name, value) in variables {
        if OF_RELOADS.contains(&name.as_str()) {
            met.insert(Reload);
        }
        if name == "METRICS_COUNT_BY_NAMESPACE" && value == "enabled" {
            own.push("--count-reloads-by-namespace".to_owned());
        }
        let Some(rest) = name.strip_prefix("VSO_") else { continue };
        let flag = rest.to_lowercase().replace('_', "-");
        let listed = OTHER_VARIABLES.iter().find(|it| it.0 == name).map(|it| it.1);
        let known = listed.or_else(|| ROWS.iter().find(|it| it.of == VS && it.flag == flag).map(|it| it.means));
        met.insert(VaultSecrets);
        match known {
            // Our own variable says more exactly what is wanted.
            Some(Flag(ours) | Value(ours)) if variables.iter().any(|it| it.0 == variable_of(ours)) => (),
            Some(Nothing(why)) => say(name, why),
            Some(means) => own.extend(spell(means, Some(value))),
            None => say(name, "nothing here is called so"),
        }
    }
    while let Some(arg) = args.next() {
        if arg == "--" {
            own.push(arg);
            own.extend(args);
            break;
        }
        // Go takes one dash for two; ours with one dash are one letter long.
        let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-').filter(|it| it.len() > 1));
        let (name, value) =
            match name.map(|it| it.split_once('=').map_or((it, None), |(name, value)| (name, Some(value)))) {
                Some(it) => it,
                None => {
                    own.push(arg);
                    continue;
                }
            };
        let shared = SHARED.iter().find(|it| it.0 == name).map(|it| it.1);
        met.extend(shared);
        let Some(row) = ROWS.iter().find(|it| it.flag == name) else {
            match value {
                Some("") if shared == RL || MAYBE_EMPTY.contains(&name) => (),
                Some(value) if name == "log-level" => own.extend(spell(Value("--log-level"), Some(value))),
                _ => own.push(arg),
            }
            continue;
        };
        met.extend(row.of);
        let value = value.map(str::to_owned).or_else(|| row.takes.then(|| args.next()).flatten());
        match row.means {
            Nothing(why) => say(&format!("--{name}"), why),
            means => own.extend(spell(means, value.as_deref())),
        }
    }
    let mut all = vec![program];
    // Under the chart of one original operator, that family alone, with its ports.
    if let (Some(family), 1) = (met.first(), met.len()) {
        let asked = own.iter().any(|it| it.starts_with("--families"));
        if !asked && !variables.iter().any(|it| it.0 == variable_of("--families")) {
            all.extend(defaults_of(*family, &own, variables));
        }
    }
    all.extend(own);
    Translated { args: all, warnings }
}

/// What holds under the chart of an original operator unless something else is asked for.
fn defaults_of(family: Family, own: &[String], variables: &[(String, String)]) -> Vec<String> {
    let row = crate::families::row(family);
    let port = format!(":{}", row.health_port);
    let mut all = vec![("--families", row.name.to_owned()), ("--health-address", port.clone())];
    if family == Reload {
        let of = |name: &str| variables.iter().find(|it| it.0 == name && !it.1.is_empty()).map(|it| it.1.clone());
        all.push(("--metrics-address", port));
        all.push(("--leader-elect", "false".to_owned()));
        all.push(("--argo-rollouts", "false".to_owned()));
        // A list goes before the one namespace.
        let one = of("KUBERNETES_NAMESPACE").filter(|_| !own.iter().any(|it| it.starts_with("--namespaces=")));
        all.extend(one.map(|it| ("--namespaces", it)));
        let home =
            of("POD_NAMESPACE").or_else(|| of("RELOADER_NAMESPACE")).filter(|_| of("OPERATOR_NAMESPACE").is_none());
        all.extend(home.map(|it| ("--operator-namespace", it)));
    }
    // Our own variables say more exactly what is wanted.
    all.retain(|it| !variables.iter().any(|(name, _)| *name == variable_of(it.0)));
    all.into_iter().map(|(flag, value)| format!("{flag}={value}")).collect()
}

fn spell(means: Means, value: Option<&str>) -> Option<String> {
    match (means, value) {
        (Flag(ours), None) => Some(ours.to_owned()),
        (Value(ours), None) => Some(ours.to_owned()),
        // What is empty is the default, which is what charts write when nothing was chosen.
        (Value(_), Some("")) => None,
        (Flag(ours) | Value(ours), Some(value)) => Some(format!("{ours}={}", level(ours, value))),
        (Word(word, ours), value) => {
            let has = value.unwrap_or_default().split(',').any(|it| it.trim() == word);
            let (flag, _) = ours.split_once('=').expect("a word stands for a flag with a value");
            Some(if has { ours.to_owned() } else { format!("{flag}=false") })
        }
        (Nothing(_), _) => None,
    }
}

/// Levels that the originals' loggers have and we do not.
fn level<'a>(flag: &str, value: &'a str) -> &'a str {
    match (flag, value) {
        ("--log-level", "warning") => "warn",
        ("--log-level", "dpanic" | "panic" | "fatal") => "error",
        _ => value,
    }
}

fn variable_of(flag: &str) -> String {
    format!("LEAFSEAL_OPERATOR_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, Start};

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// A start with `given` is a start with `ours`, and this many things have no meaning.
    fn check(variables: &[(&str, &str)], given: &str, ours: &str, warned: usize) {
        let variables: Vec<_> = variables.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        let given = args(&format!("o {given}"));
        let Translated { args: got, warnings } = translate(given.clone(), &variables);
        assert_eq!(got, args(&format!("o {ours}")));
        assert_eq!(warnings.len(), warned, "{warnings:?}");
        let Start { .. } = Settings::read(given, variables).unwrap_or_else(|it| panic!("{it}"));
    }

    #[test]
    fn flags_of_the_originals_are_understood() {
        let es = "--families=external-secrets --health-address=:8082";
        let vs = "--families=vault-secrets --health-address=:8081";
        check(&[], "", "", 0);
        check(&[], "--concurrency=3 settings", "--concurrency=3 settings", 0);
        check(&[], "--concurrent=5", &format!("{es} --concurrency=5"), 0);
        check(&[], "--concurrent 5 --loglevel debug", &format!("{es} --concurrency=5 --log-level=debug"), 0);
        check(&[], "--enable-leader-election=true", &format!("{es} --leader-elect=true"), 0);
        check(
            &[],
            "--enable-cluster-store-reconciler=false --enable-cluster-external-secret-reconciler",
            &format!("{es} --cluster-secret-stores=false --cluster-external-secrets"),
            0,
        );
        check(&[], "--enable-leader-election", &format!("{es} --leader-elect"), 0);
        check(&[], "--live-addr=:9", &format!("{es} --health-address=:9"), 0);
        check(&[], "--namespace= --controller-class=x", &format!("{es} --controller-class=x"), 0);
        check(&[], "--enable-flood-gate=false --enable-flood-gate=false --zap-time-encoding=epoch", es, 2);
        check(&[], "--leader-elect --metrics-bind-address=:9", "--leader-elect --metrics-address=:9", 0);
        let manager = "--health-probe-bind-address=:8081 --metrics-bind-address=127.0.0.1:8080 --leader-elect \
                       --client-cache-persistence-model=direct-encrypted --global-transformation-options=exclude-raw";
        let ours = "--health-address=:8081 --metrics-address=127.0.0.1:8080 --leader-elect --exclude-raw=true";
        check(&[], manager, &format!("{vs} {ours}"), 1);
        check(&[], "-max-concurrent-reconciles=7", &format!("{vs} --concurrency=7"), 0);
        check(&[], "--global-vault-auth-options=", &format!("{vs} --allow-default-globals=false"), 0);
        // One family's flags and another's: no longer the chart of one.
        check(&[], "--concurrent=1 --kube-client-qps=2", "--concurrency=1 --client-qps=2", 0);
        check(&[], "--concurrent=1 --families=vault-secrets", "--concurrency=1 --families=vault-secrets", 0);
    }

    #[test]
    fn the_chart_of_reloads_is_understood() {
        let rl = "--families=reload --health-address=:9090 --metrics-address=:9090 --leader-elect=false \
                  --argo-rollouts=false";
        check(&[], "--auto-reload-all=true", &format!("{rl} --auto-reload-all=true"), 0);
        check(
            &[],
            "--log-level=warning --log-format= --enable-ha=true",
            &format!("{rl} --log-level=warn --leader-elect=true"),
            0,
        );
        let given = "--is-Argo-Rollouts=true --reload-on-create=True --webhook-url= --enable-pprof --pprof-addr=:6060";
        check(&[], given, &format!("{rl} --argo-rollouts=true --reload-on-create=True"), 2);
        let pod = [("RELOADER_NAMESPACE", "r"), ("RELOADER_DEPLOYMENT_NAME", "d"), ("KUBERNETES_NAMESPACE", "k")];
        check(&pod, "", &format!("{rl} --namespaces=k --operator-namespace=r"), 0);
        check(&pod, "--namespaces=a,b", &format!("{rl} --operator-namespace=r --namespaces=a,b"), 0);
        check(&[("RELOADER_PORT", "tcp://10.0.0.1:9090"), ("KUBERNETES_NAMESPACE", "k")], "", "", 0);
        let counted = [("METRICS_COUNT_BY_NAMESPACE", "enabled"), ("LEAFSEAL_OPERATOR_FAMILIES", "reload")];
        check(&counted, "", "--count-reloads-by-namespace", 0);
        check(&[], "--reload-strategy=default --families=reload", "--reload-strategy=default --families=reload", 0);
    }

    #[test]
    fn variables_of_the_originals_are_understood() {
        let vs = "--families=vault-secrets --health-address=:8081";
        check(&[("VSO_MAX_CONCURRENT_RECONCILES", "9")], "", &format!("{vs} --concurrency=9"), 0);
        check(&[("VSO_CLIENT_CACHE_SIZE", "9"), ("VSO_OTHER", "1"), ("HOME", "/")], "", vs, 2);
        let both = [("VSO_MAX_CONCURRENT_RECONCILES", "9"), ("LEAFSEAL_OPERATOR_CONCURRENCY", "8")];
        check(&both, "", vs, 0);
    }

    #[test]
    fn no_row_hides_a_flag_of_ours() {
        let ours = <crate::settings::Cli as clap::CommandFactory>::command();
        for flag in ours.get_arguments().filter_map(|it| it.get_long()) {
            assert!(ROWS.iter().all(|it| it.flag != flag), "--{flag}");
        }
        for row in ROWS {
            if let Flag(name) | Value(name) = row.means {
                let known = ours.get_arguments().any(|it| it.get_long() == name.strip_prefix("--"));
                assert!(known, "{name}");
            }
        }
    }
}
