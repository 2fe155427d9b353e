//! AES-GCM over one leaf at a time, under a key that is expanded once.

use aes_gcm::aead::consts::{U12, U16, U32};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::cipher::{BlockCipherEncrypt, BlockSizeUser};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AesGcm, Tag};

use crate::edge::Rng;
use crate::envelope::{self, Envelope};
use crate::secret::{DataKey, SecretText};
use crate::value::{Value, ValueError};

/// A leaf that does not open. No variant holds the leaf: these texts end up in logs.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum CipherError {
    /// It is no envelope: not encrypted, or damaged.
    #[error("Input string does not match sops' data format")]
    NotAnEnvelope,
    /// A field, named, is not base64.
    #[error("Error base64-decoding {0}: illegal base64 data")]
    Base64(&'static str),
    /// Nobody has ever written nonces of this many bytes.
    #[error("Could not decrypt with AES_GCM: nonces of {0} bytes are not supported")]
    NonceLength(usize),
    /// It was sealed under another key, at another place, or has been changed since.
    #[error("Could not decrypt with AES_GCM: cipher: message authentication failed")]
    Authentication,
    /// The plaintext is not of the type that the envelope names.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// A leaf that has been opened.
pub(crate) struct OpenedLeaf {
    /// What it means.
    pub(crate) value: Value,
    /// The plaintext, where it is not [`Value::canonical`] but another spelling of the same value.
    pub(crate) spelling: Option<SecretText>,
}

impl OpenedLeaf {
    /// Reads `plaintext` as a value of the type that an envelope names.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub(crate) fn read(type_name: &str, plaintext: Vec<u8>) -> Result<Self, ValueError> {
        match type_name {
            name @ ("str" | "comment" | "bytes") => {
                Ok(Self { value: Value::from_canonical(name, plaintext)?, spelling: None })
            }
            name => {
                let plaintext = SecretText::new(plaintext);
                let value = Value::from_canonical(name, plaintext.expose().to_vec())?;
                let spelling = (*value.canonical() != *plaintext.expose()).then_some(plaintext);
                Ok(Self { value, spelling })
            }
        }
    }
}

/// Seals and opens the leaves of one file. Holds the data key, which is wiped when this is dropped.
pub(crate) struct Cipher(Box<dyn Gcm>);

impl Cipher {
    /// Expands `key`.
    pub(crate) fn new(key: &DataKey) -> Self {
        Self(match key.expose() {
            key if key.len() == 16 => expand::<Aes128>(key),
            key if key.len() == 24 => expand::<Aes192>(key),
            key => expand::<Aes256>(key),
        })
    }

    /// Spells `plaintext`, which says a value of the type `type_name`, as an envelope that opens at `aad`
    /// only (spec section 1.2). An empty plaintext stays the empty text: SOPS never encrypts it.
    pub(crate) fn seal(&self, type_name: &str, plaintext: &[u8], aad: &str, nonces: &mut Nonces<'_>) -> String {
        if plaintext.is_empty() {
            return String::new();
        }
        let mut data = plaintext.to_vec();
        let nonce = nonces.draw();
        let tag = self.0.seal(&nonce, aad.as_bytes(), &mut data);
        envelope::print(&data, &nonce, &tag, type_name)
    }

    /// Opens what [`Cipher::seal`] wrote for the same `aad`, and everything else that SOPS opens.
    ///
    /// # Errors
    ///
    /// See [`CipherError`].
    pub(crate) fn open(&self, text: &str, aad: &str) -> Result<OpenedLeaf, CipherError> {
        if text.is_empty() {
            return Ok(OpenedLeaf { value: Value::str(""), spelling: None });
        }
        let envelope = Envelope::parse(text).ok_or(CipherError::NotAnEnvelope)?;
        let mut nonce = Vec::with_capacity(NONCE);
        let mut data = Vec::with_capacity(envelope.data.len() / 4 * 3 + TAG);
        envelope::decode(envelope.data, &mut data).map_err(|_| CipherError::Base64("data"))?;
        envelope::decode(envelope.iv, &mut nonce).map_err(|_| CipherError::Base64("iv"))?;
        envelope::decode(envelope.tag, &mut data).map_err(|_| CipherError::Base64("tag"))?;
        // Go's AEAD takes ciphertext and tag as one text: where the envelope splits it is nobody's business.
        let (body, tag) = data.split_last_chunk_mut::<TAG>().ok_or(CipherError::Authentication)?;
        self.0.open(&nonce, aad.as_bytes(), body, tag)?;
        data.truncate(data.len() - TAG);
        Ok(OpenedLeaf::read(envelope.type_name, data)?)
    }
}

const NONCE: usize = 32;
const TAG: usize = 16;

/// Fresh nonces, drawn from the source of randomness by the block.
pub(crate) struct Nonces<'a> {
    rng: &'a mut dyn Rng,
    block: [u8; 128 * NONCE],
    used: usize,
}

impl<'a> Nonces<'a> {
    /// Draws nothing yet.
    pub(crate) fn new(rng: &'a mut dyn Rng) -> Self {
        Self { rng, block: [0; _], used: 128 }
    }

    fn draw(&mut self) -> [u8; NONCE] {
        if self.used == 128 {
            self.rng.fill(&mut self.block);
            self.used = 0;
        }
        self.used += 1;
        self.block.as_chunks().0[self.used - 1]
    }
}

/// AES-GCM for one size of key.
trait Gcm: Send + Sync {
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG];
    fn open(&self, nonce: &[u8], aad: &[u8], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), CipherError>;
}

/// SOPS writes nonces of 32 bytes; the mode differs for others in how it begins, so they share the
/// expanded key.
struct Expanded<A> {
    block: A,
    usual: AesGcm<A, U32>,
}

/// Expands a key of the size that `A` has.
fn expand<A>(key: &[u8]) -> Box<dyn Gcm>
where
    A: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Clone + Send + Sync + 'static,
{
    let block = A::new_from_slice(key).expect("a data key has 16, 24 or 32 bytes");
    Box::new(Expanded { usual: block.clone().into(), block })
}

impl<A> Gcm for Expanded<A>
where
    A: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Clone + Send + Sync,
{
    fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        let tag = self.usual.encrypt_inout_detached(nonce.into(), aad, data.into());
        tag.expect("a leaf is shorter than 64 GiB").into()
    }

    fn open(&self, nonce: &[u8], aad: &[u8], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), CipherError> {
        let data: InOutBuf<'_, '_, u8> = data.into();
        let tag: &Tag = tag.into();
        let opened = match nonce.len() {
            12 => {
                let nonce = nonce.try_into().expect("the length was looked at");
                AesGcm::<A, U12>::from(self.block.clone()).decrypt_inout_detached(nonce, aad, data, tag)
            }
            16 => {
                let nonce = nonce.try_into().expect("the length was looked at");
                AesGcm::<A, U16>::from(self.block.clone()).decrypt_inout_detached(nonce, aad, data, tag)
            }
            NONCE => {
                let nonce = nonce.try_into().expect("the length was looked at");
                self.usual.decrypt_inout_detached(nonce, aad, data, tag)
            }
            other => return Err(CipherError::NonceLength(other)),
        };
        opened.map_err(|_| CipherError::Authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts, so that every nonce is different and known.
    struct Counter(u8);

    impl Rng for Counter {
        fn fill(&mut self, buf: &mut [u8]) {
            for byte in buf {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    fn cipher() -> Cipher {
        let key: Vec<u8> = (0..32).collect();
        Cipher::new(&DataKey::from_bytes(&key).expect("32 bytes are a data key"))
    }

    const IV: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    /// Spec appendix A.1.
    fn vectors() -> Vec<(Value, &'static str, &'static str, &'static str)> {
        vec![
            (Value::str("hello"), "a:b:", "f6SdJOI=", "TEFu+ejkdT0ijPtelDWwfg=="),
            (Value::Int(42), "n:", "I/M=", "UzMwOWR3/DEzgoo5/g7l1A=="),
            (Value::Bool(true), "flag:", "Q7OELQ==", "OAxCU+J6nicSCpxmQvT0Cw=="),
            (Value::Float(-0.5), "l:", "OvHffQ==", "Ed+f5EvcVYiHGf9leH9Neg=="),
            (Value::Comment(" note".into()), ":", "N6+ePOg=", "cPJU+gQfuk2Cck4/gS4NwA=="),
            (
                Value::Time("2001-12-14T00:00:00Z".to_owned()),
                "t:",
                "JfHBeaA+5A73ZTJH1rpRz72hh/4=",
                "pLrOM+Tdr45sBqnxO3vsXA==",
            ),
        ]
    }

    #[test]
    fn the_published_vectors_hold() {
        for (value, aad, data, tag) in vectors() {
            let text = format!("ENC[AES256_GCM,data:{data},iv:{IV},tag:{tag},type:{}]", value.type_name());
            let mut rng = Counter(0x20);
            assert_eq!(cipher().seal(value.type_name(), &value.canonical(), aad, &mut Nonces::new(&mut rng)), text);
            let opened = cipher().open(&text, aad).expect("this is a vector");
            assert_eq!(opened.value, value);
            assert_eq!(opened.spelling, None);
        }
    }

    #[test]
    fn the_published_mac_holds() {
        let mut mac = crate::mac::Mac::new(false);
        ["hello", "42", "True"].iter().for_each(|it| mac.absorb(it.as_bytes()));
        let text =
            cipher().seal("str", mac.finish().as_bytes(), "2026-01-02T03:04:05Z", &mut Nonces::new(&mut Counter(0x20)));
        assert!(text.starts_with("ENC[AES256_GCM,data:VYfAfLQ75Rr3EFZB0sEi"), "{text}");
        assert!(text.ends_with(",tag:8lex4D+Qwj/8U6aZhpSfaQ==,type:str]"), "{text}");
    }

    #[test]
    fn nonces_do_not_repeat() {
        struct Blocks(u64);
        impl Rng for Blocks {
            fn fill(&mut self, buf: &mut [u8]) {
                for chunk in buf.chunks_mut(8) {
                    chunk.copy_from_slice(&self.0.to_le_bytes());
                    self.0 += 1;
                }
            }
        }
        let mut rng = Blocks(0);
        let mut nonces = Nonces::new(&mut rng);
        let drawn: std::collections::HashSet<_> = (0..1000).map(|_| nonces.draw()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn another_spelling_of_a_value_is_carried() {
        for (value, plaintext, carried) in [
            (Value::Float(1.0), "1.0", true),
            (Value::Float(1.0), "1", false),
            (Value::Bool(true), "true", true),
            (Value::Int(7), "007", true),
            (Value::str("x"), "x", false),
        ] {
            let text = cipher().seal(value.type_name(), plaintext.as_bytes(), "k:", &mut Nonces::new(&mut Counter(0)));
            let opened = cipher().open(&text, "k:").expect("it has just been sealed");
            assert_eq!(opened.value, value);
            assert_eq!(opened.spelling, carried.then(|| SecretText::from(plaintext)), "{plaintext}");
        }
    }

    #[test]
    fn the_empty_text_is_never_encrypted() {
        assert_eq!(cipher().seal("str", b"", "k:", &mut Nonces::new(&mut Counter(0))), "");
        assert_eq!(cipher().open("", "k:").map(|it| it.value), Ok(Value::str("")));
    }

    /// Made with OpenSSL's AES-GCM.
    #[test]
    fn other_keys_and_nonces_open() {
        for (key, text) in [
            (16, "ENC[AES256_GCM,data:qJB+yOk=,iv:ICEiIyQlJicoKSor,tag:Vce7LcXsyp/CnnQyZd0ODg==,type:str]"),
            (
                16,
                "ENC[AES256_GCM,data:Z0PMtSI=,iv:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,tag:t5eW8X5Y2LyX8c223lqHeA==,type:str]",
            ),
            (24, "ENC[AES256_GCM,data:x/pEIpM=,iv:ICEiIyQlJicoKSorLC0uLw==,tag:ZEuMXARiA6/R49S1duv9Xg==,type:str]"),
            (
                24,
                "ENC[AES256_GCM,data:0tFCc6k=,iv:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,tag:lqR3x2sXrlkUFZTpMJ6nCQ==,type:str]",
            ),
            (32, "ENC[AES256_GCM,data:ul/KHAM=,iv:ICEiIyQlJicoKSor,tag:/jGmwZs6AzB53QjESIMKEA==,type:str]"),
            (32, "ENC[AES256_GCM,data:o6nIinM=,iv:ICEiIyQlJicoKSorLC0uLw==,tag:PRffBU/8bDIh5UIKhQJS5w==,type:str]"),
        ] {
            let key: Vec<u8> = (0..key).collect();
            let cipher = Cipher::new(&DataKey::from_bytes(&key).expect("the length is allowed"));
            assert_eq!(cipher.open(text, "a:").map(|it| it.value), Ok(Value::str("hello")), "{text}");
        }
    }

    #[test]
    fn what_is_damaged_does_not_open() {
        let good = format!("ENC[AES256_GCM,data:f6SdJOI=,iv:{IV},tag:TEFu+ejkdT0ijPtelDWwfg==,type:str]");
        let open = |text: &str, aad: &str| cipher().open(text, aad).map(|it| it.value);
        assert_eq!(open(&good, "a:b:"), Ok(Value::str("hello")));
        assert_eq!(open(&good, "a:b"), Err(CipherError::Authentication));
        for (from, to, error) in [
            ("f6Sd", "g6Sd", CipherError::Authentication),
            ("ICEi", "JCEi", CipherError::Authentication),
            ("TEFu", "UEFu", CipherError::Authentication),
            ("ICEiIyQl", "", CipherError::NonceLength(26)),
            (IV, "\r", CipherError::NonceLength(0)),
            ("TEFu+ejkdT0ijPtelDWwfg==", "TEFu", CipherError::Authentication),
            ("f6Sd", "!!!!", CipherError::Base64("data")),
            ("ICEi", "I EiI", CipherError::Base64("iv")),
            ("wfg==", "wfg=", CipherError::Base64("tag")),
            ("type:str", "type:int", CipherError::Value(ValueError::Malformed("int"))),
            ("type:str", "type:new", CipherError::Value(ValueError::UnknownType("new".to_owned()))),
            ("ENC[", "xENC[", CipherError::NotAnEnvelope),
        ] {
            assert_eq!(open(&good.replacen(from, to, 1), "a:b:"), Err(error), "{from} {to}");
        }
        // The same bytes, split elsewhere.
        let mut bytes = Vec::new();
        envelope::decode("f6SdJOI=", &mut bytes).expect("this is base64");
        envelope::decode("TEFu+ejkdT0ijPtelDWwfg==", &mut bytes).expect("this is base64");
        let moved = envelope::print(&bytes[..7], &(0x20..0x40).collect::<Vec<u8>>(), &bytes[7..], "str");
        assert_eq!(open(&moved, "a:b:"), Ok(Value::str("hello")));
    }
}
