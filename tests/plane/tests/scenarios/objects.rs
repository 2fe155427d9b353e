//! The kinds that scenarios speak of, and a client for all of them.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// Kind, group, version, plural, and whether it lies in namespaces. Where the version is missing, it is the
/// one that the scenario runs in.
const KINDS: &[(&str, &str, &str, &str, bool)] = &[
    ("ClusterExternalSecret", "external-secrets.io", "", "clusterexternalsecrets", false),
    ("ClusterGenerator", "generators.external-secrets.io", "v1alpha1", "clustergenerators", false),
    ("ClusterRole", "rbac.authorization.k8s.io", "v1", "clusterroles", false),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io", "v1", "clusterrolebindings", false),
    ("ClusterSecretStore", "external-secrets.io", "", "clustersecretstores", false),
    ("ConfigMap", "", "v1", "configmaps", true),
    ("ControllerRevision", "apps", "v1", "controllerrevisions", true),
    ("CronJob", "batch", "v1", "cronjobs", true),
    ("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions", false),
    ("DaemonSet", "apps", "v1", "daemonsets", true),
    ("Deployment", "apps", "v1", "deployments", true),
    ("Event", "", "v1", "events", true),
    ("ExternalSecret", "external-secrets.io", "", "externalsecrets", true),
    ("Fake", "generators.external-secrets.io", "v1alpha1", "fakes", true),
    ("HCPVaultSecretsApp", "secrets.hashicorp.com", "v1beta1", "hcpvaultsecretsapps", true),
    ("Job", "batch", "v1", "jobs", true),
    ("Lease", "coordination.k8s.io", "v1", "leases", true),
    ("Namespace", "", "v1", "namespaces", false),
    ("Password", "generators.external-secrets.io", "v1alpha1", "passwords", true),
    ("Pod", "", "v1", "pods", true),
    ("PushSecret", "external-secrets.io", "v1alpha1", "pushsecrets", true),
    ("ReplicaSet", "apps", "v1", "replicasets", true),
    ("Role", "rbac.authorization.k8s.io", "v1", "roles", true),
    ("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", true),
    ("Rollout", "argoproj.io", "v1alpha1", "rollouts", true),
    ("Secret", "", "v1", "secrets", true),
    ("SecretProviderClass", "secrets-store.csi.x-k8s.io", "v1", "secretproviderclasses", true),
    ("SecretProviderClassPodStatus", "secrets-store.csi.x-k8s.io", "v1", "secretproviderclasspodstatuses", true),
    ("SecretStore", "external-secrets.io", "", "secretstores", true),
    ("SecretTransformation", "secrets.hashicorp.com", "v1beta1", "secrettransformations", true),
    ("SSHKey", "generators.external-secrets.io", "v1alpha1", "sshkeys", true),
    ("ServiceAccount", "", "v1", "serviceaccounts", true),
    ("StatefulSet", "apps", "v1", "statefulsets", true),
    ("UUID", "generators.external-secrets.io", "v1alpha1", "uuids", true),
    ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", false),
    (
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        false,
    ),
    ("VaultAuth", "secrets.hashicorp.com", "v1beta1", "vaultauths", true),
    ("VaultAuthGlobal", "secrets.hashicorp.com", "v1beta1", "vaultauthglobals", true),
    ("VaultConnection", "secrets.hashicorp.com", "v1beta1", "vaultconnections", true),
    ("VaultDynamicSecret", "secrets.hashicorp.com", "v1beta1", "vaultdynamicsecrets", true),
    ("VaultStaticSecret", "secrets.hashicorp.com", "v1beta1", "vaultstaticsecrets", true),
];

/// The kinds whose statuses the operator writes: what is looked through for secrets.
pub(crate) const SERVED: &[&str] = &[
    "ClusterSecretStore",
    "ExternalSecret",
    "PushSecret",
    "SecretStore",
    "SecretTransformation",
    "VaultAuth",
    "VaultConnection",
    "VaultDynamicSecret",
    "VaultStaticSecret",
];

/// The kinds that keep the operator at work as long as they are there, those that others need last.
pub(crate) const WORKED_ON: &[&str] = &[
    "ExternalSecret",
    "PushSecret",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "SecretTransformation",
    "SecretStore",
    "VaultAuth",
    "VaultConnection",
];

/// All objects, as a scenario sees them: by kind and name, in its namespace unless it says otherwise.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Of External Secrets.
    pub(crate) version: String,
}

impl Objects {
    fn row(kind: &str) -> Result<&'static (&'static str, &'static str, &'static str, &'static str, bool), String> {
        KINDS
            .iter()
            .find(|it| it.0 == kind)
            .ok_or_else(|| format!("no scenario has spoken of a {kind} yet: add it to KINDS"))
    }

    /// How a kind is served.
    pub(crate) fn resource(&self, kind: &str) -> Result<ApiResource, String> {
        let (kind, group, version, plural, _) = Self::row(kind)?;
        let version = if version.is_empty() { &self.version } else { *version };
        Ok(ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural))
    }

    /// Whether objects of a kind lie in namespaces.
    pub(crate) fn is_namespaced(kind: &str) -> Result<bool, String> {
        Self::row(kind).map(|it| it.4)
    }

    fn api(&self, kind: &str, namespace: Option<&str>) -> Result<Api<DynamicObject>, String> {
        Ok(self.api_of(&self.resource(kind)?, Self::is_namespaced(kind)?, namespace))
    }

    fn api_of(&self, resource: &ApiResource, is_namespaced: bool, namespace: Option<&str>) -> Api<DynamicObject> {
        match is_namespaced {
            true => Api::namespaced_with(self.client.clone(), namespace.unwrap_or(&self.namespace), resource),
            false => Api::all_with(self.client.clone(), resource),
        }
    }

    /// An object as it is now.
    pub(crate) async fn find(&self, kind: &str, name: &str, namespace: Option<&str>) -> Result<Option<Value>, String> {
        let found = self.api(kind, namespace)?.get_opt(name).await.map_err(|error| error.to_string())?;
        Ok(found.map(|it| serde_json::to_value(it).expect("an object is JSON")))
    }

    /// All objects of a kind in a namespace.
    pub(crate) async fn list(&self, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>, String> {
        let found = self.api(kind, namespace)?.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        Ok(found.items.into_iter().map(|it| serde_json::to_value(it).expect("an object is JSON")).collect())
    }

    /// Fills what a manifest may leave out, and takes out who writes it.
    fn complete(&self, manifest: &mut Value) -> Result<(Api<DynamicObject>, String, String), String> {
        let kind = manifest["kind"].as_str().unwrap_or_default().to_owned();
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = manifest["metadata"]["namespace"].as_str().map(str::to_owned);
        let mut resource = self.resource(&kind)?;
        match manifest["apiVersion"].as_str() {
            Some(given) => given.clone_into(&mut resource.api_version),
            None => manifest["apiVersion"] = resource.api_version.clone().into(),
        }
        resource.version = resource.api_version.rsplit('/').next().unwrap_or_default().to_owned();
        let api = self.api_of(&resource, Self::is_namespaced(&kind)?, namespace.as_deref());
        let manager = manifest.as_object_mut().and_then(|it| it.remove("manager"));
        let manager = manager.as_ref().and_then(Value::as_str).unwrap_or("kubectl").to_owned();
        Ok((api, name, manager))
    }

    /// As `kubectl apply --server-side --force-conflicts`.
    pub(crate) async fn apply(&self, mut manifest: Value) -> Result<(), String> {
        let (api, name, manager) = self.complete(&mut manifest)?;
        let params = PatchParams::apply(&manager).force();
        api.patch(&name, &params, &Patch::Apply(&manifest)).await.map(drop).map_err(|error| error.to_string())
    }

    /// As `kubectl create`.
    pub(crate) async fn create(&self, mut manifest: Value) -> Result<(), String> {
        let (api, _, manager) = self.complete(&mut manifest)?;
        let object: DynamicObject = serde_json::from_value(manifest).map_err(|error| error.to_string())?;
        let params = PostParams { field_manager: Some(manager), ..PostParams::default() };
        api.create(&params, &object).await.map(drop).map_err(|error| error.to_string())
    }

    /// Patches an object, or its status.
    pub(crate) async fn patch(
        &self,
        (kind, name, namespace): (&str, &str, Option<&str>),
        manager: &str,
        status: bool,
        patch: &Patch<Value>,
    ) -> Result<(), String> {
        let api = self.api(kind, namespace)?;
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let done =
            if status { api.patch_status(name, &params, patch).await } else { api.patch(name, &params, patch).await };
        done.map(drop).map_err(|error| error.to_string())
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn delete(&self, kind: &str, name: &str, namespace: Option<&str>) -> Result<(), String> {
        match self.api(kind, namespace)?.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            it => it.map(drop).map_err(|error| error.to_string()),
        }
    }

    /// Deletes all objects of a kind in a namespace.
    pub(crate) async fn delete_all(&self, kind: &str, namespace: &str) -> Result<(), String> {
        let api = self.api(kind, Some(namespace))?;
        let deleted = api.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        deleted.map(drop).map_err(|error| error.to_string())
    }

    /// What `kubectl get` prints of an object: columns and their values.
    pub(crate) async fn table(&self, kind: &str, name: &str) -> Result<Value, String> {
        let url = self.api(kind, None)?.resource_url().to_owned();
        let request = http::Request::get(format!("{url}/{name}"))
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| error.to_string())
    }
}
