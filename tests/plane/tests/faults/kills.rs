//! Operators that end at any moment: every value arrives, nothing is written twice, nothing restarts too often.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use leafseal_plane::Operator;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, external_secret, static_secret, within};

/// Leases that are taken over soon.
fn quick() -> Vec<String> {
    ["--lease-duration=3s", "--renew-deadline=2s", "--retry-period=400ms"].map(str::to_owned).to_vec()
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "web"}]}},
    }})
}

async fn generation(world: &World, namespace: &str, name: &str) -> i64 {
    let found = world.api(namespace, "apps/v1", "Deployment").get(name).await.expect("it is there");
    found.metadata.generation.expect("it counts")
}

/// What operators asked the API server to do to a workload and to the object that restarts it, what it is now, and
/// what they said.
async fn changes(world: &World, namespace: &str, n: usize) -> String {
    let names = [format!("web-{n}"), format!("vss-{n}")];
    let audit = fs::read_to_string(world.plane.audit()).expect("the API server writes it down");
    let mut story = Vec::new();
    for it in audit.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok()) {
        let (at, verb) = (&it["objectRef"], it["verb"].as_str().unwrap_or_default());
        if at["namespace"] == namespace && names.iter().any(|it| at["name"] == **it) && verb != "get" {
            let (begun, ended, code) =
                (&it["requestReceivedTimestamp"], &it["stageTimestamp"], &it["responseStatus"]["code"]);
            let pod = &it["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
            let (what, part) = (&at["resource"], &at["subresource"]);
            story.push(format!("{begun} to {ended}: {verb} {what} {part} {} by {pod}: {code}", at["name"]));
        }
    }
    let template = world.api(namespace, "apps/v1", "Deployment").get(&names[0]).await.map(|it| it.data["spec"].clone());
    format!("{}\n{template:?}\n{}", story.join("\n"), world.last_lines())
}

fn as_generation(n: usize) -> i64 {
    i64::try_from(n).expect("it is small")
}

/// How many objects of each family there are, and how many of the latter restart a workload.
const N: usize = 25;
const N_WORKLOADS: usize = 8;

async fn populate(world: &World, namespace: &str) {
    for n in 0..N {
        world.write(&format!("key-{n}"), &format!("round-0-of-{n}"));
        world.apply(namespace, external_secret(&format!("es-{n}"), "vault", &format!("key-{n}"), "1s")).await;
        let mut vss = static_secret(&format!("vss-{n}"), &format!("key-{n}"), "1s");
        if n < N_WORKLOADS {
            world.apply(namespace, deployment(&format!("web-{n}"))).await;
            vss["spec"]["rolloutRestartTargets"] = json!([{"kind": "Deployment", "name": format!("web-{n}")}]);
        }
        world.apply(namespace, vss).await;
    }
}

async fn all_arrive(world: &World, namespace: &str, round: usize) {
    for n in 0..N {
        world.arrives(namespace, &format!("es-{n}"), &format!("round-{round}-of-{n}")).await;
        world.arrives(namespace, &format!("vss-{n}"), &format!("round-{round}-of-{n}")).await;
    }
}

/// How often each Secret of a namespace was written by operators.
fn writes(world: &World, namespace: &str) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    let audit = fs::read_to_string(world.plane.audit()).expect("the API server writes it down");
    for line in audit.lines() {
        let Ok(it) = serde_json::from_str::<Value>(line) else { continue };
        let at = &it["objectRef"];
        let is_write = ["create", "update", "patch", "delete"].iter().any(|verb| it["verb"] == *verb);
        let is_done = it["responseStatus"]["code"].as_u64().is_some_and(|it| it < 300);
        if at["resource"] == "secrets" && at["namespace"] == namespace && is_write && is_done {
            let name = at["name"].as_str().unwrap_or_default();
            *writes.entry(name.to_owned()).or_default() += 1;
        }
    }
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_loses_nothing_and_restarts_nothing_twice() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("kills", &world.bao.address()).await;
    populate(&world, &namespace).await;
    let operator = Operator::start(&world.plane, &quick()).await;
    all_arrive(&world, &namespace, 0).await;
    operator.kill();
    let mut before = Vec::new();
    for n in 0..N_WORKLOADS {
        before.push(generation(&world, &namespace, &format!("web-{n}")).await);
    }
    // Taking over takes three seconds: these are moments before, while and after all are written.
    const ROUNDS: usize = 8;
    for round in 1..=ROUNDS {
        for n in 0..N {
            world.write(&format!("key-{n}"), &format!("round-{round}-of-{n}"));
        }
        let operator = Operator::start(&world.plane, &quick()).await;
        let is_one_there =
            async || world.password(&namespace, "vss-0").await.as_deref() == Some(&*format!("round-{round}-of-0"));
        within(Duration::from_secs(10), is_one_there).await;
        tokio::time::sleep(Duration::from_millis(60 * round as u64)).await;
        if round % 3 == 0 {
            drop(operator)
        } else {
            operator.kill()
        }
        for n in 0..N {
            for name in [format!("es-{n}"), format!("vss-{n}")] {
                let is_whole =
                    world.password(&namespace, &name).await.is_some_and(|it| it.ends_with(&format!("-of-{n}")));
                assert!(is_whole, "{name} was wiped in round {round}");
            }
        }
    }
    let operator = Operator::start(&world.plane, &quick()).await;
    all_arrive(&world, &namespace, ROUNDS).await;
    for (n, before) in before.iter().enumerate() {
        let name = format!("web-{n}");
        let is_restarted = async || generation(&world, &namespace, &name).await > *before;
        assert!(within(PATIENCE, is_restarted).await, "{name} never restarted\n{}", world.last_lines());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (n, before) in before.iter().enumerate() {
        let restarts = generation(&world, &namespace, &format!("web-{n}")).await - before;
        let n_most = as_generation(ROUNDS);
        assert!(restarts <= n_most, "web-{n} restarted {restarts} times:\n{}", changes(&world, &namespace, n).await);
    }
    // Each Secret was written once for each value at most, and once to be made.
    for (name, n_writes) in writes(&world, &namespace) {
        assert!(n_writes <= ROUNDS + 1, "{name} was written {n_writes} times");
    }
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_the_last_write_is_not_forgotten() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("between", &world.bao.address()).await;
    populate(&world, &namespace).await;
    let operator = Operator::start(&world.plane, &quick()).await;
    all_arrive(&world, &namespace, 0).await;
    operator.kill();
    for n in 0..N {
        world.write(&format!("key-{n}"), &format!("round-1-of-{n}"));
    }
    let mut before = Vec::new();
    for n in 0..N_WORKLOADS {
        before.push(generation(&world, &namespace, &format!("web-{n}")).await);
    }
    // Killed as soon as one is written: some were written, some told, some restarted.
    let operator = Operator::start(&world.plane, &quick()).await;
    let is_one_there = async || {
        for n in 0..N_WORKLOADS {
            if world.password(&namespace, &format!("vss-{n}")).await.as_deref() == Some(&*format!("round-1-of-{n}")) {
                return true;
            }
        }
        false
    };
    assert!(within(PATIENCE, is_one_there).await, "nothing is written\n{}", world.last_lines());
    operator.kill();
    let operator = Operator::start(&world.plane, &quick()).await;
    all_arrive(&world, &namespace, 1).await;
    for (n, before) in before.iter().enumerate() {
        let name = format!("web-{n}");
        let is_restarted = async || generation(&world, &namespace, &name).await > *before;
        assert!(within(PATIENCE, is_restarted).await, "{name} does not restart\n{}", world.last_lines());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (n, before) in before.iter().enumerate() {
        let restarts = generation(&world, &namespace, &format!("web-{n}")).await - before;
        assert_eq!(restarts, 1, "web-{n}:\n{}", changes(&world, &namespace, n).await);
    }
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_one_takes_over_from_another_is_written_once() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("relay", &world.bao.address()).await;
    populate(&world, &namespace).await;
    let first = Operator::start_as(&world.plane, "leafseal-operator-a", &quick()).await;
    all_arrive(&world, &namespace, 0).await;
    let mut waiting = Operator::start_as(&world.plane, "leafseal-operator-b", &quick()).await;
    let mut acting = first;
    const ROUNDS: usize = 4;
    for round in 1..=ROUNDS {
        for n in 0..N {
            world.write(&format!("key-{n}"), &format!("round-{round}-of-{n}"));
            if n == N / 2 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        }
        // Ended in order, or not; the other one takes over.
        if round % 2 == 0 {
            acting.kill()
        } else {
            drop(acting)
        }
        acting = waiting;
        all_arrive(&world, &namespace, round).await;
        // What is owed for one value and not yet done is done once with what is owed for the next.
        for n in 0..N_WORKLOADS {
            let name = format!("web-{n}");
            let restarts = async || generation(&world, &namespace, &name).await - 1;
            let is_restarted = within(PATIENCE, async || restarts().await >= as_generation(round)).await;
            assert!(is_restarted, "{name} does not restart for round {round}\n{}", world.last_lines());
        }
        let name = if round % 2 == 0 { "leafseal-operator-b" } else { "leafseal-operator-a" };
        waiting = Operator::start_as(&world.plane, name, &quick()).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (name, n_writes) in writes(&world, &namespace) {
        assert!(n_writes <= ROUNDS + 1, "{name} was written {n_writes} times");
    }
    for n in 0..N_WORKLOADS {
        let restarts = generation(&world, &namespace, &format!("web-{n}")).await - 1;
        if restarts != as_generation(ROUNDS) {
            panic!("web-{n} restarts {restarts} times:\n{}", changes(&world, &namespace, n).await);
        }
    }
    world.nothing_leaked(&[&namespace]).await;
    drop((acting, waiting));
}
