//! The functions that templates may call: a table, a file for each group of rows.

mod builtins;
mod certificates;
mod ciphers;
pub(super) mod dates;
mod der;
mod dicts;
mod digests;
mod encodings;
mod jwk;
mod keys;
mod kinds;
mod lists;
mod logic;
mod names;
mod numbers;
mod paths;
mod pem;
mod pkcs12;
pub(super) mod random;
mod regexes;
mod strings;
mod structures;
mod urls;
pub(super) mod versions;
mod words;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;

use super::Surroundings;
use super::exec::Budget;
use super::value::{Element, List, Map, Text, Value, Width};

pub use names::{EXTERNAL_SECRETS, NOT_BUILT, VAULT_SECRETS};

/// One function: its name, how many arguments it takes, what it does.
pub(super) struct Function {
    name: &'static str,
    pub(super) arity: (usize, usize),
    pub(super) call: fn(&mut Call<'_, '_>) -> Answer,
}

type Answer = Result<Value, Fault>;

/// What ends an execution, or a turn of a loop.
pub(super) enum Fault {
    /// An error, said without any value.
    Message(String),
    /// The budget is spent on this.
    Exhausted(&'static str),
    Break,
    Continue,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self::Message(what.into())
    }
}

/// One call in progress.
pub(super) struct Call<'a, 'b> {
    pub(super) arguments: Vec<Value>,
    /// A bit for each argument that is a number in the template's own text: Go makes those what is asked
    /// for, while others must be it.
    pub(super) literals: u64,
    pub(super) budget: &'a mut Budget,
    pub(super) surroundings: &'a mut Surroundings<'b>,
}

const GROUPS: &[&[Function]] = &[
    builtins::FUNCTIONS,
    certificates::FUNCTIONS,
    ciphers::FUNCTIONS,
    dates::FUNCTIONS,
    dicts::FUNCTIONS,
    digests::FUNCTIONS,
    encodings::FUNCTIONS,
    jwk::FUNCTIONS,
    kinds::FUNCTIONS,
    lists::FUNCTIONS,
    logic::FUNCTIONS,
    numbers::FUNCTIONS,
    paths::FUNCTIONS,
    pem::FUNCTIONS,
    pkcs12::FUNCTIONS,
    random::FUNCTIONS,
    regexes::FUNCTIONS,
    strings::FUNCTIONS,
    structures::FUNCTIONS,
    urls::FUNCTIONS,
    versions::FUNCTIONS,
    words::FUNCTIONS,
];

static BY_NAME: LazyLock<BTreeMap<&'static str, &'static Function>> =
    LazyLock::new(|| GROUPS.iter().copied().flatten().map(|it| (it.name, it)).collect());

/// Any number of arguments.
const MANY: usize = usize::MAX;

const fn exactly(name: &'static str, n: usize, call: fn(&mut Call<'_, '_>) -> Answer) -> Function {
    Function { name, arity: (n, n), call }
}

const fn between(name: &'static str, arity: (usize, usize), call: fn(&mut Call<'_, '_>) -> Answer) -> Function {
    Function { name, arity, call }
}

const fn at_least(name: &'static str, n: usize, call: fn(&mut Call<'_, '_>) -> Answer) -> Function {
    Function { name, arity: (n, MANY), call }
}

/// The function called `name`, whoever may call it.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// True if every dialect has it.
pub(super) fn is_of_go(name: &str) -> bool {
    matches!(name, "and" | "or" | "slice") || builtins::FUNCTIONS.iter().any(|it| it.name == name)
}

/// True if it exists here.
pub(super) fn is_built(name: &str) -> bool {
    matches!(name, "and" | "or") || BY_NAME.contains_key(name)
}

/// Calls the method `name`, or reads the field of a Go struct; `None` if `value` has none of that name.
pub(super) fn call_method(value: &Value, name: &str, arguments: &[Value], budget: &mut Budget) -> Option<Answer> {
    match value {
        Value::Time(time) => dates::call_method(time, name, arguments, budget),
        Value::Version(version) if arguments.is_empty() => versions::read_field(version, name).map(Ok),
        Value::Number(text) if arguments.is_empty() && name == "String" => Some(Ok(Value::Text(text.clone()))),
        _ => None,
    }
}

impl Call<'_, '_> {
    fn len(&self) -> usize {
        self.arguments.len()
    }

    fn wrong(&self, n: usize, expected: &str) -> Fault {
        match &self.arguments[n] {
            Value::Missing | Value::Nil => Fault::new(format!("invalid value; expected {expected}")),
            other => Fault::new(format!("wrong type for value; expected {expected}; got {}", other.type_name())),
        }
    }

    /// The argument as it is; `Missing` becomes a nil.
    fn any(&self, n: usize) -> Value {
        match &self.arguments[n] {
            Value::Missing => Value::Nil,
            other => other.clone(),
        }
    }

    /// A `string`.
    fn text(&self, n: usize) -> Result<Text, Fault> {
        match &self.arguments[n] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong(n, "string")),
        }
    }

    /// An `int`.
    fn int(&self, n: usize) -> Result<i64, Fault> {
        match &self.arguments[n] {
            Value::Int(Width::Int, number) => Ok(*number),
            Value::Float(f) if self.is_literal(n) && f.fract() == 0.0 && f.abs() < 9e15 => Ok(*f as i64),
            _ => Err(self.wrong(n, "int")),
        }
    }

    /// A `float64`.
    fn float(&self, n: usize) -> Result<f64, Fault> {
        match &self.arguments[n] {
            Value::Float(f) => Ok(*f),
            Value::Int(Width::Int, number) if self.is_literal(n) => Ok(*number as f64),
            _ => Err(self.wrong(n, "float64")),
        }
    }

    /// A `bool`.
    fn bool(&self, n: usize) -> Result<bool, Fault> {
        match &self.arguments[n] {
            Value::Bool(b) => Ok(*b),
            _ => Err(self.wrong(n, "bool")),
        }
    }

    /// A `map[string]interface {}`; for a nil one, an empty one.
    fn map(&self, n: usize) -> Result<Rc<Map>, Fault> {
        match &self.arguments[n] {
            Value::Map(map) if map.element == Element::Any => Ok(Rc::clone(map)),
            Value::Missing | Value::Nil => Ok(Rc::new(Map { element: Element::Any, items: BTreeMap::new().into() })),
            _ => Err(self.wrong(n, "map[string]interface {}")),
        }
    }

    /// Any slice.
    fn list(&self, n: usize) -> Result<Rc<List>, Fault> {
        match &self.arguments[n] {
            Value::List(list) => Ok(Rc::clone(list)),
            other => Err(Fault::new(format!("not a list but {}", other.kind_name()))),
        }
    }

    fn is_literal(&self, n: usize) -> bool {
        n < 64 && self.literals & 1 << n != 0
    }

    /// Takes what making `n` bytes costs, before they are made.
    fn allocate(&mut self, n: usize) -> Result<(), Fault> {
        self.budget.allocate(n)
    }

    /// Random bytes.
    fn random(&mut self, n: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, Fault> {
        self.allocate(n)?;
        let mut bytes = zeroize::Zeroizing::new(vec![0; n]);
        self.surroundings.rng.fill(&mut bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_agree() {
        let mut seen = std::collections::BTreeSet::new();
        for function in GROUPS.iter().copied().flatten() {
            assert!(seen.insert(function.name), "{} is there twice", function.name);
            let named =
                EXTERNAL_SECRETS.functions.contains(&function.name) || VAULT_SECRETS.functions.contains(&function.name);
            assert!(named || is_of_go(function.name), "{} is in no dialect", function.name);
        }
        for name in EXTERNAL_SECRETS.functions.iter().chain(VAULT_SECRETS.functions) {
            assert_ne!(is_built(name), NOT_BUILT.contains(name), "{name}");
        }
        for dialect in [&EXTERNAL_SECRETS, &VAULT_SECRETS] {
            assert!(dialect.functions.is_sorted());
        }
    }
}
