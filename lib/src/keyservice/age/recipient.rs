//! Recipients: the five kinds of public keys that a data key is wrapped to, with SOPS's words for
//! what is wrong with a text that is none of them.

use super::pq;

/// A public key.
pub(super) enum Recipient {
    /// `age1…`
    X25519(age::x25519::Recipient),
    /// `age1pq1…`
    Hybrid(Box<pq::Recipient>),
    /// A line of `authorized_keys`: `ssh-ed25519 …` or `ssh-rsa …`.
    Ssh(age::ssh::Recipient),
    /// `age1name1…`, for whoever can start `age-plugin-name`.
    Plugin(age::plugin::Recipient),
}

impl Recipient {
    /// Reads what stands in the metadata's `recipient`.
    ///
    /// # Errors
    ///
    /// If it is none of the five, in SOPS's words. A private key that was given by mistake is not
    /// repeated.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bech32 = |reason: String| {
            format!("failed to parse input as Bech32-encoded age public key: malformed recipient {text:?}: {reason}")
        };
        if text.starts_with("age1pq1") {
            return match pq::Recipient::parse(text) {
                Some(key) => Ok(Self::Hybrid(Box::new(key))),
                None => Err(bech32(bech32_fault(text, "age1pq", "invalid MLKEM768-X25519 public key"))),
            };
        }
        if text.starts_with("age1") && text.matches('1').count() > 1 {
            return text.parse().map(Self::Plugin).map_err(|it: &str| {
                let reason = match it {
                    "invalid plugin name" => it.to_owned(),
                    _ => format!("invalid recipient encoding: {}", bech32_fault(text, "", "not a plugin recipient")),
                };
                format!("failed to parse input as age key from age plugin: {reason}")
            });
        }
        if text.starts_with("age1") {
            return text
                .parse()
                .map(Self::X25519)
                .map_err(|_: &str| bech32(bech32_fault(text, "age", "invalid X25519 public key")));
        }
        if text.starts_with("ssh-") {
            return ssh(text).map_err(|it| format!("failed to parse input as age-ssh public key: {it}"));
        }
        let upper = text.to_ascii_uppercase();
        if upper.contains("AGE-SECRET-KEY-") || upper.contains("AGE-PLUGIN-") || upper.contains("PRIVATE KEY") {
            return Err("failed to parse input, unknown recipient type: this is a private key".to_owned());
        }
        Err(format!("failed to parse input, unknown recipient type: {text:?}"))
    }
}

/// Reads a line of `authorized_keys`, whose comment plays no part.
fn ssh(line: &str) -> Result<Recipient, String> {
    use age::ssh::ParseRecipientKeyError as Wrong;
    let malformed = |reason: &str| format!("malformed SSH recipient: {line:?}: {reason}");
    let mut words = line.split_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return Err(malformed("ssh: no key found")) };
    format!("{kind} {key}").parse().map(Recipient::Ssh).map_err(|it| match it {
        Wrong::RsaModulusTooSmall => malformed("RSA key size is too small"),
        Wrong::RsaModulusTooLarge => malformed("RSA key size is too large"),
        Wrong::Unsupported(kind) => format!("unknown SSH recipient type: {kind:?}"),
        _ => malformed("ssh: no key found"),
    })
}

/// What is wrong with a Bech32 text, in the words of age; `otherwise` if nothing is but its content.
fn bech32_fault(text: &str, prefix: &str, otherwise: &str) -> String {
    const CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let (lower, upper) = (text.chars().any(char::is_lowercase), text.chars().any(char::is_uppercase));
    if lower && upper {
        return "mixed case".to_owned();
    }
    let at = text.rfind('1').filter(|at| (1..).contains(at) && at + 7 <= text.len());
    let Some(at) = at else {
        let pos = text.rfind('1').map_or(-1, |it| it as isize);
        return format!("separator '1' at invalid position: pos={pos}, len={}", text.len());
    };
    let (found, data) = (&text[..at], text[at + 1..].to_lowercase());
    if let Some((pos, c)) = found.char_indices().find(|(_, c)| !('!'..='~').contains(c)) {
        return format!("invalid character human-readable part: s[{pos}]={}", u32::from(c));
    }
    if let Some((pos, c)) = data.char_indices().find(|(_, c)| !CHARSET.contains(*c)) {
        return format!("invalid character data part: s[{pos}]={}", u32::from(c));
    }
    let sums = age_core::primitives::bech32_decode(text, |_| (), |_| Ok(()), |_, _| Ok(())).is_ok();
    match (sums, prefix.is_empty() || found == prefix) {
        (false, _) => "invalid checksum".to_owned(),
        (true, false) => format!("invalid type {found:?}"),
        (true, true) => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn recipients_are_told_apart() {
        let kind = |text: &str| match Recipient::parse(text) {
            Ok(Recipient::X25519(_)) => "x25519".to_owned(),
            Ok(Recipient::Hybrid(_)) => "hybrid".to_owned(),
            Ok(Recipient::Ssh(_)) => "ssh".to_owned(),
            Ok(Recipient::Plugin(it)) => format!("plugin {}", it.plugin()),
            Err(it) => it,
        };
        for (text, expected) in [
            (X25519.to_owned(), "x25519".to_owned()),
            (ED25519.to_owned(), "ssh".to_owned()),
            (format!("{ED25519} alice@example"), "ssh".to_owned()),
            (ED25519.replace(' ', " \t"), "ssh".to_owned()),
            ("age1yubikey1qgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqy8rymap".to_owned(), "plugin yubikey".to_owned()),
            ("foo".to_owned(), r#"failed to parse input, unknown recipient type: "foo""#.to_owned()),
            (String::new(), r#"failed to parse input, unknown recipient type: """#.to_owned()),
            (
                "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33".to_owned(),
                "failed to parse input, unknown recipient type: this is a private key".to_owned(),
            ),
            (
                "ssh-ed25519".to_owned(),
                "failed to parse input as age-ssh public key: malformed SSH recipient: \"ssh-ed25519\": ssh: no key found"
                    .to_owned(),
            ),
        ] {
            assert_eq!(kind(&text), expected, "{text}");
        }
        let bech32 = "failed to parse input as Bech32-encoded age public key: malformed recipient";
        for (text, reason) in [
            ("age1".to_owned(), "separator '1' at invalid position: pos=3, len=4"),
            ("age1b".to_owned(), "separator '1' at invalid position: pos=3, len=5"),
            (X25519.replace("pa", "pb"), "invalid character data part: s[57]=98"),
            (X25519.replace("7pa", "7pq"), "invalid checksum"),
            (X25519.replace("t7r", "T7r"), "mixed case"),
            ("age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqpeaer".to_owned(), "invalid X25519 public key"),
            (
                "age1pq1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqy45ll45".to_owned(),
                "invalid MLKEM768-X25519 public key",
            ),
        ] {
            assert_eq!(kind(&text), format!("{bech32} {text:?}: {reason}"));
        }
    }
}
