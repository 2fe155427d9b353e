//! The chart and the plain manifests, with real Helm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use leafseal_tests::{difference, peer, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::objects::{PATIENCE, Plane, documents, name};
use crate::rights::{has_rights, rights, table};

/// What it may do to the objects of External Secrets.
const EXTERNAL_SECRETS: &str = "
    configmaps get list watch
    external-secrets.io/externalsecrets get list watch patch
    external-secrets.io/externalsecrets/status patch
    external-secrets.io/externalsecrets/finalizers update
    external-secrets.io/secretstores get list watch
    external-secrets.io/secretstores/status patch
    external-secrets.io/pushsecrets get list watch
    external-secrets.io/pushsecrets/status patch
    external-secrets.io/clusterexternalsecrets/finalizers update
    generators.external-secrets.io/fakes get
    generators.external-secrets.io/passwords get
    generators.external-secrets.io/sshkeys get
    generators.external-secrets.io/uuids get
    generators.external-secrets.io/vaultdynamicsecrets get
";

/// What it may do to those of the whole cluster.
const OF_THE_CLUSTER: &str = "
    external-secrets.io/clustersecretstores get list watch
    external-secrets.io/clustersecretstores/status patch
    external-secrets.io/externalsecrets create update delete
    external-secrets.io/clusterexternalsecrets get list watch patch
    external-secrets.io/clusterexternalsecrets/status patch
    external-secrets.io/clusterpushsecrets get list watch
    external-secrets.io/clusterpushsecrets/status patch
    generators.external-secrets.io/clustergenerators get
    namespaces get list watch patch
";

/// What it may do to the objects of Vault Secrets and the workloads that they name.
const VAULT_SECRETS: &str = "
    secrets.hashicorp.com/vaultconnections get list watch patch
    secrets.hashicorp.com/vaultauths get list watch patch
    secrets.hashicorp.com/vaultauthglobals get list watch
    secrets.hashicorp.com/vaultstaticsecrets get list watch patch
    secrets.hashicorp.com/vaultstaticsecrets/finalizers update
    secrets.hashicorp.com/vaultdynamicsecrets get list watch
    secrets.hashicorp.com/vaultpkisecrets get list watch
    secrets.hashicorp.com/secrettransformations get list watch
    secrets.hashicorp.com/hcpauths get list watch
    secrets.hashicorp.com/hcpvaultsecretsapps get list watch patch
    secrets.hashicorp.com/csisecrets get list watch
    secrets.hashicorp.com/*/status patch
    apps/deployments get patch
    apps/statefulsets get patch
    apps/daemonsets get patch
    argoproj.io/rollouts get patch
";

/// What it may do to workloads that ask for reloads, and to what they use.
const RELOAD: &str = "
    configmaps get list watch
    apps/deployments get list watch patch
    apps/statefulsets get list watch patch
    apps/daemonsets get list watch patch
    apps/replicasets get list
    apps/controllerrevisions get list
    batch/cronjobs get list watch patch
    batch/jobs get list watch patch create delete
    argoproj.io/rollouts get list watch patch update
    secrets-store.csi.x-k8s.io/secretproviderclasses get list watch
    secrets-store.csi.x-k8s.io/secretproviderclasspodstatuses get list watch
";

/// What it may do for every family.
const COMMON: &str = "
    secrets get list watch
    events create patch
    events.k8s.io/events create patch
";

/// What it may do for families that keep Secrets.
const KEEPING: &str = "
    secrets create update patch delete
    serviceaccounts get
    serviceaccounts/token create
";

/// What it may do in its own namespace only.
const OWN: &str = "
    coordination.k8s.io/leases create
    coordination.k8s.io/leases[external-secrets-controller] get update
    coordination.k8s.io/leases[b0d477c0.hashicorp.com] get update
    coordination.k8s.io/leases[stakater-reloader-lock] get update
    secrets create
    secrets[vso-cc-storage-hmac-key] get
    secrets[leafseal-reload-key] get
    secrets[leafseal-reload-owed] get update
    configmaps create
    configmaps[leafseal-reload-memory] get update
";

/// Real Helm, with nothing of the caller's.
struct Helm {
    program: PathBuf,
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// `None`, and reported, if it is not there.
    fn new(kubeconfig: Option<PathBuf>) -> Option<Self> {
        let home = tempfile::Builder::new().prefix("leafseal-helm-").tempdir().expect("there is a temporary folder");
        Some(Self { program: peer("helm")?, home, kubeconfig })
    }

    /// Runs it with words of `line`, in which CHART is the chart.
    fn run(&self, line: &str) -> Result<String, String> {
        let chart = workspace().join("operator/deploy/chart");
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", self.home.path()).env("TMPDIR", self.home.path()).stdin(Stdio::null());
        command.args(self.kubeconfig.iter().map(|it| format!("--kubeconfig={}", it.display())));
        for word in line.split_whitespace() {
            match word {
                "CHART" => command.arg(&chart),
                word => command.arg(word),
            };
        }
        let output = command.output().expect("helm can be started");
        let text = |it| String::from_utf8(it).expect("helm speaks UTF-8");
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    /// Runs it; it must succeed.
    fn ok(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|said| panic!("helm {line}: {said}"))
    }

    /// The objects that the chart makes with these arguments.
    fn render(&self, args: &str) -> Vec<Value> {
        documents(&self.ok(&format!("template leafseal-operator CHART --namespace vault --kube-version 1.34 {args}")))
    }
}

#[test]
fn helm_has_no_complaints() {
    let Some(helm) = Helm::new(None) else { return };
    helm.ok("lint --strict CHART");
    helm.ok("lint --strict CHART --set scopedNamespaces={a} --set defaultVaultConnection.enabled=true,defaultVaultConnection.address=http://v");
    let packed = helm.home.path().join("packed");
    helm.ok(&format!("package CHART --destination {}", packed.display()));
    // What was packed holds the definitions themselves, not the way to them.
    let definitions = documents(&helm.ok(&format!("show crds {}/leafseal-operator-0.1.0.tgz", packed.display())));
    assert_eq!(definitions.len(), crate::objects::definitions().len());
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let Some(helm) = Helm::new(None) else { return };
    for (args, part) in [
        ("--set concurent=3", "'concurent' not allowed"),
        ("--set concurrent=0", "/concurrent"),
        ("--set replicaCount=two", "/replicaCount"),
        ("--set metrics.port=80", "/metrics/port"),
        ("--set image.digest=latest", "/image/digest"),
        ("--set scopedNamespaces={A_b}", "/scopedNamespaces/0"),
        ("--set defaultVaultConnection.timeout=1h30m", "/defaultVaultConnection/timeout"),
        ("--set defaultAuthMethod.method=ldap", "/defaultAuthMethod/method"),
        ("--set defaultVaultConnection.enabled=true", "say where the Vault is"),
        ("--set externalSecrets.enabled=false,vaultSecrets.enabled=false,reload.enabled=false", "enable one of them"),
        ("--set reload.strategy=restart", "/reload/strategy"),
        ("--set reload.window=soon", "/reload/window"),
        ("--set reload.isArgoRollouts=true", "'isArgoRollouts' not allowed"),
    ] {
        let said = helm.run(&format!("template x CHART --kube-version 1.34 {args}")).expect_err(args);
        assert!(said.contains(part), "{args}: {said}");
    }
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    objects.iter().filter_map(|it| it["kind"].as_str()).collect()
}

fn container(objects: &[Value]) -> &Value {
    let deployment = objects.iter().find(|it| it["kind"] == "Deployment").expect("there is a Deployment");
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn args(objects: &[Value]) -> Vec<&str> {
    container(objects)["args"].as_array().expect("it has arguments").iter().filter_map(Value::as_str).collect()
}

#[test]
fn values_do_what_they_say() {
    let Some(helm) = Helm::new(None) else { return };

    let plain = helm.render("");
    let has = |objects: &[Value], kind: &str| kinds(objects).contains(&kind);
    for kind in ["PodDisruptionBudget", "ServiceMonitor", "VaultConnection", "VaultAuth"] {
        assert!(!has(&plain, kind), "{kind}");
    }
    let security = &container(&plain)["securityContext"];
    let wanted = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(*security, wanted);

    let scoped = helm.render("--set scopedNamespaces={a,b} --set scopedNamespace=c");
    assert!(!has(&scoped, "ClusterRole") && !has(&scoped, "ClusterRoleBinding"));
    assert_eq!(kinds(&scoped).iter().filter(|it| **it == "Role").count(), 4);
    assert!(args(&scoped).contains(&"--namespaces=a,b,c"));

    let set = "--set concurrent=4,logLevel=debug,leaderElect=false,metrics.port=9090,health.port=9091";
    let set = format!("{set} --set processClusterStore=false,processClusterExternalSecret=false");
    let set = helm.render(&format!("{set} --set controllerClass=blue,storeRequeueInterval=1m"));
    let wanted = [
        "--families=external-secrets,vault-secrets,reload",
        "--metrics-address=:9090",
        "--health-address=:9091",
        "--leader-elect=false",
        "--concurrency=4",
        "--log-level=debug",
        "--controller-class=blue",
        "--store-check-interval=1m",
        "--cluster-secret-stores=false",
        "--cluster-external-secrets=false",
    ];
    assert_eq!(args(&set), wanted);
    assert_eq!(container(&set)["ports"][0]["containerPort"], 9090);

    let set = "--set reload.window=0s,reload.dryRun=true,reload.maxParallelRestarts=5,reload.namespaceSelector=a=b";
    let set = helm.render(&format!("{set} --set reload.namespacesToIgnore={{x,y}} --set reload.strategy=annotations"));
    let of_reloads: Vec<_> = args(&set).into_iter().skip(6).collect();
    let wanted = [
        "--dry-run=true",
        "--max-parallel-restarts=5",
        "--namespace-selector=a=b",
        "--namespaces-to-ignore=x,y",
        "--reload-strategy=annotations",
        "--reload-window=0s",
    ];
    assert_eq!(of_reloads, wanted);

    let one = helm.render("--set externalSecrets.enabled=false,reload.enabled=false");
    assert!(args(&one).contains(&"--families=vault-secrets"));
    let role = one.iter().find(|it| it["kind"] == "ClusterRole" && name(it) == "leafseal-operator");
    assert!(!role.expect("there is one")["rules"].to_string().contains("external-secrets.io"));

    let role = |objects: &[Value]| {
        let role = objects.iter().find(|it| it["kind"] == "ClusterRole" && name(it) == "leafseal-operator");
        role.expect("there is one")["rules"].clone()
    };
    let reload = role(&helm.render("--set externalSecrets.enabled=false,vaultSecrets.enabled=false"));
    let secrets: Vec<_> =
        reload.as_array().into_iter().flatten().filter(|it| it["resources"] == json!(["secrets"])).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0]["verbs"], json!(["get", "list", "watch"]), "reloads keep no Secret");

    // As either original chart writes them.
    for extra in ["--set extraArgs.client-qps=5", "--set extraArgs={--client-qps=5}"] {
        assert_eq!(args(&helm.render(extra)).last(), Some(&"--client-qps=5"), "{extra}");
    }
    let env = helm.render("--set extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy:3128");
    let env = container(&env)["env"].as_array().expect("it has an environment").last().cloned();
    assert_eq!(env, Some(json!({"name": "HTTPS_PROXY", "value": "http://proxy:3128"})));

    let digest = format!("sha256:{}", "0".repeat(64));
    let image = helm.render(&format!("--set image.repository=a.example.com/b,image.digest={digest}"));
    assert_eq!(container(&image)["image"], format!("a.example.com/b@{digest}"));

    let monitor = helm.render("--set serviceMonitor.enabled=true,podDisruptionBudget.enabled=true");
    assert!(has(&monitor, "ServiceMonitor") && has(&monitor, "PodDisruptionBudget"));

    let connection = "--set defaultVaultConnection.enabled=true,defaultVaultConnection.address=http://vault:8200";
    let auth = "--set defaultAuthMethod.enabled=true,defaultAuthMethod.kubernetes.role=r,defaultAuthMethod.namespace=n";
    let audiences = "--set defaultAuthMethod.kubernetes.tokenAudiences={vault} --set scopedNamespaces={a}";
    let defaults = helm.render(&format!("{connection} {auth} {audiences}"));
    let of = |kind: &str| defaults.iter().find(|it| it["kind"] == kind).map(|it| it["spec"].clone());
    assert_eq!(of("VaultConnection"), Some(json!({"address": "http://vault:8200", "skipTLSVerify": false})));
    let wanted = json!({
        "method": "kubernetes", "mount": "kubernetes", "namespace": "n",
        "kubernetes": {"role": "r", "serviceAccount": "default", "audiences": ["vault"]},
    });
    assert_eq!(of("VaultAuth"), Some(wanted));
    assert!(args(&defaults).contains(&"--namespaces=a,vault"));
}

/// The plain manifests are what the chart makes; UPDATE=1 writes them.
#[test]
fn the_plain_manifests_are_what_the_chart_makes() {
    let Some(helm) = Helm::new(None) else { return };
    let file = workspace().join("operator/deploy/manifests/leafseal-operator.yaml");
    let head = "\
# Made of operator/deploy/chart by `UPDATE=1 cargo test -p leafseal-plane --test deploy plain`.
apiVersion: v1
kind: Namespace
metadata:
  name: leafseal-system
";
    let made = helm.ok("template leafseal-operator CHART --namespace leafseal-system --kube-version 1.34");
    let made: Vec<&str> = made.lines().filter(|it| !it.starts_with("# Source:")).collect();
    let made = format!("{head}{}\n", made.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("the folder can be made");
        fs::write(&file, &made).expect("the file can be written");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "{}", difference(made.as_bytes(), there.as_bytes()));
}

#[tokio::test]
async fn what_is_installed_is_served_has_the_rights_it_needs_and_goes_without_taking_anything_along() {
    let Some(plane) = Plane::start().await else { return };
    let Some(helm) = Helm::new(Some(plane.control.kubeconfig())) else { return };
    let client = &plane.client;

    // Without definitions, if so wished.
    helm.ok("install bare CHART --namespace bare --create-namespace --wait --set installCRDs=false");
    let there = plane.api(&plane.definitions[0]).list(&Default::default()).await.expect("it is answered");
    assert!(there.items.is_empty());
    helm.ok("uninstall bare --namespace bare --wait");

    let values = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/values.yaml");
    let install = format!("CHART --namespace vault --create-namespace --wait --values {}", values.display());
    let notes = helm.ok(&format!("install vault-secrets {install}"));
    plane.wait_until_served().await;
    assert!(notes.contains("have no effect here: certController, controller, reloader, webhook."), "{notes}");
    let read = async |version, kind, name| {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"namespace": "vault"}});
        serde_json::to_value(plane.api(&object).get(name).await.expect("it is there")).expect("an object is JSON")
    };
    let full = "vault-secrets-leafseal-operator";
    let service = format!("{full}-metrics");
    let connection = read("secrets.hashicorp.com/v1beta1", "VaultConnection", "default").await;
    assert_eq!(connection["spec"]["address"], "http://vault.vault.svc.cluster.local:8200");
    read("secrets.hashicorp.com/v1beta1", "VaultAuth", "default").await;
    read("v1", "Service", &service).await;
    read("policy/v1", "PodDisruptionBudget", full).await;
    assert_eq!(read("apps/v1", "Deployment", full).await["status"]["availableReplicas"], 2);

    let account = ("vault", full);
    let everywhere = [COMMON, KEEPING, EXTERNAL_SECRETS, VAULT_SECRETS, RELOAD, OF_THE_CLUSTER];
    has_rights(client, account, "default", &table(&everywhere)).await;
    has_rights(client, account, "vault", &table(&[&everywhere[..], &[OWN]].concat())).await;

    // Where the definitions are there already, and with rights in two namespaces only.
    for namespace in ["a", "b"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        plane.apply(&object).await.expect("it is taken");
    }
    helm.ok(
        "install leafseal-operator CHART --namespace scoped --create-namespace --wait --set scopedNamespaces={a,b}",
    );
    let account = ("scoped", "leafseal-operator");
    for namespace in ["a", "b"] {
        let wanted = table(&[COMMON, KEEPING, EXTERNAL_SECRETS, VAULT_SECRETS, RELOAD]);
        has_rights(client, account, namespace, &wanted).await;
    }
    has_rights(client, account, "scoped", &table(&[OWN])).await;
    // All of it is heeded by now, and so is what would be too much.
    assert_eq!(rights(client, account, "default").await, table(&[]));

    // Whoever may view or edit a namespace may do so with the custom resources.
    for (role, resource, may, may_not) in [
        ("view", "external-secrets.io/*", "get", "patch"),
        ("view", "secrets.hashicorp.com/*", "watch", "delete"),
        ("edit", "external-secrets.io/externalsecrets", "patch", "impersonate"),
        ("edit", "secrets.hashicorp.com/vaultstaticsecrets", "delete", "impersonate"),
    ] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": "a"},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": "a"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        });
        plane.apply(&binding).await.expect("it is taken");
        // A controller adds our roles to those of the cluster, in its own time.
        let begun = Instant::now();
        let has = loop {
            let has = rights(client, ("a", role), "a").await;
            if has.get(resource).is_some_and(|it| it.contains(may)) || begun.elapsed() > PATIENCE {
                break has;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let verbs = has.get(resource).cloned().unwrap_or_default();
        assert!(verbs.contains(may) && !verbs.contains(may_not), "{role} {resource}: {verbs:?}");
        let forbidden = has.get("external-secrets.io/clustersecretstores");
        assert!(forbidden.is_none(), "{role}: {forbidden:?}");
    }

    helm.ok(&format!("upgrade vault-secrets {install} --set concurrent=8,defaultVaultConnection.timeout=5s"));
    let upgraded = read("secrets.hashicorp.com/v1beta1", "VaultConnection", "default").await;
    assert_eq!(upgraded["metadata"]["uid"], connection["metadata"]["uid"]);
    assert_eq!(upgraded["spec"]["timeout"], "5s");

    // The plain manifests can stand beside all that.
    let manifests = workspace().join("operator/deploy/manifests/leafseal-operator.yaml");
    let manifests = documents(&fs::read_to_string(manifests).expect("they are there"));
    for object in &manifests {
        plane.apply(object).await.unwrap_or_else(|error| panic!("{}: {error}", object["kind"]));
    }
    let account = ("leafseal-system", "leafseal-operator");
    has_rights(client, account, "default", &table(&everywhere)).await;

    // What people made outlives the chart.
    let made = documents(include_str!("accepted.yaml"));
    plane.apply(&made[0]).await.expect("it is taken");
    helm.ok("uninstall vault-secrets --namespace vault --wait");
    helm.ok("uninstall leafseal-operator --namespace scoped --wait");
    plane.read("external-secrets.io/v1", "ExternalSecret", name(&made[0])).await;
}
