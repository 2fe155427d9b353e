//! Paths with slashes, which are those of the operating system too.

use super::{Function, exactly};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("base", 1, |call| Ok(Value::bytes(base(&call.text(0)?)))),
    exactly("clean", 1, |call| Ok(Value::bytes(clean(&call.text(0)?)))),
    exactly("dir", 1, |call| Ok(Value::bytes(dir(&call.text(0)?)))),
    exactly("ext", 1, |call| Ok(Value::bytes(ext(&call.text(0)?)))),
    exactly("isAbs", 1, |call| Ok(Value::Bool(call.text(0)?.starts_with(b"/")))),
    exactly("osBase", 1, |call| Ok(Value::bytes(base(&call.text(0)?)))),
    exactly("osClean", 1, |call| Ok(Value::bytes(clean(&call.text(0)?)))),
    exactly("osDir", 1, |call| Ok(Value::bytes(dir(&call.text(0)?)))),
    exactly("osExt", 1, |call| Ok(Value::bytes(ext(&call.text(0)?)))),
    exactly("osIsAbs", 1, |call| Ok(Value::Bool(call.text(0)?.starts_with(b"/")))),
];

fn base(path: &[u8]) -> &[u8] {
    if path.is_empty() {
        return b".";
    }
    let end = path.iter().rposition(|it| *it != b'/').map_or(0, |it| it + 1);
    match path[..end].rsplit(|it| *it == b'/').next() {
        Some(b"") | None => b"/",
        Some(last) => last,
    }
}

fn clean(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|it| *it == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|it| *it != b"..") => drop(parts.pop()),
            b".." if is_rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

fn dir(path: &[u8]) -> Vec<u8> {
    clean(&path[..path.iter().rposition(|it| *it == b'/').map_or(0, |it| it + 1)])
}

fn ext(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|it| matches!(it, b'.' | b'/')) {
        Some(at) if path[at] == b'.' => &path[at..],
        _ => b"",
    }
}
