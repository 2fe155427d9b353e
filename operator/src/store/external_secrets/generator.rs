//! Generators: stores whose every reading is made anew (External Secrets, spec section 1.6).
//!
//! A generator is not kept open: it is read when it is asked, so that its changes need no watch, and what a
//! VaultDynamicSecret makes lives as long as a token of its own.

use std::sync::Arc;

use leafseal::provider::generator::{Encoding, Password, Recipe, SshKey, SshKind};
use leafseal::provider::vault::{Method, Part, Request, Vault};
use leafseal::provider::{Address, Answer, Content, ProviderError, Query, SecretProvider, Validity};
use leafseal::secret::SecretText;
use serde_json::{Value, json};

use super::opening::{Failure, Opening};
use super::vault;
use crate::api::external_secrets::{
    ClusterGeneratorSpec, FakeGeneratorSpec, GENERATORS, GeneratorKind, PasswordSpec, SshKeySpec, VaultGeneratorSpec,
};
use crate::api::read;
use crate::edge::SystemRng;

/// What the original takes symbols from.
const SYMBOLS: &str = "~!@#$%^&*()_+`-={}|[]\\:\"<>?,./";

/// How the spec of a kind is made into what makes values: one line for each kind.
const OPEN: &[(&str, Open)] = &[
    ("Password", Open::Recipe(password)),
    ("UUID", Open::Recipe(|_, _| Ok(Recipe::Uuid))),
    ("SSHKey", Open::Recipe(ssh_key)),
    ("Fake", Open::Recipe(fixed)),
    ("VaultDynamicSecret", Open::Vault),
];

enum Open {
    Recipe(fn(&Opening<'_>, Value) -> Result<Recipe, Failure>),
    Vault,
}

/// Opens the generator that `opening` is about.
pub(super) async fn open(opening: &mut Opening<'_>) -> Result<Arc<dyn SecretProvider>, Failure> {
    let store = opening.store;
    let kind = GeneratorKind::find(store.kind).expect("only what is a generator is opened as one");
    let namespace = (!store.namespace.is_empty()).then_some(store.namespace.as_str());
    let spec = opening.cluster.custom(&kind.resource(), namespace, &store.name).await?;
    let spec = spec.ok_or_else(|| {
        Failure::from(format!("could not get {} {:?}: there is none of that name", store.kind, store.name))
    })?;
    opening.place = format!("{} {:?}: spec", store.kind, store.name);
    let (kind, spec) = match kind.member {
        "" => inner(opening, spec)?,
        _ => (kind, spec),
    };
    let (_, open) = OPEN.iter().find(|it| it.0 == kind.kind).expect("every kind has a line");
    match open {
        Open::Recipe(recipe) => Ok(Arc::new(Generated(recipe(opening, spec)?))),
        Open::Vault => dynamic(opening, spec).await,
    }
}

/// The generator that a ClusterGenerator stands for.
fn inner(opening: &mut Opening<'_>, spec: Value) -> Result<(&'static GeneratorKind, Value), Failure> {
    let mut spec: ClusterGeneratorSpec = read(spec, &opening.place)?;
    let kind = GeneratorKind::find(&spec.kind).filter(|it| !it.member.is_empty()).ok_or_else(|| {
        let served = GENERATORS.iter().filter(|it| !it.member.is_empty()).map(|it| it.kind);
        let served = served.collect::<Vec<_>>().join(", ");
        Failure::settled(format!("{}.kind: this generator is not served; those that are: {served}", opening.place))
    })?;
    opening.place = format!("{}.generator.{}", opening.place, kind.member);
    Ok((kind, spec.generator.remove(kind.member).unwrap_or_else(|| json!({}))))
}

fn password(opening: &Opening<'_>, spec: Value) -> Result<Recipe, Failure> {
    let place = &opening.place;
    let spec: PasswordSpec = read(spec, place)?;
    let length = spec.length.filter(|it| *it > 0).unwrap_or(24);
    if length > LONGEST_PASSWORD {
        return Err(Failure::settled(format!("{place}.length: more than {LONGEST_PASSWORD}")));
    }
    let keys = if spec.secret_keys.is_empty() { vec!["password".to_owned()] } else { spec.secret_keys };
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    if unique.len() < keys.len() || keys.iter().any(String::is_empty) {
        return Err(Failure::settled(format!("{place}: secretKeys must be non-empty and unique")));
    }
    Ok(Recipe::Password(Password {
        length,
        digits: spec.digits.unwrap_or(length / 4),
        symbols: spec.symbols.unwrap_or(length / 4),
        alphabet: spec.symbol_characters.as_deref().filter(|it| !it.is_empty()).unwrap_or(SYMBOLS).chars().collect(),
        no_upper: spec.no_upper,
        allow_repeat: spec.allow_repeat,
        encoding: match spec.encoding.as_str() {
            "base64" => Encoding::Base64,
            "base64url" => Encoding::Base64Url,
            "base32" => Encoding::Base32,
            "hex" => Encoding::Hex,
            _ => Encoding::Raw,
        },
        keys,
    }))
}

/// A Secret holds no more.
const LONGEST_PASSWORD: usize = 1 << 20;

/// Larger keys take longer than anybody waits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;

fn ssh_key(opening: &Opening<'_>, spec: Value) -> Result<Recipe, Failure> {
    let place = &opening.place;
    let SshKeySpec { key_type, key_size, comment } = read(spec, place)?;
    let kind = match key_type.as_str() {
        "" | "rsa" => SshKind::Rsa(key_size.unwrap_or(2048)),
        "ecdsa" => SshKind::Ecdsa(key_size.unwrap_or(256)),
        "ed25519" => SshKind::Ed25519,
        _ => return Err(Failure::settled(format!("{place}.keyType: expected rsa, ecdsa or ed25519"))),
    };
    match kind {
        SshKind::Rsa(bits) if !RSA_BITS.contains(&bits) => {
            let (from, to) = RSA_BITS.into_inner();
            Err(Failure::settled(format!("{place}.keySize: an RSA key has {from} to {to} bits")))
        }
        _ => Ok(Recipe::SshKey(SshKey { kind, comment })),
    }
}

fn fixed(opening: &Opening<'_>, spec: Value) -> Result<Recipe, Failure> {
    let spec: FakeGeneratorSpec = read(spec, &opening.place)?;
    is_ours(opening, &spec.controller)?;
    Ok(Recipe::Fixed(spec.data.into_iter().map(|(key, it)| (key, it.0)).collect()))
}

fn is_ours(opening: &Opening<'_>, controller: &str) -> Result<(), Failure> {
    match controller.is_empty() || controller == opening.surroundings.controller_class {
        true => Ok(()),
        false => Err(Failure::settled(format!("{}.controller: operators of another class serve it", opening.place))),
    }
}

async fn dynamic(opening: &mut Opening<'_>, spec: Value) -> Result<Arc<dyn SecretProvider>, Failure> {
    let place = opening.place.clone();
    let spec: VaultGeneratorSpec = read(spec, &place)?;
    is_ours(opening, &spec.controller)?;
    if spec.path.is_empty() {
        return Err(Failure::settled(format!("{place}.path: is missing")));
    }
    let retries = vault::retries(spec.retry_settings.as_ref());
    opening.retries = retries.map_err(|it| Failure::settled(format!("{place}: {it}")))?;
    opening.place = format!("{place}.provider");
    let settings = vault::settings(opening, &spec.provider).await?;
    let parameters = spec.parameters.filter(|it| !it.is_null()).unwrap_or_else(|| json!({}));
    let query = spec.get_parameters.into_iter();
    let request = Request {
        path: spec.path,
        method: match spec.method.as_str() {
            "" | "GET" => Method::Read,
            "LIST" => Method::List,
            "DELETE" => Method::Delete,
            _ => Method::Write,
        },
        body: SecretText::new(parameters.to_string()),
        query: query.flat_map(|(name, each)| each.into_iter().map(move |it| (name.clone(), it))).collect(),
        part: match spec.result_type.as_str() {
            "Auth" => Part::Auth,
            "Raw" => Part::Raw,
            _ => Part::Data,
        },
        may_be_empty: spec.allow_empty_response,
    };
    let vault = Vault::new(settings)?.with_observer(Arc::clone(&opening.surroundings.observer));
    Ok(Arc::new(vault.dynamic(request)))
}

/// What needs nobody else.
struct Generated(Recipe);

impl SecretProvider for Generated {
    fn name(&self) -> &'static str {
        "Generator"
    }

    fn read<'a>(&'a self, _at: &'a Address) -> Answer<'a, Content> {
        let recipe = self.0.clone();
        Box::pin(async move {
            // Large keys take seconds, and others want to get on.
            let made = tokio::task::spawn_blocking(move || recipe.make(&mut SystemRng)).await;
            made.unwrap_or_else(|_| Err(ProviderError::invalid("the value could not be made"))).map(Content::Fields)
        })
    }

    fn find<'a>(&'a self, _query: &'a Query) -> Answer<'a, Vec<(String, Content)>> {
        Box::pin(async { Err(ProviderError::invalid("what is made when it is asked for cannot be found")) })
    }

    fn check(&self) -> Answer<'_, Validity> {
        Box::pin(async { Ok(Validity::Ready) })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
