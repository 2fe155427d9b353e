//! `recipients apply`: gives files the readers that their rules name.

use std::fmt::Write as _;

use leafseal::recipients::Change;
use leafseal::tree::Wire;

use super::plan::{self, Plan, Planned};
use super::{count, json, report};
use crate::args::RecipientsApply;
use crate::document;
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::rekey::rekey;
use crate::session::Session;
use crate::ui::{self, visible};

/// What became of one file.
struct Outcome<'p> {
    planned: &'p Planned,
    result: Result<(), Failure>,
}

/// Runs it. After a file that fails, the others are still done.
pub(super) fn run(session: &Session, args: &RecipientsApply) -> Result<(), Failure> {
    let keys = Keys::new(&args.unwrap)?;
    let plan = plan::make(session, &args.paths)?;
    if !args.json {
        ui::out(plan.text().as_bytes())?;
    }
    let changes: Vec<&Planned> = plan.changes().collect();
    if !changes.is_empty() && !args.yes && !consents()? {
        ui::note("nothing was changed");
        return report(session, &plan.failures);
    }
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut exposes = false;
    for planned in changes {
        let result = apply(session, &keys, planned, args.keep_data_key);
        match &result {
            // At once: whoever interrupts this has to know what was exposed by then.
            Ok(values) if !args.json => ui::out(done_text(&plan, planned, values).as_bytes())?,
            Ok(_) => {}
            Err(failure) => ui::failure(failure, session.mode),
        }
        exposes |= result.as_ref().is_ok_and(|it| !it.is_empty());
        outcomes.push(Outcome { planned, result: result.map(drop) });
    }
    match args.json {
        true => print_json(&plan, &outcomes)?,
        false => ui::out(end_text(&outcomes, exposes).as_bytes())?,
    }
    let looked = report(session, &plan.failures);
    let failed: Vec<u8> = outcomes.iter().filter_map(|it| it.result.as_ref().err()).map(Failure::code).collect();
    match failed.as_slice() {
        [] => looked,
        [first, rest @ ..] => {
            let code = if rest.iter().all(|it| it == first) { *first } else { code::GENERIC };
            let what = format!("{} of {} could not be changed", failed.len(), count(outcomes.len(), "file"));
            Err(Failure::new(code, what))
        }
    }
}

/// Asks whether the plan is what is wanted: it names who gains and who loses, also readers that only a
/// file knows (guarantee D3).
fn consents() -> Result<bool, Failure> {
    ui::confirm("Is this okay? (y/n):")?
        .ok_or_else(|| Failure::new(code::GENERIC, "nobody answered").hint("--yes does it without asking"))
}

/// Changes one file, and returns the places of the values that are exposed.
fn apply(session: &Session, keys: &Keys, planned: &Planned, keep_data_key: bool) -> Result<Vec<String>, Failure> {
    let source = &planned.file.source;
    let at = |it: Failure| it.at(source.label());
    let rule = planned.rule().expect("only files with a rule change");
    let mut bytes = source.read()?;
    let encrypted = document::load(source, planned.file.format, &mut bytes)?;
    let (was, is) = (&planned.file.metadata, encrypted.metadata());
    if !Change::between(&was.groups, was.shamir_threshold, &is.groups, is.shamir_threshold).is_empty() {
        return Err(at(Failure::new(code::GENERIC, "somebody else has given it other readers meanwhile"))
            .hint("nothing was written; run the command again"));
    }
    let change = plan::change(&is.groups, is.shamir_threshold, rule);
    let shuts_out = change.shuts_out();
    let exposed = match shuts_out {
        true => encrypted.sealed_places().map_err(|it| at(error::open(&it)))?,
        false => Vec::new(),
    };
    rekey(session, keys, source, &bytes, &encrypted, &change, shuts_out && !keep_data_key)?;
    Ok(exposed)
}

/// That a file is done, and the places of its values that are exposed.
fn done_text(plan: &Plan, planned: &Planned, values: &[String]) -> String {
    let label = visible(&planned.label());
    match planned.change() {
        Some(change) if !values.is_empty() => {
            let who = plan::exposed(&plan.names, &change);
            let mut text = format!("{label}: done, {who} could read\n");
            values.iter().for_each(|it| _ = writeln!(text, "    {}", visible(it)));
            text
        }
        _ => format!("{label}: done\n"),
    }
}

fn end_text(outcomes: &[Outcome<'_>], exposes: bool) -> String {
    let done = outcomes.iter().filter(|it| it.result.is_ok()).count();
    let advice = "Change the values above where they come from: whoever could read them may know them, and can still \
                  read\nearlier versions of the files, in Git for one.\n";
    match outcomes.is_empty() {
        true => String::new(),
        false => format!("\n{}{} changed\n", if exposes { advice } else { "" }, count(done, "file")),
    }
}

fn print_json(plan: &Plan, outcomes: &[Outcome<'_>]) -> Result<(), Failure> {
    let file = |planned: &Planned| {
        let outcome = outcomes.iter().find(|it| std::ptr::eq(it.planned, planned)).map(|it| &it.result);
        let (result, error) = match outcome {
            None => ("unchanged", None),
            Some(Ok(_)) => ("changed", None),
            Some(Err(it)) => ("failed", Some(it.reason(crate::session::Mode::Leafseal))),
        };
        planned.json(&plan.names, [("result", Wire::text(result)), ("error", json::maybe(error))])
    };
    json::print([
        ("files", json::list(plan.files.iter().map(file))),
        ("summary", plan.summary_json()),
        ("failures", json::failures(&plan.failures)),
    ])
}
