//! Certificates of the plane's own authority, for servers on loopback.

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::{BigUint, RsaPublicKey};
use serde_json::Value;

/// An authority that lives as long as the tests.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
    /// The certificate of the authority.
    pub authority: String,
}

impl Authority {
    /// Makes an authority called `name`.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, key()).expect("the parameters are right"))
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server that is reached by these names, or for a client of this name.
    ///
    /// # Panics
    ///
    /// If a name cannot stand in a certificate.
    pub fn issue(&self, common_name: &str, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&it| it.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are right");
        Identity { certificate: certificate.pem(), key: key.serialize_pem(), authority: self.certificate() }
    }
}

/// A new P-256 key such as signs the tokens of service accounts, and its public half, both PEM.
pub fn signing_key() -> (String, String) {
    let key = key();
    (key.serialize_pem(), key.public_key_pem())
}

/// A certificate, DER, as PEM.
pub(crate) fn pem(certificate: &[u8]) -> String {
    wrap("CERTIFICATE", certificate)
}

/// A public key as PEM, that a set of keys has as JSON (RFC 7517): RSA, or the curve P-256.
///
/// # Panics
///
/// If it is another key, or none.
pub(crate) fn pem_of_key(key: &Value) -> String {
    /// What stands before the point in the DER of a public key of that curve (RFC 5480).
    const P256: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let part = |name: &str| {
        let text = key[name].as_str().unwrap_or_default();
        URL_SAFE_NO_PAD.decode_to_vec(text).expect("parts of keys are base64url")
    };
    if key["kty"] == "RSA" {
        let (n, e) = (BigUint::from_bytes_be(&part("n")), BigUint::from_bytes_be(&part("e")));
        let key = RsaPublicKey::new(n, e).expect("the cluster's key is one");
        return key.to_public_key_pem(LineEnding::LF).expect("a key has a form");
    }
    assert!(key["crv"] == "P-256", "keys of this sort cannot be read: {}", key["kty"]);
    wrap("PUBLIC KEY", &[P256, &part("x"), &part("y")].concat())
}

fn wrap(what: &str, der: &[u8]) -> String {
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", STANDARD.encode_to_string(der))
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there is randomness")
}
