//! The architecture, as a test: floors, forbidden dependencies, first lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use leafseal_tests::workspace;

/// The floors of `lib`, lowest first. A module uses modules of lower floors only.
const FLOORS: &[&[&str]] = &[
    &["edge"],
    &["key_path", "secret", "value", "pattern"],
    &["cipher", "envelope", "mac", "metadata", "scope", "shamir", "tree"],
    &["format", "keyservice"],
    &["file", "keyring", "recipients", "rules"],
    &["provider", "template"],
];

/// Steps along one floor that are allowed, each because the one is a part of what the other is.
const NAMED_STEPS: &[(&str, &str)] =
    &[("cipher", "envelope"), ("metadata", "scope"), ("metadata", "tree"), ("value", "secret")];

/// What `lib` never depends on: it does no input or output and has no clock.
const NOT_IN_LIB: &[&str] =
    &["anstream", "clap", "clap_complete", "dirs", "rpassword", "rustix", "signal-hook", "tempfile"];

/// What only providers need, which reach the network: dependencies of `lib` that are not there unless
/// somebody asks for providers.
const OF_PROVIDERS: &[&str] =
    &["bytes", "futures", "gjson", "http", "k8s-openapi", "kube", "reqwest", "tokio", "vaultrs"];

/// Crates that reach the network, and where alone they may be used.
const NETWORK: &[(&str, &[&str])] = &[
    ("vaultrs", &["lib/src/keyservice/", "lib/src/provider/"]),
    ("rustify", &["lib/src/keyservice/", "lib/src/provider/"]),
    ("reqwest", &["lib/src/keyservice/", "lib/src/provider/", "operator/src/"]),
    ("kube", &["lib/src/provider/kubernetes.rs", "operator/src/"]),
    ("k8s_openapi", &["lib/src/provider/kubernetes.rs", "operator/src/"]),
    ("tokio", &["lib/src/provider/", "operator/src/"]),
    ("gjson", &["lib/src/provider/", "operator/src/"]),
    ("ureq", &["lib/src/keyservice/", "lib/src/provider/"]),
    ("hyper", &["lib/src/keyservice/", "lib/src/provider/", "operator/src/"]),
    ("tonic", &["lib/src/keyservice/", "cli/src/commands/keyservice.rs"]),
    ("aws_sdk_kms", &["lib/src/keyservice/"]),
];

/// Crates that belong to one kind of key: everybody else goes by what that kind offers.
const OF_ONE_KIND: &[(&str, &[&str])] = &[("sequoia_openpgp", &["lib/src/keyservice/pgp"])];

/// A source file: its path from the top of the work tree, and its code without comments and tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&workspace().join(folder), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a source file is text");
            let path = file.strip_prefix(workspace()).expect("it is in the work tree").display().to_string();
            let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
            let code = code.lines().filter(|it| !it.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            Source { path, text, code }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

/// The names that follow `prefix` in `code`, also in `prefix{a, b::c}`.
fn used(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => drop(names.insert(rest.chars().take_while(|c| is_word(*c)).collect())),
            Some(list) => {
                let (mut depth, mut word, mut starts) = (0, String::new(), true);
                for c in list.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => starts = true,
                        c if is_word(c) && depth == 0 && starts => {
                            word.push(c);
                            continue;
                        }
                        c if c.is_whitespace() => continue,
                        _ if depth == 0 => starts = false,
                        _ => (),
                    }
                    if !word.is_empty() {
                        names.insert(std::mem::take(&mut word));
                        starts = c == ',';
                    }
                }
                if !word.is_empty() {
                    names.insert(word);
                }
            }
        }
    }
    names.remove("");
    names
}

/// The module of `lib` that a file belongs to: `lib/src/tree/mod.rs` to `tree`.
fn module(path: &str) -> &str {
    let inside = path.strip_prefix("lib/src/").unwrap_or(path);
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|it| it.contains(&module))
}

/// Fails with every complaint at once.
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn names_after_a_path_are_found() {
    let code =
        "use crate::tree::{Edits, Wire};\nuse crate::{secret::{DataKey, SecretText}, value};\n    crate::edge::Rng";
    assert_eq!(used(code, "crate::"), ["edge", "secret", "tree", "value"].map(str::to_owned).into());
}

#[test]
fn every_file_begins_with_what_it_is() {
    let all = ["lib", "cli", "operator", "tests", "xtask"].into_iter().flat_map(sources);
    let complaints: Vec<String> = all
        .filter(|it| !it.text.starts_with("//! ") || it.text.lines().next().is_none_or(|line| line.len() < 10))
        .map(|it| format!("{}: does not begin with one sentence `//! …`", it.path))
        .collect();
    report(&complaints);
}

#[test]
fn modules_of_lib_use_lower_floors_only() {
    let mut complaints = Vec::new();
    for source in sources("lib/src").iter().filter(|it| it.path != "lib/src/lib.rs") {
        let module = module(&source.path);
        let Some(own) = floor(module) else {
            complaints.push(format!("{}: `{module}` is on no floor: give it one in tests/tidy.rs", source.path));
            continue;
        };
        for other in used(&source.code, "crate::") {
            let Some(theirs) = floor(&other) else { continue };
            if other != module && theirs >= own && !NAMED_STEPS.contains(&(module, &other)) {
                complaints.push(format!("{}: floor {own} uses `{other}` on floor {theirs}", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn lib_depends_on_nothing_with_an_outside() {
    let manifest = fs::read_to_string(workspace().join("lib/Cargo.toml")).expect("lib has a manifest");
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let names = dependencies.lines().filter_map(|it| it.split(['.', ' ', '=']).next());
    let complaints: Vec<String> =
        names.filter(|it| NOT_IN_LIB.contains(it)).map(|it| format!("lib/Cargo.toml: lib never uses {it}")).collect();
    report(&complaints);
}

/// Modules of `operator` that decide: values in, values out.
const DECIDES: &[&str] = &[
    "operator/src/adapter",
    "operator/src/api",
    "operator/src/conditions.rs",
    "operator/src/digest.rs",
    "operator/src/go.rs",
    "operator/src/identity.rs",
    "operator/src/intent.rs",
    "operator/src/plan",
    "operator/src/rollout",
];

#[test]
fn what_decides_in_the_operator_does_nothing_else() {
    let mut complaints = Vec::new();
    for source in sources("operator/src").iter().filter(|it| DECIDES.iter().any(|at| it.path.starts_with(at))) {
        for word in ["async ", ".await", "kube::Client", "crate::engine", "Timestamp::now("] {
            if source.code.contains(word) {
                complaints.push(format!("{}: decides, and must not use `{word}`", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn one_module_of_the_engine_writes_to_the_cluster() {
    let mut complaints = Vec::new();
    let engine = ["operator/src/engine", "operator/src/store", "operator/src/check"].into_iter().flat_map(sources);
    for source in engine.filter(|it| it.path != "operator/src/engine/apply.rs") {
        for call in
            [".replace(&", ".patch(&", ".patch_status(", ".patch_metadata(", ".delete_collection(", "api.create("]
        {
            if source.code.contains(call) {
                complaints.push(format!("{}: writes to the cluster with `{call}`: engine/apply.rs does", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn what_providers_need_is_there_for_them_alone() {
    let manifest = fs::read_to_string(workspace().join("lib/Cargo.toml")).expect("lib has a manifest");
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let is_optional = |name: &str| {
        let line = dependencies.lines().find(|it| it.split(['.', ' ', '=']).next() == Some(name));
        line.is_none_or(|it| it.contains("optional = true"))
    };
    let complaints: Vec<String> = OF_PROVIDERS
        .iter()
        .filter(|it| !is_optional(it))
        .map(|it| format!("lib/Cargo.toml: {it} is there for providers alone: make it optional"))
        .collect();
    report(&complaints);
}

#[test]
fn crates_with_a_place_stay_there() {
    let mut complaints = Vec::new();
    for source in ["lib/src", "cli/src", "operator/src"].into_iter().flat_map(sources) {
        for (name, folders) in NETWORK.iter().chain(OF_ONE_KIND) {
            let is_used = !used(&source.code, &format!("{name}::")).is_empty();
            if is_used && !folders.iter().any(|it| source.path.starts_with(it)) {
                complaints.push(format!("{}: {name} belongs in {}", source.path, folders.join(" or ")));
            }
        }
    }
    report(&complaints);
}

/// One lockfile cannot hold both sequoia 2.4 and age 0.12: they link versions of `kem` that exclude
/// each other, and cargo would go back to an older sequoia without a word.
#[test]
fn sequoia_is_held_where_age_can_follow() {
    let lock = fs::read_to_string(workspace().join("Cargo.lock")).expect("there is a lockfile");
    let version = |name: &str| {
        let versions: Vec<&str> = lock
            .split("[[package]]")
            .filter(|it| it.contains(&format!("\nname = \"{name}\"\n")))
            .filter_map(|it| it.split("version = \"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(versions.len(), 1, "{name}");
        versions[0]
    };
    let (age, sequoia) = (version("age"), version("sequoia-openpgp"));
    assert!(!age.starts_with("0.12.") || sequoia.starts_with("2.3."), "age {age}, sequoia {sequoia}");
}

#[test]
fn a_format_never_sees_a_key_and_a_key_service_never_a_document() {
    let mut complaints = Vec::new();
    for source in sources("lib/src") {
        let forbidden: &[&str] = match module(&source.path) {
            "format" => &["crate::keyservice", "crate::cipher", "DataKey", "KeyPart"],
            "keyservice" => &["crate::format", "crate::file", "Tree", "Edits"],
            _ => &[],
        };
        for name in forbidden {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let stands = source
                .code
                .match_indices(name)
                .any(|(at, _)| !source.code[..at].ends_with(word) && !source.code[at + name.len()..].starts_with(word));
            if stands {
                complaints.push(format!("{}: never uses `{name}`", source.path));
            }
        }
    }
    report(&complaints);
}

#[test]
fn commands_do_not_import_each_other() {
    let mut complaints = Vec::new();
    let commands = sources("cli/src/commands");
    let names: BTreeSet<&str> = commands
        .iter()
        .filter_map(|it| it.path.strip_prefix("cli/src/commands/")?.strip_suffix(".rs"))
        .filter(|it| *it != "mod")
        .collect();
    for source in commands.iter().filter(|it| !it.path.ends_with("/mod.rs")) {
        for prefix in ["crate::commands::", "super::"] {
            for other in used(&source.code, prefix).iter().filter(|it| names.contains(it.as_str())) {
                complaints.push(format!("{}: imports the command `{other}`", source.path));
            }
        }
    }
    report(&complaints);
}
