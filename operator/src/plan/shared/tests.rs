//! Tables of what is done to targets.

use serde_json::json;

use super::*;
use crate::intent::Refresh;

const SIBLING: &str = "ExternalSecret/other";

fn owner() -> Owner {
    Owner {
        api_version: "external-secrets.io/v1".to_owned(),
        kind: "ExternalSecret",
        namespace: "apps".to_owned(),
        name: "es".to_owned(),
        uid: "uid-es".to_owned(),
        ..Owner::default()
    }
}

fn intent(ownership: Ownership, when_missing: WhenMissing) -> Intent {
    let (namespace, name) = ("apps".to_owned(), "target".to_owned());
    Intent {
        owner: owner(),
        reads: Vec::new(),
        target: Target { namespace, name, ownership, when_missing, immutable: false },
        refresh: Refresh::OnChange,
        restarts: Vec::new(),
    }
}

fn data(pairs: &[(&str, &str)]) -> Data {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.into())).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn desired(pairs: &[(&str, &str)]) -> Composed {
    Composed::Data(Desired { data: data(pairs), labels: labels(&[("app", "x")]), ..Desired::default() })
}

/// A Secret that somebody made by hand, controlled by `kind/name`.
fn handmade(pairs: &[(&str, &str)], controller: Option<&str>) -> Secret {
    let references = controller.map(|it| {
        let (kind, name) = it.split_once('/').expect("a kind and a name");
        let api_version = if kind == "ExternalSecret" { "external-secrets.io/v1" } else { "apps/v1" };
        json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": "uid-other", "controller": true }])
    });
    let mut secret: Secret = serde_json::from_value(json!({
        "metadata": {
            "name": "target", "namespace": "apps", "uid": "uid-target", "resourceVersion": "7",
            "ownerReferences": references.unwrap_or(json!([])),
        },
        "type": "Opaque",
    }))
    .expect("this is a Secret");
    let bytes = data(pairs).into_iter().map(|(key, value)| (key, ByteString(value.expose().to_vec())));
    secret.data = Some(bytes.collect());
    secret
}

/// The Secret as the original left it.
fn synced(pairs: &[(&str, &str)], api_version: &str) -> Secret {
    let mut secret = handmade(pairs, None);
    let keys: serde_json::Map<_, _> = pairs.iter().map(|(key, _)| (format!("f:{key}"), json!({}))).collect();
    secret.metadata = serde_json::from_value(json!({
        "name": "target", "namespace": "apps", "uid": "uid-target", "resourceVersion": "7",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": { "app": "x", MANAGED: "true", CREATED_BY: digest::owner_label("apps", "es") },
        "annotations": { DATA_HASH: digest::data_hash(&data(pairs)) },
        "ownerReferences": [{
            "apiVersion": api_version, "kind": "ExternalSecret", "name": "es", "uid": "uid-es",
            "controller": true, "blockOwnerDeletion": true,
        }],
        "managedFields": [{
            "manager": "externalsecrets.external-secrets.io/es", "operation": "Update", "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:data": keys,
                "f:metadata": {
                    "f:labels": { ".": {}, "f:app": {}, format!("f:{MANAGED}"): {}, format!("f:{CREATED_BY}"): {} },
                    "f:annotations": { format!("f:{DATA_HASH}"): {} },
                },
            },
        }],
    }))
    .expect("this is metadata");
    secret
}

fn observed(target: Option<Secret>) -> Observed {
    Observed { target, ..Observed::default() }
}

/// What a plan does, in a line: the action, what the Secret then holds and how it is owned, the verdict and
/// the reasons of notes.
fn told(plan: Result<Plan, Trouble>) -> String {
    let plan = match plan {
        Ok(plan) => plan,
        Err(trouble) => return format!("{} ({:?})", trouble.message, trouble.retry),
    };
    let (action, secret) = match &plan.action {
        Action::Keep => ("keep".to_owned(), None),
        Action::Create(secret) => ("create".to_owned(), Some(secret)),
        Action::Replace(secret) => ("replace".to_owned(), Some(secret)),
        Action::Delete { uid, resource_version } => (format!("delete {uid}@{resource_version}"), None),
        Action::Recreate { .. } => ("recreate".to_owned(), None),
    };
    let holds = secret.map_or(String::new(), |it| {
        let keys: Vec<String> = data_of(it).keys().cloned().collect();
        let by = controller(it).map_or("nobody".to_owned(), |it| format!("{}/{}", it.kind, it.name));
        let label = it.metadata.labels.as_ref().is_some_and(|it| it.contains_key(CREATED_BY));
        format!(" [{}] by {by}{}", keys.join(","), if label { "*" } else { "" })
    });
    let notes: Vec<&str> = plan.notes.iter().map(|it| it.reason).collect();
    format!("{action}{holds} {:?} {}", plan.verdict, notes.join(",")).trim().to_owned()
}

#[test]
fn creation_policies_decide_what_is_done() {
    use Ownership::{CreateOrMerge, Merge, Nothing, Orphan, Owner};
    let owned = "target is owned by another ExternalSecret (OnChange)";
    let mine = || Some(synced(&[("a", "0"), ("gone", "1")], "external-secrets.io/v1"));
    let by_hand = || Some(handmade(&[("a", "0"), ("old", "1")], None));
    let of_sibling = || Some(handmade(&[("old", "1")], Some(SIBLING)));
    let of_other = || Some(handmade(&[("old", "1")], Some("Deployment/d")));
    for (ownership, target, expected) in [
        (Owner, None, "create [a,b] by ExternalSecret/es* Synced Created"),
        (Owner, by_hand(), "replace [a,b] by ExternalSecret/es* Synced KeysDropped,Updated"),
        (Owner, mine(), "replace [a,b] by ExternalSecret/es* Synced Updated"),
        (Owner, of_sibling(), owned),
        (Owner, of_other(), "failed to take ownership of target secret (OnChange)"),
        (Orphan, None, "create [a,b] by nobody Synced Created"),
        (Orphan, by_hand(), "replace [a,b] by nobody Synced KeysDropped,Updated"),
        (Orphan, mine(), "replace [a,b] by nobody Synced Updated"),
        (Orphan, of_sibling(), owned),
        (Orphan, of_other(), "replace [a,b] by Deployment/d Synced KeysDropped,Updated"),
        (Merge, None, "keep TargetMissing"),
        (Merge, by_hand(), "replace [a,b,old] by nobody Synced Updated"),
        (Merge, mine(), "replace [a,b] by nobody Synced Updated"),
        (Merge, of_sibling(), owned),
        (Merge, of_other(), "replace [a,b,old] by Deployment/d Synced Updated"),
        (CreateOrMerge, None, "create [a,b] by nobody Synced Created"),
        (CreateOrMerge, by_hand(), "replace [a,b,old] by nobody Synced Updated"),
        (CreateOrMerge, mine(), "replace [a,b] by nobody Synced Updated"),
        (CreateOrMerge, of_sibling(), owned),
        (CreateOrMerge, of_other(), "replace [a,b,old] by Deployment/d Synced Updated"),
        (Nothing, None, "keep Synced"),
        (Nothing, by_hand(), "replace [a,old] by nobody Synced"),
        (Nothing, mine(), "keep Synced"),
        (Nothing, of_sibling(), "replace [old] by ExternalSecret/other Synced"),
        (Nothing, of_other(), "replace [old] by Deployment/d Synced"),
    ] {
        let intent = intent(ownership, WhenMissing::Retain);
        let case = format!("{ownership:?} {target:?}");
        assert_eq!(told(plan(&intent, &observed(target), desired(&[("a", "1"), ("b", "2")]))), expected, "{case}");
    }
}

#[test]
fn deletion_policies_decide_what_is_done_when_there_is_nothing() {
    let mine = || Some(synced(&[("a", "0")], "external-secrets.io/v1"));
    let by_hand = || Some(handmade(&[("old", "1")], None));
    for (ownership, when_missing, target, expected) in [
        (Ownership::Owner, WhenMissing::Retain, mine(), "keep Retained"),
        (Ownership::Owner, WhenMissing::Retain, None, "keep Retained"),
        (Ownership::Owner, WhenMissing::Delete, mine(), "delete uid-target@7 Deleted Deleted"),
        (Ownership::Owner, WhenMissing::Delete, None, "keep Deleted"),
        (Ownership::Owner, WhenMissing::Delete, by_hand(), "could not delete secret (OnChange)"),
        (
            Ownership::Owner,
            WhenMissing::Delete,
            Some(handmade(&[], Some(SIBLING))),
            "target is owned by another ExternalSecret (OnChange)",
        ),
        (Ownership::Orphan, WhenMissing::Delete, mine(), "could not delete secret (OnChange)"),
    ] {
        let got = told(plan(&intent(ownership, when_missing), &observed(target), Composed::Nothing));
        assert_eq!(got, expected, "{ownership:?} {when_missing:?}");
    }
    // With the policy Merge the adapter gives data, which is empty.
    for (ownership, target, expected) in [
        (Ownership::Owner, mine(), "replace [] by ExternalSecret/es* Synced Updated"),
        (Ownership::Merge, by_hand(), "replace [old] by nobody Synced Updated"),
        (Ownership::Merge, mine(), "replace [] by nobody Synced Updated"),
    ] {
        let got = told(plan(&intent(ownership, WhenMissing::Merge), &observed(target), desired(&[])));
        assert_eq!(got, expected, "{ownership:?}");
    }
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let owner = intent(Ownership::Owner, WhenMissing::Retain);
    for version in ["external-secrets.io/v1", "external-secrets.io/v1beta1"] {
        let got = told(plan(&owner, &observed(Some(synced(&[("a", "1")], version))), desired(&[("a", "1")])));
        assert_eq!(got, "keep Synced", "{version}");
    }
    // What is written is what is there afterwards.
    for ownership in [Ownership::Owner, Ownership::Orphan, Ownership::Merge, Ownership::CreateOrMerge] {
        let intent = intent(ownership, WhenMissing::Retain);
        let there = handmade(&[("old", "1")], None);
        let first = plan(&intent, &observed(Some(there)), desired(&[("a", "1")])).expect("it can be planned");
        let Action::Replace(written) = first.action else { panic!("{ownership:?} is written") };
        assert!(is_in_step(&intent.target, Some(&written)), "{ownership:?}");
        let second = told(plan(&intent, &observed(Some(*written)), desired(&[("a", "1")])));
        assert_eq!(second.split(' ').next(), Some("keep"), "{ownership:?}");
    }
}

#[test]
fn an_owner_made_anew_is_the_same_owner() {
    let mut intent = intent(Ownership::Owner, WhenMissing::Retain);
    intent.owner.uid = "uid-new".to_owned();
    let there = synced(&[("a", "1")], "external-secrets.io/v1beta1");
    let plan = plan(&intent, &observed(Some(there)), desired(&[("a", "1")])).expect("it can be planned");
    let Action::Replace(secret) = plan.action else { panic!("its UID has to be written") };
    let references = secret.metadata.owner_references.expect("it is owned");
    assert_eq!(references.len(), 1);
    assert_eq!((references[0].uid.as_str(), references[0].api_version.as_str()), ("uid-new", "external-secrets.io/v1"));
}

#[test]
fn own_labels_go_and_those_of_others_stay() {
    let mut intent = intent(Ownership::Owner, WhenMissing::Retain);
    for (name, manager) in [
        ("es", "externalsecrets.external-secrets.io/es".to_owned()),
        (&"n".repeat(40), digest::field_manager(&"n".repeat(40))),
        (&"n".repeat(40), digest::long_field_manager(&"n".repeat(40))),
    ] {
        intent.owner.name = name.to_owned();
        let mut there = synced(&[("a", "1")], "external-secrets.io/v1");
        there.metadata.owner_references = None;
        there.metadata.managed_fields.as_mut().expect("it has a history")[0].manager = Some(manager.clone());
        there.metadata.labels.get_or_insert_default().insert("foreign".to_owned(), "y".to_owned());
        let composed = Composed::Data(Desired { data: data(&[("a", "1")]), ..Desired::default() });
        let plan = plan(&intent, &observed(Some(there)), composed).expect("it can be planned");
        let Action::Replace(secret) = plan.action else { panic!("a label goes") };
        let labels: Vec<String> = secret.metadata.labels.unwrap_or_default().into_keys().collect();
        assert_eq!(labels, ["foreign", CREATED_BY, MANAGED], "{manager}");
        assert_eq!(secret.metadata.managed_fields, None);
        assert_eq!(secret.metadata.resource_version.as_deref(), Some("7"));
    }
}

#[test]
fn immutable_targets_keep_what_they_hold() {
    let frozen = |mut it: Secret| {
        it.immutable = Some(true);
        Some(it)
    };
    let mine = || synced(&[("a", "0")], "external-secrets.io/v1");
    for (immutable, target, expected) in [
        (true, None, "create [a] by ExternalSecret/es* Synced Created"),
        (true, frozen(mine()), "keep Synced"),
        (true, Some(mine()), "replace [a] by ExternalSecret/es* Synced UpdateFailed,Updated"),
        (false, frozen(mine()), "keep Immutable UpdateFailed"),
        (
            false,
            frozen(handmade(&[("b", "1")], None)),
            "replace [b] by ExternalSecret/es* Immutable UpdateFailed,Updated",
        ),
        (false, frozen(synced(&[("a", "1")], "external-secrets.io/v1")), "keep Synced"),
    ] {
        let mut intent = intent(Ownership::Owner, WhenMissing::Retain);
        intent.target.immutable = immutable;
        let case = format!("{immutable} {target:?}");
        let plan = plan(&intent, &observed(target), desired(&[("a", "1")]));
        if let Ok(Plan { action: Action::Create(secret) | Action::Replace(secret), .. }) = &plan {
            assert_eq!(secret.immutable, Some(true), "{case}");
        }
        assert_eq!(told(plan), expected, "{case}");
    }
}

#[test]
fn what_kubernetes_refuses_is_said_before_it_is_asked() {
    let big = "x".repeat(MAX_SIZE);
    for (pairs, kind, expected) in [
        (
            &[("é", "1")][..],
            None,
            "the key \"é\" is refused by Kubernetes: a key is made of letters a to z, digits, - . _",
        ),
        (
            &[("..a", "1")],
            None,
            "the key \"..a\" is refused by Kubernetes: a key is made of letters a to z, digits, - . _",
        ),
        (
            &[("a", &big), ("b", "1")],
            None,
            "the values take 1048577 bytes, and Kubernetes stores at most 1048576 in one Secret",
        ),
        (
            &[("a", "1")],
            Some("kubernetes.io/tls"),
            "the Secret \"target\" has the type \"Opaque\" and template.type asks for \"kubernetes.io/tls\"; \
             the type of a \
             Secret is immutable: delete the Secret or choose another target.name",
        ),
    ] {
        let intent = intent(Ownership::Owner, WhenMissing::Retain);
        let desired = Desired { data: data(pairs), kind: kind.map(str::to_owned), ..Desired::default() };
        let there = synced(&[("a", "0")], "external-secrets.io/v1");
        let trouble = plan(&intent, &observed(Some(there)), Composed::Data(desired)).expect_err("it is refused");
        assert_eq!((trouble.message.as_str(), trouble.detail.as_str()), (COULD_NOT_UPDATE, expected));
    }
}

#[test]
fn former_targets_of_owners_are_pruned() {
    let former = vec![("old".to_owned(), "uid-old".to_owned()), ("target".to_owned(), "uid-target".to_owned())];
    for (ownership, expected) in [(Ownership::Owner, 1), (Ownership::Orphan, 0)] {
        let observed = Observed { former: former.clone(), ..Observed::default() };
        let intent = intent(ownership, WhenMissing::Retain);
        let pruned = plan(&intent, &observed, desired(&[("a", "1")])).expect("it can be planned").prune;
        assert_eq!(pruned, former[..expected], "{ownership:?}");
        let nothing = plan(&intent, &observed, Composed::Nothing).expect("it can be planned").prune;
        assert_eq!(nothing, []);
    }
}

#[test]
fn finalizers_are_added_once() {
    let intent = intent(Ownership::Owner, WhenMissing::Retain);
    let finalizer = "example.com/stay".to_owned();
    let composed = || {
        let finalizers = vec![finalizer.clone()];
        Composed::Data(Desired {
            data: data(&[("a", "1")]),
            labels: labels(&[("app", "x")]),
            finalizers,
            ..Desired::default()
        })
    };
    let there = synced(&[("a", "1")], "external-secrets.io/v1");
    let plan_of = |there: Secret| plan(&intent, &observed(Some(there)), composed()).expect("it can be planned").action;
    let Action::Replace(written) = plan_of(there) else { panic!("a finalizer is added") };
    assert_eq!(written.metadata.finalizers, Some(vec![finalizer.clone()]));
    assert!(matches!(plan_of(*written), Action::Keep));
}

#[test]
fn targets_are_in_step_or_not() {
    let target = |ownership| intent(ownership, WhenMissing::Retain).target;
    let good = synced(&[("a", "1")], "external-secrets.io/v1");
    let edited = {
        let mut it = good.clone();
        it.data.get_or_insert_default().insert("b".to_owned(), ByteString(b"2".to_vec()));
        it
    };
    let unmarked = {
        let mut it = good.clone();
        it.metadata.labels = None;
        it
    };
    for (ownership, secret, expected) in [
        (Ownership::Owner, Some(&good), true),
        (Ownership::Owner, Some(&edited), false),
        (Ownership::Owner, Some(&unmarked), false),
        (Ownership::Owner, None, false),
        (Ownership::Merge, Some(&good), true),
        (Ownership::Merge, None, false),
        (Ownership::Orphan, Some(&edited), true),
        (Ownership::Orphan, None, true),
        (Ownership::Nothing, Some(&edited), true),
        (Ownership::Nothing, Some(&unmarked), false),
        (Ownership::Nothing, None, true),
    ] {
        assert_eq!(is_in_step(&target(ownership), secret), expected, "{ownership:?} {secret:?}");
    }
}

#[test]
fn a_target_goes_with_its_owner_only_if_that_is_asked_for() {
    let mine = || synced(&[("a", "1")], "external-secrets.io/v1beta1");
    for (when_missing, uid, target, expected) in [
        (WhenMissing::Delete, "uid-es", Some(mine()), true),
        (WhenMissing::Delete, "uid-new", Some(mine()), false),
        (WhenMissing::Delete, "uid-es", Some(handmade(&[], None)), false),
        (WhenMissing::Delete, "uid-other", Some(handmade(&[], Some("Deployment/es"))), false),
        (WhenMissing::Delete, "uid-es", None, false),
        (WhenMissing::Retain, "uid-es", Some(mine()), false),
        (WhenMissing::Merge, "uid-es", Some(mine()), false),
    ] {
        let mut intent = intent(Ownership::Owner, when_missing);
        intent.owner.uid = uid.to_owned();
        let action = farewell(&intent, &observed(target));
        assert_eq!(matches!(action, Action::Delete { .. }), expected, "{when_missing:?} {uid}");
    }
}
