//! Objects as people write them, and what becomes of them.

use std::collections::BTreeMap;

use leafseal::edge::Rng;
use leafseal::provider::{Content, Object as JsonObject, ProviderErrorKind};
use leafseal::secret::SecretText;
use serde_json::json;

use super::*;
use crate::adapter::Done;
use crate::api::external_secrets::COULD_NOT_READ;
use crate::intent::Refresh;
use crate::plan::Verdict;

struct Zeros;

impl Rng for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn terms() -> Terms {
    Terms {
        operator_namespace: "system".to_owned(),
        controller_class: "default".to_owned(),
        delimiters: ("{{".to_owned(), "}}".to_owned()),
        exclude_raw: false,
        mac_key: None,
    }
}

/// An ExternalSecret `apps/es` with a spec written as YAML, and a status.
fn object_with(spec: &str, status: Value) -> Object<ExternalSecret> {
    let spec: Value = serde_yaml::from_str(spec).expect("this is YAML");
    serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1beta1",
        "kind": "ExternalSecret",
        "metadata": {
            "name": "es", "namespace": "apps", "generation": 3,
            "labels": { "app": "x" }, "annotations": { "argocd": "y" },
        },
        "spec": spec,
        "status": status,
    }))
    .expect("every object can be read")
}

fn object(spec: &str) -> Object<ExternalSecret> {
    object_with(spec, Value::Null)
}

fn intent_of(object: &Object<ExternalSecret>) -> Result<Intent, Trouble> {
    ExternalSecret::intent(object, Owner::default(), &terms())
}

fn one(json: &str) -> Result<Found, ProviderError> {
    Ok(Found::One(Content::Object(JsonObject { data: json.into(), metadata: None })))
}

fn missing() -> Result<Found, ProviderError> {
    Err(ProviderError::new(ProviderErrorKind::Missing, "Secret does not exist"))
}

fn many(secrets: &[(&str, &str)]) -> Result<Found, ProviderError> {
    let content = |json: &str| Content::Object(JsonObject { data: json.into(), metadata: None });
    Ok(Found::Many(secrets.iter().map(|&(name, json)| (name.to_owned(), content(json))).collect()))
}

/// What the object is composed to: `key=value` of the data, then labels and annotations, then notes.
fn composed(object: &Object<ExternalSecret>, answers: Vec<Result<Found, ProviderError>>) -> Result<String, String> {
    let whole = |trouble: Trouble| format!("{trouble} ({:?})", trouble.retry);
    let intent = intent_of(object).map_err(whole)?;
    let held = |pairs: &[(&str, &str)]| -> BTreeMap<String, SecretText> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.into())).collect()
    };
    let at = |name: &str| ("apps".to_owned(), name.to_owned());
    let around = Around {
        config_maps: BTreeMap::from([(
            at("templates"),
            held(&[
                ("url", "http://{{ .user }}"),
                ("all", "user: {{ .user }}\nport: 5432"),
                ("b64", "{{ .user | b64enc }}"),
            ]),
        )]),
        secrets: BTreeMap::from([(at("more"), held(&[("greeting", "hi {{ .user }}")]))]),
        ..Around::default()
    };
    let mut rng = Zeros;
    let mut surroundings = Surroundings { now: 0, rng: &mut rng };
    let (composed, notes) =
        ExternalSecret::compose(object, &intent, answers, &around, &terms(), &mut surroundings).map_err(whole)?;
    let mut parts = Vec::new();
    match composed {
        Composed::Nothing => parts.push("nothing".to_owned()),
        Composed::Data(desired) => {
            parts
                .extend(desired.data.iter().map(|(key, value)| format!("{key}={}", value.expose_str().unwrap_or("?"))));
            parts.extend(desired.kind.map(|it| format!("type:{it}")));
            parts.extend(desired.labels.iter().map(|(key, value)| format!("label:{key}={value}")));
            parts.extend(desired.annotations.iter().map(|(key, value)| format!("annotation:{key}={value}")));
            parts.extend(desired.finalizers.iter().map(|it| format!("finalizer:{it}")));
        }
    }
    parts.extend(notes.iter().map(|it| format!("[{}]", it.text)));
    Ok(parts.join(" "))
}

const STORE: &str = "secretStoreRef: {name: s, kind: ClusterSecretStore}\n";

fn check(spec: &str, answers: Vec<Result<Found, ProviderError>>, expected: Result<&str, &str>) {
    let got = composed(&object(&format!("{STORE}{spec}")), answers);
    assert_eq!(got.as_deref().map_err(String::as_str), expected, "{spec}");
}

const COPIED: &str = " label:app=x annotation:argocd=y";

#[test]
fn entries_become_keys() {
    let ok = |text: &str| -> &'static str { format!("{text}{COPIED}").leak() };
    let a = "data: [{secretKey: a, remoteRef: {key: k, property: p}}]";
    let one_p = || vec![one(r#"{"p":"1","q":{"r":2}}"#)];
    check(a, one_p(), Ok(ok("a=1")));
    check("data: [{secretKey: a, remoteRef: {key: k}}]", one_p(), Ok(ok(r#"a={"p":"1","q":{"r":2}}"#)));
    check("data: [{secretKey: a, remoteRef: {key: k, property: q.r}}]", one_p(), Ok(ok("a=2")));
    check("dataFrom: [{extract: {key: k}}]", one_p(), Ok(ok(r#"p=1 q={"r":2}"#)));
    check("dataFrom: [{extract: {key: k, property: q}}]", one_p(), Ok(ok("r=2")));
    check(
        "data: [{secretKey: a, remoteRef: {key: k, property: p}}]\ndataFrom: [{extract: {key: k}}, {extract: \
         {key: l}}]",
        vec![one(r#"{"a":"1","b":"1","c":"1"}"#), one(r#"{"a":"2","b":"2"}"#), one(r#"{"p":"3"}"#)],
        Ok(ok("a=3 b=2 c=1")),
    );
    check(
        "dataFrom: [{extract: {key: k}}]",
        vec![one(r#"{"my key/1":"v","":"w"}"#)],
        Ok(ok("_=w my_key_1=v").replace("_=w ", "").leak()),
    );
    check(
        "dataFrom: [{extract: {key: k, conversionStrategy: Unicode}}]",
        vec![one(r#"{"my key/1":"v"}"#)],
        Ok(ok("my_U0020_key_U002f_1=v")),
    );
    check(
        "dataFrom: [{find: {path: app, name: {regexp: .*}}}]",
        vec![many(&[("app/a", r#"{"x":1}"#), ("app/b", r#"{"y":"<"}"#)])],
        Ok(ok(r#"app_a={"x":1} app_b={"y":"\u003c"}"#)),
    );
    check(
        "dataFrom: [{find: {path: app}, rewrite: [{regexp: {source: 'app/(.*)', target: $1}}, {transform: \
         {template: '{{ .value | upper }}'}}]}]",
        vec![many(&[("app/a", "{}"), ("app/b", "{}")])],
        Ok(ok("A={} B={}")),
    );
    check(
        "dataFrom: [{extract: {key: k, decodingStrategy: Base64}}]",
        vec![one(r#"{"a":"aGVsbG8="}"#)],
        Ok(ok("a=hello")),
    );
    check(
        "data: [{secretKey: a, remoteRef: {key: k, property: p, decodingStrategy: Auto}}]",
        vec![one(r#"{"p":"aGVsbG8="}"#)],
        Ok(ok("a=hello")),
    );
}

#[test]
fn what_cannot_be_had_is_told_with_its_place() {
    let a = "data: [{secretKey: a, remoteRef: {key: k, property: p}}]";
    let prefix = "could not get secret data from provider: error processing ";
    let told = |text: &str| -> &'static str { format!("{prefix}{text} (BackOff)").leak() };
    check(a, vec![missing()], Err(told("spec.data[0] (key: k), err: Secret does not exist")));
    check(a, vec![one("{}")], Err(told("spec.data[0] (key: k), err: cannot find secret data for key: \"p\"")));
    check(
        "dataFrom: [{extract: {key: k}}]",
        vec![missing()],
        Err(told("spec.dataFrom[0].extract, err: Secret does not exist")),
    );
    check("dataFrom: [{find: {}}]", vec![missing()], Err(told("spec.dataFrom[0].find, err: Secret does not exist")));
    check(
        "dataFrom: [{extract: {key: k}}]",
        vec![one(r#"{"a/b":"1","a_b":"2"}"#)],
        Err(told("spec.dataFrom[0].extract, err: secret name collision during conversion: two names become \"a_b\"")),
    );
    check(
        "dataFrom: [{extract: {key: k}, rewrite: [{regexp: {source: x, target: y}}]}]",
        vec![one(r#"{"a/b":"1"}"#)],
        Err(told(
            "spec.dataFrom[0].extract, err: invalid secret keys (TIP: rewrite them, or change the \
             conversionStrategy): \"a/b\"",
        )),
    );
    check(
        "dataFrom: [{extract: {key: k, decodingStrategy: Base64}}]",
        vec![one(r#"{"a":"hunter2!"}"#)],
        Err(told(
            "spec.dataFrom[0].extract, err: error applying decoding strategy Base64: the value is not such text \
             (key: a)",
        )),
    );
    check(
        "data: [{secretKey: a, remoteRef: {key: k, property: p, nullBytePolicy: Fail}}]",
        vec![one(r#"{"p":"a\u0000b"}"#)],
        Err(told("spec.data[0] (key: k), err: the value holds a null byte, which nullBytePolicy Fail refuses")),
    );
    let busy = ProviderErrorKind::Unavailable { retry_after: Some(Duration::from_secs(9)) };
    let got = composed(&object(&format!("{STORE}{a}")), vec![Err(ProviderError::new(busy, "busy"))]);
    assert_eq!(got.expect_err("it is busy"), format!("{prefix}spec.data[0] (key: k), err: busy (After(9s))"));
}

#[test]
fn what_does_not_exist_counts_as_the_deletion_policy_says() {
    let two =
        "data: [{secretKey: a, remoteRef: {key: k, property: p}}, {secretKey: b, remoteRef: {key: l, property: p}}]";
    let note_of =
        |n: usize, key: &str| format!("[secret does not exist at provider using spec.dataFrom[{n}] (key={key})]");
    let some = || vec![missing(), one(r#"{"p":"2"}"#)];
    let none = || vec![missing(), missing()];
    for policy in ["Delete", "Merge"] {
        let spec = format!("{two}\ntarget: {{deletionPolicy: {policy}}}");
        check(&spec, some(), Ok(&format!("b=2{COPIED} {}", note_of(0, "k"))));
        let all = format!("{} {}", note_of(0, "k"), note_of(1, "l"));
        match policy {
            "Delete" => check(&spec, none(), Ok(&format!("nothing {all}"))),
            _ => check(&spec, none(), Ok(&format!("{} {all}", COPIED.trim_start()))),
        }
        // A part that is missing is no secret that is missing.
        assert!(composed(&object(&format!("{STORE}{spec}")), vec![one("{}"), missing()]).is_err());
        assert!(
            composed(
                &object(&format!("{STORE}{spec}")),
                vec![missing(), Err(ProviderError::new(ProviderErrorKind::Denied, "no"))]
            )
            .is_err()
        );
    }
    check("dataFrom: [{find: {}}]", vec![many(&[])], Ok("nothing"));
    check("dataFrom: [{extract: {key: k}}]", vec![one("{}")], Ok("nothing"));
    check(
        "dataFrom: [{extract: {key: k}}]\ntarget: {deletionPolicy: Delete}",
        vec![missing()],
        Ok("nothing [secret does not exist at provider using spec.dataFrom[0]]"),
    );
    // It is told once.
    let deleted = json!({ "conditions": [{ "type": "Ready", "status": "True", "reason": "SecretDeleted" }] });
    let object = object_with(&format!("{STORE}{two}\ntarget: {{deletionPolicy: Delete}}"), deleted);
    assert_eq!(composed(&object, none()).as_deref(), Ok("nothing"));
}

#[test]
fn templates_shape_the_secret() {
    let user = || vec![one(r#"{"user":"u","pass":"p&"}"#)];
    let spec = |template: &str| format!("dataFrom: [{{extract: {{key: k}}}}]\ntarget: {{template: {template}}}");
    for (template, expected) in [
        ("{}", "pass=p& user=u"),
        ("{metadata: {labels: {x: '{{ .user }}'}}}", "pass=p& user=u label:x=u"),
        ("{data: {url: 'pg://{{ .user }}:{{ .pass }}@h'}}", "url=pg://u:p&@h"),
        ("{mergePolicy: Merge, data: {user: 'U{{ .user }}'}}", "pass=p& user=Uu"),
        (
            "{type: kubernetes.io/basic-auth, metadata: {finalizers: [f]}}",
            "pass=p& user=u type:kubernetes.io/basic-auth finalizer:f",
        ),
        ("{templateFrom: [{configMap: {name: templates, items: [{key: url}]}}]}", "url=http://u"),
        ("{data: {url: mine}, templateFrom: [{configMap: {name: templates, items: [{key: url}]}}]}", "url=mine"),
        (
            "{templateFrom: [{configMap: {name: templates, items: [{key: all, templateAs: KeysAndValues}]}}]}",
            "port=5432 user=u",
        ),
        ("{templateFrom: [{secret: {name: more, items: [{key: greeting}]}}]}", "greeting=hi u"),
        ("{templateFrom: [{literal: 'l: {{ .user }}', target: Labels}]}", "label:l=u"),
        ("{templateFrom: [{literal: 'l: {{ .user }}', target: annotations}]}", "annotation:l=u"),
        (
            "{templateFrom: [{configMap: {name: templates, items: [{key: b64}]}, valuesDecodingStrategy: Base64}]}",
            "b64=u",
        ),
    ] {
        check(&spec(template), user(), Ok(expected));
    }
    for (template, expected) in [
        ("{data: {url: '{{ .nope }}'}}", "spec.target.template.data: template \"url\""),
        (
            "{data: {url: '{{ env \"PATH\" }}'}}",
            "spec.target.template.data: template \"url\", line 1: function \"env\" not defined",
        ),
        (
            "{templateFrom: [{configMap: {name: none, items: [{key: url}]}}]}",
            "spec.target.template.templateFrom[0]: there is no ConfigMap \"none\"",
        ),
        (
            "{templateFrom: [{secret: {name: more, items: [{key: none}]}}]}",
            "spec.target.template.templateFrom[0]: the Secret \"more\" has no key \"none\"",
        ),
    ] {
        let got = composed(&object(&format!("{STORE}{}", spec(template))), user()).expect_err("it cannot be made");
        assert!(got.starts_with(&format!("could not update secret: {expected}")), "{template}: {got}");
        assert!(got.ends_with("(BackOff)") && !got.contains("p&"), "{template}: {got}");
    }
    let wants = object(&spec(
        "{templateFrom: [{configMap: {name: c}}, {secret: {name: s}}, {literal: x}, {configMap: {name: c}}]}",
    ));
    let apps = || "apps".to_owned();
    assert_eq!(
        ExternalSecret::around(&wants),
        [AroundRef::ConfigMap(apps(), "c".to_owned()), AroundRef::Secret(apps(), "s".to_owned())]
    );
}

#[test]
fn an_object_becomes_an_intent() {
    let object = object(
        "secretStoreRef: {name: s}\nrefreshInterval: 60m\ntarget: {creationPolicy: CreateOrMerge, immutable: true}\n\
         data: [{secretKey: a, remoteRef: {key: k, version: '2', metadataPolicy: Fetch}, sourceRef: {storeRef: {name: c, kind: ClusterSecretStore}}}]\n\
         dataFrom: [{find: {path: p, tags: {env: prod}}}]\nunknown: {}",
    );
    let intent = intent_of(&object).expect("it can be understood");
    let places: Vec<(&str, &str, &str)> =
        intent.reads.iter().map(|it| (it.place.as_str(), it.store.kind, it.store.namespace.as_str())).collect();
    assert_eq!(
        places,
        [("spec.dataFrom[0].find", "SecretStore", "apps"), ("spec.data[0] (key: k)", "ClusterSecretStore", "")]
    );
    assert!(intent.reads.iter().all(|it| it.store.reader == "apps"));
    assert_eq!((intent.target.name.as_str(), intent.target.immutable), ("es", true));
    assert_eq!(intent.refresh, Refresh::Every(Duration::from_secs(3600)));
    assert_eq!(ExternalSecret::stores(&object).len(), 2);
}

#[test]
fn what_cannot_be_understood_is_told_and_not_tried_again() {
    let a = "data: [{secretKey: a, remoteRef: {key: k}}]";
    for (spec, expected) in [
        (
            format!("{STORE}{a}\nrefreshInterval: abc"),
            "invalid ExternalSecret: spec.refreshInterval: \"abc\" is no duration: write it like 30s, 5m or 1h30m",
        ),
        (format!("{STORE}{a}\nrefreshPolicy: Sometimes"), "invalid ExternalSecret: spec.refreshPolicy: cannot be read"),
        (format!("{STORE}data: 5"), "invalid ExternalSecret: spec.data: expected a sequence"),
        (
            a.to_owned(),
            "invalid ExternalSecret: spec.data[0] (key: k): no store: give spec.secretStoreRef or \
             sourceRef.storeRef a name, \
             and a kind of SecretStore or ClusterSecretStore",
        ),
        (
            format!("{STORE}{a}\ntarget: {{manifest: {{apiVersion: v1, kind: ConfigMap}}}}"),
            "invalid generic target: spec.target.manifest: targets other than Secrets are not served yet",
        ),
        (
            "dataFrom: [{sourceRef: {generatorRef: {kind: Grafana, name: g}}}]".to_owned(),
            "could not get secret data from provider: error processing spec.dataFrom[0].sourceRef.generatorRef, err: \
             this kind of generator is not served yet",
        ),
        (
            "data: [{secretKey: a, remoteRef: {key: k}, sourceRef: {generatorRef: {kind: Password, name: p}}}]"
                .to_owned(),
            "invalid ExternalSecret: spec.data[0].sourceRef.generatorRef: what generators make is taken by spec.dataFrom",
        ),
        (
            "dataFrom: [{extract: {key: k}, sourceRef: {generatorRef: {kind: Password, name: p}}}]".to_owned(),
            "invalid ExternalSecret: spec.dataFrom[0]: extract, find and sourceRef.generatorRef exclude each other",
        ),
    ] {
        let object = object(&spec);
        let trouble = intent_of(&object).expect_err("it cannot be understood");
        let told = trouble.to_string();
        let is_enumeration =
            expected.ends_with("cannot be read") && told.starts_with("invalid ExternalSecret: spec.refreshPolicy");
        assert!(told == expected || is_enumeration, "{spec}: {told}");
        assert_eq!((trouble.reason, trouble.retry), ("UpdateFailed", Retry::OnChange), "{spec}");
        let outcome = Outcome { began: Timestamp::UNIX_EPOCH, result: Err(trouble) };
        let status = ExternalSecret::status(&object, None, &outcome, Timestamp::UNIX_EPOCH).expect("it is news");
        assert_eq!(status["conditions"][0]["reason"], "SecretSyncedError");
        assert_eq!(status["conditions"][0]["message"], told);
        assert_eq!(status.get("refreshTime"), None);
    }
}

#[test]
fn refreshes_are_due_when_the_original_says_so() {
    let now: Timestamp = "2026-01-02T12:00:00Z".parse().expect("this is a time");
    let a = format!("{STORE}data: [{{secretKey: a, remoteRef: {{key: k}}}}]\n");
    let current = refresh::version(&object(&a));
    assert!(current.starts_with("3-") && current.len() == 58, "{current}");
    let (recent, old, future) = ("2026-01-02T11:30:00Z", "2026-01-02T10:00:00Z", "2026-01-02T13:00:00Z");
    let same = current.as_str();
    let hour = |n: f64| Some(Duration::from_secs_f64(3600.0 * n));
    let closed = "syncWindows: {kind: allow, windows: [{schedule: 0 13 * * *, duration: 1h}]}";
    let denied = "syncWindows: {kind: deny, windows: [{schedule: 0 11 * * *, duration: 2h}]}";
    for (spec, version, refreshed, in_step, expected, next) in [
        ("", "", Value::Null, true, true, hour(0.0)),
        ("", same, json!(recent), true, false, hour(0.5)),
        ("", same, json!(recent), false, true, hour(0.5)),
        ("", "2-x", json!(recent), true, true, hour(0.5)),
        ("", same, Value::Null, true, true, hour(0.0)),
        ("", same, json!(old), true, true, hour(0.0)),
        ("", same, json!(future), true, true, hour(2.0)),
        ("", same, json!("2026-01-02T11:00:00Z"), true, false, hour(0.0)),
        ("refreshInterval: 2h", same, json!(recent), true, false, hour(1.5)),
        ("refreshInterval: '0'", "", Value::Null, true, true, None),
        ("refreshInterval: '0'", "2-x", json!(old), true, false, None),
        ("refreshInterval: 0s", same, Value::Null, true, false, None),
        ("refreshInterval: -1s", same, json!(old), false, true, None),
        ("refreshPolicy: CreatedOnce", "", Value::Null, true, true, None),
        ("refreshPolicy: CreatedOnce", "2-x", json!(old), true, false, None),
        ("refreshPolicy: CreatedOnce", "2-x", Value::Null, true, true, None),
        ("refreshPolicy: CreatedOnce", same, json!(old), false, true, None),
        ("refreshPolicy: OnChange", same, json!(old), true, false, None),
        ("refreshPolicy: OnChange", "2-x", json!(old), true, true, None),
        ("refreshPolicy: OnChange", same, Value::Null, true, true, None),
        (closed, same, json!(old), true, false, hour(1.0)),
        (closed, "2-x", json!(old), true, true, hour(1.0)),
        (closed, same, json!(old), false, true, hour(1.0)),
        (closed, same, json!(recent), true, false, hour(0.5)),
        (denied, same, json!(old), true, false, hour(1.0)),
    ] {
        let status = json!({ "syncedResourceVersion": version, "refreshTime": refreshed });
        let object = object_with(&format!("{a}{spec}"), status.clone());
        let intent = intent_of(&object).expect("it can be understood");
        assert_eq!(ExternalSecret::is_due(&object, &intent, in_step, now), expected, "{spec} {status} {in_step}");
        assert_eq!(ExternalSecret::next(&object, &intent, now), next, "{spec} {status}");
    }
}

#[test]
fn the_status_tells_what_became_of_it() {
    let spec = format!("{STORE}data: [{{secretKey: a, remoteRef: {{key: k}}}}]\n");
    let began: Timestamp = "2026-01-02T03:04:05.9Z".parse().expect("this is a time");
    let now: Timestamp = "2026-01-02T03:04:07Z".parse().expect("this is a time");
    let before = |is: &str, reason: &str, message: &str| {
        json!({
            "conditions": [
                { "type": "Other", "status": "True", "extra": 1 },
                { "type": "Ready", "status": is, "reason": reason, "message": message,
                  "lastTransitionTime": "2026-01-01T00:00:00Z" },
            ],
            "refreshTime": "2026-01-01T00:00:00Z",
            "binding": { "name": "es" },
        })
    };
    let done = |verdict| Ok(Done { verdict, mac: None, identity: None, restarts: Vec::new() });
    let failed = |detail: &str| Err(Trouble::new(UPDATE_FAILED, COULD_NOT_READ, detail));
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T03:04:07Z");
    let synced = || before("True", "SecretSynced", "secret synced");
    for (before, result, expected, since) in [
        (synced(), done(Verdict::Synced), None, old),
        (
            synced(),
            done(Verdict::Retained),
            Some("True SecretSynced secret retained due to DeletionPolicy=Retain"),
            old,
        ),
        (synced(), done(Verdict::Deleted), Some("True SecretDeleted secret deleted due to DeletionPolicy=Delete"), old),
        (
            synced(),
            done(Verdict::TargetMissing),
            Some("True SecretMissing secret will not be created due to CreationPolicy=Merge"),
            old,
        ),
        (
            synced(),
            done(Verdict::Immutable),
            Some("False SecretSyncedError could not update secret, target is immutable"),
            new,
        ),
        (synced(), failed("why"), Some("False SecretSyncedError could not get secret data from provider: why"), new),
        (synced(), failed(""), Some("False SecretSyncedError could not get secret data from provider"), new),
        (
            before("False", "SecretSyncedError", "could not get secret data from provider: why"),
            failed("why else"),
            Some("False SecretSyncedError could not get secret data from provider: why else"),
            old,
        ),
        (
            before("False", "SecretSyncedError", "x"),
            done(Verdict::Synced),
            Some("True SecretSynced secret synced"),
            new,
        ),
    ] {
        let object = object_with(&spec, before.clone());
        let intent = intent_of(&object).expect("it can be understood");
        let is_failure = expected.is_some_and(|it| it.starts_with("False"));
        let status =
            ExternalSecret::status(&object, Some(&intent), &Outcome { began, result }, now).expect("it is news");
        let condition = status.get("conditions").map(|it| {
            assert_eq!(it[0], json!({ "type": "Other", "status": "True", "extra": 1 }));
            assert_eq!(it[1]["lastTransitionTime"], since, "{before}");
            ["status", "reason", "message"].map(|word| it[1][word].as_str().unwrap_or_default()).join(" ")
        });
        assert_eq!(condition.as_deref(), expected, "{before}");
        assert_eq!(status.get("refreshTime").is_none(), is_failure);
        assert_eq!(status.get("syncedResourceVersion").is_none(), is_failure);
        assert!(is_failure || status["refreshTime"] == "2026-01-02T03:04:05Z");
        assert_eq!(status.get("binding"), None, "it is as it was");
    }
    // The same failure is told once.
    let why = before("False", "SecretSyncedError", "could not get secret data from provider: why");
    let object = object_with(&spec, why);
    let outcome = Outcome { began, result: failed("why") };
    assert_eq!(ExternalSecret::status(&object, None, &outcome, now), None);
    // The first success tells all.
    let object = object_with(&spec, Value::Null);
    let intent = intent_of(&object).expect("it can be understood");
    let outcome = Outcome { began, result: done(Verdict::Synced) };
    let status = ExternalSecret::status(&object, Some(&intent), &outcome, now).expect("it is news");
    assert_eq!(status["binding"], json!({ "name": "es" }));
    assert_eq!(status["syncedResourceVersion"], refresh::version(&object));
}

#[test]
fn an_absent_target_is_what_some_syncs_leave() {
    for (is, reason, expected) in [
        ("True", "SecretDeleted", true),
        ("True", "SecretMissing", true),
        ("True", "SecretSynced", false),
        ("False", "SecretDeleted", false),
    ] {
        let status = json!({ "conditions": [{ "type": "Ready", "status": is, "reason": reason }] });
        assert_eq!(ExternalSecret::leaves_no_target(&object_with("{}", status)), expected, "{is} {reason}");
    }
    for (target, expected) in [
        ("{deletionPolicy: Delete}", true),
        ("{deletionPolicy: Delete, creationPolicy: Orphan}", false),
        ("{deletionPolicy: Retain}", false),
        ("{}", false),
    ] {
        assert_eq!(ExternalSecret::needs_finalizer(&object(&format!("target: {target}"))), expected, "{target}");
    }
}
