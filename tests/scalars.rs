//! What YAML scalars mean: our parser beside real sops, asked anew each time.

use std::fmt::Write;

use leafseal::format;
use leafseal::tree::{Kind, Tree};
use leafseal_tests::{KEYS, Place, SOPS, peer};

/// What one plain scalar is: its type and its canonical bytes; `None` if it cannot be encrypted.
type Meaning = Option<(String, String)>;

/// Scalars with a reason to be here: spec section 1.5 and its borders.
const SCALARS: &str = "\
0 +0 -0 5 +5 -1 007 017 -017 +017 089 08 0o17 0O17 0o8 -0o17 0x1F 0X1F -0x1F +0x1F 0x 0xg 0b101 0B101 0b2 -0b101 0b \
1_000 1__0 1_ _1 0x_0A 0_17 0b1_0 685.230_15e+03 1_0.5 1._5 9223372036854775807 -9223372036854775808 \
18446744073709551616 -9223372036854775809 99999999999999999999999 9223372036854775808 18446744073709551615 \
0x7FFFFFFFFFFFFFFF 0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF -0x8000000000000000 0777777777777777777777 \
1.0 1.10 .5 5. 1e3 1E3 12e03 +1.5 -1.5 1.e3 .e3 . .. +. -. 1e 1e+ 1e+3 1e-3 e3 1.5.2 0.1 0.30000000000000004 \
1e308 1e309 1e400 -1e400 1e-400 5e-324 1e21 1e20 1000000.0 100000.0 1234567.5 12345678.0 21474836480.25 0.0001 0.00001 \
.inf .Inf .INF .iNF +.inf -.inf +.INF .nan .NaN .NAN .Nan +.nan inf Inf +inf -inf NaN nan Infinity infinity 0x1p4 0x1.8p1 \
true True TRUE tRue false False FALSE fALSE yes Yes YES no No NO on On ON off Off OFF y Y n N t f \
null Null NULL nULL ~ ~~ none nil None \
2001-12-14 2001-1-1 2001-01-1 2001-13-45 2001-02-29 2000-02-29 10000-01-01 0001-01-01 01-01-01 2001-12 2001-12-14T21:59:43Z \
2001-12-14t21:59:43Z 2001-12-14T21:59:43.10-05:00 2001-12-14T21:59:43 2001-12-14T21:59:43+00:00 2001-12-14T21:59:43.123456789Z \
2001-12-14T21:59:43.1234567891Z 2001-12-14T1:2:3Z 2001-12-14T24:00:00Z 2001-12-14T21:59:60Z 2001-12-14T21:59:43z \
2001-12-14T21:59:43.Z 2001-12-14T21:59:43,5Z 2001-12-14T21:59:43+5 2001-12-14T21:59:43+05:30 2001-12-14T21:59Z \
12:30:45 1:20 190:20:30 1:60 -1:20 12:30 = << - -- --- -a +a +1a 1a a1 .a 0a 1.2.3 1,000 $1 1% 1+1 1-1 +-1 --1 \
0.0 -0.0 +0.0 00 000 0.00 -00 1e0 0e0 0E+0 00.5 01.5 09.5 0o 0b12 1_e3 1e_3 1e1_0 ._5 _ __ 0_ 0x1_ -_1 +_1 \
!!str !!int @ a:b a#b http://x/y x=y [] {} é 日本 😀 ½ ٣";

/// Scalars with spaces in them, or with tags and quotes.
const MORE: &[&str] = &[
    "2001-12-14 21:59:43",
    "2001-12-14 21:59:43.10",
    "2001-12-14 21:59:43.10 -5",
    "2001-12-14 21:59:43Z",
    "2001-12-14 1:2:3",
    "2001-12-14  21:59:43",
    "1 000",
    "true false",
    "\"1\"",
    "'1'",
    "\"true\"",
    "\"\"",
    "''",
    "!!str 123",
    "!!str true",
    "!!str",
    "!!int \"5\"",
    "!!int '0x1F'",
    "!!int x",
    "!!float 3",
    "!!float \"1e3\"",
    "!!bool \"true\"",
    "!!bool yes",
    "!!null \"\"",
    "!!null x",
    "!!timestamp 2020-01-01",
    "!!timestamp \"2020-01-01\"",
    "!!binary aGVsbG8=",
    "!!binary !!!",
    "!custom foo",
    "!custom 5",
    "! 5",
    "! foo",
    "!!float 1_0",
    "!<tag:yaml.org,2002:str> 5",
];

/// Pieces of which numbers, times and words are made, to be put together in threes.
const PIECES: &[&str] = &[
    "0",
    "7",
    "9",
    "12",
    "_",
    ".",
    "-",
    "+",
    "e",
    "E",
    "0x",
    "0b",
    "0o",
    "f",
    "inf",
    "nan",
    "T",
    ":",
    "2001-01-02",
    "~",
];

#[test]
fn scalars_mean_what_they_mean_to_sops() {
    let scalars: Vec<&str> = SCALARS.split(' ').chain(MORE.iter().copied()).collect();
    compare(&scalars);
}

#[test]
fn scalars_put_together_mean_what_they_mean_to_sops() {
    let mut scalars = Vec::new();
    for a in PIECES {
        for b in PIECES {
            scalars.push(format!("{a}{b}"));
            for c in PIECES {
                scalars.push(format!("{a}{b}{c}"));
            }
        }
    }
    scalars.retain(|it| !it.ends_with(':') && *it != "---");
    compare(&scalars.iter().map(String::as_str).collect::<Vec<_>>());
}

fn compare(scalars: &[&str]) {
    for version in SOPS {
        let Some(sops) = peer(version) else { continue };
        let place = Place::new();
        place.program("real", &sops);
        let mut different = Vec::new();
        for part in scalars.chunks(1_000) {
            let mut theirs = vec![None; part.len()];
            ask(&place, part, &mut theirs);
            for (scalar, theirs) in part.iter().zip(theirs) {
                let ours = read(scalar);
                if ours != theirs {
                    different.push(format!("`{scalar}`: {version} says {theirs:?}, we say {ours:?}"));
                }
            }
        }
        assert!(different.is_empty(), "{} scalars:\n{}", different.len(), different.join("\n"));
    }
}

/// What our parser makes of `k: scalar`.
fn read(scalar: &str) -> Meaning {
    let yaml = format::named("yaml").expect("YAML is a format");
    let tree: Tree = yaml.parse(format!("k: {scalar}\n").as_bytes()).ok()?;
    let node = tree.child(tree.documents().first()?.root, "k")?;
    let node = tree.resolve(node);
    match tree.node(node).kind {
        Kind::Scalar => {
            let value = yaml.value(&tree, node).ok()?;
            Some((value.type_name().to_owned(), String::from_utf8_lossy(&value.canonical()).into_owned()))
        }
        _ => Some(("collection".to_owned(), String::new())),
    }
}

/// Asks real sops about all scalars at once; where it refuses them together, about each half.
fn ask(place: &Place, scalars: &[&str], meanings: &mut [Meaning]) {
    if let Some(answers) = ask_once(place, scalars) {
        meanings.clone_from_slice(&answers);
    } else if scalars.len() > 1 {
        let middle = scalars.len() / 2;
        let (left, right) = meanings.split_at_mut(middle);
        ask(place, &scalars[..middle], left);
        ask(place, &scalars[middle..], right);
    }
}

/// The type is in the sealed text, which does not authenticate it: read as strings, the values are
/// their own canonical bytes.
fn ask_once(place: &Place, scalars: &[&str]) -> Option<Vec<Meaning>> {
    let mut text = String::new();
    for (n, scalar) in scalars.iter().enumerate() {
        writeln!(text, "k{n}: {scalar}").expect("writing to a string does not fail");
    }
    place.write("plain.yaml", text);
    let real = place.work().join("../bin/real");
    let sealed = place.run(&real, &["encrypt", "--age", KEYS[0].recipient, "plain.yaml"]).ok().ok()?;
    let sealed = String::from_utf8(sealed).expect("sops writes UTF-8");
    let (data, metadata) = sealed.split_once("\nsops:\n").expect("sops writes its metadata last");

    let mut types = Vec::new();
    let mut as_strings = String::new();
    for line in data.lines() {
        let spelt = line.strip_prefix(&format!("k{}: ", types.len()));
        match (spelt, line.rsplit_once(",type:")) {
            (Some(_), Some((head, name))) => {
                types.push(name.trim_end_matches(']').to_owned());
                writeln!(as_strings, "{head},type:str]").expect("writing to a string does not fail");
            }
            (Some(plain), None) => {
                types.push(
                    if plain == "null" {
                        "null"
                    } else if plain == "\"\"" {
                        "str"
                    } else {
                        "collection"
                    }
                    .to_owned(),
                );
                writeln!(as_strings, "{line}").expect("writing to a string does not fail");
            }
            (None, _) => return None,
        }
    }
    place.write("sealed.yaml", format!("{as_strings}sops:\n{metadata}"));
    let opened = place.run(&real, &["decrypt", "--ignore-mac", "--output-type", "json", "sealed.yaml"]).ok().ok()?;
    let opened: serde_json::Value = serde_json::from_slice(&opened).expect("sops writes JSON");
    let meanings = types.into_iter().enumerate().map(|(n, name)| {
        let bytes = opened[format!("k{n}")].as_str().unwrap_or_default().to_owned();
        Some((name, bytes))
    });
    Some(meanings.collect())
}
