//! What a ServiceAccount may do in a namespace, asked of a real API server in its name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::{Value, json};

use crate::objects::PATIENCE;

/// Resources, and what may be done to them: `group/resource[name]` to verbs.
pub(crate) type Rights = BTreeMap<String, BTreeSet<String>>;

/// Waits until the rights of a ServiceAccount in a namespace are these: the API server heeds roles and bindings a
/// moment after it has taken them.
pub(crate) async fn has_rights(client: &Client, account: (&str, &str), namespace: &str, wanted: &Rights) {
    let begun = Instant::now();
    loop {
        let has = rights(client, account, namespace).await;
        if has == *wanted {
            return;
        }
        if begun.elapsed() > PATIENCE {
            assert_eq!(has, *wanted, "{account:?} in {namespace}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The rights of a ServiceAccount in a namespace, but for those that every ServiceAccount has.
pub(crate) async fn rights(client: &Client, account: (&str, &str), namespace: &str) -> Rights {
    let mut own = review(client, account, namespace).await;
    for (resource, verbs) in review(client, (account.0, "nobody"), namespace).await {
        if let Some(mine) = own.get_mut(&resource) {
            mine.retain(|it| !verbs.contains(it));
        }
    }
    own.retain(|_, verbs| !verbs.is_empty());
    own
}

async fn review(client: &Client, (home, name): (&str, &str), namespace: &str) -> Rights {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace},
    });
    let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews")
        .header("Content-Type", "application/json")
        .header("Impersonate-User", format!("system:serviceaccount:{home}:{name}"))
        .header("Impersonate-Group", "system:serviceaccounts")
        .header("Impersonate-Group", format!("system:serviceaccounts:{home}"))
        .header("Impersonate-Group", "system:authenticated")
        .body(serde_json::to_vec(&review).expect("it is JSON"))
        .expect("this is a request");
    let answer: Value = client.request(request).await.expect("everybody may ask what they may do");
    assert_eq!(answer["status"]["incomplete"], false, "{answer}");
    let mut rights = Rights::new();
    for rule in answer["status"]["resourceRules"].as_array().expect("there are rules") {
        let names = texts(&rule["resourceNames"]).map(|it| format!("[{it}]")).collect::<Vec<_>>();
        let names = if names.is_empty() { vec![String::new()] } else { names };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for name in &names {
                    let key = format!("{group}/{resource}{name}");
                    let verbs = texts(&rule["verbs"]).map(str::to_owned);
                    rights.entry(key.trim_start_matches('/').to_owned()).or_default().extend(verbs);
                }
            }
        }
    }
    rights
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Rights as a table: on each line a resource and the verbs.
pub(crate) fn table(lines: &[&str]) -> Rights {
    let mut rights = Rights::new();
    for line in lines.iter().flat_map(|it| it.lines()).map(str::trim).filter(|it| !it.is_empty()) {
        let mut words = line.split_whitespace().map(str::to_owned);
        rights.entry(words.next().expect("it is not empty")).or_default().extend(words);
    }
    rights
}
