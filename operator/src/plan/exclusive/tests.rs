//! Which write and which restart follow from what is there and what should be there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use leafseal::secret::SecretText;
use serde_json::json;

use super::*;
use crate::api::vault_secrets::API_VERSION;
use crate::intent::{Refresh, WhenMissing, WorkloadRef};

fn data(text: &str) -> Data {
    text.split(' ').filter_map(|it| it.split_once('=')).map(|(k, v)| (k.to_owned(), SecretText::from(v))).collect()
}

fn texts(text: &str) -> Labels {
    text.split(' ').filter_map(|it| it.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn intent(ownership: Ownership) -> Intent {
    Intent {
        owner: Owner {
            api_version: API_VERSION.into(),
            kind: "VaultStaticSecret",
            namespace: "app".into(),
            name: "db".into(),
            uid: "u1".into(),
            ..Owner::default()
        },
        reads: Vec::new(),
        target: Target {
            namespace: "app".into(),
            name: "db".into(),
            ownership,
            when_missing: WhenMissing::Retain,
            immutable: false,
        },
        refresh: Refresh::OnChange,
        restarts: vec![WorkloadRef { kind: "Deployment".into(), name: "web".into() }],
    }
}

const CREATE: Ownership = Ownership::Exclusive { overwrite: false };

/// `mac` stands for the MAC of any data: the text itself.
fn desired(text: &str) -> Desired {
    Desired { data: data(text), mac: Some(text.into()), ..Desired::default() }
}

fn made(text: &str) -> Secret {
    let mut secret = fresh(&intent(CREATE), &desired(text));
    secret.metadata.uid = Some("s1".into());
    secret.metadata.resource_version = Some("7".into());
    secret
}

fn foreign(text: &str) -> Secret {
    let mut secret = made(text);
    secret.metadata.labels = None;
    secret.metadata.owner_references = None;
    secret
}

fn decide(intent: &Intent, target: Option<Secret>, mac: Option<&str>, desired: Desired) -> Result<Plan, Trouble> {
    let observed = Observed { target, mac: mac.map(Into::into), ..Observed::default() };
    super::super::plan(intent, &observed, Composed::Data(desired))
}

fn written(plan: &Plan) -> &Secret {
    match &plan.action {
        Action::Create(it) | Action::Replace(it) | Action::Recreate { secret: it, .. } => it,
        other => panic!("nothing is written: {other:?}"),
    }
}

/// Spec section A.4.2, truth table, with the improved rows.
#[test]
fn workloads_restart_for_data_they_have_not_seen() {
    for (what, held, recorded, wanted, writes, restart) in [
        ("first sync", None, None, "a=1", true, None),
        ("nothing", Some("a=1"), Some("a=1"), "a=1", false, None),
        ("the store changed", Some("a=1"), Some("a=1"), "a=2", true, Some(Cause::Changed)),
        ("a key went", Some("a=1 b=2"), Some("a=1 b=2"), "a=1", true, Some(Cause::Changed)),
        ("drift", Some("a=evil"), Some("a=1"), "a=1", true, Some(Cause::Repaired)),
        ("a key was added", Some("a=1 b=2"), Some("a=1"), "a=1", true, Some(Cause::Repaired)),
        ("deleted", None, Some("a=1"), "a=1", true, Some(Cause::Repaired)),
        ("deleted and changed", None, Some("a=1"), "a=2", true, Some(Cause::Changed)),
        ("killed after the write", Some("a=2"), Some("a=1"), "a=2", false, Some(Cause::Changed)),
        ("status wiped", Some("a=1"), None, "a=1", false, None),
        ("status wiped and changed", Some("a=1"), None, "a=2", true, None),
        ("empty is empty", Some("a="), Some("a="), "a=", false, None),
        ("no data", Some(""), Some(""), "", false, None),
    ] {
        for ownership in [CREATE, Ownership::DataOnly] {
            let secret = held.map(made);
            if secret.is_none() && ownership == Ownership::DataOnly {
                continue;
            }
            let plan = decide(&intent(ownership), secret, recorded, desired(wanted)).expect(what);
            assert_eq!(!matches!(plan.action, Action::Keep), writes, "{what}: {:?}", plan.action);
            assert_eq!(plan.restart, restart, "{what}");
            assert_eq!(plan.notes.len(), usize::from(writes), "{what}");
            assert_eq!(plan.verdict, Verdict::Synced, "{what}");
        }
    }
}

#[test]
fn nothing_restarts_without_a_mac_or_without_targets() {
    let without = Desired { mac: None, ..desired("a=2") };
    let plan = decide(&intent(CREATE), Some(made("a=1")), Some("a=1"), without).expect("it is ours");
    assert_eq!(plan.restart, None);
    let nobody = Intent { restarts: Vec::new(), ..intent(CREATE) };
    let plan = decide(&nobody, Some(made("a=1")), Some("a=1"), desired("a=2")).expect("it is ours");
    assert_eq!(plan.restart, None);
}

#[test]
fn a_secret_is_made_with_its_marks() {
    let wanted = Desired {
        labels: texts("x=1 app.kubernetes.io/managed-by=me"),
        annotations: texts("n=1"),
        kind: Some("kubernetes.io/tls".into()),
        ..desired("a=1")
    };
    let plan = decide(&intent(CREATE), None, None, wanted).expect("there is nothing in the way");
    assert!(matches!(plan.action, Action::Create(_)));
    let made = written(&plan);
    assert_eq!(
        made.metadata.labels,
        Some(texts(
            "x=1 app.kubernetes.io/managed-by=hashicorp-vso app.kubernetes.io/name=vault-secrets-operator \
             app.kubernetes.io/component=secret-sync secrets.hashicorp.com/vso-ownerRefUID=u1"
        ))
    );
    assert_eq!(made.metadata.annotations, Some(texts("n=1")));
    let references = serde_json::to_value(&made.metadata.owner_references).expect("it prints");
    let expected = json!([{ "apiVersion": API_VERSION, "kind": "VaultStaticSecret", "name": "db", "uid": "u1" }]);
    assert_eq!(references, expected);
    assert_eq!(made.type_.as_deref(), Some("kubernetes.io/tls"));
}

#[test]
fn a_secret_of_somebody_else_is_taken_over_only_where_nobody_here_owns_it() {
    let other = || {
        let mut secret = made("a=0");
        secret.metadata.owner_references.as_mut().expect("it has an owner")[0].uid = "u2".into();
        secret
    };
    let shared = || {
        let mut secret = made("a=0");
        secret.metadata.owner_references.as_mut().expect("it has an owner")[0].controller = Some(true);
        secret
    };
    for (what, secret, overwrite, is_written) in [
        ("a stranger's", foreign("a=0"), false, false),
        ("a stranger's", foreign("a=0"), true, true),
        ("another object's", other(), false, false),
        ("another object's", other(), true, false),
        ("not solely ours", shared(), true, false),
        ("ours", made("a=0"), false, true),
        ("ours", made("a=0"), true, true),
    ] {
        let plan = decide(&intent(Ownership::Exclusive { overwrite }), Some(secret), None, desired("a=1"));
        match plan {
            Ok(plan) => {
                assert!(is_written, "{what}");
                let now = written(&plan);
                assert_eq!(data_of(now), data("a=1"));
                assert_eq!(now.metadata.resource_version.as_deref(), Some("7"), "guarded by what was seen");
                assert!(is_marked(&now.metadata) && is_owned(&now.metadata, &intent(CREATE).owner));
            }
            Err(trouble) => {
                assert!(!is_written, "{what}: {trouble}");
                assert_eq!(trouble.reason, "SecretSyncError");
            }
        }
    }
}

#[test]
fn what_others_put_on_it_stays_and_what_was_asked_for_goes() {
    let entry = |manager: &str, labels: &[&str], annotations: &[&str]| {
        let fields = |names: &[&str]| -> serde_json::Map<_, _> {
            names.iter().map(|it| (format!("f:{it}"), json!({}))).collect()
        };
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            fields_v1: Some(FieldsV1(
                json!({ "f:metadata": { "f:labels": fields(labels), "f:annotations": fields(annotations) } }),
            )),
            ..ManagedFieldsEntry::default()
        }
    };
    let mut held = made("a=1");
    held.metadata.labels.as_mut().expect("it has marks").extend(texts("old=1 both=1 theirs=1"));
    held.metadata.annotations = Some(texts("foo=bar gone=1"));
    held.metadata.finalizers = Some(vec!["example.org/keep".into()]);
    held.metadata.managed_fields = Some(vec![
        entry(FIELD_MANAGER, &["old", "both", "app.kubernetes.io/name"], &["gone"]),
        entry("kubectl", &["both", "theirs"], &["foo"]),
    ]);
    let wanted = Desired { labels: texts("new=1"), ..desired("a=1") };
    let plan = decide(&intent(CREATE), Some(held), Some("a=1"), wanted).expect("it is ours");
    let now = &written(&plan).metadata;
    let mut labels = now.labels.clone().expect("it has labels");
    labels.retain(|name, _| !name.contains('/'));
    assert_eq!(labels, texts("new=1 both=1 theirs=1"));
    assert_eq!(now.annotations, Some(texts("foo=bar")));
    assert_eq!(now.finalizers.as_deref(), Some(&["example.org/keep".to_owned()][..]));
    assert!(is_marked(now));
    assert_eq!(plan.restart, None, "the object alone changed");
}

#[test]
fn another_type_needs_another_secret() {
    let mut held = made("a=1");
    held.type_ = Some("kubernetes.io/tls".into());
    held.metadata.labels.as_mut().expect("it has marks").insert("theirs".into(), "1".into());
    let plan = decide(&intent(CREATE), Some(held), Some("a=1"), desired("a=1")).expect("it is ours");
    let Action::Recreate { uid, secret } = &plan.action else { panic!("{:?}", plan.action) };
    assert_eq!((uid.as_str(), secret.type_.as_deref()), ("s1", Some("Opaque")));
    assert_eq!((&secret.metadata.uid, &secret.metadata.resource_version), (&None, &None));
    assert!(secret.metadata.labels.as_ref().is_some_and(|it| it.contains_key("theirs")));
    assert_eq!(plan.restart, None);
}

#[test]
fn an_immutable_secret_is_not_changed() {
    for ownership in [CREATE, Ownership::DataOnly] {
        let held = Secret { immutable: Some(true), ..made("a=1") };
        assert!(decide(&intent(ownership), Some(held.clone()), None, desired("a=2")).is_err());
        assert!(decide(&intent(ownership), Some(held), None, desired("a=1")).is_ok());
    }
}

#[test]
fn the_data_alone_is_kept_of_a_secret_that_is_not_ours() {
    let only = intent(Ownership::DataOnly);
    let trouble = decide(&only, None, None, desired("a=1")).expect_err("there is none");
    assert_eq!(trouble.retry, Retry::After(Duration::from_secs(5)));

    let mut held = foreign("a=0");
    held.metadata.labels = Some(texts("theirs=1"));
    held.type_ = Some("example.org/kind".into());
    let wanted = Desired { labels: texts("x=1"), kind: Some("Opaque".into()), ..desired("a=1") };
    let plan = decide(&only, Some(held.clone()), None, wanted.clone()).expect("it is there");
    let expected = Secret { data: stored(&data("a=1")), ..held.clone() };
    assert_eq!(written(&plan), &expected);
    // The same again: nothing, however often (spec section A.4.2, the loop).
    let plan = decide(&only, Some(expected), Some("a=1"), wanted).expect("it is there");
    assert!(matches!(plan.action, Action::Keep) && plan.restart.is_none() && plan.notes.is_empty());
}

#[test]
fn nothing_in_the_store_leaves_the_target() {
    for ownership in [CREATE, Ownership::DataOnly] {
        let observed = Observed { target: Some(made("a=1")), mac: Some("a=1".into()), ..Observed::default() };
        let plan = super::super::plan(&intent(ownership), &observed, Composed::Nothing).expect("nothing is asked");
        assert!(matches!(plan.action, Action::Keep) && plan.restart.is_none());
        assert_eq!(plan.verdict, Verdict::Retained);
    }
}

#[test]
fn targets_of_former_times_are_known_and_pruned() {
    let it = intent(CREATE);
    let mut old = made("a=1").metadata;
    assert!(!is_former(&old, &it.owner, &it.target), "the target itself");
    old.name = Some("old".into());
    assert!(is_former(&old, &it.owner, &it.target));
    assert!(!is_former(&old, &Owner { uid: "u2".into(), ..it.owner.clone() }, &it.target));
    assert!(!is_former(&old, &it.owner, &intent(Ownership::DataOnly).target));
    old.owner_references = None;
    assert!(!is_former(&old, &it.owner, &it.target));

    let former = vec![("old".to_owned(), "s0".to_owned())];
    let observed = Observed { former: former.clone(), ..Observed::default() };
    let plan = super::super::plan(&it, &observed, Composed::Data(desired("a=1"))).expect("nothing is in the way");
    assert_eq!(plan.prune, former);
}
