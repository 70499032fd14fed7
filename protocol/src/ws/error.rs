//! What a peer can do wrong in WebSocket frames, with the close code and texts for each.
//!
//! Made by the reader, the assembler and the close parser; the relay and the endpoint answer with it.

use std::fmt;

use super::close;

/// Why bytes are not WebSocket, or more than was allowed. Each variant has exactly one close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// RSV2 or RSV3, or RSV1 where no extension gives it a meaning.
    ReservedBits,
    /// An opcode without a meaning.
    ReservedOpcode,
    /// A client's frame without a mask.
    NotMasked,
    /// A server's frame with a mask.
    Masked,
    /// A control frame without FIN.
    ControlFragmented,
    /// A control frame above 125 bytes.
    ControlTooLong,
    /// A length in a longer form than it needs.
    LengthNotMinimal,
    /// A length with the highest bit set.
    LengthTooLarge,
    /// A continuation without a message to go on with.
    ContinuationUnexpected,
    /// A new message inside an unfinished one.
    ContinuationMissing,
    /// A Close payload of one byte: half a code.
    CloseOfOneByte,
    /// A close code that may not stand on the wire.
    CloseCode,
    /// Bytes after a Close frame.
    AfterClose,
    /// Text or a close reason that is not UTF-8.
    InvalidUtf8,
    /// A message above the cap.
    MessageTooLarge,
}

impl FrameError {
    /// The code for the Close frame that answers this.
    pub fn code(self) -> u16 {
        match self {
            FrameError::InvalidUtf8 => close::INVALID_DATA,
            FrameError::MessageTooLarge => close::MESSAGE_TOO_LARGE,
            _ => close::PROTOCOL_ERROR,
        }
    }

    /// What the peer may be told, as the reason of the Close frame.
    pub fn public_text(self) -> &'static str {
        match self {
            FrameError::InvalidUtf8 => "invalid text",
            FrameError::MessageTooLarge => "message too large",
            _ => "protocol error",
        }
    }

    /// What the log says.
    pub fn text(self) -> &'static str {
        match self {
            FrameError::ReservedBits => "reserved bits without an extension",
            FrameError::ReservedOpcode => "reserved opcode",
            FrameError::NotMasked => "unmasked frame from the client",
            FrameError::Masked => "masked frame from the server",
            FrameError::ControlFragmented => "fragmented control frame",
            FrameError::ControlTooLong => "control frame above 125 bytes",
            FrameError::LengthNotMinimal => "length not in its shortest form",
            FrameError::LengthTooLarge => "length above 63 bits",
            FrameError::ContinuationUnexpected => "continuation without a message",
            FrameError::ContinuationMissing => "new message inside an unfinished one",
            FrameError::CloseOfOneByte => "close payload of one byte",
            FrameError::CloseCode => "close code not allowed on the wire",
            FrameError::AfterClose => "bytes after a close frame",
            FrameError::InvalidUtf8 => "text is not UTF-8",
            FrameError::MessageTooLarge => "message above the limit",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text())
    }
}

impl std::error::Error for FrameError {}
