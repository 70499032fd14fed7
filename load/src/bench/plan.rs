//! What a bench shall do: made from the command line, read by every thread.

use std::net::SocketAddr;
use std::time::Duration;

/// One bench.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to connect.
    pub address: SocketAddr,
    /// What of that server.
    pub place: Place,
    /// What to do there.
    pub work: BenchWork,
    /// Connections over all threads; at least one.
    pub connections: usize,
    /// One thread for each, pinned to that processor, or free.
    pub threads: Vec<Option<usize>>,
    /// How long requests are sent.
    pub duration: Duration,
    /// Requests per second over all threads, whether or not earlier ones are answered; none: each connection sends its
    /// next request when it has the answer.
    pub rate: Option<f64>,
    /// How long to wait for a connection, and for an answer.
    pub timeout: Duration,
}

/// What every request names.
#[derive(Debug, Clone)]
pub struct Place {
    /// Value of `Host`.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Further fields, in order. Whoever makes them has checked them: they are written as they are.
    pub fields: Vec<(String, String)>,
}

/// The kinds of work.
#[derive(Debug, Clone)]
pub enum BenchWork {
    /// HTTP/1.1 requests.
    Http(Ask),
    /// Messages over WebSocket sessions, each echoed by the server.
    WebSocket(Messages),
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method; a token.
    pub method: String,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

/// What WebSocket sessions send.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// Payload of each message.
    pub bytes: usize,
    /// Text messages instead of binary ones.
    pub is_text: bool,
}
