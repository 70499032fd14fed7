//! Waiting for one's turn where a route limits how many exchanges are in flight.
//!
//! Called once per exchange, when its route is known. What must hold: a client that leaves while it waits frees its place
//! at once, and whoever waits too long is told so.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::conn::client::ClientConn;
use crate::io::now_ms;
use crate::upstream::gate::{Entry, Gate, Permit};

/// Why an exchange may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// As many wait as may.
    QueueFull,
    /// Its turn did not come in time.
    TimedOut,
    /// The client has left, or says that it sends no more: nobody is there to wait for. A client that closes only its
    /// sending side cannot be told from one that has gone, and a queue has no places for those.
    ClientGone,
}

/// Takes the exchange's place among those in flight, waiting for it in order at most `timeout_ms`. Keep the permit until the
/// exchange has ended.
pub(crate) async fn enter(conn: &ClientConn, gate: &Arc<Gate>, timeout_ms: u64) -> Result<Permit, NoTurn> {
    match gate.enter() {
        Entry::Permit(permit) => Ok(permit),
        Entry::Full => Err(NoTurn::QueueFull),
        Entry::Ticket(ticket) => {
            conn.alarm.set(Some(now_ms().saturating_add(timeout_ms)));
            let mut ticket = pin!(ticket);
            poll_fn(|ctx| {
                if let Poll::Ready(permit) = ticket.as_mut().poll(ctx) {
                    return Poll::Ready(Ok(permit));
                }
                if conn.stream.poll_ended().is_ready() {
                    return Poll::Ready(Err(NoTurn::ClientGone));
                }
                conn.alarm.poll().map(|()| Err(NoTurn::TimedOut))
            })
            .await
        }
    }
}
