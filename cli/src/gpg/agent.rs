//! One gpg-agent: found or started, asked for its keys, made to decrypt with them.
//!
//! The commands are those that `gpg` sends itself (GnuPG: `g10/call-agent.c`, `common/asshelp.c`).

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::assuan::{Answer, AssuanError, Connection, Reply, word};
use super::home::GnupgHome;
use super::{sexp, socket};
use crate::{env, files};

/// How long an agent may take for what asks nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take for a decryption before it says that somebody is asked: a card takes its
/// time, waits to be touched, or another prompt has to be answered first.
const PATIENCE_WITH_KEYS: Duration = Duration::from_secs(60);

/// How many prompts one decryption may open, of which each may stay open as long as people need.
const PROMPTS: u32 = 8;

/// What `gpg` tells its agent of the place where somebody may be asked: options by variable.
const OPTIONS: &[(&str, &[&str])] = &[
    ("ttyname", &["GPG_TTY"]),
    ("ttytype", &["TERM"]),
    ("display", &["DISPLAY"]),
    ("xauthority", &["XAUTHORITY"]),
    ("pinentry-user-data", &["PINENTRY_USER_DATA"]),
    ("lc-ctype", &["LC_ALL", "LC_CTYPE", "LANG"]),
    ("lc-messages", &["LC_ALL", "LC_MESSAGES", "LANG"]),
];

/// Variables that are handed on as they are.
const HANDED_ON: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "GTK_IM_MODULE",
    "INSIDE_EMACS",
    "QT_IM_MODULE",
    "QT_QPA_PLATFORM",
    "WAYLAND_DISPLAY",
    "XDG_SESSION_TYPE",
    "XMODIFIERS",
];

/// What is said about an answer that decides: its number (`gpg-error.h`), our words, advice.
const REFUSALS: &[(&[u32], &str, Option<&str>)] = &[
    (&[11, 31, 177], "wrong passphrase", None),
    (&[87, 178], "wrong PIN", None),
    (&[99, 114, 198, 277], CANCELLED, None),
    (&[62], "nobody answered the passphrase prompt in time", None),
    (
        &[85, 86],
        "gpg-agent found no program that asks for the passphrase",
        Some("gpg-agent asks with a `pinentry`: install one, or name it as `pinentry-program` in gpg-agent.conf"),
    ),
    (
        // ENOTTY and ENXIO.
        &[0x8000 | 102, 0x8000 | 104],
        "the passphrase cannot be asked for: there is no terminal",
        Some("for gpg-agent to ask on this terminal, set GPG_TTY: `export GPG_TTY=$(tty)`"),
    ),
    (&[112], "the card is not there", Some("insert the card that holds the OpenPGP key")),
    (&[110], "the card was removed", None),
    (&[91], "another card is inserted", Some("insert the card that holds the OpenPGP key")),
    (&[130], "the PIN of the card is blocked", Some("`gpg --card-edit`, `passwd` unblocks it")),
    (
        &[119, 120],
        "gpg-agent cannot reach the card: its program `scdaemon` does not run",
        Some("cards need GnuPG's `scdaemon` to be installed"),
    ),
];

const CANCELLED: &str = "the passphrase prompt was cancelled";

/// What an agent has of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Holding {
    /// Nothing.
    Absent,
    /// The secret half, and nobody needs to be asked.
    Ready,
    /// The secret half, and somebody may have to type or to touch something.
    Locked,
}

/// Why an agent was of no use.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct AgentError {
    text: String,
    /// Advice for people.
    pub hint: Option<&'static str>,
    /// Whether that decides: to ask again, through `gpg`, would be in vain.
    pub is_final: bool,
}

/// The agent of one home. It is connected to when it is first asked.
pub(super) struct Agent {
    home: GnupgHome,
    /// How long somebody may take for a passphrase.
    for_people: Duration,
    state: Mutex<State>,
    /// What came of asking somebody for the passphrase of a key: nobody is asked twice.
    refused: Mutex<HashMap<String, AgentError>>,
}

enum State {
    Untried,
    Connected(Talk),
    /// It does not work, and is not tried again.
    Broken(AgentError),
}

/// What was said so far.
pub(super) struct Talk {
    connection: Connection,
    /// The agent knows where somebody can be asked.
    is_told: bool,
    /// It says so when it asks somebody. One that serves another machine does not.
    is_notifying: bool,
    /// Somebody was asked and did not want to answer: nobody is asked again.
    is_cancelled: bool,
    /// Keys that the agent does not have, which is asked for every hidden recipient.
    absent: HashSet<String>,
}

impl Agent {
    /// The agent of `home`.
    pub(super) fn new(home: GnupgHome, for_people: Duration) -> Self {
        Self { home, for_people, state: Mutex::new(State::Untried), refused: Mutex::default() }
    }

    /// Says what the agent has of a key. It is started if it does not run and a key lies in its home.
    ///
    /// # Errors
    ///
    /// If it does not answer as an agent does.
    pub(super) fn holding(&self, grip: &str) -> Result<Holding, AgentError> {
        let holding = self.talk(grip, |talk| {
            if talk.absent.contains(grip) {
                return Ok(Holding::Absent);
            }
            let holding = match talk.say(&format!("KEYINFO {grip}")) {
                Ok(answer) => key_info(&answer),
                Err(AssuanError::Refused { code, .. }) if MISSING.contains(&code) => Holding::Absent,
                // An agent that serves another machine does not tell, but whether it has it.
                Err(AssuanError::Refused { code: FORBIDDEN, .. }) => match talk.say(&format!("HAVEKEY {grip}")) {
                    Ok(_) => Holding::Locked,
                    Err(AssuanError::Refused { code, .. }) if MISSING.contains(&code) => Holding::Absent,
                    Err(it) => return Err(it),
                },
                Err(it) => return Err(it),
            };
            if holding == Holding::Absent {
                talk.absent.insert(grip.to_owned());
            }
            Ok(holding)
        })?;
        Ok(holding.unwrap_or(Holding::Absent))
    }

    /// Decrypts a canonical S-expression with a key. `description` is shown if somebody is asked;
    /// without one, nobody is.
    ///
    /// # Errors
    ///
    /// If the agent says so, or says what is no value.
    pub(super) fn decrypt(
        &self,
        grip: &str,
        description: Option<&str>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AgentError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = refused.get(grip) {
            return Err(it.clone());
        }
        let result = self.talk(grip, |talk| {
            match description {
                Some(it) => talk.prepare_to_ask(it)?,
                None => talk.tell("OPTION pinentry-mode=error")?,
            }
            talk.say(&format!("SETKEY {grip}"))?;
            let answer = talk.ask("PKDECRYPT", ciphertext, description.map(|_| self.for_people));
            let is_cancelled = matches!(answer, Err(AssuanError::Refused { code: 99 | 198, .. }));
            talk.is_cancelled |= is_cancelled && description.is_some();
            sexp::value(&answer?.data).ok_or(AssuanError::Garbled("a decrypted value that is none"))
        });
        match result {
            Ok(Some(it)) => Ok(it),
            Ok(None) => Err(AgentError { text: ABSENT.to_owned(), hint: None, is_final: false }),
            Err(it) => {
                if it.is_final && description.is_some() {
                    refused.insert(grip.to_owned(), it.clone());
                }
                Err(it)
            }
        }
    }

    /// Talks to the agent; `None` if there is none and no reason to start one.
    fn talk<T>(
        &self,
        grip: &str,
        act: impl FnOnce(&mut Talk) -> Result<T, AssuanError>,
    ) -> Result<Option<T>, AgentError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Untried = *state {
            *state = match self.connect(grip) {
                Ok(Some(connection)) => State::Connected(Talk::new(connection)),
                Ok(None) => return Ok(None),
                Err(it) => State::Broken(it),
            };
        }
        let talk = match &mut *state {
            State::Connected(talk) => talk,
            State::Broken(it) => return Err(it.clone()),
            State::Untried => return Ok(None),
        };
        match act(talk) {
            Ok(it) => Ok(Some(it)),
            Err(AssuanError::Refused { code, text }) => Err(refusal(code, &text)),
            Err(it) => {
                // Whatever it says next belongs to another question.
                let error = self.broken(&it);
                *state = State::Broken(error.clone());
                Err(error)
            }
        }
    }

    fn connect(&self, grip: &str) -> Result<Option<Connection>, AgentError> {
        if let Some(connection) = self.connect_now()? {
            return Ok(Some(connection));
        }
        // No process is started for what no key could match.
        if !self.home.path().join("private-keys-v1.d").join(format!("{grip}.key")).exists() {
            return Ok(None);
        }
        self.start()?;
        match self.connect_now()? {
            Some(it) => Ok(Some(it)),
            None => Err(self.failed("gpg-agent was started and does not listen")),
        }
    }

    /// Connects to an agent that runs.
    fn connect_now(&self) -> Result<Option<Connection>, AgentError> {
        for place in socket::places(&self.home) {
            let Some(socket) = socket::resolve(&place, &env::any).map_err(|it| self.failed(&it))? else { continue };
            if let Some(it) = open(&socket).map_err(|it| self.broken(&it))? {
                return Ok(Some(it));
            }
        }
        Ok(None)
    }

    /// Starts the agent as `gpg` does. It goes into the background by itself, and outlives us: our
    /// own secrets stay out of its environment.
    fn start(&self) -> Result<(), AgentError> {
        if is_set(self.home.path(), "no-autostart") {
            return Err(self.failed("no gpg-agent runs, and `no-autostart` forbids to start one"));
        }
        let mut command = Command::new("gpg-agent");
        command.arg("--homedir").arg(self.home.path()).args(["--use-standard-socket", "--daemon"]);
        for name in env::ours() {
            command.env_remove(name);
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = started
            .map_err(|it| self.failed(&format!("gpg-agent cannot be started: {}", crate::error::reason(&it))))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match child.try_wait() {
                // It fails if another one was faster.
                Ok(Some(_)) => return Ok(()),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                Ok(None) | Err(_) => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(self.failed("gpg-agent does not start"));
                }
            }
        }
    }

    /// It does not answer as an agent does. One that is silent is silent to `gpg` too.
    fn broken(&self, error: &AssuanError) -> AgentError {
        let text = format!("the gpg-agent of {} does not work: {error}", self.home.path().display());
        let is_silent = matches!(error, AssuanError::Silent(_));
        let hint = "`gpgconf --kill gpg-agent` ends an agent that does not work; it is started again when needed";
        AgentError { text, hint: Some(hint), is_final: is_silent }
    }

    fn failed(&self, what: &str) -> AgentError {
        AgentError { text: format!("{}: {what}", self.home.path().display()), hint: None, is_final: false }
    }
}

/// Connects to the agent that listens at `socket`; `None` if it has ended and left its socket.
pub(super) fn open(socket: &Path) -> Result<Option<Connection>, AssuanError> {
    match Connection::open(socket, PATIENCE) {
        Ok(it) => Ok(Some(it)),
        Err(AssuanError::Io(it)) if it.kind() == std::io::ErrorKind::ConnectionRefused => Ok(None),
        Err(it) => Err(it),
    }
}

impl Talk {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, is_told: false, is_notifying: false, is_cancelled: false, absent: HashSet::new() }
    }

    pub(super) fn say(&mut self, line: &str) -> Result<Answer, AssuanError> {
        self.connection.command(line, PATIENCE, &mut |_| Reply::Cancel)
    }

    /// Sends a command for which somebody may be asked, who may take so long each time; `ciphertext`
    /// is what it is about.
    pub(super) fn ask(
        &mut self,
        line: &str,
        ciphertext: &[u8],
        for_people: Option<Duration>,
    ) -> Result<Answer, AssuanError> {
        let patience = match for_people {
            Some(it) if !self.is_notifying => PATIENCE_WITH_KEYS.max(it),
            _ => PATIENCE_WITH_KEYS,
        };
        let mut prompts = 0..PROMPTS;
        self.connection.command(line, patience, &mut |what| match (what.split(' ').next(), for_people) {
            (Some("CIPHERTEXT"), _) => Reply::Data(ciphertext),
            (Some("PINENTRY_LAUNCHED"), Some(it)) if prompts.next().is_some() => Reply::Wait(it),
            _ => Reply::Cancel,
        })
    }

    /// Says what an agent that is older, or serves another machine, does not know or want.
    fn tell(&mut self, line: &str) -> Result<(), AssuanError> {
        match self.say(line) {
            Ok(_) | Err(AssuanError::Refused { .. }) => Ok(()),
            Err(it) => Err(it),
        }
    }

    fn prepare_to_ask(&mut self, description: &str) -> Result<(), AssuanError> {
        self.tell(if self.is_cancelled { "OPTION pinentry-mode=cancel" } else { "OPTION pinentry-mode=ask" })?;
        self.say_where()?;
        self.tell(&format!("SETKEYDESC {}", word(description)))
    }

    /// Says where somebody can be asked.
    pub(super) fn say_where(&mut self) -> Result<(), AssuanError> {
        if !self.is_told {
            self.is_notifying = match self.say("OPTION allow-pinentry-notify") {
                Ok(_) => true,
                Err(AssuanError::Refused { .. }) => false,
                Err(it) => return Err(it),
            };
            options(&env::any).iter().try_for_each(|it| self.tell(it))?;
            self.is_told = true;
        }
        Ok(())
    }
}

const ABSENT: &str = "the agent has no such key";

/// The numbers of what an agent says of keys that it does not have, and of what it does not tell.
const MISSING: &[u32] = &[17, 27];
const FORBIDDEN: u32 = 251;

/// Whether an option of `gpg` stands in a configuration: the home's or the machine's.
pub(super) fn is_set(home: &Path, option: &str) -> bool {
    const LIMIT: usize = 1 << 20;
    let places = ["gpg.conf", "common.conf"].map(|it| [home.join(it), Path::new("/etc/gnupg").join(it)]);
    places.as_flattened().iter().any(|file| {
        let text = files::read_keys(file, LIMIT).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|line| {
            let word = line.split([' ', '\t', '=']).find(|it| !it.is_empty()).unwrap_or_default();
            word.trim_start_matches("--") == option
        })
    })
}

/// What an agent's answer means.
pub(super) fn refusal(code: u32, text: &str) -> AgentError {
    if MISSING.contains(&code) {
        return AgentError { text: ABSENT.to_owned(), hint: None, is_final: false };
    }
    match REFUSALS.iter().find(|(codes, ..)| codes.contains(&code)) {
        Some((_, text, hint)) => AgentError { text: (*text).to_owned(), hint: *hint, is_final: true },
        None => AgentError { text: format!("gpg-agent refuses: {text}"), hint: None, is_final: false },
    }
}

/// Reads `KEYINFO GRIP TYPE SERIAL ID CACHED PROTECTION …`: a key on disk is at hand if its
/// passphrase is known or there is none.
fn key_info(answer: &Answer) -> Holding {
    let line = answer.status.iter().find_map(|it| it.strip_prefix("KEYINFO "));
    let fields: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    match fields[..] {
        [_, "D", _, _, cached, protection, ..] if cached == "1" || protection == "C" => Holding::Ready,
        [_, "-", ..] => Holding::Absent,
        _ => Holding::Locked,
    }
}

/// The options for an agent that may have to ask somebody.
fn options(lookup: &dyn Fn(&str) -> Option<OsString>) -> Vec<String> {
    let text = |name: &str| lookup(name)?.into_string().ok().filter(|it| is_line(it));
    let first = |names: &[&str]| names.iter().find_map(|it| text(it).filter(|it| !it.is_empty()));
    let mut lines = vec!["OPTION agent-awareness=2.1.0".to_owned()];
    for (option, names) in OPTIONS {
        let value = match *option {
            "ttyname" => first(names).or_else(terminal),
            _ => first(names),
        };
        lines.extend(value.map(|it| format!("OPTION {option}={it}")));
    }
    lines.extend(HANDED_ON.iter().filter_map(|it| Some(format!("OPTION putenv={it}={}", text(it)?))));
    lines
}

/// Whether a value can stand in a line of the protocol.
fn is_line(text: &str) -> bool {
    text.len() <= 900 && !text.contains(['\n', '\r', '\0'])
}

/// The terminal that one of the standard streams is.
fn terminal() -> Option<String> {
    let name = |it: rustix::io::Result<std::ffi::CString>| it.ok()?.into_string().ok();
    name(rustix::termios::ttyname(std::io::stdin(), Vec::new()))
        .or_else(|| name(rustix::termios::ttyname(std::io::stderr(), Vec::new())))
        .or_else(|| name(rustix::termios::ttyname(std::io::stdout(), Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_told_apart_from_what_gpg_may_still_do() {
        for (code, text, is_final) in [
            (11, "wrong passphrase", true),
            (99, "the passphrase prompt was cancelled", true),
            (62, "nobody answered the passphrase prompt in time", true),
            (83_918_950 & 0xffff, "the passphrase cannot be asked for: there is no terminal", true),
            (112, "the card is not there", true),
            (17, ABSENT, false),
            (69, "gpg-agent refuses: Not supported", false),
        ] {
            let error = refusal(code, "Not supported");
            assert_eq!((error.to_string().as_str(), error.is_final), (text, is_final), "{code}");
        }
    }

    #[test]
    fn a_key_is_at_hand_if_nobody_has_to_be_asked() {
        let check = |status: &str, expected: Holding| {
            let answer = Answer { data: Zeroizing::default(), status: vec![status.to_owned()] };
            assert_eq!(key_info(&answer), expected, "{status}");
        };
        check("KEYINFO 746595B6 D - - - C - - -", Holding::Ready);
        check("KEYINFO 746595B6 D - - 1 P - - -", Holding::Ready);
        check("KEYINFO 746595B6 D - - - P - - -", Holding::Locked);
        check("KEYINFO 746595B6 T D276 OPENPGP.2 - - - - -", Holding::Locked);
        check("KEYINFO 746595B6 - - - - - - - -", Holding::Absent);
        check("PROGRESS tick", Holding::Locked);
    }

    #[test]
    fn the_agent_is_told_what_gpg_tells_it() {
        let variables = [
            ("GPG_TTY", "/dev/pts/7"),
            ("TERM", "xterm"),
            ("DISPLAY", ":0"),
            ("LC_ALL", ""),
            ("LANG", "C.UTF-8"),
            ("INSIDE_EMACS", "29.1,comint"),
            ("XMODIFIERS", "two\nlines"),
        ];
        let lookup = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, it)| it.into());
        assert_eq!(
            options(&lookup),
            [
                "OPTION agent-awareness=2.1.0",
                "OPTION ttyname=/dev/pts/7",
                "OPTION ttytype=xterm",
                "OPTION display=:0",
                "OPTION lc-ctype=C.UTF-8",
                "OPTION lc-messages=C.UTF-8",
                "OPTION putenv=INSIDE_EMACS=29.1,comint",
            ]
        );
    }

    #[test]
    fn options_are_found_in_the_configuration_of_a_home() {
        let home = tempfile::tempdir().expect("a temporary folder");
        assert!(!is_set(home.path(), "no-autostart"));
        std::fs::write(home.path().join("gpg.conf"), "# no-autostart\n  pinentry-mode=loopback\n--batch\n")
            .expect("writable");
        assert!(is_set(home.path(), "pinentry-mode") && is_set(home.path(), "batch"));
        assert!(!is_set(home.path(), "no-autostart"));
    }
}
