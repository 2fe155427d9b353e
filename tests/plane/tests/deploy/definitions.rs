//! The definitions with a real API server: what it takes, refuses, keeps and shows.

use http::header::ACCEPT;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::objects::{Plane, documents, name};

#[tokio::test]
async fn every_definition_is_served_and_takes_and_refuses_what_the_originals_do() {
    let Some(plane) = Plane::start().await else { return };
    plane.define().await;
    takes_what_people_have_written(&plane).await;
    refuses_what_cannot_be_meant(&plane).await;
    loses_nothing_between_versions(&plane).await;
    keeps_what_nobody_here_knows(&plane).await;
    shows_columns(&plane).await;
    finds_by_fields(&plane).await;
}

async fn takes_what_people_have_written(plane: &Plane) {
    for object in documents(include_str!("accepted.yaml")) {
        let place = format!("{} {}", object["kind"], name(&object));
        let first = plane.apply(&object).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        let again = plane.apply(&object).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(first["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"], "{place}");
        let lost = missing(&object["spec"], &again["spec"]);
        assert!(lost.is_none(), "{place}: lost {lost:?}");
    }
}

async fn refuses_what_cannot_be_meant(plane: &Plane) {
    #[derive(Deserialize)]
    struct Case {
        says: String,
        object: Value,
    }
    let mut cases: serde_yaml::Value = serde_yaml::from_str(include_str!("refused.yaml")).expect("it is YAML");
    cases.apply_merge().expect("what is merged is there");
    let cases: Vec<Case> = serde_yaml::from_value(cases).expect("these are cases");
    for Case { says, object } in cases {
        match plane.apply(&object).await {
            Ok(_) => panic!("taken: {object}"),
            Err(error) => assert!(error.to_string().contains(&says), "{object}\n says {error}\n want {says}"),
        }
    }
}

/// Fields of `v1` are written and read through `v1beta1`, and the other way round; nothing is added to
/// references.
async fn loses_nothing_between_versions(plane: &Plane) {
    let reference = json!({"key": "k", "property": "p", "nullBytePolicy": "Fail"});
    let external = json!({
        "secretStoreRef": {"name": "s"},
        "refreshInterval": "1h",
        "syncWindows": {"kind": "deny", "windows": [{"schedule": "0 9 * * *", "duration": "1h"}]},
        "target": {
            "creationPolicy": "CreateOrMerge", "deletionPolicy": "Retain",
            "template": {
                "engineVersion": "v2", "mergePolicy": "Merge",
                "metadata": {"finalizers": ["a.example.com/b"]},
                "templateFrom": [{"literal": "a: b", "target": "Data", "valuesDecodingStrategy": "Base64"}],
            },
        },
        "data": [{"secretKey": "a", "remoteRef": reference}],
        "dataFrom": [
            {"extract": reference, "rewrite": [{"merge": {
                "into": "all", "priority": ["a"],
                "priorityPolicy": "Strict", "conflictPolicy": "Ignore", "strategy": "JSON",
            }}]},
            {"find": {"name": {"regexp": "a"}, "nullBytePolicy": "Fail"}},
        ],
    });
    let manifest = json!({
        "secretStoreRef": {"name": "s", "kind": "SecretStore"}, "refreshInterval": "1h", "refreshPolicy": "OnChange",
        "target": {
            "creationPolicy": "Owner", "deletionPolicy": "Retain",
            "manifest": {"apiVersion": "v1", "kind": "ConfigMap"},
        },
    });
    let store = json!({
        "refreshInterval": "5m",
        "provider": {"vault": {
            "server": "a", "version": "v2", "checkAndSet": {"required": true},
            "auth": {
                "cert": {"path": "c", "vaultRole": "r", "clientCert": {"name": "n", "key": "k"}},
                "gcp": {"role": "r", "projectID": "p"},
            },
        }},
    });
    let cases = [("ExternalSecret", "es", external), ("ExternalSecret", "cm", manifest), ("SecretStore", "ss", store)];
    for (written, other) in [("v1", "v1beta1"), ("v1beta1", "v1")] {
        for (kind, name, spec) in &cases {
            let name = format!("{name}-{written}");
            let version = |it: &str| format!("external-secrets.io/{it}");
            let object =
                json!({"apiVersion": version(written), "kind": kind, "metadata": {"name": name}, "spec": spec});
            let made = plane.apply(&object).await.expect("it is taken");
            assert_eq!(made["spec"], *spec, "{kind} written as {written}");
            let read = plane.read(&version(other), kind, &name).await;
            assert_eq!(read["spec"], *spec, "{kind} written as {written}, read as {other}");
            let again = json!({"apiVersion": version(other), "kind": kind, "metadata": {"name": name}, "spec": spec});
            let again = plane.apply(&again).await.expect("it is taken");
            assert_eq!(again["spec"], *spec, "{kind} written as {other}");
            assert_eq!(again["metadata"]["generation"], 1, "{kind} written as {other}");
        }
    }
}

async fn keeps_what_nobody_here_knows(plane: &Plane) {
    let objects = [
        json!({
            "apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "later"},
            "spec": {"provider": {"vault": {"server": "a", "version": "v2", "fromLater": {"a": 1}, "auth": {"fromLater": {"b": 2}}}}},
        }),
        json!({
            "apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "unknown"},
            "spec": {"provider": {"fromLater": {"a": [{"b": 2}]}}},
        }),
    ];
    for object in objects {
        assert_eq!(plane.apply(&object).await.expect("it is taken")["spec"]["provider"], object["spec"]["provider"]);
    }
    for (version, kind, name) in [
        ("external-secrets.io/v1", "ExternalSecret", "generated"),
        ("secrets.hashicorp.com/v1beta1", "VaultStaticSecret", "app1-back-database"),
        ("secrets.hashicorp.com/v1beta1", "VaultPKISecret", "pki"),
    ] {
        let object = json!({"apiVersion": version, "kind": kind});
        let status =
            json!({"conditions": [{"type": "Ready", "status": "True", "fromLater": 1}], "fromLater": {"a": 1}});
        let patch = kube::api::Patch::Merge(json!({"status": status}));
        let made = plane.api(&object).patch_status(name, &Default::default(), &patch).await.expect("it is taken");
        assert_eq!(made.data["status"], status, "{kind}");
    }
}

async fn shows_columns(plane: &Plane) {
    const CASES: &[(&str, &str, &[&str])] = &[
        (
            "external-secrets.io/v1",
            "externalsecrets",
            &["Name", "StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"],
        ),
        (
            "external-secrets.io/v1beta1",
            "externalsecrets",
            &["Name", "StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"],
        ),
        ("external-secrets.io/v1", "secretstores", &["Name", "AGE", "Status", "Capabilities", "Ready"]),
        ("external-secrets.io/v1", "clustersecretstores", &["Name", "AGE", "Status", "Capabilities", "Ready"]),
        ("external-secrets.io/v1", "clusterexternalsecrets", &["Name", "Store", "Refresh Interval", "Ready"]),
        ("secrets.hashicorp.com/v1beta1", "vaultconnections", &["Name", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "vaultauths", &["Name", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "vaultstaticsecrets", &["Name", "Synced", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "vaultdynamicsecrets", &["Name", "Synced", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "vaultpkisecrets", &["Name", "Synced", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "secrettransformations", &["Name", "Healthy", "Ready", "Age"]),
        ("secrets.hashicorp.com/v1beta1", "vaultauthglobals", &["Name", "Age"]),
    ];
    for (version, plural, wanted) in CASES {
        let table = table(plane, &format!("/apis/{version}/{plural}")).await;
        let columns = table["columnDefinitions"].as_array().expect("a table has columns");
        let columns: Vec<&str> = columns.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(columns, *wanted, "{version} {plural}");
    }
    let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced"}]});
    let patch = kube::api::Patch::Merge(json!({"status": ready}));
    let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret"});
    plane.api(&object).patch_status("myapp-secrets", &Default::default(), &patch).await.expect("it is taken");
    let namespace = &plane.namespace;
    let path = format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/myapp-secrets");
    let cells = &table(plane, &path).await["rows"][0]["cells"];
    let wanted = json!(["myapp-secrets", "ClusterSecretStore", "aws-secrets-manager", "1h", "SecretSynced", "True"]);
    assert_eq!(cells.as_array().map(|it| &it[..6]), wanted.as_array().map(|it| &it[..]));
}

async fn table(plane: &Plane, path: &str) -> Value {
    let request = http::Request::get(path).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let request = request.body(Vec::new()).expect("this is a path");
    plane.client.request(request).await.expect("the API server answers")
}

async fn finds_by_fields(plane: &Plane) {
    let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret"});
    for (field, wanted) in [
        ("spec.secretStoreRef.name=aws-secrets-manager", "myapp-secrets"),
        ("spec.target.name=my-application-secret", "my-application-secrets"),
    ] {
        let params = kube::api::ListParams::default().fields(field);
        let found = plane.api(&object).list(&params).await.expect("the field can be asked for");
        let names: Vec<_> = found.items.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
        assert_eq!(names, [wanted], "{field}");
    }
}

/// The first part of `wanted` that `there` lacks.
fn missing<'a>(wanted: &'a Value, there: &Value) -> Option<&'a Value> {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            wanted.iter().find_map(|(key, value)| missing(value, there.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(there)) if wanted.len() == there.len() => {
            wanted.iter().zip(there).find_map(|(wanted, there)| missing(wanted, there))
        }
        _ => (wanted != there).then_some(wanted),
    }
}
