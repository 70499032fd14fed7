//! The driver on io_uring: operations become submission entries, one `io_uring_enter` per turn.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Submitter, cqueue, opcode};

use super::probe::{self, Features};
use crate::io::ring::buffers::Size;
use crate::io::ring::ops::{self, Action, Completion, Operation};
use crate::io::ring::ring::SMALL_BYTES;

pub(crate) struct Uring {
    ring: RefCell<IoUring>,
    /// Entries that found the submission queue full.
    overflow: RefCell<Vec<Entry>>,
}

impl Uring {
    pub(super) fn open() -> io::Result<(Uring, Features)> {
        let (ring, features) = probe::open()?;
        Ok((Uring { ring: RefCell::new(ring), overflow: RefCell::new(Vec::new()) }, features))
    }

    pub(super) fn with_submitter<R>(&self, f: impl FnOnce(&Submitter<'_>) -> R) -> R {
        f(&self.ring.borrow().submitter())
    }

    #[inline]
    pub(super) fn push(&self, operation: &Operation) {
        let entry = entry(operation);
        let mut ring = self.ring.borrow_mut();
        let mut overflow = self.overflow.borrow_mut();
        if overflow.is_empty() && try_push(&mut ring, &entry) {
            return;
        }
        // Full: submit what is there. If the kernel cannot take it now, the entry waits for the next turn, in order.
        let _ = ring.submit();
        overflow.push(entry);
        drain_overflow(&mut ring, &mut overflow);
    }

    pub(super) fn is_congested(&self) -> bool {
        !self.overflow.borrow().is_empty()
    }

    pub(super) fn submit(&self) -> io::Result<()> {
        let mut ring = self.ring.borrow_mut();
        drain_overflow(&mut ring, &mut self.overflow.borrow_mut());
        tolerate(ring.submit())
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut ring = self.ring.borrow_mut();
        drain_overflow(&mut ring, &mut self.overflow.borrow_mut());
        tolerate(match timeout {
            None => ring.submit_and_wait(1),
            Some(time) => {
                let time = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
                ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        })
    }

    /// Has the kernel run what it deferred, if anything; true if there are completions.
    pub(super) fn look(&self) -> bool {
        let mut ring = self.ring.borrow_mut();
        if ring.submission().taskrun() {
            let _ = ring.submit();
        }
        !ring.completion().is_empty()
    }

    #[inline]
    pub(super) fn collect(&self, completions: &mut Vec<Completion>) {
        let mut ring = self.ring.borrow_mut();
        completions.extend(ring.completion().map(|entry| read(&entry)));
    }
}

fn try_push(ring: &mut IoUring, entry: &Entry) -> bool {
    // SAFETY: see `Operation`: whatever the entry points to stays in place until its completion.
    unsafe { ring.submission().push(entry) }.is_ok()
}

fn drain_overflow(ring: &mut IoUring, overflow: &mut Vec<Entry>) {
    let mut pushed = 0;
    while pushed < overflow.len() {
        if !try_push(ring, &overflow[pushed])
            && (ring.submit().is_err() || !try_push(ring, &overflow[pushed]))
        {
            break;
        }
        pushed += 1;
    }
    overflow.drain(..pushed);
}

/// A timer that ran out, a signal, or a full completion queue is no failure: the next turn goes on.
fn tolerate(outcome: io::Result<usize>) -> io::Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

fn entry(operation: &Operation) -> Entry {
    let fd = Fd(operation.fd);
    let built = match operation.action {
        Action::Receive { again: true } => opcode::RecvMulti::new(fd, group(Size::Small)).build(),
        Action::Receive { again: false } => opcode::Recv::new(fd, std::ptr::null_mut(), SMALL_BYTES)
            .buf_group(group(Size::Small))
            .build()
            .flags(Flags::BUFFER_SELECT),
        Action::ReceiveLarge { bytes } => opcode::Recv::new(fd, std::ptr::null_mut(), bytes)
            .buf_group(group(Size::Large))
            .build()
            .flags(Flags::BUFFER_SELECT),
        Action::Send { start, len } => opcode::Send::new(fd, start, len).flags(libc::MSG_NOSIGNAL).build(),
        Action::SendGathered { header } => {
            opcode::SendMsg::new(fd, header).flags(libc::MSG_NOSIGNAL as u32).build()
        }
        Action::Accept { again: true } => opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(),
        // Null pointers say that the peer's address is not wanted.
        Action::Accept { again: false } => {
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build()
        }
        Action::Connect { address, len } => opcode::Connect::new(fd, address, len).build(),
        Action::Cancel { kind } => {
            let of = CancelBuilder::user_data(ops::user_data(kind, operation.key));
            opcode::AsyncCancel2::new(of).build()
        }
        Action::Close => opcode::Close::new(fd).build(),
        Action::WatchMailbox => opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build(),
    };
    built.user_data(ops::user_data(operation.kind(), operation.key))
}

fn read(entry: &cqueue::Entry) -> Completion {
    let (kind, key) = ops::decode(entry.user_data());
    Completion {
        kind,
        key,
        result: entry.result(),
        more: cqueue::more(entry.flags()),
        buffer: cqueue::buffer_select(entry.flags()),
    }
}

/// Buffers are registered as these groups, see `ring/buffers.rs`.
fn group(size: Size) -> u16 {
    match size {
        Size::Small => 0,
        Size::Large => 1,
    }
}
