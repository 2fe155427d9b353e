//! Key groups in both directions with real sops: any enough of them open a file, fewer do not.

use std::path::Path;

use leafseal_tests::gnupg::Gnupg;
use leafseal_tests::{Outcome, Place, SOPS, Trials, difference, peer};

/// The most groups that are tried.
const MOST: usize = 5;

/// Who wrote a file, and who reads it.
const DIRECTIONS: [(&str, &str); 3] = [("sops", "real"), ("real", "sops"), ("leafseal", "leafseal")];

fn main() {
    let mut trials = Trials::default();
    for version in SOPS {
        for extension in ["yaml", "json"] {
            for groups in 1..=MOST {
                let name = format!("open {version} {extension} {groups}");
                trials.add(name, move || open(version, extension, groups));
            }
            trials.add(format!("change {version} {extension}"), move || change(version, extension));
            trials.add(format!("mixed {version} {extension}"), move || mixed(version, extension));
        }
    }
    trials.add("layout", layout);
    trials.run();
}

/// A place with real sops of a version and an age key for each group.
struct Scene {
    place: Place,
    recipients: Vec<String>,
    file: String,
    plain: &'static str,
}

impl Scene {
    /// `None`, and reported, if a program is not there.
    fn new(version: &str, extension: &str) -> Option<Self> {
        let (real, keygen) = (peer(version)?, peer("age-keygen")?);
        let place = Place::new();
        place.program("real", &real);
        let mut recipients = Vec::new();
        for n in 0..MOST {
            let identity = place.run(&keygen, &[]).ok().expect("age-keygen makes keys");
            let text = String::from_utf8(identity).expect("it is text");
            let recipient = text.lines().find_map(|it| it.strip_prefix("# public key: ")).expect("it says so");
            recipients.push(recipient.to_owned());
            place.write(&format!("key{n}"), &text);
        }
        let plain = match extension {
            "json" => "{\n\t\"a\": \"secret\",\n\t\"b\": 2\n}\n",
            _ => "a: secret\nb: 2\n",
        };
        let file = format!("plain.{extension}");
        place.write(&file, plain);
        Some(Self { place, recipients, file, plain })
    }

    /// A rule with so many groups. Every second one has another key that nobody has.
    fn rule(&self, groups: usize, threshold: usize) {
        let mut rule = "creation_rules:\n  - key_groups:\n".to_owned();
        for (n, recipient) in self.recipients.iter().take(groups).enumerate() {
            rule += &format!("      - age: [{recipient}]\n");
            if n % 2 == 1 {
                rule = rule.replace(recipient, &format!("{}, {recipient}", leafseal_tests::KEYS[0].recipient));
            }
        }
        if threshold > 0 {
            rule += &format!("    shamir_threshold: {threshold}\n");
        }
        self.place.write(".sops.yaml", rule);
    }

    fn run(&self, program: &str, args: &[&str], keys: &[usize]) -> Outcome {
        self.run_with(program, args, keys, &[])
    }

    fn run_with(&self, program: &str, args: &[&str], keys: &[usize], variables: &[(&str, &Path)]) -> Outcome {
        let identities: Vec<_> = keys.iter().flat_map(|n| self.place.read(&format!("key{n}"))).collect();
        self.place.write("keys", identities);
        let mut command = self.place.command(self.place.work().join("../bin").join(program));
        command.env("SOPS_AGE_KEY_FILE", self.place.work().join("keys")).envs(variables.iter().copied());
        Place::finish(command.args(args), b"")
    }

    fn ask(&self, program: &str, args: &[&str], keys: &[usize]) -> Result<Vec<u8>, String> {
        self.run(program, args, keys).ok().map_err(|error| format!("{program} {}: {error}", args.join(" ")))
    }

    fn sealed(&self) -> String {
        self.file.replace("plain", "sealed")
    }

    /// Opens with as many keys as needed, wherever they come from, and with no fewer.
    fn opens(&self, reader: &str, groups: usize, needed: usize) -> Result<(), String> {
        let all: Vec<usize> = (0..groups).collect();
        for keys in [&all[..needed], &all[groups - needed..], &all[..]] {
            let text = self.ask(reader, &["decrypt", &self.sealed()], keys)?;
            if text != self.plain.as_bytes() {
                return Err(format!("{reader} with {keys:?}: {}", difference(self.plain.as_bytes(), &text)));
            }
        }
        for keys in [&all[..needed - 1], &all[groups - (needed - 1)..]] {
            let outcome = self.run(reader, &["decrypt", &self.sealed()], keys);
            if outcome.code != 128 {
                return Err(format!("{reader} with {keys:?}: exit {}", outcome.code));
            }
            let says = |n: &usize| match (reader, keys.contains(n)) {
                ("leafseal", false) => format!("  group {n}:\n    age "),
                ("leafseal", true) => format!("  group {n}: opened\n"),
                (_, false) => format!("Group {n}: FAILED\n  "),
                (_, true) => format!("Group {n}: SUCCESS\n"),
            };
            if let Some(missing) = all.iter().map(says).find(|it| !outcome.stderr.contains(it)) {
                return Err(format!("{reader} with {keys:?} does not say {missing:?}:\n{}", outcome.stderr));
            }
        }
        Ok(())
    }
}

fn open(version: &str, extension: &str, groups: usize) -> Result<(), String> {
    let Some(scene) = Scene::new(version, extension) else { return Ok(()) };
    for threshold in (0..=groups).filter(|it| *it != 1) {
        scene.rule(groups, threshold);
        for (writer, reader) in DIRECTIONS {
            let sealed = scene.ask(writer, &["encrypt", &scene.file], &[])?;
            scene.place.write(&scene.sealed(), sealed);
            let needed = match (groups, threshold) {
                (1, _) => 1,
                (_, 0) => groups,
                (_, it) => it,
            };
            let failed = |error| format!("{writer} to {reader}, {threshold} of {groups}: {error}");
            scene.opens(reader, groups, needed).map_err(failed)?;
        }
    }
    Ok(())
}

/// OpenPGP and age keys in groups of their own and in one: each opens its group, whoever wrote it.
fn mixed(version: &str, extension: &str) -> Result<(), String> {
    let (Some(scene), Some(gpg)) = (Scene::new(version, extension), peer("gpg")) else { return Ok(()) };
    // Both certificates are everywhere; whose secret keys are there is in the name.
    let [both, one, other, none] = [(); 4].map(|()| Gnupg::new(&gpg));
    let fingerprints = ["one", "other"].map(|it| both.generate(&[], it, ["ed25519", "cert", "never"], ""));
    fingerprints.iter().for_each(|it| both.add(&[], it, ["cv25519", "encr", "never"], ""));
    for home in [&one, &other, &none] {
        home.ok(&["--import"], &both.ok(&["--export"], b""));
    }
    one.ok(&["--import"], &both.secret(&fingerprints[0], ""));
    other.ok(&["--import"], &both.secret(&fingerprints[1], ""));
    let [pgp_0, pgp_1] = &fingerprints;
    let [age_0, age_2, ..] = &scene.recipients[..] else { unreachable!("there are five") };
    let groups = [
        format!("      - pgp: [{pgp_0}]\n        age: [{age_0}]\n"),
        format!("      - pgp: [{pgp_1}]\n"),
        format!("      - age: [{age_2}]\n"),
    ];
    let run = |program: &str, home: &Gnupg, keys: &[usize], args: &[&str]| {
        scene.run_with(program, args, keys, &[("GNUPGHOME", home.path())])
    };
    for (count, threshold) in [(1, 0), (2, 0), (2, 2), (3, 0), (3, 2), (3, 3)] {
        let mut rule = "creation_rules:\n  - key_groups:\n".to_owned() + &groups[..count].concat();
        if threshold > 0 {
            rule += &format!("    shamir_threshold: {threshold}\n");
        }
        scene.place.write(".sops.yaml", rule);
        let needed = if threshold == 0 { count } else { threshold };
        for (writer, reader) in DIRECTIONS {
            let sealed = run(writer, &none, &[], &["encrypt", &scene.file]).ok()?;
            scene.place.write(&scene.sealed(), sealed);
            for (home, keys, opened) in [
                (&both, &[0, 1][..], [true, true, true]),
                (&both, &[], [true, true, false]),
                (&one, &[], [true, false, false]),
                (&one, &[1], [true, false, true]),
                (&other, &[0], [true, true, false]),
                (&other, &[1], [false, true, true]),
                (&none, &[0, 1], [true, false, true]),
                (&none, &[], [false, false, false]),
            ] {
                let opens = opened[..count].iter().filter(|it| **it).count() >= needed;
                let outcome = run(reader, home, keys, &["decrypt", &scene.sealed()]);
                let is_right = if opens { outcome.stdout == scene.plain.as_bytes() } else { outcome.code == 128 };
                if !is_right {
                    let what = format!("{writer} to {reader}, {needed} of {count}, {opened:?}");
                    return Err(format!("{what}: exit {}: {}", outcome.code, outcome.stderr));
                }
            }
            // What the reader rotates, the writer opens.
            run(reader, &both, &[0, 1], &["rotate", "-i", &scene.sealed()]).ok()?;
            let text = run(writer, &both, &[0, 1], &["decrypt", &scene.sealed()]).ok()?;
            if text != scene.plain.as_bytes() {
                return Err(format!("rotated by {reader} for {writer}: {}", String::from_utf8_lossy(&text)));
            }
        }
    }
    Ok(())
}

/// Groups come and go: one program changes what the other has written, and both agree.
fn change(version: &str, extension: &str) -> Result<(), String> {
    let Some(scene) = Scene::new(version, extension) else { return Ok(()) };
    let sealed = scene.sealed();
    for (first, second) in [("real", "sops"), ("sops", "real")] {
        let both =
            |groups, needed| scene.opens(first, groups, needed).and_then(|()| scene.opens(second, groups, needed));
        scene.rule(1, 0);
        scene.place.write(&sealed, scene.ask(first, &["encrypt", &scene.file], &[])?);
        both(1, 1)?;
        let add = |program, n: usize, threshold: &[&str]| {
            let args = ["groups", "add", "-i", "-f", &sealed, "--age", &scene.recipients[n]];
            scene.ask(program, &[&args, threshold].concat(), &[0, 1, 2, 3])
        };
        let delete = |program, group: &str, threshold: &[&str]| {
            let args = [&["groups", "delete", "-i", "-f", &sealed], threshold, &[group]].concat();
            scene.ask(program, &args, &[0, 1, 2, 3])
        };
        add(second, 1, &[])?;
        both(2, 2)?;
        add(first, 2, &[])?;
        both(3, 2)?;
        add(second, 3, &["--shamir-secret-sharing-threshold", "3"])?;
        both(4, 3)?;
        // The parts are made anew, so a rotated file opens with the same groups.
        scene.ask(second, &["rotate", "-i", &sealed], &[0, 1, 2, 3])?;
        both(4, 3)?;
        scene.ask(first, &["rotate", "-i", &sealed], &[1, 2, 3])?;
        both(4, 3)?;
        delete(second, "3", &[])?;
        both(3, 3)?;
        delete(first, "2", &["--shamir-secret-sharing-threshold", "2"])?;
        both(2, 2)?;
        // From one rule to another.
        for (program, groups) in [(second, 4), (first, 2), (second, 3), (first, 5), (second, 1)] {
            scene.rule(groups, 0);
            scene.ask(program, &["updatekeys", "-y", &sealed], &[0, 1, 2, 3, 4])?;
            let text =
                scene.ask(if program == first { second } else { first }, &["decrypt", &sealed], &[0, 1, 2, 3, 4])?;
            if text != scene.plain.as_bytes() {
                return Err(format!("after updatekeys by {program}: {}", String::from_utf8_lossy(&text)));
            }
        }
    }
    Ok(())
}

/// A new file of ours is one of sops's but for what is encrypted.
fn layout() -> Result<(), String> {
    for extension in ["yaml", "json"] {
        let Some(scene) = Scene::new("sops-3.13", extension) else { return Ok(()) };
        for (groups, threshold) in [(1, 0), (1, 1), (1, 3), (2, 0), (3, 2), (5, 5)] {
            scene.rule(groups, threshold);
            let text = |program| scene.ask(program, &["encrypt", &scene.file], &[]).map(|it| masked(&it));
            let (want, got) = (text("real")?, text("sops")?);
            if want != got {
                let difference = difference(want.as_bytes(), got.as_bytes());
                return Err(format!("{threshold} of {groups}, {extension}: {difference}"));
            }
        }
    }
    Ok(())
}

/// The text without what is different each time.
fn masked(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|it| !it.contains("lastmodified")).map(|line| {
        let end = line.find("ENC[").or_else(|| line.find("-----BEGIN")).unwrap_or(line.len());
        let is_armour = !line.contains([':', '-', '{', '}', '[', ']', '"']);
        if is_armour { "" } else { &line[..end] }
    });
    lines.filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}
