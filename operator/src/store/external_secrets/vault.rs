//! Stores in Vault and OpenBao (spec sections 3.1, 3.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use leafseal::provider::vault::{Auth, JwtSource, KvVersion, Place, Retries, Settings, TIMEOUT, Tls, Vault};
use leafseal::provider::{Answer, SecretProvider};
use leafseal::secret::SecretText;
use serde::Deserialize;
use serde_json::Value;

use super::Opens;
use super::opening::{Failure, Opening};
use crate::api::external_secrets::{
    JwtAuth, PasswordAuth, RetrySettings, VaultAuthSpec, VaultKubernetesAuth, VaultProvider,
};
use crate::api::read;
use crate::go::GoDuration;

/// How long tokens of ServiceAccounts are good, in seconds.
const TOKEN_LIFE: i64 = 600;

/// For whom tokens of ServiceAccounts are meant with the method `jwt`.
const JWT_AUDIENCE: &str = "vault";

/// A token that is known.
#[derive(Debug)]
struct Fixed(SecretText);

impl JwtSource for Fixed {
    fn token(&self) -> Answer<'_, SecretText> {
        let token = self.0.clone();
        Box::pin(async { Ok(token) })
    }
}

pub(super) fn open<'a>(opening: &'a mut Opening<'_>, block: &'a Value) -> Opens<'a> {
    open_at(opening, block, None)
}

/// OpenBao is reached as Vault is; its secrets lie where it puts them by default.
pub(super) fn open_bao<'a>(opening: &'a mut Opening<'_>, block: &'a Value) -> Opens<'a> {
    open_at(opening, block, Some("kv"))
}

fn open_at<'a>(opening: &'a mut Opening<'_>, block: &'a Value, mount: Option<&'static str>) -> Opens<'a> {
    Box::pin(async move {
        let mut settings = settings(opening, block).await?;
        settings.place.mount = settings.place.mount.or_else(|| mount.map(str::to_owned));
        let vault = Vault::new(settings)?;
        let vault = vault.with_observer(Arc::clone(&opening.surroundings.observer));
        Ok(Arc::new(vault) as Arc<dyn SecretProvider>)
    })
}

/// `spec.retrySettings`: without them those of Vault's own client, with them but without a number none.
///
/// # Errors
///
/// If the interval is no duration.
pub(super) fn retries(settings: Option<&RetrySettings>) -> Result<Retries, String> {
    let Some(settings) = settings else { return Ok(Retries::default()) };
    let wait = settings.retry_interval.as_deref().filter(|it| !it.is_empty()).map(str::parse::<GoDuration>);
    let wait = wait.transpose().map_err(|it| format!("spec.retrySettings.retryInterval: {it}"))?;
    let max = settings.max_retries.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
    Ok(Retries { max, wait: wait.and_then(GoDuration::positive) })
}

/// True if some reference of the identity leaves the namespace to the reader.
pub(super) fn is_referent(block: &Value) -> bool {
    let Ok(VaultProvider { auth: Some(auth), .. }) = VaultProvider::deserialize(block) else { return false };
    let kubernetes = auth.kubernetes.as_ref();
    let jwt = auth.jwt.as_ref();
    let selectors = [
        auth.token_secret_ref.as_ref(),
        auth.app_role.as_ref().map(|it| &it.secret_ref),
        kubernetes.and_then(|it| it.secret_ref.as_ref()),
        auth.ldap.as_ref().map(|it| &it.secret_ref),
        auth.user_pass.as_ref().map(|it| &it.secret_ref),
        jwt.and_then(|it| it.secret_ref.as_ref()),
        auth.cert.as_ref().map(|it| &it.secret_ref),
    ];
    let accounts = [
        kubernetes.and_then(|it| it.service_account_ref.as_ref()),
        jwt.and_then(|it| it.kubernetes_service_account_token.as_ref()).map(|it| &it.service_account_ref),
    ];
    let namespaces = selectors.into_iter().flatten().map(|it| &it.namespace);
    namespaces.chain(accounts.into_iter().flatten().map(|it| &it.namespace)).any(String::is_empty)
}

pub(super) async fn settings(opening: &mut Opening<'_>, block: &Value) -> Result<Settings, Failure> {
    let place = &opening.place.clone();
    let vault: VaultProvider = read(block.clone(), place)?;
    if vault.server.is_empty() {
        return Err(Failure::settled(format!("{place}.server: is missing")));
    }
    let mut tls = Tls {
        authorities: opening.authorities(&vault.ca_bundle, vault.ca_provider.as_ref(), place).await?,
        ..Tls::default()
    };
    match (&vault.tls.cert_secret_ref, &vault.tls.key_secret_ref) {
        (Some(certificate), Some(key)) => {
            let certificate = opening.value(certificate, "tls.crt", &format!("{place}.tls.certSecretRef")).await?;
            let key = opening.value(key, "tls.key", &format!("{place}.tls.keySecretRef")).await?;
            tls.identity = Some((certificate.expose().to_vec(), key));
        }
        (None, None) => {}
        _ => return Err(Failure::settled(format!("{place}.tls: certSecretRef and keySecretRef go together"))),
    }
    let login_namespace = vault.auth.as_ref().map(|it| it.namespace.clone()).filter(|it| !it.is_empty());
    let auth = match &vault.auth {
        None => Auth::None,
        Some(auth) => identity(opening, auth, &mut tls, &format!("{place}.auth")).await?,
    };
    Ok(Settings {
        address: vault.server,
        login_namespace,
        headers: vault.headers,
        login_headers: BTreeMap::new(),
        tls,
        timeout: TIMEOUT,
        retries: opening.retries,
        auth,
        place: Place {
            namespace: Some(vault.namespace).filter(|it| !it.is_empty()),
            mount: vault.path.filter(|it| !it.is_empty()),
            version: match vault.version.as_str() {
                "" | "v2" => KvVersion::V2,
                "v1" => KvVersion::V1,
                _ => return Err(Failure::settled(format!("{place}.version: expected v1 or v2"))),
            },
        },
        read_your_writes: vault.read_your_writes || vault.forward_inconsistent,
        forward_inconsistent: vault.forward_inconsistent && vault.read_your_writes,
    })
}

/// The first method that is there, in the order in which the original looks.
async fn identity(
    opening: &mut Opening<'_>,
    auth: &VaultAuthSpec,
    tls: &mut Tls,
    place: &str,
) -> Result<Auth, Failure> {
    if let Some(at) = &auth.token_secret_ref {
        let token = opening.word(at, "", &format!("{place}.tokenSecretRef")).await?;
        return Ok(Auth::Token(token));
    }
    if let Some(role) = &auth.app_role {
        let place = format!("{place}.appRole");
        let inline = role.role_id.0.expose_str().map(str::trim).filter(|it| !it.is_empty());
        let role_id = match (inline, &role.role_ref) {
            (Some(id), _) => SecretText::from(id),
            (None, Some(at)) => opening.value(at, "", &format!("{place}.roleRef")).await?,
            (None, None) => return Err(Failure::settled(format!("{place}: roleId or roleRef is needed"))),
        };
        let secret_id = opening.value(&role.secret_ref, "", &format!("{place}.secretRef")).await?;
        return Ok(Auth::AppRole { mount: or(&role.path, "approle"), role_id, secret_id });
    }
    if let Some(kubernetes) = &auth.kubernetes {
        let place = format!("{place}.kubernetes");
        let jwt = of_kubernetes(opening, kubernetes, &place).await?;
        let mount = or(&kubernetes.mount_path, "kubernetes");
        return Ok(Auth::Jwt { mount, role: some(&kubernetes.role), jwt });
    }
    for (password, usual) in [(&auth.ldap, "ldap"), (&auth.user_pass, "userpass")] {
        if let Some(PasswordAuth { path, username, secret_ref }) = password {
            let field = if usual == "ldap" { "ldap" } else { "userPass" };
            let password = opening.value(secret_ref, "", &format!("{place}.{field}.secretRef")).await?;
            return Ok(Auth::Password { mount: or(path, usual), user: username.trim().to_owned(), password });
        }
    }
    if let Some(jwt) = &auth.jwt {
        let source = of_jwt(opening, jwt, &format!("{place}.jwt")).await?;
        return Ok(Auth::Jwt { mount: or(&jwt.path, "jwt"), role: some(&jwt.role), jwt: source });
    }
    if let Some(cert) = &auth.cert {
        let place = format!("{place}.cert");
        let certificate = opening.value(&cert.client_cert, "tls.crt", &format!("{place}.clientCert")).await?;
        let key = opening.value(&cert.secret_ref, "tls.key", &format!("{place}.secretRef")).await?;
        tls.identity = Some((certificate.expose().to_vec(), key));
        return Ok(Auth::Certificate { mount: or(&cert.path, "cert"), role: some(&cert.vault_role) });
    }
    for (method, name) in [(&auth.iam, "iam"), (&auth.gcp, "gcp")] {
        if method.is_some() {
            return Err(Failure::settled(format!("{place}.{name}: this method is not served yet")));
        }
    }
    Err(Failure::settled("cannot initialize Vault client: no valid auth method specified"))
}

async fn of_kubernetes(
    opening: &mut Opening<'_>,
    auth: &VaultKubernetesAuth,
    place: &str,
) -> Result<Arc<dyn JwtSource>, Failure> {
    if let Some(account) = &auth.service_account_ref {
        return opening.tokens(account, &account.audiences, TOKEN_LIFE, &format!("{place}.serviceAccountRef"));
    }
    if let Some(at) = &auth.secret_ref {
        return Ok(Arc::new(Fixed(opening.word(at, "token", &format!("{place}.secretRef")).await?)));
    }
    // Whoever writes a SecretStore says where it is sent: the token would be theirs.
    if opening.is_namespaced() {
        return Err(Failure::settled(format!(
            "{place}: serviceAccountRef or secretRef is needed; only a ClusterSecretStore may use the \
             operator's own token"
        )));
    }
    let own = opening.cluster.own_token();
    own.ok_or_else(|| {
        Failure::settled(format!("{place}: the operator has no token of its own; name a serviceAccountRef"))
    })
}

async fn of_jwt(opening: &mut Opening<'_>, auth: &JwtAuth, place: &str) -> Result<Arc<dyn JwtSource>, Failure> {
    if let Some(at) = &auth.secret_ref {
        return Ok(Arc::new(Fixed(opening.word(at, "", &format!("{place}.secretRef")).await?)));
    }
    let Some(token) = &auth.kubernetes_service_account_token else {
        return Err(Failure::settled(format!("{place}: secretRef or kubernetesServiceAccountToken is needed")));
    };
    let usual = vec![JWT_AUDIENCE.to_owned()];
    let account = &token.service_account_ref;
    let audiences = [&account.audiences[..], token.audiences.as_ref().unwrap_or(&usual)].concat();
    let life = token.expiration_seconds.unwrap_or(TOKEN_LIFE);
    let place = format!("{place}.kubernetesServiceAccountToken.serviceAccountRef");
    opening.tokens(account, &audiences, life, &place)
}

fn or(text: &str, usual: &str) -> String {
    if text.is_empty() { usual.to_owned() } else { text.to_owned() }
}

fn some(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}
