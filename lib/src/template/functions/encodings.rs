//! Base64, base32 and hexadecimal, with Go's errors for text.

use data_encoding::BASE32;

use super::{Function, exactly};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("b32dec", 1, |call| Ok(or_error("base32", decode_base32(&call.text(0)?)))),
    exactly("b32enc", 1, |call| {
        let text = call.text(0)?;
        call.allocate(text.len() * 2)?;
        Ok(Value::text(BASE32.encode(&text)))
    }),
    exactly("b64dec", 1, |call| Ok(or_error("base64", decode_base64(&call.text(0)?)))),
    exactly("b64enc", 1, |call| {
        let text = call.text(0)?;
        call.allocate(text.len() * 2)?;
        Ok(Value::text(base64_simd::STANDARD.encode_to_string(&*text)))
    }),
    exactly("hexdec", 1, |call| Ok(decode_hex(&call.text(0)?))),
];

/// Sprig returns the text of the error.
fn or_error(name: &str, decoded: Result<Vec<u8>, usize>) -> Value {
    match decoded {
        Ok(bytes) => Value::Text(Text::new(bytes)),
        Err(at) => Value::text(format!("illegal {name} data at input byte {at}")),
    }
}

fn is_break(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'\n' | b'\r'))
}

/// As Go's `base64.StdEncoding`: line breaks anywhere, padding required, last bits anything.
///
/// # Errors
///
/// At the byte where it is wrong, as Go counts.
pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = 0;
    loop {
        let (mut bits, mut n) = (0_u32, 0);
        while n < 4 {
            let Some(byte) = text.get(at) else {
                return if n == 0 { Ok(out) } else { Err(at - n) };
            };
            at += 1;
            if let Some(six) = value(*byte) {
                bits |= u32::from(six) << (18 - 6 * n);
                n += 1;
                continue;
            }
            if is_break(Some(byte)) {
                continue;
            }
            if *byte != b'=' || n < 2 {
                return Err(at - 1);
            }
            if n == 2 {
                while is_break(text.get(at)) {
                    at += 1;
                }
                match text.get(at) {
                    None => return Err(text.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return Err(at - 1),
                }
            }
            while is_break(text.get(at)) {
                at += 1;
            }
            out.extend_from_slice(&bits.to_be_bytes()[1..n]);
            return if at < text.len() { Err(at) } else { Ok(out) };
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..4]);
    }
}

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// As Go's `base32.StdEncoding`.
fn decode_base32(text: &[u8]) -> Result<Vec<u8>, usize> {
    let text: Vec<u8> = text.iter().copied().filter(|it| !matches!(it, b'\n' | b'\r')).collect();
    let mut out = Vec::with_capacity(text.len() / 8 * 5);
    let mut at = 0;
    while at < text.len() {
        let (mut bits, mut n, mut end) = (0_u64, 0, false);
        while n < 8 {
            let Some(byte) = text.get(at) else { return Err(text.len() - n) };
            at += 1;
            let rest = &text[at..];
            if *byte == b'=' && n >= 2 && rest.len() < 8 {
                if rest.len() + n < 7 {
                    return Err(text.len());
                }
                if let Some(wrong) = rest.iter().take(7 - n).position(|it| *it != b'=') {
                    return Err(at + wrong - 1);
                }
                if matches!(n, 1 | 3 | 6) {
                    return Err(at - 1);
                }
                end = true;
                break;
            }
            let five = LETTERS.iter().position(|it| it == byte).ok_or(at - 1)?;
            bits |= (five as u64) << (35 - 5 * n);
            n += 1;
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + n * 5 / 8]);
        if end {
            break;
        }
    }
    Ok(out)
}

fn decode_hex(text: &[u8]) -> Value {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|it| it as u8);
    let mut out = Vec::with_capacity(text.len() / 2);
    for pair in text.chunks(2) {
        for byte in pair {
            if digit(*byte).is_none() {
                let c = char::from(*byte);
                let shown = if c.is_control() || !c.is_ascii() { String::new() } else { format!(" '{}'", c) };
                return Value::text(format!("encoding/hex: invalid byte: U+{:04X}{shown}", u32::from(c)));
            }
        }
        match pair {
            [high, low] => out.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0)),
            _ => return Value::text("encoding/hex: odd length hex string"),
        }
    }
    Value::bytes(out)
}
