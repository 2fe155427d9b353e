//! Choices: what is empty, and what stands in for it.

use super::{Fault, Function, at_least, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    at_least("all", 0, |call| Ok(Value::Bool(!call.arguments.iter().any(is_empty)))),
    at_least("any", 0, |call| Ok(Value::Bool(!call.arguments.iter().all(is_empty)))),
    at_least("coalesce", 0, |call| Ok(call.arguments.iter().find(|it| !is_empty(it)).cloned().unwrap_or(Value::Nil))),
    at_least("default", 1, |call| {
        Ok(match call.arguments.get(1) {
            Some(given) if !is_empty(given) => given.clone(),
            _ => call.any(0),
        })
    }),
    exactly("empty", 1, |call| Ok(Value::Bool(is_empty(&call.arguments[0])))),
    // What a template says here may hold what it was given, and errors are shown.
    exactly("fail", 1, |call| {
        call.text(0)?;
        Err(Fault::new("the template gave up"))
    }),
    exactly("ternary", 3, |call| {
        let (yes, no) = (call.any(0), call.any(1));
        Ok(if call.bool(2)? { yes } else { no })
    }),
];

/// As sprig's `empty`.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}
