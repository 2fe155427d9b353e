//! Canonical S-expressions, as far as gpg-agent takes and gives them.
//!
//! Each atom is its length in decimal, a colon and its bytes (libgcrypt, "S-expressions").

use zeroize::Zeroizing;

/// Writes `(enc-val(NAME(x VALUE)…))`: what a public-key algorithm has encrypted, by its parts.
pub(crate) fn ciphertext(algorithm: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = b"(".to_vec();
    atom(b"enc-val", &mut text);
    text.push(b'(');
    atom(algorithm.as_bytes(), &mut text);
    for (name, value) in parts {
        text.push(b'(');
        atom(name.as_bytes(), &mut text);
        atom(&unsigned(value), &mut text);
        text.push(b')');
    }
    text.extend_from_slice(b"))");
    text
}

/// Reads `(5:value N:…)`, which may be followed by a zero byte.
///
/// Returns `None` if it is anything else.
pub(crate) fn value(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    let atom = text.strip_prefix(b"(5:value")?.strip_suffix(b")")?;
    let colon = atom.iter().position(|it| *it == b':')?;
    let length: usize = std::str::from_utf8(&atom[..colon]).ok()?.parse().ok()?;
    let value = &atom[colon + 1..];
    (!value.is_empty() && value.len() == length).then(|| Zeroizing::new(value.to_vec()))
}

fn atom(bytes: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    text.extend_from_slice(bytes);
}

/// Numbers are signed there: one with its highest bit set gets a zero byte in front.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => [&[0], bytes].concat(),
        _ => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_libgcrypt_does() {
        assert_eq!(ciphertext("rsa", &[("a", &[0x7f, 1])]), b"(7:enc-val(3:rsa(1:a2:\x7f\x01)))");
        let elgamal = ciphertext("elg", &[("a", &[0x80]), ("b", &[1])]);
        assert_eq!(elgamal, b"(7:enc-val(3:elg(1:a2:\0\x80)(1:b1:\x01)))");
    }

    #[test]
    fn a_value_has_the_length_it_says() {
        for (text, expected) in [
            (b"(5:value3:abc)".as_slice(), Some(b"abc".as_slice())),
            (b"(5:value3:abc)\0", Some(b"abc")),
            (b"(5:value2:)))", Some(b"))")),
            (b"(5:value2:\0\0)\0", Some(b"\0\0")),
            (b"(5:value4:abc)", None),
            (b"(5:value2:abc)", None),
            (b"(5:value0:)", None),
            (b"(5:value99999999999999999999:a)", None),
            (b"(5:value-1:a)", None),
            (b"(5:value3:abc", None),
            (b"(7:enc-val)", None),
            (b"", None),
        ] {
            assert_eq!(value(text).as_deref().map(Vec::as_slice), expected, "{text:?}");
        }
    }
}
