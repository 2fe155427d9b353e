//! What is made instead of read: passwords, identifiers, keys (External Secrets, spec section 1.6).

use std::collections::BTreeMap;

use data_encoding::{BASE32, HEXLOWER};
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData, RsaKeypair};
use ssh_key::{EcdsaCurve, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::ProviderError;
use crate::edge::{KeyRng, Rng};
use crate::secret::SecretText;

/// What is made.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// Passwords, each under a key of its own.
    Password(Password),
    /// A random identifier, under `uuid`.
    Uuid,
    /// A pair of keys for SSH, under `privateKey` and `publicKey`.
    SshKey(SshKey),
    /// What is known already.
    Fixed(BTreeMap<String, SecretText>),
}

/// How a password is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Password {
    /// Its length in characters, before it is encoded.
    pub length: usize,
    /// How many of them are digits.
    pub digits: usize,
    /// How many of them are symbols.
    pub symbols: usize,
    /// The symbols there are.
    pub alphabet: Vec<char>,
    /// True if no letter is a capital.
    pub no_upper: bool,
    /// True if characters may be there more than once.
    pub allow_repeat: bool,
    /// How the bytes are spelt.
    pub encoding: Encoding,
    /// Under which keys, each with a value of its own.
    pub keys: Vec<String>,
}

/// How the bytes of a password are spelt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// Base64, padded.
    Base64,
    /// Base64 for URLs, padded.
    Base64Url,
    /// Base32, padded.
    Base32,
    /// Hexadecimal, lower case.
    Hex,
}

/// What kind of key is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshKey {
    /// The algorithm, and how large the key is.
    pub kind: SshKind,
    /// What stands behind the public key.
    pub comment: String,
}

/// An algorithm of SSH keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SshKind {
    /// RSA with so many bits.
    Rsa(usize),
    /// ECDSA on the NIST curve with so many bits, 384 or 521; else on that with 256.
    Ecdsa(usize),
    /// Ed25519.
    Ed25519,
}

impl Recipe {
    /// Makes new values.
    ///
    /// # Errors
    ///
    /// If there can be no such value.
    pub fn make(&self, rng: &mut dyn Rng) -> Result<BTreeMap<String, SecretText>, ProviderError> {
        match self {
            Self::Password(recipe) => {
                let each = recipe.keys.iter().map(|key| Ok((key.clone(), recipe.encoding.spell(&recipe.make(rng)?))));
                each.collect()
            }
            Self::Uuid => Ok(BTreeMap::from([("uuid".to_owned(), SecretText::new(rng.uuid()))])),
            Self::SshKey(recipe) => recipe.make(rng),
            Self::Fixed(values) => Ok(values.clone()),
        }
    }
}

const DIGITS: &str = "0123456789";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";

impl Password {
    /// As the original's library for passwords: so many of each, in any order.
    fn make(&self, rng: &mut dyn Rng) -> Result<Zeroizing<String>, ProviderError> {
        let Some(n_letters) = self.length.checked_sub(self.digits.saturating_add(self.symbols)) else {
            return Err(ProviderError::invalid("number of digits and symbols must be less than total length"));
        };
        let mut letters: Vec<char> = LOWER.chars().collect();
        if !self.no_upper {
            letters.extend(LOWER.chars().map(|it| it.to_ascii_uppercase()));
        }
        let mut password = Zeroizing::new(Vec::with_capacity(self.length));
        for (what, alphabet, n) in [
            ("letters", letters, n_letters),
            ("digits", DIGITS.chars().collect(), self.digits),
            ("symbols", self.alphabet.clone(), self.symbols),
        ] {
            if n > 0 && (alphabet.is_empty() || !self.allow_repeat && n > alphabet.len()) {
                return Err(ProviderError::invalid(format!(
                    "number of {what} exceeds available {what} and repeats are not allowed"
                )));
            }
            let mut left = alphabet.clone();
            for _ in 0..n {
                let at = rng.below(left.len() as u64) as usize;
                let chosen = if self.allow_repeat { left[at] } else { left.swap_remove(at) };
                // Somewhere among those that are there already.
                password.push(chosen);
                let place = rng.below(password.len() as u64) as usize;
                let last = password.len() - 1;
                password.swap(place, last);
            }
        }
        Ok(Zeroizing::new(password.iter().collect()))
    }
}

impl Encoding {
    fn spell(self, password: &str) -> SecretText {
        let bytes = password.as_bytes();
        SecretText::new(match self {
            Self::Raw => password.to_owned(),
            Self::Base64 => base64_simd::STANDARD.encode_to_string(bytes),
            Self::Base64Url => base64_simd::URL_SAFE.encode_to_string(bytes),
            Self::Base32 => BASE32.encode(bytes),
            Self::Hex => HEXLOWER.encode(bytes),
        })
    }
}

impl SshKey {
    fn make(&self, rng: &mut dyn Rng) -> Result<BTreeMap<String, SecretText>, ProviderError> {
        let failed = |_| ProviderError::invalid("the key cannot be made");
        let rng = &mut KeyRng(rng);
        let pair = match self.kind {
            SshKind::Rsa(bits) => KeypairData::Rsa(RsaKeypair::random(rng, bits).map_err(failed)?),
            SshKind::Ed25519 => KeypairData::Ed25519(Ed25519Keypair::random(rng)),
            SshKind::Ecdsa(bits) => {
                let curve = match bits {
                    384 => EcdsaCurve::NistP384,
                    521 => EcdsaCurve::NistP521,
                    _ => EcdsaCurve::NistP256,
                };
                KeypairData::Ecdsa(EcdsaKeypair::random(rng, curve).map_err(failed)?)
            }
        };
        let key = PrivateKey::new(pair, self.comment.as_str()).map_err(failed)?;
        let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
        let public = key.public_key().to_openssh().map_err(failed)?;
        Ok(BTreeMap::from([
            ("privateKey".to_owned(), SecretText::from(private.as_str())),
            ("publicKey".to_owned(), SecretText::new(format!("{}\n", public.trim_end()))),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u64);

    impl Rng for Counter {
        fn fill(&mut self, buf: &mut [u8]) {
            for byte in buf {
                // SplitMix64: any sequence without a pattern will do.
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                *byte = (z ^ (z >> 31)) as u8;
            }
        }
    }

    fn password() -> Password {
        Password {
            length: 24,
            digits: 6,
            symbols: 6,
            alphabet: "~!@#$%^&*".chars().collect(),
            no_upper: false,
            allow_repeat: false,
            encoding: Encoding::Raw,
            keys: vec!["password".to_owned()],
        }
    }

    fn made(recipe: &Recipe) -> BTreeMap<String, String> {
        let made = recipe.make(&mut Counter(7)).expect("this can be made");
        made.into_iter().map(|(key, it)| (key, it.expose_str().expect("it is text").to_owned())).collect()
    }

    #[test]
    fn passwords_have_what_is_asked_for() {
        let it = made(&Recipe::Password(password())).remove("password").expect("it is there");
        let count = |is: fn(char) -> bool| it.chars().filter(|c| is(*c)).count();
        assert_eq!(it.len(), 24);
        assert_eq!(count(|it| it.is_ascii_digit()), 6, "{it}");
        assert_eq!(count(|it| it.is_ascii_punctuation()), 6, "{it}");
        assert!(count(|it| it.is_ascii_uppercase()) > 0, "{it}");
        let mut once: Vec<char> = it.chars().collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 24, "{it}");

        let keys = vec!["a".to_owned(), "b".to_owned()];
        let plain = Password { symbols: 0, no_upper: true, allow_repeat: true, length: 64, keys, ..password() };
        let two = made(&Recipe::Password(plain));
        assert_ne!(two["a"], two["b"]);
        assert!(two["a"].chars().all(|it| it.is_ascii_digit() || it.is_ascii_lowercase()), "{}", two["a"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (impossible, said) in [
            (Password { digits: 11, ..password() }, "number of digits exceeds"),
            (Password { symbols: 10, ..password() }, "number of symbols exceeds"),
            (Password { length: 80, ..password() }, "number of letters exceeds"),
            (Password { length: 11, ..password() }, "number of digits and symbols must be less"),
        ] {
            let error = Recipe::Password(impossible).make(&mut Counter(7)).expect_err("there is no such password");
            assert!(error.message.starts_with(said), "{error}");
        }
    }

    #[test]
    fn bytes_are_spelt() {
        for (encoding, spelt) in [
            (Encoding::Base64, "Zm9vYg=="),
            (Encoding::Base64Url, "Zm9vYg=="),
            (Encoding::Base32, "MZXW6YQ="),
            (Encoding::Hex, "666f6f62"),
        ] {
            assert_eq!(encoding.spell("foob"), SecretText::from(spelt));
        }
        let base32 = |text| Encoding::Base32.spell(text);
        assert_eq!(["", "f", "fooba"].map(base32), ["", "MY======", "MZXW6YTB"].map(SecretText::from));
    }

    #[test]
    fn keys_are_those_of_openssh() {
        for (kind, begins) in [
            (SshKind::Ed25519, "ssh-ed25519 AAAA"),
            (SshKind::Ecdsa(384), "ecdsa-sha2-nistp384 AAAA"),
            (SshKind::Rsa(2048), "ssh-rsa AAAA"),
        ] {
            let it = made(&Recipe::SshKey(SshKey { kind, comment: "of a test".to_owned() }));
            assert!(it["privateKey"].starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
            assert!(it["publicKey"].starts_with(begins) && it["publicKey"].ends_with(" of a test\n"));
        }
        let id = made(&Recipe::Uuid).remove("uuid").expect("it is there");
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
    }
}
