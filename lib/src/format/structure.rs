//! `set` and `unset` on structure in no format: what the edits of every format amount to.

use super::EditError;
use crate::key_path::Step;
use crate::tree::{Entry, Wire};

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
        (Wire::Map(_), _) => Err(EditError::WrongType { found: "mapping", step: step_text(step) }),
        (Wire::List(_), _) => Err(EditError::WrongType { found: "list", step: step_text(step) }),
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
        (Wire::Map(_), _) => Err(EditError::WrongType { found: "mapping", step: step_text(step) }),
        (Wire::List(_), _) => Err(EditError::WrongType { found: "list", step: step_text(step) }),
        (Wire::Leaf(_), _) => Err(EditError::WrongType { found: "value", step: step_text(step) }),
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

/// A step, for people.
pub(crate) fn step_text(step: &Step) -> String {
    match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    }
}
