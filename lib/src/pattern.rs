//! Regular expressions as Go reads them: the patterns of creation rules and metadata.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use regex::{Regex, RegexBuilder};

/// The longest pattern that is read, in bytes. Real ones have fewer than a hundred.
const MAX_LENGTH: usize = 32 * 1024;

/// The most memory that a compiled pattern takes, in bytes.
const MAX_SIZE: usize = 32 << 20;

/// The deepest nesting of groups that is read.
const MAX_DEPTH: usize = 250;

/// The largest number of copies that nested repetitions may ask for (Go: `regexp/syntax`).
const MAX_REPEAT: u32 = 1000;

/// A class that no character is in.
const NOTHING: &str = "[a&&b]";

/// A pattern in Go's RE2 syntax with Go's meaning: classes such as `\d` and `\b` are ASCII, the
/// search is unanchored and linear in the text (spec section 7.5).
///
/// Refuses what Go refuses, in Go's words, and patterns that are too large to be honest.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// A pattern that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message} (character {at})")]
pub struct PatternError {
    /// What is wrong, in Go's words.
    pub message: String,
    /// The character at which it goes wrong, from one.
    pub at: usize,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    ///
    /// See [`PatternError`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            let message = format!("error parsing regexp: expression too large: {} bytes", text.len());
            return Err(PatternError { message, at: 1 });
        }
        let translated = Translator::new(text).run()?;
        let regex = RegexBuilder::new(&translated)
            .nest_limit(4 * MAX_DEPTH as u32)
            .size_limit(MAX_SIZE)
            .build()
            .map_err(|_| error(text, "expression too large", 0..text.len(), 0))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The expression that it was compiled to.
    #[cfg(feature = "providers")]
    pub(crate) fn into_regex(self) -> Regex {
        self.regex
    }

    /// True if the pattern fits anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// `text` with everything that the pattern fits replaced. In `replacement`, `$1` and `${name}` stand
    /// for groups; a name is as long as it can be, and one that there is not is empty (Go:
    /// `ReplaceAllString`). Of groups with one name the first counts, and names that begin with a digit are
    /// unknown, where Go looks for a group that took part.
    pub fn replace_all(&self, text: &str, replacement: &str) -> String {
        self.regex.replace_all(text, replacement).into_owned()
    }

    /// Where the pattern first fits in `text`, in bytes.
    pub fn find(&self, text: &str) -> Option<Range<usize>> {
        self.regex.find(text).map(|it| it.range())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

fn error(text: &str, what: &str, expr: Range<usize>, at: usize) -> PatternError {
    let at = text[..at].chars().count() + 1;
    PatternError { message: format!("error parsing regexp: {what}: `{}`", &text[expr]), at }
}

/// Reads Go's syntax from left to right and writes the `regex` crate's, in which every character
/// that could mean something is written as its number.
struct Translator<'p> {
    text: &'p str,
    at: usize,
    out: String,
    flags: Flags,
    groups: Vec<Group>,
    /// The atom that a repetition would apply to.
    atom: Option<Atom>,
    /// The copies that the finished atoms of this group ask for.
    copies: u32,
    /// Where the repetition before this place began, if there is one directly before it.
    repetition: Option<usize>,
    /// The names of groups met so far. Go lets several have the same; here the first has it.
    names: HashSet<&'p str>,
    /// The Unicode classes met so far: looking one up means compiling it.
    unicode_classes: HashMap<String, Option<String>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
    lazy: bool,
}

struct Group {
    at: usize,
    out: usize,
    flags: Flags,
    copies: u32,
}

struct Atom {
    out: Range<usize>,
    copies: u32,
    repeated: bool,
}

impl<'p> Translator<'p> {
    fn new(text: &'p str) -> Self {
        Self {
            text,
            at: 0,
            out: String::with_capacity(2 * text.len()),
            flags: Flags::default(),
            groups: Vec::new(),
            names: HashSet::new(),
            atom: None,
            copies: 1,
            repetition: None,
            unicode_classes: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<String, PatternError> {
        while let Some(next) = self.rest().chars().next() {
            let start = self.at;
            let mut repetition = None;
            match next {
                '(' if self.rest().starts_with("(?") => self.perl_group()?,
                '(' => {
                    self.at += 1;
                    self.open(start, self.flags, Some(""))?;
                }
                ')' => self.close()?,
                '|' => {
                    self.finish_atom();
                    self.out.push('|');
                    self.at += 1;
                }
                '^' | '$' | '.' => {
                    self.at += 1;
                    self.atom(next.encode_utf8(&mut [0; 4]));
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.repeat(start, 1)?;
                    repetition = Some(start);
                }
                '{' => match bounds(self.rest()) {
                    None => {
                        self.at += 1;
                        self.literal('{' as u32);
                    }
                    Some((bounds, length)) => {
                        self.at += length;
                        let Some(times) = bounds else {
                            return Err(self.error("invalid repeat count", start..self.at));
                        };
                        self.repeat(start, times)?;
                        repetition = Some(start);
                    }
                },
                '\\' => self.backslash()?,
                _ => {
                    self.at += next.len_utf8();
                    self.literal(next as u32);
                }
            }
            self.repetition = repetition;
        }
        match self.groups.last() {
            Some(group) => Err(error(self.text, "missing closing )", 0..self.text.len(), group.at)),
            None => Ok(self.out),
        }
    }

    fn rest(&self) -> &'p str {
        &self.text[self.at..]
    }

    fn error(&self, what: &str, expr: Range<usize>) -> PatternError {
        error(self.text, what, expr.clone(), expr.start)
    }

    fn atom(&mut self, text: &str) {
        self.finish_atom();
        let start = self.out.len();
        self.out.push_str(text);
        self.atom = Some(Atom { out: start..self.out.len(), copies: 1, repeated: false });
    }

    fn finish_atom(&mut self) {
        if let Some(atom) = self.atom.take() {
            self.copies = self.copies.max(atom.copies);
        }
    }

    fn literal(&mut self, it: u32) {
        match char::from_u32(it) {
            Some(it) => self.atom(&spell(it)),
            // Go reads a surrogate and never finds it.
            None => self.atom(NOTHING),
        }
    }

    /// Begins a group; one that captures has a name, which may be empty.
    fn open(&mut self, at: usize, flags: Flags, name: Option<&'p str>) -> Result<(), PatternError> {
        if self.groups.len() == MAX_DEPTH {
            return Err(error(self.text, "expression nests too deeply", 0..self.text.len(), at));
        }
        self.finish_atom();
        self.groups.push(Group { at, out: self.out.len(), flags: self.flags, copies: self.copies });
        self.copies = 1;
        self.flags = flags;
        let flags = flags.spell();
        // The crate takes each name once, and none that begins with a digit.
        let named = name.filter(|it| it.starts_with(|it: char| !it.is_ascii_digit()) && self.names.insert(it));
        self.out.push_str(&match (name, named) {
            (None, _) => format!("(?{flags}:"),
            (Some(_), None) => format!("((?{flags})"),
            (Some(_), Some(name)) => format!("(?P<{name}>(?{flags})"),
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), PatternError> {
        let Some(group) = self.groups.pop() else {
            return Err(error(self.text, "unexpected )", 0..self.text.len(), self.at));
        };
        self.at += 1;
        self.finish_atom();
        self.out.push(')');
        self.atom = Some(Atom { out: group.out..self.out.len(), copies: self.copies, repeated: false });
        self.copies = group.copies;
        self.flags = group.flags;
        Ok(())
    }

    /// A group that begins with `(?`: a name, flags, or none of both.
    fn perl_group(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        let text = self.rest();
        let name = match text.as_bytes() {
            [_, _, b'P', b'<', _, ..] => Some(4),
            [_, _, b'<', _, ..] => Some(3),
            _ => None,
        };
        if let Some(name) = name {
            let end = text.find('>').ok_or_else(|| self.error("invalid named capture", start..self.text.len()))?;
            let valid = |it: char| it == '_' || it.is_ascii_alphanumeric();
            if end <= name || !text[name..end].chars().all(valid) {
                return Err(self.error("invalid named capture", start..start + end + 1));
            }
            self.at += end + 1;
            return self.open(start, self.flags, Some(&text[name..end]));
        }
        self.at += 2;
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, false);
        while let Some(next) = self.rest().chars().next() {
            self.at += next.len_utf8();
            let flag = match next {
                'i' => &mut flags.fold_case,
                'm' => &mut flags.multi_line,
                's' => &mut flags.dot_matches_newline,
                'U' => &mut flags.lazy,
                '-' if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                ':' if on || seen => return self.open(start, flags, None),
                ')' if on || seen => {
                    self.flags = flags;
                    let flags = flags.spell();
                    self.out.push_str(&format!("(?{flags})"));
                    return Ok(());
                }
                _ => break,
            };
            *flag = on;
            seen = true;
        }
        Err(self.error("invalid or unsupported Perl syntax", start..self.at))
    }

    /// A repetition that began at `start` and has been read but for the sign of laziness. `times`
    /// is the number of copies it asks for.
    fn repeat(&mut self, start: usize, times: u32) -> Result<(), PatternError> {
        let operator = &self.text[start..self.at];
        let mut lazy = self.flags.lazy;
        if self.rest().starts_with('?') {
            self.at += 1;
            lazy = !lazy;
        }
        if let Some(before) = self.repetition {
            return Err(self.error("invalid nested repetition operator", before..self.at));
        }
        let Some(atom) = &mut self.atom else {
            return Err(self.error("missing argument to repetition operator", start..self.at));
        };
        // Flags may stand between the atom and its repetition.
        if atom.repeated {
            self.out.insert(atom.out.end, ')');
            self.out.insert_str(atom.out.start, "(?:");
            atom.out.end += 4;
        }
        let suffix = if lazy { "?" } else { "" };
        self.out.insert_str(atom.out.end, &format!("{operator}{suffix}"));
        atom.out.end += operator.len() + suffix.len();
        atom.repeated = true;
        atom.copies = if times == 0 { 1 } else { atom.copies.saturating_mul(times) };
        if atom.copies > MAX_REPEAT && times > 1 {
            return Err(self.error("invalid repeat count", start..self.at));
        }
        Ok(())
    }

    /// A backslash outside a class.
    fn backslash(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        match self.rest().as_bytes().get(1) {
            Some(b'A') => self.escaped_atom(r"\A"),
            Some(b'z') => self.escaped_atom(r"\z"),
            Some(b'b') => self.escaped_atom(r"(?-u:\b)"),
            Some(b'B') => self.escaped_atom(r"(?-u:\B)"),
            Some(b'C') => return Err(self.error("invalid escape sequence", start..start + 2)),
            Some(b'Q') => {
                let quoted = &self.rest()[2..];
                let (quoted, length) = match quoted.find(r"\E") {
                    Some(end) => (&quoted[..end], end + 4),
                    None => (quoted, quoted.len() + 2),
                };
                quoted.chars().for_each(|it| self.literal(it as u32));
                self.at += length;
            }
            Some(b'p' | b'P') => {
                let class = self.property()?;
                self.atom(&class);
            }
            _ => match perl_class(self.rest()) {
                Some(class) => self.escaped_atom(class),
                None => {
                    let it = self.escape()?;
                    self.literal(it);
                }
            },
        }
        Ok(())
    }

    fn escaped_atom(&mut self, text: &str) {
        self.at += 2;
        self.atom(text);
    }

    /// A backslash that stands for one character, which need not be a valid one.
    fn escape(&mut self) -> Result<u32, PatternError> {
        let start = self.at;
        self.at += 1;
        let Some(next) = self.take() else {
            return Err(error(self.text, "trailing backslash at end of expression", start..start, start));
        };
        let octal = |it: &char| it.is_digit(8);
        match next {
            '1'..='7' if !self.rest().starts_with(|it| octal(&it)) => (),
            '0'..='7' => {
                let more = self.rest().chars().take(2).take_while(octal).count();
                self.at += more;
                let digits = &self.text[start + 1..self.at];
                return Ok(digits.chars().filter_map(|it| it.to_digit(8)).fold(0, |n, it| n * 8 + it));
            }
            'x' => {
                if let Some(it) = self.hexadecimal() {
                    return Ok(it);
                }
            }
            'a' => return Ok(7),
            'f' => return Ok(12),
            'n' => return Ok(10),
            'r' => return Ok(13),
            't' => return Ok(9),
            'v' => return Ok(11),
            _ if next.is_ascii() && !next.is_ascii_alphanumeric() => return Ok(next as u32),
            _ => (),
        }
        Err(self.error("invalid escape sequence", start..self.at))
    }

    /// What follows `\x`: two digits, or any number of them in braces. Stops behind the character
    /// that does not fit.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.take()?;
        if first != '{' {
            let second = self.take();
            return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
        let mut it = None;
        loop {
            match self.take()? {
                '}' => return it,
                next => {
                    let value = it.unwrap_or(0) * 16 + next.to_digit(16)?;
                    it = Some(value).filter(|it| *it <= char::MAX as u32);
                    it?;
                }
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// `\pL`, `\p{Greek}`, `\P{^Lu}`.
    fn property(&mut self) -> Result<String, PatternError> {
        let start = self.at;
        let mut negated = self.rest().starts_with(r"\P");
        self.at += 2;
        let name = match self.take() {
            Some('{') => {
                let Some(end) = self.rest().find('}') else {
                    return Err(self.error("invalid character class range", start..self.text.len()));
                };
                let name = &self.rest()[..end];
                self.at += end + 1;
                name
            }
            _ => &self.text[start + 2..self.at],
        };
        let (not, name) = name.strip_prefix('^').map_or((false, name), |it| (true, it));
        negated ^= not;
        let classes = &mut self.unicode_classes;
        let class = classes.entry(loose(name)).or_insert_with_key(|it| unicode_class(it)).clone();
        let class = class.ok_or_else(|| self.error("invalid character class range", start..self.at))?;
        Ok(if negated { format!("[^{class}]") } else { format!("[{class}]") })
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        self.at += 1;
        let mut class = "[".to_owned();
        if self.rest().starts_with('^') {
            self.at += 1;
            class.push('^');
        }
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            let rest = self.rest();
            if let Some(end) = rest.strip_prefix("[:").and_then(|it| it.find(":]")) {
                let name = &rest[..end + 4];
                let bare = &name[2..name.len() - 2];
                if !POSIX_CLASSES.contains(&bare.strip_prefix('^').unwrap_or(bare)) {
                    return Err(self.error("invalid character class range", self.at..self.at + name.len()));
                }
                class.push_str(name);
                self.at += name.len();
            } else if rest.starts_with(r"\p") || rest.starts_with(r"\P") {
                class.push_str(&self.property()?);
            } else if let Some(it) = perl_class(rest) {
                class.push_str(it);
                self.at += 2;
            } else {
                let from = self.at;
                let low = self.class_character(start)?;
                let mut high = low;
                if let [b'-', next, ..] = self.rest().as_bytes()
                    && *next != b']'
                {
                    self.at += 1;
                    high = self.class_character(start)?;
                    if high < low {
                        return Err(self.error("invalid character class range", from..self.at));
                    }
                }
                class.push_str(&range(low, high));
            }
        }
        self.at += 1;
        class.push(']');
        self.atom(&class);
        Ok(())
    }

    fn class_character(&mut self, class: usize) -> Result<u32, PatternError> {
        if self.rest().starts_with('\\') {
            return self.escape();
        }
        match self.take() {
            Some(it) => Ok(it as u32),
            None => Err(self.error("missing closing ]", class..self.text.len())),
        }
    }
}

impl Flags {
    fn spell(self) -> String {
        let flags = [(self.fold_case, 'i'), (self.multi_line, 'm'), (self.dot_matches_newline, 's')];
        let with = |on: bool| flags.iter().filter(move |it| it.0 == on).map(|it| it.1);
        let (on, off): (String, String) = (with(true).collect(), with(false).collect());
        if off.is_empty() { on } else { format!("{on}-{off}") }
    }
}

/// Reads `{2}`, `{2,}` and `{2,3}`: the number of copies and the length of the text. The number is
/// `None` if it is one that Go refuses. Anything else is no repetition, and its brace is a brace.
fn bounds(text: &str) -> Option<(Option<u32>, usize)> {
    let end = text.find('}')?;
    let (low, high) = match text[1..end].split_once(',') {
        Some((low, high)) => (low, Some(high)),
        None => (&text[1..end], None),
    };
    let number = |it: &str| -> Option<u32> {
        let digits = !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
        let fits = digits && (it.len() == 1 || !it.starts_with('0'));
        fits.then(|| it.parse().unwrap_or(u32::MAX))
    };
    let low = number(low)?;
    let copies = match high {
        None | Some("") => low,
        Some(high) => {
            let high = number(high)?;
            if high < low { u32::MAX } else { high }
        }
    };
    // `{0,}` is a star: it makes no copies, and those inside it still count.
    let copies = if high == Some("") { copies.max(1) } else { copies };
    Some(((copies <= MAX_REPEAT).then_some(copies), end + 1))
}

/// Spells a character so that it means itself inside and outside of classes.
fn spell(it: char) -> String {
    match it {
        _ if it.is_ascii_alphanumeric() => it.to_string(),
        _ => format!("\\x{{{:X}}}", it as u32),
    }
}

/// Spells the characters between two, surrogates left out.
fn range(low: u32, high: u32) -> String {
    let low = if (0xD800..0xE000).contains(&low) { 0xE000 } else { low };
    let high = if (0xD800..0xE000).contains(&high) { 0xD7FF } else { high };
    match (char::from_u32(low), char::from_u32(high)) {
        (Some(low), Some(high)) if low < high => format!("{}-{}", spell(low), spell(high)),
        (Some(low), Some(high)) if low == high => spell(low),
        _ => NOTHING.to_owned(),
    }
}

/// The class that `text` begins with, in ASCII as in Go: `\s` has no vertical tab.
fn perl_class(text: &str) -> Option<&'static str> {
    Some(match text.as_bytes() {
        [b'\\', b'd', ..] => "[0-9]",
        [b'\\', b'D', ..] => "[^0-9]",
        [b'\\', b's', ..] => r"[\t\n\f\r\x20]",
        [b'\\', b'S', ..] => r"[^\t\n\f\r\x20]",
        [b'\\', b'w', ..] => "[0-9A-Za-z_]",
        [b'\\', b'W', ..] => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

const POSIX_CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The scripts with names of four letters. Go does not know the codes of scripts, which have four
/// letters too.
const SHORT_SCRIPTS: &[&str] = &["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

/// The name of a Unicode class without what Go 1.25 has no regard for.
fn loose(name: &str) -> String {
    name.chars().filter(|it| !matches!(it, ' ' | '-' | '_')).map(|it| it.to_ascii_lowercase()).collect()
}

/// What a Unicode class, a general category or a script, means inside `[…]`.
fn unicode_class(name: &str) -> Option<String> {
    // `regex` would also read `IsGreek`.
    if name.is_empty() || name.starts_with("is") || !name.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return None;
    }
    match name {
        "any" => return Some(r"\x{0}-\x{10FFFF}".to_owned()),
        "ascii" => return Some(r"\x{0}-\x{7F}".to_owned()),
        "assigned" => return Some(r"\P{gc=Cn}".to_owned()),
        "cs" | "surrogate" => return Some(NOTHING.to_owned()),
        _ => (),
    }
    let category = format!(r"\p{{gc={name}}}");
    let script = format!(r"\p{{sc={name}}}");
    let code = name.len() == 4 && !SHORT_SCRIPTS.contains(&name);
    [Some(category), (!code).then_some(script)].into_iter().flatten().find(|it| Regex::new(it).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{MAX_LENGTH, Pattern};

    type Outcome = Result<Option<&'static str>, &'static str>;

    const NONE: Outcome = Ok(None);

    const fn found(it: &'static str) -> Outcome {
        Ok(Some(it))
    }

    #[test]
    fn what_fits_is_replaced_as_go_replaces_it() {
        for (pattern, text, replacement, expected) in [
            ("app/(.*)", "app/a", "$1", "a"),
            ("app/(.*)", "app/a", "$1x", ""),
            ("app/(.*)", "app/a", "${1}x", "ax"),
            ("(a)(?:b)(?P<n>c)", "xabc", "$n${2}$1$0", "xccaabc"),
            ("(?i)(?P<n>A)(?<m>b)*", "aBB", "$n-$m", "a-B"),
            ("((?i)a)b", "AbAB", "<$1>", "<A>AB"),
            ("(a|b)+?", "aabb", "$1", "aabb"),
            ("x*", "abxd", "-", "-a-b-d-"),
            ("a", "a", "$$1", "$1"),
        ] {
            let compiled = Pattern::new(pattern).expect("this is a pattern");
            assert_eq!(compiled.replace_all(text, replacement), expected, "{pattern} {replacement}");
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, subject, expected) in [
            ("^(data|stringData)$", "data", found("data")),
            (r"\.yaml$", "a.yaml", found(".yaml")),
            (r"secrets/[^/]*\.ya?ml", "x/secrets/b.yml", found("secrets/b.yml")),
            ("(?i)password", "PassWord", found("PassWord")),
            ("(?U)a+", "aaa", found("a")),
            ("(?s).", "\n", found("\n")),
            ("(?m)^b", "a\nb", found("b")),
            (r"\pL+", "é1", found("é")),
            (r"\p{Greek}", "α", found("α")),
            (r"\p{Latin}+", "abc", found("abc")),
            ("[[:alpha:]]+", "ab1", found("ab")),
            ("[[:word:]]+", "ab_1", found("ab_1")),
            (r"\Qa.b\E", "a.b", found("a.b")),
            (r"\C", "a", Err(r"invalid escape sequence: `\C`")),
            (r"\z", "a", found("")),
            (r"\Z", "a", Err(r"invalid escape sequence: `\Z`")),
            (r"\A", "a", found("")),
            ("a{,3}", "a{,3}", found("a{,3}")),
            ("a{,3}", "aaa", NONE),
            ("a{2}{3}", "aaaaaa", Err("invalid nested repetition operator: `{2}{3}`")),
            ("a**", "aaa", Err("invalid nested repetition operator: `**`")),
            ("x{1001}", "x", Err("invalid repeat count: `{1001}`")),
            ("(?:x{1000}){2}", "x", Err("invalid repeat count: `{2}`")),
            (r"\d+", "٣", NONE),
            (r"\w+", "é", NONE),
            (r"\s", "\u{a0}", NONE),
            (r"\s", "\u{b}", NONE),
            (r"\bfoo\b", "éfoo", found("foo")),
            ("(?P<n>a)", "a", found("a")),
            ("(?<n>a)", "a", found("a")),
            ("(?P<n>a)(?P<n>b)", "ab", found("ab")),
            ("[a-z&&[^b]]", "b", NONE),
            ("[a&&b]", "&", found("&")),
            ("[a--b]", "-", Err("invalid character class range: `a--`")),
            ("[a~~b]", "~", found("~")),
            ("[[a]]", "a]", found("a]")),
            ("[[]", "[", found("[")),
            ("[]a]", "]", found("]")),
            ("[^]a]", "b", found("b")),
            ("[a-]", "-", found("-")),
            (r"[\d-z]", "-", found("-")),
            ("a|*", "a", Err("missing argument to repetition operator: `*`")),
            ("(?i)ſ", "s", found("s")),
            ("(?i)k", "K", found("K")),
            (r"\x{41}", "A", found("A")),
            (r"\u0041", "A", Err(r"invalid escape sequence: `\u`")),
            (r"\101", "A", found("A")),
            (r"\07", "\u{7}", found("\u{7}")),
            (r"\1", "a", Err(r"invalid escape sequence: `\1`")),
            ("(?=a)", "a", Err("invalid or unsupported Perl syntax: `(?=`")),
            ("(?!a)", "a", Err("invalid or unsupported Perl syntax: `(?!`")),
            ("(?>a)", "a", Err("invalid or unsupported Perl syntax: `(?>`")),
            (r"\/secrets\/", "/secrets/", found("/secrets/")),
            (r"\_", "_", found("_")),
            (r"\-", "-", found("-")),
            (r"\@", "@", found("@")),
            (r"\ ", " ", found(" ")),
            (r"\é", "é", Err(r"invalid escape sequence: `\é`")),
            (r"\<a", "a", NONE),
            (r"\%", "%", found("%")),
            (r"\~", "~", found("~")),
            (r#"\""#, "\"", found("\"")),
            (r"\'", "'", found("'")),
            (r"\,", ",", found(",")),
            (r"\:", ":", found(":")),
            (r"\=", "=", found("=")),
            (r"\&", "&", found("&")),
            (r"\#", "#", found("#")),
            ("{", "{", found("{")),
            ("a{", "a{", found("a{")),
            ("}", "}", found("}")),
            ("a{1", "a{1", found("a{1")),
            ("a{x}", "a{x}", found("a{x}")),
            ("{1}", "{1}", Err("missing argument to repetition operator: `{1}`")),
            ("]", "]", found("]")),
            (")", ")", Err("unexpected ): `)`")),
            ("(?x)a b", "ab", Err("invalid or unsupported Perl syntax: `(?x`")),
            ("(?R)a", "a", Err("invalid or unsupported Perl syntax: `(?R`")),
            ("(?u)a", "a", Err("invalid or unsupported Perl syntax: `(?u`")),
            ("(?-u)a", "a", Err("invalid or unsupported Perl syntax: `(?-u`")),
            ("", "", found("")),
            ("^*", "a", found("")),
            ("$*", "a", found("")),
            ("(?:)", "a", found("")),
            ("()", "a", found("")),
            ("(a*)*", "aa", found("aa")),
            ("a??", "a", found("")),
            ("a*+", "a", Err("invalid nested repetition operator: `*+`")),
            (r"\h", "a", Err(r"invalid escape sequence: `\h`")),
            (r"\R", "\n", Err(r"invalid escape sequence: `\R`")),
            (r"\K", "a", Err(r"invalid escape sequence: `\K`")),
            (r"\G", "a", Err(r"invalid escape sequence: `\G`")),
            (r"\X", "a", Err(r"invalid escape sequence: `\X`")),
            (r"\N", "a", Err(r"invalid escape sequence: `\N`")),
            (".", "é", found("é")),
            (r"\p{L}", "a", found("a")),
            (r"\p{Letter}", "a", found("a")),
            (r"\p{Script=Greek}", "α", Err(r"invalid character class range: `\p{Script=Greek}`")),
            (r"\p{sc=Greek}", "α", Err(r"invalid character class range: `\p{sc=Greek}`")),
            (r"\p{Any}", "a", found("a")),
            (r"\p{Lu}", "A", found("A")),
            (r"\PL", "1", found("1")),
            (r"\p{^L}", "1", found("1")),
            ("[[:^alpha:]]", "1", found("1")),
            ("[[:foo:]]", "a", Err("invalid character class range: `[:foo:]`")),
            (r"\cA", "a", Err(r"invalid escape sequence: `\c`")),
            (r"\e", "a", Err(r"invalid escape sequence: `\e`")),
            (r"\a", "\u{7}", found("\u{7}")),
            ("a(?i)*", "aa", found("aa")),
            ("a*(?i)*", "aa", found("aa")),
            (r"\Q*\E+", "**", found("**")),
            ("a{01}", "a{01}", found("a{01}")),
            (r"(?i)\W", "ſ", NONE),
            (r"\B", "aé", found("")),
            (r"(?:\B)a", "éa", NONE),
            (r"[\x{D800}]", "a", NONE),
            (r"[^\x{D800}]", "a", found("a")),
            (r"[\x{D000}-\x{DFFF}]", "\u{d000}", found("\u{d000}")),
            (r"\p{greek}", "α", found("α")),
            (r"\p{Old_Italic}", "𐌀", found("𐌀")),
            (r"\p{Grek}", "α", Err(r"invalid character class range: `\p{Grek}`")),
            (r"\p{IsGreek}", "α", Err(r"invalid character class range: `\p{IsGreek}`")),
            ("(?P<n", "", Err("invalid named capture: `(?P<n`")),
            ("(?P<é>a)", "", Err("invalid named capture: `(?P<é>`")),
            ("(?i", "", Err("invalid or unsupported Perl syntax: `(?i`")),
            (r"a\", "", Err("trailing backslash at end of expression: ``")),
            ("[a", "", Err("missing closing ]: `[a`")),
        ] {
            let result = Pattern::new(pattern).map(|it| it.find(subject).map(|range| &subject[range]));
            let expected = expected.map_err(|it| format!("error parsing regexp: {it}"));
            assert_eq!(result.map_err(|it| it.message), expected, "{pattern:?} in {subject:?}");
        }
    }

    #[test]
    fn errors_name_the_character() {
        for (pattern, at) in [("(", 1), ("é(b", 2), ("ab)", 3), ("aéb**", 4), ("[a", 1), ("ä\\8", 2), ("x{2000}", 2)]
        {
            assert_eq!(Pattern::new(pattern).map_err(|it| it.at).err(), Some(at), "{pattern}");
        }
        let error = Pattern::new("a(").map_err(|it| it.to_string());
        assert_eq!(error.err().as_deref(), Some("error parsing regexp: missing closing ): `a(` (character 2)"));
    }

    #[test]
    fn a_pattern_has_bounds() {
        for pattern in [
            "a".repeat(MAX_LENGTH + 1),
            "(".repeat(MAX_LENGTH),
            "x{1000}".repeat(MAX_LENGTH / 7),
            r"\pL{1000}".repeat(10),
            format!("a{}", "(?i)*".repeat(6000)),
        ] {
            let error = Pattern::new(&pattern).map_err(|it| it.message).err().unwrap_or_default();
            assert!(error.contains("expression too large") || error.contains("nests too deeply"), "{error}");
        }
        assert!(Pattern::new("a(").is_err_and(|it| it.at == 2));
        assert!(Pattern::new(&"abc|".repeat(MAX_LENGTH / 4)).is_ok());
    }
}
