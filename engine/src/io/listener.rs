//! Listening sockets. Every core opens its own on the same address (`SO_REUSEPORT`), so that cores share nothing.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::task::Poll;

use socket2::{Domain, SockRef, Socket as Socket2, Type};

use super::driver::Descriptor;
use super::ring::ring::{Core, with_core};
use super::ring::slab::Key;
use super::ring::socket::Socket;
use super::stream::{Stream, TcpOptions, TcpStream};

/// A bound socket that is not yet part of a core: opened by whoever starts the cores, so that a bad address is known
/// before anything runs.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Bound {
    /// Binds with `SO_REUSEPORT` and does not listen yet. Port 0 picks a free one, see [`Bound::address`].
    ///
    /// # Errors
    /// As the kernel reports: address in use, not ours, not permitted, unknown congestion control.
    pub fn bind(address: SocketAddr, options: &TcpOptions) -> io::Result<Bound> {
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        options.apply(&socket, address)?;
        socket.bind(&address.into())?;
        let address = ip_address(&socket)?;
        Ok(Bound { socket: socket.into(), address })
    }

    /// Binds and listens.
    ///
    /// # Errors
    /// As for [`Bound::bind`].
    pub fn listen(address: SocketAddr, backlog: u32, options: &TcpOptions) -> io::Result<Bound> {
        let bound = Bound::bind(address, options)?;
        bound.begin(backlog, options)?;
        Ok(bound)
    }

    /// Takes a socket over that another process bound.
    ///
    /// # Errors
    /// When it is not a listening TCP socket, which is what a process hands over.
    pub fn inherit(socket: OwnedFd) -> io::Result<Bound> {
        let known = SockRef::from(&socket);
        let address = ip_address(&known)?;
        if known.r#type()? != Type::STREAM || !known.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening TCP socket"));
        }
        Ok(Bound { address, socket })
    }

    /// Listens; on a socket that does so already, the options take effect on connections that are accepted from now on.
    /// (A congestion control that is no longer wished for stays: the kernel has no way back to its default.)
    ///
    /// # Errors
    /// As the kernel reports: address in use, unknown congestion control.
    pub fn begin(&self, backlog: u32, options: &TcpOptions) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        socket.set_keepalive(options.keepalive.is_some())?;
        socket.set_tcp_user_timeout(Some(options.user_timeout.unwrap_or_default()))?;
        options.apply(&socket, self.address)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    /// A descriptor of the socket, to be handed to another process.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn to_descriptor(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Whether nobody serves the address yet: with `SO_REUSEPORT` alone, a second process would silently share it.
    ///
    /// # Errors
    /// As the kernel reports: address in use, not ours, not permitted.
    pub fn check_free(address: SocketAddr) -> io::Result<()> {
        let socket = Socket2::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    }

    /// A second handle to the same listening socket: it goes on listening, under the same port, when a core has adopted
    /// one of them and ended.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(Bound { socket: self.socket.try_clone()?, address: self.address })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn ip_address(socket: &Socket2) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))
}

/// A listening socket of this core.
pub struct TcpListener {
    key: Key,
    /// Connections are accepted before they are asked for.
    ahead: Cell<bool>,
    /// Bound to its thread: the key means something else on another core.
    not_send: PhantomData<*const ()>,
}

impl TcpListener {
    /// Makes a bound socket part of this core. It does not accept until asked.
    ///
    /// # Panics
    /// On a thread that is not a core.
    pub fn adopt(bound: Bound) -> TcpListener {
        let fd = bound.socket.into_raw_fd();
        let key = with_core(|core| core.sockets.borrow_mut().insert(Socket::new(fd)));
        TcpListener::of(key.expect("listeners are adopted on a core"))
    }

    fn of(key: Key) -> TcpListener {
        TcpListener { key, ahead: Cell::new(true), not_send: PhantomData }
    }

    /// Listens in the world of this core.
    ///
    /// # Panics
    /// On a thread that is not a simulated core.
    #[cfg(feature = "simulation")]
    pub fn simulated(address: SocketAddr) -> TcpListener {
        let orphan = super::simulated::listen(address).expect("there is a world on simulated cores only");
        let fd = Descriptor::World(orphan).into_raw();
        let key = with_core(|core| core.sockets.borrow_mut().insert(Socket::new(fd)));
        TcpListener::of(key.expect("listeners are adopted on a core"))
    }

    /// The next connection. Arms the accept, which stays armed and accepts ahead, until [`TcpListener::pause`] or
    /// [`TcpListener::accept_ahead`].
    ///
    /// # Errors
    /// As the kernel reports; `EMFILE` and `ENFILE` (out of descriptors) pass when some are closed: wait, then go on.
    pub async fn accept(&self) -> io::Result<Accepted> {
        poll_fn(|_| self.poll_accept()).await
    }

    /// Ready with the next connection; else registers the current task. See [`TcpListener::accept`].
    ///
    /// # Errors
    /// As for [`TcpListener::accept`].
    pub fn poll_accept(&self) -> Poll<io::Result<Accepted>> {
        let next = with_core(|core| {
            let current = core.tasks.current();
            let mut sockets = core.sockets.borrow_mut();
            let socket = sockets.get_mut(self.key)?;
            socket.reader = current;
            let next = socket.take_accepted();
            drop(sockets);
            if next.is_none() {
                core.start_accept(self.key, self.ahead.get());
            }
            next.map(|next| next.map(|fd| Accepted::new(core, fd)))
        });
        next.flatten().map_or(Poll::Pending, Poll::Ready)
    }

    /// Accepts no more: ready with what the kernel has accepted already, and with `None` once it has confirmed that
    /// nothing follows; else registers the current task. After `None` the listener can be dropped and nobody is lost:
    /// who is not accepted by then waits in the backlog, for another owner of the socket if there is one.
    pub fn poll_last(&self) -> Poll<Option<io::Result<Accepted>>> {
        let last = with_core(|core| {
            let mut sockets = core.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(self.key) else { return Poll::Ready(None) };
            socket.reader = core.tasks.current();
            if let Some(next) = socket.take_accepted() {
                return Poll::Ready(Some(next.map(|fd| Accepted::new(core, fd))));
            }
            if !socket.is_accepting() {
                return Poll::Ready(None);
            }
            drop(sockets);
            core.stop_accept(self.key);
            Poll::Pending
        });
        last.unwrap_or(Poll::Ready(None))
    }

    /// Who waits in the backlog now, one by one; `None` when nobody does. For a listener that accepts no more and is about
    /// to be dropped, see [`TcpListener::poll_last`]: with the last handle to a socket, its backlog is reset.
    pub fn take_waiting(&self) -> Option<io::Result<Accepted>> {
        let next = with_core(|core| {
            let sockets = core.sockets.borrow();
            let socket = sockets.get(self.key).filter(|socket| !socket.is_accepting())?;
            let next = core.driver().accept_waiting(socket.fd)?;
            Some(next.map(|socket| Accepted { socket }))
        });
        next.flatten()
    }

    /// Whether connections are accepted before they are asked for, all that the backlog holds in one go: cheaper, but
    /// each holds a descriptor from then on. At first they are.
    pub fn accept_ahead(&self, ahead: bool) {
        if self.ahead.replace(ahead) && !ahead {
            self.pause();
        }
    }

    /// Stops accepting until [`TcpListener::accept`] is called again: new connections wait in the backlog. Those that
    /// the kernel had accepted already are still handed out.
    pub fn pause(&self) {
        with_core(|core| core.stop_accept(self.key));
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        with_core(|core| core.close(self.key));
    }
}

/// A connection that was accepted and belongs to no core yet: it can be sent to another one.
#[derive(Debug)]
pub struct Accepted {
    socket: Descriptor,
}

impl Accepted {
    /// Takes what an accept completed with.
    fn new(core: &Core, fd: RawFd) -> Accepted {
        Accepted { socket: core.driver().own(fd) }
    }

    /// Makes the connection part of the core that this thread is, and starts to receive.
    ///
    /// # Panics
    /// On a thread that is not a core.
    pub fn into_stream(self) -> TcpStream {
        let stream = Stream::adopt(self.socket.into_raw());
        stream.start_receiving();
        TcpStream::from_stream(stream)
    }
}
