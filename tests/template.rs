//! Templates through our engine and through Go's own with sprig: the same bytes, or both refuse.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use leafseal::edge::Rng;
use leafseal::secret::SecretText;
use leafseal::template::{self, EXTERNAL_SECRETS, Field, Input, Surroundings, VAULT_SECRETS};
use leafseal_tests::peer;
use serde_json::{Value, json};

const TEXTS: &[(&str, &str)] = &[
    ("user", "admin"),
    ("pass", "p/1&<s>"),
    ("my-key", "dashed"),
    ("empty", ""),
    ("quotes", "a\"b'c\\\n\té"),
    ("json", r#"{"k":"v","l":[1,2.5,"x",null],"o":{"a":true}}"#),
    ("cfg", "a=b\nc=d\n"),
    ("csv", "one, two,three"),
    ("pem", "-----BEGIN X-----\nAAAA\n-----END X-----\n"),
];

const SECRETS: &str = r#"{"username":"u1","password":"p/1 &<x>","n":5,"f":1.50,"big":12345678901234567890,"exp":1e5,
    "b":true,"null":null,"list":["x",5,null,{"k":1.0}],"obj":{"a":{"b":"deep"},"<k>":"&"}}"#;
const METADATA: &str = r#"{"version":3,"created_time":"2026-01-02T03:04:05Z","custom_metadata":{"owner":"me"}}"#;
const ANNOTATIONS: &str = r#"{"a":"b","x.y/z":"w"}"#;
const LABELS: &str = r#"{"app":"web"}"#;

/// Bytes that do not matter: what they are made into is compared by its length.
struct Numbers(u8);

impl Rng for Numbers {
    fn fill(&mut self, buf: &mut [u8]) {
        for byte in buf {
            self.0 = self.0.wrapping_mul(73).wrapping_add(41);
            *byte = self.0;
        }
    }
}

fn cases(text: &'static str) -> Vec<String> {
    text.lines().skip(1).map(|line| line.replace('⏎', "\n")).collect()
}

fn labels(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).expect("it is a map of texts")
}

/// Renders a case as the operator would.
fn render(kind: &str, text: &str) -> Result<Vec<u8>, String> {
    let mut rng = Numbers(1);
    let mut surroundings = Surroundings { now: 1_800_000_000_000_000_000, rng: &mut rng };
    let shown = |error: template::TemplateError| error.to_string();
    match kind {
        "external-secrets" => {
            let texts: BTreeMap<String, SecretText> =
                TEXTS.iter().map(|(key, text)| ((*key).to_owned(), SecretText::from(*text))).collect();
            template::render(&EXTERNAL_SECRETS, "it", text, Input::Texts(&texts), &mut surroundings)
                .map(|it| it.expose().to_vec())
                .map_err(shown)
        }
        "vault-secrets" => {
            let (annotations, labels) = (labels(ANNOTATIONS), labels(LABELS));
            let fields = [
                ("Secrets", Field::Json(SECRETS)),
                ("Metadata", Field::Json(METADATA)),
                ("Annotations", Field::Texts(&annotations)),
                ("Labels", Field::Texts(&labels)),
            ];
            template::render(&VAULT_SECRETS, "it", text, Input::Fields(&fields), &mut surroundings)
                .map(|it| it.expose().to_vec())
                .map_err(shown)
        }
        _ => {
            let map = template::parse_key_values(text.as_bytes()).map_err(|error| error.to_string())?;
            let map: BTreeMap<String, String> =
                map.iter().map(|(key, text)| (key.clone(), String::from_utf8_lossy(text.expose()).into_owned())).collect();
            Ok(serde_json::to_vec(&map).expect("texts are JSON"))
        }
    }
}

/// What the real engine answers to each.
fn ask(program: &std::path::Path, kind: &str, cases: &[String]) -> Vec<Result<Vec<u8>, String>> {
    let mut child = Command::new(program)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the peer starts");
    let mut input = child.stdin.take().expect("it was asked for");
    let texts: BTreeMap<&str, &str> = TEXTS.iter().copied().collect();
    let lines: Vec<String> = cases
        .iter()
        .map(|case| {
            let parse = |text: &str| serde_json::value::RawValue::from_string(text.replace('\n', "")).expect("it is JSON");
            let fields: BTreeMap<&str, _> = [
                ("Secrets", parse(SECRETS)),
                ("Metadata", parse(METADATA)),
                ("Annotations", parse(ANNOTATIONS)),
                ("Labels", parse(LABELS)),
            ]
            .into();
            let fields = serde_json::to_string(&fields).expect("it is JSON");
            let rest = json!({"kind": kind, "template": case, "texts": texts}).to_string();
            format!("{},\"fields\":{fields}}}\n", &rest[..rest.len() - 1])
        })
        .collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            input.write_all(line.as_bytes()).expect("the peer reads");
        }
    });
    let output = child.wait_with_output().expect("the peer ends");
    writer.join().expect("all was written");
    output
        .stdout
        .split(|it| *it == b'\n')
        .filter(|it| !it.is_empty())
        .map(|line| {
            let answer: Value = serde_json::from_slice(line).expect("the peer answers in JSON");
            match answer["error"].as_str() {
                Some("") | None => Ok(decode(answer["output"].as_str().unwrap_or_default())),
                Some(error) => Err(error.to_owned()),
            }
        })
        .collect()
}

fn decode(base64: &str) -> Vec<u8> {
    let digits: Vec<u32> = base64
        .bytes()
        .filter(|it| *it != b'=')
        .map(|it| "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(char::from(it)).expect("it is base64") as u32)
        .collect();
    let mut out = Vec::new();
    for four in digits.chunks(4) {
        let bits = four.iter().enumerate().fold(0, |bits, (n, it)| bits | it << (18 - 6 * n));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}

/// A case of several templates joined by `|` is told apart piece by piece.
fn compare(kind: &str, text: &'static str) {
    let Some(program) = peer("go-template") else { return };
    let cases = cases(text);
    let answers = ask(&program, kind, &cases);
    assert_eq!(answers.len(), cases.len(), "the peer answers each");
    let mut differences = Vec::new();
    for (case, theirs) in cases.iter().zip(&answers) {
        let ours = render(kind, case);
        let same = match (&ours, theirs) {
            (Ok(ours), Ok(theirs)) if kind == "key-values" => {
                let parse = |it: &[u8]| serde_json::from_slice::<Value>(it).expect("it is JSON");
                parse(ours) == parse(theirs)
            }
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (ours, theirs) => ours.is_err() && theirs.is_err(),
        };
        if !same {
            let show = |it: &Result<Vec<u8>, String>| match it {
                Ok(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
                Err(error) => format!("error: {error}"),
            };
            differences.push(format!("{case}\n  ours   {}\n  theirs {}\n", show(&ours), show(theirs)));
        }
    }
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), cases.len(), differences.concat());
}

#[test]
fn templates_of_external_secrets_render_as_go_renders_them() {
    compare("external-secrets", include_str!("template/external-secrets.txt"));
}

#[test]
fn templates_of_vault_secrets_render_as_go_renders_them() {
    compare("vault-secrets", include_str!("template/vault-secrets.txt"));
}

#[test]
fn keys_and_values_are_read_as_kubernetes_reads_them() {
    compare("key-values", include_str!("template/key-values.txt"));
}
