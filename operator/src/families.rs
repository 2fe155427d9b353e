//! Which families a cluster has and lets us serve: the versions of their kinds, our rights, and one line
//! that says why one is not served.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, ApiResource, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Error};

use crate::api::Kind;
use crate::api::external_secrets::{ClusterExternalSecret, ClusterSecretStore, ExternalSecret, SecretStore};
use crate::api::vault_secrets::{SecretTransformation, VaultAuth, VaultAuthGlobal, VaultConnection, VaultStaticSecret};
use crate::intent::Family;
use crate::reload::PodStatus;
use crate::settings::Settings;

/// What the shell must know about a family.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub family: Family,
    /// Its name in settings, logs and metrics.
    pub name: &'static str,
    /// The API group all of whose kinds are its own; empty if there is none.
    pub group: &'static str,
    /// The Lease of its original operator, so that both never act together.
    pub lease: &'static str,
    /// Who reports its events; `None`: each kind under its own name, as the original does.
    pub component: Option<&'static str>,
    /// Where the original serves its health.
    pub health_port: u16,
    kinds: &'static [KindRow],
    rights: &'static [Right],
}

/// All families.
pub const FAMILIES: &[Row] = &[
    Row {
        family: Family::ExternalSecrets,
        name: "external-secrets",
        group: ExternalSecret::GROUP,
        lease: "external-secrets-controller",
        component: Some("external-secrets"),
        health_port: 8082,
        kinds: &[
            kind::<ExternalSecret>(Need::Must),
            kind::<SecretStore>(Need::May),
            kind::<ClusterSecretStore>(Need::May).when(|it| it.cluster_secret_stores),
            kind::<ClusterExternalSecret>(Need::May).when(|it| it.cluster_external_secrets),
        ],
        rights: &[
            right(ExternalSecret::GROUP, "externalsecrets", &["get", "list", "watch"], Need::Must),
            right(ExternalSecret::GROUP, "externalsecrets/status", &["patch"], Need::Must),
            right(ExternalSecret::GROUP, "secretstores", &["list", "watch"], Need::Must),
            right(ExternalSecret::GROUP, "secretstores/status", &["patch"], Need::May),
            right(ExternalSecret::GROUP, "clustersecretstores", &["list", "watch"], Need::Everywhere),
            right(ExternalSecret::GROUP, "clustersecretstores/status", &["patch"], Need::Everywhere),
            right(ExternalSecret::GROUP, "clusterexternalsecrets", &["list", "watch"], Need::Everywhere),
            right(ExternalSecret::GROUP, "clusterexternalsecrets/status", &["patch"], Need::Everywhere),
            right(ExternalSecret::GROUP, "externalsecrets", &["create", "update", "delete"], Need::Everywhere)
                .when(|it| it.cluster_external_secrets),
            right("", "secrets", &["get", "create", "update"], Need::Must),
            right("", "secrets", &["list", "watch", "delete"], Need::May),
            right("", "configmaps", &["get", "list", "watch"], Need::May),
            right("", "namespaces", &["get", "list", "watch"], Need::Everywhere),
            right("", "serviceaccounts/token", &["create"], Need::May),
        ],
    },
    Row {
        family: Family::VaultSecrets,
        name: "vault-secrets",
        group: VaultStaticSecret::GROUP,
        lease: "b0d477c0.hashicorp.com",
        component: None,
        health_port: 8081,
        kinds: &[
            kind::<VaultStaticSecret>(Need::Must),
            kind::<VaultConnection>(Need::May),
            kind::<VaultAuth>(Need::May),
            kind::<VaultAuthGlobal>(Need::May),
            kind::<SecretTransformation>(Need::May),
        ],
        rights: &[
            right(VaultStaticSecret::GROUP, "vaultstaticsecrets", &["get", "list", "watch", "patch"], Need::Must),
            right(VaultStaticSecret::GROUP, "vaultstaticsecrets/status", &["patch"], Need::Must),
            right(VaultStaticSecret::GROUP, "vaultconnections", &["list", "watch"], Need::Must),
            right(VaultStaticSecret::GROUP, "vaultauths", &["list", "watch"], Need::Must),
            right(VaultStaticSecret::GROUP, "vaultauthglobals", &["list", "watch"], Need::May),
            right(VaultStaticSecret::GROUP, "secrettransformations", &["list", "watch"], Need::May),
            right("", "secrets", &["get", "create", "update"], Need::Must),
            right("", "secrets", &["list", "watch", "delete"], Need::May),
            right("", "serviceaccounts", &["get"], Need::May),
            right("", "serviceaccounts/token", &["create"], Need::May),
            right("apps", "deployments", &["get", "patch"], Need::May),
            right("apps", "statefulsets", &["get", "patch"], Need::May),
            right("apps", "daemonsets", &["get", "patch"], Need::May),
        ],
    },
    Row {
        family: Family::Reload,
        name: "reload",
        group: "",
        lease: "stakater-reloader-lock",
        // Each source has a reporter of its own.
        component: None,
        health_port: 9090,
        // Every cluster has the others.
        kinds: &[
            other("argoproj.io", "Rollout", "rollouts", &["v1alpha1"]).when(|it| it.reload.argo_rollouts),
            of_csi("SecretProviderClass", "secretproviderclasses"),
            of_csi(PodStatus::KIND, "secretproviderclasspodstatuses"),
        ],
        rights: &[
            right("", "secrets", &["get", "list", "watch"], Need::Must).when(|it| !it.reload.ignores_secrets()),
            right("", "configmaps", &["get", "list", "watch"], Need::Must).when(|it| !it.reload.ignores_config_maps()),
            right("", "namespaces", &["list", "watch"], Need::Everywhere)
                .when(|it| it.reload.namespace_labels().is_some()),
            right("apps", "deployments", &["get", "list", "watch", "patch"], Need::May),
            right("apps", "statefulsets", &["get", "list", "watch", "patch"], Need::May),
            right("apps", "daemonsets", &["get", "list", "watch", "patch"], Need::May),
            right("apps", "replicasets", &["list"], Need::May),
            right("apps", "controllerrevisions", &["list"], Need::May),
            right("batch", "cronjobs", &["get", "list", "watch", "patch"], Need::May)
                .when(|it| !it.reload.ignored_kinds().contains(&"CronJob")),
            right("batch", "jobs", &["get", "list", "watch", "patch", "create", "delete"], Need::May)
                .when(|it| !it.reload.ignored_kinds().contains(&"Job")),
            right("argoproj.io", "rollouts", &["get", "list", "watch", "patch", "update"], Need::May)
                .when(|it| it.reload.argo_rollouts),
            right(CSI, "secretproviderclasses", &["list", "watch"], Need::May),
            right(CSI, "secretproviderclasspodstatuses", &["list", "watch"], Need::May),
        ],
    },
];

/// The row of a family.
pub fn row(family: Family) -> &'static Row {
    FAMILIES.iter().find(|it| it.family == family).expect("every family has a row")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// Without it the family is not served.
    Must,
    /// Without it some objects cannot be served, and say so.
    May,
    /// As `May`, and only where all namespaces are served.
    Everywhere,
}

#[derive(Debug)]
struct KindRow {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
    need: Need,
    /// Whether anybody asks for it.
    when: fn(&Settings) -> bool,
}

const fn kind<K: Kind>(need: Need) -> KindRow {
    KindRow { group: K::GROUP, kind: K::KIND, plural: K::PLURAL, versions: K::VERSIONS, need, when: |_| true }
}

/// The group of the CSI driver for secrets.
pub const CSI: &str = "secrets-store.csi.x-k8s.io";

const fn of_csi(kind: &'static str, plural: &'static str) -> KindRow {
    other(CSI, kind, plural, &["v1", "v1alpha1"]).when(|it| it.reload.csi_integration)
}

/// A kind that somebody else brought.
const fn other(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
) -> KindRow {
    KindRow { group, kind, plural, versions, need: Need::May, when: |_| true }
}

impl KindRow {
    const fn when(self, asked: fn(&Settings) -> bool) -> Self {
        Self { when: asked, ..self }
    }
}

#[derive(Debug)]
struct Right {
    group: &'static str,
    /// The resource, and after a `/` the part of it.
    resource: &'static str,
    verbs: &'static [&'static str],
    need: Need,
    /// Whether what it is for is asked for.
    when: fn(&Settings) -> bool,
}

const fn right(group: &'static str, resource: &'static str, verbs: &'static [&'static str], need: Need) -> Right {
    Right { group, resource, verbs, need, when: |_| true }
}

impl Right {
    const fn when(self, asked: fn(&Settings) -> bool) -> Self {
        Self { when: asked, ..self }
    }
}

/// The kinds of a family that the cluster serves, each in the version that is used, and what we may not do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Served {
    kinds: BTreeMap<String, ApiResource>,
    lacking: Vec<Lack>,
}

/// Rights that are missing. As text: `watch deployments.apps in all namespaces`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Lack {
    group: &'static str,
    resource: &'static str,
    verbs: Vec<&'static str>,
    /// Where; `None`: everywhere.
    place: Option<String>,
}

impl Lack {
    fn resource(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.resource, self.group)
    }

    fn place(&self) -> String {
        self.place.as_ref().map_or("all namespaces".to_owned(), |it| format!("namespace {it}"))
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} in {}", self.verbs.join(", "), self.resource(), self.place())
    }
}

impl Served {
    /// The address of a kind; `None` if the cluster does not have it.
    pub fn resource<K: Kind>(&self) -> Option<&ApiResource> {
        self.kinds.get(K::KIND)
    }

    /// The address of a kind of the family that we may not know: objects of kinds that are not served are
    /// told so.
    pub fn other(&self, kind: &str) -> Option<&ApiResource> {
        self.kinds.get(kind)
    }

    /// False if the family was found to lack this right in a namespace; rights that it need not have are not
    /// looked for. The resource is spelt as in roles: `deployments`.
    pub fn may(&self, verb: &str, resource: &str, group: &str, namespace: &str) -> bool {
        let is_it = |it: &&Lack| it.group == group && it.resource == resource && it.verbs.contains(&verb);
        let is_there = |it: &Lack| it.place.as_ref().is_none_or(|place| place == namespace);
        !self.lacking.iter().filter(is_it).any(is_there)
    }
}

/// What was found about a family. As text, the one line that says what runs and why not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Which.
    pub family: Family,
    /// Its kinds.
    pub served: Served,
    /// What keeps it from being served; nothing if it is.
    pub obstacles: Vec<String>,
    /// Of the namespaces that are asked for, those that can be served.
    pub namespaces: Vec<String>,
}

impl Finding {
    /// True if the family can be served.
    pub fn is_servable(&self) -> bool {
        self.obstacles.is_empty()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = row(self.family);
        if !self.is_servable() {
            return write!(to, "{} is not served: {}", row.name, self.obstacles.join("; "));
        }
        let kinds: Vec<_> = row
            .kinds
            .iter()
            .filter_map(|it| Some(format!("{} {}", it.kind, self.served.kinds.get(it.kind)?.version)))
            .collect();
        write!(to, "{} is served", row.name)?;
        if !kinds.is_empty() {
            write!(to, ": {}", kinds.join(", "))?;
        }
        // What is missing alike is named together.
        let is_alike = |one: &Lack, next: &Lack| one.verbs == next.verbs && one.place == next.place;
        for (n, alike) in self.served.lacking.chunk_by(is_alike).enumerate() {
            let [.., last] = alike else { continue };
            let resources: Vec<_> = alike.iter().map(Lack::resource).collect();
            let begin = if n == 0 { "without the right to " } else { "" };
            write!(to, "; {begin}{} {} in {}", last.verbs.join(", "), resources.join(", "), last.place())?;
        }
        Ok(())
    }
}

/// Finds out whether a family can be served.
///
/// # Errors
///
/// If the API server does not answer.
pub async fn survey(client: &Client, family: Family, settings: &Settings) -> Result<Finding, Error> {
    let row = row(family);
    let mut served = Served::default();
    // All kinds of a group are asked for, or none is.
    let mut groups: Vec<_> = row.kinds.iter().filter(|it| (it.when)(settings)).map(|it| it.group).collect();
    groups.dedup();
    for group in groups {
        choose(row, group, &discover(client, group).await?, &mut served);
    }
    let is_asked = |kind: &str| row.kinds.iter().all(|it| it.kind != kind || (it.when)(settings));
    served.kinds.retain(|kind, _| is_asked(kind));
    let mut finding = Finding { family, served, obstacles: Vec::new(), namespaces: Vec::new() };
    for kind in row.kinds.iter().filter(|it| it.need == Need::Must) {
        if !finding.served.kinds.contains_key(kind.kind) {
            let versions = kind.versions.join(" or ");
            finding.obstacles.push(format!("the cluster has no {}.{} in {versions}", kind.plural, kind.group));
        }
    }
    // Rights to kinds that are not there would be asked in vain.
    if finding.is_servable() {
        review(client, row, settings, &mut finding).await?;
    }
    Ok(finding)
}

/// The resources of a group: by version, their names in URLs and their kinds.
async fn discover(client: &Client, group: &str) -> Result<BTreeMap<String, Vec<(String, String)>>, Error> {
    let mut found = BTreeMap::new();
    let groups = client.list_api_groups().await?;
    let versions = groups.groups.into_iter().find(|it| it.name == group).map(|it| it.versions).unwrap_or_default();
    for version in versions {
        let list = match client.list_api_group_resources(&version.group_version).await {
            Ok(it) => it,
            // It went while we asked.
            Err(Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error),
        };
        let names = list.resources.into_iter().filter(|it| !it.name.contains('/')).map(|it| (it.name, it.kind));
        found.insert(version.version, names.collect());
    }
    Ok(found)
}

fn choose(row: &Row, group: &str, found: &BTreeMap<String, Vec<(String, String)>>, served: &mut Served) {
    for (version, names) in found {
        for (plural, kind) in names {
            let is_it = |it: &&KindRow| it.group == group && it.kind == kind && it.plural == plural;
            let preferred = row.kinds.iter().find(is_it).map(|it| it.versions);
            let rank = |it: &str| match preferred {
                Some(versions) => versions.iter().position(|known| *known == it),
                // Of the groups of others it wants what it knows.
                None => (group == row.group).then_some(0),
            };
            let Some(own) = rank(version) else { continue };
            let better = served.kinds.get(kind).and_then(|it| rank(&it.version)).is_none_or(|held| own < held);
            if better {
                let gvk = GroupVersionKind::gvk(group, version, kind);
                served.kinds.insert(kind.clone(), ApiResource::from_gvk_with_plural(&gvk, plural));
            }
        }
    }
}

async fn review(client: &Client, row: &Row, settings: &Settings, finding: &mut Finding) -> Result<(), Error> {
    if settings.namespaces.is_empty() {
        let (obstacles, lacking) = review_in(client, row, settings, &finding.served, None).await?;
        finding.obstacles = obstacles.iter().map(|it| format!("no right to {it}")).collect();
        finding.served.lacking = lacking;
        return Ok(());
    }
    // A namespace that is gone, or closed to us, takes no other with it.
    let mut closed = Vec::new();
    for namespace in &settings.namespaces {
        let (obstacles, lacking) = review_in(client, row, settings, &finding.served, Some(namespace)).await?;
        if obstacles.is_empty() {
            finding.namespaces.push(namespace.clone());
            finding.served.lacking.extend(lacking);
        } else {
            closed.extend(obstacles);
        }
    }
    match finding.namespaces.is_empty() {
        true => finding.obstacles = closed.iter().map(|it| format!("no right to {it}")).collect(),
        false => finding.served.lacking.extend(closed),
    }
    Ok(())
}

/// What is missing in one place, or everywhere: what keeps the family from being served there, and what
/// keeps some objects.
async fn review_in(
    client: &Client,
    row: &Row,
    settings: &Settings,
    served: &Served,
    place: Option<&str>,
) -> Result<(Vec<Lack>, Vec<Lack>), Error> {
    let (mut obstacles, mut lacking) = (Vec::new(), Vec::new());
    let is_asked = |it: &&Right| (it.when)(settings) && (place.is_none() || it.need != Need::Everywhere);
    for right in row.rights.iter().filter(is_asked) {
        let plural = right.resource.split('/').next().unwrap_or_default();
        // What the cluster does not have nobody needs a right to.
        let is_brought = row.kinds.iter().any(|it| it.group == right.group);
        if is_brought && !served.kinds.values().any(|it| it.group == right.group && it.plural == plural) {
            continue;
        }
        let mut verbs = Vec::new();
        for &verb in right.verbs {
            if !may(client, right, verb, place).await? {
                verbs.push(verb);
            }
        }
        if verbs.is_empty() {
            continue;
        }
        let Right { group, resource, need, .. } = *right;
        let lack = Lack { group, resource, verbs, place: place.map(str::to_owned) };
        match need {
            Need::Must => obstacles.push(lack),
            Need::May | Need::Everywhere => lacking.push(lack),
        }
    }
    Ok((obstacles, lacking))
}

async fn may(client: &Client, right: &Right, verb: &str, place: Option<&str>) -> Result<bool, Error> {
    let (resource, part) = right.resource.split_once('/').map_or((right.resource, None), |it| (it.0, Some(it.1)));
    let attributes = ResourceAttributes {
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: part.map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: place.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|it| it.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(served: &[(&str, &[(&str, &str)])]) -> BTreeMap<String, Vec<(String, String)>> {
        let own = |it: &[(&str, &str)]| it.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        served.iter().map(|it| (it.0.to_owned(), own(it.1))).collect()
    }

    fn served_of(family: Family, group: &str, found: &[(&str, &[(&str, &str)])]) -> Served {
        let mut served = Served::default();
        choose(row(family), group, &versions(found), &mut served);
        served
    }

    #[test]
    fn the_preferred_version_is_used() {
        let of = |found: &[_]| served_of(Family::ExternalSecrets, ExternalSecret::GROUP, found);
        let one: &[(&str, &str)] = &[("externalsecrets", "ExternalSecret")];
        for (found, version) in [
            (&[("v1", one), ("v1beta1", one)][..], Some("v1")),
            (&[("v1beta1", one)], Some("v1beta1")),
            (&[("v1alpha1", one)], None),
            (&[], None),
        ] {
            assert_eq!(of(found).resource::<ExternalSecret>().map(|it| it.version.as_str()), version);
        }
        let push = of(&[("v1alpha1", &[("pushsecrets", "PushSecret")])]);
        assert_eq!(push.other("PushSecret").map(|it| it.api_version.as_str()), Some("external-secrets.io/v1alpha1"));
    }

    #[test]
    fn of_the_groups_of_others_only_what_is_known_matters() {
        let found: &[(&str, &[(&str, &str)])] = &[("v1alpha1", &[("rollouts", "Rollout"), ("workflows", "Workflow")])];
        let served = served_of(Family::Reload, "argoproj.io", found);
        assert!(served.other("Rollout").is_some() && served.other("Workflow").is_none());
    }

    #[test]
    fn a_right_may_be_missing_in_one_namespace() {
        let lack = |place: Option<&str>| Lack {
            group: "apps",
            resource: "deployments",
            verbs: vec!["watch"],
            place: place.map(str::to_owned),
        };
        let may = |place: Option<&str>, verb| {
            let served = Served { lacking: vec![lack(place)], ..Served::default() };
            served.may(verb, "deployments", "apps", "a")
        };
        assert!(!may(None, "watch") && !may(Some("a"), "watch"));
        assert!(may(Some("b"), "watch") && may(None, "patch"));
    }

    #[test]
    fn a_line_says_what_runs_and_why_not() {
        let mut finding = Finding {
            family: Family::VaultSecrets,
            served: served_of(
                Family::VaultSecrets,
                VaultStaticSecret::GROUP,
                &[("v1beta1", &[("vaultstaticsecrets", "VaultStaticSecret")])],
            ),
            obstacles: vec![],
            namespaces: vec![],
        };
        finding.served.lacking = vec![
            Lack { group: "apps", resource: "daemonsets", verbs: vec!["get", "patch"], place: None },
            Lack { group: "apps", resource: "deployments", verbs: vec!["get", "patch"], place: None },
            Lack { group: "", resource: "secrets", verbs: vec!["list"], place: Some("a".to_owned()) },
        ];
        assert_eq!(
            finding.to_string(),
            "vault-secrets is served: VaultStaticSecret v1beta1; without the right to get, patch daemonsets.apps, \
             deployments.apps in all namespaces; list secrets in namespace a"
        );
        finding.obstacles.push("no right to get secrets in all namespaces".to_owned());
        assert_eq!(finding.to_string(), "vault-secrets is not served: no right to get secrets in all namespaces");
    }
}
