//! The connections of a simulated world and the rules of TCP for them, without operations and without time.
//!
//! ```text
//!   side 0 ──send──► pipes[0].sent ──travels──► pipes[0].arrived ──receive──► side 1
//!   side 1 ──send──► pipes[1].sent ──travels──► pipes[1].arrived ──receive──► side 0
//! ```
//!
//! What must hold: bytes of a pipe arrive in order and once; its end arrives behind them; a reset ends both pipes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::rules::{Chance, Rules};
use crate::io::ring::ops::Operation;

/// One descriptor of the world.
pub(super) struct Socket {
    pub(super) role: Role,
    pub(super) reset_on_close: bool,
    /// Receive or accept that waits.
    pub(super) input: Option<Operation>,
    /// Send or connect that waits.
    pub(super) output: Option<Operation>,
    /// When its newest completion is seen: later ones are not seen before.
    pub(super) said_us: u64,
}

pub(super) enum Role {
    /// Not connected yet, or in vain.
    Fresh,
    Listener {
        address: SocketAddr,
        backlog: VecDeque<RawFd>,
    },
    End {
        conn: u32,
        side: usize,
    },
}

impl Socket {
    pub(super) fn new(role: Role) -> Socket {
        Socket { role, reset_on_close: false, input: None, output: None, said_us: 0 }
    }
}

/// Both ends of a connection.
pub(super) struct Conn {
    /// Side 0 is who connected.
    pub(super) fds: [RawFd; 2],
    pub(super) addresses: [SocketAddr; 2],
    /// Its descriptor is not closed.
    pub(super) open: [bool; 2],
    /// A reset has reached this side.
    pub(super) reset: [bool; 2],
    /// By who sends.
    pub(super) pipes: [Pipe; 2],
    /// A fault that a peer could notice has touched it.
    pub(super) disturbed: bool,
}

/// One direction.
#[derive(Default)]
pub(super) struct Pipe {
    /// Taken from the sender, not arrived.
    pub(super) sent: VecDeque<u8>,
    /// The sender has said its last byte.
    pub(super) fin: bool,
    pub(super) arrived: VecDeque<u8>,
    /// The end has arrived.
    pub(super) ended: bool,
    /// A segment is on its way.
    pub(super) travelling: bool,
    pub(super) bytes: u64,
    pub(super) stalled_until_us: u64,
    pub(super) fate: Fate,
}

/// What will happen to a direction once so many bytes have arrived.
#[derive(Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) reset_after_bytes: Option<u64>,
    pub(super) stall_after_bytes: Option<u64>,
    pub(super) stall_us: u64,
}

/// Bytes after which a fate comes true at the latest: beyond heads and usual bodies it would never be seen.
const FATE_BYTES_MAX: u64 = 256 * 1024;
/// One stall of so many lasts for ever.
const ENDLESS_STALL_IN: u64 = 4;

impl Fate {
    pub(super) fn draw(rules: &Rules, chance: &mut Chance) -> Fate {
        let mut fate = Fate::default();
        // Each connection has two directions, and the rates are per connection.
        if chance.per_mille(rules.resets / 2) {
            fate.reset_after_bytes = Some(chance.any_scale(FATE_BYTES_MAX));
        }
        if chance.per_mille(rules.stalls / 2) {
            fate.stall_after_bytes = Some(chance.any_scale(FATE_BYTES_MAX));
            let endless = chance.below(ENDLESS_STALL_IN) == 0;
            let ms = chance.any_scale(rules.stall_ms_max.into());
            fate.stall_us = if endless { u64::MAX } else { ms * 1000 };
        }
        fate
    }
}

/// All connections and listeners.
#[derive(Default)]
pub(super) struct Net {
    pub(super) sockets: BTreeMap<RawFd, Socket>,
    pub(super) conns: BTreeMap<u32, Conn>,
    pub(super) listeners: BTreeMap<SocketAddr, RawFd>,
    conn_count: u32,
    fd_count: RawFd,
}

/// Numbers of the world begin here: no process has so many descriptors, so one that leaks to the kernel is noticed.
const FD_BASE: RawFd = 1 << 28;

impl Net {
    /// Opens a descriptor. Numbers are never used twice, so that whoever uses a closed one is found out.
    pub(super) fn open(&mut self, role: Role) -> RawFd {
        self.fd_count += 1;
        let fd = FD_BASE + self.fd_count;
        self.sockets.insert(fd, Socket::new(role));
        fd
    }

    /// Makes `client` one end of a new connection and gives the descriptor of the other, which listens on `address`.
    pub(super) fn join(&mut self, client: RawFd, address: SocketAddr, fates: [Fate; 2]) -> (u32, RawFd) {
        self.conn_count += 1;
        let number = self.conn_count;
        let server = self.open(Role::End { conn: number, side: 1 });
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.role = Role::End { conn: number, side: 0 };
        }
        let [a, b, c] = [(number >> 16) as u8, (number >> 8) as u8, number as u8];
        let own = SocketAddr::from(([10, a, b, c], 40_000));
        let conn = Conn {
            fds: [client, server],
            addresses: [own, address],
            open: [true; 2],
            reset: [false; 2],
            pipes: fates.map(|fate| Pipe { fate, ..Pipe::default() }),
            disturbed: false,
        };
        self.conns.insert(number, conn);
        (number, server)
    }

    /// The connection and side of a descriptor.
    pub(super) fn end(&self, fd: RawFd) -> Option<(u32, usize)> {
        match self.sockets.get(&fd)?.role {
            Role::End { conn, side } => Some((conn, side)),
            Role::Fresh | Role::Listener { .. } => None,
        }
    }

    /// One side has closed its descriptor; the connection is forgotten when both have.
    pub(super) fn leave(&mut self, number: u32, side: usize) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.open[side] = false;
        if conn.open == [false; 2] {
            self.conns.remove(&number);
        }
    }
}
