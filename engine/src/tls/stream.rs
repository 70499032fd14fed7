//! A connection as everything above sees it: plain, or behind TLS. The verbs are those of [`io::Stream`]: plaintext leases
//! come in, leases to be sent go out, back-pressure counts what the kernel has not taken.
//!
//! What must hold: a plain connection pays one branch for each call and eight bytes, and no more.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use super::session::Session;
use crate::io::{self as core_io, Lease, Pace, SMALL_BYTES, freeze, return_buf, take_buf};

/// With at least so much of a record to come, a large buffer is worth it.
const BULK_RECORD_BYTES: usize = SMALL_BYTES as usize / 2;
/// Plaintext that is encrypted into one buffer: a record's worth.
const SEND_BYTES: usize = 16 * 1024;

/// A connected socket of this core, with TLS or without.
pub(crate) struct Stream {
    socket: core_io::Stream,
    tls: Option<Box<Tls>>,
}

/// What a connection behind TLS adds to its socket.
struct Tls {
    session: RefCell<Session>,
    /// Plaintext that nobody has taken.
    unread: RefCell<Vec<Lease>>,
    /// Received, and not decrypted yet.
    undecrypted: RefCell<Option<Lease>>,
    /// What the reader asked for.
    pace: Cell<Pace>,
}

/// An open connection that belongs to no core: it can be sent to another one. Dropped, it closes.
pub(crate) struct Detached {
    socket: core_io::Detached,
    session: Option<Box<Session>>,
}

impl From<core_io::Stream> for Stream {
    fn from(socket: core_io::Stream) -> Stream {
        Stream { socket, tls: None }
    }
}

impl Stream {
    /// A connection whose handshake is done, with what was received behind it.
    pub(super) fn secured(socket: core_io::Stream, session: Session, plain: Vec<u8>, rest: Lease) -> Stream {
        let plain = freeze(plain);
        let unread = if plain.is_empty() { Vec::new() } else { vec![plain] };
        let tls = Tls {
            session: RefCell::new(session),
            unread: RefCell::new(unread),
            undecrypted: RefCell::new(Some(rest).filter(|rest| !rest.is_empty())),
            pace: Cell::default(),
        };
        Stream { socket, tls: Some(Box::new(tls)) }
    }

    /// Whether it is behind TLS.
    #[inline]
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// See [`core_io::Stream::start_receiving`].
    pub(crate) fn start_receiving(&self) {
        self.socket.start_receiving();
    }

    /// See [`core_io::Stream::poll_recv`]. Behind TLS, an end that the peer has not announced is an error: whoever is
    /// between us may have cut what it sent.
    #[inline]
    pub(crate) fn poll_recv(&self) -> Poll<io::Result<Option<Lease>>> {
        match &self.tls {
            None => self.socket.poll_recv(),
            Some(tls) => tls.poll_recv(&self.socket),
        }
    }

    /// Awaits [`Stream::poll_recv`].
    pub(crate) async fn recv(&self) -> io::Result<Option<Lease>> {
        poll_fn(|_| self.poll_recv()).await
    }

    /// See [`core_io::Stream::has_input`]. Behind TLS, what only the two machines have to say to each other is no input.
    pub(crate) fn has_input(&self) -> bool {
        match &self.tls {
            None => self.socket.has_input(),
            Some(tls) => tls.has_input(&self.socket),
        }
    }

    /// See [`core_io::Stream::poll_ended`].
    pub(crate) fn poll_ended(&self) -> Poll<()> {
        match &self.tls {
            Some(tls) if tls.session.borrow().is_peer_closed() => Poll::Ready(()),
            _ => self.socket.poll_ended(),
        }
    }

    /// See [`core_io::Stream::set_pace`].
    pub(crate) fn set_pace(&self, pace: Pace) {
        if let Some(tls) = &self.tls {
            tls.pace.set(pace);
        }
        self.socket.set_pace(pace);
    }

    /// See [`core_io::Stream::unwatch`].
    pub(crate) fn unwatch(&self) {
        self.socket.unwatch();
    }

    /// See [`core_io::Stream::send`].
    #[inline]
    pub(crate) fn send(&self, lease: Lease) {
        match &self.tls {
            None => self.socket.send(lease),
            Some(tls) => tls.send(&self.socket, lease),
        }
    }

    /// Says that no more bytes will follow where TLS has a word for it (`close_notify`); what is queued leaves first. Await
    /// [`Stream::sent_below`]`(0)` and call [`Stream::shutdown_write`] then.
    pub(crate) fn end_output(&self) {
        if let Some(tls) = &self.tls {
            tls.close(&self.socket);
        }
    }

    /// See [`core_io::Stream::unsent`].
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.socket.unsent()
    }

    /// See [`core_io::Stream::taken`].
    #[inline]
    pub(crate) fn taken(&self) -> u64 {
        self.socket.taken()
    }

    /// See [`core_io::Stream::is_sending`].
    pub(crate) fn is_sending(&self) -> bool {
        self.socket.is_sending()
    }

    /// See [`core_io::Stream::is_broken`].
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.socket.is_broken() || self.tls.as_ref().is_some_and(|tls| tls.session.borrow().is_failed())
    }

    /// See [`core_io::Stream::poll_sent_below`].
    #[inline]
    pub(crate) fn poll_sent_below(&self, bytes: u32) -> Poll<io::Result<()>> {
        self.socket.poll_sent_below(bytes)
    }

    /// See [`core_io::Stream::poll_room`].
    #[inline]
    pub(crate) fn poll_room(&self, high: u32, low: u32) -> Poll<io::Result<()>> {
        self.socket.poll_room(high, low)
    }

    /// See [`core_io::Stream::sent_below`].
    pub(crate) async fn sent_below(&self, bytes: u32) -> io::Result<()> {
        self.socket.sent_below(bytes).await
    }

    /// See [`core_io::Stream::finish`].
    pub(crate) fn finish(&self) -> bool {
        self.socket.finish()
    }

    /// See [`core_io::Stream::shutdown_write`].
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// See [`core_io::Stream::reset_on_close`].
    pub(crate) fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    /// See [`core_io::Stream::peer_address`].
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        self.socket.peer_address()
    }

    /// See [`core_io::Stream::local_address`].
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_address()
    }

    /// See [`core_io::Stream::can_detach`].
    pub(crate) fn can_detach(&self) -> bool {
        self.socket.can_detach() && self.tls.as_ref().is_none_or(|tls| tls.is_at_rest())
    }

    /// See [`core_io::Stream::detach`].
    pub(crate) async fn detach(self) -> Option<Detached> {
        let session = self.tls.map(|tls| Box::new(tls.session.into_inner()));
        let socket = self.socket.detach().await?;
        Some(Detached { socket, session })
    }
}

impl Detached {
    /// See [`core_io::Detached::attach`].
    pub(crate) fn attach(self) -> Stream {
        let socket = self.socket.attach();
        match self.session {
            None => socket.into(),
            Some(session) => Stream::secured(socket, *session, Vec::new(), Lease::from_static(b"")),
        }
    }
}

impl Tls {
    fn poll_recv(&self, socket: &core_io::Stream) -> Poll<io::Result<Option<Lease>>> {
        if let Some(lease) = self.unread.borrow_mut().pop() {
            return Poll::Ready(Ok(Some(lease)));
        }
        loop {
            let mut session = self.session.borrow_mut();
            if session.is_peer_closed() {
                return Poll::Ready(Ok(None));
            }
            if session.is_failed() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            let received = match self.undecrypted.take() {
                Some(rest) => rest,
                None => match socket.poll_recv() {
                    Poll::Ready(Ok(Some(lease))) => lease,
                    Poll::Ready(Ok(None)) => return Poll::Ready(session.end().map(|()| None)),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                },
            };
            let (mut plain, mut out) = (take_buf(), take_buf());
            let outcome = session.receive(&received, &mut plain, &mut out);
            let long = session.record_bytes_left() >= BULK_RECORD_BYTES;
            drop(session);
            socket.set_pace(match self.pace.get() {
                Pace::Stream if long => Pace::Bulk,
                asked_for => asked_for,
            });
            send_all(socket, out);
            if let Ok(taken) = outcome
                && taken < received.len()
            {
                let mut rest = received;
                rest.advance(taken);
                self.undecrypted.replace(Some(rest));
            }
            if !plain.is_empty() {
                return Poll::Ready(Ok(Some(freeze(plain))));
            }
            return_buf(plain);
        }
    }

    fn has_input(&self, socket: &core_io::Stream) -> bool {
        let waits = !self.unread.borrow().is_empty() || self.undecrypted.borrow().is_some();
        if !waits && !socket.has_input() {
            return false;
        }
        match self.poll_recv(socket) {
            Poll::Pending => {
                socket.unwatch();
                false
            }
            Poll::Ready(Ok(Some(lease))) => {
                self.unread.borrow_mut().push(lease);
                true
            }
            Poll::Ready(_) => true,
        }
    }

    /// Nothing is on its way in.
    fn is_at_rest(&self) -> bool {
        let session = self.session.borrow();
        !session.is_mid_record()
            && !session.is_peer_closed()
            && !session.is_failed()
            && self.unread.borrow().is_empty()
            && self.undecrypted.borrow().is_none()
    }

    fn send(&self, socket: &core_io::Stream, mut lease: Lease) {
        let mut session = self.session.borrow_mut();
        while !lease.is_empty() {
            let piece = lease.split_to(SEND_BYTES);
            let (mut plain, mut out) = (take_buf(), take_buf());
            let outcome = session.send(&piece, &mut plain, &mut out);
            send_all(socket, out);
            self.keep(plain);
            if outcome.is_err() {
                // As on a socket that has failed: the next receive or `is_broken` tells.
                return;
            }
        }
    }

    fn close(&self, socket: &core_io::Stream) {
        let (mut plain, mut out) = (take_buf(), take_buf());
        self.session.borrow_mut().close(&mut plain, &mut out);
        send_all(socket, out);
        self.keep(plain);
    }

    fn keep(&self, plain: Vec<u8>) {
        if plain.is_empty() {
            return return_buf(plain);
        }
        self.unread.borrow_mut().insert(0, freeze(plain));
    }
}

/// Sends what a session has written; nothing where it is empty.
pub(super) fn send_all(socket: &core_io::Stream, out: Vec<u8>) {
    if out.is_empty() {
        return return_buf(out);
    }
    socket.send(freeze(out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_pays_eight_bytes() {
        assert_eq!(size_of::<Stream>(), size_of::<core_io::Stream>() + size_of::<usize>());
    }
}
