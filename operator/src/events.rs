//! What objects are told in events. Telling waits for nothing: a worker writes them, at a limited rate,
//! and the same words to the same object count up instead of standing there twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Pace;
use crate::families;
use crate::intent::Family;
use crate::metrics::Metrics;
use crate::plan::Note;
use crate::stop::{self, Stop, Stopper};

/// How many notes wait at most. More are counted and dropped: what holds is in the status.
const QUEUE: usize = 1024;
/// How many different notes are remembered.
const MEMORY: usize = 4096;
/// How long the same words count up.
const WINDOW: Duration = Duration::from_secs(600);
/// Writes in a second, and ahead of that.
const RATE: (u32, u32) = (50, 300);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest note that the API server takes (events.k8s.io/v1).
const LONGEST: usize = 1024;

/// Where events are told. Clones tell to the same worker.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Told>,
    metrics: Metrics,
}

/// The worker that writes events.
#[derive(Debug)]
pub struct Writer {
    stopper: Stopper,
    task: JoinHandle<()>,
}

/// The words that one object is told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Told {
    component: String,
    kind: String,
    api_version: String,
    namespace: String,
    name: String,
    uid: String,
    warning: bool,
    reason: &'static str,
    text: String,
}

/// Starts to write events. `instance` names this process.
pub fn start(client: Client, instance: String, metrics: Metrics) -> (Events, Writer) {
    let (queue, told) = mpsc::channel(QUEUE);
    let (stopper, stop) = stop::pair();
    let pace = Pace::new(RATE.0, RATE.1);
    let worker = Worker {
        client,
        instance: cut(&instance, 128).to_owned(),
        metrics: metrics.clone(),
        form: Form::Events,
        told,
        records: HashMap::new(),
        due: VecDeque::new(),
        pace,
        n_made: 0,
    };
    let task = tokio::spawn(worker.run(stop));
    (Events { queue, metrics }, Writer { stopper, task })
}

impl Events {
    /// Tells an object. Returns at once; when too much is waiting, the note is dropped and counted.
    pub fn tell(&self, family: Family, about: &ObjectReference, note: &Note) {
        let component = families::row(family).component.or(about.kind.as_deref()).unwrap_or_default();
        self.tell_as(component, about, note);
    }

    /// The same, reported by a `component` of its own.
    pub fn tell_as(&self, component: &str, about: &ObjectReference, note: &Note) {
        let told = Told {
            component: component.to_owned(),
            kind: about.kind.clone().unwrap_or_default(),
            api_version: about.api_version.clone().unwrap_or_default(),
            namespace: about.namespace.clone().unwrap_or_default(),
            name: about.name.clone().unwrap_or_default(),
            uid: about.uid.clone().unwrap_or_default(),
            warning: note.warning,
            reason: note.reason,
            text: cut(&note.text, LONGEST).to_owned(),
        };
        if self.queue.try_send(told).is_err() {
            self.metrics.event("dropped");
        }
    }
}

impl Writer {
    /// Writes what is waiting, for at most this long, and ends.
    pub async fn finish(mut self, patience: Duration) {
        self.stopper.stop();
        if tokio::time::timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// The beginning of `text` that is no longer than `longest` bytes.
fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// In which form events are written. Both are the same objects to the API server; rights to them differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// `events.k8s.io/v1`
    Events,
    /// `v1`, which is all that the original operators are granted.
    Core,
}

/// What was told before.
struct Record {
    /// The event, once it is written.
    event: Option<String>,
    count: i32,
    first: Timestamp,
    last: Timestamp,
    /// When it was first told, by our own clock.
    since: Instant,
    /// True if it waits to be written.
    waits: bool,
}

struct Worker {
    client: Client,
    instance: String,
    metrics: Metrics,
    form: Form,
    told: mpsc::Receiver<Told>,
    records: HashMap<Arc<Told>, Record>,
    due: VecDeque<Arc<Told>>,
    pace: Pace,
    n_made: u64,
}

impl Worker {
    async fn run(mut self, stop: Stop) {
        loop {
            while let Ok(told) = self.told.try_recv() {
                self.take(told);
            }
            if let Some(told) = self.due.pop_front() {
                let wait = self.pace.claim();
                // What came late is written as fast as it goes.
                tokio::select! {
                    () = tokio::time::sleep(wait) => (),
                    () = stop.asked() => (),
                }
                self.publish(told).await;
                continue;
            }
            if stop.is_asked() {
                return;
            }
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.take(told),
                    None => return,
                },
                () = stop.asked() => (),
            }
        }
    }

    fn take(&mut self, told: Told) {
        let now = Timestamp::now();
        let fresh = Record { event: None, count: 0, first: now, last: now, since: Instant::now(), waits: false };
        if self.records.len() >= MEMORY && !self.records.contains_key(&told) {
            self.records.retain(|_, it| it.waits || it.since.elapsed() < WINDOW);
            if self.records.len() >= MEMORY {
                self.metrics.event("dropped");
                return;
            }
        }
        let told = match self.records.get_key_value(&told) {
            Some((known, _)) => known.clone(),
            None => Arc::new(told),
        };
        let record = self.records.entry(told.clone()).or_insert(fresh);
        if record.since.elapsed() >= WINDOW && !record.waits {
            *record = Record { event: None, count: 0, first: now, last: now, since: Instant::now(), waits: false };
        }
        record.count = record.count.saturating_add(1);
        record.last = now;
        if !std::mem::replace(&mut record.waits, true) {
            self.due.push_back(told);
        }
    }

    async fn publish(&mut self, told: Arc<Told>) {
        let answer = match tokio::time::timeout(PATIENCE, self.write(&told)).await {
            Ok(it) => it,
            Err(_) => Err("the API server does not answer".to_owned()),
        };
        let Some(record) = self.records.get_mut(&told) else { return };
        record.waits = false;
        match answer {
            Ok(event) => {
                self.metrics.event(if record.count > 1 { "counted" } else { "written" });
                record.event = Some(event);
            }
            Err(why) => {
                self.metrics.event("failed");
                tracing::warn!(
                    kind = told.kind,
                    namespace = told.namespace,
                    name = told.name,
                    reason = told.reason,
                    "an event could not be written: {why}"
                );
            }
        }
    }

    /// Writes one event, or its new count; the name of the event.
    async fn write(&mut self, told: &Told) -> Result<String, String> {
        if let Some(event) = self.records.get(told).and_then(|it| it.event.clone()) {
            match self.count(told, &event).await {
                Ok(()) => return Ok(event),
                // Events go by themselves after an hour.
                Err(Error::Api(status)) if status.code == 404 => (),
                Err(error) => return Err(error.to_string()),
            }
        }
        match self.create(told).await {
            Err(Error::Api(status)) if matches!(status.code, 403 | 404) && self.form == Form::Events => {
                // 404 is an API server without this group, and also a namespace that is gone.
                self.form = Form::Core;
                let answer = self.create(told).await;
                if answer.is_err() {
                    self.form = Form::Events;
                }
                answer.map_err(|it| it.to_string())
            }
            answer => answer.map_err(|it| it.to_string()),
        }
    }

    async fn count(&self, told: &Told, event: &str) -> Result<(), Error> {
        let Some(record) = self.records.get(told) else { return Ok(()) };
        let namespace = home(told);
        let options = PatchParams::default();
        match self.form {
            Form::Events => {
                let series = json!({"count": record.count, "lastObservedTime": MicroTime(record.last)});
                let patch = Patch::Merge(json!({ "series": series }));
                Api::<Event>::namespaced(self.client.clone(), namespace).patch(event, &options, &patch).await?;
            }
            Form::Core => {
                let patch = Patch::Merge(json!({"count": record.count, "lastTimestamp": Time(record.last)}));
                Api::<CoreEvent>::namespaced(self.client.clone(), namespace).patch(event, &options, &patch).await?;
            }
        }
        Ok(())
    }

    async fn create(&mut self, told: &Told) -> Result<String, Error> {
        self.n_made += 1;
        let now = Timestamp::now();
        let first = self.records.get(told).map_or(now, |it| it.first);
        let (count, last) = self.records.get(told).map_or((1, now), |it| (it.count, it.last));
        let unique = (now.as_nanosecond() as u64).wrapping_add(self.n_made);
        let name = format!("{}.{unique:016x}", cut(&told.name, 230));
        let namespace = home(told).to_owned();
        let metadata =
            ObjectMeta { name: Some(name.clone()), namespace: Some(namespace.clone()), ..Default::default() };
        let about = ObjectReference {
            api_version: Some(told.api_version.clone()),
            kind: Some(told.kind.clone()),
            namespace: Some(told.namespace.clone()).filter(|it| !it.is_empty()),
            name: Some(told.name.clone()),
            uid: Some(told.uid.clone()).filter(|it| !it.is_empty()),
            ..ObjectReference::default()
        };
        let class = Some(if told.warning { "Warning" } else { "Normal" }.to_owned());
        let reason = Some(told.reason.to_owned());
        let text = Some(told.text.clone());
        let options = PostParams::default();
        match self.form {
            Form::Events => {
                let event = Event {
                    metadata,
                    // What was done is what it is the reason of; the original operators say no more.
                    action: reason.clone(),
                    event_time: Some(MicroTime(first)),
                    note: text,
                    reason,
                    regarding: Some(about),
                    reporting_controller: Some(told.component.clone()),
                    reporting_instance: Some(self.instance.clone()),
                    // What was told again before it was written.
                    series: (count > 1).then_some(EventSeries { count, last_observed_time: MicroTime(last) }),
                    type_: class,
                    ..Event::default()
                };
                Api::namespaced(self.client.clone(), &namespace).create(&options, &event).await?;
            }
            Form::Core => {
                let event = CoreEvent {
                    metadata,
                    count: Some(count),
                    first_timestamp: Some(Time(first)),
                    last_timestamp: Some(Time(now)),
                    involved_object: about,
                    message: text,
                    reason,
                    source: Some(EventSource { component: Some(told.component.clone()), host: None }),
                    reporting_component: Some(told.component.clone()),
                    reporting_instance: Some(self.instance.clone()),
                    type_: class,
                    ..CoreEvent::default()
                };
                Api::namespaced(self.client.clone(), &namespace).create(&options, &event).await?;
            }
        }
        Ok(name)
    }
}

/// The namespace that an event about an object lies in: those about the whole cluster's in `default`.
fn home(told: &Told) -> &str {
    if told.namespace.is_empty() { "default" } else { &told.namespace }
}

#[cfg(test)]
mod tests {
    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(super::cut("aä", 2), "a");
        assert_eq!(super::cut("aä", 3), "aä");
    }
}
