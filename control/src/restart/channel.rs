//! The channel between a process and its successor: short texts, some with descriptors, each message whole or not at all.
//!
//! The messages, which other versions understand too:
//!
//! | who | text | with | meaning |
//! |---|---|---|---|
//! | predecessor | `pinion-restart 1` | | version of all that follows |
//! | predecessor | `listener N ADDR` | sockets | some of those of the Nth configured address, from 0 |
//! | predecessor | `all` | | there are no more sockets |
//! | successor | `ready` | | nothing can fail any more; nobody was accepted |
//! | predecessor | `go` | | accept |
//! | successor | `accepting` | | every socket is accepted from |
//!
//! The end of the channel is the end of the other process.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

pub(super) const VERSION: &str = "pinion-restart 1";
pub(super) const LISTENER: &str = "listener ";
pub(super) const ALL: &str = "all";
pub(super) const READY: &str = "ready";
pub(super) const GO: &str = "go";
pub(super) const ACCEPTING: &str = "accepting";

/// Descriptors of one message: the kernel takes up to 253.
pub(super) const FILES_MAX: usize = 64;
/// The longest text is that of a listener: a number and an address.
const TEXT_BYTES_MAX: usize = 256;

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// A message that has come.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) text: String,
    pub(super) files: Vec<OwnedFd>,
}

impl Channel {
    /// Our end, and the descriptor that the successor gets.
    pub(super) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(ours), theirs))
    }

    /// The end that a predecessor made for us.
    ///
    /// # Errors
    /// When it is something else.
    pub(super) fn of(descriptor: OwnedFd) -> io::Result<Channel> {
        match sockopt::socket_type(&descriptor) {
            Ok(SocketType::SEQPACKET) => Ok(Channel(descriptor)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is no channel")),
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the other side has to read first; else the other side has gone, or descriptors are short.
    pub(super) fn send(&self, text: &str, files: &[OwnedFd]) -> io::Result<()> {
        debug_assert!(text.len() <= TEXT_BYTES_MAX);
        debug_assert!(files.len() <= FILES_MAX);
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !with.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.0, &[IoSlice::new(text.as_bytes())], &mut with, flags)?;
        Ok(())
    }

    /// The next message; `None` at the end of the other side.
    ///
    /// # Errors
    /// `WouldBlock` when there is none yet and `flags` forbid to wait; a message that is too long or has lost descriptors.
    fn receive_with(&self, flags: RecvFlags) -> io::Result<Option<Received>> {
        let mut bytes = [0; TEXT_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let got = rustix::io::retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut with, flags)
        });
        let got = match got {
            Ok(got) => got,
            // It ended with something of ours unread.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let rights = with.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files: Vec<OwnedFd> = rights.flatten().collect();
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::other("a message did not fit, or descriptors have run out"));
        }
        if got.bytes == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(&bytes[..got.bytes]).map_err(io::Error::other)?.to_owned();
        Ok(Some(Received { text, files }))
    }

    /// The next message, waited for; `None` at the end of the other side.
    pub(super) fn receive(&self) -> io::Result<Option<Received>> {
        self.receive_with(RecvFlags::empty())
    }

    /// The same without waiting: then the error is `WouldBlock`.
    pub(super) fn try_receive(&self) -> io::Result<Option<Received>> {
        self.receive_with(RecvFlags::DONTWAIT)
    }
}
