//! `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`: the text an encrypted leaf is spelt as.

/// The fields of an envelope, as they stand in the text: base64 and a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Envelope<'t> {
    /// The ciphertext without its tag.
    pub(crate) data: &'t str,
    /// The nonce.
    pub(crate) iv: &'t str,
    /// The authentication tag.
    pub(crate) tag: &'t str,
    /// The type of the value, as [`Value::type_name`](crate::value::Value::type_name) names it. Not
    /// authenticated.
    pub(crate) type_name: &'t str,
}

/// A field that is not base64 as Go reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("illegal base64 data")]
pub(crate) struct Base64Error;

const START: &str = "ENC[AES256_GCM,data:";

/// How envelopes end, and the type that says.
const TYPES: &[(&str, &str)] = &[
    (",type:str]", "str"),
    (",type:int]", "int"),
    (",type:bool]", "bool"),
    (",type:float]", "float"),
    (",type:comment]", "comment"),
];

impl<'t> Envelope<'t> {
    /// Reads `text` as SOPS's regular expression does,
    /// `^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]` (sops: aes/cipher.go): each field is
    /// as long as it can be, none is empty, none holds a line feed, anything may follow.
    ///
    /// Returns `None` if `text` is not an envelope, which is how plain text looks too.
    pub(crate) fn parse(text: &'t str) -> Option<Self> {
        let rest = text.strip_prefix(START)?;
        Self::usual(rest).or_else(|| Self::any(rest))
    }

    /// Nonces and tags have always been of one length: where their names stand that far from the end, and no comma or
    /// line end follows, the rest is as it always was too.
    fn usual(rest: &'t str) -> Option<Self> {
        const IV: usize = 44;
        const TAG: usize = 24;
        let (end, type_name) = TYPES.iter().find_map(|(it, name)| {
            let end = rest.len().checked_sub(it.len())?;
            (rest.as_bytes()[end..] == *it.as_bytes()).then_some((end, *name))
        })?;
        let (before, tag) = rest.as_bytes()[..end].split_last_chunk::<TAG>()?;
        let (before, iv) = before.strip_suffix(b",tag:")?.split_last_chunk::<IV>()?;
        let data = before.strip_suffix(b",iv:").filter(|it| !it.is_empty())?.len();
        let has_comma = |it: &[u8]| it.iter().fold(false, |found, byte| found | (*byte == b','));
        if has_comma(tag) || has_comma(iv) || memchr::memchr(b'\n', rest.as_bytes()).is_some() {
            return None;
        }
        let (iv, tag) = (rest.get(data + 4..data + 4 + IV)?, rest.get(end - TAG..end)?);
        Some(Self { data: rest.get(..data)?, iv, tag, type_name })
    }

    fn any(rest: &'t str) -> Option<Self> {
        let line = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest, |end| &rest[..end]);
        let fields = &line[..memchr::memrchr(b']', line.as_bytes())?];
        let (fields, type_name) = last_field(fields, ",type:")?;
        let (fields, tag) = last_field(fields, ",tag:")?;
        let (data, iv) = last_field(fields, ",iv:")?;
        (!data.is_empty()).then_some(Self { data, iv, tag, type_name })
    }
}

/// Splits at the last `name` that has something after it. Greedy matching means the last one.
fn last_field<'t>(text: &'t str, name: &str) -> Option<(&'t str, &'t str)> {
    let mut end = text.len().checked_sub(1)?;
    loop {
        let comma = memchr::memrchr(b',', &text.as_bytes()[..end])?;
        match text[comma..].strip_prefix(name) {
            Some(field) if !field.is_empty() => return Some((&text[..comma], field)),
            _ => end = comma,
        }
    }
}

/// Spells the envelope of these bytes.
pub(crate) fn print(data: &[u8], iv: &[u8], tag: &[u8], type_name: &str) -> String {
    let base64 = base64_simd::STANDARD;
    let length = [data, iv, tag].map(|it| base64.encoded_length(it.len())).iter().sum::<usize>();
    let mut text = String::with_capacity(START.len() + ",iv:,tag:,type:]".len() + length + type_name.len());
    text.push_str(START);
    base64.encode_append(data, &mut text);
    text.push_str(",iv:");
    base64.encode_append(iv, &mut text);
    text.push_str(",tag:");
    base64.encode_append(tag, &mut text);
    text.push_str(",type:");
    text.push_str(type_name);
    text.push(']');
    text
}

/// Decodes a field onto the end of `bytes` as Go's `base64.StdEncoding` does: line ends do not
/// count, the bits that padding leaves over may be anything.
pub(crate) fn decode(field: &str, bytes: &mut Vec<u8>) -> Result<(), Base64Error> {
    let before = bytes.len();
    if base64_simd::STANDARD.decode_append(field, bytes).is_ok() {
        return Ok(());
    }
    bytes.truncate(before);
    let digits: Vec<u8> = field.bytes().filter(|it| !matches!(it, b'\r' | b'\n')).collect();
    // The forgiving decoder of the WHATWG would also forgive spaces and missing padding.
    if !digits.len().is_multiple_of(4) || digits.iter().any(u8::is_ascii_whitespace) {
        return Err(Base64Error);
    }
    bytes.extend(base64_simd::forgiving_decode_to_vec(&digits).map_err(|_| Base64Error)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_sops() {
        for (text, fields) in [
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]", Some(["a", "b", "c", "str"])),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:int]zzz", Some(["a", "b", "c", "int"])),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:int]\r\nx]", Some(["a", "b", "c", "int"])),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:x]y]z", Some(["a", "b", "c", "x]y"])),
            ("ENC[AES256_GCM,data:a,iv:b,iv:c,tag:d,type:e]", Some(["a,iv:b", "c", "d", "e"])),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:d,type:]", Some(["a", "b", "c", "d,type:"])),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:d,type:e]", Some(["a", "b", "c,type:d", "e"])),
            ("ENC[AES256_GCM,data:é,iv:ü,tag:ß,type:ø]", Some(["é", "ü", "ß", "ø"])),
            ("ENC[AES256_GCM,data:,iv:b,tag:c,type:str]", None),
            ("ENC[AES256_GCM,data:a,iv:,tag:c,type:str]", None),
            ("ENC[AES256_GCM,data:a,iv:b,tag:,type:str]", None),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:]", None),
            ("ENC[AES256_GCM,data:a,iv:b,tag:c,type:str", None),
            ("ENC[AES256_GCM,data:a\n,iv:b,tag:c,type:str]", None),
            ("ENC[AES256_GCM,data:a,tag:c,iv:b,type:str]", None),
            ("xENC[AES256_GCM,data:a,iv:b,tag:c,type:str]", None),
            ("ENC[AES128_GCM,data:a,iv:b,tag:c,type:str]", None),
            ("ENC[AES256_GCM,data:]", None),
            ("ENC[AES256_GCM,data:", None),
            ("plain", None),
            ("", None),
        ] {
            let parsed = Envelope::parse(text).map(|it| [it.data, it.iv, it.tag, it.type_name]);
            assert_eq!(parsed, fields, "{text}");
        }
    }

    #[test]
    fn parsing_agrees_with_the_regular_expression() {
        let sops =
            regex::Regex::new(r"^ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]").expect("it is SOPS's own");
        let part = proptest::sample::select(vec![",iv:", ",tag:", ",type:", "]", "\n", "\r", "a", ",", "ENC[", "é"]);
        let strategy = proptest::collection::vec(part, 0..16);
        let long = proptest::collection::vec(proptest::sample::select(vec!["a", ",", "=", "\n", "]"]), 24..=44);
        let usual = proptest::array::uniform2(long);
        proptest::proptest!(|(parts in strategy, [iv, tag] in usual, is_usual: bool)| {
            let text = match is_usual {
                true => format!("{START}{},iv:{:a<44.44},tag:{:a<24.24},type:str]", parts.concat(), iv.concat(), tag.concat()),
                false => format!("{START}a{}", parts.concat()),
            };
            let expected = sops.captures(&text).map(|it| it.extract::<4>().1);
            let parsed = Envelope::parse(&text).map(|it| [it.data, it.iv, it.tag, it.type_name]);
            proptest::prop_assert_eq!(parsed, expected);
        });
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = print(b"hello", &[1; 32], &[2; 16], "str");
        let parsed = Envelope::parse(&text).expect("this is an envelope");
        let mut bytes = Vec::new();
        assert_eq!((decode(parsed.data, &mut bytes), bytes.as_slice()), (Ok(()), b"hello".as_slice()));
        assert_eq!(parsed.type_name, "str");
    }

    #[test]
    fn base64_is_read_as_go_reads_it() {
        for (field, bytes) in [
            ("aGVsbG8=", Some("hello")),
            ("aGVs\r\nbG8=", Some("hello")),
            ("aGVsbG9=", Some("hello")),
            ("\r", Some("")),
            ("aGVsbG8", None),
            ("aGVsbG8==", None),
            ("aGVs bG8=", None),
            ("aGVsbG8= \t\x0c ", None),
            ("aG=sbG8=", None),
            ("a===", None),
            ("====", None),
            ("-_-_", None),
            ("ééé", None),
        ] {
            let mut decoded = b">".to_vec();
            let expected = bytes.map(|it| format!(">{it}").into_bytes());
            assert_eq!(decode(field, &mut decoded).ok().map(|()| decoded), expected, "{field:?}");
        }
    }
}
