//! Opening a file: every leaf decrypted, every value added up, whatever is made of them.

use super::OpenError;
use super::leaves::{Known, Leaves};
use super::walk::{Place, Sort, Visit, walk, walk_wire};
use super::{PlainFile, absorb, undrifted};
use crate::cipher::{Cipher, CipherError, OpenedLeaf};
use crate::format::Format;
use crate::mac::Mac;
use crate::metadata::Metadata;
use crate::scope::Coverage;
use crate::tree::{NodeId, Tree};
use crate::value::Value;

/// What is made of the leaves of a file that is opened. Each is handed over once, in order.
pub(super) trait Taker {
    /// True if the text at `id` is settled: it goes with something that it stands in.
    fn has(&self, _id: NodeId) -> bool {
        false
    }

    /// A comment that was encrypted.
    fn take_comment(&mut self, id: NodeId, value: Value);

    /// A comment that stood as an item of a list.
    fn take_comment_item(&mut self, id: NodeId, value: Value);

    /// A value that is not encrypted.
    fn take_plain(&mut self, id: NodeId, value: Value, place: Place<'_>);

    /// A value that is, spelt `sealed`.
    fn take(&mut self, id: NodeId, sealed: &str, opened: OpenedLeaf, place: Place<'_>);
}

/// What a file adds up to.
pub(super) struct Sum {
    /// The MAC of its leaves.
    pub(super) mac: String,
    /// What people should know.
    pub(super) warnings: Vec<String>,
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

impl Opening<'_> {
    /// Decrypts every leaf and hands it to `taker`.
    pub(super) fn open(&mut self, taker: &mut impl Taker) -> Result<Sum, OpenError> {
        let Self { format, tree, metadata, .. } = *self;
        let mut mac = Mac::new(metadata.scope.mac_only_encrypted);
        let mut warnings = tree.warnings.clone();
        let mut comments = LostComments::default();
        walk(format, tree, &metadata.scope, |Visit { id, sort, covered, aad, place, coverage }| {
            let failed = |reason: String| OpenError::Leaf { at: place.path(), reason };
            match sort {
                Sort::Comment => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered && !text.is_empty() {
                        match self.open_leaf(id, &text, aad) {
                            _ if taker.has(id) => (),
                            Ok(opened) => taker.take_comment(id, opened.value),
                            Err(_) => comments.waiting.push(id),
                        }
                    }
                    return Ok(());
                }
                Sort::CommentItem => {
                    let text = format.str(tree, id).unwrap_or_default();
                    if covered {
                        let opened = self.open_leaf(id, &text, aad).map_err(|it| failed(it.to_string()))?;
                        taker.take_comment_item(id, opened.value);
                    }
                    return Ok(());
                }
                Sort::Alias => return self.absorb_alias(id, coverage, &mut mac).map_err(failed),
                Sort::Scalar => (),
            }
            comments.find(aad, |id, aad| {
                let text = format.str(tree, id).unwrap_or_default();
                self.open_leaf(id, &text, aad).map(|it| taker.take_comment(id, it.value)).is_ok()
            });
            if !covered {
                let value = format.value(tree, id)?;
                mac.absorb_uncovered(&value.canonical());
                taker.take_plain(id, value, place);
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
            mac.absorb(&opened.value.canonical());
            taker.take(id, &text, opened, place);
            Ok::<(), OpenError>(())
        })?;
        for id in comments.never_found() {
            let (line, _) = tree.line_and_column(tree.node(id).span.start);
            warnings.push(format!("line {line}: Found possibly unencrypted comment in file"));
        }
        Ok(Sum { mac: mac.finish(), warnings })
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
