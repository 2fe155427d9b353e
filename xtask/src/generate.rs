//! `cargo xtask generate`: the CustomResourceDefinitions of `operator/deploy/crds/`, made of
//! `operator/deploy/kinds/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::sh::{step, workspace};

/// One file of `operator/deploy/kinds/`: the kinds of one API group.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    group: String,
    categories: Vec<String>,
    labels: BTreeMap<String, String>,
    /// What the schemas refer to; it is in them by now.
    #[serde(rename = "parts")]
    _parts: Value,
    kinds: Vec<Kind>,
}

/// One kind, whose versions share everything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kind {
    kind: String,
    plural: String,
    #[serde(default)]
    short_names: Vec<String>,
    scope: String,
    /// The first is stored; those after it are deprecated.
    versions: Vec<String>,
    description: String,
    #[serde(default)]
    columns: Vec<Value>,
    /// Of all versions: the API server refuses fields of one version when all versions have one schema.
    #[serde(default)]
    selectable_fields: Vec<String>,
    #[serde(default = "yes")]
    has_status: bool,
    schema: Schema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Schema {
    properties: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// Writes the files, and removes those that are made of nothing any more.
pub(crate) fn run() -> Result<(), Failure> {
    let files = made()?;
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for old in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if !files.contains_key(&*old.file_name().to_string_lossy()) {
            fs::remove_file(old.path()).map_err(|error| format!("{}: {error}", old.path().display()))?;
        }
    }
    for (name, text) in &files {
        fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    step(&format!("{} files in {}", files.len(), folder.display()));
    Ok(())
}

fn folder() -> PathBuf {
    workspace().join("operator/deploy/crds")
}

/// The files by their names.
fn made() -> Result<BTreeMap<String, String>, Failure> {
    let kinds = workspace().join("operator/deploy/kinds");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&kinds).map_err(|error| format!("{}: {error}", kinds.display()))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(|error| said(&error))?;
        let mut whole: serde_yaml::Value = serde_yaml::from_str(&text).map_err(|error| said(&error))?;
        whole.apply_merge().map_err(|error| said(&error))?;
        let group: Group = serde_yaml::from_value(whole).map_err(|error| said(&error))?;
        for kind in &group.kinds {
            let text = serde_yaml::to_string(&definition(&group, kind)).map_err(|error| said(&error))?;
            // Marked as a document, so that files can be put one after the other, as `helm show crds` does.
            let head = format!("---\n# Made by `cargo xtask generate` of ../kinds/{name}.\n");
            files.insert(format!("{}.{}.yaml", kind.plural, group.group), head + &text);
        }
    }
    Ok(files)
}

fn definition(group: &Group, kind: &Kind) -> Value {
    let versions: Vec<Value> = kind.versions.iter().enumerate().map(|(n, it)| version(kind, it, n == 0)).collect();
    let mut spec = json!({
        "group": group.group,
        "names": {
            "kind": kind.kind,
            "listKind": format!("{}List", kind.kind),
            "plural": kind.plural,
            "singular": kind.kind.to_lowercase(),
        },
        "scope": kind.scope,
        "versions": versions,
        "conversion": {"strategy": "None"},
    });
    if !group.categories.is_empty() {
        spec["names"]["categories"] = json!(group.categories);
    }
    if !kind.short_names.is_empty() {
        spec["names"]["shortNames"] = json!(kind.short_names);
    }
    let mut metadata = json!({"name": format!("{}.{}", kind.plural, group.group)});
    if !group.labels.is_empty() {
        metadata["labels"] = json!(group.labels);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    })
}

fn version(kind: &Kind, name: &str, is_stored: bool) -> Value {
    let mut properties = kind.schema.properties.clone();
    properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
    properties.insert("kind".to_owned(), json!({"type": "string"}));
    properties.insert("metadata".to_owned(), json!({"type": "object"}));
    let schema = json!({"type": "object", "description": kind.description, "properties": properties});
    let mut version = json!({
        "name": name,
        "served": true,
        "storage": is_stored,
        "schema": {"openAPIV3Schema": schema},
    });
    if !is_stored {
        version["deprecated"] = json!(true);
    }
    if !kind.columns.is_empty() {
        version["additionalPrinterColumns"] = json!(kind.columns);
    }
    if !kind.selectable_fields.is_empty() {
        let fields: Vec<Value> = kind.selectable_fields.iter().map(|it| json!({"jsonPath": it})).collect();
        version["selectableFields"] = json!(fields);
    }
    if kind.has_status {
        version["subresources"] = json!({"status": {}});
    }
    version
}

#[cfg(test)]
mod tests {
    use super::{folder, made};

    #[test]
    fn the_definitions_are_made_of_the_kinds_as_they_are_now() {
        let files = made().expect("the kinds can be read");
        for (name, text) in &files {
            let there = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
            assert!(there == *text, "{name} is old: run `cargo xtask generate`");
        }
        let there = std::fs::read_dir(folder()).expect("the folder is there").count();
        assert_eq!(there, files.len(), "run `cargo xtask generate`");
    }
}
