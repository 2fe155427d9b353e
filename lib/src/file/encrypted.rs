//! A file as it is stored: opened, sealed again, given other readers.

use super::extract::Picking;
use super::layout::{self, Layout};
use super::leaves::{Known, Leaves, Unchanged};
use super::open::{Opening, Sum};
use super::rewrite::Rewriting;
use super::seal::Sealing;
use super::walk::{Sort, walk};
use super::{Drifts, EncryptedFile, Extracted, LoadError, OpenError, Opened, PlainFile, SealError, Text};
use crate::cipher::{Cipher, Nonces, OpenedLeaf};
use crate::edge::{Clock, Rng};
use crate::envelope::Envelope;
use crate::format::{Format, Layout as Indent, ParseError};
use crate::key_path::KeyPath;
use crate::mac;
use crate::metadata::Metadata;
use crate::secret::{DataKey, SecretText};
use crate::tree::{Edits, Encoding, METADATA_KEY, Tree};
use crate::value::Value;

impl EncryptedFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn parse(format: &'static dyn Format, source: &[u8]) -> Result<Self, LoadError> {
        Self::read(format, &mut source.to_vec())
    }

    /// As [`parse`](Self::parse). The bytes are taken over if they are the [`text`](Self::text).
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn read(format: &'static dyn Format, source: &mut Vec<u8>) -> Result<Self, LoadError> {
        let mut tree = format.read(source)?;
        tree.set_public();
        match metadata_in(format, &tree) {
            Ok(metadata) => Ok(Self { format, text: Text::parsed(tree), metadata }),
            Err(problem) => {
                if source.is_empty() {
                    *source = tree.take_source().into_bytes();
                }
                Err(problem)
            }
        }
    }

    /// Lets go of the structure, which takes several times the memory of the text. It is found again when
    /// somebody asks for it.
    pub fn shed(&mut self) {
        self.text.shed();
    }

    /// The format.
    pub fn format(&self) -> &'static dyn Format {
        self.format
    }

    /// What the file says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    pub(super) fn tree(&self) -> Result<&Tree, ParseError> {
        self.text.tree(self.format)
    }

    /// Decrypts every leaf and checks the MAC over them.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&self, key: &DataKey) -> Result<Opened, OpenError> {
        Ok(self.open_with(key, true, None, None)?.0)
    }

    /// Decrypts every leaf, whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_ignoring_mac(&self, key: &DataKey) -> Result<Opened, OpenError> {
        Ok(self.open_with(key, false, None, None)?.0)
    }

    /// As [`open`](Self::open), for a change: what every ciphertext says is kept for
    /// [`reseal`](Self::reseal) and [`open_changed`](Self::open_changed).
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_to_change(&self, key: &DataKey) -> Result<(Opened, Leaves), OpenError> {
        self.open_with(key, true, None, Some(Leaves::default()))
    }

    /// As [`open_to_change`](Self::open_to_change), whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_to_change_ignoring_mac(&self, key: &DataKey) -> Result<(Opened, Leaves), OpenError> {
        self.open_with(key, false, None, Some(Leaves::default()))
    }

    /// As [`open`](Self::open), for a file that was `before`, of which `leaves` were opened with the same
    /// key. A ciphertext that stands where it stood then is not decrypted again: it says the same. The
    /// MAC is computed over all values all the same.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_changed(&self, key: &DataKey, before: &Self, leaves: &Leaves) -> Result<Opened, OpenError> {
        let known = Known::new(before.format, before.tree()?, leaves);
        Ok(self.open_with(key, true, Some(known), None)?.0)
    }

    /// What [`PlainFile::extract`] prints, found without making the plaintext: every leaf is decrypted and
    /// the MAC over them checked, one value is kept. Also what people should know. `None` if there is no
    /// string, integer or boolean at `at`, or only the plaintext tells.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn extract(&self, key: &DataKey, at: &KeyPath, format: &dyn Format) -> Result<Extracted, OpenError> {
        self.extract_with(key, at, format, true)
    }

    /// As [`extract`](Self::extract), whatever the MAC says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn extract_ignoring_mac(
        &self,
        key: &DataKey,
        at: &KeyPath,
        format: &dyn Format,
    ) -> Result<Extracted, OpenError> {
        self.extract_with(key, at, format, false)
    }

    fn extract_with(
        &self,
        key: &DataKey,
        at: &KeyPath,
        format: &dyn Format,
        check_mac: bool,
    ) -> Result<Extracted, OpenError> {
        let tree = self.tree()?;
        let picking = Picking::new(self.format, tree, at).filter(|_| self.metadata.layout.is_none());
        let Some(mut picking) = picking else { return Ok(None) };
        let (cipher, metadata) = (Cipher::new(key), &self.metadata);
        let mut opening = Opening { format: self.format, tree, metadata, cipher: &cipher, known: None, kept: None };
        let Sum { mac, warnings } = opening.open(&mut picking)?;
        if check_mac {
            self.check_mac(&cipher, &mac)?;
        }
        Ok(picking.finish(tree, format).map(|it| (it, warnings)))
    }

    fn open_with(
        &self,
        key: &DataKey,
        check_mac: bool,
        known: Option<Known<'_>>,
        kept: Option<Leaves>,
    ) -> Result<(Opened, Leaves), OpenError> {
        let tree = self.tree()?;
        let cipher = Cipher::new(key);
        let layout = self.layout(&cipher).map(|it| Layout::parse(it.expose_str().unwrap_or(""))).unwrap_or_default();
        let mut opening = Opening { format: self.format, tree, metadata: &self.metadata, cipher: &cipher, known, kept };
        let encoding = layout.get(layout::FILE, "").and_then(Encoding::named).unwrap_or_default();
        let rewrite = |opening: &mut Opening<'_>, layout: &Layout| {
            let mut rewriting = Rewriting::new(self.format, tree, layout);
            let Sum { mac, warnings } = opening.open(&mut rewriting)?;
            let (text, drift) = rewriting.finish();
            let (text, layout) = (Text::secret(text), Indent::default());
            let file = PlainFile { format: self.format, text, drift, layout, encoding };
            Ok::<_, OpenError>((Opened { file, warnings }, mac))
        };
        let (opened, mac) = rewrite(&mut opening, &layout)?;
        if check_mac {
            self.check_mac(&cipher, &mac)?;
        }
        let leaves = opening.kept.take().unwrap_or_default();
        if layout.is_empty() || opening.says_the_same(&opened.file, &mac) {
            return Ok((opened, leaves));
        }
        // A spelling no longer fits what others made of the file: the canonical ones do.
        Ok((rewrite(&mut opening, &Layout::default())?.0, leaves))
    }

    /// The plaintext of the layout, if there is one that opens.
    fn layout(&self, cipher: &Cipher) -> Option<SecretText> {
        match cipher.open(self.metadata.layout.as_deref()?, layout::AAD) {
            Ok(OpenedLeaf { value: Value::Str(text), .. }) => Some(text),
            _ => None,
        }
    }

    pub(super) fn check_mac(&self, cipher: &Cipher, computed: &str) -> Result<(), OpenError> {
        let Some(stored) = self.metadata.mac.as_deref().filter(|it| !it.is_empty()) else {
            return Err(OpenError::NoMac);
        };
        let opened = cipher.open(stored, self.metadata.last_modified.as_str());
        let opened = opened.map_err(|reason| OpenError::MacUnreadable(reason.to_string()))?;
        match mac::same(&opened.value.canonical(), computed.as_bytes()) {
            true => Ok(()),
            false => Err(OpenError::MacMismatch),
        }
    }

    /// Seals `edited` under the key of this file, of which `leaves` were opened. A leaf that has not
    /// changed keeps its ciphertext, the metadata keeps its text but for what changes, so a review shows
    /// what was edited.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn reseal(
        &self,
        leaves: &Leaves,
        edited: &PlainFile,
        metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Self, SealError> {
        if edited.has_metadata() {
            return Err(SealError::AlreadyEncrypted);
        }
        let cipher = Cipher::new(key);
        let sealing = Sealing {
            format: self.format,
            cipher: &cipher,
            nonces: Nonces::new(rng),
            before: Some(self.tree()?),
            unchanged: Some(Unchanged::new(leaves)),
            layout_before: self.layout(&cipher).zip(self.metadata.layout.as_deref()),
            drift: &Drifts::new(),
            layout: edited.layout,
            encoding: edited.encoding,
        };
        sealing.seal(edited.tree()?, metadata, clock)
    }

    /// The same values under a new data key: nothing that was sealed stays.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rotate(
        &self,
        opened: &PlainFile,
        metadata: Metadata,
        key: &DataKey,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<Self, SealError> {
        let sealing = Sealing {
            format: self.format,
            cipher: &Cipher::new(key),
            nonces: Nonces::new(rng),
            before: Some(self.tree()?),
            unchanged: None,
            layout_before: None,
            drift: &opened.drift,
            layout: opened.layout,
            encoding: opened.encoding,
        };
        sealing.seal(opened.tree()?, metadata, clock)
    }

    /// The places of the values that are sealed, in order: what a reader of the file can read.
    ///
    /// # Errors
    ///
    /// If the document cannot be walked.
    pub fn sealed_places(&self) -> Result<Vec<String>, OpenError> {
        let tree = self.tree()?;
        let mut places = Vec::new();
        walk(self.format, tree, &self.metadata.scope, |visit| {
            let is_sealed = || self.format.str(tree, visit.id).is_some_and(|it| Envelope::parse(&it).is_some());
            if visit.sort == Sort::Scalar && visit.covered && is_sealed() {
                places.push(match visit.place.steps().0 {
                    0 => visit.place.path(),
                    document => format!("document {}: {}", document + 1, visit.place.path()),
                });
            }
            Ok::<(), OpenError>(())
        })?;
        Ok(places)
    }

    /// True if both have the same text but for their metadata: then both hold the same ciphertexts.
    pub fn same_leaves(&self, other: &Self) -> bool {
        match (self.tree(), other.tree()) {
            (Ok(one), Ok(two)) => self.bare(one).same_result(one.source(), self.bare(two), two.source()),
            _ => false,
        }
    }

    /// What takes the metadata out of a file.
    pub(super) fn bare(&self, tree: &Tree) -> Edits {
        let mut edits = Edits::public();
        tree.documents().iter().for_each(|it| self.format.detach(tree, it, &mut edits));
        edits
    }

    /// The same leaves with other key groups: neither MAC nor time change.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn rewrap(&self, metadata: Metadata) -> Result<Self, SealError> {
        let tree = self.tree()?;
        let mut edits = Edits::public();
        self.format.attach(tree, &metadata.to_wire(), Some(tree), &Indent::default(), &mut edits);
        let text = Text::public(edits.apply(tree.source()));
        Ok(Self { format: self.format, text, metadata })
    }
}

fn metadata_in(format: &dyn Format, tree: &Tree) -> Result<Metadata, LoadError> {
    let document = tree.documents().first().ok_or(LoadError::NotEncrypted)?;
    let block = tree.child(document.root, METADATA_KEY).ok_or(LoadError::NotEncrypted)?;
    Ok(Metadata::from_wire(&format.wire(tree, block)?)?)
}
