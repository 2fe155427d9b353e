//! `cargo xtask bench`: the release build beside real sops and any other program with its command
//! line, on the same files, in turn, in one run.
//!
//! Trust the ratios within one run: a busy machine hits all programs alike.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use regex::Regex;

use crate::corpora::{self, Corpus};
use crate::measure::{Sample, measure};
use crate::sh::{output, target};
use crate::{Failure, peers, release};

/// A throw-away identity for these files only.
const IDENTITY: &str = "AGE-SECRET-KEY-1G7JECYA0YXHSNR7AGD8JC4HYRWYSJM4G4QP7M5WGGAERWSDVNYXSPRXRG8";
const RECIPIENT: &str = "age1j2rzd7nxj6865qhmeyqfj972kav72zrplu0fqvymf05cylc47fesxka94d";
const SECOND_RECIPIENT: &str = "age1luyr8v4r20y63tx4lsm82ux3wz44dksm7dd0xuk0x7xc2kdf74tq3up0rf";

/// What is done to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Start,
    Decrypt,
    Encrypt,
    EncryptSelected,
    DecryptSelected,
    DecryptWithAgent,
    DecryptWithGpg,
    Extract,
    Set,
    Rotate,
    Updatekeys,
    Edit,
    Recipients,
    RecipientsPlan,
}

use Operation::{
    Decrypt, DecryptSelected, DecryptWithAgent, DecryptWithGpg, Edit, Encrypt, EncryptSelected, Extract, Recipients,
    RecipientsPlan, Rotate, Set, Start, Updatekeys,
};

/// How many copies of a file the rows over a tree have.
const COPIES: usize = 1_000;

/// Every row: the operation and the files it is done to.
const ROWS: &[(Operation, &str, &[&str])] = &[
    (Start, "start-up", &["tiny.yaml"]),
    (Decrypt, "decrypt", &["tiny.yaml", "helm60.yaml", "k1.yaml", "k10.yaml", "k100.yaml", "flat30.yaml"]),
    (Encrypt, "encrypt", &["tiny.yaml", "helm60.yaml", "k1.yaml", "k10.yaml", "k100.yaml", "flat30.yaml"]),
    (DecryptSelected, "decrypt-selected", &["k1.yaml", "k10.yaml"]),
    (EncryptSelected, "encrypt-selected", &["k1.yaml", "k10.yaml"]),
    (DecryptWithAgent, "decrypt-agent", &["tiny.yaml", "helm60.yaml"]),
    (DecryptWithGpg, "decrypt-gpg", &["tiny.yaml", "helm60.yaml"]),
    (Extract, "extract", &["tiny.yaml", "k10.yaml", "k100.yaml"]),
    (Set, "set", &["tiny.yaml", "k10.yaml", "k100.yaml"]),
    (Edit, "edit", &["tiny.yaml", "k10.yaml", "k100.yaml"]),
    (Rotate, "rotate", &["tiny.yaml", "k10.yaml", "k100.yaml"]),
    (Updatekeys, "updatekeys", &["tiny.yaml", "k10.yaml", "k100.yaml"]),
    (Recipients, "recipients-1000", &["tiny.yaml"]),
    (RecipientsPlan, "recipients-plan-1000", &["tiny.yaml"]),
    (Decrypt, "decrypt", &["tiny.json", "k1.json", "k10.json", "k100.json", "flat30.json"]),
    (Encrypt, "encrypt", &["tiny.json", "k1.json", "k10.json", "k100.json", "flat30.json"]),
];

struct Options {
    only: Option<Regex>,
    runs: Option<usize>,
    quick: bool,
    programs: Vec<(String, PathBuf)>,
}

/// Builds the release, makes the files, runs every row that `--only` matches.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = options(args)?;
    let peers = peers::set_up()?;
    let released = release::build("leafseal-cli", "leafseal")?;

    let place = target().join("bench");
    fs::create_dir_all(place.join("bin")).map_err(|error| error.to_string())?;
    // Called as sops, so that every program gets the same command line.
    let ours = place.join("bin/sops");
    drop(fs::remove_file(&ours));
    std::os::unix::fs::symlink(&released, &ours).map_err(|error| error.to_string())?;

    let mut programs = vec![("leafseal".to_owned(), ours)];
    let real: Vec<_> = ["sops-3.11", "sops-3.13"].map(|it| (it.to_owned(), peers.join(it))).into();
    programs.extend(real.into_iter().filter(|(_, it)| it.exists()));
    programs.extend(options.programs.iter().cloned());
    let bench = Bench { place, released, programs };
    bench.prepare()?;

    println!(
        "{:<28} {:<12} {:>10} {:>10} {:>9}   wall / CPU against leafseal",
        "row", "program", "wall ms", "CPU ms", "peak MB"
    );
    let mut made: BTreeMap<&str, Corpus> = BTreeMap::new();
    for (operation, verb, files) in ROWS {
        for file in *files {
            let row = if *operation == Start { (*verb).to_owned() } else { format!("{verb} {file}") };
            let large = ["k100", "flat30"].iter().any(|it| file.starts_with(it));
            if options.only.as_ref().is_some_and(|it| !it.is_match(&row)) || (options.quick && large) {
                continue;
            }
            let corpus = made.entry(file).or_insert_with(|| corpora::make(file));
            let runs = options.runs.unwrap_or(match (options.quick, corpus.leaves) {
                (true, _) => 3,
                (false, 0..=100) => 25,
                (false, 101..=1_000) => 15,
                (false, 1_001..=10_000) => 7,
                (false, _) => 3,
            });
            bench.row(&row, *operation, corpus, runs)?;
        }
    }
    Ok(())
}

fn options(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options { only: None, runs: None, quick: false, programs: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--only" => options.only = Some(Regex::new(value()?).map_err(|error| error.to_string())?),
            "--runs" => {
                let runs = value()?.parse().ok().filter(|it| *it > 0);
                options.runs = Some(runs.ok_or("--runs wants a number above zero")?);
            }
            other => match other.split_once('=') {
                Some((name, path)) => {
                    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
                    options.programs.push((name.to_owned(), path));
                }
                None => return Err(format!("`{other}` is neither an option nor NAME=PATH")),
            },
        }
    }
    Ok(options)
}

struct Bench {
    place: PathBuf,
    /// The program by its own name.
    released: PathBuf,
    programs: Vec<(String, PathBuf)>,
}

impl Bench {
    fn prepare(&self) -> Result<(), Failure> {
        self.write("identity.txt", &format!("{IDENTITY}\n"))?;
        self.write("one.yaml", &format!("creation_rules:\n  - age: {RECIPIENT}\n"))?;
        self.write("two.yaml", &format!("creation_rules:\n  - age: {RECIPIENT},{SECOND_RECIPIENT}\n"))?;
        self.write(
            "selected.yaml",
            &format!("creation_rules:\n  - age: {RECIPIENT}\n    encrypted_regex: {}\n", corpora::SELECTOR),
        )
    }

    /// GnuPG's home, for the rows that need one.
    fn home(&self) -> PathBuf {
        self.place.join("gnupg")
    }

    /// Makes an OpenPGP key, once, and a rule that names it.
    fn openpgp(&self) -> Result<(), Failure> {
        const USER: &str = "bench@example.org";
        let home = self.home();
        if !self.place.join("pgp.yaml").exists() {
            DirBuilder::new().mode(0o700).recursive(true).create(&home).map_err(|error| error.to_string())?;
            let make =
                ["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", "--quick-generate-key"];
            output(Command::new("gpg").args(make).args([USER, "rsa3072", "default", "never"]).env("GNUPGHOME", &home))?;
            let list = ["--batch", "--with-colons", "--list-keys", USER];
            let listing = output(Command::new("gpg").args(list).env("GNUPGHOME", &home))?;
            let fingerprint = listing.lines().find_map(|it| it.strip_prefix("fpr:::::::::"));
            let fingerprint = fingerprint.ok_or("gpg lists no key")?.trim_end_matches(':').to_owned();
            output(
                Command::new("gpg")
                    .args(["--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"])
                    .args(["--quick-add-key", &fingerprint, "rsa3072", "encr", "never"])
                    .env("GNUPGHOME", &home),
            )?;
            self.write("pgp.yaml", &format!("creation_rules:\n  - pgp: {fingerprint}\n"))?;
        }
        // What is measured is how messages are opened, not how the agent starts.
        output(Command::new("gpgconf").args(["--launch", "gpg-agent"]).env("GNUPGHOME", &home)).map(drop)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        fs::write(self.place.join(name), text).map_err(|error| format!("{name}: {error}"))
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("SOPS_AGE_KEY_FILE", self.place.join("identity.txt").display().to_string()),
            ("SOPS_DISABLE_VERSION_CHECK", "1".to_owned()),
            ("EDITOR", "sed -i '$a added: value'".to_owned()),
            ("GNUPGHOME", self.home().display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Writes the plain file, and its encrypted form as `kind-NAME`. Real sops encrypts, if there is
    /// one: all programs read what the original wrote. Both are kept for the next run.
    fn files(&self, corpus: &Corpus, kind: &str, rules: &str) -> Result<(), Failure> {
        let (plain, sealed) = (format!("plain-{}", corpus.name), format!("{kind}-{}", corpus.name));
        let is_current = fs::read_to_string(self.place.join(&plain)).is_ok_and(|it| it == corpus.text);
        if is_current && self.place.join(&sealed).exists() {
            return Ok(());
        }
        self.write(&plain, &corpus.text)?;
        let real = self.programs.iter().rev().find(|(name, _)| name.starts_with("sops-")).or(self.programs.first());
        let (_, program) = real.expect("leafseal itself is always there");
        let mut command = Command::new(program);
        command.args(["--config", rules, "encrypt", &plain]).current_dir(&self.place).envs(self.environment());
        self.write(&sealed, &output(&mut command)?)
    }

    /// Fills a folder with copies of a file, fifty to a folder.
    fn copies(&self, tree: &str, file: &str) -> Result<(), Failure> {
        for n in 0..COPIES {
            let folder = self.place.join(tree).join(format!("{:02}", n / 50));
            fs::create_dir_all(&folder)
                .and_then(|()| fs::copy(self.place.join(file), folder.join(format!("{n}.yaml"))))
                .map_err(|error| format!("{tree}: {error}"))?;
        }
        Ok(())
    }

    fn row(&self, row: &str, operation: Operation, corpus: &Corpus, runs: usize) -> Result<(), Failure> {
        match operation {
            DecryptSelected => self.files(corpus, "selected", "selected.yaml")?,
            DecryptWithAgent | DecryptWithGpg => {
                self.openpgp()?;
                self.files(corpus, "pgp", "pgp.yaml")?;
            }
            _ => self.files(corpus, "sealed", "one.yaml")?,
        }
        let (plain, sealed, selected) =
            (format!("plain-{}", corpus.name), format!("sealed-{}", corpus.name), format!("selected-{}", corpus.name));
        let (openpgp, work, tree) =
            (format!("pgp-{}", corpus.name), format!("work-{}", corpus.name), format!("tree-{}", corpus.name));
        let is_ours = matches!(operation, Recipients | RecipientsPlan);
        if is_ours {
            self.copies(&tree, &sealed)?;
        }
        // What sops does not have, only the program by its own name does.
        let ours = [("leafseal".to_owned(), self.released.clone())];
        let programs = if is_ours { &ours[..] } else { &self.programs };
        let args: Vec<&str> = match operation {
            Start => vec!["--disable-version-check", "--version"],
            Decrypt => vec!["decrypt", &sealed],
            DecryptSelected => vec!["decrypt", &selected],
            DecryptWithAgent | DecryptWithGpg => vec!["decrypt", &openpgp],
            Encrypt => vec!["--config", "one.yaml", "encrypt", &plain],
            EncryptSelected => vec!["--config", "selected.yaml", "encrypt", &plain],
            Extract => vec!["decrypt", "--extract", &corpus.leaf, &sealed],
            Set => vec!["set", &work, &corpus.leaf, "\"a new value\""],
            Rotate => vec!["rotate", &sealed],
            Updatekeys => vec!["--config", "two.yaml", "updatekeys", "-y", &work],
            Edit => vec!["edit", &work],
            Recipients => vec!["recipients", &tree],
            RecipientsPlan => vec!["--config", "two.yaml", "recipients", "plan", &tree],
        };
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let mut environment = self.environment();
        if operation == DecryptWithGpg {
            environment.push(("SOPS_GPG_EXEC".to_owned(), "gpg".to_owned()));
        }

        let mut samples: Vec<Result<Vec<Sample>, Failure>> = vec![Ok(Vec::new()); programs.len()];
        for round in 0..runs {
            for turn in 0..programs.len() {
                let n = (round + turn) % programs.len();
                if samples[n].is_err() {
                    continue;
                }
                if matches!(operation, Set | Updatekeys | Edit) {
                    fs::copy(self.place.join(&sealed), self.place.join(&work)).map_err(|error| error.to_string())?;
                }
                match measure(&programs[n].1, &args, &environment, &self.place) {
                    Ok(sample) => samples[n].as_mut().expect("checked above").push(sample),
                    Err(failure) => samples[n] = Err(failure),
                }
            }
        }
        if matches!(operation, DecryptWithAgent | DecryptWithGpg) {
            output(Command::new("gpgconf").args(["--kill", "gpg-agent"]).env("GNUPGHOME", self.home()))?;
        }
        self.print(row, &samples);
        Ok(())
    }

    fn print(&self, row: &str, samples: &[Result<Vec<Sample>, Failure>]) {
        let medians: Vec<Option<Sample>> =
            samples.iter().map(|it| it.as_ref().ok().and_then(|it| median(it))).collect();
        for (((name, _), sample), outcome) in self.programs.iter().zip(&medians).zip(samples) {
            match (sample, outcome) {
                (Some(it), _) => {
                    let against = match (&medians[0], name.as_str()) {
                        (Some(ours), name) if name != "leafseal" => {
                            format!("{:.1}× / {:.1}×", ratio(it.wall, ours.wall), ratio(it.cpu, ours.cpu))
                        }
                        _ => String::new(),
                    };
                    println!(
                        "{row:<28} {name:<12} {:>10.2} {:>10.2} {:>9.1}   {against}",
                        it.wall.as_secs_f64() * 1e3,
                        it.cpu.as_secs_f64() * 1e3,
                        it.memory as f64 / 1024.0,
                    );
                }
                (None, Err(failure)) => println!("{row:<28} {name:<12} failed: {failure}"),
                (None, Ok(_)) => (),
            }
        }
    }
}

fn ratio(theirs: Duration, ours: Duration) -> f64 {
    theirs.as_secs_f64() / ours.as_secs_f64().max(1e-6)
}

/// The median of each column by itself.
fn median(samples: &[Sample]) -> Option<Sample> {
    fn middle<T: Ord + Copy>(samples: &[Sample], column: fn(&Sample) -> T) -> Option<T> {
        let mut values: Vec<T> = samples.iter().map(column).collect();
        values.sort();
        values.get(values.len() / 2).copied()
    }
    Some(Sample {
        wall: middle(samples, |it| it.wall)?,
        cpu: middle(samples, |it| it.cpu)?,
        memory: middle(samples, |it| it.memory)?,
    })
}
