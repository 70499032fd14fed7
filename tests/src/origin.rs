//! A backend that does exactly what a test tells it: one script per connection, on plain threads.
//!
//! Used by every test as the other end of the proxy. It records what it received. A script that panics is
//! remembered, and ends the test when the origin is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use crate::message::Request;
use crate::wait;
use crate::wire::{End, Stream, Wire, lossy};

/// How long a script waits for the proxy's next byte: longer than any test lasts.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(120);

/// A running origin.
pub struct Origin {
    place: Place,
    state: Arc<State>,
}

enum Place {
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Request>>,
    failures: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    live: AtomicUsize,
    stopped: AtomicBool,
}

/// One accepted connection, given to the script.
pub struct Conn {
    wire: Wire,
    /// From 1, in order of acceptance.
    pub number: usize,
    reset: bool,
    state: Arc<State>,
}

impl Origin {
    /// Listens on a free port and runs `script` for each connection, each on its own thread. The connection
    /// closes when the script returns.
    pub fn start(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        Origin::listening(
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be bound"),
            script,
        )
    }

    /// The same on a given address: an origin that comes back where another one was.
    pub fn start_at(addr: SocketAddr, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let listener = wait::some("the origin's old port is free again", || TcpListener::bind(addr).ok());
        Origin::listening(listener, script)
    }

    /// The same, unless somebody has the address.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn try_start_at(
        addr: SocketAddr,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> std::io::Result<Origin> {
        Ok(Origin::listening(TcpListener::bind(addr)?, script))
    }

    /// The same with a small receive buffer, for an origin that reads slowly.
    pub fn start_small(buf_bytes: usize, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.set_recv_buffer_size(buf_bytes).expect("buffers can be set");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port can be bound");
        socket.listen(128).expect("a bound socket can listen");
        Origin::listening(socket.into(), script)
    }

    fn listening(listener: TcpListener, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let place = Place::Tcp(listener.local_addr().expect("a listener has an address"));
        Origin::accepting(place, script, move || listener.accept().map(|(stream, _)| Stream::Tcp(stream)))
    }

    /// The same behind TLS. A connection whose handshake fails is none: its script never runs.
    pub fn start_tls(config: ServerConfig, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port can be bound");
        let addr = listener.local_addr().expect("a listener has an address");
        let config = Arc::new(config);
        Origin::accepting(Place::Tls(addr), script, move || {
            loop {
                let (stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(wait::PATIENCE))?;
                let tls = ServerConnection::new(Arc::clone(&config)).expect("a server");
                let mut tls = StreamOwned::new(tls, stream);
                while tls.conn.is_handshaking() && tls.conn.complete_io(&mut tls.sock).is_ok() {}
                if !tls.conn.is_handshaking() {
                    return Ok(Stream::TlsServer(Box::new(tls)));
                }
            }
        })
    }

    /// Listens on a unix socket at `path`.
    pub fn start_unix(path: &Path, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let listener = UnixListener::bind(path).expect("a unix socket can be bound");
        let place = Place::Unix(path.to_owned());
        Origin::accepting(place, script, move || listener.accept().map(|(stream, _)| Stream::Unix(stream)))
    }

    fn accepting(
        place: Place,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
        accept: impl Fn() -> std::io::Result<Stream> + Send + 'static,
    ) -> Origin {
        let state = Arc::new(State::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok(stream) = accept() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                shared.live.fetch_add(1, Ordering::SeqCst);
                let wire = Wire::new(stream, SCRIPT_PATIENCE);
                let conn = Conn { wire, number, reset: false, state: Arc::clone(&shared) };
                let script = Arc::clone(&script);
                thread::spawn(move || conn.run(script.as_ref()));
            }
        });
        Origin { place, state }
    }

    /// Answers every request with 200 and `body`.
    pub fn answering(body: &'static str) -> Origin {
        Origin::start(move |conn| conn.answer_all(body))
    }

    /// Answers every request with 200 and its own head and body, so that a test sees what was forwarded.
    pub fn echo() -> Origin {
        Origin::start(|conn| {
            while let Some(request) = conn.request() {
                let mut body = request.raw_head.clone();
                body.extend(&request.body);
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
                conn.send(body);
            }
        })
    }

    /// Its TCP address.
    pub fn addr(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(addr) | Place::Tls(addr) => *addr,
            Place::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    /// As a backend's URL.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Tcp(addr) => format!("http://{addr}"),
            Place::Tls(addr) => format!("https://localhost:{}", addr.port()),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script still runs.
    pub fn live(&self) -> usize {
        self.state.live.load(Ordering::SeqCst)
    }

    /// Every request received so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` requests have come and returns them.
    pub fn wait_requests(&self, count: usize) -> Vec<Request> {
        wait::some(&format!("{count} requests at the origin"), || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }

    /// The only request that it received.
    pub fn only_request(&self) -> Request {
        let requests = self.wait_requests(1);
        assert_eq!(requests.len(), 1, "one request only: {requests:?}");
        requests.into_iter().next().expect("one request")
    }

    /// Accepts nothing more and gives the port back; connections that are open stay open.
    pub fn stop_accepting(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        if let Place::Tcp(addr) | Place::Tls(addr) = &self.place {
            let _ = TcpStream::connect_timeout(addr, Duration::from_secs(1));
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop_accepting();
        let failures = self.state.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !thread::panicking() {
            assert!(failures.is_empty(), "the origin's script failed: {failures:?}");
        }
    }
}

impl Conn {
    fn run(mut self, script: &(impl Fn(&mut Conn) + ?Sized)) {
        let state = Arc::clone(&self.state);
        let outcome = catch_unwind(AssertUnwindSafe(|| script(&mut self)));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let mut failures = state.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(text.unwrap_or_else(|| "a panic without text".to_owned()));
        }
        if !self.reset {
            // At once, even while a program that another thread starts still holds a copy of the descriptor.
            self.wire.close();
        }
        drop(self);
        state.live.fetch_sub(1, Ordering::SeqCst);
    }

    /// The next request with its body; `None` when the proxy ended the connection, before or within it.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.read_head()?;
        if request.fields.chunked() {
            (request.body, request.trailers) = self.wire.chunks().ok()?;
        } else if let Some(len) = request.fields.length() {
            request.body = self.wire.exactly(len).ok()?;
        }
        self.record(&request);
        Some(request)
    }

    /// Only the next request's head; its body stays to be read.
    pub fn head(&mut self) -> Option<Request> {
        let request = self.read_head()?;
        self.record(&request);
        Some(request)
    }

    fn read_head(&mut self) -> Option<Request> {
        self.wire.head().ok().map(|head| Request::parse(self.number, head))
    }

    fn record(&self, request: &Request) {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }

    /// A line with its end.
    pub fn line(&mut self) -> Vec<u8> {
        self.wire.until(b"\r\n").unwrap_or_else(|end| panic!("{end:?} instead of a line"))
    }

    /// Exactly so many bytes; fails the script when the connection ends before.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.wire.exactly(count).unwrap_or_else(|end| panic!("{end:?} before {count} bytes at the origin"))
    }

    /// Whatever comes next, at least one byte and at most `count`; fails the script when the connection ends.
    pub fn some(&mut self, count: usize) -> Vec<u8> {
        let ready = self.wire.buffered().len();
        if ready > count {
            return self.exactly(count);
        }
        self.wire.some().unwrap_or_else(|end| panic!("{end:?} instead of more bytes at the origin"))
    }

    /// A chunked body; `None` when the connection ended within it.
    pub fn chunks(&mut self) -> Option<Vec<u8>> {
        self.wire.chunks().ok().map(|(body, _)| body)
    }

    /// Sends bytes; a proxy that has gone is no failure.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.send(bytes.as_ref());
    }

    /// Sends bytes, or tells how the connection ended.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        self.wire.send(bytes.as_ref())
    }

    /// Answers with 200 and a body of known length.
    pub fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Answers every request that comes with 200 and `body`.
    pub fn answer_all(&mut self, body: &str) {
        while self.request().is_some() {
            self.answer(body);
        }
    }

    /// The next WebSocket frame as it was sent; `None` when the proxy ended the connection.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = self.wire.exactly(2).ok()?;
        let masked = if frame[1] & 0x80 != 0 { 4 } else { 0 };
        let extended = match frame[1] & 0x7f {
            126 => self.wire.exactly(2).ok()?,
            127 => self.wire.exactly(8).ok()?,
            _ => Vec::new(),
        };
        let len = match extended.len() {
            0 => usize::from(frame[1] & 0x7f),
            _ => extended.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        frame.extend(extended);
        frame.extend(self.wire.exactly(masked + len).ok()?);
        Some(frame)
    }

    /// Sends every byte back as it comes, until the proxy ends the connection.
    pub fn echo_bytes(&mut self) {
        while let Ok(bytes) = self.wire.some() {
            self.send(bytes);
        }
    }

    /// Waits until the proxy ends the connection; what came before the end.
    pub fn until_closed(&mut self) -> (Vec<u8>, End) {
        self.wire.rest()
    }

    /// Waits until the proxy ends the connection; bytes before it fail the script.
    pub fn closed(&mut self) -> End {
        let (bytes, end) = self.wire.rest();
        assert!(bytes.is_empty(), "bytes at the origin before the end: {:?}", lossy(&bytes));
        end
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        self.wire.half_close();
    }

    /// Ends a TLS connection without saying so in TLS.
    pub fn truncate(&mut self) {
        self.wire.truncate();
    }

    /// What the peer of a TLS connection has shown and agreed on.
    pub fn tls(&self) -> &ServerConnection {
        let Stream::TlsServer(tls) = self.wire.stream() else { panic!("only over TLS") };
        &tls.conn
    }

    /// Makes the coming close a RST.
    pub fn reset_on_close(&mut self) {
        self.reset = true;
        if let Stream::Tcp(tcp) = self.wire.stream() {
            SockRef::from(tcp).set_linger(Some(Duration::ZERO)).expect("linger can be set");
        }
    }
}
