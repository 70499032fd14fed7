//! The well-behaved clients: a modest fixed rate, every answer checked byte for byte, every loss and delay noted.
//!
//! Three kinds, all on one thread with a small runtime: connections that are kept (`kept.rs`), a new connection for
//! each request (`fresh.rs`), WebSocket sessions (`sessions.rs`). Their figures meet in `tally.rs`. `run.rs` starts
//! them for each stage and stops them after it; each ends what it has begun, so nothing is left uncounted.

mod fresh;
mod kept;
mod request;
mod sessions;
pub(crate) mod tally;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::judge::Kills;
use crate::threads;
use tally::{Lane, Tally};

/// How many of each kind, and how often each acts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Kept connections.
    pub(crate) kept: u64,
    /// Requests per second on each of them.
    pub(crate) kept_rate: u64,
    /// Connections kept past the proxy, with as many requests on each.
    pub(crate) direct: u64,
    /// New connections per second.
    pub(crate) fresh_rate: u64,
    /// WebSocket sessions.
    pub(crate) sessions: u64,
    /// Messages per second in each of them.
    pub(crate) message_rate: u64,
}

/// What every client needs.
pub(crate) struct Shared {
    pub(crate) addr: SocketAddr,
    /// A backend that is never killed.
    pub(crate) backend: SocketAddr,
    pub(crate) kills: Kills,
    pub(crate) tally: Mutex<Tally>,
    stop: AtomicBool,
    next_id: AtomicU64,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An id that no other request of this run has.
    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Running clients.
pub(crate) struct Good {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Good {
    /// Starts them. Their request ids depend on `seed`, so that no two stages share one.
    pub(crate) fn start(
        addr: SocketAddr,
        backend: SocketAddr,
        kills: &Kills,
        manners: Manners,
        seed: u64,
    ) -> Good {
        let shared = Arc::new(Shared {
            addr,
            backend,
            kills: kills.clone(),
            tally: Mutex::default(),
            stop: AtomicBool::new(false),
            next_id: AtomicU64::new(Dice::new(seed).next() & !0xffff_ffff),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            threads::settle_as_well_behaved();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(run(for_thread, manners, seed));
        });
        Good { shared, thread }
    }

    /// Lets each finish what it has begun, and returns what they saw.
    pub(crate) fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.join();
        let mut tally =
            std::mem::take(&mut *self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner));
        if joined.is_err() {
            tally.crashed = true;
        }
        tally
    }
}

async fn run(shared: Arc<Shared>, manners: Manners, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut clients = JoinSet::new();
    for _ in 0..manners.kept {
        let (to, dice) = (shared.addr, Dice::new(dice.next()));
        clients.spawn(kept::run(Arc::clone(&shared), to, Lane::Kept, manners.kept_rate, dice));
    }
    for _ in 0..manners.direct {
        let (to, dice) = (shared.backend, Dice::new(dice.next()));
        clients.spawn(kept::run(Arc::clone(&shared), to, Lane::Direct, manners.kept_rate, dice));
    }
    if manners.fresh_rate > 0 {
        clients.spawn(fresh::run(Arc::clone(&shared), manners.fresh_rate, Dice::new(dice.next())));
    }
    for _ in 0..manners.sessions {
        clients.spawn(sessions::run(Arc::clone(&shared), manners.message_rate, Dice::new(dice.next())));
    }
    while let Some(ended) = clients.join_next().await {
        if ended.is_err() {
            shared.note(|tally| tally.crashed = true);
        }
    }
}
