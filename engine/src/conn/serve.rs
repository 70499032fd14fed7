//! The connection loop: one request after the other, until one of them ends it. A pipelined request waits in the
//! connection's intake until the answer before it is complete, so answers keep the order of requests.
//!
//! What few connections do and only once (dialling, lingering) is boxed, and exchanges have rooms of their core: the future of
//! every connection stays small.

use std::rc::Rc;

use super::client::{Arrival, ClientConn};
use super::linger;
use crate::exchange::{self, Next, pace};
use crate::h1::read_head::{self, Ended};
use crate::io::{now_ms, pooled};
use crate::local::Local;
use crate::session::relay;

/// Serves one client connection from accept to close.
pub(crate) async fn serve(local: Rc<Local>, arrival: Arrival) {
    let Some(mut conn) = pooled(|| ClientConn::open(local, arrival)).await else { return };
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
        // An exchange is short and the connection is not: decision 0039.
        let next = pooled(|| exchange::run(&mut conn, head)).await;
        match next {
            Next::Request if is_behind(&conn) && !Box::pin(catches_up(&conn)).await => {
                return conn.stream.reset_on_close();
            }
            Next::Request => conn.machine.next_request(now_ms()),
            Next::Close => return Box::pin(linger::close(conn)).await,
            Next::Cut => return conn.stream.reset_on_close(),
            Next::Session(session) => return relay::start(conn, *session),
        }
    }
}

/// A client that asks on and on without reading its answers is not heard.
fn is_behind(conn: &ClientConn) -> bool {
    let view = conn.local.view();
    let (high, _) = pace::marks(&conn.stream, &view.model().limits);
    conn.stream.unsent() > high as usize
}

/// It is heard again once it has read some; false if it does not.
async fn catches_up(conn: &ClientConn) -> bool {
    let view = conn.local.view();
    let (_, low) = pace::marks(&conn.stream, &view.model().limits);
    let stall_ms = view.model().timeouts.write_stall_ms;
    linger::sent_below(&conn.stream, &conn.alarm, low, stall_ms).await.is_ok()
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
        assert!(bytes <= 320, "{bytes} bytes for each connection");
    }
}
