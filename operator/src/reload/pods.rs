//! The template of pods, as far as it says what they take values from (spec section B.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Source;
use super::annotations::Annotations;

/// What is there, or nothing: `null` is nothing too.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A struct of which every member may be missing.
macro_rules! lenient {
    ($($(#[$doc:meta])* $name:ident { $($member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            $(#[serde(default, deserialize_with = "nullable")] pub $member: $type,)*
        }
    )*};
}

lenient! {
    /// The template of pods.
    Template { metadata: TemplateMetadata, spec: PodSpec, }
    /// Its metadata.
    TemplateMetadata { annotations: Annotations, }
    /// What pods are made of.
    PodSpec { containers: Vec<Container>, init_containers: Vec<Container>, volumes: Vec<Volume>, }
    /// A container.
    Container { name: String, env: Vec<Variable>, env_from: Vec<Variables>, volume_mounts: Vec<Mount>, }
    /// A variable of a container.
    Variable { name: String, value: Option<String>, value_from: Option<ValueFrom>, }
    /// Where the value of a variable comes from.
    ValueFrom { secret_key_ref: Option<Named>, config_map_key_ref: Option<Named>, }
    /// Variables of which the names come from elsewhere too.
    Variables { secret_ref: Option<Named>, config_map_ref: Option<Named>, }
    /// What is called so.
    Named { name: String, }
    /// A volume that a container mounts.
    Mount { name: String, }
    /// A volume.
    Volume {
        name: String,
        secret: Option<SecretVolume>,
        config_map: Option<Named>,
        projected: Option<Projected>,
        csi: Option<Csi>,
    }
    /// A volume with the values of a Secret.
    SecretVolume { secret_name: String, }
    /// A volume put together.
    Projected { sources: Vec<Projection>, }
    /// A part of it.
    Projection { secret: Option<Named>, config_map: Option<Named>, }
    /// A volume of a CSI driver.
    Csi { volume_attributes: BTreeMap<String, String>, }
}

impl Volume {
    fn refers(&self) -> Vec<(Source, &str)> {
        let mut refers = Vec::new();
        refers.extend(self.secret.iter().map(|it| (Source::Secret, it.secret_name.as_str())));
        refers.extend(self.config_map.iter().map(|it| (Source::ConfigMap, it.name.as_str())));
        for part in self.projected.iter().flat_map(|it| &it.sources) {
            refers.extend(part.secret.iter().map(|it| (Source::Secret, it.name.as_str())));
            refers.extend(part.config_map.iter().map(|it| (Source::ConfigMap, it.name.as_str())));
        }
        let class = self.csi.iter().filter_map(|it| it.volume_attributes.get("secretProviderClass"));
        refers.extend(class.map(|it| (Source::SecretProviderClass, it.as_str())));
        refers
    }
}

impl Container {
    fn refers(&self) -> impl Iterator<Item = (Source, &str)> {
        let one = self.env.iter().filter_map(|it| it.value_from.as_ref()).flat_map(|it| {
            let secret = it.secret_key_ref.iter().map(|it| (Source::Secret, it.name.as_str()));
            secret.chain(it.config_map_key_ref.iter().map(|it| (Source::ConfigMap, it.name.as_str())))
        });
        let all = self.env_from.iter().flat_map(|it| {
            let secret = it.secret_ref.iter().map(|it| (Source::Secret, it.name.as_str()));
            secret.chain(it.config_map_ref.iter().map(|it| (Source::ConfigMap, it.name.as_str())))
        });
        one.chain(all)
    }

    fn mounts(&self, volume: &str) -> bool {
        self.volume_mounts.iter().any(|it| it.name == volume)
    }
}

impl PodSpec {
    /// Everything that containers refer to, with the container that a marker for it belongs to: the one that
    /// refers, or the first one where only an init container does.
    pub(super) fn uses(&self) -> BTreeMap<(Source, String), String> {
        let Some(first) = self.containers.first().map(|it| it.name.as_str()) else { return BTreeMap::new() };
        let mut uses: BTreeMap<(Source, String), String> = BTreeMap::new();
        let mut put = |(source, name): (Source, &str), container: &str| {
            if !name.is_empty() {
                uses.entry((source, name.to_owned())).or_insert_with(|| container.to_owned());
            }
        };
        // Of several volumes with one source the first counts, mounted or not.
        let mut volumes: BTreeMap<(Source, &str), &str> = BTreeMap::new();
        for volume in &self.volumes {
            for refers in volume.refers() {
                volumes.entry(refers).or_insert(&volume.name);
            }
        }
        for (refers, volume) in volumes {
            if let Some(container) = self.containers.iter().find(|it| it.mounts(volume)) {
                put(refers, &container.name);
            } else if self.init_containers.iter().any(|it| it.mounts(volume)) {
                put(refers, first);
            }
        }
        for container in &self.containers {
            container.refers().for_each(|it| put(it, &container.name));
        }
        for container in &self.init_containers {
            container.refers().for_each(|it| put(it, first));
        }
        uses
    }
}
