//! Encrypts, edits and decrypts files in Git: arguments in, exit code out.

mod age_plugin;
mod args;
mod commands;
mod config;
mod consent;
mod document;
mod edge;
mod editor;
mod env;
mod error;
mod files;
mod gpg;
mod harden;
mod identities;
mod keys;
mod merge;
mod names;
mod pgp_keys;
mod prompt;
mod rekey;
mod session;
mod signals;
mod source;
mod survey;
mod ui;

use std::cell::LazyCell;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _};
use leafseal::metadata::SOPS_VERSION;

use args::deferred::narrowed;
use args::dropin::{self, Asked};
use args::{Cli, Compat, Globals};
use error::{Failure, code};
use session::{Mode, Session};

fn main() -> ExitCode {
    harden::harden();
    signals::survive_file_size_limit();
    let args: Vec<OsString> = std::env::args_os().collect();
    let mode = mode_of(&args);
    match run(mode, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui::failure(&failure, mode);
            ExitCode::from(failure.code())
        }
    }
}

/// How this run was called.
fn mode() -> Mode {
    mode_of(&std::env::args_os().collect::<Vec<_>>())
}

/// Drop-in mode is for those who call the program `sops`, or ask for it.
fn mode_of(args: &[OsString]) -> Mode {
    let called = args.first().and_then(|it| Path::new(it).file_stem()).is_some_and(|it| it == "sops");
    let told = env::var("LEAFSEAL_COMPAT").is_some_and(|it| it == "sops");
    let mut before = args.iter().skip(1).take_while(|it| it.to_str().is_some_and(|it| it.starts_with("--compat")));
    let asked = match before.next().and_then(|it| it.to_str()) {
        Some("--compat=sops") => true,
        Some("--compat") => args.get(2).is_some_and(|it| it == "sops"),
        _ => false,
    };
    if called || told || asked { Mode::DropIn } else { Mode::Leafseal }
}

fn run(mode: Mode, args: Vec<OsString>) -> Result<(), Failure> {
    let definition = LazyCell::new(Cli::command);
    let rest = match args.get(1).and_then(|it| it.to_str()) {
        Some("--compat=sops") if mode == Mode::DropIn => &args[2..],
        Some("--compat") if mode == Mode::DropIn => &args[3..],
        _ => args.get(1..).unwrap_or_default(),
    };
    let argv = if mode == Mode::DropIn || dropin::is_legacy(rest) {
        match dropin::parse(&definition, rest) {
            Asked::Run { argv, warnings } => {
                warnings.iter().for_each(|it| ui::warn(mode, it));
                argv
            }
            Asked::Help(command) => return help(command.as_deref()),
            Asked::Version => {
                return ui::out(format!("sops {SOPS_VERSION}\nleafseal {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
            }
            Asked::Usage { command, message } => {
                help(command.as_deref())?;
                return Err(Failure::new(code::GENERIC, message).fatal_log());
            }
            Asked::Refused(failure) => return Err(failure),
        }
    } else {
        args
    };
    let mut definition = narrowed(&definition, Globals::augment_args, &argv);
    let parsed = definition.try_get_matches_from_mut(argv).and_then(|it| Cli::from_arg_matches(&it));
    let Cli { globals, command } = match parsed {
        Ok(it) => it,
        Err(it) => {
            _ = it.print();
            return if it.use_stderr() { Err(Failure::silent(code::GENERIC)) } else { Ok(()) };
        }
    };
    debug_assert!(globals.compat.is_none_or(|it| it == Compat::Sops));
    commands::run(&Session::new(mode, globals), command)
}

/// Shows the help of a command (`groups add`), or of the program, on stdout.
fn help(command: Option<&str>) -> Result<(), Failure> {
    let mut definition = Cli::command();
    definition.build();
    let mut shown = &mut definition;
    for word in command.into_iter().flat_map(|it| it.split(' ')) {
        if shown.find_subcommand(word).is_none() {
            break;
        }
        shown = shown.find_subcommand_mut(word).expect("it was found");
    }
    ui::out(shown.render_help().to_string().as_bytes())
}
