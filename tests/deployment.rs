//! A deployment repository with two OpenPGP keys: what real sops or we write there, the other opens, edits,
//! rotates and re-keys.
#![cfg(unix)]

use leafseal_tests::gnupg::Gnupg;
use leafseal_tests::{Outcome, Place, SOPS, peer, workspace};

const TEAM: &str = "5C2F718DA41C484D1EF2506C728A3D1B5FB9AE73";
const BACKUP: &str = "12A94B6DF77753BB04499258B98A2D8F19ED8D53";

const DEVELOPMENT: &str = "environments/development/secrets/postgresql.yaml";
const PRODUCTION: &str = "environments/production/secrets/postgresql.yaml";
/// Neither its name nor its extension says what is inside.
const STAGING: &str = "environments/staging/secrets.yaml.enc";

/// What real sops is called here, and what the built program is.
const REAL: &str = "real";
const OURS: [&str; 2] = ["sops", "leafseal"];

/// The example, real sops of a version, and GnuPG homes with both keys or one of them.
struct Scene {
    place: Place,
    both: Gnupg,
    team: Gnupg,
    backup: Gnupg,
}

impl Scene {
    /// `None`, and reported, if a program is not there.
    fn new(version: &str) -> Option<Self> {
        let (real, gpg) = (peer(version)?, peer("gpg")?);
        let place = Place::new();
        place.program(REAL, &real);
        let example = workspace().join("examples/deployment");
        let copied = std::process::Command::new("cp").arg("-R").arg(example).arg(place.work()).status();
        assert!(copied.expect("cp runs").success());
        let both = Gnupg::new(&gpg);
        both.ok(&["--import"], &place.read("deployment/keys/example-keys.asc"));
        let one = |fingerprint: &str| {
            place.write(fingerprint, both.secret(fingerprint, ""));
            let home = Gnupg::new(&gpg);
            home.ok(&["--import"], &both.ok(&["--export"], b""));
            home.ok(&["--import"], &both.secret(fingerprint, ""));
            home
        };
        let (team, backup) = (one(TEAM), one(BACKUP));
        Some(Self { place, both, team, backup })
    }

    fn run(&self, home: &Gnupg, program: &str, args: &[&str], editor: &str) -> Outcome {
        let mut command = self.place.command(self.place.work().join("../bin").join(program));
        command.current_dir(self.place.work().join("deployment")).env("GNUPGHOME", home.path()).env("EDITOR", editor);
        Place::finish(command.env_remove("SOPS_AGE_KEY_FILE").args(args), b"")
    }

    /// Runs a program with both keys, which must succeed.
    fn ask(&self, program: &str, args: &[&str]) -> Outcome {
        self.edit(program, args, "false")
    }

    fn edit(&self, program: &str, args: &[&str], editor: &str) -> Outcome {
        let outcome = self.run(&self.both, program, args, editor);
        assert_eq!(outcome.code, 0, "{program} {args:?}: {}", outcome.stderr);
        outcome
    }

    fn text(&self, file: &str) -> String {
        String::from_utf8(self.place.read(&format!("deployment/{file}"))).expect("YAML is text")
    }

    fn write(&self, file: &str, text: &str) {
        self.place.write(&format!("deployment/{file}"), text);
    }

    /// The fingerprints in a file, in their order.
    fn readers(&self, file: &str) -> Vec<String> {
        self.text(file).lines().filter_map(|it| it.trim().strip_prefix("fp: ")).map(str::to_owned).collect()
    }

    /// Everybody opens a file to the same text, with either key alone if it has both; we do with
    /// exported keys and no gpg as well. The text is returned.
    fn opens(&self, file: &str) -> String {
        let decrypt = ["decrypt", "--input-type", "yaml", "--output-type", "yaml", file];
        let readers = self.readers(file);
        let homes = [(TEAM, &self.team), (BACKUP, &self.backup)];
        let mut texts: Vec<String> = Vec::new();
        for (fingerprint, home) in homes {
            let is_reader = readers.iter().any(|it| it == fingerprint);
            for program in [REAL, OURS[0], OURS[1]] {
                let outcome = self.run(home, program, &decrypt, "false");
                assert_eq!(outcome.code, if is_reader { 0 } else { 128 }, "{program} {file}: {}", outcome.stderr);
                texts.extend(is_reader.then(|| String::from_utf8_lossy(&outcome.stdout).into_owned()));
            }
            let mut command = self.place.command(self.place.work().join("../bin/leafseal"));
            command.env("PATH", "/nonexistent").env("LEAFSEAL_PGP_KEYS", format!("../{fingerprint}"));
            command.current_dir(self.place.work().join("deployment"));
            let outcome = Place::finish(command.args(decrypt), b"");
            assert_eq!(outcome.code == 0, is_reader, "{file}: {}", outcome.stderr);
            texts.extend(is_reader.then(|| String::from_utf8_lossy(&outcome.stdout).into_owned()));
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{file}");
        texts.remove(0)
    }
}

/// Does something with every version of real sops, each of our modes, and either side first.
fn for_each_pair(act: impl Fn(&Scene, &str, &str)) {
    for version in SOPS {
        let Some(scene) = Scene::new(version) else { return };
        for ours in OURS {
            act(&scene, REAL, ours);
            act(&scene, ours, REAL);
        }
    }
}

#[test]
fn what_lies_there_opens_with_either_key() {
    for version in SOPS {
        let Some(scene) = Scene::new(version) else { return };
        assert_eq!(scene.opens(DEVELOPMENT), "postgresql:\n    masterPassword: correct-horse\n");
        assert!(scene.opens(PRODUCTION).contains("username: app\n    masterPassword: tr0ub4dor&3\n"));
        assert!(scene.opens(STAGING).contains("password: \"0042\"\n        oldPassword: 31\n"));
    }
}

#[test]
fn new_files_are_for_both_keys() {
    for_each_pair(|scene, writer, _| {
        for (file, plain, clear) in [
            ("environments/development/secrets/api.yaml", "apiToken: example\nusername: app\n", false),
            ("environments/production/secrets/api.yaml", "apiToken: example\nusername: app\n", true),
        ] {
            scene.write(file, plain);
            scene.ask(writer, &["encrypt", "-i", file]);
            assert_eq!(scene.readers(file), [TEAM, BACKUP], "{writer}");
            assert_eq!(scene.text(file).contains("username: app"), clear, "{writer}");
            assert_eq!(scene.opens(file), plain, "{writer}");
        }
    });
}

#[test]
fn both_edit_what_the_other_has_edited() {
    for_each_pair(|scene, first, second| {
        let files = [(DEVELOPMENT, "correct-horse"), (PRODUCTION, "tr0ub4dor&3"), (STAGING, "battery-staple")];
        for (file, password) in files {
            let (before, original) = (scene.opens(file), scene.text(file));
            assert!(before.contains(password));
            let edit = ["edit", "--input-type", "yaml", "--output-type", "yaml", file];
            scene.edit(first, &edit, &format!("sed -i 's/{password}/\"0x1F\"/'"));
            assert_eq!(scene.opens(file), before.replace(password, "\"0x1F\""), "{first} {file}");
            scene.edit(second, &edit, &format!("sed -i 's/\"0x1F\"/{}/'", password.replace('&', "\\&")));
            assert_eq!(scene.opens(file), before, "{second} {file}");
            // The data key stays, and so does what is wrapped.
            let wrapped = |it: &str| it[it.find("    pgp:").expect("there are keys")..].replace("version", "");
            let keys = |it: &str| wrapped(it).split("unencrypted").next().map(|it| it.replace("3.11.0", "3.13.3"));
            assert_eq!(keys(&original), keys(&scene.text(file)), "{first} {second}");
        }
    });
}

#[test]
fn both_rotate_and_give_and_take_keys() {
    for_each_pair(|scene, first, second| {
        for file in [STAGING] {
            let (before, original) = (scene.opens(file), scene.text(file));
            let rotate = |program: &str, more: &[&str]| {
                scene.ask(
                    program,
                    &[&["rotate", "-i", "--input-type", "yaml", "--output-type", "yaml"], more, &[file]].concat(),
                );
            };
            for program in [first, second] {
                rotate(program, &[]);
                assert_eq!(scene.readers(file), [TEAM, BACKUP]);
                assert_eq!(scene.opens(file), before);
            }
            rotate(first, &["--rm-pgp", BACKUP]);
            assert_eq!(scene.readers(file), [TEAM]);
            assert_eq!(scene.opens(file), before);
            rotate(second, &["--add-pgp", BACKUP, "--rm-pgp", TEAM]);
            assert_eq!(scene.readers(file), [BACKUP]);
            assert_eq!(scene.opens(file), before);
            rotate(first, &["--add-pgp", TEAM]);
            assert_eq!(scene.readers(file), [BACKUP, TEAM]);
            assert_eq!(scene.opens(file), before);
            scene.write(file, &original);
        }
    });
}

/// Two rules without a `path_regex`: the second is never reached, and its key is dropped.
#[test]
fn a_key_that_the_rules_lose_is_named() {
    for_each_pair(|scene, first, second| {
        let (original, rules) = (scene.text(DEVELOPMENT), scene.text(".sops.yaml"));
        let plain = scene.opens(DEVELOPMENT);
        scene.write(".sops.yaml", &format!("creation_rules:\n  - pgp: {TEAM}\n  - pgp: {BACKUP}\n"));
        let outcome = scene.ask(first, &["updatekeys", "--yes", DEVELOPMENT]);
        assert_eq!(scene.readers(DEVELOPMENT), [TEAM], "{first}");
        let warning = format!("{BACKUP} can no longer read {DEVELOPMENT}");
        assert!(first == REAL || outcome.stderr.contains(&warning), "{first}: {}", outcome.stderr);
        assert_eq!(scene.opens(DEVELOPMENT), plain);
        scene.write(".sops.yaml", &rules);
        scene.ask(second, &["updatekeys", "--yes", DEVELOPMENT]);
        assert_eq!(scene.readers(DEVELOPMENT), [TEAM, BACKUP], "{second}");
        assert_eq!(scene.opens(DEVELOPMENT), plain);
        scene.write(DEVELOPMENT, &original);
    });
}

/// As sops before 3.10 wrote it: with a list for every kind of key.
#[test]
fn empty_lists_of_an_older_sops_do_no_harm() {
    for_each_pair(|scene, first, second| {
        let lists = "    kms: []\n    gcp_kms: []\n    azure_kv: []\n    hc_vault: []\n    age: []\n";
        let file = "environments/old.yaml";
        let text = scene.text(DEVELOPMENT).replace("sops:\n", &format!("sops:\n{lists}"));
        let version = text.find("    version: ").expect("it has one");
        scene.write(file, &format!("{}    version: 3.9.1\n", &text[..version]));
        let before = scene.opens(file);
        for (program, from, to) in [(first, "correct-horse", "one"), (second, "one", "correct-horse")] {
            scene.edit(program, &["edit", file], &format!("sed -i s/{from}/{to}/"));
            assert_eq!(
                scene.opens(file),
                before.replace("correct-horse", if to == "one" { to } else { "correct-horse" })
            );
            scene.ask(program, &["rotate", "-i", file]);
            scene.opens(file);
        }
        assert_eq!(scene.opens(file), before);
    });
}

/// Old and weak keys: 1024 bits, several in one file, messages that are compressed and of which nobody
/// knows how long they are.
#[test]
fn old_messages_to_weak_keys_open() {
    for version in SOPS {
        let Some(scene) = Scene::new(version) else { return };
        let gpg = &scene.both;
        let weak = gpg.generate(&[], "weak", ["rsa1024", "default", "never"], "");
        gpg.add(&[], &weak, ["rsa1024", "encr", "never"], "");
        let file = "environments/weak.yaml";
        scene.write(file, "a: hello\n");
        scene.ask(REAL, &["encrypt", "-i", "--pgp", &weak, file]);
        let text = scene.text(file);
        let (start, end) = (text.find("-----BEGIN").expect("a message"), text.find("-----END").expect("a message"));
        let message: String = text[start..end].lines().map(|it| format!("{}\n", it.trim())).collect();
        let key = gpg.ok(&["-d"], format!("{message}-----END PGP MESSAGE-----\n").as_bytes());
        let again = gpg.ok(&["-ea", "--rfc4880", "-z", "9", "--compress-algo", "zlib", "-r", &weak], &key);
        let again = String::from_utf8(again).expect("armour is text");
        let again = again.trim_end().lines().map(|it| format!("            {it}").trim_end().to_owned());
        let again = again.collect::<Vec<_>>().join("\n");
        let rest = &text[end + "-----END PGP MESSAGE-----".len()..];
        scene.write(file, &format!("{}{}{rest}", &text[..start], again.trim_start()));
        // Secret and public keys of several, in blocks of their own.
        let block =
            |option: &str, user: &str| String::from_utf8(gpg.ok(&["--armor", option, user], b"")).expect("text");
        let blocks = [TEAM, &weak].map(|it| block("--export-secret-keys", it)).concat();
        let blocks = blocks + &[BACKUP, TEAM, &weak].map(|it| block("--export", it)).concat();
        scene.place.write("keys.asc", blocks);
        for program in [REAL, OURS[0], OURS[1]] {
            assert_eq!(scene.ask(program, &["decrypt", file]).stdout, b"a: hello\n", "{program}");
        }
        let mut command = scene.place.command(scene.place.work().join("../bin/leafseal"));
        command.current_dir(scene.place.work().join("deployment"));
        command.env("PATH", "/nonexistent").env("LEAFSEAL_PGP_KEYS", "../keys.asc");
        let outcome = Place::finish(command.args(["rotate", "-i", "--add-pgp", BACKUP, "--keep-readers", file]), b"");
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("has only 1024 bits"), "{}", outcome.stderr);
        assert_eq!(scene.readers(file), [&weak, BACKUP]);
        assert_eq!(scene.ask(REAL, &["decrypt", file]).stdout, b"a: hello\n");
    }
}
