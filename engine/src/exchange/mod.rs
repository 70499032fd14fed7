//! The life of one request, from its head to the last byte of its answer. Read this file first.
//!
//! ```text
//!  request.rs   check, route, write the forwarded head ────────────────► refuse.rs (4xx)
//!  forward.rs   attempts: choose a backend, lease a connection, transfer ► refuse.rs (502, 504)
//!  transfer.rs  one attempt: request body up, answer down, deadlines
//!  pace.rs      back-pressure: how far ahead of its reader a body is fetched
//!  finish.rs    counters; runs however the exchange ends
//! ```

pub(crate) mod choose;
pub(crate) mod finish;
pub(crate) mod forward;
pub(crate) mod gather;
pub(crate) mod pace;
pub(crate) mod queue;
pub(crate) mod refuse;
mod replay;
pub(crate) mod request;
pub(crate) mod transfer;
mod verdict;

use crate::conn::client::ClientConn;
use crate::h1::upgrade::Session;
use crate::io::Lease;

/// What becomes of the client's connection.
pub(crate) enum Next {
    /// It waits for another request.
    Request,
    /// It closes once everything is sent.
    Close,
    /// It is reset: the answer was cut short, and must not look complete.
    Cut,
    /// It goes on as a WebSocket session.
    Session(Box<Session>),
}

/// Runs one exchange. `head` holds the bytes of the request head that is in the core's scratch.
pub(crate) async fn run(conn: &mut ClientConn, head: Lease) -> Next {
    let view = conn.local.view();
    conn.local.counters().requests.add(1);
    let mut prepared = request::prepare(conn, &view, &head);
    // By reference: a request that is moved would take its room in the connection's future twice.
    if let Ok(request) = &mut prepared {
        drop(head);
        return match request.wait(conn, &view).await {
            Ok(()) => forward::forward(conn, &view, request).await,
            Err(refusal) => refuse::refuse(conn, refusal),
        };
    }
    prepared.map_or_else(|refusal| refuse::refuse(conn, refusal), |_| Next::Close)
}
