//! The load: generator and origin in one thread, so that both sides of a test cost the same for every proxy.
//!
//! `peers` and `runtimes` call [`Generator::run`] once per turn. Each run builds its own ring, opens its clients,
//! warms up, and takes CPU time and counters at both ends of the window on the same thread, so that the time
//! spent belongs to exactly the requests counted. The thread must be pinned (see `crate::cores`) away from the
//! proxy's core. It is built on monoio, whose safe API gives io_uring: the load has to be about as cheap per
//! request as the fastest proxy.

pub(crate) mod answer;
mod client;
mod frame;
mod open;
mod origin;
mod session;
mod tally;
pub(crate) mod work;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use monoio::io::Canceller;
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::measure::cpu::CpuReading;
use crate::measure::memory::pss_kib;
use crate::measure::others::MachineReading;
use crate::measure::process::tree;
use answer::Fault;
use client::Ask;
use open::Schedule;
use origin::Origin;
use session::Session;
use tally::Tally;
use work::Work;

/// Submission entries: room for a send and a receive of every client and every origin connection at once.
const RING_ENTRIES: u32 = 16384;
/// How long clients may take to finish their last answer, and the proxy to let go of the origin.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Time for a fresh proxy, and for a crowd of new sessions, to come to rest before memory is read.
const MEMORY_REST: Duration = Duration::from_millis(700);
/// Above this share of the machine, other work makes a window doubtful.
const OTHERS_MAX: f64 = 0.08;
/// Every so many idle sessions one is used again after the reading, to prove that they were alive.
const IDLE_PROBE_STEP: usize = 40;

/// What one run does.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    pub(crate) work: Work,
    /// Where the clients connect: the proxy, or the origin itself.
    pub(crate) target: SocketAddr,
    /// The process whose CPU time and memory count, with all that it started; none for the origin itself.
    pub(crate) process: Option<u32>,
    /// Fields that the proxy must have added to a request, checked once before the run.
    pub(crate) forwarded_fields: &'static [&'static str],
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    /// Requests per second of an open loop.
    pub(crate) rate: Option<f64>,
}

impl Aim {
    /// All processes of the proxy now. Asked for late, since a worker may start after the socket accepts.
    fn processes(&self) -> Vec<u32> {
        self.process.map_or_else(Vec::new, tree)
    }
}

/// What one run found.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// On-CPU nanoseconds of this process, generator and origin together.
    pub(crate) load_ns: u64,
    /// On-CPU nanoseconds of the proxy in the window; threads that ended in it make the figure doubtful.
    pub(crate) cpu_ns: u64,
    pub(crate) threads_lost: usize,
    pub(crate) faults: u64,
    pub(crate) first_fault: Option<String>,
    /// Growth of `Pss` per idle session.
    pub(crate) session_kib: Option<f64>,
    pub(crate) latency: Option<Histogram<u64>>,
    /// Share of the whole machine that other work took in the window.
    pub(crate) others: f64,
    /// Requests due but never taken: the rate was too high for this proxy.
    pub(crate) backlog: usize,
}

impl Outcome {
    /// Nothing measured yet.
    pub(crate) fn empty() -> Outcome {
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
    pub(crate) fn failed(cause: String) -> Outcome {
        Outcome { faults: 1, first_fault: Some(cause), ..Outcome::empty() }
    }

    /// CPU microseconds of the proxy per finished request.
    pub(crate) fn cpu_us_per_request(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.cpu_ns as f64 / 1_000.0 / self.requests as f64)
    }

    /// Finished requests per second.
    pub(crate) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.requests as f64 / self.seconds } else { 0.0 }
    }

    /// Share of the window that the proxy's core was busy with it.
    pub(crate) fn busy(&self) -> f64 {
        self.share(self.cpu_ns)
    }

    /// Share of the window that the load's core was busy with the load.
    pub(crate) fn load_busy(&self) -> f64 {
        self.share(self.load_ns)
    }

    /// True if the figures must not be trusted as they stand.
    pub(crate) fn is_doubtful(&self) -> bool {
        let did_nothing = self.requests == 0 && self.session_kib.is_none();
        did_nothing || self.is_disturbed() || self.faults > 0 || self.threads_lost > 0 || self.backlog > 0
    }

    /// True if other work took so much of the machine that caches and sleeps were not the proxy's own.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others > OTHERS_MAX
    }

    fn share(&self, ns: u64) -> f64 {
        if self.seconds > 0.0 { ns as f64 / 1e9 / self.seconds } else { 0.0 }
    }
}

/// The origin's listening socket, kept over all runs so that every proxy finds it at the same address.
pub(crate) struct Generator {
    listener: std::net::TcpListener,
    origin: SocketAddr,
}

impl Generator {
    /// Binds the origin to a free loopback port.
    pub(crate) fn bind() -> io::Result<Generator> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // The standard library listens with a backlog of 128; listening again widens it.
        rustix::net::listen(&listener, 4096)?;
        let origin = listener.local_addr()?;
        Ok(Generator { listener, origin })
    }

    /// Where the origin listens.
    pub(crate) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Runs one piece of work; `end` must end the proxy, so that its origin connections close.
    pub(crate) fn run(&self, aim: &Aim, end: impl FnOnce()) -> io::Result<Outcome> {
        // An open loop polls the ring without waiting, which never runs deferred work.
        let waits = !matches!(aim.work, Work::Latency { .. });
        let mut ring = io_uring::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun();
        if waits {
            ring.setup_defer_taskrun();
        }
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(ring)
            .with_entries(RING_ENTRIES)
            .enable_timer()
            .build()?;
        runtime.block_on(self.run_on_ring(aim, end))
    }

    async fn run_on_ring(&self, aim: &Aim, end: impl FnOnce()) -> io::Result<Outcome> {
        let origin = Origin::new();
        let canceller = Canceller::new();
        let listener = monoio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let accepting = monoio::spawn(Rc::clone(&origin).accept_all(listener, canceller.handle()));
        let tally = Rc::new(Tally::new());

        let outcome = match check_forwarding(aim).await {
            Ok(()) => work_on(aim, &tally).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &outcome {
            tally.fault(fault);
        }
        tally.stop();
        wait_until(|| tally.clients() == 0).await;
        end();
        wait_until(|| origin.open() == 0).await;
        canceller.cancel();
        accepting.await;

        let (faults, first_fault) = tally.faults();
        Ok(Outcome { faults, first_fault, ..outcome.unwrap_or_else(|_| Outcome::empty()) })
    }
}

async fn check_forwarding(aim: &Aim) -> Result<(), Fault> {
    if aim.forwarded_fields.is_empty() {
        return Ok(());
    }
    client::missing_fields(aim.target, aim.forwarded_fields).await
}

async fn work_on(aim: &Aim, tally: &Rc<Tally>) -> Result<Outcome, Fault> {
    match aim.work {
        Work::Idle { sessions } => return rest_idle(aim, sessions).await,
        Work::Latency { .. } => return keep_rate(aim, tally).await,
        Work::Http { .. } | Work::Body { .. } => {
            let ask = Ask::new(aim.work.body_len(), false);
            for stream in client::connect_all(aim.target, aim.work.clients()).await? {
                monoio::spawn(client::keep_asking(stream, ask, Rc::clone(tally)));
            }
        }
        Work::Connect { at_once } => {
            let ask = Ask::new(aim.work.body_len(), true);
            for _ in 0..at_once {
                monoio::spawn(client::keep_connecting(aim.target, ask, Rc::clone(tally)));
            }
        }
        Work::WebSocket { sessions } => {
            // All open before any works: an upgrade would wait its turn behind every session that echoes.
            let mut open = Vec::with_capacity(sessions);
            for number in 0..sessions {
                open.push(Session::open(aim.target, number as u64).await?);
            }
            for session in open {
                monoio::spawn(session::keep_echoing(session, Rc::clone(tally)));
            }
        }
    }
    monoio::time::sleep(aim.warmup).await;
    let window = Window::open(aim, tally);
    monoio::time::sleep(aim.window).await;
    Ok(window.close(tally))
}

/// The start of a measuring window.
struct Window {
    pids: Vec<u32>,
    cpu: CpuReading,
    load: CpuReading,
    machine: MachineReading,
    finished: u64,
    start: Instant,
}

impl Window {
    fn open(aim: &Aim, tally: &Tally) -> Window {
        let pids = aim.processes();
        let load = CpuReading::take(&[std::process::id()]);
        let (cpu, machine) = (CpuReading::take(&pids), MachineReading::take());
        Window { pids, cpu, load, machine, finished: tally.finished(), start: Instant::now() }
    }

    fn close(self, tally: &Tally) -> Outcome {
        let requests = tally.finished() - self.finished;
        let spent = CpuReading::take(&self.pids).since(&self.cpu);
        let load_ns = CpuReading::take(&[std::process::id()]).since(&self.load).ns;
        Outcome {
            requests,
            seconds: self.start.elapsed().as_secs_f64(),
            load_ns,
            cpu_ns: spent.ns,
            others: MachineReading::take().others_since(&self.machine, spent.ns + load_ns),
            threads_lost: spent.threads_lost,
            ..Outcome::empty()
        }
    }
}

/// Requests at a fixed rate: a warm-up at that rate, then the window.
async fn keep_rate(aim: &Aim, tally: &Rc<Tally>) -> Result<Outcome, Fault> {
    let interval = Duration::from_secs_f64(1.0 / aim.rate.unwrap_or(1_000.0));
    let ask = Ask::new(aim.work.body_len(), false);
    let schedule = Rc::new(Schedule::new());
    for stream in client::connect_all(aim.target, aim.work.clients()).await? {
        monoio::spawn(client::keep_schedule(stream, ask, Rc::clone(tally), Rc::clone(&schedule)));
    }
    dispatch(&schedule, interval, aim.warmup).await;
    tally.count_latency(true);
    let window = Window::open(aim, tally);
    dispatch(&schedule, interval, aim.window).await;
    let mut outcome = window.close(tally);
    // What fell due in the window counts, however late it is answered.
    wait_until(|| schedule.backlog() == 0).await;
    outcome.backlog = schedule.backlog();
    schedule.end();
    wait_until(|| tally.clients() == 0).await;
    tally.count_latency(false);
    outcome.latency = Some(tally.latencies());
    Ok(outcome)
}

/// Runs the dispatcher as a task of its own: the runtime would poll its main future again and again without a
/// turn for the tasks.
async fn dispatch(schedule: &Rc<Schedule>, interval: Duration, length: Duration) {
    let schedule = Rc::clone(schedule);
    monoio::spawn(async move { schedule.dispatch(interval, length).await }).await;
}

/// Memory of sessions that have echoed once and then rest.
async fn rest_idle(aim: &Aim, count: usize) -> Result<Outcome, Fault> {
    monoio::time::sleep(MEMORY_REST).await;
    let pids = aim.processes();
    let before = pss_kib(&pids);
    let mut sessions = Vec::with_capacity(count);
    for number in 0..count {
        let mut session = Session::open(aim.target, number as u64).await?;
        session.echo().await?;
        sessions.push(session);
    }
    monoio::time::sleep(MEMORY_REST).await;
    let after = pss_kib(&pids);
    for session in sessions.iter_mut().step_by(IDLE_PROBE_STEP) {
        session.echo().await?;
    }
    let session_kib = after.saturating_sub(before) as f64 / count as f64;
    Ok(Outcome { session_kib: Some(session_kib), ..Outcome::empty() })
}

/// Waits for `condition`, at most [`END_PATIENCE`].
async fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + END_PATIENCE;
    while !condition() && Instant::now() < deadline {
        monoio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::thread;

    use super::*;

    fn aim(work: &str, target: SocketAddr) -> Aim {
        Aim {
            work: work.parse().expect("a known work"),
            target,
            process: None,
            forwarded_fields: &[],
            warmup: Duration::from_millis(20),
            window: Duration::from_millis(100),
            rate: Some(2_000.0),
        }
    }

    #[test]
    fn every_work_runs_clean_against_the_origin_itself() {
        let generator = Generator::bind().expect("a port is free");
        for work in ["http8", "ws8", "connect4", "body64k", "body1m", "idle20", "latency4"] {
            let aim = aim(work, generator.origin());
            let outcome = generator.run(&aim, || ()).expect("the ring opens");
            assert_eq!(outcome.first_fault, None, "{work}");
            assert!(outcome.requests > 0 || outcome.session_kib.is_some(), "{work}");
            assert_eq!(outcome.backlog, 0, "{work}");
            assert_eq!(
                outcome.latency.is_some_and(|latency| !latency.is_empty()),
                work == "latency4",
                "{work}"
            );
        }
    }

    #[test]
    fn missing_forwarded_fields_are_a_fault() {
        let generator = Generator::bind().expect("a port is free");
        let aim = Aim { forwarded_fields: &["Host", "Via"], ..aim("http1", generator.origin()) };
        let outcome = generator.run(&aim, || ()).expect("the ring opens");
        assert_eq!(outcome.first_fault.as_deref(), Some("forwarded request lacks Via"));
        assert!(outcome.is_doubtful());
    }

    /// A server that answers each request with `answer`, whatever was asked.
    fn liar(answer: Vec<u8>) -> SocketAddr {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 1024];
                while stream.read(&mut request).is_ok_and(|read| read > 0)
                    && stream.write_all(&answer).is_ok()
                {}
            }
        });
        address
    }

    #[test]
    fn wrong_answers_are_faults() {
        let right = answer::wire(128);
        let mut wrong_body = right.clone();
        *wrong_body.last_mut().expect("the answer is not empty") ^= 1;
        let doubled = [right.clone(), right.clone()].concat();
        let other_length = answer::wire(64);
        let refused = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec();
        let generator = Generator::bind().expect("a port is free");
        for (name, answer, is_fault) in [
            ("right", right, false),
            ("wrong body", wrong_body, true),
            ("doubled", doubled, true),
            ("other length", other_length, true),
            ("refused", refused, true),
        ] {
            let outcome = generator.run(&aim("http1", liar(answer)), || ()).expect("the ring opens");
            assert_eq!(outcome.faults > 0, is_fault, "{name}");
        }
    }
}
