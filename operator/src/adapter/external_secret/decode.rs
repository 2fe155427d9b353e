//! Values that stores hold in base64 (spec section 2.6).

use leafseal::secret::SecretText;
use zeroize::Zeroizing;

use crate::api::external_secrets::{DecodingStrategy, NullBytePolicy};

/// The value behind `value`.
///
/// `Auto` takes what can be read as base64 for base64, which some words are by chance.
///
/// # Errors
///
/// If it is not what `strategy` says.
pub(super) fn decode(value: SecretText, strategy: DecodingStrategy) -> Result<SecretText, String> {
    let refused = |named: &str| Err(format!("error applying decoding strategy {named}: the value is not such text"));
    match strategy {
        DecodingStrategy::None => Ok(value),
        DecodingStrategy::Base64 => standard(&value).map_or_else(|| refused("Base64"), Ok),
        DecodingStrategy::Base64Url => of_urls(&value).map_or_else(|| refused("Base64URL"), Ok),
        DecodingStrategy::Auto => Ok(standard(&value).or_else(|| of_urls(&value)).unwrap_or(value)),
    }
}

/// Refuses null bytes where `policy` does.
///
/// # Errors
///
/// If there is one.
pub(super) fn check_null_bytes(value: &SecretText, policy: NullBytePolicy) -> Result<(), String> {
    match policy == NullBytePolicy::Fail && value.expose().contains(&0) {
        true => Err("the value holds a null byte, which nullBytePolicy Fail refuses".to_owned()),
        false => Ok(()),
    }
}

fn standard(value: &SecretText) -> Option<SecretText> {
    base64(value, |it| !matches!(it, b'-' | b'_'), |it| it)
}

fn of_urls(value: &SecretText) -> Option<SecretText> {
    let standard = |it| match it {
        b'-' => b'+',
        b'_' => b'/',
        it => it,
    };
    base64(value, |it| !matches!(it, b'+' | b'/'), standard)
}

/// As Go decodes it: line ends are skipped, padding is needed, and the bits that belong to no byte may
/// be anything. `translate` leads to the standard alphabet.
fn base64(value: &SecretText, fits: fn(u8) -> bool, translate: fn(u8) -> u8) -> Option<SecretText> {
    let mut digits = Zeroizing::new(Vec::with_capacity(value.expose().len()));
    digits.extend(value.expose().iter().copied().filter(|it| !matches!(it, b'\r' | b'\n')));
    // The decoder that forgives spare bits also forgives spaces and missing padding.
    let is_whole = digits.len().is_multiple_of(4) && digits.iter().all(|&it| fits(it) && !it.is_ascii_whitespace());
    digits.iter_mut().for_each(|it| *it = translate(*it));
    is_whole.then(|| base64_simd::forgiving_decode_to_vec(&digits).ok().map(SecretText::new)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_go_decodes_them() {
        use DecodingStrategy::{Auto, Base64, Base64Url, None as Raw};
        for (strategy, value, expected) in [
            (Base64, "aGVsbG8=", Some(&b"hello"[..])),
            (Base64, "aGVs\r\nbG8=\n", Some(b"hello")),
            (Base64, "aGVsbG8", None),
            (Base64, "aGVs bG8=", None),
            (Base64, "YR==", Some(b"a")),
            (Base64, "+/8=", Some(&[0xfb, 0xff])),
            (Base64, "-_8=", None),
            (Base64, "", Some(b"")),
            (Base64, "=", None),
            (Base64, "é", None),
            (Base64Url, "-_8=", Some(&[0xfb, 0xff])),
            (Base64Url, "+/8=", None),
            (Base64Url, "-_8", None),
            (Auto, "aGVsbG8=", Some(b"hello")),
            (Auto, "-_8=", Some(&[0xfb, 0xff])),
            (Auto, "hello!", Some(b"hello!")),
            (Auto, "test", Some(&[0xb5, 0xeb, 0x2d])),
            (Raw, "aGVsbG8=", Some(b"aGVsbG8=")),
        ] {
            let decoded = decode(SecretText::from(value), strategy);
            assert_eq!(decoded.as_ref().ok().map(SecretText::expose), expected, "{strategy:?} {value:?}");
        }
        let refused = decode(SecretText::from("hunter2!"), Base64).expect_err("it is no base64");
        assert_eq!(refused, "error applying decoding strategy Base64: the value is not such text");
    }

    #[test]
    fn null_bytes_are_refused_where_that_is_asked_for() {
        for (value, policy, expected) in [
            (&b"a\0b"[..], NullBytePolicy::Fail, false),
            (b"a\0b", NullBytePolicy::Ignore, true),
            (b"ab", NullBytePolicy::Fail, true),
        ] {
            assert_eq!(check_null_bytes(&SecretText::new(value), policy).is_ok(), expected);
        }
    }
}
