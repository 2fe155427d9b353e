//! `leafseal-fuzz [TARGET] [--seconds N] [--seed N]`: throws mutations at targets for a while.
#![expect(clippy::print_stderr, reason = "this is what a driver is for")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use leafseal_fuzz::{TARGETS, fuzz, hush_panics};

struct Options {
    target: Option<String>,
    seconds: u64,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { target: None, seconds: 10, seed: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|it| it.parse().ok()).ok_or(format!("{arg} wants a number"));
        match arg.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            name if TARGETS.iter().any(|it| it.name == name) => options.target = Some(arg),
            other => {
                let names: Vec<&str> = TARGETS.iter().map(|it| it.name).collect();
                return Err(format!("`{other}` is neither an option nor one of {}", names.join(", ")));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    hush_panics();
    let mut found = false;
    for target in TARGETS.iter().filter(|it| options.target.as_ref().is_none_or(|name| name == it.name)) {
        let end = Instant::now() + Duration::from_secs(options.seconds);
        match fuzz(target, options.seed, |_| Instant::now() > end) {
            Ok(tried) => eprintln!("{}: {tried} inputs, nothing found", target.name),
            Err(finding) => {
                found = true;
                eprintln!("{}: {}\n    saved as {}", target.name, finding.what, finding.saved.display());
            }
        }
    }
    if found { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
