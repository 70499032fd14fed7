//! A simulated world: its clock, its events, and what they do to its connections. Operations are in `perform.rs`.
//!
//! ```text
//!   push ──► queue ──perform──► waits in its socket ──event──► completion, seen a moment later
//!   submit: a turn that does not sleep costs a little time
//!   wait:   nothing to see? then the clock jumps to the next event, or to the core's next timer
//! ```
//!
//! What must hold: events are handled in order of time, and of their making where that is equal; completions of one
//! socket are seen in the order in which they happened, those of different sockets in any.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use super::net::{Fate, Net, Role};
use super::trace::Trace;
use super::{Chance, Report, Rules};
use crate::io::ring::buffers::Buffers;
use crate::io::ring::ops::{Completion, Operation};

/// Latest moment at which a connection's fate comes true by time alone.
const FATE_MS_MAX: u64 = 120_000;
/// Jumps of the clock in one world.
const JUMPS_MAX: u64 = 5;
/// A connect that found the backlog full is tried again after this long, as Linux does.
const KNOCK_AGAIN_US: u64 = 1_000_000;

pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) chance: Chance,
    /// Apart from chance, so that ids do not shift faults.
    ids: Chance,
    pub(super) now_us: u64,
    queue: VecDeque<Operation>,
    events: BinaryHeap<Reverse<Due>>,
    event_count: u64,
    pub(super) net: Net,
    completions: Vec<Completion>,
    turns: u64,
    trace: Trace,
    violations: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    /// When a fault first touched a connection to an address; under `None`, everybody.
    disturbed: BTreeMap<Option<SocketAddr>, u64>,
}

/// An event and its time.
struct Due {
    at_us: u64,
    number: u64,
    event: Event,
}

pub(super) enum Event {
    /// The core sees it.
    Complete(Completion),
    /// A segment arrives, or the end.
    Travel { conn: u32, side: usize },
    /// A connect reaches the one who listens.
    Knock { fd: RawFd, address: SocketAddr },
    /// A reset reaches one side.
    Reset { conn: u32, side: usize },
    /// The network resets both sides.
    Break { conn: u32 },
    /// The clock jumps.
    Jump,
}

impl World {
    pub(super) fn new(rules: Rules) -> World {
        let mut seeds = Chance::new(rules.seed);
        let mut world = World {
            rules,
            chance: Chance::new(seeds.word()),
            ids: Chance::new(seeds.word()),
            now_us: 0,
            queue: VecDeque::new(),
            events: BinaryHeap::new(),
            event_count: 0,
            net: Net::default(),
            completions: Vec::new(),
            turns: 0,
            trace: Trace::new(rules.trace_lines_max),
            violations: Vec::new(),
            faults: BTreeMap::new(),
            disturbed: BTreeMap::new(),
        };
        for _ in 0..JUMPS_MAX {
            if world.chance.per_mille(rules.jumps) {
                let at_us = world.chance.any_scale(FATE_MS_MAX) * 1000;
                world.schedule(at_us, Event::Jump);
            }
        }
        world
    }

    // ---- the face towards the loop ----

    pub(super) fn push(&mut self, operation: Operation) {
        self.queue.push_back(operation);
    }

    pub(super) fn collect(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.completions);
    }

    pub(super) fn submit(&mut self, buffers: &Buffers) -> io::Result<()> {
        self.now_us += 1 + self.chance.below(self.rules.turn_us_max.into());
        self.begin_turn(buffers)
    }

    /// # Errors
    /// When nothing can happen any more, or too much has.
    pub(super) fn wait(&mut self, buffers: &Buffers, timeout: Option<Duration>) -> io::Result<()> {
        self.begin_turn(buffers)?;
        let until_us = timeout.map(|time| self.now_us + time.as_nanos().div_ceil(1000) as u64);
        while self.completions.is_empty() {
            let next_us = self.events.peek().map(|Reverse(due)| due.at_us);
            match (next_us, until_us) {
                (Some(at_us), until_us) if until_us.is_none_or(|until_us| at_us <= until_us) => {
                    self.now_us = self.now_us.max(at_us);
                    self.handle_due(buffers);
                }
                (_, Some(until_us)) => {
                    self.now_us = self.now_us.max(until_us);
                    return Ok(());
                }
                (_, None) => return Err(io::Error::other("nothing can happen any more: everybody waits")),
            }
        }
        Ok(())
    }

    fn begin_turn(&mut self, buffers: &Buffers) -> io::Result<()> {
        self.turns += 1;
        if self.turns > self.rules.turns_max {
            return Err(io::Error::other("too many turns: somebody goes round in circles"));
        }
        while let Some(operation) = self.queue.pop_front() {
            self.perform(operation, buffers);
        }
        self.handle_due(buffers);
        Ok(())
    }

    // ---- time ----

    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(super) fn schedule(&mut self, at_us: u64, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse(Due { at_us, number: self.event_count, event }));
    }

    /// A moment from now, as long as a segment may take.
    pub(super) fn soon(&mut self) -> u64 {
        self.now_us + 1 + self.chance.below(self.rules.latency_us_max.into())
    }

    fn handle_due(&mut self, buffers: &Buffers) {
        while self.events.peek().is_some_and(|Reverse(due)| due.at_us <= self.now_us) {
            let Some(Reverse(due)) = self.events.pop() else { return };
            match due.event {
                Event::Complete(completion) => self.complete_now(completion),
                Event::Travel { conn, side } => self.travel(conn, side, buffers),
                Event::Knock { fd, address } => self.knock(fd, address, buffers),
                Event::Reset { conn, side } => self.receive_reset(conn, side, buffers),
                Event::Break { conn } => self.break_conn(conn),
                Event::Jump => self.jump(),
            }
        }
    }

    fn complete_now(&mut self, completion: Completion) {
        let Completion { kind, key, result, more, .. } = completion;
        let marks = [kind as u64 | u64::from(more) << 8, u64::from(key.index), result as u64];
        self.trace.note(self.now_us, marks, || {
            let again = if more { ", more" } else { "" };
            format!("core    {kind:?} of socket {}/{} gave {result}{again}", key.index, key.generation)
        });
        self.completions.push(completion);
    }

    fn jump(&mut self) {
        let jump_ms = self.chance.any_scale(self.rules.jump_ms_max.into());
        self.now_us += jump_ms * 1000;
        self.count("clock jumps");
        self.disturbed.entry(None).or_insert(self.now_us);
        self.note([1, jump_ms, 0], || format!("world   the clock jumps {jump_ms} ms ahead"));
    }

    // ---- what happens to connections ----

    /// Bytes or the end of one direction are to travel, if they are not under way.
    pub(super) fn kick(&mut self, number: u32, side: usize) {
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let pipe = &mut conn.pipes[side];
        let has_end = pipe.fin && !pipe.ended;
        if !pipe.travelling && (has_end || !pipe.sent.is_empty()) {
            pipe.travelling = true;
            let at_us = self.soon();
            self.schedule(at_us, Event::Travel { conn: number, side });
        }
    }

    fn travel(&mut self, number: u32, side: usize, buffers: &Buffers) {
        let (now_us, reader) = (self.now_us, 1 - side);
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let fds = conn.fds;
        let is_heard = conn.open[reader] && !conn.reset[reader];
        let pipe = &mut conn.pipes[side];
        pipe.travelling = false;
        if pipe.stalled_until_us > now_us {
            if pipe.stalled_until_us != u64::MAX {
                pipe.travelling = true;
                let at_us = pipe.stalled_until_us;
                self.schedule(at_us, Event::Travel { conn: number, side });
            }
            return;
        }
        if !is_heard {
            // RFC 9293 3.10.7.1: whoever sends to a closed connection is reset.
            pipe.ended = true;
            if !pipe.sent.is_empty() {
                pipe.sent.clear();
                let at_us = self.soon();
                self.schedule(at_us, Event::Reset { conn: number, side });
            }
            return;
        }
        if pipe.sent.is_empty() && !pipe.fin {
            return; // A reset has taken what was under way.
        }
        if pipe.sent.is_empty() {
            pipe.ended = true;
            self.note([2, u64::from(number), side as u64], || {
                format!("net     {number}:{side} the end arrives")
            });
            return self.try_input(fds[reader], buffers);
        }
        let room = (self.rules.receive_buffer_bytes as usize).saturating_sub(pipe.arrived.len());
        let segment = match self.rules.segment_bytes_max {
            u32::MAX => usize::MAX,
            max => 1 + self.chance.below(max.into()) as usize,
        };
        let count = segment.min(room).min(pipe.sent.len());
        if count == 0 {
            return; // The reader's next receive sets it going again.
        }
        pipe.arrived.extend(pipe.sent.drain(..count));
        pipe.bytes += count as u64;
        self.note([3, u64::from(number) << 1 | side as u64, count as u64], || {
            format!("net     {number}:{side} {count} bytes arrive")
        });
        self.meet_fate(number, side);
        self.kick(number, side);
        self.try_input(fds[reader], buffers);
        self.try_output(fds[side]);
    }

    fn meet_fate(&mut self, number: u32, side: usize) {
        let now_us = self.now_us;
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let pipe = &mut conn.pipes[side];
        let bytes = pipe.bytes;
        if pipe.fate.stall_after_bytes.take_if(|after| *after <= bytes).is_some() {
            pipe.stalled_until_us = now_us.saturating_add(pipe.fate.stall_us);
            self.disturb(number, "stalls");
        }
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        if conn.pipes[side].fate.reset_after_bytes.take_if(|after| *after <= bytes).is_some() {
            self.break_conn(number);
        }
    }

    fn break_conn(&mut self, number: u32) {
        self.disturb(number, "resets");
        for side in [0, 1] {
            let at_us = self.soon();
            self.schedule(at_us, Event::Reset { conn: number, side });
        }
    }

    fn receive_reset(&mut self, number: u32, side: usize, buffers: &Buffers) {
        let is_lossy = self.chance.per_mille(self.rules.lossy_resets);
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        if !conn.open[side] || conn.reset[side] {
            return;
        }
        conn.reset[side] = true;
        let outgoing = &mut conn.pipes[side];
        if !outgoing.sent.is_empty() {
            // The end that is behind what is lost never leaves.
            outgoing.sent.clear();
            outgoing.fin = false;
        }
        let incoming = &mut conn.pipes[1 - side];
        incoming.sent.clear();
        if is_lossy {
            incoming.arrived.clear();
        }
        let fd = conn.fds[side];
        self.note([4, u64::from(number), side as u64], || {
            let loss = if is_lossy { "; what was not read is lost" } else { "" };
            format!("net     {number}:{side} is reset{loss}")
        });
        self.try_input(fd, buffers);
        self.try_output(fd);
    }

    /// A connect arrives: somebody listens there, or not.
    fn knock(&mut self, fd: RawFd, address: SocketAddr, buffers: &Buffers) {
        let waits = |socket: &mut super::net::Socket| socket.output.take();
        let Some(operation) = self.net.sockets.get_mut(&fd).and_then(waits) else { return };
        let rules = self.rules;
        let Some(listener) = self.net.listeners.get(&address).copied() else {
            self.disturb_address(address);
            return self.complete(&operation, -libc::ECONNREFUSED, false, None);
        };
        if self.chance.per_mille(rules.refusals) {
            self.count("refused connects");
            self.disturb_address(address);
            return self.complete(&operation, -libc::ECONNREFUSED, false, None);
        }
        if self.chance.per_mille(rules.silent_connects) {
            self.count("silent connects");
            self.disturb_address(address);
            return self.wait_for(operation);
        }
        if self.backlog_len(listener) >= rules.backlog as usize {
            self.count("full backlogs");
            self.disturb_address(address);
            self.wait_for(operation);
            return self.schedule(self.now_us + KNOCK_AGAIN_US, Event::Knock { fd, address });
        }
        let fates = [Fate::draw(&rules, &mut self.chance), Fate::draw(&rules, &mut self.chance)];
        let (number, server) = self.net.join(fd, address, fates);
        self.note([5, u64::from(number), 0], || format!("net     {number} opens to {address}"));
        if self.chance.per_mille(rules.resets / 2) {
            let at_us = self.now_us + self.chance.any_scale(FATE_MS_MAX) * 1000;
            self.schedule(at_us, Event::Break { conn: number });
        }
        self.complete(&operation, 0, false, None);
        if let Some(Role::Listener { backlog, .. }) =
            self.net.sockets.get_mut(&listener).map(|socket| &mut socket.role)
        {
            backlog.push_back(server);
        }
        self.try_input(listener, buffers);
    }

    fn backlog_len(&self, listener: RawFd) -> usize {
        match self.net.sockets.get(&listener).map(|socket| &socket.role) {
            Some(Role::Listener { backlog, .. }) => backlog.len(),
            _ => 0,
        }
    }

    fn wait_for(&mut self, operation: Operation) {
        if let Some(socket) = self.net.sockets.get_mut(&operation.fd) {
            socket.output = Some(operation);
        }
    }

    // ---- what is done at once ----

    pub(super) fn socket(&mut self) -> RawFd {
        self.net.open(Role::Fresh)
    }

    pub(super) fn listen(&mut self, address: SocketAddr) -> RawFd {
        let fd = self.net.open(Role::Listener { address, backlog: VecDeque::new() });
        if self.net.listeners.insert(address, fd).is_some() {
            self.violate(format!("{address} is listened on twice"));
        }
        fd
    }

    pub(super) fn shutdown_write(&mut self, fd: RawFd) -> io::Result<()> {
        let end = self.net.end(fd).and_then(|(number, side)| {
            let conn = self.net.conns.get_mut(&number)?;
            (!conn.reset[side]).then(|| {
                conn.pipes[side].fin = true;
                (number, side)
            })
        });
        let Some((number, side)) = end else { return Err(io::Error::from_raw_os_error(libc::ENOTCONN)) };
        self.kick(number, side);
        Ok(())
    }

    pub(super) fn reset_on_close(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(socket) = self.net.sockets.get_mut(&fd) else {
            self.violate(format!("an option is set on closed descriptor {fd}"));
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        socket.reset_on_close = true;
        Ok(())
    }

    pub(super) fn local_address(&self, fd: RawFd) -> Option<SocketAddr> {
        let (number, side) = self.net.end(fd)?;
        Some(self.net.conns.get(&number)?.addresses[side])
    }

    pub(super) fn peer_address(&self, fd: RawFd) -> Option<SocketAddr> {
        let (number, side) = self.net.end(fd)?;
        Some(self.net.conns.get(&number)?.addresses[1 - side])
    }

    pub(super) fn entropy(&mut self) -> u64 {
        self.ids.word()
    }

    // ---- what is noted ----

    pub(super) fn note(&mut self, marks: [u64; 3], words: impl FnOnce() -> String) {
        self.trace.note(self.now_us, marks, words);
    }

    pub(super) fn remark(&mut self, words: impl FnOnce() -> String) {
        self.note([0; 3], || format!("peer    {}", words()));
    }

    pub(super) fn violate(&mut self, what: String) {
        self.note([6, 0, 0], || format!("BROKEN  {what}"));
        self.violations.push(what);
    }

    pub(super) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// A fault touches a connection, and so everybody who might be served over it.
    pub(super) fn disturb(&mut self, number: u32, fault: &'static str) {
        self.count(fault);
        self.note([7, u64::from(number), 0], || format!("world   {fault}: connection {number}"));
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        conn.disturbed = true;
        let address = conn.addresses[1];
        self.disturb_address(address);
    }

    pub(super) fn disturb_address(&mut self, address: SocketAddr) {
        self.disturbed.entry(Some(address)).or_insert(self.now_us);
    }

    pub(super) fn disturbed_us(&self, address: SocketAddr) -> Option<u64> {
        self.disturbed.get(&Some(address)).copied()
    }

    pub(super) fn is_disturbed(&self, fd: RawFd) -> bool {
        let conn = self.net.end(fd).and_then(|(number, _)| self.net.conns.get(&number));
        conn.is_none_or(|conn| conn.disturbed)
    }

    pub(super) fn trace_lines(&self) -> Vec<String> {
        self.trace.lines()
    }

    pub(super) fn report(&self) -> Report {
        Report {
            now_us: self.now_us,
            disturbed_us: self.disturbed.get(&None).copied(),
            descriptors: self.net.sockets.len(),
            turns: self.turns,
            violations: self.violations.clone(),
            fingerprint: self.trace.fingerprint(),
            faults: self.faults.iter().map(|(name, count)| (*name, *count)).collect(),
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}
