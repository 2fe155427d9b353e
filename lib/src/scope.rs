//! Which leaves are encrypted.

use crate::pattern::{Pattern, PatternError};

/// What picks the leaves to be encrypted, and whether the MAC covers only those.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// What picks them.
    pub selector: Selector,
    /// The MAC covers the encrypted leaves only.
    pub mac_only_encrypted: bool,
}

/// The six selectors of SOPS, patterns compiled (spec sections 2.3, 2.4 and 7.5).
///
/// The default is the suffix `_unencrypted`, which SOPS assumes where nothing is said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// Everything is encrypted: a new binary file, which names no selector.
    All,
    /// `unencrypted_suffix`: everything, unless a key on the path ends with it.
    UnencryptedSuffix(String),
    /// `encrypted_suffix`: only what has a key on its path that ends with it.
    EncryptedSuffix(String),
    /// `unencrypted_regex`: everything, unless a key on the path matches.
    UnencryptedRegex(Pattern),
    /// `encrypted_regex`: only what has a key on its path that matches.
    EncryptedRegex(Pattern),
    /// `unencrypted_comment_regex`: everything, unless a comment before it, or before a container
    /// that it is in, matches.
    UnencryptedCommentRegex(Pattern),
    /// `encrypted_comment_regex`: only what such a comment precedes.
    EncryptedCommentRegex(Pattern),
}

/// The selectors' names in metadata and creation rules, in the order in which SOPS lists them when
/// there are several.
pub const SELECTOR_FIELDS: [&str; 6] = [
    "encrypted_suffix",
    "unencrypted_suffix",
    "encrypted_regex",
    "unencrypted_regex",
    "encrypted_comment_regex",
    "unencrypted_comment_regex",
];

impl Default for Selector {
    fn default() -> Self {
        Self::UnencryptedSuffix("_unencrypted".to_owned())
    }
}

impl Selector {
    /// Makes the selector that the field `name` of metadata or of a creation rule says.
    ///
    /// Returns `None` if there is no such selector, or if `text` is empty: to SOPS, that is none.
    pub fn from_field(name: &str, text: &str) -> Option<Result<Self, PatternError>> {
        let pattern = |make: fn(Pattern) -> Self| Some(Pattern::new(text).map(make));
        match name {
            _ if text.is_empty() => None,
            "unencrypted_suffix" => Some(Ok(Self::UnencryptedSuffix(text.to_owned()))),
            "encrypted_suffix" => Some(Ok(Self::EncryptedSuffix(text.to_owned()))),
            "unencrypted_regex" => pattern(Self::UnencryptedRegex),
            "encrypted_regex" => pattern(Self::EncryptedRegex),
            "unencrypted_comment_regex" => pattern(Self::UnencryptedCommentRegex),
            "encrypted_comment_regex" => pattern(Self::EncryptedCommentRegex),
            _ => None,
        }
    }

    /// True if comments pick the leaves.
    pub fn is_by_comment(&self) -> bool {
        matches!(self, Self::EncryptedCommentRegex(_) | Self::UnencryptedCommentRegex(_))
    }

    /// The name and the text of the field that says this selector; none says [`Selector::All`].
    pub fn field(&self) -> Option<(&'static str, &str)> {
        Some(match self {
            Self::All => return None,
            Self::UnencryptedSuffix(it) => ("unencrypted_suffix", it),
            Self::EncryptedSuffix(it) => ("encrypted_suffix", it),
            Self::UnencryptedRegex(it) => ("unencrypted_regex", it.as_str()),
            Self::EncryptedRegex(it) => ("encrypted_regex", it.as_str()),
            Self::UnencryptedCommentRegex(it) => ("unencrypted_comment_regex", it.as_str()),
            Self::EncryptedCommentRegex(it) => ("encrypted_comment_regex", it.as_str()),
        })
    }

    /// True if a comment of this text decides about what follows it.
    pub fn is_decided_by(&self, comment: &str) -> bool {
        match self {
            Self::UnencryptedCommentRegex(it) | Self::EncryptedCommentRegex(it) => it.is_match(comment),
            _ => false,
        }
    }

    /// True if a comment spelt `ciphertext` would be read as one that leaves things unencrypted.
    /// Such a file could never be decrypted, so it must not be written (spec section 2.4).
    pub fn mistakes_for_comment(&self, ciphertext: &str) -> bool {
        match self {
            Self::UnencryptedCommentRegex(it) => it.is_match(ciphertext),
            _ => false,
        }
    }
}

/// Where a walk over a document stands with regard to a scope.
///
/// The walk opens every mapping and list, the root too, goes to the value of each key and comes
/// back, and says when an item is done. Lists add nothing to the path.
#[derive(Debug)]
pub struct Coverage<'s> {
    selector: &'s Selector,
    /// For each key on the path: whether it or one above it matches.
    keys: Vec<bool>,
    /// For each open container: whether a comment that still counts matches.
    comments: Vec<Comments>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Comments {
    outside: bool,
    here: bool,
}

impl Scope {
    /// Starts a walk at the root of a document.
    pub fn start(&self) -> Coverage<'_> {
        Coverage { selector: &self.selector, keys: Vec::new(), comments: Vec::new() }
    }
}

impl Coverage<'_> {
    /// A mapping or list opens.
    pub fn enter(&mut self) {
        self.comments.push(Comments { outside: self.commented(), here: false });
    }

    /// The innermost mapping or list closes.
    pub fn leave(&mut self) {
        self.comments.pop();
    }

    /// The walk goes to the value of `key` in the innermost mapping.
    pub fn key(&mut self, key: &str) {
        let matches = self.matched() || self.matches(key);
        self.keys.push(matches);
    }

    /// The walk comes back from a value with a key.
    pub fn pop_key(&mut self) {
        self.keys.pop();
    }

    /// True if a value that stands here is encrypted.
    pub fn value(&self) -> bool {
        match self.selector {
            Selector::All => true,
            Selector::UnencryptedSuffix(_) | Selector::UnencryptedRegex(_) => !self.matched(),
            Selector::EncryptedSuffix(_) | Selector::EncryptedRegex(_) => self.matched(),
            Selector::UnencryptedCommentRegex(_) => !self.commented(),
            Selector::EncryptedCommentRegex(_) => self.commented(),
        }
    }

    /// The walk meets a comment. True if the comment itself is encrypted.
    ///
    /// A comment that says that things are encrypted does not speak of itself; one that says that
    /// they are not does.
    pub fn comment(&mut self, text: &str) -> bool {
        let before = self.value();
        let (Selector::UnencryptedCommentRegex(pattern) | Selector::EncryptedCommentRegex(pattern)) = self.selector
        else {
            return before;
        };
        if !self.commented()
            && let Some(comments) = self.comments.last_mut()
        {
            comments.here = pattern.is_match(text);
        }
        match self.selector {
            Selector::UnencryptedCommentRegex(_) => self.value(),
            _ => before,
        }
    }

    /// As [`comment`](Self::comment). True if the comment decides about what follows.
    pub fn comment_decides(&mut self, text: &str) -> bool {
        let before = self.commented();
        self.comment(text);
        !before && self.commented()
    }

    /// An item that is not a comment is done: what comments said about it is forgotten.
    pub fn item_done(&mut self) {
        if let Some(comments) = self.comments.last_mut() {
            comments.here = false;
        }
    }

    fn matched(&self) -> bool {
        self.keys.last().copied().unwrap_or(false)
    }

    fn commented(&self) -> bool {
        self.comments.last().is_some_and(|it| it.outside || it.here)
    }

    fn matches(&self, key: &str) -> bool {
        match self.selector {
            Selector::UnencryptedSuffix(suffix) | Selector::EncryptedSuffix(suffix) => key.ends_with(suffix.as_str()),
            // Matching takes less time than looking up what the pattern said about an equal key.
            Selector::UnencryptedRegex(pattern) | Selector::EncryptedRegex(pattern) => pattern.is_match(key),
            Selector::All | Selector::UnencryptedCommentRegex(_) | Selector::EncryptedCommentRegex(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document in which `+name` opens a mapping at a key, `[name` a list, `-` closes either,
    /// `#text` is a comment, `.` is an item of a list and anything else the key of a value.
    /// Returns the comments and values that are encrypted.
    fn encrypted(field: &str, text: &str, document: &str) -> String {
        let selector = Selector::from_field(field, text).map_or_else(Selector::default, |it| it.expect("a selector"));
        let scope = Scope { selector, mac_only_encrypted: false };
        let mut coverage = scope.start();
        let mut result = Vec::new();
        coverage.enter();
        for word in document.split_whitespace() {
            let rest = &word[1..];
            match &word[..1] {
                "+" | "[" => {
                    coverage.key(rest);
                    coverage.enter();
                }
                "-" => {
                    coverage.leave();
                    coverage.pop_key();
                    coverage.item_done();
                }
                "#" => {
                    if coverage.comment(rest) {
                        result.push(word);
                    }
                }
                "." => {
                    if coverage.value() {
                        result.push(word);
                    }
                    coverage.item_done();
                }
                _ => {
                    coverage.key(word);
                    if coverage.value() {
                        result.push(word);
                    }
                    coverage.pop_key();
                    coverage.item_done();
                }
            }
        }
        result.join(" ")
    }

    #[test]
    fn selectors_pick_what_sops_picks() {
        let document = "#c1 a b_unencrypted +m_unencrypted #c2 x - +data #c3 b y_enc [data2 #c4 .1 - - #c5";
        for (field, text, picked) in [
            ("", "", "#c1 a #c3 b y_enc #c4 .1 #c5"),
            ("unencrypted_suffix", "_enc", "#c1 a b_unencrypted #c2 x #c3 b #c4 .1 #c5"),
            ("encrypted_suffix", "_enc", "y_enc"),
            ("encrypted_suffix", "", "#c1 a #c3 b y_enc #c4 .1 #c5"),
            // Case K03: comments at the top stay, those inside go with what they are in.
            ("encrypted_regex", "^data", "#c3 b y_enc #c4 .1"),
            ("encrypted_regex", "^data2$", "#c4 .1"),
            ("encrypted_regex", "^(a|b)$", "a b"),
            ("unencrypted_regex", "data", "#c1 a b_unencrypted #c2 x #c5"),
            ("unencrypted_regex", "^nothing$", "#c1 a b_unencrypted #c2 x #c3 b y_enc #c4 .1 #c5"),
        ] {
            assert_eq!(encrypted(field, text, document), picked, "{field}: {text}");
        }
    }

    #[test]
    fn comments_pick_what_follows_them() {
        for (field, document, picked) in [
            // Case K04.
            ("encrypted_comment_regex", "#MARK #two a b", "#two a"),
            ("encrypted_comment_regex", "#one #MARK a #three b", "a"),
            ("encrypted_comment_regex", "#MARK +m a #in b - c", "a #in b"),
            ("encrypted_comment_regex", "#MARK [l .1 #in .2 - c", ".1 #in .2"),
            ("encrypted_comment_regex", "[l #MARK #second .1 .2 -", "#second .1"),
            ("encrypted_comment_regex", "+m #MARK a b - c", "a"),
            ("encrypted_comment_regex", "+m a #MARK - c", ""),
            // Case K05.
            ("unencrypted_comment_regex", "#MARK #two a #c b", "#c b"),
            ("unencrypted_comment_regex", "#one #MARK a b", "#one b"),
            ("unencrypted_comment_regex", "#MARK +m a #in b - c", "c"),
            ("unencrypted_comment_regex", "[l #MARK .1 .2 - c", ".2 c"),
        ] {
            assert_eq!(encrypted(field, "MARK", document), picked, "{field}: {document}");
        }
    }

    #[test]
    fn a_comment_selector_must_not_fit_ciphertext() {
        for (field, text, mistaken) in [
            ("unencrypted_comment_regex", "ENC", true),
            ("unencrypted_comment_regex", "^ENC$", false),
            ("encrypted_comment_regex", "ENC", false),
        ] {
            let selector = Selector::from_field(field, text).and_then(Result::ok).expect("a selector");
            assert_eq!(selector.mistakes_for_comment("ENC[AES256_GCM,…]"), mistaken, "{field}: {text}");
        }
    }

    #[test]
    fn fields_make_selectors_and_back() {
        for field in SELECTOR_FIELDS {
            let selector = Selector::from_field(field, "x").and_then(Result::ok);
            assert_eq!(selector.as_ref().and_then(Selector::field), Some((field, "x")));
            assert!(Selector::from_field(field, "").is_none());
            assert_eq!(Selector::from_field(field, "(").is_some_and(|it| it.is_err()), field.ends_with("regex"));
        }
        assert!(Selector::from_field("version", "x").is_none());
        assert_eq!(Selector::All.field(), None);
    }
}
