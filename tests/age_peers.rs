//! age keys of every kind, both ways, with real age and real sops.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use leafseal::keyservice::KeyService;
use leafseal::keyservice::age::{Age, Found, KIND, PluginHost, Spacing};
use leafseal::metadata::MasterKey;
use leafseal::secret::KeyPart;
use leafseal_tests::peer;
use pollster::block_on;
use tempfile::TempDir;

macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../lib/testdata/age-keys/", $name))
    };
}

/// A recipient, its identity, and the variable that names a file with such an identity.
const PAIRS: [(&str, &str, &str); 5] = [
    (key!("x25519.pub"), key!("x25519.txt"), "SOPS_AGE_KEY_FILE"),
    (key!("pq.pub"), key!("pq.txt"), "SOPS_AGE_KEY_FILE"),
    (key!("id_ed25519.pub"), key!("id_ed25519"), "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
    (key!("id_rsa.pub"), key!("id_rsa"), "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
    (key!("id_rsa_pem.pub"), key!("id_rsa_pem"), "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
];

/// A plugin that hides nothing, its recipient and its identity.
const PLUGIN_RECIPIENT: &str = "age1shtest1w3jhxaq8lcy3j";
const PLUGIN_IDENTITY: &str = "AGE-PLUGIN-SHTEST-1W3JHXAQCRE9HU";
const PLUGIN: &str = r#"#!/bin/sh
# Speaks age's plugin protocol; the "wrapped" file key is the file key.
case $1 in
--age-plugin=recipient-v1) want='-> wrap-file-key' give='-> recipient-stanza 0 shtest' ;;
--age-plugin=identity-v1) want='-> recipient-stanza 0 shtest' give='-> file-key 0' ;;
esac
while IFS= read -r line && [ "$line" != '-> done' ]; do
    case $line in "$want"*) IFS= read -r body ;; esac
done
IFS= read -r line
if [ -n "$body" ]; then
    printf '%s\n%s\n' "$give" "$body"
    IFS= read -r line
    IFS= read -r line
fi
printf -- '-> done\n\n'
"#;

/// Starts plugins as the command line does, but lets them say nothing.
struct Plugins;

impl PluginHost for Plugins {
    fn recipient(&self, recipient: &age::plugin::Recipient) -> Result<Box<dyn age::Recipient>, String> {
        let recipients = std::slice::from_ref(recipient);
        let plugin = age::plugin::RecipientPluginV1::new(recipient.plugin(), recipients, &[], age::NoCallbacks);
        plugin.map(|it| Box::new(it) as _).map_err(|it| it.to_string())
    }

    fn identity(&self, identity: &age::plugin::Identity) -> Result<Box<dyn age::Identity>, String> {
        let identities = std::slice::from_ref(identity);
        let plugin = age::plugin::IdentityPluginV1::new(identity.plugin(), identities, age::NoCallbacks);
        plugin.map(|it| Box::new(it) as _).map_err(|it| it.to_string())
    }
}

fn service(identity: &str, variable: &str) -> Age {
    let mut found = Found::default();
    match variable {
        "SOPS_AGE_KEY_FILE" => found.read("the identity", identity.as_bytes(), Spacing::Lines),
        _ => found.read_ssh_file("the identity", identity.as_bytes()),
    }
    Age::new(found).with_plugins(Plugins)
}

fn wrap(age: &Age, recipient: &str, data_key: &KeyPart) -> String {
    let key = KIND.master_key(recipient).expect("a recipient");
    block_on(age.wrap(&key, data_key)).expect("an age key").expect("wraps")
}

fn unwrap(age: &Age, enc: &str) -> KeyPart {
    let key = MasterKey { kind: "age".to_owned(), fields: Vec::new(), enc: Some(enc.to_owned()) };
    block_on(age.unwrap(&key)).expect("an age key").expect("unwraps")
}

/// Writes a file that only its owner may read, as some programs want identities to be.
fn write(folder: &TempDir, name: &str, text: &str, mode: u32) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("writable");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("ours");
    path.to_str().expect("UTF-8").to_owned()
}

/// Runs a program that must succeed, in an environment of its own but for `PATH`.
fn run(program: &Path, folder: &TempDir, variables: &[(&str, &str)], arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .env("SOPS_DISABLE_VERSION_CHECK", "1")
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer runs");
    child.stdin.take().expect("it was asked for").write_all(input).expect("the peer reads");
    let output = child.wait_with_output().expect("it was started");
    assert!(output.status.success(), "{program:?} {arguments:?}");
    output.stdout
}

fn with_age(program: &Path, (recipient, identity, variable): (&str, &str, &str)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(&folder, "identity", identity, 0o600);
    let (age, data_key) = (service(identity, variable), KeyPart::from_bytes(&[3; 32]).expect("32 bytes"));
    let theirs = run(program, &folder, &[], &["-a", "-r", recipient.trim()], data_key.expose());
    let theirs = String::from_utf8(theirs).expect("armour is ASCII");
    assert_eq!(unwrap(&age, &theirs).expose(), data_key.expose(), "{recipient}");
    let ours = wrap(&age, recipient, &data_key);
    let opened = run(program, &folder, &[], &["-d", "-i", &file], ours.as_bytes());
    assert_eq!(opened, data_key.expose(), "{recipient}");
}

/// sops encrypts, we unwrap its data key and wrap it again, sops decrypts.
fn with_sops(program: &Path, (recipient, identity, variable): (&str, &str, &str)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(&folder, "identity", identity, 0o600);
    let plain = write(&folder, "plain.json", "{\n\t\"a\": \"b\"\n}\n", 0o600);
    let sealed = run(program, &folder, &[], &["encrypt", "--age", recipient.trim(), &plain], b"");
    let sealed = String::from_utf8(sealed).expect("JSON is UTF-8");
    let start = sealed.find("\"enc\": \"").expect("a wrapped key") + 8;
    let end = start + sealed[start..].find('"').expect("its end");
    let age = service(identity, variable);
    let data_key = unwrap(&age, &sealed[start..end].replace("\\n", "\n"));
    let ours = wrap(&age, recipient, &data_key).replace('\n', "\\n");
    assert_ne!(sealed[start..end], ours);
    let resealed = write(&folder, "resealed.json", &format!("{}{ours}{}", &sealed[..start], &sealed[end..]), 0o600);
    let opened = run(program, &folder, &[(variable, &file)], &["decrypt", &resealed], b"");
    assert_eq!(opened, std::fs::read(plain).expect("it was written"), "{recipient}");
}

#[test]
fn age_and_we_read_each_other() {
    let Some(age) = peer("age") else { return };
    PAIRS.into_iter().for_each(|it| with_age(&age, it));
}

#[test]
fn sops_and_we_read_each_other() {
    for sops in ["sops-3.11", "sops-3.13"].into_iter().filter_map(peer) {
        PAIRS.into_iter().for_each(|it| with_sops(&sops, it));
    }
}

/// Plugins are looked for in `PATH`, so this runs itself again with another one.
#[test]
fn plugins_are_spoken_to_as_others_do() {
    const AGAIN: &str = "LEAFSEAL_TEST_PLUGIN";
    if std::env::var_os(AGAIN).is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(&folder, "age-plugin-shtest", PLUGIN, 0o700);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&path));
        let again = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "plugins_are_spoken_to_as_others_do", "--nocapture"])
            .env("PATH", std::env::join_paths(folders).expect("no colon in it"))
            .env(AGAIN, "1")
            .status();
        assert!(again.expect("it runs").success());
        return;
    }
    let pair = (PLUGIN_RECIPIENT, PLUGIN_IDENTITY, "SOPS_AGE_KEY_FILE");
    let (age, data_key) = (service(PLUGIN_IDENTITY, pair.2), KeyPart::from_bytes(&[3; 32]).expect("32 bytes"));
    assert_eq!(unwrap(&age, &wrap(&age, PLUGIN_RECIPIENT, &data_key)).expose(), data_key.expose());
    if let Some(age) = peer("age") {
        with_age(&age, pair);
    }
    for sops in ["sops-3.11", "sops-3.13"].into_iter().filter_map(peer) {
        with_sops(&sops, pair);
    }
}
