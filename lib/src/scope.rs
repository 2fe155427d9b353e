//! Which leaves are encrypted.

/// What picks the leaves to be encrypted, and whether the MAC covers only those.
#[derive(Clone, Debug)]
pub struct Scope {
    /// What picks them.
    pub selector: Selector,
    /// The MAC covers the encrypted leaves only.
    pub mac_only_encrypted: bool,
}

/// The six selectors of SOPS, patterns compiled (spec sections 2.3, 2.4 and 7.5).
#[derive(Clone, Debug)]
pub enum Selector {
    /// `unencrypted_suffix`.
    UnencryptedSuffix(String),
}

/// Where a walk over a document stands with regard to a scope.
#[derive(Debug)]
pub struct Coverage<'s> {
    #[allow(dead_code)]
    scope: &'s Scope,
}

impl Scope {
    /// Starts a walk at the root of a document.
    pub fn start(&self) -> Coverage<'_> {
        Coverage { scope: self }
    }
}

impl Coverage<'_> {
    /// A mapping or list opens.
    pub fn enter(&mut self) {
        todo!()
    }
    /// The innermost mapping or list closes.
    pub fn leave(&mut self) {
        todo!()
    }
    /// The walk goes to the value of `key` in the innermost mapping.
    pub fn key(&mut self, _key: &str) {
        todo!()
    }
    /// The walk comes back from a value with a key.
    pub fn pop_key(&mut self) {
        todo!()
    }
    /// True if a value that stands here is encrypted.
    pub fn value(&self) -> bool {
        todo!()
    }
    /// The walk meets a comment. True if the comment itself is encrypted.
    pub fn comment(&mut self, _text: &str) -> bool {
        todo!()
    }
    /// An item that is not a comment is done: what comments said about it is forgotten.
    pub fn item_done(&mut self) {
        todo!()
    }
}
