//! Which tests failed and why, picked out of what their runners print.

use std::fmt;
use std::mem;

/// A reason longer than this is cut in its middle: it begins with what was wrong and ends with what led to it.
const LONGEST: usize = 2_400;

/// After this many tests only names are told: what has one cause is told once.
const FULL: usize = 12;

/// What failed so far. Fed with every line of every runner, of libtest or libtest-mimic.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    tests: Vec<Failure>,
    place: Place,
}

#[derive(Debug, Eq, PartialEq)]
struct Failure {
    name: String,
    reason: String,
}

/// Where in a runner's output a line stands.
#[derive(Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Tests,
    Reasons,
}

impl Failures {
    /// Takes the next line.
    pub(crate) fn add(&mut self, line: &str) {
        match mem::take(&mut self.place) {
            Place::Tests if line == "failures:" => self.place = Place::Reasons,
            Place::Tests => (),
            // The second `failures:` lists the names alone.
            Place::Reasons if line == "failures:" || line.starts_with("test result: ") => (),
            Place::Reasons => {
                self.place = Place::Reasons;
                if let Some(name) = line.strip_prefix("---- ").and_then(|it| it.strip_suffix(" ----")) {
                    let name = name.strip_suffix(" stdout").unwrap_or(name).to_owned();
                    self.tests.push(Failure { name, reason: String::new() });
                } else if let Some(test) = self.tests.last_mut() {
                    test.reason.push_str(line);
                    test.reason.push('\n');
                }
            }
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Failure { name, reason }) in self.tests.iter().enumerate() {
            writeln!(f, "failed: {name}")?;
            for line in cut(reason.trim()).lines().filter(|_| n < FULL) {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// The beginning and the end of a long text.
fn cut(text: &str) -> String {
    let n = text.chars().count();
    if n <= LONGEST {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(LONGEST / 2).collect();
    let end: String = text.chars().skip(n - LONGEST / 2).collect();
    format!("{beginning}\n… {} characters …\n{end}", n - LONGEST)
}

#[cfg(test)]
mod tests {
    use super::{Failures, LONGEST, cut};

    /// Two runners, as libtest and libtest-mimic print.
    const PRINTED: &str = "\
running 3 tests
test tables::works ... ok
test tables::breaks ... FAILED

failures:

---- tables::breaks stdout ----

thread 'tables::breaks' panicked at lib/src/x.rs:1:1:
assertion failed
  left: 1

---- tables::other stdout ----
Error: none

failures:
    tables::breaks
    tables::other

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 2 tests
test vault-secrets/S01 ... FAILED

failures:

---- vault-secrets/S01 as v1 ----
A Secret is written.
step 3: it is not there

failures:
    vault-secrets/S01 as v1

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s

";

    #[test]
    fn the_failed_tests_of_every_runner_are_told_with_their_reasons() {
        let mut failures = Failures::default();
        PRINTED.lines().for_each(|it| failures.add(it));
        let told = "\
failed: tables::breaks
    thread 'tables::breaks' panicked at lib/src/x.rs:1:1:
    assertion failed
      left: 1
failed: tables::other
    Error: none
failed: vault-secrets/S01 as v1
    A Secret is written.
    step 3: it is not there
";
        assert_eq!(failures.to_string(), told);
    }

    #[test]
    fn of_a_long_reason_the_beginning_and_the_end_are_told() {
        let text = format!("begin{}end", "é".repeat(LONGEST));
        let short = cut(&text);
        assert!(short.starts_with("begin") && short.ends_with("end"), "{short}");
        assert!(short.contains("… 8 characters …") && short.chars().count() < LONGEST + 40, "{short}");
    }

    #[test]
    fn of_very_many_only_the_names_are_told() {
        let mut failures = Failures::default();
        failures.add("failures:");
        (0..99).for_each(|n| {
            failures.add(&format!("---- test {n} stdout ----"));
            failures.add("because");
        });
        let told = failures.to_string();
        assert_eq!((told.matches("failed:").count(), told.matches("because").count()), (99, super::FULL));
    }
}
