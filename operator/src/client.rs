//! Clients of the API server: one for the work, whose pace can be capped, and one for what may not wait
//! behind the work, such as Leases.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _, RustlsTlsError};
use kube::{Client, Config, Error};
use tokio::time::Instant;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder};

use crate::metrics::Requests;

/// How often a connection that somebody waits for is asked whether it lives, and how long the answer may take:
/// client-go's numbers. Watches wait always.
const ASKED_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));

/// How many bytes of one answer, and of all together, may be on their way: a page of a list, and several.
const WINDOWS: (u32, u32) = (256 << 10, 2 << 20);

/// How many connections without a request are kept, where each can only serve one at a time.
const IDLE: usize = 8;

/// The clients of one process.
#[derive(Clone)]
pub struct Clients {
    /// For the work.
    pub work: Client,
    /// For what may not wait.
    pub urgent: Client,
    /// What both have asked.
    pub requests: Requests,
}

/// Makes clients from what the process finds: `KUBECONFIG`, `~/.kube/config`, or the ServiceAccount of its
/// pod. `rate` caps the requests of the work: how many in a second, how many ahead of that.
///
/// # Errors
///
/// If there is nothing, or nothing usable.
pub async fn infer(rate: Option<(u32, u32)>) -> Result<Clients, String> {
    let config = Config::infer().await.map_err(|error| format!("there is no cluster to serve: {error}"))?;
    make(config, rate).map_err(|error| format!("the cluster cannot be reached: {error}"))
}

/// Makes clients from a configuration.
///
/// # Errors
///
/// If the configuration is not usable.
pub fn make(config: Config, rate: Option<(u32, u32)>) -> Result<Clients, Error> {
    // Requests that the API server turns away are sent again when it says so: that is the limit without one.
    let pace = rate.map(|(rate, burst)| Paced(Arc::new(Pace::new(rate, burst))));
    let requests = Requests::default();
    Ok(Clients { work: client(&config, pace, &requests)?, urgent: client(&config, None, &requests)?, requests })
}

/// A client that makes requests as kube's own does, but all of them over one connection where the API server
/// has HTTP/2: a connection for each request under way takes 30 kB and a handshake.
fn client(config: &Config, pace: Option<Paced>, requests: &Requests) -> Result<Client, Error> {
    let host = config.cluster_url.authority().map_or("", |it| it.as_str());
    let counted = Counted { requests: requests.clone(), host: host.into() };
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config.clone())?.with_layer(&counted).build());
    }
    let connections = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE)
        .http2_keep_alive_interval(ASKED_ALIVE.0)
        .http2_keep_alive_timeout(ASKED_ALIVE.1)
        .http2_initial_stream_window_size(WINDOWS.0)
        .http2_initial_connection_window_size(WINDOWS.1)
        .build::<_, Body>(connector(config)?);
    let service = ServiceBuilder::new()
        .option_layer(pace)
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        // Each attempt, as client-go counts them.
        .layer(counted)
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn connector(config: &Config) -> Result<TimeoutConnector<HttpsConnector<HttpConnector>>, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let mut https = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into();
        let name = name.map_err(|it| Error::RustlsTls(RustlsTlsError::InvalidServerName(it)))?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let mut connector = TimeoutConnector::new(https.enable_all_versions().wrap_connector(http));
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    Ok(connector)
}

/// When the next request may go.
#[derive(Debug)]
pub struct Pace {
    next: Mutex<Instant>,
    each: Duration,
    ahead: Duration,
}

impl Pace {
    /// `rate` in a second, `burst` at once after a rest. Zero counts as one.
    pub fn new(rate: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1) / rate.max(1);
        let ahead = each * burst.saturating_sub(1);
        let now = Instant::now();
        Self { next: Mutex::new(now.checked_sub(ahead).unwrap_or(now)), each, ahead }
    }

    /// Takes a place in the line, and says how long to wait.
    pub fn claim(&self) -> Duration {
        self.claim_at(Instant::now())
    }

    fn claim_at(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().expect("nobody panics with it");
        let rested = now.checked_sub(self.ahead).unwrap_or(now);
        let own = (*next).max(rested);
        *next = own + self.each;
        own.saturating_duration_since(now)
    }
}

struct Paced(Arc<Pace>);

impl<S> Layer<S> for Paced {
    type Service = PacedService<S>;

    fn layer(&self, inner: S) -> PacedService<S> {
        PacedService { inner, pace: self.0.clone() }
    }
}

struct PacedService<S> {
    inner: S,
    pace: Arc<Pace>,
}

impl<R, S: Service<R>> Service<R> for PacedService<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // Nothing is sent before the answer is waited for.
        let answer = self.inner.call(request);
        let wait = self.pace.claim();
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            answer.await
        })
    }
}

/// Counts what is asked and how it is answered.
struct Counted {
    requests: Requests,
    host: Arc<str>,
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> CountedService<S> {
        CountedService { inner, requests: self.requests.clone(), host: self.host.clone() }
    }
}

#[derive(Clone)]
struct CountedService<S> {
    inner: S,
    requests: Requests,
    host: Arc<str>,
}

impl<Q, A, S: Service<Request<Q>, Response = Response<A>>> Service<Request<Q>> for CountedService<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let method = request.method().clone();
        let (requests, host) = (self.requests.clone(), self.host.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            requests.count(method.as_str(), &host, answer.as_ref().ok().map(|it| it.status().as_u16()));
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_is_counted_as_it_is_answered() {
        let requests = Requests::default();
        let answers = tower::service_fn(async |request: Request<()>| match request.uri().path() {
            "/broken" => Err("nobody answers"),
            "/missing" => Ok(Response::builder().status(404).body(()).expect("this is an answer")),
            _ => Ok(Response::new(())),
        });
        let mut counted = Counted { requests: requests.clone(), host: "10.0.0.1:6443".into() }.layer(answers);
        for path in ["/", "/missing", "/broken"] {
            let request = Request::get(path).body(()).expect("this is a request");
            drop(counted.call(request).await);
        }
        let text = crate::metrics::Metrics::with_requests(&requests).text();
        for code in ["200", "404", "<error>"] {
            let line = format!("rest_client_requests_total{{code=\"{code}\",method=\"GET\",host=\"10.0.0.1:6443\"}} 1");
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_pace_has_a_burst_and_a_rate() {
        let pace = Pace::new(10, 3);
        let now = Instant::now();
        let waits: Vec<u128> = (0..6).map(|_| pace.claim_at(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        let later = now + Duration::from_secs(60);
        let waits: Vec<u128> = (0..4).map(|_| pace.claim_at(later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
    }
}
