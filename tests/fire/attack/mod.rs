//! The attackers: each kind has so many slots, and each slot leads one life after the other until it is stopped.
//!
//! `run.rs` starts and stops them. A life is one connection (or one try) and returns what became of it. Two things
//! are promises of the proxy and faults when they fail: a life that must be ended by a deadline is ended by it, and a
//! client that is odd but within the rules gets its answers. Everything else is only counted.
//!
//! What must hold: the number of connections is that of the slots, whatever the proxy does; a life waits a little
//! before the next, so that the proxy's own work is what is measured.

mod bodies;
mod garbage;
mod heads;
mod hoard;
mod leavers;
mod pipelines;
mod readers;
mod sessions;
mod spoiled;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::judge::Kills;
use crate::plan::Stage;
use crate::threads;

/// Addresses that attackers come from: not that of the well-behaved, and several, for a port that was just closed
/// cannot be used again at once.
const SOURCES: std::ops::RangeInclusive<u64> = 2..=9;

/// How long a life may last beyond the deadline that must end it: this machine is busy.
const OVERSTAY: Duration = Duration::from_secs(8);

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attack {
    /// Request heads, byte by byte.
    SlowHeads,
    /// Request bodies that come in drops, or stop.
    SlowBodies,
    /// Large answers, tiny receive buffers, little or no reading.
    SlowReaders,
    /// FIN at every point of a request.
    HalfClosed,
    /// RST at every point of a request or an answer.
    Resets,
    /// Connections opened and closed as fast as the pause allows.
    Churn,
    /// Bytes that are no HTTP, or forbidden HTTP.
    Garbage,
    /// WebSocket sessions: killed, broken, flooded, silent.
    Sessions,
    /// Hundreds of requests at once on one connection.
    Pipelines,
    /// Requests for which the backend answers nothing, half, nonsense or with a reset.
    Spoiled,
    /// Connections that are only held.
    Hoard,
}

impl Attack {
    /// As reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Attack::SlowHeads => "slow heads",
            Attack::SlowBodies => "slow bodies",
            Attack::SlowReaders => "slow readers",
            Attack::HalfClosed => "half-closed",
            Attack::Resets => "resets",
            Attack::Churn => "churn",
            Attack::Garbage => "garbage",
            Attack::Sessions => "sessions",
            Attack::Pipelines => "pipelines",
            Attack::Spoiled => "spoiled",
            Attack::Hoard => "hoard",
        }
    }

    /// Pause between two lives of a slot, in ms.
    fn pause_ms(self) -> u64 {
        match self {
            Attack::Churn => 10,
            Attack::Garbage | Attack::Resets | Attack::HalfClosed => 40,
            Attack::Pipelines | Attack::Sessions | Attack::Spoiled => 50,
            Attack::SlowHeads | Attack::SlowBodies | Attack::SlowReaders | Attack::Hoard => 100,
        }
    }

    async fn life(self, scene: &Scene, dice: &mut Dice) -> io::Result<&'static str> {
        match self {
            Attack::SlowHeads => heads::life(scene, dice).await,
            Attack::SlowBodies => bodies::life(scene, dice).await,
            Attack::SlowReaders => readers::life(scene, dice).await,
            Attack::HalfClosed => leavers::half_closed(scene, dice).await,
            Attack::Resets => leavers::reset(scene, dice).await,
            Attack::Churn => leavers::churn(scene, dice).await,
            Attack::Garbage => garbage::life(scene, dice).await,
            Attack::Sessions => sessions::life(scene, dice).await,
            Attack::Pipelines => pipelines::life(scene, dice).await,
            Attack::Spoiled => spoiled::life(scene, dice).await,
            Attack::Hoard => hoard::life(scene, dice).await,
        }
    }
}

/// Outcomes that break a promise: the verdict looks for this first byte.
pub(crate) const FAULT: char = '!';

/// What the attackers work against.
#[derive(Clone)]
struct Scene {
    addr: SocketAddr,
    kills: Kills,
    /// How long a connection may have to wait for its place.
    queue: Duration,
}

/// What became of the lives of each attack.
pub(crate) type Outcomes = BTreeMap<(Attack, &'static str), u64>;

/// Running attackers.
pub(crate) struct Attackers {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
    outcomes: Arc<Mutex<Outcomes>>,
}

impl Attackers {
    /// Starts what the stage says.
    pub(crate) fn start(addr: SocketAddr, kills: &Kills, stage: &Stage, seed: u64) -> Attackers {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let outcomes = Arc::new(Mutex::new(Outcomes::new()));
        let scene = Scene { addr, kills: kills.clone(), queue: stage.world.queue() };
        let plan = stage.attacks.clone();
        let for_thread = Arc::clone(&outcomes);
        let (ready, started) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            threads::settle_as_attacker();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Dropped with the runtime, every connection closes.
            runtime.expect("a runtime can be made").block_on(async move {
                let mut dice = Dice::new(seed);
                for (attack, slots) in plan {
                    for _ in 0..slots {
                        let dice = Dice::new(dice.next());
                        tokio::spawn(slot(attack, scene.clone(), dice, Arc::clone(&for_thread)));
                    }
                }
                let _ = ready.send(());
                let _ = stopped.await;
            });
        });
        let _ = started.recv();
        Attackers { stop, thread, outcomes }
    }

    /// Closes everything that they hold and returns what became of them.
    pub(crate) fn stop(self) -> Outcomes {
        let _ = self.stop.send(());
        let joined = self.thread.join();
        let mut outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        if joined.is_err() {
            outcomes.insert((Attack::Hoard, "!the attackers' thread panicked"), 1);
        }
        outcomes
    }
}

async fn slot(attack: Attack, scene: Scene, mut dice: Dice, outcomes: Arc<Mutex<Outcomes>>) {
    // Not all in the same moment.
    sleep(Duration::from_millis(dice.below(1_000))).await;
    loop {
        let label = attack.life(&scene, &mut dice).await.unwrap_or("refused or reset");
        *outcomes.lock().unwrap_or_else(PoisonError::into_inner).entry((attack, label)).or_default() += 1;
        sleep(Duration::from_millis(dice.between(attack.pause_ms() / 2, attack.pause_ms() * 3 / 2))).await;
    }
}

impl Scene {
    /// How long a life may last that must be ended by this deadline.
    fn patience(&self, deadline_ms: u64) -> Duration {
        self.queue + Duration::from_millis(deadline_ms) + OVERSTAY
    }

    /// A connection from one of the attackers' addresses, with the system's own buffers.
    async fn connect(&self, dice: &mut Dice) -> io::Result<TcpStream> {
        self.connect_with(dice, None).await
    }

    /// The same, with a receive buffer of so many bytes.
    async fn connect_with(&self, dice: &mut Dice, buf_bytes: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = buf_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        let source = Ipv4Addr::new(127, 0, 0, dice.between(*SOURCES.start(), SOURCES.end() + 1) as u8);
        socket.bind(SocketAddr::from((source, 0)))?;
        let connecting = socket.connect(self.addr);
        timeout(self.patience(0), connecting).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Reads until something is known: an answer's status, the end, or that nothing came in time (`None`).
async fn heard(stream: &mut TcpStream, within: Duration) -> Option<&'static str> {
    let mut buf = [0; 512];
    match timeout(within, stream.read(&mut buf)).await {
        Err(_) => None,
        Ok(Err(_)) => Some("reset"),
        Ok(Ok(0)) => Some("closed"),
        Ok(Ok(count)) => Some(status(&buf[..count])),
    }
}

/// Waits for the end that a deadline of the proxy must bring.
async fn ended_by(scene: &Scene, stream: &mut TcpStream, deadline_ms: u64) -> &'static str {
    heard(stream, scene.patience(deadline_ms)).await.unwrap_or("!outlived its deadline")
}

/// The status of an answer, as a label.
fn status(bytes: &[u8]) -> &'static str {
    match bytes.get(9..12) {
        Some(b"101") => "101",
        Some(b"200") => "200",
        Some(b"400") => "400",
        Some(b"404") => "404",
        Some(b"408") => "408",
        Some(b"413") => "413",
        Some(b"414") => "414",
        Some(b"417") => "417",
        Some(b"426") => "426",
        Some(b"431") => "431",
        Some(b"501") => "501",
        Some(b"502") => "502",
        Some(b"503") => "503",
        Some(b"504") => "504",
        Some(b"505") => "505",
        _ => "other bytes",
    }
}
