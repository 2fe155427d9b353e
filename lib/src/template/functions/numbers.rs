//! Arithmetic, as sprig does it on whatever can be taken for a number.

use super::{Answer, Call, Fault, Function, at_least, exactly};
use crate::template::print;
use crate::template::value::{Element, List, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    at_least("add", 0, |call| fold(call, Some(0), i64::wrapping_add)),
    exactly("add1", 1, |call| Ok(Value::int64(to_int(&call.arguments[0]).wrapping_add(1)))),
    exactly("add1f", 1, |call| {
        call.arguments.push(Value::int(1));
        decimals(call, None, Decimal::add)
    }),
    at_least("addf", 0, |call| decimals(call, Some(0.0), Decimal::add)),
    exactly("atoi", 1, |call| Ok(Value::int(parse_decimal(&call.text(0)?).unwrap_or(0)))),
    at_least("biggest", 1, |call| fold(call, None, i64::max)),
    exactly("ceil", 1, |call| Ok(Value::Float(to_float(&call.arguments[0]).ceil()))),
    exactly("div", 2, |call| match to_int(&call.arguments[1]) {
        0 => Err(Fault::new("integer divide by zero")),
        by => Ok(Value::int64(to_int(&call.arguments[0]).wrapping_div(by))),
    }),
    at_least("divf", 1, |call| {
        if call.arguments[1..].iter().any(|it| to_float(it) == 0.0) {
            return Err(Fault::new("decimal division by 0"));
        }
        decimals(call, None, Decimal::divide)
    }),
    exactly("float64", 1, |call| Ok(Value::Float(to_float(&call.arguments[0])))),
    exactly("floor", 1, |call| Ok(Value::Float(to_float(&call.arguments[0]).floor()))),
    exactly("int", 1, |call| Ok(Value::int(to_int(&call.arguments[0])))),
    exactly("int64", 1, |call| Ok(Value::int64(to_int(&call.arguments[0])))),
    at_least("max", 1, |call| fold(call, None, i64::max)),
    at_least("maxf", 1, |call| extreme(call, f64::max)),
    at_least("min", 1, |call| fold(call, None, i64::min)),
    at_least("minf", 1, |call| extreme(call, f64::min)),
    exactly("mod", 2, |call| match to_int(&call.arguments[1]) {
        0 => Err(Fault::new("integer divide by zero")),
        by => Ok(Value::int64(to_int(&call.arguments[0]).wrapping_rem(by))),
    }),
    at_least("mul", 1, |call| fold(call, None, i64::wrapping_mul)),
    at_least("mulf", 1, |call| decimals(call, None, Decimal::multiply)),
    at_least("round", 2, |call| {
        let on = if call.len() > 2 { call.float(2)? } else { 0.5 };
        for n in 3..call.len() {
            call.float(n)?;
        }
        let power = 10_f64.powf(call.int(1)? as f64);
        let digit = power * to_float(&call.arguments[0]);
        let rounded = if digit.fract() >= on { digit.ceil() } else { digit.floor() };
        Ok(Value::Float(rounded / power))
    }),
    at_least("seq", 0, seq),
    exactly("sub", 2, |call| fold(call, None, i64::wrapping_sub)),
    at_least("subf", 1, |call| decimals(call, None, Decimal::subtract)),
    exactly("toDecimal", 1, |call| {
        let text = print::print(&call.arguments[0])?;
        let text = std::str::from_utf8(&text).unwrap_or_default();
        Ok(Value::int64(i64::from_str_radix(text, 8).unwrap_or(0)))
    }),
    exactly("until", 1, |call| {
        let count = call.int(0)?;
        steps(call, 0, count, if count < 0 { -1 } else { 1 }).map(integers)
    }),
    exactly("untilStep", 3, |call| {
        let (start, stop, step) = (call.int(0)?, call.int(1)?, call.int(2)?);
        steps(call, start, stop, step).map(integers)
    }),
];

/// As `cast.ToInt64`: what is no number is zero.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(_, n) => *n,
        Value::Float(f) => {
            // Where the machine's conversion is not defined, amd64 has the smallest number.
            if f.is_nan() || *f >= 9_223_372_036_854_775_808.0 || *f < -9_223_372_036_854_775_808.0 {
                i64::MIN
            } else {
                *f as i64
            }
        }
        Value::Bool(b) => i64::from(*b),
        Value::Text(text) | Value::Number(text) => {
            std::str::from_utf8(text).ok().and_then(|it| parse_any_base(trim_zero_decimal(it))).unwrap_or(0)
        }
        _ => 0,
    }
}

/// As `cast.ToFloat64`: what is no number is zero.
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Float(f) => *f,
        Value::Int(width, n) if !width.is_signed() => *n as u64 as f64,
        Value::Int(_, n) => *n as f64,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Text(text) | Value::Number(text) => std::str::from_utf8(text).ok().and_then(parse_float).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// As `strconv.ParseFloat`, decimal notation: what Rust accepts, where out of range is an error.
fn parse_float(text: &str) -> Option<f64> {
    let f: f64 = text.parse().ok()?;
    let is_word = text.bytes().any(|it| matches!(it, b'n' | b'N'));
    (f.is_finite() || is_word).then_some(f)
}

fn parse_decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `1.0` and `1.000` are 1.
fn trim_zero_decimal(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    if trimmed.len() < text.len() { trimmed.strip_suffix('.').unwrap_or(text) } else { text }
}

/// As `strconv.ParseInt` with base 0: the prefix says the base, underscores may stand between digits.
fn parse_any_base(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if body.contains('_') {
        let placed = body.split('_').enumerate().all(|(n, it)| !it.is_empty() || (n == 0 && radix != 10));
        if !placed {
            return None;
        }
    }
    if body.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{}", body.replace('_', "")), radix).ok()
}

fn fold(call: &mut Call<'_, '_>, start: Option<i64>, with: fn(i64, i64) -> i64) -> Answer {
    let numbers = start.into_iter().chain(call.arguments.iter().map(to_int));
    Ok(Value::int64(numbers.reduce(with).unwrap_or(0)))
}

fn extreme(call: &mut Call<'_, '_>, with: fn(f64, f64) -> f64) -> Answer {
    let numbers = call.arguments.iter().map(to_float);
    // Go's Max and Min of anything and NaN are NaN.
    Ok(Value::Float(numbers.reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { with(a, b) }).unwrap_or(0.0)))
}

fn steps(call: &mut Call<'_, '_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Fault> {
    let count = match stop < start {
        true if step >= 0 => 0,
        false if step <= 0 => 0,
        _ => (start.abs_diff(stop)).div_ceil(step.unsigned_abs()),
    };
    call.budget.step(count)?;
    call.allocate((count as usize).saturating_mul(24))?;
    Ok((0..count as i64).map(|n| start.wrapping_add(n.wrapping_mul(step))).collect())
}

fn integers(numbers: Vec<i64>) -> Value {
    let items = numbers.into_iter().map(Value::int).collect();
    Value::List(std::rc::Rc::new(List { element: Element::Int, is_nil: false, items }))
}

fn seq(call: &mut Call<'_, '_>) -> Answer {
    let mut numbers = Vec::new();
    for n in 0..call.len() {
        numbers.push(call.int(n)?);
    }
    let (start, step, end) = match numbers.as_slice() {
        [end] => (1, None, *end),
        [start, end] => (*start, None, *end),
        [start, step, end] => (*start, Some(*step), *end),
        _ => return Ok(Value::text("")),
    };
    let towards = if end < start { -1 } else { 1 };
    if end < start && step.is_some_and(|it| it > 0) {
        return Ok(Value::text(""));
    }
    let all = steps(call, start, end.saturating_add(towards), step.unwrap_or(towards))?;
    Ok(Value::text(all.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")))
}

/// A decimal number as `shopspring/decimal` holds it, while it fits: `digits × 10^exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    fn from_float(f: f64) -> Option<Self> {
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let decimals = mantissa.split_once('.').map_or(0, |(_, it)| it.len() as i32);
        Some(Self {
            digits: mantissa.replace('.', "").parse().ok()?,
            exponent: exponent.parse::<i32>().ok()? - decimals,
        })
    }

    fn to_float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0)
    }

    fn shifted(self, exponent: i32) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow(u32::try_from(self.exponent - exponent).ok()?)?)
    }

    fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        Some(Self { digits: self.shifted(exponent)?.checked_add(other.shifted(exponent)?)?, exponent })
    }

    fn subtract(self, other: Self) -> Option<Self> {
        self.add(Self { digits: -other.digits, ..other })
    }

    fn multiply(self, other: Self) -> Option<Self> {
        Some(Self { digits: self.digits.checked_mul(other.digits)?, exponent: self.exponent + other.exponent })
    }

    /// To 16 digits after the point, halves away from zero.
    fn divide(self, other: Self) -> Option<Self> {
        let shift = 16 + self.exponent - other.exponent;
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        let (over, under) = match shift >= 0 {
            true => (self.digits.checked_mul(power)?, other.digits),
            false => (self.digits, other.digits.checked_mul(power)?),
        };
        let (quotient, rest) = (over.checked_div(under)?, over.checked_rem(under)?);
        let up = rest.unsigned_abs() >= under.unsigned_abs() - rest.unsigned_abs();
        let away = if (over < 0) == (under < 0) { 1 } else { -1 };
        Some(Self { digits: if up { quotient + away } else { quotient }, exponent: -16 })
    }
}

/// Folds the arguments exactly, and refuses those that a fraction of 38 digits cannot hold.
fn decimals(call: &mut Call<'_, '_>, start: Option<f64>, with: fn(Decimal, Decimal) -> Option<Decimal>) -> Answer {
    let mut numbers = start.into_iter().chain(call.arguments.iter().map(to_float));
    let overflow = || Fault::new("a number too large or too small to compute with exactly");
    let first = numbers.next().ok_or_else(overflow)?;
    let mut sum = Decimal::from_float(first).ok_or_else(overflow)?;
    for number in numbers {
        sum = Decimal::from_float(number).and_then(|it| with(sum, it)).ok_or_else(overflow)?;
    }
    Ok(Value::Float(sum.to_float()))
}
