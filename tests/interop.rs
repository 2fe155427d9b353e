//! Both directions with real sops, for every document: what one writes, the other reads.

use leafseal_tests::documents::{self, Document, Oracle, REFUSED};
use leafseal_tests::{KEYS, Place, SOPS, Trials, difference, peer};

/// One way to check a document.
struct Check {
    name: &'static str,
    run: fn(&Document, &str) -> Result<(), String>,
}

/// The checks that need one of the two versions of real sops.
const CHECKS: &[Check] = &[
    Check { name: "sops-opens-ours", run: sops_opens_ours },
    Check { name: "we-open-theirs", run: we_open_theirs },
    Check { name: "sops-rotates-ours", run: sops_rotates_ours },
    Check { name: "we-rotate-theirs", run: we_rotate_theirs },
    Check { name: "sops-sets-in-ours", run: sops_sets_in_ours },
    Check { name: "we-set-in-theirs", run: we_set_in_theirs },
];

fn main() {
    let mut trials = Trials::default();
    for document in documents::all() {
        let file = document.file();
        let own = document.clone();
        trials.add(format!("own-round-trip {file}"), move || own_round_trip(&own));
        for version in SOPS {
            let asked = match document.oracle {
                Oracle::All => true,
                Oracle::Newest(_) => version == "sops-3.13",
                Oracle::Loses(_) => false,
            };
            for check in CHECKS.iter().filter(|_| asked) {
                let document = document.clone();
                trials.add(format!("{} {version} {file}", check.name), move || (check.run)(&document, version));
            }
        }
    }
    for refused in REFUSED {
        let name = format!("refused {}.{}", refused.name, refused.extension);
        trials.add(name, move || is_refused(refused));
    }
    for version in SOPS {
        trials.add(format!("several-recipients {version}"), move || several_recipients(version));
        trials.add(format!("readers-change {version}"), move || readers_change(version));
        trials.add(format!("entries-by-number {version}"), move || entries_by_number(version));
    }
    trials.run();
}

/// A place with the document's plain text, the rule for it, and real sops as `real`.
struct Scene {
    place: Place,
    file: String,
}

impl Scene {
    /// `None`, and reported, if that version of sops is not there.
    fn new(document: &Document, version: &str) -> Option<Self> {
        let place = Place::new();
        place.program("real", &peer(version)?);
        Some(Self::with(place, document))
    }

    fn with(place: Place, document: &Document) -> Self {
        let rule = match document.rule {
            "" => String::new(),
            it => format!("    {it}\n"),
        };
        place.write(".sops.yaml", format!("creation_rules:\n  - age: {}\n{rule}", KEYS[0].recipient));
        place.write(&document.file(), document.text.as_bytes());
        Self { place, file: document.file() }
    }

    /// Runs `program`, which is `sops` (ours) or `real`, and returns what it printed.
    fn ask(&self, program: &str, args: &[&str]) -> Result<Vec<u8>, String> {
        let program_path = self.place.work().join("../bin").join(program);
        self.place.run(program_path, args).ok().map_err(|error| format!("{program} {}: {error}", args.join(" ")))
    }

    /// Encrypts the plain file with `program` into `name`, a file of the same extension.
    fn encrypt(&self, program: &str, name: &str) -> Result<String, String> {
        let sealed = format!("{name}-{}", self.file);
        self.place.write(&sealed, self.ask(program, &["encrypt", &self.file])?);
        Ok(sealed)
    }

    /// What real sops makes of the plain file when it has the whole way to itself.
    fn golden(&self) -> Result<Vec<u8>, String> {
        let sealed = self.encrypt("real", "golden")?;
        self.ask("real", &["decrypt", &sealed])
    }

    /// The same text to the byte, or the same once real sops has printed it: a layout that is not
    /// sops's own (comments at the end of a line, which 3.13 writes and moves when it decrypts) is
    /// kept by us.
    fn same_to_sops(&self, want: &[u8], got: &[u8]) -> Result<(), String> {
        if want == got {
            return Ok(());
        }
        let extension = self.file.rsplit('.').next().unwrap_or_default();
        let again = format!("again.{extension}");
        self.place.write(&again, got);
        let printed = self.ask("real", &["encrypt", &again]).and_then(|sealed| {
            self.place.write(&again, sealed);
            self.ask("real", &["decrypt", &again])
        });
        match printed {
            Ok(printed) if printed == want => Ok(()),
            _ => Err(difference(want, got)),
        }
    }
}

fn same(want: &[u8], got: &[u8]) -> Result<(), String> {
    if want == got { Ok(()) } else { Err(difference(want, got)) }
}

/// Guarantee B5: every byte comes back, in both modes.
fn own_round_trip(document: &Document) -> Result<(), String> {
    let scene = Scene::with(Place::new(), document);
    for program in ["sops", "leafseal"] {
        // A document that no leaf is encrypted of, or a key that stands twice, is refused by
        // `leafseal` on purpose.
        let loose = ["empty-map", "empty-object", "duplicate-keys", "documents-duplicates-later"];
        if program == "leafseal" && loose.contains(&document.name) {
            continue;
        }
        let sealed = scene.encrypt(program, program)?;
        same(document.text.as_bytes(), &scene.ask(program, &["decrypt", &sealed])?)
            .map_err(|error| format!("{program}: {error}"))?;
    }
    Ok(())
}

/// sops reads what we encrypt: the values are those it gives for what it encrypts itself.
fn sops_opens_ours(document: &Document, version: &str) -> Result<(), String> {
    let Some(scene) = Scene::new(document, version) else { return Ok(()) };
    let sealed = scene.encrypt("sops", "ours")?;
    same(&scene.golden()?, &scene.ask("real", &["decrypt", &sealed])?)
}

/// We read what sops encrypts, and print it as sops does.
fn we_open_theirs(document: &Document, version: &str) -> Result<(), String> {
    let Some(scene) = Scene::new(document, version) else { return Ok(()) };
    let sealed = scene.encrypt("real", "theirs")?;
    scene.same_to_sops(&scene.golden()?, &scene.ask("sops", &["decrypt", &sealed])?)
}

/// sops writes a file of ours, and we still read it.
fn sops_rotates_ours(document: &Document, version: &str) -> Result<(), String> {
    let Some(scene) = Scene::new(document, version) else { return Ok(()) };
    let sealed = scene.encrypt("sops", "ours")?;
    scene.ask("real", &["rotate", "-i", &sealed])?;
    scene.same_to_sops(&scene.golden()?, &scene.ask("sops", &["decrypt", &sealed])?)
}

/// We give a file of sops's a new data key, and sops still reads it. No sealed value survives.
fn we_rotate_theirs(document: &Document, version: &str) -> Result<(), String> {
    let Some(scene) = Scene::new(document, version) else { return Ok(()) };
    let sealed = scene.encrypt("real", "theirs")?;
    let before = envelopes(&scene.place.read(&sealed));
    scene.ask("sops", &["rotate", "-i", &sealed])?;
    let after = envelopes(&scene.place.read(&sealed));
    if let Some(kept) = before.iter().find(|it| after.contains(it)) {
        return Err(format!("a sealed value is the same after rotate: {kept}"));
    }
    same(&scene.golden()?, &scene.ask("real", &["decrypt", &sealed])?)
}

/// sops adds a value to a file of ours; we read it, and the rest is unchanged.
fn sops_sets_in_ours(document: &Document, version: &str) -> Result<(), String> {
    set(document, version, "sops", "real", false)
}

/// We add a value to a file of sops's; sops reads it, and every other sealed value keeps its text.
fn we_set_in_theirs(document: &Document, version: &str) -> Result<(), String> {
    set(document, version, "real", "sops", true)
}

fn set(document: &Document, version: &str, writer: &str, editor: &str, keeps_text: bool) -> Result<(), String> {
    let Some(scene) = Scene::new(document, version) else { return Ok(()) };
    // What real sops alone makes of the same two steps.
    let golden = scene.encrypt("real", "set")?;
    scene.ask("real", &["set", &golden, "[\"added\"]", "\"new\""])?;
    let golden = scene.ask("real", &["decrypt", &golden])?;

    let sealed = scene.encrypt(writer, "edited")?;
    let before = envelopes(&scene.place.read(&sealed));
    scene.ask(editor, &["set", &sealed, "[\"added\"]", "\"new\""])?;
    let after = envelopes(&scene.place.read(&sealed));
    let mac = before.last();
    if keeps_text && let Some(lost) = before.iter().find(|it| Some(*it) != mac && !after.contains(it)) {
        return Err(format!("a value that was not set has another sealed text: {lost}"));
    }
    let read = scene.ask(writer, &["decrypt", &sealed])?;
    match writer {
        "real" => same(&golden, &read),
        _ => scene.same_to_sops(&golden, &read),
    }
}

/// The sealed texts of a file, in order.
fn envelopes(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text).into_owned();
    text.match_indices("ENC[AES256_GCM,data:")
        .filter_map(|(at, _)| text[at..].split_once(']').map(|(it, _)| it.to_owned()))
        .filter(|it| it.contains(",tag:"))
        .collect()
}

fn is_refused(refused: &documents::Refused) -> Result<(), String> {
    let place = Place::new();
    let file = format!("file.{}", refused.extension);
    place.write(&file, refused.text);
    let outcome = place.sops(&["encrypt", "--age", KEYS[0].recipient, "-i", &file]);
    if outcome.code != refused.code {
        return Err(format!("want exit {}, got {}: {}", refused.code, outcome.code, outcome.stderr.trim()));
    }
    same(refused.text.as_bytes(), &place.read(&file))
}

/// A file for three readers opens for each of them, whoever wrote it.
fn several_recipients(version: &str) -> Result<(), String> {
    let place = Place::new();
    let Some(real) = peer(version) else { return Ok(()) };
    place.program("real", &real);
    let readers = KEYS.map(|it| it.recipient).join(",");
    place.write("a.yaml", "a: secret\n");
    for (writer, reader) in [("sops", "real"), ("real", "sops")] {
        let at = |it: &str| place.work().join("../bin").join(it);
        let sealed = place.run(at(writer), &["encrypt", "--age", &readers, "a.yaml"]).ok()?;
        place.write("sealed.yaml", sealed);
        for n in 1..=KEYS.len() {
            let mut command = place.command(at(reader));
            command.env("SOPS_AGE_KEY_FILE", place.work().join(format!("../K{n}"))).args(["decrypt", "sealed.yaml"]);
            let text = Place::finish(&mut command, b"").ok().map_err(|error| format!("{reader} with K{n}: {error}"))?;
            same(b"a: secret\n", &text)?;
        }
    }
    Ok(())
}

/// An entry of a mapping that is asked for by its number is printed as sops prints it. 3.13 adds whether
/// a comment stood behind a value, which it no longer knows after decrypting; in JSON, it calls what is
/// empty null.
fn entries_by_number(version: &str) -> Result<(), String> {
    let place = Place::new();
    let Some(real) = peer(version) else { return Ok(()) };
    place.write(
        "a.yaml",
        "# top\na: one\n# before\nm:\n  # in\n  x: 1\n  y: [1, {k: v}, []]\n  z: {}\nl:\n  - p\n  # c\n  - q\nn:\nf: 1.5\n",
    );
    place.write("a.json", "{\"a\":\"one\",\"m\":{\"x\":1,\"y\":[1,{\"k\":\"v\"}]},\"n\":null,\"t\":true}");
    for (file, entries) in [("a.yaml", 8), ("a.json", 4)] {
        place.write(file, place.run(&real, &["encrypt", "--age", KEYS[0].recipient, file]).ok()?);
        for path in (0..=entries).map(|it| format!("[{it}]")).chain((0..4).map(|it| format!("[\"m\"][{it}]"))) {
            let ask = ["decrypt", "--extract", &path, file];
            let (theirs, ours) = (place.run(&real, &ask), place.sops(&ask));
            let plain = String::from_utf8_lossy(&theirs.stdout);
            let plain: String = plain.split_inclusive('\n').filter(|it| it.trim() != "inline: false").collect();
            let told = |it: &str| it.lines().next().unwrap_or_default().to_owned();
            let (want, got) = (told(&theirs.stderr), told(&ours.stderr));
            if theirs.code != ours.code || want != got {
                return Err(format!("{file} {path}: want {} {want:?}, got {} {got:?}", theirs.code, ours.code));
            }
            same(plain.as_bytes(), &ours.stdout).map_err(|it| format!("{file} {path}: {it}"))?;
        }
    }
    Ok(())
}

/// `updatekeys` and `rotate` by us change who reads, and sops agrees.
fn readers_change(version: &str) -> Result<(), String> {
    let place = Place::new();
    let Some(real) = peer(version) else { return Ok(()) };
    place.write("a.yaml", "a: secret\nb: 2\n");
    place.write("sealed.yaml", place.run(&real, &["encrypt", "--age", KEYS[0].recipient, "a.yaml"]).ok()?);
    let values = envelopes(&place.read("sealed.yaml"));

    place.write(".sops.yaml", format!("creation_rules:\n  - age: {},{}\n", KEYS[0].recipient, KEYS[1].recipient));
    place.sops(&["updatekeys", "-y", "sealed.yaml"]).ok()?;
    if envelopes(&place.read("sealed.yaml")) != values {
        return Err("updatekeys has touched a value or the MAC".to_owned());
    }
    let open = |n: usize| {
        let mut command = place.command(&real);
        command.env("SOPS_AGE_KEY_FILE", place.work().join(format!("../K{n}"))).args(["decrypt", "sealed.yaml"]);
        Place::finish(&mut command, b"").ok()
    };
    same(b"a: secret\nb: 2\n", &open(2)?)?;

    place.sops(&["rotate", "-i", "--rm-age", KEYS[0].recipient, "--add-age", KEYS[2].recipient, "sealed.yaml"]).ok()?;
    same(b"a: secret\nb: 2\n", &open(3)?)?;
    match open(1) {
        Ok(_) => Err("a reader that was removed still reads".to_owned()),
        Err(_) => Ok(()),
    }
}
