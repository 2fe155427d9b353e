//! Replacements in a text, collected first and made in one go.

use zeroize::{Zeroize, Zeroizing};

use super::Span;

/// Replacements to be made in a text, in any order, none overlapping. Wiped when dropped.
#[derive(Default)]
pub struct Edits {
    /// What is replaced, and where the new text is in `texts`.
    places: Vec<(Span, Span)>,
    texts: String,
    is_public: bool,
}

impl Edits {
    /// Replacements by texts that are no secret, envelopes and metadata: not wiped.
    pub fn public() -> Self {
        let mut edits = Self::default();
        edits.is_public = true;
        edits
    }

    /// Replaces the text at `span`. An empty span inserts; several insertions at one place appear
    /// in the order in which they were made.
    pub fn replace(&mut self, span: Span, text: impl AsRef<str>) {
        let text = text.as_ref();
        let start = self.texts.len();
        if !self.is_public && self.texts.capacity() - start < text.len() {
            // Growing in place would leave a copy behind.
            let mut grown = String::with_capacity((start + text.len()) * 2);
            grown.push_str(&self.texts);
            self.texts.zeroize();
            self.texts = grown;
        }
        self.texts.push_str(text);
        self.places.push((span, Span::new(start, self.texts.len())));
    }

    /// Removes the text at `span`.
    pub fn remove(&mut self, span: Span) {
        self.replace(span, "");
    }

    /// True if a change touches the text at `span`.
    pub fn touch(&self, span: Span) -> bool {
        self.places.iter().any(|(it, _)| it.start < span.end && span.start < it.end)
    }

    /// True if nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns `source` with every replacement made. The result is allocated once, at its final
    /// size, so that no partial copy of it is left behind in memory.
    ///
    /// # Panics
    ///
    /// If two replacements overlap: whoever collected them is wrong about the text.
    pub fn apply(self, source: &str) -> Zeroizing<String> {
        self.apply_within(source, Span::new(0, source.len()))
    }

    /// As [`apply`](Edits::apply), of the part of `source` at `within`, which every replacement
    /// lies in.
    pub fn apply_within(mut self, source: &str, within: Span) -> Zeroizing<String> {
        if !self.places.is_sorted_by_key(|(span, _)| (span.start, span.end)) {
            self.places.sort_by_key(|(span, _)| (span.start, span.end));
        }
        let removed: usize = self.places.iter().map(|(span, _)| span.len()).sum();
        let length = (within.len() + self.texts.len()).saturating_sub(removed);
        let mut result = Zeroizing::new(String::with_capacity(length));
        let mut done = within.range().start;
        for (span, text) in &self.places {
            assert!(done <= span.range().start, "replacements overlap");
            result.push_str(&source[done..span.range().start]);
            result.push_str(&self.texts[text.range()]);
            done = span.range().end;
        }
        result.push_str(&source[done..within.range().end]);
        result
    }
}

impl Drop for Edits {
    fn drop(&mut self) {
        if !self.is_public {
            self.texts.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_made_in_order_of_place() {
        let mut edits = Edits::default();
        edits.replace(Span::new(4, 5), "E");
        edits.replace(Span::new(0, 1), "AA");
        edits.replace(Span::new(2, 2), "-");
        edits.replace(Span::new(2, 2), "+");
        assert_eq!(*edits.apply("abcde"), "AAb-+cdE");
        assert_eq!(*Edits::default().apply("abc"), "abc");
    }
}
