//! Secrets of a real cluster are read as a store.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use kube::api::{Api, PostParams};
use leafseal::provider::kubernetes::{Auth, Cluster, Kubernetes, Settings};
use leafseal::provider::{Address, ProviderErrorKind, Query, SecretProvider, Validity};
use leafseal::secret::SecretText;
use leafseal_plane::ControlPlane;
use leafseal_plane::cluster::{self, Right};
use serde_json::{Value, json};

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

/// The token of a new ServiceAccount.
async fn account(client: &Client, namespace: &str, name: &str) -> SecretText {
    create::<ServiceAccount>(client, namespace, json!({"metadata": {"name": name}})).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
    answer.expect("the account is there").status.expect("it is answered").token.as_str().into()
}

fn key(key: &str) -> Address {
    Address { key: key.to_owned(), ..Address::default() }
}

#[tokio::test]
async fn secrets_of_a_cluster_are_read_by_those_who_may() {
    let Some(plane) = ControlPlane::start_own().await else { return };
    let client = plane.client().await;
    let namespace = cluster::namespace(client.clone(), "store").await;
    let labels = json!({"team": "blue", "app.kubernetes.io/name": "web"});
    let data = json!({"user": "app<", "json": r#"{"a":{"b":1.50}}"#});
    let app = json!({"metadata": {"name": "app", "labels": labels, "annotations": {"why": "so"}}, "stringData": data});
    create::<Secret>(&client, &namespace, app).await;
    create::<Secret>(&client, &namespace, json!({"metadata": {"name": "other"}, "stringData": {"k": "v"}})).await;
    let reader = account(&client, &namespace, "reader").await;
    let nobody = account(&client, &namespace, "nobody").await;
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]);
    create::<Role>(&client, &namespace, json!({"metadata": {"name": "reader"}, "rules": rules})).await;
    let binding = json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    });
    create::<RoleBinding>(&client, &namespace, binding).await;
    let user = cluster::user_of(&namespace, "reader");
    let right = Right { user: &user, namespace: &namespace, group: "", resource: "secrets", name: "", verb: "list" };
    cluster::heeds(&client, right, true).await;

    let authorities = std::fs::read(plane.authority()).expect("it is there");
    let kubeconfig = std::fs::read_to_string(plane.kubeconfig()).expect("it is there");
    let server = |token: &SecretText, authorities: Option<Vec<u8>>| Cluster::Server {
        url: plane.server(),
        authorities,
        auth: Auth::Token(token.clone()),
    };
    let open = |cluster: Cluster| Kubernetes::new(Settings { cluster, namespace: namespace.clone() });
    for store in [open(Cluster::Connected(client.clone())), open(server(&reader, Some(authorities.clone())))] {
        assert_eq!(store.check().await.expect("it may read"), Validity::Ready);
        let content = store.read(&key("app")).await.expect("it may read");
        for (property, expected) in
            [("user", "app<"), ("json.a.b", "1.5"), ("", r#"{"json":"{\"a\":{\"b\":1.50}}","user":"app<"}"#)]
        {
            assert_eq!(content.value(Some(property)).expect(property).expose_str(), Some(expected));
        }
        let told = store.read(&Address { metadata: true, ..key("app") }).await.expect("it may read");
        for (property, expected) in [
            ("labels.team", "blue"),
            ("labels.app.kubernetes.io/name", "web"),
            ("annotations.why", "so"),
            ("annotations", r#"{"why":"so"}"#),
        ] {
            assert_eq!(told.value(Some(property)).expect(property).expose_str(), Some(expected));
        }
        assert!(store.read(&key("nothing")).await.expect_err("there is none").is_missing());
        let tags = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        for (query, expected) in [
            (Query { tags, ..Query::default() }, &["app"][..]),
            (Query { name: Some("^o".to_owned()), ..Query::default() }, &["other"]),
            (Query::default(), &["app", "other"]),
        ] {
            let found = store.find(&query).await.expect("it may read");
            assert_eq!(found.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), expected);
        }
    }
    let refused = open(server(&nobody, Some(authorities.clone())));
    assert_eq!(refused.read(&key("app")).await.expect_err("it may not").kind, ProviderErrorKind::Denied);
    assert_eq!(refused.check().await.expect_err("it may not").kind, ProviderErrorKind::Denied);
    let wrong = open(server(&"wrong-token".into(), Some(authorities)));
    assert_eq!(wrong.check().await.expect_err("nobody knows it").kind, ProviderErrorKind::Denied);
    let stranger = open(server(&reader, None)).read(&key("app")).await.expect_err("the authority is not known");
    assert!(matches!(stranger.kind, ProviderErrorKind::Unavailable { .. }), "{stranger:?}");

    // A kubeconfig must hold everything itself.
    let data = base64_simd::STANDARD.encode_to_string(std::fs::read(plane.authority()).expect("it is there"));
    let whole = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": plane.server(), "certificate-authority-data": data}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": reader.expose_str().expect("tokens are text")}}],
    });
    let whole = open(Cluster::Kubeconfig(whole.to_string().as_str().into()));
    assert_eq!(whole.check().await.expect("it may read"), Validity::Ready);
    let names_files = open(Cluster::Kubeconfig(kubeconfig.as_str().into())).read(&key("app")).await;
    assert_eq!(names_files.expect_err("it names files").kind, ProviderErrorKind::Invalid);
    let program = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": plane.server()}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}}}],
    });
    let program = open(Cluster::Kubeconfig(program.to_string().as_str().into()));
    let error = program.read(&key("app")).await.expect_err("it starts a program");
    assert!(error.kind == ProviderErrorKind::Invalid && error.message.contains("programs or files"), "{error}");
}
