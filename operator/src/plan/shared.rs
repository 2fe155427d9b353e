//! Targets as External Secrets keeps them: marked by labels, annotations and field managers.

use super::{Composed, Observed, Plan};
use crate::error::Trouble;
use crate::intent::Intent;

pub(super) fn plan(_intent: &Intent, _observed: &Observed, _composed: Composed) -> Result<Plan, Trouble> {
    todo!()
}
