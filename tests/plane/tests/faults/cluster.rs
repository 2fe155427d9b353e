//! A cluster that fails or is fought over: nothing is lost, and nobody is asked too often.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::ListParams;
use kube::api::{DeleteParams, Patch, PatchParams};
use leafseal_plane::{Operator, cluster};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::world::{ES, PATIENCE, VS, World, external_secret, static_secret, within};

/// A Deployment that reloads for the Secret of its name.
fn reloading(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"reloader.stakater.com/auto": "true"}},
        "spec": {
            "selector": {"matchLabels": {"app": name}}, "replicas": 1, "revisionHistoryLimit": 50,
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "web", "envFrom": [{"secretRef": {"name": name}}]}]},
            },
        },
    })
}

/// Waits until a [reloading] Deployment says that it knows what its Secret is to hold.
async fn knows(world: &World, namespace: &str, name: &str, password: &str) {
    let digest: String = Sha1::digest(format!("password={password}")).iter().map(|it| format!("{it:02x}")).collect();
    let api = world.api(namespace, "apps/v1", "Deployment");
    let knows = async || {
        let Ok(held) = api.get(name).await else { return false };
        let env = &held.data["spec"]["template"]["spec"]["containers"][0]["env"];
        env.as_array().is_some_and(|it| it.iter().any(|it| it["value"] == digest))
    };
    if !within(PATIENCE, knows).await {
        let held = api.get(name).await.map(|it| json!({"metadata": it.metadata, "spec": it.data["spec"]["template"]}));
        let source = world.secrets(namespace).get(name).await.map(|it| json!(it.metadata));
        panic!("{name} was not rolled: {held:?}\nof {source:?}\n{}", world.last_lines());
    }
}

/// How many templates of pods a Deployment has had.
async fn templates(world: &World, namespace: &str, name: &str) -> usize {
    let labels = ListParams::default().labels(&format!("app={name}"));
    let all = world.api(namespace, "apps/v1", "ReplicaSet").list(&labels).await.expect("the plane answers");
    all.items.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_stands_still_or_starts_anew_loses_nothing() {
    let Some(mut world) = World::start().await else { return };
    let namespace = world.namespace("api", &world.bao.address()).await;
    const N: usize = 30;
    let write = |world: &World, round: usize| {
        (0..N).for_each(|n| world.write(&format!("key-{n}"), &format!("round-{round}-of-{n}")));
    };
    let arrive = async |world: &World, round: usize| {
        for n in 0..N {
            world.arrives(&namespace, &format!("es-{n}"), &format!("round-{round}-of-{n}")).await;
            world.arrives(&namespace, &format!("vss-{n}"), &format!("round-{round}-of-{n}")).await;
        }
    };
    write(&world, 0);
    for n in 0..N {
        world.apply(&namespace, external_secret(&format!("es-{n}"), "vault", &format!("key-{n}"), "2s")).await;
        world.apply(&namespace, static_secret(&format!("vss-{n}"), &format!("key-{n}"), "2s")).await;
    }
    let operator = Operator::start(&world.plane, &[]).await;
    arrive(&world, 0).await;
    for n in (0..N).step_by(3) {
        world.apply(&namespace, reloading(&format!("es-{n}"))).await;
    }
    let reloaded = async |world: &World, round: usize| {
        for n in (0..N).step_by(3) {
            let (name, password) = (format!("es-{n}"), format!("round-{round}-of-{n}"));
            if round > 0 {
                knows(world, &namespace, &name, &password).await;
            }
            let is_made = async || templates(world, &namespace, &name).await > round;
            assert!(within(PATIENCE, is_made).await, "{name} has no pods");
        }
    };
    reloaded(&world, 0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;

    // Its store stands still in the middle of writes, longer than a Lease lasts.
    write(&world, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.plane.pause_etcd(true);
    tokio::time::sleep(Duration::from_secs(18)).await;
    world.plane.pause_etcd(false);
    arrive(&world, 1).await;
    reloaded(&world, 1).await;

    // It dies in the middle of writes.
    write(&world, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.plane.stop_apiserver();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.plane.restart_apiserver().await;
    arrive(&world, 2).await;
    reloaded(&world, 2).await;
    // And it is followed again: what somebody does to a Secret is undone.
    let wrong = Patch::Merge(json!({"stringData": {"password": "wrong"}}));
    let patched = world.secrets(&namespace).patch("vss-0", &PatchParams::default(), &wrong).await;
    patched.expect("it is there");
    world.arrives(&namespace, "vss-0", "round-2-of-0").await;
    for n in (0..N).step_by(3) {
        let templates = templates(&world, &namespace, &format!("es-{n}")).await;
        assert_eq!(templates, 3, "es-{n} was rolled once for each change");
    }
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_and_namespaces_come_and_go() {
    let Some(world) = World::start().await else { return };
    let stays = world.namespace("stays", &world.bao.address()).await;
    let goes = world.namespace("goes", &world.bao.address()).await;
    world.write("app", "password-that-stays");
    for namespace in [&stays, &goes] {
        for n in 0..5 {
            let mut es = external_secret(&format!("es-{n}"), "vault", "app", "2s");
            if n == 0 {
                es["spec"]["target"] = json!({"deletionPolicy": "Delete"});
            }
            world.apply(namespace, es).await;
            world.apply(namespace, static_secret(&format!("vss-{n}"), "app", "2s")).await;
        }
    }
    let operator = Operator::start(&world.plane, &[]).await;
    for name in ["es-0", "es-4", "vss-0", "vss-4"] {
        world.arrives(&stays, name, "password-that-stays").await;
        world.arrives(&goes, name, "password-that-stays").await;
    }
    world.delete("", "v1", "Namespace", &goes).await;
    let is_gone = async || world.api("", "v1", "Namespace").get_opt(&goes).await.is_ok_and(|it| it.is_none());
    assert!(within(PATIENCE, is_gone).await, "the namespace stays\n{}", world.last_lines());

    // The kinds of a family go, and come again; the other family does not notice.
    let definitions = "apiextensions.k8s.io/v1";
    let gone = ["externalsecrets", "secretstores", "clustersecretstores"];
    let definition = world.api("", definitions, "CustomResourceDefinition");
    for it in gone {
        let name = format!("{it}.external-secrets.io");
        definition.delete(&name, &DeleteParams::default()).await.expect("it is there");
    }
    for it in gone {
        let name = format!("{it}.external-secrets.io");
        let is_gone = async || definition.get_opt(&name).await.is_ok_and(|it| it.is_none());
        assert!(within(PATIENCE, is_gone).await, "{name} stays\n{}", world.last_lines());
    }
    world.write("app", "password-meanwhile");
    world.arrives(&stays, "vss-0", "password-meanwhile").await;
    Operator::install(&world.plane).await;
    world.furnish(&stays, &world.bao.address()).await;
    world.apply(&stays, external_secret("es-0", "vault", "app", "2s")).await;
    world.arrives_within(PATIENCE, &stays, "es-0", "password-meanwhile").await;
    world.write("app", "password-afterwards");
    world.arrives(&stays, "es-0", "password-afterwards").await;
    world.arrives(&stays, "vss-0", "password-afterwards").await;
    let again = cluster::namespace(world.client.clone(), "again").await;
    world.furnish(&again, &world.bao.address()).await;
    world.apply(&again, external_secret("es", "vault", "app", "2s")).await;
    world.arrives(&again, "es", "password-afterwards").await;
    world.nothing_leaked(&[&stays, &again]).await;
    drop(operator);
}

/// How many requests operators made that name a Secret.
fn requests(world: &World, name: &str) -> usize {
    let audit = fs::read_to_string(world.plane.audit()).expect("the API server writes it down");
    audit
        .lines()
        .filter(|it| it.contains("\"resource\":\"secrets\"") && it.contains(&format!("\"name\":\"{name}\"")))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fights_over_a_secret_gets_no_storm() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("fight", &world.bao.address()).await;
    world.write("app", "password-in-the-fight");
    for (name, refresh) in [("es", "1s"), ("calm-es", "1s")] {
        world.apply(&namespace, external_secret(name, "vault", "app", refresh)).await;
    }
    for name in ["vss", "calm-vss"] {
        world.apply(&namespace, static_secret(name, "app", "1s")).await;
    }
    let operator = Operator::start(&world.plane, &[]).await;
    for name in ["es", "vss", "calm-es", "calm-vss"] {
        world.arrives(&namespace, name, "password-in-the-fight").await;
    }
    let is_over = AtomicBool::new(false);
    let fight = async {
        let mut n = 0;
        while !is_over.load(Ordering::Relaxed) {
            n += 1;
            let change =
                json!({"metadata": {"annotations": {"fight": n.to_string()}}, "stringData": {"password": "wrong"}});
            for name in ["es", "vss"] {
                // It may be gone for a moment.
                drop(world.secrets(&namespace).patch(name, &PatchParams::default(), &Patch::Merge(&change)).await);
            }
            let status = json!({"status": {"conditions": []}});
            for (version, kind, name) in [(ES, "ExternalSecret", "es"), (VS, "VaultStaticSecret", "vss")] {
                let api = world.api(&namespace, version, kind);
                drop(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await);
            }
        }
        n
    };
    let watch = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.write("app", "password-during-the-fight");
        for name in ["calm-es", "calm-vss"] {
            world.arrives(&namespace, name, "password-during-the-fight").await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (n_blows, ()) = tokio::join!(fight, watch);
    for name in ["es", "vss"] {
        world.arrives(&namespace, name, "password-during-the-fight").await;
        // Each blow is worth a look and a write, and no more.
        let n_requests = requests(&world, name);
        assert!(n_requests < 6 * n_blows + 100, "{name}: {n_requests} requests after {n_blows} blows");
    }

    // A Secret that cannot go, because somebody holds it: its type cannot change until they let go.
    let finalizer = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/held"]}}));
    world.secrets(&namespace).patch("calm-vss", &PatchParams::default(), &finalizer).await.expect("it is there");
    let mut vss = static_secret("calm-vss", "app", "1h");
    vss["spec"]["destination"]["type"] = json!("example.com/other");
    world.apply(&namespace, vss).await;
    world.fails(&namespace, VS, "VaultStaticSecret", "calm-vss").await;
    let before = requests(&world, "calm-vss");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let n_requests = requests(&world, "calm-vss") - before;
    assert!(n_requests < 150, "{n_requests} requests in ten seconds");
    let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.secrets(&namespace).patch("calm-vss", &PatchParams::default(), &freed).await.expect("it is there");
    let is_new = async || {
        let secret = world.secrets(&namespace).get_opt("calm-vss").await.ok().flatten();
        secret.is_some_and(|it| it.type_.as_deref() == Some("example.com/other"))
    };
    let is_so = within(PATIENCE, is_new).await;
    assert!(is_so, "{}\n{}", world.statuses(&namespace).await, world.last_lines());
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_the_moment_of_a_report_are_not_lost() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("moment", &world.bao.address()).await;
    world.write("one", "password-number-one");
    world.write("two", "password-number-two");
    let operator = Operator::start(&world.plane, &[]).await;
    const N: usize = 20;
    for n in 0..N {
        world.apply(&namespace, external_secret(&format!("es-{n}"), "vault", "one", "1h")).await;
        world.apply(&namespace, static_secret(&format!("vss-{n}"), "one", "1h")).await;
    }
    for round in 0..6 {
        let key = if round % 2 == 0 { "two" } else { "one" };
        let each = (0..N).map(async |n| {
            tokio::time::sleep(Duration::from_millis(n as u64 % 7 * 9)).await;
            world.apply(&namespace, external_secret(&format!("es-{n}"), "vault", key, "1h")).await;
            world.apply(&namespace, static_secret(&format!("vss-{n}"), key, "1h")).await;
        });
        futures::future::join_all(each).await;
    }
    for n in 0..N {
        world.arrives(&namespace, &format!("es-{n}"), "password-number-one").await;
        world.arrives(&namespace, &format!("vss-{n}"), "password-number-one").await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for n in 0..N {
        for name in [format!("es-{n}"), format!("vss-{n}")] {
            assert_eq!(world.password(&namespace, &name).await.as_deref(), Some("password-number-one"), "{name}");
        }
    }
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}
