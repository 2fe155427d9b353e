//! DER (X.690), as far as keys and containers of keys need it.

use zeroize::Zeroizing;

use super::Fault;

/// What is spelt: it may hold a key.
pub(super) type Der = Zeroizing<Vec<u8>>;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of what is `[n]`, and holds elements.
pub(super) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// One element.
pub(super) fn tag(tag: u8, content: &[u8]) -> Der {
    let n = content.len();
    let mut out = Zeroizing::new(Vec::with_capacity(n + 6));
    out.push(tag);
    match n {
        0..0x80 => out.push(n as u8),
        _ => {
            let bytes = n.to_be_bytes();
            let bytes = &bytes[bytes.iter().position(|it| *it != 0).unwrap_or(0)..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A sequence of elements.
pub(super) fn sequence(parts: &[&[u8]]) -> Der {
    tag(SEQUENCE, &Zeroizing::new(parts.concat()))
}

/// A number that is not negative.
pub(super) fn integer(bytes: &[u8]) -> Der {
    let start = bytes.iter().position(|it| *it != 0).unwrap_or(bytes.len().saturating_sub(1));
    let bytes = &bytes[start..];
    match bytes.first() {
        Some(first) if *first >= 0x80 => tag(INTEGER, &Zeroizing::new([&[0], bytes].concat())),
        _ => tag(INTEGER, bytes),
    }
}

/// Bits, as many as fill the bytes.
pub(super) fn bits(content: &[u8]) -> Der {
    tag(BITS, &Zeroizing::new([&[0], content].concat()))
}

/// Elements, read one after the other.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The next element: its tag and its content.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let n = length - 0x80;
            if n == 0 || n > 4 || rest.len() < n {
                return None;
            }
            length = rest[..n].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = &rest[n..];
        }
        let content = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, content))
    }

    /// The content of the next element, if that is one of this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.next()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// The content of the next element, which is one of this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Fault> {
        self.optional(tag).ok_or_else(|| Fault::new("the data cannot be read: it is not what it should be"))
    }

    /// The next element as it is spelt.
    pub(super) fn whole(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        self.next()?;
        Some(&before[..before.len() - self.0.len()])
    }
}

/// A number that is small.
pub(super) fn small(content: &[u8]) -> Option<u32> {
    let digits = &content[content.iter().take_while(|it| **it == 0).count()..];
    (digits.len() <= 4 && content.first().is_none_or(|it| *it < 0x80))
        .then(|| digits.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}
