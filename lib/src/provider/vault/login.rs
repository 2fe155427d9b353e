//! What each method of authentication sends (External Secrets, spec section 3.2; Vault Secrets, spec
//! section A.3.1).

use bytes::Bytes;
use rustify::endpoint::Endpoint;
use serde::Serialize;
use vaultrs::api::auth::{approle, kubernetes, oidc, userpass};
use zeroize::{Zeroize, Zeroizing};

use super::Auth;
use crate::provider::ProviderError;
use crate::secret::SecretText;

/// One login, ready to be sent.
pub(super) struct Login {
    /// Below `/v1/`.
    pub(super) path: String,
    /// What is sent; wiped when nobody holds it any more.
    pub(super) body: Bytes,
    /// The secrets in it, which no error may repeat.
    pub(super) secrets: Vec<SecretText>,
}

/// The certificate method; `vaultrs` calls the role `cert_name`, which Vault does not know.
#[derive(Serialize)]
struct CertificateLogin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl Login {
    /// What `auth` sends; `None` if it has its token already, or needs none.
    ///
    /// # Errors
    ///
    /// If a credential is not text, or there is no signed token to be had.
    pub(super) async fn of(auth: &Auth) -> Result<Option<Self>, ProviderError> {
        let login = match auth {
            Auth::None | Auth::Token(_) => return Ok(None),
            Auth::AppRole { mount, role_id, secret_id } => {
                let mut request = approle::requests::LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: text(role_id, "the role ID")?,
                    secret_id: text(secret_id, "the secret ID")?,
                };
                let login = Self::new(&request, vec![role_id.clone(), secret_id.clone()]);
                request.role_id.zeroize();
                request.secret_id.zeroize();
                login
            }
            Auth::Jwt { mount, role, jwt } => {
                let jwt = jwt.token().await?;
                let (mount, signed) = (mount.clone(), text(&jwt, "the signed token")?);
                let secrets = vec![jwt];
                match role {
                    Some(role) => {
                        let role = role.trim().to_owned();
                        let mut request = kubernetes::requests::LoginWithKubernetesRequest { mount, role, jwt: signed };
                        let login = Self::new(&request, secrets);
                        request.jwt.zeroize();
                        login
                    }
                    None => {
                        let mut request = oidc::requests::JWTLoginRequest { mount, role: None, jwt: signed };
                        let login = Self::new(&request, secrets);
                        request.jwt.zeroize();
                        login
                    }
                }
            }
            Auth::Password { mount, user, password } => {
                let mut request = userpass::requests::LoginRequest {
                    mount: mount.clone(),
                    username: user.trim().to_owned(),
                    password: text(password, "the password")?,
                };
                let login = Self::new(&request, vec![password.clone()]);
                request.password.zeroize();
                login
            }
            Auth::Certificate { mount, role } => {
                let body = serde_json::to_vec(&CertificateLogin { name: role.as_deref() });
                Ok(Self {
                    path: format!("auth/{mount}/login"),
                    body: body.expect("a name is JSON").into(),
                    secrets: Vec::new(),
                })
            }
        };
        login.map(Some)
    }

    fn new(request: &impl Endpoint, secrets: Vec<SecretText>) -> Result<Self, ProviderError> {
        let body = request.body().ok().flatten();
        let body = body.ok_or_else(|| ProviderError::invalid("the credentials cannot be sent"))?;
        let body = Bytes::from_owner(Zeroizing::new(body));
        Ok(Self { path: request.path(), body, secrets })
    }

    /// An error without anything that was sent in confidence.
    pub(super) fn discreet(&self, error: ProviderError) -> ProviderError {
        let repeats = self.secrets.iter().filter_map(SecretText::expose_str).any(|secret| {
            let secret = secret.trim();
            !secret.is_empty() && error.message.contains(secret)
        });
        let message = match repeats {
            true => format!("login at {} was refused, in words that repeat a credential", self.path.trim_matches('/')),
            false => format!("unable to log in: {}", error.message),
        };
        ProviderError { kind: error.kind, message }
    }
}

/// A credential, without the line break that files and Secrets often end with.
fn text(secret: &SecretText, what: &str) -> Result<String, ProviderError> {
    let text = secret.expose_str().map(str::trim).filter(|it| !it.is_empty());
    text.map(ToOwned::to_owned).ok_or_else(|| ProviderError::invalid(format!("{what} is empty or not text")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::Answer;
    use crate::provider::vault::JwtSource;

    #[derive(Debug)]
    struct Fixed;

    impl JwtSource for Fixed {
        fn token(&self) -> Answer<'_, SecretText> {
            Box::pin(async { Ok("signed\n".into()) })
        }
    }

    #[test]
    fn each_method_sends_what_vault_expects() {
        let mount = || "m/n".to_owned();
        let jwt =
            |role: Option<&str>| Auth::Jwt { mount: mount(), role: role.map(str::to_owned), jwt: Arc::new(Fixed) };
        let user = |it: &str| Auth::Password { mount: mount(), user: it.to_owned(), password: "p\"w".into() };
        let certificate = |role: Option<&str>| Auth::Certificate { mount: mount(), role: role.map(str::to_owned) };
        for (auth, path, body) in [
            (
                Auth::AppRole { mount: mount(), role_id: "r".into(), secret_id: "s\n".into() },
                "auth/m/n/login",
                r#"{"role_id":"r","secret_id":"s"}"#,
            ),
            (jwt(Some(" app ")), "auth/m/n/login", r#"{"role":"app","jwt":"signed"}"#),
            (jwt(None), "auth/m/n/login", r#"{"jwt":"signed"}"#),
            (user("me "), "auth/m/n/login/me", r#"{"password":"p\"w"}"#),
            (certificate(None), "auth/m/n/login", "{}"),
            (certificate(Some("web")), "auth/m/n/login", r#"{"name":"web"}"#),
        ] {
            let login = pollster::block_on(Login::of(&auth)).expect("it can be sent").expect("there is a login");
            assert_eq!((login.path.trim_matches('/'), &login.body[..]), (path, body.as_bytes()));
        }
        for auth in [Auth::None, Auth::Token("t".into())] {
            assert!(pollster::block_on(Login::of(&auth)).expect("nothing is sent").is_none());
        }
    }

    #[test]
    fn errors_repeat_no_credential() {
        let auth = Auth::Password { mount: "userpass".to_owned(), user: "me".to_owned(), password: "hunter2".into() };
        let login = pollster::block_on(Login::of(&auth)).expect("it can be sent").expect("there is a login");
        let said = login.discreet(ProviderError::invalid("no such password: hunter2"));
        assert!(!said.message.contains("hunter2"), "{said}");
        assert!(login.discreet(ProviderError::invalid("invalid role")).message.ends_with(": invalid role"));
    }
}
