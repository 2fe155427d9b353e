//! How a connection is secured: everything from memory, nothing from files or `VAULT_*` variables.

use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderValue};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, ClientBuilder, Identity, Url, redirect};
use zeroize::Zeroizing;

use super::Tls;
use crate::provider::ProviderError;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes the client for a server. Where the server has to prove another name than that of its
/// address, `base` gets that name and `headers` the real one.
///
/// # Errors
///
/// If certificates, key or name are none.
pub(super) fn client(
    tls: &Tls,
    base: &mut Url,
    headers: &mut HeaderMap,
    timeout: Duration,
) -> Result<reqwest::Client, ProviderError> {
    // Another part of the program may have chosen the same before.
    _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = ClientBuilder::new()
        .tls_backend_rustls()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("leafseal/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeout.min(CONNECT))
        .timeout(timeout)
        .tls_danger_accept_invalid_certs(tls.skip_verify);
    if let Some(pem) = &tls.authorities {
        let authorities = Certificate::from_pem_bundle(pem).ok().filter(|it| !it.is_empty());
        let authorities = authorities
            .ok_or_else(|| ProviderError::invalid("the bundle of authorities holds no certificate in PEM"))?;
        builder = builder.tls_certs_only(authorities);
    } else if base.scheme() == "http" {
        // Loading those of the system takes time and memory.
        builder = builder.tls_certs_only([]);
    }
    if let Some((certificate, key)) = &tls.identity {
        let pem = Zeroizing::new([certificate, &b"\n"[..], key.expose()].concat());
        let identity = Identity::from_pem(&pem)
            .map_err(|_| ProviderError::invalid("the client's certificate and key are not a pair in PEM"))?;
        builder = builder.identity(identity);
    }
    if let Some(name) = tls.server_name.as_deref().filter(|it| !it.is_empty() && base.scheme() == "https") {
        builder = prove(name, base, headers, builder)?;
    }
    builder.build().map_err(|_| ProviderError::invalid("certificate or key of the client cannot be used"))
}

/// TLS asks for the name in the address and checks that. So the address gets the name to prove, and
/// that name is looked up as the real one. A proxy would look it up itself, so there is none then.
fn prove(
    name: &str,
    base: &mut Url,
    headers: &mut HeaderMap,
    builder: ClientBuilder,
) -> Result<ClientBuilder, ProviderError> {
    let host = base.host_str().unwrap_or_default().to_owned();
    let authority = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let is_name = base.set_host(Some(name)).is_ok() && base.domain().is_some();
    if !is_name {
        return Err(ProviderError::invalid(format!("{name:?} is not a name that a server can prove")));
    }
    headers.insert(HOST, HeaderValue::from_str(&authority).expect("hosts are printable"));
    let name = base.host_str().unwrap_or_default().to_owned();
    Ok(builder.no_proxy().dns_resolver(Alias { name, host }))
}

/// Looks one name up as another.
struct Alias {
    name: String,
    host: String,
}

impl Resolve for Alias {
    fn resolve(&self, name: Name) -> Resolving {
        let host = if name.as_str() == self.name { self.host.clone() } else { name.as_str().to_owned() };
        Box::pin(async move {
            let host = host.trim_matches(['[', ']']);
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
