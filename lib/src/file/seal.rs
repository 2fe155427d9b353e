//! Sealing a file: every leaf that the scope picks is encrypted in its place.

use std::borrow::Cow;
use std::collections::HashSet;

use zeroize::Zeroizing;

use super::layout::{self, Layout};
use super::leaves::Unchanged;
use super::walk::{Place, Sort, Visit, places, walk, walk_wire};
use super::{Drifts, EncryptedFile, SealError, Text, absorb, undrifted};
use crate::cipher::{Cipher, Nonces};
use crate::edge::Clock;
use crate::envelope::Envelope;
use crate::format::{Format, Layout as Indent, ParseError, ParseErrorKind};
use crate::mac::Mac;
use crate::metadata::Metadata;
use crate::scope::{Coverage, Scope, Selector};
use crate::secret::SecretText;
use crate::tree::{Edits, Encoding, Entry, Kind, NodeId, Style, Tree, Wire};
use crate::value::Value;

pub(super) struct Sealing<'s> {
    pub(super) format: &'static dyn Format,
    pub(super) cipher: &'s Cipher,
    pub(super) nonces: Nonces<'s>,
    /// The file that this one takes the place of.
    pub(super) before: Option<&'s Tree>,
    /// What of it says what it said.
    pub(super) unchanged: Option<Unchanged<'s>>,
    /// Its layout: what it says and its ciphertext.
    pub(super) layout_before: Option<(SecretText, &'s str)>,
    /// The values that their spelling alone does not tell.
    pub(super) drift: &'s Drifts,
    /// How text is laid out that is newly made.
    pub(super) layout: Indent,
    /// How the file was stored. What is sealed is always UTF-8.
    pub(super) encoding: Encoding,
}

impl Sealing<'_> {
    pub(super) fn seal(
        mut self,
        tree: &Tree,
        mut metadata: Metadata,
        clock: &dyn Clock,
    ) -> Result<EncryptedFile, SealError> {
        let format = self.format;
        let mut mac = Mac::new(metadata.scope.mac_only_encrypted);
        let mut edits = Edits::public();
        let mut layout = Layout::default();
        if self.encoding != Encoding::Utf8 {
            layout.note(layout::FILE.to_owned(), "", self.encoding.name());
        }
        refuse_hidden_comments(format, tree, &metadata.scope.selector)?;
        let expanded = aliases_to_expand(format, tree, &metadata.scope)?;
        let mut covers_comments = false;
        walk(format, tree, &metadata.scope, |visit| {
            match visit.sort {
                Sort::Comment | Sort::CommentItem => covers_comments |= visit.covered,
                Sort::Alias => {
                    self.seal_alias(tree, visit, &metadata.scope, &expanded, &mut mac, &mut edits, &mut layout)?;
                }
                Sort::Scalar => self.seal_scalar(tree, visit, &mut mac, &mut edits, &mut layout)?,
            }
            Ok::<(), SealError>(())
        })?;
        // What an alias stands for may be sealed: a key says what it is.
        let has_aliased_keys = (0..tree.len() as u32).any(|it| format.aliased_key(tree, NodeId(it)).is_some());
        for n in (0..tree.documents().len()).filter(|_| has_aliased_keys) {
            places(tree, n, |id, place| {
                if let (Some(text), Some(key)) = (format.aliased_key(tree, id), tree.key_of(id)) {
                    layout.note(layout::key(place), "", tree.text(key.span));
                    edits.replace(key.span, text.as_str());
                }
                matches!(tree.node(id).kind, Kind::Map | Kind::List)
            });
        }
        for (n, document) in tree.documents().iter().enumerate() {
            let bare = tree.entries(document.root).next().is_none();
            if bare && tree.node(document.root).style != Style::Flow {
                // What has no content cannot show that it had none but for its spelling.
                layout.note(n.to_string(), "", tree.text(layout::whole(n, document)));
            }
        }
        stamp(&mut metadata, &mac.finish(), self.cipher, &mut self.nonces, clock);
        metadata.layout = layout.print().map(|it| self.layout_envelope(&it));
        format.attach(tree, &metadata.to_wire(), self.before, &self.layout, &mut edits);
        let mut text = edits.apply(tree.source());
        if covers_comments || metadata.scope.selector.is_by_comment() {
            text = self.seal_comments(text, &metadata.scope)?;
        }
        Ok(EncryptedFile { format, text: Text::public(text), metadata })
    }

    fn seal_scalar(
        &mut self,
        tree: &Tree,
        visit: Visit<'_, '_>,
        mac: &mut Mac,
        edits: &mut Edits,
        layout: &mut Layout,
    ) -> Result<(), SealError> {
        let Visit { id, covered, aad, place, .. } = visit;
        let format = self.format;
        let value = format.value(tree, id).map_err(|problem| at_place(problem, &place.path()))?;
        let node = tree.node(id);
        let value = self.undrifted(value, tree.text(node.span), aad, place);
        if !covered || value.is_empty() {
            mac.absorb_uncovered(&value.canonical());
            if matches!(node.style, Style::Literal | Style::Folded) && node.span.range().end == tree.source().len() {
                // The end of the file ends it; now the metadata does, which takes another header.
                let text = format.str(tree, id).unwrap_or_default();
                layout.note(place.text(), &text, &format.original(tree, id));
            }
            return Ok(());
        }
        let spelt = Spelt::of(format, tree, id, value);
        let envelope = self.envelope(&spelt.value, &spelt.plaintext(), aad);
        mac.absorb(&spelt.value.canonical());
        if !spelt.comes_back && !spelt.carried {
            layout.note(place.text(), &envelope, &format.original(tree, id));
        }
        format.replace(tree, id, &format.sealed(tree, id, &envelope), edits);
        Ok(())
    }

    /// The float that was here before its spelling came to look like an integer.
    fn undrifted(&mut self, value: Value, text: &str, aad: &str, place: Place<'_>) -> Value {
        let mut was_float = || self.unchanged.as_mut().is_some_and(|it| it.has_float(aad, text.as_bytes()));
        match matches!(value, Value::Int(_)) && was_float() {
            true => Value::from_canonical("float", text.as_bytes().to_vec()).unwrap_or(value),
            false => undrifted(self.drift, value, text, place),
        }
    }

    fn envelope(&mut self, value: &Value, plaintext: &[u8], aad: &str) -> String {
        let unchanged = self.unchanged.as_mut().and_then(|it| it.take(aad, value.type_name(), plaintext));
        match unchanged.zip(self.before).and_then(|(id, before)| self.format.str(before, id)) {
            Some(it) => it.into_owned(),
            None => self.cipher.seal(value.type_name(), plaintext, aad, &mut self.nonces),
        }
    }

    fn layout_envelope(&mut self, layout: &str) -> String {
        match &self.layout_before {
            Some((before, sealed)) if before.expose() == layout.as_bytes() => (*sealed).to_owned(),
            _ => self.cipher.seal("str", layout.as_bytes(), layout::AAD, &mut self.nonces),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one walk")]
    fn seal_alias(
        &mut self,
        tree: &Tree,
        visit: Visit<'_, '_>,
        scope: &Scope,
        expanded: &HashSet<NodeId>,
        mac: &mut Mac,
        edits: &mut Edits,
        layout: &mut Layout,
    ) -> Result<(), SealError> {
        let Visit { id, aad, place, coverage, .. } = visit;
        let mut wire = without_comments(self.format.wire(tree, id)?, coverage);
        if !expanded.contains(&id) {
            if !scope.mac_only_encrypted {
                absorb(&wire, mac);
            }
            return Ok(());
        }
        if tree.node(id).in_flow && has_comment(&wire) {
            let reason = "an alias in brackets cannot say which of its values are encrypted: a comment decides that, \
                          write it out"
                .to_owned();
            return Err(SealError::Leaf { at: place.path(), reason });
        }
        self.seal_wire(&mut wire, aad, coverage, scope, mac);
        let is_container = !matches!(wire, Wire::Leaf(_));
        let text = self.format.expand(tree, id, &wire, edits);
        let sealed = match &wire {
            Wire::Leaf(value) => String::from_utf8_lossy(&value.canonical()).into_owned(),
            _ => text.as_str().to_owned(),
        };
        let region = self.format.region(tree, id);
        let gap = match is_container {
            true => {
                let before = &tree.source()[..region.range().start];
                &before[before.trim_end_matches([' ', '\t', '\n', '\r']).len()..]
            }
            false => "",
        };
        layout.note(place.text(), &sealed, &format!("{gap}{}", tree.text(region)));
        Ok(())
    }

    /// Seals structure that is about to be written out in place of an alias.
    fn seal_wire(&mut self, wire: &mut Wire, aad: &str, coverage: &mut Coverage<'_>, scope: &Scope, mac: &mut Mac) {
        walk_wire(wire, aad, coverage, &mut |value, aad, covered| {
            if covered || !scope.mac_only_encrypted {
                mac.absorb(&value.canonical());
            }
            if covered && !value.is_empty() {
                let canonical = value.canonical().into_owned();
                *value = Value::str(&self.envelope(value, &canonical, aad));
            }
        });
    }

    /// Seals the comments of a text whose values are sealed already: the container that a comment
    /// belongs to is the one that readers of this text see.
    fn seal_comments(&mut self, text: Zeroizing<String>, scope: &Scope) -> Result<Zeroizing<String>, SealError> {
        let format = self.format;
        let tree = format.parse(text.as_bytes())?;
        let mut edits = Edits::public();
        let comments_decide = scope.selector.is_by_comment();
        walk(format, &tree, scope, |Visit { id, sort, covered, aad, place, .. }| {
            if sort == Sort::Scalar && comments_decide {
                let text = format.str(&tree, id).unwrap_or_default();
                let is_empty = format.value(&tree, id)?.is_empty();
                if !is_empty && covered != Envelope::parse(&text).is_some() {
                    let reason = "the comment that decides about it belongs to something else once the file is \
                                  sealed: put it directly above a key"
                        .to_owned();
                    return Err(SealError::Leaf { at: place.path(), reason });
                }
            }
            if sort != Sort::Comment || !covered {
                return Ok(());
            }
            let value = format.value(&tree, id)?;
            if value.is_empty() {
                return Ok(());
            }
            let envelope = self.envelope(&value, &value.canonical(), aad);
            if let Selector::UnencryptedCommentRegex(_) = &scope.selector
                && scope.selector.mistakes_for_comment(&envelope)
            {
                let reason = "Encrypted comment matches UnencryptedCommentRegex! Make sure that \
                              UnencryptedCommentRegex cannot match an encrypted comment."
                    .to_owned();
                return Err(SealError::Leaf { at: place.path(), reason });
            }
            format.replace(&tree, id, &format.sealed(&tree, id, &envelope), &mut edits);
            Ok::<(), SealError>(())
        })?;
        Ok(edits.apply(tree.source()))
    }
}

/// Says of a file when it was changed, and what it adds up to.
pub(super) fn stamp(metadata: &mut Metadata, mac: &str, cipher: &Cipher, nonces: &mut Nonces<'_>, clock: &dyn Clock) {
    metadata.last_modified = clock.now();
    metadata.mac = Some(cipher.seal("str", mac.as_bytes(), metadata.last_modified.as_str(), nonces));
}

/// A value that is to be sealed, and what becomes of its spelling.
struct Spelt<'t> {
    value: Value,
    original: &'t str,
    /// The ciphertext can carry it: floats and booleans, where SOPS reads it as the same value.
    carried: bool,
    /// It is how the value will be spelt again, and needs no carrying.
    comes_back: bool,
}

impl<'t> Spelt<'t> {
    fn of(format: &dyn Format, tree: &'t Tree, id: NodeId, value: Value) -> Self {
        let original = tree.text(tree.node(id).span);
        let carried = matches!(value, Value::Float(_) | Value::Bool(_))
            && tree.tag(id).is_none()
            && *original.as_bytes() != *value.canonical()
            && format.read_bare(original).as_ref() == Some(&value)
            && Value::from_canonical(value.type_name(), original.as_bytes().to_vec()).as_ref() == Ok(&value);
        let comes_back = tree.tag(id).is_none() && *format.spell_again(tree, id, &value) == *original;
        Self { value, original, carried, comes_back }
    }

    /// What the ciphertext is to say.
    fn plaintext(&self) -> Cow<'_, [u8]> {
        match self.carried && !self.comes_back {
            true => Cow::Borrowed(self.original.as_bytes()),
            false => self.value.canonical(),
        }
    }
}

/// In brackets, a comment on the line of the opening one or of a key is one that SOPS does not see: it must
/// not decide.
fn refuse_hidden_comments(format: &dyn Format, tree: &Tree, selector: &Selector) -> Result<(), SealError> {
    if !selector.is_by_comment() {
        return Ok(());
    }
    let all = || (0..tree.len() as u32).map(|it| (NodeId(it), tree.node(NodeId(it))));
    for (id, comment) in all().filter(|(_, it)| matches!(it.kind, Kind::Comment { .. })) {
        let start = comment.span.start;
        let before = tree.source()[..start as usize].trim_end_matches([' ', '\t']);
        let is_hidden = before.ends_with(['{', '[', ':'])
            && all().any(|(_, it)| it.style == Style::Flow && it.span.start < start && start < it.span.end);
        if is_hidden && format.str(tree, id).is_some_and(|it| selector.is_decided_by(&it)) {
            let reason = "the comment stands where SOPS does not see it: put it directly above a key";
            return Err(SealError::Leaf {
                at: format!("line {}", tree.line_and_column(start).0),
                reason: reason.to_owned(),
            });
        }
    }
    Ok(())
}

/// A problem of one leaf, with its place.
fn at_place(problem: ParseError, at: &str) -> SealError {
    match problem.kind {
        ParseErrorKind::NotEncryptable => SealError::Leaf { at: at.to_owned(), reason: problem.message },
        _ => SealError::Parse(problem),
    }
}

/// Structure without its comments, but for those that decide what is encrypted, were it to stand
/// where `coverage` is. These are not encrypted themselves.
fn without_comments(wire: Wire, coverage: &mut Coverage<'_>) -> Wire {
    let decides = |coverage: &mut Coverage<'_>, text: &SecretText| {
        text.expose_str().is_some_and(|it| coverage.comment_decides(it))
    };
    match wire {
        Wire::Leaf(value) => Wire::Leaf(value),
        Wire::List(items) => {
            let mut kept = Vec::with_capacity(items.len());
            coverage.enter();
            for item in items {
                if let Wire::Leaf(Value::Comment(text)) = &item {
                    if decides(coverage, text) {
                        kept.push(item);
                    }
                    continue;
                }
                kept.push(without_comments(item, coverage));
                coverage.item_done();
            }
            coverage.leave();
            Wire::List(kept)
        }
        Wire::Map(entries) => {
            let mut kept = Vec::with_capacity(entries.len());
            coverage.enter();
            for entry in entries {
                match entry {
                    Entry::Comment(text) if !decides(coverage, &text) => (),
                    Entry::Comment(text) => kept.push(Entry::Comment(text)),
                    Entry::Pair(key, value) => {
                        coverage.key(&key);
                        let value = without_comments(value, coverage);
                        coverage.pop_key();
                        coverage.item_done();
                        kept.push(Entry::Pair(key, value));
                    }
                }
            }
            coverage.leave();
            Wire::Map(kept)
        }
    }
}

/// True if there is a comment in structure.
fn has_comment(wire: &Wire) -> bool {
    match wire {
        Wire::Leaf(value) => matches!(value, Value::Comment(_)),
        Wire::List(items) => items.iter().any(has_comment),
        Wire::Map(entries) => entries.iter().any(|it| match it {
            Entry::Comment(_) => true,
            Entry::Pair(_, value) => has_comment(value),
        }),
    }
}

/// The aliases that cannot stay: something that they stand for is encrypted, there or here.
fn aliases_to_expand(format: &dyn Format, tree: &Tree, scope: &Scope) -> Result<HashSet<NodeId>, SealError> {
    let mut expanded = HashSet::new();
    if !(0..tree.len() as u32).any(|it| matches!(tree.node(NodeId(it)).kind, Kind::Alias(_))) {
        return Ok(expanded);
    }
    let mut sealed: HashSet<NodeId> = HashSet::new();
    let mut aliases = Vec::new();
    walk(format, tree, scope, |Visit { id, sort, covered, coverage, .. }| {
        match sort {
            Sort::Scalar if covered && format.value(tree, id).is_ok_and(|it| !it.is_empty()) => {
                sealed.insert(id);
            }
            // Where it stands, and nowhere else, does a sealed comment open.
            Sort::Comment if covered => {
                sealed.insert(id);
            }
            Sort::Alias => {
                let mut wire = without_comments(format.wire(tree, id)?, coverage);
                walk_wire(&mut wire, "", coverage, &mut |value, _, covered| {
                    if covered && !value.is_empty() {
                        expanded.insert(id);
                    }
                });
                aliases.push(id);
            }
            _ => (),
        }
        Ok::<(), SealError>(())
    })?;
    loop {
        let n = expanded.len();
        for id in &aliases {
            let mut stack = vec![tree.resolve(*id)];
            while let Some(below) = stack.pop() {
                if sealed.contains(&below) || expanded.contains(&below) {
                    expanded.insert(*id);
                    break;
                }
                stack.extend(tree.children(below));
            }
        }
        if expanded.len() == n {
            return Ok(expanded);
        }
    }
}
