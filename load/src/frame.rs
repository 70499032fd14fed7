//! The few WebSocket frames that the load needs, each read when it is whole. Pure bytes.
//!
//! The origin and the WebSocket clients use it. It is deliberately not `protocol::ws`: the instrument
//! must not share a mistake with what it measures.

/// Where one frame lies in the bytes received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    /// The last one of its message.
    pub(crate) is_final: bool,
    pub(crate) mask: Option<[u8; 4]>,
    /// Offset of the payload; the frame begins at 0.
    pub(crate) payload_start: usize,
    pub(crate) payload_len: usize,
}

impl Frame {
    /// Reads the frame at the start of `input`; `None` until it is there with all of its payload.
    pub(crate) fn read(input: &[u8]) -> Option<Frame> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        let (payload_len, rest) = match second & 0x7f {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            127 => {
                let (len, rest) = rest.split_first_chunk()?;
                // One that does not fit is never whole either.
                (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?,
        };
        let payload_start = input.len() - rest.len();
        (rest.len() >= payload_len).then_some(Frame {
            opcode: first & 0x0f,
            is_final: first & 0x80 != 0,
            mask,
            payload_start,
            payload_len,
        })
    }

    /// Bytes that the frame takes in all.
    pub(crate) fn wire_len(&self) -> usize {
        self.payload_start + self.payload_len
    }
}

/// Appends the unmasked echo of `frame`, whose bytes stand at the start of `input`.
pub(crate) fn write_echo(frame: Frame, input: &[u8], out: &mut Vec<u8>) {
    let opcode = if frame.opcode == PING { PONG } else { frame.opcode };
    let payload = &input[frame.payload_start..frame.wire_len()];
    write_head(opcode, payload.len(), 0, out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = frame.mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends one masked frame, a whole message.
pub(crate) fn write_masked(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_head(opcode, payload.len(), 0x80, out);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// RFC 6455 5.2: a further frame of the message, a text message, a binary message.
pub(crate) const CONTINUATION: u8 = 0;
/// See [`CONTINUATION`].
pub(crate) const TEXT: u8 = 1;
/// See [`CONTINUATION`].
pub(crate) const BINARY: u8 = 2;
/// RFC 6455 5.5.1.
pub(crate) const CLOSE: u8 = 8;
/// RFC 6455 5.5.2.
pub(crate) const PING: u8 = 9;
/// RFC 6455 5.5.3.
pub(crate) const PONG: u8 = 10;

fn write_head(opcode: u8, payload_len: usize, mask_bit: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match u16::try_from(payload_len) {
        Ok(len) if len < 126 => out.push(mask_bit | len as u8),
        Ok(len) => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

/// Eight bytes at a step: the mask begins anew every four.
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let half = u64::from(u32::from_ne_bytes(mask));
    let word = half << 32 | half;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_of_a_masked_frame_is_its_payload_unmasked() {
        for len in [0, 1, 64, 125, 126, 1000, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut sent = Vec::new();
            write_masked(BINARY, &payload, [1, 2, 3, 4], &mut sent);
            for cut in (0..sent.len()).take(1100) {
                assert_eq!(Frame::read(&sent[..cut]), None, "{len} bytes cut at {cut}");
            }
            let frame = Frame::read(&sent).expect("the frame is whole");
            assert_eq!(frame.wire_len(), sent.len());
            let mut echo = Vec::new();
            write_echo(frame, &sent, &mut echo);
            let back = Frame::read(&echo).expect("the echo is whole");
            assert_eq!(back.opcode, BINARY);
            assert_eq!(back.mask, None);
            assert_eq!(&echo[back.payload_start..], &payload[..]);
        }
    }

    #[test]
    fn ping_is_answered_by_pong() {
        let ping = [0x89, 0x82, 9, 9, 9, 9, b'h' ^ 9, b'i' ^ 9];
        let mut out = Vec::new();
        write_echo(Frame::read(&ping).expect("the ping is whole"), &ping, &mut out);
        assert_eq!(out, [0x8a, 2, b'h', b'i']);
    }
}
