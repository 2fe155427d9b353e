//! The keys of all agents, as the library asks for them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use leafseal::keyservice::pgp::{Certificates, Ciphertext, Decrypts, PublicKey};
use zeroize::Zeroizing;

use super::agent::{Agent, AgentError, Holding, is_set};
use super::home::GnupgHome;
use super::sexp;

/// Options of `gpg` after which only `gpg` knows which keys there are.
const OTHER_KEYS: &[&str] = &["keyring", "no-default-keyring", "primary-keyring", "use-keyboxd"];

/// Options of `gpg` after which only `gpg` knows where passphrases come from.
const OTHER_PASSPHRASES: &[&str] = &["passphrase", "passphrase-fd", "passphrase-file", "pinentry-mode"];

/// The agents of all homes, and the certificates that say which keys to ask them for.
pub(super) struct Keys {
    agents: Vec<Agent>,
    certificates: Arc<Certificates>,
    /// There may be keys that only `gpg` sees.
    is_incomplete: bool,
    /// Passphrases are to come to `gpg`, not to its agent.
    gpg_asks: bool,
}

/// One message to be opened.
pub(super) struct Attempt<'a> {
    keys: &'a Keys,
    /// Whether somebody may be asked for a passphrase.
    asks: bool,
    faults: RefCell<Vec<AgentError>>,
}

impl Keys {
    pub(super) fn new(homes: &[GnupgHome], certificates: Arc<Certificates>, for_people: Duration) -> Self {
        let any = |options: &[&str]| homes.iter().any(|home| options.iter().any(|it| is_set(home.path(), it)));
        let (is_incomplete, gpg_asks) = (any(OTHER_KEYS), any(OTHER_PASSPHRASES));
        let agents = homes.iter().map(|it| Agent::new(it.clone(), for_people)).collect();
        Self { agents, certificates, is_incomplete, gpg_asks }
    }

    pub(super) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Whether `gpg` may have keys that are not seen here.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete || self.gpg_asks || self.certificates.has_faults()
    }

    pub(super) fn attempt(&self, asks: bool) -> Attempt<'_> {
        Attempt { keys: self, asks, faults: RefCell::default() }
    }
}

impl Attempt<'_> {
    /// Returns what went wrong with agents.
    pub(super) fn into_faults(self) -> Vec<AgentError> {
        self.faults.into_inner()
    }

    /// The agents that have the key, of use to whoever is asking.
    fn agents(&self, grip: &str) -> Vec<&Agent> {
        let mut agents = Vec::new();
        for agent in &self.keys.agents {
            match agent.holding(grip) {
                Ok(Holding::Ready) => agents.insert(0, agent),
                Ok(Holding::Locked) if self.asks && !self.keys.gpg_asks => agents.push(agent),
                Ok(Holding::Locked | Holding::Absent) => (),
                Err(it) => self.fault(it),
            }
        }
        agents
    }

    fn fault(&self, error: AgentError) {
        let mut faults = self.faults.borrow_mut();
        if !faults.iter().any(|it| it.to_string() == error.to_string()) {
            faults.push(error);
        }
    }
}

impl Decrypts for Attempt<'_> {
    fn has(&self, key: &PublicKey) -> bool {
        grip(key).is_some_and(|it| !self.agents(&it).is_empty())
    }

    fn decrypt(&self, key: &PublicKey, ciphertext: Ciphertext<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        let sexp = match ciphertext {
            Ciphertext::Rsa { c } => sexp::ciphertext("rsa", &[("a", c)]),
            Ciphertext::Elgamal { e, c } => sexp::ciphertext("elg", &[("a", e), ("b", c)]),
            Ciphertext::Ecdh { e, wrapped } => sexp::ciphertext("ecdh", &[("s", wrapped), ("e", e)]),
        };
        let description = self.asks.then(|| {
            let key = self.keys.certificates.describe(key);
            format!("Please enter the passphrase to unlock the OpenPGP secret key:\n{key}\n")
        });
        let grip = grip(key).unwrap_or_default();
        let mut failures = Vec::new();
        for agent in self.agents(&grip) {
            match agent.decrypt(&grip, description.as_deref(), &sexp) {
                Ok(it) => return Ok(it),
                Err(it) => {
                    failures.push(it.to_string());
                    self.fault(it);
                }
            }
        }
        Err(failures.join("; "))
    }
}

/// A keygrip as the agent writes it.
fn grip(key: &PublicKey) -> Option<String> {
    let bytes = key.keygrip()?;
    Some(bytes.iter().map(|it| format!("{it:02X}")).collect())
}
