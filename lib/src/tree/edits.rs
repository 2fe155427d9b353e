//! Replacements in a text, collected first and made in one go.

use zeroize::Zeroizing;

use super::Span;
use crate::secret::wipe;

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
            wipe(std::mem::replace(&mut self.texts, grown));
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
        let parts = self.parts(source, within);
        let mut result = Zeroizing::new(String::with_capacity(parts.clone().map(str::len).sum()));
        parts.for_each(|it| result.push_str(it));
        result
    }

    /// True if these replacements make of `source` what `other` makes of `text`.
    pub fn same_result(mut self, source: &str, mut other: Self, text: &str) -> bool {
        let whole = |text: &str| Span::new(0, text.len());
        let mut ours = self.parts(source, whole(source)).map(str::as_bytes).filter(|it| !it.is_empty());
        let mut theirs = other.parts(text, whole(text)).map(str::as_bytes).filter(|it| !it.is_empty());
        let (mut one, mut two): (&[u8], &[u8]) = (b"", b"");
        loop {
            one = if one.is_empty() { ours.next().unwrap_or_default() } else { one };
            two = if two.is_empty() { theirs.next().unwrap_or_default() } else { two };
            let n = one.len().min(two.len());
            if n == 0 {
                return one.len() == two.len();
            }
            if one[..n] != two[..n] {
                return false;
            }
            (one, two) = (&one[n..], &two[n..]);
        }
    }

    /// What the result is made of, in order.
    fn parts<'e>(&'e mut self, source: &'e str, within: Span) -> impl Iterator<Item = &'e str> + Clone {
        if !self.places.is_sorted_by_key(|(span, _)| (span.start, span.end)) {
            self.places.sort_by_key(|(span, _)| (span.start, span.end));
        }
        let Self { places, texts, .. } = &*self;
        let mut done = within.range().start;
        let changed = places.iter().flat_map(move |(span, text)| {
            assert!(done <= span.range().start, "replacements overlap");
            let kept = &source[done..span.range().start];
            done = span.range().end;
            [kept, &texts[text.range()]]
        });
        let end = places.last().map_or(within.range().start, |(span, _)| span.range().end);
        changed.chain([&source[end..within.range().end]])
    }
}

impl Drop for Edits {
    fn drop(&mut self) {
        if !self.is_public {
            wipe(std::mem::take(&mut self.texts));
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

    #[test]
    fn results_are_compared_without_being_made() {
        let edits = |places: &[(usize, usize, &str)]| {
            let mut edits = Edits::public();
            places.iter().for_each(|(start, end, text)| edits.replace(Span::new(*start, *end), text));
            edits
        };
        for (source, ours, text, theirs, same) in [
            ("abcde", &[(1, 3, "")][..], "ade", &[][..], true),
            ("abcde", &[(1, 3, "")], "axyde", &[(1, 2, ""), (2, 3, "")], true),
            ("abcde", &[(5, 5, "é")], "abcd", &[(4, 4, "eé")], true),
            ("abcde", &[(1, 3, "")], "adE", &[], false),
            ("abcde", &[], "abcd", &[], false),
            ("", &[], "", &[], true),
        ] {
            assert_eq!(edits(ours).same_result(source, edits(theirs), text), same, "{source} {text}");
        }
    }
}
