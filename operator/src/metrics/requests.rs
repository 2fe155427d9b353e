//! Requests to the API server, under the name that dashboards of every Go program have for them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::registry::Registry;

/// Requests that were answered, or were not. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Requests(Series<Request, Counter>);

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Request {
    code: String,
    method: String,
    host: String,
}

impl Requests {
    /// A request to a host was answered with a code; `None`: it was not.
    pub fn count(&self, method: &str, host: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "<error>".to_owned(), |it| it.to_string());
        self.0.get_or_create(&Request { code, method: method.to_owned(), host: host.to_owned() }).inc();
    }

    pub(super) fn register(&self, to: &mut Registry) {
        to.register("rest_client_requests", "Requests to the API server", self.0.clone());
    }
}
