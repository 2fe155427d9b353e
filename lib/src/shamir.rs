//! Shamir's secret sharing over GF(2⁸): what splits a data key among key groups.
//!
//! The field is that of AES (FIPS 197, section 4.2). Each byte of the secret is the value at 0 of a
//! polynomial of its own; a part holds the values at one other place, and then that place, in one
//! byte. This is the layout of SOPS and of HashiCorp Vault (spec section 5.2).
//!
//! The time that anything here takes depends on the number and the length of parts, and on their
//! places, which are no secret; not on what the parts say.

use zeroize::Zeroizing;

use crate::edge::Rng;

/// The most parts that there can be: places are bytes, and the place 0 is the secret's.
pub const MAX_PARTS: usize = 255;

/// Numbers of parts that nothing can be split into, in SOPS's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// More parts would be needed than there are.
    #[error("parts cannot be less than threshold")]
    TooFewParts,
    /// More parts than there are places.
    #[error("parts cannot exceed 255")]
    TooManyParts,
    /// One part would be the secret itself.
    #[error("threshold must be at least 2")]
    ThresholdTooLow,
    /// There is no secret.
    #[error("cannot split an empty secret")]
    Empty,
}

/// Parts that do not go together. The numbers count the parts that were given, from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CombineError {
    /// One part, or none.
    #[error("less than two parts cannot be used to reconstruct the secret")]
    TooFew,
    /// A part too short to hold anything, or one for the place of the secret.
    #[error("part {0} is no part of a secret")]
    Malformed(usize),
    /// Two parts of secrets of different lengths.
    #[error("parts {0} and {1} are not of the same length")]
    Length(usize, usize),
    /// Two parts for the same place.
    #[error("parts {0} and {1} are for the same place")]
    Twice(usize, usize),
}

/// Splits `secret` into parts of which any `threshold` give it back and fewer say nothing about it.
/// They are for the places 1, 2, 3…, in this order.
///
/// # Errors
///
/// See [`SplitError`].
pub fn split(
    secret: &[u8],
    parts: usize,
    threshold: usize,
    rng: &mut dyn Rng,
) -> Result<Vec<Zeroizing<Vec<u8>>>, SplitError> {
    if parts < threshold {
        return Err(SplitError::TooFewParts);
    }
    if threshold < 2 {
        return Err(SplitError::ThresholdTooLow);
    }
    if secret.is_empty() {
        return Err(SplitError::Empty);
    }
    let places: Vec<u8> = (1..=parts).map_while(|it| u8::try_from(it).ok()).collect();
    if places.len() < parts {
        return Err(SplitError::TooManyParts);
    }
    let mut out: Vec<_> = places.iter().map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut polynomial = Zeroizing::new(vec![0; threshold]);
    for &byte in secret {
        polynomial[0] = byte;
        rng.fill(&mut polynomial[1..]);
        for (part, &place) in out.iter_mut().zip(&places) {
            part.push(value_at(&polynomial, place));
        }
    }
    for (part, &place) in out.iter_mut().zip(&places) {
        part.push(place);
    }
    Ok(out)
}

/// Puts a secret together from all of `parts`.
///
/// Parts that are too few, or that come from different splits, give something else: whoever asks
/// must be able to tell.
///
/// # Errors
///
/// See [`CombineError`].
pub fn combine(parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, CombineError> {
    if parts.len() < 2 {
        return Err(CombineError::TooFew);
    }
    let mut points: Vec<(u8, &[u8])> = Vec::with_capacity(parts.len());
    for (n, part) in parts.iter().enumerate() {
        match part.split_last() {
            Some((&place, values)) if place != 0 && !values.is_empty() => {
                if parts[0].len() != part.len() {
                    return Err(CombineError::Length(0, n));
                }
                if let Some(first) = points.iter().position(|(it, _)| *it == place) {
                    return Err(CombineError::Twice(first, n));
                }
                points.push((place, values));
            }
            _ => return Err(CombineError::Malformed(n)),
        }
    }
    let mut secret = Zeroizing::new(vec![0; parts[0].len() - 1]);
    for &(place, values) in &points {
        // Lagrange's polynomial of this place, at 0: subtraction is addition here.
        let others = points.iter().map(|(it, _)| *it).filter(|it| *it != place);
        let weight = others.fold(1, |weight, it| multiply(weight, multiply(it, inverse(place ^ it))));
        for (byte, &value) in secret.iter_mut().zip(values) {
            *byte ^= multiply(value, weight);
        }
    }
    Ok(secret)
}

/// Horner's method.
fn value_at(polynomial: &[u8], place: u8) -> u8 {
    polynomial.iter().rev().fold(0, |value, coefficient| multiply(value, place) ^ coefficient)
}

/// Multiplies without a branch or a table that would tell the factors: bit by bit, modulo
/// x⁸ + x⁴ + x³ + x + 1.
fn multiply(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0u8, |product, bit| {
        let overflow = (product >> 7).wrapping_neg() & 0x1b;
        let term = (b >> bit & 1).wrapping_neg() & a;
        (product << 1) ^ overflow ^ term
    })
}

/// The 254th power: there are 255 elements that have an inverse (Fermat).
fn inverse(a: u8) -> u8 {
    // 254 = 2 + 4 + 8 + … + 128.
    let (mut power, mut product) = (a, 1);
    for _ in 0..7 {
        power = multiply(power, power);
        product = multiply(product, power);
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out these bytes, then the state of a small generator.
    struct Bytes(Vec<u8>, u64);

    impl Bytes {
        fn seeded(seed: u64) -> Self {
            Self(Vec::new(), seed)
        }
    }

    impl crate::edge::Rng for Bytes {
        fn fill(&mut self, buf: &mut [u8]) {
            for byte in buf {
                self.1 = self.1.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = if self.0.is_empty() { (self.1 >> 56) as u8 } else { self.0.remove(0) };
            }
        }
    }

    /// A part as the specification writes it.
    fn part(hex: &str) -> Vec<u8> {
        let digit = |it: &str| u8::from_str_radix(it, 16).expect("hexadecimal");
        hex.as_bytes().chunks(2).map(|it| digit(std::str::from_utf8(it).expect("ASCII"))).collect()
    }

    fn together(parts: &[Vec<u8>]) -> Result<Vec<u8>, CombineError> {
        combine(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).map(|it| it.to_vec())
    }

    /// Appendix A.3 of the specification, and case A18.
    #[test]
    fn parts_are_those_of_sops() {
        let coefficients = vec![0x11, 0xca, 0x22, 0xfe, 0x33, 0x80, 0x44, 0x01];
        let secret = [0x00, 0x01, 0x53, 0xff];
        let parts = split(&secret, 4, 3, &mut Bytes(coefficients, 0)).expect("three of four");
        let parts: Vec<Vec<u8>> = parts.iter().map(|it| it.to_vec()).collect();
        let expected = ["dbdde0ba01", "2790037302", "fc4cb03603", "50f047e404"].map(part);
        assert_eq!(parts, expected);
        for without in 0..4 {
            let mut some = parts.clone();
            some.remove(without);
            assert_eq!(together(&some).expect("three are enough"), secret);
            some.swap(0, 2);
            assert_eq!(together(&some).expect("in any order"), secret);
            assert_ne!(together(&some[..2]).expect("they look right"), secret);
        }
        assert_eq!(together(&parts).expect("more than needed"), secret);
    }

    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!((multiply(0x57, 0x83), multiply(0x53, 0xca)), (0xc1, 0x01));
        for a in 0..=255 {
            assert_eq!((multiply(a, 1), multiply(a, 0), multiply(0, a)), (a, 0, 0));
            assert_eq!(multiply(a, inverse(a)), u8::from(a != 0));
        }
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        for (secret, parts, threshold, expected) in [
            (&b"ab"[..], 2, 3, SplitError::TooFewParts),
            (b"ab", 0, 0, SplitError::ThresholdTooLow),
            (b"ab", 2, 0, SplitError::ThresholdTooLow),
            (b"ab", 2, 1, SplitError::ThresholdTooLow),
            (b"ab", 256, 2, SplitError::TooManyParts),
            (b"ab", 1 << 40, 2, SplitError::TooManyParts),
            (b"", 2, 2, SplitError::Empty),
        ] {
            assert_eq!(split(secret, parts, threshold, &mut Bytes::seeded(1)).expect_err("refused"), expected);
        }
        assert_eq!(split(b"ab", MAX_PARTS, MAX_PARTS, &mut Bytes::seeded(1)).expect("the most").len(), MAX_PARTS);
    }

    #[test]
    fn parts_that_do_not_go_together_are_told() {
        for (parts, expected) in [
            (&[][..], CombineError::TooFew),
            (&["aa01"], CombineError::TooFew),
            (&["aa01", "01"], CombineError::Malformed(1)),
            (&["", "aa01"], CombineError::Malformed(0)),
            (&["aa01", "aa00"], CombineError::Malformed(1)),
            (&["aa01", "aaaa02"], CombineError::Length(0, 1)),
            (&["aa01", "aa02", "bb01"], CombineError::Twice(0, 2)),
        ] {
            let parts: Vec<_> = parts.iter().map(|it| part(it)).collect();
            assert_eq!(together(&parts), Err(expected), "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn enough_parts_give_the_secret_back(
            secret in prop::collection::vec(any::<u8>(), 1..64),
            (threshold, parts) in (2usize..8).prop_flat_map(|it| (Just(it), it..12)),
            seed: u64,
            order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let split = split(&secret, parts, threshold, &mut Bytes::seeded(seed)).expect("the numbers fit");
            let chosen: Vec<&[u8]> = order.iter().filter_map(|it| split.get(*it)).map(|it| it.as_slice()).collect();
            for n in threshold..=parts {
                prop_assert_eq!(&*combine(&chosen[..n]).expect("they go together"), &secret);
            }
        }

        #[test]
        fn nothing_that_is_combined_panics(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6)) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            if let Ok(secret) = combine(&parts) {
                prop_assert_eq!(secret.len() + 1, parts[0].len());
            }
        }
    }
}
