//! What runs, in a ConfigMap under the name that the original of reloads gives it (Reloader, spec section B.8):
//! tools that look for an installation find ours.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use serde_json::json;

use crate::settings::Settings;

/// Its name.
pub const NAME: &str = "reloader-meta-info";

/// The label by which it is looked for.
pub const LABEL: (&str, &str) = ("reloader.stakater.com/meta-info", "reloader");

/// Writes it, if the original's chart made us. Without it all goes on as well.
pub async fn keep(client: Client, settings: &Settings) {
    if settings.reload.deployment_name.is_empty() {
        return;
    }
    if let Err(error) = write(client, settings).await {
        let namespace = &settings.operator_namespace;
        tracing::warn!(namespace, name = NAME, "what runs is not written down: {error}");
    }
}

/// Creates or replaces it: the original's rights do not let us patch.
async fn write(client: Client, settings: &Settings) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client, &settings.operator_namespace);
    let wanted = config_map(settings);
    let options = PostParams::default();
    let Some(held) = maps.get_opt(NAME).await? else {
        return maps.create(&options, &wanted).await.map(drop);
    };
    if held.data == wanted.data && held.metadata.labels == wanted.metadata.labels {
        return Ok(());
    }
    let metadata = ObjectMeta { resource_version: held.metadata.resource_version, ..wanted.metadata };
    maps.replace(NAME, &options, &ConfigMap { metadata, ..wanted }).await.map(drop)
}

fn config_map(settings: &Settings) -> ConfigMap {
    let it = &settings.reload;
    let keys = settings.reload_rules().keys;
    let build = json!({ "releaseVersion": env!("CARGO_PKG_VERSION"), "program": env!("CARGO_PKG_NAME") });
    // No addresses: they are secrets.
    let options = json!({
        "autoReloadAll": it.auto_reload_all,
        "reloadStrategy": it.strategy_name(),
        "reloadOnCreate": it.reload_on_create,
        "reloadOnDelete": it.reload_on_delete,
        "syncAfterRestart": it.sync_after_restart,
        "isArgoRollouts": it.argo_rollouts,
        "enableHA": settings.leader_elect,
        "enableCSIIntegration": it.csi_integration,
        "namespaces": settings.namespaces,
        "namespacesToIgnore": it.ignored_namespaces(),
        "namespaceSelector": it.namespace_labels(),
        "resourceSelector": it.resource_labels(),
        "reloaderAutoAnnotation": keys.auto,
        "configmapReloaderAutoAnnotation": keys.config_map.auto,
        "secretReloaderAutoAnnotation": keys.secret.auto,
        "configmapUpdateOnChangeAnnotation": keys.config_map.reload,
        "secretUpdateOnChangeAnnotation": keys.secret.reload,
        "autoSearchAnnotation": keys.search,
        "searchMatchAnnotation": keys.matches,
        "ignoreResourceAnnotation": keys.ignore,
        "pauseDeploymentAnnotation": keys.pause_period,
        "pauseDeploymentTimeAnnotation": keys.paused_at,
    });
    let deployment = json!({ "name": it.deployment_name, "namespace": settings.operator_namespace });
    let data = [("buildInfo", build), ("reloaderOptions", options), ("deploymentInfo", deployment)];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), value.to_string())).collect()),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Start;

    #[test]
    fn what_runs_is_told_without_addresses() {
        let args = ["o", "--webhook-url=https://hooks.example.com/secret", "--deployment-name=reloader"];
        let Start { settings, .. } =
            Settings::read(args.map(str::to_owned).to_vec(), Vec::new()).expect("these are settings");
        let map = config_map(&settings);
        let data = map.data.as_ref().expect("it says something");
        assert_eq!(data.keys().collect::<Vec<_>>(), ["buildInfo", "deploymentInfo", "reloaderOptions"]);
        assert!(data["reloaderOptions"].contains(r#""reloadStrategy":"env-vars""#), "{data:?}");
        assert!(data["deploymentInfo"].contains(r#""name":"reloader""#), "{data:?}");
        assert!(!format!("{map:?}").contains("hooks"));
    }
}
