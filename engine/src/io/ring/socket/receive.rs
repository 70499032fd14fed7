//! What a socket receives: arming and cancelling at the reader's pace, small buffers or large ones, and what happens when
//! there are none.

use std::io;
use std::task::Poll;

use super::{Receiving, Socket};
use crate::io::Pace;
use crate::io::ring::buffers::{Lease, Size};
use crate::io::ring::ops::{self, Completion, Kind};
use crate::io::ring::ring::Core;
use crate::io::ring::slab::Key;

/// With more tasks in line, what they have received and waits to be read is copied: a few buffers that are used again and
/// again stay in the caches, hundreds do not.
const YIELDING_WITH_BUFFERS: usize = 64;

impl Core {
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
        // Those of a body are asked for one at a time, and only when the last has been taken.
        let is_empty = socket.inbox.is_empty();
        match socket.pace {
            Pace::Stream if socket.inbox.is_under(self.options.inbox_low) => {
                self.arm_small(key, socket, true);
            }
            Pace::Bulk if is_empty && self.buffers.any_left(Size::Large) => self.arm_large(key, socket),
            Pace::Pieces | Pace::Bulk if is_empty => self.arm_small(key, socket, false),
            _ => {}
        }
    }

    fn arm_large(&self, key: Key, socket: &mut Socket) {
        socket.receiving = Receiving::Armed(Size::Large);
        socket.in_flight += 1;
        self.push(&ops::receive_large(socket.fd, key, self.buffers.bytes_each(Size::Large)));
    }

    fn arm_small(&self, key: Key, socket: &mut Socket, again: bool) {
        socket.receiving = Receiving::Armed(Size::Small);
        socket.in_flight += 1;
        self.push(&ops::receive(socket.fd, key, again));
    }

    fn cancel_receive(&self, key: Key, socket: &mut Socket) {
        if socket.receiving == Receiving::Armed(Size::Small) {
            socket.receiving = Receiving::Cancelling;
            socket.in_flight += 1;
            socket.cancels += 1;
            self.push(&ops::cancel(socket.fd, Kind::Receive, key));
        }
    }

    /// The reader asks for another pace. That of a body replaces an armed receive of the other kind at once.
    pub(crate) fn set_pace(&self, key: Key, pace: Pace) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        let before = std::mem::replace(&mut socket.pace, pace);
        if before == Pace::Stream && pace != Pace::Stream {
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
                        socket.pace = Pace::Stream;
                    }
                    socket.inbox.push(lease);
                }
            }
            0 => socket.ended = true,
            error => self.receive_stopped(key, socket, -error, size),
        }
        if socket.inbox.is_over(self.options.inbox_high) {
            self.note_overfull(key);
        }
        if socket.receiving == Receiving::Off {
            self.arm_socket(key, socket);
        }
        if let Some(reader) = socket.reader
            && (socket.has_input() || socket.leaving)
        {
            if !socket.yields {
                self.tasks.wake(reader);
            } else if self.tasks.wake_yielding(reader) > YIELDING_WITH_BUFFERS {
                socket.inbox.let_buffer_go();
            }
        }
    }

    /// What came is over the high mark. Its pieces come one after the other, so the last one noted tells most repeats.
    fn note_overfull(&self, key: Key) {
        let mut overfull = self.overfull.borrow_mut();
        if overfull.last() != Some(&key) {
            overfull.push(key);
        }
    }

    /// Stops the receives of inboxes that are over their high mark still after their readers have had their turn: a body of
    /// 64 KiB comes at once, and is taken at once.
    pub(crate) fn stop_overfull(&self) {
        for key in self.overfull.borrow_mut().drain(..) {
            let mut sockets = self.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(key) else { continue };
            if !socket.closing && socket.inbox.is_over(self.options.inbox_high) {
                self.cancel_receive(key, socket);
            }
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
            self.arm_socket(key, socket);
        }
    }
}
