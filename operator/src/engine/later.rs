//! Objects of kinds that are not served yet: they are told so, and otherwise left alone.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;

use super::watch::{News, events};
use super::world::World;
use crate::api;
use crate::api::Unread;
use crate::api::served_later::{SERVED_LATER, ServedLater, Told};
use crate::families;
use crate::intent::Owner;
use crate::plan::Note;

/// Tells all objects of kinds that are not served yet, for as long as the engine runs.
pub(super) async fn tell(world: Arc<World>) {
    let group = families::row(world.context.family).group;
    let rows = SERVED_LATER.iter().filter(|it| it.group == group && it.told == Told::Object);
    join_all(rows.map(|row| tell_kind(&world, row))).await;
}

async fn tell_kind(world: &World, row: &'static ServedLater) {
    let Some(resource) = world.context.served.other(row.kind) else { return };
    let each = world.context.apis(row.scope, resource).into_iter().map(async |(_, api)| {
        let mut events = events(api);
        while let Some(news) = events.next().await {
            if let News::Event(Event::Apply(object) | Event::InitApply(object)) = news {
                tell_one(world, row, &object).await;
            }
        }
    });
    join_all(each).await;
}

async fn tell_one(world: &World, row: &'static ServedLater, object: &Unread) {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let Some(resource) = world.context.served.other(row.kind) else { return };
    let api = world.context.api_in::<Unread>((row.scope == api::Scope::Namespaced).then_some(&namespace), resource);
    let result = if object.metadata.deletion_timestamp.is_some() {
        let Some(finalizer) = row.finalizer.filter(|_| row.is_released) else { return };
        world.writer.set_finalizer(&api, &object.metadata, finalizer, false).await
    } else {
        let Some(change) = row.status(&object.status(), Timestamp::now()) else { return };
        let owner = Owner {
            api_version: resource.api_version.clone(),
            kind: row.kind,
            namespace: namespace.clone(),
            name: name.clone(),
            uid: object.uid().unwrap_or_default(),
            ..Owner::default()
        };
        let note = Note { warning: true, reason: row.reason, text: row.message.to_owned() };
        world.context.events.tell(world.context.family, &owner.reference(), &note);
        world.writer.report(&api, &name, change).await.map(drop)
    };
    if let Err(refused) = result {
        tracing::warn!(kind = row.kind, namespace, name, %refused, "an object could not be told that it is not served");
    }
}
