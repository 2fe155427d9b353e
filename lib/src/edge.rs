//! What the library needs from outside, as traits that the caller implements.

use std::fmt;
use std::pin::Pin;

use data_encoding::HEXLOWER;

/// A point in time as SOPS stores it: RFC 3339, whole seconds.
#[derive(Clone, Debug, Eq, PartialEq, PartialOrd, Ord)]
pub struct Timestamp(String);

impl Timestamp {
    /// Takes a time that is already spelt as `2006-01-02T15:04:05Z`.
    pub fn from_utc_seconds(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads RFC 3339 and normalises it as SOPS does before it authenticates anything with it: the
    /// fraction is dropped, `+00:00` becomes `Z`, other offsets stay (spec section 3.2).
    ///
    /// Returns `None` if `text` is not RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<u32> {
            bytes.get(range)?.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
        };
        let sign = |at: usize, b: u8| bytes.get(at) == Some(&b);
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        let separated = sign(4, b'-') && sign(7, b'-') && sign(10, b'T') && sign(13, b':') && sign(16, b':');
        if !separated || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()?;
        let mut rest = 19;
        if sign(rest, b'.') || sign(rest, b',') {
            let n = bytes[rest + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if n == 0 {
                return None;
            }
            rest += 1 + n;
        }
        let zone = match text.get(rest..)? {
            "Z" | "+00:00" | "-00:00" => "Z",
            other => {
                let (hour, minute) = (digits(rest + 1..rest + 3)?, digits(rest + 4..rest + 6)?);
                let shaped = other.len() == 6 && matches!(bytes[rest], b'+' | b'-') && sign(rest + 3, b':');
                if !shaped || hour > 24 || minute > 60 {
                    return None;
                }
                other
            }
        };
        Some(Self(format!("{}{zone}", &text[..19])))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the current time in UTC.
    fn now(&self) -> Timestamp;
}

/// A source of cryptographically secure random bytes.
pub trait Rng {
    /// Fills `buf`, or does not return.
    fn fill(&mut self, buf: &mut [u8]);
}

impl dyn Rng + '_ {
    /// A number below `limit`, which is not zero, each as likely.
    pub fn below(&mut self, limit: u64) -> u64 {
        loop {
            let mut bytes = [0; 8];
            self.fill(&mut bytes);
            let number = u64::from_le_bytes(bytes);
            if number < u64::MAX - u64::MAX % limit {
                return number % limit;
            }
        }
    }

    /// A random identifier (RFC 9562, version 4).
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = HEXLOWER.encode(&bytes);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// The same randomness for crates that make keys.
pub struct KeyRng<'a>(pub &'a mut dyn Rng);

impl rand_core::RngCore for KeyRng<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, buf: &mut [u8]) {
        self.0.fill(buf);
    }

    fn try_fill_bytes(&mut self, buf: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(buf);
        Ok(())
    }
}

impl rand_core::CryptoRng for KeyRng<'_> {}

/// How long somebody may be waited for.
pub trait Deadline: Send + Sync {
    /// Begins to wait; ends when it has been long enough.
    fn passed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_timestamp_is_normalised_as_sops_does() {
        for (text, normal) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.5Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+00:00", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.123-05:00", Some("2026-01-02T03:04:05-05:00")),
            ("2026-02-30T03:04:05Z", None),
            ("2026-01-02 03:04:05Z", None),
            ("Mon Jan  2 03:04:05 2026", None),
            ("2026-01-02T03:04:05", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse(text).as_ref().map(Timestamp::as_str), normal, "{text}");
        }
    }
}
