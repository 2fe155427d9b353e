//! PEM blocks.

use super::encodings::decode_base64;
use super::{Fault, Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[exactly("filterPEM", 2, |call| {
    let (label, text) = (call.text(0)?, call.text(1)?);
    let (blocks, rest) = read(&text);
    let kept: Vec<Vec<u8>> =
        blocks.iter().filter(|it| it.label.eq_ignore_ascii_case(&label)).map(Block::spell).collect();
    if kept.is_empty() && !rest.is_empty() {
        return Err(Fault::new("the data holds no PEM block of this type, and something else"));
    }
    Ok(Value::bytes(kept.concat()))
})];

/// One block.
pub(super) struct Block {
    label: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    der: zeroize::Zeroizing<Vec<u8>>,
}

impl Block {
    /// A block without headers.
    pub(super) fn new(label: &str, der: zeroize::Zeroizing<Vec<u8>>) -> Self {
        Self { label: label.into(), headers: Vec::new(), der }
    }

    /// What the block holds.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// As Go's `pem.Encode`.
    pub(super) fn spell(&self) -> Vec<u8> {
        let mut out = [b"-----BEGIN ", self.label.as_slice(), b"-----\n"].concat();
        let mut headers = self.headers.clone();
        // `Proc-Type` comes first (RFC 1421).
        headers.sort_by(|a, b| (a.0 != b"Proc-Type").cmp(&(b.0 != b"Proc-Type")).then_with(|| a.0.cmp(&b.0)));
        for (name, value) in &headers {
            out.extend_from_slice(&[name.as_slice(), b": ", value, b"\n"].concat());
        }
        if !headers.is_empty() {
            out.push(b'\n');
        }
        let body = zeroize::Zeroizing::new(base64_simd::STANDARD.encode_to_string(&*self.der));
        for line in body.as_bytes().chunks(64) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.extend_from_slice(&[b"-----END ", self.label.as_slice(), b"-----\n"].concat());
        out
    }
}

/// All blocks of a text, and what follows the last of them.
pub(super) fn read(text: &[u8]) -> (Vec<Block>, &[u8]) {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = read_one(rest) {
        blocks.push(block);
        rest = after;
    }
    (blocks, rest)
}

fn read_one(text: &[u8]) -> Option<(Block, &[u8])> {
    let mut rest = text;
    loop {
        let at = super::strings::find(rest, b"-----BEGIN ")?;
        let is_at_start = at == 0 || rest[at - 1] == b'\n';
        rest = &rest[at + 11..];
        let (line, after) = split_line(rest);
        let Some(label) = line.strip_suffix(b"-----").filter(|_| is_at_start) else { continue };
        let end = [b"-----END ", label, b"-----"].concat();
        let Some(stop) = super::strings::find(after, &end) else { continue };
        let (mut body, mut headers) = (&after[..stop], Vec::new());
        loop {
            let (line, next) = split_line(body);
            let Some(colon) = memchr::memchr(b':', line) else { break };
            headers.push((line[..colon].trim_ascii().to_vec(), line[colon + 1..].trim_ascii().to_vec()));
            body = next;
        }
        let dense: Vec<u8> = body.iter().copied().filter(|it| !matches!(it, b' ' | b'\t')).collect();
        let Ok(der) = decode_base64(&dense) else { continue };
        let (trailing, after) = split_line(&after[stop + end.len()..]);
        if !trailing.is_empty() {
            continue;
        }
        return Some((Block { label: label.to_vec(), headers, der: zeroize::Zeroizing::new(der) }, after));
    }
}

/// A line without what ends it and the blanks before that, and the rest.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    (line.trim_ascii_end(), rest)
}
