//! Opening a file: every leaf decrypted in its place, every spelling as it was.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::OpenError;
use super::layout::{self, Layout};
use super::leaves::{Known, Leaves};
use super::walk::{Sort, Visit, places, walk, walk_wire};
use super::{Drift, Drifts, PlainFile, absorb, undrifted};
use crate::cipher::{Cipher, CipherError, OpenedLeaf};
use crate::format::Format;
use crate::mac::Mac;
use crate::metadata::Metadata;
use crate::scope::Coverage;
use crate::secret::SecretText;
use crate::tree::{Edits, Kind, NodeId, Span, Tree};
use crate::value::Value;

/// What opening a file yields.
pub(super) struct Plain {
    /// The decrypted text.
    pub(super) text: Zeroizing<String>,
    /// The MAC that its leaves add up to.
    pub(super) mac: String,
    /// What people should know.
    pub(super) warnings: Vec<String>,
    /// The values that their spelling alone does not tell.
    pub(super) drift: Drifts,
}

pub(super) struct Opening<'o> {
    pub(super) format: &'static dyn Format,
    pub(super) tree: &'o Tree,
    pub(super) metadata: &'o Metadata,
    pub(super) cipher: &'o Cipher,
    /// What has been opened before.
    pub(super) known: Option<Known<'o>>,
    /// What is opened now, if that is to be kept.
    pub(super) kept: Option<Leaves>,
}

impl<'o> Opening<'o> {
    /// Decrypts every leaf.
    pub(super) fn open(&mut self, layout: &Layout) -> Result<Plain, OpenError> {
        let Self { format, tree, metadata, .. } = *self;
        let mac_only_encrypted = metadata.scope.mac_only_encrypted;
        let mut mac = Mac::new(mac_only_encrypted);
        let mut edits = Edits::default();
        let mut warnings = tree.warnings.clone();
        let mut drift = Drifts::new();
        let mut replaced = Replaced::default();
        if !layout.is_empty() {
            replaced = self.restore_containers(layout, &mut edits);
        }
        let mut comments = LostComments::default();
        let mut comment_items = HashSet::new();
        walk(format, tree, &metadata.scope, |Visit { id, sort, covered, aad, place, coverage }| {
            let failed = |reason: String| OpenError::Leaf { at: place.path(), reason };
            match sort {
                Sort::Comment => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered && !text.is_empty() {
                        match self.open_leaf(id, &text, aad) {
                            _ if replaced.covers(tree, id) => (),
                            Ok(opened) => self.replace_comment(id, opened.value, &mut edits),
                            Err(_) => comments.waiting.push(id),
                        }
                    }
                    return Ok(());
                }
                Sort::CommentItem => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered {
                        let opened = self.open_leaf(id, &text, aad).map_err(|it| failed(it.to_string()))?;
                        if let Value::Comment(text) = &opened.value {
                            format.uncomment(tree, id, text, &mut edits);
                            comment_items.insert(id);
                        }
                    }
                    return Ok(());
                }
                Sort::Alias => return self.absorb_alias(id, coverage, &mut mac).map_err(failed),
                Sort::Scalar => (),
            }
            comments.find(aad, |id, aad| self.reopen_comment(id, aad, &mut edits));
            if !covered {
                let value = format.value(tree, id)?;
                if !mac_only_encrypted {
                    mac.absorb(&value.canonical());
                }
                // An alias of something that is encrypted where it stands.
                if !layout.is_empty()
                    && !replaced.covers(tree, id)
                    && let Some(was) = layout.get(&place.text(), &String::from_utf8_lossy(&value.canonical()))
                {
                    format.restore(tree, id, was, &mut edits);
                }
                return Ok(());
            }
            let Some(text) = format.str(tree, id) else {
                return match format.value(tree, id)? {
                    Value::Null => Ok(()),
                    other => Err(failed(format!("Expected encrypted value as string, but got {}", other.type_name()))),
                };
            };
            if text.is_empty() {
                return Ok(());
            }
            let opened = self.open_leaf(id, &text, aad).map_err(|it| failed(it.to_string()))?;
            let OpenedLeaf { value, spelling } = opened;
            mac.absorb(&value.canonical());
            if replaced.covers(tree, id) {
                return Ok(());
            }
            if !layout.is_empty()
                && let Some(was) = layout.get(&place.text(), &text)
            {
                format.restore(tree, id, was, &mut edits);
                return Ok(());
            }
            let carried = spelling.as_ref().filter(|_| matches!(value, Value::Float(_) | Value::Bool(_)));
            let carried = carried.and_then(SecretText::expose_str);
            match carried.filter(|it| format.read_bare(it).as_ref() == Some(&value)) {
                Some(text) => format.replace(tree, id, text, &mut edits),
                None => {
                    let text = format.spell(tree, id, &value);
                    format.replace(tree, id, &text, &mut edits);
                    if matches!(value, Value::Float(_)) && format.read_bare(&text).as_ref() != Some(&value) {
                        let (document, path) = place.steps();
                        drift.insert(place.text(), Drift { document, path, value });
                    }
                }
            }
            Ok::<(), OpenError>(())
        })?;
        for id in comments.never_found() {
            let (line, _) = tree.line_and_column(tree.node(id).span.start);
            warnings.push(format!("line {line}: Found possibly unencrypted comment in file"));
        }
        self.spell_empty_lists(&comment_items, &mut edits);
        for (n, document) in tree.documents().iter().enumerate() {
            if !replaced.documents.contains(&n) {
                format.detach(tree, document, &mut edits);
            }
        }
        Ok(Plain { text: edits.apply(tree.source()), mac: mac.finish(), warnings, drift })
    }

    fn open_leaf(&mut self, id: NodeId, sealed: &str, aad: &str) -> Result<OpenedLeaf, CipherError> {
        let opened = match self.known.as_mut().and_then(|it| it.open(sealed, aad)) {
            Some(it) => it,
            None => self.cipher.open(sealed, aad)?,
        };
        if let Some(kept) = &mut self.kept {
            kept.keep(id, aad, &opened);
        }
        Ok(opened)
    }

    fn replace_comment(&self, id: NodeId, value: Value, edits: &mut Edits) {
        if let Value::Comment(_) = &value {
            self.format.replace(self.tree, id, &self.format.spell(self.tree, id, &value), edits);
        }
    }

    fn reopen_comment(&mut self, id: NodeId, aad: &str, edits: &mut Edits) -> bool {
        let text = self.format.str(self.tree, id).unwrap_or_default();
        match self.open_leaf(id, &text, aad) {
            Ok(opened) => {
                self.replace_comment(id, opened.value, edits);
                true
            }
            Err(_) => false,
        }
    }

    /// Adds what an alias stands for to the MAC. Only what is not encrypted can be shared.
    fn absorb_alias(&self, id: NodeId, coverage: &mut Coverage<'_>, mac: &mut Mac) -> Result<(), String> {
        let mut wire = self.format.wire(self.tree, id).map_err(|it| it.to_string())?;
        let mut finds = false;
        walk_wire(&mut wire, "", coverage, &mut |value, _, covered| finds |= covered && !value.is_empty());
        if finds {
            return Err("an alias stands where an encrypted value is expected".to_owned());
        }
        if !self.metadata.scope.mac_only_encrypted {
            absorb(&wire, mac);
        }
        Ok(())
    }

    /// Puts back what was written out: aliases of mappings and lists, aliases as keys, and documents
    /// that hold nothing but comments.
    fn restore_containers(&self, layout: &Layout, edits: &mut Edits) -> Replaced {
        let mut replaced = Replaced::default();
        for (n, document) in self.tree.documents().iter().enumerate() {
            let is_bare = self.tree.entries(document.root).count() <= 1;
            if is_bare && let Some(text) = layout.get(&n.to_string(), "") {
                let whole = layout::whole(n, document);
                edits.replace(whole, text);
                replaced.documents.insert(n);
                replaced.spans.push(whole);
                continue;
            }
            places(self.tree, n, |id, place| {
                let node = self.tree.node(id);
                if let Some(key) = self.tree.key_of(id)
                    && let Some(text) = layout.get(&layout::key(place), "")
                {
                    edits.replace(key.span, text);
                }
                if !matches!(node.kind, Kind::Map | Kind::List) {
                    return false;
                }
                let region = self.format.region(self.tree, id);
                let was = layout.get(place, self.tree.text(region).trim());
                if let Some(text) = was {
                    edits.replace(region, text);
                    replaced.spans.push(region);
                }
                was.is_none()
            });
        }
        replaced.spans.sort_by_key(|it| it.start);
        replaced
    }

    /// A list whose items were all comments is an empty list.
    fn spell_empty_lists(&self, comment_items: &HashSet<NodeId>, edits: &mut Edits) {
        if comment_items.is_empty() {
            return;
        }
        for id in (0..self.tree.len() as u32).map(NodeId) {
            let is_comment =
                |it: NodeId| comment_items.contains(&it) || matches!(self.tree.node(it).kind, Kind::Comment { .. });
            let node = self.tree.node(id);
            if node.kind == Kind::List && self.tree.first_child(id).is_some() && self.tree.children(id).all(is_comment)
            {
                self.format.spell_empty(self.tree, id, edits);
            }
        }
    }

    /// True if a decrypted text says what was decrypted.
    pub(super) fn says_the_same(&self, file: &PlainFile, computed: &str) -> bool {
        let Ok(tree) = file.tree() else { return false };
        let scope = &self.metadata.scope;
        let mut mac = Mac::new(scope.mac_only_encrypted);
        let walked = walk(self.format, tree, scope, |visit| {
            match visit.sort {
                Sort::Scalar if visit.covered || !scope.mac_only_encrypted => {
                    let text = tree.text(tree.node(visit.id).span);
                    let value = self.format.value(tree, visit.id)?;
                    mac.absorb(&undrifted(&file.drift, value, text, visit.place).canonical());
                }
                Sort::Alias if scope.mac_only_encrypted => {
                    let mut wire = self.format.wire(tree, visit.id)?;
                    walk_wire(&mut wire, "", visit.coverage, &mut |value, _, covered| {
                        if covered {
                            mac.absorb(&value.canonical());
                        }
                    });
                }
                Sort::Alias => absorb(&self.format.wire(tree, visit.id)?, &mut mac),
                Sort::Scalar | Sort::Comment | Sort::CommentItem => (),
            }
            Ok::<(), OpenError>(())
        });
        walked.is_ok() && mac.finish() == computed
    }
}

/// What has been replaced as a whole.
#[derive(Default)]
struct Replaced {
    spans: Vec<Span>,
    documents: HashSet<usize>,
}

impl Replaced {
    fn covers(&self, tree: &Tree, id: NodeId) -> bool {
        if self.spans.is_empty() {
            return false;
        }
        let span = tree.node(id).span;
        let after = self.spans.partition_point(|it| it.start <= span.start);
        after > 0 && span.end <= self.spans[after - 1].end
    }
}

/// Comments that do not open where they stand. A comment can come to stand in another container
/// when a file is written in another layout (spec section 2.5), so those nearby are tried.
#[derive(Default)]
struct LostComments {
    waiting: Vec<NodeId>,
    lost: Vec<NodeId>,
    last_aad: String,
}

impl LostComments {
    /// Tries the containers of the leaf before and of the leaf after.
    fn find(&mut self, aad: &str, mut open: impl FnMut(NodeId, &str) -> bool) {
        if !self.waiting.is_empty() {
            for id in std::mem::take(&mut self.waiting) {
                let nearby = [self.last_aad.as_str(), aad];
                let found = nearby
                    .iter()
                    .any(|aad| open(id, ":") || aad.match_indices(':').any(|(end, _)| open(id, &aad[..=end])));
                if !found {
                    self.lost.push(id);
                }
            }
        }
        self.last_aad.clear();
        self.last_aad.push_str(aad);
    }

    fn never_found(self) -> impl Iterator<Item = NodeId> {
        self.lost.into_iter().chain(self.waiting)
    }
}
