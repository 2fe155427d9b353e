//! What a value is.

use super::{Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("deepEqual", 2, |call| {
        let (a, b) = (call.any(0), call.any(1));
        Ok(Value::Bool(a.deep_equals(&b, call.budget, 0)?))
    }),
    exactly("kindIs", 2, |call| Ok(Value::Bool(*call.text(0)? == *call.arguments[1].kind_name().as_bytes()))),
    exactly("kindOf", 1, |call| Ok(Value::text(call.arguments[0].kind_name()))),
    exactly("typeIs", 2, |call| Ok(Value::Bool(*call.text(0)? == *call.arguments[1].type_name().as_bytes()))),
    exactly("typeIsLike", 2, |call| {
        let (target, name) = (call.text(0)?, call.arguments[1].type_name());
        Ok(Value::Bool(*target == *name.as_bytes() || Some(&*target) == name.strip_prefix('*').map(str::as_bytes)))
    }),
    exactly("typeOf", 1, |call| Ok(Value::text(call.arguments[0].type_name()))),
];
