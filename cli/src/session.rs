//! What holds for a whole run: how the program was called and what was said before the command.

use std::path::PathBuf;

use crate::args::Globals;
use crate::error::Failure;
use crate::ui;

/// Whose habits are kept where the two differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Our own.
    Leafseal,
    /// SOPS's: the program was called `sops`, or told to behave so.
    DropIn,
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose habits are kept.
    pub mode: Mode,
    /// The configuration that was named.
    pub config: Option<PathBuf>,
    /// The indentation that was asked for.
    pub indent: Option<i32>,
    /// The command was spelt as flags: `-d`, `-e`, `-r`, `--set`, or none.
    pub legacy: bool,
}

impl Session {
    /// Starts a run.
    pub(crate) fn new(mode: Mode, globals: Globals) -> Self {
        let Globals { config, indent, verbose: _, compat: _, legacy } = globals;
        Self { mode, config: config.filter(|it| !it.as_os_str().is_empty()), indent, legacy }
    }

    /// True if SOPS's habits are kept.
    pub(crate) fn is_drop_in(&self) -> bool {
        self.mode == Mode::DropIn
    }

    /// Shows something that stops nothing.
    pub(crate) fn warn(&self, text: &str) {
        ui::warn(self.mode, text);
    }

    /// Gives advice, in our own mode only.
    pub(crate) fn hint(&self, text: &str) {
        if !self.is_drop_in() {
            ui::hint(text);
        }
    }

    /// Fails in our own mode, warns in drop-in mode, where scripts rely on the exit code.
    ///
    /// # Errors
    ///
    /// The failure itself.
    pub(crate) fn refuse_or_warn(&self, failure: Failure) -> Result<(), Failure> {
        if !self.is_drop_in() {
            return Err(failure);
        }
        self.warn(failure.reason(self.mode));
        Ok(())
    }
}
