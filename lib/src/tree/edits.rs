//! Replacements in a text, collected first and made in one go.

use zeroize::Zeroizing;

use super::Span;

/// Replacements to be made in a text, in any order, none overlapping.
#[derive(Default)]
pub struct Edits(Vec<(Span, Zeroizing<String>)>);

impl Edits {
    /// Replaces the text at `span`. An empty span inserts; several insertions at one place appear
    /// in the order in which they were made.
    pub fn replace(&mut self, span: Span, text: impl Into<String>) {
        self.0.push((span, Zeroizing::new(text.into())));
    }

    /// Removes the text at `span`.
    pub fn remove(&mut self, span: Span) {
        self.replace(span, String::new());
    }

    /// True if a change touches the text at `span`.
    pub fn touch(&self, span: Span) -> bool {
        self.0.iter().any(|(it, _)| it.start < span.end && span.start < it.end)
    }

    /// True if nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        if !self.0.is_sorted_by_key(|(span, _)| (span.start, span.end)) {
            self.0.sort_by_key(|(span, _)| (span.start, span.end));
        }
        let added: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        let removed: usize = self.0.iter().map(|(span, _)| span.len()).sum();
        let mut result = Zeroizing::new(String::with_capacity((within.len() + added).saturating_sub(removed)));
        let mut done = within.range().start;
        for (span, text) in &self.0 {
            assert!(done <= span.range().start, "replacements overlap");
            result.push_str(&source[done..span.range().start]);
            result.push_str(text);
            done = span.range().end;
        }
        result.push_str(&source[done..within.range().end]);
        result
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
