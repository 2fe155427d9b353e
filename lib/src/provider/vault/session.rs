//! One identity at a Vault: its token, from login to revocation (spec section 3.3).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::{Answer, Connection, Request};
use super::login::Login;
use super::{Auth, Settings};
use crate::provider::{Observer, ProviderError, ProviderErrorKind, Validity};
use crate::secret::SecretText;

/// How long after a login a refusal is no reason for another one.
const BETWEEN_LOGINS: Duration = Duration::from_secs(10);

/// A token that ends sooner than this is not used for another request.
const MARGIN: Duration = Duration::from_secs(2);

const LOOKUP: &str = "auth/token/lookup-self";
const RENEW: &str = "auth/token/renew-self";
const REVOKE: &str = "auth/token/revoke-self";

/// One identity. Nothing runs on its own: tokens are renewed when a request comes after two thirds
/// of their time, and got anew when one comes after their end.
pub(super) struct Session {
    connection: Connection,
    auth: Auth,
    namespace: Option<String>,
    token: RwLock<Option<Arc<Token>>>,
    /// Who holds this logs in; the others wait for what becomes of it.
    door: Mutex<Door>,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Door {
    /// When the last login failed, and why.
    failed: Option<(Instant, ProviderError)>,
}

struct Token {
    text: SecretText,
    accessor: Option<String>,
    /// When it was got.
    made: Instant,
    /// When it was got or renewed.
    since: Instant,
    /// How long it lives; `None`: until it is revoked.
    ttl: Option<Duration>,
    /// How long it lived at first: what is renewed up to its last end lives ever shorter.
    first_ttl: Option<Duration>,
    is_renewable: bool,
    /// False for tokens that are not ours and for those that cannot be revoked.
    is_revocable: bool,
}

/// The part of an answer that has a token.
#[derive(Deserialize)]
struct Issued {
    auth: Option<Grant>,
}

#[derive(Deserialize)]
struct Grant {
    client_token: SecretString,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(default)]
    token_type: String,
}

/// The part of an answer that tells about a token.
#[derive(Deserialize)]
struct Looked {
    data: LookedToken,
}

#[derive(Deserialize)]
struct LookedToken {
    #[serde(default)]
    accessor: String,
}

/// A text that goes from an answer straight to where it is wiped.
struct SecretString(SecretText);

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|it| Self(SecretText::new(it)))
    }
}

impl Token {
    fn issued(grant: Grant) -> Self {
        let ttl = (grant.lease_duration > 0).then(|| Duration::from_secs(grant.lease_duration));
        let is_batch = grant.token_type == "batch";
        Self {
            text: grant.client_token.0,
            accessor: Some(grant.accessor).filter(|it| !it.is_empty()),
            made: Instant::now(),
            since: Instant::now(),
            ttl,
            first_ttl: ttl,
            is_renewable: grant.renewable && !is_batch,
            is_revocable: !is_batch,
        }
    }

    /// A token that somebody else made and renews.
    fn given(text: SecretText) -> Self {
        Self {
            text,
            accessor: None,
            made: Instant::now(),
            since: Instant::now(),
            ttl: None,
            first_ttl: None,
            is_renewable: false,
            is_revocable: false,
        }
    }

    fn is_over(&self) -> bool {
        let used = |ttl: Duration| self.since.elapsed() + MARGIN.min(ttl / 10) >= ttl;
        self.ttl.is_some_and(used)
    }

    fn is_due(&self) -> bool {
        self.ttl.is_some_and(|ttl| self.since.elapsed() >= ttl * 2 / 3)
    }
}

impl Session {
    pub(super) fn new(settings: Settings) -> Result<Self, ProviderError> {
        let connection = Connection::new(&settings)?;
        let token = match &settings.auth {
            Auth::Token(token) if token.expose().trim_ascii().is_empty() => {
                return Err(ProviderError::invalid("the Vault token is empty"));
            }
            Auth::Token(token) => Some(Arc::new(Token::given(token.clone()))),
            _ => None,
        };
        Ok(Self {
            connection,
            namespace: settings.login_namespace.or(settings.place.namespace),
            auth: settings.auth,
            token: RwLock::new(token),
            door: Mutex::default(),
            is_closed: AtomicBool::new(false),
        })
    }

    pub(super) fn address(&self) -> &str {
        self.connection.address()
    }

    pub(super) fn observe(&self, observer: Arc<dyn Observer>) {
        self.connection.observe(observer);
    }

    /// Makes a request with the token of this identity. If it is refused, the token may have been
    /// revoked, or may be older than what it should be allowed: then once more with a new one.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`], and if there is no logging in.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, ProviderError> {
        let Some(token) = self.current().await? else { return self.connection.send(&request).await };
        match self.connection.send(&request.with_token(&token.text)).await {
            Err(refused) if refused.kind == ProviderErrorKind::Denied => match self.another(&token).await? {
                Some(other) => self.connection.send(&request.with_token(&other.text)).await,
                None => Err(refused),
            },
            other => other,
        }
    }

    /// Asks Vault about the token.
    ///
    /// # Errors
    ///
    /// If there is no logging in, or the token is none.
    pub(super) async fn check(&self) -> Result<Validity, ProviderError> {
        if matches!(self.auth, Auth::None) {
            return Ok(Validity::Unknown);
        }
        self.look_up().await.map(|_| Validity::Ready)
    }

    /// The accessor of the token.
    ///
    /// # Errors
    ///
    /// If there is no logging in, or no asking about a token that was given.
    pub(super) async fn accessor(&self) -> Result<Option<String>, ProviderError> {
        match (self.current().await?, &self.auth) {
            (None, _) => Ok(None),
            (Some(_), Auth::Token(_)) => self.look_up().await,
            (Some(token), _) => Ok(token.accessor.clone()),
        }
    }

    async fn look_up(&self) -> Result<Option<String>, ProviderError> {
        let request = Request { namespace: self.namespace.as_deref(), ..Request::read("LookupSelf", LOOKUP) };
        let answer = self.send(request).await?;
        let looked: Looked = answer.json()?;
        Ok(Some(looked.data.accessor).filter(|it| !it.is_empty()))
    }

    /// Ends the session: its token is revoked, and nobody logs in any more. A token that was given is
    /// not ours to end.
    ///
    /// # Errors
    ///
    /// If Vault does not revoke the token, which then ends by itself.
    pub(super) async fn close(&self) -> Result<(), ProviderError> {
        self.is_closed.store(true, Ordering::Release);
        // Whoever logs in now will have done so.
        let _door = self.door.lock().await;
        match self.keep(None) {
            Some(token) => self.revoke(&token).await,
            None => Ok(()),
        }
    }

    /// The token to use now; `None` if there is none to use.
    async fn current(&self) -> Result<Option<Arc<Token>>, ProviderError> {
        if matches!(self.auth, Auth::None) {
            return Ok(None);
        }
        let held = self.held();
        match held.filter(|it| !it.is_over()) {
            Some(token) if !token.is_due() => Ok(Some(token)),
            Some(token) => {
                // One renews; the others go on with a token that is still good.
                let Ok(mut door) = self.door.try_lock() else { return Ok(Some(token)) };
                match self.held().filter(|it| !it.is_due()) {
                    Some(renewed) => Ok(Some(renewed)),
                    None => self.renew(&token, &mut door).await.map(Some),
                }
            }
            None => {
                let asked = Instant::now();
                let mut door = self.door.lock().await;
                match self.held().filter(|it| !it.is_over()) {
                    Some(token) => Ok(Some(token)),
                    None => self.log_in(&mut door, asked).await.map(Some),
                }
            }
        }
    }

    /// Another token than one that was refused; `None` if there is none to be had, or the refused one
    /// is new.
    async fn another(&self, refused: &Arc<Token>) -> Result<Option<Arc<Token>>, ProviderError> {
        if matches!(self.auth, Auth::None | Auth::Token(_)) {
            return Ok(None);
        }
        let asked = Instant::now();
        let mut door = self.door.lock().await;
        match self.held() {
            Some(held) if !Arc::ptr_eq(&held, refused) => return Ok(Some(held)),
            Some(_) if refused.made.elapsed() < BETWEEN_LOGINS => return Ok(None),
            _ => (),
        }
        let token = self.log_in(&mut door, asked).await?;
        drop(door);
        // It may be good yet, and would count until its end. If it is not, this says so.
        _ = self.revoke(refused).await;
        Ok(Some(token))
    }

    /// Extends a token's life, or gets another one if that does not help any more.
    async fn renew(&self, token: &Arc<Token>, door: &mut Door) -> Result<Arc<Token>, ProviderError> {
        if token.is_renewable
            && let Ok(renewed) = self.extend(token).await
        {
            return Ok(renewed);
        }
        match self.log_in(door, Instant::now()).await {
            Ok(other) => {
                _ = self.revoke(token).await;
                Ok(other)
            }
            // Bad news can wait until the old token's end.
            Err(_) => Ok(Arc::clone(token)),
        }
    }

    async fn extend(&self, token: &Token) -> Result<Arc<Token>, ProviderError> {
        let request = Request {
            namespace: self.namespace.as_deref(),
            token: Some(&token.text),
            ..Request::write("RenewSelf", RENEW, Some(bytes::Bytes::from_static(b"{}")))
        };
        let answer = self.connection.send(&request).await?;
        let grant = answer.json::<Issued>()?.auth.ok_or_else(|| no_token(RENEW))?;
        let mut renewed = Token::issued(grant);
        let is_short = renewed.ttl.zip(token.first_ttl).is_some_and(|(now, first)| now < first / 2);
        if is_short {
            return Err(ProviderError::unavailable("the token is near its last end"));
        }
        renewed.first_ttl = token.first_ttl;
        renewed.made = token.made;
        let renewed = Arc::new(renewed);
        self.keep(Some(Arc::clone(&renewed)));
        Ok(renewed)
    }

    /// Logs in, unless somebody else did in vain since `asked`.
    async fn log_in(&self, door: &mut Door, asked: Instant) -> Result<Arc<Token>, ProviderError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(ProviderError::unavailable("the store has been closed"));
        }
        if let Some((when, why)) = &door.failed
            && *when >= asked
        {
            return Err(why.clone());
        }
        let result = self.ask_for_token().await;
        door.failed = result.as_ref().err().map(|it| (Instant::now(), it.clone()));
        let token = Arc::new(result?);
        self.keep(Some(Arc::clone(&token)));
        Ok(token)
    }

    async fn ask_for_token(&self) -> Result<Token, ProviderError> {
        let login = Login::of(&self.auth).await?.ok_or_else(|| ProviderError::denied("the token is not valid"))?;
        let request = Request {
            namespace: self.namespace.as_deref(),
            is_login: true,
            ..Request::write("Login", &login.path, Some(login.body.clone()))
        };
        let answer = self.connection.send(&request).await.map_err(|it| login.discreet(it))?;
        if answer.is_missing() {
            let path = login.path.trim_matches('/');
            return Err(ProviderError::invalid(format!(
                "unable to log in: there is no method of authentication at {path}"
            )));
        }
        let issued: Issued = answer.json()?;
        issued.auth.map(Token::issued).ok_or_else(|| no_token(&login.path))
    }

    async fn revoke(&self, token: &Token) -> Result<(), ProviderError> {
        if !token.is_revocable {
            return Ok(());
        }
        let request = Request {
            namespace: self.namespace.as_deref(),
            token: Some(&token.text),
            ..Request::write("RevokeSelf", REVOKE, None)
        };
        match self.connection.send(&request).await {
            // It was none any more.
            Err(it) if it.kind == ProviderErrorKind::Denied => Ok(()),
            other => other.map(drop),
        }
    }

    fn held(&self) -> Option<Arc<Token>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a token from now on. Returns the one before.
    fn keep(&self, token: Option<Arc<Token>>) -> Option<Arc<Token>> {
        std::mem::replace(&mut *self.token.write().unwrap_or_else(PoisonError::into_inner), token)
    }
}

fn no_token(path: &str) -> ProviderError {
    ProviderError::unavailable(format!("the answer of {} has no token", path.trim_matches('/')))
}
