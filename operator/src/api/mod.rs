//! The custom resources, as they are read: every field that the original operators accept, nothing
//! refused that they take.
//!
//! `spec` is read leniently: an object that cannot be understood is still an [`Object`], so that it
//! gets an error of its own and stops nobody else.

pub mod external_secrets;
mod object;
pub mod served_later;
pub mod vault_secrets;

pub(crate) use object::dynamic_resource;
pub use object::{Kind, Malformed, Object, Scope, Unread, read};
