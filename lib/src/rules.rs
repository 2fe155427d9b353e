//! `.sops.yaml`: what to do with a new file at a path.

use crate::metadata::KeyGroup;
use crate::scope::Selector;

/// A parsed configuration. Its text was read by the caller.
#[derive(Debug)]
pub struct Rules {}

/// What one creation rule asks for.
#[derive(Clone, Debug)]
pub struct CreationRule {
    /// The keys, not yet wrapped to.
    pub groups: Vec<KeyGroup>,
    /// Zero if the rule does not say.
    pub shamir_threshold: usize,
    /// `None` if the rule has no selector.
    pub selector: Option<Selector>,
    /// As in the rule.
    pub mac_only_encrypted: bool,
}

/// The layouts that `stores:` asks for, by format name.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// Format name (`yaml`, `json`, `json_binary`) and its indentation.
    pub indent: Vec<(String, i32)>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong, in SOPS's words where it has some.
    pub message: String,
    /// The line of the configuration; zero if unknown.
    pub line: usize,
}

impl Rules {
    /// Reads a configuration. Shapes are checked, and every pattern is compiled (guarantee A1).
    ///
    /// # Errors
    ///
    /// See [`RuleError`].
    pub fn parse(_source: &[u8]) -> Result<Self, RuleError> {
        todo!()
    }

    /// The first creation rule for a file. `path` is relative to the folder of the configuration
    /// where the file lies below it, else absolute (spec section 7.4).
    ///
    /// `Ok(None)` if the configuration has no creation rules at all.
    ///
    /// # Errors
    ///
    /// If no rule matches, or the matching rule's keys cannot be used.
    pub fn rule_for(&self, _path: &str) -> Result<Option<CreationRule>, RuleError> {
        todo!()
    }

    /// The layouts asked for.
    pub fn stores(&self) -> &Stores {
        todo!()
    }
}
