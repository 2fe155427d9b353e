//! The ciphertexts of a file, kept for what has not changed.

use std::collections::{HashMap, VecDeque};

use zeroize::{Zeroize, Zeroizing};

use super::OpenError;
use super::walk::walk;
use crate::cipher::{Cipher, OpenedLeaf};
use crate::format::{Format, ParseError};
use crate::scope::Scope;
use crate::secret::SecretText;
use crate::tree::Tree;

/// The ciphertexts of a file by what they say and where: what has not changed is not sealed again.
#[derive(Default)]
pub(super) struct Stash {
    /// By additional data, type and plaintext, see [`spell`].
    sealed: HashMap<SecretText, VecDeque<String>>,
    /// For looking up.
    key: Zeroizing<Vec<u8>>,
}

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
            spell(&mut self.key, aad, value.type_name(), plaintext.expose());
            self.sealed.entry(SecretText::new(self.key.as_slice())).or_default().push_back(sealed.to_owned());
        }
    }

    /// True if a ciphertext of this value at this place is left.
    pub(super) fn has(&mut self, aad: &str, type_name: &str, plaintext: &[u8]) -> bool {
        self.find(aad, type_name, plaintext).is_some_and(|it| !it.is_empty())
    }

    /// Takes the ciphertext of this value at this place; of several, the first that is left.
    pub(super) fn take(&mut self, aad: &str, type_name: &str, plaintext: &[u8]) -> Option<String> {
        self.find(aad, type_name, plaintext)?.pop_front()
    }

    fn find(&mut self, aad: &str, type_name: &str, plaintext: &[u8]) -> Option<&mut VecDeque<String>> {
        if self.sealed.is_empty() {
            return None;
        }
        spell(&mut self.key, aad, type_name, plaintext);
        self.sealed.get_mut(self.key.as_slice())
    }
}

/// Spells a key so that no two are alike.
fn spell(key: &mut Vec<u8>, aad: &str, type_name: &str, plaintext: &[u8]) {
    if key.capacity() < aad.len() + plaintext.len() + 16 {
        // Growing in place would leave a copy behind.
        key.zeroize();
        *key = Vec::with_capacity(2 * (aad.len() + plaintext.len() + 16));
    }
    key.clear();
    key.extend_from_slice(&(aad.len() as u64).to_le_bytes());
    key.extend_from_slice(aad.as_bytes());
    key.extend_from_slice(type_name.as_bytes());
    key.push(b':');
    key.extend_from_slice(plaintext);
}
