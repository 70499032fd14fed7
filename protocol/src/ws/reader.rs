//! Reads frame heads across any split and checks them in full (RFC 6455 5.2 to 5.5).
//!
//! [`FrameReader`] cuts the bytes of one direction into heads and stretches of payload; `meter.rs` and
//! `message.rs` stand on it. It always holds: no head is handed out that breaks a rule, and the same bytes give
//! the same heads and the same refusal however they were split.

use super::error::FrameError;
use super::frame::{FIN, FrameHead, LEN_16, LEN_64, MASKED, Opcode, RSV1, Role};
use super::mask;

/// By whose rules the bytes of one direction are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who sends them.
    pub sender: Role,
    /// Whether permessage-deflate was negotiated: only then may a message start with RSV1 (RFC 7692 6).
    pub extensions: bool,
}

/// What [`FrameReader::read_head`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadRead {
    /// Bytes of the input that belong to the head.
    pub used: usize,
    /// The head, once its last byte was there. Payload follows if its `len` is not 0.
    pub head: Option<FrameHead>,
}

/// A frame that lies whole in the input; see [`FrameReader::whole_frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeFrame {
    first: u8,
    /// Bytes of its payload.
    pub len: u16,
    /// Bytes of its head and its payload.
    pub size: u32,
}

impl WholeFrame {
    /// What it is.
    #[inline]
    pub fn opcode(&self) -> Opcode {
        Opcode::of(self.first).unwrap_or(Opcode::Continuation)
    }

    /// Whether it is a ping or a pong.
    #[inline]
    pub fn is_control(&self) -> bool {
        self.first & 0x8 != 0
    }

    /// Whether it ends its message.
    #[inline]
    pub fn is_final(&self) -> bool {
        self.first & FIN != 0
    }
}

/// Reads the frames of one direction: heads by [`read_head`](Self::read_head), payload by
/// [`read_payload`](Self::read_payload).
///
/// ```text
///          first byte      second byte     length, key          payload
///   START ------------> SECOND ------------> 12..1 ------------> PAYLOAD --+
///     ^                    \___ no length, no key, no payload ___   |      | payload left
///     |                                                          \  v      v
///     +----------------------------------------------------------- done <--+
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FrameReader {
    /// Payload bytes still to come; while a head is being read, the length as far as it is known.
    left: u64,
    /// The masking key, turned so that it fits the next payload byte.
    key: [u8; 4],
    /// First byte of the frame's head.
    first: u8,
    /// START, SECOND, PAYLOAD, or how many bytes of length and key are still to come (1 to 12).
    stage: u8,
    /// See the constants.
    flags: u8,
}

const RSV2_RSV3: u8 = 0x30;
/// Bit n is set if opcode n has a meaning.
const OPCODES_KNOWN: u16 = 0b0000_0111_0000_0111;

const PAYLOAD: u8 = 0;
const START: u8 = 254;
const SECOND: u8 = 255;

/// The sender is a client, so that a key ends each head.
const FROM_CLIENT: u8 = 0x80;
/// The length being read has eight bytes, not two.
const LONG: u8 = 0x08;
/// RSV1 is allowed.
const EXTENSIONS: u8 = 0x04;
/// A Close frame was seen: nothing may follow it.
const CLOSED: u8 = 0x02;
/// A message has begun and its last fragment has not.
const MID_MESSAGE: u8 = 0x01;

impl FrameReader {
    /// A reader that stands before the first frame after the handshake.
    pub fn new(rules: Rules) -> FrameReader {
        let sender = if rules.sender == Role::Client { FROM_CLIENT } else { 0 };
        let extensions = if rules.extensions { EXTENSIONS } else { 0 };
        FrameReader { left: 0, key: [0; 4], first: 0, stage: START, flags: sender | extensions }
    }

    /// Whether the next bytes are payload, not a head.
    #[inline]
    pub fn in_payload(&self) -> bool {
        self.stage == PAYLOAD
    }

    /// Whether the last byte read was the last of a frame (or none was read yet).
    #[inline]
    pub fn is_between_frames(&self) -> bool {
        self.stage == START
    }

    /// Whether a message has begun whose last fragment's head has not come yet.
    #[inline]
    pub fn is_mid_message(&self) -> bool {
        self.flags & MID_MESSAGE != 0
    }

    /// Whether the head of a Close frame was read.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.flags & CLOSED != 0
    }

    /// Payload bytes that are still to come in this frame.
    #[inline]
    pub fn payload_left(&self) -> u64 {
        if self.in_payload() { self.left } else { 0 }
    }

    /// The opcode of the frame whose head was read last.
    #[inline]
    pub fn opcode(&self) -> Opcode {
        Opcode::of(self.first).unwrap_or(Opcode::Continuation)
    }

    /// Whether the frame whose head was read last ends its message.
    #[inline]
    pub fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    /// The key, turned to the next payload byte; meaningless for a server's frames.
    #[inline]
    pub fn key(&self) -> [u8; 4] {
        self.key
    }

    /// The frame at the start of `bytes` if all of it is there and it is of the usual kind (right, no Close,
    /// length below 64 KiB). `None` says nothing: [`read_head`](Self::read_head) then knows what it is.
    #[inline]
    pub fn whole_frame(&self, bytes: &[u8]) -> Option<WholeFrame> {
        let [first, second, rest @ ..] = bytes else { return None };
        if self.stage != START || !self.may_start(*first) {
            return None;
        }
        // The length, if the mask bit is as it must be; else more than any length is.
        let short = second ^ self.flags & FROM_CLIENT;
        let (len, head) = match short {
            0..=125 => (u16::from(short), 2),
            LEN_16 if first & 0x8 == 0 => {
                let len = u16::from_be_bytes(*rest.first_chunk::<2>()?);
                if len < 126 {
                    return None;
                }
                (len, 4)
            }
            _ => return None,
        };
        let key: u32 = if self.flags & FROM_CLIENT != 0 { 4 } else { 0 };
        let size = head + key + u32::from(len);
        (size as usize <= bytes.len()).then_some(WholeFrame { first: *first, len, size })
    }

    /// Goes on behind a [`whole_frame`](Self::whole_frame).
    #[inline]
    pub fn skip(&mut self, frame: WholeFrame) {
        if !frame.is_control() {
            self.flags = self.flags & !MID_MESSAGE | u8::from(!frame.is_final());
        }
    }

    /// Reads a head, or as much of it as is there. To be called while not [`in_payload`](Self::in_payload).
    #[inline]
    pub fn read_head(&mut self, bytes: &[u8]) -> Result<HeadRead, FrameError> {
        if self.stage == START
            && self.flags & CLOSED == 0
            && let Some(read) = self.read_whole_head(bytes)?
        {
            return Ok(read);
        }
        self.read_split_head(bytes)
    }

    /// Takes up to `available` bytes of payload; returns how many belong to this frame.
    #[inline]
    pub fn read_payload(&mut self, available: usize) -> usize {
        if !self.in_payload() {
            return 0;
        }
        let taken = self.left.min(available as u64);
        self.left -= taken;
        self.key = mask::turn(self.key, taken);
        if self.left == 0 {
            self.stage = START;
        }
        taken as usize
    }

    /// The usual case: every byte of the head is there. `None` leaves everything to the slow path.
    #[inline]
    fn read_whole_head(&mut self, bytes: &[u8]) -> Result<Option<HeadRead>, FrameError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        self.check_start(*first, *second)?;
        let (len, size, rest) = match second & !MASKED {
            LEN_16 => {
                let Some((len, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
                (check_16(u16::from_be_bytes(*len).into())?, 4, rest)
            }
            LEN_64 => {
                let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                (check_64(u64::from_be_bytes(*len))?, 10, rest)
            }
            len => (len.into(), 2, rest),
        };
        let mut used = size;
        if self.flags & FROM_CLIENT != 0 {
            let Some(key) = rest.first_chunk::<4>() else { return Ok(None) };
            self.key = *key;
            used += 4;
        }
        self.first = *first;
        self.left = len;
        Ok(Some(HeadRead { used, head: Some(self.finish_head()) }))
    }

    /// The head came in pieces: byte by byte, with the same checks in the same order.
    #[cold]
    fn read_split_head(&mut self, bytes: &[u8]) -> Result<HeadRead, FrameError> {
        let mut used = 0;
        for &byte in bytes {
            if self.stage == PAYLOAD {
                break;
            }
            used += 1;
            if self.head_byte(byte)? {
                return Ok(HeadRead { used, head: Some(self.finish_head()) });
            }
        }
        Ok(HeadRead { used, head: None })
    }

    /// Takes one byte of a head; true if it was the last.
    fn head_byte(&mut self, byte: u8) -> Result<bool, FrameError> {
        match self.stage {
            START if self.flags & CLOSED != 0 => return Err(FrameError::AfterClose),
            START => {
                self.first = byte;
                self.stage = SECOND;
                return Ok(false);
            }
            SECOND => {
                self.check_start(self.first, byte)?;
                self.start_length(byte & !MASKED);
            }
            due => {
                self.later_head_byte(byte)?;
                self.stage = due - 1;
            }
        }
        Ok(self.stage == 0)
    }

    /// Sets out for what follows the second byte.
    fn start_length(&mut self, short: u8) {
        self.flags &= !LONG;
        let size = match short {
            LEN_16 => 2,
            LEN_64 => {
                self.flags |= LONG;
                8
            }
            _ => 0,
        };
        self.left = if size == 0 { short.into() } else { 0 };
        self.stage = size + self.key_size();
    }

    /// A byte of the length or, once no more than the key is due, of the key.
    fn later_head_byte(&mut self, byte: u8) -> Result<(), FrameError> {
        let key_size = self.key_size();
        if self.stage <= key_size {
            let [_, b, c, d] = self.key;
            self.key = [b, c, d, byte];
            return Ok(());
        }
        self.left = self.left << 8 | u64::from(byte);
        if self.stage == key_size + 1 {
            self.left = if self.flags & LONG != 0 { check_64(self.left)? } else { check_16(self.left)? };
        }
        Ok(())
    }

    fn key_size(&self) -> u8 {
        if self.flags & FROM_CLIENT != 0 { 4 } else { 0 }
    }

    /// All that the first two bytes can break.
    #[inline]
    fn check_start(&self, first: u8, second: u8) -> Result<(), FrameError> {
        if self.is_usual(first, second) { Ok(()) } else { self.explain_start(first, second) }
    }

    /// Whether [`explain_start`](Self::explain_start) finds nothing wrong, in one look-up. (It may also be
    /// false for a good Close.)
    #[inline]
    fn is_usual(&self, first: u8, second: u8) -> bool {
        let masked_right = (second ^ self.flags) & MASKED == 0;
        let short_enough = first & 0x8 == 0 || second & !MASKED <= 125;
        self.may_start(first) & masked_right & short_enough
    }

    /// Whether a head may start with this byte now, in one look-up.
    #[inline]
    fn may_start(&self, first: u8) -> bool {
        USUAL[usize::from(first)] >> (self.flags & (MID_MESSAGE | CLOSED | EXTENSIONS)) & 1 != 0
    }

    /// What is wrong with the first two bytes.
    #[cold]
    fn explain_start(&self, first: u8, second: u8) -> Result<(), FrameError> {
        let opcode = first & 0x0F;
        let short = second & !MASKED;
        // RFC 6455 5.2: reserved opcodes.
        if OPCODES_KNOWN >> opcode & 1 == 0 {
            return Err(FrameError::ReservedOpcode);
        }
        // RFC 6455 5.2; RFC 7692 6: only a message's first frame may carry RSV1.
        if first & (RSV1 | RSV2_RSV3) != 0 {
            let starts_message = opcode == Opcode::Text as u8 || opcode == Opcode::Binary as u8;
            let allowed = if starts_message && self.flags & EXTENSIONS != 0 { RSV1 } else { 0 };
            if first & (RSV1 | RSV2_RSV3) & !allowed != 0 {
                return Err(FrameError::ReservedBits);
            }
        }
        // RFC 6455 5.1: MASKED and FROM_CLIENT are the same bit.
        if (second ^ self.flags) & MASKED != 0 {
            return Err(if self.flags & FROM_CLIENT != 0 {
                FrameError::NotMasked
            } else {
                FrameError::Masked
            });
        }
        if opcode & 0x8 != 0 {
            return check_control(first, short);
        }
        // RFC 6455 5.4: fragments of one message do not mix with another.
        if (opcode == Opcode::Continuation as u8) != (self.flags & MID_MESSAGE != 0) {
            return Err(if opcode == Opcode::Continuation as u8 {
                FrameError::ContinuationUnexpected
            } else {
                FrameError::ContinuationMissing
            });
        }
        Ok(())
    }

    /// The head is complete and right: note what it changes and hand it out.
    #[inline]
    fn finish_head(&mut self) -> FrameHead {
        let opcode = self.opcode();
        let fin = self.is_final();
        if !opcode.is_control() {
            self.flags = if fin { self.flags & !MID_MESSAGE } else { self.flags | MID_MESSAGE };
        } else if opcode == Opcode::Close {
            self.flags |= CLOSED;
        }
        self.stage = if self.left == 0 { START } else { PAYLOAD };
        let mask = (self.flags & FROM_CLIENT != 0).then_some(self.key);
        FrameHead { opcode, fin, rsv1: self.first & RSV1 != 0, len: self.left, mask }
    }
}

/// Bit n of entry f: a head may start with byte f in state n. The state is made of `MID_MESSAGE`, `CLOSED` and
/// `EXTENSIONS`, see [`FrameReader::may_start`]. A Close is never in it: what follows it needs a closer look.
static USUAL: [u8; 256] = usual_starts();

const fn usual_starts() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut first = 0;
    while first < table.len() {
        let mut state = 0;
        while state < 8 {
            if is_usual_start(first as u8, state) {
                table[first] |= 1 << state;
            }
            state += 1;
        }
        first += 1;
    }
    table
}

const fn is_usual_start(first: u8, state: u8) -> bool {
    let mid_message = state & MID_MESSAGE != 0;
    let closed = state & CLOSED != 0;
    let extensions = state & EXTENSIONS != 0;
    let opcode_fits = match first & 0x0F {
        0x0 => mid_message,
        0x1 | 0x2 => !mid_message,
        0x9 | 0xA => first & FIN != 0,
        _ => false,
    };
    let starts_message = matches!(first & 0x0F, 0x1 | 0x2);
    let bits_fit = match first & (RSV1 | RSV2_RSV3) {
        0 => true,
        RSV1 => extensions && starts_message,
        _ => false,
    };
    opcode_fits && bits_fit && !closed
}

/// RFC 6455 5.5: control frames are whole and short; 5.5.1: a Close holds nothing or a code.
fn check_control(first: u8, short: u8) -> Result<(), FrameError> {
    if first & FIN == 0 {
        return Err(FrameError::ControlFragmented);
    }
    if short > 125 {
        return Err(FrameError::ControlTooLong);
    }
    if first & 0x0F == Opcode::Close as u8 && short == 1 {
        return Err(FrameError::CloseOfOneByte);
    }
    Ok(())
}

/// RFC 6455 5.2: the shortest form of a length must be used.
#[inline]
fn check_16(len: u64) -> Result<u64, FrameError> {
    if len < 126 { Err(FrameError::LengthNotMinimal) } else { Ok(len) }
}

/// RFC 6455 5.2: the shortest form, and the highest bit is 0.
#[inline]
fn check_64(len: u64) -> Result<u64, FrameError> {
    match len {
        0..=0xFFFF => Err(FrameError::LengthNotMinimal),
        _ if len >> 63 != 0 => Err(FrameError::LengthTooLarge),
        _ => Ok(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Rules = Rules { sender: Role::Client, extensions: false };
    const SERVER: Rules = Rules { sender: Role::Server, extensions: false };
    const DEFLATE: Rules = Rules { sender: Role::Server, extensions: true };

    /// Everything that the pieces give: heads, and the refusal if there is one.
    fn heads(rules: Rules, pieces: &[&[u8]]) -> (Vec<FrameHead>, Option<FrameError>) {
        let mut reader = FrameReader::new(rules);
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let used = if reader.in_payload() {
                    reader.read_payload(rest.len())
                } else {
                    match reader.read_head(rest) {
                        Ok(read) => {
                            found.extend(read.head);
                            read.used
                        }
                        Err(error) => return (found, Some(error)),
                    }
                };
                rest = &rest[used..];
            }
        }
        (found, None)
    }

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<FrameReader>(), 16);
    }

    #[test]
    fn refuses_what_the_rfc_refuses() {
        use FrameError::*;
        let rows: &[(Rules, &[u8], Option<FrameError>)] = &[
            (SERVER, b"\x81\x00", None),                         // 5.6: empty text
            (CLIENT, b"\x81\x80\x01\x02\x03\x04", None),         // 5.1: masked
            (CLIENT, b"\x81\x00", Some(NotMasked)),              // 5.1
            (SERVER, b"\x81\x80\x01\x02\x03\x04", Some(Masked)), // 5.1
            (SERVER, b"\xc1\x00", Some(ReservedBits)),           // 5.2: RSV1 unasked
            (SERVER, b"\xa1\x00", Some(ReservedBits)),           // 5.2: RSV2
            (SERVER, b"\x91\x00", Some(ReservedBits)),           // 5.2: RSV3
            (DEFLATE, b"\xc1\x00", None),                        // RFC 7692 6: compressed text
            (DEFLATE, b"\xc2\x00", None),                        // RFC 7692 6: compressed binary
            (DEFLATE, b"\x41\x00\xc0\x00", Some(ReservedBits)),  // RFC 7692 6.1: not on later frames
            (DEFLATE, b"\xc9\x00", Some(ReservedBits)),          // RFC 7692 5: not on control frames
            (DEFLATE, b"\xe1\x00", Some(ReservedBits)),          // 5.2: RSV2 beside RSV1
            (SERVER, b"\x83\x00", Some(ReservedOpcode)),         // 5.2
            (SERVER, b"\x87\x00", Some(ReservedOpcode)),         // 5.2
            (SERVER, b"\x8b\x00", Some(ReservedOpcode)),         // 5.2
            (SERVER, b"\x8f\x00", Some(ReservedOpcode)),         // 5.2
            (SERVER, b"\x09\x00", Some(ControlFragmented)),      // 5.5
            (SERVER, b"\x08\x00", Some(ControlFragmented)),      // 5.5
            (SERVER, b"\x89\x7d", None),                         // 5.5: 125 is allowed
            (SERVER, b"\x89\x7e\x00\x7e", Some(ControlTooLong)), // 5.5
            (SERVER, b"\x8a\x7f", Some(ControlTooLong)),         // 5.5
            (SERVER, b"\x88\x01\x03", Some(CloseOfOneByte)),     // 5.5.1
            (SERVER, b"\x88\x00\x89\x00", Some(AfterClose)),     // 5.5.1
            (SERVER, b"\x88\x02\x03\xe8\x81", Some(AfterClose)), // 5.5.1
            (SERVER, b"\x80\x00", Some(ContinuationUnexpected)), // 5.4
            (SERVER, b"\x01\x00\x80\x00\x80\x00", Some(ContinuationUnexpected)), // 5.4
            (SERVER, b"\x01\x00\x81\x00", Some(ContinuationMissing)), // 5.4
            (SERVER, b"\x02\x00\x01\x00", Some(ContinuationMissing)), // 5.4
            (SERVER, b"\x01\x00\x89\x00\x00\x00\x80\x00\x81\x00", None), // 5.4: ping between fragments
            (SERVER, b"\x82\x7e\x00\x7e", None),                 // 5.2: 126 needs 16 bits
            (SERVER, b"\x82\x7e\x00\x7d", Some(LengthNotMinimal)), // 5.2
            (SERVER, b"\x82\x7f\0\0\0\0\0\x01\0\0", None),       // 5.2: 65536 needs 64 bits
            (SERVER, b"\x82\x7f\0\0\0\0\0\0\xff\xff", Some(LengthNotMinimal)), // 5.2
            (SERVER, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", None), // 5.2: the longest
            (SERVER, b"\x82\x7f\x80\0\0\0\0\0\0\0", Some(LengthTooLarge)), // 5.2
            (CLIENT, b"\x82\xfe\x00\x7d\x01\x02\x03\x04", Some(LengthNotMinimal)), // 5.2, masked
            (CLIENT, b"\x82\xff\x80\0\0\0\0\0\0\0\x01\x02\x03\x04", Some(LengthTooLarge)), // 5.2, masked
        ];
        for (rules, wire, expected) in rows {
            assert_eq!(heads(*rules, &[wire]).1, *expected, "{rules:?} {wire:x?}");
        }
    }

    #[test]
    fn every_split_gives_the_same_heads_and_refusals() {
        let mut wires: Vec<(Rules, Vec<u8>)> = vec![
            (SERVER, b"\x01\x03abc\x89\x01!\x80\x02de\x88\x02\x03\xe8".to_vec()),
            (CLIENT, b"\x82\xfe\x00\x7e\x01\x02\x03\x04".to_vec()),
            (CLIENT, b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x05\x06\x07\x08x".to_vec()),
            (
                CLIENT,
                b"\x81\x83\x01\x02\x03\x04abc\x81\x80\x09\x08\x07\x06\x8a\x85\x01\x01\x01\x01hello".to_vec(),
            ),
            (CLIENT, b"\x81\x80\x01\x02\x03\x04\x82\xfe\x00\x7d\x01\x02\x03\x04".to_vec()),
            (SERVER, b"\x81\x01a\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00".to_vec()),
            (SERVER, b"\x88\x00\x81\x00".to_vec()),
            (DEFLATE, b"\xc1\x02ab\x41\x01a\x00\x00\xc0\x00".to_vec()),
        ];
        if let Some((_, wire)) = wires.get_mut(1) {
            wire.extend(std::iter::repeat_n(b'y', 126));
            wire.extend_from_slice(b"\x89\x80\x01\x02\x03\x04");
        }
        for (rules, wire) in &wires {
            let whole = heads(*rules, &[wire]);
            for cut in 1..wire.len() {
                let (left, right) = wire.split_at(cut);
                assert_eq!(heads(*rules, &[left, right]), whole, "{wire:x?} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            assert_eq!(heads(*rules, &bytes), whole, "{wire:x?} byte by byte");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let head = FrameHead { opcode: Opcode::Binary, fin: true, rsv1: false, len, mask };
                let mut wire = Vec::new();
                head.write_to(&mut wire);
                let rules = if mask.is_some() { CLIENT } else { SERVER };
                assert_eq!(heads(rules, &[&wire]), (vec![head], None), "{len}");
            }
        }
    }

    #[test]
    fn every_opcode_byte_is_known_or_refused() {
        for first in 0..=u8::MAX {
            let known = Opcode::of(first);
            assert_eq!(OPCODES_KNOWN >> (first & 0x0F) & 1 == 1, known.is_some(), "{first:x}");
            assert!(known.is_none_or(|opcode| opcode as u8 == first & 0x0F), "{first:x}");
        }
    }

    #[test]
    fn the_table_and_the_explanation_agree() {
        let mut wire = [1; 300]; // a length of two bytes is 257
        for flags in [0, MID_MESSAGE, EXTENSIONS, EXTENSIONS | MID_MESSAGE] {
            for sender in [0, FROM_CLIENT] {
                let reader = FrameReader { flags: flags | sender, ..FrameReader::new(SERVER) };
                for first in 0..=u8::MAX {
                    for second in 0..=u8::MAX {
                        let right = reader.explain_start(first, second).is_ok();
                        let usual = right && first & 0x0F != Opcode::Close as u8;
                        assert_eq!(reader.is_usual(first, second), usual, "{flags:x} {first:x} {second:x}");
                        wire[..2].copy_from_slice(&[first, second]);
                        let whole = usual && second & !MASKED != LEN_64;
                        assert_eq!(
                            reader.whole_frame(&wire).is_some(),
                            whole,
                            "{flags:x} {first:x} {second:x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_whole_frame_is_what_head_and_payload_are() {
        let rows: &[(Rules, &[u8], Option<usize>)] = &[
            (SERVER, b"\x81\x03abcd", Some(5)),
            (SERVER, b"\x81\x03ab", None), // not all there
            (SERVER, b"\x81", None),
            (SERVER, b"\x88\x00", None),                   // a Close
            (SERVER, b"\x83\x00", None),                   // wrong
            (SERVER, b"\x82\x7e\x00\x03abc", None),        // wrong: not minimal
            (SERVER, b"\x82\x7f\0\0\0\0\0\x01\0\0", None), // long
            (CLIENT, b"\x89\x81\x01\x02\x03\x04p", Some(7)),
            (CLIENT, b"\x89\x81\x01\x02\x03\x04", None),
        ];
        for (rules, wire, size) in rows {
            assert_eq!(
                FrameReader::new(*rules).whole_frame(wire).map(|frame| frame.size as usize),
                *size,
                "{wire:x?}"
            );
        }
        let mut closed = FrameReader::new(SERVER);
        assert!(closed.read_head(b"\x88\x00").is_ok());
        assert_eq!(closed.whole_frame(b"\x81\x00"), None);
    }

    #[test]
    fn the_key_follows_the_payload() {
        let mut reader = FrameReader::new(CLIENT);
        let read = reader.read_head(b"\x82\x86\x01\x02\x03\x04").expect("a right head");
        assert_eq!(read.used, 6);
        assert_eq!(reader.key(), [1, 2, 3, 4]);
        assert_eq!(reader.read_payload(3), 3);
        assert_eq!(reader.key(), [4, 1, 2, 3]);
        assert_eq!(reader.payload_left(), 3);
        assert_eq!(reader.read_payload(9), 3, "no more than the frame holds");
        assert!(reader.is_between_frames());
    }
}
