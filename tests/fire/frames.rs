//! WebSocket frames read from a socket: what the origin's echo and the clients' sessions need, and no more.
//!
//! Frames are written with `harness::ws`.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest payload that either side of this program sends in good faith.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// One frame, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The kind of frame (RFC 6455 5.2).
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }
}

/// The next frame; `None` when the connection ends, or says something that is no frame of ours.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let first = stream.read_u8().await.ok()?;
    let second = stream.read_u8().await.ok()?;
    let len = match second & 0x7f {
        126 => u64::from(stream.read_u16().await.ok()?),
        127 => stream.read_u64().await.ok()?,
        len => u64::from(len),
    };
    if len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        stream.read_exact(&mut mask).await.ok()?;
    }
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload).await.ok()?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some(Frame { first, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::ws::{client_frame, opcode, server_frame};

    fn read_all(mut wire: &[u8]) -> Option<Frame> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
        runtime.block_on(read(&mut wire))
    }

    #[test]
    fn frames_of_every_length_are_read() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            for wire in [client_frame(opcode::BINARY, &payload), server_frame(opcode::BINARY, &payload)] {
                assert_eq!(read_all(&wire), Some(Frame { first: 0x82, payload: payload.clone() }));
                assert_eq!(read_all(&wire[..wire.len() - 1]), None);
            }
        }
        assert_eq!(read_all(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), None, "absurdly long");
    }
}
