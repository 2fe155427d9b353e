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
            let map: BTreeMap<String, String> = map
                .iter()
                .map(|(key, text)| (key.clone(), String::from_utf8_lossy(text.expose()).into_owned()))
                .collect();
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
            let parse =
                |text: &str| serde_json::value::RawValue::from_string(text.replace('\n', "")).expect("it is JSON");
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
        .map(|it| {
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                .find(char::from(it))
                .expect("it is base64") as u32
        })
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

fn hostile(text: &str) -> template::TemplateError {
    let begun = std::time::Instant::now();
    let mut rng = Numbers(1);
    let mut surroundings = Surroundings { now: 0, rng: &mut rng };
    let texts = BTreeMap::from([("secret".to_owned(), SecretText::from("hunter2"))]);
    let result = template::render(&EXTERNAL_SECRETS, "it", text, Input::Texts(&texts), &mut surroundings);
    assert!(begun.elapsed().as_secs() < 120, "{} took too long", &text[..text.len().min(60)]);
    result.expect_err(&text[..text.len().min(60)])
}

/// On the stack that the operator's threads have.
#[test]
fn hostile_templates_end_in_errors() {
    let nested =
        |n: usize, open: &str, inner: &str, close: &str| [open.repeat(n), inner.into(), close.repeat(n)].concat();
    let templates = [
        nested(100_000, "{{", "1", "}}"),
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(90), ")".repeat(90)) + "{{ fail \"x\" }}",
        nested(50_000, "{{ if true }}", "x", "{{ end }}"),
        nested(50_000, "{{ with 1 }}", "x", ""),
        "{{ if true }}a".to_owned() + &"{{ else if true }}a".repeat(50_000) + "{{ end }}",
        "{{ range 1000000000 }}{{ end }}".into(),
        "{{ range until 1000000000 }}x{{ end }}".into(),
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}".into(),
        "{{ repeat 1000000000 \"x\" }}".into(),
        "{{ repeat 9223372036854775807 \"xx\" }}".into(),
        "{{ $x := \"x\" }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}".into(),
        "{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}{{ $x }}".into(),
        "{{ $x := list }}{{ range until 100000 }}{{ $x = list $x }}{{ end }}{{ toJson $x }}".into(),
        "{{ $x := list }}{{ range until 100000 }}{{ $x = list $x }}{{ end }}{{ fail \"dropped\" }}".into(),
        "{{ $x := dict }}{{ range until 100000 }}{{ $x = dict \"a\" $x }}{{ end }}{{ deepCopy $x }}".into(),
        "{{ $x := dict }}{{ $_ := set $x \"a\" (list $x) }}".into(),
        "{{ $x := dict \"a\" dict }}{{ $_ := merge $x.a (dict \"b\" $x) }}".into(),
        "{{ printf \"%1000000000d\" 1 }}".into(),
        "{{ printf \"%.1000000000f\" 1.5 }}".into(),
        "{{ printf \"%*d\" 1000000000 1 | fail }}".into(),
        "{{ range until 1000 }}{{ printf \"%1000000d\" 1 }}{{ end }}".into(),
        "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".into(),
        "{{ define \"x\" }}{{ template \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".into(),
        (0..60).map(|n| format!("{{{{ define \"t{n}\" }}}}{0}{0}{{{{ end }}}}", format_args!("{{{{ template \"t{}\" }}}}", n + 1))).collect::<String>()
            + "{{ define \"t60\" }}{{ end }}{{ template \"t0\" }}",
        "{{ regexFindAll \"(a{0,1000}){0,1000}\" \"a\" -1 }}".into(),
        "{{ regexReplaceAll \"\" (repeat 1000000 \"a\") (repeat 1000 \"b\") }}".into(),
        "{{ replace \"\" (repeat 10000 \"b\") (repeat 1000000 \"a\") }}".into(),
        "{{ indent 1000000 (repeat 1000000 \"\\n\") }}".into(),
        "{{ seq 1000000000 }}".into(),
        "{{ untilStep 0 9223372036854775807 1 }}".into(),
        "{{ range until 100 }}{{ bcrypt \"x\" }}{{ end }}".into(),
        "{{ randAlphaNum 1000000000 }}".into(),
        "{{ splitList \"\" (repeat 10000000 \"a\") }}".into(),
        "{{ $x := repeat 1000000 \"a\" }}{{ range until 1000 }}{{ $x }}{{ end }}".into(),
        "{{ fromYaml (print \"a: \" (repeat 100000 \"[\")) | toYaml }}{{ fail \"x\" }}".into(),
        "{{ fromJson (repeat 100000 \"[\") | toJson }}{{ fail \"x\" }}".into(),
        "{{ fromYaml \"a: &a [x,x,x,x,x,x,x,x,x]\\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\\nd: &d [*c,*c,*c,*c,*c,*c,*c]\\ne: &e [*d,*d,*d,*d,*d,*d,*d]\\nf: &f [*e,*e,*e,*e,*e,*e]\\ng: [*f,*f,*f,*f,*f,*f,*f]\\n\" | toJson | fail }}".into(),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let run = thread.spawn(move || templates.iter().for_each(|it| drop(hostile(it)))).expect("there are threads");
    run.join().expect("no template panics");
}

#[test]
fn errors_hold_no_value() {
    for text in [
        "{{ range .secret }}{{ end }}",
        "{{ .secret.x }}",
        "{{ fail .secret }}",
        "{{ index (dict) .secret | upper }}",
        "{{ mustFromJson .secret }}",
        "{{ printf .secret | atoi | upper }}",
        "{{ regexReplaceAll (print \"(\" .secret) \"a\" \"b\" }}",
        "{{ urlParse (print \":\" .secret) }}",
        "{{ semver .secret }}",
        "{{ len (atoi .secret) }}",
        "{{ mustToDate \"2006\" .secret }}",
        "{{ jwkPublicKeyPem .secret }}",
        "{{ filterPEM \"X\" .secret }}",
        "{{ set .secret \"a\" 1 }}",
        "{{ eq .secret 1 }}",
    ] {
        let shown = format!("{0} {0:?}", hostile(text));
        assert!(!shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[test]
fn what_a_dialect_does_not_have_is_refused_when_parsed() {
    for (dialect, text) in [
        (&EXTERNAL_SECRETS, "{{ env \"PATH\" }}"),
        (&EXTERNAL_SECRETS, "{{ if false }}{{ getHostByName \"x\" }}{{ end }}"),
        (&EXTERNAL_SECRETS, "{{ expandenv \"x\" }}"),
        (&VAULT_SECRETS, "{{ genCA \"x\" 1 }}"),
        (&VAULT_SECRETS, "{{ now }}"),
        (&VAULT_SECRETS, "{{ toYaml . }}"),
        (&VAULT_SECRETS, "{{ uuidv4 }}"),
        (&EXTERNAL_SECRETS, "{{ genPrivateKey \"rsa\" }}"),
    ] {
        let refused = template::Set::new(dialect).add("it", text);
        assert!(matches!(refused, Err(template::TemplateError::UnknownFunction { .. })), "{text}: {refused:?}");
    }
}

#[test]
fn templates_of_a_set_call_each_other() {
    let mut set = template::Set::new(&EXTERNAL_SECRETS).with_delimiters("<<", ">>");
    set.add("a", "[<< template \"b\" . >>]").expect("it is a template");
    set.add("b", "<< .secret >>{{ .x }}").expect("it is a template");
    assert!(matches!(set.add("a", ""), Err(template::TemplateError::Duplicate { .. })));
    assert!(!set.varies());
    let mut rng = Numbers(1);
    let texts = BTreeMap::from([("secret".to_owned(), SecretText::from("s"))]);
    let rendered = set.execute("a", Input::Texts(&texts), &mut Surroundings { now: 0, rng: &mut rng });
    assert_eq!(rendered.expect("it can be executed").expose(), b"[s{{ .x }}]");
    set.add("c", "<< uuidv4 >>").expect("it is a template");
    assert!(set.varies());
}

#[test]
fn keys_and_certificates_are_spelt_as_pem() {
    // RFC 8037 A.1 and RFC 7515 A.3; the PEM as `openssl pkey` has it.
    let texts = BTreeMap::from([
        (
            "okp".to_owned(),
            SecretText::from(
                r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            ),
        ),
        (
            "pem".to_owned(),
            SecretText::from(
                "text\n-----BEGIN A-----\nQUJD\n-----END A-----\n-----BEGIN B-----\nREVG\n-----END B-----\n",
            ),
        ),
    ]);
    for (text, expected) in [
        (
            "{{ jwkPublicKeyPem .okp }}",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
        ),
        (
            "{{ jwkPrivateKeyPem .okp }}",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n",
        ),
        ("{{ filterPEM \"b\" .pem }}", "-----BEGIN B-----\nREVG\n-----END B-----\n"),
    ] {
        let mut rng = Numbers(1);
        let mut surroundings = Surroundings { now: 0, rng: &mut rng };
        let rendered = template::render(&EXTERNAL_SECRETS, "it", text, Input::Texts(&texts), &mut surroundings);
        assert_eq!(rendered.expect(text).expose_str(), Some(expected), "{text}");
    }
}

#[test]
fn openssl_reads_the_pkcs12_that_templates_write() {
    if Command::new("openssl").arg("version").output().is_err() {
        leafseal_tests::not_run("there is no openssl");
        return;
    }
    let text = |name: &str| {
        let file = leafseal_tests::workspace().join("lib/testdata/pkcs12").join(name);
        SecretText::new(std::fs::read(file).expect("it is there"))
    };
    let texts = BTreeMap::from([("chain".to_owned(), text("chain.crt")), ("key".to_owned(), text("leaf.key"))]);
    for (written, n_certificates, n_keys) in [
        ("fullPemToPkcs12Pass .chain .key \"pass\"", 3, 1),
        ("pemToPkcs12Pass .chain .key \"pass\"", 1, 1),
        ("pemTruststoreToPKCS12Pass .chain \"pass\"", 3, 0),
    ] {
        let mut rng = Numbers(1);
        let mut surroundings = Surroundings { now: 0, rng: &mut rng };
        let template = format!("{{{{ {written} | b64dec }}}}");
        let made = template::render(&EXTERNAL_SECRETS, "it", &template, Input::Texts(&texts), &mut surroundings);
        let mut openssl = Command::new("openssl")
            .args(["pkcs12", "-nodes", "-passin", "pass:pass"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was there a moment ago");
        let mut to = openssl.stdin.take().expect("it is piped");
        to.write_all(made.expect(written).expose()).expect("it reads");
        drop(to);
        let read = openssl.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&read.stdout);
        assert!(read.status.success(), "{written}: {}", String::from_utf8_lossy(&read.stderr));
        let count = |what: &str| shown.matches(&format!("-----BEGIN {what}-----")).count();
        assert_eq!((count("CERTIFICATE"), count("PRIVATE KEY")), (n_certificates, n_keys), "{written}");
    }
}
