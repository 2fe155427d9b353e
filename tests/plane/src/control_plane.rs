//! etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK: Deployments become
//! ReplicaSets, those become Pods, and the Pods become Ready.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use leafseal_tests::peer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::{self, Authority, signing_key};
use crate::cluster;
use crate::ports;
use crate::process::Process;

/// How long the whole may take to be ready. It takes about four seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The token of the user who may do everything. The plane is on loopback and lives for minutes.
const ADMIN: &str = "leafseal-test-plane-administrator";

/// What the API server writes down of requests: who changed what; of tokens also what was asked for.
const AUDIT: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [
    {"level": "Request", "resources": [{"group": "", "resources": ["serviceaccounts/token"]}]},
    {"level": "Metadata", "users": ["system:serviceaccount:leafseal-system:leafseal-operator"]},
    {"level": "None"}
  ]
}"#;

/// A control plane of its own, on loopback; or one that was given. Dropping it ends every program that it
/// started and removes their data.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: the clients of the API server, then it, then its store.
    kwok: Option<Process>,
    scheduler: Option<Process>,
    controllers: Option<Process>,
    apiserver: Option<Process>,
    etcd: Option<Process>,
    ports: [u16; 3],
    /// The address of the one that was given.
    given: Option<String>,
    dir: TempDir,
}

impl ControlPlane {
    /// The variable that names the kubeconfig of a cluster that is there already: tests use it where they need
    /// no control plane of their own. Its user must be allowed to do everything; definitions and rights of the
    /// operator stay there.
    pub const GIVEN: &str = "LEAFSEAL_TEST_KUBECONFIG";

    /// The control plane that the variable [`GIVEN`](Self::GIVEN) names, else [one of its
    /// own](Self::start_own).
    ///
    /// # Panics
    ///
    /// If one is named that does not serve.
    pub async fn start() -> Option<Self> {
        match std::env::var_os(Self::GIVEN) {
            Some(kubeconfig) => Some(Self::take(Path::new(&kubeconfig)).await),
            None => Self::start_own().await,
        }
    }

    async fn take(kubeconfig: &Path) -> Self {
        let read = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| panic!("{}: {error}", Self::GIVEN));
        let config = Config::from_custom_kubeconfig(read.clone(), &KubeConfigOptions::default()).await;
        let config = config.unwrap_or_else(|error| panic!("{}: {error}", Self::GIVEN));
        let given = Some(config.cluster_url.to_string().trim_end_matches('/').to_owned());
        let plane = Self { given, ..Self::empty() };
        let certificates: String = config.root_cert.iter().flatten().map(|it| certificates::pem(it)).collect();
        fs::write(plane.authority(), certificates).expect("the folder can be written");
        // Paths in it may be relative to where it lies.
        let whole = serde_json::to_string(&read).expect("a kubeconfig is JSON");
        fs::write(plane.kubeconfig(), whole).expect("the folder can be written");
        plane
    }

    fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("leafseal-plane-").tempdir().expect("there is a temporary folder");
        let ports = ports::free();
        Self { kwok: None, scheduler: None, controllers: None, apiserver: None, etcd: None, ports, given: None, dir }
    }

    /// Starts a control plane and waits until it serves. Without the programs, reports that the
    /// running test is not run and returns `None`.
    ///
    /// # Panics
    ///
    /// If the programs are there and do not come up; with the last lines of each log.
    pub async fn start_own() -> Option<Self> {
        for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kwok-stages"] {
            find(program)?;
        }
        let mut plane = Self::empty();
        plane.write_credentials().expect("the folder can be written");
        plane.start_etcd();
        plane.start_apiserver();
        plane.wait_until_ready().await;
        plane.start_controllers();
        plane.add_node().await;
        Some(plane)
    }

    /// The address of the API server.
    pub fn server(&self) -> String {
        self.given.clone().unwrap_or_else(|| format!("https://127.0.0.1:{}", self.ports[0]))
    }

    /// True if it was given: it can neither be stopped nor watched.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// The keys that tokens of ServiceAccounts are signed with, PEM.
    ///
    /// # Panics
    ///
    /// If a cluster that was given does not tell.
    pub async fn token_keys(&self) -> Vec<String> {
        if !self.is_given() {
            let key = fs::read_to_string(self.dir.path().join("service-accounts.pub"));
            return vec![key.expect("it was written at the start")];
        }
        let path = http::Request::get("/openid/v1/jwks").body(Vec::new()).expect("this is a path");
        let told: Value = self.client().await.request(path).await.expect("the cluster tells its keys");
        told["keys"].as_array().into_iter().flatten().map(certificates::pem_of_key).collect()
    }

    /// A kubeconfig whose user may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// The certificate of the authority that signed the API server's, PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// What the API server wrote down: one JSON object for each request of the operator's ServiceAccount and
    /// for each token that was asked for.
    pub fn audit(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    /// A kubeconfig whose user is a ServiceAccount that is there.
    ///
    /// # Panics
    ///
    /// If the API server gives it no token.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(86_400), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let token = answer.expect("the account is there").status.expect("it is answered").token;
        let path = self.dir.path().join(format!("kubeconfig-{namespace}-{account}"));
        // Another operator may be reading the one before.
        let mut new = tempfile::NamedTempFile::new_in(self.dir.path()).expect("the folder can be written");
        new.write_all(self.config(&token).to_string().as_bytes()).expect("the folder can be written");
        new.persist(&path).expect("the folder can be written");
        path
    }

    /// A client that may do everything.
    ///
    /// # Panics
    ///
    /// If the kubeconfig is not one.
    pub async fn client(&self) -> Client {
        cluster::client(&self.kubeconfig()).await
    }

    /// Ends the API server, as a crash does.
    pub fn stop_apiserver(&mut self) {
        if let Some(it) = self.apiserver.take() {
            it.kill();
        }
    }

    /// Lets the store of the API server stand still, or go on: nothing is lost, and nothing is answered.
    pub fn pause_etcd(&self, is_paused: bool) {
        if let Some(etcd) = &self.etcd {
            etcd.signal(if is_paused { "-STOP" } else { "-CONT" });
        }
    }

    /// Starts the API server again, with the same address and data.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub async fn restart_apiserver(&mut self) {
        self.stop_apiserver();
        self.start_apiserver();
        self.wait_until_ready().await;
    }

    fn write_credentials(&self) -> io::Result<()> {
        let dir = self.dir.path();
        let authority = Authority::new("leafseal test plane");
        let server =
            authority.issue("kube-apiserver", &["127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"]);
        fs::write(dir.join("ca.crt"), authority.certificate())?;
        fs::write(dir.join("apiserver.crt"), server.certificate)?;
        fs::write(dir.join("apiserver.key"), server.key)?;
        let (signs, verifies) = signing_key();
        fs::write(dir.join("service-accounts.key"), signs)?;
        fs::write(dir.join("service-accounts.pub"), verifies)?;
        fs::write(dir.join("tokens.csv"), format!("{ADMIN},admin,1,system:masters\n"))?;
        fs::create_dir(dir.join("unused"))?;
        fs::write(dir.join("audit.json"), AUDIT)?;
        fs::write(self.kubeconfig(), self.config(ADMIN).to_string())
    }

    /// A kubeconfig whose user has a token.
    fn config(&self, token: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": {
                "server": self.server(), "certificate-authority": self.authority(),
            }}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "user"}}],
            "current-context": "plane",
        })
    }

    fn start_etcd(&mut self) {
        let [_, client, peers] = self.ports.map(|it| format!("http://127.0.0.1:{it}"));
        self.etcd = Some(self.run(
            "etcd",
            &[
                "--data-dir=etcd",
                "--unsafe-no-fsync",
                &format!("--listen-client-urls={client}"),
                &format!("--advertise-client-urls={client}"),
                &format!("--listen-peer-urls={peers}"),
                &format!("--initial-advertise-peer-urls={peers}"),
                &format!("--initial-cluster=default={peers}"),
            ],
        ));
    }

    fn start_apiserver(&mut self) {
        self.apiserver = Some(self.run(
            "kube-apiserver",
            &[
                &format!("--etcd-servers=http://127.0.0.1:{}", self.ports[1]),
                &format!("--secure-port={}", self.ports[0]),
                "--bind-address=127.0.0.1",
                // Else discovery documents name the machine's address.
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                // Else one folder of the system is shared.
                "--cert-dir=unused",
                "--tls-cert-file=apiserver.crt",
                "--tls-private-key-file=apiserver.key",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-key-file=service-accounts.pub",
                "--service-account-signing-key-file=service-accounts.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--token-auth-file=tokens.csv",
                "--audit-policy-file=audit.json",
                "--audit-log-path=audit.log",
                // Who counts what stands there counts from a place in it: it is never begun anew.
                "--audit-log-maxsize=100000",
                "--authorization-mode=RBAC",
                // Pods need no token here, and the one Node is taken for ready: no controller looks after it.
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            ],
        ));
    }

    fn start_controllers(&mut self) {
        let leader = "--leader-elect=false";
        self.controllers = Some(self.run(
            "kube-controller-manager",
            &[
                "--kubeconfig=kubeconfig",
                "--service-account-private-key-file=service-accounts.key",
                "--root-ca-file=ca.crt",
                "--use-service-account-credentials",
                // Without kubelets every Node would be thought dead.
                "--controllers=*,-node-lifecycle-controller",
                // Else a second plane collides.
                "--secure-port=0",
                "--concurrent-deployment-syncs=20",
                "--concurrent-replicaset-syncs=20",
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
                leader,
            ],
        ));
        self.scheduler = Some(self.run("kube-scheduler", &["--kubeconfig=kubeconfig", "--secure-port=0", leader]));
        let stages = find("kwok-stages").expect("it was there");
        let mut configs: Vec<_> = ["node/fast", "node/heartbeat", "pod/fast"]
            .iter()
            .flat_map(|it| fs::read_dir(stages.join(it)).into_iter().flatten().flatten())
            .map(|it| it.path())
            .filter(|it| it.file_name().is_some_and(|it| it != "kustomization.yaml"))
            .filter(|it| it.extension().is_some_and(|it| it == "yaml"))
            .map(|it| format!("--config={}", it.display()))
            .collect();
        configs.sort();
        let mut args = vec!["--kubeconfig=kubeconfig", "--manage-all-nodes=true"];
        args.extend(configs.iter().map(String::as_str));
        self.kwok = Some(self.run("kwok", &args));
    }

    fn run(&self, name: &str, args: &[&str]) -> Process {
        let program = find(name).expect("it was there");
        Process::start(self.dir.path(), name, &program, args, &[]).expect("the program can be started")
    }

    async fn wait_until_ready(&mut self) {
        let client = self.client().await;
        let begun = Instant::now();
        loop {
            let readyz = http::Request::get("/readyz").body(Vec::new()).expect("this is a path");
            let ready = client.request_text(readyz).await;
            if ready.is_ok_and(|it| it == "ok") {
                return;
            }
            let dead = [&mut self.apiserver, &mut self.etcd].into_iter().flatten().any(|it| !it.is_running());
            assert!(!dead && begun.elapsed() < PATIENCE, "the control plane does not come up\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn add_node(&self) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "kwok", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok"}},
            "status": {
                "allocatable": {"cpu": "1000", "memory": "1Ti", "pods": "100000"},
                "capacity": {"cpu": "1000", "memory": "1Ti", "pods": "100000"},
            },
        });
        let node: Node = serde_json::from_value(node).expect("this is a Node");
        let nodes: Api<Node> = Api::all(self.client().await);
        nodes.create(&PostParams::default(), &node).await.expect("the plane takes a Node");
    }

    /// The last lines of every program's log.
    pub fn logs(&self) -> String {
        let all = [&self.etcd, &self.apiserver, &self.controllers, &self.scheduler, &self.kwok];
        let texts: Vec<String> = all.into_iter().flatten().map(Process::last_lines).collect();
        texts.join("\n\n")
    }

    /// Where the logs and credentials are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}

/// A program of the plane: from the folder that `KUBEBUILDER_ASSETS` names, else from that of the peers.
fn find(program: &str) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    assets.map(|it| it.join(program)).filter(|it| it.exists()).or_else(|| peer(program))
}
