//! PKCS #12 (RFC 7292): keys and certificates in one file, as Windows and Java like them.
//!
//! What is read may be from anywhere, so that counts of rounds are limited before anything is computed.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecrypt, BlockDecryptMut as _, InnerIvInit as _, KeyInit};
use hmac_12::{Hmac, Mac};
use pkcs5::EncryptionScheme;
use pkcs5::pbes2::Parameters;
use pkcs12::kdf::{Pkcs12KeyType, derive_key};
use sha1::{Digest as _, Sha1};
use sha2_10::Sha256;
use subtle::ConstantTimeEq as _;
use x509_cert::der::{Decode as _, Encode as _};
use zeroize::Zeroizing;

use super::certificates::{self, Parsed};
use super::der::{Der, Elements, INTEGER, NULL, OCTETS, OID, SEQUENCE, SET, context, integer, sequence, small, tag};
use super::pem::{self, Block};
use super::{Answer, Call, Fault, Function, exactly, keys};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("pkcs12key", 1, |call| key(call, None, 0)),
    exactly("pkcs12keyPass", 2, |call| key(call, Some(0), 1)),
    exactly("pkcs12cert", 1, |call| certificate(call, None, 0)),
    exactly("pkcs12certPass", 2, |call| certificate(call, Some(0), 1)),
    exactly("pemToPkcs12", 2, |call| spell(call, false, None)),
    exactly("pemToPkcs12Pass", 3, |call| spell(call, false, Some(2))),
    exactly("fullPemToPkcs12", 2, |call| spell(call, true, None)),
    exactly("fullPemToPkcs12Pass", 3, |call| spell(call, true, Some(2))),
    exactly("pemTruststoreToPKCS12", 1, |call| trust(call, None)),
    exactly("pemTruststoreToPKCS12Pass", 2, |call| trust(call, Some(1))),
];

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01];
const SHROUDED_KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
const CERTIFICATE_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
/// What Java marks certificates with that it trusts, and for which use.
const TRUSTED: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
const ANY_USE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];

/// How old files are encrypted: with which cipher, and the length of its key.
const OLD: &[(&[u8], Cipher, usize)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03], Cipher::TripleDes, 24),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x05], Cipher::Rc2, 16),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06], Cipher::Rc2, 5),
];

#[derive(Clone, Copy)]
enum Cipher {
    TripleDes,
    Rc2,
}

/// More rounds than anybody writes; fewer than anybody waits for.
const MOST_ROUNDS: u32 = 1_000_000;

/// The rounds of what is written here, as the original writes them.
const ROUNDS: u32 = 2048;

/// How often one template may open or write such a file.
const MOST_FILES: u64 = 20;

/// A password in the two forms that files use.
struct Password {
    text: Zeroizing<Vec<u8>>,
    /// UTF-16, with a zero at its end; `None`: nothing at all.
    wide: Option<Zeroizing<Vec<u8>>>,
}

impl Password {
    fn new(text: &[u8]) -> Result<Self, Fault> {
        let words = std::str::from_utf8(text).map_err(|_| Fault::new("the password is no text"))?;
        let wide = words.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
        Ok(Self { text: Zeroizing::new(text.to_vec()), wide: Some(Zeroizing::new(wide)) })
    }

    fn wide(&self) -> &[u8] {
        self.wide.as_ref().map_or(&[], |it| it)
    }
}

/// What a file holds.
#[derive(Default)]
struct Content {
    keys: Vec<Der>,
    certificates: Vec<Vec<u8>>,
}

fn password(call: &Call<'_, '_>, at: Option<usize>) -> Result<Password, Fault> {
    let text = at.map(|it| call.text(it)).transpose()?;
    Password::new(text.as_deref().unwrap_or_default())
}

fn open(call: &mut Call<'_, '_>, pass: Option<usize>, at: usize) -> Result<(Der, Vec<Parsed>), Fault> {
    let (password, data) = (password(call, pass)?, call.text(at)?);
    call.budget.one_of(MOST_FILES)?;
    let Content { mut keys, certificates } = read(&data, password)?;
    let key = keys.pop().filter(|_| keys.is_empty());
    let key = key.ok_or_else(|| Fault::new("the PKCS #12 data holds no private key, or several"))?;
    if certificates.is_empty() {
        return Err(Fault::new("the PKCS #12 data holds no certificate"));
    }
    let certificates = certificates.iter().map(|it| Parsed::new(it)).collect::<Result<_, Fault>>()?;
    Ok((key, certificates))
}

fn key(call: &mut Call<'_, '_>, pass: Option<usize>, at: usize) -> Answer {
    let (key, _) = open(call, pass, at)?;
    Ok(Value::bytes(Block::new("PRIVATE KEY", key).spell()))
}

fn certificate(call: &mut Call<'_, '_>, pass: Option<usize>, at: usize) -> Answer {
    let (_, found) = open(call, pass, at)?;
    let unordered = certificates::spell(&found);
    Ok(Value::bytes(certificates::order(found).map_or(unordered, |it| certificates::spell(&it))))
}

fn damaged() -> Fault {
    Fault::new("the PKCS #12 data cannot be read")
}

fn read(data: &[u8], mut password: Password) -> Result<Content, Fault> {
    let mut file = Elements(Elements(data).expect(SEQUENCE)?);
    file.expect(INTEGER)?;
    let mut safes = Elements(file.expect(SEQUENCE)?);
    if safes.expect(OID)? != DATA {
        return Err(Fault::new("the PKCS #12 data is signed with a key, and not with a password"));
    }
    let safes = Elements(safes.expect(context(0))?).expect(OCTETS)?;
    if let Some(mac) = file.optional(SEQUENCE) {
        let is_right = is_authentic(mac, safes, password.wide())?;
        if !is_right && password.text.is_empty() {
            // Some write no password as nothing, and not as an empty text.
            password.wide = None;
        }
        if !is_right && (password.wide.is_some() || !is_authentic(mac, safes, &[])?) {
            return Err(Fault::new("the password of the PKCS #12 data is another one"));
        }
    }
    let mut content = Content::default();
    let mut safes = Elements(Elements(safes).expect(SEQUENCE)?);
    while let Some(safe) = safes.optional(SEQUENCE) {
        let mut safe = Elements(safe);
        let kind = safe.expect(OID)?;
        let held = safe.expect(context(0))?;
        let plain = if kind == DATA {
            Zeroizing::new(Elements(held).expect(OCTETS)?.to_vec())
        } else if kind == ENCRYPTED_DATA {
            let mut held = Elements(Elements(held).expect(SEQUENCE)?);
            held.expect(INTEGER)?;
            let mut held = Elements(held.expect(SEQUENCE)?);
            held.expect(OID)?;
            let algorithm = held.whole().ok_or_else(damaged)?;
            decrypt(algorithm, held.expect(0x80)?, &password)?
        } else {
            return Err(Fault::new("the PKCS #12 data is encrypted with a key, and not with a password"));
        };
        bags(&plain, &password, &mut content)?;
    }
    Ok(content)
}

fn bags(safe: &[u8], password: &Password, content: &mut Content) -> Result<(), Fault> {
    let mut bags = Elements(Elements(safe).expect(SEQUENCE)?);
    while let Some(bag) = bags.optional(SEQUENCE) {
        let mut bag = Elements(bag);
        let kind = bag.expect(OID)?;
        let value = bag.expect(context(0))?;
        if kind == KEY_BAG {
            content.keys.push(Zeroizing::new(value.to_vec()));
        } else if kind == SHROUDED_KEY_BAG {
            let mut value = Elements(Elements(value).expect(SEQUENCE)?);
            let algorithm = value.whole().ok_or_else(damaged)?;
            content.keys.push(decrypt(algorithm, value.expect(OCTETS)?, password)?);
        } else if kind == CERTIFICATE_BAG {
            let mut value = Elements(Elements(value).expect(SEQUENCE)?);
            if value.expect(OID)? == X509 {
                content.certificates.push(Elements(value.expect(context(0))?).expect(OCTETS)?.to_vec());
            }
        }
    }
    Ok(())
}

fn rounds(content: &[u8]) -> Result<u32, Fault> {
    small(content)
        .filter(|it| (1..=MOST_ROUNDS).contains(it))
        .ok_or_else(|| Fault::new("the PKCS #12 data asks for more rounds than are made"))
}

/// Whether the MAC of a file is that of its content.
fn is_authentic(mac: &[u8], content: &[u8], password: &[u8]) -> Result<bool, Fault> {
    let mut mac = Elements(mac);
    let mut digest = Elements(mac.expect(SEQUENCE)?);
    let algorithm = Elements(digest.expect(SEQUENCE)?).expect(OID)?;
    let expected = digest.expect(OCTETS)?;
    let salt = mac.expect(OCTETS)?;
    let rounds = mac.optional(INTEGER).map_or(Ok(1), rounds)? as i32;
    macro_rules! computed {
        ($hash:ty, $length:literal) => {{
            let key = Zeroizing::new(derive_key::<$hash>(password, salt, Pkcs12KeyType::Mac, rounds, $length));
            let mac = <Hmac<$hash> as Mac>::new_from_slice(&key).expect("HMAC takes keys of every length");
            mac.chain_update(content).finalize().into_bytes().to_vec()
        }};
    }
    let computed = match algorithm {
        SHA1 => computed!(Sha1, 20),
        SHA256 => computed!(Sha256, 32),
        _ => return Err(Fault::new("the MAC of the PKCS #12 data is of a kind that is not known")),
    };
    Ok(computed.ct_eq(expected).into())
}

fn decrypt(algorithm: &[u8], content: &[u8], password: &Password) -> Result<Der, Fault> {
    let wrong = || Fault::new("the PKCS #12 data cannot be decrypted with this password");
    let mut parts = Elements(Elements(algorithm).expect(SEQUENCE)?);
    let kind = parts.expect(OID)?;
    if kind == PBES2 {
        let scheme = EncryptionScheme::from_der(algorithm).map_err(|_| unknown_cipher())?;
        let kdf = scheme.pbes2().and_then(|it| it.kdf.pbkdf2()).ok_or_else(unknown_cipher)?;
        if kdf.iteration_count > MOST_ROUNDS {
            return Err(Fault::new("the PKCS #12 data asks for more rounds than are made"));
        }
        return scheme.decrypt(&*password.text, content).map(Zeroizing::new).map_err(|_| wrong());
    }
    let (_, cipher, length) = OLD.iter().find(|it| it.0 == kind).ok_or_else(unknown_cipher)?;
    let mut parameters = Elements(parts.expect(SEQUENCE)?);
    let salt = parameters.expect(OCTETS)?;
    let rounds = rounds(parameters.expect(INTEGER)?)? as i32;
    let derive = |kind, length| Zeroizing::new(derive_key::<Sha1>(password.wide(), salt, kind, rounds, length));
    let (key, iv) = (derive(Pkcs12KeyType::EncryptionKey, *length), derive(Pkcs12KeyType::Iv, 8));
    let plain = match cipher {
        Cipher::TripleDes => unchain::<des::TdesEde3>(des::TdesEde3::new_from_slice(&key).ok(), &iv, content),
        Cipher::Rc2 => unchain::<rc2::Rc2>(Some(rc2::Rc2::new_with_eff_key_len(&key, length * 8)), &iv, content),
    };
    plain.map(Zeroizing::new).ok_or_else(wrong)
}

fn unknown_cipher() -> Fault {
    Fault::new("the PKCS #12 data is encrypted in a way that is not known")
}

fn unchain<C>(cipher: Option<C>, iv: &[u8], content: &[u8]) -> Option<Vec<u8>>
where
    C: BlockDecrypt + BlockCipher,
{
    let chain = cbc::Decryptor::inner_iv_slice_init(cipher?, iv).ok()?;
    chain.decrypt_padded_vec_mut::<Pkcs7>(content).ok()
}

/// A certificate, its key and, with `is_full`, the certificates that follow it, as base64.
fn spell(call: &mut Call<'_, '_>, is_full: bool, pass: Option<usize>) -> Answer {
    let (certificate, key, password) = (call.text(0)?, call.text(1)?, password(call, pass)?);
    let mut found = certificates::read(&certificate)?;
    found.truncate(if is_full { usize::MAX } else { 1 });
    let leaf = found.first().ok_or_else(|| Fault::new("failed to decode PEM block of the certificate"))?;
    let id = Sha1::digest(leaf.der());
    let mark = attribute(LOCAL_KEY_ID, &tag(OCTETS, &id));
    let key = keys::read(&key)?;
    let bags: Vec<Der> = found
        .iter()
        .enumerate()
        .map(|(n, it)| certificate_bag(it.der(), &if n == 0 { tag(SET, &mark) } else { Der::default() }))
        .collect();
    let (algorithm, content) = encrypt(call, &key, &password)?;
    let shrouded = sequence(&[&algorithm, &tag(OCTETS, &content)]);
    let key = sequence(&[&tag(OID, SHROUDED_KEY_BAG), &tag(context(0), &shrouded), &tag(SET, &mark)]);
    let certificates = encrypted(call, &sequence(&refs(&bags)), &password)?;
    let key = sequence(&[&tag(OID, DATA), &tag(context(0), &tag(OCTETS, &sequence(&[&key])))]);
    finish(call, &sequence(&[&certificates, &key]), &password)
}

/// Certificates that are trusted, as base64.
fn trust(call: &mut Call<'_, '_>, pass: Option<usize>) -> Answer {
    let (text, password) = (call.text(0)?, password(call, pass)?);
    let found: Vec<Vec<u8>> = pem::read(&text).0.iter().map(|it| it.der().to_vec()).collect();
    let bags = found.iter().map(|der| {
        let parsed = Parsed::new(der)?;
        let name = certificates::subject(&parsed)?;
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
        // Java knows certificates by names.
        let named = attribute(FRIENDLY_NAME, &tag(0x1e, &wide));
        let trusted = attribute(TRUSTED, &tag(OID, ANY_USE));
        Ok(certificate_bag(der, &tag(SET, &[named, trusted].map(|it| it.to_vec()).concat())))
    });
    let bags: Vec<Der> = bags.collect::<Result<_, Fault>>()?;
    let certificates = encrypted(call, &sequence(&refs(&bags)), &password)?;
    finish(call, &sequence(&[&certificates]), &password)
}

fn refs(parts: &[Der]) -> Vec<&[u8]> {
    parts.iter().map(|it| it.as_slice()).collect()
}

fn attribute(oid: &[u8], value: &[u8]) -> Der {
    sequence(&[&tag(OID, oid), &tag(SET, value)])
}

fn certificate_bag(der: &[u8], attributes: &[u8]) -> Der {
    let value = sequence(&[&tag(OID, X509), &tag(context(0), &tag(OCTETS, der))]);
    sequence(&[&tag(OID, CERTIFICATE_BAG), &tag(context(0), &value), attributes])
}

/// How something was encrypted, and what became of it.
fn encrypt(call: &mut Call<'_, '_>, content: &[u8], password: &Password) -> Result<(Der, Vec<u8>), Fault> {
    let failed = |_| Fault::new("the PKCS #12 data cannot be encrypted");
    let (salt, iv) = (call.random(16)?, call.random(16)?);
    let iv: [u8; 16] = iv[..].try_into().expect("sixteen bytes were asked for");
    let parameters = Parameters::pbkdf2_sha256_aes256cbc(ROUNDS, &salt, &iv).map_err(failed)?;
    let scheme = EncryptionScheme::from(parameters);
    let encrypted = scheme.encrypt(&*password.text, content).map_err(failed)?;
    let algorithm = scheme.to_der().map_err(|_| Fault::new("the PKCS #12 data cannot be encrypted"))?;
    Ok((Zeroizing::new(algorithm), encrypted))
}

fn encrypted(call: &mut Call<'_, '_>, content: &[u8], password: &Password) -> Result<Der, Fault> {
    let (algorithm, content) = encrypt(call, content, password)?;
    let held = sequence(&[&tag(OID, DATA), &algorithm, &tag(0x80, &content)]);
    let held = sequence(&[&integer(&[0]), &held]);
    Ok(sequence(&[&tag(OID, ENCRYPTED_DATA), &tag(context(0), &held)]))
}

/// The whole file with its MAC, as base64.
fn finish(call: &mut Call<'_, '_>, safes: &[u8], password: &Password) -> Answer {
    call.budget.one_of(MOST_FILES)?;
    let salt = call.random(16)?;
    let key = derive_key::<Sha256>(password.wide(), &salt, Pkcs12KeyType::Mac, ROUNDS as i32, 32);
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&Zeroizing::new(key)).expect("HMAC takes keys of every length");
    let mac = mac.chain_update(safes).finalize().into_bytes();
    let digest = sequence(&[&sequence(&[&tag(OID, SHA256), &tag(NULL, &[])]), &tag(OCTETS, &mac)]);
    let mac = sequence(&[&digest, &tag(OCTETS, &salt), &integer(&ROUNDS.to_be_bytes())]);
    let content = sequence(&[&tag(OID, DATA), &tag(context(0), &tag(OCTETS, safes))]);
    let file = sequence(&[&integer(&[3]), &content, &mac]);
    call.allocate(file.len() * 2)?;
    Ok(Value::Text(Text::from(base64_simd::STANDARD.encode_to_string(&*file))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::edge::Rng;
    use crate::secret::SecretText;
    use crate::template::{EXTERNAL_SECRETS, Input, Surroundings, render};

    const FILES: &[(&str, &[u8])] = &[
        ("legacy", include_bytes!("../../../testdata/pkcs12/legacy.p12")),
        ("modern", include_bytes!("../../../testdata/pkcs12/modern.p12")),
        ("empty", include_bytes!("../../../testdata/pkcs12/empty.p12")),
        ("key", include_bytes!("../../../testdata/pkcs12/leaf.key")),
        ("chain", include_bytes!("../../../testdata/pkcs12/chain.crt")),
        ("broken", b"0\x84\xff\xff\xff\xff\x02\x01\x03"),
    ];
    const KEY: &str = include_str!("../../../testdata/pkcs12/leaf.p8");
    const CHAIN: &str = include_str!("../../../testdata/pkcs12/chain.crt");

    struct Zeros;

    impl Rng for Zeros {
        fn fill(&mut self, buf: &mut [u8]) {
            buf.fill(0);
        }
    }

    fn rendered(text: &str) -> Result<String, String> {
        let files: BTreeMap<String, SecretText> =
            FILES.iter().map(|(name, file)| ((*name).to_owned(), SecretText::new(*file))).collect();
        let mut surroundings = Surroundings { now: 0, rng: &mut Zeros };
        render(&EXTERNAL_SECRETS, "t", text, Input::Texts(&files), &mut surroundings)
            .map(|it| String::from_utf8_lossy(it.expose()).into_owned())
            .map_err(|it| it.to_string())
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn what_openssl_wrote_is_read() {
        for (opens, shows) in [
            ("pkcs12keyPass \"changeit\" .legacy", KEY),
            ("pkcs12keyPass \"changeit\" .modern", KEY),
            ("pkcs12key .empty", KEY),
            ("pkcs12certPass \"changeit\" .legacy", CHAIN),
            ("pkcs12certPass \"changeit\" .modern", CHAIN),
            ("pkcs12cert .empty", CHAIN),
        ] {
            check(&format!("{{{{ {opens} }}}}"), shows);
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (writes, opens) in [
            ("fullPemToPkcs12Pass .chain .key \"pass\"", "pkcs12certPass \"pass\""),
            ("fullPemToPkcs12 .chain .key", "pkcs12cert"),
        ] {
            check(&format!("{{{{ {writes} | b64dec | {opens} }}}}"), CHAIN);
        }
        check("{{ pemToPkcs12Pass .chain .key \"pass\" | b64dec | pkcs12keyPass \"pass\" }}", KEY);
        check(
            "{{ pemToPkcs12 .chain .key | b64dec | pkcs12cert }}",
            &CHAIN[..CHAIN.find("\n-----BEGIN").unwrap_or(0) + 1],
        );
        assert!(rendered("{{ pemTruststoreToPKCS12Pass .chain \"pass\" | b64dec | len }}").is_ok());
    }

    #[test]
    fn what_is_no_such_file_is_refused_without_saying_what_it_is() {
        for wrong in ["pkcs12key .modern", "pkcs12keyPass \"x\" .legacy", "pkcs12cert .broken", "pkcs12cert .key"] {
            let error = rendered(&format!("{{{{ {wrong} }}}}")).expect_err("it is refused");
            assert!(error.contains("PKCS #12") || error.contains("cannot be read"), "{error}");
        }
    }

    #[test]
    fn chains_are_taken_apart() {
        let certificates: Vec<&str> = CHAIN.split_inclusive("-----END CERTIFICATE-----\n").collect();
        for (kind, n) in [("leaf", 0), ("intermediate", 1), ("root", 2)] {
            check(&format!("{{{{ filterCertChain \"{kind}\" .chain }}}}"), certificates[n]);
        }
        check("{{ certSANs .chain | join \" \" }}", "a.test 10.0.0.1 m@a.test https://a.test/x");
    }
}
