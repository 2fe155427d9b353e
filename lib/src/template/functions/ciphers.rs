//! Decrypting and encrypting, and passwords that are derived.

use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use hmac_12::{Hmac, Mac as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Oaep, RsaPrivateKey};
use sha2_10::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::encodings::decode_base64;
use super::{Answer, Call, Fault, Function, exactly, keys};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("decryptAES", 2, decrypt),
    exactly("derivePassword", 5, derive),
    exactly("encryptAES", 2, encrypt),
    exactly("rsaDecrypt", 4, |call| {
        let (scheme, hash, data, key) = (call.text(0)?, call.text(1)?, call.text(2)?, call.text(3)?);
        match &*scheme {
            b"None" => Ok(Value::Text(data)),
            b"RSA-OAEP" => {
                let key = RsaPrivateKey::from_pkcs8_der(&keys::read(&key)?);
                let key = key.map_err(|_| Fault::new("could not parse RSA private key"))?;
                let padding = match &*hash {
                    b"SHA1" => Oaep::new::<sha1::Sha1>(),
                    b"SHA512" => Oaep::new::<Sha512>(),
                    _ => Oaep::new::<Sha256>(),
                };
                call.budget.one_of(100)?;
                let plain = key.decrypt(padding, &data);
                plain.map(Value::bytes).map_err(|_| Fault::new("error decrypting data with RSA"))
            }
            _ => Err(Fault::new("decryption scheme is not supported: it is None or RSA-OAEP")),
        }
    }),
];

const BLOCK: usize = 16;

/// The key that sprig makes of a password: its first 32 bytes, filled up with zeros.
fn key(password: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password[..length]);
    key
}

fn encrypt(call: &mut Call<'_, '_>) -> Answer {
    let (password, text) = (call.text(0)?, call.text(1)?);
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    call.allocate((text.len() + 2 * BLOCK) * 2)?;
    let iv = call.random(BLOCK)?;
    let cipher =
        cbc::Encryptor::<aes_08::Aes256>::new_from_slices(&*key(&password), &iv).expect("their lengths are right");
    let sealed = [&iv[..], &cipher.encrypt_padded_vec_mut::<Pkcs7>(&text)].concat();
    Ok(Value::text(base64_simd::STANDARD.encode_to_string(sealed)))
}

fn decrypt(call: &mut Call<'_, '_>) -> Answer {
    let (password, text) = (call.text(0)?, call.text(1)?);
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    let broken = || Fault::new("what is decrypted is not what encryptAES made with this password");
    let sealed = decode_base64(&text).map_err(|at| Fault::new(format!("illegal base64 data at input byte {at}")))?;
    let (iv, sealed) = sealed.split_at_checked(BLOCK).ok_or_else(broken)?;
    let cipher =
        cbc::Decryptor::<aes_08::Aes256>::new_from_slices(&*key(&password), iv).expect("their lengths are right");
    let mut plain = Zeroizing::new(cipher.decrypt_padded_vec_mut::<NoPadding>(sealed).map_err(|_| broken())?);
    // As sprig: how much is padding is what the last byte says.
    let n = plain.last().map(|it| usize::from(*it)).ok_or_else(broken)?;
    let length = plain.len().checked_sub(n).ok_or_else(broken)?;
    plain.truncate(length);
    Ok(Value::Text(Text::new(plain.to_vec())))
}

const SEED: &[u8] = b"com.lyndir.masterpassword";

/// What kinds of passwords there are, and the patterns that each has.
const PATTERNS: &[(&str, &[&str])] = &[
    ("maximum", &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"]),
    (
        "long",
        &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
    ),
    ("medium", &["CvcnoCvc", "CvcCvcno"]),
    ("short", &["Cvcn"]),
    ("basic", &["aaanaaan", "aannaaan", "aaannaaa"]),
    ("pin", &["nnnn"]),
];

/// The characters that a letter of a pattern stands for.
const CHARACTERS: &[(char, &[u8])] = &[
    ('V', b"AEIOU"),
    ('C', b"BCDFGHJKLMNPQRSTVWXYZ"),
    ('v', b"aeiou"),
    ('c', b"bcdfghjklmnpqrstvwxyz"),
    ('A', b"AEIOUBCDFGHJKLMNPQRSTVWXYZ"),
    ('a', b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"),
    ('n', b"0123456789"),
    ('o', b"@&%?,=[]_:-+*$#!'^~;()/."),
    ('x', b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()"),
];

/// The password of a site, from one for all (masterpasswordapp.com, version 0).
fn derive(call: &mut Call<'_, '_>) -> Answer {
    let counter = u32::try_from(call.int(0)?).map_err(|_| Fault::new("the counter is no number of 32 bits"))?;
    let (kind, password, user, site) = (call.text(1)?, call.text(2)?, call.text(3)?, call.text(4)?);
    let Some((_, patterns)) = PATTERNS.iter().find(|it| it.0.as_bytes() == &*kind) else {
        // Go's words, which sprig returns as if they were a password.
        return Ok(Value::bytes([b"cannot find password template ", &*kind].concat()));
    };
    call.budget.one_of(10)?;
    let long = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    let salt = [SEED, &long(&user), &user].concat();
    let mut key = Zeroizing::new([0; 64]);
    let parameters = scrypt::Params::new(15, 8, 2, 64).expect("these are parameters");
    scrypt::scrypt(&password, &salt, &parameters, &mut *key).expect("64 bytes can be made");
    let mac = Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes keys of every length");
    let mac = mac.chain_update(SEED).chain_update(long(&site)).chain_update(&*site).chain_update(counter.to_be_bytes());
    let seed = mac.finalize().into_bytes();
    let pattern = patterns[usize::from(seed[0]) % patterns.len()];
    let made = pattern.chars().zip(&seed[1..]).map(|(letter, byte)| {
        let (_, characters) = CHARACTERS.iter().find(|it| it.0 == letter).expect("patterns have these letters only");
        characters[usize::from(*byte) % characters.len()]
    });
    Ok(Value::bytes(made.collect::<Vec<u8>>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::edge::Rng;
    use crate::template::{EXTERNAL_SECRETS, Input, Surroundings, render};

    struct Zeros;

    impl Rng for Zeros {
        fn fill(&mut self, buf: &mut [u8]) {
            buf.fill(0);
        }
    }

    #[test]
    fn it_is_as_sprig_does_it() {
        for (text, expected) in [
            (r#"{{ derivePassword 1 "long" "password" "user" "example.com" }}"#, "ZedaFaxcZaso9*"),
            (r#"{{ derivePassword 1 "maximum" "password" "user" "example.com" }}"#, "pf4zS1LjCg&LjhsZ7T2~"),
            (r#"{{ derivePassword 1 "pin" "password" "user" "example.com" }}"#, "6685"),
            (r#"{{ derivePassword 1 "none" "password" "user" "example.com" }}"#, "cannot find password template none"),
            (r#"{{ encryptAES "secretkey" "plaintext" | decryptAES "secretkey" }}"#, "plaintext"),
            (r#"{{ "30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ=" | decryptAES "secretkey" }}"#, "plaintext"),
            (r#"{{ htpasswd "foo" "bar" "sha" }}"#, "foo:{SHA}Ys23Ag/5IOWqZCw9QGaVDdHwH00="),
            (r#"{{ htpasswd "foo" "bar" "bcrypt" | len }}"#, "64"),
            (r#"{{ rsaDecrypt "None" "SHA1" "as it is" "" }}"#, "as it is"),
        ] {
            let mut surroundings = Surroundings { now: 0, rng: &mut Zeros };
            let made = render(&EXTERNAL_SECRETS, "t", text, Input::Texts(&BTreeMap::new()), &mut surroundings);
            let made = made.map(|it| String::from_utf8_lossy(it.expose()).into_owned());
            assert_eq!(made.as_deref(), Ok(expected), "{text}");
        }
    }
}
