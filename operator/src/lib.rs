//! One engine for custom resources of several families: each becomes an [`intent`], the intent and
//! what the cluster holds become a [`plan`], and the plan is carried out.
//!
//! ```text
//! api → adapter → Intent → fetch → compose → plan → apply → status
//! ```

pub mod adapter;
pub mod api;
pub mod check;
pub mod conditions;
pub mod digest;
pub mod error;
pub mod go;
pub mod identity;
pub mod intent;
pub mod mac_key;
pub mod plan;
pub mod rollout;
pub mod store;
