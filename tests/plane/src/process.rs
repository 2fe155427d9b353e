//! A program that runs beside the tests and ends with them, whatever becomes of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends the program when standard input does: that is so when whoever started it is gone, be it by
/// a panic, a signal or `kill -9`. It has a minute to end in order: what it does then may be what a test is about.
const SUPERVISOR: &str = r#"
exec 3<&0
pid=$1
shift
"$@" </dev/null 3<&- &
child=$!
echo $child >"$pid"
{ cat <&3 >/dev/null; kill -CONT $child; kill $child; sleep 60; kill -9 $child; } 2>/dev/null &
ender=$!
wait $child
kill $ender 2>/dev/null
"#;

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: PathBuf,
    supervisor: Child,
}

impl Process {
    /// Starts `program`; what it prints goes to `<folder>/<name>.log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start<S: AsRef<OsStr>>(
        folder: &Path,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
    ) -> io::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let pid = folder.join(format!("{name}.pid"));
        // That of one that ran before.
        drop(std::fs::remove_file(&pid));
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(&pid)
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self { name: name.to_owned(), log, pid, supervisor })
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(None))
    }

    /// The number of the program; `None` until it runs.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.pid).ok()?.trim().parse().ok()
    }

    /// Ends it as a crash does: it has no time for anything.
    ///
    /// # Panics
    ///
    /// If it cannot be ended.
    pub fn kill(self) {
        self.signal("-KILL");
    }

    /// Sends it a signal, spelt as `kill` wants it.
    ///
    /// # Panics
    ///
    /// If it has ended already.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(&self.pid).expect("a program that was started has a number");
        let sent = Command::new("kill").args([signal, pid.trim()]).status().expect("kill runs");
        assert!(sent.success(), "{} has ended already", self.name);
    }

    /// Where what it prints goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of what it printed.
    pub fn last_lines(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
}
