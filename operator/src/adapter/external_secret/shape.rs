//! What the Secret looks like: its template applied to what was gathered (spec sections 2.9, 2.14).

use leafseal::secret::SecretText;
use leafseal::template::{EXTERNAL_SECRETS, Input, Set, Surroundings, parse_key_values};

use super::decode;
use crate::adapter::{Around, AroundRef, Terms};
use crate::api::Object;
use crate::api::external_secrets::{
    COULD_NOT_UPDATE, DecodingStrategy, ExternalSecret, ExternalSecretSpec, TargetTemplate, TemplateFrom,
    TemplateMergePolicy, TemplateScope, TemplateSource, UPDATE_FAILED,
};
use crate::digest::{Data, Labels};
use crate::error::Trouble;
use crate::plan::Desired;

/// Where the results of `templateFrom` go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Aim {
    Data,
    Labels,
    Annotations,
}

/// How objects spell it, in any case.
const AIMS: &[(&str, Aim)] =
    &[("", Aim::Data), ("data", Aim::Data), ("labels", Aim::Labels), ("annotations", Aim::Annotations)];

impl Aim {
    /// `None` if a Secret has no such part, or none that may be written.
    pub(super) fn of(text: &str) -> Option<Self> {
        AIMS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|&(_, aim)| aim)
    }
}

/// The objects that hold templates.
pub(super) fn sources(spec: &ExternalSecretSpec, namespace: &str) -> Vec<AroundRef> {
    let from = spec.target.template.iter().flat_map(|it| &it.template_from);
    let mut sources: Vec<_> = from
        .flat_map(|it| {
            let name =
                |source: &Option<TemplateSource>| source.as_ref().map(|it| (namespace.to_owned(), it.name.clone()));
            let config_map = name(&it.config_map).map(|(namespace, name)| AroundRef::ConfigMap(namespace, name));
            let secret = name(&it.secret).map(|(namespace, name)| AroundRef::Secret(namespace, name));
            [config_map, secret].into_iter().flatten()
        })
        .collect();
    sources.sort();
    sources.dedup();
    sources
}

/// Without a template the Secret gets the labels and annotations of the object. With one it gets what
/// the template says and nothing else.
///
/// # Errors
///
/// If a template cannot be had, read or executed.
pub(super) fn shape(
    object: &Object<ExternalSecret>,
    spec: &ExternalSecretSpec,
    data: Data,
    around: &Around,
    terms: &Terms,
    surroundings: &mut Surroundings<'_>,
) -> Result<Desired, Trouble> {
    let Some(template) = &spec.target.template else {
        return Ok(Desired {
            data,
            labels: object.metadata.labels.clone().unwrap_or_default(),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            ..Desired::default()
        });
    };
    let mut shaping = Shaping {
        input: &data,
        namespace: object.namespace(),
        around,
        terms,
        surroundings,
        desired: start(template, &data),
    };
    shaping.apply(template).map_err(|detail| Trouble::new(UPDATE_FAILED, COULD_NOT_UPDATE, detail))?;
    Ok(shaping.desired)
}

/// What there is before any template is executed.
fn start(template: &TargetTemplate, data: &Data) -> Desired {
    let has_templates = !template.data.is_empty() || !template.template_from.is_empty();
    let stays = template.merge_policy == TemplateMergePolicy::Merge || !has_templates;
    Desired {
        data: if stays { data.clone() } else { Data::new() },
        kind: (!template.kind.is_empty()).then(|| template.kind.clone()),
        finalizers: template.metadata.finalizers.clone(),
        ..Desired::default()
    }
}

struct Shaping<'a, 'b> {
    input: &'a Data,
    namespace: &'a str,
    around: &'a Around,
    terms: &'a Terms,
    surroundings: &'a mut Surroundings<'b>,
    desired: Desired,
}

impl Shaping<'_, '_> {
    fn apply(&mut self, template: &TargetTemplate) -> Result<(), String> {
        for (n, from) in template.template_from.iter().enumerate() {
            self.from(from).map_err(|it| format!("spec.target.template.templateFrom[{n}]: {it}"))?;
        }
        for (aim, templates, place) in [
            (Aim::Data, &template.data, "data"),
            (Aim::Labels, &template.metadata.labels, "metadata.labels"),
            (Aim::Annotations, &template.metadata.annotations, "metadata.annotations"),
        ] {
            for (key, text) in templates {
                let made = self.render(key, text).map_err(|it| format!("spec.target.template.{place}: {it}"))?;
                self.put(aim, key.clone(), made)?;
            }
        }
        Ok(())
    }

    fn from(&mut self, from: &TemplateFrom) -> Result<(), String> {
        let aim = Aim::of(&from.target).ok_or("there is no such target")?;
        let (namespace, around) = (self.namespace, self.around);
        let at = |source: &TemplateSource| (namespace.to_owned(), source.name.clone());
        if let Some(source) = &from.config_map {
            let held = around.config_maps.get(&at(source));
            self.held(source, held, "ConfigMap", aim, from.values_decoding_strategy)?;
        }
        if let Some(source) = &from.secret {
            let held = around.secrets.get(&at(source));
            self.held(source, held, "Secret", aim, from.values_decoding_strategy)?;
        }
        if let Some(text) = &from.literal {
            self.mapping("literal", text, aim, from.values_decoding_strategy)?;
        }
        Ok(())
    }

    /// Executes the templates that an object holds.
    fn held(
        &mut self,
        source: &TemplateSource,
        held: Option<&Data>,
        kind: &str,
        aim: Aim,
        decoding: DecodingStrategy,
    ) -> Result<(), String> {
        let held = held.ok_or_else(|| format!("there is no {kind} {:?}", source.name))?;
        for item in &source.items {
            let key = &item.key;
            let text = held.get(key).ok_or_else(|| format!("the {kind} {:?} has no key {key:?}", source.name))?;
            let text = text
                .expose_str()
                .ok_or_else(|| format!("the key {key:?} of the {kind} {:?} is no text", source.name))?;
            match item.template_as {
                TemplateScope::KeysAndValues => self.mapping(key, text, aim, decoding)?,
                TemplateScope::Values => {
                    let made =
                        decode::decode(self.render(key, text)?, decoding).map_err(|it| format!("{it} (key: {key})"))?;
                    self.put(aim, key.clone(), made)?;
                }
            }
        }
        Ok(())
    }

    /// Executes a template that makes a YAML mapping.
    fn mapping(&mut self, name: &str, text: &str, aim: Aim, decoding: DecodingStrategy) -> Result<(), String> {
        let made = self.render(name, text)?;
        let mapping = parse_key_values(made.expose()).map_err(|it| format!("template {name:?}: {it}"))?;
        for (key, value) in mapping {
            let value = decode::decode(value, decoding).map_err(|it| format!("{it} (key: {key})"))?;
            self.put(aim, key, value)?;
        }
        Ok(())
    }

    fn render(&mut self, name: &str, text: &str) -> Result<SecretText, String> {
        let (left, right) = &self.terms.delimiters;
        let mut set = Set::new(&EXTERNAL_SECRETS).with_delimiters(left, right);
        set.add(name, text).map_err(|it| it.to_string())?;
        set.execute(name, Input::Texts(self.input), self.surroundings).map_err(|it| it.to_string())
    }

    fn put(&mut self, aim: Aim, key: String, value: SecretText) -> Result<(), String> {
        let (labels, what): (&mut Labels, _) = match aim {
            Aim::Data => {
                self.desired.data.insert(key, value);
                return Ok(());
            }
            Aim::Labels => (&mut self.desired.labels, "label"),
            Aim::Annotations => (&mut self.desired.annotations, "annotation"),
        };
        let text = value.expose_str().ok_or_else(|| format!("the {what} {key:?} is no text"))?;
        labels.insert(key, text.to_owned());
        Ok(())
    }
}
