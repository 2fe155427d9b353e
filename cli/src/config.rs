//! `.sops.yaml`: found, trusted, read, and asked about a file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use leafseal::format::Layout;
use leafseal::rules::{
    CreationRule, KeyNames, Naming, OverrideError, Overrides, Recipe, RuleError, RulePlace, Rules, subject,
};
use leafseal::scope::Selector;
use zeroize::Zeroizing;

use crate::args::SealFlags;
use crate::edge::SystemClock;
use crate::error::{self, Failure, code, reason};
use crate::files;
use crate::session::Session;
use crate::source::absolute;

/// What a configuration is called.
const NAME: &str = ".sops.yaml";

/// What many take it to be called.
const MISTAKEN: &str = ".sops.yml";

/// How far up SOPS looks.
const MAX_FOLDERS: usize = 100;

/// A configuration that was found and read.
pub(crate) struct Configuration {
    /// Its absolute path.
    pub path: PathBuf,
    /// What it says.
    pub rules: Rules,
    source: Zeroizing<Vec<u8>>,
}

/// The configurations that count for many files: each is read once, and looked for once a folder.
/// Which one counts for a file is for the caller to show; nobody is told that there is another.
pub(crate) struct Configurations<'s> {
    session: &'s Session,
    found: HashMap<PathBuf, Option<PathBuf>>,
    read: HashMap<PathBuf, Option<Rc<Configuration>>>,
    rules: HashMap<(PathBuf, usize), Option<Rc<CreationRule>>>,
    mistaken: HashSet<PathBuf>,
    failures: Vec<Failure>,
}

/// What says who can read a file.
#[derive(Clone)]
pub(crate) enum Counts {
    /// Nothing: there is no configuration.
    Nothing,
    /// This configuration has no rule for it.
    NoRule(Rc<Configuration>),
    /// One that cannot be used; why stands in [`Configurations::failures`].
    Unusable(PathBuf),
    /// The rule with this number.
    Rule(Rc<Configuration>, usize, Rc<CreationRule>),
}

/// How a search went.
#[derive(Debug, Default, Eq, PartialEq)]
struct Search {
    found: Option<PathBuf>,
    mistaken: Option<PathBuf>,
}

/// Looks from `folder` upward.
fn search(folder: &Path, stops: bool) -> Search {
    let mut search = Search::default();
    #[cfg(unix)]
    let device = device_of(folder);
    for folder in folder.ancestors().take(MAX_FOLDERS) {
        #[cfg(unix)]
        if stops && device_of(folder) != device {
            break;
        }
        let path = folder.join(NAME);
        if fs::metadata(&path).is_ok() {
            search.found = Some(path);
            break;
        }
        let mistaken = folder.join(MISTAKEN);
        if search.mistaken.is_none() && fs::metadata(&mistaken).is_ok() {
            search.mistaken = Some(mistaken);
        }
        if stops && folder.join(".git").exists() {
            break;
        }
    }
    search
}

#[cfg(unix)]
fn device_of(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(folder).ok().map(|it| it.dev())
}

/// The search that counts for `file`: from the working directory upward (drop-in mode) or from the file
/// upward, as far as the repository or the mount point goes.
fn search_for(session: &Session, file: &Path) -> Result<Search, Failure> {
    match &session.config {
        Some(path) => Ok(Search { found: Some(path.clone()), mistaken: None }),
        None => search_as(session.is_drop_in(), session, file),
    }
}

/// The search that the other mode makes.
fn other_search(session: &Session, file: &Path) -> Result<Search, Failure> {
    match &session.config {
        Some(_) => Ok(Search::default()),
        None => search_as(!session.is_drop_in(), session, file),
    }
}

fn search_as(as_sops: bool, session: &Session, file: &Path) -> Result<Search, Failure> {
    Ok(match as_sops {
        true => search(&absolute(Path::new("."))?, !session.is_drop_in()),
        false => search(file.parent().unwrap_or(Path::new("/")), true),
    })
}

/// The configuration whose rules count for `file`: the one that was named, else the first one found.
///
/// # Errors
///
/// If one is found that somebody else can write (guarantee C7).
pub(crate) fn find(session: &Session, file: &Path) -> Result<Option<PathBuf>, Failure> {
    let (ours, other) = (search_for(session, file)?, other_search(session, file)?);
    if let Some(mistaken) = &ours.mistaken {
        warn_of_name(session, mistaken, ours.found.as_deref());
    }
    if let (Some(found), Some(other)) = (&ours.found, &other.found)
        && fs::canonicalize(found).ok() != fs::canonicalize(other).ok()
    {
        session.warn(&format!("using {} and not {}", found.display(), other.display()));
    }
    if let (Some(found), None) = (&ours.found, &session.config) {
        trusted(found, file)?;
    }
    Ok(ours.found)
}

fn warn_of_name(session: &Session, mistaken: &Path, found: Option<&Path>) {
    let mut text = format!(
        "ignoring {:?} when searching for config file; the config file must be called \"{NAME}\"",
        mistaken.display().to_string()
    );
    if let Some(found) = found {
        text += &format!("; using {:?} instead", found.display().to_string());
    }
    session.warn(&text);
}

/// Refuses a configuration that a user other than the caller, root or the owner of `file` owns or
/// can write: it decides who can read what is encrypted.
#[cfg(unix)]
fn trusted(config: &Path, file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(meta) = fs::metadata(config) else { return Ok(()) };
    let caller = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(file).map(|it| it.uid()).ok();
    let why = if meta.uid() != 0 && meta.uid() != caller && Some(meta.uid()) != owner {
        "it belongs to another user"
    } else if meta.mode() & 0o002 != 0 {
        "every user can write it"
    } else if meta.mode() & 0o020 != 0 && meta.gid() != 0 && meta.gid() != rustix::process::getegid().as_raw() {
        "a group of users can write it"
    } else {
        return Ok(());
    };
    Err(Failure::new(code::GENERIC, format!("this configuration is not used: {why}"))
        .at_path(config)
        .hint("it decides who can read your secrets: take that permission away, or name it with --config"))
}

#[cfg(not(unix))]
fn trusted(_config: &Path, _file: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Reads the configuration whose rules count for `file`, if there is one.
///
/// # Errors
///
/// If it cannot be read or used.
pub(crate) fn load(session: &Session, file: &Path) -> Result<Option<Configuration>, Failure> {
    find(session, file)?.map(read).transpose()
}

/// A configuration that cannot be read stops every command of SOPS, also those that have no use for
/// its rules (spec section 7.1). In our own mode it does not.
///
/// # Errors
///
/// In drop-in mode, if there is one and it cannot be read.
pub(crate) fn must_be_readable(session: &Session, file: &Path) -> Result<(), Failure> {
    if session.is_drop_in()
        && let Some(path) = search_for(session, file)?.found
    {
        read(path)?;
    }
    Ok(())
}

fn read(path: PathBuf) -> Result<Configuration, Failure> {
    let source = files::read(&path).map_err(|it| {
        let call = if it.kind() == std::io::ErrorKind::IsADirectory { "read" } else { "open" };
        Failure::new(code::GENERIC, format!("cannot read the configuration: {}", reason(&it)))
            .at_path(&path)
            .sops(format!("could not read config file: {call} {}: {}", path.display(), reason(&it)))
    })?;
    let rules = Rules::parse(&source).map_err(|it| error::explain(rule_failure(&path, &it), &source))?;
    Ok(Configuration { path: absolute(&path)?, rules, source })
}

fn rule_failure(path: &Path, error: &RuleError) -> Failure {
    let whole = ["error loading config", "can not compile", "Could not"].iter().any(|it| error.message.starts_with(it));
    let sops = if whole { error.message.clone() } else { format!("error loading config: {error}") };
    let place = match error.line {
        0 => path.display().to_string(),
        line => format!("{}:{line}", path.display()),
    };
    Failure::new(code::GENERIC, error::plain_words(&error.message)).at(place).sops(sops)
}

impl<'s> Configurations<'s> {
    /// Looks for nothing before somebody asks.
    pub(crate) fn new(session: &'s Session) -> Self {
        let (found, read, rules) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { session, found, read, rules, mistaken: HashSet::new(), failures: Vec::new() }
    }

    /// The configuration for a file, which is absolute: as [`load`], but one that cannot be used is a
    /// failure once and no configuration.
    pub(crate) fn of(&mut self, file: &Path) -> Option<Rc<Configuration>> {
        let path = self.find(file)?;
        if !self.read.contains_key(&path) {
            let read = read(path.clone()).and_then(|it| {
                let checked = it.rules.check().map_err(|why| rule_failure(&path, &why));
                checked.map(|()| Rc::new(it))
            });
            let read = read.map_err(|it| self.failures.push(it)).ok();
            self.read.insert(path.clone(), read);
        }
        let known = self.read.get_mut(&path)?;
        if known.is_some()
            && self.session.config.is_none()
            && let Err(failure) = trusted(&path, file)
        {
            self.failures.push(failure);
            *known = None;
        }
        known.clone()
    }

    /// What counts for a file, which is absolute.
    pub(crate) fn counts(&mut self, file: &Path) -> Counts {
        let Some(path) = self.find(file) else { return Counts::Nothing };
        let Some(configuration) = self.of(file) else { return Counts::Unusable(path) };
        let Some(number) = configuration.place_of_rule(file).map(|it| it.number) else {
            return Counts::NoRule(configuration);
        };
        let rule = self.rules.entry((path.clone(), number)).or_insert_with(|| match configuration.rule_for(file) {
            Ok(it) => it.map(Rc::new),
            Err(failure) => {
                self.failures.push(failure);
                None
            }
        });
        match rule {
            Some(rule) => Counts::Rule(configuration, number, Rc::clone(rule)),
            None => Counts::Unusable(path),
        }
    }

    /// Why configurations or rules cannot be used, each once.
    pub(crate) fn failures(self) -> Vec<Failure> {
        self.failures
    }

    fn find(&mut self, file: &Path) -> Option<PathBuf> {
        if let Some(path) = &self.session.config {
            return Some(path.clone());
        }
        let folder = file.parent().unwrap_or(Path::new("/"));
        if let Some(known) = self.found.get(folder) {
            return known.clone();
        }
        let Search { found, mistaken } = search(folder, true);
        if let Some(mistaken) = mistaken
            && self.mistaken.insert(mistaken.clone())
        {
            warn_of_name(self.session, &mistaken, found.as_deref());
        }
        self.found.insert(folder.to_owned(), found.clone());
        found
    }
}

impl Configuration {
    /// What the keys in it are called.
    pub(crate) fn names(&self) -> KeyNames {
        KeyNames::parse(&self.source)
    }

    /// Which rule is the first for `file`, which is absolute.
    pub(crate) fn place_of_rule(&self, file: &Path) -> Option<RulePlace<'_>> {
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        self.rules.place_of_rule(subject(&file.to_string_lossy(), folder.trim_end_matches('/')))
    }

    /// As [`layout`], of this configuration.
    pub(crate) fn layout(&self, session: &Session, format: &str) -> Layout {
        match session.indent {
            None => self.rules.stores().layout(format),
            indent => Layout { indent },
        }
    }

    /// The first rule for `file`, which is absolute. `None` if there are no rules at all.
    ///
    /// # Errors
    ///
    /// If no rule matches, or the one that does cannot be used.
    pub(crate) fn rule_for(&self, file: &Path) -> Result<Option<CreationRule>, Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let file = file.to_string_lossy();
        let subject = subject(&file, folder.trim_end_matches('/'));
        let naming = Naming { clock: &SystemClock, kms_context: &[], aws_profile: "" };
        self.rules.rule_for(subject, &naming).map_err(|it| {
            let failure = rule_failure(&self.path, &it);
            match it.message.contains("no matching creation rules found") {
                true => {
                    failure.hint(format!("path_regex is searched in {subject:?}; a rule without one fits every file"))
                }
                false => failure,
            }
        })
    }
}

/// How newly made text in `format` is laid out: as `--indent` says, else as `stores:` says.
/// Decrypting does not depend on the rules, so a configuration that cannot be used is only told.
pub(crate) fn layout(session: &Session, file: &Path, format: &str) -> Layout {
    if session.indent.is_some() {
        return Layout { indent: session.indent };
    }
    let config = search_for(session, file).and_then(|it| it.found.map(read).transpose());
    match config {
        Ok(config) => config.map(|it| it.layout(session, format)).unwrap_or_default(),
        Err(failure) => {
            session.warn(failure.reason(session.mode));
            Layout::default()
        }
    }
}

/// How a new file is sealed: what the command line says, over what the creation rule says.
///
/// # Errors
///
/// If nothing names a key, or both name selectors that exclude each other.
pub(crate) fn recipe(
    session: &Session,
    config: Option<&Configuration>,
    file: &Path,
    format: &str,
    flags: &SealFlags,
) -> Result<Recipe, Failure> {
    let rule = match config {
        Some(config) => config.rule_for(file)?,
        None => None,
    };
    let overrides = Overrides {
        keys: flags.keys.keys()?,
        selectors: selectors(flags)?,
        shamir_threshold: flags.shamir_secret_sharing_threshold.unwrap_or(0),
        mac_only_encrypted: flags.mac_only_encrypted,
    };
    let recipe = rule.unwrap_or_default().override_with(overrides, format == "binary").map_err(|it| match it {
        OverrideError::Conflict => Failure::new(code::CONFLICT, "only one selector can be used in a file")
            .sops(format!("Error: {it}"))
            .hint("a flag replaces a selector of the creation rule only if it is of the same sort"),
        OverrideError::NoKeys => Failure::new(code::GENERIC, "nothing says who can read the file")
            .sops(it.to_string())
            .hint("name a recipient with --age, or in a .sops.yaml; `leafseal init` makes a first one"),
    })?;
    for field in &recipe.ignored {
        session.warn(&format!(
            "Using an {} does not make sense with the input store (the {format} store produces one key that should \
             always be encrypted) and will be ignored.",
            field.replace('_', " ")
        ));
    }
    Ok(recipe)
}

/// The selectors that flags name.
fn selectors(flags: &SealFlags) -> Result<Vec<Selector>, Failure> {
    let given = [
        ("unencrypted_suffix", &flags.unencrypted_suffix),
        ("encrypted_suffix", &flags.encrypted_suffix),
        ("unencrypted_regex", &flags.unencrypted_regex),
        ("encrypted_regex", &flags.encrypted_regex),
        ("unencrypted_comment_regex", &flags.unencrypted_comment_regex),
        ("encrypted_comment_regex", &flags.encrypted_comment_regex),
    ];
    let named = given.into_iter().filter_map(|(field, text)| {
        let selector = Selector::from_field(field, text.as_deref()?)?;
        let flag = || format!("--{}", field.replace('_', "-"));
        Some(selector.map_err(|it| Failure::new(code::GENERIC, it.to_string()).at(flag())))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::session::Mode;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("there is room for tests");
        fs::write(path, "creation_rules: []\n").expect("there is room for tests");
    }

    fn session(mode: Mode) -> Session {
        Session { mode, config: None, indent: None, legacy: false }
    }

    #[test]
    fn the_nearest_configuration_is_found() {
        let folder = tempfile::tempdir().expect("there is room for tests");
        let root = folder.path();
        touch(&root.join(".sops.yaml"));
        touch(&root.join("a/b/x.yaml"));
        assert_eq!(search(&root.join("a/b"), true).found, Some(root.join(".sops.yaml")));
        touch(&root.join("a/.sops.yaml"));
        assert_eq!(search(&root.join("a/b"), true).found, Some(root.join("a/.sops.yaml")));
    }

    #[test]
    fn the_search_ends_at_the_repository_unless_sops_would_go_on() {
        let folder = tempfile::tempdir().expect("there is room for tests");
        let root = folder.path();
        touch(&root.join(".sops.yaml"));
        fs::create_dir_all(root.join("repo/.git")).expect("there is room for tests");
        fs::create_dir_all(root.join("repo/sub")).expect("there is room for tests");
        assert_eq!(search(&root.join("repo/sub"), true).found, None);
        assert_eq!(search(&root.join("repo/sub"), false).found, Some(root.join(".sops.yaml")));
        touch(&root.join("repo/.sops.yaml"));
        assert_eq!(search(&root.join("repo/sub"), true).found, Some(root.join("repo/.sops.yaml")));
    }

    #[test]
    fn a_configuration_under_another_name_is_noticed() {
        let folder = tempfile::tempdir().expect("there is room for tests");
        touch(&folder.path().join(".sops.yml"));
        let search = search(folder.path(), true);
        assert_eq!(search.mistaken, Some(folder.path().join(".sops.yml")));
    }

    #[test]
    fn a_configuration_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().expect("there is room for tests");
        let (config, file) = (folder.path().join(".sops.yaml"), folder.path().join("a.yaml"));
        touch(&config);
        for (mode, trusted) in [(0o600, true), (0o644, true), (0o666, false), (0o602, false)] {
            fs::set_permissions(&config, fs::Permissions::from_mode(mode)).expect("it is ours");
            assert_eq!(find(&session(Mode::Leafseal), &file).is_ok(), trusted, "{mode:o}");
        }
        let named = Session { config: Some(config.clone()), ..session(Mode::Leafseal) };
        assert_eq!(find(&named, &file).expect("it was named"), Some(config));
    }

    #[test]
    fn a_configuration_that_is_missing_is_named_as_sops_names_it() {
        let named = Session { config: Some("nope.yaml".into()), ..session(Mode::DropIn) };
        let failure = load(&named, Path::new("/a.yaml")).err().expect("it is not there");
        let text = failure.render(Mode::DropIn);
        assert!(text.starts_with("could not read config file: open nope.yaml: no such file or directory\n"), "{text}");
    }
}
