//! The cases of spec section 10.6 that need no command line.

use super::*;
use crate::edge::{Clock, Timestamp};
use crate::tree::Entry;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_utc_seconds("2026-01-02T12:00:00Z")
    }
}

const NAMING: Naming<'static> = Naming { clock: &Noon, kms_context: &[], aws_profile: "" };

trait IntoWire {
    fn wire(self) -> Wire;
}

impl IntoWire for Wire {
    fn wire(self) -> Wire {
        self
    }
}

impl IntoWire for &str {
    fn wire(self) -> Wire {
        Wire::text(self)
    }
}

impl IntoWire for i64 {
    fn wire(self) -> Wire {
        Wire::Leaf(Value::Int(self))
    }
}

impl IntoWire for f64 {
    fn wire(self) -> Wire {
        Wire::Leaf(Value::Float(self))
    }
}

impl IntoWire for bool {
    fn wire(self) -> Wire {
        Wire::Leaf(Value::Bool(self))
    }
}

impl IntoWire for () {
    fn wire(self) -> Wire {
        Wire::Leaf(Value::Null)
    }
}

/// `yaml!({ "a": 1, "b": [true, ()] })`.
macro_rules! yaml {
    ({ $($key:literal : $value:tt),* $(,)? }) => {
        Wire::Map(vec![$(Entry::Pair($key.to_owned(), yaml!($value))),*])
    };
    ([ $($value:tt),* $(,)? ]) => { Wire::List(vec![$(yaml!($value)),*]) };
    ($value:expr) => { IntoWire::wire($value) };
}

fn rules(wire: &Wire) -> Result<Rules, String> {
    Rules::from_wire(wire, &|_| 0).map_err(|it| it.message)
}

fn rule(wire: &Wire, path: &str) -> Result<CreationRule, String> {
    let rule = rules(wire)?.rule_for(path, &NAMING).map_err(|it| it.message)?;
    rule.ok_or_else(|| "no rules".to_owned())
}

fn ids(groups: &[KeyGroup]) -> Vec<String> {
    groups.iter().map(|it| it.0.iter().map(MasterKey::id).collect::<Vec<_>>().join(" ")).collect()
}

const NO_MATCH: &str = "error loading config: no matching creation rules found";

#[test]
fn a_path_finds_its_rule() {
    // Case G12.
    for (path, folder, expected) in [
        ("/a/b/p.yaml", "/a", "b/p.yaml"),
        ("/a/b/p.yaml", "/a/b", "p.yaml"),
        ("/ab/p.yaml", "/a", "/ab/p.yaml"),
        ("/c/p.yaml", "/a", "/c/p.yaml"),
        ("/p.yaml", "/", "/p.yaml"),
    ] {
        assert_eq!(subject(path, folder), expected);
    }
    // Cases G01, G02 and G13.
    let wire = yaml!({ "x": 1, "creation_rules": [
        { "path_regex": "^sub/p\\.yaml$", "pgp": "A", "y": { "z": 1 } },
        { "path_regex": "\\.json$", "pgp": "B" },
        (),
    ] });
    for (path, expected) in [
        ("sub/p.yaml", Ok(vec!["A".to_owned()])),
        ("x.json", Ok(vec!["B".to_owned()])),
        ("p.yaml", Err(NO_MATCH.to_owned())),
    ] {
        assert_eq!(rule(&wire, path).map(|it| ids(&it.groups)), expected, "{path}");
    }
    for (wire, expected) in [
        (yaml!({ "creation_rules": [] }), NO_MATCH),
        (yaml!({ "creation_rules": [()] }), NO_MATCH),
        (yaml!({ "creation_rules": () }), "no rules"),
        (yaml!({}), "no rules"),
        (yaml!(()), "no rules"),
    ] {
        assert_eq!(rule(&wire, "p").err().as_deref(), Some(expected));
    }
}

#[test]
fn keys_are_split_and_joined_as_sops_does() {
    let of = |it: Wire| rule(&Wire::Map(vec![Entry::Pair("creation_rules".to_owned(), Wire::List(vec![it]))]), "p");
    // Case G03, and no de-duplication.
    for names in [yaml!("A , B,"), yaml!(["A", "B"]), yaml!(["A,B"])] {
        let keys = of(Wire::Map(vec![Entry::Pair("pgp".to_owned(), names)])).map(|it| ids(&it.groups));
        assert_eq!(keys, Ok(vec!["A B".to_owned()]));
    }
    assert_eq!(of(yaml!({ "pgp": "A,A" })).map(|it| ids(&it.groups)), Ok(vec!["A A".to_owned()]));
    // Every kind, in order.
    let all = of(yaml!({
        "hc_vault_transit_uri": "https://v/v1/t/keys/k",
        "azure_keyvault": ["https://z/keys/n/1"],
        "hckms": ["r:u"],
        "gcp_kms": "g",
        "kms": "arn:k",
        "aws_profile": "me",
        "pgp": "A",
        "age": "",
    }));
    let keys = "A arn:k||me g r:u https://z/keys/n/1 https://v/v1/t/keys/k";
    assert_eq!(all.map(|it| ids(&it.groups)), Ok(vec![keys.to_owned()]));
    // No keys at all: one group without any, which cannot be wrapped to.
    assert_eq!(of(yaml!({})).map(|it| it.groups), Ok(vec![KeyGroup::default()]));
    for (wire, expected) in [
        (
            yaml!({ "age": 5 }),
            "invalid age key configuration: invalid age key configuration: expected string, []string, or nil, got int",
        ),
        (
            yaml!({ "age": [5] }),
            "invalid age key configuration: invalid age key configuration: expected string in list, got int",
        ),
        (
            yaml!({ "pgp": [()] }),
            "invalid pgp key configuration: invalid pgp key configuration: expected string in list, got <nil>",
        ),
        (
            yaml!({ "gcp_kms": true }),
            "invalid gcpkms key configuration: invalid gcp_kms key configuration: expected string, []string, or nil, got bool",
        ),
        (
            yaml!({ "hc_vault_transit_uri": {} }),
            "invalid vault key configuration: invalid hc_vault_transit_uri key configuration: expected string, []string, or nil, got map[string]interface {}",
        ),
        (yaml!({ "hckms": ["x"] }), "invalid key ID format: expected 'region:key-uuid', got \"x\""),
        (yaml!({ "azure_keyvault": "x" }), "could not parse \"x\" into a valid Azure Key Vault MasterKey []"),
    ] {
        assert_eq!(of(wire).err().as_deref(), Some(expected));
    }
}

#[test]
fn groups_are_merged_first_and_without_duplicates() {
    // Case G07.
    let wire = yaml!({ "creation_rules": [{ "pgp": "IGNORED", "shamir_threshold": 2.0, "key_groups": [
        { "pgp": ["B", "A B", "A"], "merge": [{ "pgp": ["C"], "merge": [{ "pgp": ["D"] }] }, { "pgp": ["C"] }] },
        {
            "kms": [{ "arn": "arn:k", "role": "r", "context": { "b": "2", "a": 1 }, "aws_profile": "me" }],
            "gcp_kms": [{ "resource_id": "g" }],
            "hckms": [{ "key_id": "r:u" }],
            "azure_keyvault": [{ "vaultUrl": "https://z", "key": "n", "version": "1" }],
            "hc_vault": ["https://v/v1/t/keys/k"],
        },
    ] }] });
    let rule = rule(&wire, "p").expect("a rule");
    let second = "arn:k+r|a:1,b:2|me g r:u https://z/keys/n/1 https://v/v1/t/keys/k";
    assert_eq!(ids(&rule.groups), ["D C B AB A", second]);
    assert_eq!(rule.shamir_threshold, 2);
    let fields = |at: usize| rule.groups[1].0[at].fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(fields(0), ["arn", "aws_profile", "context", "created_at", "role"]);
}

#[test]
fn a_pattern_that_does_not_compile_stops_what_uses_rules() {
    // Case G04: it need not be the rule that matches.
    for (wire, expected) in [
        (
            yaml!({ "creation_rules": [{ "pgp": "A" }, { "encrypted_regex": "(" }] }),
            "can not compile regexp: error parsing regexp: missing closing ): `(` (character 1): `encrypted_regex` of creation rule 2",
        ),
        (
            yaml!({ "creation_rules": [{ "path_regex": "a(", "pgp": "A" }] }),
            "can not compile regexp: error parsing regexp: missing closing ): `a(` (character 2): `path_regex` of creation rule 1",
        ),
        (
            yaml!({ "creation_rules": [{ "pgp": "A" }], "destination_rules": [{ "path_regex": "[" }] }),
            "can not compile regexp: error parsing regexp: missing closing ]: `[` (character 1): `path_regex` of destination rule 1",
        ),
        (
            yaml!({ "creation_rules": [{ "pgp": "A" }], "destination_rules": [{ "recreation_rule": { "unencrypted_comment_regex": "*" } }] }),
            "can not compile regexp: error parsing regexp: missing argument to repetition operator: `*` (character 1): \
             `unencrypted_comment_regex` of the recreation rule of destination rule 1",
        ),
    ] {
        let rules = rules(&wire).expect("shapes are right");
        assert_eq!(rules.stores(), &Stores::default());
        assert_eq!(rules.check().map_err(|it| it.message), Err(expected.to_owned()));
        assert_eq!(rules.rule_for("p", &NAMING).map_err(|it| it.message), Err(expected.to_owned()));
        assert_eq!(rules.destination_for("p", &NAMING).map_err(|it| it.message), Err(expected.to_owned()));
    }
    let line = |path: &KeyPath| path.0.len();
    let wire = yaml!({ "creation_rules": [{ "path_regex": "(" }] });
    let error = Rules::from_wire(&wire, &line).and_then(|it| it.check()).err();
    assert_eq!(error.map(|it| it.line), Some(3));
}

#[test]
fn a_rule_has_one_selector() {
    // Case G05.
    let several = "error loading config: cannot use more than one of encrypted_suffix, unencrypted_suffix, \
                   encrypted_regex, unencrypted_regex, encrypted_comment_regex, or unencrypted_comment_regex for the \
                   same rule";
    let wire = yaml!({ "creation_rules": [
        { "path_regex": "two", "encrypted_regex": "a", "unencrypted_suffix": "b" },
        { "path_regex": "one", "encrypted_regex": "a", "unencrypted_suffix": "", "mac_only_encrypted": "yes" },
        { "path_regex": "nil", "encrypted_suffix": () },
        { "path_regex": "number", "encrypted_suffix": 5 },
    ] });
    assert_eq!(rule(&wire, "two").err().as_deref(), Some(several));
    let field = |path: &str| {
        let rule = rule(&wire, path).expect("a rule");
        let field = rule.selector.as_ref().and_then(Selector::field).map(|(name, text)| format!("{name}={text}"));
        (field, rule.mac_only_encrypted)
    };
    assert_eq!(field("one"), (Some("encrypted_regex=a".to_owned()), true));
    assert_eq!(field("nil"), (None, false));
    assert_eq!(field("number"), (Some("encrypted_suffix=5".to_owned()), false));
}

#[test]
fn shapes_are_checked_when_reading() {
    let prefix = "error loading config: Could not unmarshal config file: yaml: unmarshal errors:\n  ";
    for (wire, expected) in [
        (yaml!([]), "cannot unmarshal !!seq into config.configFile"),
        (yaml!(5), "cannot unmarshal !!int into config.configFile"),
        (yaml!({ "creation_rules": {} }), "cannot unmarshal !!map into []config.creationRule"),
        (yaml!({ "creation_rules": [5] }), "cannot unmarshal !!int into config.creationRule"),
        (yaml!({ "creation_rules": [{ "path_regex": [] }] }), "cannot unmarshal !!seq into string"),
        (yaml!({ "creation_rules": [{ "shamir_threshold": "2" }] }), "cannot unmarshal !!str into int"),
        (yaml!({ "creation_rules": [{ "mac_only_encrypted": 1 }] }), "cannot unmarshal !!int into bool"),
        (yaml!({ "creation_rules": [{ "hckms": "r:u" }] }), "cannot unmarshal !!str into []string"),
        (yaml!({ "creation_rules": [{ "key_groups": 5 }] }), "cannot unmarshal !!int into []config.keyGroup"),
        (yaml!({ "creation_rules": [{ "key_groups": [{ "age": "x" }] }] }), "cannot unmarshal !!str into []string"),
        (yaml!({ "creation_rules": [{ "a": 1, "a": 2 }] }), "mapping key \"a\" already defined"),
        (yaml!({ "destination_rules": 5 }), "cannot unmarshal !!int into []config.destinationRule"),
        (yaml!({ "stores": { "yaml": 5 } }), "cannot unmarshal !!int into config.YAMLStoreConfig"),
        (yaml!({ "stores": { "yaml": { "indent": "x" } } }), "cannot unmarshal !!str into int"),
    ] {
        assert_eq!(rules(&wire).err(), Some(format!("{prefix}{expected}")));
    }
}

#[test]
fn mappings_are_merged_in() {
    let wire = yaml!({ "creation_rules": [
        { "<<": { "pgp": "A", "path_regex": "never" }, "path_regex": "one" },
        { "<<": [{ "pgp": "B" }, { "pgp": "C", "path_regex": "two" }] },
    ] });
    assert_eq!(rule(&wire, "one").map(|it| ids(&it.groups)), Ok(vec!["A".to_owned()]));
    assert_eq!(rule(&wire, "two").map(|it| ids(&it.groups)), Ok(vec!["B".to_owned()]));
}

#[test]
fn stores_are_read() {
    // Case G14.
    let wire =
        yaml!({ "stores": { "yaml": { "indent": 2 }, "json": { "indent": 2.0 }, "dotenv": {}, "json_binary": {} } });
    let rules = rules(&wire).expect("rules");
    for (format, indent) in [("yaml", Some(2)), ("json", Some(2)), ("binary", None), ("ini", None)] {
        assert_eq!(rules.stores().layout(format), Layout { indent }, "{format}");
    }
}

#[test]
fn the_command_line_goes_over_the_rule() {
    let selector = |name: &str, text: &str| Selector::from_field(name, text).and_then(Result::ok).expect("a selector");
    let key = |name: &str| named("pgp", name, &NAMING).expect("keys");
    let wire = yaml!({ "creation_rules": [{
        "encrypted_regex": "rule", "shamir_threshold": 2, "mac_only_encrypted": true,
        "key_groups": [{ "pgp": ["A"] }, { "pgp": ["B"] }],
    }] });
    let rule = rule(&wire, "p").expect("a rule");
    let with = |flags: Overrides, single_value| rule.clone().override_with(flags, single_value);

    let recipe = with(Overrides::default(), false).expect("a recipe");
    assert_eq!(ids(&recipe.groups), ["A", "B"]);
    assert_eq!(recipe.scope, Scope { selector: selector("encrypted_regex", "rule"), mac_only_encrypted: true });

    // Case G15: keys replace all groups; the rest of the rule holds.
    let recipe = with(Overrides { keys: key("C"), ..Overrides::default() }, false).expect("a recipe");
    assert_eq!((ids(&recipe.groups), recipe.shamir_threshold), (vec!["C".to_owned()], 2));
    assert_eq!(recipe.scope.selector, selector("encrypted_regex", "rule"));

    // A flag replaces its own sort of selector. Case G06: another sort is a conflict.
    let flag =
        |name| Overrides { selectors: vec![selector(name, "flag")], shamir_threshold: 1, ..Overrides::default() };
    let recipe = with(flag("encrypted_regex"), false).expect("a recipe");
    assert_eq!((recipe.scope.selector, recipe.shamir_threshold), (selector("encrypted_regex", "flag"), 1));
    assert_eq!(with(flag("unencrypted_regex"), false), Err(OverrideError::Conflict));

    // A file with a single value has no selector, so there is no conflict either.
    let recipe = with(flag("unencrypted_comment_regex"), true).expect("a recipe");
    assert_eq!(recipe.scope, Scope { selector: Selector::All, mac_only_encrypted: false });
    assert_eq!(recipe.ignored, ["encrypted_regex"]);

    // Without a rule.
    let none = CreationRule::default();
    assert_eq!(none.clone().override_with(Overrides::default(), false), Err(OverrideError::NoKeys));
    let recipe = none.override_with(Overrides { keys: key("C,D"), ..Overrides::default() }, false).expect("a recipe");
    assert_eq!((ids(&recipe.groups), recipe.scope), (vec!["C D".to_owned()], Scope::default()));
}

#[test]
fn a_file_is_published_to_one_place() {
    let wire = yaml!({ "destination_rules": [
        { "path_regex": "s3", "s3_bucket": "b", "s3_prefix": "p", "omit_extensions": true, "recreation_rule": { "pgp": "A" } },
        { "path_regex": "gcs", "gcs_bucket": "b" },
        { "path_regex": "vault", "vault_path": "x", "vault_address": "a", "vault_kv_mount_name": "m", "vault_kv_version": 1 },
        { "path_regex": "both", "s3_bucket": "b", "vault_path": "x" },
        { "path_regex": "none" },
    ] });
    let rules = rules(&wire).expect("rules");
    let text = |it: &str| it.to_owned();
    for (path, expected) in [
        ("s3", Ok(Target::S3 { bucket: text("b"), prefix: text("p") })),
        ("gcs", Ok(Target::Gcs { bucket: text("b"), prefix: text("") })),
        ("vault", Ok(Target::Vault { address: text("a"), path: text("x"), mount: text("m"), version: 1 })),
        ("none", Err("no destination configured for this file")),
        ("else", Err("error loading config: no matching destination found in config")),
        (
            "both",
            Err("error loading config: more than one destinations were found in a single destination rule, you can \
                 only use one per rule"),
        ),
    ] {
        let destination = rules.destination_for(path, &NAMING).map(|it| it.target).map_err(|it| it.message);
        assert_eq!(destination, expected.map_err(text), "{path}");
    }
    let destination = rules.destination_for("s3", &NAMING).expect("a destination");
    assert!(destination.omit_extensions);
    assert_eq!(ids(&destination.recreation.groups), ["A"]);
}
