//! WebSocket (RFC 6455) without sockets: the opening handshake, frame heads, masking, close frames, a meter
//! for bytes that only pass by, and a small endpoint machine for whole messages.
//!
//! The engine's relay uses [`handshake`], [`meter`] and [`close`]; sampling and our own clients use
//! [`message`]. Nothing here reads a clock, draws a random number or keeps a peer's buffer.

pub mod close;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod message;
pub mod meter;
pub mod reader;

pub use close::write_close;
pub use error::FrameError;
pub use frame::{FrameHead, Opcode, Role};
pub use handshake::{HandshakeError, Key, check_request, check_response, deflate_accepted};
pub use message::{Endpoint, Event};
pub use meter::{Boundary, Meter, MeterLimits, Passed, Violation};
pub use reader::{FrameReader, Rules};

#[cfg(test)]
mod tests;
