//! Bytes to meaning and back: HTTP/1.1 and WebSocket, sans-IO.
//!
//! The engine owns the sockets, the buffers and the clock; the machines here own the rules. Every
//! machine is fed bytes (and the time), hands out events, and writes what must be sent into the
//! caller's buffer. Heads keep offsets ([`Span`]) into the bytes they were read from, never borrows.
//! Nothing here panics on what a peer sends.
#![forbid(unsafe_code)]

pub mod error;
pub mod h1;
pub mod head;
pub mod header;
pub mod limits;
pub mod method;
pub mod proxy_header;
pub mod rules;
pub mod span;
pub mod status;
pub mod target;
pub mod version;
pub mod ws;

pub use error::{EncodeError, FramingError, HeadError, RequestError, ResponseError};
pub use head::{Framing, RequestHead, ResponseFraming, ResponseHead, Upgrade};
pub use header::map::{Field, Fields};
pub use header::name::Name;
pub use limits::{Limits, PercentPolicy};
pub use method::Method;
pub use rules::forwarded::Forward;
pub use rules::set_fields::SetFields;
pub use span::Span;
pub use status::Status;
pub use target::TargetForm;
pub use version::Version;
