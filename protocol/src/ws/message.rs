//! Whole messages: fragments joined under a cap, text checked as UTF-8 while it arrives, and a small endpoint
//! machine for either side.
//!
//! [`Assembler`] serves sampling and inspection beside a relay; [`Endpoint`] serves where we speak WebSocket
//! ourselves. It always holds: no message longer than the cap is kept, and text that was handed out is UTF-8.

use std::fmt;

use super::close;
use super::error::FrameError;
use super::frame::{FrameHead, Opcode, Role};
use super::mask;
use super::reader::{FrameReader, Rules};

/// Checks UTF-8 that arrives in pieces, cut anywhere (RFC 6455 8.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    /// The begun character, as far as it is there.
    begun: [u8; 4],
    begun_len: u8,
}

impl Utf8 {
    /// Checks the next piece; an error as soon as no further byte could make it right.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        let mut rest = piece;
        while self.begun_len > 0 {
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            self.push_byte(*byte)?;
            rest = after;
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(FrameError::InvalidUtf8),
            Err(error) => {
                for byte in rest.get(error.valid_up_to()..).unwrap_or_default() {
                    self.push_byte(*byte)?;
                }
                Ok(())
            }
        }
    }

    /// The text is at its end: no character may be left half.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        let half = std::mem::take(&mut self.begun_len) != 0;
        if half { Err(FrameError::InvalidUtf8) } else { Ok(()) }
    }

    /// Adds a byte to the begun character.
    fn push_byte(&mut self, byte: u8) -> Result<(), FrameError> {
        let Some(place) = self.begun.get_mut(usize::from(self.begun_len)) else {
            return Err(FrameError::InvalidUtf8);
        };
        *place = byte;
        self.begun_len += 1;
        match std::str::from_utf8(self.begun.get(..usize::from(self.begun_len)).unwrap_or_default()) {
            Ok(_) => self.begun_len = 0,
            Err(error) if error.error_len().is_some() => return Err(FrameError::InvalidUtf8),
            Err(_) => {}
        }
        Ok(())
    }
}

/// Joins the fragments of one direction's messages.
#[derive(Debug)]
pub struct Assembler {
    message: Vec<u8>,
    message_bytes_max: usize,
    text: bool,
    compressed: bool,
    utf8: Utf8,
}

impl Assembler {
    /// An assembler that refuses messages above `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Assembler {
        Assembler {
            message: Vec::new(),
            message_bytes_max,
            text: false,
            compressed: false,
            utf8: Utf8::default(),
        }
    }

    /// A data frame begins. An announced length above the cap is refused before a byte of it came.
    pub fn begin_frame(&mut self, head: &FrameHead) -> Result<(), FrameError> {
        if head.opcode != Opcode::Continuation {
            self.message.clear();
            self.text = head.opcode == Opcode::Text;
            self.compressed = head.rsv1;
            self.utf8 = Utf8::default();
        }
        let room = self.message_bytes_max.saturating_sub(self.message.len());
        if head.len > room as u64 { Err(FrameError::MessageTooLarge) } else { Ok(()) }
    }

    /// Payload of the frame; `key` is turned to its first byte and left out for a server's frames.
    pub fn push(&mut self, payload: &[u8], key: Option<[u8; 4]>) -> Result<(), FrameError> {
        let start = self.message.len();
        match key {
            Some(key) => mask::append(&mut self.message, payload, key),
            None => self.message.extend_from_slice(payload),
        }
        if self.text && !self.compressed {
            self.utf8.push(self.message.get(start..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// The message's last frame has ended.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        self.utf8.finish()
    }

    /// What is there of the message, unmasked.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether it is a text message.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// Whether permessage-deflate changed it: then it is as on the wire, and its text is not checked.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }
}

/// What an [`Endpoint`] is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOptions {
    /// The cap for one message that arrives.
    pub message_bytes_max: usize,
    /// A ping is sent after this long without anything from the peer; 0 for never.
    pub ping_interval_ms: u64,
    /// How long the peer may take to show life after that ping.
    pub pong_timeout_ms: u64,
    /// How long the peer may take to answer our Close.
    pub close_timeout_ms: u64,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        EndpointOptions {
            message_bytes_max: 1_048_576,
            ping_interval_ms: 30_000,
            pong_timeout_ms: 5_000,
            close_timeout_ms: 5_000,
        }
    }
}

/// What an [`Endpoint`] noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A text message, whole; [`Endpoint::message`] has it until the next `feed`.
    Text,
    /// A binary message, whole; [`Endpoint::message`] has it until the next `feed`.
    Binary,
    /// A ping; its answer is already written.
    Ping,
    /// A pong.
    Pong,
    /// The peer's Close: its code, 1005 if it gave none. Once the output is sent, TCP can end.
    Closed(u16),
}

/// Why an [`Endpoint`] cannot go on. A Close frame is written where one still makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// The peer broke a rule.
    Frame(FrameError),
    /// No sign of life after our ping.
    PongTimeout,
    /// No answer to our Close.
    CloseTimeout,
    /// A message was to be sent after a Close.
    Closing,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointError::Frame(error) => error.fmt(out),
            EndpointError::PongTimeout => out.write_str("no answer to a ping"),
            EndpointError::CloseTimeout => out.write_str("no answer to a close"),
            EndpointError::Closing => out.write_str("the session is closing"),
        }
    }
}

impl std::error::Error for EndpointError {}

/// One side of a WebSocket after its handshake.
///
/// ```text
///   OPEN --- we close, or a rule is broken ---> CLOSING --- peer's Close ---> CLOSED
///    |                                                                          ^
///    +--------------------- peer's Close, answered at once ---------------------+
/// ```
#[derive(Debug)]
pub struct Endpoint {
    reader: FrameReader,
    assembler: Assembler,
    options: EndpointOptions,
    /// The payload of the control frame under way, unmasked.
    control: Vec<u8>,
    out: Vec<u8>,
    event: Option<Event>,
    state: State,
    /// When something last came from the peer, or when our Close was written.
    since_ms: u64,
    /// Whether a ping of ours waits for a sign of life.
    pinged: bool,
    /// The state of the generator of masking keys; `None` for a server.
    keys: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    Closed,
}

impl Endpoint {
    /// An endpoint that plays `role` from now on. `seed` must be unpredictable where `role` is the client
    /// (RFC 6455 10.3): the masking keys come from it.
    pub fn new(now_ms: u64, role: Role, seed: u64, options: EndpointOptions) -> Endpoint {
        Endpoint {
            reader: FrameReader::new(Rules { sender: role.peer(), extensions: false }),
            assembler: Assembler::new(options.message_bytes_max),
            options,
            control: Vec::new(),
            out: Vec::new(),
            event: None,
            state: State::Open,
            since_ms: now_ms,
            pinged: false,
            keys: (role == Role::Client).then_some(seed),
        }
    }

    /// Reads from `input` until there is one event; returns how many bytes were used. After the peer's Close
    /// nothing more is read.
    pub fn feed(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, EndpointError> {
        if self.state == State::Open && !input.is_empty() {
            self.since_ms = now_ms;
            self.pinged = false;
        }
        let mut rest = input;
        while !rest.is_empty() && self.event.is_none() && self.state != State::Closed {
            match self.step(now_ms, rest) {
                Ok(used) => rest = rest.get(used..).unwrap_or_default(),
                Err(error) => {
                    self.close(now_ms, error.code(), error.public_text());
                    self.state = State::Closed;
                    return Err(EndpointError::Frame(error));
                }
            }
        }
        Ok(input.len() - rest.len())
    }

    /// What the last `feed` noticed.
    pub fn next_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// The message that [`Event::Text`] or [`Event::Binary`] spoke of.
    pub fn message(&self) -> &[u8] {
        self.assembler.message()
    }

    /// Moves what is to be sent to the end of `out`.
    pub fn write_to(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    /// Sends a message in one frame.
    pub fn send(&mut self, text: bool, payload: &[u8]) -> Result<(), EndpointError> {
        if self.state != State::Open {
            return Err(EndpointError::Closing);
        }
        self.write_frame(if text { Opcode::Text } else { Opcode::Binary }, payload);
        Ok(())
    }

    /// Begins to close, once; what the peer still sends before its Close is still read.
    pub fn close(&mut self, now_ms: u64, code: u16, reason: &str) {
        if self.state != State::Open {
            return;
        }
        let key = self.next_key();
        close::write_close(&mut self.out, code, reason, key);
        self.state = State::Closing;
        self.since_ms = now_ms;
    }

    /// Whether both sides have said Close, or one broke the rules.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// When [`on_deadline`](Self::on_deadline) is due.
    pub fn deadline(&self) -> Option<u64> {
        let wait_ms = match self.state {
            State::Closed => return None,
            State::Closing => self.options.close_timeout_ms,
            State::Open if self.options.ping_interval_ms == 0 => return None,
            State::Open if self.pinged => {
                self.options.ping_interval_ms.saturating_add(self.options.pong_timeout_ms)
            }
            State::Open => self.options.ping_interval_ms,
        };
        Some(self.since_ms.saturating_add(wait_ms))
    }

    /// Time has passed: asks for a sign of life, or gives up. Nothing happens before the deadline.
    pub fn on_deadline(&mut self, now_ms: u64) -> Result<(), EndpointError> {
        if self.deadline().is_none_or(|due_ms| now_ms < due_ms) {
            return Ok(());
        }
        if self.state == State::Closing {
            self.state = State::Closed;
            return Err(EndpointError::CloseTimeout);
        }
        if self.pinged {
            self.close(now_ms, close::GOING_AWAY, "no answer to a ping");
            self.state = State::Closed;
            return Err(EndpointError::PongTimeout);
        }
        self.pinged = true;
        self.write_frame(Opcode::Ping, b"");
        Ok(())
    }

    /// Reads one head or one stretch of payload.
    fn step(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, FrameError> {
        let used = if self.reader.in_payload() { self.payload(input)? } else { self.head(input)? };
        if self.reader.is_between_frames() {
            self.finish_frame(now_ms)?;
        }
        Ok(used)
    }

    fn head(&mut self, input: &[u8]) -> Result<usize, FrameError> {
        let read = self.reader.read_head(input)?;
        if let Some(head) = read.head {
            if head.opcode.is_control() {
                self.control.clear();
            } else {
                self.assembler.begin_frame(&head)?;
            }
        }
        Ok(read.used)
    }

    fn payload(&mut self, input: &[u8]) -> Result<usize, FrameError> {
        // A client reads a server's frames, which are not masked.
        let key = self.keys.is_none().then(|| self.reader.key());
        let used = self.reader.read_payload(input.len());
        let payload = input.get(..used).unwrap_or_default();
        if !self.reader.opcode().is_control() {
            self.assembler.push(payload, key)?;
        } else if let Some(key) = key {
            mask::append(&mut self.control, payload, key);
        } else {
            self.control.extend_from_slice(payload);
        }
        Ok(used)
    }

    fn finish_frame(&mut self, now_ms: u64) -> Result<(), FrameError> {
        match self.reader.opcode() {
            Opcode::Ping => {
                self.event = Some(Event::Ping);
                if self.state == State::Open {
                    let payload = std::mem::take(&mut self.control);
                    self.write_frame(Opcode::Pong, &payload);
                    self.control = payload;
                }
            }
            Opcode::Pong => self.event = Some(Event::Pong),
            Opcode::Close => {
                let code = close::parse_payload(&self.control)?.code;
                self.event = Some(Event::Closed(code));
                // RFC 6455 5.5.1: the answer usually echoes the code.
                self.close(now_ms, code, "");
                self.state = State::Closed;
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if self.reader.is_final() {
                    self.assembler.finish()?;
                    self.event = Some(if self.assembler.is_text() { Event::Text } else { Event::Binary });
                }
            }
        }
        Ok(())
    }

    fn write_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.next_key();
        FrameHead { opcode, fin: true, rsv1: false, len: payload.len() as u64, mask }.write_to(&mut self.out);
        match mask {
            Some(key) => mask::append(&mut self.out, payload, key),
            None => self.out.extend_from_slice(payload),
        }
    }

    /// The next masking key (splitmix64: Steele, Lea and Flood, 2014); `None` for a server.
    fn next_key(&mut self) -> Option<[u8; 4]> {
        let state = self.keys.as_mut()?;
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(((mixed >> 32) as u32).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(role: Role) -> Endpoint {
        Endpoint::new(0, role, 7, EndpointOptions { message_bytes_max: 16, ..EndpointOptions::default() })
    }

    /// Events with the messages they spoke of, what was sent, and the error that ended it.
    type Outcome = (Vec<(Event, Vec<u8>)>, Vec<u8>, Option<EndpointError>);

    fn run(mut endpoint: Endpoint, pieces: &[&[u8]]) -> Outcome {
        let mut events = Vec::new();
        let mut sent = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let used = match endpoint.feed(1, rest) {
                    Ok(used) => used,
                    Err(error) => {
                        endpoint.write_to(&mut sent);
                        return (events, sent, Some(error));
                    }
                };
                while let Some(event) = endpoint.next_event() {
                    let message = matches!(event, Event::Text | Event::Binary);
                    events.push((event, if message { endpoint.message().to_vec() } else { Vec::new() }));
                }
                rest = &rest[used..];
                if endpoint.is_closed() {
                    break;
                }
            }
        }
        endpoint.write_to(&mut sent);
        (events, sent, None)
    }

    #[test]
    fn joins_fragments_and_answers_pings() {
        let (events, sent, error) = run(
            endpoint(Role::Client),
            &[b"\x01\x02ab\x89\x01p\x80\x01c\x8a\x00\x82\x01\xff\x88\x02\x03\xe9"],
        );
        let expected = [
            (Event::Ping, vec![]),
            (Event::Text, b"abc".to_vec()),
            (Event::Pong, vec![]),
            (Event::Binary, vec![0xff]),
            (Event::Closed(1001), vec![]),
        ];
        assert_eq!((events.as_slice(), error), (&expected[..], None));
        // What a client sends, its peer can read: the pong and the echoed code.
        let (events, _, error) = run(endpoint(Role::Server), &[&sent]);
        assert_eq!(events, [(Event::Pong, vec![]), (Event::Closed(1001), vec![])]);
        assert_eq!(error, None);
    }

    #[test]
    fn refusals_are_told_to_the_peer() {
        let rows: &[(&[u8], FrameError, u16)] = &[
            (b"\x81\x02\xc3\x28", FrameError::InvalidUtf8, 1007), // RFC 6455 8.1
            (b"\x81\x01\xc3", FrameError::InvalidUtf8, 1007),     // 8.1: cut short
            (b"\x01\x01\xc3\x80\x01\x28", FrameError::InvalidUtf8, 1007), // 8.1: over fragments
            (b"\x81\x03\xed\xa0\x80", FrameError::InvalidUtf8, 1007), // RFC 3629 3: a surrogate
            (b"\x81\x04\xf4\x90\x80\x80", FrameError::InvalidUtf8, 1007), // RFC 3629 3: above U+10FFFF
            (b"\x82\x11", FrameError::MessageTooLarge, 1009),     // 7.4.1, refused by its head
            (b"\x02\x10aaaaaaaaaaaaaaaa\x80\x01a", FrameError::MessageTooLarge, 1009), // 7.4.1
            (b"\x83\x00", FrameError::ReservedOpcode, 1002),      // 5.2
            (b"\x88\x02\x03\xed", FrameError::CloseCode, 1002),   // 7.4.1
            (b"\x88\x03\x03\xe8\xff", FrameError::InvalidUtf8, 1007), // 5.5.1
        ];
        for (wire, error, code) in rows {
            let (_, sent, found) = run(endpoint(Role::Client), &[wire]);
            assert_eq!(found, Some(EndpointError::Frame(*error)), "{wire:x?}");
            let (events, _, _) = run(endpoint(Role::Server), &[&sent]);
            assert_eq!(events, [(Event::Closed(*code), vec![])], "{wire:x?}");
        }
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let wires: &[&[u8]] = &[
            b"\x01\x06h\xc3\xa4l\xc3\x88\x80\x01!\x8a\x00",
            b"\x01\x04h\xc3\xa4l\x89\x03abc\x80\x03\xe2\x82\xac\x88\x05\x03\xe8bye",
            b"\x81\x04\xf0\x9f\x98\x80\x81\x02\xc3\x28",
            b"\x02\x08aaaaaaaa\x80\x09",
        ];
        for wire in wires {
            let whole = run(endpoint(Role::Client), &[wire]);
            for cut in 1..wire.len() {
                let (left, right) = wire.split_at(cut);
                assert_eq!(run(endpoint(Role::Client), &[left, right]), whole, "{wire:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn utf8_in_pieces_agrees_with_utf8_as_a_whole() {
        // Every string of up to three bytes from a set with each kind of byte, and all its splits.
        let kinds = [0x41, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xe1, 0xed, 0xf0, 0xf4, 0xf5, 0xff];
        let check = |pieces: &[&[u8]]| {
            let mut utf8 = Utf8::default();
            pieces.iter().try_for_each(|piece| utf8.push(piece)).and_then(|()| utf8.finish()).is_ok()
        };
        for a in kinds {
            for b in kinds {
                for c in kinds {
                    for d in [0x41, 0x80] {
                        let text = [a, b, c, d];
                        let valid = std::str::from_utf8(&text).is_ok();
                        for cut in 0..=text.len() {
                            let (left, right) = text.split_at(cut);
                            assert_eq!(check(&[left, right]), valid, "{text:x?} cut at {cut}");
                        }
                        let bytes: Vec<&[u8]> = text.chunks(1).collect();
                        assert_eq!(check(&bytes), valid, "{text:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn pings_when_idle_and_gives_up_without_an_answer() {
        let mut endpoint = endpoint(Role::Server);
        let mut sent = Vec::new();
        assert_eq!(endpoint.deadline(), Some(30_000));
        assert_eq!(endpoint.on_deadline(29_999), Ok(()));
        endpoint.write_to(&mut sent);
        assert!(sent.is_empty(), "not before its time");
        assert_eq!(endpoint.on_deadline(30_000), Ok(()));
        endpoint.write_to(&mut sent);
        assert_eq!(sent, b"\x89\x00");
        // Any byte of the peer is a sign of life.
        assert_eq!(endpoint.feed(31_000, b"\x8a"), Ok(1));
        assert_eq!(endpoint.deadline(), Some(61_000));
        assert_eq!(endpoint.on_deadline(61_000), Ok(()));
        assert_eq!(endpoint.deadline(), Some(66_000));
        assert_eq!(endpoint.on_deadline(66_000), Err(EndpointError::PongTimeout));
        assert_eq!(endpoint.deadline(), None);
    }

    #[test]
    fn waits_for_the_answer_to_its_close_but_not_for_ever() {
        let mut endpoint = endpoint(Role::Server);
        endpoint.close(100, 1001, "bye");
        endpoint.close(200, 1000, "twice");
        let mut sent = Vec::new();
        endpoint.write_to(&mut sent);
        assert_eq!(sent, b"\x88\x05\x03\xe9bye", "one close, the first");
        assert_eq!(endpoint.send(true, b"late"), Err(EndpointError::Closing));
        assert_eq!(endpoint.deadline(), Some(5_100));
        // A message that was on its way is still read, and gives no more time.
        assert_eq!(endpoint.feed(300, b"\x81\x81\0\0\0\0x"), Ok(7));
        assert_eq!(endpoint.next_event(), Some(Event::Text));
        assert_eq!(endpoint.deadline(), Some(5_100));
        assert_eq!(endpoint.on_deadline(5_100), Err(EndpointError::CloseTimeout));
    }

    #[test]
    fn masking_keys_differ_from_frame_to_frame() {
        let mut client = endpoint(Role::Client);
        assert_eq!(client.send(true, b""), Ok(()));
        assert_eq!(client.send(true, b""), Ok(()));
        let mut sent = Vec::new();
        client.write_to(&mut sent);
        assert_eq!(sent.len(), 12);
        assert_ne!(sent[2..6], sent[8..12]);
    }
}
