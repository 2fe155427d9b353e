//! Regular expressions in Go's syntax and with Go's meaning.

use std::borrow::Cow;

use regex::{NoExpand, Regex};

use super::{Answer, Call, Fault, Function, exactly};
use crate::pattern::Pattern;
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    exactly("mustRegexFind", 2, find),
    exactly("mustRegexFindAll", 3, find_all),
    exactly("mustRegexMatch", 2, |call| {
        let text = call.text(1)?;
        Ok(Value::Bool(pattern(call)?.is_match(&text.lossy())))
    }),
    exactly("mustRegexReplaceAll", 3, replace),
    exactly("mustRegexReplaceAllLiteral", 3, replace_literally),
    exactly("mustRegexSplit", 3, split),
    exactly("regexFind", 2, find),
    exactly("regexFindAll", 3, find_all),
    exactly("regexMatch", 2, |call| {
        let text = call.text(1)?;
        call.text(0)?;
        // Sprig takes a pattern that is none for one that does not match.
        match pattern(call) {
            Err(Fault::Message(_)) => Ok(Value::Bool(false)),
            other => Ok(Value::Bool(other?.is_match(&text.lossy()))),
        }
    }),
    exactly("regexQuoteMeta", 1, |call| {
        let mut out = Vec::new();
        for byte in call.text(0)?.iter() {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        Ok(Value::bytes(out))
    }),
    exactly("regexReplaceAll", 3, replace),
    exactly("regexReplaceAllLiteral", 3, replace_literally),
    exactly("regexSplit", 3, split),
];

fn pattern(call: &mut Call<'_, '_>) -> Result<Regex, Fault> {
    let text = call.text(0)?;
    call.budget.step(1000 + text.len() as u64)?;
    let subject = call.arguments.get(1).map_or(0, |it| if let Value::Text(text) = it { text.len() } else { 0 });
    call.budget.step(subject as u64 / 16)?;
    // Neither pattern nor message is shown: a pattern may be made of secrets.
    Ok(Pattern::new(&text.lossy()).map_err(|_| Fault::new("the regular expression cannot be read"))?.into_regex())
}

fn find(call: &mut Call<'_, '_>) -> Answer {
    let text = call.text(1)?;
    let pattern = pattern(call)?;
    Ok(Value::text(pattern.find(&text.lossy()).map_or("", |it| it.as_str())))
}

fn find_all(call: &mut Call<'_, '_>) -> Answer {
    let (text, most) = (call.text(1)?, call.int(2)?);
    let (pattern, text) = (pattern(call)?, text.lossy());
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for it in pattern.find_iter(&text).take(most) {
        call.allocate(24 + it.len())?;
        found.push(Text::from(it.as_str()));
    }
    Ok(Value::texts(found))
}

fn replace(call: &mut Call<'_, '_>) -> Answer {
    let (text, by) = (call.text(1)?, call.text(2)?);
    let pattern = pattern(call)?;
    let (text, by) = (text.lossy(), by.lossy());
    charge(call, &pattern, &text, by.len() + text.len().min(by.matches('$').count().saturating_mul(text.len())))?;
    Ok(written(pattern.replace_all(&text, &*by)))
}

fn replace_literally(call: &mut Call<'_, '_>) -> Answer {
    let (text, by) = (call.text(1)?, call.text(2)?);
    let pattern = pattern(call)?;
    let (text, by) = (text.lossy(), by.lossy());
    charge(call, &pattern, &text, by.len())?;
    Ok(written(pattern.replace_all(&text, NoExpand(&by))))
}

/// Takes the most that replacing can make, before it is made.
fn charge(call: &mut Call<'_, '_>, pattern: &Regex, text: &str, each: usize) -> Result<(), Fault> {
    if each > 16 {
        call.allocate(pattern.find_iter(text).count().saturating_mul(each))?;
    }
    call.allocate(text.len())
}

fn written(text: Cow<'_, str>) -> Value {
    Value::text(text.into_owned())
}

/// As Go's `Regexp.Split`.
fn split(call: &mut Call<'_, '_>) -> Answer {
    let (text, most) = (call.text(1)?, call.int(2)?);
    let pattern = pattern(call)?;
    let text = text.lossy();
    let most = match most {
        0 => return Ok(Value::texts(Vec::<Text>::new())),
        1.. => most as usize,
        _ => usize::MAX,
    };
    if !pattern.as_str().is_empty() && text.is_empty() {
        return Ok(Value::texts([""]));
    }
    let (mut parts, mut begin, mut end) = (Vec::<Text>::new(), 0, 0);
    for found in pattern.find_iter(&text).take(most) {
        if parts.len() + 1 >= most {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            call.allocate(24 + end - begin)?;
            parts.push(text[begin..end].into());
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(text[begin..].into());
    }
    Ok(Value::texts(parts))
}
