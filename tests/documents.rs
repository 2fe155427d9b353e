//! Documents that are hard to keep whole: what interop, the examples and the fuzz seeds are made of.

use std::borrow::Cow;

/// One plain file, and how it is to be encrypted.
#[derive(Clone, Debug)]
pub struct Document {
    /// Says what is hard about it; a file name without its extension.
    pub name: &'static str,
    /// `yaml` or `json`.
    pub extension: &'static str,
    /// The file.
    pub text: Cow<'static, str>,
    /// Lines of a creation rule: a selector, `mac_only_encrypted`. Empty for SOPS's default.
    pub rule: &'static str,
    /// What real sops makes of it, where that is not simply the same values.
    pub oracle: Oracle,
}

/// What real sops can be asked about a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oracle {
    /// Everything.
    All,
    /// Version 3.13 only, for the reason given.
    Newest(&'static str),
    /// It loses or changes something, named here: only our own round trip is compared.
    Loses(&'static str),
}

impl Document {
    /// The file's name.
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.extension)
    }

    fn rule(self, rule: &'static str) -> Self {
        Self { rule, ..self }
    }

    fn newest(self, reason: &'static str) -> Self {
        Self { oracle: Oracle::Newest(reason), ..self }
    }

    fn loses(self, what: &'static str) -> Self {
        Self { oracle: Oracle::Loses(what), ..self }
    }
}

fn yaml(name: &'static str, text: impl Into<Cow<'static, str>>) -> Document {
    Document { name, extension: "yaml", text: text.into(), rule: "", oracle: Oracle::All }
}

fn json(name: &'static str, text: impl Into<Cow<'static, str>>) -> Document {
    Document { extension: "json", ..yaml(name, text) }
}

/// Every document.
pub fn all() -> Vec<Document> {
    let mut all = yaml_documents();
    all.extend(json_documents());
    all.extend(selected_documents());
    all
}

fn yaml_documents() -> Vec<Document> {
    vec![
        yaml("plain", "a: 1\nb: two\nc:\n    d: true\n    e: 2.5\n"),
        yaml(
            "integers",
            "zero: 0\nplus: +5\nminus: -1\nminus_zero: -0\noctal: 017\nnot_octal: 089\nnew_octal: 0o17\nhex: 0x1F\n\
             upper_hex: 0X1F\nminus_hex: -0x1F\nbinary: 0b101\nunder: 1_000\nunders: 1__0\nhex_under: 0x_0A\n\
             most: 9223372036854775807\nleast: -9223372036854775808\nbeyond: 18446744073709551616\nnot: _1\n",
        ),
        yaml(
            "floats",
            "a: 1.0\nb: 1.10\nc: .5\nd: 5.\ne: 1e3\nf: 1E3\ng: 12e03\nh: +1.5\ni: 685.230_15e+03\nj: .inf\nk: -.INF\n\
             l: 1e20\nm: 0.00001\nn: 1000000.0\no: 1234567.5\np: -0.0\nq: 1e400\nr: inf\ns: NaN\nt: 5e-324\n",
        ),
        yaml("not-a-number", "a: .nan\nb: .NaN\nc: .NAN\n"),
        yaml(
            "words",
            "a: true\nb: True\nc: TRUE\nd: tRue\ne: yes\nf: No\ng: on\nh: OFF\ni: y\nj: N\nk: null\nl: Null\nm: ~\nn:\n\
             o: nUll\np: \"true\"\nq: 'null'\nr: \"~\"\n",
        ),
        yaml(
            "times",
            "a: 2001-12-14\nb: 2001-12-14T21:59:43.10-05:00\nc: 2001-12-14t21:59:43Z\nd: 2001-12-14 21:59:43\n\
             e: 2001-1-1\nf: 2001-12-14 21:59:43.10 -5\ng: 2001-13-45\nh: 12:30:45\ni: \"2001-12-14\"\n\
             j: 2001-12-14T21:59:43.123456789Z\n",
        ),
        yaml(
            "tags",
            "a: !!str 123\nb: !!int \"5\"\nc: !!float 3\nd: !!bool \"true\"\ne: !custom foo\nf: !!null \"\"\n\
             g: !!timestamp 2020-01-01\nh: !!binary aGVsbG8=\ni: !!binary \"//8=\"\nj: !!set {x, y}\n",
        ),
        yaml(
            "quotes",
            "a: 'single'\nb: \"double\"\nc: 'it''s'\nd: \"tab\\tnew\\nline \\\"q\\\" \\\\ \\x41\\u00e9\\U0001F600\"\n\
             e: ' leading'\nf: \"trailing \"\ng: 'a: b'\nh: \"# no comment\"\ni: '1'\nj: \"\"\nk: ''\nl: '- x'\nm: '\\n'\n",
        ),
        yaml(
            "hard-strings",
            "a: \"a \\nb\"\nb: \"---\"\nc: \"1:20\"\nd: \"\\ttab first\"\ne: \"\\u0085\"\nf: \"\\uFEFFx\"\ng: '&a'\nh: '*a'\n\
             i: '!x'\nj: '%x'\nk: '@x'\nl: '`x`'\nm: '{a}'\nn: '[a]'\no: a#b\np: a:b\nq: \"=\"\nr: \"\\0\"\ns: http://x/y?z=1\n",
        ),
        yaml(
            "plain-multiline",
            "a: one\n  two\n  three\nb: one\n\n  two\nc: 'single\n  quoted\n\n  lines'\nd: \"double \\\n  folded\n  lines\"\n",
        ),
        yaml(
            "blocks",
            "lit: |\n    one\n    two\nstrip: |-\n    one\nkeep: |+\n    one\n\n\nfold: >\n    one\n    two\n\n    three\n\
             fold_strip: >-\n    one\n    two\nindent: |2\n    two more\n  here\nhash: |\n    # no comment\n    x\nlast: |+\n    end\n\n",
        ),
        yaml(
            "blocks-before-comments",
            "a: |+\n    kept\n\n\n  # further in\n\n  # again\n  \n\nb:\n  - |+\n    kept\n\n  # as far in\n      # deep\n\n  - >-\n          x\n\n        # y\n\n\
             c: |2+\n    two more\n\n # out\n\nlast: |+\n    kept\n\n# end\n\n\n",
        ),
        yaml(
            "certificate",
            format!(
                "tls:\n    crt: |\n        -----BEGIN CERTIFICATE-----\n{}        -----END CERTIFICATE-----\n    key: x\n",
                "        MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n".repeat(20),
            ),
        ),
        yaml(
            "flow",
            "a: {x: 1, y: [a, 'b', \"c\"], z: {}}\nb: [1, 2.5, true, null, ~, [], {}]\nc: [\n    one,\n    two\n]\nd: {\"k\": v, k2: }\n",
        ),
        yaml(
            "empties",
            "a: \"\"\nb: ''\nc: null\nd: []\ne: {}\nf:\ng:\n    - \"\"\n    - null\n    - []\n    - {}\nh:\n    i: {}\n",
        ),
        yaml(
            "lists",
            "a:\n    - 1\n    - two\n    -   - x\n        -   - y\n            - z\n    - k: v\n      l: w\n    - - p\nb:\n- c\n- d: e\n",
        ),
        yaml(
            "list-of-maps",
            "users:\n    - name: a\n      password: x\n      roles:\n        - r\n        - s\n    - name: b\n      password: x\n",
        ),
        yaml("deep", deep(60)),
        yaml("wide", (0..300).map(|n| format!("key_{n}: value {n}\n")).collect::<String>()),
        yaml("long-value", format!("a: {}\nb: \"{}\"\n", "x".repeat(100_000), "word ".repeat(5_000))),
        yaml("equal-values", "a: same\nb: same\nl:\n    - same\n    - same\nm:\n    a: same\n"),
        yaml(
            "keys",
            "with space: 1\n\"quoted\": 2\n'single''s': 3\n\"a:b\": 4\na.b: 5\n\"\": 6\nyes: 7\n\"1\": 8\n\"true\": 9\n\
             \"tab\\tkey\": 10\nключ: 11\n\"#\": 12\n? explicit\n: 13\n\"[x]\": 14\n",
        ),
        yaml("long-key", format!("{}: 1\nb: 2\n", "k".repeat(200))),
        yaml("nested-sops-key", "a:\n    sops: 1\nb:\n    - sops: x\n"),
        yaml(
            "unencrypted-suffix",
            "a_unencrypted: plain\nb_unencrypted:\n    c: 1\n    d: [x, 0x1F, 2001-12-14, 1000000.0]\ne: secret\n",
        ),
        yaml("unicode", "a: żółw\nb: 日本語\nc: \"😀\"\nd: 'Ünï'\ne: 😀 plain\nf: \u{a0}x\ng: e\u{301}\n"),
        yaml("bom", "\u{feff}a: 1\nb: x\n"),
        yaml("crlf", "a: 1\r\nb: |\r\n    one\r\n    two\r\nc:\r\n    - x\r\n# note\r\nd: \"q\"\r\n"),
        yaml("no-final-newline", "a: 1\nb: last"),
        yaml("blank-lines", "\n\na: 1\n\n\nb:\n\n    c: 2\n\n\n    d: 3\n\n"),
        yaml("spaces", "a:   1   \nb:\t2\nc:  \n    d:    x  \n"),
        yaml("indent-2", "a:\n  b:\n    - c: 1\n      d: 2\n    - e\n  f: g\n"),
        yaml("indent-mixed", "a:\n   b:\n      - 1\n      - 2\nc:\n- x\n- y:\n        z: 1\n"),
        yaml("start-marker", "---\na: 1\n"),
        yaml("end-marker", "a: 1\n...\n"),
        yaml("directive", "%YAML 1.1\n---\na: 1\n"),
        yaml("documents", "a: 1\n---\nb: 2\n---\nc:\n    - 3\n    - x: y\n"),
        yaml("documents-odd", "---\na: 1\n...\n---\n{}\n---\n# only a comment\n---\nb: 2\n"),
        yaml("documents-duplicates-later", "a: 1\n---\nb: 2\nb: 3\n"),
        yaml(
            "anchors",
            "base: &base\n    x: 1\n    y: two\ncopy: *base\nvalue: &v secret\nagain: *v\nlist: [*v, *v]\n",
        ),
        yaml("alias-as-key", "a: &a k\n*a : v\nb: {*a : 1, c: [*a]}\nd:\n    *a : {}\n    &e e: x\nf:\n    *e : *e\n"),
        yaml("alias-with-comment", "# a\na: &a # b\n    c: 1 # d\n    # e\nf: # g\n    <<: *a # h\ni: *a # j\n")
            .loses("the comments of the mapping, which it has again at each alias, and that behind a last alias"),
        yaml("anchors-empty", "a: &a \"\"\nb: *a\nc: &c\nd: *c\ne: [*a, *c]\nf: &f {}\ng: *f\n"),
        yaml(
            "merge-keys",
            "base: &base\n    x: 1\n    y: two\nother: &other {z: 3}\none:\n    <<: *base\n    y: three\nmany:\n    <<: [*base, *other]\n    w: 4\n",
        ),
        yaml(
            "comments",
            "# top\n# second\n\n# third\na: 1\n# above b\nb:\n    # inside, first\n    c: 2\n    # between\n    d: 3\n    # inside, last\n\
             # above l\nl:\n    # first of list\n    - x\n    # between items\n    - y\n    # last of list\nz: 4\n# end\n",
        ),
        yaml(
            "comments-inline",
            "# top\na: 1 # one\nb: # on a map\n    c: 'x' # two\n    d: \"y\"   # three\nl:\n    - v # four\ne: |  # five\n    text\n",
        ),
        yaml(
            "comments-in-maps-in-lists",
            "l:\n    # head\n    - a: 1\n      # inside\n      b: 2\n    # between\n    - c: 3\n      d: 4\nk: 5\n",
        ),
        yaml(
            "comments-behind-multiline",
            "a: one\n  two # x\nb: 'one\n\n  two' # y\nc: \"one\n  two\" # z\nd: !!str | # not one of them\n    one\n    two\n",
        ),
        yaml("comments-in-flow", "a: {x: 1, # i\n    y: 2} # j\nb: [1, # k\n    2]\n"),
        yaml("comments-hard", "## two\n#no space\n#\n#    spaced\n#ENC[AES256_GCM,not really]\na: 1\n# ünï 😀\nb: 2\n"),
        yaml("comment-before-document", "# p\n---\n# q\na: 1\n# r\n---\n# t\nb: 1\n"),
        yaml("looks-encrypted", "a: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\nb: ENC[x]\n"),
        yaml("empty-map", "{}\n"),
        yaml("duplicate-comment-only-map", "a:\n    # only\nb: 1\n"),
        yaml("tab-first-block", "a: \"\\tx\\ny\"\nb: 1\n")
            .loses("a multi-line string that begins with a tab becomes null"),
        yaml("block-item-indented", "l:\n    - \" a\\nb\"\n    - c\n")
            .loses("such a list item is printed as other text"),
        yaml("bare-comment-in-list", "l:\n    - a\n    #\n    - b\n").loses("a comment without text becomes an item"),
    ]
}

fn json_documents() -> Vec<Document> {
    vec![
        json(
            "types",
            "{\n\t\"a\": 1,\n\t\"b\": -2.5,\n\t\"c\": true,\n\t\"d\": null,\n\t\"e\": \"x\",\n\t\"f\": [],\n\t\"g\": {},\n\t\"h\": \"\"\n}\n",
        ),
        json("numbers", "{\"a\": 1.0, \"b\": 1e3, \"c\": 1e21, \"d\": 1e-7, \"e\": 0.1, \"f\": 100000000, \"g\": 0}\n"),
        json("large-integers", "{\"a\": 9007199254740993, \"b\": 9223372036854775807, \"c\": -9223372036854775808}\n")
            .newest("3.11 reads every number as a float"),
        json(
            "nested",
            "{\n    \"a\": {\"b\": [1, [2, {\"c\": \"d\"}], \"x\"], \"e\": {\"f\": {}}},\n    \"g\": [[], [[]]]\n}\n",
        ),
        json(
            "strings",
            r#"{"a": "q\"b\\s\/", "b": "\b\f\n\r\t", "c": "\u0041\u00e9\ud83d\ude00", "d": "<&>", "e": "żółw 😀", "f": "\u2028", "g": "ENC[AES256_GCM,x]"}"#,
        ),
        json("compact", r#"{"a":1,"b":{"c":[1,2,3]},"d":"x"}"#),
        json("odd-layout", "\n{ \"a\" :1 ,\n\n  \"b\":[ 1,2 ,\n3 ] , \"c\"\t: {\"d\" : \"e\" }}\n\n"),
        json("crlf", "{\r\n  \"a\": 1,\r\n  \"b\": \"x\"\r\n}\r\n"),
        json("duplicate-keys", "{\"a\": 1, \"a\": 2, \"b\": {\"c\": 1, \"c\": 2}}\n"),
        json("keys", "{\"\": 1, \"with space\": 2, \"a:b\": 3, \"q\\\"\": 4, \"\\u00e9\": 5, \"😀\": 6}\n"),
        json("empty-object", "{}\n"),
        json("long-value", format!("{{\"a\": \"{}\"}}\n", "x".repeat(100_000))),
        json("unencrypted-suffix", "{\"a_unencrypted\": {\"b\": [1, \"x\"]}, \"c\": \"secret\"}\n"),
    ]
}

fn selected_documents() -> Vec<Document> {
    let manifest = "apiVersion: v1\nkind: Secret\n# about data\ndata:\n    # inside\n    password: x\n    nested:\n        - a\n        - b: 1\n\
                    metadata:\n    name: n\n    labels: {data: y}\npassword: z\n";
    let marked = "a: 1\n# secret: yes\nb: 2\nc: 3\n# secret\n# more\nd:\n    e: 4\n    f: 5\nl:\n    - x\n    # secret\n    - y\n";
    vec![
        yaml("encrypted-regex", manifest).rule("encrypted_regex: ^(data|stringData)$"),
        yaml("encrypted-regex-nested", manifest).rule("encrypted_regex: pass|^b$"),
        yaml("unencrypted-regex", manifest).rule("unencrypted_regex: ^(apiVersion|kind|metadata)$"),
        yaml("encrypted-suffix", "a_enc: 1\nb: 2\nc_enc:\n    d: 3\n").rule("encrypted_suffix: _enc"),
        yaml("unencrypted-suffix-own", "a_plain: 1\nb: 2\nc_plain:\n    d: 3\n").rule("unencrypted_suffix: _plain"),
        yaml("mac-only-encrypted", manifest).rule("encrypted_regex: ^data$\n    mac_only_encrypted: true"),
        yaml("encrypted-comment-regex", marked).rule("encrypted_comment_regex: secret"),
        yaml(
            "alias-partly-covered",
            "base: &base\n    a: 1\n    b: 2\nx_plain:\n    <<: *base\ny: *base\nz_plain: &z v\nw: *z\nv_plain: *z\n",
        )
        .rule("unencrypted_suffix: _plain\n    mac_only_encrypted: true"),
        yaml("alias-not-covered", "base: &base\n    a: 1\nx:\n    <<: *base\ny: *base\nz: &z v\na: *z\n")
            .rule("unencrypted_regex: ^a$"),
        yaml("alias-with-marked", "base: &base\n    a: 1\n    # secret\n    b: token\n    c: 2\nx:\n    y:\n        - *base\n        - 1\n    z: *base\n")
            .rule("encrypted_comment_regex: secret"),
        yaml("alias-of-covered", "enc: &z v\nlist: [*z]\nplain: *z\n").rule("encrypted_regex: ^enc$"),
        yaml("unencrypted-comment-regex", marked).rule("unencrypted_comment_regex: ' secret'"),
        json("encrypted-regex-json", "{\"data\": {\"a\": \"x\", \"n\": 5}, \"kind\": \"Secret\", \"n\": 1.50}\n")
            .rule("encrypted_regex: ^data$"),
        yaml("regex-flags", "Password: a\nPASS: b\nuser: c\n").rule("encrypted_regex: (?i)^pass"),
    ]
}

/// Mappings in mappings, `depth` levels.
fn deep(depth: usize) -> String {
    let mut text = String::new();
    for n in 0..depth {
        text.push_str(&format!("{}level{n}:\n", " ".repeat(2 * n)));
    }
    text + &format!("{}leaf: x\n", " ".repeat(2 * depth))
}

/// A file that is refused, and sops's exit code for it.
pub struct Refused {
    /// Says what is wrong with it.
    pub name: &'static str,
    /// `yaml` or `json`.
    pub extension: &'static str,
    /// The file.
    pub text: &'static str,
    /// The exit code of `encrypt`.
    pub code: i32,
}

/// Files that cannot be encrypted (spec sections 1.5 to 1.7).
pub const REFUSED: &[Refused] = &[
    Refused { name: "top-level-list", extension: "yaml", text: "- a\n- b\n", code: 2 },
    Refused { name: "top-level-scalar", extension: "yaml", text: "foo\n", code: 2 },
    Refused { name: "no-bytes", extension: "yaml", text: "", code: 92 },
    Refused { name: "only-a-comment", extension: "yaml", text: "# c\n", code: 2 },
    Refused { name: "duplicate-key", extension: "yaml", text: "a: 1\na: 2\n", code: 2 },
    Refused { name: "integer-key", extension: "yaml", text: "1: a\n", code: 23 },
    Refused { name: "boolean-key", extension: "yaml", text: "a:\n    true: b\n", code: 23 },
    Refused { name: "integer-of-64-bits", extension: "yaml", text: "a: 9223372036854775808\n", code: 23 },
    Refused { name: "tab-indentation", extension: "yaml", text: "a:\n\tb: 1\n", code: 2 },
    Refused { name: "list-as-key", extension: "yaml", text: "? [a]\n: b\n", code: 2 },
    Refused { name: "wrong-tag", extension: "yaml", text: "a: !!bool yes\n", code: 2 },
    Refused { name: "unknown-anchor", extension: "yaml", text: "a: *nothing\n", code: 2 },
    Refused { name: "unclosed-flow", extension: "yaml", text: "a: [1, 2\n", code: 2 },
    Refused { name: "encrypted-already", extension: "yaml", text: "a: 1\nsops:\n    mac: x\n", code: 203 },
    Refused { name: "top-level-array", extension: "json", text: "[1]\n", code: 2 },
    Refused { name: "top-level-number", extension: "json", text: "1\n", code: 2 },
    Refused { name: "no-bytes", extension: "json", text: "", code: 2 },
    Refused { name: "trailing-comma", extension: "json", text: "{\"a\": 1,}\n", code: 2 },
    Refused { name: "truncated", extension: "json", text: "{\"a\": 1", code: 2 },
    Refused { name: "number-out-of-range", extension: "json", text: "{\"a\": 1E400}\n", code: 2 },
    Refused { name: "encrypted-already", extension: "json", text: "{\"a\": 1, \"sops\": {}}\n", code: 203 },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let all = super::all();
        assert_eq!(all.iter().map(super::Document::file).collect::<BTreeSet<_>>().len(), all.len());
    }
}
