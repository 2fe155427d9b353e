//! Who acts on a family: the holder of the Lease that its original operator uses too.
//!
//! A Lease has expired when it was not *seen* to change for as long as its holder asked: clocks of other
//! machines have no say. A holder stops acting before anybody else can think the Lease expired.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::stop::Stop;

/// How a Lease is fought for.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: one for each process.
    pub identity: String,
    /// How long others wait for a holder that is silent.
    pub duration: Duration,
    /// How long the holder acts without having renewed it.
    pub deadline: Duration,
    /// How often it is looked at.
    pub retry: Duration,
}

/// How things stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It is ours.
    Held,
    /// Another holds it, or nobody is known to.
    Standby {
        /// Who does.
        holder: Option<String>,
    },
    /// It can neither be read nor written; the text says why and what to do.
    Refused(String),
}

/// Whether writes are allowed at this very moment.
#[derive(Clone, Debug)]
pub struct Gate(Option<Arc<Renewed>>);

#[derive(Debug)]
struct Renewed {
    at: Mutex<Option<Instant>>,
    deadline: Duration,
}

impl Gate {
    /// A gate that is always open: there is no election.
    pub fn open() -> Self {
        Self(None)
    }

    fn closed(deadline: Duration) -> Self {
        Self(Some(Arc::new(Renewed { at: Mutex::new(None), deadline })))
    }

    /// True if the Lease was renewed so lately that nobody else can act. Ask right before each write.
    pub fn held(&self) -> bool {
        self.remaining().is_none_or(|it| !it.is_zero())
    }

    /// How much longer the gate is open without a renewal; `None` for ever.
    fn remaining(&self) -> Option<Duration> {
        let renewed = self.0.as_ref()?;
        let at = *renewed.at.lock().expect("nobody panics with it");
        Some(at.map_or(Duration::ZERO, |it| (it + renewed.deadline).saturating_duration_since(Instant::now())))
    }

    fn set(&self, at: Option<Instant>) {
        if let Some(renewed) = &self.0 {
            *renewed.at.lock().expect("nobody panics with it") = at;
        }
    }
}

/// A campaign for a Lease, which goes on until it is told to stop.
#[derive(Debug)]
pub struct Campaign {
    /// Whether writes are allowed.
    pub gate: Gate,
    /// How things stand, whenever that changes.
    pub states: watch::Receiver<State>,
    /// Ends when the Lease was given back.
    pub task: JoinHandle<()>,
}

/// Fights for a Lease until `stop` is asked, then gives it back if it is ours. Stop it last: whoever waits
/// takes over within a retry period.
pub fn campaign(client: Client, terms: Terms, stop: Stop) -> Campaign {
    let gate = Gate::closed(terms.deadline);
    let (tells, states) = watch::channel(State::Standby { holder: None });
    let leases = Api::namespaced(client, &terms.namespace);
    let campaigner = Campaigner { leases, terms, gate: gate.clone(), tells, seen: None, out_of_reach: false };
    let task = tokio::spawn(campaigner.run(stop));
    Campaign { gate, states, task }
}

/// A Lease as it was last seen, and when it was first seen so.
struct Seen {
    lease: Lease,
    since: Instant,
}

/// What can be done about a Lease.
#[derive(Debug, Eq, PartialEq)]
enum Step {
    /// It is ours: renew it.
    Renew,
    /// It is free: take it.
    Take,
    /// It is another's.
    Wait,
}

fn step(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let patience = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    match holder {
        "" => Step::Take,
        it if it == identity => Step::Renew,
        _ if unchanged > patience => Step::Take,
        _ => Step::Wait,
    }
}

struct Campaigner {
    leases: Api<Lease>,
    terms: Terms,
    gate: Gate,
    tells: watch::Sender<State>,
    seen: Option<Seen>,
    /// True if the last attempt had no answer.
    out_of_reach: bool,
}

impl Campaigner {
    async fn run(mut self, stop: Stop) {
        while !stop.is_asked() {
            let pause = self.turn().await;
            tokio::select! {
                () = stop.asked() => break,
                () = sleep(pause) => (),
            }
        }
        self.release().await;
    }

    /// Looks at the Lease, does what can be done, and says how long to wait.
    async fn turn(&mut self) -> Duration {
        // What is not known to be ours within the deadline is not ours.
        let left = self.gate.remaining().filter(|it| !it.is_zero()).unwrap_or(self.terms.deadline);
        let answer = timeout(left, self.attempt()).await;
        let state = match answer {
            Ok(Ok(state)) => {
                self.out_of_reach = false;
                state
            }
            // Somebody else wrote, or deleted it: what we saw is old.
            Ok(Err(Error::Api(status))) if status.code == 409 || status.code == 404 && self.seen.is_some() => {
                self.seen = None;
                self.tell_if_lost();
                return self.terms.retry / 10;
            }
            Ok(Err(Error::Api(status))) if matches!(status.code, 403 | 404) => State::Refused(format!(
                "the Lease {} in namespace {} cannot be used: {}: grant get, create and update of leases there, or \
                 switch the election off with --leader-elect=false where one replica runs",
                self.terms.name, self.terms.namespace, status.message
            )),
            Ok(Err(error)) => return self.miss(&error.to_string()),
            Err(_) => return self.miss("the API server does not answer"),
        };
        self.tell(state);
        self.pause()
    }

    /// Goes on without an answer. The log says so once.
    fn miss(&mut self, why: &str) -> Duration {
        if !std::mem::replace(&mut self.out_of_reach, true) {
            tracing::warn!(lease = self.terms.name, "the Lease is out of reach: {why}");
        }
        self.tell_if_lost();
        self.pause()
    }

    async fn attempt(&mut self) -> Result<State, Error> {
        // The holder writes without reading first: one request for each renewal.
        let own = self.seen.as_ref().and_then(|it| it.lease.spec.as_ref()).and_then(|it| it.holder_identity.as_ref());
        if own != Some(&self.terms.identity) || !self.gate.held() {
            match self.leases.get_opt(&self.terms.name).await? {
                Some(lease) => self.see(lease),
                None => return self.write(None).await,
            }
        }
        let Some(seen) = &self.seen else { return Ok(State::Standby { holder: None }) };
        let spec = seen.lease.spec.clone().unwrap_or_default();
        match step(&spec, &self.terms.identity, seen.since.elapsed()) {
            Step::Renew | Step::Take => self.write(Some(seen.lease.clone())).await,
            Step::Wait => {
                self.gate.set(None);
                Ok(State::Standby { holder: spec.holder_identity })
            }
        }
    }

    fn see(&mut self, lease: Lease) {
        let same = self.seen.as_ref().is_some_and(|it| it.lease.spec == lease.spec);
        let since = self.seen.as_ref().filter(|_| same).map_or_else(Instant::now, |it| it.since);
        self.seen = Some(Seen { lease, since });
    }

    /// Writes that the Lease is ours: creates it, or replaces the one that was seen and no other.
    async fn write(&mut self, before: Option<Lease>) -> Result<State, Error> {
        // The moment before the request: the answer may take long.
        let begun = Instant::now();
        let now = MicroTime(Timestamp::now());
        let old = before.as_ref().and_then(|it| it.spec.clone()).unwrap_or_default();
        let ours = old.holder_identity.as_ref() == Some(&self.terms.identity);
        let transitions = old.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.terms.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.terms.duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: old.acquire_time.filter(|_| ours).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..old
        };
        let lease = match before {
            Some(before) => {
                let lease = Lease { spec: Some(spec), ..before };
                self.leases.replace(&self.terms.name, &PostParams::default(), &lease).await?
            }
            None => {
                let metadata = ObjectMeta { name: Some(self.terms.name.clone()), ..ObjectMeta::default() };
                self.leases.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await?
            }
        };
        self.seen = Some(Seen { lease, since: begun });
        self.gate.set(Some(begun));
        Ok(State::Held)
    }

    fn tell(&self, state: State) {
        self.tells.send_if_modified(|it| {
            let is_new = *it != state;
            *it = state;
            is_new
        });
    }

    fn tell_if_lost(&self) {
        if *self.tells.borrow() == State::Held && !self.gate.held() {
            self.tell(State::Standby { holder: None });
        }
    }

    /// The retry period, up to a fifth longer, so that those who wait do not ask all at once.
    fn pause(&self) -> Duration {
        let mut random = [0; 1];
        // Without randomness they ask all at once, which is no harm.
        _ = getrandom::fill(&mut random);
        let pause = self.terms.retry.mul_f64(1.0 + f64::from(random[0]) / 255.0 / 5.0);
        // A holder comes in time even if one renewal fails.
        self.gate.remaining().filter(|it| !it.is_zero()).map_or(pause, |left| pause.min(left / 2))
    }

    async fn release(mut self) {
        let held = self.gate.held();
        self.gate.set(None);
        self.tell(State::Standby { holder: None });
        let Some(Seen { lease, .. }) = self.seen.take().filter(|_| held) else { return };
        // As the original does: nobody holds it, and nobody has to wait.
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..lease.spec.clone().unwrap_or_default()
        };
        let lease = Lease { spec: Some(spec), ..lease };
        let name = self.terms.name.clone();
        match timeout(self.terms.deadline / 2, self.leases.replace(&name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => tracing::info!(lease = name, "the Lease is given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = name, error = &error as &dyn std::error::Error, "the Lease is not given back");
            }
            Err(_) => tracing::warn!(lease = name, "the Lease is not given back: the API server does not answer"),
        }
    }
}

/// Who this process is: the pod's name and UID, or the machine's name and something random.
pub fn identity(variables: impl Fn(&str) -> Option<String>) -> String {
    let first = |names: &[&str]| names.iter().find_map(|it| variables(it)).filter(|it| !it.is_empty());
    let name = first(&["OPERATOR_POD_NAME", "POD_NAME", "HOSTNAME"]).unwrap_or_else(|| "leafseal-operator".to_owned());
    let unique = first(&["OPERATOR_POD_UID", "POD_UID"]).unwrap_or_else(|| {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the system has randomness");
        random.iter().map(|it| format!("{it:02x}")).collect()
    });
    format!("{name}_{unique}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_free_is_taken() {
        let lease = |holder: &str, seconds| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        };
        let check = |spec: &LeaseSpec, unchanged, expected| {
            assert_eq!(step(spec, "me", Duration::from_secs(unchanged)), expected);
        };
        check(&LeaseSpec::default(), 0, Step::Take);
        check(&lease("", 15), 0, Step::Take);
        check(&lease("me", 15), 100, Step::Renew);
        check(&lease("other", 15), 15, Step::Wait);
        check(&lease("other", 15), 16, Step::Take);
        check(&lease("other", 60), 16, Step::Wait);
    }

    #[test]
    fn a_process_has_one_name() {
        let pod = |name: &str| match name {
            "POD_NAME" => Some("pod".to_owned()),
            "POD_UID" => Some("1-2".to_owned()),
            _ => None,
        };
        assert_eq!(identity(pod), "pod_1-2");
        assert_ne!(identity(|_| None), identity(|_| None));
    }

    #[test]
    fn a_gate_closes_by_itself() {
        assert!(Gate::open().held());
        let gate = Gate::closed(Duration::from_secs(10));
        assert!(!gate.held());
        let ago = |milliseconds| Instant::now().checked_sub(Duration::from_millis(milliseconds));
        gate.set(ago(5_000));
        assert!(gate.held());
        gate.set(ago(10_000));
        assert!(!gate.held());
    }
}
