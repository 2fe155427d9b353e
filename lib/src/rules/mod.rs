//! `.sops.yaml`: what to do with a new file at a path.

mod keys;
mod names;

use std::sync::LazyLock;

use crate::format::{self, Layout, ParseError, ParseErrorKind};
use crate::key_path::{KeyPath, Step};
use crate::metadata::{KeyGroup, MasterKey, SELECTORS};
use crate::pattern::{Pattern, PatternError};
use crate::scope::{SELECTOR_FIELDS, Scope, Selector};
use crate::tree::{Tree, Wire};
use crate::value::Value;

pub use keys::{Naming, named};
pub use names::KeyNames;

/// A parsed configuration. Its text was read by the caller.
#[derive(Debug)]
pub struct Rules {
    /// `None` if there is no such entry, which is not the same as an empty one.
    creation: Option<Vec<Rule>>,
    destinations: Vec<DestinationRule>,
    stores: Stores,
}

/// What one creation rule asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreationRule {
    /// The keys, not yet wrapped to.
    pub groups: Vec<KeyGroup>,
    /// Zero if the rule does not say.
    pub shamir_threshold: usize,
    /// `None` if the rule has no selector.
    pub selector: Option<Selector>,
    /// As in the rule.
    pub mac_only_encrypted: bool,
}

/// Which rule it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RulePlace<'r> {
    /// The first is number one.
    pub number: usize,
    /// `None` if it fits every file.
    pub path_regex: Option<&'r str>,
}

/// What the command line says about a new file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The keys that flags or the environment name. If there are any, they replace all groups.
    pub keys: Vec<MasterKey>,
    /// The selectors that flags name. Each replaces the rule's selector of the same sort.
    pub selectors: Vec<Selector>,
    /// Zero if no flag says.
    pub shamir_threshold: usize,
    /// The flag of that name.
    pub mac_only_encrypted: bool,
}

/// What a new file gets: rule and command line together.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The keys, not yet wrapped to.
    pub groups: Vec<KeyGroup>,
    /// Zero if nobody says.
    pub shamir_threshold: usize,
    /// Which leaves are encrypted.
    pub scope: Scope,
    /// The selectors that make no sense for a file with a single value and were passed over.
    pub ignored: Vec<&'static str>,
}

/// Rule and command line that do not go together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OverrideError {
    /// The rule and a flag name selectors of different sorts (exit 8).
    #[error("cannot use more than one of {SELECTORS} in the same file")]
    Conflict,
    /// Neither names a key (exit 1).
    #[error("config file not found, or has no creation rules, and no keys provided through command line options")]
    NoKeys,
}

/// Where `publish` takes a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The place.
    pub target: Target,
    /// The object's name is the file's without its ending.
    pub omit_extensions: bool,
    /// What the copy is encrypted with.
    pub recreation: CreationRule,
}

/// A place that files are published to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `s3_bucket`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the names of objects begin with.
        prefix: String,
    },
    /// `gcs_bucket`.
    Gcs {
        /// The bucket.
        bucket: String,
        /// What the names of objects begin with.
        prefix: String,
    },
    /// `vault_path`.
    Vault {
        /// The address; empty if the environment says.
        address: String,
        /// The path below the mount.
        path: String,
        /// The mount; empty for the usual one.
        mount: String,
        /// The version of the KV engine; zero for the usual one.
        version: i64,
    },
}

/// The layouts that `stores:` asks for, by format name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stores {
    /// Format name (`yaml`, `json`, `json_binary`) and its indentation.
    pub indent: Vec<(String, i32)>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong, in SOPS's words where it has some.
    pub message: String,
    /// The line of the configuration; zero if unknown.
    pub line: usize,
}

impl Rules {
    /// Reads the first document of a configuration. Only shapes are checked, so that what needs
    /// nothing but [`Rules::stores`] works whatever the rules say; see [`Rules::check`].
    ///
    /// # Errors
    ///
    /// If the text is not YAML, or an entry is not of its type.
    pub fn parse(source: &[u8]) -> Result<Self, RuleError> {
        let yaml = format::named("yaml").expect("YAML is one of the formats");
        let refused = |error: ParseError| RuleError {
            message: format!("error loading config: Could not unmarshal config file: {error}"),
            line: error.line,
        };
        let tree = match yaml.parse(source) {
            Err(error) if error.kind == ParseErrorKind::Empty => {
                return Self::from_wire(&Wire::Map(Vec::new()), &|_| 0);
            }
            tree => tree.map_err(refused)?,
        };
        let Some(document) = tree.documents().first() else {
            return Self::from_wire(&Wire::Map(Vec::new()), &|_| 0);
        };
        let wire = yaml.wire(&tree, document.root).map_err(refused)?;
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', tree.source().as_bytes()).collect();
        Self::from_wire(&wire, &|path| line_of(&tree, &ends, path))
    }

    /// As [`Rules::parse`], from a document that is parsed already. `line` says where the entry at a
    /// path stands, and zero if nobody knows.
    ///
    /// # Errors
    ///
    /// See [`Rules::parse`].
    pub fn from_wire(wire: &Wire, line: &dyn Fn(&KeyPath) -> usize) -> Result<Self, RuleError> {
        let root = Part { wire: Some(wire), at: KeyPath::default(), line }.map("config.configFile")?;
        let creation = root.get("creation_rules");
        let rules = creation.list("[]config.creationRule")?;
        let rules = rules.iter().enumerate().map(|(at, it)| Rule::read(it, &format!("creation rule {}", at + 1)));
        let rules = rules.collect::<Result<_, _>>()?;
        let destinations = root.get("destination_rules").list("[]config.destinationRule")?;
        let destinations = destinations.iter().enumerate().map(|(at, it)| DestinationRule::read(it, at + 1));
        Ok(Self {
            creation: (!creation.is_null()).then_some(rules),
            destinations: destinations.collect::<Result<_, _>>()?,
            stores: Stores::read(&root.get("stores"))?,
        })
    }

    /// Checks that every pattern of every rule compiles (guarantee A1). What uses rules asks first.
    ///
    /// # Errors
    ///
    /// The first pattern that does not: the error names its field, its rule and the character.
    pub fn check(&self) -> Result<(), RuleError> {
        let creation = self.creation.iter().flatten();
        let destinations = self.destinations.iter();
        for rule in creation.chain(destinations.clone().map(|it| &it.recreation)) {
            rule.check()?;
        }
        destinations.map(|it| &it.path).try_for_each(checked)
    }

    /// The first creation rule for a file. `path` is relative to the folder of the configuration
    /// where the file lies below it, else absolute: see [`subject`].
    ///
    /// `Ok(None)` if the configuration has no creation rules at all.
    ///
    /// # Errors
    ///
    /// If a pattern of any rule does not compile, if no rule matches, or if the matching rule's keys
    /// cannot be used.
    pub fn rule_for(&self, path: &str, naming: &Naming<'_>) -> Result<Option<CreationRule>, RuleError> {
        self.check()?;
        let Some(rules) = &self.creation else {
            return Ok(None);
        };
        match rules.iter().find(|it| matches(&it.path, path)) {
            Some(rule) => rule.resolve(naming).map(Some),
            None => Err(RuleError::new("error loading config: no matching creation rules found", 0)),
        }
    }

    /// The place of the first creation rule for a file, whether its keys can be used or not.
    pub fn place_of_rule(&self, path: &str) -> Option<RulePlace<'_>> {
        let mut rules = self.creation.iter().flatten().enumerate();
        rules.find(|(_, it)| matches(&it.path, path)).map(|(at, it)| RulePlace {
            number: at + 1,
            path_regex: it.path.as_ref().and_then(|it| it.as_ref().ok()).map(Pattern::as_str),
        })
    }

    /// The first destination rule for a file. `path` is what the user typed.
    ///
    /// # Errors
    ///
    /// As for [`Rules::rule_for`]; also if the rule names no destination, or several.
    pub fn destination_for(&self, path: &str, naming: &Naming<'_>) -> Result<Destination, RuleError> {
        self.check()?;
        let rule = self.destinations.iter().find(|it| matches(&it.path, path));
        let rule =
            rule.ok_or_else(|| RuleError::new("error loading config: no matching destination found in config", 0))?;
        let target = match rule.targets.as_slice() {
            [target] => target.clone(),
            [] => return Err(RuleError::new("no destination configured for this file", rule.recreation.line)),
            _ => {
                let message = "error loading config: more than one destinations were found in a single destination \
                               rule, you can only use one per rule";
                return Err(RuleError::new(message, rule.recreation.line));
            }
        };
        let recreation = rule.recreation.resolve(naming)?;
        Ok(Destination { target, omit_extensions: rule.omit_extensions, recreation })
    }

    /// The layouts asked for.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }
}

impl CreationRule {
    /// Puts what the command line says over the rule, or over the default if there is no rule.
    /// `single_value` says that the file is one value, which is always encrypted (spec section 7.3).
    ///
    /// # Errors
    ///
    /// See [`OverrideError`].
    pub fn override_with(self, flags: Overrides, single_value: bool) -> Result<Recipe, OverrideError> {
        let Overrides { keys, mut selectors, shamir_threshold, mac_only_encrypted } = flags;
        let name = |it: &Selector| it.field().map(|(name, _)| name);
        if let Some(selector) = self.selector
            && selectors.iter().all(|it| name(it) != name(&selector))
        {
            selectors.push(selector);
        }
        let mut ignored = Vec::new();
        if single_value {
            // SOPS does not mention the one that never changes anything.
            let names = selectors.iter().filter_map(name);
            ignored.extend(names.filter(|it| *it != "unencrypted_comment_regex"));
            selectors = vec![Selector::All];
        }
        if selectors.len() > 1 {
            return Err(OverrideError::Conflict);
        }
        let groups = if keys.is_empty() { self.groups } else { vec![KeyGroup(keys)] };
        if groups.is_empty() {
            return Err(OverrideError::NoKeys);
        }
        Ok(Recipe {
            groups,
            shamir_threshold: if shamir_threshold == 0 { self.shamir_threshold } else { shamir_threshold },
            scope: Scope {
                selector: selectors.pop().unwrap_or_default(),
                mac_only_encrypted: !single_value && (mac_only_encrypted || self.mac_only_encrypted),
            },
            ignored,
        })
    }
}

impl Stores {
    /// The layout of a format; that of `json_binary` for the stored form of binary files.
    pub fn layout(&self, format: &str) -> Layout {
        let name = if format == "binary" { "json_binary" } else { format };
        Layout { indent: self.indent.iter().find(|(it, _)| it == name).map(|(_, it)| *it) }
    }

    fn read(part: &Part<'_>) -> Result<Self, RuleError> {
        let stores = part.map("config.StoresConfig")?;
        let mut indent = Vec::new();
        for (name, go_type) in [
            ("yaml", "config.YAMLStoreConfig"),
            ("json", "config.JSONStoreConfig"),
            ("json_binary", "config.JSONBinaryStoreConfig"),
        ] {
            let part = stores.get(name).map(go_type)?.get("indent");
            let columns = part.integer()?;
            if !part.is_null() {
                let columns = i32::try_from(columns).map_err(|_| part.unfit("int"))?;
                indent.push((name.to_owned(), columns));
            }
        }
        stores.get("dotenv").map("config.DotenvStoreConfig")?;
        stores.get("ini").map("config.INIStoreConfig")?;
        Ok(Self { indent })
    }
}

impl RuleError {
    fn new(message: impl Into<String>, line: usize) -> Self {
        Self { message: message.into(), line }
    }
}

/// The text that `path_regex` is matched against: the file's absolute path, without the absolute
/// path of the configuration's folder where the file lies below it (spec section 7.4).
pub fn subject<'p>(path: &'p str, folder: &str) -> &'p str {
    path.strip_prefix(folder).and_then(|it| it.strip_prefix(std::path::MAIN_SEPARATOR)).unwrap_or(path)
}

/// What a pattern makes, compiled when somebody asks: a file is decrypted without any of them.
type Late<T> = LazyLock<Result<T, RuleError>, Box<dyn FnOnce() -> Result<T, RuleError> + Send>>;

fn checked<'l, T: 'l>(late: impl IntoIterator<Item = &'l Late<T>>) -> Result<(), RuleError> {
    late.into_iter().try_for_each(|it| it.as_ref().map(|_| ()).map_err(Clone::clone))
}

/// `None` matches every path, as an empty `path_regex` does.
type PathPattern = Option<Late<Pattern>>;

fn matches(pattern: &PathPattern, path: &str) -> bool {
    pattern.as_ref().is_none_or(|it| it.as_ref().is_ok_and(|it| it.is_match(path)))
}

/// One creation rule, or the recreation rule of a destination, as it was read.
#[derive(Debug)]
struct Rule {
    line: usize,
    path: PathPattern,
    /// The keys of each kind beside the groups; what they may be is seen when they are needed.
    flat: Vec<(&'static keys::RuleKind, Wire)>,
    aws_profile: String,
    groups: Vec<Group>,
    shamir_threshold: i64,
    selectors: Vec<Late<Selector>>,
    mac_only_encrypted: bool,
}

#[derive(Debug)]
struct DestinationRule {
    path: PathPattern,
    targets: Vec<Target>,
    omit_extensions: bool,
    recreation: Rule,
}

/// One entry of `key_groups`.
#[derive(Debug)]
struct Group {
    merge: Vec<Group>,
    keys: Vec<GroupKey>,
}

#[derive(Debug)]
enum GroupKey {
    Named { kind: &'static str, name: String },
    Kms { arn: String, role: String, context: Vec<(String, String)>, profile: String },
    Azure { url: String, name: String, version: String },
}

impl Rule {
    fn read(part: &Part<'_>, called: &str) -> Result<Self, RuleError> {
        let fields = part.map("config.creationRule")?;
        let mut selectors = Vec::new();
        for name in SELECTOR_FIELDS {
            let select = move |text: &str| Selector::from_field(name, text).expect("it is a selector's field");
            selectors.extend(late(&fields, name, called, select)?);
        }
        let mut flat = Vec::new();
        for kind in &keys::RULE_KINDS {
            let part = fields.get(kind.flat);
            if kind.kind == "hckms" {
                let names = part.texts()?;
                flat.push((kind, Wire::List(names.iter().map(|it| Wire::text(it)).collect())));
            } else if let Some(wire) = part.wire {
                flat.push((kind, wire.clone()));
            }
        }
        let groups = fields.get("key_groups").list("[]config.keyGroup")?;
        Ok(Self {
            line: part.line(),
            path: late(&fields, "path_regex", called, Pattern::new)?,
            flat,
            aws_profile: fields.get("aws_profile").text()?,
            groups: groups.iter().map(Group::read).collect::<Result<_, _>>()?,
            shamir_threshold: fields.get("shamir_threshold").integer()?,
            selectors,
            mac_only_encrypted: fields.get("mac_only_encrypted").truth()?,
        })
    }

    fn check(&self) -> Result<(), RuleError> {
        checked(&self.path)?;
        checked(&self.selectors)
    }

    fn resolve(&self, naming: &Naming<'_>) -> Result<CreationRule, RuleError> {
        if self.selectors.len() > 1 {
            let message = format!("error loading config: cannot use more than one of {SELECTORS} for the same rule");
            return Err(RuleError::new(message, self.line));
        }
        let error = |message: String| RuleError::new(message, self.line);
        let groups = match self.groups.as_slice() {
            [] => vec![self.flat_group(naming).map_err(error)?],
            groups => groups.iter().map(|it| it.resolve(naming).map_err(error)).collect::<Result<_, _>>()?,
        };
        Ok(CreationRule {
            groups,
            shamir_threshold: usize::try_from(self.shamir_threshold)
                .map_err(|_| error("the shamir_threshold of a rule is negative".to_owned()))?,
            selector: self.selectors.first().map(|it| (**it).clone()).transpose()?,
            mac_only_encrypted: self.mac_only_encrypted,
        })
    }

    /// The group of the keys beside the groups. SOPS does not look for duplicates here.
    fn flat_group(&self, naming: &Naming<'_>) -> Result<KeyGroup, String> {
        let naming = Naming { aws_profile: &self.aws_profile, ..*naming };
        let mut group = KeyGroup::default();
        for (kind, wire) in &self.flat {
            let names = flat_names(wire).map_err(|expected| {
                let (said, field) = (kind.said, kind.flat);
                format!("invalid {said} key configuration: invalid {field} key configuration: expected {expected}")
            })?;
            if !names.is_empty() {
                group.0.extend(named(kind.kind, &names.join(","), &naming)?);
            }
        }
        Ok(group)
    }
}

/// A text with commas, or a list of texts. The error says what was expected, and what there was in
/// the words of Go.
fn flat_names(wire: &Wire) -> Result<Vec<&str>, String> {
    match wire {
        Wire::Leaf(Value::Null) => Ok(Vec::new()),
        Wire::List(_) => {
            let text = |it: &'_ Wire| format!("string in list, got {}", go_type(it));
            wire.items().map(|it| it.as_str().ok_or_else(|| text(it))).collect()
        }
        _ => match wire.as_str() {
            Some(text) => Ok(text.split(',').map(str::trim).filter(|it| !it.is_empty()).collect()),
            None => Err(format!("string, []string, or nil, got {}", go_type(wire))),
        },
    }
}

fn go_type(wire: &Wire) -> &'static str {
    match wire {
        Wire::Map(_) => "map[string]interface {}",
        Wire::List(_) => "[]interface {}",
        Wire::Leaf(Value::Bool(_)) => "bool",
        Wire::Leaf(Value::Float(_)) => "float64",
        Wire::Leaf(Value::Int(_)) => "int",
        Wire::Leaf(Value::Null) => "<nil>",
        Wire::Leaf(Value::Time(_)) => "time.Time",
        Wire::Leaf(Value::Comment(_) | Value::Str(_)) => "string",
    }
}

impl Group {
    fn read(part: &Part<'_>) -> Result<Self, RuleError> {
        let fields = part.map("config.keyGroup")?;
        let merge = fields.get("merge").list("[]config.keyGroup")?;
        let mut keys = Vec::new();
        for kind in &keys::RULE_KINDS {
            let part = fields.get(kind.group);
            let kind = kind.kind;
            let named = |name: String| GroupKey::Named { kind, name };
            if matches!(kind, "age" | "pgp" | "hc_vault") {
                keys.extend(part.texts()?.into_iter().map(named));
                continue;
            }
            for part in part.list("[]config.key")? {
                let fields = part.map("config.key")?;
                let text = |name| fields.get(name).text();
                keys.push(match kind {
                    "kms" => GroupKey::Kms {
                        arn: text("arn")?,
                        role: text("role")?,
                        context: fields.get("context").text_map()?,
                        profile: text("aws_profile")?,
                    },
                    "azure_kv" => {
                        GroupKey::Azure { url: text("vaultUrl")?, name: text("key")?, version: text("version")? }
                    }
                    "gcp_kms" => named(text("resource_id")?),
                    _ => named(text("key_id")?),
                });
            }
        }
        Ok(Self { merge: merge.iter().map(Self::read).collect::<Result<_, _>>()?, keys })
    }

    /// The keys: those of merged groups first, the first of each kept.
    fn resolve(&self, naming: &Naming<'_>) -> Result<KeyGroup, String> {
        let mut all = Vec::new();
        for group in &self.merge {
            all.extend(group.resolve(naming)?.0);
        }
        for key in &self.keys {
            match key {
                GroupKey::Named { kind: "age", name } => all.extend(named("age", name, naming)?),
                GroupKey::Named { kind, name } => all.push(keys::key(kind, name, naming)?),
                GroupKey::Kms { arn, role, context, profile } => {
                    all.push(keys::kms(arn, role, context, profile, naming)?);
                }
                GroupKey::Azure { url, name, version } => all.push(keys::azure(url, name, version, naming)?),
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|it| seen.insert((it.kind.clone(), it.id())));
        Ok(KeyGroup(all))
    }
}

impl DestinationRule {
    fn read(part: &Part<'_>, number: usize) -> Result<Self, RuleError> {
        let fields = part.map("config.destinationRule")?;
        let text = |name| fields.get(name).text();
        let (s3, gcs, vault) = (text("s3_bucket")?, text("gcs_bucket")?, text("vault_path")?);
        let mut targets = Vec::new();
        let (s3_prefix, gcs_prefix) = (text("s3_prefix")?, text("gcs_prefix")?);
        let (address, mount) = (text("vault_address")?, text("vault_kv_mount_name")?);
        let version = fields.get("vault_kv_version").integer()?;
        if !s3.is_empty() {
            targets.push(Target::S3 { bucket: s3, prefix: s3_prefix });
        }
        if !gcs.is_empty() {
            targets.push(Target::Gcs { bucket: gcs, prefix: gcs_prefix });
        }
        if !vault.is_empty() {
            targets.push(Target::Vault { address, path: vault, mount, version });
        }
        let called = format!("the recreation rule of destination rule {number}");
        Ok(Self {
            path: late(&fields, "path_regex", &format!("destination rule {number}"), Pattern::new)?,
            targets,
            omit_extensions: fields.get("omit_extensions").truth()?,
            recreation: Rule::read(&fields.get("recreation_rule"), &called)?,
        })
    }
}

/// What `make` makes of the text of a field; `None` if it is empty, which is as good as not there.
fn late<T>(
    fields: &Fields<'_>,
    field: &'static str,
    called: &str,
    make: impl FnOnce(&str) -> Result<T, PatternError> + Send + 'static,
) -> Result<Option<Late<T>>, RuleError> {
    let part = fields.get(field);
    let text = part.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    let (called, line) = (called.to_owned(), part.line());
    Ok(Some(Late::new(Box::new(move || {
        let refused = |it| RuleError::new(format!("can not compile regexp: {it}: `{field}` of {called}"), line);
        make(&text).map_err(refused)
    }))))
}

/// A part of the configuration, or where one would be, and its place. Reads types as SOPS's YAML
/// library does when it fills structures: a null is nothing, and a text may be any scalar.
#[derive(Clone)]
struct Part<'w> {
    wire: Option<&'w Wire>,
    at: KeyPath,
    line: &'w dyn Fn(&KeyPath) -> usize,
}

/// The entries of a mapping.
struct Fields<'w> {
    entries: Vec<(&'w str, Part<'w>)>,
    none: Part<'w>,
}

impl<'w> Fields<'w> {
    fn get(&self, name: &str) -> Part<'w> {
        self.entries.iter().find(|(it, _)| *it == name).map_or_else(|| self.none.clone(), |(_, it)| it.clone())
    }
}

impl<'w> Part<'w> {
    fn line(&self) -> usize {
        (self.line)(&self.at)
    }

    fn below(&self, step: Step, wire: &'w Wire) -> Self {
        let mut at = self.at.clone();
        at.0.push(step);
        Self { wire: Some(wire), at, line: self.line }
    }

    fn is_null(&self) -> bool {
        matches!(self.wire, None | Some(Wire::Leaf(Value::Null)))
    }

    /// The error for a part that is no `go_type`.
    fn unfit(&self, go_type: &str) -> RuleError {
        let tag = match self.wire {
            Some(Wire::Map(_)) => "map",
            Some(Wire::List(_)) => "seq",
            Some(Wire::Leaf(Value::Time(_))) => "timestamp",
            Some(Wire::Leaf(it)) => it.type_name(),
            None => "null",
        };
        self.unmarshal(&format!("cannot unmarshal !!{tag} into {go_type}"))
    }

    fn unmarshal(&self, what: &str) -> RuleError {
        let line = self.line();
        let place = if line == 0 { String::new() } else { format!("line {line}: ") };
        let prefix = "error loading config: Could not unmarshal config file: yaml: unmarshal errors:";
        RuleError::new(format!("{prefix}\n  {place}{what}"), line)
    }

    /// The entries of a mapping. Those of mappings that are merged in come after its own.
    fn map(&self, go_type: &str) -> Result<Fields<'w>, RuleError> {
        let mut entries: Vec<(&'w str, Part<'w>)> = Vec::new();
        let none = Part { wire: None, ..self.clone() };
        let wire = match self.wire {
            _ if self.is_null() => return Ok(Fields { entries, none }),
            Some(wire @ Wire::Map(_)) => wire,
            _ => return Err(self.unfit(go_type)),
        };
        let mut merged = Vec::new();
        for (name, value) in wire.pairs() {
            let part = self.below(Step::Key(name.to_owned()), value);
            if entries.iter().any(|(it, _)| *it == name) {
                return Err(part.unmarshal(&format!("mapping key {name:?} already defined")));
            }
            match (name, value) {
                ("<<", Wire::Map(_)) => merged.push(part),
                ("<<", Wire::List(_)) => merged.extend(part.list("map")?),
                _ => entries.push((name, part)),
            }
        }
        for part in merged {
            for (name, part) in part.map("map")?.entries {
                if entries.iter().all(|(it, _)| *it != name) {
                    entries.push((name, part));
                }
            }
        }
        Ok(Fields { entries, none })
    }

    /// The items of a list, nulls left out.
    fn list(&self, go_type: &str) -> Result<Vec<Self>, RuleError> {
        let items = match self.wire {
            _ if self.is_null() => return Ok(Vec::new()),
            Some(Wire::List(items)) => items,
            _ => return Err(self.unfit(go_type)),
        };
        let parts = items.iter().enumerate().map(|(at, it)| self.below(Step::Index(at), it));
        let comment = |it: &Self| matches!(it.wire, Some(Wire::Leaf(Value::Comment(_))));
        Ok(parts.filter(|it| !it.is_null() && !comment(it)).collect())
    }

    fn text(&self) -> Result<String, RuleError> {
        match self.wire {
            _ if self.is_null() => Ok(String::new()),
            Some(Wire::Leaf(Value::Bool(it))) => Ok(it.to_string()),
            Some(Wire::Leaf(it)) => {
                String::from_utf8(it.canonical().into_owned()).map_err(|_| self.unmarshal("invalid UTF-8"))
            }
            _ => Err(self.unfit("string")),
        }
    }

    fn texts(&self) -> Result<Vec<String>, RuleError> {
        self.list("[]string")?.iter().map(Self::text).collect()
    }

    fn text_map(&self) -> Result<Vec<(String, String)>, RuleError> {
        let entries = self.map("map[string]*string")?.entries;
        entries.into_iter().map(|(name, it)| Ok((name.to_owned(), it.text()?))).collect()
    }

    fn integer(&self) -> Result<i64, RuleError> {
        match self.wire {
            _ if self.is_null() => Ok(0),
            Some(Wire::Leaf(Value::Int(it))) => Ok(*it),
            // The YAML library cuts fractions off.
            Some(Wire::Leaf(Value::Float(it))) if it.abs() < 1e15 => Ok(*it as i64),
            _ => Err(self.unfit("int")),
        }
    }

    fn truth(&self) -> Result<bool, RuleError> {
        match (self.wire, self.wire.and_then(Wire::as_str)) {
            _ if self.is_null() => Ok(false),
            (Some(Wire::Leaf(Value::Bool(it))), _) => Ok(*it),
            (_, Some("y" | "Y" | "yes" | "on")) => Ok(true),
            (_, Some("n" | "N" | "no" | "off")) => Ok(false),
            _ => Err(self.unfit("bool")),
        }
    }
}

/// The line on which the value at a path of the first document begins; zero if it is not there. The
/// lines end at `ends`.
fn line_of(tree: &Tree, ends: &[usize], path: &KeyPath) -> usize {
    let mut node = tree.documents().first().map(|it| it.root);
    for step in &path.0 {
        let parent = node.map(|it| tree.resolve(it));
        node = parent.and_then(|parent| match step {
            Step::Key(key) => tree.child(parent, key),
            Step::Index(index) => tree.children(parent).nth(*index),
        });
    }
    let start = node.map(|it| tree.key_of(it).map_or(tree.node(it).span, |key| key.span).range().start);
    start.map_or(0, |it| 1 + ends.partition_point(|end| *end < it))
}

#[cfg(test)]
mod tests;
