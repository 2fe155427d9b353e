//! Workloads that restart because the content of a Secret changed, and the key that tells whether it did.

use futures::future::join_all;
use jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, Patch};
use serde_json::Value;

use super::Context;
use super::apply::Writer;
use super::own_key;
use super::past::{self, Past};
use super::turns::Turn;
use super::world::World;
use crate::error::Trouble;
use crate::intent::{Intent, Owner, WorkloadRef};
use crate::mac_key::{self, MacKey};
use crate::plan::{Cause, Note};
use crate::rollout::{self, Workload};
use crate::store::Part;

/// When content was written, by the API server's clock in whole seconds, and a version that has it.
pub(super) type Written = (Timestamp, String);

/// Restarts every workload that an object names: what keeps one from restarting keeps no other. `written` is about
/// the content, if that was not written just now: a workload that is newer has it. Whoever waits for a turn has this
/// one meanwhile.
///
/// Returns for each what was restarted, or why it was not.
pub(super) async fn all(
    world: &World,
    intent: &Intent,
    cause: Cause,
    written: Option<&Written>,
    notes: &mut Vec<Note>,
    turn: &mut Turn,
) -> Vec<Result<String, String>> {
    let why = match cause {
        Cause::Changed => "the content of its Secret changed",
        Cause::Repaired => "its Secret was repaired",
    };
    let Owner { kind, namespace, name, .. } = &intent.owner;
    let asker = format!("{why} ({kind} {namespace}/{name})");
    let each = intent.restarts.iter().map(|at| one(world, namespace, at, &asker, written));
    let made = turn.lend_to_the_end(join_all(each)).await;
    let mut results = Vec::new();
    for (at, result) in intent.restarts.iter().zip(made) {
        let name = format!("{}/{}", at.kind, at.name);
        match &result {
            Ok(true) => notes.push(note(false, rollout::TRIGGERED, format!("{name} restarts: {why}"))),
            Ok(false) => {}
            Err(text) => notes.push(note(true, rollout::FAILED, format!("{name} does not restart: {text}"))),
        }
        world.context.metrics.restarted(&at.kind, result.is_ok());
        results.push(result.map(|_| name.clone()).map_err(|text| format!("{name}: {text}")));
    }
    results
}

fn note(warning: bool, reason: &'static str, text: String) -> Note {
    Note { warning, reason, text }
}

/// True if the workload restarts, false if it need not.
async fn one(
    world: &World,
    namespace: &str,
    at: &WorkloadRef,
    asker: &str,
    written: Option<&Written>,
) -> Result<bool, String> {
    let workload = rollout::of_target(&at.kind).ok_or("there is no such kind of workload")?;
    let api = world.context.api_in(Some(namespace), &workload.resource());
    if let Some((written, version)) = written {
        let held = read(&api, &at.name).await?;
        if rollout::is_up_to_date(workload, &held, *written) || is_newer(&api, workload, &held, version).await? {
            return Ok(false);
        }
    }
    let part = Part { kind: workload.kind, namespace: namespace.to_owned(), name: at.name.clone() };
    let alone = || restart(world.writer.clone(), api, workload, at.name.clone());
    world.context.coordinator.restart(part, asker.to_owned(), alone).await.map(|()| true)
}

/// True if a workload was made or restarted after the cluster was at a version: whoever did that was ended before it
/// was written down.
async fn is_newer(api: &Api<DynamicObject>, workload: &Workload, held: &Value, version: &str) -> Result<bool, String> {
    let name = held["metadata"]["name"].as_str().unwrap_or_default();
    let Past::Was(was) = past::at(api, name, version).await.map_err(|error| error.to_string())? else {
        return Ok(false);
    };
    let was = was.map(|it| serde_json::to_value(*it)).transpose().map_err(|error| error.to_string())?;
    Ok(was.is_none_or(|it| {
        it["metadata"]["uid"] != held["metadata"]["uid"]
            || rollout::restarted_at(workload, &it) != rollout::restarted_at(workload, held)
    }))
}

async fn read(api: &Api<DynamicObject>, name: &str) -> Result<Value, String> {
    let held = api.get_opt(name).await.map_err(|error| error.to_string())?;
    serde_json::to_value(held.ok_or("it does not exist")?).map_err(|error| error.to_string())
}

async fn restart(
    writer: Writer,
    api: Api<DynamicObject>,
    workload: &'static Workload,
    name: String,
) -> Result<(), String> {
    let held = read(&api, &name).await?;
    let patch = match rollout::restart(workload, &held, Timestamp::now()) {
        Ok(rollout::Patch::Strategic(change)) => Patch::Strategic(change),
        Ok(rollout::Patch::Merge(change)) => Patch::Merge(change),
        Err(why) => return Err(why.to_string()),
    };
    writer.restart(&api, &name, patch).await.map_err(|refused| refused.said)
}

/// Takes the key of MACs from the operator's namespace, or makes it.
///
/// # Errors
///
/// If the API server does not answer. Without the right to it there is no key, and what needs one says so.
pub(super) async fn take_key(context: &Context) -> Result<Option<MacKey>, Trouble> {
    let namespace = &context.settings.operator_namespace;
    let make = || {
        let key = own_key::make::<{ mac_key::LENGTH }>();
        mac_key::secret(namespace, &key)
    };
    match own_key::find_or_make(context, mac_key::SECRET, mac_key::read, make).await {
        Ok(key) => Ok(key),
        Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {
            tracing::warn!(namespace, secret = mac_key::SECRET, "the key of MACs cannot be read: {}", status.message);
            Ok(None)
        }
        Err(error) => Err(Trouble::new("HMACDataError", "could not read the key of MACs", error.to_string())),
    }
}
