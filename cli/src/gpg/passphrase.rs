//! Passphrases that gpg-agent remembers or asks for, by the names and in the agent that SOPS uses.
//!
//! An agent that runs is asked; none is started for this.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use leafseal::keyservice::Prompt;
use leafseal::secret::SecretText;

use super::agent::{Talk, open, refusal};
use super::assuan::{AssuanError, word};
use super::home::GnupgHome;
use super::{for_people, socket};
use crate::env;

/// The socket of an agent, up to a colon. GnuPG no longer minds this variable, SOPS does: if it is
/// empty, there is no agent.
const AGENT: &str = "GPG_AGENT_INFO";

/// The most of a command that a question may take up.
const QUESTION_LIMIT: usize = 900;

/// What the agent says (`gpg-error.h`) if somebody was asked and does not answer.
const UNANSWERED: &[u32] = &[62, 99, 114, 198, 277];

/// Reads an environment variable.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// The agent for what it may remember; others for all else, and if no agent is of use.
pub(crate) struct AgentFirst<P> {
    lookup: Lookup,
    others: P,
    /// No agent is of use: for this reason, if one runs.
    useless: OnceLock<Option<String>>,
}

/// Why the agent gave no passphrase.
enum Failed {
    /// It is of no use, for this reason if there is one.
    Useless(Option<String>),
    /// Somebody was asked, and does not answer.
    Unanswered(String),
}

impl<P: Prompt> AgentFirst<P> {
    /// `lookup` reads a variable.
    pub(crate) fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static, others: P) -> Self {
        Self { lookup: Box::new(lookup), others, useless: OnceLock::new() }
    }

    /// Gets what is remembered as `id` from the agent, which asks `what` if that is nothing.
    fn get(&self, what: &str, id: &str) -> Result<SecretText, Failed> {
        let useless = |it: AssuanError| Failed::Useless(Some(it.to_string()));
        let mut talk = self.connect().map_err(Failed::Useless)?;
        talk.say_where().map_err(useless)?;
        let line = format!("GET_PASSPHRASE --data {id} X Passphrase {}", question(what));
        match talk.ask(&line, &[], Some(for_people(&self.lookup))) {
            Ok(mut answer) => Ok(SecretText::new(std::mem::take(&mut *answer.data))),
            Err(AssuanError::Refused { code, text }) => {
                let text = refusal(code, &text).to_string();
                Err(if UNANSWERED.contains(&code) { Failed::Unanswered(text) } else { Failed::Useless(Some(text)) })
            }
            // It has answered before: somebody is being asked, here or for another program.
            Err(it @ AssuanError::Silent(_)) => Err(Failed::Unanswered(it.to_string())),
            Err(it) => Err(useless(it)),
        }
    }

    /// Connects to an agent that runs. The error says what is wrong with those that should.
    fn connect(&self) -> Result<Talk, Option<String>> {
        let mut fault = None;
        for place in places(&self.lookup) {
            let connection = match socket::resolve(&place, &env::any) {
                Ok(Some(socket)) => open(&socket).map_err(|it| it.to_string()),
                Ok(None) => Ok(None),
                Err(it) => Err(it),
            };
            match connection {
                Ok(Some(it)) => return Ok(Talk::new(it)),
                Ok(None) => (),
                Err(it) => fault = fault.or(Some(it)),
            }
        }
        Err(fault)
    }
}

impl<P: Prompt> Prompt for AgentFirst<P> {
    fn passphrase(&self, what: &str) -> Option<SecretText> {
        self.others.passphrase(what)
    }

    fn remembered(&self, what: &str, id: &str) -> Result<Option<SecretText>, String> {
        let errored = |it: &str| format!("gpg-agent passphrase request errored: {it}");
        if self.useless.get().is_none() {
            match self.get(what, id) {
                Ok(it) => return Ok(Some(it)),
                Err(Failed::Unanswered(it)) => return Err(errored(&it)),
                Err(Failed::Useless(it)) => drop(self.useless.set(it)),
            }
        }
        match (self.others.passphrase(what), self.useless.get()) {
            (None, Some(Some(it))) => Err(format!("{}, and there is nobody else to ask", errored(it))),
            (answer, _) => Ok(answer),
        }
    }

    fn forget(&self, id: &str) {
        if self.useless.get().is_none()
            && let Ok(mut talk) = self.connect()
        {
            // If it does not, it forgets by itself in time.
            drop(talk.say(&format!("CLEAR_PASSPHRASE {id}")));
        }
    }
}

/// Where the agent may listen that SOPS asks, which does not mind `GNUPGHOME`; then the agent of
/// that home.
fn places(lookup: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(named) = lookup(AGENT) {
        let path = named.as_bytes().split(|it| *it == b':').next().unwrap_or_default();
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        return if path.as_os_str().is_empty() { Vec::new() } else { vec![path.to_owned()] };
    }
    let of = |home: Option<GnupgHome>| home.map(|it| socket::places(&it)).unwrap_or_default();
    let mut places = of(GnupgHome::standard(lookup));
    let run = lookup("XDG_RUNTIME_DIR").filter(|it| !it.is_empty()).map(PathBuf::from);
    let more = run.map(|it| it.join("gnupg").join("S.gpg-agent")).into_iter().chain(of(GnupgHome::find(lookup)));
    for place in more {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// A question as one word of a command. One that is too long, as of a deep folder, lacks its middle.
fn question(what: &str) -> String {
    const END: usize = 100;
    let encoded = word(what);
    if encoded.len() <= QUESTION_LIMIT {
        return encoded;
    }
    let letters: Vec<char> = what.chars().collect();
    let ends = [&letters[..END.min(letters.len())], &['…'], &letters[letters.len().saturating_sub(END)..]];
    word(&ends.concat().into_iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_where_sops_looks_for_it() {
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let lookup = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, it)| OsString::from(it));
            let run = format!("/run/user/{}/", rustix::process::getuid().as_raw());
            let mut places = places(&lookup);
            places.retain(|it| !it.starts_with(&run));
            assert_eq!(places, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{variables:?}");
        };
        let home = ("HOME", "/h");
        check(&[home], &["/h/.gnupg/S.gpg-agent"]);
        check(&[home, ("GNUPGHOME", "/g")], &["/h/.gnupg/S.gpg-agent", "/g/S.gpg-agent"]);
        check(&[home, ("GNUPGHOME", "/h/.gnupg/")], &["/h/.gnupg/S.gpg-agent"]);
        check(&[home, ("XDG_RUNTIME_DIR", "/x")], &["/h/.gnupg/S.gpg-agent", "/x/gnupg/S.gpg-agent"]);
        check(&[home, ("GNUPGHOME", "/g"), (AGENT, "/s/a b:7:1")], &["/s/a b"]);
        check(&[home, ("GNUPGHOME", "/g"), (AGENT, "/s")], &["/s"]);
        check(&[home, ("GNUPGHOME", "/g"), (AGENT, "")], &[]);
        check(&[home, (AGENT, ":7:1")], &[]);
    }

    #[test]
    fn a_question_is_one_word_that_fits_a_line() {
        assert_eq!(question("Enter passphrase for identity 'a+b':"), "Enter+passphrase+for+identity+'a%2Bb':");
        for letter in ["x", "%", "語", "\n", "𝄞"] {
            let long = question(&format!("Enter 'start{}end':", letter.repeat(4000)));
            assert!(long.len() <= QUESTION_LIMIT && !long.contains(['\n', ' ']), "{long}");
            assert!(long.starts_with("Enter+'start") && long.ends_with("end':"), "{long}");
        }
        let few = question(&"\u{10FFFF}".repeat(226));
        assert!(few.len() <= QUESTION_LIMIT);
    }
}
