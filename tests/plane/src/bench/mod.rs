//! `leafseal-plane bench`: what operators take for the same work, beside the least that it takes.
//!
//! Trust the ratios within one run: a busy machine hits all alike.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what a benchmark is for")]

mod floor;
mod meters;
mod program;
mod reload;
mod site;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meters::{Asked, cpu, is_event, is_write, memory};
use program::{Program, Running};
use reload::Reloads;
use site::{Asks, Site};

/// Says how to use it.
pub const USAGE: &str = "\
usage: bench [--operator '[NAME=]PATH [ARGUMENT…]']… [--objects N] [--interval SECONDS] [--runs N] [--only SCENE]

  --operator   the operator to measure; given again, the others run in turn on planes of their own.
               In its arguments, {port} is a free port; without arguments it is taken for ours
  --objects    how many ExternalSecrets there are [default: 1000]; other numbers follow from it
  --interval   how often they refresh, in seconds [default: 60]: long enough for all of the work
  --only       one of: external, restart, unmanaged, static, reload, crowd
";

/// What is measured, in the order of the table: what it is called, and what is asked of it, for the number
/// of objects that the targets are about.
const FIGURES: &[(Figure, &str, &str)] = &[
    (Figure::Ready, "ExternalSecrets: start to all Ready, s", "≤ 1.5 × floor"),
    (Figure::Against, "  against the floor before and after", "≤ 1.5"),
    (Figure::ColdCpu, "  its own CPU, s", "≤ 1.0"),
    (Figure::ColdMemory, "  resident memory after it, MB", "≤ 25"),
    (Figure::ColdPeak, "  the most there was, MB", ""),
    (Figure::ColdApi, "  API requests per object until then", "2, ≤ 3 with events"),
    (Figure::ColdVault, "  Vault requests per object", "1"),
    (Figure::QuietCpu, "  quiet refresh: CPU per 1,000, s", "≤ 0.5"),
    (Figure::QuietApi, "  quiet refresh: API requests", "≤ 1"),
    (Figure::QuietVault, "  quiet refresh: Vault requests", "1"),
    (Figure::QuietMemory, "  resident memory then, MB", "≤ 25"),
    (Figure::RestartWrites, "restart, nothing changed: writes", "0"),
    (Figure::RestartVault, "  Vault requests", "logins only"),
    (Figure::RestartCpu, "  its own CPU, s", ""),
    (Figure::Unmanaged, "100 beside 10,000 Secrets of 10 kB: memory, MB", "≤ 25"),
    (Figure::UnmanagedPeak, "  the most there was, MB", ""),
    (Figure::StaticReady, "300 VaultStaticSecrets: start to all Ready, s", "≤ 1.5 × floor"),
    (Figure::StaticAgainst, "  against the floor before and after", "≤ 1.5"),
    (Figure::StaticCpu, "  its own CPU, s", ""),
    (Figure::StaticMemory, "  resident memory after it, MB", "≤ 20"),
    (Figure::StaticQuietApi, "  quiet refresh: API requests", "0"),
    (Figure::StaticQuietVault, "  quiet refresh: Vault requests", "1"),
    (Figure::StaticQuietCpu, "  quiet refresh: CPU per 1,000, s", "≤ 0.5"),
    (Figure::Reload, "a Secret changes: its workload has it after, ms", "≤ 30 beyond the window"),
    (Figure::ReloadWorst, "  at the worst of 20, ms", "≤ 100"),
    (Figure::Burst, "200 Secrets change at once: all workloads, s", "≤ 1.5 beyond the window"),
    (Figure::BurstApi, "  API requests per change", "2, ≤ 3 with events"),
    (Figure::BurstLists, "  lists of workloads", "0"),
    (Figure::Thrice, "three quick changes: rollouts", "1"),
    (Figure::Missed, "10 changed while it was down: restarted", "10"),
    (Figure::Needless, "  and others", "0"),
    (Figure::ReloadRestartWrites, "restart, nothing changed: writes", "0"),
    (Figure::ReloadMemory, "  resident memory, MB", ""),
    (Figure::CrowdReady, "5,000 workloads: start to all known, s", ""),
    (Figure::CrowdCpu, "  its own CPU, s", ""),
    (Figure::CrowdApi, "  API requests per workload", "2"),
    (Figure::CrowdPeak, "  the most memory there was, MB", ""),
    (Figure::CrowdOne, "  a Secret changes: its workload has it after, ms", "≤ 30 beyond the window"),
    (Figure::CrowdRestartWrites, "  restart, nothing changed: writes", "0"),
    (Figure::CrowdRestartCpu, "    its own CPU, s", ""),
    (Figure::CrowdMemory, "    resident memory, MB", ""),
    (Figure::Size, "binary, MB", "≤ 15"),
];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Figure {
    Ready,
    Against,
    ColdCpu,
    ColdMemory,
    ColdPeak,
    ColdApi,
    ColdVault,
    QuietCpu,
    QuietApi,
    QuietVault,
    QuietMemory,
    RestartWrites,
    RestartVault,
    RestartCpu,
    Unmanaged,
    UnmanagedPeak,
    StaticReady,
    StaticAgainst,
    StaticCpu,
    StaticMemory,
    StaticQuietApi,
    StaticQuietVault,
    StaticQuietCpu,
    Reload,
    ReloadWorst,
    Burst,
    BurstApi,
    BurstLists,
    Thrice,
    Missed,
    Needless,
    ReloadRestartWrites,
    ReloadMemory,
    CrowdReady,
    CrowdCpu,
    CrowdApi,
    CrowdPeak,
    CrowdOne,
    CrowdRestartWrites,
    CrowdRestartCpu,
    CrowdMemory,
    Size,
}

/// How long a restart is watched.
const AFTER_RESTART: Duration = Duration::from_secs(8);

/// The kinds that may be listed, by their names in URLs.
const WORKLOADS: &[&str] = &["deployments", "statefulsets", "daemonsets", "cronjobs", "jobs", "rollouts"];

/// What controllers write when a template is new, whoever made it so. They list nothing then.
const CONTROLLERS: &[&str] = &["replicasets", "deployments/status", "controllerrevisions"];

/// How long an operator may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a benchmark was asked for.
#[derive(Debug)]
pub struct Options {
    programs: Vec<Program>,
    n_objects: usize,
    interval: Duration,
    runs: usize,
    only: Option<String>,
}

impl Options {
    /// Reads arguments.
    ///
    /// # Errors
    ///
    /// If they make no sense.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { programs: Vec::new(), n_objects: 1000, interval: Duration::from_secs(60), runs: 1, only: None };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} wants a value"))?;
            let number = || value.parse().ok().filter(|it| *it > 0).ok_or(format!("{arg} wants a number above zero"));
            match arg.as_str() {
                "--operator" => options.programs.push(Program::parse(&value)?),
                "--objects" => options.n_objects = number()?,
                "--interval" => options.interval = Duration::from_secs(number()? as u64),
                "--runs" => options.runs = number()?,
                "--only" => options.only = Some(value),
                other => return Err(format!("`{other}` is no option")),
            }
        }
        if options.programs.is_empty() {
            return Err("say --operator".to_owned());
        }
        Ok(options)
    }

    fn has(&self, scene: &str) -> bool {
        self.only.as_ref().is_none_or(|it| it == scene)
    }
}

/// What was measured, by program.
type Results = BTreeMap<(usize, Figure), Vec<f64>>;

/// Runs everything and prints medians. `false` if the plane's programs are missing.
///
/// # Panics
///
/// If an operator does not do its work.
pub async fn run(options: &Options) -> bool {
    let mut results = Results::new();
    for run in 0..options.runs {
        for turn in 0..options.programs.len() {
            let n_program = (run + turn) % options.programs.len();
            let bench = Bench { options, program: &options.programs[n_program] };
            let Some(figures) = bench.run().await else { return false };
            for (figure, value) in figures {
                results.entry((n_program, figure)).or_default().push(value);
            }
        }
    }
    print(options, &results);
    true
}

struct Bench<'a> {
    options: &'a Options,
    program: &'a Program,
}

type Figures = Vec<(Figure, f64)>;

impl Bench<'_> {
    async fn run(&self) -> Option<Figures> {
        let size = std::fs::metadata(&self.program.path).map(|it| it.len()).unwrap_or_default();
        let mut figures = vec![(Figure::Size, size as f64 / 1e6)];
        if self.options.has("external") || self.options.has("restart") {
            self.external(&mut figures).await?;
        }
        if self.options.has("unmanaged") {
            self.unmanaged(&mut figures).await?;
        }
        if self.options.has("static") {
            self.of_vault(&mut figures).await?;
        }
        if self.options.has("reload") {
            self.reload(&mut figures).await?;
        }
        if self.options.has("crowd") {
            self.crowd(&mut figures).await?;
        }
        Some(figures)
    }

    /// ExternalSecrets: cold, refreshed, and after a restart.
    async fn external(&self, figures: &mut Figures) -> Option<()> {
        const NAMESPACE: &str = "external";
        let n = self.options.n_objects;
        let site = self.site(n).await?;
        let before = floor::measure(&site, Asks::External, n).await;
        site.ask(NAMESPACE, Asks::External, n, self.options.interval).await;
        let (running, cold) = self.cold(&site, NAMESPACE, Asks::External, n).await;
        figures.extend([
            (Figure::Ready, cold.took.as_secs_f64()),
            (Figure::ColdCpu, cold.cpu.as_secs_f64()),
            (Figure::ColdMemory, cold.memory.0),
            (Figure::ColdPeak, cold.memory.1),
            (Figure::ColdApi, each(&cold.api, n)),
            (Figure::ColdVault, each(&cold.vault, n)),
        ]);
        let quiet = self.quiet(&site, &running, n).await;
        figures.extend([
            (Figure::QuietCpu, quiet.cpu.as_secs_f64() * 1000.0 / n as f64),
            (Figure::QuietApi, each(&quiet.api, n)),
            (Figure::QuietVault, each(&quiet.vault, n)),
            (Figure::QuietMemory, quiet.memory.0),
        ]);
        site.slow_down(NAMESPACE, Asks::External, n).await;
        let restart = self.restart(&site, running, n).await;
        figures.extend([
            (Figure::RestartWrites, restart.api.count(is_write) as f64),
            (Figure::RestartVault, restart.vault.count(|_| true) as f64),
            (Figure::RestartCpu, restart.cpu.as_secs_f64()),
        ]);
        site.clear(NAMESPACE, Asks::External).await;
        let after = floor::measure(&site, Asks::External, n).await;
        figures.push((Figure::Against, self.against("external", before, after, n, cold.took)));
        Some(())
    }

    /// A few objects beside many Secrets of others.
    async fn unmanaged(&self, figures: &mut Figures) -> Option<()> {
        let (n_managed, n_others) = (self.options.n_objects.div_ceil(10), self.options.n_objects * 10);
        let site = self.site(n_managed).await?;
        site.fill(n_others).await;
        let _reloads = Reloads::furnish(&site, "reloads", n_managed).await;
        site.ask("few", Asks::External, n_managed, self.options.interval).await;
        let (running, _) = self.cold(&site, "few", Asks::External, n_managed).await;
        // What is needed to begin is given back.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (now, peak) = memory(running.pid);
        figures.extend([(Figure::Unmanaged, now), (Figure::UnmanagedPeak, peak)]);
        Some(())
    }

    /// VaultStaticSecrets: cold and refreshed.
    async fn of_vault(&self, figures: &mut Figures) -> Option<()> {
        const NAMESPACE: &str = "static";
        let n = (self.options.n_objects * 3).div_ceil(10);
        let site = self.site(n).await?;
        let before = floor::measure(&site, Asks::Static, n).await;
        site.ask(NAMESPACE, Asks::Static, n, self.options.interval).await;
        let (running, cold) = self.cold(&site, NAMESPACE, Asks::Static, n).await;
        figures.extend([
            (Figure::StaticReady, cold.took.as_secs_f64()),
            (Figure::StaticCpu, cold.cpu.as_secs_f64()),
            (Figure::StaticMemory, cold.memory.0),
        ]);
        let quiet = self.quiet(&site, &running, n).await;
        figures.extend([
            (Figure::StaticQuietApi, each(&quiet.api, n)),
            (Figure::StaticQuietVault, each(&quiet.vault, n)),
            (Figure::StaticQuietCpu, quiet.cpu.as_secs_f64() * 1000.0 / n as f64),
        ]);
        drop(running);
        site.clear(NAMESPACE, Asks::Static).await;
        let after = floor::measure(&site, Asks::Static, n).await;
        figures.push((Figure::StaticAgainst, self.against("static", before, after, n, cold.took)));
        Some(())
    }

    /// Secrets that workloads reload for: one that changes, all at once, again and again, while nobody looks.
    async fn reload(&self, figures: &mut Figures) -> Option<()> {
        let n = self.options.n_objects.div_ceil(5);
        let site = self.site(0).await?;
        let reloads = Reloads::furnish(&site, "reloads", n).await;
        let running = self.program.start_with(&site.plane, self.closed_window()).await;
        self.be_known(&site, &reloads, n).await;
        let (median, worst) = reloads.singly(n, 20).await;
        figures.extend([(Figure::Reload, median), (Figure::ReloadWorst, worst)]);
        let asked = self.settle(&site, is_event).await;
        let took = reloads.many(n, "burst").await;
        let (api, _) = self.settle(&site, is_event).await.since(&asked);
        self.say("burst", &format!("API: {}", api.each(n)));
        let is_list = |it: &str| it.starts_with("LIST ") && WORKLOADS.iter().any(|kind| it.contains(kind));
        figures.extend([
            (Figure::Burst, took.as_secs_f64()),
            // Without the change itself, and what the controller of Deployments does then.
            (
                Figure::BurstApi,
                api.count(|it| it.starts_with("LIST ") || CONTROLLERS.iter().all(|other| !it.contains(other))) as f64
                    / n as f64
                    - 1.0,
            ),
            (Figure::BurstLists, api.count(is_list) as f64),
        ]);
        drop(running);

        let running = self.program.start(&site.plane).await;
        self.be_known(&site, &reloads, n).await;
        let before = reloads.generation(0);
        for round in 0..3 {
            reloads.change(0, &format!("quick-{round}")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(AFTER_RESTART).await;
        figures.push((Figure::Thrice, (reloads.generation(0) - before) as f64));
        drop(running);

        // The API server tells times by the second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before: Vec<i64> = (0..n).map(|it| reloads.generation(it)).collect();
        let n_missed = n.min(10);
        for it in 0..n_missed {
            reloads.change(it, "missed").await;
        }
        let running = self.program.start(&site.plane).await;
        tokio::time::sleep(AFTER_RESTART).await;
        let rolls = |it: usize| (reloads.generation(it) - before[it]) as f64;
        figures.extend([
            (Figure::Missed, (0..n_missed).map(rolls).sum()),
            (Figure::Needless, (n_missed..n).map(rolls).sum()),
        ]);
        let restart = self.restart(&site, running, n).await;
        figures.extend([
            (Figure::ReloadRestartWrites, restart.api.count(is_write) as f64),
            (Figure::ReloadMemory, restart.memory.0),
        ]);
        Some(())
    }

    /// Very many workloads, each with a Secret of its own: met for the first time, one Secret that changes, and a
    /// restart.
    async fn crowd(&self, figures: &mut Figures) -> Option<()> {
        let n = self.options.n_objects * 5;
        let site = self.site(0).await?;
        let reloads = Reloads::furnish(&site, "crowd", n).await;
        // What the controller of Deployments does with them is over.
        let asked = self.settle(&site, is_write).await;
        let begun = Instant::now();
        let running = self.program.start_with(&site.plane, self.closed_window()).await;
        if self.program.is_ours {
            reloads.wait_until_known(n).await;
        }
        let took = begun.elapsed();
        let (used, (_, peak)) = (cpu(running.pid), memory(running.pid));
        let (api, _) = Counts::of(&site).await.since(&asked);
        self.say("crowd", &format!("API: {}", api.each(n)));
        figures.extend([
            (Figure::CrowdReady, took.as_secs_f64()),
            (Figure::CrowdCpu, used.as_secs_f64()),
            (Figure::CrowdApi, each(&api, n)),
            (Figure::CrowdPeak, peak),
        ]);
        self.settle(&site, is_write).await;
        let (median, _) = reloads.singly(n, 20).await;
        figures.push((Figure::CrowdOne, median));
        let restart = self.restart(&site, running, n).await;
        figures.extend([
            (Figure::CrowdRestartWrites, restart.api.count(is_write) as f64),
            (Figure::CrowdRestartCpu, restart.cpu.as_secs_f64()),
            (Figure::CrowdMemory, restart.memory.0),
        ]);
        Some(())
    }

    /// Ours waits for further changes: what it takes beyond that is measured with its window closed.
    fn closed_window(&self) -> &'static [&'static str] {
        if self.program.is_ours { &["--reload-window=0s"] } else { &[] }
    }

    /// Waits until the operator knows what all workloads have.
    async fn be_known(&self, site: &Site, reloads: &Reloads, n: usize) {
        if self.program.is_ours {
            reloads.wait_until_known(n).await;
        }
        // What it does at its start is over.
        self.settle(site, is_write).await;
    }

    /// Once it has come to rest, it is ended and begins again, with nothing changed.
    async fn restart(&self, site: &Site, running: Running, n: usize) -> Measured {
        self.settle(site, is_write).await;
        drop(running);
        let asked = Counts::of(site).await;
        let begun = Instant::now();
        let mut running = self.program.start(&site.plane).await;
        tokio::time::sleep(AFTER_RESTART).await;
        running.check();
        let (took, cpu, memory) = (begun.elapsed(), cpu(running.pid), memory(running.pid));
        let (api, vault) = Counts::of(site).await.since(&asked);
        self.say("restart", &format!("API: {}; Vault: {}", api.each(n), vault.each(n)));
        Measured { took, cpu, memory, api, vault }
    }

    async fn site(&self, n: usize) -> Option<Site> {
        self.say("plane", "starting");
        Site::start(n).await
    }

    /// From the operator's start until everything is Ready.
    async fn cold(&self, site: &Site, namespace: &str, asks: Asks, n: usize) -> (Running, Measured) {
        // What made the objects is over.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = Counts::of(site).await;
        let begun = Instant::now();
        let mut running = self.program.start(&site.plane).await;
        site.wait_until_ready(namespace, asks, n, Duration::from_secs(600)).await;
        let took = begun.elapsed();
        let (cpu, memory) = (cpu(running.pid), memory(running.pid));
        running.check();
        let (api, vault) = Counts::of(site).await.since(&asked);
        self.say(namespace, &format!("API: {}; Vault: {}", api.each(n), vault.each(n)));
        (running, Measured { took, cpu, memory, api, vault })
    }

    /// As long as it takes until each object was refreshed once, when nothing has changed and all events of
    /// before are written.
    async fn quiet(&self, site: &Site, running: &Running, n: usize) -> Measured {
        let asked = self.settle(site, is_event).await;
        let (used, begun) = (cpu(running.pid), Instant::now());
        // Refreshes come late by up to five percent.
        tokio::time::sleep(self.options.interval.mul_f64(1.025)).await;
        let (cpu, took, memory) = (cpu(running.pid) - used, begun.elapsed(), memory(running.pid));
        let (api, vault) = Counts::of(site).await.since(&asked);
        self.say("quiet", &format!("API: {}; Vault: {}", api.each(n), vault.each(n)));
        Measured { took, cpu, memory, api, vault }
    }

    /// Waits until the API server is not asked any more for what matches.
    async fn settle(&self, site: &Site, matches: fn(&str) -> bool) -> Counts {
        let mut asked = Counts::of(site).await;
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = Counts::of(site).await;
            let n_new = now.0.since(&asked.0).count(matches);
            asked = now;
            if n_new == 0 || begun.elapsed() > PATIENCE {
                return asked;
            }
        }
    }

    /// How much more it took than the floor.
    fn against(&self, scene: &str, before: Duration, after: Duration, n: usize, took: Duration) -> f64 {
        self.say(
            scene,
            &format!("floor for {n}: {:.2} s before, {:.2} s after", before.as_secs_f64(), after.as_secs_f64()),
        );
        took.as_secs_f64() * 2.0 / (before + after).as_secs_f64()
    }

    fn say(&self, scene: &str, what: &str) {
        eprintln!("{} {scene}: {what}", self.program.name);
    }
}

/// What a while was like.
struct Measured {
    took: Duration,
    cpu: Duration,
    /// Now, and the most there was.
    memory: (f64, f64),
    api: Asked,
    vault: Asked,
}

/// What both servers were asked.
struct Counts(Asked, Asked);

impl Counts {
    async fn of(site: &Site) -> Self {
        Self(Asked::of_cluster(&site.client).await, Asked::of_vault(&site.bao))
    }

    fn since(&self, before: &Self) -> (Asked, Asked) {
        (self.0.since(&before.0), self.1.since(&before.1))
    }
}

fn each(asked: &Asked, n: usize) -> f64 {
    asked.count(|_| true) as f64 / n as f64
}

fn print(options: &Options, results: &Results) {
    print!("{:<50}", format!("{} objects, medians of {}", options.n_objects, options.runs));
    options.programs.iter().for_each(|it| print!(" {:>18}", it.name));
    println!("   target");
    for (figure, name, target) in FIGURES {
        let median = |n_program| {
            let mut values = results.get(&(n_program, *figure))?.clone();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let medians: Vec<Option<f64>> = (0..options.programs.len()).map(median).collect();
        if medians.iter().all(Option::is_none) {
            continue;
        }
        print!("{name:<50}");
        for median in medians {
            print!(" {:>18}", median.map_or_else(String::new, |it| format!("{it:.2}")));
        }
        println!("   {target}");
    }
}
