//! Who has to look again when something changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::store::Part;

/// For each thing in the cluster, the objects whose service depends on it.
#[derive(Debug, Default)]
pub struct Interests(RwLock<Index>);

/// Each name is held once: there are many, and each is in several places.
#[derive(Debug, Default)]
struct Index {
    parts: HashMap<Arc<Part>, HashSet<Arc<Part>>>,
    whose: HashMap<Arc<Part>, Box<[Arc<Part>]>>,
}

impl Interests {
    /// Remembers that `who` depends on `parts`, and on nothing else any more.
    pub fn set(&self, who: &Part, mut parts: Vec<Part>) {
        parts.sort();
        parts.dedup();
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if index.whose.get(who).is_some_and(|it| it.iter().map(Arc::as_ref).eq(&parts)) {
            return;
        }
        index.remove(who);
        if parts.is_empty() {
            return;
        }
        let who = Arc::new(who.clone());
        let parts: Box<[Arc<Part>]> = parts.into_iter().map(|it| index.name(it)).collect();
        for part in &parts {
            index.parts.entry(part.clone()).or_default().insert(who.clone());
        }
        index.whose.insert(who, parts);
    }

    /// Remembers that `who` depends on `parts` at least.
    pub fn include(&self, who: &Part, parts: &[Part]) {
        let is_known = {
            let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let known = index.whose.get(who);
            known.is_some_and(|known| parts.iter().all(|it| known.iter().any(|known| **known == *it)))
        };
        if !is_known {
            self.set(who, parts.to_vec());
        }
    }

    /// Forgets `who`.
    pub fn remove(&self, who: &Part) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Those that depend on `part`.
    pub fn of(&self, part: &Part) -> Vec<Part> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        index.parts.get(part).into_iter().flatten().map(|it| Part::clone(it)).collect()
    }

    /// True if anybody depends on `part`.
    pub fn is_wanted(&self, part: &Part) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).parts.contains_key(part)
    }
}

impl Index {
    fn name(&self, part: Part) -> Arc<Part> {
        self.parts.get_key_value(&part).map_or_else(|| Arc::new(part), |(known, _)| known.clone())
    }

    fn remove(&mut self, who: &Part) {
        for part in self.whose.remove(who).unwrap_or_default() {
            if let Some(those) = self.parts.get_mut(&part) {
                those.remove(who);
                if those.is_empty() {
                    self.parts.remove(&part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &'static str, name: &str) -> Part {
        Part { kind, namespace: "apps".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_last_word_counts() {
        let interests = Interests::default();
        let (a, b) = (part("ExternalSecret", "a"), part("ExternalSecret", "b"));
        let (store, secret) = (part("SecretStore", "vault"), part("Secret", "token"));
        interests.set(&a, vec![store.clone(), secret.clone(), store.clone()]);
        interests.set(&b, vec![store.clone()]);
        assert_eq!(interests.of(&store).len(), 2);
        assert_eq!(interests.of(&secret), std::slice::from_ref(&a));
        interests.set(&a, vec![store.clone()]);
        assert!(!interests.is_wanted(&secret));
        interests.include(&b, std::slice::from_ref(&store));
        interests.include(&a, std::slice::from_ref(&secret));
        assert_eq!(interests.of(&store), std::slice::from_ref(&b), "who depends on something else than before");
        interests.set(&a, vec![store.clone(), secret.clone()]);
        interests.include(&a, std::slice::from_ref(&store));
        assert!(interests.is_wanted(&secret));
        interests.remove(&a);
        assert_eq!(interests.of(&store), std::slice::from_ref(&b));
        interests.set(&b, Vec::new());
        assert!(!interests.is_wanted(&store));
    }
}
