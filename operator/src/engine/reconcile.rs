//! One object that keeps a Secret: looked at once, and brought into step.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PartialObjectMeta;
use leafseal::provider::{ProviderError, SecretProvider};
use leafseal::template::Surroundings;
use tokio::time::Instant;

use super::backoff::{chance, late};
use super::cluster::unreadable;
use super::mirrors::Mirrored;
use super::queue::Job;
use super::restart;
use super::secrets::Sight;
use super::turns::Turn;
use super::watch::Place;
use super::work::{Again, Work as _};
use super::world::{Kept, World, log, named, part};
use crate::adapter::{Adapter, Around, AroundRef, Done, Found, Identity, Outcome};
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::{Kind, Object, Unread};
use crate::edge::SystemRng;
use crate::error::{Refused, Retry, Trouble};
use crate::intent::{Ask, Family, Intent, Owner, Read, StoreRef};
use crate::plan::{self, Action, Composed, Note, Observed, Verdict, exclusive};
use crate::store::external_secrets::{Readiness, is_left_alone, not_ready, readiness};
use crate::store::{Cluster as _, Opened, Part};
use crate::written::content_written;

/// What a look at an object led to.
enum Look {
    /// It is in step, and due after this long.
    NotDue(Again),
    /// It waits for its store, which is being checked.
    Waits,
    /// It stands in line for its store and is called, or the end was asked for.
    InLine,
    /// It was brought into step.
    Done(Done, Vec<Note>),
}

/// Looks at one object that keeps a Secret.
pub(super) async fn sync<A>(world: &World, job: &Job<Part>, turn: &mut Turn) -> Again
where
    A: Adapter,
    A::Kind: Mirrored,
{
    let who = &job.key;
    let Some(object) = A::Kind::of(&world.mirrors).find(&who.namespace, &who.name) else {
        world.forget(who);
        return None;
    };
    let (api, resource) = world.api::<A::Kind>(&who.namespace)?;
    let owner = owner_of(&object, &resource.api_version);
    if object.metadata.deletion_timestamp.is_some() {
        return farewell::<A>(world, &object, owner, &api).await;
    }
    let (settings, stores) = (&world.context.settings, A::stores(&object));
    let is_of_all = |it: &StoreRef| it.kind == ClusterSecretStore::KIND;
    let is_not_asked_for = !settings.cluster_secret_stores && stores.iter().any(is_of_all);
    if is_not_asked_for || is_left_alone(&world.cluster, &stores, &settings.controller_class) {
        // Another operator serves it: nothing is done about it, and nothing said.
        return None;
    }
    let is_wanted = A::needs_finalizer(&object);
    if let Err(refused) = world.writer.set_finalizer(&api, &object.metadata, A::FINALIZER, is_wanted).await {
        tracing::debug!(name = who.name, %refused, "the finalizer could not be set");
        return Some(world.failed(who));
    }

    let (began, timer) = (Timestamp::now(), Instant::now());
    let (intent, looked) = match A::intent(&object, owner.clone(), &world.terms) {
        Ok(intent) => {
            let is_told = world.take_due(who);
            let looked = look::<A>(world, &object, &intent, is_told, job, turn).await;
            if is_told && !matches!(looked, Ok(Look::Done(..))) {
                world.put_due(who);
            }
            (Some(intent), looked)
        }
        Err(trouble) => (None, Err(trouble)),
    };
    let looked = match looked {
        Err(trouble) if trouble.retry == Retry::Now => match world.tries.outrun(who) {
            Some(wait) => return Some(wait),
            None => Err(trouble.retried(Retry::BackOff)),
        },
        other => other,
    };
    let (result, notes) = match looked {
        Ok(Look::Waits) => return Some(WAIT_FOR_STORE),
        Ok(Look::InLine) => return None,
        Ok(Look::NotDue(next)) => return next.map(|it| late(it, chance())),
        Ok(Look::Done(done, notes)) => (Ok(done), notes),
        Err(trouble) => {
            log(who, &trouble);
            world.context.metrics.retried(world.context.family, trouble.reason);
            let note = Note { warning: true, reason: trouble.reason, text: trouble.to_string() };
            (Err(trouble), vec![note])
        }
    };
    for note in &notes {
        world.context.events.tell(world.context.family, &owner.reference(), note);
    }
    let outcome = Outcome { began, result };
    let mut object = object;
    if let Some(change) = A::status(&object, intent.as_ref(), &outcome, Timestamp::now()) {
        match world.writer.report(&api, &who.name, change).await {
            Ok(Some(reported)) => object = A::Kind::of(&world.mirrors).learn(reported),
            Ok(None) => {}
            Err(refused) => {
                tracing::warn!(kind = who.kind, namespace = who.namespace, name = who.name, %refused, "no status");
                return Some(world.failed(who));
            }
        }
    }
    let is_ok = outcome.result.is_ok();
    world.context.metrics.synced(world.context.family, named(who), is_ok, timer.elapsed());
    world.context.metrics.condition(named(who), "Ready", is_ok);
    match &outcome.result {
        Ok(done) if done.restarts.iter().any(Result::is_err) => Some(world.failed(who)),
        // Nothing but a change helps (spec section 2.2, step 14).
        Ok(done) if done.verdict == Verdict::Immutable => None,
        Ok(_) => {
            world.tries.worked(who);
            let next = A::next(&object, intent.as_ref()?, Timestamp::now());
            next.map(|it| late(it, chance()))
        }
        Err(trouble) => match trouble.retry {
            Retry::Now | Retry::BackOff => Some(world.failed(who)),
            Retry::After(wait) => Some(late(wait, chance())),
            Retry::OnChange => None,
        },
    }
}

/// How often an object looks whether its new store was checked, should nobody tell it.
const WAIT_FOR_STORE: Duration = Duration::from_secs(2);

async fn look<A>(
    world: &World,
    object: &Object<A::Kind>,
    intent: &Intent,
    is_told: bool,
    job: &Job<Part>,
    turn: &mut Turn,
) -> Result<Look, Trouble>
where
    A: Adapter,
    A::Kind: Mirrored,
{
    let who = part(object);
    let at: Place = (intent.target.namespace.clone(), intent.target.name.clone());
    let (stores, around) = (store_parts(intent), A::around(object));
    let mut interests = vec![Part { kind: "Secret", namespace: at.0.clone(), name: at.1.clone() }];
    interests.extend(around.iter().map(around_part));
    interests.extend_from_slice(&stores);
    world.interests.include(&who, &interests);
    world.contents.set(&who, around.iter().map(around_part).collect());
    world.kept.expect(&who, &at);

    let terms = &world.terms;
    let mut seen = observe(world, &who, &at).await?;
    if let (true, Seen::AsKept(Kept { wanted: Some(_), .. })) = (job.is_glance && !is_told, &seen) {
        // It was our own write.
        return Ok(Look::NotDue(job.otherwise.map(|it| it.saturating_duration_since(Instant::now()))));
    }
    let in_step = match &seen {
        Seen::AsKept(_) => true,
        Seen::Absent => A::is_in_step(object, intent, None, terms),
        Seen::Read(secret) => A::is_in_step(object, intent, Some(secret), terms),
    };
    if !is_told && !A::is_due(object, intent, in_step, Timestamp::now()) {
        if let (true, Seen::Read(secret)) = (in_step, &seen) {
            let version = secret.metadata.resource_version.clone().unwrap_or_default();
            world.kept.keep(&who, Kept { at, version, wanted: None });
        }
        return Ok(Look::NotDue(A::next(object, intent, Timestamp::now())));
    }
    if world.is_first_look(&who) && in_step {
        let wait = A::first_look(object, intent);
        if !wait.is_zero() {
            return Ok(Look::NotDue(Some(wait)));
        }
    }
    let there = match &seen {
        Seen::Read(secret) => Some(&**secret),
        Seen::Absent | Seen::AsKept(_) => None,
    };
    if let (Seen::Absent | Seen::Read(_), Some(trouble)) = (&seen, exclusive::awaits_target(&intent.target, there)) {
        return Err(trouble);
    }

    let (opened, parts) = open_all(world, intent).await;
    interests.extend(parts);
    world.interests.set(&who, interests);
    let opened = match opened {
        Ok(opened) => opened,
        Err(Closed::IsChecked) => return Ok(Look::Waits),
        Err(Closed::For(trouble)) => return Err(A::unreadable(trouble)),
    };
    let Some(places) = world.lanes.enter(&who, stores) else { return Ok(Look::InLine) };
    let reading = async { tokio::join!(fetch(world, &intent.reads, &opened, job.asked), read_around(world, &around)) };
    let reading = turn.lend(reading).await;
    drop(places);
    world.call();
    let Some((answers, around)) = reading else { return Ok(Look::InLine) };
    if !is_current(world, object) {
        return Ok(Look::InLine);
    }
    let around = around.map_err(A::unreadable)?;
    let (composed, mut notes) = {
        let mut rng = SystemRng;
        let mut surroundings = Surroundings { now: Timestamp::now().as_nanosecond(), rng: &mut rng };
        A::compose(object, intent, answers, &around, terms, &mut surroundings)?
    };
    let mac = match &composed {
        Composed::Data(desired) => desired.mac.clone(),
        Composed::Nothing => None,
    };
    let identity = identity_of(world, intent).await;
    let done = |verdict, restarts| Done { verdict, mac: mac.clone(), identity: identity.clone(), restarts };

    // The same is wanted as last time, and the target is as it was left then: nobody has to ask.
    let wanted = world.kept.digest((&intent.target, &composed));
    if let Seen::AsKept(kept) = &seen {
        if kept.wanted == Some(wanted) && A::recorded_mac(object) == mac {
            return Ok(Look::Done(done(Verdict::Synced, Vec::new()), notes));
        }
        seen = read_target(world, &at).await?;
    }
    let target = match seen {
        Seen::Read(secret) => Some(*secret),
        Seen::Absent | Seen::AsKept(_) => None,
    };
    let former = former::<A>(world, intent, &at).await?;
    let version = target.as_ref().and_then(|it| it.metadata.resource_version.clone());
    let since = target.as_ref().and_then(|it| content_written(&it.metadata)).zip(version.clone());
    let recorded = A::trusted_mac(object, target.as_ref(), terms);
    let plan = plan::plan(intent, &Observed { target, former, mac: recorded }, composed)?;

    let is_kept = matches!(plan.action, Action::Keep);
    let kept_since = since.filter(|_| is_kept);
    let written = carry_out(world, &at, &A::manager(&intent.owner), plan.action).await.map_err(A::unwritable)?;
    // What could not be done is looked at again.
    let wanted = (plan.verdict == Verdict::Synced).then_some(wanted);
    match if is_kept { version } else { written } {
        Some(version) => world.kept.keep(&who, Kept { at: at.clone(), version, wanted }),
        None => world.kept.forget(&who),
    }
    for (name, uid) in plan.prune {
        let secrets = Api::<Secret>::namespaced(world.context.client.clone(), &at.0);
        world.writer.delete(&secrets, &name, uid, None).await.map_err(A::unwritable)?;
        world.secrets.learn_gone(&(at.0.clone(), name));
    }
    notes.extend(plan.notes);
    let restarts = match plan.restart {
        Some(cause) => restart::all(world, intent, cause, kept_since.as_ref(), &mut notes, turn).await,
        None => Vec::new(),
    };
    Ok(Look::Done(done(plan.verdict, restarts), notes))
}

/// True if an object is still what it was before its stores were waited for. If it is not, it was asked for
/// again since.
fn is_current<K: Mirrored>(world: &World, object: &Object<K>) -> bool {
    K::of(&world.mirrors).find(object.namespace(), object.name()).is_some_and(|it| {
        let (now, then) = (&it.metadata, &object.metadata);
        now.uid == then.uid && now.generation == then.generation && now.deletion_timestamp == then.deletion_timestamp
    })
}

/// What is known of a target.
enum Seen {
    /// It is not there.
    Absent,
    /// It is as it was left.
    AsKept(Kept),
    /// It was read.
    Read(Box<Secret>),
}

async fn observe(world: &World, who: &Part, at: &Place) -> Result<Seen, Trouble> {
    match world.secrets.sight(at) {
        Sight::Absent => Ok(Seen::Absent),
        Sight::Marked(mark) => match world.kept.find(who) {
            Some(kept) if kept.at == *at && kept.version == mark.version => Ok(Seen::AsKept(kept)),
            _ => read_target(world, at).await,
        },
        Sight::Present => read_target(world, at).await,
    }
}

async fn read_target(world: &World, at: &Place) -> Result<Seen, Trouble> {
    let api = Api::<Secret>::namespaced(world.context.client.clone(), &at.0);
    let read = api.get_opt(&at.1).await.map_err(|error| unreadable("Secret", &at.1, &error))?;
    match read {
        Some(secret) => {
            world.secrets.learn(&secret.metadata);
            Ok(Seen::Read(Box::new(secret)))
        }
        None => {
            world.secrets.learn_gone(at);
            Ok(Seen::Absent)
        }
    }
}

/// The targets of former times: what carries the mark of the owner, and bears a closer look.
async fn former<A: Adapter>(world: &World, intent: &Intent, at: &Place) -> Result<Vec<(String, String)>, Trouble> {
    let api = Api::<PartialObjectMeta<Secret>>::namespaced(world.context.client.clone(), &at.0);
    let mut former = Vec::new();
    for (name, uid) in world.secrets.owned(&at.0, &A::owner_mark(&intent.owner)) {
        if name == at.1 {
            continue;
        }
        let found = api.get_metadata_opt(&name).await;
        let found = found.map_err(|error| A::unreadable(unreadable("Secret", &name, &error)))?;
        if found.is_some_and(|it| A::is_former(&it.metadata, &intent.owner, &intent.target)) {
            former.push((name, uid));
        }
    }
    Ok(former)
}

/// Does what was planned. Returns the version of the Secret that was written, if one was.
async fn carry_out(world: &World, at: &Place, manager: &str, action: Action) -> Result<Option<String>, Refused> {
    match &action {
        Action::Keep => return Ok(None),
        Action::Delete { .. } => {
            world.writer.carry_out(at, manager, action).await?;
            world.secrets.learn_gone(at);
            return Ok(None);
        }
        Action::Recreate { .. } => world.secrets.learn_gone(at),
        Action::Create(_) | Action::Replace(_) => {}
    }
    let written = world.writer.carry_out(at, manager, action).await.inspect_err(|refused| {
        if refused.retry == Retry::Now {
            // Somebody was faster: what is known of it is out of date.
            world.secrets.doubt(at);
        }
    })?;
    Ok(written.and_then(|it| {
        world.secrets.learn(&it.metadata);
        it.metadata.resource_version
    }))
}

/// A store that cannot be read from now.
enum Closed {
    /// It is new, and being checked: it will be told.
    IsChecked,
    /// For this reason.
    For(Trouble),
}

/// Opens every store that is read from, in the order of the reads. Also says what they were made from.
async fn open_all(world: &World, intent: &Intent) -> (Result<HashMap<StoreRef, Opened>, Closed>, Vec<Part>) {
    let (mut opened, mut parts) = (HashMap::new(), Vec::new());
    for read in &intent.reads {
        if opened.contains_key(&read.store) {
            continue;
        }
        if let Err(closed) = may_read(world, read) {
            return (Err(closed), parts);
        }
        let attempt = world.open(&read.store).await;
        parts.extend(attempt.made_from);
        match attempt.opened {
            Ok(store) => _ = opened.insert(read.store.clone(), store),
            Err(trouble) => return (Err(Closed::For(trouble.at(&read.place))), parts),
        }
    }
    (Ok(opened), parts)
}

/// External Secrets: a store is read from when it was found to be usable.
fn may_read(world: &World, read: &Read) -> Result<(), Closed> {
    let StoreRef { kind, namespace, name, .. } = &read.store;
    let class = &world.context.settings.controller_class;
    let (readiness, is_checked) = match *kind {
        SecretStore::KIND => match world.cluster.secret_store(namespace, name) {
            Some(it) => (readiness(&it.spec, &it.status, class), !it.status.conditions.is_empty()),
            // Opening says that it is missing.
            None => return Ok(()),
        },
        ClusterSecretStore::KIND => match world.cluster.cluster_secret_store(name) {
            Some(it) => (readiness(&it.spec, &it.status, class), !it.status.conditions.is_empty()),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    match readiness {
        Readiness::NotReady if !is_checked => Err(Closed::IsChecked),
        Readiness::NotReady => Err(Closed::For(not_ready(&read.store).at(&read.place))),
        Readiness::Ready | Readiness::Foreign => Ok(()),
    }
}

/// With which identity stores were read, for the family that reports it.
async fn identity_of(world: &World, intent: &Intent) -> Option<Identity> {
    match world.context.family {
        Family::ExternalSecrets | Family::Reload => None,
        Family::VaultSecrets => world.vaults.identity(&intent.reads.first()?.store).await,
    }
}

async fn fetch(
    world: &World,
    reads: &[Read],
    opened: &HashMap<StoreRef, Opened>,
    asked: Instant,
) -> Vec<Result<Found, ProviderError>> {
    let each = reads.iter().map(async |read| {
        let store = opened.get(&read.store).expect("every store that is read from was opened");
        let (provider, ask) = (store.provider.clone(), read.ask.clone());
        let key = (read.store.clone(), ask.clone());
        let answer = world.answers.read(key, asked, || ask_store(provider, ask)).await;
        let has_answer = !answer.as_ref().as_ref().is_err_and(|it| it.is_unavailable());
        world.answered(&store_part(&read.store), has_answer);
        Result::clone(&answer)
    });
    join_all(each).await
}

async fn ask_store(provider: Arc<dyn SecretProvider>, ask: Ask) -> Arc<Result<Found, ProviderError>> {
    Arc::new(match &ask {
        Ask::One(address) => provider.read(address).await.map(Found::One),
        Ask::Many(query) => provider.find(query).await.map(Found::Many),
    })
}

/// Reads what else has a say in the content.
async fn read_around(world: &World, refs: &[AroundRef]) -> Result<Around, Trouble> {
    let mut around = Around::default();
    for it in refs {
        match it {
            AroundRef::ConfigMap(namespace, name) => {
                if let Some(held) = world.cluster.config_map(namespace, name).await? {
                    around.config_maps.insert((namespace.clone(), name.clone()), held.data);
                }
            }
            AroundRef::Secret(namespace, name) => {
                if let Some(held) = world.cluster.secret(namespace, name).await? {
                    around.secrets.insert((namespace.clone(), name.clone()), held.data);
                }
            }
            AroundRef::Transformation(namespace, name) => {
                if let Some(object) = world.mirrors.secret_transformations.find(namespace, name) {
                    around.transformations.insert((namespace.clone(), name.clone()), Object::clone(&object));
                }
            }
        }
    }
    Ok(around)
}

fn around_part(at: &AroundRef) -> Part {
    let (kind, namespace, name) = match at {
        AroundRef::ConfigMap(namespace, name) => ("ConfigMap", namespace, name),
        AroundRef::Secret(namespace, name) => ("Secret", namespace, name),
        AroundRef::Transformation(namespace, name) => ("SecretTransformation", namespace, name),
    };
    Part { kind, namespace: namespace.clone(), name: name.clone() }
}

/// The stores that an intent reads from, each once.
fn store_parts(intent: &Intent) -> Vec<Part> {
    let mut parts: Vec<Part> = intent.reads.iter().map(|it| store_part(&it.store)).collect();
    parts.sort();
    parts.dedup();
    parts
}

fn store_part(at: &StoreRef) -> Part {
    Part { kind: at.kind, namespace: at.namespace.clone(), name: at.name.clone() }
}

pub(super) fn owner_of<K: Kind>(object: &Object<K>, api_version: &str) -> Owner {
    Owner {
        api_version: api_version.to_owned(),
        kind: K::KIND,
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.generation(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        annotations: object.metadata.annotations.clone().unwrap_or_default(),
    }
}

/// An object goes: what it asked for on this occasion is done, and it is let go.
async fn farewell<A: Adapter>(world: &World, object: &Object<A::Kind>, owner: Owner, api: &Api<Unread>) -> Again {
    let who = part(object);
    if !object.metadata.finalizers.iter().flatten().any(|it| it == A::FINALIZER) {
        return None;
    }
    let result = async {
        // An object that cannot be understood owns nothing that we know of.
        if let (true, Ok(intent)) = (A::needs_finalizer(object), A::intent(object, owner, &world.terms)) {
            let at = (intent.target.namespace.clone(), intent.target.name.clone());
            if let Seen::Read(secret) = read_target(world, &at).await? {
                let observed = Observed { target: Some(*secret), ..Observed::default() };
                let action = plan::farewell(&intent, &observed);
                let manager = A::manager(&intent.owner);
                carry_out(world, &at, &manager, action).await.map_err(A::unwritable)?;
            }
        }
        let released = world.writer.set_finalizer(api, &object.metadata, A::FINALIZER, false).await;
        released.map_err(A::unwritable)
    };
    match result.await {
        Ok(()) => None,
        Err(trouble) => {
            let wait = (trouble.retry == Retry::Now).then(|| world.tries.outrun(&who)).flatten();
            wait.or_else(|| {
                log(&who, &trouble);
                Some(world.failed(&who))
            })
        }
    }
}
