//! Lists.

use std::rc::Rc;

use super::numbers::to_int;
use super::strings::{to_text, to_texts};
use super::{Answer, Call, Fault, Function, at_least, exactly};
use crate::template::value::{Element, List, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("append", 2, append),
    exactly("chunk", 2, chunk),
    exactly("compact", 1, compact),
    at_least("concat", 0, |call| {
        let mut all = Vec::new();
        for n in 0..call.len() {
            let list = call.list(n)?;
            call.allocate(list.items.len() * 24)?;
            all.extend(list.items.iter().cloned());
        }
        Ok(if all.is_empty() { Value::nil_list() } else { Value::list(all) })
    }),
    exactly("first", 1, first),
    exactly("has", 2, has),
    exactly("initial", 1, |call| part(call, |list| list.split_last().map(|it| it.1))),
    exactly("last", 1, last),
    at_least("list", 0, list),
    exactly("mustAppend", 2, append),
    exactly("mustChunk", 2, chunk),
    exactly("mustCompact", 1, compact),
    exactly("mustFirst", 1, first),
    exactly("mustHas", 2, has),
    exactly("mustInitial", 1, |call| part(call, |list| list.split_last().map(|it| it.1))),
    exactly("mustLast", 1, last),
    exactly("mustPrepend", 2, prepend),
    exactly("mustPush", 2, append),
    exactly("mustRest", 1, |call| part(call, |list| list.split_first().map(|it| it.1))),
    exactly("mustReverse", 1, reverse),
    at_least("mustSlice", 1, slice),
    exactly("mustUniq", 1, uniq),
    at_least("mustWithout", 1, without),
    exactly("prepend", 2, prepend),
    exactly("push", 2, append),
    exactly("rest", 1, |call| part(call, |list| list.split_first().map(|it| it.1))),
    exactly("reverse", 1, reverse),
    at_least("slice", 1, slice),
    exactly("sortAlpha", 1, |call| match &call.arguments[0] {
        list @ Value::List(_) => {
            let mut texts = to_texts(list)?;
            call.budget.step(texts.len() as u64)?;
            texts.sort();
            Ok(Value::texts(texts))
        }
        other => Ok(Value::texts([to_text(other)?])),
    }),
    at_least("tuple", 0, list),
    exactly("uniq", 1, uniq),
    at_least("without", 1, without),
];

fn list(call: &mut Call<'_, '_>) -> Answer {
    Ok(Value::list((0..call.len()).map(|n| call.any(n)).collect()))
}

fn append(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    call.allocate(list.items.len() * 24)?;
    Ok(Value::list(list.items.iter().cloned().chain([call.any(1)]).collect()))
}

fn prepend(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    call.allocate(list.items.len() * 24)?;
    Ok(Value::list([call.any(1)].into_iter().chain(list.items.iter().cloned()).collect()))
}

fn chunk(call: &mut Call<'_, '_>) -> Answer {
    let (size, list) = (call.int(0)?, call.list(1)?);
    let size = usize::try_from(size).ok().filter(|it| *it > 0).ok_or_else(|| Fault::new("a size below one"))?;
    call.allocate(list.items.len() * 48)?;
    let chunks = list.items.chunks(size).map(|it| Value::list(it.to_vec())).collect();
    Ok(Value::List(Rc::new(List { element: Element::List, is_nil: false, items: chunks })))
}

fn compact(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    Ok(Value::list(list.items.iter().filter(|it| !super::logic::is_empty(it)).cloned().collect()))
}

fn first(call: &mut Call<'_, '_>) -> Answer {
    Ok(call.list(0)?.items.first().cloned().unwrap_or(Value::Nil))
}

fn last(call: &mut Call<'_, '_>) -> Answer {
    Ok(call.list(0)?.items.last().cloned().unwrap_or(Value::Nil))
}

fn part(call: &mut Call<'_, '_>, pick: fn(&[Value]) -> Option<&[Value]>) -> Answer {
    let list = call.list(0)?;
    call.allocate(list.items.len() * 24)?;
    Ok(pick(&list.items).map_or_else(Value::nil_list, |it| Value::list(it.to_vec())))
}

fn reverse(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    call.allocate(list.items.len() * 24)?;
    Ok(Value::list(list.items.iter().rev().cloned().collect()))
}

fn contains(call: &mut Call<'_, '_>, all: &[Value], one: &Value) -> Result<bool, Fault> {
    for it in all {
        if it.deep_equals(one, call.budget, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has(call: &mut Call<'_, '_>) -> Answer {
    if call.arguments[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    let (one, list) = (call.any(0), call.list(1)?);
    Ok(Value::Bool(contains(call, &list.items, &one)?))
}

fn uniq(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    let mut once: Vec<Value> = Vec::new();
    for item in &list.items {
        if !contains(call, &once, item)? {
            once.push(item.clone());
        }
    }
    Ok(Value::list(once))
}

fn without(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    let omitted: Vec<Value> = (1..call.len()).map(|n| call.any(n)).collect();
    let mut rest = Vec::new();
    for item in &list.items {
        if !contains(call, &omitted, item)? {
            rest.push(item.clone());
        }
    }
    Ok(Value::list(rest))
}

/// Sprig's `slice`, which hides Go's.
fn slice(call: &mut Call<'_, '_>) -> Answer {
    let list = call.list(0)?;
    if list.items.is_empty() {
        return Ok(Value::Nil);
    }
    let start = if call.len() > 1 { to_int(&call.arguments[1]) } else { 0 };
    let end = if call.len() > 2 { to_int(&call.arguments[2]) } else { list.items.len() as i64 };
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let items = range.and_then(|(a, b)| list.items.get(a..b)).ok_or_else(|| Fault::new("slice index out of bounds"))?;
    call.allocate(items.len() * 24)?;
    Ok(Value::List(Rc::new(List { element: list.element, is_nil: false, items: items.to_vec() })))
}
