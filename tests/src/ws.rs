//! WebSocket bytes as a test writes them: a handshake, and frames made by hand.
//!
//! Used by tests of upgrades and relays, and by the origin program. Shares nothing with the product, so the
//! accept value is computed here too (RFC 6455 4.2.2).

use sha1_smol::Sha1;

/// A key for tests (RFC 6455 1.3 has the same one, with its answer).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The request that opens a session on `path`.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// The 101 that answers `key`.
pub fn switch(key: &str) -> String {
    switch_with(key, "")
}

/// The same with more field lines, each ended by CRLF.
pub fn switch_with(key: &str, lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{lines}\r\n",
        accept(key)
    )
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &str) -> String {
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&sha.digest().bytes())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Opcodes of RFC 6455 5.2.
pub mod opcode {
    /// More of the message before.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Binary.
    pub const BINARY: u8 = 2;
    /// Close.
    pub const CLOSE: u8 = 8;
    /// Ping.
    pub const PING: u8 = 9;
    /// Pong.
    pub const PONG: u8 = 10;
}

/// A final frame from a server: not masked.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, None)
}

/// A final frame from a client: masked.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload, Some([0x37, 0xfa, 0x21, 0x3d]))
}

/// Any frame: the whole first byte, the payload, and a mask or none.
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let len = payload.len();
    let mut out = vec![first];
    match len {
        0..=125 => out.push(masked | len as u8),
        126..=65_535 => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let mask_bytes = mask.unwrap_or_default();
    if mask.is_some() {
        out.extend(mask_bytes);
    }
    out.extend(payload.iter().zip(mask_bytes.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// The code of a Close frame as a server or client wrote it; `None` where the bytes are no Close frame.
pub fn close_code(frame: &[u8]) -> Option<u16> {
    let (head, rest) = frame.split_at_checked(2)?;
    if head[0] != 0x88 {
        return None;
    }
    let masked = head[1] & 0x80 != 0;
    let mask: [u8; 4] = if masked { rest.get(..4)?.try_into().ok()? } else { [0; 4] };
    let payload = &rest[if masked { 4 } else { 0 }..];
    Some(u16::from_be_bytes([payload.first()? ^ mask[0], payload.get(1)? ^ mask[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_that_of_the_rfc() {
        // RFC 6455 1.3.
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_are_those_of_the_rfc() {
        // RFC 6455 5.7.
        assert_eq!(server_frame(opcode::TEXT, b"Hello"), b"\x81\x05Hello");
        assert_eq!(client_frame(opcode::TEXT, b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(close_code(&server_frame(opcode::CLOSE, &[0x03, 0xe9])), Some(1001));
        assert_eq!(close_code(&client_frame(opcode::CLOSE, &[0x03, 0xe9])), Some(1001));
    }
}
