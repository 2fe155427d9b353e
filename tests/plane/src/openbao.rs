//! A real Vault-compatible server, in memory.

use std::time::{Duration, Instant};

use leafseal_tests::peer;
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Identity;
use crate::ports;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// OpenBao in development mode: unsealed, with a known root token and `secret/` as KV version 2.
#[derive(Debug)]
pub struct OpenBao {
    _server: Process,
    port: u16,
    tls_port: u16,
    agent: ureq::Agent,
    _dir: TempDir,
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

    /// The same, and listens with TLS too, as `identity`.
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
        let [port, tls_port] = ports::free();
        let mut args = vec![
            "server".to_owned(),
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={}", Self::ROOT),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        let home = dir.path().to_str().expect("temporary folders have plain names");
        if let Some(Identity { certificate, key }) = identity {
            let listener = format!(
                "listener \"tcp\" {{\n address = \"127.0.0.1:{tls_port}\"\n tls_cert_file = \"{home}/tls.crt\"\n \
                 tls_key_file = \"{home}/tls.key\"\n}}\n"
            );
            for (name, text) in [("tls.crt", certificate), ("tls.key", key), ("tls.hcl", &listener)] {
                std::fs::write(dir.path().join(name), text).expect("temporary folders can be written to");
            }
            args.push(format!("-config={home}/tls.hcl"));
        }
        let mut server =
            Process::start(dir.path(), "bao", &program, args, &[("HOME", home)]).expect("the program can be started");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = ureq::Agent::new_with_config(config.build());
        let begun = Instant::now();
        let health = format!("http://127.0.0.1:{port}/v1/sys/health");
        while !agent.get(&health).call().is_ok_and(|it| it.status().is_success()) {
            let fine = server.is_running() && begun.elapsed() < PATIENCE;
            assert!(fine, "OpenBao does not come up\n{}", server.last_lines());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { _server: server, port, tls_port, agent, _dir: dir })
    }

    /// The address, without a path.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address with TLS, without a path, at which a server of this name is expected.
    pub fn tls_address(&self, name: &str) -> String {
        format!("https://{name}:{}", self.tls_port)
    }

    /// Writes `body` at `path` (`sys/auth/approle`, `secret/data/app`) as root. Returns the answer.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        let mut answer = self
            .agent
            .post(format!("{}/v1/{path}", self.address()))
            .header("X-Vault-Token", Self::ROOT)
            .send_json(body)
            .expect("OpenBao answers");
        let text = answer.body_mut().read_to_string().expect("the answer is text");
        assert!(answer.status().is_success(), "write {path}: {} {text}", answer.status());
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Reads `path` as root. Returns `None` where there is nothing.
    ///
    /// # Panics
    ///
    /// If the server refuses for another reason.
    pub fn read(&self, path: &str) -> Option<Value> {
        let mut answer = self
            .agent
            .get(format!("{}/v1/{path}", self.address()))
            .header("X-Vault-Token", Self::ROOT)
            .call()
            .expect("OpenBao answers");
        if answer.status() == 404 {
            return None;
        }
        let text = answer.body_mut().read_to_string().expect("the answer is text");
        assert!(answer.status().is_success(), "read {path}: {} {text}", answer.status());
        Some(serde_json::from_str(&text).expect("the answer is JSON"))
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
