//! Every environment variable that is read, and the one place that reads them.

use std::ffi::OsString;

/// The variables and what they say, in alphabetical order. The reference page is made from this.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("APPDATA", "On Windows: the folder that `sops\\age\\keys.txt` lies in"),
    ("HOME", "The home directory: `.ssh` and, below `.config`, `sops/age/keys.txt` lie in it"),
    ("SOPS_AGE_KEY", "age identities, with white space between them"),
    ("SOPS_AGE_KEY_CMD", "A command that prints age identities; it finds the recipient in `SOPS_AGE_RECIPIENT`"),
    ("SOPS_AGE_KEY_FILE", "A file of age identities, one a line"),
    (
        "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
        "A command that prints an SSH private key; it finds the recipient in `SOPS_AGE_RECIPIENT`",
    ),
    ("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "An SSH private key to use as an age identity"),
    ("USERPROFILE", "On Windows: the home directory"),
    ("XDG_CONFIG_HOME", "The folder that `sops/age/keys.txt` lies in, instead of the usual one"),
];

/// Reads a variable; an empty one is there.
pub(crate) fn var(name: &str) -> Option<OsString> {
    debug_assert!(VARIABLES.iter().any(|(it, _)| *it == name), "{name} is not documented");
    std::env::var_os(name)
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
