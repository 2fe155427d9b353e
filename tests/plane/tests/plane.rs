//! The plane is what it is said to be: workloads roll out, tokens are reviewed, data outlives the API
//! server.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use leafseal_plane::cluster::{self, Right};
use leafseal_plane::{ControlPlane, OpenBao};
use serde_json::{Value, json};

/// How long the plane may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("this is such an object");
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.expect("it is taken");
}

async fn available(client: &Client, namespace: &str, name: &str, wanted: i32) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    loop {
        let found = deployments.get(name).await.expect("it is there");
        if found.status.and_then(|it| it.available_replicas) == Some(wanted) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} has not been rolled out");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn deployments_are_rolled_out_and_data_outlives_the_server() {
    let Some(mut plane) = ControlPlane::start_own().await else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "rollout").await;
    let other = cluster::namespace(client.clone(), "rollout").await;
    assert_ne!(namespace, other);
    let labels = json!({"app": "shop"});
    let pods = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "shop"}]}});
    let deployment = json!({
        "metadata": {"name": "shop"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": pods},
    });
    create::<Deployment>(&client, &namespace, deployment).await;
    available(&client, &namespace, "shop", 3).await;
    create::<Secret>(&client, &namespace, json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})).await;

    plane.stop_apiserver();
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    assert!(secrets.get("s").await.is_err());
    plane.restart_apiserver().await;
    let secrets: Api<Secret> = Api::namespaced(plane.client().await, &namespace);
    let data = secrets.get("s").await.expect("it is still there").data.expect("it has data");
    assert_eq!(data["k"].0, b"v");
}

#[tokio::test]
async fn openbao_lets_service_accounts_in_that_the_api_server_knows() {
    let (Some(plane), Some(bao)) = (ControlPlane::start().await, OpenBao::start()) else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "login").await;
    for name in ["app", "reviewer"] {
        create::<ServiceAccount>(&client, &namespace, json!({"metadata": {"name": name}})).await;
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{namespace}-reviewer")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace}],
    });
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"));
    let bindings: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let binding: DynamicObject = serde_json::from_value(binding).expect("this is an object");
    bindings.create(&PostParams::default(), &binding).await.expect("it is taken");
    let user = cluster::user_of(&namespace, "reviewer");
    cluster::heeds(&client, Right::to_review_tokens(&user), true).await;

    let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
    let token = async |name: &str, audience: Option<&str>| {
        let audiences = audience.into_iter().map(str::to_owned).collect();
        let spec = TokenRequestSpec { audiences, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        answer.expect("the account is there").status.expect("it is answered").token
    };
    let ca = std::fs::read_to_string(plane.authority()).expect("it is there");
    bao.write("sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    let config = json!({
        "kubernetes_host": plane.server(), "kubernetes_ca_cert": ca,
        "token_reviewer_jwt": token("reviewer", None).await, "disable_iss_validation": true,
    });
    bao.write("auth/kubernetes/config", &config);
    let role = json!({
        "bound_service_account_names": "app", "bound_service_account_namespaces": namespace, "audience": "vault",
        "policies": "default",
    });
    bao.write("auth/kubernetes/role/app", &role);
    let jwt = token("app", Some("vault")).await;
    let login = bao.write("auth/kubernetes/login", &json!({"role": "app", "jwt": jwt}));
    assert!(login["auth"]["client_token"].is_string());

    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    let read = bao.read("secret/data/app").expect("it was written");
    assert_eq!(read["data"]["data"], json!({"password": "x"}));
    assert_eq!(bao.read("secret/data/nothing"), None);
}
