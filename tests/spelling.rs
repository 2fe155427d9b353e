//! How YAML is spelt and laid out: our printer beside real sops, asked anew each time.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use leafseal::format::{Format, Layout, yaml::Yaml};
use leafseal::tree::{Entry, Wire};
use leafseal::value::Value;

/// A pair of age keys for tests: public, so never for anything else.
const IDENTITY: &str = "AGE-SECRET-KEY-1PGVRSPVDYJ3MJ2306REQANH8NEXFR44L8XWANYRMRVNVST84X32SGU3AH6";
const RECIPIENT: &str = "age1shaehl8s82fdxgl3es8xerhrnjdavymuz3rp3u9l5vc8s44xsarsdfj03a";

/// What strings are made of that YAML has an opinion about.
const PIECES: &[&str] = &[
    " ", " ", "\t", "\n", "\n", "\r", "#", ":", "-", "'", "\"", "\\", "{", "}", "[", "]", ",", "!", "&", "*", "%", "@",
    "`", "é", "\u{85}", "\u{2028}", "\u{feff}", "😀", "\u{7f}", "0", "1", "7", "8", "e", "E", "+", "_", "~", "y", "n",
    "o", "x", "b", "?", "|", ">", ".", "<", "=", "a", "\0", "\u{1b}", "\u{a0}", "T", "/",
];

/// How many strings are tried, and how many of them make a document.
const STRINGS: usize = 20_000;
const BATCH: usize = 5_000;

struct Sops {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Sops {
    /// `None`, and a line that says so, if there is no real sops to ask.
    fn find() -> Option<Self> {
        let peers = std::env::var_os("LEAFSEAL_PEERS");
        let program = peers.map(|it| Path::new(&it).join("sops-3.13")).filter(|it| it.exists());
        let Some(program) = program else {
            #[expect(clippy::print_stderr, reason = "a test that asks nobody says so")]
            {
                eprintln!("not run: LEAFSEAL_PEERS is not a folder with sops-3.13 in it");
            }
            return None;
        };
        Some(Self { program, home: tempfile::tempdir().expect("a temporary folder") })
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("SOPS_AGE_KEY", IDENTITY)
            .output()
            .expect("sops runs");
        assert!(output.status.success(), "sops {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("sops writes UTF-8")
    }

    /// Encrypts a YAML text and returns what comes out of decrypting it, in another format if asked.
    fn through(&self, text: &str, format: &str) -> String {
        let write = |name: &str, text: &str| std::fs::write(self.home.path().join(name), text).expect("it is writable");
        write("plain.yaml", text);
        let sealed = self.run(&["encrypt", "--age", RECIPIENT, "plain.yaml"]);
        write("sealed.yaml", &sealed);
        self.run(&["decrypt", "--output-type", format, "sealed.yaml"])
    }
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n as u64) as usize
    }

    fn string(&mut self) -> String {
        let n = self.below(7);
        (0..n).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn wire(&mut self, depth: usize) -> Wire {
        match if depth == 0 { 2 } else { self.below(3) } {
            0 => self.map(depth),
            1 => {
                let n = self.below(4);
                Wire::List((0..n).map(|_| self.wire(depth - 1)).collect())
            }
            _ => Wire::Leaf(match self.below(8) {
                0 => Value::Int(self.below(1_000_000) as i64 - 500_000),
                1 => Value::Float(self.below(1_000_000) as f64 * 1e4 + 0.5),
                2 => Value::Bool(self.below(2) == 0),
                3 => Value::Null,
                4 => Value::Time("2001-12-14T21:59:43.1-05:00".to_owned()),
                _ => Value::str(Some(self.string()).filter(|it| is_safe(it)).as_deref().unwrap_or("safe")),
            }),
        }
    }

    fn map(&mut self, depth: usize) -> Wire {
        let n = self.below(5);
        let entries = (0..n).map(|n| {
            let key = Some(self.string()).filter(|it| is_safe(it)).unwrap_or_default();
            let long = if self.below(20) == 0 { "x".repeat(120) } else { String::new() };
            Entry::Pair(format!("{key}{n}{long}"), self.wire(depth - 1))
        });
        Wire::Map(entries.collect())
    }
}

/// True if sops prints `text` everywhere such that it reads back, also in YAML 1.2: see spec section
/// 9.1.7.
fn is_safe(text: &str) -> bool {
    let is_destroyed = text.contains('\n') && text.starts_with(['\t', ' ', '\n']);
    !is_destroyed && !text.contains('\u{2028}')
}

/// As a value, in a list, in a mapping in a list, and as a key.
fn everywhere(strings: &[String]) -> Wire {
    let mut entries: Vec<Entry> = Vec::new();
    for (n, text) in strings.iter().enumerate() {
        let place = match n % 3 {
            0 => Wire::text(text),
            1 => Wire::List(vec![Wire::text(text)]),
            _ => Wire::List(vec![Wire::Map(vec![Entry::Pair("k".to_owned(), Wire::text(text))])]),
        };
        entries.push(Entry::Pair(format!("k{n}"), place));
    }
    let mut keys: Vec<&String> = strings.iter().filter(|it| is_safe(it) && *it != "<<").collect();
    keys.sort_unstable();
    keys.dedup();
    let keys = keys.into_iter().map(|it| Entry::Pair(it.clone(), Wire::Leaf(Value::Int(1)))).collect();
    entries.push(Entry::Pair("keys".to_owned(), Wire::Map(keys)));
    Wire::Map(entries)
}

/// Spells the same with nothing but escapes in double quotes, which nobody can misunderstand.
fn spell_out(wire: &Wire, out: &mut String) {
    let quote = |text: &str, out: &mut String| {
        out.push('"');
        for c in text.chars() {
            let _ = write!(out, "\\U{:08X}", u32::from(c));
        }
        out.push('"');
    };
    match wire {
        Wire::Map(_) => {
            out.push('{');
            for (key, value) in wire.pairs() {
                quote(key, out);
                out.push_str(": ");
                spell_out(value, out);
                out.push_str(",\n ");
            }
            out.push('}');
        }
        Wire::List(_) => {
            out.push('[');
            for item in wire.items() {
                spell_out(item, out);
                out.push_str(", ");
            }
            out.push(']');
        }
        Wire::Leaf(Value::Int(it)) => out.push_str(&it.to_string()),
        Wire::Leaf(_) => quote(wire.as_str().expect("a string"), out),
    }
}

fn printed(documents: &[Wire]) -> String {
    Yaml.print(documents, &Layout::default()).expect("YAML says everything").to_string()
}

#[track_caller]
fn assert_same(ours: &str, theirs: &str) {
    if ours == theirs {
        return;
    }
    let lines = || ours.split('\n').zip(theirs.split('\n'));
    let differing = lines().filter(|(a, b)| a != b).take(3);
    panic!("{:#?}", differing.map(|(a, b)| format!("ours {a:?}, theirs {b:?}")).collect::<Vec<_>>());
}

#[test]
fn strings_are_spelt_as_sops_spells_them_and_read_as_sops_reads_them() {
    let Some(sops) = Sops::find() else { return };
    let mut dice = Dice(0x5eed);
    for _ in 0..STRINGS / BATCH {
        let mut strings: Vec<String> = (0..BATCH).map(|_| dice.string()).collect();
        let wire = everywhere(&strings);
        let mut unmistakable = String::new();
        spell_out(&wire, &mut unmistakable);
        assert_same(&sops.through(&printed(&[wire]), "json"), &sops.through(&unmistakable, "json"));

        strings.retain(|it| is_safe(it));
        let wire = everywhere(&strings);
        unmistakable.clear();
        spell_out(&wire, &mut unmistakable);
        assert_same(&printed(&[wire]), &sops.through(&unmistakable, "yaml"));
    }
}

#[test]
fn structure_is_laid_out_as_sops_lays_it_out() {
    let Some(sops) = Sops::find() else { return };
    let mut dice = Dice(0x1eaf);
    let documents: Vec<Wire> = (0..200).map(|_| dice.map(5)).collect();
    let text = printed(&documents);
    assert_same(&text, &sops.through(&text, "yaml"));
}

#[test]
fn comments_are_laid_out_as_sops_lays_them_out() {
    let Some(sops) = Sops::find() else { return };
    let comment = |text: &str| Entry::Comment(text.into());
    let item = |text: &str| Wire::Leaf(Value::Comment(text.into()));
    let pair = |key: &str, value: Wire| Entry::Pair(key.to_owned(), value);
    let one = || Wire::Leaf(Value::Int(1));
    let document = Wire::Map(vec![
        comment(" top"),
        comment(""),
        pair("a", one()),
        comment("before b"),
        pair("b", Wire::Map(vec![comment(" c"), pair("c", one()), comment(" d"), comment(" d"), pair("d", one())])),
        pair("e", Wire::List(vec![item(" first"), one(), item(" second"), one(), item(" last")])),
        pair(
            "f",
            Wire::List(vec![one(), item(" g"), Wire::Map(vec![pair("g", one()), comment(" h"), pair("h", one())])]),
        ),
        comment(" end"),
    ]);
    let text = printed(&[document, Wire::Map(vec![comment(" nothing else")])]);
    assert_same(&text, &sops.through(&text, "yaml"));
}
