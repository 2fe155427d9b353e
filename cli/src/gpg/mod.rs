//! OpenPGP through the user's GnuPG: straight through its agents, else with the program `gpg`.
//!
//! `SOPS_GPG_EXEC` decides for the program alone.

#[cfg(unix)]
mod agent;
#[cfg(unix)]
mod assuan;
pub(crate) mod home;
#[cfg(unix)]
mod keys;
#[cfg(unix)]
pub(crate) mod passphrase;
mod program;
#[cfg(unix)]
mod sexp;
#[cfg(unix)]
mod socket;

use std::ffi::OsString;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use leafseal::keyservice::pgp::{self, Finder, MessageError, Recipient};
use leafseal::keyservice::{Answer, KeyError, KeyService, Reach};
use leafseal::metadata::MasterKey;
use leafseal::secret::KeyPart;
use zeroize::Zeroizing;

use home::GnupgHome;
use program::{Program, ProgramError};

/// The variable that says how long a passphrase prompt may stay open, and `gpg` may run.
const TIMEOUT: &str = "LEAFSEAL_GPG_TIMEOUT";

/// How long that is if nobody says.
const FOR_PEOPLE: Duration = Duration::from_secs(300);

/// How often `gpg` may fail with messages of which nobody knows whom they are for.
const GUESSES: usize = 16;

/// OpenPGP keys whose secret half is with GnuPG.
///
/// Nothing is read, connected to or started until a message has to be opened.
pub(crate) struct GnuPg {
    program: Program,
    for_people: Duration,
    homes: Vec<GnupgHome>,
    finder: Box<dyn Finder>,
    #[cfg(unix)]
    keys: OnceLock<keys::Keys>,
    /// The ids of the secret keys that `gpg` lists, once somebody has asked.
    listed: OnceLock<Result<Vec<String>, String>>,
    memory: Mutex<Memory>,
}

/// The same, as far as nobody has to be asked for anything.
pub(crate) struct Unattended<'a>(pub &'a GnuPg);

/// What a run remembers, so as not to try in vain again.
#[derive(Default)]
struct Memory {
    /// `gpg` was waited for too long, or is not there.
    useless: Option<String>,
    guesses: usize,
    hints: Vec<&'static str>,
}

/// Why a message was not opened directly.
struct Failed {
    text: String,
    /// Whether `gpg` may know better.
    is_open: bool,
    /// Whether `gpg` is to be asked first which secret keys it has.
    for_any: bool,
}

/// How long somebody may take for a passphrase; `lookup` reads a variable.
fn for_people(lookup: &dyn Fn(&str) -> Option<OsString>) -> Duration {
    let seconds = lookup(TIMEOUT).and_then(|it| it.to_str()?.parse().ok()).filter(|it| *it > 0);
    seconds.map_or(FOR_PEOPLE, Duration::from_secs)
}

impl GnuPg {
    /// Uses the homes and the program that the environment names, with the certificates that
    /// `finder` finds; `lookup` reads a variable.
    pub(crate) fn new(finder: impl Finder + 'static, lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let for_people = for_people(lookup);
        Self {
            program: Program::new(lookup(program::VARIABLE), for_people),
            for_people,
            homes: GnupgHome::all(lookup),
            finder: Box::new(finder),
            #[cfg(unix)]
            keys: OnceLock::new(),
            listed: OnceLock::new(),
            memory: Mutex::default(),
        }
    }

    /// True if the environment names the program: then nothing else may touch OpenPGP keys.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.program.is_named()
    }

    /// Returns advice about what has failed so far.
    pub(crate) fn hints(&self) -> Vec<&'static str> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).hints.clone()
    }

    /// Says where keys are looked for.
    pub(crate) fn places(&self) -> String {
        if self.is_exclusive() {
            return format!("by the program that {} names", program::VARIABLE);
        }
        let homes: Vec<String> = self.homes.iter().map(|it| it.path().display().to_string()).collect();
        format!("by GnuPG in {}", homes.join(", "))
    }

    fn unwrap_now(&self, enc: &str) -> Result<KeyPart, String> {
        let fail = |it: String| format!("could not decrypt data key with PGP key: {it}");
        let key = match self.is_exclusive() {
            true => self.run(|it| it.decrypt(enc)).map_err(fail)?,
            false => match self.direct(enc, true) {
                Ok(key) => key,
                Err(failed) => self.fall_back(enc, failed).map_err(fail)?,
            },
        };
        let wrong = || format!("the data key is {} bytes long, which no file is encrypted with", key.len());
        KeyPart::from_bytes(&key).ok_or_else(wrong)
    }

    /// Opens a message with the keys of the agents.
    #[cfg(unix)]
    fn direct(&self, enc: &str, asks: bool) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let keys = self.keys.get_or_init(|| keys::Keys::new(&self.homes, self.finder.certificates(), self.for_people));
        let attempt = keys.attempt(asks);
        pgp::open(enc, keys.certificates(), &attempt).map_err(|error| {
            let faults = attempt.into_faults();
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            for hint in faults.iter().filter_map(|it| it.hint) {
                if !memory.hints.contains(&hint) {
                    memory.hints.push(hint);
                }
            }
            let is_final = faults.iter().any(|it| it.is_final);
            let (is_open, for_any) = match &error {
                MessageError::NoKey(_) => (!is_final && (keys.is_incomplete() || !faults.is_empty()), true),
                MessageError::Failed(_) => (!is_final, false),
                MessageError::Malformed(_) | MessageError::Unsupported(_) => (true, true),
                MessageError::TooLong
                | MessageError::Unprotected
                | MessageError::Manipulated
                | MessageError::Content(_) => (false, false),
            };
            let text = match &error {
                MessageError::NoKey(_) if faults.is_empty() => format!("{error} in {}", keys.places()),
                MessageError::NoKey(_) => {
                    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                    format!("{error}: {}", faults.join("; "))
                }
                _ => error.to_string(),
            };
            Failed { text, is_open, for_any }
        })
    }

    /// There are no sockets as the agent has them.
    #[cfg(not(unix))]
    fn direct(&self, _enc: &str, _asks: bool) -> Result<Zeroizing<Vec<u8>>, Failed> {
        Err(Failed { text: "gpg-agent cannot be reached here".to_owned(), is_open: true, for_any: true })
    }

    /// Has `gpg` open what was not opened directly, unless that would be in vain.
    fn fall_back(&self, enc: &str, failed: Failed) -> Result<Zeroizing<Vec<u8>>, String> {
        if !failed.is_open {
            return Err(failed.text);
        }
        let join = |it: String| format!("{}; GnuPG binary error: {it}", failed.text);
        let is_guess = failed.for_any && !self.is_for_listed(enc).map_err(join)?;
        if is_guess {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.guesses += 1;
            if memory.guesses > GUESSES {
                return Err(failed.text);
            }
        }
        self.run(|it| it.decrypt(enc)).map_err(join)
    }

    /// Whether the message is for a secret key that `gpg` lists; `false` if nobody can tell.
    ///
    /// # Errors
    ///
    /// If it is for others.
    fn is_for_listed(&self, enc: &str) -> Result<bool, String> {
        let Ok(recipients) = pgp::recipients(enc) else { return Ok(false) };
        let ids: Option<Vec<String>> = recipients.into_iter().map(|Recipient { id }| id).collect();
        let Some(ids) = ids else { return Ok(false) };
        let listed = self.listed.get_or_init(|| self.run(Program::secret_keys)).clone()?;
        match ids.iter().any(|it| listed.contains(it)) {
            true => Ok(true),
            false => Err("gpg has no secret key for it either".to_owned()),
        }
    }

    /// Runs the program, unless it is known not to work.
    fn run<T>(&self, act: impl FnOnce(&Program) -> Result<T, ProgramError>) -> Result<T, String> {
        if let Some(it) = &self.memory.lock().unwrap_or_else(PoisonError::into_inner).useless {
            return Err(it.clone());
        }
        act(&self.program).map_err(|error| {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(error, ProgramError::Failed(_)) {
                memory.useless = Some(error.to_string());
            }
            error.to_string()
        })
    }

    fn wrap_now(&self, id: &str, part: &KeyPart) -> Result<String, String> {
        self.run(|it| it.encrypt(id, part)).map_err(|it| format!("could not encrypt data key with PGP key: {it}"))
    }
}

impl KeyService for GnuPg {
    fn name(&self) -> &str {
        "gnupg"
    }

    fn reach(&self) -> Reach {
        Reach::Prompt
    }

    /// With the program only: certificates that can be read are used without it.
    fn wrap<'a>(&'a self, key: &'a MasterKey, part: &'a KeyPart) -> Answer<'a, String> {
        Box::pin(async move {
            (key.kind == pgp::KIND.name).then(|| self.wrap_now(key.field(pgp::KIND.id_field), part).map_err(KeyError))
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        Box::pin(async move {
            let enc = key.enc.as_deref().unwrap_or_default();
            (key.kind == pgp::KIND.name).then(|| self.unwrap_now(enc).map_err(KeyError))
        })
    }
}

impl KeyService for Unattended<'_> {
    fn name(&self) -> &str {
        "gpg-agent"
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a KeyPart) -> Answer<'a, String> {
        Box::pin(async { None })
    }

    /// What does not open is not told: the service that may ask is asked after this one, and tells.
    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> Answer<'a, KeyPart> {
        Box::pin(async move {
            if key.kind != pgp::KIND.name || self.0.is_exclusive() {
                return None;
            }
            let key = self.0.direct(key.enc.as_deref().unwrap_or_default(), false).ok()?;
            KeyPart::from_bytes(&key).map(Ok)
        })
    }
}
