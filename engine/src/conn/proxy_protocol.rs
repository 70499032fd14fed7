//! The PROXY header at the beginning of a connection from a trusted peer: whom the connection really comes from. Called by
//! `client.rs` before anything else is read.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use protocol::proxy_header::{self, HEADER_BYTES_MAX};

use super::intake::Intake;
use crate::io::{Alarm, Stream, now_ms, with_alarm};

/// Reads the header and puts back what follows it. Returns who has connected; `None` where the header does not say.
///
/// # Errors
/// When there is no header in time, or a malformed one: the connection is to be closed. The reason is for the log.
pub(crate) async fn read(
    socket: &Stream,
    alarm: &Alarm,
    timeout_ms: u64,
) -> Result<Option<SocketAddr>, &'static str> {
    alarm.set(Some(now_ms() + timeout_ms));
    match with_alarm(alarm, header(socket)).await {
        Some(outcome) => outcome,
        None => Err("no PROXY header in time"),
    }
}

async fn header(socket: &Stream) -> Result<Option<SocketAddr>, &'static str> {
    let mut intake = Intake::default();
    poll_fn(|_| {
        loop {
            match socket.poll_recv() {
                Poll::Ready(Ok(Some(lease))) => intake.push(lease),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err("closed before its PROXY header")),
                Poll::Pending => return Poll::Pending,
            }
            match proxy_header::parse(intake.bytes()) {
                Err(error) => return Poll::Ready(Err(error.reason())),
                Ok(None) if intake.bytes().len() > HEADER_BYTES_MAX => {
                    return Poll::Ready(Err("too long a PROXY header"));
                }
                Ok(None) => {}
                Ok(Some(found)) => {
                    intake.consume(found.len);
                    if let Some(rest) = intake.take() {
                        socket.unread(rest);
                    }
                    return Poll::Ready(Ok(found.addresses.map(|addresses| addresses.source)));
                }
            }
        }
    })
    .await
}
