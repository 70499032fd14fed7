//! Connected sockets: [`TcpStream`], [`UnixStream`], and what they share, [`Stream`].
//!
//! Receiving hands out leases; sending takes leases, in order, and returns at once: the bytes leave at the end of the
//! turn, gathered. A stream that carries TLS will speak the same way: plaintext leases in, gathered sends out.

use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket as Socket2, Type};

use super::Lease;
use super::driver::{Descriptor, Driver};
use super::ring::ring::with_core;
use super::ring::slab::Key;
use super::ring::socket::Socket;

/// Within a host there is no network to be fair to: the control that computes least. Every kernel has it.
const LOOPBACK_CONGESTION_CONTROL: &[u8] = b"reno";
const OFF_CORE: &str = "streams are used on the core that made them";

/// How a stream receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pace {
    /// As it comes, into small buffers: heads and frames.
    #[default]
    Stream,
    /// One small buffer at a time: a long body for a peer that has not shown that it reads.
    Pieces,
    /// One large buffer at a time: a long body. Small ones where there are no large ones.
    Bulk,
}

impl Pace {
    /// Of a body that is long, or of anything else.
    pub fn bulk_if(is_long: bool) -> Pace {
        if is_long { Pace::Bulk } else { Pace::Stream }
    }
}

/// Options of a TCP connection, set before it is used.
#[derive(Clone, Debug, Default)]
pub struct TcpOptions {
    /// Probe an idle peer after this long (`TCP_KEEPIDLE`); none: no keepalive.
    pub keepalive: Option<Duration>,
    /// Give up on unacknowledged data after this long (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// Congestion control by name, as in `tcp_available_congestion_control`; none: the kernel's default, except that
    /// connections within this host have the cheapest (decision 0020).
    pub congestion_control: Option<String>,
    /// The kernel takes no more while it holds so many bytes that it has not sent (`TCP_NOTSENT_LOWAT`); none: as
    /// many as its send buffer holds, which is megabytes for a peer that does not read.
    pub unsent_bytes_max: Option<u32>,
}

impl TcpOptions {
    /// Whether this kernel takes the options, tried on a socket that is thrown away.
    ///
    /// # Errors
    /// As the kernel reports; for a congestion control that it does not have, the text names those that it has.
    pub fn check(&self) -> io::Result<()> {
        let socket = Socket2::new(Domain::IPV4, Type::STREAM, None)?;
        self.apply(&socket, SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Sets the options, and `TCP_NODELAY`, on a socket that is to connect to `address` or to listen on it. On a
    /// listening socket, accepted ones inherit them.
    pub(super) fn apply(&self, socket: &Socket2, address: SocketAddr) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if let Some(time) = self.keepalive {
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(time))?;
        }
        if let Some(time) = self.user_timeout {
            socket.set_tcp_user_timeout(Some(time))?;
        }
        if let Some(bytes) = self.unsent_bytes_max {
            socket.set_tcp_notsent_lowat(bytes)?;
        }
        if let Some(name) = &self.congestion_control {
            let known = socket.set_tcp_congestion(name.as_bytes());
            known.map_err(|error| unknown_congestion_control(name, &error))?;
        } else if address.ip().is_loopback() {
            socket.set_tcp_congestion(LOOPBACK_CONGESTION_CONTROL)?;
        }
        Ok(())
    }
}

/// The kernel only says "no such file", or that it is not permitted.
fn unknown_congestion_control(name: &str, error: &io::Error) -> io::Error {
    let listed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    let listed = listed.unwrap_or_default();
    io::Error::new(
        error.kind(),
        format!("congestion control {name:?}: {error}; this kernel has: {}", listed.trim()),
    )
}

/// A connected socket of this core. Dropping it cancels what is in flight and closes it, unsent bytes included: await
/// [`Stream::sent_below`] first where they matter.
pub struct Stream {
    key: Key,
    /// Bound to its thread: the key means something else on another core.
    not_send: PhantomData<*const ()>,
}

impl Stream {
    pub(super) fn adopt(fd: RawFd) -> Stream {
        let key = with_core(|core| core.sockets.borrow_mut().insert(Socket::new(fd))).expect(OFF_CORE);
        Stream { key, not_send: PhantomData }
    }

    /// Starts to receive without waiting: an idle connection notices its peer's end even when nobody reads.
    pub fn start_receiving(&self) {
        if let Poll::Ready(Ok(Some(lease))) = self.poll_recv() {
            self.unread(lease);
        }
    }

    /// What is received from now on is new work: whoever reads it yields to tasks that go on with what they began.
    pub fn yield_to_others(&self) {
        self.with_socket(|socket| socket.yields = true);
    }

    /// The next received bytes (never empty); `None` at the end of the stream. Registers the current task.
    ///
    /// # Errors
    /// As the kernel reports for the socket, for example `ECONNRESET`.
    pub fn poll_recv(&self) -> Poll<io::Result<Option<Lease>>> {
        match with_core(|core| core.poll_input(self.key)).expect(OFF_CORE) {
            Some(input) => Poll::Ready(input),
            None => Poll::Pending,
        }
    }

    /// Awaits [`Stream::poll_recv`]. Dropping the future loses nothing: bytes stay with the stream.
    pub async fn recv(&self) -> io::Result<Option<Lease>> {
        poll_fn(|_| self.poll_recv()).await
    }

    /// Puts bytes back in front, to be received next.
    pub fn unread(&self, lease: Lease) {
        if !lease.is_empty() {
            self.with_socket(|socket| socket.put_back(lease));
        }
    }

    /// Whether bytes, the end or an error wait to be received. On an idle connection: whether it is still good.
    pub fn has_input(&self) -> bool {
        self.with_socket(|socket| socket.has_input()).unwrap_or(true)
    }

    /// Ready when the peer has ended its side or the connection has failed, also behind bytes that nobody has taken; else
    /// registers the current task to be woken by any input. Behind a full inbox the end is not seen.
    pub fn poll_ended(&self) -> Poll<()> {
        with_core(|core| core.poll_ended(self.key)).expect(OFF_CORE)
    }

    /// How the stream receives from now on.
    pub fn set_pace(&self, pace: Pace) {
        with_core(|core| core.set_pace(self.key, pace));
    }

    /// No task is woken by input any more: the stream is idle in a pool.
    pub fn unwatch(&self) {
        self.with_socket(|socket| socket.reader = None);
    }

    /// Queues bytes to be sent behind those queued before. Never blocks; see [`Stream::unsent`] for back-pressure.
    pub fn send(&self, lease: Lease) {
        with_core(|core| core.queue_send(self.key, lease));
    }

    /// Bytes queued that the kernel has not taken yet.
    pub fn unsent(&self) -> usize {
        self.with_socket(|socket| socket.unsent()).unwrap_or(0)
    }

    /// Bytes that the kernel has taken since the stream began.
    pub fn taken(&self) -> u64 {
        self.with_socket(|socket| socket.taken()).unwrap_or(0)
    }

    /// Whether the kernel is at work on a send: it may have taken more than [`Stream::taken`] says.
    pub fn is_sending(&self) -> bool {
        self.with_socket(|socket| socket.is_sending()).unwrap_or(false)
    }

    /// The peer has reset the connection, or it failed otherwise.
    pub fn is_broken(&self) -> bool {
        self.with_socket(|socket| socket.is_broken()).unwrap_or(true)
    }

    /// Ready when at most `bytes` are unsent; else registers the current task.
    ///
    /// # Errors
    /// As the kernel reports for the socket, for example `EPIPE`. Queued bytes are lost then.
    pub fn poll_sent_below(&self, bytes: u32) -> Poll<io::Result<()>> {
        self.poll_room(bytes, bytes)
    }

    /// Ready when at most `high` bytes are unsent; else registers the current task to be woken at `low` or fewer.
    ///
    /// # Errors
    /// As for [`Stream::poll_sent_below`].
    pub fn poll_room(&self, high: u32, low: u32) -> Poll<io::Result<()>> {
        with_core(|core| {
            let mut sockets = core.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(self.key) else { return Poll::Ready(Ok(())) };
            if let Some(error) = socket.send_failure() {
                return Poll::Ready(Err(error));
            }
            if socket.unsent() <= high as usize {
                return Poll::Ready(Ok(()));
            }
            socket.wake_when_below(low, core.tasks.current());
            Poll::Pending
        })
        .expect(OFF_CORE)
    }

    /// Awaits [`Stream::poll_sent_below`].
    pub async fn sent_below(&self, bytes: u32) -> io::Result<()> {
        poll_fn(|_| self.poll_sent_below(bytes)).await
    }

    /// Sends all queued bytes now and says FIN with the last of them: one packet less than one after the other. False if the
    /// kernel did not take all of it at once; what is left is sent as ever, and FIN has not been said.
    pub fn finish(&self) -> bool {
        with_core(|core| core.finish(self.key)).unwrap_or(false)
    }

    /// Says that no more bytes will follow (FIN). Await [`Stream::sent_below`]`(0)` first.
    ///
    /// # Errors
    /// `ENOTCONN` when the peer has already gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        let done = self.with_fd(|driver, fd| driver.shutdown_write(fd));
        done.unwrap_or_else(|| Err(io::Error::from_raw_os_error(libc::ENOTCONN)))
    }

    /// Makes the coming close a reset, so that the peer cannot take what it got for all there was.
    pub fn reset_on_close(&self) {
        // If this fails the peer is already gone.
        let _ = self.with_fd(|driver, fd| driver.reset_on_close(fd));
    }

    /// The peer's address, if it has one that IP knows.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.with_fd(|driver, fd| driver.peer_address(fd)).flatten()
    }

    /// Our own address on it, if it has one that IP knows.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.with_fd(|driver, fd| driver.local_address(fd)).flatten()
    }

    /// Whether a fault of the simulated network, one that a peer could notice, has touched the connection.
    #[cfg(feature = "simulation")]
    pub fn is_disturbed(&self) -> bool {
        self.with_socket(|socket| socket.fd).is_none_or(super::simulated::is_disturbed)
    }

    /// Whether [`Stream::detach`] has a chance. Not right behind a long body.
    pub fn can_detach(&self) -> bool {
        with_core(|core| core.can_leave(self.key)).unwrap_or(false)
    }

    /// Stops receiving; see `Core::poll_leave`.
    pub(super) fn poll_leave(&self) -> Poll<bool> {
        with_core(|core| core.poll_leave(self.key)).unwrap_or(Poll::Ready(false))
    }

    pub(super) fn second_descriptor(&self) -> Option<Descriptor> {
        self.with_fd(|driver, fd| driver.second_descriptor(fd).ok()).flatten()
    }

    fn with_socket<R>(&self, f: impl FnOnce(&mut Socket) -> R) -> Option<R> {
        with_core(|core| core.sockets.borrow_mut().get_mut(self.key).map(f)).flatten()
    }

    fn with_fd<R>(&self, f: impl FnOnce(&Driver, RawFd) -> R) -> Option<R> {
        let fd = self.with_socket(|socket| socket.fd)?;
        with_core(|core| f(core.driver(), fd))
    }

    async fn connect(fd: RawFd, address: SockAddr) -> io::Result<Stream> {
        let stream = Stream::adopt(fd);
        with_core(|core| core.start_connect(stream.key, address));
        poll_fn(|_| stream.poll_connected()).await?;
        Ok(stream)
    }

    fn poll_connected(&self) -> Poll<io::Result<()>> {
        with_core(|core| {
            let current = core.tasks.current();
            let mut sockets = core.sockets.borrow_mut();
            let socket = sockets.get_mut(self.key).expect("the handle keeps its slot");
            socket.reader = current;
            socket.connected().map_or(Poll::Pending, Poll::Ready)
        })
        .expect(OFF_CORE)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        with_core(|core| core.close(self.key));
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({}/{})", self.key.index, self.key.generation)
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpStream(Stream);

impl TcpStream {
    pub(super) fn from_stream(stream: Stream) -> TcpStream {
        TcpStream(stream)
    }

    /// Connects. Dropping the future gives up and closes.
    ///
    /// # Errors
    /// As the kernel reports: refused, unreachable, out of descriptors or ports. There is no time limit here.
    pub async fn connect(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
        let fd = with_core(|core| core.driver().tcp_socket(address, options)).expect(OFF_CORE)?;
        Ok(TcpStream(Stream::connect(fd, address.into()).await?))
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Stream {
        tcp.0
    }
}

impl std::ops::Deref for TcpStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

/// A connection over a unix-domain socket.
#[derive(Debug)]
pub struct UnixStream(Stream);

impl UnixStream {
    /// Connects to a socket file.
    ///
    /// # Errors
    /// As the kernel reports: no such file, refused, path too long.
    pub async fn connect(path: &Path) -> io::Result<UnixStream> {
        let address = SockAddr::unix(path)?;
        let fd = with_core(|core| core.driver().unix_socket()).expect(OFF_CORE)?;
        Ok(UnixStream(Stream::connect(fd, address).await?))
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Stream {
        unix.0
    }
}

impl std::ops::Deref for UnixStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}
