//! The one task runner: `cargo xtask test`, `bench`, `fuzz`, `peers`, `plane`, `release`, `generate`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what a task runner is for")]

mod bench;
mod bench_operator;
mod corpora;
mod failures;
mod fuzz;
mod generate;
mod measure;
mod peers;
mod plane;
mod release;
mod sh;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [CARGO TEST ARGUMENT…]   real peers, then every test; says at the end what failed and what was not run
  bench [--only REGEX] [--runs N] [--quick] [NAME=PATH…]
                                the release build beside real sops and any other program
  bench operator [--operator '[NAME=]PATH [ARGUMENT…]']… [--objects N] [--interval S] [--runs N] [--only SCENE]
                                the operator on a plane, beside the least that its work takes
  fuzz [TARGET] [--seconds N]   mutates the saved corpus (default: every target, 10 s each)
  peers                         sets up the real programs that tests compare with
  release                       the command line as it is released: on Linux without shared libraries
  plane up|down                 a real Kubernetes control plane and OpenBao on loopback, to try things out
  generate                      the CustomResourceDefinitions of operator/deploy/crds, from operator/deploy/kinds

environment: LEAFSEAL_PEERS     where the peers are kept (default: a folder of the user's cache)
             CI=true            a test that could not be run is a failure
";

/// What a task says when it cannot go on: one clause for people.
type Failure = String;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("test") => return test::run(rest),
        Some("bench") if rest.first().is_some_and(|it| it == "operator") => bench_operator::run(&rest[1..]),
        Some("bench") => bench::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("peers") => peers::set_up().map(|_| ()),
        Some("plane") => plane::run(rest),
        Some("release") => release::run(),
        Some("generate") => generate::run(),
        Some(measure::COMMAND) => return measure::child(rest),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
