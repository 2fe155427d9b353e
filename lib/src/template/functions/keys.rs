//! Private keys in PEM, as people and programs write them, as PKCS #8 (RFC 5208).

use super::Fault;
use super::der::{Der, Elements, INTEGER, NULL, OCTETS, OID, SEQUENCE, context, integer, sequence, tag};
use super::pem;

pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The first block of a text as PKCS #8, whichever of its three forms it has.
pub(super) fn read(text: &[u8]) -> Result<Der, Fault> {
    let (blocks, _) = pem::read(text);
    let block = blocks.first().ok_or_else(|| Fault::new("failed to decode PEM block"))?;
    to_pkcs8(block.der())
}

/// PKCS #1, SEC 1 or PKCS #8 as PKCS #8.
pub(super) fn to_pkcs8(der: &[u8]) -> Result<Der, Fault> {
    let unknown = || Fault::new("the private key cannot be read");
    let mut content = Elements(Elements(der).expect(SEQUENCE)?);
    content.expect(INTEGER)?;
    let mut rest = content;
    match rest.next() {
        // PKCS #8 has an algorithm next, PKCS #1 a number, SEC 1 the key.
        Some((SEQUENCE, _)) => Ok(Der::new(der.to_vec())),
        Some((INTEGER, _)) => {
            let algorithm = sequence(&[&tag(OID, RSA), &tag(NULL, &[])]);
            Ok(sequence(&[&integer(&[0]), &algorithm, &tag(OCTETS, der)]))
        }
        Some((OCTETS, secret)) => {
            let curve = Elements(rest.expect(context(0))?).whole().ok_or_else(unknown)?;
            let public = rest.optional(context(1)).map(|it| tag(context(1), it)).unwrap_or_default();
            let inner = sequence(&[&integer(&[1]), &tag(OCTETS, secret), &public]);
            let algorithm = sequence(&[&tag(OID, EC), curve]);
            Ok(sequence(&[&integer(&[0]), &algorithm, &tag(OCTETS, &inner)]))
        }
        _ => Err(unknown()),
    }
}
