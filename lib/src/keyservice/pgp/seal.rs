//! Messages to one key: what every GnuPG since 1.4 opens, and every other program.

use std::io::Write;

use sequoia_openpgp::armor;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::serialize::Marshal;
use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message};
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Packet, Result};

use super::{PublicKey, elgamal};

/// Encrypts `content` to `key`, in armour, without a newline at the end.
///
/// The oldest forms that are still in order are used whatever the key says it understands: a
/// version 3 session key packet, AES-256, and data protected by an MDC. GnuPG 2.2 and SOPS read
/// nothing newer.
pub(super) fn seal(key: &PublicKey, content: &[u8]) -> Result<String> {
    const CIPHER: SymmetricAlgorithm = SymmetricAlgorithm::AES256;
    let session_key = SessionKey::new(CIPHER.key_size()?)?;
    let mut text = Vec::new();
    let mut message = Armorer::new(Message::new(&mut text)).kind(armor::Kind::Message).build()?;
    let pkesk = match elgamal::is_for(key.0.mpis()) {
        true => elgamal::pkesk(key, CIPHER, &session_key)?,
        false => PKESK3::for_recipient(CIPHER, &session_key, &key.0)?,
    };
    Packet::from(PKESK::from(pkesk)).serialize(&mut message)?;
    let message = Encryptor::with_session_key(message, CIPHER, session_key)?.build()?;
    let mut message = LiteralWriter::new(message).build()?;
    message.write_all(content)?;
    message.finalize()?;
    let text = String::from_utf8(text).expect("armour is ASCII");
    Ok(text.replace('\r', "").trim_end().to_owned())
}
