//! Carries plans out: the only module that writes to the cluster.
//!
//! Every write is guarded: by the `resourceVersion` that was observed, by the UID of what is deleted,
//! or by there being nothing yet. Who lost a race plans again.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::Unread;
use crate::engine::watch::Place;
use crate::error::{Refused, Retry};
use crate::lease::Gate;
use crate::plan::Action;
use crate::reload::{Change, Held};

/// Whom fields belong to that reloads write: those who compare what is there with what they want know this name.
const RELOADER: &str = "Reloader";

/// Writes to one cluster, while its gate is open.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    gate: Gate,
}

impl Writer {
    /// A writer that uses `client`.
    pub fn new(client: Client, gate: Gate) -> Self {
        Self { client, gate }
    }

    /// Refuses when somebody else may be acting by now.
    fn check(&self) -> Result<(), Refused> {
        if self.gate.held() {
            return Ok(());
        }
        let said = "the Lease was lost: another operator acts now".to_owned();
        Err(Refused { said, retry: Retry::OnChange, is_forbidden: false })
    }

    /// Does to the Secret at `at` what was planned, in the name of `manager`. Returns what the API server
    /// made of it; `None` if nothing is there now.
    ///
    /// # Errors
    ///
    /// If the API server refuses. Then nothing was written, except that a Secret whose type changes may
    /// be gone: the next attempt makes it.
    pub async fn carry_out(&self, at: &Place, manager: &str, action: Action) -> Result<Option<Secret>, Refused> {
        self.check()?;
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &at.0);
        let by = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
        match action {
            Action::Keep => Ok(None),
            Action::Create(secret) => {
                let made = secrets.create(&by, &secret).await;
                made.map(Some).map_err(|error| without_data(error.into(), &secret))
            }
            Action::Replace(secret) => {
                let replaced = secrets.replace(&at.1, &by, &secret).await;
                replaced.map(Some).map_err(|error| without_data(error.into(), &secret))
            }
            Action::Delete { uid, resource_version } => {
                self.delete(&secrets, &at.1, uid, Some(resource_version)).await?;
                Ok(None)
            }
            Action::Recreate { uid, secret } => {
                self.delete(&secrets, &at.1, uid, None).await?;
                let made = secrets.create(&by, &secret).await;
                made.map(Some).map_err(|error| without_data(error.into(), &secret))
            }
        }
    }

    /// Deletes an object if it is still the one that is meant. One that is gone already is fine.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn delete<K>(
        &self,
        api: &Api<K>,
        name: &str,
        uid: String,
        resource_version: Option<String>,
    ) -> Result<(), Refused>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        self.check()?;
        let only = Preconditions { uid: Some(uid), resource_version };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        gone_is_fine(api.delete(name, &params).await).map(drop)
    }

    /// Changes the status of a custom resource: only the fields that `change` has. Returns the object as
    /// it is then; `None` if it is gone, which is fine.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn report(&self, api: &Api<Unread>, name: &str, change: Value) -> Result<Option<Unread>, Refused> {
        self.check()?;
        let patch = Patch::Merge(json!({ "status": change }));
        gone_is_fine(api.patch_status(name, &PatchParams::default(), &patch).await)
    }

    /// Puts a finalizer on a custom resource, or takes it off, if nobody changed the object meanwhile. Writes
    /// nothing where it is so already, and touches nothing else: the generation stays.
    ///
    /// # Errors
    ///
    /// If the API server refuses. An object that is gone is fine.
    pub async fn set_finalizer<K>(
        &self,
        api: &Api<K>,
        metadata: &ObjectMeta,
        finalizer: &str,
        is_wanted: bool,
    ) -> Result<(), Refused>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        if finalizers.iter().any(|it| it == finalizer) == is_wanted {
            return Ok(());
        }
        match is_wanted {
            true => finalizers.push(finalizer.to_owned()),
            false => finalizers.retain(|it| it != finalizer),
        }
        self.check()?;
        let change = json!({ "metadata": {
            "finalizers": finalizers,
            "resourceVersion": metadata.resource_version,
        }});
        let name = metadata.name.as_deref().unwrap_or_default();
        gone_is_fine(api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(change)).await).map(drop)
    }

    /// Makes an object of ours, or replaces the version that was read.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn put(&self, api: &Api<DynamicObject>, object: &DynamicObject) -> Result<(), Refused> {
        self.check()?;
        Ok(self.keep(api, object).await?)
    }

    /// Makes a Secret of the operator's own; `None` if it is there already.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn make(&self, api: &Api<Secret>, secret: &Secret) -> kube::Result<Option<Secret>> {
        match api.create(&PostParams::default(), secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            made => made.map(Some),
        }
    }

    /// Does to the workload `name`, which is the one of this `uid`, what reloads it. Returns the object as it is
    /// then: the workload, or the Job that was made.
    ///
    /// # Errors
    ///
    /// If the API server refuses. Then nothing was changed, except that a Job that is made anew may be gone.
    pub async fn roll(&self, api: &Api<Held>, name: &str, uid: &str, change: Change) -> Result<Held, Refused> {
        self.check()?;
        let by = PatchParams { field_manager: Some(RELOADER.to_owned()), ..PatchParams::default() };
        match change {
            Change::Strategic(change) => Ok(api.patch(name, &by, &Patch::Strategic(change)).await?),
            Change::Merge(change) => Ok(api.patch(name, &by, &Patch::Merge(change)).await?),
            Change::Replace(whole) => {
                let by = PostParams { field_manager: by.field_manager, ..PostParams::default() };
                let request = Request::new(api.resource_url());
                let request = request.replace(name, &by, whole.to_string().into_bytes());
                let request = request.map_err(|error| Refused::from(kube::Error::BuildRequest(error)))?;
                Ok(self.client.request(request).await?)
            }
            Change::Make(job) => Ok(self.make_job(job, false).await?),
            Change::Remake(job) => self.remake(api, name, uid, job).await,
        }
    }

    /// Deletes a Job and makes it anew.
    async fn remake(&self, api: &Api<Held>, name: &str, uid: &str, job: Value) -> Result<Held, Refused> {
        /// How often it is tried to make it: until then it is there no more.
        const ATTEMPTS: u32 = 30;
        const PAUSE: Duration = Duration::from_millis(500);
        // What nobody takes is better refused while the old one is still there.
        match self.make_job(job.clone(), true).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            tried => drop(tried?),
        }
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::background() };
        gone_is_fine(api.delete(name, &params).await)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.make_job(job.clone(), false).await {
                // The old one is still going, or the API server has no time.
                Err(_) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                made => return Ok(made?),
            }
        }
    }

    async fn make_job(&self, job: Value, dry_run: bool) -> kube::Result<Held> {
        let namespace = job["metadata"]["namespace"].as_str().unwrap_or_default();
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let by = PostParams { field_manager: Some(RELOADER.to_owned()), dry_run };
        let request = Request::new(api.resource_url()).create(&by, job.to_string().into_bytes());
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Makes a Job that follows one that was deleted.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn make_owed(&self, job: Value) -> Result<(), Refused> {
        self.check()?;
        Ok(self.make_job(job, false).await.map(drop)?)
    }

    /// Makes an object of the operator's own, or replaces the version that was read.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn keep<K>(&self, api: &Api<K>, object: &K) -> kube::Result<()>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = object.meta().name.as_deref().unwrap_or_default();
        match &object.meta().resource_version {
            Some(_) => api.replace(name, &PostParams::default(), object).await.map(drop),
            None => api.create(&PostParams::default(), object).await.map(drop),
        }
    }

    /// Restarts a workload with a patch that was made for it.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub async fn restart(&self, api: &Api<DynamicObject>, name: &str, patch: Patch<Value>) -> Result<(), Refused> {
        self.check()?;
        api.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn gone_is_fine<T>(answer: kube::Result<T>) -> Result<Option<T>, Refused> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self { said: error.to_string(), retry: Retry::BackOff, is_forbidden: false };
        };
        let retry = match status.code {
            // Somebody else was faster; or it is being made while its namespace goes.
            409 => Retry::Now,
            _ => Retry::BackOff,
        };
        Self { said: without_values(&status.message), retry, is_forbidden: status.code == 403 }
    }
}

/// What the API server says of an invalid object, without the values that it quotes: labels and annotations
/// may be made of secrets. Which field it is stands before.
fn without_values(said: &str) -> String {
    const LONGEST: usize = 400;
    // apimachinery: util/validation/field/errors.go, `Error.ErrorBody`.
    const QUOTES: &str = " value: \"";
    let mut told = String::new();
    let mut rest = said;
    while let Some((before, quoted)) = rest.split_once(QUOTES) {
        told.push_str(before);
        told.push_str(" value");
        let mut is_escaped = false;
        let end = quoted.find(|it| {
            let is_end = it == '"' && !is_escaped;
            is_escaped = it == '\\' && !is_escaped;
            is_end
        });
        rest = end.map_or("", |it| &quoted[it + 1..]);
    }
    told.push_str(rest);
    told.chars().filter(|it| !it.is_control()).take(LONGEST).collect()
}

/// The same without the data of a Secret that was refused: webhooks say what they like.
fn without_data(refused: Refused, secret: &Secret) -> Refused {
    /// Shorter values stand in too many words by chance.
    const SHORTEST: usize = 4;
    let mut said = refused.said;
    for value in secret.data.iter().flatten().map(|it| &it.1.0) {
        let text = std::str::from_utf8(value).ok().map(str::trim).filter(|it| it.len() >= SHORTEST);
        if let Some(text) = text.filter(|it| said.contains(*it)) {
            said = said.replace(text, "…");
        }
        let coded = base64_simd::STANDARD.encode_to_string(value);
        if value.len() >= SHORTEST && said.contains(&coded) {
            said = said.replace(&coded, "…");
        }
    }
    Refused { said, ..refused }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn what_is_refused_is_told_without_values() {
        for (said, told) in [
            (
                r#"Secret "x" is invalid: metadata.labels: Invalid value: "hunter \"2": a valid label must be short"#,
                r#"Secret "x" is invalid: metadata.labels: Invalid value: a valid label must be short"#,
            ),
            (
                r#"Secret "x" is invalid: [data[a b]: Invalid value: "a b": bad, type: Unsupported value: "y": no"#,
                r#"Secret "x" is invalid: [data[a b]: Invalid value: bad, type: Unsupported value: no"#,
            ),
            (r#"metadata.labels: Invalid value: "cut o"#, "metadata.labels: Invalid value"),
            ("the namespace is going", "the namespace is going"),
        ] {
            assert_eq!(without_values(said), told);
        }
        let data = [("a", "hunter2"), ("b", "1")].map(|it| (it.0.to_owned(), ByteString(it.1.into())));
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        let said = r#"admission webhook "w" denied the request: hunter2 is weak (aHVudGVyMg==, 1)"#.to_owned();
        let refused = without_data(Refused { said, retry: Retry::BackOff, is_forbidden: false }, &secret);
        assert_eq!(refused.said, r#"admission webhook "w" denied the request: … is weak (…, 1)"#);
    }
}
