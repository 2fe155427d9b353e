//! ASCII armour, taken off as a whole before anything looks inside (RFC 4880, 6).
//!
//! Packets are read from memory: where sequoia reads through armour, it makes room for as much as a
//! packet claims to have.

use std::io::Read;

use memchr::memmem;
use sequoia_openpgp::armor::{Kind, Reader, ReaderMode};
use zeroize::Zeroizing;

/// Where every armour begins.
const BEGIN: &[u8] = b"-----BEGIN PGP ";

/// Returns the packets of a message; the text says why there are none.
pub(super) fn message(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some(start) = text.find("-----BEGIN PGP MESSAGE-----") else {
        return Err("there is no `-----BEGIN PGP MESSAGE-----`".to_owned());
    };
    let (packets, result) = taken_off(&text.as_bytes()[start..], Some(Kind::Message));
    result.map(|()| packets).map_err(|it| crate::keyservice::one_line(&it))
}

/// Returns the packets in a file: of every armour that is in it, as far as it is whole, or the
/// bytes themselves if there is none.
pub(super) fn blocks(bytes: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    // The first byte of a public or secret key, or of a marker (RFC 4880, 4.2).
    if matches!(text.first(), Some(0x94..=0x9b | 0xa8..=0xab | 0xc5 | 0xc6 | 0xca)) {
        return vec![Zeroizing::new(text.to_vec())];
    }
    let starts: Vec<usize> = memmem::find_iter(text, BEGIN).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(start, end)| taken_off(&text[*start..end], None).0).collect()
}

/// Takes off one armour: what was in it up to a fault, and the fault.
fn taken_off(text: &[u8], kind: Option<Kind>) -> (Zeroizing<Vec<u8>>, std::io::Result<()>) {
    // Room for more than there is: a vector that grows leaves copies behind.
    let mut packets = Zeroizing::new(Vec::with_capacity(text.len() + 64));
    let result = Reader::from_bytes(text, ReaderMode::Tolerant(kind)).read_to_end(&mut packets);
    (packets, result.map(drop))
}
