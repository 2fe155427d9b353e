//! The encrypted files at and below some paths, found without any key.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use leafseal::EncryptedFile;
use leafseal::file::LoadError;
use leafseal::format::{self, Format};
use leafseal::metadata::Metadata;
use walkdir::{DirEntry, WalkDir};

use crate::error::{self, Failure, code};
use crate::session::Session;
use crate::source::{Source, absolute, format_for};

/// The folders of version control, in which there is nothing of the work tree.
const SKIPPED: &[&str] = &[".git", ".hg", ".jj", ".svn"];

/// Enough for any nesting that the formats allow, as the main thread has.
const STACK: usize = 8 << 20;

/// A file that was found.
pub(crate) struct Surveyed {
    /// Its absolute path, and its name as it was found from what the user named.
    pub source: Source,
    /// What it is.
    pub format: &'static dyn Format,
    /// What it says about itself.
    pub metadata: Metadata,
    /// The places of its sealed values.
    pub values: Vec<String>,
}

/// What was found, in the order of paths.
#[derive(Default)]
pub(crate) struct Survey {
    /// The encrypted files.
    pub files: Vec<Surveyed>,
    /// What could not be looked at. The rest went on.
    pub failures: Vec<Failure>,
}

/// A file that may be encrypted.
struct Candidate {
    source: Source,
    /// Named by the user, who wants to know if it is not encrypted.
    is_named: bool,
}

/// Looks through files and folders. `.gitignore` does not count: an ignored file may have been committed
/// all the same, and has readers. Links that were not named are not followed.
///
/// # Errors
///
/// If there is no working directory.
pub(crate) fn survey(session: &Session, paths: &[PathBuf]) -> Result<Survey, Failure> {
    let mut survey = Survey::default();
    let mut candidates = BTreeMap::new();
    for path in paths {
        collect(path, &mut candidates, &mut survey.failures)?;
    }
    let candidates: Vec<Candidate> = candidates.into_values().collect();
    let mut looked = look_all(session, &candidates);
    looked.sort_by_key(|(at, _)| *at);
    for (_, it) in looked {
        match it {
            Ok(file) => survey.files.push(file),
            Err(failure) => survey.failures.push(failure),
        }
    }
    Ok(survey)
}

fn collect(
    path: &Path,
    candidates: &mut BTreeMap<PathBuf, Candidate>,
    failures: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let mut add = |named: &Path, is_named: bool| -> Result<(), Failure> {
        let named = named.strip_prefix(".").unwrap_or(named).to_owned();
        let candidate = candidates.entry(absolute(&named)?);
        let source = Source::new(Some(&named))?;
        candidate.and_modify(|it| it.is_named |= is_named).or_insert(Candidate { source, is_named });
        Ok(())
    };
    match fs::metadata(path) {
        Ok(it) if it.is_dir() => {
            let is_skipped = |it: &DirEntry| it.depth() > 0 && SKIPPED.iter().any(|name| it.file_name() == *name);
            for entry in WalkDir::new(path).into_iter().filter_entry(|it| !is_skipped(it)) {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => add(entry.path(), false)?,
                    Ok(_) => (),
                    Err(it) => {
                        let reason = it.io_error().map_or_else(|| it.to_string(), error::reason);
                        let path = it.path().unwrap_or(path);
                        failures.push(unreadable(path.strip_prefix(".").unwrap_or(path), &reason));
                    }
                }
            }
        }
        Ok(it) if it.is_file() => add(path, true)?,
        Ok(_) => failures.push(Failure::new(code::READ, "it is neither a file nor a folder").at_path(path)),
        Err(it) => failures.push(unreadable(path, &error::reason(&it))),
    }
    Ok(())
}

fn unreadable(path: &Path, reason: &str) -> Failure {
    Failure::new(code::READ, format!("cannot read it: {reason}")).at_path(path)
}

/// Looks at files in as many threads as the machine runs at once.
fn look_all(session: &Session, candidates: &[Candidate]) -> Vec<(usize, Result<Surveyed, Failure>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut looked = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = candidates.get(at) else { return looked };
            looked.extend(look(session, candidate).transpose().map(|it| (at, it)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(candidates.len());
    thread::scope(|scope| {
        let spawn = || thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let others: Vec<_> = (1..threads).filter_map(|_| spawn().ok()).collect();
        let mut looked = work();
        for it in others {
            looked.extend(it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        looked
    })
}

/// Looks at one file. `None` if it is not encrypted and nobody has named it.
fn look(session: &Session, candidate: &Candidate) -> Result<Option<Surveyed>, Failure> {
    let Candidate { source, is_named } = candidate;
    let path = source.path().expect("only files are surveyed");
    let not_encrypted = || match is_named {
        true => Err(error::load(&LoadError::NotEncrypted).at(source.label())),
        false => Ok(None),
    };
    let has_format = path.file_name().is_some_and(|it| format::for_name(&it.to_string_lossy()).is_some());
    // Any other ending is a binary file's, which is JSON when it is encrypted.
    if !has_format && !is_named && !begins_as_json(path).map_err(|it| unreadable(path, &error::reason(&it)))? {
        return Ok(None);
    }
    let mut bytes = source.read()?;
    if !may_be_encrypted(&bytes) {
        return not_encrypted();
    }
    let format = format_for(session, "--input-type", None, path).map_err(|it| it.at(source.label()))?;
    let encrypted = match EncryptedFile::read(format, &mut bytes) {
        Ok(it) => it,
        Err(LoadError::NotEncrypted) => return not_encrypted(),
        Err(it) => return Err(error::explain(error::load(&it).at(source.label()), &bytes)),
    };
    let values = encrypted.sealed_places().map_err(|it| error::open(&it).at(source.label()))?;
    let metadata = encrypted.metadata().clone();
    Ok(Some(Surveyed { source: source.clone(), format, metadata, values }))
}

/// True unless a glance shows that there is no metadata of SOPS: no need to parse all of a monorepo.
fn may_be_encrypted(bytes: &[u8]) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
    has(b"sops") && (has(b"ENC[AES256_GCM") || has(b"lastmodified"))
}

fn begins_as_json(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut start)?;
    Ok(start.trim_ascii_start().starts_with(b"{"))
}
