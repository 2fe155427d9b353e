//! Certificates in PEM: their order, and the names that they are for.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName, SubjectKeyIdentifier};
use zeroize::Zeroizing;

use super::pem::{self, Block};
use super::{Fault, Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("certSANs", 1, |call| {
        let text = call.text(0)?;
        let (blocks, _) = pem::read(from_first(&text));
        let block = blocks.first().ok_or_else(|| Fault::new("failed to decode PEM block"))?;
        names(block.der()).map(Value::texts)
    }),
    exactly("filterCertChain", 2, |call| {
        let (wanted, text) = (call.text(0)?, call.text(1)?);
        let chain = order(read(&text)?)?;
        let kept: &[Parsed] = match &*wanted {
            b"leaf" if !chain[0].is_root() => &chain[..1],
            b"intermediate" => {
                let end = chain.iter().skip(1).position(Parsed::is_root).map_or(chain.len(), |it| it + 1);
                &chain[1..end]
            }
            b"root" => chain.last().filter(|it| it.is_root()).map_or(&[], std::slice::from_ref),
            _ => &[],
        };
        Ok(Value::bytes(spell(kept)))
    }),
];

/// A certificate, and by which keys it hangs together with others.
pub(super) struct Parsed {
    der: Vec<u8>,
    /// The key it was signed with.
    signer: Option<Vec<u8>>,
    /// Its own key.
    own: Option<Vec<u8>>,
}

impl Parsed {
    /// Reads one.
    pub(super) fn new(der: &[u8]) -> Result<Self, Fault> {
        let unreadable = |_| Fault::new("the certificate cannot be read");
        let certificate = Certificate::from_der(der).map_err(unreadable)?;
        let tbs = &certificate.tbs_certificate;
        let signer = tbs.get::<AuthorityKeyIdentifier>().map_err(unreadable)?;
        let own = tbs.get::<SubjectKeyIdentifier>().map_err(unreadable)?;
        Ok(Self {
            der: der.to_vec(),
            signer: signer.and_then(|it| it.1.key_identifier).map(|it| it.as_bytes().to_vec()),
            own: own.map(|it| it.1.0.as_bytes().to_vec()),
        })
    }

    /// The certificate itself.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    fn is_root(&self) -> bool {
        self.signer.is_none() || self.signer == self.own
    }
}

/// Whom a certificate is for.
pub(super) fn subject(certificate: &Parsed) -> Result<String, Fault> {
    let read = Certificate::from_der(&certificate.der).map_err(|_| Fault::new("the certificate cannot be read"))?;
    Ok(read.tbs_certificate.subject.to_string())
}

/// All certificates of a text.
pub(super) fn read(text: &[u8]) -> Result<Vec<Parsed>, Fault> {
    pem::read(text).0.iter().map(|it| Parsed::new(it.der())).collect()
}

/// As PEM.
pub(super) fn spell(certificates: &[Parsed]) -> Vec<u8> {
    let each = certificates.iter().map(|it| Block::new("CERTIFICATE", Zeroizing::new(it.der.clone())).spell());
    each.collect::<Vec<_>>().concat()
}

/// The one chain that certificates are, from the leaf to the root. Who signed what is taken from what they say,
/// and not proven.
pub(super) fn order(certificates: Vec<Parsed>) -> Result<Vec<Parsed>, Fault> {
    // Go takes one without a key and one without a signer for a pair.
    let signed_by = |n: usize| {
        let signer = certificates[n].signer.as_deref().unwrap_or_default();
        (0..certificates.len()).find(|&it| it != n && certificates[it].own.as_deref().unwrap_or_default() == signer)
    };
    let parents: Vec<Option<usize>> = (0..certificates.len()).map(signed_by).collect();
    let mut leaves = (0..certificates.len()).filter(|it| !parents.contains(&Some(*it)));
    let mut next = match (leaves.next(), leaves.next()) {
        (None, _) => return Err(Fault::new("no leaf certificate found")),
        (Some(_), Some(_)) => return Err(Fault::new("found multiple leaf or disjunct certificates")),
        (leaf, None) => leaf,
    };
    let mut left: Vec<Option<Parsed>> = certificates.into_iter().map(Some).collect();
    let mut chain = Vec::with_capacity(left.len());
    while let Some(n) = next {
        chain.push(left[n].take().ok_or_else(|| Fault::new("constructing chain resulted in cycle"))?);
        next = parents[n];
    }
    Ok(chain)
}

/// Go began to read where the first block begins, and the original still does.
fn from_first(text: &[u8]) -> &[u8] {
    super::strings::find(text, b"-----BEGIN").map_or(text, |at| &text[at..])
}

/// DNS names, addresses, mail addresses and URIs, in this order.
fn names(der: &[u8]) -> Result<Vec<String>, Fault> {
    let unreadable = |_| Fault::new("failed to parse certificate");
    let certificate = Certificate::from_der(der).map_err(unreadable)?;
    let names = certificate.tbs_certificate.get::<SubjectAltName>().map_err(unreadable)?;
    let mut sorted: [Vec<String>; 4] = Default::default();
    for name in names.map(|it| it.1.0).into_iter().flatten() {
        match name {
            GeneralName::DnsName(it) => sorted[0].push(it.to_string()),
            GeneralName::IpAddress(it) => {
                match (<[u8; 4]>::try_from(it.as_bytes()), <[u8; 16]>::try_from(it.as_bytes())) {
                    (Ok(it), _) => sorted[1].push(Ipv4Addr::from(it).to_string()),
                    (_, Ok(it)) => sorted[1].push(Ipv6Addr::from(it).to_string()),
                    _ => return Err(Fault::new("failed to parse certificate")),
                }
            }
            GeneralName::Rfc822Name(it) => sorted[2].push(it.to_string()),
            GeneralName::UniformResourceIdentifier(it) => sorted[3].push(it.to_string()),
            _ => {}
        }
    }
    Ok(sorted.concat())
}
