//! What one opening of a file has decrypted: what has not changed since is neither sealed nor opened
//! again.

use std::collections::{HashMap, VecDeque};

use zeroize::Zeroizing;

use crate::cipher::OpenedLeaf;
use crate::format::Format;
use crate::secret::{SecretText, wipe};
use crate::tree::{NodeId, Tree};
use crate::value::Value;

/// The leaves that one opening of a file has decrypted, in the order of the document. Wiped when
/// dropped.
#[derive(Default)]
pub struct Leaves {
    leaves: Vec<Leaf>,
    /// What they say, see [`spell`].
    said: Vec<u8>,
    has_integral_floats: bool,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.said));
    }
}

/// One leaf: where its ciphertext stands in the file, and what that says, as a part of `said`.
struct Leaf {
    id: NodeId,
    type_name: &'static str,
    start: usize,
    plaintext: usize,
    end: usize,
}

/// What one leaf says.
pub(super) struct Said<'l> {
    pub(super) id: NodeId,
    pub(super) aad: &'l str,
    pub(super) type_name: &'static str,
    pub(super) plaintext: &'l [u8],
}

/// Steps for each leaf that are spent on looking for it near the last one: documents are walked in
/// the same order each time. After that, an index is worth its making.
const PATIENCE: usize = 32;

impl Leaves {
    pub(super) fn keep(&mut self, id: NodeId, aad: &str, opened: &OpenedLeaf) {
        let OpenedLeaf { value, spelling } = opened;
        let canonical = value.canonical();
        let plaintext = spelling.as_ref().map_or(&*canonical, SecretText::expose);
        let type_name = value.type_name();
        self.has_integral_floats |= type_name == "float" && !plaintext.contains(&b'.');
        let start = self.said.len();
        spell(&mut self.said, aad, type_name, plaintext);
        let end = self.said.len();
        self.leaves.push(Leaf { id, type_name, start, plaintext: end - plaintext.len(), end });
    }

    /// How many leaves at a place say `value`. `None` if there are floats that might be taken for integers.
    pub(super) fn count(&self, aad: &str, value: &Value) -> Option<usize> {
        let mut wanted = Zeroizing::new(Vec::new());
        spell(&mut wanted, aad, value.type_name(), &value.canonical());
        let same = self.leaves.iter().filter(|it| self.said(it) == wanted.as_slice());
        (!self.has_integral_floats).then(|| same.count())
    }

    /// Every leaf, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Said<'_>> {
        self.leaves.iter().map(|it| Said {
            id: it.id,
            aad: self.aad(it),
            type_name: it.type_name,
            plaintext: &self.said[it.plaintext..it.end],
        })
    }

    /// True if both have the same leaves, as far as these tell.
    pub(super) fn say_the_same(&self, other: &Self) -> bool {
        let ends = |it: &Leaf| (it.plaintext, it.end);
        self.said == other.said && self.leaves.iter().map(ends).eq(other.leaves.iter().map(ends))
    }

    fn aad(&self, leaf: &Leaf) -> &str {
        let aad = &self.said[leaf.start + 8..leaf.plaintext - leaf.type_name.len() - 1];
        std::str::from_utf8(aad).expect("it was a text when it was put there")
    }

    fn said(&self, leaf: &Leaf) -> &[u8] {
        &self.said[leaf.start..leaf.end]
    }
}

/// Spells what a ciphertext says so that no two are alike.
fn spell(said: &mut Vec<u8>, aad: &str, type_name: &str, plaintext: &[u8]) {
    let more = 8 + aad.len() + type_name.len() + 1 + plaintext.len();
    if said.capacity() - said.len() < more {
        // Growing in place would leave a copy behind.
        let mut grown = Vec::with_capacity(2 * (said.len() + more));
        grown.extend_from_slice(said);
        wipe(std::mem::replace(said, grown));
    }
    said.extend_from_slice(&(aad.len() as u64).to_le_bytes());
    said.extend_from_slice(aad.as_bytes());
    said.extend_from_slice(type_name.as_bytes());
    said.push(b':');
    said.extend_from_slice(plaintext);
}

/// Hands out ciphertexts for what they say, each once.
pub(super) struct Unchanged<'l> {
    leaves: &'l Leaves,
    taken: Vec<bool>,
    /// Behind the leaf that was taken last.
    next: usize,
    steps: usize,
    index: Option<HashMap<&'l [u8], VecDeque<usize>>>,
    wanted: Zeroizing<Vec<u8>>,
}

impl<'l> Unchanged<'l> {
    pub(super) fn new(leaves: &'l Leaves) -> Self {
        let taken = vec![false; leaves.leaves.len()];
        Self { leaves, taken, next: 0, steps: 0, index: None, wanted: Zeroizing::default() }
    }

    /// True if a float that is spelt as an integer says `plaintext` at `aad`, and is left.
    pub(super) fn has_float(&mut self, aad: &str, plaintext: &[u8]) -> bool {
        self.leaves.has_integral_floats && self.find(aad, "float", plaintext).is_some()
    }

    /// Takes the node whose ciphertext says this at this place.
    pub(super) fn take(&mut self, aad: &str, type_name: &str, plaintext: &[u8]) -> Option<NodeId> {
        let found = self.find(aad, type_name, plaintext)?;
        self.taken[found] = true;
        self.next = found + 1;
        Some(self.leaves.leaves[found].id)
    }

    fn find(&mut self, aad: &str, type_name: &str, plaintext: &[u8]) -> Option<usize> {
        let leaves = self.leaves;
        let n = leaves.leaves.len();
        if n == 0 {
            return None;
        }
        self.wanted.clear();
        spell(&mut self.wanted, aad, type_name, plaintext);
        if self.steps <= PATIENCE * n {
            let says_it = |it: &usize| !self.taken[*it] && leaves.said(&leaves.leaves[*it]) == self.wanted.as_slice();
            let found = (self.next..n).chain(0..self.next).find(says_it);
            self.steps += found.map_or(n, |it| (it + n - self.next) % n + 1);
            return found;
        }
        let index = self.index.get_or_insert_with(|| {
            let mut index: HashMap<_, VecDeque<_>> = HashMap::with_capacity(n);
            for (at, leaf) in leaves.leaves.iter().enumerate() {
                index.entry(leaves.said(leaf)).or_default().push_back(at);
            }
            index
        });
        let left = index.get_mut(self.wanted.as_slice())?;
        while left.front().is_some_and(|it| self.taken[*it]) {
            left.pop_front();
        }
        left.front().copied()
    }
}

/// Says what ciphertexts mean that have been opened before. The same bytes at the same place under the
/// same key say the same again: to compare them takes less time than to open them.
pub(super) struct Known<'l> {
    format: &'l dyn Format,
    /// The file that the leaves are of.
    tree: &'l Tree,
    leaves: &'l Leaves,
    next: usize,
    steps: usize,
}

impl<'l> Known<'l> {
    pub(super) fn new(format: &'l dyn Format, tree: &'l Tree, leaves: &'l Leaves) -> Self {
        Self { format, tree, leaves, next: 0, steps: 0 }
    }

    /// What `sealed` says at `aad`. `None` if that has to be found out.
    pub(super) fn open(&mut self, sealed: &str, aad: &str) -> Option<OpenedLeaf> {
        let leaves = &self.leaves.leaves;
        let rest = self.next..leaves.len();
        let patience = (PATIENCE * leaves.len()).saturating_sub(self.steps).max(1);
        let found = rest.clone().take(patience).find(|it| self.is(&leaves[*it], sealed, aad));
        self.steps += found.map_or(rest.len().min(patience), |it| it + 1 - self.next);
        let leaf = &leaves[found?];
        self.next = found? + 1;
        OpenedLeaf::read(leaf.type_name, self.leaves.said[leaf.plaintext..leaf.end].to_vec()).ok()
    }

    fn is(&self, leaf: &Leaf, sealed: &str, aad: &str) -> bool {
        let place = &self.leaves.said[leaf.start + 8..leaf.plaintext];
        place.len() == aad.len() + leaf.type_name.len() + 1
            && place.starts_with(aad.as_bytes())
            && self.format.str(self.tree, leaf.id).is_some_and(|it| *it == *sealed)
    }
}
