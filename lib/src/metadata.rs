//! What a SOPS file says about itself.

use std::borrow::Cow;

use crate::edge::Timestamp;
use crate::pattern::PatternError;
use crate::scope::{SELECTOR_FIELDS, Scope, Selector};
use crate::tree::{Entry, Wire};
use crate::value::{Value, float};

/// The version of SOPS whose files new files are like.
pub const SOPS_VERSION: &str = "3.13.3";

/// Master keys of which any one opens the group's part of the data key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyGroup(pub Vec<MasterKey>);

/// A master key as data: what kind it is, what identifies it, and the data key wrapped to it.
///
/// What can be done with it lives in a [`KeyService`](crate::keyservice::KeyService). So a file
/// with a kind of key that nobody here has heard of still parses, edits and keeps that key.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterKey {
    /// The name of the list it stands in: `age`, `pgp`, `hc_vault`…
    pub kind: String,
    /// Its entries other than `enc`, in order.
    pub fields: Vec<(String, Wire)>,
    /// The wrapped data key.
    pub enc: Option<String>,
}

/// The `sops` block of a file.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The groups of which enough must open for the data key to come together.
    pub groups: Vec<KeyGroup>,
    /// How many groups that is; zero if the file does not say.
    pub shamir_threshold: usize,
    /// When the file was last sealed. Also the additional data of the MAC.
    pub last_modified: Timestamp,
    /// The encrypted MAC.
    pub mac: Option<String>,
    /// Which leaves are encrypted.
    pub scope: Scope,
    /// The version of SOPS that the file says made it.
    pub version: String,
    /// The spellings that ciphertexts cannot carry, sealed: `leafseal_layout`.
    pub layout: Option<String>,
    /// Entries that this version does not know, kept as they came.
    pub unknown: Vec<(String, Wire)>,
    /// The block as it was read: what has not changed since is written as it came.
    read: Vec<(String, Wire)>,
}

/// Metadata that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// There is none.
    #[error("sops metadata not found")]
    NotFound,
    /// The entry called `sops` is something else.
    #[error("Found sops entry that is not a mapping")]
    NotAMapping,
    /// Nobody could open the file.
    #[error("No keys found in file")]
    NoKeys,
    /// Which of them would count?
    #[error("Cannot use more than one of {SELECTORS} in the same file")]
    SeveralSelectors,
    /// A selector that is no pattern.
    #[error("{field}: {error}")]
    Pattern {
        /// The selector.
        field: &'static str,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A time that is not in RFC 3339: what is wrong in Go's words, and the field.
    #[error("{reason} ({field})")]
    Time {
        /// What is wrong.
        reason: String,
        /// The field.
        field: &'static str,
    },
    /// A version that is none.
    #[error("{0}")]
    Version(String),
    /// A field of another type.
    #[error("the metadata field `{field}` is not {expected}")]
    Type {
        /// The field.
        field: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// The selectors as SOPS lists them in its messages.
pub(crate) const SELECTORS: &str = "encrypted_suffix, unencrypted_suffix, encrypted_regex, unencrypted_regex, \
                                    encrypted_comment_regex, or unencrypted_comment_regex";

/// The kinds of master key that SOPS knows, in the order in which a group holds them, each with
/// its text fields.
const KINDS: [(&str, &[&str]); 7] = [
    ("kms", &["arn", "role", "created_at", "aws_profile"]),
    ("gcp_kms", &["resource_id", "created_at"]),
    ("hckms", &["key_id", "created_at"]),
    ("azure_kv", &["vault_url", "name", "version", "created_at"]),
    ("hc_vault", &["vault_address", "engine_path", "key_name", "created_at"]),
    ("pgp", &["fp", "created_at"]),
    ("age", &["recipient"]),
];

/// The other fields that are known by name.
const FIELDS: [&str; 7] =
    ["key_groups", "lastmodified", "leafseal_layout", "mac", "mac_only_encrypted", "shamir_threshold", "version"];

impl MasterKey {
    /// Returns the entry `name`, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(it, _)| it == name).and_then(|(_, it)| it.as_str()).unwrap_or("")
    }

    /// Returns what identifies the key, as SOPS writes it in messages (spec section 5.3).
    pub fn id(&self) -> String {
        let field = |name| self.field(name);
        match self.kind.as_str() {
            "age" => field("recipient").to_owned(),
            "pgp" => field("fp").to_owned(),
            "gcp_kms" => field("resource_id").to_owned(),
            "hckms" => field("key_id").to_owned(),
            "azure_kv" => format!("{}/keys/{}/{}", field("vault_url"), field("name"), field("version")),
            "hc_vault" => format!("{}/v1/{}/keys/{}", field("vault_address"), field("engine_path"), field("key_name")),
            "kms" => {
                let mut id = field("arn").to_owned();
                if !field("role").is_empty() {
                    id = format!("{id}+{}", field("role"));
                }
                let context = self.fields.iter().find(|(it, _)| it == "context").map(|(_, it)| it);
                let mut context: Vec<_> = context
                    .into_iter()
                    .flat_map(Wire::pairs)
                    .map(|(key, it)| format!("{key}:{}", text(it).unwrap_or_default()))
                    .collect();
                context.sort();
                match (context.join(","), field("aws_profile")) {
                    (context, "") if context.is_empty() => id,
                    (context, "") => format!("{id}|{context}"),
                    (context, profile) => format!("{id}|{context}|{profile}"),
                }
            }
            _ => self.fields.iter().find_map(|(_, it)| it.as_str()).unwrap_or("").to_owned(),
        }
    }

    /// True if both are the same key, whatever is wrapped to them.
    pub fn same_key(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id() == other.id()
    }

    /// Reads an entry of the list `kind`.
    fn from_wire(kind: &str, wire: &Wire) -> Result<Self, MetadataError> {
        let wrong = |field: &str, expected| MetadataError::Type { field: format!("{kind}.{field}"), expected };
        let Wire::Map(_) = wire else {
            return Err(MetadataError::Type { field: kind.to_owned(), expected: "a list of mappings" });
        };
        let known = KINDS.iter().find(|(it, _)| *it == kind).map(|(_, fields)| *fields);
        let mut key = Self { kind: kind.to_owned(), fields: Vec::new(), enc: None };
        for (name, value) in wire.pairs() {
            let fold = |it: &&&str| it.eq_ignore_ascii_case(name);
            if name.eq_ignore_ascii_case("enc") {
                key.enc = match value {
                    Wire::Leaf(Value::Null) => None,
                    _ => Some(text(value).ok_or_else(|| wrong("enc", "a text"))?.into_owned()),
                };
            } else if let Some(name) = known.and_then(|it| it.iter().find(fold)) {
                let value = text(value).ok_or_else(|| wrong(name, "a text"))?;
                key.fields.push(((*name).to_owned(), Wire::text(&value)));
            } else {
                key.fields.push((name.to_owned(), value.clone()));
            }
        }
        if known.is_some_and(|it| it.contains(&"created_at")) {
            timestamp(key.field("created_at"), "created_at")?;
        }
        Ok(key)
    }

    /// The key as it is written, in the order of `read` and with its spellings where they still fit.
    fn to_wire(&self, read: Option<&Wire>) -> Wire {
        let enc = self.enc.as_ref().map(|it| ("enc".to_owned(), Wire::text(it)));
        let fields = self.fields.iter().cloned().chain(enc).collect();
        let read = read.map(fields_of).unwrap_or_default();
        let known = KINDS.iter().find(|(it, _)| *it == self.kind).map_or(&[] as &[_], |(_, it)| it);
        let known: Vec<_> = known.iter().copied().chain(["enc"]).collect();
        Wire::Map(merge(&read, fields, &known, |_, was, new| if same_text(was, &new) { was.clone() } else { new }))
    }
}

impl Metadata {
    /// The metadata of a new file. Its keys are wrapped to and its MAC is made later.
    pub fn new(groups: Vec<KeyGroup>, shamir_threshold: usize, scope: Scope, now: Timestamp) -> Self {
        Self {
            groups,
            shamir_threshold,
            last_modified: now,
            mac: None,
            scope,
            version: SOPS_VERSION.to_owned(),
            layout: None,
            unknown: Vec::new(),
            read: Vec::new(),
        }
    }

    /// Reads the `sops` entry of a file: every spelling that some version of SOPS has written or
    /// read (spec section 4.5).
    ///
    /// # Errors
    ///
    /// See [`MetadataError`].
    pub fn from_wire(wire: &Wire) -> Result<Self, MetadataError> {
        match wire {
            Wire::Map(_) => (),
            Wire::Leaf(Value::Null) => return Err(MetadataError::NotFound),
            _ => return Err(MetadataError::NotAMapping),
        }
        let read = fields_of(wire);
        let known = known_fields();
        let field = |name: &str| (0..read.len()).find(|it| canonical(&read, *it, &known) == name).map(|it| &read[it].1);
        let string = |name: &str| match field(name).map(text) {
            None => Ok(None),
            Some(Some(it)) if it.is_empty() => Ok(None),
            Some(Some(it)) => Ok(Some(it.into_owned())),
            Some(None) => Err(MetadataError::Type { field: name.to_owned(), expected: "a text" }),
        };
        let wrong = |name: &str, expected| MetadataError::Type { field: name.to_owned(), expected };

        let last_modified = timestamp(&string("lastmodified")?.unwrap_or_default(), "lastmodified")?;
        let mut unknown: Vec<_> = (0..read.len())
            .filter(|it| !known.contains(&canonical(&read, *it, &known)))
            .map(|it| read[it].clone())
            .collect();

        let mut groups = Vec::new();
        let listed = field("key_groups").map(|it| items(it).ok_or_else(|| wrong("key_groups", "a list of mappings")));
        let listed = listed.transpose()?.unwrap_or_default();
        let flat = KeyGroup::from_fields(&read)?;
        let is_known = |key: &MasterKey| KINDS.iter().any(|(kind, _)| *kind == key.kind);
        if flat.0.iter().any(is_known) || (listed.is_empty() && !flat.0.is_empty()) {
            unknown.retain(|(name, _)| !flat.0.iter().any(|key| key.kind == *name));
            // SOPS has no regard for groups beside a flat list. They stay what they are.
            if let (false, Some(it)) = (listed.is_empty(), field("key_groups")) {
                unknown.push(("key_groups".to_owned(), it.clone()));
            }
            groups.push(flat);
        } else {
            for group in listed {
                groups.push(KeyGroup::from_fields(&fields_of(group))?);
            }
        }
        if groups.iter().all(|it| it.0.is_empty()) {
            return Err(MetadataError::NoKeys);
        }

        let mut selector = None;
        for name in SELECTOR_FIELDS {
            if let Some(next) = string(name)?.and_then(|it| Selector::from_field(name, &it)) {
                if selector.is_some() {
                    return Err(MetadataError::SeveralSelectors);
                }
                selector = Some(next.map_err(|error| MetadataError::Pattern { field: name, error })?);
            }
        }
        let mac_only_encrypted = match field("mac_only_encrypted") {
            Some(it) => flag(it).ok_or_else(|| wrong("mac_only_encrypted", "true or false"))?,
            None => false,
        };
        let shamir_threshold = match field("shamir_threshold") {
            Some(it) => count(it).ok_or_else(|| wrong("shamir_threshold", "a number of groups"))?,
            None => 0,
        };
        let version = string("version")?.unwrap_or_default();
        check_version(&version).map_err(MetadataError::Version)?;

        Ok(Self {
            groups,
            shamir_threshold,
            last_modified,
            mac: string("mac")?,
            scope: Scope { selector: selector.unwrap_or_default(), mac_only_encrypted },
            version,
            layout: string("leafseal_layout")?,
            unknown,
            read,
        })
    }

    /// The `sops` entry as it is written. What was read stays in its place and, where it still says
    /// the same, in its spelling; what is new stands where sorting by name puts it, as SOPS does
    /// with everything, or at the end of a block that is not sorted.
    pub fn to_wire(&self) -> Wire {
        let known = known_fields();
        let read = |name: &str| {
            let at = (0..self.read.len()).find(|it| canonical(&self.read, *it, &known) == name)?;
            Some(&self.read[at].1)
        };
        let mut fields: Vec<(String, Wire)> = Vec::new();
        let mut put = |name: &str, it: Wire| fields.push((name.to_owned(), it));
        if self.shamir_threshold != 0 {
            put("shamir_threshold", Wire::Leaf(Value::Int(self.shamir_threshold as i64)));
        }
        match self.groups.as_slice() {
            [group] => group.lists(read).into_iter().for_each(|(kind, list)| put(&kind, list)),
            groups => put("key_groups", group_list(groups, read("key_groups"))),
        }
        put("lastmodified", Wire::text(self.last_modified.as_str()));
        if let Some(mac) = &self.mac {
            put("mac", Wire::text(mac));
        }
        if let Some((name, text)) = self.scope.selector.field() {
            put(name, Wire::text(text));
        }
        if self.scope.mac_only_encrypted {
            put("mac_only_encrypted", Wire::Leaf(Value::Bool(true)));
        }
        put("version", Wire::text(version_to_write(&self.version)));
        if let Some(layout) = &self.layout {
            put("leafseal_layout", Wire::text(layout));
        }
        for (name, it) in &self.unknown {
            put(name, it.clone());
        }
        Wire::Map(merge(&self.read, fields, &known, |name, was, new| {
            let same = match name {
                "lastmodified" => text(was).and_then(|it| Timestamp::parse(&it)).as_ref() == Some(&self.last_modified),
                "mac_only_encrypted" => flag(was) == Some(self.scope.mac_only_encrypted),
                "shamir_threshold" => count(was) == Some(self.shamir_threshold),
                _ => same_text(was, &new),
            };
            if same { was.clone() } else { new }
        }))
    }
}

impl KeyGroup {
    /// Reads the lists of keys among `fields`: those of kinds that nobody here knows too.
    fn from_fields(fields: &[(String, Wire)]) -> Result<Self, MetadataError> {
        let known = known_fields();
        let mut keys = Vec::new();
        let mut read = |kind: &str, list: &Wire| -> Result<(), MetadataError> {
            let wrong = || MetadataError::Type { field: kind.to_owned(), expected: "a list of mappings" };
            for item in items(list).ok_or_else(wrong)? {
                keys.push(MasterKey::from_wire(kind, item)?);
            }
            Ok(())
        };
        for (kind, _) in KINDS {
            if let Some(at) = (0..fields.len()).find(|it| canonical(fields, *it, &known) == kind) {
                read(kind, &fields[at].1)?;
            }
        }
        for (at, (kind, list)) in fields.iter().enumerate() {
            let unknown = !known.contains(&canonical(fields, at, &known));
            let wrapped = |it: &Wire| it.get("enc").and_then(Wire::as_str).is_some();
            if unknown && matches!(list, Wire::List(_)) && list.items().count() > 0 && list.items().all(wrapped) {
                read(kind, list)?;
            }
        }
        Ok(Self(keys))
    }

    /// The lists of keys by kind, `before` giving those that were read.
    fn lists<'r>(&self, before: impl Fn(&str) -> Option<&'r Wire>) -> Vec<(String, Wire)> {
        let mut lists: Vec<(String, Wire)> = Vec::new();
        for key in &self.0 {
            if lists.iter().all(|(kind, _)| *kind != key.kind) {
                let keys: Vec<_> = self.0.iter().filter(|it| it.kind == key.kind).collect();
                lists.push((key.kind.clone(), key_list(&keys, before(&key.kind))));
            }
        }
        lists
    }

    fn same_keys(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.same_key(b))
    }
}

/// The list of keys of one kind. A key that stands in `before` is written as it stands there.
fn key_list(keys: &[&MasterKey], before: Option<&Wire>) -> Wire {
    let parse = |(it, kind): (_, &str)| Some((it, MasterKey::from_wire(kind, it).ok()?));
    let kind = keys.first().map_or("", |it| it.kind.as_str());
    let read: Vec<_> = before.and_then(items).unwrap_or_default().into_iter().map(|it| (it, kind)).collect();
    let read: Vec<(&Wire, MasterKey)> = read.into_iter().filter_map(parse).collect();
    if let Some(before) = before
        && read.iter().map(|(_, it)| it).eq(keys.iter().copied())
    {
        return before.clone();
    }
    let list = keys.iter().map(|key| match read.iter().find(|(_, it)| it == *key) {
        Some((wire, _)) => (*wire).clone(),
        None => key.to_wire(read.iter().find(|(_, it)| it.same_key(key)).map(|(wire, _)| *wire)),
    });
    Wire::List(list.collect())
}

/// The list of groups. `age` and `hc_vault` always stand in a group, if only as empty lists
/// (spec section 4.3).
fn group_list(groups: &[KeyGroup], before: Option<&Wire>) -> Wire {
    let known = known_fields();
    let before: Vec<_> = before.and_then(items).unwrap_or_default().into_iter().map(fields_of).collect();
    let same =
        |fields: &[(String, Wire)], it: &KeyGroup| KeyGroup::from_fields(fields).is_ok_and(|read| read.same_keys(it));
    let list = groups.iter().enumerate().map(|(at, group)| {
        let in_place = before.get(at).filter(|_| before.len() == groups.len());
        let read = before.iter().find(|it| same(it, group)).or(in_place).map_or(&[] as &[_], Vec::as_slice);
        let find = |name: &str| {
            let at = (0..read.len()).find(|it| canonical(read, *it, &known) == name)?;
            Some(&read[at].1)
        };
        let mut fields = group.lists(find);
        for kind in ["age", "hc_vault"] {
            if fields.iter().all(|(it, _)| it != kind) {
                fields.push((kind.to_owned(), Wire::List(Vec::new())));
            }
        }
        let is_key = |name: &str| KeyGroup::from_fields(read).is_ok_and(|it| it.0.iter().any(|key| key.kind == name));
        let extra = read.iter().filter(|(name, _)| find(name).is_some() && !known.contains(&name.as_str()));
        fields.extend(extra.filter(|(name, _)| !is_key(name)).cloned());
        let empty = |it: &Wire| items(it).is_some_and(|it| it.is_empty());
        Wire::Map(merge(read, fields, &known, |_, was, new| if empty(was) && empty(&new) { was.clone() } else { new }))
    });
    Wire::List(list.collect())
}

/// Brings `fields` into the order of `read`. `keep` chooses between a value as it was and as it is.
/// A known field that is gone but said nothing anyway (`kms: []`, `pgp: null`) stays.
fn merge(
    read: &[(String, Wire)],
    mut fields: Vec<(String, Wire)>,
    known: &[&str],
    keep: impl Fn(&str, &Wire, Wire) -> Wire,
) -> Vec<Entry> {
    let mut result: Vec<(String, Wire)> = Vec::new();
    for (at, (spelling, was)) in read.iter().enumerate() {
        let name = canonical(read, at, known);
        if let Some(found) = fields.iter().position(|(it, _)| it == name) {
            let (_, new) = fields.remove(found);
            result.push((spelling.clone(), keep(name, was, new)));
        } else if known.contains(&name) && says_nothing(was) {
            result.push((spelling.clone(), was.clone()));
        }
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let sorted = result.is_sorted_by(|(a, _), (b, _)| a < b);
    for field in fields {
        let at = if sorted { result.partition_point(|(it, _)| *it <= field.0) } else { result.len() };
        result.insert(at, field);
    }
    result.into_iter().map(|(name, it)| Entry::Pair(name, it)).collect()
}

/// The name that the entry at `at` goes by: a known field may be spelt in any case, unless it is
/// there in its own spelling too.
fn canonical<'n>(read: &'n [(String, Wire)], at: usize, known: &[&'n str]) -> &'n str {
    let name = read[at].0.as_str();
    let Some(field) = known.iter().find(|it| it.eq_ignore_ascii_case(name)) else {
        return name;
    };
    let first = read.iter().position(|(it, _)| it.eq_ignore_ascii_case(field));
    let exact = read.iter().position(|(it, _)| it == field);
    if exact.or(first) == Some(at) { field } else { name }
}

fn known_fields() -> Vec<&'static str> {
    KINDS.iter().map(|(kind, _)| *kind).chain(FIELDS).chain(SELECTOR_FIELDS).collect()
}

/// The pairs of a mapping. Of two with one name, SOPS takes the last.
fn fields_of(wire: &Wire) -> Vec<(String, Wire)> {
    let mut fields: Vec<(String, Wire)> = Vec::new();
    for (name, value) in wire.pairs() {
        match fields.iter_mut().find(|(it, _)| it == name) {
            Some(field) => field.1 = value.clone(),
            None => fields.push((name.to_owned(), value.clone())),
        }
    }
    fields
}

/// The items of a list. A mapping is a list of one, and what says nothing is an empty one.
fn items(wire: &Wire) -> Option<Vec<&Wire>> {
    match wire {
        Wire::List(_) => Some(wire.items().collect()),
        _ if says_nothing(wire) => Some(Vec::new()),
        Wire::Map(_) => Some(vec![wire]),
        Wire::Leaf(_) => None,
    }
}

fn says_nothing(wire: &Wire) -> bool {
    match wire {
        Wire::Map(_) => wire.pairs().next().is_none(),
        Wire::List(_) => wire.items().next().is_none(),
        Wire::Leaf(Value::Bool(it)) => !it,
        Wire::Leaf(Value::Int(it)) => *it == 0,
        Wire::Leaf(it) => it.is_empty(),
    }
}

/// The text of a scalar, however its format took it.
fn text(wire: &Wire) -> Option<Cow<'_, str>> {
    match wire {
        Wire::Leaf(Value::Bool(it)) => Some(Cow::Borrowed(if *it { "1" } else { "0" })),
        Wire::Leaf(it) => match it.canonical() {
            Cow::Borrowed(it) => std::str::from_utf8(it).ok().map(Cow::Borrowed),
            Cow::Owned(it) => String::from_utf8(it).ok().map(Cow::Owned),
        },
        Wire::Map(_) | Wire::List(_) => None,
    }
}

fn same_text(a: &Wire, b: &Wire) -> bool {
    text(a).is_some_and(|a| text(b).is_some_and(|b| a == b))
}

/// A number of groups: dotenv and INI files older than 3.9 say `2.000000`. To SOPS a negative one is
/// as good as none.
fn count(wire: &Wire) -> Option<usize> {
    let text = text(wire)?;
    let number = if text.is_empty() { 0.0 } else { float::parse_go(&text)? };
    let limit = f64::from(u32::MAX);
    (number.fract() == 0.0 && (-limit..=limit).contains(&number)).then_some(number.max(0.0) as usize)
}

/// A truth value: those of Go and those of YAML 1.1.
fn flag(wire: &Wire) -> Option<bool> {
    match text(wire)?.as_ref() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Some(true)
        }
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// Checks a version as SOPS does on every load, in its words (spec section 4.5).
fn check_version(version: &str) -> Result<(), String> {
    if version.starts_with("1.") {
        return Ok(());
    }
    let version = version.strip_prefix('v').unwrap_or(version);
    if version.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<_> = version.splitn(3, '.').collect();
    let [major, minor, rest] = parts[..] else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, it)| (rest, Some(it)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(rest, it)| (rest, Some(it)));
    let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    let word = |it: &str| it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    for (name, capital, number) in [("major", "Major", major), ("minor", "Minor", minor), ("patch", "Patch", patch)] {
        if number.is_empty() || !digits(number) {
            return Err(format!("Invalid character(s) found in {name} number {number:?}"));
        }
        if number.len() > 1 && number.starts_with('0') {
            return Err(format!("{capital} number must not contain leading zeroes {number:?}"));
        }
        if number.parse::<u64>().is_err() {
            return Err(format!("{capital} number is too large {number:?}"));
        }
    }
    for part in pre.iter().flat_map(|it| it.split('.')) {
        match part {
            "" => return Err("Prerelease is empty".to_owned()),
            _ if digits(part) && part.len() > 1 && part.starts_with('0') => {
                return Err(format!("Numeric PreRelease version must not contain leading zeroes {part:?}"));
            }
            _ if !word(part) => return Err(format!("Invalid character(s) found in prerelease {part:?}")),
            _ => (),
        }
    }
    for part in build.iter().flat_map(|it| it.split('.')) {
        match part {
            "" => return Err("Build meta data is empty".to_owned()),
            _ if !word(part) => return Err(format!("Invalid character(s) found in build meta data {part:?}")),
            _ => (),
        }
    }
    Ok(())
}

/// Files keep their version while it is at least 3.4: SOPS works around an old defect of its own in
/// older ones.
fn version_to_write(version: &str) -> &str {
    let mut numbers = version.strip_prefix('v').unwrap_or(version).split('.').map(|it| it.parse().unwrap_or(0));
    let version_of: (u64, u64) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version_of >= (3, 4) { version } else { SOPS_VERSION }
}

fn timestamp(text: &str, field: &'static str) -> Result<Timestamp, MetadataError> {
    Timestamp::parse(text).ok_or_else(|| MetadataError::Time { reason: time_error(text), field })
}

/// Says in Go's words why `text` is not in RFC 3339.
fn time_error(text: &str) -> String {
    let quote = |it: &[u8]| -> String {
        let spelt = it.iter().map(|b| match b {
            b'"' | b'\\' => format!("\\{}", *b as char),
            b' '..=b'~' => (*b as char).to_string(),
            _ => format!("\\x{b:02x}"),
        });
        format!("\"{}\"", spelt.collect::<String>())
    };
    let whole = quote(text.as_bytes());
    let unfit = |rest: &[u8], part: &str| {
        let rest = quote(rest);
        format!("parsing time {whole} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest} as \"{part}\"")
    };
    let mut rest = text.as_bytes();
    let mut take = |part: &str, limits: std::ops::RangeInclusive<u32>, name: &str| -> Result<(), String> {
        let taken = rest.get(..part.len()).filter(|it| match part.as_bytes()[0].is_ascii_digit() {
            true => it.iter().all(u8::is_ascii_digit),
            false => *it == part.as_bytes(),
        });
        let taken = taken.ok_or_else(|| unfit(rest, part))?;
        let number = taken.iter().fold(0, |n, b| n * 10 + u32::from(b.wrapping_sub(b'0')));
        rest = &rest[part.len()..];
        if name.is_empty() || limits.contains(&number) {
            return Ok(());
        }
        Err(format!("parsing time {whole}: {name} out of range"))
    };
    let steps = [
        ("2006", 0..=9999, ""),
        ("-", 0..=0, ""),
        ("01", 1..=12, "month"),
        ("-", 0..=0, ""),
        ("02", 0..=99, ""),
        ("T", 0..=0, ""),
        ("15", 0..=23, "hour"),
        (":", 0..=0, ""),
        ("04", 0..=59, "minute"),
        (":", 0..=0, ""),
        ("05", 0..=59, "second"),
    ];
    for (part, limits, name) in steps {
        if let Err(reason) = take(part, limits, name) {
            return reason;
        }
    }
    if let [b'.' | b',', b'0'..=b'9', ..] = rest {
        let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        rest = &rest[1 + digits..];
    }
    let zone = match rest {
        [b'Z', ..] => 1,
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_digit) => 6,
        _ => return unfit(rest, "Z07:00"),
    };
    let offset = |at: usize| rest.get(at..at + 2).map_or(0, |it| (it[0] - b'0') * 10 + it[1] - b'0');
    match &rest[zone..] {
        _ if zone > 1 && offset(1) > 24 => format!("parsing time {whole}: time zone offset hour out of range"),
        _ if zone > 1 && offset(4) > 60 => format!("parsing time {whole}: time zone offset minute out of range"),
        [] => format!("parsing time {whole}: day out of range"),
        extra => format!("parsing time {whole}: extra text: {}", quote(extra)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, Wire); N]) -> Wire {
        Wire::Map(pairs.into_iter().map(|(name, it)| Entry::Pair(name.to_owned(), it)).collect())
    }

    fn list<const N: usize>(items: [Wire; N]) -> Wire {
        Wire::List(items.into())
    }

    fn age(recipient: &str) -> Wire {
        map([("recipient", Wire::text(recipient)), ("enc", Wire::text("ENC"))])
    }

    fn pgp(fp: &str) -> Wire {
        let created = Wire::text("2020-01-01T00:00:00Z");
        map([("created_at", created), ("enc", Wire::text("ENC")), ("fp", Wire::text(fp))])
    }

    /// A block as sops 3.11 writes it, `changes` made: a null takes a field away.
    fn block<const N: usize>(changes: [(&str, Wire); N]) -> Wire {
        let mut fields = vec![
            ("age".to_owned(), list([age("age1a")])),
            ("lastmodified".to_owned(), Wire::text("2026-01-02T03:04:05Z")),
            ("mac".to_owned(), Wire::text("MAC")),
            ("unencrypted_suffix".to_owned(), Wire::text("_unencrypted")),
            ("version".to_owned(), Wire::text("3.11.0")),
        ];
        for (name, it) in changes {
            fields.retain(|(field, _)| field != name);
            if it != Wire::Leaf(Value::Null) {
                fields.push((name.to_owned(), it));
            }
        }
        Wire::Map(fields.into_iter().map(|(name, it)| Entry::Pair(name, it)).collect())
    }

    const GONE: Wire = Wire::Leaf(Value::Null);

    fn error(wire: &Wire) -> Option<String> {
        Metadata::from_wire(wire).err().map(|it| it.to_string())
    }

    fn names(wire: &Wire) -> String {
        wire.pairs().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_read_is_written_as_it_came() {
        for wire in [
            block([]),
            block([
                ("kms", list([])),
                ("pgp", map([])),
                ("azure_kv", Wire::text("")),
                ("x_new", map([("a", list([Wire::text("b")]))])),
            ]),
            block([("lastmodified", Wire::Leaf(Value::Time("2026-01-02T03:04:05.5Z".to_owned())))]),
            block([("lastmodified", Wire::text("2026-01-02T03:04:05+00:00"))]),
            block([("shamir_threshold", Wire::text("2.000000"))]),
            block([("shamir_threshold", Wire::text("2e+00"))]),
            block([("mac_only_encrypted", Wire::text("True"))]),
            block([("mac_only_encrypted", Wire::Leaf(Value::Bool(false)))]),
            block([("lastmodified", GONE), ("LastModified", Wire::text("2026-01-02T03:04:05Z"))]),
            block([("mac", GONE)]),
            block([("age", age("age1a"))]),
            block([("encrypted_regex", Wire::text(""))]),
            block([("post_quantum", list([map([("id", Wire::text("q")), ("enc", Wire::text("E"))])]))]),
            block([("key_groups", list([map([("pgp", list([pgp("A")]))])]))]),
            block([(
                "pgp",
                list([map([
                    ("created_at", Wire::Leaf(Value::Time("2020-01-01T00:00:00Z".to_owned()))),
                    ("enc", Wire::text("E")),
                    ("fp", Wire::Leaf(Value::Int(8507))),
                ])]),
            )]),
            block([
                ("age", GONE),
                (
                    "key_groups",
                    list([
                        map([
                            ("pgp", list([pgp("A")])),
                            ("hc_vault", list([])),
                            ("age", list([age("age1a")])),
                            ("x", Wire::text("y")),
                        ]),
                        map([("hc_vault", GONE), ("age", list([age("age1b")]))]),
                    ]),
                ),
            ]),
        ] {
            let metadata = Metadata::from_wire(&wire).expect("metadata");
            assert_eq!(metadata.to_wire(), wire);
        }
    }

    #[test]
    fn old_spellings_are_understood() {
        let read = |wire| Metadata::from_wire(&wire).expect("metadata");
        let of = |name, it| read(block([(name, it)]));
        assert_eq!(of("shamir_threshold", Wire::text("2.000000")).shamir_threshold, 2);
        assert_eq!(of("shamir_threshold", Wire::Leaf(Value::Int(3))).shamir_threshold, 3);
        for (text, expected) in [("True", true), ("yes", true), ("1", true), ("no", false), ("", false)] {
            assert_eq!(of("mac_only_encrypted", Wire::text(text)).scope.mac_only_encrypted, expected, "{text}");
        }
        let time = of("lastmodified", Wire::Leaf(Value::Time("2026-01-02T03:04:05Z".to_owned())));
        assert_eq!(time.last_modified.as_str(), "2026-01-02T03:04:05Z");
        assert_eq!(of("version", Wire::Leaf(Value::Float(1.13))).version, "1.13");
        assert_eq!(of("unencrypted_suffix", GONE).scope.selector, Selector::default());
        assert_eq!(of("mac", Wire::text("")).mac, None);
        let both = of("pgp", list([pgp("A")]));
        assert_eq!(both.groups[0].0.iter().map(MasterKey::id).collect::<Vec<_>>(), ["A", "age1a"]);
    }

    #[test]
    fn what_is_new_stands_where_sops_puts_it() {
        let now = Timestamp::from_utc_seconds("2026-01-02T03:04:05Z");
        let key = MasterKey::from_wire("age", &age("age1a")).expect("a key");
        let mut metadata = Metadata::new(vec![KeyGroup(vec![key.clone()])], 0, Scope::default(), now.clone());
        metadata.mac = Some("MAC".to_owned());
        let wire = metadata.to_wire();
        assert_eq!(names(&wire), "age lastmodified mac unencrypted_suffix version");
        assert_eq!(wire.get("version"), Some(&Wire::text("3.13.3")));
        assert_eq!(
            wire.get("age").map(|it| names(it.items().next().expect("a key"))).as_deref(),
            Some("enc recipient")
        );

        // In a sorted block a new field is sorted in; in another one it goes to the end.
        for (changes, expected) in [
            (None, "age lastmodified leafseal_layout mac unencrypted_suffix version"),
            (Some(("a", GONE)), "age lastmodified leafseal_layout mac unencrypted_suffix version"),
            (Some(("kms", list([]))), "age lastmodified mac unencrypted_suffix version kms leafseal_layout"),
        ] {
            let read = changes.map_or_else(|| wire.clone(), |it| block([it]));
            let mut metadata = Metadata::from_wire(&read).expect("metadata");
            metadata.layout = Some("ENC".to_owned());
            assert_eq!(names(&metadata.to_wire()), expected);
        }

        let mut two = Metadata::new(vec![KeyGroup(vec![key]), KeyGroup::default()], 2, Scope::default(), now);
        two.scope.selector = Selector::All;
        let wire = two.to_wire();
        assert_eq!(names(&wire), "key_groups lastmodified shamir_threshold version");
        let groups: Vec<_> = wire.get("key_groups").into_iter().flat_map(Wire::items).map(names).collect();
        assert_eq!(groups, ["age hc_vault", "age hc_vault"]);
    }

    #[test]
    fn a_changed_key_keeps_the_order_of_its_fields() {
        let mut metadata = Metadata::from_wire(&block([("pgp", list([pgp("A")]))])).expect("metadata");
        metadata.groups[0].0[1].enc = Some("NEW".to_owned());
        let wire = metadata.to_wire();
        let keys: Vec<_> = wire.get("age").into_iter().flat_map(Wire::items).collect();
        assert_eq!(keys, [&map([("recipient", Wire::text("age1a")), ("enc", Wire::text("NEW"))])]);
        assert_eq!(wire.get("pgp"), Some(&list([pgp("A")])));
        metadata.groups[0].0.remove(1);
        assert_eq!(names(&metadata.to_wire()), "lastmodified mac unencrypted_suffix version pgp");
    }

    #[test]
    fn a_group_that_goes_leaves_no_key_behind() {
        let groups = list([map([("age", list([age("age1a")]))]), map([("age", list([age("age1b")]))])]);
        let mut metadata = Metadata::from_wire(&block([("age", GONE), ("key_groups", groups)])).expect("metadata");
        metadata.groups.remove(1);
        assert_eq!(names(&metadata.to_wire()), "age lastmodified mac unencrypted_suffix version");
    }

    #[test]
    fn versions_are_checked_as_sops_does() {
        for (version, expected) in [
            ("0.0.1", None),
            ("99.0.0", None),
            ("3.11.0-rc.1", None),
            ("v3.1.0", None),
            ("3.1.0+b.1", None),
            ("1.13", None),
            ("", Some("Version string empty")),
            ("3.11", Some("No Major.Minor.Patch elements found")),
            ("unstable", Some("No Major.Minor.Patch elements found")),
            ("03.1.0", Some("Major number must not contain leading zeroes \"03\"")),
            (" 3.1.0", Some("Invalid character(s) found in major number \" 3\"")),
            ("3.1.0-", Some("Prerelease is empty")),
            ("3.1.x", Some("Invalid character(s) found in patch number \"x\"")),
        ] {
            assert_eq!(error(&block([("version", Wire::text(version))])).as_deref(), expected, "{version}");
        }
        for (version, written) in
            [("3.4.0", "3.4.0"), ("3.3.9", "3.13.3"), ("1.13", "3.13.3"), ("99.0.0", "99.0.0"), ("v3.11.0", "v3.11.0")]
        {
            assert_eq!(version_to_write(version), written);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let several = "Cannot use more than one of encrypted_suffix, unencrypted_suffix, encrypted_regex, \
                       unencrypted_regex, encrypted_comment_regex, or unencrypted_comment_regex in the same file";
        for (wire, expected) in [
            (GONE, "sops metadata not found"),
            (Wire::text("x"), "Found sops entry that is not a mapping"),
            (list([]), "Found sops entry that is not a mapping"),
            (block([("age", list([]))]), "No keys found in file"),
            (block([("encrypted_regex", Wire::text("a"))]), several),
            (
                block([("mac_only_encrypted", Wire::text("x"))]),
                "the metadata field `mac_only_encrypted` is not true or false",
            ),
            (
                block([("shamir_threshold", Wire::text("1.5"))]),
                "the metadata field `shamir_threshold` is not a number of groups",
            ),
            (block([("age", list([Wire::text("x")]))]), "the metadata field `age` is not a list of mappings"),
            (block([("mac", list([]))]), "the metadata field `mac` is not a text"),
            (
                block([("unencrypted_suffix", GONE), ("encrypted_regex", Wire::text("("))]),
                "encrypted_regex: error parsing regexp: missing closing ): `(` (character 1)",
            ),
            (
                block([("pgp", list([map([("fp", Wire::text("A"))])]))]),
                "parsing time \"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\" (created_at)",
            ),
        ] {
            assert_eq!(error(&wire).as_deref(), Some(expected));
        }
    }

    #[test]
    fn times_are_refused_in_the_words_of_go() {
        let layout = "2006-01-02T15:04:05Z07:00";
        for (text, part, rest) in [
            ("", "2006", ""),
            ("Mon Jan  2", "2006", "Mon Jan  2"),
            ("2026", "-", ""),
            ("2026-1-02T03:04:05Z", "01", "1-02T03:04:05Z"),
            ("2026-01-02 03:04:05Z", "T", " 03:04:05Z"),
            ("2026-01-02T03:04:05", "Z07:00", ""),
        ] {
            let expected = format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {part:?}");
            assert_eq!(time_error(text), expected);
        }
        for (text, reason) in [
            ("2026-13-02T03:04:05Z", "month out of range"),
            ("2026-02-30T03:04:05Z", "day out of range"),
            ("2026-02-20T25:04:05Z", "hour out of range"),
            ("2026-02-20T03:04:05+25:00", "time zone offset hour out of range"),
            ("2026-02-20T03:04:05Zx", "extra text: \"x\""),
        ] {
            assert_eq!(time_error(text), format!("parsing time {text:?}: {reason}"));
        }
        assert!(time_error("2026-02-20T03:04:05Z\r").ends_with(r#"extra text: "\x0d""#));
    }

    #[test]
    fn keys_are_called_what_sops_calls_them() {
        let key = |kind, wire| MasterKey::from_wire(kind, &wire).expect("a key").id();
        let kms = |context: Wire, role: &str, profile: &str| {
            map([
                ("arn", Wire::text("ARN")),
                ("role", Wire::text(role)),
                ("context", context),
                ("created_at", Wire::text("2020-01-01T00:00:00Z")),
                ("aws_profile", Wire::text(profile)),
            ])
        };
        let context = map([("b", Wire::text("2")), ("a", Wire::text("1"))]);
        let created = ("created_at", Wire::text("2020-01-01T00:00:00Z"));
        let vault = [("vault_address", Wire::text("https://v")), ("engine_path", Wire::text("e/f"))];
        let [address, engine] = vault;
        let azure = [("vault_url", Wire::text("https://z")), ("name", Wire::text("n"))];
        let [url, name] = azure;
        for (id, expected) in [
            (key("age", age("age1a")), "age1a"),
            (key("pgp", pgp("FP")), "FP"),
            (key("kms", kms(GONE, "", "")), "ARN"),
            (key("kms", kms(GONE, "R", "")), "ARN+R"),
            (key("kms", kms(context.clone(), "", "")), "ARN|a:1,b:2"),
            (key("kms", kms(context, "R", "P")), "ARN+R|a:1,b:2|P"),
            (key("kms", kms(GONE, "", "P")), "ARN||P"),
            (key("gcp_kms", map([("resource_id", Wire::text("g")), created.clone()])), "g"),
            (key("hckms", map([("key_id", Wire::text("r:u")), created.clone()])), "r:u"),
            (key("azure_kv", map([url, name, ("version", Wire::text("1")), created.clone()])), "https://z/keys/n/1"),
            (
                key("hc_vault", map([address, engine, ("key_name", Wire::text("k")), created])),
                "https://v/v1/e/f/keys/k",
            ),
            (key("later", map([("id", Wire::text("x")), ("enc", Wire::text("E"))])), "x"),
        ] {
            assert_eq!(id, expected);
        }
    }
}
