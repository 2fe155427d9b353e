//! Plaintext files for benches: the same bytes on every machine.
//!
//! Values come from SplitMix64, seeded with the file's name, in the proportions of real files of
//! secrets: mostly short strings, three levels deep, twenty leaves a service.

use std::fmt::Write;

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

const WORDS: &[&str] = &[
    "api", "auth", "billing", "cache", "cart", "catalog", "config", "consumer", "core", "crm", "data", "deploy",
    "edge", "email", "event", "export", "feed", "gateway", "graph", "health", "image", "import", "index", "ingest",
    "job", "ledger", "mail", "market", "media", "metric", "network", "order", "page", "partner", "payment", "portal",
    "price", "proxy", "queue", "quota", "redis", "report", "router", "search", "session", "shop", "stock", "store",
    "stream", "sync", "tax", "team", "token", "trace", "user", "vault", "video", "web", "worker",
];

const FIELDS: &[&str] = &[
    "password",
    "username",
    "token",
    "secret_key",
    "access_key",
    "dsn",
    "endpoint",
    "salt",
    "client_id",
    "client_secret",
    "webhook",
    "signing_key",
    "port",
    "timeout",
    "enabled",
    "ratio",
    "retries",
    "replicas",
    "region",
    "bucket",
];

/// What the rows with a selector encrypt: eight of the twenty fields.
pub(crate) const SELECTOR: &str = "^(password|token|secret_key|access_key|client_secret|signing_key|webhook|dsn)$";

/// One file.
pub(crate) struct Corpus {
    pub(crate) name: &'static str,
    pub(crate) leaves: usize,
    /// A path to one leaf, for `set` and `extract`.
    pub(crate) leaf: String,
    pub(crate) text: String,
}

/// Makes the file called `name`, which is one of those that the benches' rows name.
pub(crate) fn make(name: &'static str) -> Corpus {
    let (stem, extension) = name.split_once('.').expect("every corpus has an extension");
    let (root, leaves) = match stem {
        "tiny" => (tree(stem, 10), 10),
        "helm60" => (helm(stem), 60),
        "k1" => (tree(stem, 1_000), 1_000),
        "k10" => (tree(stem, 10_000), 10_000),
        "k100" => (tree(stem, 100_000), 100_000),
        "flat30" => (flat(stem, 30_000), 30_000),
        other => unreachable!("no corpus is called {other}"),
    };
    let leaf = root.first_leaf();
    let mut text = String::new();
    match extension {
        "json" => {
            root.json(0, &mut text);
            text.push('\n');
        }
        _ => root.yaml(0, &mut text),
    }
    Corpus { name, leaves, leaf, text }
}

enum Node {
    Map(Vec<(String, Node)>),
    Text(String),
    /// A number or boolean, as it is spelt.
    Bare(String),
}

impl Node {
    fn first_leaf(&self) -> String {
        match self {
            Self::Map(pairs) => {
                pairs.first().map(|(key, node)| format!("[\"{key}\"]{}", node.first_leaf())).unwrap_or_default()
            }
            Self::Text(_) | Self::Bare(_) => String::new(),
        }
    }

    fn yaml(&self, depth: usize, out: &mut String) {
        let Self::Map(pairs) = self else { return };
        for (key, node) in pairs {
            let pad = " ".repeat(4 * depth);
            let written = match node {
                Self::Map(_) => writeln!(out, "{pad}{key}:").map(|()| node.yaml(depth + 1, out)),
                Self::Bare(it) => writeln!(out, "{pad}{key}: {it}"),
                Self::Text(it) if it.contains('\n') => {
                    let body: String = it.lines().map(|line| format!("{pad}    {line}\n")).collect();
                    write!(out, "{pad}{key}: |\n{body}")
                }
                Self::Text(it) if it.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    writeln!(out, "{pad}{key}: {it}")
                }
                Self::Text(it) => writeln!(out, "{pad}{key}: \"{it}\""),
            };
            written.expect("writing to a string does not fail");
        }
    }

    fn json(&self, depth: usize, out: &mut String) {
        match self {
            Self::Map(pairs) => {
                out.push_str("{\n");
                for (n, (key, node)) in pairs.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ",\n" };
                    out.push_str(&format!("{comma}{}\"{key}\": ", " ".repeat(4 * (depth + 1))));
                    node.json(depth + 1, out);
                }
                out.push_str(&format!("\n{}}}", " ".repeat(4 * depth)));
            }
            Self::Bare(it) => out.push_str(it),
            Self::Text(it) => out.push_str(&format!("\"{}\"", it.replace('\n', "\\n"))),
        }
    }
}

/// Service, environment, field.
fn tree(seed: &str, leaves: usize) -> Node {
    let mut random = Random::new(seed);
    let mut services = Vec::new();
    let mut made = 0;
    while made < leaves {
        let name = format!("{}-{}-{:05}", random.pick(WORDS), random.pick(WORDS), services.len());
        let mut environments = Vec::new();
        for (environment, fields) in [("production", &FIELDS[..10]), ("staging", &FIELDS[10..])] {
            let n = fields.len().min(leaves - made);
            made += n;
            let pairs: Vec<_> = fields[..n].iter().map(|it| ((*it).to_owned(), scalar(&mut random, it))).collect();
            if !pairs.is_empty() {
                environments.push((environment.to_owned(), Node::Map(pairs)));
            }
        }
        services.push((name, Node::Map(environments)));
    }
    Node::Map(services)
}

/// What a typical Helm `secrets.yaml` looks like: six charts, one TLS pair.
fn helm(seed: &str) -> Node {
    let mut random = Random::new(seed);
    let mut charts = Vec::new();
    for chart in ["postgresql", "redis", "ingress", "oauth2Proxy", "smtp", "app"] {
        let mut body = Vec::new();
        let mut fields = 10;
        if chart == "ingress" {
            let pair = [("crt", "CERTIFICATE", 20), ("key", "PRIVATE KEY", 26)];
            let pair = pair.map(|(key, kind, lines)| (key.to_owned(), Node::Text(pem(&mut random, kind, lines))));
            body.push(("tls".to_owned(), Node::Map(pair.into())));
            fields -= 2;
        }
        let auth = FIELDS[..fields].iter().map(|it| ((*it).to_owned(), scalar(&mut random, it))).collect();
        body.insert(0, ("auth".to_owned(), Node::Map(auth)));
        charts.push((chart.to_owned(), Node::Map(body)));
    }
    Node::Map(charts)
}

/// One mapping of many keys: what comparing every key with every other is slow on.
fn flat(seed: &str, leaves: usize) -> Node {
    let mut random = Random::new(seed);
    let pairs = (0..leaves).map(|n| (format!("key_{}_{n:06}", random.pick(WORDS)), Node::Text(random.text(12, 44))));
    Node::Map(pairs.collect())
}

fn scalar(random: &mut Random, field: &str) -> Node {
    match field {
        "port" | "timeout" | "retries" | "replicas" => Node::Bare(random.below(65536).to_string()),
        "enabled" => Node::Bare((random.below(2) == 1).to_string()),
        "ratio" => Node::Bare(format!("0.{:03}", 1 + random.below(999))),
        "endpoint" => Node::Text(format!("https://{}.{}.example.com/v1", random.pick(WORDS), random.pick(WORDS))),
        "dsn" => {
            let (user, password, host) = (random.pick(WORDS), random.text(20, 24), random.below(100));
            Node::Text(format!("postgres://{user}:{password}@db-{host}.internal:5432/{}", random.pick(WORDS)))
        }
        "username" => Node::Text(format!("{}-{}", random.pick(WORDS), random.pick(WORDS))),
        _ => Node::Text(random.text(12, 44)),
    }
}

fn pem(random: &mut Random, kind: &str, lines: usize) -> String {
    let body: String = (0..lines).map(|_| random.text(64, 64) + "\n").collect();
    format!("-----BEGIN {kind}-----\n{body}-----END {kind}-----\n")
}

/// SplitMix64 (Steele, Lea, Flood 2014), seeded with a string by FNV-1a.
struct Random(u64);

impl Random {
    fn new(seed: &str) -> Self {
        Self(seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn text(&mut self, least: usize, most: usize) -> String {
        let n = least + self.below(most - least + 1);
        (0..n).map(|_| char::from(ALPHANUMERIC[self.below(ALPHANUMERIC.len())])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::make;

    #[test]
    fn a_corpus_is_the_same_every_time_and_has_its_leaves() {
        let corpus = make("k1.yaml");
        assert_eq!(corpus.text, make("k1.yaml").text);
        assert_eq!(corpus.text.lines().filter(|it| !it.ends_with(':')).count(), corpus.leaves);
        assert!(corpus.leaf.contains("production"), "{}", corpus.leaf);
    }
}
