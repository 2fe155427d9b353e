//! The key services at hand, and the two awaits of the whole library.

use std::fmt;

use crate::keyservice::{KINDS, KeyError, KeyService};
use crate::metadata::{KeyGroup, MasterKey, Metadata};
use crate::secret::DataKey;

/// The kinds of keys that are tried first if nobody says otherwise, as in SOPS (spec section 5.4).
pub const DEFAULT_ORDER: &[&str] = &["age", "pgp"];

/// The key services that may be asked, in the order in which they are asked.
pub struct Keyring<'a> {
    services: Vec<&'a dyn KeyService>,
    order: Vec<String>,
}

/// What became of every master key, when no data key came together.
///
/// Its `Display` has one line for each key, as far as that is of use to anybody.
#[derive(Clone, Debug)]
pub struct UnwrapReport {
    /// One entry for each key group.
    pub groups: Vec<Vec<Attempt>>,
}

/// One master key and every service's answer about it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key.
    pub key: MasterKey,
    /// The services that tried, with what went wrong. Empty if none could do anything with it.
    pub answers: Vec<(String, KeyError)>,
}

/// Why a data key could not be wrapped to every master key. Nothing may be written then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WrapError {
    /// There are no groups to wrap to.
    #[error("no key groups provided")]
    NoGroups,
    /// A group has no keys.
    #[error("empty key group provided")]
    EmptyGroup,
    /// Several groups: their part of the data key cannot be made yet.
    #[error("files with several key groups are not supported yet")]
    SeveralGroups,
    /// No service would wrap to this key.
    #[error("failed to encrypt new data key with master key {id:?}: {reason}")]
    Key {
        /// The list that the key stands in.
        kind: String,
        /// What identifies it.
        id: String,
        /// Why not.
        reason: String,
    },
}

impl<'a> Keyring<'a> {
    /// A keyring that asks `services` in this order, for keys in the [`DEFAULT_ORDER`].
    pub fn new(services: Vec<&'a dyn KeyService>) -> Self {
        Self { services, order: DEFAULT_ORDER.iter().map(|&it| it.to_owned()).collect() }
    }

    /// Has keys of these kinds tried first, in this order. Unknown names are no error.
    #[must_use]
    pub fn with_order(mut self, order: Vec<String>) -> Self {
        self.order = order;
        self
    }

    /// Gets the data key of a file from whichever master key answers first.
    ///
    /// # Errors
    ///
    /// If none does; the report says what became of each.
    pub async fn unwrap(&self, metadata: &Metadata) -> Result<DataKey, UnwrapReport> {
        let several = metadata.groups.len() > 1;
        let mut groups = Vec::with_capacity(metadata.groups.len());
        for group in &metadata.groups {
            let mut attempts = Vec::with_capacity(group.0.len());
            for key in self.sorted(group) {
                let mut answers = Vec::new();
                if several {
                    answers.push(("keyring".to_owned(), KeyError(WrapError::SeveralGroups.to_string())));
                } else {
                    for service in &self.services {
                        match service.unwrap(key).await {
                            Some(Ok(data_key)) => return Ok(data_key),
                            Some(Err(it)) => answers.push((service.name().to_owned(), it)),
                            None => (),
                        }
                    }
                }
                attempts.push(Attempt { key: key.clone(), answers });
            }
            groups.push(attempts);
        }
        Err(UnwrapReport { groups })
    }

    /// Wraps the data key to every master key of `groups`.
    ///
    /// # Errors
    ///
    /// See [`WrapError`]. The groups are as they were then.
    pub async fn wrap(&self, data_key: &DataKey, groups: &mut [KeyGroup]) -> Result<(), WrapError> {
        let group = match groups {
            [] => return Err(WrapError::NoGroups),
            [group] => group,
            [..] => return Err(WrapError::SeveralGroups),
        };
        if group.0.is_empty() {
            return Err(WrapError::EmptyGroup);
        }
        let mut wrapped = Vec::with_capacity(group.0.len());
        for key in &group.0 {
            wrapped.push(self.wrap_to(key, data_key).await?);
        }
        for (key, enc) in group.0.iter_mut().zip(wrapped) {
            key.enc = Some(enc);
        }
        Ok(())
    }

    async fn wrap_to(&self, key: &MasterKey, data_key: &DataKey) -> Result<String, WrapError> {
        let mut reasons = Vec::new();
        for service in &self.services {
            match service.wrap(key, data_key).await {
                Some(Ok(enc)) => return Ok(enc),
                Some(Err(it)) => reasons.push(it.0),
                None => (),
            }
        }
        let reason = match &reasons[..] {
            [] => no_service(&key.kind),
            _ => reasons.join("; "),
        };
        Err(WrapError::Key { kind: key.kind.clone(), id: key_id(key).to_owned(), reason })
    }

    /// The keys of a group in the order in which they are tried.
    fn sorted<'k>(&self, group: &'k KeyGroup) -> Vec<&'k MasterKey> {
        let mut keys: Vec<&MasterKey> = group.0.iter().collect();
        keys.sort_by_key(|key| self.order.iter().position(|it| *it == key.kind).unwrap_or(self.order.len()));
        keys
    }
}

impl Attempt {
    /// Returns what identifies the key: an age recipient, a fingerprint…
    pub fn id(&self) -> &str {
        key_id(&self.key)
    }

    /// Returns why the key was of no use, in one line.
    pub fn reason(&self) -> String {
        match &self.answers[..] {
            [] => no_service(&self.key.kind),
            answers => answers.iter().map(|(_, it)| it.0.as_str()).collect::<Vec<_>>().join("; "),
        }
    }
}

impl std::error::Error for UnwrapReport {}

impl fmt::Display for UnwrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody reads two thousand lines.
        const SHOWN: usize = 20;
        f.write_str("no master key could unwrap the data key")?;
        for (n, group) in self.groups.iter().enumerate() {
            write!(f, "\n  group {n}:")?;
            for attempt in group.iter().take(SHOWN) {
                write!(f, "\n    {} {}: {}", attempt.key.kind, shortened(attempt.id()), attempt.reason())?;
            }
            if group.len() > SHOWN {
                write!(f, "\n    and {} more", group.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

fn no_service(kind: &str) -> String {
    format!("no key service for {kind}")
}

/// What identifies a key. For kinds that nobody here knows, the first text that stands in it.
fn key_id(key: &MasterKey) -> &str {
    match KINDS.iter().find(|it| it.name == key.kind) {
        Some(kind) => key.field(kind.id_field),
        None => key.fields.iter().find_map(|(_, it)| it.as_str()).unwrap_or(""),
    }
}

/// The beginning of an id: a post-quantum recipient has two thousand characters.
fn shortened(id: &str) -> String {
    const SHOWN: usize = 80;
    match id.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &id[..at]),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Timestamp;
    use crate::keyservice::Answer;
    use crate::scope::Scope;
    use crate::tree::Wire;

    /// Knows one kind; unwraps to a key of the byte that `enc` says, notes who was tried.
    struct Fake(&'static str, std::sync::Mutex<Vec<String>>);

    impl Fake {
        fn of(kind: &'static str) -> Self {
            Self(kind, std::sync::Mutex::default())
        }
    }

    impl KeyService for Fake {
        fn name(&self) -> &str {
            self.0
        }

        fn wrap<'a>(&'a self, key: &'a MasterKey, _: &'a DataKey) -> Answer<'a, String> {
            let refused = key.field("id") == "bad";
            let answer = if refused { Err(KeyError("permission denied".to_owned())) } else { Ok("1".to_owned()) };
            Box::pin(async move { (key.kind == self.0).then_some(answer) })
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, DataKey> {
            let byte = key.enc.as_deref().and_then(|it| it.parse::<u8>().ok());
            let answer = byte.and_then(|it| DataKey::from_bytes(&[it; 32])).ok_or(KeyError("not mine".to_owned()));
            let ours = key.kind == self.0;
            if ours {
                self.1.lock().expect("no test panics here").push(key.field("id").to_owned());
            }
            Box::pin(async move { ours.then_some(answer) })
        }
    }

    fn group(keys: &[(&str, &str, Option<&str>)]) -> KeyGroup {
        let key = |&(kind, id, enc): &(&str, &str, Option<&str>)| MasterKey {
            kind: kind.to_owned(),
            fields: vec![("id".to_owned(), Wire::text(id))],
            enc: enc.map(str::to_owned),
        };
        KeyGroup(keys.iter().map(key).collect())
    }

    fn metadata(groups: Vec<KeyGroup>) -> Metadata {
        Metadata::new(groups, 0, Scope::default(), Timestamp::from_utc_seconds("2026-01-02T03:04:05Z"))
    }

    #[test]
    fn keys_are_tried_in_order_until_one_works() {
        let keys = [("x", "a", None), ("y", "b", None), ("x", "c", Some("7")), ("y", "d", None), ("x", "e", None)];
        for (order, tried_x, tried_y) in [
            (&["y", "x"][..], &["a", "c"][..], &["b", "d"][..]),
            (&["x"], &["a", "c"], &[]),
            (&["bogus"], &["a", "c"], &["b"]),
        ] {
            let (x, y) = (Fake::of("x"), Fake::of("y"));
            let keyring = Keyring::new(vec![&x, &y]).with_order(order.iter().map(|&it| it.to_owned()).collect());
            let key = pollster::block_on(keyring.unwrap(&metadata(vec![group(&keys)]))).expect("c works");
            assert_eq!(key.expose(), [7; 32]);
            assert_eq!(*x.1.lock().expect("not poisoned"), tried_x, "{order:?}");
            assert_eq!(*y.1.lock().expect("not poisoned"), tried_y, "{order:?}");
        }
    }

    #[test]
    fn a_report_says_what_became_of_each_key() {
        let long = "z".repeat(100);
        let x = Fake::of("x");
        let check = |groups: Vec<KeyGroup>, text: &str| {
            let report = pollster::block_on(Keyring::new(vec![&x]).unwrap(&metadata(groups)));
            assert_eq!(report.expect_err("nothing works").to_string(), text);
        };
        check(vec![], "no master key could unwrap the data key");
        check(
            vec![group(&[("x", "a", None), ("quantum_kms", &long, Some("1"))])],
            &format!(
                "no master key could unwrap the data key\n  group 0:\n    x a: not mine\n    quantum_kms {}…: \
                 no key service for quantum_kms",
                "z".repeat(80)
            ),
        );
        check(
            vec![group(&[("x", "a", Some("1"))]), group(&[("x", "b", Some("2"))])],
            "no master key could unwrap the data key\n  group 0:\n    x a: files with several key groups are not \
             supported yet\n  group 1:\n    x b: files with several key groups are not supported yet",
        );
        let many: Vec<_> = (0..2000).map(|_| ("x", "a", None)).collect();
        let report = pollster::block_on(Keyring::new(vec![&x]).unwrap(&metadata(vec![group(&many)])));
        assert!(report.expect_err("nothing works").to_string().ends_with("\n    and 1980 more"));
    }

    #[test]
    fn either_every_key_is_wrapped_to_or_none() {
        let (x, y) = (Fake::of("x"), Fake::of("y"));
        let keyring = Keyring::new(vec![&x, &y]);
        let data_key = DataKey::from_bytes(&[1; 32]).expect("32 bytes");
        let failed = |kind: &str, id: &str, reason: &str| {
            Err(WrapError::Key { kind: kind.to_owned(), id: id.to_owned(), reason: reason.to_owned() })
        };
        for (mut groups, expected) in [
            (vec![], Err(WrapError::NoGroups)),
            (vec![group(&[])], Err(WrapError::EmptyGroup)),
            (vec![group(&[]), group(&[])], Err(WrapError::SeveralGroups)),
            (vec![group(&[("x", "a", None), ("y", "b", None)])], Ok(())),
            (vec![group(&[("x", "a", None), ("x", "bad", None)])], failed("x", "bad", "permission denied")),
            (vec![group(&[("x", "a", None), ("z", "b", None)])], failed("z", "b", "no key service for z")),
        ] {
            assert_eq!(pollster::block_on(keyring.wrap(&data_key, &mut groups)), expected);
            for key in groups.iter().flat_map(|it| &it.0) {
                assert_eq!(key.enc.is_some(), expected.is_ok());
            }
        }
    }
}
