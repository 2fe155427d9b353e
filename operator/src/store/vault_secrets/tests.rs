//! References, merges and logins, over a cluster in memory.

use std::collections::BTreeMap;
use std::fs;

use futures::FutureExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use leafseal::provider::vault::{JwtSource, KvVersion, Place};
use leafseal::secret::SecretText;
use serde_json::{Value, json};

use super::*;
use crate::api::Kind;
use crate::api::external_secrets::{ClusterSecretStore, SecretStore};
use crate::api::vault_secrets::{VaultAuthGlobal, VaultAuthSpec};
use crate::digest::Labels;
use crate::intent::Family;
use crate::store::{Held as Kept, Reading};

/// An object at `namespace/name` that says `spec`.
pub(crate) fn object<K: Kind>(at: &str, spec: Value) -> Object<K> {
    let (namespace, name) = at.split_once('/').expect("namespace/name");
    let metadata = json!({ "namespace": namespace, "name": name, "uid": uid(K::KIND, at), "generation": 1 });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("every object is read")
}

fn uid(kind: &str, at: &str) -> String {
    identity::file_uid(&format!("{kind}/{at}"))
}

/// A cluster that holds what it is told.
#[derive(Default)]
pub(crate) struct World {
    auths: BTreeMap<String, Arc<Object<VaultAuth>>>,
    globals: BTreeMap<String, Arc<Object<VaultAuthGlobal>>>,
    connections: BTreeMap<String, Arc<Object<VaultConnection>>>,
    secrets: BTreeMap<String, BTreeMap<String, SecretText>>,
    accounts: Vec<String>,
}

impl World {
    pub(crate) fn with_auth(mut self, at: &str, spec: Value) -> Self {
        self.auths.insert(at.into(), Arc::new(object(at, spec)));
        self
    }

    pub(crate) fn with_global(mut self, at: &str, spec: Value) -> Self {
        self.globals.insert(at.into(), Arc::new(object(at, spec)));
        self
    }

    pub(crate) fn with_connection(mut self, at: &str, spec: Value) -> Self {
        self.connections.insert(at.into(), Arc::new(object(at, spec)));
        self
    }

    fn with_secret(mut self, at: &str, key: &str, value: &str) -> Self {
        self.secrets.insert(at.into(), BTreeMap::from([(key.into(), SecretText::from(value))]));
        self
    }

    fn with_account(mut self, at: &str) -> Self {
        self.accounts.push(at.into());
        self
    }
}

impl Cluster for World {
    fn secret_store(&self, _: &str, _: &str) -> Option<Arc<Object<SecretStore>>> {
        None
    }

    fn cluster_secret_store(&self, _: &str) -> Option<Arc<Object<ClusterSecretStore>>> {
        None
    }

    fn vault_auth(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuth>>> {
        self.auths.get(&format!("{namespace}/{name}")).cloned()
    }

    fn vault_auth_global(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultAuthGlobal>>> {
        self.globals.get(&format!("{namespace}/{name}")).cloned()
    }

    fn vault_connection(&self, namespace: &str, name: &str) -> Option<Arc<Object<VaultConnection>>> {
        self.connections.get(&format!("{namespace}/{name}")).cloned()
    }

    fn namespace<'a>(&'a self, _: &'a str) -> Reading<'a, Option<Labels>> {
        Box::pin(async { Ok(None) })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<Kept>> {
        let at = format!("{namespace}/{name}");
        let held =
            self.secrets.get(&at).map(|data| Kept { uid: uid("Secret", &at), data: data.clone(), ..Kept::default() });
        Box::pin(async { Ok(held) })
    }

    fn config_map<'a>(&'a self, _: &'a str, _: &'a str) -> Reading<'a, Option<Kept>> {
        Box::pin(async { Ok(None) })
    }

    fn service_account<'a>(&'a self, namespace: &'a str, name: &'a str) -> Reading<'a, Option<String>> {
        let at = format!("{namespace}/{name}");
        let uid = self.accounts.contains(&at).then(|| uid("ServiceAccount", &at));
        Box::pin(async { Ok(uid) })
    }

    fn tokens(&self, account: (&str, &str), audiences: &[String], seconds: i64) -> Arc<dyn JwtSource> {
        Arc::new(Told(format!("{}/{} {audiences:?} {seconds}", account.0, account.1)))
    }

    fn client(&self) -> kube::Client {
        unreachable!("Vault Secrets reads no cluster")
    }
}

/// A token that says how it was asked for.
#[derive(Debug)]
struct Told(String);

impl JwtSource for Told {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async { Ok(SecretText::from(self.0.as_str())) })
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it does not wait")
}

fn defaults() -> Defaults {
    Defaults { namespace: "vault".into(), globals: true }
}

fn store(auth: &str, reader: &str) -> StoreRef {
    let (namespace, name) = auth.split_once('/').expect("namespace/name");
    StoreRef {
        family: Family::VaultSecrets,
        kind: "VaultAuth",
        namespace: namespace.into(),
        name: name.into(),
        reader: reader.into(),
        place: Some(Place { namespace: None, mount: Some("kv2".into()), version: KvVersion::V2 }),
    }
}

fn kubernetes() -> Value {
    json!({ "method": "kubernetes", "mount": "k8s", "kubernetes": { "role": "r", "serviceAccount": "a" } })
}

fn with(mut spec: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    spec.as_object_mut().expect("an object").extend(more);
    spec
}

fn plain() -> World {
    World::default()
        .with_connection("vault/default", json!({ "address": "http://vault:8200" }))
        .with_account("app/a")
        .with_auth("app/va", kubernetes())
}

#[test]
fn references_name_what_the_table_says() {
    for (text, expected) in [
        ("", Some("vault/default")),
        ("x", Some("app/x")),
        ("other/x", Some("other/x")),
        ("a/b/c", None),
        ("/x", None),
        ("x/", None),
        ("/", None),
    ] {
        let reference = Reference { field: "spec.vaultAuthRef", text, namespace: "app", operator: "vault" };
        let got = named(reference).ok().map(|(namespace, name)| format!("{namespace}/{name}"));
        assert_eq!(got.as_deref(), expected, "{text:?}");
    }
}

#[test]
fn namespaces_are_allowed_by_name_or_all() {
    for (to, allowed, expected) in [
        (("app", "x"), &[][..], true),
        (("vault", "default"), &[], true),
        (("vault", "default"), &["other"], true),
        (("vault", "x"), &[], false),
        (("other", "default"), &[], false),
        (("other", "x"), &["app"], true),
        (("other", "x"), &["*"], true),
        (("other", "x"), &["a*"], false),
        (("other", "x"), &["*", "x"], false),
        (("other", "x"), &["*", "app"], true),
    ] {
        let allowed: Vec<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(may_refer("app", to, &allowed, "vault"), expected, "{to:?} {allowed:?}");
    }
}

#[test]
fn a_store_is_opened_with_what_it_was_made_from() {
    let vaults = Vaults::default();
    let opened = now(vaults.open(&plain(), &store("app/va", "app"), &defaults())).map_err(|it| it.trouble);
    let opened = opened.expect("all is there");
    let parts: Vec<_> = opened.made_from.iter().map(|it| format!("{} {}/{}", it.kind, it.namespace, it.name)).collect();
    assert_eq!(parts, ["ServiceAccount app/a", "VaultAuth app/va", "VaultConnection vault/default"]);
    let expected = identity::cache_key(
        "kubernetes",
        Version { uid: &uid("VaultAuth", "app/va"), generation: 1 },
        Version { uid: &uid("VaultConnection", "vault/default"), generation: 1 },
        &uid("ServiceAccount", "app/a"),
    );
    assert_eq!(opened.cache_key, expected);
}

#[test]
fn one_login_serves_all_places_until_something_changes() {
    let vaults = Vaults::default();
    let made_of = |world: &World, at: &StoreRef| {
        now(vaults.open(world, at, &defaults())).map_err(|it| it.trouble).expect("all is there");
        let held = vaults.held(&login(at)).expect("it was opened");
        (held.made_of, held.vault)
    };
    let world =
        plain().with_account("b/a").with_auth("app/va", with(kubernetes(), json!({ "allowedNamespaces": ["*"] })));
    let at = store("app/va", "app");
    let elsewhere = StoreRef { place: Some(Place { namespace: Some("ns1".into()), ..Place::default() }), ..at.clone() };
    let (first, _) = made_of(&world, &at);
    assert_eq!(made_of(&world, &elsewhere).0, first);
    assert_eq!(vaults.open.lock().expect("nobody fails").len(), 1);
    let opened = now(vaults.open(&world, &elsewhere, &defaults())).map_err(|it| it.trouble).expect("all is there");
    assert!(opened.cache_key.is_some_and(|it| it.ends_with("-ns1")), "a clone for another Vault namespace");

    // Another namespace reads with another ServiceAccount.
    assert_ne!(made_of(&world, &store("app/va", "b")).0, first);
    let other = world.with_auth("app/va", with(kubernetes(), json!({ "headers": { "X": "1" } })));
    assert_ne!(made_of(&other, &at).0, first);
    vaults.forget("app", "va");
    assert!(vaults.open.lock().expect("nobody fails").is_empty());
}

#[test]
fn what_is_missing_is_named_and_watched_for() {
    let shared =
        || plain().with_auth("shared/va", with(kubernetes(), json!({ "vaultConnectionRef": "vault/default" })));
    for (what, world, at, said, watched) in [
        ("no VaultAuth", World::default(), "app/va", "there is no VaultAuth app/va", "VaultAuth app/va"),
        (
            "no connection",
            World::default().with_auth("app/va", kubernetes()),
            "app/va",
            "there is no VaultConnection vault/default",
            "VaultConnection vault/default",
        ),
        (
            "a bare name is in the VaultAuth's namespace",
            plain().with_auth("app/va", with(kubernetes(), json!({ "vaultConnectionRef": "other" }))),
            "app/va",
            "there is no VaultConnection app/other",
            "VaultConnection app/other",
        ),
        (
            "too many parts",
            plain().with_auth("app/va", with(kubernetes(), json!({ "vaultConnectionRef": "a/b/c" }))),
            "app/va",
            "spec.vaultConnectionRef is `name` or `namespace/name`, not \"a/b/c\"",
            "VaultAuth app/va",
        ),
        (
            "no ServiceAccount where it is read",
            shared().with_auth(
                "shared/va",
                with(
                    kubernetes(),
                    json!({ "allowedNamespaces": ["app"], "vaultConnectionRef": "vault/default",
                     "kubernetes": { "role": "r", "serviceAccount": "b" } }),
                ),
            ),
            "shared/va",
            "there is no ServiceAccount app/b",
            "ServiceAccount app/b",
        ),
        ("not allowed", shared(), "shared/va", "may not use the VaultAuth shared/va", "VaultAuth shared/va"),
        (
            "the operator's namespace",
            plain().with_auth("vault/x", with(kubernetes(), json!({ "allowedNamespaces": ["*"] }))),
            "vault/x",
            "spec.vaultConnectionRef is empty",
            "VaultAuth vault/x",
        ),
        (
            "not served",
            plain().with_auth("app/va", json!({ "method": "aws", "mount": "aws", "aws": { "role": "r" } })),
            "app/va",
            "\"aws\" is not served yet",
            "VaultAuth app/va",
        ),
        (
            "the spec makes no sense",
            plain().with_auth("app/va", json!({ "method": "kubernetes", "mount": 1 })),
            "app/va",
            "spec.mount: expected",
            "VaultAuth app/va",
        ),
        ("no spec", plain().with_auth("app/va", Value::Null), "app/va", "spec.method is empty", "VaultAuth app/va"),
    ] {
        let unopened = now(Vaults::default().open(&world, &store(at, "app"), &defaults())).err().expect(what);
        assert_eq!(unopened.trouble.reason, "VaultClientConfigError", "{what}");
        assert!(unopened.trouble.detail.contains(said), "{what}: {}", unopened.trouble.detail);
        let parts = unopened.looked_at.iter().map(|it| format!("{} {}/{}", it.kind, it.namespace, it.name));
        assert!(parts.clone().any(|it| it == watched), "{what}: {:?}", parts.collect::<Vec<_>>());
    }
}

#[test]
fn the_default_auth_is_open_to_all_and_reads_as_who_asks() {
    let world = plain().with_auth("vault/default", kubernetes());
    let opened = now(Vaults::default().open(&world, &store("vault/default", "app"), &defaults()));
    let opened = opened.map_err(|it| it.trouble).expect("the list does not count");
    assert!(opened.made_from.contains(&part("ServiceAccount", "app", "a")));
}

#[test]
fn each_method_takes_what_it_needs() {
    let folder = std::env::temp_dir().join(format!("leafseal-vault-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("id"), "s3cr3t\n").expect("a file for the test");
    fs::write(path("long"), vec![b'x'; (1 << 20) + 1]).expect("a file for the test");
    let world = plain().with_secret("app/s", "id", "s3cr3t\n").with_secret("app/j", "jwt", "e.y.j");
    let jwt = |block: Value| json!({ "method": "jwt", "mount": "/jwt/", "jwt": block });
    let app_role = |block: Value| json!({ "method": "appRole", "mount": "approle", "appRole": block });
    for (spec, expected) in [
        (kubernetes(), "jwt k8s Some(\"r\") app/a [] 600"),
        (
            with(
                kubernetes(),
                json!({ "kubernetes": { "role": "r", "serviceAccount": "a", "audiences": ["vault"],
                 "tokenExpirationSeconds": 900 } }),
            ),
            "jwt k8s Some(\"r\") app/a [\"vault\"] 900",
        ),
        (jwt(json!({ "role": "r", "serviceAccount": "a" })), "jwt jwt Some(\"r\") app/a [] 600"),
        (jwt(json!({ "secretRef": "j" })), "jwt jwt None e.y.j"),
        (jwt(json!({ "secretRef": "j", "serviceAccount": "a" })), "they exclude each other"),
        (jwt(json!({ "role": "r" })), "one of them is needed"),
        (jwt(json!({ "secretRef": "s" })), "holds nothing under \"jwt\""),
        (app_role(json!({ "roleId": "r", "secretRef": "s" })), "approle approle r s3cr3t"),
        (app_role(json!({ "roleId": "r", "secretIDPath": path("id") })), "approle approle r s3cr3t"),
        (app_role(json!({ "secretRef": "s" })), "spec.appRole.roleId is empty"),
        (app_role(json!({ "roleId": "r", "secretRef": "s", "secretIDPath": "/x" })), "they exclude each other"),
        (app_role(json!({ "roleId": "r", "secretIDPath": "x" })), "no absolute path"),
        (app_role(json!({ "roleId": "r", "secretIDPath": path("none") })), "secretIDPath"),
        (app_role(json!({ "roleId": "r", "secretIDPath": path("long") })), "longer than"),
        (app_role(json!({ "roleId": "r", "secretIDPath": folder.display().to_string() })), "no regular file"),
    ] {
        let auth: Object<VaultAuth> = object("app/va", spec.clone());
        let credentials = merged(&world, &auth, &defaults(), &mut Vec::new())
            .and_then(|it| now(credentials::of(&world, &it, "app", &mut Vec::new())));
        let told = match credentials.map(|it| it.auth) {
            Ok(Auth::Jwt { mount, role, jwt }) => {
                let token = now(jwt.token()).expect("it is there");
                format!("jwt {mount} {role:?} {}", token.expose_str().unwrap_or_default())
            }
            Ok(Auth::AppRole { mount, role_id, secret_id }) => {
                let [role_id, secret_id] = [&role_id, &secret_id].map(|it| it.expose_str().unwrap_or_default());
                format!("approle {mount} {role_id} {secret_id}")
            }
            Ok(other) => panic!("{other:?}"),
            Err(trouble) => {
                assert!(!trouble.detail.contains("s3cr3t"));
                trouble.detail
            }
        };
        assert!(told.contains(expected), "{spec}: {told}");
    }
    let of_path = |path: &str| identity::file_uid(path);
    assert_eq!(of_path(&path("id")), of_path(&path("id")), "one login, however often it is opened");
    fs::remove_dir_all(folder).expect("it is ours");
}

#[test]
fn connections_become_settings() {
    let world = World::default().with_secret("vault/ca", "ca.crt", "PEM");
    let base = json!({ "address": "https://vault:8200" });
    for (more, expected) in [
        (json!({}), Ok(())),
        (json!({ "caCertSecretRef": "ca", "tlsServerName": "v", "timeout": "5s" }), Ok(())),
        (json!({ "caCertSecretRef": "none" }), Err("there is no Secret vault/none")),
        (json!({ "caCertSecretRef": "ca", "caCertPath": "/x" }), Err("exclude each other")),
        (json!({ "caCertPath": "/etc/../x" }), Err("may not contain `..`")),
        (json!({ "headers": { "x-vault-namespace": "n" } }), Err("spec.headers")),
        (json!({ "timeout": "5" }), Err("spec.timeout")),
        (json!({ "address": "" }), Err("spec.address is empty")),
    ] {
        let connection: Object<VaultConnection> = object("vault/default", with(base.clone(), more.clone()));
        let settings = now(connected(&world, &connection, &mut Vec::new()));
        match (settings, expected) {
            (Ok(settings), Ok(())) => {
                let is_full = more.get("timeout").is_some();
                assert_eq!(settings.tls.authorities.as_deref(), is_full.then_some(&b"PEM"[..]));
                assert_eq!(settings.tls.server_name.as_deref(), is_full.then_some("v"));
                assert_eq!(settings.timeout.as_secs(), if is_full { 5 } else { 60 });
                assert!(!settings.tls.skip_verify);
            }
            (Err(trouble), Err(said)) => assert!(trouble.detail.contains(said), "{more}: {}", trouble.detail),
            (got, _) => panic!("{more}: {:?}", got.map(|it| it.address)),
        }
    }
}

fn merge(auth: Value, global: Value, defaults: &Defaults) -> Result<VaultAuthSpec, String> {
    let world = World::default().with_global("app/default", global.clone()).with_global("g/shared", global);
    let auth: Object<VaultAuth> = object("app/va", auth);
    merged(&world, &auth, defaults, &mut Vec::new()).map(|it| it.spec).map_err(|it| it.detail)
}

#[test]
fn a_global_fills_what_is_empty() {
    let global = json!({
        "allowedNamespaces": ["app"], "vaultConnectionRef": "c", "defaultVaultNamespace": "dns",
        "defaultAuthMethod": "kubernetes", "defaultMount": "dm",
        "kubernetes": { "role": "gr", "serviceAccount": "ga", "audiences": ["gv"], "tokenExpirationSeconds": 900,
            "namespace": "kns", "mount": "km" },
        "jwt": { "role": "jr", "serviceAccount": "ja" },
    });
    let by_default = json!({ "vaultAuthGlobalRef": { "allowDefault": true } });
    let spec = merge(by_default.clone(), global.clone(), &defaults()).expect("it is complete");
    let block = spec.kubernetes.expect("it is filled");
    assert_eq!((block.role.as_str(), block.token.service_account.as_str()), ("gr", "ga"));
    assert_eq!((block.token.audiences, block.token.token_expiration_seconds), (vec!["gv".to_owned()], 900));
    assert_eq!((spec.mount.as_str(), spec.namespace.as_str(), spec.vault_connection_ref.as_str()), ("km", "kns", "c"));

    let own = json!({
        "vaultAuthGlobalRef": { "name": "shared", "namespace": "g" }, "method": "jwt", "namespace": "own",
        "jwt": { "role": "own", "tokenExpirationSeconds": 600 }, "vaultConnectionRef": "mine",
    });
    let spec = merge(own, global.clone(), &defaults()).expect("it is complete");
    let block = spec.jwt.expect("it is filled");
    assert_eq!((block.role.as_str(), block.token.service_account.as_str()), ("own", "ja"));
    assert_eq!(
        (spec.mount.as_str(), spec.namespace.as_str(), spec.vault_connection_ref.as_str()),
        ("dm", "own", "mine")
    );

    let never = Defaults { globals: false, ..defaults() };
    assert!(merge(by_default, global.clone(), &never).is_err_and(|it| it.contains("does not allow default globals")));
    assert!(merge(json!({ "vaultAuthGlobalRef": {} }), global, &defaults()).is_err_and(|it| it.contains("names none")));
    let closed = json!({ "defaultAuthMethod": "kubernetes", "defaultMount": "m" });
    let foreign = json!({ "vaultAuthGlobalRef": { "name": "shared", "namespace": "g" } });
    assert!(merge(foreign, closed, &defaults()).is_err_and(|it| it.contains("may not use the VaultAuthGlobal")));
}

#[test]
fn headers_are_merged_as_asked() {
    let global =
        |method: Value| json!({ "headers": { "A": "global", "X": "global" }, "kubernetes": { "headers": method } });
    for (strategy, own, method, expected) in [
        ("union", json!({ "B": "own" }), json!({ "X": "method" }), json!({ "A": "global", "B": "own", "X": "method" })),
        ("union", json!({ "A": "own" }), json!({}), json!({ "A": "own", "X": "global" })),
        ("replace", json!({ "B": "own" }), json!({ "X": "method" }), json!({ "B": "own" })),
        ("replace", json!({}), json!({ "X": "method" }), json!({ "X": "method" })),
        ("replace", json!({}), json!({}), json!({ "A": "global", "X": "global" })),
        ("none", json!({ "B": "own" }), json!({ "X": "method" }), json!({ "B": "own" })),
        ("none", json!({}), json!({ "X": "method" }), json!({})),
    ] {
        let at = json!({ "allowDefault": true, "mergeStrategy": { "headers": strategy } });
        let auth = with(kubernetes(), json!({ "vaultAuthGlobalRef": at, "headers": own }));
        let spec = merge(auth, global(method), &defaults()).expect("it is complete");
        assert_eq!(json!(spec.headers), expected, "{strategy}");
    }
}

#[test]
fn default_globals_are_looked_for_at_home_first() {
    let named = |mount: &str| json!({ "defaultAuthMethod": "jwt", "defaultMount": mount, "jwt": { "secretRef": "s" } });
    let auth: Object<VaultAuth> = object("app/va", json!({ "vaultAuthGlobalRef": { "allowDefault": true } }));
    let mount = |world: &World| merged(world, &auth, &defaults(), &mut Vec::new()).map(|it| it.spec.mount).ok();
    let far = World::default().with_global("vault/default", named("far"));
    assert_eq!(mount(&far).as_deref(), Some("far"), "the operator's is open to all");
    assert_eq!(mount(&far.with_global("app/default", named("near"))).as_deref(), Some("near"));
    assert_eq!(mount(&World::default()), None);
}

#[test]
fn uids_are_read_from_metadata() {
    let metadata = ObjectMeta { uid: Some("u".into()), generation: Some(3), ..ObjectMeta::default() };
    assert_eq!(version(&metadata), Version { uid: "u", generation: 3 });
}
