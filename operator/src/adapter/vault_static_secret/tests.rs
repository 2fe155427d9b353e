//! What VaultStaticSecrets ask for, what their Secrets hold, and what is reported.

use leafseal::edge::Rng;
use leafseal::provider::vault::{KvVersion, Place};
use leafseal::provider::{Content, Object as Sent, ProviderErrorKind};
use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use crate::adapter::{Done, Identity};
use crate::api::vault_secrets::{API_VERSION, SecretTransformation};
use crate::digest::Data;
use crate::intent::{Ask, Ownership};
use crate::mac_key::{MacKey, OWED};
use crate::plan::{Desired, Verdict};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn static_secret(spec: Value) -> Object<VaultStaticSecret> {
    let metadata = json!({ "namespace": "app", "name": "db", "uid": "u1", "generation": 2 });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("every object is read")
}

fn spec(more: Value) -> Value {
    let mut spec = json!({
        "vaultAuthRef": "va", "mount": "/kv2/", "path": "app/db/", "type": "kv-v2", "refreshAfter": "30s",
        "destination": { "name": "db", "create": true },
        "rolloutRestartTargets": [{ "kind": "Deployment", "name": "web" }],
    });
    spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    spec
}

fn owner() -> Owner {
    Owner {
        api_version: API_VERSION.into(),
        kind: "VaultStaticSecret",
        namespace: "app".into(),
        name: "db".into(),
        uid: "u1".into(),
        generation: 2,
        annotations: [("team".to_owned(), "x".to_owned())].into(),
        ..Owner::default()
    }
}

fn terms() -> Terms {
    Terms {
        operator_namespace: "vault".into(),
        controller_class: String::new(),
        delimiters: (String::new(), String::new()),
        exclude_raw: false,
        mac_key: Some(MacKey { bytes: Zeroizing::new((0..16).collect()), made: None }),
    }
}

fn asked(spec: Value) -> Result<Intent, Trouble> {
    StaticSecret::intent(&static_secret(spec), owner(), &terms())
}

/// Chance that shows where it is used.
struct Sevens;

impl Rng for Sevens {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }
}

fn composed(
    spec: Value,
    answer: Result<Content, ProviderError>,
    around: &Around,
    terms: &Terms,
) -> Result<Desired, Trouble> {
    let object = static_secret(spec);
    let intent = StaticSecret::intent(&object, owner(), terms)?;
    let mut surroundings = Surroundings { now: 0, rng: &mut Sevens };
    let answers = vec![answer.map(Found::One)];
    match StaticSecret::compose(&object, &intent, answers, around, terms, &mut surroundings)?.0 {
        Composed::Data(desired) => Ok(desired),
        Composed::Nothing => panic!("there is always something"),
    }
}

fn sent(data: &str, metadata: Option<&str>) -> Content {
    let metadata = metadata.map(|it| serde_json::from_str(it).expect("JSON"));
    Content::Object(Sent { data: data.into(), metadata })
}

fn made(transformation: Value, data: &str) -> Result<Vec<(String, String)>, String> {
    made_around(transformation, data, &Around::default())
}

fn made_around(transformation: Value, data: &str, around: &Around) -> Result<Vec<(String, String)>, String> {
    let spec = spec(json!({ "destination": { "name": "db", "create": true, "transformation": transformation } }));
    let desired = composed(spec, Ok(sent(data, Some(r#"{"version":3}"#))), around, &terms());
    desired.map(|it| readable(&it.data)).map_err(|it| format!("{}: {}", it.reason, it.detail))
}

fn readable(data: &Data) -> Vec<(String, String)> {
    data.iter().map(|(key, it)| (key.clone(), String::from_utf8_lossy(it.expose()).into_owned())).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_intent_is_what_the_spec_says() {
    let intent = asked(spec(json!({ "namespace": "/ns1/", "version": 4 }))).expect("it is complete");
    let read = &intent.reads[0];
    let store = &read.store;
    assert_eq!((store.namespace.as_str(), store.name.as_str(), store.reader.as_str()), ("app", "va", "app"));
    let place = Place { namespace: Some("ns1".into()), mount: Some("kv2".into()), version: KvVersion::V2 };
    assert_eq!(store.place, Some(place));
    let Ask::One(address) = &read.ask else { panic!("{:?}", read.ask) };
    assert_eq!((address.key.as_str(), address.version.as_deref()), ("app/db", Some("4")));
    assert_eq!(intent.target.ownership, Ownership::Exclusive { overwrite: false });
    assert_eq!(intent.refresh, Refresh::Every(Duration::from_secs(30)));
    assert_eq!(intent.restarts[0].name, "web");
    let intent = asked(spec(json!({ "vaultAuthRef": "", "version": 0 }))).expect("it is complete");
    let store = &intent.reads[0].store;
    assert_eq!((store.namespace.as_str(), store.name.as_str()), ("vault", "default"));
    assert!(matches!(&intent.reads[0].ask, Ask::One(it) if it.version.is_none()));
}

#[test]
fn refreshes_depend_on_the_mac() {
    for (hmac, after, expected) in [
        (true, "", Refresh::Every(USUAL)),
        (true, "0s", Refresh::Every(USUAL)),
        (true, "1.5h", Refresh::Every(Duration::from_secs(5400))),
        (false, "5s", Refresh::Every(Duration::from_secs(5))),
        (false, "", Refresh::OnChange),
    ] {
        let intent = asked(spec(json!({ "hmacSecretData": hmac, "refreshAfter": after }))).expect("it is complete");
        assert_eq!(intent.refresh, expected, "{hmac} {after:?}");
    }
}

#[test]
fn what_cannot_be_served_is_said() {
    for (more, said) in [
        (json!({ "type": "kv-v3" }), "kv-v3"),
        (json!({ "mount": "/" }), "spec.mount is empty"),
        (json!({ "path": "" }), "spec.path is empty"),
        (json!({ "destination": {} }), "spec.destination.name is empty"),
        (json!({ "destination": { "name": "x", "type": "kubernetes.io/service-account-token" } }), "not made"),
        (json!({ "refreshAfter": "30" }), "spec.refreshAfter"),
        (json!({ "vaultAuthRef": "a/b/c" }), "spec.vaultAuthRef"),
        (json!({ "destination": 1 }), "spec.destination: expected"),
    ] {
        let trouble = asked(spec(more.clone())).expect_err("it is wrong");
        assert!(trouble.detail.contains(said), "{more}: {}", trouble.detail);
        assert_eq!(trouble.retry, Retry::OnChange);
    }
    assert!(asked(Value::Null).is_err());
}

#[test]
fn objects_are_read_at_times_of_their_own() {
    let mut object = static_secret(spec(json!({})));
    let mut intent = asked(spec(json!({}))).expect("it is complete");
    object.status.last_generation = 2;
    let mut waits: Vec<f64> = (0..300)
        .map(|n| {
            intent.owner.uid = format!("u{n}");
            StaticSecret::next(&object, &intent, at(0)).expect("it is read again").as_secs_f64()
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    // A refresh may come a twentieth late.
    assert!(waits[0] >= 24.0 && waits[299] * 1.05 <= 27.0);
    assert!(waits[299] - waits[0] > 1.5, "they are spread");
    assert_eq!(StaticSecret::first_look(&object, &intent), Duration::ZERO, "nothing says that it is ready");
    object.status.conditions = vec![crate::api::vault_secrets::Condition {
        kind: "Ready".into(),
        status: "True".into(),
        ..Default::default()
    }];
    assert!(StaticSecret::first_look(&object, &intent) > Duration::ZERO);
    intent.refresh = Refresh::OnChange;
    assert_eq!(StaticSecret::next(&object, &intent, at(0)), None);
}

/// Spec, case S35: 300 objects that were made at once part company.
#[test]
fn no_second_has_more_than_three_times_its_share_of_reads() {
    let object = static_secret(spec(json!({ "refreshAfter": "30s" })));
    let mut synced = object.clone();
    synced.status.last_generation = 1;
    let mut n_reads = [0; 600];
    for n in 0..300 {
        let mut intent = asked(spec(json!({ "refreshAfter": "30s" }))).expect("it can be served");
        intent.owner.uid = format!("0b9c1d3e-{n:04}-4c52-bac7-4120a5e4be2f");
        let wait = |object| StaticSecret::next(object, &intent, at(0)).expect("it is read again").as_secs_f64();
        let (mut now, period) = (wait(&object), wait(&synced));
        // Late by a twentieth at most.
        assert!(period >= 24.0 && period * 1.05 <= 27.1, "{period}");
        while now < 600.0 {
            n_reads[now as usize] += 1;
            now += period;
        }
    }
    let after = &n_reads[60..];
    let share = after.iter().sum::<i32>() / 540;
    assert!(after.iter().all(|it| *it <= 3 * share), "{share} {after:?}");
}

/// Spec section D.4.
#[test]
fn the_data_is_that_of_the_original_bit_for_bit() {
    let data = r#"{"z":"<a&b>","n":1.0,"big":12345678901234567890,"u":"é\u2028","o":{"b":1,"a":[true,null]}}"#;
    let metadata = r#"{"version":3,"custom_metadata":null,"created_time":"2026-01-02T03:04:05.678901234Z","deletion_time":"","destroyed":false}"#;
    let raw = r#"{"data":{"big":12345678901234567890,"n":1.0,"o":{"a":[true,null],"b":1},"u":"é\u2028","z":"\u003ca\u0026b\u003e"},"metadata":{"created_time":"2026-01-02T03:04:05.678901234Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}}"#;
    let fields = [
        ("big", "12345678901234567890"),
        ("n", "1.0"),
        ("o", r#"{"a":[true,null],"b":1}"#),
        ("u", "é\u{2028}"),
        ("z", "<a&b>"),
    ];
    let answer = || Ok(sent(data, Some(metadata)));
    let desired = composed(spec(json!({})), answer(), &Around::default(), &terms()).expect("it is composed");
    let with_raw: Vec<_> = [("_raw", raw)].into_iter().chain(fields).collect();
    assert_eq!(readable(&desired.data), pairs(&with_raw));
    assert_eq!(desired.mac.as_deref(), Some("B5uynbdHjTmV1kq2e/5YpyJGwmvunvncoGp7kKpFm5U="));
    let without = json!({ "destination": { "name": "db", "transformation": { "excludeRaw": true } } });
    let desired = composed(spec(without), answer(), &Around::default(), &terms()).expect("it is composed");
    assert_eq!(readable(&desired.data), pairs(&fields));
    assert_eq!(desired.mac.as_deref(), Some("UdOxgjEJolYgopIj/qWwHYkFcQ4osOpKx6GJaVXDZNg="));
    let everywhere = Terms { exclude_raw: true, ..terms() };
    let desired = composed(spec(json!({})), answer(), &Around::default(), &everywhere).expect("it is composed");
    assert_eq!(readable(&desired.data), pairs(&fields));
}

#[test]
fn version_one_has_no_metadata() {
    let answer = Ok(sent(r#"{"a":1,"b":"x","c":{"d":null},"e":null}"#, None));
    let desired = composed(spec(json!({ "type": "kv-v1" })), answer, &Around::default(), &terms());
    let expected = [
        ("_raw", r#"{"a":1,"b":"x","c":{"d":null},"e":null}"#),
        ("a", "1"),
        ("b", "x"),
        ("c", r#"{"d":null}"#),
        ("e", "null"),
    ];
    assert_eq!(readable(&desired.expect("it is composed").data), pairs(&expected));
}

#[test]
fn without_a_mac_nothing_is_compared() {
    let answer = || Ok(sent(r#"{"a":"1"}"#, None));
    let off = spec(json!({ "hmacSecretData": false }));
    let desired = composed(off, answer(), &Around::default(), &terms()).expect("it is composed");
    assert_eq!(desired.mac, None);
    let keyless = Terms { mac_key: None, ..terms() };
    let trouble = composed(spec(json!({})), answer(), &Around::default(), &keyless).expect_err("there is no key");
    assert_eq!(trouble.reason, "HMACDataError");
}

#[test]
fn what_vault_does_not_give_changes_nothing() {
    for (kind, retry, message) in [
        (ProviderErrorKind::Missing, Retry::BackOff, "Vault has no such secret"),
        (ProviderErrorKind::Denied, Retry::BackOff, "cannot read from Vault"),
        (ProviderErrorKind::Unavailable { retry_after: None }, Retry::BackOff, "cannot read from Vault"),
        (ProviderErrorKind::Unavailable { retry_after: Some(USUAL) }, Retry::After(USUAL), "cannot read from Vault"),
    ] {
        let error = ProviderError::new(kind, "it said so");
        let trouble = composed(spec(json!({})), Err(error), &Around::default(), &terms()).expect_err("it failed");
        assert_eq!((trouble.reason, trouble.retry), ("VaultClientError", retry));
        assert_eq!(trouble.message, message);
        assert!(trouble.detail.contains("it said so"));
    }
}

#[test]
fn fields_are_filtered_and_templates_win() {
    const USER: &str = r#"{"username":"u1","password":"p/1"}"#;
    let url = json!({ "text": "postgres://{{ .Secrets.username }}:{{ .Secrets.password | urlquery }}@h/db" });
    for (transformation, expected) in [
        (
            json!({ "excludeRaw": true, "templates": { "url": url } }),
            &[("password", "p/1"), ("url", "postgres://u1:p%2F1@h/db"), ("username", "u1")][..],
        ),
        (json!({ "excludeRaw": true, "excludes": [".*"], "templates": { "k": { "text": "v" } } }), &[("k", "v")]),
        (json!({ "excludeRaw": true, "includes": ["^user"] }), &[("username", "u1")]),
        (json!({ "excludeRaw": true, "excludes": ["pass"], "includes": ["word", "user"] }), &[("username", "u1")]),
        (
            json!({ "excludeRaw": true, "includes": ["pass"], "templates": { "password": { "text": "" } } }),
            &[("password", "")],
        ),
        (
            json!({ "excludeRaw": true, "excludes": ["."], "templates": {
                "a": { "name": "one", "text": "{{ .Metadata.version }}{{ .Annotations.team }}" },
                "b": { "text": "{{ template \"one\" . }}{{ .Secrets.none }}" },
            } }),
            &[("a", "3x"), ("b", "3x<no value>")],
        ),
    ] {
        assert_eq!(made(transformation.clone(), USER), Ok(pairs(expected)), "{transformation}");
    }
}

#[test]
fn a_key_is_made_once() {
    let raw = r#"{"_raw":"x"}"#;
    assert!(made(json!({}), raw).is_err_and(|it| it.starts_with("SecretDataBuilderError")));
    assert_eq!(made(json!({ "excludeRaw": true }), raw), Ok(pairs(&[("_raw", "x")])));
    let named = json!({ "templates": { "_raw": { "text": "x" } } });
    assert!(made(named, "{}").is_err_and(|it| it.starts_with("SecretDataBuilderError")));
    let twice = json!({ "templates": { "a": { "name": "x", "text": "" }, "b": { "name": "x", "text": "" } } });
    assert!(made(twice, "{}").is_err_and(|it| it.starts_with("TransformationError")));
}

#[test]
fn errors_of_templates_hold_no_values() {
    let broken = json!({ "templates": { "k": { "text": "{{ range .Secrets.p }}{{ end }}" } } });
    let error = made(broken, r#"{"p":"hunter2"}"#).expect_err("a text has no parts");
    assert!(error.starts_with("TransformationError") && !error.contains("hunter2"), "{error}");
}

#[test]
fn chance_draws_the_same_lots_for_the_same_secret() {
    let drawn = |data: &str| {
        made(
            json!({ "excludeRaw": true, "excludes": ["."], "templates": {
        "k": { "text": "{{ randInt 0 1000000000 }}" } } }),
            data,
        )
    };
    let first = drawn(r#"{"a":"1"}"#).expect("it is composed");
    assert_eq!(drawn(r#"{"a":"1"}"#), Ok(first.clone()));
    assert_ne!(drawn(r#"{"a":"2"}"#), Ok(first));
}

#[test]
fn transformations_of_others_are_used() {
    let mut around = Around::default();
    for (place, spec) in [
        (
            ("lib", "t"),
            json!({ "templates": { "k": { "name": "tk", "text": "{{ template \"lib/t/0\" . }}!" }, "l": { "text": "l" } },
                "sourceTemplates": [{ "text": "{{ .Secrets.a }}" }], "excludes": ["^b$"] }),
        ),
        (("app", "near"), json!({ "templates": { "k": { "text": "near" } }, "includes": ["^c$"] })),
        (("app", "bad"), json!({ "templates": { "k": { "text": "{{" } } })),
    ] {
        let object: Object<SecretTransformation> =
            crate::store::vault_secrets::tests::object(&format!("{}/{}", place.0, place.1), spec);
        around.transformations.insert((place.0.into(), place.1.into()), object);
    }
    let data = r#"{"a":"1","b":"2","c":"3"}"#;
    let with = |refs: Value| made_around(json!({ "excludeRaw": true, "transformationRefs": refs }), data, &around);
    for (refs, expected) in [
        (json!([{ "name": "t", "namespace": "lib" }]), Ok(&[("a", "1"), ("c", "3"), ("k", "1!"), ("l", "l")][..])),
        (
            json!([{ "name": "t", "namespace": "lib", "templateRefs": [{ "name": "k", "keyOverride": "o" }] }]),
            Ok(&[("a", "1"), ("c", "3"), ("o", "1!")]),
        ),
        (
            json!([{ "name": "t", "namespace": "lib", "ignoreExcludes": true }, { "name": "near", "ignoreIncludes": true }]),
            Ok(&[("a", "1"), ("b", "2"), ("c", "3"), ("k", "1!"), ("l", "l")]),
        ),
        (json!([{ "name": "near" }]), Ok(&[("c", "3"), ("k", "near")])),
        (json!([{ "name": "t" }]), Err("there is no SecretTransformation app/t")),
        (json!([{ "name": "near" }, { "name": "near", "namespace": "app" }]), Err("referred to twice")),
        (json!([{ "name": "near", "templateRefs": [{ "name": "x" }] }]), Err("has no template \"x\"")),
        (json!([{ "name": "bad" }]), Err("app/bad/k")),
    ] {
        match (with(refs.clone()), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, pairs(expected), "{refs}"),
            (Err(got), Err(said)) => assert!(got.contains(said), "{refs}: {got}"),
            (got, _) => panic!("{refs}: {got:?}"),
        }
    }
    let object = static_secret(spec(json!({ "destination": { "name": "db", "transformation": {
        "transformationRefs": [{ "name": "near" }, { "name": "t", "namespace": "lib" }] } } })));
    let named = |namespace: &str, name: &str| AroundRef::Transformation(namespace.into(), name.into());
    assert_eq!(StaticSecret::around(&object), [named("app", "near"), named("lib", "t")]);
}

fn done(mac: &str) -> Done {
    Done {
        verdict: Verdict::Synced,
        mac: Some(mac.into()),
        identity: Some(Identity { cache_key: "kubernetes-1".into(), id: "2".into() }),
        restarts: Vec::new(),
    }
}

fn told(object: &mut Object<VaultStaticSecret>, result: Result<Done, Trouble>, second: i64) -> Option<Value> {
    let change = StaticSecret::status(object, None, &Outcome { began: at(second), result }, at(second))?;
    let mut status = json!({
        "lastGeneration": object.status.last_generation,
        "secretMAC": object.status.secret_mac,
        "vaultClientMeta": object.status.vault_client_meta,
        "conditions": object.status.conditions,
    });
    status.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    object.status = serde_json::from_value(status).expect("a status is read");
    Some(change)
}

fn condition(object: &Object<VaultStaticSecret>, kind: &str) -> String {
    let found = object.status.conditions.iter().find(|it| it.kind == kind);
    found.map(|it| format!("{} {}", it.status, it.reason)).unwrap_or_default()
}

#[test]
fn a_status_is_written_once() {
    let mut object = static_secret(spec(json!({})));
    assert!(told(&mut object, Ok(done("m1")), 1).is_some());
    assert_eq!(object.status.last_generation, 2);
    assert_eq!(StaticSecret::recorded_mac(&object).as_deref(), Some("m1"));
    assert_eq!(object.status.vault_client_meta.cache_key, "kubernetes-1");
    for kind in ["SecretSynced", "Healthy", "Ready"] {
        assert!(condition(&object, kind).starts_with("True"), "{kind}");
    }
    assert!(told(&mut object, Ok(done("m1")), 2).is_none(), "nothing is new");
    let elsewhere = Done { identity: Some(Identity { cache_key: "x".into(), id: "y".into() }), ..done("m1") };
    assert!(told(&mut object, Ok(elsewhere), 3).is_none(), "an identity alone is no news");
}

#[test]
fn only_success_moves_the_generation_and_the_mac() {
    let mut object = static_secret(spec(json!({})));
    told(&mut object, Ok(done("m1")), 1);
    object.metadata.generation = Some(3);
    let trouble = Trouble::new("VaultClientError", "cannot read from Vault", "it is sealed");
    assert!(told(&mut object, Err(trouble.clone()), 2).is_some());
    assert_eq!((object.status.last_generation, object.status.secret_mac.as_str()), (2, "m1"));
    assert_eq!(condition(&object, "SecretSynced"), "False Synced");
    assert_eq!(condition(&object, "Healthy"), "False Unhealthy");
    assert!(told(&mut object, Err(trouble), 3).is_none());
    told(&mut object, Ok(done("m1")), 4);
    assert_eq!(object.status.last_generation, 3);
    assert_eq!(condition(&object, "SecretSynced"), "True Synced");
}

#[test]
fn a_restart_that_failed_is_owed() {
    let mut object = static_secret(spec(json!({})));
    told(&mut object, Ok(done("m1")), 1);
    let restarts = vec![Ok("Deployment/web".to_owned()), Err("StatefulSet/db: not found".to_owned())];
    told(&mut object, Ok(Done { restarts, ..done("m2") }), 2);
    assert_eq!(object.status.secret_mac, OWED);
    assert_eq!(condition(&object, "RolloutRestart"), "False RolloutRestartTriggeredFailed");
    assert_eq!(condition(&object, "SecretSynced"), "True Synced");
    told(&mut object, Ok(Done { restarts: vec![Ok("Deployment/web".to_owned())], ..done("m2") }), 3);
    assert_eq!(object.status.secret_mac, "m2");
    assert_eq!(condition(&object, "RolloutRestart"), "True RolloutRestartTriggered");
    assert!(told(&mut object, Ok(done("m2")), 4).is_none(), "it stays as it was");
}

#[test]
fn a_mac_that_is_not_kept_is_taken_out() {
    let mut object = static_secret(spec(json!({})));
    told(&mut object, Ok(done("m1")), 1);
    let change = told(&mut object, Ok(Done { mac: None, ..done("") }), 2).expect("it is news");
    assert_eq!(change["secretMAC"], Value::Null);
    assert!(told(&mut object, Ok(Done { mac: None, ..done("") }), 3).is_none());
}
