//! The scalars that SOPS knows, and the bytes that stand for them.

use std::borrow::Cow;
use std::fmt;

use crate::secret::SecretText;

/// One scalar of a document.
///
/// `Debug` shows its type only: a value is a secret until somebody asks for it by name.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `type:bool`.
    Bool(bool),
    /// `type:comment`, without the comment sign.
    Comment(SecretText),
    /// `type:float`.
    Float(f64),
    /// `type:int`.
    Int(i64),
    /// Not encrypted and not part of the MAC.
    Null,
    /// `type:str`.
    Str(SecretText),
    /// `type:time`: RFC 3339 with the fraction's trailing zeros trimmed and the offset kept.
    Time(String),
}

/// Plaintext that does not say a value of the type it is said to be of.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Nobody has heard of this type. The type is not secret.
    #[error("unknown datatype: {0}")]
    UnknownType(String),
    /// The plaintext cannot be read as this type.
    #[error("the decrypted text is not a value of type {0}")]
    Malformed(&'static str),
}

impl Value {
    /// Makes a string.
    pub fn str(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// Returns the name that stands after `type:` in an envelope.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Comment(_) => "comment",
            Self::Float(_) => "float",
            Self::Int(_) => "int",
            Self::Null => "null",
            Self::Str(_) => "str",
            Self::Time(_) => "time",
        }
    }

    /// Returns the bytes that go into the MAC and, unless the file's own spelling is carried, into
    /// the ciphertext (spec section 1.3).
    pub fn canonical(&self) -> Cow<'_, [u8]> {
        match self {
            // The Python SOPS wrote booleans in title case, and files still say so.
            Self::Bool(true) => Cow::Borrowed(b"True"),
            Self::Bool(false) => Cow::Borrowed(b"False"),
            Self::Float(it) => Cow::Owned(float::plain(*it).into_bytes()),
            Self::Int(it) => Cow::Owned(it.to_string().into_bytes()),
            Self::Null => Cow::Borrowed(b""),
            Self::Comment(it) | Self::Str(it) => Cow::Borrowed(it.expose()),
            Self::Time(it) => Cow::Borrowed(it.as_bytes()),
        }
    }

    /// Reads what [`Value::canonical`] wrote for a value of type `type_name`, and every other
    /// spelling that SOPS reads.
    pub fn from_canonical(type_name: &str, bytes: Vec<u8>) -> Result<Self, ValueError> {
        let text = SecretText::new(bytes);
        let utf8 = || text.expose_str().unwrap_or("\u{0}");
        Ok(match type_name {
            "str" | "bytes" => Self::Str(text),
            "comment" => Self::Comment(text),
            "int" => Self::Int(utf8().parse().map_err(|_| ValueError::Malformed("int"))?),
            "float" => Self::Float(float::parse_go(utf8()).ok_or(ValueError::Malformed("float"))?),
            "bool" => match utf8() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Self::Bool(true),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Self::Bool(false),
                _ => return Err(ValueError::Malformed("bool")),
            },
            "time" => Self::Time(time::parse_rfc3339(utf8()).ok_or(ValueError::Malformed("time"))?),
            other => return Err(ValueError::UnknownType(other.to_owned())),
        })
    }

    /// True for the values that SOPS leaves as they are: there is nothing in them to hide.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Comment(it) | Self::Str(it) => it.is_empty(),
            Self::Null => true,
            Self::Bool(_) | Self::Float(_) | Self::Int(_) | Self::Time(_) => false,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.type_name())
    }
}

/// Numbers as Go spells and reads them.
pub mod float {
    /// Spells `it` with the shortest digits that read back as `it`, never with an exponent: the
    /// form of ciphertexts and of the MAC (spec section 1.3).
    pub fn plain(it: f64) -> String {
        if it.is_nan() {
            return "NaN".to_owned();
        }
        if it.is_infinite() {
            return if it > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
        }
        let (digits, exponent) = digits(it.abs());
        let zeros = |n: i32| std::iter::repeat_n('0', n as usize);
        let n = digits.len() as i32;
        let mut text = String::with_capacity(digits.len() + exponent.unsigned_abs() as usize + 3);
        if it.is_sign_negative() {
            text.push('-');
        }
        if exponent < 0 {
            text.push_str("0.");
            text.extend(zeros(-exponent - 1));
            text.push_str(&digits);
        } else if exponent >= n - 1 {
            text.push_str(&digits);
            text.extend(zeros(exponent - n + 1));
        } else {
            let (whole, fraction) = digits.split_at((exponent + 1) as usize);
            text.push_str(whole);
            text.push('.');
            text.push_str(fraction);
        }
        text
    }

    /// Spells a finite `it` with the shortest digits that read back as `it`, with an exponent of at
    /// least `width` digits where the decimal exponent is below `low` or at least `high`
    /// (spec section 1.5).
    pub fn shortest(it: f64, low: i32, high: i32, width: usize, e: char) -> String {
        let (digits, exponent) = digits(it.abs());
        if it == 0.0 || (low..high).contains(&exponent) {
            return plain(it);
        }
        let sign = if it.is_sign_negative() { "-" } else { "" };
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{first}{point}{rest}{e}{exponent_sign}{:0width$}", exponent.abs())
    }

    /// The significant digits of a finite, non-negative number and its decimal exponent
    /// (`d.ddd × 10^exponent`). `ryu` and Go agree on the digits; the standard library does not
    /// always.
    fn digits(it: f64) -> (String, i32) {
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(it);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent: i32 = exponent.parse().unwrap_or(0);
        let all = [whole, fraction].concat();
        let zeros = all.len() - all.trim_start_matches('0').len();
        exponent += whole.len() as i32 - 1 - zeros as i32;
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        match digits {
            "" => ("0".to_owned(), 0),
            _ => (digits.to_owned(), exponent),
        }
    }

    /// Reads what Go's `ParseFloat` reads: decimal with exponent, hexadecimal, `inf` and `nan` in
    /// any case. Out of range is refused.
    pub fn parse_go(text: &str) -> Option<f64> {
        let (sign, body) = match text.as_bytes().first()? {
            b'-' => (-1.0, &text[1..]),
            b'+' => (1.0, &text[1..]),
            _ => (1.0, text),
        };
        let lower = body.to_ascii_lowercase();
        match lower.as_str() {
            "inf" | "infinity" => return Some(sign * f64::INFINITY),
            "nan" => return Some(f64::NAN),
            _ => (),
        }
        if let Some(hex) = lower.strip_prefix("0x") {
            return parse_hex(hex).map(|it| sign * it);
        }
        if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let it: f64 = body.parse().ok()?;
        it.is_finite().then_some(sign * it)
    }

    fn parse_hex(text: &str) -> Option<f64> {
        let (mantissa, exponent) = text.split_once('p')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 16 {
            return None;
        }
        let bits = u64::from_str_radix(&digits, 16).ok()?;
        let exponent: i32 = exponent.parse().ok()?;
        let it = bits as f64 * 2f64.powi(exponent - 4 * fraction.len() as i32);
        it.is_finite().then_some(it)
    }

    #[cfg(test)]
    mod tests {
        use super::{parse_go, plain, shortest};

        #[test]
        fn floats_are_spelt_as_go_spells_them() {
            for (it, text) in [
                (1e21, "1000000000000000000000"),
                (1.0, "1"),
                (-0.0, "-0"),
                (0.0, "0"),
                (1000000.5, "1000000.5"),
                (0.00001, "0.00001"),
                (123.456, "123.456"),
                (-208647207657766.62, "-208647207657766.62"),
                (f64::INFINITY, "+Inf"),
                (f64::NEG_INFINITY, "-Inf"),
                (f64::NAN, "NaN"),
            ] {
                assert_eq!(plain(it), text);
            }
            assert_eq!(plain(5e-324).len(), 326);
            for (it, text) in [
                (1000000.0, "1e+06"),
                (100000.0, "100000"),
                (1234567.5, "1.2345675e+06"),
                (21474836480.25, "2.147483648025e+10"),
                (0.0001, "0.0001"),
                (0.00001, "1e-05"),
                (1e20, "1e+20"),
                (685230.15, "685230.15"),
                (-0.0, "-0"),
            ] {
                assert_eq!(shortest(it, -4, 6, 2, 'e'), text);
            }
            assert_eq!(shortest(1e-7, -6, 21, 1, 'e'), "1e-7");
            assert_eq!(shortest(1e21, -6, 21, 1, 'e'), "1e+21");
        }

        #[test]
        fn floats_are_read_as_go_reads_them() {
            for (text, it) in [
                ("1e3", Some(1000.0)),
                ("+.5", Some(0.5)),
                ("5.", Some(5.0)),
                ("0x1p4", Some(16.0)),
                ("-Inf", Some(f64::NEG_INFINITY)),
                ("Infinity", Some(f64::INFINITY)),
                ("1e400", None),
                ("1_000.5", None),
                ("", None),
                ("-", None),
                ("+-1", None),
                (".", None),
            ] {
                assert_eq!(parse_go(text), it, "{text}");
            }
        }
    }
}

/// Points in time as SOPS spells them.
pub mod time {
    /// Reads RFC 3339 and returns it with the fraction's trailing zeros trimmed, `+00:00` as `Z`
    /// and any other offset kept.
    pub fn parse_rfc3339(text: &str) -> Option<String> {
        let seconds = crate::edge::Timestamp::parse(text)?;
        let fraction = text[19..].strip_prefix(['.', ',']).unwrap_or("");
        let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        Some(spell(seconds.as_str(), &fraction[..digits]))
    }

    /// Inserts a fraction into an RFC 3339 text of whole seconds: at most nine digits, trailing
    /// zeros trimmed.
    pub fn spell(seconds: &str, fraction: &str) -> String {
        let fraction = fraction.get(..9).unwrap_or(fraction).trim_end_matches('0');
        let (head, zone) = seconds.split_at(19);
        match fraction {
            "" => format!("{head}{zone}"),
            _ => format!("{head}.{fraction}{zone}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_bytes_read_back_as_the_value() {
        for value in [
            Value::Bool(true),
            Value::Int(-5),
            Value::Float(1.5),
            Value::str("x"),
            Value::Comment(" note".into()),
            Value::Time("2001-12-14T21:59:43.1-05:00".to_owned()),
            Value::Time("2001-12-14T21:59:43Z".to_owned()),
        ] {
            let read = Value::from_canonical(value.type_name(), value.canonical().into_owned());
            assert_eq!(read, Ok(value));
        }
        assert!(Value::from_canonical("int", b"1.0".to_vec()).is_err());
        assert!(Value::from_canonical("zzz", b"1".to_vec()).is_err());
    }
}
