//! `leafseal_layout`: the spellings that ciphertexts cannot carry (`docs/layout.md`).
//!
//! A JSON object: from each place to a digest of the text that stands there in the encrypted file
//! and the text that stood there before. Sealed like a value, with additional data of its own, so
//! it says nothing to those who cannot read the file and nobody can change it.

use std::collections::HashMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::format::{self, Layout as Indent};
use crate::tree::{Document, Entry, Span, Wire};

/// The additional data that it is sealed with.
pub(super) const AAD: &str = "sops:leafseal_layout:";

/// The place of the file as a whole: its encoding.
pub(super) const FILE: &str = "";

/// Where the alias stands that the key of the entry at `place` was.
pub(super) fn key(place: &str) -> String {
    format!("{place}*")
}

/// All of a document: the first one starts where the file does.
pub(super) fn whole(n: usize, document: &Document) -> Span {
    if n == 0 { Span { start: 0, ..document.span } } else { document.span }
}

/// Spellings by place.
#[derive(Default)]
pub(super) struct Layout {
    spellings: HashMap<String, Spelling>,
    /// In the order of the document, for writing.
    places: Vec<String>,
}

/// How something was spelt.
pub(super) struct Spelling {
    digest: String,
    /// The text that stood there.
    pub(super) text: Zeroizing<String>,
}

impl Layout {
    /// Reads the plaintext of the entry. What cannot be read is no layout: the file still opens.
    pub(super) fn parse(text: &str) -> Self {
        let mut layout = Self::default();
        let Some(json) = format::named("json") else { return layout };
        let Ok(tree) = json.parse(text.as_bytes()) else { return layout };
        let Some(document) = tree.documents().first() else { return layout };
        let Ok(wire) = json.wire(&tree, document.root) else { return layout };
        for (place, entry) in wire.pairs() {
            let mut texts = entry.items().filter_map(Wire::as_str);
            if let (Some(digest), Some(text)) = (texts.next(), texts.next()) {
                let spelling = Spelling { digest: digest.to_owned(), text: Zeroizing::new(text.to_owned()) };
                layout.spellings.insert(place.to_owned(), spelling);
            }
        }
        layout
    }

    /// Writes the plaintext of the entry; `None` if there is nothing to say.
    pub(super) fn print(&self) -> Option<Zeroizing<String>> {
        if self.places.is_empty() {
            return None;
        }
        let entries = self.places.iter().filter_map(|place| {
            let Spelling { digest, text } = self.spellings.get(place)?;
            let texts = Wire::List(vec![Wire::text(digest), Wire::text(text)]);
            Some(Entry::Pair(place.clone(), texts))
        });
        let wire = Wire::Map(entries.collect());
        format::named("json")?.print(&[wire], &Indent { indent: Some(0) }).ok()
    }

    /// Notes that `text` stood at `place`, where the encrypted file has `sealed`.
    pub(super) fn note(&mut self, place: String, sealed: &str, text: &str) {
        let spelling = Spelling { digest: digest(sealed), text: Zeroizing::new(text.to_owned()) };
        if self.spellings.insert(place.clone(), spelling).is_none() {
            self.places.push(place);
        }
    }

    /// What stood at `place`, if the encrypted file still has `sealed` there.
    pub(super) fn get(&self, place: &str, sealed: &str) -> Option<&str> {
        let spelling = self.spellings.get(place)?;
        (spelling.digest == digest(sealed)).then_some(spelling.text.as_str())
    }

    /// True if nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.spellings.is_empty()
    }
}

/// The first 64 bits of SHA-256, in hexadecimal: whoever could look for two texts with the same one
/// can seal what he likes anyway.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..8].iter().fold(String::with_capacity(16), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
