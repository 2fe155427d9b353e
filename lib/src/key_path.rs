//! Where a value sits: the steps from the root down to it.

use std::fmt;

/// One step down.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list. Comments count, as they do for SOPS (spec section 8.8).
    Index(usize),
}

/// The steps from the root to a value, written `["a"][0]`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash)]
pub struct KeyPath(pub Vec<Step>);

/// A path that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyPathError {
    /// A component has no end.
    #[error("component {0} doesn't end with ]")]
    Unclosed(String),
    /// A component without quotes is not a list index.
    #[error("component [{0}] is neither a quoted key nor a list index")]
    NotAnIndex(String),
}

impl KeyPath {
    /// Reads `["a"]['b'][0]`. The empty text is the root (spec section 8.7).
    pub fn parse(text: &str) -> Result<Self, KeyPathError> {
        let mut steps = Vec::new();
        for component in text.split('[').filter(|it| !it.is_empty()) {
            let inner = component.strip_suffix(']').ok_or_else(|| KeyPathError::Unclosed(component.to_owned()))?;
            let quoted = inner
                .strip_prefix(['"', '\''])
                .and_then(|it| it.char_indices().next_back().map(|(last, _)| &it[..last]));
            steps.push(match quoted {
                Some(key) => Step::Key(key.to_owned()),
                None => Step::Index(inner.parse().map_err(|_| KeyPathError::NotAnIndex(inner.to_owned()))?),
            });
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Key(key) => write!(f, "[\"{key}\"]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPath, Step};

    #[test]
    fn paths_are_read_as_sops_reads_them() {
        let key = |it: &str| Step::Key(it.to_owned());
        for (text, steps) in [
            ("", Some(vec![])),
            (r#"["a"]["b"][0]"#, Some(vec![key("a"), key("b"), Step::Index(0)])),
            ("['a.b']", Some(vec![key("a.b")])),
            (r#"["a\"b"]"#, Some(vec![key(r#"a\"b"#)])),
            ("a.b", None),
            ("[-1]", None),
            ("[]", None),
            ("[\"]", None),
            ("[\"a\"", None),
            ("[x]", None),
        ] {
            assert_eq!(KeyPath::parse(text).ok().map(|it| it.0), steps, "{text}");
        }
    }
}
