//! `[timeouts]`: how long a peer may take. The idle time of a client connection is `Server::idle_timeout_ms`.

/// Deadlines of connections and exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request head to its end.
    pub request_head_ms: u64,
    /// Slowest head that is waited for, in bytes per second after the first second; 0 waits for any pace.
    pub request_head_bytes_per_second_min: u32,
    /// Until a backend accepts a connection.
    pub connect_ms: u64,
    /// From the end of the request to the backend's first byte.
    pub first_byte_ms: u64,
    /// Longest pause in either body.
    pub body_progress_ms: u64,
    /// Longest time that a peer may refuse to take bytes.
    pub write_stall_ms: u64,
    /// Longest time without any frame in a WebSocket session; pings count as frames.
    pub websocket_idle_ms: u64,
}
