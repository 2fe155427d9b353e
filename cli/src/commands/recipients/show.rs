//! `recipients`: the files of each reader, or the readers of each file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use leafseal::metadata::{KeyGroup, MasterKey};
use leafseal::recipients::{needed, readers};
use leafseal::tree::Wire;

use super::{count, json, names, report, title};
use crate::config::Configurations;
use crate::error::Failure;
use crate::names::Names;
use crate::session::Session;
use crate::survey::{Surveyed, survey};
use crate::ui::{self, visible};

/// A reader and the files, by their places in the survey.
struct Reach<'f> {
    key: &'f MasterKey,
    alone: Vec<usize>,
    with_others: Vec<usize>,
}

/// Runs it.
pub(super) fn run(session: &Session, paths: &[PathBuf], by_file: bool, as_json: bool) -> Result<(), Failure> {
    let survey = survey(session, paths)?;
    let mut configurations = Configurations::new(session);
    let names = names(&mut configurations, &survey.files);
    // Without a configuration, keys have no names. That stops nothing.
    for failure in configurations.failures() {
        session.warn(&format!("{}: {}", failure.place().unwrap_or_default(), failure.reason(session.mode)));
    }
    let reaches = reaches(&names, &survey.files);
    if as_json {
        json::print([
            ("readers", json::list(reaches.iter().map(|it| reader_json(&names, &survey.files, it)))),
            ("files", json::list(survey.files.iter().map(|it| file_json(&names, it)))),
            ("failures", json::failures(&survey.failures)),
        ])?;
    } else {
        let mut text: String = match by_file {
            true => survey.files.iter().map(|it| file_text(&names, it)).collect(),
            false => reaches.iter().map(|it| reader_text(&names, &survey.files, it)).collect(),
        };
        _ = writeln!(text, "{}, {}", count(survey.files.len(), "encrypted file"), count(reaches.len(), "reader"));
        ui::out(text.as_bytes())?;
    }
    report(session, &survey.failures)
}

/// Every reader of any file, those with names first.
fn reaches<'f>(names: &Names, files: &'f [Surveyed]) -> Vec<Reach<'f>> {
    let mut reaches: Vec<Reach<'f>> = Vec::new();
    let mut places: HashMap<(&'f str, String), usize> = HashMap::new();
    for (at, file) in files.iter().enumerate() {
        for reader in readers(&file.metadata.groups, file.metadata.shamir_threshold) {
            let place = *places.entry((&reader.key.kind, reader.key.id())).or_insert_with(|| {
                reaches.push(Reach { key: reader.key, alone: Vec::new(), with_others: Vec::new() });
                reaches.len() - 1
            });
            let reach = &mut reaches[place];
            if reader.alone { &mut reach.alone } else { &mut reach.with_others }.push(at);
        }
    }
    reaches.sort_by_cached_key(|it| {
        let names = names.of(it.key);
        (names.is_empty(), names.join(", ").to_lowercase(), it.key.kind.clone(), it.key.id())
    });
    reaches
}

fn reader_text(names: &Names, files: &[Surveyed], reach: &Reach<'_>) -> String {
    let mut text = format!("{}\n", title(names, reach.key));
    let label = |at: usize| visible(&files[at].source.label());
    if !reach.alone.is_empty() {
        _ = writeln!(text, "  reads {}:", count(reach.alone.len(), "file"));
        reach.alone.iter().for_each(|at| _ = writeln!(text, "    {}", label(*at)));
    }
    if !reach.with_others.is_empty() {
        _ = writeln!(text, "  reads {} together with others:", count(reach.with_others.len(), "file"));
        reach.with_others.iter().for_each(|at| _ = writeln!(text, "    {} ({})", label(*at), needs(&files[*at])));
    }
    text + "\n"
}

fn file_text(names: &Names, file: &Surveyed) -> String {
    let mut text = visible(&file.source.label());
    match file.metadata.groups.as_slice() {
        [group] => {
            text += ": any of\n";
            group.0.iter().for_each(|it| _ = writeln!(text, "    {}", title(names, it)));
        }
        groups => {
            _ = writeln!(text, ": {}", needs(file));
            for (n, group) in groups.iter().enumerate() {
                _ = writeln!(text, "  group {}: any of", n + 1);
                group.0.iter().for_each(|it| _ = writeln!(text, "    {}", title(names, it)));
            }
        }
    }
    text + "\n"
}

/// How many groups it takes: `needs 2 of 3 groups`.
fn needs(file: &Surveyed) -> String {
    let groups = file.metadata.groups.len();
    format!("needs {} of {}", needed(groups, file.metadata.shamir_threshold), count(groups, "group"))
}

fn reader_json(names: &Names, files: &[Surveyed], reach: &Reach<'_>) -> Wire {
    let labels = |at: &[usize]| json::texts(at.iter().map(|it| files[*it].source.label()));
    json::key(names, reach.key, [("reads", labels(&reach.alone)), ("reads_with_others", labels(&reach.with_others))])
}

fn file_json(names: &Names, file: &Surveyed) -> Wire {
    let groups = &file.metadata.groups;
    let keys = |it: &KeyGroup| json::list(it.0.iter().map(|it| json::key(names, it, [])));
    json::object([
        ("path", Wire::text(&file.source.label())),
        ("needs_groups", json::number(needed(groups.len(), file.metadata.shamir_threshold))),
        ("groups", json::list(groups.iter().map(keys))),
    ])
}
