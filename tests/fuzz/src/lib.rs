//! A small fuzz driver: seeds, mutations, and the targets that must never panic.
//!
//! Deterministic: the same seed number tries the same inputs in the same order.

mod mutate;
mod pgp;
mod sealed;
mod targets;

use std::cell::Cell;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use mutate::Mutator;
pub use targets::TARGETS;

/// Something that takes any bytes: it must end soon, without a panic, and with what it asserts true.
#[derive(Debug)]
pub struct Target {
    /// The name on the command line and of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
    /// Inputs to begin with, beside those in `corpus/`.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that its inputs are made of.
    pub words: &'static [&'static str],
}

/// An input that a target did not survive.
#[derive(Debug)]
pub struct Finding {
    /// What happened.
    pub what: String,
    /// Where the input was saved.
    pub saved: PathBuf,
}

/// An input of ordinary size takes less than this, even in a debug build.
const SLOW: Duration = Duration::from_secs(5);

/// The seeds of a target: its own, and every file of its folder in `corpus/`, in a fixed order.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut saved: Vec<PathBuf> =
        fs::read_dir(corpus(target)).into_iter().flatten().flatten().map(|it| it.path()).collect();
    saved.sort();
    let mut seeds = (target.seeds)();
    seeds.extend(saved.iter().map(|it| fs::read(it).expect("the corpus is readable")));
    seeds
}

/// Tries every seed, then mutations until `enough` says so of their number. Returns how many inputs
/// were tried.
///
/// # Errors
///
/// With the first input that the target did not survive.
pub fn fuzz(target: &Target, number: u64, mut enough: impl FnMut(u64) -> bool) -> Result<u64, Finding> {
    let seeds = seeds(target);
    for seed in &seeds {
        attempt(target, seed)?;
    }
    let mut tried = seeds.len() as u64;
    let mut mutator = Mutator::new(number, seeds, target.words);
    for n in 0.. {
        if enough(n) {
            break;
        }
        attempt(target, &mutator.next_input())?;
        tried += 1;
    }
    Ok(tried)
}

thread_local! {
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the panics that are being looked for off the terminal; all others are shown as ever.
pub fn hush_panics() {
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !TRYING.get() {
            shown(info);
        }
    }));
}

fn attempt(target: &Target, input: &[u8]) -> Result<(), Finding> {
    let start = Instant::now();
    TRYING.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    TRYING.set(false);
    let what = match outcome {
        Ok(()) if start.elapsed() < SLOW => return Ok(()),
        Ok(()) => format!("took {:.1} s", start.elapsed().as_secs_f64()),
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("without a text"))
        }
    };
    Err(Finding { what, saved: save(target, input) })
}

/// Saves a finding. Once it is mended, it belongs into the corpus.
fn save(target: &Target, input: &[u8]) -> PathBuf {
    let folder = home().join("findings");
    // FNV-1a: the same input gets the same name.
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let file = folder.join(format!("{}-{hash:016x}", target.name));
    fs::create_dir_all(folder).and_then(|()| fs::write(&file, input)).expect("the work tree is writable");
    file
}

fn corpus(target: &Target) -> PathBuf {
    home().join("corpus").join(target.name)
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, fuzz, hush_panics};

    #[test]
    fn every_target_survives_its_corpus_and_some_mutations() {
        hush_panics();
        let findings: Vec<String> = TARGETS
            .iter()
            .filter_map(|it| {
                fuzz(it, 1, |n| n == 500)
                    .err()
                    .map(|found| format!("{}: {} ({})", it.name, found.what, found.saved.display()))
            })
            .collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
