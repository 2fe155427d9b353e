//! The kinds of `generators.external-secrets.io` that are served (External Secrets, spec section 1.6).

use std::collections::BTreeMap;

use kube::api::ApiResource;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{RetrySettings, SecretWord};
use crate::api::Scope;

/// The API group of generators.
pub const GENERATORS_GROUP: &str = "generators.external-secrets.io";

/// A kind of generators that is served.
#[derive(Debug)]
pub struct GeneratorKind {
    /// The kind.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
    /// Where its objects live.
    pub scope: Scope,
    /// What a ClusterGenerator calls its spec; empty for ClusterGenerator itself.
    pub member: &'static str,
}

/// All of them.
pub static GENERATORS: &[GeneratorKind] = &[
    generator("Password", "passwords", "passwordSpec"),
    generator("UUID", "uuids", "uuidSpec"),
    generator("SSHKey", "sshkeys", "sshKeySpec"),
    generator("Fake", "fakes", "fakeSpec"),
    generator("VaultDynamicSecret", "vaultdynamicsecrets", "vaultDynamicSecretSpec"),
    GeneratorKind { kind: "ClusterGenerator", plural: "clustergenerators", scope: Scope::Cluster, member: "" },
];

const fn generator(kind: &'static str, plural: &'static str, member: &'static str) -> GeneratorKind {
    GeneratorKind { kind, plural, scope: Scope::Namespaced, member }
}

impl GeneratorKind {
    /// The kind of this name, if it is served.
    pub fn find(kind: &str) -> Option<&'static Self> {
        GENERATORS.iter().find(|it| it.kind == kind)
    }

    /// Where the cluster has its objects.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: GENERATORS_GROUP.to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: format!("{GENERATORS_GROUP}/v1alpha1"),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// `spec` of a Password.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PasswordSpec {
    /// How many characters: 24.
    pub length: Option<usize>,
    /// How many of them are digits: a quarter.
    pub digits: Option<usize>,
    /// How many of them are symbols: a quarter.
    pub symbols: Option<usize>,
    /// Which symbols there are.
    pub symbol_characters: Option<String>,
    /// True if no letter is a capital.
    pub no_upper: bool,
    /// True if characters may be there more than once.
    pub allow_repeat: bool,
    /// Under which keys: `password`.
    pub secret_keys: Vec<String>,
    /// How it is spelt: `raw`, `base64`, `base64url`, `base32`, `hex`.
    pub encoding: String,
}

/// `spec` of an SSHKey.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SshKeySpec {
    /// `rsa`, `ecdsa` or `ed25519`.
    pub key_type: String,
    /// How many bits.
    pub key_size: Option<usize>,
    /// What stands behind the public key.
    pub comment: String,
}

/// `spec` of a Fake.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FakeGeneratorSpec {
    /// The class of operators that serve it; empty for all.
    pub controller: String,
    /// What it gives.
    pub data: BTreeMap<String, SecretWord>,
}

/// `spec` of a VaultDynamicSecret, the generator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VaultGeneratorSpec {
    /// The class of operators that serve it; empty for all.
    pub controller: String,
    /// The Vault, as a store says it.
    pub provider: Value,
    /// What is asked.
    pub path: String,
    /// How: `GET`, `LIST`, `DELETE`, else it is written to.
    pub method: String,
    /// What is written.
    pub parameters: Option<Value>,
    /// What a `GET` asks with.
    pub get_parameters: BTreeMap<String, Vec<String>>,
    /// `Data`, `Auth` or `Raw`.
    pub result_type: String,
    /// How often requests are repeated.
    pub retry_settings: Option<RetrySettings>,
    /// True if an answer without content is no error.
    pub allow_empty_response: bool,
}

/// `spec` of a ClusterGenerator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClusterGeneratorSpec {
    /// Which kind it stands for.
    pub kind: String,
    /// The spec of that, under the kind's own name.
    pub generator: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::served_later;

    #[test]
    fn a_kind_is_served_or_will_be() {
        for row in GENERATORS {
            assert!(served_later::find(GENERATORS_GROUP, row.kind).is_none(), "{} is both", row.kind);
            assert_eq!(row.plural, format!("{}s", row.kind.to_lowercase()));
        }
    }
}
