//! What is done to a descriptor at once, not through the loop: making a socket, half-closing it, asking for its peer.
//!
//! Called by `stream.rs` and `listener.rs`. All of it goes by way of the core's driver, because a descriptor of
//! the simulated driver is a number of its world, which the kernel must never see.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::Driver;
use crate::io::stream::TcpOptions;

/// A descriptor that no core has adopted yet; it can be sent to another one. Closed when dropped.
#[derive(Debug)]
pub(crate) enum Descriptor {
    Kernel(OwnedFd),
    #[cfg(feature = "simulation")]
    World(super::simulated::Orphan),
}

impl Descriptor {
    /// Gives the number to a slot, which owns it from now on.
    pub(crate) fn into_raw(self) -> RawFd {
        match self {
            Descriptor::Kernel(fd) => fd.into_raw_fd(),
            #[cfg(feature = "simulation")]
            Descriptor::World(orphan) => orphan.into_raw(),
        }
    }
}

impl Driver {
    /// Takes a descriptor over that an accept has just handed out.
    pub(crate) fn own(&self, fd: RawFd) -> Descriptor {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(_) = self {
            return Descriptor::World(super::simulated::Orphan::new(fd));
        }
        // SAFETY: the kernel has handed us this descriptor in a completion, which is taken once; nobody else knows it.
        Descriptor::Kernel(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The next connection in the backlog of a listening socket, without waiting; `None` when there is none. The world of
    /// the simulation lets nobody wait whom it could accept.
    pub(crate) fn accept_waiting(&self, fd: RawFd) -> Option<io::Result<Descriptor>> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(_) = self {
            return None;
        }
        let listener = borrow(fd);
        let listener = SockRef::from(&listener);
        // Another process may serve the socket too, and be faster. Its accepts do not mind: epoll has set this anyway, and
        // io_uring waits all the same.
        let accepted = listener.set_nonblocking(true).and_then(|()| listener.accept());
        match accepted {
            Ok((socket, _)) => Some(Ok(Descriptor::Kernel(socket.into()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// A descriptor of the same connection, which outlives this one.
    ///
    /// # Errors
    /// Out of descriptors. The simulated world has one core only: nothing leaves it.
    pub(crate) fn second_descriptor(&self, fd: RawFd) -> io::Result<Descriptor> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(_) = self {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Descriptor::Kernel(borrow(fd).try_clone_to_owned()?))
    }

    /// A TCP socket that is about to connect to `address`.
    ///
    /// # Errors
    /// As the kernel reports: out of descriptors, unknown congestion control.
    pub(crate) fn tcp_socket(&self, address: SocketAddr, options: &TcpOptions) -> io::Result<RawFd> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return Ok(world.socket());
        }
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        options.apply(&socket, address)?;
        Ok(socket.into_raw_fd())
    }

    /// A unix socket that is about to connect. The simulated world has none.
    ///
    /// # Errors
    /// As the kernel reports.
    pub(crate) fn unix_socket(&self) -> io::Result<RawFd> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(_) = self {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        Ok(Socket::new(Domain::UNIX, Type::STREAM, None)?.into_raw_fd())
    }

    /// Hands a message to the kernel at once, which may hold its end back for what follows; how many bytes it took.
    ///
    /// # Errors
    /// As the kernel reports, `EAGAIN` included. The simulated world takes everything by way of the loop.
    pub(crate) fn send_ahead(&self, fd: RawFd, message: &libc::msghdr) -> io::Result<usize> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(_) = self {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flags = libc::MSG_MORE | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the message points to vectors and bytes that its owner keeps in place; the call reads them and returns.
        let taken = unsafe { libc::sendmsg(fd, message, flags) };
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    /// Says FIN behind what was sent.
    pub(crate) fn shutdown_write(&self, fd: RawFd) -> io::Result<()> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.shutdown_write(fd);
        }
        SockRef::from(&borrow(fd)).shutdown(Shutdown::Write)
    }

    /// Makes the coming close a reset.
    pub(crate) fn reset_on_close(&self, fd: RawFd) -> io::Result<()> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.reset_on_close(fd);
        }
        SockRef::from(&borrow(fd)).set_linger(Some(Duration::ZERO))
    }

    /// Our own address, if it is one that IP knows.
    pub(crate) fn local_address(&self, fd: RawFd) -> Option<SocketAddr> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.local_address(fd);
        }
        SockRef::from(&borrow(fd)).local_addr().ok()?.as_socket()
    }

    /// The peer's address, if it has one that IP knows.
    pub(crate) fn peer_address(&self, fd: RawFd) -> Option<SocketAddr> {
        #[cfg(feature = "simulation")]
        if let Driver::Simulated(world) = self {
            return world.peer_address(fd);
        }
        SockRef::from(&borrow(fd)).peer_addr().ok()?.as_socket()
    }
}

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the descriptor stays open while a handle or an operation names it, and no borrow is kept beyond one call.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
