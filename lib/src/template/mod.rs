//! Go templates with the functions that External Secrets and Vault Secrets lend them.
//!
//! Parsing is `gotmpl`'s. Execution is here, because what templates compute is secret and must be wiped,
//! because sprig tells `int` from `int64` and changes maps in place, and because work has to end: each
//! execution has a [budget](TemplateError::Exhausted) of steps and of bytes.
//!
//! Everything is computed from arguments: the time is [`Surroundings::now`], chance is
//! [`Surroundings::rng`]. Only zones other than UTC are those that the system knows.
//!
//! Functions of the two dialects that are refused when a template is parsed, as functions that do not
//! exist are: see [`NOT_BUILT`].

mod balance;
mod check;
mod exec;
mod functions;
mod json;
mod key_values;
mod print;
mod value;
mod yaml;

use std::collections::BTreeMap;

use gotmpl::parse::{ListNode, Parser};

use crate::edge::Rng;
use crate::secret::SecretText;

pub use functions::{EXTERNAL_SECRETS, NOT_BUILT, VAULT_SECRETS};
pub use key_values::{KeyValuesError, parse_key_values};

/// Which functions templates may call, and what a missing key is to them.
#[derive(Debug)]
pub struct Dialect {
    /// The names that may be called, besides those of Go itself.
    pub functions: &'static [&'static str],
    /// What asking a map for a key that it does not hold yields.
    pub missing: Missing,
}

/// What asking a map for a key that it does not hold yields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// An error (`missingkey=error`).
    Error,
    /// No value, printed as `<no value>`.
    NoValue,
}

/// Templates that can call each other by name.
#[derive(Debug)]
pub struct Set {
    dialect: &'static Dialect,
    delimiters: [String; 2],
    templates: BTreeMap<String, ListNode>,
    varies: bool,
}

/// What a template is given as `.`.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// A map of texts (`map[string]string`): a key that is missing is decided by the dialect.
    Texts(&'a BTreeMap<String, SecretText>),
    /// A struct with these fields: one that is missing is an error.
    Fields(&'a [(&'a str, Field<'a>)]),
}

/// One field of a struct that a template is given.
#[derive(Clone, Copy)]
pub enum Field<'a> {
    /// Text of JSON, numbers kept as they are spelt (`json.Number`).
    Json(&'a str),
    /// A map of texts (`map[string]interface {}` to Go).
    Texts(&'a BTreeMap<String, String>),
    /// An empty map.
    Empty,
}

/// What an execution takes from outside.
pub struct Surroundings<'a> {
    /// Nanoseconds since 1970 in UTC.
    pub now: i128,
    /// For passwords, keys and salts.
    pub rng: &'a mut dyn Rng,
}

/// Why a template cannot be used. Never holds a value: neither what was given nor what was computed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// Another template has this name.
    #[error("template {name:?}: another template has this name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// No template has this name.
    #[error("template {name:?} is not defined")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The text is not a template.
    #[error("template {name:?}, line {line}: {what}")]
    Syntax {
        /// The template.
        name: String,
        /// Where in it, counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A function is called that there is none of, or that templates may not call.
    #[error("template {name:?}, line {line}: function {function:?} not defined")]
    UnknownFunction {
        /// The template.
        name: String,
        /// Where in it, counted from 1.
        line: usize,
        /// The function.
        function: String,
    },
    /// It cannot be executed with this input.
    #[error("template {name:?}, line {line}: {what}")]
    Execution {
        /// The template.
        name: String,
        /// Where in it, counted from 1.
        line: usize,
        /// What went wrong there: names of functions, fields and types, and numbers of arguments.
        what: String,
    },
    /// It computes, writes or nests more than is allowed.
    #[error("template {name:?} exceeds what a template may {what}")]
    Exhausted {
        /// The template.
        name: String,
        /// `compute`, `write` or `nest`.
        what: &'static str,
    },
}

/// The longest text of one template.
pub const LONGEST_TEMPLATE: usize = 1 << 20;

impl Set {
    /// An empty set whose templates are delimited by `{{` and `}}`.
    pub fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, delimiters: ["{{".into(), "}}".into()], templates: BTreeMap::new(), varies: false }
    }

    /// Delimits the templates that are added from now on differently. An empty delimiter is the usual one.
    #[must_use]
    pub fn with_delimiters(mut self, left: &str, right: &str) -> Self {
        let or = |given: &str, usual: &str| if given.is_empty() { usual.to_owned() } else { given.to_owned() };
        self.delimiters = [or(left, "{{"), or(right, "}}")];
        self
    }

    /// Parses `text` and adds it as `name`, and what it defines under the names it gives.
    ///
    /// # Errors
    ///
    /// If the name is taken, if `text` is no template, or if it calls what the dialect does not have.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        let syntax = |line, what: String| TemplateError::Syntax { name: name.to_owned(), line, what };
        if self.templates.contains_key(name) {
            return Err(TemplateError::Duplicate { name: name.to_owned() });
        }
        if text.len() > LONGEST_TEMPLATE {
            return Err(syntax(1, format!("longer than {LONGEST_TEMPLATE} bytes")));
        }
        let [left, right] = &self.delimiters;
        balance::check(text, left, right).map_err(|(line, what)| syntax(line, what.into()))?;
        let (body, defined) = Parser::new(text, left, right).and_then(Parser::parse).map_err(|error| match error {
            gotmpl::TemplateError::Parse { line, message, .. } => syntax(line, message),
            gotmpl::TemplateError::Lex { line, message, .. } => syntax(line, message),
            other => syntax(1, other.to_string()),
        })?;
        let mut varies = check::check(name, &body, self.dialect)?;
        for definition in &defined {
            varies |= check::check(name, &definition.body, self.dialect)?;
        }
        self.varies |= varies;
        let own = (name.to_owned(), body);
        for (name, body) in defined.into_iter().map(|it| (it.name.to_string(), it.body)).chain([own]) {
            // Go: a body of nothing but space never replaces another.
            if !body.is_empty_tree() || !self.templates.contains_key(&name) {
                self.templates.insert(name, body);
            }
        }
        Ok(())
    }

    /// True if what the templates render may differ each time though the input does not: they call for
    /// chance or for the time.
    pub fn varies(&self) -> bool {
        self.varies
    }

    /// Executes the template `name`.
    ///
    /// # Errors
    ///
    /// If there is no such template, it cannot be executed with `input`, or the budget is spent.
    pub fn execute(
        &self,
        name: &str,
        input: Input<'_>,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<SecretText, TemplateError> {
        exec::execute(self, name, input, surroundings)
    }
}

/// Executes `text` by itself.
///
/// # Errors
///
/// As [`Set::add`] and [`Set::execute`].
pub fn render(
    dialect: &'static Dialect,
    name: &str,
    text: &str,
    input: Input<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Result<SecretText, TemplateError> {
    let mut set = Set::new(dialect);
    set.add(name, text)?;
    set.execute(name, input, surroundings)
}
