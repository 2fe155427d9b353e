//! An operator that may not do everything: what it may is served, and what it may not is said.

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use leafseal_plane::Operator;
use leafseal_plane::cluster::{self, Right};
use serde_json::{Value, json};

use crate::world::{ES, VS, World, external_secret, static_secret};

/// The ClusterRole of the operator.
async fn role(world: &World) -> ClusterRole {
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    roles.get("leafseal-operator").await.expect("it was installed")
}

/// Takes verbs from every rule about a resource, and waits until the operator has them no more.
async fn take_away(world: &World, group: &str, resource: &str, verbs: &[&str]) {
    let mut role = role(world).await;
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|it| it == resource) {
            rule.verbs.retain(|it| !verbs.contains(&it.as_str()));
        }
    }
    role.rules.iter_mut().for_each(|it| it.retain(|rule| !rule.verbs.is_empty()));
    role.metadata.managed_fields = None;
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    roles.replace("leafseal-operator", &PostParams::default(), &role).await.expect("it is taken");
    for verb in verbs {
        is_refused(world, "", group, resource, verb).await;
    }
}

/// Waits until the operator may not do something in a namespace, or, where that is empty, in all of them.
async fn is_refused(world: &World, namespace: &str, group: &str, resource: &str, verb: &str) {
    let user = cluster::user_of(Operator::NAMESPACE, Operator::ACCOUNT);
    let right = Right { user: &user, namespace, group, resource, name: "", verb };
    cluster::heeds(&world.client, right, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_may_not_be_watched_are_read() {
    let Some(world) = World::start().await else { return };
    take_away(&world, "", "secrets", &["list", "watch"]).await;
    let namespace = world.namespace("blind", &world.bao.address()).await;
    world.write("app", "password-of-the-blind");
    world.apply(&namespace, external_secret("es", "vault", "app", "5s")).await;
    world.apply(&namespace, static_secret("vss", "app", "5s")).await;
    let operator = Operator::start(&world.plane, &[]).await;
    world.arrives(&namespace, "es", "password-of-the-blind").await;
    world.arrives(&namespace, "vss", "password-of-the-blind").await;

    // What somebody else did to them is noticed when they are read the next time.
    let wrong = Patch::Merge(json!({"stringData": {"password": "wrong"}}));
    for name in ["es", "vss"] {
        world.secrets(&namespace).patch(name, &PatchParams::default(), &wrong).await.expect("it is there");
    }
    world.arrives(&namespace, "es", "password-of-the-blind").await;
    world.arrives(&namespace, "vss", "password-of-the-blind").await;
    world.write("app", "another-password-of-the-blind");
    world.arrives(&namespace, "es", "another-password-of-the-blind").await;
    world.arrives(&namespace, "vss", "another-password-of-the-blind").await;

    // The right comes back while it runs, and with it the watch.
    Operator::install(&world.plane).await;
    world.write("app", "third-password-of-the-blind");
    world.arrives(&namespace, "es", "third-password-of-the-blind").await;
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_said_on_the_object() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("frozen", &world.bao.address()).await;
    world.write("app", "first-password");
    world.apply(&namespace, external_secret("es", "vault", "app", "3s")).await;
    let operator = Operator::start(&world.plane, &[]).await;
    world.arrives(&namespace, "es", "first-password").await;

    // Tokens of ServiceAccounts may not be made: the one who needs one says so.
    take_away(&world, "", "serviceaccounts/token", &["create"]).await;
    world
        .apply(
            &namespace,
            json!({"apiVersion": ES, "kind": "SecretStore", "metadata": {"name": "by-account"}, "spec": {"provider": {"vault": {
                "server": world.bao.address(), "path": "secret", "version": "v2",
                "auth": {"kubernetes": {"mountPath": "kubernetes", "role": "x", "serviceAccountRef": {"name": "default"}}},
            }}}}),
        )
        .await;
    let why = world.fails(&namespace, ES, "SecretStore", "by-account").await;
    world.apply(&namespace, external_secret("needs-it", "by-account", "app", "3s")).await;
    world.fails(&namespace, ES, "ExternalSecret", "needs-it").await;
    let said = world.statuses(&namespace).await;
    assert!(said.contains("forbidden") || why.contains("forbidden"), "{said}");

    // The others go on.
    world.write("app", "second-password");
    world.arrives(&namespace, "es", "second-password").await;
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}

/// What the ClusterRole grants, as Roles of some namespaces.
async fn narrow(world: &World, namespaces: &[&str]) {
    let role = role(world).await;
    for namespace in namespaces {
        for object in role_of(&role) {
            world.apply(namespace, object).await;
        }
    }
}

fn role_of(role: &ClusterRole) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "leafseal-operator-here"});
    [
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata, "rules": role.rules}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
               "roleRef": {"apiGroup": group, "kind": "Role", "name": "leafseal-operator-here"},
               "subjects": [{"kind": "ServiceAccount", "name": Operator::ACCOUNT, "namespace": Operator::NAMESPACE}]}),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_of_namespaces_are_enough_and_each_stands_for_itself() {
    let Some(world) = World::start().await else { return };
    let a = world.namespace("a", &world.bao.address()).await;
    let b = world.namespace("b", &world.bao.address()).await;
    narrow(&world, &[&a]).await;
    let bindings = "rbac.authorization.k8s.io/v1";
    let all = world.api("", bindings, "ClusterRoleBinding");
    let ours = all.list(&ListParams::default()).await.expect("they can be listed");
    for it in ours.into_iter().filter(|it| it.metadata.name.as_deref().is_some_and(|it| it.contains("leafseal"))) {
        world.delete("", bindings, "ClusterRoleBinding", &it.metadata.name.expect("it has a name")).await;
    }
    is_refused(&world, &b, "", "secrets", "create").await;
    is_refused(&world, &b, "external-secrets.io", "externalsecrets", "list").await;
    world.write("app", "password-of-namespaces");
    for namespace in [&a, &b] {
        world.apply(namespace, external_secret("es", "vault", "app", "5s")).await;
        world.apply(namespace, static_secret("vss", "app", "5s")).await;
    }
    // One of them is open, one is closed, one is not there.
    let operator = Operator::start(&world.plane, &[format!("--namespaces={a},{b},not-there")]).await;
    world.arrives(&a, "es", "password-of-namespaces").await;
    world.arrives(&a, "vss", "password-of-namespaces").await;
    assert_eq!(world.password(&b, "es").await, None);
    assert_eq!(world.password(&b, "vss").await, None);

    // It opens.
    narrow(&world, &[&b]).await;
    world.arrives(&b, "es", "password-of-namespaces").await;
    world.arrives(&b, "vss", "password-of-namespaces").await;

    // The other one goes, with all that is in it.
    world.delete("", "v1", "Namespace", &a).await;
    world.write("app", "second-password-of-namespaces");
    world.arrives(&b, "es", "second-password-of-namespaces").await;
    world.arrives(&b, "vss", "second-password-of-namespaces").await;
    world.nothing_leaked(&[&b]).await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_without_rights_does_not_stop_the_other() {
    let Some(world) = World::start().await else { return };
    let namespace = world.namespace("half", &world.bao.address()).await;
    take_away(&world, "external-secrets.io", "externalsecrets", &["list", "watch"]).await;
    world.write("app", "password-of-the-half");
    world.apply(&namespace, external_secret("es", "vault", "app", "5s")).await;
    world.apply(&namespace, static_secret("vss", "app", "5s")).await;
    let operator = Operator::start(&world.plane, &[]).await;
    world.arrives(&namespace, "vss", "password-of-the-half").await;
    assert_eq!(world.password(&namespace, "es").await, None);
    assert!(world.last_lines().contains("external-secrets is not served: no right to"), "{}", world.last_lines());
    Operator::install(&world.plane).await;
    world.arrives(&namespace, "es", "password-of-the-half").await;
    let (is_ready, _) = world.ready(&namespace, VS, "VaultStaticSecret", "vss").await.expect("it was looked at");
    assert!(is_ready);
    world.nothing_leaked(&[&namespace]).await;
    drop(operator);
}
