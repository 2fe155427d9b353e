//! Maps: made, read, merged, and changed in place.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::strings::to_text;
use super::{Answer, Call, Fault, Function, at_least, exactly};
use crate::template::exec::Budget;
use crate::template::value::{DEEPEST, Element, List, Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("deepCopy", 1, deep_copy),
    at_least("dict", 0, |call| {
        let mut items = BTreeMap::new();
        for n in (0..call.len()).step_by(2) {
            let value = if n + 1 < call.len() { call.any(n + 1) } else { Value::text("") };
            items.insert(to_text(&call.any(n))?, value);
        }
        Ok(Value::map(items))
    }),
    at_least("dig", 0, dig),
    exactly("get", 2, |call| {
        let (map, key) = (call.map(0)?, call.text(1)?);
        let found = map.items.borrow().get(&key).cloned();
        Ok(found.unwrap_or_else(|| Value::text("")))
    }),
    exactly("hasKey", 2, |call| Ok(Value::Bool(call.map(0)?.items.borrow().contains_key(&call.text(1)?)))),
    at_least("keys", 0, |call| {
        // Go's order is chance; ours is that of the keys, so that nothing changes from one time to the next.
        let mut keys: Vec<Text> = Vec::new();
        for n in 0..call.len() {
            let map = call.map(n)?;
            call.allocate(map.items.borrow().len() * 24)?;
            keys.extend(map.items.borrow().keys().cloned());
        }
        Ok(Value::texts(keys))
    }),
    at_least("merge", 1, |call| merge_all(call, false)),
    at_least("mergeOverwrite", 1, |call| merge_all(call, true)),
    exactly("mustDeepCopy", 1, deep_copy),
    at_least("mustMerge", 1, |call| merge_all(call, false)),
    at_least("mustMergeOverwrite", 1, |call| merge_all(call, true)),
    at_least("omit", 1, |call| pick(call, false)),
    at_least("pick", 1, |call| pick(call, true)),
    at_least("pluck", 1, |call| {
        let key = call.text(0)?;
        let mut found = Vec::new();
        for n in 1..call.len() {
            found.extend(call.map(n)?.items.borrow().get(&key).cloned());
        }
        Ok(Value::list(found))
    }),
    exactly("set", 3, |call| {
        let (map, key, value) = (call.map(0)?, call.text(1)?, call.any(2));
        if call.arguments[0].is_nil() {
            return Err(Fault::new("assignment to entry in nil map"));
        }
        refuse_cycle(call.budget, &map, &value)?;
        call.allocate(key.len() + 64)?;
        map.items.borrow_mut().insert(key, value);
        Ok(Value::Map(map))
    }),
    exactly("unset", 2, |call| {
        let (map, key) = (call.map(0)?, call.text(1)?);
        map.items.borrow_mut().remove(&key);
        Ok(Value::Map(map))
    }),
    exactly("values", 1, |call| {
        let map = call.map(0)?;
        let values: Vec<Value> = map.items.borrow().values().cloned().collect();
        Ok(Value::list(values))
    }),
];

/// A map that holds itself can be neither printed nor let go of.
fn refuse_cycle(budget: &mut Budget, map: &Rc<Map>, value: &Value) -> Result<(), Fault> {
    let mut todo = vec![value.clone()];
    while let Some(next) = todo.pop() {
        budget.step(1)?;
        match &next {
            Value::Map(inner) if Rc::ptr_eq(inner, map) => return Err(Fault::new("a map would hold itself")),
            Value::Map(inner) => todo.extend(inner.items.borrow().values().filter(|it| holds(it)).cloned()),
            Value::List(list) => todo.extend(list.items.iter().filter(|it| holds(it)).cloned()),
            _ => {}
        }
    }
    Ok(())
}

fn holds(value: &Value) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

fn pick(call: &mut Call<'_, '_>, wanted: bool) -> Answer {
    let map = call.map(0)?;
    let mut keys = Vec::new();
    for n in 1..call.len() {
        keys.push(call.text(n)?);
    }
    let items = map.items.borrow();
    Ok(Value::map(
        items.iter().filter(|(key, _)| keys.contains(key) == wanted).map(|(k, v)| (k.clone(), v.clone())).collect(),
    ))
}

fn dig(call: &mut Call<'_, '_>) -> Answer {
    if call.len() < 3 {
        return Err(Fault::new("dig needs at least three arguments"));
    }
    let (n_keys, default) = (call.len() - 2, call.any(call.len() - 2));
    let mut value = call.any(call.len() - 1);
    for n in 0..n_keys {
        call.text(n)?;
    }
    for n in 0..n_keys {
        let key = call.text(n)?;
        let next = match &value {
            Value::Map(map) if map.element == Element::Any => map.items.borrow().get(&key).cloned(),
            other => return Err(Fault::new(format!("{} is no map[string]interface {{}}", other.type_name()))),
        };
        match next {
            None => return Ok(default),
            Some(next) => value = next,
        }
    }
    Ok(value)
}

fn deep_copy(call: &mut Call<'_, '_>) -> Answer {
    let value = call.any(0);
    copy(call.budget, &value, 0)
}

fn copy(budget: &mut Budget, value: &Value, depth: usize) -> Answer {
    if depth > DEEPEST {
        return Err(Fault::Exhausted("nest"));
    }
    budget.allocate(24)?;
    Ok(match value {
        Value::List(list) => {
            let items: Result<_, _> = list.items.iter().map(|it| copy(budget, it, depth + 1)).collect();
            Value::List(Rc::new(List { element: list.element, is_nil: list.is_nil, items: items? }))
        }
        Value::Map(map) => {
            let mut items = BTreeMap::new();
            for (key, item) in map.items.borrow().iter() {
                items.insert(key.clone(), copy(budget, item, depth + 1)?);
            }
            Value::map_of(map.element, items)
        }
        other => other.clone(),
    })
}

fn merge_all(call: &mut Call<'_, '_>, overwrite: bool) -> Answer {
    let into = call.map(0)?;
    for n in 1..call.len() {
        let from = call.map(n)?;
        merge(call.budget, &into, &from, overwrite, 0)?;
    }
    Ok(Value::Map(into))
}

/// As mergo: maps in both are merged, in place; else what is empty is replaced, or with `overwrite` all
/// that the other has.
fn merge(budget: &mut Budget, into: &Rc<Map>, from: &Rc<Map>, overwrite: bool, depth: usize) -> Result<(), Fault> {
    if depth > DEEPEST {
        return Err(Fault::Exhausted("nest"));
    }
    if Rc::ptr_eq(into, from) {
        return Ok(());
    }
    let theirs: Vec<(Text, Value)> = from.items.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    for (key, theirs) in theirs {
        budget.step(1)?;
        let ours = into.items.borrow().get(&key).cloned();
        match (&ours, &theirs) {
            (Some(Value::Map(ours)), Value::Map(theirs)) => merge(budget, ours, theirs, overwrite, depth + 1)?,
            (Some(ours), _) if ours.is_true() && !overwrite => {}
            _ => {
                refuse_cycle(budget, into, &theirs)?;
                into.items.borrow_mut().insert(key, theirs);
            }
        }
    }
    Ok(())
}
