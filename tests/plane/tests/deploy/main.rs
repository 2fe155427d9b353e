//! What people install: the definitions, the chart and the plain manifests, with a real API server and
//! real Helm.

mod chart;
mod definitions;
mod objects;
mod original_chart;
mod rights;
