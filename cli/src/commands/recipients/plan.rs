//! `recipients plan`: what each file's rule would change, and who gains and who loses by that.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use leafseal::metadata::{KeyGroup, MasterKey, Metadata};
use leafseal::recipients::{Change, Shift, needed, wanted_threshold};
use leafseal::rules::CreationRule;
use leafseal::scope::{Scope, Selector};
use leafseal::tree::Wire;

use super::{count, json, names, report, short_title, title};
use crate::args::RecipientsPlan;
use crate::config::{Configurations, Counts};
use crate::error::{Failure, code};
use crate::names::Names;
use crate::session::Session;
use crate::source::absolute;
use crate::survey::{Surveyed, survey};
use crate::ui::{self, visible};

/// What is to become of the files at and below some paths.
pub(super) struct Plan {
    pub(super) files: Vec<Planned>,
    pub(super) names: Names,
    /// What could not be looked at, or has a rule that cannot be used.
    pub(super) failures: Vec<Failure>,
}

/// One file and what says who can read it.
pub(super) struct Planned {
    pub(super) file: Surveyed,
    counts: Counts,
}

/// Runs it.
pub(super) fn run(session: &Session, args: &RecipientsPlan) -> Result<(), Failure> {
    let plan = make(session, &args.paths)?;
    if args.json {
        json::print([
            ("files", json::list(plan.files.iter().map(|it| it.json(&plan.names, [])))),
            ("summary", plan.summary_json()),
            ("failures", json::failures(&plan.failures)),
        ])?;
    } else {
        ui::out(plan.text().as_bytes())?;
    }
    report(session, &plan.failures)?;
    let is_open = |it: &Planned| it.change().is_none_or(|it| !it.is_empty());
    match plan.files.iter().any(is_open) {
        true if args.check => Err(Failure::silent(code::TO_DO)),
        _ => Ok(()),
    }
}

/// Looks at the files and their rules. Nothing is opened.
pub(super) fn make(session: &Session, paths: &[PathBuf]) -> Result<Plan, Failure> {
    let survey = survey(session, paths)?;
    let mut configurations = Configurations::new(session);
    let names = names(&mut configurations, &survey.files);
    let (mut files, mut failures) = (Vec::new(), Vec::new());
    for file in survey.files {
        let path = file.source.path().expect("only files are surveyed");
        match configurations.counts(path) {
            // The reason is told once for all of its files.
            Counts::Unusable(config) => {
                let what = format!("its rule cannot be used: see {}", config.display());
                failures.push(Failure::new(code::GENERIC, what).at(file.source.label()));
            }
            Counts::Rule(config, number, rule) if rule.groups.iter().any(|it| it.0.is_empty()) => {
                let what = format!("rule {number} of {} has a group without keys", config.path.display());
                failures.push(Failure::new(code::GENERIC, what).at(file.source.label()));
            }
            counts => files.push(Planned { file, counts }),
        }
    }
    // The reasons first.
    let failures = [configurations.failures(), survey.failures, failures].into_iter().flatten().collect();
    Ok(Plan { files, names, failures })
}

/// What a rule would change about the groups of a file.
pub(super) fn change<'k>(groups: &'k [KeyGroup], threshold: usize, rule: &'k CreationRule) -> Change<'k> {
    let wanted = wanted_threshold(threshold, rule.shamir_threshold, rule.groups.len());
    Change::between(groups, threshold, &rule.groups, wanted)
}

impl Planned {
    /// What changes; `None` if no rule says who can read it.
    pub(super) fn change(&self) -> Option<Change<'_>> {
        let Metadata { groups, shamir_threshold, .. } = &self.file.metadata;
        self.rule().map(|rule| change(groups, *shamir_threshold, rule))
    }

    pub(super) fn label(&self) -> String {
        self.file.source.label()
    }

    pub(super) fn rule(&self) -> Option<&CreationRule> {
        match &self.counts {
            Counts::Rule(_, _, rule) => Some(rule),
            Counts::Nothing | Counts::NoRule(_) | Counts::Unusable(_) => None,
        }
    }

    /// Where the rule stands: configuration, number, pattern.
    fn place(&self) -> (Option<String>, Option<usize>, Option<&str>) {
        match &self.counts {
            Counts::Nothing | Counts::Unusable(_) => (None, None, None),
            Counts::NoRule(config) => (Some(shown(&config.path)), None, None),
            Counts::Rule(config, number, _) => {
                let place = self.file.source.path().and_then(|it| config.place_of_rule(it));
                (Some(shown(&config.path)), Some(*number), place.and_then(|it| it.path_regex))
            }
        }
    }

    /// What the rule says and is left as it is, because no reader depends on it.
    fn notes(&self) -> Vec<String> {
        let Some(rule) = self.rule() else { return Vec::new() };
        let mut notes = Vec::new();
        let Scope { selector, mac_only_encrypted } = &self.file.metadata.scope;
        let theirs = rule.selector.clone().unwrap_or_default();
        // A file that is a single value has no use for selectors.
        if self.file.format.name() != "binary" {
            if *selector != theirs {
                notes.push(format!("the file has {}, its rule {}", named(selector), named(&theirs)));
            }
            if *mac_only_encrypted != rule.mac_only_encrypted {
                let has = |it: bool| if it { "has" } else { "does not have" };
                let (file, rule) = (has(*mac_only_encrypted), has(rule.mac_only_encrypted));
                notes.push(format!("the file {file} mac_only_encrypted, its rule {rule}"));
            }
        }
        notes
    }

    fn text(&self, names: &Names) -> String {
        let mut text = visible(&self.label());
        let (config, number, regex) = self.place();
        let config = config.map(|it| visible(&it)).unwrap_or_default();
        match (number, regex.map(visible)) {
            (None, _) if config.is_empty() => text += ": no .sops.yaml says who can read it\n",
            (None, _) => _ = writeln!(text, ": no rule of {config} is about it"),
            (Some(n), Some(regex)) => _ = writeln!(text, ": rule {n} of {config}, path_regex {regex}"),
            (Some(n), None) => _ = writeln!(text, ": rule {n} of {config}"),
        }
        let Some(change) = self.change() else { return text };
        let n_groups = (self.file.metadata.groups.len(), change.groups_after().len());
        for (n, group) in change.groups.iter().enumerate() {
            if n_groups != (1, 1) && !(group.added.is_empty() && group.removed.is_empty()) {
                _ = writeln!(text, "  group {}", n + 1);
            }
            group.added.iter().for_each(|it| _ = writeln!(text, "  + {}", title(names, it)));
            group.removed.iter().for_each(|it| _ = writeln!(text, "  - {}", title(names, it)));
        }
        let needs = (needed(n_groups.0, change.threshold), needed(n_groups.1, change.new_threshold));
        if needs.0 != needs.1 || n_groups.0 != n_groups.1 {
            let of = |needed, n| format!("{needed} of {}", count(n, "group"));
            _ = writeln!(text, "  needs {} instead of {}", of(needs.1, n_groups.1), of(needs.0, n_groups.0));
        } else if change.threshold != change.new_threshold {
            _ = writeln!(text, "  shamir_threshold {} instead of {}", change.new_threshold, change.threshold);
        }
        if change.shuts_out() {
            let values = count(self.file.values.len(), "value");
            _ = writeln!(text, "  a new data key, because {} could read {values}", exposed(names, &change));
        }
        self.notes().iter().for_each(|it| _ = writeln!(text, "  note: {}", visible(it)));
        text
    }

    /// The file as JSON; `more` is what became of it.
    pub(super) fn json<const N: usize>(&self, names: &Names, more: [(&str, Wire); N]) -> Wire {
        let change = self.change();
        let (config, number, regex) = self.place();
        let keys = |keys: &[&MasterKey]| json::list(keys.iter().map(|it| json::key(names, it, [])));
        let groups = change.iter().flat_map(|it| &it.groups).map(|it| {
            json::object([("keep", keys(&it.common)), ("add", keys(&it.added)), ("remove", keys(&it.removed))])
        });
        let shifts = change.iter().flat_map(Change::shifts);
        let shifts = shifts.map(|(key, it)| json::key(names, key, [("access", Wire::text(word(it)))]));
        let needs = |groups: &[KeyGroup], threshold| json::number(needed(groups.len(), threshold));
        let before = needs(&self.file.metadata.groups, self.file.metadata.shamir_threshold);
        let after = change.as_ref().map(|it| needs(it.groups_after(), it.new_threshold));
        let status = match &change {
            None => "no_rule",
            Some(it) if it.is_empty() => "up_to_date",
            Some(_) => "changes",
        };
        let shuts_out = change.as_ref().is_some_and(Change::shuts_out);
        let mut wire = json::object([
            ("path", Wire::text(&self.label())),
            ("config", json::maybe(config.as_deref())),
            ("rule", number.map_or_else(|| json::maybe(None), json::number)),
            ("path_regex", json::maybe(regex)),
            ("status", Wire::text(status)),
            ("groups", json::list(groups)),
            ("needs_groups", json::object([("before", before.clone()), ("after", after.unwrap_or(before))])),
            ("readers", json::list(shifts)),
            ("shuts_out", json::truth(shuts_out)),
            ("exposed", json::texts(self.file.values.iter().filter(|_| shuts_out))),
            ("notes", json::texts(self.notes())),
        ]);
        if let (Wire::Map(entries), Wire::Map(more)) = (&mut wire, json::object(more)) {
            entries.extend(more);
        }
        wire
    }
}

impl Plan {
    /// The files that get other readers.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Planned> {
        self.files.iter().filter(|it| it.change().is_some_and(|it| !it.is_empty()))
    }

    /// Every reader whose access changes, and to how many files in which way.
    fn totals(&self) -> Vec<(MasterKey, Shift, usize)> {
        let mut totals: HashMap<(Shift, String, String), (MasterKey, Shift, usize)> = HashMap::new();
        for planned in &self.files {
            for (key, shift) in planned.change().iter().flat_map(Change::shifts) {
                let total = totals.entry((shift, key.kind.clone(), key.id()));
                total.or_insert_with(|| (key.clone(), shift, 0)).2 += 1;
            }
        }
        let mut totals: Vec<_> = totals.into_values().collect();
        let order = |key: &MasterKey| (self.names.of(key).is_empty(), title(&self.names, key).to_lowercase(), key.id());
        totals.sort_by_cached_key(|(key, shift, _)| (*shift, order(key)));
        totals
    }

    /// Files that change, that are right, that no rule is about.
    fn counts(&self) -> (usize, usize, usize) {
        let changes = self.changes().count();
        let no_rule = self.files.iter().filter(|it| it.rule().is_none()).count();
        (changes, self.files.len() - changes - no_rule, no_rule)
    }

    /// The plan as people see it: files that are right are only counted, unless there is a note.
    pub(super) fn text(&self) -> String {
        let is_shown = |it: &&Planned| it.change().is_none_or(|it| !it.is_empty()) || !it.notes().is_empty();
        let mut text: String = self.files.iter().filter(is_shown).map(|it| it.text(&self.names)).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        for (key, shift, n) in self.totals() {
            let title = title(&self.names, &key);
            let n = count(n, "file");
            _ = match shift {
                Shift::Gains => writeln!(text, "{title} gains access to {n}"),
                Shift::Widens => writeln!(text, "{title} needs fewer others for {n}"),
                Shift::Narrows => writeln!(text, "{title} needs others, or more of them, for {n}"),
                Shift::Loses => writeln!(text, "{title} loses access to {n}"),
            };
        }
        let (changes, right, no_rule) = self.counts();
        _ = writeln!(text, "{} to change, {right} up to date, {no_rule} without a rule", count(changes, "file"));
        text
    }

    pub(super) fn summary_json(&self) -> Wire {
        let (changes, right, no_rule) = self.counts();
        let totals = self.totals();
        let readers = totals.iter().map(|(key, shift, n)| {
            json::key(&self.names, key, [("access", Wire::text(word(*shift))), ("files", json::number(*n))])
        });
        json::object([
            ("changes", json::number(changes)),
            ("up_to_date", json::number(right)),
            ("no_rule", json::number(no_rule)),
            ("readers", json::list(readers)),
        ])
    }
}

/// Who could read a file and no longer shall, or not alone.
pub(super) fn exposed(names: &Names, change: &Change<'_>) -> String {
    let shifts = change.shifts().into_iter().filter(|(_, it)| matches!(it, Shift::Narrows | Shift::Loses));
    shifts.map(|(key, _)| short_title(names, key)).collect::<Vec<_>>().join(", ")
}

fn word(shift: Shift) -> &'static str {
    match shift {
        Shift::Gains => "gains",
        Shift::Widens => "widens",
        Shift::Narrows => "narrows",
        Shift::Loses => "loses",
    }
}

fn named(selector: &Selector) -> String {
    selector.field().map_or_else(|| "no selector".to_owned(), |(field, text)| format!("{field} {text}"))
}

/// A path as seen from here, if that is shorter.
fn shown(path: &std::path::Path) -> String {
    let here = absolute(std::path::Path::new(".")).ok();
    let path = here.and_then(|it| path.strip_prefix(it).ok()).unwrap_or(path);
    path.display().to_string()
}
