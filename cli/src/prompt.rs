//! Questions to the person at the terminal, whatever standard input and output are.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use leafseal::keyservice::age::Prompt;
use leafseal::secret::SecretText;

#[cfg(windows)]
const TERMINAL: (&str, &str) = ("CONIN$", "CONOUT$");
#[cfg(not(windows))]
const TERMINAL: (&str, &str) = ("/dev/tty", "/dev/tty");

/// The terminal. Where there is none, every question stays without an answer.
pub(crate) struct Terminal;

impl Prompt for Terminal {
    fn passphrase(&self, what: &str) -> Option<SecretText> {
        rpassword::prompt_password(format!("{what} ")).ok().map(SecretText::new)
    }
}

/// gpg-agent for what it may remember, where there is one; the terminal for all else. `lookup` reads a
/// variable.
pub(crate) fn anybody(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> impl Prompt {
    #[cfg(unix)]
    {
        crate::gpg::passphrase::AgentFirst::new(lookup, Terminal)
    }
    #[cfg(not(unix))]
    {
        drop(lookup);
        Terminal
    }
}

/// Asks for a line that may be seen.
pub(crate) fn line(what: &str) -> Option<String> {
    let mut output = OpenOptions::new().write(true).open(TERMINAL.1).ok()?;
    let input = OpenOptions::new().read(true).open(TERMINAL.0).ok()?;
    write!(output, "{what} ").and_then(|()| output.flush()).ok()?;
    let mut answer = String::new();
    BufReader::new(input).read_line(&mut answer).ok().filter(|read| *read > 0)?;
    Some(answer.trim_end_matches(['\r', '\n']).to_owned())
}
