//! Runs the scripts of `tests/cli`: a shell session with its files, as text. `tests/cli/README.md` says how
//! they are written.

use std::fs;

use leafseal_tests::{Outcome, Place, Trials, difference, peer, workspace};

fn main() {
    let folder = workspace().join("tests/cli");
    let mut trials = Trials::default();
    for entry in fs::read_dir(&folder).expect("the scripts are there").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "txt") {
            let file = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a script is text");
            for case in cases(&file, &text) {
                trials.add(case.name.clone(), move || run(&case));
            }
        }
    }
    trials.run();
}

/// One case of a script: its commands and its files.
#[derive(Debug, Default)]
struct Case {
    name: String,
    steps: Vec<Step>,
    files: Vec<(String, String)>,
}

/// One command and what is expected of it.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    command: String,
    code: Code,
    /// What it prints, to the byte, if the script says so.
    stdout: Option<String>,
    complains: Vec<String>,
    never_says: Vec<String>,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum Code {
    #[default]
    Success,
    Failure,
    Exactly(i32),
}

/// Takes a script apart.
fn cases(file: &str, text: &str) -> Vec<Case> {
    let mut shared: Vec<(String, String)> = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    let mut in_file = false;
    for (n, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("== ") {
            in_file = false;
            cases.push(Case { name: format!("{file} {name}"), ..Case::default() });
        } else if let Some(name) = line.strip_prefix("-- ").and_then(|it| it.strip_suffix(" --")) {
            in_file = true;
            files(&mut cases, &mut shared).push((name.to_owned(), String::new()));
        } else if in_file {
            let (_, content) = files(&mut cases, &mut shared).last_mut().expect("a file was begun");
            content.push_str(line);
            content.push('\n');
        } else if let Some(case) = cases.last_mut() {
            step(case, n + 1, line).unwrap_or_else(|| panic!("{file}.txt:{}: cannot read `{line}`", n + 1));
        }
    }
    // A blank line before the next case belongs to nobody.
    let all = cases.iter_mut().flat_map(|it| &mut it.files).chain(&mut shared);
    for (_, content) in all {
        content.truncate(content.trim_end_matches('\n').len());
        content.push('\n');
    }
    for case in &mut cases {
        let own = std::mem::take(&mut case.files);
        case.files = shared.iter().cloned().chain(own).collect();
    }
    cases
}

/// The files of the last case, or those before the first case, which every case gets.
fn files<'a>(cases: &'a mut [Case], shared: &'a mut Vec<(String, String)>) -> &'a mut Vec<(String, String)> {
    cases.last_mut().map_or(shared, |it| &mut it.files)
}

fn step(case: &mut Case, line: usize, text: &str) -> Option<()> {
    if let Some((code, command)) = text.strip_prefix('$').and_then(|it| it.split_once(' ')) {
        let code = match code {
            "" => Code::Success,
            "!" => Code::Failure,
            it => Code::Exactly(it.parse().ok()?),
        };
        case.steps.push(Step { line, command: command.to_owned(), code, ..Step::default() });
        return Some(());
    }
    if text.is_empty() || text.starts_with('#') {
        return Some(());
    }
    let last = case.steps.last_mut()?;
    if let Some(printed) = text.strip_prefix('|') {
        last.stdout.get_or_insert_default().push_str(&format!("{}\n", printed.strip_prefix(' ').unwrap_or(printed)));
    } else if let Some(printed) = text.strip_prefix('=') {
        last.stdout.get_or_insert_default().push_str(printed.strip_prefix(' ').unwrap_or(printed));
    } else if let Some(complaint) = text.strip_prefix("! ") {
        last.complains.push(complaint.to_owned());
    } else if let Some(secret) = text.strip_prefix("~ ") {
        last.never_says.push(secret.to_owned());
    } else {
        return None;
    }
    Some(())
}

fn run(case: &Case) -> Result<(), String> {
    let place = Place::new();
    for (name, version) in
        [("real-3.11", "sops-3.11"), ("real", "sops-3.13"), ("age-keygen", "age-keygen"), ("age", "age")]
    {
        let is_named = |it: &Step| it.command.split([' ', ';', '|', '&', '(']).any(|word| word == name);
        if case.steps.iter().any(is_named) {
            let Some(program) = peer(version) else { return Ok(()) };
            place.program(name, &program);
        }
    }
    for (name, content) in &case.files {
        place.write(name, expand(content));
    }
    for step in &case.steps {
        let outcome = Place::finish(place.command("/bin/sh").args(["-c", &step.command]), b"");
        check(step, &outcome)
            .map_err(|error| format!("line {}: {}\n{error}\n{}", step.line, step.command, outcome.stderr))?;
    }
    Ok(())
}

/// Puts the test keys into a file: `{R1}`.
fn expand(text: &str) -> String {
    let keys = leafseal_tests::KEYS.iter().enumerate();
    keys.fold(text.to_owned(), |text, (n, key)| text.replace(&format!("{{R{}}}", n + 1), key.recipient))
}

fn check(step: &Step, outcome: &Outcome) -> Result<(), String> {
    let fits = match step.code {
        Code::Success => outcome.code == 0,
        // A panic is no way to fail, and neither is a signal.
        Code::Failure => outcome.code != 0 && outcome.code != 101 && !(129..160).contains(&outcome.code),
        Code::Exactly(code) => outcome.code == code,
    };
    if !fits {
        return Err(format!("exit {}, want {:?}", outcome.code, step.code));
    }
    if let Some(want) = &step.stdout
        && want.as_bytes() != outcome.stdout
    {
        return Err(format!("stdout: {}", difference(want.as_bytes(), &outcome.stdout)));
    }
    if let Some(missing) = step.complains.iter().find(|it| !outcome.stderr.contains(*it)) {
        return Err(format!("stderr does not say: {missing}"));
    }
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    match step.never_says.iter().find(|it| outcome.stderr.contains(*it) || stdout.contains(*it)) {
        Some(said) => Err(format!("it says what it must not: {said}")),
        None => Ok(()),
    }
}
