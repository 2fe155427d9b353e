//! What templates compute with: Go's values, as far as templates can tell them apart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::exec::Budget;
use super::functions::Fault;
use super::functions::dates::Time;
use super::functions::versions::Version;

/// A Go string: bytes, mostly UTF-8, wiped when the last holder lets go. Ordered by its bytes.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Text(Rc<Zeroizing<Vec<u8>>>);

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_slice().cmp(other.0.as_slice())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Text {
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Rc::new(Zeroizing::new(bytes.into())))
    }

    /// As UTF-8, other bytes replaced: what Go's `range` over a string sees.
    pub(super) fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self)
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// The integer types that templates meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Width {
    /// `int`: literals, lengths, `until`.
    Int,
    /// `int64`: all of sprig's arithmetic.
    Int64,
    /// `uint8`: a byte of a string.
    Byte,
    /// `uint64`: the parts of a version.
    Uint64,
}

impl Width {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Byte => "uint8",
            Self::Uint64 => "uint64",
        }
    }

    pub(super) fn is_signed(self) -> bool {
        matches!(self, Self::Int | Self::Int64)
    }
}

/// What a list or a map is declared to hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Element {
    /// `interface {}`.
    Any,
    /// `string`.
    Text,
    /// `int`.
    Int,
    /// `[]interface {}`, as `chunk` makes them.
    List,
    /// The members of a Go struct, not of a map: asking for one that is not there is an error.
    Field,
}

impl Element {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any | Self::Field => "interface {}",
            Self::Text => "string",
            Self::Int => "int",
            Self::List => "[]interface {}",
        }
    }
}

/// One value.
#[derive(Clone)]
pub(super) enum Value {
    /// No value at all: what a missing key yields.
    Missing,
    /// A nil that is there: `null` of JSON.
    Nil,
    Bool(bool),
    Int(Width, i64),
    Float(f64),
    Text(Text),
    /// `json.Number`: a number spelt as it came, a string to Go's type system.
    Number(Text),
    List(Rc<List>),
    Map(Rc<Map>),
    Time(Rc<Time>),
    Version(Rc<Version>),
}

/// A Go slice. Never changed once made, so that sharing is not seen.
pub(super) struct List {
    pub(super) element: Element,
    /// A nil slice, which JSON spells `null`.
    pub(super) is_nil: bool,
    pub(super) items: Vec<Value>,
}

/// A Go map with text for keys. `set` and its like change it in place, and all who hold it see that.
pub(super) struct Map {
    pub(super) element: Element,
    pub(super) items: RefCell<BTreeMap<Text, Value>>,
}

impl Value {
    pub(super) fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Text(Text::new(bytes))
    }

    pub(super) fn int(n: i64) -> Self {
        Self::Int(Width::Int, n)
    }

    pub(super) fn int64(n: i64) -> Self {
        Self::Int(Width::Int64, n)
    }

    pub(super) fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(List { element: Element::Any, is_nil: false, items }))
    }

    pub(super) fn nil_list() -> Self {
        Self::List(Rc::new(List { element: Element::Any, is_nil: true, items: Vec::new() }))
    }

    pub(super) fn texts(items: impl IntoIterator<Item = impl Into<Text>>) -> Self {
        let items = items.into_iter().map(Self::text).collect();
        Self::List(Rc::new(List { element: Element::Text, is_nil: false, items }))
    }

    pub(super) fn map(items: BTreeMap<Text, Value>) -> Self {
        Self::map_of(Element::Any, items)
    }

    pub(super) fn map_of(element: Element, items: BTreeMap<Text, Value>) -> Self {
        Self::Map(Rc::new(Map { element, items: RefCell::new(items) }))
    }

    /// True if there is nothing, or a nil.
    pub(super) fn is_nil(&self) -> bool {
        matches!(self, Self::Missing | Self::Nil)
    }

    /// What `if` asks: false for nothing, nil, zero, and what is empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(_, n) => *n != 0,
            Self::Float(f) => *f != 0.0,
            Self::Text(text) | Self::Number(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.items.borrow().is_empty(),
            Self::Time(_) | Self::Version(_) => true,
        }
    }

    /// The type as Go's `%T` prints it.
    pub(super) fn type_name(&self) -> String {
        match self {
            Self::Missing | Self::Nil => "<nil>".into(),
            Self::Bool(_) => "bool".into(),
            Self::Int(width, _) => width.name().into(),
            Self::Float(_) => "float64".into(),
            Self::Text(_) => "string".into(),
            Self::Number(_) => "json.Number".into(),
            Self::List(list) => format!("[]{}", list.element.name()),
            Self::Map(map) => format!("map[string]{}", map.element.name()),
            Self::Time(_) => "time.Time".into(),
            Self::Version(_) => "*semver.Version".into(),
        }
    }

    /// The kind as Go's `reflect.Kind` prints it.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "invalid",
            Self::Bool(_) => "bool",
            Self::Int(width, _) => width.name(),
            Self::Float(_) => "float64",
            Self::Text(_) | Self::Number(_) => "string",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Time(_) => "struct",
            Self::Version(_) => "ptr",
        }
    }

    /// Equal as `reflect.DeepEqual` says: types included, however deep.
    ///
    /// # Errors
    ///
    /// If the budget is spent, or the values are nested too deep.
    pub(super) fn deep_equals(&self, other: &Self, budget: &mut Budget, depth: usize) -> Result<bool, Fault> {
        if depth > DEEPEST {
            return Err(Fault::Exhausted("nest"));
        }
        budget.step(1)?;
        Ok(match (self, other) {
            (Self::Missing | Self::Nil, Self::Missing | Self::Nil) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(v, a), Self::Int(w, b)) => v == w && a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Text(a), Self::Text(b)) | (Self::Number(a), Self::Number(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                if a.element != b.element || a.is_nil != b.is_nil || a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !a.deep_equals(b, budget, depth + 1)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => {
                let (x, y) = (a.items.borrow(), b.items.borrow());
                if a.element != b.element || x.len() != y.len() {
                    return Ok(false);
                }
                for ((k, a), (l, b)) in x.iter().zip(y.iter()) {
                    if k != l || !a.deep_equals(b, budget, depth + 1)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Version(a), Self::Version(b)) => a == b,
            _ => false,
        })
    }
}

/// How deep values may be nested where something walks into them. Go's own JSON reader stops at 10000;
/// nobody's secrets come near this.
pub(super) const DEEPEST: usize = 200;

// What is dropped may be nested as deep as a template liked to nest it, deeper than the stack.
impl Drop for List {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.items));
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        dismantle(std::mem::take(self.items.get_mut()).into_values().collect());
    }
}

fn dismantle(mut todo: Vec<Value>) {
    while let Some(next) = todo.pop() {
        match next {
            Value::List(list) => {
                if let Ok(mut list) = Rc::try_unwrap(list) {
                    todo.append(&mut list.items);
                }
            }
            Value::Map(map) => {
                if let Ok(mut map) = Rc::try_unwrap(map) {
                    todo.extend(std::mem::take(map.items.get_mut()).into_values());
                }
            }
            _ => {}
        }
    }
}
