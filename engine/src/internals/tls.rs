//! TLS by itself: both sides of the proxy without sockets. Bytes go in, plaintext and bytes to be sent come out, and what is
//! done with them is what `tls/stream.rs` does.

use std::sync::Arc;

use config_core::model::{Backend, Tls};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use crate::tls::backends::BackendSecurity;
use crate::tls::check::Acceptance;
use crate::tls::session::{self, Session};

/// Most that may wait for the rest of a handshake message.
pub const INCOMING_BYTES_MAX: usize = session::INCOMING_BYTES_MAX;

/// The side that clients see.
pub struct Server(Arc<Acceptance>);

impl Server {
    /// Compiles `[tls]`.
    ///
    /// # Errors
    /// With what will not do.
    pub fn compile(model: &Tls) -> Result<Server, String> {
        let compiled = Acceptance::compile(model, None).map_err(|error| error.to_string())?;
        compiled.map(Server).ok_or_else(|| "there are no certificates".to_owned())
    }

    /// A connection that a client has just opened.
    ///
    /// # Errors
    /// As rustls has them.
    pub fn connection(&self) -> Result<Connection, rustls::Error> {
        UnbufferedServerConnection::new(Arc::clone(self.0.config())).map(Session::server).map(Connection::new)
    }
}

/// The side that backends see.
pub struct Client(BackendSecurity);

impl Client {
    /// Compiles how `backend` is reached.
    ///
    /// # Errors
    /// With what will not do.
    pub fn compile(backend: &Backend) -> Result<Client, String> {
        let compiled =
            BackendSecurity::compile(backend).map_err(|(key, reason)| format!("{key}: {reason}"))?;
        compiled.map(Client).ok_or_else(|| "it speaks without TLS".to_owned())
    }

    /// A connection that has just been opened, with its first flight.
    ///
    /// # Errors
    /// As rustls has them.
    pub fn connection(&self) -> Result<Connection, rustls::Error> {
        let (config, name) = self.0.parts();
        let mut connection = Connection::new(Session::client(UnbufferedClientConnection::new(config, name)?));
        connection.session.advance(&mut connection.plain, &mut connection.out)?;
        Ok(connection)
    }
}

/// One connection.
pub struct Connection {
    session: Session,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    fn new(session: Session) -> Connection {
        Connection { session, plain: Vec::new(), out: Vec::new() }
    }

    /// Takes all of what was received.
    ///
    /// # Errors
    /// When the peer breaks the protocol or is refused.
    pub fn receive(&mut self, mut received: &[u8]) -> Result<(), rustls::Error> {
        while !received.is_empty() && !self.session.is_peer_closed() {
            let taken = self.session.receive(received, &mut self.plain, &mut self.out)?;
            assert!((1..=received.len()).contains(&taken), "{taken} of {}", received.len());
            received = &received[taken..];
        }
        Ok(())
    }

    /// Encrypts; only when the handshake is done.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), rustls::Error> {
        self.session.send(bytes, &mut self.plain, &mut self.out)
    }

    /// Says that no more bytes will follow.
    pub fn close(&mut self) {
        self.session.close(&mut self.plain, &mut self.out);
    }

    /// The socket has ended.
    ///
    /// # Errors
    /// Where the peer has not announced it.
    pub fn end(&self) -> std::io::Result<()> {
        self.session.end()
    }

    /// Plaintext that has come since the last call.
    pub fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// What is to be sent since the last call.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that were received and are kept.
    pub fn incoming_bytes(&self) -> usize {
        self.session.incoming_bytes()
    }

    /// The handshake is not complete.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// The peer has said that it sends no more.
    pub fn is_peer_closed(&self) -> bool {
        self.session.is_peer_closed()
    }

    /// Nothing can be sent or received any more.
    pub fn is_failed(&self) -> bool {
        self.session.is_failed()
    }

    /// Keys of an earlier connection were taken up again.
    pub fn is_resumed(&self) -> bool {
        self.session.is_resumed()
    }
}
