//! Whether the templates and patterns of a SecretTransformation can be read.

use jiff::Timestamp;
use serde_json::json;

use super::{Findings, INVALID, Report, report, validation};
use crate::adapter::vault_static_secret::transformation;
use crate::api::Object;
use crate::api::vault_secrets::SecretTransformation;

/// Checks a SecretTransformation by itself.
pub fn check(object: &Object<SecretTransformation>, now: Timestamp) -> Report {
    let fault = match &object.spec {
        Err(malformed) => Some(malformed.to_string()),
        Ok(spec) => transformation::fault(spec, object.namespace(), object.name()),
    };
    let held = &object.status;
    let findings = Findings {
        kind: "SecretTransformation",
        generation: object.generation(),
        held: &held.conditions,
        sayings: vec![validation(fault.as_deref())],
        members: vec![
            ("valid", json!(held.valid), json!(fault.is_none())),
            ("error", json!(held.error), json!(fault.clone().unwrap_or_default())),
        ],
        fault: fault.map(|it| (INVALID, it)),
    };
    report(findings, now)
}
