//! What the core's operations do in a simulated world: tried at once, and again when an event may have changed the
//! outcome.
//!
//! Called by `world.rs`. What must hold: memory that an operation points to is touched only between its being pushed
//! and its completion; a core that breaks the rules of its kernel is found out ([`World::violate`]).

use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::net::{Role, Socket};
use super::world::{Event, World};
use crate::io::ring::buffers::{Buffers, Size};
use crate::io::ring::ops::{Action, Completion, Kind, Operation};

/// How accepts fail: out of descriptors (process, system), memory, or the client has gone.
const ACCEPT_ERRORS: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ECONNABORTED];

impl World {
    pub(super) fn perform(&mut self, operation: Operation, buffers: &Buffers) {
        let Operation { key, fd, action } = operation;
        if matches!(action, Action::WatchMailbox) {
            return; // Messages are posted by the core's own thread only, which is awake then.
        }
        self.note([8, operation.kind() as u64, u64::from(key.index)], || {
            format!("core    {} on socket {}/{}", describe(&operation), key.index, key.generation)
        });
        let Some(socket) = self.net.sockets.get_mut(&fd) else {
            self.violate(format!("{action:?} on descriptor {fd}, which is closed"));
            return self.complete(&operation, -libc::EBADF, false, None);
        };
        match action {
            Action::Receive { .. } | Action::ReceiveLarge { .. } | Action::Accept { .. } => {
                if let Some(before) = socket.input.replace(operation) {
                    self.violate(format!("{action:?} over {:?} on {fd}", before.action));
                }
                self.try_input(fd, buffers);
            }
            Action::Send { .. } | Action::SendGathered { .. } => {
                if let Some(before) = socket.output.replace(operation) {
                    self.violate(format!("{action:?} over {:?} on {fd}", before.action));
                }
                self.try_output(fd);
            }
            Action::Connect { address, len } => {
                socket.output = Some(operation);
                let address = read_address(address, len);
                let at_us = self.soon();
                self.schedule(at_us, Event::Knock { fd, address });
            }
            Action::Cancel { kind } => self.cancel(&operation, kind),
            Action::Close => self.close(fd),
            Action::WatchMailbox => {}
        }
    }

    /// The core will see this soon: after what it has seen of the same socket, before or after others.
    pub(super) fn complete(&mut self, operation: &Operation, result: i32, more: bool, buffer: Option<u16>) {
        let mut at_us = self.now_us + self.chance.below(u64::from(self.rules.jitter_us_max) + 1);
        if let Some(socket) = self.net.sockets.get_mut(&operation.fd) {
            at_us = at_us.max(socket.said_us);
            socket.said_us = at_us;
        }
        let (kind, key) = (operation.kind(), operation.key);
        self.schedule(at_us, Event::Complete(Completion { kind, key, result, more, buffer }));
    }

    /// Goes on with the receive or accept of a descriptor, if there is one.
    pub(super) fn try_input(&mut self, fd: RawFd, buffers: &Buffers) {
        loop {
            let Some(socket) = self.net.sockets.get_mut(&fd) else { return };
            let Some(operation) = socket.input.take() else { return };
            let outcome = match &mut socket.role {
                Role::Listener { .. } => self.accept(fd),
                Role::End { conn, side } => {
                    let (conn, side) = (*conn, *side);
                    self.receive(conn, side, &operation, buffers)
                }
                Role::Fresh => Some(Input::Over(-libc::ENOTCONN)),
            };
            let goes_on =
                matches!(operation.action, Action::Accept { again: true } | Action::Receive { again: true });
            let (result, buffer) = match outcome {
                None => return self.put_input(fd, operation),
                Some(Input::Some { result, buffer }) => (result, buffer),
                Some(Input::Over(result)) => return self.complete(&operation, result, false, None),
            };
            self.complete(&operation, result, goes_on, buffer);
            if !goes_on {
                return;
            }
            self.put_input(fd, operation);
        }
    }

    fn put_input(&mut self, fd: RawFd, operation: Operation) {
        if let Some(socket) = self.net.sockets.get_mut(&fd) {
            socket.input = Some(operation);
        }
    }

    fn accept(&mut self, listener: RawFd) -> Option<Input> {
        let is_failing = self.chance.per_mille(self.rules.failed_accepts);
        let error = self.chance.pick(&ACCEPT_ERRORS);
        let Role::Listener { backlog, .. } = &mut self.net.sockets.get_mut(&listener)?.role else {
            return None;
        };
        if !is_failing {
            return backlog.pop_front().map(|fd| Input::Some { result: fd, buffer: None });
        }
        if error == libc::ECONNABORTED {
            let client_gone = backlog.pop_front()?;
            if let Some((conn, _)) = self.net.end(client_gone) {
                self.disturb(conn, "aborted accepts");
            }
            self.abort(client_gone);
            return Some(Input::Over(-error));
        }
        if backlog.is_empty() {
            return None;
        }
        self.count("failed accepts");
        Some(Input::Over(-error))
    }

    fn receive(
        &mut self,
        number: u32,
        side: usize,
        operation: &Operation,
        buffers: &Buffers,
    ) -> Option<Input> {
        let conn = self.net.conns.get_mut(&number)?;
        let pipe = &mut conn.pipes[1 - side];
        if pipe.arrived.is_empty() {
            if conn.reset[side] {
                return Some(Input::Over(-libc::ECONNRESET));
            }
            return pipe.ended.then_some(Input::Over(0));
        }
        let size = if operation.kind() == Kind::ReceiveLarge { Size::Large } else { Size::Small };
        let Some((id, start, len)) = buffers.take(size) else {
            self.count("receives without a buffer");
            return Some(Input::Over(-libc::ENOBUFS));
        };
        let count = pipe.arrived.len().min(len as usize);
        let (front, back) = pipe.arrived.as_slices();
        let in_front = front.len().min(count);
        // SAFETY: the buffer was just taken from those on offer, so its `len` bytes belong to this call alone, and the
        // two pieces together are at most `len`; the pipe's memory is another one.
        unsafe {
            std::ptr::copy_nonoverlapping(front.as_ptr(), start.as_ptr(), in_front);
            std::ptr::copy_nonoverlapping(back.as_ptr(), start.as_ptr().add(in_front), count - in_front);
        }
        pipe.arrived.drain(..count);
        // There is room again: the other side's bytes go on.
        self.kick(number, 1 - side);
        Some(Input::Some { result: count as i32, buffer: Some(id) })
    }

    /// Goes on with the send of a descriptor, if there is one and there is room.
    pub(super) fn try_output(&mut self, fd: RawFd) {
        let Some(socket) = self.net.sockets.get_mut(&fd) else { return };
        let sends = |operation: &mut Operation| operation.kind() == Kind::Send;
        let Some(operation) = socket.output.take_if(sends) else { return };
        let end = self.net.end(fd);
        let Some((number, side)) = end else {
            return self.complete(&operation, -libc::ENOTCONN, false, None);
        };
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let pipe = &mut conn.pipes[side];
        if conn.reset[side] || pipe.fin {
            return self.complete(&operation, -libc::EPIPE, false, None);
        }
        let room = (self.rules.send_buffer_bytes as usize).saturating_sub(pipe.sent.len());
        let mut count = pieces(&operation).iter().map(|piece| piece.len()).sum::<usize>().min(room);
        if count == 0 {
            // Full: the arrival of what is there sets it going again.
            if let Some(socket) = self.net.sockets.get_mut(&fd) {
                socket.output = Some(operation);
            }
            return;
        }
        if count > 1 && self.chance.per_mille(self.rules.short_sends) {
            count = 1 + self.chance.below(count as u64 - 1) as usize;
        }
        let mut left = count;
        for piece in pieces(&operation) {
            let part = &piece[..piece.len().min(left)];
            pipe.sent.extend(part);
            left -= part.len();
        }
        self.complete(&operation, count as i32, false, None);
        self.kick(number, side);
    }

    /// Both the operation and its cancellation complete, in either order; or the cancellation finds nothing.
    fn cancel(&mut self, cancel: &Operation, kind: Kind) {
        let is_meant = |operation: &mut Operation| operation.key == cancel.key && operation.kind() == kind;
        let Some(socket) = self.net.sockets.get_mut(&cancel.fd) else { return };
        let place =
            if matches!(kind, Kind::Send | Kind::Connect) { &mut socket.output } else { &mut socket.input };
        let Some(found) = place.take_if(is_meant) else {
            return self.complete(cancel, -libc::ENOENT, false, None);
        };
        if self.chance.per_mille(self.rules.missed_cancels) {
            *place = Some(found);
            return self.complete(cancel, -libc::EALREADY, false, None);
        }
        if self.chance.below(2) == 0 {
            self.complete(&found, -libc::ECANCELED, false, None);
            self.complete(cancel, 0, false, None);
        } else {
            self.complete(cancel, 0, false, None);
            self.complete(&found, -libc::ECANCELED, false, None);
        }
    }

    fn close(&mut self, fd: RawFd) {
        let Some(Socket { role, reset_on_close, input, output, .. }) = self.net.sockets.remove(&fd) else {
            return;
        };
        if let Some(operation) = input.or(output) {
            self.violate(format!("descriptor {fd} is closed under its {:?}", operation.action));
        }
        match role {
            Role::Fresh => {}
            Role::Listener { address, backlog } => {
                self.net.listeners.remove(&address);
                for waiting in backlog {
                    self.abort(waiting);
                }
            }
            Role::End { conn, side } => self.close_end(conn, side, reset_on_close),
        }
    }

    /// Closes with a reset.
    fn abort(&mut self, fd: RawFd) {
        if let Some(socket) = self.net.sockets.get_mut(&fd) {
            socket.reset_on_close = true;
        }
        self.close(fd);
    }

    /// RFC 9293 3.6: a close sends what is queued and a FIN; RFC 2525 2.17: with unread bytes, a reset.
    fn close_end(&mut self, number: u32, side: usize, reset_on_close: bool) {
        let keeps_flight = self.chance.below(2) == 0;
        let Some(conn) = self.net.conns.get_mut(&number) else { return };
        let is_unread = !conn.pipes[1 - side].arrived.is_empty();
        if conn.reset[side] {
            // Both sides know already.
        } else if reset_on_close || is_unread {
            let flight = &mut conn.pipes[side];
            if keeps_flight {
                // What had left before the reset arrives before it, as far as there is room.
                let room = (self.rules.receive_buffer_bytes as usize).saturating_sub(flight.arrived.len());
                let count = room.min(flight.sent.len());
                flight.arrived.extend(flight.sent.drain(..count));
            }
            flight.sent.clear();
            let at_us = self.soon();
            self.schedule(at_us, Event::Reset { conn: number, side: 1 - side });
        } else {
            conn.pipes[side].fin = true;
            self.kick(number, side);
        }
        self.note([9, u64::from(number), side as u64], || {
            let how = if reset_on_close || is_unread { " with a reset" } else { "" };
            format!("net     {number}:{side} closes{how}")
        });
        self.net.leave(number, side);
    }
}

/// What a receive or accept gave.
enum Input {
    Some {
        result: i32,
        buffer: Option<u16>,
    },
    /// The end, or a negative errno.
    Over(i32),
}

/// An operation without its pointers: they differ between two runs of a seed.
fn describe(operation: &Operation) -> String {
    match operation.action {
        Action::Send { .. } | Action::SendGathered { .. } => {
            let pieces = pieces(operation);
            let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
            format!("Send {bytes} bytes in {}", pieces.len())
        }
        Action::Cancel { kind } => format!("Cancel {kind:?}"),
        _ => format!("{:?}", operation.kind()),
    }
}

/// The pieces that a send is to send.
fn pieces(operation: &Operation) -> Vec<&[u8]> {
    match operation.action {
        // SAFETY: the piece stays in place until the completion (see `Operation`), and the slices made here are used up
        // before that is scheduled.
        Action::Send { start, len } => vec![unsafe { std::slice::from_raw_parts(start, len as usize) }],
        Action::SendGathered { header } => {
            // SAFETY: header and vectors stay in place until the completion, see `Operation`.
            let vectors = unsafe { std::slice::from_raw_parts((*header).msg_iov, (*header).msg_iovlen) };
            let piece = |vector: &libc::iovec| {
                // SAFETY: each vector names bytes of a lease that stays until the completion, see `Operation`.
                unsafe { std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len) }
            };
            vectors.iter().map(piece).collect()
        }
        _ => Vec::new(),
    }
}

/// The IP address that a connect names; one that nobody listens on where it is none.
fn read_address(address: *const libc::sockaddr, len: libc::socklen_t) -> SocketAddr {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    // SAFETY: the address stays until the completion (see `Operation`); `len` bytes of it are copied into storage that
    // is as large as any address can be.
    let copied = unsafe {
        socket2::SockAddr::try_init(|storage, storage_len| {
            let len = len.min(*storage_len);
            std::ptr::copy_nonoverlapping(address.cast::<u8>(), storage.cast::<u8>(), len as usize);
            *storage_len = len;
            Ok(())
        })
    };
    copied.ok().and_then(|((), address)| address.as_socket()).unwrap_or(nowhere)
}
