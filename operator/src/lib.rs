//! One engine for custom resources of several families: each becomes an [`intent`], the intent and
//! what the cluster holds become a [`plan`], and the plan is carried out.
//!
//! ```text
//! api → adapter → Intent → fetch → compose → plan → apply → status
//! ```

pub mod adapter;
pub mod api;
pub mod apply;
pub mod backoff;
pub mod cluster;
pub mod digest;
pub mod error;
pub mod fetch;
pub mod go;
pub mod intent;
pub mod interests;
pub mod mirrors;
pub mod plan;
pub mod queue;
pub mod secrets;
pub mod store;
pub mod watch;
