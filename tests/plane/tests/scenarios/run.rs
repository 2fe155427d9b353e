//! A scenario is run: one step after the other, in a namespace of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::Patch;
use leafseal_plane::{Operator, cluster};
use regex::Regex;
use serde_json::{Value, json};
use tokio::sync::{RwLockMappedWriteGuard, RwLockReadGuard};

use crate::compare;
use crate::leaks::Secrets;
use crate::names::{Names, merge};
use crate::objects::{Objects, SERVED};
use crate::scenario::{
    Columns, Count, EventStep, Expect, Object, OpenbaoStep, PatchStep, RefusedStep, Repeat, Requests, Rolls, Scenario,
    Server, Step, Texts, Unchanged, VaultStep, read_step, read_yaml,
};
use crate::world::{World, length, token, written_after};

/// How much slower than a machine of one's own the machine of a test run may be: what is late by less than
/// this is not wrong.
const SLOWNESS: u32 = 4;

/// How often things are looked at.
const PACE: Duration = Duration::from_millis(100);

/// The world, with others in it or alone.
pub(crate) enum Place {
    Shared(RwLockReadGuard<'static, World>),
    Alone(RwLockMappedWriteGuard<'static, World>),
}

impl Place {
    fn world(&self) -> &World {
        match self {
            Self::Shared(it) => it,
            Self::Alone(it) => it,
        }
    }

    fn alone(&mut self) -> Result<&mut World, String> {
        match self {
            Self::Shared(_) => Err("only a scenario with `alone: true` may do this".to_owned()),
            Self::Alone(it) => Ok(it),
        }
    }
}

struct Run {
    place: Place,
    fixtures: PathBuf,
    objects: Objects,
    names: Names,
    secrets: Secrets,
    /// How long the logs were at places that have a name; the empty one is the beginning.
    marks: BTreeMap<String, Lengths>,
    /// What lies outside of the namespace, last made first gone.
    made: Vec<Object>,
    is_bao_touched: bool,
}

#[derive(Clone, Copy)]
struct Lengths {
    log: u64,
    vault: u64,
    cluster: u64,
}

impl Lengths {
    fn of(world: &World) -> Self {
        let audit = |of| length(&world.audit(of));
        Self { log: length(&world.log()), vault: audit(Server::Vault), cluster: audit(Server::Cluster) }
    }
}

/// Runs a scenario in a version of External Secrets. The text for people that it fails with ends with what the
/// operator said meanwhile.
pub(crate) async fn run(place: Place, scenario: &Scenario, version: &str, fixtures: &Path) -> Result<(), String> {
    let world = place.world();
    let client = world.client.clone();
    let namespace = match &scenario.namespace {
        Some(it) => {
            anew(&world.objects(it, version)).await?;
            it.clone()
        }
        None => {
            let case = scenario.cases.first().map_or("other".to_owned(), |it| it.to_lowercase());
            cluster::namespace(client, &format!("{case}-{version}")).await
        }
    };
    let marks = BTreeMap::from([(String::new(), Lengths::of(world))]);
    let (objects, names) = (world.objects(&namespace, version), world.names(&namespace, version));
    let fixtures = fixtures.to_owned();
    let (secrets, made) = (Secrets::default(), Vec::new());
    let mut run = Run { place, fixtures, objects, names, secrets, marks, made, is_bao_touched: false };
    let mut done = Box::pin(run.steps(&scenario.steps)).await;
    if done.is_ok() {
        done = run.leaks().await;
    }
    let said = run.said();
    run.clean_up().await;
    done.map_err(|error| format!("{}\n{error}\n\nthe operator said:\n{said}", scenario.says))
}

/// Makes a namespace whose name is given, as soon as the one of an earlier scenario is gone.
async fn anew(objects: &Objects) -> Result<(), String> {
    let begun = Instant::now();
    while objects.find("Namespace", &objects.namespace, None).await?.is_some() {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("namespace {} does not go", objects.namespace));
        }
        tokio::time::sleep(PACE).await;
    }
    objects.apply(json!({"kind": "Namespace", "metadata": {"name": objects.namespace}})).await
}

impl Run {
    async fn steps(&mut self, steps: &[Value]) -> Result<(), String> {
        for (n, raw) in steps.iter().enumerate() {
            let place = |error| format!("step {}: {}\n{error}", n + 1, shortened(raw));
            let step = read_step(&self.resolve(raw).map_err(place)?).map_err(place)?;
            self.step(step, raw).await.map_err(place)?;
        }
        Ok(())
    }

    /// Names resolved; what is repeated is resolved when its turn comes.
    fn resolve(&self, raw: &Value) -> Result<Value, String> {
        if raw.get("repeat").is_some() { Ok(raw.clone()) } else { self.names.resolve(raw) }
    }

    async fn step(&mut self, step: Step, raw: &Value) -> Result<(), String> {
        match step {
            Step::Include(name) => {
                let included = read_yaml(&self.fixtures.join(format!("{name}.yaml")))?;
                let steps = included.as_array().cloned().ok_or_else(|| format!("{name} is no list of steps"))?;
                Box::pin(self.steps(&steps)).await
            }
            Step::Set(values) => {
                values.into_iter().for_each(|(name, value)| self.names.set(&name, value));
                Ok(())
            }
            Step::Vault(step) => self.vault(&step),
            Step::Apply(list) => {
                for object in list.into_vec() {
                    let object = self.manifest(object)?;
                    self.objects.apply(object).await?;
                }
                Ok(())
            }
            Step::Create(list) => {
                for object in list.into_vec() {
                    let object = self.manifest(object)?;
                    self.objects.create(object).await?;
                }
                Ok(())
            }
            Step::Patch(step) => self.patch(step).await,
            Step::Delete(it) => self.objects.delete(&it.kind, &it.name, it.namespace.as_deref()).await,
            Step::Refused(RefusedStep { object, saying }) => {
                let object = self.manifest(object)?;
                match self.objects.apply(object).await {
                    Ok(()) => Err("the API server takes it".to_owned()),
                    Err(error) if error.contains(&saying) => Ok(()),
                    Err(error) => Err(format!("it is refused for another reason: {error}")),
                }
            }
            Step::Expect(it) => self.expect(&it).await,
            Step::Unchanged(it) => self.unchanged(it).await,
            Step::Event(it) => self.event(&it).await,
            Step::Columns(it) => self.columns(&it).await,
            Step::Mark(name) => {
                self.marks.insert(name, Lengths::of(self.place.world()));
                Ok(())
            }
            Step::Requests(it) => self.requests(&it).await,
            Step::Rolls(it) => self.rolls(&it).await,
            Step::Token(it) => {
                let got = token(&self.objects.client, &self.objects.namespace, &it.account, &it.audiences).await?;
                self.secrets.remember(&Value::String(got.clone()));
                self.names.set(&it.keep, got);
                Ok(())
            }
            Step::Log(it) => self.texts(&it, |run| written_after(&run.place.world().log(), run.marks[""].log)).await,
            Step::Metrics(it) => self.texts(&it, |run| run.place.world().metrics()).await,
            Step::Wait(time) => {
                tokio::time::sleep(time.0).await;
                Ok(())
            }
            Step::Repeat(Repeat { times, .. }) => {
                let steps = raw["repeat"]["steps"].as_array().cloned().unwrap_or_default();
                for n in 1..=times {
                    self.names.set("I", n.to_string());
                    Box::pin(self.steps(&steps)).await.map_err(|error| format!("round {n}: {error}"))?;
                }
                Ok(())
            }
            Step::Operator(step) => self.place.alone()?.operate(step).await,
            Step::Openbao(step) => self.openbao(&step),
        }
    }

    fn openbao(&mut self, step: &OpenbaoStep) -> Result<(), String> {
        self.is_bao_touched = true;
        let bao = &mut self.place.alone()?.bao;
        match step {
            OpenbaoStep::Stop => bao.stop(),
            OpenbaoStep::Restart => {
                bao.restart();
                self.place.world().furnish();
            }
            OpenbaoStep::Seal => drop(bao.ask("POST", "sys/seal", None)),
            OpenbaoStep::Unseal => bao.unseal(),
        }
        Ok(())
    }

    fn vault(&mut self, step: &VaultStep) -> Result<(), String> {
        let (method, path) = match step {
            VaultStep { write: Some(path), .. } => ("POST", path),
            VaultStep { delete: Some(path), .. } => ("DELETE", path),
            VaultStep { read: Some(path), .. } => ("GET", path),
            _ => return Err("say write, read or delete".to_owned()),
        };
        if let Some(body) = &step.body {
            self.secrets.remember_written(path, body);
        }
        let (status, answer) = self.place.world().bao.ask(method, path, step.body.as_ref());
        if !(200..300).contains(&status) {
            return Err(format!("{status} {answer}"));
        }
        for (name, pointer) in &step.keep {
            let value = answer.pointer(pointer).cloned().ok_or_else(|| format!("no {pointer} in {answer}"))?;
            if path.starts_with("auth/") {
                self.secrets.remember(&value);
            }
            self.names.set(name, value);
        }
        step.like.as_ref().map_or(Ok(()), |like| compare::contains(like, &answer, ""))
    }

    /// A manifest with the one that it is like beneath it. What lies outside of the namespace is remembered.
    fn manifest(&mut self, mut object: Value) -> Result<Value, String> {
        if let Some(like) = object.as_object_mut().and_then(|it| it.remove("like")) {
            let name = like.as_str().ok_or("`like` names a fixture")?;
            let mut base = self.names.resolve(&read_yaml(&self.fixtures.join(format!("{name}.yaml")))?)?;
            merge(&mut base, object);
            object = base;
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (kind, name) = (text("/kind").unwrap_or_default(), text("/metadata/name").unwrap_or_default());
        if !Objects::is_namespaced(kind)? && name.contains(&self.objects.namespace) {
            self.made.push(Object { kind: kind.to_owned(), name: name.to_owned(), namespace: None });
        }
        Ok(object)
    }

    async fn patch(&self, step: PatchStep) -> Result<(), String> {
        let PatchStep { kind, name, namespace, manager, merge, status, json } = step;
        let manager = manager.as_deref().unwrap_or("kubectl");
        let object = (kind.as_str(), name.as_str(), namespace.as_deref());
        if let Some(merge) = merge {
            self.objects.patch(object, manager, false, &Patch::Merge(merge)).await?;
        }
        if let Some(json) = json {
            let json = serde_json::from_value(json).map_err(|error| error.to_string())?;
            self.objects.patch(object, manager, false, &Patch::Json(json)).await?;
        }
        if let Some(status) = status {
            self.objects.patch(object, manager, true, &Patch::Merge(json!({"status": status}))).await?;
        }
        Ok(())
    }

    async fn expect(&mut self, want: &Expect) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let got = self.objects.find(&want.kind, &want.name, want.namespace.as_deref()).await;
            let (differs, got) = match got {
                Ok(got) => (compare::difference(want, got.as_ref()), got),
                Err(error) => (Err(error), None),
            };
            match differs {
                Ok(()) => {
                    for (name, pointer) in &want.keep {
                        let found = got.as_ref().and_then(|it| it.pointer(pointer)).cloned();
                        self.names.set(name, found.ok_or_else(|| format!("no {pointer} in {got:?}"))?);
                    }
                    return Ok(());
                }
                Err(error) if begun.elapsed() > SLOWNESS * want.within.0 => {
                    let got = got.map(|it| shortened(&without_managers(it))).unwrap_or_default();
                    return Err(format!("{error}\nit is {got}"));
                }
                Err(_) => tokio::time::sleep(PACE).await,
            }
        }
    }

    async fn unchanged(&self, step: Unchanged) -> Result<(), String> {
        let of = step.of.into_vec();
        let begun = Instant::now();
        let mut first: Option<Vec<Value>> = None;
        while begun.elapsed() < step.time.0 {
            let mut versions = Vec::new();
            for object in &of {
                let found = self.objects.find(&object.kind, &object.name, object.namespace.as_deref()).await?;
                let found = found.unwrap_or(Value::Null);
                versions.push(json!([found["metadata"]["uid"], found["metadata"]["resourceVersion"]]));
            }
            let first = first.get_or_insert_with(|| versions.clone());
            if let Some(n) = first.iter().zip(&versions).position(|(a, b)| a != b) {
                return Err(format!("{} {} changed after {:?}", of[n].kind, of[n].name, begun.elapsed()));
            }
            tokio::time::sleep(PACE * 2).await;
        }
        Ok(())
    }

    /// Counts until it fits, or the time is over.
    async fn count(
        &self,
        count: &Count,
        what: impl AsyncFn(&Self) -> Result<(u64, String), String>,
    ) -> Result<(), String> {
        let within = count.within.map_or(Duration::ZERO, |it| SLOWNESS * it.0);
        let begun = Instant::now();
        loop {
            let (n, seen) = what(self).await?;
            if count.fits(n) {
                return Ok(());
            }
            if begun.elapsed() > within {
                return Err(format!("there are {n}:\n{seen}"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn event(&self, step: &EventStep) -> Result<(), String> {
        let mut count = Count { within: step.count.within, ..step.count };
        // Events come after what they tell of, at no more than fifty in a second for all.
        if count.within.is_none() && count.times.is_none_or(|it| it > 0) && count.at_most.is_none() {
            count.within = Some(crate::scenario::Time(Duration::from_secs(30)));
        }
        self.count(&count, async |run: &Self| {
            let events = run.objects.list("Event", step.namespace.as_deref()).await?;
            let about: Vec<&Value> = events.iter().filter(|it| it["involvedObject"]["name"] == *step.about).collect();
            let fits = |it: &&&Value| {
                it["type"] == *step.kind
                    && step.reason.as_ref().is_none_or(|want| it["reason"] == **want)
                    && step.saying.as_ref().is_none_or(|want| it["message"].as_str().unwrap_or_default().contains(want))
            };
            let times = |it: &Value| {
                let count = it.pointer("/series/count").or_else(|| it.get("count")).and_then(Value::as_u64);
                count.unwrap_or(1).max(1)
            };
            let n = about.iter().filter(fits).map(|it| times(it)).sum();
            let seen: Vec<String> = about
                .iter()
                .map(|it| format!("{} {} {} ×{}", it["type"], it["reason"], it["message"], times(it)))
                .collect();
            Ok((n, seen.join("\n")))
        })
        .await
    }

    async fn columns(&self, step: &Columns) -> Result<(), String> {
        let table = self.objects.table(&step.kind, &step.name).await?;
        let all = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        let got: serde_json::Map<String, Value> = all
            .iter()
            .filter(|it| it["priority"] == 0 || it["priority"].is_null())
            .zip(cells)
            .map(|(column, cell)| (column["name"].as_str().unwrap_or_default().to_owned(), cell))
            .collect();
        let want: Value = step.are.clone().into_iter().collect::<serde_json::Map<_, _>>().into();
        let same = got.keys().all(|it| step.are.contains_key(it));
        let compared = compare::contains(&want, &Value::Object(got.clone()), "");
        compared
            .and(if same { Ok(()) } else { Err("there are more columns".to_owned()) })
            .map_err(|it| format!("{it}: {got:?}"))
    }

    async fn requests(&self, step: &Requests) -> Result<(), String> {
        let since = step.since.as_deref().unwrap_or_default();
        let lengths = *self.marks.get(since).ok_or_else(|| format!("there is no mark {since}"))?;
        self.count(&step.count, async |run: &Self| {
            let offset = if step.to == Server::Vault { lengths.vault } else { lengths.cluster };
            let text = written_after(&run.place.world().audit(step.to), offset);
            let is_own = |line: &str| match step.to {
                // Answers have lines too; what is done as root is the scenario's own.
                Server::Vault => line.contains(r#""type":"response""#) || line.contains(r#""token_policies":["root"]"#),
                Server::Cluster => !line.contains(&format!("{}:{}", Operator::NAMESPACE, Operator::ACCOUNT)),
            };
            let fits = |line: &&str| {
                !is_own(line)
                    && step.with.iter().all(|it| line.contains(it))
                    && !step.without.iter().any(|it| line.contains(it))
            };
            let lines: Vec<&str> = text.lines().filter(fits).collect();
            let seen: Vec<&str> = lines.iter().take(5).map(|it| it.get(..1_000).unwrap_or(it)).collect();
            Ok((lines.len() as u64, seen.join("\n")))
        })
        .await
    }

    async fn rolls(&self, step: &Rolls) -> Result<(), String> {
        let (kind, name) = step.of.split_once('/').ok_or("say Kind/name")?;
        let revisions = if kind == "Deployment" { "ReplicaSet" } else { "ControllerRevision" };
        let count = async || {
            let all = self.objects.list(revisions, None).await?;
            let owner = |it: &&Value| {
                it["metadata"]["ownerReferences"][0]["name"] == *name
                    && it["metadata"]["ownerReferences"][0]["kind"] == *kind
            };
            Ok::<u64, String>(all.iter().filter(owner).count().saturating_sub(1) as u64)
        };
        let begun = Instant::now();
        loop {
            let n = count().await?;
            if n == step.are {
                break;
            }
            if n > step.are || begun.elapsed() > SLOWNESS * step.within.0 {
                return Err(format!("it was rolled {n} times"));
            }
            tokio::time::sleep(PACE).await;
        }
        let quiet = Instant::now();
        while quiet.elapsed() < step.time.map_or(Duration::ZERO, |it| it.0) {
            tokio::time::sleep(PACE * 3).await;
            let n = count().await?;
            if n != step.are {
                return Err(format!("it was rolled {n} times, the last after {:?}", quiet.elapsed()));
            }
        }
        Ok(())
    }

    async fn texts(&self, step: &Texts, source: impl Fn(&Self) -> String) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let text = source(self);
            if let Some(found) = step.without.iter().find(|it| text.contains(*it)) {
                let line = text.lines().find(|it| it.contains(found)).unwrap_or_default();
                return Err(format!("it says `{found}`: {line}"));
            }
            let Some(missing) = step.with.iter().find(|it| !text.contains(*it)) else { return Ok(()) };
            if begun.elapsed() > SLOWNESS * step.within.0 {
                return Err(format!("it does not say `{missing}`"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn leaks(&self) -> Result<(), String> {
        let world = self.place.world();
        self.secrets.check("the log", &written_after(&world.log(), self.marks[""].log))?;
        self.secrets.check("the metrics", &world.metrics())?;
        // What the API server says of a right that is missing.
        let forbidden = Regex::new("cannot [a-z]+ resource").expect("this is an expression");
        if let Some(line) = written_after(&world.log(), self.marks[""].log).lines().find(|it| forbidden.is_match(it)) {
            return Err(format!("a right is missing: {line}"));
        }
        for kind in SERVED.iter().chain(&["Event"]) {
            // A scenario may have taken definitions away.
            for object in self.objects.list(kind, None).await.unwrap_or_default() {
                let shown = if *kind == "Event" { &object["message"] } else { &object["status"] };
                self.secrets.check(&format!("{kind} {}", object["metadata"]["name"]), &shown.to_string())?;
            }
        }
        Ok(())
    }

    /// What the operator's log says of this namespace.
    fn said(&self) -> String {
        let log = written_after(&self.place.world().log(), self.marks[""].log);
        let of_us: Vec<&str> = log.lines().filter(|it| it.contains(self.names.text("NS"))).collect();
        of_us[of_us.len().saturating_sub(12)..].join("\n")
    }

    async fn clean_up(&mut self) {
        // What cannot be deleted is in nobody's way: names are unique, and the plane goes with the tests. What
        // the operator works on goes first, so that it has no cause to complain.
        let others = self.made.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone());
        let namespaces: Vec<String> = others.chain([self.objects.namespace.clone()]).collect();
        for kind in ["ExternalSecret", "VaultStaticSecret"] {
            for namespace in &namespaces {
                for object in self.objects.list(kind, Some(namespace)).await.unwrap_or_default() {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    drop(self.objects.delete(kind, name, Some(namespace)).await);
                }
            }
        }
        drop(self.objects.delete("Namespace", &self.objects.namespace, None).await);
        for object in self.made.iter().rev() {
            drop(self.objects.delete(&object.kind, &object.name, None).await);
        }
        if let Ok(world) = self.place.alone() {
            world.tidy(self.is_bao_touched).await;
        }
    }
}

fn without_managers(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(1_500) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
