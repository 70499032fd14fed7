//! The operations that we submit, and the 64 bits of user data by which a completion finds its way back.
//!
//! A completion names the kind of operation, the slot of its socket and the slot's generation. A slot is reused only
//! after every operation on it has completed or been cancelled and confirmed (`socket.rs` counts them), and a reused
//! slot has another generation; so a late completion can never reach a stranger.

use std::os::fd::RawFd;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};

use super::buffers::Size;
use super::slab::Key;

const INDEX_BITS: u32 = 28;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// What kind of operation a completion belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Receive = 0,
    ReceiveLarge = 1,
    Send = 2,
    Accept = 3,
    Connect = 4,
    Cancel = 5,
    Close = 6,
    Mailbox = 7,
}

const KINDS: [Kind; 8] = [
    Kind::Receive,
    Kind::ReceiveLarge,
    Kind::Send,
    Kind::Accept,
    Kind::Connect,
    Kind::Cancel,
    Kind::Close,
    Kind::Mailbox,
];

/// A completion, copied out of the ring.
#[derive(Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    /// Bytes, descriptor or 0; negative: an errno.
    pub(crate) result: i32,
    /// The operation stays armed and will complete again.
    pub(crate) more: bool,
    /// The provided buffer that was filled.
    pub(crate) buffer: Option<u16>,
}

impl Completion {
    pub(crate) fn read(entry: &cqueue::Entry) -> Completion {
        let (kind, key) = decode(entry.user_data());
        Completion {
            kind,
            key,
            result: entry.result(),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
        }
    }
}

pub(crate) fn user_data(kind: Kind, key: Key) -> u64 {
    debug_assert!(u64::from(key.index) <= INDEX_MASK);
    (kind as u64) << 60 | u64::from(key.index) << 32 | u64::from(key.generation)
}

fn decode(word: u64) -> (Kind, Key) {
    let kind = KINDS[(word >> 60) as usize & (KINDS.len() - 1)];
    (kind, Key { index: (word >> 32 & INDEX_MASK) as u32, generation: word as u32 })
}

/// Receives again and again into small buffers, until cancelled, ended or out of buffers.
pub(crate) fn receive(fd: RawFd, key: Key) -> Entry {
    opcode::RecvMulti::new(Fd(fd), group(Size::Small)).build().user_data(user_data(Kind::Receive, key))
}

/// Receives once into a large buffer.
pub(crate) fn receive_large(fd: RawFd, key: Key, bytes: u32) -> Entry {
    opcode::Recv::new(Fd(fd), std::ptr::null_mut(), bytes)
        .buf_group(group(Size::Large))
        .build()
        .flags(io_uring::squeue::Flags::BUFFER_SELECT)
        .user_data(user_data(Kind::ReceiveLarge, key))
}

/// Sends one piece. The bytes must stay until the completion.
pub(crate) fn send(fd: RawFd, key: Key, bytes: &[u8]) -> Entry {
    opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32)
        .flags(libc::MSG_NOSIGNAL)
        .build()
        .user_data(user_data(Kind::Send, key))
}

/// Sends several pieces in order. Header, vectors and bytes must stay until the completion.
pub(crate) fn send_gathered(fd: RawFd, key: Key, header: *const libc::msghdr) -> Entry {
    opcode::SendMsg::new(Fd(fd), header)
        .flags(libc::MSG_NOSIGNAL as u32)
        .build()
        .user_data(user_data(Kind::Send, key))
}

/// Accepts again and again.
pub(crate) fn accept(fd: RawFd, key: Key) -> Entry {
    opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC).build().user_data(user_data(Kind::Accept, key))
}

/// Connects. The address must stay until the completion.
pub(crate) fn connect(fd: RawFd, key: Key, address: &socket2::SockAddr) -> Entry {
    opcode::Connect::new(Fd(fd), address.as_ptr().cast(), address.len())
        .build()
        .user_data(user_data(Kind::Connect, key))
}

/// Cancels one kind of operation of a socket.
pub(crate) fn cancel(kind: Kind, key: Key) -> Entry {
    opcode::AsyncCancel2::new(CancelBuilder::user_data(user_data(kind, key)))
        .build()
        .user_data(user_data(Kind::Cancel, key))
}

pub(crate) fn close(fd: RawFd, key: Key) -> Entry {
    opcode::Close::new(Fd(fd)).build().user_data(user_data(Kind::Close, key))
}

/// Completes each time somebody writes to the mailbox's eventfd.
pub(crate) fn watch_mailbox(fd: RawFd) -> Entry {
    let key = Key { index: 0, generation: 0 };
    opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32)
        .multi(true)
        .build()
        .user_data(user_data(Kind::Mailbox, key))
}

fn group(size: Size) -> u16 {
    match size {
        Size::Small => 0,
        Size::Large => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_comes_back_as_it_went() {
        for kind in KINDS {
            for key in [(0, 0), (1, u32::MAX), (INDEX_MASK as u32, 7)] {
                let key = Key { index: key.0, generation: key.1 };
                assert_eq!(decode(user_data(kind, key)), (kind, key));
            }
        }
    }
}
