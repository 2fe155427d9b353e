//! Leaves opened ahead of the walk that wants them, on all processors.
//!
//! Each thread goes the same way as the walk, and so finds the same leaves in the same order. What cannot be done is
//! left to the walk itself: its errors are the same, and come in the same order, as if nobody had been ahead.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope as Threads};

use super::walk::{NotAString, Sort, Visit, walk};
use crate::format::Format;
use crate::scope::Scope;
use crate::tree::{NodeId, Tree};

/// A tree of fewer nodes is done with before threads have started.
const WORTH_IT: usize = 4096;

/// More threads, the walk's own among them, would wait for that.
const MOST_THREADS: usize = 8;

/// How many leaves are handed over at once, and how often each thread may be ahead: what is done and not yet wanted
/// stays small.
const BATCH: usize = 256;
const BATCHES: usize = 2;

type Batch<T> = Vec<(NodeId, T)>;

/// What other threads make of the scalars that a scope picks.
pub(super) struct Ahead<T> {
    /// Of each thread. They take turns.
    batches: Vec<Receiver<Batch<T>>>,
    batch: std::vec::IntoIter<(NodeId, T)>,
    /// The first of the batch that was not wanted yet.
    next: Option<(NodeId, T)>,
    /// How many scalars were asked for.
    asked: usize,
}

/// A thread has come to the end of its way.
struct Stop;

impl From<NotAString> for Stop {
    fn from(_: NotAString) -> Self {
        Self
    }
}

impl<T> Ahead<T> {
    /// Nobody is ahead.
    pub(super) fn nobody() -> Self {
        Self { batches: Vec::new(), batch: Vec::new().into_iter(), next: None, asked: 0 }
    }

    /// The next scalar is the one at `id`: what was made of it, if anything. To be asked for every one that the
    /// scope picks, in order.
    pub(super) fn take(&mut self, id: NodeId) -> Option<T> {
        if self.batches.is_empty() {
            return None;
        }
        if self.asked.is_multiple_of(BATCH) {
            // Where nobody has come to be ahead, there are no batches.
            let batch = helper(self.asked / BATCH, self.batches.len()).and_then(|it| self.batches[it].recv().ok());
            self.batch = batch.unwrap_or_default().into_iter();
            self.next = self.batch.next();
        }
        self.asked += 1;
        let (_, made) = self.next.take_if(|(it, _)| *it == id)?;
        self.next = self.batch.next();
        Some(made)
    }
}

/// How many threads it takes to be ahead of a walk over `tree`. None where that would take longer.
pub(super) fn helpers(tree: &Tree) -> usize {
    match tree.len() < WORTH_IT {
        true => 0,
        false => thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) - 1,
    }
}

/// Whose a batch is: one turn is the walk's own, then each helper has two, because the walk has more to do.
fn helper(batch: usize, helpers: usize) -> Option<usize> {
    let turn = batch % (2 * helpers + 1);
    (turn > 0).then(|| (turn - 1) % helpers)
}

impl<T: Send> Ahead<T> {
    /// Starts `helpers` that end with `threads`, or when this is dropped. `make` is given each scalar and its number.
    pub(super) fn start<'s>(
        threads: &'s Threads<'s, '_>,
        helpers: usize,
        format: &'s dyn Format,
        tree: &'s Tree,
        scope: &'s Scope,
        make: impl Fn(usize, &Visit<'_, '_>) -> Option<T> + Copy + Send + 's,
    ) -> Self
    where
        T: 's,
    {
        let mut ahead = Self::nobody();
        for one in 0..helpers {
            let (sender, receiver) = sync_channel(BATCHES);
            let ours = move |batch| helper(batch, helpers) == Some(one);
            let run = move || make_batches(format, tree, scope, make, &sender, ours);
            drop(thread::Builder::new().spawn_scoped(threads, run));
            ahead.batches.push(receiver);
        }
        ahead
    }
}

/// Makes the batches that are `ours` and hands them over, until nobody takes them.
fn make_batches<T>(
    format: &dyn Format,
    tree: &Tree,
    scope: &Scope,
    make: impl Fn(usize, &Visit<'_, '_>) -> Option<T>,
    sender: &SyncSender<Batch<T>>,
    ours: impl Fn(usize) -> bool,
) {
    let mut n = 0;
    let mut made = Batch::new();
    let walked = walk(format, tree, scope, |visit| {
        if visit.sort != Sort::Scalar || !visit.covered {
            return Ok(());
        }
        if ours(n / BATCH) {
            made.extend(make(n, &visit).map(|it| (visit.id, it)));
        }
        n += 1;
        match n.is_multiple_of(BATCH) && ours(n / BATCH - 1) {
            true => sender.send(std::mem::take(&mut made)).map_err(|_| Stop),
            false => Ok(()),
        }
    });
    if walked.is_ok() {
        // The last one is short.
        _ = sender.send(made);
    }
}
