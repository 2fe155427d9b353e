//! Secrets are read from real servers: every way in, every version, every way in which it can fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leafseal::provider::vault::{Auth, JwtSource, KvVersion, Place, Retries, Settings, TIMEOUT, Tls, Vault};
use leafseal::provider::{
    Address, Answer, Content, Observer, ProviderError, ProviderErrorKind, Query, SecretProvider, Validity,
};
use leafseal::secret::SecretText;
use leafseal_plane::OpenBao;
use leafseal_plane::certificates::Authority;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

/// Counts requests by what metrics call them.
#[derive(Default)]
struct Calls(Mutex<BTreeMap<(&'static str, bool), usize>>);

impl Observer for Calls {
    fn called(&self, provider: &'static str, call: &'static str, is_ok: bool) {
        assert_eq!(provider, "HashiCorp/Vault");
        *self.0.lock().expect("nobody panicked").entry((call, is_ok)).or_default() += 1;
    }
}

impl Calls {
    fn of(&self, call: &'static str) -> (usize, usize) {
        let calls = self.0.lock().expect("nobody panicked");
        let count = |is_ok| calls.get(&(call, is_ok)).copied().unwrap_or_default();
        (count(true), count(false))
    }
}

/// A signed token, or why there is none.
#[derive(Debug)]
struct Signed(String);

impl JwtSource for Signed {
    fn token(&self) -> Answer<'_, SecretText> {
        Box::pin(async { Ok(self.0.as_str().into()) })
    }
}

fn settings(address: String, auth: Auth) -> Settings {
    Settings {
        address,
        login_namespace: None,
        headers: BTreeMap::new(),
        login_headers: BTreeMap::new(),
        tls: Tls::default(),
        timeout: TIMEOUT,
        retries: Retries { max: 2, wait: Some(Duration::from_millis(20)) },
        auth,
        place: place("secret", KvVersion::V2),
        read_your_writes: false,
        forward_inconsistent: false,
    }
}

fn place(mount: &str, version: KvVersion) -> Place {
    Place { namespace: None, mount: Some(mount.to_owned()), version }
}

fn open(settings: Settings) -> (Vault, Arc<Calls>) {
    let calls = Arc::new(Calls::default());
    let vault = Vault::new(settings).expect("the settings make sense");
    (vault.with_observer(Arc::clone(&calls) as Arc<dyn Observer>), calls)
}

fn root(bao: &OpenBao) -> Vault {
    open(settings(bao.address(), Auth::Token(format!("{}\n", OpenBao::ROOT).as_str().into()))).0
}

fn key(key: &str) -> Address {
    Address { key: key.to_owned(), ..Address::default() }
}

fn version(key: &str, version: &str) -> Address {
    Address { version: Some(version.to_owned()), ..self::key(key) }
}

async fn read(vault: &Vault, at: &Address, property: &str) -> Result<String, ProviderError> {
    let value = vault.read(at).await?.value(Some(property))?;
    Ok(value.expose_str().expect("these are texts").to_owned())
}

async fn kind(vault: &Vault, at: &Address) -> ProviderErrorKind {
    vault.read(at).await.expect_err("there is nothing to read").kind
}

fn policy(bao: &OpenBao, name: &str, rules: &str) {
    bao.write(&format!("sys/policies/acl/{name}"), &json!({"policy": rules}));
}

/// A role of `approle` whose tokens are as `role` says.
fn approle(bao: &OpenBao, name: &str, role: &Value) -> Auth {
    if bao.read("sys/auth").expect("it is told")["data"].get("approle/").is_none() {
        bao.write("sys/auth/approle", &json!({"type": "approle"}));
    }
    let path = format!("auth/approle/role/{name}");
    bao.write(&path, role);
    let role_id = bao.read(&format!("{path}/role-id")).expect("the role is there");
    let secret_id = bao.write(&format!("{path}/secret-id"), &json!({}));
    let text = |it: &Value| SecretText::from(it.as_str().expect("it is text"));
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: text(&role_id["data"]["role_id"]),
        secret_id: text(&secret_id["data"]["secret_id"]),
    }
}

const READER: &str =
    r#"path "secret/*" { capabilities = ["read", "list"] } path "kv1/*" { capabilities = ["read", "list"] }"#;

/// A token as identity providers sign them.
fn signed(key: &KeyPair, claims: &Value) -> String {
    let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
    let header = encode(json!({"alg": "EdDSA", "typ": "JWT"}).to_string().as_bytes());
    let text = format!("{header}.{}", encode(claims.to_string().as_bytes()));
    let signature = key.sign(text.as_bytes()).expect("the key signs");
    format!("{text}.{}", encode(&signature))
}

#[tokio::test]
async fn every_method_lets_in_who_may_come_in() {
    let authority = Authority::new("plane");
    let Some(bao) = OpenBao::start_with_tls(&authority.issue("bao", &["localhost", "127.0.0.1"])) else { return };
    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    policy(&bao, "reader", READER);

    let app = approle(&bao, "app", &json!({"token_policies": "reader"}));
    bao.write("sys/auth/people", &json!({"type": "userpass"}));
    bao.write("auth/people/users/ann", &json!({"password": "hunter2hunter2", "token_policies": "reader"}));
    let person = |password: &str| Auth::Password {
        mount: "people".to_owned(),
        user: " ann".to_owned(),
        password: password.into(),
    };
    let signer = KeyPair::generate_for(&PKCS_ED25519).expect("there is randomness");
    bao.write("sys/auth/jwt", &json!({"type": "jwt"}));
    bao.write("auth/jwt/config", &json!({"jwt_validation_pubkeys": [signer.public_key_pem()], "default_role": "app"}));
    let role = json!({
        "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": "reader",
    });
    bao.write("auth/jwt/role/app", &role);
    let token = |audience: &str| {
        let claims = json!({"sub": "ann", "aud": audience, "exp": 4_102_444_800_u64, "iat": 1_700_000_000});
        Arc::new(Signed(signed(&signer, &claims)))
    };
    let jwt = |role: Option<&str>, audience: &str| Auth::Jwt {
        mount: "jwt".to_owned(),
        role: role.map(str::to_owned),
        jwt: token(audience),
    };
    for (name, auth) in [
        ("token", Auth::Token(SecretText::from("root\n"))),
        ("approle", app.clone()),
        ("userpass", person("hunter2hunter2")),
        ("jwt", jwt(Some("app"), "vault")),
        ("jwt without role", jwt(None, "vault")),
    ] {
        let (vault, calls) = open(settings(bao.address(), auth));
        assert_eq!(read(&vault, &key("app"), "password").await.expect(name), "x", "{name}");
        assert_eq!(vault.check().await.expect(name), Validity::Ready, "{name}");
        assert!(vault.identity().await.expect(name).is_some_and(|it| !it.is_empty()), "{name}");
        vault.close().await.expect(name);
        let (logins, revocations) = (calls.of("Login").0, calls.of("RevokeSelf").0);
        assert_eq!((logins, revocations), if name == "token" { (0, 0) } else { (1, 1) }, "{name}");
    }
    for (name, auth) in [
        ("token", Auth::Token("wrong-token-of-no-use".into())),
        ("userpass", person("wrong-password")),
        ("jwt", jwt(Some("app"), "somebody else")),
        ("jwt", jwt(Some("nobody"), "vault")),
        ("approle", Auth::AppRole { mount: "nothing".to_owned(), role_id: "r".into(), secret_id: "s".into() }),
        ("none", Auth::None),
    ] {
        let (vault, _) = open(settings(bao.address(), auth));
        let error = vault.read(&key("app")).await.expect_err("it is not let in");
        assert!(matches!(error.kind, ProviderErrorKind::Denied | ProviderErrorKind::Invalid), "{name}: {error:?}");
        assert!(!error.message.contains("wrong-") && !error.message.contains("eyJ"), "{name}: {error}");
    }

    let client = authority.issue("web", &["web"]);
    bao.write("sys/auth/cert", &json!({"type": "cert"}));
    let role = json!({"certificate": authority.certificate(), "token_policies": "reader"});
    bao.write("auth/cert/certs/web", &role);
    for role in [None, Some("web".to_owned())] {
        let tls = Tls {
            authorities: Some(authority.certificate().into_bytes()),
            identity: Some((client.certificate.clone().into_bytes(), client.key.as_str().into())),
            ..Tls::default()
        };
        let auth = Auth::Certificate { mount: "cert".to_owned(), role };
        let (vault, _) = open(Settings { tls, ..settings(bao.tls_address("127.0.0.1"), auth) });
        assert_eq!(read(&vault, &key("app"), "password").await.expect("it is let in"), "x");
    }
}

#[tokio::test]
async fn servers_have_to_prove_who_they_are() {
    let authority = Authority::new("plane");
    let Some(bao) = OpenBao::start_with_tls(&authority.issue("bao", &["vault.internal"])) else { return };
    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    let ours = || Some(authority.certificate().into_bytes());
    let others = Some(Authority::new("others").certificate().into_bytes());
    let named = |name: &str| Some(name.to_owned());
    for (name, tls, is_fine) in [
        ("a name", Tls { authorities: ours(), server_name: named("vault.internal"), ..Tls::default() }, true),
        ("another name", Tls { authorities: ours(), server_name: named("other.internal"), ..Tls::default() }, false),
        ("the address", Tls { authorities: ours(), ..Tls::default() }, false),
        ("others", Tls { authorities: others, server_name: named("vault.internal"), ..Tls::default() }, false),
        ("the system", Tls { server_name: named("vault.internal"), ..Tls::default() }, false),
        ("anything", Tls { skip_verify: true, ..Tls::default() }, true),
    ] {
        for host in ["127.0.0.1", "localhost"] {
            let (vault, _) =
                open(Settings { tls: tls.clone(), ..settings(bao.tls_address(host), Auth::Token("root".into())) });
            let result = read(&vault, &key("app"), "password").await;
            assert_eq!(result.is_ok(), is_fine, "{name} at {host}: {result:?}");
            if let Err(error) = result {
                assert!(matches!(error.kind, ProviderErrorKind::Unavailable { .. }), "{name}: {error:?}");
                assert!(error.message.contains("certificate"), "{name}: {error}");
            }
        }
    }
    for tls in [
        Tls { authorities: Some(b"nonsense".to_vec()), ..Tls::default() },
        Tls { identity: Some((b"nonsense".to_vec(), "nonsense".into())), ..Tls::default() },
    ] {
        let settings = Settings { tls, ..settings(bao.tls_address("localhost"), Auth::Token("root".into())) };
        assert_eq!(Vault::new(settings).expect_err("these are none").kind, ProviderErrorKind::Invalid);
    }
}

#[tokio::test]
async fn secrets_of_both_versions_are_read_as_they_were_written() {
    let Some(bao) = OpenBao::start() else { return };
    bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
    bao.write("sys/mounts/team/kv", &json!({"type": "kv", "options": {"version": "2"}}));
    let vault = root(&bao);
    let read = async |vault: &Vault, at: &Address, property: &str| read(vault, at, property).await;

    for value in ["old", "new"] {
        bao.write("secret/data/foo", &json!({"data": {"v": value, "h": "a<b>&c", "o": {"b": 1, "a": [true]}}}));
    }
    for name in ["foo", "secret/foo", "secret/data/foo", "/foo"] {
        assert_eq!(read(&vault, &key(name), "v").await.expect(name), "new");
    }
    let whole = read(&vault, &key("foo"), "").await.expect("it is there");
    assert_eq!(whole, r#"{"h":"a\u003cb\u003e\u0026c","o":{"a":[true],"b":1},"v":"new"}"#);
    assert_eq!(read(&vault, &version("foo", "1"), "v").await.expect("it is kept"), "old");
    for missing in [version("foo", "99"), key("nothing"), key("foo/below")] {
        assert_eq!(kind(&vault, &missing).await, ProviderErrorKind::Missing, "{missing:?}");
    }
    assert_eq!(kind(&vault, &version("foo", "x")).await, ProviderErrorKind::Invalid);
    let Ok(Content::Object(object)) = vault.read(&key("foo")).await else { panic!("it is an object") };
    let raw: Value = serde_json::from_slice(object.raw().expect("it is JSON").expose()).expect("it is JSON");
    assert_eq!((&raw["data"]["v"], &raw["metadata"]["version"]), (&json!("new"), &json!(2)));

    let team = vault.at(place("team/kv", KvVersion::V2));
    bao.write("team/kv/data/foo", &json!({"data": {"v": "team"}}));
    for name in ["foo", "team/kv/foo", "team/kv/data/foo"] {
        assert_eq!(read(&team, &key(name), "v").await.expect(name), "team");
    }
    bao.write("team/kv/data/team/kv/foo", &json!({"data": {"v": "inside"}}));
    let literal = team.clone().with_literal_keys();
    assert_eq!(read(&literal, &key("team/kv/foo"), "v").await.expect("it is there"), "inside");
    let anywhere = vault.at(Place::default());
    assert_eq!(read(&anywhere, &key("secret/foo"), "v").await.expect("it is there"), "new");
    let mistaken = vault.at(place("secret/data", KvVersion::V2)).read(&key("foo")).await.expect_err("it is not there");
    assert!(mistaken.is_missing() && mistaken.message.contains("without `/data`"), "{mistaken}");

    let v1 = vault.at(place("kv1", KvVersion::V1));
    let numbers: Value =
        serde_json::from_str(r#"{"n":5432,"f":1.50,"t":true,"z":null,"s":"é\n😀"}"#).expect("it is JSON");
    bao.write("kv1/numbers", &numbers);
    for (property, expected) in [("n", "5432"), ("t", "true"), ("z", ""), ("s", "é\n😀")] {
        assert_eq!(read(&v1, &key("numbers"), property).await.expect(property), expected);
    }
    assert_eq!(kind(&v1, &key("nothing")).await, ProviderErrorKind::Missing);
    let wrong = vault.at(place("kv1", KvVersion::V2)).read(&key("numbers")).await.expect_err("it is version 1");
    assert!(wrong.is_missing() || wrong.message.contains("failed to find data field"), "{wrong}");
    bao.write("kv1/data/numbers", &json!({"x": "y"}));
    let wrong = vault.at(place("kv1", KvVersion::V2)).read(&key("numbers")).await.expect_err("it is version 1");
    assert!(wrong.message.contains("failed to find data field"), "{wrong}");
    let wrong = vault.at(place("secret", KvVersion::V1)).read(&key("foo")).await.expect_err("it is version 2");
    assert!(wrong.is_missing(), "{wrong:?}");

    for name in ["my secret", "50%", "100%25", "ключ", "a+b", "q?x=1#f", "a;b", "semi:colon@x", "dots..x"] {
        let encoded = name.bytes().map(|it| format!("%{it:02X}")).collect::<String>();
        bao.write(&format!("secret/data/odd/{encoded}"), &json!({"data": {"name": name}}));
        assert_eq!(read(&vault, &key(&format!("odd/{name}")), "name").await.expect(name), name);
    }
    for name in ["../../sys/mounts", "odd/../foo", "./foo", "a\nb"] {
        assert_eq!(kind(&vault, &key(name)).await, ProviderErrorKind::Invalid, "{name}");
    }

    let large = "x".repeat(900 * 1024);
    bao.write("secret/data/large", &json!({"data": {"v": large}}));
    assert_eq!(read(&vault, &key("large"), "v").await.expect("it is not too large"), large);

    bao.write("secret/data/gone", &json!({"data": {"v": "1"}}));
    bao.write("secret/data/gone", &json!({"data": {"v": "2"}}));
    bao.write("secret/delete/gone", &json!({"versions": [2]}));
    assert_eq!(kind(&vault, &key("gone")).await, ProviderErrorKind::Missing);
    assert_eq!(read(&vault, &version("gone", "1"), "v").await.expect("it is kept"), "1");
    bao.write("secret/destroy/gone", &json!({"versions": [1]}));
    assert_eq!(kind(&vault, &version("gone", "1")).await, ProviderErrorKind::Missing);
}

#[tokio::test]
async fn numbers_of_version_one_keep_their_spelling() {
    let Some(bao) = OpenBao::start() else { return };
    bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
    // Sent as text: what is a number here would be spelt anew on the way.
    let body = r#"{"n":5432,"f":1.50,"big":12345678901234567890,"e":1e3}"#;
    let mut answer = ureq::post(format!("{}/v1/kv1/numbers", bao.address()))
        .header("X-Vault-Token", OpenBao::ROOT)
        .header("Content-Type", "application/json")
        .send(body)
        .expect("OpenBao answers");
    assert!(answer.status().is_success(), "{:?}", answer.body_mut().read_to_string());
    let vault = root(&bao).at(place("kv1", KvVersion::V1));
    let fields = vault.read(&key("numbers")).await.expect("it is there").fields(None).expect("it is an object");
    for (property, expected) in [("n", "5432"), ("f", "1.50"), ("big", "12345678901234567890"), ("e", "1e3")] {
        assert_eq!(read(&vault, &key("numbers"), property).await.expect(property), expected);
        assert_eq!(fields[property].expose_str(), Some(expected));
    }
}

#[tokio::test]
async fn secrets_are_found_and_told_about() {
    let Some(bao) = OpenBao::start() else { return };
    bao.write("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
    let vault = root(&bao);
    for name in ["app/a", "app/b", "app/x/y", "app/x/z", "db/c", "secret/own"] {
        bao.write(&format!("secret/data/{name}"), &json!({"data": {"name": name}}));
        bao.write(&format!("kv1/{name}"), &json!({"name": name}));
    }
    bao.write("secret/delete/app/b", &json!({"versions": [1]}));
    let custom = json!({"custom_metadata": {"env": "prod", "owner": "me", "created_time": "custom"}});
    bao.write("secret/metadata/app/a", &custom);
    bao.write("secret/metadata/db/c", &json!({"custom_metadata": {"env": "prod"}}));

    let find = async |vault: &Vault, path: Option<&str>, name: Option<&str>, tags: &[(&str, &str)]| {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let query = Query { path: path.map(str::to_owned), name: name.map(str::to_owned), tags };
        let found = vault.find(&query).await?;
        for (name, content) in &found {
            let value = content.value(Some("name")).expect("it says its name");
            assert_eq!(value.expose_str(), Some(name.as_str()));
        }
        Ok::<_, ProviderError>(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
    };
    let all = ["app/a", "app/x/y", "app/x/z", "db/c", "secret/own"];
    for (path, name, tags, expected) in [
        (None, None, &[][..], &all[..]),
        (Some("app"), Some(".*"), &[], &["app/a", "app/x/y", "app/x/z"]),
        (Some("/app/"), None, &[], &["app/a", "app/x/y", "app/x/z"]),
        (Some("app/x"), None, &[], &["app/x/y", "app/x/z"]),
        (None, Some("^app/a$"), &[], &["app/a"]),
        (None, Some("own|c"), &[], &["db/c", "secret/own"]),
        (None, Some("nothing"), &[], &[]),
        (None, None, &[("env", "prod")], &["app/a", "db/c"]),
        (None, None, &[("env", "prod"), ("owner", "me")], &["app/a"]),
        (None, Some("db"), &[("env", "ignored")], &["db/c"]),
    ] {
        assert_eq!(find(&vault, path, name, tags).await.expect("it is found"), expected, "{path:?} {name:?} {tags:?}");
    }
    assert!(find(&vault, Some("nothing"), None, &[]).await.is_err_and(|it| it.is_missing()));
    assert!(find(&vault, None, Some("("), &[]).await.is_err_and(|it| it.kind == ProviderErrorKind::Invalid));
    assert!(find(&vault, Some("../sys"), None, &[]).await.is_err_and(|it| it.kind == ProviderErrorKind::Invalid));
    let v1 = vault.at(place("kv1", KvVersion::V1));
    let found = find(&v1, Some("app"), None, &[]).await.expect("it is found");
    assert_eq!(found, ["app/a", "app/b", "app/x/y", "app/x/z"]);
    let refused = find(&v1, None, None, &[("env", "prod")]).await.expect_err("version 1 has no tags");
    assert_eq!(refused.message, "cannot perform find by tag operations with kv version v1");

    let told = Address { metadata: true, ..key("app/a") };
    for (property, expected) in [("owner", "me"), ("current_version", "1"), ("created_time", "custom")] {
        assert_eq!(read(&vault, &told, property).await.expect(property), expected);
    }
    let whole = read(&vault, &told, "").await.expect("it is told");
    let expected =
        r#"{"created_time":"custom","current_version":"1","delete_version_after":"0s","env":"prod","owner":"me"}"#;
    assert_eq!(whole, expected);
    let other = Address { metadata: true, ..key("db/c") };
    assert!(read(&vault, &other, "created_time").await.expect("it is told").ends_with('Z'));
    let nothing = vault.read(&Address { metadata: true, ..key("nothing") }).await.expect_err("there is no such secret");
    assert_eq!((nothing.is_missing(), nothing.message.as_str()), (false, "secret not found"));
    let refused = v1.read(&told).await.expect_err("version 1 tells nothing");
    assert_eq!(refused.message, "cannot perform metadata fetch operations with kv version v1");
}

#[tokio::test]
async fn one_login_serves_until_its_token_ends() {
    let Some(bao) = OpenBao::start() else { return };
    policy(&bao, "reader", READER);
    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    let auth = approle(&bao, "app", &json!({"token_policies": "reader"}));
    let (vault, calls) = open(settings(bao.address(), auth.clone()));
    let mut reads = Vec::new();
    for _ in 0..50 {
        let vault = vault.clone();
        reads.push(tokio::spawn(async move { read(&vault, &key("app"), "password").await }));
    }
    for read in reads {
        assert_eq!(read.await.expect("nobody panics").expect("it is read"), "x");
    }
    assert_eq!((calls.of("Login"), calls.of("ReadSecretData")), ((1, 0), (50, 0)));

    // What is not allowed is asked for once: the token is new, as it must be now.
    let (vault, calls) = open(settings(bao.address(), auth.clone()));
    read(&vault, &key("app"), "password").await.expect("it is read");
    let denied = vault.at(place("other", KvVersion::V2)).read(&key("x")).await.expect_err("it is not allowed");
    assert_eq!(denied.kind, ProviderErrorKind::Denied);
    assert!(denied.message.contains("permission denied"), "{denied}");
    assert_eq!(calls.of("Login"), (1, 0));

    let first = vault.identity().await.expect("there is a token").expect("it has an accessor");
    vault.close().await.expect("it is revoked");
    assert_eq!(calls.of("RevokeSelf"), (1, 0));
    assert!(vault.read(&key("app")).await.is_err_and(|it| it.message.contains("closed")));

    // A token that somebody else revokes: one more login, and nobody notices.
    let (vault, calls) = open(settings(bao.address(), auth));
    read(&vault, &key("app"), "password").await.expect("it is read");
    let second = vault.identity().await.expect("there is a token").expect("it has an accessor");
    assert_ne!(first, second);
    tokio::time::sleep(Duration::from_secs(11)).await;
    bao.write("auth/token/revoke-accessor", &json!({"accessor": second}));
    let mut reads = Vec::new();
    for _ in 0..20 {
        let vault = vault.clone();
        reads.push(tokio::spawn(async move { read(&vault, &key("app"), "password").await }));
    }
    for read in reads {
        assert_eq!(read.await.expect("nobody panics").expect("it is read"), "x");
    }
    assert_eq!(calls.of("Login"), (2, 0));
}

#[tokio::test]
async fn tokens_are_renewed_and_got_anew_before_anybody_notices() {
    let Some(bao) = OpenBao::start() else { return };
    policy(&bao, "reader", READER);
    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    let auth = approle(&bao, "app", &json!({"token_policies": "reader", "token_ttl": "12s", "token_max_ttl": "30s"}));
    let (vault, calls) = open(settings(bao.address(), auth));
    let auth = approle(&bao, "batch", &json!({"token_policies": "reader", "token_ttl": "12s", "token_type": "batch"}));
    let (batch, batch_calls) = open(settings(bao.address(), auth));
    let begun = Instant::now();
    while calls.of("RenewSelf").0 < 3 || calls.of("Login").0 < 2 || batch_calls.of("Login").0 < 4 {
        assert!(begun.elapsed() < Duration::from_secs(240), "{:?} {:?}", calls.0, batch_calls.0);
        for vault in [&vault, &batch] {
            assert_eq!(read(vault, &key("app"), "password").await.expect("it is read"), "x");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(calls.of("ReadSecretData").1 + batch_calls.of("ReadSecretData").1, 0, "nothing was refused");
    // Each token is used for two thirds of its life at least.
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 8).expect("it is small");
    assert!(calls.of("Login").0 <= most && batch_calls.of("Login").0 <= most, "{:?} {:?}", calls.0, batch_calls.0);
    assert_eq!((batch_calls.of("RenewSelf"), batch_calls.of("RevokeSelf")), ((0, 0), (0, 0)));
    assert_eq!(batch.identity().await.expect("there is a token"), None);
}

#[tokio::test]
async fn namespaces_are_kept_apart() {
    let Some(bao) = OpenBao::start() else { return };
    for name in ["team", "other"] {
        bao.write(&format!("sys/namespaces/{name}"), &json!({}));
        bao.write(&format!("{name}/sys/mounts/secret"), &json!({"type": "kv", "options": {"version": "2"}}));
        bao.write(&format!("{name}/secret/data/app"), &json!({"data": {"of": name}}));
    }
    let policies = r#"path "secret/*" { capabilities = ["read"] } path "other/secret/*" { capabilities = ["read"] }"#;
    bao.write("team/sys/policies/acl/reader", &json!({"policy": policies}));
    bao.write("team/sys/auth/people", &json!({"type": "userpass"}));
    bao.write("team/auth/people/users/ann", &json!({"password": "hunter2hunter2", "token_policies": "reader"}));
    let auth = Auth::Password { mount: "people".to_owned(), user: "ann".to_owned(), password: "hunter2hunter2".into() };
    let team = Place { namespace: Some("team/".to_owned()), ..place("secret", KvVersion::V2) };
    let (vault, _) = open(Settings { place: team.clone(), ..settings(bao.address(), auth.clone()) });
    assert_eq!(read(&vault, &key("app"), "of").await.expect("it is read"), "team");
    assert_eq!(vault.check().await.expect("it can be used"), Validity::Ready);
    let (elsewhere, _) = open(Settings { login_namespace: Some("team".to_owned()), ..settings(bao.address(), auth) });
    assert_eq!(read(&elsewhere.at(team), &key("app"), "of").await.expect("it is read"), "team");
    let of_root = root(&bao);
    let other = Place { namespace: Some("other".to_owned()), ..place("secret", KvVersion::V2) };
    assert_eq!(read(&of_root.at(other), &key("app"), "of").await.expect("it is read"), "other");
    assert_eq!(kind(&of_root, &key("app")).await, ProviderErrorKind::Missing);
}

#[tokio::test]
async fn a_server_that_cannot_answer_is_unavailable() {
    let Some(bao) = OpenBao::start() else { return };
    let vault = root(&bao);
    bao.write("secret/data/app", &json!({"data": {"password": "x"}}));
    read(&vault, &key("app"), "password").await.expect("it is read");
    bao.write("sys/seal", &json!({}));
    let error = vault.read(&key("app")).await.expect_err("it is sealed");
    assert!(matches!(error.kind, ProviderErrorKind::Unavailable { .. }), "{error:?}");
    assert!(error.message.contains("503"), "{error}");
    drop(bao);
    let error = vault.read(&key("app")).await.expect_err("it is gone");
    assert!(matches!(error.kind, ProviderErrorKind::Unavailable { .. }), "{error:?}");
}
