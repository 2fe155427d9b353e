//! The ciphertexts of a file, kept for what has not changed.

use std::collections::{HashMap, VecDeque};

use super::OpenError;
use super::walk::walk;
use crate::cipher::{Cipher, OpenedLeaf};
use crate::format::{Format, ParseError};
use crate::scope::Scope;
use crate::secret::SecretText;
use crate::tree::Tree;

/// The ciphertexts of a file by what they say and where: what has not changed is not sealed again.
#[derive(Default)]
pub(super) struct Stash(HashMap<(String, &'static str, SecretText), VecDeque<String>>);

impl Stash {
    pub(super) fn of(format: &dyn Format, tree: &Tree, scope: &Scope, cipher: &Cipher) -> Result<Self, ParseError> {
        let mut stash = Self::default();
        let walked = walk(format, tree, scope, |visit| {
            if let Some(text) = format.str(tree, visit.id).filter(|it| visit.covered && !it.is_empty()) {
                stash.keep(&text, visit.aad, cipher);
            }
            Ok::<(), OpenError>(())
        });
        match walked {
            Err(OpenError::Parse(problem)) => Err(problem),
            _ => Ok(stash),
        }
    }

    pub(super) fn keep(&mut self, sealed: &str, aad: &str, cipher: &Cipher) {
        if let Ok(OpenedLeaf { value, spelling }) = cipher.open(sealed, aad) {
            let plaintext = spelling.unwrap_or_else(|| SecretText::new(value.canonical().into_owned()));
            let key = (aad.to_owned(), value.type_name(), plaintext);
            self.0.entry(key).or_default().push_back(sealed.to_owned());
        }
    }

    /// True if a ciphertext of this value at this place is left.
    pub(super) fn has(&self, aad: &str, type_name: &'static str, plaintext: &[u8]) -> bool {
        let key = || (aad.to_owned(), type_name, SecretText::new(plaintext.to_vec()));
        !self.0.is_empty() && self.0.get(&key()).is_some_and(|it| !it.is_empty())
    }

    /// Takes the ciphertext of this value at this place; of several, the first that is left.
    pub(super) fn take(&mut self, aad: &str, type_name: &'static str, plaintext: &[u8]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let key = (aad.to_owned(), type_name, SecretText::new(plaintext));
        self.0.get_mut(&key)?.pop_front()
    }
}
