//! Objects of Vault Secrets that keep no Secret: whether they can be used, and how that is reported
//! (Vault Secrets, spec section A.9).

mod secret_transformation;
mod vault_auth;
mod vault_connection;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::vault_secrets::Condition;
use crate::conditions::{self, Saying};
use crate::plan::Note;

pub use secret_transformation::check as secret_transformation;
pub use vault_auth::check as vault_auth;
pub use vault_connection::{Fault, Stage, check as vault_connection, reach};

/// What a check comes to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The change of the status; `None` if it says so already.
    pub change: Option<Value>,
    /// What is told in an event, together with the change.
    pub note: Option<Note>,
    /// True if the object can be used. If not, it is worth another look after a while.
    pub is_valid: bool,
}

/// What is known about an object that was checked.
struct Findings<'a> {
    kind: &'static str,
    generation: i64,
    /// What the status says.
    held: &'a [Condition],
    /// What it should say, besides health.
    sayings: Vec<Saying>,
    /// The reason and the text of what is wrong.
    fault: Option<(&'static str, String)>,
    /// Members of the status: as they are, as they should be.
    members: Vec<(&'static str, Value, Value)>,
}

fn report(findings: Findings<'_>, now: Timestamp) -> Report {
    let Findings { kind, generation, held, mut sayings, fault, members } = findings;
    let is_valid = fault.is_none();
    sayings.extend(conditions::health(kind, is_valid));
    let wanted = conditions::merged(held, &sayings, generation, now);
    let is_news = members.iter().any(|(_, is, should)| is != should);
    let members: serde_json::Map<_, _> = members.into_iter().map(|(name, _, it)| (name.to_owned(), it)).collect();
    let change = conditions::change(held, &wanted, is_news, json!(members));
    let note = change.as_ref().map(|_| match fault {
        None => Note { warning: false, reason: ACCEPTED, text: format!("{kind} accepted") },
        Some((reason, text)) => Note { warning: true, reason, text },
    });
    Report { change, note, is_valid }
}

const ACCEPTED: &str = "Accepted";
const INVALID: &str = "InvalidConfiguration";
const VALIDATION: &str = "ResourceValidation";

/// The condition that says whether an object makes sense.
fn validation(fault: Option<&str>) -> Saying {
    match fault {
        None => Saying::new(VALIDATION, true, ACCEPTED, "the configuration is valid"),
        Some(text) => Saying::new(VALIDATION, false, INVALID, text),
    }
}

#[cfg(test)]
mod tests;
