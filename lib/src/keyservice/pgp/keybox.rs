//! Keyboxes: the container that GnuPG keeps its public keys in, `pubring.kbx`.
//!
//! As `kbx/keybox-blob.c` of GnuPG describes it. Nothing is taken on trust: what does not fit is
//! passed over, and the search goes on behind it.

/// What follows the header of the first blob.
const MAGIC: &[u8] = b"KBXf";

/// The bytes of a blob that are always there and tell where its key lies.
const HEADER: usize = 16;

/// A blob that holds an OpenPGP key.
const OPENPGP: u8 = 2;

/// Kinds of blobs: deleted, the first one, OpenPGP, X.509.
const KINDS: std::ops::RangeInclusive<u8> = 0..=3;

/// True if `bytes` are a keybox, damaged maybe: they begin with the length of a short blob, which
/// neither packets nor armour do.
pub(super) fn is_keybox(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) || bytes.get(8..).is_some_and(|it| it.starts_with(MAGIC))
}

/// Returns the OpenPGP keys in a keybox, each as a sequence of packets.
pub(super) fn keys(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut keys = Vec::new();
    while bytes.len() >= 5 {
        match blob(bytes) {
            Some((length, key)) => {
                keys.extend(key);
                bytes = &bytes[length..];
            }
            // The length is wrong, or what stands here is no blob: find one that is whole.
            None => match (1..bytes.len()).find(|at| matches!(blob(&bytes[*at..]), Some((_, Some(_))))) {
                Some(at) => bytes = &bytes[at..],
                None => break,
            },
        }
    }
    keys
}

/// Reads a blob: how long it is, and the key in it if it has one.
fn blob(bytes: &[u8]) -> Option<(usize, Option<&[u8]>)> {
    let number = |at: usize| -> Option<usize> {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(four)).ok()
    };
    let (length, kind) = (number(0)?, *bytes.get(4)?);
    let whole = bytes.get(..length).filter(|it| it.len() >= 5 && KINDS.contains(&kind))?;
    if kind != OPENPGP {
        return Some((length, None));
    }
    if length < HEADER {
        return None;
    }
    let start = number(8)?;
    let key = whole.get(start..start.checked_add(number(12)?)?)?;
    // A public key in the old or the new form of packets (RFC 4880, 4.2).
    let is_key = matches!(key.first(), Some(0x98..=0x9a | 0xc6));
    (start >= HEADER && is_key).then_some((length, Some(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob of a kind, with a key behind the header.
    fn made(kind: u8, key: &[u8]) -> Vec<u8> {
        let mut blob = ((HEADER + key.len() + 2) as u32).to_be_bytes().to_vec();
        blob.extend([kind, 1, 0, 0]);
        blob.extend((HEADER as u32).to_be_bytes());
        blob.extend((key.len() as u32).to_be_bytes());
        blob.extend(key);
        blob.extend([0, 0]);
        blob
    }

    #[test]
    fn whole_blobs_are_found_whatever_lies_between_them() {
        let first = [&[0, 0, 0, 32, 1, 1, 0, 0], MAGIC, &[0; 20]].concat();
        let (a, b) = (made(2, b"\x99a"), made(2, b"\xc6b"));
        let both: &[&[u8]] = &[b"\x99a", b"\xc6b"];
        let changed = |at: usize, to: u8| {
            let mut it = a.clone();
            it[at] = to;
            it
        };
        for (middle, found) in [
            (a.clone(), both),
            (made(0, b"\x99a"), &both[1..]),
            (made(3, b"\x99a"), &both[1..]),
            (changed(0, 0xff), &both[1..]),
            (changed(3, 0), &both[1..]),
            (changed(4, 9), &both[1..]),
            (changed(11, 0), &both[1..]),
            (changed(11, 0xff), &both[1..]),
            (changed(12, 0xff), &both[1..]),
            (changed(16, 0), &both[1..]),
            (a[..7].to_vec(), &both[1..]),
            (vec![0; 1000], &both[1..]),
            (vec![0xff; 3], &both[1..]),
        ] {
            let text = [&first[..], &middle, &b].concat();
            assert!(is_keybox(&text));
            assert_eq!(keys(&text), found, "{middle:?}");
        }
        for (text, found) in [(&b""[..], 0), (&first, 0), (&a[..a.len() - 1], 0), (&a, 1)] {
            assert_eq!(keys(text).len(), found);
        }
    }
}
