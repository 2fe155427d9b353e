//! What tests ask of any cluster, be it ours or one that was given.

use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

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
    Client::try_from(config.expect("the kubeconfig is whole")).expect("the kubeconfig names a server")
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
