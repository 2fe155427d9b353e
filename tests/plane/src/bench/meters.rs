//! What is measured: a process, and what the API server and Vault were asked.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use kube::Client;

use crate::OpenBao;

/// How long a tick of `/proc/PID/stat` is: USER_HZ is 100 on every architecture that Linux still has.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that a process has used.
pub(super) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; after it, utime and stime are the 12th and 13th field.
    let fields = stat.rsplit_once(')').map(|(_, it)| it.split_whitespace()).into_iter().flatten();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|it| it.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// The memory of a process that is resident, and the most that ever was, in megabytes.
pub(super) fn memory(pid: u32) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_default();
        let kib: f64 = line.trim_end_matches("kB").trim().parse().unwrap_or_default();
        kib * 1024.0 / 1e6
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// How often something was asked since the server began, by what it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(BTreeMap<String, u64>);

/// What the plane itself and this benchmark go on doing: its garbage collector looks once whether the owner of
/// a new Secret is there.
const OTHERS: &[&str] = &[
    "nodes",
    "leases",
    "WATCH",
    "CONNECT",
    "selfsubject",
    "customresource",
    "GET externalsecrets",
    "GET vaultstaticsecrets",
];

impl Asked {
    /// What the API server was asked: verb and resource.
    pub(super) async fn of_cluster(client: &Client) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("this is a path");
        let text = client.request_text(request).await.expect("the API server counts");
        let mut asked = BTreeMap::new();
        for line in text.lines().filter_map(|it| it.strip_prefix("apiserver_request_total{")) {
            let Some((labels, n)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let value = labels.split_once(&format!("{name}=\"")).map(|(_, it)| it);
                value.and_then(|it| it.split('"').next()).unwrap_or_default()
            };
            let (resource, part) = (label("resource"), label("subresource"));
            if resource.is_empty() {
                continue;
            }
            let slash = if part.is_empty() { "" } else { "/" };
            let code = label("code");
            let failed = if code.starts_with('2') { String::new() } else { format!(" {code}") };
            let what = format!("{} {resource}{slash}{part}{failed}", label("verb"));
            *asked.entry(what).or_default() += n.parse::<f64>().unwrap_or_default() as u64;
        }
        Self(asked)
    }

    /// What Vault was asked: operation and mount.
    pub(super) fn of_vault(bao: &OpenBao) -> Self {
        let text = bao.metrics();
        let mut asked = BTreeMap::new();
        for line in text.lines().filter_map(|it| it.strip_prefix("vault_route_")) {
            let Some((what, n)) = line.split_once("_count ") else { continue };
            // What this reads itself, and what Vault does by itself.
            if !["sys", "rollback"].iter().any(|it| what.contains(it)) {
                asked.insert(what.trim_matches('_').to_owned(), n.parse().unwrap_or_default());
            }
        }
        Self(asked)
    }

    /// What was asked after `before`, without what would have been asked anyway.
    pub(super) fn since(&self, before: &Self) -> Self {
        let new = self.0.iter().map(|(what, n)| (what.clone(), n - before.0.get(what).copied().unwrap_or_default()));
        Self(new.filter(|(what, n)| *n > 0 && !OTHERS.iter().any(|it| what.contains(it))).collect())
    }

    /// How many that match.
    pub(super) fn count(&self, matches: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|(what, _)| matches(what)).map(|(_, n)| n).sum()
    }

    /// In words, for each of `n` objects.
    pub(super) fn each(&self, n: usize) -> String {
        let words = self.0.iter().map(|(what, count)| match *count as f64 / n as f64 {
            share if share < 0.01 => format!("{what} {count}×"),
            share => format!("{what} {share:.2}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

/// True for requests that change something.
pub(super) fn is_write(what: &str) -> bool {
    ["POST ", "PUT ", "PATCH ", "DELETE ", "DELETECOLLECTION "].iter().any(|it| what.starts_with(it))
        && !["tokenreviews", "/token"].iter().any(|it| what.contains(it))
}

/// True for events that are written.
pub(super) fn is_event(what: &str) -> bool {
    is_write(what) && what.contains(" events")
}
