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
//! Called by `stream.rs` (the handles) and by `ring.rs` (completions). What must hold: at most one receive and one
//! send are with the kernel; memory that the kernel may read or write stays in this slot until then.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::task::Poll;

use super::buffers::{Lease, Size};
use super::inbox::Inbox;
use super::ops::{self, Completion, Kind};
use super::outbox::Outbox;
use super::ring::Core;
use super::slab::Key;

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

    receiving: Receiving,
    size_wanted: Size,
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
            receiving: Receiving::Off,
            size_wanted: Size::Small,
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

    pub(crate) fn want(&mut self, size: Size) {
        self.size_wanted = size;
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

/// What the core does with its sockets; split from `ring.rs` for the reader's sake.
impl Core {
    /// Queues bytes behind those already queued; they leave at the end of the turn.
    pub(crate) fn queue_send(&self, key: Key, lease: Lease) {
        if lease.is_empty() {
            return;
        }
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.send_error != 0 {
            return;
        }
        let outbox = socket.outbox.get_or_insert_with(|| self.spare_outbox());
        outbox.push(lease);
        if !socket.dirty && !outbox.sending {
            socket.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
    }

    /// Sends what is queued at once, and FIN in the same packet as its end; true if the kernel took all of it. Else the
    /// rest goes the usual way, without FIN.
    pub(crate) fn finish(&self, key: Key) -> bool {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return false };
        let fd = socket.fd;
        let Some(outbox) = socket.outbox.as_mut().filter(|outbox| !outbox.sending) else { return false };
        let Ok(taken) = self.driver().send_ahead(fd, outbox.message()) else { return false };
        socket.taken += taken as u64;
        outbox.advance(taken);
        if !outbox.is_empty() {
            return false;
        }
        if let Some(outbox) = socket.outbox.take() {
            self.keep_outbox(outbox);
        }
        self.driver().shutdown_write(fd).is_ok()
    }

    /// Hands every socket with queued bytes and no send in flight to the kernel.
    pub(crate) fn flush(&self) {
        let mut dirty = self.dirty.take();
        for key in dirty.drain(..) {
            let mut sockets = self.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(key) else { continue };
            socket.dirty = false;
            let (fd, closing) = (socket.fd, socket.closing);
            let Some(outbox) = socket.outbox.as_mut() else { continue };
            if closing || outbox.sending || outbox.is_empty() {
                continue;
            }
            outbox.sending = true;
            socket.in_flight += 1;
            self.push(&outbox.operation(fd, key));
        }
        // Keep the capacity.
        let mut list = self.dirty.borrow_mut();
        if list.is_empty() {
            *list = dirty;
        }
    }

    /// The next input of a socket; `None` registers the current task to be woken. Room in the inbox lets it receive.
    pub(crate) fn poll_input(&self, key: Key) -> Option<io::Result<Option<Lease>>> {
        let mut sockets = self.sockets.borrow_mut();
        let socket = sockets.get_mut(key)?;
        let input = socket.take_input();
        if socket.receiving == Receiving::Off {
            self.arm_socket(key, socket);
        }
        socket.reader = self.tasks.current();
        input
    }

    /// Ready when nothing will be received any more; else registers the current task, and lets the socket receive.
    pub(crate) fn poll_ended(&self, key: Key) -> Poll<()> {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return Poll::Ready(()) };
        if socket.ended || socket.is_broken() {
            return Poll::Ready(());
        }
        self.arm_socket(key, socket);
        socket.reader = self.tasks.current();
        Poll::Pending
    }

    fn arm_socket(&self, key: Key, socket: &mut Socket) {
        let stopped = socket.closing || socket.leaving || socket.ended || socket.receive_error != 0;
        let able = !stopped && !socket.starved;
        if !able || socket.receiving != Receiving::Off {
            return;
        }
        // A large buffer is asked for one at a time, and only when the last has been taken.
        if socket.size_wanted == Size::Large && self.buffers.any_left(Size::Large) {
            if socket.inbox.is_empty() {
                self.arm_large(key, socket);
            }
            return;
        }
        self.arm_small(key, socket);
    }

    fn arm_large(&self, key: Key, socket: &mut Socket) {
        socket.receiving = Receiving::Armed(Size::Large);
        socket.in_flight += 1;
        self.push(&ops::receive_large(socket.fd, key, self.buffers.bytes_each(Size::Large)));
    }

    fn arm_small(&self, key: Key, socket: &mut Socket) {
        if socket.inbox.is_under(self.options.inbox_low) {
            socket.receiving = Receiving::Armed(Size::Small);
            socket.in_flight += 1;
            self.push(&ops::receive(socket.fd, key));
        }
    }

    fn cancel_receive(&self, key: Key, socket: &mut Socket) {
        if socket.receiving == Receiving::Armed(Size::Small) {
            socket.receiving = Receiving::Cancelling;
            socket.in_flight += 1;
            socket.cancels += 1;
            self.push(&ops::cancel(socket.fd, Kind::Receive, key));
        }
    }

    /// The reader asks for buffers of another size. Large ones replace an armed small receive at once.
    pub(crate) fn want_size(&self, key: Key, size: Size) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.size_wanted == size {
            return;
        }
        socket.want(size);
        if size == Size::Large && self.buffers.any_left(Size::Large) {
            self.cancel_receive(key, socket);
        }
    }

    pub(crate) fn received(&self, completion: Completion, size: Size) {
        let key = completion.key;
        let lease = completion
            .buffer
            .map(|id| self.buffers.filled(size, id, u32::try_from(completion.result).unwrap_or(0)));
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else {
            debug_assert!(false, "a slot is not reused while a receive is in flight");
            return;
        };
        if !completion.more {
            socket.receiving = Receiving::Off;
            socket.in_flight -= 1;
        }
        if socket.closing {
            return self.finish_close(key, &mut sockets);
        }
        match completion.result {
            1.. => {
                if let Some(lease) = lease {
                    // A body that trickles in is better served by small buffers.
                    if size == Size::Large && lease.len() < self.buffers.bytes_each(Size::Small) as usize {
                        socket.want(Size::Small);
                    }
                    socket.inbox.push(lease);
                }
            }
            0 => socket.ended = true,
            error => self.receive_stopped(key, socket, -error, size),
        }
        if socket.inbox.is_over(self.options.inbox_high) {
            self.cancel_receive(key, socket);
        }
        if socket.receiving == Receiving::Off {
            self.arm_socket(key, socket);
        }
        if let Some(reader) = socket.reader
            && (socket.has_input() || socket.leaving)
        {
            self.tasks.wake(reader);
        }
    }

    /// Whether a socket that is idle can leave: not while it waits for more of a long body, which the last one may have been.
    pub(crate) fn can_leave(&self, key: Key) -> bool {
        let sockets = self.sockets.borrow();
        sockets.get(key).is_some_and(|socket| socket.receiving != Receiving::Armed(Size::Large))
    }

    /// Stops receiving for good. Ready when the kernel holds nothing of the socket any more: true if it is idle and
    /// could go on elsewhere, false if something came, failed or is unsent. Registers the current task.
    pub(crate) fn poll_leave(&self, key: Key) -> Poll<bool> {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return Poll::Ready(false) };
        socket.leaving = true;
        socket.reader = self.tasks.current();
        let is_idle = !socket.has_input() && socket.outbox.is_none() && !socket.is_broken();
        match socket.receiving {
            _ if !is_idle => Poll::Ready(false),
            Receiving::Armed(Size::Large) => Poll::Ready(false),
            Receiving::Armed(Size::Small) => {
                self.cancel_receive(key, socket);
                Poll::Pending
            }
            Receiving::Off if socket.in_flight == 0 => Poll::Ready(true),
            Receiving::Off | Receiving::Cancelling => Poll::Pending,
        }
    }

    fn receive_stopped(&self, key: Key, socket: &mut Socket, errno: i32, size: Size) {
        match errno {
            // Few large buffers on offer are a feature: bytes leave again before the caches have forgotten them.
            libc::ENOBUFS if size == Size::Large => {
                socket.starved = true;
                self.bulk.borrow_mut().push_back(key);
            }
            libc::ENOBUFS => {
                self.buffers.widen_small();
                socket.starved = true;
                self.starvations.set(self.starvations.get() + 1);
                self.starved.borrow_mut().push(key);
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            _ => socket.receive_error = errno,
        }
    }

    /// Buffers have come back: the sockets that ran dry may receive again.
    pub(crate) fn feed_starved(&self) {
        if self.starved.borrow().is_empty() || self.buffers.on_offer(Size::Small) == 0 {
            return;
        }
        for key in self.starved.take() {
            let mut sockets = self.sockets.borrow_mut();
            if let Some(socket) = sockets.get_mut(key) {
                socket.starved = false;
                self.arm_socket(key, socket);
            }
        }
    }

    /// Lets those who stand in line for large buffers receive: as many at a time as there are buffers on offer. If all
    /// are held, bodies go on in small ones.
    pub(crate) fn feed_bulk(&self) {
        let in_line = self.bulk.borrow().len();
        if in_line == 0 {
            return;
        }
        let on_offer = usize::from(self.buffers.on_offer(Size::Large));
        let served = if on_offer == 0 { in_line } else { on_offer.min(in_line) };
        for _ in 0..served {
            let Some(key) = self.bulk.borrow_mut().pop_front() else { return };
            let mut sockets = self.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(key) else { continue };
            socket.starved = false;
            if on_offer == 0 {
                socket.want(Size::Small);
            }
            self.arm_socket(key, socket);
        }
    }

    pub(crate) fn sent(&self, completion: Completion) {
        let key = completion.key;
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else {
            debug_assert!(false, "a slot is not reused while a send is in flight");
            return;
        };
        socket.in_flight -= 1;
        let Some(outbox) = socket.outbox.as_mut() else { return };
        outbox.sending = false;
        match completion.result {
            sent @ 0.. => {
                socket.taken += sent as u64;
                outbox.advance(sent as usize);
            }
            error if -error == libc::EAGAIN || -error == libc::EINTR => {}
            error => {
                socket.send_error = -error;
                outbox.clear();
            }
        }
        if socket.closing {
            return self.finish_close(key, &mut sockets);
        }
        if !outbox.is_empty() {
            socket.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
        let (unsent, failed) = (outbox.bytes(), socket.send_error != 0);
        if unsent == 0
            && let Some(outbox) = socket.outbox.take()
        {
            self.keep_outbox(outbox);
        }
        if let Some(writer) = socket.writer
            && (failed || unsent <= socket.writer_below as usize)
        {
            socket.writer = None;
            self.tasks.wake(writer);
        }
        if failed && let Some(reader) = socket.reader {
            self.tasks.wake(reader);
        }
    }

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

    /// Arms the accept of a listener if it is not armed: for one connection, or for all that come.
    pub(crate) fn start_accept(&self, key: Key, again: bool) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.receiving == Receiving::Off && !socket.closing {
            socket.is_listener = true;
            socket.receiving = Receiving::Armed(Size::Small);
            socket.in_flight += 1;
            self.push(&ops::accept(socket.fd, key, again));
        }
    }

    /// Cancels the accept of a listener; what the kernel accepted meanwhile still arrives.
    pub(crate) fn stop_accept(&self, key: Key) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.receiving == Receiving::Armed(Size::Small) {
            socket.receiving = Receiving::Cancelling;
            socket.in_flight += 1;
            socket.cancels += 1;
            self.push(&ops::cancel(socket.fd, Kind::Accept, key));
        }
    }

    pub(crate) fn accepted(&self, completion: Completion) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(completion.key) else { return };
        if !completion.more {
            socket.receiving = Receiving::Off;
            socket.in_flight -= 1;
        }
        let accepted = socket.accepted.get_or_insert_default();
        match completion.result {
            fd @ 0.. => accepted.push_back(Ok(fd)),
            error if -error == libc::ECANCELED => {}
            error => accepted.push_back(Err(io::Error::from_raw_os_error(-error))),
        }
        let news = !accepted.is_empty() || !completion.more;
        if socket.closing {
            return self.finish_close(completion.key, &mut sockets);
        }
        // Also when the accept has ended: the listener may have been asked to go on while its pause was unconfirmed.
        if let Some(reader) = socket.reader
            && news
        {
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
