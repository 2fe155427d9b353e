//! Structure as YAML text, laid out as SOPS lays it out (spec section 4.6, appendix C).

use zeroize::{Zeroize, Zeroizing};

use super::spelling::{comment, is_simple_key, spell, spell_flow, spell_quoted};
use crate::format::PrintError;
use crate::secret::SecretText;
use crate::tree::{Entry, Style, Wire};
use crate::value::Value;

/// The number of columns that SOPS indents by if nobody asks for another.
pub(super) const DEFAULT_INDENT: usize = 4;

/// What go-yaml makes of an indentation that somebody asks for: zero is the default, and what it
/// cannot do (one, more than nine) is two.
///
/// # Errors
///
/// If the number is negative.
pub(super) fn indent_unit(asked: Option<i32>) -> Result<usize, PrintError> {
    match asked {
        None | Some(0) => Ok(DEFAULT_INDENT),
        Some(it @ 2..=9) => Ok(it as usize),
        Some(1..) => Ok(2),
        Some(_) => Err(PrintError("YAML Negative indentation not accepted".to_owned())),
    }
}

/// Appends `documents` to `out`, separated by `---`. A document without content is `{}`.
pub(super) fn print_documents(documents: &[Wire], unit: usize, out: &mut String) {
    let mut printer = Printer::new(unit, out);
    for (n, document) in documents.iter().enumerate() {
        if n > 0 {
            printer.push("---\n");
        }
        match document {
            Wire::Leaf(Value::Null) => printer.push("{}\n"),
            other => printer.root(other),
        }
    }
}

/// Prints one value of any sort as a document of its own.
pub(super) fn print_value(wire: &Wire, unit: usize) -> Zeroizing<String> {
    print(unit, |printer| printer.root(wire))
}

/// Prints the entries of a mapping as lines: each with its indentation to `column` and its break.
pub(super) fn print_map_entries(entries: &[Entry], unit: usize, column: usize) -> Zeroizing<String> {
    print(unit, |printer| printer.run(Frame { rest: Rest::Map(entries), column }))
}

/// Prints the items of a list as lines: each with its `-` at `column` and its break.
pub(super) fn print_list_items(items: &[Wire], unit: usize, column: usize) -> Zeroizing<String> {
    print(unit, |printer| printer.run(Frame { rest: Rest::List(items), column }))
}

/// What a subtree is put after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Parent {
    /// `key:`, the key standing at this column.
    Map(usize),
    /// `-` at this column.
    List(usize),
}

/// Prints what stands after `key:` or `-`: with the space or the break before it, without the last
/// line's break. A container that has nothing but comments loses them.
pub(super) fn print_subtree(wire: &Wire, unit: usize, parent: Parent) -> Zeroizing<String> {
    let mut text = print(unit, |printer| {
        if let Parent::List(column) = parent {
            printer.open = Some(column + 1);
        }
        let frame = Frame::of(wire, printer.inside(parent));
        if let Some(frame) = printer.value(wire, frame, parent) {
            printer.run(frame);
        }
    });
    text.pop();
    text
}

/// Prints `wire` on one line, for a place inside `[…]` or `{…}`. Comments are left out.
pub(super) fn print_flow(wire: &Wire) -> Zeroizing<String> {
    print(DEFAULT_INDENT, |printer| printer.flow(wire))
}

fn print<'w>(unit: usize, work: impl FnOnce(&mut Printer<'_, 'w>)) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    work(&mut Printer::new(unit, &mut text));
    text
}

/// A container of which some entries are still to be printed.
#[derive(Clone, Copy)]
struct Frame<'w> {
    rest: Rest<'w>,
    column: usize,
}

#[derive(Clone, Copy)]
enum Rest<'w> {
    Map(&'w [Entry]),
    List(&'w [Wire]),
}

impl<'w> Frame<'w> {
    /// `None` for a scalar.
    fn of(wire: &'w Wire, column: usize) -> Option<Self> {
        let rest = match wire {
            Wire::Map(entries) => Rest::Map(entries),
            Wire::List(items) => Rest::List(items),
            Wire::Leaf(_) => return None,
        };
        Some(Self { rest, column })
    }

    /// Takes a comment off the front, if one is there.
    fn next_comment(&mut self) -> Option<&'w SecretText> {
        match self.rest {
            Rest::Map([Entry::Comment(text), rest @ ..]) => {
                self.rest = Rest::Map(rest);
                Some(text)
            }
            Rest::List([Wire::Leaf(Value::Comment(text)), rest @ ..]) => {
                self.rest = Rest::List(rest);
                Some(text)
            }
            _ => None,
        }
    }

    /// True if there is nothing but comments.
    fn is_empty(mut self) -> bool {
        while self.next_comment().is_some() {}
        matches!(self.rest, Rest::Map([]) | Rest::List([]))
    }

    /// How a container without entries is written.
    fn brackets(self) -> &'static str {
        match self.rest {
            Rest::Map(_) => "{}",
            Rest::List(_) => "[]",
        }
    }
}

/// Writes line by line. Keeps its own stack: documents may nest deeper than a thread's stack.
struct Printer<'o, 'w> {
    out: &'o mut String,
    unit: usize,
    /// The column after a `-` or `:` on the current line that an entry may follow on that line;
    /// `None` where entries start lines of their own.
    open: Option<usize>,
    stack: Vec<Frame<'w>>,
}

impl<'o, 'w> Printer<'o, 'w> {
    fn new(unit: usize, out: &'o mut String) -> Self {
        Self { out, unit, open: None, stack: Vec::new() }
    }

    /// Appends `text` and leaves no copies behind in memory.
    fn push(&mut self, text: &str) {
        if self.out.capacity() - self.out.len() < text.len() {
            let mut grown = String::with_capacity((self.out.len() + text.len()) * 2);
            grown.push_str(self.out);
            self.out.zeroize();
            *self.out = grown;
        }
        self.out.push_str(text);
    }

    fn push_spaces(&mut self, n: usize) {
        const SPACES: &str = "                                ";
        for _ in 0..n / SPACES.len() {
            self.push(SPACES);
        }
        self.push(&SPACES[..n % SPACES.len()]);
    }

    /// Goes to `column`: after the indicator on this line if there is room, or else on a new one.
    fn go_to(&mut self, column: usize) {
        match self.open.take() {
            Some(at) if at < column => self.push_spaces(column - at),
            Some(_) => {
                self.push("\n");
                self.push_spaces(column);
            }
            None => self.push_spaces(column),
        }
    }

    /// Where the entries, and the lines of a literal block, after `parent` start.
    fn inside(&self, parent: Parent) -> usize {
        match parent {
            Parent::Map(column) => self.unit * ((column + self.unit) / self.unit),
            Parent::List(column) => column + 2,
        }
    }

    fn root(&mut self, wire: &'w Wire) {
        let Some(mut frame) = Frame::of(wire, 0) else {
            let Wire::Leaf(value) = wire else { return };
            let text = self.spell(value, 0, self.unit);
            self.push(&text);
            self.push("\n");
            return;
        };
        if frame.is_empty() {
            self.leading_comments(&mut frame, 0);
            self.push(frame.brackets());
            self.push("\n");
        }
        self.run(frame);
    }

    fn run(&mut self, frame: Frame<'w>) {
        self.stack.push(frame);
        while let Some(mut frame) = self.stack.pop() {
            let column = frame.column;
            self.leading_comments(&mut frame, column);
            let inside = match frame.rest {
                Rest::Map([Entry::Pair(key, value), rest @ ..]) => {
                    self.stack.push(Frame { rest: Rest::Map(rest), column });
                    self.pair(key, value, column)
                }
                Rest::List([item, rest @ ..]) => {
                    self.stack.push(Frame { rest: Rest::List(rest), column });
                    self.item(item, column)
                }
                Rest::Map(_) | Rest::List(_) => None,
            };
            self.stack.extend(inside);
        }
    }

    /// Prints the comments at the front of `frame` and takes them off.
    fn leading_comments(&mut self, frame: &mut Frame<'w>, column: usize) {
        while let Some(text) = frame.next_comment() {
            self.go_to(column);
            self.push(&comment(text, column));
            self.push("\n");
        }
    }

    fn pair(&mut self, key: &'w str, value: &'w Wire, column: usize) -> Option<Frame<'w>> {
        let parent = Parent::Map(column);
        let mut frame = Frame::of(value, self.inside(parent));
        if let Some(frame) = &mut frame
            && frame.is_empty()
        {
            // There is no room for a comment in `{}`.
            self.leading_comments(frame, column);
        }
        self.go_to(column);
        let spelling = self.spell_key(key, value, column);
        if is_simple_key(key) {
            self.push(&spelling);
            self.push(":");
        } else {
            self.push("? ");
            self.push(&spelling);
            self.push("\n");
            self.push_spaces(column);
            self.push(":");
            self.open = Some(column + 1);
        }
        self.value(value, frame, parent)
    }

    fn item(&mut self, item: &'w Wire, column: usize) -> Option<Frame<'w>> {
        let parent = Parent::List(column);
        let mut frame = Frame::of(item, self.inside(parent));
        if let Some(frame) = &mut frame {
            // The comments at the front of a container in a list stand above its `-`.
            self.leading_comments(frame, column);
        }
        self.go_to(column);
        self.push("-");
        self.open = Some(column + 1);
        self.value(item, frame, parent)
    }

    /// Prints what follows `:` or `-`, or returns the container that does.
    fn value(&mut self, wire: &'w Wire, frame: Option<Frame<'w>>, parent: Parent) -> Option<Frame<'w>> {
        match frame {
            Some(frame) if !frame.is_empty() => {
                if self.open.is_none() {
                    self.push("\n");
                }
                return Some(frame);
            }
            Some(frame) => {
                self.push(" ");
                self.push(frame.brackets());
            }
            None => {
                let (Parent::Map(start) | Parent::List(start)) = parent;
                let Wire::Leaf(value) = wire else { return None };
                let text = self.spell(value, start, self.inside(parent));
                self.push(" ");
                self.push(&text);
            }
        }
        self.push("\n");
        self.open = None;
        None
    }

    fn spell_key(&self, key: &str, value: &Wire, column: usize) -> Zeroizing<String> {
        match quoted_merge_key(key, value) {
            Some(it) => it,
            None => self.spell(&Value::str(key), column, self.inside(Parent::Map(column))),
        }
    }

    /// Spells a scalar as SOPS does where that can be read.
    fn spell(&self, value: &Value, parent: usize, column: usize) -> Zeroizing<String> {
        // go-yaml's hint for the indentation of a literal block is the unit, whatever the
        // indentation is (spec section 9.1.7).
        if let Value::Str(text) = value
            && column - parent != self.unit
            && matches!(text.expose().first(), Some(b' ' | b'\n'))
            && text.expose().contains(&b'\n')
        {
            if text.expose().iter().all(|b| *b == b'\n') {
                return spell(value, parent, parent + self.unit).1;
            }
            if let Some(quoted) = spell_quoted(value, Style::Double) {
                return quoted;
            }
        }
        spell(value, parent, column).1
    }

    fn flow(&mut self, wire: &'w Wire) {
        self.open_flow(wire);
        while let Some(mut frame) = self.stack.pop() {
            while frame.next_comment().is_some() {}
            let value = match frame.rest {
                Rest::Map([Entry::Pair(key, value), rest @ ..]) => {
                    frame.rest = Rest::Map(rest);
                    self.separate();
                    let spelling = match quoted_merge_key(key, value) {
                        Some(it) => it,
                        None => spell_flow(&Value::str(key)).1,
                    };
                    self.push(if is_simple_key(key) { "" } else { "? " });
                    self.push(&spelling);
                    self.push(if is_simple_key(key) { ": " } else { " : " });
                    value
                }
                Rest::List([item, rest @ ..]) => {
                    frame.rest = Rest::List(rest);
                    self.separate();
                    item
                }
                Rest::Map(_) => {
                    self.push("}");
                    continue;
                }
                Rest::List(_) => {
                    self.push("]");
                    continue;
                }
            };
            self.stack.push(frame);
            self.open_flow(value);
        }
    }

    fn separate(&mut self) {
        // Nothing but an opening bracket ends in one: such scalars are quoted.
        if !self.out.ends_with(['{', '[']) {
            self.push(", ");
        }
    }

    fn open_flow(&mut self, wire: &'w Wire) {
        match wire {
            Wire::Map(_) => self.push("{"),
            Wire::List(_) => self.push("["),
            Wire::Leaf(value) => self.push(&spell_flow(value).1),
        }
        self.stack.extend(Frame::of(wire, 0));
    }
}

/// Quotes the key `<<` where no mapping that it could merge follows: without quotes nobody reads
/// such a document (spec section 9.1.7).
fn quoted_merge_key(key: &str, value: &Wire) -> Option<Zeroizing<String>> {
    let is_merged = match value {
        Wire::Map(_) => true,
        Wire::List(_) => value.items().all(|it| matches!(it, Wire::Map(_))),
        Wire::Leaf(_) => false,
    };
    (key == "<<" && !is_merged).then(|| Zeroizing::new("\"<<\"".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Wire)]) -> Wire {
        let entry = |(key, value): &(&str, Wire)| match *key {
            "#" => Entry::Comment(value.as_str().unwrap_or("").into()),
            key => Entry::Pair(key.to_owned(), value.clone()),
        };
        Wire::Map(entries.iter().map(entry).collect())
    }

    fn list(items: &[Wire]) -> Wire {
        Wire::List(items.to_vec())
    }

    fn comment(text: &str) -> Wire {
        Wire::Leaf(Value::Comment(text.into()))
    }

    fn int(it: i64) -> Wire {
        Wire::Leaf(Value::Int(it))
    }

    #[track_caller]
    fn check(documents: &[Wire], unit: usize, text: &str) {
        let mut out = String::new();
        print_documents(documents, unit, &mut out);
        assert_eq!(out, text);
    }

    #[test]
    fn containers_stand_where_sops_puts_them() {
        let nested = map(&[
            ("a", map(&[("b", list(&[int(1), list(&[int(2), map(&[("c", int(3)), ("d", Wire::text("x\ny\n"))])])]))])),
            ("e", map(&[])),
            ("f", list(&[])),
            ("x\ny", map(&[("g", int(4)), ("h", int(5))])),
            ("<<", map(&[("i", Wire::text("2001-01-01T00:00:00Z"))])),
        ]);
        check(
            std::slice::from_ref(&nested),
            4,
            "\
a:
    b:
        - 1
        - - 2
          - c: 3
            d: |
                x
                y
e: {}
f: []
? |-
    x
    y
:   g: 4
    h: 5
!!merge <<:
    i: \"2001-01-01T00:00:00Z\"
",
        );
        check(
            &[nested],
            3,
            "\
a:
   b:
      - 1
      - - 2
        - c: 3
          d: |
            x
            y
e: {}
f: []
? |-
   x
   y
:  g: 4
   h: 5
!!merge <<:
   i: \"2001-01-01T00:00:00Z\"
",
        );
        check(&[map(&[]), Wire::Leaf(Value::Null), map(&[("a", int(1))])], 4, "{}\n---\n{}\n---\na: 1\n");
        check(&[list(&[int(1), map(&[("a", int(2))])])], 4, "- 1\n- a: 2\n");
        check(&[map(&[("<<", int(1))])], 4, "\"<<\": 1\n");
        check(&[map(&[("a", list(&[map(&[("b", Wire::text(" x\n"))])]))])], 4, "a:\n    - b: \" x\\n\"\n");
        check(&[map(&[("a", list(&[map(&[("b", Wire::text(" x\n"))])]))])], 2, "a:\n  - b: |2\n       x\n");
    }

    #[test]
    fn comments_stay_where_they_are() {
        let document = map(&[
            ("#", Wire::text(" top")),
            ("a", int(1)),
            ("#", Wire::text(" b")),
            ("b", map(&[("#", Wire::text(" c")), ("c", int(2)), ("#", Wire::text(" end of b"))])),
            ("d", list(&[comment(" one"), int(1), comment(" two"), map(&[("#", Wire::text(" e")), ("e", int(2))])])),
            ("f", map(&[("#", Wire::text(" only"))])),
            ("#", Wire::text("")),
        ]);
        check(
            &[document],
            4,
            "\
# top
a: 1
# b
b:
    # c
    c: 2
    # end of b
d:
    # one
    - 1
    # two
    # e
    - e: 2
# only
f: {}
#
",
        );
        check(&[map(&[("#", Wire::text(" only"))])], 4, "# only\n{}\n");
    }

    #[test]
    fn parts_fit_into_a_text() {
        let wire = map(&[("a", int(1)), ("b", list(&[Wire::text("x\n\n")]))]);
        assert_eq!(*print_subtree(&wire, 2, Parent::Map(2)), "\n    a: 1\n    b:\n      - |+\n        x\n");
        assert_eq!(*print_subtree(&wire, 2, Parent::List(2)), " a: 1\n    b:\n      - |+\n        x\n");
        assert_eq!(*print_subtree(&int(1), 2, Parent::Map(0)), " 1");
        assert_eq!(*print_subtree(&list(&[]), 2, Parent::List(0)), " []");
        let Wire::Map(entries) = &wire else { return };
        assert_eq!(*print_map_entries(&entries[..1], 2, 3), "   a: 1\n");
        assert_eq!(*print_list_items(&[int(1), map(&[])], 2, 1), " - 1\n - {}\n");
        assert_eq!(*print_value(&Wire::Leaf(Value::Bool(true)), 4), "true\n");
    }

    #[test]
    fn flow_fits_on_one_line() {
        for (wire, text) in [
            (map(&[("a", Wire::text("x")), ("b", list(&[int(1), Wire::text("y, z")]))]), "{a: x, b: [1, 'y, z']}"),
            (map(&[("#", Wire::text("c")), ("", Wire::text("a\nb"))]), "{\"\": \"a\\nb\"}"),
            (list(&[map(&[]), list(&[]), comment("c")]), "[{}, []]"),
            (map(&[("<<", map(&[])), ("a:b", Wire::Leaf(Value::Null))]), "{!!merge <<: {}, 'a:b': null}"),
            (Wire::Leaf(Value::Str(SecretText::new(b"\xff".to_vec()))), "!!binary \"/w==\""),
            (int(1), "1"),
        ] {
            assert_eq!(*print_flow(&wire), text);
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let mut wire = int(1);
        for _ in 0..10_000 {
            wire = Wire::List(vec![wire]);
        }
        assert_eq!(*print_value(&wire, 4), format!("{}1\n", "- ".repeat(10_000)));
        assert_eq!(print_flow(&wire).len(), 20_001);
    }

    #[test]
    fn an_indentation_is_what_go_yaml_makes_of_it() {
        for (asked, unit) in [(None, 4), (Some(0), 4), (Some(1), 2), (Some(2), 2), (Some(9), 9), (Some(10), 2)] {
            assert_eq!(indent_unit(asked), Ok(unit));
        }
        assert_eq!(
            indent_unit(Some(-1)).map_err(|it| it.to_string()),
            Err("YAML Negative indentation not accepted".to_owned())
        );
    }
}
