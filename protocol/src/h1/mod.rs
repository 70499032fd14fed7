//! HTTP/1.0 and 1.1 (RFC 9112): strict parsers and the two machines, one facing clients, one facing origins.

pub(crate) mod chunked;
pub mod client;
pub(crate) mod decode;
pub mod encode;
pub(crate) mod framing;
pub mod head;
pub mod server;
pub(crate) mod syntax;

#[cfg(test)]
mod tests;
