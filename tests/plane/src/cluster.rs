//! What tests ask of any cluster, be it ours or one that was given.

use std::path::Path;
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tower::retry::{Policy, RetryLayer};
use tower::{Layer as _, service_fn};

/// How long the API server may take to heed what it was told.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of the cluster that a kubeconfig names.
///
/// # Panics
///
/// If the file is not a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    // Another crate may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let file = Kubeconfig::read_from(kubeconfig).expect("the file is a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.expect("the kubeconfig is whole")).expect("the kubeconfig names a server");
    let namespace = client.default_namespace().to_owned();
    let send = service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(RetryLayer::new(Undaunted::default()).layer(send), namespace)
}

/// Asks again, for a while, when the connection broke and asking twice is as asking once: a server that gets little of
/// a machine drops connections.
#[derive(Clone, Default)]
struct Undaunted {
    begun: Option<Instant>,
}

impl<R> Policy<Request<Body>, R, kube::Error> for Undaunted {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Request<Body>, result: &mut Result<R, kube::Error>) -> Option<Self::Future> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let is_again = result.is_err() && begun.elapsed() < Duration::from_secs(15);
        is_again.then(|| tokio::time::sleep(Duration::from_millis(200)))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let is_said = |kind: &str| request.headers().get(CONTENT_TYPE).is_some_and(|it| it == kind);
        let is_patch = is_said("application/apply-patch+yaml") || is_said("application/merge-patch+json");
        if request.method() != Method::GET && !is_patch {
            return None;
        }
        let mut again = Request::new(request.body().try_clone()?);
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }
}

/// Makes a namespace for one test. Its name begins with `prefix`.
///
/// # Panics
///
/// If the API server refuses.
pub async fn namespace(client: Client, prefix: &str) -> String {
    let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let made = Api::<Namespace>::all(client).create(&PostParams::default(), &namespace).await;
    made.expect("the cluster takes a namespace").metadata.name.expect("a namespace has a name")
}

/// What somebody may or may not do.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a> {
    /// Who: for a ServiceAccount, what [`user_of`] says.
    pub user: &'a str,
    /// Where; empty for all namespaces.
    pub namespace: &'a str,
    /// The group of the resource.
    pub group: &'a str,
    /// The resource, with its subresource as in `pods/log`.
    pub resource: &'a str,
    /// The name of the object that this is limited to; empty where it is not.
    pub name: &'a str,
    /// The verb.
    pub verb: &'a str,
}

impl<'a> Right<'a> {
    /// To ask whose tokens others are.
    pub fn to_review_tokens(user: &'a str) -> Self {
        let (group, resource) = ("authentication.k8s.io", "tokenreviews");
        Self { user, namespace: "", group, resource, name: "", verb: "create" }
    }
}

/// What the API server calls a ServiceAccount.
pub fn user_of(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// Returns whether the API server allows something now. It judges by what its own watches have told of roles and
/// bindings: what was granted or taken away a moment ago may not count yet.
///
/// # Panics
///
/// If the API server does not answer.
pub async fn is_allowed(client: &Client, right: Right<'_>) -> bool {
    let Right { user, namespace, group, resource, name, verb } = right;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": user,
        "resourceAttributes": {
            "namespace": namespace, "group": group, "resource": resource, "subresource": subresource, "name": name,
            "verb": verb,
        },
    }}))
    .expect("it is a review");
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer: SubjectAccessReview = answer.expect("whoever may do everything may ask what others may");
    answer.status.expect("a review has an answer").allowed
}

/// Waits until the API server allows something, which was granted, or refuses it, as it was taken away.
///
/// # Panics
///
/// If it does not come to that.
pub async fn heeds(client: &Client, right: Right<'_>, is_granted: bool) {
    let begun = Instant::now();
    while is_allowed(client, right).await != is_granted {
        assert!(begun.elapsed() < PATIENCE, "the API server does not heed that this is so: {is_granted}, {right:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every version of a kind that a definition defines is served. That the definition says so itself is
/// not enough: those who serve it hear of it by a watch of their own.
///
/// # Panics
///
/// If one is not served in time.
pub async fn is_served(client: &Client, definition: &Value) {
    let spec = &definition["spec"];
    let text = |it: &Value| it.as_str().expect("a definition is whole").to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    for version in spec["versions"].as_array().into_iter().flatten().filter(|it| it["served"] == true) {
        let path = format!("/apis/{group}/{}/{plural}?limit=1", text(&version["name"]));
        let begun = Instant::now();
        loop {
            let request = Request::get(&path).body(Vec::new()).expect("this is a path");
            let Err(error) = client.request::<Value>(request).await else { break };
            assert!(begun.elapsed() < PATIENCE, "{path} is not served: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
