//! An operator that is measured.

use std::path::PathBuf;
use std::time::Duration;

use crate::ControlPlane;
use crate::ports;
use crate::process::Process;

/// The arguments of our own operator.
const OURS: &[&str] = &["--metrics-address=127.0.0.1:{port}", "--health-address=127.0.0.1:{port}"];

/// How to run an operator.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
    args: Vec<String>,
    /// Whether it is ours: then it has a window, which can be closed, and a memory.
    pub(super) is_ours: bool,
}

/// One that runs. Dropping it ends it with SIGTERM and waits.
pub(super) struct Running {
    process: Process,
    pub(super) pid: u32,
}

impl Program {
    /// Reads `[NAME=]PATH [ARGUMENT…]`. In arguments, `{port}` is a free port, another one each time;
    /// without arguments it is taken for ours. It finds its cluster by `KUBECONFIG`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let first = words.next().ok_or("--operator wants a program")?;
        let (name, path) = match first.split_once('=') {
            Some((name, path)) => (name.to_owned(), path),
            None => (first.rsplit('/').next().unwrap_or(first).to_owned(), first),
        };
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        if !path.is_file() {
            return Err(format!("{} is not there", path.display()));
        }
        let mut args: Vec<String> = words.map(str::to_owned).collect();
        let is_ours = args.is_empty();
        if is_ours {
            args = OURS.iter().map(|&it| it.to_owned()).collect();
        }
        Ok(Self { name, path, args, is_ours })
    }

    /// Starts it beside a plane.
    pub(super) async fn start(&self, plane: &ControlPlane) -> Running {
        self.start_with(plane, &[]).await
    }

    /// The same with more arguments.
    pub(super) async fn start_with(&self, plane: &ControlPlane, more: &[&str]) -> Running {
        let more: Vec<String> = more.iter().map(|&it| it.to_owned()).collect();
        let args = self.args.iter().chain(&more).map(|it| match it.contains("{port}") {
            true => it.replace("{port}", &ports::free::<1>()[0].to_string()),
            false => it.clone(),
        });
        let kubeconfig = plane.kubeconfig();
        let env = [
            ("KUBECONFIG", kubeconfig.to_str().expect("temporary folders have plain names")),
            ("OPERATOR_NAMESPACE", "default"),
        ];
        let process = Process::start(plane.folder(), &self.name, &self.path, args, &env).expect("it can be started");
        let pid = loop {
            match process.pid() {
                Some(it) => break it,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        Running { process, pid }
    }
}

impl Running {
    /// Fails if it has ended.
    pub(super) fn check(&mut self) {
        assert!(self.process.is_running(), "the operator has ended\n{}", self.process.last_lines());
    }
}
