//! What the leaves of a file add up to: the MAC that shows whether one was changed, lost or moved.

use std::fmt::Write;

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// SHA-256 of `sops`, which sets a MAC over the encrypted leaves apart from one over all
/// (spec section 3.1).
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, //
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// The MAC of a file while its leaves are walked. It covers the values and their order, not the
/// keys; nulls and comments are not absorbed.
pub(crate) struct Mac {
    hash: Sha512,
    encrypted_only: bool,
}

impl Mac {
    /// Begins. With `encrypted_only` (`mac_only_encrypted`) only the leaves that the scope picks count.
    pub(crate) fn new(encrypted_only: bool) -> Self {
        let mut hash = Sha512::new();
        if encrypted_only {
            hash.update(ENCRYPTED_ONLY);
        }
        Self { hash, encrypted_only }
    }

    /// Adds the [canonical bytes](crate::value::Value::canonical) of the next leaf.
    pub(crate) fn absorb(&mut self, leaf: &[u8]) {
        self.hash.update(leaf);
    }

    /// As [`absorb`](Self::absorb), of a leaf that the scope does not pick.
    pub(crate) fn absorb_uncovered(&mut self, leaf: &[u8]) {
        if !self.encrypted_only {
            self.absorb(leaf);
        }
    }

    /// Ends, with 128 upper-case hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        self.hash.finalize().iter().fold(String::with_capacity(128), |mut text, byte| {
            write!(text, "{byte:02X}").expect("a string takes everything");
            text
        })
    }
}

/// True if both MACs are the same; how long it takes says nothing about them.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let mut all = Mac::new(false);
        for leaf in ["hello", "42", "True"] {
            all.absorb(leaf.as_bytes());
        }
        assert_eq!(
            all.finish(),
            "BF1494391A064ACD74287133C3513E6D83138622ADE775AF717114C140FDA3FF\
             A76BA3F18A17372570590FD8C141133F0B77C33F26120802F9CB730EA5BF2DC1"
        );
        let mut encrypted = Mac::new(true);
        encrypted.absorb(b"hello");
        assert_eq!(
            encrypted.finish(),
            "AB53BE959DEF78AB23AB9F9A75E134502533FE5A3993047AE8796EADC89707E5\
             244788D2F0A5AD9DF18F64582C106BDAD4937DACD054F46B4FB0B49BDA6E9E7D"
        );
    }

    #[test]
    fn macs_are_compared_as_they_are_spelt() {
        assert!(same(b"AB", b"AB"));
        assert!(!same(b"AB", b"ab"));
        assert!(!same(b"AB", b"ABC"));
    }
}
