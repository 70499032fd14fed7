//! Bytes of one socket on their way out, in order, and the one send that the kernel holds of them.
//!
//! Lives only while there are some: a core keeps spare ones, and an idle socket has none.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::buffers::Lease;
use super::ops::{self, Operation};
use super::slab::Key;

/// Pieces in one gathered send; more wait for the next.
const GATHER_MAX: usize = 16;
/// An outbox that grew longer than this gives the memory back when it is done.
const QUEUE_KEPT_MAX: usize = 64;

/// What the kernel holds pointers into stays in place: an outbox is boxed, and its leases stay queued until sent.
pub(crate) struct Outbox {
    queue: VecDeque<Lease>,
    bytes: usize,
    /// The kernel holds a send of ours.
    pub(crate) sending: bool,
    header: libc::msghdr,
    vectors: [libc::iovec; GATHER_MAX],
}

impl Outbox {
    pub(crate) fn new() -> Box<Outbox> {
        // SAFETY: all-zero is a valid `msghdr`: null pointers with zero lengths.
        let header = unsafe { std::mem::zeroed() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Box::new(Outbox {
            queue: VecDeque::new(),
            bytes: 0,
            sending: false,
            header,
            vectors: [empty; GATHER_MAX],
        })
    }

    /// The operation that sends what is queued; the vectors point into leases that stay queued until it completes.
    pub(crate) fn operation(&mut self, fd: RawFd, key: Key) -> Operation {
        if let (Some(only), 1) = (self.queue.front(), self.queue.len()) {
            return ops::send(fd, key, only);
        }
        ops::send_gathered(fd, key, self.message())
    }

    /// What is queued, up to [`GATHER_MAX`] pieces, as the kernel wants it described.
    pub(crate) fn message(&mut self) -> &libc::msghdr {
        for (vector, lease) in self.vectors.iter_mut().zip(&self.queue) {
            *vector = libc::iovec { iov_base: lease.as_ptr().cast_mut().cast(), iov_len: lease.len() };
        }
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.queue.len().min(GATHER_MAX);
        &self.header
    }

    /// The kernel took `sent` bytes: their leases end.
    pub(crate) fn advance(&mut self, mut sent: usize) {
        self.bytes = self.bytes.saturating_sub(sent);
        while let Some(front) = self.queue.front_mut() {
            if front.len() > sent {
                front.advance(sent);
                return;
            }
            sent -= front.len();
            self.queue.pop_front();
        }
    }

    pub(crate) fn push(&mut self, lease: Lease) {
        self.bytes += lease.len();
        self.queue.push_back(lease);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that the kernel has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives up on what is queued. No send may be with the kernel.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.queue.shrink_to(QUEUE_KEPT_MAX);
        self.bytes = 0;
        self.sending = false;
    }
}
