//! JSON Web Keys (RFC 7517) as PEM: RSA, the NIST curves, Ed25519.

use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::der::{Der, bits, integer, sequence, tag};
use super::keys::{EC, RSA};
use super::pem::Block;
use super::{Answer, Call, Fault, Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("jwkPrivateKeyPem", 1, |call| spell(call, true)),
    exactly("jwkPublicKeyPem", 1, |call| spell(call, false)),
];

/// What a curve is called, its object identifier in DER, and the length of a coordinate.
const CURVES: &[(&str, &[u8], usize)] = &[
    ("P-224", &[0x2b, 0x81, 0x04, 0x00, 0x21], 28),
    ("P-256", &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32),
    ("P-384", &[0x2b, 0x81, 0x04, 0x00, 0x22], 48),
    ("P-521", &[0x2b, 0x81, 0x04, 0x00, 0x23], 66),
];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

fn spell(call: &mut Call<'_, '_>, private: bool) -> Answer {
    let text = call.text(0)?;
    let key: Json = serde_json::from_slice(&text).map_err(|_| Fault::new("the text is not a JSON Web Key"))?;
    let word = |name: &str| key.get(name).and_then(Json::as_str).unwrap_or_default();
    let number = |name: &str| -> Result<Der, Fault> {
        let spelt = word(name);
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(spelt.trim_end_matches('='));
        match bytes {
            Ok(bytes) if !spelt.is_empty() => Ok(Zeroizing::new(bytes)),
            _ => Err(Fault::new(format!("the JSON Web Key has no readable {name:?}"))),
        }
    };
    let is_private_key = key.get("d").is_some();
    if private && !is_private_key {
        return Err(Fault::new("the JSON Web Key is not a private key"));
    }
    let (algorithm, public, secret) = match word("kty") {
        "RSA" => {
            let algorithm = sequence(&[&tag(0x06, RSA), &tag(0x05, &[])]);
            let (n, e) = (number("n")?, number("e")?);
            let public = bits(&sequence(&[&integer(&n), &integer(&e)]));
            let secret = match private {
                false => None,
                true => {
                    let mut parts = vec![integer(&[0]), integer(&n), integer(&e)];
                    for name in ["d", "p", "q", "dp", "dq", "qi"] {
                        parts.push(integer(&number(name)?));
                    }
                    Some(sequence(&parts.iter().map(|it| it.as_slice()).collect::<Vec<_>>()))
                }
            };
            (algorithm, public, secret)
        }
        "EC" => {
            let curve = CURVES.iter().find(|it| it.0 == word("crv"));
            let (_, oid, size) = curve.ok_or_else(|| Fault::new("the JSON Web Key's curve is not known"))?;
            let padded = |bytes: Der| -> Result<Der, Fault> {
                let zeros = size.checked_sub(bytes.len()).ok_or_else(|| Fault::new("a coordinate is too long"))?;
                Ok(Zeroizing::new([vec![0; zeros].as_slice(), &bytes].concat()))
            };
            let point = [&[4][..], &padded(number("x")?)?, &padded(number("y")?)?].concat();
            let secret = match private {
                false => None,
                true => {
                    Some(sequence(&[&integer(&[1]), &tag(0x04, &padded(number("d")?)?), &tag(0xa1, &bits(&point))]))
                }
            };
            (sequence(&[&tag(0x06, EC), &tag(0x06, oid)]), bits(&point), secret)
        }
        "OKP" if word("crv") == "Ed25519" => {
            let secret = if private { Some(tag(0x04, &number("d")?)) } else { None };
            (sequence(&[&tag(0x06, ED25519)]), bits(&number("x")?), secret)
        }
        _ => return Err(Fault::new("the JSON Web Key is of a kind that is not known")),
    };
    let block = match secret {
        Some(secret) => Block::new("PRIVATE KEY", sequence(&[&integer(&[0]), &algorithm, &tag(0x04, &secret)])),
        None => Block::new("PUBLIC KEY", sequence(&[&algorithm, &public])),
    };
    Ok(Value::bytes(block.spell()))
}
