//! Credentials that a Vault makes when it is asked: engines that are no KV (External Secrets, spec section 1.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method as Verb;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::connection;
use super::kv::{LIST, failed};
use super::session::Session;
use super::{KIND, Place};
use crate::provider::{Address, Answer, Content, Object, ProviderError, Query, SecretProvider, Validity};
use crate::secret::SecretText;

/// What is asked, and which part of the answer counts.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, below `/v1/`.
    pub path: String,
    /// How.
    pub method: Method,
    /// With what: JSON, for [`Method::Write`].
    pub body: SecretText,
    /// With what, for [`Method::Read`]: names and values of the query.
    pub query: Vec<(String, String)>,
    /// What of the answer is taken.
    pub part: Part,
    /// True if an answer without content is one without keys, and no error.
    pub may_be_empty: bool,
}

/// How something is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// `GET`
    Read,
    /// `GET` of a list.
    List,
    /// `DELETE`
    Delete,
    /// `PUT`
    Write,
}

/// A part of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Its `data`.
    Data,
    /// Its `auth`, as Go's client knows it.
    Auth,
    /// All of it, as Go's client knows it.
    Raw,
}

/// The members that Go's client knows of `auth`, and those it leaves out where they are empty.
const AUTH: &[&str] = &[
    "accessor",
    "client_token",
    "entity_id",
    "identity_policies",
    "lease_duration",
    "metadata",
    "mfa_requirement",
    "orphan",
    "policies",
    "renewable",
    "token_policies",
];
/// The same of a whole answer.
const RAW: &[&str] =
    &["auth", "data", "lease_duration", "lease_id", "mount_type", "renewable", "request_id", "warnings", "wrap_info"];
const LEFT_OUT: &[&str] = &["auth", "wrap_info"];

/// A place in a Vault where each reading makes something new. What is made ends with the token that it was made
/// with, so that token is not given back: it ends by itself.
pub struct Dynamic {
    session: Arc<Session>,
    place: Place,
    request: Request,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    auth: Option<&'a RawValue>,
}

impl Dynamic {
    pub(super) fn new(session: Arc<Session>, place: Place, request: Request) -> Self {
        Self { session, place, request }
    }

    async fn make(&self) -> Result<Content, ProviderError> {
        let Request { path, method, body, query, part, may_be_empty } = &self.request;
        let query: Vec<(&str, &str)> = query.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
        let request = connection::Request {
            method: match method {
                Method::Read | Method::List => Verb::GET,
                Method::Delete => Verb::DELETE,
                Method::Write => Verb::PUT,
            },
            query: match method {
                Method::List => LIST,
                _ => &query,
            },
            body: (*method == Method::Write).then(|| Bytes::from_owner(body.clone())),
            namespace: self.place.namespace.as_deref(),
            ..connection::Request::read("ReadSecretData", path)
        };
        let answer = self.session.send(request).await.map_err(|it| failed("get the dynamic secret", it))?;
        let is_empty = answer.is_missing() || answer.body.trim_ascii().is_empty();
        if is_empty && *may_be_empty {
            return Ok(Content::Fields(BTreeMap::new()));
        }
        if is_empty {
            return Err(ProviderError::invalid(format!(
                "unable to get dynamic secret: empty response from Vault ({path})"
            )));
        }
        let parts: Parts<'_> = answer.json()?;
        let text = match part {
            Part::Data => parts.data.map(|it| SecretText::from(it.get())),
            Part::Auth => parts.auth.map(|it| known(it.get(), AUTH)).transpose()?,
            Part::Raw => Some(known(answer.json::<&RawValue>()?.get(), RAW)?),
        };
        match text.filter(|it| it.expose() != b"null") {
            Some(data) => Ok(Content::Object(Object { data, metadata: None })),
            None => Ok(Content::Fields(BTreeMap::new())),
        }
    }
}

/// The members of a JSON object that are known.
fn known(json: &str, names: &[&str]) -> Result<SecretText, ProviderError> {
    let strange = |_| ProviderError::unavailable("the answer is not what Vault answers");
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(json).map_err(strange)?;
    members.retain(|name, value| names.contains(name) && !(LEFT_OUT.contains(name) && value.get() == "null"));
    serde_json::to_vec(&members).map(SecretText::new).map_err(strange)
}

impl SecretProvider for Dynamic {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn read<'a>(&'a self, _at: &'a Address) -> Answer<'a, Content> {
        Box::pin(self.make())
    }

    fn find<'a>(&'a self, _query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(async { Err(ProviderError::invalid("what is made when it is asked for cannot be found")) })
    }

    fn check(&self) -> Answer<'_, Validity> {
        Box::pin(self.session.check())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
