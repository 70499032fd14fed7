//! The handshake with a backend, on a connection that has just been opened.

use std::io;

use rustls::Error;
use rustls::client::UnbufferedClientConnection;

use super::backends::BackendSecurity;
use super::session::Session;
use super::stream::{self, Stream};
use crate::io::{Lease, Stream as Socket, return_buf, take_buf};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The socket failed, or the backend closed it.
    Network(io::Error),
    /// What the backend shows or says will not do, or it says that of us.
    Tls(Error),
}

/// Shakes hands with a backend. There is no time limit here; dropping the future gives up.
///
/// # Errors
/// As [`Failure`] says. Nothing of a request has been sent.
pub(crate) async fn secure(socket: Socket, security: &BackendSecurity) -> Result<Stream, Failure> {
    let (config, name) = security.parts();
    let machine = UnbufferedClientConnection::new(config, name);
    let mut session = Session::client(machine.map_err(Failure::Tls)?);
    let mut plain = take_buf();
    let outcome = shake_hands(&socket, &mut session, &mut plain).await;
    match outcome {
        Ok(rest) => Ok(Stream::secured(socket, session, plain, rest)),
        Err(failure) => {
            return_buf(plain);
            Err(failure)
        }
    }
}

async fn shake_hands(socket: &Socket, session: &mut Session, plain: &mut Vec<u8>) -> Result<Lease, Failure> {
    let mut out = take_buf();
    let begun = session.advance(plain, &mut out);
    stream::send_all(socket, out);
    begun.map_err(Failure::Tls)?;
    loop {
        let received = socket.recv().await.map_err(Failure::Network)?;
        let Some(mut received) = received else {
            return Err(Failure::Network(io::ErrorKind::UnexpectedEof.into()));
        };
        while !received.is_empty() {
            let mut out = take_buf();
            let outcome = session.receive(&received, plain, &mut out);
            stream::send_all(socket, out);
            received.advance(outcome.map_err(Failure::Tls)?);
            if !session.is_handshaking() {
                return Ok(received);
            }
        }
    }
}
