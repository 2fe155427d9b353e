//! Chance for templates that draws the same lots as long as what is read stays the same.

use hmac::{Hmac, KeyInit as _, Mac as _};
use leafseal::edge::Rng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Lots drawn with a key, for one object and one content: a template with `randInt` or `bcrypt` makes
/// the same text at each refresh, and another when the store's content changes. Otherwise every refresh
/// would rewrite the Secret and restart what uses it (spec section A.7.1, pitfall a).
///
/// Who does not have the key cannot foretell them.
pub(super) struct Steady {
    seed: Zeroizing<Vec<u8>>,
    n_blocks: u64,
}

impl Steady {
    pub(super) fn new(key: &[u8], uid: &str, content: &[u8]) -> Self {
        let mut seed = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
        for part in [b"templates", uid.as_bytes(), content] {
            seed.update(&(part.len() as u64).to_be_bytes());
            seed.update(part);
        }
        Self { seed: Zeroizing::new(seed.finalize().into_bytes().to_vec()), n_blocks: 0 }
    }
}

impl Rng for Steady {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(32) {
            let block = Sha256::new_with_prefix(&self.seed).chain_update(self.n_blocks.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.n_blocks += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_change_with_the_key_the_object_and_the_content() {
        let draw = |key: &[u8], uid: &str, content: &[u8]| {
            let mut drawn = [0; 40];
            Steady::new(key, uid, content).fill(&mut drawn);
            drawn
        };
        let first = draw(b"k", "u", b"c");
        assert_eq!(first, draw(b"k", "u", b"c"));
        assert_ne!(first[..8], first[32..]);
        for other in [draw(b"l", "u", b"c"), draw(b"k", "v", b"c"), draw(b"k", "u", b"d"), draw(b"k", "uc", b"")] {
            assert_ne!(first, other);
        }
    }
}
