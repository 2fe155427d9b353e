//! `set` and `unset` on structure in no format: what the edits of every format amount to.

use super::EditError;
use crate::key_path::Step;
use crate::tree::{Entry, Kind, Wire};
use crate::value::Value;

/// Puts `what` at `at`, as SOPS does (spec section 8.9).
pub(crate) fn set(wire: &mut Wire, at: &[Step], what: &Wire) -> Result<(), EditError> {
    let Some((step, rest)) = at.split_first() else {
        *wire = what.clone();
        return Ok(());
    };
    match (wire, step) {
        (Wire::Map(entries), Step::Key(key)) => {
            let found = entries.iter_mut().find_map(|it| match it {
                Entry::Pair(name, value) if name == key => Some(value),
                _ => None,
            });
            match found {
                Some(value) => set(value, rest, what),
                None => {
                    entries.push(Entry::Pair(key.clone(), nested(rest, what)));
                    Ok(())
                }
            }
        }
        (Wire::List(items), Step::Index(index)) => match items.get_mut(*index) {
            Some(item) => set(item, rest, what),
            None => {
                items.push(nested(rest, what));
                Ok(())
            }
        },
        (wire @ Wire::Leaf(_), _) => {
            *wire = nested(at, what);
            Ok(())
        }
        (Wire::Map(_), _) => Err(misfit(Kind::Map, None, step)),
        (Wire::List(_), _) => Err(misfit(Kind::List, None, step)),
    }
}

/// Takes out what is at `at`.
pub(crate) fn unset(wire: &mut Wire, at: &[Step]) -> Result<(), EditError> {
    let Some((step, rest)) = at.split_first() else { return Err(EditError::Root) };
    match (wire, step) {
        (Wire::Map(entries), Step::Key(key)) => {
            let place = entries.iter().position(|it| matches!(it, Entry::Pair(name, _) if name == key));
            let place = place.ok_or_else(|| missing(step))?;
            match &mut entries[place] {
                Entry::Pair(_, value) if !rest.is_empty() => unset(value, rest),
                _ => {
                    entries.remove(place);
                    Ok(())
                }
            }
        }
        (Wire::List(items), Step::Index(index)) if *index < items.len() => match rest {
            [] => {
                items.remove(*index);
                Ok(())
            }
            _ => unset(&mut items[*index], rest),
        },
        (Wire::List(_), Step::Index(_)) => Err(missing(step)),
        // To SOPS, an index is a key that no mapping has.
        (Wire::Map(_), Step::Index(index)) => Err(EditError::KeyNotFound(index.to_string())),
        (Wire::List(_), _) => Err(misfit(Kind::List, None, step)),
        (Wire::Leaf(value), _) => Err(misfit(Kind::Scalar, Some(value), step)),
    }
}

/// The containers that `rest` needs, around `what`.
pub(crate) fn nested(rest: &[Step], what: &Wire) -> Wire {
    rest.iter().rev().fold(what.clone(), |wire, step| match step {
        Step::Key(key) => Wire::Map(vec![Entry::Pair(key.clone(), wire)]),
        Step::Index(_) => Wire::List(vec![wire]),
    })
}

/// The error for a place where nothing is.
pub(crate) fn missing(step: &Step) -> EditError {
    match step {
        Step::Key(key) => EditError::KeyNotFound(key.clone()),
        Step::Index(index) => EditError::OutOfBounds(*index),
    }
}

/// The error for a step into something that has no such way in: of this kind, or this scalar.
pub(crate) fn misfit(kind: Kind, value: Option<&Value>, step: &Step) -> EditError {
    let found = match (kind, value) {
        (Kind::Map, _) => "mapping",
        (Kind::List, _) => "list",
        (_, Some(Value::Str(_))) => "string",
        (_, Some(Value::Int(_))) => "int",
        (_, Some(Value::Float(_))) => "float64",
        (_, Some(Value::Bool(_))) => "bool",
        (_, Some(Value::Time(_))) => "time.Time",
        (_, Some(Value::Comment(_))) => "comment",
        (_, Some(Value::Null) | None) => "null",
    };
    let step = match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    };
    EditError::WrongType { found, step }
}
