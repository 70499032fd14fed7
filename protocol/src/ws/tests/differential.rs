//! The endpoint and the meter against tungstenite, on random frame sequences: who accepts what, which messages
//! come out, with which payload.
//!
//! Where the two may differ is listed in [`allowed_difference`]; everything else is a failure that prints its
//! seed.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Message, Role as TheirRole, WebSocket, WebSocketConfig};

use crate::ws::error::FrameError;
use crate::ws::frame::Role;
use crate::ws::message::{Endpoint, EndpointError, EndpointOptions, Event};
use crate::ws::meter::{Meter, MeterLimits};

/// Marsaglia's xorshift64: the same cases on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Both sides in one language: what came out, then how it ended.
#[derive(Debug, PartialEq)]
struct Seen {
    items: Vec<(Event, Vec<u8>)>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// Every byte was used, or more were wanted.
    Open,
    Closed,
    Refused,
}

const MESSAGE_BYTES_MAX: usize = 300;

fn ours(wire: &[u8], role: Role, random: &mut Random) -> (Seen, Option<FrameError>) {
    let options = EndpointOptions { message_bytes_max: MESSAGE_BYTES_MAX, ..EndpointOptions::default() };
    let mut endpoint = Endpoint::new(0, role, 1, options);
    let mut items = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() && !endpoint.is_closed() {
        // Splits are part of the case.
        let piece = &rest[..rest.len().min(1 + random.below(40) as usize)];
        match endpoint.feed(0, piece) {
            Ok(used) => rest = &rest[used..],
            Err(EndpointError::Frame(error)) => return (Seen { items, end: End::Refused }, Some(error)),
            Err(error) => panic!("feed gave {error}"),
        }
        while let Some(event) = endpoint.next_event() {
            let message = matches!(event, Event::Text | Event::Binary);
            items.push((event, if message { endpoint.message().to_vec() } else { Vec::new() }));
        }
    }
    let end = if endpoint.is_closed() { End::Closed } else { End::Open };
    (Seen { items, end }, None)
}

/// A stream that has given everything: tungstenite then says `WouldBlock`.
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

fn theirs(wire: &[u8], role: Role) -> Seen {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let role = if role == Role::Client { TheirRole::Client } else { TheirRole::Server };
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

/// Where we mean to differ, given that what came out before is the same.
fn allowed_difference(error: FrameError, ours: &Seen, theirs: &Seen) -> bool {
    match error {
        // Tungstenite takes longer forms of a length; RFC 6455 5.2 does not.
        FrameError::LengthNotMinimal => theirs.items.starts_with(&ours.items),
        // It answers a forbidden code with 1002 instead of failing; the result is the same for the peer.
        FrameError::CloseCode => {
            let (last, before) = theirs.items.split_last().expect("the close that it saw");
            last.0 == Event::Closed(1002) && before == ours.items
        }
        // It waits for the whole frame; we refuse as soon as nothing can make it right.
        _ => theirs.end == End::Open && theirs.items == ours.items,
    }
}

/// One frame, usually right.
fn frame(random: &mut Random, sender: Role, mid_message: &mut bool) -> Vec<u8> {
    let opcode = if random.one_in(60) {
        random.below(16) as u8
    } else if random.one_in(3) {
        random.pick(&[9, 9, 10, 10, 10, 8])
    } else if *mid_message {
        0
    } else {
        random.pick(&[1, 2])
    };
    let control = opcode & 8 != 0;
    let fin = if control { !random.one_in(100) } else { !random.one_in(3) };
    if !control {
        *mid_message = !fin;
    }
    let mut payload = payload(random, opcode);
    let rsv = if random.one_in(100) { random.below(8) as u8 } else { 0 };
    let masked = (sender == Role::Client) ^ random.one_in(100);
    let mut wire = vec![opcode | rsv << 4 | u8::from(fin) << 7];
    let mask_bit = u8::from(masked) << 7;
    match payload.len() {
        // A longer form on a control frame is two mistakes at once; the tables have it.
        len if !control && random.one_in(100) => {
            wire.push(127 | mask_bit);
            wire.extend_from_slice(&(len as u64 | random.pick(&[0, 1 << 63])).to_be_bytes());
        }
        len @ 0..126 if control || !random.one_in(100) => wire.push(len as u8 | mask_bit),
        len => {
            wire.push(126 | mask_bit);
            wire.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    if masked {
        let key = (random.next() as u32).to_be_bytes();
        wire.extend_from_slice(&key);
        // By definition, not with the code under test.
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= key[at % 4]);
    }
    wire.extend_from_slice(&payload);
    wire
}

fn payload(random: &mut Random, opcode: u8) -> Vec<u8> {
    let len = random.pick(&[0, 1, 2, 3, 5, 8, 13, 60, 120, 125, 126, 130]);
    match opcode {
        8 => {
            let code = random.pick(&[1000u16, 1001, 1005, 1006, 1011, 3000, 4999, 5000, 999, 1004, 2000]);
            let mut payload = code.to_be_bytes().to_vec();
            payload.extend_from_slice(random.pick(&["", "over", "fünf"]).as_bytes());
            payload.truncate(random.pick(&[0, 1, 2, 9, 9, 9, 5]));
            payload
        }
        9.. => vec![b'p'; if random.one_in(40) { len } else { len.min(125) }],
        2 => (0..len).map(|_| random.next() as u8).collect(),
        _ if random.one_in(30) => (0..len).map(|_| random.next() as u8).collect(),
        _ => "aé€😀z".bytes().cycle().take(len).collect(),
    }
}

/// The number of cases that were compared in full, of those that ran.
fn compare(seed: u64, cases: usize, role: Role) -> usize {
    let mut random = Random(seed);
    let mut exact = 0;
    for _ in 0..cases {
        let case = random.0;
        let mut mid_message = false;
        let frames = 1 + random.below(8);
        let mut wire: Vec<u8> =
            (0..frames).flat_map(|_| frame(&mut random, role.peer(), &mut mid_message)).collect();
        if random.one_in(20) {
            let cut = random.below(wire.len() as u64) as usize;
            wire.truncate(cut);
        }
        let (found, error) = ours(&wire, role, &mut random);
        let expected = theirs(&wire, role);
        if found == expected {
            exact += 1;
        } else {
            let allowed = error.is_some_and(|error| allowed_difference(error, &found, &expected));
            assert!(allowed, "seed {case}: {wire:x?}\n ours {found:?} {error:?}\n theirs {expected:?}");
        }
        check_meter(case, &wire, role.peer(), &expected);
    }
    exact
}

/// The meter counts what tungstenite received, and refuses nothing that it accepts.
fn check_meter(case: u64, wire: &[u8], sender: Role, expected: &Seen) {
    let limits = MeterLimits { message_bytes_max: Some(MESSAGE_BYTES_MAX as u64), extensions: false };
    let mut meter = Meter::new(sender, limits);
    let outcome = meter.feed(wire);
    if expected.end != End::Open {
        return;
    }
    match outcome {
        Ok(passed) => {
            let messages =
                expected.items.iter().filter(|(event, _)| matches!(event, Event::Text | Event::Binary));
            assert_eq!(u64::from(passed.messages), messages.count() as u64, "seed {case}: {wire:x?}");
            let pings = expected.items.iter().filter(|(event, _)| *event == Event::Ping).count();
            assert_eq!(passed.pings as usize, pings, "seed {case}: {wire:x?}");
        }
        Err(violation) => {
            // What it refuses in a frame that tungstenite still waits for, the endpoint test above compares.
            // Up to there it must have seen the same. Only a longer form of a length goes on with more.
            if violation.error != FrameError::LengthNotMinimal {
                let before = theirs(&wire[..violation.forward], sender.peer()).items;
                assert_eq!(before, expected.items, "seed {case}: {violation:?} {wire:x?}");
            }
        }
    }
}

#[test]
fn agrees_with_tungstenite_as_a_server() {
    let exact = compare(0x5EED_0001, 60_000, Role::Server);
    assert!(exact > 55_000, "only {exact} cases were compared in full");
}

#[test]
fn agrees_with_tungstenite_as_a_client() {
    let exact = compare(0x5EED_0002, 60_000, Role::Client);
    assert!(exact > 55_000, "only {exact} cases were compared in full");
}

#[test]
fn tungstenite_reads_what_we_send() {
    for role in [Role::Client, Role::Server] {
        let mut endpoint = Endpoint::new(0, role, 42, EndpointOptions::default());
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for len in [0, 1, 125, 126, 200, 300] {
            let text = "x".repeat(len);
            assert_eq!(endpoint.send(true, text.as_bytes()), Ok(()));
            assert_eq!(endpoint.send(false, text.as_bytes()), Ok(()));
            expected.push((Event::Text, text.clone().into_bytes()));
            expected.push((Event::Binary, text.into_bytes()));
        }
        endpoint.close(0, 4000, "done");
        expected.push((Event::Closed(4000), Vec::new()));
        endpoint.write_to(&mut sent);
        assert_eq!(theirs(&sent, role.peer()), Seen { items: expected, end: End::Closed });
    }
}
