//! Takes turns: round by round, work by work, every proxy in an order that rotates.
//!
//! `main` gives the plan; the report gets the samples. Each turn starts a fresh process and ends it, so that no
//! proxy profits from, or suffers for, an earlier turn. Only ratios of one run count: where the clients of a work can rest,
//! all proxies are alive in one turn and work by slices of it; else their turns follow each other within seconds.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::peers::{Certificate, Proxy, Running, Setup, free_address};
use crate::profile::{Profile, Recorder};
use crate::report::Figure;
use crate::targets::BARE_WORK;
use load::Work;
use load::measure::others::MachineReading;
use load::{Aim, Generator, Outcome, Secured};

/// Bounds of the warm-up before each window. Longer than that a closed loop does not change on loopback.
const WARMUP_MIN: Duration = Duration::from_millis(600);
const WARMUP_MAX: Duration = Duration::from_millis(1500);
/// An open loop runs at this share of the slower peer's peak.
pub(crate) const LATENCY_LOAD: f64 = 0.7;

/// Turns of the open loop in each round. Its figures are those of the slowest few requests of a window, and what else the
/// host does makes them as often as a proxy: the median of nine windows says more than that of three.
pub(crate) const LATENCY_TURNS: usize = 3;

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) works: Vec<Work>,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    /// How long a turn may wait for the machine to be quiet, and be done again because it was not.
    pub(crate) patience: Duration,
    /// The release binary of Pinion; not used unless Pinion takes part.
    pub(crate) pinion: PathBuf,
    /// Whether Pinion and the bare relay are sampled at work after the rounds.
    pub(crate) profiles: bool,
}

/// One turn's result.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) proxy: Proxy,
    pub(crate) work: Work,
    pub(crate) outcome: Outcome,
}

/// All that was found.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    pub(crate) samples: Vec<Sample>,
    pub(crate) profiles: Vec<Profile>,
}

/// Runs the whole plan on the calling thread, telling each turn on standard error.
pub(crate) fn take_turns(plan: &Plan) -> io::Result<Findings> {
    let generator = Generator::bind()?;
    let folder = std::env::temp_dir().join(format!("pinion-bench-{}", std::process::id()));
    let certificate = Certificate::make()?;
    let bench = Bench { plan, generator: &generator, folder: &folder, certificate: &certificate };
    let findings =
        rounds(&bench).and_then(|samples| bench.profiles().map(|profiles| Findings { samples, profiles }));
    // Nothing is lost if a log stays behind.
    let _ = fs::remove_dir_all(&folder);
    findings
}

fn rounds(bench: &Bench<'_>) -> io::Result<Vec<Sample>> {
    let plan = bench.plan;
    let rate = bench.latency_rate()?;
    let mut samples = Vec::new();
    for round in 0..plan.rounds {
        for &work in &plan.works {
            for proxies in bench.turns(round, work) {
                for (&proxy, outcome) in proxies.iter().zip(bench.quiet_turn(&proxies, work, rate)?) {
                    eprintln!(
                        "round {} {:>9} {:<14} {}",
                        round + 1,
                        work.to_string(),
                        proxy.to_string(),
                        summary(&outcome)
                    );
                    samples.push(Sample { proxy, work, outcome });
                }
            }
        }
    }
    Ok(samples)
}

/// What every turn needs.
struct Bench<'a> {
    plan: &'a Plan,
    generator: &'a Generator,
    folder: &'a Path,
    certificate: &'a Certificate,
}

impl Bench<'_> {
    /// The turns of one round, and who takes part in each: all, by slices, or one after another.
    fn turns(&self, round: usize, work: Work) -> Vec<Vec<Proxy>> {
        if work.can_rest() {
            return vec![self.order(round, work)];
        }
        let count = if matches!(work, Work::Latency { .. }) { LATENCY_TURNS } else { 1 };
        let orders = (round * count..(round + 1) * count).flat_map(|turn| self.order(turn, work));
        orders.map(|proxy| vec![proxy]).collect()
    }

    /// The proxies in one order, begun one further each time. Only latency is of interest without a proxy.
    fn order(&self, turn: usize, work: Work) -> Vec<Proxy> {
        let is_latency = matches!(work, Work::Latency { .. });
        let mut order: Vec<Proxy> =
            self.plan.proxies.iter().copied().filter(|proxy| is_latency || *proxy != Proxy::Direct).collect();
        // Its buffers are all that it differs in.
        order.retain(|proxy| matches!(work, Work::Body { .. }) || *proxy != Proxy::NginxWide);
        // Beside whole proxies a bare relay is there for the one work that has a target to it.
        let is_among_relays = order.iter().all(|proxy| matches!(proxy, Proxy::Relay(_)));
        order.retain(|proxy| is_among_relays || BARE_WORK == work || !matches!(proxy, Proxy::Relay(_)));
        if !order.is_empty() {
            let shift = turn % order.len();
            order.rotate_left(shift);
        }
        order
    }

    /// A turn while nothing else runs, as far as patience goes: of several, the least disturbed.
    fn quiet_turn(&self, proxies: &[Proxy], work: Work, rate: Option<f64>) -> io::Result<Vec<Outcome>> {
        let deadline = Instant::now() + self.plan.patience;
        let others = |outcomes: &[Outcome]| outcomes.iter().map(|outcome| outcome.others).fold(0.0, f64::max);
        let mut best: Option<Vec<Outcome>> = None;
        loop {
            wait_for_quiet(deadline);
            let outcomes = self.turn(proxies, work, rate)?;
            if best.as_ref().is_none_or(|best| others(&outcomes) < others(best)) {
                best = Some(outcomes);
            }
            let is_disturbed = |outcomes: &[Outcome]| outcomes.iter().any(Outcome::is_disturbed);
            match best.take() {
                Some(best) if !is_disturbed(&best) || Instant::now() > deadline => return Ok(best),
                disturbed => best = disturbed,
            }
        }
    }

    /// Gives the outcomes in the order of the proxies. One that does not start fails alone; the report tells.
    fn turn(&self, proxies: &[Proxy], work: Work, rate: Option<f64>) -> io::Result<Vec<Outcome>> {
        let mut outcomes = vec![None; proxies.len()];
        let (mut aims, mut running) = (Vec::new(), Vec::new());
        for (&proxy, outcome) in proxies.iter().zip(&mut outcomes) {
            match self.start(proxy, work, rate)? {
                Ok((aim, started)) => {
                    aims.push(aim);
                    running.push(started);
                }
                Err(error) => *outcome = Some(Outcome::failed(error.to_string())),
            }
        }
        let end = || running.into_iter().for_each(Running::end);
        let worked = match &aims[..] {
            [] => Vec::new(),
            [aim] => vec![self.generator.run(aim, end)?],
            _ => self.generator.run_in_slices(&aims, end)?,
        };
        let mut worked = worked.into_iter();
        Ok(outcomes.into_iter().filter_map(|failed| failed.or_else(|| worked.next())).collect())
    }

    /// Starts a proxy, and tells what the load is to do with it; the inner error is the proxy's own.
    fn start(&self, proxy: Proxy, work: Work, rate: Option<f64>) -> io::Result<io::Result<(Aim, Running)>> {
        let listen: SocketAddr = free_address()?;
        let secure = match work.needs_tls() {
            true => Some((free_address()?, self.certificate)),
            false => None,
        };
        let origin = self.generator.origin();
        // Made anew each time: a cleaner of the temporary folder may come by in a long run.
        fs::create_dir_all(self.folder)?;
        let setup = Setup { origin, listen, secure, folder: self.folder, pinion: &self.plan.pinion };
        let running = match proxy.start(setup) {
            Ok(running) => running,
            Err(error) => return Ok(Err(error)),
        };
        let aim = Aim {
            work,
            target: running.address(),
            secure: secure.map(|(address, certificate)| Secured { address, trust: certificate.trust() }),
            process: running.process(),
            forwarded_fields: proxy.forwarded_fields(),
            warmup: (self.plan.window / 2).clamp(WARMUP_MIN, WARMUP_MAX),
            window: self.plan.window,
            rate,
        };
        Ok(Ok((aim, running)))
    }

    /// Samples Pinion, and the bare relay where it takes part, at each closed loop.
    fn profiles(&self) -> io::Result<Vec<Profile>> {
        let closed_loops = self.plan.works.iter().filter(|&&work| Figure::of(work) == [Figure::CpuUs]);
        let turns =
            closed_loops.flat_map(|&work| self.order(0, work).into_iter().map(move |proxy| (proxy, work)));
        let is_ours = |proxy: Proxy| matches!(proxy, Proxy::Pinion | Proxy::Relay(_));
        turns
            .filter(|&(proxy, _)| self.plan.profiles && is_ours(proxy))
            .map(|(proxy, work)| self.profile(proxy, work))
            .collect()
    }

    /// One turn that is sampled, and counted nowhere else.
    fn profile(&self, proxy: Proxy, work: Work) -> io::Result<Profile> {
        eprintln!("profile {work:>9} {proxy}");
        wait_for_quiet(Instant::now() + self.plan.patience);
        let (aim, running) = match self.start(proxy, work, None)? {
            Ok(started) => started,
            Err(error) => return Ok(Profile { proxy, work, cpu_us: 0.0, stacks: Err(error.to_string()) }),
        };
        let process = aim.process.ok_or_else(|| "it has no process".to_owned());
        // It must not outlast the load.
        let length = aim.window * 3 / 4;
        let recorder = process.and_then(|id| Recorder::start(id, aim.warmup, length, self.folder));
        let outcome = self.generator.run(&aim, || running.end())?;
        let stacks = recorder.and_then(Recorder::finish);
        Ok(Profile { proxy, work, cpu_us: outcome.cpu_us_per_request().unwrap_or_default(), stacks })
    }

    /// The rate of the open loop, found by a closed loop on each peer; `None` if no latency is asked for.
    fn latency_rate(&self) -> io::Result<Option<f64>> {
        let latency = self.plan.works.iter().find(|work| matches!(work, Work::Latency { .. }));
        let Some(latency) = latency else { return Ok(None) };
        let is_real = |proxy: &Proxy| *proxy != Proxy::Direct;
        let has_peer = self.plan.proxies.iter().any(|proxy| proxy.is_peer());
        let mut slowest: Option<f64> = None;
        for &proxy in self.plan.proxies.iter().filter(|p| is_real(p) && (p.is_peer() || !has_peer)) {
            let work = Work::Http { connections: latency.clients() };
            for outcome in self.quiet_turn(&[proxy], work, None)? {
                eprintln!("peak    {:>9} {:<14} {}", "", proxy.to_string(), summary(&outcome));
                slowest = Some(slowest.map_or(outcome.rate(), |rate| rate.min(outcome.rate())));
            }
        }
        Ok(slowest.map(|rate| rate * LATENCY_LOAD))
    }
}

/// Waits until other work has left the machine alone for a moment, at most until `deadline`.
#[expect(clippy::disallowed_methods, reason = "not a core of the engine, and no async is running here")]
fn wait_for_quiet(deadline: Instant) {
    const MOMENT: Duration = Duration::from_millis(400);
    const OTHERS_QUIET: f64 = 0.06;
    while Instant::now() < deadline {
        let before = MachineReading::take();
        sleep(MOMENT);
        if MachineReading::take().others_since(&before, 0) < OTHERS_QUIET {
            return;
        }
    }
}

/// One line about a turn, for whoever watches.
fn summary(outcome: &Outcome) -> String {
    let mut line = String::new();
    if let Some(cpu) = outcome.cpu_us_per_request() {
        line += &format!(
            "{cpu:8.2} us/req {:9.0} req/s, core {:3.0} % busy, load {:3.0} %",
            outcome.rate(),
            outcome.busy() * 100.0,
            outcome.load_busy() * 100.0
        );
    }
    if outcome.is_disturbed() {
        line += &format!(", OTHERS {:.0} %", outcome.others * 100.0);
    }
    if let Some(kib) = outcome.session_kib {
        line += &format!("{kib:8.2} KiB/session");
    }
    if let Some(latency) = &outcome.latency {
        let us = |q| latency.value_at_quantile(q) as f64 / 1_000.0;
        line += &format!(", p50 {:.0} p99 {:.0} p99.9 {:.0} us", us(0.5), us(0.99), us(0.999));
    }
    if outcome.backlog > 0 {
        line += &format!(", {} due requests never sent", outcome.backlog);
    }
    if let Some(fault) = &outcome.first_fault {
        line += &format!(" FAULTS: {} ({fault})", outcome.faults);
    }
    line
}
