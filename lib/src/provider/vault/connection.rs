//! One Vault server: requests, what is repeated and when, and what answers mean that are none.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::limit::Limit;
use super::tls;
use super::{KIND, Retries, Settings};
use crate::provider::{Observer, ProviderError, ProviderErrorKind};
use crate::secret::SecretText;

/// The most that an answer may hold.
const ANSWER_LIMIT: usize = 64 << 20;

/// The longest that is waited because a server asks for it. Who is asked for more hands the question
/// back, with the time.
const PATIENCE: Duration = Duration::from_secs(10);

const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");

/// One server.
pub(super) struct Connection {
    http: reqwest::Client,
    address: String,
    base: Url,
    /// Headers of every request, those that address settings ask for too.
    headers: HeaderMap,
    login_headers: HeaderMap,
    retries: Retries,
    limit: Arc<Limit>,
    observer: OnceLock<Arc<dyn Observer>>,
    /// The states that are asked for, if they are.
    states: Option<Mutex<Vec<HeaderValue>>>,
}

/// One request.
pub(super) struct Request<'a> {
    /// What metrics call it.
    pub(super) call: &'static str,
    pub(super) method: Method,
    /// Below `/v1/`, not percent-encoded.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) namespace: Option<&'a str>,
    pub(super) token: Option<&'a SecretText>,
    /// JSON.
    pub(super) body: Option<Bytes>,
    /// True if it carries the headers of logins.
    pub(super) is_login: bool,
}

/// An answer that says something: status 2xx or 404.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// One attempt's outcome.
enum Outcome {
    Answered(Answer),
    Failed(ProviderError),
    /// It failed for a reason that may pass.
    Passing(ProviderError),
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl<'a> Request<'a> {
    /// A request for what lies at a path.
    pub(super) fn read(call: &'static str, path: &'a str) -> Self {
        let method = Method::GET;
        Self { call, method, path, query: &[], namespace: None, token: None, body: None, is_login: false }
    }

    /// A request that changes something.
    pub(super) fn write(call: &'static str, path: &'a str, body: Option<Bytes>) -> Self {
        Self { method: Method::POST, body, ..Self::read(call, path) }
    }

    /// The same with a token.
    pub(super) fn with_token<'b>(&'b self, token: &'b SecretText) -> Request<'b> {
        Request { method: self.method.clone(), body: self.body.clone(), token: Some(token), ..*self }
    }
}

impl Connection {
    /// Prepares for requests.
    ///
    /// # Errors
    ///
    /// If address, certificates or headers are none.
    pub(super) fn new(settings: &Settings) -> Result<Self, ProviderError> {
        let address = settings.address.trim().trim_end_matches('/').to_owned();
        let mut base = Url::parse(&address)
            .ok()
            .filter(|it| matches!(it.scheme(), "http" | "https") && it.has_host())
            .ok_or_else(|| ProviderError::invalid(format!("{:?} is not the address of a Vault", settings.address)))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(ProviderError::invalid("the address of a Vault must not hold a user or a password"));
        }
        let mut headers = header_map(&settings.headers)?;
        let http = tls::client(&settings.tls, &mut base, &mut headers, settings.timeout)?;
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if settings.read_your_writes && settings.forward_inconsistent {
            headers.insert(INCONSISTENT, HeaderValue::from_static("forward-active-node"));
        }
        let reads_own_writes = settings.read_your_writes || settings.forward_inconsistent;
        Ok(Self {
            http,
            limit: Limit::of(&address),
            address,
            base,
            headers,
            login_headers: header_map(&settings.login_headers)?,
            retries: settings.retries,
            observer: OnceLock::new(),
            states: reads_own_writes.then(Mutex::default),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn observe(&self, observer: Arc<dyn Observer>) {
        _ = self.observer.set(observer);
    }

    /// Makes a request, and makes it again as often as the settings say if it failed for a reason
    /// that may pass (spec section 3.1).
    ///
    /// # Errors
    ///
    /// Unless the answer is 2xx or 404.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, ProviderError> {
        let result = self.send_patiently(request).await;
        if let Some(observer) = self.observer.get() {
            observer.called(KIND.name, request.call, result.is_ok());
        }
        result
    }

    async fn send_patiently(&self, request: &Request<'_>) -> Result<Answer, ProviderError> {
        for attempt in 1.. {
            let error = match self.attempt(request).await? {
                Outcome::Answered(answer) => return Ok(answer),
                Outcome::Failed(error) => return Err(error),
                Outcome::Passing(error) if attempt > self.retries.max => return Err(error),
                Outcome::Passing(error) => error,
            };
            let asked = match error.kind {
                ProviderErrorKind::Unavailable { retry_after } => retry_after,
                _ => None,
            };
            if asked.is_some_and(|it| it > PATIENCE) {
                return Err(error);
            }
            tokio::time::sleep(asked.unwrap_or_default().max(pause(self.retries, attempt))).await;
        }
        unreachable!("it is tried until it is answered")
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Outcome, ProviderError> {
        let url = self.url(request)?;
        let headers = self.headers(request)?;
        let slot = self.limit.slot().await;
        let answer = match self.exchange(request, &url, &headers).await {
            Ok(answer) => answer,
            // Go's client gives up for good when its time is up; so do we, since it has been long.
            Err(error) if error.is_timeout() => return Ok(Outcome::Failed(self.unreachable(&error))),
            Err(error) => return Ok(Outcome::Passing(self.unreachable(&error))),
        };
        let status = answer.status();
        slot.answered(matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE));
        self.remember_state(answer.headers());
        let retry_after = retry_after(answer.headers());
        let body = match self.body(answer).await {
            Ok(body) => body,
            Err(outcome) => return Ok(outcome),
        };
        let text = || told(status, request.path, &body);
        Ok(match status {
            it if it.is_success() || it == StatusCode::NOT_FOUND => Outcome::Answered(Answer { status, body }),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Outcome::Failed(ProviderError::denied(text())),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PRECONDITION_FAILED => {
                Outcome::Passing(ProviderError::new(ProviderErrorKind::Unavailable { retry_after }, text()))
            }
            StatusCode::NOT_IMPLEMENTED => Outcome::Failed(ProviderError::unavailable(text())),
            it if it.is_server_error() => {
                Outcome::Passing(ProviderError::new(ProviderErrorKind::Unavailable { retry_after }, text()))
            }
            _ => Outcome::Failed(ProviderError::invalid(text())),
        })
    }

    /// One question and its answer; a standby may send us on to somebody else, once.
    async fn exchange(
        &self,
        request: &Request<'_>,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let ask = |url: Url, headers: HeaderMap| {
            let question = self.http.request(request.method.clone(), url).headers(headers);
            match &request.body {
                Some(body) => question.body(body.clone()).send(),
                None => question.send(),
            }
        };
        let answer = ask(url.clone(), headers.clone()).await?;
        let moved = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&answer.status());
        let location = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok());
        let location = location.and_then(|it| url.join(it).ok());
        match location.filter(|it| moved && matches!((url.scheme(), it.scheme()), (_, "https") | ("http", "http"))) {
            Some(location) => {
                let mut headers = headers.clone();
                headers.remove(HOST);
                ask(location, headers).await
            }
            None => Ok(answer),
        }
    }

    fn url(&self, request: &Request<'_>) -> Result<Url, ProviderError> {
        let mut url = self.base.clone();
        let mut parts = url.path_segments_mut().expect("addresses of Vaults have paths");
        parts.pop_if_empty().push("v1");
        for part in request.path.split('/').filter(|it| !it.is_empty()) {
            if matches!(part, "." | "..") || part.chars().any(char::is_control) {
                return Err(ProviderError::invalid(format!("{:?} cannot be asked for", request.path)));
            }
            parts.push(part);
        }
        drop(parts);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        Ok(url)
    }

    fn headers(&self, request: &Request<'_>) -> Result<HeaderMap, ProviderError> {
        let mut headers = self.headers.clone();
        if request.is_login {
            headers.extend(self.login_headers.clone());
        }
        if let Some(namespace) = request.namespace.map(|it| it.trim_matches('/')).filter(|it| !it.is_empty()) {
            let value = HeaderValue::from_str(namespace)
                .map_err(|_| ProviderError::invalid(format!("{namespace:?} is not a Vault namespace")))?;
            headers.insert(NAMESPACE, value);
        }
        if let Some(token) = request.token {
            // Files and Secrets with a token often end with a line break.
            let mut value = HeaderValue::from_bytes(token.expose().trim_ascii())
                .map_err(|_| ProviderError::invalid("the Vault token has characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(states) = &self.states {
            for state in states.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                headers.append(INDEX, state.clone());
            }
        }
        Ok(headers)
    }

    /// Keeps the state that the server says it has. States of one cluster follow one another; those
    /// of several clusters are asked for together, the newest first to come.
    fn remember_state(&self, headers: &HeaderMap) {
        let (Some(states), Some(state)) = (&self.states, headers.get(INDEX)) else { return };
        let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|it| it != state);
        states.insert(0, state.clone());
        states.truncate(2);
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Outcome> {
        let too_long = || {
            let text = format!("{} answered with more than {} MiB", self.address, ANSWER_LIMIT >> 20);
            Outcome::Failed(ProviderError::invalid(text))
        };
        let length = answer.content_length().unwrap_or_default();
        let length = usize::try_from(length).ok().filter(|it| *it <= ANSWER_LIMIT).ok_or_else(too_long)?;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_LIMIT => return Err(too_long()),
                Ok(Some(chunk)) => extend(&mut body, &chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(Outcome::Passing(self.unreachable(&error))),
            }
        }
    }

    /// What went wrong on the way, without the request's path, which reqwest adds.
    fn unreachable(&self, error: &reqwest::Error) -> ProviderError {
        let mut reasons = Vec::new();
        let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
        while let Some(it) = source {
            let reason = it.to_string();
            if !reasons.iter().any(|known: &String| known.contains(&reason)) {
                reasons.push(reason);
            }
            source = it.source();
        }
        let what = if error.is_timeout() { "no answer in time" } else { "no answer" };
        let colon = if reasons.is_empty() { "" } else { ": " };
        ProviderError::unavailable(format!("{what} from {}{colon}{}", self.address, reasons.join(": ")))
    }
}

impl Answer {
    /// True if it is a 404.
    pub(super) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// What the answer says.
    ///
    /// # Errors
    ///
    /// If it is not the JSON that it should be. Nothing of it is told.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body).map_err(|_| {
            ProviderError::unavailable(format!(
                "the answer, with status {}, is not what Vault answers",
                self.status.as_u16()
            ))
        })
    }
}

/// Adds bytes; what moves because there is no room is wiped where it was.
fn extend(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.capacity() * 2).max(body.len() + chunk.len())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// What a server says when it does not do what it is asked: status and its own words, cut short.
fn told(status: StatusCode, path: &str, body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Errors>(body).map(|it| it.errors).unwrap_or_default();
    let words: Vec<String> = errors.iter().take(3).map(|it| one_line(it)).filter(|it| !it.is_empty()).collect();
    let words = match words.is_empty() {
        true => status.canonical_reason().unwrap_or("no reason given").to_lowercase(),
        false => words.join("; "),
    };
    format!("{} {words} ({path})", status.as_u16())
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_start_matches("* ").chars().filter(|it| !it.is_control()).take(300).collect()
}

/// How long to wait after the `attempt`th attempt: linear with jitter, as Vault's own client does.
fn pause(retries: Retries, attempt: u32) -> Duration {
    let unit = retries.wait.unwrap_or_else(|| {
        let jitter = RandomState::new().hash_one(attempt) % 500;
        Duration::from_millis(1000 + jitter)
    });
    unit * attempt
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, ProviderError> {
    let header = |(name, value): (&String, &String)| {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (name, mut value) = parsed.ok_or_else(|| ProviderError::invalid(format!("{name:?} is not a header")))?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    headers.iter().map(header).collect()
}
