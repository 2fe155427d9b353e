//! What differs each time: passwords, identifiers, salted hashes.

use sha1::{Digest as _, Sha1};

use super::{Answer, Call, Fault, Function, between, exactly};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("bcrypt", 1, |call| {
        let password = call.text(0)?;
        Ok(Value::Text(bcrypt(call, &password)?))
    }),
    // External Secrets have taken sprig's next version, which is told how to hash.
    between("htpasswd", (2, 3), |call| {
        let (user, password) = (call.text(0)?, call.text(1)?);
        let is_sha = call.arguments.len() == 3 && *call.text(2)? == *b"sha";
        if user.contains(&b':') {
            return Ok(Value::bytes([b"invalid username: ", &*user].concat()));
        }
        let hash = if is_sha { sha(&password) } else { bcrypt(call, &password)? };
        Ok(Value::bytes([&*user, b":", &hash].concat()))
    }),
    exactly("randAlpha", 1, |call| characters(call, |it| it.is_ascii_alphabetic())),
    exactly("randAlphaNum", 1, |call| characters(call, |it| it.is_ascii_alphanumeric())),
    exactly("randAscii", 1, |call| characters(call, |it| matches!(it, b' '..=b'~'))),
    exactly("randBytes", 1, |call| {
        let count = count(call)?;
        let bytes = call.random(count)?;
        Ok(Value::text(base64_simd::STANDARD.encode_to_string(&*bytes)))
    }),
    exactly("randInt", 2, |call| {
        let (from, to) = (call.int(0)?, call.int(1)?);
        let size = to.checked_sub(from).filter(|it| *it > 0).ok_or_else(|| Fault::new("an empty range"))?;
        Ok(Value::int(from + below(call, size as u64)? as i64))
    }),
    exactly("randNumeric", 1, |call| characters(call, |it| it.is_ascii_digit())),
    exactly("shuffle", 1, |call| {
        let text = call.text(0)?;
        let mut chars: Vec<char> = text.lossy().chars().collect();
        for n in (1..chars.len()).rev() {
            let other = below(call, n as u64 + 1)?;
            chars.swap(n, other as usize);
        }
        Ok(Value::text(chars.into_iter().collect::<String>()))
    }),
    exactly("uuidv4", 0, |call| {
        call.allocate(16)?;
        Ok(Value::text(call.surroundings.rng.uuid()))
    }),
];

/// The functions whose answer differs each time, these and those of other files.
pub(in crate::template) const VARYING: &[&str] = &[
    "ago",
    "bcrypt",
    "buildCustomCert",
    "encryptAES",
    "fullPemToPkcs12",
    "fullPemToPkcs12Pass",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htpasswd",
    "now",
    "pemToPkcs12",
    "pemToPkcs12Pass",
    "pemTruststoreToPKCS12",
    "pemTruststoreToPKCS12Pass",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "uuidv4",
];

fn count(call: &Call<'_, '_>) -> Result<usize, Fault> {
    usize::try_from(call.int(0)?).map_err(|_| Fault::new("a negative count"))
}

/// A number below `limit`, each as likely.
fn below(call: &mut Call<'_, '_>, limit: u64) -> Result<u64, Fault> {
    call.budget.step(1)?;
    Ok(call.surroundings.rng.below(limit))
}

fn characters(call: &mut Call<'_, '_>, accept: fn(&u8) -> bool) -> Answer {
    let (count, alphabet) = (count(call)?, (0..=127).filter(accept).collect::<Vec<u8>>());
    call.allocate(count)?;
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(alphabet[below(call, alphabet.len() as u64)? as usize]);
    }
    Ok(Value::bytes(out))
}

fn sha(password: &[u8]) -> Text {
    let mut hash = String::from("{SHA}");
    base64_simd::STANDARD.encode_append(Sha1::digest(password), &mut hash);
    hash.into()
}

/// Go's default cost.
const COST: u32 = 10;

fn bcrypt(call: &mut Call<'_, '_>, password: &[u8]) -> Result<Text, Fault> {
    // Go's words, which sprig returns as if they were a hash.
    if password.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".into());
    }
    call.budget.one_of(20)?;
    let salt: [u8; 16] = call.random(16)?[..].try_into().expect("sixteen bytes were asked for");
    let hash = bcrypt::hash_with_salt(password, COST, salt).map_err(|_| Fault::new("the password cannot be hashed"))?;
    Ok(hash.format_for_version(bcrypt::Version::TwoA).into())
}
