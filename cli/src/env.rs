//! Every environment variable that is read, and the one place that reads them.

use std::ffi::OsString;

/// The variables and what they say, in alphabetical order. The reference page is made from this.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("APPDATA", "On Windows: the folder that `sops\\age\\keys.txt` lies in"),
    ("EDITOR", "The editor, if `SOPS_EDITOR` does not name one"),
    ("GNUPGHOME", "GnuPG's directory, instead of `.gnupg` in the home directory"),
    (
        "GPG_AGENT_INFO",
        "The socket of the gpg-agent that remembers passphrases, up to a colon, instead of the usual one; empty for none",
    ),
    ("HOME", "The home directory: `.gnupg`, `.ssh` and, below `.config`, `sops/age/keys.txt` lie in it"),
    ("LEAFSEAL_COMPAT", "`sops` to be parsed and answered as SOPS does"),
    ("LEAFSEAL_GNUPG_HOMES", "More directories as GnuPG has them, to look for keys in, separated as in `PATH`"),
    (
        "LEAFSEAL_GPG_TIMEOUT",
        "How many seconds a passphrase prompt of gpg-agent may stay open, and `gpg` may run (300)",
    ),
    ("LEAFSEAL_PGP_CERT_FILE", "Files of OpenPGP certificates to encrypt to, separated as in `PATH`"),
    ("LEAFSEAL_PGP_KEY", "Exported OpenPGP secret keys, in armour"),
    ("LEAFSEAL_PGP_KEY_FILE", "Files of exported OpenPGP secret keys, separated as in `PATH`"),
    ("LEAFSEAL_PGP_PASSPHRASE_FILE", "A file whose first line is the passphrase of these keys; `/dev/fd/3` is one too"),
    ("PATH", "Where editors, commands, age plugins and `gpg` are looked for"),
    ("SOPS_AGE_KEY", "age identities, with white space between them"),
    ("SOPS_AGE_KEY_CMD", "A command that prints age identities; it finds the recipient in `SOPS_AGE_RECIPIENT`"),
    ("SOPS_AGE_KEY_FILE", "A file of age identities, one a line"),
    ("SOPS_AGE_RECIPIENTS", "age recipients for a new file, instead of those of the creation rule"),
    (
        "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
        "A command that prints an SSH private key; it finds the recipient in `SOPS_AGE_RECIPIENT`",
    ),
    ("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "An SSH private key to use as an age identity"),
    ("SOPS_CONFIG", "The configuration to use instead of looking for `.sops.yaml`"),
    ("SOPS_DECRYPTION_ORDER", "The kinds of keys in the order in which they are tried"),
    ("SOPS_EDITOR", "The editor, with its arguments"),
    ("SOPS_ENABLE_LOCAL_KEYSERVICE", "`false` to use no identity of this machine"),
    ("SOPS_GPG_EXEC", "The program to use for OpenPGP keys, instead of gpg-agent and `gpg`"),
    ("SOPS_PGP_FP", "Fingerprints of OpenPGP keys for a new file, instead of those of the creation rule"),
    ("TMPDIR", "Where scratch space is made if none is in memory"),
    ("USERPROFILE", "On Windows: the home directory"),
    ("XDG_CONFIG_HOME", "The folder that `sops/age/keys.txt` lies in, instead of the usual one"),
    ("XDG_RUNTIME_DIR", "Where scratch space is made, if it is in memory; the socket of gpg-agent may lie in it too"),
];

/// Reads a variable; an empty one is there.
pub(crate) fn var(name: &str) -> Option<OsString> {
    debug_assert!(VARIABLES.iter().any(|(it, _)| *it == name), "{name} is not documented");
    std::env::var_os(name)
}

/// Reads a variable that belongs to another program, or that a file names.
#[cfg(unix)]
pub(crate) fn any(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The names of the variables that are set for us, and may hold secrets: no matter for a program
/// that outlives us.
#[cfg(unix)]
pub(crate) fn ours() -> impl Iterator<Item = OsString> {
    let is_ours =
        |it: &OsString| ["SOPS_", "LEAFSEAL_"].iter().any(|start| it.as_encoded_bytes().starts_with(start.as_bytes()));
    std::env::vars_os().map(|(name, _)| name).filter(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_something() {
        assert!(VARIABLES.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(VARIABLES.iter().all(|(_, about)| !about.is_empty()));
        assert_eq!(var("HOME"), std::env::var_os("HOME"));
    }
}
