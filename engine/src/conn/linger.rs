//! Closing so that the last answer arrives: a close with unread input would make the kernel send a reset, which can
//! destroy the answer on its way. So: send all, say FIN, then read and forget for a moment (RFC 9112 9.6).

use std::io;

use super::client::ClientConn;
use crate::io::{Alarm, now_ms, with_alarm};
use crate::tls::stream::Stream;

/// How long, and how much, is read and forgotten after the last answer.
const LINGER_MS: u64 = 1_000;
const LINGER_BYTES_MAX: usize = 512 * 1024;

/// Ends a connection whose answer is complete.
pub(crate) async fn close(conn: ClientConn) {
    let stall_ms = conn.local.view().model().timeouts.write_stall_ms;
    conn.stream.end_output();
    // Nothing unread, and nothing to come.
    let is_over = conn.is_last_request && conn.machine.is_request_read() && conn.intake.is_empty();
    if is_over && conn.stream.finish() {
        return;
    }
    if sent_below(&conn.stream, &conn.alarm, 0, stall_ms).await.is_err() {
        // The client takes no more: what it has must not look like all there is.
        return conn.stream.reset_on_close();
    }
    if is_over {
        return;
    }
    if conn.stream.shutdown_write().is_err() {
        return;
    }
    conn.alarm.set(Some(now_ms() + LINGER_MS));
    with_alarm(&conn.alarm, forget_input(&conn.stream)).await;
}

/// Awaits that at most `bytes` are unsent, as long as the peer takes some every `stall_ms`.
///
/// # Errors
/// The socket's own, or `TimedOut`.
pub(crate) async fn sent_below(stream: &Stream, alarm: &Alarm, bytes: u32, stall_ms: u64) -> io::Result<()> {
    loop {
        let before = stream.unsent();
        alarm.set(Some(now_ms() + stall_ms));
        match with_alarm(alarm, stream.sent_below(bytes)).await {
            Some(outcome) => return outcome,
            None if stream.unsent() < before => {}
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn forget_input(stream: &Stream) {
    let mut forgotten = 0;
    while let Ok(Some(lease)) = stream.recv().await {
        forgotten += lease.len();
        if forgotten > LINGER_BYTES_MAX {
            return;
        }
    }
}
