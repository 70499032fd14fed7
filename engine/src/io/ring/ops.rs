//! The operations that a core submits to its driver, and the 64 bits of user data by which a completion finds its way
//! back.
//!
//! A completion names the kind of operation, the slot of its socket and the slot's generation. A slot is reused only
//! after every operation on it has completed or been cancelled and confirmed (`socket.rs` counts them), and a reused
//! slot has another generation; so a late completion can never reach a stranger.

use std::os::fd::RawFd;

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

/// One operation on one socket. What it points to stays in place until it has completed: all callers keep that in the
/// socket's slot, which outlives its operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) key: Key,
    pub(crate) fd: RawFd,
    pub(crate) action: Action,
}

/// What an operation does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Receives into a small buffer: once, or again and again until cancelled, ended or out of buffers.
    Receive { again: bool },
    /// Receives once into a large buffer.
    ReceiveLarge {
        /// Of one buffer.
        bytes: u32,
    },
    /// Sends one piece.
    Send { start: *const u8, len: u32 },
    /// Sends several pieces in order.
    SendGathered { header: *const libc::msghdr },
    /// Accepts once, or again and again.
    Accept { again: bool },
    /// Connects.
    Connect { address: *const libc::sockaddr, len: libc::socklen_t },
    /// Cancels one kind of operation of the socket. Completes with 0, or `-ENOENT` when there is none.
    Cancel { kind: Kind },
    /// Closes the descriptor.
    Close,
    /// Completes each time somebody writes to the mailbox's eventfd.
    WatchMailbox,
}

impl Operation {
    pub(crate) fn kind(&self) -> Kind {
        match self.action {
            Action::Receive { .. } => Kind::Receive,
            Action::ReceiveLarge { .. } => Kind::ReceiveLarge,
            Action::Send { .. } | Action::SendGathered { .. } => Kind::Send,
            Action::Accept { .. } => Kind::Accept,
            Action::Connect { .. } => Kind::Connect,
            Action::Cancel { .. } => Kind::Cancel,
            Action::Close => Kind::Close,
            Action::WatchMailbox => Kind::Mailbox,
        }
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug)]
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

pub(crate) fn user_data(kind: Kind, key: Key) -> u64 {
    debug_assert!(u64::from(key.index) <= INDEX_MASK);
    (kind as u64) << 60 | u64::from(key.index) << 32 | u64::from(key.generation)
}

pub(crate) fn decode(word: u64) -> (Kind, Key) {
    let kind = KINDS[(word >> 60) as usize & (KINDS.len() - 1)];
    (kind, Key { index: (word >> 32 & INDEX_MASK) as u32, generation: word as u32 })
}

/// Receives into a small buffer: once, or again and again.
pub(crate) fn receive(fd: RawFd, key: Key, again: bool) -> Operation {
    Operation { key, fd, action: Action::Receive { again } }
}

/// Receives once into a large buffer of `bytes`.
pub(crate) fn receive_large(fd: RawFd, key: Key, bytes: u32) -> Operation {
    Operation { key, fd, action: Action::ReceiveLarge { bytes } }
}

/// Sends one piece.
pub(crate) fn send(fd: RawFd, key: Key, bytes: &[u8]) -> Operation {
    Operation { key, fd, action: Action::Send { start: bytes.as_ptr(), len: bytes.len() as u32 } }
}

/// Sends several pieces in order.
pub(crate) fn send_gathered(fd: RawFd, key: Key, header: *const libc::msghdr) -> Operation {
    Operation { key, fd, action: Action::SendGathered { header } }
}

/// Accepts once, or again and again.
pub(crate) fn accept(fd: RawFd, key: Key, again: bool) -> Operation {
    Operation { key, fd, action: Action::Accept { again } }
}

/// Connects.
pub(crate) fn connect(fd: RawFd, key: Key, address: &socket2::SockAddr) -> Operation {
    let action = Action::Connect { address: address.as_ptr().cast(), len: address.len() };
    Operation { key, fd, action }
}

/// Cancels one kind of operation of a socket.
pub(crate) fn cancel(fd: RawFd, kind: Kind, key: Key) -> Operation {
    Operation { key, fd, action: Action::Cancel { kind } }
}

/// Closes a descriptor.
pub(crate) fn close(fd: RawFd, key: Key) -> Operation {
    Operation { key, fd, action: Action::Close }
}

/// Watches the mailbox of the core.
pub(crate) fn watch_mailbox(fd: RawFd) -> Operation {
    Operation { key: Key { index: 0, generation: 0 }, fd, action: Action::WatchMailbox }
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
