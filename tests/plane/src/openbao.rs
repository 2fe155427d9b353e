//! A real Vault-compatible server, in memory.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use leafseal_tests::peer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Identity;
use crate::ports;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(180);

/// OpenBao in development mode: unsealed, with a known root token and `secret/` as KV version 2. All it holds
/// is gone when it is started again.
#[derive(Debug)]
pub struct OpenBao {
    server: Option<Process>,
    program: PathBuf,
    port: u16,
    tls_port: u16,
    mtls_port: u16,
    agent: ureq::Agent,
    dir: TempDir,
}

impl OpenBao {
    /// The token that may do everything.
    pub const ROOT: &str = "root";

    /// Starts a server. Without the program, reports that the running test is not run and returns
    /// `None`.
    ///
    /// # Panics
    ///
    /// If the program is there and does not come up.
    pub fn start() -> Option<Self> {
        Self::start_as(None)
    }

    /// The same, and listens with TLS too, as `identity`: at one address for everybody, at another for those who
    /// have a certificate of the same authority.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with_tls(identity: &Identity) -> Option<Self> {
        Self::start_as(Some(identity))
    }

    fn start_as(identity: Option<&Identity>) -> Option<Self> {
        let program = peer("bao")?;
        let dir = tempfile::Builder::new().prefix("leafseal-bao-").tempdir().expect("there is a temporary folder");
        let [port, tls_port, mtls_port] = ports::free();
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = ureq::Agent::new_with_config(config.build());
        let mut bao = Self { server: None, program, port, tls_port, mtls_port, agent, dir };
        let write = |name: &str, text: &str| {
            fs::write(bao.dir.path().join(name), text).expect("temporary folders can be written to");
        };
        let mut config =
            json!({"audit": [{"type": "file", "path": "requests", "options": {"file_path": bao.audit()}}]});
        if let Some(Identity { certificate, key, authority }) = identity {
            write("tls.crt", certificate);
            write("tls.key", key);
            write("ca.crt", authority);
            let listener = |port, is_closed: bool| {
                json!({"tcp": {
                    "address": format!("127.0.0.1:{port}"), "tls_cert_file": "tls.crt", "tls_key_file": "tls.key",
                    "tls_client_ca_file": "ca.crt", "tls_require_and_verify_client_cert": is_closed,
                }})
            };
            config["listener"] = json!([listener(tls_port, false), listener(mtls_port, true)]);
        }
        write("config.json", &config.to_string());
        bao.restart();
        Some(bao)
    }

    /// Starts it again, empty, with the same address.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn restart(&mut self) {
        self.stop();
        let home = self.dir.path().to_str().expect("temporary folders have plain names");
        let args = [
            "server".to_owned(),
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={}", Self::ROOT),
            format!("-dev-listen-address=127.0.0.1:{}", self.port),
            "-config=config.json".to_owned(),
        ];
        let server = Process::start(self.dir.path(), "bao", &self.program, args, &[("HOME", home)]);
        let mut server = server.expect("the program can be started");
        let begun = Instant::now();
        let health = format!("{}/v1/sys/health", self.address());
        while !self.agent.get(&health).call().is_ok_and(|it| it.status().is_success()) {
            let fine = server.is_running() && begun.elapsed() < PATIENCE;
            assert!(fine, "OpenBao does not come up\n{}", server.last_lines());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
    }

    /// Ends it: nobody answers at its address.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Opens it after `sys/seal`.
    ///
    /// # Panics
    ///
    /// If it stays sealed.
    pub fn unseal(&self) {
        let log = self.server.as_ref().map(|it| fs::read_to_string(it.log()).unwrap_or_default()).unwrap_or_default();
        let key = log.lines().rev().find_map(|it| it.strip_prefix("Unseal Key: ")).expect("it says its key");
        let (_, answer) = self.ask("POST", "sys/unseal", Some(&json!({"key": key.trim()})));
        assert_eq!(answer["sealed"], false, "{answer}");
    }

    /// The address, without a path.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address with TLS, without a path, at which a server of this name is expected.
    pub fn tls_address(&self, name: &str) -> String {
        format!("https://{name}:{}", self.tls_port)
    }

    /// The address with TLS for those who have a certificate, without a path.
    pub fn mtls_address(&self, name: &str) -> String {
        format!("https://{name}:{}", self.mtls_port)
    }

    /// What it wrote down: one JSON object for each request and each answer, with values hashed.
    pub fn audit(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    /// Asks for anything as root. Returns the status and the answer, which is null where there is none.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address()))
            .header("X-Vault-Token", Self::ROOT)
            .body(body.map(Value::to_string).unwrap_or_default())
            .expect("this is a request");
        let request = self.agent.configure_request(request).allow_non_standard_methods(true).build();
        let mut answer = self.agent.run(request).expect("OpenBao answers");
        let text = answer.body_mut().read_to_string().expect("the answer is text");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Writes `body` at `path` (`sys/auth/approle`, `secret/data/app`) as root. Returns the answer.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body));
        assert!((200..300).contains(&status), "write {path}: {status} {answer}");
        answer
    }

    /// Reads `path` as root. Returns `None` where there is nothing.
    ///
    /// # Panics
    ///
    /// If the server refuses for another reason.
    pub fn read(&self, path: &str) -> Option<Value> {
        let (status, answer) = self.ask("GET", path, None);
        assert!((200..300).contains(&status) || status == 404, "read {path}: {status} {answer}");
        (status != 404).then_some(answer)
    }

    /// What the server counts, in the form of Prometheus.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn metrics(&self) -> String {
        let url = format!("{}/v1/sys/metrics?format=prometheus", self.address());
        let answer = self.agent.get(url).header("X-Vault-Token", Self::ROOT).call();
        answer.expect("OpenBao answers").body_mut().read_to_string().expect("metrics are text")
    }
}
