//! What a frame is (RFC 6455 5.2): sender, opcode and head, and the head in its shortest form on the wire.
//!
//! `reader.rs` reads heads and checks them; [`FrameHead::write_to`] writes them for whoever sends frames.

/// Which side sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client: each of its frames must be masked (RFC 6455 5.1).
    Client,
    /// A server: none of its frames may be masked (RFC 6455 5.1).
    Server,
}

impl Role {
    /// The other side.
    pub fn peer(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}

/// What a frame is (RFC 6455 11.8). The numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// The first or only fragment of a text message.
    Text = 0x1,
    /// The first or only fragment of a binary message.
    Binary = 0x2,
    /// The end of what this side says.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to a ping, or an unasked sign of life.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a head's first byte; `None` for a reserved one.
    pub fn of(first: u8) -> Option<Opcode> {
        match first & 0x0F {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Close, ping or pong: at most 125 bytes, never fragmented, allowed between fragments.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// One frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether it ends its message.
    pub fin: bool,
    /// Whether an extension (permessage-deflate) changed the message that starts here.
    pub rsv1: bool,
    /// Payload bytes that follow.
    pub len: u64,
    /// The masking key, if the frame is masked.
    pub mask: Option<[u8; 4]>,
}

/// The longest head: two bytes, eight of length, four of key.
pub const HEAD_BYTES_MAX: usize = 14;

impl FrameHead {
    /// Appends the head in its shortest form (2 to 14 bytes).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut bytes = [0u8; HEAD_BYTES_MAX];
        let mask_bit = if self.mask.is_some() { MASKED } else { 0 };
        bytes[0] = self.opcode as u8 | if self.fin { FIN } else { 0 } | if self.rsv1 { RSV1 } else { 0 };
        let at = match self.len {
            0..=125 => {
                bytes[1] = self.len as u8 | mask_bit;
                2
            }
            126..=0xFFFF => {
                bytes[1] = LEN_16 | mask_bit;
                bytes[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = LEN_64 | mask_bit;
                bytes[2..10].copy_from_slice(&self.len.to_be_bytes());
                10
            }
        };
        let Some(key) = self.mask else {
            out.extend_from_slice(&bytes[..at]);
            return;
        };
        bytes[at..at + 4].copy_from_slice(&key);
        out.extend_from_slice(&bytes[..at + 4]);
    }
}

/// The last fragment of a message.
pub(super) const FIN: u8 = 0x80;
/// The message is changed by an extension.
pub(super) const RSV1: u8 = 0x40;
/// A key follows the length; in a head's second byte.
pub(super) const MASKED: u8 = 0x80;
/// Two bytes of length follow.
pub(super) const LEN_16: u8 = 126;
/// Eight bytes of length follow.
pub(super) const LEN_64: u8 = 127;
