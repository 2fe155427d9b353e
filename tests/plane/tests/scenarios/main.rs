//! Runs the scenarios of `tests/plane/scenarios` with the built operator, a real control plane and OpenBao.
//! The README there says how they are written.

mod compare;
mod hook;
mod leaks;
mod names;
mod objects;
mod proxy;
mod run;
mod scenario;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use leafseal_plane::ControlPlane;
use leafseal_tests::{Trials, not_run, peer, workspace};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};

use crate::run::Place;
use crate::scenario::Scenario;
use crate::world::World;

/// How many scenarios share a world at once: they wait nearly all the time.
const SIDE_BY_SIDE: usize = 12;

/// How long one scenario may take, with all that it waits for.
const PATIENCE: Duration = Duration::from_secs(600);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can be started"));

/// The world that scenarios share, and those in which one at a time is alone.
static SHARED: OnceCell<RwLock<Option<World>>> = OnceCell::const_new();
/// That of scenarios with operators of their own.
static UNSERVED: OnceCell<RwLock<Option<World>>> = OnceCell::const_new();
static ALONE: [OnceCell<RwLock<Option<World>>>; 2] = [const { OnceCell::const_new() }; 2];
/// How many have asked for a world of their own: they take turns.
static LONERS: AtomicUsize = AtomicUsize::new(0);
static TURNS: Semaphore = Semaphore::const_new(SIDE_BY_SIDE);

fn main() {
    let folder = workspace().join("tests/plane/scenarios");
    let mut cases: Vec<Case> = Vec::new();
    let mut covered = BTreeMap::<String, BTreeSet<String>>::new();
    for family in ["external-secrets", "vault-secrets", "reload", "seeds"] {
        for (name, path) in files(&folder.join(family)) {
            let name = format!("{family}/{name}");
            match scenario::read(&path) {
                Ok(scenario) => {
                    covered.entry(family.to_owned()).or_default().extend(scenario.cases.iter().cloned());
                    cases.extend(cases_of(&name, scenario, &folder));
                }
                Err(error) => cases.push(Case { is_alone: false, name, body: Box::new(|| Err(error)) }),
            }
        }
    }
    // Those that wait for each other begin first.
    cases.sort_by(|a, b| b.is_alone.cmp(&a.is_alone).then_with(|| a.name.cmp(&b.name)));
    let mut trials = Trials::default();
    for case in cases {
        trials.add(case.name, case.body);
    }
    let wanted = folder.join("cases.yaml");
    trials.add("every case that must be shown has a scenario", move || missing(&wanted, &covered));
    trials.run_at_once(|| RUNTIME.block_on(end()));
}

/// A scenario in one version.
struct Case {
    is_alone: bool,
    name: String,
    body: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

/// Ends what was started, and removes its folders.
async fn end() {
    for world in ALONE.iter().chain([&SHARED, &UNSERVED]) {
        if let Some(world) = world.get() {
            drop(world.write().await.take());
        }
    }
}

fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder).expect("the scenarios are there").flatten().map(|it| it.path());
    let files = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml"));
    files.map(|it| (it.file_stem().unwrap_or_default().to_string_lossy().into_owned(), it)).collect()
}

/// One case for each version of External Secrets that a scenario is for.
fn cases_of(name: &str, scenario: Scenario, folder: &Path) -> Vec<Case> {
    let versions = match scenario.versions.as_slice() {
        [] if name.starts_with("external-secrets/") => vec!["v1".to_owned(), "v1beta1".to_owned()],
        [] => vec![String::new()],
        given => given.to_vec(),
    };
    let (scenario, fixtures) = (Arc::new(scenario), folder.join("fixtures"));
    let case = |version: String| {
        let name = if version.is_empty() { name.to_owned() } else { format!("{name} as {version}") };
        let version = if version.is_empty() { "v1".to_owned() } else { version };
        let is_alone = scenario.alone;
        let (scenario, fixtures) = (scenario.clone(), fixtures.clone());
        let body = move || RUNTIME.block_on(go(&scenario, &version, &fixtures));
        Case { is_alone, name, body: Box::new(body) }
    };
    versions.into_iter().map(case).collect()
}

async fn go(scenario: &Scenario, version: &str, fixtures: &Path) -> Result<(), String> {
    // Each scenario that cannot be run says so.
    let is_given = std::env::var_os(ControlPlane::GIVEN).is_some() && !scenario.alone && !scenario.own;
    if (!is_given && peer("kube-apiserver").is_none()) || peer("bao").is_none() {
        return Ok(());
    }
    let start = async |is_own, is_served| RwLock::new(World::start(is_own, is_served).await);
    if scenario.alone {
        let world = &ALONE[LONERS.fetch_add(1, Ordering::Relaxed) % ALONE.len()];
        let world =
            RwLockWriteGuard::try_map(world.get_or_init(|| start(true, true)).await.write().await, Option::as_mut);
        let Ok(world) = world else { return Ok(()) };
        in_time(run::run(Place::Alone(world), scenario, version, fixtures)).await
    } else {
        // On a cluster that is given those of the shared world serve everybody.
        let world = match scenario.own {
            true => UNSERVED.get_or_init(|| start(true, false)).await,
            false => SHARED.get_or_init(|| start(false, true)).await,
        };
        let _turn = TURNS.acquire().await.map_err(|error| error.to_string())?;
        let Ok(world) = RwLockReadGuard::try_map(world.read().await, Option::as_ref) else { return Ok(()) };
        if world.plane.is_given() && scenario.counts_requests_to_the_cluster() {
            not_run("a cluster that is given does not tell what it was asked");
            return Ok(());
        }
        let place = if scenario.own { Place::Own(world, None) } else { Place::Shared(world) };
        in_time(run::run(place, scenario, version, fixtures)).await
    }
}

/// A scenario that hangs keeps no other waiting for ever.
async fn in_time(run: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| Err(format!("it has not ended within {PATIENCE:?}")))
}

/// Fails with the cases of `cases.yaml` that have neither a scenario nor another place where they are shown.
fn missing(cases: &Path, covered: &BTreeMap<String, BTreeSet<String>>) -> Result<(), String> {
    let wanted: BTreeMap<String, BTreeMap<String, Option<String>>> =
        serde_json::from_value(scenario::read_yaml(cases)?).map_err(|error| error.to_string())?;
    let mut complaints = Vec::new();
    for (family, cases) in wanted {
        for (case, elsewhere) in cases {
            let has_scenario = covered.get(&family).is_some_and(|it| it.contains(&case));
            if !has_scenario && elsewhere.is_none() {
                complaints.push(format!("{family} {case} has no scenario"));
            }
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}
