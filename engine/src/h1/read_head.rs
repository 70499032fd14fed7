//! Waits for the next request head on a connection, within its deadlines.

use std::future::poll_fn;
use std::task::Poll;

use protocol::RequestError;
use protocol::h1::server::RequestEvent;

use crate::conn::client::ClientConn;
use crate::io::{Lease, now_ms};

/// Why there will be no more requests.
pub(crate) enum Ended {
    /// Nothing is owed to the client: it left, was idle too long, or the core drains.
    Silently,
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
                Poll::Ready(Ok(Some(lease))) => conn.intake.push(lease),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(Ended::Silently)),
                Poll::Pending => break,
            }
        }
        if conn.intake.is_empty() && conn.local.draining.get() {
            return Poll::Ready(Err(Ended::Silently));
        }
        conn.alarm.set(conn.machine.deadline(limits));
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
