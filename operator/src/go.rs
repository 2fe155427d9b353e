//! Text as Go writes and reads it: what the original operators hash, store and accept.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::time::Duration;

/// A map as `fmt` prints it with `%v`: `map[a:1 b:2]`, keys in order of their bytes.
pub fn map_text<V: Display>(map: &BTreeMap<String, V>) -> String {
    let mut text = String::from("map[");
    for (n, (key, value)) in map.iter().enumerate() {
        let space = if n > 0 { " " } else { "" };
        write!(text, "{space}{key}:{value}").expect("text takes all that is written");
    }
    text.push(']');
    text
}

/// Bytes as `fmt` prints a `[]byte` with `%v`: `[49 50]`.
pub struct Bytes<'a>(pub &'a [u8]);

impl Display for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('[')?;
        for (n, byte) in self.0.iter().enumerate() {
            let space = if n > 0 { " " } else { "" };
            write!(f, "{space}{byte}")?;
        }
        f.write_char(']')
    }
}

/// A duration as `time.ParseDuration` reads it: `300ms`, `-1.5h`, `2h45m`, `0`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct GoDuration {
    /// Nanoseconds, which may be negative.
    pub nanoseconds: i64,
}

/// Text that is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no duration: write it like 30s, 5m or 1h30m")]
pub struct NoDuration(pub String);

impl GoDuration {
    /// The time to wait; `None` for zero and less, which the original operators take for "never".
    pub fn positive(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().filter(|&it| it > 0).map(Duration::from_nanos)
    }
}

impl std::str::FromStr for GoDuration {
    type Err = NoDuration;

    fn from_str(text: &str) -> Result<Self, NoDuration> {
        let no = || NoDuration(text.chars().take(40).collect());
        let (sign, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        if rest == "0" {
            return Ok(Self { nanoseconds: 0 });
        }
        let mut sum: i128 = 0;
        loop {
            let digits = |it: &str| it.bytes().take_while(u8::is_ascii_digit).count();
            let (whole, after) = rest.split_at(digits(rest));
            let (fraction, after) = match after.strip_prefix('.') {
                Some(it) => it.split_at(digits(it)),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(no());
            }
            let (unit, length): (i128, usize) = match after.as_bytes() {
                [b'n', b's', ..] => (1, 2),
                [b'u', b's', ..] => (1_000, 2),
                _ if after.starts_with("µs") || after.starts_with("μs") => (1_000, "µs".len()),
                [b'm', b's', ..] => (1_000_000, 2),
                [b's', ..] => (1_000_000_000, 1),
                [b'm', ..] => (60_000_000_000, 1),
                [b'h', ..] => (3_600_000_000_000, 1),
                _ => return Err(no()),
            };
            // Twelve digits of a fraction of an hour are less than a nanosecond apart.
            let fraction = &fraction[..fraction.len().min(15)];
            let number = |it: &str| if it.is_empty() { Ok(0) } else { it.parse::<i128>() };
            let whole = number(whole).map_err(|_| no())?.checked_mul(unit).ok_or_else(no)?;
            let part = number(fraction).map_err(|_| no())? * unit
                / 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| no())?);
            sum = sum.checked_add(whole).and_then(|it| it.checked_add(part)).ok_or_else(no)?;
            rest = &after[length..];
            if rest.is_empty() {
                break;
            }
        }
        let nanoseconds = i64::try_from(sum * sign).map_err(|_| no())?;
        Ok(Self { nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let seconds = |it: f64| Some((it * 1e9) as i64);
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0s", Some(0)),
            ("1h", seconds(3600.0)),
            ("1h0m0s", seconds(3600.0)),
            ("60m", seconds(3600.0)),
            ("1m30s", seconds(90.0)),
            ("1.5h", seconds(5400.0)),
            (".5s", seconds(0.5)),
            ("1.s", seconds(1.0)),
            ("-30s", seconds(-30.0)),
            ("+5s", seconds(5.0)),
            ("300ms", seconds(0.3)),
            ("1us2µs3ns", Some(3003)),
            ("2540400h10m10.000000000s", seconds(9_145_440_610.0)),
            ("", None),
            ("-", None),
            ("abc", None),
            ("5", None),
            (".s", None),
            ("1d", None),
            ("1h ", None),
            ("1 h", None),
            ("99999999999h", None),
        ] {
            let got = text.parse::<GoDuration>().ok().map(|it| it.nanoseconds);
            assert_eq!(got, expected, "{text:?}");
        }
        assert_eq!("0s".parse::<GoDuration>().expect("this is one").positive(), None);
        assert_eq!("-1s".parse::<GoDuration>().expect("this is one").positive(), None);
    }
}
