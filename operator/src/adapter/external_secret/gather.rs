//! From what stores answered to keys and values (spec section 2.5).

use leafseal::provider::{ProviderError, ProviderErrorKind};
use leafseal::secret::SecretText;
use leafseal::template::Surroundings;

use super::{decode, keys, rewrite};
use crate::adapter::Found;
use crate::api::external_secrets::{
    COULD_NOT_READ, ConversionStrategy, DataEntry, DataFromEntry, DecodingStrategy, ExternalSecretSpec, NullBytePolicy,
    UPDATE_FAILED,
};
use crate::digest::Data;
use crate::error::{Retry, Trouble};
use crate::intent::{Intent, WhenMissing};
use crate::plan::Note;

/// What all entries give together: later ones win, and `data` wins over `dataFrom`. A secret that does
/// not exist is an error only where that says nothing about the target.
///
/// # Errors
///
/// The first entry that cannot be had.
pub(super) fn gather(
    spec: &ExternalSecretSpec,
    intent: &Intent,
    answers: Vec<Result<Found, ProviderError>>,
    surroundings: &mut Surroundings<'_>,
) -> Result<(Data, Vec<Note>), Trouble> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Err(ProviderError::unavailable("nobody answered")));
    let mut gathered = Data::new();
    let mut notes = Vec::new();
    let mut take = |n: usize, key: Option<&str>, got: Result<Data, ProviderError>| {
        match got {
            Ok(values) => gathered.extend(values),
            Err(error) if error.is_missing() && intent.target.when_missing != WhenMissing::Retain => {
                notes.push(missing(n, key));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    };
    let place = |n: usize| intent.reads.get(n).map_or("", |it| it.place.as_str());
    for (n, entry) in spec.data_from.iter().enumerate() {
        let values = next().and_then(|it| many(entry, it, surroundings));
        take(n, None, values).map_err(|error| trouble(place(n), error))?;
    }
    for (n, entry) in spec.data.iter().enumerate() {
        let values = next().and_then(|it| one(entry, it)).map(|it| Data::from([(entry.secret_key.clone(), it)]));
        let place = place(spec.data_from.len() + n);
        take(n, Some(&entry.remote_ref.key), values).map_err(|error| trouble(place, error))?;
    }
    Ok((gathered, notes))
}

/// Of `spec.data`, too, the original says `dataFrom`, with the key behind it.
fn missing(n: usize, key: Option<&str>) -> Note {
    let key = key.map(|it| format!(" (key={it})")).unwrap_or_default();
    let text = format!("secret does not exist at provider using spec.dataFrom[{n}]{key}");
    Note { warning: false, reason: "MissingProviderSecret", text }
}

fn trouble(place: &str, error: ProviderError) -> Trouble {
    let retry = match error.kind {
        ProviderErrorKind::Unavailable { retry_after: Some(after) } => Retry::After(after),
        _ => Retry::BackOff,
    };
    Trouble::new(UPDATE_FAILED, COULD_NOT_READ, format!("error processing {place}, err: {error}")).retried(retry)
}

/// The value of an entry of `data`.
fn one(entry: &DataEntry, found: Found) -> Result<SecretText, ProviderError> {
    let remote = &entry.remote_ref;
    let Found::One(content) = found else { return Err(ProviderError::invalid("one secret was asked for")) };
    let value = content.value(Some(&remote.property))?;
    let value = decode::decode(value, remote.decoding_strategy).map_err(ProviderError::invalid)?;
    decode::check_null_bytes(&value, remote.null_byte_policy).map_err(ProviderError::invalid)?;
    Ok(value)
}

/// The values of an entry of `dataFrom`.
fn many(entry: &DataFromEntry, found: Found, surroundings: &mut Surroundings<'_>) -> Result<Data, ProviderError> {
    let (conversion, decoding, null_bytes) = strategies(entry);
    let mut values = match found {
        Found::One(content) => content.fields(entry.extract.as_ref().map(|it| it.property.as_str()))?,
        Found::Many(secrets) => {
            let values = secrets.into_iter().map(|(name, content)| Ok((name, content.value(None)?)));
            values.collect::<Result<_, ProviderError>>()?
        }
    };
    let shaped = (|| {
        // What generators make has names of its own.
        let is_made = entry.extract.is_none() && entry.find.is_none();
        if entry.rewrite.is_empty() && !is_made {
            values = keys::convert(values, conversion)?;
        }
        for (n, step) in entry.rewrite.iter().enumerate() {
            values = rewrite::rewrite(values, step, surroundings).map_err(|it| format!("rewrite[{n}]: {it}"))?;
        }
        keys::check(&mut values)?;
        let decoded = values.into_iter().map(|(key, value)| {
            let named = |it: String| format!("{it} (key: {key})");
            let value = decode::decode(value, decoding).map_err(named)?;
            decode::check_null_bytes(&value, null_bytes).map_err(named)?;
            Ok((key, value))
        });
        decoded.collect::<Result<Data, String>>()
    })();
    shaped.map_err(ProviderError::invalid)
}

fn strategies(entry: &DataFromEntry) -> (ConversionStrategy, DecodingStrategy, NullBytePolicy) {
    match (&entry.extract, &entry.find) {
        (Some(it), _) => (it.conversion_strategy, it.decoding_strategy, it.null_byte_policy),
        (None, Some(it)) => (it.conversion_strategy, it.decoding_strategy, it.null_byte_policy),
        (None, None) => Default::default(),
    }
}
