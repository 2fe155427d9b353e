//! What an ExternalSecret asks for (spec sections 1.2, 2.3, 2.5).

use std::time::Duration;

use leafseal::provider::{Address, Query};

use super::{invalid, readable, validate};
use crate::api::external_secrets::{
    COULD_NOT_READ, CreationPolicy, DeletionPolicy, ExternalSecret, ExternalSecretSpec, Find, GENERATORS_GROUP,
    GeneratorKind, GeneratorRef, MetadataPolicy, RefreshPolicy, RemoteRef, SourceRef, StoreName, UPDATE_FAILED,
};
use crate::api::served_later;
use crate::api::{Object, Scope};
use crate::error::{Retry, Trouble};
use crate::go::GoDuration;
use crate::intent::{Ask, Family, Intent, Owner, Ownership, Read, Refresh, StoreRef, Target, WhenMissing};

/// How long after a refresh the next one is, where nothing says so.
const USUAL_INTERVAL: Duration = Duration::from_secs(3600);

/// `status.refreshTime` tells no shorter times apart.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The kinds of stores; the first is what no kind means.
const STORE_KINDS: [&str; 2] = ["SecretStore", "ClusterSecretStore"];

/// The reads of an intent are those of `spec.dataFrom`, then those of `spec.data`, each in order.
pub(super) fn intent(object: &Object<ExternalSecret>, owner: Owner) -> Result<Intent, Trouble> {
    let spec = readable(object)?;
    refuse_what_is_not_served(spec)?;
    match validate::complaints(spec) {
        complaints if complaints.is_empty() => {}
        complaints => return Err(invalid(complaints.join("; "))),
    }
    let target = &spec.target;
    let name = if target.name.is_empty() { object.name() } else { &target.name };
    Ok(Intent {
        reads: reads(spec, object.namespace(), &owner.uid)?,
        target: Target {
            namespace: object.namespace().to_owned(),
            name: name.to_owned(),
            ownership: match target.creation_policy {
                CreationPolicy::Owner => Ownership::Owner,
                CreationPolicy::Orphan => Ownership::Orphan,
                CreationPolicy::Merge => Ownership::Merge,
                CreationPolicy::CreateOrMerge => Ownership::CreateOrMerge,
                CreationPolicy::None => Ownership::Nothing,
            },
            when_missing: match target.deletion_policy {
                DeletionPolicy::Retain => WhenMissing::Retain,
                DeletionPolicy::Delete => WhenMissing::Delete,
                DeletionPolicy::Merge => WhenMissing::Merge,
            },
            immutable: target.immutable,
        },
        refresh: refresh(spec)?,
        restarts: Vec::new(),
        owner,
    })
}

/// Every store that an ExternalSecret names, each once, whether or not it can be understood
/// otherwise.
pub(super) fn stores(spec: &ExternalSecretSpec, namespace: &str) -> Vec<StoreRef> {
    let of_data = spec.data.iter().map(|it| it.source_ref.as_deref());
    let of_data_from = spec.data_from.iter().map(|it| it.source_ref.as_deref());
    let mut stores: Vec<_> = of_data_from
        .chain(of_data)
        .filter_map(|source| store(named_store(spec, source)?, namespace))
        .chain(spec.secret_store_ref.as_ref().and_then(|it| store(it, namespace)))
        .collect();
    stores.sort();
    stores.dedup();
    stores
}

fn named_store<'a>(spec: &'a ExternalSecretSpec, source: Option<&'a SourceRef>) -> Option<&'a StoreName> {
    source.and_then(|it| it.store_ref.as_ref()).or(spec.secret_store_ref.as_ref())
}

/// `None` if it names none, or one of a kind that there is not.
pub(super) fn store(named: &StoreName, reader: &str) -> Option<StoreRef> {
    let kind = match named.kind.as_str() {
        "" => STORE_KINDS[0],
        kind => STORE_KINDS.into_iter().find(|it| *it == kind)?,
    };
    let is_namespaced = kind == STORE_KINDS[0];
    (!named.name.is_empty()).then(|| StoreRef {
        family: Family::ExternalSecrets,
        kind,
        namespace: if is_namespaced { reader.to_owned() } else { String::new() },
        name: named.name.clone(),
        reader: reader.to_owned(),
        place: None,
    })
}

fn reads(spec: &ExternalSecretSpec, namespace: &str, uid: &str) -> Result<Vec<Read>, Trouble> {
    let read = |place: String, source: Option<&SourceRef>, ask: Ask| {
        let store = named_store(spec, source).and_then(|it| store(it, namespace));
        let store = store.ok_or_else(|| {
            invalid(format!(
                "{place}: no store: give spec.secretStoreRef or sourceRef.storeRef a name, and a kind of {}",
                STORE_KINDS.join(" or ")
            ))
        })?;
        Ok(Read { place, store, ask })
    };
    let mut reads = Vec::with_capacity(spec.data_from.len() + spec.data.len());
    for (n, entry) in spec.data_from.iter().enumerate() {
        let source = entry.source_ref.as_deref();
        if let Some(named) = source.and_then(|it| it.generator_ref.as_ref()) {
            let place = format!("spec.dataFrom[{n}].sourceRef.generatorRef");
            reads.push(making(named, place, namespace, uid)?);
            continue;
        }
        reads.push(match (&entry.extract, &entry.find) {
            (Some(extract), _) => read(format!("spec.dataFrom[{n}].extract"), source, Ask::One(address(extract)))?,
            (None, Some(find)) => read(format!("spec.dataFrom[{n}].find"), source, Ask::Many(query(find)))?,
            (None, None) => return Err(invalid(format!("spec.dataFrom[{n}]: extract or find is needed"))),
        });
    }
    for (n, entry) in spec.data.iter().enumerate() {
        let place = format!("spec.data[{n}] (key: {})", entry.remote_ref.key);
        reads.push(read(place, entry.source_ref.as_deref(), Ask::One(address(&entry.remote_ref)))?);
    }
    Ok(reads)
}

fn address(remote: &RemoteRef) -> Address {
    Address {
        key: remote.key.clone(),
        version: (!remote.version.is_empty()).then(|| remote.version.clone()),
        metadata: remote.metadata_policy == MetadataPolicy::Fetch,
    }
}

fn query(find: &Find) -> Query {
    Query {
        path: find.path.clone().filter(|it| !it.is_empty()),
        name: find.name.as_ref().map(|it| it.regexp.clone()),
        tags: find.tags.clone(),
    }
}

fn refresh(spec: &ExternalSecretSpec) -> Result<Refresh, Trouble> {
    Ok(match spec.refresh_policy {
        RefreshPolicy::CreatedOnce => Refresh::Once,
        RefreshPolicy::OnChange => Refresh::OnChange,
        RefreshPolicy::Periodic => match interval(spec).map_err(invalid)? {
            Some(interval) => Refresh::Every(interval),
            None => Refresh::AfterFirstNever,
        },
    })
}

/// `None` for never.
pub(super) fn interval(spec: &ExternalSecretSpec) -> Result<Option<Duration>, String> {
    let positive = |it: GoDuration| it.positive().map(|it| it.max(SHORTEST_INTERVAL));
    match spec.refresh_interval.as_deref() {
        None => Ok(Some(USUAL_INTERVAL)),
        Some(text) => text.parse::<GoDuration>().map(positive).map_err(|it| format!("spec.refreshInterval: {it}")),
    }
}

/// What a generator makes for one entry.
fn making(named: &GeneratorRef, place: String, namespace: &str, uid: &str) -> Result<Read, Trouble> {
    let kind = GeneratorKind::find(&named.kind).ok_or_else(|| not_served(&place, &named.kind))?;
    let store = StoreRef {
        family: Family::ExternalSecrets,
        kind: kind.kind,
        namespace: if kind.scope == Scope::Namespaced { namespace.to_owned() } else { String::new() },
        name: named.name.clone(),
        reader: namespace.to_owned(),
        place: None,
    };
    // Nobody shares what is made, not even two entries of one object.
    let ask = Ask::One(Address { key: format!("{uid} {place}"), ..Address::default() });
    Ok(Read { place, store, ask })
}

/// A kind of generator that is not served.
fn not_served(place: &str, kind: &str) -> Trouble {
    let what = served_later::find(GENERATORS_GROUP, kind).map_or("there is no such kind of generator", |it| it.message);
    let detail = format!("error processing {place}, err: {what}");
    Trouble::new(UPDATE_FAILED, COULD_NOT_READ, detail).retried(Retry::OnChange)
}

/// What is not done is said in words, and nothing else happens.
fn refuse_what_is_not_served(spec: &ExternalSecretSpec) -> Result<(), Trouble> {
    if spec.target.manifest.is_some() {
        let detail = "spec.target.manifest: targets other than Secrets are not served yet";
        return Err(Trouble::new(UPDATE_FAILED, "invalid generic target", detail).retried(Retry::OnChange));
    }
    // The original takes it and reads the store all the same.
    let of_data = spec.data.iter().position(|it| it.source_ref.as_ref().is_some_and(|it| it.generator_ref.is_some()));
    match of_data {
        Some(n) => Err(invalid(format!(
            "spec.data[{n}].sourceRef.generatorRef: what generators make is taken by spec.dataFrom"
        ))),
        None => Ok(()),
    }
}
