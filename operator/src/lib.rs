//! One engine for custom resources of several families: each becomes an [`intent`], the intent and
//! what the cluster holds become a [`plan`], and the plan is carried out.
//!
//! ```text
//! api → adapter → Intent → fetch → compose → plan → apply → status
//! ```
//!
//! Around the engine lies its [`shell`]: settings, Leases, ports, logs, events.

pub mod adapter;
pub mod api;
pub mod check;
pub mod client;
pub mod conditions;
pub mod crds;
pub mod digest;
pub mod edge;
pub mod engine;
pub mod error;
pub mod events;
pub mod explain;
pub mod families;
pub mod go;
pub mod http;
pub mod identity;
pub mod intent;
pub mod lease;
pub mod mac_key;
pub mod meta_info;
pub mod metrics;
pub mod plan;
pub mod reload;
pub mod rollout;
pub mod settings;
pub mod shell;
pub mod sinks;
pub mod spread;
pub mod stop;
pub mod store;
pub mod telemetry;
pub mod written;
