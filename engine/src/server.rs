//! What embedders and the control plane call: start, stop, drain, look.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config_core::model::{Cores, Model, Runtime};
use config_core::publish::Publish;
use config_core::status::{CoreStatus, Count, GateStatus, Status, StatusSource};
use config_core::{BackendId, RouteId, Snapshot};

use crate::core::listen::{self, Listening, Sockets};
use crate::core::shared::Shared;
use crate::core::{drain, start};
use crate::dns::Names;
use crate::error::Error;
use crate::health::active::Prober;
use crate::io::{self as core_io, Bound, Choice, Features, Options};
use crate::local;
use crate::table::compile::Table;
use crate::table::publish::{Publisher, Tables};
use crate::tls::certs::Expiry;
use crate::upstream::gate::GateLimits;

/// How long cores may take to end once they were told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// What is left of a drain when idle connections are closed at the latest.
const IDLE_CLOSE_TIME: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(2);

/// A data plane: made of a snapshot, started once.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = config_core::ProxyConfig::builder().target("http://127.0.0.1:8080").port(3000).build()?;
/// let mut server = engine::ProxyServer::new(config.snapshot(1));
/// server.start()?;
/// println!("listening on {:?}", server.addresses());
/// server.drain(std::time::Duration::from_secs(30));
/// # Ok(())
/// # }
/// ```
pub struct ProxyServer {
    snapshot: Arc<Snapshot>,
    inherited: Sockets,
    running: Option<Running>,
}

struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    listening: Vec<Listening>,
    /// What each core is to accept from, until it does.
    waiting: VecDeque<Vec<listen::Socket>>,
    features: Features,
    /// Ends with the rest.
    _prober: Prober,
}

/// Whether an operator has taken a backend out ([`ProxyServer::set_maintenance`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// It serves, if it is healthy; its circuit is closed, and what probes have shown is forgotten.
    Off,
    /// It is out, and its sessions end at this pace.
    On(Pace),
}

/// How fast sessions are told to close, over all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As `shutdown.drain_per_second` of the running configuration says.
    Configured,
    /// All of them now.
    AtOnce,
    /// So many in each second.
    PerSecond(NonZeroU32),
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Every exchange and session ended by itself.
    pub clean: bool,
    /// Connections that were cut when time ran out.
    pub connections_cut: usize,
}

/// What the data plane has counted, as a whole and core by core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Client connections now.
    pub active_connections: usize,
    /// Sums over all cores, by name.
    pub counters: Vec<Count>,
    /// Each core's own.
    pub cores: Vec<CoreStatus>,
    /// The routes that limit their exchanges.
    pub gates: Vec<GateStatus>,
}

impl ProxyServer {
    /// A data plane that will serve `snapshot`. Nothing happens yet.
    pub fn new(snapshot: Arc<Snapshot>) -> ProxyServer {
        ProxyServer { snapshot, inherited: Vec::new(), running: None }
    }

    /// Goes on with the listening sockets of another process ([`ProxyServer::sockets`] of that one) instead of opening
    /// new ones. Those of addresses that are not configured any more are closed. Call it before [`ProxyServer::prepare`].
    pub fn inherit(&mut self, sockets: Sockets) {
        self.inherited = sockets;
    }

    /// [`ProxyServer::prepare`] and [`ProxyServer::accept`]. Does nothing on a running server.
    ///
    /// # Errors
    /// With what the operator must change: an address in use, a processor that is not
    /// there, io_uring missing or forbidden. Nothing is left running then.
    pub fn start(&mut self) -> Result<(), Error> {
        self.prepare()?;
        self.accept()
    }

    /// Does all of a start that can fail: compiles the snapshot, binds every listener for every core, starts and pins
    /// the cores. No client is accepted yet. Does nothing on a running server.
    ///
    /// # Errors
    /// As for [`ProxyServer::start`].
    pub fn prepare(&mut self) -> Result<(), Error> {
        if self.running.is_some() {
            return Ok(());
        }
        let model = self.snapshot.model();
        let options_fit = local::tcp_options(model).check();
        options_fit.map_err(|error| Error::Configuration(format!("server: {error}")))?;
        let processors = processors(&model.server.cores)?;
        let names = Names::start(&model.dns);
        let table = Table::compile(Arc::clone(&self.snapshot), processors.len(), &names, None);
        let table = table.map_err(|error| Error::Configuration(error.to_string()))?;
        let inherited = std::mem::take(&mut self.inherited);
        let listening = listen::bind(model, processors.len(), inherited, &local::tcp_options(model))?;
        let waiting = listen::spread(&listening, processors.len())?;
        let shared = Shared::new(Tables::new(table), &processors, names);
        let prober = Prober::start(options(model))?;
        let _ = shared.prober.set(prober.remote());
        shared.tables.load().take_effect(None, shared.prober.get());
        // Weak: the prober ends with the rest, and what is shared must not wait for it.
        let swept = Arc::downgrade(&shared);
        prober.each_second(move || {
            swept.upgrade().is_some_and(|shared| {
                shared.tables.sweep();
                true
            })
        });
        let mut threads = Vec::new();
        let mut granted = None;
        for index in 0..processors.len() {
            match start::start(Arc::clone(&shared), index, options(model)) {
                Ok((thread, features)) => {
                    threads.push(thread);
                    granted = Some(features);
                }
                Err(error) => {
                    stop_cores(&shared, &mut threads);
                    return Err(error);
                }
            }
        }
        let features = granted.ok_or_else(|| Error::Configuration("no core to run on".to_owned()))?;
        self.running = Some(Running { shared, threads, listening, waiting, features, _prober: prober });
        Ok(())
    }

    /// Listens, and accepts on every core; returns once all do. Does nothing on a server that is not prepared, or that
    /// accepts already.
    ///
    /// # Errors
    /// When an address was taken since it was bound, or a core has failed. Nothing is left running then.
    pub fn accept(&mut self) -> Result<(), Error> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let waiting = std::mem::take(&mut running.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        note_files(&running.shared);
        let model = self.snapshot.model();
        let begun = listen::begin(&running.listening, model.server.backlog, &local::tcp_options(model));
        let shared = &running.shared;
        let accepts = begun.and_then(|()| {
            waiting
                .into_iter()
                .enumerate()
                .try_for_each(|(index, sockets)| start::accept(shared, index, sockets))
        });
        accepts.inspect_err(|_| self.stop())
    }

    /// Handles to the listening sockets, for a process that is to take over; empty when not running.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn sockets(&self) -> io::Result<Sockets> {
        let all = self.running.iter().flat_map(|running| &running.listening);
        let handles = all.map(|listening| {
            let sockets: io::Result<Vec<_>> = listening.sockets.iter().map(Bound::to_descriptor).collect();
            Ok((listening.configured, sockets?))
        });
        handles.collect()
    }

    /// Addresses that accept clients, with the ports that were picked for port 0. Empty when not running.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let all = self.running.iter().flat_map(|running| &running.listening);
        all.map(|listening| listening.address).collect()
    }

    /// Processors that have a core.
    pub fn cores(&self) -> Vec<usize> {
        let cores = self.running.iter().flat_map(|running| &running.shared.cores);
        cores.map(|core| core.processor).collect()
    }

    /// The driver, the kernel, and what of the wish list it granted: one line for the start screen.
    pub fn driver(&self) -> String {
        self.running.as_ref().map(|running| running.features.to_string()).unwrap_or_default()
    }

    /// Where new snapshots are published; `None` when not running.
    pub fn publisher(&self) -> Option<Arc<dyn Publish>> {
        let running = self.running.as_ref()?;
        Some(Arc::new(Publisher::new(Arc::clone(&running.shared))))
    }

    /// Takes a backend of a route out by hand, or brings it back. While it is out it gets no exchange, whatever its health;
    /// those that it has finish, and its sessions are told to close (1001), the oldest first, at the pace that is given: the
    /// last one that was given holds. False if the running table has no such route or backend, or if it was in or out
    /// already.
    pub fn set_maintenance(&self, route: &RouteId, backend: &BackendId, maintenance: Maintenance) -> bool {
        let Some(running) = &self.running else { return false };
        let table = running.shared.tables.load();
        let Some(route) = table.compiled(route) else { return false };
        let backends = route.upstreams().flat_map(|upstream| &upstream.backends);
        let of_id = backends.filter(|known| known.id == backend.as_str());
        let mut is_news = false;
        // Each of the route's rules may have it.
        for state in of_id.map(|known| &known.state) {
            // First of all no more exchanges, so that no more sessions come of them.
            let is_out = maintenance != Maintenance::Off;
            is_news |= state.health.set_maintenance(is_out, core_io::process_ms());
            let per_second = match maintenance {
                Maintenance::Off => {
                    let state = Arc::clone(state);
                    running.shared.broadcast(move || local::with(|local| drain::end_drain_of(local, &state)));
                    continue;
                }
                Maintenance::On(Pace::AtOnce) => None,
                Maintenance::On(Pace::PerSecond(count)) => Some(count.get()),
                Maintenance::On(Pace::Configured) => table.model().shutdown.drain_per_second,
            };
            let state = Arc::clone(state);
            running
                .shared
                .broadcast(move || local::with(|local| drain::begin_drain_of(local, state, per_second)));
        }
        is_news
    }

    /// The certificates that clients are shown now, with when each ends.
    pub fn certificates(&self) -> Vec<Expiry> {
        let Some(running) = &self.running else { return Vec::new() };
        let table = running.shared.tables.load();
        table.tls.iter().flat_map(|tls| tls.certificates.expiries()).collect()
    }

    /// Where the state of the cores is read; `None` when not running.
    pub fn status(&self) -> Option<Arc<dyn StatusSource>> {
        let running = self.running.as_ref()?;
        Some(Arc::new(Observer { shared: Arc::clone(&running.shared) }))
    }

    /// Whether every core runs.
    pub fn is_running(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.threads.iter().all(|thread| !thread.is_finished()))
    }

    /// Client connections now, sessions included.
    pub fn active_connections(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.shared.connections())
    }

    /// What the cores have counted. Empty when not running: take [`ProxyServer::status`] before a drain to read the end.
    pub fn stats(&self) -> Stats {
        let status = self.running.as_ref().map(|running| read(&running.shared)).unwrap_or_default();
        Stats {
            active_connections: self.active_connections(),
            counters: status.counters,
            cores: status.cores,
            gates: self.running.as_ref().map(|running| gates(&running.shared)).unwrap_or_default(),
        }
    }

    /// Stops accepting, lets exchanges finish and sessions close, for at most `timeout`; then stops. Blocks.
    ///
    /// Connections without a request stay open for `shutdown.idle_grace_ms` of the running configuration, but not into
    /// the last second of `timeout`: a request that is on its way then still gets its answer, which says that it is the
    /// last one.
    pub fn drain(&mut self, timeout: Duration) -> DrainOutcome {
        let Some(mut running) = self.running.take() else {
            return DrainOutcome { clean: true, connections_cut: 0 };
        };
        // The cores close their handles; without ours, the addresses are free then.
        running.listening.clear();
        let idle_grace = idle_grace(running.shared.tables.load().model(), timeout);
        running.shared.broadcast(move || local::with(|local| drain::begin_drain(local, idle_grace)));
        let until = Instant::now() + timeout;
        while running.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::park_timeout(POLL);
        }
        let connections_cut = running.shared.connections();
        stop_cores(&running.shared, &mut running.threads);
        DrainOutcome { clean: connections_cut == 0, connections_cut }
    }

    /// Stops at once; what is open is cut.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            stop_cores(&running.shared, &mut running.threads);
        }
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How long idle connections are kept: closing them takes up to a second too.
fn idle_grace(model: &Model, timeout: Duration) -> Duration {
    Duration::from_millis(model.shutdown.idle_grace_ms).min(timeout.saturating_sub(IDLE_CLOSE_TIME))
}

/// Reads the cores' counters for the control plane.
struct Observer {
    shared: Arc<Shared>,
}

impl StatusSource for Observer {
    fn status(&self) -> Status {
        read(&self.shared)
    }

    fn gates(&self) -> Vec<GateStatus> {
        gates(&self.shared)
    }
}

fn read(shared: &Shared) -> Status {
    let cores = shared.cores.iter().map(|core| CoreStatus {
        core: core.processor,
        epoch: core.epoch.load(Ordering::Relaxed),
        connections: core.connections.load(Ordering::Relaxed) as u64,
        counters: core.counters.values(),
    });
    Status::new(shared.tables.load().snapshot.epoch(), cores.collect())
}

fn gates(shared: &Shared) -> Vec<GateStatus> {
    let table = shared.tables.load();
    let compiled = table.model().routes.iter().filter_map(|route| table.compiled(&route.id));
    let gates = compiled.filter_map(|route| Some((route, route.gate.as_ref()?)));
    let gauges = gates.map(|(route, gate)| {
        let (limits, (active, waiting)) = (gate.limits(), gate.gauges());
        let GateLimits { active_max, queue_max } = limits;
        GateStatus { route: route.model.id.clone(), active, waiting, active_max, queue_max }
    });
    gauges.collect()
}

fn stop_cores(shared: &Shared, threads: &mut Vec<JoinHandle<()>>) {
    shared.broadcast(|| local::with(start::begin_stop));
    let until = Instant::now() + STOP_PATIENCE;
    for thread in threads.drain(..) {
        while !thread.is_finished() && Instant::now() < until {
            std::thread::park_timeout(POLL);
        }
        // A core that does not end is left behind: the process is about to end anyway.
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("a core ended by panic");
        }
    }
}

/// Everything that stays open is open now; what is left is for clients and their backends.
fn note_files(shared: &Shared) {
    let (Ok(max), Ok(open)) = (core_io::open_files_max(), core_io::open_files()) else { return };
    let by_files = shared.note_files(max, open);
    let wanted = shared.tables.load().model().server.max_connections as usize;
    if by_files < wanted {
        tracing::warn!(
            connections = by_files,
            max_connections = wanted,
            open_files_max = max,
            "descriptors suffice for fewer connections than max_connections: raise the limit of open files"
        );
    }
}

/// The processors to run on, checked against what the process may use.
fn processors(wanted: &Cores) -> Result<Vec<usize>, Error> {
    let usable: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    match wanted {
        Cores::Auto if usable.is_empty() => Err(Error::Configuration("no usable processor".to_owned())),
        Cores::Auto => Ok(usable),
        Cores::Count(count) if *count <= usable.len() => Ok(usable[..*count].to_vec()),
        Cores::Count(count) => Err(Error::Configuration(format!(
            "server.cores: {count} cores wanted, but this process may run on {} only",
            usable.len()
        ))),
        Cores::List(list) => {
            let known: HashSet<usize> = usable.iter().copied().collect();
            match list.iter().find(|processor| !known.contains(processor)) {
                None => Ok(list.clone()),
                Some(missing) => Err(Error::Configuration(format!(
                    "server.cores: this process may not run on processor {missing}; usable: {usable:?}"
                ))),
            }
        }
    }
}

fn options(model: &Model) -> Options {
    let driver = match model.server.runtime {
        Runtime::Auto => Choice::Auto,
        Runtime::Uring => Choice::Uring,
        Runtime::Epoll => Choice::Epoll,
    };
    let busy_poll = Duration::from_micros(model.server.busy_poll_us.into());
    Options { busy_poll, driver, ..Options::default() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use config_core::ProxyConfig;

    use super::*;

    /// Answers every request on every connection with 204.
    fn origin() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buf = [0; 4096];
                    while matches!(stream.read(&mut buf), Ok(1..)) {
                        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 1024];
        let len = stream.read(&mut answer).unwrap();
        assert!(answer[..len].starts_with(b"HTTP/1.1 204 "), "{}", String::from_utf8_lossy(&answer[..len]));
    }

    #[test]
    fn live_connections_are_spread_over_the_cores() {
        let target = format!("http://{}", origin());
        let config = ProxyConfig::builder().target(&target).port(0).cores("auto").build().unwrap();
        let mut server = ProxyServer::new(config.snapshot(1));
        server.start().unwrap();
        let cores = server.cores().len();
        let address = server.addresses()[0];
        let mut clients: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(address).unwrap()).collect();
        clients.iter_mut().for_each(ask);
        let status = server.status().unwrap().status();
        assert_eq!(status.connections(), 60);
        assert_eq!(server.active_connections(), 60);
        for core in &status.cores {
            let share = 60 / cores as u64;
            assert!(core.connections <= share + share / 4 + 1, "{status:?}");
        }
        clients.iter_mut().for_each(ask);
        drop(clients);
        assert!(server.drain(Duration::from_secs(10)).clean);
        assert!(!server.is_running());
    }

    fn server(target: &str, cores: &str, listen: &[&str]) -> ProxyServer {
        let mut config = ProxyConfig::builder().target(target).cores(cores);
        for address in listen {
            config = config.listen(address);
        }
        ProxyServer::new(config.build().unwrap().snapshot(1))
    }

    #[test]
    fn a_successor_accepts_from_every_socket_that_it_inherits() {
        let target = format!("http://{}", origin());
        let most = processors(&Cores::Auto).unwrap().len().to_string();
        let mut running = server(&target, &most, &["127.0.0.1:0", "127.0.0.1:0"]);
        running.start().unwrap();
        let addresses = running.addresses();
        for cores in ["1", &most, "1"] {
            let mut next = server(&target, cores, &["127.0.0.1:0", "127.0.0.1:0"]);
            next.inherit(running.sockets().unwrap());
            next.prepare().unwrap();
            // They wait in the backlogs, whoever accepts then.
            let mut clients: Vec<TcpStream> = addresses
                .iter()
                .cycle()
                .take(40)
                .map(|address| TcpStream::connect(address).unwrap())
                .collect();
            next.accept().unwrap();
            assert_eq!(next.addresses(), addresses);
            let draining = std::thread::spawn(move || running.drain(Duration::from_secs(10)));
            clients.iter_mut().for_each(ask);
            drop(clients);
            assert!(draining.join().unwrap().clean);
            // With a socket that nobody accepts from, some of these would wait for ever.
            let mut clients: Vec<TcpStream> = addresses
                .iter()
                .cycle()
                .take(40)
                .map(|address| TcpStream::connect(address).unwrap())
                .collect();
            clients.iter_mut().for_each(ask);
            running = next;
        }
        running.stop();
        for address in addresses {
            assert!(TcpStream::connect(address).is_err(), "{address} is free again");
        }
    }

    #[test]
    fn a_successor_on_another_driver_loses_nobody() {
        let target = format!("http://{}", origin());
        let server = |runtime: &str| {
            let config = ProxyConfig::builder().target(&target).port(0).cores("1").runtime(runtime).build();
            ProxyServer::new(config.unwrap().snapshot(1))
        };
        let mut running = server("epoll");
        running.start().unwrap();
        let address = running.addresses()[0];
        for runtime in ["auto", "epoll", "auto", "auto"] {
            let mut next = server(runtime);
            next.inherit(running.sockets().unwrap());
            next.prepare().unwrap();
            let mut waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
            next.accept().unwrap();
            let draining = std::thread::spawn(move || running.drain(Duration::from_secs(10)));
            waiting.iter_mut().for_each(ask);
            drop(waiting);
            assert!(draining.join().unwrap().clean);
            for _ in 0..3 {
                ask(&mut TcpStream::connect(address).unwrap());
            }
            running = next;
        }
    }

    #[test]
    fn a_successor_binds_what_is_new_and_closes_what_is_gone() {
        let target = format!("http://{}", origin());
        let mut running = server(&target, "1", &["127.0.0.1:0", "0.0.0.0:0"]);
        running.start().unwrap();
        let before = running.addresses();
        // The same port at another address, which only our own predecessor makes look taken; and a new one.
        let narrowed = format!("127.0.0.1:{}", before[1].port());
        let mut next = server(&target, "1", &[&narrowed, "127.0.0.2:0"]);
        next.inherit(running.sockets().unwrap());
        next.prepare().unwrap();
        assert!(
            TcpStream::connect(next.addresses()[1]).is_err(),
            "what is new does not listen before it is accepted"
        );
        next.accept().unwrap();
        assert!(running.drain(Duration::from_secs(10)).clean);
        for address in next.addresses() {
            ask(&mut TcpStream::connect(address).unwrap());
        }
        assert!(TcpStream::connect(before[0]).is_err(), "what is gone does not listen");
        assert!(TcpStream::connect(("127.0.0.3", before[1].port())).is_err());
    }

    #[test]
    fn a_successor_that_cannot_start_disturbs_nobody() {
        let target = format!("http://{}", origin());
        let mut running = server(&target, "1", &["127.0.0.1:0"]);
        running.start().unwrap();
        let address = running.addresses()[0];
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = stranger.local_addr().unwrap().to_string();
        for listen in [&["127.0.0.1:0", "192.0.2.1:9"][..], &["127.0.0.1:0", &taken]] {
            let mut next = server(&target, "1", listen);
            next.inherit(running.sockets().unwrap());
            assert!(matches!(next.prepare(), Err(Error::Listen { .. })), "{listen:?}");
        }
        let file = std::fs::File::open("/dev/null").unwrap().into();
        let mut next = server(&target, "1", &["127.0.0.1:0"]);
        next.inherit(vec![("127.0.0.1:0".parse().unwrap(), vec![file])]);
        assert!(matches!(next.prepare(), Err(Error::Listen { .. })), "that is no socket");
        ask(&mut TcpStream::connect(address).unwrap());
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_and_not_a_silent_sharing() {
        let target = format!("http://{}", origin());
        let config = ProxyConfig::builder().target(&target).port(0).cores("1").build().unwrap();
        let mut first = ProxyServer::new(config.snapshot(1));
        first.start().unwrap();
        let taken = first.addresses()[0];
        let config =
            ProxyConfig::builder().target(&target).listen(&taken.to_string()).cores("1").build().unwrap();
        let error = ProxyServer::new(config.snapshot(1)).start().unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("in use"), "{error}");
    }
}
