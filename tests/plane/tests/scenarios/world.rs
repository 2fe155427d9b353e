//! A control plane, OpenBao and the operator, as scenarios find them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use leafseal_plane::certificates::{Authority, Identity};
use leafseal_plane::cluster::{self, Right};
use leafseal_plane::{ControlPlane, OpenBao, Operator};
use serde_json::{Value, json};

use crate::names::Names;
use crate::objects::Objects;
use crate::scenario::{OperatorStep, Server};

/// Where nobody ends the operator, a machine that stands still for ten seconds is no change of leaders.
pub(crate) const PATIENT: [&str; 2] = ["--lease-duration=90s", "--renew-deadline=60s"];

/// What scenarios run in.
pub(crate) struct World {
    // The operators go before what they talk to.
    pub(crate) operators: Operators,
    pub(crate) bao: OpenBao,
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    reviewer: String,
    /// What tokens of ServiceAccounts are signed with.
    token_keys: Vec<String>,
    vault_authority: String,
    /// Who may come to Vault with TLS.
    visitor: Identity,
}

impl World {
    /// Starts all of it, with an operator that serves everything as it does where nobody says otherwise, or with
    /// none; with `is_own`, on a control plane of its own in any case. Without the programs, reports so and returns
    /// `None`.
    pub(crate) async fn start(is_own: bool, is_served: bool) -> Option<Self> {
        let authority = Authority::new("leafseal test Vault");
        let identity = authority.issue("bao", &["127.0.0.1", "localhost"]);
        let plane = if is_own { ControlPlane::start_own().await? } else { ControlPlane::start().await? };
        let bao = OpenBao::start_with_tls(&identity)?;
        Operator::install(&plane).await;
        let client = plane.client().await;
        let reviewer = reviewer(&client).await;
        let mut operators = Operators::of(&plane, "leafseal-operator", Operator::NAMESPACE);
        if is_served {
            let args = PATIENT.iter().filter(|_| !is_own).map(|it| (*it).to_owned()).collect();
            operators.start(&plane, args).await;
        }
        let (token_keys, vault_authority) = (plane.token_keys().await, authority.certificate());
        let visitor = authority.issue("visitor", &[]);
        let world = Self { operators, bao, plane, client, reviewer, token_keys, vault_authority, visitor };
        world.furnish();
        Some(world)
    }

    /// What both specifications' harnesses ask for (external-secrets.md 7.0, vault-secrets-and-reloader.md E.0).
    /// Each mount with KV has a policy of its name that may read it.
    pub(crate) fn furnish(&self) {
        let bao = &self.bao;
        for (mount, version) in [("kv", "2"), ("team/kv", "2"), ("kv1", "1"), ("kv2", "2")] {
            bao.write(&format!("sys/mounts/{mount}"), &json!({"type": "kv", "options": {"version": version}}));
        }
        bao.write("sys/auth/approle", &json!({"type": "approle"}));
        bao.write("sys/auth/userpass", &json!({"type": "userpass"}));
        bao.write("sys/auth/k8s", &json!({"type": "kubernetes"}));
        bao.write("auth/k8s/config", &self.kubernetes());
        bao.write("sys/auth/cert", &json!({"type": "cert"}));
        // OpenBao knows no directory. What it is asked is the same.
        bao.write("sys/auth/ldap", &json!({"type": "userpass"}));
        bao.write("sys/auth/jwt", &json!({"type": "jwt"}));
        bao.write("auth/jwt/config", &json!({"jwt_validation_pubkeys": self.token_keys}));
        let read = "{ capabilities = [\"read\", \"list\"] }";
        let mounts = ["secret", "kv", "team/kv", "kv1", "kv2"].map(|it| format!("path \"{it}/*\" {read}"));
        bao.write("sys/policies/acl/reader", &json!({"policy": mounts.join("\n")}));
    }

    /// The configuration of an auth method `kubernetes` for this plane.
    fn kubernetes(&self) -> Value {
        json!({
            "kubernetes_host": self.plane.server(), "kubernetes_ca_cert": self.authority(),
            "token_reviewer_jwt": self.reviewer, "disable_iss_validation": true,
        })
    }

    fn authority(&self) -> String {
        fs::read_to_string(self.plane.authority()).expect("the plane has an authority")
    }

    /// What a scenario may call by name.
    pub(crate) fn names(&self, namespace: &str, version: &str) -> Names {
        let mut names = Names::default();
        names.set("NS", namespace);
        names.set("V", version);
        names.set("VAULT", self.bao.address());
        names.set("VAULT_TLS", self.bao.tls_address("localhost"));
        names.set("VAULT_MTLS", self.bao.mtls_address("localhost"));
        names.set("VISITOR_CERTIFICATE", self.visitor.certificate.clone());
        names.set("VISITOR_KEY", self.visitor.key.clone());
        names.set("VAULT_CA", self.vault_authority.clone());
        names.set("VAULT_CA_BASE64", base64_simd::STANDARD.encode_to_string(&self.vault_authority));
        names.set("SYSTEM", Operator::NAMESPACE);
        names.set("KUBERNETES", self.kubernetes());
        names.set("SERVER", self.plane.server());
        names.set("CA", self.authority());
        names
    }

    /// A client of all objects.
    pub(crate) fn objects(&self, namespace: &str, version: &str) -> Objects {
        Objects { client: self.client.clone(), namespace: namespace.to_owned(), version: version.to_owned() }
    }

    /// Where a server writes down what it is asked.
    pub(crate) fn audit(&self, of: Server) -> std::path::PathBuf {
        match of {
            Server::Vault => self.bao.audit(),
            Server::Cluster => self.plane.audit(),
        }
    }

    /// Makes the world as it was at first, for the next scenario.
    pub(crate) async fn tidy(&mut self, was_bao_touched: bool) {
        if was_bao_touched {
            self.bao.restart();
            self.furnish();
        }
        // A scenario may have changed definitions.
        Operator::install(&self.plane).await;
        if !self.operators.are_as_usual() {
            self.operators.start(&self.plane, Vec::new()).await;
        }
    }
}

/// The operators of a world, or those of one scenario: the first began first.
pub(crate) struct Operators {
    running: Vec<(String, Operator)>,
    /// How the first was started.
    args: Vec<String>,
    name: String,
    namespace: String,
    folder: PathBuf,
}

impl Operators {
    /// Operators that are installed in a namespace; none of them runs yet. Their logs begin with `name`.
    pub(crate) fn of(plane: &ControlPlane, name: &str, namespace: &str) -> Self {
        let folder = plane.folder().to_owned();
        Self { running: Vec::new(), args: Vec::new(), name: name.to_owned(), namespace: namespace.to_owned(), folder }
    }

    /// Whether one runs, as it does where nobody says otherwise.
    fn are_as_usual(&self) -> bool {
        self.running.len() == 1 && self.args.is_empty()
    }

    /// Ends those that run, and starts one.
    pub(crate) async fn start(&mut self, plane: &ControlPlane, args: Vec<String>) {
        self.running.clear();
        self.args = args;
        self.join(plane, &self.args.clone()).await;
    }

    async fn join(&mut self, plane: &ControlPlane, args: &[String]) {
        let names = (0..).map(|n| if n == 0 { self.name.clone() } else { format!("{}-{n}", self.name) });
        let is_free = |name: &String| self.running.iter().all(|it| it.0 != *name);
        let name = names.into_iter().find(is_free).expect("there is no end of names");
        let operator = Operator::start_in(plane, &name, &self.namespace, args).await;
        self.running.push((name, operator));
    }

    /// Starts, ends or kills: what ends is the one that began first.
    pub(crate) async fn operate(&mut self, plane: &ControlPlane, step: OperatorStep) -> Result<(), String> {
        match step {
            OperatorStep::Start(args) => self.start(plane, args).await,
            OperatorStep::Beside(args) => self.join(plane, &args).await,
            OperatorStep::Restart => self.start(plane, self.args.clone()).await,
            OperatorStep::Stop | OperatorStep::Kill if self.running.is_empty() => {
                return Err("no operator runs".to_owned());
            }
            OperatorStep::Stop => drop(self.running.remove(0)),
            OperatorStep::Kill => self.running.remove(0).1.kill(),
        }
        Ok(())
    }

    /// Where their logs are, of those that have ended too.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_theirs = |it: &PathBuf| {
            let name = it.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&self.name).and_then(|it| it.strip_suffix(".log"));
            rest.is_some_and(|it| it.is_empty() || it.starts_with('-'))
        };
        let mut logs: Vec<PathBuf> = entries.map(|it| it.path()).filter(is_theirs).collect();
        logs.sort();
        logs
    }

    /// What those that run count.
    pub(crate) fn metrics(&self) -> String {
        self.running.iter().map(|it| it.1.metrics()).collect()
    }
}

/// A ServiceAccount whose tokens may ask whose tokens others are.
async fn reviewer(client: &Client) -> String {
    let objects = Objects { client: client.clone(), namespace: "default".to_owned(), version: String::new() };
    for object in [
        json!({"kind": "ServiceAccount", "metadata": {"name": "reviewer"}}),
        json!({
            "kind": "ClusterRoleBinding", "metadata": {"name": "reviewer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": "default"}],
        }),
    ] {
        objects.apply(object).await.expect("the plane takes it");
    }
    let user = cluster::user_of("default", "reviewer");
    cluster::heeds(client, Right::to_review_tokens(&user), true).await;
    token(client, "default", "reviewer", &[]).await.expect("the account is there")
}

/// A token of a ServiceAccount.
pub(crate) async fn token(
    client: &Client,
    namespace: &str,
    account: &str,
    audiences: &[String],
) -> Result<String, String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { audiences: audiences.to_vec(), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let status = answer.map_err(|error| error.to_string())?.status;
    status.map(|it| it.token).ok_or_else(|| "the API server gives no token".to_owned())
}

/// How long a file is.
pub(crate) fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |it| it.len())
}

/// What was written to a file after its first `offset` bytes; all of it if it has become shorter.
pub(crate) fn written_after(file: &Path, offset: u64) -> String {
    let offset = if length(file) < offset { 0 } else { offset };
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(file) {
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_to_end(&mut text));
        read.expect("a log can be read");
    }
    String::from_utf8_lossy(&text).into_owned()
}
