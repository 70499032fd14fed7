//! Waiting for one's turn where a route limits how many exchanges are in flight.
//!
//! Called by `request.rs` for an exchange that must wait. What must hold: a client that leaves while it waits frees its place
//! at once, and whoever waits too long is told so.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::request::Refusal;
use crate::conn::client::ClientConn;
use crate::io::now_ms;
use crate::upstream::gate::{Permit, Ticket};

/// Waits for the exchange's turn, in order, at most `timeout_ms`. Keep the permit until the exchange has ended.
///
/// # Errors
/// When the turn does not come in time, or the client has left or says that it sends no more: nobody is there to wait for. A
/// client that closes only its sending side cannot be told from one that has gone, and a queue has no places for those.
pub(crate) async fn wait(
    conn: &ClientConn,
    ticket: Ticket,
    timeout_ms: u64,
) -> Result<Permit, Refusal<'static>> {
    conn.alarm.set(Some(now_ms().saturating_add(timeout_ms)));
    let mut ticket = pin!(ticket);
    poll_fn(|ctx| {
        if let Poll::Ready(permit) = ticket.as_mut().poll(ctx) {
            return Poll::Ready(Ok(permit));
        }
        if conn.stream.poll_ended().is_ready() {
            return Poll::Ready(Err(Refusal::ClientGone));
        }
        conn.alarm.poll().map(|()| Err(Refusal::TurnTimedOut))
    })
    .await
}
