//! Whether each block of a template is closed, and each `end` and `else` belongs to one: `gotmpl` does
//! not ask.

/// Blocks inside of blocks; each takes several frames of the parser's stack and of ours.
const DEEPEST: usize = 50;

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Walks the actions of `text`.
///
/// # Errors
///
/// The line and what is wrong there.
pub(super) fn check(text: &str, left: &str, right: &str) -> Result<(), (usize, &'static str)> {
    let mut open: Vec<(&str, bool, usize)> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(left) {
        let start = at + found;
        let fail = |what| Err((text[..start].matches('\n').count() + 1, what));
        let inside = start + left.len();
        let body = text[inside..].strip_prefix('-').filter(|it| it.starts_with(SPACE)).unwrap_or(&text[inside..]);
        let Some(length) = length_of_action(body.trim_start_matches(SPACE), right) else {
            return fail("an action is not closed");
        };
        let body = body.trim_start_matches(SPACE);
        let mut words = body[..length].split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = words.next().unwrap_or_default();
        match word {
            "define" if !open.is_empty() => return fail("a template is defined inside a block"),
            "if" | "range" | "with" | "define" | "block" => open.push((word, false, 1)),
            "end" if open.pop().is_none() => return fail("unexpected {{end}}"),
            "else" => match open.last_mut() {
                Some((kind, has_else, links)) if matches!(*kind, "if" | "range" | "with") && !*has_else => {
                    *links += 1;
                    let next = words.find(|it| !it.is_empty()).unwrap_or_default();
                    *has_else = !(next == *kind && *kind != "range");
                    if !next.is_empty() && *has_else {
                        return fail("unexpected word after else");
                    }
                }
                _ => return fail("unexpected {{else}}"),
            },
            "break" | "continue" if !open.iter().any(|it| it.0 == "range") => {
                return fail("break and continue belong inside range");
            }
            _ => {}
        }
        // Each link of a chain of `else if` is nested in the one before.
        if open.iter().map(|it| it.2).sum::<usize>() > DEEPEST {
            return fail("nested too deep");
        }
        at = text.len() - body.len() + length;
    }
    match open.last() {
        None => Ok(()),
        Some(_) => Err((text.matches('\n').count() + 1, "a block is not closed")),
    }
}

/// How much of `body` belongs to the action, its right delimiter included.
fn length_of_action(body: &str, right: &str) -> Option<usize> {
    if body.starts_with("/*") {
        let end = body.find("*/")? + 2;
        return Some(end + body[end..].find(right)? + right.len());
    }
    let bytes = body.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(right.as_bytes()) {
            return Some(at + right.len());
        }
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                while *bytes.get(at)? != quote {
                    if bytes[at] == b'\n' {
                        return None;
                    }
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'`' => at += 1 + memchr::memchr(b'`', &bytes[at + 1..])?,
            _ => {}
        }
        at += 1;
    }
    None
}
