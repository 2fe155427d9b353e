//! Reads, opens and seals SOPS files: bytes in, bytes out.
//!
//! ```text
//!                          Keyring::unwrap   (the only await)
//!                      ┌──────────────────────────▶ DataKey
//!                      │                               │
//!  text ──parse──▶ EncryptedFile ────── open ──────────┴──▶ PlainFile ──▶ text
//!  text ◀──────── EncryptedFile ◀───── seal ──────────┬─── PlainFile ◀──parse── text
//!                      │                               │
//!                      └──────────────────────────▶ DataKey
//!                          Keyring::wrap     (the only other await)
//! ```

pub mod edge;

pub mod key_path;
pub mod pattern;
pub mod secret;
pub mod value;

mod cipher;
mod envelope;
pub mod format;
pub mod keyservice;
mod mac;
pub mod metadata;
pub mod scope;
pub mod shamir;
pub mod tree;

pub mod file;
pub mod keyring;
#[cfg(feature = "providers")]
pub mod provider;
pub mod recipients;
pub mod rules;
#[cfg(feature = "providers")]
pub mod template;

pub use file::{EncryptedFile, PlainFile};
pub use keyring::Keyring;
pub use secret::DataKey;
