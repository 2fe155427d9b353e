//! What people read on the terminal: colour, warnings, questions.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use leafseal::edge::Clock as _;

use crate::edge::SystemClock;
use crate::error::Failure;
use crate::session::Mode;

const BOLD_RED: &str = "\x1b[1;31m";
const BOLD_YELLOW: &str = "\x1b[1;33m";
const BOLD_CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// A line as SOPS's logger writes it: `[CMD]`, a tab, time, level, message.
pub(crate) fn log_line(level: &str, message: &str) -> String {
    format!("[CMD]\t time=\"{}\" level={level} msg={message:?}\n", SystemClock.now())
}

/// Text from files for a terminal: what would move the cursor or turn text around is spelt out.
pub(crate) fn visible(text: &str) -> String {
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        if is_odd(c) {
            _ = write!(text, "{}", c.escape_default());
        } else {
            text.push(c);
        }
        text
    })
}

/// The same for a text of several lines.
fn lines(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(visible).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Writes to stderr; colours are dropped unless it is a terminal. A closed stderr is nobody's problem.
fn say(text: &str) {
    _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Shows why a command failed.
pub(crate) fn failure(failure: &Failure, mode: Mode) {
    let text = lines(&failure.render(mode));
    if mode == Mode::Leafseal && io::stderr().is_terminal() {
        let text = text.replacen("error:", &format!("{BOLD_RED}error:{RESET}"), 1);
        say(&text.replace("\nhint:", &format!("\n{BOLD_CYAN}hint:{RESET}")));
    } else {
        say(&text);
    }
}

/// Shows something that people should know and that stops nothing.
pub(crate) fn warn(mode: Mode, text: &str) {
    match mode {
        Mode::Leafseal => say(&format!("{BOLD_YELLOW}warning:{RESET} {}\n", lines(text))),
        Mode::DropIn => say(&log_line("warning", text)),
    }
}

/// Shows an error that stops nothing yet.
pub(crate) fn log_error(mode: Mode, text: &str) {
    match mode {
        Mode::Leafseal => say(&format!("{BOLD_RED}error:{RESET} {}\n", lines(text))),
        Mode::DropIn => say(&log_line("error", text)),
    }
}

/// Shows advice.
pub(crate) fn hint(text: &str) {
    say(&format!("{BOLD_CYAN}hint:{RESET} {}\n", lines(text)));
}

/// Shows a line of progress, or of a longer text, on stderr.
pub(crate) fn note(text: &str) {
    say(&format!("{}\n", lines(text)));
}

/// Writes what a command is for to stdout.
///
/// # Errors
///
/// As for any write. A reader that has gone away is silent.
pub(crate) fn out(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|it| match it.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(crate::error::code::CLOSED_PIPE),
        _ => {
            Failure::new(crate::error::code::GENERIC, format!("cannot write to stdout: {}", crate::error::reason(&it)))
        }
    })
}

/// Asks on stdout until the answer is `y` or `n`. `None` at the end of input.
///
/// # Errors
///
/// If stdout cannot be written.
pub(crate) fn confirm(question: &str) -> Result<Option<bool>, Failure> {
    let mut stdin = io::stdin().lock();
    loop {
        out(question.as_bytes())?;
        let mut line = String::new();
        match stdin.read_line(&mut line) {
            Ok(1..) => match line.trim() {
                "y" => return Ok(Some(true)),
                "n" => return Ok(Some(false)),
                _ => {}
            },
            Ok(0) | Err(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_a_terminal_is_spelt_out() {
        for (text, expected) in
            [("a b é", "a b é"), ("a\nb", "a\\nb"), ("\x1b[2Jx", "\\u{1b}[2Jx"), ("a\u{202e}b", "a\\u{202e}b")]
        {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(lines("a\n\tb\r\n\x1b"), "a\n\tb\\r\n\\u{1b}");
    }
}
