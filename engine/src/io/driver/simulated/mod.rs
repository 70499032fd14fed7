//! The driver of the seeded simulation: operations are performed on a network in memory, under a clock that jumps to
//! the next event when the core would sleep. Descriptors are numbers of that world; the kernel never sees them.
//!
//! The whole engine runs on it unchanged: acceptor, exchanges, pools, relays, deadlines. Peers are tasks on the same
//! core (`tests/sim`). Chance decides when bytes arrive, how many a send takes, who is reset, refused or left waiting; it
//! all comes from the seed of the [`Rules`], so that a seed replays.
//!
//! Called by `driver/mod.rs`; only with the feature `simulation`, which no product has.

mod net;
mod perform;
mod rules;
mod trace;
mod world;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use super::Driver;
use crate::io::ring::buffers::Buffers;
use crate::io::ring::ops::{self, Completion, Operation};
use crate::io::ring::ring::with_core;
use crate::io::ring::slab::Key;
use world::World;

pub use rules::{Chance, Rules};

/// A simulated world as a driver.
pub(crate) struct Simulated {
    world: RefCell<World>,
}

impl Simulated {
    pub(super) fn new(rules: Rules) -> Simulated {
        Simulated { world: RefCell::new(World::new(rules)) }
    }

    pub(super) fn push(&self, operation: &Operation) {
        self.world.borrow_mut().push(*operation);
    }

    pub(super) fn submit(&self, buffers: &Buffers) -> io::Result<()> {
        self.world.borrow_mut().submit(buffers)
    }

    pub(super) fn wait(&self, buffers: &Buffers, timeout: Option<Duration>) -> io::Result<()> {
        self.world.borrow_mut().wait(buffers, timeout)
    }

    pub(super) fn collect(&self, completions: &mut Vec<Completion>) {
        self.world.borrow_mut().collect(completions);
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.world.borrow().now_us())
    }

    pub(super) fn entropy(&self) -> u64 {
        self.world.borrow_mut().entropy()
    }

    pub(super) fn socket(&self) -> RawFd {
        self.world.borrow_mut().socket()
    }

    pub(super) fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        self.world.borrow_mut().shutdown_write(fd)
    }

    pub(super) fn reset_on_close(&self, fd: RawFd) -> io::Result<()> {
        self.world.borrow_mut().reset_on_close(fd)
    }

    pub(super) fn local_address(&self, fd: RawFd) -> Option<SocketAddr> {
        self.world.borrow().local_address(fd)
    }

    pub(super) fn peer_address(&self, fd: RawFd) -> Option<SocketAddr> {
        self.world.borrow().peer_address(fd)
    }
}

/// A descriptor of a world that no slot owns; closed when dropped on its core.
#[derive(Debug)]
pub(crate) struct Orphan {
    /// `None` once somebody owns it.
    fd: Option<RawFd>,
}

impl Orphan {
    pub(super) fn new(fd: RawFd) -> Orphan {
        Orphan { fd: Some(fd) }
    }

    pub(super) fn into_raw(mut self) -> RawFd {
        self.fd.take().expect("only this gives the number away, and it takes the orphan")
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let Some(fd) = self.fd else { return };
        // Nobody waits for this completion, so no slot has to be named.
        with_core(|core| core.push(&ops::close(fd, Key { index: 0, generation: 0 })));
    }
}

/// What a world has to say of itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Time of the world.
    pub now_us: u64,
    /// When the first fault happened that concerns everybody (the clock has jumped).
    pub disturbed_us: Option<u64>,
    /// Descriptors that are open, listeners included.
    pub descriptors: usize,
    /// Turns of the core.
    pub turns: u64,
    /// Ways in which the core broke the rules of its kernel: there must be none.
    pub violations: Vec<String>,
    /// All events as one number: two runs of a seed agree.
    pub fingerprint: u64,
    /// Faults so far, by kind.
    pub faults: Vec<(&'static str, u64)>,
}

/// Runs `f` with the world that this core runs in; `None` on any other driver.
fn with_world<R>(f: impl FnOnce(&mut World) -> R) -> Option<R> {
    with_core(|core| match core.driver() {
        Driver::Simulated(simulated) => Some(f(&mut simulated.world.borrow_mut())),
        Driver::Uring(_) | Driver::Epoll(_) => None,
    })
    .flatten()
}

/// The state of this core's world. Empty on any other driver.
pub fn report() -> Report {
    with_world(|world| world.report()).unwrap_or_default()
}

/// The newest lines of the trace.
pub fn trace() -> Vec<String> {
    with_world(|world| world.trace_lines()).unwrap_or_default()
}

/// Adds a line to the trace: what a peer does and thinks.
pub fn remark(words: impl FnOnce() -> String) {
    with_world(|world| world.remark(words));
}

/// When a fault that a peer could notice first touched a connection to `address`.
pub fn disturbed_us(address: SocketAddr) -> Option<u64> {
    with_world(|world| world.disturbed_us(address)).flatten()
}

/// Counts a peer's own misbehaviour as a fault of everybody who speaks with `address`.
pub fn disturb(address: SocketAddr) {
    with_world(|world| world.disturb_address(address));
}

/// Whether a fault that a peer could notice has touched the connection behind a descriptor.
pub(crate) fn is_disturbed(fd: RawFd) -> bool {
    with_world(|world| world.is_disturbed(fd)).unwrap_or(false)
}

/// Opens a listening descriptor; `None` on any other driver.
pub(crate) fn listen(address: SocketAddr) -> Option<Orphan> {
    with_world(|world| Orphan::new(world.listen(address)))
}
