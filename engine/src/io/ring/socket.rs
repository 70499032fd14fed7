//! One socket of a core: what it is receiving, what it is sending, and how it ends.
//!
//! ```text
//!  receiving:  Off ──arm──► Armed ──cancel──► Cancelling ──last completion──► Off
//!                ▲────────── end, error, out of buffers ◄──┘
//!  sending:    queue ──one operation at a time, in order──► done; a short send goes on where it stopped
//!  end:        handle dropped ► cancel what is in flight ► all confirmed ► close ► slot free
//! ```
//!
//! Back-pressure is the reader's pace: what it does not take stays in the inbox, an inbox over its high mark cancels
//! the receive, one below its low mark arms it again.
//!
//! Here is the state, the connect and the close; `send.rs`, `receive.rs` and `accept.rs` are the rest of what a core does
//! with its sockets. Called by `stream.rs` (the handles) and by `ring.rs` (completions). What must hold: at most one receive and one
//! send are with the kernel; memory that the kernel may read or write stays in this slot until then.

mod accept;
mod receive;
mod send;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::buffers::{Lease, Size};
use super::inbox::Inbox;
use super::ops::{self, Completion, Kind};
use super::outbox::Outbox;
use super::ring::Core;
use super::slab::Key;
use crate::io::Pace;

/// Where the receive of a socket stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receiving {
    Off,
    Armed(Size),
    Cancelling,
}

pub(crate) struct Socket {
    pub(crate) fd: RawFd,
    /// Operations that the kernel still holds.
    in_flight: u8,
    /// Those of them that are cancellations.
    cancels: u8,
    /// One of the cancellations since the last try has found nothing.
    has_missed: bool,
    closing: bool,
    /// It accepts instead of receiving.
    is_listener: bool,
    /// In the core's list of sockets with something to send.
    dirty: bool,
    /// Waits in one of the core's lists for buffers.
    starved: bool,
    /// Is about to leave this core: it receives no more.
    leaving: bool,
    /// Whoever reads what it receives yields to others.
    pub(crate) yields: bool,

    receiving: Receiving,
    pace: Pace,
    ended: bool,
    receive_error: i32,
    inbox: Inbox,
    pub(crate) reader: Option<Key>,

    outbox: Option<Box<Outbox>>,
    send_error: i32,
    taken: u64,
    writer: Option<Key>,
    writer_below: u32,

    address: Option<Box<socket2::SockAddr>>,
    /// Of a listener: what was accepted ahead.
    #[expect(clippy::box_collection, reason = "only listeners use it: 8 bytes, not 32")]
    accepted: Option<Box<VecDeque<io::Result<RawFd>>>>,
}

impl Socket {
    pub(crate) fn new(fd: RawFd) -> Socket {
        Socket {
            fd,
            in_flight: 0,
            cancels: 0,
            has_missed: false,
            closing: false,
            is_listener: false,
            dirty: false,
            starved: false,
            leaving: false,
            yields: false,
            receiving: Receiving::Off,
            pace: Pace::Stream,
            ended: false,
            receive_error: 0,
            inbox: Inbox::default(),
            reader: None,
            outbox: None,
            send_error: 0,
            taken: 0,
            writer: None,
            writer_below: 0,
            address: None,
            accepted: None,
        }
    }

    /// The next received bytes; `Ok(None)` at the end; `None` when there is nothing yet.
    pub(crate) fn take_input(&mut self) -> Option<io::Result<Option<Lease>>> {
        if let Some(lease) = self.inbox.take() {
            return Some(Ok(Some(lease)));
        }
        if self.receive_error != 0 {
            return Some(Err(io::Error::from_raw_os_error(self.receive_error)));
        }
        if self.ended { Some(Ok(None)) } else { None }
    }

    pub(crate) fn put_back(&mut self, lease: Lease) {
        self.inbox.put_back(lease);
    }

    /// Bytes, the end or an error are waiting to be taken.
    pub(crate) fn has_input(&self) -> bool {
        !self.inbox.is_empty() || self.ended || self.receive_error != 0
    }

    pub(crate) fn unsent(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes())
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn unread(&self) -> usize {
        self.inbox.len()
    }

    pub(crate) fn send_failure(&self) -> Option<io::Error> {
        (self.send_error != 0).then(|| io::Error::from_raw_os_error(self.send_error))
    }

    pub(crate) fn wake_when_below(&mut self, unsent: u32, writer: Option<Key>) {
        self.writer = writer;
        self.writer_below = unsent;
    }

    /// Bytes that the kernel has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The kernel has bytes of which it has not said yet whether it took them.
    pub(crate) fn is_sending(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| outbox.sending)
    }

    /// Failed in either direction.
    pub(crate) fn is_broken(&self) -> bool {
        self.receive_error != 0 || self.send_error != 0
    }

    pub(crate) fn take_accepted(&mut self) -> Option<io::Result<RawFd>> {
        self.accepted.as_mut()?.pop_front()
    }

    /// Of a listener: the kernel may still accept for it.
    pub(crate) fn is_accepting(&self) -> bool {
        self.receiving != Receiving::Off
    }

    /// A receive is with the kernel, and is to stay there.
    #[cfg(test)]
    pub(crate) fn is_receiving(&self) -> bool {
        matches!(self.receiving, Receiving::Armed(_))
    }

    pub(crate) fn set_address(&mut self, address: socket2::SockAddr) -> &socket2::SockAddr {
        self.address.insert(Box::new(address))
    }

    /// The outcome of the connect operation, once it has completed.
    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        if self.address.is_some() {
            return None;
        }
        Some(self.send_failure().map_or(Ok(()), Err))
    }
}

/// How a socket is connected, and how it ends.
impl Core {
    pub(crate) fn start_connect(&self, key: Key, address: socket2::SockAddr) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        let fd = socket.fd;
        socket.in_flight += 1;
        self.push(&ops::connect(fd, key, socket.set_address(address)));
    }

    pub(crate) fn connected(&self, completion: Completion) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(completion.key) else { return };
        socket.in_flight -= 1;
        socket.address = None;
        if completion.result < 0 {
            socket.send_error = -completion.result;
        }
        if socket.closing {
            return self.finish_close(completion.key, &mut sockets);
        }
        if let Some(reader) = socket.reader {
            self.tasks.wake(reader);
        }
    }

    pub(crate) fn cancel_confirmed(&self, completion: Completion) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(completion.key) else { return };
        socket.in_flight -= 1;
        socket.cancels -= 1;
        if !socket.closing {
            let not_found = completion.result < 0 && socket.receiving == Receiving::Cancelling;
            if not_found {
                // Nothing was found to cancel: what was armed still is, or its last completion is on its way.
                socket.receiving = Receiving::Armed(Size::Small);
            }
            // Whoever waits for the end of an accept or a receive looks again, and asks again if it must.
            if (socket.leaving || (not_found && socket.is_listener))
                && let Some(reader) = socket.reader
            {
                self.tasks.wake(reader);
            }
            return;
        }
        // An operation that was just then between two tries (a connect to a full unix backlog always is) is not found,
        // and might never end by itself. Its cancellation need not be the last one that is confirmed.
        socket.has_missed |= completion.result < 0;
        if socket.has_missed && socket.in_flight > 0 && socket.cancels == 0 {
            socket.has_missed = false;
            return self.cancel_in_flight(completion.key, socket);
        }
        self.finish_close(completion.key, &mut sockets);
    }

    /// The handle is gone: cancel what is in flight, then close. Returns at once.
    pub(crate) fn close(&self, key: Key) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.closing {
            return;
        }
        socket.closing = true;
        socket.reader = None;
        socket.writer = None;
        let unread = std::mem::take(&mut socket.inbox);
        self.cancel_in_flight(key, socket);
        self.finish_close(key, &mut sockets);
        drop(sockets);
        drop(unread);
    }

    /// Cancels each operation by its own name: the kernel finds that at once, while "all of this descriptor" makes it
    /// look through every operation of the ring.
    fn cancel_in_flight(&self, key: Key, socket: &mut Socket) {
        let receive = match socket.receiving {
            Receiving::Off => None,
            Receiving::Armed(Size::Large) => Some(Kind::ReceiveLarge),
            Receiving::Armed(Size::Small) | Receiving::Cancelling if socket.is_listener => Some(Kind::Accept),
            Receiving::Armed(Size::Small) | Receiving::Cancelling => Some(Kind::Receive),
        };
        let send = socket.outbox.as_ref().is_some_and(|outbox| outbox.sending).then_some(Kind::Send);
        let connect = socket.address.is_some().then_some(Kind::Connect);
        for kind in [receive, send, connect].into_iter().flatten() {
            socket.in_flight += 1;
            socket.cancels += 1;
            self.push(&ops::cancel(socket.fd, kind, key));
        }
    }

    /// Closes the descriptor and frees the slot, once the kernel holds nothing of it any more.
    fn finish_close(&self, key: Key, sockets: &mut super::slab::Slab<Socket>) {
        if sockets.get(key).is_none_or(|socket| socket.in_flight > 0) {
            return;
        }
        let Some(mut socket) = sockets.remove(key) else { return };
        if let Some(mut outbox) = socket.outbox.take() {
            outbox.clear();
            self.keep_outbox(outbox);
        }
        for fd in socket.accepted.take().into_iter().flat_map(|accepted| *accepted).flatten() {
            self.push(&ops::close(fd, key));
        }
        self.push(&ops::close(socket.fd, key));
    }
}
