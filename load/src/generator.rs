//! The generator: clients and origin in one thread, so that both sides of a test cost the same for every proxy.
//!
//! `bench` calls [`Generator::run`] once per turn. Each run builds its own ring, opens its clients, warms up, and takes
//! CPU time and counters at both ends of the window on the same thread, so that the time spent belongs to exactly the
//! requests counted. The thread must be pinned away from the proxy's core. It runs on the engine's own loop: the load
//! has to be cheaper per request than the fastest proxy, or it is the load that gets measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::io::{Bound, Choice, Options, Runtime, TcpListener, TcpOptions, sleep, spawn};

use super::aim::{Aim, Outcome};
use super::answer::Fault;
use super::client::{self, Ask};
use super::measure::cpu::CpuReading;
use super::measure::memory::pss_kib;
use super::measure::others::MachineReading;
use super::open::{Pace, Schedule};
use super::origin::{Answers, Origin};
use super::session::{self, Session};
use super::slices;
use super::storm::Storm;
use super::tally::Tally;
use super::wire::Place;
use super::work::Work;

/// Connections that may wait for the origin to accept them.
const BACKLOG: u32 = 4096;
/// How long clients may take to finish their last answer, and the proxy to let go of the origin.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Time for a fresh proxy, and for a crowd of new sessions, to come to rest before memory is read.
const MEMORY_REST: Duration = Duration::from_millis(700);
/// Plain requests per second during a storm, and the connections that they may use: few enough for the load's core to keep
/// most of its time for the storm.
const STORM_RATE: f64 = 100.0;
const STORM_CONNECTIONS: usize = 8;
/// Every so many idle sessions one is used again after the reading, to prove that they were alive.
const IDLE_PROBE_STEP: usize = 40;

/// The origin's listening socket and its answers, kept over all runs so that every proxy finds it at the same address.
pub struct Generator {
    listener: Bound,
    answers: Answers,
}

impl Generator {
    /// Binds the origin to a free loopback port.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn bind() -> io::Result<Generator> {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Bound::listen(any_port, BACKLOG, &TcpOptions::default())?;
        Ok(Generator { listener, answers: Answers::default() })
    }

    /// Where the origin listens.
    pub fn origin(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Runs one piece of work on this thread; `end` must end the proxy, so that its origin connections close.
    ///
    /// # Errors
    /// When the ring does not open or fails. What goes wrong on connections is in the outcome.
    pub fn run(&self, aim: &Aim, end: impl FnOnce() + 'static) -> io::Result<Outcome> {
        self.on_core(run_on_core(aim.clone(), self.origin_of_run()?, end))
    }

    /// Runs work that [can rest](Work::can_rest) against several servers by turns; `end` must end them all. Gives the
    /// outcomes in the order of the aims.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn run_in_slices(&self, aims: &[Aim], end: impl FnOnce() + 'static) -> io::Result<Vec<Outcome>> {
        self.on_core(run_slices_on_core(aims.to_vec(), self.origin_of_run()?, end))
    }

    fn origin_of_run(&self) -> io::Result<(Bound, Answers)> {
        Ok((self.listener.try_clone()?, self.answers.clone()))
    }

    fn on_core<F: Future + 'static>(&self, run: F) -> io::Result<F::Output> {
        let mut options = Options::default();
        // On epoll the load would be the slower side.
        options.driver = Choice::Uring;
        Runtime::new(options)?.block_on(run)
    }
}

/// One of the runs that take turns, or the only one.
pub(crate) struct Run {
    pub(crate) aim: Aim,
    pub(crate) tally: Rc<Tally>,
    pub(crate) outcome: Outcome,
}

impl Run {
    fn new(aim: Aim) -> Run {
        Run { aim, tally: Rc::new(Tally::new()), outcome: Outcome::empty() }
    }

    /// Nothing has gone wrong so far.
    pub(crate) fn is_whole(&self) -> bool {
        self.tally.faults().0 == 0
    }

    fn note(&self, done: Result<(), Fault>) {
        if let Err(fault) = done {
            self.tally.fault(&fault);
        }
    }

    fn into_outcome(self) -> Outcome {
        let (faults, first_fault) = self.tally.faults();
        Outcome { faults, first_fault, ..self.outcome }
    }
}

async fn run_on_core(aim: Aim, origin: (Bound, Answers), end: impl FnOnce()) -> Outcome {
    let origin = start_origin(origin);
    let mut run = Run::new(aim);
    let done = work_on(&run.aim, &run.tally).await;
    let done = done.map(|outcome| run.outcome = outcome);
    run.note(done);
    finish(std::slice::from_ref(&run), &origin, end).await;
    run.into_outcome()
}

async fn run_slices_on_core(aims: Vec<Aim>, origin: (Bound, Answers), end: impl FnOnce()) -> Vec<Outcome> {
    let origin = start_origin(origin);
    let mut runs: Vec<Run> = aims.into_iter().map(Run::new).collect();
    for run in &runs {
        run.tally.set_turn(false);
        let begun = async {
            check_forwarding(&run.aim).await?;
            open_clients(&run.aim, &run.tally).await
        };
        run.note(begun.await);
    }
    slices::take(&mut runs).await;
    finish(&runs, &origin, end).await;
    runs.into_iter().map(Run::into_outcome).collect()
}

fn start_origin((listener, answers): (Bound, Answers)) -> Rc<Origin> {
    let origin = Origin::new(answers);
    spawn(Rc::clone(&origin).accept_all(TcpListener::adopt(listener)));
    origin
}

/// Clients end after the answer that they wait for, then the servers.
async fn finish(runs: &[Run], origin: &Origin, end: impl FnOnce()) {
    for run in runs {
        run.tally.stop();
    }
    wait_until(|| runs.iter().all(|run| run.tally.clients() == 0)).await;
    end();
    wait_until(|| origin.open() == 0).await;
}

async fn check_forwarding(aim: &Aim) -> Result<(), Fault> {
    if aim.forwarded_fields.is_empty() {
        return Ok(());
    }
    client::missing_fields(&aim.place()?, aim.forwarded_fields).await
}

async fn work_on(aim: &Aim, tally: &Rc<Tally>) -> Result<Outcome, Fault> {
    check_forwarding(aim).await?;
    let place = aim.place()?;
    match aim.work {
        Work::Idle { sessions } | Work::SecureIdle { sessions } => {
            return rest_idle(aim, &place, sessions).await;
        }
        Work::Latency { connections } => {
            return keep_rate(aim, &place, connections, tally, &|| tally.finished()).await;
        }
        Work::Storm { at_once } => return weather_storm(aim, &place, at_once, tally).await,
        Work::Http { .. }
        | Work::Body { .. }
        | Work::Https { .. }
        | Work::HttpsBody { .. }
        | Work::WebSocket { .. } => open_clients(aim, tally).await?,
        Work::Handshake { at_once } | Work::Resumption { at_once } => {
            let resumes = matches!(aim.work, Work::Resumption { .. });
            for _ in 0..at_once {
                spawn(client::keep_shaking_hands(aim.secured()?, resumes, Rc::clone(tally)));
            }
        }
        Work::Connect { at_once } => {
            let ask = Ask::new(aim.work.body_len(), true);
            for _ in 0..at_once {
                spawn(client::keep_connecting(aim.target, Rc::clone(&ask), Rc::clone(tally)));
            }
        }
    }
    sleep(aim.warmup).await;
    let finished = || tally.finished();
    let window = Window::open(aim, &finished);
    sleep(aim.window).await;
    Ok(window.close())
}

/// Connects the clients that keep their connections and lets them work. All are connected before any works: an upgrade
/// would wait its turn behind every session that echoes.
async fn open_clients(aim: &Aim, tally: &Rc<Tally>) -> Result<(), Fault> {
    let place = aim.place()?;
    if let Work::WebSocket { sessions } = aim.work {
        let mut open = Vec::with_capacity(sessions);
        for number in 0..sessions {
            open.push(Session::open(&place, number as u64).await?);
        }
        for session in open {
            spawn(session::keep_echoing(session, Rc::clone(tally)));
        }
        return Ok(());
    }
    let ask = Ask::new(aim.work.body_len(), false);
    for wire in client::connect_all(&place, aim.work.clients()).await? {
        spawn(client::keep_asking(wire, Rc::clone(&ask), Rc::clone(tally)));
    }
    Ok(())
}

/// The start of a measuring window.
pub(crate) struct Window<'a> {
    /// What the CPU time is divided by.
    count: &'a dyn Fn() -> u64,
    pids: Vec<u32>,
    cpu: CpuReading,
    load: CpuReading,
    machine: MachineReading,
    finished: u64,
    start: Instant,
}

impl<'a> Window<'a> {
    pub(crate) fn open(aim: &Aim, count: &'a dyn Fn() -> u64) -> Window<'a> {
        let pids = aim.processes();
        let load = CpuReading::take(&[std::process::id()]);
        let (cpu, machine) = (CpuReading::take(&pids), MachineReading::take());
        Window { count, pids, cpu, load, machine, finished: count(), start: Instant::now() }
    }

    pub(crate) fn close(self) -> Outcome {
        let requests = (self.count)() - self.finished;
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

/// Requests at a fixed rate: a warm-up at that rate, then the window. `count` is what CPU time is divided by.
async fn keep_rate(
    aim: &Aim,
    place: &Place,
    connections: usize,
    tally: &Rc<Tally>,
    count: &dyn Fn() -> u64,
) -> Result<Outcome, Fault> {
    let interval = Duration::from_secs_f64(1.0 / aim.rate.unwrap_or(1_000.0));
    let ask = Ask::new(aim.work.body_len(), false);
    let schedule = Rc::new(Schedule::new());
    for wire in client::connect_all(place, connections).await? {
        spawn(client::keep_schedule(wire, Rc::clone(&ask), Rc::clone(tally), Rc::clone(&schedule)));
    }
    schedule.dispatch(Pace::from_now(interval, aim.warmup)).await;
    tally.count_latency(true);
    let window = Window::open(aim, count);
    schedule.dispatch(Pace::from_now(interval, aim.window)).await;
    let mut outcome = window.close();
    // What fell due in the window counts, however late it is answered.
    wait_until(|| schedule.backlog() == 0).await;
    outcome.backlog = schedule.backlog();
    schedule.end();
    wait_until(|| tally.clients() == 0).await;
    tally.count_latency(false);
    outcome.latency = Some(tally.latencies());
    Ok(outcome)
}

/// The same at a low rate, beside a storm of handshakes; what is counted as finished are the handshakes.
async fn weather_storm(
    aim: &Aim,
    place: &Place,
    at_once: usize,
    tally: &Rc<Tally>,
) -> Result<Outcome, Fault> {
    let storm = Storm::begin(aim.secured()?, at_once)?;
    let aim = Aim { rate: Some(STORM_RATE), ..aim.clone() };
    let outcome = keep_rate(&aim, place, STORM_CONNECTIONS, tally, &|| storm.finished()).await;
    storm.end()?;
    outcome
}

/// Memory of sessions that have echoed once and then rest.
async fn rest_idle(aim: &Aim, place: &Place, count: usize) -> Result<Outcome, Fault> {
    sleep(MEMORY_REST).await;
    let pids = aim.processes();
    let before = pss_kib(&pids);
    let mut sessions = Vec::with_capacity(count);
    for number in 0..count {
        let mut session = Session::open(place, number as u64).await?;
        session.echo().await?;
        sessions.push(session);
    }
    sleep(MEMORY_REST).await;
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
        sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::super::answer::wire;
    use super::super::tls::{Secured, Trust};
    use super::*;

    fn aim(work: &str, target: SocketAddr) -> Aim {
        Aim {
            work: work.parse().expect("a known work"),
            target,
            secure: None,
            process: None,
            forwarded_fields: &[],
            warmup: Duration::from_millis(20),
            window: Duration::from_millis(100),
            rate: Some(2_000.0),
        }
    }

    /// Runs `aim`; again with twice the window where the machine had no time for a single request in it.
    fn run_long_enough(generator: &Generator, mut aim: Aim) -> Outcome {
        loop {
            let outcome = generator.run(&aim, || ()).expect("the ring opens");
            let counts = outcome.requests > 0 || outcome.session_kib.is_some() || outcome.faults > 0;
            if counts || aim.window > Duration::from_secs(10) {
                return outcome;
            }
            aim.window *= 2;
        }
    }

    #[test]
    fn every_work_runs_clean_against_the_origin_itself() {
        let generator = Generator::bind().expect("a port is free");
        for work in ["http8", "ws8", "connect4", "body64k", "body1m", "idle20", "latency4"] {
            let outcome = run_long_enough(&generator, aim(work, generator.origin()));
            assert_eq!(outcome.first_fault, None, "{work}");
            assert!(outcome.requests > 0 || outcome.session_kib.is_some(), "{work}");
            // A rate may be too high for a busy machine; the other works have none.
            assert!(outcome.backlog == 0 || work == "latency4", "{work}");
            assert_eq!(
                outcome.latency.is_some_and(|latency| !latency.is_empty()),
                work == "latency4",
                "{work}"
            );
        }
    }

    /// A right server that notes its name for each request.
    fn noting(name: usize, asked: &Arc<Mutex<Vec<usize>>>) -> SocketAddr {
        let asked = Arc::clone(asked);
        server(wire(128), move || asked.lock().expect("nobody panics").push(name))
    }

    #[test]
    fn several_servers_take_turns_and_a_wrong_one_stands_alone() {
        let generator = Generator::bind().expect("a port is free");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let targets = [noting(0, &asked), liar(wire(64)), noting(1, &asked)];
        let window = Duration::from_millis(500);
        let aims = targets.map(|target| Aim { window, ..aim("http2", target) });
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let end = move || told.store(true, Ordering::Relaxed);
        let outcomes = generator.run_in_slices(&aims, end).expect("the ring opens");
        assert!(ended.load(Ordering::Relaxed));

        let [right, wrong, also_right] = &outcomes[..] else { panic!("three were asked for") };
        assert_eq!(wrong.requests, 0);
        assert!(wrong.faults > 0);
        let asked = asked.lock().expect("nobody panics");
        for (name, outcome) in [right, also_right].into_iter().enumerate() {
            assert_eq!(outcome.first_fault, None, "{name}");
            assert!(outcome.seconds >= 0.5, "{name}: {} s", outcome.seconds);
            // What it was asked in the warm-up is not in the outcome.
            let all = asked.iter().filter(|asked| **asked == name).count() as u64;
            assert!((1..all).contains(&outcome.requests), "{name}: {} of {all}", outcome.requests);
        }
        // Two of warm-up, five of work, and where one has both ends of two slices they are one.
        let turns = 1 + asked.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((4..=12).contains(&turns), "{turns} turns");
    }

    #[test]
    fn whoever_never_answers_has_no_further_turn() {
        let generator = Generator::bind().expect("a port is free");
        let silent = server(Vec::new(), || ());
        let aims = [silent, generator.origin()].map(|target| aim("http1", target));
        let outcomes = generator.run_in_slices(&aims, || ()).expect("the ring opens");
        assert_eq!(outcomes[0].first_fault.as_deref(), Some("no answer within 5 s after the turn"));
        assert_eq!((outcomes[1].faults, outcomes[1].requests > 0), (0, true));
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
        server(answer, || ())
    }

    /// The same, calling `asked` before each answer.
    fn server(answer: Vec<u8>, asked: impl Fn() + Clone + Send + 'static) -> SocketAddr {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let (answer, asked) = (answer.clone(), asked.clone());
                thread::spawn(move || {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).is_ok_and(|read| read > 0) {
                        asked();
                        if stream.write_all(&answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    /// A server behind TLS that answers each request with `answer`, and whom to expect there.
    fn secure_server(answer: Vec<u8>) -> Secured {
        let made = rcgen::generate_simple_self_signed(["bench.example".to_owned()]).expect("a certificate");
        let trust = Trust::new(made.cert.der().to_vec(), "bench.example").expect("it is one");
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they belong together");
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("random numbers");
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (config, answer) = (Arc::clone(&config), answer.clone());
                thread::spawn(move || {
                    let machine = rustls::ServerConnection::new(config).expect("the configuration is right");
                    let mut stream = rustls::StreamOwned::new(machine, socket);
                    let mut request = [0; 1024];
                    while stream.read(&mut request).is_ok_and(|read| read > 0)
                        && stream.write_all(&answer).is_ok()
                    {}
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Secured { address, trust }
    }

    #[test]
    fn work_over_tls_runs_clean_and_tells_full_handshakes_from_resumed_ones() {
        let generator = Generator::bind().expect("a port is free");
        let server = secure_server(wire(128));
        for work in ["https4", "handshake2", "resumption2", "storm2"] {
            let aim = Aim { secure: Some(server.clone()), ..aim(work, generator.origin()) };
            let outcome = run_long_enough(&generator, aim);
            assert_eq!(outcome.first_fault, None, "{work}");
            assert!(outcome.requests > 0, "{work}");
        }
    }

    #[test]
    fn whoever_is_not_expected_is_a_fault() {
        let generator = Generator::bind().expect("a port is free");
        let (server, other) = (secure_server(wire(128)), secure_server(wire(128)));
        let stranger = Secured { address: other.address, trust: server.trust.clone() };
        let wrong = secure_server(wire(64));
        for (name, secure) in [("stranger", Some(stranger)), ("wrong answer", Some(wrong)), ("nobody", None)]
        {
            let aim = Aim { secure, ..aim("https1", generator.origin()) };
            let outcome = generator.run(&aim, || ()).expect("the ring opens");
            assert!(outcome.faults > 0, "{name}");
        }
    }

    #[test]
    fn wrong_answers_are_faults() {
        let right = wire(128);
        let mut wrong_body = right.clone();
        *wrong_body.last_mut().expect("the answer is not empty") ^= 1;
        let doubled = [right.clone(), right.clone()].concat();
        let other_length = wire(64);
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
