//! What became of every master key, when no data key came together.

use std::fmt;

use crate::keyservice::KeyError;
use crate::metadata::MasterKey;

/// Why there is no data key.
///
/// Its `Display` has one line for each key, as far as that is of use to anybody.
#[derive(Clone, Debug)]
pub struct UnwrapReport {
    /// How many groups the file asks for; zero if it does not say.
    pub threshold: usize,
    /// One entry for each key group.
    pub groups: Vec<GroupReport>,
    /// What is wrong with the parts, if there were enough of them.
    pub error: Option<PartsError>,
}

/// What became of one key group.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// It gave its part of the data key.
    pub opened: bool,
    /// Its keys, in the order in which they were tried.
    pub attempts: Vec<Attempt>,
}

/// One master key and every service's answer about it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The key.
    pub key: MasterKey,
    /// The services that tried, with what went wrong. Empty if none could do anything with it.
    pub answers: Vec<(String, KeyError)>,
}

/// Parts of a data key that do not make one. The numbers are those of groups, counted from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PartsError {
    /// One part is none.
    #[error("one part of a data key is no use without another")]
    TooFew,
    /// Both groups have the same part, so one of them has lost its own.
    #[error("the groups {0} and {1} hold the same part of the data key")]
    Same(usize, usize),
    /// Both groups have a part for the same place.
    #[error("the groups {0} and {1} hold parts of different data keys")]
    Rivals(usize, usize),
    /// The parts are of keys of different sizes.
    #[error("the groups {0} and {1} hold parts of data keys of different lengths")]
    Length(usize, usize),
    /// The other groups open the file, and would not with this one.
    #[error("the part that group {0} holds is not of this file's data key")]
    Foreign(usize),
}

impl UnwrapReport {
    /// How many groups must open.
    pub fn needed(&self) -> usize {
        match (self.groups.len(), self.threshold) {
            (0 | 1, _) => 1,
            (groups, 0) => groups,
            (_, threshold) => threshold.max(2),
        }
    }

    /// How many did.
    pub fn opened(&self) -> usize {
        self.groups.iter().filter(|it| it.opened).count()
    }

    /// Says in one clause what is wrong.
    pub fn summary(&self) -> String {
        let (needed, opened, groups) = (self.needed(), self.opened(), self.groups.len());
        match &self.error {
            Some(error) => error.to_string(),
            None if groups < 2 => "no master key could unwrap the data key".to_owned(),
            None if needed > groups => format!("the file asks for {needed} key groups and has {groups}"),
            None => format!("{opened} of {groups} key groups could be opened, and {needed} are needed"),
        }
    }
}

impl Attempt {
    /// Returns what identifies the key: an age recipient, a fingerprint…
    pub fn id(&self) -> String {
        self.key.id()
    }

    /// Returns why the key was of no use, in one line. A service that is not called as its kind of
    /// key is named.
    pub fn reason(&self) -> String {
        let said = |(service, error): &(String, KeyError)| match *service == self.key.kind {
            true => error.reason().to_owned(),
            false => format!("{service}: {}", error.reason()),
        };
        match &self.answers[..] {
            [] => no_service(&self.key.kind),
            answers => answers.iter().map(said).collect::<Vec<_>>().join("; "),
        }
    }
}

impl std::error::Error for UnwrapReport {}

impl fmt::Display for UnwrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody reads two thousand lines.
        const SHOWN: usize = 20;
        f.write_str(&self.summary())?;
        for (n, group) in self.groups.iter().enumerate() {
            if group.opened {
                write!(f, "\n  group {n}: opened")?;
                continue;
            }
            write!(f, "\n  group {n}:")?;
            for attempt in group.attempts.iter().take(SHOWN) {
                write!(f, "\n    {} {}: {}", attempt.key.kind, shortened(&attempt.id()), attempt.reason())?;
            }
            if group.attempts.len() > SHOWN {
                write!(f, "\n    and {} more", group.attempts.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// What is said of a key that nobody here can do anything with.
pub(super) fn no_service(kind: &str) -> String {
    format!("no key service for {kind}")
}

/// The beginning of an id: a post-quantum recipient has two thousand characters.
fn shortened(id: &str) -> String {
    const SHOWN: usize = 80;
    match id.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &id[..at]),
        None => id.to_owned(),
    }
}
