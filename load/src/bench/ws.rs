//! One WebSocket session of a bench: the handshake, then messages that the server must echo.
//!
//! Made and used by `worker`. Every message carries its number, so that an earlier one's echo is not taken for it. The
//! server may fragment its echo and send pings in between.

use engine::io::{TcpStream, freeze, take_buf};

use super::super::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, write_masked};
use super::super::origin::accept_for;
use super::counts::{Answer, Failure, Trouble};
use super::plan::{Messages, Place};
use super::request::{self, KEY};

/// A longer answer to the handshake is none.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What a server may send beside an echo before that is no echo server.
const OTHER_BYTES_MAX: usize = 64 * 1024;
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];
/// Digits of a message's number, at its start.
const NUMBER_DIGITS: usize = 16;

/// An open session.
pub(super) struct Session {
    stream: TcpStream,
    opcode: u8,
    message: u64,
    payload: Vec<u8>,
    /// Received and not used up.
    pending: Vec<u8>,
}

impl Session {
    /// Does the handshake on a fresh connection.
    pub(super) async fn open(
        stream: TcpStream,
        place: &Place,
        messages: Messages,
    ) -> Result<Session, Trouble> {
        stream.send(freeze(request::upgrade(place)));
        let mut pending = Vec::new();
        let head_len = loop {
            match receive(&stream).await {
                Ok(piece) => pending.extend_from_slice(&piece),
                Err(trouble) => return Err(Trouble { failure: Failure::Upgrade, ..trouble }),
            }
            if let Some(at) = memchr::memmem::find(&pending, b"\r\n\r\n") {
                break at + 4;
            }
            if pending.len() > HEAD_BYTES_MAX {
                return Err(Trouble::new(Failure::Upgrade, "the answer's head is too long"));
            }
        };
        check_handshake(&pending[..head_len])?;
        pending.drain(..head_len);
        let opcode = if messages.is_text { TEXT } else { BINARY };
        let payload = vec![b'.'; messages.bytes];
        Ok(Session { stream, opcode, message: 0, payload, pending })
    }

    /// The peer has ended the session.
    pub(super) fn is_stale(&self) -> bool {
        self.stream.is_broken()
    }

    /// Sends one message and waits for its echo.
    pub(super) async fn echo(&mut self) -> Result<Answer, Trouble> {
        self.message += 1;
        number_into(&mut self.payload, self.message);
        let mut out = take_buf();
        write_masked(self.opcode, &self.payload, MASK, &mut out);
        self.stream.send(freeze(out));
        let mut bytes = 0;
        let mut echoed = Echoed { opcode: None, payload: Vec::new() };
        loop {
            let piece = receive(&self.stream).await?;
            bytes += piece.len() as u64;
            if self.pending.is_empty() && self.is_echo(&piece) {
                return Ok(Answer { status: 0, keeps: true, bytes });
            }
            self.pending.extend_from_slice(&piece);
            drop(piece);
            if self.take_frames(&mut echoed)? {
                return Ok(Answer { status: 0, keeps: true, bytes });
            }
            if self.pending.len() + echoed.payload.len() > self.payload.len() + OTHER_BYTES_MAX {
                return Err(Trouble::new(Failure::Echo, "more came back than was sent"));
            }
        }
    }

    /// Exactly one frame, and that is the echo: nearly always.
    fn is_echo(&self, input: &[u8]) -> bool {
        Frame::read(input).is_some_and(|frame| {
            let is_whole = frame.is_final && frame.mask.is_none() && frame.wire_len() == input.len();
            is_whole && frame.opcode == self.opcode && input[frame.payload_start..] == *self.payload
        })
    }

    /// Takes every whole frame; true once the echo is complete.
    fn take_frames(&mut self, echoed: &mut Echoed) -> Result<bool, Trouble> {
        while let Some(frame) = Frame::read(&self.pending) {
            if frame.mask.is_some() {
                return Err(Trouble::new(Failure::Malformed, "a masked frame from the server"));
            }
            let payload = &self.pending[frame.payload_start..frame.wire_len()];
            match frame.opcode {
                CLOSE => return Err(Trouble::new(Failure::Closed, close_reason(payload))),
                PING => {
                    let mut out = take_buf();
                    write_masked(PONG, payload, MASK, &mut out);
                    self.stream.send(freeze(out));
                }
                PONG => {}
                opcode => {
                    echoed.push(opcode, payload)?;
                    if frame.is_final {
                        self.pending.drain(..frame.wire_len());
                        let is_right = echoed.opcode == Some(self.opcode) && echoed.payload == self.payload;
                        let wrong = || Trouble::new(Failure::Echo, "what came back is not what was sent");
                        return if is_right { Ok(true) } else { Err(wrong()) };
                    }
                }
            }
            self.pending.drain(..frame.wire_len());
        }
        Ok(false)
    }
}

/// A message on its way in.
struct Echoed {
    opcode: Option<u8>,
    payload: Vec<u8>,
}

impl Echoed {
    fn push(&mut self, opcode: u8, payload: &[u8]) -> Result<(), Trouble> {
        let is_first = self.opcode.is_none();
        if is_first == (opcode == CONTINUATION) || opcode > BINARY {
            return Err(Trouble::new(Failure::Malformed, "a frame out of order"));
        }
        if is_first {
            self.opcode = Some(opcode);
        }
        self.payload.extend_from_slice(payload);
        Ok(())
    }
}

async fn receive(stream: &TcpStream) -> Result<engine::io::Lease, Trouble> {
    match stream.recv().await {
        Ok(Some(piece)) => Ok(piece),
        Ok(None) => Err(Trouble::new(Failure::Closed, "the connection ended")),
        Err(error) => Err(Trouble::new(Failure::Reset, error)),
    }
}

/// RFC 6455 4.1: 101, and the accept value that belongs to our key.
fn check_handshake(head: &[u8]) -> Result<(), Trouble> {
    let text = String::from_utf8_lossy(head);
    let first = text.lines().next().unwrap_or_default();
    if !first.starts_with("HTTP/1.1 101") {
        return Err(Trouble::new(Failure::Upgrade, first));
    }
    let accept = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Accept").then(|| value.trim())
    });
    if accept == Some(&*accept_for(KEY.as_bytes())) {
        Ok(())
    } else {
        Err(Trouble::new(Failure::Upgrade, "Sec-WebSocket-Accept missing or wrong"))
    }
}

/// Writes a message's number, as far as there is room, in digits: a text message stays text.
fn number_into(payload: &mut [u8], number: u64) {
    let room = payload.len().min(NUMBER_DIGITS);
    let mut rest = number;
    for digit in payload[..room].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            format!("close {} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
                .trim_end()
                .to_owned()
        }
        None => "close".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_needs_101_and_the_right_accept_value() {
        let head = |status: &str, accept: &str| {
            format!("HTTP/1.1 {status}\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n")
        };
        let right = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(check_handshake(head("101 Switching Protocols", right).as_bytes()).is_ok());
        for wrong in [head("101 x", "abc"), head("200 OK", right), "HTTP/1.1 101\r\n\r\n".to_owned()] {
            let trouble = check_handshake(wrong.as_bytes()).expect_err("refused");
            assert_eq!(trouble.failure, Failure::Upgrade);
        }
    }

    #[test]
    fn messages_are_numbered_as_far_as_there_is_room() {
        let mut payload = vec![b'.'; 20];
        number_into(&mut payload, 0xab);
        assert_eq!(payload, b"00000000000000ab....");
        let mut short = vec![b'.'; 1];
        number_into(&mut short, 0xab);
        assert_eq!(short, b"b");
        number_into(&mut [], 1);
    }

    #[test]
    fn fragments_must_come_in_order() {
        let fresh = || Echoed { opcode: None, payload: Vec::new() };
        let mut echoed = fresh();
        echoed.push(TEXT, b"one ").unwrap();
        echoed.push(CONTINUATION, b"two").unwrap();
        assert_eq!((echoed.opcode, &*echoed.payload), (Some(TEXT), &b"one two"[..]));
        assert!(echoed.push(TEXT, b"").is_err(), "a new message inside one");
        assert!(fresh().push(CONTINUATION, b"").is_err(), "nothing to continue");
        assert!(fresh().push(3, b"").is_err(), "a reserved opcode");
    }
}
