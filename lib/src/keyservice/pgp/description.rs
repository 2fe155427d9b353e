//! A key as people know it: whose it is, and the question for its passphrase.

use std::fmt::Write as _;
use std::time::SystemTime;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::PublicKeyAlgorithm;

use super::certificates::lenient;
use super::{Certificates, PublicKey};

/// The most of a user id that is shown: it may be a long text, and the question a line of a protocol.
const SHOWN: usize = 100;

impl Certificates {
    /// Returns the user id that the certificate called `name` shows first at that time, `None` if there
    /// is no such certificate, or nobody's name in it. It is text from a file: it may hold anything.
    pub fn user_id(&self, name: &str, now: SystemTime) -> Option<String> {
        let cert = Cert::from_bytes(self.named(name)?.as_bytes()).ok()?;
        let policy = lenient(now);
        let valid = cert.with_policy(&policy, now).ok();
        let primary = valid.and_then(|it| it.primary_userid().ok()).map(|it| it.userid().clone());
        let user_id = primary.or_else(|| cert.userids().next().map(|it| it.userid().clone()))?;
        Some(String::from_utf8_lossy(user_id.value()).trim().to_owned()).filter(|it| !it.is_empty())
    }

    /// Returns whose key it is, what kind, since when, and what the certificate is called that it
    /// belongs to: the lines that GnuPG shows.
    pub fn describe(&self, key: &PublicKey) -> String {
        let cert = self.with_key(&key.0.key_handle()).next();
        let cert = cert.and_then(|it| Cert::from_bytes(it.as_bytes()).ok());
        let mut text = String::new();
        if let Some(user_id) = cert.as_ref().and_then(|it| it.userids().next()) {
            let user_id = String::from_utf8_lossy(user_id.userid().value()).into_owned();
            let user_id: String = user_id.chars().filter(|it| !it.is_control()).take(SHOWN).collect();
            _ = writeln!(text, "\"{user_id}\"");
        }
        if let Some(bits) = key.0.mpis().bits() {
            _ = write!(text, "{bits}-bit ");
        }
        #[expect(deprecated, reason = "old keys have it")]
        let kind = match key.0.pk_algo() {
            PublicKeyAlgorithm::RSAEncryptSign => "RSA".to_owned(),
            PublicKeyAlgorithm::ElGamalEncrypt => "ELG".to_owned(),
            PublicKeyAlgorithm::ECDH => "ECDH".to_owned(),
            it => it.to_string(),
        };
        _ = write!(text, "{kind} key, ID {},\ncreated {}", key.id(), day(key.0.creation_time()));
        match cert.map(|it| it.keyid()) {
            Some(main) if main != key.0.keyid() => _ = write!(text, " (main key ID {main})"),
            _ => (),
        }
        text + "."
    }
}

fn day(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|it| it.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_described_as_gnupg_does() {
        let mut certificates = Certificates::default();
        certificates.read("here", include_bytes!("../../../testdata/pgp/keygrips.asc").to_vec());
        let keys = certificates.encryption_keys(None);
        for (key, expected) in [
            (keys.first(), "\"rsa1024@x\"\n1024-bit RSA key, ID 19BCE4B36E1F4353,\ncreated 2026-11-21."),
            (
                keys.last(),
                "\"elg\"\n1024-bit ELG key, ID 5F935C70F36F6BE9,\ncreated 2026-11-21 (main key ID 1B607A3CB0F88838).",
            ),
        ] {
            assert_eq!(certificates.describe(key.expect("there are some")), expected);
        }
    }
}
