//! A scenario is run: one step after the other, in a namespace of its own.

mod look;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use jiff::Timestamp;
use kube::api::Patch;
use leafseal_plane::{Operator, cluster};
use leafseal_tests::peer;
use regex::Regex;
use serde_json::{Value, json};
use tokio::sync::{RwLockMappedWriteGuard, RwLockReadGuard};

use crate::compare;
use crate::hook::Hook;
use crate::leaks::Secrets;
use crate::names::{Names, merge};
use crate::objects::{Objects, SERVED, WORKED_ON};
use crate::proxy::Proxy;
use crate::scenario::{
    HelmStep, Object, OpenbaoStep, OperatorStep, PatchStep, RefusedStep, Repeat, Scenario, Server, Step, VaultStep,
    read_step, read_yaml,
};
use crate::world::{Operators, PATIENT, World, length, token};

/// How often things are looked at.
const PACE: Duration = Duration::from_millis(100);

/// The world: with others in it, with others and operators of one's own, or alone.
pub(crate) enum Place {
    Shared(RwLockReadGuard<'static, World>),
    Own(RwLockReadGuard<'static, World>, Option<Operators>),
    Alone(RwLockMappedWriteGuard<'static, World>),
}

impl Place {
    fn world(&self) -> &World {
        match self {
            Self::Shared(it) | Self::Own(it, _) => it,
            Self::Alone(it) => it,
        }
    }

    fn alone(&mut self) -> Result<&mut World, String> {
        match self {
            Self::Shared(_) | Self::Own(..) => Err("only a scenario with `alone: true` may do this".to_owned()),
            Self::Alone(it) => Ok(it),
        }
    }

    /// Those that serve the scenario's namespace.
    fn operators(&self) -> &Operators {
        match self {
            Self::Own(_, Some(own)) => own,
            _ => &self.world().operators,
        }
    }

    /// One of one's own serves nothing but Reload, unless it is told otherwise, and its namespace alone.
    async fn operate(&mut self, mut step: OperatorStep, namespace: &str) -> Result<(), String> {
        if let (Self::Own(..), OperatorStep::Start(args) | OperatorStep::Beside(args)) = (&*self, &mut step) {
            if !args.iter().any(|it| it.starts_with("--families=")) {
                args.push("--families=reload".to_owned());
            }
            args.push(format!("--namespaces={namespace}"));
            let is_lease_spelt = |it: &String| it.starts_with("--lease-duration=") || it.starts_with("--leader-elect=");
            if !args.iter().any(is_lease_spelt) {
                args.extend(PATIENT.map(str::to_owned));
            }
        }
        match self {
            Self::Shared(_) => Err("only a scenario with `own: true` or `alone: true` may do this".to_owned()),
            Self::Own(world, own) => {
                if own.is_none() {
                    Operator::allow(&world.client, namespace).await;
                }
                let new = || Operators::of(&world.plane, &format!("operator-of-{namespace}"), namespace);
                own.get_or_insert_with(new).operate(&world.plane, step).await
            }
            Self::Alone(world) => {
                let World { operators, plane, .. } = &mut **world;
                operators.operate(plane, step).await
            }
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
    /// Whether the scenario says what its namespace is called.
    is_named: bool,
    hook: Option<Hook>,
    proxy: Option<Proxy>,
}

struct Lengths {
    at: Timestamp,
    logs: BTreeMap<PathBuf, u64>,
    vault: u64,
    cluster: u64,
}

impl Lengths {
    fn of(place: &Place) -> Self {
        let audit = |of| length(&place.world().audit(of));
        let logs = place.operators().logs().into_iter().map(|it| (it.clone(), length(&it))).collect();
        Self { at: Timestamp::now(), logs, vault: audit(Server::Vault), cluster: audit(Server::Cluster) }
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
    let marks = BTreeMap::from([(String::new(), Lengths::of(&place))]);
    let (objects, mut names) = (world.objects(&namespace, version), world.names(&namespace, version));
    let says = |name: &str| scenario.steps.iter().any(|it| it.to_string().contains(name));
    let hook = says("$HOOK").then(Hook::start);
    if let Some(hook) = &hook {
        names.set("HOOK", hook.url());
    }
    let proxy = says("$PROXY").then(|| Proxy::start(names.text("VAULT")));
    if let Some(proxy) = &proxy {
        names.set("PROXY", proxy.url());
    }
    let fixtures = fixtures.to_owned();
    let (secrets, made) = (Secrets::default(), Vec::new());
    let (is_bao_touched, is_named) = (false, scenario.namespace.is_some());
    let mut run = Run { place, fixtures, objects, names, secrets, marks, made, is_bao_touched, is_named, hook, proxy };
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
        if begun.elapsed() > Duration::from_secs(180) {
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
                let mut applied = Vec::new();
                for object in list.into_vec() {
                    let object = self.manifest(object)?;
                    self.objects.apply(object.clone()).await?;
                    applied.push(object);
                }
                for object in applied {
                    self.is_taken_up(&object).await?;
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
            Step::Patch(step) => {
                self.remember(&step.kind, step.merge.as_ref());
                patch(&self.objects, &step).await
            }
            Step::Delete(it) => self.objects.delete(&it.kind, &it.name, it.namespace.as_deref()).await,
            Step::Together(steps) => self.together(&steps).await,
            Step::Refused(RefusedStep { object: Some(object), saying, .. }) => {
                let object = self.manifest(object)?;
                self.is_refused(&saying, async |it| it.apply(object.clone()).await).await
            }
            Step::Refused(RefusedStep { patch: Some(step), saying, .. }) => {
                self.is_refused(&saying, async |it| patch(it, &step).await).await
            }
            Step::Refused(_) => Err("say which object or patch".to_owned()),
            Step::Expect(it) => self.expect(&it).await,
            Step::Unchanged(it) => self.unchanged(it).await,
            Step::Settle(it) => self.settle(it).await,
            Step::Event(it) => self.event(&it).await,
            Step::Columns(it) => self.columns(&it).await,
            Step::Mark(name) => {
                self.marks.insert(name, Lengths::of(&self.place));
                Ok(())
            }
            Step::Requests(it) => self.requests(&it).await,
            Step::Rolls(it) => self.rolls(&it).await,
            Step::Rolling(it) => self.rolling(&it).await,
            Step::Count(it) => self.number(&it).await,
            Step::Posted(it) => self.posted(&it).await,
            Step::Proxy(it) => {
                self.proxy.as_ref().ok_or("nobody goes over it: no step says $PROXY")?.fail(it.fail, &it.with);
                Ok(())
            }
            Step::Forwarded(it) => self.forwarded(&it).await,
            Step::Helm(it) => self.helm(&it),
            Step::Token(it) => {
                let got = token(&self.objects.client, &self.objects.namespace, &it.account, &it.audiences).await?;
                self.secrets.remember(&Value::String(got.clone()));
                self.names.set(&it.keep, got);
                Ok(())
            }
            Step::Log(it) => self.texts(&it, Self::logged).await,
            Step::Metrics(it) => self.texts(&it, |run| run.place.operators().metrics()).await,
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
            Step::Operator(step) => {
                let namespace = self.objects.namespace.clone();
                self.place.operate(step, &namespace).await
            }
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
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        self.remember(&kind, Some(&object));
        if !Objects::is_namespaced(&kind)? && name.contains(&self.objects.namespace) {
            self.made.push(Object { kind, name, namespace: None });
        }
        Ok(object)
    }

    /// What stands in a Secret must stand nowhere else.
    fn remember(&mut self, kind: &str, object: Option<&Value>) {
        if kind == "Secret" {
            self.secrets.remember(object.map_or(&Value::Null, |it| &it["stringData"]));
        }
    }

    /// Changes that are made at the same time.
    async fn together(&mut self, steps: &[Value]) -> Result<(), String> {
        enum Change {
            Apply(Value),
            Patch(PatchStep),
            Delete(Object),
        }
        let mut changes = Vec::new();
        for step in steps {
            match read_step(step)? {
                Step::Apply(list) => {
                    for object in list.into_vec() {
                        changes.push(Change::Apply(self.manifest(object)?));
                    }
                }
                Step::Patch(it) => {
                    self.remember(&it.kind, it.merge.as_ref());
                    changes.push(Change::Patch(it));
                }
                Step::Delete(it) => changes.push(Change::Delete(it)),
                _ => return Err("only objects are changed together".to_owned()),
            }
        }
        let objects = &self.objects;
        let made = changes.into_iter().map(|change| async move {
            match change {
                Change::Apply(it) => objects.apply(it).await,
                Change::Patch(it) => patch(objects, &it).await,
                Change::Delete(it) => objects.delete(&it.kind, &it.name, it.namespace.as_deref()).await,
            }
        });
        try_join_all(made).await.map(drop)
    }

    /// As `helm upgrade --install CHART`: the release has the name of the chart.
    fn helm(&mut self, step: &HelmStep) -> Result<(), String> {
        let helm = peer("helm").ok_or("there is no helm")?;
        let world = self.place.world();
        let mut command = Command::new(helm);
        command.args(["upgrade", "--install", &step.chart]).arg(self.fixtures.join(&step.chart));
        command.args(["--namespace", &self.objects.namespace]).env("HOME", world.plane.folder());
        command.arg("--kubeconfig").arg(world.plane.kubeconfig());
        for (name, value) in &step.set {
            command.args(["--set-string", &format!("{name}={value}")]);
            self.secrets.remember(&Value::String(value.clone()));
        }
        let output = command.output().map_err(|error| format!("helm: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("helm: {said}")) }
    }

    async fn leaks(&self) -> Result<(), String> {
        let log = self.logged();
        self.secrets.check("the log", &log)?;
        self.secrets.check("the metrics", &self.place.operators().metrics())?;
        // What the API server says of a right that is missing.
        let forbidden = Regex::new("cannot [a-z]+ resource").expect("this is an expression");
        if let Some(line) = log.lines().find(|it| forbidden.is_match(it)) {
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

    /// What the operator's log says of this namespace, or of all.
    fn said(&self) -> String {
        let log = self.logged();
        let of_all = ["serving", "Lease", "the engine"];
        let is_ours = |it: &&str| it.contains(self.names.text("NS")) || of_all.iter().any(|word| it.contains(word));
        let of_us: Vec<&str> = log.lines().filter(is_ours).collect();
        of_us[of_us.len().saturating_sub(12)..].join("\n")
    }

    async fn clean_up(&mut self) {
        // What cannot be deleted is in nobody's way: names are unique, and the plane goes with the tests. What
        // the operator works on goes first, so that it has no cause to complain.
        let others = self.made.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone());
        let namespaces: Vec<String> = others.chain([self.objects.namespace.clone()]).collect();
        for kind in WORKED_ON {
            for namespace in &namespaces {
                drop(self.objects.delete_all(kind, namespace).await);
            }
        }
        // A namespace that goes costs hundreds of requests, and whoever waits for one to go waits for those of all:
        // they stay, but where they would stay for good, or where their name is wanted again.
        let (is_given, is_wanted) = (self.place.world().plane.is_given(), self.is_named);
        if is_given || is_wanted {
            drop(self.objects.delete("Namespace", &self.objects.namespace, None).await);
        }
        for object in self.made.iter().rev().filter(|it| is_given || is_wanted || it.kind != "Namespace") {
            drop(self.objects.delete(&object.kind, &object.name, None).await);
        }
        if let Place::Own(_, own) = &mut self.place {
            *own = None;
        }
        if let Ok(world) = self.place.alone() {
            world.tidy(self.is_bao_touched).await;
        }
    }
}

async fn patch(objects: &Objects, step: &PatchStep) -> Result<(), String> {
    let manager = step.manager.as_deref().unwrap_or("kubectl");
    let object = (step.kind.as_str(), step.name.as_str(), step.namespace.as_deref());
    if let Some(merge) = &step.merge {
        objects.patch(object, manager, false, &Patch::Merge(merge.clone())).await?;
    }
    if let Some(json) = &step.json {
        let json = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        objects.patch(object, manager, false, &Patch::Json(json)).await?;
    }
    if let Some(status) = &step.status {
        objects.patch(object, manager, true, &Patch::Merge(json!({"status": status}))).await?;
    }
    Ok(())
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(1_500) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
