//! The one change that reloads a workload: all markers, what it remembers then, and whatever else asks for
//! new pods at the same time (spec section B.5).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::GONE;
use super::memory::CONSUMED;
use super::{Cause, Consumer, Memory, Rules, Source, Strategy, Verdict};
use crate::rollout::{How, RESTARTED_AT};

/// The marker of the strategy with annotations.
pub const LAST_RELOADED_FROM: &str = "reloader.stakater.com/last-reloaded-from";

/// How an Argo Rollout is reloaded.
pub(super) const ROLLOUT_STRATEGY: &str = "reloader.stakater.com/rollout-strategy";

/// What the names of marker variables begin with.
const PREFIX: &str = "STAKATER_";

/// A change of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A strategic merge patch of the workload.
    Strategic(Value),
    /// A merge patch of the workload.
    Merge(Value),
    /// The workload, whole, at the version that was read.
    Replace(Value),
    /// A new object.
    Make(Value),
    /// The workload is deleted, and made anew like this.
    Remake(Value),
}

/// A reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Roll {
    /// What reloads the workload.
    pub change: Change,
    /// What the workload has to remember when that is done, where that is no part of it: a merge patch.
    pub record: Option<Value>,
}

/// The name of the variable that marks a source: `foo-bar` and `foo.bar` share one.
pub fn marker_name(source: Source, name: &str) -> String {
    let mut upper = String::with_capacity(name.len());
    for character in name.to_uppercase().chars() {
        match character {
            'A'..='Z' | '0'..='9' => upper.push(character),
            _ if upper.is_empty() || upper.ends_with('_') => {}
            _ => upper.push('_'),
        }
    }
    format!("{PREFIX}{upper}_{}", source.word())
}

/// True if a variable may be a marker.
pub(super) fn is_marker(name: &str) -> bool {
    name.starts_with(PREFIX) && Source::ALL.iter().any(|it| name.ends_with(it.word()))
}

/// The text of [`LAST_RELOADED_FROM`]: the members in the original's order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastReload {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    namespace: String,
    pub hash: String,
    container_refs: Option<Vec<String>>,
    observed_at: i64,
}

impl LastReload {
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn is_of(&self, source: Source, name: &str) -> bool {
        self.kind == source.word() && self.name == name
    }

    fn of(cause: &Cause, namespace: &str, now: Timestamp) -> Self {
        Self {
            kind: cause.source.word().to_owned(),
            name: cause.name.clone(),
            namespace: namespace.to_owned(),
            hash: cause.marker.as_deref().unwrap_or(GONE).to_owned(),
            container_refs: Some(cause.hit.container.iter().cloned().collect()),
            observed_at: now.as_second(),
        }
    }
}

/// What changes on the pods' template.
#[derive(Debug, Default)]
struct Overlay {
    annotations: BTreeMap<String, String>,
    /// By container: variables with their values; `None` takes one away.
    env: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

impl Overlay {
    fn of(consumer: &Consumer, rules: &Rules, causes: &[Cause], asked: Option<Timestamp>, now: Timestamp) -> Self {
        let mut overlay = Self::default();
        match (rules.strategy, causes.last()) {
            (Strategy::EnvVars, _) => {
                for cause in causes {
                    let Some(container) = &cause.hit.container else { continue };
                    let variables = overlay.env.entry(container.clone()).or_default();
                    variables.insert(marker_name(cause.source, &cause.name), cause.marker.clone());
                }
            }
            (Strategy::Annotations, Some(cause)) => {
                let told = LastReload::of(cause, &consumer.namespace, now);
                let text = serde_json::to_string(&told).expect("texts are JSON");
                overlay.annotations.insert(LAST_RELOADED_FROM.to_owned(), text);
            }
            (Strategy::Annotations, None) => {}
        }
        if let Some(asked) = asked {
            overlay.annotations.insert(RESTARTED_AT.to_owned(), format!("{asked:.9}"));
        }
        overlay
    }

    /// As a strategic merge patch of a template.
    fn strategic(&self) -> Value {
        let variable = |(name, value): (&String, &Option<String>)| match value {
            Some(value) => json!({ "name": name, "value": value }),
            None => json!({ "name": name, "$patch": "delete" }),
        };
        let container = |(name, env): (&String, &BTreeMap<String, Option<String>>)| json!({ "name": name, "env": env.iter().map(variable).collect::<Vec<_>>() });
        let mut template = json!({});
        if !self.annotations.is_empty() {
            template["metadata"] = json!({ "annotations": self.annotations });
        }
        if !self.env.is_empty() {
            template["spec"] = json!({ "containers": self.env.iter().map(container).collect::<Vec<_>>() });
        }
        template
    }

    /// Lays it on a whole template.
    fn lay_on(&self, template: &mut Value) {
        set_all(&mut template["metadata"], "annotations", &self.annotations);
        for (container, variables) in &self.env {
            let containers = template["spec"]["containers"].as_array_mut().into_iter().flatten();
            let Some(container) = containers.into_iter().find(|it| it["name"] == container.as_str()) else { continue };
            for (name, value) in variables {
                let env = match &mut container["env"] {
                    Value::Array(env) => env,
                    other => {
                        *other = json!([]);
                        other.as_array_mut().expect("it was just made one")
                    }
                };
                let at = env.iter().position(|it| it["name"] == name.as_str());
                match (at, value) {
                    (Some(at), Some(value)) => env[at] = json!({ "name": name, "value": value }),
                    (None, Some(value)) => env.push(json!({ "name": name, "value": value })),
                    (Some(at), None) => drop(env.remove(at)),
                    (None, None) => {}
                }
            }
        }
    }
}

impl Consumer {
    /// True if its kind can only be reloaded by whoever has the whole object.
    pub fn needs_whole(&self) -> bool {
        match self.kind.how {
            How::Template => false,
            How::Make | How::Remake => true,
            How::RestartAt => !self.is_restarted(),
        }
    }

    /// True if it reloads without a change of its template: that was asked for, or it has none of its own.
    fn is_restarted(&self) -> bool {
        self.restarts_at || self.first.is_none()
    }

    /// The merge patch by which it remembers.
    pub fn record(&self, memory: &Memory) -> Value {
        json!({ "metadata": { "uid": self.uid, "annotations": { CONSUMED: memory.print() } } })
    }
}

/// What reloads `consumer` for the causes of `verdict`, and restarts it for Vault Secrets if that was
/// `asked` for at a time. `whole` is the object, for kinds that [need](Consumer::needs_whole) it; `None` if
/// it is not one that can be reloaded.
pub fn roll(
    consumer: &Consumer,
    rules: &Rules,
    verdict: &Verdict,
    asked: Option<Timestamp>,
    whole: Option<&Value>,
    now: Timestamp,
) -> Option<Roll> {
    let overlay = Overlay::of(consumer, rules, &verdict.causes, asked, now);
    let mut annotations = BTreeMap::from([(CONSUMED.to_owned(), verdict.memory.print())]);
    let restart_at = format!("{:.0}", Timestamp::from_second(now.as_second()).unwrap_or(now));
    let change = match consumer.kind.how {
        How::Template => {
            let mut spec = json!({ "template": overlay.strategic() });
            if consumer.begins_pause() {
                spec["paused"] = json!(true);
                annotations.insert(rules.keys.paused_at.clone(), restart_at);
            }
            let metadata = json!({ "uid": consumer.uid, "annotations": annotations });
            Change::Strategic(json!({ "metadata": metadata, "spec": spec }))
        }
        How::RestartAt if consumer.is_restarted() => {
            let metadata = json!({ "uid": consumer.uid, "annotations": annotations });
            Change::Merge(json!({ "metadata": metadata, "spec": { "restartAt": restart_at } }))
        }
        How::RestartAt => {
            let mut whole = whole?.clone();
            overlay.lay_on(&mut whole["spec"]["template"]);
            if asked.is_some() {
                whole["spec"]["restartAt"] = json!(restart_at);
            }
            set_all(&mut whole["metadata"], "annotations", &annotations);
            Change::Replace(whole)
        }
        How::Make => {
            let record = consumer.record(&verdict.memory);
            return Some(Roll { change: Change::Make(run_of(whole?, &overlay)?), record: Some(record) });
        }
        How::Remake => {
            let mut job = anew(whole?);
            overlay.lay_on(&mut job["spec"]["template"]);
            set_all(&mut job["metadata"], "annotations", &annotations);
            Change::Remake(job)
        }
    };
    Some(Roll { change, record: None })
}

/// A run of a CronJob, as if somebody had started it by hand.
fn run_of(cron_job: &Value, overlay: &Overlay) -> Option<Value> {
    let name = cron_job["metadata"]["name"].as_str()?;
    let template = &cron_job["spec"]["jobTemplate"];
    let mut annotations: BTreeMap<String, String> =
        serde_json::from_value(template["metadata"]["annotations"].clone()).unwrap_or_default();
    annotations.insert("cronjob.kubernetes.io/instantiate".to_owned(), "manual".to_owned());
    let mut spec = template["spec"].clone();
    overlay.lay_on(&mut spec["template"]);
    let mut metadata = json!({
        "generateName": format!("{name}-"),
        "namespace": cron_job["metadata"]["namespace"],
        "annotations": annotations,
        "ownerReferences": [{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": cron_job["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        }],
    });
    if template["metadata"]["labels"].is_object() {
        metadata["labels"] = template["metadata"]["labels"].clone();
    }
    Some(json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec }))
}

/// A Job without what only the one that ran has.
fn anew(job: &Value) -> Value {
    /// What the API server and the controller of Jobs put there.
    const OF_ONE: &[&str] = &[
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "generation",
        "managedFields",
        "selfLink",
        "deletionTimestamp",
    ];
    const LABELS: &[&str] =
        &["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": job["metadata"], "spec": job["spec"],
    });
    take(&mut job["metadata"], OF_ONE);
    take(&mut job["metadata"]["labels"], LABELS);
    if job["spec"]["manualSelector"] != true {
        take(&mut job["spec"], &["selector"]);
    }
    take(&mut job["spec"]["template"]["metadata"]["labels"], LABELS);
    take(&mut job["spec"]["template"]["metadata"], &["creationTimestamp"]);
    job
}

fn take(from: &mut Value, members: &[&str]) {
    if let Some(object) = from.as_object_mut() {
        object.retain(|name, _| !members.contains(&name.as_str()));
    }
}

fn set_all(metadata: &mut Value, member: &str, texts: &BTreeMap<String, String>) {
    for (key, text) in texts {
        metadata[member][key] = json!(text);
    }
}
