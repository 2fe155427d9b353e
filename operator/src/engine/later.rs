//! Objects of kinds that are not served yet: they are told so, and otherwise left alone.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::watch::{Scope, follow};
use super::world::World;
use crate::api::served_later::{Later, SERVED_LATER};
use crate::api;
use crate::intent::Owner;
use crate::plan::Note;

/// Why such an object is not ready: one word.
const REASON: &str = "NotServed";

/// Tells all objects of kinds that are not served yet, for as long as the engine runs.
pub(super) async fn tell(world: Arc<World>) {
    let rows = SERVED_LATER.iter().filter(|it| it.family == world.context.family);
    join_all(rows.map(|row| tell_kind(&world, row))).await;
}

async fn tell_kind(world: &World, row: &'static Later) {
    let Some(resource) = world.context.served.other(row.kind) else { return };
    let scopes: Vec<Scope> = match row.scope {
        api::Scope::Namespaced => world.scopes(),
        api::Scope::Cluster => vec![None],
    };
    let client = &world.context.client;
    let each = scopes.into_iter().map(async |scope| {
        let api: Api<DynamicObject> = match &scope {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
            None => Api::all_with(client.clone(), resource),
        };
        follow(api, async |event| match event {
            Event::Apply(object) | Event::InitApply(object) => tell_one(world, row, &object).await,
            Event::Delete(_) | Event::Init | Event::InitDone => {}
        })
        .await;
    });
    join_all(each).await;
}

async fn tell_one(world: &World, row: &'static Later, object: &DynamicObject) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let Some(resource) = world.context.served.other(row.kind) else { return };
    let client = world.context.client.clone();
    let api: Api<DynamicObject> = match row.scope {
        api::Scope::Namespaced => Api::namespaced_with(client, &namespace, resource),
        api::Scope::Cluster => Api::all_with(client, resource),
    };
    let result = if object.metadata.deletion_timestamp.is_some() {
        // Its finalizer is that of a service that is gone: nothing else would ever let it go.
        let mut finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        let n_before = finalizers.len();
        finalizers.retain(|it| Some(it.as_str()) != row.finalizer);
        if finalizers.len() == n_before {
            return;
        }
        world.writer.set_finalizers(&api, &object.metadata, finalizers).await
    } else {
        let generation = object.metadata.generation.unwrap_or_default();
        let Some(change) = status(&object.data["status"], generation, row.text, Timestamp::now()) else { return };
        let owner = Owner {
            api_version: resource.api_version.clone(),
            kind: row.kind,
            namespace: namespace.clone(),
            name: name.clone(),
            uid: object.uid().unwrap_or_default(),
            ..Owner::default()
        };
        let note = Note { warning: true, reason: REASON, text: row.text.to_owned() };
        world.context.events.tell(world.context.family, &owner.reference(), &note);
        world.writer.report(&api, &name, change).await.map(drop)
    };
    if let Err(refused) = result {
        tracing::warn!(kind = row.kind, namespace, name, %refused, "an object could not be told that it is not served");
    }
}

/// The change of a status that says so; `None` if it is said already. Other conditions stay.
fn status(held: &Value, generation: i64, text: &str, now: Timestamp) -> Option<Value> {
    let mut conditions: Vec<Value> = held["conditions"].as_array().cloned().unwrap_or_default();
    let is_ready = |it: &Value| it["type"] == "Ready";
    let before = conditions.iter().find(|it| is_ready(it)).cloned().unwrap_or_default();
    if before["reason"] == REASON && before["message"] == text {
        return None;
    }
    let since = match &before["lastTransitionTime"] {
        Value::String(since) if before["status"] == "False" => since.clone(),
        _ => now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    };
    conditions.retain(|it| !is_ready(it));
    conditions.push(json!({
        "type": "Ready",
        "status": "False",
        "reason": REASON,
        "message": text,
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }));
    Some(json!({ "conditions": conditions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_told_once_and_keeps_what_it_was_told() {
        let now = Timestamp::UNIX_EPOCH;
        let synced = json!({"type": "SecretSynced", "status": "True"});
        let held = json!({"conditions": [synced, {"type": "Ready", "status": "True"}], "serial": 7});
        let change = status(&held, 3, "later", now).expect("it was not told yet");
        assert_eq!(change["conditions"][0], synced);
        assert_eq!(change["conditions"][1]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(change["conditions"][1]["observedGeneration"], 3);
        assert_eq!(change["conditions"].as_array().map(Vec::len), Some(2));
        assert_eq!(status(&change, 3, "later", now), None);
        assert!(status(&Value::Null, 1, "later", now).is_some());
    }
}
