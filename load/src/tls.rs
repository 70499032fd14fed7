//! The client's side of TLS for the load: rustls by its usual, buffered interface, so that it shares nothing with what it
//! measures but the library itself. It costs the generator more than plain connections do, the same for every proxy.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use engine::io::{Lease, Pace, TcpStream, freeze, return_buf, take_buf};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use super::answer::Fault;
use super::client;

/// Tickets that a client keeps: servers give two at most.
const TICKETS_KEPT: usize = 4;

/// Which server is trusted, and by what name it is called.
#[derive(Debug, Clone)]
pub struct Trust {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Trust {
    /// Trusts `certificate` (DER) and nothing else. TLS 1.3 with the key exchange that every server knows (X25519), no
    /// resumption, `http/1.1`.
    ///
    /// # Errors
    /// When the certificate or the name is not one.
    pub fn new(certificate: Vec<u8>, name: &'static str) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(certificate)).map_err(|error| error.to_string())?;
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.map_err(|error| error.to_string())?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        Ok(Trust { name, config: Arc::new(config) })
    }

    /// The same for one client that comes back with the tickets that it was given.
    pub(crate) fn resuming(&self) -> Trust {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(TICKETS_KEPT);
        Trust { name: self.name.clone(), config: Arc::new(config) }
    }
}

/// A server's address, and whom to expect there.
#[derive(Debug, Clone)]
pub struct Secured {
    /// Where its TLS listener is.
    pub address: SocketAddr,
    /// Whom to expect.
    pub trust: Trust,
}

/// A connection behind TLS.
pub(crate) struct Secure {
    socket: TcpStream,
    machine: RefCell<ClientConnection>,
}

impl Secure {
    /// Connects and shakes hands.
    pub(crate) async fn connect(target: &Secured) -> Result<Secure, Fault> {
        let socket = client::connect(target.address).await?;
        let machine = ClientConnection::new(Arc::clone(&target.trust.config), target.trust.name.clone());
        let secure = Secure { socket, machine: RefCell::new(machine.map_err(Fault::Tls)?) };
        secure.flush()?;
        let mut early = Vec::new();
        while secure.machine.borrow().is_handshaking() {
            let received = secure.socket.recv().await?.ok_or(Fault::Closed)?;
            secure.take(&received, &mut early)?;
        }
        // A server speaks first only in other protocols.
        if early.is_empty() { Ok(secure) } else { Err(Fault::Body) }
    }

    /// Whether keys of an earlier connection were taken up again.
    pub(crate) fn is_resumed(&self) -> bool {
        self.machine.borrow().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Queues `plain` for sending.
    pub(crate) fn send(&self, plain: &Lease) -> Result<(), Fault> {
        self.machine.borrow_mut().writer().write_all(plain)?;
        self.flush()
    }

    /// The next plaintext; `None` at the end.
    pub(crate) async fn recv(&self) -> Result<Option<Lease>, Fault> {
        let mut plain = take_buf();
        while plain.is_empty() {
            let Some(received) = self.socket.recv().await? else {
                return_buf(plain);
                return Ok(None);
            };
            self.take(&received, &mut plain)?;
        }
        Ok(Some(freeze(plain)))
    }

    /// See [`TcpStream::set_pace`].
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.socket.set_pace(pace);
    }

    /// Says that no more follows, and waits until the server has closed too. Tickets that are under way are kept.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        self.machine.borrow_mut().send_close_notify();
        self.flush()?;
        self.socket.sent_below(0).await?;
        self.socket.shutdown_write()?;
        match self.recv().await? {
            None => Ok(()),
            Some(_) => Err(Fault::Body),
        }
    }

    /// Decrypts what was received and answers what must be answered.
    fn take(&self, mut received: &[u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
        let mut machine = self.machine.borrow_mut();
        while !received.is_empty() {
            machine.read_tls(&mut received)?;
            let state = machine.process_new_packets().map_err(Fault::Tls)?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            machine.reader().read_exact(&mut plain[start..])?;
        }
        drop(machine);
        self.flush()
    }

    fn flush(&self) -> Result<(), Fault> {
        let mut machine = self.machine.borrow_mut();
        if !machine.wants_write() {
            return Ok(());
        }
        let mut out = take_buf();
        while machine.wants_write() {
            machine.write_tls(&mut out)?;
        }
        self.socket.send(freeze(out));
        Ok(())
    }
}
