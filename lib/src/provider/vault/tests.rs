//! What becomes of servers that fail: each test says word for word what its server answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::provider::ProviderErrorKind;

/// What a server does with one request.
enum Does {
    /// Answers with a status, headers and a body.
    Says(u16, &'static str, &'static str),
    /// Hangs up.
    HangsUp,
    /// Waits, and then hangs up.
    Sleeps(Duration),
}

use Does::{HangsUp, Says, Sleeps};

/// A server that does one thing after the other; the last one again and again.
struct Server {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(does: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = format!("http://{}", listener.local_addr().expect("it listens"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let Some(request) = hear(&stream) else { continue };
                log.lock().expect("nobody panicked").push(request);
                answer(&stream, &does[n.min(does.len() - 1)]);
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("nobody panicked").clone()
    }

    fn vault(&self, auth: Auth) -> Vault {
        Vault::new(settings(&self.address, auth)).expect("the settings make sense")
    }
}

fn hear(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
        if let Some(it) = line.to_lowercase().strip_prefix("content-length:") {
            length = it.trim().parse().expect("it is a number");
        }
        text += &line;
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(text + &String::from_utf8_lossy(&body))
}

fn answer(mut stream: &TcpStream, does: &Does) {
    match does {
        HangsUp => (),
        Sleeps(time) => std::thread::sleep(*time),
        Says(status, headers, body) => {
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
            _ = stream.write_all(text.as_bytes());
        }
    }
}

fn settings(address: &str, auth: Auth) -> Settings {
    Settings {
        address: address.to_owned(),
        login_namespace: None,
        headers: BTreeMap::new(),
        login_headers: BTreeMap::new(),
        tls: Tls::default(),
        timeout: Duration::from_secs(2),
        retries: Retries { max: 2, wait: Some(Duration::from_millis(5)) },
        auth,
        place: Place { namespace: Some("team".to_owned()), mount: Some("secret".to_owned()), version: KvVersion::V2 },
        read_your_writes: false,
        forward_inconsistent: false,
    }
}

fn token() -> Auth {
    Auth::Token("s.token".into())
}

fn address() -> Address {
    Address { key: "app".to_owned(), ..Address::default() }
}

const GOOD: &str = r#"{"data":{"data":{"v":"x"},"metadata":{"version":1}}}"#;

/// Reads once. Returns the value or the kind of error and its text, and how many requests it took.
async fn outcome(does: Vec<Does>) -> (Result<String, ProviderError>, usize) {
    let server = Server::start(does);
    let content = server.vault(token()).read(&address()).await;
    let value = content.map(|it| it.value(Some("v")).expect("it is there"));
    (value.map(|it| it.expose_str().expect("UTF-8").to_owned()), server.heard().len())
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let good = || Says(200, "", GOOD);
    let failed = |status| Says(status, "", r#"{"errors":["internal error"]}"#);
    for (does, requests) in [
        (vec![failed(500), failed(500), good()], 3),
        (vec![failed(502), good()], 2),
        (vec![failed(412), good()], 2),
        (vec![failed(429), good()], 2),
        (vec![HangsUp, HangsUp, good()], 3),
        (vec![good()], 1),
    ] {
        let (value, heard) = outcome(does).await;
        assert_eq!((value.expect("it passes"), heard), ("x".to_owned(), requests));
    }
}

#[tokio::test]
async fn what_does_not_pass_is_told() {
    let unavailable = ProviderErrorKind::Unavailable { retry_after: None };
    let errors = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
    for (does, kind, requests, says) in [
        (vec![Says(500, "", r#"{"errors":["internal error"]}"#)], unavailable, 3, "500 internal error"),
        (vec![Says(503, "", r#"{"errors":["Vault is sealed"]}"#)], unavailable, 3, "503 Vault is sealed"),
        (vec![Says(501, "", "")], unavailable, 1, "501 not implemented"),
        (vec![Says(403, "", errors)], ProviderErrorKind::Denied, 1, "permission denied"),
        (vec![Says(400, "", "garbage")], ProviderErrorKind::Invalid, 1, "400 bad request"),
        (vec![Says(200, "", "<html>secret</html>")], unavailable, 1, "status 200"),
        (vec![Says(200, "", r#"{"data":{"data":"text"}}"#)], ProviderErrorKind::Invalid, 1, "not a JSON object"),
        (vec![Says(200, "", r#"{"data":{"v":"secret"}}"#)], ProviderErrorKind::Invalid, 1, "failed to find data field"),
        (vec![Says(200, "", r#"{"data":{"data":null}}"#)], ProviderErrorKind::Missing, 1, ""),
        (vec![Says(404, "", r#"{"errors":[]}"#)], ProviderErrorKind::Missing, 1, ""),
        (vec![Says(404, "", "404 page not found")], ProviderErrorKind::Missing, 1, ""),
        (vec![Says(404, "", r#"{"data":{"data":null,"metadata":{}}}"#)], ProviderErrorKind::Missing, 1, ""),
        (
            vec![Says(404, "", r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}"#)],
            ProviderErrorKind::Invalid,
            1,
            "failed to find data field",
        ),
        (vec![HangsUp], unavailable, 3, "no answer from http://127.0.0.1"),
        (vec![Sleeps(Duration::from_secs(5))], unavailable, 1, "no answer in time"),
        (vec![Says(200, "content-length: 99999999999\r\n", "")], unavailable, 3, ""),
    ] {
        let (value, heard) = outcome(does).await;
        let error = value.expect_err("it does not pass");
        assert_eq!((error.kind, heard), (kind, requests), "{error}");
        assert!(error.message.contains(says) && !error.message.contains("secret</"), "{error}");
    }
}

#[tokio::test]
async fn a_server_says_how_long_to_leave_it_alone() {
    let begun = Instant::now();
    let (value, heard) = outcome(vec![Says(429, "retry-after: 1\r\n", ""), Says(200, "", GOOD)]).await;
    assert_eq!((value.expect("it passes"), heard), ("x".to_owned(), 2));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let (value, heard) = outcome(vec![Says(503, "retry-after: 120\r\n", "")]).await;
    let kind = ProviderErrorKind::Unavailable { retry_after: Some(Duration::from_secs(120)) };
    assert_eq!((value.expect_err("it takes too long").kind, heard), (kind, 1));
}

#[tokio::test]
async fn a_standby_sends_on_with_token_and_body_once() {
    let other = Server::start(vec![
        Says(200, "", r#"{"auth":{"client_token":"s.new","accessor":"a","lease_duration":60,"renewable":true}}"#),
        Says(200, "", GOOD),
    ]);
    let location: &'static str = format!("location: {}/v1/there\r\n", other.address).leak();
    let standby = Server::start(vec![Says(307, location, "")]);
    let auth = Auth::Password { mount: "people".to_owned(), user: "ann".to_owned(), password: "pw".into() };
    let vault = standby.vault(auth);
    let content = vault.read(&address()).await.expect("it is sent on");
    assert_eq!(content.value(Some("v")).expect("it is there").expose(), b"x");
    let heard = other.heard();
    assert!(heard[0].starts_with("POST /v1/there") && heard[0].ends_with(r#"{"password":"pw"}"#), "{}", heard[0]);
    assert!(heard[1].contains("x-vault-token: s.new") && heard[1].contains("x-vault-namespace: team"), "{}", heard[1]);

    let loops = Server::start(vec![Says(307, "location: /v1/again\r\n", "")]);
    let error = loops.vault(token()).read(&address()).await.expect_err("once is enough");
    assert_eq!((error.kind, loops.heard().len()), (ProviderErrorKind::Invalid, 2));
}

#[tokio::test]
async fn headers_are_sent_where_they_belong() {
    for (reads_own, forwards, expected) in [(true, true, true), (true, false, false), (false, true, false)] {
        let server = Server::start(vec![Says(200, "x-vault-index: state\r\n", GOOD)]);
        let headers = BTreeMap::from([("X-Extra".to_owned(), "header-secret".to_owned())]);
        let settings = Settings {
            headers,
            login_headers: BTreeMap::from([("X-Login".to_owned(), "login-secret".to_owned())]),
            read_your_writes: reads_own,
            forward_inconsistent: forwards,
            ..settings(&server.address, token())
        };
        let shown = format!("{settings:?}");
        assert!(shown.contains("X-Extra") && !shown.contains("-secret") && !shown.contains("s.token"), "{shown}");
        let vault = Vault::new(settings).expect("the settings make sense");
        for _ in 0..2 {
            vault.read(&address()).await.expect("it is read");
        }
        let heard = server.heard();
        assert!(heard[0].starts_with("GET /v1/secret/data/app HTTP"), "{}", heard[0]);
        for header in ["x-vault-request: true", "x-vault-token: s.token", "x-extra: header-secret"] {
            assert!(heard[0].contains(header), "{}", heard[0]);
        }
        assert!(!heard[0].contains("login-secret") && !heard[0].contains("x-vault-index"), "{}", heard[0]);
        assert_eq!(heard[0].contains("x-vault-inconsistent: forward-active-node"), expected);
        assert!(heard[1].contains("x-vault-index: state"), "either flag switches that on");
    }
}

#[tokio::test]
async fn a_login_that_fails_fails_for_all_who_wait() {
    let server = Server::start(vec![Says(400, "", r#"{"errors":["invalid username or password"]}"#)]);
    let auth = Auth::Password { mount: "people".to_owned(), user: "ann".to_owned(), password: "pw".into() };
    let vault = server.vault(auth);
    let reads = (0..20).map(|_| async { vault.read(&address()).await.expect_err("it is not let in").message });
    let errors = futures::future::join_all(reads).await;
    assert!(errors.iter().all(|it| it.contains("unable to log in: 400 invalid username or password")), "{errors:?}");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn refusals_after_a_new_login_are_not_answered_with_another() {
    let grant = r#"{"auth":{"client_token":"s.new","accessor":"a","lease_duration":60,"renewable":true}}"#;
    let server = Server::start(vec![Says(200, "", grant), Says(403, "", r#"{"errors":["permission denied"]}"#)]);
    let auth = Auth::Password { mount: "people".to_owned(), user: "ann".to_owned(), password: "pw".into() };
    let vault = server.vault(auth);
    for _ in 0..5 {
        assert_eq!(vault.read(&address()).await.expect_err("it is refused").kind, ProviderErrorKind::Denied);
    }
    assert_eq!(server.heard().len(), 6);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for address in ["", "vault", "ftp://vault", "http://", "https://user:password@vault"] {
        let error = Vault::new(settings(address, token())).expect_err("it is none");
        assert_eq!(error.kind, ProviderErrorKind::Invalid);
        assert!(!error.message.contains("password@"), "{error}");
    }
    assert!(Vault::new(settings("http://vault", Auth::Token(" \n".into()))).is_err());
    let headers = BTreeMap::from([("a b".to_owned(), String::new())]);
    assert!(Vault::new(Settings { headers, ..settings("http://vault", token()) }).is_err());
}
