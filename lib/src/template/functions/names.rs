//! Which functions the templates of whom may call.

use crate::template::{Dialect, Missing};

/// Templates of External Secrets (engine version 2): sprig without what reads the machine it runs on, and
/// functions for keys and certificates (spec external-secrets 2.14).
pub const EXTERNAL_SECRETS: Dialect = Dialect {
    missing: Missing::Error,
    #[rustfmt::skip]
    functions: &[
        "abbrev", "abbrevboth", "add", "add1", "add1f", "addf", "adler32sum", "ago", "all", "any", "append",
        "atoi", "b32dec", "b32enc", "b64dec", "b64enc", "base", "bcrypt", "biggest", "buildCustomCert",
        "camelcase", "cat", "ceil", "certSANs", "chunk", "clean", "coalesce", "compact", "concat",
        "contains", "date", "dateInZone", "dateModify", "date_in_zone", "date_modify", "decryptAES",
        "deepCopy", "deepEqual", "default", "derivePassword", "dict", "dig", "dir", "div", "divf",
        "duration", "durationRound", "empty", "encryptAES", "ext", "fail", "filterCertChain", "filterPEM",
        "first", "float64", "floor", "fromJson", "fromYaml", "fullPemToPkcs12", "fullPemToPkcs12Pass",
        "genCA", "genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
        "genSignedCert", "genSignedCertWithKey", "get", "has", "hasKey", "hasPrefix", "hasSuffix", "hello",
        "hexdec", "htmlDate", "htmlDateInZone", "htpasswd", "indent", "initial", "initials", "int", "int64",
        "isAbs", "join", "jwkPrivateKeyPem", "jwkPublicKeyPem", "kebabcase", "keys", "kindIs", "kindOf",
        "last", "list", "lower", "max", "maxf", "merge", "mergeOverwrite", "min", "minf", "mod", "mul",
        "mulf", "mustAppend", "mustChunk", "mustCompact", "mustDateModify", "mustDeepCopy", "mustFirst",
        "mustFromJson", "mustHas", "mustInitial", "mustLast", "mustMerge", "mustMergeOverwrite",
        "mustPrepend", "mustPush", "mustRegexFind", "mustRegexFindAll", "mustRegexMatch",
        "mustRegexReplaceAll", "mustRegexReplaceAllLiteral", "mustRegexSplit", "mustRest", "mustReverse",
        "mustSlice", "mustToDate", "mustToJson", "mustToPrettyJson", "mustToRawJson", "mustUniq",
        "mustWithout", "must_date_modify", "nindent", "nospace", "now", "omit", "osBase", "osClean",
        "osDir", "osExt", "osIsAbs", "pemToPkcs12", "pemToPkcs12Pass", "pemTruststoreToPKCS12",
        "pemTruststoreToPKCS12Pass", "pick", "pkcs12cert", "pkcs12certPass", "pkcs12key", "pkcs12keyPass",
        "pluck", "plural", "prepend", "push", "quote", "randAlpha", "randAlphaNum", "randAscii",
        "randBytes", "randInt", "randNumeric", "regexFind", "regexFindAll", "regexMatch", "regexQuoteMeta",
        "regexReplaceAll", "regexReplaceAllLiteral", "regexSplit", "repeat", "replace", "rest", "reverse",
        "round", "rsaDecrypt", "semver", "semverCompare", "seq", "set", "sha1sum", "sha256sum", "sha512sum",
        "shuffle", "slice", "snakecase", "sortAlpha", "split", "splitList", "splitn", "squote", "sub",
        "subf", "substr", "swapcase", "ternary", "title", "toDate", "toDecimal", "toJson", "toPrettyJson",
        "toRawJson", "toString", "toStrings", "toYaml", "trim", "trimAll", "trimPrefix", "trimSuffix",
        "trimall", "trunc", "tuple", "typeIs", "typeIsLike", "typeOf", "uniq", "unixEpoch", "unset",
        "until", "untilStep", "untitle", "upper", "urlJoin", "urlParse", "uuidv4", "values", "without",
        "wrap", "wrapWith",
    ],
};

/// Templates of Vault Secrets: a part of sprig (spec vault-secrets A.7.1).
pub const VAULT_SECRETS: Dialect = Dialect {
    missing: Missing::NoValue,
    #[rustfmt::skip]
    functions: &[
        "abbrev", "abbrevboth", "add", "add1", "add1f", "addf", "adler32sum", "ago", "all", "any", "append",
        "atoi", "b32dec", "b32enc", "b64dec", "b64enc", "base", "bcrypt", "biggest", "buildCustomCert",
        "camelcase", "cat", "ceil", "chunk", "clean", "coalesce", "compact", "concat", "contains",
        "deepCopy", "deepEqual", "default", "dict", "dig", "dir", "div", "divf", "duration",
        "durationRound", "empty", "ext", "fail", "first", "float64", "floor", "fromJson", "get", "has",
        "hasKey", "hasPrefix", "hasSuffix", "htpasswd", "indent", "initial", "initials", "int", "int64",
        "isAbs", "join", "kebabcase", "keys", "kindIs", "kindOf", "last", "list", "lower", "max", "maxf",
        "merge", "mergeOverwrite", "min", "minf", "mod", "mul", "mulf", "mustAppend", "mustChunk",
        "mustCompact", "mustDeepCopy", "mustFirst", "mustFromJson", "mustHas", "mustInitial", "mustLast",
        "mustMerge", "mustMergeOverwrite", "mustPrepend", "mustPush", "mustRegexFind", "mustRegexFindAll",
        "mustRegexMatch", "mustRegexReplaceAll", "mustRegexReplaceAllLiteral", "mustRegexSplit", "mustRest",
        "mustReverse", "mustSlice", "mustToDate", "mustToJson", "mustToPrettyJson", "mustToRawJson",
        "mustUniq", "mustWithout", "nindent", "nospace", "omit", "osBase", "osClean", "osDir", "osExt",
        "osIsAbs", "pick", "pluck", "plural", "prepend", "push", "quote", "randInt", "regexFind",
        "regexFindAll", "regexMatch", "regexQuoteMeta", "regexReplaceAll", "regexReplaceAllLiteral",
        "regexSplit", "repeat", "replace", "rest", "reverse", "round", "semver", "semverCompare", "seq",
        "set", "sha1sum", "sha256sum", "sha512sum", "shuffle", "slice", "snakecase", "sortAlpha", "split",
        "splitList", "splitn", "squote", "sub", "subf", "substr", "swapcase", "ternary", "title",
        "toDecimal", "toJson", "toPrettyJson", "toRawJson", "toString", "toStrings", "trim", "trimAll",
        "trimPrefix", "trimSuffix", "trimall", "trunc", "tuple", "typeIs", "typeIsLike", "typeOf", "uniq",
        "unset", "until", "untilStep", "untitle", "upper", "urlJoin", "urlParse", "values", "without",
        "wrap", "wrapWith",
    ],
};

/// Functions of a dialect that do not exist here yet: calling them is an error when a template is parsed.
#[rustfmt::skip]
pub const NOT_BUILT: &[&str] = &[
    "buildCustomCert", "genCA", "genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
    "genSignedCert", "genSignedCertWithKey",
];
