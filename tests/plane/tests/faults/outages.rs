//! Stores that fail: the last good Secret stays, nobody else waits, and what comes back is noticed.

use std::time::{Duration, Instant};

use leafseal_plane::certificates::Authority;
use leafseal_plane::{OpenBao, Operator};
use serde_json::{Value, json};

use crate::vault::{Mood, Moody};
use crate::world::{ES, PATIENCE, VS, World, external_secret, static_secret, store, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_hang_hold_up_nobody_else() {
    let Some(world) = World::start().await else { return };
    let silent: Vec<Moody> = (0..3).map(|_| Moody::start(Mood::Fine("early"))).collect();
    let fine = world.namespace("fine", &world.bao.address()).await;
    let stuck = world.namespace("stuck", &silent[0].address()).await;
    for (n, it) in silent.iter().enumerate() {
        world.apply(&stuck, store(&format!("silent-{n}"), &it.address())).await;
    }
    let operator = Operator::start(&world.plane, &[]).await;
    for n in 0..3 {
        let name = format!("silent-{n}");
        let is_ready = async || world.ready(&stuck, ES, "SecretStore", &name).await.is_some_and(|it| it.0);
        assert!(within(PATIENCE, is_ready).await, "{}", world.last_lines());
    }
    silent.iter().for_each(|it| it.be(Mood::Silent));
    // More of them than are worked on at once, from each store; and the same of the other family.
    for n in 0..50 {
        for m in 0..3 {
            let es = external_secret(&format!("es-{m}-{n}"), &format!("silent-{m}"), &format!("key-{n}"), "1h");
            world.apply(&stuck, es).await;
        }
        world.apply(&stuck, static_secret(&format!("vss-{n}"), &format!("key-{n}"), "1h")).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.write("app", "password-of-the-fine");
    for n in 0..10 {
        world.apply(&fine, external_secret(&format!("es-{n}"), "vault", "app", "5s")).await;
        world.apply(&fine, static_secret(&format!("vss-{n}"), "app", "5s")).await;
    }
    // A request that hangs is given up after a minute: whoever had to wait until all of them are would wait for many.
    for n in 0..10 {
        world.arrives(&fine, &format!("es-{n}"), "password-of-the-fine").await;
        world.arrives(&fine, &format!("vss-{n}"), "password-of-the-fine").await;
    }

    // The end is not held up either.
    let begun = Instant::now();
    drop(operator);
    assert!(begun.elapsed() < Duration::from_secs(45), "it ends in {:?}", begun.elapsed());

    // They come back, and so does everybody who reads from them.
    silent.iter().for_each(|it| it.be(Mood::Fine("late")));
    let operator = Operator::start(&world.plane, &[]).await;
    for n in 0..50 {
        for m in 0..3 {
            world.arrives(&stuck, &format!("es-{m}-{n}"), "late").await;
        }
        world.arrives(&stuck, &format!("vss-{n}"), "late").await;
    }
    world.nothing_leaked(&[&fine]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_secret_outlives_every_fault() {
    let Some(world) = World::start().await else { return };
    let vault = Moody::start(Mood::Fine("good-password"));
    let namespace = world.namespace("moody", &vault.address()).await;
    world.apply(&namespace, external_secret("es", "vault", "app", "1s")).await;
    world.apply(&namespace, static_secret("vss", "app", "1s")).await;
    // Even where nothing would mean that the Secret goes.
    let mut deleting = external_secret("deleting", "vault", "app", "1s");
    deleting["spec"]["target"] = json!({"deletionPolicy": "Delete"});
    world.apply(&namespace, deleting).await;
    let operator = Operator::start(&world.plane, &["--backoff-limit=4s".to_owned()]).await;
    let all = [("ExternalSecret", ES, "es"), ("ExternalSecret", ES, "deleting"), ("VaultStaticSecret", VS, "vss")];
    for (_, _, name) in all {
        world.arrives(&namespace, name, "good-password").await;
    }
    let good = [
        "first-good-password",
        "second-good-password",
        "third-good-password",
        "fourth-good-password",
        "fifth-good-password",
        "sixth-good-password",
        "seventh-good-password",
        "eighth-good-password",
    ];
    let say = |status, headers, text: &str| Mood::Saying(status, headers, text.to_owned());
    let leak = r#"{"errors":["sealed"],"data":{"data":{"password":"leaked-password"}}}"#;
    let moods = [
        Mood::Closing,
        Mood::Halving,
        say(200, "", "<html>leaked-password</html>"),
        say(200, "", r#"{"data":{"data":"leaked-password"}}"#),
        say(403, "", leak),
        say(429, "retry-after: 1\r\n", leak),
        say(503, "", leak),
        say(500, "", "leaked-password"),
    ];
    let mut last = "good-password";
    for (mood, next) in moods.into_iter().zip(good) {
        let what = format!("{mood:?}");
        vault.be(mood);
        for (kind, version, name) in all {
            let is_unwell = async || world.ready(&namespace, version, kind, name).await.is_some_and(|it| !it.0);
            assert!(within(PATIENCE, is_unwell).await, "{what}: {kind} {name} is still well\n{}", world.last_lines());
            assert_eq!(world.password(&namespace, name).await.as_deref(), Some(last), "{what}: {kind} {name}");
        }
        vault.be(Mood::Fine(next));
        for (_, _, name) in all {
            world.arrives(&namespace, name, next).await;
        }
        last = next;
    }
    let said = world.statuses(&namespace).await;
    assert!(!said.contains("leaked-password") && !said.contains("good-password"), "{said}");
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_to_be_left_alone_is_left_alone() {
    let Some(world) = World::start().await else { return };
    let vault = Moody::start(Mood::Fine("calm"));
    let namespace = world.namespace("busy", &vault.address()).await;
    world.apply(&namespace, external_secret("es", "vault", "app", "1s")).await;
    let operator = Operator::start(&world.plane, &[]).await;
    world.arrives(&namespace, "es", "calm").await;
    let since = Instant::now();
    vault.be(Mood::Saying(429, "retry-after: 15\r\n", r#"{"errors":["quota"]}"#.to_owned()));
    world.fails(&namespace, ES, "ExternalSecret", "es").await;
    // When it was asked is noted where it is asked: whoever is slow comes later, not more often.
    let asked = || vault.asked().into_iter().filter(|it| *it > since).collect::<Vec<_>>();
    let until = asked()[0] + Duration::from_secs(15);
    assert!(within(PATIENCE, async || asked().last().is_some_and(|it| *it >= until)).await, "it is asked no more");
    let meanwhile = asked().into_iter().filter(|it| *it < until).count() - 1;
    assert!(meanwhile <= 1, "it is asked {meanwhile} times meanwhile");
    vault.be(Mood::Fine("calm again"));
    world.arrives(&namespace, "es", "calm again").await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_sealed_emptied_or_gone_comes_back() {
    let Some(mut world) = World::start().await else { return };
    let namespace = world.namespace("sealed", &world.bao.address()).await;
    const N: usize = 60;
    world.write("app", "password-before");
    for n in 0..N {
        world.apply(&namespace, external_secret(&format!("es-{n}"), "vault", "app", "2s")).await;
        world.apply(&namespace, static_secret(&format!("vss-{n}"), "app", "2s")).await;
    }
    let operator = Operator::start(&world.plane, &[]).await;
    let arrive = async |world: &World, password: &str| {
        for n in 0..N {
            world.arrives(&namespace, &format!("es-{n}"), password).await;
            world.arrives(&namespace, &format!("vss-{n}"), password).await;
        }
    };
    arrive(&world, "password-before").await;

    // Sealed long enough that everybody failed more than once.
    world.bao.ask("POST", "sys/seal", None);
    world.fails(&namespace, ES, "ExternalSecret", "es-0").await;
    world.fails(&namespace, VS, "VaultStaticSecret", "vss-0").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for n in 0..N {
        for name in [format!("es-{n}"), format!("vss-{n}")] {
            assert_eq!(world.password(&namespace, &name).await.as_deref(), Some("password-before"), "{name}");
        }
    }
    world.bao.unseal();
    world.write("app", "password-after");
    arrive(&world, "password-after").await;

    // Soft-deleted: what it was stays.
    world.bao.ask("DELETE", "secret/data/app", None);
    tokio::time::sleep(Duration::from_secs(8)).await;
    for name in ["es-0", "vss-0"] {
        assert_eq!(world.password(&namespace, name).await.as_deref(), Some("password-after"), "{name}");
    }
    world.bao.write("secret/undelete/app", &json!({"versions": [2]}));
    world.write("app", "password-again");
    arrive(&world, "password-again").await;

    // Gone, and back empty: nothing is wiped.
    world.bao.stop();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.bao.restart();
    tokio::time::sleep(Duration::from_secs(8)).await;
    for name in ["es-0", "vss-0"] {
        assert_eq!(world.password(&namespace, name).await.as_deref(), Some("password-again"), "{name}");
    }
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_one_object_is_said_on_it_alone() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("bad", &world.bao.address()).await;
    world.write("app", "password-of-the-good");
    let hidden = "zebra-hidden-value!!";
    world.write("hidden", hidden);
    world.bao.write(
        "secret/data/odd",
        &json!({"data": {"password": {"a": [1, 2]}, "bad key!": "x", "n": 12345678901234567890_u64}}),
    );
    let large = "v".repeat(700_000);
    world.bao.write("secret/data/large", &json!({"data": {"a": large, "b": large}}));
    let es = |name: &str, spec: Value| {
        let mut object = external_secret(name, "vault", "app", "1h");
        let fields = object["spec"].as_object_mut().expect("it is one");
        for (field, value) in spec.as_object().expect("it is one") {
            fields.insert(field.clone(), value.clone());
        }
        object
    };
    let bad_es = [
        es("no-store", json!({"secretStoreRef": {"name": "nowhere"}})),
        es("no-key", json!({"data": [{"secretKey": "password", "remoteRef": {"key": "nothing-here"}}]})),
        es("odd-keys", json!({"data": [], "dataFrom": [{"extract": {"key": "odd", "conversionStrategy": "None"}}]})),
        es("too-large", json!({"data": [], "dataFrom": [{"extract": {"key": "large"}}]})),
        es("bad-template", json!({"target": {"template": {"data": {"x": "{{ .nothing | b0rken }}"}}}})),
        es(
            "bad-label",
            json!({
                "data": [{"secretKey": "password", "remoteRef": {"key": "hidden", "property": "password"}}],
                "target": {"template": {"metadata": {"labels": {"team": "{{ .password }}"}}, "data": {"p": "{{ .password }}"}}},
            }),
        ),
        es("bad-name", json!({"target": {"name": "Not_A_Name"}})),
        es("bad-type", json!({"target": {"template": {"type": "kubernetes.io/tls", "data": {"x": "y"}}}})),
        es("service-token", json!({"target": {"template": {"type": "kubernetes.io/service-account-token"}}})),
    ];
    world
        .apply(
            &namespace,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "immutable"},
            "immutable": true, "stringData": {"password": "fixed"}}),
        )
        .await;
    world
        .apply(
            &namespace,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"},
            "stringData": {"password": "theirs"}}),
        )
        .await;
    let vss = |name: &str, spec: Value| {
        let mut object = static_secret(name, "app", "1h");
        let fields = object["spec"].as_object_mut().expect("it is one");
        for (field, value) in spec.as_object().expect("it is one") {
            fields.insert(field.clone(), value.clone());
        }
        object
    };
    let bad_vss = [
        vss("vss-no-auth", json!({"vaultAuthRef": "nowhere"})),
        vss("vss-no-path", json!({"path": "nothing-here"})),
        vss("vss-odd-keys", json!({"path": "odd"})),
        vss("vss-too-large", json!({"path": "large"})),
        vss("vss-theirs", json!({"destination": {"name": "theirs", "create": true}})),
        vss("vss-bad-name", json!({"destination": {"name": "Not_A_Name", "create": true}})),
        vss("vss-bad-refresh", json!({"refreshAfter": "soon"})),
    ];
    let operator = Operator::start(&world.plane, &[]).await;
    let mut refused = Vec::new();
    let mut asked = Vec::new();
    for object in bad_es.into_iter().chain(bad_vss) {
        let name = object["metadata"]["name"].as_str().expect("it has a name").to_owned();
        let kind = object["kind"].as_str().expect("it has a kind").to_owned();
        let version = object["apiVersion"].as_str().expect("it has a version").to_owned();
        match world.try_apply(&namespace, object).await {
            Ok(_) => asked.push((name, kind, version)),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    // As the original has it, this one is well, and an event says what is not.
    world.apply(&namespace, es("not-ours", json!({"target": {"name": "immutable"}}))).await;
    world.apply(&namespace, external_secret("good-es", "vault", "app", "5s")).await;
    world.apply(&namespace, static_secret("good-vss", "app", "5s")).await;
    world.arrives(&namespace, "good-es", "password-of-the-good").await;
    world.arrives(&namespace, "good-vss", "password-of-the-good").await;
    for (name, kind, version) in &asked {
        let why = world.fails(&namespace, version, kind, name).await;
        assert!(!why.ends_with(": "), "{name} says nothing");
    }
    let is_said = async || world.statuses(&namespace).await.contains("target is immutable");
    assert!(within(PATIENCE, is_said).await, "{}", world.statuses(&namespace).await);
    assert!(asked.len() >= 13, "{refused:#?}");
    assert_eq!(world.password(&namespace, "immutable").await.as_deref(), Some("fixed"));
    assert_eq!(world.password(&namespace, "theirs").await.as_deref(), Some("theirs"));
    let theirs = world.secrets(&namespace).get("theirs").await.expect("it is there");
    assert_eq!(theirs.metadata.owner_references, None);
    world.write("app", "password-of-the-better");
    world.arrives(&namespace, "good-es", "password-of-the-better").await;
    world.arrives(&namespace, "good-vss", "password-of-the-better").await;
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_wakes_all_who_wait_for_the_store() {
    let Some(world) = World::start().await else { return };
    let vault = Moody::start(Mood::Fine("early"));
    let namespace = world.namespace("waking", &vault.address()).await;
    const N: usize = 40;
    for n in 0..N {
        let key = format!("key-{n}");
        world.apply(&namespace, external_secret(&format!("es-{n}"), "vault", &key, "3s")).await;
    }
    // Who fails waits for a minute at least.
    let args = ["--backoff=120s", "--backoff-limit=240s"].map(str::to_owned);
    let operator = Operator::start(&world.plane, &args).await;
    for n in 0..N {
        world.arrives(&namespace, &format!("es-{n}"), "early").await;
    }
    vault.be(Mood::Saying(503, "", r#"{"errors":["sealed"]}"#.to_owned()));
    for n in 0..N {
        world.fails(&namespace, ES, "ExternalSecret", &format!("es-{n}")).await;
    }
    vault.be(Mood::Fine("late"));
    let late = async || {
        let all = world.secrets(&namespace).list(&kube::api::ListParams::default()).await;
        let held = all.into_iter().flatten().filter_map(|it| it.data?.remove("password"));
        held.filter(|it| it.0 == b"late").count()
    };
    assert!(within(PATIENCE, async || late().await > 0).await, "{}", world.last_lines());
    // By themselves they would come one after the other, for as long as the first has waited.
    let soon = Duration::from_secs(45);
    assert!(within(soon, async || late().await == N).await, "{} of {N}\n{}", late().await, world.last_lines());
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_nobody_trusts_is_named() {
    let (Some(world), authority) = (World::start().await, Authority::new("an authority of nobody")) else { return };
    let Some(bao) = OpenBao::start_with_tls(&authority.issue("vault", &["localhost"])) else { return };
    bao.write("secret/data/app", &json!({"data": {"password": "password-over-tls"}}));
    let namespace = world.namespace("tls", &world.bao.address()).await;
    world.apply(&namespace, store("tls", &bao.tls_address("localhost"))).await;
    world.apply(&namespace, external_secret("es", "tls", "app", "2s")).await;
    let operator = Operator::start(&world.plane, &[]).await;
    world.fails(&namespace, ES, "SecretStore", "tls").await;
    world.fails(&namespace, ES, "ExternalSecret", "es").await;
    let said = world.statuses(&namespace).await.to_lowercase();
    assert!(said.contains("unknownissuer") || said.contains("certificate"), "{said}");

    let mut trusted = store("tls", &bao.tls_address("localhost"));
    let bundle = base64_simd::STANDARD.encode_to_string(authority.certificate());
    trusted["spec"]["provider"]["vault"]["caBundle"] = json!(bundle);
    world.apply(&namespace, trusted).await;
    world.arrives(&namespace, "es", "password-over-tls").await;
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}
