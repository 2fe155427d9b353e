//! Targets as Vault Secrets keeps them: made and owned by one object, or the data alone.

use super::{Composed, Observed, Plan};
use crate::error::Trouble;
use crate::intent::Intent;

pub(super) fn plan(
    _intent: &Intent,
    _observed: &Observed,
    _composed: Composed,
    _overwrite: bool,
) -> Result<Plan, Trouble> {
    todo!()
}

pub(super) fn plan_data(_intent: &Intent, _observed: &Observed, _composed: Composed) -> Result<Plan, Trouble> {
    todo!()
}
