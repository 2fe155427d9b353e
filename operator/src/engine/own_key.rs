//! Keys of the operator's own, each in a Secret of its namespace.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use zeroize::Zeroizing;

use super::Context;
use super::apply::Writer;

/// A new key.
pub(super) fn make<const LENGTH: usize>() -> Zeroizing<[u8; LENGTH]> {
    let mut key = Zeroizing::new([0; LENGTH]);
    getrandom::fill(&mut *key).expect("the operating system has randomness");
    key
}

/// The key that the Secret `name` holds, by what `read` makes of it; a Secret that is not there is made.
///
/// # Errors
///
/// If the API server refuses, or does not answer.
pub(super) async fn find_or_make<T>(
    context: &Context,
    name: &str,
    read: impl Fn(&Secret) -> Option<T>,
    make: impl FnOnce() -> Secret,
) -> kube::Result<Option<T>> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &context.settings.operator_namespace);
    if let Some(secret) = api.get_opt(name).await? {
        return Ok(read(&secret));
    }
    let writer = Writer::new(context.client.clone(), context.gate.clone());
    match writer.make(&api, &make()).await? {
        Some(made) => Ok(read(&made)),
        // Somebody else was faster.
        None => Ok(read(&api.get(name).await?)),
    }
}
