//! Names that stores gave, made into keys of Secrets (spec sections 2.5, 2.6).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use leafseal::secret::SecretText;
use regex::{Captures, Regex};

use crate::api::external_secrets::ConversionStrategy;

/// What a key is checked for: letters and digits of every script, though Kubernetes takes fewer. What
/// it refuses is told when the Secret is planned.
static UNFIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[^\p{L}\p{N}._-]").expect("this is a pattern"));

/// The longest key.
const LONGEST: usize = 253;

/// How many keys an error names.
const NAMED: usize = 10;

/// Values under the keys that `strategy` makes of their names.
///
/// # Errors
///
/// If two names become one key.
pub(super) fn convert(
    found: BTreeMap<String, SecretText>,
    strategy: ConversionStrategy,
) -> Result<BTreeMap<String, SecretText>, String> {
    let mut converted = BTreeMap::new();
    for (name, value) in found {
        let key = key(&name, strategy).into_owned();
        if converted.insert(key.clone(), value).is_some() {
            return Err(format!("secret name collision during conversion: two names become {key:?}"));
        }
    }
    Ok(converted)
}

fn key(name: &str, strategy: ConversionStrategy) -> Cow<'_, str> {
    match strategy {
        ConversionStrategy::Default => UNFIT.replace_all(name, "_"),
        ConversionStrategy::Unicode => UNFIT.replace_all(name, |it: &Captures<'_>| {
            it[0].chars().map(|it| format!("_U{:04x}_", u32::from(it))).collect::<String>()
        }),
        ConversionStrategy::Other => name.into(),
    }
}

/// Drops the empty key, and refuses what is no key.
///
/// # Errors
///
/// Names what is no key.
pub(super) fn check(found: &mut BTreeMap<String, SecretText>) -> Result<(), String> {
    found.remove("");
    let unfit: Vec<String> = found
        .keys()
        .filter(|it| it.len() > LONGEST || UNFIT.is_match(it))
        .take(NAMED)
        .map(|it| format!("{:?}", it.chars().take(LONGEST).collect::<String>()))
        .collect();
    match unfit.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "invalid secret keys (TIP: rewrite them, or change the conversionStrategy): {}",
            unfit.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> BTreeMap<String, SecretText> {
        names.iter().map(|&it| (it.to_owned(), SecretText::from("v"))).collect()
    }

    #[test]
    fn names_become_keys() {
        use ConversionStrategy::{Default, Other, Unicode};
        for (name, strategy, expected) in [
            ("my key/1", Default, "my_key_1"),
            ("my key/1", Unicode, "my_U0020_key_U002f_1"),
            ("my key/1", Other, "my key/1"),
            ("é.b-c_d", Default, "é.b-c_d"),
            ("é/😀", Unicode, "é_U002f__U1f600_"),
            ("٣", Default, "٣"),
            ("", Default, ""),
        ] {
            let converted = convert(found(&[name]), strategy).expect("nothing collides");
            assert_eq!(converted.into_keys().collect::<Vec<_>>(), [expected], "{name:?} {strategy:?}");
        }
        let collision = convert(found(&["a/b", "a_b"]), Default).expect_err("they collide");
        assert_eq!(collision, "secret name collision during conversion: two names become \"a_b\"");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (names, expected) in [
            (&["", "a", "é"][..], Ok(2)),
            (
                &["a/b", "a b", "c"],
                Err("invalid secret keys (TIP: rewrite them, or change the conversionStrategy): \"a b\", \"a/b\""),
            ),
            (&[], Ok(0)),
        ] {
            let mut found = found(names);
            let checked = check(&mut found).map(|()| found.len());
            assert_eq!(checked.as_ref().map_err(String::as_str), expected.as_ref().map_err(|it| *it));
        }
        let mut long = found(&[&"a".repeat(254)]);
        assert!(check(&mut long).is_err());
    }
}
