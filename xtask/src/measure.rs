//! What one run of a program takes: wall time, CPU time, peak memory.
//!
//! Linux counts the memory of the parent at the fork into the child's peak, so every measurement is
//! made from a fresh small process: this same program, started as `xtask measure-one`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::Failure;

/// The word that makes this program measure: `measure-one PROGRAM ARGUMENT…`.
pub(crate) const COMMAND: &str = "measure-one";

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Peak resident memory, in KiB.
    pub(crate) memory: u64,
}

/// Runs `program` in `dir` and measures it. Its output is thrown away.
///
/// # Errors
///
/// If it cannot be run or fails; with what it complained about.
pub(crate) fn measure(
    program: &Path,
    args: &[String],
    env: &[(String, String)],
    dir: &Path,
) -> Result<Sample, Failure> {
    let complaints = dir.join("stderr");
    let stderr = File::create(&complaints).map_err(|error| error.to_string())?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(this)
        .arg(COMMAND)
        .arg(program)
        .args(args)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(dir)
        .stderr(stderr)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    match numbers[..] {
        [wall, cpu, memory, 0] => {
            Ok(Sample { wall: Duration::from_micros(wall), cpu: Duration::from_micros(cpu), memory })
        }
        _ => {
            let mut said = String::new();
            drop(File::open(&complaints).and_then(|mut it| it.read_to_string(&mut said)));
            let last = said.lines().rfind(|it| !it.trim().is_empty()).unwrap_or("it failed and said nothing");
            Err(format!("{}: {last}", program.display()))
        }
    }
}

/// The measuring process: prints `wall_us cpu_us memory_kib exit_code`.
pub(crate) fn child(args: &[String]) -> ExitCode {
    let Some((program, args)) = args.split_first() else { return ExitCode::from(2) };
    let start = Instant::now();
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let used = match spawned.and_then(|mut it| it.wait4()) {
        Ok(it) => it,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let wall = start.elapsed();
    let code = used.status.code().unwrap_or_else(|| 128 + used.status.signal().unwrap_or(0));
    let cpu = used.rusage.utime + used.rusage.stime;
    let line = format!("{} {} {} {code}\n", wall.as_micros(), cpu.as_micros(), used.rusage.maxrss / 1024);
    match std::io::stdout().write_all(line.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
