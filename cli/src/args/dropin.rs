//! Arguments as SOPS parses them (urfave/cli v1 over Go's `flag`), rewritten as we spell them.
//!
//! The flags are those of the one definition in [`super`]; only the grammar differs (spec section 8.1).

use std::cell::LazyCell;
use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};

use super::deferred::defined;
use crate::error::{Failure, code};

/// The commands of SOPS. Any other first word is a file.
const COMMANDS: &[&str] = &[
    "completion",
    "exec-env",
    "exec-file",
    "publish",
    "keyservice",
    "filestatus",
    "groups",
    "updatekeys",
    "decrypt",
    "encrypt",
    "rotate",
    "edit",
    "set",
    "unset",
];

/// The commands that take one file and warn about more.
const ONE_FILE: &[&str] = &["decrypt", "encrypt", "rotate", "edit"];

/// The flags in place of a command, in the order in which SOPS runs them: the last one wins.
const LEGACY: &[(&str, &[&str])] =
    &[("encrypt", &["encrypt", "e"]), ("decrypt", &["decrypt", "d"]), ("rotate", &["rotate", "r"])];

/// Flags before a command that reach it; SOPS ignores the others there.
const INHERITED: &[&str] = &["config", "verbose", "indent", "mac-only-encrypted"];

/// What a command line of SOPS asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To run this, after these warnings.
    Run {
        /// The arguments as we spell them, program name first.
        argv: Vec<OsString>,
        /// To be shown first.
        warnings: Vec<String>,
    },
    /// To see the help of a command, or of the program.
    Help(Option<String>),
    /// To see the version.
    Version,
    /// Nothing that makes sense: the usage is shown, then the reason.
    Usage {
        /// The command that was called.
        command: Option<String>,
        /// What is wrong, in Go's words.
        message: String,
    },
    /// Something that is refused.
    Refused(Failure),
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Takes {
    Nothing,
    Text,
    Number,
}

struct Flag {
    /// The long name first.
    names: Vec<String>,
    takes: Takes,
    appends: bool,
}

/// A flag as it was given: the long name, the name that was used, the value.
struct Given {
    name: String,
    used: String,
    value: Option<OsString>,
}

struct Parsed {
    given: Vec<Given>,
    rest: Vec<OsString>,
}

enum Stop {
    Help,
    Wrong(String),
}

/// Reads `args`, which do not hold the program's name. Not every answer needs the definition.
pub(crate) fn parse(cmd: &LazyCell<Command, impl FnOnce() -> Command>, args: &[OsString]) -> Asked {
    let globals = match parse_flags(&program_flags(), args) {
        // Most command lines have no flag in front that is a command's.
        Err(Stop::Wrong(_)) => parse_flags(&root_flags(cmd), args),
        other => other,
    };
    let globals = match globals {
        Ok(it) => it,
        Err(Stop::Help) => return Asked::Help(None),
        Err(Stop::Wrong(message)) => return Asked::Usage { command: None, message },
    };
    if globals.has("version") {
        return Asked::Version;
    }
    let word = globals.rest.first().and_then(|it| it.to_str());
    match word {
        Some("help" | "h") => Asked::Help(globals.rest.get(1).and_then(|it| it.to_str()).map(ToOwned::to_owned)),
        Some(name) if COMMANDS.contains(&name) => match defined(cmd, name) {
            Some(command) if command.has_subcommands() => {
                let word = globals.rest.get(1).and_then(|it| it.to_str());
                match word.and_then(|word| Some((word, defined(&command, word)?))) {
                    Some((word, command)) => subcommand(&command, &[name, word], &globals),
                    None => match word.filter(|it| !it.starts_with('-') && *it != "h") {
                        Some(word) => Asked::Refused(
                            Failure::new(code::GENERIC, format!("{name} has no command {word:?}"))
                                .sops(format!("No help topic for '{word}'"))
                                .hint(format!("see `help {name}`")),
                        ),
                        None => Asked::Help(Some(name.to_owned())),
                    },
                }
            }
            Some(command) => subcommand(&command, &[name], &globals),
            None => Asked::Refused(Failure::new(code::GENERIC, format!("the command `{name}` is not supported yet"))),
        },
        _ => legacy(cmd, &globals),
    }
}

/// True if `args` are spelt the old way, as in `-d FILE`, so that our own mode can read them too.
pub(crate) fn is_legacy(args: &[OsString]) -> bool {
    let mut flags = args.iter().filter_map(|it| it.to_str()).take_while(|it| it.starts_with('-'));
    flags.any(|it| {
        let name = it.trim_start_matches('-').split('=').next().unwrap_or_default();
        name == "set" || LEGACY.iter().any(|(_, names)| names.contains(&name))
    })
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("could not parse {text} as bool value: strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// `words` are what the command is called: two for a command of a command.
fn subcommand(command: &Command, words: &[&str], globals: &Parsed) -> Asked {
    let name = words.join(" ");
    let flags = command.get_arguments().filter_map(|arg| {
        // Only there do flags for keys add up.
        let adds_up = words[0] == "groups" && matches!(arg.get_action(), ArgAction::Append);
        flag(arg).map(|it| Flag { appends: it.appends || adds_up, ..it })
    });
    let flags = with_help(flags.collect());
    let parsed = match parse_flags(&flags, &reorder(&flags, &globals.rest[words.len()..])) {
        Ok(it) => it,
        Err(Stop::Help) => return Asked::Help(Some(name)),
        Err(Stop::Wrong(message)) => return Asked::Usage { command: Some(name), message },
    };
    let known = |it: &&Given| flags.iter().any(|flag| flag.names[0] == it.name);
    let inherited = globals.given.iter().filter(|it| INHERITED.contains(&it.name.as_str()));
    let inherited = inherited.filter(|it| it.name != "mac-only-encrypted" || known(it));
    let mut argv: Vec<OsString> = vec!["leafseal".into()];
    argv.extend(words.iter().map(Into::into));
    argv.extend(spell(inherited, &flags));
    argv.extend(spell(parsed.given.iter(), &flags));
    let (files, warnings) = match ONE_FILE.contains(&words[0]) {
        true => first_only(&parsed.rest),
        false => (parsed.rest.as_slice(), Vec::new()),
    };
    argv.push("--".into());
    argv.extend_from_slice(files);
    Asked::Run { argv, warnings }
}

fn legacy(cmd: &Command, globals: &Parsed) -> Asked {
    let (files, mut warnings) = first_only(&globals.rest);
    let set = globals.given.iter().rev().find(|it| it.name == "set").and_then(|it| it.value.as_ref());
    let set = set.filter(|it| !it.is_empty());
    let asked: Vec<_> = LEGACY.iter().map(|(name, _)| *name).filter(|it| globals.has(it)).collect();
    if asked.len() + usize::from(set.is_some()) > 1 {
        warnings.push(
            "More than one command (--encrypt, --decrypt, --rotate, --set) has been specified. Only the changes made \
             by the last one will be visible. Note that this behavior is deprecated and will cause an error eventually."
                .to_owned(),
        );
    }
    let name = if set.is_some() { "set" } else { asked.last().copied().unwrap_or("edit") };
    let command = defined(cmd, name).expect("the commands that SOPS has flags for are defined");
    let flags: Vec<_> = command.get_arguments().filter_map(flag).collect();
    let known = |it: &&Given| flags.iter().any(|flag| flag.names[0] == it.name);
    let shared = |it: &&Given| ["config", "indent", "verbose"].contains(&it.name.as_str());
    let mut argv: Vec<OsString> = ["leafseal".into(), name.into(), "--legacy".into()].into();
    argv.extend(spell(globals.given.iter().filter(|it| known(it) || shared(it)), &root_flags(cmd)));
    argv.push("--".into());
    argv.extend_from_slice(files);
    if let (Some(set), [_]) = (set, files) {
        // SOPS: main.go, extractSetArguments.
        let Some((index, value)) = set.to_str().and_then(|it| it.find("] ").map(|at| it.split_at(at + 1))) else {
            return Asked::Refused(
                Failure::new(code::SET, "--set takes a path and a value, as in '[\"key\"] \"value\"'")
                    .sops("Invalid --set format"),
            );
        };
        argv.extend([index.into(), value[1..].into()]);
    } else if name == "set" && files.is_empty() {
        return Asked::Refused(Failure::new(code::NO_FILE, "no file specified").sops("Error: no file specified"));
    }
    Asked::Run { argv, warnings }
}

/// The first positional argument, and what SOPS says about the others.
fn first_only(rest: &[OsString]) -> (&[OsString], Vec<String>) {
    let mut warnings = Vec::new();
    if rest.len() > 1 {
        warnings.push("More than one positional argument provided. Only the first one will be used!".to_owned());
        let looks = |it: &&OsString| it.to_str().is_some_and(|it| it.starts_with('-'));
        if let Some(flag) = rest[1..].iter().find(looks) {
            warnings.push(format!(
                "Note that one of the ignored positional argument is {flag:?}, which looks like a flag. Flags must \
                 always be provided before the first positional argument!"
            ));
        }
    }
    (&rest[..rest.len().min(1)], warnings)
}

/// The flags that are no command's, and those in place of a command.
fn program_flags() -> Vec<Flag> {
    let bare =
        |names: &[&str], takes| Flag { names: names.iter().map(|&it| it.to_owned()).collect(), takes, appends: false };
    let mut flags: Vec<_> = LEGACY.iter().map(|(_, names)| bare(names, Takes::Nothing)).collect();
    flags.push(bare(&["set"], Takes::Text));
    flags.push(bare(&["config"], Takes::Text));
    flags.push(bare(&["indent"], Takes::Number));
    for name in ["verbose", "check-for-updates", "disable-version-check"] {
        flags.push(bare(&[name], Takes::Nothing));
    }
    flags.push(bare(&["version", "v"], Takes::Nothing));
    with_help(flags)
}

/// Every flag that may stand before a command, or in place of one.
fn root_flags(cmd: &Command) -> Vec<Flag> {
    let mut flags = program_flags();
    for name in ONE_FILE {
        let command = defined(cmd, name).expect("these commands are defined");
        for flag in command.get_arguments().filter_map(flag) {
            if !flags.iter().any(|it| it.names[0] == flag.names[0]) {
                flags.push(flag);
            }
        }
    }
    flags
}

fn with_help(mut flags: Vec<Flag>) -> Vec<Flag> {
    flags.push(Flag { names: vec!["help".to_owned(), "h".to_owned()], takes: Takes::Nothing, appends: false });
    flags
}

/// A flag of the definition; `None` for a positional argument, or one that stands anywhere.
fn flag(arg: &Arg) -> Option<Flag> {
    let stands_anywhere = arg.is_global_set() || matches!(arg.get_action(), ArgAction::Help);
    if arg.is_positional() || stands_anywhere {
        return None;
    }
    let mut names = vec![arg.get_long()?.to_owned()];
    names.extend(arg.get_short().map(String::from));
    let bare = matches!(arg.get_action(), ArgAction::SetTrue) || arg.is_require_equals_set();
    let takes = match names[0].as_str() {
        _ if bare => Takes::Nothing,
        "shamir-secret-sharing-threshold" => Takes::Number,
        _ => Takes::Text,
    };
    // In SOPS, of `--age A --age B` the last one counts; only key services add up.
    Some(Flag { appends: names[0] == "keyservice", names, takes })
}

/// The name of the flag that `arg` spells, if it spells one of `flags`.
fn names_flag<'f>(flags: &'f [Flag], arg: &OsStr) -> Option<&'f Flag> {
    let text = arg.to_str()?;
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let name = name.split('=').next().unwrap_or_default();
    flags.iter().find(|it| it.names.iter().any(|it| it == name))
}

/// Moves flags to the front as urfave/cli does, with its habit of taking along whatever follows a
/// flag, even one that takes nothing.
fn reorder(flags: &[Flag], args: &[OsString]) -> Vec<OsString> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut may_be_value = false;
    for (at, arg) in args.iter().enumerate() {
        if arg == "--" {
            second.insert(0, arg.clone());
            second.extend_from_slice(&args[at + 1..]);
            break;
        }
        if names_flag(flags, arg).is_some() {
            may_be_value = !arg.to_string_lossy().contains('=');
            first.push(arg.clone());
        } else if std::mem::take(&mut may_be_value) {
            first.push(arg.clone());
        } else {
            second.push(arg.clone());
        }
    }
    first.append(&mut second);
    first
}

/// Parses as Go's `flag` does: up to the first argument that is no flag.
fn parse_flags(flags: &[Flag], args: &[OsString]) -> Result<Parsed, Stop> {
    let mut given: Vec<Given> = Vec::new();
    let mut args = args.iter();
    let mut rest = Vec::new();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str().filter(|it| it.len() > 1 && it.starts_with('-')) else {
            rest.push(arg.clone());
            break;
        };
        if text == "--" {
            break;
        }
        let body = text.strip_prefix("--").unwrap_or(&text[1..]);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Stop::Wrong(format!("bad flag syntax: {text}")));
        }
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        let Some(flag) = names_flag(flags, arg) else {
            return Err(Stop::Wrong(format!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.takes, value) {
            (Takes::Nothing, None) => None,
            (Takes::Nothing, Some(value)) => match parse_bool(value) {
                Ok(it) => Some(it.to_string().into()),
                Err(_) => {
                    return Err(Stop::Wrong(format!("invalid boolean value {value:?} for -{name}: parse error")));
                }
            },
            (_, Some(value)) => Some(value.into()),
            (_, None) => match args.next() {
                Some(value) => Some(value.clone()),
                None => return Err(Stop::Wrong(format!("flag needs an argument: -{name}"))),
            },
        };
        if let (Takes::Number, Some(value)) = (flag.takes, &value)
            && value.to_str().is_none_or(|it| it.parse::<i64>().is_err())
        {
            return Err(Stop::Wrong(format!("invalid value {value:?} for flag -{name}: parse error")));
        }
        given.push(Given { name: flag.names[0].clone(), used: name.to_owned(), value });
    }
    rest.extend(args.cloned());
    let parsed = Parsed { given, rest };
    if parsed.has("help") {
        return Err(Stop::Help);
    }
    for flag in flags {
        if let [long, short] = flag.names.as_slice() {
            let used = |name: &str| parsed.given.iter().any(|it| it.used == *name);
            if used(long) && used(short) {
                return Err(Stop::Wrong(format!("Cannot use two forms of the same flag: {short} {long}")));
            }
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn has(&self, name: &str) -> bool {
        let last = self.given.iter().rev().find(|it| it.name == name);
        last.is_some_and(|it| it.value.as_ref().is_none_or(|it| it != "false"))
    }
}

/// Spells flags our way: the last of each, as `--name=value`.
fn spell<'g>(given: impl Iterator<Item = &'g Given>, flags: &[Flag]) -> Vec<OsString> {
    let given: Vec<_> = given.collect();
    let mut argv = Vec::new();
    for (at, it) in given.iter().enumerate() {
        let flag = flags.iter().find(|flag| flag.names[0] == it.name);
        let again = given[at + 1..].iter().any(|later| later.name == it.name);
        if again && !flag.is_some_and(|it| it.appends) {
            continue;
        }
        let mut text = OsString::from(format!("--{}", it.name));
        match (&it.value, it.name.as_str()) {
            (None, _) => {}
            (Some(value), "enable-local-keyservice") => {
                text.push("=");
                text.push(value);
            }
            (Some(value), _) if flag.is_some_and(|it| it.takes == Takes::Nothing) => {
                if value == "false" {
                    continue;
                }
            }
            // To SOPS, an empty value is the same as none.
            (Some(value), _) if value.is_empty() && it.name != "extract" => continue,
            (Some(value), _) => {
                text.push("=");
                text.push(value);
            }
        }
        argv.push(text);
    }
    argv
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    const TWO: &str = "More than one positional argument provided. Only the first one will be used!";

    /// What `line`, split at blanks, asks for, on one line.
    fn ask(line: &str) -> String {
        let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        match parse(&LazyCell::new(Cli::command), &args) {
            Asked::Run { argv, warnings } => {
                let argv: Vec<_> = argv[1..].iter().map(|it| it.to_string_lossy()).collect();
                format!("{}{}", argv.join(" "), " !".repeat(warnings.len()))
            }
            Asked::Help(command) => format!("help {}", command.unwrap_or_default()),
            Asked::Version => "version".to_owned(),
            Asked::Usage { message, .. } => format!("usage: {message}"),
            Asked::Refused(failure) => format!("refused: {}", failure.reason(crate::session::Mode::DropIn)),
        }
    }

    #[test]
    fn arguments_are_read_as_sops_reads_them() {
        for (line, asked) in [
            ("", "edit --legacy --"),
            ("f.yaml", "edit --legacy -- f.yaml"),
            ("bogus", "edit --legacy -- bogus"),
            ("init", "edit --legacy -- init"),
            ("-d f", "decrypt --legacy -- f"),
            ("--d f", "decrypt --legacy -- f"),
            ("-decrypt f", "decrypt --legacy -- f"),
            ("-e -a X f", "encrypt --legacy --age=X -- f"),
            ("-e -i --age=X f", "encrypt --legacy --in-place --age=X -- f"),
            ("-r -i f", "rotate --legacy --in-place -- f"),
            ("-r --add-age X f", "rotate --legacy --add-age=X -- f"),
            ("-s f", "edit --legacy --show-master-keys -- f"),
            ("-di f", "usage: flag provided but not defined: -di"),
            ("-d=false f", "edit --legacy -- f"),
            ("-d --output o --output-type json f", "decrypt --legacy --output=o --output-type=json -- f"),
            // L40, L05, L35.
            ("-e -d f", "decrypt --legacy -- f !"),
            ("-d f --extract X", "decrypt --legacy -- f ! !"),
            ("--bogus", "usage: flag provided but not defined: -bogus"),
            ("---x", "usage: bad flag syntax: ---x"),
            ("--indent x f", "usage: invalid value \"x\" for flag -indent: parse error"),
            ("decrypt --bogus f", "usage: flag provided but not defined: -bogus"),
            ("decrypt --ignore-mac=foo f", "usage: invalid boolean value \"foo\" for -ignore-mac: parse error"),
            ("encrypt --age", "usage: flag needs an argument: -age"),
            ("-k a --kms b -e f", "usage: Cannot use two forms of the same flag: k kms"),
            ("--age b -a a -e f", "usage: Cannot use two forms of the same flag: a age"),
            // L04.
            ("encrypt f.yaml -i --age R1", "encrypt --in-place --age=R1 -- f.yaml"),
            ("encrypt -i f.yaml --age R1", "encrypt --in-place -- f.yaml ! !"),
            ("encrypt --in-place=x f", "usage: invalid boolean value \"x\" for -in-place: parse error"),
            ("decrypt f.yaml --extract [\"a\"]", "decrypt --extract=[\"a\"] -- f.yaml"),
            ("decrypt --extract=[\"a\"] f.yaml", "decrypt --extract=[\"a\"] -- f.yaml"),
            ("decrypt n.yaml b.env", "decrypt -- n.yaml !"),
            ("decrypt p.yaml -- --extract y", "decrypt -- p.yaml ! !"),
            ("decrypt -- p.yaml --extract y", "decrypt -- p.yaml ! !"),
            ("decrypt", "decrypt --"),
            ("decrypt --help", "help decrypt"),
            ("decrypt f --help", "help decrypt"),
            ("help decrypt", "help decrypt"),
            ("-h", "help "),
            ("--version --disable-version-check", "version"),
            ("-v", "version"),
            ("set f [\"a\"] -1", "set -- f [\"a\"] -1"),
            ("set f --idempotent [\"a\"] 1", "set --idempotent -- [\"a\"] f 1"),
            ("set --value-file n.yaml [\"x\"] v.json", "set --value-file -- n.yaml [\"x\"] v.json"),
            ("unset --idempotent n.yaml [\"zz\"]", "unset --idempotent -- n.yaml [\"zz\"]"),
            ("--set [\"a\"][\"b\"] n.yaml", "refused: Invalid --set format"),
            ("updatekeys -y a b", "updatekeys --yes -- a b"),
            ("rotate -i --add-age A --rm-age B f", "rotate --in-place --add-age=A --rm-age=B -- f"),
            // Flags before a command are ignored, but for four.
            ("--age X encrypt f", "encrypt -- f"),
            ("--ignore-mac decrypt f", "decrypt -- f"),
            ("--indent 2 decrypt f", "decrypt --indent=2 -- f"),
            ("--verbose decrypt f", "decrypt --verbose -- f"),
            ("--config c encrypt f", "encrypt --config=c -- f"),
            ("--mac-only-encrypted encrypt f", "encrypt --mac-only-encrypted -- f"),
            ("--mac-only-encrypted decrypt f", "decrypt -- f"),
            ("decrypt --config c f", "usage: flag provided but not defined: -config"),
            ("--enable-local-keyservice=false -d f", "decrypt --legacy --enable-local-keyservice=false -- f"),
            ("decrypt --enable-local-keyservice f", "decrypt --enable-local-keyservice -- f"),
            ("encrypt --age A --age B f", "encrypt --age=B -- f"),
            ("groups", "help groups"),
            ("groups h", "help groups"),
            ("groups bogus", "refused: No help topic for 'bogus'"),
            ("groups add --help", "help groups add"),
            ("groups add -f f --age A --age B", "groups add --file=f --age=A --age=B --"),
            ("groups add -i -f f --age A x", "groups add --in-place --file=f --age=A -- x"),
            ("groups delete 2 -i -f f", "groups delete --in-place --file=f -- 2"),
            ("groups delete -f f -1", "usage: flag provided but not defined: -1"),
            ("groups delete -f f -f g 1", "groups delete --file=g -- 1"),
            ("publish f", "refused: the command `publish` is not supported yet"),
        ] {
            assert_eq!(ask(line), asked, "{line}");
        }
    }

    #[test]
    fn the_old_way_to_set_is_split_after_the_path() {
        let args = ["--set".into(), "[\"flow\"][\"x\"] \"new value\"".into(), "n.yaml".into()];
        let Asked::Run { argv, .. } = parse(&LazyCell::new(Cli::command), &args) else { panic!("it is a command") };
        let argv: Vec<_> = argv.iter().map(|it| it.to_str().expect("it is ASCII")).collect();
        assert_eq!(argv[1..], ["set", "--legacy", "--", "n.yaml", "[\"flow\"][\"x\"]", "\"new value\""]);
    }

    #[test]
    fn ignored_arguments_are_named() {
        let args = ["-d".into(), "f".into(), "--extract".into(), "X".into()];
        let Asked::Run { warnings, .. } = parse(&LazyCell::new(Cli::command), &args) else { panic!("it is a command") };
        assert_eq!(warnings[0], TWO);
        assert!(warnings[1].starts_with(
            "Note that one of the ignored positional argument is \"--extract\", which looks like a flag. Flags must always"
        ));
    }

    #[test]
    fn every_rewritten_line_is_one_we_accept() {
        for line in ["-d f", "-e -a X f", "set f [\"a\"] -1", "--indent 2 decrypt f", "updatekeys -y a b", "f"] {
            let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            let Asked::Run { argv, .. } = parse(&LazyCell::new(Cli::command), &args) else { panic!("{line}") };
            Cli::command().try_get_matches_from(argv).expect(line);
        }
    }

    #[test]
    fn the_old_spelling_is_recognised() {
        for (line, legacy) in
            [("-d f", true), ("--config c -e f", false), ("-i -d f", true), ("decrypt -d", false), ("--set=x f", true)]
        {
            let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            assert_eq!(is_legacy(&args), legacy, "{line}");
        }
    }
}
