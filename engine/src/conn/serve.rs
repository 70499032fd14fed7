//! The connection loop: one request after the other, until one of them ends it. A pipelined request waits in the
//! connection's intake until the answer before it is complete, so answers keep the order of requests.
//!
//! What few connections do and only once (dialling, lingering) is boxed: the future of every connection stays small.

use std::pin::pin;
use std::rc::Rc;

use super::client::{Arrival, ClientConn};
use super::linger;
use crate::exchange::{self, Next, pace};
use crate::h1::read_head::{self, Ended};
use crate::io::now_ms;
use crate::local::Local;
use crate::session::relay;

/// Serves one client connection from accept to close.
pub(crate) async fn serve(local: Rc<Local>, arrival: Arrival) {
    let Some(mut conn) = ClientConn::open(local, arrival).await else { return };
    loop {
        let head = match read_head::read_head(&mut conn).await {
            Ok(head) => head,
            // The last answer may still be on its way to a slow client, or to one that has said all it had to say.
            // Over TLS, an end that is not announced looks like an attack.
            Err(Ended::Silently) if conn.stream.unsent() > 0 || conn.stream.is_tls() => {
                return Box::pin(linger::close(conn)).await;
            }
            Err(Ended::Silently) => return,
            // Should a request cross our FIN, its sender sees an orderly end, not a reset.
            Err(Ended::Drained) => return Box::pin(linger::close(conn)).await,
            Err(Ended::Refused(error)) => {
                exchange::refuse::refuse_head(&mut conn, error);
                return Box::pin(linger::close(conn)).await;
            }
        };
        // Pinned where it is made: awaited by value, every exchange would be moved first.
        let next = pin!(exchange::run(&mut conn, head)).await;
        match next {
            Next::Request if !has_room(&conn).await => return conn.stream.reset_on_close(),
            Next::Request => conn.machine.next_request(now_ms()),
            Next::Close => return Box::pin(linger::close(conn)).await,
            Next::Cut => return conn.stream.reset_on_close(),
            Next::Session(session) => return relay::start(conn, *session),
        }
    }
}

/// A client that asks on and on without reading its answers is heard again once it has read some; false if it does not.
async fn has_room(conn: &ClientConn) -> bool {
    let view = conn.local.view();
    let (limits, timeouts) = (&view.model().limits, &view.model().timeouts);
    let (high, low) = pace::marks(&conn.stream, limits);
    if conn.stream.unsent() <= high as usize {
        return true;
    }
    linger::sent_below(&conn.stream, &conn.alarm, low, timeouts.write_stall_ms).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F: Future>(_: fn(Rc<Local>, Arrival) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_keeps_little() {
        let bytes = future_bytes(serve);
        assert!(bytes <= 1200, "{bytes} bytes for each connection");
    }
}
