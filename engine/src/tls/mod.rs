//! TLS, above the sockets of `io/` and below everything that speaks HTTP: what an exchange or a relay sees is a
//! [`stream::Stream`], which is plain or not.
//!
//! ```text
//!  table/compile.rs ─► certs.rs     certificates by host name, checked ─► accept.rs    handshakes of clients
//!                      backends.rs  how backends are verified          ─► connect.rs   handshakes with backends
//!                                                                             │
//!                      session.rs   rustls without sockets: bytes in, bytes out ◄┴► stream.rs  its socket
//! ```
//!
//! Certificates and their checks are worked out on the control thread and are part of the table (decision 0031).

pub(crate) mod accept;
pub(crate) mod backends;
pub(crate) mod certs;
pub(crate) mod check;
pub(crate) mod clients;
pub(crate) mod connect;
mod ocsp;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod tickets;
mod x509;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography of every connection.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The protocol that is spoken over TLS, as ALPN names it (RFC 7301).
const ALPN_HTTP1: &[u8] = b"http/1.1";
