//! What the tests share: real peers, programs run in a clean environment, test keys, documents.
#![expect(clippy::print_stderr, reason = "a test that is not run says so")]

pub mod documents;
pub mod gnupg;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

/// A pair of age keys for tests: public, so never for anything else.
#[derive(Clone, Copy, Debug)]
pub struct TestKey {
    /// The identity: what opens.
    pub identity: &'static str,
    /// The recipient: what to encrypt to.
    pub recipient: &'static str,
}

/// The keys that the specification's cases call K1, K2 and K3.
pub const KEYS: [TestKey; 3] = [
    TestKey {
        identity: "AGE-SECRET-KEY-1G7JECYA0YXHSNR7AGD8JC4HYRWYSJM4G4QP7M5WGGAERWSDVNYXSPRXRG8",
        recipient: "age1j2rzd7nxj6865qhmeyqfj972kav72zrplu0fqvymf05cylc47fesxka94d",
    },
    TestKey {
        identity: "AGE-SECRET-KEY-1078KX47L6080840U76C4SV47Z2K9TSL50U8Q6KW9YS5D53DX4NQQZWGMZR",
        recipient: "age1luyr8v4r20y63tx4lsm82ux3wz44dksm7dd0xuk0x7xc2kdf74tq3up0rf",
    },
    TestKey {
        identity: "AGE-SECRET-KEY-1E754LZ62KPNX3M8X300JN7KWWGZQ5CCYEN0ZEJTDCN778LPRU55SETG6W6",
        recipient: "age1tds28zfkp7ddzdmdrrehahx9svpwv944nkhl6cul49g7gahx8fzq8nahur",
    },
];

/// The versions of real sops to compare with, by their names in the folder of peers.
pub const SOPS: [&str; 2] = ["sops-3.11", "sops-3.13"];

/// How long a program may take that ends by itself, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// The top of the work tree.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace")
}

thread_local! {
    static TEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body` as the test called `name`: this harness does not name its threads.
fn named<T>(name: &str, body: impl FnOnce() -> T) -> T {
    TEST.with_borrow_mut(|it| *it = Some(name.to_owned()));
    let result = body();
    TEST.with_borrow_mut(|it| *it = None);
    result
}

/// Tests that are known only when they start: one for each document, version or script.
#[derive(Default)]
pub struct Trials(Vec<Trial>);

impl Trials {
    /// Adds a test.
    pub fn add(&mut self, name: impl Into<String>, body: impl FnOnce() -> Result<(), String> + Send + 'static) {
        let name = name.into();
        self.0.push(Trial::test(name.clone(), move || named(&name, body).map_err(Failed::from)));
    }

    /// Runs those that the command line asks for, and ends the program.
    pub fn run(mut self) -> ! {
        self.0.sort_by(|a, b| a.name().cmp(b.name()));
        libtest_mimic::run(&Arguments::from_args(), self.0).exit()
    }

    /// Runs those that the command line asks for, begun in the order in which they were added and, unless the
    /// command line says otherwise, all at once; then `end`. Ends the program.
    pub fn run_at_once(self, end: impl FnOnce()) -> ! {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(self.0.len().max(1));
        let conclusion = libtest_mimic::run(&arguments, self.0);
        end();
        conclusion.exit()
    }
}

/// Says that the running test cannot be run, or not in full. `cargo xtask test` collects these lines.
pub fn not_run(reason: &str) {
    let named = TEST.with_borrow(Clone::clone);
    let test = named.or_else(|| thread::current().name().map(str::to_owned)).unwrap_or_default();
    let line = format!("{test}: {}", reason.trim().replace('\n', " "));
    eprintln!("not run: {line}");
    if let Some(file) = std::env::var_os("LEAFSEAL_NOT_RUN") {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let written = file.and_then(|mut it| it.write_all(format!("{line}\n").as_bytes()));
        written.expect("the list of what was not run can be written");
    }
}

/// Returns the real program called `name` in the folder of peers; without it, reports that the
/// running test is not run.
pub fn peer(name: &str) -> Option<PathBuf> {
    let Some(peers) = std::env::var_os("LEAFSEAL_PEERS").map(PathBuf::from) else {
        not_run(&format!("{name} is not set up: use `cargo xtask test`"));
        return None;
    };
    let program = peers.join(name);
    if program.exists() {
        return Some(program);
    }
    let reason = fs::read_to_string(peers.join(format!("{name}.missing")));
    not_run(&format!("{name} cannot be had: {}", reason.as_deref().unwrap_or("use `cargo xtask test`")));
    None
}

/// The built program. `cargo xtask test` says where it is; else it is built here, once.
pub fn leafseal() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("LEAFSEAL_BIN", "leafseal-cli", "leafseal"))
}

/// The built operator, found as [`leafseal()`] is.
pub fn operator() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("LEAFSEAL_OPERATOR_BIN", "leafseal-operator", "leafseal-operator"))
}

fn built(variable: &str, package: &str, name: &str) -> PathBuf {
    if let Some(set) = std::env::var_os(variable) {
        let set = PathBuf::from(set);
        assert!(set.is_file(), "{variable} names {}, which is not there", set.display());
        return set;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", package])
        .current_dir(workspace())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "{package} builds");
    // This program lies in `<target>/debug/deps`.
    let here = std::env::current_exe().expect("a test knows where it is");
    here.ancestors().nth(2).expect("a test lies in <target>/debug/deps").join(name)
}

/// How a program ended and what it printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The exit code; 128 and the signal's number after a signal.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
}

impl Outcome {
    /// Returns what was printed, or a text for people that says how it failed.
    ///
    /// # Errors
    ///
    /// If the exit code is not zero.
    pub fn ok(self) -> Result<Vec<u8>, String> {
        if self.code == 0 { Ok(self.stdout) } else { Err(format!("exit {}: {}", self.code, self.stderr.trim())) }
    }
}

/// A home of its own for one test: a folder to work in, `HOME`, `TMPDIR`, the three test keys, and
/// nothing of the caller's environment but the standard search path.
///
/// In its search path, `leafseal` is the built program and `sops` is the same by its other name.
pub struct Place {
    dir: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Makes the folders and writes the keys.
    pub fn new() -> Self {
        let place =
            Self { dir: tempfile::Builder::new().prefix("leafseal-test-").tempdir().expect("TMPDIR is writable") };
        for folder in ["bin", "home", "tmp", "work"] {
            fs::create_dir(place.dir.path().join(folder)).expect("a new folder is writable");
        }
        for (n, key) in KEYS.iter().enumerate() {
            let text = format!("# public test key\n{}\n", key.identity);
            fs::write(place.dir.path().join(format!("K{}", n + 1)), text).expect("a new folder is writable");
        }
        place.program("leafseal", leafseal());
        place.program("sops", leafseal());
        place
    }

    /// Puts `program` into the search path as `name`.
    pub fn program(&self, name: &str, program: &Path) {
        symlink(program, self.dir.path().join("bin").join(name)).expect("a new folder is writable");
    }

    /// The folder in which programs run.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Writes a file of the working folder; its folders are made.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the working folder is writable");
        fs::write(path, content).expect("the working folder is writable");
    }

    /// Reads a file of the working folder.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A command in the clean environment: `SOPS_AGE_KEY_FILE` is K1; R1 to R3 and K1 to K3 are set.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let at = |it: &str| self.dir.path().join(it);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", at("bin").display()))
            .env("HOME", at("home"))
            .env("TMPDIR", at("tmp"))
            .env("LANG", "C.UTF-8")
            .env("SOPS_DISABLE_VERSION_CHECK", "1")
            // Whoever runs the tests is not asked for passphrases.
            .env("GPG_AGENT_INFO", "")
            .env("SOPS_AGE_KEY_FILE", at("K1"))
            .current_dir(self.work());
        for (n, key) in KEYS.iter().enumerate() {
            command.env(format!("R{}", n + 1), key.recipient).env(format!("K{}", n + 1), at(&format!("K{}", n + 1)));
        }
        command
    }

    /// Runs a program without input.
    pub fn run(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Outcome {
        Self::finish(self.command(program).args(args), b"")
    }

    /// Runs the built program by the name of `sops`.
    pub fn sops(&self, args: &[&str]) -> Outcome {
        self.run(self.dir.path().join("bin/sops"), args)
    }

    /// Runs the built program by its own name.
    pub fn leafseal(&self, args: &[&str]) -> Outcome {
        self.run(self.dir.path().join("bin/leafseal"), args)
    }

    /// Runs a command to its end with `input`.
    ///
    /// # Panics
    ///
    /// If the program cannot be started, or if it, or what it left with its output, has not ended after ten minutes:
    /// no test hangs.
    pub fn finish(command: &mut Command, input: &[u8]) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let (pid, input) = (child.id(), input.to_owned());
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program may end without reading its input, which is no failure, and may print before it has read it all.
        thread::spawn(move || drop(stdin.write_all(&input)));
        let (send, output) = mpsc::channel();
        thread::spawn(move || drop(send.send(child.wait_with_output())));
        let Ok(output) = output.recv_timeout(PATIENCE) else {
            drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
            panic!("{command:?} has not ended within {PATIENCE:?}");
        };
        let output = output.expect("the program was started");
        Outcome {
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Shows where two texts part, for the message of a failed comparison.
pub fn difference(want: &[u8], got: &[u8]) -> String {
    let at = want.iter().zip(got).position(|(a, b)| a != b).unwrap_or(want.len().min(got.len()));
    let line = want[..at].iter().filter(|it| **it == b'\n').count() + 1;
    let part = |it: &[u8]| {
        let range = at.saturating_sub(40).min(it.len())..(at + 60).min(it.len());
        String::from_utf8_lossy(&it[range]).into_owned()
    };
    format!("line {line}, byte {at}: want {:?}, got {:?}", part(want), part(got))
}
