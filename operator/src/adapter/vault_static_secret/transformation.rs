//! Templates and filters of a secret and of the SecretTransformations that it names (Vault Secrets, spec
//! section A.7.1).

use std::collections::BTreeSet;

use leafseal::pattern::Pattern;
use leafseal::template::{Set, TemplateError, VAULT_SECRETS};

use crate::adapter::Around;
use crate::api::vault_secrets::{SecretTransformationSpec, Template, Transformation, TransformationRef};
use crate::error::Trouble;
use crate::intent::Owner;

/// What is made of a secret.
pub(super) struct Recipe {
    /// All templates.
    pub(super) set: Set,
    /// Which key is made by which template.
    pub(super) keys: Vec<(String, String)>,
    /// No `_raw`.
    pub(super) exclude_raw: bool,
    includes: Vec<Pattern>,
    excludes: Vec<Pattern>,
}

impl Recipe {
    /// True if a field of the secret is kept under its own name. What is excluded is so before anything
    /// is included.
    pub(super) fn keeps(&self, field: &str) -> bool {
        let fits = |patterns: &[Pattern]| patterns.iter().any(|it| it.is_match(field));
        !fits(&self.excludes) && (self.includes.is_empty() || fits(&self.includes))
    }
}

/// Where a reference of a secret in `namespace` points: namespace and name.
pub(super) fn place(at: &TransformationRef, namespace: &str) -> (String, String) {
    let namespace = if at.namespace.is_empty() { namespace } else { &at.namespace };
    (namespace.to_owned(), at.name.clone())
}

/// What is wrong with a SecretTransformation by itself; `None` if nothing.
pub fn fault(spec: &SecretTransformationSpec, namespace: &str, name: &str) -> Option<String> {
    let mut recipe = Gathering::new(false);
    let named = format!("{namespace}/{name}");
    let mut add = || -> Result<(), String> {
        for (key, template) in &spec.templates {
            recipe.add(&format!("{named}/{key}"), template, Some(key))?;
        }
        recipe.add_sources(spec, &named)?;
        recipe.filter(&spec.includes, &spec.excludes)
    };
    add().err()
}

/// Everything that `own` and what it refers to say.
///
/// # Errors
///
/// If something that it refers to is missing or wrong, or two templates have one name or make one key.
pub(super) fn gather(
    own: &Transformation,
    owner: &Owner,
    around: &Around,
    exclude_raw: bool,
) -> Result<Recipe, Trouble> {
    let mut gathering = Gathering::new(exclude_raw || own.exclude_raw);
    let mut gather = || -> Result<(), String> {
        for (key, template) in &own.templates {
            gathering.add(&format!("{}/{}/{key}", owner.namespace, owner.name), template, Some(key))?;
        }
        gathering.filter(&own.includes, &own.excludes)?;
        let mut seen = BTreeSet::new();
        for at in &own.transformation_refs {
            let place = place(at, &owner.namespace);
            let named = format!("{}/{}", place.0, place.1);
            let found = around.transformations.get(&place);
            let found = found.ok_or_else(|| format!("there is no SecretTransformation {named}"))?;
            let spec = found.spec.as_ref().map_err(|it| format!("SecretTransformation {named}: {it}"))?;
            if !seen.insert(place) {
                return Err(format!("SecretTransformation {named} is referred to twice"));
            }
            gathering.refer(at, spec, &named)?;
        }
        Ok(())
    };
    gather().map_err(|detail| refused(&detail))?;
    Ok(gathering.0)
}

/// What is told of a template that fails. Templates' errors hold no values.
pub(super) fn trouble(error: &TemplateError) -> Trouble {
    refused(&error.to_string())
}

fn refused(detail: &str) -> Trouble {
    Trouble::new("TransformationError", "cannot transform the secret", detail)
}

struct Gathering(Recipe);

impl Gathering {
    fn new(exclude_raw: bool) -> Self {
        let set = Set::new(&VAULT_SECRETS);
        Self(Recipe { set, keys: Vec::new(), exclude_raw, includes: Vec::new(), excludes: Vec::new() })
    }

    /// Adds a template under its own name or `usual`, for `key` if it makes one.
    fn add(&mut self, usual: &str, template: &Template, key: Option<&str>) -> Result<(), String> {
        let name = if template.name.is_empty() { usual } else { &template.name };
        if let Some(key) = key {
            if self.makes(key) {
                return Err(format!("two templates make the key {key:?}"));
            }
            self.0.keys.push((key.to_owned(), name.to_owned()));
        }
        self.0.set.add(name, &template.text).map_err(|it| it.to_string())
    }

    fn makes(&self, key: &str) -> bool {
        self.0.keys.iter().any(|(it, _)| it == key)
    }

    fn add_sources(&mut self, spec: &SecretTransformationSpec, named: &str) -> Result<(), String> {
        let mut templates = spec.source_templates.iter().enumerate();
        templates.try_for_each(|(n, template)| self.add(&format!("{named}/{n}"), template, None))
    }

    fn refer(&mut self, at: &TransformationRef, spec: &SecretTransformationSpec, named: &str) -> Result<(), String> {
        if let Some(wrong) = at.template_refs.iter().find(|it| !spec.templates.contains_key(&it.name)) {
            return Err(format!("SecretTransformation {named} has no template {:?}", wrong.name));
        }
        for chosen in &at.template_refs {
            let key = if chosen.key_override.is_empty() { &chosen.name } else { &chosen.key_override };
            self.add(&format!("{named}/{}", chosen.name), &spec.templates[&chosen.name], Some(key))?;
        }
        self.add_sources(spec, named)?;
        if at.template_refs.is_empty() {
            for (key, template) in &spec.templates {
                if !self.makes(key) {
                    self.add(&format!("{named}/{key}"), template, Some(key))?;
                }
            }
        }
        let unless = |ignored: bool, list: &[String]| if ignored { Vec::new() } else { list.to_vec() };
        self.filter(&unless(at.ignore_includes, &spec.includes), &unless(at.ignore_excludes, &spec.excludes))
    }

    fn filter(&mut self, includes: &[String], excludes: &[String]) -> Result<(), String> {
        let compiled = |field: &str, list: &[String]| -> Result<Vec<Pattern>, String> {
            list.iter().map(|it| Pattern::new(it).map_err(|error| format!("{field}: {error}"))).collect()
        };
        self.0.includes.extend(compiled("includes", includes)?);
        self.0.excludes.extend(compiled("excludes", excludes)?);
        Ok(())
    }
}
