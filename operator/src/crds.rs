//! The CustomResourceDefinitions of every kind that the operator knows, as `operator/deploy/crds/` has them.

/// Embeds the files of `operator/deploy/crds/` by their names.
macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../deploy/crds/", $name, ".yaml")))),*]
    };
}

/// Every definition, by its name in the cluster.
pub const CRDS: &[(&str, &str)] = embed![
    "acraccesstokens.generators.external-secrets.io",
    "beyondtrustworkloadcredentialsdynamicsecrets.generators.external-secrets.io",
    "cloudsmithaccesstokens.generators.external-secrets.io",
    "clusterexternalsecrets.external-secrets.io",
    "clustergenerators.generators.external-secrets.io",
    "clusterpushsecrets.external-secrets.io",
    "clustersecretstores.external-secrets.io",
    "csisecrets.secrets.hashicorp.com",
    "ecrauthorizationtokens.generators.external-secrets.io",
    "externalsecrets.external-secrets.io",
    "fakes.generators.external-secrets.io",
    "gcraccesstokens.generators.external-secrets.io",
    "generatorstates.generators.external-secrets.io",
    "githubaccesstokens.generators.external-secrets.io",
    "gitlabdeploytokens.generators.external-secrets.io",
    "grafanas.generators.external-secrets.io",
    "hcpauths.secrets.hashicorp.com",
    "hcpvaultsecretsapps.secrets.hashicorp.com",
    "mfas.generators.external-secrets.io",
    "passwords.generators.external-secrets.io",
    "pushsecrets.external-secrets.io",
    "quayaccesstokens.generators.external-secrets.io",
    "secretstores.external-secrets.io",
    "secrettransformations.secrets.hashicorp.com",
    "sshkeys.generators.external-secrets.io",
    "stssessiontokens.generators.external-secrets.io",
    "uuids.generators.external-secrets.io",
    "vaultauthglobals.secrets.hashicorp.com",
    "vaultauths.secrets.hashicorp.com",
    "vaultconnections.secrets.hashicorp.com",
    "vaultdynamicsecrets.generators.external-secrets.io",
    "vaultdynamicsecrets.secrets.hashicorp.com",
    "vaultpkisecrets.secrets.hashicorp.com",
    "vaultstaticsecrets.secrets.hashicorp.com",
    "webhooks.generators.external-secrets.io",
];

/// All of them as one stream of YAML documents, for `kubectl apply --server-side`.
pub fn print() -> String {
    CRDS.iter().map(|(_, text)| *text).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use serde::Deserialize;
    use serde_json::Value;

    use super::{CRDS, print};
    use crate::api::external_secrets::{ClusterSecretStore, ExternalSecret, SecretStore};
    use crate::api::vault_secrets::{
        SecretTransformation, VaultAuth, VaultAuthGlobal, VaultConnection, VaultStaticSecret,
    };
    use crate::api::{Kind, Scope};

    fn definitions() -> BTreeMap<&'static str, Value> {
        CRDS.iter().map(|(name, text)| (*name, serde_yaml::from_str(text).expect("it is YAML"))).collect()
    }

    #[test]
    fn every_definition_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .flatten()
            .map(|it| it.file_name().to_string_lossy().trim_end_matches(".yaml").to_owned())
            .collect();
        assert_eq!(there, CRDS.iter().map(|(name, _)| (*name).to_owned()).collect());
    }

    #[test]
    fn the_stream_holds_them_all_by_their_names() {
        let text = print();
        let names: Vec<String> = serde_yaml::Deserializer::from_str(&text)
            .map(|it| Value::deserialize(it).expect("it is YAML"))
            .map(|it| it["metadata"]["name"].as_str().expect("it has a name").to_owned())
            .collect();
        assert_eq!(names, CRDS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }

    fn check<K: Kind>() {
        let all = definitions();
        let definition = &all[&*format!("{}.{}", K::PLURAL, K::GROUP)];
        assert_eq!(definition["spec"]["names"]["kind"], K::KIND);
        let scope = match K::SCOPE {
            Scope::Namespaced => "Namespaced",
            Scope::Cluster => "Cluster",
        };
        assert_eq!(definition["spec"]["scope"], scope, "{}", K::KIND);
        let versions = definition["spec"]["versions"].as_array().expect("there are versions");
        let versions: Vec<&str> = versions.iter().filter_map(|it| it["name"].as_str()).collect();
        assert_eq!(versions, K::VERSIONS, "{}", K::KIND);
    }

    #[test]
    fn what_is_read_is_what_is_defined() {
        check::<ExternalSecret>();
        check::<SecretStore>();
        check::<ClusterSecretStore>();
        check::<VaultConnection>();
        check::<VaultAuth>();
        check::<VaultAuthGlobal>();
        check::<VaultStaticSecret>();
        check::<SecretTransformation>();
    }
}
