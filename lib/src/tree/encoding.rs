//! How a text is stored: UTF-8, or UTF-16 with its mark, which YAML allows (YAML 1.1 section 5.2).

use zeroize::Zeroizing;

/// How the characters of a text become bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// UTF-16, the lower byte first, behind its mark.
    Utf16Le,
    /// UTF-16, the higher byte first, behind its mark.
    Utf16Be,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Utf8, Self::Utf16Le, Self::Utf16Be];

    /// What the mark at the start of a text says; without one, it is UTF-8.
    pub fn of(bytes: &[u8]) -> Self {
        let marked = [Self::Utf16Le, Self::Utf16Be].into_iter().find(|it| bytes.starts_with(it.mark()));
        marked.unwrap_or_default()
    }

    /// The encoding of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// The name (IANA).
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16LE",
            Self::Utf16Be => "UTF-16BE",
        }
    }

    fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 => &[],
            Self::Utf16Le => &[0xFF, 0xFE],
            Self::Utf16Be => &[0xFE, 0xFF],
        }
    }

    /// The bytes of a text.
    pub fn encode(self, text: &str) -> Zeroizing<Vec<u8>> {
        let unit: fn(u16) -> [u8; 2] = match self {
            Self::Utf8 => return Zeroizing::new(text.as_bytes().to_vec()),
            Self::Utf16Le => u16::to_le_bytes,
            Self::Utf16Be => u16::to_be_bytes,
        };
        // Of its full size from the start: a vector that grows leaves its old bytes behind in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + 2 * text.len()));
        bytes.extend_from_slice(self.mark());
        text.encode_utf16().for_each(|it| bytes.extend_from_slice(&unit(it)));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn the_mark_tells_the_encoding() {
        for (encoding, bytes) in [
            (Encoding::Utf8, &b"a\xc3\xa9"[..]),
            (Encoding::Utf16Le, b"\xff\xfea\0\xe9\0"),
            (Encoding::Utf16Be, b"\xfe\xff\0a\0\xe9"),
        ] {
            assert_eq!((Encoding::of(bytes), encoding.encode("aé").as_slice()), (encoding, bytes));
            assert_eq!(Encoding::named(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::named("EBCDIC"), None);
    }
}
