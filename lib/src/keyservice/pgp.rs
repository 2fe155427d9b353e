//! OpenPGP: data keys wrapped to the certificates that GnuPG has, and unwrapped with exported secret
//! keys or by whatever does the private-key operation elsewhere.
//!
//! Nothing here starts a process, reads a file or asks anybody: keyrings come from a [`Finder`],
//! passphrases from a [`Prompt`], and what an agent holds is used through [`Decrypts`].

mod certificates;
mod description;
mod keybox;
mod keygrip;
mod message;
mod remote;

use sequoia_openpgp::packet::{Key, key};

pub use certificates::{Certificates, ChoiceError, RING_LIMIT};
pub use message::MessageError;
pub use remote::{Ciphertext, Decrypts, Recipient, open, recipients};

/// The public half of a key that messages are encrypted to.
#[derive(Clone)]
pub struct PublicKey(Key<key::PublicParts, key::UnspecifiedRole>);

impl PublicKey {
    /// Returns the long key id: 16 hexadecimal digits in upper case.
    pub fn id(&self) -> String {
        self.0.keyid().to_hex()
    }

    /// Returns the fingerprint: 40 hexadecimal digits in upper case.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    /// Returns the name that GnuPG's agent has for the key, or `None` if it has none for such keys.
    pub fn keygrip(&self) -> Option<[u8; 20]> {
        keygrip::keygrip(self.0.mpis())
    }
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
