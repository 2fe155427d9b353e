//! The flags that name master keys: one for each kind there is, and those of SOPS that have no kind yet.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use leafseal::keyservice::{KINDS, KeyKind};
use leafseal::metadata::MasterKey;
use leafseal::rules::{Naming, named};

use crate::edge::SystemClock;
use crate::error::{Failure, code};

/// SOPS's flag for a kind of key: its name, its letter, its variable, in SOPS's order of keys in a
/// group (spec section 7.3).
struct Spelling {
    flag: &'static str,
    short: Option<char>,
    env: &'static str,
}

const SPELLINGS: &[Spelling] = &[
    Spelling { flag: "kms", short: Some('k'), env: "SOPS_KMS_ARN" },
    Spelling { flag: "gcp-kms", short: None, env: "SOPS_GCP_KMS_IDS" },
    Spelling { flag: "hckms", short: None, env: "SOPS_HUAWEICLOUD_KMS_IDS" },
    Spelling { flag: "azure-kv", short: None, env: "SOPS_AZURE_KEYVAULT_URLS" },
    Spelling { flag: "hc-vault-transit", short: None, env: "SOPS_VAULT_URIS" },
    Spelling { flag: "pgp", short: Some('p'), env: "SOPS_PGP_FP" },
    Spelling { flag: "age", short: Some('a'), env: "SOPS_AGE_RECIPIENTS" },
];

/// Every flag with what it means: SOPS's first, then kinds that SOPS does not have.
fn flags() -> impl Iterator<Item = (Spelling, Option<&'static KeyKind>)> {
    let kind = |flag: &str| KINDS.iter().copied().find(|it| it.flag == flag);
    let known = SPELLINGS.iter().map(move |it| (Spelling { ..*it }, kind(it.flag)));
    let ours = KINDS.iter().copied().filter(|kind| !SPELLINGS.iter().any(|it| it.flag == kind.flag));
    known.chain(ours.map(|kind| (Spelling { flag: kind.flag, short: None, env: kind.env }, Some(kind))))
}

/// What stands before the name of a kind.
trait Prefix {
    const PREFIX: &'static str;
    const WITH_ENV: bool;
    const HELP: &'static str;
}

/// Flags with a prefix, and what they were given.
#[derive(Debug)]
struct Named<P> {
    values: Vec<(&'static str, String)>,
    prefix: std::marker::PhantomData<P>,
}

impl<P: Prefix> Named<P> {
    fn augment(mut cmd: Command) -> Command {
        for (spelling, kind) in flags() {
            let name = format!("{}{}", P::PREFIX, spelling.flag);
            let mut arg = Arg::new(name.clone())
                .long(name)
                .value_name("ID,…")
                .action(ArgAction::Append)
                .hide(kind.is_none())
                .help(format!("{} {}", spelling.flag, P::HELP));
            if P::WITH_ENV {
                arg = arg.env(spelling.env);
                if let Some(short) = spelling.short {
                    arg = arg.short(short);
                }
            }
            cmd = cmd.arg(arg);
        }
        cmd
    }

    fn from_matches(matches: &ArgMatches) -> Self {
        let values = flags().flat_map(|(spelling, _)| {
            let name = format!("{}{}", P::PREFIX, spelling.flag);
            let given: Vec<String> = matches.get_many(&name).map(|it| it.cloned().collect()).unwrap_or_default();
            given.into_iter().filter(|it| !it.is_empty()).map(move |it| (spelling.flag, it))
        });
        Self { values: values.collect(), prefix: std::marker::PhantomData }
    }

    /// The keys, in SOPS's order.
    fn keys(&self) -> Result<Vec<MasterKey>, Failure> {
        let mut keys = Vec::new();
        for (flag, ids) in &self.values {
            let kind = flags().find(|(it, _)| it.flag == *flag).and_then(|(_, kind)| kind);
            let Some(kind) = kind else {
                let what = format!("keys of the kind {flag} are not supported yet");
                let env = SPELLINGS.iter().find(|it| it.flag == *flag).map_or("", |it| it.env);
                let failure = Failure::new(code::GENERIC, what);
                return Err(match P::WITH_ENV {
                    true => failure.hint(format!("they are named by --{flag} or by the environment variable {env}")),
                    false => failure.hint(format!("they are named by --{}{flag}", P::PREFIX)),
                });
            };
            let naming = Naming { clock: &SystemClock, kms_context: &[], aws_profile: "" };
            keys.extend(named(kind.name, ids, &naming).map_err(|it| Failure::new(code::GENERIC, it))?);
        }
        Ok(keys)
    }
}

macro_rules! flag_set {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $env:literal, $help:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name(Named<$name>);

        impl Prefix for $name {
            const PREFIX: &'static str = $prefix;
            const WITH_ENV: bool = $env;
            const HELP: &'static str = $help;
        }

        impl $name {
            /// The keys that were named, in SOPS's order.
            ///
            /// # Errors
            ///
            /// If one is of a kind that is not supported, or cannot identify a key.
            pub(crate) fn keys(&self) -> Result<Vec<MasterKey>, Failure> {
                self.0.keys()
            }
        }

        impl Args for $name {
            fn augment_args(cmd: Command) -> Command {
                Named::<$name>::augment(cmd)
            }

            fn augment_args_for_update(cmd: Command) -> Command {
                Named::<$name>::augment(cmd)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(Named::from_matches(matches)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

flag_set!(
    /// `--age` and the like: the keys of a new file.
    KeyFlags, "", true, "keys that can read the file"
);
flag_set!(
    /// `--age` and the like: the keys of a new group. No variable names these.
    GroupFlags, "", false, "keys of which each opens the new group"
);
flag_set!(
    /// `--add-age` and the like.
    AddFlags, "add-", false, "keys that can read the file from now on"
);
flag_set!(
    /// `--rm-age` and the like.
    RemoveFlags, "rm-", false, "keys that can no longer read the file"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> KeyFlags {
        let matches =
            KeyFlags::augment_args(Command::new("x")).try_get_matches_from(args).expect("the flags are known");
        KeyFlags::from_arg_matches(&matches).expect("the flags are known")
    }

    #[test]
    fn every_flag_of_sops_is_understood_and_a_kind_that_is_missing_is_named() {
        assert!(parse(&["x"]).keys().expect("there is none").is_empty());
        let failure = parse(&["x", "--kms", "arn:aws:kms:x"]).keys().expect_err("there is no such kind");
        let text = failure.render(crate::session::Mode::Leafseal);
        assert!(text.starts_with("error: keys of the kind kms are not supported yet\n"), "{text}");
        assert!(text.contains("SOPS_KMS_ARN"), "{text}");
    }

    #[test]
    fn every_kind_has_a_flag() {
        for kind in KINDS {
            assert!(flags().any(|(it, found)| it.flag == kind.flag && found.is_some()), "{}", kind.name);
        }
    }
}
