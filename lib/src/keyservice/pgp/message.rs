//! OpenPGP messages: whom one is for and, once a session key is known, what is in it (RFC 4880, 11.3).

use std::io::Read;

use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::crypto::symmetric::{BlockCipherMode, Decryptor, UnpaddingMode};
use sequoia_openpgp::packet::{Body, SEIP, Tag};
use sequoia_openpgp::parse::buffered_reader::Memory;
use sequoia_openpgp::parse::{Cookie, Dearmor, PacketParser, PacketParserBuilder, PacketParserResult, Parse};
use sequoia_openpgp::types::{PublicKeyAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp::{KeyHandle, KeyID, Packet};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{PublicKey, armour, sha1};
use crate::keyservice::one_line;

/// The most that the `enc` of one key may hold. SOPS writes one to two thousand bytes.
const ENC_LIMIT: usize = 1 << 20;

/// The most that is read of what was encrypted. A data key has 32 bytes, a share of one 33.
const CONTENT_LIMIT: usize = 1 << 12;

/// How often a private key is put to work for one message. Every hidden recipient costs one for
/// each key there is.
const WORK_LIMIT: usize = 256;

/// How many recipients, or faults, an error tells of.
const SHOWN: usize = 4;

/// How deep compressed data may lie in compressed data. GnuPG compresses once.
const DEPTH_LIMIT: usize = 4;

/// Why a message does not open. The texts hold nothing of what is in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// The text is no OpenPGP message, or a part of one.
    #[error("it is not an OpenPGP message: {0}")]
    Malformed(String),
    /// The text is longer than any that is read.
    #[error("the OpenPGP message has more than {ENC_LIMIT} bytes")]
    TooLong,
    /// None of its keys is here.
    #[error("no secret key for {0}")]
    NoKey(String),
    /// Keys are here, and none of them opened it; the reasons.
    #[error("{0}")]
    Failed(String),
    /// Nothing would show that the message was changed: refused, as GnuPG does.
    #[error("the OpenPGP message is not protected against changes (it has no MDC)")]
    Unprotected,
    /// The message is encrypted in a way that only other programs read.
    #[error("the OpenPGP message is {0}, which is left to gpg")]
    Unsupported(String),
    /// The message was changed, or the session key is another one.
    #[error("the OpenPGP message was changed or damaged")]
    Manipulated,
    /// What is in it cannot be a data key.
    #[error("the OpenPGP message holds {0}, which no data key is")]
    Content(&'static str),
}

/// An encrypted message, read as far as one gets without a key.
pub(super) struct Message {
    recipients: Vec<Recipient>,
    /// What is encrypted, or why it is not opened here.
    body: Result<Vec<u8>, MessageError>,
}

/// A key that a message is for.
pub(super) struct Recipient {
    /// Which key; `None` if the message does not say, as with `gpg --throw-keyids`.
    pub(super) id: Option<KeyID>,
    algorithm: PublicKeyAlgorithm,
    esk: mpi::Ciphertext,
}

/// What the public key hides: a cipher, its key, and their checksum (RFC 4880, 5.1).
pub(super) type Block = Zeroizing<Vec<u8>>;

/// The keys at hand.
pub(super) trait Opener {
    /// Returns the keys that a message for `id` may be for; for a hidden recipient, all there are.
    fn keys(&self, id: Option<&KeyID>) -> Vec<PublicKey>;

    /// Whether somebody has to be asked before this key can be used.
    fn asks(&self, key: &PublicKey) -> bool;

    /// Undoes what was done with the public key. `None` if the secret half is not here.
    fn block(&self, key: &PublicKey, esk: &mpi::Ciphertext) -> Option<Result<Block, String>>;
}

impl Message {
    /// Reads a message in armour.
    pub(super) fn parse(enc: &str) -> Result<Self, MessageError> {
        let malformed = |it: &dyn std::fmt::Display| MessageError::Malformed(one_line(it));
        if enc.len() > ENC_LIMIT {
            return Err(MessageError::TooLong);
        }
        let packets = armour::message(enc).map_err(MessageError::Malformed)?;
        let parser = PacketParserBuilder::from_bytes(&packets)
            .map(|it| it.max_recursion_depth(0).buffer_unread_content().dearmor(Dearmor::Disabled))
            .and_then(PacketParserBuilder::build);
        let mut rest = parser.map_err(|it| malformed(&it))?;
        let mut recipients = Vec::new();
        while let PacketParserResult::Some(parser) = rest {
            let (packet, next) = parser.next().map_err(|it| malformed(&it))?;
            rest = next;
            match packet {
                Packet::PKESK(pkesk) => recipients.push(Recipient {
                    id: pkesk.recipient().map(|it| match it {
                        KeyHandle::KeyID(id) => id,
                        KeyHandle::Fingerprint(it) => KeyID::from(it),
                    }),
                    algorithm: pkesk.pk_algo(),
                    esk: pkesk.esk().clone(),
                }),
                Packet::SEIP(SEIP::V1(it)) => {
                    let Body::Unprocessed(body) = it.body() else { break };
                    return Ok(Self { recipients, body: Ok(body.clone()) });
                }
                Packet::SEIP(_) => return Ok(Self { recipients, body: Err(aead()) }),
                Packet::Unknown(it) => match it.tag() {
                    Tag::SED => return Ok(Self { recipients, body: Err(MessageError::Unprotected) }),
                    Tag::AED => return Ok(Self { recipients, body: Err(aead()) }),
                    // A way to encrypt to a key that is not known; there may be others beside it.
                    Tag::PKESK | Tag::SKESK => (),
                    _ => break,
                },
                Packet::SKESK(_) | Packet::Marker(_) | Packet::Padding(_) => (),
                _ => break,
            }
        }
        Err(malformed(&"there is no encrypted data in it"))
    }

    /// Returns whom the message is for.
    pub(super) fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Opens the message with whichever key does it: first those that ask nobody, and of these
    /// first those that the message names.
    pub(super) fn open(&self, opener: &dyn Opener) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        let body = self.body.as_ref().map_err(Clone::clone)?;
        let mut attempts = self.attempts(opener);
        attempts.sort_by_key(|(recipient, key)| (opener.asks(key), recipient.id.is_none()));
        let (mut worked, mut failures) = (0, Vec::<String>::new());
        for (recipient, key) in attempts {
            let Some(block) = opener.block(&key, &recipient.esk) else { continue };
            let named = recipient.id.is_some();
            match block.map_err(MessageError::Failed).and_then(|it| open_with(body, &it)) {
                Ok(content) => return Ok(content),
                // The content is what it is, whatever key comes next.
                Err(it @ (MessageError::Content(_) | MessageError::Unsupported(_))) => return Err(it),
                Err(it) if named => {
                    let failure = format!("{}: {it}", key.id());
                    if failures.len() < SHOWN && !failures.contains(&failure) {
                        failures.push(failure);
                    }
                }
                Err(_) => (),
            }
            worked += 1;
            if worked == WORK_LIMIT {
                failures.push(format!("gave up after {WORK_LIMIT} attempts"));
                break;
            }
        }
        match failures.is_empty() {
            true => Err(MessageError::NoKey(self.for_whom())),
            false => Err(MessageError::Failed(failures.join("; "))),
        }
    }

    /// Which key may open what is for which recipient. Hidden recipients may be any key.
    fn attempts(&self, opener: &dyn Opener) -> Vec<(&Recipient, PublicKey)> {
        let (hidden, named): (Vec<_>, Vec<_>) = self.recipients.iter().partition(|it| it.id.is_none());
        let all = if hidden.is_empty() { Vec::new() } else { opener.keys(None) };
        let named = named.into_iter().flat_map(|recipient| {
            let keys = opener.keys(recipient.id.as_ref()).into_iter();
            keys.filter(|it| recipient.fits(it)).map(move |key| (recipient, key))
        });
        let hidden = hidden
            .into_iter()
            .flat_map(|recipient| all.iter().filter(|it| recipient.fits(it)).map(move |key| (recipient, key.clone())));
        named.take(WORK_LIMIT).chain(hidden.take(WORK_LIMIT)).collect()
    }

    /// The recipients, for people.
    fn for_whom(&self) -> String {
        let hidden = || "a hidden recipient".to_owned();
        let mut names: Vec<_> =
            self.recipients.iter().map(|it| it.id.as_ref().map_or_else(hidden, KeyID::to_hex)).collect();
        names.dedup();
        match names.len() {
            0 => "a message without recipients".to_owned(),
            1..=SHOWN => names.join(", "),
            n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        }
    }
}

fn aead() -> MessageError {
    MessageError::Unsupported("encrypted with AEAD".to_owned())
}

fn open_with(body: &[u8], block: &Block) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let (cipher, key) = session_key(block)?;
    content(&unprotected(body, cipher, &key)?)
}

impl Recipient {
    /// Whether the message can be for this key, by its algorithm.
    fn fits(&self, key: &PublicKey) -> bool {
        use PublicKeyAlgorithm as Algorithm;
        #[expect(deprecated, reason = "old messages and keys have them")]
        let family = |it| match it {
            Algorithm::RSAEncrypt | Algorithm::RSASign => Algorithm::RSAEncryptSign,
            Algorithm::ElGamalEncryptSign => Algorithm::ElGamalEncrypt,
            it => it,
        };
        family(self.algorithm) == family(key.0.pk_algo())
    }
}

/// Splits a block into its cipher and the key for it.
fn session_key(block: &Block) -> Result<(SymmetricAlgorithm, SessionKey), MessageError> {
    let [cipher, key @ .., high, low] = block.as_slice() else { return Err(MessageError::Manipulated) };
    let sum = key.iter().fold(0_u16, |sum, it| sum.wrapping_add(u16::from(*it)));
    let cipher = SymmetricAlgorithm::from(*cipher);
    if !bool::from(sum.to_be_bytes().ct_eq(&[*high, *low])) || cipher.key_size().is_ok_and(|it| it != key.len()) {
        return Err(MessageError::Manipulated);
    }
    // The Blowfish of sequoia 2.3 is another one than everybody's: it fills its key up with zeros.
    if !cipher.is_supported() || cipher == SymmetricAlgorithm::Blowfish {
        return Err(MessageError::Unsupported(format!("encrypted with {cipher}")));
    }
    Ok((cipher, key.into()))
}

/// Decrypts the whole of `body` and checks it before anything looks inside (RFC 4880, 5.13).
fn unprotected(body: &[u8], cipher: SymmetricAlgorithm, key: &SessionKey) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    /// The header of the last packet, which holds the digest of everything before.
    const MDC: [u8; 2] = [0xd3, 0x14];
    let manipulated = |_| MessageError::Manipulated;
    let block = cipher.block_size().map_err(manipulated)?;
    // Room for all of it: a vector that grows leaves copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(body.len() + 32));
    let source = Memory::with_cookie(body, Cookie::default());
    Decryptor::new(cipher, BlockCipherMode::CFB, UnpaddingMode::None, key, None, source)
        .map_err(manipulated)?
        .read_to_end(&mut plain)
        .map_err(|_| MessageError::Manipulated)?;
    let end = plain.len().checked_sub(20).filter(|it| *it >= block + 4).ok_or(MessageError::Manipulated)?;
    let (covered, digest) = plain.split_at(end);
    let repeated = covered[block - 2..block].ct_eq(&covered[block..block + 2]);
    if !bool::from(repeated & sha1(covered).ct_eq(digest)) || !covered.ends_with(&MDC) {
        return Err(MessageError::Manipulated);
    }
    Ok(Zeroizing::new(covered[block + 2..end - 2].to_vec()))
}

/// Reads the one literal packet, through compression if there is any.
fn content(plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let damaged = |_| MessageError::Content("something damaged");
    let parser = PacketParserBuilder::from_bytes(plain).map(|it| it.dearmor(Dearmor::Disabled));
    let mut rest = parser.and_then(PacketParserBuilder::build).map_err(damaged)?;
    let mut depth = 0;
    while let PacketParserResult::Some(parser) = rest {
        rest = match &parser.packet {
            Packet::Literal(_) => return literal(parser),
            Packet::CompressedData(it) if it.algo().is_supported() => {
                depth += 1;
                if depth > DEPTH_LIMIT {
                    return Err(MessageError::Content("compressed data in compressed data"));
                }
                parser.recurse().map_err(damaged)?.1
            }
            Packet::CompressedData(it) => {
                return Err(MessageError::Unsupported(format!("compressed with {}", it.algo())));
            }
            Packet::OnePassSig(_) | Packet::Signature(_) => {
                return Err(MessageError::Unsupported("signed".to_owned()));
            }
            // Says nothing and is short (RFC 4880, 5.8).
            Packet::Marker(_) if depth == 0 => parser.next().map_err(damaged)?.1,
            _ => break,
        };
    }
    Err(MessageError::Content("no literal data"))
}

fn literal(mut parser: PacketParser<'_>) -> Result<Zeroizing<Vec<u8>>, MessageError> {
    let damaged = MessageError::Content("something damaged");
    let mut content = Zeroizing::new(Vec::with_capacity(CONTENT_LIMIT + 64));
    parser.by_ref().take(CONTENT_LIMIT as u64 + 1).read_to_end(&mut content).map_err(|_| damaged.clone())?;
    if content.len() > CONTENT_LIMIT {
        return Err(MessageError::Content("more than a few bytes"));
    }
    match parser.next() {
        Ok((_, PacketParserResult::EOF(_))) if content.is_empty() => Err(MessageError::Content("nothing")),
        Ok((_, PacketParserResult::EOF(_))) => Ok(content),
        Ok(_) => Err(MessageError::Content("several parts")),
        Err(_) => Err(damaged),
    }
}
