//! `cargo xtask plane up|down`: a control plane and OpenBao to try things out with.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Failure;
use crate::peers;
use crate::sh::{cargo, output, run as run_command, step, target};

/// What the plane prints last when it is ready.
const READY: &str = "VAULT_ADDR";

/// Starts a plane in the background and prints how to reach it, or ends the one there is.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    match args.first().map(String::as_str) {
        Some("up") => up(),
        Some("down") => down(),
        _ => Err("say `plane up` or `plane down`".to_owned()),
    }
}

fn up() -> Result<(), Failure> {
    let dir = peers::folder()?;
    let (pid, says, log) = (dir.join("plane.pid"), dir.join("plane.env"), dir.join("plane.log"));
    if let Ok(it) = fs::read_to_string(&pid)
        && is_running(&it)
    {
        return Err("there is one already: `cargo xtask plane down` ends it".to_owned());
    }
    let peers = peers::set_up()?;
    run_command(cargo().args(["build", "--package", "leafseal-plane"]))?;
    step("starting");
    let create = |path| File::create(path).map_err(|error| error.to_string());
    let mut plane = Command::new(target().join("debug/leafseal-plane"))
        .env("LEAFSEAL_PEERS", &peers)
        .stdin(Stdio::null())
        .stdout(create(&says)?)
        .stderr(create(&log)?)
        // Ctrl-C at this terminal is not for it.
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    fs::write(&pid, plane.id().to_string()).map_err(|error| error.to_string())?;
    loop {
        let said = fs::read_to_string(&says).unwrap_or_default();
        if said.contains(READY) {
            print!("{said}");
            return Ok(());
        }
        if plane.try_wait().is_ok_and(|it| it.is_some()) {
            return Err(format!("it does not come up: see {}", log.display()));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn down() -> Result<(), Failure> {
    let path = peers::folder()?.join("plane.pid");
    let pid = fs::read_to_string(&path).map_err(|_| "there is none".to_owned())?;
    output(Command::new("kill").arg(&pid))?;
    while is_running(&pid) {
        thread::sleep(Duration::from_millis(100));
    }
    fs::remove_file(path).map_err(|error| error.to_string())
}

fn is_running(pid: &str) -> bool {
    output(Command::new("kill").args(["-0", pid])).is_ok()
}
