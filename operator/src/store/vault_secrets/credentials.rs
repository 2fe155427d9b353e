//! What a login takes: tokens of ServiceAccounts, secrets, files (Vault Secrets, spec section A.3.1).

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use leafseal::provider::Answer;
use leafseal::provider::vault::{Auth, JwtSource};
use leafseal::secret::SecretText;

use super::{Cluster, Merged, Part, absent, part, trouble};
use crate::api::vault_secrets::{AppRoleOf, JwtOf, KubernetesOf, Method, TokenOf, VaultAuthSpec};
use crate::error::{Retry, Trouble};
use crate::identity;

/// How long tokens of ServiceAccounts are good where nothing else is said: also the least that is.
const TOKEN_SECONDS: i64 = 600;

/// The longest file that is read.
const LONGEST: u64 = 1 << 20;

/// What a login takes.
pub(super) struct Credentials {
    pub(super) auth: Auth,
    /// The UID of whose credentials they are.
    pub(super) provider: String,
    /// The secret part of it, if it does not change by itself.
    pub(super) secret: SecretText,
}

/// A value of a Secret.
pub(super) struct Kept {
    pub(super) value: SecretText,
    uid: String,
}

/// Where the secret part of a login comes from.
pub(super) enum Needs {
    /// Tokens of a ServiceAccount, for a role.
    Account(Option<String>, TokenOf),
    /// A token in a Secret, for a role.
    Token(Option<String>, String),
    /// The secret of a role, in a Secret.
    InSecret(String, String),
    /// The secret of a role, in a file.
    InFile(String, String),
}

/// What the method of a VaultAuth needs.
///
/// # Errors
///
/// If its block lacks something, says too much, or the method is not served.
pub(super) fn needs(spec: &VaultAuthSpec, method: Method) -> Result<Needs, Trouble> {
    match method {
        Method::Kubernetes => {
            let KubernetesOf { role, token } = spec.kubernetes.clone().unwrap_or_default();
            needed("kubernetes.role", &role)?;
            needed("kubernetes.serviceAccount", &token.service_account)?;
            Ok(Needs::Account(Some(role), token))
        }
        Method::Jwt => {
            let JwtOf { role, secret_ref, token } = spec.jwt.clone().unwrap_or_default();
            let role = Some(role).filter(|it| !it.is_empty());
            Ok(match one_of(["jwt.secretRef", "jwt.serviceAccount"], [&secret_ref, &token.service_account])? {
                Side::First => Needs::Token(role, secret_ref),
                Side::Second => Needs::Account(role, token),
            })
        }
        Method::AppRole => {
            let AppRoleOf { role_id, secret_ref, secret_id_path } = spec.app_role.clone().unwrap_or_default();
            needed("appRole.roleId", &role_id)?;
            Ok(match one_of(["appRole.secretRef", "appRole.secretIDPath"], [&secret_ref, &secret_id_path])? {
                Side::First => Needs::InSecret(role_id, secret_ref),
                Side::Second => Needs::InFile(role_id, secret_id_path),
            })
        }
        Method::Aws | Method::Gcp => {
            let detail = format!("spec.method {:?} is not served yet", method.name());
            Err(trouble(detail).retried(Retry::OnChange))
        }
    }
}

/// The credentials that a VaultAuth has in the namespace of who reads.
pub(super) async fn of(
    cluster: &dyn Cluster,
    merged: &Merged,
    reader: &str,
    looked_at: &mut Vec<Part>,
) -> Result<Credentials, Trouble> {
    let mount = merged.spec.mount.clone();
    let app_role = |role_id: &str, secret_id: &SecretText| Auth::AppRole {
        mount: mount.clone(),
        role_id: SecretText::from(role_id),
        secret_id: secret_id.clone(),
    };
    Ok(match needs(&merged.spec, merged.method)? {
        Needs::Account(role, token) => {
            let (jwt, provider) = account(cluster, &token, reader, looked_at).await?;
            Credentials { auth: Auth::Jwt { mount, role, jwt }, provider, secret: SecretText::default() }
        }
        Needs::Token(role, name) => {
            let kept = secret_key(cluster, reader, &name, "jwt", looked_at).await?;
            let secret = trimmed(kept.value.expose());
            let jwt = Arc::new(Fixed(secret.clone()));
            Credentials { auth: Auth::Jwt { mount, role, jwt }, provider: kept.uid, secret }
        }
        Needs::InSecret(role_id, name) => {
            let kept = secret_key(cluster, reader, &name, "id", looked_at).await?;
            let secret = trimmed(kept.value.expose());
            Credentials { auth: app_role(&role_id, &secret), provider: kept.uid, secret }
        }
        Needs::InFile(role_id, path) => {
            let text = file(&path).map_err(|it| trouble(format!("spec.appRole.secretIDPath: {it}")))?;
            let secret = trimmed(&text);
            Credentials { auth: app_role(&role_id, &secret), provider: identity::file_uid(&path), secret }
        }
    })
}

/// One value of a Secret that must be there.
pub(super) async fn secret_key(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &str,
    key: &str,
    looked_at: &mut Vec<Part>,
) -> Result<Kept, Trouble> {
    looked_at.push(part("Secret", namespace, name));
    let held = cluster.secret(namespace, name).await?.ok_or_else(|| absent("Secret", namespace, name))?;
    match held.data.get(key).filter(|it| !it.is_empty()) {
        Some(value) => Ok(Kept { value: value.clone(), uid: held.uid }),
        None => Err(trouble(format!("the Secret {namespace}/{name} holds nothing under {key:?}"))),
    }
}

/// What a file holds.
///
/// # Errors
///
/// If its path is not absolute, it is no regular file, is too long, or cannot be read.
pub(super) fn file(path: &str) -> Result<Vec<u8>, String> {
    if !Path::new(path).is_absolute() {
        return Err(format!("{path:?} is no absolute path"));
    }
    let told = |error: std::io::Error| format!("{path:?}: {error}");
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err(format!("{path:?} is no regular file"));
    }
    let mut text = Vec::new();
    File::open(path).map_err(told)?.take(LONGEST + 1).read_to_end(&mut text).map_err(told)?;
    if text.len() as u64 > LONGEST {
        return Err(format!("{path:?} is longer than {LONGEST} bytes"));
    }
    Ok(text)
}

async fn account(
    cluster: &dyn Cluster,
    token: &TokenOf,
    reader: &str,
    looked_at: &mut Vec<Part>,
) -> Result<(Arc<dyn JwtSource>, String), Trouble> {
    let name = &token.service_account;
    looked_at.push(part("ServiceAccount", reader, name));
    let uid = cluster.service_account(reader, name).await?.ok_or_else(|| absent("ServiceAccount", reader, name))?;
    let seconds = token.token_expiration_seconds.max(TOKEN_SECONDS);
    Ok((cluster.tokens((reader, name), &token.audiences, seconds), uid))
}

fn needed(field: &str, text: &str) -> Result<(), Trouble> {
    match text {
        "" => Err(trouble(format!("spec.{field} is empty")).retried(Retry::OnChange)),
        _ => Ok(()),
    }
}

enum Side {
    First,
    Second,
}

/// Which of two fields is set.
fn one_of(fields: [&str; 2], texts: [&str; 2]) -> Result<Side, Trouble> {
    let what = match texts.map(str::is_empty) {
        [false, true] => return Ok(Side::First),
        [true, false] => return Ok(Side::Second),
        [true, true] => "one of them is needed",
        [false, false] => "they exclude each other",
    };
    Err(trouble(format!("spec.{} and spec.{}: {what}", fields[0], fields[1])).retried(Retry::OnChange))
}

fn trimmed(text: &[u8]) -> SecretText {
    SecretText::new(text.trim_ascii())
}

/// A token that does not change.
#[derive(Debug)]
struct Fixed(SecretText);

impl JwtSource for Fixed {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}
