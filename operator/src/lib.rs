//! One engine for custom resources of several families: each becomes an [`intent`], the intent and
//! what the cluster holds become a [`plan`], and the plan is carried out.
//!
//! ```text
//! api → adapter → Intent → fetch → compose → plan → apply → status
//! ```

pub mod adapter;
pub mod api;
pub mod crds;
pub mod digest;
pub mod error;
pub mod go;
pub mod intent;
pub mod plan;
pub mod store;
