//! The handshake with a client: certificate by the host that it names, within a deadline, few enough at once.
//!
//! ```text
//!  first byte ── not a handshake ► 400 in plain HTTP, close
//!     └─ handshake ── refused ► alert, close        no certificate for the host ► unrecognized_name, close
//!           └─ done ► a stream; what came behind the handshake waits in it
//! ```
//!
//! A signature takes up to a millisecond of the core. So a turn of the core computes one: handshakes take turns, and the
//! other connections are served between them.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use rustls::server::UnbufferedServerConnection;

use super::certs::{self, Shown};
use super::check::Acceptance;
use super::clients;
use super::session::Session;
use super::stream::{self, Stream};
use crate::io::{
    Alarm, Lease, Stream as Socket, freeze, now_ms, return_buf, take_buf, turn, with_alarm, yield_now,
};
use crate::local::Local;

/// First byte of every record of a handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 22;
/// `unrecognized_name` as a fatal alert (RFC 6066 3): rustls has no other word for it than `access_denied`.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
/// How long, and how much, is read and forgotten after a refusal, so that it is not lost with a reset.
const LINGER_MS: u64 = 1_000;
const LINGER_BYTES_MAX: usize = 64 * 1024;

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n\
    Content-Length: 103\r\nConnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"this port speaks TLS: use https://\"}";

/// Who is at the other end of a TLS connection, as far as requests are judged by it.
pub(crate) struct Secured {
    /// The host that the client named, and what it was shown.
    shown: Option<Shown>,
    /// What backends are told of its certificate; `None` where it has shown none.
    pub(crate) client_cert: Option<Box<str>>,
}

impl Secured {
    /// Whether a request for `host` (lower case or not, without a port) belongs on this connection (RFC 9110 7.4): it is the
    /// host that the client named, or one that the certificate it was shown is good for. Who has named none is held to
    /// none.
    pub(crate) fn serves(&self, host: &[u8]) -> bool {
        let Some((named, shown)) =
            self.shown.as_ref().and_then(|shown| shown.server_name.as_ref().zip(Some(shown)))
        else {
            return true;
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        if named.as_bytes().eq_ignore_ascii_case(host) {
            return true;
        }
        let Ok(host) = std::str::from_utf8(host) else { return false };
        shown.pair.as_ref().is_some_and(|pair| pair.covers(&host.to_ascii_lowercase()))
    }
}

/// A handshake's place among those of its core, given up when dropped.
struct Place<'a>(&'a Local);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
    }
}

/// Why there is no connection.
enum Failure {
    /// The client has left.
    Gone,
    /// It speaks plain HTTP.
    PlainHttp,
    /// It named a host that there is no certificate for.
    UnknownName,
    /// rustls has refused it, and said so.
    Refused(rustls::Error),
}

/// Shakes hands with a client; `None`, and the connection closes, if that does not succeed in time. `alarm` is the
/// caller's; its deadline is replaced.
pub(crate) async fn accept(local: &Rc<Local>, socket: Socket, alarm: &Alarm) -> Option<(Stream, Secured)> {
    let acceptance = local.view().table.tls.clone()?;
    if local.handshakes.get() >= acceptance.model().handshakes_max as usize {
        local.counters().tls_handshakes_over_limit.add(1);
        return None;
    }
    local.handshakes.set(local.handshakes.get() + 1);
    let place = Place(local);
    alarm.set(Some(now_ms() + acceptance.model().handshake_timeout_ms));
    let Some(outcome) = with_alarm(alarm, shake_hands(local, &socket, &acceptance)).await else {
        local.counters().tls_handshakes_failed.add(1);
        return None;
    };
    drop(place);
    match outcome {
        Ok(handshake) => Some(complete(local, socket, handshake)),
        Err(failure) => {
            local.counters().tls_handshakes_failed.add(1);
            refuse(&socket, failure, alarm).await;
            None
        }
    }
}

/// A session that is ready, what the client was shown, what it has decrypted already, and what it has not.
struct Handshake {
    shown: Option<Shown>,
    session: Session,
    plain: Vec<u8>,
    rest: Lease,
}

async fn shake_hands(local: &Local, socket: &Socket, acceptance: &Acceptance) -> Result<Handshake, Failure> {
    let machine =
        UnbufferedServerConnection::new(Arc::clone(acceptance.config())).map_err(Failure::Refused)?;
    let mut session = Session::server(machine);
    let mut plain = take_buf();
    let (mut is_first, mut shown) = (true, None);
    loop {
        let Ok(Some(mut received)) = socket.recv().await else {
            return_buf(plain);
            return Err(Failure::Gone);
        };
        if std::mem::take(&mut is_first) && received.first() != Some(&HANDSHAKE) {
            return_buf(plain);
            return Err(Failure::PlainHttp);
        }
        while !received.is_empty() {
            await_turn(local).await;
            let mut out = take_buf();
            let outcome = session.receive(&received, &mut plain, &mut out);
            shown = certs::take_shown().or(shown);
            if outcome.is_err() && shown.as_ref().is_some_and(|shown| shown.pair.is_none()) {
                return_buf(out);
                return_buf(plain);
                return Err(Failure::UnknownName);
            }
            stream::send_all(socket, out);
            match outcome {
                Ok(taken) => received.advance(taken),
                Err(error) => {
                    return_buf(plain);
                    return Err(Failure::Refused(error));
                }
            }
            if !session.is_handshaking() {
                return Ok(Handshake { session, shown, plain, rest: received });
            }
        }
    }
}

/// Waits until no other handshake of this core is computed in the same turn.
async fn await_turn(local: &Local) {
    while local.handshake_turn.get() == turn() {
        yield_now().await;
    }
    local.handshake_turn.set(turn());
}

fn complete(local: &Local, socket: Socket, handshake: Handshake) -> (Stream, Secured) {
    let Handshake { session, shown, plain, rest } = handshake;
    let counters = local.counters();
    counters.tls_handshakes.add(1);
    counters.tls_resumed.add(u64::from(session.is_resumed()));
    let own = session.peer_certificates().and_then(<[_]>::first);
    let client_cert = own.and_then(|certificate| clients::told(certificate));
    let secured = Secured { shown, client_cert };
    (Stream::secured(socket, session, plain, rest), secured)
}

/// Says why, where there is a word for it, and closes so that it arrives.
async fn refuse(socket: &Socket, failure: Failure, alarm: &Alarm) {
    match failure {
        Failure::Gone => return,
        Failure::PlainHttp => socket.send(Lease::from_static(PLAIN_HTTP)),
        Failure::UnknownName => socket.send(freeze(UNRECOGNIZED_NAME.to_vec())),
        Failure::Refused(error) => tracing::debug!(%error, "handshake refused"),
    }
    alarm.set(Some(now_ms() + LINGER_MS));
    with_alarm(alarm, forget(socket)).await;
}

async fn forget(socket: &Socket) -> io::Result<()> {
    socket.sent_below(0).await?;
    socket.shutdown_write()?;
    let mut forgotten = 0;
    poll_fn(|_| {
        loop {
            match socket.poll_recv() {
                Poll::Ready(Ok(Some(lease))) if forgotten < LINGER_BYTES_MAX => forgotten += lease.len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
