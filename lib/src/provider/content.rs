//! What one secret of a store holds, and how a part of it is picked.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};

use super::go_json::{self, Html};
use crate::secret::SecretText;

/// One whole secret, as its store holds it.
#[derive(Clone, Debug)]
pub enum Content {
    /// A JSON object (Vault, SOPS): picked from by the exact name of a member, then by a gjson path.
    Object(Object),
    /// Bytes under keys (a Secret of a cluster): picked from by key, then `key.path` into JSON there.
    Fields(BTreeMap<String, SecretText>),
    /// One text (a fake store): picked from by a gjson path.
    Text(SecretText),
}

/// A JSON object of a store, with what the store tells about it.
#[derive(Clone)]
pub struct Object {
    /// The object itself: the exact text that the store sent, numbers as they were spelt.
    pub data: SecretText,
    /// What the store keeps beside it (KV version 2: `metadata`), as text of a JSON object.
    pub metadata: Option<Box<RawValue>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(..)")
    }
}

/// Why a part of a secret cannot be picked. Never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// There is no such part.
    #[error("cannot find secret data for key: {0:?}")]
    NoProperty(String),
    /// There is no such part, and the store means by that that there is no such secret.
    #[error("Secret does not exist")]
    Missing,
    /// Members are wanted of something that has none.
    #[error("the value is not a JSON object")]
    NotAnObject,
    /// The text is not the JSON that it should be.
    #[error("the value is not JSON that can be read")]
    NotJson,
}

impl SelectError {
    /// True if this counts as "no such secret".
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl Content {
    /// The value that External Secrets takes for one key: the whole secret, or the part of it that
    /// `property` names (spec section 3.5, "GetSecret"; for clusters and fake stores 3.6).
    ///
    /// An empty property is none.
    ///
    /// # Errors
    ///
    /// If there is no such part, or what should be JSON is none.
    pub fn value(&self, property: Option<&str>) -> Result<SecretText, SelectError> {
        let property = property.filter(|it| !it.is_empty());
        match (self, property) {
            (Self::Object(object), None) => Ok(secret(object.print()?)),
            (Self::Object(object), Some(property)) => object.part(property),
            (Self::Fields(fields), None) => {
                let fields = fields.iter().map(|(key, value)| (key.as_str(), value.expose()));
                Ok(secret(go_json::print_texts(fields, Html::Plain)))
            }
            (Self::Fields(fields), Some(property)) => {
                if let Some(value) = fields.get(property) {
                    return Ok(value.clone());
                }
                let (key, path) = property.split_once('.').ok_or_else(|| no_property(property))?;
                let value = fields.get(key).ok_or_else(|| no_property(property))?;
                picked(value.expose_str().unwrap_or_default(), path).ok_or_else(|| no_property(property))
            }
            (Self::Text(text), None) => Ok(text.clone()),
            (Self::Text(text), Some(property)) => {
                picked(text.expose_str().unwrap_or_default(), property).ok_or(SelectError::Missing)
            }
        }
    }

    /// The members of the whole secret, or of the part of it that `property` names (spec section 3.5,
    /// "GetSecretMap"). That part may be an object or a string that holds one. Numbers stay as they
    /// are spelt, where the original rounds them.
    ///
    /// # Errors
    ///
    /// If there is no such part, or it is no JSON object.
    pub fn fields(&self, property: Option<&str>) -> Result<BTreeMap<String, SecretText>, SelectError> {
        let property = property.filter(|it| !it.is_empty());
        match (self, property) {
            (Self::Object(object), None) => members(object.text()?),
            (Self::Fields(fields), None) => Ok(fields.clone()),
            _ => members(self.value(property)?.expose_str().ok_or(SelectError::NotJson)?),
        }
    }
}

impl Object {
    /// The object as Go writes it: compact, keys in order, `<`, `>` and `&` escaped.
    ///
    /// # Errors
    ///
    /// If it is no JSON that can be read.
    pub fn print(&self) -> Result<String, SelectError> {
        print(self.text()?)
    }

    /// What Vault Secrets keeps as `_raw`: the whole `data` of Vault's answer as Go writes it (spec
    /// section A.4.5). That is `{"data":…,"metadata":…}` where the store keeps metadata beside the
    /// secret (KV version 2), else the object itself.
    ///
    /// # Errors
    ///
    /// If it is no JSON that can be read.
    pub fn raw(&self) -> Result<SecretText, SelectError> {
        let mut data = self.print()?;
        let Some(metadata) = &self.metadata else { return Ok(secret(data)) };
        let metadata = print(metadata.get())?;
        let mut whole = String::with_capacity(data.len() + metadata.len() + 22);
        for part in [r#"{"data":"#, &data, r#","metadata":"#, &metadata, "}"] {
            whole.push_str(part);
        }
        data.zeroize();
        Ok(secret(whole))
    }

    fn text(&self) -> Result<&str, SelectError> {
        self.data.expose_str().ok_or(SelectError::NotJson)
    }

    fn part(&self, property: &str) -> Result<SecretText, SelectError> {
        let exact = |members: &BTreeMap<String, &RawValue>, name: &str| members.get(name).map(|it| plain(it));
        let top = raw_members(self.text()?)?;
        if let Some(value) = exact(&top, property) {
            return value;
        }
        let whole = Zeroizing::new(self.print()?);
        if let Some(value) = picked(&whole, property) {
            return Ok(value);
        }
        // `labels.app.kubernetes.io/name`: the rest is a name and not a path.
        let inner = property.split_once('.').and_then(|(head, rest)| {
            let members = raw_members(top.get(head)?.get()).ok()?;
            exact(&members, rest)
        });
        inner.unwrap_or_else(|| Err(no_property(property)))
    }
}

fn no_property(property: &str) -> SelectError {
    SelectError::NoProperty(property.to_owned())
}

fn secret(text: String) -> SecretText {
    SecretText::new(text)
}

fn print(json: &str) -> Result<String, SelectError> {
    let raw: &RawValue = serde_json::from_str(json).map_err(|_| SelectError::NotJson)?;
    go_json::print(raw).map_err(|_| SelectError::NotJson)
}

fn raw_members(json: &str) -> Result<BTreeMap<String, &RawValue>, SelectError> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<&RawValue>(json) {
            Ok(_) => SelectError::NotAnObject,
            Err(_) => SelectError::NotJson,
        });
    }
    serde_json::from_str(json).map_err(|_| SelectError::NotJson)
}

fn members(json: &str) -> Result<BTreeMap<String, SecretText>, SelectError> {
    raw_members(json)?.into_iter().map(|(key, value)| Ok((key, plain(value)?))).collect()
}

/// A JSON value as the bytes of a Secret: strings as they are, null as nothing, numbers as they are
/// spelt, the rest as Go writes it.
fn plain(value: &RawValue) -> Result<SecretText, SelectError> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(value.get()).map(secret).map_err(|_| SelectError::NotJson),
        Some(b'n') => Ok(SecretText::default()),
        Some(b'{' | b'[') => print(value.get()).map(secret),
        _ => Ok(SecretText::from(value.get())),
    }
}

/// What a gjson path finds, as gjson's own `String()` says it; `None` if it finds nothing.
fn picked(json: &str, path: &str) -> Option<SecretText> {
    let found = gjson::get(json, path);
    if !found.exists() {
        return None;
    }
    Some(match found.kind() {
        gjson::Kind::Number => SecretText::new(number(found.json())),
        _ => SecretText::from(found.str()),
    })
}

/// Integers as they are spelt, other numbers without an exponent (gjson: `Result.String`).
fn number(spelt: &str) -> String {
    if spelt.strip_prefix('-').unwrap_or(spelt).bytes().all(|it| it.is_ascii_digit()) {
        return spelt.to_owned();
    }
    match spelt.parse::<f64>() {
        Ok(it) if it.is_finite() => it.to_string(),
        Ok(it) if it > 0.0 => "+Inf".to_owned(),
        Ok(_) => "-Inf".to_owned(),
        Err(_) => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Content {
        Content::Object(Object { data: json.into(), metadata: None })
    }

    fn check(content: &Content, property: &str, expected: Result<&str, SelectError>) {
        let value = content.value(Some(property));
        let value = value.as_ref().map(|it| it.expose_str().expect("UTF-8")).map_err(Clone::clone);
        assert_eq!(value, expected, "{property:?}");
    }

    fn missing<'a>(property: &str) -> Result<&'a str, SelectError> {
        Err(SelectError::NoProperty(property.to_owned()))
    }

    fn texts(content: &Content, property: &str) -> Result<Vec<(String, String)>, SelectError> {
        let text = |it: SecretText| it.expose_str().expect("UTF-8").to_owned();
        Ok(content.fields(Some(property))?.into_iter().map(|(key, it)| (key, text(it))).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_whole_object_is_written_as_go_does() {
        for (json, expected) in [
            (r#"{"b": "2", "a": "1"}"#, r#"{"a":"1","b":"2"}"#),
            (r#"{"k":"a<b>&c"}"#, r#"{"k":"a\u003cb\u003e\u0026c"}"#),
            (r#"{"n":1.50,"e":1E5,"big":12345678901234567890}"#, r#"{"big":12345678901234567890,"e":1E5,"n":1.50}"#),
            ("{}", "{}"),
        ] {
            check(&object(json), "", Ok(expected));
        }
    }

    #[test]
    fn a_part_is_found_by_its_name_and_then_by_its_path() {
        let content = object(
            r#"{"db":{"user":"app","ports":[1,2],"list":[{"name":"x","v":"a<"},{"name":"y","v":1.50}]},
                "a.b":"literal","a":{"b":"nested","c":"only"},"n":5432,"f":1.50,"big":12345678901234567890,"e":1e3,
                "yes":true,"no":null,"text":"a<b>&c","esc":"line\nq\"é","in":{"f":1.50,"big":12345678901234567890,
                "e":-1e3,"t":true,"z":null,"h":"<&>"},"labels":{"app.io/name":"web"}}"#,
        );
        for (property, expected) in [
            ("db.user", "app"),
            ("db.ports.1", "2"),
            ("db.ports.#", "2"),
            ("db.ports", "[1,2]"),
            ("db.list.#.name", r#"["x","y"]"#),
            ("db.list.#(name==\"x\").v", "a<"),
            ("db.list.#(name==\"y\").v", "1.5"),
            ("db.u*", "app"),
            ("db.ports|@reverse", "[2,1]"),
            ("{db.user,n}", r#"{"user":"app","n":5432}"#),
            ("a.b", "literal"),
            ("a\\.b", "literal"),
            ("a.c", "only"),
            ("n", "5432"),
            ("f", "1.50"),
            ("big", "12345678901234567890"),
            ("e", "1e3"),
            ("yes", "true"),
            ("no", ""),
            ("text", "a<b>&c"),
            ("esc", "line\nq\"é"),
            ("in.f", "1.5"),
            ("in.big", "12345678901234567890"),
            ("in.e", "-1000"),
            ("in.t", "true"),
            ("in.z", ""),
            ("in.h", "<&>"),
            ("labels.app.io/name", "web"),
            ("labels", r#"{"app.io/name":"web"}"#),
        ] {
            check(&content, property, Ok(expected));
        }
        for property in ["nope", "db.nope", "db.ports.7", "labels.nope.x", "text.x", "@nope", "db.user.x"] {
            check(&content, property, missing(property));
        }
    }

    #[test]
    fn the_members_of_a_part_are_its_fields() {
        let content = object(
            r#"{"u":"app","n":12345678901234567890,"f":1.50,"z":null,"o":{"b":[1, 2],"a":"x"},"s":"{\"k\":\"v\"}","l":[]}"#,
        );
        let all = [
            ("f", "1.50"),
            ("l", "[]"),
            ("n", "12345678901234567890"),
            ("o", r#"{"a":"x","b":[1,2]}"#),
            ("s", r#"{"k":"v"}"#),
            ("u", "app"),
            ("z", ""),
        ];
        assert_eq!(texts(&content, ""), Ok(pairs(&all)));
        assert_eq!(texts(&content, "o"), Ok(pairs(&[("a", "x"), ("b", "[1,2]")])));
        assert_eq!(texts(&content, "s"), Ok(pairs(&[("k", "v")])));
        assert_eq!(texts(&content, "l"), Err(SelectError::NotAnObject));
        assert_eq!(texts(&content, "u"), Err(SelectError::NotJson));
        assert_eq!(texts(&content, "n"), Err(SelectError::NotAnObject));
        assert_eq!(texts(&content, "nope"), Err(SelectError::NoProperty("nope".to_owned())));
        assert_eq!(texts(&object("[1]"), ""), Err(SelectError::NotAnObject));
        assert_eq!(texts(&object("nonsense"), ""), Err(SelectError::NotJson));
    }

    #[test]
    fn secrets_of_a_cluster_are_picked_from_by_key() {
        let fields = [("tls.crt", &b"<pem>"[..]), ("bin", &[0xff]), ("json", br#"{"a":{"b":1.50},"x.y":"z"}"#)];
        let content = Content::Fields(fields.map(|(key, value)| (key.to_owned(), SecretText::new(value))).into());
        check(
            &content,
            "",
            Ok(
                "{\"bin\":\"\u{fffd}\",\"json\":\"{\\\"a\\\":{\\\"b\\\":1.50},\\\"x.y\\\":\\\"z\\\"}\",\"tls.crt\":\"<pem>\"}",
            ),
        );
        check(&content, "tls.crt", Ok("<pem>"));
        check(&content, "json.a.b", Ok("1.5"));
        check(&content, "json.a", Ok(r#"{"b":1.50}"#));
        check(&content, "nope", missing("nope"));
        check(&content, "nope.a", missing("nope.a"));
        check(&content, "json.q", missing("json.q"));
        assert_eq!(content.value(Some("bin")).map(|it| it.expose().to_vec()), Ok(vec![0xff]));
        assert_eq!(texts(&content, "json"), Ok(pairs(&[("a", r#"{"b":1.50}"#), ("x.y", "z")])));
        assert_eq!(content.fields(None).map(|it| it.len()), Ok(3));
    }

    #[test]
    fn what_a_fake_store_does_not_have_is_missing() {
        let content = Content::Text(r#"{"a":{"b":"c"}}"#.into());
        check(&content, "", Ok(r#"{"a":{"b":"c"}}"#));
        check(&content, "a.b", Ok("c"));
        check(&content, "nope", Err(SelectError::Missing));
        assert_eq!(texts(&content, "a"), Ok(pairs(&[("b", "c")])));
        assert_eq!(texts(&Content::Text("plain".into()), ""), Err(SelectError::NotJson));
    }

    /// From the specification of Vault Secrets, section D.4.
    #[test]
    fn the_whole_answer_is_written_as_vault_secrets_keeps_it() {
        let metadata = r#"{"version":3,"custom_metadata":null,"created_time":"2026-01-02T03:04:05.678901234Z","deletion_time":"","destroyed":false}"#;
        let data = r#"{"z":"<a&b>","n":1.0,"big":12345678901234567890,"u":"é\u2028","o":{"b":1,"a":[true,null]}}"#;
        let metadata = RawValue::from_string(metadata.to_owned()).expect("this is JSON");
        let object = Object { data: data.into(), metadata: Some(metadata) };
        let raw = object.raw().expect("it is JSON");
        let expected = r#"{"data":{"big":12345678901234567890,"n":1.0,"o":{"a":[true,null],"b":1},"u":"é\u2028","z":"\u003ca\u0026b\u003e"},"metadata":{"created_time":"2026-01-02T03:04:05.678901234Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}}"#;
        assert_eq!(raw.expose_str(), Some(expected));
        let plain = Object { metadata: None, ..object };
        assert_eq!(plain.raw(), plain.print().map(SecretText::new));
        let fields = texts(&Content::Object(plain), "").expect("it has members");
        let expected = [("big", "12345678901234567890"), ("n", "1.0"), ("o", r#"{"a":[true,null],"b":1}"#)];
        assert_eq!(fields[..3], pairs(&expected));
        assert_eq!(fields[3..], pairs(&[("u", "é\u{2028}"), ("z", "<a&b>")]));
    }

    #[test]
    fn what_is_nested_too_deep_is_no_secret() {
        let deep = |n: usize| object(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(n), "]".repeat(n)));
        assert!(deep(200).value(None).is_ok());
        for n in [300, 100_000] {
            assert_eq!(deep(n).value(None).map(|it| it.is_empty()), Err(SelectError::NotJson));
            assert_eq!(deep(n).value(Some("a")).map(|it| it.is_empty()), Err(SelectError::NotJson));
            assert!(deep(n).fields(None).is_err());
        }
    }

    proptest::proptest! {
        /// Paths are written by anybody who may write an object of ours.
        #[test]
        fn no_path_brings_anybody_down(path in "[a-z.#()=\"\\\\|@{}\\[\\]*?:,<>%!~0-9 é]{0,24}", text in "[a-z{}\\[\\]\",:.\\\\ué0-9]{0,40}") {
            let json = r#"{"a":{"b":[1,{"c":"é\u00e9\\\"x","d":null}],"e":1.5},"é":"ü","":{"":1}}"#;
            _ = object(json).value(Some(&path));
            _ = object(json).fields(Some(&path));
            _ = Content::Text(text.as_str().into()).value(Some(&path));
        }
    }
}
