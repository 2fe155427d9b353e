//! What a scenario sees: it waits for what must come, and watches that nothing else does.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use leafseal_plane::Operator;
use serde_json::{Value, json};

use super::{PACE, Run, shortened};
use crate::compare;
use crate::objects::Objects;
use crate::scenario::{
    Columns, Count, EventStep, Expect, Forwarded, Number, Object, Posted, Requests, Rolling, Rolls, Server, Settle,
};
use crate::scenario::{Texts, Time, Unchanged};
use crate::world::written_after;

/// How much slower than a machine of one's own the machine of a test run may be, and what anything may take
/// there: what is late by less than this is not wrong.
const SLOWNESS: u32 = 4;
const LEAST: Duration = Duration::from_secs(120);

/// How long something is waited for that a specification wants within a time.
pub(super) fn patience(within: Time) -> Duration {
    (SLOWNESS * within.0).max(LEAST)
}

/// How many rows of what was seen a failure tells.
const TOLD: usize = 5;

impl Run {
    pub(super) async fn expect(&mut self, want: &Expect) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let got = self.objects.find(&want.kind, &want.name, want.namespace.as_deref()).await;
            let (differs, got) = match got {
                Ok(got) => (compare::difference(want, got.as_ref()), got),
                Err(error) => (Err(error), None),
            };
            match differs {
                Ok(()) => {
                    for (name, pointer) in &want.keep {
                        let found = got.as_ref().and_then(|it| it.pointer(pointer)).cloned();
                        self.names.set(name, found.ok_or_else(|| format!("no {pointer} in {got:?}"))?);
                    }
                    return Ok(());
                }
                Err(error) if begun.elapsed() > patience(want.within) => {
                    let got = got.map(|it| shortened(&without_managers(it))).unwrap_or_default();
                    return Err(format!("{error}\nit is {got}"));
                }
                Err(_) => tokio::time::sleep(PACE).await,
            }
        }
    }

    pub(super) async fn unchanged(&self, step: Unchanged) -> Result<(), String> {
        let of = step.of.into_vec();
        let begun = Instant::now();
        let first = self.versions(&of).await?;
        while begun.elapsed() < step.time.0 {
            tokio::time::sleep(PACE * 2).await;
            let versions = self.versions(&of).await?;
            if let Some(n) = first.iter().zip(&versions).position(|(a, b)| a != b) {
                return Err(format!("{} {} changed after {:?}", of[n].kind, of[n].name, begun.elapsed()));
            }
        }
        Ok(())
    }

    /// Waits until objects have kept their versions for a time.
    pub(super) async fn settle(&self, step: Settle) -> Result<(), String> {
        let of = step.of.into_vec();
        let begun = Instant::now();
        let (mut last, mut since) = (self.versions(&of).await?, Instant::now());
        while since.elapsed() < step.time.0 {
            if begun.elapsed() > patience(step.time) + step.time.0 {
                return Err("they change again and again".to_owned());
            }
            tokio::time::sleep(PACE * 2).await;
            let versions = self.versions(&of).await?;
            if versions != last {
                (last, since) = (versions, Instant::now());
            }
        }
        Ok(())
    }

    async fn versions(&self, of: &[Object]) -> Result<Vec<Value>, String> {
        let mut versions = Vec::new();
        for object in of {
            let found = self.objects.find(&object.kind, &object.name, object.namespace.as_deref()).await?;
            let found = found.unwrap_or(Value::Null);
            versions.push(json!([found["metadata"]["uid"], found["metadata"]["resourceVersion"]]));
        }
        Ok(versions)
    }

    /// Counts until it fits, or the time is over.
    async fn count(
        &self,
        count: &Count,
        what: impl AsyncFn(&Self) -> Result<(u64, String), String>,
    ) -> Result<(), String> {
        // What must come is waited for; that nothing comes is seen at once.
        let must_come = !count.fits(0) && count.at_most.is_none();
        let within = match count.within {
            Some(it) => patience(it),
            None if must_come => LEAST,
            None => Duration::ZERO,
        };
        let begun = Instant::now();
        loop {
            let (n, seen) = what(self).await?;
            if count.fits(n) {
                return Ok(());
            }
            if begun.elapsed() > within {
                return Err(format!("there are {n}:\n{seen}"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    pub(super) async fn event(&self, step: &EventStep) -> Result<(), String> {
        self.count(&step.count, async |run: &Self| {
            let events = run.objects.list("Event", step.namespace.as_deref()).await?;
            let name = Value::from(step.about.as_str());
            let is_about = |it: &&Value| compare::contains(&name, &it["involvedObject"]["name"], "").is_ok();
            let about: Vec<&Value> = events.iter().filter(is_about).collect();
            let fits = |it: &&&Value| {
                it["type"] == *step.kind
                    && step.reason.as_ref().is_none_or(|want| it["reason"] == **want)
                    && step.saying.as_ref().is_none_or(|want| it["message"].as_str().unwrap_or_default().contains(want))
            };
            let times = |it: &Value| {
                let count = it.pointer("/series/count").or_else(|| it.get("count")).and_then(Value::as_u64);
                count.unwrap_or(1).max(1)
            };
            let n = about.iter().filter(fits).map(|it| times(it)).sum();
            let seen: Vec<String> = about
                .iter()
                .map(|it| format!("{} {} {} ×{}", it["type"], it["reason"], it["message"], times(it)))
                .collect();
            Ok((n, seen.join("\n")))
        })
        .await
    }

    /// Counts the objects of a kind.
    pub(super) async fn number(&self, step: &Number) -> Result<(), String> {
        self.count(&step.count, async |run: &Self| {
            let all = run.objects.list(&step.of, step.namespace.as_deref()).await?;
            let like = step.like.clone().unwrap_or_else(|| json!({}));
            let n = all.iter().filter(|it| compare::contains(&like, it, "").is_ok()).count();
            let seen: Vec<String> = all.into_iter().take(TOLD).map(|it| shortened(&without_managers(it))).collect();
            Ok((n as u64, seen.join("\n")))
        })
        .await
    }

    /// Counts what was sent to the scenario's own server.
    pub(super) async fn posted(&self, step: &Posted) -> Result<(), String> {
        let hook = self.hook.as_ref().ok_or("nothing is sent: no step says $HOOK")?;
        self.count(&step.count, async |_: &Self| {
            let posts = hook.posts();
            let fits = |it: &&String| {
                step.body.as_ref().is_none_or(|want| *it == want) && step.with.iter().all(|want| it.contains(want))
            };
            let n = posts.iter().filter(fits).count() as u64;
            Ok((n, posts.join("\n")))
        })
        .await
    }

    pub(super) async fn forwarded(&self, step: &Forwarded) -> Result<(), String> {
        let proxy = self.proxy.as_ref().ok_or("nobody goes over it: no step says $PROXY")?;
        self.count(&step.count, async |_: &Self| {
            let heads = proxy.heads();
            let fits = |it: &&String| {
                step.with.iter().all(|want| it.contains(&want.to_lowercase()))
                    && !step.without.iter().any(|no| it.contains(&no.to_lowercase()))
            };
            Ok((heads.iter().filter(fits).count() as u64, heads.join("\n")))
        })
        .await
    }

    pub(super) async fn columns(&self, step: &Columns) -> Result<(), String> {
        let want: Value = step.are.clone().into_iter().collect::<serde_json::Map<_, _>>().into();
        let begun = Instant::now();
        loop {
            let got = self.columns_of(&step.kind, &step.name).await?;
            let same = got.keys().all(|it| step.are.contains_key(it));
            let compared = compare::contains(&want, &Value::Object(got.clone()), "");
            let fits = compared.and(if same { Ok(()) } else { Err("there are more columns".to_owned()) });
            match fits {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > LEAST => return Err(format!("{error}: {got:?}")),
                Err(_) => tokio::time::sleep(PACE).await,
            }
        }
    }

    async fn columns_of(&self, kind: &str, name: &str) -> Result<serde_json::Map<String, Value>, String> {
        let table = self.objects.table(kind, name).await?;
        let all = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        Ok(all
            .iter()
            .filter(|it| it["priority"] == 0 || it["priority"].is_null())
            .zip(cells)
            .map(|(column, cell)| (column["name"].as_str().unwrap_or_default().to_owned(), cell))
            .collect())
    }

    pub(super) async fn requests(&self, step: &Requests) -> Result<(), String> {
        let since = step.since.as_deref().unwrap_or_default();
        let lengths = self.marks.get(since).ok_or_else(|| format!("there is no mark {since}"))?;
        self.count(&step.count, async |run: &Self| {
            let offset = if step.to == Server::Vault { lengths.vault } else { lengths.cluster };
            let text = written_after(&run.place.world().audit(step.to), offset);
            let is_own = |line: &str| match step.to {
                // Answers have lines too; what is done as root is the scenario's own.
                Server::Vault => line.contains(r#""type":"response""#) || line.contains(r#""token_policies":["root"]"#),
                Server::Cluster => !line.contains(&format!("{}:{}", Operator::NAMESPACE, Operator::ACCOUNT)),
            };
            let fits = |line: &&str| {
                !is_own(line)
                    && (step.to == Server::Vault || was_received_after(lengths.at, line))
                    && step.with.iter().all(|it| line.contains(it))
                    && !step.without.iter().any(|it| line.contains(it))
            };
            let lines: Vec<&str> = text.lines().filter(fits).collect();
            let seen: Vec<&str> = lines.iter().take(TOLD).map(|it| it.get(..1_000).unwrap_or(it)).collect();
            Ok((lines.len() as u64, seen.join("\n")))
        })
        .await
    }

    pub(super) async fn rolls(&self, step: &Rolls) -> Result<(), String> {
        let (kind, name) = step.of.split_once('/').ok_or("say Kind/name")?;
        let begun = Instant::now();
        loop {
            let n = self.revisions(kind, name).await?;
            // The first one is no roll, and its controller may be slow to make it.
            if n == step.are + 1 && (!step.finished || self.is_finished(kind, name).await?) {
                break;
            }
            if n > step.are + 1 || begun.elapsed() > patience(step.within) {
                let finished = if n == step.are + 1 { " and that is not finished" } else { "" };
                return Err(format!("it was rolled {} times{finished}", i128::from(n) - 1));
            }
            tokio::time::sleep(PACE).await;
        }
        let quiet = Instant::now();
        while quiet.elapsed() < step.time.map_or(Duration::ZERO, |it| it.0) {
            tokio::time::sleep(PACE * 3).await;
            let n = self.revisions(kind, name).await?;
            if n != step.are + 1 {
                return Err(format!(
                    "it was rolled {} times, the last after {:?}",
                    n.saturating_sub(1),
                    quiet.elapsed()
                ));
            }
        }
        Ok(())
    }

    /// How many templates a workload has had.
    async fn revisions(&self, kind: &str, name: &str) -> Result<u64, String> {
        let revisions = if kind == "Deployment" { "ReplicaSet" } else { "ControllerRevision" };
        let all = self.objects.list(revisions, None).await?;
        let is_its = |it: &&Value| {
            let owner = &it["metadata"]["ownerReferences"][0];
            owner["name"] == *name && owner["kind"] == *kind
        };
        Ok(all.iter().filter(is_its).count() as u64)
    }

    async fn is_finished(&self, kind: &str, name: &str) -> Result<bool, String> {
        Ok(self.objects.find(kind, name, None).await?.is_some_and(|it| is_whole(kind, &it)))
    }

    /// Looks on while workloads roll.
    pub(super) async fn rolling(&self, step: &Rolling) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let all = self.objects.list(&step.of, None).await?;
            let is_new = |it: &Value| compare::contains(&step.like, it, "").is_ok();
            let named = |name: &String| all.iter().find(|it| it["metadata"]["name"] == *name.as_str());
            let going: Vec<_> =
                all.iter().filter(|it| !is_whole(&step.of, it)).map(|it| &it["metadata"]["name"]).collect();
            if step.at_most.is_some_and(|it| going.len() > it) {
                return Err(format!("so many roll at once: {going:?}"));
            }
            for pair in step.order.windows(2) {
                let is_done = |it: &Value| is_new(it) && is_whole(&step.of, it);
                if named(&pair[1]).is_some_and(is_new) && !named(&pair[0]).is_some_and(is_done) {
                    return Err(format!("{} was rolled before {} was done", pair[1], pair[0]));
                }
            }
            let n = all.iter().filter(|it| is_new(it) && is_whole(&step.of, it)).count();
            if n == step.times {
                return Ok(());
            }
            if begun.elapsed() > patience(step.within) {
                return Err(format!("{n} were rolled, and these still roll: {going:?}"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until the controller of a workload has seen what was applied: else a test that is quick changes it
    /// before its first pods are asked for.
    pub(super) async fn is_taken_up(&self, object: &Value) -> Result<(), String> {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !["Deployment", "StatefulSet", "DaemonSet"].contains(&kind) {
            return Ok(());
        }
        let (name, namespace) = (&object["metadata"]["name"], &object["metadata"]["namespace"]);
        let begun = Instant::now();
        loop {
            let found = self.objects.find(kind, name.as_str().unwrap_or_default(), namespace.as_str()).await?;
            if found.as_ref().is_some_and(is_observed) {
                return Ok(());
            }
            if begun.elapsed() > LEAST {
                return Err(format!("no controller takes {kind} {name} up"));
            }
            tokio::time::sleep(PACE / 4).await;
        }
    }

    /// Waits until a change is refused: the API server takes a moment to heed a policy.
    pub(super) async fn is_refused(
        &self,
        saying: &str,
        attempt: impl AsyncFn(&Objects) -> Result<(), String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match attempt(&self.objects).await {
                Err(error) if error.contains(saying) => return Ok(()),
                it if begun.elapsed() > LEAST => {
                    return Err(it.map_or_else(
                        |error| format!("it is refused for another reason: {error}"),
                        |()| "the API server takes it".to_owned(),
                    ));
                }
                _ => tokio::time::sleep(PACE).await,
            }
        }
    }

    pub(super) async fn texts(&self, step: &Texts, source: impl Fn(&Self) -> String) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let text = source(self);
            let line_with = |it: &str| text.lines().find(|line| line.contains(it)).unwrap_or_default().to_owned();
            if let Some(found) = step.without.iter().find(|it| text.contains(*it)) {
                return Err(format!("it says `{found}`: {}", line_with(found)));
            }
            let missing = step.with.iter().find(|it| !text.contains(*it));
            let stays = step.no_more.iter().find(|it| text.contains(*it));
            let (None, None) = (missing, stays) else {
                if begun.elapsed() > patience(step.within) {
                    return Err(match (missing, stays) {
                        (Some(it), _) => format!("it does not say `{it}`"),
                        (_, it) => format!("it still says: {}", line_with(it.map_or("", String::as_str))),
                    });
                }
                tokio::time::sleep(PACE).await;
                continue;
            };
            return Ok(());
        }
    }

    /// What was written to the logs of the operators since the scenario began.
    pub(super) fn logged(&self) -> String {
        let since = |log: &Path| self.marks[""].logs.get(log).copied().unwrap_or(0);
        self.place.operators().logs().iter().map(|it| written_after(it, since(it))).collect()
    }
}

/// Whether the API server got the request of this line of its audit log after a point in time. It writes a line when
/// it has answered, and so one for what came before at any time after.
fn was_received_after(at: Timestamp, line: &str) -> bool {
    let text = line.split_once(r#""requestReceivedTimestamp":""#).and_then(|it| it.1.split('"').next());
    // Half a line is the last one, which is being written.
    text.and_then(|it| it.parse::<Timestamp>().ok()).is_some_and(|it| it >= at)
}

/// Whether all pods of a workload are of its last template, and ready.
fn is_whole(kind: &str, it: &Value) -> bool {
    let status = |field: &str| it["status"][field].as_i64().unwrap_or(0);
    let (asked, desired) = (it["spec"]["replicas"].as_i64().unwrap_or(1), status("desiredNumberScheduled"));
    let are = |n: i64, fields: &[&str]| fields.iter().all(|it| status(it) == n);
    is_observed(it)
        && match kind {
            "Deployment" => are(asked, &["replicas", "updatedReplicas", "availableReplicas"]),
            "StatefulSet" => {
                are(asked, &["replicas", "updatedReplicas", "readyReplicas"])
                    && it["status"]["updateRevision"] == it["status"]["currentRevision"]
            }
            _ => desired > 0 && are(desired, &["updatedNumberScheduled", "numberAvailable"]),
        }
}

fn is_observed(object: &Value) -> bool {
    object["status"]["observedGeneration"].as_i64() >= object["metadata"]["generation"].as_i64()
}

fn without_managers(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
