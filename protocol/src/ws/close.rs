//! Close codes and Close frames (RFC 6455 5.5.1, 7.4).
//!
//! Called by `message.rs` for what it receives, and by the relay to end a session with a proper Close at a
//! frame boundary. A Close that we write is always one that a strict peer accepts.

use super::error::FrameError;
use super::frame::{FrameHead, Opcode};
use super::mask;

/// The purpose was fulfilled.
pub const NORMAL: u16 = 1000;
/// The server stops, or the page was left; also what a session that idled too long is told.
pub const GOING_AWAY: u16 = 1001;
/// A rule of the protocol was broken.
pub const PROTOCOL_ERROR: u16 = 1002;
/// No code was in the Close frame. Never on the wire.
pub const NO_STATUS: u16 = 1005;
/// The connection ended without a Close frame. Never on the wire.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8.
pub const INVALID_DATA: u16 = 1007;
/// A rule of ours was broken: rate, token lifetime, killed by an operator.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message above the cap.
pub const MESSAGE_TOO_LARGE: u16 = 1009;
/// We failed.
pub const INTERNAL_ERROR: u16 = 1011;
/// The service restarts.
pub const SERVICE_RESTART: u16 = 1012;
/// Come back later.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// Control frames carry at most 125 bytes (RFC 6455 5.5), two of them the code.
pub const REASON_BYTES_MAX: usize = 123;

/// What a Close frame said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code, or [`NO_STATUS`] if the frame was empty.
    pub code: u16,
    /// The reason, empty if none was given.
    pub reason: &'a str,
}

/// Whether `code` may stand in a Close frame: RFC 6455 7.4, with what IANA registered since (1012 to 1014).
pub fn is_valid_on_wire(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the unmasked payload of a Close frame.
pub fn parse_payload(payload: &[u8]) -> Result<Close<'_>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        // RFC 6455 5.5.1: either nothing, or at least the two bytes of a code.
        return if payload.is_empty() {
            Ok(Close { code: NO_STATUS, reason: "" })
        } else {
            Err(FrameError::CloseOfOneByte)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_on_wire(code) {
        return Err(FrameError::CloseCode);
    }
    // RFC 6455 8.1: the reason is UTF-8.
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::InvalidUtf8)?;
    Ok(Close { code, reason })
}

/// Appends a whole Close frame to `out`.
///
/// `mask` is given when a client sends (RFC 6455 5.3), left out when a server does. A code that may not
/// stand on the wire becomes an empty Close (1005) or 1002; a reason too long is cut at a character.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    let mut payload = [0u8; 2 + REASON_BYTES_MAX];
    let used = fill_payload(&mut payload, code, reason);
    let payload = payload.get(..used).unwrap_or_default();
    let head = FrameHead { opcode: Opcode::Close, fin: true, rsv1: false, len: payload.len() as u64, mask };
    head.write_to(out);
    match mask {
        Some(key) => mask::append(out, payload, key),
        None => out.extend_from_slice(payload),
    }
}

/// Fills in code and reason; returns how many bytes they took.
fn fill_payload(payload: &mut [u8; 2 + REASON_BYTES_MAX], code: u16, reason: &str) -> usize {
    let code = match code {
        NO_STATUS => return 0,
        code if is_valid_on_wire(code) => code,
        _ => PROTOCOL_ERROR,
    };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let (code_bytes, reason_bytes) = payload.split_at_mut(2);
    code_bytes.copy_from_slice(&code.to_be_bytes());
    reason_bytes[..reason.len()].copy_from_slice(reason);
    2 + reason.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_registry() {
        let rows: &[(u16, bool)] = &[
            (0, false),     // RFC 6455 7.4.2: 0-999 unused
            (999, false),   // RFC 6455 7.4.2
            (1000, true),   // RFC 6455 7.4.1
            (1003, true),   // RFC 6455 7.4.1
            (1004, false),  // RFC 6455 7.4.1: reserved
            (1005, false),  // RFC 6455 7.4.1: never on the wire
            (1006, false),  // RFC 6455 7.4.1: never on the wire
            (1007, true),   // RFC 6455 7.4.1
            (1011, true),   // RFC 6455 7.4.1
            (1012, true),   // IANA: service restart
            (1014, true),   // IANA: bad gateway
            (1015, false),  // RFC 6455 7.4.1: TLS failure, never on the wire
            (1016, false),  // RFC 6455 7.4.2: for the protocol, not yet given out
            (2999, false),  // RFC 6455 7.4.2
            (3000, true),   // RFC 6455 7.4.2: libraries
            (4999, true),   // RFC 6455 7.4.2: private use
            (5000, false),  // outside every range
            (65535, false), // outside every range
        ];
        for &(code, valid) in rows {
            assert_eq!(is_valid_on_wire(code), valid, "{code}");
        }
    }

    #[test]
    fn payloads_are_read_or_refused() {
        let rows: &[(&[u8], Result<Close<'_>, FrameError>)] = &[
            (b"", Ok(Close { code: NO_STATUS, reason: "" })), // RFC 6455 7.1.5
            (b"\x03", Err(FrameError::CloseOfOneByte)),       // RFC 6455 5.5.1
            (b"\x03\xe8", Ok(Close { code: 1000, reason: "" })), // RFC 6455 5.5.1
            (b"\x03\xe9bye", Ok(Close { code: 1001, reason: "bye" })), // RFC 6455 5.5.1
            (b"\x03\xed", Err(FrameError::CloseCode)),        // RFC 6455 7.4.1: 1005
            (b"\x00\x00", Err(FrameError::CloseCode)),        // RFC 6455 7.4.2
            (b"\x03\xe8\xff", Err(FrameError::InvalidUtf8)),  // RFC 6455 8.1
        ];
        for (payload, expected) in rows {
            assert_eq!(parse_payload(payload), *expected, "{payload:?}");
        }
    }

    #[test]
    fn writes_a_plain_and_a_masked_frame() {
        let mut out = Vec::new();
        write_close(&mut out, 1001, "bye", None);
        assert_eq!(out, b"\x88\x05\x03\xe9bye");
        out.clear();
        write_close(&mut out, 1000, "", Some([1, 2, 3, 4]));
        assert_eq!(out, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2]);
    }

    #[test]
    fn cuts_a_long_reason_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, 1008, &"é".repeat(100), None);
        assert_eq!(out.len(), 2 + 2 + 122, "123 would cut a character in two");
        assert_eq!(parse_payload(&out[2..]).map(|close| close.reason.len()), Ok(122));
    }

    #[test]
    fn never_writes_a_code_that_a_peer_must_refuse() {
        for code in 0..=u16::MAX {
            let mut out = Vec::new();
            write_close(&mut out, code, "why", None);
            let close = parse_payload(&out[2..]).expect("a strict peer accepts it");
            assert_eq!(close.code == code, code == NO_STATUS || is_valid_on_wire(code), "{code}");
        }
    }
}
