//! `set` where a value stands: one ciphertext for another, without making the plaintext of the file.
//!
//! Opening the file, changing its text and sealing that again comes to the same bytes wherever this is done; a test
//! holds both against each other. Where that is not certain, it is not done.

use super::extract::Picking;
use super::leaves::{Known, Leaves};
use super::open::{Opening, Sum, Taker};
use super::seal::stamp;
use super::walk::Place;
use super::{EncryptedFile, OpenError, Text};
use crate::cipher::{Cipher, Nonces, OpenedLeaf};
use crate::edge::{Clock, Rng};
use crate::format::{Format, Layout, ParseError};
use crate::key_path::{KeyPath, Step};
use crate::mac::Mac;
use crate::secret::DataKey;
use crate::tree::{Edits, NodeId, Style, Tree, Wire};
use crate::value::Value;

/// A file in which one value was replaced.
pub struct Replaced {
    /// The file; `None` if it says so already.
    pub file: Option<EncryptedFile>,
    /// What the ciphertexts said before.
    pub leaves: Leaves,
    /// What people should know. Never a value.
    pub warnings: Vec<String>,
}

impl EncryptedFile {
    /// What [`open_to_change`](Self::open_to_change), [`PlainFile::set`](super::PlainFile::set) and
    /// [`reseal`](Self::reseal) make of the file. `None` if that takes the plaintext.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn replace(
        &self,
        at: &KeyPath,
        what: &Wire,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Option<Replaced>, OpenError> {
        let Wire::Leaf(what @ (Value::Str(_) | Value::Bool(_))) = what else { return Ok(None) };
        let is_simple = !what.is_empty() && self.may_stay_sealed()?;
        let (tree, format, scope) = (self.tree()?, self.format, &self.metadata.scope);
        let picking = Picking::new(format, tree, at).filter(|_| is_simple);
        let Some(wanted) = picking.map(|it| it.wanted) else { return Ok(None) };

        let cipher = Cipher::new(key);
        let (known, kept) = (None, Some(Leaves::default()));
        let mut opening = Opening { format, tree, metadata: &self.metadata, cipher: &cipher, known, kept };
        let mac = Mac::new(scope.mac_only_encrypted);
        let mut replacing = Replacing { format, tree, wanted, what, mac, was: None, is_simple };
        let Sum { mac, warnings } = opening.open(&mut replacing)?;
        self.check_mac(&cipher, &mac)?;
        let leaves = opening.kept.take().unwrap_or_default();
        let Some(was) = replacing.was.as_ref().filter(|_| replacing.is_simple) else { return Ok(None) };
        if was == what {
            return Ok(Some(Replaced { file: None, leaves, warnings }));
        }
        // A ciphertext goes where what it says is: of several that say the same, none may come to stand elsewhere.
        let aad = additional_data(at);
        if !replacing.is_one_line(was) || leaves.count(&aad, was) != Some(1) || leaves.count(&aad, what) != Some(0) {
            return Ok(None);
        }
        let mut nonces = Nonces::new(rng);
        let mut edits = Edits::public();
        let envelope = cipher.seal(what.type_name(), &what.canonical(), &aad, &mut nonces);
        edits.replace(tree.node(wanted).span, format.sealed(tree, wanted, &envelope));
        let mut metadata = self.metadata.clone();
        stamp(&mut metadata, &replacing.mac.finish(), &cipher, &mut nonces, clock);
        format.attach(tree, &metadata.to_wire(), Some(tree), &Layout::default(), &mut edits);
        let text = Text::public(edits.apply(tree.source()));
        Ok(Some(Replaced { file: Some(Self { format, text, metadata }), leaves, warnings }))
    }

    /// True if nothing but the values themselves can tell ciphertexts from what is sealed of the plaintext.
    pub(super) fn may_stay_sealed(&self) -> Result<bool, ParseError> {
        let is_plain = self.metadata.layout.is_none() && !self.metadata.scope.selector.is_by_comment();
        Ok(is_plain && self.format.is_plainly_laid_out(self.tree()?))
    }

    /// True if this file says what `before` said, of which `leaves` were opened, but for `what` at `at`: its text is
    /// the same but for that and the metadata, that opens, and the MAC fits.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn is_but_for(
        &self,
        at: &KeyPath,
        what: &Wire,
        key: &DataKey,
        before: &Self,
        leaves: &Leaves,
    ) -> Result<bool, OpenError> {
        let (tree, tree_before, format) = (self.tree()?, before.tree()?, self.format);
        let pick = |tree: &Tree| Picking::new(format, tree, at);
        let (Some(mut picking), Some(before)) = (pick(tree), pick(tree_before)) else { return Ok(false) };
        let cipher = Cipher::new(key);
        let known = Some(Known::new(format, tree_before, leaves));
        let mut opening = Opening { format, tree, metadata: &self.metadata, cipher: &cipher, known, kept: None };
        let Sum { mac, .. } = opening.open(&mut picking)?;
        self.check_mac(&cipher, &mac)?;
        let says = matches!((&picking.found, what), (Some(it), Wire::Leaf(what)) if it == what);
        let (mut one, mut other) = (self.bare(tree), self.bare(tree_before));
        one.remove(tree.node(picking.wanted).span);
        other.remove(tree_before.node(before.wanted).span);
        Ok(says && one.same_result(tree.source(), other, tree_before.source()))
    }
}

/// The additional data of a value (spec section 1.2).
fn additional_data(at: &KeyPath) -> String {
    let keys = at.0.iter().filter_map(|it| match it {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.flat_map(|it| [it, ":"]).collect()
}

/// True if a value is sealed as it was, whatever style it is spelt in meanwhile, and its envelope stands as it would be
/// put there.
pub(super) fn comes_back(tree: &Tree, id: NodeId, sealed: &str, opened: &OpenedLeaf) -> bool {
    let node = tree.node(id);
    let is_as_spelt = match &opened.value {
        Value::Str(it) => it.expose_str().is_some_and(is_spelt_alike),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => opened.spelling.is_none(),
        Value::Comment(_) | Value::Null | Value::Time(_) => false,
    };
    is_as_spelt && node.style == Style::Plain && tree.text(node.span) == sealed
}

/// True for strings that every style says alike. What is odd at the ends of lines, or at its own, may take the layout's
/// help.
fn is_spelt_alike(text: &str) -> bool {
    // Most strings are done with after one look at each byte.
    let may_break = text.bytes().fold(false, |found, it| found | (it == b'\n') | (it == b'\r') | (it >= 0x80));
    let is_odd = || text.starts_with([' ', '\t', '\n']) || text.ends_with("\n\n");
    let breaks = || text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) || (text.contains('\n') && is_odd());
    text != "<<" && !(may_break && breaks())
}

/// One value on its way into a file.
struct Replacing<'r> {
    format: &'static dyn Format,
    tree: &'r Tree,
    wanted: NodeId,
    what: &'r Value,
    /// What the leaves add up to with it.
    mac: Mac,
    was: Option<Value>,
    /// Every value comes back from its own spelling, and every envelope stands there as it would be put there.
    is_simple: bool,
}

impl Replacing<'_> {
    /// True if both values stand behind their key as they are.
    fn is_one_line(&self, was: &Value) -> bool {
        let spell = |it| self.format.spell(self.tree, self.wanted, it);
        let (old, new) = (spell(was), spell(self.what));
        !old.starts_with(['"', '\'', '|', '>', '!']) && !new.starts_with(['|', '>', '!']) && !new.contains('\n')
    }
}

impl Taker for Replacing<'_> {
    fn take_comment(&mut self, _id: NodeId, _value: Value) {
        self.is_simple = false;
    }

    fn take_comment_item(&mut self, _id: NodeId, _value: Value) {
        self.is_simple = false;
    }

    fn take_plain(&mut self, _id: NodeId, value: Value, _place: Place<'_>) {
        self.mac.absorb_uncovered(&value.canonical());
    }

    fn take(&mut self, id: NodeId, sealed: &str, opened: OpenedLeaf, _place: Place<'_>) {
        self.is_simple &= comes_back(self.tree, id, sealed, &opened);
        let value = opened.value;
        match id == self.wanted {
            true => {
                self.mac.absorb(&self.what.canonical());
                self.was = Some(value);
            }
            false => self.mac.absorb(&value.canonical()),
        }
    }
}
