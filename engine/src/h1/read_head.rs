//! Waits for the next request head on a connection, within its deadlines.

use std::future::poll_fn;
use std::task::Poll;

use protocol::RequestError;
use protocol::h1::server::RequestEvent;

use crate::conn::client::ClientConn;
use crate::io::{Lease, now_ms};

/// Why there will be no more requests.
pub(crate) enum Ended {
    /// Nothing is owed to the client: it left, or was idle too long.
    Silently,
    /// The core drains, and the client has not used the time that it was given for another request.
    Drained,
    /// The client is told.
    Refused(RequestError),
}

/// Reads one head into the core's scratch. Returns the bytes that its spans refer to; they and the scratch must be used
/// before the next `.await`.
pub(crate) async fn read_head(conn: &mut ClientConn) -> Result<Lease, Ended> {
    let view = conn.local.view();
    let limits = &view.table.limits;
    poll_fn(|_| {
        loop {
            if !conn.intake.is_empty()
                && let Some(head) = feed(conn, limits).map_err(Ended::Refused)?
            {
                return Poll::Ready(Ok(head));
            }
            match conn.stream.poll_recv() {
                Poll::Ready(Ok(Some(lease))) => {
                    conn.local.counters().client_bytes_in.add(lease.len() as u64);
                    conn.intake.push(lease);
                }
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(Ended::Silently)),
                Poll::Pending => break,
            }
        }
        // A connection with part of a head has a request under way; one without anything is idle.
        let idle_until_ms = if conn.intake.is_empty() { conn.local.idle_until_ms.get() } else { u64::MAX };
        if idle_until_ms <= now_ms() {
            return Poll::Ready(Err(Ended::Drained));
        }
        let deadline_ms = conn.machine.deadline(limits).unwrap_or(u64::MAX);
        conn.alarm.set(Some(deadline_ms.min(idle_until_ms)));
        if conn.alarm.poll().is_ready() {
            match conn.machine.on_deadline(now_ms(), limits) {
                Err(RequestError::IdleTimeout) => return Poll::Ready(Err(Ended::Silently)),
                Err(error) => return Poll::Ready(Err(Ended::Refused(error))),
                Ok(()) => {}
            }
        }
        Poll::Pending
    })
    .await
}

fn feed(conn: &mut ClientConn, limits: &protocol::Limits) -> Result<Option<Lease>, RequestError> {
    let mut head = conn.local.request_head.borrow_mut();
    let used = conn.machine.feed(now_ms(), limits, conn.intake.bytes(), &mut head)?;
    if conn.machine.next_event() == Some(RequestEvent::Head) {
        return Ok(Some(conn.intake.take_front(used)));
    }
    // Empty lines before a request line are used up on their own.
    conn.intake.consume(used);
    Ok(None)
}
