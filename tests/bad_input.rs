//! Files that are broken, hostile or for somebody else: refused with sops's exit code and in plain words,
//! untouched, without a value on the screen, in bounded time and memory (guarantees A1, B, C4 and E1 to E3).

use std::fmt::Write;
use std::process::Command;
use std::thread;

use leafseal_tests::{KEYS, Outcome, Place, SOPS, difference, peer};

/// What every value begins with, and what is never said.
const SECRET: &str = "S3CR3T";

/// How many seconds of a processor a debug build gets; it needs a tenth of it. How long that takes is not its fault.
const TIME: u32 = 10;

fn plain() -> String {
    format!("a: {SECRET}-one\nb:\n    c: {SECRET}-two\n    n: 42\nlist:\n    - {SECRET}-three\n    - true\n")
}

/// The same document, sealed, as YAML and as JSON.
fn sealed(place: &Place) -> [(&'static str, String); 2] {
    place.write("plain.yaml", plain());
    let seal = |args: &[&str]| {
        let args = [&["encrypt", "--age", KEYS[0].recipient], args].concat();
        String::from_utf8(place.leafseal(&args).ok().expect("it is sealed")).expect("it is text")
    };
    [("yaml", seal(&["plain.yaml"])), ("json", seal(&["--output-type", "json", "plain.yaml"]))]
}

/// The built program with 1 GB of memory and so many seconds: it is ended by a signal if it needs more.
fn bounded(place: &Place, seconds: u32, program: &str, args: &[&str]) -> Command {
    let mut command = place.command("/bin/sh");
    let script = format!("ulimit -v 1000000; ulimit -t {seconds}; exec {program} \"$@\"");
    command.args(["-c", &script, "sh"]).args(args);
    command
}

/// What must hold whatever the input is.
fn check_any(name: &str, outcome: &Outcome) {
    let Outcome { code, stdout, stderr } = outcome;
    assert!(*code != 101 && !(129..160).contains(code), "{name}: exit {code}: {stderr}");
    assert!(!stderr.contains(SECRET), "{name}: a value is said: {stderr}");
    assert!(*code == 0 || stdout.is_empty(), "{name}: it failed and printed");
    assert!(*code == 0 || !stderr.is_empty(), "{name}: it failed without a word");
}

/// An input, what is done with it, and how that ends.
struct Bad {
    name: &'static str,
    /// The name of the file; its type goes by it.
    file: &'static str,
    content: Vec<u8>,
    args: &'static [&'static str],
    /// The exit code of both modes; sops's, unless sops panics.
    code: i32,
    /// What leafseal mode says.
    says: &'static [&'static str],
}

const ENCRYPT: &[&str] = &["encrypt", "-i", "--age", KEYS[0].recipient];
const DECRYPT: &[&str] = &["decrypt"];
const SET: &[&str] = &["set"];
const MERGE: &str = "looks like an unresolved merge: resolve it first";
const ROTATE: &[&str] = &["rotate", "-i"];

fn bad(
    name: &'static str,
    file: &'static str,
    content: impl Into<Vec<u8>>,
    args: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
) -> Bad {
    Bad { name, file, content: content.into(), args, code, says }
}

/// Swaps the first values of a sealed text.
fn swapped(text: &str) -> String {
    let values: Vec<_> = text.split("ENC[").skip(1).filter_map(|it| it.split(']').next()).collect();
    text.replacen(values[0], "@", 1).replacen(values[1], values[0], 1).replacen('@', values[1], 1)
}

/// Without the lines that hold `part`.
fn without(text: &str, part: &str) -> String {
    text.split_inclusive('\n').filter(|it| !it.contains(part)).collect()
}

fn conflict(ours: &str) -> String {
    format!("<<<<<<< HEAD\n{ours}=======\n{ours}>>>>>>> branch\n")
}

fn bomb() -> String {
    let mut text = format!("a0: &a0 [{SECRET}]\n");
    for n in 1..12 {
        let item = format!("*a{}", n - 1);
        writeln!(text, "a{n}: &a{n} [{}]", vec![item; 9].join(", ")).expect("text takes text");
    }
    text
}

fn table(yaml: &str, json: &str) -> Vec<Bad> {
    let mac = yaml.split_inclusive('\n').find(|it| it.contains("mac: ")).expect("it has one");
    vec![
        bad("swapped values", "f.yaml", swapped(yaml), DECRYPT, 25, &["[\"a\"]", "hint:"]),
        bad("swapped values", "f.json", swapped(json), DECRYPT, 25, &["[\"a\"]", "hint:"]),
        bad("swapped values", "f.yaml", swapped(yaml), SET, 25, &["[\"a\"]"]),
        bad("swapped values", "f.yaml", swapped(yaml), ROTATE, 25, &["[\"a\"]"]),
        bad(
            "value of another key",
            "f.yaml",
            yaml.replace("\na: ", "\nz: ").replacen("a: ", "z: ", 1),
            DECRYPT,
            25,
            &["[\"z\"]"],
        ),
        bad("value removed", "f.yaml", without(yaml, " n: "), DECRYPT, 51, &["changed since it was sealed", "hint:"]),
        bad("value removed", "f.yaml", without(yaml, " n: "), SET, 51, &["hint:"]),
        bad("value removed", "f.yaml", without(yaml, " n: "), ROTATE, 51, &["hint:"]),
        bad("value added in plain", "f.yaml", format!("a_unencrypted: x\n{yaml}"), DECRYPT, 51, &["hint:"]),
        bad("no MAC", "f.yaml", without(yaml, "mac: "), DECRYPT, 51, &["no MAC", "hint:"]),
        bad("wrong MAC", "f.yaml", yaml.replace(mac, &mac.replace("data:", "data:A")), DECRYPT, 51, &["MAC", "hint:"]),
        bad(
            "MAC of another time",
            "f.yaml",
            yaml.replace("lastmodified: \"2", "lastmodified: \"1"),
            DECRYPT,
            51,
            &["hint:"],
        ),
        bad(
            "duplicate key",
            "f.yaml",
            format!("a: {SECRET}\nb: 1\na: 2\n"),
            ENCRYPT,
            2,
            &["line 3", "line 1", "\"a\""],
        ),
        bad("duplicate key", "f.yaml", format!("a: 1\n{yaml}"), DECRYPT, 1, &["line 2", "line 1"]),
        bad("flow depth", "f.yaml", format!("a: {}", "[".repeat(100_000)), ENCRYPT, 2, &["line 1", "max depth"]),
        bad("flow depth", "f.yaml", format!("{yaml}x: {}", "[".repeat(100_000)), DECRYPT, 1, &["max depth"]),
        bad("mapping depth", "f.yaml", "{a: ".repeat(100_000), ENCRYPT, 2, &["max depth"]),
        bad("block depth", "f.yaml", format!("a:\n{}x", "- ".repeat(100_000)), ENCRYPT, 2, &["line 2", "max depth"]),
        bad("key depth", "f.yaml", "? ".repeat(100_000), ENCRYPT, 2, &["f.yaml"]),
        bad("JSON depth", "f.json", "{\"a\":".repeat(100_000), ENCRYPT, 2, &["line 1", "max depth"]),
        bad("JSON depth", "f.json", format!("{{\"a\":{}", "[".repeat(100_000)), DECRYPT, 1, &["max depth"]),
        bad("alias bomb", "f.yaml", bomb(), ENCRYPT, 2, &["excessive aliasing"]),
        bad("alias bomb", "f.yaml", format!("{yaml}{}", bomb()), DECRYPT, 1, &["excessive aliasing"]),
        bad("endless alias", "f.yaml", "a: &a [*a]\n", ENCRYPT, 2, &["a"]),
        bad(
            "not UTF-8",
            "f.yaml",
            [b"a: 1\nb: ", SECRET.as_bytes(), b"\xff\n"].concat(),
            ENCRYPT,
            2,
            &["line 2, column 10", "iconv"],
        ),
        bad("not UTF-8", "f.yaml", [yaml.as_bytes(), b"# \xff\n"].concat(), DECRYPT, 1, &["column 3", "iconv"]),
        bad("NUL", "f.yaml", format!("a: {SECRET}\0\n"), ENCRYPT, 2, &["line 1, column 10", "control characters"]),
        bad("unresolved merge", "f.yaml", conflict(&format!("a: {SECRET}\n")), ENCRYPT, 2, &["line 1", MERGE]),
        bad("unresolved merge", "f.yaml", yaml.replace(mac, &conflict(mac)), DECRYPT, 1, &[MERGE]),
        bad("unresolved merge", "f.yaml", yaml.replace(mac, &conflict(mac)), SET, 1, &[MERGE]),
        bad(
            "unresolved merge",
            "f.json",
            json.replacen("\t\"b\"", &conflict("\t\"b\""), 1),
            DECRYPT,
            1,
            &["line 3", MERGE],
        ),
        bad("empty", "f.yaml", "", ENCRYPT, 92, &["no document in it"]),
        bad("empty", "f.yaml", "", DECRYPT, 1, &["no document in it"]),
        bad("empty", "f.json", "", ENCRYPT, 2, &["no document in it"]),
        bad("empty", "f.json", "", DECRYPT, 1, &["no document in it"]),
        bad("blank", "f.yaml", " \n", ENCRYPT, 2, &["no document in it"]),
        bad("a list", "f.yaml", format!("- {SECRET}\n"), ENCRYPT, 2, &["line 1", "must be a mapping"]),
        bad("not closed", "f.yaml", format!("a: \"{SECRET}\nb: 1\n"), ENCRYPT, 2, &["line"]),
        bad("unknown escape", "f.yaml", format!("a: \"{SECRET}\\q\"\n"), ENCRYPT, 2, &["line 1", "escape"]),
        bad("tab", "f.yaml", format!("a:\n\t- {SECRET}\n"), ENCRYPT, 2, &["line 2"]),
        bad("not what its tag says", "f.yaml", format!("a: !!int {SECRET}\n"), ENCRYPT, 2, &["line 1", "!!int"]),
        bad("no JSON", "f.json", format!("{{\"a\": {SECRET}}}"), ENCRYPT, 2, &["line 1, column 7"]),
        bad("line break in JSON", "f.json", format!("{{\"a\": \"{SECRET}\n\"}}"), ENCRYPT, 2, &["line 1, column 14"]),
        bad("encrypted already", "f.yaml", yaml, ENCRYPT, 203, &["already", "hint:"]),
        bad("not encrypted", "f.yaml", plain(), DECRYPT, 1, &["not encrypted", "hint:"]),
        bad("not encrypted", "f.yaml", plain(), SET, 1, &["not encrypted", "hint:"]),
        bad(
            "unknown cipher",
            "f.yaml",
            yaml.replacen("AES256_GCM", "AES128_GCM", 1),
            DECRYPT,
            25,
            &["[\"a\"]", "hint:"],
        ),
        bad("unknown type", "f.yaml", yaml.replacen("type:int", "type:complex", 1), DECRYPT, 25, &["[\"n\"]", "hint:"]),
    ]
}

#[test]
fn bad_files_are_refused_as_sops_refuses_them_and_left_alone() {
    let place = Place::new();
    let [(_, yaml), (_, json)] = sealed(&place);
    let real_ones: Vec<_> = SOPS.iter().filter_map(|it| peer(it)).collect();
    let mut wrong = String::new();
    for Bad { name, file, content, args, code, says } in table(&yaml, &json) {
        place.write(file, &content);
        let tail: &[&str] = if args == SET { &[file, "[\"a\"]", "\"new\""] } else { &[file] };
        let args = [args, tail].concat();
        for program in ["leafseal", "sops"] {
            let outcome = Place::finish(&mut bounded(&place, TIME, program, &args), b"");
            let what = format!("{name} ({program} {})", args[0]);
            check_any(&what, &outcome);
            assert!(place.read(file) == content, "{what}: the file was touched");
            if outcome.code != code {
                _ = writeln!(wrong, "{what}: exit {}, want {code}: {}", outcome.code, outcome.stderr.trim());
            }
            if !outcome.stderr.contains(file) {
                _ = writeln!(wrong, "{what}: does not name the file: {}", outcome.stderr.trim());
            }
            let missing = says.iter().find(|it| program == "leafseal" && !outcome.stderr.contains(*it));
            if let Some(missing) = missing {
                _ = writeln!(wrong, "{what}: does not say {missing:?}: {}", outcome.stderr.trim());
            }
        }
        // Real sops expands the bomb until memory ends, takes a minute for what is deep, and panics on others.
        if content.len() < 50_000 && name != "alias bomb" && args[0] == "decrypt" {
            for sops in &real_ones {
                let real = place.run(sops, &args);
                if real.code != code && !real.stderr.contains("goroutine") {
                    _ = writeln!(wrong, "{name}: real sops exits {}: {}", real.code, real.stderr.trim());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn keys_that_do_not_fit_are_refused_in_plain_words() {
    let place = Place::new();
    let [(_, yaml), _] = sealed(&place);
    place.write("f.yaml", &yaml);
    place.write("garbage", "SECRET-GARBAGE\n");
    let [k2, garbage] = ["../K2", "garbage"].map(|it| place.work().join(it).display().to_string());
    for (name, key) in [("wrong", k2.as_str()), ("none", ""), ("missing", "/no/such/file"), ("garbage", &garbage)] {
        for args in [
            &["decrypt", "f.yaml"][..],
            &["set", "f.yaml", "[\"a\"]", "1"],
            &["rotate", "-i", "f.yaml"],
            &["edit", "f.yaml"],
        ] {
            for program in ["leafseal", "sops"] {
                let mut command = bounded(&place, TIME, program, args);
                command.env("SOPS_AGE_KEY_FILE", key).env("EDITOR", "true");
                if key.is_empty() {
                    command.env_remove("SOPS_AGE_KEY_FILE");
                }
                let outcome = Place::finish(&mut command, b"");
                check_any(name, &outcome);
                assert_eq!(outcome.code, 128, "{name} {args:?}: {}", outcome.stderr);
                let says = ["f.yaml", KEYS[0].recipient, "SOPS_AGE_KEY_FILE", "hint:"];
                assert!(says.iter().all(|it| outcome.stderr.contains(it)), "{name}: {}", outcome.stderr);
                assert!(!outcome.stderr.contains("GARBAGE"), "{}", outcome.stderr);
                assert_eq!(place.read("f.yaml"), yaml.as_bytes());
            }
        }
    }
}

/// Decrypts variants of a file side by side; what opens must say what the original says.
fn only_the_original(kind: &str, variants: &[(String, Vec<u8>)]) {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                let place = Place::new();
                let [(_, sealed), _] = sealed(&place);
                place.write("first.yaml", sealed);
                let want = place.leafseal(&["decrypt", "--output-type", "json", "first.yaml"]).stdout;
                let want: serde_json::Value = serde_json::from_slice(&want).expect("it is JSON");
                let file = format!("f.{kind}");
                for (name, bytes) in variants.iter().skip(worker).step_by(workers) {
                    place.write(&file, bytes);
                    let args = ["decrypt", "--output-type", "json", &file];
                    let outcome = Place::finish(&mut bounded(&place, TIME, "sops", &args), b"");
                    check_any(name, &outcome);
                    if outcome.code == 0 {
                        let got: serde_json::Value = serde_json::from_slice(&outcome.stdout).expect("it is JSON");
                        assert!(
                            got == want,
                            "{kind} {name}: it opens and says something else: {}",
                            difference(want.to_string().as_bytes(), got.to_string().as_bytes())
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn a_file_that_ends_early_never_opens_as_another() {
    let place = Place::new();
    for (kind, text) in sealed(&place) {
        let lines = text.match_indices('\n').map(|(at, _)| at + 1).filter(|at| *at < text.len());
        let some = (0..text.len()).step_by(37);
        let ends: Vec<usize> = lines.chain(some).collect();
        let variants: Vec<_> =
            ends.iter().map(|&end| (format!("the first {end} bytes"), text.as_bytes()[..end].to_vec())).collect();
        only_the_original(kind, &variants);
    }
}

#[test]
fn a_file_that_ends_early_has_the_exit_code_of_sops() {
    let place = Place::new();
    let Some(sops) = peer(SOPS[1]) else { return };
    let mut wrong = String::new();
    for (kind, text) in sealed(&place) {
        for (at, _) in text.match_indices('\n').filter(|(at, _)| at + 1 < text.len()) {
            let file = format!("f.{kind}");
            place.write(&file, &text[..=at]);
            let (real, ours) = (place.run(&sops, &["decrypt", &file]), place.sops(&["decrypt", &file]));
            if real.code != ours.code {
                _ = writeln!(
                    wrong,
                    "{kind}, {at} bytes: {} and {}: {} {}",
                    real.code,
                    ours.code,
                    real.stderr.trim(),
                    ours.stderr.trim()
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_flipped_bit_never_makes_another_value() {
    let place = Place::new();
    for (kind, text) in sealed(&place) {
        let flip = |at: usize| {
            let mut bytes = text.clone().into_bytes();
            let bit = at * 5 % 8;
            bytes[at] ^= 1 << bit;
            (format!("byte {at}, bit {bit}"), bytes)
        };
        let variants: Vec<_> = (0..text.len()).map(flip).collect();
        only_the_original(kind, &variants);
    }
}

#[test]
fn what_is_not_known_is_kept() {
    let place = Place::new();
    let [(_, yaml), (_, json)] = sealed(&place);
    let unknown_yaml = "    future_field:\n        - x: 1\n          y: [a, b]\n    other: word\n";
    let kms_yaml = "    kms:\n        - arn: arn:aws:kms:us-east-1:1:key/x\n          created_at: \"2020-01-01T00:00:00Z\"\n          \
        enc: AAAA\n          aws_profile: \"\"\n";
    let kind_yaml = "    new_kind:\n        - recipient: x\n          enc: y\n";
    let unknown_json = "\t\t\"future_field\": [{\"x\": 1}],\n";
    let cases = [
        ("f.yaml", yaml.replacen("    lastmodified", &format!("{unknown_yaml}    lastmodified"), 1), unknown_yaml),
        ("f.yaml", yaml.replacen("sops:\n", &format!("sops:\n{kms_yaml}"), 1), kms_yaml),
        ("f.yaml", yaml.replacen("sops:\n", &format!("sops:\n{kind_yaml}"), 1), kind_yaml),
        ("f.json", json.replacen("\t\t\"lastmodified", &format!("{unknown_json}\t\t\"lastmodified"), 1), unknown_json),
    ];
    for (file, text, part) in cases {
        place.write(file, &text);
        assert!(text.contains(part));
        place.write("append.sh", "sed -i 's/-two/-edited/' \"$1\"\n");
        let set = place.leafseal(&["set", file, "[\"a\"]", "\"new\""]);
        assert_eq!(set.code, 0, "{}", set.stderr);
        let mut edit = place.command("leafseal");
        let edit = Place::finish(edit.args(["edit", file]).env("EDITOR", "sh append.sh"), b"");
        assert_eq!(edit.code, 0, "{}", edit.stderr);
        let after = String::from_utf8(place.read(file)).expect("it is text");
        assert!(after.contains(part), "{part} is gone: {after}");
        let opened = place.leafseal(&["decrypt", "--extract", "[\"b\"][\"c\"]", file]);
        assert_eq!(String::from_utf8_lossy(&opened.stdout), format!("{SECRET}-edited"), "{}", opened.stderr);
    }
}

#[test]
fn rules_that_cannot_be_used_stop_what_uses_them_and_nothing_else() {
    let place = Place::new();
    let [(_, yaml), _] = sealed(&place);
    place.write("f.yaml", &yaml);
    let age = KEYS[0].recipient;
    for (rules, says) in [
        (
            format!("creation_rules:\n  - encrypted_regex: \"(\"\n    age: {age}\n"),
            &[":2:", "encrypted_regex", "character 1"][..],
        ),
        (format!("creation_rules:\n  - path_regex: \"*\"\n    age: {age}\n"), &[":2:", "path_regex"]),
        (
            format!(
                "creation_rules:\n  - age: {age}\n  - encrypted_regex: \"(\"\n    path_regex: none\n    age: {age}\n"
            ),
            &[":3:"],
        ),
        ("creation_rules:\n  - age: nonsense\n".to_owned(), &[":2:", "nonsense"]),
        (conflict(&format!("creation_rules:\n  - age: {age}\n")), &["looks like an unresolved merge"]),
        ("- x\n".to_owned(), &["must be a mapping"]),
        (format!("creation_rules: {}", "[".repeat(100_000)), &["max depth"]),
    ] {
        place.write(".sops.yaml", &rules);
        for program in ["leafseal", "sops"] {
            let mut command = bounded(&place, TIME, program, &["encrypt", "-i", "plain.yaml"]);
            let outcome = Place::finish(&mut command, b"");
            check_any(says[0], &outcome);
            assert_eq!(outcome.code, 1, "{rules:.80}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(".sops.yaml"), "{}", outcome.stderr);
            assert!(
                program == "sops" || says.iter().all(|it| outcome.stderr.contains(it)),
                "{says:?}: {}",
                outcome.stderr
            );
            assert_eq!(place.read("plain.yaml"), plain().into_bytes());
        }
        let decrypted = place.leafseal(&["decrypt", "f.yaml"]);
        assert_eq!(decrypted.stdout, plain().into_bytes(), "{}", decrypted.stderr);
    }
}

#[test]
fn what_is_huge_is_sealed_or_refused_in_bounded_memory() {
    let place = Place::new();
    let many: String = (0..3000).map(|n| format!("key{n}: {SECRET}{n}\n")).collect();
    place.write("many.yaml", many);
    place.write("line.yaml", format!("a: {}\n", "x".repeat(8 << 20)));
    place.write("line.json", format!("{{\"a\": \"{}\"}}\n", "x".repeat(8 << 20)));
    place.write("escapes.json", format!("{{\"a\": \"{}\"}}\n", "\\u00e9".repeat(1 << 16)));
    place.write("comments.yaml", format!("a: one\n{}", "# note\n".repeat(5000)));
    place.write("aliases.yaml", format!("a: &a one\nl:\n{}", "- *a\n".repeat(3000)));
    for file in ["many.yaml", "line.yaml", "line.json", "escapes.json", "comments.yaml", "aliases.yaml"] {
        let before = place.read(file);
        for args in [&["encrypt", "-i", "--age", KEYS[0].recipient, file][..], &["decrypt", "-i", file]] {
            let outcome = Place::finish(&mut bounded(&place, 6 * TIME, "leafseal", args), b"");
            assert_eq!(outcome.code, 0, "{file}: {}", outcome.stderr);
        }
        assert!(place.read(file) == before, "{file}");
    }
}

/// Memory is asked for, not only used: what a tree or a text may still grow by counts.
#[test]
fn every_command_takes_memory_in_proportion_to_the_file() {
    /// What the program takes for a file of a few lines, in KiB, and how often a file may be in memory.
    const PROGRAM: usize = 22 << 10;
    const TIMES: usize = 7;
    let place = Place::new();
    place.write("list.json", format!("{{\"a\": \"x\", \"l\": [{}]}}\n", vec!["123456789"; 40_000].join(", ")));
    place.write("comments.yaml", format!("a: x\n{}", "# a note about nothing\n".repeat(24_000)));
    for file in ["list.json", "comments.yaml"] {
        place.leafseal(&["encrypt", "-i", "--age", KEYS[0].recipient, file]).ok().expect("it is sealed");
        place.write(".sops.yaml", format!("creation_rules:\n  - age: {},{}\n", KEYS[0].recipient, KEYS[1].recipient));
        let limit = PROGRAM + TIMES * place.read(file).len() / 1024;
        for args in [
            &["decrypt", file][..],
            &["decrypt", "--extract", "[\"a\"]", file],
            &["set", file, "[\"a\"]", "\"y\""],
            &["set", file, "[\"b\"]", "[1, 2]"],
            &["unset", file, "[\"b\"]"],
            &["edit", file],
            &["rotate", "-i", file],
            &["updatekeys", "-y", file],
            &["recipients", file],
        ] {
            let mut command = place.command("/bin/sh");
            command.args(["-c", &format!("ulimit -v {limit}; exec leafseal \"$@\""), "sh"]).args(args);
            let outcome = Place::finish(command.env("EDITOR", "sed -i s/y/z/"), b"");
            assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
        }
    }
}
