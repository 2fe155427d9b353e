//! Addresses taken apart and put together.

use std::collections::BTreeMap;

use super::{Answer, Call, Fault, Function, exactly};
use crate::template::value::{Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[exactly("urlJoin", 1, join), exactly("urlParse", 1, parse)];

fn unreadable() -> Fault {
    Fault::new("unable to parse url")
}

#[derive(Default)]
struct Url {
    scheme: String,
    opaque: String,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    path: Vec<u8>,
    raw_path: String,
    query: String,
    has_bare_query: bool,
    fragment: Vec<u8>,
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3).filter(|it| it.iter().all(u8::is_ascii_hexdigit))?;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

fn escape(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

const PATH: &[u8] = b"$&+,/:;=@";
const USER: &[u8] = b"$&+,;=";
const HOST: &[u8] = b"!$&'()*+,;=:[]<>\"";
const FRAGMENT: &[u8] = b"$&+,/:;=?@!()*'";

impl Url {
    /// As Go's `url.Parse`.
    fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|it| it < b' ' || it == 0x7f) {
            return None;
        }
        let mut url = Self::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        url.fragment = unescape(fragment)?;
        let mut rest = rest;
        let scheme_end = rest.bytes().position(|it| !(it.is_ascii_alphanumeric() || b"+-.".contains(&it)));
        match scheme_end {
            Some(0) if rest.starts_with(':') => return None,
            Some(n) if n > 0 && rest.as_bytes()[n] == b':' && rest.as_bytes()[0].is_ascii_alphabetic() => {
                url.scheme = rest[..n].to_ascii_lowercase();
                rest = &rest[n + 1..];
            }
            _ => {}
        }
        if rest.ends_with('?') && rest.matches('?').count() == 1 {
            url.has_bare_query = true;
            rest = &rest[..rest.len() - 1];
        } else if let Some((before, query)) = rest.split_once('?') {
            url.query = query.to_owned();
            rest = before;
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Some(url);
            }
            if rest.split('/').next().is_some_and(|it| it.contains(':')) {
                return None;
            }
        }
        let is_hostless = url.scheme.is_empty() && rest.starts_with("///");
        if let Some(after) = rest.strip_prefix("//").filter(|_| !is_hostless) {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            url.authority(authority)?;
            rest = path;
        }
        url.path = unescape(rest)?;
        if escape(&url.path, PATH) != rest {
            url.raw_path = rest.to_owned();
        }
        Some(url)
    }

    fn authority(&mut self, authority: &str) -> Option<()> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if let Some(user) = user {
            let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&it);
            if !user.bytes().all(allowed) {
                return None;
            }
            self.user = Some(match user.split_once(':') {
                Some((name, password)) => (unescape(name)?, Some(unescape(password)?)),
                None => (unescape(user)?, None),
            });
        }
        let port = match host.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?.1,
            None => host.find(':').map_or("", |at| &host[at..]),
        };
        let is_port =
            port.is_empty() || port.strip_prefix(':').is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit()));
        let is_host = |it: u8| it >= 0x80 || it.is_ascii_alphanumeric() || b"-_.~%".contains(&it) || HOST.contains(&it);
        // Go unescapes nothing in a host but bytes beyond ASCII.
        let escaped_ascii =
            host.match_indices('%').any(|(at, _)| host.as_bytes().get(at + 1).is_none_or(|it| *it < b'8'));
        if !is_port || !host.bytes().all(is_host) || escaped_ascii {
            return None;
        }
        self.host = unescape(host)?;
        Some(())
    }

    fn userinfo(&self) -> String {
        match &self.user {
            None => String::new(),
            Some((name, None)) => escape(name, USER),
            Some((name, Some(password))) => format!("{}:{}", escape(name, USER), escape(password, USER)),
        }
    }

    fn hostname(&self) -> &[u8] {
        match self.host.strip_prefix(b"[") {
            Some(inner) => inner.split(|it| *it == b']').next().unwrap_or(inner),
            None => self.host.split(|it| *it == b':').next().unwrap_or(&self.host),
        }
    }

    fn escaped_path(&self) -> String {
        if !self.raw_path.is_empty() {
            return self.raw_path.clone();
        }
        if self.path == b"*" {
            return "*".into();
        }
        escape(&self.path, PATH)
    }

    /// As Go's `URL.String`.
    fn spell(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out = format!("{}:", self.scheme);
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    out.push_str("//");
                }
                if self.user.is_some() {
                    out.push_str(&self.userinfo());
                    out.push('@');
                }
                out.push_str(&escape(&self.host, HOST));
            }
            let path = self.escaped_path();
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            if out.is_empty() && path.split('/').next().is_some_and(|it| it.contains(':')) {
                out.push_str("./");
            }
            out.push_str(&path);
        } else {
            out.push_str(&self.opaque);
        }
        if self.has_bare_query || !self.query.is_empty() {
            out.push('?');
            out.push_str(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&escape(&self.fragment, FRAGMENT));
        }
        out
    }
}

fn parse(call: &mut Call<'_, '_>) -> Answer {
    let text = call.text(0)?;
    let url = std::str::from_utf8(&text).ok().and_then(Url::parse).ok_or_else(unreadable)?;
    let items = [
        ("fragment", Value::bytes(url.fragment.clone())),
        ("host", Value::bytes(url.host.clone())),
        ("hostname", Value::bytes(url.hostname())),
        ("opaque", Value::text(url.opaque.as_str())),
        ("path", Value::bytes(url.path.clone())),
        ("query", Value::text(url.query.as_str())),
        ("scheme", Value::text(url.scheme.as_str())),
        ("userinfo", Value::text(url.userinfo())),
    ];
    Ok(Value::map(items.into_iter().map(|(key, value)| (Text::from(key), value)).collect::<BTreeMap<_, _>>()))
}

fn join(call: &mut Call<'_, '_>) -> Answer {
    let map = call.map(0)?;
    let items = map.items.borrow();
    let part = |key: &str| match items.get(&Text::from(key)) {
        None => Ok(Text::default()),
        Some(Value::Text(text) | Value::Number(text)) => Ok(text.clone()),
        Some(_) => Err(Fault::new(format!("unable to parse {key} key, must be of type string"))),
    };
    let user = part("userinfo")?;
    let user = match user.is_empty() {
        true => None,
        false => Url::parse(&format!("proto://{}@host", user.lossy())).ok_or_else(unreadable)?.user,
    };
    let url = Url {
        scheme: part("scheme")?.lossy().into_owned(),
        opaque: part("opaque")?.lossy().into_owned(),
        user,
        host: part("host")?.to_vec(),
        path: part("path")?.to_vec(),
        query: part("query")?.lossy().into_owned(),
        fragment: part("fragment")?.to_vec(),
        ..Url::default()
    };
    Ok(Value::text(url.spell()))
}
