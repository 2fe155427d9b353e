//! The plain text in somebody's editor: in memory, private, wiped whatever happens.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::env;
use crate::error::{Failure, code, reason};
use crate::files;
use crate::signals::Held;

/// Editors that are tried if none is named, as SOPS does (spec section 8.10).
const FALLBACKS: &[&str] = &["vim", "nano", "vi"];

/// Arguments that keep an editor from leaving copies, by the name of its program.
const DISCREET: &[(&[&str], &[&str])] = &[
    (
        &["vim", "vim.basic", "vim.tiny", "vim.nox", "vim.gtk3", "gvim", "mvim", "vimx"],
        &["-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noswapfile noundofile"],
    ),
    (&["nvim"], &["-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noswapfile noundofile"]),
    (
        &["emacs", "emacs-nox", "emacs-gtk"],
        &["--eval", "(setq make-backup-files nil auto-save-default nil create-lockfiles nil)"],
    ),
    (&["nano", "rnano"], &["--restricted"]),
];

/// Editors that come back at once unless they are told to wait.
const IMPATIENT: &[&str] =
    &["code", "code-insiders", "codium", "code-oss", "cursor", "subl", "zed", "zeditor", "gedit"];

/// A place for plain text that nobody else can look into and that ends in no backup.
///
/// Everything in it is overwritten and removed when it goes, unless it is kept.
pub(crate) struct Scratch {
    folder: Option<TempDir>,
    file: PathBuf,
    /// True if it is in memory, so that nothing of it reaches a disk but through swap.
    pub in_memory: bool,
}

/// How waiting for somebody ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// A line was given; blanks around it do not count.
    Line(String),
    /// There is nobody there.
    EndOfInput,
    /// A signal asks to stop.
    Signal,
}

impl Scratch {
    /// Makes a place for a file called `name`.
    ///
    /// # Errors
    ///
    /// If there is no place for it.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let memory = env::var("XDG_RUNTIME_DIR").into_iter().map(PathBuf::from);
        let memory = memory.chain([PathBuf::from("/dev/shm")]).filter(|it| it.is_absolute() && is_memory(it));
        let in_memory = memory.filter_map(|it| private_folder(&it).ok()).next();
        let (folder, in_memory) = match in_memory {
            Some(folder) => (folder, true),
            None => {
                let folder = private_folder(&std::env::temp_dir())?;
                let in_memory = is_memory(folder.path());
                (folder, in_memory)
            }
        };
        let file = folder.path().join(name);
        Ok(Self { folder: Some(folder), file, in_memory })
    }

    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Writes the text for the first time.
    ///
    /// # Errors
    ///
    /// As for any write.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        files::create_private(&self.file, text.as_bytes())
    }

    /// Puts another text in the place of what the editor left.
    ///
    /// # Errors
    ///
    /// As for any write; what the editor left is there still.
    pub(crate) fn rewrite(&self, text: &[u8]) -> io::Result<()> {
        let mut name = OsString::from(".");
        name.push(self.file.file_name().unwrap_or_default());
        name.push(".new");
        let new = self.file.with_file_name(name);
        files::create_private(&new, text)?;
        overwrite(&self.file);
        fs::rename(new, &self.file)
    }

    /// Reads what the editor left.
    ///
    /// # Errors
    ///
    /// As for any read.
    pub(crate) fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        files::read(&self.file)
    }

    /// Keeps the text where it is and returns the place.
    pub(crate) fn keep(mut self) -> PathBuf {
        if let Some(folder) = self.folder.take() {
            _ = folder.keep();
        }
        std::mem::take(&mut self.file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            wipe(folder.path());
        }
    }
}

/// Overwrites every file in `folder`: the text, and what an editor may have put beside it.
fn wipe(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            wipe(&entry.path());
        } else if kind.is_file() {
            overwrite(&entry.path());
        }
    }
}

fn overwrite(file: &Path) {
    let Ok(mut file) = OpenOptions::new().write(true).open(file) else { return };
    let mut left = file.metadata().map_or(0, |it| it.len());
    while left > 0 {
        let n = left.min(4096);
        if file.write_all(&[0; 4096][..n as usize]).is_err() {
            break;
        }
        left -= n;
    }
    _ = file.sync_data();
}

fn private_folder(parent: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("leafseal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o700));
    }
    builder.tempdir_in(parent)
}

#[cfg(target_os = "linux")]
fn is_memory(folder: &Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` (linux/magic.h).
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    // The field has another type on every architecture.
    rustix::fs::statfs(folder).is_ok_and(|it| IN_MEMORY.contains(&(it.f_type as u64)))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_folder: &Path) -> bool {
    false
}

/// The program that `SOPS_EDITOR` or `EDITOR` name, or one that is usually there; with the arguments
/// that keep it discreet.
///
/// # Errors
///
/// If there is none (exit 201).
pub(crate) fn find() -> Result<Vec<OsString>, Failure> {
    let cannot = |why: &str| {
        Failure::new(code::EDITOR, format!("cannot run an editor: {why}")).sops(format!("Could not run editor: {why}"))
    };
    let named = ["SOPS_EDITOR", "EDITOR"].into_iter().filter_map(|it| Some((it, env::var(it)?.into_string().ok()?)));
    if let Some((variable, line)) = named.into_iter().find(|(_, it)| !it.is_empty()) {
        let words = shlex::split(&line).ok_or_else(|| cannot(&format!("invalid ${variable}: no closing quotation")))?;
        let (program, rest) =
            words.split_first().ok_or_else(|| cannot(&format!("invalid ${variable}: it is blank")))?;
        return Ok(discreet(program, rest));
    }
    let found = FALLBACKS.iter().find(|it| on_path(it).is_some());
    found.map(|it| discreet(it, &[])).ok_or_else(|| {
        cannot(
            "no editor available: sops attempts to use the editor defined in the SOPS_EDITOR or EDITOR environment \
                variables, and if that's not set defaults to any of vim, nano, vi, but none of them could be found",
        )
        .hint("set EDITOR to the editor you like, as in EDITOR=\"code --wait\"")
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH")?;
    std::env::split_paths(&path).map(|it| it.join(program)).find(|it| it.is_file())
}

fn discreet(program: &str, rest: &[String]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![program.into()];
    let name_of = |it: &Path| it.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    // `vi` is often another editor by that name, and only some of those know the arguments.
    let mut name = name_of(Path::new(program));
    if matches!(name.as_str(), "vi" | "editor") {
        let real = on_path(program).and_then(|it| fs::canonicalize(it).ok());
        name = real.map(|it| name_of(&it)).unwrap_or_default();
    }
    if let Some((_, arguments)) = DISCREET.iter().find(|(names, _)| names.contains(&name.as_str())) {
        words.extend(arguments.iter().map(Into::into));
    }
    words.extend(rest.iter().map(Into::into));
    if IMPATIENT.contains(&name.as_str()) && !rest.iter().any(|it| it == "--wait" || it == "-w") {
        words.push("--wait".into());
    }
    words
}

/// Runs the editor on `file` and waits. `None` if a signal asks to stop; the editor has been ended
/// then.
///
/// # Errors
///
/// If it cannot be started or says that it failed (exit 201).
pub(crate) fn run(editor: &[OsString], file: &Path, held: &Held) -> Result<Option<()>, Failure> {
    let failed = |why: String| {
        Failure::new(code::EDITOR, format!("the editor failed: {why}")).sops(format!("Could not run editor: {why}"))
    };
    let (program, arguments) = editor.split_first().expect("an editor has a name");
    let child = Command::new(program).args(arguments).arg(file).spawn();
    let mut child = child.map_err(|it| {
        let why = match it.kind() {
            io::ErrorKind::NotFound if !program.to_string_lossy().contains('/') => {
                format!("exec: {program:?}: executable file not found in $PATH")
            }
            _ => format!("fork/exec {}: {}", program.to_string_lossy(), reason(&it)),
        };
        Failure::new(code::EDITOR, format!("cannot run the editor {program:?}: {}", reason(&it)))
            .sops(format!("Could not run editor: {why}"))
            .hint("SOPS_EDITOR and EDITOR say which editor is run")
    })?;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(|it| failed(reason(&it)))? {
            return if status.success() { Ok(Some(())) } else { Err(failed(describe(status))) };
        }
        if held.arrived().is_some() {
            end(&mut child);
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Asks the editor to go, and insists after two seconds: the text must not outlive us.
fn end(child: &mut std::process::Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..100 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    _ = child.kill();
    _ = child.wait();
}

fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return format!("signal: {}", signal_hook::low_level::signal_name(signal).unwrap_or("unknown"));
        }
    }
    format!("exit status {}", status.code().unwrap_or(-1))
}

/// Waits for a line on stdin.
pub(crate) fn wait_for_line(held: &Held) -> Answer {
    let (sender, receiver) = mpsc::channel();
    // A read cannot be interrupted, so it is left behind if a signal comes first: the program ends then.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).unwrap_or(0);
        _ = sender.send((read > 0).then(|| line.trim().to_owned()));
    });
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(Some(line)) => return Answer::Line(line),
            Ok(None) | Err(mpsc::RecvTimeoutError::Disconnected) => return Answer::EndOfInput,
            Err(mpsc::RecvTimeoutError::Timeout) if held.arrived().is_some() => return Answer::Signal,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn scratch_is_private_and_goes_with_all_that_is_in_it() {
        let scratch = Scratch::new("a.yaml").expect("there is room for tests");
        scratch.write("secret").expect("it can be written");
        let (file, folder) = (scratch.file().to_owned(), scratch.file().parent().expect("a folder").to_owned());
        assert_eq!((mode(&file), mode(&folder)), (0o600, 0o700));
        // Another name for the text shows what is left of it.
        let outside = folder.with_extension("witness");
        fs::hard_link(&file, &outside).expect("links can be made");
        fs::write(folder.join("a.yaml~"), "secret").expect("editors do so");
        assert_eq!(scratch.read().expect("it can be read").as_slice(), b"secret");
        drop(scratch);
        assert!(!folder.exists());
        assert_eq!(fs::read(&outside).expect("it is there"), [0; 6]);
        fs::remove_file(outside).expect("it is ours");
    }

    #[test]
    fn scratch_that_is_kept_stays() {
        let scratch = Scratch::new("a.yaml").expect("there is room for tests");
        scratch.write("secret").expect("it can be written");
        let file = scratch.keep();
        assert_eq!(fs::read(&file).expect("it is there"), b"secret");
        fs::remove_dir_all(file.parent().expect("a folder")).expect("it is ours");
    }

    #[test]
    fn editors_are_asked_to_be_discreet() {
        let words = |program: &str, rest: &[&str]| {
            let rest: Vec<String> = rest.iter().map(|&it| it.to_owned()).collect();
            let words: Vec<_> = discreet(program, &rest).iter().map(|it| it.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        assert!(words("/usr/bin/vim", &["-R"]).starts_with("/usr/bin/vim -n -i NONE --cmd set nobackup"));
        assert!(words("/usr/bin/vim", &["-R"]).ends_with(" -R"));
        assert_eq!(words("nano", &[]), "nano --restricted");
        assert_eq!(words("code", &[]), "code --wait");
        assert_eq!(words("code", &["--wait", "-n"]), "code --wait -n");
        assert_eq!(words("/tmp/ed.sh", &["two words"]), "/tmp/ed.sh two words");
    }

    #[test]
    fn an_editor_that_fails_is_reported_in_the_words_of_sops() {
        let held = Held::new();
        let run = |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(Into::into).collect();
            let result = run(&line, Path::new("/dev/null"), &held);
            result.map_err(|it| (it.code(), it.reason(crate::session::Mode::DropIn).to_owned()))
        };
        assert_eq!(run(&["true"]), Ok(Some(())));
        let failed = |text: &str| Err((201, format!("Could not run editor: {text}")));
        assert_eq!(run(&["sh", "-c", "exit 3"]), failed("exit status 3"));
        assert_eq!(run(&["no-such-editor"]), failed("exec: \"no-such-editor\": executable file not found in $PATH"));
        assert_eq!(run(&["/no/such"]), failed("fork/exec /no/such: no such file or directory"));
    }
}
