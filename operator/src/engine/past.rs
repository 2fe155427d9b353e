//! What an object was when the cluster was at a version: that puts in order what times, cut to seconds, do not.

use kube::api::{Api, DynamicObject, ListParams, VersionMatch};
use kube::{Error, ResourceExt as _};

/// What an object was.
#[derive(Clone, Debug)]
pub(super) enum Past {
    /// This; `None` if it was not there.
    Was(Option<Box<DynamicObject>>),
    /// That is too long ago for the API server, or not for us to ask.
    Unknown,
}

/// What the object of a name was when the cluster was at a version.
///
/// # Errors
///
/// If the API server does not answer.
pub(super) async fn at(api: &Api<DynamicObject>, name: &str, version: &str) -> Result<Past, Error> {
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    match api.list(&named.at(version).matching(VersionMatch::Exact)).await {
        // Some servers keep no past at all. What is over soon is no answer.
        Err(Error::Api(status)) if !matches!(status.code, 429 | 500 | 503) => Ok(Past::Unknown),
        listed => Ok(Past::Was(listed?.items.into_iter().find(|it| it.name_any() == name).map(Box::new))),
    }
}
