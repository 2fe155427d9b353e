//! Small servers for scrapers and probes: one answer for each path, nothing is read from a request but its
//! path, and nobody can hold one up.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::metrics::{self, Metrics};
use crate::settings::Listen;
use crate::stop::Stop;

/// How many connections a server has at once. More wait; none lives longer than [`PATIENCE`].
const CONNECTIONS: usize = 64;
/// How long one connection may take for everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take to arrive.
const HEADER: Duration = Duration::from_secs(2);

/// What a server answers to one path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Whether all is well: 200, or 500 and above.
    pub status: StatusCode,
    /// What the text is.
    pub kind: &'static str,
    /// The text.
    pub text: String,
}

/// What a server answers, by path; `None` is 404.
pub type Answers = Arc<dyn Fn(&str) -> Option<Answer> + Send + Sync>;

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub address: SocketAddr,
    /// Ends after the server was told to stop and the last answer was given.
    pub task: JoinHandle<()>,
}

/// How the process does, as probes see it.
#[derive(Clone, Default)]
pub struct Health(Arc<[AtomicBool; 3]>);

impl fmt::Debug for Health {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Health(ready: {}, failed: {})", self.is_ready(), self.has_failed())
    }
}

impl Health {
    /// Says whether what has to be found out at a start is known, and no end was asked for.
    pub fn set_ready(&self, is_ready: bool) {
        self.0[0].store(is_ready, Ordering::Relaxed);
    }

    /// Says that only a new start can help.
    pub fn fail(&self) {
        self.0[1].store(true, Ordering::Relaxed);
    }

    /// Says whether a Lease that was held is lost.
    pub fn set_lost(&self, is_lost: bool) {
        self.0[2].store(is_lost, Ordering::Relaxed);
    }

    fn has_lost(&self) -> bool {
        self.0[2].load(Ordering::Relaxed)
    }

    fn is_ready(&self) -> bool {
        self.0[0].load(Ordering::Relaxed)
    }

    fn has_failed(&self) -> bool {
        self.0[1].load(Ordering::Relaxed)
    }
}

/// Answers for scrapers: `/metrics`.
pub fn for_scrapers(metrics: Metrics) -> Answers {
    Arc::new(move |path| {
        (path == "/metrics").then(|| Answer {
            status: StatusCode::OK,
            kind: metrics::CONTENT_TYPE,
            text: metrics.text(),
        })
    })
}

/// Answers for probes: `/healthz`, `/readyz`, and `/live` as the original of reloads answers it, which is 500
/// while a Lease is lost (Reloader, spec section B.8).
pub fn for_probes(health: Health) -> Answers {
    Arc::new(move |path| {
        let (well, other) = match path {
            "/healthz" => (!health.has_failed(), StatusCode::SERVICE_UNAVAILABLE),
            "/readyz" => (health.is_ready() && !health.has_failed(), StatusCode::SERVICE_UNAVAILABLE),
            "/live" => (!health.has_failed() && !health.has_lost(), StatusCode::INTERNAL_SERVER_ERROR),
            _ => return None,
        };
        let (status, text) = if well { (StatusCode::OK, "ok") } else { (other, "not now") };
        Some(Answer { status, kind: "text/plain; charset=utf-8", text: text.to_owned() })
    })
}

/// The answers of both.
pub fn for_both(one: Answers, other: Answers) -> Answers {
    Arc::new(move |path| one(path).or_else(|| other(path)))
}

/// Serves `answers` at the first address of `listen` that the machine has, until `stop` is asked.
/// `None` if there is none to listen at.
///
/// # Errors
///
/// If no address can be listened at.
pub async fn serve(listen: &Listen, answers: Answers, stop: Stop) -> io::Result<Option<Server>> {
    let mut refused = None;
    for &address in &listen.tried {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr()?;
                let task = tokio::spawn(accept(listener, answers, stop));
                return Ok(Some(Server { address, task }));
            }
            Err(error) => refused = Some(io::Error::new(error.kind(), format!("{listen}: {error}"))),
        }
    }
    refused.map_or(Ok(None), Err)
}

async fn accept(listener: TcpListener, answers: Answers, stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut served = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, connection) = tokio::select! {
            () = stop.asked() => break,
            next = next => next,
            Some(_) = served.join_next() => continue,
        };
        match connection {
            Ok((connection, _)) => {
                let answers = answers.clone();
                served.spawn(async move {
                    // Whoever is slower than that asks again.
                    drop(tokio::time::timeout(PATIENCE, answer(connection, answers)).await);
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: others have to end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    let last = async { while served.join_next().await.is_some() {} };
    drop(tokio::time::timeout(Duration::from_secs(1), last).await);
}

async fn answer(connection: TcpStream, answers: Answers) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(&request, &answers);
        async move { Ok::<_, Infallible>(response) }
    });
    // An error is the other side's: it went, or spoke no HTTP.
    drop(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .keep_alive(false)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(connection), service)
            .await,
    );
}

fn respond(request: &Request<Incoming>, answers: &Answers) -> Response<Full<Bytes>> {
    let plain = |status, text: &str| Answer { status, kind: "text/plain; charset=utf-8", text: text.to_owned() };
    let Answer { status, kind, text } = match *request.method() {
        Method::GET | Method::HEAD => {
            answers(request.uri().path()).unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found"))
        }
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
