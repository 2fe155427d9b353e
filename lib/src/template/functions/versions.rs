//! Semantic versions, as Masterminds' `semver` reads and compares them.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;

use regex::Regex;

use super::{Fault, Function, exactly};
use crate::template::value::{Value, Width};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("semver", 1, |call| {
        let text = call.text(0)?;
        Ok(Value::Version(Rc::new(Version::parse(&text.lossy()).ok_or_else(invalid)?)))
    }),
    exactly("semverCompare", 2, |call| {
        let (constraint, version) = (call.text(0)?, call.text(1)?);
        call.budget.step(constraint.len() as u64)?;
        let constraints = parse_constraints(&constraint.lossy()).ok_or_else(|| Fault::new("improper constraint"))?;
        let version = Version::parse(&version.lossy()).ok_or_else(invalid)?;
        Ok(Value::Bool(constraints.iter().any(|all| all.iter().all(|it| it.accepts(&version)))))
    }),
];

fn invalid() -> Fault {
    Fault::new("invalid semantic version")
}

/// One version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::template) struct Version {
    numbers: [u64; 3],
    pre: String,
    metadata: String,
    original: String,
}

const TAIL: &str = r"(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

fn constraint_version() -> String {
    format!(r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?{TAIL}")
}

static VERSION: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!(r"^v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?{TAIL}$").replace('$', r"\z")));
static ONE: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!(r"^\s*({OPERATORS})\s*({})\s*$", constraint_version())));
static EACH: LazyLock<Regex> = LazyLock::new(|| compile(&format!(r"({OPERATORS})\s*({})", constraint_version())));
static RANGE: LazyLock<Regex> = LazyLock::new(|| compile(&format!(r"\s*({0})\s+-\s+({0})\s*", constraint_version())));
static VALID: LazyLock<Regex> = LazyLock::new(|| {
    let version = constraint_version();
    compile(&format!(r"^(\s*({OPERATORS})\s*({version})\s*)((?:\s+|,\s*)({OPERATORS})\s*({version})\s*)*$"))
});

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let found = VERSION.captures(text)?;
        let part = |n: usize| found.get(n).map_or("", |it| it.as_str());
        let number = |n: usize| match part(n).trim_start_matches('.') {
            "" => Some(0),
            digits => digits.parse().ok(),
        };
        let pre = part(5);
        let leads_with_zero = |it: &str| it.len() > 1 && it.starts_with('0') && it.bytes().all(|b| b.is_ascii_digit());
        if pre.split('.').any(leads_with_zero) {
            return None;
        }
        Some(Self {
            numbers: [number(1)?, number(2)?, number(3)?],
            pre: pre.to_owned(),
            metadata: part(8).to_owned(),
            original: text.to_owned(),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.as_str(), other.pre.as_str()) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (a, b) => compare_pre(a, b),
        })
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                _ if a == b => Ordering::Equal,
                (Ok(a), Ok(b)) if a > b => Ordering::Greater,
                (Ok(_), Ok(_)) | (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// What a method of a version without arguments answers.
pub(super) fn read_field(version: &Version, name: &str) -> Option<Value> {
    let number = |n: usize| Some(Value::Int(Width::Uint64, version.numbers[n] as i64));
    match name {
        "Major" => number(0),
        "Minor" => number(1),
        "Patch" => number(2),
        "Prerelease" => Some(Value::text(version.pre.as_str())),
        "Metadata" => Some(Value::text(version.metadata.as_str())),
        "Original" => Some(Value::text(version.original.as_str())),
        "String" => Some(Value::text(version.to_string())),
        _ => None,
    }
}

/// One comparison; the parts of its version that were left out or are wild.
struct Constraint {
    operator: String,
    version: Version,
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

/// All of one of these must hold.
fn parse_constraints(text: &str) -> Option<Vec<Vec<Constraint>>> {
    let text = RANGE.replace_all(text, |found: &regex::Captures<'_>| format!(">= {}, <= {} ", &found[1], &found[11]));
    text.split("||")
        .map(|part| {
            if !VALID.is_match(part) {
                return None;
            }
            EACH.find_iter(part).map(|it| Constraint::parse(it.as_str())).collect()
        })
        .collect()
}

impl Constraint {
    fn parse(text: &str) -> Option<Self> {
        let found = ONE.captures(text)?;
        let part = |n: usize| found.get(n).map_or("", |it| it.as_str());
        let open = |n: usize| matches!(part(n).trim_start_matches('.'), "" | "x" | "X" | "*");
        let mut it = Self {
            operator: part(1).to_owned(),
            version: Version { numbers: [0; 3], pre: String::new(), metadata: String::new(), original: String::new() },
            dirty: false,
            minor_dirty: false,
            patch_dirty: false,
        };
        let version = if open(3) {
            it.dirty = true;
            format!("0.0.0{}", part(6))
        } else if open(4) {
            (it.dirty, it.minor_dirty) = (true, true);
            format!("{}.0.0{}", part(3), part(6))
        } else if open(5) {
            (it.dirty, it.patch_dirty) = (true, true);
            format!("{}{}.0{}", part(3), part(4), part(6))
        } else {
            part(2).to_owned()
        };
        it.version = Version::parse(&version)?;
        Some(it)
    }

    fn accepts(&self, v: &Version) -> bool {
        let c = &self.version;
        let ([major, minor, patch], [c_major, c_minor, c_patch]) = (v.numbers, c.numbers);
        let prerelease_unasked = !v.pre.is_empty() && c.pre.is_empty();
        let order = v.compare(c);
        match self.operator.as_str() {
            "!=" => {
                if !self.dirty {
                    return order.is_ne();
                }
                if prerelease_unasked {
                    return false;
                }
                if c_major != major || (c_minor != minor && !self.minor_dirty) {
                    return true;
                }
                if self.minor_dirty {
                    return false;
                }
                if c_patch != patch && !self.patch_dirty {
                    return true;
                }
                if self.patch_dirty {
                    return (!v.pre.is_empty() || !c.pre.is_empty()) && compare_pre(&v.pre, &c.pre).is_ne();
                }
                order.is_ne()
            }
            _ if prerelease_unasked => false,
            "" | "=" if !self.dirty => order.is_eq(),
            ">" if !self.dirty => order.is_gt(),
            ">" if major != c_major => major > c_major,
            ">" if self.minor_dirty => false,
            ">" if self.patch_dirty => minor > c_minor,
            ">" => order.is_gt(),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.dirty => order.is_le(),
            "<=" | "=<" => !(major > c_major || major == c_major && minor > c_minor && !self.minor_dirty),
            _ if order.is_lt() => false,
            "^" => {
                if c_major > 0 || self.minor_dirty {
                    return major == c_major;
                }
                if major > 0 {
                    return false;
                }
                if c_minor > 0 || self.patch_dirty {
                    return minor == c_minor;
                }
                minor == 0 && c_patch == patch
            }
            // ~ and ~>, and what is equal up to the parts that were left out.
            _ => {
                let is_zero = c.numbers == [0; 3] && !self.minor_dirty && !self.patch_dirty;
                is_zero || major == c_major && (minor == c_minor || self.minor_dirty)
            }
        }
    }
}
