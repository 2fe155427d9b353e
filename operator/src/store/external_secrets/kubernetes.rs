//! Stores in clusters (spec section 3.6).

use std::sync::Arc;

use leafseal::provider::SecretProvider;
use leafseal::provider::kubernetes::{Auth, Cluster, Kubernetes, Settings};
use serde::Deserialize;
use serde_json::Value;

use super::Opens;
use super::opening::{Failure, Opening};
use crate::api::external_secrets::{KubernetesAuth, KubernetesProvider};
use crate::api::read;

/// The API server of the cluster that the operator runs in.
const USUAL_SERVER: &str = "https://kubernetes.default";

/// How long tokens of ServiceAccounts are good, in seconds.
const TOKEN_LIFE: i64 = 3600;

pub(super) fn open<'a>(opening: &'a mut Opening<'_>, block: &'a Value) -> Opens<'a> {
    Box::pin(async move {
        let place = opening.place.clone();
        let block: KubernetesProvider = read(block.clone(), &place)?;
        let cluster = match (&block.auth_ref, &block.auth) {
            (Some(at), None) => Cluster::Kubeconfig(opening.value(at, "", &format!("{place}.authRef")).await?),
            (None, Some(auth)) => {
                let (bundle, provider) = (&block.server.ca_bundle, block.server.ca_provider.as_ref());
                Cluster::Server {
                    url: address(&block.server.url),
                    authorities: opening.authorities(bundle, provider, &format!("{place}.server")).await?,
                    auth: identity(opening, auth).await?,
                }
            }
            _ => return Err(Failure::settled(format!("{place}: exactly one of auth and authRef is needed"))),
        };
        let namespace = match block.remote_namespace.as_str() {
            "" => "default".to_owned(),
            named => named.to_owned(),
        };
        let provider = Kubernetes::new(Settings { cluster, namespace });
        let provider = provider.with_observer(Arc::clone(&opening.surroundings.observer));
        Ok(Arc::new(provider) as Arc<dyn SecretProvider>)
    })
}

/// True if some reference of the identity leaves the namespace to the reader.
pub(super) fn is_referent(block: &Value) -> bool {
    let Ok(block) = KubernetesProvider::deserialize(block) else { return false };
    let auth = block.auth.unwrap_or_default();
    let certificate = auth.cert.as_ref().map(|it| [&it.client_cert, &it.client_key]);
    let selectors = certificate.into_iter().flatten().chain(auth.token.as_ref().map(|it| &it.bearer_token));
    let namespaces = selectors.chain(block.auth_ref.as_ref()).map(|it| &it.namespace);
    namespaces.chain(auth.service_account.as_ref().map(|it| &it.namespace)).any(String::is_empty)
}

fn address(url: &str) -> String {
    match url {
        "" => USUAL_SERVER.to_owned(),
        url if url.contains("://") => url.to_owned(),
        url => format!("https://{url}"),
    }
}

async fn identity(opening: &mut Opening<'_>, auth: &KubernetesAuth) -> Result<Auth, Failure> {
    let place = format!("{}.auth", opening.place);
    match (&auth.cert, &auth.token, &auth.service_account) {
        (Some(cert), None, None) => {
            let certificate = opening.value(&cert.client_cert, "tls.crt", &format!("{place}.cert.clientCert")).await?;
            let key = opening.value(&cert.client_key, "tls.key", &format!("{place}.cert.clientKey")).await?;
            Ok(Auth::Certificate { certificate: certificate.expose().to_vec(), key })
        }
        (None, Some(token), None) => {
            let token = opening.word(&token.bearer_token, "token", &format!("{place}.token.bearerToken")).await?;
            Ok(Auth::Token(token))
        }
        (None, None, Some(account)) => {
            let place = format!("{place}.serviceAccount");
            opening.tokens(account, &account.audiences, TOKEN_LIFE, &place).map(Auth::Tokens)
        }
        _ => Err(Failure::settled(format!("{place}: exactly one of cert, token and serviceAccount is needed"))),
    }
}
