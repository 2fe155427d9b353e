//! Digests, as hexadecimal text.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256, Sha512};

use super::{Call, Fault, Function, exactly};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("adler32sum", 1, |call| {
        let (a, b) = hashed(call)?.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        Ok(Value::text((b << 16 | a).to_string()))
    }),
    exactly("sha1sum", 1, |call| Ok(hex(&<sha1::Sha1 as sha1::Digest>::digest(&*hashed(call)?)))),
    exactly("sha256sum", 1, |call| Ok(hex(&Sha256::digest(&*hashed(call)?)))),
    exactly("sha512sum", 1, |call| Ok(hex(&Sha512::digest(&*hashed(call)?)))),
];

fn hashed(call: &mut Call<'_, '_>) -> Result<Text, Fault> {
    let text = call.text(0)?;
    call.budget.step(text.len() as u64 / 64)?;
    Ok(text)
}

fn hex(bytes: &[u8]) -> Value {
    Value::text(bytes.iter().fold(String::new(), |mut out, byte| {
        _ = write!(out, "{byte:02x}");
        out
    }))
}
