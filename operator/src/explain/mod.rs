//! `leafseal-operator explain`: what a workload takes values from, what it has seen of them, what a change of
//! each would do, and why it was last restarted. It reads, and changes nothing.

mod story;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::GroupVersionKind;
use kube::{Client, Error, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

pub use story::{Happening, Now, Part, Story};

use crate::api::Kind as _;
use crate::api::vault_secrets::VaultStaticSecret;
use crate::engine::reload::{KEY, KEY_SECRET, MEMORIES, memory_of};
use crate::families::CSI;
use crate::reload::{Consumer, Content, Held, Key, Marks, Memory, Mount, PodStatus, Rules, Seen, Source, judge};
use crate::rollout::{self, WORKLOADS, Workload};
use crate::settings::Settings;

/// Finds out about the workload that is asked for: `web` or `deployment/web`.
///
/// # Errors
///
/// If there is no such workload, or more than one, or the cluster does not say.
pub async fn explain(client: &Client, settings: &Settings, namespace: &str, asked: &str) -> Result<Story, String> {
    let (kind, object) = find(client, namespace, asked).await?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let whole = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    let held: Held = serde_json::from_value(whole.clone())
        .map_err(|error| format!("{} {namespace}/{name} cannot be read: {error}", kind.kind))?;
    let rules = settings.reload_rules();
    // What it refers to is worth saying even if it asks for nothing.
    let mut consumer = Consumer::of(kind, held.clone(), &rules);
    if let Some(consumer) = consumer.as_mut().filter(|it| it.consumed.is_none()) {
        let maps: Vec<ConfigMap> = of_the_operator(client, settings, MEMORIES).await;
        let memory = memory_of(kind.kind, namespace, &name);
        consumer.consumed = maps.into_iter().find_map(|it| it.data?.remove(&memory));
    }
    let user =
        consumer.clone().or_else(|| Consumer::of(kind, unasked(held), &Rules { auto_all: true, ..rules.clone() }));
    let key = match consumer.as_ref().and_then(|it| it.consumed.as_ref()) {
        Some(consumed) => find_key(client, settings, consumed).await,
        None => Key::shared(),
    };
    let mut parts = Vec::new();
    if let Some(user) = &user {
        for (source, name, container) in all_of(client, namespace, user, &rules).await? {
            let now = look(client, namespace, source, &name, &rules, &key).await;
            parts.push(tell(consumer.as_ref(), &rules, &key, source, name, container, now));
        }
    }
    Ok(Story {
        kind,
        namespace: namespace.to_owned(),
        happenings: happenings(client, namespace, kind, &name, &whole).await,
        targets_of: targets_of(client, namespace, kind, &name).await,
        name,
        is_ignored: settings.namespaces.is_empty() && settings.reload.ignored_namespaces().contains(&namespace),
        has_webhook: settings.reload.webhook_url.expose().is_some(),
        is_dry: settings.reload.dry_run,
        rules,
        consumer,
        parts,
    })
}

/// The one workload that is called so.
async fn find(client: &Client, namespace: &str, asked: &str) -> Result<(&'static Workload, DynamicObject), String> {
    let (kind, name) = asked.split_once('/').map_or((None, asked), |(kind, name)| (Some(kind), name));
    let is_called = |it: &&Workload| {
        kind.is_none_or(|kind| it.kind.eq_ignore_ascii_case(kind) || it.plural.eq_ignore_ascii_case(kind))
    };
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    let kinds: Vec<_> = WORKLOADS.iter().filter(is_called).collect();
    if kinds.is_empty() {
        let known: Vec<_> = WORKLOADS.iter().map(|it| it.kind.to_lowercase()).collect();
        return Err(format!("{asked}: there is no such kind of workload: use {}", known.join(", ")));
    }
    for kind in kinds {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
        match api.get_opt(name).await {
            Ok(Some(object)) => found.push((kind, object)),
            Ok(None) => {}
            // The cluster has no such kind.
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(Error::Api(status)) => refused.push(status.message),
            Err(error) => refused.push(error.to_string()),
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            refused.dedup();
            let why: String = refused.iter().map(|it| format!("; {it}")).collect();
            Err(format!("there is no workload {asked} in namespace {namespace}{why}"))
        }
        _ => {
            let all: Vec<_> = found.iter().map(|it| format!("{}/{name}", it.0.kind.to_lowercase())).collect();
            Err(format!("there are {}: say which", all.join(" and ")))
        }
    }
}

/// The same workload without its own annotations.
fn unasked(mut held: Held) -> Held {
    held.metadata.annotations = None;
    held
}

/// The key that a memory was made with, as far as we may read it.
async fn find_key(client: &Client, settings: &Settings, consumed: &String) -> Key {
    let secrets: Vec<Secret> = of_the_operator(client, settings, KEY_SECRET).await;
    let read = |it: &Secret| {
        let bytes = &it.data.as_ref()?.get(KEY.0)?.0;
        Some(Key::new(Zeroizing::new(bytes.clone())))
    };
    let fits = |it: &Key| Memory::read(Some(consumed), it) != Memory::new(it);
    secrets.iter().filter_map(read).find(fits).unwrap_or_else(Key::shared)
}

/// Objects of the operator's own: in all namespaces, since who asks need not know where it runs; in the one that the
/// settings name, where that is all that may be read.
async fn of_the_operator<K>(client: &Client, settings: &Settings, name: &str) -> Vec<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    if let Ok(all) = Api::<K>::all(client.clone()).list(&named).await {
        return all.items;
    }
    let one = Api::<K>::namespaced(client.clone(), &settings.operator_namespace).get_opt(name).await;
    one.ok().flatten().into_iter().collect()
}

/// All that a workload refers to or names, with the container that refers to it.
async fn all_of(
    client: &Client,
    namespace: &str,
    user: &Consumer,
    rules: &Rules,
) -> Result<Vec<(Source, String, Option<String>)>, String> {
    let mut all: Vec<_> =
        user.uses().map(|(source, name, container)| (source, name.to_owned(), Some(container.to_owned()))).collect();
    for source in Source::ALL {
        let mut names: Vec<String> = user.names(rules, source).into_iter().map(str::to_owned).collect();
        if user.has_patterns(source) {
            let there = names_of(client, namespace, source).await?;
            names.extend(there.into_iter().filter(|it| user.wants(rules, source, it, Marks::default()).is_ok()));
        }
        for name in names {
            if !all.iter().any(|it| it.0 == source && it.1 == name) {
                all.push((source, name, None));
            }
        }
    }
    all.sort();
    Ok(all)
}

async fn names_of(client: &Client, namespace: &str, source: Source) -> Result<Vec<String>, String> {
    let every = ListParams::default();
    let listed = match source {
        Source::Secret => Api::<Secret>::namespaced(client.clone(), namespace).list_metadata(&every).await.map(names),
        Source::ConfigMap => {
            Api::<ConfigMap>::namespaced(client.clone(), namespace).list_metadata(&every).await.map(names)
        }
        Source::SecretProviderClass => {
            let api: Api<PodStatus> = Api::namespaced_with(client.clone(), namespace, &csi(PodStatus::KIND));
            let classes = |it: &PodStatus| it.class().map(str::to_owned);
            api.list(&every)
                .await
                .map(|it| it.items.iter().filter_map(classes).collect::<BTreeSet<_>>().into_iter().collect())
        }
    };
    listed.map_err(|error| format!("{}s cannot be listed: {error}", source.kind()))
}

fn names<K: kube::Resource + Clone>(list: kube::api::ObjectList<K>) -> Vec<String> {
    list.items.into_iter().filter_map(|it| it.meta().name.clone()).collect()
}

/// A source as it is now, and whether that is no change for pods. Of what it holds, only digests go any further.
async fn look(client: &Client, namespace: &str, source: Source, name: &str, rules: &Rules, key: &Key) -> (Now, bool) {
    let looked = match source {
        Source::Secret => Api::<Secret>::namespaced(client.clone(), namespace)
            .get_opt(name)
            .await
            .map(|it| it.map(|it| (Marks::of(&it.metadata, &rules.keys), Content::of_secret(&it, key)))),
        Source::ConfigMap => Api::<ConfigMap>::namespaced(client.clone(), namespace)
            .get_opt(name)
            .await
            .map(|it| it.map(|it| (Marks::of(&it.metadata, &rules.keys), Content::of_config_map(&it, key)))),
        Source::SecretProviderClass => return look_at_class(client, namespace, name, rules, key).await,
    };
    let now = match looked {
        Ok(Some((marks, content))) => Now::There(marks, content),
        Ok(None) => Now::Gone,
        Err(error) => unread(error),
    };
    (now, false)
}

/// What pods have mounted of a class, and whether all began with it.
async fn look_at_class(client: &Client, namespace: &str, name: &str, rules: &Rules, key: &Key) -> (Now, bool) {
    let statuses: Api<PodStatus> = Api::namespaced_with(client.clone(), namespace, &csi(PodStatus::KIND));
    let classes: Api<PartialObjectMeta> =
        Api::namespaced_with(client.clone(), namespace, &csi(Source::SecretProviderClass.kind()));
    let looked = async {
        let statuses = statuses.list(&ListParams::default()).await?;
        let class = classes.get_metadata_opt(name).await?;
        Ok((statuses.items, class.map_or(Marks::default(), |it| Marks::of(&it.metadata, &rules.keys))))
    };
    match looked.await {
        Ok((statuses, marks)) => {
            let of_it = statuses.iter().filter(|it| it.class() == Some(name));
            let mounts: Vec<_> = of_it.map(|it| Mount::read(it, name, key, None)).collect();
            match Mount::latest(mounts.iter()) {
                Some(it) => (Now::There(marks, Content::clone(&it.content)), it.change.is_none()),
                None => (Now::Unread("no pod has it mounted, or each began with something else".to_owned()), false),
            }
        }
        Err(error) => (unread(error), false),
    }
}

fn unread(error: Error) -> Now {
    match error {
        Error::Api(status) => Now::Unread(status.message),
        error => Now::Unread(error.to_string()),
    }
}

/// The address of a kind of the CSI driver.
fn csi(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(CSI, "v1", kind))
}

fn tell(
    consumer: Option<&Consumer>,
    rules: &Rules,
    key: &Key,
    source: Source,
    name: String,
    container: Option<String>,
    (now, is_first): (Now, bool),
) -> Part {
    let (marks, content) = match &now {
        Now::There(marks, content) => (*marks, Some(Arc::new(content.clone()))),
        Now::Gone | Now::Unread(_) => (Marks::default(), None),
    };
    let wants = consumer.map(|it| it.wants(rules, source, &name, marks));
    let is_read = !matches!(now, Now::Unread(_));
    let seen = Seen { source, name: &name, marks, content, written: None, before: None, is_new: false, is_first };
    let is_owed = consumer.is_some_and(|it| is_read && !judge(it, rules, key, &[seen]).causes.is_empty());
    let memory = consumer.map(|it| Memory::read(it.consumed.as_ref(), key));
    let is_remembered = memory.is_some_and(|it| it.digest(source, &name).is_some());
    let is_marked = consumer.is_some_and(|it| it.marker(source, &name).is_some());
    Part { source, name, container, now, wants, is_owed, is_remembered, is_marked }
}

/// The VaultStaticSecrets that name the workload, and the Secrets that they keep: it restarts with those, too. None
/// where they are not served, or may not be listed.
async fn targets_of(client: &Client, namespace: &str, kind: &Workload, name: &str) -> Vec<(String, String)> {
    let gvk = GroupVersionKind::gvk(VaultStaticSecret::GROUP, VaultStaticSecret::VERSIONS[0], VaultStaticSecret::KIND);
    let resource = ApiResource::from_gvk_with_plural(&gvk, VaultStaticSecret::PLURAL);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let listed = api.list(&ListParams::default()).await.map(|it| it.items).unwrap_or_default();
    let is_named = |it: &&DynamicObject| {
        let targets = it.data["spec"]["rolloutRestartTargets"].as_array().into_iter().flatten();
        targets.into_iter().any(|it| it["kind"].as_str() == kind.target && it["name"] == name)
    };
    let pair = |it: &DynamicObject| {
        let secret = it.data["spec"]["destination"]["name"].as_str()?;
        Some((it.metadata.name.clone()?, secret.to_owned()))
    };
    listed.iter().filter(is_named).filter_map(pair).collect()
}

/// Reasons of events that tell of restarts.
const REASONS: &[&str] =
    &["Reloaded", "ReloadFail", "TooManyReloads", "WouldRestart", rollout::TRIGGERED, rollout::FAILED];

/// Annotations of pods that say when they were made new.
const RESTARTED: &[&str] = &[rollout::RESTARTED_AT, "kubectl.kubernetes.io/restartedAt"];

/// What is known of restarts, latest first.
async fn happenings(
    client: &Client,
    namespace: &str,
    kind: &Workload,
    name: &str,
    whole: &Value,
) -> Result<Vec<Happening>, String> {
    let of_it = ListParams::default().fields(&format!("involvedObject.kind={},involvedObject.name={name}", kind.kind));
    let events = Api::<Event>::namespaced(client.clone(), namespace).list(&of_it).await;
    let events = events.map_err(|error| format!("events cannot be listed: {error}"))?;
    let mut all: Vec<Happening> = events
        .items
        .into_iter()
        .filter(|it| it.reason.as_deref().is_some_and(|it| REASONS.contains(&it)))
        .map(|it| Happening {
            at: it
                .series
                .as_ref()
                .and_then(|it| it.last_observed_time.as_ref().map(|it| it.0))
                .or_else(|| it.last_timestamp.as_ref().map(|it| it.0))
                .or_else(|| it.event_time.as_ref().map(|it| it.0))
                .or_else(|| it.metadata.creation_timestamp.as_ref().map(|it| it.0)),
            what: format!("{}: {}", it.reason.unwrap_or_default(), it.message.unwrap_or_default()),
        })
        .collect();
    let annotations = &whole["spec"]["template"]["metadata"]["annotations"];
    all.extend(RESTARTED.iter().filter_map(|key| {
        let at = annotations[*key].as_str()?.parse().ok();
        Some(Happening { at, what: format!("restarted, by the annotation {key} of its pods") })
    }));
    all.sort_by_key(|it| std::cmp::Reverse(it.at));
    Ok(all)
}
