//! The keyring of this machine, and what is said when it opens nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use leafseal::edge::Rng;
use leafseal::keyring::{Attempt, UnwrapReport};
use leafseal::keyservice::age::{self, Age};
use leafseal::keyservice::pgp::{self, Pgp};
use leafseal::keyservice::{KeyKind, KeyService};
use leafseal::metadata::{KeyGroup, Metadata};
use leafseal::{DataKey, Keyring};

use crate::age_plugin::Plugins;
use crate::args::UnwrapFlags;
use crate::edge::SystemClock;
use crate::env;
use crate::error::{self, Failure, code, wrap};
use crate::gpg::{GnuPg, Unattended};
use crate::identities::Identities;
use crate::pgp_keys::{Passphrase, PgpKeys};
use crate::prompt::Terminal;
use crate::ui;

/// Everything that can wrap and unwrap here. A key service of another kind is one more field.
pub(crate) struct Keys {
    age: Age,
    pgp: Pgp,
    gnupg: GnuPg,
    local: bool,
    order: Option<Vec<String>>,
}

impl Keys {
    /// Takes the flags. No identity is looked for before one is needed.
    ///
    /// # Errors
    ///
    /// If the order names a kind twice (exit 112), or a remote key service is named.
    pub(crate) fn new(flags: &UnwrapFlags) -> Result<Self, Failure> {
        let order = flags.decryption_order.as_deref().filter(|it| !it.is_empty());
        let order: Option<Vec<String>> = order.map(|it| it.split(',').map(ToOwned::to_owned).collect());
        for (at, kind) in order.iter().flatten().enumerate() {
            if order.iter().flatten().take(at).any(|it| it == kind) {
                return Err(Failure::new(code::ORDER, format!("{kind} stands in the order of decryption twice"))
                    .sops(format!("Duplicate decryption key type: {kind}")));
            }
        }
        if flags.keyservice.iter().any(|it| !it.is_empty()) {
            return Err(Failure::new(code::GENERIC, "remote key services are not supported yet")
                .hint("they are named by --keyservice or by the environment variable SOPS_KEYSERVICE"));
        }
        let age = Age::new(Identities::new(env::var)).with_prompt(Terminal).with_plugins(Plugins);
        let pgp_keys = Arc::new(PgpKeys::new(env::var));
        let gnupg = GnuPg::new(Arc::clone(&pgp_keys), &env::var);
        let pgp = Pgp::new(pgp_keys, SystemClock).with_prompt(Passphrase::new(env::var));
        let pgp = pgp.with_warnings(|it| ui::warn(crate::mode(), it));
        Ok(Self { age, pgp, gnupg, local: flags.enable_local_keyservice, order })
    }

    fn ring<'a>(&'a self, unattended: &'a Unattended<'a>) -> Keyring<'a> {
        let services: Vec<&dyn KeyService> = match self.local {
            true => vec![&self.age, &self.pgp, unattended, &self.gnupg],
            false => Vec::new(),
        };
        let ring = Keyring::new(services);
        match &self.order {
            Some(order) => ring.with_order(order.clone()),
            None => ring,
        }
    }

    /// Gets the data key of a file that is called `label`.
    ///
    /// # Errors
    ///
    /// Exit 128, with what became of every key.
    pub(crate) fn unwrap(&self, label: &str, metadata: &Metadata) -> Result<DataKey, Failure> {
        pollster::block_on(self.ring(&Unattended(&self.gnupg)).unwrap(metadata)).map_err(|report| {
            let ours = report.to_string();
            let mut lines = ours.lines();
            let failure = Failure::new(code::NO_KEY, lines.next().unwrap_or_default()).at(label);
            let failure = lines
                .fold(failure, |failure, line| failure.detail(line.strip_prefix("  ").unwrap_or(line)))
                .sops(sops_report(&report, metadata.shamir_threshold, self.local));
            self.hints(&report).into_iter().fold(failure, Failure::hint)
        })
    }

    /// Says where was looked, for the kinds of keys that the file has.
    fn hints(&self, report: &UnwrapReport) -> Vec<String> {
        let has = |kind: &KeyKind| report.groups.iter().flatten().any(|it| it.key.kind == kind.name);
        let mut hints = Vec::new();
        if !has(&pgp::KIND) || has(&age::KIND) {
            hints.push(
                "an identity is looked for in SOPS_AGE_KEY, SOPS_AGE_KEY_FILE and the other places named above"
                    .to_owned(),
            );
        }
        if has(&pgp::KIND) {
            hints.push(format!(
                "an OpenPGP key is looked for in LEAFSEAL_PGP_KEY, LEAFSEAL_PGP_KEY_FILE and {}",
                self.gnupg.places()
            ));
            hints.extend(self.gnupg.hints().into_iter().map(str::to_owned));
        }
        hints
    }

    /// Makes a data key and wraps it to every key of `groups`. `prefix` and `code` are what SOPS
    /// says if that fails.
    ///
    /// # Errors
    ///
    /// If one key cannot be wrapped to: nothing may be written then.
    pub(crate) fn generate(
        &self,
        groups: &mut [KeyGroup],
        rng: &mut dyn Rng,
        prefix: &str,
        code: u8,
    ) -> Result<DataKey, Failure> {
        let key = DataKey::generate(rng);
        self.wrap(&key, groups, prefix, code)?;
        Ok(key)
    }

    /// Wraps a data key that exists.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub(crate) fn wrap(&self, key: &DataKey, groups: &mut [KeyGroup], prefix: &str, code: u8) -> Result<(), Failure> {
        pollster::block_on(self.ring(&Unattended(&self.gnupg)).wrap(key, groups))
            .map_err(|it| error::wrap_key(&it, prefix, code))
    }
}

/// The report as SOPS lays it out (spec section 5.4).
fn sops_report(report: &UnwrapReport, threshold: usize, local: bool) -> String {
    let mut text = "Failed to get the data key required to decrypt the SOPS file.\n\n".to_owned();
    let mut opened = 0;
    for (n, group) in report.groups.iter().enumerate() {
        // Groups that opened have no attempts that failed to tell of.
        if group.is_empty() && threshold > 0 {
            opened += 1;
            _ = write!(text, "Group {n}: SUCCESS\n\n");
            continue;
        }
        let keys: Vec<_> = group.iter().map(|it| indent(&key_report(it, local), "  ")).collect();
        _ = write!(text, "Group {n}: FAILED\n{}\n\n", keys.join("\n\n"));
    }
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

fn key_report(attempt: &Attempt, local: bool) -> String {
    let reasons: Vec<_> = match attempt.answers.as_slice() {
        [] if local => vec![attempt.reason()],
        answers => answers.iter().map(|(_, it)| it.to_string()).collect(),
    };
    let blocks: Vec<_> = reasons.iter().map(|it| format!("-{}", &indent(&wrap(it, 60), "  | ")[1..])).collect();
    format!("{}: FAILED\n{}", attempt.id(), indent(&blocks.join("\n\n"), "  "))
}

fn indent(text: &str, by: &str) -> String {
    let lines: Vec<_> =
        text.split('\n').map(|it| if it.is_empty() { String::new() } else { format!("{by}{it}") }).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use leafseal::keyservice::KeyError;
    use leafseal::metadata::MasterKey;
    use leafseal::tree::Wire;

    use super::*;

    #[test]
    fn the_report_is_laid_out_as_sops_does() {
        let key = |id: &str| MasterKey {
            kind: "age".to_owned(),
            fields: vec![("recipient".to_owned(), Wire::text(id))],
            enc: None,
        };
        let reason = "failed to load age identities. Did not find keys in locations 'SOPS_AGE_KEY', 'SOPS_AGE_KEY_FILE', \
                      and 'SOPS_AGE_KEY_CMD'.";
        let failed = Attempt { key: key("age1a"), answers: vec![("age".to_owned(), KeyError(reason.to_owned()))] };
        let report = UnwrapReport { groups: vec![vec![failed]] };
        let text = "Failed to get the data key required to decrypt the SOPS file.\n\n\
                    Group 0: FAILED\n  \
                    age1a: FAILED\n    \
                    - | failed to load age identities. Did not find keys in\n      \
                    | locations 'SOPS_AGE_KEY', 'SOPS_AGE_KEY_FILE', and\n      \
                    | 'SOPS_AGE_KEY_CMD'.\n\n\
                    Recovery failed because no master key was able to decrypt the file. In\n\
                    order for SOPS to recover the file, at least one key has to be successful,\n\
                    but none were.";
        assert_eq!(sops_report(&report, 0, true), text);
        let untried = UnwrapReport { groups: vec![vec![Attempt { key: key("age1a"), answers: Vec::new() }]] };
        assert!(sops_report(&untried, 0, false).contains("  age1a: FAILED\n\n\nRecovery failed"));
    }
}
