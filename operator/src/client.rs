//! Clients of the API server: one for the work, whose pace can be capped, and one for what may not wait
//! behind the work, such as Leases.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config, Error};
use tokio::time::Instant;
use tower::{Layer, Service};

/// The clients of one process.
#[derive(Clone)]
pub struct Clients {
    /// For the work.
    pub work: Client,
    /// For what may not wait.
    pub urgent: Client,
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
    let urgent = Client::try_from(config.clone())?;
    let builder = ClientBuilder::try_from(config)?;
    let work = match rate {
        // Requests that the API server turns away are sent again when it says so: that is the limit.
        None => builder.build(),
        Some((rate, burst)) => builder.with_layer(&Paced(Arc::new(Pace::new(rate, burst)))).build(),
    };
    Ok(Clients { work, urgent })
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

#[cfg(test)]
mod tests {
    use super::*;

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
