//! `bench changes`: one changed route among 100,000, a thousand times a second. How long from the commit to its effect on
//! every core, and what the clients notice of it.
//!
//! The data plane runs in this process, as an embedder has it. What must hold: every answer is checked; rounds with and
//! without changes take turns, so that other work on the machine meets both.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use config_core::model::Field;
use config_core::{ProxyConfig, RouteId};
use engine::ProxyServer;
use hdrhistogram::Histogram;
use load::measure::cpu::CpuReading;
use load::measure::others::MachineReading;
use load::{Aim, Generator, Outcome};

use crate::cores;
use crate::machine::Machine;

const ROUTES: usize = 100_000;
/// Between two changes: a thousand in each second.
const INTERVAL: Duration = Duration::from_millis(1);
/// Changes of the part without load.
const QUIET_CHANGES: u32 = 3_000;
/// Rounds, each with a window of each kind.
const ROUNDS: usize = 120;
/// Short, so that a stall of the machine is in one of many, and what lasts longer is in all of a round.
const WINDOW: Duration = Duration::from_millis(200);
/// A part that other work disturbed is done so often at most.
const TRIES: usize = 3;
/// Above this share of the machine, other work disturbs.
const OTHERS_MAX: f64 = 0.08;
const WARMUP: Duration = Duration::from_millis(100);
/// Requests per second: an open loop that leaves both processors time to spare.
const RATE: f64 = 10_000.0;
/// What the product promises of a change, from its commit to its effect on the last core.
const EFFECT_US_MAX: f64 = 1_000.0;
/// How long a core may take at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The route that the load asks for: every second change is one of it.
const ASKED: &str = "asked";

/// The configuration as it runs, and who publishes it.
struct Changer {
    config: ProxyConfig,
    server: ProxyServer,
    epoch: u32,
    took: Took,
    /// The same of changes by a thread that does not give way.
    took_as_equal: Took,
}

/// What goes on beside the load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// The same once more: what differs from [`Beside::Nothing`] is noise.
    NothingAgain,
    /// By a thread with the core's own niceness.
    ChangesAsEqual,
    /// By one that gives way to the core, as the product does it.
    Changes,
}

impl Beside {
    const ALL: [Beside; 4] = [Beside::Nothing, Beside::NothingAgain, Beside::ChangesAsEqual, Beside::Changes];

    fn title(self) -> &'static str {
        match self {
            Beside::Nothing => "no changes",
            Beside::NothingAgain => "no changes, once more",
            Beside::ChangesAsEqual => "1,000 changes/s by a thread as important as the core",
            Beside::Changes => "1,000 changes/s",
        }
    }
}

/// Nanoseconds of each change.
struct Took {
    /// A route edited, and the snapshot made.
    edit: Histogram<u64>,
    /// `Publish::prepare`.
    prepare: Histogram<u64>,
    /// From the call of `Publish::commit` to the last core having noted the epoch.
    effect: Histogram<u64>,
}

/// The report, and the date to save it under.
///
/// # Errors
/// When the server or the load cannot run.
pub(crate) fn report() -> io::Result<(String, String)> {
    let machine = Machine::read();
    let generator = Generator::bind()?;
    load::raise_open_files()?;
    let begun = Instant::now();
    let config = config(generator.origin())?;
    let built = begun.elapsed();

    let begun = Instant::now();
    let mut changer = Changer::start(config.clone(), "auto")?;
    let (started, count) = (begun.elapsed(), changer.server.cores().len());
    let mut disturbed = changer.change_in_quiet()?;
    for _ in 1..TRIES {
        if disturbed > OTHERS_MAX {
            changer.took = Took::new();
            disturbed = changer.change_in_quiet()?;
        }
    }
    let quiet = changer.took;
    drop(changer.server);

    let priority = cores::raise_priority(false);
    let only = format!("{0}-{0}", cores::PROXY_CORE);
    let mut changer = Changer::start(config, &only)?;
    // Only now: a server starts on processors that its caller may use.
    cores::pin_to_load_core()?;
    let mut windows = Vec::new();
    for round in 0..ROUNDS {
        for turn in 0..Beside::ALL.len() {
            let beside = Beside::ALL[(round + turn) % Beside::ALL.len()];
            let mut outcome = changer.window(&generator, beside)?;
            for _ in 1..TRIES {
                if outcome.is_disturbed() {
                    outcome = changer.window(&generator, beside)?;
                }
            }
            windows.push((beside, outcome));
        }
    }
    let mut text = format!("# Hot change, {}\n\n", machine.date);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "Commit {}, {}, {} processors, Linux {}, load average before {}. `cargo x bench changes`: {ROUTES} routes (read and \
         validated in {:.1} s, compiled and started in {:.1} s); each change sets a field of one route's answers, every other \
         time of the route that the load asks for, else of another one. {priority}.\n\n",
        machine.commit,
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.load,
        built.as_secs_f64(),
        started.as_secs_f64(),
    );
    let _ = writeln!(text, "## From a change to its effect, µs\n\n{TOOK_HEAD}");
    let remark = if disturbed > OTHERS_MAX { " (disturbed by other work)" } else { "" };
    quiet.write(&mut text, &format!("{count} cores, no requests{remark}"));
    changer.took.write(&mut text, &format!("1 core, {RATE:.0} requests/s"));
    changer
        .took_as_equal
        .write(&mut text, &format!("1 core, {RATE:.0} requests/s, as important as the core"));
    let effect = |took: &Took| us(&took.effect, 0.99);
    let worst = effect(&quiet).max(effect(&changer.took));
    let verdict = if worst <= EFFECT_US_MAX { "met" } else { "**missed**" };
    let _ = writeln!(
        text,
        "\n*Edit* is the route put and the snapshot made, on the control plane; *prepare* compiles; *effect* is from the commit \
         to the last core having noted the epoch. Target: at most {EFFECT_US_MAX:.0} µs; {verdict} (p99 {worst:.0} µs).",
    );
    write_windows(&mut text, &windows);
    Ok((text, machine.date))
}

const TOOK_HEAD: &str = "| | changes | edit p50 | p99 | prepare p50 | p99 | effect p50 | p99 | max |\n\
                         |---|---|---|---|---|---|---|---|---|";

impl Took {
    fn new() -> Took {
        let empty =
            || Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("the bounds are constant and right");
        Took { edit: empty(), prepare: empty(), effect: empty() }
    }

    fn write(&self, text: &mut String, what: &str) {
        let pair = |of: &Histogram<u64>| format!("{:.1} | {:.1}", us(of, 0.5), us(of, 0.99));
        let _ = writeln!(
            text,
            "| {what} | {} | {} | {} | {} | {:.1} |",
            self.effect.len(),
            pair(&self.edit),
            pair(&self.prepare),
            pair(&self.effect),
            us(&self.effect, 1.0),
        );
    }
}

impl Changer {
    fn start(config: ProxyConfig, cores: &str) -> io::Result<Changer> {
        let mut config = config;
        let cores = format!(r#"{{"server": {{"cores": "{cores}"}}}}"#);
        config.update(&cores).map_err(io::Error::other)?;
        let mut server = ProxyServer::new(config.snapshot(1));
        server.start().map_err(io::Error::other)?;
        Ok(Changer { config, server, epoch: 1, took: Took::new(), took_as_equal: Took::new() })
    }

    /// Changes without load; returns how much of the machine other work took.
    fn change_in_quiet(&mut self) -> io::Result<f64> {
        let own = || CpuReading::take(&[std::process::id()]);
        let (before, cpu) = (MachineReading::take(), own());
        self.change_many(QUIET_CHANGES, &AtomicBool::new(false))?;
        Ok(MachineReading::take().others_since(&before, own().since(&cpu).ns))
    }

    /// Changes once a millisecond, until it is told to stop or has done so `count` times.
    fn change_many(&mut self, count: u32, stop: &AtomicBool) -> io::Result<()> {
        let mut next = Instant::now();
        for _ in 0..count {
            while let Some(pause) = next.checked_duration_since(Instant::now()) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::park_timeout(pause);
            }
            // Who is late does not catch up: changes in a burst are another load.
            next = (next + INTERVAL).max(Instant::now());
            self.change()?;
        }
        Ok(())
    }

    fn change(&mut self) -> io::Result<()> {
        let publisher = self.server.publisher().ok_or_else(|| io::Error::other("it does not run"))?;
        let status = self.server.status().ok_or_else(|| io::Error::other("it does not run"))?;
        self.epoch += 1;
        let begun = Instant::now();
        let id = match self.epoch % 2 {
            0 => RouteId::new(ASKED),
            // A prime: one after another in no order.
            _ => RouteId::new(&format!("r{}", self.epoch as usize * 7_919 % ROUTES)),
        };
        let known = self.config.model().routes.get(&id).ok_or_else(|| io::Error::other("no such route"))?;
        let mut route = (**known).clone();
        route.response_headers = vec![Field { name: "X-Epoch".to_owned(), value: self.epoch.to_string() }];
        self.config.put_route(route).map_err(io::Error::other)?;
        let snapshot = self.config.snapshot(self.epoch);
        let edited = Instant::now();
        let prepared = publisher.prepare(snapshot).map_err(io::Error::other)?;
        let ready = Instant::now();
        publisher.commit(prepared);
        let cores = self.server.cores().len();
        while status.status().cores_on_epoch() < cores {
            if ready.elapsed() > PATIENCE {
                return Err(io::Error::other("a core does not adopt the table"));
            }
            // A core may need the processor that we are on.
            thread::yield_now();
        }
        let effective = ready.elapsed();
        note(&mut self.took.edit, edited - begun);
        note(&mut self.took.prepare, ready - edited);
        note(&mut self.took.effect, effective);
        Ok(())
    }

    /// One window of the load, with changes beside it or without.
    fn window(&mut self, generator: &Generator, beside: Beside) -> io::Result<Outcome> {
        let target = self.server.addresses()[0];
        let aim = Aim {
            work: "latency".parse().expect("a known work"),
            target,
            secure: None,
            process: None,
            forwarded_fields: &[],
            warmup: WARMUP,
            window: WINDOW,
            rate: Some(RATE),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        thread::scope(|scope| {
            let changes = scope.spawn(|| {
                // Beside the core, as on a machine where every processor has one: the load never sleeps.
                cores::pin_to(cores::PROXY_CORE)?;
                match beside {
                    Beside::Nothing | Beside::NothingAgain => Ok(()),
                    Beside::ChangesAsEqual => {
                        std::mem::swap(&mut self.took, &mut self.took_as_equal);
                        let done = self.change_many(u32::MAX, &stop);
                        std::mem::swap(&mut self.took, &mut self.took_as_equal);
                        done
                    }
                    Beside::Changes => {
                        engine::io::give_way();
                        self.change_many(u32::MAX, &stop)
                    }
                }
            });
            // The proxy goes on: its idle connections to the origin end with the run's.
            let outcome = generator.run(&aim, move || told.store(true, Ordering::Relaxed));
            stop.store(true, Ordering::Relaxed);
            changes.join().map_err(|_| io::Error::other("the changes ended by panic"))??;
            outcome
        })
    }
}

fn config(origin: SocketAddr) -> io::Result<ProxyConfig> {
    let mut json = String::with_capacity(ROUTES * 96);
    // Idle connections to the origin end soon after a window does: the generator waits for that.
    json.push_str(r#"{"server": {"listen": ["127.0.0.1:0"]}, "pool": {"idleTimeoutMs": 250}, "route": ["#);
    for number in 0..ROUTES {
        let _ = write!(
            json,
            r#"{{"id": "r{number}", "vHost": "h{number}.example", "backends": [{{"url": "http://{origin}"}}]}},"#
        );
    }
    let _ =
        write!(json, r#"{{"id": "{ASKED}", "vHost": "*", "backends": [{{"url": "http://{origin}"}}]}}]}}"#);
    ProxyConfig::from_json(&json).map_err(io::Error::other)
}

fn write_windows(text: &mut String, windows: &[(Beside, Outcome)]) {
    let _ = writeln!(
        text,
        "\n## What clients notice\n\nAn open loop of {RATE:.0} requests/s over 64 connections, each answer checked, corrected for \
         coordinated omission; proxy and the thread that publishes on processor {}, load and origin on \
         processor {}, which never sleeps. {ROUNDS} windows of {} ms each, in turns; one that other work disturbed is repeated. \
         Medians of the windows, and between which values the middle half of them lies; *to none*: the median of what a round's \
         p99 is to that without changes, and the 95 % interval of that median.\n\n\
         | beside the load | p50 µs | p99 µs | middle half | to none | p99.9 µs | requests | faults | windows disturbed by other work |\n\
         |---|---|---|---|---|---|---|---|---|",
        cores::PROXY_CORE,
        cores::LOAD_CORE,
        WINDOW.as_millis(),
    );
    let mut none = None;
    for beside in Beside::ALL {
        let own: Vec<&Outcome> =
            windows.iter().filter(|(what, _)| *what == beside).map(|(_, own)| own).collect();
        let each = |quantile: f64| -> Vec<f64> {
            // A window that failed has none, and keeps its place beside the others of its round.
            let read = |latency| us(latency, quantile);
            own.iter().map(|outcome| outcome.latency.as_ref().map_or(f64::NAN, read)).collect()
        };
        let p99 = each(0.99);
        let none = none.get_or_insert_with(|| p99.clone());
        let [ratio, low, high] =
            median_and_interval(p99.iter().zip(none.iter()).map(|(own, none)| own / none).collect());
        let disturbed = own.iter().filter(|outcome| outcome.is_disturbed() || outcome.backlog > 0).count();
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0}–{:.0} | {ratio:.2} ({low:.2}–{high:.2}) | {:.0} | {} | {} | {disturbed} |",
            beside.title(),
            at_share(each(0.5), 0.5),
            at_share(p99.clone(), 0.5),
            at_share(p99.clone(), 0.25),
            at_share(p99, 0.75),
            at_share(each(0.999), 0.5),
            own.iter().map(|outcome| outcome.requests).sum::<u64>(),
            own.iter().map(|outcome| outcome.faults).sum::<u64>(),
        );
    }
    if let Some(fault) = windows.iter().find_map(|(_, outcome)| outcome.first_fault.as_ref()) {
        let _ = writeln!(text, "\nFirst fault: {fault}.");
    }
}

fn note(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

fn us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// The median, and between which of the values that of all such values lies with a certainty of 95 %: by their ranks, whatever
/// their distribution is.
fn median_and_interval(values: Vec<f64>) -> [f64; 3] {
    let half_width = 0.98 / (values.len().max(1) as f64).sqrt();
    [0.5, 0.5 - half_width, 0.5 + half_width].map(|share| at_share(values.clone(), share))
}

/// The value below which this share of them lies.
fn at_share(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * share) as usize).copied().unwrap_or_default()
}
