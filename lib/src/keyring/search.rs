//! One search for a data key: whom there is to ask, what they said, whether it is enough.

use std::future::poll_fn;
use std::task::Poll;

use super::DEFAULT_ORDER;
use super::report::{Attempt, GroupReport, PartsError, UnwrapReport};
use crate::cipher::Cipher;
use crate::edge::Deadline;
use crate::keyservice::{Answer, KeyError, KeyService};
use crate::metadata::{MasterKey, Metadata};
use crate::secret::{DataKey, KeyPart};
use crate::shamir::{self, CombineError};

/// How many services in the network are asked at the same time.
const AT_ONCE: usize = 16;

/// What is known so far.
pub(super) struct Search<'m> {
    metadata: &'m Metadata,
    groups: Vec<Group<'m>>,
}

/// One key group, its keys in the order in which they are tried.
struct Group<'m> {
    keys: Vec<Key<'m>>,
    part: Option<KeyPart>,
}

struct Key<'m> {
    rank: usize,
    key: &'m MasterKey,
    answers: Vec<(String, KeyError)>,
}

/// One question: what does this service make of this key?
#[derive(Clone, Copy)]
pub(super) struct Ask<'m, 's> {
    group: usize,
    at: usize,
    key: &'m MasterKey,
    service: &'s dyn KeyService,
}

impl<'m> Search<'m> {
    /// Nobody has been asked yet. The rank of a key is the place of its kind in `order`, or comes
    /// after all of them.
    pub(super) fn new(metadata: &'m Metadata, order: &[String]) -> Self {
        let place = |kind: &str| DEFAULT_ORDER.iter().position(|it| *it == kind).unwrap_or(DEFAULT_ORDER.len());
        let rank = |kind: &str| order.iter().position(|it| it == kind).unwrap_or(order.len());
        let groups = metadata.groups.iter().map(|group| {
            let key = |key: &'m MasterKey| Key { rank: rank(&key.kind), key, answers: Vec::new() };
            let mut keys: Vec<_> = group.0.iter().map(key).collect();
            keys.sort_by_key(|it| (it.rank, place(&it.key.kind)));
            Group { keys, part: None }
        });
        Self { metadata, groups: groups.collect() }
    }

    /// All there is to ask `services` about keys of this rank.
    pub(super) fn asks<'s>(&self, rank: usize, services: &[&'s dyn KeyService]) -> Vec<Ask<'m, 's>> {
        let keys = self.groups.iter().enumerate().flat_map(|(group, it)| {
            it.keys.iter().enumerate().filter(|(_, it)| it.rank == rank).map(move |(at, it)| (group, at, it.key))
        });
        keys.flat_map(|(group, at, key)| services.iter().map(move |&service| Ask { group, at, key, service })).collect()
    }

    /// Asks one after the other, for groups that are not open yet, until `is_enough`.
    pub(super) async fn ask_each(&mut self, asks: Vec<Ask<'m, '_>>, is_enough: impl Fn(&Self) -> bool) {
        for ask in asks {
            if is_enough(self) {
                return;
            }
            if !self.is_open(ask.group) {
                let answer = ask.service.unwrap(ask.key).await;
                self.note(&ask, answer);
            }
        }
    }

    /// Asks all at the same time, and lets go of those that are not needed any more.
    pub(super) async fn ask_together(&mut self, asks: Vec<Ask<'m, '_>>, deadline: Option<&dyn Deadline>) {
        let mut passed = None;
        let mut waiting = asks.into_iter();
        let mut running: Vec<(Ask<'m, '_>, Answer<'_, KeyPart>)> = Vec::new();
        poll_fn(|cx| {
            loop {
                running.retain(|(ask, _)| !self.is_open(ask.group));
                while running.len() < AT_ONCE
                    && let Some(ask) = waiting.next()
                {
                    if !self.is_open(ask.group) {
                        running.push((ask, ask.service.unwrap(ask.key)));
                    }
                }
                if running.is_empty() || self.has_enough() {
                    return Poll::Ready(());
                }
                let answered =
                    running.iter_mut().enumerate().find_map(|(n, (_, answer))| match answer.as_mut().poll(cx) {
                        Poll::Ready(answer) => Some((n, answer)),
                        Poll::Pending => None,
                    });
                let Some((n, answer)) = answered else { break };
                let (ask, _) = running.remove(n);
                self.note(&ask, answer);
            }
            let Some(deadline) = deadline else { return Poll::Pending };
            passed.get_or_insert_with(|| deadline.passed()).as_mut().poll(cx).map(|()| {
                for (ask, _) in running.drain(..) {
                    self.note(&ask, Some(Err(KeyError("no answer in time".to_owned()))));
                }
                for ask in waiting.by_ref() {
                    if self.groups[ask.group].keys[ask.at].answers.is_empty() {
                        self.note(&ask, Some(Err(KeyError("not asked: others took too long".to_owned()))));
                    }
                }
            })
        })
        .await;
    }

    fn is_open(&self, group: usize) -> bool {
        self.groups[group].part.is_some()
    }

    fn is_split(&self) -> bool {
        self.groups.len() > 1
    }

    fn note(&mut self, ask: &Ask<'_, '_>, answer: Option<Result<KeyPart, KeyError>>) {
        let is_split = self.is_split();
        let error = match answer {
            None => return,
            Some(Err(it)) => it,
            Some(Ok(part)) => match unfit(&part, is_split) {
                Some(why) => KeyError(why.to_owned()),
                None => return self.groups[ask.group].part = Some(part),
            },
        };
        let answers = &mut self.groups[ask.group].keys[ask.at].answers;
        // A service that has gone further has the last word.
        answers.retain(|(name, _)| name != ask.service.name());
        answers.push((ask.service.name().to_owned(), error));
    }

    /// True if the parts that there are make the data key, as far as the file says.
    pub(super) fn has_enough(&self) -> bool {
        let opened = self.parts().len();
        match self.metadata.shamir_threshold {
            _ if !self.is_split() => opened == 1,
            // The number has been lost: the MAC tells.
            0 => opened == self.groups.len() || self.combined(None).is_ok_and(|it| self.is_proved(&it)),
            threshold => opened >= threshold.max(2),
        }
    }

    /// True if there cannot be enough, whoever is asked.
    pub(super) fn is_in_vain(&self) -> bool {
        self.is_split() && self.metadata.shamir_threshold > self.groups.len()
    }

    /// The data key, if it has come together.
    pub(super) fn finish(self) -> Result<DataKey, UnwrapReport> {
        // Where there is no number and no MAC either, opening the file will tell.
        let is_anyones_guess =
            self.metadata.shamir_threshold == 0 && self.parts().len() > 1 && self.metadata.mac.is_none();
        if !self.has_enough() && !is_anyones_guess {
            return Err(self.report(None));
        }
        if !self.is_split() {
            let part = self.groups.iter().find_map(|it| it.part.as_ref());
            let key = part.and_then(|it| DataKey::from_bytes(it.expose()));
            return key.ok_or_else(|| self.report(None));
        }
        match self.combined(None) {
            Ok(key) => match self.stranger(&key) {
                Some(group) => Err(self.report(Some(PartsError::Foreign(group)))),
                None => Ok(key),
            },
            Err(error) => Err(self.report(Some(error))),
        }
    }

    /// The parts that there are, each with the number of its group.
    fn parts(&self) -> Vec<(usize, &[u8])> {
        let parts = self.groups.iter().enumerate();
        parts.filter_map(|(n, it)| it.part.as_ref().map(|it| (n, it.expose()))).collect()
    }

    /// All parts put together, but for the one of the group `without`.
    fn combined(&self, without: Option<usize>) -> Result<DataKey, PartsError> {
        let parts: Vec<_> = self.parts().into_iter().filter(|(n, _)| Some(*n) != without).collect();
        let group = |n: usize| parts[n].0;
        let bytes: Vec<_> = parts.iter().map(|(_, it)| *it).collect();
        let key = shamir::combine(&bytes).map_err(|error| match error {
            CombineError::TooFew => PartsError::TooFew,
            CombineError::Malformed(n) => PartsError::Foreign(group(n)),
            CombineError::Length(one, other) => PartsError::Length(group(one), group(other)),
            CombineError::Twice(one, other) => match bytes[one] == bytes[other] {
                true => PartsError::Same(group(one), group(other)),
                false => PartsError::Rivals(group(one), group(other)),
            },
        })?;
        Ok(DataKey::from_bytes(&key).expect("a part is a byte longer than a data key"))
    }

    /// The group whose part does not belong to the others, if it alone keeps the file from opening.
    fn stranger(&self, key: &DataKey) -> Option<usize> {
        if self.is_proved(key) {
            return None;
        }
        let proved = |without: &usize| self.combined(Some(*without)).is_ok_and(|it| self.is_proved(&it));
        self.parts().into_iter().map(|(n, _)| n).find(proved)
    }

    /// True if the MAC of the file was sealed with this key, whatever it says.
    fn is_proved(&self, key: &DataKey) -> bool {
        let mac = self.metadata.mac.as_deref().filter(|it| !it.is_empty());
        mac.is_some_and(|it| Cipher::new(key).open(it, self.metadata.last_modified.as_str()).is_ok())
    }

    fn report(self, error: Option<PartsError>) -> UnwrapReport {
        let groups = self.groups.into_iter().map(|group| GroupReport {
            opened: group.part.is_some(),
            attempts: group.keys.into_iter().map(|it| Attempt { key: it.key.clone(), answers: it.answers }).collect(),
        });
        UnwrapReport { threshold: self.metadata.shamir_threshold, groups: groups.collect(), error }
    }
}

/// Why a key service cannot have meant this, in a file whose data key is split or is not.
fn unfit(part: &KeyPart, is_split: bool) -> Option<&'static str> {
    match (part.is_whole(), is_split) {
        (true, false) => None,
        (false, true) if part.expose().last() != Some(&0) => None,
        (false, true) => Some("it holds no part of a data key"),
        (true, true) => Some("it holds a whole data key and no part of one"),
        (false, false) => Some("it holds a part of a data key: the other key groups are missing"),
    }
}
