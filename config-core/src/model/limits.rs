//! `[limits]` and `[websocket]`: caps on what a peer may send and on what is kept for it.

/// Caps of one connection or one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line; above it 414.
    pub request_line_bytes_max: u32,
    /// Longest head, request line included; above it 431. At most 65,535, so that offsets fit 16 bits.
    pub head_bytes_max: u32,
    /// Most fields in a head; above it 431.
    pub fields_max: u16,
    /// Longest request body; above it 413. `None` means no limit.
    pub body_bytes_max: Option<u64>,
    /// Most bytes of chunk extensions in one body; above it 400.
    pub chunk_extension_bytes_max: u32,
    /// What to do with `%2F` in a path.
    pub encoded_slash: EncodedPolicy,
    /// What to do with `%00` in a path.
    pub encoded_nul: EncodedPolicy,
    /// Unsent bytes of one direction of a connection above which its source is no longer read.
    pub high_water_bytes: u32,
    /// Unsent bytes below which reading goes on; less than `high_water_bytes`.
    pub low_water_bytes: u32,
}

/// What to do with a percent-encoded byte that changes meaning when it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedPolicy {
    /// Answer 400.
    Reject,
    /// Forward it encoded.
    Keep,
    /// Decode it before routing and forwarding.
    Decode,
}

impl EncodedPolicy {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Keep => "keep",
            Self::Decode => "decode",
        }
    }
}

/// Rules for relayed WebSocket sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// Longest message, counted over its fragments; above it the session is closed with 1009. `None` means no
    /// limit.
    pub message_bytes_max: Option<u64>,
}
