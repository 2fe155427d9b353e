//! The keyring of this machine, and what is said when it opens nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use leafseal::edge::Rng;
use leafseal::keyring::{Attempt, PartsError, UnwrapReport};
use leafseal::keyservice::KeyService;
use leafseal::keyservice::age::Age;
use leafseal::keyservice::pgp::{self, Pgp};
use leafseal::metadata::Metadata;
use leafseal::{DataKey, Keyring};

use crate::age_plugin::Plugins;
use crate::args::UnwrapFlags;
use crate::edge::{Patience, SystemClock};
use crate::env;
use crate::error::{self, Failure, code, wrap};
use crate::gpg::{GnuPg, Unattended};
use crate::identities::Identities;
use crate::pgp_keys::{Passphrase, PgpKeys};
use crate::{prompt, ui};

/// How long services in the network may take before somebody is prompted, or told.
const PATIENCE: Patience = Patience(Duration::from_secs(20));

/// What the remark about age keys begins with that [`Identities::looked`] knows more of.
const NOWHERE: &str = "Did not find keys in location";

/// Everything that can wrap and unwrap here. A key service of another kind is one more field.
pub(crate) struct Keys {
    age: Age,
    identities: Arc<Identities>,
    pgp: Pgp,
    gnupg: GnuPg,
    local: bool,
    order: Vec<String>,
}

impl Keys {
    /// Takes the flags. No identity is looked for before one is needed.
    ///
    /// # Errors
    ///
    /// If the order names a kind twice (exit 112), or a remote key service is named.
    pub(crate) fn new(flags: &UnwrapFlags) -> Result<Self, Failure> {
        let order = flags.decryption_order.as_deref().filter(|it| !it.is_empty());
        let order: Vec<String> = order.into_iter().flat_map(|it| it.split(',')).map(ToOwned::to_owned).collect();
        for (at, kind) in order.iter().enumerate() {
            if order[..at].contains(kind) {
                return Err(Failure::new(code::ORDER, format!("{kind} stands in the order of decryption twice"))
                    .sops(format!("Duplicate decryption key type: {kind}")));
            }
        }
        if flags.keyservice.iter().any(|it| !it.is_empty()) {
            return Err(Failure::new(code::GENERIC, "remote key services are not supported yet")
                .hint("they are named by --keyservice or by the environment variable SOPS_KEYSERVICE"));
        }
        let identities = Arc::new(Identities::new(env::var));
        let age = Age::new(Arc::clone(&identities)).with_prompt(prompt::anybody(env::var)).with_plugins(Plugins);
        let pgp_keys = Arc::new(PgpKeys::new(env::var));
        let gnupg = GnuPg::new(Arc::clone(&pgp_keys), &env::var);
        let pgp = Pgp::new(pgp_keys, SystemClock).with_prompt(Passphrase::new(env::var, prompt::anybody(env::var)));
        let pgp = pgp.with_warnings(|it| ui::warn(crate::mode(), it));
        Ok(Self { age, identities, pgp, gnupg, local: flags.enable_local_keyservice, order })
    }

    /// Waits for what `act` does with the keyring.
    fn with_ring<T>(&self, act: impl AsyncFnOnce(Keyring<'_>) -> T) -> T {
        let age = self.age.halves();
        let unattended = Unattended(&self.gnupg);
        let mut services: Vec<&dyn KeyService> = Vec::new();
        if self.local {
            services.extend(age.iter().map(|it| it as &dyn KeyService));
            services.extend([&self.pgp as &dyn KeyService, &unattended, &self.gnupg]);
        }
        let ring = Keyring::new(services).with_order(self.order.clone()).with_deadline(&PATIENCE);
        pollster::block_on(act(ring))
    }

    /// Gets the data key of a file that is called `label`.
    ///
    /// # Errors
    ///
    /// Exit 128, with what became of every key.
    pub(crate) fn unwrap(&self, label: &str, metadata: &Metadata) -> Result<DataKey, Failure> {
        self.find(metadata).map_err(|report| {
            let failure = Failure::new(code::NO_KEY, report.summary()).at(label);
            self.explained(failure.sops(sops_report(&report, self.local)), &report)
        })
    }

    /// The same for commands that are less talkative in SOPS (spec section 5.4).
    ///
    /// # Errors
    ///
    /// As for [`unwrap`](Self::unwrap).
    pub(crate) fn unwrap_tersely(&self, label: &str, metadata: &Metadata) -> Result<DataKey, Failure> {
        self.find(metadata).map_err(|report| {
            let failure = Failure::new(code::GENERIC, report.summary()).at(label);
            let (needed, opened) = (report.threshold, report.opened());
            let sops = match parts_error(&report) {
                Some(error) => error,
                None => format!("Error getting data key: {needed} successful groups required, got {opened}"),
            };
            self.explained(failure.sops(sops).fatal_log(), &report)
        })
    }

    fn find(&self, metadata: &Metadata) -> Result<DataKey, UnwrapReport> {
        self.with_ring(async |ring| ring.unwrap(metadata).await)
    }

    /// The lines about every key, and where was looked for what opens it.
    fn explained(&self, failure: Failure, report: &UnwrapReport) -> Failure {
        let ours = report.to_string();
        let lines = ours.lines().skip(1).map(|it| it.strip_prefix("  ").unwrap_or(it));
        let failure = lines.fold(failure, Failure::detail);
        if !self.local {
            return failure.hint("SOPS_ENABLE_LOCAL_KEYSERVICE is off: no identity of this machine is used");
        }
        let hints = remarks(report).into_iter().chain(self.identities.looked()).chain(self.pgp_hints(report));
        hints.fold(failure, Failure::hint)
    }

    /// Where OpenPGP keys were looked for, if one of them might have helped.
    fn pgp_hints(&self, report: &UnwrapReport) -> Vec<String> {
        let mut keys = report.groups.iter().filter(|it| !it.opened).flat_map(|it| &it.attempts).map(|it| &it.key);
        if !keys.any(|it| it.kind == pgp::KIND.name) {
            return Vec::new();
        }
        let places = self.gnupg.places();
        let looked = format!("looked for OpenPGP keys in LEAFSEAL_PGP_KEY, LEAFSEAL_PGP_KEY_FILE and {places}");
        [looked].into_iter().chain(self.gnupg.hints().into_iter().map(str::to_owned)).collect()
    }

    /// Makes a data key and wraps it to every key in `metadata`. `prefix` and `code` are what SOPS
    /// says if that fails.
    ///
    /// # Errors
    ///
    /// If one key cannot be wrapped to: nothing may be written then.
    pub(crate) fn generate(
        &self,
        metadata: &mut Metadata,
        rng: &mut dyn Rng,
        prefix: &str,
        code: u8,
    ) -> Result<DataKey, Failure> {
        let key = DataKey::generate(rng);
        self.wrap(&key, metadata, rng, prefix, code)?;
        Ok(key)
    }

    /// Wraps a data key that exists.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub(crate) fn wrap(
        &self,
        key: &DataKey,
        metadata: &mut Metadata,
        rng: &mut dyn Rng,
        prefix: &str,
        code: u8,
    ) -> Result<(), Failure> {
        let wrapped = self.with_ring(async |ring| ring.wrap(key, metadata, rng).await);
        wrapped.map_err(|it| error::wrap_key(&it, prefix, code))
    }
}

/// What the services said beside their reasons, each thing once.
fn remarks(report: &UnwrapReport) -> Vec<String> {
    let mut hints = Vec::new();
    for attempt in report.groups.iter().filter(|it| !it.opened).flat_map(|it| &it.attempts) {
        for remark in attempt.answers.iter().flat_map(|(_, it)| it.remarks()) {
            let mut chars = remark.chars();
            let hint: String = chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect();
            if !hint.is_empty() && !remark.starts_with(NOWHERE) && !hints.contains(&hint) {
                hints.push(hint);
            }
        }
    }
    hints
}

/// What SOPS says of parts that do not make a key; `None` if there were just not enough of them.
fn parts_error(report: &UnwrapReport) -> Option<String> {
    let why = match report.error {
        Some(PartsError::Same(..) | PartsError::Rivals(..)) => "duplicate part detected",
        Some(PartsError::Length(..)) => "all parts must be the same length",
        Some(PartsError::TooFew | PartsError::Foreign(_)) => return Some(report.summary()),
        None if report.groups.len() > 1 && report.opened() < 2 && report.opened() >= report.threshold => {
            "less than two parts cannot be used to reconstruct the secret"
        }
        None => return None,
    };
    Some(format!("could not get data key from shamir parts: {why}"))
}

/// The report as SOPS lays it out (spec section 5.4).
fn sops_report(report: &UnwrapReport, local: bool) -> String {
    if let Some(error) = parts_error(report) {
        return error;
    }
    let mut text = "Failed to get the data key required to decrypt the SOPS file.\n\n".to_owned();
    for (n, group) in report.groups.iter().enumerate() {
        if group.opened {
            _ = write!(text, "Group {n}: SUCCESS\n\n");
            continue;
        }
        let keys: Vec<_> = group.attempts.iter().map(|it| indent(&key_report(it, local), "  ")).collect();
        _ = write!(text, "Group {n}: FAILED\n{}\n\n", keys.join("\n\n"));
    }
    let (threshold, opened) = (report.threshold, report.opened());
    text + &wrap(
        &match threshold {
            0 => "Recovery failed because no master key was able to decrypt the file. In order for SOPS to recover \
                  the file, at least one key has to be successful, but none were."
                .to_owned(),
            _ => format!(
                "Recovery failed because the file was encrypted with a Shamir threshold of {threshold}, but only \
                 {opened} part(s) were successfully recovered, one for each successful key group. In order for SOPS \
                 to recover the file, at least {threshold} groups have to be successful. In order for a group to be \
                 successful, decryption has to succeed with any of the keys in that key group."
            ),
        },
        75,
    )
}

/// One block for this machine, whatever it tried.
fn key_report(attempt: &Attempt, local: bool) -> String {
    let reasons = match attempt.answers.as_slice() {
        [] if local => attempt.reason(),
        answers => answers.iter().map(|(_, it)| it.to_string()).collect::<Vec<_>>().join("; "),
    };
    let block = match reasons.as_str() {
        "" => String::new(),
        it => format!("-{}", &indent(&wrap(it, 60), "  | ")[1..]),
    };
    format!("{}: FAILED\n{}", attempt.id(), indent(&block, "  "))
}

fn indent(text: &str, by: &str) -> String {
    let lines: Vec<_> =
        text.split('\n').map(|it| if it.is_empty() { String::new() } else { format!("{by}{it}") }).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use leafseal::keyring::GroupReport;
    use leafseal::keyservice::KeyError;
    use leafseal::metadata::MasterKey;
    use leafseal::tree::Wire;

    use super::*;

    fn failed(id: &str, reasons: &[&str]) -> Attempt {
        let key =
            MasterKey { kind: "age".to_owned(), fields: vec![("recipient".to_owned(), Wire::text(id))], enc: None };
        let answers = reasons.iter().map(|it| ("age".to_owned(), KeyError((*it).to_owned()))).collect();
        Attempt { key, answers }
    }

    fn report(threshold: usize, groups: Vec<Vec<Attempt>>) -> UnwrapReport {
        let group = |attempts: Vec<Attempt>| GroupReport { opened: attempts.is_empty(), attempts };
        UnwrapReport { threshold, groups: groups.into_iter().map(group).collect(), error: None }
    }

    #[test]
    fn the_report_is_laid_out_as_sops_does() {
        let reason = "failed to load age identities\nDid not find keys in locations 'SOPS_AGE_KEY', \
                      'SOPS_AGE_KEY_FILE', and 'SOPS_AGE_KEY_CMD'.";
        let key = "  age1a: FAILED\n    \
                   - | failed to load age identities. Did not find keys in\n      \
                   | locations 'SOPS_AGE_KEY', 'SOPS_AGE_KEY_FILE', and\n      \
                   | 'SOPS_AGE_KEY_CMD'.\n\n";
        let start = "Failed to get the data key required to decrypt the SOPS file.\n\n";
        let end = "Recovery failed because no master key was able to decrypt the file. In\n\
                   order for SOPS to recover the file, at least one key has to be successful,\n\
                   but none were.";
        let text = sops_report(&report(0, vec![vec![failed("age1a", &[reason])]]), true);
        assert_eq!(text, format!("{start}Group 0: FAILED\n{key}{end}"));
        let untried = sops_report(&report(0, vec![vec![failed("age1a", &[])]]), false);
        assert!(untried.contains("  age1a: FAILED\n\n\nRecovery failed"), "{untried}");
        let split = sops_report(&report(3, vec![vec![], vec![failed("age1a", &[reason])], vec![]]), true);
        let end = "Recovery failed because the file was encrypted with a Shamir threshold of\n\
                   3, but only 2 part(s) were successfully recovered, one for each successful\n\
                   key group. In order for SOPS to recover the file, at least 3 groups have to\n\
                   be successful. In order for a group to be successful, decryption has to\n\
                   succeed with any of the keys in that key group.";
        assert_eq!(split, format!("{start}Group 0: SUCCESS\n\nGroup 1: FAILED\n{key}Group 2: SUCCESS\n\n{end}"));
    }

    #[test]
    fn parts_that_do_not_make_a_key_are_told_in_the_words_of_sops() {
        let check = |threshold, error, says: Option<&str>| {
            let report = UnwrapReport { error, ..report(threshold, vec![vec![], vec![failed("age1a", &["no"])]]) };
            let says = says.map(|it| format!("could not get data key from shamir parts: {it}"));
            assert_eq!(parts_error(&report), says);
        };
        check(2, None, None);
        check(1, None, Some("less than two parts cannot be used to reconstruct the secret"));
        check(0, None, Some("less than two parts cannot be used to reconstruct the secret"));
        check(2, Some(PartsError::Same(0, 1)), Some("duplicate part detected"));
        check(2, Some(PartsError::Rivals(0, 1)), Some("duplicate part detected"));
        check(2, Some(PartsError::Length(0, 1)), Some("all parts must be the same length"));
    }

    #[test]
    fn what_explains_a_failure_is_told_once() {
        let nowhere = "no\nDid not find keys in locations 'A', 'B', and 'C'.";
        let broken = "no\nErrors while loading age identities: D is broken\nDid not find keys in location 'A'.\n";
        let attempts = ["age1a", "age1b"].map(|it| failed(it, &[nowhere, broken])).into();
        let hints = remarks(&report(0, vec![attempts]));
        assert_eq!(hints, ["errors while loading age identities: D is broken"]);
    }
}
