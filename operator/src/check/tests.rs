//! What statuses say, and that they say it once.

use serde::de::DeserializeOwned;

use super::*;
use crate::api::vault_secrets::{SecretTransformation, VaultAuth, VaultConnection};
use crate::api::{Kind, Object};
use crate::store::vault_secrets::Defaults;
use crate::store::vault_secrets::tests::{World, object};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// The object after its status was changed.
fn told<K: Kind>(mut object: Object<K>, report: &Report) -> Object<K>
where
    K::Status: DeserializeOwned,
{
    let change = report.change.clone().expect("there is something to tell");
    object.status = serde_json::from_value(change).expect("a status is read");
    object
}

fn statuses(conditions: &[Condition]) -> Vec<(&str, &str)> {
    conditions.iter().map(|it| (it.kind.as_str(), it.status.as_str())).collect()
}

#[test]
fn a_connection_is_reported_stage_by_stage() {
    let connection: Object<VaultConnection> = object("vault/default", json!({ "address": "http://vault:8200" }));
    let report = vault_connection(&connection, Ok(()), at(1));
    assert_eq!(report.note.as_ref().map(|it| it.reason), Some("Accepted"));
    let connection = told(connection, &report);
    assert_eq!(connection.status.valid, Some(true));
    assert!(vault_connection(&connection, Ok(()), at(9)).change.is_none(), "nothing new");
    let fault = Fault { stage: Stage::Client, detail: "the address is none".into() };
    let report = vault_connection(&connection, Err(fault.clone()), at(2));
    assert!(!report.is_valid);
    let connection = told(connection, &report);
    let expected = [
        ("Healthy", "False"),
        ("Ready", "False"),
        ("ResourceValidation", "True"),
        ("VaultClient", "False"),
        ("VaultPing", "False"),
    ];
    assert_eq!(statuses(&connection.status.conditions), expected);
    assert!(vault_connection(&connection, Err(fault), at(9)).change.is_none());
}

#[test]
fn an_auth_is_valid_when_all_it_takes_is_there() {
    let defaults = Defaults { namespace: "vault".into(), globals: true };
    let spec = json!({ "method": "kubernetes", "mount": "k8s", "kubernetes": { "role": "r", "serviceAccount": "a" } });
    let auth: Object<VaultAuth> = object("app/va", spec.clone());
    let check = |world: &World, auth: &Object<VaultAuth>| vault_auth(world, auth, &defaults, &mut Vec::new(), at(1));

    let empty = World::default();
    let report = check(&empty, &auth);
    assert_eq!(report.note.as_ref().map(|it| it.reason), Some("InvalidResourceRef"));
    let world = World::default().with_connection("vault/default", json!({ "address": "http://vault:8200" }));
    let fine = told(auth, &check(&world, &object("app/va", spec.clone())));
    assert_eq!((fine.status.valid, fine.status.error.as_deref()), (Some(true), Some("")));
    assert_eq!(fine.status.spec_hash.as_deref().map(str::len), Some(64));
    assert_eq!(
        statuses(&fine.status.conditions),
        [("Healthy", "True"), ("Ready", "True"), ("ResourceValidation", "True")]
    );
    assert!(check(&world, &fine).change.is_none());

    // In the operator's namespace the connection must be named (acceptance case A08).
    assert!(!check(&world, &object("vault/x", spec.clone())).is_valid);
    assert!(check(&world, &object("vault/default", spec)).is_valid);
    // Nobody says as whom.
    assert!(!check(&world, &object("app/va", json!({ "method": "kubernetes", "mount": "k8s" }))).is_valid);
}

#[test]
fn an_auth_says_whether_its_global_was_merged() {
    let defaults = Defaults { namespace: "vault".into(), globals: true };
    let auth = json!({ "vaultAuthGlobalRef": { "allowDefault": true } });
    let global = json!({
        "defaultAuthMethod": "kubernetes", "defaultMount": "k8s",
        "kubernetes": { "role": "r", "serviceAccount": "app" },
    });
    let world = World::default().with_connection("vault/default", json!({ "address": "http://vault:8200" }));
    for (world, expected) in [(world.with_global("app/default", global), "True"), (World::default(), "False")] {
        let auth: Object<VaultAuth> = object("app/va", auth.clone());
        let report = vault_auth(&world, &auth, &defaults, &mut Vec::new(), at(1));
        let auth = told(auth, &report);
        assert!(statuses(&auth.status.conditions).contains(&("Available", expected)));
    }
}

#[test]
fn a_transformation_is_read() {
    let good = json!({ "templates": { "url": { "text": "{{ .Secrets.a | b64enc }}" } }, "excludes": ["^x"] });
    for (spec, is_valid) in [
        (json!({}), true),
        (good, true),
        (json!({ "templates": { "url": { "text": "{{ .Secrets.a " } } }), false),
        (json!({ "templates": { "url": { "text": "{{ nothing .Secrets.a }}" } } }), false),
        (json!({ "includes": ["("] }), false),
        (json!({ "templates": { "a": { "name": "x", "text": "" }, "b": { "name": "x", "text": "" } } }), false),
        (json!({ "templates": 1 }), false),
    ] {
        let object: Object<SecretTransformation> = object("app/t", spec.clone());
        let report = secret_transformation(&object, at(1));
        assert_eq!(report.is_valid, is_valid, "{spec}");
        let object = told(object, &report);
        assert_eq!(object.status.valid, Some(is_valid));
        assert_eq!(object.status.error.is_some_and(|it| it.is_empty()), is_valid);
    }
}
