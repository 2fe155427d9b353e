//! The decisions of spec section E.8, row by row, and what a reload changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::*;
use crate::digest::Data;
use crate::rollout::{WORKLOADS, Workload};

const NOW: &str = "2026-01-02T03:04:05Z";

fn kind(name: &str) -> &'static Workload {
    WORKLOADS.iter().find(|it| it.kind == name).expect("it is in the table")
}

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

fn consumer_of(kind_name: &str, object: Value, rules: &Rules) -> Option<Consumer> {
    Consumer::of(kind(kind_name), serde_json::from_value(object).expect("it is a workload"), rules)
}

/// A Deployment whose container `c` takes its variables from Secret `s` and ConfigMap `m`.
fn deployment(own: Value, template: Value) -> Value {
    json!({
        "metadata": { "name": "w", "namespace": "app", "uid": "u-1", "annotations": own },
        "spec": { "template": {
            "metadata": { "annotations": template },
            "spec": { "containers": [
                { "name": "c", "envFrom": [{ "secretRef": { "name": "s" } }, { "configMapRef": { "name": "m" } }] },
            ] },
        } },
    })
}

const AUTO: &str = "reloader.stakater.com/auto";
const SEARCH: &str = "reloader.stakater.com/search";
const SECRET_AUTO: &str = "secret.reloader.stakater.com/auto";
const MAP_AUTO: &str = "configmap.reloader.stakater.com/auto";
const SECRET_LIST: &str = "secret.reloader.stakater.com/reload";
const EXCLUDE: &str = "secrets.exclude.reloader.stakater.com/reload";

/// Whether a Deployment with these annotations, of its own and of its template, reloads for Secrets of
/// these names, and for ConfigMaps.
fn reloads(own: Value, template: Value, rules: &Rules, marks: Marks, names: &[&str]) -> Vec<bool> {
    let consumer = consumer_of("Deployment", deployment(own, template), rules);
    let sources = names.iter().map(|it| match it.strip_prefix("cm/") {
        Some(name) => (Source::ConfigMap, name),
        None => (Source::Secret, *it),
    });
    let wants = |(source, name): (Source, &str)| {
        let consumer = consumer.as_ref()?;
        let hit = consumer.wants(rules, source, name, marks).ok()?;
        let is_indexed = consumer.names(rules, source).contains(name) || consumer.has_patterns(source);
        assert!(is_indexed, "{name} would not be found");
        Some(hit)
    };
    sources.map(|it| wants(it).is_some()).collect()
}

#[test]
fn annotations_decide_as_the_original_decides() {
    let plain = Rules::default();
    let all = Rules { auto_all: true, ..Rules::default() };
    let none = Marks::default();
    let matches = Marks { is_match: true, ..none };
    let ignored = Marks { is_ignored: true, is_match: true };
    for (n, (own, template, rules, marks, cases)) in [
        (json!({ AUTO: "true" }), json!({}), &plain, none, &[("s", true), ("x", false), ("cm/m", true)][..]),
        (json!({}), json!({}), &plain, none, &[("s", false)]),
        (json!({ SECRET_AUTO: "true" }), json!({}), &plain, none, &[("s", true), ("cm/m", false)]),
        (json!({ MAP_AUTO: "true" }), json!({}), &plain, none, &[("s", false), ("cm/m", true)]),
        (json!({ SECRET_LIST: "other" }), json!({}), &plain, none, &[("other", true), ("s", false)]),
        (
            json!({ SECRET_LIST: "app-.*,  s" }),
            json!({}),
            &plain,
            none,
            &[("app-1", true), ("s", true), ("my-app-1", false), ("ss", false)],
        ),
        (json!({ SECRET_LIST: "a|b" }), json!({}), &plain, none, &[("abc", true), ("xb", true), ("cab-x", false)]),
        (json!({ SECRET_LIST: "(,s" }), json!({}), &plain, none, &[("s", true), ("(", false)]),
        (json!({ SECRET_LIST: "" }), json!({}), &plain, none, &[("s", false)]),
        (json!({ SEARCH: "true" }), json!({}), &plain, matches, &[("s", true), ("x", false)]),
        (json!({ SEARCH: "true" }), json!({}), &plain, none, &[("s", false)]),
        (json!({ SEARCH: "1" }), json!({}), &plain, matches, &[("s", false)]),
        (json!({ AUTO: "true", EXCLUDE: "s" }), json!({}), &plain, none, &[("s", false), ("cm/m", true)]),
        (json!({ SECRET_LIST: "s", EXCLUDE: "x, s" }), json!({}), &plain, none, &[("s", false)]),
        (json!({ AUTO: "true" }), json!({}), &plain, ignored, &[("s", false)]),
        (json!({ SECRET_LIST: "s" }), json!({}), &plain, ignored, &[("s", false)]),
        // The original reads `ignore` on sources alone.
        (json!({ AUTO: "true", "reloader.stakater.com/ignore": "true" }), json!({}), &plain, none, &[("s", true)]),
        (json!({}), json!({ AUTO: "true" }), &plain, none, &[("s", true)]),
        (json!({ SECRET_LIST: "other" }), json!({ AUTO: "true" }), &plain, none, &[("s", false), ("cm/m", true)]),
        (json!({ AUTO: "false" }), json!({ AUTO: "true" }), &plain, none, &[("s", false)]),
        (json!({ AUTO: "" }), json!({ AUTO: "true" }), &plain, none, &[("s", false)]),
        (json!({ AUTO: "true" }), json!({ EXCLUDE: "s" }), &plain, none, &[("s", true)]),
        (json!({}), json!({}), &all, none, &[("s", true), ("cm/m", true), ("x", false)]),
        (json!({ AUTO: "false" }), json!({}), &all, none, &[("s", false), ("cm/m", false)]),
        (json!({ SECRET_AUTO: "false" }), json!({}), &all, none, &[("s", false), ("cm/m", true)]),
        (json!({ AUTO: "false", SECRET_AUTO: "true" }), json!({}), &plain, none, &[("s", true)]),
        (json!({ AUTO: "false", SEARCH: "true" }), json!({}), &plain, matches, &[("s", true)]),
        (json!({ SEARCH: "true" }), json!({}), &all, none, &[("s", true)]),
        (json!({ AUTO: "TRUE" }), json!({}), &plain, none, &[("s", true)]),
        (json!({ AUTO: "1" }), json!({}), &plain, none, &[("s", true)]),
        (json!({ AUTO: "yes" }), json!({}), &all, none, &[("s", false)]),
    ]
    .into_iter()
    .enumerate()
    {
        let names: Vec<&str> = cases.iter().map(|it| it.0).collect();
        let expected: Vec<bool> = cases.iter().map(|it| it.1).collect();
        assert_eq!(reloads(own, template, rules, marks, &names), expected, "row {n}: {names:?}");
    }
}

#[test]
fn settings_rename_and_leave_alone() {
    let mut rules = Rules::default();
    rules.keys.auto = "my/auto".to_owned();
    let none = Marks::default();
    assert_eq!(reloads(json!({ "my/auto": "true" }), json!({}), &rules, none, &["s"]), [true]);
    assert_eq!(reloads(json!({ AUTO: "true" }), json!({}), &rules, none, &["s"]), [false]);
    let rules = Rules { ignored_sources: vec![Source::Secret], ..Rules::default() };
    assert_eq!(reloads(json!({ AUTO: "true" }), json!({}), &rules, none, &["s", "cm/m"]), [false, true]);
    let rules = Rules { ignored_kinds: vec!["Deployment"], ..Rules::default() };
    assert!(consumer_of("Deployment", deployment(json!({ AUTO: "true" }), json!({})), &rules).is_none());
}

#[test]
fn what_is_wrong_with_annotations_is_said() {
    let own = json!({ SECRET_LIST: "(,s", "deployment.reloader.stakater.com/pause-period": "abc" });
    let consumer = consumer_of("Deployment", deployment(own, json!({})), &Rules::default()).expect("it names s");
    let [list, period] = consumer.complaints.as_slice() else { panic!("{:?}", consumer.complaints) };
    assert!(list.starts_with("secret.reloader.stakater.com/reload: \"(\" is no pattern"), "{list}");
    assert!(period.contains("pause-period") && period.contains("abc"), "{period}");
    let many: Vec<String> = (0..500).map(|it| format!("a{it}.*")).collect();
    let own = json!({ SECRET_LIST: many.join(",") });
    let consumer = consumer_of("Deployment", deployment(own, json!({})), &Rules::default()).expect("it names some");
    assert_eq!(consumer.complaints.len(), 1, "{:?}", consumer.complaints);
}

#[test]
fn references_are_found_where_pods_have_them() {
    let use_of = |pod: Value| {
        let object = json!({ "metadata": { "name": "w", "annotations": { AUTO: "true" } },
                             "spec": { "template": { "spec": pod } } });
        let rules = Rules::default();
        let consumer = consumer_of("Deployment", object, &rules)?;
        consumer.wants(&rules, Source::Secret, "s", Marks::default()).ok()?.container
    };
    let volume = json!([{ "name": "v", "secret": { "secretName": "s" } }]);
    let projected = json!([{ "name": "v", "projected": { "sources": [{ "secret": { "name": "s" } }] } }]);
    let mounts = json!([{ "name": "v", "mountPath": "/v" }]);
    let env = json!([{ "name": "E", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } }]);
    let all = json!([{ "secretRef": { "name": "s" } }]);
    for (pod, container) in [
        (
            json!({ "volumes": volume, "containers": [{ "name": "a" }, { "name": "b", "volumeMounts": mounts }] }),
            Some("b"),
        ),
        (
            json!({ "volumes": projected, "containers": [{ "name": "a" }, { "name": "b", "volumeMounts": mounts }] }),
            Some("b"),
        ),
        (
            json!({ "volumes": volume, "containers": [{ "name": "a" }],
                    "initContainers": [{ "name": "i", "volumeMounts": mounts }] }),
            Some("a"),
        ),
        (json!({ "containers": [{ "name": "a" }, { "name": "b", "env": env }] }), Some("b")),
        (json!({ "containers": [{ "name": "a" }, { "name": "b", "envFrom": all }] }), Some("b")),
        (json!({ "containers": [{ "name": "a" }], "initContainers": [{ "name": "i", "env": env }] }), Some("a")),
        // A mount comes before a variable.
        (
            json!({ "volumes": volume, "containers": [{ "name": "a", "env": env }, { "name": "b", "volumeMounts": mounts }] }),
            Some("b"),
        ),
        (json!({ "volumes": volume, "containers": [{ "name": "a" }] }), None),
        (json!({ "volumes": volume, "containers": [{ "name": "a", "env": env }] }), Some("a")),
        (json!({ "imagePullSecrets": [{ "name": "s" }], "containers": [{ "name": "a" }] }), None),
        (json!({ "ephemeralContainers": [{ "name": "e", "env": env }], "containers": [{ "name": "a" }] }), None),
        (json!({ "containers": null, "volumes": null }), None),
    ] {
        assert_eq!(use_of(pod.clone()).as_deref(), container, "{pod}");
    }
}

#[test]
fn what_is_named_and_not_used_marks_the_first_container() {
    let rules = Rules::default();
    let object = json!({ "metadata": { "name": "w", "annotations": { SECRET_LIST: "x" } },
                         "spec": { "template": { "spec": { "containers": [{ "name": "a" }, { "name": "b" }] } } } });
    let consumer = consumer_of("StatefulSet", object, &rules).expect("it names x");
    let hit = consumer.wants(&rules, Source::Secret, "x", Marks::default()).expect("it is named");
    assert_eq!((hit.by, hit.container.as_deref()), (By::List, Some("a")));
}

fn key() -> Key {
    Key::new(zeroize::Zeroizing::new(vec![7; 32]))
}

fn content(value: &str) -> Content {
    let data = BTreeMap::from([("k".to_owned(), ByteString(value.as_bytes().to_vec()))]);
    Content::of_secret(&Secret { data: Some(data), ..Secret::default() }, &key())
}

fn seen(name: &str, content: Option<Content>) -> Seen<'_> {
    let (content, before) = (content.map(Arc::new), Some(Arc::new(self::content("old"))));
    let (source, marks) = (Source::Secret, Marks::default());
    Seen { source, name, marks, content, written: None, before, is_new: false, is_first: false }
}

#[test]
fn digests_tell_what_changed_and_nothing_else() {
    let secret = |pairs: &[(&str, &str)]| {
        let data = pairs.iter().map(|it| (it.0.to_owned(), ByteString(it.1.as_bytes().to_vec()))).collect();
        Content::of_secret(&Secret { data: Some(data), ..Secret::default() }, &key())
    };
    let (one, other) = (secret(&[("a", "1;b=2")]), secret(&[("a", "1"), ("b", "2")]));
    assert_eq!(one.marker, other.marker, "the original cannot tell them apart");
    assert_ne!(one.digest, other.digest);
    assert_eq!(other.changed_keys(&one), ["a", "b"]);
    assert_eq!(other.changed_keys(&secret(&[("a", "1")])), ["b"]);
    assert!(other.changed_keys(&other).is_empty());
    let map = ConfigMap {
        data: Some([("k".to_owned(), "v".to_owned())].into()),
        binary_data: Some([("bin".to_owned(), ByteString(vec![0, 255]))].into()),
        ..ConfigMap::default()
    };
    assert_eq!(Content::of_config_map(&map, &key()).marker, "a52965cb888b938803e268dc84570cc376106ab0");
    assert_ne!(Content::of_secret(&Secret::default(), &key()).digest, Content::of(Data::new(), &Key::shared()).digest);
    assert!(!format!("{:?}", key()).contains("7, 7"));
}

/// A Deployment that reloads for `s`, with this memory and this marker on its template.
fn remembering(memory: Option<&Content>, marker: Option<&str>, rules: &Rules) -> Consumer {
    let mut object = deployment(json!({ AUTO: "true" }), json!({}));
    if let Some(content) = memory {
        let mut memory = Memory::new(&key());
        memory.put(Source::Secret, "s", content, None);
        object["metadata"]["annotations"][CONSUMED] = json!(memory.print());
    }
    if let Some(marker) = marker {
        object["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{ "name": "STAKATER_S_SECRET", "value": marker }]);
    }
    consumer_of("Deployment", object, rules).expect("it reloads for s")
}

#[test]
fn what_was_seen_is_no_reason_and_what_was_not_is_one() {
    let (old, new) = (content("old"), content("new"));
    let plain = Rules::default();
    let create = Rules { on_create: true, ..Rules::default() };
    let delete = Rules { on_delete: true, ..Rules::default() };
    // Memory, marker, what there is, whether it is new; then whether it rolls, and whether it records.
    for (n, (rules, memory, marker, now, is_new, rolls, records)) in [
        (&plain, Some(&new), None, Some(&new), false, false, false),
        (&plain, Some(&old), None, Some(&new), false, true, false),
        (&plain, None, Some(&new.marker), Some(&new), false, false, false),
        (&plain, None, Some(&old.marker), Some(&new), false, true, false),
        // The memory counts more: somebody took the marker back.
        (&plain, Some(&new), Some(&old.marker), Some(&new), false, false, false),
        (&plain, None, None, Some(&new), false, false, true),
        (&plain, None, None, Some(&new), true, false, true),
        (&create, None, None, Some(&new), true, true, false),
        (&create, None, None, Some(&new), false, false, true),
        (&create, Some(&new), None, Some(&new), true, false, false),
        (&plain, Some(&old), Some(&old.marker), None, false, false, false),
        (&delete, Some(&old), Some(&old.marker), None, false, true, false),
        (&delete, None, None, None, false, false, false),
        // Deleted and made again.
        (&plain, Some(&old), Some(&old.marker), Some(&old), true, false, false),
        (&plain, Some(&old), Some(&old.marker), Some(&new), true, true, false),
    ]
    .into_iter()
    .enumerate()
    {
        let consumer = remembering(memory, marker.map(String::as_str), rules);
        let seen = Seen { is_new, ..seen("s", now.cloned()) };
        let verdict = judge(&consumer, rules, &key(), &[seen]);
        assert_eq!((!verdict.causes.is_empty(), verdict.is_recording), (rolls, records), "row {n}: {verdict:?}");
    }
    // Nobody's key but ours.
    let mut consumer = remembering(Some(&old), None, &plain);
    let verdict = judge(&consumer, &plain, &Key::shared(), &[seen("s", Some(new.clone()))]);
    assert!(verdict.causes.is_empty() && verdict.is_recording, "made with another key, it is no memory");
    consumer.consumed = Some("{".to_owned());
    let verdict = judge(&consumer, &plain, &key(), &[seen("s", Some(new.clone()))]);
    assert!(verdict.causes.is_empty() && verdict.is_recording);
    // Whoever is younger than the change has seen it.
    let mut verdict = judge(&remembering(Some(&old), None, &plain), &plain, &key(), &[seen("s", Some(new.clone()))]);
    verdict.forgive(|it| it.name == "s");
    assert!(verdict.causes.is_empty() && verdict.is_recording);
    assert_eq!(verdict.memory.digest(Source::Secret, "s"), Some(new.digest.as_str()));
}

#[test]
fn a_marker_that_two_sources_share_tells_nothing() {
    let rules = Rules::default();
    let object = json!({
        "metadata": { "name": "w", "annotations": { AUTO: "true" } },
        "spec": { "template": { "spec": { "containers": [{
            "name": "c",
            "env": [{ "name": "STAKATER_FOO_BAR_SECRET", "value": content("old").marker }],
            "envFrom": [{ "secretRef": { "name": "foo-bar" } }, { "secretRef": { "name": "foo.bar" } }],
        }] } } },
    });
    let consumer = consumer_of("Deployment", object, &rules).expect("it reloads");
    assert_eq!(consumer.marker(Source::Secret, "foo-bar"), None);
    for (source, name, expected) in [
        (Source::Secret, "app2-back-database", "STAKATER_APP2_BACK_DATABASE_SECRET"),
        (Source::ConfigMap, "foo.bar--x", "STAKATER_FOO_BAR_X_CONFIGMAP"),
        (Source::Secret, "-x-", "STAKATER_X__SECRET"),
    ] {
        assert_eq!(marker_name(source, name), expected);
    }
}

fn reload(consumer: &Consumer, rules: &Rules, all: &[Seen<'_>], asked: bool, whole: Option<&Value>) -> Roll {
    let verdict = judge(consumer, rules, &key(), all);
    assert!(!verdict.causes.is_empty() || asked);
    roll(consumer, rules, &verdict, asked.then(now), whole, now()).expect("it can be reloaded")
}

#[test]
fn one_patch_has_all_markers() {
    let rules = Rules::default();
    let consumer = remembering(Some(&content("old")), None, &rules);
    let new = content("new");
    let Roll { change: Change::Strategic(patch), record: None } =
        reload(&consumer, &rules, &[seen("s", Some(new.clone()))], true, None)
    else {
        panic!("it is one patch")
    };
    assert_eq!(patch["metadata"]["uid"], "u-1");
    assert!(patch["metadata"]["annotations"][CONSUMED].as_str().is_some_and(|it| it.contains(&new.digest)));
    assert_eq!(
        patch["spec"],
        json!({ "template": {
            "metadata": { "annotations": { "vso.secrets.hashicorp.com/restartedAt": "2026-01-02T03:04:05.000000000Z" } },
            "spec": { "containers": [{ "name": "c", "env": [{ "name": "STAKATER_S_SECRET", "value": new.marker }] }] },
        } })
    );
}

#[test]
fn what_is_gone_takes_its_marker_along() {
    let rules = Rules { on_delete: true, ..Rules::default() };
    let consumer = remembering(Some(&content("old")), Some(&content("old").marker), &rules);
    let Roll { change: Change::Strategic(patch), .. } = reload(&consumer, &rules, &[seen("s", None)], false, None)
    else {
        panic!("it is a patch")
    };
    let env = &patch["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{ "name": "STAKATER_S_SECRET", "$patch": "delete" }]));
    let rules = Rules { strategy: Strategy::Annotations, ..rules };
    let Roll { change: Change::Strategic(patch), .. } = reload(&consumer, &rules, &[seen("s", None)], false, None)
    else {
        panic!("it is a patch")
    };
    let told = patch["spec"]["template"]["metadata"]["annotations"][LAST_RELOADED_FROM].as_str().unwrap_or_default();
    assert!(told.contains(r#""hash":"da39a3ee5e6b4b0d3255bfef95601890afd80709""#), "{told}");
}

#[test]
fn the_annotation_has_its_members_in_order() {
    let rules = Rules { strategy: Strategy::Annotations, ..Rules::default() };
    let consumer = remembering(Some(&content("old")), None, &rules);
    let new = content("new");
    let Roll { change: Change::Strategic(patch), .. } =
        reload(&consumer, &rules, &[seen("s", Some(new.clone()))], false, None)
    else {
        panic!("it is a patch")
    };
    let expected = format!(
        r#"{{"type":"SECRET","name":"s","namespace":"app","hash":"{}","containerRefs":["c"],"observedAt":1767323045}}"#,
        new.marker
    );
    assert_eq!(patch["spec"]["template"], json!({ "metadata": { "annotations": { LAST_RELOADED_FROM: expected } } }));
    let mut object = deployment(json!({ AUTO: "true" }), json!({ LAST_RELOADED_FROM: expected }));
    let consumer = consumer_of("Deployment", object.take(), &rules).expect("it reloads");
    assert_eq!(consumer.marker(Source::Secret, "s"), Some(new.marker));
    assert_eq!(consumer.marker(Source::ConfigMap, "s"), None);
}

#[test]
fn a_run_of_a_cron_job_is_made() {
    let rules = Rules::default();
    let mut memory = Memory::new(&key());
    memory.put(Source::Secret, "s", &content("old"), None);
    let object = json!({
        "metadata": { "name": "cj", "namespace": "app", "uid": "u-2",
                      "annotations": { AUTO: "true", CONSUMED: memory.print() } },
        "spec": { "schedule": "0 0 1 1 *", "jobTemplate": {
            "metadata": { "labels": { "l": "1" }, "annotations": { "a": "1" } },
            "spec": { "backoffLimit": 2, "template": { "spec": { "restartPolicy": "Never", "containers": [
                { "name": "c", "envFrom": [{ "secretRef": { "name": "s" } }] },
            ] } } },
        } },
    });
    let consumer = consumer_of("CronJob", object.clone(), &rules).expect("it reloads");
    assert!(consumer.needs_whole());
    let new = content("new");
    let roll = reload(&consumer, &rules, &[seen("s", Some(new.clone()))], false, Some(&object));
    let Change::Make(job) = roll.change else { panic!("it is a new object") };
    assert_eq!(job["metadata"]["generateName"], "cj-");
    assert_eq!(job["metadata"]["labels"], json!({ "l": "1" }));
    let annotations = json!({ "a": "1", "cronjob.kubernetes.io/instantiate": "manual" });
    assert_eq!(job["metadata"]["annotations"], annotations);
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "u-2");
    assert_eq!(job["spec"]["backoffLimit"], 2);
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{ "name": "STAKATER_S_SECRET", "value": new.marker }]));
    let record = roll.record.expect("the CronJob remembers");
    assert!(record["metadata"]["annotations"][CONSUMED].as_str().is_some_and(|it| it.contains(&new.digest)));
}

#[test]
fn a_job_is_made_anew() {
    let rules = Rules::default();
    let mut memory = Memory::new(&key());
    memory.put(Source::Secret, "s", &content("old"), None);
    let labels = json!({ "controller-uid": "u-3", "batch.kubernetes.io/job-name": "j", "mine": "1" });
    let mut object = json!({
        "metadata": { "name": "j", "namespace": "app", "uid": "u-3", "resourceVersion": "7", "labels": labels,
                      "annotations": { AUTO: "true", CONSUMED: memory.print() } },
        "spec": {
            "selector": { "matchLabels": { "controller-uid": "u-3" } },
            "template": { "metadata": { "labels": labels, "creationTimestamp": null }, "spec": { "containers": [
                { "name": "c", "env": [{ "name": "A", "value": "1" }], "envFrom": [{ "secretRef": { "name": "s" } }] },
            ] } },
        },
        "status": { "succeeded": 1 },
    });
    let consumer = consumer_of("Job", object.clone(), &rules).expect("it reloads");
    let new = content("new");
    let roll = reload(&consumer, &rules, &[seen("s", Some(new.clone()))], false, Some(&object));
    let Change::Remake(job) = roll.change else { panic!("it is made anew") };
    assert_eq!(job["metadata"]["labels"], json!({ "mine": "1" }));
    assert!(job["metadata"]["uid"].is_null() && job["metadata"]["resourceVersion"].is_null());
    assert!(job["spec"]["selector"].is_null() && job["status"].is_null());
    assert_eq!(job["spec"]["template"]["metadata"], json!({ "labels": { "mine": "1" } }));
    let env = json!([{ "name": "A", "value": "1" }, { "name": "STAKATER_S_SECRET", "value": new.marker }]);
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["env"], env);
    object["metadata"]["ownerReferences"] = json!([
        { "apiVersion": "batch/v1", "kind": "CronJob", "name": "cj", "uid": "u-2", "controller": true },
    ]);
    assert!(consumer_of("Job", object, &rules).is_none(), "the CronJob makes it");
}

#[test]
fn an_argo_rollout_has_two_ways() {
    let rules = Rules::default();
    let mut object = deployment(json!({ AUTO: "true" }), json!({}));
    let mut memory = Memory::new(&key());
    memory.put(Source::Secret, "s", &content("old"), None);
    object["metadata"]["annotations"][CONSUMED] = json!(memory.print());
    let new = content("new");
    let consumer = consumer_of("Rollout", object.clone(), &rules).expect("it reloads");
    let roll = reload(&consumer, &rules, &[seen("s", Some(new.clone()))], false, Some(&object));
    let Change::Replace(whole) = roll.change else { panic!("it is replaced") };
    let env = &whole["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{ "name": "STAKATER_S_SECRET", "value": new.marker }]));
    assert!(whole["spec"]["restartAt"].is_null());
    object["metadata"]["annotations"]["reloader.stakater.com/rollout-strategy"] = json!("restart");
    let consumer = consumer_of("Rollout", object, &rules).expect("it reloads");
    assert!(!consumer.needs_whole());
    let roll = reload(&consumer, &rules, &[seen("s", Some(new))], false, None);
    let Change::Merge(patch) = roll.change else { panic!("it is restarted") };
    assert_eq!(patch["spec"], json!({ "restartAt": NOW }));
}

#[test]
fn a_pause_has_an_end() {
    let rules = Rules::default();
    let (period, at) = (&rules.keys.pause_period, &rules.keys.paused_at);
    let mut object = deployment(json!({ AUTO: "true", period.as_str(): "1m30s" }), json!({}));
    let mut memory = Memory::new(&key());
    memory.put(Source::Secret, "s", &content("old"), None);
    object["metadata"]["annotations"][CONSUMED] = json!(memory.print());
    let consumer = consumer_of("Deployment", object.clone(), &rules).expect("it reloads");
    assert_eq!(consumer.resume(&rules), None);
    let all = [seen("s", Some(content("new")))];
    let Change::Strategic(patch) = reload(&consumer, &rules, &all, false, None).change else { panic!("a patch") };
    assert_eq!((&patch["spec"]["paused"], &patch["metadata"]["annotations"][at]), (&json!(true), &json!(NOW)));
    // Paused by somebody else: changed, and left paused.
    object["spec"]["paused"] = json!(true);
    let consumer = consumer_of("Deployment", object.clone(), &rules).expect("it reloads");
    assert_eq!(consumer.resume(&rules), None);
    let Change::Strategic(patch) = reload(&consumer, &rules, &all, false, None).change else { panic!("a patch") };
    assert!(patch["spec"]["paused"].is_null() && patch["metadata"]["annotations"][at].is_null());
    for (since, period_text, due) in [
        (NOW, Some("1m30s"), "2026-01-02T03:05:35Z"),
        (NOW, None, NOW),
        (NOW, Some("abc"), NOW),
        ("soon", Some("0"), "1970-01-01T00:00:00Z"),
    ] {
        object["metadata"]["annotations"][at] = json!(since);
        match period_text {
            Some(text) => object["metadata"]["annotations"][period] = json!(text),
            None => drop(object["metadata"]["annotations"].as_object_mut().and_then(|it| it.remove(period))),
        }
        let consumer = consumer_of("Deployment", object.clone(), &rules).expect("it is kept until it goes on");
        let resume = consumer.resume(&rules).expect("a reload paused it");
        assert_eq!(resume.at, due.parse::<Timestamp>().expect("a time"), "{since} {period_text:?}");
        assert_eq!(resume.change["spec"], json!({ "paused": false }));
        assert!(resume.change["metadata"]["annotations"][at].is_null());
    }
}

#[test]
fn a_message_is_that_of_the_original_and_names_keys() {
    let rules = Rules::default();
    let consumer = remembering(Some(&content("old")), None, &rules);
    let verdict = judge(&consumer, &rules, &key(), &[seen("s", Some(content("new")))]);
    assert_eq!(
        verdict.causes[0].message(&consumer),
        "Changes detected in 's' of type 'SECRET' in namespace 'app', Updated 'w' of type 'Deployment' in namespace \
         'app' (keys k)"
    );
}

#[test]
fn what_pods_mount_is_a_change_only_if_it_came_to_them() {
    let rules = Rules { on_create: true, on_delete: true, ..Rules::default() };
    let auto = "secretproviderclass.reloader.stakater.com/auto";
    let consumer = |consumed: Option<String>| {
        let mut object = json!({
            "metadata": { "name": "w", "namespace": "app", "uid": "u-1", "annotations": { auto: "true" } },
            "spec": { "template": { "spec": {
                "containers": [{ "name": "c", "volumeMounts": [{ "name": "v" }] }],
                "volumes": [{ "name": "v", "csi": { "volumeAttributes": { "secretProviderClass": "db" } } }],
            } } },
        });
        if let Some(consumed) = consumed {
            object["metadata"]["annotations"][CONSUMED] = json!(consumed);
        }
        consumer_of("Deployment", object, &rules).expect("it asks")
    };
    let key = Key::shared();
    let holding = |version: &str| {
        let objects = BTreeMap::from([("secret/db".to_owned(), version.to_owned())]);
        Arc::new(Content::of(Source::provider_class_data("db", objects), &key))
    };
    let judged = |consumed: Option<String>, content: Option<Arc<Content>>, is_first| {
        let source = Source::SecretProviderClass;
        let seen = Seen { source, content, is_first, before: None, ..seen("db", None) };
        judge(&consumer(consumed), &rules, &key, &[seen])
    };
    let first = judged(None, Some(holding("1")), true);
    assert!(first.causes.is_empty() && first.is_recording);
    let saw = || Some(first.memory.print());
    assert_eq!(judged(saw(), Some(holding("1")), false).causes, []);
    let came = judged(saw(), Some(holding("2")), false);
    assert_eq!(came.causes.len(), 1);
    assert_eq!(came.causes[0].hit.container.as_deref(), Some("c"));
    let began = judged(saw(), Some(holding("2")), true);
    assert!(began.causes.is_empty() && began.is_recording && began.memory == came.memory);
    let nobody = judged(saw(), None, false);
    assert!(nobody.causes.is_empty() && !nobody.is_recording && nobody.memory == first.memory, "no pod has it mounted");
}

#[test]
fn a_memory_knows_when_what_it_saw_was_written() {
    let at = |second: i64| Timestamp::from_second(second).expect("it is a time");
    let mut memory = Memory::new(&key());
    memory.put(Source::Secret, "s", &content("old"), Some(at(7)));
    memory.put(Source::ConfigMap, "s", &content("old"), None);
    let is_written = |it: &Memory, second: i64| it.is_written(Source::Secret, "s", at(second));
    let mut read = Memory::read(Some(&memory.print()), &key());
    assert!(is_written(&read, 7) && !is_written(&read, 8) && !read.is_written(Source::ConfigMap, "s", at(7)));
    read.put(Source::Secret, "s", &content("new"), None);
    assert!(!is_written(&read, 7), "of another content nothing is known");
    memory.retain(|source, _| source == Source::ConfigMap);
    assert!(!is_written(&memory, 7) && memory.digest(Source::ConfigMap, "s").is_some());
}
