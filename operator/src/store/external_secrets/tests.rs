//! Stores of a small cluster that stands in a table.

use std::collections::BTreeMap;

use leafseal::edge::Timestamp;
use leafseal::provider::vault::{Auth, JwtSource};
use leafseal::provider::{Address, Answer};
use leafseal::secret::SecretText;
use serde_json::json;

use super::*;
use crate::api::Object;
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::vault_secrets::{VaultAuth, VaultAuthGlobal, VaultConnection};
use crate::digest::Labels;
use crate::intent::Family;
use crate::store::Held;
use crate::store::Reading;

/// One store, and Secrets that are called by their place: `namespace/name` holds `key` → `namespace/name/key`.
struct Table {
    spec: Value,
    absent: &'static str,
}

#[derive(Debug)]
struct Token(#[expect(dead_code, reason = "it is shown by Debug")] String);

impl JwtSource for Token {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async { Ok(SecretText::from("token")) })
    }
}

impl Cluster for Table {
    fn secret_store(&self, namespace: &str, name: &str) -> Option<Arc<Object<SecretStore>>> {
        (name == "store" && namespace == "apps").then(|| Arc::new(object(&self.spec)))
    }

    fn cluster_secret_store(&self, name: &str) -> Option<Arc<Object<ClusterSecretStore>>> {
        (name == "store").then(|| Arc::new(object(&self.spec)))
    }

    fn vault_auth(&self, _: &str, _: &str) -> Option<Arc<Object<VaultAuth>>> {
        None
    }

    fn vault_auth_global(&self, _: &str, _: &str) -> Option<Arc<Object<VaultAuthGlobal>>> {
        None
    }

    fn vault_connection(&self, _: &str, _: &str) -> Option<Arc<Object<VaultConnection>>> {
        None
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Reading<'a, Option<Labels>> {
        Box::pin(async move { Ok(Some(Labels::from([("name".to_owned(), name.to_owned())]))) })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        let keys = ["token", "password", "id", "tls.crt", "tls.key", "app.json", "config"];
        let value = |key: &str| SecretText::new(format!(" {namespace}/{name}/{key}\n").into_bytes());
        let data: BTreeMap<String, SecretText> = keys.into_iter().map(|it| (it.to_owned(), value(it))).collect();
        let held = (name != self.absent).then(|| Held { data, ..Held::default() });
        Box::pin(async { Ok(held) })
    }

    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Held>> {
        self.secret(namespace, name)
    }

    fn service_account<'a>(&'a self, _: &'a str, _: &'a str) -> Reading<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    fn tokens(&self, account: (&str, &str), audiences: &[String], seconds: i64) -> Arc<dyn JwtSource> {
        Arc::new(Token(format!("{}/{} {} {seconds}", account.0, account.1, audiences.join("+"))))
    }

    fn own_token(&self) -> Option<Arc<dyn JwtSource>> {
        Some(Arc::new(Token("own".to_owned())))
    }

    fn folder<'a>(&'a self, path: &'a str) -> Reading<'a, BTreeMap<String, Vec<u8>>> {
        Box::pin(async move { Ok(BTreeMap::from([(format!("{path}.json"), b"{}".to_vec())])) })
    }

    fn client(&self) -> kube::Client {
        panic!("opening a store takes no client")
    }
}

struct Outside;

impl Observer for Outside {
    fn called(&self, _: &'static str, _: &'static str, _: bool) {}
}

impl Clock for Outside {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2026-01-02T03:04:05Z")
    }
}

fn surroundings() -> Surroundings {
    Surroundings { controller_class: "default".to_owned(), observer: Arc::new(Outside), clock: Arc::new(Outside) }
}

fn object<K: crate::api::Kind>(spec: &Value) -> Object<K> {
    serde_json::from_value(json!({ "metadata": { "name": "store" }, "spec": spec })).expect("every object can be read")
}

fn store(kind: &'static str, reader: &str) -> StoreRef {
    StoreRef {
        family: Family::ExternalSecrets,
        kind,
        namespace: if kind == NAMESPACED { "apps".to_owned() } else { String::new() },
        name: "store".to_owned(),
        reader: reader.to_owned(),
        place: None,
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("this is YAML")
}

const CLUSTER: &str = "ClusterSecretStore";

/// The identity that a Vault store opens with, or why it does not open.
async fn identity(kind: &'static str, reader: &str, auth: &str) -> String {
    let block = json!({ "server": "http://vault", "auth": yaml(auth) });
    let table = Table { spec: json!({ "provider": { "vault": block } }), absent: "absent" };
    let (store, surroundings) = (store(kind, reader), surroundings());
    let mut opening = Opening::new(&table, &store, &surroundings);
    let text = |it: &SecretText| it.expose_str().unwrap_or_default().to_owned();
    match vault::settings(&mut opening, &block).await.map(|it| it.auth) {
        Ok(Auth::None) => "none".to_owned(),
        Ok(Auth::Token(token)) => format!("token {:?}", text(&token)),
        Ok(Auth::AppRole { mount, role_id, secret_id }) => {
            format!("{mount} {:?} {:?}", text(&role_id), text(&secret_id))
        }
        Ok(Auth::Jwt { mount, role, jwt }) => format!("{mount} {role:?} {jwt:?}"),
        Ok(Auth::Password { mount, user, password }) => format!("{mount} {user} {:?}", text(&password)),
        Ok(Auth::Certificate { mount, role }) => format!("{mount} {role:?}"),
        Err(failure) => failure.0,
    }
}

#[tokio::test]
async fn identities_are_read_where_the_kind_of_store_allows() {
    let token = "tokenSecretRef: {name: s, key: token, namespace: other}";
    let free = "tokenSecretRef: {name: s, key: token}";
    let account = "kubernetes: {role: r, serviceAccountRef: {name: sa, namespace: other, audiences: [v]}}";
    for (kind, reader, auth, expected) in [
        (NAMESPACED, "apps", token, "token \"apps/s/token\""),
        (CLUSTER, "apps", token, "token \"other/s/token\""),
        (CLUSTER, "apps", free, "token \"apps/s/token\""),
        (CLUSTER, "", free, "spec.provider.auth.tokenSecretRef.namespace: is needed to check the store by itself"),
        (NAMESPACED, "apps", account, "kubernetes Some(\"r\") Token(\"apps/sa v 600\")"),
        (CLUSTER, "apps", account, "kubernetes Some(\"r\") Token(\"other/sa v 600\")"),
        (CLUSTER, "apps", "kubernetes: {mountPath: k8s, role: r}", "k8s Some(\"r\") Token(\"own\")"),
        (
            NAMESPACED,
            "apps",
            "kubernetes: {role: r}",
            "spec.provider.auth.kubernetes: serviceAccountRef or secretRef is needed; only a ClusterSecretStore may \
             use the operator's own token",
        ),
        (
            NAMESPACED,
            "apps",
            "kubernetes: {role: r, secretRef: {name: s}}",
            "kubernetes Some(\"r\") Fixed(SecretText(..))",
        ),
        (
            NAMESPACED,
            "apps",
            "appRole: {path: team, roleId: ' r ', secretRef: {name: s, key: id}}",
            "team \"r\" \" apps/s/id\\n\"",
        ),
        (
            NAMESPACED,
            "apps",
            "appRole: {roleRef: {name: s, key: id}, secretRef: {name: s, key: id}}",
            "approle \" apps/s/id\\n\" \" apps/s/id\\n\"",
        ),
        (
            NAMESPACED,
            "apps",
            "appRole: {secretRef: {name: s, key: id}}",
            "spec.provider.auth.appRole: roleId or roleRef is needed",
        ),
        (
            NAMESPACED,
            "apps",
            "userPass: {username: ' u ', secretRef: {name: s, key: password}}",
            "userpass u \" apps/s/password\\n\"",
        ),
        (
            NAMESPACED,
            "apps",
            "{ldap: {username: u, secretRef: {name: s, key: password}}, userPass: {username: v, secretRef: {name: s}}}",
            "ldap u \" apps/s/password\\n\"",
        ),
        (
            NAMESPACED,
            "apps",
            "jwt: {kubernetesServiceAccountToken: {serviceAccountRef: {name: sa, audiences: [a]}}}",
            "jwt None Token(\"apps/sa a+vault 600\")",
        ),
        (
            NAMESPACED,
            "apps",
            "jwt: {role: r, kubernetesServiceAccountToken: {serviceAccountRef: {name: sa}, audiences: [b], \
             expirationSeconds: 900}}",
            "jwt Some(\"r\") Token(\"apps/sa b 900\")",
        ),
        (NAMESPACED, "apps", "cert: {clientCert: {name: s}, secretRef: {name: s}}", "cert None"),
        (NAMESPACED, "apps", "iam: {vaultRole: r}", "spec.provider.auth.iam: this method is not served yet"),
        (NAMESPACED, "apps", "{}", "cannot initialize Vault client: no valid auth method specified"),
        (
            NAMESPACED,
            "apps",
            "tokenSecretRef: {name: absent, key: token}",
            "spec.provider.auth.tokenSecretRef: there is no Secret \"apps/absent\"",
        ),
        (
            NAMESPACED,
            "apps",
            "tokenSecretRef: {name: s, key: nope}",
            "spec.provider.auth.tokenSecretRef: the Secret \"s\" has no key \"nope\"",
        ),
    ] {
        assert_eq!(identity(kind, reader, auth).await, expected, "{kind} {auth}");
    }
}

#[tokio::test]
async fn vault_is_described_as_the_original_describes_it() {
    let block = yaml(
        "{server: http://vault, path: team/kv, version: v1, namespace: ns, headers: {h: v}, readYourWrites: true,
          forwardInconsistent: true, tls: {certSecretRef: {name: s}, keySecretRef: {name: s}},
          auth: {namespace: login, tokenSecretRef: {name: s, key: token}}}",
    );
    let table = Table { spec: json!({}), absent: "" };
    let (store, surroundings) = (store(NAMESPACED, "apps"), surroundings());
    let mut opening = Opening::new(&table, &store, &surroundings);
    let settings = vault::settings(&mut opening, &block).await.map_err(|it| it.0).expect("it can be described");
    assert_eq!(settings.login_namespace.as_deref(), Some("login"));
    assert_eq!(settings.place.namespace.as_deref(), Some("ns"));
    assert_eq!(settings.place.mount.as_deref(), Some("team/kv"));
    assert_eq!(settings.headers.get("h").map(String::as_str), Some("v"));
    assert!(settings.read_your_writes && settings.forward_inconsistent && settings.tls.identity.is_some());
    let parts: Vec<String> =
        opening.into_parts().iter().map(|it| format!("{} {}/{}", it.kind, it.namespace, it.name)).collect();
    assert_eq!(parts, ["Secret apps/s", "SecretStore apps/store"]);

    for (field, expected) in [
        (json!({ "forwardInconsistent": true }), (true, false)),
        (json!({ "readYourWrites": true }), (true, false)),
        (json!({}), (false, false)),
    ] {
        let mut block = field.clone();
        block["server"] = "http://vault".into();
        let mut opening = Opening::new(&table, &store, &surroundings);
        let settings = vault::settings(&mut opening, &block).await.map_err(|it| it.0).expect("it can be described");
        assert_eq!((settings.read_your_writes, settings.forward_inconsistent), expected, "{field}");
        assert!(matches!(settings.auth, Auth::None));
    }
}

#[tokio::test]
async fn stores_open_or_say_why_not() {
    let fake = "{fake: {data: [{key: k, value: v}]}}";
    for (kind, spec, expected) in [
        (NAMESPACED, format!("provider: {fake}"), "v"),
        (CLUSTER, format!("provider: {fake}"), "v"),
        (CLUSTER, format!("{{provider: {fake}, controller: default}}"), "v"),
        (CLUSTER, format!("{{provider: {fake}, controller: other}}"), "can not reference unmanaged store"),
        (CLUSTER, format!("{{provider: {fake}, conditions: [{{namespaces: [apps]}}]}}"), "v"),
        (
            CLUSTER,
            format!("{{provider: {fake}, conditions: [{{namespaceSelector: {{matchLabels: {{name: apps}}}}}}]}}"),
            "v",
        ),
        (
            CLUSTER,
            format!("{{provider: {fake}, conditions: [{{namespaces: [other]}}]}}"),
            "using cluster store \"store\" is not allowed from namespace \"apps\": denied by spec.condition",
        ),
        (NAMESPACED, format!("{{provider: {fake}, conditions: [{{namespaces: [other]}}]}}"), "v"),
        (NAMESPACED, "provider: {}".to_owned(), "spec.provider: exactly one provider is needed"),
        (
            NAMESPACED,
            "provider: {doppler: {}}".to_owned(),
            "spec.provider.doppler: this provider is not served; those that are: vault, openBao, kubernetes, \
             fake, sops",
        ),
        (NAMESPACED, "provider: {vault: {}}".to_owned(), "spec.provider.vault.server: is missing"),
        (NAMESPACED, "provider: {vault: {server: 5}}".to_owned(), "spec.provider.vault.server: expected a string"),
        (
            NAMESPACED,
            format!("{{provider: {fake}, retrySettings: {{retryInterval: x}}}}"),
            "spec.retrySettings.retryInterval: \"x\" is no duration: write it like 30s, 5m or 1h30m",
        ),
        (
            NAMESPACED,
            "provider: {vault: {server: 'http://v', caBundle: aGVsbG8=}}".to_owned(),
            "spec.provider.vault.caBundle: holds no certificate in PEM",
        ),
        (
            CLUSTER,
            "provider: {vault: {server: 'http://v', caProvider: {type: Secret, name: s, key: id}}}".to_owned(),
            "spec.provider.vault.caProvider.namespace: a ClusterSecretStore has to name it",
        ),
        (
            NAMESPACED,
            "provider: {vault: {server: 'http://v', tls: {certSecretRef: {name: s}}}}".to_owned(),
            "spec.provider.vault.tls: certSecretRef and keySecretRef go together",
        ),
        (
            NAMESPACED,
            "provider: {kubernetes: {}}".to_owned(),
            "spec.provider.kubernetes: exactly one of auth and authRef is needed",
        ),
        (
            NAMESPACED,
            "provider: {kubernetes: {auth: {token: {bearerToken: {name: s}}, serviceAccount: {name: sa}}}}".to_owned(),
            "spec.provider.kubernetes.auth: exactly one of cert, token and serviceAccount is needed",
        ),
        (
            NAMESPACED,
            "provider: {sops: {documents: [{folder: other}]}}".to_owned(),
            "spec.provider.sops.documents[0].folder: a SecretStore reads below the folder \"apps\" alone",
        ),
        (
            NAMESPACED,
            "provider: {sops: {documents: [{folder: apps/../other}]}}".to_owned(),
            "spec.provider.sops.documents[0].folder: is no path below the folder of documents",
        ),
        (
            CLUSTER,
            "provider: {sops: {documents: [{folder: a}, {folder: a}]}}".to_owned(),
            "spec.provider.sops.documents[1]: another document is called \"a.json\"",
        ),
        (
            CLUSTER,
            "provider: {sops: {documents: [{folder: a, secret: {name: s}}]}}".to_owned(),
            "spec.provider.sops.documents[0]: exactly one of configMap, secret and folder is needed",
        ),
    ] {
        let table = Table { spec: yaml(&spec), absent: "" };
        let attempt = open(&table, &store(kind, "apps"), &surroundings()).await;
        assert!(attempt.made_from.iter().any(|it| it.kind == kind), "{spec}");
        let got = match attempt.opened {
            Err(trouble) => {
                assert_eq!((trouble.reason, trouble.message.as_str()), ("UpdateFailed", COULD_NOT_READ));
                trouble.detail
            }
            Ok(opened) => {
                let at = Address { key: "k".to_owned(), ..Address::default() };
                let content = opened.provider.read(&at).await.expect("it is there");
                let value = content.value(None).expect("it is a value");
                value.expose_str().unwrap_or_default().to_owned()
            }
        };
        assert_eq!(got, expected, "{kind} {spec}");
    }
    let mut nobody = store(NAMESPACED, "apps");
    nobody.name = "nobody".to_owned();
    let table = Table { spec: json!({}), absent: "" };
    let trouble = open(&table, &nobody, &surroundings()).await.opened.err().expect("it is not there");
    assert_eq!(trouble.detail, "could not get SecretStore \"nobody\", there is none of that name");
    assert_eq!(not_ready(&nobody).detail, "SecretStore \"nobody\" is not ready");
}

#[test]
fn stores_of_other_classes_and_unchecked_ones_are_told_apart() {
    let status = |is: &str| -> SecretStoreStatus {
        serde_json::from_value(json!({ "conditions": [{ "type": "Ready", "status": is }] })).expect("this is a status")
    };
    for (controller, is, expected) in [
        ("", "True", Readiness::Ready),
        ("default", "True", Readiness::Ready),
        ("other", "True", Readiness::Foreign),
        ("", "False", Readiness::NotReady),
        ("", "", Readiness::NotReady),
    ] {
        let spec = json!({ "controller": controller });
        let read: Object<SecretStore> = object(&spec);
        assert_eq!(readiness(&read.spec, &status(is), "default"), expected, "{controller} {is}");
        let table = Table { spec, absent: "" };
        assert_eq!(is_left_alone(&table, &[store(CLUSTER, "apps")], "default"), expected == Readiness::Foreign);
    }
}

#[test]
fn a_store_is_its_readers_where_a_namespace_is_left_open() {
    for (provider, expected) in [
        ("vault: {auth: {tokenSecretRef: {name: s}}}", true),
        ("vault: {auth: {tokenSecretRef: {name: s, namespace: n}}}", false),
        ("vault: {auth: {appRole: {roleId: r, secretRef: {name: s}}}}", true),
        ("vault: {auth: {kubernetes: {serviceAccountRef: {name: s}}}}", true),
        ("vault: {auth: {kubernetes: {role: r}}}", false),
        ("vault: {auth: {jwt: {kubernetesServiceAccountToken: {serviceAccountRef: {name: s, namespace: n}}}}}", false),
        ("openBao: {auth: {userPass: {secretRef: {name: s}}}}", true),
        ("vault: {}", false),
        ("kubernetes: {auth: {serviceAccount: {name: s}}}", true),
        ("kubernetes: {authRef: {name: s, namespace: n}}", false),
        ("fake: {}", false),
        ("sops: {documents: [{secret: {name: s}}]}", true),
        ("sops: {documents: [{folder: f}], keys: {age: [{secretRef: {name: s, namespace: n}}]}}", false),
        ("doppler: {}", false),
    ] {
        let spec = serde_json::from_value(json!({ "provider": yaml(provider) })).expect("this is a spec");
        assert_eq!(is_referent(&spec), expected, "{provider}");
    }
}

#[test]
fn a_store_is_told_what_came_of_checking_it() {
    use leafseal::provider::{ProviderError, ProviderErrorKind};
    let spec: SecretStoreSpec = serde_json::from_value(json!({ "provider": { "vault": {} } })).expect("this is a spec");
    let usable = json!({
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Valid", "message": "store validated",
                         "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        "capabilities": "ReadWrite",
    });
    let broken = json!({
        "conditions": [{ "type": "Ready", "status": "False", "reason": "InvalidProviderConfig",
                         "message": "unable to validate store: denied", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    });
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-01-02T03:04:05Z");
    let denied = || Checked::Failed(ProviderError::new(ProviderErrorKind::Denied, "denied"));
    let away = || Checked::Failed(ProviderError::new(ProviderErrorKind::Unavailable { retry_after: None }, "away"));
    let unopened = || Checked::NotOpened(unreadable("no Secret".to_owned()));
    let fine = || Checked::Answered(Validity::Ready);
    for (before, checked, expected, since, noted) in [
        (json!({}), fine(), Some("True Valid store validated"), new, Some((false, "store validated"))),
        (
            json!({}),
            Checked::Answered(Validity::Unknown),
            Some("True Valid store validated"),
            new,
            Some((false, "store validated")),
        ),
        (usable.clone(), fine(), None, old, None),
        (
            usable.clone(),
            denied(),
            Some("False InvalidProviderConfig unable to validate store: denied"),
            new,
            Some((true, "denied")),
        ),
        (
            usable.clone(),
            away(),
            Some("True ValidationUnknown could not determine validation status: away"),
            old,
            Some((true, "away")),
        ),
        (
            json!({}),
            away(),
            Some("False InvalidProviderConfig unable to validate store: away"),
            new,
            Some((true, "away")),
        ),
        (
            usable,
            unopened(),
            Some("False InvalidProviderConfig unable to create client: no Secret"),
            new,
            Some((true, "no Secret")),
        ),
        (broken.clone(), denied(), None, old, None),
        (broken.clone(), unopened(), Some("False InvalidProviderConfig unable to create client: no Secret"), old, None),
        (broken, fine(), Some("True Valid store validated"), new, Some((false, "store validated"))),
    ] {
        let case = format!("{before} {checked:?}");
        let read: SecretStoreStatus = serde_json::from_value(before).expect("this is a status");
        let now = "2026-01-02T03:04:05.6Z".parse().expect("this is a time");
        let (changes, notes) = status(Some(&spec), &read, &checked, now);
        let told = changes.as_ref().map(|it| {
            let condition = &it["conditions"][0];
            assert_eq!(condition["lastTransitionTime"], since, "{case}");
            let words = ["status", "reason", "message"].map(|it| condition[it].as_str().unwrap_or_default());
            words.join(" ")
        });
        assert_eq!(told.as_deref(), expected, "{case}");
        assert_eq!(notes.first().map(|it| (it.warning, it.text.as_str())), noted, "{case}");
    }
}

#[test]
fn stores_say_how_often_they_are_checked() {
    use std::time::Duration;
    let usual = Duration::from_secs(300);
    for (interval, expected) in [
        (Value::Null, Ok(usual)),
        (json!(0), Ok(usual)),
        (json!(10), Ok(Duration::from_secs(10))),
        (json!("10s"), Ok(Duration::from_secs(10))),
        (json!("0"), Ok(usual)),
        (json!(-1), Err(())),
        (json!("-1s"), Err(())),
        (json!("abc"), Err(())),
    ] {
        let spec = serde_json::from_value(json!({ "refreshInterval": interval })).expect("this is a spec");
        assert_eq!(check_interval(&spec, usual).map_err(drop), expected, "{interval}");
    }
}
