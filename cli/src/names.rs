//! What people call keys, from whoever knows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::SystemTime;

use leafseal::keyservice::pgp::{self, Finder};
use leafseal::metadata::MasterKey;
use leafseal::rules::KeyNames;

use crate::env;
use crate::pgp_keys::PgpKeys;

/// Knows the names of some keys.
type Lookup = Box<dyn Fn(&MasterKey) -> Option<String>>;

/// The names of keys: those that configurations give, else what the keys say themselves.
pub(crate) struct Names {
    configured: Vec<KeyNames>,
    others: Vec<Lookup>,
}

impl Names {
    /// Takes the names of configurations. Who else is asked, in this order, is one line each.
    pub(crate) fn new(configured: Vec<KeyNames>) -> Self {
        Self { configured, others: vec![Box::new(ssh_comment), Box::new(user_ids(PgpKeys::new(env::var)))] }
    }

    /// What a key is called: different configurations may have different names for it.
    pub(crate) fn of(&self, key: &MasterKey) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.configured.iter().filter_map(|it| it.of(key)) {
            if names.iter().all(|it| it != name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            names.extend(self.others.iter().find_map(|it| it(key)));
        }
        names
    }
}

/// What stands behind an ssh key: mostly somebody at some machine.
fn ssh_comment(key: &MasterKey) -> Option<String> {
    let id = key.id();
    let mut words = id.split_whitespace();
    let is_ssh = key.kind == "age" && words.next().is_some_and(|it| it.starts_with("ssh-")) && words.next().is_some();
    let comment = words.collect::<Vec<_>>().join(" ");
    (is_ssh && !comment.is_empty()).then_some(comment)
}

/// Whose OpenPGP keys these are, as far as there are certificates that say so. They are looked for
/// when the first such key is asked for, and once for each.
fn user_ids(finder: impl Finder) -> impl Fn(&MasterKey) -> Option<String> {
    let known: RefCell<HashMap<String, Option<String>>> = RefCell::default();
    move |key| {
        if key.kind != pgp::KIND.name {
            return None;
        }
        let look_up = |it: &String| finder.certificates().user_id(it, SystemTime::now());
        known.borrow_mut().entry(key.id()).or_insert_with_key(look_up).clone()
    }
}

#[cfg(test)]
mod tests {
    use leafseal::tree::Wire;

    use super::*;

    #[test]
    fn a_key_has_the_names_of_all_configurations_or_its_own() {
        let key = |id: &str| MasterKey {
            kind: "age".to_owned(),
            fields: vec![("recipient".to_owned(), Wire::text(id))],
            enc: None,
        };
        let configured = ["age: age1a # Alice\n", "age: age1a # Alice\n", "age: [&ops age1a]\n"];
        let names = Names::new(configured.map(|it| KeyNames::parse(it.as_bytes())).into());
        for (id, expected) in [
            ("age1a", &["Alice", "ops"][..]),
            ("age1b", &[]),
            ("ssh-ed25519 AAAA bob@laptop", &["bob@laptop"]),
            ("ssh-rsa AAAA Bob  B.", &["Bob B."]),
            ("ssh-ed25519 AAAA", &[]),
        ] {
            assert_eq!(names.of(&key(id)), expected, "{id}");
        }
    }
}
