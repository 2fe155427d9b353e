//! The command line, defined once for both modes.

pub(crate) mod deferred;
pub(crate) mod dropin;
pub(crate) mod keys;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use deferred::Deferred;
pub(crate) use keys::{AddFlags, GroupFlags, KeyFlags, RemoveFlags};

/// Encrypts, edits and decrypts files in Git.
///
/// A drop-in for SOPS: called as `sops`, or with `--compat sops`, it parses and answers as SOPS does.
#[derive(Debug, Parser)]
#[command(name = "leafseal", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that stand before or after any command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Use this configuration instead of looking for `.sops.yaml`
    #[arg(long, global = true, value_name = "FILE", env = "SOPS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Indent newly made YAML and JSON by so many columns
    #[arg(long, global = true, value_name = "COLUMNS", allow_negative_numbers = true)]
    pub indent: Option<i32>,
    /// Accepted for compatibility
    #[arg(long, global = true, hide = true)]
    pub verbose: bool,
    /// Behave as another program does
    #[arg(long, global = true, value_name = "PROGRAM", env = "LEAFSEAL_COMPAT")]
    pub compat: Option<Compat>,
    /// The command was spelt as flags
    #[arg(long, global = true, hide = true)]
    pub legacy: bool,
}

/// Programs that can be stood in for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Compat {
    /// getsops/sops.
    Sops,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a first identity and a first `.sops.yaml`
    #[command(after_help = "Examples:\n  leafseal init\n  leafseal init path/to/repository")]
    Init(Deferred<Init>),
    /// Encrypt a file for the first time
    #[command(
        after_help = "Examples:\n  leafseal encrypt -i secrets.yaml\n  leafseal encrypt --age age1… secrets.yaml > secrets.enc.yaml\n  leafseal encrypt --filename-override secrets.yaml < secrets.yaml"
    )]
    Encrypt(Deferred<Encrypt>),
    /// Decrypt a file, or one value of it
    #[command(
        after_help = "Examples:\n  leafseal decrypt secrets.yaml\n  leafseal decrypt --extract '[\"database\"][\"password\"]' secrets.yaml\n  leafseal decrypt --output plain.yaml secrets.yaml"
    )]
    Decrypt(Deferred<Decrypt>),
    /// Edit an encrypted file, or a new one, in your editor
    #[command(
        after_help = "Examples:\n  leafseal edit secrets.yaml\n  EDITOR='code --wait' leafseal edit secrets.yaml"
    )]
    Edit(Deferred<Edit>),
    /// Set one value of an encrypted file
    #[command(
        after_help = "Examples:\n  leafseal set secrets.yaml '[\"database\"][\"password\"]'\n  pass show db | jq -Rs . | leafseal set --value-stdin secrets.yaml '[\"database\"][\"password\"]'\n  leafseal set secrets.yaml '[\"ports\"][0]' 5432"
    )]
    Set(Deferred<Set>),
    /// Remove one value from an encrypted file
    #[command(after_help = "Examples:\n  leafseal unset secrets.yaml '[\"database\"][\"password\"]'")]
    Unset(Deferred<Unset>),
    /// Give a file a new data key, and its keys new readers if asked
    #[command(
        after_help = "Examples:\n  leafseal rotate -i secrets.yaml\n  leafseal rotate -i --add-age age1… --rm-age age1… secrets.yaml"
    )]
    Rotate(Deferred<Rotate>),
    /// Give files the readers that `.sops.yaml` names
    #[command(
        after_help = "Examples:\n  leafseal updatekeys secrets.yaml\n  leafseal updatekeys --yes --rotate secrets/*.yaml"
    )]
    Updatekeys(Deferred<Updatekeys>),
    /// Show who can read what, and have files follow `.sops.yaml`
    #[command(
        after_help = "Files that are not encrypted are passed over; symbolic links are not followed. Only `apply` needs\nan identity. A folder called plan or apply is named ./plan or ./apply.\n\nExamples:\n  leafseal recipients\n  leafseal recipients --by-file deploy/\n  leafseal recipients plan --check\n  leafseal recipients apply deploy/"
    )]
    Recipients(Deferred<Recipients>),
    /// Change the key groups of a file, of which enough must open for the file to open
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  leafseal groups add -i --file secrets.yaml --age age1…\n  leafseal groups delete -i --file secrets.yaml 1"
    )]
    Groups(Groups),
    /// Say whether a file is encrypted
    Filestatus(Deferred<Filestatus>),
    /// Print a completion script for a shell
    Completion(Deferred<Completion>),
    /// Write the manual pages
    #[command(hide = true)]
    Man(Deferred<Man>),
}

/// What to take files for.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TypeFlags {
    /// Read the file as yaml, json, dotenv, ini or binary, whatever its name says
    #[arg(long, value_name = "TYPE")]
    pub input_type: Option<String>,
    /// Write yaml, json, dotenv, ini or binary
    #[arg(long, value_name = "TYPE")]
    pub output_type: Option<String>,
}

/// Where the result goes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OutputFlags {
    /// Replace the file instead of writing to stdout
    #[arg(short, long)]
    pub in_place: bool,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Take this name for the type of the file and for creation rules
    #[arg(long, value_name = "NAME")]
    pub filename_override: Option<PathBuf>,
}

/// How the data key is found.
#[derive(Args, Clone, Debug)]
pub(crate) struct UnwrapFlags {
    /// Try kinds of keys in this order
    #[arg(long, value_name = "KINDS", env = "SOPS_DECRYPTION_ORDER")]
    pub decryption_order: Option<String>,
    /// Use the identities of this machine
    #[arg(
        long, env = "SOPS_ENABLE_LOCAL_KEYSERVICE", value_name = "BOOL", hide = true,
        num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true",
        value_parser = dropin::parse_bool,
    )]
    pub enable_local_keyservice: bool,
    /// Ask this key service too
    #[arg(long, value_name = "ADDRESS", env = "SOPS_KEYSERVICE", value_delimiter = ',', hide = true)]
    pub keyservice: Vec<String>,
}

/// What a new file is encrypted to, and which of its values are.
#[derive(Args, Debug)]
pub(crate) struct SealFlags {
    /// The keys.
    #[command(flatten)]
    pub keys: KeyFlags,
    /// Leave values plain whose key, or a key above it, ends so
    #[arg(long, value_name = "SUFFIX")]
    pub unencrypted_suffix: Option<String>,
    /// Encrypt only values whose key, or a key above it, ends so
    #[arg(long, value_name = "SUFFIX")]
    pub encrypted_suffix: Option<String>,
    /// Leave values plain whose key, or a key above it, matches
    #[arg(long, value_name = "REGEX")]
    pub unencrypted_regex: Option<String>,
    /// Encrypt only values whose key, or a key above it, matches
    #[arg(long, value_name = "REGEX")]
    pub encrypted_regex: Option<String>,
    /// Leave values plain that a matching comment precedes
    #[arg(long, value_name = "REGEX")]
    pub unencrypted_comment_regex: Option<String>,
    /// Encrypt only values that a matching comment precedes
    #[arg(long, value_name = "REGEX")]
    pub encrypted_comment_regex: Option<String>,
    /// Let the MAC cover encrypted values only
    #[arg(long)]
    pub mac_only_encrypted: bool,
    /// How many key groups are needed to decrypt
    #[arg(long, value_name = "N")]
    pub shamir_secret_sharing_threshold: Option<usize>,
    /// Encryption context for AWS KMS keys
    #[arg(long, value_name = "KEY:VALUE,…", hide = true)]
    pub encryption_context: Option<String>,
    /// The AWS profile for KMS keys
    #[arg(long, value_name = "PROFILE", hide = true)]
    pub aws_profile: Option<String>,
    /// Go on even if no value would be encrypted
    #[arg(long)]
    pub allow_plaintext: bool,
}

/// `encrypt`.
#[derive(Args, Debug)]
pub(crate) struct Encrypt {
    /// The file; stdin without it
    pub file: Option<PathBuf>,
    /// Where it goes.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What it is.
    #[command(flatten)]
    pub types: TypeFlags,
    /// How it is sealed.
    #[command(flatten)]
    pub seal: SealFlags,
    /// Which services wrap.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `decrypt`.
#[derive(Args, Debug)]
pub(crate) struct Decrypt {
    /// The file; stdin without it
    pub file: Option<PathBuf>,
    /// Print only the value at this place: each key or index in brackets, keys in quotes
    #[arg(long, value_name = "PATH")]
    pub extract: Option<String>,
    /// Read the file even if its MAC is wrong
    #[arg(long)]
    pub ignore_mac: bool,
    /// Where it goes.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What it is.
    #[command(flatten)]
    pub types: TypeFlags,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `edit`.
#[derive(Args, Debug)]
pub(crate) struct Edit {
    /// The file, which need not exist
    pub file: Option<PathBuf>,
    /// Show the metadata too, and let it be edited
    #[arg(short, long)]
    pub show_master_keys: bool,
    /// Read the file even if its MAC is wrong
    #[arg(long)]
    pub ignore_mac: bool,
    /// What it is.
    #[command(flatten)]
    pub types: TypeFlags,
    /// How a new file is sealed.
    #[command(flatten)]
    pub seal: SealFlags,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// What `set` and `unset` share.
#[derive(Args, Debug)]
pub(crate) struct ChangeFlags {
    /// Read the file even if its MAC is wrong
    #[arg(long)]
    pub ignore_mac: bool,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    pub shamir_secret_sharing_threshold: Option<usize>,
    /// What it is.
    #[command(flatten)]
    pub types: TypeFlags,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `set`.
#[derive(Args, Debug)]
pub(crate) struct Set {
    /// The file
    pub file: Option<PathBuf>,
    /// The place: each key or index in brackets, keys in quotes
    pub index: Option<String>,
    /// The value, as JSON; asked for without it
    pub value: Option<String>,
    /// Read the value from a file, which stands in place of it
    #[arg(long)]
    pub value_file: bool,
    /// Read the value from stdin
    #[arg(long)]
    pub value_stdin: bool,
    /// Accepted for compatibility: what changes nothing writes nothing
    #[arg(long, hide = true)]
    pub idempotent: bool,
    /// How the file is read.
    #[command(flatten)]
    pub change: ChangeFlags,
    /// More arguments than there is a use for
    #[arg(hide = true)]
    pub ignored: Vec<String>,
}

/// `unset`.
#[derive(Args, Debug)]
pub(crate) struct Unset {
    /// The file
    pub file: Option<PathBuf>,
    /// The place: each key or index in brackets, keys in quotes
    pub index: Option<String>,
    /// It is no error if nothing is there
    #[arg(long)]
    pub idempotent: bool,
    /// How the file is read.
    #[command(flatten)]
    pub change: ChangeFlags,
    /// More arguments than there is a use for
    #[arg(hide = true)]
    pub ignored: Vec<String>,
}

/// `rotate`.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The file
    pub file: Option<PathBuf>,
    /// Readers to add.
    #[command(flatten)]
    pub add: AddFlags,
    /// Readers to remove.
    #[command(flatten)]
    pub remove: RemoveFlags,
    /// Keep readers that only the file names, without asking
    #[arg(long)]
    pub keep_readers: bool,
    /// Read the file even if its MAC is wrong
    #[arg(long)]
    pub ignore_mac: bool,
    /// Encryption context for AWS KMS keys
    #[arg(long, value_name = "KEY:VALUE,…", hide = true)]
    pub encryption_context: Option<String>,
    /// The AWS profile for KMS keys
    #[arg(long, value_name = "PROFILE", hide = true)]
    pub aws_profile: Option<String>,
    /// Where it goes.
    #[command(flatten)]
    pub output: OutputFlags,
    /// What it is.
    #[command(flatten)]
    pub types: TypeFlags,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `updatekeys`.
#[derive(Args, Debug)]
pub(crate) struct Updatekeys {
    /// The files
    pub files: Vec<PathBuf>,
    /// Do it without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Give each file a new data key as well, so that removed readers are shut out
    #[arg(long)]
    pub rotate: bool,
    /// Read the files as yaml, json, dotenv, ini or binary, whatever their names say
    #[arg(long, value_name = "TYPE")]
    pub input_type: Option<String>,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `recipients`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Recipients {
    /// What to do but show.
    #[command(subcommand)]
    pub action: Option<RecipientsAction>,
    /// Files, and folders to look through
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Show the readers of each file instead of the files of each reader
    #[arg(long)]
    pub by_file: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands below `recipients`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecipientsAction {
    /// Say what `apply` would change: who gains access to which files, and who loses it
    #[command(
        after_help = "With --check, the exit code is 20 if a file has other readers than its rule names, or no rule.\n\nExamples:\n  leafseal recipients plan\n  leafseal recipients plan --check --json deploy/"
    )]
    Plan(RecipientsPlan),
    /// Give files the readers that `.sops.yaml` names, and a new data key where somebody is shut out
    #[command(
        after_help = "Examples:\n  leafseal recipients apply\n  leafseal recipients apply --yes --json deploy/ > applied.json"
    )]
    Apply(RecipientsApply),
}

/// `recipients plan`.
#[derive(Args, Debug)]
pub(crate) struct RecipientsPlan {
    /// Files, and folders to look through
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Exit with 20 if there is something to do
    #[arg(long)]
    pub check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `recipients apply`.
#[derive(Args, Debug)]
pub(crate) struct RecipientsApply {
    /// Files, and folders to look through
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Do it without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Keep the data keys, even those that a reader who is shut out may know
    #[arg(long)]
    pub keep_data_key: bool,
    /// Print JSON
    #[arg(long, requires = "yes")]
    pub json: bool,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `groups`.
#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// Add a key group, and split the data key anew
    #[command(
        after_help = "Examples:\n  leafseal groups add -i --file secrets.yaml --age age1…\n  leafseal groups add -i --file secrets.yaml --age age1…,age1… --shamir-secret-sharing-threshold 2"
    )]
    Add(Deferred<GroupsAdd>),
    /// Delete a key group, and split the data key anew
    #[command(
        after_help = "Examples:\n  leafseal groups delete -i --file secrets.yaml 2\n  leafseal groups delete -i --file secrets.yaml --shamir-secret-sharing-threshold 1 1"
    )]
    Delete(Deferred<GroupsDelete>),
}

/// What both have.
#[derive(Args, Debug)]
pub(crate) struct GroupsFlags {
    /// The file
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Replace the file instead of writing to stdout
    #[arg(short, long)]
    pub in_place: bool,
    /// How many key groups are needed to decrypt from now on
    #[arg(long, value_name = "N")]
    pub shamir_secret_sharing_threshold: Option<usize>,
    /// Keep readers that only the file names, without asking
    #[arg(long)]
    pub keep_readers: bool,
    /// How it is unwrapped.
    #[command(flatten)]
    pub unwrap: UnwrapFlags,
}

/// `groups add`.
#[derive(Args, Debug)]
pub(crate) struct GroupsAdd {
    /// What both have.
    #[command(flatten)]
    pub common: GroupsFlags,
    /// The keys.
    #[command(flatten)]
    pub keys: GroupFlags,
    /// Encryption context for AWS KMS keys
    #[arg(long, value_name = "KEY:VALUE,…", hide = true)]
    pub encryption_context: Option<String>,
    /// The AWS profile for KMS keys
    #[arg(long, value_name = "PROFILE", hide = true)]
    pub aws_profile: Option<String>,
    /// More arguments than there is a use for
    #[arg(hide = true)]
    pub ignored: Vec<String>,
}

/// `groups delete`.
#[derive(Args, Debug)]
pub(crate) struct GroupsDelete {
    /// What both have.
    #[command(flatten)]
    pub common: GroupsFlags,
    /// The number of the group, counted from 0
    pub index: Option<String>,
    /// More arguments than there is a use for
    #[arg(hide = true)]
    pub ignored: Vec<String>,
}

/// `filestatus`.
#[derive(Args, Debug)]
pub(crate) struct Filestatus {
    /// The file
    pub file: Option<PathBuf>,
    /// Read the file as yaml, json, dotenv, ini or binary, whatever its name says
    #[arg(long, value_name = "TYPE")]
    pub input_type: Option<String>,
}

/// `init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// The folder that gets a `.sops.yaml`
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// `completion`.
#[derive(Args, Debug)]
pub(crate) struct Completion {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder to write a page per command to; without it, the main page goes to stdout
    pub folder: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Args as _, CommandFactory as _};

    use super::deferred::narrowed;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_command_reads_the_same_without_the_others() {
        let definition = super::Cli::command();
        for command in definition.get_subcommands() {
            for flag in ["--help", "--bogus"] {
                let argv = ["leafseal", command.get_name(), flag].map(OsString::from);
                let answer = |mut it: clap::Command| it.try_get_matches_from_mut(&argv).map_err(|it| it.to_string());
                let alone = answer(narrowed(&definition, super::Globals::augment_args, &argv)).expect_err("no command");
                assert_eq!(alone, answer(definition.clone()).expect_err("no command"));
            }
        }
    }
}
