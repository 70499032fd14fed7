//! What one run of the generator shall do, and what it found.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Fault;
use super::measure::process::tree;
use super::tls::Secured;
use super::wire::Place;
use super::work::Work;

/// Above this share of the machine, other work makes a window doubtful.
const OTHERS_MAX: f64 = 0.08;

/// What one run does.
#[derive(Debug, Clone)]
pub struct Aim {
    /// Which kind of work.
    pub work: Work,
    /// Where the clients connect: the proxy, or the origin itself.
    pub target: SocketAddr,
    /// Where they connect for work over TLS; needed for such work only.
    pub secure: Option<Secured>,
    /// The process whose CPU time and memory count, with all that it started; none for the origin itself.
    pub process: Option<u32>,
    /// Fields that the proxy must have added to a request, checked once before the run.
    pub forwarded_fields: &'static [&'static str],
    /// Time at work before the window opens.
    pub warmup: Duration,
    /// Length of the measuring window.
    pub window: Duration,
    /// Requests per second of an open loop.
    pub rate: Option<f64>,
}

impl Aim {
    /// Where the clients of the work connect; those that shake hands during a storm are others.
    pub(crate) fn place(&self) -> Result<Place, Fault> {
        match self.work {
            Work::Storm { .. } => Ok(Place::Plain(self.target)),
            work if work.needs_tls() => self.secured().map(Place::Secure),
            _ => Ok(Place::Plain(self.target)),
        }
    }

    /// Where clients shake hands.
    pub(crate) fn secured(&self) -> Result<Secured, Fault> {
        self.secure.clone().ok_or(Fault::NoListener)
    }

    /// All processes of the proxy now. Asked for late, since a worker may start after the socket accepts.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.process.map_or_else(Vec::new, tree)
    }
}

/// What one run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests, or echoes, finished in the window.
    pub requests: u64,
    /// Length of the window as it was.
    pub seconds: f64,
    /// On-CPU nanoseconds of this process, generator and origin together.
    pub load_ns: u64,
    /// On-CPU nanoseconds of the proxy in the window; threads that ended in it make the figure doubtful.
    pub cpu_ns: u64,
    /// Threads of the proxy that ended in the window.
    pub threads_lost: usize,
    /// Answers and connections that were not right.
    pub faults: u64,
    /// The first of them.
    pub first_fault: Option<String>,
    /// Growth of `Pss` per idle session.
    pub session_kib: Option<f64>,
    /// Nanoseconds from due to answered, of an open loop.
    pub latency: Option<Histogram<u64>>,
    /// Share of the whole machine that other work took in the window.
    pub others: f64,
    /// Requests due but never taken: the rate was too high for this proxy.
    pub backlog: usize,
}

impl Outcome {
    /// Nothing measured yet.
    pub fn empty() -> Outcome {
        Outcome {
            requests: 0,
            seconds: 0.0,
            load_ns: 0,
            cpu_ns: 0,
            threads_lost: 0,
            faults: 0,
            first_fault: None,
            session_kib: None,
            latency: None,
            others: 0.0,
            backlog: 0,
        }
    }

    /// The proxy did not even start.
    pub fn failed(cause: String) -> Outcome {
        Outcome { faults: 1, first_fault: Some(cause), ..Outcome::empty() }
    }

    /// CPU microseconds of the proxy per finished request.
    pub fn cpu_us_per_request(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.cpu_ns as f64 / 1_000.0 / self.requests as f64)
    }

    /// Finished requests per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 }
    }

    /// Share of the window that the proxy's core was busy with it.
    pub fn busy(&self) -> f64 {
        self.share(self.cpu_ns)
    }

    /// Share of the window that the load's core was busy with the load.
    pub fn load_busy(&self) -> f64 {
        self.share(self.load_ns)
    }

    /// True if the figures must not be trusted as they stand.
    pub fn is_doubtful(&self) -> bool {
        let did_nothing = self.requests == 0 && self.session_kib.is_none();
        did_nothing || self.is_disturbed() || self.faults > 0 || self.threads_lost > 0 || self.backlog > 0
    }

    /// True if other work took so much of the machine that caches and sleeps were not the proxy's own.
    pub fn is_disturbed(&self) -> bool {
        self.others > OTHERS_MAX
    }

    fn share(&self, ns: u64) -> f64 {
        if self.seconds > 0.0 { ns as f64 / 1e9 / self.seconds } else { 0.0 }
    }
}
