//! Which object a reference names, and who may refer to it (Vault Secrets, spec section A.2).

use super::trouble;
use crate::error::{Retry, Trouble};

/// The name of the objects that are used where none is named.
pub(super) const DEFAULT: &str = "default";

/// A reference as it stands in a spec.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Where it stands.
    pub field: &'a str,
    /// What stands there.
    pub text: &'a str,
    /// The namespace of the object that refers.
    pub namespace: &'a str,
    /// The namespace of the operator.
    pub operator: &'a str,
}

/// Namespace and name of what a reference names: `namespace/name`, a name in the same namespace, or
/// nothing for `default` in the operator's.
///
/// # Errors
///
/// If it has more parts or an empty one.
pub fn named(at: Reference<'_>) -> Result<(String, String), Trouble> {
    let parts: Vec<&str> = at.text.split('/').collect();
    let (namespace, name) = match parts[..] {
        [""] => (at.operator, DEFAULT),
        [name] => (at.namespace, name),
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => (namespace, name),
        _ => {
            let detail = format!("{} is `name` or `namespace/name`, not {:?}", at.field, at.text);
            return Err(trouble(detail).retried(Retry::OnChange));
        }
    };
    Ok((namespace.to_owned(), name.to_owned()))
}

/// True if objects in the namespace `from` may refer to `to`, which lists `allowed` namespaces.
pub fn may_refer(from: &str, to: (&str, &str), allowed: &[String], operator: &str) -> bool {
    from == to.0 || to == (operator, DEFAULT) || allowed == ["*"] || allowed.iter().any(|it| it == from)
}
