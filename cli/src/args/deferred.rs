//! Commands that are defined when they are asked for: a run asks for one command of many.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// The arguments of a command, defined late.
#[derive(Debug)]
pub(crate) struct Deferred<T>(pub T);

impl<T: FromArgMatches> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(define::<T>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(T::augment_args_for_update)
    }
}

/// Adds the arguments. What the command is about has been said where it was named.
fn define<T: Args>(command: Command) -> Command {
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    T::augment_args(command).about(Resettable::from(about)).long_about(Resettable::from(long_about))
}

/// The command `name` with its arguments.
pub(crate) fn defined(definition: &Command, name: &str) -> Option<Command> {
    let mut command = definition.find_subcommand(name)?.clone();
    command.build();
    Some(command)
}

/// `definition` as far as `argv` needs it: the command that it calls, below `root`. Parsing prepares all
/// the commands there are. What calls none needs them all, for help and suggestions.
pub(crate) fn narrowed(definition: &Command, root: impl FnOnce(Command) -> Command, argv: &[OsString]) -> Command {
    let called = argv.get(1).and_then(|it| definition.find_subcommand(it));
    match called {
        Some(called) => root(Command::new(definition.get_name().to_owned())).subcommand(called.clone()),
        None => definition.clone(),
    }
}
