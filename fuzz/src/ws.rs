//! WebSocket frames: the meter of the relay and the endpoint machine, against themselves and tungstenite.

use std::io::{self, Read, Write};

use protocol::ws::message::{EndpointError, EndpointOptions};
use protocol::ws::{Boundary, Endpoint, Event, FrameError, Meter, MeterLimits, Role, Violation, write_close};
use tungstenite::protocol::{Message, Role as TheirRole, WebSocket, WebSocketConfig};

use crate::input::Input;

const MESSAGE_BYTES_MAX: usize = 512;

/// Bytes after a handshake.
///
/// Promises: the meter counts the same however the bytes are cut; what it lets pass before a violation, with
/// our Close behind it, is right to the last byte; the endpoint hands out the same messages however the bytes
/// are cut, and the ones that tungstenite does; what the meter lets pass has as many messages as the endpoint.
pub fn ws_frames(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let sender = if input.switches & 1 == 0 { Role::Client } else { Role::Server };
    let extensions = input.switches & 2 != 0;
    meter(&input, sender, extensions);
    endpoint(&input, sender);
}

fn meter(input: &Input<'_>, sender: Role, extensions: bool) {
    let limits = MeterLimits { message_bytes_max: Some(MESSAGE_BYTES_MAX as u64), extensions };
    let mut whole = Meter::new(sender, limits);
    let outcome = whole.feed(input.wire);

    let mut cut = Meter::new(sender, limits);
    let mut messages = 0;
    let mut error = None;
    for piece in input.pieces() {
        match cut.feed(piece) {
            Ok(passed) => messages += u64::from(passed.messages),
            Err(violation) => {
                assert!(violation.forward <= piece.len());
                messages += u64::from(violation.passed.messages);
                error = Some(violation.error);
                break;
            }
        }
    }
    assert_eq!(messages, cut.messages());
    assert_eq!(error, outcome.err().map(|violation| violation.error));
    assert_eq!(cut.messages(), whole.messages());
    assert_eq!(cut.bytes(), whole.bytes());
    match outcome {
        Ok(_) => assert_eq!(cut.boundary(), whole.boundary()),
        Err(violation) => violated(input.wire, sender, limits, violation, whole.boundary()),
    }
}

/// What was fit to forward is, and our Close fits behind it.
fn violated(wire: &[u8], sender: Role, limits: MeterLimits, violation: Violation, boundary: Boundary) {
    let mut forwarded = wire[..violation.forward].to_vec();
    let mut meter = Meter::new(sender, limits);
    let passed = meter.feed(&forwarded).expect("what may be forwarded is right");
    assert_eq!(passed, violation.passed);
    assert_eq!(meter.boundary(), boundary);
    if !violation.close_fits {
        assert_eq!(meter.boundary(), Boundary::Closed, "the only way for a Close not to fit a whole wire");
        return;
    }
    assert!(matches!(meter.boundary(), Boundary::BetweenMessages | Boundary::BetweenFrames));
    let mask = (sender == Role::Client).then_some([1, 2, 3, 4]);
    write_close(&mut forwarded, violation.error.code(), violation.error.public_text(), mask);
    let passed = Meter::new(sender, limits).feed(&forwarded).expect("our Close is right");
    assert_eq!(passed.close, Some(violation.error.code()));
}

/// What came out of a wire, in one language for both implementations.
#[derive(Debug, PartialEq)]
struct Seen {
    items: Vec<(Event, Vec<u8>)>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Open,
    Closed,
    Refused,
}

fn endpoint(input: &Input<'_>, sender: Role) {
    let (whole, error) = ours(std::iter::once(input.wire), sender);
    let (cut, cut_error) = ours(input.pieces(), sender);
    assert_eq!((&cut, cut_error), (&whole, error));
    let expected = theirs(input.wire, sender);
    let same = as_told(&whole) == expected
        || error.is_some_and(|error| allowed_difference(error, &whole, &expected));
    assert!(same, "ours {whole:?} {error:?}\ntheirs {expected:?}");
}

fn ours<'a>(pieces: impl Iterator<Item = &'a [u8]>, sender: Role) -> (Seen, Option<FrameError>) {
    let options = EndpointOptions { message_bytes_max: MESSAGE_BYTES_MAX, ..EndpointOptions::default() };
    let mut endpoint = Endpoint::new(0, sender.peer(), 1, options);
    let mut items = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() && !endpoint.is_closed() {
            match endpoint.feed(0, rest) {
                Ok(used) => rest = &rest[used..],
                Err(EndpointError::Frame(error)) => return (Seen { items, end: End::Refused }, Some(error)),
                Err(error) => panic!("feed gave {error}"),
            }
            while let Some(event) = endpoint.next_event() {
                let message = matches!(event, Event::Text | Event::Binary);
                items.push((event, if message { endpoint.message().to_vec() } else { Vec::new() }));
            }
        }
    }
    let end = if endpoint.is_closed() { End::Closed } else { End::Open };
    (Seen { items, end }, None)
}

/// A stream with nothing more to give.
struct Dry;

impl Read for Dry {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Dry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(wire: &[u8], sender: Role) -> Seen {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let role = if sender == Role::Client { TheirRole::Server } else { TheirRole::Client };
    let mut socket = WebSocket::from_partially_read(Dry, wire.to_vec(), role, Some(config));
    let mut items = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) => items.push((Event::Text, text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => items.push((Event::Binary, bytes.to_vec())),
            Ok(Message::Ping(_)) => items.push((Event::Ping, Vec::new())),
            Ok(Message::Pong(_)) => items.push((Event::Pong, Vec::new())),
            Ok(Message::Close(frame)) => {
                items.push((Event::Closed(frame.map_or(1005, |frame| frame.code.into())), Vec::new()));
                break End::Closed;
            }
            Ok(Message::Frame(_)) => panic!("read never gives a raw frame"),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                break End::Open;
            }
            Err(_) => break End::Refused,
        }
    };
    Seen { items, end }
}

/// Tungstenite does not know 1014, which IANA gave out later, and makes it a 1002.
fn as_told(seen: &Seen) -> Seen {
    let told = |event| if event == Event::Closed(1014) { Event::Closed(1002) } else { event };
    let items = seen.items.iter().map(|(event, message)| (told(*event), message.clone())).collect();
    Seen { items, end: seen.end }
}

/// Where the two mean to differ; everything before must be the same.
fn allowed_difference(error: FrameError, ours: &Seen, theirs: &Seen) -> bool {
    match error {
        // Tungstenite takes lengths in a longer form than needed; a control frame in such a form is too long
        // for us by its form alone.
        FrameError::LengthNotMinimal | FrameError::ControlTooLong => theirs.items.starts_with(&ours.items),
        // It answers a forbidden code with 1002 instead of failing.
        FrameError::CloseCode => theirs
            .items
            .split_last()
            .is_some_and(|(last, before)| last.0 == Event::Closed(1002) && before == ours.items),
        // It waits for the whole frame; we refuse as soon as nothing can make it right.
        _ => theirs.end == End::Open && theirs.items == ours.items,
    }
}
