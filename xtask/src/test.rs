//! `cargo xtask test`: real peers, every test, what failed once more at the end, and an honest last line.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::Failure;
use crate::failures::Failures;
use crate::peers;
use crate::sh::{cargo, run as run_command, step, target};

/// How long no test may end: each that waits for something gives up long before.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// What the runners of all test programs add up to.
#[derive(Debug, Default, Eq, PartialEq)]
struct Sum {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Sum {
    /// Adds a line if it is one of a runner's `test result:` lines.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for count in counts.split([';', '.']) {
            match count.trim().split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                Some((n, "ignored")) => self.skipped += n.parse().unwrap_or(0),
                _ => (),
            }
        }
    }
}

/// Runs `cargo test --workspace` with `args`. Whatever happens, the last line is `N passed, N failed`, after the
/// names of those that failed and their reasons: they must not be looked for in the middle of a long log.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let (mut sum, mut failures) = (Sum::default(), Failures::default());
    if let Err(failure) = test(args, &mut sum, &mut failures) {
        println!("error: {failure}");
        sum.failed = sum.failed.max(1);
    }
    print!("{failures}");
    let skipped = if sum.skipped > 0 { format!(", {} skipped", sum.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn test(args: &[String], sum: &mut Sum, failures: &mut Failures) -> Result<(), Failure> {
    let peers = peers::set_up()?;
    let not_run = target().join("not-run.txt");
    fs::create_dir_all(target()).map_err(|error| error.to_string())?;
    fs::write(&not_run, "").map_err(|error| format!("{}: {error}", not_run.display()))?;

    // With the tests, so that what all of them depend on is compiled once.
    step("building the programs and their tests");
    run_command(cargo().args(["build", "--workspace", "--all-targets"]))?;

    step("running every test");
    let mut child = cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(args)
        .env("LEAFSEAL_PEERS", &peers)
        .env("LEAFSEAL_NOT_RUN", &not_run)
        .env("LEAFSEAL_BIN", target().join("debug/leafseal"))
        .env("LEAFSEAL_OPERATOR_BIN", target().join("debug/leafseal-operator"))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo: {error}"))?;
    let stdout = child.stdout.take().expect("it is piped");
    let (tell, lines) = mpsc::channel();
    thread::spawn(move || BufReader::new(stdout).split(b'\n').try_for_each(|it| tell.send(it)));
    loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line.map_err(|error| error.to_string())?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                return Err(format!("a test hangs: none has ended for {} minutes", SILENCE.as_secs() / 60));
            }
        };
        let line = String::from_utf8_lossy(&line);
        sum.add(&line);
        failures.add(&line);
        println!("{line}");
    }
    let status = child.wait().map_err(|error| error.to_string())?;

    report_not_run(&fs::read_to_string(&not_run).map_err(|error| error.to_string())?, sum);
    match status.success() || sum.failed > 0 {
        true => Ok(()),
        false => Err("the tests did not build or did not end".to_owned()),
    }
}

/// Ends cargo and what it runs. Which test it was stands in the log: the runner names those that take long.
fn end(cargo: &mut Child) {
    drop(Command::new("pkill").args(["-KILL", "-P", &cargo.id().to_string()]).status());
    drop(cargo.kill());
    drop(cargo.wait());
}

/// Names what was not run. Such a test has not passed: in CI it has failed, else it was skipped.
fn report_not_run(lines: &str, sum: &mut Sum) {
    let lines: BTreeSet<&str> = lines.lines().collect();
    let tests: BTreeSet<&str> = lines.iter().map(|it| it.split_once(": ").map_or(*it, |(test, _)| test)).collect();
    if tests.is_empty() {
        return;
    }
    println!();
    for line in &lines {
        println!("not run: {line}");
    }
    sum.passed = sum.passed.saturating_sub(tests.len());
    if std::env::var("CI").is_ok_and(|it| it == "true") {
        println!("in CI, what is not run has failed");
        sum.failed += tests.len();
    } else {
        sum.skipped += tests.len();
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn the_lines_of_several_runners_add_up() {
        let mut sum = Sum::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ] {
            sum.add(line);
        }
        assert_eq!(sum, Sum { passed: 8, failed: 2, skipped: 1 });
    }
}
