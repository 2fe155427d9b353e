//! What a scenario file says. `tests/plane/scenarios/README.md` is its specification.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A file: what it shows, and the steps as they stand there. A step is read when its turn comes, because what
/// stands in it may be known only then.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) cases: Vec<String>,
    pub(crate) says: String,
    #[serde(default, rename = "as")]
    pub(crate) versions: Vec<String>,
    #[serde(default)]
    pub(crate) alone: bool,
    /// It starts operators of its own, which serve its namespace and no other.
    #[serde(default)]
    pub(crate) own: bool,
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    pub(crate) steps: Vec<Value>,
}

impl Scenario {
    /// True if it counts what the API server is asked.
    pub(crate) fn counts_requests_to_the_cluster(&self) -> bool {
        self.steps.iter().any(|it| it.to_string().contains(r#""to":"cluster""#))
    }
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Include(String),
    Vault(VaultStep),
    Apply(OneOrMany<Value>),
    Create(OneOrMany<Value>),
    Patch(PatchStep),
    Delete(Object),
    Together(Vec<Value>),
    Refused(RefusedStep),
    Expect(Box<Expect>),
    Unchanged(Unchanged),
    Settle(Settle),
    Event(EventStep),
    Columns(Columns),
    Mark(String),
    Requests(Requests),
    Rolls(Rolls),
    Rolling(Rolling),
    Count(Number),
    Posted(Posted),
    Proxy(ProxyStep),
    Forwarded(Forwarded),
    Helm(HelmStep),
    Token(Token),
    Log(Texts),
    Metrics(Texts),
    Wait(Time),
    Repeat(Repeat),
    Operator(OperatorStep),
    Openbao(OpenbaoStep),
    Set(BTreeMap<String, Value>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(it) => it,
            Self::One(it) => vec![it],
        }
    }
}

/// A span of time as people write it: `500ms`, `10s`, `2m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => 0,
        };
        match number.parse::<u64>() {
            Ok(n) if unit > 0 => Ok(Self(Duration::from_millis(n * unit))),
            _ => Err(serde::de::Error::custom(format!("`{text}` is no time such as 10s"))),
        }
    }
}

/// A request to OpenBao as root, of which exactly one verb is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultStep {
    pub(crate) write: Option<String>,
    pub(crate) read: Option<String>,
    pub(crate) delete: Option<String>,
    pub(crate) body: Option<Value>,
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) like: Option<Value>,
}

/// What an object is called.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchStep {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) manager: Option<String>,
    pub(crate) merge: Option<Value>,
    pub(crate) status: Option<Value>,
    pub(crate) json: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedStep {
    pub(crate) object: Option<Value>,
    pub(crate) patch: Option<PatchStep>,
    #[serde(default)]
    pub(crate) saying: String,
}

/// What an object must come to be within a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    #[serde(default = "ten_seconds")]
    pub(crate) within: Time,
    #[serde(default)]
    pub(crate) absent: bool,
    /// A Secret's data, decoded, all of it.
    pub(crate) data: Option<Map<String, Value>>,
    /// A part of the object.
    pub(crate) like: Option<Value>,
    /// By JSON pointer: all of what stands there.
    #[serde(default)]
    pub(crate) is: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) differs: BTreeMap<String, Value>,
    pub(crate) condition: Option<Condition>,
    #[serde(default)]
    pub(crate) keep: BTreeMap<String, String>,
}

fn ten_seconds() -> Time {
    Time(Duration::from_secs(10))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    #[serde(default = "ready", rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// How the message begins.
    pub(crate) message: Option<String>,
    /// What the message says somewhere.
    pub(crate) saying: Option<String>,
}

fn ready() -> String {
    "Ready".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unchanged {
    #[serde(rename = "for")]
    pub(crate) time: Time,
    pub(crate) of: OneOrMany<Object>,
}

/// Objects that must come to rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settle {
    #[serde(rename = "for")]
    pub(crate) time: Time,
    pub(crate) of: OneOrMany<Object>,
}

/// How many objects of a kind there are that have a part in common.
#[derive(Debug, Deserialize)]
pub(crate) struct Number {
    pub(crate) of: String,
    pub(crate) namespace: Option<String>,
    pub(crate) like: Option<Value>,
    #[serde(flatten)]
    pub(crate) count: Count,
}

/// What was sent to `$HOOK`.
#[derive(Debug, Deserialize)]
pub(crate) struct Posted {
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) with: Vec<String>,
    #[serde(flatten)]
    pub(crate) count: Count,
}

/// What becomes of the next requests to `$PROXY`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyStep {
    pub(crate) fail: u64,
    pub(crate) with: String,
}

/// What went over `$PROXY`: requests by texts that all stand in their heads, in lower case.
#[derive(Debug, Deserialize)]
pub(crate) struct Forwarded {
    pub(crate) with: Vec<String>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    #[serde(flatten)]
    pub(crate) count: Count,
}

/// A chart of the fixtures, installed or upgraded by real Helm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HelmStep {
    pub(crate) chart: String,
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventStep {
    pub(crate) about: String,
    pub(crate) namespace: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) reason: Option<String>,
    pub(crate) saying: Option<String>,
    #[serde(flatten)]
    pub(crate) count: Count,
}

/// How many there are; without any of them: one or more.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Count {
    pub(crate) times: Option<u64>,
    pub(crate) at_least: Option<u64>,
    pub(crate) at_most: Option<u64>,
    pub(crate) within: Option<Time>,
}

impl Count {
    pub(crate) fn fits(&self, n: u64) -> bool {
        let anything = self.times.is_some() || self.at_least.is_some() || self.at_most.is_some();
        self.times.is_none_or(|it| n == it)
            && self.at_least.is_none_or(|it| n >= it)
            && self.at_most.is_none_or(|it| n <= it)
            && (anything || n > 0)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Columns {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) are: BTreeMap<String, Value>,
}

/// Requests that OpenBao or the API server got, by texts that all stand in their line of the audit log.
#[derive(Debug, Deserialize)]
pub(crate) struct Requests {
    pub(crate) to: Server,
    pub(crate) with: Vec<String>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    pub(crate) since: Option<String>,
    #[serde(flatten)]
    pub(crate) count: Count,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Server {
    Vault,
    Cluster,
}

/// How often the pods of a workload were made anew since it was created.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rolls {
    pub(crate) of: String,
    pub(crate) are: u64,
    #[serde(default = "ten_seconds")]
    pub(crate) within: Time,
    /// The last roll has come to its end.
    #[serde(default)]
    pub(crate) finished: bool,
    /// How long it must stay so.
    #[serde(rename = "for")]
    pub(crate) time: Option<Time>,
}

/// Workloads that become what they are to be, and how they do, until all of them are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rolling {
    pub(crate) of: String,
    pub(crate) like: Value,
    pub(crate) times: usize,
    /// So many may be without all of their pods at the same time.
    pub(crate) at_most: Option<usize>,
    /// Each of these only begins when the one before it is done.
    #[serde(default)]
    pub(crate) order: Vec<String>,
    #[serde(default = "ten_seconds")]
    pub(crate) within: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) account: String,
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    pub(crate) keep: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    #[serde(default)]
    pub(crate) with: Vec<String>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    /// What may be there for a moment yet.
    #[serde(default, rename = "no-more")]
    pub(crate) no_more: Vec<String>,
    #[serde(default = "ten_seconds")]
    pub(crate) within: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    pub(crate) times: usize,
    pub(crate) steps: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OperatorStep {
    Start(Vec<String>),
    Beside(Vec<String>),
    Stop,
    Kill,
    Restart,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OpenbaoStep {
    Stop,
    Restart,
    Seal,
    Unseal,
}

/// Reads a file of YAML, for what it says.
pub(crate) fn read_yaml(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_yaml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a scenario and looks at the shape of each of its steps.
pub(crate) fn read(path: &Path) -> Result<Scenario, String> {
    let scenario: Scenario =
        serde_json::from_value(read_yaml(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    for step in &scenario.steps {
        read_step(step).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(scenario)
}

/// Reads a step.
pub(crate) fn read_step(step: &Value) -> Result<Step, String> {
    let read = serde_json::from_value(step.clone()).map_err(|error| format!("{error} in {step}"))?;
    if let Step::Repeat(Repeat { steps, .. }) | Step::Together(steps) = &read {
        steps.iter().try_for_each(|it| read_step(it).map(drop))?;
    }
    Ok(read)
}
