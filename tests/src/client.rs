//! A client that sends exactly the bytes that it is given and reads what comes back.
//!
//! Used by every test. A read that waits for too long ends the test; a connection that ends is a value.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::message::Response;
use crate::wait::PATIENCE;
use crate::wire::{End, Stream, Wire, lossy};

/// A connection to the proxy.
pub struct Client {
    wire: Wire,
}

/// A response that the connection's end cut short.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// How the connection ended.
    pub end: End,
    /// The head, if it was whole.
    pub head: Option<Box<Response>>,
}

impl Client {
    /// Connects, or ends the test.
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        Client { wire: Wire::new(Stream::Tcp(stream), PATIENCE) }
    }

    /// Connects with TLS, for the host `name`. The handshake happens with the first bytes that are sent or read.
    pub fn connect_tls(addr: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Client {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        let name = ServerName::try_from(name.to_owned()).expect("a name that a certificate may have");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let stream = Stream::TlsClient(Box::new(StreamOwned::new(tls, stream)));
        Client { wire: Wire::new(stream, PATIENCE) }
    }

    /// Shakes hands; what has been agreed on, or what went wrong.
    ///
    /// # Errors
    /// As the other side, or we, refuse.
    pub fn shake_hands(&mut self) -> std::io::Result<&ClientConnection> {
        let Stream::TlsClient(tls) = self.wire.stream_mut() else { panic!("only over TLS") };
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(&tls.conn)
    }

    /// Sends bytes below TLS: before its handshake.
    pub fn send_plain(&mut self, bytes: &[u8]) {
        let Stream::TlsClient(tls) = self.wire.stream_mut() else { panic!("only over TLS") };
        tls.sock.write_all(bytes).expect("still open");
    }

    /// Gives the socket below a TLS connection away.
    pub fn into_socket(self) -> TcpStream {
        let socket = self.wire.stream().socket().ok().and_then(|tcp| tcp.try_clone().ok());
        socket.expect("a TCP socket, and a descriptor")
    }

    /// Connects with small socket buffers, for a client that reads slowly.
    pub fn connect_small(addr: SocketAddr, buf_bytes: usize) -> Client {
        let socket =
            Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket can be made");
        socket.set_recv_buffer_size(buf_bytes).expect("buffers can be set");
        socket.set_send_buffer_size(buf_bytes).expect("buffers can be set");
        socket.connect(&addr.into()).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        Client { wire: Wire::new(Stream::Tcp(socket.into()), PATIENCE) }
    }

    /// Sends bytes; ends the test when the connection has ended.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        if let Err(end) = self.wire.send(bytes.as_ref()) {
            panic!(
                "the proxy ended the connection ({end:?}) while we sent; read: {:?}",
                lossy(self.wire.buffered())
            );
        }
        self
    }

    /// Sends bytes, or tells how the connection ended.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        self.wire.send(bytes.as_ref())
    }

    /// Sends what the socket takes at once.
    pub fn send_some(&mut self, bytes: &[u8]) -> Result<usize, End> {
        self.wire.send_some(bytes)
    }

    /// Sends a plain GET for `path`.
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).response()
    }

    /// The next response (to a method whose responses have bodies); an interim one counts as one.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response to `method`, whole, or the test ends.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response_to(method).unwrap_or_else(|cut| panic!("no whole response: {cut:?}"))
    }

    /// The next response, or what there was of it when the connection ended.
    pub fn try_response(&mut self) -> Result<Response, Cut> {
        self.try_response_to("GET")
    }

    /// The next response to `method`, or what there was of it when the connection ended.
    pub fn try_response_to(&mut self, method: &str) -> Result<Response, Cut> {
        let head = self.wire.head().map_err(|end| Cut { end, head: None })?;
        let mut response = Response::parse(&head);
        let bodiless = method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304);
        let read = if bodiless {
            Ok(())
        } else if response.fields.chunked() {
            self.wire.chunks().map(|(body, trailers)| {
                response.body = body;
                response.trailers = trailers;
            })
        } else if let Some(len) = response.fields.length() {
            self.wire.exactly(len).map(|body| response.body = body)
        } else {
            let (body, end) = self.wire.rest();
            response.body = body;
            if end == End::Closed { Ok(()) } else { Err(end) }
        };
        match read {
            Ok(()) => Ok(response),
            Err(end) => Err(Cut { end, head: Some(Box::new(response)) }),
        }
    }

    /// Only a head; its body stays to be read.
    pub fn head(&mut self) -> Response {
        let head = self.wire.head().unwrap_or_else(|end| panic!("{end:?} before a head"));
        Response::parse(&head)
    }

    /// Exactly so many bytes, or the test ends.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.wire.exactly(count).unwrap_or_else(|end| {
            panic!("{end:?} before {count} bytes; read: {:?}", lossy(self.wire.buffered()))
        })
    }

    /// Whatever comes next, at least one byte, or the test ends.
    pub fn some(&mut self) -> Vec<u8> {
        self.wire.some().unwrap_or_else(|end| panic!("{end:?} instead of more bytes"))
    }

    /// Everything until the connection ends, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        self.wire.rest()
    }

    /// Waits for the end of the connection; bytes before it end the test.
    pub fn closed(&mut self) -> End {
        let (bytes, end) = self.wire.rest();
        assert!(bytes.is_empty(), "bytes before the end: {:?}", lossy(&bytes));
        end
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) -> &mut Client {
        self.wire.half_close();
        self
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Our own address, as the proxy sees it.
    pub fn addr(&self) -> SocketAddr {
        let Ok(tcp) = self.wire.stream().socket() else { panic!("a client speaks TCP") };
        tcp.local_addr().expect("a connected socket has an address")
    }
}
