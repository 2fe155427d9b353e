//! `rotate`: every value under another data key, from ciphertext to ciphertext where that is certain to come to the
//! same bytes.

use super::leaves::Leaves;
use super::open::{Opening, Sum, Taker};
use super::replace::comes_back;
use super::seal::stamp;
use super::walk::Place;
use super::{EncryptedFile, OpenError, Opened, PlainFile, SealError, Text};
use crate::cipher::{Cipher, Nonces, OpenedLeaf};
use crate::edge::{Clock, Rng};
use crate::format::Layout;
use crate::metadata::Metadata;
use crate::secret::DataKey;
use crate::tree::{Edits, NodeId, Tree};
use crate::value::Value;

/// What a file says, on its way under another data key.
pub struct Rotation {
    way: Way,
    /// What people should know of the file. Never a value.
    pub warnings: Vec<String>,
}

enum Way {
    /// What every ciphertext says, and what that adds up to.
    Sealed(Leaves, String),
    /// By way of the plaintext.
    Plain(Box<PlainFile>),
}

impl EncryptedFile {
    /// As [`open`](Self::open), for another data key.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_to_rotate(&self, key: &DataKey) -> Result<Rotation, OpenError> {
        if let Some(rotation) = self.open_sealed(key)? {
            return Ok(rotation);
        }
        let Opened { file, warnings } = self.open(key)?;
        Ok(Rotation { way: Way::Plain(Box::new(file)), warnings })
    }

    /// As [`open_to_rotate`](Self::open_to_rotate), whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_to_rotate_ignoring_mac(&self, key: &DataKey) -> Result<Rotation, OpenError> {
        let Opened { file, warnings } = self.open_ignoring_mac(key)?;
        Ok(Rotation { way: Way::Plain(Box::new(file)), warnings })
    }

    fn open_sealed(&self, key: &DataKey) -> Result<Option<Rotation>, OpenError> {
        if !self.may_stay_sealed()? {
            return Ok(None);
        }
        let (tree, format, cipher) = (self.tree()?, self.format, Cipher::new(key));
        let (known, kept) = (None, Some(Leaves::default()));
        let mut opening = Opening { format, tree, metadata: &self.metadata, cipher: &cipher, known, kept };
        let mut looking = Looking { tree, comes_back: true };
        let Sum { mac, warnings } = opening.open(&mut looking)?;
        self.check_mac(&cipher, &mac)?;
        let leaves = opening.kept.take().filter(|_| looking.comes_back);
        Ok(leaves.map(|it| Rotation { way: Way::Sealed(it, mac), warnings }))
    }
}

impl Rotation {
    /// Seals what `file` says, which this was opened of, under `key`. The scope stays that of the file.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal(
        &self,
        file: &EncryptedFile,
        mut metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<EncryptedFile, SealError> {
        metadata.scope.clone_from(&file.metadata.scope);
        let (leaves, mac) = match &self.way {
            Way::Sealed(leaves, mac) => (leaves, mac),
            Way::Plain(plain) => return file.rotate(plain, metadata, key, clock, rng),
        };
        let (tree, format) = (file.tree()?, file.format);
        let (cipher, mut nonces, mut edits) = (Cipher::new(key), Nonces::new(rng), Edits::public());
        for leaf in leaves.iter() {
            let envelope = cipher.seal(leaf.type_name, leaf.plaintext, leaf.aad, &mut nonces);
            edits.replace(tree.node(leaf.id).span, format.sealed(tree, leaf.id, &envelope));
        }
        stamp(&mut metadata, mac, &cipher, &mut nonces, clock);
        format.attach(tree, &metadata.to_wire(), Some(tree), &Layout::default(), &mut edits);
        Ok(EncryptedFile { format, text: Text::public(edits.apply(tree.source())), metadata })
    }

    /// True if `sealed` says under `key` what `file` said, which this was opened of, and nothing else.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn is_said_by(&self, sealed: &EncryptedFile, key: &DataKey, file: &EncryptedFile) -> Result<bool, OpenError> {
        let leaves = match &self.way {
            Way::Sealed(leaves, _) => leaves,
            Way::Plain(plain) => return Ok(sealed.open(key)?.file.same_values(plain)),
        };
        let (tree, format, cipher) = (sealed.tree()?, sealed.format, Cipher::new(key));
        let (known, kept) = (None, Some(Leaves::default()));
        let mut opening = Opening { format, tree, metadata: &sealed.metadata, cipher: &cipher, known, kept };
        // How its values are spelt is nobody's question any more.
        let Sum { mac, .. } = opening.open(&mut Looking { tree, comes_back: false })?;
        sealed.check_mac(&cipher, &mac)?;
        let now = opening.kept.take().unwrap_or_default();
        let without = |file: &EncryptedFile, tree: &Tree, leaves: &Leaves| {
            let mut edits = file.bare(tree);
            leaves.iter().for_each(|it| edits.remove(tree.node(it.id).span));
            edits
        };
        let before = file.tree()?;
        let (one, other) = (without(sealed, tree, &now), without(file, before, leaves));
        Ok(now.say_the_same(leaves) && one.same_result(tree.source(), other, before.source()))
    }

    /// Lets go of what takes memory, in `file` too, and is not needed to find out whether this [is said](Self::is_said_by).
    pub fn shed(&mut self, file: &mut EncryptedFile) {
        if let Way::Plain(plain) = &mut self.way {
            plain.shed();
            file.shed();
        }
    }
}

/// Looks whether every value comes back where it stands.
struct Looking<'l> {
    tree: &'l Tree,
    comes_back: bool,
}

impl Taker for Looking<'_> {
    fn take_comment(&mut self, _id: NodeId, _value: Value) {
        self.comes_back = false;
    }

    fn take_comment_item(&mut self, _id: NodeId, _value: Value) {
        self.comes_back = false;
    }

    fn take_plain(&mut self, _id: NodeId, _value: Value, _place: Place<'_>) {}

    fn take(&mut self, id: NodeId, sealed: &str, opened: OpenedLeaf, _place: Place<'_>) {
        self.comes_back = self.comes_back && comes_back(self.tree, id, sealed, &opened);
    }
}
