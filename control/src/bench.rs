//! Runs `pinion bench`: joins the command line with the crate `load`. The only file of `control` that names it.
//!
//! Exit codes: 0 there are figures, 1 the server could not be reached or nothing was answered, 2 the command line.

use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use config_core::model::Cores;
use control::cli::bench::report::{self, Bar, Latency, PERCENTILES, Report};
use control::cli::bench::{BenchFlags, MESSAGE_BYTES, Scheme, Target};
use control::screen::print;
use control::signals::{self, Event};
use load::bench::{Ask, Bench, BenchWork, Failure, Figures, Messages, Place, Plan};

use crate::bootstrap::{EXIT_CONFIGURATION, fail, fail_with};

/// How often to look for a signal and whether it is done.
const LOOK: Duration = Duration::from_millis(50);
/// How often the progress line is written anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Measures, prints, and says how to exit.
pub(crate) fn run(flags: &BenchFlags) -> ExitCode {
    if let Err(problem) = flags.check() {
        return fail_with(EXIT_CONFIGURATION, &problem);
    }
    let (sender, events) = mpsc::channel();
    if let Err(error) = signals::follow(sender) {
        return fail(&format!("signals cannot be followed: {error}"));
    }
    let plan = match plan(flags) {
        Ok(plan) => plan,
        Err(reason) => return fail(&reason),
    };
    let bench = match Bench::start(&plan) {
        Ok(bench) => bench,
        Err(error) => return fail(&error.to_string()),
    };
    let was_stopped = watch(&bench, &events);
    let driver = bench.driver().unwrap_or_default().to_owned();
    let figures = match bench.finish() {
        Ok(figures) => figures,
        Err(error) => return fail(&error.to_string()),
    };
    let report = Report { driver, was_stopped, ..report_of(flags, &plan, &figures) };
    print(&if flags.json { format!("{}\n", report.json()) } else { report.text() });
    if figures.answered > 0 { ExitCode::SUCCESS } else { fail("nothing was answered") }
}

/// Finds the server and puts the plan together.
fn plan(flags: &BenchFlags) -> Result<Plan, String> {
    let target = &flags.url;
    let place = Place {
        authority: target.authority.clone(),
        path: target.path.clone(),
        fields: flags.headers.clone(),
    };
    let work = match target.scheme {
        Scheme::Http => BenchWork::Http(Ask {
            method: flags.method.clone().unwrap_or_else(|| "GET".to_owned()),
            body: flags.body.clone().unwrap_or_default().into_bytes(),
        }),
        Scheme::WebSocket => BenchWork::WebSocket(Messages {
            bytes: flags.message_bytes.unwrap_or(MESSAGE_BYTES) as usize,
            is_text: flags.text,
        }),
    };
    // Without it, many connections fail with a clear error.
    let _ = load::raise_open_files();
    Ok(Plan {
        address: find(target, flags.timeout)?,
        place,
        work,
        connections: flags.connections,
        threads: threads(flags.cores.as_ref(), flags.connections),
        duration: flags.duration,
        rate: flags.rate,
        timeout: flags.timeout,
    })
}

/// The first address of the name that takes a connection.
fn find(target: &Target, timeout: Duration) -> Result<SocketAddr, String> {
    let resolved = (&*target.host, target.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> =
        resolved.map_err(|error| format!("{} cannot be resolved: {error}", target.host))?.collect();
    load::bench::probe(&addresses, timeout)
        .map_err(|error| format!("{} cannot be reached: {error}", target.url))
}

/// One thread for each processor asked for, at most one for each connection.
fn threads(cores: Option<&Cores>, connections: usize) -> Vec<Option<usize>> {
    let mut threads: Vec<Option<usize>> = match cores {
        None => vec![None],
        Some(Cores::Auto) => load::bench::processors().into_iter().map(Some).collect(),
        Some(Cores::Count(count)) => load::bench::processors().into_iter().map(Some).take(*count).collect(),
        Some(Cores::List(list)) => list.iter().copied().map(Some).collect(),
    };
    threads.truncate(connections);
    threads
}

/// Waits until the bench is done, tells its progress, and ends it when the operator says so; true if that was early.
fn watch(bench: &Bench, events: &Receiver<Event>) -> bool {
    let mut line = ProgressLine::new();
    let mut was_stopped = false;
    while !bench.is_finished() {
        match events.recv_timeout(LOOK) {
            Ok(Event::Stop) if was_stopped => std::process::exit(1),
            Ok(Event::Stop) => {
                was_stopped = true;
                bench.stop();
            }
            // All other signals are for a proxy.
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            // No signal will come any more; the bench ends by itself.
            Err(RecvTimeoutError::Disconnected) => return was_stopped,
        }
        line.update(bench);
    }
    line.clear();
    was_stopped
}

/// The line on a terminal's standard error that is written over and over.
struct ProgressLine {
    is_shown: bool,
    sending_since: Option<Instant>,
    last: (Instant, u64),
}

impl ProgressLine {
    fn new() -> ProgressLine {
        let is_shown = std::io::stderr().is_terminal();
        ProgressLine { is_shown, sending_since: None, last: (Instant::now(), 0) }
    }

    fn update(&mut self, bench: &Bench) {
        let now = Instant::now();
        if !self.is_shown || now.duration_since(self.last.0) < PROGRESS_EVERY {
            return;
        }
        let progress = bench.progress();
        let text = if progress.is_sending {
            let since = *self.sending_since.get_or_insert(self.last.0);
            let answered_since = progress.answered.saturating_sub(self.last.1);
            let per_second = answered_since as f64 / now.duration_since(self.last.0).as_secs_f64();
            let seconds = now.duration_since(since).as_secs_f64();
            report::progress(seconds, progress.answered, per_second, progress.failures)
        } else {
            format!("opening connections, {} errors", progress.failures)
        };
        self.last = (now, progress.answered);
        // If nobody can read it, nothing is lost.
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn report_of(flags: &BenchFlags, plan: &Plan, figures: &Figures) -> Report {
    let failures = Failure::ALL.iter().zip(figures.failures);
    let spent_s = figures.cpu_ns as f64 / 1e9 / plan.threads.len() as f64;
    Report {
        url: flags.url.url.clone(),
        is_websocket: flags.url.scheme == Scheme::WebSocket,
        connections: plan.connections,
        threads: plan.threads.len(),
        driver: String::new(),
        rate: plan.rate,
        was_stopped: false,
        seconds: figures.seconds,
        sent: figures.sent,
        answered: figures.answered,
        answered_in_time: figures.answered_in_time,
        failed: figures.failed,
        unfinished: figures.unfinished(),
        overdue: figures.overdue,
        statuses: figures.statuses,
        failures: failures
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.name(), count))
            .collect(),
        first_failure: figures.first_failure.clone(),
        connections_opened: figures.connections,
        bytes: figures.bytes,
        busy: if figures.seconds > 0.0 { spent_s / figures.seconds } else { 0.0 },
        latency: (figures.answered > 0).then(|| latency_of(figures)),
    }
}

fn latency_of(figures: &Figures) -> Latency {
    let (min_ns, mean_ns) = figures.latency_min_and_mean_ns();
    let max_ns = figures.latency_ns(1.0);
    let mut below = 0;
    let bars = report::bounds_ns(min_ns, max_ns).into_iter().map(|up_to_ns| {
        let up_to = figures.answers_up_to_ns(up_to_ns);
        let count = up_to - std::mem::replace(&mut below, up_to);
        Bar { up_to_ns, count }
    });
    let bars = bars.collect();
    Latency {
        min_ns,
        mean_ns,
        max_ns,
        percentiles_ns: PERCENTILES.map(|share| figures.latency_ns(share)),
        bars,
    }
}
