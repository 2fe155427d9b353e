//! The conditions of Vault Secrets' objects, which change only when something besides times does.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::vault_secrets::Condition;

/// What a condition should say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Saying {
    /// What it is about.
    pub kind: &'static str,
    /// Whether it is so.
    pub is_true: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Saying {
    /// A condition that says so.
    pub fn new(kind: &'static str, is_true: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, is_true, reason, message: message.into() }
    }
}

/// `Healthy` and `Ready`, as every kind of Vault Secrets carries them (spec section A.9).
pub fn health(kind: &str, is_healthy: bool) -> [Saying; 2] {
    let word = if is_healthy { "Healthy" } else { "Unhealthy" };
    [
        Saying::new("Healthy", is_healthy, word, format!("{kind}{word}")),
        Saying::new("Ready", is_healthy, "Ready", format!("{kind}Ready")),
    ]
}

/// `held` with what `sayings` say: each kind once, those that nothing is said about as they are.
/// `lastTransitionTime` moves only when the status flips.
pub fn merged(held: &[Condition], sayings: &[Saying], generation: i64, now: Timestamp) -> Vec<Condition> {
    // The original kept one entry for each pair of type and reason: the youngest of a type is the one
    // that holds.
    let newest = |kind: &str| held.iter().filter(|it| it.kind == kind).max_by_key(|it| &it.last_transition_time);
    let said = sayings.iter().map(|saying| {
        let status = if saying.is_true { "True" } else { "False" };
        let since = newest(saying.kind).filter(|it| it.status == status && !it.last_transition_time.is_empty());
        Condition {
            kind: saying.kind.into(),
            status: status.into(),
            observed_generation: generation,
            last_transition_time: since.map_or_else(|| seconds(now), |it| it.last_transition_time.clone()),
            reason: saying.reason.into(),
            message: shortened(&saying.message),
        }
    });
    let mut all: Vec<Condition> = said.collect();
    for other in held {
        if all.iter().all(|it| it.kind != other.kind) {
            all.extend(newest(&other.kind).cloned());
        }
    }
    all.sort_by(|one, other| one.kind.cmp(&other.kind));
    all
}

/// The change that makes a status hold `members`; `None` if nothing would change. Members that are
/// null are taken out.
pub fn change(held: &[Condition], wanted: &[Condition], is_news: bool, members: Value) -> Option<Value> {
    let mut sorted = held.to_vec();
    sorted.sort_by(|one, other| one.kind.cmp(&other.kind));
    if !is_news && sorted == wanted {
        return None;
    }
    let mut members = members;
    members["conditions"] = json!(wanted);
    Some(members)
}

/// A time as `metav1.Time` spells it.
pub fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The API server takes messages of up to 32 KiB.
fn shortened(message: &str) -> String {
    const MOST: usize = 4096;
    match message.char_indices().nth(MOST) {
        None => message.to_owned(),
        Some((at, _)) => format!("{}…", &message[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn times_move_only_when_the_status_flips() {
        let say = |is_true, message: &str| [Saying::new("SecretSynced", is_true, "Synced", message)];
        let first = merged(&[], &say(true, "a"), 1, at(10));
        assert_eq!(first[0].last_transition_time, "1970-01-01T00:00:10Z");
        let same = merged(&first, &say(true, "a"), 1, at(20));
        assert_eq!(same, first);
        assert_eq!(change(&first, &same, false, json!({})), None);
        let other = merged(&first, &say(true, "b"), 2, at(20));
        assert_eq!(other[0].last_transition_time, "1970-01-01T00:00:10Z");
        assert!(change(&first, &other, false, json!({})).is_some());
        let flipped = merged(&other, &say(false, "b"), 2, at(30));
        assert_eq!(flipped[0].last_transition_time, "1970-01-01T00:00:30Z");
    }

    #[test]
    fn entries_of_the_original_become_one_for_each_type() {
        let entry = |kind: &str, status: &str, reason: &str, time: &str| Condition {
            kind: kind.into(),
            status: status.into(),
            observed_generation: 1,
            last_transition_time: time.into(),
            reason: reason.into(),
            message: String::new(),
        };
        let held = [
            entry("Healthy", "False", "Unhealthy", "2026-01-01T00:00:00Z"),
            entry("Healthy", "True", "Healthy", "2026-01-02T00:00:00Z"),
            entry("Other", "True", "Foreign", "2026-01-01T00:00:00Z"),
        ];
        let after = merged(&held, &health("VaultAuth", true), 1, at(0));
        let told: Vec<_> = after.iter().map(|it| (it.kind.as_str(), it.last_transition_time.as_str())).collect();
        assert_eq!(
            told,
            [("Healthy", "2026-01-02T00:00:00Z"), ("Other", "2026-01-01T00:00:00Z"), ("Ready", "1970-01-01T00:00:00Z")]
        );
    }

    #[test]
    fn times_are_cut_to_seconds() {
        let time = Timestamp::from_nanosecond(1_999_999_999).expect("a time");
        assert_eq!(seconds(time), "1970-01-01T00:00:01Z");
    }
}
